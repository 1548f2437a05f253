// Tokens with the stock Phoenix clients, on three nodes: how they bring them, what they may do then, and how they go on when one is over.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import test, { after } from 'node:test';
import { sharedCluster } from '../lib/cluster.mjs';
import { connectLongPoll } from '../lib/longpoll.mjs';
import { connect, disconnect, disconnectAll, join, push, settled, versions, WebSocket } from '../lib/phoenix.mjs';
import { Stream, sseOf } from '../lib/sse.mjs';
import { attempt, seconds, secret, token } from '../lib/tokens.mjs';
import { patience, until, within } from '../lib/wait.mjs';

const rules = {
  'room:*': { join: 'token', push: 'token', history_count: 100 },
  'open:*': { join: 'anyone', push: 'anyone' },
  'read:*': { join: 'token', push: 'nobody' },
  'user:*': { join: 'token', push: 'token' },
};
// Long enough for what has to be done before it is over, also on a busy machine.
const soon = () => seconds(4 * patience);
const grace_ms = 4000 * patience;
const cluster = await sharedCluster(3, {
  rules,
  options: { token_secret: secret, token_topics: 'user:{user}:*', token_cookie: 'jwt', token_leeway: '0', token_grace_ms: grace_ms, log_level: 'debug' },
});
const [one, two, three] = cluster.nodes;
after(disconnectAll);

const used = [];
const made = (claims, options) => {
  used.push(token(claims, options));
  return used.at(-1);
};
const refusal = async (socket, topic) => {
  const channel = socket.channel(topic);
  const answer = await settled(channel.join());
  await settled(channel.leave());
  return answer.response?.reason;
};

for (const [name, client] of Object.entries(versions)) {
  test(`${name}_brings_its_token_as_a_parameter_and_does_what_it_grants`, async () => {
    const socket = await connect(one, { client, params: () => ({ token: made({ sub: 'ann', topics: { 'room:*': ['join'], 'room:1': ['push'] } }) }) });
    const other = await connect(two, { client, params: { token: made({ sub: 'bob', topics: ['room:1'] }) } });
    const channel = await join(socket, 'room:1');
    const heard = await join(other, 'room:1');
    assert.equal((await push(channel, 'msg', { n: 1 })).status, 'ok');
    await until('bob hears ann', () => heard.got.length === 1);
    const second = await join(socket, 'room:2');
    assert.deepEqual(await push(second, 'msg', {}), { status: 'error', response: { reason: 'not_granted' } });
    assert.equal(await refusal(other, 'room:2'), 'not_granted');
    assert.equal(await refusal(other, 'user:ann:inbox'), 'not_granted');
    await join(other, 'user:bob:inbox');
    await join(socket, 'user:ann:inbox');
    await join(socket, 'open:1');
    await Promise.all([disconnect(socket), disconnect(other)]);
  });

  test(`${name}_comes_back_with_a_new_token_after_its_connection_was_closed_for_the_old_one`, async () => {
    let n = 0;
    const closes = [];
    const opens = [];
    const fresh = () => made({ sub: 'ann', topics: ['room:*'], exp: n++ === 0 ? soon() : seconds(600) });
    const socket = await connect(two, { client, ...(name.endsWith('1.8') ? { authToken: fresh } : { params: () => ({ token: fresh() }) }) });
    socket.onClose((event) => closes.push(event.code));
    socket.onOpen(() => opens.push(Date.now()));
    const events = [];
    socket.onMessage(({ event }) => events.push(event));
    const channel = await join(socket, 'room:7');
    await until('the old token is over', () => closes.length === 1, 25_000);
    assert.deepEqual(closes, [4001]);
    assert.ok(events.includes('fm_token_expired'));
    await until('it is back', () => opens.length === 1 && channel.state === 'joined');
    assert.equal((await push(channel, 'msg', { n: 1 })).status, 'ok');
    await disconnect(socket);
  });
}

test('without_a_token_only_what_is_for_everyone_is_there', async () => {
  const socket = await connect(three);
  assert.equal(await refusal(socket, 'room:1'), 'token_missing');
  const channel = await join(socket, 'open:1');
  assert.equal((await push(channel, 'msg', {})).status, 'ok');
  await disconnect(socket);
});

test('authToken_of_phoenix_1_8_travels_beside_the_subprotocol', async () => {
  const socket = await connect(three, { authToken: made({ sub: 'ann', topics: ['room:*'] }) });
  await join(socket, 'room:1');
  assert.equal(socket.conn?.protocol ?? socket.connection?.conn?.protocol ?? 'phoenix', 'phoenix');
  await disconnect(socket);
});

