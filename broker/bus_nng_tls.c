/* TLS under NNG's links: an engine for NNG (nng/supplemental/tls/engine.h) that is OpenSSL by way of mesh_tls.h, in place of NNG's own,
 * which says of a failed handshake neither that it failed nor why.
 *
 * Threads and locks: NNG calls a connection's operations with that connection's lock held, except init and fini. So an operation may take
 * `told`, and never `opening`; and `opening` may be held while a stream is closed, which takes the connection's lock.
 *
 * A handshake that gets nowhere has no time limit in NNG: its way to cancel a send looks for one that is under way, and here none is. So
 * each connection stands in a list until it ends, and who has not ended his handshake in time has his stream closed, by the owner, now and
 * then. (The context that NNG hands to an engine is the connection, which begins with its stream; the same in all of 1.x.) */
#include "bus_nng.h"

#include <arpa/inet.h>
#include <nng/supplemental/tls/engine.h>
#include <nng/supplemental/tls/tls.h>
#include <nng/supplemental/util/platform.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

struct fm_nng_tls {
    _Atomic size_t refs; /* the bus's, and one of each connection, listener and dialer */
    struct fm_mesh_tls *mesh;
    pthread_mutex_t told, opening;
    struct fm_nng_out *out;     /* with told; NULL: the bus has stopped */
    nng_tls_engine_conn *first; /* with opening */
    uint64_t looked_ms;         /* owner only */
};

struct nng_tls_engine_config {
    struct fm_nng_tls *tls;
    bool dials;
};

struct nng_tls_engine_conn {
    struct fm_nng_tls *tls; /* NULL: never began */
    nng_tls_engine_conn *next, **link;
    void *stream;
    SSL *ssl;
    uint64_t since_ms;
    bool dials, ended;
    atomic_bool heard; /* something came through the handshake */
    struct fm_mesh_tls_peer peer;
    char address[64];
};

/* ---- what went wrong ---- */

static void tell(nng_tls_engine_conn *c, const char *why)
{
    pthread_mutex_lock(&c->tls->told);
    struct fm_bus_item *item = c->tls->out ? fm_nng_item(FM_BUS_REFUSED, fm_slice_str(why)) : NULL;
    if (item) {
        item->dialled = c->dials;
        memcpy(item->address, c->address, sizeof item->address);
        c->tls->out->deliver(c->tls->out->ctx, item);
    }
    pthread_mutex_unlock(&c->tls->told);
}

/* Of an operation of OpenSSL, as NNG wants it. */
static int result_of(nng_tls_engine_conn *c, int r)
{
    char why[256];
    int error = SSL_get_error(c->ssl, r);
    if (error == SSL_ERROR_NONE)
        return 0;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return NNG_EAGAIN;
    c->ended = true;
    if (error == SSL_ERROR_ZERO_RETURN)
        return NNG_ECLOSED;
    fm_mesh_tls_why(&c->peer, why, sizeof why);
    tell(c, why);
    atomic_store(&c->heard, true); /* no second line at its end */
    return NNG_EPEERAUTH;
}

/* ---- bytes: OpenSSL's BIO over NNG's stream ---- */

static int bio_write(BIO *bio, const char *bytes, int n)
{
    size_t size = (size_t)n;
    int rv = nng_tls_engine_send(BIO_get_data(bio), (const uint8_t *)bytes, &size);
    BIO_clear_retry_flags(bio);
    if (rv == NNG_EAGAIN)
        BIO_set_retry_write(bio);
    return rv == 0 ? (int)size : -1;
}

static int bio_read(BIO *bio, char *bytes, int n)
{
    size_t size = (size_t)n;
    int rv = nng_tls_engine_recv(BIO_get_data(bio), (uint8_t *)bytes, &size);
    BIO_clear_retry_flags(bio);
    if (rv == NNG_EAGAIN)
        BIO_set_retry_read(bio);
    return rv == 0 ? (int)size : -1;
}

static long bio_ctrl(BIO *bio, int what, long n, void *p)
{
    (void)bio, (void)n, (void)p;
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bytes_method;

/* ---- connections ---- */

static void address_read(nng_stream *stream, char out[64])
{
    nng_sockaddr sa;
    if (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &sa) != 0 || !fm_nng_address(&sa, out))
        (void)snprintf(out, 64, "?");
}

