/* The hub's side of topics: who left, what was lost when this worker was overrun, what is gone for good. */
#include "worker_core.h"

#include "../../broker/diag.h"

#include <assert.h>
#include <inttypes.h>

enum { WARN_EVERY_MS = 10000 };

/* ---- leaving ---- */

static bool leave_post(struct fm_worker *w, struct fm_slice topic, uint32_t subs)
{
    struct fm_leave *leave = fm_leave_new(w->config.index, subs, topic);
    if (!leave)
        return false;
    enum fm_err err = fm_hub_post(w->config.hub, &leave->item);
    assert(err == FM_OK); /* a leave is always taken */
    (void)err;
    return true;
}

void fm_subs_leave_hub(struct fm_worker *w, struct fm_slice topic, uint32_t subs)
{
    if (leave_post(w, topic, subs))
        return;
    /* The topic remembers it until there is memory. */
    struct fm_wtopic *t = fm_wtopic_find(w, topic);
    if (!t)
        t = fm_wtopic_new(w, topic);
    if (t) {
        t->leavers += subs;
        fm_wtopic_mark(w, t);
        return;
    }
    fm_diag(FM_ERROR, "leave_lost", "err=%s subs=%u then=\"the hub goes on sending this topic here; give the node more memory\"",
            fm_err_code(FM_E_NOMEM), subs);
}

void fm_subs_settle(struct fm_worker *w)
{
    struct fm_wtopic *t = w->dirty, *next, *later = NULL;
    w->dirty = NULL;
    for (; t; t = next) {
        next = t->dirty_next;
        t->dirty = false;
        if (t->leavers && !leave_post(w, fm_slice_of(t->name, t->name_n), t->leavers)) {
            t->dirty = true;
            t->dirty_next = later;
            later = t;
            continue;
        }
        t->leavers = 0;
        if (!fm_wtopic_wanted(t))
            fm_wtopic_free(w, t);
    }
    w->dirty = later;
}

/* ---- overrun ---- */

void fm_subs_overrun(struct fm_worker *w)
{
    struct fm_wtopic *t, *tmp;
    HASH_ITER (hh, w->topics, t, tmp) {
        if (!fm_wtopic_wanted(t))
            continue;
        fm_subs_finish(w, t); /* the question names where its subs are */
        fm_wtopic_want_reread(w, t);
        fm_subs_presence_miss(w, t);
    }
}

static enum fm_err ask(struct fm_worker *w, struct fm_wtopic *t)
{
    struct fm_join *join = fm_join_new(w->config.index, 0, fm_slice_of(t->name, t->name_n));
    if (!join)
        return FM_E_NOMEM;
    t->asked = ++w->reread_next;
    join->sub = t->asked;
    join->reread = true;
    join->has_cursor = true;
    enum fm_err err = fm_vector_copy(&join->cursor, &t->at);
    if (err == FM_OK)
        err = fm_hub_post(w->config.hub, &join->item);
    if (err)
        fm_join_free(&join);
    else
        t->reread = FM_REREAD_ASKED;
    return err;
}

void fm_subs_reread(struct fm_worker *w)
{
    if (!w->rereads)
        return;
    struct fm_wtopic *t, *tmp;
    HASH_ITER (hh, w->topics, t, tmp) {
        if (t->reread == FM_REREAD_WANTED && fm_wtopic_wanted(t) && ask(w, t))
            return; /* the next tick tries again */
    }
    w->rereads = false;
}

static void tell_gap(struct fm_slot *slot, const struct fm_gap *gap, const struct fm_vector *cursor)
{
    struct fm_frames *f = fm_frames_new();
    if (!f) {
        fm_socket_close(slot->socket, 1013, "out of memory");
        return;
    }
    slot->socket->proto->gap(f, slot->sub, gap, cursor);
    fm_socket_send_frames(slot->socket, f);
}

