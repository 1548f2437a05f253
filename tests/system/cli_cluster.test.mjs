// The commands that ask and tell a whole cluster, with stock clients on three nodes: what they do, print, and say when they can't.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { key, linesOf, run, start } from '../lib/cli.mjs';
import { sharedCluster, startCluster, startNode } from '../lib/cluster.mjs';
import { testRules, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, join } from '../lib/phoenix.mjs';
import { freePort } from '../lib/ports.mjs';
import { seconds, secret, token } from '../lib/tokens.mjs';
import { until, within } from '../lib/wait.mjs';

const rules = { ...testRules, 'who:*': { join: 'anyone', presence: 'anyone' }, 'user:*': { join: 'token', history_count: 10 }, 'mine:*': { join: 'token', history_count: 10 } };
const cluster = await sharedCluster(3, { rules, options: { token_secret: secret, token_topics: 'user:{user}, mine:*', ack_timeout_ms: '15s', down_ms: '30s' } });
const [a, b, c] = cluster.nodes;
after(disconnectAll);

// A connection of the user that stays away when it is closed. closes: [code, reason].
async function come(node, user) {
  const socket = await connect(node, { params: { token: token({ sub: user }) }, reconnectAfterMs: () => 1e6, rejoinAfterMs: () => 1e6 });
  socket.closes = [];
  socket.onClose(({ code, reason }) => socket.closes.push([code, reason]));
  return socket;
}

async function good(args, options) {
  const { code, out, err } = await run(args, options);
  assert.deepEqual([code, err], [0, ''], args.join(' '));
  return out;
}
const answer = async (...args) => JSON.parse(await good(args));
// The rows of a table, with its columns one or more spaces apart.
const rows = (out) => linesOf(out).map((line) => line.trim().split(/ {2,}/));

// ---- commands ----

test('disconnect_closes_a_users_connections_on_all_nodes_and_prints_one_line', async () => {
  const [first, second, other] = [await come(a, 'cut'), await come(b, 'cut'), await come(c, 'other')];
  const out = await good(['disconnect', ...key(c), '--reason', 'logged out', 'cut']);
  assert.match(out, /^\{[^\n]*\}\n$/);
  const { id, count, nodes, missing } = JSON.parse(out);
  assert.match(id, /^\w+-\d+$/);
  assert.deepEqual([count, nodes.length, missing], [2, 3, []]);
  for (const socket of [first, second]) await until('it is closed', () => socket.closes.length === 1);
  assert.deepEqual(first.closes, [[1001, 'logged out']]);
  assert.deepEqual(other.closes, []);
});

test('disconnect_may_be_for_good_of_one_connection_and_with_a_key_only_once', async () => {
  const [first, second] = [await come(a, 'both'), await come(b, 'both')];
  const connections = linesOf(await good(['connections', ...key(a), '--user', 'both', '--json'])).map((line) => JSON.parse(line));
  assert.equal(connections.length, 2);
  const one = await answer('disconnect', ...key(a), '--connection', connections[0].connection, '--reconnect=false', '--key', 'once', 'both');
  assert.equal(one.count, 1);
  await until('one is closed', () => first.closes.length + second.closes.length === 1);
  assert.deepEqual([...first.closes, ...second.closes].map(([code]) => code), [1000]);
  const again = await run(['disconnect', ...key(b), '--key', 'once', 'both']);
  assert.deepEqual([JSON.parse(again.out).duplicate, JSON.parse(again.out).id], [true, one.id]);
  assert.equal((await answer('connections', ...key(c), '--user', 'both', '--count')).count, 1);
});

