#include "ws_dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, TIMEOUT_MS_DEFAULT = 10000 };

struct fm_ws_conn {
    int fd;
    uint32_t timeout_ms;
    struct fm_ws_in in;
    struct fm_buf received; /* bytes before `taken` are done with */
    size_t taken;
    struct fm_buf parts;
    struct fm_buf out;
};

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* deadline < 0: none. */
static enum fm_err wait_for(int fd, short events, int64_t deadline)
{
    struct pollfd p = {fd, events, 0};
    int64_t left = deadline < 0 ? -1 : deadline - now_ms();
    if (deadline >= 0 && left < 0)
        left = 0;
    int n = poll(&p, 1, (int)left);
    if (n < 0)
        return FM_E_IO;
    return n ? FM_OK : FM_E_TIMEOUT;
}

static uint32_t draw_mask(void)
{
    uint32_t mask = 0;
    /* A predictable mask only weakens a defence of proxies in between; it is no reason not to send. */
    ssize_t n = getrandom(&mask, sizeof mask, 0);
    (void)n;
    return mask;
}

/* ---- connecting ---- */

static enum fm_err connect_to(const struct addrinfo *ai, int64_t deadline, int *out)
{
    int err = 0, one = 1;
    socklen_t len = sizeof err;
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return FM_E_IO;
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        if (errno != EINPROGRESS)
            goto fail;
        enum fm_err waited = wait_for(fd, POLLOUT, deadline);
        if (waited == FM_E_TIMEOUT) {
            close(fd);
            return waited;
        }
        if (waited || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
            goto fail;
        if (err) {
            errno = err;
            goto fail;
        }
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *out = fd;
    return FM_OK;
fail:
    err = errno;
    close(fd);
    errno = err;
    return FM_E_IO;
}

static enum fm_err connect_any(const struct fm_url *url, int64_t deadline, int *fd)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list;
    if (getaddrinfo(url->host, url->port, &hints, &list) != 0)
        return FM_E_ADDRESS;
    enum fm_err err = FM_E_ADDRESS;
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        err = connect_to(ai, deadline, fd);
        if (!err || err == FM_E_TIMEOUT)
            break;
    }
    int saved = errno;
    freeaddrinfo(list);
    errno = saved;
    return err;
}

/* ---- bytes ---- */

static enum fm_err flush_out(struct fm_ws_conn *c)
{
    int64_t deadline = now_ms() + c->timeout_ms;
    size_t done = 0;
    enum fm_err err = c->out.failed ? FM_E_NOMEM : FM_OK;
    while (!err && done < c->out.n) {
        ssize_t n = send(c->fd, c->out.p + done, c->out.n - done, MSG_NOSIGNAL);
        if (n >= 0)
            done += (size_t)n;
        else if (errno == EAGAIN)
            err = wait_for(c->fd, POLLOUT, deadline);
        else if (errno != EINTR)
            err = errno == EPIPE || errno == ECONNRESET ? FM_E_CLOSED : FM_E_IO;
    }
    c->out.n = 0;
    return err;
}

/* Puts more received bytes behind what is there; waits until there are some. */
static enum fm_err read_more(struct fm_ws_conn *c, int64_t deadline)
{
    if (c->taken) {
        memmove(c->received.p, c->received.p + c->taken, c->received.n - c->taken);
        c->received.n -= c->taken;
        c->taken = 0;
    }
    if (!fm_buf_reserve(&c->received, READ_BYTES))
        return FM_E_NOMEM;
    for (;;) {
        ssize_t n = recv(c->fd, c->received.p + c->received.n, READ_BYTES, 0);
        if (n > 0) {
            c->received.n += (size_t)n;
            return FM_OK;
        }
        if (n == 0 || errno == ECONNRESET)
            return FM_E_CLOSED;
        if (errno != EAGAIN)
            return FM_E_IO;
        enum fm_err err = wait_for(c->fd, POLLIN, deadline);
        if (err)
            return err;
    }
}

/* ---- the connection ---- */

static enum fm_err upgrade(struct fm_ws_conn *c, const struct fm_url *url, struct fm_ws_dial *dial, int64_t deadline)
{
    uint8_t random[FM_WS_KEY_BYTES];
    struct fm_ws_key key;
    struct fm_ws_answer answer;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return FM_E_IO;
    fm_ws_key_make(&key, random);
    fm_ws_request_put(&c->out, url, &key, fm_slice_str(dial->headers));
    enum fm_err err = flush_out(c);
    if (err)
        return err;
    for (;;) {
        err = fm_ws_answer_read(fm_buf_view(&c->received), &key, &answer);
        dial->status = answer.status;
        if (err != FM_E_SHORT)
            break;
        if ((err = read_more(c, deadline)))
            return err;
    }
    c->taken = answer.used;
    return err;
}

enum fm_err fm_ws_open(struct fm_ws_conn **conn, struct fm_ws_dial *dial)
{
    struct fm_url url;
    int fd;
    dial->status = 0;
    *conn = NULL;
    enum fm_err err = fm_url_parse(fm_slice_str(dial->url), "ws", &url);
    if (err)
        return err;
    uint32_t timeout_ms = dial->timeout_ms ? dial->timeout_ms : TIMEOUT_MS_DEFAULT;
    int64_t deadline = now_ms() + timeout_ms;
    if ((err = connect_any(&url, deadline, &fd)))
        return err;
    struct fm_ws_conn *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return FM_E_NOMEM;
    }
    *c = (struct fm_ws_conn){.fd = fd, .timeout_ms = timeout_ms, .in = {.message_max = dial->message_max}};
    if ((err = upgrade(c, &url, dial, deadline))) {
        int saved = errno;
        fm_ws_close(&c, 0, NULL);
        errno = saved;
        return err;
    }
    *conn = c;
    return FM_OK;
}

enum fm_err fm_ws_send(struct fm_ws_conn *c, enum fm_ws_kind kind, struct fm_slice payload)
{
    if (c->in.closed)
        return FM_E_CLOSED;
    fm_ws_frame_put(&c->out, kind, payload, draw_mask());
    return flush_out(c);
}

enum fm_err fm_ws_recv(struct fm_ws_conn *c, int timeout_ms, struct fm_ws_event *event)
{
    int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    for (;;) {
        struct fm_rd r = fm_rd_of(fm_buf_view(&c->received));
        (void)fm_rd_bytes(&r, c->taken);
        enum fm_err err = fm_ws_next(&c->in, &r, &c->parts, event);
        c->taken = (size_t)(r.p - c->received.p);
        if (err == FM_E_SHORT)
            err = read_more(c, deadline);
        else if (!err && event->kind == FM_WS_PING)
            err = fm_ws_send(c, FM_WS_PONG, event->payload);
        else if (!err && event->kind == FM_WS_PONG)
            continue;
        else
            return err;
        if (err)
            return err;
    }
}

int fm_ws_fd(const struct fm_ws_conn *c)
{
    return c->fd;
}

void fm_ws_close(struct fm_ws_conn **conn, unsigned code, const char *reason)
{
    struct fm_ws_conn *c = *conn;
    if (!c)
        return;
    if (code && !c->out.failed) {
        fm_ws_close_put(&c->out, code, fm_slice_str(reason), draw_mask());
        ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)n; /* a peer that takes no more learns it from the end of the connection */
    }
    close(c->fd);
    fm_buf_fini(&c->received);
    fm_buf_fini(&c->parts);
    fm_buf_fini(&c->out);
    free(c);
    *conn = NULL;
}
