/* The probe's question to the clients' listener: a connection like any client's, so that a listener that takes no more is noticed. It is
 * kept until it is answered, however long that takes: the kernel spreads connections over the listeners of all workers, and the next
 * one would only tell of another listener. In a storm of reconnects it waits its turn (accepts_per_s): while every worker goes on
 * accepting, that is no deafness. */
#include "probe_core.h"

#include "../edge/listen.h"

#include <errno.h>
#include <unistd.h>

void fm_probe_door_init(struct fm_probe_door *d, struct fm_probe *probe)
{
    *d = (struct fm_probe_door){.probe = probe, .line = &probe->config.board->at[probe->config.n], .fd = -1};
    if (fm_listen_reach(fm_worker_listener(probe->config.workers[0]), &d->to, &d->to_n) != FM_OK)
        d->to_n = 0;
}

void fm_probe_door_drop(struct fm_probe_door *d)
{
    if (d->fd < 0)
        return;
    ev_io_stop(d->probe->loop, &d->io);
    close(d->fd);
    d->fd = -1;
}

/* Has every worker accepted a connection since it was last asked so? */
static bool all_accept(struct fm_probe_door *d)
{
    bool all = true;
    for (unsigned i = 0; i < d->probe->config.n; i++) {
        const struct fm_worker_stats *s = fm_worker_stats(d->probe->config.workers[i]);
        uint64_t n = atomic_load_explicit(&s->accepted, memory_order_relaxed) + atomic_load_explicit(&s->refused, memory_order_relaxed);
        all = all && n != d->accepted[i];
        d->accepted[i] = n;
    }
    return all;
}

/* Where this machine's own addresses are taken for a proxy's, as of a balancer on the same machine, the listener waits for a header. */
static bool is_proxy(const struct fm_probe_door *d)
{
    struct sockaddr_storage own;
    socklen_t n = sizeof own;
    if (getsockname(d->fd, (struct sockaddr *)&own, &n))
        return false;
    struct fm_peer self = fm_peer_of((struct sockaddr *)&own);
    return fm_nets_hold(d->probe->config.proxy_from, &self.ip);
}

static bool ask(struct fm_probe_door *d)
{
    static const char whole[] = "PROXY UNKNOWN\r\n"
                                "GET /healthz HTTP/1.1\r\nHost: fanmesh\r\nConnection: close\r\n\r\n";
    const char *request = is_proxy(d) ? whole : strchr(whole, '\n') + 1;
    size_t length = strlen(request);
    int err = 0;
    socklen_t n = sizeof err;
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &err, &n) || err)
        return false;
    d->asked = true;
    ev_io_stop(d->probe->loop, &d->io);
    ev_io_set(&d->io, d->fd, EV_READ);
    ev_io_start(d->probe->loop, &d->io);
    return send(d->fd, request, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static void on_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop, (void)events;
    struct fm_probe_door *d = io->data;
    char bytes[512];
    if (!d->asked) {
        if (!ask(d))
            fm_probe_door_drop(d);
        return;
    }
    ssize_t n = recv(d->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    uint64_t now_us = fm_mono_us();
    if (n > 0) /* whatever it says: also one client too many was answered */
        fm_probe_came(d->line, now_us / 1000, now_us - d->began_us);
    fm_probe_door_drop(d);
}

static void knock(struct fm_probe_door *d, uint64_t now_ms)
{
    fm_probe_sent(d->line, now_ms);
    d->again_ms = now_ms + d->probe->config.every_ms;
    d->began_us = fm_mono_us();
    d->asked = false;
    (void)all_accept(d);
    d->fd = d->to_n ? socket(d->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    if (d->fd < 0)
        return;
    ev_io_init(&d->io, on_ready, d->fd, EV_WRITE);
    d->io.data = d;
    ev_io_start(d->probe->loop, &d->io);
    if (connect(d->fd, (struct sockaddr *)&d->to, d->to_n) != 0 && errno != EINPROGRESS)
        fm_probe_door_drop(d);
}

void fm_probe_door_tick(struct fm_probe_door *d, uint64_t now_ms)
{
    uint32_t timeout_ms = d->probe->config.timeout_ms;
    if (d->fd < 0 && now_ms >= d->again_ms)
        knock(d, now_ms);
    if (fm_probe_is_due(d->line, now_ms, timeout_ms) && all_accept(d))
        fm_probe_paused(d->line, timeout_ms);
    if (fm_probe_late(d->line, d->fd < 0 ? FM_PROBE_SYSTEM : FM_PROBE_HEALTH, now_ms, timeout_ms))
        d->again_ms = now_ms; /* where there is no connection: however long probe_ms is */
}
