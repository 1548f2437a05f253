// fanmesh-load speaks other protocols than fanmesh's, so that it drives what fanmesh is compared with, and judges it as strictly.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { load, urlsOf, verdict } from '../lib/load.mjs';
import { startEventSource, startWebSocket } from '../lib/talkers.mjs';

const small = { connections: 40, topics: 4, messages: 200, window: 4, settle_ms: '20s' }; // which is over when all is there
const text = { framing: 'websocket', join_text: '+{topic}', push_text: '{topic}={payload}' };

function good({ code, result, errors }, deliveries) {
  assert.equal(code, verdict.good, errors + JSON.stringify(result));
  assert.equal(result.tally.deliveries, deliveries, JSON.stringify(result));
  assert.equal(result.published.acked, result.published.sent);
}

test('plain WebSocket clients join and publish by texts, several topics each, or by their URL', async (t) => {
  const server = await startWebSocket(t);
  good(await load({ ...small, ...text, nodes: server.ws }), 200 * 10);
  good(await load({ ...small, ...text, nodes: server.ws, topics_per_connection: 3 }), 200 * 30);
  good(await load({ ...small, framing: 'websocket', nodes: `${server.ws}/{topic}` }), 200 * 10);
});

test('clients that only publish do it on nodes of their own', async (t) => {
  const server = await startWebSocket(t);
  good(await load({ ...small, ...text, nodes: server.ws, publish_to: server.ws }), 200 * 10);
});

test('EventSource clients listen, chunked or not, to what is posted', async (t) => {
  for (const chunked of [true, false]) {
    const server = await startEventSource(t, { chunked });
    good(await load({ ...small, framing: 'sse', nodes: `${server.http}/sub/{topic}`, api: `${server.http}/pub/{topic}` }), 200 * 10);
  }
});

for (const [fault, mistake] of [['dropEvery', 'missing'], ['doubleEvery', 'doubled'], ['crossEvery', 'strange']]) {
  test(`without ids and answers too, ${fault} makes it fail with ${mistake}`, async (t) => {
    const every = mistake === 'missing' ? 2000 : 500; // each that is missing is waited for
    const faults = { [fault]: every };
    const server = await startWebSocket(t, { faults });
    const events = await startEventSource(t, { faults });
    const per = mistake === 'strange' ? 30 : 1;
    const runs = [
      [{ ...text, nodes: server.ws, topics_per_connection: 3 }, (6000 / every) * per],
      [{ framing: 'sse', nodes: `${events.http}/sub/{topic}`, api: `${events.http}/pub/{topic}` }, (2000 / every) * (mistake === 'strange' ? 10 : 1)],
    ];
    for (const [options, want] of runs) {
      const { code, result } = await load({ ...small, ...options, window: 1, settle_ms: '2s' });
      assert.equal(code, verdict.broken, JSON.stringify(result));
      const found = result.tally[mistake] + (mistake === 'strange' ? result.tally.malformed : 0);
      assert.ok(Math.abs(found - want) <= (mistake === 'strange' ? want : 1), JSON.stringify(result.tally));
    }
  });
}

test('a Phoenix client joins several topics, and in a room every member speaks', async (t) => {
  const { nodes } = urlsOf((await startCluster(t, 2)).nodes);
  good(await load({ ...small, nodes, topics: 20, topics_per_connection: 5 }), 200 * 10);
  good(await load({ nodes, rooms: 6, members: 5, every_ms: '100ms', messages: 300, settle_ms: '20s' }), 300 * 5);
});

test('what no client of a framing can do is said before anything is tried', async () => {
  const nodes = 'ws://127.0.0.1:9';
  for (const [options, sentence] of [
    [{ framing: 'sse', nodes: 'http://127.0.0.1:9/{topic}' }, /--framing: clients of sse only listen: publish with --api/],
    [{ framing: 'sse', nodes: 'http://127.0.0.1:9', api: 'http://127.0.0.1:9' }, /has no path/],
    [{ framing: 'websocket', nodes, topics: 2 }, /--topics: clients don't say which one they want/],
    [{ framing: 'nats', nodes: `${nodes}/{topic}`, topics: 2, topics_per_connection: 2 }, /the topic in the URL of --nodes is the only one/],
    [{ nodes, topics_per_connection: 2 }, /--topics-per-connection: there are only 1 topics/],
    [{ nodes, publish_to: nodes }, /--publish-to: goes with/],
    [{ nodes, framing: 'nats', keyed_percent: 1, api: 'http://127.0.0.1:9' }, /--keyed-percent: two copies/],
    [{ nodes, ack: 'replicated', api: 'http://127.0.0.1:9/{topic}' }, /--ack: only fanmesh's API/],
    [{ nodes, rooms: 3, messages: 0 }, /--rooms: give --messages or --duration-ms/],
    [{ nodes, rooms: 3, api: 'http://127.0.0.1:9' }, /--rooms: its members push/],
    [{ nodes, join_text: 'x' }, /--framing: phoenix has texts of its own/],
    [{ nodes, framing: 'mqtt', plain: true }, /--plain: only phoenix/],
    [{ nodes, framing: 'stomp' }, /framing takes phoenix\|websocket/],
  ]) {
    const { code, result, errors } = await load(options);
    assert.equal(code, verdict.unusable, errors);
    assert.equal(result, null);
    assert.match(errors, sentence);
  }
});