test('a_connection_is_named_by_itself_with_no_user_or_with_its_own', async () => {
  const [guest, reader] = [await connect(b, { reconnectAfterMs: () => 1e6 }), await come(c, 'named')];
  let closed = false;
  guest.onClose(() => (closed = true));
  const [left, kept] = [await join(guest, 'room:named'), await join(reader, 'room:named')];
  const listed = linesOf(await good(['connections', ...key(a), '--topic', 'room:named', '--json'])).map((line) => JSON.parse(line));
  const { connection } = listed.find(({ user }) => !user);
  const wrong = await run(['disconnect', ...key(a), '--connection', connection, 'named']);
  assert.deepEqual([wrong.code, JSON.parse(wrong.out).count], [0, 0]);
  assert.match(wrong.err, /^fanmesh disconnect: warning: this user has no such connection; /);
  assert.equal((await answer('unsubscribe', ...key(a), '--connection', connection, 'room:named')).count, 1);
  await until('the channel is closed', () => left.state === 'closed');
  const again = await run(['unsubscribe', ...key(a), '--connection', connection, 'room:named']);
  assert.match(again.err, /^fanmesh unsubscribe: warning: this connection has not joined it, or is not there; /);
  assert.equal((await answer('disconnect', ...key(a), '--connection', connection)).count, 1);
  await until('it is closed', () => closed);
  const gone = await run(['disconnect', ...key(a), '--connection', connection]);
  assert.deepEqual([gone.code, JSON.parse(gone.out).count], [0, 0]);
  assert.match(gone.err, /^fanmesh disconnect: warning: there is no such connection, or not any more; /);
  assert.deepEqual([kept.state, reader.closes], ['joined', []]);
  for (const args of [['disconnect'], ['unsubscribe', 'room:named'], ['unsubscribe', '--connection', connection], ['disconnect', '--connection', connection, 'a', 'b']]) {
    const { code, err } = await run([args[0], ...key(a), ...args.slice(1)]);
    assert.equal(code, 2, err);
    assert.match(err, /^fanmesh \w+: takes USER[^\n]*given\n$/);
  }
});

test('what_concerned_nobody_is_said', async () => {
  for (const [args, warning] of [
    [['disconnect', 'nobody'], /^fanmesh disconnect: warning: nobody of this name is connected; `fanmesh connections` lists who is\n$/],
    [['unsubscribe', 'nobody', 'room:1'], /^fanmesh unsubscribe: warning: nobody of this name has joined it; /],
    [['revoke', 'nobody'], /^$/],
    [['delete-history', 'room:never'], /^$/],
  ]) {
    const { code, out, err } = await run([args[0], ...key(a), ...args.slice(1)]);
    assert.deepEqual([code, JSON.parse(out).count], [0, 0]);
    assert.match(err, warning);
  }
});

test('unsubscribe_ends_a_users_channels_of_a_topic_and_no_others', async () => {
  const socket = await come(b, 'reader');
  const [gone, kept] = [await join(socket, 'room:gone'), await join(socket, 'room:kept')];
  assert.equal((await answer('unsubscribe', ...key(a), 'reader', 'room:gone')).count, 1);
  await until('the channel is closed', () => gone.state === 'closed');
  assert.equal(kept.state, 'joined');
});

test('revoke_ends_a_users_tokens_that_were_made_until_a_time', async () => {
  const socket = await come(c, 'lost');
  assert.equal((await answer('revoke', ...key(a), '--issued-until', String(seconds(-60)), 'lost')).count, 0);
  assert.equal((await answer('revoke', ...key(a), 'lost')).count, 1);
  await until('it is closed', () => socket.closes.length === 1);
  assert.equal(socket.closes[0][0], 4003);
});

test('delete_history_deletes_it_on_all_nodes_also_of_a_topic_that_needs_escapes', async () => {
  const topic = 'room:a/b c?d%e&ü';
  await a.publish({ topic, event: 'msg', payload: 1, ack: 'replicated', replicas: 2 });
  assert.equal((await answer('delete-history', ...key(b), topic)).count, 3);
  const { body } = await c.request('GET', `/api/topics/${encodeURIComponent(topic)}/history`);
  assert.deepEqual(body.messages, []);
});

