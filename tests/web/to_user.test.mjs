// What is published for a user, by the client of web/client: as an event of the mesh while the user's topic is not subscribed, and there once
// it is, each message once, also when the node goes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { follow, openMesh, versions } from '../lib/fanmesh.mjs';
import { secret, token } from '../lib/tokens.mjs';
import { until } from '../lib/wait.mjs';

for (const version of Object.keys(versions)) {
  test(`what_is_for_the_user_comes_as_an_event_or_to_the_subscription_of_its_topic_with_${version}`, async (t) => {
    const cluster = await startCluster(t, 3, {
      rules: { 'user:*': { join: 'token', history_count: 100 } },
      options: { token_secret: secret, token_topics: 'user:{user}' },
    });
    const { nodes } = cluster;
    const tell = (n) => nodes.find(({ running }) => running).publish({ user: 'ann', event: 'mail', payload: { n } });
    const mesh = openMesh(t, nodes.map(({ ws }) => ws), { version, ordered: true, params: { token: token({ sub: 'ann' }) } });
    const events = [];
    const off = mesh.on('user', (message) => events.push(message));
    await until('it is connected', () => mesh.state === 'open');
    await tell(1);
    await until('it is there', () => events.length === 1);
    assert.deepEqual(events[0], { topic: 'user:ann', event: 'mail', payload: { n: 1 } });

    const sub = await follow(mesh, 'user:ann');
    await tell(2);
    await until('it is there', () => sub.got.length === 1);
    await nodes[0].kill();
    await tell(3);
    await until('the other node gives it', () => sub.got.length === 2);
    assert.deepEqual(sub.got.map(({ payload }) => payload.n), [2, 3]);
    assert.deepEqual(mesh.counters.again, 0);

    sub.leave();
    await until('the event comes again', async () => {
      if (events.length < 2) await tell(4);
      return events.length >= 2;
    });
    off();
    assert.ok(events.slice(1).every(({ payload }) => payload.n === 4));
  });
}
