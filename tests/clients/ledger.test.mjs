// The test of the tests: a ledger that could not fail would prove nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clean, compare, Cursor } from '../lib/ledger.mjs';

const published = ['a-1', 'a-2', 'b-1', 'b-2'];

test('any_order_that_keeps_each_origins_own_is_clean', () => {
  assert.deepEqual(compare(published, ['a-1', 'b-1', 'b-2', 'a-2']), clean);
  assert.deepEqual(compare(published, published), clean);
});

test('a_missing_message_is_named', () => {
  assert.deepEqual(compare(published, ['a-1', 'b-1', 'b-2']), { ...clean, missing: ['a-2'] });
});

test('a_doubled_message_is_named', () => {
  assert.deepEqual(compare(published, ['a-1', 'a-2', 'a-1', 'b-1', 'b-2']), { ...clean, doubled: ['a-1'] });
});

test('a_message_before_an_earlier_one_of_its_origin_is_named', () => {
  assert.deepEqual(compare(published, ['a-2', 'a-1', 'b-1', 'b-2']), { ...clean, disordered: ['a-1'] });
});

test('a_message_that_nobody_published_is_named', () => {
  assert.deepEqual(compare(published, [...published, 'c-1']), { ...clean, strange: ['c-1'] });
});

test('numbers_are_compared_as_numbers', () => {
  assert.deepEqual(compare(['a-9', 'a-10'], ['a-9', 'a-10']), clean);
});

test('a_cursor_keeps_the_newest_of_each_origin_and_is_replaced_by_a_join', () => {
  const cursor = new Cursor();
  for (const id of ['a-1', 'b-1', 'a-2']) cursor.advance(id);
  assert.deepEqual(cursor.params(), { cursor: ['a-2', 'b-1'] });
  cursor.replace(['c-7']);
  assert.deepEqual(cursor.params(), { cursor: ['c-7'] });
});
