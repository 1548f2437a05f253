/* libwebsockets, and nothing else that knows of it. What was read in its source and measured (versions 4.1 and 4.3) decides the form:
 *
 * - Every connection comes in by adoption with a request that front.c wrote for it, so its HTTP server never sees what a client wrote.
 * - Frames are built elsewhere and leave from this thread at any time: one send, no copy, no wait for a writable event. What a socket does
 * not take goes through LWS_WRITE_RAW, which copies it, and leaves by itself; until then nothing may be written (fm_lws_busy).
 * - Its timers are a sorted list, so no connection may have one for long: the retry policy is all zero and every timer that adoption sets
 * is taken off again. The worker's wheel does all timing.
 * - Told to close by lws_close_reason it closes the connection behind the frame at once. What a client has sent meanwhile would then make
 * the kernel take the frame back, and the client would not know why it was closed: the frame is ours, what still comes is dropped unread
 * (it would answer a ping, and close where it can't), and the client ends the connection.
 */
#include "edge.h"
#include "../http/ws_feed.h"

#include "../../broker/diag.h"

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <libwebsockets.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RX_BUFFER = 512,        /* of a connection; larger messages come in pieces, and a read takes so much */
    READS_A_TURN = 16,      /* of a connection, then others have their turn */
    DROP_BUFFER = 16 << 10, /* a read of what a client sends that has been told that it is closed */
    SERVICE_BUFFER = 4096,  /* of the context: reads, and the answer to an upgrade */
    TX_PACKET = 1 << 20,    /* the most that one send is given */
    LEAVERS_A_LOOK = 64,    /* then what the hub has for clients comes first */
    REQUEST_MAX = 1024,     /* of the request that is written for libwebsockets */
    HEADERS_MAX = 1024,     /* what it may keep of that */
};

struct fm_edge {
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct fm_socket *adopting; /* between the call of adopt and its first callback */
    bool all_read;              /* nothing has come of the one that is adopted that libwebsockets has yet to be given */
    int leaving;                /* an epoll that is told which clients send no more, and */
    struct ev_io leavers;       /* ... of that */
    const char *subprotocol;
    void *loops[1];
    struct {
        const struct lws *wsi;
        size_t bytes;
        unsigned turn, reads;
    } reading; /* the connection that was last read from, what came of it since it was last looked at, and how often that was in this turn
                */
};

static int add_subprotocol(const struct fm_edge *edge, struct lws_process_html_args *args)
{
    struct fm_slice name = FM_LIT("Sec-WebSocket-Protocol: ");
    size_t n = strlen(edge->subprotocol);
    if (n == 0)
        return 0;
    if (args->max_len < 0 || name.n + n + 4 > (size_t)args->max_len)
        return -1;
    memcpy(args->p, name.p, name.n);
    memcpy(args->p + name.n, edge->subprotocol, n);
    memcpy(args->p + name.n + n, "\r\n", 2);
    args->p += name.n + n + 2;
    return 0;
}

/* ---- closing ---- */

struct farewell { /* a connection that has had its close frame */
    struct ev_io io;
    struct lws *wsi;
};

