#include "../../../gateway/edge/forwarded.h"
#include "../../../gateway/http/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>

static const struct fm_nets *trusted(void)
{
    static struct fm_nets nets;
    fm_nets_read(&nets, (const char *const[]){"10.0.0.0/8", "fd00::/8", NULL});
    return &nets;
}

static struct fm_peer peer_of(const char *ip)
{
    struct fm_peer peer = {.port = 4711};
    assert_int_equal(fm_ip_read(fm_slice_str(ip), &peer.ip), FM_OK);
    return peer;
}

/* The client of a request with these header lines, sent by a proxy at `from`. */
static const char *client(const char *from, const char *lines)
{
    static char text[FM_PEER_TEXT_MAX];
    char head[1024];
    struct fm_http1_head h;
    size_t scanned = 0;
    struct fm_peer proxy = peer_of(from);
    snprintf(head, sizeof head, "\r\nGET http://x:1/ HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    assert_int_equal(fm_http1_read(fm_slice_str(head), &scanned, &h), FM_HTTP1_WHOLE);
    struct fm_peer peer = fm_forwarded_for(&proxy, trusted(), fm_slice_of(head, h.n));
    return fm_peer_text(&peer, text);
}

#define XFF(value) "X-Forwarded-For: " value "\r\n"

static void the_last_address_that_is_no_trusted_proxy_is_the_client(void **state)
{
    (void)state;
    assert_string_equal(client("10.0.0.1", XFF("192.0.2.1")), "192.0.2.1");
    assert_string_equal(client("10.0.0.1", XFF("192.0.2.1, 10.0.0.2,10.0.0.3")), "192.0.2.1");
    assert_string_equal(client("fd00::1", XFF("2001:db8::5")), "[2001:db8::5]");
    assert_string_equal(client("10.0.0.1", "x-forwarded-FOR:\t192.0.2.1\t\r\n"), "192.0.2.1");
}

static void what_a_client_wrote_itself_is_not_believed(void **state)
{
    (void)state;
    assert_string_equal(client("10.0.0.1", XFF("203.0.113.9, 192.0.2.1")), "192.0.2.1");
    assert_string_equal(client("10.0.0.1", XFF("10.0.0.9, 192.0.2.1, 10.0.0.2")), "192.0.2.1");
    assert_string_equal(client("10.0.0.1", XFF("203.0.113.9") XFF("192.0.2.1")), "192.0.2.1");
    assert_string_equal(client("10.0.0.1", XFF("203.0.113.9") "Other: x\r\n" XFF("10.0.0.2")), "203.0.113.9");
    assert_string_equal(client("10.0.0.1", XFF("192.0.2.1") "Forwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n"), "192.0.2.1");
}

static void an_address_that_is_not_trusted_is_the_client_whatever_it_says(void **state)
{
    (void)state;
    assert_string_equal(client("192.0.2.7", XFF("203.0.113.9")), "192.0.2.7:4711");
    assert_string_equal(client("10.0.0.1", "Forwarded: for=203.0.113.9\r\n"), "10.0.0.1:4711");
    assert_string_equal(client("10.0.0.1", ""), "10.0.0.1:4711");
    assert_string_equal(client("10.0.0.1", XFF("") XFF(" , ,")), "10.0.0.1:4711");
    struct fm_peer proxy = peer_of("10.0.0.1"),
                   peer = fm_forwarded_for(&proxy, NULL, FM_LIT("GET / HTTP/1.0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"));
    assert_memory_equal(&peer.ip, &proxy.ip, sizeof peer.ip);
}

static void where_all_are_trusted_the_first_is_the_client(void **state)
{
    (void)state;
    assert_string_equal(client("10.0.0.1", XFF("10.0.0.7, 10.0.0.2")), "10.0.0.7");
}

static void nothing_before_an_entry_that_can_not_be_read_counts(void **state)
{
    (void)state;
    assert_string_equal(client("10.0.0.1", XFF("192.0.2.1, unknown")), "10.0.0.1:4711");
    assert_string_equal(client("10.0.0.1", XFF("192.0.2.1, _hidden, 10.0.0.2")), "10.0.0.2");
    assert_string_equal(client("10.0.0.1", XFF("unknown, 192.0.2.1, 10.0.0.2")), "192.0.2.1");
    static const char *const bad[] = {"1.2.3", "1.2.3.4.5", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:70000", "[1.2.3.4]",
                                      "[::1",  "[]",        "[::1]5",   "::g",       "\"1.2.3.4\"",   "a.example"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[128];
        snprintf(line, sizeof line, XFF("192.0.2.1, %s"), bad[i]);
        if (strcmp(client("10.0.0.1", line), "10.0.0.1:4711") != 0)
            fail_msg("`%s` was read", bad[i]);
    }
}

static void ports_and_brackets_are_read_as_proxies_write_them(void **state)
{
    (void)state;
    assert_string_equal(client("10.0.0.1", XFF("192.0.2.1:5678")), "192.0.2.1:5678");
    assert_string_equal(client("10.0.0.1", XFF("[2001:db8::1]:5678")), "[2001:db8::1]:5678");
    assert_string_equal(client("10.0.0.1", XFF("[2001:db8::1]")), "[2001:db8::1]");
    assert_string_equal(client("10.0.0.1", XFF("::ffff:192.0.2.1")), "192.0.2.1");
}

static void the_longest_address_fits_and_nobody_is_a_dash(void **state)
{
    (void)state;
    char text[FM_PEER_TEXT_MAX];
    struct fm_peer peer = peer_of("2001:db81:2222:3333:4444:5555:6666:7777");
    peer.port = 65535;
    assert_string_equal(fm_peer_text(&peer, text), "[2001:db81:2222:3333:4444:5555:6666:7777]:65535");
    assert_string_equal(fm_peer_text(&(struct fm_peer){0}, text), "-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_address_that_is_no_trusted_proxy_is_the_client),
        cmocka_unit_test(what_a_client_wrote_itself_is_not_believed),
        cmocka_unit_test(an_address_that_is_not_trusted_is_the_client_whatever_it_says),
        cmocka_unit_test(where_all_are_trusted_the_first_is_the_client),
        cmocka_unit_test(nothing_before_an_entry_that_can_not_be_read_counts),
        cmocka_unit_test(ports_and_brackets_are_read_as_proxies_write_them),
        cmocka_unit_test(the_longest_address_fits_and_nobody_is_a_dash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
