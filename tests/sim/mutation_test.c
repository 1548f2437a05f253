/* The test of the test: the same seeds as promise_test.c, with one thing broken at a time, outside the hub (sim_cluster.h) or inside it
 * (broker/mutation.h). The ledger must notice each, and soon: a breakage that 60 seeds don't show would not be shown by a thousand. */
#include "sim_cluster.h"
#include "sim_deletion.h"

#include "../../broker/diag.h"
#include "../../broker/mutation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { SEEDS = 60 };

enum fm_mutation_name fm_mutation_now;

#define BIT(fault) (1u << FM_FAULT_##fault)

/* What a mutation needs to do harm; zero: as the plan was drawn. */
struct weather {
    unsigned troubles;
    bool evicts, keeps;     /* small logs, or large ones */
    bool presence, forgets; /* forgets: next to no tombstones */
    bool stays;             /* no node dies, and links are of different delay */
};

static void plan_shape(struct fm_sim_plan *plan, struct weather weather)
{
    if (weather.troubles) {
        plan->troubles = weather.troubles;
        plan->trouble_us = 1000 * FM_SIM_MS;
    }
    plan->evicts = (plan->evicts || weather.evicts) && !weather.keeps;
    plan->presence_us = weather.presence ? 500 * FM_SIM_MS : 0;
    plan->presence_tombs = weather.forgets ? 1 : 0;
    if (weather.stays) {
        plan->presence_stays = true;
        plan->presence_grace_ms = 20000;
        plan->lag_us_max = 600 * FM_SIM_MS;
        plan->apart = 0;
    }
    plan->short_lived &= plan->evicts;
}

static struct fm_verdict run(uint64_t seed, struct weather weather, enum fm_sim_mutation outside, enum fm_mutation_name inside)
{
    struct fm_sim_plan plan;
    struct fm_sim_report report;
    fm_sim_plan_draw(&plan, seed);
    plan_shape(&plan, weather);
    plan.mutation = outside;
    fm_mutation_now = inside;
    fm_sim_run_plan(&plan, seed, false, &report);
    fm_mutation_now = FM_MUTATION_NONE;
    return report.verdict;
}

/* Runs seeds until one shows a fault of the kinds expected; without the mutation that seed shows none. */
static void noticed(enum fm_sim_mutation outside, enum fm_mutation_name inside, struct weather weather, unsigned faults, const char *what)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct fm_verdict v = run(seed, weather, outside, inside);
        for (unsigned i = 0; i < FM_FAULT_COUNT; i++) {
            if (!v.count[i] || !(faults >> i & 1))
                continue;
            print_message("           seed %llu: %s: %s\n", (unsigned long long)seed, fm_fault_name((enum fm_fault)i), v.first[i]);
            assert_int_equal(run(seed, weather, FM_SIM_SOUND, FM_MUTATION_NONE).faults, 0);
            return;
        }
    }
    fail_msg("%d seeds did not show: %s", SEEDS, what);
}

static void outside(enum fm_sim_mutation mutation, unsigned faults, const char *what)
{
    noticed(mutation, FM_MUTATION_NONE, (struct weather){0}, faults, what);
}

static void inside(enum fm_mutation_name mutation, unsigned faults, const char *what)
{
    noticed(FM_SIM_SOUND, mutation, (struct weather){0}, faults, what);
}

static void nothing_is_noticed_when_nothing_is_broken(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        assert_int_equal(run(seed, (struct weather){0}, FM_SIM_SOUND, FM_MUTATION_NONE).faults, 0);
}

static void broken_repair_is_noticed(void **state)
{
    (void)state;
    outside(FM_SIM_DEAF_TO_PULLS, BIT(LOST) | BIT(EAGER) | BIT(DIVERGED), "answers to pulls are thrown away");
    inside(FM_MUTATION_NO_PULLS, BIT(LOST) | BIT(EAGER) | BIT(DIVERGED), "holes are not pulled");
}

static void broken_order_is_noticed(void **state)
{
    (void)state;
    outside(FM_SIM_SWAPS_MESSAGES, BIT(DISORDER), "neighbours are swapped");
    inside(FM_MUTATION_ORDER_IGNORED, BIT(LOST) | BIT(DISORDER) | BIT(REPLAY), "a message does not wait for its predecessor");
}

