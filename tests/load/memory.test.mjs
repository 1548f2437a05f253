// A node that lives on while load, bursts beyond its caps, clients and a neighbour come and go: when all of it is over and forgotten, the node
// has as much allocated as after the second time. Counted in the process itself (tests/lib/heap_count.c), so that what the allocator keeps for
// later does not blur it.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { heapEnv, heapLibraries, readHeap, resident } from '../lib/heap.mjs';
import { load, urlsOf } from '../lib/load.mjs';
import { Node, workFolder } from '../lib/node.mjs';
import { sleep, until } from '../lib/wait.mjs';

const rounds = Math.max(3, Number(process.env.MEMORY_ROUNDS ?? 4)); // the first two fill what stays: buffers, tables, arrays
const MAY_GROW = 0.05; // 90 KiB; a round puts more than 0.5 MiB into the index alone

// Everything is forgotten within seconds.
const options = { memory_bytes: '24MiB', log_bytes: '24MiB', hub_inbox_bytes: '32MiB', log_age: '5s', gap_ms: '3s', cursor_ttl: '10s' };
const history = { history_count: 1500, history_bytes: '4MiB', history_age: '5s' };
const rules = { 'room:*': { join: 'anyone', push: 'anyone', ...history }, 'burst:*': { join: 'anyone', push: 'nobody', ...history } };

// 36 MiB for a node that keeps 24; some of it may be refused, which is none of this test's business.
async function burst(node, name) {
  const payload = 'x'.repeat(40_000);
  const body = Array.from({ length: 60 }, (_, i) => ({ topic: `burst:${name}-${i % 5}`, event: 'burst', payload }));
  for (let i = 0; i < 15; i++) await node.request('POST', '/api/publish/batch', { body, headers: { 'content-type': 'application/json' }, limitMs: 10_000 });
}

async function round(cluster, i) {
  const [lives, other] = cluster.nodes;
  // fanmesh-load gives its topics new names every time.
  const running = load({
    ...urlsOf(cluster.nodes),
    connections: 400,
    topics: 40,
    messages: 0,
    duration_ms: '10s',
    rate: 1000,
    payload: 300,
    ack: 'mixed',
    settle_ms: '5s',
  });
  await sleep(2000);
  await burst(lives, `${i}-a`);
  await (i % 2 ? other.stop() : other.kill());
  await burst(lives, `${i}-b`);
  await other.start();
  await burst(other, `${i}-c`);
  const { result, errors } = await running; // whether anything was lost is judged elsewhere
  assert.ok(result?.tally.deliveries > 10_000, errors);
  await until(
    'everything is forgotten',
    async () => {
      const [messages, topics, origins] = await Promise.all(['log_messages', 'topics', 'origins'].map((name) => lives.metric(`fanmesh_${name}`)));
      return messages === 0 && topics === 0 && origins === 2;
    },
    60_000,
    500,
  );
  await until('the clients of the load are gone', async () => (await lives.metric('fanmesh_subscriptions')) === 0, 60_000);
}

// The least of some moments: what is under way, or freed a moment later, is no growth.
async function settled(node) {
  let least;
  for (let i = 0; i < 20; i++) {
    const heap = readHeap(node.heapFile);
    if (!least || heap.bytes < least.bytes) least = heap;
    await sleep(250);
  }
  return least;
}

test(`after_${rounds}_rounds_of_load_bursts_and_restarts_a_node_has_no_more_allocated_than_after_two`, async (t) => {
  const folder = workFolder();
  const cluster = await startCluster(t, 0);
  for (const name of ['lives', 'other']) {
    const node = await Node.create({ name, folder, options, rules, join: cluster.nodes[0] });
    node.heapFile = path.join(folder, `${name}.heap`);
    node.env = { LD_PRELOAD: heapLibraries.join(':'), ...heapEnv(node.heapFile) };
    cluster.nodes.push(node);
    await node.start();
  }
  await cluster.linked();
  const [node] = cluster.nodes;
  const seen = [];
  for (let i = 0; i < rounds; i++) {
    await round(cluster, i);
    seen.push({ ...(await settled(node)), rss: resident(node.pid), index: await node.metric('fanmesh_index_bytes') });
    const { bytes, pieces, rss, index } = seen[i];
    t.diagnostic(`round ${i + 1}: ${(bytes / 2 ** 20).toFixed(2)} MiB allocated in ${pieces} pieces, ${(index / 1024).toFixed(1)} KiB of them index; ${(rss / 2 ** 20).toFixed(1)} MiB resident`);
  }
  const grown = seen.at(-1).bytes / seen[1].bytes - 1;
  assert.ok(grown <= MAY_GROW, `${(grown * 100).toFixed(1)} % more allocated than after the second round`);
});
