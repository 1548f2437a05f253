// Streams of events: npm eventsource, curl, and what is on the wire.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { Backend, hookSecret } from '../lib/backend.mjs';
import { Haproxy, Nginx, Spread } from '../lib/balancer.mjs';
import { makeCertificate } from '../lib/certificate.mjs';
import { sharedCluster, startCluster, startNode } from '../lib/cluster.mjs';
import { clean, compare } from '../lib/ledger.mjs';
import { testRules, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, join, push } from '../lib/phoenix.mjs';
import { Raw } from '../lib/raw.mjs';
import { fit, snippet } from '../lib/snippets.mjs';
import { Stream, sseOf, sseUrl } from '../lib/sse.mjs';
import { secret, token } from '../lib/tokens.mjs';
import { until, within } from '../lib/wait.mjs';

const { EventSource } = createRequire(import.meta.url)('eventsource');
const cluster = await sharedCluster(3, { options: { sse_keepalive_ms: 1000, origins: 'https://app.example' } });
const { nodes } = cluster;
const [a, b] = nodes;
after(disconnectAll);

// An EventSource that keeps what it gets.
function source(t, url, options) {
  const it = new EventSource(url, options);
  t.after(() => it.close());
  it.ids = [];
  it.joins = [];
  it.gaps = [];
  it.addEventListener('msg', ({ data }) => it.ids.push(JSON.parse(data).id));
  it.addEventListener('gap', ({ data }) => it.gaps.push(JSON.parse(data)));
  it.addEventListener('fm_joined', ({ data }) => it.joins.push(JSON.parse(data)));
  return it;
}

test('a_stream_gives_what_is_published_on_any_node_with_the_whole_cursor_as_its_id', async (t) => {
  const topic = 'room:sse';
  const stream = await Stream.open(t, sseOf(a, topic));
  assert.equal(stream.status, 200);
  assert.equal(stream.response.headers.get('content-type'), 'text/event-stream');
  assert.equal(stream.response.headers.get('cache-control'), 'no-store');
  assert.equal(stream.response.headers.get('x-accel-buffering'), 'no');
  const [joined] = await stream.joined();
  assert.deepEqual(joined, { topic, recovered: true, replayed: 0 });
  assert.ok(stream.retry >= 500 && stream.retry <= 1500, `${stream.retry} of sse_retry_ms = 1s`);
  const published = [];
  for (let n = 0; n < 9; n++) published.push(await nodes[n % 3].publish({ topic, event: 'msg', payload: { n, text: 'line\nend' } }));
  await until('all are there', () => stream.ids.length >= 9);
  assert.deepEqual(compare(published, stream.ids), clean);
  const first = stream.of('msg')[0];
  assert.deepEqual(Object.keys(first.data), ['topic', 'id', 'payload']);
  assert.equal(first.data.payload.text, 'line\nend');
  for (const { data, id } of stream.of('msg')) assert.ok(id.split(',').includes(data.id), `${id} has ${data.id}`);
  assert.equal(new Set(stream.last.split(',').map((id) => id.split('-')[0])).size, 4, 'three nodes and asof');
});

test('it_resumes_on_another_node_by_header_or_parameter_with_several_topics', async (t) => {
  const topics = ['room:sse-a', 'room:sse-b'];
  const stream = await Stream.open(t, sseOf(a, topics));
  await stream.joined(2);
  const published = { [topics[0]]: [], [topics[1]]: [] };
  const publish = async (n) => published[topics[n % 2]].push(await nodes[n % 3].publish({ topic: topics[n % 2], event: 'msg', payload: n }));
  // There is an order on each topic.
  const check = (...streams) => {
    const got = streams.flatMap((it) => it.of('msg').map(({ data }) => data));
    for (const topic of topics) assert.deepEqual(compare(published[topic], got.filter((data) => data.topic === topic).map(({ id }) => id)), clean);
  };
  for (let n = 0; n < 10; n++) await publish(n);
  await until('ten are there', () => stream.ids.length === 10);
  stream.close();
  for (let n = 10; n < 20; n++) await publish(n);
  const byHeader = await Stream.open(t, sseOf(b, topics), { 'last-event-id': stream.last });
  assert.deepEqual((await byHeader.joined(2)).map(({ recovered }) => recovered), [true, true]);
  await publish(20);
  await until('the rest is there', () => byHeader.ids.length >= 11);
  check(stream, byHeader);
  const byParameter = await Stream.open(t, sseOf(nodes[2], topics, { last_event_id: stream.last }));
  await until('the rest is there', () => byParameter.ids.length >= 11);
  check(stream, byParameter);
});

