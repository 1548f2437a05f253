/* Topics whose rule is drop or conflate, and clients that take nothing for a while. */
#include "subs_fixture.h"

static struct fm_sub *behind; /* client 0's; client 1 keeps up */

static void begin(enum fm_slow slow)
{
    rule.slow = slow;
    behind = join(0, FM_FORMAT_PHX2, 0, 0);
    join(1, FM_FORMAT_PHX2, 0, 0);
}

static void flushed(uint64_t from, uint64_t to)
{
    messages(from, to);
    fm_subs_flush_all(&worker);
}

/* Client i takes nothing any more, and owes so many bytes. */
static void stick(size_t i, size_t owes)
{
    clients[i].stuck = true;
    clients[i].owes = owes;
}

static void drained(size_t i)
{
    clients[i].stuck = false;
    clients[i].owes = 0;
    fm_subs_catch_up(&clients[i].socket);
}

/* Client 0 follows a topic with this rule and has stopped reading; client 1 keeps up. */
static void begin_stuck(enum fm_slow slow)
{
    begin(slow);
    stick(0, ROOM);
}

/* The same after three messages, with a fourth left out, and then the worker lost some. */
static void begin_overrun(void)
{
    begin(FM_SLOW_DROP);
    flushed(1, 3);
    assert_got(0, "1 2 3 ");
    stick(0, ROOM);
    flushed(4, 4);
    overrun();
}

/* The hub declares a gap of the topic. */
static void lost(uint64_t from, uint64_t to)
{
    struct fm_gap *g = calloc(1, sizeof *g + 1);
    *g = (struct fm_gap){.reason = FM_GAP_LOST, .origin = 1, .from = from, .to = to, .cursor = at(to), .topic_n = 1};
    g->topic[0] = 't';
    fm_subs_gap(&worker, g);
    fm_gap_free(&g);
}

static void assert_position(uint64_t seq)
{
    struct fm_vector position = {0};
    assert_int_equal(fm_subs_position(behind, &position), FM_OK);
    assert_int_equal(fm_vector_get(&position, 1), seq);
    fm_vector_fini(&position);
}

static void what_does_not_fit_is_left_out_and_declared_before_what_follows(void **state)
{
    (void)state;
    begin(FM_SLOW_DROP);
    flushed(1, 2);
    stick(0, ROOM);
    flushed(3, 5);
    flushed(6, 6);
    assert_got(0, "1 2 ");
    assert_got(1, "1 2 3 4 5 6 ");
    assert_int_equal(clients[0].closes, 0);
    assert_position(2); /* where a rejoin on this socket goes on from */
    assert_int_equal(worker.stats.slow_lagging, 1);
    drained(0);
    assert_got(0, "[1:3..6 x4] ");
    assert_string_equal(clients[0].gap_cursor, "[\"1-6\"]");
    assert_position(6);
    assert_null(behind->lag);
    flushed(7, 7);
    assert_got(0, "7 ");
    assert_ptr_equal(clients[0].last, clients[1].last); /* it is like any other again */
    assert_int_equal(worker.stats.slow_lags, 1);
    assert_int_equal(worker.stats.slow_skipped, 4);
    assert_int_equal(worker.stats.slow_lagging, 0);
    assert_int_equal(worker.stats.deliveries, 2 * 7 - 4);
}

static void under_conflate_the_newest_arrives(void **state)
{
    (void)state;
    begin_stuck(FM_SLOW_CONFLATE);
    flushed(1, 3);
    flushed(4, 5);
    drained(0);
    assert_got(0, "[1:1..4 x4] 5 ");
    assert_int_equal(worker.stats.slow_conflated, 4);
    flushed(6, 6);
    assert_got(0, "6 ");
}

static void under_disconnect_it_is_given_all_the_same(void **state)
{
    (void)state;
    begin_stuck(FM_SLOW_DISCONNECT);
    flushed(1, 3);
    assert_got(0, "1 2 3 "); /* the outbox's own limit judges it */
    assert_null(behind->lag);
}

static void a_sub_that_is_ahead_falls_behind_like_any_other(void **state)
{
    (void)state;
    rule.slow = FM_SLOW_DROP;
    behind = join(0, FM_FORMAT_PHX2, 0, 4);
    join(1, FM_FORMAT_PHX2, 0, 0);
    stick(0, ROOM);
    flushed(1, 2); /* nothing for it: it is not behind */
    assert_null(behind->lag);
    flushed(3, 6);
    assert_non_null(behind->lag);
    assert_null(behind->skip); /* the node has passed it */
    drained(0);
    assert_got(0, "[1:5..6 x2] ");
    flushed(7, 7);
    assert_got(0, "7 ");
}

static void what_it_pushed_itself_does_not_count_as_left_out(void **state)
{
    (void)state;
    begin_stuck(FM_SLOW_DROP);
    fm_subs_message(&worker, msg(1, behind->id));
    flushed(2, 2);
    fm_subs_message(&worker, msg(3, behind->id));
    fm_subs_flush_all(&worker);
    drained(0);
    assert_got(0, "[1:2..3 x1] ");
}