static int conn_init(nng_tls_engine_conn *c, void *stream, nng_tls_engine_config *config)
{
    c->ssl = fm_mesh_tls_open(config->tls->mesh, config->dials, &c->peer);
    BIO *bio = c->ssl ? BIO_new(bytes_method) : NULL;
    if (!bio) {
        SSL_free(c->ssl);
        c->ssl = NULL;
        return NNG_ENOMEM;
    }
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    c->tls = config->tls;
    atomic_fetch_add(&c->tls->refs, 1);
    c->stream = stream;
    c->dials = config->dials;
    c->since_ms = nng_clock();
    address_read(stream, c->address);
    pthread_mutex_lock(&c->tls->opening);
    c->next = c->tls->first;
    c->link = &c->tls->first;
    if (c->next)
        c->next->link = &c->next;
    c->tls->first = c;
    pthread_mutex_unlock(&c->tls->opening);
    return 0;
}

static void tls_unref(struct fm_nng_tls *tls)
{
    if (atomic_fetch_sub(&tls->refs, 1) > 1)
        return;
    fm_mesh_tls_unref(&tls->mesh);
    pthread_mutex_destroy(&tls->told);
    pthread_mutex_destroy(&tls->opening);
    free(tls);
}

static void conn_fini(nng_tls_engine_conn *c)
{
    struct fm_nng_tls *tls = c->tls;
    if (!tls)
        return;
    pthread_mutex_lock(&tls->opening);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    pthread_mutex_unlock(&tls->opening);
    if (c->dials && !atomic_load(&c->heard))
        tell(c, "it ends the connection before it says anything: it speaks no TLS, or refuses this node's certificate");
    SSL_free(c->ssl);
    c->ssl = NULL;
    c->tls = NULL;
    tls_unref(tls);
}

static void conn_close(nng_tls_engine_conn *c)
{
    if (c->ssl && !c->ended && SSL_is_init_finished(c->ssl))
        (void)SSL_shutdown(c->ssl);
    ERR_clear_error();
    c->ended = true;
}

static int conn_handshake(nng_tls_engine_conn *c)
{
    ERR_clear_error(); /* the queue is the thread's, and SSL_get_error looks into it */
    return c->ended ? NNG_ECLOSED : result_of(c, SSL_do_handshake(c->ssl));
}

static int conn_recv(nng_tls_engine_conn *c, uint8_t *bytes, size_t *n)
{
    size_t got = 0;
    ERR_clear_error();
    int rv = c->ended ? NNG_ECLOSED : result_of(c, SSL_read_ex(c->ssl, bytes, *n, &got));
    if (rv == 0)
        atomic_store(&c->heard, true);
    *n = got;
    return rv;
}

static int conn_send(nng_tls_engine_conn *c, const uint8_t *bytes, size_t *n)
{
    size_t put = 0;
    ERR_clear_error();
    int rv = c->ended ? NNG_ECLOSED : result_of(c, SSL_write_ex(c->ssl, bytes, *n, &put));
    *n = put;
    return rv;
}

static bool conn_verified(nng_tls_engine_conn *c)
{
    return c->ssl && SSL_is_init_finished(c->ssl); /* the context asks for a certificate, whichever end it is */
}

/* ---- what NNG would have an engine be told: it is told by mesh_tls.h ---- */

static _Thread_local struct fm_nng_tls *making; /* whose listener or dialer this thread is making */

static int config_init(nng_tls_engine_config *config, nng_tls_mode mode)
{
    if (!making)
        return NNG_ENOTSUP;
    config->tls = making;
    config->dials = mode == NNG_TLS_MODE_CLIENT;
    atomic_fetch_add(&making->refs, 1);
    return 0;
}

static void config_fini(nng_tls_engine_config *config)
{
    tls_unref(config->tls);
}

static int config_server(nng_tls_engine_config *config, const char *name)
{
    (void)config, (void)name;
    return 0;
}

static int config_auth(nng_tls_engine_config *config, nng_tls_auth_mode mode)
{
    (void)config, (void)mode;
    return 0;
}

static int config_ca_chain(nng_tls_engine_config *config, const char *certs, const char *crl)
{
    (void)config, (void)certs, (void)crl;
    return NNG_ENOTSUP;
}

