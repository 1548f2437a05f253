#include "../../../gateway/edge/proxy_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>

/* From memory of just this size, so that a read beyond it is seen by the sanitizers. */
static enum fm_proxy_result read_exactly(struct fm_slice in, struct fm_proxy_head *h)
{
    uint8_t *copy = malloc(in.n ? in.n : 1);
    assert_non_null(copy);
    if (in.n)
        memcpy(copy, in.p, in.n);
    enum fm_proxy_result r = fm_proxy_read(fm_slice_of(copy, in.n), h);
    free(copy);
    return r;
}

/* Whole at its last byte and not before, whatever follows. The client it names, "" where it names none. */
static const char *client(struct fm_slice header)
{
    static char text[FM_PEER_TEXT_MAX];
    static const uint8_t follows[] = "GET / HTTP/1.1\r\n";
    struct fm_proxy_head h;
    for (size_t n = 0; n < header.n; n++)
        if (read_exactly(fm_slice_of(header.p, n), &h) != FM_PROXY_MORE)
            fail_msg("not asked for more after %zu of %zu bytes", n, header.n);
    struct fm_buf longer = {0};
    fm_buf_slice(&longer, header);
    fm_buf_put(&longer, follows, sizeof follows);
    assert_int_equal(read_exactly(fm_buf_view(&longer), &h), FM_PROXY_WHOLE);
    fm_buf_fini(&longer);
    assert_int_equal(h.n, header.n);
    return h.has_client ? fm_peer_text(&h.client, text) : "";
}

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 \
    "\xc0\x00\x02\x01" \
    "\xc0\x00\x02\x02" \
    "\xdc\x04" \
    "\x01\xbb"
#define V6 \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02" \
    "\xdc\x04" \
    "\x01\xbb"

