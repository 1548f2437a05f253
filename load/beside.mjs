// What a client sees of a worker that has much else to do: processes, the worker's own clock, and percentiles. For slices.mjs and storms.mjs.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const build = process.env.FANMESH_BUILD ?? fileURLToPath(new URL('../build/release/', import.meta.url));
const alive = new Set();
process.on('exit', () => alive.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function start(program, args, stdout = 'ignore') {
  const child = spawn(path.join(build, program), args, { stdio: ['ignore', stdout, 'inherit'] });
  alive.add(child);
  child.ended = new Promise((resolve) => child.once('close', resolve)).then(() => alive.delete(child));
  return child;
}

// CPU time of the worker's thread so far, in ms; the kernel tells it to the last tick.
export function workerClock(pid) {
  const tasks = `/proc/${pid}/task`;
  const worker = fs.readdirSync(tasks).find((id) => fs.readFileSync(`${tasks}/${id}/comm`, 'utf8') === 'worker-0\n');
  return () => Number(fs.readFileSync(`${tasks}/${worker}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
}

// "p50 / p95 / p99 / max"
export function percentiles(list) {
  const sorted = [...list].sort((a, b) => a - b);
  return [0.5, 0.95, 0.99, 1].map((share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(1)).join(' / ');
}
