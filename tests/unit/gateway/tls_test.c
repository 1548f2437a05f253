/* Keys of session tickets: the same wherever the secret is, others at every time. (Handshakes: tests/system/tls.test.mjs.) */
#include "../../../gateway/tls.h"

#include <setjmp.h>
#include <stdarg.h>
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
    const struct fm_tls_config c = {.cert_file = "/nowhere/cert.pem", .key_file = "/nowhere/key.pem"};
    assert_int_equal(fm_tls_new(&tls, &c, &why), FM_E_IO);
    assert_null(tls);
    fm_buf_u8(&why, 0);
    assert_string_equal(why.p, "tls_cert /nowhere/cert.pem can't be used: No such file or directory");
    fm_buf_fini(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_secret_and_time_give_the_same_key_and_no_other),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
