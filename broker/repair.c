/* Ranges in, holes and pulls. A live batch (batches.c), the answer to a pull and the state that a new node takes over are the same thing, a
 * range of one origin's log, read by the same code: taking over a cluster's state is a repair from zero. */
#include "hub_core.h"
#include "diag.h"

enum {
    PULLS_FAILED_MAX = 4, /* asks without an answer, after which a hole may be given up though somebody claims to have it */
    AHEAD_US = 20000,     /* of its pace a repair may be: about two ticks, so that a full one is reached */
    SERVE_MAX = 4,        /* answers in one go: none of them takes longer than a large batch does */
    SERVE_MAX_LIVE = 1,   /* ... while messages are published */
};

/* ---- reading ranges ---- */

/* Does this range, taken as the last word, lose something that another node may still have? */
static bool range_loses(struct fm_hub *h, const struct fm_origin *o, struct fm_env_range r)
{
    struct fm_env_record_view rec;
    while (fm_env_range_next(&r, &rec) == FM_OK && rec.kind != FM_RECORD_END) {
        if (rec.kind != FM_RECORD_TOMB || rec.seq > r.upto || rec.seq <= o->contig)
            continue;
        const struct fm_topic *t = fm_topic_find(h, rec.topic);
        if ((t ? fm_topic_last(t, o) : o->forgotten) < rec.seq)
            return true;
    }
    return false;
}

/* Is every seq of from..to in the log? */
static bool all_held(const struct fm_origin *o, uint64_t from, uint64_t to)
{
    struct fm_log_iter it = fm_log_from(&o->log, from);
    for (uint64_t seq = from; seq <= to; seq++) {
        struct fm_log_entry *e = fm_log_next(&it);
        if (!e || e->seq != seq)
            return false;
    }
    return true;
}

static void take_msg(struct fm_hub *h, struct fm_origin *o, const struct fm_env_record_view *rec, bool answer)
{
    if ((rec->seq <= o->contig || fm_log_find(&o->log, rec->seq)) && !fm_mutation(DOUBLE_AFTER_RELAY)) {
        h->stats.dropped_double++;
        return;
    }
    struct fm_msg *m = fm_msg_new(rec->topic, rec->event, rec->keys, rec->payload, rec->flags);
    if (!m)
        return;
    fm_msg_accept(m, (struct fm_id){o->id, rec->seq}, rec->prev, rec->ts_ms);
    m->born_ms = (int64_t)h->now.mono_ms - (int64_t)rec->age_ms;
    if (fm_receive(h, o, m))
        h->stats.repaired += answer;
}

static void take_tomb(struct fm_hub *h, struct fm_origin *o, const struct fm_env_record_view *rec)
{
    if (rec->seq <= o->contig)
        return;
    struct fm_topic *t = fm_topic_get(h, rec->topic, false);
    struct fm_pos *pos = t ? fm_pos_get(t, o) : NULL;
    if (!pos)
        return;
    if (pos->last < rec->seq)
        fm_pos_gap(h, pos, rec->seq, fm_deleted(t, (struct fm_id){o->id, rec->seq}) ? FM_GAP_DELETED : FM_GAP_EVICTED);
    if (!fm_log_find(&o->log, rec->seq))
        fm_tomb_set(h, pos, rec->seq);
}

/* authority: what is not in the range is given up; otherwise only its messages are taken. */
static enum fm_err range_take(struct fm_hub *h, struct fm_origin *o, struct fm_env_range r, bool answer, bool authority)
{
    uint64_t was = o->contig;
    struct fm_env_record_view rec;
    enum fm_err err;
    while ((err = fm_env_range_next(&r, &rec)) == FM_OK && rec.kind != FM_RECORD_END) {
        if (rec.kind == FM_RECORD_MSG)
            take_msg(h, o, &rec, answer);
        else if (authority && rec.seq <= r.upto)
            take_tomb(h, o, &rec);
    }
    if (err || !authority || r.from > was + 1 || r.upto <= o->contig)
        return err;
    /* Topics that the sender no longer names had messages up to `forgotten`, and any topic may have lost some up to `lost`. A node that is
     * taking over knows no topic that the sender doesn't name, so only the latter concerns it. */
    uint64_t forgotten = fm_least(r.forgotten, r.upto), nameless = h->ready ? forgotten : fm_least(r.lost, r.upto);
    /* Not of what is settled here already, or is here: a topic without a position would be taken for told what it has still to be told. */
    if (forgotten > was && !all_held(o, was + 1, forgotten)) {
        if (nameless > was)
            fm_origin_gap(h, o, nameless, FM_GAP_EVICTED);
        if (o->forgotten < forgotten)
            o->forgotten = forgotten;
    }
    fm_contig_advance(h, o, r.upto);
    return FM_OK;
}

