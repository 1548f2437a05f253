#include "../../../gateway/client/ws_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The key and answer of RFC 6455, section 1.3. */
static const struct fm_ws_key rfc_key = {"dGhlIHNhbXBsZSBub25jZQ=="};
#define RFC_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define GOOD_HEADERS "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: " RFC_ACCEPT "\r\n"

/* ---- URLs ---- */

static void a_url_is_split_into_host_port_and_target(void **state)
{
    (void)state;
    struct fm_url u;
    assert_int_equal(fm_url_parse(fm_slice_str("ws://node-1:4000/socket/websocket?vsn=2.0.0"), "ws", &u), FM_OK);
    assert_string_equal(u.host, "node-1");
    assert_string_equal(u.port, "4000");
    assert_string_equal(u.authority, "node-1:4000");
    assert_string_equal(u.target, "/socket/websocket?vsn=2.0.0");
    assert_int_equal(fm_url_parse(fm_slice_str("WS://[::1]:81?a=b"), "ws", &u), FM_OK);
    assert_string_equal(u.host, "::1");
    assert_string_equal(u.target, "/?a=b");
    assert_int_equal(fm_url_parse(fm_slice_str("http://h"), "http", &u), FM_OK);
    assert_string_equal(u.port, "80");
    assert_string_equal(u.target, "/");
}

static void a_url_that_could_mislead_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"",
                         "ws:",
                         "ws://",
                         "wss://h",
                         "http://h",
                         "ws://h:0",
                         "ws://h:65536",
                         "ws://h:",
                         "ws://h:4x",
                         "ws://:80/",
                         "ws://[::1",
                         "ws://[::1]x",
                         "ws://h/a b",
                         "ws://h/a#b",
                         "ws://u:p@h/",
                         "ws://h/\r\nX: y",
                         "ws://[]:1",
                         "ws://h:00000080"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_url u;
        assert_int_equal(fm_url_parse(fm_slice_str(bad[i]), "ws", &u), FM_E_ADDRESS);
    }
}

static void a_url_longer_than_its_fields_is_refused(void **state)
{
    (void)state;
    char text[3000] = "ws://h/";
    memset(text + 7, 'a', sizeof text - 8);
    struct fm_url u;
    assert_int_equal(fm_url_parse(fm_slice_str(text), "ws", &u), FM_E_TOO_LARGE);
}

/* ---- upgrade ---- */

static void the_request_holds_what_a_server_must_see(void **state)
{
    (void)state;
    struct fm_url u;
    struct fm_ws_key key;
    struct fm_buf b = {0};
    const uint8_t random[FM_WS_KEY_BYTES] = "the sample nonce";
    assert_int_equal(fm_url_parse(fm_slice_str("ws://h:1/p"), "ws", &u), FM_OK);
    fm_ws_key_make(&key, random);
    assert_string_equal(key.text, rfc_key.text);
    fm_ws_request_put(&b, &u, &key, FM_LIT("Origin: x\r\n"));
    const char want[] = "GET /p HTTP/1.1\r\nHost: h:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: x\r\n\r\n";
    assert_int_equal(b.n, sizeof want - 1);
    assert_memory_equal(b.p, want, b.n);
    fm_buf_fini(&b);
}

static void the_accept_value_is_the_one_of_the_rfc(void **state)
{
    (void)state;
    char out[FM_WS_ACCEPT_TEXT + 1];
    fm_ws_accept_of(&rfc_key, out);
    assert_string_equal(out, RFC_ACCEPT);
}

static void an_answer_is_read_at_whatever_byte_it_is_cut(void **state)
{
    (void)state;
    const char text[] = "HTTP/1.1 101 Switching Protocols\r\n" GOOD_HEADERS "Sec-WebSocket-Protocol: phoenix\r\n\r\n\x81\x01x";
    struct fm_ws_answer a;
    for (size_t n = 0; n < sizeof text - 4; n++)
        assert_int_equal(fm_ws_answer_read(fm_slice_of(text, n), &rfc_key, &a), FM_E_SHORT);
    assert_int_equal(fm_ws_answer_read(fm_slice_of(text, sizeof text - 1), &rfc_key, &a), FM_OK);
    assert_int_equal(a.used, sizeof text - 4);
    assert_int_equal(a.status, 101);
    assert_true(fm_slice_eq(a.protocol, FM_LIT("phoenix")));
}

