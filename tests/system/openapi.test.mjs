// docs/openapi.yaml: read by a parser that knows the specification, held against the node's own table of routes, and real requests and
// answers against its schemas.
import SwaggerParser from '@apidevtools/swagger-parser';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { sharedCluster, startNode } from '../lib/cluster.mjs';
import { root, testRules } from '../lib/node.mjs';
import { until } from '../lib/wait.mjs';

const file = path.join(root, 'docs/openapi.yaml');
const document = await SwaggerParser.dereference(file);
const ajv = addFormats(new Ajv({ strict: true, allowUnionTypes: true, strictRequired: false, strictTypes: false }));
const rules = { ...testRules, 'realtime:1': { join: 'anyone' }, 'who:*': { join: 'anyone', presence: 'anyone' } };
const { nodes } = await sharedCluster(2, {
  rules,
  options: { token_secret: 'a secret of tests that has at least 32 bytes', ack_timeout_ms: '20s', down_ms: '8s', api_batch_max: 10, message_max: '1KiB' },
});
const [a, b] = nodes;

const operations = Object.entries(document.paths).flatMap(([route, item]) =>
  Object.entries(item).map(([method, operation]) => ({ method: method.toUpperCase(), route, operation })),
);
const compiled = new Map();
function check(schema, value, what) {
  if (!compiled.has(schema)) compiled.set(schema, ajv.compile(schema));
  const validate = compiled.get(schema);
  assert.ok(validate(value), `${what}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(value).slice(0, 500)}`);
}
const fits = (schema, value) => ajv.validate(schema, value);

const seen = new Set(); // operation and status

// A request of an operation; whatever the node answers must be described, and be as described.
async function call(method, route, { query = '', topic, body, node = a, ...rest } = {}) {
  const { operation } = operations.find((one) => one.method === method && one.route === route);
  const answer = await node.request(method, route.replace('{topic}', encodeURIComponent(topic)) + query, { body, ...rest });
  const what = `${method} ${route} ${answer.status}`;
  const described = operation.responses[answer.status];
  assert.ok(described, `${what} is not described: ${answer.text}`);
  const type = answer.headers.get('content-type').split(';')[0];
  assert.ok(described.content[type], `${what}: ${type}`);
  check(described.content[type].schema, type === 'application/json' ? answer.body : answer.text, what);
  seen.add(`${operation.operationId} ${answer.status}`);
  return answer;
}

const json = { headers: { 'content-type': 'application/json' } };
const message = { topic: 'room:1', event: 'msg', payload: { text: 'hi' } };

test('the_file_is_openapi_3_1', async () => {
  const api = await SwaggerParser.validate(file);
  assert.match(api.openapi, /^3\.1\./);
  const ids = operations.map(({ operation }) => operation.operationId);
  assert.equal(new Set(ids).size, ids.length);
});

test('every_route_and_method_of_the_node_is_described_and_no_other', async () => {
  const { body } = await a.request('GET', '/api');
  const of = (list) => list.map(([method, route]) => `${method} ${route}`).sort();
  assert.deepEqual(of(operations.map(({ method, route }) => [method, route])), of(body.routes.map(({ method, path: route }) => [method, route])));
});

test('every_query_parameter_of_a_route_is_described_and_no_other', async () => {
  for (const { method, route, operation } of operations) {
    if (route.startsWith('/api/broadcast')) continue; // Supabase's clients add the parameters of their socket
    const { status, body } = await a.request(method, `${route.replace('{topic}', 'room%3A1')}?nonsense=1`, { body: method === 'POST' ? {} : undefined, ...(method === 'POST' ? json : {}) });
    assert.equal(status, 400, `${method} ${route}`);
    const takes = body.error.message.match(/this path takes (.*)$/)[1];
    const described = (operation.parameters ?? []).filter((one) => one.in === 'query').map(({ name }) => name);
    assert.equal(takes, described.join(' ') || 'no parameters', `${method} ${route}`);
  }
});

test('security_is_asked_for_where_the_node_asks_for_its_key', async () => {
  for (const { method, route, operation } of operations) {
    const { status } = await a.request(method, route.replace('{topic}', 'room%3A1'), { key: null, body: method === 'POST' ? message : undefined, ...(method === 'POST' ? json : {}) });
    assert.equal(status === 401, !operation.security, `${method} ${route} ${status}`);
  }
});

