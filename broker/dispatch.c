/* What a message does on arrival, whether it was published here or came from the mesh: one path. */
#include "hub_core.h"

#include <assert.h>
#include <stdlib.h>

void fm_hub_out(struct fm_hub *h, unsigned worker, struct fm_item *item)
{
    assert(worker < h->config.workers);
    struct fm_chain *c = &h->out[worker];
    item->next = NULL;
    *c->last = item;
    c->last = &item->next;
}

static void out_msg(struct fm_hub *h, const struct fm_topic *t, struct fm_msg *m)
{
    for (uint64_t left = t->interest; left; left &= left - 1) {
        unsigned worker = (unsigned)__builtin_ctzll(left);
        struct fm_msg_item *it = malloc(sizeof *it);
        if (!it) {
            h->lost |= 1ull << worker; /* no memory: the worker re-reads its topics, as after an overrun */
            continue;
        }
        it->item.kind = FM_HUB_MSG;
        it->item.cost = (uint32_t)(sizeof *it + fm_msg_size(m));
        it->msg = fm_msg_ref(m);
        fm_hub_out(h, worker, &it->item);
    }
}

/* ---- waiting ---- */

/* Behind a hole there may be hundreds of thousands, which go one by one when it is filled: none of them may move the others. */
static bool waiting_room(struct fm_pos *pos)
{
    if (pos->waiting_head + pos->waiting_n < pos->waiting_cap)
        return true;
    if (pos->waiting_head > pos->waiting_cap / 2) {
        memmove(pos->waiting, pos->waiting + pos->waiting_head, pos->waiting_n * sizeof *pos->waiting);
        pos->waiting_head = 0;
        return true;
    }
    uint32_t cap = pos->waiting_cap ? pos->waiting_cap * 2 : 8;
    uint64_t *all = realloc(pos->waiting, cap * sizeof *all);
    if (!all)
        return false;
    pos->waiting = all;
    pos->waiting_cap = cap;
    return true;
}

static void waiting_add(struct fm_pos *pos, uint64_t seq)
{
    if (!waiting_room(pos))
        return; /* it is in the log: contig's advance dispatches it */
    uint32_t at = pos->waiting_head + pos->waiting_n;
    for (; at > pos->waiting_head && pos->waiting[at - 1] > seq; at--)
        pos->waiting[at] = pos->waiting[at - 1];
    pos->waiting[at] = seq;
    pos->waiting_n++;
}

/* Forgets what is no longer ahead of the position. */
static void waiting_trim(struct fm_pos *pos)
{
    while (pos->waiting_n && pos->waiting[pos->waiting_head] <= pos->last) {
        pos->waiting_head++;
        pos->waiting_n--;
    }
    if (pos->waiting_n == 0 && pos->waiting) {
        free(pos->waiting);
        pos->waiting = NULL;
        pos->waiting_head = pos->waiting_cap = 0;
    }
}

static struct fm_msg *waiting_first(const struct fm_pos *pos)
{
    if (pos->waiting_n == 0)
        return NULL;
    struct fm_log_entry *e = fm_log_find(&pos->origin->log, pos->waiting[pos->waiting_head]);
    assert(e && e->msg);
    return e->msg;
}

/* ---- dispatch ---- */

/* One message, whose predecessors on the topic are settled. */
static void dispatch_one(struct fm_hub *h, struct fm_pos *pos, struct fm_msg *m)
{
    assert(m->id.seq > pos->last);
    struct fm_topic *t = pos->topic;
    pos->last = m->id.seq;
    t->used_ms = h->now.mono_ms;
    h->changed = true;
    if (m->key_n && !fm_key_add(h, m)) {
        h->stats.suppressed_key++;
        return; /* in the log for the sake of repair, but nobody gets the second of two with one key */
    }
    if (t->commands)
        fm_control_take(h, m);
    fm_stat_add(&h->stats.dispatched, 1);
    fm_history_add(h, pos, m);
    out_msg(h, t, m);
}