static void a_gap_of_the_topic_waits_for_its_turn(void **state)
{
    (void)state;
    begin_stuck(FM_SLOW_CONFLATE);
    flushed(1, 1);
    lost(2, 5);
    assert_int_equal(clients[0].gaps, 0);
    assert_int_equal(clients[1].gaps, 1);
    drained(0);
    assert_got(0, "1 [1:2..5 x0] ");
}

/* Nothing that is known to come lies before it. */
static void a_gap_without_an_end_does_not_wait_and_moves_nothing(void **state)
{
    (void)state;
    begin(FM_SLOW_CONFLATE);
    stick(0, ROOM);
    flushed(1, 1);
    struct fm_gap *g = calloc(1, sizeof *g + 1);
    *g = (struct fm_gap){.reason = FM_GAP_LOST, .origin = 1, .from = 2, .to = FM_GAP_OPEN, .cursor = at(1), .topic_n = 1};
    g->topic[0] = 't';
    fm_subs_gap(&worker, g);
    fm_gap_free(&g);
    assert_int_equal(clients[0].gaps, 1);
    flushed(2, 2);
    drained(0);
    assert_int_equal(clients[0].gaps, 2); /* the other is of the first, which the second replaced */
}

static void what_an_overrun_lost_is_declared_to_a_sub_that_is_behind(void **state)
{
    (void)state;
    begin_overrun();
    answer(asked(4), 7, 9, false);
    assert_int_equal(clients[0].gaps, 0);
    assert_int_equal(clients[1].gaps, 1);
    assert_position(3);
    drained(0);
    assert_got(0, "[1:4..9 x4] ");
    flushed(10, 10);
    assert_got(0, "10 ");
}

static void a_gap_missed_in_an_overrun_is_declared_though_nothing_follows(void **state)
{
    (void)state;
    begin_overrun();
    lost(5, 6);
    struct fm_join *j = asked(4);
    j->recovered = true;
    j->at = at(6);
    fm_subs_reread_done(&worker, j);
    fm_join_free(&j);
    drained(0);
    assert_got(0, "[1:4..6 x1] ");
}

static void a_round_ends_when_the_room_does_and_the_next_goes_on(void **state)
{
    (void)state;
    begin_stuck(FM_SLOW_CONFLATE);
    flushed(1, 5);
    clients[0].owes = ROOM - 10; /* still stuck: room for a gap, not for what follows it */
    fm_subs_catch_up(&clients[0].socket);
    assert_got(0, "[1:1..4 x4] ");
    assert_position(4); /* behind the gap, before the message */
    flushed(6, 6);
    drained(0);
    assert_got(0, "[1:5..5 x1] 6 ");
}

/* Otherwise it would wait until nothing at all is owed, which a socket with other busy topics may never reach. */
static void a_message_larger_than_one_write_needs_no_more_room_than_its_own(void **state)
{
    (void)state;
    static uint8_t payload[FM_WRITE_MAX + 1024];
    begin_stuck(FM_SLOW_CONFLATE);
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("e"), (struct fm_msg_keys){0}, fm_slice_of(payload, sizeof payload), FM_MSG_BINARY);
    fm_msg_accept(m, (struct fm_id){1, 1}, 0, 0);
    fm_subs_message(&worker, m);
    fm_subs_flush_all(&worker);
    clients[0].owes = ROOM - sizeof payload;
    fm_subs_catch_up(&clients[0].socket);
    assert_got(0, "");
    clients[0].owes = 1024;
    fm_subs_catch_up(&clients[0].socket);
    assert_got(0, "1 ");
}

static void who_leaves_while_behind_is_forgotten(void **state)
{
    (void)state;
    begin_stuck(FM_SLOW_CONFLATE);
    flushed(1, 3);
    fm_subs_remove(&worker, behind);
    assert_null(behind->lag);
    assert_null(clients[0].socket.lagging);
    assert_int_equal(worker.stats.slow_lagging, 0);
    free(behind);
    drained(0);
    assert_got(0, "");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_does_not_fit_is_left_out_and_declared_before_what_follows),
        CASE(under_conflate_the_newest_arrives),
        CASE(under_disconnect_it_is_given_all_the_same),
        CASE(a_sub_that_is_ahead_falls_behind_like_any_other),
        CASE(what_it_pushed_itself_does_not_count_as_left_out),
        CASE(a_gap_of_the_topic_waits_for_its_turn),
        CASE(a_gap_without_an_end_does_not_wait_and_moves_nothing),
        CASE(what_an_overrun_lost_is_declared_to_a_sub_that_is_behind),
        CASE(a_gap_missed_in_an_overrun_is_declared_though_nothing_follows),
        CASE(a_round_ends_when_the_room_does_and_the_next_goes_on),
        CASE(a_message_larger_than_one_write_needs_no_more_room_than_its_own),
        CASE(who_leaves_while_behind_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
