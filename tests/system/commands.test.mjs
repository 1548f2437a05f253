// Commands to the cluster, beside control.test.mjs: one connection by its name alone, what is refused, what the log says of them and of tokens
// that are refused, and what was pushed by who is sent away before a backend has decided it.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Backend, gate, hookSecret } from '../lib/backend.mjs';
import { sharedCluster, startNode } from '../lib/cluster.mjs';
import { connect, disconnectAll, join, push, WebSocket } from '../lib/phoenix.mjs';
import { attempt, p256, secret, seconds, token } from '../lib/tokens.mjs';
import { until } from '../lib/wait.mjs';

const rules = {
  'room:*': { join: 'anyone', push: 'anyone', history_count: 100 },
  'pushes:*': { join: 'anyone', push: 'hook' },
};
const backend = await Backend.start();
const cluster = await sharedCluster(3, { rules, options: { token_secret: secret, hook_url: backend.url, hook_secret: hookSecret, hook_timeout_ms: '60s', down_ms: '30s', ack_timeout_ms: '20s' } });
const { nodes } = cluster;
const [a, b, c] = nodes;
after(() => backend.close());
after(disconnectAll);

let unique = 0;
const nameOf = (what) => `${what}${process.pid}-${++unique}`;
const stays = { reconnectAfterMs: () => 1e6, rejoinAfterMs: () => 1e6, timeout: 60_000 };

async function come(node, user, more = {}) {
  const socket = await connect(node, { params: user ? { token: token({ sub: user }) } : {}, ...stays, ...more });
  socket.closes = [];
  socket.onClose(({ code }) => socket.closes.push(code));
  return socket;
}
const post = (node, route, body, headers = {}) => node.request('POST', route, { body, headers: { 'content-type': 'application/json', ...headers } });
async function tell(node, route, body) {
  const answer = await post(node, route, { timeout_ms: 20_000, ...body });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}
const linesOf = (node, event, id) => node.log.split('\n').filter((line) => line.includes(` event=${event} `) && line.includes(` id=${id} `));

// ---- by the connection alone ----

// Of the connections that are listed, the one that only this socket can be.
async function nameOfConnection(node, topic) {
  const { body } = await node.request('GET', `/api/topics/${encodeURIComponent(topic)}/subscribers`);
  assert.equal(body.list.length, 1, JSON.stringify(body));
  return body.list[0].connection;
}

test('a_connection_is_disconnected_by_its_name_alone_from_any_node_also_one_that_is_nobody_s', async () => {
  for (const [asked, at, user] of [[a, b, null], [b, b, nameOf('ann')], [c, a, null]]) {
    const topic = nameOf('room:');
    const socket = await come(at, user), other = await come(at, user);
    await join(socket, topic);
    const connection = await nameOfConnection(asked, topic);
    assert.equal((await tell(asked, '/api/disconnect', { connection, user: nameOf('bob') })).count, 0);
    assert.equal((await tell(asked, '/api/disconnect', { connection })).count, 1);
    await until('it is closed', () => socket.closes.length === 1);
    assert.deepEqual([socket.closes, other.closes], [[1001], []]);
    assert.equal((await tell(asked, '/api/disconnect', { connection })).count, 0);
  }
});

test('a_connection_s_channel_is_ended_by_its_name_alone', async () => {
  const topic = nameOf('room:'), other = nameOf('room:');
  const socket = await come(b, null), channel = await join(socket, topic), kept = await join(socket, other);
  const connection = await nameOfConnection(a, topic);
  assert.equal((await tell(c, '/api/unsubscribe', { connection, topic })).count, 1);
  await until('it is closed', () => channel.state === 'closed');
  assert.equal(kept.state, 'joined');
});

test('what_names_nobody_or_nothing_is_refused_with_what_is_wrong', async () => {
  const socket = await come(a, nameOf('ann'));
  for (const [route, body, says] of [
    ['/api/disconnect', {}, /`user` or `connection` is missing/],
    ['/api/disconnect', { user: null, connection: null }, /`user` or `connection` is missing/],
    ['/api/disconnect', { reason: 'no one' }, /`user` or `connection` is missing/],
    ['/api/disconnect', { connection: '' }, /`connection` must be the name of one/],
    ['/api/disconnect', { connection: 'nonsense' }, /`connection` must be the name of one/],
    ['/api/disconnect', { connection: '0-1', user: 'ann' }, /`connection` must be the name of one/],
    ['/api/disconnect', { connection: 'k3fa9Qz-0', user: 'ann' }, /`connection` must be the name of one/],
    ['/api/disconnect', { connection: 17 }, /`connection` must be the name of one/],
    ['/api/disconnect', { user: 17 }, /`user` must be a string/],
    ['/api/disconnect', { topic: 'room:1' }, /this path takes/],
    ['/api/unsubscribe', { connection: 'k3fa9Qz-17' }, /missing: `topic`/],
    ['/api/unsubscribe', { topic: 'room:1' }, /`user` or `connection` is missing/],
    ['/api/revoke', { connection: 'k3fa9Qz-17' }, /this path takes/],
  ]) {
    const { status, body: answer } = await post(a, route, body);
    assert.equal(status, 400, JSON.stringify(body));
    assert.match(answer.error.message, says);
  }
  assert.equal((await tell(a, '/api/disconnect', { connection: 'k3fa9Qz-17' })).count, 0);
  assert.equal(socket.closes.length, 0);
});

// ---- the log ----

