/* A run: its beginning, the healing, and the end. */
#include "sim_world.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SETTLE_US = 12000 * FM_SIM_MS,     /* after the healing, until the last words */
    LAST_WORDS_US = 2500 * FM_SIM_MS,  /* until they must be everywhere */
    MORE_US = 5000 * FM_SIM_MS,        /* what is granted again and again ... */
    SETTLE_US_MAX = 60000 * FM_SIM_MS, /* ... until here */
    QUIET_US = 10000 * FM_SIM_MS,      /* behind the end, of a run with presences: what travels when nobody does anything */
};

uint64_t sim_around_us(struct fm_sim_rand *r, uint64_t mean_us)
{
    return fm_sim_rand_between(r, mean_us / 10, mean_us * 19 / 10);
}

/* ---- a run ---- */

static struct world *world_new(const struct fm_sim_plan *plan, uint64_t seed, bool trace, struct fm_sim_report *report)
{
    struct world *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    w->plan = *plan;
    w->plan.faults.deaf_to_pulls = plan->mutation == FM_SIM_DEAF_TO_PULLS;
    w->seed = seed;
    w->report = report;
    w->pace = fm_sim_rand_of(seed, "pace");
    w->load = fm_sim_rand_of(seed, "load");
    w->moves = fm_sim_rand_of(seed, "moves");
    w->chaos = fm_sim_rand_of(seed, "chaos");
    w->mutate = fm_sim_rand_of(seed, "mutate");
    w->show = fm_sim_rand_of(seed, "show");
    w->api = fm_sim_rand_of(seed, "api");
    w->trace = trace ? sim_trace_new() : NULL;
    w->clock = fm_sim_clock_new();
    w->net = fm_sim_net_new(w->clock, seed, &w->plan.faults);
    fm_sim_net_use(w->net);
    bool calm = (plan->troubles & ~(unsigned)FM_SIM_CLOCK) == 0 && !plan->evicts && !plan->apart;
    w->ledger =
        fm_ledger_new((calm ? FM_LEDGER_CALM : 0u) | (plan->evicts ? FM_LEDGER_EVICTS : 0u) | (plan->short_lived ? FM_LEDGER_FORGETS : 0u));
    if (plan->short_lived)
        fm_ledger_keys_age(w->ledger, w->clock, (SIM_SHORT_LIFE_MS - 1) * FM_SIM_MS); /* hubs count milliseconds */
    for (unsigned i = 0; i < plan->topics; i++)
        (void)snprintf(w->topics[i], sizeof w->topics[i], "room:%u", i);
    for (unsigned i = 0; i < plan->nodes; i++)
        sim_node_init(w, i);
    struct fm_sim_rand r = fm_sim_rand_of(seed, "lag");
    for (unsigned i = 0; i < plan->nodes * plan->nodes && plan->lag_us_max; i++)
        fm_sim_net_lag(w->net, w->nodes[i / plan->nodes].bus_address, w->nodes[i % plan->nodes].bus_address,
                       fm_sim_rand_below(&r, plan->lag_us_max));
    return w;
}

static void world_free(struct world *w)
{
    w->settling = true;
    for (unsigned i = 0; i < w->plan.nodes; i++)
        if (w->nodes[i].hub)
            sim_node_stop(&w->nodes[i], false);
    sim_clients_free(w);
    sim_load_free(w);
    fm_sim_net_free(&w->net);
    fm_sim_clock_free(&w->clock);
    fm_ledger_free(&w->ledger);
    sim_trace_free(&w->trace);
    free(w);
}

/* Runs on, but not past the first fault, so that the trace ends there. */
static void run(struct world *w, uint64_t us)
{
    uint64_t until_us = fm_sim_now_us(w->clock) + us;
    while (fm_ledger_faults(w->ledger) == 0 && fm_sim_run_one(w->clock, until_us - fm_sim_now_us(w->clock)))
        ;
}

static void meet(void *ctx, uint64_t arg)
{
    (void)arg;
    struct world *w = ctx;
    SIM_TRACE(w, 0, "the clusters that were founded apart meet");
    w->report->merges++;
    fm_sim_net_heal_all(w->net);
}

static void start(struct world *w)
{
    if (w->plan.apart) {
        sim_split(w, w->plan.apart);
        fm_sim_after(w->clock, w->plan.apart_ms * FM_SIM_MS, meet, w, 0);
    }
    for (unsigned i = 0; i < w->plan.nodes; i++) {
        sim_node_start(&w->nodes[i]);
        run(w, fm_sim_rand_below(&w->chaos, 4) ? 0 : 700 * FM_SIM_MS);
    }
    sim_clients_init(w);
    sim_load_start(w);
    sim_api_start(w);
    sim_trouble_start(w);
}

