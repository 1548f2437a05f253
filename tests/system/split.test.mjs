// A mesh that is cut keeps serving on both sides, and after the heal each side gets what it missed. The links run through relays, since
// every node advertises its relay's addresses instead of its own.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Cluster } from '../lib/cluster.mjs';
import { clean, compare } from '../lib/ledger.mjs';
import { Node, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, join } from '../lib/phoenix.mjs';
import { Relay } from '../lib/relay.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);

// Each node is reached through a relay of its own; cutting it off also ends what it dialled, which runs through the others' relays.
async function relayedCluster(t, n) {
  const folder = workFolder();
  const nodes = [];
  const relays = [];
  t.after(() => new Cluster(nodes).stop());
  for (let i = 0; i < n; i++) {
    const node = await Node.create({ name: `node${i + 1}`, folder });
    const bus = await Relay.open(t, () => node.meshPort);
    const ask = await Relay.open(t, () => node.askPort);
    Object.assign(node.options, {
      mesh_advertise: bus.address,
      mesh_ask_advertise: ask.address,
      join: i > 0 ? relays[0][0].address : null,
    });
    nodes.push(node);
    relays.push([bus, ask]);
    await node.start();
  }
  const cluster = new Cluster(nodes);
  await cluster.linked();
  return { cluster, nodes, relays };
}

test('both_sides_of_a_split_serve_and_after_the_heal_each_has_everything', async (t) => {
  const { cluster, nodes, relays } = await relayedCluster(t, 2);
  const topic = 'room:split';
  const channels = [];
  for (const node of nodes) channels.push(await join(await connect(node), topic, { cursor: [] }));
  const published = [];
  const publish = async (node) => published.push(await node.publish({ topic, event: 'msg', payload: published.length }));
  for (const node of nodes) await publish(node);
  await until('both have both', () => channels.every(({ got }) => got.length === 2));

  for (const relay of relays.flat()) relay.cut();
  for (const node of nodes) await cluster.until('the peer is down', async () => (await node.metric('fanmesh_peers')) === 0, 10_000);
  for (let i = 0; i < 20; i++) await publish(nodes[i % 2]);
  await until('each side has its own', () => channels.every(({ got }) => got.length === 12));

  for (const relay of relays.flat()) relay.heal();
  await cluster.linked();
  await until('each has the other side', () => channels.every(({ got }) => got.length >= 22), 20_000);
  for (const { got } of channels) assert.deepEqual(compare(published, got.map(({ id }) => id)), clean);
});

test('links_that_break_again_and_again_lose_nothing', async (t) => {
  const { nodes, relays } = await relayedCluster(t, 3);
  const topic = 'room:flapping';
  const channels = [];
  for (const node of nodes) channels.push(await join(await connect(node), topic, { cursor: [] }));
  const published = [];
  for (let i = 0; i < 300; i++) {
    published.push(await nodes[i % 3].publish({ topic, event: 'msg', payload: i }));
    if (i % 50 === 25) for (const relay of relays[(i / 25) % 3 | 0]) relay.dropAll();
  }
  await until('all have everything', () => channels.every(({ got }) => got.length >= 300), 20_000).catch(() => {});
  for (const { got } of channels) assert.deepEqual(compare(published, got.map(({ id }) => id)), clean);
});
