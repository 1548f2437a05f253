// Which node the client tries next, and when.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Urls, backoffMs, resolveUrl } from '../../web/client/src/urls.js';

const three = ['ws://a/socket', 'ws://b/socket', 'ws://c/socket'];

test('urls_of_all_kinds_become_websocket_urls', () => {
  const page = 'https://shop.example/orders/?x=1';
  for (const [given, wanted] of [
    ['ws://a:4000/socket', 'ws://a:4000/socket'],
    ['wss://a/socket/', 'wss://a/socket'],
    ['http://a/socket', 'ws://a/socket'],
    ['https://a', 'wss://a'],
    ['/socket', 'wss://shop.example/socket'],
    ['//b/socket', 'wss://b/socket'],
  ]) {
    assert.equal(resolveUrl(given, page), wanted, given);
  }
});

test('what_is_no_url_of_a_node_is_refused_in_words', () => {
  for (const [given, wanted] of [
    ['ftp://a/socket', /begins with ws:/],
    ['ws://a/socket?token=1', /option params/],
    ['/socket', /a path needs a page/],
    ['http://', /not a URL/],
  ]) {
    assert.throws(() => resolveUrl(given, undefined), wanted, given);
  }
  assert.throws(() => new Urls([]), /at least one/);
});

test('after_a_failure_the_url_that_was_tried_longest_ago_comes_and_all_come_round', () => {
  const urls = new Urls(three, { ordered: true });
  const tried = [urls.current];
  for (let i = 0; i < 5; i++) tried.push(urls.next());
  assert.deepEqual(tried, [...three, ...three]);
});

test('a_url_that_is_given_twice_counts_once', () => {
  assert.equal(new Urls(['ws://a/socket', 'ws://a/socket/', 'http://a/socket']).count, 1);
});

test('clients_begin_at_all_urls_equally_unless_told_the_order', () => {
  const first = {};
  for (let i = 0; i < 3000; i++) {
    const { current } = new Urls(three);
    first[current] = (first[current] ?? 0) + 1;
  }
  // Each is a third of 3000, with a standard deviation of 26.
  for (const url of three) assert.ok(Math.abs(first[url] - 1000) < 200, JSON.stringify(first));
  for (let i = 0; i < 20; i++) assert.equal(new Urls(three, { ordered: true }).current, three[0]);
});

test('the_span_of_waits_doubles_with_every_round_through_all_urls_up_to_its_limit', () => {
  const most = (attempt) => backoffMs(attempt, { count: 3, baseMs: 500, maxMs: 30_000, random: () => 1 });
  assert.deepEqual([1, 2, 3, 4, 6, 7, 10].map(most), [500, 500, 500, 1000, 1000, 2000, 4000]);
  assert.equal(most(1000), 30_000);
  assert.equal(most(1e9), 30_000);
});

test('a_wait_is_anywhere_between_nothing_and_its_span', () => {
  assert.equal(backoffMs(4, { random: () => 0 }), 0);
  const waits = Array.from({ length: 2000 }, () => backoffMs(1, { baseMs: 1000 }));
  assert.ok(Math.min(...waits) < 100 && Math.max(...waits) > 900, `${Math.min(...waits)}..${Math.max(...waits)}`);
});
