#include "../../../gateway/edge/web_origin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static bool allowed(const char *origin, const char *host, const char *const *list)
{
    return fm_origin_allowed(fm_slice_str(origin), fm_slice_str(host), list);
}

static void a_page_may_connect_to_its_own_host(void **state)
{
    (void)state;
    const char *const none[] = {NULL};
    assert_true(allowed("http://a.example", "a.example", none));
    assert_true(allowed("https://A.example", "a.EXAMPLE", none));
    assert_true(allowed("http://a.example:4000", "a.example:4000", none));
    assert_true(allowed("https://a.example", "a.example:443", NULL)); /* a proxy that ended TLS kept its port */
    assert_true(allowed("https://a.example:443", "a.example", none));
    assert_true(allowed("http://[::1]:4000", "[::1]:4000", none));
}

static void a_page_of_another_host_may_not(void **state)
{
    (void)state;
    const char *const none[] = {NULL};
    const char *const pairs[][2] = {
        {"http://b.example", "a.example"},
        {"http://a.example:4001", "a.example:4000"},
        {"http://a.example", "a.example:4000"},
        {"http://a.example.evil", "a.example"},
        {"http://evil-a.example", "a.example"},
        {"http://a.example/path", "a.example"},
        {"null", "null"},
        {"file://", ""},
        {"http://", ""},
        {"a.example", "a.example"},
        {"ftp://a.example", "a.example"},
        {"chrome-extension://abc", "abc"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (allowed(pairs[i][0], pairs[i][1], none))
            fail_msg("%s at %s", pairs[i][0], pairs[i][1]);
}

static void a_listed_origin_may_connect_and_only_as_it_is_listed(void **state)
{
    (void)state;
    const char *const list[] = {"https://app.example", "http://127.0.0.1:8080", NULL}, *const all[] = {"*", NULL};
    assert_true(allowed("https://app.example", "a.example", list));
    assert_true(allowed("http://127.0.0.1:8080", "a.example", list));
    assert_false(allowed("http://app.example", "a.example", list));
    assert_false(allowed("https://app.example:8443", "a.example", list));
    assert_true(allowed("null", "a.example", all));
}

static void a_star_stands_for_what_comes_before_a_domain_or_for_a_port(void **state)
{
    (void)state;
    const char *const list[] = {"https://*.app.example", "http://localhost:*", NULL};
    static const char *const in[] = {"https://a.app.example", "https://a.b-c.APP.example", "http://localhost:3000", "HTTP://localhost:1"};
    static const char *const out[] = {"https://app.example",
                                      "https://.app.example.evil",
                                      "https://evilapp.example",
                                      "http://a.app.example",
                                      "https://a.app.example:8443",
                                      "https://evil.example/.app.example",
                                      "https://evil.example?.app.example",
                                      "https://user@x.app.example",
                                      "https://evil.example:1.app.example",
                                      "https://*.app.example",
                                      "https://.app.example",
                                      "http://localhost:",
                                      "http://localhost",
                                      "http://localhost:3000/x",
                                      "http://localhost.evil:3000"};
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
        if (!allowed(in[i], "a.example", list))
            fail_msg("%s", in[i]);
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++)
        if (allowed(out[i], "a.example", list))
            fail_msg("%s", out[i]);
}

static void a_star_alone_allows_nobody_who_comes_by_a_cookie(void **state)
{
    (void)state;
    const char *const all[] = {"*", "https://b.example", NULL};
    assert_true(fm_origin_allowed(FM_LIT("https://c.example"), FM_LIT("a.example"), all));
    assert_false(fm_origin_named(FM_LIT("https://c.example"), FM_LIT("a.example"), all));
    assert_false(fm_origin_named(FM_LIT("null"), FM_LIT("a.example"), all));
    assert_true(fm_origin_named(FM_LIT("https://b.example"), FM_LIT("a.example"), all));
    assert_true(fm_origin_named(FM_LIT("https://a.example"), FM_LIT("a.example"), all));
    assert_true(fm_origin_named(FM_LIT(""), FM_LIT("a.example"), all));
}

static void who_sends_no_origin_is_no_page(void **state)
{
    (void)state;
    const char *const none[] = {NULL};
    assert_true(allowed("", "a.example", none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_may_connect_to_its_own_host),
        cmocka_unit_test(a_page_of_another_host_may_not),
        cmocka_unit_test(a_listed_origin_may_connect_and_only_as_it_is_listed),
        cmocka_unit_test(a_star_stands_for_what_comes_before_a_domain_or_for_a_port),
        cmocka_unit_test(a_star_alone_allows_nobody_who_comes_by_a_cookie),
        cmocka_unit_test(who_sends_no_origin_is_no_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
