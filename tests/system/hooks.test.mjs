// Hooks: a real HTTP backend decides joins, pushes and connections of stock clients on three nodes, whatever it does to them.
import assert from 'node:assert/strict';
import { after, beforeEach, describe, test } from 'node:test';
import { Backend, gate, hookSecret } from '../lib/backend.mjs';
import { run } from '../lib/cli.mjs';
import { sharedCluster, startNode } from '../lib/cluster.mjs';
import { connect as open, disconnect, disconnectAll, join, leave, push, settled, versions, WebSocket } from '../lib/phoenix.mjs';
import { secret, token } from '../lib/tokens.mjs';
import { patience, until } from '../lib/wait.mjs';

const rules = {
  'ask:*': { join: 'hook', push: 'hook', history_count: 100 },
  'pushes:*': { join: 'anyone', push: 'hook' },
  'there:*': { join: 'hook', presence: 'hook' },
  'room:*': { join: 'anyone', push: 'anyone', history_count: 1000 },
};
const backend = await Backend.start();
const options = { hook_url: backend.url, hook_secret: hookSecret, hook_timeout_ms: '20s', hook_open_after: 0, hook_headers: 'cookie, X-Other' };
const cluster = await sharedCluster(3, { rules, options });
const { nodes } = cluster;
after(() => backend.close());
after(disconnectAll);

// The client waits for longer than the node waits for the backend.
const connect = (node, options) => open(node, { timeout: 60_000, ...options });
beforeEach(() => {
  backend.answer = () => ({ allow: true });
});

const tryJoin = (socket, topic, params = {}) => {
  const channel = socket.channel(topic, params);
  return settled(channel.join()).finally(() => channel.leave());
};
const error = (response) => ({ status: 'error', response });
const payloads = (channel) => channel.got.map(({ payload }) => payload);
const askedOf = (topic) => backend.asks.filter((ask) => ask.topic === topic);

