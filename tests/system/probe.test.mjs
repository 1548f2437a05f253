// A node that does not hear what it sends itself says so and is not ready, whatever part of it hangs; and nobody sees its probe otherwise.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import net from 'node:net';
import { after, test } from 'node:test';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { freeze } from '../lib/freeze.mjs';
import { connect, disconnectAll, join, settled } from '../lib/phoenix.mjs';
import { sleep, until } from '../lib/wait.mjs';

after(disconnectAll);

const options = { probe_ms: 50, probe_timeout_ms: 1000 };

const readiness = async (node) => {
  const { status, body } = await node.request('GET', '/readyz');
  return { status, code: body.error?.code, message: body.error?.message };
};

async function isDeaf(node, what) {
  const told = await until(`it is deaf: ${what}`, async () => {
    const now = await readiness(node);
    return now.code === 'deaf' && what.test(now.message) && now;
  });
  assert.equal(told.status, 503);
  await until('the log says so', () => /level=warn event=deaf part="[^"]+" ms=\d+ why="[^"]+"/.test(node.log));
  await until('it is counted', async () => (await node.metric('fanmesh_probe_failures_total')) > 0);
}

for (const [thread, what] of [
  ['worker-1', /worker 1, for \d+\.\d s: /],
  ['hub', /worker 0, for \d+\.\d s: .*; and 1 more$/],
]) {
  test(`a_node_whose_${thread}_hangs_is_deaf_until_it_goes_on`, async (t) => {
    const node = await startNode(t, { options });
    const release = await freeze(node, thread);
    if (!release) return t.skip('the system does not allow ptrace');
    await isDeaf(node, what);
    await release();
    await until('it is ready', async () => (await readiness(node)).status === 200);
    await until('the log says so', () => /level=info event=deaf_over part="worker \d" ms=\d+/.test(node.log));
    await until('it hears itself everywhere', async () => (await node.metric('fanmesh_probe_ok')) === 3);
  });
}

// Nothing hangs here: every connection is accepted and /healthz is answered.
for (const [mutation, what] of [
  ['WORKER_DEAF', /worker 0, for \d+\.\d s: (messages are sent and do not come back|joins are not answered)$/],
  ['HUB_DEAF', /worker 0, for \d+\.\d s: .*; and 1 more$/],
]) {
  test(`a_node_broken_by_${mutation}_is_deaf_for_good`, async (t) => {
    const node = await startNode(t, { options, mutation });
    await isDeaf(node, what);
    await sleep(2000);
    assert.equal((await readiness(node)).code, 'deaf');
    assert.equal((await node.request('GET', '/healthz')).status, 200);
    assert.doesNotMatch(node.log, /event=deaf_over part="worker 0"/);
  });
}

test('a_listener_that_can_take_no_more_connections_is_told', async (t) => {
  const node = await startNode(t, { options });
  const limit = async (n) => {
    const child = spawn('prlimit', ['--pid', String(node.pid), `--nofile=${n}:4096`], { stdio: 'inherit' });
    assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
  };
  const asking = await connectedAgent(node); /* is connected already, and can still ask */
  await limit(3);
  const told = await until('it is deaf', async () => {
    const now = await asking('/readyz');
    return now.error?.code === 'deaf' && /listener/.test(now.error.message) && now.error;
  });
  assert.match(told.message, /listener, for \d+\.\d s: .*descriptor/);
  await limit(4096);
  await until('it is ready', async () => (await asking('/readyz')).status === 'ready');
});

// One kept-alive connection to the API.
async function connectedAgent(node) {
  const http = await import('node:http');
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = (target) =>
    new Promise((resolve, reject) => {
      http
        .get(node.api + target, { agent }, (answer) => {
          let text = '';
          answer.on('data', (chunk) => (text += chunk));
          answer.on('end', () => resolve(JSON.parse(text)));
        })
        .on('error', reject);
    });
  await ask('/readyz');
  return ask;
}

test('a_storm_of_connections_that_wait_their_turn_is_no_deafness', async (t) => {
  const node = await startNode(t, { options: { ...options, probe_timeout_ms: 3000, workers: 1, accepts_per_s: 20, handshake_ms: 60_000 } });
  const storm = [];
  t.after(() => storm.forEach((socket) => socket.destroy()));
  for (let i = 0; i < 400; i++) storm.push(net.connect(node.port, '127.0.0.1').on('error', () => {}));
  await sleep(4000);
  const accepted = await node.metric('fanmesh_accepted_total');
  assert.ok(accepted < 350, `${accepted} were accepted`); // so the question waits
  assert.equal((await readiness(node)).status, 200);
  assert.equal(await node.metric('fanmesh_probe_failures_total'), 0);
});

