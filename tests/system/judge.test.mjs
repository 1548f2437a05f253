// The test of the tests: fanmesh-load must find every mistake of a broadcaster that makes them on purpose, and none in a good one.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { load, startFloor, verdict } from '../lib/load.mjs';
import { workFolder } from '../lib/node.mjs';
import { freePort } from '../lib/ports.mjs';

// What is missing is waited for this long, and holds up its place in the window for as long; a broadcaster that is not given its turn has the time.
const small = { connections: 50, messages: 400, window: 20, settle_ms: '3s' };

test('a good broadcaster is not accused, by pushes and by HTTP', async (t) => {
  const floor = await startFloor(t);
  for (const api of [{}, { api: floor.api, api_connections: 2 }]) {
    const { code, result, errors } = await load({ ...small, nodes: floor.nodes, pid: floor.pid, topics: 5, ...api });
    assert.equal(code, verdict.good, errors);
    assert.equal(result.tally.deliveries, 400 * 10);
    assert.equal(result.published.acked, 400);
    assert.ok(result.cost.cpu_s > 0 && result.cost.bytes_per_connection > 0);
    assert.ok(result.latency_us.p50 > 0 && result.latency_us.p99 >= result.latency_us.p50);
  }
});

test('plain channels are judged by the order of their publishers', async (t) => {
  for (const [faults, want] of [[['--plain'], verdict.good], [['--plain', '--swap-every', '1001'], verdict.broken]]) {
    const floor = await startFloor(t, faults);
    const { code, result } = await load({ ...small, nodes: floor.nodes, plain: true });
    assert.equal(code, want, JSON.stringify(result));
  }
});

test('an id on a plain channel and its absence on a cursor channel are found', async (t) => {
  for (const [faults, plain] of [[[], { plain: true }], [['--plain'], {}]]) {
    const floor = await startFloor(t, faults);
    const { code, result } = await load({ ...small, messages: 5, nodes: floor.nodes, ...plain });
    assert.equal(code, verdict.broken);
    assert.ok(result.tally.malformed > 0);
  }
});

for (const [fault, mistake] of [['--drop-every', 'missing'], ['--double-every', 'doubled'], ['--swap-every', 'disordered']]) {
  test(`${fault} makes it fail with ${mistake}`, async (t) => {
    const floor = await startFloor(t, [fault, '997']);
    const { code, result } = await load({ ...small, nodes: floor.nodes });
    assert.equal(code, verdict.broken);
    assert.ok(Math.abs(result.tally[mistake] - 20) <= 1, JSON.stringify(result.tally)); // 20,000 deliveries
  });
}

test('what is lost while a client is away is declared if the node says so, and silent if the node lies', async (t) => {
  for (const [faults, want, mistake] of [[[], verdict.declared, 'declared'], [['--lie'], verdict.broken, 'missing']]) {
    const floor = await startFloor(t, ['--kick-every', '60', ...faults]);
    const { code, result } = await load({ ...small, nodes: floor.nodes, messages: 300, rate: 1000 });
    assert.equal(code, want, JSON.stringify(result));
    assert.ok(result.tally[mistake] > 0 && result.clients.reconnects >= 4, JSON.stringify(result));
  }
});

// A floor, as one node and its API or as two of each (then half of the clients are another node's than the one that took a message), and a
// file that says that it was killed.
async function startVictim(t, faults, nodes) {
  const floor = await startFloor(t, faults);
  const gone_file = path.join(workFolder(), 'gone');
  fs.writeFileSync(gone_file, 'F\n');
  const twice = (url) => Array(nodes).fill(url).join(',');
  return { nodes: twice(floor.nodes), api: twice(floor.api), gone_file };
}

