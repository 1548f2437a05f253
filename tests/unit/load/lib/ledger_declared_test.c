/* What a subscriber was told that it lost: no more counts as declared, and no less. */
#include "ledger_fixture.h"

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

static void a_gap_of_all_declares_up_to_its_cursor_and_no_further(void **state)
{
    (void)state;
    struct fm_vector cursor = cursor_at(6);
    publish(10, true);
    for (uint64_t k = 0; k < 10; k++)
        give(&b, k);
    give(&a, 1), give(&a, 2); /* 0 is lost before it */
    assert_int_equal(fm_view_gap_to(&a, &cursor), FM_OK);
    give(&a, 9); /* 6, 7, 8 are lost behind it */
    judge();
    assert_int_equal(tally.declared, 3);
    assert_int_equal(tally.missing, 4);
    /* A gap that a node declares of what it gives later is found too: the position is beyond it. */
    give(&a, 5);
    assert_int_equal(tally.disordered, 1);
    fm_vector_fini(&cursor);
}

static void a_gap_of_all_says_nothing_of_origins_that_it_does_not_name(void **state)
{
    (void)state;
    struct fm_vector cursor = {0};
    assert_int_equal(fm_vector_set(&cursor, ORIGIN + 1, 100), FM_OK);
    publish(3, true);
    give(&a, 0);
    assert_int_equal(fm_view_gap_to(&a, &cursor), FM_OK);
    for (uint64_t k = 0; k < 3; k++)
        give(&b, k);
    judge();
    assert_int_equal(tally.missing, 2);
    assert_int_equal(tally.declared, 0);
    fm_vector_fini(&cursor);
}

static void what_follows_of_a_forgotten_origin_that_is_back_is_owed_again(void **state)
{
    (void)state;
    struct fm_vector cursor = {0};
    publish(6, true);
    give(&a, 0);
    assert_int_equal(fm_vector_set(&cursor, ORIGIN + 1, 5), FM_OK);
    assert_int_equal(fm_view_joined(&a, &cursor, false), FM_OK);
    give(&a, 3); /* 1 and 2 were declared; 4 and 5 were not */
    for (uint64_t k = 0; k < 6; k++)
        give(&b, k);
    judge();
    assert_int_equal(tally.declared, 2);
    assert_int_equal(tally.missing, 2);
    fm_vector_fini(&cursor);
}

static void a_gap_without_an_end_declares_until_the_origin_is_back(void **state)
{
    (void)state;
    publish(6, true);
    give(&a, 0);
    assert_int_equal(fm_view_gap(&a, ORIGIN, 2, FM_LEDGER_OPEN), FM_OK);
    give(&a, 3); /* in order: the gap moved no position */
    for (uint64_t k = 0; k < 6; k++)
        give(&b, k);
    judge();
    assert_int_equal(tally.disordered, 0);
    assert_int_equal(tally.declared, 2);
    assert_int_equal(tally.missing, 2);
}

static void declared_ranges_stay_few_and_exact(void **state)
{
    (void)state;
    publish(200, true);
    for (uint64_t seq = 200; seq > 100; seq--) /* 101 to 200, from the back */
        assert_int_equal(fm_view_gap(&a, ORIGIN, seq, seq), FM_OK);
    for (uint64_t seq = 1; seq <= 50; seq += 2) /* every other one of the first 50 */
        assert_int_equal(fm_view_gap(&a, ORIGIN, seq, seq), FM_OK);
    assert_int_equal(a.excuses_n, 26);
    assert_int_equal(fm_view_gap(&a, ORIGIN - 1, 1, UINT64_MAX), FM_OK);
    assert_int_equal(fm_view_gap(&a, ORIGIN + 1, 1, 500), FM_OK);
    judge();
    assert_int_equal(tally.declared, 100 + 25);
    for (uint64_t seq = 2; seq <= 50; seq += 2)
        assert_int_equal(fm_view_gap(&a, ORIGIN, seq, seq), FM_OK);
    assert_int_equal(a.excuses_n, 4);
    assert_int_equal(fm_view_gap(&a, ORIGIN, 40, 120), FM_OK);
    assert_int_equal(a.excuses_n, 3);
    tally = (struct fm_tally){0};
    fm_view_finish(&a, &gone, &tally);
    assert_int_equal(tally.declared, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(a_loss_after_recovered_true_is_silent_and_after_false_declared),
        LEDGER_TEST(what_is_lost_beside_a_declared_range_is_still_silent),
        LEDGER_TEST(an_origin_that_the_answer_no_longer_names_is_declared),
        LEDGER_TEST(replayed_messages_continue_where_the_cursor_stood),
        LEDGER_TEST(a_plain_channel_is_excused_for_the_time_it_was_away),
        LEDGER_TEST(a_gap_of_all_declares_up_to_its_cursor_and_no_further),
        LEDGER_TEST(a_gap_of_all_says_nothing_of_origins_that_it_does_not_name),
        LEDGER_TEST(what_follows_of_a_forgotten_origin_that_is_back_is_owed_again),
        LEDGER_TEST(a_gap_without_an_end_declares_until_the_origin_is_back),
        LEDGER_TEST(declared_ranges_stay_few_and_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
