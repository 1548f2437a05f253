/* A socket's bytes: how they leave, how they come, and how long it may be silent.
 *
 * The tension: the usual delivery is one write of shared bytes, now; everything else (a slow client, several topics in one drain, an answer
 * that must follow) takes the way through the outbox, in the same order. */
#include "worker_core.h"

#include "../../broker/diag.h"
#include "../json/json_slice.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { CLOSE_IDLE = 1001, CLOSE_PROTOCOL = 1002, CLOSE_TEXT = 1007, CLOSE_TOO_LARGE = 1009, CLOSE_SLOW = 1013 };

/* ---- what is owed ---- */

static void owe(struct fm_socket *s, uint32_t edge_bytes)
{
    fm_stat_sub(&s->worker->stats.outbox_bytes, s->edge_owes);
    fm_stat_add(&s->worker->stats.outbox_bytes, edge_bytes);
    s->edge_owes = edge_bytes;
}

void fm_socket_out_drop(struct fm_socket *s)
{
    if (!s->out)
        return;
    fm_stat_sub(&s->worker->stats.outbox_bytes, s->out->bytes);
    fm_outbox_put(&s->worker->spare, &s->out);
}

void fm_socket_io_fini(struct fm_socket *s)
{
    fm_socket_out_drop(s);
    owe(s, 0);
    fm_buf_fini(&s->in);
}

/* ---- writing ---- */

static void write_now(struct fm_socket *s, struct fm_slice frames)
{
    struct fm_worker_stats *stats = fm_stats_of(s->worker, s->probe);
    switch (fm_edge_write(s, frames)) {
    case FM_EDGE_SENT:
        break;
    case FM_EDGE_PARTIAL:
        owe(s, (uint32_t)frames.n);
        break;
    case FM_EDGE_DEAD:
        fm_socket_abandon(s);
        return;
    }
    fm_stat_add(&stats->sends, 1);
    fm_stat_add(&stats->bytes_out, frames.n);
}

static void touch(struct fm_socket *s)
{
    if (s->touched)
        return;
    s->touched = true;
    s->touched_next = s->worker->touched;
    s->worker->touched = s;
}

void fm_socket_cork(struct fm_socket *s)
{
    assert(s->worker->draining_inbox);
    s->corked = true;
    touch(s);
}

size_t fm_socket_owes(const struct fm_socket *s)
{
    return (s->out ? s->out->bytes : 0) + (fm_edge_busy(s) ? s->edge_owes : 0);
}

size_t fm_socket_room(const struct fm_socket *s)
{
    return s->worker->config.outbox_bytes / 4 * 3;
}

static void slow(struct fm_socket *s)
{
    if (s->state != FM_SOCKET_OPEN)
        return;
    char peer[FM_PEER_TEXT_MAX];
    fm_diag(FM_DEBUG, "slow_disconnect", "peer=%s owed_bytes=%zu", fm_peer_text(&s->peer, peer), s->out->bytes + s->edge_owes);
    fm_stat_add(&s->worker->stats.slow_disconnects, 1);
    s->discard = true;
    fm_socket_close(s, CLOSE_SLOW, "too slow: more is owed than outbox_bytes allows");
}

static void limit_check(struct fm_socket *s)
{
    if (s->out && s->out->bytes + s->edge_owes > s->worker->config.outbox_bytes)
        slow(s);
}

/* Something of what is owed can't be kept: what is behind it must not be sent either. */
static void drop_and_close(struct fm_socket *s)
{
    s->discard = true;
    fm_socket_close(s, CLOSE_SLOW, "out of memory");
}

static void push(struct fm_socket *s, struct fm_frames *f, uint32_t first, uint32_t end)
{
    if (!s->out)
        s->out = fm_outbox_get(&s->worker->spare);
    size_t before = s->out ? s->out->bytes : 0;
    if (!s->out || fm_outbox_push(s->out, f, first, end)) {
        drop_and_close(s);
        return;
    }
    fm_stat_add(&s->worker->stats.outbox_bytes, s->out->bytes - before);
    if (s->worker->draining_inbox && !fm_edge_busy(s))
        touch(s); /* whether it can take this is seen when it is flushed */
    else
        limit_check(s);
}

/* A source counts by what it holds and by the frames that it has given, which are never many; so its limits are shares of the outbox's. */
void fm_socket_send_source(struct fm_socket *s, struct fm_source *source)
{
    uint32_t share = s->worker->config.outbox_bytes / 8;
    if (source->cost > share)
        source->cost = share;
    if (s->state != FM_SOCKET_OPEN) {
        source->free(source);
        return;
    }
    if (!s->out)
        s->out = fm_outbox_get(&s->worker->spare);
    if (!s->out)
        source->free(source);
    if (!s->out || fm_outbox_push_source(s->out, source)) {
        drop_and_close(s);
        return;
    }
    fm_stat_add(&s->worker->stats.outbox_bytes, source->cost);
    if (s->worker->draining_inbox && !fm_edge_busy(s)) {
        touch(s);
        return;
    }
    limit_check(s);
    if (s->state == FM_SOCKET_OPEN)
        fm_edge_want_write(s);
}

