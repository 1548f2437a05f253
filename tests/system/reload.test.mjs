// HUP: rules, API key and certificates are read again while the node runs, and the log says what changed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { after, test } from 'node:test';
import tls from 'node:tls';
import { makeAuthority, makeCertificate, makeSigned } from '../lib/certificate.mjs';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { apiKey, Node, testRules, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, follow, idsOf, join, settled, WebSocket } from '../lib/phoenix.mjs';
import { freePort } from '../lib/ports.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);

const withRule = (pattern, rule) => ({ ...testRules, [pattern]: { ...testRules[pattern], ...rule } });
const tryJoin = (socket, topic) => settled(socket.channel(topic).join());

// ---- rules ----

test('a_rule_that_changes_holds_for_the_next_push_and_the_next_join', async (t) => {
  const node = await startNode(t);
  const socket = await connect(node);
  const channel = await join(socket, 'room:a');
  assert.equal((await settled(channel.push('msg', { n: 1 }))).status, 'ok');

  node.rules = { ...withRule('room:*', { push: 'nobody' }), news: { join: 'anyone' } };
  const log = await node.reload();
  assert.deepEqual(await settled(channel.push('msg', { n: 2 })), { status: 'error', response: { reason: 'forbidden' } });
  assert.equal((await tryJoin(socket, 'news')).status, 'ok');
  assert.match(log, /event=rule_changed pattern="room:\*" key=push from="anyone" to="nobody"\n/);
  assert.match(log, /event=rule_added pattern="news" join=anyone push=nobody /);
  assert.match(log, /event=reloaded changes=2 need_restart=0 /);

  node.rules = withRule('room:*', { message_max: 1024 });
  assert.match(await node.reload(), /event=rule_removed pattern="news" /);
  assert.equal((await settled(channel.push('msg', { n: 3 }))).status, 'ok');
  assert.deepEqual(await settled(channel.push('msg', 'x'.repeat(2000))), { status: 'error', response: { reason: 'too_large', limit: 1024 } });
  // On a socket of its own: the channel that just ended tries again, and would leave another of its topic for that.
  assert.deepEqual(await tryJoin(await connect(node), 'news'), { status: 'error', response: { reason: 'unmatched topic' } });
});

test('the_api_goes_by_the_new_rules_as_well', async (t) => {
  const node = await startNode(t);
  const message = { topic: 'news', event: 'msg', payload: 1 };
  assert.equal((await node.tryPublish(message)).status, 404);
  node.rules = { ...testRules, news: { join: 'anyone', history_count: 5 } };
  await node.reload();
  const id = await node.publish(message);
  assert.deepEqual(await node.history('news'), [id]);
});

test('a_channel_whose_topic_nobody_may_join_any_more_ends_and_comes_back_when_it_is_allowed_again', async (t) => {
  const node = await startNode(t);
  const socket = await connect(node);
  const channel = await follow(socket, 'room:b');
  const other = await join(socket, 'others:b');
  const first = await node.publish({ topic: 'room:b', event: 'msg', payload: 1 });
  await until('it is there', () => channel.got.length === 1);
  const errors = [];
  channel.onError((reason) => errors.push(reason));

  node.rules = withRule('room:*', { join: 'nobody', push: 'nobody' });
  await node.reload();
  await until('the client is told', () => errors.length > 0);
  assert.deepEqual(errors[0], { reason: 'forbidden' });
  assert.equal(await node.metric('fanmesh_channels_forbidden_total'), 1);
  await until('nobody is counted there', async () => (await node.request('GET', '/api/topics')).body.topics.every(({ topic, subscribers }) => topic !== 'room:b' || subscribers === 0));
  const missed = await node.publish({ topic: 'room:b', event: 'msg', payload: 2 });
  await node.publish({ topic: 'others:b', event: 'msg', payload: 3 });
  await until('another topic of the same socket goes on', () => other.got.length === 1);
  assert.deepEqual(idsOf(channel), [first]);

  node.rules = testRules;
  await node.reload();
  await until('it is back with what it missed', () => channel.got.length === 2);
  assert.deepEqual(idsOf(channel), [first, missed]);
});

