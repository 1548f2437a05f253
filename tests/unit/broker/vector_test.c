#include "../../../broker/vector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void an_id_is_read_back_as_it_was_printed(void **state)
{
    (void)state;
    const struct fm_id ids[] = {{1, 0}, {61, 1}, {62, 62}, {UINT64_MAX, UINT64_MAX}, {0x123456789abcdef0, 1234}};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char text[FM_ID_TEXT_MAX + 1];
        struct fm_id back;
        size_t n = fm_id_print(ids[i], text);
        assert_int_equal(n, strlen(text));
        assert_int_equal(fm_id_parse(text, n, &back), FM_OK);
        assert_true(back.origin == ids[i].origin && back.seq == ids[i].seq);
    }
}

static void what_is_not_an_id_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {
        "",      "-",   "a", "a-", "-1", "a-1x", "a-01", "0a-1", "0-1", "a-18446744073709551616", "zzzzzzzzzzz-1", "aaaaaaaaaaaa-1",
        "a b-1", "a--1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_id id;
        assert_int_equal(fm_id_parse(bad[i], strlen(bad[i]), &id), FM_E_SYNTAX);
    }
}

static void a_vector_keeps_one_seq_an_origin_and_only_raises(void **state)
{
    (void)state;
    struct fm_vector v = {0};
    assert_int_equal(fm_vector_raise(&v, 9, 5), FM_OK);
    assert_int_equal(fm_vector_raise(&v, 3, 7), FM_OK);
    assert_int_equal(fm_vector_raise(&v, 9, 4), FM_OK);
    assert_int_equal(v.n, 2);
    assert_int_equal(fm_vector_get(&v, 9), 5);
    assert_int_equal(fm_vector_get(&v, 4), 0);
    struct fm_buf b = {0};
    fm_vector_json(&b, &v);
    assert_memory_equal(b.p, "[\"3-7\",\"9-5\"]", b.n);
    fm_buf_fini(&b);
    fm_vector_remove(&v, 3);
    assert_false(fm_vector_has(&v, 3));
    fm_vector_fini(&v);
}

static void a_vector_refuses_more_than_256_origins(void **state)
{
    (void)state;
    struct fm_vector v = {0};
    for (uint64_t o = 1; o <= FM_CURSOR_MAX; o++)
        assert_int_equal(fm_vector_set(&v, o, o), FM_OK);
    assert_int_equal(fm_vector_set(&v, 1000, 1), FM_E_TOO_MANY);
    assert_int_equal(fm_vector_set(&v, 7, 1), FM_OK);
    fm_vector_fini(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_read_back_as_it_was_printed),
        cmocka_unit_test(what_is_not_an_id_is_refused),
        cmocka_unit_test(a_vector_keeps_one_seq_an_origin_and_only_raises),
        cmocka_unit_test(a_vector_refuses_more_than_256_origins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
