// permessage-deflate with real clients and with bytes of every shape: what is offered, answered, compressed, and refused.
import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import zlib from 'node:zlib';
import { sharedCluster } from '../lib/cluster.mjs';
import { closeCode, frame, Raw, rawSocket, upgradeRequest } from '../lib/raw.mjs';
import { until, within } from '../lib/wait.mjs';
import { wsChannel } from '../lib/ws_channel.mjs';

const messageMax = 16384;
const cluster = await sharedCluster(1, { options: { deflate: true, deflate_min: 100, message_max: messageMax } });
const [node] = cluster.nodes;
const pid = node.pid;
afterEach(() => assert.equal(node.running && node.pid, pid));
const sockets = [];
after(() => sockets.forEach((socket) => socket.terminate()));

// ---- vocabulary ----

const url = () => `${node.ws}/websocket?vsn=2.0.0`;
const text = (n) => 'so many words, so many words; '.repeat(Math.ceil(n / 30)).slice(0, n);

const client = (topic, options) => wsChannel(sockets, url(), topic, options);
const bytesOf = (socket) => socket._socket.bytesRead;

// What the server answers to this Sec-WebSocket-Extensions; null: nothing.
async function answerTo(offer) {
  const raw = await Raw.open(node.port);
  raw.send(upgradeRequest(undefined, { 'Sec-WebSocket-Extensions': offer }));
  const [head] = await raw.expect(/^HTTP\/1\.1 101 [^]*\r\n\r\n/);
  raw.close();
  return /^Sec-WebSocket-Extensions: (.*)\r$/m.exec(head)?.[1] ?? null;
}

// An open socket that agreed to deflate, without a library.
async function rawDeflate() {
  const raw = await Raw.open(node.port);
  raw.send(upgradeRequest(undefined, { 'Sec-WebSocket-Extensions': 'permessage-deflate' }));
  await raw.expect(/^HTTP\/1\.1 101 [^]*\r\n\r\n/);
  raw.received = raw.received.subarray(raw.received.indexOf('\r\n\r\n') + 4);
  return raw;
}

