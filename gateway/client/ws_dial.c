#include "ws_dial.h"

#include "../../broker/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, TLS_READ_BYTES = 16 * 1024, TIMEOUT_MS_DEFAULT = 10000 };

struct fm_ws_conn {
    int fd;
    SSL *ssl; /* NULL: plaintext. It reads and writes memory, so that what it wants sent goes out like anything else (no SIGPIPE) */
    uint32_t timeout_ms;
    struct fm_ws_in in;
    struct fm_buf received; /* bytes before `taken` are done with */
    size_t taken;
    struct fm_buf parts;
    struct fm_buf out;
};

static int64_t now_ms(void)
{
    return (int64_t)fm_mono_ms();
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

static enum fm_err send_all(struct fm_ws_conn *c, const uint8_t *bytes, size_t n)
{
    int64_t deadline = now_ms() + c->timeout_ms;
    enum fm_err err = FM_OK;
    while (!err && n) {
        ssize_t done = send(c->fd, bytes, n, MSG_NOSIGNAL);
        if (done >= 0)
            bytes += done, n -= (size_t)done;
        else if (errno == EAGAIN)
            err = wait_for(c->fd, POLLOUT, deadline);
        else if (errno != EINTR)
            err = errno == EPIPE || errno == ECONNRESET ? FM_E_CLOSED : FM_E_IO;
    }
    return err;
}

/* Waits until there are some. */
static enum fm_err recv_some(struct fm_ws_conn *c, uint8_t *out, size_t max, size_t *n, int64_t deadline)
{
    for (;;) {
        ssize_t got = recv(c->fd, out, max, 0);
        if (got > 0) {
            *n = (size_t)got;
            return FM_OK;
        }
        if (got == 0 || errno == ECONNRESET)
            return FM_E_CLOSED;
        if (errno != EAGAIN)
            return FM_E_IO;
        enum fm_err err = wait_for(c->fd, POLLIN, deadline);
        if (err)
            return err;
    }
}

/* ---- TLS ---- */

/* What TLS has to say to the other side leaves. */
static enum fm_err tls_flush(struct fm_ws_conn *c)
{
    char *bytes;
    long n = BIO_get_mem_data(SSL_get_wbio(c->ssl), &bytes);
    enum fm_err err = n > 0 ? send_all(c, (const uint8_t *)bytes, (size_t)n) : FM_OK;
    (void)BIO_reset(SSL_get_wbio(c->ssl));
    return err;
}

/* After a call that wants to read. */
static enum fm_err tls_feed(struct fm_ws_conn *c, int64_t deadline)
{
    uint8_t bytes[TLS_READ_BYTES];
    size_t n;
    enum fm_err err = tls_flush(c);
    if (!err)
        err = recv_some(c, bytes, sizeof bytes, &n, deadline);
    if (!err && BIO_write(SSL_get_rbio(c->ssl), bytes, (int)n) != (int)n)
        err = FM_E_NOMEM;
    return err;
}

/* The certificate must be the host's; a host that is an address has one in its certificate, and is not sent as a name. */
static bool tls_expect(SSL *ssl, const char *host)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
        return true;
    ERR_clear_error();
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool tls_new(struct fm_ws_conn *c, const char *host)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    if (ctx && SSL_CTX_set_default_verify_paths(ctx) == 1) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        c->ssl = SSL_new(ctx);
    }
    SSL_CTX_free(ctx);
    if (!c->ssl || !in || !out) {
        BIO_free(in);
        BIO_free(out);
        return false;
    }
    SSL_set_bio(c->ssl, in, out);
    return tls_expect(c->ssl, host);
}

static enum fm_err tls_start(struct fm_ws_conn *c, const char *host, struct fm_ws_dial *dial, int64_t deadline)
{
    int done;
    if (!tls_new(c, host))
        return FM_E_NOMEM;
    while ((done = SSL_connect(c->ssl)) != 1) {
        if (SSL_get_error(c->ssl, done) != SSL_ERROR_WANT_READ) {
            long verdict = SSL_get_verify_result(c->ssl);
            const char *reason = ERR_reason_error_string(ERR_peek_last_error());
            dial->tls_why = verdict != X509_V_OK ? X509_verify_cert_error_string(verdict) : reason ? reason : "no TLS is spoken there";
            (void)tls_flush(c); /* the other side is told as well */
            return FM_E_TLS;
        }
        enum fm_err err = tls_feed(c, deadline);
        dial->tls_why = err == FM_E_TIMEOUT ? "it does not answer to TLS" : "the connection ended before TLS was agreed on";
        if (err)
            return err == FM_E_CLOSED || err == FM_E_TIMEOUT ? FM_E_TLS : err;
    }
    return tls_flush(c);
}

