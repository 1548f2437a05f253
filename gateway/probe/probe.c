/* The probe's thread: its loop, and the pace of what it does. */
#include "probe_core.h"

#include <signal.h>
#include <stdlib.h>

enum { TICK_MS = 50 };

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct fm_probe *p = timer->data;
    uint64_t now_ms = fm_mono_ms(), ms = fm_stood_still_ms(p->ticked_ms, now_ms);
    p->ticked_ms = now_ms;
    for (unsigned i = 0; ms && i < p->config.board->n; i++)
        fm_probe_paused(&p->config.board->at[i], ms);
    /* Until it has the cluster's state the hub answers no joins. */
    if (!atomic_load_explicit(&fm_hub_thread_stats(p->config.hub)->ready, memory_order_relaxed))
        return;
    for (unsigned i = 0; i < p->config.n; i++)
        fm_probe_client_tick(&p->clients[i], now_ms);
    fm_probe_door_tick(&p->door, now_ms);
}

static void on_end(struct ev_loop *loop, struct ev_async *w, int events)
{
    (void)w, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void *run(void *ctx)
{
    struct fm_probe *p = ctx;
    pthread_setname_np(pthread_self(), "probe");
    ev_run(p->loop, 0);
    return NULL;
}

enum fm_err fm_probe_start(struct fm_probe **out, const struct fm_probe_config *config)
{
    *out = NULL;
    struct fm_probe *p = calloc(1, sizeof *p + config->n * sizeof p->clients[0]);
    if (!p)
        return FM_E_NOMEM;
    p->config = *config;
    p->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (!p->loop) {
        free(p);
        return FM_E_NOMEM;
    }
    for (unsigned i = 0; i < config->n; i++)
        fm_probe_client_init(&p->clients[i], p, i);
    fm_probe_door_init(&p->door, p);
    p->ticked_ms = fm_mono_ms();
    ev_timer_init(&p->tick, on_tick, 0, TICK_MS / 1000.0);
    ev_async_init(&p->end, on_end);
    p->tick.data = p->end.data = p;
    ev_timer_start(p->loop, &p->tick);
    ev_async_start(p->loop, &p->end);
    sigset_t all, before;
    sigfillset(&all); /* signals are main's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    p->started = pthread_create(&p->thread, NULL, run, p) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    *out = p;
    if (p->started)
        return FM_OK;
    fm_probe_stop(out);
    return FM_E_NOMEM;
}

void fm_probe_stop(struct fm_probe **pp)
{
    struct fm_probe *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    if (p->started) {
        ev_async_send(p->loop, &p->end);
        pthread_join(p->thread, NULL);
    }
    for (unsigned i = 0; i < p->config.n; i++)
        fm_probe_client_drop(&p->clients[i]);
    fm_probe_door_drop(&p->door);
    ev_loop_destroy(p->loop);
    free(p);
}
