// Revoking a user's tokens: on all nodes at once, on those that come later, and on those that were cut off.
import assert from 'node:assert/strict';
import test from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { Node } from '../lib/node.mjs';
import { WebSocket } from '../lib/phoenix.mjs';
import { attempt, seconds, secret, token } from '../lib/tokens.mjs';
import { until, within } from '../lib/wait.mjs';

const config = { rules: { 'room:*': { join: 'token', push: 'token' } }, options: { token_secret: secret, connect: 'token', ack_timeout_ms: '20s' } };
const made = (sub, iat, more = {}) => token({ sub, iat: seconds(iat), topics: ['room:*'], ...more });
const open = (node, text) => attempt(WebSocket, `${node.ws}/websocket?vsn=2.0.0&token=${text}`);

async function client(node, text) {
  const { socket, status } = await open(node, text);
  assert.equal(status, 101);
  socket.ended = new Promise((resolve) => socket.on('close', (code, reason) => resolve([code, reason.toString()])));
  socket.on('error', () => {});
  return socket;
}

async function ask(node, text) {
  const { socket, status, code } = await open(node, text);
  socket?.terminate();
  return status === 101 ? 'taken' : code;
}
// Each node has two workers, and who gets a connection is not ours to say.
async function everywhere(nodes, text, wanted, what) {
  for (const node of nodes) for (let i = 0; i < 8; i++) assert.equal(await ask(node, text), wanted, `${what} on ${node.name}`);
}
// Until it has learned that on all of them.
const learns = (node, text) => until(`${node.name} knows it`, async () => {
  for (let i = 0; i < 8; i++) if ((await ask(node, text)) !== 'token_revoked') return false;
  return true;
});
const revoke = (node, body) => node.request('POST', '/api/revoke', { body, headers: { 'content-type': 'application/json' } });

test('a_user_whose_tokens_are_revoked_is_out_on_all_nodes_and_nobody_else_is', async (t) => {
  const { nodes } = await startCluster(t, 3, config);
  const [old, of_bob] = [made('ann', -10), made('bob', -10)];
  const anns = await Promise.all(nodes.map((node) => client(node, old)));
  const bobs = await Promise.all(nodes.map((node) => client(node, of_bob)));
  let gone = 0;
  for (const bob of bobs) bob.ended.then(() => gone++);
  const answer = await revoke(nodes[1], { user: 'ann' });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.count, 3);
  assert.deepEqual(answer.body.missing, []);
  for (const ann of anns) assert.deepEqual(await within(10_000, 'her end', ann.ended), [4003, 'the token was revoked']);
  await everywhere(nodes, old, 'token_revoked', 'the old token');
  await everywhere(nodes, of_bob, 'taken', 'the other user');
  await everywhere(nodes, made('ann', 3), 'taken', 'a later token');
  await everywhere(nodes, made('anna', -10), 'taken', 'a user with a longer name');
  assert.equal(gone, 0);

  // Neither does the old one come in through the back door.
  const fresh = await client(nodes[0], made('ann', 3));
  const reply = new Promise((resolve) => fresh.once('message', (data) => resolve(JSON.parse(data)[4])));
  fresh.send(JSON.stringify([null, '1', 'phoenix', 'access_token', { access_token: old }]));
  assert.deepEqual(await within(5000, 'a reply', reply), { status: 'error', response: { reason: 'token_revoked' } });
  for (const socket of [fresh, ...bobs]) socket.terminate();
});

test('what_was_made_after_a_time_that_is_named_stays', async (t) => {
  const { nodes } = await startCluster(t, 2, config);
  const [before, after] = [made('ann', -100), made('ann', -50)];
  const sockets = await Promise.all([client(nodes[0], before), client(nodes[1], after)]);
  const { body } = await revoke(nodes[0], { user: 'ann', issued_until: seconds(-75) });
  assert.equal(body.count, 1);
  assert.equal((await within(10_000, 'the end of the older', sockets[0].ended))[0], 4003);
  await everywhere(nodes, before, 'token_revoked', 'the older');
  await everywhere(nodes, after, 'taken', 'the newer');
  assert.equal(sockets[1].readyState, WebSocket.OPEN);
  sockets[1].terminate();
  // An earlier one that comes later takes nothing back.
  await revoke(nodes[1], { user: 'ann', issued_until: seconds(-90) });
  await everywhere(nodes, before, 'token_revoked', 'the older, still');
});

test('nodes_that_start_later_know_it_also_when_the_one_that_was_told_is_gone', async (t) => {
  const cluster = await startCluster(t, 2, config);
  const [one, two] = cluster.nodes;
  const old = made('ann', -10);
  assert.equal((await revoke(one, { user: 'ann' })).status, 200);
  await everywhere([two], old, 'token_revoked', 'the old token');
  await one.kill();
  const three = await Node.create({ name: 'node3', folder: two.folder, ...config, join: two });
  cluster.nodes.push(three);
  await three.start();
  await learns(three, old);
  await everywhere([two, three], old, 'token_revoked', 'the old token');
  await everywhere([three], made('ann', 3), 'taken', 'a later one');
  await cluster.restart(one);
  await learns(one, old);
  await everywhere([one], old, 'token_revoked', 'the old token');
});

test('a_node_that_was_out_of_reach_does_it_when_it_is_back', async (t) => {
  const { nodes } = await startCluster(t, 3, { ...config, options: { ...config.options, down_ms: 1000 } });
  const old = made('ann', -10);
  const ann = await client(nodes[2], old);
  nodes[2].freeze();
  t.after(() => nodes[2].thaw());
  await until('it is missed', async () => (await nodes[0].viewOf(nodes[2]))?.state === 'down');
  // The other one may be late, too: then once more, which is nothing new to anybody.
  const { body } = await until('only one is missing', async () => {
    const answer = await revoke(nodes[0], { user: 'ann', timeout_ms: 200 });
    return answer.body.missing.length <= 1 && answer;
  });
  assert.deepEqual([body.count, body.missing.length], [0, 1]);
  nodes[2].thaw();
  assert.equal((await within(20_000, 'her end', ann.ended))[0], 4003);
  await everywhere([nodes[2]], old, 'token_revoked', 'the old token');
});

test('a_token_that_does_not_say_when_it_was_made_counts_as_old', async (t) => {
  const { nodes } = await startCluster(t, 1, { ...config, options: { ...config.options, token_lifetime_max: '1h' } });
  const text = token({ sub: 'ann', iat: undefined, exp: seconds(600) });
  assert.equal(await ask(nodes[0], text), 'taken');
  await revoke(nodes[0], { user: 'ann' });
  await everywhere(nodes, text, 'token_revoked', 'one without iat');
});
