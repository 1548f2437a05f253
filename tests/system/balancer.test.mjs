// Three nodes behind HAProxy and behind nginx, by the files of deploy/: stock clients, without stickiness, through a rolling restart under load.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { clientsOn, Haproxy, Nginx } from '../lib/balancer.mjs';
import { makeCertificate } from '../lib/certificate.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { clean, compare } from '../lib/ledger.mjs';
import { load, urlsOf, verdict } from '../lib/load.mjs';
import { workFolder } from '../lib/node.mjs';
import { connect, disconnect, disconnectAll, follow, idsOf, versions, WebSocket } from '../lib/phoenix.mjs';
import { sleep, until } from '../lib/wait.mjs';

after(disconnectAll);

// A stock client through the balancer, on a channel that resumes. It comes from an address of its own if that is given.
async function client(balancer, topic, { version = 'phoenix 1.8', address } = {}) {
  const transport = class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { ca: balancer.ca, localAddress: address, family: 4 });
    }
  };
  const socket = await connect(balancer.url, { client: versions[version], transport });
  socket.closes = [];
  socket.onClose(({ code }) => socket.closes.push(code));
  const channel = await follow(socket, topic);
  return { socket, channel };
}

const clientsOf = (node) => node.metric('fanmesh_subscriptions');