describe('decisions', () => {
  for (const [name, client] of Object.entries(versions)) {
    test(`a_client_of_${name.replace(' ', '_')}_gets_what_the_backend_decides_on_every_node`, async () => {
      const topic = `ask:all ${name}`;
      backend.answer = ({ event, payload, name: pushed }) => {
        if (event === 'join') return payload.who === 'nobody' ? { allow: false, reason: 'who are you?' } : { allow: true, reply: { hello: payload.who } };
        switch (pushed) {
          case 'msg': return { allow: true, reply: { seen: payload.n } };
          case 'only': return { reply: { answer: 42 } };
          case 'rude': return { broadcast: { event: 'msg', payload: { text: '***' } }, reply: { changed: true } };
          case 'full': return { allow: false, reply: { reason: 'full', limit: 3 } };
          default: return { allow: false };
        }
      };
      const listener = await join(await connect(nodes[0], { client }), topic, { who: 'a listener' });
      for (const node of nodes) {
        const socket = await connect(node, { client });
        assert.deepEqual(await tryJoin(socket, topic, { who: 'nobody' }), error({ reason: 'who are you?' }));
        const channel = await join(socket, topic, { who: node.name });
        assert.deepEqual(channel.joinResponse, { hello: node.name });
        listener.got = [];
        const { id, ...rest } = (await push(channel, 'msg', { n: 7 })).response;
        assert.deepEqual(rest, { seen: 7 });
        assert.deepEqual(await push(channel, 'only', {}), { status: 'ok', response: { answer: 42 } });
        assert.equal((await push(channel, 'rude', { text: 'rude' })).response.changed, true);
        assert.deepEqual(await push(channel, 'full', {}), error({ reason: 'full', limit: 3 }));
        assert.deepEqual(await push(channel, 'no', {}), error({ reason: 'forbidden' }));
        await until('both messages', () => listener.got.length === 2);
        assert.match(id, /^\w+-\d+$/);
        assert.deepEqual(payloads(listener), [{ n: 7 }, { text: '***' }]);
      }
    });
  }

  test('a_question_says_who_asks_and_what', async () => {
    const origin = `http://127.0.0.1:${nodes[1].port}`;
    class WithHeaders extends WebSocket {
      constructor(url, protocols) {
        super(url, protocols, { headers: { Cookie: 'session="1"', 'X-Other': '2', 'X-Third': 'not asked for', Origin: origin } });
      }
    }
    const before = Date.now();
    const socket = await connect(nodes[1], { params: { token: 'a b' }, transport: WithHeaders });
    const channel = await join(socket, 'ask:who', { a: [1, 12345678901234567890n.toString()] });
    await push(channel, 'msg', { x: 1 });
    const [asked, pushed] = askedOf('ask:who');
    const { id, ts, client, ...rest } = asked;
    assert.deepEqual(rest, { event: 'join', node: 'node2', topic: 'ask:who', payload: { a: [1, '12345678901234567890'] }, user: null });
    assert.match(id, /^\w+-h\d+$/);
    assert.ok(ts >= before - 1000 && ts <= Date.now() + 1000);
    const { id: clientId, address, headers, ...more } = client;
    assert.match(clientId, /^\w+-\d+$/);
    assert.match(address, /^127\.0\.0\.1:\d+$/);
    assert.deepEqual(headers, { cookie: 'session="1"', 'x-other': '2' });
    assert.deepEqual(more, { query: 'token=a%20b&vsn=2.0.0', origin });
    assert.deepEqual([pushed.event, pushed.name, pushed.payload, pushed.client.id], ['push', 'msg', { x: 1 }, clientId]);
    assert.notEqual(pushed.id, id);
  });

  test('bytes_are_asked_about_and_sent_in_base64', async () => {
    backend.answer = ({ event, payload_base64 }) => {
      if (event === 'join') return { allow: true };
      const text = Buffer.from(payload_base64, 'base64').toString();
      return text === 'as it is' ? { allow: true } : { broadcast: { event: 'msg', payload_base64: Buffer.from(text.toUpperCase()).toString('base64') } };
    };
    const channel = await join(await connect(nodes[0]), 'ask:bytes');
    const bytes = (text) => new TextEncoder().encode(text).buffer;
    await push(channel, 'msg', bytes('as it is'));
    await push(channel, 'msg', bytes('louder'));
    await until('both', () => channel.got.length === 2);
    assert.deepEqual(payloads(channel).map((payload) => Buffer.from(payload).toString()), ['as it is', 'LOUDER']);
  });

  test('what_one_client_pushes_on_a_topic_is_decided_in_its_order_and_others_do_not_wait', async () => {
    const first = gate();
    backend.answer = async ({ payload }) => {
      if (payload.n === 1) await first.promise;
      return { allow: true };
    };
    const [slow, other] = [await join(await connect(nodes[0]), 'pushes:order'), await join(await connect(nodes[0]), 'pushes:order')];
    const answers = [1, 2, 3].map((n) => push(slow, 'msg', { n }));
    assert.equal((await push(other, 'msg', { n: 4 })).status, 'ok');
    await until('both first ones are asked', () => askedOf('pushes:order').length === 2);
    assert.deepEqual(askedOf('pushes:order').map(({ payload }) => payload.n).sort(), [1, 4]);
    first.open();
    await Promise.all(answers);
    await until('all', () => other.got.length === 4);
    assert.deepEqual(payloads(other).map(({ n }) => n), [4, 1, 2, 3]);
  });

  test('a_channel_that_is_left_while_the_backend_thinks_is_not_joined', async () => {
    const thought = gate();
    backend.answer = async () => {
      await thought.promise;
      return { allow: true };
    };
    const socket = await connect(nodes[0]);
    const channel = socket.channel('ask:left');
    channel.join();
    await until('it is asked', () => askedOf('ask:left').length === 1);
    await leave(channel);
    thought.open();
    await until('the late answer is counted', async () => (await nodes[0].metric('fanmesh_handler_waiting')) === 0);
    await tryJoin(socket, 'room:after');
    assert.equal((await nodes[0].request('GET', '/api/topics')).body.topics.find(({ topic }) => topic === 'ask:left')?.subscribers ?? 0, 0);
  });
});

