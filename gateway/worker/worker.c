/* The worker's thread: its life, its loop. (What comes in: intake.c.) */
#include "worker_core.h"

#include "../../broker/mutation.h"
#include "../edge/tls.h"
#include "../polling/polling.h"
#include "access.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    DRAIN_STEP_MS = 20,
    BREATH_MS = 2,               /* of other work, then what the hub has for clients goes first */
    BURY_MS = 2,                 /* of a turn in which sockets end */
    READ_MS = 2000,              /* what it takes to read what came while nothing was read, */
    AGAIN_MS = 5 * READ_MS,      /* ... which is granted once in this time, and */
    UNREAD_MAX_MS = 3600 * 1000, /* ... which may be what the rates allow in this time */
    CLOSE_RESTART = 1012,
};

/* ---- the hub's ---- */

enum fm_err fm_worker_post(struct fm_worker *w, struct fm_item *item)
{
    w->posted = true;
    fm_worker_settle_soon(w);
    return fm_hub_post_quietly(w->config.hub, item);
}

void fm_worker_hub_wake(struct fm_worker *w)
{
    if (w->posted)
        fm_hub_wake(w->config.hub);
    w->posted = false;
}

/* ---- events ---- */

/* The bell has the highest priority, so it is answered when the callback that runs now has returned. */
void fm_worker_breathe(struct fm_worker *w)
{
    uint64_t now = fm_mono_ms();
    if (now - w->looked_ms < BREATH_MS)
        return;
    w->looked_ms = now;
    fm_worker_hub_wake(w);
    ev_feed_event(w->loop, &w->door, EV_READ);
}

/* The rest of many has its turn when others had theirs: each may take libwebsockets as long as ten deliveries. */
static void bury(struct fm_worker *w)
{
    uint64_t began = w->doomed ? fm_mono_ms() : 0;
    while (w->doomed) {
        struct fm_socket *s = w->doomed;
        w->doomed = s->doomed_next;
        fm_socket_bury(s);
        if (w->doomed && fm_mono_ms() - began >= BURY_MS) {
            fm_worker_settle_soon(w);
            fm_mailbox_ring(w->config.mailbox); /* so that the loop does not wait */
            return;
        }
    }
}

static void on_settle(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
    (void)events;
    struct fm_worker *w = prepare->data;
    ev_prepare_stop(loop, prepare);
    if (w->doomed)
        fm_worker_hub_wake(w); /* what clients pushed does not wait for those */
    bury(w);
    fm_polls_settle(w);
    fm_subs_settle(w);
    fm_worker_hub_wake(w);
    if (w->doomed || w->polls_due)
        fm_mailbox_ring(w->config.mailbox); /* what came of the polls is not to wait for an event */
    w->settled = true;
    w->settled_turn = ev_iteration(loop);
}

/* The bell may be answered once more between settling and waiting (fm_worker_breathe, by a socket that ended): what comes of that must not
 * wait for the next tick. */
void fm_worker_settle_soon(struct fm_worker *w)
{
    ev_prepare_start(w->loop, &w->settle);
    if (w->settled && w->settled_turn == ev_iteration(w->loop))
        fm_mailbox_ring(w->config.mailbox);
    w->settled = false;
}

static void load_say(const struct fm_worker *w)
{
    const struct fm_worker_stats *s = &w->stats;
    if (!w->config.internal)
        fm_hub_load_say(w->config.hub, w->config.index, atomic_load_explicit(&s->connections, memory_order_relaxed),
                        atomic_load_explicit(&s->slow_lags, memory_order_relaxed) +
                            atomic_load_explicit(&s->slow_disconnects, memory_order_relaxed));
}

/* While the worker stood still nothing was read, so nobody is known to have been silent: that time counts for no limit, nor does the next
 * moment, in which what came is read. One that stands still again and again has to notice, too, who is gone: there each time counts a
 * second. The ends of tokens are no such limits; what was to be done at one is due now. Nor is it for clients to wait longer for the end of
 * a poll. */
static void thaw(struct fm_worker *w, uint64_t now)
{
    uint64_t ms = fm_stood_still_ms(w->ticked_ms, now);
    w->ticked_ms = now;
    if (w->unread_ms && now - w->thawed_ms >= READ_MS)
        w->unread_ms = 0;
    if (!ms)
        return;
    bool again = now - ms - w->thawed_ms < AGAIN_MS;
    w->thawed_ms = now;
    if (ms > w->unread_ms)
        w->unread_ms = ms < UNREAD_MAX_MS ? (uint32_t)ms : UNREAD_MAX_MS;
    ms = again ? ms - FM_PAUSE_MS : ms + READ_MS;
    fm_wheel_rest(&w->conns_wheel, ms);
    fm_wheel_rest(&w->sockets_wheel, ms);
    fm_wheel_rest(&w->polls_wheel, ms);
    for (struct fm_socket *s = w->sockets; s; s = s->next)
        if (s->state == FM_SOCKET_OPEN)
            fm_socket_watch(s);
    fm_polls_thaw(w);
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct fm_worker *w = timer->data;
    uint64_t now = fm_mono_ms();
    thaw(w, now);
    fm_wheel_advance(&w->conns_wheel, now, fm_front_timeout, w);
    fm_wheel_advance(&w->sockets_wheel, now, fm_socket_timeout, w);
    fm_wheel_advance(&w->polls_wheel, now, fm_poll_timeout, w);
    fm_questions_tick(w, now);
    fm_revocations_tend(&w->revocations, now);
    fm_subs_reread(w);
    if (w->commands.wanted)
        fm_commands_join(w);
    fm_subs_presence_again(w);
    fm_user_subs_tend(w);
    load_say(w);
    if (w->dirty)
        fm_worker_settle_soon(w); /* a leave that could not be made */
}

