// load/scale, in small: every point of every series is measured, every message of it arrives, every place of the table and every curve of the
// picture has a figure. What the figures are is not looked at.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { root, workFolder } from '../lib/node.mjs';

const program = path.join(root, 'load/curves/scale.mjs');
const run = (...args) => spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });
const texts = (svg, text) => svg.split(`>${text}</text>`).length - 1;

test('each_point_of_each_series_is_measured_and_loses_nothing', async (t) => {
  const output = workFolder();
  const { status, stdout, stderr } = run('--quick', '--output', output);
  assert.notEqual(status, 2, stderr);
  for (const line of stdout.split('\n').filter(Boolean)) t.diagnostic(line);
  const file = (name) => fs.readFileSync(path.join(output, name), 'utf8');
  const report = JSON.parse(file('scale.json'));
  const rows = file('scale.md').split('\n').filter((line) => line.startsWith('| '));

  assert.deepEqual(report.series.map(({ id }) => id), ['connections', 'topics', 'nodes', 'hubs']);
  for (const { id, points, figures } of report.series) {
    await t.test(`${id} is measured`, () => {
      assert.ok(points.length >= 2, 'a curve');
      points.forEach(({ at, error, values }, i) => {
        assert.equal(error, undefined, `${at}: ${error}`);
        for (const figure of figures) {
          const due = at >= (figure.from ?? 0) && !(figure.differs && i === 0);
          assert.equal(Number.isFinite(values[figure.id]), due, `${at}: ${figure.title} is ${values[figure.id]}`);
        }
        const loads = Object.entries(report.runs[0][id][i]).filter(([, run]) => run.tally);
        assert.equal(loads.length, { connections: 3, topics: 1, nodes: 1, hubs: 0 }[id], `${at}: runs of fanmesh-load`);
        for (const [name, { tally, connections }] of loads) {
          assert.ok(tally.deliveries >= connections, `${at}, ${name}: ${tally.deliveries} deliveries`);
          assert.equal(tally.missing + tally.doubled + tally.disordered, 0, `${at}, ${name}`);
        }
      });
    });
  }
  await t.test('each hub has every message', () => {
    for (const { bench } of report.runs[0].hubs) {
      assert.ok(bench.node.length >= 2);
      for (const { missing, doubled, disordered } of bench.node) assert.equal(missing + doubled + disordered, 0);
    }
  });
  const figures = report.series.flatMap((series) => series.figures);
  assert.equal(rows.length, figures.length + 2 * report.series.length, 'the tables have a line for each figure');
  const picture = file('scale.svg');
  assert.equal(picture.split('<polyline').length - 1, figures.length, 'the picture has a curve for each figure');
  assert.equal(texts(picture, 'failed'), 0);
  assert.ok(file('scale.html').includes('"bytes_per_connection"'), "fanmesh-load's page has its runs");
  assert.equal(status, 0, stderr);
});

test('a_series_or_a_point_that_there_is_not_is_refused_with_what_there_is', () => {
  for (const [args, sentence] of [
    [['--series', 'clouds'], 'there is no clouds; there are connections, topics, nodes, hubs'],
    [['--points', '5'], 'name it with --series'],
    [['--series', 'hubs', '--points', '0'], '--points takes a whole number from 1, not 0'],
    [['--rounds', 'two'], '--rounds takes a whole number from 1, not two'],
  ]) {
    const { status, stderr } = run(...args);
    assert.equal(status, 2);
    assert.ok(stderr.includes(sentence), stderr);
  }
});
