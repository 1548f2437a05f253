// Supabase's stock clients with tokens: what they bring at a join, what they send when it changes, and their broadcasts over HTTP.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { sharedCluster, startCluster } from '../lib/cluster.mjs';
import { disconnectAll } from '../lib/phoenix.mjs';
import { broadcast, clients, disconnectClients, realtime, subscribe } from '../lib/realtime.mjs';
import { settingsOf, snippet } from '../lib/snippets.mjs';
import { seconds, secret, token } from '../lib/tokens.mjs';
import { patience, until } from '../lib/wait.mjs';

const rules = { 'realtime:*': { join: 'token', push: 'token', history_count: 100 }, 'realtime:open*': { join: 'anyone', push: 'anyone' } };
const grace_ms = 3000 * patience;
after(disconnectAll);
after(disconnectClients);
const cluster = await sharedCluster(3, { rules, options: { token_secret: secret, token_audience: 'authenticated', token_leeway: '0', token_grace_ms: grace_ms } });
const { nodes } = cluster;

// As Supabase signs them.
const made = (sub, claims = {}) => token({ sub, aud: 'authenticated', role: 'authenticated', topics: ['realtime:*'], ...claims });
// As Supabase's docs have it for channels that are not open to all: setAuth first, since the token is asked for beside the first join.
async function authorized(node, client, accessToken, more = {}) {
  const mine = realtime(node, client, { accessToken: async () => accessToken(), ...more });
  await mine.setAuth();
  return mine;
}
const refusal = (client, name) => subscribe(client, name).then(() => 'joined', (error) => error.message);

for (const [name, client] of Object.entries(clients)) {
  const named = (what) => `${name.replaceAll(' ', '-')}-${what}`;
  describe(name, () => {
    test('a_channel_is_joined_by_the_token_of_accessToken_and_refused_without', async () => {
      const topic = named('join');
      const ann = await subscribe(await authorized(nodes[0], client, () => made('ann')), topic);
      const bob = await subscribe(await authorized(nodes[1], client, () => made('bob')), topic);
      assert.equal(await broadcast(ann, 'shout', { n: 1 }), 'ok');
      await until('bob hears ann', () => bob.got.length === 1);
      assert.match(await refusal(realtime(nodes[2], client), topic), /token_missing/);
      await subscribe(realtime(nodes[2], client), `open-${topic}`);
      assert.match(await refusal(await authorized(nodes[2], client, () => made('eve', { topics: [] })), topic), /not_granted/);
      assert.match(await refusal(await authorized(nodes[2], client, () => made('eve', { aud: 'other' })), topic), /InvalidJWTToken/);
    });
  });
}

// Most of their time these wait.
describe('tokens that are over', { concurrency: 6 }, () => {
  for (const [name, client] of Object.entries(clients)) {
    const named = (what) => `${name.replaceAll(' ', '-')}-${what}`;

    test(`${name}_brings_another_token_to_the_open_channel_by_setAuth`, async () => {
      const topic = named('set');
      const exp = seconds(6 * patience);
      const mine = realtime(nodes[0], client);
      await mine.setAuth(made('ann', { exp }));
      const channel = await subscribe(mine, topic);
      await mine.setAuth(made('ann'));
      await until('the first would be over, and its grace', () => seconds() > exp + grace_ms / 1000 + 1, 30_000, 100);
      assert.deepEqual(channel.states, ['SUBSCRIBED']);
      assert.equal(await broadcast(channel, 'shout', { n: 1 }), 'ok');
      const other = await subscribe(await authorized(nodes[1], client, () => made('bob')), topic);
      await broadcast(channel, 'shout', { n: 2 });
      await until('it is heard', () => other.got.length > 0);
    });

    test(`${name}_is_sent_away_for_its_old_token_and_back_with_a_new_one`, async () => {
      const topic = named('over');
      const exp = seconds(6 * patience);
      const old = made('ann', { exp });
      // Its heartbeats, which ask for the token, too, come later than all of this.
      const mine = await authorized(nodes[2], client, () => (seconds() < exp ? old : made('ann')), { heartbeatIntervalMs: 600_000 });
      const channel = await subscribe(mine, topic, { broadcast: { ack: true } });
      await until('it was closed, and is joined again', () => channel.states.filter((state) => state === 'SUBSCRIBED').length > 1, 40_000, 100);
      assert.ok(seconds() >= exp + grace_ms / 1000);
      assert.equal(await broadcast(channel, 'shout', { n: 1 }), 'ok');
    });
  }
});

