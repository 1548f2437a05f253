#include "../../../broker/diag.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct timespec at = {.tv_sec = 1790000000, .tv_nsec = 7000000};

__attribute__((format(printf, 2, 3))) static const char *line(enum fm_diag_format format, const char *fmt, ...)
{
    static char out[FM_DIAG_LINE_MAX + 1];
    va_list ap;
    va_start(ap, fmt);
    size_t n = fm_diag_line(out, format, &(struct fm_diag_head){&at, FM_WARN, "tested"}, fmt, ap);
    va_end(ap);
    assert_true(n > 0 && out[n - 1] == '\n');
    assert_null(memchr(out, '\n', n - 1));
    out[n] = 0;
    return out;
}

static json_t *parsed(const char *text)
{
    json_error_t error;
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!o)
        fail_msg("%s at %d: %s", error.text, error.position, text);
    assert_true(json_is_object(o));
    return o;
}

static const char *text_of(json_t *o, const char *key)
{
    assert_true(json_is_string(json_object_get(o, key)));
    return json_string_value(json_object_get(o, key));
}

static void pairs_leave_as_they_were_written(void **state)
{
    (void)state;
    const char *line_as_it_is =
        "node=\"a b\" incarnation=k3fa9Qz mesh=127.0.0.1:4002 ms=12 why=\"it's \\\"so\\\" \\\\ \\x0a\" then=\"nothing\"";
    char whole[512];
    snprintf(whole, sizeof whole, "ts=2026-09-21T14:13:20.007Z level=warn event=tested %s\n", line_as_it_is);
    assert_string_equal(line(FM_LOGFMT, "%s", line_as_it_is), whole);
    assert_string_equal(line(FM_LOGFMT, "n=%d", -1), "ts=2026-09-21T14:13:20.007Z level=warn event=tested n=-1\n");
}

static void json_has_the_same_members_with_numbers_where_the_format_says_so(void **state)
{
    (void)state;
    json_t *o = parsed(line(FM_JSON_LINES, "name=%s seq=%llu zero=0 share=%.2f address=%s why=\"all is \\\"well\\\"\"", "42",
                            18446744073709551ull, 0.25, "127.0.0.1:4002"));
    assert_string_equal(text_of(o, "ts"), "2026-09-21T14:13:20.007Z");
    assert_string_equal(text_of(o, "level"), "warn");
    assert_string_equal(text_of(o, "event"), "tested");
    assert_string_equal(text_of(o, "name"), "42"); /* it looks like a number and is a name */
    assert_int_equal(json_integer_value(json_object_get(o, "seq")), 18446744073709551);
    assert_true(json_is_integer(json_object_get(o, "zero")));
    assert_true(json_real_value(json_object_get(o, "share")) == 0.25);
    assert_string_equal(text_of(o, "address"), "127.0.0.1:4002");
    assert_string_equal(text_of(o, "why"), "all is \"well\"");
    assert_int_equal(json_object_size(o), 9);
    json_decref(o);
}

static void what_is_no_number_of_json_is_a_text(void **state)
{
    (void)state;
    json_t *o = parsed(line(FM_JSON_LINES, "a=%f b=%f c=%03d d=%.1f e=%s", 1.0 / 0.0, 0.0 / 0.0, 7, 1e300, "1"));
    assert_string_equal(text_of(o, "a"), "inf");
    assert_non_null(strstr(text_of(o, "b"), "nan"));
    assert_string_equal(text_of(o, "c"), "007");
    assert_true(json_is_real(json_object_get(o, "d")));
    assert_string_equal(text_of(o, "e"), "1");
    json_decref(o);
}

static void text_that_nobody_quoted_stays_in_its_value(void **state)
{
    (void)state;
    json_t *o = parsed(line(FM_JSON_LINES, "why=\"%s\" bare=%s then=\"%s\"", "can't open \"x y\"", "a\nlevel=error", "b"));
    assert_string_equal(text_of(o, "why"), "can't open \"x y\"");
    assert_string_equal(text_of(o, "bare"), "a\nlevel=error");
    assert_string_equal(text_of(o, "then"), "b");
    json_decref(o);
    assert_non_null(strstr(line(FM_LOGFMT, "bare=%s n=%d", "a\nlevel=error", 1), " bare=\"a\\x0alevel=error\" n=1\n"));
}

static void text_without_a_key_gets_one(void **state)
{
    (void)state;
    json_t *o = parsed(line(FM_JSON_LINES, "%s n=%d", "just some words", 1));
    assert_string_equal(text_of(o, "text"), "just some words");
    assert_int_equal(json_integer_value(json_object_get(o, "n")), 1);
    json_decref(o);
    assert_non_null(strstr(line(FM_LOGFMT, "%s n=%d", "just some words", 1), " text=\"just some words\" n=1\n"));
}

