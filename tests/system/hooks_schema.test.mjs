// docs/hooks.schema.json: held against what a real node sends, member by member, and against which answers it takes and which it doesn't.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Backend, hookSecret } from '../lib/backend.mjs';
import { sharedCluster } from '../lib/cluster.mjs';
import { isAnswer, isRequest } from '../lib/hook_schema.mjs';
import { connect, disconnectAll, join, leave, push, settled, WebSocket } from '../lib/phoenix.mjs';
import { snippets } from '../lib/snippets.mjs';
import { attempt, secret, token } from '../lib/tokens.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);
const backend = await Backend.start();
after(() => backend.close());
const { nodes } = await sharedCluster(1, {
  rules: { 'ask:*': { join: 'hook', push: 'hook', presence: 'hook' } },
  options: {
    hook_url: backend.url, hook_secret: hookSecret, hook_connect: true, hook_events: 'connect, join, leave, disconnect', hook_headers: 'cookie', hook_batch_ms: 0,
    hook_open_after: 0, hook_timeout_ms: '20s', token_secret: secret,
  },
});
const [node] = nodes;
const address = `${node.ws}/websocket?vsn=2.0.0`;

test('every_request_of_a_node_fits_it_and_with_a_member_less_or_more_it_does_not', async () => {
  backend.answer = () => ({ allow: true });
  class WithCookie extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { headers: { Cookie: 'session=1' } });
    }
  }
  const ann = await connect(node, { params: { token: token({ sub: 'ann' }) }, transport: WithCookie });
  const channel = await join(ann, 'ask:1', { who: 'ann' });
  await push(channel, 'msg', { x: 1 });
  await push(channel, 'msg', new TextEncoder().encode('bytes').buffer);
  await leave(channel);
  const stranger = await attempt(WebSocket, address);
  stranger.socket.terminate();
  const body = { user: 'ann', reason: 'enough' };
  assert.equal((await node.request('POST', '/api/disconnect', { body, headers: { 'content-type': 'application/json' } })).body.count, 1);
  const ended = (code) => backend.told.some((notice) => notice.event === 'disconnect' && notice.code === code);
  await until('all is told', () => ended(1001) && ended(null) && backend.told.some(({ event }) => event === 'leave'));

  const requests = [...backend.asks, ...backend.told.map((notice) => [notice])];
  const kind = (request) => (Array.isArray(request) ? `told ${request[0].event}` : `asked ${request.event}${request.payload_base64 ? ' bytes' : ''}`);
  assert.deepEqual([...new Set(requests.map(kind))].sort(), [
    'asked connect', 'asked join', 'asked push', 'asked push bytes', 'told connect', 'told disconnect', 'told join', 'told leave',
  ]);
  assert.deepEqual(new Set(backend.asks.map(({ user }) => user)), new Set(['ann', null]));
  for (const request of requests) {
    assert.ok(isRequest(request), kind(request));
    const altered = (change) => {
      const copy = structuredClone(request);
      change([copy].flat()[0]);
      return copy;
    };
    const object = [request].flat()[0];
    for (const name of Object.keys(object)) assert.ok(!isRequest(altered((copy) => delete copy[name])), `${kind(request)} without ${name}`);
    for (const name of Object.keys(object.client)) assert.ok(!isRequest(altered((copy) => delete copy.client[name])), `${kind(request)} without client.${name}`);
    assert.ok(!isRequest(altered((copy) => (copy.more = 1))) && !isRequest(altered((copy) => (copy.client.more = 1))), `${kind(request)} with more`);
  }
});