test('a_new_stream_can_have_the_newest_of_the_history', async (t) => {
  const topic = 'room:sse-last';
  const ids = [];
  for (let n = 0; n < 10; n++) ids.push(await a.publish({ topic, event: 'msg', payload: n }));
  const stream = await Stream.open(t, sseOf(a, topic, { last: 3 }));
  const [joined] = await stream.joined();
  assert.equal(joined.replayed, 3);
  await until('they are there', () => stream.ids.length === 3);
  assert.deepEqual(stream.ids, ids.slice(-3));
});

test('a_history_longer_than_a_write_is_replayed_whole', async (t) => {
  const topic = 'room:sse-long', filler = 'x'.repeat(10_000);
  const ids = [];
  for (let n = 0; n < 100; n++) ids.push(await a.publish({ topic, event: 'msg', payload: { n, filler } }));
  const stream = await Stream.open(t, sseOf(a, topic, { last: 100 }));
  await until('all are there', () => stream.ids.length === 100);
  assert.deepEqual(stream.ids, ids);
});

test('bytes_come_as_base64_and_a_payload_with_line_ends_stays_one_value', async (t) => {
  const topic = 'bare:sse-bytes';
  const stream = await Stream.open(t, sseOf(a, topic));
  await stream.joined();
  const channel = await join(await connect(b), topic);
  await push(channel, 'bytes', Uint8Array.from([0, 10, 13, 255]).buffer);
  await until('it is there', () => stream.of('bytes').length === 1);
  assert.equal(stream.of('bytes')[0].data.payload_base64, Buffer.from([0, 10, 13, 255]).toString('base64'));
  const body = `{"topic":"${topic}","event":"two\\nlines","payload":{\n "a" :\r\n [1,\n2] }}`;
  assert.equal((await a.request('POST', '/api/publish', { body, headers: { 'content-type': 'application/json' } })).status, 200);
  await until('it is there', () => stream.of('two lines').length === 1);
  assert.deepEqual(stream.of('two lines')[0].data.payload, { a: [1, 2] });
});

test('npm_eventsource_goes_on_where_it_was_when_its_node_is_killed', async (t) => {
  const own = await startCluster(t, 3, { options: { ...Spread.options, sse_retry_ms: 50 } });
  const balancer = await Spread.start(t, own.nodes);
  const [going, ...staying] = own.nodes;
  const topic = 'room:sse-killed';
  const base = balancer.url.replace('ws:', 'http:').replace('/socket', '');
  const sources = Array.from({ length: 6 }, () => source(t, sseUrl(base, topic)));
  for (const it of sources) await until('it has joined', () => it.joins.length === 1);
  assert.ok((await going.metric('fanmesh_sse_streams')) > 0, 'it has some of them');
  const published = [];
  const publish = async (n) => published.push(await staying[n % 2].publish({ topic, event: 'msg', payload: n }));
  for (let n = 0; n < 20; n++) await publish(n);
  const killed = going.kill();
  for (let n = 20; n < 60; n++) await publish(n);
  await killed;
  for (let n = 60; n < 80; n++) await publish(n);
  for (const it of sources) {
    await until('all are there', () => it.ids.length >= 80, 30_000);
    assert.deepEqual(compare(published, it.ids), clean);
    assert.deepEqual(it.gaps, []);
    assert.ok(it.joins.every(({ recovered }) => recovered));
  }
  assert.ok(sources.some((it) => it.joins.length > 1), 'some came back');
});

