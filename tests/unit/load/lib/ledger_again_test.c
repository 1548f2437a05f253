/* Published again with a key: what may then come twice. */
#include "ledger_fixture.h"

static const struct fm_id first = {1, 10}, second = {2, 20}, third = {3, 30};

static void publish_twice(void)
{
    uint64_t k;
    assert_int_equal(fm_ledger_publish(&ledger, 1, HERE, &k), FM_OK);
    assert_true(fm_ledger_again(&ledger, k, ELSEWHERE, true));
}

/* The client goes to another node, with what it has. */
static void moves(struct fm_view *v)
{
    struct fm_vector cursor = {0};
    assert_int_equal(fm_vector_copy(&cursor, &v->at), FM_OK);
    assert_int_equal(fm_view_joined(v, &cursor, true), FM_OK);
    fm_vector_fini(&cursor);
}

static void two_copies_from_two_nodes_are_allowed_to_a_client_that_moved(void **state)
{
    (void)state;
    publish_twice();
    assert_int_equal(fm_view_take(&a, 0, second, true, &tally), FM_TAKE_NEW);
    assert_int_equal(fm_view_take(&b, 0, first, true, &tally), FM_TAKE_LAST);
    fm_ledger_ack(&ledger, 0, first, false, &tally);
    moves(&a);
    moves(&b);
    assert_int_equal(fm_view_take(&a, 0, first, true, &tally), FM_TAKE_NOT_NEW);
    assert_int_equal(fm_view_take(&b, 0, second, true, &tally), FM_TAKE_NOT_NEW);
    judge();
    assert_int_equal(tally.doubled_by_key, 2);
    assert_int_equal(tally.deliveries, 2);
    assert_false(fm_tally_broken(&tally));
    moves(&a);
    fm_view_take(&a, 0, second, true, &tally);
    fm_view_take(&a, 0, first, true, &tally);
    fm_view_take(&b, 0, first, true, &tally);
    assert_int_equal(tally.doubled, 3); /* each copy once at most */
}

static void what_a_client_had_counts_as_before_where_the_new_node_does_not_know_its_origin(void **state)
{
    (void)state;
    struct fm_vector cursor = {0};
    publish_twice();
    fm_view_take(&a, 0, first, true, &tally);
    assert_int_equal(fm_vector_set(&cursor, ORIGIN, 1), FM_OK);
    assert_int_equal(fm_view_joined(&a, &cursor, false), FM_OK);
    fm_view_take(&a, 0, second, true, &tally);
    assert_int_equal(tally.doubled_by_key, 1);
    assert_int_equal(tally.doubled, 0);
    fm_vector_fini(&cursor);
}

static void two_copies_on_one_connection_are_doubled(void **state)
{
    (void)state;
    publish_twice();
    fm_view_take(&a, 0, first, true, &tally);
    fm_view_take(&a, 0, second, true, &tally);
    moves(&b);
    fm_view_take(&b, 0, second, true, &tally);
    fm_view_take(&b, 0, first, true, &tally);
    assert_int_equal(tally.doubled, 2);
    assert_int_equal(tally.doubled_by_key, 0);
}

static void a_message_has_no_more_ids_than_attempts_and_one_of_each_node(void **state)
{
    (void)state;
    uint64_t k;
    publish_twice();
    fm_view_take(&a, 0, first, true, &tally);
    fm_view_take(&b, 0, second, true, &tally);
    assert_int_equal(tally.wrong_id, 0);
    fm_ledger_ack(&ledger, 0, third, false, &tally); /* the third of two */
    assert_int_equal(tally.wrong_id, 1);
    assert_int_equal(fm_ledger_publish(&ledger, 1, HERE, &k), FM_OK);
    fm_view_take(&a, k, (struct fm_id){1, 11}, true, &tally);
    fm_view_take(&b, k, second, true, &tally); /* published once */
    assert_int_equal(tally.wrong_id, 2);
    publish_twice();
    fm_view_take(&a, 2, (struct fm_id){1, 12}, true, &tally);
    fm_view_take(&b, 2, (struct fm_id){1, 13}, true, &tally); /* its own key, not recognised */
    assert_int_equal(tally.wrong_id, 3);
    publish_twice();
    assert_true(fm_ledger_again(&ledger, 3, HERE, true));
    fm_view_take(&a, 3, (struct fm_id){1, 14}, true, &tally);
    fm_view_take(&b, 3, (struct fm_id){2, 24}, true, &tally);
    fm_ledger_ack(&ledger, 3, (struct fm_id){2, 25}, false, &tally); /* not recognised either, by the second node */
    assert_int_equal(tally.wrong_id, 4);
}

