// Tokens of LongPoll that no node made: refused where they arrive, before anything of a body is read or handed on, with and without a secret.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, describe, test } from 'node:test';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { answersOf } from '../lib/http_raw.mjs';
import { Poller } from '../lib/longpoll.mjs';
import { Raw } from '../lib/raw.mjs';
import { until } from '../lib/wait.mjs';

const tagAt = 23; // what stands before it says whose session it is
const bytesOf = (token) => Buffer.from(token, 'base64url');
const heartbeat = [null, '1', 'phoenix', 'heartbeat', {}];
const metrics = async (nodes, name) => (await Promise.all(nodes.map((node) => node.metric(name)))).reduce((a, b) => a + b);

// The answer to a POST whose body, of a MiB, is never sent: that there is one shows that nobody waits for it.
async function postHead(t, node, token, { length = 1 << 20, header = false } = {}) {
  const raw = await Raw.open(node.port);
  t.after(() => raw.close());
  const query = header ? '' : `&token=${encodeURIComponent(token)}`;
  const lines = header ? `X-Phoenix-Longpoll-Token: ${token}\r\n` : '';
  raw.send(`POST /socket/longpoll?vsn=2.0.0${query} HTTP/1.1\r\nHost: localhost\r\n${lines}Content-Type: application/x-ndjson\r\nContent-Length: ${length}\r\n\r\n`);
  const [answer] = await answersOf(raw, 1, 10_000);
  return { raw, answer, body: JSON.parse(answer.body) };
}

const changed = (token, at, by = 1) => {
  const bytes = bytesOf(token);
  bytes[at] ^= by;
  return bytes.toString('base64url');
};
// What somebody might make of tokens that he has: name -> token.
function forgeries(token, other) {
  const made = {};
  for (let at = 1; at < 39; at++) made[`byte ${at} changed`] = changed(token, at, 1 << (at % 8));
  made['the tag of another session'] = Buffer.concat([bytesOf(token).subarray(0, tagAt), bytesOf(other).subarray(tagAt)]).toString('base64url');
  made['no tag'] = Buffer.concat([bytesOf(token).subarray(0, tagAt), Buffer.alloc(16)]).toString('base64url');
  made['a session drawn'] = Buffer.concat([bytesOf(token).subarray(0, 1), crypto.randomBytes(38)]).toString('base64url');
  for (const n of [0, 1, 4, 28, 48, 51]) made[`cut to ${n}`] = token.slice(0, n);
  made['with more behind it'] = `${token}AAAA`;
  return made;
}

const clusters = {
  'two nodes with a secret': { n: 2 },
  'two nodes without': { n: 2, secret: null },
  'one node': { n: 1 },
};

for (const [name, { n, ...more }] of Object.entries(clusters)) {
  describe(name, async () => {
    const { nodes } = await startCluster({ after }, n, { options: { longpoll_ttl_ms: '5m', down_ms: '1m' }, ...more });
    const a = nodes[0], b = nodes.at(-1);

    test('a_POST_whose_token_no_node_has_made_is_answered_before_its_body_comes_and_goes_no_further', async (t) => {
      const poller = await Poller.to(a).open();
      const other = await Poller.to(a).open();
      await poller.join('room:forged');
      const pushes = await metrics(nodes, 'fanmesh_longpoll_pushes_total');
      for (const [what, token] of Object.entries(forgeries(poller.token, other.token))) {
        for (const node of new Set([a, b])) {
          const relayed = await metrics(nodes, 'fanmesh_longpoll_relayed_total');
          const { answer, body, raw } = await postHead(t, node, token, { header: token.length === 52 && what.length % 2 === 0 });
          assert.equal(answer.status, 200, what);
          assert.equal(body.status, 410, what);
          assert.match(body.error.message, /token/, what);
          assert.equal(answer.headers.connection, 'close', 'what follows is no request');
          assert.equal(await metrics(nodes, 'fanmesh_longpoll_relayed_total'), relayed, what);
          raw.close();
        }
      }
      assert.equal(await metrics(nodes, 'fanmesh_longpoll_pushes_total'), pushes);
      assert.ok((await metrics([b], 'fanmesh_longpoll_forged_total')) >= 30);
      poller.bases = Poller.to(nodes).bases;
      assert.equal((await poller.push(heartbeat)).status, 200, 'the session has taken no harm');
      assert.equal((await poller.push(heartbeat)).status, 200, 'at any node');
    });

    test('polls_with_such_a_token_are_told_that_their_session_is_lost', async () => {
      const poller = await Poller.to(a).open();
      const polls = await metrics(nodes, 'fanmesh_longpoll_polls_total');
      for (const node of nodes) {
        const answer = await Poller.to(node).request('GET', { token: changed(poller.token, 30) });
        assert.equal(answer.status, 410);
        assert.equal(answer.token, undefined);
      }
      assert.equal(await metrics(nodes, 'fanmesh_longpoll_polls_total'), polls);
    });

    test('a_token_from_before_the_newest_answer_ends_its_session_and_nobody_can_make_a_later_one', async (t) => {
      const poller = await Poller.to(a).open();
      const before = poller.token;
      await poller.join('room:older');
      const later = bytesOf(poller.token);
      later.writeUInt32LE(later.readUInt32LE(19) + 1, 19);
      assert.equal((await postHead(t, b, later.toString('base64url'))).body.status, 410);
      assert.equal((await poller.push(heartbeat)).status, 200);
      assert.equal((await Poller.to(b).request('GET', { token: before })).status, 410);
      assert.equal((await poller.request('GET')).status, 410, 'it has ended');
    });
  });
}

test('a_token_of_a_node_of_another_cluster_or_of_one_that_was_restarted_is_worth_nothing', async (t) => {
  const [node, stranger] = [await startNode(t), await startNode(t)];
  const { token } = await Poller.to(stranger).open();
  assert.equal((await postHead(t, node, token)).body.status, 410);
  assert.equal((await postHead(t, stranger, token, { length: 0 })).body.status, 200);
  await stranger.stop();
  await stranger.start();
  assert.equal((await postHead(t, stranger, token)).body.status, 410);
});

test('where_the_node_that_made_a_token_can_not_be_asked_the_request_is_answered_in_time_and_its_body_not_read', async (t) => {
  const { nodes: [owner, other] } = await startCluster(t, 2, { options: { ask_timeout_ms: 500 } });
  const { token } = await Poller.to(owner).open();
  owner.freeze();
  try {
    const { body } = await postHead(t, other, token);
    assert.equal(body.status, 410);
  } finally {
    owner.thaw();
  }
  await until('it is known', async () => (await other.metric('fanmesh_longpoll_unreached_total')) === 1);
});

test('requests_of_clients_that_leave_while_the_key_is_asked_for_do_no_harm', async (t) => {
  const { nodes: [owner, other] } = await startCluster(t, 2);
  const poller = await Poller.to(owner).open();
  owner.freeze();
  for (let i = 0; i < 20; i++) {
    const raw = await Raw.open(other.port);
    raw.send(`POST /socket/longpoll?vsn=2.0.0&token=${poller.token} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345`);
    if (i % 2) raw.socket.end();
    else raw.close();
  }
  owner.thaw();
  poller.bases = Poller.to(other).bases;
  await until('it is served as ever', async () => (await poller.push(heartbeat)).status === 200);
});
