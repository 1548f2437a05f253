#include "link.h"

#include "../json/json_slice.h"
#include "tls.h"
#include "../worker/worker_core.h"
#include "../client/ws_client.h"
#include "../http/ws_feed.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

enum { READS_A_TURN = 4, CONTROL_MAX = 125, CLOSE_PROTOCOL = 1002, CLOSE_TEXT = 1007 };

struct fm_link {
    struct ev_io io;
    struct fm_worker *worker;
    struct fm_socket *socket;
    struct ssl_st *ssl;
    int fd;
    bool wants;      /* fm_socket_writable is to be called; always so while `out` holds something */
    bool close_sent; /* a close frame is in `out`, or has left */
    bool close_got;  /* the client's came, or no more of it can be read */
    bool read_needs_write;
    bool ended;        /* what it was is still to be given back (fm_socket_bury) */
    struct fm_buf out; /* what the client did not take yet, from out_at on */
    size_t out_at;
    struct fm_ws_feed feed;
};

/* ---- the end ---- */

static void link_end(struct fm_link *l)
{
    struct fm_socket *s = l->socket;
    ev_io_stop(l->worker->loop, &l->io);
    fm_tls_close(&l->ssl);
    close(l->fd);
    fm_buf_fini(&l->out);
    s->tls = NULL;
    free(l);
    fm_socket_gone(s);
}

void fm_link_kill(struct fm_link *l)
{
    link_end(l);
}

static void watch(struct fm_link *l)
{
    if (l->ended)
        return;
    int events = l->wants || fm_link_busy(l) ? EV_READ | EV_WRITE : EV_READ;
    if (l->read_needs_write)
        events = EV_WRITE; /* what came can't be read before: looking at it again and again would keep the thread busy */
    if (events == (l->io.events & (EV_READ | EV_WRITE)))
        return;
    ev_io_stop(l->worker->loop, &l->io);
    ev_io_set(&l->io, l->fd, events);
    ev_io_start(l->worker->loop, &l->io);
}

/* ---- writing ---- */

bool fm_link_busy(const struct fm_link *l)
{
    return l->out_at < l->out.n;
}

/* As much as the client takes now. *sent: bytes. false: the connection is dead. */
static bool send_some(struct fm_link *l, struct fm_slice bytes, size_t *sent)
{
    *sent = 0;
    while (*sent < bytes.n) {
        size_t put;
        switch (fm_tls_send(l->ssl, fm_slice_of(bytes.p + *sent, bytes.n - *sent), &put)) {
        case FM_TLS_DONE:
            *sent += put;
            break;
        case FM_TLS_READ:
        case FM_TLS_WRITE:
            return true;
        case FM_TLS_END:
        case FM_TLS_DEAD:
            return false;
        }
    }
    return true;
}

/* Frames, now or behind what is still to leave. false: the connection is dead, or there is no memory for what it does not take. */
static bool put(struct fm_link *l, struct fm_slice frames)
{
    size_t sent = 0;
    if (!fm_link_busy(l) && !send_some(l, frames, &sent))
        return false;
    if (sent == frames.n)
        return true;
    fm_buf_put(&l->out, frames.p + sent, frames.n - sent);
    l->wants = true; /* what the socket keeps back meanwhile leaves when this has left, with nothing new to push it */
    watch(l);
    return !l->out.failed;
}

static bool out_send(struct fm_link *l)
{
    size_t sent;
    if (!fm_link_busy(l))
        return true;
    if (!send_some(l, fm_slice_of(l->out.p + l->out_at, l->out.n - l->out_at), &sent))
        return false;
    l->out_at += sent;
    if (!fm_link_busy(l)) {
        fm_buf_fini(&l->out); /* an idle connection keeps nothing */
        l->out_at = 0;
    }
    return true;
}

