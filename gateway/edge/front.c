/* Connections that speak HTTP: their bytes, until they become WebSockets and are handed to the edge. (Requests: request.c.)
 *
 * Why not by libwebsockets, which has an HTTP server: docs/decisions/0007-http-is-read-by-our-own-front.md. In short: what a client writes
 * never reaches it but as a request that we wrote, so that its faults with unknown upgrades, pipelined bodies, long subprotocols and
 * decoded queries can't be reached. */
#include "front.h"

#include "tls.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- life ---- */

void fm_conn_detach(struct fm_conn *c)
{
    struct fm_worker *w = c->worker;
    if (c->state == FM_CONN_SERVING && c->request.gone)
        c->request.gone(&c->request);
    if (c->stream)
        fm_stream_gone(c->stream);
    fm_conn_ask_forget(c);
    ev_io_stop(w->loop, &c->io);
    fm_wheel_cancel(&w->conns_wheel, &c->timer);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    if (!c->shared)
        fm_stat_sub(&fm_stats_of(w, c->probe)->connections, 1);
    if (c->counted)
        fm_limits_address_give(w->config.limits, &c->peer.ip);
    fm_tls_close(&c->ssl);
    fm_buf_fini(&c->in);
    fm_buf_fini(&c->out);
    fm_buf_fini(&c->path);
    free(c);
}

void fm_conn_close(struct fm_conn *c)
{
    int fd = c->fd;
    fm_conn_detach(c);
    close(fd);
}

void fm_front_open(struct fm_worker *w, int fd, const struct fm_peer *peer, bool probe, bool counted)
{
    struct fm_conn *c = calloc(1, sizeof *c);
    if (!c) {
        if (counted)
            fm_limits_address_give(w->config.limits, &peer->ip);
        close(fd);
        return;
    }
    c->worker = w;
    c->fd = fd;
    c->probe = probe;
    c->counted = counted;
    c->peer = c->client = *peer;
    c->proxied = c->proxying = !probe && fm_nets_hold(w->config.proxy_from, &peer->ip);
    c->next = w->conns;
    c->link = &w->conns;
    if (c->next)
        c->next->link = &c->next;
    w->conns = c;
    fm_stat_add(&fm_stats_of(w, probe)->connections, 1);
    if (w->config.tls && !probe) {
        c->ssl = fm_tls_open(w->config.tls, fd);
        c->shaking = true;
    }
    ev_io_init(&c->io, fm_conn_ready, fd, EV_READ);
    c->io.data = c;
    ev_io_start(w->loop, &c->io);
    fm_wheel_set(&w->conns_wheel, &c->timer, w->config.handshake_ms);
    if (c->shaking && !c->ssl)
        fm_conn_close(c);
    else
        fm_conn_ready(w->loop, &c->io, EV_READ); /* the request is often there already */
}

/* ---- bytes ---- */

/* As send(2) and recv(2). */
static ssize_t conn_send(struct fm_conn *c, const uint8_t *bytes, size_t n)
{
    size_t put;
    if (!c->ssl)
        return send(c->fd, bytes, n, MSG_NOSIGNAL);
    enum fm_tls_io io = fm_tls_send(c->ssl, fm_slice_of(bytes, n), &put);
    if (io == FM_TLS_DONE)
        return (ssize_t)put;
    errno = io == FM_TLS_READ || io == FM_TLS_WRITE ? EAGAIN : ECONNRESET;
    return -1;
}

static ssize_t conn_recv(struct fm_conn *c, uint8_t *bytes, size_t n)
{
    size_t got;
    if (!c->ssl)
        return recv(c->fd, bytes, n, 0);
    enum fm_tls_io io = fm_tls_recv(c->ssl, bytes, n, &got);
    if (io == FM_TLS_DONE || io == FM_TLS_END)
        return (ssize_t)got;
    /* FM_TLS_WRITE: it changes keys again and again and takes none of the answers; no client does. */
    errno = io == FM_TLS_READ ? EAGAIN : ECONNRESET;
    return -1;
}

/* What is left of `out` leaves, as far as the socket takes it. false: the connection is dead. */
static bool out_send(struct fm_conn *c)
{
    while (c->out_at < c->out.n) {
        ssize_t n = conn_send(c, c->out.p + c->out_at, c->out.n - c->out_at);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        c->out_at += (size_t)n;
        fm_stat_add(&c->worker->stats.bytes_out, (uint64_t)n);
    }
    c->out.n = c->out_at = 0;
    if (c->out.cap > FM_READ_MAX || c->stream)
        fm_buf_fini(&c->out);
    return true;
}

bool fm_conn_pending(const struct fm_conn *c)
{
    return c->out_at < c->out.n;
}

void fm_conn_watch(struct fm_conn *c, int events)
{
    if (events == (c->io.events & (EV_READ | EV_WRITE)))
        return;
    ev_io_stop(c->worker->loop, &c->io);
    ev_io_set(&c->io, c->fd, events);
    if (events)
        ev_io_start(c->worker->loop, &c->io);
}

