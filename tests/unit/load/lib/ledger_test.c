/* The judge of every load test: a feed with each kind of mistake must be caught, and a good one must not be accused. */
#include "../../../../load/lib/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { ORIGIN = 77 };

static struct fm_ledger ledger;
static struct fm_view a, b;
static struct fm_tally tally;
static struct fm_gone gone;

static int begin(void **state)
{
    (void)state;
    ledger = (struct fm_ledger){0};
    tally = (struct fm_tally){0};
    fm_view_init(&a, &ledger);
    fm_view_init(&b, &ledger);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fm_view_fini(&a);
    fm_view_fini(&b);
    fm_ledger_fini(&ledger);
    fm_gone_fini(&gone);
    return 0;
}

static struct fm_id id_of(uint64_t number)
{
    return (struct fm_id){ORIGIN, number + 1};
}

static void publish(unsigned n, bool acked)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t k;
        assert_int_equal(fm_ledger_publish(&ledger, 1, FM_NODE_UNKNOWN, &k), FM_OK);
        if (acked)
            fm_ledger_ack(&ledger, k, id_of(k), false, &tally);
    }
}

static enum fm_take give(struct fm_view *v, uint64_t k)
{
    return fm_view_take(v, k, id_of(k), true, &tally);
}

static void judge(void)
{
    fm_view_finish(&a, &gone, &tally);
    fm_view_finish(&b, &gone, &tally);
}

static void a_good_feed_is_not_accused(void **state)
{
    (void)state;
    publish(1000, true);
    assert_int_equal(ledger.open, 1000);
    for (uint64_t k = 0; k < 1000; k++) {
        assert_int_equal(give(&a, k), FM_TAKE_NEW);
        assert_int_equal(give(&b, k), FM_TAKE_LAST);
    }
    judge();
    assert_int_equal(tally.deliveries, 2000);
    assert_false(fm_tally_broken(&tally));
    assert_int_equal(ledger.open, 0);
    assert_int_equal(ledger.silent, 0);
    assert_int_equal(a.words, 1000 / 64 ? 1 : 0); /* what is complete is forgotten */
}

static void one_missing_message_is_found_wherever_it_was(void **state)
{
    for (uint64_t lost = 0; lost < 200; lost++) {
        begin(state);
        publish(200, true);
        for (uint64_t k = 0; k < 200; k++) {
            give(&a, k);
            if (k != lost)
                give(&b, k);
        }
        assert_int_equal(ledger.open, 1);
        judge();
        assert_int_equal(tally.missing, 1);
        assert_true(fm_tally_broken(&tally));
        if (lost < 199)
            end(state);
    }
}

static void a_subscriber_that_got_nothing_misses_all(void **state)
{
    (void)state;
    publish(130, true);
    for (uint64_t k = 0; k < 130; k++)
        give(&a, k);
    judge();
    assert_int_equal(tally.missing, 130);
}

static void a_doubled_message_is_found_soon_and_late(void **state)
{
    (void)state;
    publish(200, true);
    for (uint64_t k = 0; k < 200; k++) {
        give(&a, k);
        give(&b, k);
        if (k == 5)
            assert_int_equal(give(&a, k), FM_TAKE_NOT_NEW);
    }
    assert_int_equal(give(&b, 0), FM_TAKE_NOT_NEW); /* its bit is long forgotten */
    judge();
    assert_int_equal(tally.doubled, 2);
    assert_int_equal(tally.missing, 0);
    assert_int_equal(tally.deliveries, 400);
}

static void two_swapped_messages_of_one_origin_are_found(void **state)
{
    (void)state;
    publish(3, true);
    give(&a, 0), give(&a, 2), give(&a, 1);
    give(&b, 0), give(&b, 1), give(&b, 2);
    judge();
    assert_int_equal(tally.disordered, 1);
    assert_int_equal(tally.missing + tally.doubled, 0);
}

static void two_origins_may_come_in_any_order(void **state)
{
    (void)state;
    publish(2, false);
    const struct fm_id x = {1, 9}, y = {2, 1};
    fm_view_take(&a, 0, x, true, &tally), fm_view_take(&a, 1, y, true, &tally);
    fm_view_take(&b, 1, y, true, &tally), fm_view_take(&b, 0, x, true, &tally);
    fm_ledger_ack(&ledger, 0, x, false, &tally), fm_ledger_ack(&ledger, 1, y, false, &tally);
    judge();
    assert_false(fm_tally_broken(&tally));
}

static void an_id_that_differs_between_two_places_is_found(void **state)
{
    (void)state;
    publish(2, false);
    give(&a, 0);
    fm_ledger_ack(&ledger, 0, (struct fm_id){ORIGIN, 99}, false, &tally);
    assert_int_equal(tally.wrong_id, 1);
    give(&a, 1);
    fm_view_take(&b, 1, (struct fm_id){ORIGIN, 50}, true, &tally);
    assert_int_equal(tally.wrong_id, 2);
    assert_true(fm_tally_broken(&tally));
}

static void a_message_nobody_published_is_found(void **state)
{
    (void)state;
    publish(1, true);
    assert_int_equal(give(&a, 1), FM_TAKE_NOT_NEW);
    assert_int_equal(give(&a, UINT64_MAX), FM_TAKE_NOT_NEW);
    assert_int_equal(tally.strange, 2);
}

