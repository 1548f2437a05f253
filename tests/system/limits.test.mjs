// What one client may take of a node: whoever is over a limit is told which and until when, is counted, and is a line in the log once a burst.
// The clients are the stock ones where they can be; refusals of connections are looked at on the wire.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';
import { testRules } from '../lib/node.mjs';
import { connect, disconnect, disconnectAll, join, push, settled } from '../lib/phoenix.mjs';
import { connect as raw, v1 } from '../lib/proxied.mjs';
import { closeCode, frame, rawSocket, upgradeRequest } from '../lib/raw.mjs';
import { until } from '../lib/wait.mjs';

const open = [];
after(async () => {
  open.forEach((socket) => socket.destroy());
  await disconnectAll();
});

const lines = (node, limit) => node.log.split('\n').filter((line) => line.includes(`event=limit_reached limit=${limit} `));
const count = (node, name) => node.metric(`fanmesh_limited_${name}_total`);

// A WebSocket's request from an address; resolves when there is an answer.
async function upgrade(node, from, { header = '', forwarded } = {}) {
  const socket = await raw(node.port, from);
  open.push(socket);
  const request = forwarded ? upgradeRequest().toString().replace('\r\n\r\n', `\r\nX-Forwarded-For: ${forwarded}\r\n\r\n`) : upgradeRequest();
  socket.write(header);
  socket.write(request);
  await until('there is an answer', () => /\r\n\r\n/.test(socket.text));
  return socket;
}
const status = (socket) => Number(socket.text.split(' ')[1]);

