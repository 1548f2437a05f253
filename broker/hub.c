/* The hub's life and its step function. */
#include "hub_core.h"
#include "clock.h"
#include "diag.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SWEEP_EVERY_MS = 250,
    SWEEP_TOPICS = 2000,
    SEEDS_SAID = 600,   /* bytes of the addresses to join in the log */
    TICK_IDLE_MS = 250, /* when nothing is due */
    TICK_SERVE_MS = 1,  /* another node waits for an answer */
    TICK_BUSY_MS = 2,   /* a hello is owed, or a batch waits for an acknowledgement */
    BYE_LINGERS_MS = 50,
    TICK_WAIT_MS = 10, /* a hole, a held join or a replicated publish waits */
};

static struct fm_retention no_history(void *ctx, struct fm_slice topic)
{
    (void)ctx, (void)topic;
    return (struct fm_retention){0};
}

void fm_hub_config_default(struct fm_hub_config *c)
{
    *c = (struct fm_hub_config){
        .name = "",
        .bus_address = "",
        .ask_address = "",
        .workers = 1,
        .log_bytes = 64ull << 20,
        .log_age_ms = 600 * 1000,
        .memory_bytes = 1024ull << 20,
        .keys_bytes = 64ull << 20,
        .topics_max = 100000,
        .commands_bytes = 8 << 20,
        .replicas = 1,
        .heartbeat_ms = 500,
        .repair_after_ms = 50,
        .gap_ms = 5000,
        .found_ms = 3000,
        .join_wait_ms = 2000,
        .down_ms = 2000,
        .presence_bytes = 256ull << 20,
        .presence_grace_ms = 3000,
        .presence_pace_ms = 100,
        .presence_tombs = 1024,
        .presence_state_bytes = 256 << 10,
        .ask_timeout_ms = 2000,
        .cursor_ttl_ms = 24ull * 3600 * 1000,
        .window = 12,
        .window_live_ms = 200,
        .batch_bytes = 64 << 10,
        .backlog_bytes = 16 << 20,
        .repair_bytes_per_s = 64 << 20,
        .retention = no_history,
    };
}

static uint32_t seeds_count(const struct fm_hub_config *c)
{
    uint32_t n = 0;
    while (c->seeds && c->seeds[n])
        n++;
    return n;
}

enum fm_err fm_hub_new(struct fm_hub **out, const struct fm_hub_config *config, const struct fm_hub_port *port, struct fm_now now)
{
    *out = NULL;
    if (config->incarnation == 0 || config->incarnation == FM_CURSOR_ASOF || config->workers > FM_WORKERS_MAX || config->window == 0 ||
        config->window >= 16)
        return FM_E_INVALID;
    struct fm_hub *h = calloc(1, sizeof *h);
    if (!h)
        return FM_E_NOMEM;
    h->config = *config;
    h->port = *port;
    h->now = now;
    h->started_ms = h->doubted_ms = now.mono_ms;
    h->waiters_last = &h->waiters;
    for (unsigned w = 0; w < FM_WORKERS_MAX; w++)
        h->out[w].last = &h->out[w].first;
    h->seed_peer = calloc(seeds_count(config) + 1, sizeof *h->seed_peer);
    h->self = fm_origin_get(h, config->incarnation, now.mono_ms);
    if (!h->seed_peer || !h->self || fm_presence_init(h) != FM_OK) {
        fm_hub_free(&h);
        return FM_E_NOMEM;
    }
    /* A node that knows nobody founds its cluster at once. */
    h->ready = seeds_count(config) == 0 || !port->bus_ops;
    h->stats.ready = h->ready;
    *out = h;
    return FM_OK;
}

static void chain_free(struct fm_item *it)
{
    while (it) {
        struct fm_item *next = it->next;
        fm_hub_item_free(it);
        it = next;
    }
}

void fm_hub_free(struct fm_hub **hp)
{
    struct fm_hub *h = *hp;
    *hp = NULL;
    if (!h)
        return;
    fm_waiters_free(h);
    fm_held_free(h);
    fm_parcels_free(h);
    fm_gathers_free(h);
    fm_control_fini(h);
    for (unsigned w = 0; w < FM_WORKERS_MAX; w++)
        chain_free(h->out[w].first);
    fm_peers_free(h);
    fm_presence_free(h);
    fm_store_free(h);
    fm_vector_fini(&h->target);
    fm_buf_fini(&h->scratch);
    fm_buf_fini(&h->sealed);
    free(h->seed_peer);
    free(h);
}

/* A step begins. A node that stood still (a stopped process, a suspended machine) knows nothing of what happened meanwhile: it neither
 * takes the others for dead nor gives up what they have. */
static void step(struct fm_hub *h, struct fm_now now)
{
    uint64_t ms = fm_stood_still_ms(h->now.mono_ms, now.mono_ms);
    h->now = now;
    if (!ms)
        return;
    fm_peers_paused(h, ms);
    fm_presence_paused(h, ms);
    fm_repair_paused(h);
}

