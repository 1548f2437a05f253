// The HTTP API of real nodes, asked as a backend asks it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { apiKey, root, testRules } from '../lib/node.mjs';
import { connect, disconnectAll, join } from '../lib/phoenix.mjs';
import { fit, runShell, snippets } from '../lib/snippets.mjs';
import { secret } from '../lib/tokens.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);

const json = { 'content-type': 'application/json' };
const ndjson = { 'content-type': 'application/x-ndjson' };

const rules = { ...testRules, 'room:*': { ...testRules['room:*'], presence: 'anyone' } };
const [a, b] = (await startCluster({ after }, 2, { rules, options: { api_batch_max: 50, api_body_max: 65536, token_secret: secret, down_ms: '30s', ack_timeout_ms: '20s' } })).nodes;

const publish = (node, body, headers = {}) => node.request('POST', '/api/publish', { body, headers: { ...json, ...headers } });
const batch = (node, body, query = '', headers = ndjson) => node.request('POST', `/api/publish/batch${query}`, { body, headers });
const history = (node, topic, query = '') => node.request('GET', `/api/topics/${encodeURIComponent(topic)}/history${query}`);
const page = fs.readFileSync(path.join(root, 'docs/api.md'), 'utf8');
const refused = (answer, status, code, part = '') => {
  assert.equal(answer.status, status, answer.text);
  assert.ok(page.split('\n').some((line) => line.startsWith(`| ${status} |`) && line.includes(`\`${code}\``)), `${status} ${code} is documented`);
  assert.equal(answer.body.error.code, code);
  assert.ok(answer.body.error.message.includes(part), answer.text);
  return answer.body;
};
// What one node published, the other has a moment later.
const arrives = (node, topic, n) => until(`${n} messages of ${topic}`, async () => (await history(node, topic)).body.messages.length === n);

test('a_publish_on_one_node_reaches_clients_of_both', async () => {
  const channels = await Promise.all([a, b].map(async (node) => join(await connect(node), 'room:both', { cursor: [] })));
  const answer = await publish(a, { topic: 'room:both', event: 'msg', payload: { text: 'hi' } });
  assert.equal(answer.status, 200, answer.text);
  assert.match(answer.body.id, /^[0-9A-Za-z]{1,11}-[1-9][0-9]*$/);
  for (const channel of channels) {
    await until('the message', () => channel.got.length === 1);
    assert.deepEqual(channel.got[0], { event: 'msg', payload: { text: 'hi' }, id: answer.body.id });
  }
});

test('several_topics_get_a_message_each', async () => {
  const answer = await publish(a, { topics: ['room:s1', 'quiet:s2', 'closed:s3'], event: 'msg' });
  assert.deepEqual(answer.body.results.map(({ topic }) => topic), ['room:s1', 'quiet:s2', 'closed:s3']);
  const [first, second, third] = answer.body.results.map(({ id }) => Number(id.split('-')[1]));
  assert.deepEqual([second, third], [first + 1, first + 2]);
});

test('a_payload_is_handed_on_as_the_bytes_it_came_in', async () => {
  const payload = '{"b": 12345678901234567890123,\t"a":1.10, "a":"\\u00e9\u00e9"}';
  await publish(a, `{"topic":"room:bytes","event":"msg","payload":${payload}}`);
  await arrives(b, 'room:bytes', 1);
  for (const node of [a, b]) assert.ok((await history(node, 'room:bytes')).text.includes(`"payload":${payload}`));
});

test('bytes_come_back_as_they_were_sent', async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  await publish(a, { topic: 'room:binary', event: 'msg', payload_base64: bytes.toString('base64') });
  await arrives(b, 'room:binary', 1);
  const [message] = (await history(b, 'room:binary')).body.messages;
  assert.deepEqual(Buffer.from(message.payload_base64, 'base64'), bytes);
  assert.equal('payload' in message, false);
});

