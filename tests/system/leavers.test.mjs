// Very many clients that leave in the same instant do not keep a node from those who stay: what these pushed meanwhile is read, and goes out,
// before the leavers are closed. And what a client said last is read, however quickly it left.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, test } from 'node:test';
import { makeCertificate } from '../lib/certificate.mjs';
import { startNode } from '../lib/cluster.mjs';
import { freeze } from '../lib/freeze.mjs';
import { workFolder } from '../lib/node.mjs';
import { frame, Raw, rawSocket, upgradeRequest } from '../lib/raw.mjs';
import { until } from '../lib/wait.mjs';
import { wsChannel } from '../lib/ws_channel.mjs';

const { cert, key } = makeCertificate(workFolder());
const ca = fs.readFileSync(cert);
const open = [];
after(() => open.forEach((socket) => socket.terminate()));

const gone = 200, asked = 120;
const message = (event, payload) => frame(1, JSON.stringify(['1', '1', 'room:last', event, payload]));

// Many leave behind a client's joins, all of which the worker finds at once. These are more than the rate allows for any time that the freeze
// may take, which is logged when they are read (all in one piece: over TLS a turn reads four); who is gone is logged, too.
async function stormed(t, scheme, options) {
  const node = await startNode(t, { options: { workers: 1, log_level: 'debug', probe_ms: 0, joins_per_s: 1, ...options } });
  const come = (topic) => wsChannel(open, `${scheme}://localhost:${node.port}/socket/websocket?vsn=2.0.0`, topic, { ca });
  const leavers = [];
  for (let i = 0; i < gone; i++) leavers.push(await come('room:leavers'));
  const stayer = await come('room:stayer');
  const release = await freeze(node, 'worker-0');
  if (!release) return t.skip('the system does not allow ptrace');
  const joins = Array.from({ length: asked }, (_, i) => frame(1, JSON.stringify([`${i}`, `${i}`, `room:${i}`, 'phx_join', {}])));
  await new Promise((resolve) => stayer._socket.write(Buffer.concat(joins), resolve));
  for (const leaver of leavers) await new Promise((resolve) => (leaver.once('close', resolve), leaver.terminate()));
  await release();
  await until('all have left', () => node.logged('socket_closed') >= gone);
  const lines = node.log.split('\n');
  const first = (event) => lines.findIndex((line) => line.includes(` event=${event} `));
  assert.ok(first('limit_reached') > 0 && first('limit_reached') < first('socket_closed'), `${first('limit_reached')}, ${first('socket_closed')}`);
  await until('none of them has a channel', async () => (await node.metric('fanmesh_subscriptions')) <= asked);
}

test('what_a_client_pushed_before_hundreds_left_is_read_before_they_are_closed', (t) => stormed(t, 'ws', {}));

test('what_a_client_pushed_before_hundreds_left_is_read_before_they_are_closed_over_tls', (t) =>
  stormed(t, 'wss', { tls_cert: cert, tls_key: key }));

for (const limit of ['connections_max', 'connections_per_address']) {
  test(`who_comes_back_in_the_instant_in_which_a_full_node_is_left_finds_room_within_${limit}`, async (t) => {
    const node = await startNode(t, { options: { workers: 1, [limit]: gone } });
    const before = await Promise.all(Array.from({ length: gone }, () => rawSocket(node)));
    const refused = await node.metric('fanmesh_refused_total');
    const release = await freeze(node, 'worker-0');
    if (!release) return t.skip('the system does not allow ptrace');
    await Promise.all(before.map((raw) => (raw.close(), raw.closed)));
    const after = await Promise.all(before.map(() => Raw.open(node.port)));
    after.forEach((raw) => raw.send(upgradeRequest()));
    await release();
    for (const raw of after) await raw.expect(/^HTTP\/1\.1 101 /);
    assert.equal(await node.metric('fanmesh_refused_total'), refused);
    after.forEach((raw) => raw.close());
  });
}

test('what_a_client_says_right_before_it_leaves_is_read', async (t) => {
  const node = await startNode(t, { options: { workers: 1 } });
  const listener = await wsChannel(open, `ws://localhost:${node.port}/socket/websocket?vsn=2.0.0`, 'room:last', {});
  const said = [];
  const leave = (raw) => new Promise((resolve) => raw.socket.end(resolve));
  for (let n = 0; n < 20; n++) {
    const joined = await rawSocket(node);
    joined.send(message('phx_join', {}));
    await joined.expect(/phx_reply/);
    const thaw = n % 2 ? await freeze(node, 'worker-0') : undefined; // all that it said is there at once, and the end of it
    joined.send(message('msg', { n, long: 'x'.repeat(n * 100) }));
    await leave(joined);
    await thaw?.();
    said.push(n);
  }
  for (let n = 20; n < 40; n++) {
    const raw = await Raw.open(node.port); // nor does it wait for the answer to its request
    raw.send(Buffer.concat([Buffer.from(upgradeRequest()), message('phx_join', {}), message('msg', { n, long: 'x'.repeat(n * 100) })]));
    await leave(raw);
    said.push(n);
  }
  await until('all are there', () => listener.got.length >= said.length).catch(() => {});
  assert.deepEqual(listener.got.map(({ n }) => n).sort((x, y) => x - y), said);
});

// libwebsockets waits for such a client to take what is left, and finds the end of what it sends in each turn of its loop meanwhile.
test('a_client_that_sends_no_more_and_takes_nothing_is_let_go_at_once', async (t) => {
  const node = await startNode(t, { options: { workers: 1, probe_ms: 0, outbox_bytes: '256MiB', log_level: 'debug' } });
  const joined = await rawSocket(node);
  t.after(() => joined.close());
  joined.send(message('phx_join', {}));
  await joined.expect(/phx_reply/);
  joined.socket.pause();
  const lines = `${JSON.stringify({ topic: 'room:last', event: 'msg', payload: 'x'.repeat(60_000) })}\n`.repeat(40);
  await until('more is sent than the system holds', async () => {
    await node.request('POST', '/api/publish/batch', { body: lines, headers: { 'content-type': 'application/x-ndjson' } });
    return (await node.metric('fanmesh_outbox_bytes')) > 0;
  });
  joined.socket.end();
  await until('it is gone', () => node.logged('socket_closed') > 0, 10_000);
});
