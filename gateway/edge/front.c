/* Connections that speak HTTP: they are read and answered here, and handed to the edge when they become WebSockets.
 *
 * Why not by libwebsockets, which has an HTTP server: docs/decisions/0007-http-is-read-by-our-own-front.md. In short: what a client writes
 * never reaches it but as a request that we wrote, so that its faults with unknown upgrades, pipelined bodies, long subprotocols and
 * decoded queries can't be reached.
 *
 * A connection has one request at a time. `in` holds what was read: the request being served, from its first byte, and what follows it.
 * While an answer is awaited nothing is read, so the request's slices stay where they are. */
#include "front.h"

#include "forwarded.h"
#include "tls.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_MS = 2000 };

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

/* ---- writing ---- */

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

void fm_http_respond(struct fm_http_request *req, unsigned status, const char *content_type, struct fm_slice headers, struct fm_slice body)
{
    struct fm_conn *c = req->edge;
    assert(c->state == FM_CONN_SERVING);
    bool bodiless = status == 204 || status == 304;
    c->last = c->last || c->worker->draining;
    fm_buf_printf(&c->out, "HTTP/1.1 %u %s\r\n", status, fm_http1_reason(status));
    if (!bodiless)
        fm_buf_printf(&c->out, "Content-Type: %s\r\nContent-Length: %zu\r\n", content_type, body.n);
    fm_buf_str(&c->out, "Cache-Control: no-store\r\nConnection: ");
    fm_buf_str(&c->out, c->last ? "close\r\n" : "keep-alive\r\n");
    if (req->readable_by.n)
        fm_buf_printf(&c->out, "Access-Control-Allow-Origin: %.*s\r\nVary: Origin\r\n", (int)req->readable_by.n,
                      (const char *)req->readable_by.p);
    fm_buf_slice(&c->out, headers);
    fm_buf_str(&c->out, "\r\n");
    if (!bodiless && req->method != FM_HTTP_HEAD)
        fm_buf_slice(&c->out, body);
    fm_stat_add(&c->worker->stats.http_requests, 1);
    c->state = FM_CONN_ANSWERED;
    fm_wheel_set(&c->worker->conns_wheel, &c->timer, c->worker->config.idle_ms); /* what the client has to take it */
    c->served = true;
    c->request = (struct fm_http_request){0};
    if (c->running)
        return;
    /* The answer came later: from the worker's inbox, or from what a request on another connection did. Of these each might answer the
     * next, as many as there are connections, so they go on from the loop, not within one another. */
    if (c->worker->conn_runs)
        ev_feed_event(c->worker->loop, &c->io, EV_WRITE);
    else
        fm_conn_run(c);
}

/* ---- requests ---- */

void fm_conn_fail(struct fm_conn *c, unsigned status, enum fm_err err, const char *detail, struct fm_slice headers)
{
    c->last = true; /* what follows in the stream can't be trusted, or is a body that nobody reads */
    fm_http_fail_with(&c->request, &(struct fm_http_error){.err = err, .detail = detail, .status = status, .headers = headers});
}

static void request_begin(struct fm_conn *c)
{
    c->state = FM_CONN_SERVING;
    c->request = (struct fm_http_request){
        .worker = c->worker,
        .method = c->head.method,
        .internal = c->worker->config.internal,
        .query = c->head.query,
        .raw_path = c->head.path,
        .head = fm_slice_of(c->in.p, c->head.n),
        .authorization = c->head.authorization,
        .content_type = c->head.content_type,
        .accept = c->head.accept,
        .idempotency_key = c->head.idempotency_key,
        .apikey = c->head.apikey,
        .origin = c->head.origin,
        .host = c->head.host,
        .edge = c,
    };
    c->request.client = c->client;
}

static bool wants_body(const struct fm_conn *c)
{
    return c->head.method == FM_HTTP_POST || c->head.method == FM_HTTP_PUT;
}

/* A connection that comes through a proxy counts from its first request on: by then the PROXY protocol has said whose it is. One from who
 * is believed to say that with each request is nobody's. */
static bool count(struct fm_conn *c)
{
    struct fm_worker *w = c->worker;
    const struct fm_ip *ip = &c->peer.ip;
    if (!c->proxied || c->counted || fm_nets_hold(w->config.proxy_from, ip) || fm_nets_hold(w->config.trusted, ip))
        return true;
    enum fm_err err = fm_limits_address_take(w->config.limits, ip, &c->counted);
    if (!err)
        return true;
    if (err == FM_E_TOO_MANY_CONNECTIONS)
        fm_limit_reached(w, FM_LIMIT_ADDRESS, &c->peer, fm_slice_of(NULL, 0));
    fm_stat_add(&w->stats.refused, 1);
    fm_conn_fail(c, 0, err, err == FM_E_NOMEM ? NULL : "there are as many from your address as connections_per_address allows",
                 fm_slice_of(NULL, 0));
    return false;
}

