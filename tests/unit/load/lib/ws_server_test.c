#include "../../../../load/lib/ws_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void a_request_is_read_when_its_headers_are_whole(void **state)
{
    (void)state;
    const char text[] = "POST /api/publish HTTP/1.1\r\nHost: h\r\ncontent-length:  5 \r\n\r\nhello";
    struct fm_request rq;
    for (size_t n = 0; n < sizeof text - 6; n++)
        assert_int_equal(fm_request_read(fm_slice_of(text, n), &rq), FM_E_SHORT);
    assert_int_equal(fm_request_read(fm_slice_str(text), &rq), FM_OK);
    assert_true(fm_slice_eq(rq.method, FM_LIT("POST")));
    assert_true(fm_slice_eq(rq.target, FM_LIT("/api/publish")));
    assert_int_equal(rq.body_bytes, 5);
    assert_int_equal(rq.header_bytes, sizeof text - 6);
    assert_int_equal(rq.ws_key.n, 0);
}

static void a_request_without_form_or_end_is_refused(void **state)
{
    (void)state;
    struct fm_request rq;
    static char endless[FM_REQUEST_HEADERS_MAX + 1];
    memset(endless, 'x', sizeof endless);
    assert_int_equal(fm_request_read(FM_LIT("nonsense\r\n\r\n"), &rq), FM_E_SYNTAX);
    assert_int_equal(fm_request_read(FM_LIT("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), &rq), FM_E_SYNTAX);
    assert_int_equal(fm_request_read(fm_slice_of(endless, sizeof endless), &rq), FM_E_TOO_LARGE);
}

static void the_clients_request_is_answered_as_the_client_wants_it(void **state)
{
    (void)state;
    struct fm_url url;
    struct fm_ws_key key;
    struct fm_request rq;
    struct fm_ws_answer answer;
    struct fm_buf request = {0}, reply = {0};
    const uint8_t random[FM_WS_KEY_BYTES] = {1, 2, 3};
    assert_int_equal(fm_url_parse(FM_LIT("ws://h/x"), "ws", &url), FM_OK);
    fm_ws_key_make(&key, random);
    fm_ws_request_put(&request, &url, &key, (struct fm_slice){0});
    assert_int_equal(fm_request_read(fm_buf_view(&request), &rq), FM_OK);
    assert_int_equal(fm_ws_accept_put(&reply, rq.ws_key), FM_OK);
    assert_int_equal(fm_ws_answer_read(fm_buf_view(&reply), &key, &answer), FM_OK);
    assert_int_equal(fm_ws_accept_put(&reply, FM_LIT("short")), FM_E_SYNTAX);
    fm_buf_fini(&request);
    fm_buf_fini(&reply);
}

static void what_a_client_writes_is_read_at_every_size_and_cut(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536};
    static uint8_t payload[65536];
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 31);
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct fm_buf b = {0};
        struct fm_ws_client_frame f;
        size_t used = 0;
        fm_ws_frame_put(&b, FM_WS_TEXT, fm_slice_of(payload, sizes[k]), 0xdeadbeef);
        for (size_t cut = 0; cut < b.n; cut += cut < 16 ? 1 : b.n / 7)
            assert_int_equal(fm_ws_client_frame_read(b.p, cut, 1 << 20, &f, &used), FM_E_SHORT);
        assert_int_equal(fm_ws_client_frame_read(b.p, b.n, 1 << 20, &f, &used), FM_OK);
        assert_int_equal(used, b.n);
        assert_int_equal(f.kind, FM_WS_TEXT);
        assert_true(fm_slice_eq(f.payload, fm_slice_of(payload, sizes[k])));
        fm_buf_fini(&b);
    }
}

static void a_frame_unmasked_cut_or_too_long_is_refused(void **state)
{
    (void)state;
    struct fm_ws_client_frame f;
    size_t used;
    uint8_t unmasked[] = {0x81, 0x01, 'x'}, part[] = {0x01, 0x81, 0, 0, 0, 0, 'x'}, large[] = {0x81, 0xfe, 1, 0, 0, 0, 0, 0};
    assert_int_equal(fm_ws_client_frame_read(unmasked, sizeof unmasked, 100, &f, &used), FM_E_SYNTAX);
    assert_int_equal(fm_ws_client_frame_read(part, sizeof part, 100, &f, &used), FM_E_SYNTAX);
    assert_int_equal(fm_ws_client_frame_read(large, sizeof large, 100, &f, &used), FM_E_TOO_LARGE);
}

static void what_the_server_writes_the_client_reads(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 125, 126, 65535, 65536};
    static uint8_t payload[65536];
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct fm_buf b = {0}, parts = {0};
        struct fm_ws_in ws = {0};
        struct fm_ws_event e;
        fm_ws_server_frame_put(&b, FM_WS_BINARY, fm_slice_of(payload, sizes[k]));
        struct fm_rd r = fm_rd_of(fm_buf_view(&b));
        assert_int_equal(fm_ws_next(&ws, &r, &parts, &e), FM_OK);
        assert_int_equal(e.kind, FM_WS_BINARY);
        assert_int_equal(e.payload.n, sizes[k]);
        assert_int_equal(fm_rd_left(&r), 0);
        fm_buf_fini(&b);
        fm_buf_fini(&parts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read_when_its_headers_are_whole),
        cmocka_unit_test(a_request_without_form_or_end_is_refused),
        cmocka_unit_test(the_clients_request_is_answered_as_the_client_wants_it),
        cmocka_unit_test(what_a_client_writes_is_read_at_every_size_and_cut),
        cmocka_unit_test(a_frame_unmasked_cut_or_too_long_is_refused),
        cmocka_unit_test(what_the_server_writes_the_client_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
