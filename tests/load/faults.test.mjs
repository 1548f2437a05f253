// Faults that take their time, with real processes: what tests/system shows for moments must hold for as long as it lasts.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { clean, compare } from '../lib/ledger.mjs';
import { startMesh } from '../lib/links.mjs';
import { connect, disconnectAll, follow, gapsOf, idsOf } from '../lib/phoenix.mjs';
import { sleep, until } from '../lib/wait.mjs';

after(disconnectAll);

// No machine stands still for so long that a node that lives is taken for one that is down.
const options = { down_ms: '10s' };

const followers = (nodes, topic) => Promise.all(nodes.map(async (node) => follow(await connect(node), topic)));

// Publishes on all nodes by turns, every paceMs, until the time is up.
async function publishFor(ms, nodes, topic, published, paceMs = 10) {
  const end = Date.now() + ms;
  for (let i = 0; Date.now() < end; i++) {
    published.push(await nodes[i % nodes.length].publish({ topic, event: 'msg', payload: { at: Date.now() } }));
    await sleep(paceMs);
  }
}

async function everyoneHasAll(nodes, channels, published) {
  await until('all are there', () => channels.every(({ got }) => got.length >= published.length), 30_000).catch(() => {});
  for (const [i, channel] of channels.entries()) {
    assert.deepEqual(compare(published, idsOf(channel)), clean, `a client of ${nodes[i].name}`);
    assert.deepEqual(gapsOf(channel), []);
  }
}

test('for_20_seconds_two_nodes_without_a_link_get_everything_through_the_third', async (t) => {
  const { cluster, nodes, links } = await startMesh(t, 3, { options });
  const [a, b, c] = nodes;
  const topic = 'room:apart';
  const channels = await followers(nodes, topic);
  const ages = [];
  for (const channel of channels) channel.on('msg', ({ at }) => ages.push(Date.now() - at));
  const published = [];
  links.between(a, c).cut();
  await until('a and c are down to each other', async () =>
    (await a.viewOf(c)).state === 'down' && (await c.viewOf(a)).state === 'down', 60_000);
  await publishFor(20_000, nodes, topic, published);
  await everyoneHasAll(nodes, channels, published);
  ages.sort((x, y) => x - y);
  const [median, oldest] = [ages[ages.length >> 1], ages.at(-1)];
  t.diagnostic(`${published.length} messages; on arrival half were at most ${median} ms old, the oldest ${oldest} ms`);
  assert.deepEqual([b.logged('peer_down'), a.logged('peer_down'), c.logged('peer_down')], [0, 1, 1]);
  links.between(a, c).heal();
  await cluster.linked();
});

test('what_was_called_replicated_is_on_the_survivors_in_50_kills_of_its_node', async (t) => {
  const cluster = await startCluster(t, 3);
  const [a, b, c] = cluster.nodes;
  const topic = 'room:killed';
  const acked = [];
  let unanswered = 0;
  for (let round = 0; round < 50; round++) {
    let killed;
    const after = 1 + (round * 7) % 29;
    const one = async () => {
      const message = { topic, event: 'msg', payload: round, ack: 'replicated', timeout_ms: 10_000 };
      const { status, body } = await c.tryPublish(message).catch(() => ({}));
      if (status !== 200) return unanswered++;
      acked.push(body.id);
      // Once one is confirmed the node dies at once; how many were before differs.
      if (acked.length % after === 0 || killed) killed ??= c.kill();
    };
    await Promise.all(Array.from({ length: 30 }, one));
    await (killed ?? c.kill());
    await cluster.restart(c);
  }
  for (const node of cluster.nodes) {
    await until(`${node.name} has everything`, async () => {
      const { body } = await node.request('GET', `/api/topics?prefix=${topic}`);
      return body.topics[0].history >= acked.length;
    });
    const has = new Set(await wholeHistory(node, topic));
    assert.deepEqual(acked.filter((id) => !has.has(id)), [], node.name);
  }
  t.diagnostic(`${acked.length} confirmed, ${unanswered} that the kills left without an answer`);
  assert.ok(unanswered > 0 && acked.length > 50);
});

async function wholeHistory(node, topic) {
  const ids = [];
  for (let cursor = null;;) {
    const query = cursor ? `&cursor=${encodeURIComponent(JSON.stringify(cursor))}` : '';
    const { body } = await node.request('GET', `/api/topics/${encodeURIComponent(topic)}/history?limit=1000${query}`);
    if (body.messages.length === 0) return ids;
    ids.push(...body.messages.map(({ id }) => id));
    cursor = body.cursor;
  }
}

test('a_node_that_stood_still_for_30_seconds_is_down_once_and_back_once_and_misses_nothing', async (t) => {
  const cluster = await startCluster(t, 3, { options });
  const [a, b, c] = cluster.nodes;
  const topic = 'room:still';
  const channels = await followers(cluster.nodes, topic);
  const published = [];
  c.freeze();
  await publishFor(30_000, [a, b], topic, published);
  c.thaw();
  await publishFor(2000, cluster.nodes, topic, published);
  await everyoneHasAll(cluster.nodes, channels, published);
  await cluster.linked();
  for (const node of [a, b]) assert.deepEqual([node.logged('peer_down', c), node.logged('peer_up', c)], [1, 2], node.log);
  assert.equal(c.logged('peer_down'), 0);
});