static void watch(struct fm_conn *c)
{
    int events = fm_conn_pending(c) ? EV_WRITE : 0;
    if (c->stream && fm_stream_wants(c->stream))
        events |= EV_WRITE;
    if (!c->eof && (c->state == FM_CONN_HEAD || c->state == FM_CONN_BODY || c->state == FM_CONN_LINGER || c->state == FM_CONN_STREAM))
        events |= EV_READ;
    fm_conn_watch(c, events);
}

bool fm_conn_put(struct fm_conn *c, struct fm_slice bytes)
{
    size_t sent = 0;
    while (!fm_conn_pending(c) && sent < bytes.n) {
        ssize_t n = conn_send(c, bytes.p + sent, bytes.n - sent);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    if (sent < bytes.n)
        fm_buf_put(&c->out, bytes.p + sent, bytes.n - sent);
    watch(c);
    return !c->out.failed;
}

void fm_conn_run(struct fm_conn *c)
{
    struct fm_worker *w = c->worker;
    assert(!w->conn_runs);
    c->running = w->conn_runs = true;
    bool alive = true;
    do
        alive = !c->in.failed && !c->out.failed && out_send(c);
    while (alive && fm_conn_step(c));
    c->running = w->conn_runs = false;
    if (c->state == FM_CONN_UPGRADED) {
        fm_conn_hand_over(c);
        return;
    }
    bool waits_for_client = c->state == FM_CONN_HEAD || c->state == FM_CONN_BODY;
    if (!alive || c->state == FM_CONN_DONE || (c->eof && waits_for_client && !fm_conn_pending(c)))
        fm_conn_close(c);
    else
        watch(c);
}

/* ---- events ---- */

static void read_some(struct fm_conn *c)
{
    struct fm_worker *w = c->worker;
    ssize_t n = conn_recv(c, w->scratch, FM_READ_MAX);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        c->eof = true;
        if (n < 0 || c->state == FM_CONN_LINGER || c->state == FM_CONN_STREAM)
            c->state = FM_CONN_DONE;
        return;
    }
    if (c->state == FM_CONN_LINGER || c->state == FM_CONN_STREAM)
        return;
    if (c->state == FM_CONN_HEAD && c->in.n == 0)
        fm_wheel_set(&w->conns_wheel, &c->timer, w->config.handshake_ms);
    fm_buf_put(&c->in, w->scratch, (size_t)n);
}

void fm_conn_refuse_raw(struct fm_conn *c, const char *text)
{
    struct fm_buf answer = {0};
    fm_buf_printf(&answer, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s\r\n",
                  strlen(text) + 2, text);
    if (!answer.failed)
        (void)send(c->fd, answer.p, answer.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    fm_buf_fini(&answer);
    (void)recv(c->fd, c->worker->scratch, FM_READ_MAX, MSG_DONTWAIT); /* closing over unread bytes would take the answer back */
}

void fm_conn_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop;
    struct fm_conn *c = io->data;
    if (c->proxying) {
        if (!fm_conn_proxied(c))
            return;
        events |= EV_READ; /* what follows may have come with it */
    }
    if (c->shaking) {
        if (!fm_conn_shake(c))
            return;
        events |= EV_READ; /* the request may have come with the end of the handshake */
    }
    if (events & EV_READ)
        read_some(c);
    fm_conn_run(c);
}

void fm_front_timeout(void *worker, struct fm_timer *t)
{
    struct fm_worker *w = worker;
    struct fm_conn *c = (struct fm_conn *)((char *)t - offsetof(struct fm_conn, timer));
    if (c->state == FM_CONN_SERVING || c->state == FM_CONN_ASKING) {
        fm_wheel_set(&w->conns_wheel, t, w->config.handshake_ms); /* both have time limits of their own */
        return;
    }
    if (c->state == FM_CONN_STREAM) {
        if (!fm_stream_tick(c->stream))
            fm_conn_close(c);
        return;
    }
    bool begun = c->in.n > 0 && !c->proxying && (c->state == FM_CONN_HEAD || c->state == FM_CONN_BODY);
    if (!begun) {
        if (!c->served && c->state == FM_CONN_HEAD) {
            fm_stat_add(&w->stats.handshake_timeouts, 1);
            fm_client_say(&c->peer, "handshake_timeout", "it sent no request within handshake_ms");
        }
        fm_conn_close(c);
        return;
    }
    fm_stat_add(&w->stats.handshake_timeouts, 1);
    c->head = (struct fm_http1_head){.method = FM_HTTP_OTHER};
    fm_conn_refuse(c, 408, FM_E_TIMEOUT, "the request did not arrive whole within handshake_ms");
}

void fm_front_drain(struct fm_worker *w)
{
    struct fm_conn *next;
    for (struct fm_conn *c = w->conns; c; c = next) {
        next = c->next;
        if (c->state == FM_CONN_HEAD && c->in.n == 0)
            fm_conn_close(c);
    }
}

void fm_front_close_all(struct fm_worker *w)
{
    while (w->conns)
        fm_conn_close(w->conns);
}
