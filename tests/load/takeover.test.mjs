// A new node takes over much state from nodes that serve clients meanwhile: these must not wait for it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { load, urlsOf, verdict } from '../lib/load.mjs';
import { Node } from '../lib/node.mjs';
import { sleep } from '../lib/wait.mjs';

const bytes = 48 << 20;
const live = { connections: 200, topics: 10, rate: 500, settle_ms: '10s', messages: 0 };

// Fills the node's log; 1 KiB a message, of its own topic that no client follows.
async function fill(node) {
  const line = `${JSON.stringify({ topic: 'bare:filler', event: 'e', payload: 'x'.repeat(1000) })}\n`;
  for (let sent = 0; sent < bytes; sent += 1000 * 1024) {
    const answer = await node.request('POST', '/api/publish/batch', { body: line.repeat(1000), headers: { 'content-type': 'application/x-ndjson' } });
    assert.equal(answer.status, 200, answer.text);
  }
}

const ms = (result, name) => (result.latency_us[name] / 1000).toFixed(1);

test('live_messages_do_not_wait_while_a_new_node_takes_over_the_logs', async (t) => {
  const cluster = await startCluster(t, 2, { options: { workers: 1 } });
  for (const node of cluster.nodes) await fill(node);
  const quiet = await load({ ...urlsOf(cluster.nodes), ...live, duration_ms: '5s' });
  assert.equal(quiet.code, verdict.good, quiet.text);

  const running = load({ ...urlsOf(cluster.nodes), ...live, duration_ms: '8s' });
  await sleep(2000);
  const third = await Node.create({ name: 'node3', folder: cluster.nodes[0].folder, join: cluster.nodes[0], options: { workers: 1 } });
  cluster.nodes.push(third);
  const began = performance.now();
  await third.start(30_000);
  const seconds = (performance.now() - began) / 1000;
  const busy = await running;
  assert.equal(busy.code, verdict.good, busy.text);
  const taken = (await third.metric('fanmesh_repair_bytes_in_total')) / (1 << 20);
  assert.ok(taken > (2 * bytes) / (1 << 20), `${taken} MiB taken over`);
  t.diagnostic(`${taken.toFixed(0)} MiB taken over in ${seconds.toFixed(1)} s`);
  for (const [name, { result }] of [['quiet', quiet], ['meanwhile', busy]])
    t.diagnostic(`latency ${name}: p50 ${ms(result, 'p50')}, p90 ${ms(result, 'p90')}, p99 ${ms(result, 'p99')}, max ${ms(result, 'max')} ms`);
  // If live messages came after it, those published meanwhile, a quarter of all, would each have waited for the rest of it.
  assert.ok(busy.result.latency_us.p90 < (seconds * 1e6) / 4, `live messages were held up: p90 ${ms(busy.result, 'p90')} ms`);
});
