// Clients that break the rules: each gets its error, and the node goes on serving the others.
import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { sharedCluster, startNode } from '../lib/cluster.mjs';
import { connect, disconnect, disconnectAll, join, push } from '../lib/phoenix.mjs';
import { closeCode, frame, Raw, rawSocket, upgradeRequest } from '../lib/raw.mjs';
import { until } from '../lib/wait.mjs';

const cluster = await sharedCluster(1, { options: { message_max: 4096 } });
const [node] = cluster.nodes;
const pid = node.pid;
const witness = await join(await connect(node), 'room:witness');
// After each of them a client that was there all the time is still served, by the same process.
afterEach(async () => {
  assert.equal(node.running && node.pid, pid);
  const before = witness.got.length;
  assert.equal((await push(witness, 'msg', { n: before })).status, 'ok');
  await until('the witness hears itself', () => witness.got.length === before + 1);
});
after(disconnectAll);

const endOf = async (path, headers) => (await Raw.open(node.port)).send(upgradeRequest(path, headers)).expect(/^HTTP\/1\.1 (\d+)[^]*\r\n\r\n/);

test('a_request_that_asks_for_no_WebSocket_where_one_is_opened_is_told_what_it_lacks', async () => {
  for (const path of ['/socket/websocket?vsn=2.0.0', '/realtime/v1/websocket']) {
    const answer = await fetch(`http://127.0.0.1:${node.port}${path}`);
    assert.deepEqual([answer.status, answer.headers.get('upgrade')], [426, 'websocket']);
    const { code, message } = (await answer.json()).error;
    assert.equal(code, 'bad_upgrade');
    assert.match(message, /it has no `Upgrade: websocket`; a proxy on the way/);
  }
  for (const path of ['/socket/websockets', '/socket', '/websocket']) assert.equal((await fetch(`http://127.0.0.1:${node.port}${path}`)).status, 404);
});

// Handshakes that never come whole, at a node of their own: a client of a busy machine may need longer than that for a good one.
test('handshakes_that_do_not_come_are_closed_in_time_and_keep_nobody_out', async (t) => {
  const handshakeMs = 500;
  const hasty = await startNode(t, { options: { handshake_ms: handshakeMs } });

  await t.test('one_of_which_nothing_comes', async () => {
    const timeouts = (await hasty.metric('fanmesh_handshake_timeouts_total')) ?? 0;
    const start = Date.now();
    const silent = await Raw.open(hasty.port);
    await silent.end();
    assert.ok(Date.now() - start >= handshakeMs - 100, 'not before its time');
    await until('it is counted', async () => (await hasty.metric('fanmesh_handshake_timeouts_total')) > timeouts);
  });

  await t.test('one_that_comes_byte_by_byte_gets_no_more_time', async () => {
    const slow = await Raw.open(hasty.port);
    const request = upgradeRequest(undefined, { 'X-Long': 'x'.repeat(2000) });
    let at = 0;
    const drip = setInterval(() => slow.send(request[at++]), 20);
    await slow.end();
    clearInterval(drip);
    assert.ok(at < request.length, 'it ended before the request was whole');
    assert.ok(!/ 101 /.test(slow.text));
  });

  await t.test('two_hundred_of_which_half_comes', async () => {
    const many = await Promise.all(Array.from({ length: 200 }, () => Raw.open(hasty.port)));
    for (const one of many) one.send('GET /socket/websocket HTTP/1.1\r\nHost: x\r\n');
    const socket = await connect(hasty); // which tries again until it is in
    await join(socket, 'room:in-between');
    await Promise.all(many.map((one) => one.end()));
    await disconnect(socket);
  });
});

test('an_unknown_upgrade_over_keep_alive_is_refused_and_harms_nothing', async () => {
  for (const value of ['foo', 'h2c', 'websocket2', 'TLS/1.0', 'x'.repeat(2000), 'foo, bar']) {
    for (let i = 0; i < 10; i++) {
      const raw = await Raw.open(node.port);
      raw.send('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
      await raw.expect(/^HTTP\/1\.1 200 [^]*\r\n\r\n[^]*\}/);
      raw.received = Buffer.alloc(0);
      raw.send(upgradeRequest('/socket/websocket?vsn=2.0.0', { Upgrade: value }));
      const [, status] = await raw.expect(/^HTTP\/1\.1 (\d+)/);
      assert.match(status, /^4\d\d$/, value);
      raw.close();
    }
  }
});

