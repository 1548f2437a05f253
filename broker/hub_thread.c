/* The hub's thread. Its loop has three watchers: the inboxes' wake-up, the hub's own next time, and the end.
 *
 * What comes from the mesh has an inbox of its own and waits for one slice: an acknowledgement that waited behind thousands of publishes
 * would keep their batches from leaving, and a node that acknowledged in time would be taken for one that doesn't. What workers post is
 * handled in slices, after each of which all that was gathered leaves.
 *
 * The mesh waits for more than a slice only where a join lies further behind whose client does not wait for its answer (promised): a
 * message that another node sends to a client because that is connected must not overtake this. */
#include "hub_thread.h"
#include "clock.h"
#include "diag.h"
#include "mutation.h"

#include <assert.h>
#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

enum {
    SLICE_ITEMS = 256,       /* some hundred microseconds of work, */
    SLICE_BYTES = 128 << 10, /* ... one or two batches */
    PROMISED_MS = 150,       /* that the mesh waits for promised joins: less than acknowledgements have (window_live_ms) */
};

struct fm_hub_thread {
    struct fm_hub_thread_config config;
    struct fm_inbox *workers[FM_WORKERS_MAX];
    struct fm_hub *hub;
    struct fm_bus *bus;
    struct fm_seal *seal;
    struct fm_inbox inbox, mesh; /* from workers; from the bus */
    struct fm_item *rest;        /* taken from the inbox and not handled yet */
    struct fm_item *mesh_rest;   /* from the bus, waits until this many promised joins are handled, or until then */
    uint64_t mesh_after, mesh_until_ms;
    _Atomic uint64_t promised; /* joins that were posted, and */
    uint64_t kept;             /* ... handled */
    struct ev_loop *loop;
    struct ev_async wake, stop;
    struct ev_timer timer;
    pthread_t thread;
    _Atomic(void *) learn, learned; /* the rules of retention, as main gave them; as the hub has them */
    atomic_bool drain, stopping;
    struct {
        _Atomic uint64_t clients, slow;
    } said[FM_WORKERS_MAX];   /* by the workers of themselves */
    _Atomic uint64_t dropped; /* envelopes that the hub has not been told of yet */
    pthread_mutex_t lock;     /* of `left`, for who waits in drain */
    pthread_cond_t left_cond;
    bool left, left_alone;
};

static void load_read(void *ctx, struct fm_env_load *load)
{
    struct fm_hub_thread *t = ctx;
    for (unsigned i = 0; i < FM_WORKERS_MAX; i++) {
        load->clients += atomic_load_explicit(&t->said[i].clients, memory_order_relaxed);
        load->slow += atomic_load_explicit(&t->said[i].slow, memory_order_relaxed);
    }
}

void fm_hub_load_say(struct fm_hub_thread *t, unsigned worker, uint64_t clients, uint64_t slow)
{
    atomic_store_explicit(&t->said[worker].clients, clients, memory_order_relaxed);
    atomic_store_explicit(&t->said[worker].slow, slow, memory_order_relaxed);
}

static struct fm_now now_read(void)
{
    return (struct fm_now){FM_AGE_MAX + fm_mono_ms(), fm_unix_ms()};
}

/* ---- effects ---- */

/* The chain without its messages; those are freed. */
static struct fm_item *without_messages(struct fm_item *chain)
{
    struct fm_item *first = NULL, **last = &first;
    while (chain) {
        struct fm_item *next = chain->next;
        chain->next = NULL;
        if (chain->kind == FM_HUB_MSG || chain->kind == FM_HUB_PRESENCE) {
            fm_hub_item_free(chain);
        } else {
            *last = chain;
            last = &chain->next;
        }
        chain = next;
    }
    return first;
}

/* A worker that can't keep up loses messages here, never answers: the overrun mark makes it re-read its topics. It is set (again) behind
 * the answers, since a worker that took its inbox in between has seen the first one without the subscriptions that they bring. */
static void to_worker(void *ctx, unsigned worker, struct fm_item *chain, bool lost)
{
    struct fm_hub_thread *t = ctx;
    struct fm_inbox *in = t->workers[worker];
    if (chain && fm_inbox_post(in, chain) == FM_E_BUSY) {
        struct fm_item *answers = without_messages(chain);
        fm_inbox_post_always(in, answers);
        lost = lost || answers;
    }
    if (lost)
        fm_inbox_mark(in);
}

