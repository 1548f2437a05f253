#include "../../../gateway/auth/credential.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct fm_credential c;
static const char *why;

/* fields: lines without the line ends, separated by `|`. */
static bool find(const char *fields, const char *query, const char *cookie)
{
    struct fm_buf head = {0};
    fm_buf_str(&head, "GET /socket/websocket HTTP/1.1\r\nHost: a.example\r\n");
    for (const char *p = fields; *p; p++)
        if (*p == '|')
            fm_buf_str(&head, "\r\n");
        else
            fm_buf_u8(&head, (uint8_t)*p);
    fm_buf_str(&head, *fields ? "\r\n\r\n" : "\r\n");
    why = NULL;
    bool ok = fm_credential_find(fm_buf_view(&head), fm_slice_str(query), "token", cookie, &c, &why);
    fm_buf_fini(&head);
    assert_true(ok == !why);
    return ok;
}

static void found(enum fm_credential_from from, const char *token)
{
    assert_int_equal(c.from, from);
    assert_string_equal(c.token, token);
    assert_int_equal(c.n, strlen(token));
}

static void a_token_is_found_in_each_of_five_places(void **state)
{
    (void)state;
    assert_true(find("Authorization: Bearer a.b.c", "", ""));
    found(FM_CREDENTIAL_GIVEN, "a.b.c");
    assert_true(find("authorization: bearer  a.b.c", "", ""));
    found(FM_CREDENTIAL_GIVEN, "a.b.c");
    assert_true(find("X-Phoenix-AuthToken: a.b.c", "", ""));
    found(FM_CREDENTIAL_GIVEN, "a.b.c");
    assert_true(find("Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.YS5iLmM", "", ""));
    found(FM_CREDENTIAL_GIVEN, "a.b.c");
    assert_true(find("Sec-WebSocket-Protocol: base64url.bearer.phx.Pz8_,phoenix", "", "")); /* either alphabet */
    found(FM_CREDENTIAL_GIVEN, "???");
    assert_true(find("Sec-WebSocket-Protocol: base64url.bearer.phx.Pz8/", "", ""));
    found(FM_CREDENTIAL_GIVEN, "???");
    assert_true(find("", "vsn=2.0.0&token=a%2Eb.c&x=1", ""));
    found(FM_CREDENTIAL_GIVEN, "a.b.c");
    assert_true(find("Cookie: x=1; jwt=a.b.c; y=2", "", "jwt"));
    found(FM_CREDENTIAL_COOKIE, "a.b.c");
    assert_true(find("Cookie: x=1|Cookie: jwt=\"a.b.c\"", "", "jwt"));
    found(FM_CREDENTIAL_COOKIE, "a.b.c");
    fm_credential_fini(&c);
    for (size_t i = 0; i < sizeof c.token; i++)
        assert_int_equal(c.token[i], 0);
}

static void what_is_given_counts_before_what_a_browser_sends_by_itself(void **state)
{
    (void)state;
    const char *all =
        "Cookie: jwt=cookie|Sec-WebSocket-Protocol: base64url.bearer.phx.cHJvdG8|X-Phoenix-AuthToken: phx|Authorization: Bearer auth";
    assert_true(find(all, "token=query", "jwt"));
    found(FM_CREDENTIAL_GIVEN, "auth");
    assert_true(
        find("Cookie: jwt=cookie|Sec-WebSocket-Protocol: base64url.bearer.phx.cHJvdG8|X-Phoenix-AuthToken: phx", "token=query", "jwt"));
    found(FM_CREDENTIAL_GIVEN, "phx");
    assert_true(find("Cookie: jwt=cookie|Sec-WebSocket-Protocol: base64url.bearer.phx.cHJvdG8", "token=query", "jwt"));
    found(FM_CREDENTIAL_GIVEN, "proto");
    assert_true(find("Cookie: jwt=cookie", "token=query&token=second", "jwt"));
    found(FM_CREDENTIAL_GIVEN, "query");
}

static void what_is_none_is_none(void **state)
{
    (void)state;
    static const char *const fields[] = {"",
                                         "Authorization: Basic dXNlcjpwYXNz",
                                         "Authorization: Bearer",
                                         "Sec-WebSocket-Protocol: phoenix",
                                         "Sec-WebSocket-Protocol: ,,",
                                         "Cookie: jwtx=a; xjwt=b; JWT=c; jwt; =d",
                                         "Cookie: jwt=",
                                         "X-Cookie: jwt=a"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        assert_true(find(fields[i], "tokens=a&token=", "jwt"));
        found(FM_CREDENTIAL_NONE, "");
    }
    assert_true(find("Cookie: jwt=a", "", ""));
    found(FM_CREDENTIAL_NONE, "");
}

static void what_can_not_be_read_is_said(void **state)
{
    (void)state;
    assert_false(find("Sec-WebSocket-Protocol: base64url.bearer.phx.a", "", ""));
    assert_false(find("Sec-WebSocket-Protocol: base64url.bearer.phx.YS5i!", "", ""));
    assert_false(find("", "token=%zz", ""));
    assert_false(find("", "token=a%00b", ""));
    assert_false(find("Cookie: jwt=a|Cookie: jwt=b", "", "jwt"));
    assert_false(find("Cookie: jwt=a; jwt=b", "", "jwt"));
    assert_true(find("Cookie: jwt=a; jwt=a", "", "jwt"));
    static char longer[FM_TOKEN_MAX + 64];
    memset(longer, 'a', sizeof longer - 1);
    memcpy(longer, "token=", 6);
    assert_false(find("", longer, ""));
    memcpy(longer, "Authorization: Bearer ", 22);
    assert_false(find(longer, "", ""));
    memcpy(longer, "Cookie: jwt=", 12);
    assert_false(find(longer, "", "jwt"));
}

static void the_query_without_it_is_as_it_was(void **state)
{
    (void)state;
    static const struct {
        const char *query, *rest;
    } cases[] = {{"", ""},
                 {"token=a", ""},
                 {"vsn=2.0.0&token=a.b.c", "vsn=2.0.0"},
                 {"token=a&x=%20y&token=b&z", "x=%20y&z"},
                 {"%74oken=a&tokens=b&a&b=", "tokens=b&a&b="}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_buf out = {0};
        fm_credential_strip(&out, fm_slice_str(cases[i].query), "token");
        if (!fm_slice_eq(fm_buf_view(&out), fm_slice_str(cases[i].rest)))
            fail_msg("%s: %.*s", cases[i].query, (int)out.n, (const char *)out.p);
        fm_buf_fini(&out);
    }
}

/* http.c is linked for queries; its answers are the edge's business. */
void fm_http_respond(struct fm_http_request *req, unsigned status, const char *content_type, struct fm_slice headers, struct fm_slice body)
{
    (void)req, (void)status, (void)content_type, (void)headers, (void)body;
    fail_msg("nothing here answers HTTP");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_found_in_each_of_five_places),
        cmocka_unit_test(what_is_given_counts_before_what_a_browser_sends_by_itself),
        cmocka_unit_test(what_is_none_is_none),
        cmocka_unit_test(what_can_not_be_read_is_said),
        cmocka_unit_test(the_query_without_it_is_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
