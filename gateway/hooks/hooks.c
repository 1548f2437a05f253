#include "hooks_core.h"

#include "../../broker/diag.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { FLUSH_LOOK_MS = 5, IDLE_MS = 60000 };

/* ---- requests ---- */

enum fm_err fm_hook_send(struct fm_hooks *h, struct fm_fetch *fetch, const struct fm_buf *body, uint32_t timeout_ms)
{
    const struct fm_hook_config *c = h->now;
    const char *headers[4] = {"Content-Type: application/json", "Accept: application/json", NULL, NULL};
    struct fm_buf signature = {0};
    fm_hook_sign(&signature, c->secret, fm_unix_s(), fm_buf_view(body));
    if (signature.n)
        headers[2] = (const char *)signature.p;
    /* Texts are copied when it starts. */
    fetch->url = c->url;
    fetch->headers = headers;
    fetch->body = fm_buf_view(body);
    fetch->ca = c->ca;
    fetch->proxy = c->proxy;
    fetch->timeout_ms = timeout_ms;
    fetch->answer_max = c->answer_max;
    enum fm_err err = signature.failed || body->failed ? FM_E_NOMEM : fm_fetch_start(h->fetcher, fetch);
    fetch->url = fetch->ca = fetch->proxy = NULL;
    fetch->headers = NULL;
    fm_buf_fini(&signature);
    if (!err)
        fm_hook_count(&h->stats.requests, 1);
    return err;
}

void fm_hook_why(const struct fm_fetch *f, char out[FM_HOOK_WHY_MAX])
{
    if (f->end != FM_FETCH_ANSWERED)
        snprintf(out, FM_HOOK_WHY_MAX, "%.*s", FM_HOOK_WHY_MAX - 1, f->why);
    else if (f->status >= 300 && f->status < 400)
        snprintf(out, FM_HOOK_WHY_MAX, "it answered with status %u; redirects are not followed", f->status);
    else if (f->status == 401 || f->status == 403)
        snprintf(out, FM_HOOK_WHY_MAX, "it answered with status %u; does it know hook_secret, and is its clock right?", f->status);
    else
        snprintf(out, FM_HOOK_WHY_MAX, "it answered with status %u", f->status);
}

static void took_count(struct fm_hooks *h, uint64_t us)
{
    unsigned i = 0;
    while (i < FM_HOOK_BUCKETS - 1 && (double)us > fm_hook_buckets[i] * 1e6)
        i++;
    fm_hook_count(&h->stats.took[i], 1);
    fm_hook_count(&h->stats.took_us, us);
}

static void state_say(struct fm_hooks *h, const struct fm_fetch *f)
{
    char why[FM_HOOK_WHY_MAX], quote[2 * FM_HOOK_WHY_MAX];
    bool open = h->breaker.state != FM_BREAKER_CLOSED;
    fm_hook_gauge(&h->stats.open, open);
    if (!open) {
        fm_diag(FM_INFO, "hook_up", "why=\"the backend answers again\"");
        return;
    }
    fm_hook_count(&h->stats.opened, 1);
    fm_hook_why(f, why);
    fm_diag(FM_WARN, "hook_down",
            "failures=%u last=%s then=\"it is left alone, and one request tries every hook_open_ms; until then questions are %s, and what "
            "it is "
            "to be told waits\"",
            h->breaker.failures, fm_diag_quote(quote, sizeof quote, why, strlen(why)),
            h->now->allows ? "allowed (hook_failed)" : "refused");
}

bool fm_hook_judge(struct fm_hooks *h, const struct fm_fetch *f)
{
    /* An answer that is too large is one: the backend works. */
    bool works = f->end == FM_FETCH_TOO_LARGE || (f->end == FM_FETCH_ANSWERED && f->status < 500);
    if (f->end == FM_FETCH_ANSWERED)
        took_count(h, f->took_us);
    if (!works)
        fm_hook_count(&h->stats.failures, 1);
    if (works ? fm_breaker_succeeded(&h->breaker) : fm_breaker_failed(&h->breaker, fm_mono_ms()))
        state_say(h, f);
    return works;
}

/* ---- the thread ---- */

static void learn(struct fm_hooks *h)
{
    struct fm_hook_config *c = atomic_exchange_explicit(&h->next, NULL, memory_order_acq_rel);
    if (!c)
        return;
    /* At another place the backend may be well. */
    bool moved = !h->now || strcmp(h->now->url, c->url) != 0 || strcmp(h->now->ca, c->ca) != 0 || strcmp(h->now->proxy, c->proxy) != 0;
    fm_hook_config_unref(&h->now);
    h->now = c;
    if (moved) {
        h->breaker = (struct fm_breaker){0};
        h->tells.rest_until_ms = 0;
        fm_hook_gauge(&h->stats.open, 0);
    }
    h->breaker.open_after = c->open_after;
    h->breaker.open_ms = c->open_ms;
}

