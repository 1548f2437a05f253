/* The judge of every load test: a feed with each kind of mistake must be caught, and a good one must not be accused. */
#include "ledger_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(a_good_feed_is_not_accused),
        LEDGER_TEST(one_missing_message_is_found_wherever_it_was),
        LEDGER_TEST(a_subscriber_that_got_nothing_misses_all),
        LEDGER_TEST(a_doubled_message_is_found_soon_and_late),
        LEDGER_TEST(two_swapped_messages_of_one_origin_are_found),
        LEDGER_TEST(two_origins_may_come_in_any_order),
        LEDGER_TEST(an_id_that_differs_between_two_places_is_found),
        LEDGER_TEST(a_message_nobody_published_is_found),
        LEDGER_TEST(a_refused_publish_is_owed_to_nobody_and_must_not_come),
        LEDGER_TEST(an_unanswered_publish_may_reach_some_all_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
