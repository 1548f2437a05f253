#include "../../../broker/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void what_is_encoded_decodes_to_the_same_bytes(void **state)
{
    (void)state;
    uint8_t bytes[67];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 200);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        struct fm_buf text = {0}, back = {0};
        size_t at;
        fm_base64_encode(&text, fm_slice_of(bytes, n));
        assert_int_equal(text.n, (n + 2) / 3 * 4);
        assert_int_equal(fm_base64_decode(fm_buf_view(&text), &back, &at), FM_OK);
        assert_true(fm_slice_eq(fm_buf_view(&back), fm_slice_of(bytes, n)));
        fm_buf_fini(&text);
        fm_buf_fini(&back);
    }
}

static void both_alphabets_and_absent_padding_are_read(void **state)
{
    (void)state;
    const char *same[] = {"+/+/+g==", "-_-_-g==", "-_-_-g", "+/-_+g"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct fm_buf out = {0};
        size_t at;
        assert_int_equal(fm_base64_decode(fm_slice_str(same[i]), &out, &at), FM_OK);
        assert_true(fm_slice_eq(fm_buf_view(&out), FM_LIT("\xfb\xff\xbf\xfa")));
        fm_buf_fini(&out);
    }
}

static void what_is_not_base64_is_refused_with_its_place(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t at;
    } bad[] = {{"A", 0},     {"AAAAA", 4}, {"AA=", 2},  {"AAA==", 3}, {"A===", 1}, {"AA AA", 4},
               {"AA\nA", 2}, {"=AAA", 0},  {"AB==", 1}, {"AAB=", 2},  {"====", 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_buf out = {0};
        size_t at = 99;
        assert_int_equal(fm_base64_decode(fm_slice_str(bad[i].text), &out, &at), FM_E_SYNTAX);
        assert_int_equal(at, bad[i].at);
        fm_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_decodes_to_the_same_bytes),
        cmocka_unit_test(both_alphabets_and_absent_padding_are_read),
        cmocka_unit_test(what_is_not_base64_is_refused_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
