// What is published for a user, on three nodes: it reaches every connection of theirs, over every transport, whether its client has joined
// the user's topic or nothing at all; and a client that joins it gets each message once.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { sharedCluster, startNode } from '../lib/cluster.mjs';
import { freeze } from '../lib/freeze.mjs';
import { connectLongPoll, Poller } from '../lib/longpoll.mjs';
import { connect, disconnect, disconnectAll, follow, idsOf, join, leave, push, settled, versions } from '../lib/phoenix.mjs';
import { clients, disconnectClients, realtime, subscribe } from '../lib/realtime.mjs';
import { Stream, sseOf } from '../lib/sse.mjs';
import { secret, token } from '../lib/tokens.mjs';
import { sleep, until } from '../lib/wait.mjs';

const rules = {
  'user:*': { join: 'token', push: 'token', history_count: 1000 },
  'room:*': { join: 'anyone', push: 'anyone', history_count: 100 },
  'realtime:*': { join: 'token', push: 'token', history_count: 100 },
};
const options = { token_secret: secret, token_topics: 'user:{user},realtime:{user}' };
after(disconnectAll);
after(disconnectClients);
const cluster = await sharedCluster(3, { rules, options });
const [a, b, c] = cluster.nodes;

let unique = 0;
const nameOf = (what) => `${what}${process.pid}-${++unique}`;
const made = (user) => token(user ? { sub: user } : {});
const tell = (node, user, n, more = {}) => node.publish({ user, event: 'msg', payload: { n }, ...more });
const tellAll = (node, user, n) => tell(node, user, n, { ack: 'replicated', replicas: 2, timeout_ms: 30_000 }); // all three nodes have it by then

// What a connection shows of a user's topic that is no channel's, as `onMessage` gives it.
function watch(socket, user) {
  socket.seen = [];
  socket.onMessage((message) => {
    if (message.topic === `user:${user}` && !message.event.startsWith('phx_')) socket.seen.push(message);
  });
  return socket;
}
const come = async (node, user, more = {}) => watch(await connect(node, { params: { token: made(user) }, ...more }), user);
const numbers = (messages) => messages.map(({ payload }) => payload.n);

// ---- every connection, by every way ----

for (const [name, client] of Object.entries(versions)) {
  test(`${name}_sees_what_is_for_its_user_on_every_node_without_a_channel_and_nobody_else_does`, async () => {
    const user = nameOf('ann'), mine = [];
    const stranger = watch(await connect(a, { client, params: { token: made(nameOf('bob')) } }), user);
    for (const node of [a, a, b, c]) mine.push(await come(node, user, { client }));
    await tell(b, user, 1);
    for (const socket of mine) await until('it is there', () => socket.seen.length === 1);
    for (const { seen } of mine) assert.deepEqual(seen, [{ join_ref: 'fm_user', ref: null, topic: `user:${user}`, event: 'msg', payload: { n: 1 } }]);
    await c.publish({ user, event: 'msg', payload_base64: 'AQID' });
    for (const socket of mine) await until('bytes come as text', () => socket.seen.length === 2);
    assert.deepEqual(mine[0].seen[1].payload, { base64: 'AQID' });
    assert.equal(stranger.seen.length, 0);
    assert.equal((await a.request('GET', `/api/topics/${encodeURIComponent(`user:${user}`)}/subscribers?limit=0&timeout_ms=30000`)).body.count, 4);
    await Promise.all([...mine, stranger].map(disconnect));
  });
}

test('it_comes_over_longpoll_whichever_node_is_polled', async () => {
  const user = nameOf('ann');
  const stock = watch(await connectLongPoll(a, 'phoenix 1.8', { params: { token: made(user) } }), user);
  const raw = await Poller.to(cluster.nodes, { params: `token=${made(user)}` }).open();
  await tell(c, user, 1);
  await until('the stock client has it', () => stock.seen.length === 1);
  assert.deepEqual(await raw.message(([, , , event]) => event === 'msg'), ['fm_user', null, `user:${user}`, 'msg', { n: 1 }]);
  await disconnect(stock);
});

