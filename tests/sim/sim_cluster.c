/* The plan of a run, the troubles in it, the healing, and the end. */
#include "sim_world.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SETTLE_US = 12000 * FM_SIM_MS,     /* after the healing, until the last words */
    LAST_WORDS_US = 2500 * FM_SIM_MS,  /* until they must be everywhere */
    MORE_US = 5000 * FM_SIM_MS,        /* what is granted again and again ... */
    SETTLE_US_MAX = 60000 * FM_SIM_MS, /* ... until here */
    STEP_US = 250 * FM_SIM_MS,
};

uint64_t sim_around_us(struct fm_sim_rand *r, uint64_t mean_us)
{
    return fm_sim_rand_between(r, mean_us / 10, mean_us * 19 / 10);
}

/* ---- the plan ---- */

static unsigned troubles_draw(struct fm_sim_rand *r)
{
    static const unsigned kinds[] = {
        FM_SIM_SPLIT | FM_SIM_ISOLATE,
        FM_SIM_CUT_PAIR | FM_SIM_CUT_ONE_WAY | FM_SIM_CHAIN,
        FM_SIM_KILL,
        FM_SIM_KILL | FM_SIM_LEAVE | FM_SIM_SPLIT,
        FM_SIM_FREEZE | FM_SIM_OVERRUN,
        FM_SIM_LEAVE | FM_SIM_FREEZE | FM_SIM_CUT_PAIR,
        FM_SIM_SPLIT | FM_SIM_CUT_PAIR | FM_SIM_CUT_ONE_WAY | FM_SIM_ISOLATE | FM_SIM_FREEZE | FM_SIM_KILL | FM_SIM_LEAVE | FM_SIM_OVERRUN |
            FM_SIM_CHAIN,
    };
    return kinds[fm_sim_rand_below(r, sizeof kinds / sizeof kinds[0])];
}

void fm_sim_plan_draw(struct fm_sim_plan *plan, uint64_t seed)
{
    struct fm_sim_rand r = fm_sim_rand_of(seed, "plan");
    *plan = (struct fm_sim_plan){
        .nodes = 5,
        .workers = (unsigned)fm_sim_rand_between(&r, 1, FM_SIM_WORKERS_MAX),
        .topics = (unsigned)fm_sim_rand_between(&r, 2, 6),
        .clients = 20,
        .run_ms = fm_sim_rand_between(&r, 8000, 20000),
        .publish_us = fm_sim_rand_between(&r, 15, 80) * FM_SIM_MS,
        .burst_max = (uint32_t)fm_sim_rand_between(&r, 3, 60),
        .move_us = fm_sim_rand_between(&r, 1500, 8000) * FM_SIM_MS,
        .batch_bytes = fm_sim_rand_chance(&r, 300000) ? 1500 : 64 << 10,
        .keyed_ppm = 300000,
        .retry_ppm = 250000,
        .replicated_ppm = 250000,
        .faults = {.delay_us_min = 100,
                   .delay_us_max = fm_sim_rand_between(&r, 300, 15000),
                   .spike_us = fm_sim_rand_between(&r, 10, 400) * FM_SIM_MS,
                   .spike_ppm = (uint32_t)fm_sim_rand_below(&r, 3000),
                   .loss_ppm = (uint32_t)fm_sim_rand_below(&r, 50000),
                   .dup_ppm = (uint32_t)fm_sim_rand_below(&r, 30000),
                   .ask_loss_ppm = (uint32_t)fm_sim_rand_below(&r, 30000),
                   .ask_dup_ppm = (uint32_t)fm_sim_rand_below(&r, 30000),
                   .send_us = fm_sim_rand_below(&r, 200),
                   .detect_us_min = 100 * FM_SIM_MS,
                   .detect_us_max = fm_sim_rand_between(&r, 200, 9000) * FM_SIM_MS,
                   .reorder_in_link = fm_sim_rand_chance(&r, 100000)},
    };
    if (fm_sim_rand_chance(&r, 250000))
        return; /* calm */
    plan->trouble_us = fm_sim_rand_between(&r, 700, 4000) * FM_SIM_MS;
    plan->troubles = troubles_draw(&r);
    plan->evicts = fm_sim_rand_chance(&r, 300000);
    plan->short_lived = plan->evicts && fm_sim_rand_chance(&r, 400000);
}

/* ---- troubles ---- */

static void heal(void *ctx, uint64_t arg)
{
    (void)arg;
    struct world *w = ctx;
    SIM_TRACE(w, 0, "the network heals");
    fm_sim_net_heal_all(w->net);
}

/* Cuts every pair of which `one` holds the one and not the other. */
static void split(struct world *w, unsigned one)
{
    for (unsigned a = 0; a < w->plan.nodes; a++)
        for (unsigned b = 0; b < a; b++)
            if ((one >> a & 1) != (one >> b & 1))
                fm_sim_net_cut(w->net, w->nodes[a].bus_address, w->nodes[b].bus_address, false);
}

static void chain(struct world *w)
{
    for (unsigned a = 0; a < w->plan.nodes; a++)
        for (unsigned b = 0; b + 1 < a; b++)
            fm_sim_net_cut(w->net, w->nodes[a].bus_address, w->nodes[b].bus_address, false);
}