/* To a node that takes over it is no loss that some are not kept any more: what they were for was done before it had a client, and those
 * that stand come again. */
static void commands_missed(struct fm_hub *h, struct fm_id from, uint64_t to, enum fm_gap_reason reason)
{
    if (h->ready || reason == FM_GAP_LOST)
        fm_recall_missed(h, from.origin, from.seq, to);
}

void fm_gap_tell(struct fm_hub *h, const struct fm_topic *t, struct fm_id from, uint64_t to, enum fm_gap_reason reason, uint64_t asof_ms)
{
    if (t->commands) /* workers have no use for a gap of theirs */
        commands_missed(h, from, to, reason);
    if (t->interest == 0 || t->commands || fm_mutation(GAPS_SILENT))
        return;
    h->stats.gaps++;
    for (uint64_t left = t->interest; left; left &= left - 1) {
        unsigned worker = (unsigned)__builtin_ctzll(left);
        struct fm_gap *g = calloc(1, sizeof *g + t->name_n);
        if (!g) {
            h->lost |= 1ull << worker;
            continue;
        }
        g->item.kind = FM_HUB_GAP;
        g->item.cost = (uint32_t)(sizeof *g + t->name_n);
        g->reason = reason;
        g->origin = from.origin;
        g->from = from.seq;
        g->to = to;
        g->topic_n = t->name_n;
        memcpy(g->topic, t->name, t->name_n);
        fm_topic_vector(h, t, &g->cursor);
        if (fm_vector_set(&g->cursor, FM_CURSOR_ASOF, asof_ms) != FM_OK)
            h->lost = UINT64_MAX;
        fm_hub_out(h, worker, &g->item);
    }
}

/* The position moves to `to` over something that can't be had. */
static void pos_skip(struct fm_hub *h, struct fm_pos *pos, uint64_t to, enum fm_gap_reason reason)
{
    uint64_t from = pos->last + 1;
    assert(to > pos->last);
    pos->last = to;
    if (pos->floor < to)
        pos->floor = to;
    h->changed = true;
    fm_gap_tell(h, pos->topic, (struct fm_id){pos->origin->id, from}, to, reason, fm_asof(h));
}

/* Its history was deleted before it came. It stays in the log for as long as something before it is missing. */
static void pass_over(struct fm_hub *h, struct fm_pos *pos, const struct fm_msg *m)
{
    h->stats.deleted_late++;
    pos_skip(h, pos, m->id.seq, FM_GAP_DELETED);
}

/* Dispatches m, and what waited for it. */
static void dispatch(struct fm_hub *h, struct fm_pos *pos, struct fm_msg *m)
{
    while (m) {
        /* Only over a range that was settled without it: the chain is broken for good, so say so. */
        if (m->prev > pos->last && !fm_mutation(ORDER_IGNORED))
            pos_skip(h, pos, m->prev, FM_GAP_EVICTED);
        if (fm_deleted(pos->topic, m->id) && !fm_mutation(DELETED_GIVEN))
            pass_over(h, pos, m);
        else
            dispatch_one(h, pos, m);
        waiting_trim(pos);
        m = waiting_first(pos);
        if (m && m->prev > pos->last)
            m = NULL;
    }
}

void fm_pos_gap(struct fm_hub *h, struct fm_pos *pos, uint64_t to, enum fm_gap_reason reason)
{
    waiting_trim(pos);
    while (pos->last < to) {
        struct fm_msg *m = waiting_first(pos);
        uint64_t skip = m && m->prev < to ? m->prev : to;
        if (skip > pos->last)
            pos_skip(h, pos, skip, reason);
        waiting_trim(pos);
        m = waiting_first(pos);
        if (m && m->prev <= pos->last)
            dispatch(h, pos, m);
    }
}