test('a_token_in_a_header_or_a_cookie_is_taken', async () => {
  const text = made({ sub: 'ann', topics: ['room:*'] });
  for (const headers of [
    { authorization: `Bearer ${text}` },
    { 'x-phoenix-authtoken': text },
    { cookie: `theme=dark; jwt=${text}` },
    { cookie: `jwt=${text}`, origin: `http://127.0.0.1:${one.port}` },
  ]) {
    const { socket, status } = await attempt(WebSocket, `${one.ws}/websocket?vsn=2.0.0`, { headers });
    assert.equal(status, 101, Object.keys(headers).join());
    const answer = new Promise((resolve) => socket.once('message', (data) => resolve(JSON.parse(data))));
    socket.send('["1","1","room:1","phx_join",{}]');
    assert.equal((await within(5000, 'a reply', answer))[4].status, 'ok');
    socket.terminate();
  }
  const elsewhere = await attempt(WebSocket, `${one.ws}/websocket?vsn=2.0.0`, { headers: { cookie: `jwt=${text}`, origin: 'https://evil.example' } });
  assert.deepEqual([elsewhere.status, elsewhere.code], [403, 'bad_origin']);
});

test('longpoll_brings_a_token_as_parameter_and_as_header_and_none_where_none_is_needed', async () => {
  for (const options of [{ authToken: made({ sub: 'ann', topics: ['room:*'] }) }, { params: { token: made({ sub: 'ann', topics: ['room:*'] }) } }]) {
    const socket = await connectLongPoll(one.ws.replace('ws:', 'http:'), 'phoenix 1.8', options);
    const channel = await join(socket, 'room:poll');
    assert.equal((await push(channel, 'msg', {})).status, 'ok');
    assert.equal((await push(channel, 'access_token', { access_token: made({ sub: 'ann', topics: ['room:poll'] }) })).status, 'ok');
    assert.equal(await refusal(socket, 'room:other'), 'not_granted');
    await disconnect(socket);
  }
  const anonymous = await connectLongPoll(one.ws.replace('ws:', 'http:'), 'phoenix 1.8');
  assert.equal(await refusal(anonymous, 'room:poll'), 'token_missing');
  await join(anonymous, 'open:poll');
  await disconnect(anonymous);
});

test('longpoll_ends_with_its_token_and_begins_again_with_a_new_one', async () => {
  let n = 0;
  const socket = await connectLongPoll(two.ws.replace('ws:', 'http:'), 'phoenix 1.8', {
    authToken: () => made({ sub: 'ann', topics: ['room:*'], exp: n++ === 0 ? soon() : seconds(600) }),
  });
  const channel = await join(socket, 'room:poll');
  await until('the old one is over', async () => (await two.metric('fanmesh_tokens_expired_total')) > 0 && n > 1, 25_000);
  await until('it is back', () => channel.state === 'joined');
  assert.equal((await push(channel, 'msg', { n: 1 })).status, 'ok');
  await disconnect(socket);
});

test('a_stream_of_events_asks_for_the_same_token', async (t) => {
  const text = made({ sub: 'ann', topics: ['room:1'] });
  const url = (topic, query = '') => `${sseOf(three, topic)}${query}`;
  const stream = await Stream.open(t, url('room:1', `&token=${text}`));
  assert.equal(stream.status, 200);
  await stream.joined();
  for (const [address, status, code] of [
    [url('room:1'), 403, 'token_missing'],
    [url('room:2', `&token=${text}`), 403, 'not_granted'],
    [url('room:1', '&token=a.b.c'), 403, 'bad_token'],
  ]) {
    const response = await fetch(address);
    assert.equal(response.status, status);
    assert.equal((await response.json()).error.code, code);
  }
  const header = await Stream.open(t, url('room:1'), { authorization: `Bearer ${text}` });
  assert.equal(header.status, 200);
});

