/* Notices: what the backend is told has happened. They go out in the order in which they came, a batch at a time, and again until the
 * backend has confirmed them; what waits is bounded by hook_queue. */
#include "hooks_core.h"

#include "../../broker/diag.h"

#include <inttypes.h>
#include <stdlib.h>

enum { BATCH_BYTES = 1 << 20, REST_MIN_MS = 100, REST_MAX_MS = 10000 };

/* ---- any thread ---- */

static void dropped(struct fm_hooks *h, uint64_t n, const char *why)
{
    char quote[2 * FM_HOOK_WHY_MAX];
    uint64_t now = fm_mono_ms(), before = atomic_load_explicit(&h->dropped_warned_ms, memory_order_relaxed);
    fm_hook_count(&h->stats.dropped, n);
    if ((before && now - before < FM_HOOK_WARN_MS) ||
        !atomic_compare_exchange_strong_explicit(&h->dropped_warned_ms, &before, now, memory_order_relaxed, memory_order_relaxed))
        return;
    fm_diag(FM_WARN, "hook_dropped", "events=%" PRIu64 " total=%" PRIu64 " why=%s then=\"the backend is never told of them\"", n,
            atomic_load_explicit(&h->stats.dropped, memory_order_relaxed), fm_diag_quote(quote, sizeof quote, why, strlen(why)));
}

void fm_hooks_tell(struct fm_hooks *h, const struct fm_hook_config *config, struct fm_told *t)
{
    size_t cost = t->item.cost;
    if (atomic_fetch_add(&h->untold_bytes, cost) + cost > config->queue_bytes) {
        atomic_fetch_sub(&h->untold_bytes, cost);
        fm_question_item_free(&t->item);
        dropped(h, 1, "more events wait than hook_queue holds");
        return;
    }
    fm_hook_count(&h->stats.untold, 1);
    fm_inbox_post_always(&h->mailbox.inbox, &t->item);
}

void fm_hooks_tell_lost(struct fm_hooks *h)
{
    dropped(h, 1, "the node is out of memory");
}

/* ---- the thread ---- */

void fm_tell_put(struct fm_hooks *h, struct fm_told *t)
{
    t->seq = ++h->next_id;
    t->came_ms = fm_mono_ms();
    t->item.next = NULL;
    *h->tells.last = &t->item;
    h->tells.last = &t->item.next;
    h->tells.n++;
}

/* The first n are done with. */
static void forget(struct fm_hooks *h, uint64_t n)
{
    struct fm_tells *l = &h->tells;
    for (uint64_t i = 0; i < n && l->first; i++) {
        struct fm_item *t = l->first;
        l->first = t->next;
        atomic_fetch_sub(&h->untold_bytes, t->cost);
        fm_question_item_free(t);
        l->n--;
    }
    if (!l->first)
        l->last = &l->first;
    l->refused = l->tried = 0;
    l->rest_until_ms = 0;
    atomic_fetch_sub_explicit(&h->stats.untold, n, memory_order_release);
}

static void rest(struct fm_hooks *h)
{
    struct fm_tells *l = &h->tells;
    uint32_t doublings = l->tried > 7 ? 7 : l->tried - 1;
    uint64_t ms = (uint64_t)REST_MIN_MS << doublings;
    l->rest_until_ms = fm_mono_ms() + (ms < REST_MAX_MS ? ms : REST_MAX_MS);
}

/* Too many requests, or the backend took too long itself: both pass. */
static bool passes(unsigned status)
{
    return status == 408 || status == 429 || status >= 500;
}

static void done(struct fm_fetch *fetch)
{
    struct fm_hooks *h = fetch->ctx;
    struct fm_tells *l = &h->tells;
    char why[FM_HOOK_WHY_MAX];
    uint32_t sent = l->sent;
    bool answered = fetch->end == FM_FETCH_ANSWERED || fetch->end == FM_FETCH_TOO_LARGE; /* what it says does not matter */
    l->sent = 0;
    if (fetch->end == FM_FETCH_ENDED)
        return;
    (void)fm_hook_judge(h, fetch);
    if (answered && fm_hook_confirms(fetch)) {
        fm_hook_count(&h->stats.told, sent);
        forget(h, sent);
    } else if (answered && (!passes(fetch->status) || l->refused++ >= h->now->retries)) {
        fm_hook_why(fetch, why);
        forget(h, sent);
        dropped(h, sent, why);
    } else {
        rest(h);
    }
}

static uint32_t batch_write(struct fm_hooks *h)
{
    struct fm_tells *l = &h->tells;
    const struct fm_hook_sender from = fm_hooks_sender(h);
    uint32_t n = 0;
    l->body.n = 0;
    l->body.failed = false;
    for (const struct fm_item *t = l->first; t && n < h->now->batch && l->body.n < BATCH_BYTES; t = t->next) {
        fm_buf_u8(&l->body, n++ ? ',' : '[');
        fm_hook_write_told(&l->body, &from, (const struct fm_told *)t);
    }
    fm_buf_u8(&l->body, ']');
    return n;
}

uint32_t fm_tells_go(struct fm_hooks *h, uint64_t now_ms)
{
    struct fm_tells *l = &h->tells;
    if (l->sent || !l->first)
        return UINT32_MAX;
    uint64_t due = l->n >= h->now->batch ? now_ms : ((const struct fm_told *)l->first)->came_ms + h->now->batch_ms;
    if (due < l->rest_until_ms)
        due = l->rest_until_ms;
    if (due > now_ms)
        return (uint32_t)(due - now_ms);
    if (!fm_breaker_may(&h->breaker, now_ms))
        return fm_breaker_rest_ms(&h->breaker, now_ms);
    l->fetch.ctx = h;
    l->fetch.done = done;
    uint32_t n = batch_write(h);
    if (fm_hook_send(h, &l->fetch, &l->body, h->now->timeout_ms) != FM_OK) {
        (void)fm_breaker_failed(&h->breaker, now_ms);
        l->rest_until_ms = now_ms + REST_MIN_MS;
        return REST_MIN_MS;
    }
    if (l->tried++)
        fm_hook_count(&h->stats.retries, 1);
    l->sent = n;
    return UINT32_MAX;
}

void fm_tells_free_all(struct fm_hooks *h)
{
    struct fm_tells *l = &h->tells;
    uint64_t n = l->n;
    atomic_store(&h->dropped_warned_ms, 0);
    forget(h, n);
    fm_fetch_fini(&l->fetch);
    fm_buf_fini(&l->body);
    if (n)
        dropped(h, n, "the node ended before the backend had confirmed them");
}
