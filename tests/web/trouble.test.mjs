// The client and nodes that do what a good node does not: they stand still, refuse, break off in the middle, or know less than the one before.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test } from 'node:test';
import { follow, openMesh as open, versions } from '../lib/fanmesh.mjs';
import { WebSocket } from '../lib/phoenix.mjs';
import { freePort } from '../lib/ports.mjs';
import { accept, scriptedNode } from '../lib/scripted_node.mjs';
import { until, within } from '../lib/wait.mjs';

// These nodes know nothing but WebSockets. (What comes where there are none: fallback.test.mjs.)
const openMesh = (t, urls, options) => open(t, urls, { transport: 'websocket', ...options });
const ids = (sub) => sub.got.map(({ id }) => id);
const topic = 'room:1';
const say = (node, ref, event = 'msg', payload = {}) => {
  for (const socket of node.sockets) socket.say(null, ref, topic, event, payload);
};
// Two nodes, the second of which accepts; the client begins at the first.
async function pair(t, first, { version, second = accept(), ...options } = {}) {
  const nodes = [await scriptedNode(t, first), await scriptedNode(t, { join: second })];
  return { nodes, mesh: openMesh(t, nodes.map(({ url }) => url), { version, ...options }) };
}

for (const version of Object.keys(versions)) {
  describe(version, () => {
    test('where_nobody_listens_the_next_url_is_tried', async (t) => {
      const good = await scriptedNode(t, { join: accept() });
      const mesh = openMesh(t, [`ws://127.0.0.1:${await freePort()}/socket`, good.url], { version });
      await follow(mesh, topic);
      assert.equal(mesh.url, good.url);
      assert.deepEqual(mesh.states.map(({ state }) => state), ['reconnecting', 'connecting', 'open']);
    });

    test('a_websocket_that_fails_without_a_close_event_is_as_good_as_closed', async (t) => {
      class Reticent extends WebSocket {
        addEventListener(name, listener) {
          if (name !== 'close') super.addEventListener(name, listener);
        }
      }
      const good = await scriptedNode(t, { join: accept() });
      const mesh = openMesh(t, [`ws://127.0.0.1:${await freePort()}/socket`, good.url], { version, WebSocket: Reticent });
      await follow(mesh, topic);
      assert.equal(mesh.states[0].reason, 'the connection failed');
    });

    test('a_host_that_takes_connections_and_says_nothing_is_given_up', async (t) => {
      const silent = net.createServer(() => {}).listen(0, '127.0.0.1');
      const open = new Set();
      silent.on('connection', (socket) => open.add(socket.on('error', () => {})));
      t.after(() => {
        for (const socket of open) socket.destroy();
        silent.close();
      });
      await once(silent, 'listening');
      const good = await scriptedNode(t, { join: accept() });
      const mesh = openMesh(t, [`ws://127.0.0.1:${silent.address().port}/socket`, good.url], { version, connectTimeoutMs: 200 });
      await follow(mesh, topic);
      assert.equal(mesh.url, good.url);
      assert.match(mesh.states[0].reason, /no connection within 200 ms/);
    });

    test('a_node_that_answers_no_join_is_left_after_two', async (t) => {
      const { nodes, mesh } = await pair(t, {}, { version, timeoutMs: 500 });
      await follow(mesh, topic);
      assert.equal(mesh.url, nodes[1].url);
      assert.equal(nodes[0].joins.length, 2);
    });

    test('a_node_that_answers_no_heartbeat_is_left', async (t) => {
      const { nodes, mesh } = await pair(t, { join: accept(['a-1']), heartbeat() {} }, { version, heartbeatMs: 300 });
      const sub = await follow(mesh, topic);
      await until('it has moved', () => sub.joins.length >= 2);
      assert.equal(sub.joins[1].url, nodes[1].url);
      assert.deepEqual(nodes[1].joins[0].payload.cursor, ['a-1']);
    });

    for (const reason of ['draining', 'not_ready']) {
      test(`a_join_or_push_that_is_refused_as_${reason}_goes_to_the_next_node`, async (t) => {
        const refuse = (socket, frame) => socket.reply(frame, 'error', { reason });
        const { nodes, mesh } = await pair(t, { join: refuse }, { version });
        const sub = await follow(mesh, topic);
        assert.equal(mesh.url, nodes[1].url);
        nodes[1].on.push = refuse;
        nodes[0].on = { join: accept(), push: (socket, frame) => socket.reply(frame, 'ok', { id: 'a-1' }) };
        assert.deepEqual(await sub.push('msg', {}), { id: 'a-1' });
        assert.equal(mesh.url, nodes[0].url);
      });
    }

    test('an_overloaded_node_is_asked_again', async (t) => {
      let asked = 0;
      const join = (socket, frame) => (++asked < 3 ? socket.reply(frame, 'error', { reason: 'overloaded' }) : accept()(socket, frame));
      const { nodes, mesh } = await pair(t, { join }, { version, random: () => 0 });
      await follow(mesh, topic);
      assert.equal(mesh.url, nodes[0].url);
    });

    for (const code of [1000, 1001, 1011, 1013]) {
      test(`after_the_close_code_${code}_it_connects_again`, async (t) => {
        const { nodes, mesh } = await pair(t, { join: accept() }, { version });
        const sub = await follow(mesh, topic);
        for (const socket of nodes[0].sockets) socket.close(code, 'a reason');
        await until('it has moved', () => sub.joins.length === 2);
        const { code: told, reason } = mesh.states.find(({ state }) => state === 'reconnecting');
        assert.deepEqual({ told, reason }, { told: code, reason: 'a reason' });
      });
    }

    test('a_node_that_drops_everybody_at_once_is_not_hammered', async (t) => {
      let opened = 0;
      const node = await scriptedNode(t, { open: (socket) => { opened++; socket.close(1012); } });
      const mesh = openMesh(t, node.url, { version, baseMs: 10, maxMs: 1000, random: () => 1 });
      await until('it has tried six times', () => opened >= 6);
      const delays = mesh.states.filter(({ state }) => state === 'reconnecting').map(({ delayMs }) => delayMs);
      assert.deepEqual(delays.slice(0, 6), [0, 20, 40, 80, 160, 320].slice(0, delays.length));
    });

    test('a_refused_join_ends_the_subscription_with_its_reason', async (t) => {
      const { mesh } = await pair(t, { join: (socket, frame) => socket.reply(frame, 'error', { reason: 'forbidden' }) }, { version });
      const refused = await within(5000, 'the refusal', new Promise((resolve) => {
        const sub = mesh.subscribe(topic, { onRefused: (error) => resolve({ error, sub }) });
      }));
      assert.equal(refused.error.reason, 'forbidden');
      assert.equal(refused.sub.state, 'refused');
      await assert.rejects(refused.sub.push('msg', {}), { reason: 'refused' });
      mesh.subscribe(topic).leave(); // the topic is free again
      mesh.subscribe(topic);
      await until('without onRefused it is an error of the mesh', () => mesh.errors.some(({ reason }) => reason === 'forbidden'));
    });

    test('a_server_that_is_not_fanmesh_is_told_as_one', async (t) => {
      const { mesh } = await pair(t, { join: (socket, frame) => socket.reply(frame, 'ok', {}) }, { version });
      const sub = mesh.subscribe(topic);
      await until('it is refused', () => sub.state === 'refused');
      assert.equal(mesh.errors[0].reason, 'no_cursor');
    });

    test('what_a_node_that_knows_less_gives_again_is_dropped', async (t) => {
      const again = [['a-2', 'msg', {}], ['a-3', 'msg', {}], ['a-4', 'msg', {}]];
      const { nodes, mesh } = await pair(t, { join: accept(['a-1']) }, { version, second: accept(['a-1'], { recovered: false, replay: again }) });
      const sub = await follow(mesh, topic);
      say(nodes[0], 'a-2');
      say(nodes[0], 'a-3');
      await until('both are there', () => sub.got.length === 2);
      mesh.reconnect();
      await until('the new one is there', () => ids(sub).includes('a-4'));
      assert.deepEqual(ids(sub), ['a-2', 'a-3', 'a-4']);
      assert.equal(mesh.counters.again, 2);
      assert.deepEqual(sub.cursor, ['a-4']);
    });

    test('a_double_by_key_is_dropped_and_passes_the_cursor', async (t) => {
      const { nodes, mesh } = await pair(t, { join: accept(['a-1']) }, { version });
      const sub = await follow(mesh, topic);
      say(nodes[0], 'a-2 0123456789ab');
      say(nodes[0], 'b-1 0123456789ab');
      say(nodes[0], 'b-2 other');
      await until('the last is there', () => ids(sub).includes('b-2'));
      assert.deepEqual(ids(sub), ['a-2', 'b-2']);
      assert.deepEqual(sub.cursor.toSorted(), ['a-2', 'b-2']);
      assert.equal(nodes[0].joins[0].payload.keys, true);
    });

    test('a_binary_message_is_given_with_its_id_and_not_at_all_if_the_connection_breaks_between', async (t) => {
      const bytes = (...payload) => Buffer.concat([Buffer.from([2, topic.length, 3]), Buffer.from(`${topic}msg`), Buffer.from(payload)]);
      const { nodes, mesh } = await pair(t, { join: accept(['a-1']) }, { version });
      const sub = await follow(mesh, topic);
      const [socket] = nodes[0].sockets;
      socket.send(bytes(1));
      socket.say(null, 'a-2 digest', topic, 'fm_id', {});
      say(nodes[0], 'a-3');
      socket.send(bytes(9)); // its id does not come any more
      await until('two are there', () => sub.got.length === 2);
      nodes[1].on.join = accept(['a-3'], { replay: [['a-4', 'msg', {}]] });
      socket.close(1001);
      await until('it has moved', () => sub.got.length === 3);
      assert.deepEqual(ids(sub), ['a-2', 'a-3', 'a-4']);
      assert.deepEqual([...new Uint8Array(sub.got[0].payload)], [1]);
      assert.deepEqual(nodes[1].joins[0].payload.cursor, ['a-3']);
    });

    test('a_gap_comes_before_the_message_behind_it_and_moves_the_cursor', async (t) => {
      const { nodes, mesh } = await pair(t, { join: accept(['a-1']) }, { version });
      const sub = await follow(mesh, topic);
      const gap = { reason: 'lost', origin: 'a', from: 2, to: 5, cursor: ['a-5', 'b-3'] };
      say(nodes[0], null, 'gap', gap);
      say(nodes[0], 'a-6');
      await until('both are there', () => sub.log.length === 3);
      assert.deepEqual(sub.log.slice(1).map((entry) => Object.keys(entry)[0]), ['gap', 'message']);
      assert.deepEqual(sub.gaps, [gap]);
      assert.deepEqual(sub.cursor.toSorted(), ['a-6', 'b-3']);
    });

    test('a_push_whose_answer_did_not_come_is_rejected_as_sent_and_one_that_waits_goes_to_the_next_node', async (t) => {
      const { nodes, mesh } = await pair(t, { join: accept() }, { version });
      const sub = await follow(mesh, topic);
      const pushed = new Promise((resolve) => (nodes[0].on.push = (socket) => resolve(socket.close(1001))));
      const lost = assert.rejects(sub.push('msg', {}), { name: 'FanmeshError', reason: 'disconnected', sent: true });
      nodes[1].on.push = (socket, frame) => socket.reply(frame, 'ok', { id: `b-${frame.payload.n}` });
      await pushed;
      await lost;
      assert.deepEqual(await sub.push('msg', { n: 2 }), { id: 'b-2' });
      nodes[1].on.push = () => {};
      await assert.rejects(sub.push('msg', {}, { timeoutMs: 50 }), { reason: 'timeout', sent: true });
      nodes[1].on.push = (socket, frame) => socket.reply(frame, 'error', { reason: 'too_large', limit: 7 });
      await assert.rejects(sub.push('msg', {}), { reason: 'too_large', sent: false, response: { reason: 'too_large', limit: 7 } });
    });

    test('what_comes_before_the_first_reply_belongs_to_an_earlier_subscription', async (t) => {
      const join = (socket, frame) => {
        socket.say(null, 'a-1', topic, 'msg', {});
        accept(['a-1'])(socket, frame);
        socket.say(null, 'a-2', topic, 'msg', {});
      };
      const { mesh } = await pair(t, { join }, { version });
      const sub = await follow(mesh, topic);
      await until('one is there', () => sub.got.length === 1);
      assert.deepEqual(ids(sub), ['a-2']);
    });
  });
}