enum fm_edge_write fm_link_write(struct fm_link *l, struct fm_slice frames)
{
    assert(!fm_link_busy(l));
    if (!put(l, frames))
        return FM_EDGE_DEAD;
    return fm_link_busy(l) ? FM_EDGE_PARTIAL : FM_EDGE_SENT;
}

void fm_link_want_write(struct fm_link *l)
{
    l->wants = true;
    watch(l);
}

static bool control_put(struct fm_link *l, enum fm_ws_kind kind, struct fm_slice payload)
{
    uint8_t frame[2 + CONTROL_MAX] = {(uint8_t)(0x80 | kind), (uint8_t)payload.n};
    assert(payload.n <= CONTROL_MAX);
    if (payload.n)
        memcpy(frame + 2, payload.p, payload.n);
    return put(l, fm_slice_of(frame, 2 + payload.n));
}

static bool close_put(struct fm_link *l, unsigned code, struct fm_slice reason)
{
    uint8_t frame[FM_WS_CLOSE_FRAME_MAX];
    l->close_sent = true;
    return put(l, fm_slice_of(frame, fm_ws_close_frame(frame, code, reason)));
}

/* The client can take more. false: that was the end. */
static bool writable(struct fm_link *l)
{
    if (!out_send(l))
        return false;
    if (fm_link_busy(l))
        return true;
    if (l->close_sent && l->close_got)
        return false;
    bool wants = l->wants && !l->close_sent;
    l->wants = false;
    if (!wants)
        return true;
    struct fm_close close = fm_socket_writable(l->socket);
    return !close.code || close_put(l, close.code, close.reason);
}

/* ---- reading ---- */

/* What breaks the protocol: told, and nothing more is read. The wheel ends the connection if the client doesn't. */
static bool refuse(struct fm_link *l, unsigned code, const char *reason)
{
    fm_stat_add(&l->worker->stats.bad_messages, 1);
    fm_socket_closing(l->socket);
    l->close_got = true;
    return l->close_sent || close_put(l, code, fm_slice_str(reason));
}

/* The client's close frame is answered with what it said. */
static bool closed(struct fm_link *l, struct fm_slice payload)
{
    unsigned code = payload.n >= 2 ? (unsigned)payload.p[0] << 8 | payload.p[1] : 1000;
    if (payload.n == 1 || !fm_ws_close_code_ok(code))
        return refuse(l, CLOSE_PROTOCOL, "a close frame with a code that can't be sent");
    if (payload.n > 2 && !fm_utf8_valid(fm_slice_of(payload.p + 2, payload.n - 2)))
        return refuse(l, CLOSE_TEXT, "the reason of a close frame is not UTF-8");
    l->close_got = true;
    fm_socket_closing(l->socket);
    if (!l->close_sent && !close_put(l, code, fm_slice_of(NULL, 0)))
        return false;
    return fm_link_busy(l); /* nothing more to send: the end */
}

/* Of pings that came together the last is answered (RFC 6455, 5.5.3), so that a few bytes don't make as many writes. */
struct pong {
    bool due;
    uint8_t n, payload[CONTROL_MAX];
};

static bool pong_put(struct fm_link *l, const struct pong *pong)
{
    /* One who asks without reading the answers must not fill the memory with them. */
    if (!pong->due || l->close_sent || l->out.n >= FM_WRITE_MAX)
        return true;
    return control_put(l, FM_WS_PONG, fm_slice_of(pong->payload, pong->n));
}

static bool control(struct fm_link *l, const struct fm_ws_part *part, struct pong *pong)
{
    if (part->kind == FM_WS_CLOSE)
        return closed(l, fm_slice_of(part->bytes, part->n));
    if (part->kind != FM_WS_PING)
        return true;
    pong->due = true;
    pong->n = (uint8_t)part->n;
    memcpy(pong->payload, part->bytes, part->n);
    return true;
}

