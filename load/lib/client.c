/* One client's connection: it opens, sends, and cuts what is received into things said. */
#include "fleet_state.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

enum { AWAY_NS = 50 * 1000000 }; /* before connecting again: this, and up to as much more */

/* ---- leaving and coming back ---- */

void fm_client_drop(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    struct fm_seat *seats = fm_client_seats(c);
    assert(c->state != AWAY);
    fm_conn_close(&c->conn);
    c->waits_out = false;
    c->rest.n = c->tail.n = c->out.n = 0;
    fm_buf_fini(&c->parts);
    if (c->state == JOINED) {
        f->stats.joined--;
        c->lost_ns = c->lost_ns ? c->lost_ns : fm_mono_ns();
    } else {
        f->stats.connect_failures++;
        f->connecting--;
    }
    for (uint32_t j = 0; j < f->config.spread.per_client; j++) {
        if (seats[j].unanswered)
            f->config.broken(f->config.ctx, seats[j].topic, c->stream);
        seats[j].unanswered = 0;
        seats[j].joined = false;
    }
    /* Drawn, as by a balancer: going to the next one in turn, all would stand on the node that was restarted last but one. */
    if (f->config.nodes_n > 1)
        c->node = (uint8_t)((c->node + 1 + (fm_fleet_draw(f) >> 16) % (f->config.nodes_n - 1)) % f->config.nodes_n);
    fm_fleet_away(c, fm_mono_ns() + AWAY_NS + fm_fleet_draw(f) % AWAY_NS);
}

void fm_client_connect(struct fm_client *c, uint64_t now_ns)
{
    struct fm_fleet *f = c->fleet;
    struct fm_seat *seats = fm_client_seats(c);
    uint32_t per_client = f->config.spread.per_client, source = (uint32_t)(f->config.first + (c - f->at)) % f->config.sources;
    c->state = CONNECTING;
    c->since_ns = now_ns;
    c->ws = (struct fm_ws_in){.message_max = FM_ITEM_MAX};
    c->chunks = (struct fm_chunks){0};
    c->stream = fm_fleet_stream(f);
    c->waits = per_client;
    c->behind = c->lost_ns ? per_client : 0;
    for (uint32_t j = 0; j < per_client; j++) {
        fm_view_connects(&seats[j].view, c->node);
        seats[j].behind = c->lost_ns;
    }
    c->beat_ns = 0;
    f->connecting++;
    f->stats.connects++;
    if (fm_conn_open(&c->conn, &f->config.nodes[c->node], source, f->config.tls) ||
        fm_loop_add(f->config.loop, c->conn.fd, EPOLLOUT, &c->handler)) {
        f->stats.last_errno = errno;
        fm_client_drop(c);
    }
}

/* ---- sending ---- */

static void client_send(struct fm_client *c, struct fm_slice bytes)
{
    ssize_t n = 0;
    if (!c->waits_out && c->out.n == 0) {
        n = fm_conn_write(&c->conn, bytes);
        if (n == (ssize_t)bytes.n || (n < 0 && errno != EAGAIN))
            return; /* a broken connection is dropped by its next event */
        c->waits_out = true;
        fm_loop_change(c->fleet->config.loop, c->conn.fd, EPOLLIN | EPOLLOUT, &c->handler);
    }
    size_t done = n > 0 ? (size_t)n : 0;
    fm_buf_put(&c->out, bytes.p + done, bytes.n - done);
}

/* A broken connection is dropped by its next event. */
void fm_client_flush(struct fm_client *c)
{
    ssize_t n = c->out.n ? fm_conn_write(&c->conn, fm_buf_view(&c->out)) : 0;
    if (n < 0 && errno != EAGAIN)
        return;
    size_t done = n > 0 ? (size_t)n : 0;
    bool waited = c->waits_out;
    c->out.n -= done;
    if (c->out.n)
        memmove(c->out.p, c->out.p + done, c->out.n);
    c->waits_out = c->out.n > 0;
    if (c->waits_out != waited)
        fm_loop_change(c->fleet->config.loop, c->conn.fd, EPOLLIN | (c->waits_out ? EPOLLOUT : 0), &c->handler);
}

void fm_client_control(struct fm_client *c, enum fm_ws_kind kind, struct fm_slice payload)
{
    struct fm_fleet *f = c->fleet;
    f->frame.n = 0;
    fm_ws_frame_put(&f->frame, kind, payload, fm_fleet_draw(f));
    client_send(c, fm_buf_view(&f->frame));
}

