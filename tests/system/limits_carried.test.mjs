// Limits hold however a client comes: by a WebSocket, plain or over TLS, by LongPoll or by a stream of events, from its own address or through
// a balancer; and for whoever says only later whose the connection is.
import assert from 'node:assert/strict';
import https from 'node:https';
import { after, describe, test } from 'node:test';
import { Backend, hookSecret } from '../lib/backend.mjs';
import { Haproxy, Nginx } from '../lib/balancer.mjs';
import { makeCertificate } from '../lib/certificate.mjs';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { connectLongPoll, Poller } from '../lib/longpoll.mjs';
import { testRules, workFolder } from '../lib/node.mjs';
import { connect, disconnect, disconnectAll, join, push, settled, versions, WebSocket } from '../lib/phoenix.mjs';
import { Stream, sseOf } from '../lib/sse.mjs';
import { attempt, secret, token } from '../lib/tokens.mjs';
import { until, within } from '../lib/wait.mjs';

after(disconnectAll);

const lines = (node, limit) => node.log.split('\n').filter((line) => line.includes(`event=limit_reached limit=${limit} `));
const count = (node, name) => node.metric(`fanmesh_limited_${name}_total`);
const as = (user) => token({ sub: user, topics: ['room:*'] });

describe('connections_per_user', () => {
  const rules = { ...testRules, 'room:*': { join: 'anyone', push: 'anyone' } };
  const options = { token_secret: secret, connections_per_user: 2 };
  const open = async (t, node, user, more = {}) => {
    const { socket, ...answer } = await attempt(WebSocket, `${more.url ?? node.ws}/websocket?vsn=2.0.0`, { headers: { authorization: `Bearer ${as(user)}` }, ...more });
    if (socket) t.after(() => socket.terminate());
    return { socket, ...answer };
  };

  test('holds_over_all_workers_of_a_node_and_what_is_closed_makes_room', async (t) => {
    const { nodes: [node, other] } = await startCluster(t, 2, { rules, options: { ...options, workers: 3 } });
    const mine = [await open(t, node, 'ann'), await open(t, node, 'ann')];
    assert.deepEqual(mine.map(({ status }) => status), [101, 101]);
    for (let i = 0; i < 4; i++) {
      const refused = await open(t, node, 'ann');
      assert.deepEqual([refused.status, refused.code], [429, 'too_many_connections']);
    }
    assert.equal((await open(t, node, 'anne')).status, 101);
    assert.equal((await open(t, other, 'ann')).status, 101, 'each node counts its own');
    assert.equal(await count(node, 'connections_per_user'), 4);
    assert.equal(lines(node, 'connections_per_user').length, 1);
    assert.match(lines(node, 'connections_per_user')[0], /peer=127\.0\.0\.1:\d+ user="?ann"? .* why=".+" then=".+"/);
    mine[0].socket.terminate();
    await until('there is room again', async () => (await open(t, node, 'ann')).status === 101);
  });

  test('is_told_over_TLS_as_well_since_a_token_is_read_behind_the_handshake', async (t) => {
    const { cert, key } = makeCertificate(workFolder());
    const node = await startNode(t, { rules, options: { ...options, tls_cert: cert, tls_key: key } });
    const how = { url: node.ws.replace('ws:', 'wss:'), rejectUnauthorized: false };
    for (const expected of [101, 101, 429]) assert.equal((await open(t, node, 'ann', how)).status, expected);
  });

  test('holds_for_a_stock_client_which_comes_in_as_soon_as_there_is_room', async (t) => {
    const node = await startNode(t, { rules, options });
    const first = await connect(node, { params: { token: as('ann') } });
    await connect(node, { params: { token: as('ann') } });
    const third = new versions['phoenix 1.8'].Socket(node.ws, { transport: WebSocket, params: { token: as('ann') }, reconnectAfterMs: () => 50 });
    t.after(() => new Promise((resolve) => third.disconnect(resolve)));
    let opens = 0;
    third.onError(() => {});
    third.onOpen(() => opens++);
    third.connect();
    await until('it was refused, and tried again', async () => (await count(node, 'connections_per_user')) > 2);
    assert.equal(opens, 0);
    await disconnect(first);
    await until('it is in', () => opens === 1);
  });

  test('holds_for_who_says_with_a_later_token_whose_the_connection_is', async (t) => {
    const node = await startNode(t, { rules, options });
    const say = (channel, user) => push(channel, 'access_token', { access_token: as(user) });
    const sockets = await Promise.all([1, 2, 3].map(() => connect(node)));
    const channels = await Promise.all(sockets.map((socket) => join(socket, 'room:1')));
    for (const channel of channels.slice(0, 2)) assert.equal((await say(channel, 'ann')).status, 'ok');
    const refused = await say(channels[2], 'ann');
    assert.equal(refused.status, 'error');
    assert.equal(refused.response.reason, 'too_many_connections');
    assert.match(refused.response.detail, /connections_per_user/);
    assert.equal((await push(channels[2], 'msg', {})).status, 'ok', 'it is who it was');
    assert.equal((await node.request('GET', '/api/connections?user=ann&limit=0')).body.count, 2);
    assert.equal((await say(channels[0], 'ann')).status, 'ok', 'who refreshes counts once');
    assert.equal((await say(channels[2], 'bob')).status, 'ok');
    await disconnect(sockets[0]);
    await until('its place is free', async () => (await open(t, node, 'ann')).status === 101);
    const refusals = await count(node, 'connections_per_user'); // the first, and those of who came before the place was free
    assert.equal((await open(t, node, 'ann')).status, 429);
    assert.equal(await count(node, 'connections_per_user'), refusals + 1);
    assert.equal(lines(node, 'connections_per_user').length, 1);
  });

  test('holds_for_whom_the_backend_of_hooks_names', async (t) => {
    const backend = await Backend.start(t);
    backend.answer = ({ client }) => ({ allow: true, user: new URLSearchParams(client.query).get('who') });
    const node = await startNode(t, { rules, options: { connections_per_user: 1, hook_url: backend.url, hook_secret: hookSecret, hook_connect: true, hook_timeout_ms: '20s' } });
    const dial = async (who) => {
      const { socket, status, code } = await attempt(WebSocket, `${node.ws}/websocket?vsn=2.0.0&who=${who}`);
      if (socket) t.after(() => socket.terminate());
      return [status, code];
    };
    assert.deepEqual(await dial('ann'), [101, undefined]);
    assert.deepEqual(await dial('ann'), [429, 'too_many_connections']);
    assert.deepEqual(await dial('bob'), [101, undefined]);
  });
});

