/* The floor: what a broadcast to n WebSocket subscribers costs at the least, with one epoll loop and one send() a subscriber from one
 * shared buffer. It speaks just enough Phoenix V2 for fanmesh-load to drive it unmodified, so a node and the floor are compared by the same
 * program in one run. It remembers nothing and promises nothing.
 *
 * With faults switched on it is a bad broker on purpose: fanmesh-load must find every one of them. */
#include "wire.h"
#include "ws_server.h"

#include "../broker/table.h"

#include <arpa/inet.h>
#include <uthash.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, MESSAGE_MAX = 1024 * 1024, EVENTS = 512, ORIGIN = 15 /* "F" */ };

struct conn {
    int fd;
    bool open;          /* upgraded */
    bool waits;         /* EPOLLOUT is armed */
    struct fm_buf in;   /* an incomplete request or frame */
    struct fm_buf out;  /* what the kernel did not take */
    struct fm_buf held; /* fault swap: sent behind the next message */
    struct room *room;
    size_t slot;
};

struct room { /* a topic's subscribers; lives as long as the process */
    struct conn **at;
    size_t n, cap;
    uint64_t seq; /* of the latest message */
    UT_hash_handle hh;
    size_t name_n;
    char name[];
};

static struct {
    int epoll, listener;
    struct room *rooms;
    struct fm_buf frame, answer; /* scratch */
    uint8_t *read;               /* READ_BYTES + MESSAGE_MAX */
    uint64_t seq, deliveries, messages, posts;
    struct conn listening;
} g;

/* field, option, what happens to every n-th */
#define FAULTS(X) \
    X(drop, "drop-every", "delivery: lost") \
    X(twice, "double-every", "delivery: given twice") \
    X(swap, "swap-every", "delivery: given behind the next one") \
    X(gap, "gap-every", "delivery: lost, and a gap says so") \
    X(kick, "kick-every", "message: a connection is cut") \
    X(swallow, "swallow-every", "message: acknowledged and given to nobody") \
    X(copy, "copy-every", "message: given again under another id, of another origin") \
    X(refuse, "refuse-every", "publish by HTTP: refused") \
    X(forget, "forget-every", "publish by HTTP: carried out, and never answered") \
    X(unconfirmed, "unconfirmed-every", "publish by HTTP: carried out, and answered with not_replicated")
#define FLAGS(X) \
    X(lie, "lie", "says that clients missed nothing when they did, and declares one message too few in gaps") \
    X(mute, "mute", "answers no heartbeats") \
    X(plain, "plain", "no ids in broadcasts, for clients that don't ask for a cursor")

static struct { /* every n-th; 0: never */
#define X(name, option, prose) uint64_t name;
    FAULTS(X)
#undef X
#define X(name, option, prose) bool name;
    FLAGS(X)
#undef X
    bool any; /* that concerns single deliveries */
} fault;

static volatile sig_atomic_t stopped;

/* ---- sending ---- */

static void arm(struct conn *c, bool out)
{
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(g.epoll, EPOLL_CTL_MOD, c->fd, &e);
    c->waits = out;
}

/* A connection that breaks here is closed by its next event, never in the middle of a broadcast. */
static void send_to(struct conn *c, struct fm_slice bytes)
{
    ssize_t n = 0;
    if (!c->waits) {
        n = send(c->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n == (ssize_t)bytes.n || (n < 0 && errno != EAGAIN))
            return;
        arm(c, true);
    }
    size_t done = n > 0 ? (size_t)n : 0;
    fm_buf_put(&c->out, bytes.p + done, bytes.n - done);
}

static bool flush_out(struct conn *c)
{
    ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN;
    c->out.n -= (size_t)n;
    memmove(c->out.p, c->out.p + n, c->out.n);
    if (c->out.n == 0)
        arm(c, false);
    return true;
}

static void send_text(struct conn *c, struct fm_buf *text)
{
    g.frame.n = 0;
    fm_ws_server_frame_put(&g.frame, FM_WS_TEXT, fm_buf_view(text));
    send_to(c, fm_buf_view(&g.frame));
}

static bool nth(uint64_t n, uint64_t every)
{
    return every && n % every == 0;
}