test('who_is_there_is_what_the_backend_says_on_every_node', async () => {
  backend.answer = ({ event, payload }) => (event === 'join' && payload.who ? { allow: true, presence: { key: payload.who, meta: { role: 'guest' } }, reply: { hi: 1 } } : { allow: true });
  const { Presence } = versions['phoenix 1.8'];
  const channels = [];
  for (const node of nodes) {
    const channel = (await connect(node)).channel('there:1', { who: node.name });
    channel.presence = new Presence(channel);
    channels.push(channel);
    const { status, response } = await settled(channel.join());
    assert.deepEqual([status, response.hi], ['ok', 1]);
  }
  const seen = (channel) => channel.presence.list((key, { metas }) => `${key}:${metas.map(({ role }) => role)}`).sort();
  for (const channel of channels) await until('all are seen', () => seen(channel).length === 3);
  for (const channel of channels) assert.deepEqual(seen(channel), nodes.map(({ name }) => `${name}:guest`));
  const itself = await tryJoin(await connect(nodes[0]), 'there:1', { presence: { key: 'somebody else' } });
  assert.deepEqual(itself, error({ reason: 'presence_forbidden' }));
  assert.deepEqual(await tryJoin(await connect(nodes[0]), 'ask:there', { who: 'x' }), error({ reason: 'presence_forbidden' }));
});