test('a lost message is excused by the death of its node only if it was local, none of the others has it, and nothing later came', async (t) => {
  const swallow = ['--swallow-every', '100'];
  const drop = ['--drop-every', '997'];
  const dropLast = ['--drop-every', '19999']; // of 20,000 deliveries
  const last = { messages: 100 };
  const cases = [
    [swallow, 1, last, verdict.declared, { tail_unknown: 50, missing: 0 }],
    [swallow, 1, { ...last, gone_file: '/nonexistent' }, verdict.broken, { tail_unknown: 0, missing: 50 }],
    [swallow, 1, { ...last, ack: 'replicated' }, verdict.broken, { tail_unknown: 0, missing: 50 }],
    [swallow, 1, {}, verdict.broken, { tail_unknown: 50, missing: 150 }],
    [dropLast, 1, {}, verdict.declared, { tail_local: 1, missing: 0 }],
    [dropLast, 2, {}, verdict.broken, { tail_local: 0, missing: 1 }],
    [drop, 1, {}, verdict.broken, { tail_local: 0, missing: 20 }],
  ];
  await Promise.all(cases.map(async ([faults, nodes, options, want, tally]) => {
    const { code, result, errors } = await load({ ...small, ...(await startVictim(t, faults, nodes)), ...options });
    const text = JSON.stringify([faults, nodes, options, result, errors]);
    assert.equal(code, want, text);
    for (const [name, value] of Object.entries(tally)) assert.equal(result.tally[name], value, `${name} in ${text}`);
  }));
});

test('of mixed acknowledgements each is judged by what it asked for', async (t) => {
  const { code, result } = await load({ ...small, messages: 40, ...(await startVictim(t, ['--swallow-every', '1'], 1)), ack: 'mixed', replicated_percent: 50 });
  const text = JSON.stringify(result);
  assert.equal(code, verdict.broken, text);
  assert.ok(result.published.replicated > 10 && result.published.replicated < 30, text);
  assert.equal(result.tally.missing + result.tally.tail_unknown, 40 * 50, text);
  assert.ok(result.tally.missing >= 500 && result.tally.tail_unknown >= 500, text);
});

test('a publish that is refused is tried again with its key, and without a key it is not', async (t) => {
  for (const keyed_percent of [100, 0]) {
    const floor = await startFloor(t, ['--refuse-every', '10']);
    const { code, result } = await load({ ...small, nodes: floor.nodes, api: floor.api, keyed_percent });
    const text = JSON.stringify(result);
    assert.equal(code, verdict.good, text);
    assert.equal(result.published.refused > 0, keyed_percent === 0, text);
    assert.equal(result.published.retried > 0, keyed_percent === 100, text);
    assert.equal(result.tally.deliveries, result.published.acked * 50, text);
  }
});

test('a node that ignores keys is found when a publish without an answer is tried again', async (t) => {
  const floor = await startFloor(t, ['--forget-every', '20']);
  for (const keyed_percent of [100, 0]) {
    const { code, result } = await load({ ...small, nodes: floor.nodes, api: floor.api, keyed_percent });
    const text = JSON.stringify(result);
    assert.equal(code, keyed_percent ? verdict.broken : verdict.good, text);
    assert.equal(result.published.unanswered > 0, keyed_percent === 0, text);
    assert.equal(result.tally.doubled > 0 && result.tally.wrong_id > 0, keyed_percent === 100, text);
    assert.equal(result.tally.doubled_by_key, 0, text);
  }
});

test('a second copy under another id is not excused where nothing was published twice', async (t) => {
  const floor = await startFloor(t, ['--copy-every', '100']);
  const { code, result } = await load({ ...small, nodes: floor.nodes, api: floor.api, keyed_percent: 100 });
  assert.equal(code, verdict.broken, JSON.stringify(result));
  assert.equal(result.tally.doubled, 200, JSON.stringify(result));
});

