// Presence of many: members of one topic on three nodes come, change, go, and move between the nodes at 500 changes a second, while a node is
// killed and comes back. In the end every node and every client that was told shows exactly who is there. PRESENCE_MEMBERS makes it more or
// fewer (10,000), PRESENCE_SECONDS longer (20).
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { testRules } from '../lib/node.mjs';
import { connect, disconnectAll, versions, WebSocket } from '../lib/phoenix.mjs';
import { attend, membersOf } from '../lib/presence.mjs';
import { sleep, until, within } from '../lib/wait.mjs';

const count = Number(process.env.PRESENCE_MEMBERS ?? 10_000);
const seconds = Number(process.env.PRESENCE_SECONDS ?? 20);
const perSecond = 500;
const topic = 'crowd:1';
after(disconnectAll);

const pick = (list) => list[Math.floor(Math.random() * list.length)];

// A connection that shows itself and is told nothing, by frames: 10,000 of the stock client would be slower than the nodes.
class Member {
  constructor(key, homes) {
    Object.assign(this, { key, homes, n: 0, ref: 0, waits: new Map(), busy: false, shown: false });
  }

  open() {
    const running = this.homes.filter((node) => node.running);
    this.ws = new WebSocket(`${pick(running).ws}/websocket?vsn=2.0.0`, { perMessageDeflate: false, handshakeTimeout: 30_000 });
    this.ws.on('message', (data) => {
      const [, ref, , event, payload] = JSON.parse(data);
      if (event === 'phx_reply') this.waits.get(ref)?.(payload);
      this.waits.delete(ref);
    });
    this.ws.on('error', () => {});
    this.ws.on('close', () => {
      this.shown = false;
      for (const wait of this.waits.values()) wait({ status: 'closed' });
      this.waits.clear();
    });
    return new Promise((resolve, reject) => this.ws.once('open', resolve).once('close', () => reject(new Error('closed'))));
  }

  ask(event, payload) {
    const ref = String(++this.ref);
    if (event === 'phx_join') this.joinRef = ref;
    if (this.ws.readyState !== WebSocket.OPEN) return { status: 'closed' };
    const answer = new Promise((resolve) => this.waits.set(ref, resolve));
    this.ws.send(JSON.stringify([this.joinRef, ref, topic, event, payload]));
    return answer;
  }

  // Until it is in, wherever that is.
  async enter() {
    for (let tries = 0; ; tries++) {
      try {
        if (this.ws?.readyState !== WebSocket.OPEN) await this.open();
        const { status, response } = await this.ask('phx_join', { presence: { key: this.key, meta: { n: ++this.n }, watch: false } });
        if (status === 'ok') return (this.shown = true);
        if (status === 'error') assert.match(response.reason, /draining|not_ready|overloaded/);
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
      }
      assert.ok(tries < 200, `${this.key} does not get in`);
      await sleep(50);
    }
  }

  async change() {
    const { status } = await this.ask('presence_track', { key: this.key, meta: { n: ++this.n } });
    if (status !== 'ok') await this.enter();
  }

  async rejoin() {
    await this.ask('phx_leave', {});
    await this.enter();
  }

  async move() {
    this.ws.terminate();
    await this.enter();
  }

  get meta() {
    return { n: this.n };
  }
}

async function inParallel(list, width, work) {
  const left = [...list];
  await Promise.all(Array.from({ length: width }, async () => {
    for (let each; (each = left.pop()); ) await work(each);
  }));
}