static void a_lost_message_is_noticed(void **state)
{
    (void)state;
    outside(FM_SIM_DROPS_MESSAGE, BIT(LOST), "a worker loses messages");
}

static void a_silent_gap_is_noticed(void **state)
{
    (void)state;
    const struct weather storm = {.troubles = FM_SIM_SPLIT | FM_SIM_FREEZE, .evicts = true};
    noticed(FM_SIM_GAPS_MUTED, FM_MUTATION_NONE, storm, BIT(LOST), "workers do not tell gaps");
    noticed(FM_SIM_SOUND, FM_MUTATION_GAPS_SILENT, storm, BIT(LOST), "the hub does not tell gaps");
}

static void a_broken_cursor_is_noticed(void **state)
{
    (void)state;
    outside(FM_SIM_CURSOR_HIGH, BIT(LOST), "clients send a cursor one too high");
    outside(FM_SIM_CURSOR_LOW, BIT(DOUBLE), "clients send a cursor one too low");
    inside(FM_MUTATION_CURSOR_HIGH, BIT(REPLAY), "a replay begins one too late");
    inside(FM_MUTATION_CURSOR_LOW, BIT(REPLAY), "a replay begins one too early");
}

static void a_dishonest_recovered_is_noticed(void **state)
{
    (void)state;
    inside(FM_MUTATION_FLOOR_NOT_RAISED, BIT(LOST) | BIT(REPLAY), "what is evicted leaves no floor");
    inside(FM_MUTATION_FLOOR_IGNORED, BIT(LOST), "recovered: true in spite of the floor");
}

static void a_client_ahead_of_its_node_that_gets_things_again_is_noticed(void **state)
{
    (void)state;
    inside(FM_MUTATION_SKIP_FORGOTTEN, BIT(DOUBLE) | BIT(DISORDER), "nothing is skipped");
}

static void broken_idempotency_is_noticed(void **state)
{
    (void)state;
    outside(FM_SIM_KEYS_STRIPPED, BIT(KEY), "keys do not reach the hub");
    inside(FM_MUTATION_KEYS_IGNORED, BIT(KEY), "keys are not looked up");
    const struct weather floods = {.troubles = FM_SIM_SPLIT, .evicts = true};
    noticed(FM_SIM_SOUND, FM_MUTATION_KEYS_FORGOTTEN, floods, BIT(KEY), "a key is forgotten with its message");
}

static void an_unearned_acknowledgement_is_noticed(void **state)
{
    (void)state;
    const struct weather deaths = {.troubles = FM_SIM_KILL | FM_SIM_ISOLATE, .keeps = true};
    noticed(FM_SIM_ACK_EARLY, FM_MUTATION_NONE, deaths, BIT(REPLICATED), "local is taken for replicated");
    noticed(FM_SIM_SOUND, FM_MUTATION_ACK_UNEARNED, deaths, BIT(REPLICATED), "nobody is asked");
}

static void a_node_that_leaves_without_handing_over_is_noticed(void **state)
{
    (void)state;
    const struct weather departures = {.troubles = FM_SIM_LEAVE};
    noticed(FM_SIM_SOUND, FM_MUTATION_LEAVES_AT_ONCE, departures, BIT(LOST), "a draining node goes at once");
}

static void an_origin_that_comes_back_is_noticed(void **state)
{
    (void)state;
    const struct weather deaths = {.troubles = FM_SIM_KILL};
    noticed(FM_SIM_ORIGIN_REUSED, FM_MUTATION_NONE, deaths, BIT(FOREIGN), "a node that was restarted counts from 1 again");
}

static void a_snapshot_that_is_not_followed_is_noticed(void **state)
{
    (void)state;
    const struct weather deaths = {.troubles = FM_SIM_KILL | FM_SIM_ROLLING};
    noticed(FM_SIM_SOUND, FM_MUTATION_SNAPSHOT_NOT_FOLLOWED, deaths, BIT(LOST) | BIT(REPLAY) | BIT(DIVERGED),
            "what comes during a take-over is not taken");
}