test('what is accepted and not replicated in time is owed to all the same', async (t) => {
  for (const [faults, want, missing] of [[[], verdict.good, 0], [['--swallow-every', '200'], verdict.broken, 100]]) {
    const floor = await startFloor(t, ['--unconfirmed-every', '10', ...faults]);
    const { code, result } = await load({ ...small, nodes: floor.nodes, api: floor.api, ack: 'replicated', api_connections: 1 });
    const text = JSON.stringify(result);
    assert.equal(code, want, text);
    assert.equal(result.published.unconfirmed, 40, text);
    assert.equal(result.published.acked, 360, text);
    assert.equal(result.tally.missing, missing, text);
  }
});

test('a gap declares what it covers, and one that covers too little hides nothing', async (t) => {
  for (const [faults, want, mistake] of [[[], verdict.declared, 'declared'], [['--lie'], verdict.broken, 'missing']]) {
    const floor = await startFloor(t, ['--gap-every', '997', ...faults]);
    const { code, result } = await load({ ...small, nodes: floor.nodes });
    assert.equal(code, want, JSON.stringify(result));
    assert.equal(result.tally[mistake], 20, JSON.stringify(result));
    assert.equal(result.tally.declared + result.tally.missing, 20, JSON.stringify(result));
  }
});

test('a node that answers no heartbeats is left', async (t) => {
  for (const [faults, silent] of [[['--mute'], true], [[], false]]) {
    const floor = await startFloor(t, faults);
    const { result } = await load({
      ...small, nodes: floor.nodes, messages: 0, duration_ms: '5s', rate: 100, heartbeat_ms: '500ms', heartbeat_timeout_ms: silent ? '500ms' : '3s',
    });
    const text = JSON.stringify(result);
    for (const n of [result.clients.silent, result.recovery_ms.count]) assert.ok(silent ? n >= 50 : n === 0, text);
    assert.equal(result.tally.malformed, 0, text);
  }
});

test('a node that accepts connections and says nothing is left for the next one', async (t) => {
  const silent = net.createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.after(() => silent.close());
  const floor = await startFloor(t);
  const nodes = `ws://127.0.0.1:${silent.address().port},${floor.nodes}`;
  const { code, result } = await load({ ...small, nodes, join_timeout_ms: '3s' });
  assert.equal(code, verdict.good, JSON.stringify(result));
  assert.equal(result.clients.connect_failures, 25, JSON.stringify(result));
  assert.ok(result.connect_s >= 3, JSON.stringify(result));
});

test('a file of killed origins that holds something else is named, and nothing is judged', async (t) => {
  const floor = await startFloor(t);
  const gone_file = path.join(workFolder(), 'gone');
  fs.writeFileSync(gone_file, 'F\nnode2 F\n');
  const { code, result, errors } = await load({ ...small, nodes: floor.nodes, messages: 5, gone_file });
  assert.equal(code, verdict.unusable);
  assert.equal(result, null);
  assert.match(errors, /--gone-file: line 2/);
});

test('a node that is not there, wrong options and unknown processes end with a sentence', async () => {
  const port = await freePort();
  const nodes = `ws://127.0.0.1:${port}`;
  for (const [options, sentence] of [
    [{ nodes, connect_ms: '3s' }, /only 0 of 1000 clients joined.*refused/],
    [{ nodes: 'http://127.0.0.1' }, /http:\/\/127.0.0.1 is not an address/],
    [{ nodes, connections: 3, topics: 4 }, /--connections: 3 clients don't reach every topic/],
    [{ nodes, connections: 900000 }, /descriptors are needed/],
    [{ nodes, pid: '2147483647' }, /there is no such process/],
    [{ nodes, conections: 3 }, /conections/],
    [{ nodes, keyed_percent: 3 }, /--keyed-percent: only fanmesh's API has an idempotency key/],
    [{ nodes, series: '/nonexistent/x' }, /--series: No such file/],
  ]) {
    const { code, result, errors } = await load(options);
    assert.equal(code, verdict.unusable);
    assert.equal(result, null);
    assert.match(errors, sentence);
  }
});
