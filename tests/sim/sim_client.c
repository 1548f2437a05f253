/* Clients: each follows one topic, moves from node to node and resumes with its cursor. What a worker sends is under way for a moment, and
 * a connection that breaks takes some of it along. */
#include "sim_world.h"

#include <assert.h>
#include <stdlib.h>

enum { FRAME_US_MAX = 2500, JOIN_US_MAX = 10000 * FM_SIM_MS, FRESH_PPM = 120000 };

static void join(void *ctx, uint64_t serial);

/* ---- frames: what is on its way ---- */

static struct frame *frame_new(struct sim_client *c)
{
    struct frame *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    *c->last = f;
    c->last = &f->next;
    return f;
}

static void frame_free(struct frame *f)
{
    fm_msg_unref(&f->msg);
    fm_join_free(&f->join);
    fm_gap_free(&f->gap);
    free(f);
}

/* The client reads at most `most` things of a frame: a replay can break off in the middle. */
static void frame_read(struct sim_client *c, struct frame *f, uint32_t most)
{
    struct world *w = c->w;
    uint64_t incarnation = c->node->incarnation;
    if (f->msg) {
        SIM_TRACE(w, f->msg->id.seq, "  client %u gets %s", c->ledger, fm_ledger_id_text(w->ledger, f->msg->id));
        fm_ledger_given(w->ledger, c->ledger, incarnation, f->msg);
    }
    if (f->gap) {
        SIM_TRACE(w, f->gap->to, "  client %u gets a gap %s..%llu", c->ledger,
                  fm_ledger_id_text(w->ledger, (struct fm_id){f->gap->origin, f->gap->from}), (unsigned long long)f->gap->to);
        fm_ledger_gap(w->ledger, c->ledger, f->gap);
    }
    if (!f->join)
        return;
    SIM_TRACE(w, f->join->replayed, "  client %u has joined n%u.%u: recovered %d, replayed %u, at%s", c->ledger, c->node->slot, c->life,
              f->join->recovered, f->join->replayed, fm_ledger_vector_text(w->ledger, &f->join->cursor));
    fm_ledger_joined(w->ledger, c->ledger, f->join);
    for (uint32_t i = 0; i < f->join->replayed && i < most; i++) {
        SIM_TRACE(w, f->join->replay[i]->id.seq, "  client %u is replayed %s", c->ledger,
                  fm_ledger_id_text(w->ledger, f->join->replay[i]->id));
        fm_ledger_given(w->ledger, c->ledger, incarnation, f->join->replay[i]);
    }
}

/* Reads at most `most` frames; what is left is lost. */
static void frames_read(struct sim_client *c, uint32_t most, uint32_t most_replayed)
{
    for (struct frame *f = c->first, *next; f; f = next) {
        next = f->next;
        if (most) {
            most--;
            frame_read(c, f, most || !next ? most_replayed : most_replayed / 2);
        }
        frame_free(f);
    }
    c->first = NULL;
    c->last = &c->first;
}

static void frames_arrive(void *ctx, uint64_t serial)
{
    struct sim_client *c = ctx;
    if (c->serial != serial)
        return;
    c->due = false;
    frames_read(c, UINT32_MAX, UINT32_MAX);
}

static void frames_send(struct sim_client *c)
{
    if (c->due)
        return;
    c->due = true;
    fm_sim_after(c->w->clock, fm_sim_rand_below(&c->w->pace, FRAME_US_MAX), frames_arrive, c, c->serial);
}

/* ---- what workers do for them ---- */

bool sim_client_at(const struct sim_client *c, const struct sim_worker *sw, struct fm_slice topic)
{
    return c->state == CLIENT_IN && c->node == sw->node && c->life == sw->node->life && c->worker == sw->index &&
           fm_slice_eq(topic, sim_topic(c->w, c->topic));
}

void sim_client_msg(struct sim_client *c, struct fm_msg *m)
{
    if (fm_vector_raise(&c->sent, m->id.origin, m->id.seq) != FM_OK)
        abort();
    if (m->id.seq <= fm_vector_get(&c->skip, m->id.origin))
        return; /* it saw this elsewhere */
    frame_new(c)->msg = fm_msg_ref(m);
    frames_send(c);
}

