/* A node: a hub, its inbox and its steps, on virtual time. */
#include "sim_world.h"

#include "../../broker/hub_core.h" /* to look into a hub in the end */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ENVELOPE_MAX = 1 << 20,
    STEP_US_MAX = 400, /* from the first item in an empty inbox to its drain */
    WALL_MS = 1700000000,
};

static struct fm_now now_of(const struct node *n)
{
    uint64_t mono_ms = fm_sim_now_us(n->w->clock) / FM_SIM_MS;
    return (struct fm_now){1000 + mono_ms, (uint64_t)(WALL_MS * INT64_C(1000) + (int64_t)mono_ms + n->skew_ms)};
}

/* ---- steps ---- */

static void tick(void *ctx, uint64_t serial);

static void arm(struct node *n, uint64_t ms)
{
    assert(ms >= 1 && ms <= 1000);
    n->tick_at_us = fm_sim_now_us(n->w->clock) + ms * FM_SIM_MS;
    fm_sim_after(n->w->clock, ms * FM_SIM_MS, tick, n, ++n->tick_serial);
}

/* Is there a node that took over what it had, and neither leaves itself nor died before anyone noticed? */
static bool heir_stays(const struct node *n)
{
    for (uint32_t i = 0; i < n->hub->peers_n; i++)
        for (unsigned k = 0; k < n->w->plan.nodes; k++) {
            const struct node *other = &n->w->nodes[k];
            if (other->hub && !other->draining && n->hub->peers[i].alive && n->hub->peers[i].incarnation == other->incarnation)
                return true;
        }
    return false;
}

static void tick_and_arm(struct node *n)
{
    arm(n, fm_hub_tick(n->hub, now_of(n)));
    if (n->draining && fm_hub_left(n->hub))
        sim_node_stop(n, heir_stays(n));
}

static void tick(void *ctx, uint64_t serial)
{
    struct node *n = ctx;
    if (!n->hub || serial != n->tick_serial)
        return;
    uint64_t now_us = fm_sim_now_us(n->w->clock);
    if (now_us < n->frozen_until_us)
        fm_sim_after(n->w->clock, n->frozen_until_us - now_us, tick, n, serial);
    else
        tick_and_arm(n);
}

static void drain(void *ctx, uint64_t life)
{
    struct node *n = ctx;
    if (!node_up(n, (unsigned)life))
        return;
    uint64_t now_us = fm_sim_now_us(n->w->clock);
    if (now_us < n->frozen_until_us) {
        fm_sim_after(n->w->clock, n->frozen_until_us - now_us, drain, n, life);
        return;
    }
    struct fm_item *it = n->first, *next;
    n->first = NULL;
    n->last = &n->first;
    n->due = false;
    for (; it; it = next) {
        next = it->next;
        fm_hub_handle(n->hub, now_of(n), it);
    }
    /* As hub_thread.c: what was handled may be due sooner than what the timer waits for. */
    uint64_t due_ms = fm_hub_flush(n->hub, now_of(n));
    if (n->tick_at_us > now_us + due_ms * FM_SIM_MS)
        arm(n, due_ms);
}

void sim_node_post(struct node *n, struct fm_item *item)
{
    if (!n->hub) {
        fm_hub_item_free(item);
        return;
    }
    item->next = NULL;
    *n->last = item;
    n->last = &item->next;
    if (n->due)
        return;
    n->due = true;
    fm_sim_after(n->w->clock, fm_sim_rand_below(&n->w->pace, STEP_US_MAX), drain, n, n->life);
}

static void deliver(void *ctx, struct fm_bus_item *item)
{
    sim_node_post(ctx, &item->item);
}

static void to_worker(void *ctx, unsigned worker, struct fm_item *chain, bool lost)
{
    struct node *n = ctx;
    sim_worker_take(&n->workers[worker], chain, lost);
}

/* ---- life ---- */

static struct fm_retention retention(void *ctx, struct fm_slice topic)
{
    const struct world *w = ctx;
    if (w->plan.evicts)
        return (struct fm_retention){topic.p[topic.n - 1] % 3 == 0 ? 3 : 25, 1 << 20,
                                     w->plan.short_lived ? SIM_SHORT_LIFE_MS : 3600 * 1000};
    return (struct fm_retention){1 << 20, 1 << 30, 3600 * 1000};
}

