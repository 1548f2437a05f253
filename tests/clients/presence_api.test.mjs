// Who is shown by the HTTP API, as stock phoenix clients see it on three nodes; and presences that rules or tokens do not allow any more.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { sharedCluster, startCluster, startNode } from '../lib/cluster.mjs';
import { testRules } from '../lib/node.mjs';
import { connect, disconnectAll, push, versions } from '../lib/phoenix.mjs';
import { attend, membersOf } from '../lib/presence.mjs';
import { secret, token } from '../lib/tokens.mjs';
import { until } from '../lib/wait.mjs';

const open = { join: 'anyone', push: 'anyone', presence: 'anyone' };
const rules = { ...testRules, 'who:*': open };
const cluster = await sharedCluster(3, { rules, options: { presence_ttl_max: '10m', down_ms: '1m' } });
const [a, b, c] = cluster.nodes;
after(disconnectAll);

let unique = 0;
const topicOf = () => `who:${process.pid}-${++unique}`;
const phoenix = versions['phoenix 1.8'];
const come = async (node, topic, params) => attend(phoenix, await connect(node), topic, params);
const as = (key, meta = {}) => ({ presence: { key, meta } });

const pathOf = (topic) => `/api/topics/${encodeURIComponent(topic)}/presence`;
const tryShow = (node, topic, body) => node.request('PUT', pathOf(topic), { body, headers: { 'content-type': 'application/json' } });
async function show(node, topic, body) {
  const { status, body: answer, text } = await tryShow(node, topic, body);
  assert.equal(status, 200, text);
  return answer;
}
const hide = (node, topic, key, more = {}) => node.request('DELETE', `${pathOf(topic)}?key=${encodeURIComponent(key)}&timeout_ms=30000`, more);

const same = (value, wanted) => JSON.stringify(value) === JSON.stringify(wanted);
async function agree(watchers, topic, wanted, nodes = cluster.nodes) {
  for (const who of watchers)
    await until(`a client shows ${JSON.stringify(wanted)}`, () => same(who.list(), wanted)).catch((error) => {
      throw new Error(`${error.message}; it shows ${JSON.stringify(who.list())}`);
    });
  for (const node of nodes) await until(`${node.name} shows ${JSON.stringify(wanted)}`, async () => same(await membersOf(node, topic), wanted));
}

for (const [name, client] of Object.entries(versions)) {
  test(`${name}: whom_a_backend_shows_is_there_on_all_nodes_is_changed_in_one_diff_and_goes_when_any_node_is_told_so`, async () => {
    const topic = topicOf();
    const watchers = [];
    for (const node of [a, b, c]) watchers.push(await attend(client, await connect(node, { client }), topic));
    const first = await show(a, topic, { key: 'robot "ü"', meta: { mood: 'well' } });
    assert.deepEqual({ ...first, phx_ref: '' }, { topic, key: 'robot "ü"', phx_ref: '', ttl_ms: 60_000 });
    await agree(watchers, topic, { 'robot "ü"': [{ mood: 'well' }] });
    const before = watchers[1].diffs.length;
    const second = await show(a, topic, { key: 'robot "ü"', meta: { mood: 'better' }, ttl_ms: 600_000 });
    assert.equal(second.ttl_ms, 600_000);
    await agree(watchers, topic, { 'robot "ü"': [{ mood: 'better' }] });
    assert.deepEqual(watchers[1].diffs.slice(before), [
      {
        joins: { 'robot "ü"': { metas: [{ mood: 'better', phx_ref: second.phx_ref, phx_ref_prev: first.phx_ref }] } },
        leaves: { 'robot "ü"': { metas: [{ mood: 'well', phx_ref: first.phx_ref }] } },
      },
    ]);
    for (const who of watchers) assert.ok(!who.gone('robot "ü"'));
    const gone = await hide(c, topic, 'robot "ü"');
    assert.equal(gone.status, 200, gone.text);
    assert.equal(gone.body.count, 1);
    assert.deepEqual(gone.body.nodes.map(({ count }) => count).sort(), [0, 0, 1]);
    await agree(watchers, topic, {});
    assert.equal((await hide(b, topic, 'robot "ü"')).body.count, 0);
  });
}

test('a_key_that_is_shown_through_one_node_and_then_another_is_there_once', async () => {
  const topic = topicOf();
  const bob = await come(b, topic, as('bob'));
  for (const [n, node] of [a, b, c, a, c].entries()) {
    await show(node, topic, { key: 'robot', meta: { n } });
    await agree([bob], topic, { bob: [{}], robot: [{ n }] });
  }
  assert.ok(!bob.gone('robot'), JSON.stringify(bob.events));
  assert.equal((await hide(a, topic, 'robot')).body.count, 1);
  await agree([bob], topic, { bob: [{}] });
});

