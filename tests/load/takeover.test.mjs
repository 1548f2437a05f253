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

const latency = ({ result }) => ['p50', 'p90', 'p99', 'max'].map((name) => `${name} ${(result.latency_us[name] / 1000).toFixed(1)} ms`).join(', ');

// Whether live messages waited for a node that takes over what the two have.
async function takeOver(t, cluster, name) {
  const [a, b] = cluster.nodes;
  const running = load({ ...urlsOf([a, b]), ...live, duration_ms: '8s' });
  await sleep(2000);
  const third = await Node.create({ name, folder: a.folder, join: a, options: { workers: 1 } });
  cluster.nodes.push(third);
  const began = performance.now();
  await third.start(30_000);
  const seconds = (performance.now() - began) / 1000;
  const busy = await running;
  assert.equal(busy.code, verdict.good, busy.text);
  const taken = (await third.metric('fanmesh_repair_bytes_in_total')) / (1 << 20);
  assert.ok(taken > (2 * bytes) / (1 << 20), `${taken} MiB taken over`);
  t.diagnostic(`${taken.toFixed(0)} MiB taken over in ${seconds.toFixed(1)} s; latency meanwhile: ${latency(busy)}`);
  await third.stop();
  return busy.result.latency_us.p90 >= (seconds * 1e6) / 4;
}

test('live_messages_do_not_wait_while_a_new_node_takes_over_the_logs', async (t) => {
  const cluster = await startCluster(t, 2, { options: { workers: 1 } });
  for (const node of cluster.nodes) await fill(node);
  const quiet = await load({ ...urlsOf(cluster.nodes), ...live, duration_ms: '5s' });
  assert.equal(quiet.code, verdict.good, quiet.text);

  t.diagnostic(`latency before: ${latency(quiet)}`);

  // If live messages came after it, those published meanwhile, a quarter of all, would each have waited for the rest of it, each time. A
  // machine that stands still holds them up once.
  let heldUp = true;
  for (let tries = 0; tries < 3 && heldUp; tries++) heldUp = await takeOver(t, cluster, `node${3 + tries}`);
  assert.ok(!heldUp, 'live messages were held up');
});