void sim_node_init(struct world *w, unsigned slot)
{
    struct node *n = &w->nodes[slot];
    *n = (struct node){.w = w, .slot = slot};
    (void)snprintf(n->bus_address, sizeof n->bus_address, "10.0.0.%u:7000", slot);
    (void)snprintf(n->ask_address, sizeof n->ask_address, "10.0.0.%u:7001", slot);
    (void)snprintf(n->name, sizeof n->name, "n%u", slot);
    /* The first node knows only the last one; everyone else the first and a neighbour. */
    n->seeds[0] = slot ? w->nodes[0].bus_address : w->nodes[w->plan.nodes - 1].bus_address;
    n->seeds[1] = slot > 1 ? w->nodes[slot - 1].bus_address : NULL;
    n->skew_ms = (int64_t)fm_sim_rand_below(&w->pace, 2000) - 1000;
    n->last = &n->first;
    for (unsigned i = 0; i < FM_SIM_WORKERS_MAX; i++) {
        n->workers[i] = (struct sim_worker){.node = n, .index = i};
        n->workers[i].last = &n->workers[i].first;
    }
}

static struct fm_hub_config hub_config(struct node *n)
{
    struct fm_hub_config c;
    fm_hub_config_default(&c);
    c.incarnation = n->incarnation;
    c.name = n->name;
    c.bus_address = n->bus_address;
    c.ask_address = n->ask_address;
    c.seeds = n->seeds;
    c.workers = n->w->plan.workers;
    c.seal = n->seal;
    c.retention = retention;
    c.retention_ctx = n->w;
    if (n->w->plan.evicts)
        c.log_bytes = 5 << 10;
    if (n->w->plan.short_lived) {
        c.log_age_ms = SIM_SHORT_LIFE_MS;
        c.cursor_ttl_ms = 30000;
    }
    if (n->w->plan.capped >> n->slot & 1)
        c.memory_bytes = n->w->plan.memory_bytes;
    c.batch_bytes = n->w->plan.batch_bytes;
    c.gap_ms = n->w->plan.gap_ms;
    c.repair_after_ms = n->w->plan.repair_after_ms;
    c.window = n->w->plan.window;
    if (n->w->plan.presence_tombs)
        c.presence_tombs = n->w->plan.presence_tombs;
    if (n->w->plan.presence_grace_ms)
        c.presence_grace_ms = n->w->plan.presence_grace_ms;
    return c;
}

void sim_node_start(struct node *n)
{
    struct world *w = n->w;
    assert(!n->hub);
    n->life++;
    if (n->life == 1 || w->plan.mutation != FM_SIM_ORIGIN_REUSED)
        n->incarnation = fm_sim_rand_next(&w->pace) | 1;
    n->frozen_until_us = 0;
    n->draining = n->due = false;
    fm_ledger_node_up(w->ledger, n->incarnation, n->slot, n->life);
    const struct fm_bus_config bus_config = {
        .listen = n->bus_address, .listen_ask = n->ask_address, .envelope_max = ENVELOPE_MAX, .deliver = deliver, .ctx = n};
    const char *what;
    enum fm_err err = fm_seal_new(&n->seal, FM_LIT("sim"), (struct fm_slice){0}, n->incarnation);
    if (!err)
        err = fm_bus_sim.start(&n->bus, &bus_config, &what);
    struct fm_hub_config config = hub_config(n);
    const struct fm_hub_port port = {n, to_worker, &fm_bus_sim, n->bus};
    if (!err)
        err = fm_hub_new(&n->hub, &config, &port, now_of(n));
    if (err)
        abort();
    SIM_TRACE(w, n->incarnation, "n%u.%u starts", n->slot, n->life);
    fm_hub_start(n->hub, now_of(n));
    for (unsigned i = 0; i < w->plan.workers; i++)
        sim_presence_watch(&n->workers[i]);
    tick_and_arm(n);
}

static void stats_add(struct world *w, const struct fm_hub_stats *s)
{
    struct fm_sim_report *r = w->report;
    r->published += s->published;
    r->joins += s->joins;
    r->gaps += s->gaps;
    r->unrecovered += s->joins_unrecovered;
    r->duplicates += s->duplicates;
    r->suppressed += s->suppressed_key;
    r->repaired += s->repaired;
    r->not_replicated += s->not_replicated;
}

