#include "json_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct fm_json parsed(const char *text)
{
    struct fm_json v = {0};
    assert_int_equal(fm_json_parse(fm_slice_str(text), 64, &v, NULL), FM_OK);
    return v;
}

static void assert_raw(struct fm_json v, const char *raw)
{
    assert_true(fm_slice_eq(v.raw, fm_slice_str(raw)));
}

static void every_case_is_decided_as_listed(void **state)
{
    (void)state;
    for (size_t i = 0; i < JSON_CASES; i++) {
        const struct json_case *c = &json_cases[i];
        /* From the heap and of the exact size, so that a read past the end is seen by the sanitizer. */
        uint8_t *copy = malloc(c->text.n ? c->text.n : 1);
        assert_non_null(copy);
        memcpy(copy, c->text.p, c->text.n);
        struct fm_json v;
        struct fm_json_error e = {0};
        enum fm_err err = fm_json_parse(fm_slice_of(copy, c->text.n), 64, &v, &e);
        bool wanted = c->kind == 'Y' || c->kind == 'i';
        if ((err == FM_OK) != wanted)
            fail_msg("%s: %s at %zu (%s)", c->name, fm_err_code(err), e.at, e.what ? e.what : "");
        if (err) {
            assert_non_null(e.what);
            assert_true(e.at <= c->text.n);
        }
        free(copy);
    }
}

static void no_prefix_of_an_array_is_accepted_or_read_past(void **state)
{
    (void)state;
    for (size_t i = 0; i < JSON_CASES; i++) {
        const struct json_case *c = &json_cases[i];
        if (c->kind != 'Y' || (c->text.p[0] != '[' && c->text.p[0] != '{'))
            continue;
        struct fm_json v;
        assert_int_equal(fm_json_parse(c->text, 64, &v, NULL), FM_OK);
        for (size_t n = 0; n < v.raw.n; n++) {
            uint8_t *copy = malloc(n ? n : 1);
            assert_non_null(copy);
            memcpy(copy, c->text.p, n);
            struct fm_json part;
            assert_int_equal(fm_json_parse(fm_slice_of(copy, n), 64, &part, NULL), FM_E_JSON);
            free(copy);
        }
    }
}

static void an_error_names_the_byte_and_what_was_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t at;
        const char *what;
    } cases[] = {
        {"[1,2", 4, "the text ends inside an array"},
        {"[1 2]", 3, "a comma or ] is missing behind an item"},
        {"{\"a\" 1}", 5, "the name of a member needs a colon behind it"},
        {"[\"ab\x01\"]", 4, "a string holds a control character that is not escaped"},
        {"[\"\xff\"]", 2, "a string holds bytes that are not UTF-8"},
        {"[\"\\ud800\"]", 2, "a \\u escape is the first half of a surrogate pair without the second"},
        {"[01]", 1, "a number begins with a zero"},
        {"[] x", 3, "something follows the value"},
        {"", 0, "the text ends where a value is due"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_json v;
        struct fm_json_error e = {0};
        assert_int_equal(fm_json_parse(fm_slice_str(cases[i].text), 64, &v, &e), FM_E_JSON);
        assert_string_equal(e.what, cases[i].what);
        assert_int_equal(e.at, cases[i].at);
    }
}

static void nesting_is_refused_beyond_the_limit_only(void **state)
{
    (void)state;
    char text[2 * FM_JSON_DEPTH_MAX + 3];
    const uint32_t limits[] = {1, 63, 64, 65, FM_JSON_DEPTH_MAX};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        uint32_t n = limits[i];
        memset(text, '[', n);
        memset(text + n, ']', n);
        struct fm_json v;
        struct fm_json_error e;
        assert_int_equal(fm_json_parse(fm_slice_of(text, 2 * n), n, &v, &e), FM_OK);
        assert_int_equal(fm_json_parse(fm_slice_of(text, 2 * n), n - 1, &v, &e), FM_E_TOO_DEEP);
        assert_int_equal(e.at, n - 1);
    }
    struct fm_json v;
    assert_int_equal(fm_json_parse(FM_LIT("1"), 0, &v, NULL), FM_OK);
}

