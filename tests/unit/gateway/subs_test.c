/* Topics and deliveries without sockets, threads or a hub: what is given to whom is written down here. */
#include "subs_fixture.h"

/* ---- tests ---- */

static void a_batch_is_encoded_once_a_format_and_shared(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 0, 0);
    join(1, FM_FORMAT_PHX2, 0, 0);
    join(2, FM_FORMAT_PHX1, 0, 0);
    messages(1, 3);
    fm_subs_flush_all(&worker);
    assert_int_equal(encodings, 2);
    assert_ptr_equal(clients[0].last, clients[1].last);
    assert_got(0, "1 2 3 ");
    assert_got(1, "1 2 3 ");
    assert_got(2, "v1 v2 v3 ");
    assert_int_equal(fm_vector_get(&fm_wtopic_find(&worker, FM_LIT("t"))->at, 1), 3);
}

static void a_message_for_a_topic_without_subscribers_is_dropped(void **state)
{
    (void)state;
    messages(1, 2);
    fm_subs_flush_all(&worker);
    assert_int_equal(encodings, 0);
    assert_null(worker.topics);
}

static void a_large_batch_does_not_wait_for_the_end_of_the_drain(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 0, 0);
    messages(1, 2000);
    assert_true(clients[0].got.n > 0);
    assert_true(fm_wtopic_find(&worker, FM_LIT("t"))->batch.bytes < FM_WRITE_MAX);
    fm_subs_flush_all(&worker);
}

static void who_pushed_a_message_to_the_others_is_not_given_it(void **state)
{
    (void)state;
    struct fm_sub *a = join(0, FM_FORMAT_PHX2, 0, 0), *b = join(1, FM_FORMAT_PHX2, 0, 0);
    join(2, FM_FORMAT_PHX2, 0, 0);
    for (uint64_t seq = 1; seq <= 6; seq++)
        fm_subs_message(&worker, msg(seq, seq % 3 == 0 ? 0 : seq % 3 == 1 ? a->id : b->id));
    fm_subs_flush_all(&worker);
    assert_int_equal(encodings, 1);
    assert_got(0, "2 3 5 6 ");
    assert_got(1, "1 3 4 6 ");
    assert_got(2, "1 2 3 4 5 6 ");
}

static void choice(uint64_t seq)
{
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("choice"), (struct fm_msg_keys){0}, FM_LIT("{}"), 0);
    fm_msg_accept(m, (struct fm_id){1, seq}, seq - 1, 0);
    fm_subs_message(&worker, m);
}

static void who_chooses_is_given_what_it_wants_in_its_own_form_in_order_and_others_of_its_format_nothing_of_it(void **state)
{
    (void)state;
    join(0, FM_FORMAT_SUPA2, 0, 0);
    join(1, FM_FORMAT_PHX2, 0, 0);
    choosing = true;
    struct fm_sub *ahead = join(2, FM_FORMAT_SUPA2, 0, 5);
    join(3, FM_FORMAT_SUPA2, 0, 0);
    choosing = false;
    messages(1, 2);
    choice(3);
    choice(4);
    messages(5, 6);
    choice(7);
    fm_subs_flush_all(&worker);
    assert_got(0, "1 2 5 6 ");
    assert_got(1, "1 2 3 4 5 6 7 ");
    assert_got(2, "6 own7 ");
    assert_got(3, "1 2 own3 5 6 own7 ");
    assert_null(ahead->skip);
    choice(8); /* nobody of the format wants any of it */
    fm_subs_flush_all(&worker);
    assert_int_equal(clients[0].got.n + clients[2].got.n + clients[3].got.n, 0);
    assert_got(1, "8 ");
    messages(9, 9); /* what is for all is shared with them, too */
    fm_subs_flush_all(&worker);
    assert_ptr_equal(clients[0].last, clients[3].last);
    assert_int_equal(fm_wtopic_find(&worker, FM_LIT("t"))->choosers, 2);
}

