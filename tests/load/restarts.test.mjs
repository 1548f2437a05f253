// Every node of three is restarted in turn, twenty times, while backends publish on all of them and clients listen on all of them: nothing is
// missing and nothing comes twice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { load, recovery, urlsOf, verdict } from '../lib/load.mjs';
import { sleep } from '../lib/wait.mjs';

const clients = 300;
const topics = 20;
const rounds = Number(process.env.RESTART_ROUNDS ?? 20);

async function rollingRestarts(cluster, n, options = {}) {
  let over = false;
  const running = load({
    ...urlsOf(cluster.nodes),
    connections: clients,
    topics,
    messages: 0,
    duration_ms: '1h',
    rate: 300,
    ack: 'mixed',
    keyed_percent: 100,
    retries: 20,
    settle_ms: '20s',
    ...options,
  });
  running.finally(() => (over = true)).catch(() => {});
  await sleep(1500);
  for (let i = 0; i < 3 * n && !over; i++) await cluster.restart(cluster.nodes[i % 3]);
  running.stop();
  return running;
}

test(`in_${rounds}_rolling_restarts_of_all_three_nodes_nothing_is_missing_and_nothing_comes_twice`, async (t) => {
  const began = Date.now();
  const { code, result, text } = await rollingRestarts(await startCluster(t, 3), rounds);
  assert.equal(code, verdict.good, text);
  assert.equal(result.tally.doubled_by_key, 0, text);
  assert.equal(result.published.refused + result.published.unanswered, 0, text);
  assert.equal(result.tally.deliveries, result.published.sent * (clients / topics), text);
  assert.equal(result.clients.joined, clients, text);
  assert.ok(result.clients.reconnects >= clients * rounds, text);
  t.diagnostic(`${3 * rounds} restarts in ${Math.round((Date.now() - began) / 1000)} s, ${result.published.acked} messages, ` +
    `${result.published.retried} publishes tried again, ${result.tally.deliveries} deliveries`);
  t.diagnostic(`${result.recovery_ms.count} times a client moved: ${recovery(result)}, ${result.clients.replayed} messages replayed`);
});

// The test of that test. On one topic, since what a node replays one too late or too early is then a message of it.
for (const [mutation, mistake] of [['CURSOR_HIGH', 'missing'], ['CURSOR_LOW', 'doubled']]) {
  test(`one_round_with_nodes_broken_by_${mutation}_is_found_${mistake}`, async (t) => {
    const { code, result, text } = await rollingRestarts(await startCluster(t, 3, { mutation }), 1, { topics: 1, settle_ms: '3s' });
    assert.equal(code, verdict.broken, text);
    assert.ok(result.tally[mistake] > 0, text);
  });
}
