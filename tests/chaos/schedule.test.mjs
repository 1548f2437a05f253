import assert from 'node:assert/strict';
import { test } from 'node:test';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { kinds } from './faults.mjs';
import { plan, WARM_MS } from './schedule.mjs';

const all = Object.keys(kinds);
const seeds = Array.from({ length: 300 }, (_, i) => i * 7919 + 1);
const draw = (seed, more = {}) => plan({ seed, minutes: 3, nodes: 5, faults: all, ...more });

test('the_same_seed_gives_the_same_schedule_and_another_seed_another', () => {
  for (const seed of seeds.slice(0, 20)) {
    assert.deepEqual(draw(seed), draw(seed));
    assert.notDeepEqual(draw(seed).faults, draw(seed + 1).faults);
  }
});

test('two_nodes_at_least_run_unfrozen_at_any_time', () => {
  for (const nodes of [3, 5]) {
    for (const seed of seeds) {
      const { faults } = draw(seed, { nodes });
      for (const { at } of faults) {
        const gone = faults
          .filter((other) => other.at <= at && at < other.until + (kinds[other.kind].again_ms ?? 0))
          .flatMap((other) => kinds[other.kind].stops?.(other.args, nodes) ?? []);
        assert.equal(new Set(gone).size, gone.length, `seed ${seed}: a node is stopped twice`);
        assert.ok(nodes - gone.length >= 2, `seed ${seed}: ${gone}`);
      }
    }
  }
});

test('nodes_leave_in_good_order_only_while_nothing_else_goes_on', () => {
  for (const seed of seeds) {
    const { faults } = draw(seed);
    for (const one of faults.filter(({ kind }) => kinds[kind].alone)) {
      const beside = faults.filter((other) => other !== one && other.at < one.until && one.at < other.until + 5000);
      assert.deepEqual(beside, [], `seed ${seed}`);
    }
  }
});

test('everything_is_healed_at_the_end_and_nothing_happens_before_the_load_is_warm', () => {
  for (const seed of seeds) {
    for (const minutes of [1, 2, 3, 30]) {
      const { faults, heal } = draw(seed, { minutes });
      assert.equal(heal, minutes * 60_000);
      for (const { at, until } of faults) assert.ok(at >= WARM_MS && at < until && until <= heal, `seed ${seed}`);
    }
  }
});

test('every_kind_of_fault_comes_in_a_run_of_a_few_minutes', () => {
  for (const seed of seeds) {
    const seen = new Set(draw(seed, { minutes: 5 }).faults.map(({ kind }) => kind));
    assert.deepEqual(all.filter((kind) => !seen.has(kind)), [], `seed ${seed}`);
  }
});

test('a_node_that_is_spared_is_never_ended_and_all_others_are', () => {
  const ended = new Set();
  for (const seed of seeds) {
    for (const { kind, args } of draw(seed, { minutes: 5, spare: 2 }).faults) {
      if (['kill', 'restart', 'rolling'].includes(kind)) (args.order ?? [args.node]).forEach((node) => ended.add(node));
    }
  }
  assert.deepEqual([...ended].sort(), [1, 3, 4, 5]);
});

test('only_the_kinds_that_were_asked_for_come', () => {
  const { faults } = draw(1, { faults: ['kill', 'restart'] });
  assert.deepEqual([...new Set(faults.map(({ kind }) => kind))].sort(), ['kill', 'restart']);
});

test('a_misspelt_option_is_told_before_anything_is_built', () => {
  const script = fileURLToPath(new URL('../../script/chaos', import.meta.url));
  for (const [options, why] of [
    [['--minuts', '3'], /Unknown option '--minuts'/],
    [['--faults', 'klil'], /--faults: there is no klil; there are /],
    [['--preset', 'asna'], /--preset takes release, asan, tsan, not asna/],
  ]) {
    const { status, stdout, stderr } = spawnSync(script, options, { encoding: 'utf8' });
    assert.match(stderr, why);
    assert.deepEqual([status, stdout], [2, ''], 'no word of a build');
  }
});
