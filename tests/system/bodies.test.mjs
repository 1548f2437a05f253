// Bodies: read only where the path takes one, and only as much as it takes. Everything else is answered by its head, and what follows the head
// is never waited for: in these tests it is never sent.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';
import { answersOf } from '../lib/http_raw.mjs';
import { Poller } from '../lib/longpoll.mjs';
import { apiKey } from '../lib/node.mjs';
import { Raw } from '../lib/raw.mjs';
import { until, within } from '../lib/wait.mjs';

const options = { api_body_max: '256KiB', message_max: '64KiB' };
const rules = { 'room:*': { join: 'anyone', push: 'anyone' }, 'realtime:*': { join: 'anyone', push: 'anyone' } };
const node = await startNode({ after }, { options, rules });
// For bodies that never come whole. Elsewhere a busy machine may take its time for a request.
const hasty = await startNode({ after }, { options: { ...options, handshake_ms: 1000 }, rules });

async function send(t, port, line, lines = [], body = '') {
  const raw = await Raw.open(port);
  t.after(() => raw.close());
  raw.send(`${line} HTTP/1.1\r\n${['Host: localhost', ...lines].join('\r\n')}\r\n\r\n${body}`);
  return raw;
}
// What is wrong, as the path says it: of the API, of Supabase's, of LongPoll.
function errorOf({ body }) {
  const said = JSON.parse(body);
  const error = typeof said.error === 'string' ? said : said.error;
  return { code: error.code, status: said.status };
}
async function refused(t, port, line, lines, status, code) {
  const raw = await send(t, port, line, lines);
  const [answer] = await answersOf(raw);
  const what = `${line} ${lines.join(', ')}: ${raw.text}`;
  assert.equal(answer?.status, status, what);
  assert.equal(answer.headers.connection, 'close', what);
  assert.equal(errorOf(answer).code, code, what);
  assert.equal((await answersOf(raw)).length, 1, what);
  await within(5000, 'the connection ends', raw.closed);
}

const json = 'Content-Type: application/json';
const websocket = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
// Paths of the public listener that take none: [line, headers, status, code].
const takeNone = [
  ['POST /', [], 404, 'not_found'],
  ['POST /nowhere', [], 404, 'not_found'],
  ['PUT /nowhere', [], 404, 'not_found'],
  ['DELETE /nowhere', [], 404, 'not_found'],
  ['POST /socket/websocket', [], 404, 'not_found'],
  ['POST /api/publish', [`Authorization: Bearer ${apiKey}`], 404, 'not_found'],
  ['GET /socket/websocket?vsn=2.0.0', websocket, 400, 'bad_upgrade'],
  ['POST /socket/websocket?vsn=2.0.0', websocket, 400, 'bad_upgrade'],
  ['POST /healthz', [], 405, 'method_not_allowed'],
  ['GET /healthz', [], 413, 'too_large'],
  ['GET /readyz', [], 413, 'too_large'],
  ['POST /sse?topic=room:a', [], 405, 'method_not_allowed'],
  ['PUT /sse?topic=room:a', [], 405, 'method_not_allowed'],
  ['GET /sse?topic=room:a', [], 413, 'too_large'],
  ['GET /socket/longpoll?vsn=2.0.0', [], 413, 'too_large'],
  ['PUT /socket/longpoll?vsn=2.0.0', [], 405, 'method_not_allowed'],
  ['POST /socket/longpoll?vsn=2.0.0', [], 200, 'not_found'], // there is no session; LongPoll's own status says so
  ['POST /socket/longpoll?vsn=2.0.0', ['Origin: https://evil.example'], 403, 'bad_origin'],
  ['POST /realtime/v1/longpoll?vsn=2.0.0', [], 200, 'not_found'],
  ['GET /api/broadcast', [], 405, 'method_not_allowed'],
  ['POST /api/broadcast', [json, 'Origin: https://evil.example'], 403, 'bad_origin'],
];

for (const [how, length] of [['a length', 'Content-Length: 262144'], ['chunks', 'Transfer-Encoding: chunked'], ['all the memory there is', 'Content-Length: 99999999999999999']]) {
  test(`where_a_path_takes_no_body_one_of_${how.replaceAll(' ', '_')}_is_refused_by_its_head`, async (t) => {
    for (const [line, lines, status, code] of takeNone) await refused(t, node.port, line, [...lines, length], status, code);
  });
}