test('it_ends_with_its_time_unless_it_is_shown_again_and_takes_no_client_with_it', async () => {
  const topic = topicOf();
  const ann = await come(b, topic, as('ann', { by: 'herself' }));
  await show(a, topic, { key: 'ann', meta: { by: 'backend' } });
  await show(a, topic, { key: 'stays', ttl_ms: 1 });
  await show(a, topic, { key: 'stays', ttl_ms: 600_000 });
  await agree([ann], topic, { ann: [{ by: 'backend' }, { by: 'herself' }], stays: [{}] });
  await show(a, topic, { key: 'ann', meta: { by: 'backend' }, ttl_ms: 200 });
  await agree([ann], topic, { ann: [{ by: 'herself' }], stays: [{}] });
  assert.ok(!ann.gone('ann'));
  assert.equal((await hide(b, topic, 'ann')).body.count, 0, 'a client ends its own');
  await agree([ann], topic, { ann: [{ by: 'herself' }], stays: [{}] });
});

test('a_retry_of_an_end_with_its_key_does_nothing_to_who_was_shown_since', async () => {
  const topic = topicOf();
  const ann = await come(b, topic, as('ann'));
  await show(a, topic, { key: 'robot', meta: { n: 1 } });
  const again = { headers: { 'idempotency-key': `end-${topic}` } };
  const first = await hide(b, topic, 'robot', again);
  assert.equal(first.body.count, 1);
  await show(a, topic, { key: 'robot', meta: { n: 2 } });
  const second = await hide(c, topic, 'robot', again);
  assert.deepEqual([second.body.duplicate, second.body.id], [true, first.body.id]);
  await agree([ann], topic, { ann: [{}], robot: [{ n: 2 }] });
});

test('what_can_not_be_shown_is_refused_with_a_reason', async () => {
  const topic = topicOf();
  const code = async (of, body) => {
    const { status, body: answer } = await tryShow(a, of, body);
    return [status, answer.error?.code];
  };
  assert.deepEqual(await code('none', { key: 'ann' }), [404, 'unmatched topic']);
  assert.deepEqual(await code('room:1', { key: 'ann' }), [403, 'forbidden']);
  for (const bad of [{}, { key: '' }, { key: 'x'.repeat(256) }, { key: 'a\u0000b' }, { key: 7 }, { key: 'ann', meta: [] }, { key: 'ann', ttl_ms: 0 }, { key: 'ann', ttl_ms: 600_001 }, []])
    assert.deepEqual(await code(topic, bad), [400, 'invalid'], JSON.stringify(bad));
  assert.deepEqual(await code(topic, { key: 'ann', user: 'ann' }), [400, 'unknown_member']);
  assert.deepEqual(await code(topic, { key: 'ann', meta: { large: 'x'.repeat(5000) } }), [413, 'too_large']);
  assert.equal((await a.request('DELETE', pathOf(topic))).body.error.code, 'invalid');
  assert.equal((await a.request('PUT', pathOf(topic), { key: 'wrong', body: { key: 'ann' } })).status, 401);
  await agree([], topic, {});
});

test('beyond_presence_bytes_the_api_says_so', async (t) => {
  const node = await startNode(t, { rules, options: { presence_bytes: '64KiB' } });
  let refused;
  for (let i = 0; !refused && i < 100; i++) {
    const answer = await tryShow(node, topicOf(), { key: 'ann', meta: { text: 'x'.repeat(2000) } });
    if (answer.status !== 200) refused = answer;
  }
  assert.deepEqual([refused.status, refused.body.error.code], [503, 'presence_full']);
  assert.ok((await node.metric('fanmesh_presence_refused_total')) > 0);
});

test('it_goes_with_its_node_and_is_handed_over_when_that_drains', async (t) => {
  const own = await startCluster(t, 3, { rules, options: { presence_grace_ms: '60s' } });
  const [one, two, three] = own.nodes;
  const topic = topicOf();
  const bob = await come(three, topic, as('bob'));
  await show(one, topic, { key: 'drained', meta: { n: 1 }, ttl_ms: 600_000 });
  await show(two, topic, { key: 'killed', ttl_ms: 600_000 });
  await agree([bob], topic, { bob: [{}], drained: [{ n: 1 }], killed: [{}] }, own.nodes);
  await two.kill();
  await agree([bob], topic, { bob: [{}], drained: [{ n: 1 }] }, [one, three]);
  await one.stop(30_000);
  assert.ok(!bob.gone('drained'), 'its time to be shown elsewhere');
  await show(three, topic, { key: 'drained', meta: { n: 2 } });
  await agree([bob], topic, { bob: [{}], drained: [{ n: 2 }] }, [three]);
  assert.ok(!bob.gone('drained'), JSON.stringify(bob.events));
});

// ---- rules and tokens that change ----