describe('connections_per_address', () => {
  test('counts_sessions_and_streams_for_the_client_behind_a_proxy', async (t) => {
    const node = await startNode(t, { options: { connections_per_address: 2, trusted_proxies: '127.0.0.1', longpoll_ttl_ms: '2m', workers: 1 } });
    const from = (address) => ({ 'x-forwarded-for': address });
    const [ann, bob] = ['198.51.100.1', '198.51.100.2'];
    await Poller.to(node, { headers: from(ann) }).open();
    const stream = await Stream.open(t, sseOf(node, 'room:1'), from(ann));
    await stream.joined();
    const session = await Poller.to(node, { headers: from(ann) }).request('GET');
    assert.deepEqual([session.http, session.status, session.error.code], [429, 500, 'too_many_connections']);
    const second = await Stream.open(t, sseOf(node, 'room:1'), from(ann));
    assert.deepEqual([second.status, second.error.code], [429, 'too_many_connections']);
    const socket = await attempt(WebSocket, `${node.ws}/websocket?vsn=2.0.0`, { headers: from(ann) });
    assert.deepEqual([socket.status, socket.code], [429, 'too_many_connections']);
    assert.equal((await Stream.open(t, sseOf(node, 'room:1'), from(bob))).status, 200);
    await Poller.to(node, { headers: from(bob) }).open();
    assert.equal(await count(node, 'connections_per_address'), 3);
    assert.equal(lines(node, 'connections_per_address').length, 1);
    assert.match(lines(node, 'connections_per_address')[0], /peer=198\.51\.100\.1 /);
    stream.close();
    await until('there is room again', async () => (await Stream.open(t, sseOf(node, 'room:1'), from(ann))).status === 200);
  });

  for (const Kind of [Haproxy, Nginx]) {
    test(`counts_clients_behind_${Kind.name.toLowerCase()}_each_for_itself`, async (t) => {
      const { nodes } = await startCluster(t, 3, { options: { ...Kind.options, connections_per_address: 1 } });
      const balancer = await Kind.start(t, nodes);
      // An answer of the balancer itself, which has no code, is none: for a moment a busy node may be none for it.
      const dial = (localAddress) => until('a node answers', async () => {
        const { socket, status, code } = await attempt(WebSocket, `${balancer.url}/websocket?vsn=2.0.0`, { ca: balancer.ca, family: 4, localAddress });
        if (socket) t.after(() => socket.terminate());
        return status === 101 ? 'in' : code;
      });
      const read = (localAddress) =>
        within(10_000, 'an answer', new Promise((resolve, reject) => {
          const request = https.get(`${balancer.url.replace('wss:', 'https:').replace('/socket', '/sse')}?topic=room:1`, { ca: balancer.ca, family: 4, localAddress, agent: false }, ({ statusCode }) => resolve(statusCode));
          request.on('error', reject);
          t.after(() => request.on('error', () => {}).destroy());
        }));
      const greedy = [];
      for (let i = 0; i < 8; i++) greedy.push(await dial('127.0.0.5'));
      assert.ok(greedy.filter((each) => each === 'in').length <= 3, 'one a node');
      assert.deepEqual([...new Set(greedy)].sort(), ['in', 'too_many_connections']);
      for (let i = 6; i < 12; i++) assert.equal(await dial(`127.0.0.${i}`), 'in');
      await until('a stream is let in as well', async () => (await read('127.0.0.12')) === 200);
    });
  }
});

