// The load programs as processes: fanmesh-load, the judge, and floor, the broadcaster that may be told to be a bad one.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { apiKey, binary } from './node.mjs';
import { freePort } from './ports.mjs';

const folder = path.join(path.dirname(binary), 'load');

export const verdict = { good: 0, broken: 1, unusable: 2, declared: 3 };

const told = (code, result, errors) => ({ code, result, errors, text: JSON.stringify(result, null, 1) + errors });

// How long clients that lost their node took until they had everything again.
export const recovery = ({ recovery_ms: { p50, p99, max } }) => `${p50} ms (p50), ${p99} ms (p99), ${max} ms (max)`;

// Runs fanmesh-load to its end: { code, result, errors, text }; result is its JSON, or null where it gave none; text is for people. The promise has a stop(), after
// which it publishes nothing more, waits for what is missing, and judges.
export function load(options) {
  const args = Object.entries(options).flatMap(([name, value]) => (value === true ? [`--${name}`] : [`--${name}`, String(value)]));
  const child = spawn(path.join(folder, 'fanmesh-load'), ['--json', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const end = () => child.kill('SIGKILL');
  process.on('exit', end);
  let out = '';
  let errors = '';
  child.stdout.on('data', (bytes) => (out += bytes));
  child.stderr.on('data', (bytes) => (errors += bytes));
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      process.off('exit', end);
      if (signal) reject(new Error(`fanmesh-load ended by ${signal}: ${errors}`));
      else resolve(told(code, out ? JSON.parse(out) : null, errors));
    });
  });
  return Object.assign(ended, { child, stop: () => child.kill('SIGTERM') });
}

// Starts floor with these faults; ends with the test. Its URLs as fanmesh-load takes them, and its process id.
export async function startFloor(t, faults = []) {
  const port = await freePort();
  const child = spawn(path.join(folder, 'floor'), ['--port', String(port), ...faults], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`floor ended with ${code}`)));
    child.stdout.once('data', resolve);
  });
  return { nodes: `ws://127.0.0.1:${port}`, api: `http://127.0.0.1:${port}`, pid: child.pid, child };
}

// Nodes (node.mjs) as fanmesh-load's options.
export function urlsOf(nodes) {
  return {
    nodes: nodes.map((node) => `${node.ws}/websocket?vsn=2.0.0`).join(','),
    api: nodes.map((node) => node.api).join(','),
    api_key: apiKey,
  };
}
