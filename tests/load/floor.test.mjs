// What a delivery costs a node, beside the barest broadcaster: that the comparison runs and every message of it arrives. The figures are
// printed, not judged: a machine that does something else at the same time would decide. script/bench-floor --check judges.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { root, workFolder } from '../lib/node.mjs';

test('the_comparison_with_the_floor_runs_and_prints_its_figures', (t) => {
  const options = ['--peers', 'fanmesh,floor', '--cells', 'many-1,few-1,few-8', '--rounds', '1', '--output', workFolder()];
  const run = spawnSync(process.execPath, [path.join(root, 'load/peers/compare.mjs'), ...options], { encoding: 'utf8' });
  for (const line of run.stdout.split('\n').filter(Boolean)) t.diagnostic(line);
  assert.equal(run.status, 0, run.stdout + run.stderr);
  assert.match(run.stdout, /8,000 subscribers, 1 in flight, us +[0-9.]+ +[0-9.]+/);
  assert.match(run.stdout, /kept \([0-9.]+\): 8,000 subscribers/);
});