test('connects_with_what_this_node_does_not_speak_are_refused_with_a_reason', async () => {
  const refused = async (status, path, headers) => {
    const match = await endOf(path, headers);
    assert.equal(match[1], String(status), `${path} ${JSON.stringify(headers ?? {})}: ${match[0]}`);
  };
  await refused(403, '/socket/websocket?vsn=3.0.0');
  await refused(403, '/socket/websocket?vsn=x');
  await refused(404, '/elsewhere/websocket?vsn=2.0.0');
  await refused(403, '/socket/websocket?vsn=2.0.0', { Origin: 'http://evil.example' });
  await refused(426, '/socket/websocket?vsn=2.0.0', { 'Sec-WebSocket-Version': '12' });
  await refused(400, '/socket/websocket?vsn=2.0.0', { 'Sec-WebSocket-Key': 'short' });
  const body = await (await fetch(`http://127.0.0.1:${node.port}/socket/websocket?vsn=3.0.0`)).json();
  assert.equal(typeof body.error.code, 'string');
  assert.equal(typeof body.error.message, 'string');
  const post = await fetch(`http://127.0.0.1:${node.port}/socket/websocket?vsn=2.0.0`, { method: 'POST', body: 'x' });
  assert.ok(post.status >= 400 && post.status < 500, String(post.status));
});

test('requests_that_are_no_http_are_answered_with_400_or_closed', async () => {
  const requests = [
    'garbage\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'GET / HTTP/9.9\r\nHost: x\r\n\r\n',
    'GET / HTTP/1.1\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n',
    `GET /${'a'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: x\r\n${'X: y\r\n'.repeat(20_000)}\r\n`,
    'GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: x\r\nname with space : y\r\n\r\n',
  ];
  for (const request of requests) {
    const raw = await Raw.open(node.port);
    raw.send(request);
    const answer = await Promise.race([raw.end(), raw.expect(/^HTTP\/1\.1 \d+[^]*\r\n\r\n/).then(() => raw.text, () => raw.text)]);
    assert.ok(answer === '' || /^HTTP\/1\.1 [45]\d\d /.test(answer), `${JSON.stringify(request.slice(0, 60))}: ${answer.slice(0, 100)}`);
    raw.close();
  }
});

const joinFrame = JSON.stringify(['1', '1', 'room:bad', 'phx_join', {}]);

test('frames_that_break_the_websocket_protocol_close_that_connection_with_1002', async () => {
  const frames = {
    'reserved opcode 3': frame(3, 'x'),
    'reserved opcode 11': frame(11, 'x'),
    'reserved bit': frame(1, joinFrame, { rsv: 2 }),
    'continuation of nothing': frame(0, 'x'),
    'fragmented ping': frame(9, 'x', { fin: false }),
    'ping of 126 bytes': frame(9, 'x'.repeat(126)),
  };
  for (const [what, bytes] of Object.entries(frames)) {
    const raw = await rawSocket(node);
    raw.send(bytes);
    await raw.end().catch((error) => assert.fail(`${what}: ${error.message}`));
    assert.ok([1002, null].includes(closeCode(raw)), `${what}: ${closeCode(raw)}`);
  }
});

