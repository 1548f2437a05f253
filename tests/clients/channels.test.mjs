// The stock phoenix clients, 1.8 and 1.7, in both versions of the protocol, against three nodes.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { sharedCluster } from '../lib/cluster.mjs';
import { connect, disconnect, disconnectAll, join, leave, push, settled, versions } from '../lib/phoenix.mjs';
import { until } from '../lib/wait.mjs';

const cluster = await sharedCluster(3);
const [a, b, c] = cluster.nodes;
after(disconnectAll);

let unique = 0;
const topicOf = (kind) => `${kind}:${process.pid}-${++unique}`;

for (const [name, client] of Object.entries(versions)) {
  for (const vsn of [2, 1]) {
    const how = { client, vsn };
    describe(`${name}, protocol version ${vsn}`, () => {
      test('a_join_is_answered_ok_with_an_empty_response', async () => {
        const channel = await join(await connect(a, how), topicOf('room'));
        assert.equal(channel.state, 'joined');
        assert.deepEqual(channel.joinResponse, {});
      });

      test('a_push_is_answered_and_reaches_subscribers_of_all_nodes_and_the_sender', async () => {
        const topic = topicOf('room');
        const channels = [];
        for (const node of [a, b, c]) channels.push(await join(await connect(node, how), topic));
        const answer = await push(channels[0], 'msg', { n: 1, text: 'grüße 😀' });
        assert.equal(answer.status, 'ok');
        assert.match(answer.response.id, /^[0-9A-Za-z]{1,11}-\d+$/);
        for (const channel of channels) await until('the message is there', () => channel.got.length === 1);
        for (const channel of channels) {
          assert.deepEqual(channel.got[0].payload, { n: 1, text: 'grüße 😀' });
          assert.equal(channel.got[0].id ?? null, null, 'a channel that did not ask for a cursor gets null as ref');
        }
      });

      test('a_push_on_a_topic_for_others_does_not_come_back_to_its_sender', async () => {
        const topic = topicOf('others');
        const [mine, same, other] = [
          await join(await connect(a, how), topic),
          await join(await connect(a, how), topic),
          await join(await connect(b, how), topic),
        ];
        assert.equal((await push(mine, 'msg', { n: 1 })).status, 'ok');
        // A second message that everyone gets shows that the first is not merely late.
        await a.publish({ topic, event: 'msg', payload: { n: 2 } });
        for (const channel of [same, other]) await until('both are there', () => channel.got.length === 2);
        await until('the second is there', () => mine.got.length === 1);
        assert.deepEqual(mine.got[0].payload, { n: 2 });
      });

      test('a_publish_over_http_reaches_clients_of_all_nodes', async () => {
        const topic = topicOf('quiet');
        const channels = [];
        for (const node of [a, b, c]) channels.push(await join(await connect(node, how), topic));
        for (const [i, node] of [a, b, c].entries()) await node.publish({ topic, event: 'msg', payload: { from: i } });
        for (const channel of channels) {
          await until('all three are there', () => channel.got.length === 3);
          assert.deepEqual(channel.got.map(({ payload }) => payload.from).sort(), [0, 1, 2]);
        }
      });

      test('after_leave_nothing_arrives_and_the_topic_can_be_joined_again', async () => {
        const topic = topicOf('room');
        const socket = await connect(a, how);
        const witness = await join(await connect(a, how), topic);
        const left = await join(socket, topic);
        assert.equal((await leave(left)).status, 'ok');
        assert.equal(left.state, 'closed');
        await new Promise((resolve) => socket.ping(resolve)); // the client waits for no answer to a leave: what it sends next is answered behind it
        await b.publish({ topic, event: 'msg', payload: { n: 1 } });
        await until('another client of that node has it', () => witness.got.length === 1);
        const again = await join(socket, topic);
        await b.publish({ topic, event: 'msg', payload: { n: 2 } });
        await until('the new channel has its message', () => again.got.length === 1);
        assert.deepEqual(again.got[0].payload, { n: 2 });
        assert.equal(left.got.length, 0);
      });

      test('a_second_join_of_a_topic_replaces_the_first', async () => {
        const topic = topicOf('room');
        const socket = await connect(a, how);
        const first = await join(socket, topic);
        const second = await join(socket, topic);
        await b.publish({ topic, event: 'msg', payload: { n: 1 } });
        await until('the message is there', () => second.got.length === 1);
        assert.equal(second.state, 'joined');
        if (vsn === 2) assert.equal(first.state, 'closed');
        assert.equal((await push(second, 'msg', { n: 2 })).status, 'ok');
        await b.publish({ topic, event: 'msg', payload: { n: 3 } });
        await until('what comes behind the first', () => [2, 3].every((n) => second.got.some(({ payload }) => payload.n === n)));
        // Nothing comes twice: two channels of one name would each cause a frame, and the client gives every frame to both.
        assert.deepEqual(second.got.map(({ payload }) => payload.n).sort(), [1, 2, 3]);
      });

      test('a_topic_without_a_rule_is_refused_as_unmatched', async () => {
        const socket = await connect(a, how);
        const channel = socket.channel('nowhere:1');
        const answer = await settled(channel.join());
        assert.deepEqual(answer, { status: 'error', response: { reason: 'unmatched topic' } });
        channel.leave();
      });

      test('a_topic_that_nobody_may_join_is_refused_as_forbidden', async () => {
        const socket = await connect(a, how);
        const channel = socket.channel('closed:1');
        const answer = await settled(channel.join());
        assert.equal(answer.status, 'error');
        assert.equal(answer.response.reason, 'forbidden');
        channel.leave();
      });

      test('a_push_where_nobody_may_push_is_refused_as_forbidden', async () => {
        const channel = await join(await connect(a, how), topicOf('quiet'));
        const answer = await push(channel, 'msg', {});
        assert.equal(answer.status, 'error');
        assert.equal(answer.response.reason, 'forbidden');
      });

      test('reserved_events_are_refused', async () => {
        const channel = await join(await connect(a, how), topicOf('room'));
        for (const event of ['phx_error', 'phx_close', 'chan_reply_7', 'presence_diff', 'fm_cursor', 'gap', 'system']) {
          const answer = await push(channel, event, {});
          assert.equal(answer.status, 'error', event);
          assert.equal(answer.response.reason, 'reserved_event', event);
        }
        assert.equal((await push(channel, 'msg', {})).status, 'ok');
      });

      test('heartbeats_are_answered', async () => {
        const socket = await connect(a, { ...how, heartbeatIntervalMs: 100 });
        const heard = [];
        socket.onMessage((message) => message.topic === 'phoenix' && heard.push(message));
        await until('three heartbeats are answered', () => heard.length >= 3);
        assert.ok(heard.every(({ event, payload }) => event === 'phx_reply' && payload.status === 'ok'));
        await until('it is connected', () => socket.isConnected());
      });

      test('a_client_has_a_hundred_channels_on_one_socket_and_no_more', async () => {
        const socket = await connect(b, how);
        const base = topicOf('bare');
        await Promise.all(Array.from({ length: 100 }, (_, i) => join(socket, `${base}-${i}`)));
        const channel = socket.channel(`${base}-100`);
        const answer = await settled(channel.join());
        assert.equal(answer.status, 'error');
        assert.equal(answer.response.reason, 'too many channels joined');
        await disconnect(socket);
      });

      test('big_integers_and_unusual_json_pass_through_as_they_came', async () => {
        const topic = topicOf('room');
        const seen = [];
        const decode = (text, callback) => {
          seen.push(text);
          const m = JSON.parse(text);
          callback(vsn === 1 ? m : { join_ref: m[0], ref: m[1], topic: m[2], event: m[3], payload: m[4] });
        };
        const channel = await join(await connect(c, { ...how, decode }), topic);
        const payload = '{"big":123456789012345678901234567890,"exp":1e400,"esc":"\\u00e9\\/","sp" : [ 1 , 2 ]}';
        const body = `{"topic":"${topic}","event":"msg","payload":${payload}}`;
        const answer = await a.request('POST', '/api/publish', { body, headers: { 'content-type': 'application/json' } });
        assert.equal(answer.status, 200, answer.text);
        await until('the message is there', () => channel.got.length === 1);
        assert.ok(seen.some((text) => text.includes(payload)), seen.join('\n'));
      });
    });
  }
}

test('a_client_of_version_1_and_one_of_version_2_hear_each_other', async () => {
  const topic = topicOf('room');
  const old = await join(await connect(a, { client: versions['phoenix 1.7'], vsn: 1 }), topic);
  const current = await join(await connect(b), topic);
  await push(old, 'msg', { from: 'old' });
  await push(current, 'msg', { from: 'current' });
  for (const channel of [old, current]) {
    await until('both are there', () => channel.got.length === 2);
    assert.deepEqual(channel.got.map(({ payload }) => payload.from).sort(), ['current', 'old']);
  }
});