test('requests_that_the_node_takes_fit_the_schema_and_those_that_it_refuses_for_their_form_do_not', async () => {
  const { schema } = operations.find(({ route }) => route === '/api/publish').operation.requestBody.content['application/json'];
  for (const good of [
    message, { event: 'msg', topic: 'room:1' }, { ...message, topic: undefined, topics: ['room:1', 'room:2'] },
    { ...message, key: 'k1', conflation_key: 'c', ack: 'local' }, { ...message, ack: 'replicated', replicas: 1, timeout_ms: 20_000 },
    { ...message, payload: undefined, payload_base64: 'AAE=' }, { ...message, payload: 5, key: null }, { ...message, payload: 'text' },
  ]) {
    check(schema, JSON.parse(JSON.stringify(good)), 'request');
    assert.equal((await call('POST', '/api/publish', { body: good, ...json })).status, 200, JSON.stringify(good));
  }
  for (const bad of [
    {}, [], { ...message, event: '' }, { ...message, event: 7 }, { ...message, payload: null }, { ...message, paylod: 1 }, { ...message, topic: 7 },
    { ...message, ack: 'maybe' }, { ...message, ack: 'replicated', replicas: 0 }, { ...message, ack: 'replicated', replicas: 128 }, { ...message, key: '' },
    { ...message, key: 'k'.repeat(129) }, { event: 'msg', topics: [] }, { ...message, ack: 'replicated', timeout_ms: 60001 },
  ]) {
    assert.ok(!fits(schema, bad), `it fits the schema: ${JSON.stringify(bad)}`);
    assert.equal((await call('POST', '/api/publish', { body: bad, ...json })).status, 400, JSON.stringify(bad));
  }
});

