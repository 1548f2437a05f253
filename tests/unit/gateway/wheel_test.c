#include "../../../gateway/worker/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct probe {
    struct fm_timer timer;
    struct fm_wheel *wheel;
    struct probe *cancels;
    uint64_t again_ms;
    unsigned fired;
};

static void fire(void *ctx, struct fm_timer *t)
{
    (void)ctx;
    struct probe *p = (struct probe *)t;
    assert_false(fm_timer_is_set(t));
    p->fired++;
    if (p->cancels)
        fm_wheel_cancel(p->wheel, &p->cancels->timer);
    if (p->again_ms)
        fm_wheel_set(p->wheel, t, p->again_ms);
}

static void a_timer_fires_once_and_never_before_its_time(void **state)
{
    (void)state;
    static struct fm_wheel w;
    for (uint64_t after = 0; after < 400; after += 7) {
        fm_wheel_init(&w, 20, 1000);
        struct probe p = {.wheel = &w};
        uint64_t now = 1000 + after * 13 % 97;
        fm_wheel_advance(&w, now, fire, NULL);
        fm_wheel_set(&w, &p.timer, after);
        uint64_t end = now + after + 60, fired_at = 0;
        for (uint64_t t = now; t <= end; t++) {
            fm_wheel_advance(&w, t, fire, NULL);
            if (p.fired && !fired_at)
                fired_at = t;
        }
        assert_int_equal(p.fired, 1);
        assert_true(fired_at >= now + after && fired_at <= now + after + 40);
        assert_int_equal(w.n, 0);
    }
}

static void a_timer_beyond_the_wheels_turn_waits_for_its_own_turn(void **state)
{
    (void)state;
    static struct fm_wheel w;
    fm_wheel_init(&w, 10, 0);
    struct probe far = {.wheel = &w}, near = {.wheel = &w};
    fm_wheel_set(&w, &far.timer, 10 * (FM_WHEEL_SLOTS + 5));
    fm_wheel_set(&w, &near.timer, 50);
    fm_wheel_advance(&w, 10 * 200, fire, NULL);
    assert_int_equal(near.fired, 1);
    assert_int_equal(far.fired, 0);
    for (uint64_t t = 2000; t < 10 * (FM_WHEEL_SLOTS + 5); t += 10)
        fm_wheel_advance(&w, t, fire, NULL);
    assert_int_equal(far.fired, 0);
    fm_wheel_advance(&w, 10 * (FM_WHEEL_SLOTS + 8), fire, NULL);
    assert_int_equal(far.fired, 1);
}

static void a_late_wheel_fires_all_that_is_due_at_once(void **state)
{
    (void)state;
    static struct fm_wheel w;
    fm_wheel_init(&w, 10, 0);
    struct probe p[300] = {0};
    for (size_t i = 0; i < 300; i++) {
        p[i].wheel = &w;
        fm_wheel_set(&w, &p[i].timer, i * 100);
    }
    fm_wheel_advance(&w, 1000 * 1000, fire, NULL);
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(p[i].fired, 1);
    assert_int_equal(w.n, 0);
}

static void a_timer_may_be_cancelled_by_another_that_fires_in_the_same_tick(void **state)
{
    (void)state;
    static struct fm_wheel w;
    fm_wheel_init(&w, 10, 0);
    struct probe a = {.wheel = &w}, b = {.wheel = &w};
    a.cancels = &b;
    b.cancels = &a;
    fm_wheel_set(&w, &a.timer, 30);
    fm_wheel_set(&w, &b.timer, 30);
    fm_wheel_advance(&w, 100, fire, NULL);
    assert_int_equal(a.fired + b.fired, 1);
    assert_int_equal(w.n, 0);
}

static void a_timer_that_sets_itself_again_fires_in_a_later_advance(void **state)
{
    (void)state;
    static struct fm_wheel w;
    fm_wheel_init(&w, 10, 0);
    struct probe p = {.wheel = &w, .again_ms = 10 * FM_WHEEL_SLOTS - 10};
    fm_wheel_set(&w, &p.timer, 10);
    fm_wheel_advance(&w, 1000, fire, NULL);
    assert_int_equal(p.fired, 1);
    fm_wheel_advance(&w, 1000 + 10 * FM_WHEEL_SLOTS + 20, fire, NULL);
    assert_int_equal(p.fired, 2);
    fm_wheel_cancel(&w, &p.timer);
    fm_wheel_cancel(&w, &p.timer);
    assert_int_equal(w.n, 0);
}

static void what_is_due_waits_for_as_long_as_the_wheel_rests(void **state)
{
    (void)state;
    static struct fm_wheel w;
    fm_wheel_init(&w, 10, 1000);
    struct probe before = {.wheel = &w}, after = {.wheel = &w};
    fm_wheel_set(&w, &before.timer, 100);
    fm_wheel_advance(&w, 1050, fire, NULL);
    fm_wheel_rest(&w, 5000 + 300); /* it stood still for 5000, and 300 more are granted */
    fm_wheel_advance(&w, 6050, fire, NULL);
    fm_wheel_set(&w, &after.timer, 20);
    fm_wheel_advance(&w, 6050 + 300, fire, NULL);
    assert_int_equal(before.fired + after.fired, 0);
    fm_wheel_advance(&w, 6050 + 300 + 40, fire, NULL);
    assert_true(after.fired == 1 && before.fired == 0);
    fm_wheel_advance(&w, 6050 + 300 + 70, fire, NULL);
    assert_int_equal(before.fired, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_fires_once_and_never_before_its_time),
        cmocka_unit_test(a_timer_beyond_the_wheels_turn_waits_for_its_own_turn),
        cmocka_unit_test(a_late_wheel_fires_all_that_is_due_at_once),
        cmocka_unit_test(a_timer_may_be_cancelled_by_another_that_fires_in_the_same_tick),
        cmocka_unit_test(a_timer_that_sets_itself_again_fires_in_a_later_advance),
        cmocka_unit_test(what_is_due_waits_for_as_long_as_the_wheel_rests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
