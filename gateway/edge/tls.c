#include "tls.h"

#include "../../broker/clock.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SECRET_OWN = 32 };

/* Of TLS 1.2: what every client of the last ten years has, with forward secrecy and without CBC. (TLS 1.3 has no others.) */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"

struct fm_tls {
    _Atomic size_t refs;
    SSL_CTX **contexts; /* one a certificate; every connection begins in the first */
    char **files;
    size_t n;
    uint8_t *secret; /* of the tickets */
    size_t secret_n;
};

/* ---- tickets ---- */

void fm_tls_ticket_key(struct fm_slice secret, uint64_t period, struct fm_tls_ticket_key *key)
{
    static const char label[] = "fanmesh TLS tickets";
    uint8_t text[sizeof label + 9], out[3][32];
    memcpy(text, label, sizeof label);
    for (size_t i = 0; i < 8; i++)
        text[sizeof label + i] = (uint8_t)(period >> (8 * i));
    for (uint8_t i = 0; i < 3; i++) {
        unsigned n = sizeof out[i];
        text[sizeof text - 1] = i;
        uint8_t *made = HMAC(EVP_sha256(), secret.p, (int)secret.n, text, sizeof text, out[i], &n);
        assert(made && n == sizeof out[i]);
        (void)made;
    }
    memcpy(key->name, out[0], sizeof key->name);
    memcpy(key->aes, out[1], sizeof key->aes);
    memcpy(key->hmac, out[2], sizeof key->hmac);
    OPENSSL_cleanse(out, sizeof out);
}

/* 0: of none of the times that count, 1: of now, 2: of the one before or the next, so the client should get a new one. */
static int key_find(struct fm_slice secret, const uint8_t name[16], struct fm_tls_ticket_key *key)
{
    uint64_t now = fm_unix_s() / FM_TLS_TICKET_S;
    const uint64_t periods[] = {now, now - 1, now + 1};
    for (size_t i = 0; i < 3; i++) {
        fm_tls_ticket_key(secret, periods[i], key);
        if (CRYPTO_memcmp(key->name, name, sizeof key->name) == 0)
            return i == 0 ? 1 : 2;
    }
    return 0;
}

static bool mac_init(EVP_MAC_CTX *mac, struct fm_tls_ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->hmac, sizeof key->hmac),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's contract: -1 an error, 0 no ticket or none that is known, 1 used, 2 used and to be renewed. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    const struct fm_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct fm_slice secret = fm_slice_of(tls->secret, tls->secret_n);
    struct fm_tls_ticket_key key;
    int r = 1;
    if (encrypt) {
        fm_tls_ticket_key(secret, fm_unix_s() / FM_TLS_TICKET_S, &key);
        memcpy(name, key.name, sizeof key.name);
        if (RAND_bytes(iv, EVP_CIPHER_iv_length(EVP_aes_256_cbc())) != 1)
            r = -1;
    } else {
        r = key_find(secret, name, &key);
    }
    if (r > 0 && (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv, encrypt) != 1 || !mac_init(mac, &key)))
        r = -1;
    OPENSSL_cleanse(&key, sizeof key);
    return r;
}

/* ---- the context ---- */

static bool secret_take(struct fm_tls *tls, struct fm_slice secret, const struct fm_tls *before)
{
    if (!secret.n && before)
        secret = fm_slice_of(before->secret, before->secret_n);
    tls->secret_n = secret.n ? secret.n : SECRET_OWN;
    tls->secret = malloc(tls->secret_n);
    if (!tls->secret)
        return false;
    if (secret.n)
        memcpy(tls->secret, secret.p, secret.n);
    return secret.n || RAND_bytes(tls->secret, SECRET_OWN) == 1;
}

/* NULL: none has the name. */
static SSL_CTX *context_of(const struct fm_tls *tls, const char *name, unsigned flags)
{
    for (size_t i = 0; i < tls->n; i++)
        if (X509_check_host(SSL_CTX_get0_certificate(tls->contexts[i]), name, 0, flags, NULL) == 1)
            return tls->contexts[i];
    return NULL;
}

