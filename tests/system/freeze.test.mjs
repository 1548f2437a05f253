// A process that stands still (SIGSTOP) is suspected, removed and taken back without flapping, and loses nothing.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { clean, compare } from '../lib/ledger.mjs';
import { connect, disconnectAll, follow, gapsOf, idsOf } from '../lib/phoenix.mjs';
import { sleep, until } from '../lib/wait.mjs';

after(disconnectAll);

// Freezes the last of three nodes for so long; the other two publish meanwhile, the last one before and after.
async function frozen(cluster, ms) {
  const [a, b, c] = cluster.nodes;
  const topic = `room:frozen-${ms}`;
  const channels = await Promise.all(cluster.nodes.map(async (node) => follow(await connect(node), topic)));
  const published = [];
  const publish = async (node) => published.push(await node.publish({ topic, event: 'msg', payload: published.length }));
  for (const node of cluster.nodes) await publish(node);
  c.freeze();
  const end = Date.now() + ms;
  while (Date.now() < end) {
    for (const node of [a, b]) await publish(node);
    await sleep(20);
  }
  c.thaw();
  for (const node of cluster.nodes) await publish(node);
  await until('all are there', () => channels.every(({ got }) => got.length >= published.length), 20_000).catch(() => {});
  for (const [i, channel] of channels.entries()) {
    assert.deepEqual(compare(published, idsOf(channel)), clean, cluster.nodes[i].name);
    assert.deepEqual(gapsOf(channel), []);
  }
  await cluster.linked();
}

const count = (cluster, event) => {
  const [a, b, c] = cluster.nodes;
  return [a.logged(event, c), b.logged(event, c), c.logged(event, a), c.logged(event, b)];
};

test('a_node_that_stands_still_for_less_than_down_ms_is_not_taken_for_down', async (t) => {
  const cluster = await startCluster(t, 3, { options: { down_ms: '10s' } });
  await frozen(cluster, 1500);
  await sleep(500);
  assert.deepEqual(count(cluster, 'peer_down'), [0, 0, 0, 0]);
  assert.deepEqual(count(cluster, 'peer_up'), [1, 1, 1, 1]);
});

test('a_node_that_stands_still_for_longer_is_down_once_and_back_once', async (t) => {
  const cluster = await startCluster(t, 3, { options: { down_ms: '5s' } }); // the others may be kept waiting, too, by a busy machine
  await frozen(cluster, 10_000);
  await sleep(1500);
  const [a, b] = count(cluster, 'peer_down');
  assert.deepEqual([a, b], [1, 1]);
  assert.deepEqual(count(cluster, 'peer_up').slice(0, 2), [2, 2]);
  // It knows that it was itself that stood still.
  assert.deepEqual(count(cluster, 'peer_down').slice(2), [0, 0]);
});
