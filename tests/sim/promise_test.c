/* The promise of fanmesh, held against many seeds: five nodes with loss, doubles, delays, and by seed every trouble of sim_cluster.h, small
 * logs, and next to no memory; clients that move with their cursors; publishers that retry. What is asserted is in sim_check.h.
 *
 *   FANMESH_SIM_SEEDS=1000 FANMESH_SIM_SEED=1   how many seeds (100), and the first (1)
 *   FANMESH_SIM_TRACE=1                         prints the last events before a fault; =all prints every event */
#include "sim_cluster.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

static uint64_t env_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    uint64_t n;
    return text && fm_slice_u64(fm_slice_str(text), UINT64_MAX, &n) == FM_OK ? n : otherwise;
}

static void faults_print(uint64_t seed, const struct fm_verdict *v)
{
    for (unsigned i = 0; i < FM_FAULT_COUNT; i++)
        if (v->count[i])
            print_message("seed %llu: %s, %u times: %s\n", (unsigned long long)seed, fm_fault_name((enum fm_fault)i), v->count[i],
                          v->first[i]);
}

/* What all seeds together did: a simulation in which nothing ever goes wrong proves nothing. */
struct sums {
    uint64_t given, lost, doubled, overflowed, repaired, gaps, unrecovered, duplicates, suppressed, doubles_by_key, moves, merges, rereads,
        tail_unknown, virtual_ms;
    uint64_t troubles[FM_SIM_TROUBLES];
};

static void sums_add(struct sums *s, const struct fm_sim_report *r)
{
    s->given += r->verdict.given;
    s->tail_unknown += r->verdict.tail_unknown;
    s->lost += r->net.lost;
    s->doubled += r->net.doubled;
    s->overflowed += r->net.overflowed;
    s->repaired += r->repaired;
    s->gaps += r->gaps;
    s->unrecovered += r->unrecovered;
    s->duplicates += r->duplicates;
    s->suppressed += r->suppressed;
    s->moves += r->moves;
    s->merges += r->merges;
    s->doubles_by_key += r->verdict.doubles_by_key;
    for (unsigned i = 0; i < FM_SIM_TROUBLES; i++)
        s->troubles[i] += r->troubles[i];
    s->rereads += r->rereads;
    s->virtual_ms += r->virtual_ms;
}

static void sums_print(const struct sums *s, uint64_t seeds)
{
#define N(name) (unsigned long long)s->name
    print_message(
        "%llu seeds, %llu min of virtual time: %llu messages given over %llu moves; packets lost %llu, doubled %llu, overflowed %llu; "
        "repaired %llu; rereads %llu; gaps %llu, unrecovered joins %llu, retries recognised %llu, suppressed %llu, copies of one message "
        "%llu, unknown tails %llu\n",
        (unsigned long long)seeds, N(virtual_ms) / 60000, N(given), N(moves), N(lost), N(doubled), N(overflowed), N(repaired), N(rereads),
        N(gaps), N(unrecovered), N(duplicates), N(suppressed), N(doubles_by_key), N(tail_unknown));
    print_message("merged clusters %llu", N(merges));
    for (unsigned i = 0; i < FM_SIM_TROUBLES; i++)
        print_message(", %s %llu", fm_sim_trouble_text((enum fm_sim_trouble_index)i), (unsigned long long)s->troubles[i]);
    print_message("\n");
#undef N
}

static void every_client_gets_every_message_once_in_order_or_is_told(void **state)
{
    (void)state;
    uint64_t first = env_number("FANMESH_SIM_SEED", 1), seeds = env_number("FANMESH_SIM_SEEDS", 100), failed = 0;
    bool trace = getenv("FANMESH_SIM_TRACE") != NULL;
    struct sums sums = {0};
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct fm_sim_plan plan;
        struct fm_sim_report report;
        fm_sim_plan_draw(&plan, seed);
        fm_sim_run_plan(&plan, seed, trace, &report);
        sums_add(&sums, &report);
        if (report.verdict.faults == 0)
            continue;
        failed++;
        faults_print(seed, &report.verdict);
        print_message("again: FANMESH_SIM_SEED=%llu FANMESH_SIM_SEEDS=1 FANMESH_SIM_TRACE=1\n", (unsigned long long)seed);
    }
    sums_print(&sums, seeds);
    assert_int_equal(failed, 0);
    if (seeds < 100)
        return;
    assert_true(sums.given > 0 && sums.lost > 0 && sums.doubled > 0 && sums.overflowed > 0 && sums.repaired > 0);
    assert_true(sums.rereads > 0 && sums.moves > 0 && sums.merges > 0 && sums.gaps > 0 && sums.unrecovered > 0);
    /* Both halves of idempotency: retries recognised where the first copy is; two copies where it was not, of which each node gave one. */
    assert_true(sums.duplicates > 0 && sums.suppressed > 0 && sums.doubles_by_key > 0);
    for (unsigned i = 0; i < FM_SIM_TROUBLES; i++)
        assert_true(sums.troubles[i] > 0);
}

static void a_seed_always_gives_the_same_run(void **state)
{
    (void)state;
    uint64_t seed = env_number("FANMESH_SIM_SEED", 1);
    for (unsigned i = 0; i < 4; i++, seed++) {
        struct fm_sim_plan plan;
        struct fm_sim_report one, two;
        fm_sim_plan_draw(&plan, seed);
        fm_sim_run_plan(&plan, seed, false, &one);
        fm_sim_run_plan(&plan, seed, false, &two);
        assert_true(one.digest == two.digest && one.net.sent == two.net.sent);
    }
}

int main(void)
{
    fm_diag_level_set(getenv("FANMESH_SIM_DIAG") ? FM_DEBUG : FM_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_client_gets_every_message_once_in_order_or_is_told),
        cmocka_unit_test(a_seed_always_gives_the_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
