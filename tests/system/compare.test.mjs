// What load/compare makes of what it measured: medians, ratios, and what it says where there is no figure.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { figuresOf } from '../../load/peers/figures.mjs';
import { load } from '../../load/peers/host.mjs';
import { markdown, text } from '../../load/peers/table.mjs';
import { startFloor } from '../lib/load.mjs';
import { root } from '../lib/node.mjs';

const rows = [{ group: 'CPU', title: 'a delivery', unit: 'us', cell: 'one', digits: 2, of: (run) => run.us }];
const peer = (name) => ({ name, title: name, versionText: '1.0', settings: 'as it comes' });
const rounds = (...values) => ({ one: values.map((us) => (typeof us === 'string' ? { error: us } : { us })) });

test('a_ratio_is_the_median_of_the_ratios_of_the_rounds', () => {
  // The second round was slow for both: the ratio of the medians would be 2, that of each round is 3.
  const figures = figuresOf(rows, [peer('fanmesh'), peer('bun')], { fanmesh: rounds(1, 10, 2), bun: rounds(3, 30, 4) });
  assert.deepEqual(figures.bun[0], { values: [3, 30, 4], median: 4, low: 3, high: 30, fanmesh: 3 });
  assert.equal(figures.fanmesh[0].fanmesh, undefined);
});

test('a_peer_that_failed_in_one_round_has_no_figure_and_no_ratio_to_it_is_given', () => {
  const peers = [peer('fanmesh'), peer('floor'), peer('nats')];
  const figures = figuresOf(rows, peers, { fanmesh: rounds(1, 1), floor: rounds(1, '7 missing'), nats: rounds(5, 5) });
  assert.deepEqual(figures.floor[0], { error: '7 missing', failed: 1, of: 2 });
  assert.equal(figures.nats[0].floor, undefined);
  const absent = [{ title: 'mosquitto', reason: 'there is no mosquitto' }];
  const failures = [{ title: 'floor', cell: 'one', round: 1, error: '7 missing' }];
  const report = { rows, peers, figures, rounds: 2, machine: 'a machine', absent, failures };
  for (const table of [markdown(report), text(report)]) {
    assert.match(table, /failed \(1 of 2\)/);
    assert.match(table, /- floor, one, round 2: 7 missing/);
    assert.match(table, /- mosquitto was left out: there is no mosquitto/);
  }
});

test('a_table_wider_than_the_terminal_goes_on_below_with_its_labels', () => {
  const peers = ['fanmesh', 'bun', 'nats', 'nchan', 'floor'].map(peer);
  const figures = figuresOf(rows, peers, Object.fromEntries(peers.map(({ name }) => [name, rounds(1.25)])));
  const lines = text({ rows, peers, figures, rounds: 1, machine: 'a machine', width: 60, absent: [], failures: [] }).split('\n');
  assert.equal(lines.filter((line) => line.startsWith('  a delivery, us')).length, 2);
  assert.ok(lines.filter((line) => !line.startsWith('-')).slice(2).every(({ length }) => length <= 60));
});

test('what_a_peer_loses_is_told_and_is_not_a_figure', async (t) => {
  const floor = await startFloor(t, ['--drop-every', '150']);
  await assert.rejects(load({ nodes: floor.nodes, connections: 20, messages: 20, settle_ms: 3000 }, 60_000), /^Error: 2 missing$/);
});

test('a_peer_that_does_not_exist_is_refused_with_the_list_of_those_that_do', () => {
  const run = spawnSync(process.execPath, [path.join(root, 'load/peers/compare.mjs'), '--peers', 'fanmesh,kafka'], { encoding: 'utf8' });
  assert.equal(run.status, 2);
  assert.match(run.stderr, /--peers: there is no kafka; there are fanmesh, floor, bun/);
});