static void a_refusal_tells_its_status(void **state)
{
    (void)state;
    struct fm_ws_answer a;
    const char text[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(fm_ws_answer_read(fm_slice_str(text), &rfc_key, &a), FM_E_FORBIDDEN);
    assert_int_equal(a.status, 403);
    assert_int_equal(a.used, sizeof text - 1);
}

static void an_answer_to_another_key_or_none_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {
        "HTTP/1.0 101 x\r\n" GOOD_HEADERS "\r\n",
        "HTTP/1.1 1O1 x\r\n" GOOD_HEADERS "\r\n",
        "HTTP/1.1 1011\r\n" GOOD_HEADERS "\r\n",
        "HTTP/1.1 101 x\n" GOOD_HEADERS "\r\n",
        "HTTP/1.1 101 x\r\n" GOOD_HEADERS "no colon\r\n\r\n",
        "HTTP/1.1 101 x\r\n" GOOD_HEADERS "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n\r\n",
        "HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " RFC_ACCEPT "\r\n\r\n",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: close\r\nSec-WebSocket-Accept: " RFC_ACCEPT "\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_ws_answer a;
        assert_int_equal(fm_ws_answer_read(fm_slice_str(bad[i]), &rfc_key, &a), FM_E_SYNTAX);
    }
}

static void endless_headers_are_refused(void **state)
{
    (void)state;
    static char text[FM_WS_RESPONSE_MAX + 100];
    struct fm_ws_answer a;
    memset(text, 'x', sizeof text);
    memcpy(text, "HTTP/1.1 101 x\r\n", 16);
    assert_int_equal(fm_ws_answer_read(fm_slice_of(text, sizeof text), &rfc_key, &a), FM_E_TOO_LARGE);
}

/* ---- frames from the server ---- */

static struct fm_ws_in ws;
static struct fm_buf parts;

static int fresh(void **state)
{
    (void)state;
    ws = (struct fm_ws_in){0};
    fm_buf_fini(&parts);
    return 0;
}

static enum fm_err next_of(const char *bytes, size_t n, struct fm_ws_event *e)
{
    struct fm_rd r = fm_rd_of(fm_slice_of(bytes, n));
    return fm_ws_next(&ws, &r, &parts, e);
}
#define NEXT(literal, e) next_of(literal, sizeof(literal) - 1, e)

static void frames_come_one_by_one_and_an_incomplete_one_is_left(void **state)
{
    (void)state;
    const char bytes[] = "\x81\x02hi\x82\x01\x00\x89\x01p\x81\x05zz";
    struct fm_rd r = fm_rd_of(fm_slice_of(bytes, sizeof bytes - 1));
    struct fm_ws_event e;
    assert_int_equal(fm_ws_next(&ws, &r, &parts, &e), FM_OK);
    assert_int_equal(e.kind, FM_WS_TEXT);
    assert_true(fm_slice_eq(e.payload, FM_LIT("hi")));
    assert_int_equal(fm_ws_next(&ws, &r, &parts, &e), FM_OK);
    assert_int_equal(e.kind, FM_WS_BINARY);
    assert_int_equal(fm_ws_next(&ws, &r, &parts, &e), FM_OK);
    assert_int_equal(e.kind, FM_WS_PING);
    assert_int_equal(fm_ws_next(&ws, &r, &parts, &e), FM_E_SHORT);
    assert_int_equal(fm_rd_left(&r), 4);
    assert_ptr_equal(r.p, bytes + sizeof bytes - 1 - 4);
}

static void fragments_become_one_message_with_a_ping_between(void **state)
{
    (void)state;
    const char bytes[] = "\x01\x02he\x00\x00\x89\x01!\x00\x02ll\x80\x01o\x81\x01z";
    struct fm_rd r = fm_rd_of(fm_slice_of(bytes, sizeof bytes - 1));
    struct fm_ws_event e;
    assert_int_equal(fm_ws_next(&ws, &r, &parts, &e), FM_OK);
    assert_int_equal(e.kind, FM_WS_PING);
    assert_int_equal(fm_ws_next(&ws, &r, &parts, &e), FM_OK);
    assert_int_equal(e.kind, FM_WS_TEXT);
    assert_true(fm_slice_eq(e.payload, FM_LIT("hello")));
    assert_int_equal(fm_ws_next(&ws, &r, &parts, &e), FM_OK);
    assert_true(fm_slice_eq(e.payload, FM_LIT("z")));
    assert_int_equal(fm_rd_left(&r), 0);
}