test('it_comes_as_an_event_of_any_stream_and_moves_no_cursor_but_its_own_topic_s', async (t) => {
  const user = nameOf('ann'), room = nameOf('room:');
  const other = await Stream.open(t, sseOf(a, room, { token: made(user) }));
  const own = await Stream.open(t, sseOf(b, `user:${user}`, { token: made(user) }));
  await Promise.all([other.joined(), own.joined()]);
  for (const n of [1, 2]) await tell(c, user, n);
  for (const stream of [other, own]) await until('it is there', () => stream.of('msg').length === 2);
  for (const stream of [other, own]) assert.deepEqual(stream.of('msg').map(({ data }) => [data.topic, data.payload.n]), [[`user:${user}`, 1], [`user:${user}`, 2]]);
  assert.equal(new Set(other.events.map(({ id }) => id)).size, 1);
  assert.equal(new Set(own.events.map(({ id }) => id)).size, 3);
  await a.publish({ topic: room, event: 'msg', payload: { n: 3 } });
  await until('and so does its own topic', () => other.of('msg').length === 3);
  other.close();
  const again = await Stream.open(t, sseOf(c, room, { token: made(user), last_event_id: other.events.at(-1).id }));
  assert.deepEqual(await again.joined(), [{ topic: room, recovered: true, replayed: 0 }]);
});

describe('realtime-js', () => {
  for (const [name, client] of Object.entries(clients)) {
    test(`${name}_sees_it_beside_its_channels_and_a_channel_of_that_name_gets_it_once`, async (t) => {
      const user = nameOf('ann'), seen = [];
      const given = realtime(b, client, { params: { apikey: 'anon', token: made(user) } });
      const mine = given.realtime ?? given; // of supabase-js
      const heard = (message) => message.topic === `user:${user}` && seen.push(message);
      mine.connect();
      const callbacks = mine.stateChangeCallbacks.message;
      callbacks.push(client.binary || client.options.vsn ? ['ours', heard] : heard); // of 2.15
      await until('it is connected', () => mine.isConnected());
      await tell(a, user, 1);
      await until('it is there', () => seen.length === 1);
      assert.deepEqual([seen[0].event, seen[0].payload], ['msg', { n: 1 }]);
      await c.publish({ user, event: 'msg', payload_base64: 'AQID' });
      await until('bytes come as text', () => seen.length === 2);
      assert.deepEqual(seen[1].payload, { base64: 'AQID' });

      const node = await startNode(t, { rules, options: { ...options, user_topic: 'realtime:{user}' } });
      const other = realtime(node, client, { params: { apikey: 'anon', token: made(user) } });
      const channel = await subscribe(other, user);
      for (const n of [1, 2, 3]) await tell(node, user, n);
      await until('the channel has them', () => channel.got.length === 3);
      assert.deepEqual(channel.got.map(({ event, payload }) => [event, payload.n]), [['msg', 1], ['msg', 2], ['msg', 3]]);
      await other.disconnect();
    });
  }
});

// ---- with a channel ----

test('a_channel_that_resumes_gets_each_message_once_also_what_the_connection_was_given_before_it_joined', async () => {
  const user = nameOf('ann'), topic = `user:${user}`;
  const first = await come(a, user);
  const before = await follow(first, topic), { cursor } = before;
  await tell(b, user, 1);
  await until('it is there', () => before.got.length === 1);
  await disconnect(first);
  await tellAll(b, user, 2); // missed
  const socket = await come(c, user);
  await tell(a, user, 3); // the connection's
  await until('the connection has it', () => socket.seen.length === 1);
  const channel = await follow(socket, topic, cursor);
  await tell(b, user, 4);
  await until('the channel has them', () => channel.got.length === 3);
  assert.deepEqual(numbers(channel.got), [2, 3, 4]);
  assert.equal(new Set(idsOf(channel)).size, 3);
  await leave(channel);
  await new Promise((resolve) => socket.ping(resolve)); // the client waits for no answer to a leave: what it sends next is answered behind it
  await tell(a, user, 5);
  await until('the connection has it again', () => socket.seen.some(({ payload }) => payload.n === 5));
  assert.deepEqual(numbers(socket.seen.filter(({ join_ref }) => join_ref === 'fm_user')), [3, 5]);
  assert.equal(channel.got.length, 3);
});

test('while_a_client_joins_and_leaves_all_the_time_its_connection_gets_each_message_once', async () => {
  const user = nameOf('ann'), topic = `user:${user}`, count = 400;
  const socket = await come(a, user);
  let publishing = true;
  const published = (async () => {
    for (let n = 0; n < count; n++) await tell(cluster.nodes[n % 3], user, n);
    publishing = false;
  })();
  let joins = 0;
  for (; publishing; joins++) {
    const channel = socket.channel(topic);
    assert.equal((await settled(channel.join())).status, 'ok');
    await leave(channel);
  }
  await published;
  await until('all are there', () => socket.seen.length >= count);
  assert.deepEqual(numbers(socket.seen).sort((x, y) => x - y), Array.from({ length: count }, (_, n) => n));
  const given = socket.seen.filter(({ join_ref }) => join_ref === 'fm_user').length;
  assert.ok(joins > 1 && given > 0 && given < count, `${joins} joins, ${given} of ${count} by the connection`);
});