/* Writes what is larger than one write may be, frame by frame boundary; what is left when the socket takes no more goes into the outbox. */
static void write_large(struct fm_socket *s, struct fm_frames *f, uint32_t first, uint32_t end)
{
    while (first < end && s->state == FM_SOCKET_OPEN) {
        if (fm_edge_busy(s)) {
            push(s, f, first, end);
            return;
        }
        uint32_t next = first + 1;
        while (next < end && fm_piece_bytes(f, first, next + 1).n <= FM_WRITE_MAX)
            next++;
        write_now(s, fm_piece_bytes(f, first, next));
        first = next;
    }
}

void fm_socket_give(struct fm_socket *s, struct fm_frames *f, uint32_t first, uint32_t end)
{
    if (s->state != FM_SOCKET_OPEN || first == end)
        return;
    if (s->out || s->corked || s->worker->combine || fm_edge_busy(s)) {
        push(s, f, first, end);
        return;
    }
    struct fm_slice frames = fm_piece_bytes(f, first, end);
    if (frames.n <= FM_WRITE_MAX)
        write_now(s, frames);
    else
        write_large(s, f, first, end);
}

/* One write of what waits. */
static void pump(struct fm_socket *s)
{
    size_t share = s->worker->config.outbox_bytes / 4, before = s->out->bytes;
    enum fm_err err = fm_outbox_fill(s->out, share < FM_WRITE_MAX ? share : FM_WRITE_MAX);
    fm_stat_add(&s->worker->stats.outbox_bytes, s->out->bytes - before); /* may be less: counters wrap like the difference */
    if (err) {
        drop_and_close(s);
        return;
    }
    struct fm_slice frames = fm_outbox_peek(s->out, s->worker->scratch, FM_WRITE_MAX);
    if (frames.n)
        write_now(s, frames);
    before = s->out->bytes;
    fm_outbox_drop(s->out, frames.n);
    fm_stat_sub(&s->worker->stats.outbox_bytes, before - s->out->bytes);
    if (fm_outbox_empty(s->out))
        fm_socket_out_drop(s);
}

static void pump_all(struct fm_socket *s)
{
    while (s->out && !s->discard && !fm_edge_busy(s))
        pump(s);
}

bool fm_socket_fits(struct fm_socket *s, size_t bytes, bool one)
{
    if (s->state != FM_SOCKET_OPEN)
        return true; /* it is given nothing any more */
    if (fm_socket_owes(s) + bytes <= fm_socket_room(s))
        return true;
    pump_all(s);
    size_t owed = fm_socket_owes(s);
    return owed + bytes <= fm_socket_room(s) || (owed == 0 && one) || s->state != FM_SOCKET_OPEN;
}

void fm_socket_flush(struct fm_socket *s)
{
    s->touched = s->corked = false;
    if (s->state == FM_SOCKET_GONE) {
        fm_socket_release(s);
        return;
    }
    pump_all(s);
    limit_check(s);
}

void fm_socket_send(struct fm_socket *s, bool binary, struct fm_slice payload)
{
    struct fm_worker *w = s->worker;
    if (w->single && w->single->refs > 1)
        fm_frames_unref(&w->single); /* another socket still owes the last one */
    if (w->single)
        fm_frames_reset(w->single);
    else
        w->single = fm_frames_new();
    if (w->single)
        fm_frames_add(w->single, binary ? FM_WS_BINARY : FM_WS_TEXT, payload, NULL);
    if (!w->single || w->single->bytes.failed) {
        fm_socket_close(s, CLOSE_SLOW, "out of memory");
        return;
    }
    fm_socket_give(s, w->single, 0, w->single->n);
    if (w->single->bytes.cap > FM_WRITE_MAX)
        fm_frames_unref(&w->single);
}

void fm_socket_send_frames(struct fm_socket *s, struct fm_frames *f)
{
    if (f->bytes.failed)
        fm_socket_close(s, CLOSE_SLOW, "out of memory");
    else
        fm_socket_give(s, f, 0, f->n);
    fm_frames_unref(&f);
}

/* ---- called by the edge ---- */

static void bad_message(struct fm_socket *s, unsigned code, const char *reason)
{
    fm_stat_add(&s->worker->stats.bad_messages, 1);
    fm_socket_close(s, code, reason);
}

static void message(struct fm_socket *s, bool binary, uint8_t *bytes, size_t n)
{
    struct fm_worker *w = s->worker;
    fm_stat_add(&fm_stats_of(w, s->probe)->messages_in, 1);
    /* libwebsockets has looked, but where it would see compressed text. */
    if ((w->config.deflate || !s->wsi) && !binary && !fm_utf8_valid(fm_slice_of(bytes, n))) {
        bad_message(s, CLOSE_TEXT, "the text is not UTF-8");
        return;
    }
    s->proto->recv(s, binary, bytes, n);
}

