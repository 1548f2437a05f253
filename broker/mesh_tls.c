#include "mesh_tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct fm_mesh_tls {
    _Atomic size_t refs;
    pthread_mutex_t lock; /* of the rest */
    SSL_CTX *context;
    uint8_t print[EVP_MAX_MD_SIZE]; /* of all certificates in it */
};

/* ---- the context ---- */

/* Keeps the reason, which OpenSSL forgets with the certificate. */
static int on_verify(int good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct fm_mesh_tls_peer *peer = ssl ? SSL_get_app_data(ssl) : NULL;
    X509 *x = X509_STORE_CTX_get0_cert(store);
    if (good || !peer)
        return good;
    char subject[96] = "?";
    if (x)
        X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof subject);
    snprintf(peer->why, sizeof peer->why, "its certificate %s is not trusted: %s", subject,
             X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
    return 0;
}

static bool print_make(SSL_CTX *c, uint8_t out[EVP_MAX_MD_SIZE])
{
    STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(c));
    uint8_t one[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    memset(out, 0, EVP_MAX_MD_SIZE);
    if (X509_digest(SSL_CTX_get0_certificate(c), EVP_sha256(), out, &n) != 1)
        return false;
    for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
        X509 *x = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
        if (x && X509_digest(x, EVP_sha256(), one, &n) == 1)
            for (unsigned k = 0; k < n; k++)
                out[EVP_MAX_MD_SIZE - 1 - k] ^= one[k]; /* in any order the same */
    }
    return true;
}

static enum fm_err context_make(SSL_CTX **out, const struct fm_mesh_tls_files *files, struct fm_buf *why)
{
    const struct fm_certificate_files own = {"mesh_tls_cert", files->cert, "mesh_tls_key", files->key};
    enum fm_err err = FM_E_NOMEM;
    SSL_CTX *c = SSL_CTX_new(TLS_method());
    *out = NULL;
    if (!c || SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) != 1)
        goto fail;
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(c, 0);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
    /* What stands in the file is trusted, whether or not somebody else has signed it. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c), X509_V_FLAG_PARTIAL_CHAIN);
    err = fm_certificate_use(c, &own, why);
    if (err)
        goto fail;
    ERR_clear_error();
    if (SSL_CTX_load_verify_locations(c, files->ca, NULL) != 1) {
        err = fm_certificate_bad(why, "mesh_tls_ca", files->ca, NULL);
        goto fail;
    }
    *out = c;
    return FM_OK;
fail:
    SSL_CTX_free(c);
    return err;
}

/* ---- life ---- */

enum fm_err fm_mesh_tls_new(struct fm_mesh_tls **out, const struct fm_mesh_tls_files *files, struct fm_buf *why)
{
    struct fm_mesh_tls *tls = calloc(1, sizeof *tls);
    bool changed;
    *out = NULL;
    if (!tls)
        return FM_E_NOMEM;
    tls->refs = 1;
    pthread_mutex_init(&tls->lock, NULL);
    enum fm_err err = fm_mesh_tls_load(tls, files, &changed, why);
    if (err)
        fm_mesh_tls_unref(&tls);
    *out = tls;
    return err;
}

enum fm_err fm_mesh_tls_load(struct fm_mesh_tls *tls, const struct fm_mesh_tls_files *files, bool *changed, struct fm_buf *why)
{
    SSL_CTX *context, *old;
    uint8_t print[EVP_MAX_MD_SIZE];
    enum fm_err err = context_make(&context, files, why);
    if (!err && !print_make(context, print)) {
        SSL_CTX_free(context);
        err = FM_E_NOMEM;
    }
    if (err)
        return err;
    pthread_mutex_lock(&tls->lock);
    old = tls->context;
    tls->context = context;
    *changed = memcmp(tls->print, print, sizeof print) != 0;
    memcpy(tls->print, print, sizeof print);
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old); /* its connections refer to it themselves */
    return FM_OK;
}

struct fm_mesh_tls *fm_mesh_tls_ref(struct fm_mesh_tls *tls)
{
    atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

void fm_mesh_tls_unref(struct fm_mesh_tls **tlsp)
{
    struct fm_mesh_tls *tls = *tlsp;
    *tlsp = NULL;
    if (!tls || atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) > 1)
        return;
    SSL_CTX_free(tls->context);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

void fm_mesh_tls_certificate(struct fm_mesh_tls *tls, struct fm_certificate *c)
{
    pthread_mutex_lock(&tls->lock);
    fm_certificate_read(tls->context, c);
    pthread_mutex_unlock(&tls->lock);
}

/* ---- connections ---- */

struct ssl_st *fm_mesh_tls_open(struct fm_mesh_tls *tls, bool dials, struct fm_mesh_tls_peer *peer)
{
    pthread_mutex_lock(&tls->lock);
    SSL *ssl = SSL_new(tls->context);
    pthread_mutex_unlock(&tls->lock);
    ERR_clear_error();
    if (!ssl)
        return NULL;
    SSL_set_app_data(ssl, peer);
    if (dials)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    return ssl;
}

/* An alert with which the other end says that our certificate is not one for it. */
static bool is_of_certificate(int alert)
{
    return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_ACCESS_DENIED && alert != SSL_AD_ILLEGAL_PARAMETER) ||
           alert == SSL_AD_DECRYPT_ERROR || alert == SSL_AD_CERTIFICATE_REQUIRED;
}

void fm_mesh_tls_why(const struct fm_mesh_tls_peer *peer, char *out, size_t size)
{
    unsigned long e = ERR_peek_error();
    int reason = ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0;
    const char *text = ERR_reason_error_string(e);
    if (peer->why[0])
        snprintf(out, size, "%s", peer->why);
    else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        snprintf(out, size, "it has no certificate");
    else if (is_of_certificate(reason - SSL_AD_REASON_OFFSET))
        snprintf(out, size, "it refuses this node's certificate: %s", text ? text : "unknown");
    else
        snprintf(out, size, "it does not speak TLS, or not TLS 1.3: %s", text ? text : "the connection was cut");
    ERR_clear_error();
}
