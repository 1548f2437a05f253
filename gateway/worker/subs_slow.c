/* Subscribers that fell behind, on topics whose rule is drop or conflate (lag.h): how they get there, and how they catch up.
 *
 * The tension: the topic's newest must not wait for a slow client, and yet the client is to be told of every message that it isn't given,
 * before the next one. So from the first message that doesn't fit its socket a sub is fed instead of given; when the socket has drained to
 * a quarter of what it may owe, it is given what is kept and the gaps between, as far as there is room, and so on until nothing is left. */
#include "worker_core.h"

#include "../../broker/diag.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum { CLOSE_SLOW = 1013, WARN_EVERY_MS = 10000 };

/* ---- falling behind ---- */

/* One line for all that fall behind in a while. */
static void lag_log(struct fm_worker *w, const struct fm_sub *sub)
{
    uint64_t now = fm_mono_ms();
    if (w->lag_warned_ms && now - w->lag_warned_ms < WARN_EVERY_MS)
        return;
    w->lag_warned_ms = now;
    char peer[FM_PEER_TEXT_MAX], quote[FM_TOPIC_MAX + 32];
    struct fm_slice topic = fm_sub_topic(sub);
    fm_diag(FM_INFO, "slow_subscriber",
            "worker=%u peer=%s topic=%s slow=%s lags=%" PRIu64 " then=\"it is told by gaps what it isn't given\"", w->config.index,
            fm_peer_text(&sub->socket->peer, peer), fm_diag_quote(quote, sizeof quote, (const char *)topic.p, topic.n),
            sub->lag->conflate ? "conflate" : "drop", atomic_load_explicit(&w->stats.slow_lags, memory_order_relaxed));
}

/* Where the sub was before the batch, which the topic's position is behind already. */
static enum fm_err position_before(const struct fm_wtopic *t, const struct fm_batch *b, const struct fm_sub *sub, struct fm_vector *at)
{
    enum fm_err err = fm_vector_copy(at, &t->at);
    for (uint32_t i = b->n; i-- > 0 && !err;)
        if (!fm_msg_of_presence(b->at[i]) && fm_vector_has(at, b->at[i]->id.origin)) /* a full position may have forgotten it */
            err = fm_vector_set(at, b->at[i]->id.origin, b->at[i]->id.seq - 1);
    for (uint32_t i = 0; sub->skip && i < sub->skip->n && !err; i++)
        err = fm_vector_raise(at, sub->skip->at[i].origin, sub->skip->at[i].seq);
    return err;
}

static enum fm_err lag_begin(struct fm_worker *w, struct fm_wtopic *t, const struct fm_batch *b, struct fm_slot *slot)
{
    struct fm_sub *sub = slot->sub, **end = &sub->socket->lagging;
    struct fm_vector at = {0};
    enum fm_err err = position_before(t, b, sub, &at);
    struct fm_lag *lag = err ? NULL : malloc(sizeof *lag);
    if (!lag) {
        fm_vector_fini(&at);
        return err ? err : FM_E_NOMEM;
    }
    fm_lag_init(lag, &at, t->slow == FM_SLOW_CONFLATE);
    while (*end)
        end = &(*end)->lag->next;
    *end = sub;
    sub->lag = lag;
    slot->filtered = true;
    t->lagging++;
    fm_stat_add(&w->stats.slow_lags, 1);
    fm_stat_add(&w->stats.slow_lagging, 1);
    lag_log(w, sub);
    fm_edge_want_write(sub->socket);
    return FM_OK;
}

void fm_subs_lag_end(struct fm_worker *w, struct fm_sub *sub)
{
    struct fm_sub **at = &sub->socket->lagging;
    if (!sub->lag)
        return;
    while (*at != sub)
        at = &(*at)->lag->next;
    *at = sub->lag->next;
    fm_lag_fini(sub->lag);
    free(sub->lag);
    sub->lag = NULL;
    sub->topic->lagging--;
    fm_stat_sub(&w->stats.slow_lagging, 1);
}

static void lag_failed(struct fm_sub *sub, enum fm_err err)
{
    /* What it misses can't be declared any more; its cursor still says where it is. */
    fm_socket_close(sub->socket, CLOSE_SLOW, err == FM_E_NOMEM ? "out of memory" : "too slow on a topic of too many origins");
}