static bool may_hold(const struct fm_peer *p, const struct fm_origin *o)
{
    if (!p->alive || !p->met || !p->ask[0] || fm_vector_get(&p->has, o->id) <= o->contig)
        return false;
    for (uint32_t i = 0; i < o->pull.refused_n; i++)
        if (o->pull.refused[i] == p->incarnation)
            return false;
    return true;
}

bool fm_range_apply(struct fm_hub *h, struct fm_peer *from, struct fm_slice body, bool answer)
{
    struct fm_env_range r;
    if (fm_env_range_read(body, &r) != FM_OK) {
        fm_refusal_tell(h, "envelope_refused", from->bus, FM_E_SYNTAX, 1);
        return false;
    }
    bool is_awaited = r.flags & FM_RANGE_SOON;
    struct fm_origin *o = answer ? fm_origin_find(h, r.origin) : fm_origin_get(h, r.origin, h->now.mono_ms);
    if (!o || o == h->self)
        return is_awaited;
    if (!answer)
        o->heard_ms = h->now.mono_ms;
    fm_origin_claim(o, r.contig);
    if (!answer && !h->ready && fm_mutation(SNAPSHOT_NOT_FOLLOWED))
        return is_awaited;
    bool authority = true;
    if (answer && h->ready && range_loses(h, o, r)) {
        if (o->pull.refused_n < FM_PEERS_MAX)
            o->pull.refused[o->pull.refused_n++] = from->incarnation;
        for (uint32_t i = 0; i < h->peers_n && authority; i++)
            authority = !may_hold(&h->peers[i], o);
    } else if (answer && r.upto < o->contig + 1 && o->pull.refused_n < FM_PEERS_MAX) {
        o->pull.refused[o->pull.refused_n++] = from->incarnation; /* it had nothing to say */
    }
    uint64_t was = o->contig;
    enum fm_err err = range_take(h, o, r, answer, authority);
    if (err)
        fm_refusal_tell(h, "envelope_refused", from->bus, err, 1);
    if (o->contig > was) {
        o->pull.refused_n = o->pull.failed = 0;
        o->pull.since_ms = fm_origin_hole(o) ? h->now.mono_ms : 0; /* what is left has its time anew */
        /* So has the first ask for it: while the live stream goes on, what is known to exist and not here is only on its way. */
        if (!answer && h->ready)
            o->pull.not_before_ms = h->now.mono_ms + h->config.repair_after_ms;
    }
    return is_awaited;
}

/* ---- holes ---- */

bool fm_origin_hole(const struct fm_origin *o)
{
    return o->contig < o->claimed || o->contig < fm_log_last(&o->log);
}

static struct fm_peer *holder_of(struct fm_hub *h, const struct fm_origin *o)
{
    struct fm_peer *best = NULL;
    unsigned best_rank = 0;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        struct fm_peer *p = &h->peers[(h->next_ask + i) % h->peers_n];
        if (!may_hold(p, o))
            continue;
        unsigned rank = fm_holder_rank(h, p, o->id, o->pull.holder);
        if (rank > best_rank) {
            best = p;
            best_rank = rank;
        }
    }
    return best;
}

/* The end of the first hole. */
static uint64_t hole_end(const struct fm_origin *o)
{
    struct fm_log_iter it = fm_log_from(&o->log, o->contig + 1);
    const struct fm_log_entry *e = fm_log_next(&it);
    return e ? e->seq - 1 : o->claimed;
}

static void pull(struct fm_hub *h, struct fm_origin *o, struct fm_peer *p)
{
    uint64_t counter, id = ++h->next_ask;
    struct fm_env_pull ask = {o->id, o->contig + 1, hole_end(o)};
    h->scratch.n = 0;
    fm_env_pull_write(&h->scratch, &ask);
    o->pull.holder = p->incarnation;
    o->pull.not_before_ms = h->now.mono_ms + h->config.repair_after_ms;
    if (fm_seal_close(h->config.seal, FM_PLANE_ASK, (struct fm_env_bind){0}, fm_buf_view(&h->scratch), &h->sealed, &counter) != FM_OK)
        return;
    if (h->port.bus_ops->ask(h->port.bus, p->ask, id, fm_buf_view(&h->sealed), h->config.ask_timeout_ms) != FM_OK)
        return;
    o->pull.ask = id;
    o->pull.counter = counter;
    h->stats.pulls++;
}