static void send_gap(struct conn *c)
{
    struct fm_buf text = {0}, frame = {0};
    fm_buf_str(&text, "[\"j\",null,");
    fm_buf_json(&text, fm_slice_of(c->room->name, c->room->name_n));
    fm_buf_printf(&text, ",\"gap\",{\"reason\":\"lost\",\"origin\":null,\"from\":null,\"to\":null,\"cursor\":[\"F-%llu\"]}]",
                  (unsigned long long)(c->room->seq - fault.lie));
    fm_ws_server_frame_put(&frame, FM_WS_TEXT, fm_buf_view(&text));
    send_to(c, fm_buf_view(&frame));
    fm_buf_fini(&text);
    fm_buf_fini(&frame);
}

/* The bad broker: loses, doubles and swaps single deliveries. */
static void send_faulty(struct conn *c, struct fm_slice bytes)
{
    uint64_t n = ++g.deliveries;
    if (nth(n, fault.drop))
        return;
    if (nth(n, fault.gap)) {
        send_gap(c);
        return;
    }
    if (nth(n, fault.swap) && c->held.n == 0) {
        fm_buf_slice(&c->held, bytes);
        return;
    }
    send_to(c, bytes);
    if (nth(n, fault.twice))
        send_to(c, bytes);
    if (c->held.n) {
        send_to(c, fm_buf_view(&c->held));
        c->held.n = 0;
    }
}

static void give(struct room *room, const char *origin, struct fm_slice event, struct fm_slice payload)
{
    g.answer.n = 0;
    if (fault.plain)
        fm_buf_str(&g.answer, "[null,null,");
    else
        fm_buf_printf(&g.answer, "[null,\"%s-%llu\",", origin, (unsigned long long)room->seq);
    fm_buf_json(&g.answer, fm_slice_of(room->name, room->name_n));
    fm_buf_u8(&g.answer, ',');
    fm_buf_json(&g.answer, event);
    fm_buf_u8(&g.answer, ',');
    fm_buf_slice(&g.answer, payload);
    fm_buf_u8(&g.answer, ']');
    g.frame.n = 0;
    fm_ws_server_frame_put(&g.frame, FM_WS_TEXT, fm_buf_view(&g.answer));
    struct fm_slice bytes = fm_buf_view(&g.frame);
    for (size_t i = 0; !fault.any && i < room->n; i++)
        send_to(room->at[i], bytes);
    for (size_t i = 0; fault.any && i < room->n; i++)
        send_faulty(room->at[i], bytes);
}

static void broadcast(struct room *room, struct fm_slice event, struct fm_slice payload)
{
    room->seq = ++g.seq;
    g.messages++;
    if (!nth(g.messages, fault.swallow))
        give(room, "F", event, payload);
    if (nth(g.messages, fault.copy))
        give(room, "G", event, payload);
    if (nth(room->seq, fault.kick) && room->n)
        shutdown(room->at[room->seq % room->n]->fd, SHUT_RDWR);
}

/* ---- rooms ---- */

static struct room *room_of(struct fm_slice name)
{
    struct room *room;
    HASH_FIND(hh, g.rooms, name.p, name.n, room);
    if (room)
        return room;
    room = calloc(1, sizeof *room + name.n);
    if (!room)
        return NULL;
    memcpy(room->name, name.p, name.n);
    room->name_n = name.n;
    HASH_ADD(hh, g.rooms, name, name.n, room);
    return room;
}

static void room_leave(struct conn *c)
{
    struct room *room = c->room;
    if (!room)
        return;
    room->at[c->slot] = room->at[--room->n];
    room->at[c->slot]->slot = c->slot;
    c->room = NULL;
}

static bool room_join(struct conn *c, struct room *room)
{
    room_leave(c);
    if (room->n == room->cap) {
        size_t cap = room->cap ? room->cap * 2 : 64;
        struct conn **at = realloc(room->at, cap * sizeof *at);
        if (!at)
            return false;
        room->at = at;
        room->cap = cap;
    }
    c->room = room;
    c->slot = room->n;
    room->at[room->n++] = c;
    return true;
}

/* ---- Phoenix, the little of it that is needed ---- */

static void put_ref(struct fm_buf *b, struct fm_slice ref)
{
    if (ref.p)
        fm_buf_json(b, ref);
    else
        fm_buf_str(b, "null");
    fm_buf_u8(b, ',');
}

