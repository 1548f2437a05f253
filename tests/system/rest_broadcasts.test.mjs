// Clients that broadcast by HTTP, as Supabase's do before they have joined, get no further that way than on a channel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backend, hookSecret } from '../lib/backend.mjs';
import { startNode } from '../lib/cluster.mjs';
import { apiKey } from '../lib/node.mjs';
import { secret, token } from '../lib/tokens.mjs';

// Resolves to { status, retryAfter, error, code, ... }.
async function say(node, topics, { headers = {} } = {}) {
  const response = await fetch(`http://127.0.0.1:${node.port}/api/broadcast`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ messages: topics.map((topic) => ({ topic, event: 'e', payload: { n: 1 } })) }),
  });
  const text = await response.text();
  return { status: response.status, retryAfter: Number(response.headers.get('retry-after')), ...(text ? JSON.parse(text) : {}) };
}

test('what_the_backend_decides_is_not_broadcast_past_it', async (t) => {
  const backend = await Backend.start(t);
  const rules = {
    'realtime:pushes*': { join: 'anyone', push: 'hook' },
    'realtime:joins*': { join: 'hook', push: 'anyone' },
    'realtime:open*': { join: 'anyone', push: 'anyone' },
  };
  const options = { hook_url: backend.url, hook_secret: hookSecret };
  const node = await startNode(t, { rules, options });
  for (const [topic, why] of [['pushes', /decided push by push/], ['joins', /decided join by join/]]) {
    for (const topics of [[topic], ['open', topic]]) {
      const { status, code, error } = await say(node, topics);
      assert.deepEqual({ status, code }, { status: 403, code: 'forbidden' }, error);
      assert.match(error, why);
    }
    assert.equal((await say(node, [topic], { headers: { apikey: apiKey } })).status, 202, 'the backend itself may');
  }
  assert.equal((await say(node, ['open'])).status, 202);

  const asked = await startNode(t, { rules, options: { ...options, hook_connect: true } });
  const { status, error } = await say(asked, ['open']);
  assert.equal(status, 403);
  assert.match(error, /the backend decides who may connect/);
  assert.equal((await say(asked, ['open'], { headers: { apikey: apiKey } })).status, 202);
  assert.equal(backend.asks.length, 0);
});

test('who_may_not_join_a_topic_may_not_broadcast_to_it', async (t) => {
  const rules = { 'realtime:*': { join: 'token', push: 'anyone' } };
  const node = await startNode(t, { rules, options: { token_secret: secret } });
  const by = (topics) => ({ headers: { authorization: `Bearer ${token({ sub: 'ann', topics })}` } });
  assert.equal((await say(node, ['a'])).code, 'token_missing');
  assert.equal((await say(node, ['a'], by({ 'realtime:a': 'push' }))).code, 'not_granted');
  assert.equal((await say(node, ['a', 'b'], by(['realtime:a']))).code, 'not_granted');
  assert.equal((await say(node, ['a'], by(['realtime:a']))).status, 202);
});

const limited = (answer) => {
  assert.deepEqual({ status: answer.status, code: answer.code }, { status: 429, code: 'rate_limited' }, answer.error);
  assert.ok(answer.retry_after_ms > 0);
  assert.equal(answer.retryAfter, Math.max(1, Math.ceil(answer.retry_after_ms / 1000)));
};
const many = (topic) => Array(500).fill(topic);
const from = (address) => ({ headers: { 'x-forwarded-for': address } });

test('what_one_client_broadcasts_counts_in_its_rates_whatever_connections_it_opens_to_whichever_worker', async (t) => {
  const rules = { 'realtime:*': { join: 'anyone', push: 'anyone' } };
  const options = { pushes_per_s: 1, token_secret: secret, trusted_proxies: '127.0.0.1', workers: 3 };
  const node = await startNode(t, { rules, options });
  // More than a burst at once is owed: for minutes nothing is allowed.
  assert.equal((await say(node, many('a'), from('192.0.2.1'))).status, 202);
  limited(await say(node, ['a'], from('192.0.2.1')));
  let refused = 1;
  const workers = async () => (await node.request('GET', '/metrics')).text.match(/^fanmesh_accepted_total\{worker="[0-2]"\} [1-9]/gm).length;
  do {
    limited(await say(node, ['b'], { headers: { ...from('192.0.2.1').headers, connection: 'close' } }));
    refused++;
  } while ((await workers()) < 3);
  assert.equal((await say(node, ['a'], from('192.0.2.2'))).status, 202, 'another client');
  assert.equal((await say(node, many('a'), from('2001:db8:1:2::1'))).status, 202);
  limited(await say(node, ['a'], from('2001:db8:1:2:ffff::9')));
  assert.equal((await say(node, ['a'], from('2001:db8:1:3::1'))).status, 202);
  // A user is the same from everywhere, and not whoever else comes from there.
  const ann = (address) => ({ headers: { ...from(address).headers, authorization: `Bearer ${token({ sub: 'ann' })}` } });
  assert.equal((await say(node, many('a'), ann('192.0.2.1'))).status, 202);
  limited(await say(node, ['a'], ann('192.0.2.3')));
  assert.equal((await say(node, ['a'], from('192.0.2.3'))).status, 202);
  assert.equal((await say(node, many('a'), { headers: { ...from('192.0.2.1').headers, apikey: apiKey } })).status, 202, 'a backend has no rate');
  assert.equal(await node.metric('fanmesh_limited_pushes_total'), refused + 2);
  assert.match(node.log, /event=limit_reached limit=pushes_per_s peer=192\.0\.2\.1 /);
});

test('a_rule_s_own_rate_and_the_rate_of_bytes_hold_for_broadcasts_as_well', async (t) => {
  const rules = { 'realtime:*': { join: 'anyone', push: 'anyone' }, 'realtime:slow*': { join: 'anyone', push: 'anyone', pushes_per_s: 1 } };
  const node = await startNode(t, { rules, options: { workers: 3 } });
  assert.equal((await say(node, many('slow'))).status, 202);
  limited(await say(node, ['slow']));
  limited(await say(node, ['open', 'slow']));
  assert.equal((await say(node, ['slower', 'open'])).status, 202);

  const bytes = await startNode(t, { rules, options: { push_bytes_per_s: 10, workers: 3 } });
  assert.equal((await say(bytes, many('open'))).status, 202);
  limited(await say(bytes, ['open']));
  assert.equal(await bytes.metric('fanmesh_limited_push_bytes_total'), 1);
});
