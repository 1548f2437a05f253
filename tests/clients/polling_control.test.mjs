// What the server API does to users, where these poll or read streams: their sessions and streams are sockets like any other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedCluster, startNode } from '../lib/cluster.mjs';
import { Poller } from '../lib/longpoll.mjs';
import { Stream, sseOf } from '../lib/sse.mjs';
import { secret, token } from '../lib/tokens.mjs';
import { until, within } from '../lib/wait.mjs';

const rules = { 'room:*': { join: 'token', push: 'token', history_count: 100 } };
const { nodes: [a, b] } = await sharedCluster(2, { rules, options: { token_secret: secret, down_ms: '1m' } });
const as = (user) => token({ sub: user, topics: ['room:*'] });

async function told(path, body) {
  const answer = await b.request('POST', path, { body, headers: { 'content-type': 'application/json' } });
  assert.ok(answer.status === 200 || answer.status === 202, answer.text);
}

test('a_stream_whose_user_is_unsubscribed_goes_on_with_its_other_topics_and_ends_when_he_is_disconnected', async (t) => {
  const stream = await Stream.open(t, sseOf(a, ['room:1', 'room:2'], { token: as('ann') }));
  await stream.joined(2);
  await told('/api/unsubscribe', { user: 'ann', topic: 'room:1' });
  await until('it is told', () => stream.of('fm_refused').length === 1);
  assert.deepEqual(stream.of('fm_refused')[0].data, { topic: 'room:1', reason: 'unsubscribed' });
  await a.publish({ topic: 'room:1', event: 'msg', payload: 'unheard' });
  const id = await a.publish({ topic: 'room:2', event: 'msg', payload: 'heard' });
  await until('the other goes on', () => stream.ids.length > 0);
  assert.deepEqual(stream.ids, [id]);
  await told('/api/disconnect', { user: 'ann', reason: 'logged out' });
  await until('it has ended', () => stream.ended);
  assert.equal(stream.of('fm_closed')[0].data.reason, 'logged out');
});

test('a_poll_whose_user_is_unsubscribed_brings_the_end_of_the_channel_and_410_when_he_is_disconnected', async () => {
  const poller = await Poller.to([a, b], { params: `token=${as('bob')}` }).open();
  await poller.join('room:1');
  await told('/api/unsubscribe', { user: 'bob', topic: 'room:1' });
  await poller.message(([, , topic, event]) => topic === 'room:1' && event === 'phx_close');
  await poller.join('room:2');
  const polled = poller.poll();
  await told('/api/disconnect', { user: 'bob' });
  let answer = await within(20_000, 'an answer', polled);
  if (answer.status === 200 || answer.status === 204) answer = await within(20_000, 'an answer', poller.poll());
  assert.equal(answer.status, 410);
});

test('sessions_and_streams_count_in_the_limits_of_connections_and_what_is_too_many_may_come_again', async (t) => {
  const node = await startNode(t, { rules, options: { token_secret: secret, connections_per_user: 2 } });
  const query = { params: `token=${as('cat')}` };
  await Poller.to(node, query).open();
  const stream = await Stream.open(t, sseOf(node, 'room:1', { token: as('cat') }));
  await stream.joined();
  const third = await Poller.to(node, query).request('GET');
  assert.deepEqual([third.http, third.status, third.error.code], [429, 500, 'too_many_connections']);
  const refused = await Stream.open(t, sseOf(node, 'room:1', { token: as('cat') }));
  assert.deepEqual([refused.status, refused.error.code], [429, 'too_many_connections']);
  assert.ok(await Poller.to(node, { params: `token=${as('dog')}` }).open(), 'another user');
  stream.close();
  await until('there is room again', async () => (await Poller.to(node, query).request('GET')).status === 410);
});