describe('paths that take one', () => {
  test('take_no_more_than_their_own_limit', async (t) => {
    for (const base of ['', '/realtime/v1']) {
      await refused(t, node.port, `POST ${base}/api/broadcast`, [json, 'Content-Length: 262145'], 422, 'too_large');
      await refused(t, node.port, `POST ${base}/api/broadcast/a/events/b`, [json, `Content-Length: ${(64 << 10) + 1025}`], 422, 'too_large');
    }
    const { token } = await Poller.to(node).open();
    const most = Math.floor(((1 << 20) + (64 << 10)) / 3) * 4 + 400;
    await refused(t, node.port, `POST /socket/longpoll?vsn=2.0.0&token=${token}`, [`Content-Length: ${most + 1}`], 200, 'too_large');
    const key = `Authorization: Bearer ${apiKey}`;
    await refused(t, node.apiPort, 'POST /api/publish', [json, key, 'Content-Length: 262145'], 413, 'too_large');
  });

  test('take_none_of_unknown_length', async (t) => {
    const { token } = await Poller.to(node).open();
    for (const lines of [['Transfer-Encoding: chunked'], ['Transfer-Encoding: gzip, chunked'], []]) {
      for (const [line, said] of [['POST /api/broadcast', undefined], [`POST /socket/longpoll?vsn=2.0.0&token=${token}`, 400]]) {
        const raw = await send(t, node.port, line, [json, ...lines]);
        const [answer] = await answersOf(raw);
        assert.deepEqual([answer.status, errorOf(answer)], [411, { code: 'length_required', status: said }], raw.text);
        if (lines.length) await within(5000, 'the connection ends, its rest can not be read', raw.closed);
      }
    }
  });

  test('are_as_open_as_before_their_body_as_after_it', async (t) => {
    await refused(t, node.apiPort, 'POST /api/publish', [json, 'Content-Length: 200000'], 401, 'unauthorized');
    await refused(t, node.apiPort, 'POST /api/publish', [json, 'Authorization: Bearer wrong', 'Content-Length: 200000'], 401, 'unauthorized');
    await refused(t, node.apiPort, 'PUT /api/publish', [`Authorization: Bearer ${apiKey}`, 'Content-Length: 200000'], 405, 'method_not_allowed');
    await refused(t, node.apiPort, 'DELETE /api/topics/room%3Aa/history', [`Authorization: Bearer ${apiKey}`, 'Content-Length: 1'], 413, 'too_large');
  });

  test('wait_for_it_no_longer_than_handshake_ms_however_it_comes', async (t) => {
    const { token } = await until('a session', () => Poller.to(hasty).open());
    for (const line of ['POST /api/broadcast', `POST /socket/longpoll?vsn=2.0.0&token=${token}`]) {
      // A connection whose request did not even begin in that time is closed without an answer, on a busy machine.
      const refusedLate = (how, length, first, more) => until(how, async () => {
        const raw = await send(t, hasty.port, line, [json, `Content-Length: ${length}`], first);
        const dripping = setInterval(() => more && raw.send(more), 50);
        t.after(() => clearInterval(dripping));
        const [answer] = await answersOf(raw, 1, 10_000);
        clearInterval(dripping);
        await within(10_000, 'it ends', raw.closed);
        if (answer) assert.equal(answer.status, 408, raw.text);
        return answer;
      }, 30_000);
      await refusedLate('it stops', 100, '[');
      await refusedLate('it drips', 100_000, '', ' ');
    }
  });

  test('a_request_behind_a_body_that_was_read_is_served_and_what_stands_behind_one_that_was_not_is_none', async (t) => {
    const message = '{"messages":[{"topic":"a","event":"e","payload":{}}]}';
    const alive = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n';
    const good = await send(t, node.port, 'POST /api/broadcast', [json, `Content-Length: ${message.length}`], message + alive);
    assert.deepEqual((await answersOf(good, 2)).map(({ status }) => status), [202, 200]);
    // Where nobody takes it, it is passed over if it came with the head, and else never looked at.
    const there = await send(t, node.port, 'POST /nowhere', [`Content-Length: ${alive.length}`], alive + alive);
    assert.deepEqual((await answersOf(there, 2)).map(({ status }) => status), [404, 200]);
    const bad = await send(t, node.port, 'POST /nowhere', [`Content-Length: ${alive.length + 1}`], alive);
    await answersOf(bad);
    bad.send(`x${alive}`);
    await within(5000, 'the connection ends', bad.closed);
    assert.equal((await answersOf(bad, 2)).length, 1, 'its body is no request, and neither is what follows');
  });

  test('an_empty_body_is_none', async (t) => {
    for (const [line, status] of [['GET /healthz', 200], ['DELETE /healthz', 405], ['POST /nowhere', 404]]) {
      const raw = await send(t, node.port, line, ['Content-Length: 0'], 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
      assert.deepEqual((await answersOf(raw, 2)).map((answer) => answer.status), [status, 200]);
    }
  });
});
