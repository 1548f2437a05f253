/* A node's worker, as gateway/worker/worker.c must behave: it gives what its hub posts to the clients that joined here, in the order of its
 * inbox, and reads its topics again after it lost something. The mutations of the test of the test are here too. */
#include "sim_world.h"

#include <stdlib.h>

enum { DRAIN_US_MAX = 600 };

/* ---- reading again ---- */

static void reread(struct sim_worker *sw, unsigned topic)
{
    struct world *w = sw->node->w;
    struct fm_join *j = fm_join_new(sw->index, UINT64_MAX, sim_topic(w, topic));
    if (!j || fm_vector_copy(&j->cursor, &sw->views[topic].at) != FM_OK)
        abort();
    j->reread = j->has_cursor = true;
    sw->views[topic].rereads++;
    w->report->rereads++;
    sim_node_post(sw->node, &j->item);
}

static bool anyone_at(const struct sim_worker *sw, unsigned topic)
{
    const struct world *w = sw->node->w;
    for (unsigned i = 0; i < w->plan.clients; i++)
        if (sim_client_at(&w->clients[i], sw, sim_topic(w, topic)))
            return true;
    return false;
}

static void lost_something(struct sim_worker *sw)
{
    const struct world *w = sw->node->w;
    for (unsigned topic = 0; topic < w->plan.topics && w->plan.mutation != FM_SIM_OVERRUN_IGNORED; topic++)
        if (anyone_at(sw, topic))
            reread(sw, topic);
    sim_presence_watch(sw);
}

/* What was lost lies before, behind or between what is in the inbox: until the answer the stream is not to be believed. */
static bool behind(const struct sim_worker *sw, unsigned topic)
{
    return (sw->overrun && sw->node->w->plan.mutation != FM_SIM_OVERRUN_IGNORED) || sw->views[topic].rereads;
}

static void give(struct sim_worker *sw, struct fm_slice topic, struct fm_msg *m, bool again)
{
    struct world *w = sw->node->w;
    for (unsigned i = 0; i < w->plan.clients; i++) {
        struct sim_client *c = &w->clients[i];
        if (!sim_client_at(c, sw, topic) || (again && m->id.seq <= fm_vector_get(&c->sent, m->id.origin)))
            continue;
        sim_client_msg(c, m);
    }
}

static void give_gap(struct sim_worker *sw, struct fm_slice topic, const struct fm_gap *g)
{
    struct world *w = sw->node->w;
    for (unsigned i = 0; i < w->plan.clients && w->plan.mutation != FM_SIM_GAPS_MUTED; i++)
        if (sim_client_at(&w->clients[i], sw, topic))
            sim_client_gap(&w->clients[i], g);
}

/* What is gone up to `to`: for each client what it was not sent. One that joined meanwhile is further than the others. */
static void tell_missed(struct sim_worker *sw, struct fm_slice topic, struct fm_id to)
{
    struct world *w = sw->node->w;
    for (unsigned i = 0; i < w->plan.clients; i++) {
        struct sim_client *c = &w->clients[i];
        const struct fm_gap g = {
            .reason = FM_GAP_OVERRUN, .origin = to.origin, .from = fm_vector_get(&c->sent, to.origin) + 1, .to = to.seq};
        if (sim_client_at(c, sw, topic) && g.from <= g.to)
            sim_client_gap(c, &g);
    }
}

