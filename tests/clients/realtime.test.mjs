// Supabase's stock clients, unmodified: two versions, in binary and in text, on three nodes, among themselves and with the stock phoenix client
// and backends.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { sharedCluster, startCluster } from '../lib/cluster.mjs';
import { apiKey } from '../lib/node.mjs';
import { connect, disconnectAll, join, WebSocket } from '../lib/phoenix.mjs';
import { broadcast, clients, disconnectClients, idsOf, realtime, realtimeRules as rules, subscribe } from '../lib/realtime.mjs';
import { Relay } from '../lib/relay.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);
after(disconnectClients);
const cluster = await sharedCluster(3, { rules });
const [a, b, c] = cluster.nodes;

const bytesOf = (buffer) => [...new Uint8Array(buffer)];
const someBytes = (n) => Uint8Array.from({ length: n }, (_, i) => (i * 7) % 256).buffer;
const payloads = (channel) => channel.got.map(({ payload }) => payload);
const restOf = (node) => `http://127.0.0.1:${node.port}/api/broadcast`;

for (const [name, client] of Object.entries(clients)) {
  const named = (what) => `${name.replaceAll(' ', '-')}-${what}`;

  describe(name, () => {
    test('a_broadcast_reaches_channels_of_every_kind_on_every_node_in_order', async () => {
      const topic = named('all');
      const others = [];
      for (const [i, other] of Object.values(clients).entries()) others.push(await subscribe(realtime(cluster.nodes[i % 3], other), topic));
      const plain = await join(await connect(c), `realtime:${topic}`, {}, ['shout', 'told']);
      const sender = await subscribe(realtime(b, client), topic);
      for (let n = 0; n < 10; n++) assert.equal(await broadcast(sender, 'shout', { n, text: 'für 🎉', big: [1e21] }), 'ok');
      const id = await a.publish({ topic: `realtime:${topic}`, event: 'told', payload: { by: 'backend' } });
      const wanted = Array.from({ length: 10 }, (_, n) => ({ n, text: 'für 🎉', big: [1e21] }));
      for (const channel of others) {
        await until('all are there', () => channel.got.length === 11);
        assert.deepEqual(payloads(channel).filter(({ by }) => !by), wanted);
        assert.ok(channel.got.every(({ type, event }) => type === 'broadcast' && ['shout', 'told'].includes(event)));
        assert.equal(channel.got.find(({ event }) => event === 'told').meta.id, id);
      }
      await until('the plain channel has them', () => plain.got.length === 11);
      assert.deepEqual(plain.got.filter(({ event }) => event === 'shout').map(({ payload }) => payload), wanted);
      await until('the sender has the other', () => sender.got.length === 1);
      assert.equal(sender.got[0].event, 'told', 'its own it does not get');
    });

    test('what_a_plain_phoenix_channel_pushes_arrives_as_a_broadcast', async () => {
      const topic = named('plain');
      const channel = await subscribe(realtime(a, client), topic);
      const plain = await join(await connect(b), `realtime:${topic}`);
      plain.push('msg', { n: 1 });
      plain.push('msg', someBytes(3));
      await until('both are there', () => channel.got.length === 2);
      assert.deepEqual(channel.got[0].payload, { n: 1 });
      if (client.binary) assert.deepEqual(bytesOf(channel.got[1].payload), bytesOf(someBytes(3)));
      else assert.deepEqual(channel.got[1].payload, { base64: 'AAcO' });
    });

    test('self_and_ack_are_as_each_channel_asks', async () => {
      const topic = named('self');
      const quiet = await subscribe(realtime(a, client), topic, { broadcast: { ack: true, self: false } });
      const loud = await subscribe(realtime(b, client), topic, { broadcast: { ack: true, self: true } });
      assert.equal(await broadcast(quiet, 'e', { from: 'quiet' }), 'ok');
      assert.equal(await broadcast(loud, 'e', { from: 'loud' }), 'ok');
      await until('loud has both', () => loud.got.length === 2);
      await until('quiet has the other', () => quiet.got.length === 1);
      assert.deepEqual(payloads(loud).map(({ from }) => from).sort(), ['loud', 'quiet']);
      assert.deepEqual(payloads(quiet), [{ from: 'loud' }]);
    });

    test('a_broadcast_that_is_refused_is_told_by_the_answer_or_by_a_system_message', async () => {
      const topic = `quiet-${named('refused')}`;
      const asked = await subscribe(realtime(a, client), topic, { broadcast: { ack: true } });
      const unasked = await subscribe(realtime(b, client), topic);
      assert.equal(await broadcast(asked, 'e', {}), 'error');
      assert.equal(await broadcast(unasked, 'e', {}), 'ok', 'the client does not wait for an answer');
      await until('it is told', () => unasked.systems.length === 1);
      assert.deepEqual(unasked.systems[0], { extension: 'broadcast', status: 'error', message: 'a broadcast was refused: forbidden', channel: topic });
      assert.deepEqual(asked.systems, []);
    });

    test('a_channel_that_may_not_be_joined_says_why', async () => {
      await assert.rejects(subscribe(realtime(a, client), `closed-${named('x')}`), /CHANNEL_ERROR .*forbidden/);
    });

    test('a_replay_gives_the_newest_since_a_time_marked_as_such_and_what_follows_it', async () => {
      const topic = named('replay');
      const tell = (n) => a.publish({ topic: `realtime:${topic}`, event: 'e', payload: { n }, ack: 'replicated', replicas: 2 });
      const ids = [await tell(0), await tell(1)];
      await new Promise((resolve) => setTimeout(resolve, 5));
      const since = Date.now();
      for (let n = 2; n < 6; n++) ids.push(await tell(n));
      const how = (replay) => ({ private: true, broadcast: { replay } });
      const channel = await subscribe(realtime(b, client), topic, how({ since, limit: 3 }));
      const all = await subscribe(realtime(c, client), topic, how({ since }));
      ids.push(await tell(6));
      await until('the replay and the new one', () => channel.got.length === 4 && all.got.length === 5);
      assert.deepEqual(payloads(channel).map(({ n }) => n), [3, 4, 5, 6]);
      assert.deepEqual(payloads(all).map(({ n }) => n), [2, 3, 4, 5, 6]);
      assert.deepEqual(idsOf(channel), ids.slice(3));
      assert.deepEqual(channel.got.map(({ meta }) => meta.replayed ?? false), [true, true, true, false]);
    });

    test('a_channel_that_is_left_gets_nothing_and_can_be_subscribed_anew', async () => {
      const topic = named('again');
      const socket = realtime(a, client);
      // Without a channel 2.15 disconnects, and does not connect again while it does.
      const kept = await subscribe(socket, `${topic}-kept`, { broadcast: { ack: true } });
      const first = await subscribe(socket, topic);
      assert.equal(await socket.removeChannel(first), 'ok');
      assert.equal(await broadcast(kept, 'e', 1), 'ok', 'the client waits for no answer to a leave: this one is behind it');
      await a.publish({ topic: `realtime:${topic}`, event: 'e', payload: 1 });
      const second = await subscribe(socket, topic);
      await a.publish({ topic: `realtime:${topic}`, event: 'e', payload: 2 });
      await until('the second has it', () => second.got.length === 1);
      assert.deepEqual(payloads(second), [2]);
      assert.deepEqual(first.got, []);
      assert.ok(first.states.includes('CLOSED'));
    });

    test('a_new_access_token_disturbs_nothing', async () => {
      const topic = named('token');
      const socket = realtime(a, client);
      const channel = await subscribe(socket, topic, { broadcast: { ack: true } });
      await socket.setAuth('header.payload.signature');
      assert.equal(await broadcast(channel, 'e', {}), 'ok');
      await socket.setAuth('another.payload.signature');
      assert.equal(await broadcast(channel, 'e', {}), 'ok');
      assert.deepEqual(channel.states, ['SUBSCRIBED']);
    });

    test('what_is_sent_before_subscribing_goes_by_http', async () => {
      const topic = named('early');
      const other = await subscribe(realtime(b, client), topic);
      const channel = realtime(a, client).channel(topic);
      assert.equal(await broadcast(channel, 'e', { n: 1 }), 'ok');
      await until('it is there', () => other.got.length === 1);
      assert.deepEqual(payloads(other), [{ n: 1 }]);
      const quiet = realtime(a, client).channel(`quiet-${topic}`);
      assert.equal(await broadcast(quiet, 'e', { n: 1 }), 'error');
    });
  });
}

