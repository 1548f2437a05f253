// One run, in the clients' namespace: starts nodes and load, carries out the schedule, heals, and hands what it saw to checks and report.
import fs from 'node:fs';
import path from 'node:path';
import { root } from '../lib/node.mjs';
import { patience, sleep, until } from '../lib/wait.mjs';
import { compareHistories, disagreements, equal, most, positions, reached } from './agreement.mjs';
import { judge } from './checks.mjs';
import { kinds } from './faults.mjs';
import { Load } from './load.mjs';
import { Member, Mesh } from './member.mjs';
import { Cuts } from './network.mjs';
import { command } from './options.mjs';
import { writeReport } from './report.mjs';
import { Samples } from './samples.mjs';
import { plan, WARM_MS } from './schedule.mjs';

const IDLE_MS = 6000; // connected, and nothing published: before and after
const AFTER_HEAL_MS = 4000; // publishing goes on for so long
const AGREE_MS = 60_000; // when nobody waits any more; the promise is less (checks.mjs)

const pid = Number(process.argv[2]);
const options = JSON.parse(process.argv[3]);
const folder = path.join(root, 'build/chaos', String(options.seed));

const seen = { options, command: command(options), folder, began: new Date().toISOString(), events: [], faults: [], calms: [] };
let since = performance.now();
const now = () => Math.round(performance.now() - since);
const note = (text) => {
  seen.events.push({ t_ms: now(), text });
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${(now() / 1000).toFixed(0)} s  ${text}`);
};

// First, so that a run that is interrupted can be made again.
console.log(`${seen.command}; logs: ${path.relative(root, folder)}`);

const clockLibrary = path.join(root, 'build/release/tests/clock_jump.so');

async function startNodes() {
  const nodes = [];
  for (let index = 1; index <= options.nodes; index++) {
    const gone = (origin) => run.load.gone(origin);
    nodes.push(await Member.make({ pid, index, n: options.nodes, folder, clockLibrary, events: note, gone }));
  }
  await Promise.all(nodes.map((node) => node.comeBack()));
  await Promise.all(nodes.map((node) => node.settled));
  const bad = nodes.find(({ complaints }) => complaints.length);
  if (bad) throw new Error(`${bad.name} ${bad.complaints[0]}\n${bad.log.split('\n').slice(-5).join('\n')}`);
  await until('all nodes are linked', async () => (await positions(nodes))?.linked, 20_000, 100);
  return nodes;
}

// Payloads as large as may be, to topics that nobody joined: they only take memory.
async function burst(index, messages, bytes) {
  const node = run.nodes[index];
  const payload = 'x'.repeat(bytes);
  const each = Math.floor(3_000_000 / bytes);
  let accepted = 0;
  for (let left = messages; left > 0; left -= each) {
    const batch = Array.from({ length: Math.min(each, left) }, (_, i) => ({ topic: `burst:${index}-${i % 5}`, event: 'burst', payload }));
    const { status } = await node.request('POST', '/api/publish/batch', { body: batch, headers: { 'content-type': 'application/json' }, limitMs: 5000 });
    if (status === 200) accepted += batch.length;
  }
  run.bursts.accepted += accepted;
  run.bursts.bytes += accepted * bytes;
}

const run = { nodes: [], bursts: { accepted: 0, bytes: 0 }, burst };

async function carryOut(fault) {
  const { begin, end } = kinds[fault.kind];
  const shown = { ...fault, row: kinds[fault.kind].row, began: now() };
  seen.faults.push(shown);
  note(fault.text);
  if (fault.kind === 'kill') await run.samples.read(run.nodes[fault.args.node]);
  const beginning = Promise.resolve(begin(run, fault.args)).catch((error) => note(`${fault.text}: ${error.message}`));
  await Promise.all([beginning, sleep(fault.until - now())]);
  shown.ended = now();
  await Promise.resolve(end(run, fault.args)).catch((error) => note(`${fault.text}: ${error.message}`));
}

// How long after `from` all nodes have what any of them had then: caught_up_ms, null if not within the limit, and then in what they differ.
async function caughtUp(from, limitMs) {
  let target;
  let all;
  for (const end = from + limitMs; now() < end; await sleep(100)) {
    all = (await positions(run.list)) ?? all;
    if (!all) continue;
    target ??= most(all.vectors);
    if (reached(all, target)) return { caught_up_ms: now() - from };
  }
  return { caught_up_ms: null, target: target && [...target], behind: all && disagreements(all) };
}

async function faults(schedule) {
  const begun = [];
  let alone;
  const watch = schedule.calms.map(async ({ at, until: end }) => {
    await sleep(at - now());
    await Promise.all(begun.filter((fault) => fault.until <= at).map(({ done }) => done));
    const from = now();
    seen.calms.push({ at, ...(await caughtUp(from, end - at + 5000)) });
  });
  for (const fault of schedule.faults) {
    await sleep(fault.at - now());
    await alone; // on a slow machine a restart in good order takes longer than planned, and nothing else may happen meanwhile
    if (now() > fault.until) {
      note(`${fault.text}: left out, the machine is behind`);
      continue;
    }
    const done = carryOut(fault);
    begun.push({ until: fault.until, done });
    if (kinds[fault.kind].alone) alone = done;
  }
  await Promise.all([...begun.map(({ done }) => done), ...watch]);
}

// After the last fault: everyone runs, nothing is cut; then silence, and the nodes must come to hold the same.
async function afterwards() {
  await sleep(seen.heal_planned - now());
  if (!run.cuts.whole) throw new Error('the schedule left something cut');
  seen.heal_ms = now();
  note('healed');
  const caught = caughtUp(seen.heal_ms, AGREE_MS);
  await sleep(AFTER_HEAL_MS);
  run.load.stopPublishing();
  seen.stopped_ms = now();
  note('publishing stops');
  seen.caught_up_ms = (await caught).caught_up_ms;
  seen.vectors_equal_ms = seen.histories_equal_ms = null;
  for (const end = seen.heal_ms + AGREE_MS; now() < end; await sleep(100)) {
    const all = await positions(run.list);
    const asked = now() - seen.heal_ms;
    if (all) seen.disagreements = disagreements(all);
    if (!all || !equal(all, run.load.killed)) continue;
    seen.vectors_equal_ms ??= asked;
    seen.histories = await compareHistories(run.list);
    if (seen.histories.different.length === 0) {
      seen.histories_equal_ms = asked;
      break;
    }
  }
  note(seen.histories_equal_ms === null ? 'the nodes do not agree' : 'the nodes agree');
}

async function main() {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const schedule = plan(options);
  seen.heal_planned = schedule.heal;
  run.cuts = new Cuts(pid, options.nodes);
  run.list = await startNodes();
  run.nodes = [undefined, ...run.list];
  run.mesh = new Mesh(run.nodes);

  since = performance.now() + IDLE_MS + 1500; // time 0 is the load's first message, or nearly
  // The series of fanmesh-load has Unix times.
  seen.epoch_ms = Date.now() + IDLE_MS + 1500;
  run.samples = new Samples(run.list, since);
  const sampling = run.samples.run();
  run.load = new Load(run.list, folder, { ...options, idleMs: IDLE_MS });
  await sleep(-now());
  if (!run.load.running) throw new Error(`fanmesh-load: ${(await run.load.verdict(0)).errors}`);

  await Promise.race([faults(schedule), run.load.ended.then((code) => Promise.reject(new Error(`fanmesh-load ended early: ${code}`)))]).catch(
    async (error) => {
      if (run.load.running) throw error;
      seen.early = `${error.message} ${(await run.load.verdict(0)).errors}`;
    },
  );
  await afterwards();
  seen.load = await run.load.verdict(90_000);
  note('judged');
  seen.quiet_ms = now();
  await sleep(IDLE_MS);
  run.samples.stop();
  await sampling;
  Object.assign(seen, { series: run.load.series(), samples: run.samples, bursts: run.bursts, warm_ms: WARM_MS, idle_ms: IDLE_MS, ended_ms: now() });
  seen.nodes = run.list.map(({ name, lives, complaints, log }) => ({ name, lives, complaints, log }));
}

try {
  await main();
  // All together: one after another would make each wait for the farewell of the next.
  await Promise.all(run.list.map((node) => ((node.state = 'leaving'), node.stop(15_000 * patience)))).catch((error) => run.list[0].complaints.push(error.message));
  const verdict = judge(seen);
  writeReport(seen, verdict);
  process.exitCode = verdict.code;
} catch (error) {
  console.error(`\nscript/chaos: the run could not be made: ${error.stack}`);
  console.error(`again: ${seen.command}; logs: ${folder}`);
  process.exitCode = 2;
} finally {
  for (const { proxy } of run.list ?? []) proxy.close();
  process.exit();
}
