// Links that fail one by one: between two nodes of three, in one direction, slowly. What can't come straight comes by the third.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { clean, compare } from '../lib/ledger.mjs';
import { startMesh } from '../lib/links.mjs';
import { connect, disconnectAll, follow, gapsOf, idsOf } from '../lib/phoenix.mjs';
import { sleep, until } from '../lib/wait.mjs';

after(disconnectAll);

async function startFollowed(t, n, options = { down_ms: '1s', heartbeat_ms: '250ms' }) {
  const mesh = await startMesh(t, n, { options });
  const topic = 'room:links';
  const channels = await Promise.all(mesh.nodes.map(async (node) => follow(await connect(node), topic)));
  const published = [];
  const publish = async (node) => published.push(await node.publish({ topic, event: 'msg', payload: published.length }));
  const everyoneHasAll = async (limitMs = 20_000) => {
    const all = () => channels.every(({ got }) => got.length >= published.length);
    await until('everyone has everything', all, limitMs).catch(() => {}); // the ledgers say what is missing
    for (const [i, channel] of channels.entries()) {
      assert.deepEqual(compare(published, idsOf(channel)), clean, `a client of ${mesh.nodes[i].name}`);
      assert.deepEqual(gapsOf(channel), []);
    }
  };
  return { ...mesh, topic, channels, publish, everyoneHasAll };
}

const sees = (node, other, state, linked, limitMs = 15_000) =>
  until(
    `${node.name} says that ${other.name} is ${state}`,
    async () => {
      const view = await node.viewOf(other);
      return view?.state === state && view.linked === linked;
    },
    limitMs,
  );

test('two_nodes_without_a_link_get_each_others_messages_through_the_third', async (t) => {
  const { cluster, nodes, links, publish, everyoneHasAll } = await startFollowed(t, 3);
  const [a, b, c] = nodes;
  links.between(a, c).cut();
  await Promise.all([sees(a, c, 'down', false), sees(c, a, 'down', false), sees(b, a, 'up', true), sees(b, c, 'up', true)]);
  for (let i = 0; i < 60; i++) {
    await publish(nodes[i % 3]);
    await sleep(20);
  }
  await everyoneHasAll();
  assert.ok((await c.metric('fanmesh_repaired_messages_total')) >= 20, 'what a published came to c by repair');
  links.between(a, c).heal();
  await cluster.linked();
  for (const node of nodes) await publish(node);
  await everyoneHasAll();
});

test('a_link_that_is_deaf_in_one_direction_loses_nothing_and_both_ends_say_so', async (t) => {
  const { cluster, nodes, links, publish, everyoneHasAll } = await startFollowed(t, 3);
  const [a, b] = nodes;
  links.between(a, b).mute(a); // a hears b, b does not hear a
  for (let i = 0; i < 20; i++) await publish(nodes[i % 3]);
  await Promise.all([sees(b, a, 'down', false), sees(a, b, 'down', false)]);
  for (let i = 0; i < 20; i++) await publish(nodes[i % 3]);
  await everyoneHasAll(); // through the third
  links.between(a, b).heal();
  await cluster.linked();
  for (const node of nodes) await publish(node);
  await everyoneHasAll();
});

test('two_nodes_alone_of_which_one_is_deaf_have_everything_after_the_heal', async (t) => {
  const { cluster, nodes, links, publish, everyoneHasAll } = await startFollowed(t, 2);
  const [a, b] = nodes;
  links.between(a, b).mute(a);
  for (let i = 0; i < 20; i++) await publish(nodes[i % 2]);
  await Promise.all([sees(b, a, 'down', false), sees(a, b, 'down', false)]);
  for (let i = 0; i < 20; i++) await publish(nodes[i % 2]);
  links.between(a, b).heal();
  await cluster.linked();
  await everyoneHasAll();
});

test('a_link_with_300_ms_of_delay_stays_up_and_loses_nothing', async (t) => {
  const { cluster, nodes, links, publish, everyoneHasAll } = await startFollowed(t, 3, { down_ms: '5s' });
  const [a, , c] = nodes;
  links.between(a, c).delayMs = 300;
  const downs = () => nodes.map((node) => node.logged('peer_down'));
  for (let i = 0; i < 150; i++) {
    await publish(nodes[i % 3]);
    await sleep(20);
  }
  await everyoneHasAll();
  assert.deepEqual(downs(), [0, 0, 0]);
  for (const node of nodes) assert.equal(await node.metric('fanmesh_peers'), 2);
  // Replication over that link alone takes its time, and is confirmed.
  links.between(a, cluster.nodes[1]).cut();
  const answer = await a.tryPublish({ topic: 'room:slow', event: 'msg', ack: 'replicated', timeout_ms: 20_000 });
  assert.equal(answer.status, 200, answer.text);
});
