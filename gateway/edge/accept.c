/* The listener: accepts by a token bucket, so that a storm of reconnects can't starve those who are connected. */
#include "../worker/worker_core.h"

#include "../../broker/diag.h"
#include "listen.h"

#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_A_TURN = 64, /* then other events have their turn */
    AGAIN_MS = 10,       /* pause when the bucket is empty */
    AGAIN_FULL_MS = 100, /* pause when no descriptor is left */
    WARN_EVERY_MS = 10000,
};

static void pause_for(struct fm_worker *w, double ms)
{
    ev_io_stop(w->loop, &w->listener);
    ev_timer_set(&w->accept_again, ms / 1000, 0);
    ev_timer_start(w->loop, &w->accept_again);
}

static void refill(struct fm_worker *w)
{
    double rate = w->config.accepts_per_s, most = rate / 20 + 1;
    uint64_t now = fm_mono_ms();
    w->accept_tokens += rate * (double)(now - w->accept_at_ms) / 1000;
    w->accept_tokens = w->accept_tokens > most ? most : w->accept_tokens;
    w->accept_at_ms = now;
}

/* Over TLS an answer would take a handshake, a thousand times what a refusal may cost a node that is full. The alert says that it is the
 * server's fault and nobody's version or certificate. */
static void turn_away_tls(int fd)
{
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2 /* fatal */, 80 /* internal_error */};
    (void)send(fd, alert, sizeof alert, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void turn_away_http(int fd, bool of_address)
{
    static const char node[] = "this node has as many connections as connections_max allows; use another",
                      address[] = "as many connections from your address are there as connections_per_address allows; close some";
    struct fm_buf answer = {0}, body = {0};
    fm_buf_printf(&body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", fm_err_code(FM_E_TOO_MANY_CONNECTIONS),
                  of_address ? address : node);
    fm_buf_printf(&answer,
                  "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nRetry-After: 5\r\n"
                  "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                  of_address ? "429 Too Many Requests" : "503 Service Unavailable", body.n);
    fm_buf_slice(&answer, fm_buf_view(&body));
    answer.failed |= body.failed;
    fm_buf_fini(&body);
    if (!answer.failed)
        (void)send(fd, answer.p, answer.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    fm_buf_fini(&answer);
}

/* One more client than allowed: told so, without looking at what it wants. */
static void turn_away(struct fm_worker *w, int fd, const struct fm_peer *peer, bool of_address)
{
    if (w->config.tls)
        turn_away_tls(fd);
    else
        turn_away_http(fd, of_address);
    (void)shutdown(fd, SHUT_WR);
    (void)recv(fd, w->scratch, FM_READ_MAX, MSG_DONTWAIT); /* closing over unread bytes would take the answer back */
    close(fd);
    fm_stat_add(&w->stats.refused, 1);
    fm_client_say(peer, "client_refused", of_address ? "connections_per_address are there already" : "connections_max are there already");
}

/* What comes through a proxy is counted when it has said for whom it comes (request.c, fm_socket_admit). */
static bool address_counted(struct fm_worker *w, const struct fm_peer *peer, bool *counted)
{
    *counted = false;
    if (fm_nets_hold(w->config.proxy_from, &peer->ip) || fm_nets_hold(w->config.trusted, &peer->ip))
        return true;
    enum fm_err err = fm_limits_address_take(w->config.limits, &peer->ip, counted);
    if (err == FM_E_TOO_MANY_CONNECTIONS)
        fm_limit_reached(w, FM_LIMIT_ADDRESS, peer, fm_slice_of(NULL, 0));
    return !err;
}

static void no_descriptors(struct fm_worker *w)
{
    uint64_t now = fm_mono_ms();
    if (w->accept_warned_ms == 0 || now - w->accept_warned_ms > WARN_EVERY_MS) {
        w->accept_warned_ms = now;
        fm_diag(FM_WARN, "accept_failed",
                "worker=%u why=\"no file descriptor or memory is left\" then=\"new clients wait; raise the limit (ulimit -n), or lower "
                "connections_max\"",
                w->config.index);
    }
    pause_for(w, AGAIN_FULL_MS);
}

static bool full(const struct fm_worker *w)
{
    return atomic_load_explicit(&w->stats.connections, memory_order_relaxed) >= w->config.connections_max;
}

static void on_connection(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop, (void)events;
    struct fm_worker *w = io->data;
    bool limited = w->config.accepts_per_s > 0;
    if (limited)
        refill(w);
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd;
        struct fm_peer peer;
        if (limited && w->accept_tokens < 1) {
            pause_for(w, AGAIN_MS);
            return;
        }
        if (full(w) && w->doomed)
            return; /* they make room before the next turn, or one of the next */
        enum fm_err err = fm_accept(io->fd, &fd, &peer);
        if (err == FM_E_IO && !w->doomed) /* else they leave theirs soon */
            no_descriptors(w);
        if (err)
            return;
        w->accept_tokens -= 1;
        if (full(w)) {
            turn_away(w, fd, &peer, false);
            continue;
        }
        bool counted;
        if (!address_counted(w, &peer, &counted)) {
            turn_away(w, fd, &peer, true);
            continue;
        }
        fm_stat_add(&w->stats.accepted, 1);
        fm_front_open(w, fd, &peer, false, counted);
        fm_worker_breathe(w);
        if (fm_front_shaken(w))
            return;
    }
}

static void on_again(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct fm_worker *w = timer->data;
    if (w->listening)
        ev_io_start(loop, &w->listener);
}

enum fm_err fm_worker_listen(struct fm_worker *w)
{
    int fd;
    /* The first of the process's public workers, and the internal one, make sure that nobody else listens there. */
    enum fm_err err = fm_listen(w->config.listen, w->config.index == 0 || w->config.internal, &fd);
    if (err)
        return err;
    w->accept_at_ms = fm_mono_ms();
    w->accept_tokens = 1;
    ev_io_init(&w->listener, on_connection, fd, EV_READ);
    w->listener.data = w;
    ev_init(&w->accept_again, on_again);
    w->accept_again.data = w;
    ev_io_start(w->loop, &w->listener);
    w->listening = true;
    return FM_OK;
}

void fm_worker_listen_stop(struct fm_worker *w)
{
    if (!w->listening)
        return;
    w->listening = false;
    ev_io_stop(w->loop, &w->listener);
    ev_timer_stop(w->loop, &w->accept_again);
    close(w->listener.fd);
}

int fm_worker_listener(const struct fm_worker *w)
{
    return w->listening ? w->listener.fd : -1;
}

uint16_t fm_worker_port(const struct fm_worker *w)
{
    return w->listening ? fm_listen_port(w->listener.fd) : 0;
}
