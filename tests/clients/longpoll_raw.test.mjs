// LongPoll as it is on the wire: tokens, limits, pages of other origins, clients that do it wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedCluster, startCluster, startNode } from '../lib/cluster.mjs';
import { answersOf } from '../lib/http_raw.mjs';
import { Poller } from '../lib/longpoll.mjs';
import { Node } from '../lib/node.mjs';
import { Raw } from '../lib/raw.mjs';
import { patience, until, within } from '../lib/wait.mjs';

// None of these nodes ends: one that the machine lets wait is not to be taken for dead, which would end its sessions.
const cluster = await sharedCluster(3, { options: { longpoll_wait_ms: 1000, longpoll_ttl_ms: '5m', down_ms: '1m', origins: 'https://app.example' } });
const { nodes } = cluster;
const [a] = nodes;

test('a_poll_without_a_token_opens_a_session_and_one_for_which_nothing_comes_is_answered_204_in_time', async () => {
  const poller = Poller.to(a);
  const opened = await poller.request('GET', { token: null });
  assert.equal(opened.http, 200);
  assert.equal(opened.status, 410);
  assert.deepEqual(opened.messages, []);
  assert.equal(opened.headers.get('cache-control'), 'no-store');
  const answer = await within(5000, 'an answer', poller.poll({ token: opened.token }));
  assert.equal(answer.status, 204);
  assert.equal(answer.token, opened.token);
});

test('a_message_is_given_to_the_poll_that_waits_on_whichever_node', async () => {
  const poller = await Poller.to(nodes).open();
  await poller.join('room:waits');
  for (const node of nodes) {
    const polled = poller.poll();
    const id = await node.publish({ topic: 'room:waits', event: 'msg', payload: { from: node.name } });
    assert.ok(id);
    await within(10_000, 'its answer', polled);
    await poller.message((message) => message[3] === 'msg' && message[4].from === node.name);
  }
});

test('requests_reach_sessions_of_other_workers_of_their_node', async (t) => {
  const node = await startNode(t, { options: { workers: 4 } });
  const pollers = [];
  for (let i = 0; i < 8; i++) {
    const poller = await Poller.to(node, { headers: { connection: 'close' } }).open();
    await poller.join('room:workers');
    pollers.push(poller);
  }
  await node.publish({ topic: 'room:workers', event: 'msg', payload: 1 });
  for (const poller of pollers) await poller.message((message) => message[3] === 'msg');
  assert.ok((await node.metric('fanmesh_longpoll_passed_total')) > 0);
  assert.equal(await node.metric('fanmesh_longpoll_relayed_total'), 0);
  assert.equal(await node.metric('fanmesh_longpoll_sessions'), 8);
});

test('the_last_token_of_the_query_counts_and_the_header_before_it', async () => {
  const poller = await Poller.to(a, { params: 'token=of-the-application' }).open();
  assert.equal((await poller.push([null, '1', 'phoenix', 'heartbeat', {}])).status, 200);
  const reply = await poller.poll();
  assert.equal(reply.status, 200);
  assert.equal(JSON.parse(reply.messages[0])[3], 'phx_reply');
  const byHeader = await poller.request('GET', { token: 'wrong', headers: { 'x-phoenix-longpoll-token': poller.token } });
  assert.equal(byHeader.status, 204);
});

test('an_answer_that_did_not_arrive_ends_the_session_so_that_the_client_resumes_and_misses_nothing', async () => {
  const topic = 'room:lost-answer';
  const poller = await Poller.to(nodes).open();
  const { cursor } = await poller.join(topic, { cursor: [] });
  const before = poller.token;
  const polled = poller.poll();
  const id = await a.publish({ topic, event: 'msg', payload: 1 });
  let answer = await polled;
  while (answer.status === 204) answer = await poller.poll(); // its time was over before the message came, and its token is the same
  assert.equal(answer.status, 200);
  assert.notEqual(poller.token, before, 'an answer with messages brings a new token');
  // As a proxy does that saw the connection break before the answer: it sends the request again.
  const again = await poller.request('GET', { token: before });
  assert.equal(again.status, 410);
  assert.equal(again.token, undefined);
  assert.equal((await poller.request('GET')).status, 410, 'it has ended for the newest token, too');
  const next = await Poller.to(nodes).open();
  const reply = await next.join(topic, { cursor });
  assert.equal(reply.recovered, true);
  assert.equal((await next.message((message) => message[3] === 'msg'))[1], id);
  const lost = await Promise.all(nodes.map((node) => node.metric('fanmesh_longpoll_lost_total')));
  assert.equal(lost.reduce((x, y) => x + y), 1);
});

