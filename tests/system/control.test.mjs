// Commands to the whole cluster and questions about its clients, with the stock clients on three nodes, whichever node is asked, also while
// one is killed and after it was cut off.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, test } from 'node:test';
import { Cluster, sharedCluster, startCluster } from '../lib/cluster.mjs';
import { Node, testRules, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, join, settled, versions } from '../lib/phoenix.mjs';
import { Relay } from '../lib/relay.mjs';
import { patience, sleep, until } from '../lib/wait.mjs';

const secret = 'a secret that signs the tokens of this test';
const rules = {
  ...testRules,
  'user:*': { join: 'token', push: 'nobody', history_count: 10 },
  'value:*': { join: 'anyone', push: 'anyone', last: 1 },
};
// Answers wait for a busy machine; where a node is to be known as down soon, it is as quick.
const options = { token_secret: secret, token_topics: 'user:{user}', ack_timeout_ms: '20s', down_ms: '30s' };
const config = { options, rules };
const quick = { options: { ...options, ack_timeout_ms: '10s', down_ms: '3s', heartbeat_ms: '200ms' }, rules };
const cluster = await sharedCluster(3, config);
const [a, b, c] = cluster.nodes;
after(disconnectAll);

// ---- vocabulary ----

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
function tokenOf(user) {
  const now = Math.floor(Date.now() / 1000);
  const text = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ sub: user, iat: now, exp: now + 600 })}`;
  return `${text}.${crypto.createHmac('sha256', secret).update(text).digest('base64url')}`;
}

let unique = 0;
const nameOf = (what) => `${what}${process.pid}-${++unique}`;

// A connection of the user that stays away when it is closed. closes: [code, reason].
async function come(node, user, options = {}) {
  const socket = await connect(node, { params: { token: tokenOf(user) }, reconnectAfterMs: () => 1e6, rejoinAfterMs: () => 1e6, ...options });
  socket.closes = [];
  socket.onClose(({ code, reason }) => socket.closes.push([code, reason]));
  return socket;
}

async function tell(node, route, body, method = 'POST') {
  const answer = await node.request(method, route, method === 'POST' ? { body, headers: { 'content-type': 'application/json' } } : {});
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}
const ask = async (node, route) => {
  const answer = await node.request('GET', route);
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
};
const enc = encodeURIComponent;

// ---- disconnect ----

test('from_any_node_a_user_is_disconnected_on_every_node_and_nobody_else', async () => {
  for (const node of cluster.nodes) {
    const user = nameOf('ann'), other = nameOf('bob');
    const mine = [];
    for (const at of [a, a, b, c]) mine.push(await come(at, user));
    const theirs = await come(b, other);
    const answer = await tell(node, '/api/disconnect', { user, reason: 'logged out', timeout_ms: 10_000 });
    assert.deepEqual([answer.count, answer.nodes.length, answer.missing], [4, 3, []]);
    assert.deepEqual(answer.nodes.map(({ count }) => count).sort(), [1, 1, 2]);
    for (const socket of mine) await until('it is closed', () => socket.closes.length === 1);
    for (const socket of mine) assert.deepEqual(socket.closes[0], [1001, 'logged out']);
    assert.equal((await ask(a, `/api/connections?user=${enc(user)}&limit=0`)).count, 0);
    assert.deepEqual([theirs.closes.length, theirs.connectionState()], [0, 'open']);
  }
});

// A client that comes back comes at once. Of the stock clients 1.7 alone takes 1000 for an end.
for (const [version, client] of Object.entries(versions)) {
  test(`${version}_comes_back_unless_it_is_told_not_to_and_takes_that_or_its_application_does`, async () => {
    const user = nameOf('ann');
    const stays = version === 'phoenix 1.7';
    let opens = 0, obeys = stays;
    const back = await come(a, user, { client, reconnectAfterMs: () => 1 });
    back.onOpen(() => opens++);
    back.onClose(({ code }) => code === 1000 && obeys && !stays && back.disconnect()); // as docs/api.md says
    assert.equal((await tell(b, '/api/disconnect', { user })).count, 1);
    await until('it is back', () => opens === 1);
    const connections = async () => (await ask(c, `/api/connections?user=${enc(user)}&limit=0`)).count;
    await until('the node knows', async () => (await connections()) === 1);
    if (!stays) {
      assert.equal((await tell(c, '/api/disconnect', { user, reconnect: false })).count, 1);
      await until('it is back again', () => opens === 2);
      await until('the node knows', async () => (await connections()) === 1);
      obeys = true;
    }
    const [closed, opened] = [back.closes.length, opens];
    assert.equal((await tell(c, '/api/disconnect', { user, reconnect: false })).count, 1);
    await until('it is closed', () => back.closes.length === closed + 1);
    assert.equal(back.closes.at(-1)[0], 1000);
    for (let i = 0; i < 5; i++) await come(a, user); // each way there and back takes longer than a client that comes at once
    await until('they are there', async () => (await connections()) === 5);
    assert.deepEqual([opens, back.isConnected()], [opened, false]);
  });
}

test('one_connection_of_several_is_closed_by_its_name_and_a_retry_closes_no_more', async () => {
  const user = nameOf('ann');
  const first = await come(a, user), second = await come(b, user);
  const { list } = await ask(c, `/api/connections?user=${enc(user)}`);
  assert.equal(list.length, 2);
  const [{ connection }] = list;
  const headers = { 'content-type': 'application/json', 'idempotency-key': nameOf('key') };
  const told = () => c.request('POST', '/api/disconnect', { body: { user, connection }, headers });
  const once = (await told()).body;
  assert.equal(once.count, 1);
  await until('one is closed', () => first.closes.length + second.closes.length === 1);
  const again = (await told()).body;
  assert.deepEqual([again.id, again.duplicate, again.count], [once.id, true, 1]); // what came of it then
  assert.equal((await ask(a, `/api/connections?user=${enc(user)}&limit=0`)).count, 1);
});

// ---- unsubscribe ----

test('a_user_s_channels_of_a_topic_end_on_every_node_and_their_other_channels_stay', async () => {
  const user = nameOf('ann'), topic = nameOf('room:'), other = nameOf('room:');
  const channels = [], kept = [];
  for (const node of cluster.nodes) {
    const socket = await come(node, user);
    channels.push(await join(socket, topic));
    kept.push(await join(socket, other));
  }
  const stranger = await join(await come(b, nameOf('bob')), topic);
  const ended = channels.map((channel) => new Promise((resolve) => channel.onClose(resolve)));
  const answer = await tell(b, '/api/unsubscribe', { user, topic, timeout_ms: 10_000 });
  assert.deepEqual([answer.count, answer.missing], [3, []]);
  await Promise.all(ended);
  assert.deepEqual(channels.map(({ state }) => state), ['closed', 'closed', 'closed']); // and do not join again
  assert.equal((await ask(c, `/api/topics/${enc(topic)}/subscribers?limit=0`)).count, 1);
  await a.publish({ topic: other, event: 'msg', payload: 1 });
  for (const channel of kept) await until('it is there', () => channel.got.length === 1);
  await a.publish({ topic, event: 'msg', payload: 1 });
  await until('the stranger has it', () => stranger.got.length === 1);
  assert.ok(channels.every(({ got }) => got.length === 0));
  await join(await come(a, user), topic); // the rules still let the user
});

// ---- who is there ----

test('connections_and_subscribers_of_all_nodes_are_counted_and_listed_in_pages_each_once', async () => {
  const user = nameOf('ann'), topic = nameOf('room:');
  for (let i = 0; i < 9; i++) await join(await come(cluster.nodes[i % 3], user), topic);
  for (const route of [`/api/connections?user=${enc(user)}`, `/api/topics/${enc(topic)}/subscribers?`]) {
    const seen = [];
    for (let next; ; ) {
      const page = await ask(cluster.nodes[seen.length % 3], `${route}&limit=4${next ? `&after=${next}` : ''}`);
      assert.deepEqual([page.count, page.nodes.length, page.missing], [9, 3, []]);
      seen.push(...page.list);
      next = page.next;
      if (!next) break;
    }
    assert.deepEqual([seen.length, new Set(seen.map(({ connection }) => connection)).size], [9, 9], JSON.stringify(seen));
    for (const row of seen) {
      assert.equal(row.user, user);
      assert.match(row.address, /^127\.0\.0\.1:\d+$/);
      assert.equal(row.topics, 1);
    }
    assert.equal((await ask(a, `${route}&limit=0`)).list, undefined);
  }
  assert.equal((await ask(b, `/api/topics/${enc(topic)}/subscribers?user=${enc('nobody')}`)).list.length, 0);
});

// ---- to one user ----

test('what_is_for_a_user_reaches_all_connections_of_theirs_and_those_who_come_later', async () => {
  const user = nameOf('ann');
  const channels = [];
  for (const node of cluster.nodes) channels.push(await join(await come(node, user), `user:${user}`));
  assert.equal((await settled((await come(a, nameOf('bob'))).channel(`user:${user}`).join())).status, 'error');
  await tell(b, '/api/publish', { user, event: 'msg', payload: { n: 1 } });
  for (const channel of channels) await until('it is there', () => channel.got.length === 1);
  const late = await join(await come(c, user), `user:${user}`, { last: 10 });
  await until('it is there', () => late.got.length === 1);
});

test('who_joins_a_topic_with_a_last_value_gets_it_on_any_node_without_asking', async () => {
  const topic = nameOf('value:');
  await a.publish({ topic, event: 'msg', payload: 1 });
  await b.publish({ topic, event: 'msg', payload: 2 });
  for (const node of cluster.nodes) {
    await until('the node has it', async () => (await ask(node, `/api/topics/${enc(topic)}/history`)).messages?.[0]?.payload === 2);
    const channel = await join(await come(node, nameOf('ann')), topic);
    await until('it is there', () => channel.got.length > 0);
    assert.deepEqual(channel.got.map(({ payload }) => payload), [2]);
    const asked = await join(await come(node, nameOf('ann')), topic, { last: 0 });
    await b.publish({ topic: nameOf('room:'), event: 'msg' });
    assert.deepEqual(asked.got, []);
  }
});

// ---- delete history ----

test('a_deleted_history_is_gone_on_all_nodes_and_one_that_starts_later_is_not_given_it', async (t) => {
  const three = await startCluster(t, 3, config);
  const [x, y, z] = three.nodes;
  const topic = nameOf('room:');
  for (let n = 0; n < 5; n++) await three.nodes[n % 3].publish({ topic, event: 'msg', payload: n });
  const has = async (node) => (await ask(node, `/api/topics/${enc(topic)}/history`)).messages.length;
  for (const node of three.nodes) await until('it has all', async () => (await has(node)) === 5);
  const answer = await tell(y, `/api/topics/${enc(topic)}/history?timeout_ms=10000`, undefined, 'DELETE');
  assert.deepEqual([answer.count, answer.missing], [15, []]);
  for (const node of three.nodes) assert.equal(await has(node), 0);
  await z.publish({ topic, event: 'msg', payload: 'after' });
  for (const node of three.nodes) await until('what came after is there', async () => (await has(node)) === 1);
  await x.kill();
  await three.restart(x);
  await until('the new one has what came after', async () => (await has(x)) === 1);
  for (const node of three.nodes) assert.deepEqual((await ask(node, `/api/topics/${enc(topic)}/history`)).messages.map(({ payload }) => payload), ['after']);
});

// ---- while a node is away ----

test('a_node_that_is_killed_is_named_and_the_others_do_what_they_are_told', async (t) => {
  const three = await startCluster(t, 3, quick);
  const [x, y, z] = three.nodes;
  const user = nameOf('ann');
  const sockets = [await come(x, user), await come(y, user)];
  await come(z, user);
  await z.kill();
  const first = await tell(x, '/api/disconnect', { user, timeout_ms: 10_000 }); // it may not be known yet that z is gone
  assert.equal(first.count, 2);
  assert.deepEqual(first.missing.map(({ node }) => node), [z.name]);
  assert.match(first.missing[0].why, /answer|reach/);
  for (const socket of sockets) await until('it is closed', () => socket.closes.length === 1);
  await until('z is known to be down', async () => (await x.clusterView()).peers.some(({ name, state }) => name === z.name && state === 'down'));
  const count = await ask(y, `/api/connections?user=${enc(user)}&limit=0`);
  assert.deepEqual([count.count, count.missing.map(({ node }) => node)], [0, [z.name]]);
  await three.restart(z);
  await until('nobody is missing', async () => (await ask(y, '/api/connections?limit=0')).missing.length === 0);
});

test('what_was_asked_for_during_a_split_is_done_on_the_other_side_when_it_heals_but_not_to_who_came_since', async (t) => {
  const nodes = [], relays = [], folder = workFolder();
  t.after(() => new Cluster(nodes).stop());
  for (let i = 0; i < 2; i++) {
    const node = await Node.create({ name: `side${i + 1}`, folder, ...quick });
    const [bus, asks] = [await Relay.open(t, () => node.meshPort), await Relay.open(t, () => node.askPort)];
    Object.assign(node.options, { mesh_advertise: bus.address, mesh_ask_advertise: asks.address, join: i > 0 ? relays[0].address : null });
    nodes.push(node);
    relays.push(bus, asks);
    await node.start();
  }
  const sides = new Cluster(nodes);
  await sides.linked();
  const [x, y] = nodes, user = nameOf('ann'), topic = nameOf('room:');
  const before = await come(y, user);
  await join(before, topic);
  await x.publish({ topic, event: 'msg', payload: 1 });
  await until('y has it', async () => (await ask(y, `/api/topics/${enc(topic)}/history`)).messages.length === 1);
  for (const relay of relays) relay.cut();
  for (const node of nodes) await sides.until('the peer is down', async () => (await node.metric('fanmesh_peers')) === 0);
  assert.deepEqual((await tell(x, '/api/disconnect', { user })).missing.map(({ node }) => node), [y.name]);
  await tell(x, `/api/topics/${enc(topic)}/history`, undefined, 'DELETE');
  // A connection from before whose channel is of later, and one that has both.
  const later = nameOf('bob'), ended = nameOf('room:'), joins = [await come(y, later), await come(y, later)];
  const old = await join(joins[0], ended);
  assert.equal((await tell(x, '/api/unsubscribe', { user: later, topic: ended })).count, 0);
  await sleep(1000 * patience); // what came within the time that an envelope takes can't be told apart
  const fresh = await join(joins[1], ended);
  const since = await come(y, user); // after it was asked for, of which this side knows nothing yet
  assert.equal((await ask(y, `/api/topics/${enc(topic)}/history`)).messages.length, 1);
  for (const relay of relays) relay.heal();
  await until('who was there is sent away', () => before.closes.length === 1);
  await until('what was deleted is gone', async () => (await ask(y, `/api/topics/${enc(topic)}/history`)).messages.length === 0);
  await until('the channel of before has ended', () => old.state === 'closed');
  await until('one of the user is left', async () => (await ask(x, `/api/connections?user=${enc(user)}&limit=0`)).count === 1);
  assert.deepEqual([fresh.state, joins.map((socket) => socket.connectionState())], ['joined', ['open', 'open']]);
  assert.deepEqual([since.closes.length, since.connectionState()], [0, 'open']);
});
