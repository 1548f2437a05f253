/* What a worker takes from its inbox, in turns: who gets an item, and in which order (worker_core.h). */
#include "worker_core.h"

#include "../../broker/diag.h"
#include "../polling/polling.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    TURN_BYTES = 256 << 10, /* of items, and */
    TURN_MS = 20,           /* ... of a turn in which something was given out */
    WARN_EVERY_MS = 10000,
};

/* ---- answers ---- */

/* The token by which an answer finds its asker; 0: it is no answer to one. */
static uint64_t token_of(const struct fm_item *item)
{
    if (item->kind == FM_CONNECT)
        return ((const struct fm_connect_held *)item)->token;
    switch ((enum fm_hub_kind)item->kind) {
    case FM_HUB_JOIN:
        return ((const struct fm_join *)item)->sub;
    case FM_HUB_PUBLISH:
        return ((const struct fm_publish *)item)->token;
    case FM_HUB_QUERY:
        return ((const struct fm_query *)item)->token;
    case FM_HUB_TRACK:
        return ((const struct fm_track *)item)->token;
    case FM_HUB_LEAVE:
    case FM_HUB_MSG:
    case FM_HUB_GAP:
    case FM_HUB_PARCEL:
    case FM_HUB_INQUIRE:
    case FM_HUB_PRESENCE:
        break;
    }
    return 0;
}

void fm_worker_answer(struct fm_worker *w, struct fm_item *item)
{
    fm_answered_fn *answered;
    void *ctx;
    if (fm_expect_take(w, token_of(item), &answered, &ctx)) {
        answered(ctx, item);
        return;
    }
    /* The asker is gone. If it was a subscription, the hub has counted it. */
    struct fm_join *join = (struct fm_join *)item;
    if (item->kind == FM_HUB_JOIN && !join->reread && join->err == FM_OK) {
        fm_subs_leave_hub(w, fm_slice_of(join->topic, join->topic_n), 1);
        fm_join_untrack(w, join);
    }
    fm_question_item_free(item);
}

/* Before a client is told that its push is out, it is given what it pushed, as where there are few subscribers. false: that waits behind a
 * run of its topic, and so the answer has to. */
static bool pushed_hurry(struct fm_worker *w, const struct fm_item *item)
{
    const struct fm_publish *p = (const struct fm_publish *)item;
    const struct fm_socket *pusher = fm_expect_socket(w, token_of(item));
    for (struct fm_sub *sub = pusher ? pusher->subs : NULL; sub; sub = sub->next) {
        if (p->err == FM_OK && fm_subs_waits(sub, p->results[0].id))
            return false;
        fm_subs_hurry(w, sub);
    }
    return true;
}

static void deferred_answer(struct fm_worker *w)
{
    struct fm_item *next, *it = w->deferred;
    w->deferred = NULL;
    w->deferred_last = &w->deferred;
    for (; it; it = next) {
        next = it->next;
        it->next = NULL;
        if (!w->runs || pushed_hurry(w, it)) {
            fm_worker_answer(w, it);
            continue;
        }
        *w->deferred_last = it; /* the next turn, which the run makes sure of, looks again */
        w->deferred_last = &it->next;
    }
}

/* The answer to a join: the messages of its topic that came before it are given out first, since it holds them. Where answers to pushes
 * wait they go first, too, so that a client gets everything in the order of the inbox. */
static void join_take(struct fm_worker *w, struct fm_join *join)
{
    struct fm_wtopic *t = fm_wtopic_find(w, fm_slice_of(join->topic, join->topic_n));
    if (w->deferred) {
        fm_subs_flush_all(w);
        deferred_answer(w);
    } else if (t) {
        fm_subs_flush(w, t);
    }
    if (!join->reread) {
        fm_worker_answer(w, &join->item);
        return;
    }
    fm_subs_reread_done(w, join);
    fm_join_free(&join);
}

/* ---- items, one by one ---- */

