// Presence with the stock phoenix clients, 1.8 and 1.7, on three nodes: who is told what, and when nobody is.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { sharedCluster, startCluster, startNode } from '../lib/cluster.mjs';
import { testRules } from '../lib/node.mjs';
import { connect, disconnect, disconnectAll, leave, push, settled, versions, WebSocket } from '../lib/phoenix.mjs';
import { attend, listOf, membersOf, watch } from '../lib/presence.mjs';
import { fit, snippet } from '../lib/snippets.mjs';
import { secret, token } from '../lib/tokens.mjs';
import { patience, until } from '../lib/wait.mjs';

const rules = {
  ...testRules,
  'who:*': { join: 'anyone', push: 'anyone', presence: 'anyone' },
  'lossy:*': { join: 'anyone', push: 'anyone', presence: 'anyone', slow: 'drop' },
};
// None of these nodes ends: one that the machine lets wait is not to be taken for dead, nor who comes back a little late for gone.
const cluster = await sharedCluster(3, { rules, options: { down_ms: '1m', presence_grace_ms: '7s' } });
const [a, b, c] = cluster.nodes;
after(disconnectAll);

let unique = 0;
const topicOf = (kind = 'who') => `${kind}:${process.pid}-${++unique}`;
const phoenix = versions['phoenix 1.8'];
const as = (key, meta = {}) => ({ presence: { key, meta } });

// All of them show this, by what they were told, and so do the nodes over HTTP.
async function agree(watchers, topic, wanted, nodes = [a, b, c]) {
  const text = JSON.stringify(wanted);
  for (const who of watchers)
    await until(`a client shows ${text}`, () => JSON.stringify(who.list()) === text, 20_000).catch((error) => {
      throw new Error(`${error.message}; it shows ${JSON.stringify(who.list())}`);
    });
  for (const node of nodes)
    await cluster.until(`${node.name} shows ${text}`, async () => JSON.stringify(await membersOf(node, topic)) === text);
}

for (const [name, client] of Object.entries(versions)) {
  for (const vsn of [2, 1]) {
    const how = { client, vsn };
    const come = async (node, topic, params) => attend(client, await connect(node, how), topic, params);

    describe(`${name}, protocol version ${vsn}`, () => {
      test('all_nodes_show_who_is_on_a_topic_and_who_left_it', async () => {
        const topic = topicOf();
        const [ann, bob, cy] = [
          await come(a, topic, as('ann', { from: 'a' })),
          await come(b, topic, as('bob', { from: 'b' })),
          await come(c, topic, as('cy', { from: 'c' })),
        ];
        await agree([ann, bob, cy], topic, { ann: [{ from: 'a' }], bob: [{ from: 'b' }], cy: [{ from: 'c' }] });
        for (const who of [ann, bob, cy]) {
          assert.equal(who.states.length, 1, 'one state a join');
          assert.ok(who.diffs.every((diff) => diff.joins && diff.leaves), 'both members, always');
        }
        const refs = Object.values(cy.presence.state).map(({ metas }) => metas[0].phx_ref);
        assert.equal(new Set(refs).size, 3);
        assert.equal((await leave(bob.channel)).status, 'ok');
        await agree([ann, cy], topic, { ann: [{ from: 'a' }], cy: [{ from: 'c' }] });
      });

      test('a_changed_meta_is_one_diff_in_which_the_new_one_names_the_old', async () => {
        const topic = topicOf();
        const [ann, bob] = [await come(a, topic, as('ann', { mood: 'well' })), await come(b, topic)];
        await agree([ann, bob], topic, { ann: [{ mood: 'well' }] });
        const [was] = bob.presence.state.ann.metas;
        const before = bob.diffs.length;
        const answer = await push(ann.channel, 'presence_track', { meta: { mood: 'better' } });
        assert.equal(answer.status, 'ok');
        assert.equal(answer.response.key, 'ann');
        await agree([ann, bob], topic, { ann: [{ mood: 'better' }] });
        const [is] = bob.presence.state.ann.metas;
        assert.equal(is.phx_ref, answer.response.phx_ref);
        assert.equal(is.phx_ref_prev, was.phx_ref);
        assert.deepEqual(bob.diffs.slice(before), [
          { joins: { ann: { metas: [{ mood: 'better', phx_ref: is.phx_ref, phx_ref_prev: was.phx_ref }] } }, leaves: { ann: { metas: [was] } } },
        ]);
        assert.ok(!bob.gone('ann'));
        assert.equal((await push(ann.channel, 'presence_untrack', {})).status, 'ok');
        await agree([ann, bob], topic, {});
      });

      test('who_reconnects_to_any_node_in_time_was_never_away', async () => {
        const topic = topicOf();
        const watchers = [];
        for (const node of [a, b, c]) watchers.push(await come(node, topic));
        let socket = await connect(a, how);
        await attend(client, socket, topic, as('ann'));
        await agree(watchers, topic, { ann: [{}] });
        for (const node of [a, b, c, a]) {
          await disconnect(socket);
          socket = await connect(node, how);
          await attend(client, socket, topic, as('ann'));
          await agree(watchers, topic, { ann: [{}] });
        }
        for (const who of watchers) assert.ok(!who.gone('ann'), JSON.stringify(who.events));
        await disconnect(socket);
        await agree(watchers, topic, {});
      });

      test('a_rejoin_on_the_same_socket_gets_the_state_again_and_shows_nobody_twice', async () => {
        const topic = topicOf();
        const [ann, bob] = [await come(a, topic, as('ann')), await come(b, topic, as('bob'))];
        await agree([ann, bob], topic, { ann: [{}], bob: [{}] });
        ann.channel.trigger('phx_error', 'as after a failure');
        await until('it has the state again', () => ann.states.length === 2);
        await agree([ann, bob], topic, { ann: [{}], bob: [{}] });
        assert.ok(!bob.gone('ann'));
      });
    });
  }
}

