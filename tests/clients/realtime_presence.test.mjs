// Presence of Supabase's stock clients: track, untrack, sync, join and leave, on three nodes, with the stock client of phoenix among them.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { sharedCluster, startCluster } from '../lib/cluster.mjs';
import { connect, disconnectAll, join } from '../lib/phoenix.mjs';
import { clients, disconnectClients, realtime, realtimeRules as rules, subscribe } from '../lib/realtime.mjs';
import { Relay } from '../lib/relay.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);
after(disconnectClients);
const cluster = await sharedCluster(3, { rules });
const { nodes } = cluster;

// Subscribes with presence; channel.told: what its callbacks got.
function present(client, name, key = '', config = {}) {
  return subscribe(client, name, { presence: { key, enabled: true }, ...config }, (channel) => {
    channel.told = [];
    channel.on('presence', { event: 'sync' }, () => channel.told.push({ event: 'sync' }));
    channel.on('presence', { event: 'join' }, ({ key: of, newPresences }) => channel.told.push({ event: 'join', key: of, metas: newPresences }));
    channel.on('presence', { event: 'leave' }, ({ key: of, leftPresences }) => channel.told.push({ event: 'leave', key: of, metas: leftPresences }));
  });
}
// { key: [metas without their refs] }
const seen = (channel) => Object.fromEntries(Object.entries(channel.presenceState())
  .map(([key, metas]) => [key, metas.map(({ presence_ref: ref, ...rest }) => (assert.ok(ref), rest))]).sort());
const sees = (channel, wanted) => until(`it sees ${JSON.stringify(wanted)}`, () => {
  assert.deepEqual(seen(channel), wanted);
  return true;
}).catch((error) => { throw new Error(`${error.message}; last ${JSON.stringify(seen(channel))}`); });

for (const [name, client] of Object.entries(clients)) {
  const named = (what) => `${name.replaceAll(' ', '-')}-${what}`;

  describe(name, () => {
    test('who_tracks_is_seen_on_every_node_changes_and_goes', async () => {
      const topic = named('track');
      const ann = await present(realtime(nodes[0], client), topic, 'ann');
      const others = [];
      for (const [i, other] of Object.values(clients).entries()) others.push(await present(realtime(nodes[i % 3], other), topic));
      assert.equal(await ann.track({ mood: 'fine' }), 'ok');
      for (const channel of [ann, ...others]) await sees(channel, { ann: [{ mood: 'fine' }] });
      assert.ok(others[0].told.some(({ event, key }) => event === 'join' && key === 'ann'));
      assert.equal(await ann.track({ mood: 'better' }), 'ok');
      for (const channel of [ann, ...others]) await sees(channel, { ann: [{ mood: 'better' }] });
      assert.equal(await others[1].track({ n: 1 }), 'ok');
      await until('one without a key has one of its own', () => Object.keys(seen(ann)).length === 2);
      const late = await present(realtime(nodes[2], client), topic);
      await until('who comes later sees both', () => Object.keys(seen(late)).length === 2);
      assert.equal(await ann.untrack(), 'ok');
      for (const channel of [late, others[0]]) await until('ann is gone', () => !seen(channel).ann);
      assert.ok(others[0].told.some(({ event, key }) => event === 'leave' && key === 'ann'));
    });

    test('who_leaves_the_channel_is_seen_to_leave_at_once', async () => {
      const topic = named('leave');
      const watcher = await present(realtime(nodes[1]), topic);
      const socket = realtime(nodes[0], client);
      const channel = await present(socket, topic, 'k');
      await channel.track({});
      await sees(watcher, { k: [{}] });
      await socket.removeChannel(channel);
      await sees(watcher, {});
    });

    test('what_can_not_be_tracked_is_an_error', async () => {
      const channel = await present(realtime(nodes[0], client), named('bad'), 'k');
      assert.equal(await channel.track({ text: 'x'.repeat(5000) }), 'error', 'presence_meta_max');
      assert.equal(await channel.send({ type: 'presence', event: 'track', payload: [1] }), 'error');
      assert.equal(await channel.send({ type: 'presence', event: 'dance' }), 'error');
      assert.equal(await channel.track({ fits: true }), 'ok');
      await sees(channel, { k: [{ fits: true }] });
    });

    test('a_rule_without_presence_is_told', async () => {
      const topic = `bare-${named('none')}`;
      const channel = await present(realtime(nodes[0], client), topic, 'k');
      await until('it is told', () => channel.systems.length === 1);
      assert.equal(channel.systems[0].extension, 'presence');
      assert.match(channel.systems[0].message, /^PresenceNotAllowed: /);
      assert.equal(await channel.track({}), 'error');
    });
  });
}

test('a_plain_phoenix_channel_and_the_api_see_the_same_presences', async () => {
  const topic = 'shared';
  const channel = await present(realtime(nodes[0]), topic, 'ann');
  await channel.track({ by: 'realtime-js' });
  const plain = await join(await connect(nodes[1]), `realtime:${topic}`, { presence: { key: 'bob', meta: { by: 'phoenix' } } }, ['presence_state', 'presence_diff']);
  await sees(channel, { ann: [{ by: 'realtime-js' }], bob: [{ by: 'phoenix' }] });
  await until('the plain channel has heard of ann', () => plain.got.some(({ payload }) => JSON.stringify(payload).includes('realtime-js')));
});

test('who_comes_back_within_the_grace_on_another_node_is_not_seen_to_leave_and_who_does_not_is', async (t) => {
  t.after(disconnectClients);
  const own = await startCluster(t, 3, { rules, options: { presence_grace_ms: '5s' } });
  let target = own.nodes[1];
  const relay = await Relay.open(t, () => target.port);
  const watcher = await present(realtime(own.nodes[0]), 'grace');
  const channels = {};
  for (const [name, client] of Object.entries(clients)) {
    // As applications do, at each (re)subscription.
    channels[name] = await present(realtime(`ws://127.0.0.1:${relay.port}/socket`, client), 'grace', name);
    channels[name].track({ n: 1 });
  }
  const lost = await present(realtime(own.nodes[1]), 'grace', 'lost', { broadcast: {} });
  await lost.track({ n: 1 });
  await until('all are there', () => Object.keys(seen(watcher)).length === Object.keys(clients).length + 1);
  await own.nodes[1].kill();
  target = own.nodes[2];
  for (const channel of Object.values(channels)) {
    await until('it is back', () => channel.states.filter((state) => state === 'SUBSCRIBED').length >= 2, 20_000);
    assert.equal(await channel.track({ n: 1 }), 'ok');
  }
  await until('the other is gone', () => !seen(watcher).lost, 20_000);
  await sees(watcher, Object.fromEntries(Object.keys(clients).sort().map((name) => [name, [{ n: 1 }]])));
});
