// How clusters come to be: all nodes at once, and two that were founded apart and meet.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Cluster } from '../lib/cluster.mjs';
import { clean, compare } from '../lib/ledger.mjs';
import { Links } from '../lib/links.mjs';
import { Node, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, follow, gapsOf, idsOf, join } from '../lib/phoenix.mjs';
import { sleep, until } from '../lib/wait.mjs';

after(disconnectAll);

async function create(t, n, config = {}) {
  const cluster = new Cluster([]);
  t.after(() => cluster.stop());
  const folder = workFolder();
  for (let i = 0; i < n; i++) cluster.nodes.push(await Node.create({ name: `node${i + 1}`, folder, ...config }));
  return cluster;
}

test('five_nodes_that_start_at_once_and_list_each_other_are_one_cluster_that_stays', async (t) => {
  const cluster = await create(t, 5, { options: { down_ms: '6s' } }); // which the machine may keep a node busy for
  const { nodes } = cluster;
  for (const node of nodes) {
    node.options.join = nodes.filter((other) => other !== node).map((other) => other.meshAddress).join(',');
    node.spawn();
  }
  for (const node of nodes) await node.ready();
  await cluster.linked();
  const topic = 'room:cold';
  const channels = await Promise.all(nodes.map(async (node) => follow(await connect(node), topic)));
  const published = [];
  for (const node of nodes) published.push(await node.publish({ topic, event: 'msg', payload: node.name }));
  for (const channel of channels) {
    await until('every client has a message of every node', () => channel.got.length >= nodes.length);
    assert.deepEqual(compare(published, idsOf(channel)), clean);
  }
  await sleep(8000); // longer than a link could be dead without a word
  for (const node of nodes) assert.equal(node.logged('peer_down'), 0, node.log);
  await cluster.linked();
});

// Two clusters of two, {1, 2} and {3, 4}, each with a message before and a client that follows both topics.
async function twoClusters(t) {
  const cluster = await create(t, 4);
  const { nodes } = cluster;
  const [a, b, c, d] = nodes;
  b.options.join = a.meshAddress;
  d.options.join = c.meshAddress;
  await Promise.all(nodes.map((node) => node.start()));
  await cluster.linked([a, b]);
  await cluster.linked([c, d]);
  const topic = 'room:merged';
  const published = [];
  const publish = async (node) => published.push(await node.publish({ topic, event: 'msg', payload: published.length }));
  for (let i = 0; i < 8; i++) await publish(nodes[i % 4]);
  for (const some of [[a, b], [c, d]]) {
    for (const node of some) await until('its half of the history', async () => (await node.history(topic)).length === 4);
  }
  const channels = await Promise.all(nodes.map(async (node) => follow(await connect(node), topic)));
  for (let i = 0; i < 8; i++) await publish(nodes[i % 4]);
  for (const channel of channels) await until('what its side publishes', () => channel.got.length === 4);
  return { cluster, nodes, topic, published, publish, channels };
}

// Everyone has everything: who was there, by what was given to it; who comes now, by what it is given; and the histories are the same.
async function oneCluster({ cluster, nodes, topic, published, publish, channels }, before) {
  await cluster.linked();
  for (const node of nodes) await publish(node);
  const [first] = nodes;
  for (const node of nodes) {
    await until('the whole history', async () => (await node.history(topic)).length === published.length);
    assert.deepEqual(await node.history(topic), await first.history(topic));
    const late = await join(await connect(node), topic, { cursor: [], last: 1000 });
    await until('a later joiner has everything', () => late.got.length >= published.length);
    assert.deepEqual(compare(published, idsOf(late)), clean);
  }
  for (const [i, channel] of channels.entries()) {
    await until('what came after the join', () => idsOf(channel).length >= published.length - before[i].length);
    assert.deepEqual(compare(published.filter((id) => !before[i].includes(id)), idsOf(channel)), clean);
    assert.deepEqual(gapsOf(channel), []);
  }
}

