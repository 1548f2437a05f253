#include "../../../gateway/hooks/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct fm_breaker closed(void)
{
    return (struct fm_breaker){.open_after = 3, .open_ms = 100};
}

static struct fm_breaker opened_at(uint64_t now)
{
    struct fm_breaker b = closed();
    assert_false(fm_breaker_failed(&b, now));
    assert_false(fm_breaker_failed(&b, now));
    assert_true(fm_breaker_failed(&b, now));
    return b;
}

static void it_opens_after_failures_in_a_row_only(void **state)
{
    (void)state;
    struct fm_breaker b = closed();
    for (int i = 0; i < 10; i++) {
        assert_false(fm_breaker_failed(&b, 0));
        assert_false(fm_breaker_failed(&b, 0));
        assert_false(fm_breaker_succeeded(&b));
        assert_true(fm_breaker_may(&b, 0));
    }
    b = opened_at(1000);
    assert_false(fm_breaker_may(&b, 1099));
    assert_int_equal(fm_breaker_rest_ms(&b, 1040), 60);
}

static void after_its_time_one_may_try_and_no_other(void **state)
{
    (void)state;
    struct fm_breaker b = opened_at(1000);
    assert_true(fm_breaker_would(&b, 1100));
    assert_true(fm_breaker_may(&b, 1100));
    assert_false(fm_breaker_may(&b, 5000));
    assert_true(fm_breaker_rest_ms(&b, 5000) > 0);
    assert_true(fm_breaker_succeeded(&b));
    assert_true(fm_breaker_may(&b, 5000));
    assert_int_equal(fm_breaker_rest_ms(&b, 5000), 0);
}

static void a_try_that_fails_keeps_it_open_as_long_again_and_is_no_news(void **state)
{
    (void)state;
    struct fm_breaker b = opened_at(1000);
    assert_true(fm_breaker_may(&b, 1200));
    assert_false(fm_breaker_failed(&b, 1300));
    assert_false(fm_breaker_may(&b, 1399));
    assert_true(fm_breaker_may(&b, 1400));
}

static void what_was_sent_before_it_opened_does_not_make_it_longer(void **state)
{
    (void)state;
    struct fm_breaker b = opened_at(1000);
    assert_false(fm_breaker_failed(&b, 1090));
    assert_true(fm_breaker_may(&b, 1100));
}

static void with_a_limit_of_zero_it_never_opens(void **state)
{
    (void)state;
    struct fm_breaker b = {.open_ms = 100};
    for (int i = 0; i < 1000; i++)
        assert_false(fm_breaker_failed(&b, 0));
    assert_true(fm_breaker_may(&b, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_after_failures_in_a_row_only),
        cmocka_unit_test(after_its_time_one_may_try_and_no_other),
        cmocka_unit_test(a_try_that_fails_keeps_it_open_as_long_again_and_is_no_news),
        cmocka_unit_test(what_was_sent_before_it_opened_does_not_make_it_longer),
        cmocka_unit_test(with_a_limit_of_zero_it_never_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
