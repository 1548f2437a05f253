#include "../../../gateway/http/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>

static enum fm_http1_result read_text(const char *text, struct fm_http1_head *h)
{
    size_t scanned = 0;
    return fm_http1_read(fm_slice_str(text), &scanned, h);
}

static void assert_text(struct fm_slice s, const char *text)
{
    assert_int_equal(s.n, strlen(text));
    assert_memory_equal(s.p, text, s.n);
}

static void a_head_is_read_with_every_field_that_is_asked_for(void **state)
{
    (void)state;
    struct fm_http1_head h;
    const char text[] =
        "POST /a/b%20c?x=1&y=?2 HTTP/1.1\r\nHOST:  node.example.org:4000 \r\norigin: https://a\r\nAuthorization: Bearer k\r\n"
        "Content-Type: application/json\r\nAccept: */*\r\nIdempotency-Key: k1\r\nExpect: 100-continue\r\n"
        "Connection: keep-alive ,\tUpgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: key\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: a, b\r\nContent-Length: 12\r\nX-Other: \x80\xff\r\nEmpty:\r\n\r\nbody follows";
    assert_int_equal(read_text(text, &h), FM_HTTP1_WHOLE);
    assert_int_equal(h.n, strlen(text) - 12);
    assert_int_equal(h.method, FM_HTTP_POST);
    assert_int_equal(h.minor, 1);
    assert_text(h.path, "/a/b%20c");
    assert_text(h.query, "x=1&y=?2");
    assert_text(h.host, "node.example.org:4000");
    assert_text(h.origin, "https://a");
    assert_text(h.authorization, "Bearer k");
    assert_text(h.content_type, "application/json");
    assert_text(h.accept, "*/*");
    assert_text(h.idempotency_key, "k1");
    assert_text(h.expect, "100-continue");
    assert_text(h.upgrade, "websocket");
    assert_text(h.ws_key, "key");
    assert_text(h.ws_version, "13");
    assert_text(h.ws_protocols, "a, b");
    assert_true(h.keep_alive && h.connection_upgrade && !h.close && !h.transfer_encoding);
    assert_true(h.has_length && h.length == 12);
}

static void a_head_is_asked_for_until_it_is_whole(void **state)
{
    (void)state;
    const char text[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    size_t scanned = 0;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        struct fm_http1_head h;
        /* From memory of just this size, so that a read beyond it is seen by the sanitizers. */
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        assert_int_equal(fm_http1_read(fm_slice_of(copy, n), &scanned, &h), FM_HTTP1_MORE);
        free(copy);
    }
    struct fm_http1_head h;
    assert_int_equal(fm_http1_read(fm_slice_str(text), &scanned, &h), FM_HTTP1_WHOLE);
    assert_int_equal(h.n, sizeof text - 1);
}

static void the_path_of_an_absolute_url_is_what_follows_its_host(void **state)
{
    (void)state;
    struct fm_http1_head h;
    assert_int_equal(read_text("GET HTTP://proxy:80/p?q HTTP/1.1\r\nHost: a\r\n\r\n", &h), FM_HTTP1_WHOLE);
    assert_text(h.path, "/p");
    assert_text(h.query, "q");
    assert_int_equal(read_text("GET http://proxy HTTP/1.1\r\nHost: a\r\n\r\n", &h), FM_HTTP1_BAD);
}