// A worker hangs for a moment, and in that moment all of the process stands still: only the moment counts.
test('a_node_that_stood_still_as_a_whole_is_not_deaf', async (t) => {
  for (let tries = 0; tries < 5; tries++) {
    const node = await startNode(t, { options: { ...options, probe_timeout_ms: 2500 } });
    const asked = [];
    let hung = 0; // for how long the worker hung at most while the rest went on: too long where this process is not given its turn
    for (let round = 0; round < 2; round++) {
      const began = Date.now();
      const release = await freeze(node, 'worker-1');
      if (!release) return t.skip('the system does not allow ptrace');
      await sleep(200);
      node.child.kill('SIGSTOP');
      const stopped = Date.now();
      await sleep(3000);
      const woken = Date.now();
      node.child.kill('SIGCONT');
      await sleep(200);
      asked.push((await readiness(node)).status);
      await release();
      hung = Math.max(hung, stopped - began + Date.now() - woken);
      await sleep(500);
      asked.push((await readiness(node)).status);
    }
    if (hung > 2000) continue;
    assert.deepEqual([...new Set(asked)], [200]);
    assert.equal(await node.metric('fanmesh_probe_failures_total'), 0);
    assert.doesNotMatch(node.log, /event=deaf/);
    return;
  }
  t.skip('this machine is too busy');
});

test('the_probe_is_seen_by_nobody', async (t) => {
  const cluster = await startCluster(t, 2, { options: { ...options, probe_timeout_ms: 10_000, connections_max: 2, workers: 2 } });
  const [node] = cluster.nodes;
  await sleep(1000);
  const nothing = ['connections', 'subscriptions', 'messages_in_total', 'deliveries_total', 'joins_total', 'published_total', 'topics', 'log_messages',
    'dispatched_total', 'mesh_batches_out_total', 'probe_failures_total'];
  for (const name of nothing.filter((name) => name !== 'connections')) assert.equal(await node.metric(`fanmesh_${name}`), 0, name);
  assert.deepEqual((await node.request('GET', '/api/topics')).body.topics, []);
  assert.equal((await node.request('GET', '/api/cluster')).body.self.topics, 0);
  await until('it hears itself everywhere', async () => (await node.metric('fanmesh_probe_ok')) === 3);
  const seconds = await node.metric('fanmesh_probe_round_trip_seconds');
  assert.ok(seconds > 0 && seconds < 60, `${seconds}`);

  // Its topic is nobody else's.
  const topic = '\0probe';
  const socket = await connect(node);
  const refused = await settled(socket.channel(topic).join());
  assert.deepEqual(refused, { status: 'error', response: { reason: 'unmatched topic' } });
  const headers = { 'content-type': 'application/json' };
  const published = await node.request('POST', '/api/publish', { body: { topic, event: 'probe', payload: { at: 1 } }, headers });
  assert.ok(published.status >= 400 && published.status < 500, published.text);
});

test('a_node_full_of_clients_or_topics_is_still_ready', async (t) => {
  const node = await startNode(t, { options: { ...options, probe_timeout_ms: 10_000, workers: 1, connections_max: 1, topics_max: 1 } });
  await join(await connect(node), 'room:1');
  await sleep(1500);
  assert.deepEqual(await readiness(node), { status: 200, code: undefined, message: undefined });
  assert.equal(await node.metric('fanmesh_probe_failures_total'), 0);
});

test('a_node_that_drains_does_not_wait_for_its_probe', async (t) => {
  const node = await startNode(t, { options: { drain_ms: '60s' } });
  await node.stop(30_000);
  assert.match(node.log, /event=drained connections=0/);
});

test('a_node_cut_off_from_all_others_tells_it_and_is_unready_only_by_option', async (t) => {
  const cluster = await startCluster(t, 2, { options: { isolated_unready: true, down_ms: 500, heartbeat_ms: 100 } });
  const [a, b] = cluster.nodes;
  await until('they are linked', async () => (await a.metric('fanmesh_mesh_isolated')) === 0);
  await b.kill();
  await until('it is isolated', async () => {
    const { status, code } = await readiness(a);
    return status === 503 && code === 'isolated';
  });
  assert.equal(await a.metric('fanmesh_mesh_isolated'), 1);
  await until('the log says so', () => /level=warn event=mesh_isolated why=/.test(a.log));
  await a.publish({ topic: 'room:1', event: 'msg', payload: 1 }); // it goes on by itself

  b.options.isolated_unready = null;
  await b.start();
  await until('it is ready again', async () => (await readiness(a)).status === 200);
  await until('the log says so', () => /level=info event=mesh_isolation_over ms=\d+/.test(a.log));
  await a.kill();
  await until('b is isolated', async () => (await b.metric('fanmesh_mesh_isolated')) === 1);
  assert.equal((await readiness(b)).status, 200);
});

test('a_node_whose_others_left_in_good_order_is_not_isolated', async (t) => {
  const cluster = await startCluster(t, 2, { options: { isolated_unready: true, down_ms: 2000, heartbeat_ms: 100 } });
  const [a, b] = cluster.nodes;
  await a.stop();
  await cluster.until('b sees nobody', async () => (await b.metric('fanmesh_peers')) === 0);
  await sleep(3000); // more than down_ms
  assert.equal(await b.metric('fanmesh_mesh_isolated'), 0);
  assert.equal((await readiness(b)).status, 200);
});
