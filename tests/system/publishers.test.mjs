// What a publisher is told is true: `replicated` only of what others have, and a retry is known by its key wherever its message is.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { clean, compare, Cursor } from '../lib/ledger.mjs';
import { startMesh } from '../lib/links.mjs';
import { connect, disconnect, disconnectAll, follow, gapsOf, idsOf, join } from '../lib/phoenix.mjs';
import { sleep, until } from '../lib/wait.mjs';

after(disconnectAll);

// Who merely stands still for a while, on a busy machine, is not down: what it alone has would be told as lost.
const brisk = { options: { down_ms: '3s', heartbeat_ms: '250ms' } };
const replicated = (topic, more = {}) => ({ topic, event: 'msg', ack: 'replicated', timeout_ms: 300, ...more });

async function notReplicated(node, topic) {
  const { status, body, text } = await node.tryPublish(replicated(topic));
  assert.equal(status, 504, text);
  assert.equal(body.error.code, 'not_replicated');
  assert.equal(body.confirmed, 0);
  assert.match(body.id, /^\w+-\d+$/);
  return body.id;
}

// The same where others are well and do confirm it, which may take them a while: by retries. Nobody else ever does. Returns its id.
async function confirmedOnlyBy(n, node, message) {
  const ids = new Set();
  let answer;
  let { timeout_ms } = message;
  await until(`${n} confirmed`, async () => {
    answer = await node.tryPublish({ ...message, timeout_ms });
    timeout_ms = Math.min(2 * timeout_ms, 5000);
    ids.add(answer.body.id);
    return answer.status !== 504 || answer.body.confirmed >= n;
  }, 20_000);
  assert.equal(answer.status, 504, answer.text);
  assert.deepEqual([answer.body.error.code, answer.body.confirmed, ids.size], ['not_replicated', n, 1], answer.text);
  return answer.body.id;
}

test('nothing_is_called_replicated_that_nobody_confirmed_and_it_arrives_all_the_same', async (t) => {
  const { cluster, nodes, links } = await startMesh(t, 2, brisk);
  const [a, b] = nodes;
  const link = links.between(a, b);
  const topic = 'room:unconfirmed';
  const channel = await follow(await connect(b), topic);
  const published = [];
  for (const breaks of [() => link.cut(), () => link.mute(a), () => link.mute(b)]) {
    breaks();
    published.push(await notReplicated(a, topic)); // before anybody is taken for down
    await cluster.until('the peer is down', async () => (await a.metric('fanmesh_peers')) === 0);
    published.push(await notReplicated(a, topic));
    link.heal();
    await cluster.linked();
    await until('they have arrived', () => channel.got.length >= published.length);
    published.push(await a.publish(replicated(topic, { timeout_ms: 20_000 })));
  }
  await until('all are there', () => channel.got.length >= published.length);
  assert.deepEqual(compare(published, idsOf(channel)), clean);
});

test('a_frozen_node_is_not_counted_until_it_moves_again', async (t) => {
  const { cluster, nodes } = await startMesh(t, 3, brisk);
  const [a, , c] = nodes;
  const topic = 'room:frozen-peer';
  c.freeze();
  try {
    await a.publish(replicated(topic, { timeout_ms: 20_000 })); // one other is enough
    await confirmedOnlyBy(1, a, replicated(topic, { replicas: 2, key: 'k' }));
    await cluster.until('it is down', async () => (await a.metric('fanmesh_peers')) === 1);
    await confirmedOnlyBy(1, a, replicated(topic, { replicas: 2, key: 'k' }));
  } finally {
    c.thaw();
  }
  const { status, body, text } = await a.tryPublish(replicated(topic, { replicas: 2, key: 'k', timeout_ms: 20_000 }));
  assert.equal(status, 200, text);
  assert.equal(body.duplicate, true);
  assert.equal(body.confirmed, 2);
});