/* No one has it, or no one gives it, and nothing moved for gap_ms: only a hole that holds something up is given up. What is merely claimed
 * by a node that can't be reached now comes when the link heals. */
static void give_up(struct fm_hub *h, struct fm_origin *o)
{
    uint64_t end = hole_end(o);
    if (fm_log_last(&o->log) <= o->contig || h->now.mono_ms - o->pull.since_ms < h->config.gap_ms)
        return;
    char origin[FM_ORIGIN_TEXT_MAX + 1];
    fm_origin_print(o->id, origin);
    fm_diag(FM_WARN, "hole_given_up",
            "origin=%s from=%llu to=%llu why=\"no reachable node has it\" then=\"subscribers of what it may hold are told a gap\"", origin,
            (unsigned long long)o->contig + 1, (unsigned long long)end);
    /* The clock goes on: if the origin is dead, its next hole has been there as long as this one. It is asked for once more. */
    fm_origin_gap(h, o, end, FM_GAP_LOST);
}

/* Returns whether time matters: something is asked or can be, or something is held up. A hole that only a node out of reach could fill
 * waits for that node, without a hurry. */
static bool origin_repair(struct fm_hub *h, struct fm_origin *o)
{
    if (!fm_origin_hole(o)) {
        o->pull.since_ms = 0;
        return false;
    }
    bool holds_up = fm_log_last(&o->log) > o->contig;
    if (o->pull.since_ms == 0) {
        o->pull.since_ms = h->now.mono_ms;
        o->pull.refused_n = o->pull.failed = 0;
        o->pull.holder = 0;
        /* A node that takes over asks at once; a hole in the live stream is often closed by the next envelope. */
        o->pull.not_before_ms = h->now.mono_ms + (h->ready ? h->config.repair_after_ms : 0);
    }
    if (o->pull.ask || h->now.mono_ms < o->pull.not_before_ms || o->pull.paid_us > h->now.mono_ms * 1000 + AHEAD_US)
        return true;
    struct fm_peer *p = holder_of(h, o);
    if (p && o->pull.failed < PULLS_FAILED_MAX && !fm_mutation(NO_PULLS)) {
        pull(h, o, p);
        return true;
    }
    give_up(h, o);
    /* All that can be reached have refused, or don't answer; once one of those is the only one left, its word is final. */
    o->pull.refused_n = o->pull.failed = 0;
    o->pull.not_before_ms = h->now.mono_ms + h->config.repair_after_ms;
    return p || holds_up;
}

void fm_repair_paused(struct fm_hub *h)
{
    struct fm_origin *o, *tmp;
    HASH_ITER (hh, h->origins, o, tmp)
        if (o->pull.since_ms)
            o->pull.since_ms = h->now.mono_ms;
}

void fm_repair_tick(struct fm_hub *h)
{
    struct fm_origin *o, *tmp;
    uint64_t holes = 0;
    h->repairing = false;
    HASH_ITER (hh, h->origins, o, tmp) {
        if (o == h->self)
            continue;
        h->repairing |= origin_repair(h, o);
        if (fm_origin_hole(o))
            holes++;
        else
            o->whole_ms = h->now.mono_ms;
    }
    h->stats.holes = holes;
}

/* ---- the ask plane ---- */

/* Several asks may be under way at once and overtake each other between the threads of the bus: a window of 64 counters tells new from
 * replayed. */
static bool ask_is_new(struct fm_peer *p, uint64_t counter)
{
    if (counter > p->ask_counter) {
        uint64_t step = counter - p->ask_counter;
        p->ask_seen = step < 64 ? p->ask_seen << step | 1 : 1;
        p->ask_counter = counter;
        return true;
    }
    uint64_t back = p->ask_counter - counter;
    if (back >= 64 || p->ask_seen >> back & 1)
        return false;
    p->ask_seen |= 1ull << back;
    return true;
}