for (const Kind of [Haproxy, Nginx]) {
  const name = Kind.name.toLowerCase();
  const start = async (t, options) => {
    const cluster = await startCluster(t, 3, { options: { ...Kind.options, log_level: 'debug', ...options } });
    return { cluster, nodes: cluster.nodes, balancer: await Kind.start(t, cluster.nodes) };
  };

  test(`behind_${name}_stock_clients_of_all_nodes_get_everything_and_nodes_know_their_addresses`, async (t) => {
    const { nodes, balancer } = await start(t);
    const topic = 'room:behind';
    const addresses = [5, 6, 7].map((last) => `127.0.0.${last}`);
    const clients = await clientsOn(nodes, 12, (i) => client(balancer, topic, { version: Object.keys(versions)[i % 2], address: addresses[i % 3] }));
    const published = [];
    for (let n = 0; n < 30; n++) published.push(await nodes[n % 3].publish({ topic, event: 'msg', payload: { n } }));
    for (const { channel } of clients) {
      await until('all are there', () => channel.got.length >= 30);
      assert.deepEqual(compare(published, idsOf(channel)), clean);
    }
    const logs = nodes.map((node) => node.log).join('');
    for (const [i, address] of addresses.entries()) {
      const opened = logs.match(new RegExp(`event=socket_opened peer=${address.replaceAll('.', '\\.')}(:\\d+)? why="a client"`, 'g'));
      assert.ok(opened?.length >= clients.filter((_, k) => k % 3 === i).length, `${opened?.length} from ${address}`);
    }
    assert.equal(logs.match(/event=socket_opened peer=127\.0\.0\.1\b/g), null, 'nobody is taken for the balancer');
    await Promise.all(clients.map(({ socket }) => disconnect(socket)));
  });

  test(`behind_${name}_a_node_that_is_to_end_gets_no_new_clients_while_it_still_serves_those_it_has`, async (t) => {
    const { cluster, nodes, balancer } = await start(t);
    const [leaving] = nodes;
    leaving.options.drain_wait_ms = '10m';
    await cluster.restart(leaving);
    await balancer.has(leaving);
    const topic = 'room:leaving';
    const old = await clientsOn([leaving], 6, () => client(balancer, topic));
    const had = await clientsOf(leaving);
    leaving.child.kill('SIGTERM');
    await until('it is unready', async () => (await fetch(`${leaving.api}/readyz`)).status === 503);
    await balancer.misses(leaving);
    const late = [];
    for (let i = 0; i < 9; i++) late.push(await client(balancer, topic));
    assert.equal(await clientsOf(leaving), had, 'none of the new clients is there');
    const published = [];
    const publish = async (node) => published.push(await node.publish({ topic, event: 'msg', payload: { n: published.length } }));
    for (const node of nodes) await publish(node);
    for (const { channel } of [...old, ...late]) await until('all are there', () => channel.got.length === 3);
    assert.ok(old.every(({ socket }) => socket.closes.length === 0), 'and nobody was told to go');
    // It dies before its time is over: its clients move.
    await leaving.kill();
    for (const node of nodes.slice(1)) await publish(node);
    for (const { channel } of [...old, ...late]) {
      await until('all are there', () => channel.got.length >= 5, 30_000);
      assert.deepEqual(compare(published, idsOf(channel)), clean);
    }
    await Promise.all([...old, ...late].map(({ socket }) => disconnect(socket)));
  });

  test(`behind_${name}_nodes_that_end_TLS_themselves_know_their_clients_addresses_and_one_that_dies_takes_nothing_along`, async (t) => {
    const certificate = makeCertificate(workFolder());
    const options = { ...Kind.passing, tls_cert: certificate.cert, tls_key: certificate.key, log_level: 'debug' };
    const { nodes } = await startCluster(t, 3, { options });
    const balancer = await Kind.start(t, nodes, certificate);
    const topic = 'room:passing';
    const clients = await clientsOn([nodes[0]], 6, () => client(balancer, topic, { address: '127.0.0.5' }));
    const published = [];
    const publish = async (node) => published.push(await node.publish({ topic, event: 'msg', payload: { n: published.length } }));
    for (const node of nodes) await publish(node);
    for (const { channel } of clients) await until('all are there', () => channel.got.length === 3);
    const opened = (log) => log.match(/event=socket_opened peer=127\.0\.0\.5:\d+ why="a client"/g)?.length ?? 0;
    assert.ok(opened(nodes.map((node) => node.log).join('')) >= clients.length);
    assert.ok(opened(nodes[0].log) > 0);
    await nodes[0].kill();
    for (const node of nodes.slice(1)) await publish(node);
    for (const { channel } of clients) {
      await until('all are there', () => channel.got.length >= 5, 30_000);
      assert.deepEqual(compare(published, idsOf(channel)), clean);
    }
    await Promise.all(clients.map(({ socket }) => disconnect(socket)));
  });

  test(`behind_${name}_a_rolling_restart_of_all_nodes_under_load_loses_nothing`, async (t) => {
    const { cluster, nodes, balancer } = await start(t, { drain_wait_ms: Kind === Haproxy ? '5s' : '2s', drain_ms: '2s', log_level: 'info' });
    const topic = 'room:rolling';
    const stock = [];
    for (let i = 0; i < 6; i++) stock.push(await client(balancer, topic, { version: Object.keys(versions)[i % 2] }));
    const { api_key } = urlsOf(nodes);
    const running = load({
      nodes: `${balancer.url}/websocket?vsn=2.0.0`, tls_ca: balancer.caFile, api: nodes.map((node) => node.api).join(','), api_key,
      connections: 60, topics: 6, messages: 0, duration_ms: '1h', rate: 100, ack: 'mixed', keyed_percent: 100, retries: 20, settle_ms: '20s',
    });
    t.after(() => running.child.kill('SIGKILL'));
    running.catch(() => {});
    const published = [];
    let rolling = true;
    t.after(() => (rolling = false));
    const publishing = (async () => {
      for (let n = 0; rolling; n++) {
        const key = `rolling-${n}`;
        const publish = (node) => node.publish({ topic, event: 'msg', key, payload: { n } });
        const node = nodes[n % 3];
        published.push(await until('it is published', () => publish(node).catch(() => publish(nodes[(n + 1) % 3])), 30_000));
        await sleep(10); // so that it fits into the topic's history however long the restarts take
      }
    })();
    for (const node of nodes) {
      await node.stop(30_000);
      await balancer.misses(node);
      await cluster.restart(node);
      await balancer.has(node);
    }
    rolling = false;
    await publishing;
    running.stop();
    const { code, result, text } = await running;
    assert.equal(code, verdict.good, text);
    assert.equal(result.clients.joined, 60, text);
    assert.ok(result.clients.reconnects >= 60, text);
    assert.ok(published.length > 0);
    for (const { socket, channel } of stock) {
      await until('all are there', () => new Set(idsOf(channel)).size >= published.length, 30_000);
      assert.deepEqual(compare(published, idsOf(channel)), clean);
      assert.ok(socket.closes.includes(1012), `told to come again: ${socket.closes}`);
    }
    t.diagnostic(`${result.tally.deliveries} deliveries, ${result.clients.reconnects} times a client moved; ${published.length} messages to stock clients`);
    await Promise.all(stock.map(({ socket }) => disconnect(socket)));
  });
}

test('behind_haproxy_a_backend_publishes_through_the_balancer_too', async (t) => {
  const cluster = await startCluster(t, 3, { options: Haproxy.options });
  const balancer = await Haproxy.start(t, cluster.nodes);
  const { channel, socket } = await client(balancer, 'room:api');
  const { api_key } = urlsOf(cluster.nodes);
  // In turn; but for a balancer a node that a busy machine keeps waiting is away for a while.
  const origins = () => new Set(idsOf(channel).map((id) => id.split('-')[0])).size;
  for (let n = 0; n < 6 || (origins() < 3 && n < 60); n++) {
    const answer = await fetch(`http://127.0.0.1:${balancer.apiPort}/api/publish`, {
      method: 'POST', headers: { authorization: `Bearer ${api_key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ topic: 'room:api', event: 'msg', payload: { n } }),
    });
    assert.equal(answer.status, 200);
    await until('it is there', () => channel.got.length === n + 1);
  }
  assert.equal(origins(), 3, 'by all nodes');
  await disconnect(socket);
});
