/* TLS for clients, by OpenSSL: one set of certificates for all workers, so that a session begun at one is resumed at any other. Immutable,
 * and there for as long as somebody refers to it: whoever made it, and every connection. So a new set takes the place of an old one while
 * connections of the old go on.
 *
 * Which certificate a client gets is decided by the name that it asks for (SNI) and the names that stand in the certificates: exact names
 * before wildcards, and the first certificate where none fits or none was asked for.
 *
 * Sessions are kept by the clients, in tickets. The keys of tickets are derived from the cluster's secret and the time, so that every node
 * of a cluster opens what another gave out, and changes them every FM_TLS_TICKET_S without a word between them: the keys of the
 * time before and of the next (clocks differ) are taken as well. Without a secret the keys are this process's own. */
#pragma once

#include "../../broker/certificate.h"

struct fm_tls;
struct ssl_st; /* OpenSSL's SSL: one connection */

enum { FM_TLS_TICKET_S = 12 * 3600, FM_TLS_RECORD_MAX = 16384 };

/* -- main -- */

enum { FM_TLS_CERTS_MAX = 64 };

struct fm_tls_config {
    const char *const *cert_files, *const *key_files; /* n of each, in pairs; PEM; the chain with the node's own first */
    size_t n;
    struct fm_slice secret;      /* empty: none */
    const struct fm_tls *before; /* may be NULL; without a secret its tickets are good here as well */
};

/* One reference. FM_E_IO: `why` says which file and what is wrong with it. */
FM_MUST_CHECK enum fm_err fm_tls_new(struct fm_tls **tls, const struct fm_tls_config *config, struct fm_buf *why);

/* -- any thread -- */

struct fm_tls *fm_tls_ref(struct fm_tls *tls);
void fm_tls_unref(struct fm_tls **tls);
size_t fm_tls_certificates(const struct fm_tls *tls);
/* Returns the file that it came from. */
const char *fm_tls_certificate(const struct fm_tls *tls, size_t i, struct fm_certificate *c);

/* -- any thread; a connection has one owner -- */

enum fm_tls_io {
    FM_TLS_DONE,
    FM_TLS_READ,  /* when there is something to read, again */
    FM_TLS_WRITE, /* when something can be written, again; a write then with the same bytes */
    FM_TLS_END,   /* the client sends no more */
    FM_TLS_DEAD,
};

/* NULL without memory. The descriptor stays the caller's. The connection refers to tls until it is closed. */
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
