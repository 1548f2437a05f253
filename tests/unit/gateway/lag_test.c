/* A subscriber that is behind: what is kept, what is declared, and in which order. */
#include "../../../gateway/worker/lag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

enum { PLENTY = 1 << 20 };

static struct fm_lag lag;
static char told[512]; /* "1:4 [1:5..6 x2] ": messages, and gaps with the number left out */

static void begin(bool conflate, uint64_t sent)
{
    struct fm_vector at = {0};
    assert_int_equal(fm_vector_set(&at, 1, sent), FM_OK);
    fm_lag_init(&lag, &at, conflate);
    told[0] = 0;
}

static int tear_down(void **state)
{
    (void)state;
    fm_lag_fini(&lag);
    return 0;
}

static struct fm_msg *message(uint64_t origin, uint64_t seq, uint64_t prev, const char *key)
{
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("e"), (struct fm_msg_keys){.conflation = fm_slice_str(key)}, FM_LIT("{}"), 0);
    assert_non_null(m);
    fm_msg_accept(m, (struct fm_id){origin, seq}, prev, 1);
    return m;
}

static void feed_as(uint64_t origin, uint64_t seq, uint64_t prev, const char *key, bool own, size_t bytes_max)
{
    struct fm_msg *m = message(origin, seq, prev, key);
    assert_int_equal(fm_lag_feed(&lag, m, own, bytes_max), FM_OK);
    fm_msg_unref(&m);
}

static void feed(uint64_t seq, const char *key)
{
    feed_as(1, seq, seq - 1, key, false, PLENTY);
}

static void own(uint64_t seq)
{
    feed_as(1, seq, seq - 1, "", true, PLENTY);
}

/* One step. false: there is nothing more. */
static bool step(void)
{
    struct fm_gap gap;
    struct fm_msg *m;
    size_t n = strlen(told);
    switch (fm_lag_peek(&lag, &gap, &m)) {
    case FM_LAG_DONE:
        return false;
    case FM_LAG_GAP:
        assert_int_equal(gap.reason, FM_GAP_SLOW);
        snprintf(told + n, sizeof told - n, "[%d:%d..%d x%d] ", (int)gap.origin, (int)gap.from, (int)gap.to, (int)gap.skipped);
        break;
    case FM_LAG_MSG:
        snprintf(told + n, sizeof told - n, "%d:%d ", (int)m->id.origin, (int)m->id.seq);
        break;
    }
    assert_int_equal(fm_lag_take(&lag, &m), FM_OK);
    fm_msg_unref(&m);
    return true;
}

static void assert_told(const char *text)
{
    while (step()) {
    }
    assert_string_equal(told, text);
    told[0] = 0;
}

static void what_is_dropped_is_one_gap_an_origin(void **state)
{
    (void)state;
    begin(false, 4);
    feed(5, "");
    feed(6, "");
    feed_as(2, 8, 3, "", false, PLENTY);
    feed(7, "");
    assert_told("[1:5..7 x3] [2:4..8 x1] "); /* nothing is known of what origin 2 had before: it came before the topic did */
    assert_int_equal(lag.left, 4);
    assert_int_equal(fm_vector_get(&lag.sent, 1), 7);
    assert_int_equal(fm_vector_get(&lag.sent, 2), 8);
}

static void the_newest_of_each_key_is_kept_and_each_hole_before_it_is_declared(void **state)
{
    (void)state;
    begin(true, 0);
    feed(1, "a");
    feed(2, "b");
    feed(3, "a");
    feed(4, "c");
    feed(5, "a");
    assert_told("[1:1..1 x1] 1:2 [1:3..3 x1] 1:4 1:5 ");
    assert_int_equal(lag.left, 2);
    assert_int_equal(lag.conflated, 2);
}

static void messages_without_a_key_replace_each_other(void **state)
{
    (void)state;
    begin(true, 0);
    for (uint64_t seq = 1; seq <= 5; seq++)
        feed(seq, "");
    assert_told("[1:1..4 x4] 1:5 ");
}

static void one_that_came_first_and_was_not_replaced_is_given_without_a_gap(void **state)
{
    (void)state;
    begin(true, 3);
    feed_as(1, 9, 3, "a", false, PLENTY); /* seqs between belong to other topics */
    assert_told("1:9 ");
}

