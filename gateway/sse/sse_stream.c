/* A stream on its connection: the answer's head with the first event, then events as they come, and a comment now and then, without which a
 * proxy would take it for dead. The body ends with the connection, so every event leaves as it is written. */
#include "sse.h"

#include "../edge/front.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

struct fm_stream {
    struct fm_carrier carrier; /* first */
    struct fm_conn *c;         /* NULL: it was refused, and the connection goes on without it */
    struct fm_socket *socket;
    struct fm_sse_topics topics;
    bool begun; /* the head was written */
    bool wants; /* fm_socket_writable is to be called */
};

static struct fm_stream *stream_of(const struct fm_socket *s)
{
    return (struct fm_stream *)s->carrier;
}

/* ---- the end ---- */

/* The connection goes on, or goes, without it, and counts as one itself again. */
static void part(struct fm_stream *st)
{
    struct fm_conn *c = st->c;
    st->c = NULL;
    c->stream = NULL;
    c->shared = false;
    fm_conn_take_back(c, st->socket);
    fm_stat_add(&c->worker->stats.connections, 1);
}

static void end(struct fm_stream *st)
{
    struct fm_socket *s = st->socket;
    if (st->c)
        part(st);
    fm_sse_topics_fini(&st->topics);
    fm_stat_sub(&s->worker->stats.sse_streams, 1);
    s->carrier = NULL;
    free(st);
    fm_socket_gone(s);
}

void fm_stream_gone(struct fm_stream *st)
{
    end(st);
}

static void stream_kill(struct fm_carrier *carrier)
{
    struct fm_stream *st = (struct fm_stream *)carrier;
    if (st->c)
        fm_conn_close(st->c);
    else
        end(st);
}

/* ---- writing ---- */

/* Those of a node that dies come back at once: between a half and three halves of the option, so that they don't come in the same moment.
 */
static uint32_t retry_ms(const struct fm_stream *st)
{
    uint64_t seed[2] = {(uintptr_t)st, fm_mono_ms()};
    uint32_t ms = st->socket->worker->config.sse_retry_ms;
    return ms / 2 + (uint32_t)(fm_slice_hash(fm_slice_of(seed, sizeof seed)) % (ms + 1));
}

/* What was sent before it is answered with goes; from now on the connection is the stream's. */
static void head_write(struct fm_stream *st, struct fm_buf *b)
{
    struct fm_conn *c = st->c;
    const struct fm_worker_config *config = &c->worker->config;
    fm_buf_str(b, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n"
                  "Connection: close\r\n");
    if (c->request.readable_by.n)
        fm_buf_printf(b, "Access-Control-Allow-Origin: %.*s\r\nVary: Origin\r\n", (int)c->request.readable_by.n,
                      (const char *)c->request.readable_by.p);
    fm_buf_printf(b, "\r\nretry: %u\n\n", retry_ms(st));
    fm_stat_add(&c->worker->stats.http_requests, 1);
    c->state = FM_CONN_STREAM;
    c->served = true;
    c->request = (struct fm_http_request){0};
    fm_buf_fini(&c->in);
    fm_buf_fini(&c->path);
    fm_wheel_set(&c->worker->conns_wheel, &c->timer, config->sse_keepalive_ms);
    st->begun = true;
}

static bool event_take(struct fm_stream *st, struct fm_slice payload, struct fm_buf *b)
{
    struct fm_sse_event e;
    struct fm_id id;
    if (!fm_sse_event_read(payload, &e))
        return false;
    struct fm_sse_topic *t = fm_sse_topic_find(&st->topics, e.topic);
    if (t && e.move == FM_SSE_REPLACE) {
        t->at.n = 0;
        t->cut = false;
    }
    while (t && fm_sse_event_id(&e, &id))
        fm_position_raise(&t->at, id);
    fm_buf_str(b, "id: ");
    fm_sse_id_write(b, &st->topics);
    fm_buf_u8(b, '\n');
    fm_buf_slice(b, e.lines);
    fm_buf_u8(b, '\n');
    return true;
}

static enum fm_edge_write stream_write(struct fm_carrier *carrier, struct fm_slice frames)
{
    struct fm_stream *st = (struct fm_stream *)carrier;
    struct fm_buf *b = &st->socket->worker->events;
    struct fm_slice payload;
    unsigned opcode;
    bool good = st->c != NULL;
    b->n = 0;
    if (good && !st->begun)
        head_write(st, b);
    while (good && fm_frames_next(&frames, &opcode, &payload))
        good = event_take(st, payload, b);
    good = good && !b->failed && fm_conn_put(st->c, fm_buf_view(b));
    if (b->failed || b->cap > FM_WRITE_MAX)
        fm_buf_fini(b);
    if (!good)
        return FM_EDGE_DEAD;
    st->wants = st->wants || fm_conn_pending(st->c); /* what is kept back meanwhile leaves when this has left */
    return fm_conn_pending(st->c) ? FM_EDGE_PARTIAL : FM_EDGE_SENT;
}

static bool stream_busy(const struct fm_carrier *carrier)
{
    const struct fm_stream *st = (const struct fm_stream *)carrier;
    return !st->c || fm_conn_pending(st->c);
}