const allow = true;
const answers = {
  connect: {
    good: [{ allow }, { allow, user: 'ann' }, { allow, user: 'ann', topics: ['room:*', 'a', '*'] }, { allow: false }, { allow: false, reason: 'no' }],
    bad: [
      {}, [], { allow: 'yes' }, { allow, reason: 'x' }, { allow, reply: {} }, { allow, presence: {} }, { allow: false, user: 'ann' }, { allow: false, topics: [] },
      { allow, user: 7 }, { allow, topics: 'room:*' }, { allow, topics: ['a*b'] }, { allow, topics: [''] }, { allow, topics: [7] }, { allow, more: 1 }, { allow, broadcast: { event: 'e', payload: 1 } },
    ],
  },
  join: {
    good: [
      { allow }, { allow, reply: { hi: 1 } }, { allow, presence: { key: 'ann', meta: { a: 1 } } }, { allow, presence: {} }, { allow, presence: { meta: {} }, reply: {} },
      { allow: false }, { allow: false, reason: 'no' }, { allow: false, reply: { reason: 'full' } },
    ],
    bad: [
      {}, { reply: {} }, { allow: null }, { allow, reason: 'x' }, { allow: false, reason: 'x', reply: {} }, { allow: false, reason: 7 }, { allow, reply: [] }, { allow, reply: 'x' },
      { allow: false, presence: {} }, { allow, presence: { key: '' } }, { allow, presence: { key: 7 } }, { allow, presence: { meta: [] } }, { allow, presence: { more: 1 } }, { allow, presence: [] },
      { allow, user: 'ann' }, { allow, topics: [] }, { allow, broadcast: { event: 'e', payload: 1 } }, { allow, more: 1 },
    ],
  },
  push: {
    good: [
      { allow }, { allow, reply: { n: 1 } }, { reply: {} }, { broadcast: { event: 'e', payload: 1 } }, { broadcast: { event: 'e', payload_base64: 'AAE=' } }, { allow, broadcast: { event: 'e', payload: {} } },
      { broadcast: { event: 'e', payload: [], conflation_key: 'k' }, reply: {} }, { allow: false }, { allow: false, reason: 'no' }, { allow: false, reply: {} },
    ],
    bad: [
      {}, { reason: 'x' }, { allow, reason: 'x' }, { reply: [] }, { allow: false, reason: 'x', reply: {} }, { allow: false, broadcast: { event: 'e', payload: 1 } }, { broadcast: {} },
      { broadcast: { event: 'e' } }, { broadcast: { payload: 1 } }, { broadcast: { event: '', payload: 1 } }, { broadcast: { event: 'phx_close', payload: 1 } }, { broadcast: { event: 'gap', payload: 1 } },
      { broadcast: { event: 'e', payload: null } }, { broadcast: { event: 'e', payload_base64: '!' } }, { broadcast: { event: 'e', payload: 1, payload_base64: 'AA==' } },
      { broadcast: { event: 'e', payload: 1, conflation_key: '' } }, { broadcast: { event: 'e', payload: 1, more: 1 } }, { allow, presence: {} }, { allow, user: 'ann' }, { allow, more: 1 },
    ],
  },
};

// What a node makes of an answer: its reason, if it does not take it.
const takes = {
  async connect() {
    const { status, code, socket } = await attempt(WebSocket, address);
    socket?.terminate();
    assert.ok([101, 403, 502].includes(status), `${status}`);
    return code !== 'bad_answer';
  },
  async join(socket) {
    const channel = socket.channel('ask:answers');
    const { response } = await settled(channel.join());
    await leave(channel);
    return response.reason !== 'bad_answer';
  },
  push: async (socket, channel) => (await push(channel, 'msg', {})).response.reason !== 'bad_answer',
};

for (const [event, { good, bad }] of Object.entries(answers)) {
  test(`of_answers_to_${event}_those_fit_it_that_a_node_takes_and_no_others`, async () => {
    backend.answer = () => ({ allow });
    const socket = await connect(node);
    const channel = await join(socket, 'ask:pushes');
    for (const answer of [...good, ...bad]) {
      backend.answer = (question) => (question.event === event ? answer : { allow });
      const text = `${event}: ${JSON.stringify(answer)}`;
      assert.equal(isAnswer(event, answer), good.includes(answer), `the schema of ${text}`);
      assert.equal(await takes[event](socket, channel), good.includes(answer), `the node of ${text}`);
    }
  });
}

test('the_examples_of_the_page_fit_it', () => {
  const examples = snippets('docs/hooks.md').filter(({ kind }) => kind === 'json');
  assert.equal(examples.length, 2);
  for (const { text } of examples) assert.ok(isRequest(JSON.parse(text)), text);
});
