#include "../../../gateway/edge/front.h"

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
        cmocka_unit_test(who_sends_no_origin_is_no_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
