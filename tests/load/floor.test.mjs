// What a delivery costs a node, held against the barest broadcaster, in pairs and in one run.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { root } from '../lib/node.mjs';
import { freePort } from '../lib/ports.mjs';

test('a_delivery_costs_at_most_a_quarter_more_than_the_floor_and_coalesces', async (t) => {
  const run = spawnSync(process.execPath, [path.join(root, 'load/compare-floor.mjs'), '--check', '--rounds', '3', '--port', String(await freePort())], {
    encoding: 'utf8',
  });
  for (const line of run.stdout.split('\n').filter(Boolean)) t.diagnostic(line);
  assert.equal(run.status, 0, run.stdout + run.stderr);
});