static void version_1_names_the_client(void **state)
{
    (void)state;
    assert_string_equal(client(FM_LIT("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n")), "192.0.2.1:56324");
    assert_string_equal(client(FM_LIT("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n")), "[2001:db8::1]:56324");
    assert_string_equal(client(FM_LIT("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n")), "192.0.2.1:1");
    /* The longest of the specification. */
    assert_string_equal(
        client(FM_LIT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n")),
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void version_2_names_the_client_and_more_that_is_passed_over(void **state)
{
    (void)state;
    assert_string_equal(client(FM_LIT(SIGNATURE "\x21\x11\0\x0c" V4)), "192.0.2.1:56324");
    assert_string_equal(client(FM_LIT(SIGNATURE "\x21\x21\0\x24" V6)), "[2001:db8::1]:56324");
    assert_string_equal(client(FM_LIT(SIGNATURE "\x21\x11\0\x13" V4 "\x04\0\x04nope")), "192.0.2.1:56324");
    assert_string_equal(client(FM_LIT(SIGNATURE "\x21\x11\0\x0d" V4 "\xff")), "192.0.2.1:56324"); /* not even a whole TLV */
}

static void a_proxys_own_connection_and_one_that_is_unknown_name_nobody(void **state)
{
    (void)state;
    assert_string_equal(client(FM_LIT("PROXY UNKNOWN\r\n")), "");
    assert_string_equal(client(FM_LIT("PROXY UNKNOWN ffff::1 what ever\r\n")), "");
    assert_string_equal(client(FM_LIT(SIGNATURE "\x20\0\0\0")), "");
    assert_string_equal(client(FM_LIT(SIGNATURE "\x20\x11\0\x0c" V4)), "");    /* LOCAL: what it names is to be passed over */
    assert_string_equal(client(FM_LIT(SIGNATURE "\x21\0\0\x03\x04\0\0")), ""); /* AF_UNSPEC */
    assert_string_equal(client(FM_LIT(SIGNATURE "\x21\x12\0\x0c" V4)), "");    /* a datagram's */
    assert_string_equal(client(FM_LIT(SIGNATURE "\x21\x31\0\x02xx")), "");     /* a socket of UNIX */
}

static void what_is_no_header_is_refused_at_the_first_byte_that_says_so(void **state)
{
    (void)state;
    static const struct fm_slice bad[] = {
        FM_LIT("G"),         FM_LIT("PRI * HTTP/2.0\r\n\r\n"), FM_LIT("PROXYTCP4 "), FM_LIT("proxy "), FM_LIT("\x16\x03"),
        FM_LIT("\r\n\r\nG"), FM_LIT("\r\n\r\n\0\r\nQUIT\r"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_proxy_head h;
        if (read_exactly(bad[i], &h) != FM_PROXY_BAD || strcmp(h.what, "there is none") != 0)
            fail_msg("case %zu", i);
    }
}

static void a_header_that_breaks_the_rules_is_refused(void **state)
{
    (void)state;
    static const struct fm_slice bad[] = {
        FM_LIT("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\n"),
        FM_LIT("PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n"),
        FM_LIT("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 \r\n"),
        FM_LIT("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 x\r\n"),
        FM_LIT("PROXY TCP4  192.0.2.1 192.0.2.2 56324 443\r\n"),
        FM_LIT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n"),
        FM_LIT("PROXY TCP4 192.0.2.1 192.0.2.2 5 000443\r\n"),
        FM_LIT("PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n"),
        FM_LIT("PROXY TCP4 192.0.2 192.0.2.2 5 443\r\n"),
        FM_LIT("PROXY TCP4 ::1 ::1 5 443\r\n"),
        FM_LIT("PROXY TCP6 192.0.2.1 192.0.2.2 5 443\r\n"),
        FM_LIT("PROXY TCP6 ::1 192.0.2.2 5 443\r\n"),
        FM_LIT("PROXY TCP4 192.0.2.1\0 192.0.2.2 5 443\r\n"),
        FM_LIT("PROXY UDP4 192.0.2.1 192.0.2.2 5 443\r\n"),
        FM_LIT("PROXY \r\n"),
        FM_LIT("PROXY TCP4\r\n"),
        FM_LIT(SIGNATURE "\x22\x11\0\x0c" V4), /* a command that does not exist */
        FM_LIT(SIGNATURE "\x11\x11\0\x0c" V4), /* version 1 in binary */
        FM_LIT(SIGNATURE "\x21\x41\0\x0c" V4), /* a family that does not exist */
        FM_LIT(SIGNATURE "\x21\x13\0\x0c" V4), /* a transport that does not exist */
        FM_LIT(SIGNATURE "\x21\x11\0\x0b" V4), /* shorter than its addresses */
        FM_LIT(SIGNATURE "\x21\x21\0\x0c" V4),
        FM_LIT(SIGNATURE "\x20\x11\x0f\xf1"), /* 16 + 4081 bytes */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_proxy_head h;
        if (read_exactly(bad[i], &h) != FM_PROXY_BAD || !h.what)
            fail_msg("case %zu", i);
    }
}

static void a_line_without_an_end_is_read_up_to_107_bytes(void **state)
{
    (void)state;
    uint8_t line[200];
    struct fm_proxy_head h;
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(read_exactly(fm_slice_of(line, 106), &h), FM_PROXY_MORE);
    assert_int_equal(read_exactly(fm_slice_of(line, 107), &h), FM_PROXY_BAD);
    memcpy(line + 105, "\r\n", 2);
    assert_int_equal(read_exactly(fm_slice_of(line, 200), &h), FM_PROXY_WHOLE);
    memset(line + 105, 'x', 2);
    memcpy(line + 106, "\r\n", 2);
    assert_int_equal(read_exactly(fm_slice_of(line, 200), &h), FM_PROXY_BAD);
}

static void the_largest_header_of_version_2_is_read(void **state)
{
    (void)state;
    static uint8_t header[FM_PROXY_MAX] = SIGNATURE "\x21\x11\x0f\xf0" V4;
    struct fm_proxy_head h;
    assert_int_equal(read_exactly(fm_slice_of(header, sizeof header - 1), &h), FM_PROXY_MORE);
    assert_int_equal(read_exactly(fm_slice_of(header, sizeof header), &h), FM_PROXY_WHOLE);
    assert_int_equal(h.n, sizeof header);
    assert_true(h.has_client);
}

static void the_beginning_of_a_header_is_known_from_everything_else(void **state)
{
    (void)state;
    assert_true(fm_proxy_begins(FM_LIT("PROXY TCP4 ")));
    assert_true(fm_proxy_begins(FM_LIT(SIGNATURE)));
    assert_false(fm_proxy_begins(FM_LIT("PROXY")));
    assert_false(fm_proxy_begins(FM_LIT("\r\n\r\nGET / HTTP/1.1\r\n")));
    assert_false(fm_proxy_begins(FM_LIT("GET / HTTP/1.1\r\n")));
    assert_false(fm_proxy_begins(FM_LIT("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_names_the_client),
        cmocka_unit_test(version_2_names_the_client_and_more_that_is_passed_over),
        cmocka_unit_test(a_proxys_own_connection_and_one_that_is_unknown_name_nobody),
        cmocka_unit_test(what_is_no_header_is_refused_at_the_first_byte_that_says_so),
        cmocka_unit_test(a_header_that_breaks_the_rules_is_refused),
        cmocka_unit_test(a_line_without_an_end_is_read_up_to_107_bytes),
        cmocka_unit_test(the_largest_header_of_version_2_is_read),
        cmocka_unit_test(the_beginning_of_a_header_is_known_from_everything_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
