// What is measured: series, each of points along one scale, and the figures of a point.
//
// A figure is { id, title, unit, digits, of: its value from what the point's measurements said, from: below this scale it has none,
// differs: it is a difference to the point before, so the first has none }.
export const scales = {
  full: {
    connections: [1000, 2000, 4000, 8000, 15_000],
    topics: [1, 10, 100, 1000],
    nodes: [1, 2, 3, 4, 5, 8, 16],
    hubs: [2, 3, 4, 5, 8, 16],
    seats: 100, // connections in the series of topics: 1,000 topics each are 100,000 joins
    deliveries: 300_000, // of a broadcast's messages together: by time a busy machine would measure none
    seconds: 5,
    rate: 50, // of a cluster, so few that none waits for another
    flood: 300_000,
    restMs: 6000, // after links came up, heartbeats say more for 5 s
    idleMs: 10_000, // two full states, a hello
    limitMs: 180_000,
  },
  // Whether everything starts, arrives and is counted. Its figures mean nothing.
  quick: {
    connections: [100, 200],
    topics: [1, 20],
    nodes: [1, 2, 3],
    hubs: [2, 3],
    seats: 40,
    deliveries: 10_000,
    seconds: 0.5,
    rate: 50,
    flood: 5000,
    restMs: 0,
    idleMs: 1000,
    limitMs: 90_000,
  },
};

const MEMBERS = 10; // of a room
const LISTENERS = 20; // of a topic in the series of topics; and in a cluster, all on its last node
const RATE = 200; // messages a second to one node; in a cluster see scales

const steadily = (rate, seconds) => ({ rate, messages: rate * seconds, warmup: Math.ceil(rate / 4) });

// The node sets the pace at which clients connect. Beyond some 14,000 from one address the kernel searches for free ports.
const common = { connect_rate: 0, connecting_max: 256, connect_ms: 120_000, heartbeat_ms: 0, payload: 64, settle_ms: 10_000 };

const ms = (run, key) => run.latency_us[key] / 1000;
const latencies = (name, title) => ['p50', 'p99'].map((key) => ({ id: key, title: `${title}, ${key}`, unit: 'ms', digits: 2, of: (runs) => ms(runs[name], key) }));

const broadcast = (n, scale) => ({ connections: n, sources: 2, window: 1, warmup: 2, messages: Math.round(scale.deliveries / n), ...common });

const connections = (scale) => ({
  id: 'connections',
  title: 'Connections to one node of one worker',
  unit: 'connections',
  points: scale.connections.map((n) => ({
    at: n,
    nodes: 1,
    runs: {
      broadcast: broadcast(n, scale),
      floor: broadcast(n, scale), // what of it is the kernel's: a send to a socket that is in no cache any more
      rooms: { connections: n, sources: 2, topics: n / MEMBERS, ...steadily(RATE, scale.seconds), ...common },
    },
  })),
  figures: [
    { id: 'memory', title: 'memory a connection', unit: 'bytes', digits: 0, of: ({ broadcast }) => broadcast.cost.bytes_per_connection },
    { id: 'connect', title: 'CPU of a connection and its join', unit: 'us', digits: 1, of: ({ broadcast }) => broadcast.cost.cpu_connect_us },
    { id: 'broadcast', title: 'CPU a delivery, one topic with all of them', unit: 'us', digits: 2, of: ({ broadcast }) => broadcast.cost.cpu_us_per_delivery },
    { id: 'floor', title: 'CPU a delivery of load/floor, one topic with all of them', unit: 'us', digits: 2, of: ({ floor }) => floor.cost.cpu_us_per_delivery },
    {
      id: 'reach', title: 'time to the last of one topic, p50, for each subscriber', unit: 'us', digits: 2,
      of: ({ broadcast }) => broadcast.reach_us.p50 / broadcast.connections,
    },
    { id: 'rooms', title: `CPU a delivery, rooms of ${MEMBERS}`, unit: 'us', digits: 2, of: ({ rooms }) => rooms.cost.cpu_us_per_delivery },
    ...latencies('rooms', `rooms of ${MEMBERS}, ${RATE} messages/s: latency`),
  ],
});

// What a join adds is the difference to the point before, so that what a connection costs is not in it.
const perJoin = (id, title, unit, digits, total) => ({
  id, title, unit, digits,
  of: ({ topics }, before) => before && (total(topics) - total(before.topics)) / (topics.seats - before.topics.seats),
  differs: true,
});

