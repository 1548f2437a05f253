/* A certificate and its key, from PEM files into a context of OpenSSL: what TLS for clients (gateway/edge/tls.c) and TLS of the mesh
 * (mesh_tls.c) share. What is wrong with a file is said in one sentence that begins with the option that names it.
 *
 * -- any thread -- */
#pragma once

#include "bytes.h"

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

struct fm_certificate_files {
    const char *cert_option, *cert_file; /* the node's own first, then the chain behind it */
    const char *key_option, *key_file;
};

/* Both into the context. FM_E_IO: `why` says which file and what is wrong: with it, or with the two together. */
FM_MUST_CHECK enum fm_err fm_certificate_use(struct ssl_ctx_st *context, const struct fm_certificate_files *files, struct fm_buf *why);
/* The sentence "option file can't be used: reason"; reason NULL: what OpenSSL says last. Always FM_E_IO. */
enum fm_err fm_certificate_bad(struct fm_buf *why, const char *option, const char *file, const char *reason);

enum { FM_CERTIFICATE_PRINT = 32, FM_CERTIFICATE_NAMES_MAX = 256, FM_CERTIFICATE_DATE_MAX = 32 };

struct fm_certificate {                   /* what there is to say of the one in use */
    uint8_t print[FM_CERTIFICATE_PRINT];  /* SHA-256 of the whole */
    char names[FM_CERTIFICATE_NAMES_MAX]; /* "example.org,*.example.org", cut to fit; its subject where it has no DNS names */
    char until[FM_CERTIFICATE_DATE_MAX];  /* 2027-01-31T12:00:00Z */
    bool over, early;                     /* it is not valid any more, not yet */
};

void fm_certificate_read(const struct ssl_ctx_st *context, struct fm_certificate *c);