static void on_rest(struct ev_loop *loop, struct ev_io *io, int events)
{
    (void)loop, (void)events;
    struct farewell *f = io->data;
    uint8_t dropped[DROP_BUFFER];
    ssize_t n = recv(io->fd, dropped, sizeof dropped, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        fm_lws_kill(f->wsi); /* *f is gone */
}

/* What still comes is read, and dropped, until the client has ended it; if it doesn't the worker's wheel does. Without memory libwebsockets
 * reads it. */
static void rest_drop(struct lws *wsi, int fd)
{
    const struct fm_edge *edge = lws_context_user(lws_get_context(wsi));
    struct farewell *f = calloc(1, sizeof *f);
    if (!f)
        return;
    f->wsi = wsi;
    lws_rx_flow_control(wsi, 0);
    lws_set_opaque_user_data(wsi, f);
    ev_io_init(&f->io, on_rest, fd, EV_READ);
    f->io.data = f;
    ev_io_start(edge->loops[0], &f->io);
}

static void rest_forget(struct lws *wsi)
{
    const struct fm_edge *edge = lws_context_user(lws_get_context(wsi));
    struct farewell *f = lws_get_opaque_user_data(wsi);
    if (!f)
        return;
    ev_io_stop(edge->loops[0], &f->io);
    lws_set_opaque_user_data(wsi, NULL);
    free(f);
}

static int close_say(struct lws *wsi, const struct fm_close *close)
{
    uint8_t frame[FM_WS_CLOSE_FRAME_MAX];
    int fd = lws_get_socket_fd(wsi);
    switch (fm_lws_write(wsi, fd, fm_slice_of(frame, fm_ws_close_frame(frame, close->code, close->reason)))) {
    case FM_EDGE_SENT:
        (void)shutdown(fd, SHUT_WR);
        rest_drop(wsi, fd);
        return 0;
    case FM_EDGE_PARTIAL: /* the rest leaves by itself, and the client's answer ends it */
        return 0;
    case FM_EDGE_DEAD:
        break;
    }
    return -1;
}

/* ---- those who leave ---- */

/* A client that has left is read by libwebsockets like any other, and closed at once, which takes as long as ten deliveries. Thousands may
 * leave in the same instant, and what others push meanwhile would be read behind them. So they are found before the loop's turn begins to
 * read, and end as those do that the node itself ends: so many a turn (worker.c). Without memory for that, libwebsockets closes it. */
static void leaving_watch(struct lws *wsi, int fd, int operation)
{
    const struct fm_edge *edge = lws_context_user(lws_get_context(wsi));
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = lws_wsi_user(wsi)};
    (void)epoll_ctl(edge->leaving, operation, fd, &e);
}

/* To close the descriptor is not enough where a child of the process, not yet at its exec, has it too. */
static void leaving_forget(struct lws *wsi)
{
    const struct fm_edge *edge = lws_context_user(lws_get_context(wsi));
    (void)epoll_ctl(edge->leaving, EPOLL_CTL_DEL, lws_get_socket_fd(wsi), NULL);
}

static void on_leavers(struct ev_loop *loop, struct ev_io *io, int events)
{
    struct epoll_event left[LEAVERS_A_LOOK];
    int n = epoll_wait(io->fd, left, LEAVERS_A_LOOK, 0);
    for (int i = 0; i < n; i++)
        fm_socket_left(left[i].data.ptr);
    if (n == LEAVERS_A_LOOK)
        ev_feed_event(loop, io, events);
}

static enum fm_err leaving_init(struct fm_edge *edge)
{
    edge->leaving = epoll_create1(EPOLL_CLOEXEC);
    if (edge->leaving < 0)
        return FM_E_IO;
    ev_io_init(&edge->leavers, on_leavers, edge->leaving, EV_READ);
    ev_set_priority(&edge->leavers, 1); /* behind the bell, before all that is read */
    ev_io_start(edge->loops[0], &edge->leavers);
    return FM_OK;
}

static void leaving_fini(struct fm_edge *edge)
{
    ev_io_stop(edge->loops[0], &edge->leavers);
    close(edge->leaving);
}

static bool begins_packed(struct lws *wsi)
{
    return lws_is_first_fragment(wsi) && (lws_get_reserved_bits(wsi) & FM_WS_PACKED);
}

/* A read takes 512 bytes, and the rest would come in the loop's next turns, between which other things are done: what a client wrote at
 * once would be posted, and given out, in pieces. So where a read may have been full, and the kernel has more, libwebsockets is made to
 * read again before anything else happens. A read that was full has brought messages of half its size, or one that was begun before. */