test('a_second_poll_takes_the_place_of_the_first', async (t) => {
  const node = await startNode(t, { options: { longpoll_wait_ms: '5m' } });
  const poller = await Poller.to(node).open();
  await poller.join('room:second');
  // Which of the two is the first at its session nobody can say from here.
  const polls = [poller.request('GET'), poller.request('GET')];
  const which = await within(20_000, 'the first', Promise.race(polls.map(async (poll, i) => (await poll, i))));
  assert.equal((await polls[which]).status, 204);
  await node.publish({ topic: 'room:second', event: 'msg', payload: 1 });
  assert.equal((await within(20_000, 'the second', polls[1 - which])).status, 200);
});

test('phoenix_1_7_which_takes_410_for_an_open_is_told_500_where_its_session_is_lost', async () => {
  const poller = await Poller.to(a).open();
  const headers = { 'content-type': 'application/json' }; // which 1.7 sends with polls
  const gone = `${poller.token.slice(0, -4)}AAAA`;
  assert.equal((await poller.request('GET', { token: gone })).status, 410);
  assert.equal((await poller.request('GET', { token: gone, headers })).status, 500);
  assert.equal((await poller.request('GET', { token: null, headers })).status, 410, 'an open is one for all');
});

test('a_guessed_token_reaches_no_session', async () => {
  const poller = await Poller.to(a).open();
  await poller.join('room:guess');
  for (const at of [1, 10, 20, 30, 40, 51]) {
    const token = [...poller.token];
    token[at] = token[at] === 'A' ? 'B' : 'A';
    const answer = await poller.request('POST', { token: token.join(''), body: '[null,"1","phoenix","heartbeat",{}]' });
    assert.notEqual(answer.status, 200, `position ${at}`);
  }
  assert.equal((await poller.push([null, '9', 'phoenix', 'heartbeat', {}])).status, 200, 'and the session goes on');
});

test('a_session_that_nobody_polls_ends', async (t) => {
  const node = await startNode(t, { options: { longpoll_ttl_ms: 1000 } });
  let poller, opened = 0;
  await until('it has joined in time', async () => {
    poller = await Poller.to(node).open();
    opened++;
    return poller.join('room:expires');
  });
  await until('it has ended', async () => (await node.metric('fanmesh_longpoll_sessions')) === 0);
  assert.equal(await node.metric('fanmesh_longpoll_expired_total'), opened);
  await until('and its subscription', async () => (await node.metric('fanmesh_subscriptions')) === 0);
  assert.equal((await poller.request('GET')).status, 410);
  assert.equal((await poller.push([null, '1', 'phoenix', 'heartbeat', {}])).status, 410);
});

test('what_is_pushed_wrongly_is_refused_with_what_was_wrong', async () => {
  const poller = await Poller.to(nodes).open();
  const ndjson = { 'content-type': 'application/x-ndjson' };
  const line = '[null,"1","phoenix","heartbeat",{}]';
  const many = await poller.request('POST', { body: `${line}\n`.repeat(101), headers: ndjson });
  assert.equal(many.status, 413);
  assert.match(many.error.message, /more than 100/);
  const bad = await poller.request('POST', { body: `${line}\n!!`, headers: ndjson });
  assert.equal(bad.status, 400);
  assert.match(bad.error.message, /base64/);
  assert.equal((await poller.request('POST', { body: `${line}\n`.repeat(100), headers: ndjson })).status, 200);
  assert.equal((await poller.request('POST', { body: line })).status, 200, 'one message without lines');
  // A frame that can't be read ends the session, as it closes a WebSocket.
  assert.equal((await poller.request('POST', { body: '[not a frame', headers: ndjson })).status, 410);
  await until('it has ended', async () => (await poller.request('GET')).status === 410);
  assert.equal((await poller.request('POST', { token: null, body: line })).status, 410);
});

test('a_message_larger_than_message_max_ends_the_session_and_one_as_large_arrives_whole_across_nodes', async () => {
  const poller = await Poller.to(nodes).open();
  await poller.join('room:large');
  const text = '"'.repeat(30_000);
  assert.equal((await poller.push(['1', '5', 'room:large', 'msg', { text }])).status, 200);
  const got = await poller.message((message) => message[3] === 'msg');
  assert.equal(got[4].text, text);
  assert.equal((await poller.push(['1', '6', 'room:large', 'msg', { text: 'x'.repeat(70_000) }])).status, 410);
});

