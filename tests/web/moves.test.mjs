// The client against real nodes that die, drain and restart: nothing is missing, nothing comes twice, or it is said.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { follow, openMesh, versions } from '../lib/fanmesh.mjs';
import { startMesh } from '../lib/links.mjs';
import { checkComplete, publishing } from '../lib/publishing.mjs';
import { until } from '../lib/wait.mjs';

const complete = (sub, n, who) => checkComplete(() => sub.got.map(({ id, payload }) => ({ id, n: payload.n })), n, who);
const urlsFrom = (nodes, first) => nodes.map((_, i) => nodes[(first + i) % nodes.length].ws);

for (const version of Object.keys(versions)) {
  describe(version, () => {
    test('clients_of_a_killed_node_go_on_at_the_others_while_publishes_are_retried_with_their_keys', async (t) => {
      const cluster = await startCluster(t, 3);
      const { nodes } = cluster;
      const topic = 'room:kill';
      const meshes = nodes.map((_, i) => openMesh(t, urlsFrom(nodes, i), { version }));
      const subs = await Promise.all(meshes.map((mesh) => follow(mesh, topic)));
      const publisher = publishing(nodes, topic);
      await until('some have come', () => subs.every(({ got }) => got.length >= 20), 20_000);
      await nodes[0].kill();
      await until('the client has moved', () => subs[0].joins.length >= 2, 20_000);
      const then = publisher.n;
      await until('more have come', () => publisher.n >= then + 20, 20_000);
      await cluster.restart(nodes[0]);
      await nodes[1].kill();
      await until('the other has moved', () => subs[1].joins.length >= 2, 20_000);
      await until('more have come', () => publisher.n >= then + 40, 20_000);
      const n = await publisher.stop();
      for (const [i, sub] of subs.entries()) await complete(sub, n, `client ${i + 1}`);
      assert.ok(meshes[0].counters.moves >= 1);
      await cluster.restart(nodes[1]);
    });

    test('a_rolling_restart_of_all_nodes_is_told_to_nobody_but_the_listeners_of_state', async (t) => {
      const cluster = await startCluster(t, 3);
      const { nodes } = cluster;
      const topic = 'room:rolling';
      const meshes = nodes.map((_, i) => openMesh(t, urlsFrom(nodes, i), { version }));
      const subs = await Promise.all(meshes.map((mesh) => follow(mesh, topic)));
      const publisher = publishing(nodes, topic);
      await until('some have come', () => subs.every(({ got }) => got.length >= 5), 20_000);
      for (const node of nodes) {
        await cluster.restart(node);
        const then = publisher.n;
        await until('more have come', () => publisher.n >= then + 5, 20_000);
      }
      const n = await publisher.stop();
      for (const [i, sub] of subs.entries()) await complete(sub, n, `client ${i + 1}`);
      assert.deepEqual(subs.flatMap(({ gaps }) => gaps), []);
      for (const [i, { states }] of meshes.entries()) {
        const left = states.find(({ state }) => state === 'reconnecting');
        assert.equal(left.code, 1012);
        assert.equal(left.delayMs, 0);
        assert.equal(left.url, nodes[(i + 1) % 3].ws);
      }
    });

    test('clients_of_a_node_that_stands_still_go_on_at_another_by_themselves_or_when_told', async (t) => {
      const { nodes: [a, b] } = await startCluster(t, 2);
      const meshes = [openMesh(t, [a.ws, b.ws], { version }), openMesh(t, [a.ws, b.ws], { version, heartbeatMs: 1000, connectTimeoutMs: 2000 })];
      const subs = await Promise.all(meshes.map((mesh) => follow(mesh, 'room:still')));
      a.freeze();
      try {
        meshes[0].reconnect();
        await b.publish({ topic: 'room:still', event: 'msg', payload: {} });
        await until('both have moved', () => subs.every(({ got, joins }) => got.length > 0 && joins.length > 1), 20_000);
      } finally {
        a.thaw();
      }
      assert.deepEqual(subs.map(({ got }) => got.length), [1, 1]);
      assert.deepEqual(subs.map(({ joins: [, second] }) => second.url), [b.ws, b.ws]);
    });

    test('a_retry_that_no_node_could_know_as_one_is_handed_over_once', async (t) => {
      const { nodes: [a, b], links } = await startMesh(t, 2);
      const topic = 'room:double';
      const mesh = openMesh(t, [a.ws, b.ws], { version });
      const sub = await follow(mesh, topic);
      const message = { topic, event: 'msg', payload: { n: 1 }, key: 'order-7-paid' };
      links.between(a, b).cut();
      await a.publish(message); // its answer is lost, say, and its node dies before another has it
      await until('it has come', () => sub.got.length === 1);
      await a.kill();
      await b.publish(message);
      const after = await b.publish({ topic, event: 'msg', payload: { n: 2 } });
      await until('the next one has come', () => sub.got.some(({ id }) => id === after), 20_000);
      assert.deepEqual(sub.got.map(({ payload }) => payload.n), [1, 2]);
      assert.equal(mesh.counters.doubles, 1);
    });
  });
}
