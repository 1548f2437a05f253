/* Logs and histories: what is kept, and in which order it goes. Memory against memory of what was lost: whatever is evicted leaves
 * a floor behind, so that nobody is ever told "recovered" about something that is gone. */
#include "hub_core.h"

#include <assert.h>
#include <stdlib.h>

enum { SKEW_MS = 10 * 1000 }; /* clocks that differ by less are right */

/* ---- the log ---- */

/* The entry at `seq` is the topic's tomb now. */
static void tomb_is(struct fm_pos *pos, uint64_t seq)
{
    uint64_t old = pos->tomb;
    pos->tomb = seq;
    if (pos->floor < seq && !fm_mutation(FLOOR_NOT_RAISED))
        pos->floor = seq;
    if (old)
        fm_log_remove(&pos->origin->log, old);
}

void fm_tomb_set(struct fm_hub *h, struct fm_pos *pos, uint64_t seq)
{
    (void)h;
    if (seq <= pos->tomb)
        return;
    struct fm_log *log = &pos->origin->log;
    if (!fm_log_find(log, seq) && fm_log_insert(log, (struct fm_log_entry){.seq = seq, .pos = pos}) != FM_OK)
        return; /* no memory: the older tomb stays, which claims less than is true but nothing false */
    tomb_is(pos, seq);
}

/* The message leaves the node; the topic's tomb takes its place. */
static void bury(struct fm_hub *h, struct fm_log_entry *e)
{
    struct fm_pos *pos = e->pos;
    struct fm_msg *m = e->msg;
    uint64_t seq = e->seq;
    e->msg = NULL;
    pos->held--;
    h->bytes -= fm_msg_size(m);
    fm_stat_set(&h->stats.log_bytes, h->bytes);
    fm_stat_add(&h->stats.log_messages, -1ull);
    if (m->key_n)
        fm_key_leave(h, m);
    fm_msg_unref(&m);
    if (seq < pos->tomb)
        fm_log_remove(&pos->origin->log, seq);
    else if (seq > pos->tomb)
        tomb_is(pos, seq);
}

/* Of what memory_bytes limits. */
static uint64_t memory_used(const struct fm_hub *h)
{
    return h->bytes + h->keys.held_bytes;
}

enum fm_err fm_store_add(struct fm_hub *h, struct fm_pos *pos, struct fm_msg *m)
{
    struct fm_origin *o = pos->origin;
    enum fm_err err = fm_log_insert(&o->log, (struct fm_log_entry){.seq = m->id.seq, .msg = m, .pos = pos});
    if (err)
        return err;
    size_t size = fm_msg_size(m);
    pos->held++;
    h->bytes += size;
    fm_stat_set(&h->stats.log_bytes, h->bytes);
    fm_stat_add(&h->stats.log_messages, 1);
    if (m->id.seq > o->cut)
        o->log_bytes += size;
    if (memory_used(h) > h->config.memory_bytes)
        fm_store_relieve(h);
    return FM_OK;
}

/* Moves the log's own retention past its oldest message. false: there is none that should go. */
static bool log_cut(struct fm_hub *h, struct fm_origin *o)
{
    struct fm_log_iter it = fm_log_from(&o->log, o->cut + 1);
    struct fm_log_entry *e = fm_log_next(&it);
    while (e && !e->msg)
        e = fm_log_next(&it);
    if (!e || e->seq > o->contig) /* behind a hole nothing is given up: it has not been dispatched yet */
        return false;
    if (o->log_bytes <= h->config.log_bytes && fm_msg_age_ms(h, e->msg) < h->config.log_age_ms)
        return false;
    o->cut = e->seq;
    o->log_bytes -= fm_msg_size(e->msg);
    if (!e->in_history)
        bury(h, e);
    return true;
}

void fm_log_expire(struct fm_hub *h, struct fm_origin *o)
{
    while (log_cut(h, o))
        ;
}

/* ---- histories ---- */

static bool before(const struct fm_msg *a, const struct fm_msg *b)
{
    if (a->ts_ms != b->ts_ms)
        return a->ts_ms < b->ts_ms;
    if (a->id.origin != b->id.origin)
        return a->id.origin < b->id.origin;
    return a->id.seq < b->id.seq;
}

