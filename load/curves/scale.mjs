#!/usr/bin/env node
// What fanmesh costs as it grows: a series for connections, for topics a connection, and for nodes, each point on fresh nodes. Run by
// load/scale, which builds.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Command, write } from '../peers/command.mjs';
import { median } from '../peers/figures.mjs';
import { pinned, root } from '../peers/host.mjs';
import { measure } from './measure.mjs';
import { picture } from './picture.mjs';
import { names, scales, seriesOf, valuesOf } from './series.mjs';
import { markdown } from './table.mjs';

const usage = `usage: load/scale [--series ${names.join(',')}] [--points N,...] [--rate N] [--rounds 1] [--quick] [--output build/scale]

  --series  these only: connections to a node; topics a connection; nodes; hubs: nodes without clients, flooded
  --points  of the one series that --series names: other points than its own
  --rate    messages a second in the series of nodes; each of n nodes acknowledges to all, so with many nodes give less
  --rounds  how often each point is measured; figures are medians
  --quick   small and short: whether all of it works, not what it costs
  --output  a folder for scale.json, scale.md, scale.svg and scale.html

Exit code: 0, or 1 where a point failed, 2 for options that make no sense.
`;

function optionsOf() {
  const command = new Command('scale', usage, { series: names.join(','), points: '', rate: '', rounds: '1', quick: false, output: 'build/scale' });
  const { values } = command;
  const series = command.chosen(values.series, names, '--series');
  const scale = { ...(values.quick ? scales.quick : scales.full) };
  if (values.rate) scale.rate = command.whole(values.rate, '--rate');
  if (values.points) {
    if (series.length > 1) command.fail('--points are those of one series: name it with --series');
    scale[series[0]] = values.points.split(',').map((text) => command.whole(text, '--points'));
  }
  return { ...values, rounds: command.whole(values.rounds, '--rounds'), series, scale };
}

const seconds = (from) => Math.round((Date.now() - from) / 1000);

// runs[series][point] of one round: what was measured, or { error }.
async function roundOf(series, scale, say) {
  const found = {};
  for (const each of series) {
    found[each.id] = [];
    for (const point of each.points) {
      say(`${each.id}, ${point.at.toLocaleString('en-US')} ${each.unit}`);
      found[each.id].push(await measure(point, scale).catch((error) => ({ error: error.message })));
    }
  }
  return found;
}

// Medians of the rounds, and their range.
function pointOf(series, i, rounds) {
  const { at } = series.points[i];
  const error = rounds.map((round) => round[series.id][i].error).find(Boolean);
  if (error) return { at, error, values: {}, spread: {} };
  const before = (round) => (i && !round[series.id][i - 1].error ? round[series.id][i - 1] : undefined);
  const each = rounds.map((round) => valuesOf(series, at, round[series.id][i], before(round)));
  const list = (id) => each.map((values) => values[id]);
  const ids = Object.keys(each[0]);
  return {
    at,
    values: Object.fromEntries(ids.map((id) => [id, median(list(id))])),
    spread: Object.fromEntries(ids.map((id) => [id, [Math.min(...list(id)), Math.max(...list(id))]])),
  };
}

// fanmesh-load's own page, with the curves over connections, where these were measured.
function page(output, rounds, file) {
  const points = rounds[0].connections?.filter(({ error }) => !error) ?? [];
  if (!points.length) return false;
  const folder = path.join(output, 'runs');
  fs.mkdirSync(folder, { recursive: true });
  const files = points.flatMap((point) =>
    Object.entries(point).map(([name, run]) => {
      const target = path.join(folder, `${name}-${run.connections}.json`);
      fs.writeFileSync(target, JSON.stringify(run));
      return target;
    }),
  );
  execFileSync(process.execPath, [path.join(root, 'load/report.mjs'), '--out', file, ...files]);
  return true;
}

const options = optionsOf();
const began = Date.now();
const series = seriesOf(options.series, options.scale);
const rounds = [];
for (let i = 0; i < options.rounds; i++) {
  rounds.push(await roundOf(series, options.scale, (what) => console.error(`round ${i + 1} of ${options.rounds}, ${seconds(began)} s: ${what}`)));
}
const report = {
  machine: [
    `${os.cpus()[0].model}, Linux ${os.release()}`,
    pinned ? 'all nodes on core 0, load on core 1 (mesh-bench on both)' : 'NOT pinned to cores: expect noise',
    ...(options.quick ? ['--quick: the figures mean nothing'] : []),
  ].join('; '),
  rounds: options.rounds,
  quick: options.quick,
  seconds: seconds(began),
  series: series.map((each) => ({
    id: each.id, title: each.title, unit: each.unit,
    figures: each.figures.map(({ id, title, unit, digits, from, differs }) => ({ id, title, unit, digits, from, differs })),
    points: each.points.map((_, i) => pointOf(each, i, rounds)),
  })),
};
const withoutPlots = (key, value) => (key === 'plots' ? undefined : value);
const json = `${JSON.stringify({ ...report, runs: rounds }, withoutPlots, 1)}\n`;
const output = write(options.output, 'scale', { json, md: markdown(report), svg: picture(report) });
const paged = page(output, rounds, path.join(output, 'scale.html'));
process.stdout.write(markdown(report));
const where = path.relative(process.cwd(), output);
console.log(`\n${report.seconds} s. ${where} has the same as scale.md, scale.svg and scale.json${paged ? ", and fanmesh-load's page as scale.html" : ''}.`);
if (report.series.some(({ points }) => points.some(({ error }) => error))) process.exitCode = 1;
