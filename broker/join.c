/* Joins and cursors: what a subscriber is given on the way in, and whether it is told that it missed something.
 *
 * For every origin O the client is at cursor[O] (0 where it names none), the history lacks what is up to floor[O], and the topic is at
 * last[O].
 *
 *   - recovered is true if floor[O] <= cursor[O] for every origin, every origin that the cursor names is known, and none that it could not
 *     name was forgotten since (asof.c).
 *   - start[O] is max(cursor[O], floor[O]): the position before the replay, which replaces the client's cursor.
 *   - The replay is what the history has above start, in the history's order.
 *
 * A cursor above last[O] saw more elsewhere: the join waits at most join_wait_ms for the node to catch up. Then, if some node claims that
 * much, or not every node that we know of can be reached, the subscription is not given anything of O up to the cursor (skip), and the
 * position stays in its cursor: else what it saw on the other side of a split would be given again, here after the heal or by the next
 * node. If the cluster is whole and nobody claims it, the position can't be true and is refused: recovered is false. */
#include "hub_core.h"

#include <assert.h>
#include <stdlib.h>

void fm_topic_vector(struct fm_hub *h, const struct fm_topic *t, struct fm_vector *v)
{
    struct fm_origin *o, *tmp;
    v->n = 0;
    HASH_ITER (hh, h->origins, o, tmp) {
        uint64_t last = fm_topic_last(t, o);
        /* The own origin is always named, so that a cursor is never empty: an empty one means "first join". */
        if ((last || o == h->self) && fm_vector_set(v, o->id, last) != FM_OK)
            h->lost = UINT64_MAX;
    }
}

static bool above(const struct fm_vector *start, const struct fm_msg *m)
{
    return m->id.seq + fm_mutation(CURSOR_LOW) > fm_vector_get(start, m->id.origin) + fm_mutation(CURSOR_HIGH);
}

/* Positions beyond what this node has: believed, and skipped, or refused. */
static enum fm_err believe(struct fm_hub *h, const struct fm_topic *t, struct fm_vector *cursor, struct fm_resume *r)
{
    bool whole = fm_cluster_whole(h);
    enum fm_err err = FM_OK;
    for (uint32_t i = 0; i < cursor->n && !err; i++) {
        struct fm_id at = cursor->at[i];
        const struct fm_origin *o = fm_origin_find(h, at.origin);
        uint64_t last = o ? fm_topic_last(t, o) : 0;
        if (!o)
            r->recovered = false;
        if (o && (at.seq <= last || at.seq <= o->contig))
            continue;
        if (o ? at.seq <= o->claimed || (!whole && o != h->self) : !whole) {
            err = fm_vector_set(&r->skip, at.origin, at.seq);
        } else if (o) {
            r->recovered = false;
            cursor->at[i].seq = last;
        }
    }
    return err;
}

enum fm_err fm_resume(struct fm_hub *h, struct fm_topic *t, struct fm_vector *cursor, uint32_t max, struct fm_resume *r)
{
    *r = (struct fm_resume){.recovered = true};
    r->replay = calloc(t->history_n ? t->history_n : 1, sizeof(struct fm_msg *));
    if (!r->replay)
        return FM_E_NOMEM;
    enum fm_err err = believe(h, t, cursor, r);
    struct fm_origin *o, *tmp;
    HASH_ITER (hh, h->origins, o, tmp) {
        uint64_t at = fm_vector_get(cursor, o->id), floor = fm_topic_floor(t, o);
        if (floor > at) {
            r->recovered = false;
            at = floor;
        }
        /* Also one of which all is still to come: should it be forgotten before the client has that, it must be missed. */
        if ((at || o == h->self || fm_topic_last(t, o)) && !err)
            err = fm_vector_set(&r->start, o->id, at);
    }
    if (err)
        return err;
    for (uint32_t i = t->head; i < t->head + t->history_n && r->n < max; i++)
        if (above(&r->start, t->history[i]))
            r->replay[r->n++] = fm_msg_ref(t->history[i]);
    if (fm_mutation(SKIP_FORGOTTEN))
        r->skip.n = 0;
    for (uint32_t i = 0; i < r->skip.n && !err; i++)
        err = fm_vector_raise(&r->start, r->skip.at[i].origin, r->skip.at[i].seq);
    return err;
}

/* A first join: the newest n of the history, and the position before them. */
static enum fm_err first_join(struct fm_hub *h, struct fm_topic *t, struct fm_join *j)
{
    uint32_t n = j->last < t->history_n ? j->last : t->history_n;
    fm_topic_vector(h, t, &j->cursor);
    j->recovered = true;
    if (n == 0)
        return FM_OK;
    j->replay = calloc(n, sizeof(struct fm_msg *));
    if (!j->replay)
        return FM_E_NOMEM;
    /* Backwards, so that each origin's start ends at the prev of its first replayed message. */
    for (uint32_t i = 0; i < n; i++) {
        struct fm_msg *m = t->history[t->head + t->history_n - 1 - i];
        j->replay[n - 1 - i] = fm_msg_ref(m);
        if (fm_vector_set(&j->cursor, m->id.origin, m->prev) != FM_OK)
            return FM_E_NOMEM;
    }
    j->replayed = n;
    return FM_OK;
}