static bool out_of_order(const struct fm_msg *first, const struct fm_msg *then)
{
    return then->born_ms + SKEW_MS < first->born_ms;
}

static struct fm_log_entry *history_take(struct fm_hub *h, struct fm_topic *t, uint32_t i)
{
    struct fm_msg *m = t->history[i];
    if (i == t->head)
        t->head++;
    else
        memmove(t->history + i, t->history + i + 1, (t->head + t->history_n - i - 1) * sizeof(struct fm_msg *));
    t->history_n--;
    t->history_bytes -= fm_msg_size(m);
    struct fm_origin *o = fm_origin_find(h, m->id.origin);
    assert(o);
    struct fm_log_entry *e = fm_log_find(&o->log, m->id.seq);
    assert(e && e->msg == m && e->in_history);
    e->in_history = false;
    if (e->pos->floor < e->seq && !fm_mutation(FLOOR_NOT_RAISED))
        e->pos->floor = e->seq;
    return e;
}

static void history_remove(struct fm_hub *h, struct fm_topic *t, uint32_t i)
{
    struct fm_log_entry *e = history_take(h, t, i);
    if (e->seq <= e->pos->origin->cut)
        bury(h, e);
}

static void history_pop(struct fm_hub *h, struct fm_topic *t)
{
    history_remove(h, t, t->head);
}

void fm_history_expire(struct fm_hub *h, struct fm_topic *t)
{
    const struct fm_retention *r = &t->retention;
    while (t->history_n && (t->history_n > r->count || t->history_bytes > r->bytes || fm_msg_age_ms(h, t->history[t->head]) >= r->age_ms))
        history_pop(h, t);
}

/* Where clocks differ, what is old enough to go may lie behind what is not. */
static void history_expire_skewed(struct fm_hub *h, struct fm_topic *t)
{
    t->skewed = false;
    for (uint32_t i = t->head; i < t->head + t->history_n;) {
        if (fm_msg_age_ms(h, t->history[i]) >= t->retention.age_ms) {
            history_remove(h, t, i);
            continue;
        }
        t->skewed |= i > t->head && out_of_order(t->history[i - 1], t->history[i]);
        i++;
    }
}

static bool history_room(struct fm_topic *t)
{
    if (t->head + t->history_n < t->history_cap)
        return true;
    if (t->head > t->history_cap / 2) {
        memmove(t->history, t->history + t->head, t->history_n * sizeof(struct fm_msg *));
        t->head = 0;
        return true;
    }
    uint32_t cap = t->history_cap ? t->history_cap * 2 : 8;
    struct fm_msg **all = realloc(t->history, cap * sizeof(struct fm_msg *));
    if (!all)
        return false;
    t->history = all;
    t->history_cap = cap;
    return true;
}

/* A topic is remembered for long after its messages are gone; so must not be the room that it took at its best. */
static void history_shrink(struct fm_topic *t)
{
    if (t->history_n == 0) {
        free(t->history);
        t->history = NULL;
        t->head = t->history_cap = 0;
    } else if (t->history_cap > 8 && t->history_n < t->history_cap / 4) {
        memmove(t->history, t->history + t->head, t->history_n * sizeof(struct fm_msg *));
        t->head = 0;
        struct fm_msg **less = realloc(t->history, t->history_cap / 2 * sizeof(struct fm_msg *));
        if (less) {
            t->history = less;
            t->history_cap /= 2;
        }
    }
}

void fm_history_add(struct fm_hub *h, struct fm_pos *pos, struct fm_msg *m)
{
    struct fm_topic *t = pos->topic;
    const struct fm_retention *r = &t->retention;
    if (r->count == 0 || r->bytes == 0 || r->age_ms == 0 || !history_room(t)) {
        if (pos->floor < m->id.seq)
            pos->floor = m->id.seq;
        return;
    }
    struct fm_log_entry *e = fm_log_find(&pos->origin->log, m->id.seq);
    assert(e && e->msg == m);
    uint32_t at = t->head + t->history_n;
    for (; at > t->head && before(m, t->history[at - 1]); at--)
        t->history[at] = t->history[at - 1];
    t->history[at] = m;
    t->history_n++;
    t->skewed |= at > t->head && out_of_order(t->history[at - 1], m);
    t->skewed |= at + 1 < t->head + t->history_n && out_of_order(m, t->history[at + 1]);
    t->history_bytes += fm_msg_size(m);
    e->in_history = true;
    fm_history_expire(h, t);
}

