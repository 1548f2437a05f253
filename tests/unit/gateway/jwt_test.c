/* Tokens as attackers write them. Real signatures: tests/system/tokens.test.mjs. */
#include "../../../gateway/auth/jwt.h"

#include "../../../broker/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Text as base64url. */
static void encode(struct fm_buf *out, const char *text)
{
    size_t at = out->n;
    fm_base64_encode(out, fm_slice_str(text));
    while (out->n > at && out->p[out->n - 1] == '=')
        out->n--;
    for (size_t i = at; i < out->n; i++)
        out->p[i] = out->p[i] == '+' ? '-' : out->p[i] == '/' ? '_' : out->p[i];
}

static struct fm_buf token_of(const char *header, const char *claims)
{
    struct fm_buf b = {0};
    encode(&b, header);
    fm_buf_u8(&b, '.');
    encode(&b, claims);
    fm_buf_str(&b, ".c2ln");
    return b;
}

/* NULL: it is read. */
static const char *read_raw(struct fm_slice token, struct fm_jwt *jwt)
{
    const char *why = NULL;
    /* A copy of exactly its size, so that a sanitizer sees a read beyond it. */
    uint8_t *copy = malloc(token.n ? token.n : 1);
    assert_non_null(copy);
    if (token.n)
        memcpy(copy, token.p, token.n);
    bool ok = fm_jwt_read(fm_slice_of(copy, token.n), jwt, &why);
    free(copy);
    assert_true(ok == !why);
    return why;
}

static const char *header_read(const char *header)
{
    struct fm_jwt jwt;
    struct fm_buf b = token_of(header, "{}");
    const char *why = read_raw(fm_buf_view(&b), &jwt);
    fm_buf_fini(&b);
    return why;
}

static void a_header_names_one_of_three_algorithms_and_perhaps_a_key(void **state)
{
    (void)state;
    struct fm_jwt jwt;
    struct fm_buf b = token_of("{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"k\\u0031\"}", "{\"sub\":\"ann\"}");
    const char *why = NULL;
    assert_true(fm_jwt_read(fm_buf_view(&b), &jwt, &why));
    assert_int_equal(jwt.alg, FM_ALG_ES256);
    assert_true(fm_slice_eq(jwt.kid, FM_LIT("k1")));
    assert_true(fm_slice_eq(jwt.claims, FM_LIT("{\"sub\":\"ann\"}")));
    assert_true(fm_slice_eq(jwt.signature, FM_LIT("sig")));
    assert_int_equal(jwt.signing.n, b.n - 5);
    fm_buf_fini(&b);
    assert_null(header_read("{\"alg\":\"HS256\"}"));
    assert_null(header_read("{\"alg\":\"RS256\",\"typ\":\"at+jwt\"}"));
    assert_null(header_read("{\"typ\":\"jwt\",\"alg\":\"RS256\",\"jku\":\"https://evil.example\",\"x5c\":[]}")); /* never looked at */
}

static void other_algorithms_are_refused(void **state)
{
    (void)state;
    static const char *const algs[] = {"\"none\"",
                                       "\"None\"",
                                       "\"NONE\"",
                                       "\"nOnE\"",
                                       "\"\"",
                                       "null",
                                       "1",
                                       "true",
                                       "[]",
                                       "\"hs256\"",
                                       "\"HS256 \"",
                                       "\"HS384\"",
                                       "\"HS512\"",
                                       "\"RS512\"",
                                       "\"PS256\"",
                                       "\"ES384\"",
                                       "\"ES256K\"",
                                       "\"EdDSA\"",
                                       "\"HS256\\u0000\"",
                                       "[\"HS256\"]",
                                       "{\"alg\":\"HS256\"}"};
    for (size_t i = 0; i < sizeof algs / sizeof algs[0]; i++) {
        char header[128];
        snprintf(header, sizeof header, "{\"alg\":%s}", algs[i]);
        const char *why = header_read(header);
        if (!why || strcmp(why, "its algorithm is not one of HS256, RS256, ES256") != 0)
            fail_msg("%s: %s", algs[i], why ? why : "taken");
    }
    assert_non_null(header_read("{}"));
}

static void critical_members_other_types_and_doubled_names_are_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{\"alg\":\"HS256\",\"crit\":[]}",
        "{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}",
        "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}",
        "{\"alg\":\"HS256\",\"crit\":null}",
        "{\"alg\":\"HS256\",\"typ\":\"JWE\"}",
        "{\"alg\":\"HS256\",\"typ\":\"logout+jwt\"}",
        "{\"alg\":\"HS256\",\"typ\":1}",
        "{\"alg\":\"none\",\"alg\":\"HS256\"}",
        "{\"alg\":\"HS256\",\"a\\u006cg\":\"RS256\"}",
        "{\"alg\":\"HS256\",\"kid\":\"a\",\"kid\":\"b\"}",
        "{\"alg\":\"HS256\",\"kid\":\"\"}",
        "{\"alg\":\"HS256\",\"kid\":1}",
        "{\"alg\":\"HS256\",\"kid\":{\"a\":1}}",
        "[\"HS256\"]",
        "\"HS256\"",
        "{\"alg\":\"HS256\"",
        "{\"alg\":\"HS256\"}x",
        "\xef\xbb\xbf{\"alg\":\"HS256\"}",
        "",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        if (!header_read(headers[i]))
            fail_msg("taken: %s", headers[i]);
    char kid[2 * FM_KID_MAX];
    snprintf(kid, sizeof kid, "{\"alg\":\"HS256\",\"kid\":\"%0*d\"}", FM_KID_MAX, 1);
    assert_null(header_read(kid));
    snprintf(kid, sizeof kid, "{\"alg\":\"HS256\",\"kid\":\"%0*d\"}", FM_KID_MAX + 1, 1);
    assert_non_null(header_read(kid));
    struct fm_buf many = {0};
    fm_buf_str(&many, "{\"alg\":\"HS256\"");
    for (unsigned i = 0; i < 32; i++)
        fm_buf_printf(&many, ",\"m%u\":1", i);
    fm_buf_str(&many, "}");
    fm_buf_u8(&many, 0);
    assert_non_null(header_read((const char *)many.p));
    fm_buf_fini(&many);
}