// As a project of Supabase has them, by the configuration of docs/supabase.md: a key without user and audience that lives for ten years, and users'
// tokens that know nothing of topics.
describe('tokens of Supabase itself', () => {
  const exp = seconds(10 * 365 * 86_400);
  const key = token({ iss: 'supabase', ref: 'abcdefghijklmnop', role: 'anon', exp });
  const signedIn = (sub) => token({ iss: 'https://x.supabase.co/auth/v1', sub, aud: 'authenticated', role: 'authenticated', aal: 'aal1', is_anonymous: false, app_metadata: {} });
  const ann = '0b0c3e5e-6a3b-4b0e-9f0e-0123456789ab';
  const { rules: channelRules, options: { token_secret_file: _, ...options } } = settingsOf(snippet('docs/supabase.md', 'Users of Supabase Auth', 'ini'));

  test('a_client_with_the_key_alone_is_nobody_and_whoever_signs_in_has_his_private_channel_until_he_signs_out', async (t) => {
    t.after(disconnectClients);
    const { nodes: [x, y] } = await startCluster(t, 2, { rules: channelRules, options: { ...options, token_secret: secret } });
    for (const client of Object.values(clients).filter(({ createClient }) => createClient)) {
      let now = key; // what its session says
      const mine = realtime(x, client, { key, accessToken: async () => now });
      await mine.setAuth();
      const open = await subscribe(mine, 'public:lobby', { broadcast: { ack: true } });
      await assert.rejects(subscribe(mine, `user:${ann}`, { private: true }), /CHANNEL_ERROR .*token_missing|not_granted/);
      await mine.removeChannel(mine.getChannels().find(({ topic }) => topic === `realtime:user:${ann}`));
      now = signedIn(ann);
      await mine.setAuth();
      const own = await subscribe(mine, `user:${ann}`, { private: true, broadcast: { ack: true } });
      await assert.rejects(subscribe(mine, 'members', { private: true }), /CHANNEL_ERROR .*not_granted/);
      assert.equal(await broadcast(own, 'e', { n: 1 }), 'ok');
      const other = await authorized(y, client, () => signedIn(ann), { key });
      const also = await subscribe(other, `user:${ann}`, { private: true });
      assert.equal(await broadcast(own, 'e', { n: 2 }), 'ok');
      await until('his other tab hears it', () => also.got.length > 0);
      now = key;
      await mine.setAuth();
      await until('the private channel has ended', () => own.states.includes('CHANNEL_ERROR'));
      assert.equal(await broadcast(open, 'e', {}), 'ok', 'the open one stays');
    }
  });
});

test('a_broadcast_over_http_is_its_senders', async () => {
  const channel = await subscribe(await authorized(nodes[0], clients['realtime-js 2.119'], () => made('ann')), 'rest');
  const say = (headers) =>
    fetch(`http://127.0.0.1:${nodes[1].port}/api/broadcast`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ messages: [{ topic: 'rest', event: 'shout', payload: { n: 1 } }] }),
    });
  assert.equal((await say({ authorization: `Bearer ${made('ann')}` })).status, 202);
  assert.equal((await say({ apikey: made('ann') })).status, 202);
  await until('both are there', () => channel.got.length === 2);
  for (const [headers, code] of [
    [{}, 'token_missing'],
    [{ apikey: 'anon' }, 'token_missing'],
    [{ authorization: `Bearer ${made('ann', { topics: { 'realtime:*': 'join' } })}` }, 'not_granted'],
    [{ authorization: `Bearer ${made('ann', { exp: 1 })}` }, 'token_expired'],
    [{ authorization: 'Bearer a.b.c' }, 'bad_token'],
  ]) {
    const answer = await say(headers);
    assert.equal(answer.status, 403);
    assert.equal((await answer.json()).code, code);
  }
});
