/* Logs, topics, histories: what is kept, and in which order it goes. Memory against memory of what was lost: whatever is evicted leaves
 * a floor behind, so that nobody is ever told "recovered" about something that is gone. */
#include "hub_core.h"
#include "command.h"

#include <assert.h>
#include <stdlib.h>

enum { SKEW_MS = 10 * 1000 }; /* clocks that differ by less are right */

/* ---- topics and positions ---- */

struct fm_topic *fm_topic_find(struct fm_hub *h, struct fm_slice name)
{
    struct fm_topic *t = h->found;
    if (t && fm_slice_eq(fm_slice_of(t->name, t->name_n), name))
        return t;
    HASH_FIND(hh, h->topics, name.p, name.n, t);
    if (t)
        h->found = t;
    return t;
}

static bool topic_idle(const struct fm_topic *t)
{
    return t->interest == 0 && t->history_n == 0 && !t->commands;
}

/* The commands' topic is not among those that anybody asks for. */
static uint32_t topics_n(const struct fm_hub *h)
{
    return HASH_COUNT(h->topics) - h->control.has_topic;
}

static void topics_count(struct fm_hub *h)
{
    h->stats.topics = topics_n(h);
}

void fm_pos_free(struct fm_pos *pos)
{
    pos->origin->positions--;
    free(pos->waiting);
    free(pos);
}

/* A topic that holds nothing and has no subscriber is forgotten; its origins remember how far. Not while the log still names one of its
 * messages: the log's entries point here. */
static bool topic_forget(struct fm_hub *h, struct fm_topic *t)
{
    if (!topic_idle(t))
        return false;
    for (uint32_t i = 0; i < t->pos_n; i++) {
        struct fm_pos *pos = t->pos[i];
        if (pos->waiting_n || pos->held || pos->last > pos->origin->contig)
            return false;
    }
    for (uint32_t i = 0; i < t->pos_n; i++) {
        struct fm_pos *pos = t->pos[i];
        if (pos->origin->forgotten < pos->last)
            pos->origin->forgotten = pos->last;
        if (pos->tomb)
            fm_log_remove(&pos->origin->log, pos->tomb);
        fm_pos_free(pos);
    }
    if (h->sweep == t)
        h->sweep = t->hh.next;
    if (h->found == t)
        h->found = NULL;
    HASH_DELETE(hh, h->topics, t);
    topics_count(h);
    free(t->pos);
    free(t->history);
    free(t->subs);
    free(t);
    return true;
}

/* Room for one more topic by forgetting idle ones, a bounded number of looks per call. */
static bool topics_room(struct fm_hub *h)
{
    struct fm_topic *t = h->topics, *next;
    for (unsigned looks = 0; t && looks < 64 && topics_n(h) >= h->config.topics_max; looks++, t = next) {
        next = t->hh.next;
        if (t->used_ms != h->now.mono_ms) /* what this very step touched is about to be used */
            topic_forget(h, t);
    }
    return topics_n(h) < h->config.topics_max;
}

void fm_topic_retention(struct fm_hub *h, struct fm_topic *t)
{
    /* Of commands as many as may stand, and those of some time; what must be known for longer is published again. */
    if (t->commands)
        t->retention = (struct fm_retention){UINT32_MAX, 2 * h->config.commands_bytes, h->config.cursor_ttl_ms / 2};
    else
        t->retention = h->config.retention(h->config.retention_ctx, fm_slice_of(t->name, t->name_n));
}

struct fm_topic *fm_topic_get(struct fm_hub *h, struct fm_slice name, bool limited)
{
    struct fm_topic *t = fm_topic_find(h, name);
    if (t)
        return t;
    bool commands = fm_topic_of_commands(name);
    if (limited && !commands && topics_n(h) >= h->config.topics_max && !topics_room(h))
        return NULL;
    t = calloc(1, sizeof *t + name.n + 1);
    uint32_t *subs = calloc(h->config.workers ? h->config.workers : 1, sizeof *subs);
    if (!t || !subs) {
        free(t);
        free(subs);
        return NULL;
    }
    t->subs = subs;
    t->name_n = (uint32_t)name.n;
    memcpy(t->name, name.p, name.n);
    t->used_ms = h->now.mono_ms;
    t->commands = commands;
    h->control.has_topic |= commands;
    fm_topic_retention(h, t);
    fm_deletion_of(h, t);
    HASH_ADD_KEYPTR(hh, h->topics, t->name, t->name_n, t);
    topics_count(h);
    return t;
}

struct fm_pos *fm_pos_find(const struct fm_topic *t, const struct fm_origin *o)
{
    for (uint32_t i = 0; i < t->pos_n; i++)
        if (t->pos[i]->origin == o)
            return t->pos[i];
    return NULL;
}

struct fm_pos *fm_pos_get(struct fm_topic *t, struct fm_origin *o)
{
    struct fm_pos *pos = fm_pos_find(t, o);
    if (pos)
        return pos;
    if (t->pos_n == t->pos_cap) {
        uint32_t cap = t->pos_cap ? t->pos_cap * 2 : 4;
        struct fm_pos **all = realloc(t->pos, cap * sizeof(struct fm_pos *));
        if (!all)
            return NULL;
        t->pos = all;
        t->pos_cap = cap;
    }
    pos = calloc(1, sizeof *pos);
    if (!pos)
        return NULL;
    pos->topic = t;
    pos->origin = o;
    pos->last = pos->floor = o->forgotten;
    o->positions++;
    t->pos[t->pos_n++] = pos;
    return pos;
}

uint64_t fm_topic_floor(const struct fm_topic *t, const struct fm_origin *o)
{
    const struct fm_pos *pos = fm_pos_find(t, o);
    return pos ? pos->floor : o->forgotten;
}

uint64_t fm_topic_last(const struct fm_topic *t, const struct fm_origin *o)
{
    const struct fm_pos *pos = fm_pos_find(t, o);
    return pos ? pos->last : o->forgotten;
}

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
        if (h->now.mono_ms - t->used_ms < h->config.cursor_ttl_ms || !topic_forget(h, t))
            fm_weigh_topic(h, t);
        if (!h->sweep)
            break; /* once round is enough for one call */
    }
    if (!h->sweep)
        fm_weigh_done(h);
}

void fm_store_free(struct fm_hub *h)
{
    struct fm_topic *t, *t_tmp;
    HASH_ITER (hh, h->topics, t, t_tmp) {
        HASH_DELETE(hh, h->topics, t);
        for (uint32_t i = 0; i < t->pos_n; i++)
            fm_pos_free(t->pos[i]);
        free(t->pos);
        free(t->history);
        free(t->subs);
        free(t);
    }
    fm_keys_fini(&h->keys);
    struct fm_origin *o, *o_tmp;
    HASH_ITER (hh, h->origins, o, o_tmp) {
        fm_origin_free(h, o);
    }
}
