/* Of the ledger: publishes without answers, and messages that are only counted. */
#include "../../../../load/lib/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void what_was_sent_without_an_answer_counts_as_accepted_unless_its_connection_broke(void **state)
{
    (void)state;
    struct fm_ledger l = {0};
    struct fm_view v;
    struct fm_tally t = {0};
    uint64_t number;
    fm_view_init(&v, &l);
    for (uint32_t stream = 1; stream <= 3; stream++)
        assert_int_equal(fm_ledger_publish(&l, stream, 0, &number), FM_OK);
    fm_ledger_broken(&l, 2, NULL, NULL);
    assert_int_equal(fm_ledger_ack_rest(&l), 2);
    assert_int_equal(fm_ledger_ack_rest(&l), 0);
    assert_int_equal(l.silent, 0);
    assert_int_equal(l.at[0].fate, FM_FATE_ACKED);
    assert_int_equal(l.at[1].fate, FM_FATE_UNANSWERED);
    fm_view_finish(&v, &(struct fm_gone){0}, &t);
    assert_int_equal(t.missing, 2);
    fm_view_fini(&v);
    fm_ledger_fini(&l);
}

static void a_counted_message_is_everywhere_when_so_many_came_as_there_are_subscribers(void **state)
{
    (void)state;
    struct fm_ledger l = {0};
    struct fm_view v[2];
    struct fm_tally t = {0};
    uint64_t number;
    for (unsigned i = 0; i < 2; i++)
        fm_view_init(&v[i], &l);
    assert_int_equal(fm_ledger_publish(&l, 1, 0, &number), FM_OK);
    assert_int_equal(fm_view_count(&v[0], 0, &t), FM_TAKE_NEW);
    assert_int_equal(l.open, 1);
    assert_int_equal(fm_view_count(&v[0], 0, &t), FM_TAKE_LAST); /* that it is the same subscriber is not looked at */
    assert_int_equal(l.open, 0);
    assert_int_equal(fm_view_count(&v[1], 0, &t), FM_TAKE_NEW);
    assert_int_equal(fm_view_count(&v[1], 1, &t), FM_TAKE_NOT_NEW);
    assert_int_equal(t.deliveries, 3);
    assert_int_equal(t.strange, 1);
    for (unsigned i = 0; i < 2; i++)
        fm_view_fini(&v[i]);
    fm_ledger_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sent_without_an_answer_counts_as_accepted_unless_its_connection_broke),
        cmocka_unit_test(a_counted_message_is_everywhere_when_so_many_came_as_there_are_subscribers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