test('many_channels_that_are_forbidden_at_once_all_end', async (t) => {
  const node = await startNode(t, { options: { workers: 1, topics_per_socket: 1000 } });
  const socket = await connect(node);
  const n = 700;
  const channels = await Promise.all(Array.from({ length: n }, (_, i) => join(socket, `room:${i % 400}/${i}`)));
  let told = 0;
  for (const channel of channels) channel.onError(() => void told++);
  node.rules = {};
  await node.reload();
  await until('all are told', () => told >= n);
  await until('none is left', async () => (await node.metric('fanmesh_subscriptions')) === 0);
  assert.equal(await node.metric('fanmesh_channels_forbidden_total'), n);
});

test('a_shorter_history_holds_at_once_for_who_joins_and_who_asks', async (t) => {
  const node = await startNode(t);
  const topic = 'room:c';
  const ids = await node.publishAll(Array.from({ length: 20 }, (_, i) => ({ topic, event: 'msg', payload: i })));
  node.rules = withRule('room:*', { history_count: 5 });
  await node.reload();
  assert.deepEqual(await node.history(topic), ids.slice(-5));
  const channel = await join(await connect(node), topic, { cursor: [ids[9]] });
  assert.equal(channel.joinResponse.recovered, false);
  assert.equal(channel.joinResponse.replayed, 5);
  node.rules = testRules;
  await node.reload();
  const more = await node.publishAll(Array.from({ length: 3 }, (_, i) => ({ topic, event: 'msg', payload: i })));
  assert.deepEqual(await node.history(topic), [...ids.slice(-5), ...more]);
});

test('a_topic_that_got_a_new_way_with_slow_clients_treats_those_who_are_there_by_it', async (t) => {
  const node = await startNode(t, { options: { outbox_bytes: '64KiB', message_max: '16KiB' } });
  const socket = await connect(node);
  await join(socket, 'bare:d');
  node.rules = withRule('bare:*', { slow: 'drop' });
  await node.reload();
  socket.conn._socket.pause();
  await until('it is behind', async () => {
    await node.publishAll(Array.from({ length: 50 }, () => ({ topic: 'bare:d', event: 'msg', payload: 'x'.repeat(16000) })));
    return (await node.metric('fanmesh_slow_lagging')) === 1;
  });
  assert.equal(await node.metric('fanmesh_slow_disconnects_total'), 0);
  socket.conn._socket.resume();
  await until('it has caught up', async () => (await node.metric('fanmesh_slow_lagging')) === 0);
});

test('reloads_under_traffic_lose_nothing', async (t) => {
  const { nodes } = await startCluster(t, 2);
  const topic = 'room:e';
  const channels = await Promise.all(nodes.map(async (node) => follow(await connect(node), topic)));
  const ids = [];
  for (let i = 0; i < 60; i++) {
    ids.push(await nodes[i % 2].publish({ topic, event: 'msg', payload: i }));
    if (i % 6 !== 3) continue;
    nodes[0].rules = withRule('room:*', { history_count: 10000 + i, slow: i % 12 === 3 ? 'drop' : 'disconnect' });
    nodes[0].writeSettings();
    nodes[0].child.kill('SIGHUP');
  }
  for (const channel of channels) {
    await until('all are there', () => channel.got.length >= ids.length);
    assert.deepEqual(idsOf(channel).toSorted(), ids.toSorted());
  }
});

// ---- key ----

test('a_key_is_replaced_while_both_are_good_and_none_is_in_the_log', async (t) => {
  const node = await startNode(t);
  const fresh = 'another-key-0123456789';
  const status = async (key) => (await node.request('GET', '/api/cluster', { key })).status;
  const both = async () => [await status(apiKey), await status(fresh)];
  assert.deepEqual(await both(), [200, 401]);
  fs.writeFileSync(node.keyFile, `${apiKey}\n${fresh}\n`);
  assert.match(await node.reload(), /event=api_keys_changed added=1 removed=0\n/);
  assert.deepEqual(await both(), [200, 200]);
  for (const wrong of [`${apiKey} ${fresh}`, `${apiKey}${fresh}`, '', ' ', fresh.slice(1)]) assert.equal(await status(wrong), 401);
  fs.writeFileSync(node.keyFile, `${fresh}\n`);
  assert.match(await node.reload(), /event=api_keys_changed added=0 removed=1\n/);
  assert.deepEqual(await both(), [401, 200]);
  fs.writeFileSync(node.keyFile, `${fresh}\nshort\n`);
  assert.match(await node.reload(), /event=reload_failed why="api_key: one of the keys, which spaces and line ends separate, has 5 bytes; each must have at least 8"/);
  assert.deepEqual(await both(), [401, 200]);
  assert.ok(!node.log.includes(fresh) && !node.log.includes(apiKey));
});

