/* What goes wrong in a run, and when. */
#include "sim_world.h"

enum { HOUR_MS = 3600 * 1000, ROLL_LOOK_US = 250 * FM_SIM_MS };

const char *fm_sim_trouble_text(enum fm_sim_trouble_index i)
{
    static const char *const texts[] = {
#define X(name, text) text,
        FM_SIM_TROUBLE_TABLE(X)
#undef X
    };
    return texts[i];
}

unsigned sim_staying_count(const struct world *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->plan.nodes; i++)
        n += w->nodes[i].hub && !w->nodes[i].draining;
    return n;
}

static uint64_t some_ms(struct world *w, uint64_t min, uint64_t max)
{
    return fm_sim_rand_between(&w->chaos, min, max) * FM_SIM_MS;
}

/* ---- of the network ---- */

static void heal(void *ctx, uint64_t arg)
{
    (void)arg;
    struct world *w = ctx;
    SIM_TRACE(w, 0, "the network heals");
    fm_sim_net_heal_all(w->net);
}

void sim_split(struct world *w, unsigned one)
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

/* A pair, or everything that node `a` says, or hears. */
static void cut_one_way(struct world *w, unsigned a, unsigned b)
{
    unsigned how = (unsigned)fm_sim_rand_below(&w->chaos, 4);
    for (unsigned i = 0; i < w->plan.nodes; i++) {
        if (i == a || (how < 2 && i != b))
            continue;
        unsigned from = how == 3 ? i : a, to = how == 3 ? a : i;
        fm_sim_net_cut(w->net, w->nodes[from].bus_address, w->nodes[to].bus_address, true);
    }
}

static void cut(struct world *w, enum fm_sim_trouble kind, unsigned a, unsigned b)
{
    unsigned one = kind == FM_SIM_ISOLATE ? 1u << a : (unsigned)fm_sim_rand_between(&w->chaos, 1, (1u << w->plan.nodes) - 2);
    uint64_t us = some_ms(w, 100, fm_sim_rand_chance(&w->chaos, 500000) ? 2000 : 12000);
    SIM_TRACE(w, kind, "%s: n%u, n%u, %x for %llu ms", fm_sim_trouble_text((enum fm_sim_trouble_index)__builtin_ctz(kind)), a, b, one,
              (unsigned long long)us / FM_SIM_MS);
    if (kind == FM_SIM_SPLIT || kind == FM_SIM_ISOLATE)
        sim_split(w, one);
    else if (kind == FM_SIM_CHAIN)
        chain(w);
    else if (kind == FM_SIM_CUT_ONE_WAY)
        cut_one_way(w, a, b);
    else
        fm_sim_net_cut(w->net, w->nodes[a].bus_address, w->nodes[b].bus_address, false);
    fm_sim_after(w->clock, us, heal, w, 0);
}

/* One link, or all of node `a`. */
static void break_links(struct world *w, enum fm_sim_trouble kind, unsigned a, unsigned b)
{
    bool all = fm_sim_rand_chance(&w->chaos, 300000), forgotten = fm_sim_rand_chance(&w->chaos, 500000);
    SIM_TRACE(w, kind, "%s: n%u, n%u%s%s", kind == FM_SIM_RESET ? "reset" : "half open", a, b, all ? ", and all others" : "",
              forgotten ? ", forgotten" : "");
    for (unsigned i = 0; i < w->plan.nodes; i++) {
        if (i == a || (!all && i != b))
            continue;
        if (kind == FM_SIM_RESET)
            fm_sim_net_reset(w->net, w->nodes[a].bus_address, w->nodes[i].bus_address);
        else
            fm_sim_net_half_open(w->net, w->nodes[a].bus_address, w->nodes[i].bus_address, forgotten);
    }
}

static void hurry(void *ctx, uint64_t arg)
{
    (void)arg;
    struct world *w = ctx;
    if (!w->settling)
        fm_sim_net_faults_set(w->net, &w->plan.faults);
}

static void delay(struct world *w)
{
    struct fm_sim_faults slow = w->plan.faults;
    slow.delay_us_max = some_ms(w, 50, 1200);
    slow.delay_us_min = fm_sim_rand_below(&w->chaos, slow.delay_us_max);
    SIM_TRACE(w, slow.delay_us_max, "everything takes %llu to %llu us", (unsigned long long)slow.delay_us_min,
              (unsigned long long)slow.delay_us_max);
    fm_sim_net_faults_set(w->net, &slow);
    fm_sim_after(w->clock, some_ms(w, 200, 5000), hurry, w, 0);
}

/* ---- of nodes ---- */

void sim_restart(void *ctx, uint64_t life)
{
    struct node *n = ctx;
    if (n->life != life || (n->w->settling && n->slot != 0))
        return;
    if (n->hub && n->draining)
        sim_node_stop(n, false); /* it could not hand everything over in time */
    if (!n->hub)
        sim_node_start(n);
}

