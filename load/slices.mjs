#!/usr/bin/env node
// How long a large fan-out holds up another topic on the same worker: 15,000 subscribers are given two messages a second, and one client of
// another topic pushes to itself all the time and measures how long that takes: by the clock, and by the CPU time that the worker spent
// meanwhile, which is the same where nothing else runs on the machine, and still means something where much does. With fanout_slice at its
// default, and without slices.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { freePort } from '../tests/lib/ports.mjs';
import { frame, rawSocket } from '../tests/lib/raw.mjs';

const build = fileURLToPath(new URL('../build/release/', import.meta.url));
const { values: options } = parseArgs({
  options: {
    connections: { type: 'string', default: '15000' },
    seconds: { type: 'string', default: '15' },
    slices: { type: 'string', default: '10000000,128' },
  },
});
const pause = 2; // ms between two pushes
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const alive = new Set();
process.on('exit', () => alive.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

function start(program, args, stdout = 'ignore') {
  const child = spawn(path.join(build, program), args, { stdio: ['ignore', stdout, 'inherit'] });
  alive.add(child);
  child.ended = new Promise((resolve) => child.once('close', resolve)).then(() => alive.delete(child));
  return child;
}

// CPU time of the worker's thread so far, in ms; the kernel tells it to the last tick.
function workerClock(pid) {
  const tasks = `/proc/${pid}/task`;
  const worker = fs.readdirSync(tasks).find((id) => fs.readFileSync(`${tasks}/${id}/comm`, 'utf8') === 'worker-0\n');
  return () => Number(fs.readFileSync(`${tasks}/${worker}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
}

// Round trips in ms of pushes of one client to itself, until `until` settles; by the clock, and in the worker's CPU time.
async function roundTrips(port, workerMs, until) {
  const raw = await rawSocket({ port });
  raw.socket.removeAllListeners('data');
  let heard;
  raw.socket.on('data', () => heard());
  const said = (message) => new Promise((resolve) => ((heard = resolve), raw.send(frame(1, JSON.stringify(message)))));
  await said(['1', '1', 'room:other', 'phx_join', {}]);
  let over = false;
  until.then(() => (over = true));
  const times = [];
  const spent = [];
  while (!over) {
    const began = performance.now();
    const before = workerMs();
    await said(['1', '2', 'room:other', 'shout', {}]);
    times.push(performance.now() - began);
    spent.push(workerMs() - before);
    await sleep(pause);
  }
  raw.close();
  return [times, spent].map((list) => list.sort((a, b) => a - b));
}

async function measure(slice) {
  const port = await freePort();
  const node = start('fanmesh', [
    'serve', '--dev', '--name', 'slices', '--workers', '1', '--log-level', 'error', '--listen', `127.0.0.1:${port}`, '--api-listen', 'none',
    '--mesh-listen', 'none', '--accepts-per-s', '0', '--drain-ms', '0', '--fanout-slice', String(slice), '--probe-ms', '0',
  ]);
  await sleep(1000);
  const rate = 2;
  const load = start(
    'load/fanmesh-load',
    [
      '--json', '--nodes', `ws://127.0.0.1:${port}`, '--connections', options.connections, '--connect-rate', '3000', '--rate', String(rate),
      '--messages', String(rate * Number(options.seconds)), '--warmup', '0', '--heartbeat-ms', '0',
    ],
    'pipe',
  );
  let text = '';
  load.stdout.on('data', (bytes) => (text += bytes));
  await sleep((Number(options.connections) / 3000) * 1000 + 3000);
  // Not to the end: 15,000 clients that leave at once are another matter.
  const [times, spent] = await roundTrips(port, workerClock(node.pid), sleep((Number(options.seconds) - 4) * 1000));
  await load.ended;
  node.kill('SIGKILL');
  await node.ended;
  const { exit, tally } = JSON.parse(text);
  const at = (list, share) => list[Math.min(list.length - 1, Math.floor(list.length * share))].toFixed(1);
  const columns = [times, spent].map((list) => [0.5, 0.95, 0.99, 1].map((share) => at(list, share)).join(' / '));
  console.log(`| ${slice} | ${times.length} | ${columns.join(' | ')} | ${exit === 0 ? tally.deliveries : `exit code ${exit}`} |`);
}

console.log(`Round trips, in ms, beside ${options.connections} subscribers of another topic that are given 2 messages a second\n`);
console.log('| fanout_slice | round trips | ms, p50 / p95 / p99 / max | CPU of the worker meanwhile, ms | deliveries |\n|---|---|---|---|---|');
for (const slice of options.slices.split(',')) await measure(slice);
process.exit(0);