// ---- what is refused, what needs a restart ----

test('settings_with_an_error_change_nothing_and_the_line_is_named', async (t) => {
  const node = await startNode(t);
  node.rules = { ...withRule('room:*', { push: 'nobody' }), 'bad:*': { join: 'someone' } };
  const log = await node.reload();
  assert.match(log, /level=error event=reload_failed why="[^"]*node1\.ini:\d+: join takes nobody\|anyone\|token\|hook, not \\"someone\\"" then="nothing was changed/);
  assert.doesNotMatch(log, /event=(reloaded|rule_)/);
  const channel = await join(await connect(node), 'room:f');
  assert.equal((await settled(channel.push('msg', {}))).status, 'ok');
  fs.rmSync(node.keyFile);
  node.rules = testRules;
  assert.match(await node.reload(), /event=reload_failed why="api_key_file: can't read [^\n]* No such file/);
  fs.writeFileSync(node.keyFile, `${apiKey}\n`);
  assert.match(await node.reload(), /event=reloaded changes=0 need_restart=0 /);
});

test('an_option_that_can_not_change_is_named_with_what_runs_and_what_was_given', async (t) => {
  const node = await startNode(t, { options: { connections_max: 5000000 } });
  Object.assign(node.options, { idle_ms: '30s', workers: 1 });
  fs.writeFileSync(node.secretFile, 'some other secret of the cluster\n');
  const log = await node.reload();
  assert.match(log, /level=warn event=option_kept option=idle_ms runs="1m" given="30s" then="it needs a restart"\n/);
  assert.match(log, /event=option_kept option=workers runs="2" given="1" /);
  assert.match(log, /event=option_kept option=secret then="it needs a restart"\n/);
  assert.match(log, /event=reloaded changes=0 need_restart=3 /);
  assert.ok(!node.log.includes('some other secret'));
});

test('a_node_that_is_not_ready_yet_reloads_as_well', async (t) => {
  const node = await Node.create({ options: { join: `127.0.0.1:${await freePort()}`, found_ms: 60_000 } });
  t.after(() => node.stop());
  node.spawn();
  await until('it has started', () => node.logged('started') === 1);
  node.rules = withRule('room:*', { push: 'nobody' });
  assert.match(await node.reload(), /event=reloaded changes=1 /);
  assert.equal(node.logged('ready'), 0);
});

test('a_node_that_drains_takes_no_notice_of_hup', async (t) => {
  const node = await startNode(t, { options: { drain_ms: 500 } });
  await join(await connect(node), 'room:g');
  node.child.kill('SIGTERM');
  await until('it drains', () => node.logged('draining') === 1);
  node.child.kill('SIGHUP');
  assert.equal((await node.exited).code, 0);
});

// ---- certificates ----

// A TLS connection to the node: what it was given, and the newest ticket.
async function dial(node, options = {}) {
  const socket = tls.connect({ host: '127.0.0.1', port: node.port, rejectUnauthorized: false, ...options });
  socket.on('session', (session) => (socket.ticket = session));
  socket.on('error', () => {});
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  return socket;
}
const print = (socket) => socket.getPeerX509Certificate().fingerprint256;
const printOf = async (node) => {
  const socket = await dial(node);
  const of = print(socket);
  socket.destroy();
  return of;
};

test('new_connections_get_a_new_certificate_old_ones_stay_and_tickets_stay_good', async (t) => {
  const folder = workFolder();
  const { cert, key } = makeCertificate(folder, 'one');
  const node = await startNode(t, { secret: null, options: { tls_cert: cert, tls_key: key } });
  const first = await dial(node);
  const before = print(first);
  first.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until('a ticket', () => first.ticket);

  makeCertificate(folder, 'one');
  const log = await node.reload();
  assert.match(log, /event=certificate_removed file="[^"]*one\.cert\.pem" /);
  assert.match(log, /event=certificate_added file="[^"]*one\.cert\.pem" names="localhost" until=20\d\d-/);
  for (let i = 0; i < 8; i++) assert.notEqual(await printOf(node), before); // at every worker
  let answers = 0;
  first.on('data', (bytes) => (answers += bytes.toString().match(/HTTP\/1\.1 200/g)?.length ?? 0));
  first.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until('the old connection goes on', () => answers === 2);
  for (let i = 0; i < 8; i++) {
    const again = await dial(node, { session: first.ticket });
    assert.equal(again.isSessionReused(), true);
    again.destroy();
  }
  first.destroy();
  assert.match(await node.reload(), /event=reloaded changes=0 /);
  assert.equal((await node.request('GET', '/readyz')).status, 200, 'the API stays plain');
});