test(`${count}_presences_that_churn_at_${perSecond}_a_second_on_three_nodes_are_shown_right_everywhere_in_the_end`, async (t) => {
  const rules = { ...testRules, 'crowd:*': { join: 'anyone', push: 'anyone', presence: 'anyone' } };
  const cluster = await startCluster(t, 3, { rules, options: { accepts_per_s: 0, workers: 1, presence_grace_ms: '5s', leave_ms: '10s' } });
  const { nodes } = cluster;
  const members = Array.from({ length: count }, (_, i) => new Member(`user${String(i).padStart(6, '0')}`, nodes));
  t.after(() => members.forEach(({ ws }) => ws?.terminate()));
  const began = Date.now();
  await inParallel(members, 100, (member) => member.enter());
  const numberOf = async (node) => (await node.request('GET', `/api/topics/${topic}/presence/count`)).body;
  for (const node of nodes) await until('all are there', async () => (await numberOf(node)).presences === count, 60_000);
  t.diagnostic(`${count} joined and were known everywhere after ${((Date.now() - began) / 1000).toFixed(1)} s`);

  const watchers = [];
  for (const node of nodes) watchers.push(await attend(versions['phoenix 1.8'], await connect(node), topic, {}));
  for (const who of watchers) await until('it is told of all', () => who.keys().length === count, 60_000);
  const [state] = watchers[0].states;
  t.diagnostic(`the first message of a state: ${Object.keys(state).length} members, ${JSON.stringify(state).length} bytes; ${watchers[0].diffs.length} diffs behind it`);
  const sum = async (name) => {
    let all = 0;
    for (const node of nodes) all += (await node.metric(name)) ?? 0;
    return all;
  };
  t.diagnostic(`${Math.round((await sum('fanmesh_presence_bytes')) / 3 / count)} bytes a presence and node`);

  // Three kinds of change, at a pace, whatever the one before came to.
  let changes = 0;
  const under = new Set();
  const churn = async (ms) => {
    const start = Date.now();
    for (let done = 0; Date.now() - start < ms; ) {
      for (const due = ((Date.now() - start) * perSecond) / 1000; done < due; done++) {
        const member = pick(members);
        if (member.busy) continue;
        member.busy = true;
        changes++;
        const what = Math.random();
        const work = (what < 0.6 ? member.change() : what < 0.8 ? member.rejoin() : member.move()).finally(() => {
          member.busy = false;
          under.delete(work);
        });
        under.add(work);
      }
      await sleep(10);
    }
  };
  const costs = async () => ({
    batches: await sum('fanmesh_presence_batches_out_total'),
    diffs: await sum('fanmesh_presence_diffs_total'),
    pulls: await sum('fanmesh_presence_pulls_total'),
    cpu: await sum('process_cpu_seconds_total'),
    bytes: await sum('fanmesh_mesh_bytes_out_total'),
  });
  const before = await costs();
  await churn((seconds * 1000) / 2);
  const then = await costs();
  t.diagnostic(`${changes} changes in ${seconds / 2} s: ${then.batches - before.batches} batches, ${then.bytes - before.bytes} bytes on the mesh, ` +
    `${then.diffs - before.diffs} diffs, ${then.pulls - before.pulls} pulls, ${(then.cpu - before.cpu).toFixed(1)} s of CPU time on three nodes`);

  const doomed = nodes[2];
  const own = watchers.pop(); // it would come back with what it was told in its former life
  own.channel.socket.disconnect();
  await doomed.kill();
  await churn((seconds * 1000) / 4);
  await cluster.restart(doomed);
  await churn((seconds * 1000) / 4);
  await within(60_000, 'all changes have come to an end', Promise.all([...under]));
  await inParallel(members.filter(({ shown }) => !shown), 100, (member) => member.enter());
  watchers.push(await attend(versions['phoenix 1.8'], await connect(doomed), topic, {}));

  const wanted = JSON.stringify(Object.fromEntries(members.map((member) => [member.key, [member.meta]])));
  const ended = Date.now();
  for (const node of nodes) await cluster.until(`${node.name} shows who is there`, async () => JSON.stringify(await membersOf(node, topic)) === wanted, 60_000, 200);
  for (const who of watchers) await until('a client shows who is there', () => JSON.stringify(who.list()) === wanted, 60_000, 200);
  t.diagnostic(`${changes} changes in all; all agree ${((Date.now() - ended) / 1000).toFixed(1)} s after the last`);

  // Nothing goes on behind it.
  await until('for 3 s nothing is told, asked or answered', async () => {
    const quiet = await costs();
    await sleep(3000);
    const still = await costs();
    return ['batches', 'diffs', 'pulls'].every((name) => still[name] === quiet[name]);
  }, 30_000);
});
