// load/compare, in small: every peer starts, every message of every cell arrives, every place of the table has a figure. What the figures are is
// not looked at. Peers that can't be had on this machine are skipped with the reason (load/peers/install gets them).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { root, workFolder } from '../lib/node.mjs';

const clustered = new Set(['fanmesh', 'nchan', 'nats']);

test('each_peer_is_measured_in_each_cell_and_loses_nothing', async (t) => {
  const output = workFolder();
  const run = spawnSync(process.execPath, [path.join(root, 'load/peers/compare.mjs'), '--quick', '--output', output], { encoding: 'utf8' });
  assert.notEqual(run.status, 2, run.stderr);
  for (const line of run.stdout.split('\n').filter(Boolean)) t.diagnostic(line);
  const file = (name) => fs.readFileSync(path.join(output, name), 'utf8');
  const report = JSON.parse(file('compare.json'));
  const table = file('compare.md').split('\n').filter((line) => line.startsWith('| '));

  for (const { title, reason } of report.absent) await t.test(`${title} is measured`, { skip: reason }, () => {});
  for (const { name, title } of report.peers) {
    await t.test(`${title} is measured`, () => {
      assert.deepEqual(report.failures.filter((failure) => failure.name === name), []);
      const cells = report.cells.filter(({ nodes }) => nodes === 1 || clustered.has(name));
      for (const { id, options } of cells) {
        for (const { tally } of report.runs[name][id]) {
          assert.ok(tally.deliveries >= options.connections, `${id}: ${tally.deliveries} deliveries`);
          assert.equal(tally.missing + tally.doubled + tally.disordered, 0, id);
        }
      }
      report.rows.forEach((row, i) => {
        const figure = report.figures[name][i];
        if (cells.some(({ id }) => id === row.cell)) assert.ok(Number.isFinite(figure.median), `${row.group}, ${row.title}`);
        else assert.equal(figure, null);
      });
    });
  }
  assert.equal(table.length, 2 + report.rows.length, 'the table has a line for each row');
  assert.ok(table.every((line) => line.split(' | ').length === 1 + report.peers.length));
  const picture = file('compare.svg');
  for (const { title } of report.peers) assert.ok(picture.includes(`>${title}<`), `the picture has ${title}`);
  assert.equal(run.status, report.failures.length ? 1 : 0);
});