void fm_client_say(struct fm_client *c)
{
    if (c->fleet->text.n)
        fm_client_control(c, c->fleet->config.framing->kind, fm_buf_view(&c->fleet->text));
}

/* ---- opening ---- */

/* The node's URL; a topic in its path or query is the first that the client joins. */
static const struct fm_url *url_of(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    const struct fm_url *url = &f->config.nodes[c->node].url;
    char topic[FM_FLEET_TOPIC_MAX];
    if (!strstr(url->target, FM_TOPIC_MARK))
        return url;
    fm_fleet_topic(f, fm_client_seats(c)[0].topic, topic);
    f->text.n = 0;
    fm_template_put(&f->text, url->target, fm_slice_str(topic), (struct fm_slice){0});
    f->url = *url;
    snprintf(f->url.target, sizeof f->url.target, "%.*s", (int)f->text.n, (const char *)f->text.p);
    return &f->url;
}

static void client_open(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    const struct fm_framing *framing = f->config.framing;
    const struct fm_url *url = url_of(c);
    c->state = OPENING;
    fm_loop_change(f->config.loop, c->conn.fd, EPOLLIN, &c->handler);
    f->frame.n = f->text.n = 0;
    if (framing->subprotocol)
        fm_buf_printf(&f->text, "Sec-WebSocket-Protocol: %s\r\n", framing->subprotocol);
    if (framing->carrier == FM_CARRIER_HTTP)
        fm_buf_printf(&f->frame, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", url->target, url->authority);
    else
        fm_ws_request_put(&f->frame, url, &f->key, fm_buf_view(&f->text));
    client_send(c, fm_buf_view(&f->frame));
}

/* Connected, and the connection is that of the framing. */
static bool client_opened(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    const struct fm_framing *framing = f->config.framing;
    c->state = GREETING;
    f->text.n = 0;
    if (framing->hello_first)
        framing->hello(&f->text, &f->config.speech, c->stream);
    fm_client_say(c);
    return framing->greets || fm_client_join(c);
}

static enum fm_err ws_answer_take(struct fm_client *c, struct fm_slice in, size_t *used)
{
    struct fm_fleet *f = c->fleet;
    struct fm_ws_answer answer;
    enum fm_err err = fm_ws_answer_read(in, &f->key, &answer);
    f->stats.last_status = err && err != FM_E_SHORT ? answer.status : f->stats.last_status;
    if (!err && f->config.framing->subprotocol && !fm_slice_eq(answer.protocol, fm_slice_str(f->config.framing->subprotocol)))
        err = FM_E_SYNTAX;
    *used = err ? 0 : answer.used;
    return err;
}

static enum fm_err http_answer_take(struct fm_client *c, struct fm_slice in, size_t *used)
{
    struct fm_http_answer answer;
    enum fm_err err = fm_http_answer_read(in, &answer);
    c->fleet->stats.last_status = err && err != FM_E_SHORT ? answer.status : c->fleet->stats.last_status;
    if (!err && (answer.status != 200 || !answer.events)) {
        c->fleet->stats.last_status = answer.status;
        err = FM_E_FORBIDDEN;
    }
    c->chunked = answer.chunked;
    *used = err ? 0 : answer.headers;
    return err;
}

/* The answer to the request at in; *at moves behind it. false: it is a refusal. */
static bool answer_take(struct fm_client *c, struct fm_slice in, size_t *at)
{
    bool http = c->fleet->config.framing->carrier == FM_CARRIER_HTTP;
    enum fm_err err = http ? http_answer_take(c, in, at) : ws_answer_take(c, in, at);
    return err ? err == FM_E_SHORT : client_opened(c);
}

/* ---- receiving ---- */

static bool malformed(struct fm_client *c)
{
    c->fleet->config.tally->malformed++;
    return false;
}

/* A message that is one thing said. One that can't be read is counted, and the next may be better. */
static bool message_take(struct fm_client *c, enum fm_ws_kind kind, struct fm_slice payload)
{
    const struct fm_framing *framing = c->fleet->config.framing;
    struct fm_rd r = fm_rd_of(payload);
    struct fm_saying said;
    if (kind == framing->kind && !framing->next(&r, &said))
        return fm_client_take(c, &said);
    malformed(c);
    return true;
}

/* Bytes of a stream; an end that is not complete is kept. */
static bool stream_take(struct fm_client *c, struct fm_slice bytes)
{
    const struct fm_framing *framing = c->fleet->config.framing;
    bool kept = c->tail.n > 0;
    if (kept)
        fm_buf_slice(&c->tail, bytes);
    struct fm_rd r = fm_rd_of(kept ? fm_buf_view(&c->tail) : bytes);
    struct fm_saying said;
    enum fm_err err;
    while (fm_rd_left(&r) && !(err = framing->next(&r, &said)))
        if (!fm_client_take(c, &said))
            return false;
    size_t left = fm_rd_left(&r);
    if (left && (err != FM_E_SHORT || left > FM_ITEM_MAX + READ_BYTES))
        return malformed(c);
    if (kept && left)
        memmove(c->tail.p, r.p, left);
    if (kept)
        c->tail.n = left;
    else
        fm_buf_put(&c->tail, r.p, left);
    if (left == 0 && c->tail.cap)
        fm_buf_fini(&c->tail);
    return !c->tail.failed;
}

/* Reads frames off in[*at..); false: the connection is over. */
static bool frames_take(struct fm_client *c, struct fm_slice in, size_t *at)
{
    bool stream = c->fleet->config.framing->carrier == FM_CARRIER_STREAM;
    struct fm_rd r = fm_rd_of(fm_slice_of(in.p + *at, in.n - *at));
    for (;;) {
        struct fm_ws_event e;
        enum fm_err err = fm_ws_next(&c->ws, &r, &c->parts, &e);
        *at = (size_t)(r.p - in.p);
        if (err == FM_E_SHORT)
            return true;
        if (err)
            return malformed(c);
        if (e.kind == FM_WS_CLOSE) {
            c->fleet->stats.last_close = e.code;
            return false;
        }
        if (e.kind == FM_WS_PING)
            fm_client_control(c, FM_WS_PONG, e.payload);
        else if (e.kind == FM_WS_PONG)
            c->beat_ns = 0;
        else if (!(stream ? stream_take(c, e.payload) : message_take(c, e.kind, e.payload)))
            return false;
    }
}

/* The body of an HTTP answer. false: it is over, or can't be read. */
static bool body_take(struct fm_client *c, struct fm_slice in, size_t *at)
{
    struct fm_rd r = fm_rd_of(fm_slice_of(in.p + *at, in.n - *at));
    struct fm_slice bytes = fm_slice_of(r.p, fm_rd_left(&r));
    if (!c->chunked) {
        *at = in.n;
        return stream_take(c, bytes);
    }
    enum fm_err err = FM_OK;
    while (!err && !(err = fm_chunks_next(&c->chunks, &r, &bytes)))
        if (!stream_take(c, bytes))
            return false;
    *at = (size_t)(r.p - in.p);
    return err == FM_E_SYNTAX ? malformed(c) : err == FM_E_SHORT;
}

/* false: the connection is over. */
static bool client_read(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    size_t n = c->rest.n, at = 0;
    if (n)
        memcpy(f->read, c->rest.p, n);
    ssize_t got = fm_conn_read(&c->conn, f->read + n, READ_BYTES);
    if (got <= 0) {
        if (got < 0)
            f->stats.last_errno = errno;
        return got < 0 && errno == EAGAIN;
    }
    struct fm_slice in = fm_slice_of(f->read, n + (size_t)got);
    if (c->state == OPENING && !answer_take(c, in, &at))
        return false;
    if (c->state != OPENING && !(f->config.framing->carrier == FM_CARRIER_HTTP ? body_take(c, in, &at) : frames_take(c, in, &at)))
        return false;
    c->rest.n = 0;
    assert(in.n - at <= REST_MAX);
    fm_buf_put(&c->rest, f->read + at, in.n - at);
    if (c->rest.n == 0 && c->rest.cap)
        fm_buf_fini(&c->rest);
    return !c->rest.failed;
}

static void client_connecting(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    uint32_t events = EPOLLIN;
    int error = 0;
    enum fm_err err = fm_conn_shake(&c->conn, f->config.tls, &events, &error);
    if (!err) {
        client_open(c);
    } else if (err == FM_E_SHORT) {
        fm_loop_change(f->config.loop, c->conn.fd, events, &c->handler);
    } else {
        f->stats.last_errno = error ? error : f->stats.last_errno;
        fm_client_drop(c);
    }
}

void fm_client_ready(struct fm_handler *h, uint32_t events)
{
    struct fm_client *c = (struct fm_client *)h;
    if (c->state == AWAY)
        return;
    if (c->state == CONNECTING) {
        client_connecting(c);
        return;
    }
    if (events & EPOLLOUT)
        fm_client_flush(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    do {
        if (!client_read(c)) {
            fm_client_drop(c);
            return;
        }
    } while (fm_conn_pending(&c->conn));
}
