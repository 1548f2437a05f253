// TLS on the mesh: both ends of each link show a certificate of the cluster's authority. Who has none is refused, and the log of both says so.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import net from 'node:net';
import { after, test } from 'node:test';
import tls from 'node:tls';
import fs from 'node:fs';
import { makeAuthority, makeSigned } from '../lib/certificate.mjs';
import { Cluster, startCluster } from '../lib/cluster.mjs';
import { clean, compare } from '../lib/ledger.mjs';
import { binary, Node, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, follow, idsOf } from '../lib/phoenix.mjs';
import { Relay } from '../lib/relay.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);

const folder = workFolder();
const authority = makeAuthority(folder);
const other = makeAuthority(folder, 'other-ca');

// Settings of a node with a certificate of its own; options: as makeSigned's, and by: who signs.
function meshTls(name, { by = authority, ca = authority, ...options } = {}) {
  const { cert, key } = makeSigned(folder, name, by, options);
  return { mesh_tls_ca: ca.cert, mesh_tls_cert: cert, mesh_tls_key: key };
}

async function createNode(t, name, options, rest = {}) {
  const node = await Node.create({ name, folder: workFolder(), options, ...rest });
  t.after(() => node.stop());
  return node;
}

const refusals = (node) => node.log.split('\n').filter((line) => line.includes(' event=mesh_tls_refused '));

// ---- a cluster ----

test('three_nodes_with_certificates_split_and_heal_and_lose_nothing', async (t) => {
  const nodes = [];
  const relays = [];
  t.after(() => new Cluster(nodes).stop());
  for (let i = 0; i < 3; i++) {
    const node = await Node.create({ name: `node${i + 1}`, folder: workFolder(), options: meshTls(`node${i + 1}`) });
    const bus = await Relay.open(t, () => node.meshPort);
    const ask = await Relay.open(t, () => node.askPort);
    Object.assign(node.options, { mesh_advertise: bus.address, mesh_ask_advertise: ask.address, join: i > 0 ? relays[0][0].address : null });
    nodes.push(node);
    relays.push([bus, ask]);
    await node.start();
  }
  const cluster = new Cluster(nodes);
  await cluster.linked();
  const topic = 'room:mesh';
  const channels = await Promise.all(nodes.map(async (node) => follow(await connect(node), topic)));
  const ids = [];
  const publish = async (n) => {
    for (let i = 0; i < n; i++) ids.push(await nodes[i % 3].publish({ topic, event: 'msg', payload: 'x'.repeat((i * 997) % 50000) }));
  };
  await publish(30);
  for (const channel of channels) await until('all have all', () => channel.got.length === 30);

  for (const relay of relays.flat()) relay.cut();
  for (const node of nodes) await until('it is alone', async () => (await node.metric('fanmesh_peers')) === 0);
  await publish(30);
  for (const channel of channels) await until('each has its own', () => channel.got.length === 40);
  for (const relay of relays.flat()) relay.heal();
  await cluster.linked();
  for (const channel of channels) {
    await until('each has the others', () => channel.got.length >= 60);
    assert.deepEqual(compare(ids, idsOf(channel)), clean);
  }
  assert.ok((await nodes[1].metric('fanmesh_repaired_messages_total')) > 0, 'the plane of questions works, too');
  assert.match(nodes[0].log, /event=mesh_certificate names="localhost" until=20/);
  assert.match(nodes[0].log, /event=started .* sealed=yes mesh_tls=yes /);
});

test('certificates_do_without_a_secret_and_a_node_joins_late_and_takes_over_the_state', async (t) => {
  const { nodes: [a] } = await startCluster(t, 1, { options: meshTls('a'), secret: null });
  const ids = await a.publishAll(Array.from({ length: 500 }, (_, i) => ({ topic: 'room:late', event: 'msg', payload: 'x'.repeat(i) })));
  const b = await createNode(t, 'b', meshTls('b'), { secret: null, join: a });
  await b.start();
  await until('b has it all', async () => (await b.history('room:late')).length === ids.length);
  assert.deepEqual(await b.history('room:late'), ids);
});

test('nothing_of_a_message_is_readable_on_the_wire', async (t) => {
  const { nodes: [a] } = await startCluster(t, 1, { options: meshTls('a'), secret: null });
  const seen = [];
  const relay = await Relay.open(t, () => a.meshPort, (chunk) => void seen.push(chunk));
  const b = await createNode(t, 'b', meshTls('b'), { secret: null, join: { meshAddress: relay.address } });
  await b.start();
  await until('they are linked', async () => (await a.metric('fanmesh_peers')) === 1);
  for (let i = 0; i < 5; i++) await b.publish({ topic: 'room:wire', event: 'msg', payload: 'a text that can be found' });
  await until('a has them', async () => (await a.history('room:wire')).length === 5);
  const bytes = Buffer.concat(seen);
  assert.ok(bytes.length > 500);
  assert.ok(!bytes.includes('a text that can be found') && !bytes.includes('room:wire'));
});

