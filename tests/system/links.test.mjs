// Links that fail one by one: between two nodes of three, in one direction, slowly. What can't come straight comes by the third.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { untilNodes } from '../lib/cluster.mjs';
import { clean, compare } from '../lib/ledger.mjs';
import { startMesh } from '../lib/links.mjs';
import { connect, disconnectAll, follow, gapsOf, idsOf } from '../lib/phoenix.mjs';
import { patience, sleep, until } from '../lib/wait.mjs';

after(disconnectAll);

async function startFollowed(t, n, options = { down_ms: '1s', heartbeat_ms: '250ms' }) {
  const mesh = await startMesh(t, n, { options });
  const topic = 'room:links';
  const channels = await Promise.all(mesh.nodes.map(async (node) => follow(await connect(node), topic)));
  const published = [];
  const publish = async (node) => published.push(await node.publish({ topic, event: 'msg', payload: published.length }));
  const everyoneHasAll = async (limitMs = 60_000) => {
    const all = () => channels.every(({ got }) => got.length >= published.length);
    await until('everyone has everything', all, limitMs).catch(() => {}); // the ledgers say what is missing
    for (const [i, channel] of channels.entries()) {
      assert.deepEqual(compare(published, idsOf(channel)), clean, `a client of ${mesh.nodes[i].name}`);
      assert.deepEqual(gapsOf(channel), []);
    }
  };
  const publishOnAll = async (n, paceMs = 0) => {
    for (let i = 0; i < n; i++) {
      await publish(mesh.nodes[i % mesh.nodes.length]);
      if (paceMs) await sleep(paceMs);
    }
  };
  // After the heal: all links are there again, and work.
  const whole = async () => {
    await mesh.cluster.linked(mesh.nodes, 60_000);
    await publishOnAll(mesh.nodes.length);
    await everyoneHasAll();
  };
  return { ...mesh, publishOnAll, everyoneHasAll, whole };
}

const bothDown = (a, b) => Promise.all([sees(a, b, 'down', false), sees(b, a, 'down', false)]);

const sees = (node, other, state, linked, limitMs = 30_000) =>
  untilNodes(
    [node, other],
    `${node.name} says that ${other.name} is ${state}`,
    async () => {
      const view = await node.viewOf(other);
      return view?.state === state && view.linked === linked;
    },
    limitMs,
  );

test('two_nodes_without_a_link_get_each_others_messages_through_the_third', async (t) => {
  const { nodes, links, publishOnAll, everyoneHasAll, whole } = await startFollowed(t, 3);
  const [a, b, c] = nodes;
  links.between(a, c).cut();
  await Promise.all([bothDown(a, c), sees(b, a, 'up', true), sees(b, c, 'up', true)]);
  await publishOnAll(60, 20);
  await everyoneHasAll();
  assert.ok((await c.metric('fanmesh_repaired_messages_total')) >= 20, 'what a published came to c by repair');
  links.between(a, c).heal();
  await whole();
});

test('a_link_that_ends_and_comes_back_while_the_node_is_not_yet_down_is_told_at_both_ends', async (t) => {
  const { nodes, links, whole } = await startFollowed(t, 2, { down_ms: '60s', heartbeat_ms: '250ms' });
  const both = (event, n) => untilNodes(nodes, `both say ${event}`, () => nodes.every((node) => node.logged(event) === n));
  const [a, b] = nodes;
  links.between(a, b).cut();
  await both('link_down', 1);
  assert.deepEqual(nodes.map((node) => node.logged('link_back')), [0, 0]);
  links.between(a, b).heal();
  await both('link_back', 1);
  for (const node of nodes) assert.match(node.log, /event=link_back node="?node[12]"? incarnation=\S+ mesh=\S+ after_ms=\d+\n/);
  assert.deepEqual(nodes.map((node) => [node.logged('peer_down'), node.logged('peer_up')]), [[0, 1], [0, 1]]);
  await whole();
});

test('a_link_that_is_deaf_in_one_direction_loses_nothing_and_both_ends_say_so', async (t) => {
  const { nodes, links, publishOnAll, everyoneHasAll, whole } = await startFollowed(t, 3);
  const [a, b] = nodes;
  links.between(a, b).mute(a); // a hears b, b does not hear a
  await publishOnAll(20);
  await bothDown(a, b);
  await publishOnAll(20);
  await everyoneHasAll(); // through the third
  links.between(a, b).heal();
  await whole();
});

test('two_nodes_alone_of_which_one_is_deaf_have_everything_after_the_heal', async (t) => {
  const { nodes, links, publishOnAll, everyoneHasAll, whole } = await startFollowed(t, 2);
  const [a, b] = nodes;
  links.between(a, b).mute(a);
  await publishOnAll(20);
  await bothDown(a, b);
  await publishOnAll(20);
  links.between(a, b).heal();
  await whole();
});

test('a_link_with_300_ms_of_delay_stays_up_and_loses_nothing', async (t) => {
  const { nodes, links, publishOnAll, everyoneHasAll } = await startFollowed(t, 3, { down_ms: 5000 * patience });
  const [a, , c] = nodes;
  links.between(a, c).delayMs = 300;
  const downs = () => nodes.map((node) => node.logged('peer_down'));
  await publishOnAll(150, 20);
  await everyoneHasAll();
  assert.deepEqual(downs(), [0, 0, 0]);
  for (const node of nodes) assert.equal(await node.metric('fanmesh_peers'), 2);
  // Replication over that link alone takes its time, and is confirmed.
  links.between(a, nodes[1]).cut();
  const answer = await a.tryPublish({ topic: 'room:slow', event: 'msg', ack: 'replicated', timeout_ms: 20_000 });
  assert.equal(answer.status, 200, answer.text);
});