static void tell_gap_all(struct fm_wtopic *t, const struct fm_gap *gap, const struct fm_vector *cursor)
{
    for (uint32_t i = 0; i < t->n; i++) {
        struct fm_slot *slot = &t->slots[i];
        if (slot->sub->lag && gap->to == FM_GAP_OPEN) {
            tell_gap(slot, gap, &slot->sub->lag->sent); /* of nothing that is known to come, so it need not wait for what does */
            continue;
        }
        if (slot->sub->lag) {
            fm_subs_lag_gap(slot, gap, cursor);
            continue;
        }
        struct fm_vector own = {0};
        bool ok = !slot->filtered || fm_vector_copy(&own, slot->sub->skip) == FM_OK;
        for (uint32_t k = 0; slot->filtered && ok && k < cursor->n; k++)
            fm_position_raise(&own, cursor->at[k]);
        if (ok)
            tell_gap(slot, gap, slot->filtered ? &own : cursor);
        else
            fm_socket_close(slot->socket, 1013, "out of memory");
        fm_vector_fini(&own);
    }
}

/* Lost for want of what an option could keep. One line for all in a while; the other reasons have lines of their own. */
static void evicted_log(struct fm_worker *w, const struct fm_wtopic *t, const struct fm_gap *gap)
{
    uint64_t now = fm_mono_ms();
    w->evicted_untold++;
    if (w->evicted_warned_ms && now - w->evicted_warned_ms < WARN_EVERY_MS)
        return;
    w->evicted_warned_ms = now;
    char origin[FM_ORIGIN_TEXT_MAX + 1], quote[FM_TOPIC_MAX + 32];
    fm_origin_print(gap->origin, origin);
    fm_diag(FM_WARN, "gap_evicted",
            "worker=%u topic=%s origin=%s from=%" PRIu64 " to=%" PRIu64 " clients=%u gaps=%" PRIu64
            " why=\"no node in reach still has these messages\" then=\"the clients are told a gap; to bridge such times keep more on all "
            "nodes: log_bytes, log_age, memory_bytes, and history_count, history_bytes, history_age of the topic\"",
            w->config.index, fm_diag_quote(quote, sizeof quote, (const char *)gap->topic, gap->topic_n), origin, gap->from, gap->to, t->n,
            w->evicted_untold);
    w->evicted_untold = 0;
}

void fm_subs_gap(struct fm_worker *w, const struct fm_gap *gap)
{
    struct fm_wtopic *t = fm_wtopic_find(w, fm_slice_of(gap->topic, gap->topic_n));
    if (!t || t->n == 0)
        return;
    if (w->overrun || t->reread != FM_REREAD_NONE) {
        t->gap_missed = true; /* told with the answer; its cursor would be ahead of what the subs have */
        return;
    }
    fm_subs_finish(w, t);
    for (uint32_t i = 0; i < gap->cursor.n; i++)
        fm_position_raise(&t->at, gap->cursor.at[i]);
    tell_gap_all(t, gap, &gap->cursor);
    if (gap->reason == FM_GAP_EVICTED)
        evicted_log(w, t, gap);
}

void fm_subs_reread_done(struct fm_worker *w, struct fm_join *join)
{
    struct fm_wtopic *t = fm_wtopic_find(w, fm_slice_of(join->topic, join->topic_n));
    if (!t || t->reread != FM_REREAD_ASKED || join->sub != t->asked)
        return; /* who it was for has left */
    if (join->err) {
        /* A hub that shuts down answers no more, and the subs get nothing more: their cursors stay true for the next node. */
        if (join->err != FM_E_DRAINING) {
            t->reread = FM_REREAD_WANTED;
            w->rereads = true;
        }
        return;
    }
    t->reread = FM_REREAD_NONE;
    const struct fm_gap gap = {.reason = FM_GAP_OVERRUN};
    bool lost = !join->recovered || t->gap_missed;
    t->gap_missed = false;
    if (lost && t->commands)
        fm_commands_lost(w);
    else if (lost)
        tell_gap_all(t, &gap, &join->cursor);
    for (uint32_t i = 0; i < join->cursor.n; i++)
        fm_position_raise(&t->at, join->cursor.at[i]);
    for (uint32_t i = 0; i < join->replayed; i++)
        if (t->reread == FM_REREAD_NONE)
            fm_subs_gather(w, t, fm_msg_ref(join->replay[i]));
    fm_subs_finish(w, t);
    if (t->reread != FM_REREAD_NONE)
        return;
    for (uint32_t i = 0; i < join->at.n; i++)
        fm_position_raise(&t->at, join->at.at[i]);
    for (uint32_t i = 0; lost && i < t->n; i++)
        if (t->slots[i].sub->lag)
            fm_subs_lag_gap(&t->slots[i], &gap, &join->at); /* what was lost may have been the newest */
}
