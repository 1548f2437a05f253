/* Topics with subscribers on this worker: what arrives is gathered by topic, encoded once for each format that somebody wants, and given to
 * every subscriber as a reference to the same bytes.
 *
 * The tension: the plain subscriber must cost no more than one write, and yet some may not get everything (their own push to others, what
 * they were ahead of, what they are too slow for). So a slot says whether its sub is plain, and only the others are looked at closely. */
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
    for (uint32_t i = 0; i < t->batch_n; i++)
        fm_msg_unref(&t->batch[i]);
    t->batch_n = 0;
    t->batch_bytes = 0;
    t->batch_from = false;
}

void fm_wtopic_free(struct fm_worker *w, struct fm_wtopic *t)
{
    assert(t->n == 0 && t->leavers == 0);
    HASH_DEL(w->topics, t);
    batch_drop(t);
    free(t->batch);
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

void fm_position_raise(struct fm_vector *at, struct fm_id id)
{
    if (fm_vector_raise(at, id.origin, id.seq) != FM_E_TOO_MANY)
        return;
    uint32_t least = 0;
    for (uint32_t i = 1; i < at->n; i++)
        if (at->at[i].seq < at->at[least].seq)
            least = i;
    fm_vector_remove(at, at->at[least].origin);
    enum fm_err err = fm_vector_raise(at, id.origin, id.seq);
    assert(err == FM_OK); /* there is room now */
    (void)err;
}

/* ---- messages in ---- */

static bool batch_reserve(struct fm_wtopic *t)
{
    if (t->batch_n < t->batch_cap)
        return true;
    uint32_t cap = t->batch_cap ? t->batch_cap * 2 : 8;
    struct fm_msg **batch = realloc(t->batch, cap * sizeof(struct fm_msg *));
    if (!batch)
        return false;
    t->batch = batch;
    t->batch_cap = cap;
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
    if (!batch_reserve(t)) {
        /* What is gathered already is given out, and what is missing from here on is read again. */
        fm_subs_flush(w, t);
        fm_wtopic_want_reread(w, t);
        fm_msg_unref(&m);
        return;
    }
    t->batch[t->batch_n++] = m;
    t->batch_bytes += fm_msg_size(m);
    t->batch_from = t->batch_from || m->from != 0;
    fm_wtopic_mark(w, t);
    if (t->batch_bytes >= batch_max(w, t))
        fm_subs_flush(w, t);
}

void fm_subs_message(struct fm_worker *w, struct fm_msg *m)
{
    struct fm_wtopic *t = w->overrun ? NULL : fm_wtopic_find(w, fm_msg_topic(m));
    if (!t || t->n == 0 || t->reread != FM_REREAD_NONE) {
        fm_msg_unref(&m);
        return;
    }
    fm_subs_gather(w, t, m);
}

/* ---- messages out ---- */

/* Frames to encode into: the last drain's, if nobody needs them any more. */
static struct fm_frames *frames_for(struct fm_frames **kept)
{
    if (*kept && (*kept)->refs > 1)
        fm_frames_unref(kept);
    if (*kept)
        fm_frames_reset(*kept);
    else
        *kept = fm_frames_new();
    return *kept;
}

/* Lets go of the messages, and of the memory if it is much. */
static void frames_done(struct fm_frames **kept)
{
    struct fm_frames *f = *kept;
    if (!f)
        return;
    if (f->refs > 1 || f->bytes.cap > 4 * FM_WRITE_MAX)
        fm_frames_unref(kept);
    else
        fm_frames_reset(f);
}

static bool encode(struct fm_worker *w, const struct fm_wtopic *t, unsigned format)
{
    struct fm_frames *f = frames_for(&w->frames[format]);
    if (!f)
        return false;
    t->protos[format]->encode(f, format, t->batch, t->batch_n, &t->at);
    return !f->bytes.failed;
}

/* All but what this sub itself pushed, as runs of the shared frames. */
static void give_others(const struct fm_slot *slot, struct fm_frames *f)
{
    uint32_t first = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!f->marks[i].msg || f->marks[i].msg->from != slot->sub->id)
            continue;
        fm_socket_give(slot->socket, f, first, i);
        first = i + 1;
    }
    fm_socket_give(slot->socket, f, first, f->n);
}

/* A sub that is ahead of this node in some origins gets frames of its own: the position in them is its own, too. */
static void give_ahead(struct fm_worker *w, struct fm_wtopic *t, struct fm_slot *slot)
{
    struct fm_sub *sub = slot->sub;
    struct fm_vector at = {0};
    struct fm_msg **some = malloc(t->batch_n * sizeof(struct fm_msg *));
    struct fm_frames *f = fm_frames_new();
    size_t n = 0;
    bool ok = some && f && fm_subs_position(sub, &at) == FM_OK;
    for (uint32_t i = 0; ok && i < t->batch_n; i++) {
        struct fm_msg *m = t->batch[i];
        if (m->from != sub->id && m->id.seq > fm_vector_get(sub->skip, m->id.origin))
            some[n++] = m;
    }
    if (ok && n) {
        t->protos[slot->format]->encode(f, slot->format, some, n, &at);
        ok = !f->bytes.failed;
    }
    if (!ok)
        fm_socket_close(slot->socket, 1013, "out of memory");
    else if (n && t->slow != FM_SLOW_DISCONNECT && !fm_socket_fits(slot->socket, f->bytes.n, n == 1))
        fm_subs_lag_feed(w, t, slot);
    else
        fm_socket_give(slot->socket, f, 0, f->n);
    fm_frames_unref(&f);
    free(some);
    fm_vector_fini(&at);
}