static void reread_answered(struct sim_worker *sw, unsigned topic, struct fm_join *j)
{
    struct sim_view *view = &sw->views[topic];
    view->rereads--;
    if (j->err)
        return; /* the node drains: its clients are on their way elsewhere */
    struct world *w = sw->node->w;
    SIM_TRACE(w, j->replayed, "n%u.%u worker %u has reread %s: recovered %d, replayed %u, at%s", sw->node->slot, sw->node->life, sw->index,
              w->topics[topic], j->recovered, j->replayed, fm_ledger_vector_text(w->ledger, &j->cursor));
    fm_ledger_replied(w->ledger, sw->node->incarnation, j);
    for (uint32_t i = 0; i < j->cursor.n && !j->recovered; i++)
        tell_missed(sw, sim_topic(w, topic), j->cursor.at[i]);
    for (uint32_t i = 0; i < j->replayed; i++)
        give(sw, sim_topic(w, topic), j->replay[i], true);
    if (fm_vector_copy(&view->at, &j->at) != FM_OK)
        abort();
}

/* ---- the inbox ---- */

static unsigned topic_index(const struct world *w, struct fm_slice name)
{
    for (unsigned i = 0; i < w->plan.topics; i++)
        if (fm_slice_eq(name, sim_topic(w, i)))
            return i;
    abort();
}

static void raise(struct fm_vector *v, uint64_t origin, uint64_t seq)
{
    if (fm_vector_raise(v, origin, seq) != FM_OK)
        abort();
}

static void on_join(struct sim_worker *sw, struct fm_join *j)
{
    struct world *w = sw->node->w;
    unsigned topic = topic_index(w, fm_slice_of(j->topic, j->topic_n));
    if (j->reread) {
        reread_answered(sw, topic, j);
        fm_join_free(&j);
        return;
    }
    bool raised = !anyone_at(sw, topic) || !behind(sw, topic);
    for (uint32_t i = 0; i < j->at.n && raised; i++)
        raise(&sw->views[topic].at, j->at.at[i].origin, j->at.at[i].seq);
    sim_client_join_answered(w, sw, j);
}

/* A mutation: true if the message was lost, or is given later, out of order. */
static bool mutated(struct sim_worker *sw, struct fm_msg *m)
{
    struct world *w = sw->node->w;
    if (w->plan.mutation == FM_SIM_DROPS_MESSAGE)
        return fm_sim_rand_chance(&w->mutate, 10000);
    if (w->plan.mutation != FM_SIM_SWAPS_MESSAGES)
        return false;
    if (!sw->swapped && fm_sim_rand_chance(&w->mutate, 50000)) {
        sw->swapped = fm_msg_ref(m);
        return true;
    }
    if (sw->swapped && sw->swapped->id.origin == m->id.origin && fm_slice_eq(fm_msg_topic(sw->swapped), fm_msg_topic(m))) {
        give(sw, fm_msg_topic(m), m, false);
        give(sw, fm_msg_topic(m), sw->swapped, false);
        fm_msg_unref(&sw->swapped);
        return true;
    }
    return false;
}

static void on_msg(struct sim_worker *sw, struct fm_msg *m)
{
    unsigned topic = topic_index(sw->node->w, fm_msg_topic(m));
    if (fm_msg_of_presence(m)) {
        if (!sw->overrun) /* else it asks anew */
            sim_presence_told(sw, topic, m);
        return;
    }
    if (behind(sw, topic))
        return; /* the answer holds it, or what follows it does */
    raise(&sw->views[topic].at, m->id.origin, m->id.seq);
    if (!mutated(sw, m))
        give(sw, fm_msg_topic(m), m, false);
}

static void on_gap(struct sim_worker *sw, const struct fm_gap *g)
{
    struct world *w = sw->node->w;
    for (unsigned topic = 0; topic < w->plan.topics; topic++) {
        struct sim_view *view = &sw->views[topic];
        if ((g->topic_n && !fm_slice_eq(sim_topic(w, topic), fm_slice_of(g->topic, g->topic_n))) || behind(sw, topic))
            continue;
        if (g->to != FM_GAP_OPEN)
            raise(&view->at, g->origin, g->to);
        give_gap(sw, sim_topic(w, topic), g);
    }
}

static void on_state(struct sim_worker *sw, const struct fm_presence_state *s)
{
    for (uint32_t i = 0; i < s->n && !sw->overrun; i++)
        sim_presence_told(sw, topic_index(sw->node->w, fm_msg_topic(s->msgs[i])), s->msgs[i]);
}