test('what_is_published_once_a_client_is_connected_reaches_it_also_where_its_node_is_late_with_both', async (t) => {
  const user = nameOf('ann');
  const release = await freeze(a, 'hub');
  if (!release) return t.skip('the system does not allow ptrace');
  const socket = await come(a, user);
  await tell(b, user, 1);
  await sleep(300); // it has come to the node, most likely
  await release();
  await until('it is there', () => socket.seen.length === 1);
});

test('it_reaches_it_also_where_a_thousand_pushes_were_before_the_connection', async (t) => {
  const user = nameOf('ann');
  const pusher = await join(await connect(a), nameOf('room:'));
  const taken = (await a.metric('fanmesh_messages_in_total')) + 1000; // several slices of the hub's work
  const release = await freeze(a, 'hub');
  if (!release) return t.skip('the system does not allow ptrace');
  const pushes = Array.from({ length: 1000 }, (_, n) => push(pusher, 'msg', { n }));
  await until('they wait for the hub', async () => (await a.metric('fanmesh_messages_in_total')) >= taken);
  const socket = await come(a, user);
  await tell(b, user, 1);
  await sleep(300); // it has come to the node, most likely
  await release();
  await until('all pushes are answered', () => Promise.all(pushes), 60_000);
  await until('it is there', () => socket.seen.length === 1);
});

// ---- rules and tokens ----

test('nobody_may_join_or_push_because_of_it', async () => {
  const user = nameOf('ann'), topic = `user:${user}`;
  const mine = await come(a, user), other = await come(a, nameOf('bob'));
  const channel = other.channel(topic);
  assert.deepEqual((await settled(channel.join())).response, { reason: 'not_granted' });
  const replies = [];
  const own = await come(b, user);
  own.onMessage(({ topic: of, event, payload }) => of === topic && event === 'phx_reply' && replies.push(payload));
  for (const [ref, join_ref] of [['77', 'fm_user'], ['78', null]]) own.push({ topic, event: 'msg', payload: { n: 0 }, ref, join_ref });
  await until('both have their answer', () => replies.length === 2);
  for (const reply of replies) assert.deepEqual(reply, { status: 'error', response: { reason: 'unmatched topic' } });
  await tell(c, user, 1);
  await until('it is there', () => mine.seen.length === 1);
  assert.deepEqual(numbers(mine.seen), [1]);
});

test('a_connection_that_becomes_somebody_else_s_is_given_nothing_more_of_who_it_was', async () => {
  const user = nameOf('ann'), other = nameOf('bob');
  const socket = watch(await connect(a, { params: { token: made(user) } }), user);
  const channel = await join(socket, nameOf('room:'));
  const refresh = (to) => push(channel, 'access_token', { access_token: to });
  assert.equal((await refresh(made(other))).response.reason, 'token_user');
  await tell(b, user, 1);
  await until('it is whose it was', () => socket.seen.length === 1);
  assert.equal((await refresh(made())).status, 'ok'); // nobody's
  await tellAll(b, user, 2);
  assert.equal((await refresh(made(user))).status, 'ok'); // and back
  await tell(b, user, 3);
  await until('it is there', () => socket.seen.length >= 2);
  assert.deepEqual(numbers(socket.seen), [1, 3]);
});

test('who_may_not_join_is_given_it_all_the_same_and_rules_that_come_and_go_take_it_along', async (t) => {
  const user = nameOf('ann');
  const closed = { 'user:*': { join: 'nobody' } };
  const node = await startNode(t, { rules: closed, options });
  const socket = await come(node, user);
  await tell(node, user, 1);
  await until('it is there', () => socket.seen.length === 1);
  const gauge = () => node.metric('fanmesh_user_subscriptions');
  assert.equal(await gauge(), 1);
  node.rules = { 'room:*': { join: 'anyone' } };
  await node.reload();
  await until('no rule matches the topic', async () => (await gauge()) === 0);
  node.rules = closed;
  await node.reload();
  await until('one does', async () => (await gauge()) === 1);
  await tell(node, user, 2);
  await until('it is there', () => socket.seen.length === 2);
});

test('user_subscribe_false_leaves_it_to_those_who_join', async (t) => {
  const user = nameOf('ann');
  const node = await startNode(t, { rules, options: { ...options, user_subscribe: false } });
  const socket = await come(node, user), channel = await join(await come(node, user), `user:${user}`);
  await tell(node, user, 1);
  await until('who joined has it', () => channel.got.length === 1);
  await tell(node, user, 2);
  await until('who joined has it', () => channel.got.length === 2);
  assert.equal(socket.seen.length, 0);
  assert.equal(await node.metric('fanmesh_user_subscriptions'), 0);
});
