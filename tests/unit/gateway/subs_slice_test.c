/* A large fan-out, given in slices: nothing is lost, doubled or out of order at anybody, whoever joins or leaves meanwhile. */
#include "subs_fixture.h"

/* ---- vocabulary ---- */

static int slices_of_one(void **state)
{
    int err = setup(state);
    worker.config.fanout_slice = 1;
    return err;
}

/* What a drain of the inbox does at its end. */
static bool turn(void)
{
    worker.slice_left = worker.config.fanout_slice;
    fm_subs_flush_all(&worker);
    return fm_subs_advance(&worker);
}

static void turns(void)
{
    while (turn())
        ;
}

static void leave(struct fm_sub *sub)
{
    fm_subs_hurry(&worker, sub);
    fm_subs_remove(&worker, sub);
    sub->socket->subs_n--;
    free(sub);
}

static unsigned having(const char *text)
{
    unsigned n = 0;
    for (size_t i = 0; i < CLIENTS; i++)
        n += clients[i].got.n == strlen(text) && memcmp(clients[i].got.p, text, clients[i].got.n) == 0;
    return n;
}

/* ---- tests ---- */

static void a_batch_for_many_goes_to_a_slice_of_them_in_each_turn(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        join(i, FM_FORMAT_PHX2, 0, 0);
    messages(1, 2);
    assert_true(turn());
    assert_int_equal(having("1 2 "), 1);
    assert_true(turn());
    assert_int_equal(having("1 2 "), 2);
    turns();
    assert_int_equal(having("1 2 "), CLIENTS);
    assert_int_equal(encodings, 1);
    assert_false(turn());
}

static void a_batch_for_as_many_as_a_slice_is_given_at_once(void **state)
{
    (void)state;
    worker.config.fanout_slice = CLIENTS;
    for (size_t i = 0; i < CLIENTS; i++)
        join(i, FM_FORMAT_PHX2, 0, 0);
    messages(1, 1);
    assert_false(turn());
    assert_int_equal(having("1 "), CLIENTS);
}

static void what_comes_meanwhile_follows_in_order_at_every_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        join(i, FM_FORMAT_PHX2, 0, 0);
    messages(1, 1);
    turn();
    messages(2, 2);
    turn();
    messages(3, 3);
    assert_int_equal(having("1 2 "), 0);
    turns();
    assert_int_equal(having("1 2 3 "), CLIENTS);
}

static void more_than_a_write_that_waits_behind_a_run_ends_its_slices(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 0, 0);
    join(1, FM_FORMAT_PHX2, 0, 0);
    messages(1, 1);
    turn();
    messages(2, 2000);
    assert_true(fm_wtopic_find(&worker, FM_LIT("t"))->batch.bytes < FM_WRITE_MAX);
    turns();
    assert_int_equal(clients[0].got.n, clients[1].got.n);
    assert_memory_equal(clients[0].got.p, clients[1].got.p, clients[1].got.n);
}

static void who_joins_meanwhile_is_not_given_what_its_answer_held(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 0, 0);
    join(1, FM_FORMAT_PHX2, 0, 0);
    messages(1, 1);
    turn();
    join(2, FM_FORMAT_PHX2, 1, 0); /* nothing waits behind the run */
    messages(2, 2);
    join(3, FM_FORMAT_PHX2, 2, 0); /* 2 does */
    messages(3, 3);
    turns();
    assert_got(0, "1 2 3 ");
    assert_got(1, "1 2 3 ");
    assert_got(2, "2 3 ");
    assert_got(3, "3 ");
    assert_false(fm_wtopic_find(&worker, FM_LIT("t"))->slots[3].filtered);
}

static void who_comes_when_all_have_left_is_not_given_what_waited_for_them(void **state)
{
    (void)state;
    struct fm_sub *subs[] = {join(0, FM_FORMAT_PHX2, 0, 0), join(1, FM_FORMAT_PHX2, 0, 0)};
    messages(1, 1);
    turn();
    messages(2, 2);
    leave(subs[0]);
    leave(subs[1]);
    join(2, FM_FORMAT_PHX2, 2, 0);
    messages(3, 3);
    turns();
    assert_got(2, "3 ");
}

/* Whoever leaves, and whenever: the others are given everything once. */
static void a_leave_at_any_moment_costs_nobody_else_a_message(void **state)
{
    for (size_t who = 0; who < CLIENTS; who++) {
        for (unsigned when = 0; when <= CLIENTS; when++) {
            struct fm_sub *subs[CLIENTS];
            for (size_t i = 0; i + 1 < CLIENTS; i++)
                subs[i] = join(i, FM_FORMAT_PHX2, 0, 0);
            messages(1, 1);
            turn();
            subs[CLIENTS - 1] = join(CLIENTS - 1, FM_FORMAT_PHX2, 1, 0);
            for (unsigned i = 1; i < when; i++)
                turn();
            leave(subs[who]);
            messages(2, 2);
            turns();
            for (size_t i = 0; i < CLIENTS; i++)
                assert_got(i, i == CLIENTS - 1 ? (i == who ? "" : "2 ") : i == who ? "1 " : "1 2 ");
            teardown(state);
            slices_of_one(state);
        }
    }
}