test('answers_of_every_operation_are_as_described_errors_included', async () => {
  const publish = (body, more = json) => call('POST', '/api/publish', { body, ...more });
  await publish({ ...message, key: 'again' });
  assert.equal((await publish({ ...message, key: 'again' })).body.duplicate, true);
  for (const [body, status] of [
    [{ ...message, topic: 'nobody:knows' }, 404], [{ ...message, payload: 'x'.repeat(2000) }, 413], [{ ...message, event: 'phx_join' }, 422], ['{"topic"', 400],
  ]) {
    assert.equal((await publish(body)).status, status);
  }
  assert.equal((await publish(message, { headers: { 'content-type': 'text/plain' } })).status, 415);
  const batch = (body, query, more = json) => call('POST', '/api/publish/batch', { body, query, ...more });
  assert.equal((await batch([message, { ...message, topic: undefined, topics: ['room:1', 'room:2'] }])).body.results.length, 3);
  assert.equal((await batch([message], '?ack=replicated&timeout_ms=20000')).body.confirmed, 1);
  assert.equal((await batch(`${JSON.stringify(message)}\n`, '', { headers: { 'content-type': 'application/x-ndjson' } })).status, 200);
  assert.equal((await batch([message, { ...message, topic: 'nobody:knows' }])).body.error.index, 1);
  assert.equal((await batch(Array(11).fill(message))).status, 413);
  const broadcast = (body, more = json) => call('POST', '/api/broadcast', { body, ...more });
  const [one, other] = [{ topic: '1', event: 'e', payload: 1 }, { topic: 'none', event: 'e', payload: 1 }];
  assert.equal((await broadcast({ messages: [one, one] })).status, 202);
  for (const [body, status] of [[{}, 422], [{ messages: [other] }, 403], [{ messages: [{ ...one, event: 'gap' }] }, 422], ['{"messages"', 422]]) assert.equal((await broadcast(body)).status, status);
  assert.equal((await broadcast(one, { headers: { 'content-type': 'text/plain' } })).status, 415);
  const single = (topic, more) => call('POST', '/api/broadcast/{topic}/events/{event}', { topic, ...more });
  assert.equal((await single('1', { body: 7, ...json })).status, 202);
  assert.equal((await single('1', { body: Uint8Array.of(1), headers: { 'content-type': 'application/octet-stream' }, query: '?private=true' })).status, 202);
  assert.equal((await single('none', { body: 7, ...json })).status, 403);
  assert.equal((await single('1', { body: 'null', ...json })).status, 422);
  assert.ok((await call('GET', '/api/topics', { query: '?limit=1' })).body.next);
  assert.equal((await call('GET', '/api/topics', { query: '?limit=0' })).status, 400);
  const { body } = await call('GET', '/api/topics/{topic}/history', { topic: 'room:1' });
  assert.ok(body.messages.some(({ payload_base64: bytes }) => bytes) && body.messages.some(({ key }) => key));
  const query = `?cursor=${encodeURIComponent(JSON.stringify(body.cursor))}&limit=5`;
  assert.deepEqual((await call('GET', '/api/topics/{topic}/history', { topic: 'room:1', query })).body.messages, []);
  assert.equal((await call('GET', '/api/topics/{topic}/history', { topic: 'nobody:knows' })).status, 404);
  const told = (route, sent, more = json) => call('POST', route, { body: sent, ...more });
  for (const [route, sent] of [['/api/disconnect', { user: 'ann', reason: 'over', reconnect: false }], ['/api/unsubscribe', { user: 'ann', topic: 'room:1', timeout_ms: 5000 }], ['/api/revoke', { user: 'ann', issued_until: 1 }]]) {
    assert.equal((await told(route, sent)).body.count, 0);
    const again = { headers: { ...json.headers, 'idempotency-key': route.slice(5) } };
    assert.equal((await told(route, sent, again)).body.duplicate, undefined);
    assert.equal((await told(route, sent, again)).body.duplicate, true);
    for (const bad of [{}, { ...sent, user: '' }, { ...sent, connection: 'none' }, { ...sent, nonsense: 1 }, { ...sent, timeout_ms: 0 }, []]) assert.equal((await told(route, bad)).status, 400);
    assert.equal((await told(route, sent, { headers: { 'content-type': 'text/plain' } })).status, 415);
  }
  assert.equal((await told('/api/unsubscribe', { user: 'ann', topic: 'nobody:knows' })).status, 404);
  for (const bad of [0, -1, 'now', 1e15, Math.floor(Date.now() / 1000) + 600]) assert.equal((await told('/api/revoke', { user: 'ann', issued_until: bad })).status, 400);
  assert.equal((await call('GET', '/api/connections', { query: '?limit=0' })).body.list, undefined);
  assert.deepEqual((await call('GET', '/api/connections', { query: '?user=ann' })).body.list, []);
  assert.equal((await call('GET', '/api/topics/{topic}/subscribers', { topic: 'room:1' })).body.nodes.length, 2);
  for (const query of ['?limit=1001', '?after=nonsense', '?timeout_ms=0']) assert.equal((await call('GET', '/api/connections', { query })).status, 400);
  assert.ok((await call('DELETE', '/api/topics/{topic}/history', { topic: 'room:1' })).body.count > 0);
  assert.equal((await call('GET', '/api/topics/{topic}/subscribers', { topic: 'nobody:knows' })).status, 404);
  assert.equal((await call('DELETE', '/api/topics/{topic}/history', { topic: 'nobody:knows' })).status, 404);
  const presence = '/api/topics/{topic}/presence';
  const shown = (sent, topic = 'who:1', more = json) => call('PUT', presence, { topic, body: sent, ...more });
  assert.equal((await shown({ key: 'ann' })).body.ttl_ms, 60_000);
  assert.equal((await shown({ key: 'ann', meta: { mood: 'well' }, ttl_ms: 600_000 })).body.key, 'ann');
  await until('it is shown', async () => (await call('GET', presence, { topic: 'who:1' })).body.members.ann?.metas[0].mood === 'well');
  assert.equal((await call('GET', `${presence}/count`, { topic: 'who:1' })).body.keys, 1);
  for (const bad of [{}, { key: '' }, { key: 'ann', meta: 1 }, { key: 'ann', ttl_ms: 3_600_001 }, { key: 'ann', nonsense: 1 }]) assert.equal((await shown(bad)).status, 400);
  assert.equal((await shown({ key: 'ann', meta: { text: 'x'.repeat(5000) } })).status, 413);
  assert.equal((await shown({ key: 'ann' }, 'room:1')).status, 403);
  assert.equal((await shown({ key: 'ann' }, 'nobody:knows')).status, 404);
  assert.equal((await shown({ key: 'ann' }, 'who:1', { headers: { 'content-type': 'text/plain' } })).status, 415);
  assert.equal((await call('DELETE', presence, { topic: 'who:1', query: '?key=ann' })).body.count, 1);
  for (const query of ['', '?key=', '?key=ann&timeout_ms=0']) assert.equal((await call('DELETE', presence, { topic: 'who:1', query })).status, 400);
  assert.equal((await call('DELETE', presence, { topic: 'nobody:knows', query: '?key=ann' })).status, 404);
  for (const route of ['/api', '/api/cluster', '/metrics', '/healthz', '/readyz']) {
    assert.equal((await call('GET', route)).status, 200);
    assert.equal((await call('GET', route, { query: '?x=1' })).status, 400);
  }
  for (const { method, route } of operations) await call(method, route, { topic: 'room:1', key: null, body: method === 'POST' ? message : undefined, ...(method === 'POST' ? json : {}) });
  const { status, body: nothing } = await a.request('GET', '/nowhere');
  check(document.components.schemas.Error, nothing, status);
});