static void nobody_is_counted_as_choosing_whose_place_was_taken_by_one_who_does_not(void **state)
{
    (void)state;
    choosing = true;
    struct fm_sub *channel = join(0, FM_FORMAT_SUPA2, 0, 0);
    choosing = false;
    join(1, FM_FORMAT_PHX2, 0, 0);
    struct fm_sub *of_user = calloc(1, sizeof *of_user);
    assert_non_null(of_user);
    *of_user = (struct fm_sub){.socket = channel->socket, .format = FM_FORMAT_PHX2_USER, .joined = true, .given = true};
    fm_subs_replace(&worker, channel, of_user);
    free(channel);
    assert_int_equal(fm_wtopic_find(&worker, FM_LIT("t"))->choosers, 0);
    choice(1);
    fm_subs_flush_all(&worker);
    assert_got(0, "1 ");
    assert_got(1, "1 ");
}

static void a_client_that_is_ahead_is_given_nothing_until_the_node_has_passed_it(void **state)
{
    (void)state;
    struct fm_sub *ahead = join(0, FM_FORMAT_PHX2, 2, 5);
    struct fm_vector position = {0};
    join(1, FM_FORMAT_PHX2, 2, 0);
    assert_int_equal(fm_subs_position(ahead, &position), FM_OK);
    assert_int_equal(fm_vector_get(&position, 1), 5);
    fm_vector_fini(&position);
    messages(3, 4);
    fm_subs_flush_all(&worker);
    assert_got(0, "");
    assert_got(1, "3 4 ");
    assert_non_null(ahead->skip);
    messages(5, 7);
    fm_subs_flush_all(&worker);
    assert_got(0, "6 7 ");
    assert_got(1, "5 6 7 ");
    assert_null(ahead->skip); /* from here on it is like any other */
    messages(8, 8);
    fm_subs_flush_all(&worker);
    assert_ptr_equal(clients[0].last, clients[1].last);
}

static void those_who_leave_are_told_to_the_hub_together(void **state)
{
    (void)state;
    struct fm_sub *subs[3];
    for (size_t i = 0; i < 3; i++)
        subs[i] = join(i, FM_FORMAT_PHX2, 0, 0);
    for (size_t i = 0; i < 2; i++) {
        fm_subs_remove(&worker, subs[i]);
        free(subs[i]);
    }
    assert_int_equal(posted_n, 0);
    fm_subs_settle(&worker);
    struct fm_leave *leave = (struct fm_leave *)next_posted();
    assert_int_equal(leave->subs, 2);
    fm_leave_free(&leave);
    assert_int_equal(posted_n, 0);
    messages(1, 1);
    fm_subs_flush_all(&worker);
    assert_got(0, "");
    assert_got(2, "1 ");
}

static void after_an_overrun_everything_is_read_again_from_where_the_subs_are(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 0, 0);
    messages(1, 3);
    fm_subs_flush_all(&worker);
    assert_got(0, "1 2 3 ");
    overrun();
    struct fm_join *j = asked(3);
    messages(9, 9); /* the answer will hold it */
    fm_subs_flush_all(&worker);
    assert_got(0, "");
    answer(j, 4, 9, true);
    assert_got(0, "4 5 6 7 8 9 ");
    assert_int_equal(clients[0].gaps, 0);
    messages(10, 10);
    fm_subs_flush_all(&worker);
    assert_got(0, "10 ");
}

static void what_an_overrun_lost_for_good_is_told_before_what_is_left(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 3, 0);
    overrun();
    answer(asked(3), 7, 9, false);
    assert_int_equal(clients[0].gaps, 1);
    assert_string_equal(clients[0].gap_cursor, "[\"1-6\"]");
    assert_got(0, "7 8 9 ");
}