static void a_double_after_a_relay_is_noticed(void **state)
{
    (void)state;
    inside(FM_MUTATION_DOUBLE_AFTER_RELAY, BIT(DOUBLE), "what came live and by a pull is dispatched twice");
}

static void an_overrun_that_is_ignored_is_noticed(void **state)
{
    (void)state;
    const struct weather floods = {.troubles = FM_SIM_OVERRUN};
    noticed(FM_SIM_OVERRUN_IGNORED, FM_MUTATION_NONE, floods, BIT(LOST), "an overrun worker does not read again");
}

static void broken_presence_is_noticed(void **state)
{
    (void)state;
    const struct weather rough = {.presence = true}, deaths = {.troubles = FM_SIM_KILL | FM_SIM_SPLIT, .presence = true};
    noticed(FM_SIM_SOUND, FM_MUTATION_PRESENCE_NOT_PULLED, rough, BIT(PRESENCE), "what did not arrive is not pulled");
    noticed(FM_SIM_SOUND, FM_MUTATION_PRESENCE_NOT_HIDDEN, deaths, BIT(PRESENCE), "who was on a dead node stays");
    const struct weather forgetful = {.troubles = FM_SIM_SPLIT | FM_SIM_ISOLATE, .presence = true, .forgets = true};
    noticed(FM_SIM_SOUND, FM_MUTATION_PRESENCE_NOT_SWEPT, forgetful, BIT(PRESENCE), "what is gone from a whole set stays");
    const struct weather late = {.troubles = FM_SIM_LEAVE, .presence = true, .stays = true};
    noticed(FM_SIM_SOUND, FM_MUTATION_PRESENCE_NOT_KEPT, late, BIT(PRESENCE), "who moved is seen to leave");
    noticed(FM_SIM_SOUND, FM_MUTATION_PRESENCE_GRACE_FOREVER, rough, BIT(PRESENCE), "who lost the connection stays");
}

static void deletion_noticed(enum fm_mutation_name mutation, const char *what)
{
    struct sim_deletion_sums sums = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        fm_mutation_now = mutation;
        const char *wrong = sim_deletion_run(seed, &sums);
        fm_mutation_now = FM_MUTATION_NONE;
        if (!wrong)
            continue;
        print_message("           seed %llu: %s\n", (unsigned long long)seed, wrong);
        assert_null(sim_deletion_run(seed, &sums));
        return;
    }
    fail_msg("%d seeds did not show: %s", SEEDS, what);
}

static void a_broken_deletion_is_noticed(void **state)
{
    (void)state;
    deletion_noticed(FM_MUTATION_DELETED_GIVEN, "what comes after its deletion is given to everyone");
    deletion_noticed(FM_MUTATION_DELETED_REMEMBERED, "what a deletion names stays");
    deletion_noticed(FM_MUTATION_COMMANDS_NOT_RECALLED, "a deletion that was lost for good is never asked for");
    deletion_noticed(FM_MUTATION_DELETED_BEHIND_HOLE, "what a deletion names stays for as long as something before it is missing");
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_noticed_when_nothing_is_broken),
        cmocka_unit_test(broken_repair_is_noticed),
        cmocka_unit_test(broken_order_is_noticed),
        cmocka_unit_test(a_lost_message_is_noticed),
        cmocka_unit_test(a_silent_gap_is_noticed),
        cmocka_unit_test(a_broken_cursor_is_noticed),
        cmocka_unit_test(a_dishonest_recovered_is_noticed),
        cmocka_unit_test(a_client_ahead_of_its_node_that_gets_things_again_is_noticed),
        cmocka_unit_test(broken_idempotency_is_noticed),
        cmocka_unit_test(an_unearned_acknowledgement_is_noticed),
        cmocka_unit_test(a_node_that_leaves_without_handing_over_is_noticed),
        cmocka_unit_test(an_origin_that_comes_back_is_noticed),
        cmocka_unit_test(a_snapshot_that_is_not_followed_is_noticed),
        cmocka_unit_test(a_double_after_a_relay_is_noticed),
        cmocka_unit_test(an_overrun_that_is_ignored_is_noticed),
        cmocka_unit_test(broken_presence_is_noticed),
        cmocka_unit_test(a_broken_deletion_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