test('pushes_beyond_the_limit_and_payloads_that_phoenix_would_change_are_refused', async (t) => {
  const { mesh } = await pair(t, { join: accept() });
  const sub = await follow(mesh, topic, { pushesMax: 1 });
  const first = assert.rejects(sub.push('msg', {}), { reason: 'left', sent: true });
  await assert.rejects(sub.push('msg', {}), { reason: 'too_many_pushes' });
  for (const payload of [null, 0, '', false]) await assert.rejects(sub.push('msg', payload), TypeError);
  sub.leave();
  await first;
  await assert.rejects(sub.push('msg', {}), { reason: 'left', sent: false });
});

test('a_topic_is_subscribed_to_once_at_a_time', async (t) => {
  const { mesh } = await pair(t, { join: accept() });
  const sub = await follow(mesh, topic);
  assert.throws(() => mesh.subscribe(topic), { reason: 'subscribed' });
  sub.leave();
  await follow(mesh, topic);
  await mesh.close();
  assert.throws(() => mesh.subscribe(topic), { reason: 'closed' });
});

test('a_callback_that_throws_is_an_error_and_the_next_message_comes', async (t) => {
  const { nodes, mesh } = await pair(t, { join: accept(['a-1']) });
  const got = [];
  await follow(mesh, topic, {
    onMessage: ({ id }) => {
      got.push(id);
      if (id === 'a-2') throw new Error('of the application');
    },
  });
  say(nodes[0], 'a-2');
  say(nodes[0], 'a-3');
  await until('both came', () => got.length === 2);
  assert.deepEqual(mesh.errors.map(({ message }) => message), ['of the application']);
});