void fm_hub_start(struct fm_hub *h, struct fm_now now)
{
    step(h, now);
    fm_peers_start(h);
}

void fm_hub_handle(struct fm_hub *h, struct fm_now now, struct fm_item *item)
{
    step(h, now);
    struct fm_bus_item *bus = (struct fm_bus_item *)item; /* only where the kind says so */
    switch (item->kind) {
    case FM_HUB_JOIN:
        fm_join_handle(h, (struct fm_join *)item);
        return;
    case FM_HUB_LEAVE:
        fm_leave_handle(h, (struct fm_leave *)item);
        return;
    case FM_HUB_PUBLISH:
        h->live = true;
        fm_publish_handle(h, (struct fm_publish *)item);
        return;
    case FM_HUB_QUERY:
        fm_query_handle(h, (struct fm_query *)item);
        return;
    case FM_HUB_PARCEL:
        fm_parcel_handle(h, (struct fm_parcel *)item);
        return;
    case FM_HUB_INQUIRE:
        fm_inquire_handle(h, (struct fm_inquire *)item);
        return;
    case FM_HUB_TRACK:
        fm_track_handle(h, (struct fm_track *)item);
        return;
    case FM_BUS_ENVELOPE:
        fm_envelope_handle(h, bus);
        break;
    case FM_BUS_ASKED:
        fm_ask_handle(h, bus);
        break;
    case FM_BUS_ANSWERED:
        fm_answer_handle(h, bus);
        break;
    case FM_BUS_UP:
        fm_link_up(h, bus);
        break;
    case FM_BUS_DOWN:
        fm_link_down(h, bus);
        break;
    case FM_BUS_REFUSED:
        fm_refusal_of_tls(h, bus);
        break;
    default:
        assert(false && "an item that is not for the hub");
    }
    fm_hub_item_free(item);
}

/* Ready: everything that a ready node had when we met it is here. */
static bool caught_up(struct fm_hub *h)
{
    for (uint32_t i = 0; i < h->target.n; i++) {
        const struct fm_origin *o = fm_origin_find(h, h->target.at[i].origin);
        if (o && o != h->self && o->contig < h->target.at[i].seq) /* no o: there is room for younger ones only */
            return false;
    }
    return fm_presence_caught_up(h);
}

/* Nobody there is not yet ready: all may start at once. Nobody there at all is likely a mistake in an address. */
static void founded_say(const struct fm_hub *h)
{
    char seeds[SEEDS_SAID] = "";
    size_t n = 0;
    for (uint32_t i = 0; i < h->peers_n; i++)
        if (h->peers[i].alive) {
            fm_diag(FM_WARN, "ready",
                    "why=\"no ready node answered within found_ms\" then=\"it founded a cluster, and merges with the others when they are "
                    "ready\"");
            return;
        }
    for (uint32_t i = 0; h->config.seeds && h->config.seeds[i] && n < sizeof seeds; i++)
        n += (size_t)snprintf(seeds + n, sizeof seeds - n, "%s%s", i ? "," : "", h->config.seeds[i]);
    fm_diag(FM_WARN, "ready",
            "why=\"no node answered within found_ms; founded a cluster\" join=%s "
            "then=\"it goes on dialling; if the others run, check that these are their mesh_listen addresses, and the secret\"",
            seeds);
}

static void ready_check(struct fm_hub *h)
{
    if (h->ready)
        return;
    if (h->target_known && caught_up(h)) {
        h->ready = true;
        if (fm_mutation(SNAPSHOT_NOT_FOLLOWED))
            for (struct fm_origin *o = h->origins; o; o = o->hh.next)
                fm_contig_advance(h, o, o->claimed);
        fm_diag(FM_INFO, "ready", "why=\"took over the cluster's state\" origins=%u messages=%llu", h->target.n,
                (unsigned long long)h->stats.log_messages);
    } else if (h->now.mono_ms - h->started_ms >= h->config.found_ms) {
        bool any = false;
        for (uint32_t i = 0; i < h->peers_n; i++)
            any |= h->peers[i].alive && h->peers[i].ready;
        if (any && h->target_known)
            return; /* the take-over goes on */
        h->target_known = false;
        if (any)
            return; /* a ready node is there: its next heartbeat tells what to take over */
        h->ready = true;
        founded_say(h);
    }
    h->stats.ready = h->ready;
}

static uint64_t next_due(const struct fm_hub *h)
{
    if (h->asked_n)
        return TICK_SERVE_MS;
    if (fm_hello_due(h) || h->sent < h->self->contig)
        return TICK_BUSY_MS;
    bool soon = h->held || h->waiters || h->gathers || h->repairing || h->presence.pulling || !h->ready || h->draining;
    uint64_t ms = soon ? TICK_WAIT_MS : TICK_IDLE_MS;
    if (h->ack_due_ms)
        ms = fm_least(ms, h->ack_due_ms > h->now.mono_ms ? h->ack_due_ms - h->now.mono_ms : 1);
    return fm_presence_due(h, ms);
}