/* Looks at a whole head, before its body is read. false: it was answered. */
static bool head_accept(struct fm_conn *c)
{
    const struct fm_http1_head *h = &c->head;
    c->last = h->close || (h->minor == 0 && !h->keep_alive);
    c->client = fm_forwarded_for(&c->peer, c->worker->config.trusted, fm_slice_of(c->in.p, h->n));
    fm_conn_ask_forget(c); /* what was said to a request before this one */
    request_begin(c);
    c->body_n = 0;
    if (!count(c))
        return false;
    enum fm_err err = fm_http1_path(h->path, &c->path);
    if (err) {
        fm_conn_fail(c, 0, err, "the path has a broken escape or a `.` or `..` segment", fm_slice_of(NULL, 0));
        return false;
    }
    c->request.path = fm_buf_view(&c->path);
    if (h->transfer_encoding || (wants_body(c) && !h->has_length)) {
        fm_conn_fail(c, 0, FM_E_LENGTH_REQUIRED, NULL, fm_slice_of(NULL, 0));
        return false;
    }
    if (h->has_length && h->length > c->worker->config.body_max) {
        fm_conn_fail(c, 0, FM_E_TOO_LARGE, "the body is larger than api_body_max", fm_slice_of(NULL, 0));
        return false;
    }
    if (h->expect.n && !fm_http1_lists(h->expect, "100-continue")) {
        fm_conn_fail(c, 417, FM_E_INVALID, "the only expectation that is met is 100-continue", fm_slice_of(NULL, 0));
        return false;
    }
    c->body_n = (size_t)h->length;
    if (h->expect.n && h->minor == 1 && c->in.n < h->n + c->body_n)
        fm_buf_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    c->state = FM_CONN_BODY;
    return true;
}

/* h2c is offered by default by some clients (Java's) with requests that are meant as they stand; RFC 9110, 7.8 lets a server pass it over.
 */
static bool is_upgrade(const struct fm_http1_head *h)
{
    return h->upgrade.n && !fm_http1_lists(h->upgrade, "h2c");
}

/* Reading the body may have moved the buffer, and what the head and the request point to with it: they are made again. */
static void request_renew(struct fm_conn *c)
{
    size_t scanned = 0;
    enum fm_http1_result r = fm_http1_read(fm_buf_view(&c->in), &scanned, &c->head);
    assert(r == FM_HTTP1_WHOLE); /* it was before */
    (void)r;
    request_begin(c);
    c->request.path = fm_buf_view(&c->path);
}

static void serve(struct fm_conn *c)
{
    c->state = FM_CONN_SERVING;
    if (c->body_n)
        request_renew(c);
    if (is_upgrade(&c->head)) {
        fm_conn_upgrade(c);
        return;
    }
    c->request.body = fm_slice_of(c->in.p + c->head.n, c->body_n);
    if (!fm_conn_carried(c))
        fm_api_handle(&c->request);
}

/* The request is done: what follows it in the stream is next. */
static void request_end(struct fm_conn *c)
{
    size_t used = c->head.n + c->body_n;
    assert(used <= c->in.n);
    c->in.n -= used;
    if (c->in.n)
        memmove(c->in.p, c->in.p + used, c->in.n);
    else
        fm_buf_fini(&c->in);
    c->scanned = 0;
    c->client = c->peer; /* until the next request says for whom it is */
    c->state = c->worker->draining && c->in.n == 0 ? FM_CONN_DONE : FM_CONN_HEAD;
    uint32_t ms = c->in.n ? c->worker->config.handshake_ms : c->worker->config.idle_ms;
    fm_wheel_set(&c->worker->conns_wheel, &c->timer, ms);
}

/* The request can't be read, and neither can what follows it. */
static void head_refuse(struct fm_conn *c, unsigned status, const char *what)
{
    request_begin(c);
    c->head.n = c->in.n;
    c->body_n = 0;
    fm_conn_fail(c, status, FM_E_REQUEST, what, fm_slice_of(NULL, 0));
}

/* One step on from the present state; false: it waits for the client or for an answer. */
static bool step(struct fm_conn *c)
{
    switch (c->state) {
    case FM_CONN_HEAD:
        if (!c->served && fm_conn_proxy_stray(c, fm_buf_view(&c->in))) {
            head_refuse(c, 400, "it begins with a PROXY protocol header, which this node does not take from your address");
            return true;
        }
        switch (fm_http1_read(fm_buf_view(&c->in), &c->scanned, &c->head)) {
        case FM_HTTP1_MORE:
            return false;
        case FM_HTTP1_BAD:
            head_refuse(c, c->head.status, c->head.what);
            return true;
        case FM_HTTP1_WHOLE:
            (void)head_accept(c);
            return true;
        }
        return false;
    case FM_CONN_BODY:
        if (c->in.n < c->head.n + c->body_n)
            return false;
        serve(c);
        return true;
    case FM_CONN_ANSWERED:
        if (fm_conn_pending(c))
            return false;
        if (!c->last) {
            request_end(c);
            return true;
        }
        /* What the client still sends is read for a while and dropped: closing over unread bytes resets the connection, and the answer with
         * it. */
        c->state = c->eof ? FM_CONN_DONE : FM_CONN_LINGER;
        if (c->ssl)
            fm_tls_shut(c->ssl);
        (void)shutdown(c->fd, SHUT_WR);
        fm_wheel_set(&c->worker->conns_wheel, &c->timer, LINGER_MS);
        return true;
    case FM_CONN_ASKING:
        if (!c->answer)
            return false;
        serve(c);
        return true;
    case FM_CONN_SERVING:
    case FM_CONN_STREAM:
        return c->stream && fm_stream_step(c->stream);
    case FM_CONN_LINGER:
    case FM_CONN_DONE:
    case FM_CONN_UPGRADED:
        return false;
    }
    return false;
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
    while (alive && step(c));
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
    request_begin(c);
    c->head.n = c->in.n;
    c->body_n = 0;
    fm_wheel_set(&w->conns_wheel, t, LINGER_MS);
    fm_conn_fail(c, 408, FM_E_TIMEOUT, "the request did not arrive whole within handshake_ms", fm_slice_of(NULL, 0));
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