static void from_bus(void *ctx, struct fm_bus_item *item)
{
    struct fm_hub_thread *t = ctx;
    /* An envelope that doesn't fit is a loss on the way like any other, and repaired like it; everything else is bounded by itself. */
    if (item->item.kind != FM_BUS_ENVELOPE)
        fm_inbox_post_always(&t->mesh, &item->item);
    else if (fm_inbox_post(&t->mesh, &item->item) != FM_OK) {
        atomic_fetch_add(&t->dropped, 1);
        fm_hub_item_free(&item->item);
    }
}

/* ---- the loop ---- */

static void inbox_wake(void *ctx)
{
    struct fm_hub_thread *t = ctx;
    ev_async_send(t->loop, &t->wake);
}

static void timer_set(struct fm_hub_thread *t, uint64_t ms)
{
    ev_timer_stop(t->loop, &t->timer);
    ev_timer_set(&t->timer, (double)ms / 1000.0, 0.);
    ev_timer_start(t->loop, &t->timer);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *w, int events)
{
    struct fm_hub_thread *t = w->data;
    (void)loop, (void)events;
    if (atomic_load(&t->drain)) {
        atomic_store(&t->drain, false);
        fm_hub_drain(t->hub, now_read());
    }
    timer_set(t, fm_hub_tick(t->hub, now_read()));
    if (fm_hub_left(t->hub)) {
        pthread_mutex_lock(&t->lock);
        t->left = true;
        t->left_alone = fm_hub_left_alone(t->hub);
        pthread_cond_signal(&t->left_cond);
        pthread_mutex_unlock(&t->lock);
    }
}

/* Only where it is broken on purpose. */
static bool deaf(void)
{
    static unsigned emptied;
    return fm_mutation(HUB_DEAF) && ++emptied > 100;
}

static bool is_promised(const struct fm_item *it)
{
    return it->kind == FM_HUB_JOIN && ((const struct fm_join *)it)->promised;
}

/* Before a slice: what was promised by now is posted already. true: it waits since an earlier slice, and behind it more may have come. */
static bool mesh_take(struct fm_hub_thread *t, struct fm_now now)
{
    if (t->mesh_rest)
        return true;
    t->mesh_rest = fm_inbox_take(&t->mesh, NULL);
    t->mesh_after = atomic_load(&t->promised);
    t->mesh_until_ms = now.mono_ms + PROMISED_MS;
    return false;
}

/* Behind a slice; more: others are to come. */
static void mesh_handle(struct fm_hub_thread *t, struct fm_now now, bool more)
{
    if (t->mesh_rest && more && t->kept < t->mesh_after && now.mono_ms < t->mesh_until_ms)
        return;
    fm_hub_inbox_dropped(t->hub, atomic_exchange(&t->dropped, 0));
    for (struct fm_item *it = t->mesh_rest, *next; it; it = next) {
        next = it->next;
        fm_hub_handle(t->hub, now, it);
    }
    t->mesh_rest = NULL;
}

/* false: the inbox was found empty, so that the next post wakes the hub. */
static bool slice_handle(struct fm_hub_thread *t, struct fm_now now)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < SLICE_ITEMS && bytes < SLICE_BYTES; i++) {
        struct fm_item *it = t->rest ? t->rest : fm_inbox_take(&t->inbox, NULL);
        if (!it)
            return false;
        t->rest = it->next;
        bytes += it->cost;
        t->kept += is_promised(it);
        fm_hub_handle(t->hub, now, it);
    }
    return true;
}

static void learn_handle(struct fm_hub_thread *t)
{
    void *ctx = atomic_load_explicit(&t->learn, memory_order_acquire);
    if (ctx == atomic_load_explicit(&t->learned, memory_order_relaxed))
        return;
    fm_hub_retention(t->hub, ctx);
    atomic_store_explicit(&t->learned, ctx, memory_order_release);
}

static void on_wake(struct ev_loop *loop, struct ev_async *w, int events)
{
    struct fm_hub_thread *t = w->data;
    if (deaf())
        return;
    struct fm_now now = now_read();
    learn_handle(t);
    bool waited = mesh_take(t, now), more = slice_handle(t, now);
    mesh_handle(t, now, more);
    if (more || waited)
        ev_async_send(loop, &t->wake); /* by the loop, so that the timer and the end are not kept waiting */
    /* What was handled may be due sooner than what the timer waits for. */
    uint64_t due_ms = fm_hub_flush(t->hub, now);
    if (ev_timer_remaining(loop, &t->timer) > (double)due_ms / 1000.)
        timer_set(t, due_ms);
    (void)events;
}

