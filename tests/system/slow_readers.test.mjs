// Clients that take what they asked for slowly, or much of it at once.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { patience, testRules, workFolder } from '../lib/node.mjs';
import { WebSocket } from '../lib/phoenix.mjs';
import { Raw } from '../lib/raw.mjs';
import { Reader } from '../lib/reader.mjs';
import { sleep, until } from '../lib/wait.mjs';

test('an_answer_that_leaves_slowly_is_not_cut_off_by_the_time_limit_of_its_request', async (t) => {
  const web = path.join(workFolder(), 'web');
  fs.mkdirSync(web);
  fs.writeFileSync(path.join(web, 'big.txt'), 'x'.repeat(4 << 20));
  const node = await startNode(t, { options: { web_root: web, handshake_ms: 300 } });
  let raw;
  t.after(() => raw.close());
  const times = 4; // more than the system's buffers between the two hold, so that most of it waits in the node
  do { // again where this machine was too busy to send the requests in time
    raw?.close();
    raw = await Raw.open(node.port);
    raw.socket.pause();
    raw.send('GET /big.txt HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(times));
    await sleep(1200);
    raw.socket.resume();
    await until('an answer, or the end', () => raw.length > 0 || raw.socket.closed);
  } while (!raw.text.startsWith('HTTP/1.1 200'));
  await until('all answers', () => raw.length > times * (4 << 20), 20_000 * patience, 200);
});

test('a_replay_larger_than_the_outbox_reaches_a_client_that_reads', async (t) => {
  const rules = { ...testRules, 'room:*': { ...testRules['room:*'], history_bytes: '64MiB' } };
  const node = await startNode(t, { rules, options: { outbox_bytes: '64KiB' } });
  const n = 600, filler = 'x'.repeat(60_000);
  for (let at = 0; at < n; at += 40) {
    const lines = Array.from({ length: 40 }, (_, i) => `${JSON.stringify({ topic: 'room:big', event: 'msg', payload: { i: at + i, filler } })}\n`);
    const answer = await node.request('POST', '/api/publish/batch', { body: lines.join(''), headers: { 'content-type': 'application/x-ndjson' } });
    assert.equal(answer.status, 200, answer.text);
  }
  const socket = new WebSocket(`${node.ws}/websocket?vsn=2.0.0`);
  t.after(() => socket.terminate());
  const seen = [];
  let code;
  socket.on('message', (data) => {
    const [, , , event, payload] = JSON.parse(data);
    if (event === 'msg') seen.push(payload.i);
  });
  socket.once('close', (why) => (code = why));
  socket.once('open', async () => {
    socket.send(JSON.stringify(['1', '1', 'room:big', 'phx_join', { cursor: [], last: n }]));
    socket.pause(); // more than the system's buffers between the two hold, so that most of it waits in the node
    await sleep(300);
    socket.resume();
  });
  await until('all of it, or a close', () => seen.length === n || code, 20_000 * patience);
  assert.equal(code, undefined);
  assert.deepEqual(seen, Array.from({ length: n }, (_, i) => i));
});

// ---- slow = drop and conflate ----

const slowRules = {
  ...testRules,
  'drop:*': { join: 'anyone', slow: 'drop' },
  'latest:*': { join: 'anyone', slow: 'conflate', history_count: 20000, history_bytes: '256MiB', history_age: '10m' },
  'all:*': { join: 'anyone' },
};
const filler = 'x'.repeat(30_000);

// n messages of 30 kB, some at a time on each of the nodes in turn: more than the system's buffers between a node and a client hold.
// Who reads (`reading`, a ledger) is waited for each time: on a busy machine it would fall behind, too. Returns their ids.
async function flood(nodes, topic, n, { keyOf = () => undefined, reading } = {}) {
  const ids = [];
  for (let at = 0; at < n; at += 20) {
    const lines = Array.from({ length: Math.min(20, n - at) }, (_, i) =>
      `${JSON.stringify({ topic, event: 'msg', payload: { i: at + i, filler }, conflation_key: keyOf(at + i) })}\n`);
    const node = nodes[(at / 20) % nodes.length];
    const answer = await node.request('POST', '/api/publish/batch', { body: lines.join(''), headers: { 'content-type': 'application/x-ndjson' } });
    assert.equal(answer.status, 200, answer.text);
    const some = answer.body.results.map(({ id }) => id);
    if (reading) await hasAll(`${at} and the next, for the one that reads`, reading, some);
    ids.push(...some);
  }
  return ids;
}

const hasAll = (what, ledger, ids, limitMs = 30_000) => until(what, () => ids.every((id) => ledger.has(id)), limitMs);

test('who_stops_reading_a_drop_topic_is_told_by_gaps_exactly_what_it_was_not_given', async (t) => {
  const { nodes } = await startCluster(t, 2, { rules: slowRules });
  const began = Date.now();
  const [slow, fast] = [await Reader.open(t, nodes[0]), await Reader.open(t, nodes[0])];
  const [given, all] = [await slow.join('drop:1'), await fast.join('drop:1')];
  const ids = await flood(nodes, 'drop:1', 20);
  await hasAll('the first ones', given, ids, 10_000);
  slow.pause();
  ids.push(...(await flood(nodes, 'drop:1', 800, { reading: all })));
  assert.deepEqual([all.ids.length, all.gaps.length], [ids.length, 0]);
  await until('it fell behind', async () => (await nodes[0].metric('fanmesh_slow_lagging')) === 1);
  slow.resume();
  await hasAll('all of it given or declared', given, ids);
  ids.push(...(await flood(nodes, 'drop:1', 40, { reading: all })));
  for (const ledger of [given, all]) await hasAll('what came after', ledger, ids);
  assert.equal(slow.code, undefined, 'the connection stays');
  const declared = given.check(ids);
  assert.equal(all.check(ids), 0);
  assert.ok(declared > 100, `${declared} were declared`);
  assert.equal(given.ids.length + declared, ids.length);
  assert.equal(given.skipped, declared);
  assert.ok(given.gaps.every(({ reason }) => reason === 'slow'));
  for (const [metric, wanted] of [['skipped_total', declared], ['conflated_total', 0], ['lagging', 0]])
    await until(`${metric} is ${wanted}`, async () => (await nodes[0].metric(`fanmesh_slow_${metric}`)) === wanted);
  assert.ok((await nodes[0].metric('fanmesh_slow_lags_total')) >= 1);
  assert.ok(nodes[0].loggedSeldom('slow_subscriber', began), nodes[0].log);
});

test('who_stops_reading_a_conflate_topic_gets_the_newest_of_each_key', async (t) => {
  const { nodes } = await startCluster(t, 2, { rules: slowRules });
  const [slow, fast] = [await Reader.open(t, nodes[0]), await Reader.open(t, nodes[0])];
  const [given, all] = [await slow.join('latest:1'), await fast.join('latest:1')];
  slow.pause();
  const ids = await flood(nodes, 'latest:1', 820, { keyOf: (i) => `key ${i % 10}`, reading: all });
  slow.resume();
  await hasAll('all of it given or declared', given, ids);
  assert.equal(slow.code, undefined, 'the connection stays');
  const declared = given.check(ids);
  assert.ok(declared > 100, `${declared} were declared`);
  assert.equal(given.skipped, declared);
  assert.equal(all.check(ids), 0);
  const newest = new Map(all.log.flatMap(({ id, payload }) => (id ? [[payload.i % 10, id]] : [])));
  for (const id of newest.values()) assert.ok(given.ids.includes(id), `${id} is the newest of its key`);
  assert.equal(await nodes[0].metric('fanmesh_slow_conflated_total'), declared);
});

test('a_socket_with_both_kinds_of_topics_is_closed_only_for_what_may_not_be_left_out', async (t) => {
  const node = await startNode(t, { rules: slowRules });
  const slow = await Reader.open(t, node);
  const [dropped, whole] = [await slow.join('drop:1'), await slow.join('all:1')];
  slow.pause();
  const ids = await flood([node], 'drop:1', 600);
  await until('it fell behind', async () => (await node.metric('fanmesh_slow_lagging')) === 1);
  const wholeIds = await flood([node], 'all:1', 4); // there is room for them: drop topics never fill the outbox
  const beats = Promise.all(Array.from({ length: 50 }, () => slow.heartbeat()));
  await sleep(300);
  slow.resume();
  await Promise.all([beats, hasAll('the drop topic', dropped, ids), hasAll('the other', whole, wholeIds)]);
  assert.ok(dropped.check(ids) > 0);
  assert.equal(whole.check(wholeIds), 0);
  assert.equal(slow.code, undefined);
  slow.pause();
  await flood([node], 'all:1', 600);
  await until('the close', async () => (await node.metric('fanmesh_slow_disconnects_total')) === 1);
  slow.resume();
  await until('the end', () => slow.code);
  assert.ok([1006, 1013].includes(slow.code), `closed with ${slow.code}`);
});

test('who_does_not_even_take_its_replies_is_closed_in_the_end', async (t) => {
  const node = await startNode(t, { rules: slowRules });
  const slow = await Reader.open(t, node);
  await slow.join('drop:1');
  slow.pause();
  await flood([node], 'drop:1', 600);
  assert.equal(await node.metric('fanmesh_slow_disconnects_total'), 0);
  for (let i = 0; i < 10_000; i++) slow.socket.send(JSON.stringify([null, String(i), 'phoenix', 'heartbeat', {}]));
  await until('the close', async () => (await node.metric('fanmesh_slow_disconnects_total')) === 1);
  await until('what waited is let go', async () => (await node.metric('fanmesh_outbox_bytes')) === 0);
});

test('who_is_cut_off_between_a_gap_and_its_message_resumes_with_nothing_undeclared', async (t) => {
  const node = await startNode(t, { rules: slowRules });
  const first = await Reader.open(t, node);
  const ledger = await first.join('latest:1');
  first.pause();
  const ids = await flood([node], 'latest:1', 600, { keyOf: (i) => `key ${i % 3}` });
  await until('it fell behind', async () => (await node.metric('fanmesh_slow_lagging')) === 1);
  first.cutAtGap = true;
  first.resume();
  await until('the gap', () => first.cut);
  assert.ok(ledger.log.at(-1).gap, 'a gap came last');
  assert.ok(!ids.every((id) => ledger.has(id)));
  const second = await Reader.open(t, node);
  await second.join('latest:1', ledger);
  await hasAll('the rest', ledger, ids);
  assert.equal(ledger.log.findLast(({ joined }) => joined).joined.recovered, true);
  assert.equal(ledger.check(ids), ledger.skipped);
});

test('who_rejoins_on_its_socket_while_behind_gets_from_the_history_what_was_left_out', async (t) => {
  const node = await startNode(t, { rules: slowRules });
  const slow = await Reader.open(t, node);
  const ledger = await slow.join('latest:1');
  slow.pause();
  const ids = await flood([node], 'latest:1', 600, { keyOf: (i) => `key ${i % 3}` });
  await until('it fell behind', async () => (await node.metric('fanmesh_slow_lagging')) === 1);
  const again = slow.join('latest:1', ledger);
  await until('it is like any other again', async () => (await node.metric('fanmesh_slow_lagging')) === 0);
  slow.resume();
  await again;
  await hasAll('all of it', ledger, ids);
  // But for what it was told of already, where the system's buffers took more of what it was owed before it asked again.
  const told = ledger.log.slice(0, ledger.log.findLastIndex(({ joined }) => joined)).flatMap(({ gap }) => gap ?? []);
  assert.equal(ledger.check(ids), told.reduce((sum, { skipped }) => sum + skipped, 0));
  assert.equal(ledger.gaps.length, told.length);
});
