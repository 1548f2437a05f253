// The option dev_api: which pages may ask a --dev node, and that no other node has it.
import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';

const dev = { dev: true, dev_api: true, api_key_file: null };
const message = JSON.stringify({ topic: 'room:1', event: 'msg', payload: { n: 1 } });

// One request to the clients' listener, as a browser makes it for a page of `origin`.
function ask(node, { method = 'POST', path = '/api/publish', origin, host, body = method === 'POST' ? message : undefined, headers = {} }) {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { port: node.port, host: '127.0.0.1', method, path, headers: { 'content-type': 'application/json', ...(origin && { origin }), ...(host && { host }), ...headers } },
      (response) => {
        let text = '';
        response.on('data', (data) => (text += data));
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

test('a_page_from_this_machine_may_publish_on_the_clients_listener_and_read_the_answer_and_no_other_page', async (t) => {
  const node = await startNode(t, { rules: {}, options: dev });
  for (const origin of ['http://localhost:4010', `http://127.0.0.1:${node.port}`]) {
    const asked = await ask(node, { method: 'OPTIONS', origin, headers: { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' } });
    assert.equal(asked.status, 204);
    assert.match(asked.headers['access-control-allow-headers'], /Content-Type/);
    assert.equal(asked.headers['access-control-allow-origin'], origin);
    const answer = await ask(node, { origin });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers['access-control-allow-origin'], origin);
    assert.equal(answer.headers.vary, 'Origin');
  }
  assert.equal((await node.history('room:1')).length, 2);

  const others = [
    { origin: 'http://evil.example' },
    { origin: 'http://localhost.evil.example:4000' },
    { origin: 'null' },
    { origin: 'http://evil.example', host: 'evil.example' },
    { origin: 'http://localhost:4010', host: 'evil.example' },
    { host: 'evil.example' },
  ];
  for (const other of others) {
    const answer = await ask(node, other);
    assert.equal(answer.status, 403, JSON.stringify(other));
    if (!other.origin?.startsWith('http://localhost:')) assert.equal(answer.headers['access-control-allow-origin'], undefined);
    const asked = await ask(node, { method: 'OPTIONS', ...other });
    if (!other.origin?.startsWith('http://localhost:')) assert.equal(asked.headers['access-control-allow-origin'], undefined);
  }
  assert.equal((await node.history('room:1')).length, 2);
});

test('without_the_option_the_clients_listener_has_no_api_in_dev_or_not', async (t) => {
  for (const options of [{ dev: true, api_key_file: null }, {}]) {
    const node = await startNode(t, { rules: { 'room:*': { join: 'anyone' } }, options });
    const origin = `http://127.0.0.1:${node.port}`;
    for (const request of [{}, { origin }, { method: 'OPTIONS', origin }, { method: 'GET', path: '/api/cluster', origin }, { method: 'GET', path: '/metrics' }]) {
      const answer = await ask(node, request);
      assert.equal(answer.status, 404, JSON.stringify(request));
      assert.equal(answer.headers['access-control-allow-origin'], undefined);
    }
  }
});
