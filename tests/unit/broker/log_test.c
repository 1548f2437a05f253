#include "../../../broker/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static struct fm_pos *const somewhere = (struct fm_pos *)&(char){0};

static enum fm_err put(struct fm_log *log, uint64_t seq)
{
    return fm_log_insert(log, (struct fm_log_entry){.seq = seq, .pos = somewhere});
}

static void entries_come_out_ascending_whatever_the_order_they_went_in(void **state)
{
    (void)state;
    enum { N = 5000 };
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct fm_log log = {0};
        static uint8_t held[N + 1];
        memset(held, 0, sizeof held);
        srandom(seed);
        for (int step = 0; step < 3 * N; step++) {
            /* mostly near an advancing front, as live messages and late repairs come */
            uint64_t front = (uint64_t)step / 3 + 1;
            uint64_t seq = random() % 4 ? front : (uint64_t)random() % front + 1;
            if (random() % 5 == 0) {
                fm_log_remove(&log, seq);
                held[seq] = 0;
            } else {
                assert_int_equal(put(&log, seq), held[seq] ? FM_E_INVALID : FM_OK);
                held[seq] = 1;
            }
        }
        uint64_t from = (uint64_t)random() % N;
        struct fm_log_iter it = fm_log_from(&log, from);
        for (uint64_t seq = from ? from : 1; seq <= N; seq++) {
            assert_true((fm_log_find(&log, seq) != NULL) == held[seq]);
            if (!held[seq])
                continue;
            struct fm_log_entry *e = fm_log_next(&it);
            assert_non_null(e);
            assert_int_equal(e->seq, seq);
        }
        assert_null(fm_log_next(&it));
        fm_log_fini(&log);
    }
}

static void taking_from_the_front_while_appending_keeps_the_log_small(void **state)
{
    (void)state;
    struct fm_log log = {0};
    for (uint64_t seq = 1; seq <= 100000; seq++) {
        assert_int_equal(put(&log, seq), FM_OK);
        if (seq > 100)
            fm_log_remove(&log, seq - 100);
    }
    assert_int_equal(fm_log_last(&log), 100000);
    assert_true(log.n <= 3);
    fm_log_fini(&log);
    assert_int_equal(fm_log_last(&log), 0);
}

static void of_a_log_that_was_large_only_what_is_left_takes_room(void **state)
{
    (void)state;
    struct fm_log log = {0};
    enum { N = 256 * 1000, EVERY = 256 };
    for (uint64_t seq = 1; seq <= N; seq++)
        assert_int_equal(put(&log, seq), FM_OK);
    size_t full = fm_log_bytes(&log);
    for (uint64_t seq = 1; seq <= N; seq++)
        if (seq % EVERY)
            fm_log_remove(&log, seq);
    assert_true(fm_log_bytes(&log) < full / 50);
    struct fm_log_iter it = fm_log_from(&log, 1);
    for (uint64_t seq = EVERY; seq <= N; seq += EVERY) {
        struct fm_log_entry *e = fm_log_next(&it);
        assert_non_null(e);
        assert_int_equal(e->seq, seq);
        assert_ptr_equal(fm_log_find(&log, seq), e);
    }
    assert_null(fm_log_next(&it));
    fm_log_fini(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_out_ascending_whatever_the_order_they_went_in),
        cmocka_unit_test(taking_from_the_front_while_appending_keeps_the_log_small),
        cmocka_unit_test(of_a_log_that_was_large_only_what_is_left_takes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
