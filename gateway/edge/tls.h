/* TLS for clients, by OpenSSL: one context for all workers, so that a session begun at one is resumed at any other.
 *
 * Sessions are kept by the clients, in tickets. The keys of tickets are derived from the cluster's secret and the time, so that every node
 * of a cluster opens what another gave out, and changes them every FM_TLS_TICKET_S without a word between them: the keys of the
 * time before and of the next (clocks differ) are taken as well. Without a secret the keys are this process's own. */
#pragma once

#include "../../broker/bytes.h"

struct fm_tls;
struct ssl_st; /* OpenSSL's SSL: one connection */

enum { FM_TLS_TICKET_S = 12 * 3600, FM_TLS_RECORD_MAX = 16384 };

/* -- main -- */

struct fm_tls_config {
    const char *cert_file, *key_file; /* PEM; the chain with the node's own first */
    struct fm_slice secret;           /* empty: none */
};

/* FM_E_IO: `why` says which file and what is wrong with it. */
FM_MUST_CHECK enum fm_err fm_tls_new(struct fm_tls **tls, const struct fm_tls_config *config, struct fm_buf *why);
/* When no connection is left. */
void fm_tls_free(struct fm_tls **tls);

/* -- any thread; a connection has one owner -- */

enum fm_tls_io {
    FM_TLS_DONE,
    FM_TLS_READ,  /* when there is something to read, again */
    FM_TLS_WRITE, /* when something can be written, again; a write then with the same bytes */
    FM_TLS_END,   /* the client sends no more */
    FM_TLS_DEAD,
};

/* NULL without memory. The descriptor stays the caller's. */
struct ssl_st *fm_tls_open(struct fm_tls *tls, int fd);
/* Says the end to the client, if there was a beginning, and frees it. */
void fm_tls_close(struct ssl_st **ssl);
/* Says that nothing more follows. */
void fm_tls_shut(struct ssl_st *ssl);
enum fm_tls_io fm_tls_accept(struct ssl_st *ssl);
/* Was a session resumed, after DONE of accept? */
bool fm_tls_resumed(const struct ssl_st *ssl);
/* A buffer of FM_TLS_RECORD_MAX bytes takes all that is decrypted, so that nothing waits where no event tells of it. */
enum fm_tls_io fm_tls_recv(struct ssl_st *ssl, uint8_t *bytes, size_t n, size_t *got);
/* *put: at least one byte, perhaps not all. */
enum fm_tls_io fm_tls_send(struct ssl_st *ssl, struct fm_slice bytes, size_t *put);

/* ---- apart for tests ---- */

struct fm_tls_ticket_key {
    uint8_t name[16], aes[32], hmac[32];
};

void fm_tls_ticket_key(struct fm_slice secret, uint64_t period, struct fm_tls_ticket_key *key);
