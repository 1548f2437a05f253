// Everything that a Phoenix or Supabase client expects, as one scene: stock clients of every kind on three nodes, among themselves and with their
// backend, while one node is killed and comes back, and another is restarted. Each test goes on where the one before it ended.
import '../lib/xhr.mjs';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, describe, test } from 'node:test';
import { Backend, hookSecret } from '../lib/backend.mjs';
import { sharedCluster } from '../lib/cluster.mjs';
import { clean, compare, Cursor } from '../lib/ledger.mjs';
import { connect, disconnectAll, follow, gapsOf, idsOf, join, push, settled, versions } from '../lib/phoenix.mjs';
import { listOf, membersOf } from '../lib/presence.mjs';
import { broadcast, clients, disconnectClients, idsOf as broadcastIds, realtime, subscribe } from '../lib/realtime.mjs';
import { Relay } from '../lib/relay.mjs';
import { seconds, secret, token } from '../lib/tokens.mjs';
import { patience, sleep, until } from '../lib/wait.mjs';

const { EventSource } = createRequire(import.meta.url)('eventsource');

// ---- the cluster, and the backend that decides ----

const grace_ms = 1000 * patience;
const history = { history_count: 20_000, history_bytes: '32MiB', history_age: '10m' };
const rules = {
  'room:*': { join: 'hook', push: 'hook', presence: 'hook', push_to: 'all', ...history },
  'realtime:*': { join: 'token', push: 'token', presence: 'token', ...history },
  'user:*': { join: 'token' },
  'price:*': { join: 'token', last: 1, ...history },
};
const backend = await Backend.start();
// Nobody but mallory is kept out; who is let in is shown under the user's name, streams are not; a rude word is not passed on.
backend.answer = ({ event, user, name, payload }) => {
  if (user === 'mallory') return { allow: false, reason: 'not you' };
  if (event === 'join') return user.startsWith('EventSource') ? { allow: true } : { allow: true, presence: { key: user, meta: { kind: user.split(' at ')[0] } } };
  return payload.text === 'darn' ? { broadcast: { event: name, payload: { text: '****' } } } : { allow: true };
};
after(() => backend.close());
after(disconnectAll);
after(disconnectClients);
const cluster = await sharedCluster(3, {
  rules,
  options: {
    token_secret: secret, token_topics: 'room:*,realtime:*,price:*,user:{user}', token_leeway: 0, token_grace_ms: grace_ms, user_topic: 'user:{user}',
    hook_url: backend.url, hook_secret: hookSecret, hook_timeout_ms: '20s', presence_grace_ms: 3 * grace_ms, sse_retry_ms: 200,
  },
});
const { nodes } = cluster;
const [a, b, c] = nodes;
const ask = async (node, method, path, body) => {
  const answer = await node.request(method, path, body && { body, headers: { 'content-type': 'application/json' } });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
};

// ---- who takes part: each kind of client twice, on the node that will be killed and on the one that will be restarted ----

// As from behind a balancer that knows at once who is there: a client comes to its home, or where that does not run to another node.
const ends = [];
after(() => Promise.all(ends.map((end) => end())));
async function wayTo(home) {
  const relay = await Relay.open({ after: (end) => ends.push(end) }, () => [home, a, c, b].find((node) => node.running).port);
  return relay.address;
}
const tokenOf = (user, claims = {}) => token({ sub: user, ...claims });

// A member: { user, ids(): of what it heard, present(): who it sees, say(n): the id of what it said }.
async function phoenixMember(user, address, client, options = {}) {
  const socket = await connect(`ws://${address}/socket`, { client, params: () => ({ token: tokenOf(user) }), timeout: 10_000, ...options });
  let presence;
  const channel = await follow(socket, 'room:all', new Cursor(), ['msg'], (made) => (presence = new client.Presence(made)));
  return { user, socket, channel, ids: () => idsOf(channel), present: () => listOf(presence.state), say: async (n) => (await push(channel, 'msg', { n })).response.id };
}
async function realtimeMember(user, address, client) {
  const socket = realtime(`ws://${address}/socket`, client, { accessToken: async () => tokenOf(user) });
  await socket.setAuth();
  const config = { private: true, presence: { key: user, enabled: true }, broadcast: { ack: true, self: true, replay: { since: Date.now(), limit: 20_000 } } };
  const meta = { kind: user.split(' at ')[0] };
  const channel = await subscribe(socket, 'all', config, (made) => {
    made.on('presence', { event: 'sync' }, () => {});
    made.greet = () => made.track(meta);
  });
  const present = () => Object.fromEntries(Object.entries(channel.presenceState()).sort()
    .map(([key, metas]) => [key, metas.map(({ presence_ref, ...rest }) => rest)])); // eslint-disable-line no-unused-vars
  return { user, socket, channel, ids: () => broadcastIds(channel), present, say: async (n) => {
    assert.equal(await broadcast(channel, 'msg', { n, by: user }), 'ok');
    return (await until('it hears itself', () => channel.got.find(({ payload }) => payload.n === n && payload.by === user))).meta.id;
  } };
}
function streamMember(user, address) {
  const stream = new EventSource(`http://${address}/sse?topic=room:all&token=${tokenOf(user)}`);
  ends.push(() => stream.close());
  const ids = [];
  stream.addEventListener('msg', ({ data }) => ids.push(JSON.parse(data).id));
  return new Promise((resolve) => stream.addEventListener('fm_joined', () => resolve({ user, stream, ids: () => ids })));
}