static void beyond_its_bytes_the_oldest_kept_is_left_out(void **state)
{
    (void)state;
    struct fm_msg *m = message(1, 1, 0, "a");
    size_t one = fm_msg_size(m);
    fm_msg_unref(&m);
    begin(true, 0);
    feed(1, "a");
    size_t cost = lag.bytes;
    assert_true(cost > one);
    feed_as(1, 2, 1, "b", false, 3 * cost);
    feed_as(1, 3, 2, "c", false, 3 * cost);
    feed_as(1, 4, 3, "d", false, 3 * cost);
    feed_as(1, 5, 4, "e", false, 2 * cost);
    assert_told("[1:1..3 x3] 1:4 1:5 ");
    assert_int_equal(lag.conflated, 0);
    assert_int_equal(lag.bytes, 0);
    feed_as(1, 6, 5, "f", false, 1); /* the newest stays, whatever it costs */
    assert_told("1:6 ");
}

static void what_it_pushed_itself_is_no_gap(void **state)
{
    (void)state;
    begin(true, 0);
    own(1); /* nothing is outstanding: the position moves on */
    feed(2, "a");
    own(3);
    own(4);
    feed(5, "b");
    assert_told("1:2 1:5 ");
    fm_lag_fini(&lag);
    begin(false, 0);
    own(1);
    assert_told("");
    feed(2, "");
    own(3);
    feed(4, "");
    assert_told("[1:2..4 x2] ");
}

static void what_nobody_is_given_is_no_gap_where_nothing_was_left_out(void **state)
{
    (void)state;
    begin(true, 5);
    feed_as(1, 8, 7, "a", false, PLENTY); /* 7 was the second with its idempotency key */
    feed_as(1, 10, 9, "b", false, PLENTY);
    assert_told("1:8 1:10 ");
}

static void what_it_has_from_elsewhere_is_not_fed(void **state)
{
    (void)state;
    begin(true, 10);
    feed(9, "a");
    feed(10, "b");
    feed(11, "c");
    assert_told("1:11 ");
}

static void a_gap_of_the_topic_is_declared_in_its_place(void **state)
{
    (void)state;
    begin(true, 0);
    feed(1, "a");
    assert_int_equal(fm_lag_gap(&lag, 1, 4), FM_OK);
    feed(5, "b");
    assert_int_equal(fm_lag_gap(&lag, 1, 9), FM_OK);
    assert_int_equal(fm_lag_gap(&lag, 3, 2), FM_OK);
    assert_told("1:1 [1:2..4 x0] 1:5 [1:6..9 x0] [3:1..2 x0] ");
}

static void after_an_unknown_loss_every_jump_is_declared(void **state)
{
    (void)state;
    struct fm_vector at = {0};
    begin(true, 0);
    feed(1, "a");
    assert_int_equal(fm_vector_set(&at, 1, 1), FM_OK);
    assert_int_equal(fm_lag_lost(&lag, &at), FM_OK);
    feed_as(1, 6, 5, "b", false, PLENTY);
    assert_int_equal(fm_vector_set(&at, 1, 9), FM_OK);
    assert_int_equal(fm_lag_lost(&lag, &at), FM_OK);
    assert_told("1:1 [1:2..5 x0] 1:6 [1:7..9 x0] ");
    fm_vector_fini(&at);
}

static void what_comes_while_it_catches_up_stands_behind(void **state)
{
    (void)state;
    begin(true, 0);
    feed(1, "a");
    feed(2, "b");
    feed(3, "a");
    assert_true(step() && step());
    feed(4, "b"); /* the other b is given already */
    feed(5, "a");
    assert_told("[1:1..1 x1] 1:2 [1:3..3 x1] 1:4 1:5 ");
}

static void more_origins_than_a_cursor_holds_are_refused(void **state)
{
    (void)state;
    begin(false, 1);
    enum fm_err err = FM_OK;
    for (uint64_t origin = 1; origin <= FM_CURSOR_MAX + 1; origin++) {
        struct fm_msg *m = message(origin, 5, 4, "");
        err = fm_lag_feed(&lag, m, false, PLENTY);
        fm_msg_unref(&m);
        assert_int_equal(err, origin > FM_CURSOR_MAX ? FM_E_TOO_MANY : FM_OK);
    }
}

/* ---- any order of events, against what must hold ---- */

enum { ORIGINS = 3, SEQS = 400, KEYS = 5 };

static struct world {
    uint64_t rng;
    uint64_t top[ORIGINS + 1], position[ORIGINS + 1]; /* fed; given or declared */
    enum { NOTHING, FED, GIVEN, DECLARED } what[ORIGINS + 1][SEQS];
    uint8_t key[ORIGINS + 1][SEQS];
    uint64_t skipped;
    struct fm_id newest[KEYS]; /* of each key */
} world;

static uint64_t some(uint64_t n)
{
    world.rng ^= world.rng << 13;
    world.rng ^= world.rng >> 7;
    world.rng ^= world.rng << 17;
    return world.rng % n;
}

