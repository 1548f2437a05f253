// Hooks: what a backend is told of, who may connect, TLS to the backend, HUP, and the end of a node with questions under way.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { Backend, gate, hookSecret } from '../lib/backend.mjs';
import { makeAuthority, makeSigned } from '../lib/certificate.mjs';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { Node, workFolder } from '../lib/node.mjs';
import { connect as open, disconnect, disconnectAll, join, leave, push, settled, WebSocket } from '../lib/phoenix.mjs';
import { freePort } from '../lib/ports.mjs';
import { patience, until, within } from '../lib/wait.mjs';

const rules = { 'ask:*': { join: 'hook', push: 'hook' }, 'room:*': { join: 'anyone', push: 'anyone' } };
const optionsOf = (backend, more = {}) => ({ hook_url: backend.url, hook_secret: hookSecret, hook_timeout_ms: '20s', ...more });
after(disconnectAll);

// The client waits for longer than the node waits for the backend.
const connect = (node, options) => open(node, { timeout: 60_000, ...options });

// A WebSocket as a browser opens it: { status, body } of a refusal, or the socket.
function dial(node, { headers } = {}) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${node.ws}/websocket?vsn=2.0.0`, { headers });
    socket.once('open', () => resolve({ socket }));
    socket.once('error', reject);
    socket.once('unexpected-response', (_, response) => {
      let text = '';
      response.on('data', (bytes) => (text += bytes)).on('end', () => resolve({ status: response.statusCode, body: JSON.parse(text) }));
    });
  });
}

describe('what a backend is told', () => {
  const events = 'connect, join, leave, disconnect';

  test('of_each_client_in_its_order_on_every_node_and_once', async (t) => {
    const backend = await Backend.start(t);
    const { nodes } = await startCluster(t, 3, { rules, options: optionsOf(backend, { hook_events: events, hook_batch_ms: '20ms' }) });
    const n = 8;
    await Promise.all(
      Array.from({ length: n }, async (_, i) => {
        const socket = await connect(nodes[i % 3], { params: { who: i } });
        const channel = await join(socket, `room:${i}`);
        await join(socket, `ask:${i}`);
        await leave(channel);
        await disconnect(socket);
      }),
    );
    await until('all', () => backend.told.length === 6 * n);
    const clients = new Map();
    for (const each of backend.told) clients.set(each.client.id, [...(clients.get(each.client.id) ?? []), each]);
    assert.equal(clients.size, n);
    for (const told of clients.values()) {
      const i = new URLSearchParams(told[0].client.query).get('who');
      assert.deepEqual(told.map(({ event, topic }) => [event, topic]), [
        ['connect', undefined], ['join', `room:${i}`], ['join', `ask:${i}`], ['leave', `room:${i}`], ['leave', `ask:${i}`], ['disconnect', undefined],
      ]);
      assert.equal(told[0].node, nodes[i % 3].name);
      assert.match(told[5].client.address, /^127\.0\.0\.1:\d+$/);
    }
    assert.equal(new Set(backend.told.map(({ id }) => id)).size, 6 * n);
    assert.ok(backend.batches.length < 6 * n, 'in batches');
    assert.equal(backend.asks.length, n, 'only those topics ask whose rule says so');
  });

  test('comes_again_with_the_same_ids_until_it_is_confirmed_and_what_it_refuses_is_dropped_and_counted', async (t) => {
    const backend = await Backend.start(t);
    const node = await startNode(t, { rules, options: optionsOf(backend, { hook_events: 'connect', hook_batch_ms: 0, hook_open_after: 0 }) });
    let failures = 3;
    backend.tell = () => (failures-- > 0 ? { status: 503 } : {});
    const sockets = [await connect(node)];
    await until('it is told', () => backend.told.length === 1);
    assert.equal(backend.batches.length, 4);
    assert.equal(new Set(backend.batches.map(([first]) => first)).size, 1);
    await until('the node knows that', async () => (await node.metric('fanmesh_hook_told_total')) === 1);

    backend.tell = () => ({ status: 400 });
    sockets.push(await connect(node));
    await until('it is dropped', async () => (await node.metric('fanmesh_hook_dropped_total')) === 1);
    await until('the log says why', () => /event=hook_dropped events=1 total=1 why="it answered with status 400" then=/.test(node.log));
    backend.tell = () => ({});
    sockets.push(await connect(node));
    await until('the next is told', () => backend.told.length === 2);
    await until('nothing is left to tell', async () => (await node.metric('fanmesh_hook_untold')) === 0);
  });

  test('waits_while_the_backend_is_gone_and_nothing_of_it_is_lost', async (t) => {
    const backend = await Backend.start(t);
    const node = await startNode(t, { rules, options: optionsOf(backend, { hook_events: events, hook_open_after: 2, hook_open_ms: '100ms' }) });
    await backend.close();
    for (let i = 0; i < 20; i++) await disconnect(await connect(node));
    await until('they wait, the breaker is open', async () => (await node.metric('fanmesh_hook_untold')) === 40 && (await node.metric('fanmesh_hook_open')) === 1);
    await backend.open();
    await until('all are told', () => backend.told.length === 40);
    assert.equal(await node.metric('fanmesh_hook_dropped_total'), 0);
    assert.equal(new Set(backend.told.map(({ id }) => id)).size, 40);
  });

  test('is_dropped_and_counted_beyond_hook_queue', async (t) => {
    const backend = await Backend.start(t);
    backend.tell = () => undefined;
    const node = await startNode(t, { rules, options: optionsOf(backend, { hook_events: 'join, leave', hook_queue: '64KiB', hook_batch: 1 }) });
    const socket = await connect(node);
    const topic = `room:${'x'.repeat(200)}`;
    const began = Date.now();
    let joins = 0;
    await until('some are dropped', async () => {
      for (let i = 0; i < 20; i++, joins++) await leave(await join(socket, topic));
      return (await node.metric('fanmesh_hook_dropped_total')) > 0;
    });
    await until('each waits or is dropped', async () => (await node.metric('fanmesh_hook_untold')) + (await node.metric('fanmesh_hook_dropped_total')) === 2 * joins);
    await until('the log says why', () => /event=hook_dropped events=1 total=1 why="more events wait than hook_queue holds" then=/.test(node.log));
    assert.ok(node.loggedSeldom('hook_dropped', began));
  });
});

describe('who may connect', () => {
  test('is_what_the_backend_says_and_a_refusal_has_its_reason', async (t) => {
    const backend = await Backend.start(t);
    const { nodes } = await startCluster(t, 3, { rules, options: optionsOf(backend, { hook_connect: true, hook_headers: 'authorization' }) });
    backend.answer = ({ event, client }) => (event !== 'connect' || client.headers.authorization === 'Bearer good' ? { allow: true } : { allow: false, reason: 'no token' });
    for (const node of nodes) {
      const refused = await dial(node);
      assert.equal(refused.status, 403);
      assert.equal(refused.body.error.code, 'forbidden');
      assert.equal(refused.body.reason, 'no token');
      const { socket } = await dial(node, { headers: { authorization: 'Bearer good' } });
      socket.close();
    }
    const told = backend.asks.filter(({ event }) => event === 'connect');
    assert.equal(told.length, 6);
    assert.equal(told[0].topic, undefined);
    assert.match(told[0].client.query, /^vsn=2\.0\.0$/);
  });

  test('is_refused_when_the_backend_hangs_or_is_gone_and_those_who_are_there_do_not_notice', async (t) => {
    const backend = await Backend.start(t);
    const node = await startNode(t, { rules, options: optionsOf(backend, { hook_connect: true, hook_timeout_ms: 4000 * patience, hook_retries: 0 }) });
    const [one, two] = [await join(await connect(node), 'room:there'), await join(await connect(node), 'room:there')];
    const works = async (n) => {
      assert.equal((await push(one, 'msg', n)).status, 'ok');
      await until('it arrives', () => two.got.at(-1)?.payload === n);
    };
    backend.answer = () => undefined;
    const hanging = dial(node);
    await works(1);
    assert.equal((await hanging).status, 504);
    backend.answer = () => 'garbage';
    assert.equal((await dial(node)).status, 502);
    await backend.close();
    const gone = await dial(node);
    assert.equal(gone.status, 503);
    assert.equal(gone.body.error.code, 'unavailable');
    await works(2);
    await backend.open();
    backend.answer = () => ({ allow: true });
    (await dial(node)).socket.close();
    assert.equal(await node.metric('fanmesh_handler_waiting'), 0);
  });

  test('goes_for_long_polls_and_streams_of_events_as_well', async (t) => {
    const backend = await Backend.start(t);
    const node = await startNode(t, { rules, options: optionsOf(backend, { hook_connect: true, hook_headers: 'authorization', hook_events: 'connect, disconnect', hook_batch_ms: 0 }) });
    backend.answer = ({ client }) => (client.headers.authorization === 'Bearer good' ? { allow: true } : { allow: false, reason: 'no token' });
    const site = `http://127.0.0.1:${node.port}`;
    const good = { authorization: 'Bearer good' };
    // One connection, which is kept: what was said to one request is not said to the next.
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    const used = new Set();
    const poll = (headers) =>
      new Promise((resolve, reject) => {
        const request = http.get(`${site}/socket/longpoll?vsn=2.0.0`, { agent, headers }, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk) => (text += chunk)).on('end', () => resolve(JSON.parse(text)));
        });
        request.on('socket', (socket) => used.add(socket)).on('error', reject);
      });
    for (let i = 0; i < 2; i++) {
      const refused = await poll();
      assert.deepEqual([refused.status, refused.error.code, refused.reason], [403, 'forbidden', 'no token']);
      const opened = await poll(good);
      assert.deepEqual([opened.status, typeof opened.token], [410, 'string']);
    }
    assert.equal(used.size, 1);
    const no = await fetch(`${site}/sse?topic=room:1`);
    assert.equal(no.status, 403);
    assert.equal((await no.json()).reason, 'no token');
    const leave = new AbortController();
    const stream = await fetch(`${site}/sse?topic=room:1`, { headers: good, signal: leave.signal });
    assert.equal(stream.status, 200);
    const { value } = await stream.body.getReader().read();
    assert.match(Buffer.from(value).toString(), /event: fm_joined\n/);
    leave.abort();
    const ofAll = (name) => backend.told.filter(({ event }) => event === name).map(({ client }) => client.id);
    await until('it is told', () => ofAll('connect').length >= 3 && ofAll('disconnect').includes(ofAll('connect')[2]));
    const connects = ofAll('connect');
    assert.equal(connects.length, 3);
    const asked = backend.asks.map(({ client }) => client.id);
    assert.ok(connects.every((id) => asked.includes(id)), 'a connection has the id that was asked about');
  });

  test('is_whom_the_backend_says_with_the_topics_that_it_grants', async (t) => {
    const backend = await Backend.start(t);
    backend.answer = ({ event }) => (event === 'connect' ? { allow: true, user: 'änn', topics: ['mine:*'] } : { allow: true });
    const node = await startNode(t, { rules: { ...rules, 'mine:*': { join: 'token' }, 'other:*': { join: 'token' } }, options: optionsOf(backend, { hook_connect: true, hook_events: 'join' }) });
    const socket = await connect(node);
    await join(socket, 'mine:1');
    assert.deepEqual(await settled(socket.channel('other:1').join()), { status: 'error', response: { reason: 'not_granted' } });
    await join(socket, 'ask:1');
    assert.equal(backend.asks.find(({ event }) => event === 'join').user, 'änn');
    await until('both joins are told', () => backend.told.length === 2);
    assert.deepEqual(backend.told.map(({ topic, user }) => [topic, user]), [['mine:1', 'änn'], ['ask:1', 'änn']]);
  });

  test('does_not_matter_any_more_for_a_client_that_is_gone', async (t) => {
    const backend = await Backend.start(t);
    const node = await startNode(t, { rules, options: optionsOf(backend, { hook_connect: true }) });
    const held = gate();
    backend.answer = async () => {
      await held.promise;
      return { allow: true };
    };
    const socket = new WebSocket(`${node.ws}/websocket?vsn=2.0.0`);
    socket.on('error', () => {});
    await until('it is asked', () => backend.asks.length === 1);
    socket.terminate();
    held.open();
    await until('no question waits', async () => (await node.metric('fanmesh_handler_waiting')) === 0);
    (await dial(node)).socket.close();
  });
});