static void read_on(struct fm_edge *edge, struct lws *wsi, size_t n)
{
    unsigned turn = ev_iteration(edge->loops[0]);
    if (edge->reading.wsi != wsi || edge->reading.turn != turn) {
        edge->reading.wsi = wsi;
        edge->reading.turn = turn;
        edge->reading.bytes = edge->reading.reads = 0;
    }
    edge->reading.bytes += n;
    if (edge->reading.bytes < RX_BUFFER / 2 || edge->reading.reads == READS_A_TURN)
        return;
    int fd = lws_get_socket_fd(wsi), more = 0;
    if (ioctl(fd, FIONREAD, &more) || more == 0)
        return;
    edge->reading.bytes = 0;
    edge->reading.reads++;
    ev_feed_fd_event(edge->loops[0], fd, EV_READ); /* libev calls what was fed last first */
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct fm_edge *edge;
    struct fm_close close;
    switch (reason) {
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
        edge = lws_context_user(lws_get_context(wsi));
        lws_set_wsi_user(wsi, edge->adopting);
        edge->adopting = NULL;
        return 0;
    case LWS_CALLBACK_ADD_HEADERS:
        return add_subprotocol(lws_context_user(lws_get_context(wsi)), in);
    case LWS_CALLBACK_ESTABLISHED:
        lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
        fm_socket_opened(user, wsi, lws_get_socket_fd(wsi));
        edge = lws_context_user(lws_get_context(wsi));
        if (edge->all_read)
            leaving_watch(wsi, lws_get_socket_fd(wsi), EPOLL_CTL_ADD);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        fm_socket_received(user, in, len, lws_remaining_packet_payload(wsi), lws_frame_is_binary(wsi), begins_packed(wsi),
                           lws_is_final_fragment(wsi));
        read_on(lws_context_user(lws_get_context(wsi)), wsi, len);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        close = fm_socket_writable(user);
        return close.code ? close_say(wsi, &close) : 0;
    case LWS_CALLBACK_CLOSED:
        leaving_forget(wsi);
        /* fall through */
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
    case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
        rest_forget(wsi); /* before its descriptor is closed */
        if (user)
            fm_socket_closing(user);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        rest_forget(wsi);
        if (user) {
            fm_socket_gone(user);
            lws_set_wsi_user(wsi, NULL);
        }
        return 0;
    case LWS_CALLBACK_HTTP: /* it never is HTTP alone */
        return -1;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "fanmesh", .callback = on_event, .rx_buffer_size = RX_BUFFER, .tx_packet_size = TX_PACKET},
    {.name = NULL},
};

/* permessage-deflate is ours (deflate.h): libwebsockets only has to let frames with RSV1 pass and to repeat the terms, which it does
 * parameter by parameter from the request that we write. Its own extension mixes up the two no_context_takeover, does not know
 * server_max_window_bits, compresses for each connection, and keeps an inflater for each. */
static const struct lws_ext_options deflate_params[] = {{"server_no_context_takeover", EXTARG_NONE},
                                                        {"client_no_context_takeover", EXTARG_NONE},
                                                        {"server_max_window_bits=8", EXTARG_NONE},
                                                        {"server_max_window_bits=9", EXTARG_NONE},
                                                        {"server_max_window_bits=10", EXTARG_NONE},
                                                        {"server_max_window_bits=11", EXTARG_NONE},
                                                        {"server_max_window_bits=12", EXTARG_NONE},
                                                        {"server_max_window_bits=13", EXTARG_NONE},
                                                        {"server_max_window_bits=14", EXTARG_NONE},
                                                        {"server_max_window_bits=15", EXTARG_NONE},
                                                        {NULL, EXTARG_NONE}};

/* 0 is the answer to everything: a frame that comes or goes is left as it is. */
static int on_extension(struct lws_context *context, const struct lws_extension *ext, struct lws *wsi,
                        enum lws_extension_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)context, (void)ext, (void)wsi, (void)user, (void)len;
    if (reason == LWS_EXT_CB_CONSTRUCT)
        *(const struct lws_ext_options **)in = deflate_params;
    return 0;
}

static const struct lws_extension extensions[] = {{"permessage-deflate", on_extension, NULL}, {NULL, NULL, NULL}};

/* What libwebsockets says while a context is made goes to our log. Later it is muted: it formats every line into one static buffer of the
 * process, and workers would write to it at once; what goes wrong with a connection is noticed and told by us. */
static void on_log(int level, const char *line)
{
    (void)level;
    char quoted[512];
    fm_diag(FM_WARN, "libwebsockets", "line=%s then=\"the connection that it concerns ends, if any; the node goes on\"",
            fm_diag_quote(quoted, sizeof quoted, line, strcspn(line, "\n")));
}

enum fm_err fm_edge_new(struct fm_edge **out, struct ev_loop *loop, bool deflate)
{
    static const lws_retry_bo_t no_pings = {0};
    struct fm_edge *edge = calloc(1, sizeof *edge);
    if (!edge)
        return FM_E_NOMEM;
    edge->loops[0] = loop;
    if (leaving_init(edge))
        goto fail;
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | (deflate ? 0 : LWS_SERVER_OPTION_VALIDATE_UTF8),
        .extensions = deflate ? extensions : NULL,
        .foreign_loops = edge->loops,
        .user = edge,
        .vhost_name = "fanmesh",
        .alpn = "http/1.1",
        .retry_and_idle_policy = &no_pings,
        .pt_serv_buf_size = SERVICE_BUFFER,
        .max_http_header_data2 = HEADERS_MAX,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
    };
    lws_set_log_level(LLL_ERR, on_log);
    edge->context = lws_create_context(&info);
    if (edge->context)
        edge->vhost = lws_create_vhost(edge->context, &info);
    lws_set_log_level(0, on_log);
    if (!edge->context)
        goto fail_after_leaving;
    if (!edge->vhost)
        goto fail_after_context;
    *out = edge;
    return FM_OK;