/* false: the connection is at its end. */
static bool take(struct fm_link *l, uint8_t *bytes, size_t n)
{
    struct fm_ws_part part;
    struct pong pong = {0};
    while (!l->close_got) {
        switch (fm_ws_feed(&l->feed, &bytes, &n, &part)) {
        case FM_WS_FED_MORE:
            return pong_put(l, &pong);
        case FM_WS_FED_PIECE:
            fm_socket_received(l->socket, part.bytes, part.n, part.to_come > SIZE_MAX ? SIZE_MAX : (size_t)part.to_come,
                               part.kind == FM_WS_BINARY, part.packed, part.last);
            break;
        case FM_WS_FED_CONTROL:
            if (!control(l, &part, &pong))
                return false;
            break;
        case FM_WS_FED_BAD:
            return refuse(l, CLOSE_PROTOCOL, part.reason);
        }
    }
    return true;
}

static bool readable(struct fm_link *l)
{
    l->read_needs_write = false;
    for (int i = 0; i < READS_A_TURN; i++) {
        size_t n;
        switch (fm_tls_recv(l->ssl, l->worker->inbound, FM_TLS_RECORD_MAX, &n)) {
        case FM_TLS_DONE:
            if (!take(l, l->worker->inbound, n))
                return false;
            break;
        case FM_TLS_READ:
            return true;
        case FM_TLS_WRITE:
            l->read_needs_write = true;
            return true;
        case FM_TLS_END:
        case FM_TLS_DEAD:
            return false;
        }
    }
    return true;
}

/* Very many may be at their end at once: those who stay don't wait for all of them. */
static void leave(struct fm_link *l)
{
    if (!fm_socket_end(l->socket)) {
        link_end(l);
        return;
    }
    ev_io_stop(l->worker->loop, &l->io);
    l->ended = true;
}

static void on_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop;
    struct fm_link *l = io->data;
    bool alive = !(events & EV_WRITE) || writable(l);
    if (alive && (events & EV_READ || l->read_needs_write))
        alive = readable(l);
    if (alive)
        watch(l);
    else
        leave(l);
}

/* ---- the beginning ---- */

static void answer_make(struct fm_buf *b, const struct fm_edge_upgrade *up)
{
    struct fm_ws_key key = {0};
    char accept[FM_WS_ACCEPT_TEXT + 1];
    assert(up->key.n == FM_WS_KEY_TEXT); /* front.c has looked */
    memcpy(key.text, up->key.p, FM_WS_KEY_TEXT);
    fm_ws_accept_of(&key, accept);
    fm_buf_printf(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
                  accept);
    if (*up->subprotocol)
        fm_buf_printf(b, "Sec-WebSocket-Protocol: %s\r\n", up->subprotocol);
    if (up->deflate->window) {
        fm_buf_str(b, "Sec-WebSocket-Extensions: ");
        fm_deflate_answer(b, up->deflate);
        fm_buf_str(b, "\r\n");
    }
    fm_buf_str(b, "\r\n");
}

void fm_link_open(struct fm_worker *w, int fd, struct ssl_st *ssl, struct fm_socket *s, const struct fm_edge_upgrade *up)
{
    struct fm_link *l = calloc(1, sizeof *l);
    if (!l) {
        fm_tls_close(&ssl);
        close(fd);
        fm_socket_gone(s);
        return;
    }
    *l = (struct fm_link){.worker = w, .socket = s, .ssl = ssl, .fd = fd, .feed.packed = up->deflate->window > 0};
    s->tls = l;
    ev_io_init(&l->io, on_ready, fd, EV_READ);
    l->io.data = l;
    ev_io_start(w->loop, &l->io);
    struct fm_buf answer = {0};
    answer_make(&answer, up);
    bool alive = !answer.failed && put(l, fm_buf_view(&answer));
    fm_buf_fini(&answer);
    if (alive) {
        fm_socket_opened(s, NULL, fd);
        uint8_t *early = (uint8_t *)up->early.p; /* of front.c's buffer, which is ours to change */
        alive = take(l, early, up->early.n);
    }
    if (!alive)
        link_end(l);
}
