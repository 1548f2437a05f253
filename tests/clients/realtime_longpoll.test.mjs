// Supabase's stock clients where WebSockets don't get through: their option `transport` takes the LongPoll of the package that they are made of
// (2.119: @supabase/phoenix), or of phoenix. Three nodes behind HAProxy, which hands each poll to the next node.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, describe, test } from 'node:test';
import { Spread } from '../lib/balancer.mjs';
import { sharedCluster, startCluster } from '../lib/cluster.mjs';
import { Poller } from '../lib/longpoll.mjs';
import { broadcast, clients, disconnectClients, idsOf, realtime, realtimeRules as rules, subscribe } from '../lib/realtime.mjs';
import { until } from '../lib/wait.mjs';

const require = createRequire(new URL('./package.json', import.meta.url));
const { LongPoll: supabases } = require('@supabase/phoenix');
const { LongPoll: phoenixs } = require('phoenix');
const kinds = {
  '2.119 with the LongPoll of @supabase/phoenix': { client: clients['realtime-js 2.119'], transport: supabases },
  '2.119 with the LongPoll of phoenix': { client: clients['realtime-js 2.119'], transport: phoenixs },
  '2.15 with the LongPoll of phoenix': { client: clients['realtime-js 2.15'], transport: phoenixs },
};

after(disconnectClients);
// None of these nodes ends: one that the machine lets wait is not to be taken for dead, which would end its sessions.
const { nodes } = await sharedCluster(3, { rules, options: { ...Spread.options, down_ms: '1m' } });
const mounted = (balancer) => balancer.url.replace('/socket', '/realtime/v1');
const polling = (balancer, { client, transport }) => realtime(mounted(balancer), client, { transport });

for (const [name, kind] of Object.entries(kinds)) {
  describe(name, () => {
    const named = (what) => `poll-${name.replaceAll(/[ @/]/g, '-')}-${what}`;

    test('broadcasts_go_both_ways_between_polls_and_WebSockets', async (t) => {
      const balancer = await Spread.start(t, nodes);
      const topic = named('both');
      const other = await subscribe(realtime(mounted(balancer)), topic);
      const channel = await subscribe(polling(balancer, kind), topic, { broadcast: { ack: true, self: false } });
      for (let n = 0; n < 10; n++) assert.equal(await broadcast(channel, 'shout', { n, text: 'für 🎉' }), 'ok');
      for (let n = 10; n < 20; n++) await broadcast(other, 'shout', { n });
      const id = await nodes[2].publish({ topic: `realtime:${topic}`, event: 'told', payload: { by: 'backend' } });
      await until('the other has what was pushed', () => other.got.length >= 11);
      assert.deepEqual(other.got.filter(({ event }) => event === 'shout').map(({ payload }) => payload), Array.from({ length: 10 }, (_, n) => ({ n, text: 'für 🎉' })));
      await until('and this one what came', () => channel.got.length >= 11);
      assert.deepEqual(channel.got.filter(({ event }) => event === 'shout').map(({ payload }) => payload.n), Array.from({ length: 10 }, (_, n) => n + 10));
      assert.ok(idsOf(channel).includes(id));
      assert.ok((await Promise.all(nodes.map((node) => node.metric('fanmesh_longpoll_sessions')))).some((n) => n > 0));
      await broadcast(other, 'bytes', Uint8Array.of(0, 7, 14).buffer);
      await until('the bytes', () => channel.got.some(({ event }) => event === 'bytes'));
      assert.deepEqual(channel.got.find(({ event }) => event === 'bytes').payload, { base64: 'AAcO' });
    });

    test('presence_is_seen_by_both', async (t) => {
      const balancer = await Spread.start(t, nodes);
      const topic = named('presence');
      const other = await subscribe(realtime(mounted(balancer)), topic, { presence: { key: 'other', enabled: true } }, (it) => it.on('presence', { event: 'sync' }, () => {}));
      const channel = await subscribe(polling(balancer, kind), topic, { presence: { key: 'poller', enabled: true } }, (it) => it.on('presence', { event: 'sync' }, () => {}));
      assert.equal(await other.track({ at: 'a socket' }), 'ok');
      assert.equal(await channel.track({ at: 'a poll' }), 'ok');
      for (const it of [other, channel]) await until('both are shown', () => Object.keys(it.presenceState()).toSorted().join() === 'other,poller');
    });

    test('it_comes_back_when_its_node_is_killed', async (t) => {
      t.after(disconnectClients);
      const own = await startCluster(t, 3, { rules, options: Spread.options });
      const balancer = await Spread.start(t, own.nodes);
      const channel = await subscribe(polling(balancer, kind), 'killed');
      const sessions = await until('one session is left', async () => { // where an answer takes long the client gives one up
        const counts = await Promise.all(own.nodes.map((node) => node.metric('fanmesh_longpoll_sessions')));
        return counts.reduce((x, y) => x + y) === 1 && counts;
      }, 60_000);
      const owner = own.nodes[sessions.indexOf(1)];
      const [staying] = own.nodes.filter((node) => node !== owner);
      await staying.publish({ topic: 'realtime:killed', event: 'shout', payload: { n: 1 } });
      await until('it has come', () => channel.got.length === 1);
      await owner.kill();
      // Without a cursor: what is said before it is back it does not get.
      let n = 1;
      await until('it hears again', async () => {
        await staying.publish({ topic: 'realtime:killed', event: 'shout', payload: { n: ++n } });
        return channel.got.length > 1;
      }, 60_000, 200);
    });
  });
}

test('where_the_mount_of_Supabase_is_none_it_is_none_for_polls_either', async (t) => {
  const own = await startCluster(t, 1, { rules, options: { supabase_mount: 'none' } });
  const [node] = own.nodes;
  const poller = Poller.to(node);
  poller.bases = [`http://127.0.0.1:${node.port}/realtime/v1/longpoll`];
  assert.equal((await poller.request('GET')).http, 404);
});