static bool passed(const struct fm_vector *skip, const struct fm_vector *at)
{
    for (uint32_t i = 0; i < skip->n; i++)
        if (fm_vector_get(at, skip->at[i].origin) < skip->at[i].seq)
            return false;
    return true;
}

static void skip_drop(struct fm_sub *sub)
{
    if (sub->skip)
        fm_vector_fini(sub->skip);
    free(sub->skip);
    sub->skip = NULL;
}

static void give_filtered(struct fm_worker *w, struct fm_wtopic *t, struct fm_slot *slot)
{
    struct fm_sub *sub = slot->sub;
    if (sub->lag)
        fm_subs_lag_feed(w, t, slot);
    else
        give_ahead(w, t, slot);
    if (sub->skip && passed(sub->skip, &t->at))
        skip_drop(sub);
    slot->filtered = sub->skip || sub->lag;
}

static void give_all(struct fm_worker *w, struct fm_wtopic *t, const bool encoded[FM_FORMATS])
{
    for (uint32_t i = 0; i < t->n; i++) {
        struct fm_slot *slot = &t->slots[i];
        struct fm_frames *f = w->frames[slot->format];
        if (slot->filtered) {
            give_filtered(w, t, slot);
        } else if (!encoded[slot->format]) {
            fm_socket_close(slot->socket, 1013, "out of memory");
        } else if (t->slow != FM_SLOW_DISCONNECT && !fm_socket_fits(slot->socket, f->bytes.n, t->batch_n == 1)) {
            fm_subs_lag_feed(w, t, slot);
        } else if (t->batch_from) {
            give_others(slot, f);
        } else {
            fm_socket_give(slot->socket, f, 0, f->n);
        }
    }
}

void fm_subs_flush(struct fm_worker *w, struct fm_wtopic *t)
{
    if (t->batch_n == 0)
        return;
    w->flushed = true;
    bool encoded[FM_FORMATS] = {false};
    for (uint32_t i = 0; i < t->batch_n; i++)
        fm_position_raise(&t->at, t->batch[i]->id);
    for (unsigned format = 0; format < FM_FORMATS; format++)
        encoded[format] = t->users[format] && encode(w, t, format);
    give_all(w, t, encoded);
    bool probe = fm_topic_of_probe(fm_slice_of(t->name, t->name_n));
    fm_stat_add(&fm_stats_of(w, probe)->deliveries, (uint64_t)(t->n - t->lagging) * t->batch_n);
    for (unsigned format = 0; format < FM_FORMATS; format++)
        if (t->users[format])
            frames_done(&w->frames[format]);
    batch_drop(t);
}

void fm_subs_flush_all(struct fm_worker *w)
{
    uint32_t batches = 0;
    for (const struct fm_wtopic *t = w->dirty; t; t = t->dirty_next)
        batches += t->batch_n > 0;
    w->combine = batches > 1;
    struct fm_wtopic **at = &w->dirty;
    while (*at) {
        struct fm_wtopic *t = *at;
        fm_subs_flush(w, t);
        if (t->leavers || t->n == 0) {
            at = &t->dirty_next; /* settle has something to do for it */
            continue;
        }
        *at = t->dirty_next;
        t->dirty = false;
    }
    w->combine = false;
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

static bool is_behind(const struct fm_worker *w, const struct fm_wtopic *t)
{
    return t->n > 0 && (w->overrun || t->reread != FM_REREAD_NONE);
}

enum fm_err fm_subs_add(struct fm_worker *w, struct fm_sub *sub, struct fm_join *join)
{
    struct fm_wtopic *t = fm_wtopic_find(w, fm_sub_topic(sub));
    if (!t)
        t = fm_wtopic_new(w, fm_sub_topic(sub));
    if (!t)
        return FM_E_NOMEM;
    assert(t->batch_n == 0); /* what came before the answer was given out before it */
    if (!slot_reserve(t) || skip_take(sub, join) || (!is_behind(w, t) && fm_vector_copy(&t->at, &join->at))) {
        skip_drop(sub);
        fm_wtopic_mark(w, t); /* an empty topic is forgotten there */
        fm_worker_settle_soon(w);
        return FM_E_NOMEM;
    }
    if (t->n == 0) { /* what the ones before waited for is none of its business */
        t->reread = FM_REREAD_NONE;
        t->gap_missed = false;
    }
    t->slots[t->n] = (struct fm_slot){.socket = sub->socket, .sub = sub, .format = sub->format, .filtered = sub->skip != NULL};
    sub->slot = t->n++;
    sub->topic = t;
    t->users[sub->format]++;
    t->slow = (uint8_t)sub->rule->slow;
    t->protos[sub->format] = sub->socket->proto;
    fm_stat_add(&fm_stats_of(w, sub->socket->probe)->subscriptions, 1);
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
    t->slots[sub->slot] = t->slots[--t->n];
    if (sub->slot < t->n)
        t->slots[sub->slot].sub->slot = sub->slot;
    t->users[sub->format]--;
    t->leavers++;
    fm_subs_lag_end(w, sub);
    sub->topic = NULL;
    skip_drop(sub);
    fm_wtopic_mark(w, t);
    fm_worker_settle_soon(w);
    fm_stat_sub(&fm_stats_of(w, sub->socket->probe)->subscriptions, 1);
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
