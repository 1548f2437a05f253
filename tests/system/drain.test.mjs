// What a node does between the signal that ends it and its end: balancers learn of it before clients do.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';
import { closeCode, rawSocket } from '../lib/raw.mjs';
import { until, within } from '../lib/wait.mjs';
import { wsChannel } from '../lib/ws_channel.mjs';

const open = [];
after(() => open.forEach((socket) => socket.terminate()));

async function client(node) {
  const socket = await wsChannel(open, `${node.ws}/websocket?vsn=2.0.0`, 'room:drain');
  socket.closed = new Promise((resolve) => socket.once('close', resolve));
  return socket;
}

const readiness = (node) =>
  Promise.all([node.port, node.apiPort].map(async (port) => (await fetch(`http://127.0.0.1:${port}/readyz`)).status));

test('for_drain_wait_ms_a_node_is_unready_on_both_listeners_and_serves_old_and_new_clients', async (t) => {
  const node = await startNode(t, { options: { drain_wait_ms: '10m' } });
  const old = await client(node);
  assert.deepEqual(await readiness(node), [200, 200]);
  node.child.kill('SIGTERM');
  await until('it is unready', async () => (await readiness(node)).every((status) => status === 503));
  const late = await client(node);
  await node.publish({ topic: 'room:drain', event: 'msg', payload: { n: 1 } });
  await until('both have it', () => old.got.length === 1 && late.got.length === 1);
  assert.equal(old.readyState, old.OPEN);
  node.child.kill('SIGTERM'); // a second one ends it at once
  assert.equal((await within(20_000, 'the end', node.exited)).code, 1);
});

test('after_drain_wait_ms_clients_are_told_with_1012_and_the_node_ends_well', async (t) => {
  const node = await startNode(t, { options: { drain_wait_ms: 300, drain_ms: '2s' } });
  const { closed } = await client(node);
  await node.stop();
  assert.equal(await within(20_000, 'the close', closed), 1012);
  assert.match(node.log, /event=draining .*drain_wait_ms=300 /);
});

test('a_node_ends_well_though_a_client_does_not_answer_the_close', async (t) => {
  const node = await startNode(t);
  const { closed } = await client(node); // one that does
  const silent = await rawSocket(node);
  silent.socket.allowHalfOpen = true; // it does not even answer the end of the connection
  t.after(() => silent.close());
  await node.stop(); // under AddressSanitizer: nothing is left that nobody refers to
  assert.equal(await within(5000, 'the close', closed), 1012);
  await until('the other was told, too', () => closeCode(silent) === 1012);
  assert.match(node.log, /event=drained /);
});