/* Is the client ahead of this node somewhere? */
static bool ahead(struct fm_hub *h, const struct fm_topic *t, const struct fm_join *j)
{
    for (uint32_t i = 0; i < j->cursor.n; i++) {
        if (j->cursor.at[i].origin == FM_CURSOR_ASOF)
            continue;
        const struct fm_origin *o = fm_origin_find(h, j->cursor.at[i].origin);
        if (!o && !fm_cluster_whole(h))
            return true;
        if (o && j->cursor.at[i].seq > o->contig && j->cursor.at[i].seq > fm_topic_last(t, o))
            return true;
    }
    return false;
}

static enum fm_err resume_join(struct fm_hub *h, struct fm_topic *t, struct fm_join *j)
{
    struct fm_resume r = {0};
    bool sighted = fm_asof_take(h, &j->cursor) || j->reread; /* a worker that reads again was there all the time */
    enum fm_err err = fm_resume(h, t, &j->cursor, UINT32_MAX, &r);
    fm_vector_fini(&j->cursor);
    j->cursor = r.start;
    j->skip = r.skip;
    j->replay = r.replay;
    j->replayed = r.n;
    j->recovered = (r.recovered && sighted) || fm_mutation(FLOOR_IGNORED);
    return err;
}

/* Its cursor is of no use, so nothing is given again: it goes on from here. */
static void rejoin_cut(struct fm_hub *h, const struct fm_topic *t, struct fm_join *j)
{
    fm_topic_vector(h, t, &j->cursor);
    j->recovered = false;
}

static void join_answer(struct fm_hub *h, struct fm_join *j)
{
    if (fm_probe_join(h, j))
        return;
    struct fm_slice name = fm_slice_of(j->topic, j->topic_n);
    struct fm_topic *t = h->draining ? NULL : fm_topic_get(h, name, true);
    j->err = h->draining ? FM_E_DRAINING : t ? FM_OK : FM_E_TOO_MANY;
    if (t) {
        fm_history_expire(h, t);
        if (j->cut)
            rejoin_cut(h, t, j);
        else
            j->err = j->has_cursor ? resume_join(h, t, j) : first_join(h, t, j);
        if (!j->err && !j->reread)
            j->err = fm_asof_mark(h, &j->cursor);
        fm_topic_vector(h, t, &j->at);
    }
    if (!j->err && j->track)
        j->err = fm_track_do(h, j->track);
    if (!j->err) {
        t->used_ms = h->now.mono_ms;
        if (!j->reread) {
            t->subs[j->worker]++;
            t->interest |= 1ull << j->worker;
        }
        h->stats.joins += !t->commands;
        h->stats.joins_unrecovered += !t->commands && !j->recovered;
    }
    j->item.cost = (uint32_t)sizeof *j;
    fm_hub_out(h, j->worker, &j->item);
}

/* Must the join wait? Until the node has the cluster's state, and for what the client has seen elsewhere. */
static bool must_wait(struct fm_hub *h, const struct fm_join *j)
{
    if (h->draining)
        return false;
    if (!h->ready)
        return true;
    if (!j->has_cursor || j->cut || j->reread)
        return false;
    struct fm_topic *t = fm_topic_find(h, fm_slice_of(j->topic, j->topic_n));
    static const struct fm_topic nothing;
    return ahead(h, t ? t : &nothing, j);
}

void fm_join_handle(struct fm_hub *h, struct fm_join *j)
{
    assert(j->worker < h->config.workers);
    struct fm_held *held = must_wait(h, j) ? calloc(1, sizeof *held) : NULL;
    if (!held) {
        join_answer(h, j);
        return;
    }
    held->join = j;
    held->due_ms = h->now.mono_ms + h->config.join_wait_ms;
    held->next = h->held;
    h->held = held;
}

void fm_held_check(struct fm_hub *h)
{
    for (struct fm_held **at = &h->held; *at;) {
        struct fm_held *held = *at;
        if (must_wait(h, held->join) && (!h->ready || h->now.mono_ms < held->due_ms)) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        join_answer(h, held->join);
        free(held);
    }
}

void fm_held_free(struct fm_hub *h)
{
    while (h->held) {
        struct fm_held *held = h->held;
        h->held = held->next;
        fm_join_free(&held->join);
        free(held);
    }
}

void fm_leave_handle(struct fm_hub *h, struct fm_leave *l)
{
    struct fm_topic *t = fm_topic_find(h, fm_slice_of(l->topic, l->topic_n));
    if (t && l->worker < h->config.workers) {
        t->subs[l->worker] -= l->subs < t->subs[l->worker] ? l->subs : t->subs[l->worker];
        if (t->subs[l->worker] == 0)
            t->interest &= ~(1ull << l->worker);
        t->used_ms = h->now.mono_ms;
    }
    fm_leave_free(&l);
}
