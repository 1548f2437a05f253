#include "node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct fm_tls {
    SSL_CTX *ctx;
    struct fm_tls_config config;
    struct fm_tls_stats stats;
    SSL_SESSION **sessions; /* one a node */
};

/* ---- addresses ---- */

enum fm_err fm_node_parse(struct fm_slice text, const char *scheme, struct fm_node *node)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list;
    char secure[8];
    *node = (struct fm_node){0};
    snprintf(secure, sizeof secure, "%ss", scheme);
    enum fm_err err = fm_url_parse(text, scheme, &node->url);
    if (err == FM_E_ADDRESS && !(err = fm_url_parse(text, secure, &node->url))) {
        node->tls = true;
        if (strcmp(node->url.host, node->url.authority) == 0)
            snprintf(node->url.port, sizeof node->url.port, "443");
    }
    if (err)
        return err;
    if (getaddrinfo(node->url.host, node->url.port, &hints, &list) != 0)
        return FM_E_ADDRESS;
    memcpy(&node->address, list->ai_addr, sizeof node->address);
    freeaddrinfo(list);
    return FM_OK;
}

/* ---- TLS ---- */

/* The session of this connection is kept for the next one to its node. */
static int session_new(SSL *ssl, SSL_SESSION *session)
{
    struct fm_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct fm_node *node = SSL_get_app_data(ssl);
    SSL_SESSION_free(tls->sessions[node->at]);
    tls->sessions[node->at] = session;
    return 1;
}

enum fm_err fm_tls_new(struct fm_tls **out, const struct fm_tls_config *config)
{
    struct fm_tls *t = calloc(1, sizeof *t);
    *out = t;
    if (!t)
        return FM_E_NOMEM;
    t->config = *config;
    t->sessions = calloc(config->nodes_n ? config->nodes_n : 1, sizeof(SSL_SESSION *));
    t->ctx = SSL_CTX_new(TLS_client_method());
    enum fm_err err = t->sessions && t->ctx ? FM_OK : FM_E_NOMEM;
    if (!err) {
        bool file = config->ca_file && *config->ca_file;
        SSL_CTX_set_app_data(t->ctx, t);
        SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_verify(t->ctx, config->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
        if (file ? !SSL_CTX_load_verify_file(t->ctx, config->ca_file) : !SSL_CTX_set_default_verify_paths(t->ctx))
            err = FM_E_INVALID;
        SSL_CTX_set_session_cache_mode(t->ctx, config->resume ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL : SSL_SESS_CACHE_OFF);
        if (config->resume)
            SSL_CTX_sess_set_new_cb(t->ctx, session_new);
    }
    if (err)
        fm_tls_free(out);
    return err;
}

void fm_tls_free(struct fm_tls **tls)
{
    struct fm_tls *t = *tls;
    if (!t)
        return;
    for (uint32_t i = 0; t->sessions && i < t->config.nodes_n; i++)
        SSL_SESSION_free(t->sessions[i]);
    free(t->sessions);
    SSL_CTX_free(t->ctx);
    free(t);
    *tls = NULL;
}

const struct fm_tls_stats *fm_tls_stats(const struct fm_tls *tls)
{
    return &tls->stats;
}

static enum fm_err tls_begin(struct fm_conn *c, const struct fm_node *node, struct fm_tls *tls)
{
    struct in_addr address;
    SSL *ssl = c->ssl = SSL_new(tls->ctx);
    if (!ssl || !SSL_set_fd(ssl, c->fd) || !SSL_set_app_data(ssl, (void *)node))
        return FM_E_NOMEM;
    SSL_set_connect_state(ssl);
    bool named = inet_pton(AF_INET, node->url.host, &address) != 1;
    bool set = named ? SSL_set_tlsext_host_name(ssl, node->url.host) && SSL_set1_host(ssl, node->url.host)
                     : X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), node->url.host);
    if (set && tls->config.resume && tls->sessions[node->at])
        set = SSL_set_session(ssl, tls->sessions[node->at]);
    return set ? FM_OK : FM_E_NOMEM;
}