test('a_node_that_ends_sends_its_streams_away_and_they_come_back_elsewhere_without_loss', async (t) => {
  const own = await startCluster(t, 3, { options: { ...Spread.options, sse_retry_ms: 50 } });
  const balancer = await Spread.start(t, own.nodes);
  const base = balancer.url.replace('ws:', 'http:').replace('/socket', '');
  const topic = 'room:sse-drained';
  const sources = Array.from({ length: 6 }, () => source(t, sseUrl(base, topic)));
  const closes = [];
  for (const it of sources) it.addEventListener('fm_closed', ({ data }) => closes.push(JSON.parse(data)));
  for (const it of sources) await until('it has joined', () => it.joins.length === 1);
  const published = [];
  let publishing = true;
  const done = (async () => {
    for (let n = 0; publishing; n++) published.push(await own.nodes[1 + (n % 2)].publish({ topic, event: 'msg', payload: n }));
  })();
  await own.nodes[0].stop(20_000);
  publishing = false;
  await done;
  for (const it of sources) {
    await until('all are there', () => it.ids.length >= published.length, 30_000);
    assert.deepEqual(compare(published, it.ids), clean);
  }
  await until('some came back', () => sources.some((it) => it.joins.length > 1), 30_000);
  await until('they were told why', () => closes.length > 0);
  assert.ok(closes.every(({ code, reason }) => code === 1012 && reason.includes('shutting down')));
});

test('curl_reads_it_as_the_guide_says', async (t) => {
  const topic = 'room:lobby';
  const child = spawn('bash', ['-c', `exec ${fit(snippet('docs/guide.md', 'Without WebSockets', 'sh'), { nodes })}`]);
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout.on('data', (bytes) => (text += bytes));
  await until('it has joined', () => text.includes('event: fm_joined'));
  const id = await b.publish({ topic, event: 'msg', payload: { hello: 'curl' } });
  await until('it is there', () => text.includes(`data: {"topic":"${topic}","id":"${id}","payload":{"hello":"curl"}}\n\n`));
});

for (const Kind of [Haproxy, Nginx]) {
  test(`streams_come_through_${Kind.name.toLowerCase()}_as_they_are_written_and_over_TLS`, async (t) => {
    const own = await startCluster(t, 2, { options: Kind.options });
    const balancer = await Kind.start(t, own.nodes);
    const child = spawn('curl', ['-sN', '--cacert', balancer.caFile, sseUrl(`https://localhost:${balancer.port}`, 'room:through')]);
    t.after(() => child.kill('SIGKILL'));
    let text = '';
    child.stdout.on('data', (bytes) => (text += bytes));
    await until('it has joined', () => text.includes('event: fm_joined'));
    for (let n = 0; n < 3; n++) {
      const id = await own.nodes[n % 2].publish({ topic: 'room:through', event: 'msg', payload: n });
      await until('it is there', () => text.includes(`"${id}"`));
    }
  });
}

test('a_node_that_ends_TLS_itself_serves_streams', async (t) => {
  const certificate = makeCertificate(workFolder());
  const node = await startNode(t, { options: { tls_cert: certificate.cert, tls_key: certificate.key } });
  const child = spawn('curl', ['-sN', '--cacert', certificate.cert, sseUrl(`https://localhost:${node.port}`, 'room:tls')]);
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout.on('data', (bytes) => (text += bytes));
  await until('it has joined', () => text.includes('event: fm_joined'));
  const payload = 'x'.repeat(40_000);
  const ids = [];
  for (let n = 0; n < 10; n++) ids.push(await node.publish({ topic: 'room:tls', event: 'msg', payload }));
  await until('all are there', () => ids.every((id) => text.includes(`"${id}"`)));
});

test('a_silent_stream_is_kept_alive_by_comments', async (t) => {
  const stream = await Stream.open(t, sseOf(a, 'room:sse-silent'));
  await until('two comments', () => stream.comments >= 2, 10_000);
  assert.equal(stream.events.length, 1, 'which are no events');
});

