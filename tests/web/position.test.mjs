// The client's book of what it was given: cursor, marks and keys.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Position, splitId } from '../../web/client/src/position.js';

test('an_id_is_cut_at_its_last_dash', () => {
  assert.deepEqual(splitId('k3fa9Qz-12'), ['k3fa9Qz', 12]);
  for (const bad of ['', 'x', '-1', 'a-', 'a-b', 'a-1.5', 'a-9007199254740993', null, 7, ['a-1']]) assert.throws(() => splitId(bad), TypeError, String(bad));
});

test('ids_raise_the_cursor_and_a_joins_reply_replaces_it', () => {
  const position = new Position();
  for (const id of ['a-1', 'b-1', 'a-2']) assert.equal(position.take(id), 'new');
  assert.deepEqual(position.cursor.sort(), ['a-2', 'b-1']);
  position.replace(['c-7', 'asof-5']);
  assert.deepEqual(position.cursor, ['c-7', 'asof-5']);
});

test('what_was_handed_over_is_known_though_a_reply_says_less', () => {
  const position = new Position();
  for (const id of ['a-1', 'a-2', 'a-3']) position.take(id);
  position.replace(['a-1']); // a node that knows less
  assert.equal(position.take('a-2'), 'again');
  assert.equal(position.take('a-3'), 'again');
  assert.equal(position.take('a-4'), 'new');
  position.replace([]); // one that knows nothing of the origin
  assert.equal(position.take('a-4'), 'again');
  assert.deepEqual(position.cursor, ['a-4']);
});

test('numbers_are_compared_as_numbers', () => {
  const position = new Position(['a-9']);
  assert.equal(position.take('a-10'), 'new');
  assert.equal(position.take('a-9'), 'again');
});

test('a_second_message_with_a_key_is_a_double_and_moves_the_cursor_all_the_same', () => {
  const position = new Position();
  assert.equal(position.take('a-1', 'k'), 'new');
  assert.equal(position.take('a-1', 'k'), 'again');
  assert.equal(position.take('b-1', 'k'), 'double');
  assert.equal(position.take('b-2', 'other'), 'new');
  assert.equal(position.take('b-3'), 'new');
  assert.equal(position.take('b-4'), 'new'); // no key is no key
  assert.deepEqual(position.cursor.sort(), ['a-1', 'b-4']);
});

test('behind_a_gap_nothing_before_it_is_taken', () => {
  const position = new Position(['a-1']);
  position.advance(['a-5', 'b-2']);
  assert.equal(position.take('a-5'), 'again');
  assert.equal(position.take('a-6'), 'new');
  position.advance(['a-2']); // never back
  assert.deepEqual(position.cursor.sort(), ['a-6', 'b-2']);
});

test('a_key_that_comes_again_much_later_is_a_new_message', () => {
  const position = new Position([], { keysMs: 1000 });
  assert.equal(position.take('a-1', 'k', 5000), 'new');
  assert.equal(position.take('b-1', 'k', 5999), 'double');
  assert.equal(position.take('a-2', 'k', 6000), 'new');
  assert.equal(position.take('b-2', 'k', 6999), 'double');
  const [[key, at]] = position.saved.keys;
  assert.deepEqual([key, at], ['k', 6000]);
  const after = new Position(position.saved, { keysMs: 1000 });
  assert.equal(after.take('c-1', 'k', 6999), 'double');
  assert.equal(after.take('c-2', 'k', 7000), 'new');
});

test('what_was_saved_goes_on_where_it_was_with_its_keys', () => {
  const before = new Position();
  before.take('a-1', 'k');
  before.take('a-2');
  const after = new Position(JSON.parse(JSON.stringify(before.saved)));
  assert.deepEqual(after.cursor, before.cursor);
  assert.equal(after.take('a-2'), 'again');
  assert.equal(after.take('b-1', 'k'), 'double');
  assert.equal(new Position(before.cursor).take('a-2'), 'again');
});

test('a_position_that_is_none_is_refused', () => {
  for (const bad of ['a-1', 7, {}, { cursor: 'a-1' }, ['no id'], { cursor: [], keys: 7 }]) {
    assert.throws(() => new Position(bad), TypeError, JSON.stringify(bad));
  }
  for (const none of [undefined, null, []]) assert.deepEqual(new Position(none).cursor, []);
});

test('keys_and_origins_are_forgotten_oldest_first_where_there_are_too_many', () => {
  const position = new Position([], { keysMax: 3 });
  for (let i = 1; i <= 4; i++) position.take(`a-${i}`, `k${i}`);
  assert.equal(position.take('b-1', 'k2'), 'double');
  assert.equal(position.take('b-2', 'k1'), 'new');
  for (let i = 0; i < 2000; i++) position.take(`o${i}-1`);
  assert.equal(position.take('o1999-1'), 'again');
  assert.equal(position.take('o0-1'), 'new');
});
