// What is measured: cells, each one run of fanmesh-load against fresh servers, and the rows of the table that are read from them.
//
// A cell ends after a time, so that a slow peer takes no longer; in a quick run after some messages, so that a stalled machine has figures too.
export const scales = {
  full: {
    few: 1000, many: 8000, cpu: { messages: 0, duration_ms: 1500 }, room: 200, rate: 100, listeners: 100, hopRate: 500, seconds: 5, limitMs: 120_000,
  },
  // Whether everything starts, arrives and is counted. Its figures mean nothing.
  quick: { few: 100, many: 1000, cpu: { messages: 150 }, room: 50, rate: 100, listeners: 20, hopRate: 200, seconds: 0.5, limitMs: 60_000 },
};

const count = (n) => n.toLocaleString('en-US');

const steadily = (rate, seconds) => ({ rate, messages: rate * seconds, warmup: Math.ceil(rate / 4) });

// The servers set the pace at which clients connect.
const common = { connect_rate: 0, connecting_max: 256, connect_ms: 60_000, heartbeat_ms: 0, payload: 64, settle_ms: 10_000 };

// { id, options of fanmesh-load, nodes: 1 or 3 }
export function cellsOf(scale) {
  const cells = [];
  for (const [size, connections, warmup] of [['few', scale.few, 20], ['many', scale.many, 2]]) {
    for (const window of [1, 8, 64]) {
      cells.push({ id: `${size}-${window}`, nodes: 1, options: { connections, window, warmup, ...scale.cpu } });
    }
  }
  cells.push({ id: 'connect', nodes: 1, options: { connections: scale.many, messages: 1 } });
  cells.push({ id: 'rate', nodes: 1, options: { connections: scale.room, ...steadily(scale.rate, scale.seconds) } });
  cells.push({ id: 'hop', nodes: 3, options: { connections: scale.listeners, ...steadily(scale.hopRate, scale.seconds) } });
  for (const { options } of cells) Object.assign(options, common);
  return cells;
}

const cost = (key) => (run) => run.cost[key];

// { group, title, unit, cell, of: its value, from what fanmesh-load said, digits, more: whether more is better }
export function rowsOf(scale) {
  const rows = [];
  const add = (group, cell, title, unit, digits, of, more = false) => rows.push({ group, cell, title, unit, digits, of, more });
  for (const size of ['few', 'many']) {
    for (const window of [1, 8, 64]) {
      add('CPU a delivery', `${size}-${window}`, `${count(scale[size])} subscribers, ${window} in flight`, 'us', 2, cost('cpu_us_per_delivery'));
    }
  }
  add('Connections', 'connect', `memory of each, of ${count(scale.many)}`, 'bytes', 0, cost('bytes_per_connection'));
  add('Connections', 'connect', 'a second', '1/s', 0, (run) => run.connections / run.connect_s, true);
  add('Connections', 'connect', 'CPU of each', 'us', 1, cost('cpu_connect_us'));
  for (const [group, cell, title] of [
    ['Latency', 'rate', `${count(scale.room)} subscribers, ${count(scale.rate)} messages/s`],
    ['Cluster of three', 'hop', `${count(scale.listeners)} subscribers a hop away, ${count(scale.hopRate)} messages/s`],
  ]) {
    for (const key of ['p50', 'p99', 'p99_9']) add(group, cell, `${title}: ${key.replace('_', '.')}`, 'ms', 2, (run) => run.latency_us[key] / 1000);
  }
  add('Cluster of three', 'hop', 'CPU of all nodes for each delivery', 'us', 2, cost('cpu_us_per_delivery'));
  return rows;
}

// What fanmesh promises beside the floor, for --check.
export const promises = [
  { text: '8,000 subscribers, 1 in flight: at most 1.25 times the floor', value: (of) => of('fanmesh', 'many-1').floor, kept: (ratio) => ratio <= 1.25 },
  {
    text: '1,000 subscribers: a delivery at least 4 times cheaper with 8 in flight than with 1',
    value: (of) => of('fanmesh', 'few-1').median / of('fanmesh', 'few-8').median,
    kept: (times) => times >= 4,
  },
];