static void three_copies_are_told_apart(void **state)
{
    (void)state;
    const struct fm_id ids[] = {first, second, third};
    publish_twice();
    assert_true(fm_ledger_again(&ledger, 0, HERE, true));
    for (int i = 0; i < 3; i++) {
        fm_view_take(&b, 0, ids[i], true, &tally);
        moves(&b);
    }
    for (int i = 2; i >= 0; i--) {
        fm_view_take(&a, 0, ids[i], true, &tally);
        moves(&a);
    }
    assert_int_equal(tally.doubled_by_key, 4);
    assert_false(fm_tally_broken(&tally));
    for (int i = 0; i < 3; i++)
        fm_view_take(&a, 0, ids[i], true, &tally);
    assert_int_equal(tally.doubled, 3);
}

static void a_message_with_two_copies_is_missing_if_neither_came_and_told_if_one_was(void **state)
{
    (void)state;
    publish_twice();
    fm_view_take(&b, 0, first, true, &tally);
    moves(&b);
    fm_view_take(&b, 0, second, true, &tally);
    fm_ledger_ack(&ledger, 0, second, false, &tally);
    fm_view_finish(&a, &gone, &tally);
    assert_int_equal(tally.missing, 1);
    assert_int_equal(fm_view_gap(&a, second.origin, 20, 20), FM_OK);
    fm_view_finish(&a, &gone, &tally);
    assert_int_equal(tally.declared, 1);
    assert_int_equal(tally.missing, 1);
}

static void a_copy_on_a_living_node_is_owed_though_the_other_ones_node_was_killed(void **state)
{
    (void)state;
    uint64_t k;
    kill_origin();
    assert_int_equal(fm_ledger_publish(&ledger, 1, HERE, &k), FM_OK);
    assert_true(fm_ledger_again(&ledger, k, HERE, true)); /* by then it was started again, as another origin */
    fm_view_take(&a, 0, (struct fm_id){ORIGIN, 5}, true, &tally);
    fm_ledger_ack(&ledger, 0, second, false, &tally);
    judge();
    assert_int_equal(tally.missing, 1);
}

static void a_second_attempt_has_a_tail_only_if_the_first_was_refused(void **state)
{
    for (int maybe = 0; maybe < 2; maybe++) {
        begin(state);
        kill_origin();
        uint64_t k;
        fm_view_connects(&a, ELSEWHERE);
        assert_int_equal(fm_ledger_publish(&ledger, 1, HERE, &k), FM_OK);
        assert_true(fm_ledger_again(&ledger, k, ELSEWHERE, maybe));
        fm_ledger_ack(&ledger, k, id_of(k), false, &tally);
        give(&a, k);
        judge();
        assert_int_equal(tally.tail_local, maybe ? 0 : 1);
        assert_int_equal(tally.missing, maybe ? 1 : 0); /* one of HERE's clients may have got a copy of its own */
        if (!maybe)
            end(state);
    }
}

static void refused_everywhere_is_owed_to_nobody_and_perhaps_accepted_may_come(void **state)
{
    (void)state;
    publish_twice();
    publish_twice();
    fm_ledger_refuse(&ledger, 0);
    fm_ledger_unanswered(&ledger, 1);
    fm_view_take(&a, 1, second, true, &tally);
    judge();
    assert_int_equal(tally.partial, 1);
    assert_false(fm_tally_broken(&tally));
    assert_int_equal(ledger.silent, 0);
    uint64_t k;
    assert_int_equal(fm_ledger_publish(&ledger, 1, HERE, &k), FM_OK);
    for (int i = 1; i < FM_LEDGER_ATTEMPTS_MAX; i++)
        assert_true(fm_ledger_again(&ledger, k, HERE, true));
    assert_false(fm_ledger_again(&ledger, k, HERE, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(two_copies_from_two_nodes_are_allowed_to_a_client_that_moved),
        LEDGER_TEST(what_a_client_had_counts_as_before_where_the_new_node_does_not_know_its_origin),
        LEDGER_TEST(two_copies_on_one_connection_are_doubled),
        LEDGER_TEST(a_message_has_no_more_ids_than_attempts_and_one_of_each_node),
        LEDGER_TEST(three_copies_are_told_apart),
        LEDGER_TEST(a_message_with_two_copies_is_missing_if_neither_came_and_told_if_one_was),
        LEDGER_TEST(a_copy_on_a_living_node_is_owed_though_the_other_ones_node_was_killed),
        LEDGER_TEST(a_second_attempt_has_a_tail_only_if_the_first_was_refused),
        LEDGER_TEST(refused_everywhere_is_owed_to_nobody_and_perhaps_accepted_may_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