static void stream_want_write(struct fm_carrier *carrier)
{
    struct fm_stream *st = (struct fm_stream *)carrier;
    st->wants = true;
    if (st->c)
        fm_conn_watch(st->c, st->c->io.events | EV_WRITE);
}

static const struct fm_carrier_ops ops = {
    .write = stream_write,
    .busy = stream_busy,
    .want_write = stream_want_write,
    .kill = stream_kill,
};

/* ---- called by the front ---- */

bool fm_stream_wants(const struct fm_stream *st)
{
    return st->wants;
}

/* Why it ends, for who looks. Without an id: the client's position is what it was. */
static void close_tell(struct fm_conn *c, const struct fm_close *close)
{
    struct fm_buf b = {0};
    fm_buf_printf(&b, "event: fm_closed\ndata: {\"code\":%u,\"reason\":", close->code);
    fm_buf_json(&b, close->reason);
    fm_buf_str(&b, "}\n\n");
    (void)(!b.failed && fm_conn_put(c, fm_buf_view(&b)));
    fm_buf_fini(&b);
}

/* The same, for who has had nothing yet. EventSource does not come back after a status but 200. */
static void close_answer(struct fm_http_request *req, unsigned code, const char *reason)
{
    static const struct {
        unsigned code; /* of the close */
        enum fm_err err;
    } table[] = {
        {1008, FM_E_RATE_LIMITED},  {1012, FM_E_DRAINING},      {1013, FM_E_BUSY}, /* a limit of the node's */
        {4001, FM_E_TOKEN_EXPIRED}, {4003, FM_E_TOKEN_REVOKED},
    };
    enum fm_err err = FM_E_CLOSED; /* by the API, with a code of the backend's */
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].code == code)
            err = table[i].err;
    fm_stat_add(&req->worker->stats.refused, 1);
    fm_http_fail(req, err, *reason ? reason : NULL);
}

bool fm_stream_step(struct fm_stream *st)
{
    struct fm_conn *c = st->c;
    if (fm_conn_pending(c) || !st->wants)
        return false;
    st->wants = false;
    struct fm_close close = fm_socket_writable(st->socket);
    if (!close.code)
        return false;
    bool begun = st->begun;
    char reason[128]; /* of the socket, which is gone before the answer */
    snprintf(reason, sizeof reason, "%.*s", (int)close.reason.n, (const char *)close.reason.p);
    if (begun)
        close_tell(c, &close);
    end(st);
    c->last = true;
    if (begun)
        c->state = FM_CONN_ANSWERED;
    else
        close_answer(&c->request, close.code, reason);
    return true;
}

bool fm_stream_tick(struct fm_stream *st)
{
    struct fm_conn *c = st->c;
    fm_wheel_set(&c->worker->conns_wheel, &c->timer, c->worker->config.sse_keepalive_ms);
    return fm_conn_pending(c) || fm_conn_put(c, FM_LIT(":\n\n"));
}

/* ---- for the protocol ---- */

/* Nothing comes from the client that would tell that it is there; what is sent is acknowledged, or isn't. */
static void watch_peer(const struct fm_conn *c)
{
    unsigned ms = c->worker->config.idle_ms;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

bool fm_stream_open(struct fm_socket *s, struct fm_http_request *req, struct fm_sse_topics *topics)
{
    struct fm_conn *c = req->edge;
    struct fm_stream *st = calloc(1, sizeof *st);
    if (!st) {
        fm_sse_topics_fini(topics);
        fm_conn_take_back(c, s);
        fm_socket_gone(s);
        return false;
    }
    *st = (struct fm_stream){.carrier.ops = &ops, .c = c, .socket = s, .topics = *topics};
    *topics = (struct fm_sse_topics){0};
    s->carrier = &st->carrier;
    c->stream = st;
    fm_stat_add(&s->worker->stats.sse_streams, 1);
    c->shared = true; /* the two are one connection */
    fm_stat_sub(&s->worker->stats.connections, 1);
    watch_peer(c);
    fm_socket_opened(s, NULL, c->fd);
    return true;
}

struct fm_sse_topic *fm_stream_topic(const struct fm_socket *s, uint32_t i)
{
    return &stream_of(s)->topics.of[i];
}

bool fm_stream_fresh(const struct fm_socket *s)
{
    return s->carrier && stream_of(s)->c && !stream_of(s)->begun;
}

void fm_stream_refuse(struct fm_socket *s, enum fm_err err, const char *said)
{
    struct fm_stream *st = stream_of(s);
    struct fm_conn *c = st->c;
    struct fm_buf members = {0};
    if (said) {
        fm_buf_str(&members, "\"said\":");
        fm_buf_str(&members, said);
    }
    part(st);
    fm_socket_abandon(s);
    fm_stat_add(&c->worker->stats.refused, 1);
    fm_http_fail_with(&c->request,
                      &(struct fm_http_error){.err = err, .members = members.failed ? fm_slice_of(NULL, 0) : fm_buf_view(&members)});
    fm_buf_fini(&members);
}
