// A node dies and its 4,500 clients storm the two others, which have 2,250 each besides. What those who stayed are given meanwhile must not
// be held up: they are a second fanmesh-load, on a topic of its own, and their latency before and during the storm is printed.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { load, recovery, urlsOf, verdict } from '../lib/load.mjs';
import { sleep, until } from '../lib/wait.mjs';

const clients = 9000;
const read = (file) => fs.readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
const served = (file) => read(file).filter((line) => line.joined === 200 && line.deliveries > 0);
const worst = (lines) => Math.max(...lines.map((line) => line.latency_p99_ms));

test('clients_that_stayed_are_not_starved_while_4500_others_storm_their_nodes', async (t) => {
  const [a, victim, b] = (await startCluster(t, 3)).nodes;
  const file = (name) => path.join(victim.folder, name);
  const urls = urlsOf([victim, a, victim, b]);
  const storm = load({
    ...urls,
    api: urlsOf([a, b]).api,
    connections: clients,
    topics: 50,
    connect_rate: 40_000,
    messages: 0,
    duration_ms: '10m', // it is stopped before
    rate: 50,
    settle_ms: '20s',
    series: file('storm'),
  });
  await until('its clients are there', async () => (await victim.metric('fanmesh_connections')) >= clients / 2, 60_000);
  const stayers = load({
    ...urlsOf([a, b]),
    connections: 200,
    messages: 0,
    duration_ms: '10m',
    rate: 200,
    settle_ms: '20s',
    series: file('stayers'),
  });
  await until('they are served', () => served(file('stayers')).length >= 5, 120_000);
  const killed = Date.now();
  await victim.kill();
  await sleep(10_000);
  for (const each of [storm, stayers]) each.stop();
  const [stormed, stayed] = await Promise.all([storm, stayers]);
  const text = stormed.text + stayed.text;
  assert.equal(stayed.code, verdict.good, text);
  assert.equal(stormed.code, verdict.good, text);
  assert.equal(stormed.result.clients.joined, clients, text);
  assert.ok(stormed.result.clients.reconnects >= clients / 2, text);
  const over = killed + stormed.result.recovery_ms.max;
  const seconds = served(file('stayers'));
  const before = seconds.filter((line) => line.t_ms <= killed).slice(-5);
  const during = seconds.filter((line) => line.t_ms > killed).filter((line, i) => i === 0 || line.t_ms <= over + 1000);
  assert.ok(before.length >= 3 && during.length >= 1, text);
  t.diagnostic(`stayers' worst second, p99: ${worst(before)} ms before, ${worst(during)} ms during the storm`);
  t.diagnostic(`the storm's clients had everything again after ${recovery(stormed.result)}`);
  // How long it took depends on the machine; that they kept their connections and were served meanwhile does not.
  assert.equal(stayed.result.clients.reconnects, 0, text);
  assert.ok(during.at(-1).deliveries > before.at(-1).deliveries, text);
});
