// 30,000 members of one topic on three nodes, by real connections of several processes: every node counts them all, and gives each once, page
// by page; whoever joins then is told of all; and what that takes: memory, processor time, and how long a loop is kept from all else, which
// is printed. CROWD_MEMBERS makes it more or fewer.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Cluster } from '../lib/cluster.mjs';
import { crowd, memberKey } from '../lib/crowd.mjs';
import { heapLibraries, resident } from '../lib/heap.mjs';
import { Node, testRules, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, settled, versions } from '../lib/phoenix.mjs';
import { watch } from '../lib/presence.mjs';
import { takeTurns, turnsEnv } from '../lib/turns.mjs';
import { sleep, until, within } from '../lib/wait.mjs';

const members = Number(process.env.CROWD_MEMBERS ?? 30_000);
const processes = 6;
const topic = 'crowd:1';
const phoenix = versions['phoenix 1.8'];
after(disconnectAll);

async function startMeasured(t) {
  const folder = workFolder();
  const cluster = new Cluster([]);
  t.after(() => cluster.stop());
  const rules = { ...testRules, 'crowd:*': { join: 'anyone', push: 'anyone', presence: 'anyone' } };
  for (let i = 0; i < 3; i++) {
    const node = await Node.create({ name: `node${i + 1}`, folder, rules, options: { accepts_per_s: 0, workers: 1, idle_ms: '1h' }, join: cluster.nodes[0] });
    node.turnsFile = path.join(folder, `turns${i + 1}`);
    node.env = turnsEnv(node.turnsFile);
    cluster.nodes.push(node);
    await node.start();
  }
  await cluster.linked();
  return cluster;
}

// A client of another topic, in a process of its own, so that what this one does keeps nobody waiting: how long it waited while something else
// went on, and what came of that.
async function prober(t, node) {
  const child = fork(fileURLToPath(new URL('../lib/prober.mjs', import.meta.url)), [String(node.port)]);
  t.after(() => child.kill('SIGKILL'));
  const said = () => within(30_000, 'the prober speaks', new Promise((resolve) => child.once('message', resolve)));
  const asked = () => (child.send('how long'), said());
  await said();
  return async (during) => {
    await asked();
    const came = await during();
    const times = await asked();
    const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))]?.toFixed(1) ?? '?';
    return [came, `${times.length} round trips of another topic ${at(0.5)} ms (p50), ${at(0.99)} ms (p99), ${at(1)} ms (max)`];
  };
}

const longest = (nodes, name) => Math.max(...nodes.map((node) => node.turns[name]?.longest ?? 0)).toFixed(1);
function turnsOf(nodes) {
  for (const node of nodes) node.turns = takeTurns(node.turnsFile);
  return `longest turn of a hub ${longest(nodes, 'hub')} ms, of a worker ${longest(nodes, 'worker-0')} ms`;
}

const countOf = async (node) => (await node.request('GET', `/api/topics/${topic}/presence/count`)).body;

// Keys in the order of the pages; a member that stands in two is twice in it.
async function pagesOf(node) {
  const keys = [];
  let pages = 0;
  for (let more = ''; more !== undefined; pages++) {
    const { status, body } = await node.request('GET', `/api/topics/${topic}/presence?limit=1000&after=${encodeURIComponent(more)}`);
    assert.equal(status, 200);
    assert.deepEqual([body.presences, body.keys], [members, members]);
    keys.push(...Object.keys(body.members));
    more = body.next;
  }
  return { keys, pages };
}

test(`${members}_members_of_one_topic_are_counted_and_listed_by_all_nodes_and_told_to_who_joins`, { skip: !heapLibraries.length && 'nothing can be preloaded beside a sanitizer' }, async (t) => {
  const { nodes } = await startMeasured(t);
  const probe = await prober(t, nodes[0]);
  const sum = async (name) => (await Promise.all(nodes.map((node) => node.metric(name)))).reduce((all, each) => all + (each ?? 0), 0);
  const said = async (what, [, trips]) => t.diagnostic(`${what}: ${turnsOf(nodes)}; ${trips}`);
  await said('before', await probe(() => sleep(2000)));

  const before = { rss: nodes.map((node) => resident(node.pid)), cpu: await sum('process_cpu_seconds_total'), sent: await sum('fanmesh_mesh_bytes_out_total') };
  const began = Date.now();
  const share = Math.ceil(members / processes);
  const crowds = Array.from({ length: processes }, (_, i) => crowd(nodes, topic, i * share, Math.min(members, (i + 1) * share)));
  t.after(() => Promise.all(crowds.map((each) => each.stop())));
  const joining = async () => {
    await within(100_000, 'all have joined', Promise.all(crowds.map(({ shown }) => shown)));
    for (const node of nodes)
      await until(`${node.name} counts ${members}`, async () => {
        const { presences, keys } = await countOf(node);
        return presences === members && keys === members;
      }, 30_000, 100);
  };
  await said(`while ${members} joined in ${processes} processes`, await probe(joining));
  const cpu = (await sum('process_cpu_seconds_total')) - before.cpu;
  const rss = nodes.map((node, i) => resident(node.pid) - before.rss[i]).reduce((a, b) => a + b) / 3;
  t.diagnostic(`known everywhere after ${((Date.now() - began) / 1000).toFixed(1)} s; ${cpu.toFixed(1)} s of processor time on three nodes; ` +
    `${Math.round((await sum('fanmesh_presence_bytes')) / 3 / members)} bytes a member and node; each node grew by ${(rss / 1e6).toFixed(0)} MB with a third of the connections; ` +
    `${(((await sum('fanmesh_mesh_bytes_out_total')) - before.sent) / 1e6).toFixed(1)} MB given to the mesh, ${await sum('fanmesh_presence_pulls_total')} pulls`);

  const all = Array.from({ length: members }, (_, i) => memberKey(i));
  const listing = async () => {
    for (const node of nodes) {
      const { keys, pages } = await pagesOf(node);
      assert.equal(pages, Math.ceil(members / 1000));
      assert.deepEqual(keys, all, `${node.name} lists each member once, in order`);
    }
  };
  await said('while all pages of 1,000 are asked for', await probe(listing));

  const late = async () => {
    const start = performance.now();
    const who = watch(phoenix, await connect(nodes[0]), topic);
    assert.equal((await settled(who.channel.join())).status, 'ok');
    await until('it is told of all', () => who.keys().length === members, 30_000, 5);
    const sizes = [...who.states, ...who.diffs].map((payload) => JSON.stringify(payload).length);
    assert.equal(who.states.length, 1);
    assert.ok(who.diffs.every(({ leaves }) => Object.keys(leaves).length === 0));
    assert.deepEqual(who.keys(), all);
    t.diagnostic(`one that joined then was told in ${sizes.length} messages, ${sizes.reduce((a, b) => a + b)} bytes, the largest ${Math.max(...sizes)}, within ${Math.round(performance.now() - start)} ms`);
    return who;
  };
  const whole = await probe(late);
  await said('while it was told', whole);

  const gone = Math.min(members, share);
  await crowds[0].stop();
  const leaving = async () => {
    for (const node of nodes) await until(`${node.name} counts those that stay`, async () => (await countOf(node)).presences === members - gone, 30_000, 100);
    await until('the client shows those that stay', () => whole[0].keys().length === members - gone, 30_000, 50);
  };
  await said(`while ${gone} left at once`, await probe(leaving));
});
