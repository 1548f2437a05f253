// What can happen to a cluster. One table; each kind has
//
//   draw(random, n, mortal)   what exactly, and for how long: { ms, ...args }; mortal: the nodes whose process may be ended
//   text(args)        in a few words, for report and picture
//   row               where the picture shows it: 'network', 'links', or 'node'
//   stops(args, n)    the nodes that don't run, or not unfrozen, meanwhile
//   alone             true: only while nothing else goes on and the network is whole. A node that leaves in good order hands over what it has;
//                     cut off, it can't, and what it alone had is lost without a word, as the README says
//   begin(run, args)  and end(run, args); both may be async. `run` has nodes (from 1), cuts, mesh (the proxies) and burst()
import { setTimeout as sleep } from 'node:timers/promises';

const range = (n) => Array.from({ length: n }, (_, i) => i + 1);

function pairsOf(groups) {
  return groups.flatMap((group, g) => groups.slice(g + 1).flatMap((other) => group.flatMap((a) => other.map((b) => [a, b]))));
}

const split = (first) => ({
  row: 'network',
  draw(random, n) {
    const order = random.shuffle(range(n));
    const k = Math.min(first, n - 1);
    return { ms: random.between(3000, 20_000), groups: [order.slice(0, k).sort(), order.slice(k).sort()] };
  },
  text: ({ groups }) => `split ${groups.map((group) => group.join(' ')).join(' | ')}`,
  begin: (run, { groups }) => pairsOf(groups).forEach(([a, b]) => run.cuts.both(a, b, true)),
  end: (run, { groups }) => pairsOf(groups).forEach(([a, b]) => run.cuts.both(a, b, false)),
});

// Rules of the proxies for what passes between two nodes; `from` and `to` name the direction for those that have one.
const onLink = (kind) => ({
  row: 'links',
  begin: (run, args) => run.mesh.add(args, kind.rules(args)),
  end: (run, args) => run.mesh.drop(args),
  ...kind,
});

const pair = (random, n) => {
  const [from, to] = random.shuffle(range(n));
  return { from, to };
};