test('messages_wait_while_the_state_is_loaded_and_the_load_is_tried_again', async (t) => {
  const { nodes, mesh } = await pair(t, { join: accept(['a-1']) }, { random: () => 0 });
  const loads = [];
  const sub = await follow(mesh, topic, { load: (request) => new Promise((resolve, reject) => loads.push({ request, resolve, reject })) });
  say(nodes[0], 'a-2');
  await until('it loads', () => loads.length === 1);
  assert.equal(sub.loading, true);
  loads[0].reject(new Error('no state today'));
  await until('it loads again', () => loads.length === 2);
  assert.deepEqual(loads.map(({ request }) => request), [{ reason: 'first', attempt: 1, topic }, { reason: 'first', attempt: 2, topic }]);
  assert.deepEqual(sub.got, []);
  say(nodes[0], null, 'gap', { reason: 'evicted', origin: 'a', from: 3, to: 5, cursor: ['a-5'] });
  say(nodes[0], 'a-6');
  await mesh.ping();
  assert.deepEqual(sub.cursor, ['a-1']); // what waits was not handed over
  loads[1].resolve();
  await until('the gap makes it load once more', () => loads.length === 3);
  assert.deepEqual(ids(sub), ['a-2']);
  assert.equal(loads[2].request.reason, 'evicted');
  say(nodes[0], null, 'gap', { reason: 'slow', origin: 'a', from: 7, to: 8, skipped: 2, cursor: ['a-8'] });
  loads[2].resolve();
  await until('the rest is there', () => sub.gaps.length === 2);
  assert.deepEqual(ids(sub), ['a-2', 'a-6']);
  assert.equal(sub.loading, false); // a slow gap needs no load
  assert.deepEqual(mesh.errors.map(({ message }) => message), ['no state today']);
});

