// What the mesh carries, without clients. The figures are printed, not judged: that everything arrives is.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { root } from '../lib/node.mjs';

function bench(...options) {
  const run = spawnSync(path.join(root, 'build/release/load/mesh-bench'), ['--json', ...options], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stdout + run.stderr);
  return JSON.parse(run.stdout);
}

function told(t, result) {
  t.diagnostic(`${Math.round(result.per_second)} messages a second`);
  for (const node of result.node) t.diagnostic(`${node.cpu_us} us of CPU a message, latency ${JSON.stringify(node.latency_ms)}`);
}

test('five_nodes_get_everything_that_one_publishes_as_fast_as_it_can', (t) => {
  const result = bench('--nodes', '5', '--messages', '1000000');
  told(t, result);
  for (const node of result.node) assert.equal(node.received, 1000000);
});

test('a_node_without_subscribers_has_what_is_published_too', (t) => {
  const result = bench('--nodes', '3', '--silent', '1', '--messages', '200000', '--topics', '10', '--history', '100');
  told(t, result);
  assert.equal(result.node[2].received, 200000);
});

test('at_ten_thousand_messages_a_second_everything_arrives', (t) => {
  told(t, bench('--messages', '30000', '--rate', '10000'));
});

test('the_simulation_counts_the_messages_that_it_is_given', () => {
  assert.equal(bench('--simulate', '--messages', '4000', '--log-bytes', '1MiB').messages, 4000);
});