void fm_origin_gap(struct fm_hub *h, struct fm_origin *o, uint64_t to, enum fm_gap_reason reason)
{
    struct fm_topic *t, *tmp;
    if (!h->control.has_topic)
        commands_missed(h, (struct fm_id){o->id, o->contig + 1}, to, reason);
    HASH_ITER (hh, h->topics, t, tmp) {
        struct fm_pos *pos = t->interest || t->commands ? fm_pos_get(t, o) : fm_pos_find(t, o);
        if (pos)
            fm_pos_gap(h, pos, to, reason);
    }
    if (o->forgotten < to)
        o->forgotten = to;
    if (o->lost < to)
        o->lost = to;
    fm_contig_advance(h, o, to);
}

/* The first entry at or after `seq`. Looked up anew each time: a dispatch may evict, which moves entries. */
static struct fm_log_entry *entry_from(const struct fm_origin *o, uint64_t seq)
{
    struct fm_log_iter it = fm_log_from(&o->log, seq);
    return fm_log_next(&it);
}

/* contig has moved up from `was`; `e`: the entry there, if that was as far as it could go. */
static void passed_note(struct fm_origin *o, uint64_t was, const struct fm_log_entry *e)
{
    uint64_t passed = e && e->msg && e->seq == o->contig ? o->contig - 1 : o->contig;
    if (passed > was)
        o->passed = passed;
}

void fm_contig_advance(struct fm_hub *h, struct fm_origin *o, uint64_t to)
{
    struct fm_log_entry *e;
    /* Over a range that is settled; what is held within it goes out on the way. */
    while (o->contig < to) {
        e = entry_from(o, o->contig + 1);
        uint64_t was = o->contig;
        o->contig = e && e->seq < to ? e->seq : to;
        passed_note(o, was, e);
        if (e && e->seq <= to && e->msg && e->seq > e->pos->last)
            dispatch(h, e->pos, e->msg);
        h->changed = true;
    }
    /* And on over what is held without a hole. */
    while ((e = fm_log_find(&o->log, o->contig + 1))) {
        passed_note(o, o->contig++, e);
        h->changed = true;
        if (e->msg && e->seq > e->pos->last)
            dispatch(h, e->pos, e->msg);
    }
    if (o->claimed < o->contig)
        o->claimed = o->contig;
}

bool fm_receive(struct fm_hub *h, struct fm_origin *o, struct fm_msg *m)
{
    uint64_t seq = m->id.seq;
    struct fm_topic *t = NULL;
    struct fm_pos *pos = NULL;
    if (seq > o->contig && !fm_log_find(&o->log, seq)) {
        t = fm_topic_get(h, fm_msg_topic(m), false);
        pos = t ? fm_pos_get(t, o) : NULL;
    } else {
        h->stats.dropped_double++;
        if (fm_mutation(DOUBLE_AFTER_RELAY) && (t = fm_topic_find(h, fm_msg_topic(m))))
            out_msg(h, t, m);
    }
    /* Without memory it counts as lost on the way: it will be pulled again. */
    if (!pos || fm_store_add(h, pos, m) != FM_OK) {
        fm_msg_unref(&m);
        return false;
    }
    /* What is repaired was said long ago: an origin must not look younger here than to the others, see fm_origin_get. */
    if ((int64_t)o->heard_ms < m->born_ms)
        o->heard_ms = (uint64_t)m->born_ms;
    fm_origin_claim(o, seq);
    if (fm_deleted(pos->topic, m->id))
        pos->topic->deletion->dirty = true;
    if (seq > pos->last && (m->prev <= pos->last || fm_mutation(ORDER_IGNORED)))
        dispatch(h, pos, m);
    else if (seq > pos->last)
        waiting_add(pos, seq);
    if (seq == o->contig + 1)
        fm_contig_advance(h, o, o->contig);
    if (o->log_bytes > h->config.log_bytes)
        fm_log_expire(h, o);
    return true;
}