void sim_client_gap(struct sim_client *c, const struct fm_gap *g)
{
    struct fm_gap *copy = calloc(1, sizeof *copy + g->topic_n);
    if (!copy)
        abort();
    *copy = *g;
    copy->cursor = (struct fm_vector){0};
    enum fm_err err = fm_vector_copy(&copy->cursor, &g->cursor);
    /* Its position is never behind what it saw elsewhere. */
    for (uint32_t i = 0; i < c->skip.n && g->cursor.n && !err; i++)
        err = fm_vector_raise(&copy->cursor, c->skip.at[i].origin, c->skip.at[i].seq);
    if (err)
        abort();
    memcpy(copy->topic, g->topic, g->topic_n);
    if (g->to != FM_GAP_OPEN && fm_vector_raise(&c->sent, g->origin, g->to) != FM_OK)
        abort();
    frame_new(c)->gap = copy;
    frames_send(c);
}

static void leave_post(struct node *n, unsigned worker, struct fm_slice topic)
{
    struct fm_leave *l = fm_leave_new(worker, 1, topic);
    if (!l)
        abort();
    sim_node_post(n, &l->item);
}

static void move(void *ctx, uint64_t serial)
{
    struct sim_client *c = ctx;
    struct world *w = c->w;
    if (c->serial != serial || c->state != CLIENT_IN || w->settling)
        return;
    sim_client_cut(c);
    w->report->moves++;
    if (fm_sim_rand_chance(&w->moves, FRESH_PPM)) {
        fm_ledger_client_gone(w->ledger, c->ledger);
        c->ledger = fm_ledger_client(w->ledger, sim_topic(w, c->topic));
    }
    sim_client_away(c, fm_sim_rand_below(&w->moves, 3000 * FM_SIM_MS));
}

void sim_client_join_answered(struct world *w, struct sim_worker *sw, struct fm_join *j)
{
    struct sim_client *c = &w->clients[j->sub >> 40];
    bool wanted = c->state == CLIENT_JOINING && c->serial == (j->sub & ((UINT64_C(1) << 40) - 1));
    if (j->err && j->err != FM_E_NOT_READY && j->err != FM_E_DRAINING)
        fm_ledger_fault(w->ledger, FM_FAULT_UNANSWERED, "a join was answered %s", fm_err_code(j->err));
    if (!j->err)
        fm_ledger_replied(w->ledger, sw->node->incarnation, j);
    if (!j->err && !wanted) { /* it went before it was in */
        leave_post(sw->node, sw->index, fm_slice_of(j->topic, j->topic_n));
        sim_presence_end(sw->node, sw->index, j->sub);
    }
    if (j->err && wanted)
        sim_client_away(c, sim_around_us(&w->moves, 300 * FM_SIM_MS));
    if (j->err || !wanted) {
        fm_join_free(&j);
        return;
    }
    c->state = CLIENT_IN;
    sim_presence_joined(c, j);
    if (fm_vector_copy(&c->skip, &j->skip) != FM_OK || fm_vector_copy(&c->sent, &j->at) != FM_OK)
        abort();
    frame_new(c)->join = j;
    frames_send(c);
    if (w->plan.move_us)
        fm_sim_after(w->clock, sim_around_us(&w->moves, w->plan.move_us), move, c, c->serial);
}

/* ---- coming and going ---- */

void sim_client_cut(struct sim_client *c)
{
    struct world *w = c->w;
    SIM_TRACE(w, c->ledger, "  client %u goes from n%u.%u", c->ledger, c->node->slot, c->life);
    bool all = fm_sim_rand_chance(&w->moves, 500000);
    frames_read(c, all ? UINT32_MAX : (uint32_t)fm_sim_rand_below(&w->moves, 4),
                all ? UINT32_MAX : (uint32_t)fm_sim_rand_below(&w->moves, 8));
    if (c->state == CLIENT_IN)
        sim_presence_cut(c);
    if (c->state == CLIENT_IN && node_up(c->node, c->life)) {
        leave_post(c->node, c->worker, sim_topic(w, c->topic));
        sim_presence_end(c->node, c->worker, c->holder);
    }
    c->state = CLIENT_AWAY;
    c->serial = ++w->serials;
    c->due = false;
}