test('a_node_that_is_out_of_reach_is_named_and_the_rest_is_done', async (t) => {
  const own = await startCluster(t, 2, { rules, options: { token_secret: secret, down_ms: '1s', heartbeat_ms: '200ms', ack_timeout_ms: '5s' } });
  const [here, gone] = own.nodes;
  const socket = await come(here, 'ann');
  await gone.kill();
  const told = await run(['disconnect', ...key(here), 'ann']);
  assert.equal(told.code, 0);
  assert.deepEqual([JSON.parse(told.out).count, JSON.parse(told.out).missing.map(({ node }) => node)], [1, ['node2']]);
  assert.match(told.err, /^fanmesh disconnect: warning: the node node2: it [^\n]*; it does this when it is back\n$/);
  await until('it is closed', () => socket.closes.length === 1);
  const nobody = await run(['disconnect', ...key(here), 'zoe']);
  assert.match(linesOf(nobody.err)[1], /^fanmesh disconnect: warning: on the nodes that answered nobody of this name is connected; /);
  const listed = await run(['connections', ...key(here)]);
  assert.equal(listed.code, 0);
  assert.match(listed.err, /^fanmesh connections: warning: the node node2: it [^\n]*; its clients are not listed or counted\n$/);
});

test('commands_say_in_one_line_why_they_did_not', async (t) => {
  const bare = await startNode(t); // which has no tokens
  const nobody = await freePort();
  for (const [args, line] of [
    [['unsubscribe', ...key(a), 'ann', 'nobody:knows'], /^fanmesh unsubscribe: unmatched topic: /],
    [['revoke', ...key(bare), 'ann'], /^fanmesh revoke: invalid: [^\n]*this node takes no tokens/],
    [['revoke', ...key(a), '--issued-until', String(seconds(3600)), 'ann'], /^fanmesh revoke: invalid: [^\n]*lies in the future/],
    [['delete-history', ...key(a), 'nobody:knows'], /^fanmesh delete-history: unmatched topic: /],
    [['presence', ...key(a), 'nobody:knows'], /^fanmesh presence: unmatched topic: /],
    [['topics', '--api-url', a.api], /^fanmesh topics: unauthorized: [^\n]*; give it with --api-key-file or FANMESH_API_KEY/],
    [['connections', '--api-url', `http://127.0.0.1:${nobody}`], /^fanmesh connections: nothing listens at [^\n]* with --api-url/],
    [['topics', '--api-url', `http://127.0.0.1:${a.port}`], /^fanmesh topics: /],
  ]) {
    const { code, out, err } = await run(args);
    assert.equal(code, 1, err);
    assert.equal(out, '');
    assert.equal(linesOf(err).length, 1, err);
    assert.match(err.trim(), line);
  }
});

// ---- lists ----

test('topics_lists_them_with_their_counts_in_the_order_of_their_names', async () => {
  await join(await connect(a), 'others:list-b');
  for (const topic of ['others:list-a', 'others:list-b', 'others:list-b', 'others:other']) await a.publish({ topic, event: 'msg', payload: 1 });
  assert.deepEqual(rows(await good(['topics', ...key(a), '--prefix', 'others:list'])), [
    ['TOPIC', 'SUBSCRIBERS HERE', 'HISTORY'], ['others:list-a', '0', '1'], ['others:list-b', '1', '2'],
  ]);
  const json = linesOf(await good(['topics', ...key(a), '--prefix', 'others:list', '--json'])).map((line) => JSON.parse(line));
  assert.deepEqual(json.map(({ topic, subscribers, history }) => [topic, subscribers, history]), [['others:list-a', 0, 1], ['others:list-b', 1, 2]]);
  assert.deepEqual(rows(await good(['topics', ...key(a), '--prefix', 'others:list', '--limit', '1'])).length, 2);
  assert.equal(await good(['topics', ...key(a), '--prefix', 'none', '--json']), '');
  assert.deepEqual(rows(await good(['topics', ...key(a), '--prefix', 'none'])), [['TOPIC', 'SUBSCRIBERS HERE', 'HISTORY']]);
});

