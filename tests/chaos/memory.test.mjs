import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describe, judgeMemory, MEMORY_MINUTES } from './memory.mjs';
import { Random } from './random.mjs';

const MIB = 2 ** 20;
const MINUTES = 30;
const HEAL = MINUTES * 60_000;
const options = { minutes: MINUTES, spare: 1 };

// A run as nodes tell it: five of them, each second; messages come and go with bursts, and with restarts of all but the first.
// leak(second) adds to what the first one has allocated, hoard(second) to what its allocator keeps; shared(second) to an account of all.
function run(seed, { leak = () => 0, hoard = () => 0, shared = () => 0, heap = true } = {}) {
  const random = new Random(seed);
  const held = Array.from({ length: 5 }, () => 24 * MIB);
  const rows = [];
  for (let second = 0; second < MINUTES * 60; second++) {
    const nodes = held.map((_, i) => {
      if (i > 0 && random.chance(1 / 80)) held[i] = random.between(2, 10) * MIB;
      else if (random.chance(1 / 25)) held[i] = random.between(12, 24) * MIB;
      else held[i] = Math.min(24 * MIB, held[i] + MIB);
      if (random.chance(0.02)) return null; // it does not answer
      const burst = random.chance(0.05) ? random.between(1, 20) * MIB : 0;
      const lost = i === 0 ? leak(second) : 0;
      const own = { fanmesh_log_bytes: held[i], fanmesh_index_bytes: random.between(1, 2) * MIB + shared(second), fanmesh_outbox_bytes: 0 };
      const allocated = held[i] + own.fanmesh_index_bytes + 2 * MIB + burst + lost;
      return { rss: allocated + random.between(8, 16) * MIB + (i === 0 ? hoard(second) : 0), heap: heap ? allocated : undefined, own };
    });
    rows.push({ t_ms: second * 1000, nodes });
  }
  return rows;
}

const seeds = [1, 2, 3, 4, 5, 6, 7, 8];

test('memory_that_swings_with_bursts_and_restarts_is_called_flat', () => {
  for (const seed of seeds) {
    const { ok, text } = judgeMemory(run(seed), options, HEAL);
    assert.equal(ok, true, `seed ${seed}: ${text}`);
  }
});

test('the_minutes_of_such_a_run_differ_by_far_more_than_a_leak_that_is_found', () => {
  const whole = run(1);
  const sums = Array.from({ length: MINUTES }, (_, m) => {
    const rows = whole.slice(m * 60, (m + 1) * 60);
    const all = rows.filter(({ nodes }) => nodes.every(Boolean)).map(({ nodes }) => nodes.reduce((sum, { rss }) => sum + rss, 0));
    return all.sort((a, b) => a - b)[Math.floor(all.length / 2)];
  });
  assert.ok(Math.max(...sums) / Math.min(...sums) > 1.05);
});

test('a_leak_of_half_a_kilobyte_a_second_in_the_node_that_runs_all_the_time_is_found', () => {
  for (const seed of seeds) {
    const { ok, text } = judgeMemory(run(seed, { leak: (second) => second * 512 }), options, HEAL);
    assert.equal(ok, false, `seed ${seed}: ${text}`);
  }
});

test('what_only_the_allocator_hoards_is_found', () => {
  for (const seed of seeds) assert.equal(judgeMemory(run(seed, { hoard: (second) => second * 10_240 }), options, HEAL).ok, false);
});

test('growth_that_the_nodes_account_for_is_found_as_well', () => {
  for (const seed of seeds) assert.equal(judgeMemory(run(seed, { shared: (second) => second * 4096 }), options, HEAL).ok, false);
});

test('memory_that_shrinks_is_flat', () => {
  assert.equal(judgeMemory(run(1, { leak: (second) => (1800 - second) * 4096 }), options, HEAL).ok, true);
});

test('a_short_run_or_one_without_samples_says_nothing', () => {
  assert.equal(judgeMemory(run(1), { minutes: MEMORY_MINUTES - 1, spare: 0 }, HEAL).ok, undefined);
  assert.equal(judgeMemory([], options, HEAL).ok, undefined);
});

test('without_a_count_of_the_heap_or_a_spared_node_what_is_resident_is_judged', () => {
  assert.equal(judgeMemory(run(1, { heap: false }), options, HEAL).ok, true);
  assert.equal(judgeMemory(run(1, { heap: false, hoard: (second) => second * 10_240 }), options, HEAL).ok, false);
  assert.equal(judgeMemory(run(1), { minutes: MINUTES, spare: 0 }, HEAL).ok, true);
  assert.match(describe(run(1, { heap: false }), 0), /\? allocated/);
});