const packed = (data) => zlib.deflateRawSync(data, { finishFlush: zlib.constants.Z_SYNC_FLUSH }).subarray(0, -4);
const rsv1 = 4;
const heartbeat = JSON.stringify([null, '7', 'phoenix', 'heartbeat', {}]);
const answered = /"7","phoenix","phx_reply",\{"status":"ok"/;

const plain = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

// ---- tests ----

test('offers_of_every_shape_are_answered_as_the_rfc_asks', async () => {
  const cases = {
    'permessage-deflate': plain,
    'permessage-deflate; client_max_window_bits': plain, // browsers
    'permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=10': plain,
    'permessage-deflate; server_max_window_bits=10': `${plain}; server_max_window_bits=10`,
    'permessage-deflate; server_max_window_bits="9"': `${plain}; server_max_window_bits=9`,
    'permessage-deflate; unheard_of, permessage-deflate': plain,
    'x-webkit-deflate-frame': null,
    'permessage-deflate; server_max_window_bits=7': null,
    'permessage-deflate; server_max_window_bits': null,
    'permessage-deflate; unheard_of': null,
    'permessage-deflate;': null,
    'permessage-bzip2, ;;;': null,
    '"': null,
    [`${'x'.repeat(300)}, permessage-deflate`]: plain,
    [Array(500).fill('permessage-deflate; a').join(',')]: null,
  };
  for (const [offer, answer] of Object.entries(cases)) assert.equal(await answerTo(offer), answer, offer.slice(0, 100));
});

test('clients_with_and_without_deflate_get_the_same_messages_and_those_with_it_fewer_bytes', async () => {
  const topic = 'room:mixed';
  const all = await Promise.all([
    client(topic),
    client(topic, { perMessageDeflate: { serverNoContextTakeover: true, clientNoContextTakeover: true } }),
    client(topic, { perMessageDeflate: { serverMaxWindowBits: 9, clientMaxWindowBits: 9 } }),
    client(topic, { perMessageDeflate: { threshold: 0 } }),
    client(topic, { perMessageDeflate: false }),
  ]);
  assert.deepEqual(all.map(({ extensions }) => extensions.length > 0), [true, true, true, true, false]);
  const before = all.map((socket) => bytesOf(socket));
  const sizes = [1, 50, 90, 101, 300, 500, 4000, 15000];
  for (const [i, n] of sizes.entries()) {
    // One by one: of messages that leave together all are compressed for a client if the longest fits its window.
    all[i % all.length].say('shout', { i, text: text(n) });
    for (const socket of all) await until('it is there', () => socket.got.length === i + 1);
  }
  for (const { got } of all) assert.deepEqual(got, sizes.map((n, i) => ({ i, text: text(n) })));
  const bytes = all.map((socket, i) => bytesOf(socket) - before[i]);
  assert.ok(bytes[0] < bytes[4] / 4, `${bytes}`);
  assert.ok(bytes[1] < bytes[4] / 4, `${bytes}`);
  assert.ok(bytes[2] < bytes[4], `a window of 512 bytes takes what is not longer: ${bytes}`);
  assert.ok(bytes[2] > bytes[0], `${bytes}`);
});

test('a_message_is_compressed_once_for_all_subscribers_of_a_worker', async () => {
  const topic = 'room:once';
  const all = await Promise.all(Array.from({ length: 12 }, () => client(topic)));
  const before = (await node.metric('fanmesh_deflated_total')) ?? 0;
  all[0].say('shout', { text: text(2000) });
  all[0].say('shout', { text: 'short' });
  for (const socket of all) await until('both are there', () => socket.got.length === 2);
  const times = (await node.metric('fanmesh_deflated_total')) - before;
  assert.ok(times >= 1 && times <= 2, `${times} times, with 2 workers`);
});

test('many_messages_both_ways_on_one_connection_stay_whole_and_in_order', async () => {
  const topic = 'room:many';
  const [a, b] = [await client(topic, { perMessageDeflate: { threshold: 0 } }), await client(topic)];
  const n = 300;
  for (let i = 0; i < n; i++) a.say('shout', { i, text: text((i * 37) % 5000) });
  for (const socket of [a, b]) {
    await until('all of them are there', () => socket.got.length === n);
    assert.deepEqual(socket.got.map(({ i }) => i), Array.from({ length: n }, (_, i) => i));
    assert.ok(socket.got.every(({ text: t }, i) => t === text((i * 37) % 5000)));
  }
});

test('pings_and_closes_work_beside_compressed_messages', async () => {
  const socket = await client('room:control');
  const pong = new Promise((resolve) => socket.once('pong', resolve));
  socket.ping('still there?');
  assert.equal(String(await within(5000, 'the pong', pong)), 'still there?');
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.close(1000);
  assert.equal(await within(5000, 'the close', closed), 1000);
});

test('a_compressed_message_in_fragments_with_a_ping_between_is_read', async () => {
  const raw = await rawDeflate();
  const bytes = packed(heartbeat);
  raw.send(frame(1, bytes.subarray(0, 5), { fin: false, rsv: rsv1 }));
  raw.send(frame(9, 'p'));
  raw.send(frame(0, bytes.subarray(5, 9), { fin: false }));
  raw.send(frame(0, bytes.subarray(9)));
  await raw.expect(answered);
  raw.send(frame(1, heartbeat)); // and one that is not compressed
  await until('the second answer', () => raw.text.match(new RegExp(answered, 'g')).length === 2);
  raw.close();
});

test('a_compressed_message_whose_first_fragment_is_empty_is_read', async () => {
  const raw = await rawDeflate();
  raw.send(Buffer.concat([frame(1, '', { fin: false, rsv: rsv1 }), frame(0, packed(heartbeat))]));
  await raw.expect(answered);
  raw.close();
});

test('a_bomb_is_refused_with_1009_and_leaves_no_memory_behind', async () => {
  const bomb = packed(Buffer.alloc(8 << 20, 'a'));
  assert.ok(bomb.length < messageMax);
  for (let i = 0; i < 20; i++) {
    const raw = await rawDeflate();
    raw.send(frame(1, bomb, { rsv: rsv1 }));
    await raw.expect(/message_max/);
    assert.equal(closeCode(raw), 1009);
    raw.close();
  }
  const exact = await rawDeflate(); // of text that is no JSON, but not too large
  exact.send(frame(1, packed('a'.repeat(messageMax)), { rsv: rsv1 }));
  await exact.end();
  assert.notEqual(closeCode(exact), 1009);
});

test('what_is_not_deflate_or_not_text_is_refused', async () => {
  const cases = [
    [frame(1, Buffer.from([0xff, 0xff, 0xff, 0xff]), { rsv: rsv1 }), 1002],
    [frame(1, packed(heartbeat).subarray(0, 10), { rsv: rsv1 }), 1002],
    [frame(1, '', { rsv: rsv1 }), 1002],
    [frame(1, packed(Buffer.from([0x22, 0xc3, 0x28, 0x22])), { rsv: rsv1 }), 1007],
    [frame(1, Buffer.from([0x22, 0xc3, 0x28, 0x22])), 1007],
    [frame(1, packed(heartbeat), { rsv: 6 }), 1002], // RSV2 belongs to nobody
  ];
  for (const [bytes, code] of cases) {
    const raw = await rawDeflate();
    raw.send(bytes);
    await until(`it is closed with ${code}`, () => closeCode(raw) !== null);
    assert.equal(closeCode(raw), code);
    raw.close();
  }
});

test('a_client_that_did_not_agree_must_not_compress', async () => {
  const raw = await rawSocket(node);
  raw.send(frame(1, packed(heartbeat), { rsv: rsv1 }));
  await until('it is closed', () => closeCode(raw) !== null);
  assert.equal(closeCode(raw), 1002);
  raw.close();
});