static void packed_message(struct fm_socket *s, bool binary, struct fm_slice packed)
{
    struct fm_worker *w = s->worker;
    s->packed = false;
    fm_stat_add(&w->stats.inflated, 1);
    switch (fm_unpack(&w->unpacker, packed, w->config.message_max, &w->unpacked)) {
    case FM_OK:
        message(s, binary, w->unpacked.p, w->unpacked.n);
        break;
    case FM_E_TOO_LARGE:
        fm_socket_limit_reached(s, FM_LIMIT_SIZE);
        bad_message(s, CLOSE_TOO_LARGE, "the message is larger than message_max");
        break;
    case FM_E_SYNTAX:
        bad_message(s, CLOSE_PROTOCOL, "the message is not compressed as its frame says");
        break;
    default:
        fm_socket_close(s, CLOSE_SLOW, "out of memory");
    }
    if (w->unpacked.cap > FM_READ_MAX)
        fm_buf_fini(&w->unpacked);
}

void fm_socket_received(struct fm_socket *s, uint8_t *bytes, size_t n, size_t to_come, bool binary, bool packed, bool last)
{
    if (s->state != FM_SOCKET_OPEN)
        return;
    s->heard_tick = s->worker->sockets_wheel.tick;
    s->packed = s->packed || packed;
    size_t room = s->worker->config.message_max - s->in.n;
    /* Refused as soon as it is announced: what can't be taken is not waited for. */
    if (n > room || to_come > room - n) {
        fm_stat_add(&s->worker->stats.bad_messages, 1);
        fm_socket_limit_reached(s, FM_LIMIT_SIZE);
        fm_buf_fini(&s->in);
        fm_socket_close(s, CLOSE_TOO_LARGE, "the message is larger than message_max");
        return;
    }
    bool whole = last && to_come == 0;
    if (whole && s->in.n == 0) {
        if (s->packed)
            packed_message(s, binary, fm_slice_of(bytes, n));
        else
            message(s, binary, bytes, n);
        return;
    }
    fm_buf_put(&s->in, bytes, n);
    if (s->in.failed) {
        fm_buf_fini(&s->in);
        fm_socket_close(s, CLOSE_SLOW, "out of memory");
        return;
    }
    if (!whole)
        return;
    struct fm_buf all = s->in;
    s->in = (struct fm_buf){0};
    if (s->packed)
        packed_message(s, binary, fm_buf_view(&all));
    else
        message(s, binary, all.p, all.n);
    fm_buf_fini(&all);
}

struct fm_close fm_socket_writable(struct fm_socket *s)
{
    if (s->state != FM_SOCKET_OPEN && s->state != FM_SOCKET_CLOSING)
        return (struct fm_close){0};
    if (!fm_edge_busy(s))
        owe(s, 0);
    if (s->out && !s->discard && !fm_edge_busy(s))
        pump(s);
    if (s->lagging && fm_socket_owes(s) <= s->worker->config.outbox_bytes / 4)
        fm_subs_catch_up(s);
    if ((s->out && !s->discard) || (s->lagging && s->state == FM_SOCKET_OPEN)) {
        fm_edge_want_write(s);
        return (struct fm_close){0};
    }
    if (s->state != FM_SOCKET_CLOSING || s->doomed || s->close_said || fm_edge_busy(s))
        return (struct fm_close){0};
    s->close_said = true;
    return (struct fm_close){s->close_code, fm_slice_str(s->close_reason)};
}

/* ---- time ---- */

/* The protocol's messages are what the idle limit asks for; but a client that only answers or sends WebSocket pings is there, too, and the
 * kernel knows when it last sent anything. */
static uint64_t silent_ms(const struct fm_socket *s)
{
    uint64_t silent = (s->worker->sockets_wheel.tick - s->heard_tick) * FM_TICK_MS;
    struct tcp_info info;
    socklen_t n = sizeof info;
    if (silent >= s->worker->config.idle_ms && getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 &&
        info.tcpi_last_data_recv < silent)
        silent = info.tcpi_last_data_recv;
    return silent;
}

void fm_socket_watch(struct fm_socket *s)
{
    struct fm_worker *w = s->worker;
    /* The probe has a pace of its own; what is carried over HTTP ends when nobody polls, or takes what is sent. */
    uint64_t silent = s->probe || s->carrier ? 0 : silent_ms(s);
    if (silent >= w->config.idle_ms) {
        fm_stat_add(&w->stats.idle_disconnects, 1);
        fm_socket_close(s, CLOSE_IDLE, "nothing was sent for the time of idle_ms");
        return;
    }
    uint64_t due = fm_socket_token_due_ms(s), idle = w->config.idle_ms - silent;
    if (due == 0)
        fm_socket_token_over(s);
    else
        fm_wheel_set(&w->sockets_wheel, &s->timer, due < idle ? due : idle);
}

void fm_socket_timeout(void *worker, struct fm_timer *t)
{
    (void)worker;
    struct fm_socket *s = (struct fm_socket *)((char *)t - offsetof(struct fm_socket, timer));
    if (s->state == FM_SOCKET_OPEN)
        fm_socket_watch(s);
    else
        fm_edge_kill(s);
}