test('one_address_has_so_many_connections_over_all_workers_and_gets_them_back_when_they_end', async (t) => {
  const node = await startNode(t, { options: { connections_per_address: 6, workers: 3 } });
  const from = '127.0.0.5';
  const taken = [];
  for (let i = 0; i < 6; i++) taken.push(await upgrade(node, from));
  assert.deepEqual(taken.map(status), Array(6).fill(101));
  for (let i = 0; i < 4; i++) {
    const refused = await upgrade(node, from);
    assert.equal(status(refused), 429);
    assert.match(refused.text, /\r\nRetry-After: \d+\r\n/);
    assert.match(refused.text, /"code":"too_many_connections","message":".*connections_per_address/);
  }
  assert.equal(status(await upgrade(node, '127.0.0.6')), 101); // another's are none of its business
  assert.equal(await count(node, 'connections_per_address'), 4);
  assert.equal(lines(node, 'connections_per_address').length, 1);
  assert.match(lines(node, 'connections_per_address')[0], /peer=127\.0\.0\.5:\d+ .* why=".+" then=".+"/);
  taken.pop().destroy();
  await until('there is room again', async () => status(await upgrade(node, from)) === 101);
});

test('behind_a_proxy_the_clients_are_counted_and_not_the_proxy', async (t) => {
  const [balancer, relay] = ['127.0.0.2', '127.0.0.3'];
  const node = await startNode(t, { options: { connections_per_address: 2, proxy_protocol_from: balancer, trusted_proxies: relay } });
  const by = {
    'the PROXY protocol': (client) => upgrade(node, balancer, { header: v1(client, 4711) }),
    'X-Forwarded-For': (client) => upgrade(node, relay, { forwarded: client }),
  };
  let n = 0;
  for (const [how, from] of Object.entries(by)) {
    for (let client = 0; client < 3; client++) {
      const address = `198.51.100.${++n}`;
      assert.deepEqual([await from(address), await from(address)].map(status), [101, 101], how);
      const refused = await from(address);
      assert.equal(status(refused), 429, how);
      assert.match(refused.text, /\r\nRetry-After: \d+\r\n/);
      assert.match(refused.text, /too_many_connections/);
    }
  }
  assert.equal(await count(node, 'connections_per_address'), 6);
  assert.equal(lines(node, 'connections_per_address').length, 1);
});

test('a_connection_that_asks_for_other_things_than_a_socket_is_counted_while_it_is_open', async (t) => {
  const node = await startNode(t, { options: { connections_per_address: 2 } });
  const from = '127.0.0.7';
  const idle = [await raw(node.port, from), await raw(node.port, from)];
  open.push(...idle);
  idle.forEach((socket) => socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'));
  for (const socket of idle) await until('it is answered', () => /"status":"ok"/.test(socket.text));
  assert.equal(status(await upgrade(node, from)), 429);
  idle[0].write(upgradeRequest()); // the same connection becomes a socket, and counts once
  await until('it is a socket', () => / 101 /.test(idle[0].text));
  idle[1].destroy();
  await until('there is room again', async () => status(await upgrade(node, from)) === 101);
});

// A request on a connection; resolves to the status of its answer.
async function ask(socket, request) {
  socket.write(`${request} HTTP/1.1\r\nHost: x\r\n\r\n`);
  await until('there is an answer', () => /\r\n\r\n/.test(socket.text));
  const answered = status(socket);
  socket.text = ''; // not before: who is turned away is told so at once
  return answered;
}

test('a_connection_counts_as_long_as_it_is_open_whatever_it_has_asked_for', async (t) => {
  const node = await startNode(t, { options: { connections_per_address: 3, proxy_protocol_from: '127.0.0.2', longpoll_ttl_ms: '1s', workers: 1 } });
  const requests = { 'GET /healthz': 200, 'GET /sse?topic=nobodys:1': 404, 'GET /sse?topic=': 400, 'GET /socket/longpoll?vsn=2.0.0': 200 };
  let n = 0;
  for (const [request, expected] of Object.entries(requests)) {
    const openOne = {
      directly: ((from) => () => raw(node.port, from))(`127.0.0.${10 + n}`),
      'by the PROXY protocol': ((client) => async () => {
        const socket = await raw(node.port, '127.0.0.2');
        socket.write(v1(client, 4711));
        return socket;
      })(`198.51.100.${10 + n++}`),
    };
    for (const [how, connectOne] of Object.entries(openOne)) {
      const sockets = [await connectOne(), await connectOne()];
      open.push(...sockets);
      assert.equal(await ask(sockets[0], request), expected, `${request} ${how}`);
      assert.equal(await ask(sockets[1], 'GET /healthz'), 200);
      // The session of a client that does not poll ends; its connection does not.
      await until('no session is left', async () => (await node.metric('fanmesh_longpoll_sessions')) === 0);
      const third = await connectOne();
      open.push(third);
      assert.equal(await ask(third, 'GET /healthz'), 200);
      const fourth = await connectOne();
      open.push(fourth);
      assert.equal(await ask(fourth, 'GET /healthz'), 429, `${request} ${how}`);
      for (const socket of [...sockets, third]) assert.equal(await ask(socket, 'GET /healthz'), 200, `${request} ${how}`);
      sockets[0].destroy();
      await until('there is room again', async () => {
        const socket = await connectOne();
        open.push(socket);
        return (await ask(socket, 'GET /healthz')) === 200;
      });
    }
  }
});

test('joins_beyond_the_rate_are_told_when_to_try_again_and_then_succeed', async (t) => {
  // All at once, and a rate at which little is earned while a busy machine takes its time.
  const node = await startNode(t, { options: { joins_per_s: 1, rate_burst_ms: '20s', workers: 1 } });
  const socket = await connect(node, { rejoinAfterMs: () => 1e6 });
  const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => settled(socket.channel(`room:${i}`).join())));
  const refused = answers.filter(({ status }) => status === 'error');
  assert.ok(refused.length >= 1 && answers.slice(0, 20).every(({ status }) => status === 'ok'), JSON.stringify(answers));
  for (const { response } of refused) {
    assert.equal(response.reason, 'rate_limited');
    assert.ok(response.retry_after_ms > 0 && response.retry_after_ms <= 1000, JSON.stringify(response));
  }
  assert.equal(await count(node, 'joins'), refused.length);
  assert.equal(lines(node, 'joins_per_s').length, 1);
  const other = await connect(node); // has a bucket of its own
  await join(other, 'room:other');
  await until('it may again', async () => (await settled(socket.channel('room:late').join())).status === 'ok', 10_000, 1000);
});

