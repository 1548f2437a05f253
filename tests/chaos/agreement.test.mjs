// What counts as the same history on two nodes, on real nodes: two that know nothing of each other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';
import { until } from '../lib/wait.mjs';
import { compareHistories } from './agreement.mjs';

const config = {
  options: { memory_bytes: '1MiB', log_bytes: '1MiB' },
  rules: { 'room:*': { join: 'anyone', push: 'anyone', history_count: 100, history_bytes: '512KiB', history_age: '10m' }, 'none:*': { join: 'anyone', push: 'anyone' } },
};
const message = (topic, key) => ({ topic, event: 'msg', payload: key ?? 'none', ...(key ? { key } : {}) });

test('a_copy_is_excused_only_where_a_node_knows_its_key_from_another_copy', async (t) => {
  const [a, b] = [await startNode(t, config), await startNode(t, config)];
  for (const topic of ['room:both', 'room:gone']) for (const node of [a, b]) await node.publish(message(topic, 'k'));
  assert.deepEqual((await compareHistories([a, b])).different, [], 'of two copies with one key any will do');

  const payload = 'x'.repeat(30_000);
  await a.publishAll(Array.from({ length: 60 }, () => ({ topic: 'none:flood', event: 'msg', payload })));
  await until('a has neither copy any more', async () => (await a.metric('fanmesh_keys')) === 2);
  assert.deepEqual(await a.history('room:gone'), []);
  const gone = await compareHistories([a, b]);
  assert.deepEqual([gone.different, gone.second_copies], [[], 2], 'a still knows that it had them');

  await b.publish(message('room:key', 'unknown to a'));
  await b.publish(message('room:plain'));
  const { different, second_copies: copies } = await compareHistories([a, b]);
  assert.deepEqual(
    different.map(({ topic, lacks }) => [topic, lacks.map(({ n }) => n)]),
    [
      ['room:key', [1, 0]],
      ['room:plain', [1, 0]],
    ],
  );
  assert.equal(copies, 2);
});