test('what_may_not_be_joined_is_refused_by_status', async (t) => {
  const status = async (url, headers) => {
    const { status: it, error } = await Stream.open(t, url, headers);
    return [it, error?.code];
  };
  assert.deepEqual(await status(sseOf(a, 'closed:x')), [403, 'forbidden']);
  assert.deepEqual(await status(sseOf(a, 'nowhere:x')), [404, 'unmatched topic']);
  assert.deepEqual(await status(sseOf(a, ['room:ok', 'closed:x'])), [403, 'forbidden']);
  const { error } = await (await fetch(sseOf(a, ['room:ok', 'closed:x']))).json();
  assert.match(error.message, /: `closed:x`$/, 'it says which');
  assert.deepEqual((await status(sseOf(a, [])))[0], 400);
  assert.deepEqual((await status(sseOf(a, ['room:a', 'room:a'])))[0], 400);
  assert.deepEqual((await status(sseOf(a, Array.from({ length: 101 }, (_, i) => `room:${i}`))))[0], 400);
  assert.deepEqual((await status(sseOf(a, 'room:a', { last: '-1' })))[0], 400);
  assert.deepEqual((await status(sseOf(a, 'room:a'), { 'last-event-id': 'nonsense' }))[0], 400);
  assert.deepEqual((await status(sseOf(a, 'room:a', { last_event_id: 'a-1;b-2' })))[0], 400);
  assert.deepEqual((await status(sseOf(a, 'room:a'), { origin: 'https://evil.example' }))[0], 403);
  const page = await Stream.open(t, sseOf(a, 'room:a'), { origin: 'https://app.example' });
  assert.equal(page.response.headers.get('access-control-allow-origin'), 'https://app.example');
  assert.equal((await fetch(sseOf(a, 'room:a'), { method: 'POST', body: 'x' })).status, 405);
  // The node has taken no harm.
  assert.equal((await Stream.open(t, sseOf(a, 'room:a'))).status, 200);
});

test('a_parameter_that_a_stream_does_not_know_is_refused_by_its_name', async (t) => {
  const refusal = async (node, params) => (await Stream.open(t, sseOf(node, 'room:a', params))).error;
  for (const name of ['last_event_ids', 'LAST', 'topics', 'cursor']) {
    const { code, message } = await refusal(a, { [name]: '1' });
    assert.equal(code, 'unknown_member');
    assert.ok(message.endsWith(`: \`${name}\`; a stream takes topic, last and last_event_id`), message);
  }
  assert.equal(await refusal(a, { token: 'x', last: 1 }), undefined, 'a token where none is read');
  const reading = await startNode(t, { options: { token_secret: secret, token_param: 'jwt' } });
  assert.equal((await refusal(reading, { token: token({ sub: 'ann' }) })).code, 'unknown_member');
  assert.equal(await refusal(reading, { jwt: token({ sub: 'ann' }) }), undefined);
  assert.equal((await refusal(reading, { jwt: 'x' })).code, 'bad_token');
  const backend = await Backend.start(t);
  const asking = await startNode(t, { options: { hook_url: backend.url, hook_secret: hookSecret, hook_connect: true } });
  assert.equal(await refusal(asking, { who: 'ann' }), undefined, 'where a backend is given the query');
  assert.equal(new URLSearchParams(backend.asks[0].client.query).get('who'), 'ann');
});

test('a_position_is_taken_from_the_parameter_that_stand_ins_for_EventSource_write', async (t) => {
  const topic = 'room:sse-stand-in';
  const stream = await Stream.open(t, sseOf(a, topic));
  await stream.joined();
  const lastEventId = stream.last;
  const id = await a.publish({ topic, event: 'msg', payload: 1 });
  const again = await Stream.open(t, sseOf(b, topic, { lastEventId }));
  await until('what was missed is there', () => again.ids.length === 1);
  assert.deepEqual(again.ids, [id]);
});

test('a_position_that_nobody_knows_is_told', async (t) => {
  const stream = await Stream.open(t, sseOf(a, 'room:sse-unknown'), { 'last-event-id': 'k3fa9Qz-1234' });
  const [joined] = await stream.joined();
  assert.equal(joined.recovered, false);
});