static void item_take(struct fm_worker *w, struct fm_item *item)
{
    struct fm_socket *pusher;
    if (item->kind == FM_ANSWER) {
        fm_question_answered(w, (struct fm_answer *)item);
        return;
    }
    if (item->kind == FM_FETCHED_KEYS) {
        fm_key_set_unref(&w->fetched_keys);
        w->fetched_keys = ((struct fm_keys_item *)item)->set;
        free(item);
        return;
    }
    switch ((enum fm_hub_kind)item->kind) {
    case FM_HUB_MSG:
        fm_subs_message(w, fm_msg_ref(((struct fm_msg_item *)item)->msg));
        fm_hub_item_free(item);
        return;
    case FM_HUB_JOIN:
        join_take(w, (struct fm_join *)item);
        return;
    case FM_HUB_PUBLISH:
        pusher = fm_expect_socket(w, token_of(item));
        if (!pusher)
            break;
        fm_socket_cork(pusher);
        item->next = NULL;
        *w->deferred_last = item;
        w->deferred_last = &item->next;
        return;
    case FM_HUB_GAP:
        fm_subs_gap(w, (const struct fm_gap *)item);
        fm_hub_item_free(item);
        return;
    case FM_HUB_PARCEL:
        fm_poll_parcel(w, (struct fm_parcel *)item);
        return;
    case FM_HUB_INQUIRE:
        fm_inquire_answer(w, (struct fm_inquire *)item);
        return;
    case FM_HUB_PRESENCE:
        fm_subs_presence_state(w, (const struct fm_presence_state *)item);
        fm_hub_item_free(item);
        return;
    case FM_HUB_QUERY:
    case FM_HUB_TRACK:
        break;
    case FM_HUB_LEAVE:
        fm_hub_item_free(item); /* has no answer */
        return;
    }
    fm_worker_answer(w, item);
}

/* ---- in turns ---- */

static void overrun_note(struct fm_worker *w)
{
    uint64_t now = fm_mono_ms();
    fm_stat_add(&w->stats.overruns, 1);
    fm_subs_overrun(w);
    if (w->overrun_warned_ms && now - w->overrun_warned_ms < WARN_EVERY_MS)
        return;
    w->overrun_warned_ms = now;
    fm_diag(FM_WARN, "worker_overrun", "worker=%u topics=%u overruns=%" PRIu64 " then=\"its topics are read again from the hub\"",
            w->config.index, HASH_COUNT(w->topics), atomic_load_explicit(&w->stats.overruns, memory_order_relaxed));
}

/* Items of the inbox until it is empty, or until it is time to look after the sockets: a burst must not keep their WRITEABLE events and
 * heartbeats waiting, or the healthy ones would be taken for slow. What is left over comes first in the next turn. */
static void turn(struct fm_worker *w)
{
    uint64_t began = fm_mono_ms();
    size_t bytes = 0;
    w->flushed = false;
    while (w->backlog && bytes < TURN_BYTES && !(w->flushed && fm_mono_ms() - began >= TURN_MS)) {
        struct fm_item *item = w->backlog;
        w->backlog = item->next;
        bytes += item->cost;
        item_take(w, item);
    }
}

void fm_intake(struct fm_worker *w)
{
    bool left_over = w->backlog != NULL;
    if (!left_over)
        w->backlog = fm_inbox_take(&w->config.mailbox->inbox, &w->overrun);
    w->draining_inbox = true;
    w->slice_left = w->config.fanout_slice;
    turn(w);
    fm_subs_flush_all(w);
    bool runs = fm_subs_advance(w);
    deferred_answer(w);
    while (w->touched) {
        struct fm_socket *s = w->touched;
        w->touched = s->touched_next;
        fm_socket_flush(s);
    }
    w->draining_inbox = false;
    /* The inbox rings only when it was empty: what came while this was left over has rung already. */
    if (w->backlog || left_over || runs)
        fm_mailbox_ring(w->config.mailbox);
    if (w->backlog)
        return;
    if (w->overrun)
        overrun_note(w);
    w->overrun = false;
    fm_subs_reread(w);
}

/* ---- the end ---- */

static void items_free(struct fm_item **items)
{
    while (*items) {
        struct fm_item *item = *items;
        *items = item->next;
        fm_question_item_free(item);
    }
}

void fm_intake_free(struct fm_worker *w)
{
    items_free(&w->backlog);
    items_free(&w->deferred);
}
