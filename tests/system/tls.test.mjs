// TLS in the node: clients over wss, sessions that are resumed at any worker and any node of the cluster, and those who speak nonsense.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import { after, afterEach, test } from 'node:test';
import tls from 'node:tls';
import { makeAuthority, makeCertificate, makeSigned } from '../lib/certificate.mjs';
import { sharedCluster, startNode } from '../lib/cluster.mjs';
import { binary, workFolder } from '../lib/node.mjs';
import { freePort } from '../lib/ports.mjs';
import { closeCode, frame, upgradeRequest } from '../lib/raw.mjs';
import { until, within } from '../lib/wait.mjs';
import { wsChannel } from '../lib/ws_channel.mjs';

const folder = workFolder();
const { cert, key } = makeCertificate(folder);
const ca = fs.readFileSync(cert);
const messageMax = 262144;
const cluster = await sharedCluster(2, {
  options: { tls_cert: cert, tls_key: key, deflate: true, workers: 2, message_max: messageMax, handshake_ms: '1m', outbox_bytes: '8MiB' },
});
const [a, b] = cluster.nodes;
const pids = [a.pid, b.pid];
const open = [];
afterEach(() => assert.deepEqual([a.running && a.pid, b.running && b.pid], pids));
after(() => open.forEach((socket) => socket.destroy?.() ?? socket.terminate()));

// ---- vocabulary ----

const client = (node, topic, options) =>
  wsChannel(open, `wss://localhost:${node.port}/socket/websocket?vsn=2.0.0`, topic, { ca, ...options });

// A TLS connection and what came on it; `ticket` is the last session that the server gave.
async function connect(node, options = {}) {
  const socket = tls.connect({ host: '127.0.0.1', port: node.port, servername: 'localhost', ca, ...options });
  open.push(socket);
  socket.received = Buffer.alloc(0);
  socket.on('data', (bytes) => (socket.received = Buffer.concat([socket.received, bytes])));
  socket.on('session', (session) => (socket.ticket = session));
  socket.on('error', () => {});
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  return socket;
}

async function upgraded(node, options) {
  const socket = await connect(node, options);
  socket.write(upgradeRequest());
  await until('the answer', () => socket.received.includes('\r\n\r\n'));
  assert.match(socket.received.toString('latin1'), /^HTTP\/1\.1 101 /);
  socket.received = socket.received.subarray(socket.received.indexOf('\r\n\r\n') + 4);
  return socket;
}

const heartbeat = JSON.stringify([null, '7', 'phoenix', 'heartbeat', {}]);
const answers = (socket) => socket.received.toString('latin1').match(/"7","phoenix","phx_reply"/g)?.length ?? 0;

// ---- tests ----

test('clients_over_tls_get_messages_of_every_size_from_every_node', async () => {
  const topic = 'room:tls';
  const all = [await client(a, topic), await client(b, topic, { perMessageDeflate: false }), await client(a, topic, { maxVersion: 'TLSv1.2' })];
  const sizes = [0, 1, 125, 126, 1000, 16384, 70000, 250000];
  for (const [i, n] of sizes.entries()) all[i % 3].say('shout', { i, text: 'x'.repeat(n) });
  for (const socket of all) {
    await until('all of them are there', () => socket.got.length === sizes.length);
    const sorted = socket.got.toSorted((x, y) => x.i - y.i);
    assert.ok(sorted.every(({ i, text }) => text.length === sizes[i]));
  }
});

test('pings_and_closes_of_both_sides_work_over_tls', async () => {
  const before = await a.metric('fanmesh_subscriptions');
  const socket = await client(a, 'room:close');
  const pong = new Promise((resolve) => socket.once('pong', resolve));
  socket.ping('still there?');
  assert.equal(String(await within(5000, 'the pong', pong)), 'still there?');
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.close(3001);
  assert.equal(await within(5000, 'the close', closed), 3001);
  const bad = await client(a, 'room:close');
  const code = new Promise((resolve) => bad.once('close', resolve));
  bad.send('no json');
  assert.equal(await within(5000, 'the close', code), 1007);
  await until('nobody is left', async () => (await a.metric('fanmesh_subscriptions')) === before);
});

test('http_is_served_over_tls_with_keep_alive', async () => {
  const agent = new https.Agent({ ca, keepAlive: true });
  for (let i = 0; i < 3; i++) {
    const status = await new Promise((resolve, reject) => {
      https.get(`https://localhost:${a.port}/healthz`, { agent }, (answer) => answer.resume().once('end', () => resolve(answer.statusCode))).once('error', reject);
    });
    assert.equal(status, 200);
  }
  agent.destroy();
});

