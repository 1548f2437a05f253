// What the order board is made of, without a browser: which of two records is the newer, and the books of what came.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { now } from '../../web/demo/clock.js';
import { Ledger } from '../../web/demo/ledger.js';
import { Records, firstOf, nextOf, statuses } from '../../web/demo/records.js';

test('of_two_records_the_larger_rev_wins_and_then_the_larger_id_whatever_their_order', () => {
  const messages = [[1, 'a-1'], [2, 'b-7'], [3, 'a-2'], [3, 'b-8']].map(([rev, id]) => [{ ...firstOf(4, rev), customer: id }, id]);
  for (const order of [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]]) {
    const records = new Records();
    for (const i of order) records.apply(...messages[i]);
    assert.equal(records.get(4).customer, 'b-8');
  }
});

test('there_is_an_end_to_the_places_that_others_may_fill', () => {
  const records = new Records();
  for (let place = 1; place <= 600; place++) records.apply(firstOf(place), `a-${place}`);
  assert.equal(records.count, 500);
  assert.equal(records.apply(firstOf(601), 'a-601'), 'full');
  assert.equal(records.apply(firstOf(500, 2), 'a-602'), 'changed');
});

test('an_order_takes_every_step_and_then_a_new_one_takes_its_place', () => {
  let record = firstOf(3);
  for (const status of statuses) {
    assert.equal(record.status, status);
    record = nextOf({ ...record, sent: 1, feed: {} });
    assert.equal(record.place, 3);
    assert.ok(!('sent' in record) && !('feed' in record));
  }
  assert.deepEqual([record.status, record.rev], ['placed', statuses.length + 1]);
});

const noted = (numbers) => {
  const ledger = new Ledger();
  for (const n of numbers) ledger.note('r', n, 0);
  return ledger;
};

test('numbers_in_any_order_are_neither_missing_nor_twice', () => {
  assert.deepEqual(noted([5, 3, 4, 8, 6, 7]).count(60_000), { received: 6, twice: 0, told: 0, missing: 0 });
});

test('a_number_that_never_comes_is_missing_and_one_that_comes_again_is_counted', () => {
  const ledger = noted([1, 2, 4, 4, 1]);
  assert.deepEqual(ledger.count(100), { received: 3, twice: 2, told: 0, missing: 0 });
  assert.deepEqual(ledger.count(60_000), { received: 3, twice: 2, told: 0, missing: 1 });
  ledger.note('r', 3, 60_001);
  assert.deepEqual(ledger.count(60_002), { received: 4, twice: 2, told: 0, missing: 0 });
});

test('what_a_gap_was_declared_for_is_told_and_what_is_passed_over_later_is_not', () => {
  const ledger = noted([1]);
  ledger.gap(1000);
  ledger.note('r', 50, 1100);
  ledger.note('r', 60, 20_000);
  assert.deepEqual(ledger.count(60_000), { received: 3, twice: 0, told: 48, missing: 9 });
});

test('another_run_of_the_feeder_begins_its_numbers_anew', () => {
  const ledger = noted([1, 2, 3]);
  ledger.note('s', 1, 0);
  ledger.note('s', 2, 0);
  assert.deepEqual(ledger.count(60_000), { received: 5, twice: 0, told: 0, missing: 0 });
});

test('the_clock_agrees_with_the_systems_and_has_fractions', () => {
  for (let i = 0; i < 1000; i++) {
    const [before, here, after] = [Date.now(), now(), Date.now()];
    assert.ok(here > before - 50 && here < after + 50, `${before} ${here} ${after}`);
  }
});