static void the_parts_are_three_in_canonical_base64url(void **state)
{
    (void)state;
    /* {"alg":"HS256"} is eyJhbGciOiJIUzI1NiJ9; {} is e30 */
    static const char *const bad[] = {
        "",
        ".",
        "..",
        "...",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJIUzI1NiJ9.e30",
        "eyJhbGciOiJIUzI1NiJ9.e30.",
        "eyJhbGciOiJIUzI1NiJ9.e30.c2ln.",
        "eyJhbGciOiJIUzI1NiJ9.e30.c2ln.x.y",
        "eyJhbGciOiJIUzI1NiJ9.e30=.c2ln",
        "eyJhbGciOiJIUzI1NiJ9.e31.c2ln",  /* stray bits */
        "eyJhbGciOiJIUzI1NiJ9.e30.c2lnA", /* six bits alone */
        "eyJhbGciOiJIUzI1NiJ9.e30.c2l",   /* stray bits */
        "eyJhbGciOiJIUzI1NiJ9.e30.c2+n",
        "eyJhbGciOiJIUzI1NiJ9.e30.c2/n",
        "eyJhbGciOiJIUzI1NiJ9.e30.c2 n",
        "eyJhbGciOiJIUzI1NiJ9.e30.c2ln\n",
        " eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
        "eyJhbGciOiJIUzI1NiJ9.e3\xc3\xa9.c2ln",
    };
    struct fm_jwt jwt;
    assert_null(read_raw(FM_LIT("eyJhbGciOiJIUzI1NiJ9.e30.c2ln"), &jwt));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!read_raw(fm_slice_str(bad[i]), &jwt))
            fail_msg("taken: %s", bad[i]);
    assert_non_null(read_raw(FM_LIT("eyJhbGciOiJIUzI1NiJ9.e30.c2l\0"), &jwt));
}

static void a_token_has_a_limit_of_bytes(void **state)
{
    (void)state;
    static char text[FM_TOKEN_MAX + 2];
    struct fm_jwt jwt;
    snprintf(text, sizeof text, "eyJhbGciOiJIUzI1NiJ9.");
    size_t head = strlen(text), tail = 5, fill = (FM_TOKEN_MAX - head - tail) / 4 * 4;
    memset(text + head, 'e', fill);
    memcpy(text + head + fill, ".c2ln", tail + 1);
    assert_null(read_raw(fm_slice_str(text), &jwt));
    memset(text, 'e', FM_TOKEN_MAX + 1);
    const char *why = read_raw(fm_slice_of(text, FM_TOKEN_MAX + 1), &jwt);
    assert_string_equal(why, "it is longer than 8192 bytes");
}

static const char *claims_read(const char *claims)
{
    struct fm_jwt jwt;
    struct fm_json json;
    const char *why = NULL;
    struct fm_buf b = token_of("{\"alg\":\"HS256\"}", claims);
    assert_true(fm_jwt_read(fm_buf_view(&b), &jwt, &why));
    bool ok = fm_jwt_claims(&jwt, &json, &why);
    assert_true(ok == !why);
    fm_buf_fini(&b);
    return why;
}

static void claims_are_an_object_with_each_name_once(void **state)
{
    (void)state;
    assert_null(claims_read("{\"sub\":\"ann\",\"Sub\":\"bob\",\"x\":{\"a\":1,\"a\":2}}"));
    assert_non_null(claims_read("{\"sub\":\"ann\",\"sub\":\"bob\"}"));
    assert_non_null(claims_read("{\"sub\":\"ann\",\"s\\u0075b\":\"bob\"}"));
    assert_non_null(claims_read("[]"));
    assert_non_null(claims_read("{\"sub\":\"ann\"} {}"));
    assert_non_null(claims_read("{\"sub\":\"\xff\"}"));
    char deep[2 * FM_CLAIMS_DEPTH + 16];
    size_t n = (size_t)snprintf(deep, sizeof deep, "{\"a\":");
    memset(deep + n, '[', FM_CLAIMS_DEPTH);
    memset(deep + n + FM_CLAIMS_DEPTH, ']', FM_CLAIMS_DEPTH);
    memcpy(deep + n + 2 * FM_CLAIMS_DEPTH, "}", 2);
    assert_non_null(claims_read(deep));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_names_one_of_three_algorithms_and_perhaps_a_key),
        cmocka_unit_test(other_algorithms_are_refused),
        cmocka_unit_test(critical_members_other_types_and_doubled_names_are_refused),
        cmocka_unit_test(the_parts_are_three_in_canonical_base64url),
        cmocka_unit_test(a_token_has_a_limit_of_bytes),
        cmocka_unit_test(claims_are_an_object_with_each_name_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