test('text_and_bytes_arrive_as_what_they_were_or_as_base64_where_there_are_no_bytes', async () => {
  const topic = 'mixed';
  const [binary, text, old] = Object.values(clients);
  const channels = [];
  for (const [i, client] of [binary, text, old].entries()) channels.push(await subscribe(realtime(cluster.nodes[i], client), topic));
  const sender = await subscribe(realtime(c, binary), topic, { broadcast: { ack: true } });
  for (let i = 0; i < 20; i++) assert.equal(await broadcast(sender, 'e', i % 2 ? { i } : someBytes(i)), 'ok');
  await channels[2].send({ type: 'broadcast', event: 'e', payload: { i: 20 } });
  const base64 = (n) => ({ base64: Buffer.from(someBytes(n)).toString('base64') });
  for (const [i, channel] of channels.entries()) {
    const wanted = i === 2 ? 20 : 21; // its own it does not get
    await until('all are there', () => channel.got.length === wanted);
    for (let n = 0; n < 20; n++) {
      const { payload } = channel.got[n];
      if (n % 2) assert.deepEqual(payload, { i: n });
      else if (i > 0) assert.deepEqual(payload, base64(n));
      else assert.ok(payload instanceof ArrayBuffer && Buffer.from(payload).equals(Buffer.from(someBytes(n))));
    }
  }
});