// By LongPoll the frames come from requests that may reach any worker; the session is a socket like any other.
describe('over LongPoll', () => {
  const poll = (node, options) => connectLongPoll(node.ws.replace('ws:', 'http:'), 'phoenix 1.8', { rejoinAfterMs: () => 1e6, ...options });

  test('joins_topics_and_sizes_have_the_limits_of_a_socket', async (t) => {
    const rules = { ...testRules, 'small:*': { join: 'anyone', push: 'anyone', message_max: 100 } };
    const node = await startNode(t, { options: { topics_per_socket: 2 }, rules });
    const socket = await poll(node);
    const channel = await join(socket, 'small:1');
    await join(socket, 'room:1');
    assert.deepEqual(await settled(socket.channel('room:2').join()), { status: 'error', response: { reason: 'too many channels joined' } });
    assert.deepEqual(await push(channel, 'msg', 'x'.repeat(200)), { status: 'error', response: { reason: 'too_large', limit: 100 } });
    assert.deepEqual([await count(node, 'topics'), await count(node, 'message_size')], [1, 1]);
    assert.deepEqual([lines(node, 'topics_per_socket').length, lines(node, 'message_max').length], [1, 1]);
  });

  test('rates_refuse_with_the_time_to_wait_and_what_is_refused_reaches_nobody', async (t) => {
    // What is sent at once comes in one request, and is more than a bucket holds; what is refused is together less than what ends the session.
    const rules = { ...testRules, 'slowly:*': { join: 'anyone', push: 'anyone', pushes_per_s: 1, history_count: 100 } };
    const node = await startNode(t, { options: { joins_per_s: 1, rate_burst_ms: '20s' }, rules });
    const socket = await poll(node);
    const channel = await join(socket, 'slowly:1');
    const joins = await Promise.all(Array.from({ length: 26 }, (_, i) => settled(socket.channel(`room:${i}`).join())));
    const pushes = await Promise.all(Array.from({ length: 26 }, (_, n) => push(channel, 'msg', { n })));
    for (const answers of [joins, pushes]) {
      const refused = answers.filter(({ status }) => status === 'error');
      assert.ok(refused.length > 0 && refused.length < 26, JSON.stringify(answers));
      for (const { response } of refused) assert.ok(response.reason === 'rate_limited' && response.retry_after_ms > 0, JSON.stringify(response));
    }
    const ok = pushes.filter(({ status }) => status === 'ok').length;
    assert.equal((await node.request('GET', '/api/topics/slowly%3A1/history')).body.messages.length, ok);
    assert.deepEqual([lines(node, 'joins_per_s').length, lines(node, 'pushes_per_s').length], [1, 1]);
  });

  test('who_goes_on_without_listening_loses_the_session', async (t) => {
    const node = await startNode(t, { options: { pushes_per_s: 1, rate_burst_ms: '1s' } });
    const poller = await Poller.to(node).open();
    await poller.join('room:1');
    let answer;
    await until('the session is over', async () => {
      answer = await poller.push(...Array.from({ length: 20 }, (_, n) => ['1', String(100 + n), 'room:1', 'msg', { n }]));
      return answer.status === 410;
    });
    assert.equal(await count(node, 'disconnects'), 1);
    await until('it is gone, behind what was still to be said', async () => (await poller.poll()).status === 410);
    assert.ok(poller.messages.some(([, , , , payload]) => payload.response?.reason === 'rate_limited'));
    await (await Poller.to(node).open()).join('room:1');
  });
});

test('a_stream_of_more_topics_than_a_socket_may_have_is_refused_counted_and_told', async (t) => {
  const node = await startNode(t, { options: { topics_per_socket: 2 } });
  for (let i = 0; i < 3; i++) {
    const { status, error } = await Stream.open(t, sseOf(node, ['room:1', 'room:2', 'room:3']));
    assert.equal(status, 400);
    assert.match(error.message, /topics_per_socket/);
  }
  assert.equal(await count(node, 'topics'), 3);
  assert.equal(lines(node, 'topics_per_socket').length, 1);
  assert.equal((await Stream.open(t, sseOf(node, ['room:1', 'room:2']))).status, 200);
});