fail_after_context:
    lws_context_destroy(edge->context);
fail_after_leaving:
    leaving_fini(edge);
fail:
    free(edge);
    return FM_E_IO;
}

void fm_edge_free(struct fm_edge **edge)
{
    if (!*edge)
        return;
    lws_context_destroy((*edge)->context);
    leaving_fini(*edge);
    free(*edge);
    *edge = NULL;
}

bool fm_edge_adopt(struct fm_edge *edge, int fd, struct fm_socket *socket, const struct fm_edge_upgrade *up)
{
    struct fm_buf request = {0};
    /* As short as may be: its parser takes 140 instructions for each byte, a third of what opening a connection takes. */
    fm_buf_str(&request, "GET / HTTP/1.1\r\nHost:a\r\nUpgrade:websocket\r\nConnection:Upgrade\r\nSec-WebSocket-Version:13\r\n"
                         "Sec-WebSocket-Key:");
    fm_buf_slice(&request, up->key);
    if (up->deflate->window) {
        fm_buf_str(&request, "\r\nSec-WebSocket-Extensions:");
        fm_deflate_answer(&request, up->deflate);
    }
    fm_buf_str(&request, "\r\n\r\n");
    assert(request.failed || request.n <= REQUEST_MAX);
    fm_buf_slice(&request, up->early);
    edge->adopting = socket;
    edge->all_read = up->early.n == 0;
    edge->subprotocol = up->subprotocol;
    struct lws *wsi = NULL;
    if (!request.failed)
        wsi = lws_adopt_socket_vhost_readbuf(edge->vhost, fd, (const char *)request.p, request.n);
    else
        close(fd);
    fm_buf_fini(&request);
    bool untouched = edge->adopting != NULL; /* it failed before the connection knew of its socket */
    edge->adopting = NULL;
    edge->all_read = false;
    if (untouched)
        fm_socket_gone(socket);
    if (wsi && up->early.n)
        lws_callback_on_writable(wsi); /* an event that makes libwebsockets look at what it was given already */
    return wsi != NULL;
}

/* The frames go to the kernel directly: on its way to the same send libwebsockets touches several cache lines of each connection, and in a
 * large fan-out every one of them has to come from memory. What is left over is libwebsockets'. */
enum fm_edge_write fm_lws_write(struct lws *wsi, int fd, struct fm_slice frames)
{
    assert(!lws_partial_buffered(wsi));
    ssize_t n = send(fd, frames.p, frames.n, MSG_NOSIGNAL);
    if (n == (ssize_t)frames.n)
        return FM_EDGE_SENT;
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return FM_EDGE_DEAD;
    size_t sent = n < 0 ? 0 : (size_t)n;
    /* With RAW the bytes are not written to, whatever the type of the parameter says. */
    if (lws_write(wsi, (unsigned char *)frames.p + sent, frames.n - sent, LWS_WRITE_RAW) < 0)
        return FM_EDGE_DEAD;
    return lws_partial_buffered(wsi) ? FM_EDGE_PARTIAL : FM_EDGE_SENT;
}

bool fm_lws_busy(struct lws *wsi)
{
    return lws_partial_buffered(wsi);
}

void fm_lws_want_write(struct lws *wsi)
{
    lws_callback_on_writable(wsi);
}

bool fm_lws_ended(struct lws *wsi, int fd)
{
    uint8_t byte;
    ssize_t n = recv(fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) {
        leaving_watch(wsi, fd, EPOLL_CTL_MOD); /* one more turn, in which that is read */
        return false;
    }
    /* Also where it has still to take something: libwebsockets would wait for that, and find the end again in each turn of the loop. */
    lws_rx_flow_control(wsi, 0);
    return true;
}

int fm_lws_fd(struct lws *wsi)
{
    return lws_get_socket_fd(wsi);
}

void fm_lws_kill(struct lws *wsi)
{
    if (lws_partial_buffered(wsi))
        (void)shutdown(lws_get_socket_fd(wsi), SHUT_RDWR); /* else it would wait some seconds more for what will not leave */
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}