static void what_could_be_read_in_two_ways_is_refused(void **state)
{
    (void)state;
    const char *const bad[] = {
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n X: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nOrigin: a\r\nOrigin: b\r\n\r\n",
        "GET / HTTP/11\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "G\"T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /#top HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_http1_head h;
        if (read_text(bad[i], &h) != FM_HTTP1_BAD || h.status != 400 || !h.what)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void empty_lines_before_a_request_are_passed_over_but_are_none(void **state)
{
    (void)state;
    struct fm_http1_head h;
    assert_int_equal(read_text("\r\n\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", &h), FM_HTTP1_WHOLE);
    assert_text(h.path, "/x");
    char text[64];
    for (size_t lines = 0; lines < 20; lines++) {
        for (size_t i = 0; i < lines; i++)
            memcpy(text + 2 * i, "\r\n", 2);
        text[2 * lines] = 0;
        assert_int_not_equal(read_text(text, &h), FM_HTTP1_WHOLE);
    }
}

static void a_tls_handshake_is_refused_at_its_first_byte(void **state)
{
    (void)state;
    struct fm_http1_head h;
    assert_int_equal(read_text("\x16", &h), FM_HTTP1_BAD);
    assert_int_equal(h.status, 400);
    assert_non_null(strstr(h.what, "TLS"));
}

static void methods_that_are_none_of_ours_are_others(void **state)
{
    (void)state;
    struct fm_http1_head h;
    assert_int_equal(read_text("PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", &h), FM_HTTP1_WHOLE);
    assert_int_equal(h.method, FM_HTTP_OTHER);
    assert_int_equal(read_text("get / HTTP/1.1\r\nHost: a\r\n\r\n", &h), FM_HTTP1_WHOLE);
    assert_int_equal(h.method, FM_HTTP_OTHER);
}

static void a_path_is_decoded_once_and_has_no_dot_segments(void **state)
{
    (void)state;
    struct fm_buf out = {0};
    assert_int_equal(fm_http1_path(FM_LIT("/a%2Fb/%41+c/..d/.e/%C3%A9"), &out), FM_OK);
    assert_text(fm_buf_view(&out), "/a/b/A+c/..d/.e/\xc3\xa9");
    assert_int_equal(fm_http1_path(FM_LIT("/%252e"), &out), FM_OK);
    assert_text(fm_buf_view(&out), "/%2e");
    const char *const bad[] = {"/%", "/%4", "/%4g", "/%00", "/..", "/../a", "/a/..", "/a/./b", "/%2e%2e/a", "/a%2f..%2fb", "/."};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(fm_http1_path(fm_slice_str(bad[i]), &out), FM_E_SYNTAX);
    fm_buf_fini(&out);
}

static void a_list_is_searched_by_whole_words(void **state)
{
    (void)state;
    assert_true(fm_http1_lists(FM_LIT("keep-alive, Upgrade"), "upgrade"));
    assert_true(fm_http1_lists(FM_LIT(" upgrade\t"), "upgrade"));
    assert_true(fm_http1_lists(FM_LIT(",,upgrade,"), "upgrade"));
    assert_false(fm_http1_lists(FM_LIT("upgrade-insecure"), "upgrade"));
    assert_false(fm_http1_lists(FM_LIT(""), "upgrade"));
}

static void a_websocket_key_is_16_bytes_in_base64(void **state)
{
    (void)state;
    assert_true(fm_http1_ws_key(FM_LIT("dGhlIHNhbXBsZSBub25jZQ==")));
    assert_false(fm_http1_ws_key(FM_LIT("dGhlIHNhbXBsZSBub25jZQ=")));
    assert_false(fm_http1_ws_key(FM_LIT("dGhlIHNhbXBsZSBub25jZQAA")));
    assert_false(fm_http1_ws_key(FM_LIT("dGhlIHNhbXBs\r\nBub25jZQ==")));
    assert_false(fm_http1_ws_key(FM_LIT("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_read_with_every_field_that_is_asked_for),
        cmocka_unit_test(a_head_is_asked_for_until_it_is_whole),
        cmocka_unit_test(the_path_of_an_absolute_url_is_what_follows_its_host),
        cmocka_unit_test(what_could_be_read_in_two_ways_is_refused),
        cmocka_unit_test(empty_lines_before_a_request_are_passed_over_but_are_none),
        cmocka_unit_test(a_tls_handshake_is_refused_at_its_first_byte),
        cmocka_unit_test(methods_that_are_none_of_ours_are_others),
        cmocka_unit_test(a_path_is_decoded_once_and_has_no_dot_segments),
        cmocka_unit_test(a_list_is_searched_by_whole_words),
        cmocka_unit_test(a_websocket_key_is_16_bytes_in_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