const come = async (node, topic, params) => attend(phoenix, await connect(node), topic, params);

test('a_key_with_two_connections_goes_with_the_last', async () => {
  const topic = topicOf();
  const bob = await come(c, topic);
  const tabs = [await come(a, topic, as('ann', { tab: 1 })), await come(b, topic, as('ann', { tab: 2 }))];
  await agree([bob], topic, { ann: [{ tab: 1 }, { tab: 2 }] });
  await leave(tabs[0].channel);
  await agree([bob], topic, { ann: [{ tab: 2 }] });
  assert.ok(!bob.gone('ann'));
  await leave(tabs[1].channel);
  await agree([bob], topic, {});
  assert.ok(bob.gone('ann'));
});

test('without_a_key_each_connection_has_one_of_its_own_and_is_told_which', async () => {
  const topic = topicOf();
  const [one, two] = [await come(a, topic, { presence: true }), await come(b, topic, { presence: { meta: { n: 2 } } })];
  const { key, phx_ref: ref } = one.response.presence;
  await agree([one, two], topic, Object.fromEntries([[key, [{}]], [two.response.presence.key, [{ n: 2 }]]].sort()));
  assert.equal(two.presence.state[key].metas[0].phx_ref, ref);
  assert.notEqual(key, two.response.presence.key);
});

test('who_does_not_want_to_be_told_is_told_nothing_and_is_shown_if_it_likes', async () => {
  const topic = topicOf();
  const [deaf, quiet] = [await come(a, topic, { presence: false }), await come(b, topic, { presence: { key: 'ann', watch: false } })];
  const bob = await come(a, topic, as('bob'));
  await agree([bob], topic, { ann: [{}], bob: [{}] });
  for (const { channel, states, diffs } of [deaf, quiet]) {
    assert.equal((await push(channel, 'msg', {})).status, 'ok'); // whose answer comes behind what it was told before
    assert.equal(states.length + diffs.length, 0);
  }
});

test('broadcasts_and_presences_stand_side_by_side_on_cursor_channels_too', async () => {
  const topic = topicOf();
  const ann = await come(a, topic, { ...as('ann'), cursor: [] });
  assert.ok(ann.response.cursor.length > 0 && ann.response.presence.key === 'ann');
  const got = [];
  ann.channel.on('msg', (payload, id) => got.push(id));
  for (let i = 0; i < 5; i++) {
    const bob = await come(b, topic, as(`bob${i}`));
    await push(bob.channel, 'msg', {});
  }
  await until('all are there', () => got.length === 5 && ann.keys().length === 6);
  assert.ok(got.every((id) => /^[0-9A-Za-z]+-\d+$/.test(id)));
});

test('what_can_not_be_shown_is_refused_with_a_reason', async () => {
  const socket = await connect(a);
  const reason = async (topic, presence) => {
    const channel = socket.channel(topic, { presence });
    const { status, response } = await settled(channel.join());
    channel.leave();
    return status === 'error' ? response.reason : status;
  };
  assert.equal(await reason(topicOf('room'), { key: 'ann' }), 'presence_forbidden');
  assert.equal(await reason(topicOf('room'), false), 'ok');
  assert.equal(await reason(topicOf(), 7), 'bad_presence');
  assert.equal(await reason(topicOf(), { key: '' }), 'bad_presence_key');
  assert.equal(await reason(topicOf(), { key: 'x'.repeat(256) }), 'bad_presence_key');
  assert.equal(await reason(topicOf(), { key: 'ann', meta: [] }), 'bad_presence_meta');
  assert.equal(await reason(topicOf(), { key: 'ann', meta: { large: 'x'.repeat(5000) } }), 'presence_too_large');
  const ann = await attend(phoenix, socket, topicOf(), as('ann'));
  assert.deepEqual(await push(ann.channel, 'presence_track', { meta: 'no object' }), { status: 'error', response: { reason: 'bad_presence_meta' } });
  assert.equal((await push(ann.channel, 'presence_diff', {})).response.reason, 'reserved_event');
});

