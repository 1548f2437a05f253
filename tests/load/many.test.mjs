// 90,000 clients on six nodes of one machine: everyone gets every broadcast, and how long it takes until the last of them has it is printed.
// MANY_CLIENTS makes it fewer.
import assert from 'node:assert/strict';
import os from 'node:os';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { load, urlsOf, verdict } from '../lib/load.mjs';

const clients = Number(process.env.MANY_CLIENTS ?? 90_000);
const messages = 20;

// A client takes about 20 KB of the machine, most of it the kernel's.
const enough = os.totalmem() > clients * 40_000 + 2e9;

test(`${clients}_clients_on_six_nodes_get_every_broadcast`, { skip: !enough && 'too little memory' }, async (t) => {
  const cluster = await startCluster(t, 6, { options: { workers: 1, accepts_per_s: 0 } });
  const { code, result, errors } = await load({
    ...urlsOf(cluster.nodes),
    pid: cluster.nodes.map((node) => node.pid).join(','),
    connections: clients,
    processes: 6,
    sources: 4,
    connect_rate: 6000,
    connect_ms: '180s',
    heartbeat_ms: 0,
    messages,
    window: 1,
    settle_ms: '30s',
  });
  const text = errors + JSON.stringify({ ...result, plots: undefined }, null, 1);
  assert.equal(code, verdict.good, text);
  assert.equal(result.clients.joined, clients, text);
  assert.equal(result.tally.deliveries, clients * messages, text);
  assert.equal(result.reach_us.count, messages, text);
  const s = (us) => (us / 1e6).toFixed(2);
  t.diagnostic(`joined in ${result.connect_s.toFixed(0)} s; from the publish to the last of ${clients}: ${s(result.reach_us.p50)} s (p50), ` +
    `${s(result.reach_us.max)} s (max); ${Math.round(result.cost.bytes_per_connection)} bytes and ${result.cost.cpu_us_per_delivery.toFixed(2)} us a delivery`);
});