static void a_message_cut_at_every_byte_is_the_same_message(void **state)
{
    (void)state;
    const char bytes[] = "\x01\x02he\x89\x01!\x80\x03llo";
    for (size_t cut = 0; cut < sizeof bytes - 1; cut++) {
        struct fm_ws_event e;
        fresh(NULL);
        struct fm_rd r = fm_rd_of(fm_slice_of(bytes, cut));
        enum fm_err err;
        while (!(err = fm_ws_next(&ws, &r, &parts, &e)))
            assert_int_equal(e.kind, FM_WS_PING);
        assert_int_equal(err, FM_E_SHORT);
        struct fm_rd rest = fm_rd_of(fm_slice_of(r.p, (size_t)((const uint8_t *)bytes + sizeof bytes - 1 - r.p)));
        do
            assert_int_equal(fm_ws_next(&ws, &rest, &parts, &e), FM_OK);
        while (e.kind == FM_WS_PING);
        assert_true(fm_slice_eq(e.payload, FM_LIT("hello")));
    }
}

static void lengths_of_two_and_eight_bytes_are_read(void **state)
{
    (void)state;
    static char big[70000];
    struct fm_ws_event e;
    memcpy(big, "\x82\x7e\x01\x00", 4);
    assert_int_equal(next_of(big, 4 + 256, &e), FM_OK);
    assert_int_equal(e.payload.n, 256);
    memcpy(big, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
    assert_int_equal(next_of(big, 10 + 65535, &e), FM_E_SHORT);
    assert_int_equal(next_of(big, 10 + 65536, &e), FM_OK);
    assert_int_equal(e.payload.n, 65536);
}

static void a_frame_that_breaks_the_rfc_is_refused(void **state)
{
    (void)state;
    const struct {
        const char *p;
        size_t n;
    } bad[] = {
#define B(s) {s, sizeof(s) - 1}
        B("\xc1\x00"),                                 /* RSV1 */
        B("\xa1\x00"),                                 /* RSV2 */
        B("\x91\x00"),                                 /* RSV3 */
        B("\x81\x80\x00\x00\x00\x00"),                 /* masked */
        B("\x83\x00"),                                 /* data opcode 3 */
        B("\x8b\x00"),                                 /* control opcode 11 */
        B("\x09\x00"),                                 /* a cut ping */
        B("\x89\x7e\x00\x7e"),                         /* a long ping */
        B("\x80\x00"),                                 /* a continuation of nothing */
        B("\x01\x01x\x81\x01y"),                       /* a message inside a message */
        B("\x82\x7e\x00\x7d"),                         /* 125 in two bytes */
        B("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"), /* 65535 in eight */
        B("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), /* top bit */
        B("\x88\x01\x03"),                             /* half a code */
        B("\x88\x02\x03\xed"),                         /* 1005 */
        B("\x88\x02\x03\xe7"),                         /* 999 */
        B("\x88\x02\x07\xd0"),                         /* 2000 */
        B("\x88\x02\x13\x88"),                         /* 5000 */
#undef B
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_ws_event e;
        fresh(NULL);
        assert_int_equal(next_of(bad[i].p, bad[i].n, &e), FM_E_SYNTAX);
    }
}

static void a_message_over_the_limit_is_refused_by_its_header(void **state)
{
    (void)state;
    struct fm_ws_event e;
    ws.message_max = 10;
    assert_int_equal(NEXT("\x82\x0b", &e), FM_E_TOO_LARGE);
    fresh(NULL);
    ws.message_max = 10;
    assert_int_equal(NEXT("\x02\x06"
                          "abcdef\x80\x05",
                          &e),
                     FM_E_TOO_LARGE);
    fresh(NULL);
    ws.message_max = 10;
    assert_int_equal(NEXT("\x02\x06"
                          "abcdef\x80\x04wxyz",
                          &e),
                     FM_OK);
    assert_int_equal(e.payload.n, 10);
}

static void a_close_gives_its_code_and_ends_the_reading(void **state)
{
    (void)state;
    const char bytes[] = "\x88\x05\x03\xf4"
                         "bye\x81\x01x";
    struct fm_rd r = fm_rd_of(fm_slice_of(bytes, sizeof bytes - 1));
    struct fm_ws_event e;
    assert_int_equal(fm_ws_next(&ws, &r, &parts, &e), FM_OK);
    assert_int_equal(e.kind, FM_WS_CLOSE);
    assert_int_equal(e.code, 1012);
    assert_true(fm_slice_eq(e.payload, FM_LIT("bye")));
    assert_int_equal(fm_ws_next(&ws, &r, &parts, &e), FM_E_CLOSED);
    fresh(NULL);
    assert_int_equal(NEXT("\x88\x00", &e), FM_OK);
    assert_int_equal(e.code, 1005);
}

/* ---- frames to the server ---- */

static void frames_are_masked_and_their_lengths_minimal(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536};
    static uint8_t payload[65536];
    const uint8_t key[4] = {0x11, 0x22, 0x33, 0x44};
    uint32_t mask;
    memcpy(&mask, key, 4);
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 7);
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct fm_buf b = {0};
        size_t n = sizes[k], length_bytes = n > 65535 ? 8 : n > 125 ? 2 : 0;
        fm_ws_frame_put(&b, FM_WS_BINARY, fm_slice_of(payload, n), mask);
        assert_int_equal(b.n, 2 + length_bytes + 4 + n);
        assert_int_equal(b.p[0], 0x82);
        assert_int_equal(b.p[1], 0x80 | (length_bytes == 8 ? 127 : length_bytes == 2 ? 126 : (int)n));
        assert_memory_equal(b.p + 2 + length_bytes, key, 4);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(b.p[6 + length_bytes + i] ^ key[i & 3], payload[i]);
        fm_buf_fini(&b);
    }
}