/* Sockets are told evenly over the time: at any moment the part of them that corresponds to the part of the time that is over. */
static void on_drain_step(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct fm_worker *w = timer->data;
    uint64_t passed = fm_mono_ms() - w->drain_began_ms;
    bool last = passed >= w->drain_for_ms;
    uint64_t due = last ? UINT64_MAX : (uint64_t)w->drain_total * passed / w->drain_for_ms;
    for (struct fm_socket *s = w->sockets; s && w->drain_told < due; s = s->next) {
        if (s->state != FM_SOCKET_OPEN)
            continue;
        fm_socket_close(s, CLOSE_RESTART, "the node is shutting down");
        w->drain_told++;
    }
    if (last)
        ev_timer_stop(loop, timer);
}

static void drain_begin(struct fm_worker *w, uint64_t ms)
{
    w->draining = true;
    fm_worker_listen_stop(w);
    fm_front_drain(w);
    w->drain_began_ms = fm_mono_ms();
    w->drain_for_ms = ms;
    w->drain_total = w->sockets_n;
    ev_timer_set(&w->drain, 0, DRAIN_STEP_MS / 1000.0);
    ev_timer_start(w->loop, &w->drain);
}

/* Only where it is broken on purpose. */
static bool deaf(const struct fm_worker *w)
{
    static unsigned emptied;
    return fm_mutation(WORKER_DEAF) && w->config.index == 0 && ++emptied > 50;
}

static void probe_take(struct fm_worker *w)
{
    int fd = atomic_exchange_explicit(&w->probe_fd, 0, memory_order_acq_rel) - 1;
    if (fd >= 0 && w->draining)
        close(fd);
    else if (fd >= 0)
        fm_front_open(w, fd, &(struct fm_peer){0}, true, false);
}

static bool access_take(struct fm_worker *w)
{
    const struct fm_access *a = atomic_load_explicit(&w->access_next, memory_order_acquire);
    if (a != atomic_load_explicit(&w->access_now, memory_order_relaxed)) {
        w->config.rules = a->rules;
        w->config.api_key = a->api_key;
        w->config.tls = w->config.internal ? NULL : a->tls;
        w->config.auth = a->auth;
        w->config.hook = w->config.hooks ? a->hooks : NULL;
        fm_subs_rules(w);
        atomic_store_explicit(&w->access_now, a, memory_order_release);
    }
    return w->forbidding && fm_subs_forbid(w);
}

static void on_bell(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)events;
    struct fm_worker *w = io->data;
    uint64_t rings;
    ssize_t n = read(io->fd, &rings, sizeof rings);
    (void)n;
    w->looked_ms = fm_mono_ms();
    if (access_take(w))
        fm_mailbox_ring(w->config.mailbox);
    fm_worker_hub_wake(w);
    if (!deaf(w))
        fm_intake(w);
    probe_take(w);
    uint64_t drain = atomic_exchange_explicit(&w->drain_ms, 0, memory_order_relaxed);
    if (drain && !w->draining)
        drain_begin(w, drain - 1);
    if (atomic_load_explicit(&w->stop, memory_order_relaxed))
        ev_break(loop, EVBREAK_ALL);
}

/* ---- life ---- */

static void events_init(struct fm_worker *w)
{
    ev_io_init(&w->door, on_bell, w->config.mailbox->bell, EV_READ);
    ev_timer_init(&w->tick, on_tick, FM_TICK_MS / 1000.0, FM_TICK_MS / 1000.0);
    ev_prepare_init(&w->settle, on_settle);
    ev_init(&w->drain, on_drain_step);
    w->door.data = w->tick.data = w->settle.data = w->drain.data = w;
    ev_set_priority(&w->door, EV_MAXPRI);
    ev_io_start(w->loop, &w->door);
    ev_timer_start(w->loop, &w->tick);
    w->ticked_ms = fm_mono_ms();
    fm_wheel_init(&w->conns_wheel, FM_TICK_MS, w->ticked_ms);
    fm_wheel_init(&w->sockets_wheel, FM_TICK_MS, w->ticked_ms);
    fm_wheel_init(&w->polls_wheel, FM_TICK_MS, w->ticked_ms);
}

/* Where tokens begin, so that a program's late answer to a question of a node that it has stopped finds none of the next node's. 46 bits:
 * fm_worker_expect has room for 48. */