test('what_was_called_replicated_is_on_the_survivors_when_its_node_is_killed_at_once', async (t) => {
  const { cluster, nodes } = await startMesh(t, 3);
  const [a, b, c] = nodes;
  const topic = 'room:killed-origin';
  const acked = [];
  for (let round = 0; round < 6; round++) {
    let killed;
    const one = async () => {
      const { status, body } = await c.tryPublish(replicated(topic, { payload: round, timeout_ms: 10_000 })).catch(() => ({}));
      if (status !== 200) return;
      acked.push(body.id);
      killed ??= c.kill();
    };
    await Promise.all(Array.from({ length: 30 }, one));
    await killed;
    assert.ok(killed, 'one was confirmed');
    for (const node of [a, b]) {
      await until(`${node.name} has everything`, async () => {
        const has = new Set(await node.history(topic));
        return acked.every((id) => has.has(id));
      }, 30_000);
    }
    await cluster.restart(c);
  }
  const all = await c.history(topic);
  assert.deepEqual(acked.filter((id) => !all.includes(id)), [], 'the restarted node has it all from the others');
});

const once = (key) => ({ topic: 'room:retries', event: 'msg', payload: key, key });
const isDuplicateOf = async (node, id, message) => {
  const { status, body, text } = await node.tryPublish(message);
  assert.equal(status, 200, text);
  assert.deepEqual(body, { id, duplicate: true }, node.name);
};

test('a_retry_is_known_on_every_node_that_has_the_message_and_outlives_its_origin', async (t) => {
  const { cluster, nodes } = await startMesh(t, 3);
  const [a, b, c] = nodes;
  const topic = 'room:retries';
  const channel = await follow(await connect(b), topic);
  const first = await c.publish({ ...once('restart'), ack: 'replicated', replicas: 2, timeout_ms: 20_000 });
  for (const node of nodes) await isDuplicateOf(node, first, once('restart'));
  await cluster.restart(c);
  for (const node of nodes) await isDuplicateOf(node, first, once('restart'));

  const second = await c.publish({ ...once('kill'), ack: 'replicated', replicas: 2, timeout_ms: 20_000 });
  await c.kill();
  for (const node of [a, b]) await isDuplicateOf(node, second, once('kill'));
  await cluster.restart(c);
  await isDuplicateOf(c, second, once('kill'));
  await isDuplicateOf(c, first, once('restart'));
  const last = await a.publish({ topic, event: 'msg' });
  await until('the last message', () => idsOf(channel).at(-1) === last);
  assert.deepEqual(compare([first, second, last], idsOf(channel)), clean);
});

test('of_two_messages_with_one_key_from_both_sides_of_a_split_each_node_gives_only_the_first_that_it_saw', async (t) => {
  const { cluster, nodes, links } = await startMesh(t, 3, brisk);
  const [a, b, c] = nodes; // a and c, and b alone
  const topic = 'room:retries';
  const channels = await Promise.all(nodes.map(async (node) => follow(await connect(node), topic)));
  for (const link of links.of(b)) link.cut();
  await cluster.until('b is alone', async () => (await b.metric('fanmesh_peers')) === 0 && (await a.metric('fanmesh_peers')) === 1);
  const onA = await a.publish(once('both'));
  await until('c has it', () => channels[2].got.length === 1);
  const onB = await b.publish(once('both'));
  assert.notEqual(onA, onB);
  await isDuplicateOf(c, onA, once('both'));
  for (const link of links.of(b)) link.heal();
  await cluster.linked();

  // Whatever comes after the other side's copy shows that this was passed over.
  const after = [await a.publish({ topic, event: 'msg' }), await b.publish({ topic, event: 'msg' })];
  const given = [onA, onB, onA];
  for (const [i, channel] of channels.entries()) {
    await until('what came after', () => channel.got.length >= 3);
    assert.deepEqual(compare([given[i], ...after], idsOf(channel)), clean, nodes[i].name);
    assert.deepEqual(gapsOf(channel), []);
    await isDuplicateOf(nodes[i], given[i], once('both'));
    const late = await join(await connect(nodes[i]), topic, { cursor: [], last: 100 });
    await until('a later joiner has it', () => late.got.length >= 3);
    await sleep(100);
    assert.deepEqual(compare([given[i], ...after], idsOf(late)), clean, `a later joiner on ${nodes[i].name}`);
  }

  // A client that moves may be given the other copy, which has another id; never one twice.
  const [channel] = channels;
  const cursor = new Cursor();
  cursor.replace(channel.cursor.params().cursor);
  await disconnect(channel.socket);
  const seen = idsOf(channel);
  for (const node of [b, c, a, b]) {
    const socket = await connect(node);
    const moved = await follow(socket, topic, cursor);
    await until('what it was promised', () => moved.got.length >= moved.replies[0].replayed);
    assert.equal(moved.replies[0].recovered, true);
    seen.push(...idsOf(moved));
    await disconnect(socket);
  }
  const { missing, doubled, strange } = compare([onA, ...after], seen);
  assert.deepEqual({ missing, doubled }, { missing: [], doubled: [] });
  assert.ok(strange.every((id) => id === onB) && strange.length <= 1, JSON.stringify(strange));
});

