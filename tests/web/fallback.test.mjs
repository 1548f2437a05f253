// The client where WebSockets don't come through: it goes on by LongPoll, and nothing is lost by the change.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Spread, Unaware } from '../lib/balancer.mjs';
import { Blocking } from '../lib/blocking.mjs';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { follow, openMesh } from '../lib/fanmesh.mjs';
import { freePort } from '../lib/ports.mjs';
import { checkComplete, publishing } from '../lib/publishing.mjs';
import { scriptedNode } from '../lib/scripted_node.mjs';
import { until } from '../lib/wait.mjs';

const topic = 'room:fallback';
const complete = (sub, n, who) => checkComplete(() => sub.got.map(({ id, payload }) => ({ id, n: payload.n })), n, who);
const patient = { fallbackMs: 60_000 }; // a WebSocket that is only slow is no reason to fall back
const transportsOf = (mesh) => mesh.states.filter(({ state }) => state === 'open').map(({ transport }) => transport);

// sessionStorage, which Node has none of.
function session(t) {
  const kept = new Map();
  const before = Object.getOwnPropertyDescriptor(globalThis, 'sessionStorage');
  const value = { getItem: (key) => kept.get(key) ?? null, setItem: (key, item) => kept.set(key, item) };
  Object.defineProperty(globalThis, 'sessionStorage', { value, configurable: true });
  t.after(() => (before ? Object.defineProperty(globalThis, 'sessionStorage', before) : delete globalThis.sessionStorage));
  return kept;
}

// The first node that has sessions, while messages come; then somebody has come back, and more are published.
async function killPolled(nodes, subs, publisher) {
  const sessions = await Promise.all(nodes.map((node) => node.metric('fanmesh_longpoll_sessions')));
  await nodes[sessions.findIndex((n) => n > 0)].kill();
  await until('somebody had to come back', () => subs.some(({ joins }) => joins.length > 1), 60_000);
  const then = publisher.n;
  await until('more have come', () => publisher.n >= then + 20);
}

async function missedNothing(subs, publisher) {
  const n = await publisher.stop();
  for (const [i, sub] of subs.entries()) await complete(sub, n, `client ${i + 1}`);
  assert.deepEqual(subs.flatMap(({ gaps }) => gaps), []);
}

for (const mode of ['refuse', 'dangle', 'swallow']) {
  test(`where_a_proxy_lets_WebSockets_${mode}_it_goes_on_by_LongPoll_and_the_session_remembers`, async (t) => {
    const kept = session(t);
    const node = await startNode(t);
    const proxy = await Blocking.start(t, node, mode);
    const mesh = openMesh(t, proxy.url, { fallbackMs: 300 });
    const sub = await follow(mesh, topic);
    const { id } = await sub.push('msg', { n: 0 });
    const other = await node.publish({ topic, event: 'msg', payload: { n: 1 } });
    await until('both are there', () => sub.got.length === 2);
    assert.deepEqual(sub.got.map((message) => message.id), [id, other]);
    assert.equal(mesh.transport, 'longpoll');
    assert.equal(mesh.counters.fallbacks, 1);
    assert.equal(proxy.asked, 1);
    assert.equal(kept.size, 1);
    mesh.reconnect();
    await until('it is back', () => sub.joins.length === 2);
    const next = openMesh(t, proxy.url);
    await follow(next, topic);
    assert.deepEqual(transportsOf(next), ['longpoll']);
    assert.equal(proxy.asked, 1, 'nobody asks for a WebSocket any more');
    const elsewhere = openMesh(t, node.ws, patient);
    await follow(elsewhere, topic);
    assert.deepEqual(transportsOf(elsewhere), ['websocket'], 'other nodes are another matter');
  });
}

test('messages_in_bytes_are_bytes_over_LongPoll_too', async (t) => {
  const node = await startNode(t);
  const mesh = openMesh(t, node.ws, { transport: 'longpoll' });
  const sub = await follow(mesh, topic);
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const first = await sub.push('msg', bytes);
  const second = await sub.push('msg', { base64: 'AAAA' });
  await until('both are there', () => sub.got.length === 2);
  assert.deepEqual(sub.got.map(({ id }) => id), [first.id, second.id]);
  assert.ok(sub.got[0].payload instanceof ArrayBuffer);
  assert.deepEqual(new Uint8Array(sub.got[0].payload), bytes);
  assert.deepEqual(sub.got[1].payload, { base64: 'AAAA' }, 'an object of the application stays one');
});

test('nothing_is_lost_or_doubled_by_changes_of_what_carries_the_connection', async (t) => {
  const { nodes } = await startCluster(t, 2);
  const proxy = await Blocking.start(t, nodes[0], 'pass');
  const mesh = openMesh(t, proxy.url, patient);
  const sub = await follow(mesh, topic);
  await until('a WebSocket has answered', () => mesh.ping().then(() => true));
  const publisher = publishing(nodes, topic);
  const more = async () => {
    const then = publisher.n;
    await until('more have come', () => publisher.n >= then + 10 && sub.got.length >= then);
  };
  await more();
  for (const [mode, transport] of [['refuse', 'longpoll'], ['pass', 'websocket'], ['refuse', 'longpoll'], ['pass', 'websocket']]) {
    proxy.mode = mode;
    proxy.cut();
    await until(`it has come back by ${transport}`, () => mesh.transport === transport && sub.state === 'joined', 30_000);
    await more();
  }
  await complete(sub, await publisher.stop(), 'the client');
  assert.deepEqual(sub.gaps, []);
  assert.deepEqual(sub.joins.filter(({ recovered }) => !recovered), []);
  assert.equal(mesh.counters.fallbacks, 2);
});

