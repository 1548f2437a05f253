/* The probe's client of one worker. The worker gets one end of a loopback connection, and this end is a Phoenix client like any other. A
 * push carries the time at which it was sent, so an answer needs no memory of the question; and since one is sent each second whatever
 * became of those before, one that an overload cost is not yet deafness. */
#include "probe_core.h"

#include "../json/json_slice.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

enum { READ_BYTES = 4096, DEPTH_MAX = 8 };

/* Begins with a zero byte: fm_topic_of_probe. The socket's worker is the only one that ever sees it. */
#define TOPIC "\"\\u0000probe\""

void fm_probe_client_init(struct fm_probe_client *c, struct fm_probe *probe, unsigned worker)
{
    *c = (struct fm_probe_client){
        .probe = probe, .worker = probe->config.workers[worker], .line = &probe->config.board->at[worker], .fd = -1, .listener = -1};
}

static void listener_close(struct fm_probe_client *c)
{
    ev_io_stop(c->probe->loop, &c->io);
    close(c->listener);
    c->listener = -1;
}

void fm_probe_client_drop(struct fm_probe_client *c)
{
    if (c->listener >= 0)
        listener_close(c);
    if (c->fd < 0)
        return;
    ev_io_stop(c->probe->loop, &c->io);
    close(c->fd);
    c->fd = -1;
    c->in = (struct fm_ws_in){0};
    fm_buf_fini(&c->received);
    fm_buf_fini(&c->parts);
    fm_buf_fini(&c->out);
}

/* ---- sending ---- */

/* What is sent is far smaller than a socket's buffer: if that takes no more, the worker has not read for a long time. */
static bool out_send(struct fm_probe_client *c)
{
    ssize_t n = c->out.failed ? -1 : send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    bool whole = n >= 0 && (size_t)n == c->out.n;
    fm_buf_fini(&c->out);
    return whole;
}

static bool text_send(struct fm_probe_client *c, const char *text)
{
    fm_ws_frame_put(&c->out, FM_WS_TEXT, fm_slice_str(text), 0x5eed);
    return out_send(c);
}

static bool push(struct fm_probe_client *c)
{
    char text[96];
    uint64_t now_us = fm_mono_us();
    fm_probe_sent(c->line, now_us / 1000);
    c->again_ms = now_us / 1000 + c->probe->config.every_ms;
    snprintf(text, sizeof text, "[\"1\",null," TOPIC ",\"probe\",{\"at\":%llu}]", (unsigned long long)now_us);
    return text_send(c, text);
}

static bool request_send(struct fm_probe_client *c)
{
    struct fm_url url = {.authority = "fanmesh"};
    uint8_t random[FM_WS_KEY_BYTES];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return false;
    fm_ws_key_make(&c->key, random);
    snprintf(url.target, sizeof url.target, "%s/websocket?vsn=2.0.0", c->probe->config.mount);
    fm_ws_request_put(&c->out, &url, &c->key, fm_slice_of(NULL, 0));
    return out_send(c);
}

/* ---- receiving ---- */

/* Each returns false where the connection is of no more use. */

static bool on_reply(struct fm_probe_client *c, const struct fm_json *payload)
{
    struct fm_json status;
    bool ok = fm_json_get(payload, FM_LIT("status"), &status) && fm_json_is(&status, FM_LIT("ok"));
    if (c->why == FM_PROBE_JOIN) {
        c->why = FM_PROBE_LOST;
        return ok && push(c);
    }
    if (!ok)
        c->why = FM_PROBE_REFUSED;
    return true;
}

static bool on_text(struct fm_probe_client *c, struct fm_slice text)
{
    struct fm_json root, part[5], v;
    uint64_t at, now_us = fm_mono_us();
    size_t n = 0;
    if (fm_json_parse(text, DEPTH_MAX, &root, NULL) != FM_OK || fm_json_count(&root) != 5)
        return false;
    for (struct fm_json_walk w = fm_json_walk_of(&root); n < 5 && fm_json_next(&w, NULL, &part[n]); n++)
        ;
    if (fm_json_is(&part[3], FM_LIT("phx_reply")))
        return on_reply(c, &part[4]);
    if (!fm_json_is(&part[3], FM_LIT("probe")) || !fm_json_get(&part[4], FM_LIT("at"), &v) || fm_json_u64(&v, now_us, &at) != FM_OK)
        return false; /* phx_close, phx_error */
    c->why = FM_PROBE_LOST;
    fm_probe_came(c->line, now_us / 1000, now_us - at);
    return true;
}

static void received_cut(struct fm_probe_client *c, size_t n)
{
    c->received.n -= n;
    if (c->received.n)
        memmove(c->received.p, c->received.p + n, c->received.n);
}

