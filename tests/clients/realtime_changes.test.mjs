// channel.on('postgres_changes', ...) of Supabase's stock clients: an application publishes changes of rows by the API of any node, and each
// listener gets those that it asked for, in the form in which Supabase's server gives them.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { sharedCluster } from '../lib/cluster.mjs';
import { apiKey } from '../lib/node.mjs';
import { connect, disconnectAll, join, push } from '../lib/phoenix.mjs';
import { broadcast, clients, disconnectClients, realtime, realtimeRules as rules, subscribe } from '../lib/realtime.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);
after(disconnectClients);
const { nodes } = await sharedCluster(3, { rules });
const [a, b, c] = nodes;

const change = (type, record, old_record, more = {}) => ({ schema: 'public', table: 'orders', type, record, old_record, ...more });
const publish = (node, topic, payload, more) => node.publish({ topic: `realtime:${topic}`, event: 'postgres_changes', payload, ...more });

// Subscribes; channel.changes: for each of the filters what its listener got.
async function listen(client, name, filters, config = {}) {
  const changes = filters.map(() => []);
  const channel = await subscribe(client, name, config, (made) => {
    filters.forEach((filter, i) => made.on('postgres_changes', filter, (payload) => changes[i].push(payload)));
  });
  return Object.assign(channel, { changes });
}
// The last thing that an application publishes on this node to the channels of a test: what did not come until then does not come.
async function settled(node, topic, ...channels) {
  await node.publish({ topic: `realtime:${topic}`, event: 'end', payload: {} });
  for (const channel of channels) await until('the end', () => channel.got.some(({ event }) => event === 'end'));
}

for (const [name, client] of Object.entries(clients)) {
  const named = (what) => `${name.replaceAll(' ', '-')}-${what}`;

  describe(name, () => {
    test('each_listener_gets_the_changes_of_its_event_schema_and_table', async () => {
      const topic = named('which');
      const filters = [
        { event: '*', schema: 'public' },
        { event: 'INSERT', schema: 'public', table: 'orders' },
        { event: 'UPDATE', schema: 'public', table: 'orders' },
        { event: 'DELETE', schema: 'public', table: 'orders' },
        { event: '*', schema: 'public', table: 'users' },
        { event: '*', schema: 'audit' },
      ];
      const channel = await listen(realtime(b, client), topic, filters);
      const none = await subscribe(realtime(c, client), topic);
      await until('it is told what to expect', () => channel.systems.length === 1);
      assert.equal(channel.systems[0].extension, 'postgres_changes');
      assert.equal(channel.systems[0].status, 'ok');
      assert.match(channel.systems[0].message, /a backend publishes/);
      await publish(a, topic, change('INSERT', { id: 1, note: 'für 🎉' }, null, { commit_timestamp: '2026-01-02T03:04:05Z' }));
      await publish(a, topic, change('UPDATE', { id: 1, note: 'b' }, { id: 1 }));
      await publish(a, topic, change('DELETE', null, { id: 1 }));
      await publish(a, topic, change('INSERT', { id: 2 }, undefined, { table: 'users', columns: [{ name: 'id', type: 'int8' }] }));
      await settled(a, topic, channel, none);
      const events = channel.changes.map((got) => got.map(({ eventType, table }) => `${eventType} ${table}`));
      assert.deepEqual(events, [
        ['INSERT orders', 'UPDATE orders', 'DELETE orders', 'INSERT users'], ['INSERT orders'], ['UPDATE orders'], ['DELETE orders'], ['INSERT users'], [],
      ]);
      const [inserted, updated, deleted] = channel.changes[0];
      assert.deepEqual(inserted, {
        schema: 'public', table: 'orders', commit_timestamp: '2026-01-02T03:04:05Z', eventType: 'INSERT', new: { id: 1, note: 'für 🎉' }, old: {}, errors: null,
      });
      assert.deepEqual([updated.new, updated.old, deleted.new, deleted.old], [{ id: 1, note: 'b' }, { id: 1 }, {}, { id: 1 }]);
      assert.ok(Math.abs(Date.now() - Date.parse(updated.commit_timestamp)) < 600_000, updated.commit_timestamp);
      assert.deepEqual(none.got.map(({ event }) => event), ['end'], 'who listens to no changes is given none');
    });

    test('a_filter_lets_through_what_it_says', async () => {
      const topic = named('filter');
      const where = (filter) => ({ event: '*', schema: 'public', table: 'orders', filter });
      const filters = ['id=eq.1', 'id=gt.1', 'id=lt.10,status=in.(paid, "sent, late")', 'status=neq.new', 'status=not.eq.new', 'note=is.null'].map(where);
      const channel = await listen(realtime(c, client), topic, filters);
      const rows = [{ id: 1, status: 'new', note: null }, { id: 2, status: 'sent, late', note: 'x' }, { id: 10, status: 'paid', note: 'x' }];
      for (const row of rows) await publish(b, topic, change('INSERT', row));
      await settled(b, topic, channel);
      assert.deepEqual(channel.changes.map((got) => got.map((one) => one.new.id)), [[1], [2, 10], [2], [2, 10], [2, 10], [1]]);
    });

    test('a_filter_that_is_not_served_is_refused_by_name', async () => {
      const odd = (filter) => listen(realtime(a, client), named('odd'), [{ event: '*', schema: 'public', table: 't', filter }]);
      await assert.rejects(odd('name=like.%a%'), /CHANNEL_ERROR .*the operators of filters here are eq, neq, lt, lte, gt, gte, in and is/);
      await assert.rejects(odd('name'), /CHANNEL_ERROR .*column=operator.value/);
    });

    test('a_replay_brings_the_changes_that_were_missed_those_that_are_wanted', async () => {
      const topic = named('replay');
      const since = Date.now() - 60_000;
      for (let id = 0; id < 6; id++) await publish(a, topic, change('INSERT', { id }), { ack: 'replicated', replicas: 2, timeout_ms: 30_000 });
      const channel = await listen(realtime(b, client), topic, [{ event: '*', schema: 'public', table: 'orders', filter: 'id=gte.3' }],
        { private: true, broadcast: { replay: { since, limit: 100 } } });
      await publish(c, topic, change('INSERT', { id: 6 }));
      await publish(c, topic, change('INSERT', { id: 2 }));
      await settled(c, topic, channel);
      assert.deepEqual(channel.changes[0].map((one) => one.new.id), [3, 4, 5, 6]);
    });

    test('no_client_can_publish_a_change', async () => {
      const topic = named('forged');
      const channel = await listen(realtime(b, client), topic, [{ event: '*', schema: 'public' }], { broadcast: { ack: true, self: true } });
      const forged = change('INSERT', { id: 666 });
      assert.equal(await broadcast(channel, 'postgres_changes', forged), 'error');
      assert.equal(await broadcast(realtime(a, client).channel(topic), 'postgres_changes', forged), 'error', 'over HTTP');
      const plain = await join(await connect(c), `realtime:${topic}`, {}, ['postgres_changes']);
      assert.deepEqual(await push(plain, 'postgres_changes', forged), { status: 'error', response: { reason: 'reserved_event' } });
      await publish(a, topic, change('INSERT', { id: 1 }));
      await settled(a, topic, channel);
      assert.deepEqual(channel.changes[0].map((one) => one.new), [{ id: 1 }]);
      await until('on a plain channel it is there, too', () => plain.got.length > 0);
      assert.deepEqual(plain.got.map(({ payload }) => payload.record), [{ id: 1 }], 'on a plain channel it is a message like others');
    });
  });
}