// ---- who is refused ----

const strangers = [
  ['a_certificate_of_another_authority', () => meshTls('stranger', { by: other }), /its certificate \S*CN\s?=\s?stranger is not trusted: unable to get local issuer certificate/],
  ['a_certificate_for_servers_only', () => meshTls('server', { usage: 'serverAuth' }), /its certificate \S*CN\s?=\s?server is not trusted: unsuitable certificate purpose/],
  ['a_certificate_that_is_over', () => meshTls('old', { days: -1 }), /its certificate \S*CN\s?=\s?old is not trusted: certificate has expired/],
];
for (const [what, options, why] of strangers) {
  test(`a_node_with_${what}_is_refused_and_both_say_so`, async (t) => {
    const { nodes: [a, b] } = await startCluster(t, 2, { options: meshTls('member') });
    const stranger = await createNode(t, 'stranger', options(), { join: a });
    await stranger.start();
    await until('a says why', () => refusals(a).some((line) => why.test(line) && / address=\S+ dialled=no /.test(line)));
    await until('the stranger does, too', () => refusals(stranger).some((line) => line.includes(` address=127.0.0.1:${a.meshPort} dialled=yes `) && /it refuses this node's certificate: /.test(line)));
    assert.equal(await stranger.metric('fanmesh_peers'), 0);
    await until('the members are linked', async () => (await a.metric('fanmesh_peers')) === 1);
    assert.ok((await a.metric('fanmesh_mesh_tls_refused_total')) > 0);
    await a.publish({ topic: 'room:s', event: 'msg', payload: 1 });
    await until('the members go on', async () => (await b.history('room:s')).length === 1);
    assert.ok(refusals(a).length <= 2, 'one line an address and reason');
  });
}

test('a_node_that_trusts_another_authority_says_whom_it_refuses', async (t) => {
  const { nodes: [a] } = await startCluster(t, 1, { options: meshTls('member') });
  const stranger = await createNode(t, 'stranger', meshTls('member-too', { ca: other }), { join: a });
  await stranger.start();
  await until('it says why', () => refusals(stranger).some((line) => /dialled=yes .*its certificate \S*CN\s?=\s?member is not trusted/.test(line)));
  await until('a says that it is refused', () => refusals(a).some((line) => /it refuses this node's certificate/.test(line)));
  assert.equal(await a.metric('fanmesh_peers'), 0);
});

test('a_client_without_a_certificate_is_refused_on_both_ports', async (t) => {
  const { nodes: [a] } = await startCluster(t, 1, { options: meshTls('member') });
  for (const port of [a.meshPort, a.askPort]) {
    const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', authority.cert], { stdio: ['pipe', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (text += bytes));
    await new Promise((resolve) => child.once('close', resolve));
    // It ends though its input is open: the node has closed. Where the reset that may follow is faster, it takes the alert away.
    assert.match(text, /alert certificate required|errno=104|reset by peer|unexpected eof/i, text);
    assert.match(text, /Verification: OK|verify return:1/);
  }
  await until('it says why', () => refusals(a).some((line) => /why="it has no certificate"/.test(line)));
  const { cert, key } = makeSigned(folder, 'guest', authority);
  const guest = tls.connect({ host: '127.0.0.1', port: a.meshPort, ca: fs.readFileSync(authority.cert), cert: fs.readFileSync(cert), key: fs.readFileSync(key), servername: 'localhost' });
  await new Promise((resolve, reject) => guest.once('data', resolve).once('error', reject)); // the first words of the protocol
  assert.equal(guest.getProtocol(), 'TLSv1.3');
  guest.destroy();
});

test('a_plain_node_and_one_with_tls_do_not_join_each_other_and_the_one_with_tls_says_why', async (t) => {
  const { nodes: [a] } = await startCluster(t, 1, { options: meshTls('member') });
  const plain = await createNode(t, 'plain', {}, { join: a });
  await plain.start();
  await until('the one with TLS says why', () => refusals(a).some((line) => /dialled=no .*it does not speak TLS/.test(line)));
  await until('the plain one says that it is alone', () => plain.logged('mesh_isolated') === 1);
  const late = await createNode(t, 'late', meshTls('late'), { join: plain });
  await late.start();
  await until('it says why', () => refusals(late).some((line) => /dialled=yes .*(it does not speak TLS|it speaks no TLS)/.test(line)));
  for (const node of [a, plain, late]) assert.equal(await node.metric('fanmesh_peers'), 0);
});

test('who_speaks_another_tls_is_not_said_to_refuse_the_certificate', async (t) => {
  const { cert, key } = makeSigned(folder, 'web', authority);
  const server = tls.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key), maxVersion: 'TLSv1.2' }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  server.on('tlsClientError', () => {});
  await new Promise((resolve) => server.once('listening', resolve));
  const node = await createNode(t, 'a', meshTls('a'), { join: { meshAddress: `127.0.0.1:${server.address().port}` } });
  await node.start();
  await until('it says why', () => refusals(node).length > 0);
  assert.match(refusals(node)[0], / dialled=yes .*it does not speak TLS, or not TLS 1\.3: .*protocol version/);
});

test('who_connects_and_says_nothing_is_cut_off_and_a_crowd_of_them_keeps_nobody_out', async (t) => {
  const { nodes: [a] } = await startCluster(t, 1, { options: meshTls('a') });
  const ends = Array.from({ length: 50 }, (_, i) => {
    const socket = net.connect(i % 2 ? a.meshPort : a.askPort, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    return new Promise((resolve) => socket.once('close', resolve));
  });
  const b = await createNode(t, 'b', meshTls('b'), { join: a });
  await b.start();
  await until('b is linked', async () => (await a.metric('fanmesh_peers')) === 1);
  let gone = 0;
  for (const end of ends) end.then(() => gone++);
  await until('all are cut off', () => gone === ends.length, 30_000);
});

// ---- settings, HUP ----

test('new_links_go_by_a_new_certificate_after_hup_and_a_bad_one_changes_nothing', async (t) => {
  const options = [meshTls('first', { usage: 'serverAuth,clientAuth' }), meshTls('second')];
  const { nodes: [a] } = await startCluster(t, 1, { options: options[0] });
  const b = await createNode(t, 'b', options[1], { join: a });
  await b.start();
  const cluster = new Cluster([a, b]);
  await cluster.linked();

  // All certificates are replaced by those of another authority; for a while both are trusted.
  const both = `${folder}/both.pem`;
  fs.writeFileSync(both, fs.readFileSync(authority.cert, 'utf8') + fs.readFileSync(other.cert, 'utf8'));
  for (const node of [a, b]) node.options.mesh_tls_ca = both;
  for (const node of [a, b]) assert.match(await node.reload(), /event=mesh_certificate_changed [^]*event=reloaded changes=1 need_restart=0 /);
  makeSigned(folder, 'second', other);
  assert.match(await b.reload(), /event=mesh_certificate_changed /);
  await until('the old link stays', async () => (await a.metric('fanmesh_peers')) === 1);
  const links = a.logged('link_down');
  await b.restart();
  await cluster.linked();
  assert.deepEqual(refusals(a).filter((line) => /certificate/.test(line)), []);
  assert.ok(a.logged('link_down') >= links);

  fs.writeFileSync(options[1].mesh_tls_cert, 'no certificate\n');
  assert.match(await b.reload(), /event=reload_failed why="mesh_tls_cert [^ ]*second\.cert\.pem can't be used: /);
  await until('they are still linked', async () => (await b.metric('fanmesh_peers')) === 1);
  for (const name of ['mesh_tls_ca', 'mesh_tls_cert', 'mesh_tls_key']) b.options[name] = null;
  assert.match(await b.reload(), /event=option_kept option=mesh_tls_ca /);
});

test('settings_that_name_only_a_part_are_refused_with_what_is_missing', async (t) => {
  const { mesh_tls_ca, mesh_tls_cert } = meshTls('part');
  const node = await createNode(t, 'part', { mesh_tls_ca, mesh_tls_cert });
  node.spawn();
  assert.equal((await node.exited).code, 2);
  assert.match(node.log, /mesh_tls_key: there is mesh_tls_ca and no mesh_tls_key/);
  const wrong = await createNode(t, 'wrong', { ...meshTls('part'), mesh_tls_key: meshTls('another').mesh_tls_key });
  wrong.spawn();
  assert.equal((await wrong.exited).code, 1);
  assert.match(wrong.log, /mesh_tls_key \S+ can't be used: it is not the key of the certificate in \S+part\.cert\.pem/);
  const checked = spawnSync(binary, ['check-config', '--config', wrong.writeSettings()], { encoding: 'utf8' });
  assert.equal(checked.status, 2);
  assert.match(checked.stderr, /^fanmesh check-config: mesh_tls_key \S+ can't be used: /);
});
