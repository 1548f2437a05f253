#include "jwks_fetch.h"

#include "../client/fetch.h"

#include "../../broker/clock.h"
#include "../../broker/diag.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { WARN_EVERY_MS = 60000, ANSWER_MAX = FM_KEY_TEXT_MAX, QUOTE_MAX = 512 };

struct fm_jwks {
    struct fm_jwks_config config;
    struct fm_jwks_stats stats;
    struct fm_fetcher *fetcher;
    struct fm_fetch fetch;
    pthread_t thread;
    int bell;
    atomic_bool stop, wanted, tried;
    /* the thread's own */
    struct fm_key_set *keys; /* of the last good answer */
    bool asking;
    uint64_t due_ms, asked_ms, warned_ms;
};

/* ---- an answer ---- */

static void failed(struct fm_jwks *j, const char *why)
{
    char quote[QUOTE_MAX];
    uint64_t now = fm_mono_ms();
    atomic_fetch_add(&j->stats.failures, 1);
    j->due_ms = now + (j->config.pause_ms < j->config.refresh_ms ? j->config.pause_ms : j->config.refresh_ms);
    if (j->warned_ms && now - j->warned_ms < WARN_EVERY_MS)
        return;
    j->warned_ms = now;
    fm_diag(FM_WARN, "jwks_failed", "why=%s keys=%zu then=\"%s\"", fm_diag_quote(quote, sizeof quote, why, strlen(why)),
            fm_key_set_n(j->keys), j->keys ? "the keys of its last answer stay" : "tokens that need its keys are refused until it answers");
}

/* Takes the set. */
static void got(struct fm_jwks *j, struct fm_key_set *set, const struct fm_jwks_read *read)
{
    size_t added = fm_key_set_beyond(set, j->keys), removed = fm_key_set_beyond(j->keys, set);
    char quote[QUOTE_MAX];
    bool news = !j->keys || added || removed;
    if (news)
        fm_diag(FM_INFO, "jwks_keys", "keys=%u added=%zu removed=%zu passed=%u refused=%u%s%s", read->taken, added, removed, read->passed,
                read->refused, read->why ? " why=" : "", read->why ? fm_diag_quote(quote, sizeof quote, read->why, strlen(read->why)) : "");
    else if (j->warned_ms)
        fm_diag(FM_INFO, "jwks_keys", "keys=%u added=0 removed=0 why=\"it answers again\"", read->taken);
    j->warned_ms = 0;
    j->due_ms = fm_mono_ms() + j->config.refresh_ms;
    atomic_store(&j->stats.keys, read->taken);
    atomic_store(&j->stats.got_s, fm_unix_s());
    if (!news) {
        fm_key_set_unref(&set);
        return;
    }
    fm_key_set_unref(&j->keys);
    j->keys = set;
    if (!j->config.give(j->config.ctx, j->keys)) /* who has not got them goes on with what it has: the next answer brings them again */
        fm_key_set_unref(&j->keys);
}

/* What came of a request; NULL: there is nothing usable in it, and `why` says the reason. */
static struct fm_key_set *set_of(const struct fm_fetch *f, struct fm_jwks_read *read, char why[FM_JWKS_WHY_MAX])
{
    struct fm_key_set *set = NULL;
    const char *bad = NULL;
    if (f->end != FM_FETCH_ANSWERED) {
        snprintf(why, FM_JWKS_WHY_MAX, "%s", f->why);
        return NULL;
    }
    if (f->status != 200) {
        snprintf(why, FM_JWKS_WHY_MAX, "it answers with status %u", f->status);
        return NULL;
    }
    enum fm_err err = fm_key_set_new(&set);
    if (!err)
        err = fm_key_set_add_jwks(set, fm_buf_view(&f->answer), false, read, &bad);
    if (!err && read->taken > 0)
        return set;
    fm_key_set_unref(&set);
    snprintf(why, FM_JWKS_WHY_MAX, "%s", bad ? bad : read->why ? read->why : err ? fm_err_text(err) : "it has no key for RS256 or ES256");
    return NULL;
}

static void on_done(struct fm_fetch *f)
{
    struct fm_jwks *j = f->ctx;
    struct fm_jwks_read read = {0};
    char why[FM_JWKS_WHY_MAX];
    if (f->end == FM_FETCH_ENDED)
        return; /* the node does */
    j->asking = false;
    struct fm_key_set *set = set_of(f, &read, why);
    if (set)
        got(j, set, &read);
    else
        failed(j, why);
    fm_fetch_fini(f);
    atomic_store(&j->tried, true);
}

/* ---- the thread ---- */

static struct fm_fetch request(const struct fm_jwks_config *config, void (*done)(struct fm_fetch *), void *ctx)
{
    static const char *const headers[] = {"Accept: application/json", NULL};
    return (struct fm_fetch){.url = config->url,
                             .headers = headers,
                             .ca = config->ca,
                             .proxy = "environment",
                             .timeout_ms = config->timeout_ms,
                             .answer_max = ANSWER_MAX,
                             .done = done,
                             .ctx = ctx};
}

