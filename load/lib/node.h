/* Where clients connect, and the connections themselves: a TCP socket that does not block, or TLS over one.
 *
 * -- owner only -- */
#pragma once

#include "../../gateway/client/ws_client.h"

#include <netinet/in.h>
#include <sys/types.h>

struct ssl_st;
struct fm_tls;

struct fm_node {
    struct fm_url url;
    struct sockaddr_in address;
    bool tls;
    uint32_t at; /* its place among those that share a struct fm_tls: one session is kept for each */
};

/* scheme://host:port[/path?query], or schemes:// for TLS, where `scheme` is "ws" or "http"; the host is resolved here, once. FM_E_ADDRESS,
 * FM_E_TOO_LARGE. */
FM_MUST_CHECK enum fm_err fm_node_parse(struct fm_slice text, const char *scheme, struct fm_node *node);

/* ---- TLS ---- */

struct fm_tls_config {
    const char *ca_file; /* PEM; NULL or "": what the system trusts */
    bool insecure;       /* any certificate will do */
    bool resume;         /* the next connection to a node offers the session of an earlier one */
    uint32_t nodes_n;
};

struct fm_tls_stats {
    uint64_t handshakes, resumed;
    char why[160]; /* of the last that failed; "": none did */
};

/* FM_E_NOMEM; FM_E_INVALID: the CA file can't be used. */
FM_MUST_CHECK enum fm_err fm_tls_new(struct fm_tls **tls, const struct fm_tls_config *config);
void fm_tls_free(struct fm_tls **tls);
const struct fm_tls_stats *fm_tls_stats(const struct fm_tls *tls);

/* ---- connections ---- */

struct fm_conn {
    int fd;             /* -1: none */
    struct ssl_st *ssl; /* NULL: plain */
};

/* Begins to connect, from 127.0.0.(1 + source) where source > 0. The socket becomes writable when it is connected, or failed. FM_E_IO with
 * errno. */
FM_MUST_CHECK enum fm_err fm_conn_open(struct fm_conn *c, const struct fm_node *node, uint32_t source, struct fm_tls *tls);
/* Call it when the socket is ready, until FM_OK: connected, and what TLS needs was exchanged. FM_E_SHORT: wait for *events (EPOLLIN,
 * EPOLLOUT). FM_E_IO: *error is the system's, or 0 where fm_tls_stats has the reason. */
FM_MUST_CHECK enum fm_err fm_conn_shake(struct fm_conn *c, struct fm_tls *tls, uint32_t *events, int *error);
/* As recv and send: -1 and errno EAGAIN where nothing goes now. A read returns all that is there, or fills the buffer. */
ssize_t fm_conn_read(struct fm_conn *c, void *p, size_t n);
ssize_t fm_conn_write(struct fm_conn *c, struct fm_slice bytes);
/* Bytes that were received already, of which the socket says nothing any more. */
bool fm_conn_pending(const struct fm_conn *c);
void fm_conn_close(struct fm_conn *c);