static void inbox_drain(struct fm_hooks *h)
{
    struct fm_item *next, *item = fm_inbox_take(&h->mailbox.inbox, NULL);
    for (; item; item = next) {
        next = item->next;
        item->next = NULL;
        if (item->kind == FM_QUESTION)
            fm_ask_put(h, (struct fm_question_item *)item);
        else
            fm_tell_put(h, (struct fm_told *)item);
    }
}

static void *thread_main(void *ctx)
{
    struct fm_hooks *h = ctx;
    uint64_t rings;
    pthread_setname_np(pthread_self(), "hooks");
    while (!atomic_load(&h->stop)) {
        learn(h);
        inbox_drain(h);
        uint64_t now = fm_mono_ms();
        uint32_t asks = fm_asks_go(h, now), tells = fm_tells_go(h, now);
        uint32_t ms = asks < tells ? asks : tells;
        fm_fetcher_wait(h->fetcher, h->mailbox.bell, ms < IDLE_MS ? ms : IDLE_MS);
        ssize_t n = read(h->mailbox.bell, &rings, sizeof rings);
        (void)n;
        fm_fetcher_run(h->fetcher);
    }
    return NULL;
}

/* ---- life ---- */

enum fm_err fm_hooks_new(struct fm_hooks **out, const struct fm_hooks_config *config)
{
    struct fm_hooks *h = calloc(1, sizeof *h);
    *out = h;
    if (!h)
        return FM_E_NOMEM;
    h->config = *config;
    h->ready.last = &h->ready.first;
    h->resting.last = &h->resting.first;
    h->tells.last = &h->tells.first;
    enum fm_err err = fm_mailbox_init(&h->mailbox, 0); /* what comes is bounded by who posts */
    if (err) {
        free(h);
        *out = NULL;
    }
    return err;
}

static enum fm_err start(struct fm_hooks *h, const struct fm_hook_config *config)
{
    sigset_t all, before;
    enum fm_err err = fm_fetcher_new(&h->fetcher, config->concurrency + 1);
    if (err)
        return err;
    sigfillset(&all); /* signals are main's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&h->thread, NULL, thread_main, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        fm_fetcher_free(&h->fetcher);
        return FM_E_NOMEM;
    }
    h->started = true;
    return FM_OK;
}

enum fm_err fm_hooks_learn(struct fm_hooks *h, struct fm_hook_config *config, uint64_t incarnation)
{
    if (!config)
        return FM_OK;
    if (!h->started)
        h->incarnation = incarnation; /* it stays the same */
    struct fm_hook_config *untaken = atomic_exchange_explicit(&h->next, fm_hook_config_ref(config), memory_order_acq_rel);
    fm_hook_config_unref(&untaken);
    if (!h->started)
        return start(h, config);
    fm_inbox_mark(&h->mailbox.inbox); /* wakes it */
    return FM_OK;
}

void fm_hooks_flush(struct fm_hooks *h, uint32_t ms)
{
    if (!h->started)
        return;
    for (uint64_t until = fm_mono_ms() + ms; fm_mono_ms() < until;) {
        if (atomic_load_explicit(&h->stats.untold, memory_order_acquire) == 0)
            return;
        nanosleep(&(struct timespec){.tv_nsec = FLUSH_LOOK_MS * 1000000L}, NULL);
    }
}

void fm_hooks_stop(struct fm_hooks *h)
{
    if (!h || !h->started)
        return;
    atomic_store(&h->stop, true);
    fm_inbox_mark(&h->mailbox.inbox);
    pthread_join(h->thread, NULL);
    h->started = false;
    inbox_drain(h);
    fm_fetcher_free(&h->fetcher);
    fm_asks_free_all(h);
    fm_tells_free_all(h);
}

void fm_hooks_free(struct fm_hooks **hp)
{
    struct fm_hooks *h = *hp;
    *hp = NULL;
    if (!h)
        return;
    struct fm_hook_config *untaken = atomic_exchange_explicit(&h->next, NULL, memory_order_acq_rel);
    fm_hook_config_unref(&untaken);
    fm_hook_config_unref(&h->now);
    fm_mailbox_fini(&h->mailbox);
    free(h);
}

struct fm_inbox *fm_hooks_inbox(struct fm_hooks *h)
{
    return &h->mailbox.inbox;
}

const struct fm_hook_stats *fm_hooks_stats(const struct fm_hooks *h)
{
    return &h->stats;
}