/* [join_ref,ref,topic,"phx_reply",{"status":"ok","response":RESPONSE}] */
static void reply(struct conn *c, const struct fm_wire *w, const char *response)
{
    g.answer.n = 0;
    fm_buf_u8(&g.answer, '[');
    put_ref(&g.answer, w->join_ref);
    put_ref(&g.answer, w->ref);
    fm_buf_json(&g.answer, w->topic);
    fm_buf_printf(&g.answer, ",\"phx_reply\",{\"status\":\"ok\",\"response\":%s}]", response);
    send_text(c, &g.answer);
}

/* It can resume only who missed nothing, and says so unless told to lie. */
static bool join(struct conn *c, const struct fm_wire *w)
{
    struct room *room = room_of(w->topic);
    struct fm_vector cursor = {0};
    char response[128];
    if (!room || !room_join(c, room))
        return false;
    bool first = fm_wire_cursor(fm_wire_member(w->payload, "cursor"), &cursor) || cursor.n == 0;
    bool recovered = first || fault.lie || fm_vector_get(&cursor, ORIGIN) == room->seq;
    fm_vector_fini(&cursor);
    snprintf(response, sizeof response, "{\"cursor\":[\"F-%llu\"],\"recovered\":%s,\"replayed\":0}", (unsigned long long)room->seq,
             recovered ? "true" : "false");
    reply(c, w, response);
    return true;
}

static bool message(struct conn *c, struct fm_slice text)
{
    struct fm_wire w;
    if (fm_wire_read(text, &w))
        return false;
    if (fm_slice_eq(w.event, FM_LIT("phx_join")))
        return join(c, &w);
    if (fm_slice_eq(w.event, FM_LIT("heartbeat"))) {
        if (!fault.mute)
            reply(c, &w, "{}");
        return true;
    }
    if (!c->room)
        return false;
    broadcast(c->room, w.event, w.payload);
    char response[64];
    snprintf(response, sizeof response, "{\"id\":\"F-%llu\"}", (unsigned long long)c->room->seq);
    reply(c, &w, response);
    return true;
}

/* ---- HTTP ---- */

/* false: the connection is over. */
static bool publish(struct conn *c, struct fm_slice body)
{
    uint64_t n = ++g.posts;
    struct fm_slice topic = fm_wire_text(body, "topic"), event = fm_wire_text(body, "event"), payload = fm_wire_member(body, "payload");
    struct room *room = topic.n && event.n && payload.n ? room_of(topic) : NULL;
    const char *status = room ? "200 OK" : "400 Bad Request", *error = ",\"error\":{\"code\":\"not_replicated\"}";
    char json[96] = "{\"error\":{\"code\":\"invalid\"}}";
    if (room && nth(n, fault.refuse)) {
        status = "503 Service Unavailable";
    } else if (room) {
        broadcast(room, event, payload);
        bool unconfirmed = nth(n, fault.unconfirmed);
        snprintf(json, sizeof json, "{\"id\":\"F-%llu\"%s}", (unsigned long long)room->seq, unconfirmed ? error : "");
        status = unconfirmed ? "504 Gateway Timeout" : status;
    }
    if (nth(n, fault.forget))
        return false;
    g.answer.n = 0;
    fm_buf_printf(&g.answer, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(json), json);
    send_to(c, fm_buf_view(&g.answer));
    return true;
}

/* One request, or one upgrade, at in[0..n); *used is 0 where it is incomplete. */
static bool request(struct conn *c, struct fm_slice in, size_t *used)
{
    struct fm_request rq;
    enum fm_err err = fm_request_read(in, &rq);
    *used = 0;
    if (err)
        return err == FM_E_SHORT;
    if (in.n - rq.header_bytes < rq.body_bytes)
        return true;
    *used = rq.header_bytes + rq.body_bytes;
    if (rq.ws_key.n == 0) {
        return publish(c, fm_slice_of(in.p + rq.header_bytes, rq.body_bytes));
    }
    g.answer.n = 0;
    if (fm_ws_accept_put(&g.answer, rq.ws_key))
        return false;
    c->open = true;
    send_to(c, fm_buf_view(&g.answer));
    return true;
}

/* ---- connections ---- */

static void conn_close(struct conn *c)
{
    room_leave(c);
    close(c->fd);
    fm_buf_fini(&c->in);
    fm_buf_fini(&c->out);
    fm_buf_fini(&c->held);
    free(c);
}

