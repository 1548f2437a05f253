// Many clients on real nodes, judged by fanmesh-load: every message at every client, once, in the order of its origin.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { load, urlsOf, verdict } from '../lib/load.mjs';
import { sleep, until } from '../lib/wait.mjs';

const good = (outcome, deliveries) => {
  const text = JSON.stringify(outcome, null, 1);
  assert.equal(outcome.code, verdict.good, text);
  assert.equal(outcome.result.published.refused + outcome.result.published.unanswered, 0, text);
  assert.equal(outcome.result.tally.deliveries, deliveries, text);
};

test('three_hundred_clients_on_three_nodes_get_everything_pushed_on_all_three', async (t) => {
  const cluster = await startCluster(t, 3);
  const nodes = urlsOf(cluster.nodes).nodes;
  good(await load({ nodes, connections: 300, topics: 5, messages: 2000, window: 8 }), 2000 * 60);
  good(await load({ nodes, connections: 300, topics: 5, messages: 500, window: 8, plain: true }), 500 * 60);
});

test('three_hundred_clients_on_three_nodes_get_everything_posted_on_all_three', async (t) => {
  const cluster = await startCluster(t, 3);
  good(await load({ ...urlsOf(cluster.nodes), connections: 300, topics: 5, messages: 2000, rate: 1000 }), 2000 * 60);
});

test('nothing_is_lost_or_doubled_while_a_node_is_restarted', async (t) => {
  const cluster = await startCluster(t, 3);
  const running = load({ ...urlsOf(cluster.nodes), connections: 300, topics: 5, messages: 3000, rate: 500, settle_ms: '10s' });
  await sleep(1500);
  await cluster.restart(cluster.nodes[1]);
  const { code, result, text } = await running;
  assert.equal(code, verdict.good, text);
  assert.ok(result.clients.reconnects >= 100, text);
  assert.equal(result.clients.joined, 300, text);
  assert.equal(result.clients.unrecovered, 0, text);
});

test('nothing_acknowledged_as_replicated_is_lost_in_silence_when_a_node_is_killed', async (t) => {
  const cluster = await startCluster(t, 3);
  const running = load({
    ...urlsOf(cluster.nodes),
    connections: 300,
    topics: 5,
    messages: 3000,
    rate: 500,
    ack: 'replicated',
    api_connections: 16,
    settle_ms: '10s',
  });
  await sleep(1500);
  await cluster.nodes[1].kill();
  await sleep(500);
  await cluster.restart(cluster.nodes[1]);
  const { code, result, text } = await running;
  // What its own clients alone had of its last messages died with it: that may be told to them, never hidden.
  assert.ok(code === verdict.good || code === verdict.declared, text);
  assert.equal(result.tally.missing, 0, text);
  assert.ok(result.clients.reconnects >= 100, text);
  assert.equal(result.clients.joined, 300, text);
  t.diagnostic(`declared: ${result.tally.declared}, unanswered: ${result.published.unanswered}, partial: ${result.tally.partial}`);
});

test('a_killed_node_costs_at_most_the_unreplicated_tail_that_it_alone_had', async (t) => {
  const cluster = await startCluster(t, 3);
  const victim = cluster.nodes[1];
  const gone = path.join(victim.folder, 'gone');
  const series = path.join(victim.folder, 'series');
  const running = load({
    ...urlsOf(cluster.nodes),
    connections: 300,
    topics: 5,
    messages: 3000,
    rate: 500,
    ack: 'mixed',
    keyed_percent: 50,
    api_connections: 16,
    settle_ms: '10s',
    gone_file: gone,
    series,
  });
  await sleep(2500);
  const { self } = (await victim.request('GET', '/api/cluster')).body;
  await victim.kill();
  fs.writeFileSync(gone, `${self.incarnation}\n`);
  await sleep(500);
  await cluster.restart(victim);
  const { code, result, text } = await running;
  assert.ok(code === verdict.good || code === verdict.declared, text);
  assert.ok(result.published.replicated > 500, text);
  assert.ok(result.recovery_ms.count >= 100 && result.recovery_ms.p50 > 0 && result.recovery_ms.p50 <= result.recovery_ms.p99, text);
  const lines = fs.readFileSync(series, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  assert.ok(lines.length >= 5 && lines.at(-1).deliveries === result.tally.deliveries, text);
  assert.ok(lines.some((line) => line.joined < 300 || line.reconnects > 0), text);
  t.diagnostic(JSON.stringify({ ...result.tally, ...result.recovery_ms }));
});

test('clients_and_publishers_of_a_frozen_node_go_on_at_the_others_and_nothing_is_lost', async (t) => {
  const cluster = await startCluster(t, 3);
  const running = load({
    ...urlsOf(cluster.nodes),
    connections: 300,
    topics: 5,
    messages: 4000,
    rate: 400,
    heartbeat_ms: '500ms',
    keyed_percent: 100,
    api_timeout_ms: '1s',
    settle_ms: '10s',
  });
  await sleep(2500);
  cluster.nodes[1].child.kill('SIGSTOP');
  await sleep(4000);
  cluster.nodes[1].child.kill('SIGCONT');
  const { code, result, text } = await running;
  assert.ok(code === verdict.good || code === verdict.declared, text);
  assert.ok(result.clients.silent >= 90 && result.published.retried > 0, text);
  assert.equal(result.published.refused + result.published.unanswered, 0, text);
  assert.equal(result.clients.joined, 300, text);
  t.diagnostic(JSON.stringify({ ...result.tally, ...result.recovery_ms, ...result.published }));
});

test('no_more_connections_than_connecting_max_wait_for_a_server_that_does_not_answer', async (t) => {
  let accepted = 0;
  const server = net.createServer((socket) => (accepted++, socket.on('error', () => {}))).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const nodes = `ws://127.0.0.1:${server.address().port}`;
  const { code } = await load({ nodes, connections: 100, connect_rate: 0, connecting_max: 7, connect_ms: '3s', join_timeout_ms: '1m' });
  assert.equal(code, verdict.unusable);
  await until('all have been accepted', () => accepted >= 7);
  assert.equal(accepted, 7);
});
