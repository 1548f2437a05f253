#include "http_post.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 16 * 1024, ANSWER_MAX = 1024 * 1024, RETRY_NS = 100 * 1000000 };

enum state { DOWN, CONNECTING, IDLE, BUSY };

struct fm_poster {
    struct fm_handler handler; /* first */
    struct fm_poster_config config;
    enum state state;
    int fd;
    uint64_t retry_ns;
    uint64_t since_ns; /* CONNECTING, BUSY: when that began */
    struct fm_buf out, in;
};

static void poster_down(struct fm_poster *p)
{
    bool owed = p->state == BUSY;
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    p->state = DOWN;
    p->retry_ns = fm_loop_now_ns() + RETRY_NS;
    p->in.n = p->out.n = 0;
    if (owed)
        p->config.answered(p->config.ctx, p, 0, (struct fm_slice){0});
}

/* ---- answers ---- */

struct answer {
    unsigned status;
    size_t headers, body;
    bool last; /* the server closes the connection after it */
};

static bool value_of(struct fm_slice line, const char *name, struct fm_slice *value)
{
    size_t n = strlen(name);
    if (line.n <= n || line.p[n] != ':' || strncasecmp((const char *)line.p, name, n) != 0)
        return false;
    size_t from = n + 1;
    while (from < line.n && line.p[from] == ' ')
        from++;
    *value = fm_slice_of(line.p + from, line.n - from);
    return true;
}

/* FM_E_SYNTAX also for bodies without Content-Length, which no node sends. */
static enum fm_err answer_read(struct fm_slice in, struct answer *a)
{
    const uint8_t *end = in.n ? memmem(in.p, in.n, "\r\n\r\n", 4) : NULL;
    struct fm_slice value;
    uint64_t number;
    bool sized = false;
    if (!end)
        return in.n > ANSWER_MAX ? FM_E_TOO_LARGE : FM_E_SHORT;
    a->headers = (size_t)(end - in.p) + 4;
    if (a->headers < 16 || !fm_slice_starts(in, FM_LIT("HTTP/1.1 ")) || fm_slice_u64(fm_slice_of(in.p + 9, 3), 999, &number))
        return FM_E_SYNTAX;
    a->status = (unsigned)number;
    a->last = false;
    for (const uint8_t *p = in.p; p < end;) {
        const uint8_t *eol = memmem(p, (size_t)(end + 2 - p), "\r\n", 2);
        struct fm_slice line = fm_slice_of(p, (size_t)(eol - p));
        if (value_of(line, "Content-Length", &value)) {
            if (fm_slice_u64(value, ANSWER_MAX, &number))
                return FM_E_SYNTAX;
            a->body = (size_t)number;
            sized = true;
        }
        if (value_of(line, "Connection", &value))
            a->last = value.n == 5 && strncasecmp((const char *)value.p, "close", 5) == 0;
        p = eol + 2;
    }
    if (!sized)
        return FM_E_SYNTAX;
    return in.n - a->headers < a->body ? FM_E_SHORT : FM_OK;
}

/* false: the connection is over. */
static bool answers_take(struct fm_poster *p)
{
    struct answer a = {0};
    enum fm_err err = answer_read(fm_buf_view(&p->in), &a);
    if (err)
        return err == FM_E_SHORT;
    if (p->state != BUSY || p->in.n > a.headers + a.body)
        return false; /* an answer that nobody asked for */
    p->state = IDLE;
    p->in.n = 0; /* the bytes stay until the next read */
    if (a.last)
        poster_down(p);
    p->config.answered(p->config.ctx, p, a.status, fm_slice_of(p->in.p + a.headers, a.body));
    return true;
}

static bool poster_read(struct fm_poster *p)
{
    if (!fm_buf_reserve(&p->in, READ_BYTES))
        return false;
    ssize_t n = recv(p->fd, p->in.p + p->in.n, READ_BYTES, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    p->in.n += (size_t)n;
    return answers_take(p);
}

/* ---- requests ---- */

static bool poster_write(struct fm_poster *p)
{
    ssize_t n = p->out.n ? send(p->fd, p->out.p, p->out.n, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN)
        return false;
    size_t done = n > 0 ? (size_t)n : 0;
    p->out.n -= done;
    if (p->out.n)
        memmove(p->out.p, p->out.p + done, p->out.n);
    fm_loop_change(p->config.loop, p->fd, EPOLLIN | (p->out.n ? EPOLLOUT : 0), &p->handler);
    return true;
}

static void poster_ready(struct fm_handler *h, uint32_t events)
{
    struct fm_poster *p = (struct fm_poster *)h;
    bool good = true;
    if (p->state == DOWN)
        return;
    if (p->state == CONNECTING) {
        int err = 0;
        socklen_t len = sizeof err;
        good = getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == 0;
        p->state = IDLE;
        if (good)
            fm_loop_change(p->config.loop, p->fd, EPOLLIN, &p->handler);
    } else if (events & EPOLLOUT) {
        good = poster_write(p);
    }
    if (good && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        good = poster_read(p);
    if (!good)
        poster_down(p);
}

void fm_poster_post(struct fm_poster *p, struct fm_slice body)
{
    assert(p->state == IDLE && p->out.n == 0);
    fm_buf_printf(&p->out, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n",
                  p->config.node->url.target, p->config.node->url.authority, body.n, p->config.headers ? p->config.headers : "");
    fm_buf_slice(&p->out, body);
    p->state = BUSY;
    p->since_ns = fm_loop_now_ns();
    ssize_t n = send(p->fd, p->out.p, p->out.n, MSG_NOSIGNAL);
    size_t done = n > 0 ? (size_t)n : 0;
    p->out.n -= done;
    if (p->out.n == 0)
        return;
    memmove(p->out.p, p->out.p + done, p->out.n);
    fm_loop_change(p->config.loop, p->fd, EPOLLIN | EPOLLOUT, &p->handler); /* a broken connection shows itself there */
}

/* ---- life ---- */

enum fm_err fm_poster_new(struct fm_poster **poster, const struct fm_poster_config *config)
{
    struct fm_poster *p = calloc(1, sizeof *p);
    *poster = p;
    if (!p)
        return FM_E_NOMEM;
    *p = (struct fm_poster){.handler = {poster_ready}, .config = *config, .state = DOWN, .fd = -1};
    return FM_OK;
}

void fm_poster_free(struct fm_poster **poster)
{
    struct fm_poster *p = *poster;
    if (!p)
        return;
    if (p->fd >= 0)
        close(p->fd);
    fm_buf_fini(&p->in);
    fm_buf_fini(&p->out);
    free(p);
    *poster = NULL;
}

void fm_poster_tick(struct fm_poster *p, uint64_t now_ns)
{
    bool waits = p->state == CONNECTING || p->state == BUSY;
    if (waits && now_ns > p->since_ns && now_ns - p->since_ns > p->config.timeout_ms * 1000000ull)
        poster_down(p);
    if (p->state != DOWN || now_ns < p->retry_ns)
        return;
    p->fd = fm_node_connect(p->config.node, 0);
    p->state = CONNECTING;
    p->since_ns = now_ns;
    if (p->fd < 0 || fm_loop_add(p->config.loop, p->fd, EPOLLOUT, &p->handler))
        poster_down(p);
}

bool fm_poster_idle(const struct fm_poster *p)
{
    return p->state == IDLE;
}