test('a_retry_with_its_key_is_recognised_on_every_node', async () => {
  const message = { topic: 'room:key', event: 'msg', payload: 1, key: 'order 7', conflation_key: 'order' };
  const first = await publish(a, message);
  assert.equal('duplicate' in first.body, false);
  await arrives(b, 'room:key', 1);
  for (const node of [a, b]) assert.deepEqual((await publish(node, { ...message, payload: 2 })).body, { id: first.body.id, duplicate: true });
  assert.equal((await publish(a, { ...message, topic: 'room:other key' })).body.duplicate, undefined);
  const [{ key, conflation_key, payload }] = (await history(b, 'room:key')).body.messages;
  assert.deepEqual({ key, conflation_key, payload }, { key: 'order 7', conflation_key: 'order', payload: 1 });
});

test('the_header_idempotency_key_makes_a_repeated_request_harmless', async () => {
  const header = { 'idempotency-key': '"8e03978e-40d5"' };
  const once = await publish(a, { topic: 'room:header', event: 'msg' }, header);
  const again = await publish(a, { topic: 'room:header', event: 'msg' }, header);
  assert.deepEqual(again.body, { id: once.body.id, duplicate: true });
  const lines = '{"topic":"room:header","event":"msg"}\n{"topic":"room:header","event":"msg"}\n';
  const many = await batch(a, lines, '', { ...ndjson, 'idempotency-key': 'batch-1' });
  const manyAgain = await batch(a, lines, '', { ...ndjson, 'idempotency-key': 'batch-1' });
  assert.equal(many.body.results.some((result) => result.duplicate), false);
  assert.deepEqual(manyAgain.body.results, many.body.results.map((result) => ({ ...result, duplicate: true })));
  refused(await publish(a, { topic: 'room:header', event: 'msg' }, { 'idempotency-key': 'two words' }), 400, 'invalid', 'Idempotency-Key');
});

test('a_batch_is_published_whole_as_lines_and_as_array', async () => {
  const lines = Array.from({ length: 20 }, (_, i) => JSON.stringify({ topic: 'room:lines', event: 'msg', payload: i }));
  const answer = await batch(a, `${lines.join('\n')}\n`);
  assert.equal(answer.status, 200, answer.text);
  const ids = answer.body.results.map(({ id }) => id);
  const array = await batch(a, `[${lines.join(',')}]`, '', json);
  assert.equal(array.body.results.length, 20);
  const kept = (await history(a, 'room:lines')).body.messages;
  assert.deepEqual(kept.map(({ payload }) => payload), [...Array(20).keys(), ...Array(20).keys()]);
  assert.deepEqual(kept.slice(0, 20).map(({ id }) => id), ids);
});

test('one_bad_line_refuses_the_batch_by_its_number', async () => {
  const good = '{"topic":"room:bad","event":"msg"}';
  for (const [line, status, code, part] of [
    ['{"topic":"hall","event":"msg"}', 404, 'unmatched topic', 'line 3: `hall`'],
    ['{"topic":"room:bad","event":"phx_close"}', 422, 'reserved_event', 'line 3: `phx_close`'],
    ['{"topic":"room:bad"', 400, 'bad_json', 'line 3: '],
    ['{"topic":"room:bad","event":"msg","pyload":1}', 400, 'unknown_member', 'line 3: `pyload`'],
  ]) {
    const { error } = refused(await batch(a, `${good}\n\n${line}\n${good}`), status, code, part);
    assert.equal(error.index, 1);
    assert.ok(error.at >= good.length + 2 && error.at <= good.length + 2 + line.length);
  }
  refused(await batch(a, Array(51).fill(good).join('\n')), 413, 'too_many', 'line 51: ');
  assert.deepEqual((await history(a, 'room:bad')).body.messages, []);
});

test('a_replicated_publish_is_confirmed_by_the_other_node', async () => {
  const answer = await publish(a, { topic: 'room:ack', event: 'msg', ack: 'replicated' });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.confirmed, 1);
  assert.equal((await history(b, 'room:ack')).body.messages[0].id, answer.body.id);
  assert.equal((await batch(a, '{"topic":"room:ack","event":"msg"}', '?ack=replicated&timeout_ms=20000')).body.confirmed, 1);
});

