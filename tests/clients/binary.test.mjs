// Binary payloads of the stock clients: an ArrayBuffer pushed on one node arrives as an ArrayBuffer on all.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { sharedCluster } from '../lib/cluster.mjs';
import { connect, disconnectAll, join, listen, push, settled, versions } from '../lib/phoenix.mjs';
import { Cursor } from '../lib/ledger.mjs';
import { until } from '../lib/wait.mjs';

const cluster = await sharedCluster(2);
const [a, b] = cluster.nodes;
after(disconnectAll);

const bytesOf = (buffer) => [...new Uint8Array(buffer)];
const someBytes = (n) => Uint8Array.from({ length: n }, (_, i) => (i * 7) % 256).buffer;

for (const [name, client] of Object.entries(versions)) {
  const topicOf = (what) => `room:${name.replace(' ', '-')}-${what}`;

  test(`${name}_a_binary_push_arrives_as_the_same_bytes_on_all_nodes`, async () => {
    const topic = topicOf('bytes');
    const sender = await join(await connect(a, { client }), topic);
    const other = await join(await connect(b, { client }), topic);
    for (const n of [0, 1, 125, 126, 5000, 60000]) {
      const answer = await push(sender, 'msg', someBytes(n));
      assert.equal(answer.status, 'ok', `${n} bytes: ${JSON.stringify(answer)}`);
    }
    for (const channel of [sender, other]) {
      await until('all are there', () => channel.got.length === 6);
      for (const [i, n] of [0, 1, 125, 126, 5000, 60000].entries()) {
        assert.ok(channel.got[i].payload instanceof ArrayBuffer);
        assert.deepEqual(bytesOf(channel.got[i].payload), bytesOf(someBytes(n)));
      }
    }
  });

  test(`${name}_text_and_binary_messages_keep_their_order`, async () => {
    const topic = topicOf('mixed');
    const sender = await join(await connect(a, { client }), topic);
    const other = await join(await connect(b, { client }), topic);
    for (let i = 0; i < 20; i++) sender.push('msg', i % 2 ? { i } : Uint8Array.of(i).buffer);
    await until('all are there', () => other.got.length === 20);
    const order = other.got.map(({ payload }) => (payload instanceof ArrayBuffer ? bytesOf(payload)[0] : payload.i));
    assert.deepEqual(order, Array.from({ length: 20 }, (_, i) => i));
  });

  test(`${name}_a_cursor_channel_learns_its_position_after_binary_messages`, async () => {
    const topic = topicOf('cursor');
    const cursor = new Cursor();
    const socket = await connect(b, { client });
    const channel = socket.channel(topic, cursor.params);
    listen(channel, ['msg']);
    let position;
    channel.on('fm_cursor', (payload) => {
      position = payload.cursor;
    });
    assert.equal((await settled(channel.join())).status, 'ok');
    const sender = await join(await connect(a, { client }), topic);
    const { response } = await push(sender, 'msg', someBytes(10));
    await until('message and position are there', () => channel.got.length === 1 && position);
    assert.ok(position.includes(response.id), `${position} holds ${response.id}`);
  });
}

test('a_client_that_speaks_version_1_gets_binary_messages_as_base64', async () => {
  const topic = 'room:v1-and-binary';
  const old = await join(await connect(b, { vsn: 1 }), topic);
  const sender = await join(await connect(a), topic);
  await push(sender, 'msg', someBytes(3));
  await push(sender, 'msg', { n: 2 });
  await until('both are there', () => old.got.length === 2);
  assert.deepEqual(old.got.map(({ payload }) => payload), [{ base64: 'AAcO' }, { n: 2 }]);
});
