// fanmesh-load in many processes, with storms, and over TLS: as strict as in one, and it says what it can't do.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { load, startFloor, urlsOf, verdict } from '../lib/load.mjs';
import { makeCertificate, startDoor } from '../lib/tls.mjs';
import { startEventSource, startWebSocket } from '../lib/talkers.mjs';
import { until } from '../lib/wait.mjs';

const small = { connections: 60, messages: 400, window: 20, settle_ms: '3s', processes: 3 };

function good({ code, result, errors }, deliveries) {
  const text = errors + JSON.stringify({ ...result, plots: undefined });
  assert.equal(code, verdict.good, text);
  assert.equal(result.clients.joined, result.connections, text);
  if (deliveries) assert.equal(result.tally.deliveries, deliveries, text);
  return result;
}

test('clients in several processes get everything that the first one pushes or posts on two nodes', async (t) => {
  const cluster = await startCluster(t, 2);
  const { nodes, api, api_key } = urlsOf(cluster.nodes);
  for (const how of [{ window: 8 }, { window: 8, plain: true }, { api, api_key, rate: 1000, ack: 'mixed' }, { api, api_key, no_verify: true }]) {
    const result = good(await load({ ...small, nodes, connections: 300, topics: 5, settle_ms: '10s', ...how }), 400 * 60);
    assert.equal(result.published.acked, 400);
    assert.equal(result.latency_us.count, 400 * 60);
    assert.equal(result.reach_us.count, 400);
    assert.ok(result.reach_us.p50 >= result.latency_us.p50, JSON.stringify([result.reach_us, result.latency_us]));
  }
});

test('rooms are dealt out to processes, in each of which their members speak', async (t) => {
  const floor = await startFloor(t);
  const result = good(await load({ nodes: floor.nodes, rooms: 7, members: 5, every_ms: '50ms', messages: 500, processes: 3 }), 500 * 5);
  assert.equal(result.published.sent, 500);
  good(await load({ nodes: floor.nodes, scenario: 'chat', rooms: 10, duration_ms: '2s', processes: 2 }));
});

for (const [fault, mistake, want] of [
  ['--drop-every', 'missing', 24], ['--double-every', 'doubled', 24], ['--swap-every', 'disordered', 24], ['--swallow-every', 'missing', 60],
]) {
  test(`${fault} makes it fail with ${mistake}, whichever process has the client`, async (t) => {
    const floor = await startFloor(t, [fault, fault === '--swallow-every' ? '400' : '997']);
    const { code, result } = await load({ ...small, nodes: floor.nodes });
    assert.equal(code, verdict.broken, JSON.stringify(result?.tally));
    assert.ok(Math.abs(result.tally[mistake] - want) <= 3, JSON.stringify(result.tally));
  });
}

test('what is refused is owed to nobody in any process', async (t) => {
  const floor = await startFloor(t, ['--refuse-every', '10']);
  const { code, result } = await load({ ...small, nodes: floor.nodes, api: floor.api });
  assert.equal(code, verdict.good, JSON.stringify(result?.tally));
  assert.equal(result.published.refused, 40);
  assert.equal(result.tally.deliveries, 360 * 60);
});

test('a process that dies takes the proof with it', async (t) => {
  const floor = await startFloor(t);
  const running = load({ ...small, nodes: floor.nodes, messages: 0, duration_ms: '20s', rate: 50 });
  const children = () => execFileSync('pgrep', ['-P', String(running.child.pid)], { encoding: 'utf8' }).trim().split('\n').map(Number);
  await until('its workers are there', () => {
    try {
      return children().length === 2;
    } catch {
      return false;
    }
  });
  process.kill(children()[0], 'SIGKILL');
  const { code, errors } = await running;
  assert.equal(code, verdict.unusable);
  assert.match(errors, /one of its processes ended before the run did/);
});

