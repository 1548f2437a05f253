// Strangers on the mesh: garbage, wrong secret, wrong cluster, replays. None of them reaches a client, and the cluster goes on.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import net from 'node:net';
import { after, afterEach, test } from 'node:test';
import { sharedCluster } from '../lib/cluster.mjs';
import { Node, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, join } from '../lib/phoenix.mjs';
import { Raw } from '../lib/raw.mjs';
import { Relay } from '../lib/relay.mjs';
import { sleep, until } from '../lib/wait.mjs';

// Nodes are silent now and then on a busy machine, and not down.
const options = { down_ms: '6s' };
const cluster = await sharedCluster(2, { options });
const [a, b] = cluster.nodes;
const witnesses = [await join(await connect(a), 'room:witness'), await join(await connect(b), 'room:witness')];
afterEach(async () => {
  const before = witnesses.map(({ got }) => got.length);
  for (const node of [a, b]) {
    assert.ok(node.running, node.name);
    await node.publish({ topic: 'room:witness', event: 'msg', payload: 1 });
  }
  for (const [i, { got }] of witnesses.entries()) await until('the witnesses hear both', () => got.length === before[i] + 2);
  await until('no stranger is a peer, and the other node is', async () => (await a.metric('fanmesh_peers')) === 1);
});
after(disconnectAll);

const refused = (node) => node.metric('fanmesh_mesh_envelopes_refused_total');

// What the transport says first: "SP" and the number of the socket's kind.
const hello = (kind) => Buffer.from([0, 0x53, 0x50, 0, kind >> 8, kind & 255, 0, 0]);
const bus0 = 0x70;
const req0 = 0x30;
const sized = (body, n = body.length) => {
  const head = Buffer.alloc(8);
  head.writeBigUInt64BE(BigInt(n));
  return Buffer.concat([head, body]);
};

test('bytes_that_are_not_even_the_transport_are_dropped_on_both_ports', async () => {
  for (const port of [a.meshPort, a.askPort]) {
    for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), crypto.randomBytes(4096), Buffer.alloc(100), hello(0xffff)]) {
      const raw = await Raw.open(port);
      raw.send(bytes);
      await sleep(50);
      raw.close();
    }
  }
});

test('garbage_envelopes_are_refused_and_counted_on_the_live_plane', async () => {
  const before = await refused(a);
  const bodies = [Buffer.alloc(0), Buffer.from('x'), crypto.randomBytes(28), crypto.randomBytes(1000), Buffer.from('FM\x01\x01\x01\0\0\0', 'latin1')];
  for (const [i, body] of bodies.entries()) {
    // A link is ended at its first bad envelope.
    const raw = await Raw.open(a.meshPort);
    raw.send(Buffer.concat([hello(bus0), sized(body)]));
    await raw.end(5000);
    await until('it is counted', async () => (await refused(a)) > before + i);
  }
  assert.match(a.log, /event=envelope_refused .*code=\w+/);
});

test('garbage_questions_are_refused_and_logged', async () => {
  const raw = await Raw.open(a.askPort);
  raw.send(hello(req0));
  // A request begins with its id, whose highest bit is set.
  for (const n of [0, 1, 28, 500]) raw.send(sized(Buffer.concat([Buffer.from([0x80, 0, 0, n & 255]), crypto.randomBytes(n)])));
  await until('it is in the log', () => /event=(ask_refused|envelope_refused)/.test(a.log));
  raw.close();
});

test('an_envelope_that_announces_a_terabyte_is_not_waited_for', async () => {
  for (const [port, kind] of [[a.meshPort, bus0], [a.askPort, req0]]) {
    const raw = await Raw.open(port);
    raw.send(hello(kind));
    raw.send(sized(Buffer.from('x'), 1e12));
    await raw.end(10_000);
  }
});

test('a_node_with_another_secret_is_refused_by_name_and_serves_alone', async (t) => {
  const stranger = await Node.create({ name: 'other-secret', folder: workFolder(), secret: 'not the secret of that cluster', join: a });
  t.after(() => stranger.stop());
  await stranger.start();
  await until('it says why', () => /code=bad_seal/.test(a.log) || /code=bad_seal/.test(stranger.log));
  assert.equal(await stranger.metric('fanmesh_peers'), 0);
});

