// The test of the tests: fanmesh-load must find every mistake of a broadcaster that makes them on purpose, and none in a good one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, startFloor, verdict } from '../lib/load.mjs';
import { freePort } from '../lib/ports.mjs';

const small = { connections: 50, messages: 400, window: 4, settle_ms: '500ms' };

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

test('a node that is not there, wrong options and unknown processes end with a sentence', async () => {
  const port = await freePort();
  const nodes = `ws://127.0.0.1:${port}`;
  for (const [options, sentence] of [
    [{ nodes, connect_ms: '300ms' }, /only 0 of 1000 clients joined.*refused/],
    [{ nodes: 'wss://127.0.0.1' }, /wss:\/\/127.0.0.1 is not an address/],
    [{ nodes, connections: 3, topics: 4 }, /--connections: 3 clients don't reach every topic/],
    [{ nodes, connections: 900000 }, /descriptors are needed/],
    [{ nodes, pid: '2147483647' }, /there is no such process/],
    [{ nodes, conections: 3 }, /conections/],
  ]) {
    const { code, result, errors } = await load(options);
    assert.equal(code, verdict.unusable);
    assert.equal(result, null);
    assert.match(errors, sentence);
  }
});
