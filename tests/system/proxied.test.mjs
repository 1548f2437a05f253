// Behind proxies a node knows whose a connection is: by the PROXY protocol and by X-Forwarded-For, from addresses that are listed and no others.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, test } from 'node:test';
import { makeCertificate } from '../lib/certificate.mjs';
import { sharedCluster, startNode } from '../lib/cluster.mjs';
import { apiKey, workFolder } from '../lib/node.mjs';
import { connect, drip, secure, v1, v2, v2Raw } from '../lib/proxied.mjs';
import { frame, upgradeRequest } from '../lib/raw.mjs';
import { until, within } from '../lib/wait.mjs';

const balancer = '127.0.0.2'; // speaks the PROXY protocol
const relay = '127.0.0.3'; // writes X-Forwarded-For
const stranger = '127.0.0.4';

const open = [];
after(() => open.forEach((socket) => socket.destroy()));

const { cert, key } = makeCertificate(workFolder());
const ca = fs.readFileSync(cert);
const options = {
  log_level: 'debug', proxy_protocol_from: balancer, api_proxy_protocol_from: balancer, trusted_proxies: relay,
};
const withTls = { ...options, tls_cert: cert, tls_key: key };
const [plain] = (await sharedCluster(1, { options })).nodes;
const [secured] = (await sharedCluster(1, { options: withTls })).nodes;

const from = async (address, node, port = node.port) => {
  const socket = await connect(port, address);
  open.push(socket);
  return socket;
};

// ---- vocabulary ----

let next = 1;
const nobody = () => `198.51.100.${next++}`; // an address that no other test uses

const logged = (node, pattern) => until(`${pattern} in the log`, () => node.log.match(pattern));
const opened = (node, peer) => logged(node, new RegExp(`event=socket_opened peer=${peer.replaceAll(/[.[\]]/g, '\\$&')} `));
const answered = (socket, pattern) => until(`${pattern}, got ${JSON.stringify(socket.text)}`, () => pattern.test(socket.text));
const upgraded = (socket) => answered(socket, /^HTTP\/1\.1 101 /);

// ---- the PROXY protocol ----

for (const [how, node] of [['plain', plain], ['TLS', secured]]) {
  const speak = (raw) => (how === 'TLS' ? secure(raw, { ca }) : raw);

  test(`over_${how}_both_versions_name_the_client_also_when_they_come_byte_by_byte`, async () => {
    for (const [header, client] of [
      [v1, nobody()], [v2, nobody()], [(ip, port) => v2(ip, port, Buffer.from([4, 0, 3, 1, 2, 3])), nobody()],
    ]) {
      for (const send of [(socket, bytes) => socket.write(bytes), drip]) {
        const port = 1024 + next++;
        const raw = await from(balancer, node);
        await send(raw, header(client, port));
        const socket = await speak(raw);
        socket.write(upgradeRequest());
        await upgraded(socket);
        await opened(node, `${client}:${port}`);
        socket.destroy();
        await logged(node, new RegExp(`event=socket_closed peer=${client}:${port} `));
      }
    }
  });

  test(`over_${how}_a_proxys_own_connection_keeps_its_own_address`, async () => {
    for (const header of [Buffer.from('PROXY UNKNOWN\r\n'), v2Raw(0, 0, Buffer.alloc(0)), v2Raw(1, 0, Buffer.from([4, 0, 0]))]) {
      const raw = await from(balancer, node);
      const { localPort } = raw;
      raw.write(header);
      const socket = await speak(raw);
      socket.write(upgradeRequest());
      await upgraded(socket);
      await opened(node, `${balancer}:${localPort}`);
    }
  });

  test(`over_${how}_a_header_is_refused_from_addresses_that_are_not_listed`, async () => {
    for (const header of [v1(nobody()), v2(nobody())]) {
      const before = (await node.metric('fanmesh_proxy_refused_total')) ?? 0;
      const socket = await from(stranger, node);
      socket.write(header);
      const answer = await within(5000, 'the end', socket.ended);
      assert.match(answer, /^HTTP\/1\.1 400 [^]*PROXY protocol header[^]*does not take from your address|does not take a PROXY protocol header/);
      assert.equal(await node.metric('fanmesh_proxy_refused_total'), before + 1);
    }
  });

  test(`over_${how}_a_header_that_does_not_end_is_cut_off_in_time`, async (t) => {
    const hasty = await startNode(t, { options: { ...(how === 'TLS' ? withTls : options), handshake_ms: '1s' } });
    for (const begun of [Buffer.from('PROXY TCP4 192.0'), v2(nobody()).subarray(0, 20), Buffer.alloc(0)]) {
      const socket = await from(balancer, hasty);
      socket.write(begun);
      assert.equal(await within(10_000, 'the end', socket.ended), '');
    }
    assert.equal(await hasty.metric('fanmesh_handshake_timeouts_total'), 3);
  });
}