for (const version of ['TLSv1.3', 'TLSv1.2']) {
  test(`a_session_of_${version}_is_resumed_at_every_worker_and_at_another_node`, async () => {
    const only = { minVersion: version, maxVersion: version };
    const first = await upgraded(a, only);
    assert.equal(first.isSessionReused(), false);
    await until('a ticket came', () => first.ticket);
    const before = [await a.metric('fanmesh_tls_resumed_total'), await b.metric('fanmesh_tls_resumed_total')];
    const tries = 16; // the kernel spreads them over both workers
    for (const node of [a, b]) {
      for (let i = 0; i < tries; i++) {
        const again = await upgraded(node, { ...only, session: first.ticket });
        assert.equal(again.isSessionReused(), true);
        again.write(frame(1, heartbeat));
        await until('the answer', () => answers(again) === 1);
        again.destroy();
      }
    }
    assert.ok((await a.metric('fanmesh_tls_resumed_total')) - before[0] >= tries);
    assert.ok((await b.metric('fanmesh_tls_resumed_total')) - before[1] >= tries);
  });
}

test('openssl_resumes_a_session_from_its_file', async () => {
  const file = path.join(folder, 'session');
  const talk = async (...args) => {
    const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${a.port}`, '-servername', 'localhost', '-CAfile', cert, ...args]);
    let text = '';
    child.stdout.on('data', (bytes) => (text += bytes));
    child.stdin.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    await new Promise((resolve) => child.once('close', resolve));
    return text;
  };
  assert.match(await talk('-sess_out', file), /HTTP\/1\.1 200/);
  const second = await talk('-sess_in', file);
  assert.match(second, /^Reused, /m);
  assert.match(second, /HTTP\/1\.1 200/);
});

test('frames_cut_at_any_byte_are_read_over_tls', async () => {
  const socket = await upgraded(a);
  const bytes = Buffer.concat([frame(1, heartbeat.slice(0, 9), { fin: false }), frame(9, 'p'), frame(0, heartbeat.slice(9))]);
  for (const byte of bytes) {
    socket.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until('the answer', () => answers(socket) === 1);
  await until('and the pong', () => socket.received.includes(Buffer.from([0x8a, 1, 0x70]))); // behind it, where all was read at once
  socket.destroy();
});

test('frames_that_break_the_rfc_are_refused_over_tls', async () => {
  const unmasked = Buffer.concat([Buffer.from([0x81, heartbeat.length]), Buffer.from(heartbeat)]);
  const cases = [
    [unmasked, 1002],
    [frame(1, heartbeat, { rsv: 2 }), 1002],
    [frame(3, ''), 1002],
    [frame(0, 'x'), 1002],
    [frame(9, 'x', { fin: false }), 1002],
    [Buffer.concat([frame(1, 'x', { fin: false }), frame(1, 'y')]), 1002],
    [frame(8, Buffer.from([3])), 1002],
    [frame(8, Buffer.from([3, 237])), 1002],
    [frame(8, Buffer.from([3, 232, 0xff])), 1007],
    [frame(1, Buffer.from([0x22, 0xc3, 0x28, 0x22])), 1007],
    [frame(2, 'x', { length: messageMax + 1 }), 1009],
  ];
  for (const [bytes, code] of cases) {
    const socket = await upgraded(a);
    socket.write(bytes);
    await until(`it is closed with ${code}`, () => closeCode(socket) !== null);
    assert.equal(closeCode(socket), code);
    socket.destroy();
  }
});

test('of_pings_that_come_together_over_tls_the_last_is_answered', async () => {
  const socket = await upgraded(a);
  const n = 1000;
  socket.write(Buffer.concat(Array.from({ length: n }, (_, i) => frame(9, String(i).padStart(3, '0')))));
  const last = Buffer.concat([Buffer.from([0x8a, 3]), Buffer.from(String(n - 1))]);
  await until('the last is answered', () => socket.received.subarray(-last.length).equals(last));
  assert.ok(socket.received.length < (n / 10) * last.length, `${socket.received.length} bytes`);
  socket.destroy();
});

test('what_no_client_needs_is_not_offered', async () => {
  const refused = (options) => assert.rejects(connect(a, options), `${JSON.stringify(options)}`);
  await refused({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' });
  await refused({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' });
  await refused({ ALPNProtocols: ['h2'] });
  const socket = await connect(a, { ALPNProtocols: ['h2', 'http/1.1'] });
  assert.equal(socket.alpnProtocol, 'http/1.1');
  assert.match((await connect(a, { maxVersion: 'TLSv1.2' })).getCipher().name, /^ECDHE-ECDSA-AES.*-GCM-/);
});

test('a_slow_reader_over_tls_gets_everything_in_order', async () => {
  const topic = 'room:slow';
  const slow = await client(a, topic, { perMessageDeflate: false });
  const fast = await client(a, topic);
  slow.pause();
  const n = 40;
  for (let i = 0; i < n; i++) fast.say('shout', { i, text: 'x'.repeat(100000) });
  await until('the other has them', () => fast.got.length === n);
  slow.resume();
  await until('and the slow one, too', () => slow.got.length === n);
  assert.deepEqual(slow.got.map(({ i }) => i), Array.from({ length: n }, (_, i) => i));
});

test('what_a_slow_reader_over_tls_is_owed_leaves_when_it_reads_again_with_nothing_new_behind_it', async () => {
  const topic = 'room:silent';
  const slow = await client(a, topic, { perMessageDeflate: false });
  const fast = await client(a, topic);
  slow.pause();
  let n = 0;
  while ((await a.metric('fanmesh_outbox_bytes')) < 1_000_000) {
    fast.say('shout', { i: n++, text: 'x'.repeat(100000) });
    await until('the other has it', () => fast.got.length === n);
  }
  slow.resume();
  await until('and the slow one all, too', () => slow.got.length === n);
  assert.deepEqual(slow.got.map(({ i }) => i), Array.from({ length: n }, (_, i) => i));
  await until('nothing is owed', async () => (await a.metric('fanmesh_outbox_bytes')) === 0);
});

test('who_speaks_no_tls_is_told_so_or_cut_off_in_time', async (t) => {
  const failed = (await a.metric('fanmesh_tls_failed_total')) ?? 0;
  const talk = (text, node = a) =>
    new Promise((resolve) => {
      const socket = net.connect(node.port, '127.0.0.1', () => socket.write(text));
      let got = '';
      socket.on('data', (bytes) => (got += bytes));
      socket.on('error', () => {});
      socket.once('close', () => resolve(got));
    });
  assert.match(await within(5000, 'the answer', talk('GET / HTTP/1.1\r\nHost: a\r\n\r\n')), /^HTTP\/1\.1 400 [^]*TLS/);
  await within(5000, 'the end', talk(Buffer.from([0x16, 3, 1, 0xff, 0xff, 0, 0])));
  await within(5000, 'the end', talk(Buffer.alloc(300, 7)));
  await until('they are counted', async () => (await a.metric('fanmesh_tls_failed_total')) >= failed + 3);
  assert.equal((await a.request('GET', '/readyz')).status, 200, 'the probe is content');

  const brisk = await startNode(t, { options: { tls_cert: cert, tls_key: key, handshake_ms: 300 } });
  await within(5000, 'the end', talk('', brisk)); // who says nothing
  assert.equal((await brisk.request('GET', '/readyz')).status, 200, 'the probe is content');
});

test('a_node_that_is_full_refuses_over_tls_by_an_alert_and_not_by_bytes_that_are_no_tls', async (t) => {
  const node = await startNode(t, { options: { tls_cert: cert, tls_key: key, workers: 1, connections_max: 1 } });
  const first = await upgraded(node);
  for (let i = 1; i <= 10; i++) {
    await assert.rejects(connect(node), { code: 'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR' });
    // The node's own knocks at its door are turned away, too.
    await until('it is counted', async () => (await node.metric('fanmesh_refused_total')) >= i);
  }
  first.destroy();
  await until('there is room again', () => upgraded(node).then(() => true, () => false));
});

test('a_certificate_that_can_not_be_used_stops_the_start_and_check_config_says_so_before', async () => {
  const port = await freePort();
  const run = (command, ...args) =>
    spawnSync(binary, [command, '--dev', '--mesh-listen', 'none', '--listen', `127.0.0.1:${port}`, '--api-listen', 'none', ...args], {
      encoding: 'utf8', timeout: 20_000,
    });
  const other = makeCertificate(folder, 'other');
  const locked = path.join(folder, 'locked.pem');
  spawnSync('openssl', ['ec', '-in', key, '-aes256', '-passout', 'pass:locked', '-out', locked]);
  const cases = [
    [['--tls-cert', cert, '--tls-key', locked], /tls_key .* can't be used: it is encrypted/],
    [['--tls-cert', cert], /tls_key/],
    [['--tls-key', key], /tls_cert/],
    [['--tls-cert', '/nowhere', '--tls-key', key], /tls_cert \/nowhere can't be used: No such file/],
    [['--tls-cert', cert, '--tls-key', other.key], /tls_key .* can't be used: .*mismatch/],
    [['--tls-cert', key, '--tls-key', key], /tls_cert .* can't be used/],
  ];
  for (const [args, pattern] of cases) {
    const { status, stderr } = run('serve', ...args);
    assert.notEqual(status, 0, `${args}`);
    assert.match(stderr, pattern);
    const checked = run('check-config', ...args);
    assert.deepEqual([checked.status, checked.stdout], [2, ''], `${args}`);
    assert.match(checked.stderr, pattern);
  }
  const good = run('check-config', '--tls-cert', cert, '--tls-key', key);
  assert.deepEqual([good.status, good.stderr], [0, '']);
  const { cert: old } = makeSigned(folder, 'old', makeAuthority(folder), { days: -1 });
  const late = run('check-config', '--tls-cert', old, '--tls-key', path.join(folder, 'old.key.pem'));
  assert.equal(late.status, 0);
  assert.match(late.stderr, /^fanmesh check-config: warning: the certificate in \S+ is not valid any more \(until /);
});