test('messages_that_are_no_phoenix_frames_close_that_connection_with_a_reason', async () => {
  const texts = [
    '', '{', 'null', '[]', '[1,2,3]', '"x"', '{"a":1}', '[null,"1","t","e",{}] x', '[null,"1",7,"e",{}]', '[null,"1","t",null,{}]',
    '[{},"1","t","e",{}]', '\u0000', `${'['.repeat(2000)}`, '[null,"1","\\ud800","e",{}]',
  ];
  const count = async () => (await node.metric('fanmesh_bad_messages_total')) ?? 0;
  for (const text of texts) {
    const before = await count();
    const raw = await rawSocket(node);
    raw.send(frame(1, text));
    await raw.end().catch((error) => assert.fail(`${JSON.stringify(text.slice(0, 50))}: ${error.message}`));
    assert.ok([1002, 1003, 1007].includes(closeCode(raw)), `${JSON.stringify(text.slice(0, 50))}: ${closeCode(raw)}`);
    await until('it is counted', async () => (await count()) > before);
    assert.equal(await count(), before + 1);
  }
});

test('text_that_is_not_utf8_is_closed_with_1007', async () => {
  const raw = await rawSocket(node);
  raw.send(frame(1, Buffer.from([0x5b, 0x22, 0xff, 0xfe, 0x22, 0x5d])));
  await raw.end();
  assert.equal(closeCode(raw), 1007);
});

test('binary_frames_that_end_early_are_closed', async () => {
  for (const bytes of [[], [0], [0, 1, 1], [0, 255, 255, 255, 255], [0, 1, 1, 4, 3, 49, 49], [7, 0, 0, 0, 0], [2, 1, 1, 116, 101]]) {
    const raw = await rawSocket(node);
    raw.send(frame(2, bytes));
    await raw.end().catch((error) => assert.fail(`${bytes}: ${error.message}`));
    assert.ok([1002, 1003, 1007].includes(closeCode(raw)), `${bytes}: ${closeCode(raw)}`);
  }
});

test('messages_beyond_the_limit_are_closed_with_1009_whole_or_in_fragments', async () => {
  const whole = await rawSocket(node);
  whole.send(frame(1, 'x'.repeat(5000)));
  await whole.end();
  assert.equal(closeCode(whole), 1009);

  const announced = await rawSocket(node);
  announced.send(frame(1, 'x'.repeat(1000), { length: 1e12 }));
  await announced.end();
  assert.equal(closeCode(announced), 1009);

  const fragments = await rawSocket(node);
  fragments.send(frame(1, 'x'.repeat(3000), { fin: false }));
  fragments.send(frame(0, 'x'.repeat(3000), { fin: true }));
  await fragments.end();
  assert.equal(closeCode(fragments), 1009);
});

test('a_message_in_many_fragments_is_read_as_one', async () => {
  const raw = await rawSocket(node);
  const bytes = Buffer.from(joinFrame);
  for (let i = 0; i < bytes.length; i++) raw.send(frame(i ? 0 : 1, bytes.subarray(i, i + 1), { fin: i === bytes.length - 1 }));
  await raw.expect(/"phx_reply",\{"status":"ok"/);
  raw.close();
});

test('pushes_to_topics_that_were_not_joined_are_refused', async () => {
  const raw = await rawSocket(node);
  raw.send(frame(1, JSON.stringify([null, '1', 'room:never', 'msg', {}])));
  await raw.expect(/\[null,"1","room:never","phx_reply",\{"status":"error","response":\{"reason":"unmatched topic"\}\}\]/);
  raw.send(frame(1, JSON.stringify([null, '2', 'nowhere', 'phx_join', {}])));
  await raw.expect(/unmatched topic.*unmatched topic/s);
  raw.close();
});

test('a_client_that_vanishes_in_the_middle_of_a_frame_is_forgotten', async () => {
  // The witness is there all the time; those of the tests before may still be going.
  const open = async () => (await node.request('GET', '/api/connections?limit=0')).body.count;
  const joined = async () => (await node.request('GET', '/api/topics/room%3Abad/subscribers?limit=0')).body.count;
  await until('only the witness is there', async () => (await open()) === 1);
  for (let i = 0; i < 20; i++) {
    const raw = await rawSocket(node);
    raw.send(frame(1, joinFrame)).send(frame(1, 'x'.repeat(1000)).subarray(0, 50));
    await raw.expect(/phx_reply/);
    raw.close();
  }
  await until('they are gone', async () => (await open()) === 1 && (await joined()) === 0);
});
