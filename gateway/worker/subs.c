/* Topics with subscribers on this worker: who they are, and what arrives for them, gathered by topic. (How it is given out: subs_give.c.)
 */
#include "worker_core.h"

#include <assert.h>
#include <stdlib.h>

/* ---- topics ---- */

struct fm_wtopic *fm_wtopic_find(struct fm_worker *w, struct fm_slice name)
{
    struct fm_wtopic *t;
    HASH_FIND(hh, w->topics, name.p, name.n, t);
    return t;
}

struct fm_wtopic *fm_wtopic_new(struct fm_worker *w, struct fm_slice name)
{
    struct fm_wtopic *t = calloc(1, sizeof *t + name.n);
    if (!t)
        return NULL;
    t->name_n = (uint32_t)name.n;
    memcpy(t->name, name.p, name.n);
    HASH_ADD_KEYPTR(hh, w->topics, t->name, t->name_n, t);
    return t;
}

static void batch_drop(struct fm_wtopic *t)
{
    for (uint32_t i = 0; i < t->batch.n; i++)
        fm_msg_unref(&t->batch.at[i]);
    free(t->batch.at);
    t->batch = (struct fm_batch){0};
}

void fm_wtopic_free(struct fm_worker *w, struct fm_wtopic *t)
{
    assert(t->n == 0 && t->leavers == 0);
    HASH_DEL(w->topics, t);
    fm_subs_run_drop(w, t);
    batch_drop(t);
    free(t->slots);
    fm_vector_fini(&t->at);
    free(t);
}

void fm_wtopic_mark(struct fm_worker *w, struct fm_wtopic *t)
{
    if (t->dirty)
        return;
    t->dirty = true;
    t->dirty_next = w->dirty;
    w->dirty = t;
}

void fm_wtopic_want_reread(struct fm_worker *w, struct fm_wtopic *t)
{
    if (t->reread != FM_REREAD_NONE)
        return;
    t->reread = FM_REREAD_WANTED;
    w->rereads = true;
}

/* ---- messages in ---- */

static bool batch_reserve(struct fm_batch *b)
{
    if (b->n < b->cap)
        return true;
    uint32_t cap = b->cap ? b->cap * 2 : 8;
    struct fm_msg **at = realloc(b->at, cap * sizeof(struct fm_msg *));
    if (!at)
        return false;
    b->at = at;
    b->cap = cap;
    return true;
}

/* A batch that a client can't take is left out whole, so where that may be it is a part of what fits. */
static size_t batch_max(const struct fm_worker *w, const struct fm_wtopic *t)
{
    size_t share = w->config.outbox_bytes / 4;
    return t->slow != FM_SLOW_DISCONNECT && share < FM_WRITE_MAX ? share : FM_WRITE_MAX;
}

void fm_subs_gather(struct fm_worker *w, struct fm_wtopic *t, struct fm_msg *m)
{
    if (t->commands) {
        fm_commands_take(w, t, m);
        return;
    }
    if (!batch_reserve(&t->batch)) {
        /* What is gathered already is given out, and what is missing from here on is read again. */
        fm_subs_finish(w, t);
        fm_wtopic_want_reread(w, t);
        fm_subs_presence_miss(w, t);
        fm_msg_unref(&m);
        return;
    }
    t->batch.at[t->batch.n++] = m;
    t->batch.bytes += fm_msg_size(m);
    t->batch.from = t->batch.from || m->from != 0 || fm_msg_of_presence(m);
    fm_wtopic_mark(w, t);
    if (t->batch.bytes < batch_max(w, t))
        return;
    fm_subs_run_finish(w, t); /* it can't keep pace: no more is gathered behind it */
    fm_subs_flush(w, t);
}

void fm_subs_message(struct fm_worker *w, struct fm_msg *m)
{
    struct fm_wtopic *t = w->overrun ? NULL : fm_wtopic_find(w, fm_msg_topic(m));
    bool unwanted = !t || !fm_wtopic_wanted(t) || (fm_msg_of_presence(m) ? t->watchers == 0 : t->reread != FM_REREAD_NONE);
    if (unwanted) {
        fm_msg_unref(&m);
        return;
    }
    fm_subs_gather(w, t, m);
}

/* ---- subscribers ---- */

static bool slot_reserve(struct fm_wtopic *t)
{
    if (t->n < t->cap)
        return true;
    uint32_t cap = t->cap ? t->cap + t->cap / 2 + 1 : 1; /* many topics have one */
    struct fm_slot *slots = realloc(t->slots, cap * sizeof *slots);
    if (!slots)
        return false;
    t->slots = slots;
    t->cap = cap;
    return true;
}

void fm_subs_skip_drop(struct fm_sub *sub)
{
    if (sub->skip)
        fm_vector_fini(sub->skip);
    free(sub->skip);
    sub->skip = NULL;
}

/* What the client has beyond this node is not to be given to it. */
static enum fm_err skip_take(struct fm_sub *sub, struct fm_join *join)
{
    if (join->skip.n == 0)
        return FM_OK;
    sub->skip = malloc(sizeof *sub->skip);
    if (!sub->skip)
        return FM_E_NOMEM;
    *sub->skip = join->skip;
    join->skip = (struct fm_vector){0};
    return FM_OK;
}