static void workers_flush(struct fm_hub *h)
{
    for (unsigned w = 0; w < h->config.workers; w++) {
        bool lost = h->lost >> w & 1;
        struct fm_item *first = h->out[w].first;
        if (!first && !lost)
            continue;
        h->out[w] = (struct fm_chain){NULL, &h->out[w].first};
        h->port.to_worker(h->port.ctx, w, first, lost);
    }
    h->lost = 0;
}

uint64_t fm_hub_flush(struct fm_hub *h, struct fm_now now)
{
    step(h, now);
    ready_check(h);
    if (h->held && h->changed)
        fm_held_check(h);
    h->changed = false;
    if (h->waiters)
        fm_waiters_check(h);
    if (h->gathers)
        fm_gathers_check(h);
    if (h->port.bus_ops) {
        if (fm_hello_due(h) || (h->ack_due_ms && now.mono_ms >= h->ack_due_ms))
            fm_peers_tick(h);
        fm_batches_send(h);
        fm_presence_send(h, false);
    }
    fm_presence_tell(h);
    if (h->couriers)
        fm_parcels_send(h);
    workers_flush(h);
    if (h->asked_n)
        fm_asks_serve(h);
    h->live = false;
    return next_due(h);
}

static bool heir_there(const struct fm_hub *h)
{
    for (uint32_t i = 0; i < h->peers_n; i++)
        if (h->peers[i].alive && !h->peers[i].draining)
            return true;
    return false;
}

/* Is there a node that stays and can take over what we have? If none is in reach: is there one at all, as far as we know? It may be back
 * before the drain's time is up. */
static bool heir_awaited(const struct fm_hub *h)
{
    bool known = false;
    if (heir_there(h))
        return false;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        const struct fm_peer *p = &h->peers[i];
        known |= !p->left && !(p->alive && p->draining);
    }
    /* Somebody who has not said yet who they are. A node speaks at once and a stranger that does not is sent away soon, but the next one
     * may be there by then: who came later does not count. */
    for (uint32_t i = 0; i < h->links_n; i++)
        known |= h->links[i].peer == 0 && !h->links[i].dropped && h->links[i].heard_ms <= h->drained_ms;
    return known;
}

/* Left: every live node has all that we have, was told that we go, and that message had time to leave. */
static void leave_check(struct fm_hub *h)
{
    if (!h->draining || h->left)
        return;
    if (h->bye_ms) {
        h->left = h->now.mono_ms - h->bye_ms >= BYE_LINGERS_MS;
    } else if (fm_mutation(LEAVES_AT_ONCE) || (!heir_awaited(h) && fm_everyone_has_all(h))) {
        h->left_alone = !heir_there(h);
        h->left = h->links_n == 0; /* there is nobody to tell */
        if (!h->left) {
            fm_presence_send(h, true);
            fm_bye_send(h);
        }
        h->bye_ms = h->now.mono_ms;
    }
}

uint64_t fm_hub_tick(struct fm_hub *h, struct fm_now now)
{
    step(h, now);
    if (now.mono_ms >= h->sweep_due_ms) {
        h->sweep_due_ms = now.mono_ms + SWEEP_EVERY_MS;
        fm_store_sweep(h, SWEEP_TOPICS);
        fm_control_tend(h);
    }
    fm_peers_tick(h);
    fm_presence_expire(h);
    fm_presence_look(h);
    if (h->port.bus_ops) {
        fm_repair_tick(h);
        fm_presence_pulls(h);
    }
    ready_check(h);
    if (h->held)
        fm_held_check(h);
    leave_check(h);
    return fm_hub_flush(h, now);
}

/* Whoever is given messages of a topic has what is too much evicted before. */
void fm_hub_retention(struct fm_hub *h, void *ctx)
{
    struct fm_topic *t, *next;
    h->config.retention_ctx = ctx;
    fm_leases_judge(h);
    HASH_ITER (hh, h->topics, t, next)
        fm_topic_retention(h, t);
}

void fm_hub_close(struct fm_hub *h)
{
    fm_waiters_close(h);
    workers_flush(h);
}

void fm_hub_drain(struct fm_hub *h, struct fm_now now)
{
    step(h, now);
    if (!h->draining) {
        h->drained_ms = now.mono_ms;
        for (struct fm_origin *o = h->origins; o; o = o->hh.next)
            o->drained = o->contig;
    }
    h->draining = true;
    if (h->port.bus_ops)
        fm_state_send(h, true);
}

bool fm_hub_left(const struct fm_hub *h)
{
    return h->left;
}

bool fm_hub_left_alone(const struct fm_hub *h)
{
    return h->left_alone;
}

void fm_hub_inbox_dropped(struct fm_hub *h, uint64_t n)
{
    h->stats.inbox_dropped += n;
}

const struct fm_hub_stats *fm_hub_stats(const struct fm_hub *h)
{
    return &h->stats;
}
