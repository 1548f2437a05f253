#include "../../../gateway/node/trim.h"
#include "../../../gateway/api/process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MIB = 1 << 20 };

static void what_a_node_needs_is_left_alone(void **state)
{
    (void)state;
    struct fm_trim t = {0};
    assert_false(fm_trim_due(&t, 8 * MIB, 0));
    assert_false(fm_trim_due(&t, 512 * MIB, 500 * MIB)); /* a large node may keep more */
    assert_false(fm_trim_due(&t, 10 * MIB, 24 * MIB));   /* told at different moments */
}

static void a_burst_that_is_over_is_given_back_once(void **state)
{
    (void)state;
    struct fm_trim t = {0};
    assert_true(fm_trim_due(&t, 64 * MIB, 24 * MIB));
    fm_trim_done(&t, 40 * MIB, 24 * MIB);
    assert_false(fm_trim_due(&t, 41 * MIB, 24 * MIB));
    assert_true(fm_trim_due(&t, 64 * MIB, 24 * MIB));
}

static void what_could_not_be_given_back_is_not_tried_again_until_there_is_more(void **state)
{
    (void)state;
    struct fm_trim t = {0};
    assert_true(fm_trim_due(&t, 300 * MIB, 0)); /* thousands of connections, which nobody accounts for */
    fm_trim_done(&t, 300 * MIB, 0);
    assert_false(fm_trim_due(&t, 308 * MIB, 0));
    assert_true(fm_trim_due(&t, 309 * MIB, 0));
}

static void when_it_went_by_itself_less_is_taken_for_usual(void **state)
{
    (void)state;
    struct fm_trim t = {0};
    fm_trim_done(&t, 300 * MIB, 0);
    assert_false(fm_trim_due(&t, 20 * MIB, 0));
    assert_true(fm_trim_due(&t, 29 * MIB, 0));
}

static uint64_t trims(void)
{
    struct fm_process_stats p;
    fm_process_stats_read(&p);
    return (uint64_t)p.trims;
}

/* Pieces of which every other goes leave nothing at the top that glibc would give back by itself. */
static void memory_that_the_allocator_keeps_goes_back_and_is_counted(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* these have allocators of their own */
#endif
    enum { N = 2000, SIZE = 40000 };
    static char *at[N];
    for (int i = 0; i < N; i++) {
        at[i] = malloc(SIZE);
        assert_non_null(at[i]);
        memset(at[i], 1, SIZE);
    }
    for (int i = 0; i < N; i += 2)
        free(at[i]);
    struct fm_trim t = {0};
    uint64_t before = trims();
    fm_trim(&t, N / 2 * SIZE);
    assert_int_equal(trims(), before + 1);
    assert_true(t.rest < 25 * MIB);
    fm_trim(&t, N / 2 * SIZE);
    assert_int_equal(trims(), before + 1);
    for (int i = 1; i < N; i += 2)
        free(at[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_node_needs_is_left_alone),
        cmocka_unit_test(a_burst_that_is_over_is_given_back_once),
        cmocka_unit_test(what_could_not_be_given_back_is_not_tried_again_until_there_is_more),
        cmocka_unit_test(when_it_went_by_itself_less_is_taken_for_usual),
        cmocka_unit_test(memory_that_the_allocator_keeps_goes_back_and_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
