#include "../../../gateway/http/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* The edge's part: keeps the one answer that a test expects. */
static struct {
    unsigned answers, status;
    char headers[512], body[2048];
} got;

void fm_http_respond(struct fm_http_request *req, unsigned status, const char *content_type, struct fm_slice headers, struct fm_slice body)
{
    assert_non_null(req);
    assert_string_equal(content_type, "application/json");
    assert_true(headers.n < sizeof got.headers && body.n < sizeof got.body);
    got.answers++;
    got.status = status;
    snprintf(got.headers, sizeof got.headers, "%.*s", (int)headers.n, (const char *)headers.p);
    snprintf(got.body, sizeof got.body, "%.*s", (int)body.n, (const char *)body.p);
}

static int forget_answers(void **state)
{
    (void)state;
    memset(&got, 0, sizeof got);
    return 0;
}

static void an_error_is_json_with_a_code_and_a_sentence(void **state)
{
    (void)state;
    struct fm_http_request req = {0};
    fm_http_fail(&req, FM_E_NOT_FOUND, "say \"what\"");
    assert_int_equal(got.answers, 1);
    assert_int_equal(got.status, 404);
    assert_string_equal(got.body, "{\"error\":{\"code\":\"not_found\",\"message\":\"there is nothing at this path: say \\\"what\\\"\"}}\n");
    assert_string_equal(got.headers, "");
}

static void an_error_carries_its_place_its_headers_and_further_members(void **state)
{
    (void)state;
    struct fm_http_request req = {0};
    fm_http_fail_with(
        &req, &(struct fm_http_error){
                  .err = FM_E_METHOD, .has_at = true, .at = 17, .headers = FM_LIT("Allow: GET\r\n"), .members = FM_LIT("\"id\":\"a-1\"")});
    assert_int_equal(got.status, 405);
    assert_string_equal(got.headers, "Allow: GET\r\n");
    assert_non_null(strstr(got.body, "\"at\":17},\"id\":\"a-1\"}"));
}

static void an_overloaded_node_says_when_to_come_back(void **state)
{
    (void)state;
    struct fm_http_request req = {0};
    fm_http_fail(&req, FM_E_BUSY, NULL);
    assert_int_equal(got.status, 503);
    assert_string_equal(got.headers, "Retry-After: 1\r\n");
}

static void a_missing_key_is_answered_with_the_scheme_to_use(void **state)
{
    (void)state;
    struct fm_http_request req = {0};
    fm_http_fail(&req, FM_E_UNAUTHORIZED, NULL);
    assert_int_equal(got.status, 401);
    assert_non_null(strstr(got.headers, "WWW-Authenticate: Bearer"));
}

static void every_error_has_a_status_that_is_an_error(void **state)
{
    (void)state;
    for (int err = FM_OK + 1; err < FM_ERR_COUNT; err++) {
        unsigned status = fm_http_status_of((enum fm_err)err);
        assert_true(status >= 400 && status < 600);
    }
    assert_int_equal(fm_http_status_of(FM_OK), 200);
}

static void a_media_type_is_known_with_parameters_and_in_any_case(void **state)
{
    (void)state;
    assert_true(fm_http_media_is(FM_LIT("application/json"), "application/json"));
    assert_true(fm_http_media_is(FM_LIT(" Application/JSON ; charset=utf-8"), "application/json"));
    assert_false(fm_http_media_is(FM_LIT("application/json5"), "application/json"));
    assert_false(fm_http_media_is(FM_LIT("application/jso"), "application/json"));
    assert_false(fm_http_media_is(FM_LIT(""), "application/json"));
    assert_false(fm_http_media_is(FM_LIT(";application/json"), "application/json"));
}

