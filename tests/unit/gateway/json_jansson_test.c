/* json_slice against jansson: the same verdict on every case of json_cases.h, on generated texts and on mutations of them, and the same
 * values where both accept. What differs: jansson refuses numbers that fit no machine type and a zero character in a member's name, and
 * skips a zero byte directly behind a number or literal. A run's seed is printed; FANMESH_SEED=n repeats it. */
#include "json_cases.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <cmocka.h>

enum { ROUNDS = 4000, MUTATIONS = 8, TEXT_MAX = 4096 };

static uint64_t rng;

static uint32_t draw(uint32_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 32) % below;
}

/* ---- comparing ---- */

static void assert_same(const struct fm_json *ours, json_t *theirs);

static void assert_same_string(const struct fm_json *ours, const char *text, size_t n)
{
    uint8_t out[TEXT_MAX];
    struct fm_slice back;
    assert_int_equal(ours->type, FM_JSON_STRING);
    assert_int_equal(fm_json_text(ours, out, sizeof out, &back), FM_OK);
    assert_true(fm_slice_eq(back, fm_slice_of(text, n)));
    assert_true(fm_json_is(ours, fm_slice_of(text, n)));
}

static void assert_same_object(const struct fm_json *ours, json_t *theirs)
{
    const char *name;
    json_t *value;
    assert_int_equal(ours->type, FM_JSON_OBJECT);
    json_object_foreach(theirs, name, value)
    {
        struct fm_json mine;
        assert_true(fm_json_get(ours, fm_slice_str(name), &mine));
        assert_same(&mine, value);
    }
    struct fm_json key, item;
    for (struct fm_json_walk w = fm_json_walk_of(ours); fm_json_next(&w, &key, &item);) {
        char out[TEXT_MAX + 1];
        struct fm_slice back;
        assert_int_equal(fm_json_text(&key, out, TEXT_MAX, &back), FM_OK);
        char *copy = fm_slice_dup(back);
        assert_non_null(copy);
        assert_non_null(json_object_get(theirs, copy));
        free(copy);
    }
}

static void assert_same(const struct fm_json *ours, json_t *theirs)
{
    struct fm_json item;
    size_t n = 0;
    switch (json_typeof(theirs)) {
    case JSON_OBJECT:
        assert_same_object(ours, theirs);
        break;
    case JSON_ARRAY:
        assert_int_equal(ours->type, FM_JSON_ARRAY);
        for (struct fm_json_walk w = fm_json_walk_of(ours); fm_json_next(&w, NULL, &item); n++) {
            assert_true(n < json_array_size(theirs));
            assert_same(&item, json_array_get(theirs, n));
        }
        assert_int_equal(n, json_array_size(theirs));
        break;
    case JSON_STRING:
        assert_same_string(ours, json_string_value(theirs), json_string_length(theirs));
        break;
    case JSON_INTEGER:
    case JSON_REAL: {
        char *text = fm_slice_dup(ours->raw);
        assert_int_equal(ours->type, FM_JSON_NUMBER);
        assert_non_null(text);
        if (json_is_integer(theirs))
            assert_true(strtoll(text, NULL, 10) == json_integer_value(theirs));
        else
            assert_true(strtod(text, NULL) == json_real_value(theirs));
        free(text);
        break;
    }
    case JSON_TRUE:
        assert_int_equal(ours->type, FM_JSON_TRUE);
        break;
    case JSON_FALSE:
        assert_int_equal(ours->type, FM_JSON_FALSE);
        break;
    case JSON_NULL:
        assert_int_equal(ours->type, FM_JSON_NULL);
        break;
    }
}

static unsigned accepted, refused;

static void assert_agree(struct fm_slice text)
{
    struct fm_json ours;
    struct fm_json_error e = {0};
    json_error_t their_error;
    enum fm_err err = fm_json_parse(text, 512, &ours, &e);
    json_t *theirs = json_loadb((const char *)text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &their_error);
    if (!theirs) {
        enum json_error_code code = json_error_code(&their_error);
        bool by_design = code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
        if (!err && !by_design)
            fail_msg("jansson refuses what json_slice accepts: %s: %.*s", their_error.text, (int)text.n, (const char *)text.p);
        refused++;
        return;
    }
    if (err && e.at > 0 && e.at < text.n && text.p[e.at] == 0 && strchr("0123456789el", text.p[e.at - 1])) {
        json_decref(theirs);
        refused++;
        return;
    }
    if (err)
        fail_msg("json_slice refuses what jansson accepts: %s at %zu: %.*s", e.what, e.at, (int)text.n, (const char *)text.p);
    assert_same(&ours, theirs);
    json_decref(theirs);
    accepted++;
}

/* ---- generating ---- */

struct text {
    uint8_t p[TEXT_MAX];
    size_t n;
};

static void put(struct text *t, const char *s, size_t n)
{
    if (t->n + n > TEXT_MAX)
        return;
    memcpy(t->p + t->n, s, n);
    t->n += n;
}