static void ask(struct fm_jwks *j, uint64_t now)
{
    atomic_store(&j->wanted, false);
    j->asked_ms = now;
    j->fetch = request(&j->config, on_done, j);
    atomic_fetch_add(&j->stats.fetches, 1);
    j->asking = fm_fetch_start(j->fetcher, &j->fetch) == FM_OK;
    if (!j->asking)
        failed(j, fm_err_text(FM_E_NOMEM));
}

/* When the URL is to be asked next: when it is due, or a pause after it was asked last if a key is missing. */
static uint64_t next_ms(const struct fm_jwks *j)
{
    uint64_t wanted = j->asked_ms + j->config.pause_ms;
    return atomic_load(&j->wanted) && wanted < j->due_ms ? wanted : j->due_ms;
}

static void *thread_main(void *ctx)
{
    struct fm_jwks *j = ctx;
    uint64_t rings;
    pthread_setname_np(pthread_self(), "jwks");
    while (!atomic_load(&j->stop)) {
        uint64_t now = fm_mono_ms(), next = next_ms(j);
        if (!j->asking && now >= next) {
            ask(j, now);
            continue;
        }
        uint64_t wait = j->asking ? j->config.timeout_ms : next - now;
        fm_fetcher_wait(j->fetcher, j->bell, wait < UINT32_MAX ? (uint32_t)wait : UINT32_MAX);
        ssize_t n = read(j->bell, &rings, sizeof rings);
        (void)n;
        fm_fetcher_run(j->fetcher);
    }
    return NULL;
}

static void ring(struct fm_jwks *j)
{
    ssize_t n = write(j->bell, &(uint64_t){1}, sizeof(uint64_t));
    (void)n;
}

/* ---- life ---- */

static void jwks_free(struct fm_jwks *j)
{
    fm_fetcher_free(&j->fetcher);
    fm_fetch_fini(&j->fetch);
    fm_key_set_unref(&j->keys);
    if (j->bell >= 0)
        close(j->bell);
    free(j);
}

enum fm_err fm_jwks_start(struct fm_jwks **out, const struct fm_jwks_config *config)
{
    sigset_t all, before;
    *out = NULL;
    struct fm_jwks *j = calloc(1, sizeof *j);
    if (!j)
        return FM_E_NOMEM;
    j->config = *config;
    j->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (j->bell < 0 || fm_fetcher_new(&j->fetcher, 1)) {
        jwks_free(j);
        return FM_E_NOMEM;
    }
    sigfillset(&all); /* signals are main's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed_to = pthread_create(&j->thread, NULL, thread_main, j);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed_to) {
        jwks_free(j);
        return FM_E_NOMEM;
    }
    *out = j;
    return FM_OK;
}

void fm_jwks_stop(struct fm_jwks **jp)
{
    struct fm_jwks *j = *jp;
    *jp = NULL;
    if (!j)
        return;
    atomic_store(&j->stop, true);
    ring(j);
    pthread_join(j->thread, NULL);
    jwks_free(j);
}

bool fm_jwks_tried(const struct fm_jwks *j)
{
    return atomic_load(&j->tried);
}

void fm_jwks_want(struct fm_jwks *j)
{
    if (!atomic_exchange(&j->wanted, true))
        ring(j);
}

const struct fm_jwks_stats *fm_jwks_stats(const struct fm_jwks *j)
{
    return &j->stats;
}

/* ---- once, without a thread ---- */

static void on_once(struct fm_fetch *f)
{
    *(bool *)f->ctx = true;
}

struct fm_key_set *fm_jwks_get(const struct fm_jwks_config *config, struct fm_jwks_read *read, char why[FM_JWKS_WHY_MAX])
{
    struct fm_fetcher *fetcher = NULL;
    struct fm_key_set *set = NULL;
    bool done = false;
    *read = (struct fm_jwks_read){0};
    struct fm_fetch fetch = request(config, on_once, &done);
    int bell = eventfd(0, EFD_CLOEXEC); /* that nobody rings */
    snprintf(why, FM_JWKS_WHY_MAX, "%s", fm_err_text(FM_E_NOMEM));
    if (bell >= 0 && fm_fetcher_new(&fetcher, 1) == FM_OK && fm_fetch_start(fetcher, &fetch) == FM_OK) {
        while (!done) {
            fm_fetcher_wait(fetcher, bell, config->timeout_ms);
            fm_fetcher_run(fetcher);
        }
        set = set_of(&fetch, read, why);
    }
    fm_fetcher_free(&fetcher);
    fm_fetch_fini(&fetch);
    if (bell >= 0)
        close(bell);
    return set;
}