static void heal_everything(struct world *w)
{
    SIM_TRACE(w, 1, "everything heals");
    struct fm_sim_faults gentle = {.delay_us_min = 100, .delay_us_max = 1000, .detect_us_min = 1000, .detect_us_max = 1000};
    gentle.deaf_to_pulls = w->plan.faults.deaf_to_pulls;
    w->settling = true;
    fm_sim_net_faults_set(w->net, &gentle);
    fm_sim_net_heal_all(w->net);
    /* The first node always comes back: it is everyone's seed, and without any seed two parts may never hear of each other. */
    if (w->nodes[0].draining)
        fm_sim_after(w->clock, 3000 * FM_SIM_MS, sim_restart, &w->nodes[0], w->nodes[0].life);
    for (unsigned i = 0; i < w->plan.nodes; i++)
        if (!w->nodes[i].hub && (i == 0 || sim_staying_count(w) < 2 || fm_sim_rand_chance(&w->chaos, 800000)))
            sim_node_start(&w->nodes[i]);
}

static void judge(struct world *w)
{
    fm_ledger_final_clear(w->ledger);
    for (unsigned i = 0; i < w->plan.nodes; i++)
        if (w->nodes[i].hub)
            sim_node_final(&w->nodes[i]);
    fm_ledger_judge(w->ledger, &w->report->verdict);
    if (!fm_ledger_faults(w->ledger) && !sim_clients_in(w)) {
        w->report->verdict.faults++;
        w->report->verdict.count[FM_FAULT_UNANSWERED]++;
        (void)snprintf(w->report->verdict.first[FM_FAULT_UNANSWERED], sizeof w->report->verdict.first[0], "a client did not get back in");
    }
    if (!w->report->verdict.faults)
        sim_presence_judge(w, &w->report->verdict);
}

static void settle(struct world *w)
{
    uint64_t healed_us = fm_sim_now_us(w->clock);
    heal_everything(w);
    run(w, SETTLE_US);
    sim_load_last_words(w);
    sim_api_last_words(w);
    run(w, LAST_WORDS_US);
    for (;;) {
        sim_load_check(w);
        judge(w);
        w->report->settled_ms = (fm_sim_now_us(w->clock) - healed_us) / FM_SIM_MS;
        if (w->report->verdict.faults == 0 || fm_ledger_faults(w->ledger) || w->report->settled_ms * FM_SIM_MS >= SETTLE_US_MAX)
            return;
        run(w, MORE_US);
    }
}

/* Has a node still to wake, or to take its leave? */
static bool is_restless(const struct world *w)
{
    bool restless = false;
    for (unsigned i = 0; i < w->plan.nodes; i++)
        restless |= w->nodes[i].hub && (w->nodes[i].draining || fm_sim_now_us(w->clock) < w->nodes[i].frozen_until_us);
    return restless;
}

/* All is well and nobody does anything any more: what do the nodes still say of presences? */
static void listen(struct world *w)
{
    struct fm_sim_report *r = w->report;
    for (bool restless = true; restless;) {
        restless = is_restless(w);
        run(w, MORE_US); /* what a node did late has its grace */
    }
    uint64_t sent = fm_sim_net_stats(w->net)->sent;
    sim_presence_traffic(w, &r->presence);
    run(w, QUIET_US);
    struct fm_sim_presence then;
    sim_presence_traffic(w, &then);
    r->quiet = (struct fm_sim_presence){then.changes - r->presence.changes, then.batches - r->presence.batches,
                                        then.pulls - r->presence.pulls, then.whole - r->presence.whole, then.diffs - r->presence.diffs};
    r->quiet_sent = fm_sim_net_stats(w->net)->sent - sent;
}

void fm_sim_run_plan(const struct fm_sim_plan *plan, uint64_t seed, bool trace, struct fm_sim_report *report)
{
    *report = (struct fm_sim_report){.digest = seed};
    struct world *w = world_new(plan, seed, trace, report);
    start(w);
    run(w, plan->run_ms * FM_SIM_MS);
    settle(w);
    if (plan->presence_us && report->verdict.faults == 0)
        listen(w);
    report->net = *fm_sim_net_stats(w->net);
    report->virtual_ms = fm_sim_now_us(w->clock) / FM_SIM_MS;
    if (report->verdict.faults && w->trace)
        sim_trace_print(w->trace);
    world_free(w);
}
