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

/* ---- nodes that were killed ---- */

enum { HERE, ELSEWHERE };

static void kill_origin(void)
{
    char text[FM_ORIGIN_TEXT_MAX + 1];
    unsigned line;
    size_t n = fm_origin_print(ORIGIN, text);
    assert_int_equal(fm_gone_read(&gone, fm_slice_of((const uint8_t *)text, n), &line), FM_OK);
}

/* One message that HERE took, with `a` as HERE's client and `b` as another's. */
static void publish_here(bool replicated)
{
    uint64_t k;
    a.node = HERE;
    b.node = ELSEWHERE;
    assert_int_equal(fm_ledger_publish(&ledger, 1, HERE, &k), FM_OK);
    fm_ledger_ack(&ledger, k, id_of(k), replicated, &tally);
}

static void what_nobody_got_of_a_killed_node_is_a_tail_and_of_a_living_one_missing(void **state)
{
    for (int killed = 0; killed < 2; killed++) {
        begin(state);
        if (killed)
            kill_origin();
        publish_here(false);
        judge();
        assert_int_equal(tally.tail_unknown, killed ? 2 : 0);
        assert_int_equal(tally.missing, killed ? 0 : 2);
        if (!killed)
            end(state);
    }
}

static void what_was_acknowledged_as_replicated_is_missing_whoever_was_killed(void **state)
{
    (void)state;
    kill_origin();
    publish_here(true);
    publish_here(true);
    give(&a, 1);
    judge();
    assert_int_equal(tally.missing, 3);
    assert_int_equal(tally.tail_unknown + tally.tail_local, 0);
}

static void what_only_clients_of_the_killed_node_got_is_its_tail_and_what_others_got_is_owed_to_all(void **state)
{
    (void)state;
    kill_origin();
    publish_here(false);
    publish_here(false);
    give(&b, 0);
    give(&a, 1);
    judge();
    assert_int_equal(tally.tail_local, 1);
    assert_int_equal(tally.missing, 1);
    assert_int_equal(tally.tail_unknown, 0);
}

/* Whoever was given a later one, or a position behind it, is on a node that knew of it: it had to be told. */
static void what_a_subscriber_was_led_past_is_no_tail(void **state)
{
    (void)state;
    kill_origin();
    for (int i = 0; i < 4; i++)
        publish_here(false);
    give(&b, 0);
    give(&b, 2);
    judge();
    assert_int_equal(tally.missing, 3);      /* b: 1, a: 0 and 2 */
    assert_int_equal(tally.tail_unknown, 3); /* a: 1 and 3, b: 3 */
    assert_int_equal(fm_view_gap(&b, ORIGIN, 4, 4), FM_OK);
    tally = (struct fm_tally){0};
    fm_view_finish(&b, &gone, &tally);
    assert_int_equal(tally.missing, 1);
    assert_int_equal(tally.declared, 1);
}

static void where_nobody_knows_which_node_took_it_any_client_counts_as_anothers(void **state)
{
    (void)state;
    kill_origin();
    publish(1, true);
    give(&a, 0);
    judge();
    assert_int_equal(tally.missing, 1);
    assert_int_equal(tally.tail_local, 0);
}

static void a_file_of_killed_origins_is_read_or_its_bad_line_named(void **state)
{
    (void)state;
    unsigned line;
    assert_int_equal(fm_gone_read(&gone, FM_LIT("\n1F\n\nk3fa9Qz"), &line), FM_OK);
    assert_int_equal(gone.n, 2);
    assert_true(fm_gone_has(&gone, 77) && !fm_gone_has(&gone, 78));
    assert_int_equal(fm_gone_read(&gone, FM_LIT("1F\n1F-3\n"), &line), FM_E_SYNTAX);
    assert_int_equal(line, 2);
    static const char *const bad[] = {"0", "1F ", "1F\r", "123456789012", "zzzzzzzzzzz", "-"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(fm_gone_read(&gone, fm_slice_str(bad[i]), &line), FM_E_SYNTAX);
}

/* ---- published again with a key ---- */

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
        a.node = ELSEWHERE;
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

/* ---- excuses ---- */

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
        T(what_nobody_got_of_a_killed_node_is_a_tail_and_of_a_living_one_missing),
        T(what_was_acknowledged_as_replicated_is_missing_whoever_was_killed),
        T(what_only_clients_of_the_killed_node_got_is_its_tail_and_what_others_got_is_owed_to_all),
        T(what_a_subscriber_was_led_past_is_no_tail),
        T(where_nobody_knows_which_node_took_it_any_client_counts_as_anothers),
        T(a_file_of_killed_origins_is_read_or_its_bad_line_named),
        T(two_copies_from_two_nodes_are_allowed_to_a_client_that_moved),
        T(what_a_client_had_counts_as_before_where_the_new_node_does_not_know_its_origin),
        T(two_copies_on_one_connection_are_doubled),
        T(a_message_has_no_more_ids_than_attempts_and_one_of_each_node),
        T(three_copies_are_told_apart),
        T(a_message_with_two_copies_is_missing_if_neither_came_and_told_if_one_was),
        T(a_copy_on_a_living_node_is_owed_though_the_other_ones_node_was_killed),
        T(a_second_attempt_has_a_tail_only_if_the_first_was_refused),
        T(refused_everywhere_is_owed_to_nobody_and_perhaps_accepted_may_come),
        T(a_gap_of_all_declares_up_to_its_cursor_and_no_further),
        T(a_gap_of_all_says_nothing_of_origins_that_it_does_not_name),
        T(what_follows_of_a_forgotten_origin_that_is_back_is_owed_again),
        T(declared_ranges_stay_few_and_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