static void on_stop(struct ev_loop *loop, struct ev_async *w, int events)
{
    struct fm_hub_thread *t = w->data;
    (void)events;
    if (atomic_load(&t->stopping))
        ev_break(loop, EVBREAK_ALL);
    else
        on_timer(loop, &t->timer, 0); /* a drain begins */
}

static void *run(void *ctx)
{
    struct fm_hub_thread *t = ctx;
    pthread_setname_np(pthread_self(), "hub");
    fm_hub_start(t->hub, now_read());
    timer_set(t, fm_hub_tick(t->hub, now_read()));
    ev_run(t->loop, 0);
    return NULL;
}

/* ---- life ---- */

static uint64_t incarnation_draw(void)
{
    uint64_t id = 0;
    while (id == 0)
        if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
            id = 0;
    return id;
}

static void watchers_init(struct fm_hub_thread *t)
{
    ev_async_init(&t->wake, on_wake);
    ev_async_init(&t->stop, on_stop);
    ev_timer_init(&t->timer, on_timer, 0., 0.);
    t->wake.data = t->stop.data = t->timer.data = t;
    ev_async_start(t->loop, &t->wake);
    ev_async_start(t->loop, &t->stop);
}

enum fm_err fm_hub_thread_start(struct fm_hub_thread **out, const struct fm_hub_thread_config *config, const char **what)
{
    enum fm_err err = FM_E_NOMEM;
    *out = NULL;
    *what = "memory";
    struct fm_hub_thread *t = calloc(1, sizeof *t);
    if (!t)
        return err;
    t->config = *config;
    for (unsigned w = 0; w < config->hub.workers && w < FM_WORKERS_MAX; w++)
        t->workers[w] = config->workers[w];
    if (t->config.hub.incarnation == 0)
        t->config.hub.incarnation = incarnation_draw();
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->left_cond, NULL);
    t->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (!t->loop)
        goto fail_after_alloc;
    watchers_init(t);
    *what = "the mesh's secret or cluster name";
    if ((err = fm_seal_new(&t->seal, config->cluster, config->secret, t->config.hub.incarnation)) != FM_OK)
        goto fail_after_loop;
    t->config.hub.seal = t->seal;
    t->config.hub.load = load_read;
    t->config.hub.load_ctx = t;
    if ((err = fm_inbox_init(&t->inbox, config->inbox_bytes, inbox_wake, t)) != FM_OK)
        goto fail_after_seal;
    if ((err = fm_inbox_init(&t->mesh, config->inbox_bytes, inbox_wake, t)) != FM_OK)
        goto fail_after_inbox;
    if (config->bus) {
        t->config.bus_config.deliver = from_bus;
        t->config.bus_config.ctx = t;
        if ((err = config->bus->start(&t->bus, &t->config.bus_config, what)) != FM_OK)
            goto fail_after_mesh;
    }
    *what = "the hub";
    struct fm_hub_port port = {t, to_worker, config->bus, t->bus};
    if ((err = fm_hub_new(&t->hub, &t->config.hub, &port, now_read())) != FM_OK)
        goto fail_after_bus;
    *what = "a thread";
    err = FM_E_IO;
    if (pthread_create(&t->thread, NULL, run, t) != 0)
        goto fail_after_hub;
    *out = t;
    return FM_OK;

fail_after_hub:
    fm_hub_free(&t->hub);
fail_after_bus:
    if (t->bus)
        config->bus->stop(&t->bus);
fail_after_mesh:
    fm_inbox_fini(&t->mesh, fm_hub_item_free);
fail_after_inbox:
    fm_inbox_fini(&t->inbox, fm_hub_item_free);
fail_after_seal:
    fm_seal_free(&t->seal);
fail_after_loop:
    ev_loop_destroy(t->loop);
fail_after_alloc:
    free(t);
    return err;
}

void fm_hub_thread_learn(struct fm_hub_thread *t, void *retention_ctx)
{
    atomic_store_explicit(&t->learn, retention_ctx, memory_order_release);
    ev_async_send(t->loop, &t->wake);
}