static void a_hundred_thousand_open_brackets_end_at_the_limit(void **state)
{
    (void)state;
    enum { N = 100000 };
    char *text = malloc(N);
    assert_non_null(text);
    memset(text, '[', N);
    struct fm_json v;
    assert_int_equal(fm_json_parse(fm_slice_of(text, N), FM_JSON_DEPTH_MAX, &v, NULL), FM_E_TOO_DEEP);
    for (size_t i = 0; i + 5 <= N; i += 5)
        memcpy(text + i, "{\"\":[", 5);
    assert_int_equal(fm_json_parse(fm_slice_of(text, N), FM_JSON_DEPTH_MAX, &v, NULL), FM_E_TOO_DEEP);
    free(text);
}

static void values_are_slices_of_the_input(void **state)
{
    (void)state;
    const char *text = "  [ 1 ,\"two\" , {\"three\" : [3, 3]} ,null,[ ] ]  ";
    struct fm_json root = parsed(text), item;
    const char *raw[] = {"1", "\"two\"", "{\"three\" : [3, 3]}", "null", "[ ]"};
    const enum fm_json_type types[] = {FM_JSON_NUMBER, FM_JSON_STRING, FM_JSON_OBJECT, FM_JSON_NULL, FM_JSON_ARRAY};
    size_t n = 0;
    for (struct fm_json_walk w = fm_json_walk_of(&root); fm_json_next(&w, NULL, &item); n++) {
        assert_raw(item, raw[n]);
        assert_int_equal(item.type, types[n]);
        assert_true((const char *)item.raw.p > text && (const char *)item.raw.p < text + strlen(text));
    }
    assert_int_equal(n, 5);
    assert_int_equal(fm_json_count(&root), 5);
    struct fm_json scalar = parsed("3");
    assert_int_equal(fm_json_count(&scalar), 0);
}

static void brackets_and_quotes_inside_strings_end_nothing(void **state)
{
    (void)state;
    struct fm_json root = parsed("[[\"]\\\"]\",\"}\"],{\"]\":\"[\\\\\"},2]"), item;
    struct fm_json_walk w = fm_json_walk_of(&root);
    assert_true(fm_json_next(&w, NULL, &item));
    assert_raw(item, "[\"]\\\"]\",\"}\"]");
    assert_true(fm_json_next(&w, NULL, &item));
    assert_raw(item, "{\"]\":\"[\\\\\"}");
    assert_true(fm_json_next(&w, NULL, &item));
    assert_raw(item, "2");
    assert_false(fm_json_next(&w, NULL, &item));
}

static void the_last_of_members_with_one_name_wins(void **state)
{
    (void)state;
    struct fm_json root = parsed("{\"a\":1,\"b\":2,\"\\u0061\":3,\"c\":{\"a\":4}}"), v;
    assert_true(fm_json_get(&root, FM_LIT("a"), &v));
    assert_raw(v, "3");
    assert_true(fm_json_get(&root, FM_LIT("b"), &v));
    assert_raw(v, "2");
    assert_false(fm_json_get(&root, FM_LIT("d"), &v));
    struct fm_json array = parsed("[\"a\",1]");
    assert_false(fm_json_get(&array, FM_LIT("a"), &v));
}

static void a_string_is_unescaped_into_a_bounded_buffer(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *text;
        size_t n;
    } cases[] = {
        {"\"\"", "", 0},
        {"\"plain\"", "plain", 5},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"\\u0041\\u00e9\\u20AC\\ud834\\udd1e\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e", 10},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\uDBFF\\uDFFF\"", "\xf4\x8f\xbf\xbf", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_json v = parsed(cases[i].raw);
        uint8_t out[16];
        struct fm_slice text;
        assert_int_equal(fm_json_text(&v, out, sizeof out, &text), FM_OK);
        assert_true(fm_slice_eq(text, fm_slice_of(cases[i].text, cases[i].n)));
        assert_int_equal(fm_json_text(&v, out, cases[i].n, &text), FM_OK);
        if (cases[i].n)
            assert_int_equal(fm_json_text(&v, out, cases[i].n - 1, &text), FM_E_TOO_LARGE);
        assert_true(fm_json_is(&v, fm_slice_of(cases[i].text, cases[i].n)));
        assert_false(fm_json_is(&v, FM_LIT("other")));
    }
    struct fm_json number = parsed("1");
    struct fm_slice text;
    assert_int_equal(fm_json_text(&number, NULL, 0, &text), FM_E_INVALID);
    assert_false(fm_json_is(&number, FM_LIT("1")));
}

