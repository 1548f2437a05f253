// The HTTP API under requests that no library would send. Each has its named answer, and the node goes on serving.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';
import { answersOf } from '../lib/http_raw.mjs';
import { apiKey } from '../lib/node.mjs';
import { Raw } from '../lib/raw.mjs';
import { until, within } from '../lib/wait.mjs';

const message = '{"topic":"room:raw","event":"msg","payload":1}';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fanmesh-web-'));
fs.mkdirSync(path.join(folder, 'web'));
after(() => fs.rmSync(folder, { recursive: true }));
const options = { api_body_max: 4096, message_max: 4096, web_root: path.join(folder, 'web') };
const node = await startNode({ after }, { options });
// Where requests are not made whole on purpose. Elsewhere a busy machine may take its time for one.
const hasty = await startNode({ after }, { options: { ...options, handshake_ms: 500 } });
const open = [];
afterEach(async () => {
  for (const raw of open.splice(0)) raw.close();
  for (const each of [node, hasty]) assert.match(await each.publish({ topic: 'room:alive', event: 'msg' }), /-/);
});

const connect = async (to = node) => {
  const raw = await Raw.open(to.apiPort);
  open.push(raw);
  return raw;
};
const head = (lines = [], target = '/api/publish', method = 'POST') =>
  [`${method} ${target} HTTP/1.1`, 'Host: localhost', `Authorization: Bearer ${apiKey}`, 'Content-Type: application/json', ...lines, '', ''].join('\r\n');
const request = (body = message, lines = []) => head([`Content-Length: ${body.length}`, ...lines]) + body;
const kept = async (at = node) => (await at.request('GET', '/api/topics/room%3Araw/history?limit=1000')).body.messages.length;
const refused = (answer, status, code) => {
  assert.equal(answer.status, status, answer.body);
  assert.equal(JSON.parse(answer.body).error.code, code);
};

test('a_chunked_body_is_answered_411', async () => {
  const raw = await connect();
  raw.send(`${head(['Transfer-Encoding: chunked'])}2e\r\n${message}\r\n0\r\n\r\n`);
  const [answer] = await answersOf(raw);
  refused(answer, 411, 'length_required');
  await within(5000, 'the connection is closed, its rest can not be read', raw.closed);
});

test('a_length_and_chunks_together_are_no_way_in', async () => {
  const raw = await connect();
  const before = await kept();
  raw.send(`${head([`Content-Length: ${message.length}`, 'Transfer-Encoding: chunked'])}2e\r\n${message}\r\n0\r\n\r\n`);
  const [answer] = await answersOf(raw);
  assert.ok([400, 411].includes(answer.status), answer.body);
  await within(5000, 'the connection is closed', raw.closed);
  assert.equal(await kept(), before);
});

test('expect_100_continue_is_answered_before_the_body_comes', async () => {
  const raw = await connect();
  raw.send(head([`Content-Length: ${message.length}`, 'Expect: 100-continue']));
  const [go] = await answersOf(raw);
  assert.equal(go.status, 100);
  raw.send(message);
  const [, answer] = await answersOf(raw, 2);
  assert.equal(answer.status, 200, answer.body);
});

test('an_unknown_expectation_is_refused', async () => {
  const raw = await connect();
  raw.send(head([`Content-Length: ${message.length}`, 'Expect: tea']));
  assert.equal((await answersOf(raw))[0].status, 417);
});

test('a_body_past_the_limit_is_refused_before_it_is_sent', async () => {
  const raw = await connect();
  raw.send(head(['Content-Length: 4097', 'Expect: 100-continue']));
  refused((await answersOf(raw))[0], 413, 'too_large');
  const other = await connect();
  other.send(head(['Content-Length: 99999999999']));
  refused((await answersOf(other))[0], 413, 'too_large');
});

test('lengths_that_are_none_are_refused', async () => {
  for (const length of ['-1', '+5', '5x', '', '18446744073709551616', '5, 6', '0x10']) {
    const raw = await connect();
    raw.send(head([`Content-Length: ${length}`]));
    const [answer] = await answersOf(raw);
    assert.ok(answer && [400, 413].includes(answer.status), `${length}: ${raw.text}`);
    await within(5000, 'the connection is closed', raw.closed);
  }
  const raw = await connect();
  raw.send(`${head(['Content-Length: 46', 'Content-Length: 47'])}${message}`);
  assert.equal((await answersOf(raw))[0].status, 400);
});

test('a_body_without_length_is_asked_for_one', async () => {
  const raw = await connect();
  raw.send(head());
  refused((await answersOf(raw))[0], 411, 'length_required');
});

