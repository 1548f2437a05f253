/* Presence, held against many seeds: the plans of promise_test.c with clients that show themselves, and an API that shows others. What is
 * asserted: in the end every node, and every worker of it by what it was told, shows exactly the clients that are connected, as they showed
 * themselves last, and what the API showed last, whatever was cut, killed, drained, frozen or lost before; no diff ever contradicts what
 * was told before it; and after that nodes say nothing more of presences than their versions in heartbeats. And where no node dies, nobody
 * who is back on any node within the grace is ever seen to leave, whatever is late, lost, overrun or drained.
 *
 *   FANMESH_SIM_SEEDS=1000 FANMESH_SIM_SEED=1   how many seeds (60), and the first (1)
 *   FANMESH_SIM_TRACE=1                         prints the last events before a fault */
#include "sim_cluster.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>

static uint64_t env_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    uint64_t n;
    return text && fm_slice_u64(fm_slice_str(text), UINT64_MAX, &n) == FM_OK ? n : otherwise;
}

static void plan_draw(struct fm_sim_plan *plan, uint64_t seed)
{
    struct fm_sim_rand r = fm_sim_rand_of(seed, "presence plan");
    fm_sim_plan_draw(plan, seed);
    plan->presence_us = fm_sim_rand_between(&r, 200, 2000) * FM_SIM_MS;
    plan->presence_api_us = fm_sim_rand_between(&r, 50, 500) * FM_SIM_MS;
    plan->presence_tombs = fm_sim_rand_chance(&r, 500000) ? 1 : 0; /* who misses something then often needs everything */
}

/* Nodes leave and come back, links are of different delay, and nobody is taken for dead. */
static void stays_draw(struct fm_sim_plan *plan, uint64_t seed)
{
    plan_draw(plan, seed);
    struct fm_sim_rand r = fm_sim_rand_of(seed, "presence that stays");
    plan->presence_stays = true;
    plan->presence_grace_ms = 20000;
    plan->lag_us_max = 600 * FM_SIM_MS;
    plan->run_ms = 20000;
    plan->move_us = fm_sim_rand_between(&r, 600, 4000) * FM_SIM_MS;
    plan->troubles = FM_SIM_LEAVE | (fm_sim_rand_chance(&r, 500000) ? FM_SIM_OVERRUN | FM_SIM_CLOCK : 0);
    plan->trouble_us = fm_sim_rand_between(&r, 1000, 4000) * FM_SIM_MS;
    plan->apart = 0;
    plan->faults.loss_ppm = (uint32_t)fm_sim_rand_below(&r, 10000);
    plan->faults.spike_us = fm_sim_rand_between(&r, 10, 200) * FM_SIM_MS;
}

static uint64_t first_seed(void)
{
    return env_number("FANMESH_SIM_SEED", 1);
}

static uint64_t seeds_count(void)
{
    return env_number("FANMESH_SIM_SEEDS", 60);
}

/* Were there faults? They are printed. */
static bool run(const struct fm_sim_plan *plan, uint64_t seed, struct fm_sim_report *report)
{
    fm_sim_run_plan(plan, seed, getenv("FANMESH_SIM_TRACE") != NULL, report);
    for (unsigned i = 0; i < FM_FAULT_COUNT; i++)
        if (report->verdict.count[i])
            print_message("seed %llu: %s: %s\n", (unsigned long long)seed, fm_fault_name((enum fm_fault)i), report->verdict.first[i]);
    return report->verdict.faults > 0;
}

static void whoever_is_back_within_the_grace_is_never_seen_to_leave(void **state)
{
    (void)state;
    uint64_t seeds = seeds_count(), failed = 0, kept = 0, moves = 0, leaves = 0;
    for (uint64_t seed = first_seed(); seed < first_seed() + seeds; seed++) {
        struct fm_sim_plan plan;
        struct fm_sim_report r;
        stays_draw(&plan, seed);
        failed += run(&plan, seed, &r);
        kept += r.kept;
        moves += r.moves;
        leaves += r.troubles[FM_SIM_AT_LEAVE];
    }
    print_message("%llu seeds, %llu moves, %llu drains: %llu clients were judged to the end\n", (unsigned long long)seeds,
                  (unsigned long long)moves, (unsigned long long)leaves, (unsigned long long)kept);
    assert_int_equal(failed, 0);
    assert_true(kept > seeds * 10 && moves > seeds * 50 && (seeds < 60 || leaves > seeds));
}

static void every_node_shows_exactly_who_is_connected_and_then_is_silent(void **state)
{
    (void)state;
    uint64_t first = first_seed(), seeds = seeds_count(), failed = 0;
    struct fm_sim_presence sum = {0};
    uint64_t troubles = 0, busiest = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct fm_sim_plan plan;
        struct fm_sim_report r;
        plan_draw(&plan, seed);
        bool faulty = run(&plan, seed, &r);
        bool loud = r.quiet.changes || r.quiet.batches || r.quiet.pulls || r.quiet.whole || r.quiet.diffs;
        sum.changes += r.presence.changes;
        sum.batches += r.presence.batches;
        sum.pulls += r.presence.pulls;
        sum.whole += r.presence.whole;
        sum.diffs += r.presence.diffs;
        busiest = r.quiet_sent > busiest ? r.quiet_sent : busiest;
        for (unsigned i = 0; i < FM_SIM_TROUBLES; i++)
            troubles += r.troubles[i];
        failed += faulty || loud;
        if (loud)
            print_message("seed %llu: when all was quiet: %llu changes, %llu batches, %llu pulls, %llu diffs\n", (unsigned long long)seed,
                          (unsigned long long)r.quiet.changes, (unsigned long long)r.quiet.batches, (unsigned long long)r.quiet.pulls,
                          (unsigned long long)r.quiet.diffs);
    }
    print_message("%llu seeds, %llu troubles: changes %llu, batches %llu, pulls %llu, whole sets %llu, diffs %llu; envelopes in 10 s of "
                  "silence at most %llu\n",
                  (unsigned long long)seeds, (unsigned long long)troubles, (unsigned long long)sum.changes, (unsigned long long)sum.batches,
                  (unsigned long long)sum.pulls, (unsigned long long)sum.whole, (unsigned long long)sum.diffs, (unsigned long long)busiest);
    assert_int_equal(failed, 0);
    /* Five nodes, a heartbeat every 500 ms to the four others: what is more would be hellos and acknowledgements, of which few are due. */
    assert_true(busiest < 2 * 5 * 4 * 20);
    assert_true(seeds < 60 || (sum.pulls > 0 && sum.whole > 0 && sum.diffs > 0 && troubles > 0));
}

int main(void)
{
    fm_diag_level_set(getenv("FANMESH_SIM_DIAG") ? FM_DEBUG : FM_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_is_back_within_the_grace_is_never_seen_to_leave),
        cmocka_unit_test(every_node_shows_exactly_who_is_connected_and_then_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