static void cut(struct world *w, enum fm_sim_trouble kind)
{
    unsigned a = (unsigned)fm_sim_rand_below(&w->chaos, w->plan.nodes);
    unsigned b = (a + 1 + (unsigned)fm_sim_rand_below(&w->chaos, w->plan.nodes - 1)) % w->plan.nodes;
    unsigned one = kind == FM_SIM_ISOLATE ? 1u << a : (unsigned)fm_sim_rand_between(&w->chaos, 1, (1u << w->plan.nodes) - 2);
    uint64_t us = fm_sim_rand_between(&w->chaos, 100, fm_sim_rand_chance(&w->chaos, 500000) ? 2000 : 12000) * FM_SIM_MS;
    SIM_TRACE(w, kind, "a cut of kind %u (n%u, n%u, %x) for %llu ms", kind, a, b, one, (unsigned long long)us / FM_SIM_MS);
    w->report->cuts++;
    if (kind == FM_SIM_SPLIT || kind == FM_SIM_ISOLATE)
        split(w, one);
    else if (kind == FM_SIM_CHAIN)
        chain(w);
    else
        fm_sim_net_cut(w->net, w->nodes[a].bus_address, w->nodes[b].bus_address, kind == FM_SIM_CUT_ONE_WAY);
    fm_sim_after(w->clock, us, heal, w, 0);
}

static unsigned staying_count(const struct world *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->plan.nodes; i++)
        n += w->nodes[i].hub && !w->nodes[i].draining;
    return n;
}

static void restart(void *ctx, uint64_t life)
{
    struct node *n = ctx;
    if (n->life != life || (n->w->settling && n->slot != 0))
        return;
    if (n->hub && n->draining)
        sim_node_stop(n, false); /* it could not hand everything over in time */
    if (!n->hub)
        sim_node_start(n);
}

static void node_trouble(struct world *w, enum fm_sim_trouble kind)
{
    struct node *n = sim_node_any(w, &w->chaos);
    if (!n || (staying_count(w) < 3 && (kind == FM_SIM_KILL || kind == FM_SIM_LEAVE)))
        return;
    if (kind == FM_SIM_FREEZE) {
        w->report->freezes++;
        sim_node_freeze(n, fm_sim_rand_between(&w->chaos, 50, 7000) * FM_SIM_MS);
    } else if (kind == FM_SIM_OVERRUN) {
        w->report->overruns++;
        sim_worker_overrun(&n->workers[fm_sim_rand_below(&w->chaos, w->plan.workers)]);
    } else if (kind == FM_SIM_LEAVE) {
        w->report->leaves++;
        unsigned life = n->life;
        sim_node_leave(n);
        fm_sim_after(w->clock, 6000 * FM_SIM_MS, restart, n, life);
    } else {
        w->report->kills++;
        sim_node_stop(n, false);
        if (fm_sim_rand_chance(&w->chaos, 850000))
            fm_sim_after(w->clock, fm_sim_rand_between(&w->chaos, 50, 6000) * FM_SIM_MS, restart, n, n->life);
    }
}

static void trouble(void *ctx, uint64_t arg)
{
    (void)arg;
    struct world *w = ctx;
    if (w->settling)
        return;
    fm_sim_after(w->clock, sim_around_us(&w->chaos, w->plan.trouble_us), trouble, w, 0);
    unsigned kinds = w->plan.troubles, pick = (unsigned)fm_sim_rand_below(&w->chaos, (unsigned)__builtin_popcount(kinds));
    while (pick--)
        kinds &= kinds - 1;
    enum fm_sim_trouble kind = kinds & -kinds;
    if (kind & (FM_SIM_SPLIT | FM_SIM_CUT_PAIR | FM_SIM_CUT_ONE_WAY | FM_SIM_ISOLATE | FM_SIM_CHAIN))
        cut(w, kind);
    else
        node_trouble(w, kind);
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
    w->trace = trace ? sim_trace_new() : NULL;
    w->clock = fm_sim_clock_new();
    w->net = fm_sim_net_new(w->clock, seed, &w->plan.faults);
    fm_sim_net_use(w->net);
    bool calm = plan->troubles == 0 && !plan->evicts;
    w->ledger =
        fm_ledger_new((calm ? FM_LEDGER_CALM : 0u) | (plan->evicts ? FM_LEDGER_EVICTS : 0u) | (plan->short_lived ? FM_LEDGER_FORGETS : 0u));
    for (unsigned i = 0; i < plan->topics; i++)
        (void)snprintf(w->topics[i], sizeof w->topics[i], "room:%u", i);
    for (unsigned i = 0; i < plan->nodes; i++)
        sim_node_init(w, i);
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

static void start(struct world *w)
{
    for (unsigned i = 0; i < w->plan.nodes; i++) {
        sim_node_start(&w->nodes[i]);
        run(w, fm_sim_rand_below(&w->chaos, 4) ? 0 : 700 * FM_SIM_MS);
    }
    sim_clients_init(w);
    sim_load_start(w);
    if (w->plan.troubles)
        fm_sim_after(w->clock, 2000 * FM_SIM_MS, trouble, w, 0);
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
        fm_sim_after(w->clock, 3000 * FM_SIM_MS, restart, &w->nodes[0], w->nodes[0].life);
    for (unsigned i = 0; i < w->plan.nodes; i++)
        if (!w->nodes[i].hub && (i == 0 || staying_count(w) < 2 || fm_sim_rand_chance(&w->chaos, 800000)))
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
}

static void settle(struct world *w)
{
    uint64_t healed_us = fm_sim_now_us(w->clock);
    heal_everything(w);
    run(w, SETTLE_US);
    sim_load_last_words(w);
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

void fm_sim_run_plan(const struct fm_sim_plan *plan, uint64_t seed, bool trace, struct fm_sim_report *report)
{
    *report = (struct fm_sim_report){.digest = seed};
    struct world *w = world_new(plan, seed, trace, report);
    start(w);
    run(w, plan->run_ms * FM_SIM_MS);
    settle(w);
    report->net = *fm_sim_net_stats(w->net);
    report->virtual_ms = fm_sim_now_us(w->clock) / FM_SIM_MS;
    if (report->verdict.faults && w->trace)
        sim_trace_print(w->trace);
    world_free(w);
}