test('channels_and_events_may_have_names_beyond_ascii', async () => {
  const [binary, , old] = Object.values(clients);
  const topic = 'café 🎉';
  const got = await subscribe(realtime(b, old), topic);
  const sender = await subscribe(realtime(a, binary), topic, { broadcast: { ack: true, self: true } });
  assert.equal(await broadcast(sender, 'événement 🎉', { n: 1 }), 'ok');
  assert.deepEqual(await sender.httpSend('événement 🎉', { n: 2 }), { success: true });
  for (const channel of [got, sender]) {
    await until('both are there', () => channel.got.length === 2);
    assert.ok(channel.got.every(({ event }) => event === 'événement 🎉'));
  }
});

test('what_is_to_be_stored_is_refused_where_the_topic_keeps_no_history', async () => {
  const how = { private: true, broadcast: { ack: true } };
  const [kept, bare] = [await subscribe(realtime(a), 'stored', how), await subscribe(realtime(a), 'bare', how)];
  assert.equal(await kept.send({ type: 'broadcast', event: 'e', payload: { n: 1 }, persist: true }), 'ok');
  assert.deepEqual(await kept.httpSend('e', { n: 2 }, { persist: { ttl: 60 } }), { success: true });
  assert.equal(await bare.send({ type: 'broadcast', event: 'e', payload: {}, persist: true }), 'error');
  await assert.rejects(bare.httpSend('e', {}, { persist: true }), /keeps no history/);
  const later = await subscribe(realtime(b), 'stored', { private: true, broadcast: { replay: { since: 0 } } });
  await until('both are replayed', () => later.got.length === 2);
  assert.deepEqual(payloads(later), [{ n: 1 }, { n: 2 }]);
});

