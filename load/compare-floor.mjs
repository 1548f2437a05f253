#!/usr/bin/env node
// Node against floor, cell by cell and in turns: the server on core 0, fanmesh-load on core 1. A round measures every cell once with
// each of the two; their order changes from round to round, so that whatever drifts on the machine drifts for both. The medians of
// the rounds and their ratios are printed.
import { spawn, spawnSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';

const build = fileURLToPath(new URL('../build/release/', import.meta.url));
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    port: { type: 'string', default: '4400' },
    check: { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const port = Number(options.port);
if (!Number.isInteger(rounds) || rounds < 1 || !Number.isInteger(port) || port < 1 || port > 65533) {
  console.error('usage: compare-floor.mjs [--rounds N] [--port P] [--check]');
  process.exit(2);
}

const cells = [
  { name: '8,000 subscribers, 1 in flight', connections: 8000, window: 1, messages: 60, warmup: 10 },
  { name: '1,000 subscribers, 1 in flight', connections: 1000, window: 1, messages: 500, warmup: 50 },
  { name: '1,000 subscribers, 8 in flight', connections: 1000, window: 8, messages: 1500, warmup: 100 },
];
const servers = {
  fanmesh: {
    command: [
      'fanmesh', 'serve', '--dev', '--name', 'bench', '--workers', '1', '--log-level', 'error', '--listen', `127.0.0.1:${port}`,
      '--api-listen', `127.0.0.1:${port + 1}`, '--mesh-listen', 'none', '--drain-ms', '0',
    ],
  },
  floor: { command: ['load/floor', '--port', String(port + 2)] },
};
servers.fanmesh.url = `ws://127.0.0.1:${port}`;
servers.floor.url = `ws://127.0.0.1:${port + 2}`;

const pinned = os.cpus().length > 1 && spawnSync('taskset', ['-c', '0,1', 'true']).status === 0;
const onCore = (core, [program, ...args]) => {
  const command = [path.join(build, program), ...args];
  return pinned ? ['taskset', '-c', String(core), ...command] : command;
};

const alive = new Set();
process.on('exit', () => alive.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

function start(core, command, stdout) {
  const [program, ...args] = onCore(core, command);
  const child = spawn(program, args, { stdio: ['ignore', stdout, 'inherit'] });
  alive.add(child);
  child.once('exit', () => alive.delete(child));
  child.once('error', (error) => fail(error.message));
  return child;
}

function fail(sentence) {
  console.error(`compare-floor: ${sentence}`);
  process.exit(2);
}

const ended = (child) => new Promise((resolve) => child.once('close', resolve));

// One cell with one server; a fresh process each time, so that none inherits the memory of another's cell. taskset execs the
// program: the child's process id is the server's.
async function measure(server, cell) {
  const child = start(0, server.command, 'ignore');
  const load = start(
    1,
    [
      'load/fanmesh-load', '--json', '--nodes', server.url, '--pid', String(child.pid), '--connections', String(cell.connections),
      '--window', String(cell.window), '--messages', String(cell.messages), '--warmup', String(cell.warmup), '--heartbeat-ms', '0',
      '--connect-rate', '4000',
    ],
    'pipe',
  );
  let text = '';
  load.stdout.on('data', (bytes) => (text += bytes));
  const code = await ended(load);
  const stopped = ended(child);
  child.kill('SIGKILL');
  await stopped;
  if (code !== 0) fail(`${cell.name}: fanmesh-load ended with ${code}: ${text}`);
  const { cost, deliveries_per_s: rate, latency_us: latency } = JSON.parse(text);
  return { us: cost.cpu_us_per_delivery, rate, p50: latency.p50, p99: latency.p99, memory: cost.bytes_per_connection };
}

const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

for (const cell of cells) cell.runs = { fanmesh: [], floor: [] };
for (let round = 0; round < rounds; round++) {
  for (const cell of cells) {
    for (const name of round % 2 ? ['floor', 'fanmesh'] : ['fanmesh', 'floor']) {
      cell.runs[name].push(await measure(servers[name], cell));
    }
  }
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[Kround ${round + 1} of ${rounds}`);
}
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');

console.log(`CPU of the server for each delivery of a 64-byte message; median (lowest to highest) of ${rounds} rounds in turns`);
console.log(`${os.cpus()[0].model}; ${pinned ? 'server on core 0, load on core 1' : 'NOT pinned to cores: expect noise'}\n`);
console.log('| cell | fanmesh, us | floor, us | ratio | fanmesh p50 / p99, ms | floor p50 / p99, ms |\n|---|---|---|---|---|---|');
const column = (runs) => {
  const us = runs.map((run) => run.us);
  return `${median(us).toFixed(2)} (${Math.min(...us).toFixed(2)} to ${Math.max(...us).toFixed(2)})`;
};
const times = (runs) => ['p50', 'p99'].map((key) => (median(runs.map((run) => run[key])) / 1000).toFixed(1)).join(' / ');
for (const cell of cells) {
  const { fanmesh, floor } = cell.runs;
  // The ratio of each pair, then their median: what both had in common in a round falls out.
  cell.ratio = median(fanmesh.map((run, i) => run.us / floor[i].us));
  console.log(`| ${cell.name} | ${column(fanmesh)} | ${column(floor)} | ${cell.ratio.toFixed(2)} | ${times(fanmesh)} | ${times(floor)} |`);
}
const joined = median(cells[1].runs.fanmesh.map((run, i) => run.us / cells[2].runs.fanmesh[i].us));
console.log(`\nA delivery with 8 in flight is ${joined.toFixed(1)} times cheaper for fanmesh than with 1.`);
if (options.check) {
  const kept = cells[0].ratio <= 1.25 && joined >= 4;
  console.log(kept ? 'Kept: at most 1.25 times the floor, and at least 4 times cheaper.' : 'NOT kept: at most 1.25 times the floor, at least 4 times cheaper.');
  process.exitCode = kept ? 0 : 1;
}
