// The stock client comes back, on the same node and on another, and gets what it missed: once, in order, before anything new.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { sharedCluster } from '../lib/cluster.mjs';
import { clean, compare, Cursor } from '../lib/ledger.mjs';
import { connect, disconnect, disconnectAll, follow, idsOf, join, settled, versions } from '../lib/phoenix.mjs';
import { Relay } from '../lib/relay.mjs';
import { until } from '../lib/wait.mjs';

const cluster = await sharedCluster(3);
const [a, b, c] = cluster.nodes;
after(disconnectAll);

for (const [name, client] of Object.entries(versions)) {
  for (const vsn of [2, 1]) {
    const how = { client, vsn };
    const label = `${name.replace(' ', '-')}-v${vsn}`;
    describe(`${name}, protocol version ${vsn}`, () => {
      test('messages_carry_their_id_on_a_cursor_channel', async () => {
        const topic = `room:id-${label}`;
        const channel = await follow(await connect(b, how), topic);
        assert.equal(channel.replies[0].recovered, true);
        assert.ok(Array.isArray(channel.replies[0].cursor));
        const id = await a.publish({ topic, event: 'msg', payload: { n: 1 } });
        await until('it is there', () => channel.got.length === 1);
        assert.equal(channel.got[0].id, id);
      });

      test('a_client_whose_connection_breaks_resumes_on_another_node', async (t) => {
        const topic = `room:break-${label}`;
        let target = a;
        const relay = await Relay.open(t, () => target.port);
        const channel = await follow(await connect(`ws://127.0.0.1:${relay.port}/socket`, how), topic);
        const published = [];
        const publish = async (node, n, more) => published.push(await node.publish({ topic, event: 'msg', payload: { n }, ...more }));
        for (let n = 0; n < 10; n++) await publish(cluster.nodes[n % 3], n);
        await until('ten are there', () => channel.got.length === 10);
        relay.cut();
        target = b;
        for (let n = 10; n < 30; n++) await publish(cluster.nodes[n % 3], n, { ack: 'replicated', replicas: 2 });
        relay.heal();
        await until('it has joined again', () => channel.replies.length === 2);
        for (let n = 30; n < 40; n++) await publish(cluster.nodes[n % 3], n);
        await until('all are there', () => channel.got.length >= 40);
        assert.deepEqual(compare(published, idsOf(channel)), clean);
        assert.equal(channel.replies[1].recovered, true);
        assert.equal(channel.replies[1].replayed, 20);
        // Missed messages come before new ones.
        const order = channel.got.map(({ payload }) => payload.n);
        assert.ok(Math.max(...order.slice(0, 30)) < 30, order.join());
      });

      test('a_first_join_can_ask_for_the_last_messages', async () => {
        const topic = `room:last-${label}`;
        for (let n = 0; n < 10; n++) await a.publish({ topic, event: 'msg', payload: { n } });
        await until('the other node has them', async () => {
          const probe = await join(await connect(b, how), topic, { last: 10 });
          await until('replay', () => probe.got.length === 10, 500);
          return true;
        });
        const channel = await join(await connect(b, how), topic, { last: 3 });
        await until('three are there', () => channel.got.length === 3);
        assert.deepEqual(channel.got.map(({ payload }) => payload.n), [7, 8, 9]);
      });
    });
  }
}

test('a_new_client_object_resumes_with_a_kept_cursor_on_any_node', async () => {
  const topic = 'room:kept';
  const cursor = new Cursor();
  const socket = await connect(a);
  const first = await follow(socket, topic, cursor);
  const published = [await a.publish({ topic, event: 'msg', payload: 0 }), await b.publish({ topic, event: 'msg', payload: 1 })];
  await until('both are there', () => first.got.length === 2);
  await disconnect(socket);
  for (let n = 2; n < 12; n++) published.push(await cluster.nodes[n % 3].publish({ topic, event: 'msg', payload: n }));
  const second = await follow(await connect(c), topic, cursor);
  await until('the rest is there', () => second.got.length >= 10);
  assert.deepEqual(compare(published, [...idsOf(first), ...idsOf(second)]), clean);
  assert.equal(second.replies[0].recovered, true);
});