static int on_name(SSL *ssl, int *alert, void *ctx)
{
    const struct fm_tls *tls = ctx;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    if (!name || !*name)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_CTX *found = context_of(tls, name, X509_CHECK_FLAG_NO_WILDCARDS);
    if (!found)
        found = context_of(tls, name, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (!found)
        return SSL_TLSEXT_ERR_NOACK; /* the first, which the client refuses or not */
    return SSL_set_SSL_CTX(ssl, found) == found ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* HTTP/1.1 is all that is spoken: who offers others alone is refused, and bytes meant for another protocol with him. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned in_n, void *ctx)
{
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl, (void)ctx;
    unsigned char *chosen; /* of `in` or `ours`, neither of which is written to */
    if (SSL_select_next_proto(&chosen, out_n, ours, sizeof ours - 1, in, in_n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool context_set(SSL_CTX *c, struct fm_tls *tls)
{
    SSL_CTX_set_app_data(c, tls);
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_options(c,
                        SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* After a record that is no data control goes back to the loop: a client's key updates, however many, don't hold up the others. */
    SSL_CTX_clear_mode(c, SSL_MODE_AUTO_RETRY);
    /* An idle connection keeps no buffers. */
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(c, (const unsigned char *)"fanmesh", 7);
    SSL_CTX_set_timeout(c, FM_TLS_TICKET_S);
    SSL_CTX_set_num_tickets(c, 1);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(c, on_ticket);
    SSL_CTX_set_alpn_select_cb(c, on_alpn, NULL);
    return SSL_CTX_set_cipher_list(c, CIPHERS_1_2) == 1;
}

static enum fm_err context_add(struct fm_tls *tls, const char *cert_file, const char *key_file, struct fm_buf *why)
{
    const struct fm_certificate_files files = {"tls_cert", cert_file, "tls_key", key_file};
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    if (!c)
        return FM_E_NOMEM;
    tls->contexts[tls->n] = c;
    tls->files[tls->n++] = strdup(cert_file);
    if (!tls->files[tls->n - 1] || !context_set(c, tls))
        return FM_E_NOMEM;
    return fm_certificate_use(c, &files, why);
}

enum fm_err fm_tls_new(struct fm_tls **out, const struct fm_tls_config *config, struct fm_buf *why)
{
    assert(config->n > 0 && config->n <= FM_TLS_CERTS_MAX);
    enum fm_err err = FM_E_NOMEM;
    struct fm_tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return err;
    tls->refs = 1;
    tls->contexts = calloc(config->n, sizeof(SSL_CTX *));
    tls->files = calloc(config->n, sizeof(char *));
    if (tls->contexts && tls->files && secret_take(tls, config->secret, config->before))
        err = FM_OK;
    for (size_t i = 0; i < config->n && !err; i++)
        err = context_add(tls, config->cert_files[i], config->key_files[i], why);
    if (err) {
        fm_tls_unref(&tls);
        return err;
    }
    if (tls->n > 1) {
        SSL_CTX_set_tlsext_servername_callback(tls->contexts[0], on_name);
        SSL_CTX_set_tlsext_servername_arg(tls->contexts[0], tls);
    }
    *out = tls;
    return FM_OK;
}

struct fm_tls *fm_tls_ref(struct fm_tls *tls)
{
    atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

void fm_tls_unref(struct fm_tls **tlsp)
{
    struct fm_tls *tls = *tlsp;
    *tlsp = NULL;
    if (!tls || atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < tls->n; i++) {
        SSL_CTX_free(tls->contexts[i]);
        free(tls->files[i]);
    }
    free(tls->contexts);
    free(tls->files);
    if (tls->secret)
        OPENSSL_cleanse(tls->secret, tls->secret_n);
    free(tls->secret);
    free(tls);
}

size_t fm_tls_certificates(const struct fm_tls *tls)
{
    return tls->n;
}

const char *fm_tls_certificate(const struct fm_tls *tls, size_t i, struct fm_certificate *c)
{
    assert(i < tls->n);
    fm_certificate_read(tls->contexts[i], c);
    return tls->files[i];
}

/* ---- connections ---- */

struct ssl_st *fm_tls_open(struct fm_tls *tls, int fd)
{
    SSL *ssl = SSL_new(tls->contexts[0]);
    if (ssl && SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ssl = NULL;
    }
    if (ssl)
        fm_tls_ref(tls);
    ERR_clear_error();
    return ssl;
}

void fm_tls_shut(struct ssl_st *ssl)
{
    if (SSL_is_init_finished(ssl))
        (void)SSL_shutdown(ssl);
    ERR_clear_error();
}

void fm_tls_close(struct ssl_st **ssl)
{
    if (!*ssl)
        return;
    struct fm_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(*ssl));
    fm_tls_shut(*ssl);
    SSL_free(*ssl);
    *ssl = NULL;
    fm_tls_unref(&tls);
}

static enum fm_tls_io io_of(SSL *ssl, int r)
{
    enum fm_tls_io io = FM_TLS_DEAD;
    switch (SSL_get_error(ssl, r)) {
    case SSL_ERROR_NONE:
        io = FM_TLS_DONE;
        break;
    case SSL_ERROR_WANT_READ:
        io = FM_TLS_READ;
        break;
    case SSL_ERROR_WANT_WRITE:
        io = FM_TLS_WRITE;
        break;
    case SSL_ERROR_ZERO_RETURN:
        io = FM_TLS_END;
        break;
    default:
        SSL_set_quiet_shutdown(ssl, 1); /* OpenSSL forbids another word after an error */
    }
    ERR_clear_error(); /* the queue is the thread's: the next connection's errors must be its own */
    return io;
}

enum fm_tls_io fm_tls_accept(struct ssl_st *ssl)
{
    return io_of(ssl, SSL_accept(ssl));
}

bool fm_tls_resumed(const struct ssl_st *ssl)
{
    return SSL_session_reused(ssl) == 1;
}

enum fm_tls_io fm_tls_recv(struct ssl_st *ssl, uint8_t *bytes, size_t n, size_t *got)
{
    *got = 0;
    return io_of(ssl, SSL_read_ex(ssl, bytes, n, got));
}

enum fm_tls_io fm_tls_send(struct ssl_st *ssl, struct fm_slice bytes, size_t *put)
{
    *put = 0;
    return io_of(ssl, SSL_write_ex(ssl, bytes.p, bytes.n, put));
}