void sim_node_stop(struct node *n, bool left)
{
    struct world *w = n->w;
    SIM_TRACE(w, n->incarnation, "n%u.%u %s", n->slot, n->life, left ? "has left" : "dies");
    stats_add(w, fm_hub_stats(n->hub));
    if (!fm_hub_left(n->hub))
        sim_presence_died(n);
    fm_bus_sim.stop(&n->bus);
    fm_hub_free(&n->hub);
    fm_seal_free(&n->seal);
    for (struct fm_item *it = n->first, *next; it; it = next) {
        next = it->next;
        fm_hub_item_free(it);
    }
    n->first = NULL;
    n->last = &n->first;
    if (n->frozen_until_us)
        fm_sim_net_stall(w->net, n->bus_address, false);
    n->frozen_until_us = 0;
    fm_ledger_node_gone(w->ledger, n->incarnation, left);
    for (unsigned i = 0; i < w->plan.clients; i++) {
        struct sim_client *c = &w->clients[i];
        if (c->node == n && c->state != CLIENT_AWAY) {
            sim_client_cut(c);
            sim_client_away(c, sim_around_us(&w->moves, 500 * FM_SIM_MS));
        }
    }
    for (unsigned i = 0; i < w->plan.workers; i++)
        sim_worker_clear(&n->workers[i]);
    sim_load_node_gone(w, n);
}

static void thaw(void *ctx, uint64_t life)
{
    struct node *n = ctx;
    if (!node_up(n, (unsigned)life) || fm_sim_now_us(n->w->clock) < n->frozen_until_us)
        return;
    n->frozen_until_us = 0;
    fm_sim_net_stall(n->w->net, n->bus_address, false);
}

void sim_node_freeze(struct node *n, uint64_t us)
{
    uint64_t until_us = fm_sim_now_us(n->w->clock) + us;
    if (until_us <= n->frozen_until_us)
        return;
    SIM_TRACE(n->w, us, "n%u.%u freezes for %llu ms", n->slot, n->life, (unsigned long long)us / FM_SIM_MS);
    n->frozen_until_us = until_us;
    fm_sim_net_stall(n->w->net, n->bus_address, true);
    fm_sim_after(n->w->clock, us, thaw, n, n->life);
    sim_load_node_frozen(n->w, n, us);
}

void sim_node_leave(struct node *n)
{
    struct world *w = n->w;
    SIM_TRACE(w, n->slot, "n%u.%u drains", n->slot, n->life);
    n->draining = true;
    for (unsigned i = 0; i < w->plan.clients; i++) {
        struct sim_client *c = &w->clients[i];
        if (c->node == n && c->state != CLIENT_AWAY) {
            sim_client_cut(c);
            sim_client_away(c, sim_around_us(&w->moves, 500 * FM_SIM_MS));
        }
    }
    fm_hub_drain(n->hub, now_of(n));
    tick_and_arm(n);
}

struct node *sim_node_any(struct world *w, struct fm_sim_rand *r)
{
    struct node *up[FM_SIM_NODES_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < w->plan.nodes; i++)
        if (w->nodes[i].hub && !w->nodes[i].draining)
            up[n++] = &w->nodes[i];
    return n ? up[fm_sim_rand_below(r, n)] : NULL;
}

/* ---- the end ---- */

static void vector_set(struct fm_vector *v, uint64_t origin, uint64_t seq)
{
    if (fm_vector_set(v, origin, seq) != FM_OK)
        abort();
}

void sim_node_final(struct node *n)
{
    struct fm_vector contig = {0};
    const struct fm_origin *o, *tmp;
    HASH_ITER (hh, n->hub->origins, o, tmp)
        vector_set(&contig, o->id, o->contig);
    fm_ledger_final_node(n->w->ledger, n->incarnation, &contig);
    fm_vector_fini(&contig);
    static const struct fm_topic nothing;
    for (unsigned i = 0; i < n->w->plan.topics; i++) {
        const struct fm_topic *t = fm_topic_find(n->hub, sim_topic(n->w, i));
        t = t ? t : &nothing;
        struct fm_vector floor = {0};
        HASH_ITER (hh, n->hub->origins, o, tmp)
            vector_set(&floor, o->id, fm_topic_floor(t, o));
        fm_ledger_final_topic(n->w->ledger, n->incarnation, sim_topic(n->w, i), t->history + t->head, t->history_n, &floor);
        fm_vector_fini(&floor);
    }
}
