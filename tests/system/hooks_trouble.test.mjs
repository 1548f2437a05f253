// A backend of hooks that breaks off, never ends, speaks something else, or sends elsewhere: whoever asked is told what it came to, and others, on
// the same node and asking the same backend, are served all the while. And no more is put to a backend at once than it is to bear.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Backend, gate, hookSecret } from '../lib/backend.mjs';
import { allow, BrokenBackend, statuses, troubles } from '../lib/broken_backend.mjs';
import { startNode } from '../lib/cluster.mjs';
import { connect as open, disconnectAll, join, push, settled, WebSocket } from '../lib/phoenix.mjs';
import { attempt } from '../lib/tokens.mjs';
import { patience, until } from '../lib/wait.mjs';

const rules = {
  'ask:*': { join: 'hook', push: 'hook' },
  'pushes:*': { join: 'anyone', push: 'hook' },
  'room:*': { join: 'anyone', push: 'anyone', history_count: 1000 },
};
const optionsOf = (backend, more = {}) => ({
  hook_url: backend.url, hook_secret: hookSecret, hook_open_after: 0, hook_retries: 1, hook_concurrency: 200, hook_timeout_ms: 10_000 * patience, ...more,
});
// The client waits for longer than the node waits for the backend.
const connect = (node, options) => open(node, { timeout: 60_000, ...options });
after(disconnectAll);

// As long as `work` runs: pushes and publishes on a topic that asks nobody, and pushes on one about which the same backend is asked. Resolves to
// what work does.
async function beside(node, work) {
  const free = await join(await connect(node), 'room:free');
  const asked = await join(await connect(node), 'pushes:well');
  let over = false, n = 0;
  const done = work().finally(() => (over = true));
  for (; !over || n < 20; n++) {
    const [one, other] = await Promise.all([push(free, 'msg', { n }), push(asked, 'msg', { n }), node.publish({ topic: 'room:free', event: 'msg', payload: { n } })]);
    assert.deepEqual([one.status, other.status], ['ok', 'ok'], JSON.stringify([one, other]));
  }
  await until('all that others were sent is there', () => free.got.length === 2 * n && asked.got.length === n);
  assert.deepEqual(asked.got.map(({ payload }) => payload.n), Array.from({ length: n }, (_, i) => i));
  return done;
}

const names = Object.keys(troubles);
const caseOf = ({ topic = '', client }) => new URLSearchParams(client.query).get('case') ?? topic.slice(topic.indexOf(':') + 1);

test('whatever_a_backend_does_to_joins_and_pushes_others_are_served_and_who_asked_is_told', async (t) => {
  const elsewhere = await Backend.start(t);
  const backend = await BrokenBackend.start(t, (body) => (names.includes(caseOf(body)) ? caseOf(body) : allow));
  backend.elsewhere = elsewhere.url;
  const node = await startNode(t, { rules, options: optionsOf(backend, { workers: 1 }) });
  const socket = await connect(node);
  const channels = await Promise.all(names.map((name) => join(socket, `pushes:${name}`)));
  const began = Date.now();
  const reasons = await beside(node, () =>
    Promise.all(names.map(async (name, i) => {
      const joining = socket.channel(`ask:${name}`);
      const answers = await Promise.all([push(channels[i], 'msg', name), settled(joining.join()).finally(() => joining.leave())]);
      return [name, ...answers.map(({ status, response }) => (status === 'error' ? response.reason : status))];
    })),
  );
  assert.deepEqual(reasons, names.map((name) => [name, troubles[name].reason, troubles[name].reason]));
  assert.ok(channels.every(({ got }) => got.length === 0), 'nothing of it was broadcast');
  assert.equal(elsewhere.asks.length, 0, 'nobody is sent elsewhere');
  assert.ok(node.loggedSeldom('hook_answer_bad', began), 'not a line for each');
  // What left the node is not put again, but where a kept connection was closed in that moment, by the same id.
  for (const name of names) assert.ok(backend.asks.filter((ask) => caseOf(ask) === name && ask.event === 'push').every(({ id }, _, all) => id === all[0].id), name);
  backend.trouble = () => allow;
  for (const channel of channels) assert.equal((await push(channel, 'msg', 1)).status, 'ok');
  assert.equal(await node.metric('fanmesh_handler_waiting'), 0);
  await until('nothing is left under way', async () => (await node.metric('fanmesh_hook_under_way')) + (await node.metric('fanmesh_hook_waiting')) === 0);
});