test('a_cursor_older_than_the_history_is_told_so', async () => {
  const topic = 'quiet:evicted';
  const cursor = new Cursor();
  const socket = await connect(a);
  const first = await follow(socket, topic, cursor);
  await a.publish({ topic, event: 'msg', payload: -1 });
  await until('it is there', () => first.got.length === 1);
  await disconnect(socket);
  for (let n = 0; n < 150; n++) await a.publish({ topic, event: 'msg', payload: n });
  const second = await follow(await connect(a), topic, cursor);
  await until('what is left of it is there', () => second.got.length === 100);
  assert.equal(second.replies[0].recovered, false);
  assert.deepEqual(second.got.map(({ payload }) => payload), Array.from({ length: 100 }, (_, i) => i + 50));
});

test('a_cursor_of_an_origin_that_nobody_knows_is_told_so', async () => {
  const cursor = new Cursor();
  cursor.replace(['zzzzzzzzzz-77']);
  const channel = await follow(await connect(a), 'room:unknown-origin', cursor);
  assert.equal(channel.replies[0].recovered, false);
  const id = await b.publish({ topic: 'room:unknown-origin', event: 'msg', payload: 1 });
  await until('new messages arrive', () => channel.got.length === 1);
  assert.equal(channel.got[0].id, id);
});

test('a_malformed_cursor_is_refused_with_a_reason', async () => {
  const socket = await connect(a);
  for (const cursor of ['x', [1], ['no id'], [''], ['a-'], ['-1'], { a: 1 }, 7]) {
    const channel = socket.channel('room:bad-cursor', { cursor });
    const answer = await settled(channel.join());
    assert.equal(answer.status, 'error', JSON.stringify(cursor));
    assert.equal(typeof answer.response.reason, 'string');
    channel.leave();
  }
  await join(socket, 'room:bad-cursor');
});

test('a_client_that_has_heard_of_more_origins_than_a_cursor_holds_is_told_that_it_is_not_recovered_and_goes_on', async () => {
  const socket = await connect(a);
  const cursor = Array.from({ length: 300 }, (_, i) => `a${i}-1`);
  const answer = await settled(socket.channel('room:long-cursor', { cursor }).join());
  assert.equal(answer.status, 'ok', JSON.stringify(answer));
  assert.equal(answer.response.recovered, false);
  assert.equal(answer.response.replayed, 0);
  assert.ok(answer.response.cursor.length <= 256, JSON.stringify(answer));
});

test('a_client_of_a_killed_node_resumes_all_its_topics_on_another', async (t) => {
  let target = c;
  const relay = await Relay.open(t, () => target.port);
  const socket = await connect(`ws://127.0.0.1:${relay.port}/socket`);
  const topics = ['room:kill-1', 'room:kill-2', 'others:kill-3'];
  const channels = await Promise.all(topics.map((topic) => follow(socket, topic)));
  const published = topics.map(() => []);
  const publish = async (nodes, rounds) => {
    for (let n = 0; n < rounds; n++) {
      for (const [i, topic] of topics.entries()) {
        published[i].push(await nodes[n % nodes.length].publish({ topic, event: 'msg', payload: n, ack: 'replicated' }));
      }
    }
  };
  await publish(cluster.nodes, 9);
  target = a;
  await c.kill();
  await publish([a, b], 10);
  for (const [i, channel] of channels.entries()) {
    await until('all are there', () => channel.got.length >= published[i].length);
    assert.deepEqual(compare(published[i], idsOf(channel)), clean, topics[i]);
    assert.deepEqual(channel.replies.map(({ recovered }) => recovered), [true, true]);
  }
  await cluster.restart(c);
});

test('clients_of_a_killed_node_come_back_when_it_does_and_miss_nothing_that_was_replicated', async () => {
  const topic = 'room:killed';
  const channel = await follow(await connect(c), topic);
  const published = [];
  const publish = async (node, n) => published.push(await node.publish({ topic, event: 'msg', payload: n, ack: 'replicated' }));
  for (let n = 0; n < 10; n++) await publish(cluster.nodes[n % 3], n);
  await until('ten are there', () => channel.got.length === 10);
  await c.kill();
  for (let n = 10; n < 20; n++) await publish(cluster.nodes[n % 2], n);
  await cluster.restart(c);
  await until('it has joined again', () => channel.replies.length === 2);
  for (let n = 20; n < 30; n++) await publish(cluster.nodes[n % 3], n);
  await until('all are there', () => channel.got.length >= 30);
  assert.deepEqual(compare(published, idsOf(channel)), clean);
  assert.equal(channel.replies[1].recovered, true);
});