static void who_leaves_before_its_turn_is_given_what_its_position_says(void **state)
{
    (void)state;
    struct fm_vector position = {0};
    struct fm_sub *subs[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++)
        subs[i] = join(i, FM_FORMAT_PHX2, 0, 0);
    messages(1, 1);
    turn();
    assert_got(CLIENTS - 1, "");
    fm_subs_hurry(&worker, subs[CLIENTS - 1]);
    assert_got(CLIENTS - 1, "1 ");
    assert_int_equal(fm_subs_position(subs[CLIENTS - 1], &position), FM_OK);
    assert_int_equal(fm_vector_get(&position, 1), 1);
    turns();
    assert_got(CLIENTS - 1, "");
    for (size_t i = 0; i + 1 < CLIENTS; i++)
        assert_got(i, "1 ");
    fm_vector_fini(&position);
}

static void a_gap_is_told_behind_what_came_before_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        join(i, FM_FORMAT_PHX2, 0, 0);
    messages(1, 1);
    turn();
    messages(2, 2);
    struct fm_gap *g = calloc(1, sizeof *g + 1);
    *g = (struct fm_gap){.item.kind = FM_HUB_GAP, .reason = FM_GAP_LOST, .origin = 1, .from = 3, .to = 4, .topic_n = 1, .cursor = at(4)};
    g->topic[0] = 't';
    fm_subs_gap(&worker, g);
    assert_int_equal(having("1 2 "), CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(clients[i].gaps, 1);
    fm_gap_free(&g);
}

static void an_overrun_asks_from_behind_what_is_still_given(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        join(i, FM_FORMAT_PHX2, 0, 0);
    messages(1, 1);
    turn();
    messages(2, 2);
    overrun();
    answer(asked(2), 3, 4, true);
    turns();
    assert_int_equal(having("1 2 3 4 "), CLIENTS);
}

static void a_slow_subscriber_falls_behind_and_catches_up_between_slices(void **state)
{
    (void)state;
    rule.slow = FM_SLOW_DROP;
    for (size_t i = 0; i < CLIENTS; i++)
        join(i, FM_FORMAT_PHX2, 0, 0);
    clients[1].stuck = true;
    clients[1].owes = ROOM + 1;
    messages(1, 1);
    turn();
    messages(2, 2);
    turns();
    assert_got(1, "");
    clients[1].stuck = false;
    clients[1].owes = 0;
    messages(3, 3);
    turn();
    fm_subs_catch_up(&clients[1].socket);
    turns();
    messages(4, 4);
    turns();
    assert_got(0, "1 2 3 4 ");
    fm_buf_u8(&clients[1].got, 0); /* where it caught up decides whether 3 was left out, too */
    const char *got = (const char *)clients[1].got.p;
    if (strcmp(got, "[1:1..2 x2] 3 4 ") != 0)
        assert_string_equal(got, "[1:1..3 x3] 4 ");
}

/* Draws what happens, and holds what each client was given against a model. */
static void nothing_is_lost_or_doubled_in_any_order_of_events(void **state)
{
    (void)state;
    unsigned seed = 1;
    struct fm_sub *subs[CLIENTS] = {0};
    uint64_t seq = 0, from[CLIENTS] = {0};
    for (unsigned step = 0; step < 20000; step++) {
        seed = seed * 1103515245 + 12345;
        unsigned what = seed >> 16 & 7;
        size_t i = (seed >> 20) % CLIENTS;
        worker.config.fanout_slice = 1 + (seed >> 24) % 2;
        if (what < 3) {
            seq++;
            messages(seq, seq);
        } else if (what < 5) {
            turn();
        } else if (what < 7 && !subs[i]) {
            worker.slice_left = seed >> 28 & 1;
            from[i] = seq;
            subs[i] = join(i, FM_FORMAT_PHX2, seq, 0);
        } else if (subs[i]) {
            if (what == 7)
                turns();
            struct fm_vector position = {0};
            fm_subs_hurry(&worker, subs[i]);
            assert_int_equal(fm_subs_position(subs[i], &position), FM_OK);
            char text[1 << 16] = "", *end = text;
            for (uint64_t s = from[i] + 1; s <= fm_vector_get(&position, 1); s++)
                end += sprintf(end, "%d ", (int)s);
            if (what == 7)
                assert_int_equal(fm_vector_get(&position, 1), seq);
            assert_got(i, text);
            fm_vector_fini(&position);
            leave(subs[i]);
            subs[i] = NULL;
            fm_subs_flush_all(&worker); /* as at the end of every drain, before the loop settles */
            fm_subs_settle(&worker);
            while (posted_n)
                fm_hub_item_free(next_posted());
        }
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, slices_of_one, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_batch_for_many_goes_to_a_slice_of_them_in_each_turn),
        TEST(a_batch_for_as_many_as_a_slice_is_given_at_once),
        TEST(what_comes_meanwhile_follows_in_order_at_every_client),
        TEST(more_than_a_write_that_waits_behind_a_run_ends_its_slices),
        TEST(who_joins_meanwhile_is_not_given_what_its_answer_held),
        TEST(who_comes_when_all_have_left_is_not_given_what_waited_for_them),
        TEST(a_leave_at_any_moment_costs_nobody_else_a_message),
        TEST(who_leaves_before_its_turn_is_given_what_its_position_says),
        TEST(a_gap_is_told_behind_what_came_before_it),
        TEST(an_overrun_asks_from_behind_what_is_still_given),
        TEST(a_slow_subscriber_falls_behind_and_catches_up_between_slices),
        TEST(nothing_is_lost_or_doubled_in_any_order_of_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