void fm_ask_handle(struct fm_hub *h, struct fm_bus_item *it)
{
    struct fm_env env;
    struct fm_asked asked = {.handle = it->handle};
    enum fm_err err = fm_seal_open(h->config.seal, FM_PLANE_ASK, (struct fm_env_bind){0}, it->bytes, it->n, &env);
    struct fm_peer *p = err ? NULL : fm_peer_find(h, env.incarnation);
    unsigned type = err ? 0 : fm_env_type(env.body);
    if (!err && !p && (type == FM_ENV_PARCEL || type == FM_ENV_INQUIRY))
        err = FM_E_NOT_FOUND; /* else one that is played again to a node which was started anew would be new to it */
    if (!err)
        asked.bind = (struct fm_env_bind){env.incarnation, env.counter};
    asked.of_presence = type == FM_ENV_PRESENCE_PULL;
    if (!err && asked.of_presence)
        err = fm_env_presence_pull_read(env.body, &asked.presence);
    else if (!err && type != FM_ENV_PARCEL && type != FM_ENV_INQUIRY)
        err = fm_env_pull_read(env.body, &asked.pull);
    if (!err && p && !ask_is_new(p, env.counter))
        err = FM_E_REPLAY;
    if (err) {
        fm_refusal_tell(h, "ask_refused", p ? p->bus : NULL, err, 1);
        return;
    }
    if (type == FM_ENV_PARCEL) {
        fm_parcels_arrived(h, it->handle, &env);
        return;
    }
    if (type == FM_ENV_INQUIRY) {
        fm_inquiry_handle(h, it->handle, (struct fm_env_bind){env.incarnation, env.counter}, env.body);
        return;
    }
    if (h->asked_n == FM_ASKED_MAX) { /* the oldest is given up, as the bus does */
        h->asked_head = (h->asked_head + 1) % FM_ASKED_MAX;
        h->asked_n--;
    }
    h->asked[(h->asked_head + h->asked_n++) % FM_ASKED_MAX] = asked;
}

static void serve(struct fm_hub *h, const struct fm_asked *a)
{
    struct fm_origin unknown = {.id = a->pull.origin}, *o = fm_origin_find(h, a->pull.origin);
    uint64_t size = 0;
    if (a->of_presence)
        fm_presence_serve(h, a);
    else
        fm_range_write(h, o ? o : &unknown, a->pull.from, o ? a->pull.to : a->pull.from, h->config.batch_bytes, &size);
    if (fm_seal_close(h->config.seal, FM_PLANE_ANSWER, a->bind, fm_buf_view(&h->scratch), &h->sealed, NULL) != FM_OK ||
        h->port.bus_ops->answer(h->port.bus, a->handle, fm_buf_view(&h->sealed)) != FM_OK)
        return;
    h->stats.pulls_served++;
    h->stats.repair_bytes_out += h->sealed.n;
}

/* However many nodes ask at once, a live message waits for a few answers at most. */
void fm_asks_serve(struct fm_hub *h)
{
    for (unsigned i = h->live ? SERVE_MAX - SERVE_MAX_LIVE : 0; h->asked_n && i < SERVE_MAX; i++) {
        const struct fm_asked a = h->asked[h->asked_head];
        h->asked_head = (h->asked_head + 1) % FM_ASKED_MAX;
        h->asked_n--;
        serve(h, &a);
    }
}

/* Each origin that is repaired gets an equal share of the rate. So a large transfer neither takes this node's time from live messages nor
 * holds up the small hole of another origin, whose first ask is always free. */
static void pace(struct fm_hub *h, struct fm_origin *o, uint32_t bytes)
{
    uint64_t rate = h->config.repair_bytes_per_s, now_us = h->now.mono_ms * 1000, share = h->stats.holes ? h->stats.holes : 1;
    if (rate == 0)
        return;
    if (o->pull.paid_us < now_us)
        o->pull.paid_us = now_us;
    o->pull.paid_us += bytes * share * 1000000 / rate;
}

void fm_answer_handle(struct fm_hub *h, struct fm_bus_item *it)
{
    struct fm_origin *o, *tmp;
    if (fm_parcels_answered(h, it))
        return;
    HASH_ITER (hh, h->origins, o, tmp) {
        if (o->pull.ask == it->handle)
            break;
    }
    if (!o) {
        fm_found_handle(h, it);
        fm_presence_answered(h, it);
        return;
    }
    o->pull.ask = 0;
    struct fm_env env;
    struct fm_env_bind bind = {h->self->id, o->pull.counter};
    enum fm_err err = it->err ? it->err : fm_seal_open(h->config.seal, FM_PLANE_ANSWER, bind, it->bytes, it->n, &env);
    struct fm_peer *p = err ? NULL : fm_peer_find(h, env.incarnation);
    if (err || !p || fm_env_type(env.body) != FM_ENV_RANGE) {
        o->pull.failed++;
        fm_diag(FM_INFO, "pull_failed", "code=%s", fm_err_code(err ? err : FM_E_SYNTAX));
        return; /* the next tick asks someone else */
    }
    uint64_t was = o->contig;
    h->stats.repair_bytes_in += it->n;
    pace(h, o, it->n);
    fm_range_apply(h, p, env.body, true);
    if (o->contig > was)
        o->pull.not_before_ms = 0; /* there may be more of it */
    h->repairing |= origin_repair(h, o);
}