static bool on_answer(struct fm_probe_client *c)
{
    struct fm_ws_answer answer;
    enum fm_err err = fm_ws_answer_read(fm_buf_view(&c->received), &c->key, &answer);
    if (err)
        return err == FM_E_SHORT;
    received_cut(c, answer.used);
    c->why = FM_PROBE_JOIN;
    return text_send(c, "[\"1\",\"1\"," TOPIC ",\"phx_join\",{}]");
}

static bool on_frames(struct fm_probe_client *c)
{
    struct fm_rd r = fm_rd_of(fm_buf_view(&c->received));
    struct fm_ws_event event;
    enum fm_err err;
    while ((err = fm_ws_next(&c->in, &r, &c->parts, &event)) == FM_OK) {
        if (event.kind == FM_WS_CLOSE || (event.kind == FM_WS_TEXT && !on_text(c, event.payload)))
            return false;
    }
    received_cut(c, (size_t)(r.p - c->received.p));
    return err == FM_E_SHORT;
}

static bool receive(struct fm_probe_client *c)
{
    uint8_t bytes[READ_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    fm_buf_put(&c->received, bytes, (size_t)n);
    if (c->received.failed || (c->why == FM_PROBE_OPEN && !on_answer(c)))
        return false;
    return c->why == FM_PROBE_OPEN || c->received.n == 0 || on_frames(c);
}

static void on_ready(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop, (void)events;
    struct fm_probe_client *c = io->data;
    if (!receive(c))
        fm_probe_client_drop(c); /* a new connection follows when it is due */
}

/* ---- connecting ---- */

/* Both ends of a loopback connection: a listener that is there for a moment. Another process may be quicker to connect to it, so the end
 * that is accepted must be ours. */
static bool pair_accept(int listener, int client, int *server)
{
    struct sockaddr_in own, peer;
    socklen_t own_n = sizeof own, peer_n = sizeof peer;
    *server = accept4(listener, (struct sockaddr *)&peer, &peer_n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (*server < 0)
        return false;
    if (getsockname(client, (struct sockaddr *)&own, &own_n) == 0 && own.sin_port == peer.sin_port &&
        own.sin_addr.s_addr == peer.sin_addr.s_addr)
        return true;
    close(*server);
    return false;
}

static void pair_try(struct fm_probe_client *c)
{
    int server;
    if (!pair_accept(c->listener, c->fd, &server))
        return;
    listener_close(c);
    c->why = FM_PROBE_OPEN;
    ev_io_init(&c->io, on_ready, c->fd, EV_READ);
    ev_io_start(c->probe->loop, &c->io);
    fm_worker_probe(c->worker, server);
    if (!request_send(c))
        fm_probe_client_drop(c);
}

static void on_connection(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop, (void)events;
    pair_try(io->data);
}

/* Never waits: this thread judges others by how late they are. False: the system refuses something. */
static bool pair_begin(struct fm_probe_client *c)
{
    const int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof at;
    c->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return c->listener >= 0 && c->fd >= 0 && setsockopt(c->listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
           setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 && bind(c->listener, (struct sockaddr *)&at, sizeof at) == 0 &&
           listen(c->listener, 1) == 0 && getsockname(c->listener, (struct sockaddr *)&at, &n) == 0 &&
           (connect(c->fd, (struct sockaddr *)&at, sizeof at) == 0 || errno == EINPROGRESS);
}

static void connect_to_worker(struct fm_probe_client *c, uint64_t now_ms)
{
    fm_probe_sent(c->line, now_ms);
    c->again_ms = now_ms + c->probe->config.every_ms;
    c->why = FM_PROBE_SYSTEM;
    ev_io_init(&c->io, on_connection, -1, EV_READ);
    c->io.data = c;
    if (!pair_begin(c)) {
        fm_probe_client_drop(c);
        return;
    }
    ev_io_set(&c->io, c->listener, EV_READ);
    ev_io_start(c->probe->loop, &c->io);
    pair_try(c); /* nearly always it is there at once */
}

void fm_probe_client_tick(struct fm_probe_client *c, uint64_t now_ms)
{
    if (now_ms >= c->again_ms) {
        if (c->fd < 0)
            connect_to_worker(c, now_ms);
        else if ((c->why == FM_PROBE_LOST || c->why == FM_PROBE_REFUSED) && !push(c))
            fm_probe_client_drop(c);
    }
    if (!fm_probe_late(c->line, c->why, now_ms, c->probe->config.timeout_ms))
        return;
    fm_probe_client_drop(c); /* it may be only this connection */
    c->again_ms = now_ms;    /* however long probe_ms is */
}