const tiny = {
  options: { memory_bytes: '1MiB', log_bytes: '1MiB' },
  rules: { 'room:*': { join: 'anyone', push: 'anyone', history_count: 100, history_bytes: '512KiB', history_age: '10m' } },
};

test('a_retry_is_known_where_the_message_was_though_memory_had_no_room_for_it', async (t) => {
  const { cluster, nodes } = await startMesh(t, 3, tiny);
  const [a, b, c] = nodes;
  const topic = 'room:retries';
  const channel = await follow(await connect(b), topic);
  const first = await a.publish({ ...once('early'), ack: 'replicated', replicas: 2, timeout_ms: 20_000 });
  await until('it is given', () => channel.got.length === 1);
  const payload = 'x'.repeat(30_000);
  const flood = [];
  for (let i = 0; i < 10; i++) {
    flood.push(...(await a.publishAll(Array.from({ length: 10 }, () => ({ topic, event: 'msg', payload })))));
    // Who is late with more than memory holds is given a gap instead.
    await until('it is given', () => idsOf(channel).at(-1) === flood.at(-1), 30_000);
    for (const node of nodes) await until(`${node.name} has it`, async () => (await node.history(topic)).at(-1) === flood.at(-1), 30_000);
  }
  for (const node of nodes) await until(`${node.name} has nothing left of it`, async () => (await node.metric('fanmesh_keys')) === 1);
  for (const node of nodes) {
    assert.ok(!(await node.history(topic)).includes(first));
    await isDuplicateOf(node, first, once('early'));
  }
  const { status, body, text } = await a.tryPublish(replicated(topic, { ...once('early'), ack: 'replicated', replicas: 2, timeout_ms: 20_000 }));
  assert.equal(status, 200, text);
  assert.deepEqual(body, { id: first, duplicate: true, confirmed: 2 });

  // A node that is new took over what was left: it can't know the key, and vouches for nothing that it never had.
  await cluster.restart(c);
  // A retry is confirmed by who is heard of after it came, so it takes a heartbeat.
  assert.equal(await confirmedOnlyBy(1, a, replicated(topic, { ...once('early'), replicas: 2, timeout_ms: 3000 })), first);
  const second = await c.publish(once('early'));
  assert.notEqual(second, first);
  const last = await c.publish({ topic, event: 'msg' });
  await until('what came after', () => idsOf(channel).at(-1) === last);
  assert.deepEqual(compare([first, ...flood, last], idsOf(channel)), clean, 'no second copy on this connection');
  for (const node of [a, b]) await until(`${node.name} passed it over`, async () => (await node.metric('fanmesh_key_suppressed_total')) === 1);
});
