// For the measurements that run beside a node: processes, a node of one worker that does only what is measured, the worker's own clock,
// and percentiles.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { freePort } from '../tests/lib/ports.mjs';
import { frame, upgradeRequest } from '../tests/lib/raw.mjs';

export const build = process.env.FANMESH_BUILD ?? fileURLToPath(new URL('../build/release/', import.meta.url));
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

// `serve` for a node of one worker without mesh, probe, limits and patience.
export const serveArgs = (port, apiPort, more) => [
  'serve', '--dev', '--name', 'bench', '--workers', '1', '--log-level', 'error', '--listen', `127.0.0.1:${port}`,
  '--api-listen', `127.0.0.1:${apiPort}`, '--mesh-listen', 'none', '--accepts-per-s', '0', '--drain-ms', '0', '--probe-ms', '0', ...more,
];

// Whether the node got ready: not where it ended, or took too long.
export async function ready(apiPort, child, limitMs = 10_000) {
  for (const end = Date.now() + limitMs; Date.now() < end && child.exitCode === null; await sleep(100))
    if (await fetch(`http://127.0.0.1:${apiPort}/readyz`).then((answer) => answer.ok, () => false)) return true;
  return false;
}

export async function startNode(...more) {
  const [port, apiPort] = [await freePort(), await freePort()];
  const node = start('fanmesh', serveArgs(port, apiPort, more));
  if (!(await ready(apiPort, node))) throw new Error('the node is not ready');
  return { node, port, apiPort };
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

const pause = 2; // ms between two messages

// A subscriber whose every piece of bytes is a message.
async function subscriber(port, secure) {
  const socket = secure ? tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false }) : net.connect(port, '127.0.0.1');
  await new Promise((resolve) => socket.once(secure ? 'secureConnect' : 'connect', resolve));
  const answer = () => new Promise((resolve) => socket.once('data', resolve));
  socket.write(upgradeRequest());
  await answer();
  socket.write(frame(1, JSON.stringify(['1', '1', 'room:stays', 'phx_join', {}])));
  await answer();
  return { socket, answer };
}

// Messages, one after the other, to a subscriber of a topic of its own: until `over()`, how long each took, in ms, by the clock and in CPU time of
// the worker.
export async function deliveries({ node, port, apiPort }, secure, over) {
  const { socket, answer } = await subscriber(port, secure);
  const clock = workerClock(node.pid);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const body = JSON.stringify({ topic: 'room:stays', event: 'tick', payload: {} });
  const [times, spent] = [[], []];
  while (!over()) {
    const came = answer();
    const [began, before] = [performance.now(), clock()];
    const headers = { 'content-type': 'application/json' };
    const posted = http.request({ port: apiPort, host: '127.0.0.1', path: '/api/publish', method: 'POST', agent, headers }, (response) => response.resume());
    posted.on('error', () => {});
    posted.end(body);
    await came;
    times.push(performance.now() - began);
    spent.push(clock() - before);
    await sleep(pause);
  }
  socket.destroy();
  agent.destroy();
  return [times, spent];
}
