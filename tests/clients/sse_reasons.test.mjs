// Streams that end before their first event: the answer says why. They wait for a backend that has not said yet whether they may join.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backend, hookSecret } from '../lib/backend.mjs';
import { startNode } from '../lib/cluster.mjs';
import { Stream, sseOf } from '../lib/sse.mjs';
import { seconds, secret, token } from '../lib/tokens.mjs';
import { patience, until, within } from '../lib/wait.mjs';

const rules = { 'ask:*': { join: 'hook' }, 'room:*': { join: 'anyone' }, 'closed:*': { join: 'nobody' }, 'token:*': { join: 'token' } };

// A node, and a stream of ann's whose join the backend was asked about; stream is a promise. claims: made when the node is there.
async function waiting(t, more = {}, claims = () => ({})) {
  const backend = await Backend.start(t);
  backend.answer = ({ event }) => (event === 'phx_join' || event === 'join' ? undefined : { allow: true });
  const options = { hook_url: backend.url, hook_secret: hookSecret, hook_open_after: 0, hook_retries: 0, hook_timeout_ms: '60s', token_secret: secret, token_grace_ms: 0, ...more };
  const node = await startNode(t, { rules, options });
  const stream = Stream.open(t, sseOf(node, 'ask:1', { token: token({ sub: 'ann', topics: ['*'], ...claims() }) }));
  await until('the backend is asked', () => backend.asks.length > 0);
  return { node, backend, stream };
}
const told = (node, path, body) => node.request('POST', path, { body, headers: { 'content-type': 'application/json' } });
const said = async (stream) => {
  const { status, error } = await within(20_000, 'the answer', stream);
  return { status, ...error };
};

test('a_user_who_is_disconnected_is_told_the_reason_that_was_given', async (t) => {
  const { node, stream } = await waiting(t);
  await told(node, '/api/disconnect', { user: 'ann', reason: 'logged out elsewhere' });
  const { status, code, message } = await said(stream);
  assert.deepEqual([status, code], [503, 'closed']);
  assert.match(message, /: logged out elsewhere$/);
});

test('a_user_whose_token_is_revoked_is_told_so', async (t) => {
  const { node, stream } = await waiting(t);
  await told(node, '/api/revoke', { user: 'ann' });
  const { status, code } = await said(stream);
  assert.deepEqual([status, code], [403, 'token_revoked']);
});

test('a_client_whose_token_expires_meanwhile_is_told_so', async (t) => {
  const { stream } = await waiting(t, {}, () => ({ exp: seconds(4 * patience) }));
  const { status, code } = await said(stream);
  assert.deepEqual([status, code], [403, 'token_expired']);
});

test('on_a_node_that_shuts_down_it_is_told_draining', async (t) => {
  const { node, stream } = await waiting(t);
  const stopped = node.stop(20_000);
  const { status, code } = await said(stream);
  assert.deepEqual([status, code], [503, 'draining']);
  await stopped;
});

test('what_is_refused_by_hook_rule_token_or_limit_is_told_as_that', async (t) => {
  const { node, backend, stream } = await waiting(t, { connections_per_user: 2, topics_per_socket: 2 });
  const open = async (topics, params) => said(Stream.open(t, sseOf(node, topics, params)));
  assert.deepEqual([(await open('closed:1')).code, (await open('nowhere:1')).code], ['forbidden', 'unmatched topic']);
  assert.deepEqual([(await open('token:1')).status, (await open('token:1')).code], [403, 'token_missing']);
  assert.equal((await open('room:1', { token: 'no.token.atall' })).status, 403);
  const many = await open(['room:1', 'room:2', 'room:3']);
  assert.equal(many.status, 400);
  assert.match(many.message, /topics_per_socket|more|many/);
  backend.answer = () => ({ allow: false, reason: 'not today' });
  const refused = await open('ask:2', { token: token({ sub: 'bob', topics: ['*'] }) });
  assert.equal(refused.status, 403);
  assert.match(JSON.stringify(refused), /not today|forbidden/);
  const ann = token({ sub: 'ann', topics: ['*'] });
  const second = await Stream.open(t, sseOf(node, 'room:1', { token: ann }));
  await second.joined();
  assert.deepEqual([(await open('room:1', { token: ann })).status, (await open('room:1', { token: ann })).code], [429, 'too_many_connections']);
  await told(node, '/api/disconnect', { user: 'ann' });
  assert.equal((await said(stream)).code, 'closed');
});