test('pages_of_other_origins_may_use_it_where_the_option_origins_says_so', async () => {
  const poller = Poller.to(a);
  const origin = (name) => ({ origin: name });
  const asked = await poller.request('OPTIONS', { headers: origin('https://app.example') });
  assert.equal(asked.http, 204);
  assert.equal(asked.headers.get('access-control-allow-origin'), 'https://app.example');
  assert.match(asked.headers.get('access-control-allow-headers'), /x-phoenix-authtoken/i);
  assert.match(asked.headers.get('access-control-allow-methods'), /POST/);
  const opened = await poller.request('GET', { headers: origin('https://app.example') });
  assert.equal(opened.status, 410);
  assert.equal(opened.headers.get('access-control-allow-origin'), 'https://app.example');
  const stranger = await poller.request('GET', { headers: origin('https://evil.example') });
  assert.equal(stranger.http, 403);
  assert.equal(stranger.headers.get('access-control-allow-origin'), null);
});

test('another_version_or_method_is_refused', async () => {
  const wrong = await Poller.to(a, { vsn: '3.0.0' }).request('GET');
  assert.equal(wrong.http, 200);
  assert.equal(wrong.status, 403);
  assert.equal(wrong.error.code, 'wrong_version');
  assert.equal((await Poller.to(a).request('PUT', { body: 'x' })).http, 405);
});

test('a_client_that_does_not_poll_while_more_comes_than_its_outbox_takes_is_told_to_come_back', async (t) => {
  const node = await startNode(t, { options: { outbox_bytes: '64KiB' } });
  const poller = await Poller.to(node).open();
  const { cursor } = await poller.join('room:slow', { cursor: [] });
  const ids = [];
  for (let n = 0; n < 20; n++) ids.push(await node.publish({ topic: 'room:slow', event: 'msg', payload: { n, filler: 'x'.repeat(10_000) } }));
  await until('it is given up', async () => (await node.metric('fanmesh_slow_disconnects_total')) === 1);
  assert.equal((await poller.request('GET')).status, 410);
  const next = await Poller.to(node).open();
  const reply = await next.join('room:slow', { cursor });
  assert.equal(reply.recovered, true);
  assert.equal(reply.replayed, 20);
  await next.message((message) => message[1] === ids.at(-1));
  assert.deepEqual(next.got().map(([, id]) => id), ids);
});

test('a_topic_that_leaves_out_what_a_client_is_too_slow_for_tells_it_by_gaps', async (t) => {
  const rules = { 'drop:*': { join: 'anyone', slow: 'drop', message_max: '16KiB' } };
  const node = await startNode(t, { rules, options: { outbox_bytes: '64KiB' } });
  const poller = await Poller.to(node).open();
  await poller.join('drop:slow', { cursor: [] });
  const ids = [];
  const publish = async (n) => ids.push(await node.publish({ topic: 'drop:slow', event: 'msg', payload: { n, filler: 'x'.repeat(10_000) } }));
  for (let n = 0; n < 20; n++) await publish(n);
  await until('it is behind', async () => (await node.metric('fanmesh_slow_skipped_total')) > 0);
  await poller.message((message) => message[3] === 'gap');
  await publish(20);
  await poller.message((message) => message[3] === 'msg' && message[4].n === 20);
  const gaps = poller.got('gap').map(([, , , , gap]) => gap);
  assert.ok(gaps.every(({ reason }) => reason === 'slow'));
  assert.equal(poller.got().length + gaps.reduce((sum, { skipped }) => sum + skipped, 0), 21);
});

