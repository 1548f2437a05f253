// Clients that take what they asked for slowly, or much of it at once.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';
import { patience, testRules, workFolder } from '../lib/node.mjs';
import { WebSocket } from '../lib/phoenix.mjs';
import { Raw } from '../lib/raw.mjs';
import { sleep, until } from '../lib/wait.mjs';

test('an_answer_that_leaves_slowly_is_not_cut_off_by_the_time_limit_of_its_request', async (t) => {
  const web = path.join(workFolder(), 'web');
  fs.mkdirSync(web);
  fs.writeFileSync(path.join(web, 'big.txt'), 'x'.repeat(4 << 20));
  const node = await startNode(t, { options: { web_root: web, handshake_ms: 300 } });
  const raw = await Raw.open(node.port);
  t.after(() => raw.close());
  raw.socket.pause();
  // More than the system's buffers between the two hold, so that most of it waits in the node.
  const times = 4;
  raw.send('GET /big.txt HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(times));
  await sleep(1200);
  raw.socket.resume();
  await until('all answers', () => raw.received.length > times * (4 << 20), 10_000 * patience, 200);
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