test('every_code_of_the_page_of_the_api_is_described_but_for_those_of_rates', () => {
  const page = fs.readFileSync(path.join(root, 'docs/api.md'), 'utf8').split('## Errors')[1];
  const codes = [...page.matchAll(/^\| [\d, ]+ \| ([^|]+) \|/gm)].flatMap(([, cell]) => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code));
  assert.ok(codes.length > 20);
  assert.deepEqual(codes.filter((code) => !document.components.schemas.ErrorBody.properties.code.enum.includes(code)), []);
});

test('answers_of_a_node_that_shows_all_that_it_may_and_of_one_that_limits_broadcasts_are_as_described', async (t) => {
  const full = await startNode(t, { rules, options: { presence_bytes: '64KiB' } });
  const show = (i) => call('PUT', '/api/topics/{topic}/presence', { node: full, topic: 'who:many', body: { key: `k${i}`, meta: { text: 'x'.repeat(1000) } }, ...json });
  let last;
  for (let i = 0; i < 100 && last?.status !== 503; i++) last = await show(i);
  assert.deepEqual([last.status, last.body.error.code], [503, 'presence_full']);

  const slow = await startNode(t, { rules: { 'realtime:*': { join: 'anyone', push: 'anyone' } }, options: { pushes_per_s: 1 } });
  const say = (n) =>
    fetch(`http://127.0.0.1:${slow.port}/realtime/v1/api/broadcast`, {
      method: 'POST', headers: json.headers, body: JSON.stringify({ messages: Array(n).fill({ topic: '1', event: 'e', payload: 1 }) }),
    });
  let answer;
  await until('it is limited', async () => (answer = await say(100)).status !== 202); // whichever worker it comes to
  const described = document.paths['/api/broadcast'].post.responses[answer.status];
  check(described.content['application/json'].schema, await answer.json(), 'a limit');
  assert.match(answer.headers.get('retry-after'), /^[1-9]\d*$/);
});

test('answers_of_a_node_that_is_alone_or_ends_are_as_described', async () => {
  await b.kill();
  await until('b is gone', async () => (await a.clusterView()).peers[0].state === 'down', 30_000);
  await call('GET', '/api/cluster');
  const alone = await call('POST', '/api/disconnect', { body: { user: 'ann', timeout_ms: 200 }, ...json });
  assert.match(alone.body.missing[0].why, /out of reach/);
  const late = await call('POST', '/api/publish', { body: { ...message, ack: 'replicated', timeout_ms: 50 }, ...json });
  assert.equal(late.status, 504);
  assert.ok(late.body.id);
  const many = await call('POST', '/api/publish/batch', { body: [message, message], query: '?ack=replicated&timeout_ms=50', ...json });
  assert.equal(many.body.results.length, 2);
  await b.spawn();
  await until('b says that it is not ready', async () => (await call('GET', '/readyz', { node: b })).status !== undefined);
  await b.ready();
  for (const status of ['publish 504', 'publishBatch 504', 'publish 422', 'history 404', 'cluster 401']) assert.ok(seen.has(status), status);
});
