// The HTTP API under requests that no library would send. Each has its named answer, and the node goes on serving.
import assert from 'node:assert/strict';
import { afterEach, before, after, describe, test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';
import { Raw } from '../lib/http_raw.mjs';
import { apiKey, patience } from '../lib/node.mjs';
import { until, within } from '../lib/wait.mjs';

const message = '{"topic":"room:raw","event":"msg","payload":1}';

describe('a node that is sent nonsense', () => {
  let node;
  const open = [];
  before(async () => {
    node = await startNode({ after }, { options: { api_body_max: 4096, handshake_ms: 1000 } });
  });
  afterEach(async () => {
    for (const raw of open.splice(0)) raw.close();
    assert.match(await node.publish({ topic: 'room:alive', event: 'msg' }), /-/);
  });

  const connect = async () => {
    const raw = await Raw.open(node.apiPort);
    open.push(raw);
    return raw;
  };
  const head = (lines = [], target = '/api/publish', method = 'POST') =>
    [`${method} ${target} HTTP/1.1`, 'Host: localhost', `Authorization: Bearer ${apiKey}`, 'Content-Type: application/json', ...lines, '', ''].join('\r\n');
  const request = (body = message, lines = []) => head([`Content-Length: ${body.length}`, ...lines]) + body;
  const kept = async () => (await node.request('GET', '/api/topics/room%3Araw/history?limit=1000')).body.messages.length;
  const refused = (answer, status, code) => {
    assert.equal(answer.status, status, answer.body);
    assert.equal(JSON.parse(answer.body).error.code, code);
  };

  test('a chunked body is answered 411', async () => {
    const raw = await connect();
    raw.send(`${head(['Transfer-Encoding: chunked'])}2e\r\n${message}\r\n0\r\n\r\n`);
    const [answer] = await raw.answers();
    refused(answer, 411, 'length_required');
    await within(5000, 'the connection is closed, its rest can not be read', raw.closed);
  });

  test('a length and chunks together are no way in', async () => {
    const raw = await connect();
    const before = await kept();
    raw.send(`${head([`Content-Length: ${message.length}`, 'Transfer-Encoding: chunked'])}2e\r\n${message}\r\n0\r\n\r\n`);
    const [answer] = await raw.answers();
    assert.ok([400, 411].includes(answer.status), answer.body);
    await within(5000, 'the connection is closed', raw.closed);
    assert.equal(await kept(), before);
  });

  test('Expect: 100-continue is answered before the body comes', async () => {
    const raw = await connect();
    raw.send(head([`Content-Length: ${message.length}`, 'Expect: 100-continue']));
    const [go] = await raw.answers();
    assert.equal(go.status, 100);
    raw.send(message);
    const [, answer] = await raw.answers(2);
    assert.equal(answer.status, 200, answer.body);
  });

  test('an unknown expectation is refused', async () => {
    const raw = await connect();
    raw.send(head([`Content-Length: ${message.length}`, 'Expect: tea']));
    assert.equal((await raw.answers())[0].status, 417);
  });

  test('a body past the limit is refused before it is sent', async () => {
    const raw = await connect();
    raw.send(head(['Content-Length: 4097', 'Expect: 100-continue']));
    refused((await raw.answers())[0], 413, 'too_large');
    const other = await connect();
    other.send(head(['Content-Length: 99999999999']));
    refused((await other.answers())[0], 413, 'too_large');
  });

  test('lengths that are none are refused', async () => {
    for (const length of ['-1', '+5', '5x', '', '18446744073709551616', '5, 6', '0x10']) {
      const raw = await connect();
      raw.send(head([`Content-Length: ${length}`]));
      const [answer] = await raw.answers();
      assert.ok(answer && [400, 413].includes(answer.status), `${length}: ${raw.text}`);
      await within(5000, 'the connection is closed', raw.closed);
    }
    const raw = await connect();
    raw.send(`${head(['Content-Length: 46', 'Content-Length: 47'])}${message}`);
    assert.equal((await raw.answers())[0].status, 400);
  });

  test('a body without length is asked for one', async () => {
    const raw = await connect();
    raw.send(head());
    refused((await raw.answers())[0], 411, 'length_required');
  });

  test('requests sent at once are answered in their order', async () => {
    const raw = await connect();
    const before = await kept();
    raw.send(request() + head([], '/healthz', 'GET') + request('{') + request());
    const answers = await raw.answers(4);
    assert.deepEqual(answers.map(({ status }) => status), [200, 200, 400, 200]);
    const [first, last] = [answers[0], answers[3]].map(({ body }) => Number(JSON.parse(body).id.split('-')[1]));
    assert.equal(last, first + 1);
    assert.equal(await kept(), before + 2);
  });

  test('a request that comes byte by byte is answered', async () => {
    const raw = await connect();
    for (const byte of request()) {
      raw.send(byte);
      await new Promise(setImmediate);
    }
    assert.equal((await raw.answers())[0].status, 200);
  });

  test('half a body publishes nothing, whether the client leaves or waits', async () => {
    const before = await kept();
    const leaves = await connect();
    leaves.send(head([`Content-Length: ${message.length}`]) + message.slice(0, 20));
    leaves.socket.end();
    const waits = await connect();
    waits.send(head([`Content-Length: ${message.length}`]) + message.slice(0, 20));
    await within(8000 * patience, 'the half request is closed', Promise.all([leaves.closed, waits.closed]));
    assert.equal(await kept(), before);
  });

  test('half a head is closed in time', async () => {
    const raw = await connect();
    raw.send('POST /api/publish HTTP/1.1\r\nHost: local');
    await within(8000 * patience, 'the half head is closed', raw.closed);
  });

  test('what is not HTTP is refused', async () => {
    for (const text of ['\x16\x03\x01\x02\x00\x01\x00', 'GET\r\n\r\n', 'GET / HTTP/9.9\r\nHost: x\r\n\r\n', `GET /${'x'.repeat(70000)} HTTP/1.1\r\n\r\n`, '\0'.repeat(100000)]) {
      const raw = await connect();
      raw.send(text);
      await within(8000 * patience, `closed after ${JSON.stringify(text.slice(0, 30))}`, raw.closed);
      const [answer] = await raw.answers();
      assert.ok(!answer || answer.status >= 400, raw.text);
    }
  });

  test('a head past its limit is answered 431', async () => {
    const raw = await connect();
    raw.send(`GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(70000)}\r\n\r\n`);
    assert.equal((await raw.answers())[0]?.status, 431);
  });

  test('HEAD has the headers of GET and no body', async () => {
    const raw = await connect();
    raw.send(head(['Connection: close'], '/healthz', 'HEAD'));
    await within(5000, 'closed as asked', raw.closed);
    assert.match(raw.text, /^HTTP\/1\.1 200 .*\r\ncontent-length: [1-9]/is);
    assert.ok(raw.text.endsWith('\r\n\r\n'));
  });

  test('a client that leaves while its acknowledgement is awaited harms nobody', async () => {
    const body = '{"topic":"room:raw","event":"msg","ack":"replicated","timeout_ms":700}';
    for (let i = 0; i < 20; i++) {
      const raw = await connect();
      raw.send(request(body));
      await until('it is taken', async () => (await node.metric('fanmesh_published_total')) > i);
      raw.close();
    }
    await until('all waited in vain', async () => (await node.metric('fanmesh_not_replicated_total')) >= 20, 10_000 * patience);
  });

  test('a wrong key is refused for every request of a connection', async () => {
    const raw = await connect();
    raw.send(request(message, ['Connection: keep-alive']) + request().replace(apiKey, 'wrong-key-9876543') + request());
    assert.deepEqual((await raw.answers(3)).map(({ status }) => status), [200, 401, 200]);
  });
});
