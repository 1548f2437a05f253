// The client's promises one by one, against real nodes, with each version of phoenix that it goes with.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sharedCluster } from '../lib/cluster.mjs';
import { follow, openMesh, versions } from '../lib/fanmesh.mjs';
import { clean, compare } from '../lib/ledger.mjs';
import { until } from '../lib/wait.mjs';

const cluster = await sharedCluster(3);
const [a, b, c] = cluster.nodes;
const urls = cluster.nodes.map(({ ws }) => ws);
const ids = (sub) => sub.got.map(({ id }) => id);

for (const version of Object.keys(versions)) {
  const label = version.slice(-3);
  const open = (t, options) => openMesh(t, urls, { version, ...options });

  describe(version, () => {
    test('a_push_is_answered_with_the_id_under_which_everybody_gets_it', async (t) => {
      const topic = `room:push-${label}`;
      const [one, other] = [await follow(open(t), topic), await follow(openMesh(t, c.ws, { version }), topic)];
      const { id } = await one.push('msg', { text: 'hi' });
      await until('both have it', () => one.got.length === 1 && other.got.length === 1);
      for (const sub of [one, other]) assert.deepEqual(sub.got, [{ topic, event: 'msg', payload: { text: 'hi' }, id, replayed: false }]);
    });

    test('a_push_before_the_connection_is_there_waits_for_it', async (t) => {
      const mesh = open(t);
      const sub = mesh.subscribe(`room:early-${label}`);
      assert.equal(sub.state, 'joining');
      assert.match((await sub.push('msg', {})).id, /^\w+-\d+$/);
    });

    test('pushes_and_joins_that_may_not_be_are_refused_by_the_nodes_reason', async (t) => {
      const mesh = open(t);
      const quiet = await follow(mesh, `quiet:${label}`);
      await assert.rejects(quiet.push('msg', {}), { name: 'FanmeshError', reason: 'forbidden', sent: false });
      await assert.rejects((await follow(mesh, `room:reserved-${label}`)).push('phx_close', {}), { reason: 'reserved_event' });
      const reasons = await Promise.all(['closed:1', 'nowhere'].map((topic) => new Promise((resolve) => {
        mesh.subscribe(topic, { onRefused: ({ reason }) => resolve(reason) });
      })));
      assert.deepEqual(reasons, ['forbidden', 'unmatched topic']);
      await assert.rejects(quiet.push('msg', { text: 'x'.repeat(70_000) }));
    });

    test('bytes_come_as_bytes_with_their_ids_live_and_replayed', async (t) => {
      const topic = `room:bytes-${label}`;
      const mesh = open(t);
      const sub = await follow(mesh, topic);
      const published = [(await sub.push('bin', new Uint8Array([0, 1, 255]).subarray(1))).id];
      const message = (event, n, more) => ({ topic, event, key: `${topic} ${n}`, ...more });
      const bytes = (n) => ({ payload_base64: Buffer.from([n]).toString('base64') });
      const some = (from) => [0, 1, 2, 3].map((i) => message('bin', from + i, i % 2 ? { payload: from + i } : bytes(from + i)));
      published.push(...(await b.publishAll(some(10))));
      await until('all are there', () => sub.got.length === 5);
      const other = await follow(openMesh(t, b.ws, { version }), topic, { from: sub.position });
      mesh.reconnect();
      published.push(...(await b.publishAll(some(20))));
      await until('all are there', () => sub.got.length >= 9 && other.got.length >= 4);
      assert.deepEqual(compare(published, ids(sub)), clean);
      assert.deepEqual(compare(published.slice(5), ids(other)), clean);
      const values = sub.got.map(({ payload }) => (typeof payload === 'number' ? payload : [...new Uint8Array(payload)]));
      assert.deepEqual(values, [[1, 255], [10], 11, [12], 13, [20], 21, [22], 23]);
    });

    test('a_new_client_goes_on_from_a_kept_position_on_any_node', async (t) => {
      const topic = `room:kept-${label}`;
      const first = open(t);
      const before = await follow(first, topic, { load: () => {} });
      const published = [await a.publish({ topic, event: 'msg', payload: 0, key: `${topic} 0` })];
      await until('it is there', () => before.got.length === 1);
      const kept = JSON.stringify(before.position);
      assert.equal(JSON.parse(kept).keys.length, 1);
      await first.close();
      for (let n = 1; n < 20; n++) published.push(await cluster.nodes[n % 3].publish({ topic, event: 'msg', payload: n }));
      await until('the node has it', async () => (await c.history(topic)).length === 20);
      const loads = [];
      const after = await follow(openMesh(t, c.ws, { version }), topic, { from: JSON.parse(kept), load: ({ reason }) => void loads.push(reason) });
      await until('the rest is there', () => after.got.length >= 19);
      assert.deepEqual(compare(published, [...ids(before), ...ids(after)]), clean);
      assert.ok(after.got.every(({ replayed }) => replayed));
      assert.deepEqual(after.joins[0], { recovered: true, replayed: 19, first: true, url: c.ws });
      assert.deepEqual(loads, []);
    });

    test('a_topic_without_messages_is_resumed_too', async (t) => {
      const topic = `room:empty-${label}`;
      const first = open(t);
      const before = await follow(first, topic);
      const kept = before.position;
      await first.close();
      const id = await b.publish({ topic, event: 'msg', payload: 1 });
      const after = await follow(openMesh(t, b.ws, { version }), topic, { from: kept });
      await until('it is there', () => after.got.length === 1);
      assert.deepEqual(ids(after), [id]);
    });

    test('more_than_the_history_holds_is_told_and_the_state_loaded_before_what_is_left', async (t) => {
      const topic = `quiet:more-${label}`; // keeps 100
      const first = openMesh(t, a.ws, { version });
      const before = await follow(first, topic);
      await a.publish({ topic, event: 'msg', payload: -1 });
      await until('it is there', () => before.got.length === 1);
      const kept = before.position;
      await first.close();
      for (let n = 0; n < 150; n++) await a.publish({ topic, event: 'msg', payload: n });
      const order = [];
      const mesh = openMesh(t, a.ws, { version });
      await follow(mesh, topic, {
        from: kept,
        onJoined: ({ recovered }) => order.push(`joined ${recovered}`),
        onGap: ({ reason }) => order.push(`gap ${reason}`),
        load: async ({ reason }) => {
          order.push(`load ${reason}`);
          await mesh.ping();
          order.push('loaded');
        },
        onMessage: ({ payload }) => order.push(payload),
      });
      await until('what is left of it is there', () => order.includes(149));
      assert.deepEqual(order, ['joined false', 'gap unrecovered', 'load unrecovered', 'loaded', ...Array.from({ length: 100 }, (_, i) => i + 50)]);
      assert.equal(mesh.counters.unrecovered, 1);
    });

    test('a_topic_that_is_left_and_subscribed_to_again_begins_anew', async (t) => {
      const topic = `room:again-${label}`;
      const mesh = open(t);
      const published = [];
      for (let round = 0; round < 5; round++) {
        const sub = await follow(mesh, topic, { from: undefined });
        published.push(await a.publish({ topic, event: 'msg', payload: round }));
        await until('it is there', () => sub.got.length >= 1);
        assert.deepEqual(ids(sub), [published.at(-1)]);
        sub.leave();
        await assert.rejects(sub.push('msg', {}), { reason: 'left' });
      }
    });

    test('many_topics_move_together', async (t) => {
      const mesh = open(t);
      const topics = Array.from({ length: 20 }, (_, i) => `room:many-${label}-${i}`);
      const subs = await Promise.all(topics.map((topic) => follow(mesh, topic)));
      const published = topics.map(() => []);
      for (let round = 0; round < 6; round++) {
        mesh.reconnect();
        const node = cluster.nodes[round % 3];
        const sent = await node.publishAll(topics.map((topic) => ({ topic, event: 'msg', payload: round })));
        sent.forEach((id, i) => published[i].push(id));
      }
      for (const [i, sub] of subs.entries()) {
        await until(`${sub.topic} has all`, () => sub.got.length >= 6);
        assert.deepEqual(compare(published[i], ids(sub)), clean, sub.topic);
      }
      assert.equal(mesh.counters.messages, 120);
    });
  });
}