describe('a backend over TLS', () => {
  const folder = workFolder();
  const authority = makeAuthority(folder);
  const good = makeSigned(folder, 'good', authority);

  // What a push is answered on a node whose backend has this certificate.
  async function answerWith(t, certificate, more = {}, env = {}) {
    const backend = await Backend.start(t, { tls: certificate });
    const node = await Node.create({ rules: { 'push:*': { join: 'anyone', push: 'hook' } }, options: optionsOf(backend, { hook_retries: 0, hook_ca: authority.cert, ...more }) });
    node.env = env;
    t.after(() => node.stop());
    await node.start();
    const answer = await push(await join(await connect(node), 'push:tls'), 'msg', 1);
    return { node, backend, answer };
  }

  test('whose_certificate_is_signed_by_hook_ca_is_asked', async (t) => {
    const { answer, backend } = await answerWith(t, good);
    assert.equal(answer.status, 'ok');
    assert.equal(backend.asks.length, 1);
  });

  for (const [what, certificate, more, why] of [
    ['of_another_authority', makeSigned(folder, 'stranger', makeAuthority(folder, 'others')), {}, /certificate/],
    ['of_another_name', makeSigned(folder, 'elsewhere', authority, { names: ['elsewhere.example'] }), {}, /certificate|name/i],
    ['that_is_over', makeSigned(folder, 'over', authority, { days: -1 }), {}, /certificate/],
    ['of_an_authority_that_the_system_does_not_know', good, { hook_ca: null }, /certificate/],
  ]) {
    test(`with_a_certificate_${what}_is_not_and_the_log_says_why`, async (t) => {
      const { node, answer, backend } = await answerWith(t, certificate, { ...more, hook_open_after: 1 });
      assert.equal(answer.status, 'error');
      assert.equal(answer.response.reason, 'unavailable');
      assert.equal(backend.asks.length, 0);
      assert.match(node.log.match(/event=hook_down .*last="([^"]*)"/)?.[1] ?? '', why);
    });
  }

  test('is_not_looked_for_behind_a_proxy_of_the_environment_unless_that_is_asked_for', async (t) => {
    const env = { http_proxy: `http://127.0.0.1:${await freePort()}`, https_proxy: `http://127.0.0.1:${await freePort()}`, no_proxy: '', NO_PROXY: '' };
    assert.equal((await answerWith(t, good, {}, env)).answer.status, 'ok');
    assert.equal((await answerWith(t, good, { hook_proxy: 'environment' }, env)).answer.response.reason, 'unavailable');
  });
});