static int config_own_cert(nng_tls_engine_config *config, const char *cert, const char *key, const char *password)
{
    (void)config, (void)cert, (void)key, (void)password;
    return NNG_ENOTSUP;
}

static int config_version(nng_tls_engine_config *config, nng_tls_version min, nng_tls_version max)
{
    (void)config, (void)min, (void)max;
    return NNG_ENOTSUP;
}

static nng_tls_engine_config_ops config_ops = {
    .size = sizeof(nng_tls_engine_config),
    .init = config_init,
    .fini = config_fini,
    .server = config_server,
    .auth = config_auth,
    .ca_chain = config_ca_chain,
    .own_cert = config_own_cert,
    .version = config_version,
};

static nng_tls_engine_conn_ops conn_ops = {
    .size = sizeof(nng_tls_engine_conn),
    .init = conn_init,
    .fini = conn_fini,
    .close = conn_close,
    .handshake = conn_handshake,
    .recv = conn_recv,
    .send = conn_send,
    .verified = conn_verified,
};

static const nng_tls_engine engine = {
    .version = NNG_TLS_ENGINE_VERSION,
    .config_ops = &config_ops,
    .conn_ops = &conn_ops,
    .name = "fanmesh",
    .description = "OpenSSL, for the mesh",
};

static int registered = NNG_ENOTSUP;

static void engine_register(void)
{
    bytes_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "NNG stream");
    if (!bytes_method)
        return;
    BIO_meth_set_write(bytes_method, bio_write);
    BIO_meth_set_read(bytes_method, bio_read);
    BIO_meth_set_ctrl(bytes_method, bio_ctrl);
    registered = nng_tls_engine_register(&engine);
}

/* ---- owner ---- */

enum fm_err fm_nng_tls_new(struct fm_nng_tls **out, struct fm_nng_out *to, struct fm_mesh_tls *mesh)
{
    struct fm_nng_tls *tls = calloc(1, sizeof *tls);
    *out = tls;
    if (!tls)
        return FM_E_NOMEM;
    tls->refs = 1;
    tls->out = to;
    tls->mesh = fm_mesh_tls_ref(mesh);
    pthread_mutex_init(&tls->told, NULL);
    pthread_mutex_init(&tls->opening, NULL);
    return FM_OK;
}

/* NNG frees connections on a thread of its own, a moment after their socket was closed. The process may end after this, and OpenSSL with
 * it, so they are waited for. */
void fm_nng_tls_stop(struct fm_nng_tls **tlsp)
{
    struct fm_nng_tls *tls = *tlsp;
    *tlsp = NULL;
    if (!tls)
        return;
    pthread_mutex_lock(&tls->told);
    tls->out = NULL;
    pthread_mutex_unlock(&tls->told);
    for (unsigned ms = 0; atomic_load(&tls->refs) > 1 && ms < FM_NNG_REAP_MS; ms++)
        nng_msleep(1);
    tls_unref(tls);
}

/* The socket is open, so NNG is there to be registered with. */
static int making_begins(struct fm_nng_tls *tls)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (!tls)
        return 0;
    pthread_once(&once, engine_register);
    making = tls;
    return registered;
}

int fm_nng_listen(nng_socket socket, const char *url, struct fm_nng_tls *tls)
{
    nng_listener listener;
    int rv = making_begins(tls);
    if (rv == 0)
        rv = nng_listener_create(&listener, socket, url);
    making = NULL;
    return rv == 0 ? nng_listener_start(listener, 0) : rv;
}

int fm_nng_dialer(nng_dialer *dialer, nng_socket socket, const char *url, struct fm_nng_tls *tls)
{
    int rv = making_begins(tls);
    if (rv == 0)
        rv = nng_dialer_create(dialer, socket, url);
    making = NULL;
    return rv;
}

void fm_nng_tls_tidy(struct fm_nng_tls *tls)
{
    uint64_t now = nng_clock();
    if (!tls || now - tls->looked_ms < FM_NNG_HANDSHAKE_MS / 10)
        return;
    tls->looked_ms = now;
    pthread_mutex_lock(&tls->opening);
    for (nng_tls_engine_conn *c = tls->first; c; c = c->next)
        if (!atomic_load(&c->heard) && now - c->since_ms > FM_NNG_HANDSHAKE_MS)
            nng_stream_close(c->stream);
    pthread_mutex_unlock(&tls->opening);
}