static void put_any(struct text *t, const char *const *of, size_t n)
{
    const char *s = of[draw((uint32_t)n)];
    put(t, s, strlen(s));
}

#define PUT_ANY(t, ...) \
    do { \
        static const char *const of[] = {__VA_ARGS__}; \
        put_any(t, of, sizeof of / sizeof of[0]); \
    } while (0)

static void gen_space(struct text *t)
{
    while (draw(4) == 0)
        PUT_ANY(t, " ", "\n", "\r", "\t", "  ");
}

static void gen_string(struct text *t)
{
    put(t, "\"", 1);
    for (uint32_t n = draw(6); n; n--)
        PUT_ANY(t, "a", "topic", "[", "]", "{", "}", ",", ":", "\\\"", "\\\\", "\\/", "\\b", "\\n", "\\u0041", "\\u00e9", "\\u20ac",
                "\\uD83D\\uDE00", "\\udbff\\udfff", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\x7f", "0123456789abcdef", "\\u0001");
    put(t, "\"", 1);
}

static void gen_number(struct text *t)
{
    PUT_ANY(t, "0", "-0", "1", "-1", "42", "9007199254740993", "-9223372036854775808", "9223372036854775807");
    if (draw(3) == 0)
        PUT_ANY(t, ".0", ".5", ".0625", ".123456789");
    if (draw(3) == 0)
        PUT_ANY(t, "e0", "E1", "e+2", "e-3", "e02");
}

static void gen_value(struct text *t, uint32_t depth)
{
    uint32_t kind = draw(depth ? 7 : 5);
    if (kind == 0)
        PUT_ANY(t, "null", "true", "false");
    else if (kind < 3)
        gen_string(t);
    else if (kind < 5)
        gen_number(t);
    else {
        bool object = kind == 6;
        put(t, object ? "{" : "[", 1);
        gen_space(t);
        for (uint32_t n = draw(5), i = 0; i < n; i++) {
            if (i)
                put(t, ",", 1);
            gen_space(t);
            if (object) {
                gen_string(t);
                gen_space(t);
                put(t, ":", 1);
                gen_space(t);
            }
            gen_value(t, depth - 1);
            gen_space(t);
        }
        put(t, object ? "}" : "]", 1);
    }
}

static void mutate(struct text *t)
{
    static const uint8_t favourites[] = "\"\\[]{},:0-.eE+u tfn\n\x80\xc3\xed\xf4\x00\x1f";
    if (t->n == 0)
        return;
    size_t at = draw((uint32_t)t->n);
    uint8_t byte = draw(2) ? favourites[draw(sizeof favourites - 1)] : (uint8_t)draw(256);
    switch (draw(5)) {
    case 0:
        t->p[at] = byte;
        break;
    case 1:
        memmove(t->p + at, t->p + at + 1, t->n - at - 1);
        t->n--;
        break;
    case 2:
        if (t->n < TEXT_MAX) {
            memmove(t->p + at + 1, t->p + at, t->n - at);
            t->p[at] = byte;
            t->n++;
        }
        break;
    case 3:
        t->n = at;
        break;
    default: {
        size_t other = draw((uint32_t)t->n);
        uint8_t swap = t->p[at];
        t->p[at] = t->p[other];
        t->p[other] = swap;
    }
    }
}

/* ---- the tests ---- */

static void jansson_agrees_on_every_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < JSON_CASES; i++)
        assert_agree(json_cases[i].text);
}

static void jansson_agrees_on_mutations_of_every_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < JSON_CASES; i++) {
        for (unsigned k = 0; k < 16; k++) {
            struct text t = {.n = 0};
            put(&t, (const char *)json_cases[i].text.p, json_cases[i].text.n);
            mutate(&t);
            assert_agree(fm_slice_of(t.p, t.n));
        }
    }
}

static void jansson_agrees_on_generated_texts_and_their_mutations(void **state)
{
    (void)state;
    accepted = refused = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct text t = {.n = 0};
        gen_space(&t);
        gen_value(&t, 5);
        gen_space(&t);
        assert_agree(fm_slice_of(t.p, t.n));
        for (unsigned k = 0; k < MUTATIONS; k++) {
            mutate(&t);
            assert_agree(fm_slice_of(t.p, t.n));
        }
    }
    /* The generator would prove nothing if it made only one kind. */
    assert_true(accepted > ROUNDS / 2);
    assert_true(refused > ROUNDS);
}

int main(void)
{
    const char *given = getenv("FANMESH_SEED");
    if (given)
        rng = strtoull(given, NULL, 10);
    else if (getrandom(&rng, sizeof rng, 0) != (ssize_t)sizeof rng)
        rng = 1;
    rng |= 1;
    printf("seed: FANMESH_SEED=%llu\n", (unsigned long long)rng);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jansson_agrees_on_every_case),
        cmocka_unit_test(jansson_agrees_on_mutations_of_every_case),
        cmocka_unit_test(jansson_agrees_on_generated_texts_and_their_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