test('each_command_leaves_a_line_where_it_was_taken_and_one_where_it_was_carried_out_with_how_much', async () => {
  const user = nameOf('ann'), topic = nameOf('room:'), secretly = nameOf('because ');
  for (const node of [a, b, b]) await join(await come(node, user), topic);
  await a.publish({ topic, event: 'msg', payload: 1 });
  await until('all have it', async () => (await Promise.all(nodes.map((node) => node.request('GET', `/api/topics/${encodeURIComponent(topic)}/history`)))).every(({ body }) => body.messages.length === 1));
  const commands = [
    ['unsubscribe', () => tell(c, '/api/unsubscribe', { user, topic }), 'channels', [1, 2, 0]],
    ['delete_history', async () => (await c.request('DELETE', `/api/topics/${encodeURIComponent(topic)}/history`)).body, 'messages', [1, 1, 1]],
    ['disconnect', () => tell(c, '/api/disconnect', { user, reason: secretly }), 'connections', [1, 2, 0]],
    ['revoke', () => tell(c, '/api/revoke', { user }), 'connections', [0, 0, 0]],
  ];
  for (const [name, act, what, counts] of commands) {
    const { id } = await act();
    for (const [i, node] of nodes.entries()) {
      const [line, ...more] = await until(`${node.name} has a line of ${name}`, () => {
        const lines = linesOf(node, 'command_done', id);
        return lines.length && lines;
      });
      assert.equal(more.length, 0);
      assert.match(line, new RegExp(` command=${name} .* ${what}=${counts[i]}$`));
      assert.ok(line.includes(name === 'delete_history' ? topic : user), line);
      assert.equal(linesOf(node, 'command_taken', id).length, node === c ? 1 : 0);
    }
  }
  for (const node of nodes) assert.ok(!node.log.includes(secretly));
});

test('refused_tokens_are_told_once_a_burst_with_the_reason_and_never_shown', async (t) => {
  const node = await startNode(t, { rules: { 'room:*': rules['room:*'] }, options: { token_secret: secret, token_leeway: 0, workers: 3 } });
  const bad = { token_expired: token({ sub: 'ann', exp: seconds(-100) }), bad_token: `${token({ sub: 'ann' })}x`, token_key: token({ sub: 'ann' }, { alg: 'ES256', key: p256().privateKey }) };
  for (let i = 0; i < 8; i++) {
    for (const text of Object.values(bad)) assert.equal((await attempt(WebSocket, `${node.ws}/websocket?vsn=2.0.0&token=${text}`)).status, 403);
  }
  const socket = await come(node, 'ann'), channel = await join(socket, 'room:1');
  assert.equal((await push(channel, 'access_token', { access_token: token({ sub: 'bob' }) })).response.reason, 'token_user');
  const reasons = node.log.split('\n').filter((line) => line.includes(' event=token_refused ')).map((line) => line.match(/ reason=(\S+) peer=127\.0\.0\.1:\d+ last_burst=0 why="/)?.[1]);
  assert.deepEqual(reasons.sort(), ['bad_token', 'token_expired', 'token_key', 'token_user']);
  assert.equal(await node.metric('fanmesh_tokens_refused_total'), 25);
  for (const text of Object.values(bad)) assert.ok(!node.log.includes(text.split('.')[1]));
});

// ---- pushes that wait ----

test('what_a_backend_has_not_decided_is_not_broadcast_once_its_client_is_sent_away', async () => {
  for (const [route, more, reason] of [
    ['/api/disconnect', {}, 'closed'],
    ['/api/revoke', {}, 'token_revoked'],
    ['/api/unsubscribe', { topic: true }, 'unmatched topic'],
  ]) {
    const topic = nameOf('pushes:'), user = nameOf('ann'), held = gate();
    backend.answer = async () => {
      await held.promise;
      return { allow: true };
    };
    const listener = await join(await come(b, nameOf('carl')), topic);
    const mine = await join(await come(a, user), topic), others = await join(await come(a, nameOf('bob')), topic);
    const answers = [push(mine, 'msg', { n: 1 }), push(mine, 'msg', { n: 2 })];
    const good = push(others, 'msg', { n: 3 });
    const asked = () => backend.asks.filter((ask) => ask.topic === topic);
    await until('both clients wait', () => asked().length === 2);
    const withdrawn = await a.metric('fanmesh_handler_withdrawn_total');
    await tell(c, route, { user, ...(more.topic ? { topic } : {}) });
    held.open();
    assert.equal((await good).status, 'ok');
    for (const answer of await Promise.all(answers)) assert.deepEqual(answer, { status: 'error', response: { reason } });
    await a.counts('fanmesh_handler_withdrawn_total', withdrawn + 2);
    await push(others, 'msg', { n: 4 });
    await until('the listener has what others push', () => listener.got.length >= 2);
    assert.deepEqual(listener.got.map(({ payload }) => payload.n), [3, 4]);
  }
});

test('what_a_client_pushed_that_leaves_by_itself_is_still_decided', async () => {
  const topic = nameOf('pushes:'), held = gate();
  backend.answer = async () => {
    await held.promise;
    return { allow: true };
  };
  const listener = await join(await come(b, nameOf('carl')), topic);
  const socket = await come(a, nameOf('ann'));
  push(await join(socket, topic), 'msg', { n: 1 });
  await until('it is asked', () => backend.asks.some((ask) => ask.topic === topic));
  await new Promise((resolve) => socket.disconnect(resolve));
  held.open();
  await until('it is there', () => listener.got.length === 1);
});