static void a_parameter_is_decoded(void **state)
{
    (void)state;
    char out[32];
    struct fm_slice q = FM_LIT("a=1&na%6De=x+y%2Bz%26&empty=&bare&name=second");
    assert_int_equal(fm_query_param(q, "name", false, out, sizeof out), FM_OK);
    assert_string_equal(out, "x y+z&");
    assert_int_equal(fm_query_param(q, "name", true, out, sizeof out), FM_OK);
    assert_string_equal(out, "second");
    assert_int_equal(fm_query_param(q, "empty", false, out, sizeof out), FM_OK);
    assert_string_equal(out, "");
    assert_int_equal(fm_query_param(q, "bare", false, out, sizeof out), FM_OK);
    assert_string_equal(out, "");
    assert_int_equal(fm_query_param(q, "nam", false, out, sizeof out), FM_E_NOT_FOUND);
    assert_int_equal(fm_query_param(fm_slice_of(NULL, 0), "name", true, out, sizeof out), FM_E_NOT_FOUND);
}

static void a_broken_percent_sign_and_a_zero_byte_are_refused(void **state)
{
    (void)state;
    const char *bad[] = {"v=%", "v=%4", "v=%4g", "v=%g4", "v=a%00b", "v=%%41"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char out[16];
        assert_int_equal(fm_query_param(fm_slice_str(bad[i]), "v", true, out, sizeof out), FM_E_SYNTAX);
    }
}

static void a_value_that_does_not_fit_is_refused_not_cut(void **state)
{
    (void)state;
    char out[5];
    assert_int_equal(fm_query_param(FM_LIT("v=abcd"), "v", true, out, sizeof out), FM_OK);
    assert_string_equal(out, "abcd");
    assert_int_equal(fm_query_param(FM_LIT("v=abcde"), "v", true, out, sizeof out), FM_E_TOO_LARGE);
    assert_int_equal(fm_query_param(FM_LIT("v=%61%61%61%61%61"), "v", true, out, sizeof out), FM_E_TOO_LARGE);
}

static void a_query_is_walked_without_its_empty_pieces(void **state)
{
    (void)state;
    struct fm_slice rest = FM_LIT("&&a=1&&=x&b"), name, value;
    assert_true(fm_query_next(&rest, &name, &value));
    assert_true(fm_slice_eq(name, FM_LIT("a")) && fm_slice_eq(value, FM_LIT("1")));
    assert_true(fm_query_next(&rest, &name, &value));
    assert_true(name.n == 0 && fm_slice_eq(value, FM_LIT("x")));
    assert_true(fm_query_next(&rest, &name, &value));
    assert_true(fm_slice_eq(name, FM_LIT("b")) && value.n == 0);
    assert_false(fm_query_next(&rest, &name, &value));
}

static void a_query_is_known_if_each_of_its_names_is(void **state)
{
    (void)state;
    struct fm_slice name;
    assert_true(fm_query_known(FM_LIT(""), "", NULL, &name));
    assert_true(fm_query_known(FM_LIT("topic=a&last=1&topic=b"), "topic last", NULL, &name));
    assert_true(fm_query_known(FM_LIT("%74opic=a&jwt=x"), "topic last", "jwt", &name));
    static const char *const unknown[] = {"las", "lastt", "LAST", "jwt", "topic%20last", "", "%"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        char query[64];
        int n = snprintf(query, sizeof query, "topic=a&%s=1&other=2", unknown[i]);
        assert_false(fm_query_known(fm_slice_of(query, (size_t)n), "topic last", "", &name));
        assert_true(fm_slice_eq(name, fm_slice_str(unknown[i])));
    }
}

#define TEST(f) cmocka_unit_test_setup(f, forget_answers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_error_is_json_with_a_code_and_a_sentence),
        TEST(an_error_carries_its_place_its_headers_and_further_members),
        TEST(an_overloaded_node_says_when_to_come_back),
        TEST(a_missing_key_is_answered_with_the_scheme_to_use),
        TEST(every_error_has_a_status_that_is_an_error),
        TEST(a_media_type_is_known_with_parameters_and_in_any_case),
        TEST(a_parameter_is_decoded),
        TEST(a_broken_percent_sign_and_a_zero_byte_are_refused),
        TEST(a_value_that_does_not_fit_is_refused_not_cut),
        TEST(a_query_is_walked_without_its_empty_pieces),
        TEST(a_query_is_known_if_each_of_its_names_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