test('what_waits_for_a_load_when_the_connection_breaks_is_given_again', async (t) => {
  const { nodes, mesh } = await pair(t, { join: accept(['a-1']) }, { second: accept(['a-1'], { replay: [['a-2', 'msg', {}], ['a-3', 'msg', {}]] }) });
  let loaded;
  const sub = await follow(mesh, topic, { load: () => new Promise((resolve) => (loaded = resolve)) });
  say(nodes[0], 'a-2');
  await mesh.ping();
  mesh.reconnect();
  await until('it has moved', () => sub.joins.length === 2);
  assert.deepEqual(nodes[1].joins[0].payload.cursor, ['a-1']);
  await mesh.ping();
  loaded();
  await until('both are there', () => sub.got.length === 2);
  assert.deepEqual(ids(sub), ['a-2', 'a-3']);
});

test('more_than_the_queue_holds_is_left_to_the_node_until_the_state_is_loaded', async (t) => {
  const node = await scriptedNode(t, { join: accept(['a-1']) });
  const mesh = openMesh(t, node.url);
  let loaded;
  const sub = await follow(mesh, topic, { queueMax: 3, load: () => new Promise((resolve) => (loaded = resolve)) });
  for (let n = 2; n < 10; n++) say(node, `a-${n}`);
  await mesh.ping();
  node.on.join = accept(['a-1'], { replay: Array.from({ length: 8 }, (_, i) => [`a-${i + 2}`, 'msg', {}]) });
  loaded();
  await until('all are there', () => sub.got.length === 8);
  assert.deepEqual(node.joins.map(({ payload }) => payload.cursor), [[], ['a-1']]);
});

test('the_first_join_asks_for_the_last_messages_and_later_ones_do_not', async (t) => {
  const { nodes, mesh } = await pair(t, { join: accept(['a-1']) });
  const sub = await follow(mesh, topic, { last: 5, params: () => ({ token: 'x' }) });
  mesh.reconnect();
  await until('it has moved', () => sub.joins.length === 2);
  assert.deepEqual(nodes[0].joins[0].payload, { token: 'x', cursor: [], keys: true, last: 5 });
  assert.deepEqual(nodes[1].joins[0].payload, { token: 'x', cursor: ['a-1'], keys: true });
});

test('params_of_the_connection_are_asked_for_at_every_connect', async (t) => {
  let n = 0;
  const { mesh } = await pair(t, { join: accept() }, { params: () => ({ token: ++n }) });
  const sub = await follow(mesh, topic);
  const before = n;
  mesh.reconnect();
  await until('it has moved', () => sub.joins.length === 2);
  assert.ok(n > before);
});

test('without_a_websocket_it_says_so', () => {
  const { Fanmesh } = versions['phoenix 1.8'];
  const own = globalThis.WebSocket;
  try {
    globalThis.WebSocket = undefined;
    assert.throws(() => new Fanmesh('ws://127.0.0.1:1/socket'), /give one in the option WebSocket/);
  } finally {
    globalThis.WebSocket = own;
  }
});