export const kinds = {
  link_down: {
    row: 'network',
    draw: (random, n) => ({ ms: random.between(1000, 12_000), node: random.between(1, n), side: random.pick(['cable', 'interface']) }),
    text: ({ node, side }) => `${side} of ${node} down`,
    begin: (run, { node, side }) => run.cuts.link(node, side, true),
    end: (run, { node, side }) => run.cuts.link(node, side, false),
  },
  one_way: {
    row: 'links',
    draw: (random, n) => ({ ms: random.between(2000, 15_000), ...pair(random, n) }),
    text: ({ from, to }) => `${from} can't reach ${to}`,
    begin: (run, { from, to }) => run.cuts.oneWay(from, to, true),
    end: (run, { from, to }) => run.cuts.oneWay(from, to, false),
  },
  split_2_3: split(2),
  split_1_4: split(1),
  chain: {
    row: 'network',
    draw: (random, n) => ({ ms: random.between(4000, 20_000), order: random.shuffle(range(n)) }),
    text: ({ order }) => `chain ${order.join('-')}`,
    far: ({ order }) => order.flatMap((a, i) => order.slice(i + 2).map((b) => [a, b])),
    begin: (run, args) => kinds.chain.far(args).forEach(([a, b]) => run.cuts.both(a, b, true)),
    end: (run, args) => kinds.chain.far(args).forEach(([a, b]) => run.cuts.both(a, b, false)),
  },
  kill: {
    row: 'node',
    draw: (random, n, mortal) => ({ ms: random.between(500, 8000), node: random.pick(mortal) }),
    text: () => 'kill -9',
    stops: ({ node }) => [node],
    again_ms: 6000, // from the start of its process until it counts as running
    begin: (run, { node }) => run.nodes[node].die(),
    end: (run, { node }) => run.nodes[node].comeBack(),
  },
  freeze: {
    row: 'node',
    draw: (random, n) => ({ ms: random.chance(0.3) ? random.between(10_000, 30_000) : random.between(300, 8000), node: random.between(1, n) }),
    text: ({ ms }) => `frozen ${Math.round(ms / 100) / 10} s`,
    stops: ({ node }) => [node],
    begin: (run, { node }) => run.nodes[node].freeze(),
    end: (run, { node }) => run.nodes[node].thaw(),
  },
  restart: {
    row: 'node',
    alone: true,
    draw: (random, n, mortal) => ({ ms: 6000, node: random.pick(mortal) }),
    text: () => 'restart',
    stops: ({ node }) => [node],
    begin: (run, { node }) => run.nodes[node].renew(),
    end: () => {},
  },
  rolling: {
    row: 'network',
    alone: true,
    draw: (random, n, mortal) => ({ ms: mortal.length * 5000, order: random.shuffle(mortal) }),
    text: ({ order }) => `rolling restart ${order.join(' ')}`,
    stops: ({ order }) => [order[0]],
    async begin(run, { order }) {
      for (const node of order) {
        await run.nodes[node].renew();
        await sleep(500);
      }
    },
    end: () => {},
  },
  clock: {
    row: 'node',
    draw(random, n) {
      const size = random.pick([1000, 30_000, 600_000, 7_200_000]);
      return { ms: random.between(3000, 20_000), node: random.between(1, n), jump_ms: random.pick([-1, 1]) * random.between(size / 2, size) };
    },
    text: ({ jump_ms }) => `clock ${jump_ms > 0 ? '+' : '-'}${Math.round(Math.abs(jump_ms) / 1000)} s`,
    begin: (run, { node, jump_ms }) => run.nodes[node].setClock(jump_ms),
    end: (run, { node }) => run.nodes[node].setClock(0),
  },
  // More than its caps of memory hold is published on a node at once: something must go, and who lacks it must be told.
  burst: {
    row: 'node',
    draw: (random, n) => ({ ms: 3000, node: random.between(1, n), messages: random.between(400, 900), bytes: random.between(16_000, 48_000) }),
    text: ({ messages, bytes }) => `burst ${Math.round((messages * bytes) / 2 ** 20)} MiB`,
    begin: (run, { node, messages, bytes }) => run.burst(node, messages, bytes),
    end: () => {},
  },
  // The same while a node is cut off: what it lacks is gone from the logs when it comes back, so its clients must be told of gaps.
  exhaust: {
    row: 'network',
    draw(random, n) {
      const [away, node, ...others] = random.shuffle(range(n));
      return { ms: random.between(5000, 10_000), groups: [[away], [node, ...others].sort()], on: node, messages: random.between(900, 1200), bytes: 30_000 };
    },
    text: ({ groups, on, messages, bytes }) => `${groups[0]} cut off, burst ${Math.round((messages * bytes) / 2 ** 20)} MiB on ${on}`,
    async begin(run, args) {
      kinds.split_1_4.begin(run, args);
      await sleep(1500); // what is published meanwhile is what will be lacking
      await run.burst(args.on, args.messages, args.bytes);
    },
    end: (run, args) => kinds.split_1_4.end(run, args),
  },
  delay: onLink({
    draw: (random, n) => ({ ms: random.between(3000, 15_000), ...pair(random, n), delay: random.between(5, 400), jitter: random.between(0, 300) }),
    text: ({ from, to, delay, jitter }) => `${from}-${to} ${delay}..${delay + jitter} ms`,
    rules: ({ delay, jitter }) => ({ delay, jitter }),
  }),
  // A link that takes less than is sent, and more than usual to send: the mesh's queue to that peer overflows. Not so slow that a batch takes
  // longer than the silence after which a peer counts as down.
  throttle: onLink({
    draw: (random, n) => ({ ms: random.between(6000, 15_000), ...pair(random, n), rate: random.between(50_000, 150_000), messages: 600, bytes: 10_000 }),
    text: ({ from, to, rate }) => `${from}-${to} ${Math.round(rate / 1000)} kB/s`,
    rules: ({ rate }) => ({ rate }),
    async begin(run, args) {
      await run.mesh.add(args, kinds.throttle.rules(args));
      await run.burst(args.from, args.messages, args.bytes);
    },
  }),
  half_open: onLink({
    draw(random, n) {
      return { ms: random.between(2000, 15_000), ...pair(random, n), ways: random.pick([1, 2]), how: random.pick(['stall', 'swallow']) };
    },
    text: ({ from, to, ways, how }) => `${from}${ways === 1 ? '>' : '-'}${to} ${how === 'stall' ? 'stalled' : 'swallowed'}`,
    rules: ({ ways, how }) => ({ to: how, ...(ways === 2 ? { from: how } : {}) }),
  }),
  reset: onLink({
    draw: (random, n) => ({ ms: 200, ...pair(random, n) }),
    text: ({ from, to }) => `${from}-${to} reset`,
    begin: (run, args) => run.mesh.reset(args),
    end: () => {},
  }),
};
