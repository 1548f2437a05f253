// Beyond what is kept: a node that was away while one topic ran over. What can't be had is told, on that topic alone; and what is kept for a
// node that is away stays within its limits.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { clean, compare } from '../lib/ledger.mjs';
import { startMesh } from '../lib/links.mjs';
import { connect, disconnect, disconnectAll, follow, gapsOf, idsOf, join } from '../lib/phoenix.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);

const KiB = 1024;
const limits = { log: 256 * KiB, history: 16 * KiB };
const rule = { join: 'anyone', push: 'anyone', history_age: '10m', history_bytes: limits.history };
const config = {
  options: { log_bytes: limits.log, message_max: 16 * KiB },
  rules: { 'busy:*': { ...rule, history_count: 10 }, 'calm:*': { ...rule, history_count: 100 } },
};
const busy = 'busy:1';
const calm = 'calm:1';
const seqOf = (id) => Number(id.slice(id.lastIndexOf('-') + 1));

// Two clients of the last node: one that stays, and one that leaves before its node is cut off. Then the first node publishes 2 MB on the one
// topic and a few messages on the other.
async function missMuch(t) {
  const mesh = await startMesh(t, 3, config);
  const { cluster, nodes, links } = mesh;
  const [a, b, c] = nodes;
  const stays = await connect(c);
  const channels = { busy: await follow(stays, busy), calm: await follow(stays, calm) };
  const plain = await join(await connect(c), busy, {}, ['msg', 'gap']);
  const leaves = await connect(c);
  const kept = { busy: await follow(leaves, busy), calm: await follow(leaves, calm) };
  const published = { busy: [], calm: [] };
  const publish = async (topic, n) => {
    const ids = await a.publishAll(Array.from({ length: n }, () => ({ topic, event: 'msg', payload: 'x'.repeat(KiB) })));
    published[topic.slice(0, 4)].push(...ids);
    // The node that is in reach keeps up, however slow it is: else it would miss what runs over, too.
    await until('the other node has it', async () => (await b.history(topic)).at(-1) === ids.at(-1));
  };
  await publish(busy, 1);
  await publish(calm, 1);
  await until('a first message', () => [channels, kept].every((all) => all.busy.got.length === 1 && all.calm.got.length === 1));
  await disconnect(leaves);

  for (const link of links.of(c)) link.cut();
  await cluster.until('the node is down', async () => (await c.metric('fanmesh_peers')) === 0);
  let most = 0;
  for (let i = 0; i < 20; i++) {
    await publish(busy, 100);
    if (i % 5 === 0) await publish(calm, 1);
    for (const node of [a, b]) most = Math.max(most, await node.metric('fanmesh_log_bytes'));
  }
  return { ...mesh, channels, plain, kept, published, most };
}

test('a_node_that_was_away_too_long_tells_a_gap_on_the_topic_that_ran_over_and_on_no_other', async (t) => {
  const { cluster, nodes, links, channels, plain, kept, published, most } = await missMuch(t);
  const [, b, c] = nodes;
  // Of one origin: its log, both histories, and a message or batch of slack.
  assert.ok(most > limits.log / 2 && most <= limits.log + 3 * limits.history, `${most} bytes were kept for the node that was away`);

  for (const link of links.of(c)) link.heal();
  await cluster.linked();
  const newest = (channel) => idsOf(channel).at(-1);
  await until('the calm topic is whole', () => idsOf(channels.calm).length >= published.calm.length);
  await until('the busy one goes on', () => newest(channels.busy) === published.busy.at(-1));
  assert.deepEqual(compare(published.calm, idsOf(channels.calm)), clean);
  assert.deepEqual(gapsOf(channels.calm), []);

  const gaps = gapsOf(channels.busy);
  assert.ok(gaps.length > 0);
  assert.ok(gaps.every(({ reason }) => reason === 'evicted'), JSON.stringify(gaps));
  const { missing, ...others } = compare(published.busy, idsOf(channels.busy));
  assert.deepEqual(others, { doubled: [], disordered: [], strange: [] });
  assert.ok(missing.length > 1000, 'far more than is kept');
  const untold = missing.filter((id) => !gaps.some(({ origin, from, to }) => id.startsWith(`${origin}-`) && seqOf(id) >= from && seqOf(id) <= to));
  assert.deepEqual(untold, [], JSON.stringify(gaps));
  const falsely = idsOf(channels.busy).filter((id) => gaps.some(({ from, to }) => seqOf(id) >= from && seqOf(id) <= to));
  assert.deepEqual(falsely, [], 'a gap names nothing that was given');
  const line = /level=warn event=gap_evicted worker=\d+ topic="?busy:1"? origin=\w+ from=\d+ to=\d+ clients=\d+ .*log_bytes, log_age/;
  await until('the log says it', () => line.test(c.log)); // after the clients were told
  await until('a plain channel is told too', () => gapsOf(plain).length === gaps.length);

  // A client that was away as long is told the same by the answers to its joins, on any node.
  for (const node of [b, c]) {
    const socket = await connect(node);
    const again = { busy: await follow(socket, busy, kept.busy.cursor), calm: await follow(socket, calm, kept.calm.cursor) };
    assert.equal(again.busy.replies[0].recovered, false);
    assert.equal(again.calm.replies[0].recovered, true);
    await until('what is kept', () => again.calm.got.length === published.calm.length - 1 && again.busy.got.length === 10);
    assert.deepEqual(idsOf(again.calm), published.calm.slice(1));
    assert.deepEqual(idsOf(again.busy), published.busy.slice(-10));
    await disconnect(socket);
    kept.busy.cursor.replace([published.busy[0]]);
    kept.calm.cursor.replace([published.calm[0]]);
  }
});