test('where_a_token_is_asked_for_its_user_is_the_key_and_nobody_is_shown_as_another', async (t) => {
  const node = await startNode(t, {
    rules: { 'who:*': { join: 'token', push: 'nobody', presence: 'token' }, 'free:*': { join: 'anyone', presence: 'anyone' } },
    options: { token_secret: secret },
  });
  const with_ = (claims) => connect(node, { params: { token: token(claims) } });
  const [ann, bob] = [await with_({ sub: 'ann', topics: ['who:*'] }), await with_({ sub: 'bob', topics: { 'who:*': ['join'] } })];
  const one = await attend(phoenix, ann, 'who:1', { presence: true });
  assert.equal(one.response.presence.key, 'ann');
  const other = await attend(phoenix, bob, 'who:1');
  await until('bob sees ann', () => other.keys().join() === 'ann');
  assert.equal((await push(other.channel, 'presence_track', {})).response.reason, 'not_granted');
  assert.equal((await push(one.channel, 'presence_track', { key: 'bob' })).response.reason, 'presence_forbidden');
  assert.equal((await push(one.channel, 'presence_track', { key: 'ann', meta: { n: 1 } })).response.key, 'ann');
  const free = await attend(phoenix, ann, 'free:1', { presence: { key: 'nick' } });
  assert.equal(free.response.presence.key, 'nick');
});

test('a_meta_that_claims_a_ref_of_its_own_does_not_get_it', async () => {
  const topic = topicOf();
  const ann = await come(a, topic, as('ann', { phx_ref: 'mine', ' ': ' ' }));
  await agree([ann], topic, { ann: [{ ' ': ' ' }] });
  assert.notEqual(ann.presence.state.ann.metas[0].phx_ref, 'mine');
});

test('the_api_gives_pages_in_the_order_of_keys_and_numbers_without_them', async () => {
  const topic = topicOf();
  const socket = await connect(a);
  const names = Array.from({ length: 25 }, (_, i) => `user ${String(i).padStart(2, '0')} "ü"`);
  for (const name of names) await attend(phoenix, await connect(b), topic, { presence: { key: name, watch: false } });
  await attend(phoenix, socket, topic, as(names[3], { tab: 2 }));
  await cluster.until('all are there', async () => (await membersOf(c, topic))[names[3]]?.length === 2 && Object.keys(await membersOf(c, topic)).length === 25);
  const page = async (query) => (await c.request('GET', `/api/topics/${topic}/presence${query}`)).body;
  const first = await page('?limit=10');
  assert.deepEqual(Object.keys(first.members), names.slice(0, 10));
  assert.equal(first.next, names[9]);
  assert.deepEqual([first.topic, first.presences, first.keys], [topic, 26, 25]);
  assert.deepEqual(Object.keys((await page(`?limit=10&after=${encodeURIComponent(names[19])}`)).members), names.slice(20));
  assert.deepEqual(Object.keys(await membersOf(c, topic, 7)), names);
  assert.deepEqual(await page('/count'), { topic, presences: 26, keys: 25 });
  assert.deepEqual(await (await c.request('GET', '/api/topics/who:nobody/presence/count')).body, { topic: 'who:nobody', presences: 0, keys: 0 });
  assert.equal((await c.request('GET', '/api/topics/none/presence')).status, 404);
});