static void a_line_that_is_too_long_says_that_it_was_cut(void **state)
{
    (void)state;
    char *lots = malloc(3 * FM_DIAG_BODY_MAX);
    assert_non_null(lots);
    memset(lots, 'x', 3 * FM_DIAG_BODY_MAX);
    lots[3 * FM_DIAG_BODY_MAX - 1] = 0;
    json_t *o = parsed(line(FM_JSON_LINES, "n=%d why=\"%s\"", 5, lots));
    assert_true(json_is_true(json_object_get(o, "cut")));
    assert_int_equal(json_integer_value(json_object_get(o, "n")), 5);
    assert_true(strlen(text_of(o, "why")) > FM_DIAG_BODY_MAX - 100);
    json_decref(o);
    const char *text = line(FM_LOGFMT, "n=%d why=\"%s\"", 5, lots);
    assert_string_equal(text + strlen(text) - 12, "x\" cut=true\n");
    lots[FM_DIAG_BODY_MAX - 1 - 4] = 0; /* `a=`, the text, a space: one digit of the number has room */
    o = parsed(line(FM_JSON_LINES, "%s n=%d", lots, 12345));
    assert_true(json_is_true(json_object_get(o, "cut")));
    assert_string_equal(text_of(o, "n"), "1");
    json_decref(o);
    free(lots);
}

/* The same bytes back, but for those that are no UTF-8. */
static void any_quoted_text_comes_back_from_json_and_from_logfmt(void **state)
{
    (void)state;
    static const char pieces[][8] = {"\"",       "\\",    "=",    " ", "\n", "\t",       "\x01",         "\x7f",
                                     "a",        "\\x41", "x",    "{", "}",  "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                     "\" then=", ",",     "\\\"", "\r"};
    unsigned seed = 1;
    for (unsigned round = 0; round < 5000; round++) {
        char text[200], quote[1024];
        size_t n = 0;
        while (n + 8 < sizeof text && rand_r(&seed) % 20)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s", pieces[(unsigned)rand_r(&seed) % (sizeof pieces / sizeof pieces[0])]);
        text[n] = 0;
        fm_diag_quote(quote, sizeof quote, text, n);
        json_t *o = parsed(line(FM_JSON_LINES, "before=%u topic=%s after=%u", round, quote, round));
        assert_string_equal(text_of(o, "topic"), text);
        assert_int_equal(json_integer_value(json_object_get(o, "before")), round);
        assert_int_equal(json_integer_value(json_object_get(o, "after")), round);
        assert_int_equal(json_object_size(o), 6);
        json_decref(o);
        char want[1400];
        snprintf(want, sizeof want, " before=%u topic=%s after=%u\n", round, quote, round);
        assert_non_null(strstr(line(FM_LOGFMT, "before=%u topic=%s after=%u", round, quote, round), want));
    }
}

static void any_bytes_at_all_make_a_line_of_json(void **state)
{
    (void)state;
    unsigned seed = 2;
    for (unsigned round = 0; round < 5000; round++) {
        char bytes[120], quote[512];
        size_t n = (unsigned)rand_r(&seed) % (sizeof bytes - 1);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(1 + (unsigned)rand_r(&seed) % 255);
        bytes[n] = 0;
        fm_diag_quote(quote, sizeof quote, bytes, n);
        json_t *o = parsed(line(FM_JSON_LINES, "q=%s n=%u", quote, round));
        assert_int_equal(json_object_size(o), 5);
        json_decref(o);
        /* As they come, in quotes and without: pairs may appear in it, but it can be read. */
        json_error_t error;
        o = json_loads(line(FM_JSON_LINES, "a=%s b=\"%s\" n=%u", bytes, bytes, round), 0, &error);
        assert_non_null(o);
        json_decref(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_leave_as_they_were_written),
        cmocka_unit_test(json_has_the_same_members_with_numbers_where_the_format_says_so),
        cmocka_unit_test(what_is_no_number_of_json_is_a_text),
        cmocka_unit_test(text_that_nobody_quoted_stays_in_its_value),
        cmocka_unit_test(text_without_a_key_gets_one),
        cmocka_unit_test(a_line_that_is_too_long_says_that_it_was_cut),
        cmocka_unit_test(any_quoted_text_comes_back_from_json_and_from_logfmt),
        cmocka_unit_test(any_bytes_at_all_make_a_line_of_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
