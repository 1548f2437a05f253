/* What the API shows in a simulated cluster: a backend whose calls come to any node, as behind a balancer, shows keys for a while, again
 * with another meta, and ends some. When all is healed it says of each key what is to be there; until then its calls may meet a node that
 * refuses them, is cut off or dies. */
#include "sim_world.h"

#include "../../broker/command.h"
#include "../../broker/hub_core.h" /* to see if a hub is ready */

#include <stdio.h>
#include <stdlib.h>

enum { LAST_TTL_MS = 3600 * 1000, AGAIN_US = 300 * FM_SIM_MS, ENDS_US = 1500 * FM_SIM_MS };

size_t sim_api_key(unsigned key, char out[24])
{
    return (size_t)snprintf(out, 24, "a%u", key);
}

size_t sim_api_meta(const struct sim_api_key *k, char out[48])
{
    return (size_t)snprintf(out, 48, "{\"n\":%u}", k->n);
}

static void put(struct world *w, struct node *n, unsigned at, uint64_t ttl_ms, bool last)
{
    unsigned topic = at / SIM_API_KEYS, key = at % SIM_API_KEYS;
    struct sim_api_key *k = &w->api_keys[topic][key];
    char name[24], meta[48];
    k->n++;
    const struct fm_track_parts parts = {
        .topic = sim_topic(w, topic), .key = fm_slice_of(name, sim_api_key(key, name)), .meta = fm_slice_of(meta, sim_api_meta(k, meta))};
    struct fm_track *t = fm_track_new(FM_TRACK, 0, 0, &parts);
    if (!t)
        abort();
    t->ttl_ms = ttl_ms;
    t->token = last ? 1 + at : 0;
    SIM_TRACE(w, k->n, "  the API shows %s on %s at n%u.%u: %u for %llu ms", name, w->topics[topic], n->slot, n->life, k->n,
              (unsigned long long)ttl_ms);
    sim_node_post(n, &t->item);
}

static void end(struct world *w, struct node *n, unsigned at)
{
    char name[24];
    const struct fm_cluster_command c = {.kind = FM_COMMAND_UNTRACK,
                                         .topic = sim_topic(w, at / SIM_API_KEYS),
                                         .text = fm_slice_of(name, sim_api_key(at % SIM_API_KEYS, name))};
    struct fm_publish *p = fm_publish_new(FM_NO_WORKER, 0, 1, (struct fm_slice){0});
    struct fm_msg *m = p ? fm_command_message(&c, (struct fm_slice){0}) : NULL;
    if (!m)
        abort();
    p->msgs[0] = m;
    SIM_TRACE(w, at, "  the API ends %s on %s at n%u.%u", name, w->topics[at / SIM_API_KEYS], n->slot, n->life);
    sim_node_post(n, &p->item);
}

/* One that is asked while it stands still takes it when it goes on, and then that is what was shown last. */
static struct node *ready_node(struct world *w)
{
    struct node *n = sim_node_any(w, &w->api);
    return n && n->hub->ready && fm_sim_now_us(w->clock) >= n->frozen_until_us ? n : NULL;
}

static void act(void *ctx, uint64_t arg)
{
    (void)arg;
    struct world *w = ctx;
    if (w->settling)
        return;
    fm_sim_after(w->clock, sim_around_us(&w->api, w->plan.presence_api_us), act, w, 0);
    struct node *n = ready_node(w);
    unsigned at = (unsigned)fm_sim_rand_below(&w->api, w->plan.topics * SIM_API_KEYS);
    if (n && fm_sim_rand_chance(&w->api, 750000))
        put(w, n, at, fm_sim_rand_between(&w->api, 1000, 8000), false);
    else if (n)
        end(w, n, at);
}

void sim_api_start(struct world *w)
{
    if (w->plan.presence_api_us)
        fm_sim_after(w->clock, 1000 * FM_SIM_MS, act, w, 0);
}

/* ---- the end ---- */

static void put_last(void *ctx, uint64_t at)
{
    struct world *w = ctx;
    struct node *n = ready_node(w);
    if (n)
        put(w, n, (unsigned)at, LAST_TTL_MS, true);
    else
        fm_sim_after(w->clock, AGAIN_US, put_last, w, at);
}

static void end_last(void *ctx, uint64_t at)
{
    struct world *w = ctx;
    struct node *n = ready_node(w);
    if (n)
        end(w, n, (unsigned)at);
    else
        fm_sim_after(w->clock, AGAIN_US, end_last, w, at);
}

void sim_api_last_words(struct world *w)
{
    for (unsigned at = 0; at < w->plan.topics * SIM_API_KEYS && w->plan.presence_api_us; at++) {
        w->api_keys[at / SIM_API_KEYS][at % SIM_API_KEYS].there = at % SIM_API_KEYS != 0;
        put_last(w, at);
    }
}

void sim_api_answered(struct world *w, struct node *n, struct fm_track *t)
{
    unsigned at = (unsigned)(t->token - 1);
    SIM_TRACE(w, at, "  n%u.%u answers that: %s", n->slot, n->life, fm_err_code(t->err));
    if (t->err && t->err != FM_E_NOT_READY && t->err != FM_E_DRAINING)
        fm_ledger_fault(w->ledger, FM_FAULT_PRESENCE, "the API was answered %s", fm_err_code(t->err));
    if (t->err)
        fm_sim_after(w->clock, AGAIN_US, put_last, w, at);
    else if (!w->api_keys[at / SIM_API_KEYS][at % SIM_API_KEYS].there)
        fm_sim_after(w->clock, ENDS_US, end_last, w, at);
    free(t);
}
