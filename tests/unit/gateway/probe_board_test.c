#include "../../../gateway/probe/probe.h"

#include "../../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { TIMEOUT_MS = 5000, START_MS = 100000 };

static struct fm_probe_board board;
static char text[200];

static int set_up(void **state)
{
    (void)state;
    fm_diag_level_set(FM_ERROR);
    fm_probe_board_init(&board, 2);
    text[0] = 0;
    return 0;
}

static bool is_deaf(uint64_t now_ms)
{
    return fm_probe_is_deaf(&board, now_ms, text, sizeof text);
}

static bool late(unsigned line, uint64_t now_ms)
{
    return fm_probe_late(&board.at[line], FM_PROBE_LOST, now_ms, TIMEOUT_MS);
}

static void a_node_is_new_until_something_came_back_from_every_part(void **state)
{
    (void)state;
    assert_int_equal(board.n, 3);
    for (unsigned i = 0; i < board.n; i++) {
        assert_true(fm_probe_is_new(&board));
        assert_int_equal(atomic_load(&board.at[i].ok), 0);
        fm_probe_sent(&board.at[i], START_MS);
        fm_probe_came(&board.at[i], START_MS + 1, 700);
        assert_int_equal(atomic_load(&board.at[i].ok), 1);
        assert_int_equal(atomic_load(&board.at[i].round_trip_us), 700);
    }
    assert_false(fm_probe_is_new(&board));
    assert_false(is_deaf(START_MS + 1));
}

static void what_does_not_come_back_in_time_is_deaf_and_named_until_it_does(void **state)
{
    (void)state;
    fm_probe_sent(&board.at[1], START_MS);
    assert_false(late(1, START_MS + TIMEOUT_MS - 1));
    assert_false(is_deaf(START_MS + TIMEOUT_MS - 1));
    assert_true(late(1, START_MS + TIMEOUT_MS));
    assert_true(is_deaf(START_MS + 7300));
    assert_string_equal(text, "worker 1, for 7.3 s: messages are sent and do not come back");
    assert_int_equal(atomic_load(&board.at[1].ok), 0);
    fm_probe_sent(&board.at[2], START_MS);
    assert_true(late(2, START_MS + TIMEOUT_MS));
    assert_true(is_deaf(START_MS + 8000));
    assert_non_null(strstr(text, "worker 1, for 8.0 s"));
    assert_non_null(strstr(text, "; and 1 more"));
    fm_probe_came(&board.at[1], START_MS + 8000, 8000000);
    assert_true(is_deaf(START_MS + 8000));
    assert_non_null(strstr(text, "listener"));
    fm_probe_came(&board.at[2], START_MS + 8000, 8000000);
    assert_false(is_deaf(START_MS + 8000));
}

static void each_time_limit_in_which_nothing_came_counts_once(void **state)
{
    (void)state;
    fm_probe_sent(&board.at[0], START_MS);
    for (uint64_t ms = 0; ms <= 3 * TIMEOUT_MS; ms += 50)
        (void)late(0, START_MS + ms);
    assert_int_equal(atomic_load(&board.at[0].failures), 3);
    fm_probe_came(&board.at[0], START_MS + 3 * TIMEOUT_MS, 1);
    assert_false(late(0, START_MS + 9 * TIMEOUT_MS)); /* nothing is under way */
}

/* An overload may cost one; the next shows that the node hears. */
static void a_message_that_is_lost_is_no_deafness_where_a_later_one_comes(void **state)
{
    (void)state;
    for (uint64_t ms = 0; ms < 10 * TIMEOUT_MS; ms += 1000) {
        fm_probe_sent(&board.at[0], START_MS + ms);
        if (ms % 4000 == 0)
            fm_probe_came(&board.at[0], START_MS + ms + 1, 1000);
        assert_false(late(0, START_MS + ms + 2));
    }
    assert_int_equal(atomic_load(&board.at[0].failures), 0);
}

/* The clock that a tick began with may be older than what was sent since. */
static void what_was_sent_a_moment_later_is_not_late(void **state)
{
    (void)state;
    fm_probe_sent(&board.at[0], START_MS + 1);
    assert_false(late(0, START_MS));
}

static void time_in_which_the_process_stood_still_counts_for_nothing(void **state)
{
    (void)state;
    fm_probe_sent(&board.at[0], START_MS);
    fm_probe_paused(&board.at[0], 60000);
    fm_probe_paused(&board.at[1], 60000); /* waits for nothing */
    assert_false(late(0, START_MS + 60000 + TIMEOUT_MS - 1));
    assert_false(late(1, START_MS + 90000));
    assert_true(late(0, START_MS + 60000 + TIMEOUT_MS));
    assert_true(is_deaf(START_MS + 60000 + TIMEOUT_MS));
    assert_non_null(strstr(text, "worker 0, for 5.0 s"));
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_node_is_new_until_something_came_back_from_every_part),
        TEST(what_does_not_come_back_in_time_is_deaf_and_named_until_it_does),
        TEST(each_time_limit_in_which_nothing_came_counts_once),
        TEST(a_message_that_is_lost_is_no_deafness_where_a_later_one_comes),
        TEST(what_was_sent_a_moment_later_is_not_late),
        TEST(time_in_which_the_process_stood_still_counts_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
