import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Samples } from './samples.mjs';

// A counter that grows by 2000 a second, looked at in these moments.
function rate(moments, from, to) {
  const samples = new Samples([], 0);
  samples.rows = moments.map((t_ms) => ({ t_ms, sums: { n: t_ms * 2 } }));
  return samples.rate('n', from, to);
}

test('a_rate_is_that_of_the_samples_between_two_moments_or_where_they_lack_of_those_around', () => {
  for (const moments of [[-7000, -6000, -5000, -4000, -3000, -2000, -1000], [-7000, -6000, -1500, 0], [-7000, -4000, 0], [-1500, 0, 1000], [-7000, -6000]])
    assert.equal(rate(moments, -5000, -2000), 2000, String(moments));
  for (const moments of [[-7000], []]) assert.equal(rate(moments, -5000, -2000), undefined);
});