static void handle(struct sim_worker *sw, struct fm_item *it)
{
    switch (it->kind) {
    case FM_HUB_JOIN:
        on_join(sw, (struct fm_join *)it);
        return;
    case FM_HUB_PUBLISH:
        sim_load_answered(sw->node->w, sw->node, (struct fm_publish *)it);
        return;
    case FM_HUB_TRACK:
        sim_api_answered(sw->node->w, sw->node, (struct fm_track *)it);
        return;
    case FM_HUB_MSG:
        on_msg(sw, ((struct fm_msg_item *)it)->msg);
        break;
    case FM_HUB_GAP:
        on_gap(sw, (struct fm_gap *)it);
        break;
    case FM_HUB_PRESENCE:
        on_state(sw, (const struct fm_presence_state *)it);
        break;
    default:
        abort();
    }
    fm_hub_item_free(it);
}

static void drain(void *ctx, uint64_t life)
{
    struct sim_worker *sw = ctx;
    struct node *n = sw->node;
    if (!node_up(n, (unsigned)life))
        return;
    uint64_t now_us = fm_sim_now_us(n->w->clock), until_us = n->frozen_until_us;
    if (until_us < sw->busy_until_us)
        until_us = sw->busy_until_us;
    if (now_us < until_us) {
        fm_sim_after(n->w->clock, until_us - now_us, drain, sw, life);
        return;
    }
    struct fm_item *it = sw->first, *next;
    sw->first = NULL;
    sw->last = &sw->first;
    sw->due = false;
    for (; it; it = next) {
        next = it->next;
        handle(sw, it);
    }
    if (sw->overrun)
        lost_something(sw);
    sw->overrun = false;
}

/* A full inbox takes answers and gaps, but no messages. */
static struct fm_item *without_messages(struct fm_item *chain)
{
    for (struct fm_item **at = &chain; *at;) {
        struct fm_item *it = *at;
        if (it->kind == FM_HUB_MSG || it->kind == FM_HUB_PRESENCE) {
            *at = it->next;
            fm_hub_item_free(it);
        } else {
            at = &it->next;
        }
    }
    return chain;
}

void sim_worker_take(struct sim_worker *sw, struct fm_item *chain, bool lost)
{
    struct world *w = sw->node->w;
    sw->overrun |= lost;
    if (fm_sim_now_us(w->clock) < sw->busy_until_us) {
        chain = without_messages(chain);
        sw->overrun = true;
    }
    *sw->last = chain;
    while (*sw->last)
        sw->last = &(*sw->last)->next;
    if (sw->due)
        return;
    sw->due = true;
    fm_sim_after(w->clock, fm_sim_rand_below(&w->pace, DRAIN_US_MAX), drain, sw, sw->node->life);
}

void sim_worker_overrun(struct sim_worker *sw, uint64_t us)
{
    SIM_TRACE(sw->node->w, sw->index, "n%u.%u worker %u is overrun for %llu ms", sw->node->slot, sw->node->life, sw->index,
              (unsigned long long)us / FM_SIM_MS);
    sw->busy_until_us = fm_sim_now_us(sw->node->w->clock) + us;
}

void sim_worker_clear(struct sim_worker *sw)
{
    for (struct fm_item *it = sw->first, *next; it; it = next) {
        next = it->next;
        fm_hub_item_free(it);
    }
    sw->first = NULL;
    sw->last = &sw->first;
    sw->due = sw->overrun = false;
    sw->busy_until_us = 0;
    fm_msg_unref(&sw->swapped);
    sim_presence_forget(sw);
    for (unsigned i = 0; i < FM_SIM_TOPICS_MAX; i++) {
        fm_vector_fini(&sw->views[i].at);
        sw->views[i].rereads = 0;
    }
}