static void a_hub_that_is_full_is_asked_again(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 3, 0);
    hub_busy = true;
    overrun();
    assert_int_equal(posted_n, 0);
    messages(4, 5);
    fm_subs_flush_all(&worker);
    assert_got(0, "");
    hub_busy = false;
    fm_subs_reread(&worker);
    answer(asked(3), 4, 5, true);
    assert_got(0, "4 5 ");
    fm_subs_reread(&worker);
    assert_int_equal(posted_n, 0);
}

static void who_joins_while_others_wait_for_the_answer_gets_nothing_twice(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 3, 0);
    overrun();
    struct fm_join *j = asked(3);
    join(1, FM_FORMAT_PHX2, 6, 0); /* its own answer held everything up to 6 */
    answer(j, 4, 8, true);
    assert_got(0, "4 5 6 7 8 ");
    assert_got(1, "7 8 ");
    messages(9, 9);
    fm_subs_flush_all(&worker);
    assert_got(0, "9 ");
    assert_got(1, "9 ");
}

static void a_gap_is_told_behind_what_came_before_it(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 0, 0);
    struct fm_sub *ahead = join(1, FM_FORMAT_PHX2, 0, 20);
    messages(1, 2);
    struct fm_gap *g = calloc(1, sizeof *g + 1);
    g->origin = 1;
    g->from = 3;
    g->to = 5;
    g->cursor = at(5);
    g->topic_n = 1;
    g->topic[0] = 't';
    fm_subs_gap(&worker, g);
    assert_got(0, "1 2 ");
    assert_string_equal(clients[0].gap_cursor, "[\"1-5\"]");
    assert_string_equal(clients[1].gap_cursor, "[\"1-20\"]"); /* a gap takes nobody back */
    assert_non_null(ahead->skip);
    overrun();
    struct fm_join *j = asked(5);
    fm_subs_gap(&worker, g);
    assert_int_equal(clients[0].gaps, 1); /* while it waits it is not told: its cursor would run ahead */
    answer(j, 6, 7, true);
    assert_int_equal(clients[0].gaps, 2);
    assert_got(0, "6 7 ");
    fm_gap_free(&g);
}

static void a_position_that_is_full_forgets_who_did_least(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 1, 0);
    struct fm_wtopic *t = fm_wtopic_find(&worker, FM_LIT("t"));
    for (uint64_t origin = 2; origin <= FM_CURSOR_MAX; origin++)
        assert_int_equal(fm_vector_set(&t->at, origin, 10), FM_OK);
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("e"), (struct fm_msg_keys){0}, FM_LIT("{}"), 0);
    fm_msg_accept(m, (struct fm_id){1000, 7}, 0, 0);
    fm_subs_message(&worker, m);
    fm_subs_flush_all(&worker);
    assert_got(0, "7 ");
    assert_int_equal(fm_vector_get(&t->at, 1000), 7);
    assert_false(fm_vector_has(&t->at, 1));
    assert_int_equal(t->at.n, FM_CURSOR_MAX);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_batch_is_encoded_once_a_format_and_shared),
        CASE(a_message_for_a_topic_without_subscribers_is_dropped),
        CASE(a_large_batch_does_not_wait_for_the_end_of_the_drain),
        CASE(who_pushed_a_message_to_the_others_is_not_given_it),
        CASE(who_chooses_is_given_what_it_wants_in_its_own_form_in_order_and_others_of_its_format_nothing_of_it),
        CASE(nobody_is_counted_as_choosing_whose_place_was_taken_by_one_who_does_not),
        CASE(a_client_that_is_ahead_is_given_nothing_until_the_node_has_passed_it),
        CASE(those_who_leave_are_told_to_the_hub_together),
        CASE(after_an_overrun_everything_is_read_again_from_where_the_subs_are),
        CASE(what_an_overrun_lost_for_good_is_told_before_what_is_left),
        CASE(a_hub_that_is_full_is_asked_again),
        CASE(who_joins_while_others_wait_for_the_answer_gets_nothing_twice),
        CASE(a_gap_is_told_behind_what_came_before_it),
        CASE(a_position_that_is_full_forgets_who_did_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