describe('broadcasts over HTTP', () => {
  const [newest] = Object.values(clients);
  const post = (node, path, body, headers = {}) =>
    fetch(`${restOf(node)}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', apikey: 'anon', ...headers },
      body: typeof body === 'string' || body instanceof ArrayBuffer ? body : JSON.stringify(body),
    });
  const batch = (topic, ...payloads_) => ({ messages: payloads_.map((payload) => ({ topic, event: 'e', payload, private: false })) });
  const refused = async (answer, status, sentence) => {
    const text = await answer.text();
    assert.equal(answer.status, status, text);
    assert.match(JSON.parse(text).error, sentence);
  };

  test('httpSend_of_json_and_of_bytes_arrives_on_all_nodes', async () => {
    const topic = 'http/1';
    const channels = [await subscribe(realtime(b), topic), await subscribe(realtime(c, clients['realtime-js 2.15']), topic)];
    const sender = realtime(a).channel(topic);
    assert.deepEqual(await sender.httpSend('an event/with a slash', { n: 1 }), { success: true });
    assert.deepEqual(await sender.httpSend('bytes', someBytes(3)), { success: true });
    const isPrivate = realtime(a).channel(topic, { config: { private: true } });
    assert.deepEqual(await isPrivate.httpSend('private', { n: 2 }), { success: true });
    for (const channel of channels) await until('all three', () => channel.got.length === 3);
    assert.deepEqual(channels[0].got.map(({ event }) => event), ['an event/with a slash', 'bytes', 'private']);
    assert.deepEqual(bytesOf(channels[0].got[1].payload), bytesOf(someBytes(3)));
    assert.deepEqual(channels[1].got[1].payload, { base64: 'AAcO' });
  });

  test('httpSend_that_is_refused_says_why', async () => {
    await assert.rejects(realtime(a).channel('quiet-http').httpSend('e', {}), /the node's settings do not allow this: .*clients may not push there/);
    await assert.rejects(realtime(a).channel('ok').httpSend('gap', {}), /belong to the protocol: `gap`/);
  });

  test('a_backend_with_the_api_key_may_broadcast_where_clients_may_not_on_both_listeners', async () => {
    const channel = await subscribe(realtime(b), 'quiet-backend');
    const ways = [
      [restOf(a), { apikey: apiKey }],
      [restOf(a), { authorization: `Bearer ${apiKey}`, apikey: 'anon' }],
      [`${a.api}/api/broadcast`, { authorization: `Bearer ${apiKey}` }],
      [`${a.api}/api/broadcast`, { apikey: apiKey }],
    ];
    for (const [url, headers] of ways) {
      const answer = await fetch(url, {
        method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(batch('quiet-backend', { n: 1 }, { n: 2 })),
      });
      assert.equal(answer.status, 202, await answer.text());
    }
    await until('all are there', () => channel.got.length === 8);
    const wrong = await fetch(`${a.api}/api/broadcast`, { method: 'POST', headers: { 'content-type': 'application/json', apikey: 'wrong' }, body: '{}' });
    await refused(wrong, 401, /API key is missing or wrong/);
  });

  test('a_backends_retry_with_its_key_is_no_second_message_and_a_clients_key_counts_for_nothing', async () => {
    const channel = await subscribe(realtime(b), 'retry');
    const key = { 'idempotency-key': 'order-1' };
    for (let i = 0; i < 2; i++) assert.equal((await post(a, '', batch('retry', { by: 'client' }), key)).status, 202);
    for (let i = 0; i < 2; i++) assert.equal((await post(a, '', batch('retry', { by: 'backend' }), { ...key, apikey: apiKey })).status, 202);
    assert.equal((await post(a, '', batch('retry', 'end'))).status, 202);
    await until('the end', () => payloads(channel).includes('end'));
    assert.deepEqual(payloads(channel), [{ by: 'client' }, { by: 'client' }, { by: 'backend' }, 'end']);
  });

  test('bodies_that_make_no_sense_are_refused_by_message_and_nothing_is_sent', async () => {
    const channel = await subscribe(realtime(a), 'sense');
    await refused(await post(a, '', '{"messages"'), 422, /not valid JSON/);
    await refused(await post(a, '', {}), 422, /`messages`/);
    await refused(await post(a, '', { messages: [...batch('sense', 1).messages, { topic: 'sense', event: 'e' }] }), 422, /message 2: `payload` is missing/);
    await refused(await post(a, '', batch('sense', 'x'.repeat(70_000))), 422, /the payload has 70002 bytes/);
    await refused(await post(a, '/sense/events/', '1'), 422, /percent-encoded/);
    await refused(await post(a, '/sense/events/e', 'null'), 422, /may not be null/);
    await refused(await post(a, '/sense/events/e', '1', { 'content-type': 'text/plain' }), 415, /octet-stream/);
    await refused(await post(a, '', batch('closed-x', 1)), 403, /clients may not push/);
    assert.equal((await fetch(restOf(a))).status, 405);
    assert.equal((await post(a, '', batch('sense', 'end'))).status, 202);
    await until('the end', () => channel.got.length > 0);
    assert.deepEqual(payloads(channel), ['end']);
  });

  test('a_topic_that_no_rule_matches_is_no_missing_path', async (t) => {
    const { nodes: [lone] } = await startCluster(t, 1, { rules: { 'room:*': { join: 'anyone', push: 'anyone' } } });
    await refused(await post(lone, '', batch('x', 1)), 403, /no \[topic\] rule .*realtime:x/);
    await assert.rejects(realtime(lone, newest).channel('x').httpSend('e', {}), /no \[topic\] rule/);
  });

  test('pages_of_other_origins_are_refused_unless_they_are_listed', async (t) => {
    const { nodes: [lone] } = await startCluster(t, 1, { rules, options: { origins: 'https://app.example.org' } });
    const ask = (method, origin) => fetch(restOf(lone), {
      method, headers: { origin, 'content-type': 'application/json', 'access-control-request-method': 'POST' }, body: method === 'POST' ? JSON.stringify(batch('x', 1)) : undefined,
    });
    const good = await ask('OPTIONS', 'https://app.example.org');
    assert.equal(good.status, 204);
    assert.equal(good.headers.get('access-control-allow-origin'), 'https://app.example.org');
    assert.match(good.headers.get('access-control-allow-headers'), /apikey/);
    const sent = await ask('POST', 'https://app.example.org');
    assert.equal(sent.status, 202);
    assert.equal(sent.headers.get('access-control-allow-origin'), 'https://app.example.org');
    assert.notEqual((await ask('OPTIONS', 'https://evil.example.org')).status, 204);
    const bad = await ask('POST', 'https://evil.example.org');
    assert.equal(bad.headers.get('access-control-allow-origin'), null);
    await refused(bad, 403, /pages of this Origin/);
  });

  test('below_supabase_mount_is_the_same_and_nothing_is_there_where_the_option_says_none', async (t) => {
    t.after(disconnectClients);
    const channel = await subscribe(realtime(`http://127.0.0.1:${a.port}/realtime/v1`), 'mounted');
    const sender = realtime(`http://127.0.0.1:${b.port}/realtime/v1`).channel('mounted');
    assert.deepEqual(await sender.httpSend('e', { n: 1 }), { success: true });
    await until('it is there', () => channel.got.length === 1);
    const { nodes: [lone] } = await startCluster(t, 1, { rules, options: { supabase_mount: 'none', mount: '/here/socket' } });
    assert.equal((await fetch(`http://127.0.0.1:${lone.port}/realtime/v1/api/broadcast`, { method: 'POST', body: '{}' })).status, 404);
    const refusal = await new Promise((resolve) => new WebSocket(`ws://127.0.0.1:${lone.port}/realtime/v1/websocket`).once('error', resolve));
    assert.match(refusal.message, /404/);
    const elsewhere = realtime(`ws://127.0.0.1:${lone.port}/here/socket`);
    const there = await subscribe(elsewhere, 'x');
    assert.deepEqual(await elsewhere.channel('y').httpSend('e', {}), { success: true });
    assert.ok(there);
  });
});

