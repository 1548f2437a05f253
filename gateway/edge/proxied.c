/* Connections that come through a proxy: whose they are. What is believed of whom: docs/deploy.md. */
#include "proxy_protocol.h"

#include "front.h"
#include "../../broker/diag.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

enum { WARN_EVERY_MS = 10000, TLS_FIRST = 0x16 /* of a ClientHello */ };

static const char *listed_in(const struct fm_worker *w)
{
    return w->config.internal ? "api_proxy_protocol_from" : "proxy_protocol_from";
}

/* Counted, and told now and then. */
static void note(struct fm_conn *c, const char *what)
{
    struct fm_worker *w = c->worker;
    char peer[FM_PEER_TEXT_MAX];
    fm_stat_add(&w->stats.proxy_refused, 1);
    uint64_t now = fm_mono_ms();
    bool warn = w->proxy_warned_ms == 0 || now - w->proxy_warned_ms > WARN_EVERY_MS;
    if (warn)
        w->proxy_warned_ms = now;
    fm_diag(warn ? FM_WARN : FM_DEBUG, "proxy_header",
            "peer=%s why=\"%s\" then=\"the connection was refused; %s is to name exactly the addresses that send a PROXY protocol header\"",
            fm_peer_text(&c->peer, peer), what, listed_in(w));
}

bool fm_conn_proxy_stray(struct fm_conn *c, struct fm_slice in)
{
    if (c->proxied || !fm_proxy_begins(in))
        return false;
    note(c, "it came from an address that is not listed");
    return true;
}

static void refuse(struct fm_conn *c, const char *what)
{
    struct fm_buf text = {0};
    fm_buf_printf(&text, "this node takes a PROXY protocol header from your address (%s): %s", listed_in(c->worker), what);
    fm_buf_u8(&text, 0);
    note(c, what);
    if (c->in.p[0] != TLS_FIRST && !text.failed)
        fm_conn_refuse_raw(c, (const char *)text.p);
    fm_buf_fini(&text);
    fm_conn_close(c);
}

/* What was looked at is taken out of the socket only as far as it belongs to the header: behind it TLS may begin, which is OpenSSL's to
 * read. Taken it has to be, or the socket would go on telling that there is something to read. */
static bool take(struct fm_conn *c, size_t n)
{
    return recv(c->fd, c->worker->scratch, n, 0) == (ssize_t)n;
}

bool fm_conn_proxied(struct fm_conn *c)
{
    struct fm_proxy_head head;
    size_t had = c->in.n;
    assert(had < FM_PROXY_MAX);
    ssize_t n = recv(c->fd, c->worker->scratch, FM_PROXY_MAX - had, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n > 0)
        fm_buf_put(&c->in, c->worker->scratch, (size_t)n);
    if (n <= 0 || c->in.failed) {
        fm_conn_close(c);
        return false;
    }
    switch (fm_proxy_read(fm_buf_view(&c->in), &head)) {
    case FM_PROXY_BAD:
        refuse(c, head.what);
        return false;
    case FM_PROXY_MORE:
        if (!take(c, (size_t)n))
            fm_conn_close(c);
        return false;
    case FM_PROXY_WHOLE:
        break;
    }
    assert(head.n > had);
    if (!take(c, head.n - had)) {
        fm_conn_close(c);
        return false;
    }
    c->in.n = 0;
    c->proxying = false;
    if (head.has_client)
        c->peer = head.client;
    c->client = c->peer;
    return true;
}
