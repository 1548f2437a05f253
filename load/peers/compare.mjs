#!/usr/bin/env node
// fanmesh beside what users would take instead, on the same work: cell by cell and in turns, a fresh server for each. Run by load/compare, which
// installs and builds. Figures are ratios of what was measured in one round; a peer that can't be had is named and left out.
import os from 'node:os';
import path from 'node:path';
import { cellsOf, promises, rowsOf, scales } from './cells.mjs';
import { Command, write } from './command.mjs';
import { figuresOf } from './figures.mjs';
import { load, pinned, Servers } from './host.mjs';
import { picture } from './picture.mjs';
import { markdown, text } from './table.mjs';

const names = ['fanmesh', 'floor', 'bun', 'ws', 'socketio', 'nchan', 'nats', 'mosquitto'];

const usage = `usage: load/compare [--peers ${names.join(',')}] [--cells CELL,...] [--rounds 3] [--quick] [--check] [--output build/compare]

  --peers   these only; without fanmesh or floor there are no ratios to it
  --cells   these only: ${cellsOf(scales.full).map(({ id }) => id).join(', ')}
  --rounds  how often each cell is measured with each peer
  --quick   few connections, one round, short: whether all of it works, not what it costs
  --check   fails where a promise of docs/performance.md about fanmesh and the floor is not kept
  --output  a folder for compare.json, compare.md and compare.svg

Exit code: 0, or 1 where a cell failed or a promise was not kept, 2 for options that make no sense.
`;

function optionsOf() {
  const known = cellsOf(scales.full).map(({ id }) => id);
  const defaults = { peers: names.join(','), cells: known.join(','), rounds: '', quick: false, check: false, output: 'build/compare' };
  const command = new Command('compare', usage, defaults);
  const { values } = command;
  return {
    ...values,
    command,
    rounds: command.whole(values.rounds || (values.quick ? 1 : 3), '--rounds'),
    scale: values.quick ? scales.quick : scales.full,
    peers: command.chosen(values.peers, names, '--peers'),
    cells: command.chosen(values.cells, known, '--cells'),
  };
}

// A peer that doesn't start, or says no version, is left out with its reason.
async function peersOf(options) {
  const peers = [];
  const absent = [];
  for (const name of options.peers) {
    const { default: peer } = await import(`./${name}/peer.mjs`);
    try {
      peers.push({ ...peer, versionText: await peer.version() });
    } catch (error) {
      absent.push({ name, title: peer.title, reason: error.message });
    }
  }
  return { peers, absent };
}

// On a machine that does other things the warm-up can take up the whole time of a cell: once more, then.
async function measure(peer, cell, limitMs) {
  for (let tries = 0; tries < 3; tries++) {
    const run = await measureOnce(peer, cell, limitMs);
    if (run.measured) return run;
  }
  throw new Error('three times nothing was delivered in the measured time: this machine is too busy');
}

async function measureOnce(peer, cell, limitMs) {
  const servers = await Servers.start(cell.nodes === 1 ? peer.one : peer.three);
  try {
    const { plots: _, ...run } = await load({ ...cell.options, ...servers.launch.load, pid: servers.pids.join(',') }, limitMs);
    if (!run.cost) throw new Error('a server ended while it was measured');
    if (run.measured && !run.cost.cpu_s) throw new Error('its processes spent no time: they are not those that deliver');
    return run;
  } catch (error) {
    const said = servers.said();
    throw new Error(`${error.message}${said ? `; the server's log: ${said}` : ''}`);
  } finally {
    await servers.stop();
  }
}

const clock = (ms) => `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, '0')}`;

// Lines, or one that is written over where somebody looks.
function progress(sentence, last) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${last ? '' : sentence}`);
  else if (!last) process.stderr.write(`${sentence}\n`);
}

// Each round has every cell, each cell every peer; their order changes from round to round, so that whatever drifts on the machine drifts for
// all of them.
async function run(options, peers, cells) {
  const runs = Object.fromEntries(peers.map(({ name }) => [name, {}]));
  const steps = cells.flatMap((cell) => peers.filter((peer) => cell.nodes === 1 || peer.three).map((peer) => ({ cell, peer })));
  const began = Date.now();
  let done = 0;
  for (let round = 0; round < options.rounds; round++) {
    for (const cell of cells) {
      const turn = steps.filter((step) => step.cell === cell).map(({ peer }) => peer);
      const from = round % turn.length;
      for (const peer of [...turn.slice(from), ...turn.slice(0, from)]) {
        const spent = Date.now() - began;
        const left = done ? `, about ${clock((spent / done) * (steps.length * options.rounds - done))} left` : '';
        progress(`round ${round + 1} of ${options.rounds}, ${cell.id}, ${peer.title} (${clock(spent)}${left})`);
        const list = (runs[peer.name][cell.id] ??= []);
        list.push(await measure(peer, cell, options.scale.limitMs).catch((error) => ({ error: error.message })));
        done++;
      }
    }
  }
  progress('', true);
  return runs;
}

function failuresOf(peers, runs) {
  const all = peers.flatMap(({ name, title }) =>
    Object.entries(runs[name]).flatMap(([cell, list]) => list.map(({ error }, round) => ({ name, title, cell, round, error }))),
  );
  return all.filter(({ error }) => error);
}

// What is promised of fanmesh, judged from the figures; only what was measured.
function judge(report) {
  const of = (peer, cell) => report.figures[peer]?.[report.rows.findIndex((row) => row.cell === cell)] ?? {};
  const judged = promises.map(({ text: sentence, value, kept }) => ({ sentence, value: value(of), kept: kept(value(of)) }));
  return judged.filter(({ value }) => Number.isFinite(value));
}

const options = optionsOf();
const { peers, absent } = await peersOf(options);
if (!peers.length) options.command.fail(`nothing to measure: ${absent.map(({ title, reason }) => `${title}: ${reason}`).join('; ')}`);
const cells = cellsOf(options.scale).filter(({ id }) => options.cells.includes(id));
const runs = await run(options, peers, cells);
const rows = rowsOf(options.scale).filter(({ cell }) => options.cells.includes(cell));
const report = {
  machine: [
    `${os.cpus()[0].model}, Linux ${os.release()}`,
    pinned ? 'servers on core 0, load on core 1' : 'NOT pinned to cores: expect noise',
    ...(options.quick ? ['--quick: the figures mean nothing'] : []),
  ].join('; '),
  rounds: options.rounds,
  quick: options.quick,
  peers: peers.map(({ name, title, versionText, settings }) => ({ name, title, versionText, settings })),
  absent,
  rows,
  figures: figuresOf(rows, peers, runs),
  failures: failuresOf(peers, runs),
};
const json = `${JSON.stringify({ ...report, cells, runs }, null, 1)}\n`;
const output = write(options.output, 'compare', { json, md: markdown(report), svg: picture(report) });
process.stdout.write(text({ ...report, width: process.stdout.columns || 120 }));
const judged = options.quick ? [] : judge(report);
for (const { sentence, value, kept } of judged) console.log(`${kept ? 'kept' : 'NOT kept'} (${value.toFixed(2)}): ${sentence}`);
console.log(`\n${path.relative(process.cwd(), output)}/compare.md, compare.svg and compare.json have the same.`);
if (report.failures.length || (options.check && !judged.every(({ kept }) => kept))) process.exitCode = 1;
