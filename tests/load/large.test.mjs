// Large loads: the promise with 1,500 clients, and what 15,000 connections cost a node.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { load, urlsOf, verdict } from '../lib/load.mjs';
import { until } from '../lib/wait.mjs';

const clients = 1500;
const messages = 10_000;

test('1500_clients_on_three_nodes_get_10000_messages_in_order_each_once', async (t) => {
  const cluster = await startCluster(t, 3);
  const { code, result, text } = await load({ ...urlsOf(cluster.nodes), connections: clients, messages, window: 32, settle_ms: '20s' });
  assert.equal(code, verdict.good, text);
  assert.equal(result.published.acked, messages, text);
  assert.equal(result.tally.deliveries, clients * messages, text);
  t.diagnostic(`${Math.round(result.deliveries_per_s)} deliveries a second on this machine`);
});

test('1500_clients_miss_nothing_of_10000_messages_while_a_node_is_restarted', async (t) => {
  const cluster = await startCluster(t, 3);
  const running = load({ ...urlsOf(cluster.nodes), connections: clients, messages, window: 32, settle_ms: '20s' });
  const { nodes } = cluster;
  await until('it is under way', async () => (await nodes[2].metric('fanmesh_deliveries_total')) >= (clients / 3) * 500, 120_000, 100);
  await cluster.restart(nodes[2]);
  const { code, result, text } = await running;
  assert.equal(code, verdict.good, text);
  assert.ok(result.clients.reconnects >= clients / 3, text);
  assert.equal(result.clients.unrecovered, 0, text);
  assert.equal(result.tally.deliveries, clients * result.published.acked, text);
});

test('15000_connections_cost_at_most_3_KB_each_and_do_not_wake_an_idle_node', async (t) => {
  const node = await startNode(t, { options: { workers: 1, accepts_per_s: 0 } });
  const options = { nodes: urlsOf([node]).nodes, pid: node.pid, connections: 15_000, connect_rate: 5000, idle_ms: '5s' };
  const quiet = (await load({ ...options, heartbeat_ms: 0, messages: 5, settle_ms: '20s' })).result;
  assert.equal(quiet.exit, verdict.good, JSON.stringify(quiet, null, 1));
  assert.equal(quiet.tally.deliveries, 5 * 15_000);
  assert.ok(quiet.cost.bytes_per_connection <= 3072, `${quiet.cost.bytes_per_connection} bytes a connection`);
  // A node's own clocks wake its threads 70 times a second, with or without connections. CPU time would depend on the machine: it is printed.
  assert.ok(quiet.cost.idle_wakes_per_s > 0 && quiet.cost.idle_wakes_per_s < 250, `${quiet.cost.idle_wakes_per_s} wake-ups a second while idle`);
  const beating = (await load({ ...options, heartbeat_ms: '30s', messages: 0 })).result;
  t.diagnostic(`${Math.round(quiet.cost.bytes_per_connection)} bytes of memory and ${quiet.cost.cpu_connect_us.toFixed(0)} us a connection`);
  t.diagnostic(`idle CPU of a core: ${quiet.cost.idle_cpu_percent.toFixed(2)} % silent, ` +
    `${beating.cost.idle_cpu_percent.toFixed(2)} % with a heartbeat every 30 s of each; ` +
    `wake-ups a second: ${quiet.cost.idle_wakes_per_s.toFixed(0)} and ${beating.cost.idle_wakes_per_s.toFixed(0)}`);
});