static void any_message(size_t bytes_max)
{
    uint64_t origin = 1 + some(ORIGINS), prev = world.top[origin], seq = prev + 1 + some(3);
    if (seq >= SEQS)
        return;
    if (some(4) == 0 && seq > prev + 1)
        prev = seq - 1; /* that one was given to nobody */
    bool mine = some(8) == 0;
    uint8_t key = (uint8_t)some(KEYS);
    char text[8];
    snprintf(text, sizeof text, "k%d", key);
    feed_as(origin, seq, prev, text, mine, bytes_max);
    world.top[origin] = seq;
    if (mine)
        return;
    world.what[origin][seq] = FED;
    world.key[origin][seq] = key;
    world.newest[key] = (struct fm_id){origin, seq};
}

/* Nothing that was fed lies between the position and what is given now: it would be missing without a word. */
static void assert_settled(uint64_t origin, uint64_t to)
{
    for (uint64_t seq = world.position[origin] + 1; seq < to; seq++)
        assert_int_not_equal(world.what[origin][seq], FED);
}

static bool any_step(void)
{
    struct fm_gap gap;
    struct fm_msg *m;
    enum fm_lag_step next = fm_lag_peek(&lag, &gap, &m);
    if (next == FM_LAG_DONE)
        return false;
    if (next == FM_LAG_MSG) {
        struct fm_id id = m->id;
        assert_true(id.seq > world.position[id.origin]);
        assert_settled(id.origin, id.seq);
        assert_int_equal(world.what[id.origin][id.seq], FED);
        world.what[id.origin][id.seq] = GIVEN;
        world.position[id.origin] = id.seq;
    } else {
        uint64_t left = 0;
        assert_true(gap.from > world.position[gap.origin] && gap.from <= gap.to && gap.to <= world.top[gap.origin]);
        assert_settled(gap.origin, gap.from);
        for (uint64_t seq = gap.from; seq <= gap.to; seq++)
            if (world.what[gap.origin][seq] == FED) {
                world.what[gap.origin][seq] = DECLARED;
                left++;
            }
        assert_true(left > 0); /* no gap without a reason */
        assert_int_equal(gap.skipped, left);
        world.skipped += gap.skipped;
        world.position[gap.origin] = gap.to;
    }
    uint64_t origin = next == FM_LAG_MSG ? m->id.origin : gap.origin;
    assert_int_equal(fm_lag_take(&lag, &m), FM_OK);
    fm_msg_unref(&m);
    assert_true(fm_vector_get(&lag.sent, origin) >= world.position[origin]); /* its own behind it are passed over */
    return true;
}

static void in_any_order_of_events_each_message_is_given_once_or_declared_before_the_next(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        bool conflate = seed % 4 != 0;
        size_t bytes_max = seed % 3 == 0 ? 600 : PLENTY;
        memset(&world, 0, sizeof world);
        world.rng = seed * 0x9e3779b97f4a7c15u;
        begin(conflate, 0);
        for (int i = 0; i < 500; i++) {
            if (some(3))
                any_message(bytes_max);
            else
                any_step();
        }
        while (any_step()) {
        }
        for (uint64_t origin = 1; origin <= ORIGINS; origin++)
            assert_settled(origin, SEQS);
        assert_int_equal(world.skipped, lag.left);
        for (size_t k = 0; k < KEYS && conflate && bytes_max == PLENTY; k++)
            if (world.newest[k].seq)
                assert_int_equal(world.what[world.newest[k].origin][world.newest[k].seq], GIVEN);
        fm_lag_fini(&lag);
    }
    lag = (struct fm_lag){0};
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_dropped_is_one_gap_an_origin),
        TEST(the_newest_of_each_key_is_kept_and_each_hole_before_it_is_declared),
        TEST(messages_without_a_key_replace_each_other),
        TEST(one_that_came_first_and_was_not_replaced_is_given_without_a_gap),
        TEST(beyond_its_bytes_the_oldest_kept_is_left_out),
        TEST(what_it_pushed_itself_is_no_gap),
        TEST(what_nobody_is_given_is_no_gap_where_nothing_was_left_out),
        TEST(what_it_has_from_elsewhere_is_not_fed),
        TEST(a_gap_of_the_topic_is_declared_in_its_place),
        TEST(after_an_unknown_loss_every_jump_is_declared),
        TEST(what_comes_while_it_catches_up_stands_behind),
        TEST(more_origins_than_a_cursor_holds_are_refused),
        TEST(in_any_order_of_events_each_message_is_given_once_or_declared_before_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
