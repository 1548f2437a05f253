// Commands of the binary as people and scripts run them: what is printed, where, and with which exit code.
import { spawn } from 'node:child_process';
import { binary } from './node.mjs';
import { within } from './wait.mjs';

// Left running: .out and .err grow, .ended comes with the exit code. env: variables besides PATH.
export function start(args, env = {}) {
  const child = spawn(binary, args, { env: { PATH: process.env.PATH, ...env }, stdio: 'pipe' });
  child.out = '';
  child.err = '';
  child.stdout.on('data', (chunk) => (child.out += chunk));
  child.stderr.on('data', (chunk) => (child.err += chunk));
  child.stdin.on('error', () => {});
  child.ended = new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, out: child.out, err: child.err }));
  });
  return child;
}

// To its end. stdin: text for it.
export function run(args, { stdin = '', env = {} } = {}) {
  const child = start(args, env);
  child.stdin.end(stdin);
  return within(60_000, `fanmesh ${args.join(' ')}`, child.ended);
}

export const linesOf = (text) => text.trim().split('\n');
export const key = (node) => ['--api-url', node.api, '--api-key-file', node.keyFile];