test('more_replicas_than_there_are_nodes_is_an_error_with_the_id', async () => {
  // The other node confirms in time at least once, however busy the machine is.
  const body = await until('one has confirmed', async () => {
    const answer = refused(await publish(a, { topic: 'room:ack2', event: 'msg', ack: 'replicated', replicas: 2, timeout_ms: 200 }), 504, 'not_replicated', ' of 2');
    return answer.confirmed === 1 && answer;
  });
  assert.ok(body.error.message.includes('1 of 2'), body.error.message);
  assert.equal((await history(a, 'room:ack2')).body.messages.at(-1).id, body.id);
  const many = await batch(a, '{"topic":"room:ack2","event":"msg"}', '?ack=replicated&replicas=2&timeout_ms=200');
  assert.equal(refused(many, 504, 'not_replicated').results.length, 1);
});

test('a_history_is_read_in_pages_from_a_cursor', async () => {
  for (let i = 0; i < 7; i++) await publish(i % 2 ? a : b, { topic: 'room:pages', event: 'msg', payload: i });
  await Promise.all([arrives(a, 'room:pages', 7), arrives(b, 'room:pages', 7)]);
  const seen = [];
  let query = '?limit=3';
  for (let pages = 1; ; pages++) {
    const { body } = await history(pages % 2 ? a : b, 'room:pages', query);
    assert.equal(body.recovered, true);
    if (!body.messages.length) break;
    assert.ok(pages <= 3 && body.messages.length <= 3);
    seen.push(...body.messages.map(({ payload }) => payload));
    query = `?limit=3&cursor=${encodeURIComponent(JSON.stringify(body.cursor))}`;
  }
  assert.deepEqual(seen.sort(), [0, 1, 2, 3, 4, 5, 6]);
});

test('a_cursor_of_a_node_that_nobody_knows_is_not_recovered', async () => {
  assert.equal((await history(a, 'room:pages', `?cursor=${encodeURIComponent('["9abX02c-88"]')}`)).body.recovered, false);
  for (const cursor of ['9abX02c-88', '["x"]', '{}', '[1]', '']) {
    refused(await history(a, 'room:pages', `?cursor=${encodeURIComponent(cursor)}`), 400, 'invalid', 'must be a JSON array');
  }
});

test('a_topic_may_hold_what_a_url_may_not', async () => {
  for (const name of ['room:a/b//c', 'room:?x=1&y#z', 'room:100%', 'room:%41', 'room:é ü+', 'room:"\\', 'room:/history', `room:${'x'.repeat(250)}`]) {
    const answer = await publish(a, { topic: name, event: 'msg', payload: name });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual((await history(a, name)).body.messages.map(({ payload }) => payload), [name]);
    const { body } = await a.request('GET', `/api/topics?prefix=${encodeURIComponent(name)}`);
    assert.equal(body.topics[0].topic, name);
  }
  refused(await history(a, 'hall'), 404, 'unmatched topic');
  refused(await history(a, `room:${'x'.repeat(251)}`), 400, 'invalid', '255 bytes');
});

test('topics_are_listed_in_pages', async () => {
  for (let i = 0; i < 5; i++) await publish(a, { topic: `room:list:${i}`, event: 'msg' });
  const names = [];
  let after = '';
  do {
    const { body } = await a.request('GET', `/api/topics?prefix=room:list:&limit=2&after=${encodeURIComponent(after)}`);
    assert.ok(body.topics.length <= 2);
    for (const topic of body.topics) {
      assert.equal(topic.history, 1);
      assert.equal(topic.subscribers, 0);
      assert.equal(topic.cursor.length > 0, true);
      names.push(topic.topic);
    }
    after = body.next;
  } while (after);
  assert.deepEqual(names, [0, 1, 2, 3, 4].map((i) => `room:list:${i}`));
});

test('the_cluster_view_shows_both_nodes', async () => {
  const { status, body } = await a.request('GET', '/api/cluster');
  assert.equal(status, 200);
  assert.equal(body.self.name, a.name);
  assert.equal(body.self.mesh, a.meshAddress);
  assert.equal(body.self.ready, true);
  const peers = async () => (await a.clusterView()).peers.map(({ name, state, linked }) => [name, state, linked].join());
  await until('the other is up and linked', async () => (await peers()).join(';') === `${b.name},up,true`);
  assert.ok(body.origins.some(({ origin, self, missing }) => origin === body.self.incarnation && self && missing === 0));
});