test('pushes_beyond_the_rate_of_the_node_or_of_the_topic_s_rule_are_refused_and_reach_nobody', async (t) => {
  const rules = { ...testRules, 'slowly:*': { join: 'anyone', push: 'anyone', pushes_per_s: 1, history_count: 100 } };
  const node = await startNode(t, { options: { pushes_per_s: 2, rate_burst_ms: '20s' }, rules });
  for (const [topic, most, name] of [['slowly:1', 20, 'rule'], ['room:1', 40, 'node']]) {
    const channel = await join(await connect(node), topic);
    const answers = await Promise.all(Array.from({ length: most + 15 }, (_, n) => push(channel, 'msg', { n })));
    const [ok, refused] = ['ok', 'error'].map((is) => answers.filter(({ status }) => status === is));
    assert.ok(ok.length >= most && ok.length < most + 15 && ok.length + refused.length === most + 15, `${name}: ${ok.length} of ${most + 15}`);
    assert.ok(answers.slice(0, most).every(({ status }) => status === 'ok'), name);
    for (const { response } of refused) {
      assert.equal(response.reason, 'rate_limited');
      assert.ok(response.retry_after_ms > 0);
    }
    await until('what was allowed has come', () => channel.got.length === ok.length);
    const { body } = await node.request('GET', `/api/topics/${encodeURIComponent(topic)}/history`);
    assert.equal(body.messages.length, ok.length);
  }
  assert.ok((await count(node, 'pushes')) >= 2, 'of each');
  assert.equal(lines(node, 'pushes_per_s').length, 1);
});

test('bytes_beyond_the_rate_are_refused', async (t) => {
  const node = await startNode(t, { options: { push_bytes_per_s: '1KiB', rate_burst_ms: '10s' } });
  const channel = await join(await connect(node), 'room:1');
  const text = 'x'.repeat(9000);
  const [first, { status: second, response }] = await Promise.all([push(channel, 'msg', text), push(channel, 'msg', text)]);
  assert.deepEqual([first.status, second], ['ok', 'error']);
  assert.equal(response.reason, 'rate_limited');
  assert.equal((await push(channel, 'msg', 'short')).status, 'ok');
  assert.equal(await count(node, 'push_bytes'), 1);
  assert.equal(lines(node, 'push_bytes_per_s').length, 1);
});

test('who_goes_on_without_listening_is_disconnected_with_1008_and_others_are_not', async (t) => {
  const node = await startNode(t, { options: { pushes_per_s: 5, rate_burst_ms: '1s' } });
  const calm = await join(await connect(node), 'room:1');
  const socket = await connect(node, { reconnectAfterMs: () => 1e6 });
  const channel = await join(socket, 'room:1');
  const codes = [];
  socket.onClose(({ code, reason }) => codes.push([code, reason]));
  const closed = until('it is closed', () => codes.length > 0);
  for (let n = 0; codes.length === 0; n++) await Promise.race([Promise.all(Array.from({ length: 10 }, () => push(channel, 'msg', { n }))), closed]);
  assert.equal(codes[0][0], 1008);
  assert.match(codes[0][1], /limits/);
  assert.equal(await count(node, 'disconnects'), 1);
  assert.equal((await push(calm, 'msg', {})).status, 'ok');
  assert.equal(lines(node, 'pushes_per_s').length, 1);
});

// A client has 3 s to take its close. One that could not, since this process was not given its turn, proves nothing and is followed by another.
async function inTime(client) {
  for (let tries = 0; ; tries++) {
    const began = Date.now();
    try {
      return await client();
    } catch (error) {
      if (tries === 5 || Date.now() - began < 2500) throw error;
    }
  }
}

