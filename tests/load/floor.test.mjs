// What a delivery costs a node, beside the barest broadcaster: that the comparison runs and every message of it arrives. The figures are
// printed, not judged: a machine that does something else at the same time would decide. script/bench-floor --check judges.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { root } from '../lib/node.mjs';
import { freePort } from '../lib/ports.mjs';

test('the_comparison_with_the_floor_runs_and_prints_its_figures', async (t) => {
  const run = spawnSync(process.execPath, [path.join(root, 'load/compare-floor.mjs'), '--rounds', '1', '--port', String(await freePort())], {
    encoding: 'utf8',
  });
  for (const line of run.stdout.split('\n').filter(Boolean)) t.diagnostic(line);
  assert.equal(run.status, 0, run.stdout + run.stderr);
  assert.match(run.stdout, /8,000 subscribers, 1 in flight \| [0-9.]+ /);
  assert.match(run.stdout, /is [0-9.]+ times cheaper/);
});