test('whatever_it_does_to_who_connects_those_who_are_there_are_served', async (t) => {
  const backend = await BrokenBackend.start(t, (body) => (names.includes(caseOf(body)) ? caseOf(body) : allow));
  backend.elsewhere = 'http://127.0.0.1:1/';
  const node = await startNode(t, { rules, options: optionsOf(backend, { hook_connect: true, workers: 1 }) });
  const answers = await beside(node, () =>
    Promise.all(names.map(async (name) => {
      const { socket, status, code } = await attempt(WebSocket, `${node.ws}/websocket?vsn=2.0.0&case=${encodeURIComponent(name)}`);
      socket?.terminate();
      return [name, status, code];
    })),
  );
  assert.deepEqual(answers, names.map((name) => [name, statuses[troubles[name].reason], troubles[name].reason]));
});

test('what_it_is_to_be_told_comes_again_after_each_of_them_and_is_lost_by_none', async (t) => {
  const broken = names.filter((name) => !['bad_answer'].includes(troubles[name].reason));
  let trouble;
  const backend = await BrokenBackend.start(t, (body) => (Array.isArray(body) && trouble ? trouble : allow));
  const node = await startNode(t, { rules, options: optionsOf(backend, { hook_events: 'connect', hook_batch_ms: 0, hook_timeout_ms: 300 * patience }) });
  for (const [i, name] of broken.entries()) {
    trouble = name;
    const before = backend.asks.length;
    const socket = new WebSocket(`${node.ws}/websocket?vsn=2.0.0`);
    t.after(() => socket.terminate());
    await until(`it was told, and again: ${name}`, () => backend.asks.length >= before + 2);
    trouble = undefined;
    await until(`it confirmed: ${name}`, async () => (await node.metric('fanmesh_hook_told_total')) === i + 1);
  }
  const ids = backend.asks.flat().map(({ id }) => id);
  assert.equal(new Set(ids).size, broken.length);
  assert.equal(await node.metric('fanmesh_hook_dropped_total'), 0);
});

test('what_follows_an_answer_on_its_connection_is_not_taken_for_the_next_one', async (t) => {
  const answer = (text) => `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
  troubles['answers twice'] = { does: (socket) => socket.write(answer('{"allow":false,"reason":"first"}') + answer(allow)) };
  t.after(() => delete troubles['answers twice']);
  const backend = await BrokenBackend.start(t, ({ payload }) => (payload === 1 ? 'answers twice' : '{"allow":false,"reason":"second"}'));
  const node = await startNode(t, { rules, options: optionsOf(backend) });
  const channel = await join(await connect(node), 'pushes:1');
  for (let i = 0; i < 10; i++) {
    assert.equal((await push(channel, 'msg', 1)).response.reason, 'first');
    assert.equal((await push(channel, 'msg', 2)).response.reason, 'second');
  }
  assert.equal(channel.got.length, 0);
});

test('no_more_is_put_at_once_than_hook_concurrency_says_and_the_rest_has_its_turn', async (t) => {
  const backend = await Backend.start(t);
  const held = gate();
  let under = 0, most = 0;
  backend.answer = async () => {
    most = Math.max(most, ++under);
    await held.promise;
    under--;
    return { allow: true };
  };
  const node = await startNode(t, { rules, options: optionsOf(backend, { hook_concurrency: 3, hook_timeout_ms: '60s' }) });
  const socket = await connect(node);
  const channels = await Promise.all(Array.from({ length: 10 }, (_, i) => join(socket, `pushes:${i}`)));
  const answers = channels.map((channel) => push(channel, 'msg', 1));
  await until('three are under way and seven wait', async () => (await node.metric('fanmesh_hook_under_way')) === 3 && (await node.metric('fanmesh_hook_waiting')) === 7);
  await until('the backend has three', () => backend.asks.length === 3);
  held.open();
  for (const { status } of await Promise.all(answers)) assert.equal(status, 'ok');
  assert.deepEqual([backend.asks.length, most], [10, 3]);
});

test('many_are_told_of_in_one_request_but_no_more_than_hook_batch', async (t) => {
  const backend = await Backend.start(t);
  const held = gate();
  backend.tell = () => held.promise.then(() => ({}));
  const node = await startNode(t, { rules, options: optionsOf(backend, { hook_events: 'join', hook_batch: 7, hook_batch_ms: 0, hook_timeout_ms: '60s' }) });
  const socket = await connect(node);
  for (let i = 0; i < 30; i++) await join(socket, `room:${i}`);
  await until('the first is under way', () => backend.batches.length === 1);
  held.open();
  await until('all are told', () => backend.told.length === 30);
  assert.deepEqual(backend.told.map(({ topic }) => topic), Array.from({ length: 30 }, (_, i) => `room:${i}`));
  const sizes = backend.batches.map((batch) => batch.length);
  assert.ok(sizes.slice(1, -1).every((size) => size === 7) && sizes.every((size) => size <= 7), sizes.join());
});
