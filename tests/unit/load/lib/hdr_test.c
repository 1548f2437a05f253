#include "../../../../load/lib/hdr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static void an_empty_histogram_is_all_zero(void **state)
{
    (void)state;
    static struct fm_hdr h;
    assert_int_equal(fm_hdr_percentile(&h, 99), 0);
    assert_int_equal(fm_hdr_mean(&h), 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    static struct fm_hdr h;
    for (uint64_t v = 1; v <= 200; v++)
        fm_hdr_add(&h, v);
    assert_int_equal(fm_hdr_percentile(&h, 50), 100);
    assert_int_equal(fm_hdr_percentile(&h, 99), 198);
    assert_int_equal(fm_hdr_percentile(&h, 100), 200);
    assert_int_equal(fm_hdr_percentile(&h, 0), 1);
    assert_int_equal(fm_hdr_mean(&h), 100);
    assert_int_equal(h.min, 1);
}

static void every_value_is_known_to_one_part_in_128(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < FM_HDR_VALUE_BITS; bit++) {
        for (int d = -1; d <= 1; d++) {
            static struct fm_hdr h;
            uint64_t v = ((uint64_t)1 << bit) + (uint64_t)(int64_t)d;
            if (v == 0)
                continue;
            h = (struct fm_hdr){0};
            fm_hdr_add(&h, v);
            fm_hdr_add(&h, v * 4); /* so that the result isn't cut to the largest value */
            uint64_t got = fm_hdr_percentile(&h, 50);
            if (v * 4 < (uint64_t)1 << FM_HDR_VALUE_BITS)
                assert_true(got >= v && got - v <= v / 128);
        }
    }
}

static void percentiles_of_many_values_agree_with_the_sorted_list(void **state)
{
    (void)state;
    static struct fm_hdr h;
    enum { N = 10000 };
    for (uint64_t i = 1; i <= N; i++)
        fm_hdr_add(&h, (i * 7919 % N + 1) * 1000); /* a permutation of 1000, 2000 ... */
    const double percents[] = {1, 25, 50, 90, 99, 99.9, 99.99};
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        uint64_t want = (uint64_t)(percents[i] * N / 100 + 0.5) * 1000, got = fm_hdr_percentile(&h, percents[i]);
        assert_true(got >= want && got - want <= want / 128);
    }
}

static void a_value_beyond_the_range_counts_as_the_largest(void **state)
{
    (void)state;
    static struct fm_hdr h;
    fm_hdr_add(&h, UINT64_MAX);
    assert_int_equal(h.count, 1);
    assert_true(fm_hdr_percentile(&h, 50) == ((uint64_t)1 << FM_HDR_VALUE_BITS) - 1);
}

static void a_sum_of_two_is_what_one_with_all_values_would_be(void **state)
{
    (void)state;
    static struct fm_hdr all, low, high, sum, empty;
    for (uint64_t i = 1; i <= 1000; i++) {
        fm_hdr_add(&all, i * 977);
        fm_hdr_add(i % 3 ? &low : &high, i * 977);
    }
    fm_hdr_merge(&sum, &high);
    fm_hdr_merge(&sum, &empty);
    fm_hdr_merge(&sum, &low);
    assert_memory_equal(&sum, &all, sizeof all);
}

static void the_tops_of_buckets_rise_and_none_is_left_out(void **state)
{
    (void)state;
    for (uint64_t i = 1; i < FM_HDR_BUCKETS; i++)
        assert_true(fm_hdr_top(i) > fm_hdr_top(i - 1));
    assert_true(fm_hdr_top(FM_HDR_BUCKETS - 1) >= ((uint64_t)1 << FM_HDR_VALUE_BITS) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_histogram_is_all_zero),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(every_value_is_known_to_one_part_in_128),
        cmocka_unit_test(percentiles_of_many_values_agree_with_the_sorted_list),
        cmocka_unit_test(a_value_beyond_the_range_counts_as_the_largest),
        cmocka_unit_test(a_sum_of_two_is_what_one_with_all_values_would_be),
        cmocka_unit_test(the_tops_of_buckets_rise_and_none_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