test('a_listed_address_that_sends_no_header_or_a_wrong_one_is_refused_and_told_so', async () => {
  for (const [bytes, what] of [
    ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', /there is none/], ['PROXY TCP4 1.2.3.4\r\n', /an address in it/], [v2Raw(2, 0x11, Buffer.alloc(12)), /version or command/],
  ]) {
    const socket = await from(balancer, plain);
    socket.write(bytes);
    const answer = await within(5000, 'the end', socket.ended);
    assert.match(answer, /^HTTP\/1\.1 400 [^]*proxy_protocol_from/);
    assert.match(answer, what);
  }
  const hello = await from(balancer, secured);
  await assert.rejects(secure(hello, { ca }));
  await logged(secured, /level=warn event=proxy_header peer=127\.0\.0\.\d:\d+ why=/);
});

test('the_internal_listener_has_a_list_of_its_own', async () => {
  const client = nobody();
  const socket = await from(balancer, plain, plain.apiPort);
  socket.write(v2(client, 4711));
  socket.write('GET /api/topics HTTP/1.1\r\nHost: a\r\n\r\n');
  await answered(socket, /^HTTP\/1\.1 401 /);
  await logged(plain, new RegExp(`event=http_refused peer=${client}:4711 status=401 code=unauthorized`));
  socket.write(`GET /api/topics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${apiKey}\r\n\r\n`);
  await answered(socket, /HTTP\/1\.1 200 /);
});

test('a_node_whose_own_address_is_listed_goes_on_hearing_itself', async () => {
  for (const extra of [{}, { tls_cert: cert, tls_key: key }]) {
    const cluster = await sharedCluster(1, { options: { ...options, ...extra, proxy_protocol_from: '127.0.0.0/8', probe_ms: 100, probe_timeout_ms: 1000 } });
    const [node] = cluster.nodes;
    const accepted = await node.metric('fanmesh_accepted_total');
    await until('the probe has knocked often', async () => (await node.metric('fanmesh_accepted_total')) > accepted + 20);
    await until('it is ready', async () => (await fetch(`${node.api}/readyz`)).status === 200); // on a busy machine it may have been deaf for a moment
    assert.equal((await node.metric('fanmesh_proxy_refused_total')) ?? 0, 0);
  }
});

// ---- X-Forwarded-For ----

test('a_trusted_proxys_x_forwarded_for_names_the_client_of_each_request', async () => {
  const [first, second] = [nobody(), nobody()];
  const socket = await from(relay, plain);
  const ask = (path, value) => socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ${value}\r\n\r\n`);
  ask('/nowhere', `203.0.113.1, ${first}`);
  await answered(socket, /^HTTP\/1\.1 404 /);
  ask('/nowhere', `${second}:99, ${relay}`);
  await answered(socket, /404 [^]*404 /);
  await logged(plain, new RegExp(`event=http_refused peer=${first} status=404`));
  await logged(plain, new RegExp(`event=http_refused peer=${second}:99 status=404`));
  const client = nobody();
  socket.write(upgradeRequest(undefined, { 'X-Forwarded-For': client }));
  await answered(socket, /HTTP\/1\.1 101 /);
  await opened(plain, client);
});

test('x_forwarded_for_from_anybody_else_says_nothing', async () => {
  const [socket, invented] = [await from(stranger, plain), nobody()];
  socket.write(upgradeRequest(undefined, { 'X-Forwarded-For': invented }));
  await upgraded(socket);
  await opened(plain, `${stranger}:${socket.localPort}`);
  assert.ok(!plain.log.includes(invented));
});

test('a_slow_client_is_logged_by_its_own_address', async () => {
  const client = nobody();
  const socket = await from(balancer, plain);
  socket.write(v2(client, 4712));
  socket.write(upgradeRequest());
  await upgraded(socket);
  socket.write(frame(1, JSON.stringify(['1', '1', 'bare:slow', 'phx_join', {}])));
  await answered(socket, /phx_reply/);
  socket.pause();
  const text = 'x'.repeat(60000);
  await until('it is closed as too slow', async () => {
    await plain.publishAll(Array.from({ length: 20 }, () => ({ topic: 'bare:slow', event: 'msg', payload: { text } })));
    return (await plain.metric('fanmesh_slow_disconnects_total')) > 0;
  });
  await logged(plain, new RegExp(`event=slow_disconnect peer=${client}:4712 `));
});