static void leave(struct world *w, struct node *n)
{
    unsigned life = n->life;
    sim_node_leave(n);
    fm_sim_after(w->clock, 6000 * FM_SIM_MS, sim_restart, n, life);
}

static void cold_start(struct world *w)
{
    SIM_TRACE(w, 0, "all nodes die");
    for (unsigned i = 0; i < w->plan.nodes; i++) {
        struct node *n = &w->nodes[i];
        if (n->hub)
            sim_node_stop(n, false);
        fm_sim_after(w->clock, some_ms(w, 0, 1500), sim_restart, n, n->life);
    }
}

static bool all_ready(const struct world *w)
{
    for (unsigned i = 0; i < w->plan.nodes; i++)
        if (!w->nodes[i].hub || w->nodes[i].draining || !fm_hub_stats(w->nodes[i].hub)->ready)
            return false;
    return true;
}

/* Restarts the nodes from `slot` on, each as soon as all are ready. A node that has left comes back at once. */
static void roll(void *ctx, uint64_t slot)
{
    struct world *w = ctx;
    if (w->settling)
        return;
    struct node *before = slot ? &w->nodes[slot - 1] : NULL;
    if (before && !before->hub)
        sim_node_start(before);
    if (all_ready(w)) {
        struct node *n = &w->nodes[slot];
        SIM_TRACE(w, slot, "n%u is next in a rolling restart", n->slot);
        if (fm_sim_rand_chance(&w->chaos, 700000))
            leave(w, n);
        else
            sim_node_stop(n, false);
        slot++;
    }
    if (slot < w->plan.nodes)
        fm_sim_after(w->clock, ROLL_LOOK_US, roll, w, slot);
    else
        fm_sim_after(w->clock, 6000 * FM_SIM_MS, sim_restart, &w->nodes[slot - 1], w->nodes[slot - 1].life);
}

static void clock_jump(struct world *w, struct node *n)
{
    int64_t hours = (int64_t)fm_sim_rand_below(&w->chaos, 25) - 12; /* sometimes it is right again */
    n->skew_ms = hours * HOUR_MS + (int64_t)fm_sim_rand_below(&w->chaos, 2000) - 1000;
    SIM_TRACE(w, hours, "the clock of n%u is %lld ms off", n->slot, (long long)n->skew_ms);
}

static void node_trouble(struct world *w, enum fm_sim_trouble kind)
{
    struct node *n = sim_node_any(w, &w->chaos);
    if (kind == FM_SIM_FREEZE)
        sim_node_freeze(n, some_ms(w, 50, fm_sim_rand_chance(&w->chaos, 800000) ? 7000 : 30000));
    else if (kind == FM_SIM_OVERRUN)
        sim_worker_overrun(&n->workers[fm_sim_rand_below(&w->chaos, w->plan.workers)], some_ms(w, 5, 800));
    else if (kind == FM_SIM_CLOCK)
        clock_jump(w, n);
    else if (kind == FM_SIM_LEAVE)
        leave(w, n);
    else {
        sim_node_stop(n, false);
        if (fm_sim_rand_chance(&w->chaos, 850000))
            fm_sim_after(w->clock, some_ms(w, 50, 6000), sim_restart, n, n->life);
    }
}

/* ---- what and when ---- */

/* Not so that nothing is left, and no rolling restart upon another. */
static bool possible(struct world *w, enum fm_sim_trouble kind)
{
    unsigned staying = sim_staying_count(w);
    if (kind == FM_SIM_ROLLING)
        return all_ready(w);
    return staying >= (kind & (FM_SIM_KILL | FM_SIM_LEAVE) ? 3 : 1);
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
    if (!possible(w, kind))
        return;
    w->report->troubles[__builtin_ctz(kind)]++;
    unsigned a = (unsigned)fm_sim_rand_below(&w->chaos, w->plan.nodes);
    unsigned b = (a + 1 + (unsigned)fm_sim_rand_below(&w->chaos, w->plan.nodes - 1)) % w->plan.nodes;
    if (kind & (FM_SIM_SPLIT | FM_SIM_CUT_PAIR | FM_SIM_CUT_ONE_WAY | FM_SIM_ISOLATE | FM_SIM_CHAIN))
        cut(w, kind, a, b);
    else if (kind & (FM_SIM_RESET | FM_SIM_HALF_OPEN))
        break_links(w, kind, a, b);
    else if (kind == FM_SIM_DELAY)
        delay(w);
    else if (kind == FM_SIM_COLD_START)
        cold_start(w);
    else if (kind == FM_SIM_ROLLING)
        roll(w, 0);
    else
        node_trouble(w, kind);
}

void sim_trouble_start(struct world *w)
{
    if (w->plan.troubles)
        fm_sim_after(w->clock, 2000 * FM_SIM_MS, trouble, w, 0);
}