void sim_client_away(struct sim_client *c, uint64_t us)
{
    c->state = CLIENT_AWAY;
    c->serial = ++c->w->serials;
    fm_sim_after(c->w->clock, us, join, c, c->serial);
}

static void join_late(void *ctx, uint64_t serial)
{
    struct sim_client *c = ctx;
    if (c->serial != serial || c->state != CLIENT_JOINING)
        return;
    SIM_TRACE(c->w, c->ledger, "  client %u gives up its join", c->ledger);
    sim_client_away(c, 100 * FM_SIM_MS);
}

/* A mutation: the cursor that travels is not the client's. */
static void cursor_mutate(struct world *w, struct fm_vector *cursor)
{
    for (uint32_t i = 0; i < cursor->n; i++) {
        if (w->plan.mutation == FM_SIM_CURSOR_HIGH)
            cursor->at[i].seq++;
        if (w->plan.mutation == FM_SIM_CURSOR_LOW && cursor->at[i].seq)
            cursor->at[i].seq--;
    }
}

static void join(void *ctx, uint64_t serial)
{
    static const uint32_t lasts[] = {0, 1, 5, UINT32_MAX};
    struct sim_client *c = ctx;
    struct world *w = c->w;
    if (c->serial != serial || c->state != CLIENT_AWAY)
        return;
    struct node *n = sim_node_any(w, &w->moves);
    if (!n) {
        sim_client_away(c, 300 * FM_SIM_MS);
        return;
    }
    const struct fm_vector *cursor = fm_ledger_cursor(w->ledger, c->ledger);
    c->state = CLIENT_JOINING;
    c->node = n;
    c->life = n->life;
    c->worker = (unsigned)fm_sim_rand_below(&w->moves, w->plan.workers);
    c->serial = ++w->serials;
    struct fm_join *j = fm_join_new(c->worker, (uint64_t)c->index << 40 | c->serial, sim_topic(w, c->topic));
    if (!j || fm_vector_copy(&j->cursor, cursor) != FM_OK)
        abort();
    j->has_cursor = cursor->n > 0;
    j->last = j->has_cursor ? 0 : lasts[fm_sim_rand_below(&w->moves, sizeof lasts / sizeof lasts[0])];
    sim_presence_join(c, j);
    cursor_mutate(w, &j->cursor);
    SIM_TRACE(w, c->ledger, "  client %u joins n%u.%u %s from%s", c->ledger, n->slot, n->life, w->topics[c->topic],
              fm_ledger_vector_text(w->ledger, cursor));
    sim_node_post(n, &j->item);
    fm_sim_after(w->clock, JOIN_US_MAX, join_late, c, c->serial);
}

/* ---- all of them ---- */

void sim_clients_init(struct world *w)
{
    w->clients = calloc(w->plan.clients, sizeof *w->clients);
    if (!w->clients)
        abort();
    for (unsigned i = 0; i < w->plan.clients; i++) {
        struct sim_client *c = &w->clients[i];
        *c = (struct sim_client){.w = w, .index = i, .topic = i % w->plan.topics, .node = &w->nodes[0]};
        c->last = &c->first;
        c->ledger = fm_ledger_client(w->ledger, sim_topic(w, c->topic));
        sim_client_away(c, fm_sim_rand_below(&w->moves, 6000 * FM_SIM_MS));
    }
}

void sim_clients_free(struct world *w)
{
    for (unsigned i = 0; i < w->plan.clients; i++) {
        struct sim_client *c = &w->clients[i];
        frames_read(c, 0, 0);
        fm_vector_fini(&c->skip);
        fm_vector_fini(&c->sent);
    }
    free(w->clients);
    w->clients = NULL;
}

bool sim_clients_in(const struct world *w)
{
    for (unsigned i = 0; i < w->plan.clients; i++)
        if (w->clients[i].state != CLIENT_IN || w->clients[i].first)
            return false;
    return true;
}