static void a_close_carries_code_and_a_bounded_reason(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    char reason[200];
    memset(reason, 'r', sizeof reason);
    fm_ws_close_put(&b, 1000, fm_slice_of(reason, sizeof reason), 0);
    assert_int_equal(b.n, 6 + 125);
    assert_memory_equal(b.p, "\x88\xfd\0\0\0\0\x03\xe8", 8);
    b.n = 0;
    fm_ws_close_put(&b, 1005, FM_LIT("x"), 0);
    assert_int_equal(b.n, 6);
    assert_memory_equal(b.p, "\x88\x80", 2);
    fm_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_split_into_host_port_and_target),
        cmocka_unit_test(a_url_that_could_mislead_is_refused),
        cmocka_unit_test(a_url_longer_than_its_fields_is_refused),
        cmocka_unit_test(the_request_holds_what_a_server_must_see),
        cmocka_unit_test(the_accept_value_is_the_one_of_the_rfc),
        cmocka_unit_test(an_answer_is_read_at_whatever_byte_it_is_cut),
        cmocka_unit_test(a_refusal_tells_its_status),
        cmocka_unit_test(an_answer_to_another_key_or_none_is_refused),
        cmocka_unit_test(endless_headers_are_refused),
        cmocka_unit_test_setup_teardown(frames_come_one_by_one_and_an_incomplete_one_is_left, fresh, fresh),
        cmocka_unit_test_setup_teardown(fragments_become_one_message_with_a_ping_between, fresh, fresh),
        cmocka_unit_test_setup_teardown(a_message_cut_at_every_byte_is_the_same_message, fresh, fresh),
        cmocka_unit_test_setup_teardown(lengths_of_two_and_eight_bytes_are_read, fresh, fresh),
        cmocka_unit_test_setup_teardown(a_frame_that_breaks_the_rfc_is_refused, fresh, fresh),
        cmocka_unit_test_setup_teardown(a_message_over_the_limit_is_refused_by_its_header, fresh, fresh),
        cmocka_unit_test_setup_teardown(a_close_gives_its_code_and_ends_the_reading, fresh, fresh),
        cmocka_unit_test(frames_are_masked_and_their_lengths_minimal),
        cmocka_unit_test(a_close_carries_code_and_a_bounded_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