const kinds = {};
for (const [name, client] of Object.entries(versions)) {
  kinds[name] = (user, address) => phoenixMember(user, address, client);
  kinds[`${name} polling`] = (user, address) => phoenixMember(user, address, client, { transport: client.LongPoll });
}
for (const [name, client] of Object.entries(clients)) kinds[name] = (user, address) => realtimeMember(user, address, client);
kinds.EventSource = streamMember;

const members = { 'room:all': [], 'realtime:all': [] };
const everyone = () => Object.values(members).flat();
const said = { 'room:all': [], 'realtime:all': [] }; // ids

// ---- what everybody must find ----

async function everybodyHeardEverything() {
  for (const [topic, list] of Object.entries(members)) {
    for (const { user, channel, ids } of list) {
      const missing = () => compare(said[topic], ids()).missing.length;
      await until(`${user} has heard everything`, () => missing() === 0, 60_000).catch((error) => { throw new Error(`${error.message}: ${missing()} are missing`); });
      if (topic === 'realtime:all') continue; // these have no cursor: after an interruption a replay gives them some again
      assert.deepEqual(compare(said[topic], ids()), clean, user);
      if (channel) assert.deepEqual([gapsOf(channel), channel.replies.filter(({ recovered }) => !recovered)], [[], []], user);
    }
  }
}

async function everybodySeesEverybody(on = nodes) {
  for (const [topic, list] of Object.entries(members)) {
    const shown = list.filter(({ present }) => present);
    const wanted = Object.fromEntries(shown.map(({ user }) => [user, [{ kind: user.split(' at ')[0] }]]).sort());
    const views = [...on.map((node) => [node.name, () => membersOf(node, topic)]), ...shown.map(({ user, present }) => [user, present])];
    for (const [who, view] of views) {
      await until(`${who} sees on ${topic} whoever is there, and nobody else`, async () => {
        assert.deepEqual(await view(), wanted);
        return true;
      }, 30_000);
    }
  }
}

// A backend that goes on publishing to all, through these nodes. Returns what ends it.
function talking(...through) {
  let over = false;
  const running = (async () => {
    for (let n = 0; !over; n++) {
      const { results } = await ask(through[n % through.length], 'POST', '/api/publish', { topics: Object.keys(said), event: 'msg', payload: { n } });
      for (const { topic, id } of results) said[topic].push(id);
      await sleep(20);
    }
  })();
  return () => {
    over = true;
    return running;
  };
}

// ---- the scene ----