test('where_WebSockets_came_through_a_dead_node_is_no_reason_to_fall_back_before_the_others_were_tried', async (t) => {
  const cluster = await startCluster(t, 2);
  const mesh = openMesh(t, cluster.nodes.map(({ ws }) => ws), patient);
  const sub = await follow(mesh, topic);
  await mesh.ping();
  await cluster.nodes[0].kill();
  await until('it has moved', () => sub.joins.length === 2);
  assert.deepEqual(mesh.states.map(({ transport }) => transport).filter((transport) => transport !== 'websocket'), []);
});

test('where_nobody_answers_at_a_node_by_either_the_next_one_is_tried_by_WebSocket', async (t) => {
  const node = await startNode(t);
  const mesh = openMesh(t, [`ws://127.0.0.1:${await freePort()}/socket`, node.ws], patient);
  await follow(mesh, topic);
  assert.deepEqual(mesh.states.map(({ state, transport }) => `${state} ${transport}`), [
    'connecting longpoll', 'reconnecting websocket', 'connecting websocket', 'open websocket',
  ]);
  assert.equal(mesh.counters.fallbacks, 0);
});

test('it_can_be_forbidden_or_the_only_one', async (t) => {
  const node = await startNode(t);
  const proxy = await Blocking.start(t, node, 'refuse');
  const forbidden = openMesh(t, [proxy.url, node.ws], { transport: 'websocket' });
  await follow(forbidden, topic);
  assert.equal(forbidden.url, node.ws);
  const asked = proxy.asked;
  const only = openMesh(t, proxy.url, { transport: 'longpoll', WebSocket: undefined });
  await follow(only, topic);
  assert.equal(proxy.asked, asked);
  assert.equal(only.counters.fallbacks, 0, 'it was asked for');
  assert.throws(() => openMesh(t, node.ws, { transport: 'carrier pigeons' }), /one of auto, websocket, longpoll/);
});

test('without_anything_to_poll_with_phoenix_1_7_keeps_to_WebSockets_and_says_so_where_it_may_not', async (t) => {
  const good = await scriptedNode(t, { join: (socket, frame) => socket.reply(frame, 'ok', { cursor: [], recovered: true, replayed: 0 }) });
  const mesh = openMesh(t, [`ws://127.0.0.1:${await freePort()}/socket`, good.url], { version: 'phoenix 1.7' });
  await follow(mesh, topic);
  assert.ok(mesh.states.every(({ transport }) => transport === 'websocket'));
  assert.throws(() => openMesh(t, good.url, { version: 'phoenix 1.7', transport: 'longpoll' }), /XMLHttpRequest/);
});

describe('with three nodes behind HAProxy, which takes no WebSockets', () => {
  test('clients_go_on_by_LongPoll_miss_nothing_and_lose_no_push_when_a_node_is_killed', async (t) => {
    const { nodes } = await startCluster(t, 3, { options: Spread.options });
    const balancer = await Spread.start(t, nodes, { webSockets: false });
    const meshes = Array.from({ length: 6 }, () => openMesh(t, balancer.url));
    const subs = await Promise.all(meshes.map((mesh) => follow(mesh, topic)));
    const publisher = publishing(nodes, topic);
    // What each client pushes meanwhile on a topic of its own, and which of it the node has taken.
    const said = await Promise.all(meshes.map(async (mesh, i) => ({ taken: [], sub: await follow(mesh, `room:said-${i}`) })));
    let saying = true;
    const talks = said.map(async ({ taken, sub }) => {
      for (let n = 0; saying; n++) {
        await sub.push('msg', { n }).then(({ id }) => taken.push(id), (error) => assert.ok(error.sent || error.reason === 'timeout', error));
      }
    });
    await until('some have come', () => subs.every(({ got }) => got.length >= 10));
    await killPolled(nodes, subs, publisher);
    const before = said.map(({ taken }) => taken.length);
    await until('each can push again', () => said.every(({ taken }, i) => taken.length > before[i]), 60_000);
    saying = false;
    await Promise.all(talks);
    await missedNothing(subs, publisher);
    for (const { taken, sub } of said) {
      const has = () => new Set(sub.got.map(({ id }) => id));
      await until('what was taken has come', () => { const ids = has(); return taken.every((id) => ids.has(id)); });
      assert.equal(has().size, sub.got.length, 'once');
    }
    assert.ok(meshes.every(({ transport }) => transport === 'longpoll'));
  });
});

for (const how of ['refuse', 'strip']) {
  test(`behind_nginx_that_is_set_to_${how}_WebSockets_clients_go_on_by_LongPoll_and_miss_nothing_when_a_node_is_killed`, async (t) => {
    const { nodes } = await startCluster(t, 3, { options: Unaware.options });
    const balancer = await Unaware.start(t, nodes, how);
    const meshes = Array.from({ length: 4 }, () => openMesh(t, balancer.url));
    const subs = await Promise.all(meshes.map((mesh) => follow(mesh, topic)));
    assert.ok(meshes.every(({ transport, counters }) => transport === 'longpoll' && counters.fallbacks > 0));
    const publisher = publishing(nodes, topic);
    await until('some have come', () => subs.every(({ got }) => got.length >= 10));
    await killPolled(nodes, subs, publisher);
    for (let i = 0; i < 12; i++) {
      const answer = await fetch(`${balancer.url.replace('ws:', 'http:')}/longpoll?vsn=2.0.0&token=of-nobody`, { method: 'POST', body: '[]' });
      assert.equal((await answer.json()).status, 410, 'a POST that the dead node was to get is answered by another one');
    }
    await missedNothing(subs, publisher);
    assert.ok(meshes.every(({ transport }) => transport === 'longpoll'));
  });
}