// What a client was not given because it had been there, on its own side, before it joined.
const beforeJoin = (nodes, published) => nodes.map((_, i) => published.slice(0, 8).filter((_, k) => (k % 4 < 2) === (i < 2)));

test('two_clusters_that_were_founded_apart_merge_when_a_node_of_one_is_told_of_the_other', async (t) => {
  const all = await twoClusters(t);
  const [a, , , d] = all.nodes;
  // A restarted node has a new client's channel, not an old one: that of d rejoins with its cursor.
  d.options.join = `${d.options.join},${a.meshAddress}`;
  await d.stop();
  await d.start();
  await oneCluster(all, beforeJoin(all.nodes, all.published));
  const replies = all.channels.map((channel) => channel.replies.map(({ recovered }) => recovered));
  assert.deepEqual(replies.slice(0, 3), [[true], [true], [true]]);
  assert.ok(replies[3].length >= 2 && replies[3].every(Boolean), JSON.stringify(replies));
});

test('two_clusters_that_were_founded_apart_merge_when_the_link_between_them_opens', async (t) => {
  const cluster = await create(t, 4, { options: { found_ms: '500ms' } });
  const { nodes } = cluster;
  const links = await Links.open(t, nodes);
  const across = links.across(nodes.slice(0, 2), nodes.slice(2));
  for (const link of across) link.cut();
  for (const node of nodes) node.options.join = nodes.filter((other) => other !== node).map((other) => other.meshAddress).join(',');
  await Promise.all(nodes.map((node) => node.start()));
  await cluster.linked(nodes.slice(0, 2));
  await cluster.linked(nodes.slice(2));
  const topic = 'room:opened';
  const channels = await Promise.all(nodes.map(async (node) => follow(await connect(node), topic)));
  const published = [];
  const publish = async (node) => published.push(await node.publish({ topic, event: 'msg', payload: published.length }));
  for (let i = 0; i < 20; i++) await publish(nodes[i % 4]);
  for (const channel of channels) await until('what its side publishes', () => channel.got.length === 10);
  links.between(nodes[1], nodes[2]).heal(); // one of the four links: what it brings must reach the other two as well
  for (const channel of channels) await until('the other side', () => channel.got.length >= 20);
  for (const link of across) link.heal();
  await oneCluster({ cluster, nodes, topic, published, publish, channels }, nodes.map(() => []));
});

test('a_node_that_finds_nobody_says_where_it_looked_and_what_goes_with_it_when_it_stops', async (t) => {
  const { nodes: [other, node] } = await create(t, 2, { options: { found_ms: '300ms' } });
  await other.start();
  node.options.join = `127.0.0.1:${other.askPort}`; // the wrong one of the two ports
  await node.start();
  await until('it says so', () => node.logged('ready') > 0);
  assert.match(node.log, new RegExp(`event=ready why="no node answered within found_ms; founded a cluster" join=127\\.0\\.0\\.1:${other.askPort} then=".*mesh_listen`));
  await node.publish({ topic: 'room:1', event: 'msg' });
  await node.stop();
  assert.match(node.log, /level=warn event=left why="no other node is in reach to take over what this one has" then="it goes with this one"/);
  await other.stop();
  assert.match(other.log, /level=info event=left why="there is no other node; what this one has goes with it"/);
});

test('a_node_that_stops_says_whether_others_have_what_it_had', async (t) => {
  const cluster = await create(t, 2, { options: { leave_ms: '30s', down_ms: '30s' } });
  const [first, last] = cluster.nodes;
  last.options.join = first.meshAddress;
  await first.start();
  await last.start();
  await cluster.linked();
  await first.publish({ topic: 'room:1', event: 'msg' });
  await first.stop(30_000);
  assert.match(first.log, /level=info event=left why="every other node has what this one accepted"/);
  await last.stop();
  assert.doesNotMatch(last.log, /event=left why="every other node/);
});