const topics = (scale) => ({
  id: 'topics',
  title: `Topics that each of ${scale.seats} connections has joined, ${LISTENERS} subscribers to a topic`,
  unit: 'topics a connection',
  points: scale.topics.map((n) => ({
    at: n,
    nodes: 1,
    more: ['--topics-per-socket', String(Math.max(...scale.topics))],
    seats: n * scale.seats,
    runs: {
      topics: {
        connections: scale.seats, topics: (n * scale.seats) / LISTENERS, topics_per_connection: n, join_timeout_ms: 60_000,
        ...steadily(RATE, scale.seconds), ...common,
      },
    },
  })),
  figures: [
    { id: 'memory', title: 'memory a connection with its joins', unit: 'bytes', digits: 0, of: ({ topics: run }) => run.cost.bytes_per_connection },
    perJoin('memory-join', 'memory a join', 'bytes', 0, (run) => run.cost.bytes_per_connection * run.connections),
    perJoin('cpu-join', 'CPU a join', 'us', 1, (run) => run.cost.cpu_connect_us * run.connections),
    { id: 'delivery', title: `CPU a delivery, ${RATE} messages/s over all topics`, unit: 'us', digits: 2, of: ({ topics: run }) => run.cost.cpu_us_per_delivery },
    ...latencies('topics', `${RATE} messages/s over all topics: latency`),
  ],
});

const nodes = (scale) => ({
  id: 'nodes',
  title: `Nodes; ${LISTENERS} subscribers on the last one, ${scale.rate} messages/s published at the first`,
  unit: 'nodes',
  points: scale.nodes.map((n) => ({
    at: n,
    nodes: n,
    idle: true,
    runs: { nodes: { connections: LISTENERS, ...steadily(scale.rate, scale.seconds), ...common } },
  })),
  figures: [
    { id: 'idle-cpu', title: 'idle: CPU of a node', unit: '% of a core', digits: 2, of: ({ idle }, _, n) => (idle.cpu / n) * 100 },
    { id: 'idle-envelopes', title: 'idle: envelopes that a node receives', unit: '1/s', digits: 1, of: ({ idle }) => idle.envelopes, from: 2 },
    { id: 'idle-bytes', title: 'idle: bytes that a node receives', unit: 'bytes/s', digits: 0, of: ({ idle }) => idle.bytes, from: 2 },
    { id: 'memory', title: 'memory of a node without clients', unit: 'MiB', digits: 1, of: ({ idle }) => idle.rss / 2 ** 20 },
    { id: 'all', title: 'CPU a message (idle taken off), all nodes', unit: 'us', digits: 0, of: (runs) => perMessage(runs) },
    { id: 'each', title: 'CPU a message and node', unit: 'us', digits: 0, of: (runs, _, n) => perMessage(runs) / n },
    { id: 'publisher', title: 'CPU a message, publishing node', unit: 'us', digits: 0, of: ({ shares }) => shares.first, from: 2 },
    { id: 'bystander', title: 'CPU a message, node without clients', unit: 'us', digits: 0, of: ({ shares }) => shares.bystander, from: 3 },
    { id: 'hub', title: 'of that, its hub, which is one thread', unit: 'us', digits: 0, of: ({ shares }) => shares.hub, from: 3 },
    { id: 'envelopes', title: 'envelopes a message, to a node without clients', unit: '', digits: 2, of: ({ shares }) => shares.envelopes, from: 3 },
    ...latencies('nodes', `subscribers on the last node, ${scale.rate} messages/s: latency`),
  ],
});

const perMessage = ({ nodes: run, idle }) => ((run.cost.cpu_s - idle.cpu * run.seconds) * 1e6) / (run.measured / run.connections);
const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;

const hubs = (scale) => ({
  id: 'hubs',
  title: `Nodes without clients (mesh-bench), ${scale.flood.toLocaleString('en-US')} messages of 100 bytes as fast as the first one takes them`,
  unit: 'nodes',
  points: scale.hubs.map((n) => ({ at: n, bench: { nodes: n, messages: scale.flood } })),
  figures: [
    { id: 'publisher', title: 'flooded: CPU a message, publishing node', unit: 'us', digits: 2, of: ({ bench }) => bench.node[0].cpu_us },
    { id: 'receiver', title: 'flooded: CPU a message, another node', unit: 'us', digits: 2, of: ({ bench }) => mean(bench.node.slice(1).map((node) => node.cpu_us)) },
    {
      id: 'all', title: 'flooded: CPU a message and node', unit: 'us', digits: 2, of: ({ bench }) => mean(bench.node.map((node) => node.cpu_us)),
    },
  ],
});

const all = { connections, topics, nodes, hubs };
export const names = Object.keys(all);
export const seriesOf = (names, scale) => names.map((name) => all[name](scale));

// The values of a point; `before`: what the measurements of the point before said.
export const valuesOf = (series, at, runs, before) =>
  Object.fromEntries(
    series.figures.filter(({ from = 0, differs }) => at >= from && !(differs && !before)).map(({ id, of }) => [id, of(runs, before, at)]),
  );