test('a_list_longer_than_a_page_is_whole', async () => {
  const names = Array.from({ length: 2100 }, (_, i) => `room:page-${String(i).padStart(5, '0')}`);
  for (let i = 0; i < names.length; i += 700) await b.publishAll(names.slice(i, i + 700).map((topic) => ({ topic, event: 'msg', payload: 1 })));
  const list = async (...args) => linesOf(await good(['topics', ...key(b), '--prefix', 'room:page-', '--json', ...args])).map((line) => JSON.parse(line).topic);
  assert.deepEqual(await list(), names);
  assert.deepEqual(await list('--limit', '1500'), names.slice(0, 1500));
  assert.deepEqual(rows(await good(['topics', ...key(b), '--prefix', 'room:page-'])).slice(1).map(([name]) => name), names);
});

test('connections_lists_those_of_all_nodes_of_a_user_or_of_a_topic', async () => {
  const sockets = [await come(a, 'conn'), await come(b, 'conn')];
  await join(sockets[1], 'room:conn');
  await join(await connect(c), 'room:conn');
  const mine = rows(await good(['connections', ...key(c), '--user', 'conn']));
  assert.deepEqual(mine[0], ['CONNECTION', 'NODE', 'USER', 'OPEN', 'TOPICS', 'ADDRESS']);
  assert.equal(mine.length, 3);
  assert.deepEqual(mine.slice(1).map(([, node]) => node).sort(), [a.name, b.name]);
  for (const [name, , user, open, , address] of mine.slice(1)) {
    assert.match(name, /^\w+-\d+$/);
    assert.equal(user, 'conn');
    assert.match(open, /^\d+(\.\d)? (s|min)$/);
    assert.match(address, /^127\.0\.0\.1:\d+$/);
  }
  const there = rows(await good(['connections', ...key(a), '--topic', 'room:conn']));
  assert.deepEqual(there.slice(1).map(([, node, user]) => [node, user]).sort(), [[b.name, 'conn'], [c.name, '-']]);
  const both = linesOf(await good(['connections', ...key(a), '--topic', 'room:conn', '--user', 'conn', '--json']));
  assert.deepEqual(both.map((line) => JSON.parse(line).user), ['conn']);
  assert.equal((await answer('connections', ...key(a), '--topic', 'room:conn', '--count')).count, 2);
});

test('presence_lists_who_is_there_and_counts_them', async () => {
  const topic = 'who:is there';
  for (const [node, who] of [[a, 'änn'], [b, 'änn'], [c, 'bob']]) await join(await connect(node), topic, { presence: { key: who, meta: { mood: 'well' } } });
  await until('all are there', async () => (await answer('presence', ...key(a), '--count', topic)).presences === 3);
  const table = rows(await good(['presence', ...key(a), topic]));
  assert.deepEqual(table.map((cells) => cells.slice(0, 2)), [['KEY', 'PRESENCES'], ['bob', '1'], ['änn', '2']]);
  assert.match(table[1][2], /^\{"mood":"well","phx_ref":"[^"]+"\}$/);
  const lines = linesOf(await good(['presence', ...key(a), '--json', topic])).map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ key: who, metas }) => [who, metas.map(({ mood }) => mood)]), [['bob', ['well']], ['änn', ['well', 'well']]]);
  assert.deepEqual(await answer('presence', ...key(a), '--count', topic), { topic, presences: 3, keys: 2 });
});

// ---- publish and subscribe ----

