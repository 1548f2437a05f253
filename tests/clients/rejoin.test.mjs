// Joins that the stock client makes seldom or never: again and again on one socket, and for more history than a socket's outbox holds.
// Frames are written by hand; what a frame means to a client is as phoenix.js has it.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { sharedCluster } from '../lib/cluster.mjs';
import { clean, compare, Cursor } from '../lib/ledger.mjs';
import { WebSocket } from '../lib/phoenix.mjs';
import { sleep, until } from '../lib/wait.mjs';

const cluster = await sharedCluster(2, { options: { outbox_bytes: '64KiB' } });
const [a, b] = cluster.nodes;
const open = new Set();
after(() => open.forEach((ws) => ws.terminate()));

// A cursor channel over a socket of its own, which is joined as often as one likes.
class Channel {
  static async open(node, topic, { pausedMs = 0 } = {}) {
    const channel = new Channel();
    Object.assign(channel, { topic, ids: [], replies: [], closed: null, joinRef: 0, owed: 0, cursor: new Cursor() });
    channel.ws = new WebSocket(`${node.ws}/websocket?vsn=2.0.0`);
    open.add(channel.ws);
    channel.ws.on('message', (data) => channel.heard(JSON.parse(data)));
    channel.ws.on('close', (code, reason) => (channel.closed = `${code} ${reason}`));
    await new Promise((resolve, reject) => channel.ws.once('open', resolve).once('error', reject));
    if (pausedMs) {
      channel.ws.pause();
      setTimeout(() => channel.ws.resume(), pausedMs);
    }
    return channel;
  }

  heard([joinRef, ref, , event, payload]) {
    if (joinRef !== null && joinRef !== String(this.joinRef)) return; // of an older channel
    if (event === 'phx_reply') {
      assert.equal(payload.status, 'ok');
      this.replies.push(payload.response);
      this.cursor.replace(payload.response.cursor);
      this.owed = payload.response.replayed;
    } else if (event === 'msg') {
      this.ids.push(ref);
      this.cursor.advance(ref);
      if (joinRef !== null) this.owed--;
    }
  }

  join(params = {}) {
    const ref = String(++this.joinRef);
    this.ws.send(JSON.stringify([ref, ref, this.topic, 'phx_join', { ...this.cursor.params(), ...params }]));
  }

  get settled() {
    return this.replies.length === this.joinRef && this.owed === 0;
  }
}

test('a_channel_that_is_joined_again_and_again_under_load_gets_every_message_once_and_in_order', async () => {
  const topic = 'room:again';
  const channels = await Promise.all([a, b, a, b].map((node) => Channel.open(node, topic)));
  for (const channel of channels) channel.join();
  for (const channel of channels) await until('it has joined', () => channel.settled);
  const published = [];
  let publishing = true;
  const publisher = async (node) => {
    while (publishing) published.push(await node.publish({ topic, event: 'msg', payload: published.length }));
  };
  const publishers = [a, b, a].map(publisher);
  const rejoiner = async (channel) => {
    while (publishing) {
      channel.join();
      await until('it has joined again', () => channel.settled || channel.closed);
      await sleep(Math.random() * 10);
    }
  };
  const rejoiners = channels.map(rejoiner);
  await sleep(1500);
  await until('each has joined again and again', () => channels.every((channel) => channel.joinRef > 20 || channel.closed), 60_000);
  publishing = false;
  await Promise.all([...publishers, ...rejoiners]);
  for (const channel of channels) {
    await until('all are there', () => new Set(channel.ids).size >= published.length || channel.closed, 60_000);
    assert.equal(channel.closed, null);
    assert.deepEqual(compare(published, channel.ids), clean);
    assert.ok(channel.replies.every(({ recovered }) => recovered));
  }
});

test('a_replay_far_larger_than_the_outbox_reaches_fast_and_slow_clients_whole_and_then_what_is_new', async () => {
  const topic = 'room:large';
  const pad = 'x'.repeat(2000);
  const published = [];
  const batch = async (n) => {
    const messages = Array.from({ length: n }, () => ({ topic, event: 'msg', payload: { pad } }));
    const { status, text } = await a.request('POST', '/api/publish/batch', {
      body: JSON.stringify(messages),
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(status, 200, text);
    published.push(...JSON.parse(text).results.map(({ id }) => id));
  };
  for (let i = 0; i < 12; i++) await batch(500);
  await until(
    'the other node has them',
    async () => {
      const { text } = await b.request('GET', `/api/topics?prefix=${topic}`);
      return JSON.parse(text).topics[0]?.history === published.length;
    },
    60_000,
  );
  const channels = await Promise.all([
    ...Array.from({ length: 5 }, (_, i) => Channel.open(i % 2 ? a : b, topic)),
    ...Array.from({ length: 5 }, (_, i) => Channel.open(i % 2 ? a : b, topic, { pausedMs: 500 })),
  ]);
  for (const channel of channels) channel.join({ last: 20000 });
  await sleep(50);
  await batch(5); // a slow client is still being sent the replay
  for (const channel of channels) {
    await until('all are there', () => channel.ids.length >= published.length || channel.closed, 60_000);
    assert.equal(channel.closed, null);
    assert.deepEqual(compare(published, channel.ids), clean);
    assert.deepEqual(channel.ids, published, 'one origin: exactly in order');
  }
});