test('who_sends_on_while_it_is_closed_reads_why_all_the_same', async (t) => {
  const node = await startNode(t, { options: { pushes_per_s: 5, rate_burst_ms: '1s' } });
  await inTime(() => sendOn(node));
});

async function sendOn(node) {
  const before = await count(node, 'disconnects');
  const raw = await rawSocket(node);
  const pushes = (n) => Buffer.concat(Array.from({ length: n }, (_, i) => frame(1, JSON.stringify(['1', String(i), 'room:1', 'msg', {}]))));
  raw.send(frame(1, JSON.stringify(['1', '1', 'room:1', 'phx_join', {}])));
  await raw.expect(/phx_reply/);
  // What is still to be read here would be gone if the kernel took the connection for broken.
  raw.socket.pause();
  raw.send(pushes(40));
  await until('it is closed', async () => (await count(node, 'disconnects')) === before + 1);
  for (let i = 0; i < 5; i++) {
    raw.send(pushes(5));
    await node.metric('fanmesh_connections'); // a way there and back
  }
  raw.socket.resume();
  await raw.end();
  assert.equal(closeCode(raw), 1008);
}

test('who_pings_when_it_has_been_closed_gets_no_answer_and_no_reset', async (t) => {
  const node = await startNode(t, { options: { pushes_per_s: 5, rate_burst_ms: '1s' } });
  const before = await node.metric('fanmesh_connections');
  await inTime(() => pingOn(node, before));
});

async function pingOn(node, before) {
  const socket = net.connect({ port: node.port, host: '127.0.0.1', allowHalfOpen: true });
  open.push(socket);
  const received = [];
  const ended = new Promise((resolve, reject) => socket.on('data', (chunk) => received.push(chunk)).once('end', resolve).once('error', reject));
  const write = (bytes) => new Promise((resolve, reject) => socket.write(bytes, (err) => (err ? reject(err) : resolve())));
  await write(upgradeRequest());
  await until('it is open', () => Buffer.concat(received).includes('\r\n\r\n'));
  const pushes = Buffer.concat(Array.from({ length: 40 }, (_, i) => frame(1, JSON.stringify(['1', String(i), 'room:1', 'msg', {}]))));
  await write(frame(1, JSON.stringify(['1', '1', 'room:1', 'phx_join', {}])));
  await write(pushes);
  await ended;
  const all = Buffer.concat(received);
  assert.equal(closeCode({ received: all.subarray(all.indexOf('\r\n\r\n') + 4) }), 1008);
  // More than the kernel keeps for who does not read.
  for (let i = 0; i < 24; i++) {
    await write(frame(9, 'still there?'));
    await write(Buffer.alloc(1 << 17));
  }
  assert.equal(Buffer.concat(received).length, all.length);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.end();
  assert.equal(await closed, false); // without an error
  await until('the node has seen it end', async () => (await node.metric('fanmesh_connections')) === before);
}

test('topics_and_sizes_beyond_their_limits_are_counted_and_told_once', async (t) => {
  const rules = { ...testRules, 'small:*': { join: 'anyone', push: 'anyone', message_max: 100 } };
  const node = await startNode(t, { options: { topics_per_socket: 3 }, rules });
  const socket = await connect(node, { rejoinAfterMs: () => 1e6 });
  const channel = await join(socket, 'small:1');
  await join(socket, 'room:1');
  await join(socket, 'room:2');
  for (const topic of ['room:3', 'room:4']) {
    assert.deepEqual(await settled(socket.channel(topic).join()), { status: 'error', response: { reason: 'too many channels joined' } });
  }
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(await push(channel, 'msg', 'x'.repeat(200)), { status: 'error', response: { reason: 'too_large', limit: 100 } });
  }
  assert.deepEqual([await count(node, 'topics'), await count(node, 'message_size')], [2, 3]);
  assert.equal(lines(node, 'topics_per_socket').length, 1);
  assert.equal(lines(node, 'message_max').length, 1);
  await disconnect(socket);
});
