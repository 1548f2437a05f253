#include "http_post.h"
#include "http_answer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { READ_BYTES = 16 * 1024, RETRY_NS = 100 * 1000000 };

enum state { DOWN, CONNECTING, IDLE, BUSY };

struct fm_poster {
    struct fm_handler handler; /* first */
    struct fm_poster_config config;
    enum state state;
    struct fm_conn conn;
    uint64_t retry_ns;
    uint64_t since_ns; /* CONNECTING, BUSY: when that began */
    struct fm_buf out, in;
};

static void poster_down(struct fm_poster *p)
{
    bool owed = p->state == BUSY;
    fm_conn_close(&p->conn);
    p->state = DOWN;
    p->retry_ns = fm_mono_ns() + RETRY_NS;
    p->in.n = p->out.n = 0;
    if (owed)
        p->config.answered(p->config.ctx, p, 0, (struct fm_slice){0});
}

/* ---- answers ---- */

/* false: the connection is over. */
static bool answers_take(struct fm_poster *p)
{
    struct fm_http_answer a;
    enum fm_err err = fm_http_answer_read(fm_buf_view(&p->in), &a);
    if (err)
        return err == FM_E_SHORT;
    if (!a.sized)
        return false; /* no server under test answers a POST so */
    if (p->in.n - a.headers < a.body)
        return true;
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
    ssize_t n = fm_conn_read(&p->conn, p->in.p + p->in.n, READ_BYTES);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    p->in.n += (size_t)n;
    return answers_take(p);
}

/* ---- requests ---- */

static bool poster_write(struct fm_poster *p)
{
    ssize_t n = p->out.n ? fm_conn_write(&p->conn, fm_buf_view(&p->out)) : 0;
    if (n < 0 && errno != EAGAIN)
        return false;
    size_t done = n > 0 ? (size_t)n : 0;
    p->out.n -= done;
    if (p->out.n)
        memmove(p->out.p, p->out.p + done, p->out.n);
    fm_loop_change(p->config.loop, p->conn.fd, EPOLLIN | (p->out.n ? EPOLLOUT : 0), &p->handler);
    return true;
}

static void poster_ready(struct fm_handler *h, uint32_t events)
{
    struct fm_poster *p = (struct fm_poster *)h;
    bool good = true;
    if (p->state == DOWN)
        return;
    if (p->state == CONNECTING) {
        uint32_t wanted = EPOLLIN;
        int error;
        enum fm_err err = fm_conn_shake(&p->conn, p->config.tls, &wanted, &error);
        good = !err || err == FM_E_SHORT;
        if (!err)
            p->state = IDLE;
        if (good)
            fm_loop_change(p->config.loop, p->conn.fd, wanted, &p->handler);
        events = good ? 0 : events;
    } else if (events & EPOLLOUT) {
        good = poster_write(p);
    }
    while (good && p->state != DOWN && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        good = poster_read(p);
        if (!fm_conn_pending(&p->conn))
            break;
    }
    if (!good && p->state != DOWN)
        poster_down(p);
}

void fm_poster_post(struct fm_poster *p, const char *target, struct fm_slice body)
{
    assert(p->state == IDLE && p->out.n == 0);
    fm_buf_printf(&p->out, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n", target,
                  p->config.node->url.authority, body.n, p->config.headers ? p->config.headers : "");
    fm_buf_slice(&p->out, body);
    p->state = BUSY;
    p->since_ns = fm_mono_ns();
    ssize_t n = fm_conn_write(&p->conn, fm_buf_view(&p->out));
    size_t done = n > 0 ? (size_t)n : 0;
    p->out.n -= done;
    if (p->out.n == 0)
        return;
    memmove(p->out.p, p->out.p + done, p->out.n);
    fm_loop_change(p->config.loop, p->conn.fd, EPOLLIN | EPOLLOUT, &p->handler); /* a broken connection shows itself there */
}

/* ---- life ---- */

enum fm_err fm_poster_new(struct fm_poster **poster, const struct fm_poster_config *config)
{
    struct fm_poster *p = calloc(1, sizeof *p);
    *poster = p;
    if (!p)
        return FM_E_NOMEM;
    *p = (struct fm_poster){.handler = {poster_ready}, .config = *config, .state = DOWN, .conn = {.fd = -1}};
    return FM_OK;
}

void fm_poster_free(struct fm_poster **poster)
{
    struct fm_poster *p = *poster;
    if (!p)
        return;
    fm_conn_close(&p->conn);
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
    p->state = CONNECTING;
    p->since_ns = now_ns;
    if (fm_conn_open(&p->conn, p->config.node, 0, p->config.tls) || fm_loop_add(p->config.loop, p->conn.fd, EPOLLOUT, &p->handler))
        poster_down(p);
}

bool fm_poster_idle(const struct fm_poster *p)
{
    return p->state == IDLE;
}