void fm_subs_lag_feed(struct fm_worker *w, struct fm_wtopic *t, const struct fm_batch *b, struct fm_slot *slot)
{
    struct fm_sub *sub = slot->sub;
    enum fm_err err = sub->lag ? FM_OK : lag_begin(w, t, b, slot);
    if (err) {
        lag_failed(sub, err);
        return;
    }
    struct fm_lag *lag = sub->lag;
    uint64_t left = lag->left, conflated = lag->conflated;
    size_t share = w->config.outbox_bytes / sub->socket->subs_n; /* all that is kept for a socket is as much as it may owe */
    if (slot->presence == FM_PRESENCE_TOLD)
        fm_slot_watch(t, slot, FM_PRESENCE_AWAITED); /* it is given the state when it has caught up, instead of diffs */
    for (uint32_t i = 0; i < b->n && !err; i++)
        err = fm_msg_of_presence(b->at[i]) ? FM_OK : fm_lag_feed(lag, b->at[i], b->at[i]->from == sub->id, share);
    fm_stat_add(&w->stats.slow_skipped, lag->left - left);
    fm_stat_add(&w->stats.slow_conflated, lag->conflated - conflated);
    if (err)
        lag_failed(sub, err);
}

void fm_subs_lag_gap(struct fm_slot *slot, const struct fm_gap *gap, const struct fm_vector *cursor)
{
    struct fm_lag *lag = slot->sub->lag;
    enum fm_err err = gap->origin ? fm_lag_gap(lag, gap->origin, gap->to) : fm_lag_lost(lag, cursor);
    if (err)
        lag_failed(slot->sub, err);
}

/* ---- catching up ---- */

/* Frames of what comes next, at most `room` bytes and about one write; alone: nothing is owed, so that one message may be larger than
 * `room`. *given: messages in f. true: that was all. */
static bool next_frames(struct fm_sub *sub, struct fm_frames *f, size_t room, bool alone, uint32_t *given)
{
    const struct fm_proto *proto = sub->socket->proto;
    enum fm_lag_step step;
    struct fm_gap gap;
    struct fm_msg *m;
    *given = 0;
    while ((step = fm_lag_peek(sub->lag, &gap, &m)) != FM_LAG_DONE && !f->bytes.failed) {
        size_t bytes = step == FM_LAG_MSG ? fm_msg_size(m) : 0, most = f->n > 0 && room > FM_WRITE_MAX ? FM_WRITE_MAX : room;
        if (f->bytes.n + bytes > most && !(alone && f->n == 0))
            return false;
        if (fm_lag_take(sub->lag, &m)) {
            f->bytes.failed = true;
            return false;
        }
        if (step == FM_LAG_GAP) {
            proto->gap(f, sub, &gap, &sub->lag->sent);
            continue;
        }
        fm_sub_encode(f, sub, &m, 1, &sub->lag->sent);
        fm_msg_unref(&m);
        (*given)++;
    }
    return step == FM_LAG_DONE;
}

/* As much as the socket has room for. true: it has caught up, and is like any other again. */
static bool catch_up(struct fm_sub *sub)
{
    struct fm_socket *s = sub->socket;
    struct fm_worker *w = s->worker;
    for (;;) {
        size_t owed = fm_socket_owes(s), most = fm_socket_room(s);
        struct fm_frames *f = owed < most ? fm_frames_new() : NULL;
        if (!f && owed >= most)
            return false;
        uint32_t given = 0;
        bool all = f && next_frames(sub, f, most - owed, owed == 0, &given), some = f && f->n > 0;
        if (!f || f->bytes.failed)
            fm_socket_close(s, CLOSE_SLOW, "out of memory");
        else
            fm_socket_give(s, f, 0, f->n);
        fm_stat_add(&w->stats.deliveries, given);
        fm_frames_unref(&f);
        if (s->state != FM_SOCKET_OPEN)
            return false;
        if (all) {
            struct fm_slot *slot = &sub->topic->slots[sub->slot];
            fm_subs_lag_end(w, sub);
            slot->filtered = sub->skip != NULL;
            fm_subs_presence_caught_up(w, sub);
            return true;
        }
        if (!some)
            return false;
    }
}

void fm_subs_catch_up(struct fm_socket *s)
{
    while (s->lagging && s->state == FM_SOCKET_OPEN) {
        struct fm_sub *sub = s->lagging, **end = &s->lagging;
        if (catch_up(sub))
            continue;
        /* The next round begins with the next one. */
        *end = sub->lag->next;
        sub->lag->next = NULL;
        while (*end)
            end = &(*end)->lag->next;
        *end = sub;
        return;
    }
}