test('a_node_with_another_secret_dials_ever_more_rarely_and_costs_the_cluster_next_to_nothing', async (t) => {
  const links = () => a.metric('fanmesh_mesh_links_refused_total');
  const [began, sent, before, lines] = [Date.now(), await a.metric('fanmesh_mesh_bytes_out_total'), await links(), a.logged('envelope_refused')];
  const stranger = await Node.create({ name: 'insistent', folder: workFolder(), secret: 'not the secret of that cluster', join: a });
  t.after(() => stranger.stop());
  await stranger.start();
  await sleep(8000);
  // 60 times a second without pauses; with them after 0.5, 1, 2 and 4 s.
  const n = (await links()) - before;
  assert.ok(n > 0 && n <= 8, `${n} links were refused`);
  const bytes = (await a.metric('fanmesh_mesh_bytes_out_total')) - sent;
  assert.ok(bytes < (20_000 * (Date.now() - began)) / 8000, `${bytes} bytes were sent`); // heartbeats between the two nodes among them
  assert.ok(a.logged('envelope_refused') - lines <= 1, 'one line an address');
  // It is told once that its dials come to nothing, and once that it refuses what it hears there, if it hears anything before it is cut off.
  assert.ok(stranger.logged('link_refused') <= 1 && stranger.logged('envelope_refused') <= 1, stranger.log);
  assert.ok(stranger.logged('link_refused') + stranger.logged('envelope_refused') > 0, stranger.log);
});

test('a_node_of_another_cluster_is_refused_by_name_and_serves_alone', async (t) => {
  const stranger = await Node.create({ name: 'other-cluster', folder: workFolder(), options: { cluster: 'elsewhere' }, join: a });
  t.after(() => stranger.stop());
  await stranger.start();
  await until('it says why', () => /code=wrong_cluster/.test(a.log) || /code=wrong_cluster/.test(stranger.log));
  assert.equal(await stranger.metric('fanmesh_peers'), 0);
});

test('a_node_without_secret_is_refused', async (t) => {
  const stranger = await Node.create({ name: 'no-secret', folder: workFolder(), secret: null, join: a });
  t.after(() => stranger.stop());
  const before = await refused(a);
  await stranger.start();
  // Whoever hears the other first ends the link.
  await until('one refuses the other', async () => (await refused(a)) > before || (await refused(stranger)) > 0);
  assert.equal(await stranger.metric('fanmesh_peers'), 0);
});

test('what_a_listener_recorded_and_sends_again_reaches_nobody', async (t) => {
  // A node joins through a relay that records what it sends, and publishes.
  const recorded = [];
  const relay = await Relay.open(t, () => a.meshPort, (chunk, toTarget) => toTarget && recorded.push(chunk));
  const node = await Node.create({ name: 'recorded', folder: workFolder(), options, join: { meshAddress: relay.address } });
  t.after(() => node.stop());
  await node.start();
  await until('it is linked', async () => (await a.metric('fanmesh_peers')) === 2);
  const topic = 'room:replayed';
  const listener = await join(await connect(a), topic);
  for (let n = 0; n < 5; n++) await node.publish({ topic, event: 'msg', payload: { n } });
  await until('all are there', () => listener.got.length === 5);
  await sleep(300);

  const before = await refused(a);
  const replay = net.connect(a.meshPort, '127.0.0.1');
  replay.on('error', () => {});
  replay.write(Buffer.concat(recorded));
  // Once it had the time in which a node would have said something new.
  await until('it is refused', async () => (await refused(a)) > before, 30_000);
  await until('as a replay', () => /code=replayed/.test(a.log));
  replay.destroy();
  // The node that was recorded is not harmed by its double.
  await node.publish({ topic, event: 'msg', payload: { n: 5 } });
  await until('its next message arrives', () => listener.got.some(({ payload }) => payload.n === 5));
  assert.deepEqual(listener.got.map(({ payload }) => payload.n), [0, 1, 2, 3, 4, 5]);
  await node.stop();
  await until('it is gone', async () => (await a.metric('fanmesh_peers')) === 1);
});