test('requests_that_were_sent_before_the_answers_of_earlier_ones_do_no_harm', async (t) => {
  const node = await startNode(t, { options: { workers: 1, longpoll_wait_ms: 200, longpoll_ttl_ms: 1000 } });
  const topic = 'room:pipelined';
  const get = (token) => `GET /socket/longpoll?vsn=2.0.0&token=${token} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  const pair = () => until('two have joined in time', async () => {
    const pollers = [await Poller.to(node).open(), await Poller.to(node).open()];
    const old = pollers.map(({ token }) => token);
    for (const poller of pollers) await poller.join(topic);
    return { pollers, old, now: pollers.map(({ token }) => token) };
  });
  const sent = [];
  const send = async (...tokens) => {
    const raw = await Raw.open(node.port);
    t.after(() => raw.close());
    raw.send(tokens.map(get).join(''));
    sent.push([raw, tokens.length]);
  };
  for (let i = 0; i < 10; i++) {
    // Both are given a message in one turn, and behind each poll stands one that ends the other's session.
    const both = await pair();
    await send(both.now[0], both.old[1]);
    await send(both.now[1], both.old[0]);
    await node.publish({ topic, event: 'msg', payload: i });
    // Behind polls that wait: some for the same session, one that ends it. It is closed for a frame that can't be read, or ends by itself.
    const { pollers: [poller], old, now } = await pair();
    await send(now[0], old[0], now[0]);
    await send(now[0], now[0], old[1], now[1], old[0]);
    if (i % 2) await poller.request('POST', { body: '[not a frame' });
  }
  for (const [raw, n] of sent) assert.equal((await answersOf(raw, n, 20_000)).length, n);
  await until('all sessions have ended', async () => (await node.metric('fanmesh_longpoll_sessions')) === 0);
  assert.ok(await Poller.to(node).open());
});

// Sanitizers take more stack by themselves.
test('polls_of_many_connections_of_which_each_answers_the_next_do_not_grow_the_stack', { skip: patience > 1 }, async (t) => {
  const node = await Node.create({ options: { workers: 1, longpoll_wait_ms: '5m', longpoll_ttl_ms: '5m' } });
  node.under = ['bash', '-c', 'ulimit -s 512; exec "$@"', 'bash']; // a node whose calls nested with them would not take 300
  t.after(() => node.stop());
  await node.start();
  const get = ({ token }) => `GET /socket/longpoll?vsn=2.0.0&token=${token} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  const pollers = await Promise.all(Array.from({ length: 501 }, () => Poller.to(node).open()));
  const raws = await Promise.all(Array.from({ length: 500 }, () => Raw.open(node.port)));
  t.after(() => raws.forEach((raw) => raw.close()));
  // Behind each poll, which waits, stands one for the session of the next connection: it takes the place of that one's.
  for (const [i, raw] of raws.entries()) raw.send(get(pollers[i]) + get(pollers[i + 1]));
  await until('all wait', async () => (await node.metric('fanmesh_longpoll_polls_total')) === raws.length);
  const first = await Raw.open(node.port);
  t.after(() => first.close());
  first.send(get(pollers[0]));
  for (const raw of raws) assert.equal(JSON.parse((await answersOf(raw))[0].body).status, 204);
  assert.ok(await Poller.to(node).open());
});

test('where_the_node_that_has_the_session_dies_a_poll_that_waits_is_told_long_before_its_time_is_over', async (t) => {
  const own = await startCluster(t, 2, { options: { longpoll_wait_ms: '5m' } });
  const [owner, other] = own.nodes;
  const poller = await Poller.to(owner).open();
  await poller.join('room:dies');
  poller.bases = Poller.to(other).bases;
  const polled = poller.request('GET');
  await until('the poll is there', async () => (await owner.metric('fanmesh_mesh_parcels_total')) + (await other.metric('fanmesh_mesh_parcels_total')) > 0);
  await owner.kill();
  assert.equal((await within(60_000, 'an answer', polled)).status, 410);
});

test('where_the_node_that_has_the_session_stands_still_the_poll_ends_and_the_client_comes_back', async (t) => {
  const own = await startCluster(t, 2, { options: { longpoll_wait_ms: 1000, ask_timeout_ms: 500 } });
  const [owner, other] = own.nodes;
  const poller = await Poller.to(owner).open();
  poller.bases = Poller.to(other).bases;
  owner.freeze();
  const answer = await within(30_000, 'an answer', poller.request('GET'));
  owner.thaw();
  assert.equal(answer.status, 410);
  assert.equal(await other.metric('fanmesh_longpoll_unreached_total'), 1);
});

test('switched_off_there_is_no_such_path', async (t) => {
  const node = await startNode(t, { options: { longpoll: 'false', sse: 'false' } });
  assert.equal((await Poller.to(node).request('GET')).http, 404);
  assert.equal((await fetch(`http://127.0.0.1:${node.port}/sse?topic=room:a`)).status, 404);
});
