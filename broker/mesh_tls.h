/* TLS of the mesh: a node is who has a certificate of the cluster's authority, and both ends of a link ask the other for it. Which host a
 * certificate names does not matter. Both ends are nodes, so TLS 1.3 is all that is spoken. By OpenSSL; bus_nng_tls.c puts it under NNG.
 *
 * What is loaded anew holds for links that are made from then on.
 *
 * -- any thread -- */
#pragma once

#include "certificate.h"

struct fm_mesh_tls;
struct ssl_st; /* OpenSSL's SSL: one connection */

struct fm_mesh_tls_files { /* PEM, named by the options of the same names; ca NULL or empty: no TLS */
    const char *ca, *cert, *key;
};

/* One reference. FM_E_IO: `why` says which file and what is wrong with it. */
FM_MUST_CHECK enum fm_err fm_mesh_tls_new(struct fm_mesh_tls **tls, const struct fm_mesh_tls_files *files, struct fm_buf *why);
/* From the files as they are now; on an error everything stays. *changed: they hold something else. */
FM_MUST_CHECK enum fm_err fm_mesh_tls_load(struct fm_mesh_tls *tls, const struct fm_mesh_tls_files *files, bool *changed,
                                           struct fm_buf *why);
struct fm_mesh_tls *fm_mesh_tls_ref(struct fm_mesh_tls *tls);
void fm_mesh_tls_unref(struct fm_mesh_tls **tls);
/* The node's own. */
void fm_mesh_tls_certificate(struct fm_mesh_tls *tls, struct fm_certificate *c);

/* ---- connections; each has one owner at a time ---- */

/* Why the other end was refused; in SSL_get_app_data of the connection, which the caller sets. */
struct fm_mesh_tls_peer {
    char why[192]; /* empty: it was not, or not for its certificate */
};

/* NULL without memory. Without a BIO; SSL_free ends it. */
struct ssl_st *fm_mesh_tls_open(struct fm_mesh_tls *tls, bool dials, struct fm_mesh_tls_peer *peer);
/* What went wrong last on this thread, for people; empties OpenSSL's queue. */
void fm_mesh_tls_why(const struct fm_mesh_tls_peer *peer, char *out, size_t size);