describe('HUP', () => {
  test('changes_the_backend_its_secret_and_who_is_asked', async (t) => {
    const [first, second] = [await Backend.start(t), await Backend.start(t)];
    const node = await startNode(t, { rules: { 'room:*': rules['room:*'] } });
    node.rules = rules;
    Object.assign(node.options, { hook_url: first.url, hook_secret: hookSecret });
    const log = await node.reload();
    assert.match(log, /event=hook_changed option=hook_url from="" to="http:/);
    assert.match(log, /event=hook_changed option=hook_secret from="unset" to="set"/);
    assert.match(log, /event=reloaded changes=3 need_restart=0 /);
    const asking = await join(await connect(node), 'ask:hup');
    assert.equal((await push(asking, 'msg', 1)).status, 'ok');
    assert.equal(first.asks.length, 2);

    second.secret = 'another-secret-of-hooks';
    Object.assign(node.options, { hook_url: second.url, hook_secret: 'another-secret-of-hooks' });
    await node.reload();
    assert.equal((await push(asking, 'msg', 2)).status, 'ok');
    assert.deepEqual([first.asks.length, second.asks.length], [2, 1]);
    second.secret = hookSecret;
    node.options.hook_secret = 'yet-another-secret';
    assert.match(await node.reload(), /event=hook_changed option=hook_secret\n/);
    second.secret = 'yet-another-secret';
    assert.equal((await push(asking, 'msg', 3)).status, 'ok');

    node.rules = { ...rules, 'ask:*': { join: 'anyone', push: 'anyone' } };
    await node.reload();
    assert.equal((await push(asking, 'msg', 4)).status, 'ok');
    assert.equal(second.asks.length, 2, 'nobody is asked any more');
    node.options.hook_url = null;
    node.options.hook_secret = null;
    assert.match(await node.reload(), /event=hook_changed option=hook_url from="http:[^"]*" to=""/);
    assert.equal((await push(asking, 'msg', 5)).status, 'ok');

    Object.assign(node.options, { hook_url: first.url, hook_secret: 'too short' });
    assert.match(await node.reload(), /event=reload_failed why="hook_secret: one of the secrets, [^"]* has 3 bytes; each must have at least 16"/);
    node.options.hook_url = node.options.hook_secret = null;
    node.rules = rules;
    assert.match(await node.reload(), /event=reload_failed why="\[topic \\"ask:\*\\"\]: it says hook, but there is no hook_url/);
    assert.ok(!node.log.includes(hookSecret) && !node.log.includes('yet-another-secret'));
  });

  test('a_secret_is_replaced_while_both_sign', async (t) => {
    const backend = await Backend.start(t);
    const node = await Node.create({ rules, options: optionsOf(backend) });
    t.after(() => node.stop());
    const file = path.join(node.folder, 'hook.secret');
    fs.writeFileSync(file, 'the-old-hook-secret\nthe-new-hook-secret\n', { mode: 0o600 });
    Object.assign(node.options, { hook_secret: null, hook_secret_file: file });
    await node.start();
    const socket = await connect(node);
    for (const secret of ['the-old-hook-secret', 'the-new-hook-secret']) {
      backend.secret = secret;
      await join(socket, `ask:${secret}`);
    }
  });
});

describe('a node that ends', () => {
  test('does_so_in_time_with_questions_under_way_and_tells_of_its_clients_before', async (t) => {
    const backend = await Backend.start(t);
    const { nodes } = await startCluster(t, 2, { rules, options: optionsOf(backend, { hook_events: 'disconnect', hook_timeout_ms: '60s', leave_ms: '10s' }) });
    backend.answer = ({ topic }) => (topic === 'ask:hangs' ? undefined : { allow: true });
    const closes = [];
    for (let i = 0; i < 5; i++) {
      const socket = await connect(nodes[0], { reconnectAfterMs: () => 1e6 });
      socket.onClose(({ code }) => closes.push(code));
      const channel = await join(socket, 'ask:well');
      void settled(channel.push('msg', i));
      socket.channel('ask:hangs').join();
    }
    await until('they hang', () => backend.asks.filter(({ topic }) => topic === 'ask:hangs').length === 5);
    nodes[0].child.kill('SIGTERM');
    assert.equal((await within(15_000, 'its end', nodes[0].exited)).code, 0);
    nodes[0].checkLog();
    await until('all are closed', () => closes.length === 5);
    assert.deepEqual(closes, Array(5).fill(1012));
    await until('all five are told', () => backend.told.length === 5);
    assert.ok(backend.told.every(({ event, code }) => event === 'disconnect' && code === 1012));
  });

  test('says_what_it_could_not_tell', async (t) => {
    const backend = await Backend.start(t);
    const node = await startNode(t, { rules, options: optionsOf(backend, { hook_events: 'connect', leave_ms: '200ms' }) });
    await backend.close();
    await connect(node);
    await until('it waits', async () => (await node.metric('fanmesh_hook_untold')) === 1);
    await disconnectAll();
    await node.stop();
    assert.match(node.log, /event=hook_dropped events=1 total=1 why="the node ended before the backend had confirmed them"/);
  });
});