/* Are the topic's subs still to be given something that a join's answer holds already? */
static bool is_behind(const struct fm_worker *w, const struct fm_wtopic *t)
{
    return t->n > 0 && (w->overrun || t->reread != FM_REREAD_NONE || t->batch.n > 0);
}

static _Atomic uint64_t *gauge_of(struct fm_worker *w, const struct fm_sub *sub)
{
    struct fm_worker_stats *stats = fm_stats_of(w, sub->socket->probe);
    return sub->given ? &stats->user_subscriptions : &stats->subscriptions;
}

enum fm_err fm_subs_add(struct fm_worker *w, struct fm_sub *sub, struct fm_join *join)
{
    struct fm_wtopic *t = fm_wtopic_find(w, fm_sub_topic(sub));
    if (!t)
        t = fm_wtopic_new(w, fm_sub_topic(sub));
    if (!t)
        return FM_E_NOMEM;
    assert(t->batch.n == 0 || t->run || t->n == 0); /* what came before the answer is given out before it, or waits for a run */
    if (t->n == 0) {                                /* what the ones before waited for is none of its business */
        t->reread = FM_REREAD_NONE;
        t->gap_missed = false;
        fm_subs_run_drop(w, t);
        batch_drop(t);
    }
    if (!slot_reserve(t) || skip_take(sub, join) || (!is_behind(w, t) && fm_vector_copy(&t->at, &join->at))) {
        fm_subs_skip_drop(sub);
        fm_wtopic_mark(w, t); /* an empty topic is forgotten there */
        fm_worker_settle_soon(w);
        return FM_E_NOMEM;
    }
    t->slots[t->n] = (struct fm_slot){
        .socket = sub->socket, .sub = sub, .format = sub->format, .window = sub->socket->window, .filtered = sub->skip != NULL};
    sub->slot = t->n++;
    sub->topic = t;
    t->users[sub->format]++;
    t->choosers += sub->chooses;
    t->packed_users[sub->format] += sub->socket->window > 0;
    t->slow = (uint8_t)sub->rule->slow;
    t->protos[sub->format] = sub->socket->proto;
    fm_stat_add(gauge_of(w, sub), 1);
    return FM_OK;
}

void fm_subs_added(struct fm_worker *w, struct fm_sub *sub, const struct fm_join *join)
{
    struct fm_wtopic *t = sub->topic;
    if (!is_behind(w, t) || t->n == 1)
        return;
    if (!sub->skip)
        sub->skip = calloc(1, sizeof *sub->skip);
    if (!sub->skip) {
        fm_socket_close(sub->socket, 1013, "out of memory");
        return;
    }
    for (uint32_t i = 0; i < join->at.n; i++)
        fm_position_raise(sub->skip, join->at.at[i]);
    t->slots[sub->slot].filtered = true;
}

void fm_subs_remove(struct fm_worker *w, struct fm_sub *sub)
{
    struct fm_wtopic *t = sub->topic;
    assert(t && sub->slot < t->n && t->slots[sub->slot].sub == sub);
    fm_subs_unwatch(w, t, &t->slots[sub->slot]);
    uint32_t hole = fm_subs_run_leave(t, sub->slot);
    t->slots[hole] = t->slots[--t->n];
    if (hole < t->n)
        t->slots[hole].sub->slot = hole;
    t->users[sub->format]--;
    t->choosers -= sub->chooses;
    t->packed_users[sub->format] -= sub->socket->window > 0;
    t->leavers++;
    fm_subs_lag_end(w, sub);
    sub->topic = NULL;
    fm_subs_skip_drop(sub);
    fm_wtopic_mark(w, t);
    fm_worker_settle_soon(w);
    fm_stat_sub(gauge_of(w, sub), 1);
}

void fm_subs_replace(struct fm_worker *w, struct fm_sub *sub, struct fm_sub *by)
{
    struct fm_wtopic *t = sub->topic;
    struct fm_slot *slot = &t->slots[sub->slot];
    fm_subs_unwatch(w, t, slot);
    fm_subs_lag_end(w, sub);
    t->users[sub->format]--;
    t->packed_users[sub->format] -= sub->socket->window > 0;
    t->choosers += by->chooses - sub->chooses;
    t->users[by->format]++;
    t->packed_users[by->format] += sub->socket->window > 0;
    t->protos[by->format] = by->socket->proto;
    by->topic = t;
    by->slot = sub->slot;
    by->skip = sub->skip;
    *slot =
        (struct fm_slot){.socket = by->socket, .sub = by, .format = by->format, .window = by->socket->window, .filtered = by->skip != NULL};
    sub->topic = NULL;
    sub->skip = NULL;
    fm_stat_sub(gauge_of(w, sub), 1);
    fm_stat_add(gauge_of(w, by), 1);
}

enum fm_err fm_subs_position(const struct fm_sub *sub, struct fm_vector *at)
{
    at->n = 0;
    if (sub->lag)
        return fm_vector_copy(at, &sub->lag->sent);
    if (sub->topic && fm_vector_copy(at, &sub->topic->at))
        return FM_E_NOMEM;
    for (uint32_t i = 0; sub->skip && i < sub->skip->n; i++)
        fm_position_raise(at, sub->skip->at[i]);
    return FM_OK;
}