test('health_and_readiness_need_no_key_and_are_on_both_listeners', async () => {
  for (const port of [a.port, a.apiPort]) {
    const health = await fetch(`http://127.0.0.1:${port}/healthz`);
    assert.equal(health.status, 200);
    assert.equal((await health.json()).status, 'ok');
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
    assert.deepEqual([ready.status, await ready.json()], [200, { status: 'ready' }]);
    assert.equal(ready.headers.get('cache-control'), 'no-store');
  }
});

test('what_clients_can_reach_is_not_the_api', async () => {
  for (const target of ['/metrics', '/api', '/api/publish', '/api/cluster', '/api/topics/room:1/history']) {
    const answer = await fetch(`http://127.0.0.1:${a.port}${target}`, { headers: { authorization: `Bearer ${apiKey}` } });
    assert.equal(answer.status, 404, target);
    assert.equal((await answer.json()).error.code, 'not_found');
  }
});

test('every_metric_stands_once_and_counters_move', async () => {
  const before = await a.metric('fanmesh_published_total');
  await publish(a, { topic: 'room:count', event: 'msg' });
  assert.equal(await a.metric('fanmesh_published_total'), before + 1);
  const answer = await a.request('GET', '/metrics');
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  const names = [...answer.text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.includes('process_resident_memory_bytes') && names.includes('fanmesh_connections'));
  assert.ok((await a.metric('process_open_fds')) > 10);
});

test('without_the_right_key_nothing_is_answered', async () => {
  const { routes } = (await a.request('GET', '/api')).body;
  for (const { method, path: target } of routes.filter(({ path: target }) => !/z$/.test(target))) {
    for (const key of [null, 'wrong', `${apiKey}x`, apiKey.slice(0, -1)]) {
      const answer = await a.request(method, target, { key, ...(method === 'POST' ? { body: '{}', headers: json } : {}) });
      if (!target.startsWith('/api/broadcast')) refused(answer, 401, 'unauthorized');
      else assert.deepEqual([answer.status, answer.body.code], [401, 'unauthorized']);
    }
  }
});

test('wrong_requests_are_told_what_is_right', async () => {
  const unknown = await a.request('GET', '/api/pubish');
  assert.ok(refused(unknown, 404, 'not_found').routes.some(({ path: target }) => target === '/api/publish'));
  const method = await a.request('DELETE', '/api/publish');
  refused(method, 405, 'method_not_allowed');
  assert.equal(method.headers.get('allow'), 'POST');
  refused(await a.request('POST', '/api/publish', { body: 'topic=room:1', headers: { 'content-type': 'application/x-www-form-urlencoded' } }), 415, 'unsupported_media_type');
  refused(await publish(a, { topic: 'room:1', event: 'msg', payload: 'x'.repeat(66000) }), 413, 'too_large');
  refused(await publish(a, '{"topic":"room:1","event":"msg","payload":"\xff"}'.replace('\xff', '\\ud800')), 400, 'bad_json');
  refused(await publish(a, ''), 400, 'bad_json');
  refused(await a.request('GET', '/api/topics?limit=0'), 400, 'invalid', '`limit`');
  refused(await a.request('GET', '/api/topics?prefx=x'), 400, 'unknown_member', '`prefx`');
});

test('the_documentation_names_every_path_and_its_examples_work', async () => {
  const { routes } = (await a.request('GET', '/api')).body;
  for (const { method, path: target, does } of routes) {
    const row = page.split('\n').find((line) => line.startsWith(`| ${method} |`) && line.includes(`\`${target}\``));
    assert.ok(row?.includes(does.split(':')[0]), `${method} ${target}: ${does}`);
  }
  const examples = snippets('docs/api.md').filter(({ kind }) => kind === 'sh');
  assert.ok(examples.length >= 6);
  for (const { text } of examples) {
    assert.equal(JSON.parse(await runShell(fit(text, { nodes: [a] }), { env: { KEY: apiKey } })).error, undefined, text);
  }
});