describe('everything on three nodes', () => {
  let fresh, lost; // two that have parts of their own

  test('clients_of_every_kind_join_as_the_backend_decides_and_see_each_other', async () => {
    for (const [kind, come] of Object.entries(kinds)) {
      for (const home of [b, c]) members[kind in clients ? 'realtime:all' : 'room:all'].push(await come(`${kind} at ${home.name}`, await wayTo(home)));
    }
    lost = await phoenixMember('lost at node2', b.ws.slice(5, -7), versions['phoenix 1.8']);
    members['room:all'].push(lost);
    await everybodySeesEverybody();
    for (const node of nodes) {
      const mallory = await connect(node, { params: { token: tokenOf('mallory') } });
      assert.deepEqual(await settled(mallory.channel('room:all').join()), { status: 'error', response: { reason: 'not you' } });
      mallory.disconnect();
    }
  });

  test('what_anybody_says_everybody_hears_as_the_backend_lets_it_through', async () => {
    for (const [topic, list] of Object.entries(members)) {
      for (const [n, { say }] of list.entries()) if (say) said[topic].push(await say(n));
    }
    const [first, ...others] = members['room:all'].filter(({ channel }) => channel);
    said['room:all'].push((await push(first.channel, 'msg', { text: 'darn' })).response.id);
    await everybodyHeardEverything();
    for (const { channel } of others) assert.deepEqual(channel.got.map(({ payload }) => payload.text).filter(Boolean), ['****']);
  });

  test('when_a_node_is_killed_its_clients_go_elsewhere_nothing_is_lost_and_only_who_does_not_come_back_is_gone', async () => {
    // Its token is over before this scene is; it brings another one in time, and stays where it is.
    const exp = seconds(8 * patience);
    let mine = tokenOf('fresh', { exp });
    const socket = await connect(a, { params: () => ({ token: mine }) });
    fresh = { exp, closes: [], channel: await join(socket, 'price:x') };
    socket.onClose(({ code }) => fresh.closes.push(code));
    mine = tokenOf('fresh');
    assert.equal((await push(fresh.channel, 'access_token', { access_token: mine })).status, 'ok');

    const end = talking(a, c);
    await sleep(100);
    await b.kill();
    lost.socket.disconnect();
    members['room:all'].pop();
    await everybodySeesEverybody([a, c]);
    await end();
    await everybodyHeardEverything();
  });

  test('when_it_is_back_and_another_is_restarted_everybody_is_where_they_were_on_all_three', async () => {
    let end = talking(a, c);
    await cluster.restart(b);
    await end();
    end = talking(a, b);
    await cluster.restart(c);
    await end();
    await everybodyHeardEverything();
    await everybodySeesEverybody();
    for (const [topic, list] of Object.entries(members)) {
      for (const [n, { say }] of list.entries()) if (say) said[topic].push(await say(1000 + n));
    }
    await everybodyHeardEverything();
  });

  test('every_node_counts_the_same_connections_subscriptions_and_presences', async () => {
    for (const node of nodes) {
      await until('old connections are gone', async () => (await ask(node, 'GET', '/api/connections?limit=0')).count === everyone().length + 1, 60_000);
      for (const [topic, list] of Object.entries(members)) {
        const path = `/api/topics/${encodeURIComponent(topic)}`;
        await until('and what they had', async () => {
          assert.equal((await ask(node, 'GET', `${path}/subscribers?limit=0`)).count, list.length);
          const { presences, keys } = await ask(node, 'GET', `${path}/presence/count`);
          assert.deepEqual([presences, keys], Array(2).fill(list.filter(({ present }) => present).length));
          return true;
        }, 60_000);
      }
    }
  });

  test('a_token_that_was_refreshed_in_place_outlives_the_one_before_it', async () => {
    await until('that one is over, and its grace', () => seconds() > fresh.exp + grace_ms / 1000 + 1, 60_000, 100);
    assert.deepEqual(fresh.closes, []);
    const late = fresh.channel.socket.channel('price:y'); // which only a token grants
    assert.equal((await settled(late.join())).status, 'ok');
  });

  test('who_joins_late_is_given_the_last_value_on_every_node_and_none_once_it_is_deleted', async () => {
    for (const price of [1, 2, 3]) await b.publish({ topic: 'price:x', event: 'msg', payload: { price }, ack: 'replicated', replicas: 2, timeout_ms: 30_000 });
    const late = async (node) => join(await connect(node, { params: { token: tokenOf('late') } }), 'price:x');
    for (const node of nodes) {
      const channel = await late(node);
      await until('it has the last value', () => channel.got.length === 1);
      assert.deepEqual(channel.got[0].payload, { price: 3 });
    }
    const { count, missing } = await ask(c, 'DELETE', '/api/topics/price%3Ax/history?timeout_ms=30000');
    assert.deepEqual([count, missing], [9, []], 'three copies of three');
    for (const node of nodes) {
      assert.deepEqual(await node.history('price:x'), []);
      const channel = await late(node);
      const id = await node.publish({ topic: 'price:x', event: 'msg', payload: { price: 4 } });
      await until('it has the new one', () => channel.got.length > 0);
      assert.deepEqual(channel.got.map(({ payload }) => payload), [{ price: 4 }]);
      assert.equal((await ask(node, 'DELETE', '/api/topics/price%3Ax/history?timeout_ms=30000')).missing.length, 0, id);
    }
  });

  test('a_user_is_sent_to_on_all_connections_and_when_revoked_is_gone_from_every_node_and_let_in_by_none', async () => {
    const closes = [];
    const anns = [];
    for (const node of nodes) {
      const socket = await connect(node, { params: { token: tokenOf('ann') } });
      socket.onClose(({ code }) => closes.push(code));
      anns.push(await join(socket, 'user:ann'));
      await join(socket, 'room:all');
    }
    members['room:all'].push({ user: 'ann', present: undefined });
    await until('she is seen', async () => (await membersOf(a, 'room:all')).ann?.length === 3);
    await a.publish({ user: 'ann', event: 'msg', payload: 'for ann' });
    for (const channel of anns) await until('it reaches her', () => channel.got.length === 1);
    const before = (await ask(a, 'GET', '/api/connections?limit=0&timeout_ms=30000')).count;
    const older = tokenOf('ann', { iat: seconds() - 1 });
    const { count, missing } = await ask(b, 'POST', '/api/revoke', { user: 'ann', timeout_ms: 30_000 });
    assert.deepEqual([count, missing], [3, []]);
    await until('all are closed', () => closes.filter((code) => code === 4003).length === 3);
    members['room:all'].pop();
    for (const node of nodes) {
      const answer = await fetch(`http://127.0.0.1:${node.port}/sse?topic=user:ann&token=${older}`);
      assert.equal(answer.status, 403);
      assert.equal((await answer.json()).error.code, 'token_revoked');
    }
    await until('she is gone, and nobody else', async () => (await ask(c, 'GET', '/api/connections?limit=0')).count === before - 3);
    await everybodySeesEverybody();
  });
});
