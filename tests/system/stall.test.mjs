// A node that stood still (SIGSTOP) for longer than its time limits takes none of its clients for silent: what they sent meanwhile lies unread.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';
import { answersOf } from '../lib/http_raw.mjs';
import { Poller } from '../lib/longpoll.mjs';
import { WebSocket } from '../lib/phoenix.mjs';
import { closeCode, Raw, rawSocket, upgradeRequest } from '../lib/raw.mjs';
import { secret, seconds, token } from '../lib/tokens.mjs';
import { patience, sleep, until, within } from '../lib/wait.mjs';

// Of everything: long enough for a client on a busy machine to keep.
const limit = 4000 * patience;
const options = { handshake_ms: limit, idle_ms: limit, longpoll_ttl_ms: limit, longpoll_wait_ms: 500 };
const get = (target) => `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

// A client that says every now and then that it is there, and counts the answers.
async function talker(node) {
  const client = { sent: 0, answered: 0, closed: undefined, ws: new WebSocket(`${node.ws}/websocket?vsn=2.0.0`) };
  client.ws.on('message', () => client.answered++);
  client.ws.on('close', (code) => (client.closed = code));
  client.ws.on('error', () => {});
  await new Promise((resolve) => client.ws.once('open', resolve));
  client.speak = () => {
    client.ws.send(JSON.stringify([null, String(++client.sent), 'phoenix', 'heartbeat', {}]));
  };
  client.speak();
  client.timer = setInterval(client.speak, 200);
  client.end = () => (clearInterval(client.timer), client.ws.terminate());
  return client;
}

// An open connection that has had one answer, and waits for the next request.
async function kept(node) {
  const raw = await Raw.open(node.port);
  await answersOf(raw.send(get('/healthz')));
  return raw;
}

const request = upgradeRequest();

// What came of it, without an end of the test; and of several, each outcome once.
const outcome = (promise) => promise.catch((error) => String(error));
const all = async (promises) => [...new Set(await Promise.all(promises.map(outcome)))];

const several = (n, open) => Promise.all(Array.from({ length: n }, open));

// At the same time: they wait, and need little else.
describe('a node that stood still', { concurrency: true }, () => {
  test('nobody_is_closed_for_what_a_node_did_not_read_while_it_stood_still_and_who_is_silent_still_is', async (t) => {
    const node = await startNode(t, { options });
    const talkers = await several(20, () => talker(node));
    t.after(() => talkers.forEach((client) => client.end()));
    const silent = {
      sockets: await several(3, () => rawSocket(node)),
      connections: await several(3, () => Raw.open(node.port)),
      pollers: await several(3, () => Poller.to(node).open()),
    };
    const pollers = await several(5, () => Poller.to(node, { headers: { connection: 'close' } }).open());
    assert.deepEqual(await Promise.all(pollers.map(async (poller) => (await poller.poll()).status)), [204, 204, 204, 204, 204]);
    const keeping = await several(5, () => kept(node));
    const beginning = await several(5, async () => (await Raw.open(node.port)).send(request.slice(0, 60)));
    const waiting = await several(5, () => Raw.open(node.port));
    t.after(() => [...silent.sockets, ...silent.connections, ...keeping, ...beginning, ...waiting].forEach((raw) => raw.close()));
    await until('the node has taken all of them', async () => (await node.metric('fanmesh_connections')) >= 20 + 3 + 3 + 3 + 5 + 5 + 5 + 5);

    node.freeze();
    await sleep(limit / 2);
    const polls = pollers.map((poller) => outcome(poller.poll().then(({ status }) => status)));
    for (const raw of keeping) raw.send(get('/healthz'));
    for (const raw of beginning) raw.send(request.slice(60));
    for (const raw of waiting) raw.send(request);
    await sleep(limit);
    node.thaw();

    const sent = talkers.map((client) => client.sent);
    const heard = (client, i) => until('its heartbeats are answered', () => client.closed ?? (client.answered >= sent[i] && 'answered'));
    assert.deepEqual(
      {
        talkers: await all(talkers.map(heard)),
        polls: await all(polls),
        keeping: await all(keeping.map(async (raw) => (await answersOf(raw, 2)).map(({ status }) => status).join())),
        beginning: await all(beginning.map(async (raw) => (await raw.expect(/^HTTP\/1\.1 (\d+) /))[1])),
        waiting: await all(waiting.map(async (raw) => (await raw.expect(/^HTTP\/1\.1 (\d+) /))[1])),
      },
      { talkers: ['answered'], polls: [204], keeping: ['200,200'], beginning: ['101'], waiting: ['101'] },
    );
    for (const raw of silent.sockets) await raw.end();
    assert.deepEqual(silent.sockets.map(closeCode), [1001, 1001, 1001]);
    await node.counts('fanmesh_handshake_timeouts_total', 3);
    await until('the sessions that nobody polls are over', async () => (await node.metric('fanmesh_longpoll_expired_total')) >= 3);
    assert.deepEqual(talkers.filter(({ closed }) => closed), []);
  });

  test('the_end_of_a_token_is_not_put_off_for_a_node_that_stood_still', async (t) => {
    const node = await startNode(t, { options: { handshake_ms: limit / 2, token_secret: secret, token_leeway: '0', token_grace_ms: 0 } });
    const over = seconds(Math.ceil((1.5 * limit) / 1000));
    const holder = await rawSocket(node, `/socket/websocket?vsn=2.0.0&token=${token({ sub: 'ann', exp: over })}`);
    const mute = await Raw.open(node.port); // its time goes on where it stood, and there was less of it
    t.after(() => [holder, mute].forEach((raw) => raw.close()));
    const ended = [];
    for (const [name, raw] of Object.entries({ holder, mute })) raw.closed.then(() => ended.push(name));
    await until('the node has taken both', async () => (await node.metric('fanmesh_connections')) >= 2);
    node.freeze();
    await until('the token is over', () => seconds() > over, 3 * limit);
    assert.deepEqual(ended, []);
    node.thaw();
    await until('both are closed', () => ended.length === 2);
    assert.deepEqual(ended, ['holder', 'mute']);
    assert.equal(closeCode(holder), 4001);
  });

  test('who_keeps_to_a_rate_is_not_refused_for_what_came_at_once_when_the_node_went_on', async (t) => {
    const node = await startNode(t, { options: { pushes_per_s: Math.ceil(50 / patience), rate_burst_ms: 1000 * patience, workers: 1 } });
    const ws = new WebSocket(`${node.ws}/websocket?vsn=2.0.0`);
    t.after(() => ws.terminate());
    const statuses = [];
    let pushed = 0, closed;
    ws.on('message', (text) => {
      const [, ref, , event, { status }] = JSON.parse(text);
      if (event === 'phx_reply' && ref !== 'join') statuses.push(status);
    });
    ws.on('close', (code) => (closed = code));
    await new Promise((resolve) => ws.once('open', resolve));
    ws.send('["1","join","others:1","phx_join",{}]');
    const speaking = setInterval(() => ws.send(JSON.stringify(['1', String(++pushed), 'others:1', 'msg', {}])), 50 * patience);
    t.after(() => clearInterval(speaking));
    await until('its pushes are taken', () => statuses.length > 3);
    node.freeze();
    await sleep(2 * limit);
    node.thaw();
    const before = pushed;
    await until('all are answered', () => closed || statuses.length >= before);
    await until('and those after them', () => closed || statuses.length >= before + 60);
    assert.deepEqual([closed, [...new Set(statuses)]], [undefined, ['ok']]);
  });

  test('limits_end_also_while_a_node_stands_still_again_and_again', async (t) => {
    const node = await startNode(t, { options: { handshake_ms: 1000 * patience } });
    const mute = await Raw.open(node.port);
    t.after(() => mute.close());
    let ended = false;
    mute.closed.then(() => (ended = true));
    let times = 0;
    for (; !ended && times < 40; times++) {
      node.freeze();
      await sleep(1300);
      node.thaw();
      await sleep(300);
    }
    assert.ok(ended, 'closed by no limit while time went on');
  });

  test('a_poll_that_waited_while_the_node_stood_still_does_not_wait_longer_for_that', async (t) => {
    const node = await startNode(t, { options: { longpoll_wait_ms: 600_000 } });
    const poller = await Poller.to(node).open();
    const waiting = poller.poll();
    await until('it waits', async () => (await node.metric('fanmesh_connections')) > 0);
    await sleep(200);
    node.freeze();
    await sleep(1300);
    node.thaw();
    assert.equal((await within(60_000, 'an answer', waiting)).status, 204);
  });
});