test('a_reader_that_is_too_slow_is_sent_away_and_goes_on_where_it_was', async (t) => {
  const node = await startNode(t, { options: { outbox_bytes: '64KiB' } });
  const topic = 'room:sse-slow';
  const raw = await Raw.open(node.port);
  t.after(() => raw.close());
  raw.send(`GET /sse?topic=${topic} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await until('it has joined', () => raw.text.includes('event: fm_joined'));
  raw.socket.pause();
  const ids = [];
  await until('it is given up', async () => {
    const batch = Array.from({ length: 20 }, (_, i) => ({ topic, event: 'msg', payload: { i, filler: 'x'.repeat(30_000) } }));
    ids.push(...(await node.publishAll(batch)));
    return (await node.metric('fanmesh_slow_disconnects_total')) > 0;
  }, 30_000);
  raw.socket.resume();
  await within(20_000, 'the end', raw.closed);
  const whole = raw.text.slice(0, raw.text.lastIndexOf('\n\n') + 2);
  const got = [...whole.matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id);
  assert.deepEqual(got, ids.slice(0, got.length));
  const last = [...whole.matchAll(/^id: (.*)$/gm)].at(-1)[1];
  const stream = await Stream.open(t, sseOf(node, topic), { 'last-event-id': last });
  const [joined] = await stream.joined();
  await until('the rest is there', () => stream.ids.length === joined.replayed);
  assert.equal(joined.recovered, got.length + joined.replayed === ids.length);
  assert.deepEqual(stream.ids, ids.slice(-joined.replayed));
});

test('a_slow_reader_of_a_topic_that_leaves_out_is_told_by_gaps', async (t) => {
  const rules = { ...testRules, 'drop:*': { join: 'anyone', slow: 'drop', message_max: '32KiB' } };
  const node = await startNode(t, { rules, options: { outbox_bytes: '64KiB' } });
  const raw = await Raw.open(node.port);
  t.after(() => raw.close());
  raw.send('GET /sse?topic=drop:sse HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until('it has joined', () => raw.text.includes('event: fm_joined'));
  raw.socket.pause();
  const ids = [];
  await until('it falls behind', async () => {
    const batch = Array.from({ length: 20 }, (_, i) => ({ topic: 'drop:sse', event: 'msg', payload: { i, filler: 'x'.repeat(30_000) } }));
    ids.push(...(await node.publishAll(batch)));
    return (await node.metric('fanmesh_slow_skipped_total')) > 0;
  }, 30_000);
  raw.socket.resume();
  await until('a gap', () => raw.text.includes('event: gap'));
  const id = await node.publish({ topic: 'drop:sse', event: 'msg', payload: 'the end' });
  await until('the newest', () => raw.text.includes(`"${id}"`));
  const got = [...raw.text.matchAll(/^event: msg\ndata: {"topic":"drop:sse","id":"([^"]+)"/gm)].length;
  const skipped = [...raw.text.matchAll(/"skipped":(\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0);
  assert.equal(got + skipped, ids.length + 1);
});

test('a_client_that_leaves_is_noticed', async (t) => {
  const node = await startNode(t);
  const clients = async () => {
    const { text } = await node.request('GET', '/metrics');
    const counts = [...text.matchAll(/^fanmesh_connections\{worker="\d+"\} (\d+)/gm)];
    assert.equal(counts.length, 2);
    return counts.reduce((sum, [, n]) => sum + Number(n), 0);
  };
  const stream = await Stream.open(t, sseOf(node, 'room:sse-leaves'));
  await stream.joined();
  assert.equal(await node.metric('fanmesh_sse_streams'), 1);
  assert.equal(await clients(), 1, 'one connection, though it is a socket besides');
  stream.close();
  await until('it is gone', async () => (await node.metric('fanmesh_sse_streams')) === 0);
  await until('its subscription, too', async () => (await node.metric('fanmesh_subscriptions')) === 0);
  await until('its connection, too', async () => (await clients()) === 0);
});