test('publish_to_a_user_reaches_each_of_their_connections', async () => {
  const channels = [];
  for (const node of [a, b]) channels.push(await join(await come(node, 'zoe'), 'user:zoe'));
  const id = (await good(['publish', ...key(c), '--user', 'zoe', 'msg', '{"unread":3}'])).trim();
  for (const channel of channels) await until('it is there', () => channel.got.length === 1);
  assert.deepEqual(channels[0].got[0].payload, { unread: 3 });
  const history = (await c.request('GET', '/api/topics/user%3Azoe/history')).body.messages;
  assert.deepEqual(history.map((message) => message.id), [id]);
});

const subscriber = (t, args, env) => {
  const child = start(['subscribe', ...args], env);
  t.after(() => child.kill('SIGKILL'));
  return child;
};

test('subscribe_takes_its_token_from_a_file_the_environment_or_the_command_line_which_all_can_see', async (t) => {
  const file = path.join(workFolder(), 'token'), text = token({ sub: 'sub' });
  fs.writeFileSync(file, `${text}\n`, { mode: 0o600 });
  const topic = 'mine:token';
  await a.publish({ topic, event: 'msg', payload: 1 });
  const common = ['--socket-url', a.ws, '--last', '1', '--count', '1', topic];
  for (const [args, env, err] of [
    [['--token-file', file], {}, /^$/],
    [[], { FANMESH_TOKEN: text }, /^$/],
    [['--token', text], {}, /^fanmesh subscribe: warning: --token: every user of this machine can see the command line; use --token-file or the environment\n$/],
  ]) {
    const end = await within(20_000, 'it ends', subscriber(t, [...args, ...common], env).ended);
    assert.equal(end.code, 0, end.err);
    assert.match(end.err, err);
    assert.equal(JSON.parse(end.out).payload, 1);
    assert.ok(!end.err.includes(text));
  }
});

test('subscribe_says_what_is_wrong_with_its_token', async () => {
  const file = path.join(workFolder(), 'token');
  const common = ['--socket-url', a.ws, 'mine:token'];
  const cases = [
    [[], 1, /^fanmesh subscribe: the node refuses the join: "token_missing" \(no token was sent; give one with --token-file or FANMESH_TOKEN\)$/],
    [['--token-file', '/nowhere'], 2, /^fanmesh subscribe: token_file: can't read "?\/nowhere"?: No such file or directory$/],
    [['--token-file', file], 1, /^fanmesh subscribe: [^\n]* HTTP status 403 instead of opening a WebSocket: token_expired: [^\n"]*$/],
  ];
  fs.writeFileSync(file, token({ sub: 'sub', exp: seconds(-60) }), { mode: 0o600 });
  for (const [args, code, line] of cases) {
    const end = await run(['subscribe', ...args, ...common]);
    assert.equal(end.code, code, end.err);
    assert.equal(linesOf(end.err).length, 1, end.err);
    assert.match(end.err.trim(), line);
  }
});

test('subscribe_comes_back_with_the_token_that_is_in_its_file_by_then_and_misses_nothing', async (t) => {
  const file = path.join(workFolder(), 'token');
  fs.writeFileSync(file, token({ sub: 'before' }), { mode: 0o600 });
  const client = subscriber(t, ['--socket-url', b.ws, '--token-file', file, '--count', '2', 'mine:on']);
  const has = async (user, topic = 'mine:on') => (await answer('connections', ...key(a), '--user', user, '--topic', topic, '--count')).count === 1;
  await until('it is subscribed', () => has('before'));
  const first = await c.publish({ topic: 'mine:on', event: 'msg', payload: 1 });
  await until('it is printed', () => client.out.includes(first));
  fs.writeFileSync(file, token({ sub: 'after' }), { mode: 0o600 });
  assert.equal((await answer('disconnect', ...key(a), 'before')).count, 1);
  await until('it is back as another', () => has('after'), 30_000);
  const second = await c.publish({ topic: 'mine:on', event: 'msg', payload: 2 });
  const { code, out, err } = await within(20_000, 'it ends', client.ended);
  assert.equal(code, 0, err);
  assert.deepEqual(linesOf(out).map((line) => JSON.parse(line).id), [first, second]);
});