static uint64_t token_draw(void)
{
    uint64_t drawn = 0;
    while (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
        ;
    return drawn >> 18;
}

enum fm_err fm_worker_new(struct fm_worker **out, const struct fm_worker_config *config)
{
    enum fm_err err = FM_E_NOMEM;
    struct fm_worker *w = calloc(1, sizeof *w);
    if (!w)
        return err;
    w->config = *config;
    w->deferred_last = &w->deferred;
    w->next_token = token_draw();
    w->scratch = malloc(FM_READ_MAX > FM_WRITE_MAX ? FM_READ_MAX : FM_WRITE_MAX);
    if (config->tls)
        w->inbound = malloc(FM_TLS_RECORD_MAX);
    if (!w->scratch || (config->tls && !w->inbound))
        goto fail_after_scratch;
    w->loop = ev_loop_new(EVBACKEND_EPOLL);
    if (!w->loop)
        goto fail_after_scratch;
    events_init(w);
    err = config->internal ? FM_OK : fm_edge_new(&w->edge, w->loop, config->deflate);
    if (err)
        goto fail_after_loop;
    err = fm_worker_listen(w);
    if (err)
        goto fail_after_edge;
    *out = w;
    return FM_OK;
fail_after_edge:
    fm_edge_free(&w->edge);
fail_after_loop:
    ev_loop_destroy(w->loop);
fail_after_scratch:
    free(w->scratch);
    free(w->inbound);
    free(w);
    return err;
}

static void *thread_main(void *ctx)
{
    struct fm_worker *w = ctx;
    char name[16];
    snprintf(name, sizeof name, w->config.internal ? "worker-api" : "worker-%u", w->config.index);
    pthread_setname_np(pthread_self(), name);
    ev_run(w->loop, 0);
    return NULL;
}

enum fm_err fm_worker_run(struct fm_worker *w)
{
    sigset_t all, before;
    if (!w->config.internal)
        fm_commands_join(w); /* before any client is there */
    sigfillset(&all);        /* signals are main's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread, NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return FM_E_NOMEM;
    w->started = true;
    return FM_OK;
}

void fm_worker_drain(struct fm_worker *w, uint32_t drain_ms)
{
    atomic_store_explicit(&w->drain_ms, (uint64_t)drain_ms + 1, memory_order_relaxed);
    fm_mailbox_ring(w->config.mailbox);
}

void fm_worker_learn(struct fm_worker *w, const struct fm_access *access)
{
    atomic_store_explicit(&w->access_next, access, memory_order_release);
    fm_mailbox_ring(w->config.mailbox);
}

bool fm_worker_learned(const struct fm_worker *w, const struct fm_access *access)
{
    return atomic_load_explicit(&w->access_now, memory_order_acquire) == access;
}

void fm_worker_probe(struct fm_worker *w, int fd)
{
    int untaken = atomic_exchange_explicit(&w->probe_fd, fd + 1, memory_order_acq_rel) - 1;
    if (untaken >= 0)
        close(untaken);
    fm_mailbox_ring(w->config.mailbox);
}

static void caches_free(struct fm_worker *w)
{
    for (unsigned i = 0; i < FM_FORMATS; i++)
        fm_frames_unref(&w->frames[i]);
    fm_frames_unref(&w->single);
    fm_outbox_free_all(&w->spare);
    fm_packer_free(&w->packer);
    fm_unpacker_free(&w->unpacker);
    fm_buf_fini(&w->unpacked);
    fm_buf_fini(&w->events);
    free(w->scratch);
    free(w->inbound);
}

/* Those that ended with connections, which still refer to much: kept, so that this is no leak. Only the thread that ends the process. */
static struct fm_worker *left_to_the_kernel;

void fm_worker_stop(struct fm_worker **wp)
{
    struct fm_worker *w = *wp;
    *wp = NULL;
    if (!w)
        return;
    if (w->started) {
        atomic_store_explicit(&w->stop, true, memory_order_relaxed);
        fm_mailbox_ring(w->config.mailbox);
        pthread_join(w->thread, NULL);
    }
    fm_worker_listen_stop(w);
    w->draining = true;
    probe_take(w);
    fm_front_close_all(w);
    fm_socket_kill(w, w->config.outlived);
    if (w->sockets_n && !w->config.outlived) {
        /* The process ends: the kernel closes them at once, libwebsockets would take a table scan for each. */
        w->left_next = left_to_the_kernel;
        left_to_the_kernel = w;
        return;
    }
    do
        on_settle(w->loop, &w->settle, 0);
    while (w->doomed);
    fm_intake_free(w);
    fm_questions_free_all(w);
    fm_expect_free_all(w);
    fm_commands_free(w);
    fm_poll_keys_free(w);
    fm_edge_free(&w->edge);
    ev_loop_destroy(w->loop);
    fm_key_set_unref(&w->fetched_keys);
    fm_revocations_fini(&w->revocations);
    caches_free(w);
    free(w);
}

const struct fm_worker_stats *fm_worker_stats(const struct fm_worker *w)
{
    return &w->stats;
}

const struct fm_worker_config *fm_worker_config(const struct fm_worker *w)
{
    return &w->config;
}

struct fm_worker_stats *fm_worker_stats_mut(struct fm_worker *w)
{
    return &w->stats;
}
