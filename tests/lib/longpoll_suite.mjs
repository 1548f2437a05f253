// What the stock clients of both versions must do over LongPoll, with polls that HAProxy hands to three nodes in turn. A file for each
// version runs it, since 1.7 needs a browser's globals, which 1.8 would take, too.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { clientsOn, Spread } from './balancer.mjs';
import { sharedCluster, startCluster } from './cluster.mjs';
import { clean, compare } from './ledger.mjs';
import { connectLongPoll } from './longpoll.mjs';
import { connect, disconnect, disconnectAll, follow, gapsOf, idsOf, join, leave, push } from './phoenix.mjs';
import { until } from './wait.mjs';

const total = async (nodes, name) => (await Promise.all(nodes.map((node) => node.metric(name)))).reduce((a, b) => a + b, 0);

export async function suite(version) {
  after(disconnectAll);
  // None of its nodes ends: one that the machine lets wait is not to be taken for dead, which would end its sessions.
  const cluster = await sharedCluster(3, { options: { ...Spread.options, down_ms: '1m' } });
  const { nodes } = cluster;
  const name = version.replaceAll(/[ .]/g, '-');

  for (const vsn of [2, 1]) {
    describe(`${version}, protocol version ${vsn}`, () => {
      test('a_client_joins_pushes_and_is_given_everything_though_its_polls_reach_all_nodes_in_turn', async (t) => {
        const balancer = await Spread.start(t, nodes);
        const topic = `room:spread-${name}-${vsn}`;
        const relayed = await total(nodes, 'fanmesh_longpoll_relayed_total');
        const socket = await connectLongPoll(balancer.url, version, { vsn });
        const channel = await follow(socket, topic);
        const published = [];
        for (let n = 0; n < 30; n++) published.push(await nodes[n % 3].publish({ topic, event: 'msg', payload: { n } }));
        for (let n = 30; n < 40; n++) {
          const { status, response } = await push(channel, 'msg', { n, text: 'back\\slash, "quotes", \u00e9 \u{1f600}\n' });
          assert.equal(status, 'ok');
          published.push(response.id);
        }
        await until('all are there', () => channel.got.length >= 40);
        assert.deepEqual(compare(published, idsOf(channel)), clean);
        assert.equal(channel.got.find(({ payload }) => payload.n === 30).payload.text, 'back\\slash, "quotes", \u00e9 \u{1f600}\n');
        assert.equal(channel.replies.length, 1, 'one session all the time');
        assert.ok((await total(nodes, 'fanmesh_longpoll_relayed_total')) > relayed);
        assert.equal((await leave(channel)).status, 'ok');
        await disconnect(socket);
      });
    });
  }

  test('binary_pushes_arrive_and_binary_messages_come_as_base64', async (t) => {
    const balancer = await Spread.start(t, nodes);
    const topic = `bare:binary-${name}`;
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const other = await join(await connect(balancer.url), topic);
    const channel = await join(await connectLongPoll(balancer.url, version), topic);
    assert.equal((await push(channel, 'msg', bytes.buffer)).status, 'ok');
    await until('it is at the other', () => other.got.length === 1);
    assert.deepEqual(new Uint8Array(other.got[0].payload), bytes);
    await until('and here', () => channel.got.length === 1);
    assert.deepEqual(channel.got[0].payload, { base64: Buffer.from(bytes).toString('base64') });
  });

  test('a_topic_that_nobody_may_join_is_refused_with_its_reason', async (t) => {
    const balancer = await Spread.start(t, nodes);
    const socket = await connectLongPoll(balancer.url, version);
    await assert.rejects(join(socket, 'closed:x'), /forbidden/);
    await disconnect(socket);
  });

  for (const [how, end] of [['is_killed', (node) => node.kill()], ['is_drained', (node) => node.stop(20_000)]]) {
    test(`when_a_node_${how}_clients_come_back_with_their_cursor_and_miss_nothing`, async (t) => {
      const own = await startCluster(t, 3, { options: { ...Spread.options, drain_ms: 500 } });
      const balancer = await Spread.start(t, own.nodes);
      const [going, ...staying] = own.nodes;
      const topic = `room:${how}`;
      const make = async (i) => {
        const socket = await connectLongPoll(balancer.url, version, { vsn: 2 - (i % 2) });
        return { socket, channel: await follow(socket, topic) };
      };
      const clients = await clientsOn([going], 6, make, 'fanmesh_longpoll_sessions');
      const published = [];
      const publish = async (n) => published.push(await staying[n % 2].publish({ topic, event: 'msg', payload: { n } }));
      for (let n = 0; n < 20; n++) await publish(n);
      const ended = end(going);
      for (let n = 20; n < 60; n++) await publish(n);
      await ended;
      for (let n = 60; n < 80; n++) await publish(n);
      for (const { channel } of clients) {
        await until('all are there', () => new Set(idsOf(channel)).size >= published.length, 60_000);
        assert.deepEqual(compare(published, idsOf(channel)), clean);
        assert.deepEqual(gapsOf(channel), []);
      }
      assert.ok(clients.some(({ channel }) => channel.replies.length > 1), 'some had to join again');
      assert.ok(clients.every(({ channel }) => channel.replies.every(({ recovered }) => recovered)));
      await Promise.all(clients.map(({ socket }) => disconnect(socket)));
    });
  }
}
