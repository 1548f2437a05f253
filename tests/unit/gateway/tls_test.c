/* Keys of session tickets: the same wherever the secret is, others at every time. (Handshakes: tests/system/tls.test.mjs.) */
#include "../../../gateway/edge/tls.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static void the_same_secret_and_time_give_the_same_key_and_no_other(void **state)
{
    (void)state;
    struct fm_tls_ticket_key a, b, c, d;
    fm_tls_ticket_key(FM_LIT("a secret of the cluster"), 41000, &a);
    fm_tls_ticket_key(FM_LIT("a secret of the cluster"), 41000, &b);
    fm_tls_ticket_key(FM_LIT("a secret of the cluster"), 41001, &c);
    fm_tls_ticket_key(FM_LIT("a secret of the clusteR"), 41000, &d);
    assert_memory_equal(&a, &b, sizeof a);
    assert_memory_not_equal(a.name, c.name, sizeof a.name);
    assert_memory_not_equal(a.aes, c.aes, sizeof a.aes);
    assert_memory_not_equal(a.hmac, c.hmac, sizeof a.hmac);
    assert_memory_not_equal(a.name, d.name, sizeof a.name);
    assert_memory_not_equal(a.aes, d.aes, sizeof a.aes);
    assert_memory_not_equal(a.aes, a.hmac, sizeof a.aes);
}

static void a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct fm_tls *tls = NULL;
    struct fm_buf why = {0};
    const char *const cert_files[] = {"/nowhere/cert.pem"}, *const key_files[] = {"/nowhere/key.pem"};
    const struct fm_tls_config c = {.cert_files = cert_files, .key_files = key_files, .n = 1};
    assert_int_equal(fm_tls_new(&tls, &c, &why), FM_E_IO);
    assert_null(tls);
    fm_buf_u8(&why, 0);
    assert_string_equal(why.p, "tls_cert /nowhere/cert.pem can't be used: No such file or directory");
    fm_buf_fini(&why);
}

/* ---- connections ---- */

static EVP_PKEY *certificate_make(X509 **cert)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    *cert = X509_new();
    assert_non_null(key);
    assert_non_null(*cert);
    X509_gmtime_adj(X509_getm_notBefore(*cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(*cert), 3600);
    assert_int_equal(X509_set_pubkey(*cert, key), 1);
    assert_int_not_equal(X509_sign(*cert, key, EVP_sha256()), 0);
    return key;
}

static struct fm_tls *tls_make(void)
{
    char cert_file[] = "/tmp/fanmesh-tls-XXXXXX", key_file[] = "/tmp/fanmesh-tls-XXXXXX";
    X509 *cert;
    EVP_PKEY *key = certificate_make(&cert);
    FILE *c = fdopen(mkstemp(cert_file), "w"), *k = fdopen(mkstemp(key_file), "w");
    assert_int_equal(PEM_write_X509(c, cert), 1);
    assert_int_equal(PEM_write_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(c);
    fclose(k);
    struct fm_tls *tls = NULL;
    struct fm_buf why = {0};
    const char *const cert_files[] = {cert_file}, *const key_files[] = {key_file};
    const struct fm_tls_config config = {.cert_files = cert_files, .key_files = key_files, .n = 1};
    assert_int_equal(fm_tls_new(&tls, &config, &why), FM_OK);
    fm_buf_fini(&why);
    unlink(cert_file);
    unlink(key_file);
    X509_free(cert);
    EVP_PKEY_free(key);
    return tls;
}

static int waiting(int fd)
{
    int n = 0;
    assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
    return n;
}

/* Each costs the node more than the client, and OpenSSL itself goes on for as long as there are more. */
static void a_read_ends_after_one_key_update_so_that_others_have_their_turn(void **state)
{
    (void)state;
    enum { UPDATES = 100 };
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct fm_tls *tls = tls_make();
    SSL *server = fm_tls_open(tls, fds[0]);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *client = SSL_new(context);
    assert_int_equal(SSL_set_fd(client, fds[1]), 1);
    enum fm_tls_io io = FM_TLS_READ;
    for (int i = 0; i < 10 && (io != FM_TLS_DONE || !SSL_is_init_finished(client)); i++) {
        (void)SSL_connect(client);
        if (io != FM_TLS_DONE)
            io = fm_tls_accept(server);
    }
    assert_int_equal(io, FM_TLS_DONE);
    for (int i = 0; i < UPDATES; i++) {
        assert_int_equal(SSL_key_update(client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(client), 1);
    }
    assert_int_equal(SSL_write(client, "x", 1), 1);
    int before = waiting(fds[0]);
    uint8_t bytes[16];
    size_t got, reads = 1;
    assert_int_equal(fm_tls_recv(server, bytes, sizeof bytes, &got), FM_TLS_READ);
    assert_true(before - waiting(fds[0]) <= 2 * before / UPDATES);
    while ((io = fm_tls_recv(server, bytes, sizeof bytes, &got)) == FM_TLS_READ && reads < 2 * (size_t)UPDATES)
        reads++;
    assert_int_equal(io, FM_TLS_DONE);
    assert_int_equal(got, 1);
    assert_int_equal(reads, UPDATES);
    SSL_free(client);
    SSL_CTX_free(context);
    fm_tls_close(&server);
    fm_tls_unref(&tls);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_secret_and_time_give_the_same_key_and_no_other),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(a_read_ends_after_one_key_update_so_that_others_have_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