static void why_note(struct fm_tls *tls, SSL *ssl)
{
    long verify = SSL_get_verify_result(ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    const char *text = verify != X509_V_OK && !tls->config.insecure ? X509_verify_cert_error_string(verify) : reason;
    snprintf(tls->stats.why, sizeof tls->stats.why, "%s", text ? text : "the server closed the connection");
}

static enum fm_err tls_shake(struct fm_conn *c, struct fm_tls *tls, uint32_t *events, int *error)
{
    ERR_clear_error();
    errno = 0;
    int n = SSL_do_handshake(c->ssl);
    if (n == 1) {
        tls->stats.handshakes++;
        tls->stats.resumed += SSL_session_reused(c->ssl);
        return FM_OK;
    }
    int what = SSL_get_error(c->ssl, n);
    *events = what == SSL_ERROR_WANT_WRITE ? EPOLLOUT : EPOLLIN;
    if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE)
        return FM_E_SHORT;
    *error = what == SSL_ERROR_SYSCALL ? errno : 0;
    why_note(tls, c->ssl);
    return FM_E_IO;
}

/* ---- connections ---- */

enum fm_err fm_conn_open(struct fm_conn *c, const struct fm_node *node, uint32_t source, struct fm_tls *tls)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *c = (struct fm_conn){.fd = fd};
    if (fd < 0)
        return FM_E_IO;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + source)};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    bool bound = source == 0 || bind(fd, (struct sockaddr *)&from, sizeof from) == 0;
    if (bound && (connect(fd, (const struct sockaddr *)&node->address, sizeof node->address) == 0 || errno == EINPROGRESS)) {
        if (!node->tls || !tls_begin(c, node, tls))
            return FM_OK;
        errno = ENOMEM;
    }
    int saved = errno;
    fm_conn_close(c);
    errno = saved;
    return FM_E_IO;
}

enum fm_err fm_conn_shake(struct fm_conn *c, struct fm_tls *tls, uint32_t *events, int *error)
{
    socklen_t len = sizeof *error;
    *error = 0;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, error, &len) || *error)
        return FM_E_IO;
    return c->ssl ? tls_shake(c, tls, events, error) : FM_OK;
}

/* What OpenSSL says, as the system would. */
static ssize_t tls_result(SSL *ssl, int n)
{
    if (n > 0)
        return n;
    int saved = errno, what = SSL_get_error(ssl, n);
    if (what == SSL_ERROR_ZERO_RETURN)
        return 0;
    bool wait = what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE;
    errno = wait ? EAGAIN : what == SSL_ERROR_SYSCALL && saved ? saved : ECONNRESET;
    return -1;
}

ssize_t fm_conn_read(struct fm_conn *c, void *p, size_t n)
{
    size_t have = 0;
    if (!c->ssl)
        return recv(c->fd, p, n, 0);
    ERR_clear_error();
    while (have < n) { /* one record at a time */
        int want = n - have > INT32_MAX ? INT32_MAX : (int)(n - have);
        ssize_t got = tls_result(c->ssl, SSL_read(c->ssl, (char *)p + have, want));
        if (got <= 0)
            return have ? (ssize_t)have : got; /* an end shows itself again */
        have += (size_t)got;
    }
    return (ssize_t)have;
}

ssize_t fm_conn_write(struct fm_conn *c, struct fm_slice bytes)
{
    if (!c->ssl)
        return send(c->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    ERR_clear_error();
    return tls_result(c->ssl, SSL_write(c->ssl, bytes.p, bytes.n > INT32_MAX ? INT32_MAX : (int)bytes.n));
}

bool fm_conn_pending(const struct fm_conn *c)
{
    return c->ssl && SSL_has_pending(c->ssl);
}

void fm_conn_close(struct fm_conn *c)
{
    SSL_free(c->ssl); /* without a good-bye: what is cut is cut */
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct fm_conn){.fd = -1};
}
