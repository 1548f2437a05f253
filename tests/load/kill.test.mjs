// A node dies with 3,000 clients on it: kill -9, nobody is told. They go to the two others, which have 3,000 each, and miss nothing that was
// acknowledged as replicated. How long it took is printed.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { load, recovery, urlsOf, verdict } from '../lib/load.mjs';
import { sleep, until } from '../lib/wait.mjs';

const clients = 9000;

test('3000_clients_of_a_killed_node_are_all_back_on_the_others_and_miss_nothing_replicated', async (t) => {
  const cluster = await startCluster(t, 3);
  const victim = cluster.nodes[1];
  const gone_file = path.join(victim.folder, 'gone');
  const { self } = (await victim.request('GET', '/api/cluster')).body;
  const running = load({
    ...urlsOf(cluster.nodes),
    connections: clients,
    topics: 50,
    connect_rate: 40_000,
    messages: 0,
    duration_ms: '10m', // it is stopped before
    rate: 100,
    ack: 'mixed',
    replicated_percent: 50,
    keyed_percent: 100,
    settle_ms: '20s',
    gone_file,
  });
  await until('all clients are there', async () => (await victim.metric('fanmesh_deliveries_total')) > 0, 120_000);
  await sleep(5000);
  await victim.kill();
  fs.writeFileSync(gone_file, `${self.incarnation}\n`);
  await sleep(15_000);
  running.stop();
  const { code, result, text } = await running;
  assert.ok(code === verdict.good || code === verdict.declared, text);
  assert.equal(result.tally.missing, 0, text);
  assert.equal(result.clients.joined, clients, text);
  assert.ok(result.clients.reconnects >= clients / 3, text);
  assert.ok(result.recovery_ms.count >= clients / 3, text);
  assert.ok(result.published.replicated > 500, text);
  t.diagnostic(`${result.recovery_ms.count} clients had everything again after ${recovery(result)}`);
  t.diagnostic(`of ${result.published.acked} acknowledged: declared ${result.tally.declared}, with the node died ` +
    `${result.tally.tail_unknown} unknown and ${result.tally.tail_local} on its clients only; latency p99 ${result.latency_us.p99 / 1000} ms`);
});