static void a_string_without_escapes_is_not_copied(void **state)
{
    (void)state;
    const char *raw = "\"a\xc3\xa9\"";
    struct fm_json v = parsed(raw);
    struct fm_slice text;
    assert_int_equal(fm_json_text(&v, NULL, 3, &text), FM_OK);
    assert_ptr_equal(text.p, raw + 1);
    assert_true(fm_json_is(&v, FM_LIT("a\xc3\xa9")));
    assert_false(fm_json_is(&v, FM_LIT("a")));
    assert_false(fm_json_is(&v, FM_LIT("a\xc3\xa9z")));
}

static void only_plain_whole_numbers_are_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t max;
        enum fm_err err;
        uint64_t value;
    } cases[] = {
        {"0", 0, FM_OK, 0},
        {"18446744073709551615", UINT64_MAX, FM_OK, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, FM_E_TOO_LARGE, 0},
        {"123456789012345678901234567890", UINT64_MAX, FM_E_TOO_LARGE, 0},
        {"101", 100, FM_E_TOO_LARGE, 0},
        {"-1", 100, FM_E_INVALID, 0},
        {"1.0", 100, FM_E_INVALID, 0},
        {"1.00000000000000000000000000", 100, FM_E_INVALID, 0},
        {"1e1", 100, FM_E_INVALID, 0},
        {"\"1\"", 100, FM_E_INVALID, 0},
        {"null", 100, FM_E_INVALID, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_json v = parsed(cases[i].text);
        uint64_t n = 0;
        assert_int_equal(fm_json_u64(&v, cases[i].max, &n), cases[i].err);
        assert_int_equal(n, cases[i].value);
    }
}

static void a_special_byte_is_seen_at_every_place_in_a_word(void **state)
{
    (void)state;
    const uint8_t bad[] = {0x00, 0x01, 0x1f, 0x80, 0xff};
    for (size_t at = 0; at < 24; at++) {
        for (size_t b = 0; b < sizeof bad; b++) {
            uint8_t text[26];
            memset(text, 'a', sizeof text);
            text[0] = text[25] = '"';
            struct fm_json v;
            struct fm_json_error e;
            assert_int_equal(fm_json_parse(fm_slice_of(text, sizeof text), 0, &v, &e), FM_OK);
            text[1 + at] = bad[b];
            assert_int_equal(fm_json_parse(fm_slice_of(text, sizeof text), 0, &v, &e), FM_E_JSON);
            assert_int_equal(e.at, 1 + at);
        }
    }
}

static void utf8_is_judged_alike_in_and_out_of_strings(void **state)
{
    (void)state;
    uint8_t text[6] = {'"', 0, 0, 0, 0, '"'};
    for (unsigned a = 0x80; a < 0x100; a++) {
        for (unsigned b = 0x70; b < 0xd0; b++) {
            const uint8_t tails[][2] = {{'a', 'a'}, {0x80, 'a'}, {0x80, 0x80}, {0xbf, 0xbf}};
            for (size_t i = 0; i < 4; i++) {
                text[1] = (uint8_t)a, text[2] = (uint8_t)b, text[3] = tails[i][0], text[4] = tails[i][1];
                struct fm_json v;
                bool in = fm_json_parse(fm_slice_of(text, 6), 0, &v, NULL) == FM_OK;
                assert_int_equal(fm_utf8_valid(fm_slice_of(text + 1, 4)), in);
            }
        }
    }
    assert_true(fm_utf8_valid(FM_LIT("a\n\"\\\xc3\xa9")));
    assert_true(fm_utf8_valid((struct fm_slice){0}));
    assert_false(fm_utf8_valid(FM_LIT("a\xc3")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_is_decided_as_listed),
        cmocka_unit_test(no_prefix_of_an_array_is_accepted_or_read_past),
        cmocka_unit_test(an_error_names_the_byte_and_what_was_wrong),
        cmocka_unit_test(nesting_is_refused_beyond_the_limit_only),
        cmocka_unit_test(a_hundred_thousand_open_brackets_end_at_the_limit),
        cmocka_unit_test(values_are_slices_of_the_input),
        cmocka_unit_test(brackets_and_quotes_inside_strings_end_nothing),
        cmocka_unit_test(the_last_of_members_with_one_name_wins),
        cmocka_unit_test(a_string_is_unescaped_into_a_bounded_buffer),
        cmocka_unit_test(a_string_without_escapes_is_not_copied),
        cmocka_unit_test(only_plain_whole_numbers_are_numbers),
        cmocka_unit_test(a_special_byte_is_seen_at_every_place_in_a_word),
        cmocka_unit_test(utf8_is_judged_alike_in_and_out_of_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