test('requests_sent_at_once_are_answered_in_their_order', async () => {
  const raw = await connect();
  const before = await kept();
  raw.send(request() + head([], '/healthz', 'GET') + request('{') + request());
  const answers = await answersOf(raw, 4);
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 400, 200]);
  const [first, last] = [answers[0], answers[3]].map(({ body }) => Number(JSON.parse(body).id.split('-')[1]));
  assert.equal(last, first + 1);
  assert.equal(await kept(), before + 2);
});

test('a_request_that_comes_byte_by_byte_is_answered', async () => {
  const raw = await connect();
  for (const byte of request()) {
    raw.send(byte);
    await new Promise(setImmediate);
  }
  assert.equal((await answersOf(raw))[0].status, 200);
});

test('half_a_body_publishes_nothing_whether_the_client_leaves_or_waits', async () => {
  const before = await kept(hasty);
  const leaves = await connect(hasty);
  leaves.send(head([`Content-Length: ${message.length}`]) + message.slice(0, 20));
  leaves.socket.end();
  const waits = await connect(hasty);
  waits.send(head([`Content-Length: ${message.length}`]) + message.slice(0, 20));
  await within(8000, 'the half request is closed', Promise.all([leaves.closed, waits.closed]));
  assert.equal(await kept(hasty), before);
});

test('half_a_head_is_closed_in_time', async () => {
  const raw = await connect(hasty);
  raw.send('POST /api/publish HTTP/1.1\r\nHost: local');
  await within(8000, 'the half head is closed', raw.closed);
});

test('what_is_not_http_is_refused', async () => {
  for (const text of ['\x16\x03\x01\x02\x00\x01\x00', 'GET\r\n\r\n', 'GET / HTTP/9.9\r\nHost: x\r\n\r\n', `GET /${'x'.repeat(70000)} HTTP/1.1\r\n\r\n`, '\0'.repeat(100000)]) {
    const raw = await connect();
    raw.send(text);
    await within(8000, `closed after ${JSON.stringify(text.slice(0, 30))}`, raw.closed);
    const [answer] = await answersOf(raw);
    assert.ok(!answer || answer.status >= 400, raw.text);
  }
});

test('a_head_past_its_limit_is_answered_431', async () => {
  const raw = await connect();
  raw.send(`GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(70000)}\r\n\r\n`);
  assert.equal((await answersOf(raw))[0]?.status, 431);
});

test('head_has_the_headers_of_get_and_no_body', async () => {
  const raw = await connect();
  raw.send(head(['Connection: close'], '/healthz', 'HEAD'));
  await within(5000, 'closed as asked', raw.closed);
  assert.match(raw.text, /^HTTP\/1\.1 200 .*\r\ncontent-length: [1-9]/is);
  assert.ok(raw.text.endsWith('\r\n\r\n'));
});

test('a_client_that_leaves_while_its_acknowledgement_is_awaited_harms_nobody', async () => {
  const body = '{"topic":"room:raw","event":"msg","ack":"replicated","timeout_ms":700}';
  const before = await node.metric('fanmesh_published_total');
  for (let i = 0; i < 20; i++) {
    const raw = await connect();
    raw.send(request(body));
    await until('it is taken', async () => (await node.metric('fanmesh_published_total')) > before + i);
    raw.close();
  }
  await until('all waited in vain', async () => (await node.metric('fanmesh_not_replicated_total')) >= 20);
});

test('a_wrong_key_is_refused_for_every_request_of_a_connection', async () => {
  const raw = await connect();
  raw.send(request(message, ['Connection: keep-alive']) + request().replace(apiKey, 'wrong-key-9876543') + request());
  assert.deepEqual((await answersOf(raw, 3)).map(({ status }) => status), [200, 401, 200]);
});

test('files_are_served_where_clients_connect_and_none_from_outside_their_folder', async () => {
  fs.writeFileSync(path.join(folder, 'web/index.html'), '<!doctype html><p>héllo');
  fs.writeFileSync(path.join(folder, 'secret.txt'), 'secret');
  const page = await fetch(`http://127.0.0.1:${node.port}/`);
  assert.equal(page.headers.get('content-type'), 'text/html; charset=utf-8');
  assert.equal(await page.text(), '<!doctype html><p>héllo');
  for (const target of ['/../secret.txt', '/%2e%2e/secret.txt', '/..%2fsecret.txt', '//secret.txt', '/.%2e/secret.txt', '/x/..%5c..%5csecret.txt']) {
    const raw = await Raw.open(node.port);
    open.push(raw);
    raw.send(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const [answer] = await answersOf(raw);
    assert.ok([400, 404].includes(answer.status), `${target}: ${answer.status} ${answer.body}`);
  }
});
