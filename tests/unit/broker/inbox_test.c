/* When an inbox wakes its owner. */
#include "../../../broker/inbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <string.h>

static unsigned woken;
static struct fm_inbox in;
static struct fm_item items[4];

static void wake(void *ctx)
{
    (void)ctx;
    woken++;
}

static int setup(void **state)
{
    (void)state;
    woken = 0;
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < 4; i++)
        items[i].cost = 10;
    return fm_inbox_init(&in, 35, wake, NULL);
}

static int teardown(void **state)
{
    (void)state;
    (void)fm_inbox_take(&in, NULL);
    fm_inbox_fini(&in, NULL);
    return 0;
}

static void only_a_post_into_an_empty_inbox_wakes_its_owner(void **state)
{
    (void)state;
    assert_int_equal(fm_inbox_post(&in, &items[0]), FM_OK);
    assert_int_equal(fm_inbox_post(&in, &items[1]), FM_OK);
    assert_int_equal(woken, 1);
    assert_ptr_equal(fm_inbox_take(&in, NULL), &items[0]);
    assert_int_equal(fm_inbox_post(&in, &items[2]), FM_OK);
    assert_int_equal(woken, 2);
}

static void quiet_posts_wake_the_owner_once_when_that_is_asked_for(void **state)
{
    (void)state;
    assert_int_equal(fm_inbox_post_quietly(&in, &items[0]), FM_OK);
    assert_int_equal(fm_inbox_post_quietly(&in, &items[1]), FM_OK);
    assert_int_equal(woken, 0);
    fm_inbox_wake(&in);
    fm_inbox_wake(&in);
    assert_int_equal(woken, 1);
    assert_ptr_equal(fm_inbox_take(&in, NULL), &items[0]);
    assert_ptr_equal(items[0].next, &items[1]);
}

static void a_quiet_post_behind_one_that_has_woken_the_owner_does_not_wake_it_again(void **state)
{
    (void)state;
    assert_int_equal(fm_inbox_post(&in, &items[0]), FM_OK);
    assert_int_equal(fm_inbox_post_quietly(&in, &items[1]), FM_OK);
    fm_inbox_wake(&in);
    assert_int_equal(woken, 1);
}

static void a_post_behind_quiet_ones_wakes_the_owner_for_all(void **state)
{
    (void)state;
    assert_int_equal(fm_inbox_post_quietly(&in, &items[0]), FM_OK);
    fm_inbox_post_always(&in, &items[1]);
    assert_int_equal(woken, 1);
    fm_inbox_wake(&in);
    assert_int_equal(woken, 1);
}

static void what_the_owner_took_by_itself_needs_no_waking_any_more(void **state)
{
    (void)state;
    assert_int_equal(fm_inbox_post_quietly(&in, &items[0]), FM_OK);
    assert_ptr_equal(fm_inbox_take(&in, NULL), &items[0]);
    fm_inbox_wake(&in);
    assert_int_equal(woken, 0);
}

static void a_refused_post_leaves_the_waking_of_quiet_ones_to_those_who_made_them(void **state)
{
    (void)state;
    bool overrun;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(fm_inbox_post_quietly(&in, &items[i]), FM_OK);
    assert_int_equal(fm_inbox_post_quietly(&in, &items[3]), FM_E_BUSY);
    assert_int_equal(fm_inbox_post(&in, &items[3]), FM_E_BUSY);
    assert_int_equal(woken, 0);
    fm_inbox_wake(&in);
    assert_int_equal(woken, 1);
    assert_ptr_equal(fm_inbox_take(&in, &overrun), &items[0]);
    assert_true(overrun);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_a_post_into_an_empty_inbox_wakes_its_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(quiet_posts_wake_the_owner_once_when_that_is_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_quiet_post_behind_one_that_has_woken_the_owner_does_not_wake_it_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_post_behind_quiet_ones_wakes_the_owner_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_owner_took_by_itself_needs_no_waking_any_more, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_post_leaves_the_waking_of_quiet_ones_to_those_who_made_them, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