static void a_refused_publish_is_owed_to_nobody_and_must_not_come(void **state)
{
    (void)state;
    publish(1, false);
    fm_ledger_refuse(&ledger, 0);
    assert_int_equal(ledger.open, 0);
    judge();
    assert_false(fm_tally_broken(&tally));
    give(&a, 0);
    assert_int_equal(tally.undead, 1);
    assert_true(fm_tally_broken(&tally));
}

static void an_unanswered_publish_may_reach_some_all_or_none(void **state)
{
    (void)state;
    publish(3, false);
    give(&a, 1), give(&b, 1);
    give(&a, 2);
    fm_ledger_broken(&ledger, 2, NULL, NULL);
    assert_int_equal(ledger.silent, 3);
    fm_ledger_broken(&ledger, 1, NULL, NULL);
    judge();
    assert_int_equal(tally.partial, 1);
    assert_false(fm_tally_broken(&tally));
    assert_int_equal(ledger.silent, 0);
}

static struct fm_vector cursor_at(uint64_t seq)
{
    struct fm_vector v = {0};
    assert_int_equal(fm_vector_set(&v, ORIGIN, seq), FM_OK);
    return v;
}

static void a_loss_after_recovered_true_is_silent_and_after_false_declared(void **state)
{
    for (int recovered = 0; recovered < 2; recovered++) {
        begin(state);
        struct fm_vector cursor = cursor_at(7); /* 3 is what it had; 4 to 7 are gone */
        publish(10, true);
        for (uint64_t k = 0; k < 10; k++) {
            give(&a, k);
            if (k == 3)
                assert_int_equal(fm_view_joined(&b, &cursor, recovered), FM_OK);
            if (k < 3 || k > 6)
                give(&b, k);
        }
        judge();
        assert_int_equal(tally.declared, recovered ? 0 : 4);
        assert_int_equal(tally.missing, recovered ? 4 : 0);
        fm_vector_fini(&cursor);
        if (!recovered)
            end(state);
    }
}

static void what_is_lost_beside_a_declared_range_is_still_silent(void **state)
{
    (void)state;
    publish(10, true);
    assert_int_equal(fm_view_gap(&a, ORIGIN, 3, 5), FM_OK); /* numbers 2 to 4 */
    assert_int_equal(fm_view_gap(&a, ORIGIN + 1, 1, 100), FM_OK);
    assert_int_equal(fm_view_gap(&a, 0, 1, 100), FM_E_INVALID);
    for (uint64_t k = 0; k < 10; k++) {
        give(&b, k);
        if (k > 5)
            give(&a, k); /* lacks 0, 1 and 5 besides */
    }
    judge();
    assert_int_equal(tally.declared, 3);
    assert_int_equal(tally.missing, 3);
}

static void an_origin_that_the_answer_no_longer_names_is_declared(void **state)
{
    (void)state;
    struct fm_vector cursor = {0};
    publish(4, true);
    give(&a, 0);
    assert_int_equal(fm_vector_set(&cursor, ORIGIN + 1, 5), FM_OK);
    assert_int_equal(fm_view_joined(&a, &cursor, false), FM_OK);
    for (uint64_t k = 0; k < 4; k++)
        give(&b, k);
    judge();
    assert_int_equal(tally.declared, 3);
    assert_int_equal(tally.missing, 0);
    fm_vector_fini(&cursor);
}

static void replayed_messages_continue_where_the_cursor_stood(void **state)
{
    (void)state;
    struct fm_vector cursor = cursor_at(3);
    publish(6, true);
    for (uint64_t k = 0; k < 6; k++) {
        give(&b, k);
        if (k == 3)
            assert_int_equal(fm_view_joined(&a, &cursor, true), FM_OK);
        give(&a, k);
    }
    judge();
    assert_false(fm_tally_broken(&tally));
    /* A node that replays what the client had is caught. */
    assert_int_equal(fm_view_joined(&a, &cursor, true), FM_OK);
    give(&a, 3);
    assert_int_equal(tally.doubled, 1);
    fm_vector_fini(&cursor);
}

static void a_plain_channel_is_excused_for_the_time_it_was_away(void **state)
{
    (void)state;
    const struct fm_id streams[] = {{1, 1}, {1, 2}, {1, 3}};
    publish(2, true);
    assert_int_equal(fm_view_returned(&a), FM_OK);
    publish(1, true);
    for (uint64_t k = 0; k < 3; k++)
        fm_view_take(&b, k, streams[k], false, &tally);
    judge();
    assert_int_equal(tally.declared, 2);
    assert_int_equal(tally.missing, 1);
    assert_int_equal(tally.wrong_id, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(a_good_feed_is_not_accused),
        T(one_missing_message_is_found_wherever_it_was),
        T(a_subscriber_that_got_nothing_misses_all),
        T(a_doubled_message_is_found_soon_and_late),
        T(two_swapped_messages_of_one_origin_are_found),
        T(two_origins_may_come_in_any_order),
        T(an_id_that_differs_between_two_places_is_found),
        T(a_message_nobody_published_is_found),
        T(a_refused_publish_is_owed_to_nobody_and_must_not_come),
        T(an_unanswered_publish_may_reach_some_all_or_none),
        T(a_loss_after_recovered_true_is_silent_and_after_false_declared),
        T(what_is_lost_beside_a_declared_range_is_still_silent),
        T(an_origin_that_the_answer_no_longer_names_is_declared),
        T(replayed_messages_continue_where_the_cursor_stood),
        T(a_plain_channel_is_excused_for_the_time_it_was_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
