/* What died with a node that was killed, and what did not. */
#include "ledger_fixture.h"

/* One message that HERE took, with `a` as HERE's client and `b` as another's. */
static void publish_here(bool replicated)
{
    uint64_t k;
    fm_view_connects(&a, HERE);
    fm_view_connects(&b, ELSEWHERE);
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

static void a_client_of_a_later_life_of_the_node_counts_as_anothers(void **state)
{
    for (int reconnects = 0; reconnects < 2; reconnects++) {
        begin(state);
        kill_origin();
        publish_here(false);
        uint64_t k;
        assert_int_equal(fm_ledger_publish(&ledger, 1, HERE, &k), FM_OK);
        fm_ledger_ack(&ledger, k, (struct fm_id){ORIGIN + 1, 1}, false, &tally); /* the node was killed and started again */
        if (reconnects)
            fm_view_connects(&a, HERE);
        give(&a, 0);
        fm_view_take(&a, k, (struct fm_id){ORIGIN + 1, 1}, true, &tally);
        fm_view_take(&b, k, (struct fm_id){ORIGIN + 1, 1}, true, &tally);
        judge();
        assert_int_equal(tally.tail_local, reconnects ? 0 : 1);
        assert_int_equal(tally.missing, reconnects ? 1 : 0); /* b's: the later life had it, and outlived the kill */
        if (!reconnects)
            end(state);
    }
}

/* Whose id it is that a retry is answered with, nobody knows. */
static void what_is_published_again_says_nothing_of_the_lives_of_its_node(void **state)
{
    (void)state;
    uint64_t k;
    kill_origin();
    publish_here(false);
    assert_int_equal(fm_ledger_publish(&ledger, 1, HERE, &k), FM_OK);
    assert_true(fm_ledger_again(&ledger, k, HERE, true));
    fm_ledger_ack(&ledger, k, (struct fm_id){ORIGIN + 1, 1}, false, &tally);
    fm_view_connects(&a, HERE);
    give(&a, 0);
    fm_view_take(&a, k, (struct fm_id){ORIGIN + 1, 1}, true, &tally);
    fm_view_take(&b, k, (struct fm_id){ORIGIN + 1, 1}, true, &tally);
    judge();
    assert_int_equal(tally.tail_local, 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(what_nobody_got_of_a_killed_node_is_a_tail_and_of_a_living_one_missing),
        LEDGER_TEST(what_was_acknowledged_as_replicated_is_missing_whoever_was_killed),
        LEDGER_TEST(what_only_clients_of_the_killed_node_got_is_its_tail_and_what_others_got_is_owed_to_all),
        LEDGER_TEST(a_client_of_a_later_life_of_the_node_counts_as_anothers),
        LEDGER_TEST(what_is_published_again_says_nothing_of_the_lives_of_its_node),
        LEDGER_TEST(what_a_subscriber_was_led_past_is_no_tail),
        LEDGER_TEST(where_nobody_knows_which_node_took_it_any_client_counts_as_anothers),
        LEDGER_TEST(a_file_of_killed_origins_is_read_or_its_bad_line_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
