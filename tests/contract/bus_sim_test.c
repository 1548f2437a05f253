/* The simulator's bus against the contract, without faults; then its faults: each does what it says, or the simulation proves nothing. */
#include "bus_contract.h"
#include "bus_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct env {
    struct fm_sim_clock *clock;
    struct fm_sim_net *net;
};

static const struct fm_sim_faults none = {
    .delay_us_min = 100, .delay_us_max = 2000, .detect_us_min = 500 * FM_SIM_MS, .detect_us_max = 1000 * FM_SIM_MS};
static struct env *now_open; /* the world of the test that runs */

static void *sim_open_world(void)
{
    struct env *env = calloc(1, sizeof *env);
    assert_non_null(env);
    env->clock = fm_sim_clock_new();
    env->net = fm_sim_net_new(env->clock, 1, &none);
    fm_sim_net_use(env->net);
    now_open = env;
    return env;
}

static void sim_close_world(void *ctx)
{
    struct env *env = ctx;
    fm_sim_net_free(&env->net);
    fm_sim_clock_free(&env->clock);
    free(env);
    now_open = NULL;
}

static void sim_address(void *ctx, unsigned probe, char listen[64], char listen_ask[64])
{
    (void)ctx;
    (void)snprintf(listen, 64, "10.1.0.%u:7000", probe);
    (void)snprintf(listen_ask, 64, "10.1.0.%u:7001", probe);
}

static void sim_run_world(void *ctx, unsigned ms)
{
    struct env *env = ctx;
    fm_sim_run(env->clock, (uint64_t)ms * FM_SIM_MS);
}

static const struct bus_adapter sim = {
    .ops = &fm_bus_sim, .open = sim_open_world, .close = sim_close_world, .address = sim_address, .run = sim_run_world};

static int set_up(void **state)
{
    (void)state;
    probes_open(&sim);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    probes_close();
    return 0;
}

/* ---- help ---- */

static void faults_set(struct fm_sim_faults faults)
{
    fm_sim_net_faults_set(now_open->net, &faults);
}

static void number_publish(struct probe *p, uint8_t number)
{
    probe_publish(p, fm_slice_of(&number, 1));
}

/* Takes what arrived; its numbers in order of arrival. */
static unsigned numbers_take(struct probe *p, uint8_t *numbers, unsigned most)
{
    unsigned n = 0;
    const struct fm_bus_item *item;
    while ((item = probe_next_within(p, FM_BUS_ENVELOPE, PROBE_QUIET_MS)) != NULL) {
        assert_true(n < most && item->n == 1);
        numbers[n++] = item->bytes[0];
    }
    return n;
}

static void numbers_publish_slowly(struct probe *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        number_publish(p, (uint8_t)i);
        probe_run(1);
    }
}

/* ---- faults ---- */

static void packets_are_lost_at_the_rate_asked_for(void **state)
{
    (void)state;
    uint8_t got[256];
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    struct fm_sim_faults f = none;
    f.loss_ppm = 500000;
    faults_set(f);
    numbers_publish_slowly(a, 200);
    unsigned n = numbers_take(b, got, sizeof got);
    assert_true(n > 60 && n < 140);
    assert_int_equal(fm_sim_net_stats(now_open->net)->lost, 200 - n);
}

static void packets_are_doubled_within_their_order(void **state)
{
    (void)state;
    uint8_t got[256];
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    struct fm_sim_faults f = none;
    f.dup_ppm = 500000;
    faults_set(f);
    numbers_publish_slowly(a, 100);
    unsigned n = numbers_take(b, got, sizeof got);
    assert_true(n > 120 && n < 180);
    for (unsigned i = 1; i < n; i++)
        assert_true(got[i] == got[i - 1] || got[i] == got[i - 1] + 1);
}

static void a_link_reorders_only_when_told(void **state)
{
    (void)state;
    uint8_t got[256];
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    struct fm_sim_faults f = none;
    f.delay_us_max = 20 * FM_SIM_MS;
    for (unsigned reorder = 0; reorder < 2; reorder++) {
        f.reorder_in_link = reorder;
        faults_set(f);
        numbers_publish_slowly(a, 100);
        assert_int_equal(numbers_take(b, got, sizeof got), 100);
        unsigned disorder = 0;
        for (unsigned i = 1; i < 100; i++)
            disorder += got[i] < got[i - 1];
        assert_true(reorder ? disorder > 10 : disorder == 0);
    }
}

