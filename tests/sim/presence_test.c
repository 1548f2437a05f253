/* Presence, held against many seeds: the plans of promise_test.c with clients that show themselves. What is asserted: in the end every
 * node, and every worker of it by what it was told, shows exactly the clients that are connected, as they showed themselves last, whatever
 * was cut, killed, drained, frozen or lost before; no diff ever contradicts what was told before it; and after that nodes say nothing more
 * of presences than their versions in heartbeats.
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
    plan->presence_tombs = fm_sim_rand_chance(&r, 500000) ? 1 : 0; /* who misses something then often needs everything */
}

static void run(uint64_t seed, bool trace, struct fm_sim_report *report)
{
    struct fm_sim_plan plan;
    plan_draw(&plan, seed);
    fm_sim_run_plan(&plan, seed, trace, report);
}

static void every_node_shows_exactly_who_is_connected_and_then_is_silent(void **state)
{
    (void)state;
    uint64_t first = env_number("FANMESH_SIM_SEED", 1), seeds = env_number("FANMESH_SIM_SEEDS", 60), failed = 0;
    struct fm_sim_presence sum = {0};
    uint64_t troubles = 0, busiest = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct fm_sim_report r;
        run(seed, getenv("FANMESH_SIM_TRACE") != NULL, &r);
        bool loud = r.quiet.changes || r.quiet.batches || r.quiet.pulls || r.quiet.whole || r.quiet.diffs;
        sum.changes += r.presence.changes;
        sum.batches += r.presence.batches;
        sum.pulls += r.presence.pulls;
        sum.whole += r.presence.whole;
        sum.diffs += r.presence.diffs;
        busiest = r.quiet_sent > busiest ? r.quiet_sent : busiest;
        for (unsigned i = 0; i < FM_SIM_TROUBLES; i++)
            troubles += r.troubles[i];
        if (r.verdict.faults == 0 && !loud)
            continue;
        failed++;
        for (unsigned i = 0; i < FM_FAULT_COUNT; i++)
            if (r.verdict.count[i])
                print_message("seed %llu: %s: %s\n", (unsigned long long)seed, fm_fault_name((enum fm_fault)i), r.verdict.first[i]);
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
        cmocka_unit_test(every_node_shows_exactly_who_is_connected_and_then_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