test('a_certificate_that_can_not_be_used_leaves_the_old_one_and_the_old_rules', async (t) => {
  const folder = workFolder();
  const { cert, key } = makeCertificate(folder, 'one');
  const other = makeCertificate(folder, 'other');
  const node = await startNode(t, { options: { tls_cert: cert, tls_key: key } });
  const before = await printOf(node);
  const good = fs.readFileSync(cert);
  node.rules = withRule('room:*', { push: 'nobody' });

  fs.writeFileSync(cert, 'no certificate\n');
  assert.match(await node.reload(), /event=reload_failed why="tls_cert [^ ]*one\.cert\.pem can't be used: /);
  fs.writeFileSync(cert, fs.readFileSync(other.cert));
  assert.match(await node.reload(), /event=reload_failed why="tls_key [^ ]*one\.key\.pem can't be used: it is not the key of the certificate in [^ ]*one\.cert\.pem/);
  fs.rmSync(cert);
  assert.match(await node.reload(), /event=reload_failed why="tls_cert [^ ]*one\.cert\.pem can't be used: No such file/);
  assert.equal(await printOf(node), before);
  assert.equal(node.logged('rule_changed'), 0);

  fs.writeFileSync(cert, good);
  assert.match(await node.reload(), /event=reloaded changes=1 /);
  node.options.tls_cert = node.options.tls_key = null;
  assert.match(await node.reload(), /event=option_kept option=tls_cert .* then="it needs a restart"\n/);
  assert.equal(await printOf(node), before);
});

test('a_certificate_that_is_over_is_told_at_the_start_and_at_a_reload', async (t) => {
  const folder = workFolder();
  const ca = makeAuthority(folder);
  const { cert, key } = makeSigned(folder, 'old', ca, { days: -1 });
  const node = await startNode(t, { options: { tls_cert: cert, tls_key: key } });
  assert.match(node.log, /level=warn event=certificate_invalid file="[^"]*old\.cert\.pem" .*why="it is not valid any more"/);
  makeSigned(folder, 'old', ca);
  assert.doesNotMatch(await node.reload(), /certificate_invalid/);
});

test('clients_over_tls_notice_nothing_of_reloads_under_traffic', async (t) => {
  const folder = workFolder();
  const files = makeCertificate(folder, 'one');
  const node = await startNode(t, { options: { tls_cert: files.cert, tls_key: files.key } });
  class Trusting extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { rejectUnauthorized: false });
    }
  }
  const url = node.ws.replace('ws:', 'wss:');
  const sockets = await Promise.all(Array.from({ length: 10 }, () => connect(url, { transport: Trusting })));
  let closes = 0;
  for (const socket of sockets) socket.onClose(() => closes++);
  const channels = await Promise.all(sockets.map((socket) => follow(socket, 'room:h')));
  const ids = [];
  for (let i = 0; i < 100; i++) {
    ids.push(await node.publish({ topic: 'room:h', event: 'msg', payload: i }));
    if (i % 20 === 10) makeCertificate(folder, 'one');
    if (i % 10 === 0) node.child.kill('SIGHUP');
    if (i % 10 === 5) sockets.push(await connect(url, { transport: Trusting }));
  }
  for (const channel of channels) {
    await until('all are there', () => channel.got.length === ids.length);
    assert.deepEqual(idsOf(channel), ids);
  }
  assert.equal(closes, 0);
  await until('every reload has ended', () => node.logged('reloaded') + node.logged('reload_failed') >= 1);
});

test('openssl_sees_the_new_certificate', async (t) => {
  const folder = workFolder();
  const { cert, key } = makeCertificate(folder, 'one', ['one.example']);
  const node = await startNode(t, { options: { tls_cert: cert, tls_key: key } });
  const subject = async () => {
    const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${node.port}`], { stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    child.stdout.on('data', (bytes) => (text += bytes));
    await new Promise((resolve) => child.once('close', resolve));
    return text.match(/^subject=.*$/m)?.[0];
  };
  assert.match(await subject(), /CN = one\.example/);
  const two = makeCertificate(folder, 'two', ['two.example']);
  Object.assign(node.options, { tls_cert: two.cert, tls_key: two.key });
  await node.reload();
  assert.match(await subject(), /CN = two\.example/);
});