/* One frame at in[0..n), likewise. */
static bool frame(struct conn *c, uint8_t *in, size_t n, size_t *used)
{
    struct fm_ws_client_frame f;
    enum fm_err err = fm_ws_client_frame_read(in, n, MESSAGE_MAX, &f, used);
    if (err == FM_E_SHORT)
        *used = 0;
    if (err)
        return err == FM_E_SHORT;
    return f.kind == FM_WS_TEXT ? message(c, f.payload) : f.kind != FM_WS_CLOSE;
}

/* false: the connection is over. */
static bool conn_read(struct conn *c)
{
    size_t n = c->in.n, at = 0, used = 1;
    if (n)
        memcpy(g.read, c->in.p, n);
    ssize_t got = recv(c->fd, g.read + n, READ_BYTES, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    n += (size_t)got;
    while (at < n && used) {
        bool good = c->open ? frame(c, g.read + at, n - at, &used) : request(c, fm_slice_of(g.read + at, n - at), &used);
        if (!good)
            return false;
        at += used;
    }
    c->in.n = 0;
    if (n - at > MESSAGE_MAX)
        return false;
    fm_buf_put(&c->in, g.read + at, n - at);
    return !c->in.failed;
}

static void accept_all(void)
{
    int fd, one = 1;
    while ((fd = accept4(g.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (!c || epoll_ctl(g.epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
            close(fd);
            free(c);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->fd = fd;
    }
}

static void run(void)
{
    struct epoll_event events[EVENTS];
    while (!stopped) {
        int n = epoll_wait(g.epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c == &g.listening) {
                accept_all();
                continue;
            }
            bool good = true;
            if (events[i].events & EPOLLOUT)
                good = flush_out(c);
            if (good && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
                good = conn_read(c);
            if (!good)
                conn_close(c);
        }
    }
}

/* ---- start ---- */

static void on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

static bool start(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &g.listening};
    struct sigaction sa = {.sa_handler = on_signal};
    struct rlimit files;
    int one = 1;
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    g.read = malloc(READ_BYTES + MESSAGE_MAX);
    g.epoll = epoll_create1(EPOLL_CLOEXEC);
    g.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(g.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return g.read && g.epoll >= 0 && bind(g.listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(g.listener, 4096) == 0 &&
           epoll_ctl(g.epoll, EPOLL_CTL_ADD, g.listener, &e) == 0;
}

static int usage(void)
{
    fputs(
        "floor --port PORT [FAULT...]\n  the cheapest broadcaster there is, on 127.0.0.1, for cursor channels; with faults, a bad one. Of "
        "every N-th:\n",
        stderr);
#define X(name, option, prose) fprintf(stderr, "  --%s N  %s\n", option, prose);
    FAULTS(X)
#undef X
#define X(name, option, prose) fprintf(stderr, "  --%s  %s\n", option, prose);
    FLAGS(X)
#undef X
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, NULL, 0},
#define X(name, option, prose) {option, 1, NULL, 0},
                                            FAULTS(X)
#undef X
#define X(name, option, prose) {option, 0, NULL, 0},
                                                FLAGS(X)
#undef X
                                                    {NULL, 0, NULL, 0}};
    uint64_t port = 0, *const numbers[] = {&port,
#define X(name, option, prose) &fault.name,
                                           FAULTS(X)
#undef X
                       };
    bool *const flags[] = {
#define X(name, option, prose) &fault.name,
        FLAGS(X)
#undef X
    };
    enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
    int which;
    for (int o; (o = getopt_long(argc, argv, "", options, &which)) != -1;) {
        if (o == '?')
            return usage();
        if (which >= NUMBERS)
            *flags[which - NUMBERS] = true;
        else if (fm_slice_u64(fm_slice_str(optarg), which == 0 ? 65535 : UINT32_MAX, numbers[which]) || *numbers[which] == 0)
            return usage();
    }
    fault.any = fault.drop || fault.twice || fault.swap || fault.gap;
    if (port == 0 || optind < argc)
        return usage();
    if (!start((uint16_t)port)) {
        fprintf(stderr, "floor: can't listen on 127.0.0.1:%u: %s\n", (unsigned)port, strerror(errno));
        return 1;
    }
    printf("floor listens on 127.0.0.1:%u\n", (unsigned)port);
    fflush(stdout);
    run();
    return 0;
}