// The client dials one URL: what stands there is a balancer's business.
test('clients_of_both_versions_come_back_on_another_node_when_theirs_is_killed_and_replay_gives_what_they_missed', async (t) => {
  t.after(disconnectClients);
  const { nodes } = await startCluster(t, 3, { rules });
  let target = nodes[1];
  const relay = await Relay.open(t, () => target.port);
  const since = Date.now();
  const channels = [];
  for (const client of Object.values(clients)) {
    const socket = realtime(`ws://127.0.0.1:${relay.port}/socket`, client);
    channels.push(await subscribe(socket, 'survive', { private: true, broadcast: { replay: { since, limit: 10_000 }, ack: true } }));
  }
  const sender = await subscribe(realtime(nodes[2]), 'survive', { broadcast: { ack: true } });
  const published = [];
  const publish = async (n) => {
    published.push(await nodes[0].publish({ topic: 'realtime:survive', event: 'n', payload: { n } }));
    if (n % 5 === 0) assert.equal(await broadcast(sender, 'bytes', someBytes(n)), 'ok');
  };
  for (let n = 0; n < 20; n++) await publish(n);
  for (const channel of channels) await until('the first are there', () => channel.got.length === 24);
  await nodes[1].kill();
  for (let n = 20; n < 40; n++) await publish(n);
  target = nodes[2];
  for (const channel of channels) await until('it is back', () => channel.states.filter((state) => state === 'SUBSCRIBED').length >= 2, 20_000);
  for (let n = 40; n < 60; n++) await publish(n);
  for (const channel of channels) {
    await until('it has every message', () => {
      const ids = new Set(idsOf(channel));
      const bytes = new Set(channel.got.filter(({ event }) => event === 'bytes').map(({ meta }) => meta.id));
      return published.every((id) => ids.has(id)) && bytes.size === 12;
    });
    assert.equal(await broadcast(channel, 'back', {}), 'ok');
  }
  await until('the others hear them', () => sender.got.filter(({ event }) => event === 'back').length === channels.length);
});