describe('a backend that', () => {
  // While `during` runs, messages and pushes on another topic are all delivered, and in order.
  async function meanwhile(during) {
    const topic = `room:${Math.random()}`;
    const [pusher, listener] = [await join(await connect(nodes[0]), topic), await join(await connect(nodes[2]), topic)];
    let over = false;
    const work = during().finally(() => (over = true));
    let n = 0;
    while (!over || n < 20) {
      assert.equal((await push(pusher, 'msg', n++)).status, 'ok');
      await nodes[1].publish({ topic, event: 'msg', payload: n++ });
    }
    await work;
    await until('all of the other topic', () => listener.got.length === n);
    const own = payloads(listener).filter((value) => value % 2 === 0);
    assert.deepEqual(own, own.toSorted((a, b) => a - b));
  }

  test('hangs_is_given_up_after_the_time_limit_and_other_topics_do_not_notice', async () => {
    const node = nodes[0];
    node.options.hook_timeout_ms = 4000 * patience;
    await node.reload();
    backend.answer = ({ topic }) => (topic.includes('hang') ? undefined : { allow: true });
    const socket = await connect(node);
    const channel = await join(socket, 'pushes:hang');
    const timeout = (answer) => [answer.status, answer.response.reason];
    await meanwhile(async () => {
      const asked = [tryJoin(socket, 'ask:hang'), ...[1, 2, 3].map((n) => push(channel, 'msg', n))];
      assert.equal((await tryJoin(socket, 'ask:well')).status, 'ok');
      for (const answer of asked) assert.deepEqual(timeout(await answer), ['error', 'timeout']);
    });
    assert.equal(channel.got.length, 0);
    node.options.hook_timeout_ms = options.hook_timeout_ms;
    await node.reload();
  });

  test('is_slow_holds_up_only_who_asked', async () => {
    backend.answer = async () => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return { allow: true };
    };
    await meanwhile(async () => {
      const joins = await Promise.all(nodes.map(async (node) => tryJoin(await connect(node), 'ask:slow')));
      assert.deepEqual(joins.map(({ status }) => status), ['ok', 'ok', 'ok']);
    });
  });

  test('answers_what_can_not_be_understood_refuses_and_the_log_says_what_was_wrong', async (t) => {
    const node = await startNode(t, { rules, options });
    const socket = await connect(node);
    const channel = await join(socket, 'pushes:garbage');
    const began = Date.now();
    const bad = (answer) => ({ answer, reason: 'bad_answer' });
    const cases = [
      bad('<html>'), bad('[]'), bad('{}'), bad('{"allow":true'), bad({ allow: 'yes' }), bad({ allow: true, alow: false }), bad({ allow: true, reason: 'x' }),
      bad({ allow: false, reason: 7 }), bad({ allow: false, reason: 'x', reply: {} }), bad({ allow: true, reply: [] }), bad({ broadcast: { payload: 1 } }),
      bad({ broadcast: { event: 'phx_close', payload: 1 } }), bad({ broadcast: { event: 'x', payload: null } }), bad({ allow: false, broadcast: { event: 'x', payload: 1 } }),
      bad({ broadcast: { event: 'x', payload_base64: '!' } }), bad({ broadcast: { event: 'x', payload: 1, more: 1 } }), bad({ reason: 'x' }),
      bad({ broadcast: { event: 'x', payload: 'x'.repeat(65536) } }),
      bad({ status: 204 }), bad({ status: 404, text: '{"allow":true}' }), bad({ status: 302, headers: { location: '/other' }, text: '{"allow":true}' }),
      bad({ text: `{"allow":true,"reply":{"x":"${'x'.repeat(1 << 20)}"}}` }), bad({ text: `${'['.repeat(1000)}${']'.repeat(1000)}` }),
      { answer: { status: 500, text: '{"allow":true}' }, reason: 'unavailable' }, { answer: { status: 503 }, reason: 'unavailable' }, { answer: 'break', reason: 'unavailable' },
    ];
    for (const [i, { answer, reason }] of cases.entries()) {
      backend.answer = () => answer;
      assert.deepEqual((await push(channel, 'msg', { i })).response.reason, reason, JSON.stringify(answer).slice(0, 100));
    }
    backend.answer = () => ({ broadcast: { event: 'x', payload: 1 } });
    assert.deepEqual(await tryJoin(socket, 'ask:garbage'), error({ reason: 'bad_answer' }));
    assert.equal(await node.metric('fanmesh_hook_bad_answers_total'), cases.filter(({ reason }) => reason === 'bad_answer').length + 1);
    const { code, err } = await run(['subscribe', '--socket-url', node.ws, 'ask:garbage']);
    assert.equal(code, 1);
    assert.match(err, /^fanmesh subscribe: [^\n]*"bad_answer" \(who decides this, the backend of hook_url or [^\n]*; the node's log says more\)\n$/);
    assert.equal(backend.asks.filter(({ topic, payload }) => topic === 'pushes:garbage' && payload.i === 20).length, 1, 'a redirect is not followed');
    assert.match(node.log, /event=hook_answer_bad asked=push topic="pushes:garbage" why="it is not JSON: [^"]*" answers=1 then=/);
    assert.ok(node.loggedSeldom('hook_answer_bad', began));
    assert.equal(channel.got.length, 0);
    backend.answer = () => ({ allow: true });
    assert.equal((await push(channel, 'msg', {})).status, 'ok');
  });

  test('dies_is_asked_again_when_it_is_back', async () => {
    const socket = await connect(nodes[1]);
    const channel = await join(socket, 'pushes:dies');
    await push(channel, 'msg', 1);
    await backend.close();
    await meanwhile(async () => {
      const { status, response } = await push(channel, 'msg', 2);
      assert.deepEqual([status, response.reason], ['error', 'unavailable']);
    });
    assert.ok((await nodes[1].metric('fanmesh_hook_retries_total')) >= 5, 'nothing had left, so it was tried again');
    await backend.open();
    assert.equal((await push(channel, 'msg', 3)).status, 'ok');
    assert.deepEqual(payloads(channel), [1, 3]);
  });

  test('is_gone_for_a_moment_is_not_noticed', async () => {
    const node = nodes[0];
    node.options.hook_retries = 1000;
    await node.reload();
    const channel = await join(await connect(node), 'pushes:moment');
    await backend.close();
    const retries = await node.metric('fanmesh_hook_retries_total');
    const answer = push(channel, 'msg', 1);
    await until('it was tried again', async () => (await node.metric('fanmesh_hook_retries_total')) > retries + 1);
    await backend.open();
    assert.equal((await answer).status, 'ok');
    assert.equal(askedOf('pushes:moment').length, 1);
    node.options.hook_retries = null;
    await node.reload();
  });

  test('takes_the_question_and_breaks_is_not_asked_again', async () => {
    const channel = await join(await connect(nodes[2]), 'pushes:breaks');
    backend.answer = () => 'break';
    const retries = await nodes[2].metric('fanmesh_hook_retries_total');
    assert.equal((await push(channel, 'msg', 1)).response.reason, 'unavailable');
    // libcurl may repeat it by itself where a connection was kept: with the same id.
    assert.equal(new Set(askedOf('pushes:breaks').map(({ id }) => id)).size, 1);
    assert.equal(await nodes[2].metric('fanmesh_hook_retries_total'), retries);
  });
});

describe('the breaker', () => {
  test('leaves_a_backend_alone_that_failed_often_and_tries_it_again', async (t) => {
    const its = await Backend.start(t), openMs = 2000 * patience;
    const node = await startNode(t, { rules, options: { ...options, hook_url: its.url, hook_open_after: 3, hook_open_ms: openMs, hook_retries: 0 } });
    const channel = await join(await connect(node), 'pushes:x');
    its.answer = () => ({ status: 500 });
    for (let i = 0; i < 3; i++) assert.equal((await push(channel, 'msg', i)).response.reason, 'unavailable');
    assert.equal(await node.metric('fanmesh_hook_open'), 1);
    const before = its.asks.length;
    const { reason, retry_after_ms } = (await push(channel, 'msg', 3)).response;
    assert.equal(reason, 'unavailable');
    assert.ok(retry_after_ms > 0 && retry_after_ms <= openMs, `${retry_after_ms}`);
    await until('it is not asked while it is left alone', async () => {
      await push(channel, 'msg', 3);
      return (await node.metric('fanmesh_hook_unasked_total')) >= 1;
    });
    await until('one tries and fails', async () => {
      await push(channel, 'msg', 4);
      return its.asks.length > before;
    });
    assert.equal(await node.metric('fanmesh_hook_open'), 1);
    its.answer = () => ({ allow: true });
    await until('it is well again', async () => (await push(channel, 'msg', 5)).status === 'ok');
    assert.equal(await node.metric('fanmesh_hook_open'), 0);
    assert.equal((await push(channel, 'msg', 6)).status, 'ok');
    assert.match(node.log, /event=hook_failed asked=push topic="pushes:x" why="it answered with status 500" questions=1 then="the client is refused, and may try again"/);
    assert.equal(node.logged('hook_down'), 1);
    assert.match(node.log, /event=hook_down failures=3 last="it answered with status 500" then=/);
    assert.equal(node.logged('hook_up'), 1);
  });

  test('that_is_told_to_allow_lets_questions_pass_but_never_what_it_does_not_understand', async (t) => {
    const its = await Backend.start(t);
    const node = await startNode(t, { rules, options: { ...options, hook_url: its.url, hook_failed: 'allow', hook_timeout_ms: 4000 * patience, hook_retries: 0 } });
    const channel = await join(await connect(node), 'ask:x');
    its.answer = () => undefined;
    assert.equal((await push(channel, 'msg', 1)).status, 'ok');
    its.answer = () => ({ status: 500 });
    assert.equal((await push(channel, 'msg', 2)).status, 'ok');
    its.answer = () => 'garbage';
    assert.equal((await push(channel, 'msg', 3)).response.reason, 'bad_answer');
    its.answer = () => ({ allow: false });
    assert.equal((await push(channel, 'msg', 4)).response.reason, 'forbidden');
    await its.close();
    assert.equal((await push(channel, 'msg', 5)).status, 'ok');
    assert.deepEqual(payloads(channel), [1, 2, 5]);
    assert.match(node.log, /event=hook_failed asked=push topic="ask:x" why="[^"]+" questions=1 then="it is allowed \(hook_failed\)"/);
  });
});

test('questions_beyond_the_queue_are_refused_as_overloaded', async (t) => {
  const its = await Backend.start(t);
  const node = await startNode(t, { rules, options: { ...options, hook_url: its.url, hook_queue: '64KiB', hook_client: 1000, hook_concurrency: 1, workers: 1 } });
  const held = gate();
  its.answer = async () => {
    await held.promise;
    return { allow: true };
  };
  const channel = await join(await connect(node), 'pushes:many');
  const answers = Array.from({ length: 100 }, (_, n) => push(channel, 'msg', `${n}${'x'.repeat(1000)}`));
  await until('some are refused', async () => (await node.metric('fanmesh_handler_overloads_total')) > 0);
  held.open();
  const settledOnes = await Promise.all(answers);
  const refused = settledOnes.filter(({ status }) => status === 'error');
  assert.ok(refused.length > 0 && refused.length < 100);
  for (const { response } of refused) assert.deepEqual(response, { reason: 'overloaded' });
  await until('the others are there', () => channel.got.length === 100 - refused.length);
});

test('one_client_can_not_fill_the_queue_of_the_others', async (t) => {
  const its = await Backend.start(t);
  const node = await startNode(t, { rules, options: { ...options, hook_url: its.url, hook_client: 5 } });
  const held = gate();
  its.answer = async ({ payload }) => {
    if (payload.n) await held.promise;
    return { allow: true };
  };
  const [greedy, modest] = [await join(await connect(node), 'pushes:few'), await join(await connect(node), 'pushes:few')];
  const answers = Array.from({ length: 20 }, (_, i) => push(greedy, 'msg', { n: i + 1 }));
  assert.equal((await push(modest, 'msg', {})).status, 'ok');
  await until('what is too much is refused', async () => (await node.metric('fanmesh_handler_overloads_total')) === 15);
  held.open();
  const refused = (await Promise.all(answers)).filter(({ status }) => status === 'error');
  assert.deepEqual(refused.map(({ response }) => response), Array(15).fill({ reason: 'overloaded' }));
});

test('a_client_gets_nothing_past_the_backend_by_asking_too_much_of_it', async (t) => {
  const its = await Backend.start(t);
  const limits = { hook_queue: '64KiB', hook_client: 3, hook_failed: 'allow', hook_timeout_ms: '60s', workers: 1 };
  const node = await startNode(t, { rules, options: { ...options, hook_url: its.url, ...limits } });
  const held = gate();
  its.answer = async ({ payload }) => {
    if (payload.wait) await held.promise;
    return { allow: false };
  };
  const greedy = await connect(node);
  const channel = await join(greedy, 'pushes:few');
  const pushes = Array.from({ length: 9 }, () => push(channel, 'msg', { wait: true }));
  // Joins count by their bytes: the first may be larger than a client's share, and none beside it.
  const text = 'x'.repeat(10_000);
  const joins = ['ask:1', 'ask:2'].map((topic) => tryJoin(greedy, topic, { wait: true, text }));
  await until('what is too much is refused', async () => (await node.metric('fanmesh_handler_overloads_total')) === 8);
  assert.equal(await node.metric('fanmesh_limited_hook_queue_total'), 2);
  assert.match(node.log, /event=limit_reached limit=hook_queue /);
  assert.deepEqual(await tryJoin(await connect(node), 'ask:1', { text }), error({ reason: 'forbidden' }), 'another client is asked about');
  held.open();
  const reasons = [...(await Promise.all(pushes)), ...(await Promise.all(joins))].map(({ response }) => response.reason);
  assert.deepEqual(reasons, [...Array(3).fill('forbidden'), ...Array(8).fill('overloaded')]);
  assert.deepEqual(payloads(channel), []);
});

test('a_user_who_is_revoked_while_the_backend_still_decides_is_asked_about_again', async (t) => {
  const its = await Backend.start(t);
  const node = await startNode(t, { rules, options: { ...options, hook_url: its.url, hook_connect: true, hook_timeout_ms: '60s', token_secret: secret, workers: 1 } });
  const held = gate();
  its.answer = async () => {
    await held.promise;
    return { allow: true, user: 'ann' };
  };
  const connected = connect(node);
  await until('it is asked', () => its.asks.length === 1);
  for (const user of ['bob', 'ann']) {
    const { status } = await node.request('POST', '/api/revoke', { body: { user }, headers: { 'content-type': 'application/json' } });
    assert.equal(status, 200);
  }
  held.open();
  await connected;
  assert.ok(its.asks.length >= 2);
  const before = its.asks.length;
  await connect(node);
  assert.equal(its.asks.length, before + 1); // a revocation of earlier is no matter
});

test('a_token_that_the_node_reads_is_not_given_to_the_backend', async (t) => {
  const its = await Backend.start(t);
  const node = await startNode(t, { rules, options: { ...options, hook_url: its.url, hook_connect: true, hook_events: 'connect', hook_batch_ms: 0, token_secret: secret } });
  await join(await connect(node, { params: { token: token({ sub: 'ann' }), who: 'ann' } }), 'ask:token');
  await until('the connect is told', () => its.told.length === 1);
  for (const { user, client } of [...its.asks, ...its.told]) assert.deepEqual([user, client.query], ['ann', 'who=ann&vsn=2.0.0']);
  assert.deepEqual(its.asks.map(({ event }) => event), ['connect', 'join']);
});

test('the_token_of_a_supabase_channel_is_not_given_to_the_backend', async (t) => {
  const its = await Backend.start(t);
  const its_rules = { 'realtime:*': { join: 'hook', push: 'nobody' } };
  const node = await startNode(t, { rules: its_rules, options: { ...options, hook_url: its.url, token_secret: secret } });
  const config = { private: false, broadcast: { ack: true } };
  for (const params of [{ access_token: token({ sub: 'ann' }), config, more: 1 }, { config, more: 1, access_token: token({ sub: 'ann' }) }]) {
    await tryJoin(await connect(node), 'realtime:x', params);
    const { payload, user } = its.asks.at(-1);
    assert.deepEqual({ payload, user }, { payload: { config, more: 1 }, user: 'ann' });
  }
});

test('a_node_that_is_killed_takes_only_its_own_questions_with_it', async (t) => {
  const held = gate();
  backend.answer = async () => {
    await held.promise;
    return { allow: true };
  };
  t.after(() => cluster.restart(nodes[2]));
  const topic = 'ask:killed';
  const sockets = await Promise.all(nodes.map((node) => connect(node)));
  const channels = sockets.map((socket) => socket.channel(topic));
  const joins = channels.map((channel) => settled(channel.join()));
  await until('all are asked', () => askedOf(topic).length === 3);
  await nodes[2].kill();
  await disconnect(sockets[2]);
  held.open();
  assert.deepEqual((await Promise.all(joins.slice(0, 2))).map(({ status }) => status), ['ok', 'ok']);
  const got = [];
  channels[1].on('msg', (payload) => got.push(payload));
  assert.equal((await push(channels[0], 'msg', 'after all')).status, 'ok');
  await until('it arrives', () => got.length === 1);
});