static enum fm_err tls_read(struct fm_ws_conn *c, uint8_t *out, size_t max, size_t *n, int64_t deadline)
{
    for (;;) {
        ERR_clear_error();
        int got = SSL_read(c->ssl, out, (int)max);
        if (got > 0) {
            *n = (size_t)got;
            return tls_flush(c);
        }
        if (SSL_get_error(c->ssl, got) != SSL_ERROR_WANT_READ)
            return FM_E_CLOSED;
        enum fm_err err = tls_feed(c, deadline);
        if (err)
            return err;
    }
}

/* ---- either ---- */

static enum fm_err flush_out(struct fm_ws_conn *c)
{
    enum fm_err err = c->out.failed ? FM_E_NOMEM : FM_OK;
    if (!err && !c->ssl)
        err = send_all(c, c->out.p, c->out.n);
    else if (!err && c->out.n) /* memory takes all of it at once */
        err = SSL_write(c->ssl, c->out.p, (int)c->out.n) == (int)c->out.n ? tls_flush(c) : FM_E_CLOSED;
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
    size_t n = 0;
    uint8_t *end = c->received.p + c->received.n;
    enum fm_err err = c->ssl ? tls_read(c, end, READ_BYTES, &n, deadline) : recv_some(c, end, READ_BYTES, &n, deadline);
    c->received.n += n;
    return err;
}

/* ---- the connection ---- */

/* The first line of what follows the head. */
static void said_keep(const struct fm_ws_conn *c, struct fm_ws_dial *dial)
{
    const uint8_t *end = c->received.p + c->received.n, *p = memmem(c->received.p, c->received.n, "\r\n\r\n", 4);
    if (!p)
        return;
    p += 4;
    size_t n = 0;
    while (n < FM_WS_SAID_MAX && p + n < end && p[n] != '\r' && p[n] != '\n')
        n++;
    memcpy(dial->said_text, p, n);
    dial->said = fm_slice_of(dial->said_text, n);
}

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
    if (err == FM_E_FORBIDDEN)
        said_keep(c, dial);
    c->taken = answer.used;
    return err;
}

enum fm_err fm_ws_url(const char *text, struct fm_url *url, bool *tls)
{
    *tls = strncasecmp(text, "wss:", 4) == 0;
    enum fm_err err = fm_url_parse(fm_slice_str(text), *tls ? "wss" : "ws", url);
    const char *after = strrchr(url->authority, ']');
    if (!err && *tls && !strchr(after ? after : url->authority, ':'))
        memcpy(url->port, "443", sizeof "443");
    return err;
}

enum fm_err fm_ws_open(struct fm_ws_conn **conn, struct fm_ws_dial *dial)
{
    struct fm_url url;
    int fd;
    bool tls;
    dial->status = 0;
    dial->tls_why = NULL;
    dial->said = (struct fm_slice){0};
    *conn = NULL;
    enum fm_err err = fm_ws_url(dial->url, &url, &tls);
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
    err = tls ? tls_start(c, url.host, dial, deadline) : FM_OK;
    if (!err)
        err = upgrade(c, &url, dial, deadline);
    if (err) {
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
        char *bytes = (char *)c->out.p;
        long n = (long)c->out.n;
        if (c->ssl) {
            (void)SSL_write(c->ssl, c->out.p, (int)c->out.n);
            (void)SSL_shutdown(c->ssl);
            n = BIO_get_mem_data(SSL_get_wbio(c->ssl), &bytes);
        }
        ssize_t sent = send(c->fd, bytes, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent; /* a peer that takes no more learns it from the end of the connection */
    }
    close(c->fd);
    SSL_free(c->ssl);
    fm_buf_fini(&c->received);
    fm_buf_fini(&c->parts);
    fm_buf_fini(&c->out);
    free(c);
    *conn = NULL;
}