test('what_is_no_change_is_refused_where_it_is_published_and_says_what_is_wrong', async () => {
  const bad = async (payload, sentence) => {
    const answer = await a.tryPublish({ topic: 'realtime:bad', event: 'postgres_changes', payload });
    assert.equal(answer.status, 400, answer.text);
    assert.match(answer.text, sentence);
  };
  await bad({ n: 1 }, /`schema` and `table` must be names/);
  await bad(change('insert', { id: 1 }), /`type` must be INSERT, UPDATE or DELETE/);
  await bad(change('UPDATE', undefined, { id: 1 }), /`record` must be the row as it is now/);
  await bad(change('INSERT', { id: 1 }, null, { columns: ['id'] }), /`columns` must be/);
  assert.equal((await a.tryPublish({ topic: 'realtime:bad', event: 'postgres_changes', payload_base64: 'AAcO' })).status, 400);
  const rest = await fetch(`http://127.0.0.1:${a.port}/realtime/v1/api/broadcast`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', apikey: apiKey },
    body: JSON.stringify({ messages: [{ topic: 'bad', event: 'postgres_changes', payload: { n: 1 } }] }),
  });
  assert.equal(rest.status, 422);
  assert.match((await rest.json()).error, /message 1: .*`schema` and `table`/);
});

test('a_member_that_no_change_has_is_refused_by_its_name_where_it_is_published', async () => {
  const payload = change('UPDATE', { id: 1 }, undefined, { old_recrod: { id: 1 } });
  const answer = await a.tryPublish({ topic: 'realtime:bad', event: 'postgres_changes', payload });
  assert.equal(answer.status, 400, answer.text);
  assert.equal(answer.body.error.code, 'unknown_member');
  assert.match(answer.body.error.message, /: "old_recrod"; a change has `schema`, `table`, [^"]*`old_record`/);
  const rest = await fetch(`http://127.0.0.1:${a.port}/realtime/v1/api/broadcast`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', apikey: apiKey },
    body: JSON.stringify({ messages: [{ topic: 'bad', event: 'postgres_changes', payload }] }),
  });
  assert.equal(rest.status, 422);
  assert.match((await rest.json()).error, /message 1: "old_recrod"; a change has/);
});

test('a_member_of_a_joins_entry_that_nobody_knows_is_passed_over_as_by_Supabases_server', async () => {
  const entry = { event: 'INSERT', schema: 'public', table: 'orders', fliter: 'id=eq.1', colour: 'red' };
  const channel = await join(await connect(b), 'realtime:unknown', { config: { postgres_changes: [entry], colour: 'red' } }, ['postgres_changes']);
  const [{ id, ...answered }] = channel.joinResponse.postgres_changes;
  assert.ok(Number.isInteger(id));
  assert.deepEqual(answered, entry);
  await publish(a, 'unknown', change('INSERT', { id: 2 }));
  await until('it is there', () => channel.got.length === 1);
});