for (const [kind, done] of [['connect', 300], ['disconnect', 300], ['reconnect', 600]]) {
  test(`quiet clients are measured apart while others ${kind}`, async (t) => {
    const [node] = (await startCluster(t, 1)).nodes;
    const result = good(await load({
      ...urlsOf([node]), pid: node.pid, connections: 50, rate: 200, messages: 0, warmup: 20, processes: 2,
      storm: kind, storm_connections: 300, storm_rate: kind === 'reconnect' ? 0 : 1000, storm_rounds: kind === 'reconnect' ? 2 : 1, quiet_ms: '2s',
    }));
    const { storm } = result;
    const text = JSON.stringify(storm);
    assert.equal(storm.kind, kind);
    assert.ok(storm.over && storm.done === done && storm.per_s > 0 && storm.failures === 0, text);
    assert.equal(storm.way_in_ms.count, kind === 'disconnect' ? 0 : done, text);
    assert.ok(storm.latency_us.count > 0 && storm.cpu_s > 0, text);
    assert.ok(result.latency_us.count >= 200 * 50, 'a second of quiet, at least');
    assert.equal(result.latency_us.count + storm.latency_us.count, result.tally.deliveries - 20 * 50);
  });
}

test('a mixed scenario: several topics a client, and others that come and go', async (t) => {
  const cluster = await startCluster(t, 2);
  const result = good(await load({
    ...urlsOf(cluster.nodes), scenario: 'mixed', connections: 200, topics: 10, storm_connections: 100, quiet_ms: '1s',
  }));
  assert.equal(result.options.topics_per_connection, '5');
  assert.equal(result.storm.done, 300);
});

test('Phoenix clients over TLS, whose certificate must be trusted, and whose sessions are resumed', async (t) => {
  const [node] = (await startCluster(t, 1)).nodes;
  const certificate = makeCertificate();
  const [door, apiDoor] = [await startDoor(t, certificate, node.port), await startDoor(t, certificate, node.apiPort)];
  const options = { ...small, processes: 2, nodes: `wss://127.0.0.1:${door}`, connect_ms: '30s', settle_ms: '10s' };
  const trusting = { ...options, connections: 40, connect_rate: 100, tls_ca: certificate.certFile };
  const first = good(await load(trusting), 400 * 40);
  assert.deepEqual(first.tls, { handshakes: 40, resumed: 0 });
  const again = good(await load({ ...trusting, tls_resume: true, ...urlsOf([node]), nodes: options.nodes, api: `https://127.0.0.1:${apiDoor}` }), 400 * 40);
  assert.ok(again.tls.handshakes === 44 && again.tls.resumed > 0, JSON.stringify(again.tls));
  good(await load({ ...options, tls_insecure: true }), 400 * 60);
  const { code, errors } = await load({ ...options, connect_ms: '3s' });
  assert.equal(code, verdict.unusable);
  assert.match(errors, /TLS: self-signed certificate/);
});

test('plain WebSocket and EventSource over TLS', async (t) => {
  const tls = makeCertificate();
  const server = await startWebSocket(t, { tls });
  const events = await startEventSource(t, { tls });
  const options = { ...small, settle_ms: '10s', tls_ca: tls.certFile };
  good(await load({ ...options, framing: 'websocket', nodes: `${server.ws}/{topic}` }), 400 * 60);
  good(await load({ ...options, framing: 'sse', nodes: `${events.http}/sub/{topic}`, api: `${events.http}/pub/{topic}` }), 400 * 60);
});

test('what many processes and storms can not do is said before anything is tried', async () => {
  const nodes = 'ws://127.0.0.1:9';
  for (const [options, sentence] of [
    [{ nodes, connections: 5, processes: 6 }, /--processes: there are fewer clients than processes/],
    [{ nodes, rooms: 5, processes: 6 }, /--processes: there are fewer rooms than processes/],
    [{ nodes, connections: 100, topics: 60, processes: 2 }, /--connections: 100 clients don't reach every topic.*give at least 120/],
    [{ nodes, processes: 2, gone_file: 'x' }, /--processes: what --keyed-percent and --gone-file check/],
    [{ nodes, storm: 'connect' }, /--storm: latencies in quiet and in the storm are compared at a rate/],
    [{ nodes, scenario: 'tempest' }, /scenario takes none\|fan-out/],
    [{ nodes: 'wss://127.0.0.1:9', tls_ca: '/nonexistent' }, /--tls-ca: the file can't be read/],
  ]) {
    const { code, result, errors } = await load(options);
    assert.equal(code, verdict.unusable, errors);
    assert.equal(result, null);
    assert.match(errors, sentence);
  }
});