/* ---- keeping within memory ---- */

/* The first message of the origin that the log or a history still holds; NULL: there is none that may go. */
static struct fm_log_entry *first_held(struct fm_origin *o)
{
    struct fm_log_iter it = fm_log_from(&o->log, o->bare + 1);
    struct fm_log_entry *e = fm_log_next(&it);
    for (; e && !e->msg; e = fm_log_next(&it))
        if (e->seq <= o->contig) /* behind a hole what comes may still be older */
            o->bare = e->seq;
    return e && e->seq <= o->contig ? e : NULL;
}

static uint32_t history_index(const struct fm_topic *t, const struct fm_msg *m)
{
    uint32_t low = t->head, high = t->head + t->history_n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (before(t->history[middle], m))
            low = middle + 1;
        else
            high = middle;
    }
    assert(low < t->head + t->history_n && t->history[low] == m);
    return low;
}

/* Out of the log and out of its history. */
static void evict(struct fm_hub *h, struct fm_origin *o, struct fm_log_entry *e)
{
    if (e->seq > o->cut) {
        o->cut = e->seq;
        o->log_bytes -= fm_msg_size(e->msg);
    }
    if (e->in_history)
        history_remove(h, e->pos->topic, history_index(e->pos->topic, e->msg));
    else
        bury(h, e);
}

void fm_store_strike(struct fm_hub *h, struct fm_origin *o, struct fm_log_entry *e)
{
    assert(e->seq <= o->contig);
    h->stats.deleted++;
    if (e->seq > o->cut)
        o->log_bytes -= fm_msg_size(e->msg);
    if (e->in_history)
        e = history_take(h, e->pos->topic, history_index(e->pos->topic, e->msg));
    bury(h, e);
}

void fm_store_hide(struct fm_hub *h, struct fm_log_entry *e)
{
    if (e->in_history)
        (void)history_take(h, e->pos->topic, history_index(e->pos->topic, e->msg));
}

/* Beyond memory_bytes the oldest goes first, whether a log or a history holds it. */
void fm_store_relieve(struct fm_hub *h)
{
    while (memory_used(h) > h->config.memory_bytes) {
        struct fm_origin *o, *tmp, *oldest = NULL;
        struct fm_log_entry *e;
        int64_t oldest_ms = INT64_MAX;
        HASH_ITER (hh, h->origins, o, tmp) {
            if ((e = first_held(o)) && e->msg->born_ms < oldest_ms) {
                oldest = o;
                oldest_ms = e->msg->born_ms;
            }
        }
        if (!oldest)
            return; /* all that is left waits behind holes */
        for (unsigned i = 0; i < 32 && memory_used(h) > h->config.memory_bytes && (e = first_held(oldest)); i++)
            evict(h, oldest, e);
    }
}

void fm_store_sweep(struct fm_hub *h, uint32_t topics)
{
    struct fm_origin *o, *tmp;
    fm_keys_tend(h);
    HASH_ITER (hh, h->origins, o, tmp) {
        fm_log_expire(h, o);
        fm_origin_retire(h, o);
    }
    if (!h->sweep)
        h->weighing = 0; /* what was weighed last went as the last of all */
    for (; topics; topics--) {
        struct fm_topic *t = h->sweep ? h->sweep : h->topics;
        if (!t)
            break;
        h->sweep = t->hh.next;
        fm_history_expire(h, t);
        if (t->skewed)
            history_expire_skewed(h, t);
        history_shrink(t);
        if (h->now.mono_ms - t->used_ms < h->config.cursor_ttl_ms || !fm_topic_forget(h, t))
            fm_weigh_topic(h, t);
        if (!h->sweep)
            break; /* once round is enough for one call */
    }
    if (!h->sweep)
        fm_weigh_done(h);
}

void fm_store_free(struct fm_hub *h)
{
    fm_topics_free(h);
    fm_keys_fini(&h->keys);
    struct fm_origin *o, *o_tmp;
    HASH_ITER (hh, h->origins, o, o_tmp) {
        fm_origin_free(h, o);
    }
}