test('new_rules_without_presence_end_what_is_shown_and_what_is_told_and_the_lists_are_empty', async (t) => {
  const node = await startNode(t, { rules: { ...rules, 'other:*': open } });
  const ann = await come(node, 'who:1', as('ann'));
  const quiet = await come(node, 'who:1', { presence: { key: 'quiet', watch: false } });
  const bob = await come(node, 'who:1');
  const cy = await come(node, 'other:1', as('cy'));
  await show(node, 'who:1', { key: 'robot', ttl_ms: 600_000 });
  await show(node, 'other:1', { key: 'robot', ttl_ms: 600_000 });
  await agree([ann, bob], 'who:1', { ann: [{}], quiet: [{}], robot: [{}] }, [node]);
  node.rules = { ...rules, 'who:*': { ...open, presence: 'nobody' }, 'other:*': open };
  await node.reload();
  await agree([ann, bob], 'who:1', {}, [node]);
  await agree([cy], 'other:1', { cy: [{}], robot: [{}] }, [node]);
  await until('both are counted', async () => (await node.metric('fanmesh_presences_forbidden_total')) === 2);
  assert.deepEqual(await push(ann.channel, 'presence_track', {}), { status: 'error', response: { reason: 'presence_forbidden' } });
  for (const who of [ann, quiet, bob]) assert.equal((await push(who.channel, 'msg', {})).status, 'ok', 'the channels stay');

  const heard = bob.states.length + bob.diffs.length;
  node.rules = { ...rules, 'other:*': open };
  await node.reload();
  const dee = await come(node, 'who:1', as('dee'));
  await agree([dee], 'who:1', { dee: [{}] }, [node]);
  assert.equal((await push(bob.channel, 'msg', {})).status, 'ok'); // whose answer comes behind what he was told before
  assert.equal(bob.states.length + bob.diffs.length, heard, 'who is to be told again joins again');
});

test('a_rule_that_asks_for_tokens_from_now_on_ends_those_without_and_those_under_another_key', async (t) => {
  const options = { token_secret: secret };
  const node = await startNode(t, { rules, options });
  const user = (sub) => connect(node, { params: { token: token({ sub, topics: ['who:*'] }) } });
  const nobody = await come(node, 'who:1', as('nobody'));
  const ann = await attend(phoenix, await user('ann'), 'who:1', as('ann'));
  const bob = await attend(phoenix, await user('bob'), 'who:1', as('nick'));
  await agree([ann, bob, nobody], 'who:1', { ann: [{}], nick: [{}], nobody: [{}] }, [node]);
  node.rules = { ...rules, 'who:*': { ...open, presence: 'token' } };
  await node.reload();
  await agree([ann, bob, nobody], 'who:1', { ann: [{}] }, [node]);
  assert.equal((await push(bob.channel, 'presence_track', {})).response.key, 'bob');
  await agree([ann, bob, nobody], 'who:1', { ann: [{}], bob: [{}] }, [node]);
});

test('a_new_token_that_lacks_the_right_ends_the_presence_and_nothing_else', async (t) => {
  const node = await startNode(t, { rules: { ...testRules, 'who:*': { join: 'token', push: 'token', presence: 'token' } }, options: { token_secret: secret } });
  const made = (rights) => token({ sub: 'ann', topics: { 'who:*': rights } });
  const socket = await connect(node, { params: { token: made(['join', 'push', 'presence']) } });
  const [one, two] = [await attend(phoenix, socket, 'who:1', { presence: true }), await attend(phoenix, socket, 'who:2', { presence: true })];
  await agree([one], 'who:1', { ann: [{}] }, [node]);
  await agree([two], 'who:2', { ann: [{}] }, [node]);
  assert.equal((await push(one.channel, 'access_token', { access_token: made(['join', 'push', 'presence']) })).status, 'ok');
  assert.equal((await push(one.channel, 'presence_track', { meta: { n: 1 } })).status, 'ok');
  await agree([one], 'who:1', { ann: [{ n: 1 }] }, [node]);
  assert.equal((await push(one.channel, 'access_token', { access_token: made(['join', 'push']) })).status, 'ok');
  await agree([one], 'who:1', {}, [node]);
  await agree([two], 'who:2', {}, [node]);
  await until('both are counted', async () => (await node.metric('fanmesh_presences_forbidden_total')) === 2);
  assert.deepEqual((await push(one.channel, 'presence_track', {})).response, { reason: 'not_granted' });
  assert.equal((await push(one.channel, 'msg', {})).status, 'ok');
  assert.equal((await push(one.channel, 'access_token', { access_token: made(['join', 'push', 'presence']) })).status, 'ok');
  assert.equal((await push(one.channel, 'presence_track', {})).status, 'ok');
  await agree([one], 'who:1', { ann: [{}] }, [node]);
});