test('a_state_that_is_too_large_for_one_message_comes_in_pieces', async (t) => {
  const node = await startNode(t, { rules, options: { presence_state_bytes: '2KiB' } });
  const topic = topicOf();
  const wanted = {};
  const sockets = await Promise.all(Array.from({ length: 8 }, () => connect(node)));
  for (let i = 0; i < 200; i++) {
    const key = `user${String(i).padStart(3, '0')}`;
    wanted[key] = [{ text: 'x'.repeat(50) }];
    await attend(phoenix, sockets[i % 8], `${topic}`.replace(':', `:${Math.floor(i / 8)}-`), { presence: false });
  }
  const crowd = await Promise.all(
    Object.keys(wanted).map(async (key) => attend(phoenix, await connect(node), topic, { presence: { key, meta: { text: 'x'.repeat(50) }, watch: false } })),
  );
  assert.equal(crowd.length, 200);
  await until('all are there', async () => Object.keys(await membersOf(node, topic)).length === 200);
  const late = watch(phoenix, sockets[0], topic);
  await settled(late.channel.join());
  await until('it shows all', () => late.keys().length === 200);
  assert.deepEqual(late.list(), wanted);
  assert.equal(late.states.length, 1);
  assert.ok(late.diffs.length > 5 && late.diffs.every(({ leaves }) => Object.keys(leaves).length === 0));
});

test('more_than_there_is_room_for_is_refused_and_counted', async (t) => {
  const node = await startNode(t, { rules, options: { presence_bytes: '64KiB' } });
  const socket = await connect(node);
  let refused;
  for (let i = 0; !refused && i < 100; i++) {
    const channel = socket.channel(topicOf(), { presence: { key: 'ann', meta: { text: 'x'.repeat(2000) } } });
    const { status, response } = await settled(channel.join());
    if (status === 'error') refused = response.reason;
    if (status === 'error') channel.leave();
  }
  assert.equal(refused, 'presence_full');
  assert.ok((await node.metric('fanmesh_presence_refused_total')) > 0);
  assert.match(node.log, /event=presence_full .*raise presence_bytes/);
});

test('a_client_that_could_not_take_all_diffs_is_given_the_state_when_it_can', async () => {
  const topic = topicOf('lossy');
  const slow = await attend(phoenix, await connect(a, { heartbeatIntervalMs: 600_000 }), topic); // whose answers it would not hear
  const ann = await come(b, topic, as('ann', { n: 0 }));
  await agree([slow], topic, { ann: [{ n: 0 }] });
  slow.channel.socket.conn._socket.pause();
  const states = slow.states.length;
  const lags = await a.metric('fanmesh_slow_lags_total');
  const many = Array(10).fill({ topic, event: 'msg', payload: { text: 'x'.repeat(60_000) } });
  let n = 0;
  await until(
    'it falls behind',
    async () => {
      for (let i = 0; i < 2; i++) await a.publishAll(many);
      await push(ann.channel, 'presence_track', { meta: { n: ++n } });
      return (await a.metric('fanmesh_slow_lags_total')) > lags;
    },
    60_000,
  );
  await push(ann.channel, 'presence_track', { meta: { n: ++n } });
  const bob = await come(c, topic, as('bob'));
  await agree([bob], topic, { ann: [{ n }], bob: [{}] });
  slow.channel.socket.conn._socket.resume();
  await agree([slow], topic, { ann: [{ n }], bob: [{}] });
  assert.ok(slow.states.length > states);
});

test('the_presences_of_a_node_that_is_killed_are_hidden_and_those_of_others_stay', async (t) => {
  const own = await startCluster(t, 3, { rules });
  const [one, two, three] = own.nodes;
  const topic = topicOf();
  const bob = await come(two, topic, as('bob'));
  const cy = await come(three, topic, as('cy'));
  const doomed = await Promise.all(
    Array.from({ length: 20 }, async (_, i) => attend(phoenix, await connect(one, { reconnectAfterMs: () => 3_600_000 }), topic, as(`ann${i}`))),
  );
  await until('all are there', () => bob.keys().length === 22 && cy.keys().length === 22 && doomed.every((who) => who.keys().length === 22));
  const killed = Date.now();
  await one.kill();
  await until('they are hidden', () => bob.keys().length === 2 && cy.keys().length === 2);
  console.log(`# hidden ${Date.now() - killed} ms after the death`);
  const left = JSON.stringify({ bob: [{}], cy: [{}] });
  for (const node of [two, three]) await until(`${node.name} shows them no more`, async () => JSON.stringify(await membersOf(node, topic)) === left);
  assert.ok(!bob.gone('cy') && !cy.gone('bob'));
  await own.restart(one);
  const dee = await come(one, topic, as('dee'));
  const all = JSON.stringify({ bob: [{}], cy: [{}], dee: [{}] });
  for (const who of [bob, cy, dee]) await until('the new life shows everyone', () => JSON.stringify(who.list()) === all);
  await Promise.all(doomed.map(({ channel }) => disconnect(channel.socket)));
});

