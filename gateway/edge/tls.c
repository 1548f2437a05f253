#include "tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <time.h>

enum { SECRET_OWN = 32 };

/* Of TLS 1.2: what every client of the last ten years has, with forward secrecy and without CBC. (TLS 1.3 has no others.) */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"

struct fm_tls {
    SSL_CTX *context;
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
    uint64_t now = (uint64_t)time(NULL) / FM_TLS_TICKET_S;
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
        fm_tls_ticket_key(secret, (uint64_t)time(NULL) / FM_TLS_TICKET_S, &key);
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

static bool secret_take(struct fm_tls *tls, struct fm_slice secret)
{
    tls->secret_n = secret.n ? secret.n : SECRET_OWN;
    tls->secret = malloc(tls->secret_n);
    if (!tls->secret)
        return false;
    if (secret.n)
        memcpy(tls->secret, secret.p, secret.n);
    return secret.n || RAND_bytes(tls->secret, SECRET_OWN) == 1;
}

/* known: what is wrong with it; NULL: OpenSSL says. */
static enum fm_err file_bad(struct fm_buf *why, const char *what, const char *file, const char *known)
{
    unsigned long e = ERR_peek_error();
    const char *reason = ERR_reason_error_string(e);
    fm_buf_printf(why, "%s %s can't be used: %s", what, file,
                  known                 ? known
                  : ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e))
                  : reason              ? reason
                                        : "unknown");
    ERR_clear_error();
    return FM_E_IO;
}

/* OpenSSL would ask whoever sits at the terminal, and a service has nobody there. */
static int no_password(char *buffer, int size, int writing, void *asked)
{
    (void)buffer, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
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
    SSL_CTX_set_default_passwd_cb(c, no_password);
    return SSL_CTX_set_cipher_list(c, CIPHERS_1_2) == 1;
}

enum fm_err fm_tls_new(struct fm_tls **out, const struct fm_tls_config *config, struct fm_buf *why)
{
    enum fm_err err = FM_E_NOMEM;
    struct fm_tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return err;
    tls->context = SSL_CTX_new(TLS_server_method());
    if (!tls->context || !secret_take(tls, config->secret) || !context_set(tls->context, tls))
        goto fail;
    bool asked = false;
    SSL_CTX_set_default_passwd_cb_userdata(tls->context, &asked);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(tls->context, config->cert_file) != 1)
        err = file_bad(why, "tls_cert", config->cert_file, NULL);
    else if (SSL_CTX_use_PrivateKey_file(tls->context, config->key_file, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(tls->context) != 1)
        err = file_bad(why, "tls_key", config->key_file,
                       asked ? "it is encrypted; give one without a password, readable by this user alone" : NULL);
    else
        err = FM_OK;
    SSL_CTX_set_default_passwd_cb_userdata(tls->context, NULL);
    if (err)
        goto fail;
    *out = tls;
    return FM_OK;
fail:
    fm_tls_free(&tls);
    return err;
}

void fm_tls_free(struct fm_tls **tlsp)
{
    struct fm_tls *tls = *tlsp;
    *tlsp = NULL;
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    if (tls->secret)
        OPENSSL_cleanse(tls->secret, tls->secret_n);
    free(tls->secret);
    free(tls);
}

/* ---- connections ---- */

struct ssl_st *fm_tls_open(struct fm_tls *tls, int fd)
{
    SSL *ssl = SSL_new(tls->context);
    if (ssl && SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ssl = NULL;
    }
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
    fm_tls_shut(*ssl);
    SSL_free(*ssl);
    *ssl = NULL;
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