test('a_new_token_on_the_open_connection_takes_the_place_of_the_old_one', async () => {
  const first = soon();
  const socket = await connect(one, { params: { token: made({ sub: 'ann', topics: ['room:*'], exp: first }) } });
  let closed = 0;
  socket.onClose(() => closed++);
  const channel = await join(socket, 'room:1');
  const other = await join(socket, 'room:2');
  const errors = [];
  other.onError((reason) => errors.push(reason));
  const exp = seconds(600);
  assert.deepEqual(await push(channel, 'access_token', { access_token: made({ sub: 'ann', topics: ['room:1', 'room:3'], exp }) }), { status: 'ok', response: {} });
  await until('the channel that is granted no more has ended', () => errors.length > 0);
  assert.deepEqual(errors[0], { reason: 'not_granted' });
  await settled(other.leave());
  await join(socket, 'room:3');
  await until('the first token would be over, and its grace', () => seconds() > first + grace_ms / 1000 + 1, 25_000, 100);
  assert.equal(closed, 0);
  assert.equal((await push(channel, 'msg', {})).status, 'ok');
  await disconnect(socket);
});

test('in_the_grace_the_client_hears_may_refresh_and_does_nothing_else', async () => {
  const socket = await connect(two, { params: { token: made({ sub: 'ann', topics: ['room:*'], exp: soon() }) } });
  const channel = await join(socket, 'room:grace');
  const told = new Promise((resolve) => socket.onMessage((m) => m.event === 'fm_token_expired' && resolve(m)));
  const { topic, payload } = await within(20_000, 'it is told', told);
  assert.deepEqual([topic, payload], ['phoenix', { grace_ms }]);
  const refused = push(channel, 'msg', { n: 1 });
  const id = one.publish({ topic: 'room:grace', event: 'msg', payload: { n: 2 } });
  const answer = await push(channel, 'access_token', { access_token: made({ sub: 'ann', topics: ['room:*'] }) });
  assert.equal(answer.status, 'ok');
  assert.deepEqual(await refused, { status: 'error', response: { reason: 'token_expired' } });
  await id;
  await until('it hears what was published', () => channel.got.some(({ payload: { n } }) => n === 2));
  assert.equal((await push(channel, 'msg', { n: 3 })).status, 'ok');
  await disconnect(socket);
});

test('a_refresh_that_is_wrong_is_refused_and_changes_nothing', async () => {
  const socket = await connect(three, { params: { token: made({ sub: 'ann', topics: ['room:*'] }) } });
  const channel = await join(socket, 'room:1');
  const cases = [
    [{ access_token: made({ sub: 'bob', topics: ['room:*'] }) }, 'token_user'],
    [{ access_token: made({ sub: 'ann', exp: 1 }) }, 'token_expired'],
    [{ access_token: made({ sub: 'ann' }, { key: crypto.randomBytes(32) }) }, 'bad_token'],
    [{ access_token: 'a.b.c' }, 'bad_token'],
    [{}, 'bad_token'],
  ];
  for (const [payload, reason] of cases) {
    const answer = await push(channel, 'access_token', payload);
    assert.equal(answer.status, 'error');
    assert.equal(answer.response.reason, reason);
  }
  assert.equal((await push(channel, 'msg', {})).status, 'ok');
  await disconnect(socket);
});

test('who_came_without_a_token_may_bring_one_later_on_the_topic_phoenix', async () => {
  const socket = await connect(one);
  assert.equal(await refusal(socket, 'room:9'), 'token_missing');
  const answer = new Promise((resolve) => socket.onMessage((m) => m.ref === '77' && resolve(m.payload)));
  socket.push({ topic: 'phoenix', event: 'access_token', payload: { access_token: made({ sub: 'ann', topics: ['room:*'] }) }, ref: '77', join_ref: null });
  assert.deepEqual(await within(5000, 'a reply', answer), { status: 'ok', response: {} });
  await join(socket, 'room:9');
  await disconnect(socket);
});

test('nobody_else_is_given_a_token_that_is_pushed', async () => {
  const socket = await connect(one);
  const other = await connect(two);
  const channel = await join(socket, 'open:token');
  const heard = await join(other, 'open:token', {}, ['access_token', 'msg']);
  await push(channel, 'access_token', { access_token: made({ sub: 'ann' }) });
  await push(channel, 'msg', { last: true });
  await until('what came after it is heard', () => heard.got.length > 0);
  assert.deepEqual(heard.got.map(({ event }) => event), ['msg']);
  await Promise.all([disconnect(socket), disconnect(other)]);
});

test('no_log_of_a_node_holds_a_token', async () => {
  assert.ok(used.length > 20);
  for (const node of cluster.nodes) {
    const seen = node.log + (await node.request('GET', '/metrics')).text;
    assert.match(seen, /event=socket_opened/);
    for (const text of used) {
      const [, claims, signature] = text.split('.');
      assert.ok(!seen.includes(claims.slice(0, 24)) && !seen.includes(signature.slice(0, 24)));
    }
  }
});