test('clients_of_a_node_that_drains_are_never_seen_to_go_if_they_are_back_elsewhere_in_time', async (t) => {
  const own = await startCluster(t, 3, { rules, options: { presence_grace_ms: 15_000 * patience } });
  const [one, two, three] = own.nodes;
  const topic = topicOf();
  const watchers = [await come(two, topic), await come(three, topic)];
  let home = one.ws;
  const movers = [];
  for (let i = 0; i < 10; i++) {
    const socket = await connect(one);
    socket.endPointURL = () => `${home}/websocket?vsn=2.0.0`;
    movers.push(await attend(phoenix, socket, topic, as(`ann${i}`, { i })));
  }
  const stays = await attend(phoenix, await connect(one, { reconnectAfterMs: () => 3_600_000 }), topic, as('zoe'));
  const names = movers.map((_, i) => `ann${i}`);
  for (const who of watchers) await until('all are there', () => who.keys().length === 11);
  home = two.ws;
  await one.stop(30_000);
  for (const who of watchers) {
    await until('they are back, each once', () => names.every((name, i) => JSON.stringify(who.list()[name]) === JSON.stringify([{ i }])));
    for (const name of names) assert.ok(!who.gone(name), JSON.stringify(who.events));
  }
  // What was told of the node that left comes before who comes now.
  const late = await attend(phoenix, await connect(three), topic, as('late'));
  for (const who of watchers) {
    await until('who came since is there', () => who.keys().includes('late'));
    assert.ok(!who.gone('zoe'), 'who is not back is shown as long as it may be');
  }
  await leave(late.channel);
  await one.start();
  await own.linked();
  for (const who of watchers) await until('its time is over', () => !who.keys().includes('zoe'), 60_000);
  const shown = Object.fromEntries(names.map((name, i) => [name, [{ i }]]));
  for (const node of own.nodes) await until('all nodes agree', async () => JSON.stringify(await membersOf(node, topic)) === JSON.stringify(shown));
  await disconnect(stays.channel.socket);
});

test('a_node_that_stood_still_hides_nobody_and_is_shown_again', async (t) => {
  const own = await startCluster(t, 3, { rules });
  const [one, two] = own.nodes;
  const topic = topicOf();
  const [ann, bob] = [await come(one, topic, as('ann')), await come(two, topic, as('bob'))];
  const all = JSON.stringify({ ann: [{}], bob: [{}] });
  for (const who of [ann, bob]) await until('both are there', () => JSON.stringify(who.list()) === all);
  one.freeze();
  await until('its clients are hidden', () => bob.gone('ann'));
  one.thaw();
  for (const who of [ann, bob]) await until('both are there again', () => JSON.stringify(who.list()) === all);
  assert.ok(!ann.gone('bob'), JSON.stringify(ann.events));
  assert.deepEqual(listOf(ann.presence.state), listOf(bob.presence.state));
});

test('the_snippet_of_the_guide_shows_who_is_there', async (t) => {
  const node = await startNode(t, { rules: { 'room:*': rules['who:*'] } });
  const text = fit(snippet('docs/guide.md', 'Presence', 'js'), { nodes: [node] })
    .replace('import { Presence, Socket } from "phoenix";', '')
    .replace('/socket")', '/socket", { transport })');
  const told = [];
  const socket = new Function('Presence', 'Socket', 'transport', 'console', `${text}; return socket;`)(
    phoenix.Presence, phoenix.Socket, WebSocket, { log: (line) => told.push(line) },
  );
  const bob = await attend(phoenix, await connect(node), 'room:1', as('bob'));
  await until('it tells of both', () => JSON.stringify(told.at(-1)?.toSorted?.() ?? told.at(-1)) === JSON.stringify(['ann (1)', 'bob (1)']));
  assert.deepEqual(bob.list(), { ann: [{ mood: 'well' }], bob: [{}] });
  await new Promise((resolve) => socket.disconnect(resolve));
});

test('raw_frames_of_presence_carry_no_refs', async () => {
  const topic = topicOf();
  const frames = [];
  const ws = new WebSocket(`${a.ws}/websocket?vsn=2.0.0`);
  ws.on('message', (data) => frames.push(JSON.parse(data)));
  await new Promise((resolve) => ws.once('open', resolve));
  ws.send(JSON.stringify(['1', '1', topic, 'phx_join', { presence: { key: 'ann', meta: {} }, cursor: [] }]));
  await until('the state is there', () => frames.some(([, , , event]) => event === 'presence_state'));
  await come(b, topic, as('bob'));
  await until('the diff is there', () => frames.some(([, , , event]) => event === 'presence_diff'));
  assert.equal(frames[0][3], 'phx_reply', 'the reply is first');
  for (const [joinRef, ref, of, event] of frames.slice(1)) assert.deepEqual([joinRef, ref, of, event.split('_')[0]], [null, null, topic, 'presence']);
  ws.terminate();
});