bool fm_hub_thread_learned(const struct fm_hub_thread *t, const void *retention_ctx)
{
    return atomic_load_explicit(&t->learned, memory_order_acquire) == retention_ctx;
}

bool fm_hub_thread_drain(struct fm_hub_thread *t, unsigned timeout_ms, bool *alone)
{
    struct timespec until = fm_mono_at(fm_mono_ns() + timeout_ms * 1000000ull);
    atomic_store(&t->drain, true);
    ev_async_send(t->loop, &t->stop);
    pthread_mutex_lock(&t->lock);
    while (!t->left && pthread_cond_clockwait(&t->left_cond, &t->lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    bool left = t->left;
    if (alone)
        *alone = t->left_alone;
    pthread_mutex_unlock(&t->lock);
    return left;
}

/* Whoever published is told that the hub did not come to it. */
static void give_back(struct fm_hub_thread *t, struct fm_item *item)
{
    for (struct fm_item *next; item; item = next) {
        struct fm_publish *p = (struct fm_publish *)item;
        next = item->next;
        item->next = NULL;
        if (item->kind != FM_HUB_PUBLISH || p->worker == FM_NO_WORKER) {
            fm_hub_item_free(item);
            continue;
        }
        for (uint32_t i = 0; i < p->n; i++)
            fm_msg_unref(&p->msgs[i]);
        p->err = FM_E_CLOSED;
        fm_inbox_post_always(t->workers[p->worker], item);
    }
}

void fm_hub_thread_stop(struct fm_hub_thread **tp)
{
    struct fm_hub_thread *t = *tp;
    *tp = NULL;
    if (!t)
        return;
    atomic_store(&t->stopping, true);
    ev_async_send(t->loop, &t->stop);
    pthread_join(t->thread, NULL);
    if (t->bus)
        t->config.bus->stop(&t->bus);
    fm_hub_close(t->hub);
    for (struct fm_item *it = t->mesh_rest, *next; it; it = next) {
        next = it->next;
        fm_hub_item_free(it);
    }
    give_back(t, t->rest);
    give_back(t, fm_inbox_take(&t->inbox, NULL));
    fm_hub_free(&t->hub);
    fm_seal_free(&t->seal);
    fm_inbox_fini(&t->inbox, fm_hub_item_free);
    fm_inbox_fini(&t->mesh, fm_hub_item_free);
    ev_loop_destroy(t->loop);
    pthread_cond_destroy(&t->left_cond);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- any thread ---- */

enum fm_err fm_hub_post(struct fm_hub_thread *t, struct fm_item *item)
{
    assert(item->kind == FM_HUB_JOIN || item->kind == FM_HUB_LEAVE || item->kind == FM_HUB_PUBLISH || item->kind == FM_HUB_QUERY ||
           item->kind == FM_HUB_INQUIRE || item->kind == FM_HUB_TRACK);
    /* A lost leave would keep the interest for ever, or show somebody who is gone; inquiries are few, and what a worker wants to know of
     * presences is one question a topic. */
    bool always = item->kind == FM_HUB_LEAVE || item->kind == FM_HUB_INQUIRE ||
                  (item->kind == FM_HUB_TRACK && ((struct fm_track *)item)->op != FM_TRACK);
    if (!always)
        return fm_inbox_post(&t->inbox, item);
    fm_inbox_post_always(&t->inbox, item);
    return FM_OK;
}

enum fm_err fm_hub_post_quietly(struct fm_hub_thread *t, struct fm_item *item)
{
    assert(item->kind == FM_HUB_JOIN || item->kind == FM_HUB_PUBLISH || item->kind == FM_HUB_QUERY || item->kind == FM_HUB_PARCEL ||
           (item->kind == FM_HUB_TRACK && ((struct fm_track *)item)->op == FM_TRACK));
    bool promised = is_promised(item);
    enum fm_err err = fm_inbox_post_quietly(&t->inbox, item);
    if (promised && !err)
        atomic_fetch_add(&t->promised, 1);
    return err;
}

void fm_hub_wake(struct fm_hub_thread *t)
{
    fm_inbox_wake(&t->inbox);
}

const struct fm_hub_stats *fm_hub_thread_stats(const struct fm_hub_thread *t)
{
    return fm_hub_stats(t->hub);
}

uint64_t fm_hub_incarnation(const struct fm_hub_thread *t)
{
    return t->config.hub.incarnation;
}