static void beyond_sixteen_queued_packets_are_dropped_silently(void **state)
{
    (void)state;
    uint8_t got[256];
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    struct fm_sim_faults f = none;
    f.send_us = 100;
    faults_set(f);
    for (unsigned i = 0; i < 50; i++)
        number_publish(a, (uint8_t)i);
    assert_int_equal(numbers_take(b, got, sizeof got), FM_SIM_QUEUE);
    assert_int_equal(fm_sim_net_stats(now_open->net)->overflowed, 50 - FM_SIM_QUEUE);
}

static void a_short_cut_stalls_a_long_one_ends_the_link_at_both_ends(void **state)
{
    (void)state;
    uint8_t got[256];
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    fm_sim_net_cut(now_open->net, a->listen, b->listen, false);
    for (unsigned i = 0; i < 20; i++)
        number_publish(a, (uint8_t)i);
    probe_none(b, FM_BUS_ENVELOPE);
    fm_sim_net_heal(now_open->net, a->listen, b->listen);
    assert_int_equal(numbers_take(b, got, sizeof got), FM_SIM_QUEUE);
    fm_sim_net_cut(now_open->net, a->listen, b->listen, false);
    probe_run(1000);
    (void)probe_next(a, FM_BUS_DOWN);
    (void)probe_next(b, FM_BUS_DOWN);
    probe_none(a, FM_BUS_UP);
    fm_sim_net_heal(now_open->net, a->listen, b->listen);
    (void)probe_next(a, FM_BUS_UP);
    (void)probe_next(b, FM_BUS_UP);
}

static void a_one_way_cut_stops_one_way(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    fm_sim_net_cut(now_open->net, a->listen, b->listen, true);
    probe_publish(a, FM_LIT("unheard"));
    probe_publish(b, FM_LIT("heard"));
    probe_assert_bytes(probe_next(a, FM_BUS_ENVELOPE), FM_LIT("heard"));
    probe_none(b, FM_BUS_ENVELOPE);
    probe_ask(a, b, 1, FM_LIT("?"), 300);
    probe_assert_failed(probe_next(a, FM_BUS_ANSWERED), 1);
}

static void a_stalled_node_reads_nothing_until_it_goes_on(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    fm_sim_net_stall(now_open->net, b->listen, true);
    probe_publish(a, FM_LIT("later"));
    probe_ask(a, b, 1, FM_LIT("?"), 5000);
    probe_run(3000);
    probe_none(b, FM_BUS_ENVELOPE);
    probe_none(b, FM_BUS_ASKED);
    fm_sim_net_stall(now_open->net, b->listen, false);
    probe_assert_bytes(probe_next(b, FM_BUS_ENVELOPE), FM_LIT("later"));
    probe_answer(b, probe_next(b, FM_BUS_ASKED)->handle, FM_LIT("!"));
    probe_assert_bytes(probe_next(a, FM_BUS_ANSWERED), FM_LIT("!"));
}

struct noted {
    uint64_t at[8];
    unsigned n;
};

static void note(void *ctx, uint64_t arg)
{
    struct noted *noted = ctx;
    noted->at[noted->n++] = arg;
}

static void events_of_one_instant_run_in_the_order_of_their_making(void **state)
{
    (void)state;
    struct noted noted = {0};
    struct fm_sim_clock *clock = now_open->clock;
    fm_sim_after(clock, 50, note, &noted, 3);
    fm_sim_after(clock, 10, note, &noted, 1);
    fm_sim_after(clock, 50, note, &noted, 4);
    fm_sim_after(clock, 20, note, &noted, 2);
    fm_sim_after(clock, 51, note, &noted, 5);
    uint64_t before_us = fm_sim_now_us(clock);
    fm_sim_run(clock, 50);
    assert_int_equal(fm_sim_now_us(clock), before_us + 50);
    assert_int_equal(noted.n, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(noted.at[i], i + 1);
    fm_sim_run(clock, 1);
    assert_int_equal(noted.n, 5);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(packets_are_lost_at_the_rate_asked_for),
        TEST(packets_are_doubled_within_their_order),
        TEST(a_link_reorders_only_when_told),
        TEST(beyond_sixteen_queued_packets_are_dropped_silently),
        TEST(a_short_cut_stalls_a_long_one_ends_the_link_at_both_ends),
        TEST(a_one_way_cut_stops_one_way),
        TEST(a_stalled_node_reads_nothing_until_it_goes_on),
        TEST(events_of_one_instant_run_in_the_order_of_their_making),
    };
#undef TEST
    int failed = bus_contract_run(&sim);
    return failed + cmocka_run_group_tests_name("bus_sim", tests, NULL, NULL);
}
