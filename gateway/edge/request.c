/* Requests of a connection that speaks HTTP, one at a time: from the head to the answer, and on to the next. (Bytes: front.c.)
 *
 * `in` holds what was read: the request being served, from its first byte, and what follows it. While an answer is awaited nothing is read,
 * so the request's slices stay where they are. */
#include "front.h"

#include "forwarded.h"
#include "tls.h"

#include <assert.h>
#include <sys/socket.h>

enum { LINGER_MS = 2000 };

/* ---- answers ---- */

void fm_http_respond(struct fm_http_request *req, unsigned status, const char *content_type, struct fm_slice headers, struct fm_slice body)
{
    struct fm_conn *c = req->edge;
    assert(c->state == FM_CONN_SERVING);
    bool bodiless = status == 204 || status == 304;
    c->last = c->last || c->unread || c->worker->draining;
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

void fm_conn_fail(struct fm_conn *c, unsigned status, enum fm_err err, const char *detail, struct fm_slice headers)
{
    c->last = true; /* what follows in the stream can't be trusted, or is a body that nobody reads */
    fm_http_fail_with(&c->request, &(struct fm_http_error){.err = err, .detail = detail, .status = status, .headers = headers});
}

static bool wants_body(const struct fm_conn *c)
{
    return c->head.method == FM_HTTP_POST || c->head.method == FM_HTTP_PUT;
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
        .announced = c->head.transfer_encoding || (wants_body(c) && !c->head.has_length) ? FM_HTTP_UNKNOWN : c->head.length,
        .edge = c,
    };
    c->request.client = c->client;
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

/* h2c is offered by default by some clients (Java's) with requests that are meant as they stand; RFC 9110, 7.8 lets a server pass it over.
 */
static bool is_upgrade(const struct fm_http1_head *h)
{
    return h->upgrade.n && !fm_http1_lists(h->upgrade, "h2c");
}

/* The body of a good head is read. */
static void body_begin(struct fm_conn *c)
{
    const struct fm_http1_head *h = &c->head;
    c->unread = false;
    c->body_n = (size_t)h->length;
    if (h->expect.n && h->minor == 1 && c->in.n < h->n + c->body_n)
        fm_buf_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    c->state = FM_CONN_BODY;
}

void fm_conn_go_on(struct fm_conn *c)
{
    assert(c->state == FM_CONN_SERVING && !c->running);
    body_begin(c);
    fm_wheel_set(&c->worker->conns_wheel, &c->timer, c->worker->config.handshake_ms);
    ev_feed_event(c->worker->loop, &c->io, EV_WRITE); /* see fm_http_respond */
}

/* Is there who takes the request, with this body? Nobody else's body is read. */
static bool is_taken(struct fm_conn *c)
{
    if (is_upgrade(&c->head)) {
        if (!c->request.announced)
            return true;
        fm_conn_upgrade(c); /* refuses it */
        return false;
    }
    enum fm_head_is is = fm_conn_carried_head(c);
    if (is == FM_HEAD_OTHER && c->request.announced)
        return fm_api_head(&c->request);
    return is != FM_HEAD_TAKEN;
}

/* Looks at a whole head, before its body is read. */
static void head_accept(struct fm_conn *c)
{
    const struct fm_http1_head *h = &c->head;
    c->last = h->close || (h->minor == 0 && !h->keep_alive);
    /* One that came with the head is no burden, and what stands behind it is the next request. */
    c->unread = h->transfer_encoding || h->length > c->in.n - h->n;
    c->body_n = c->unread ? 0 : (size_t)h->length;
    c->client = fm_forwarded_for(&c->peer, c->worker->config.trusted, fm_slice_of(c->in.p, h->n));
    fm_conn_ask_forget(c); /* what was said to a request before this one */
    request_begin(c);
    if (!count(c))
        return;
    enum fm_err err = fm_http1_path(h->path, &c->path);
    if (err) {
        fm_conn_fail(c, 0, err, "the path has a broken escape or a `.` or `..` segment", fm_slice_of(NULL, 0));
        return;
    }
    c->request.path = fm_buf_view(&c->path);
    if (h->expect.n && !fm_http1_lists(h->expect, "100-continue"))
        fm_conn_fail(c, 417, FM_E_INVALID, "the only expectation that is met is 100-continue", fm_slice_of(NULL, 0));
    else if (is_taken(c))
        body_begin(c);
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

void fm_conn_refuse(struct fm_conn *c, unsigned status, enum fm_err err, const char *what)
{
    request_begin(c);
    c->head.n = c->in.n;
    c->body_n = 0;
    fm_conn_fail(c, status, err, what, fm_slice_of(NULL, 0));
}

bool fm_conn_step(struct fm_conn *c)
{
    switch (c->state) {
    case FM_CONN_HEAD:
        if (!c->served && fm_conn_proxy_stray(c, fm_buf_view(&c->in))) {
            fm_conn_refuse(c, 400, FM_E_REQUEST, "it begins with a PROXY protocol header, which this node does not take from your address");
            return true;
        }
        switch (fm_http1_read(fm_buf_view(&c->in), &c->scanned, &c->head)) {
        case FM_HTTP1_MORE:
            return false;
        case FM_HTTP1_BAD:
            fm_conn_refuse(c, c->head.status, FM_E_REQUEST, c->head.what);
            return true;
        case FM_HTTP1_WHOLE:
            head_accept(c);
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
