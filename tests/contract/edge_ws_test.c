/* What a WebSocket client sees of a worker: the upgrade, frames whole and broken, limits, and how it ends. */
#include "edge_node.h"
#include "raw_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct edge_node node;
static char body[1 << 16];

static const char heartbeat[] = "[null,\"7\",\"phoenix\",\"heartbeat\",{}]";
static const char heartbeat_reply[] = "[null,\"7\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]";

static int start(void **state)
{
    (void)state;
    static const char *const origins[] = {"https://app.example.org", NULL};
    edge_node_defaults(&node);
    node.client.origins = origins;
    node.client.message_max = 1000;
    node.client.connections_max = 20;
    edge_node_start(&node);
    return 0;
}

static int start_with_short_idle_time(void **state)
{
    (void)state;
    edge_node_defaults(&node);
    node.client.idle_ms = 4000; /* more than the machine may stand still between two pings */
    edge_node_start(&node);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    edge_node_stop(&node, 0);
    return 0;
}

static int nothing_is_left(void **state)
{
    (void)state;
    edge_node_await(&fm_worker_stats(node.worker)->connections, 0);
    edge_node_await(&fm_worker_stats(node.worker)->subscriptions, 0);
    edge_node_await(&fm_worker_stats(node.worker)->outbox_bytes, 0);
    return 0;
}

static void expect_alive(struct raw_client *c)
{
    raw_text(c, heartbeat);
    raw_expect(c, heartbeat_reply);
}

/* ---- upgrade ---- */

static unsigned try_upgrade(const char *first_line, const char *headers)
{
    struct raw_client c;
    struct fm_buf request = {0};
    fm_buf_printf(&request, "%s HTTP/1.1\r\nHost: node.example.org:4000\r\n%s\r\n", first_line, headers);
    raw_open(&c, node.port);
    raw_send(&c, request.p, request.n);
    unsigned status = raw_answer(&c, body, sizeof body);
    fm_buf_fini(&request);
    raw_close(&c);
    return status;
}

#define GOOD "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define AT "GET /socket/websocket?vsn=2.0.0"

static void an_upgrade_that_is_not_right_is_refused_with_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *first_line, *headers;
        unsigned status;
        const char *says;
    } cases[] = {
        {"POST /socket/websocket?vsn=2.0.0", GOOD "Content-Length: 0\r\n", 400, "GET"},
        {AT, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
         426, "Version must be 13"},
        {AT, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n", 400, "Sec-WebSocket-Key"},
        {AT, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: abc=\r\n", 400,
         "Sec-WebSocket-Key"},
        {AT, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400, "Connection"},
        {AT, GOOD "Content-Length: 3\r\n\r\nabc", 400, "body"},
        {"GET /socket/other", GOOD, 404, "not_found"},
        {"GET /", GOOD, 404, "not_found"},
        {"GET /socket/websocket?vsn=3.0.0", GOOD, 403, "vsn"},
        {AT, GOOD "Origin: https://evil.example.org\r\n", 403, "bad_origin"},
        {AT, GOOD "Origin: http://node.example.org:4001\r\n", 403, "bad_origin"},
        {AT, GOOD "Origin: null\r\n", 403, "bad_origin"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned status = try_upgrade(cases[i].first_line, cases[i].headers);
        if (status != cases[i].status || !strstr(body, cases[i].says))
            fail_msg("case %zu: %u %s", i, status, body);
    }
}

static void an_origin_that_is_the_host_or_listed_may_connect(void **state)
{
    (void)state;
    static const char *const headers[] = {
        GOOD,
        GOOD "Origin: http://node.example.org:4000\r\n",
        GOOD "Origin: HTTPS://Node.example.org:4000\r\n",
        GOOD "Origin: https://app.example.org\r\n",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_int_equal(try_upgrade(AT, headers[i]), 101);
    nothing_is_left(state);
}

/* phoenix.js with authToken offers the token as a subprotocol; libwebsockets by itself refuses more than 127 bytes of them. */
static void a_long_token_among_the_subprotocols_is_no_obstacle(void **state)
{
    (void)state;
    struct fm_buf headers = {0};
    struct raw_client c;
    fm_buf_str(&headers, "Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.");
    for (int i = 0; i < 100; i++)
        fm_buf_str(&headers, "ZXlKaGJHY2lPaUpJVXpJMU5pSjk");
    fm_buf_str(&headers, "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
    fm_buf_u8(&headers, 0);
    raw_open(&c, node.port);
    raw_upgrade(&c, "/socket/websocket?vsn=2.0.0", (const char *)headers.p);
    expect_alive(&c);
    raw_close(&c);
    fm_buf_fini(&headers);
}

static void the_answer_to_an_upgrade_names_the_subprotocol_and_no_extension(void **state)
{
    (void)state;
    struct raw_client c;
    raw_open(&c, node.port);
    raw_puts(&c,
             AT " HTTP/1.1\r\nHost: a\r\n" GOOD "Sec-WebSocket-Protocol: phoenix\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    raw_until(&c, "\r\n\r\n");
    assert_non_null(memmem(c.in.p, c.in.n, "Sec-WebSocket-Protocol: phoenix\r\n", 33));
    assert_null(memmem(c.in.p, c.in.n, "Extensions", 10));
    raw_close(&c);
}

static void frames_sent_right_behind_the_request_are_read(void **state)
{
    (void)state;
    struct raw_client c;
    struct fm_buf all = {0};
    raw_open(&c, node.port);
    fm_buf_str(&all, AT " HTTP/1.1\r\nHost: a\r\n" GOOD "\r\n");
    for (int k = 0; k < 3; k++) {
        fm_buf_u8(&all, 0x81);
        fm_buf_u8(&all, 0x80 | (sizeof heartbeat - 1));
        fm_buf_u32(&all, 0);
        fm_buf_str(&all, heartbeat);
    }
    raw_send(&c, all.p, all.n);
    fm_buf_fini(&all);
    assert_int_equal(raw_answer(&c, body, sizeof body), 101);
    for (int k = 0; k < 3; k++)
        raw_expect(&c, heartbeat_reply);
    raw_close(&c);
}

static void one_client_more_than_allowed_gets_503(void **state)
{
    (void)state;
    struct raw_client c[20], more;
    for (size_t i = 0; i < 20; i++)
        raw_connect(&c[i], node.port);
    raw_open(&more, node.port);
    assert_int_equal(raw_answer(&more, body, sizeof body), 503);
    assert_non_null(strstr(body, "too_many_connections"));
    raw_close(&more);
    for (size_t i = 0; i < 20; i++)
        raw_close(&c[i]);
    nothing_is_left(state);
    raw_connect(&c[0], node.port);
    expect_alive(&c[0]);
    raw_close(&c[0]);
}

/* ---- frames ---- */

static void a_message_in_fragments_with_a_ping_between_is_one_message(void **state)
{
    (void)state;
    struct raw_client c;
    raw_connect(&c, node.port);
    raw_frame(&c, 0x01, heartbeat, 10);
    raw_frame(&c, 0x89, "are you there", 13);
    raw_frame(&c, 0x00, heartbeat + 10, 0);
    raw_frame(&c, 0x80, heartbeat + 10, sizeof heartbeat - 1 - 10);
    bool pong = false, reply = false;
    while (!pong || !reply) {
        struct raw_message m = raw_next(&c);
        if (m.opcode == 10) {
            assert_string_equal((const char *)m.bytes, "are you there");
            pong = true;
        } else {
            assert_string_equal((const char *)m.bytes, heartbeat_reply);
            reply = true;
        }
        free(m.bytes);
    }
    raw_close(&c);
}

static void a_message_that_ends_with_an_empty_fragment_is_whole(void **state)
{
    (void)state;
    struct raw_client c;
    raw_connect(&c, node.port);
    raw_frame(&c, 0x01, heartbeat, sizeof heartbeat - 1);
    raw_frame(&c, 0x80, heartbeat, 0);
    raw_expect(&c, heartbeat_reply);
    raw_close(&c);
}

static void a_message_larger_than_one_read_is_whole(void **state)
{
    (void)state;
    struct raw_client c;
    char push[1000], want[1100];
    static char filler[800];
    memset(filler, 'x', sizeof filler - 1);
    raw_connect(&c, node.port);
    raw_text(&c, "[\"1\",\"1\",\"quiet:big\",\"phx_join\",{}]");
    raw_expect(&c, "[\"1\",\"1\",\"quiet:big\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]");
    snprintf(push, sizeof push, "[\"1\",\"2\",\"quiet:big\",\"e\",{\"x\":\"%s\"}]", filler);
    snprintf(want, sizeof want, "[null,null,\"quiet:big\",\"e\",{\"x\":\"%s\"}]", filler);
    raw_text(&c, push);
    raw_expect(&c, want);
    raw_close(&c);
}

static void a_message_beyond_message_max_ends_with_1009(void **state)
{
    (void)state;
    struct raw_client c;
    static char big[2000];
    memset(big, 'x', sizeof big);
    raw_connect(&c, node.port);
    raw_frame(&c, 0x81, big, 1001);
    raw_expect_close(&c, 1009);
    raw_close(&c);
    raw_connect(&c, node.port);
    raw_frame(&c, 0x01, big, 600);
    raw_frame(&c, 0x00, big, 300);
    raw_frame(&c, 0x80, big, 101);
    raw_expect_close(&c, 1009);
    raw_close(&c);
}

static void a_frame_that_breaks_the_protocol_ends_with_its_code(void **state)
{
    (void)state;
    static const struct {
        unsigned first;
        const char *payload;
        unsigned code;
    } cases[] = {
        {0xc1, "[]", 1002},       /* RSV1 without an extension */
        {0xa1, "[]", 1002},       /* RSV2 */
        {0x83, "[]", 1002},       /* an opcode that is none */
        {0x8b, "", 1002},         /* a control opcode that is none */
        {0x09, "", 1002},         /* a ping in fragments */
        {0x80, "[]", 1002},       /* a continuation of nothing */
        {0x81, "\xff\xfe", 1007}, /* not UTF-8 */
        {0x81, "\xe2\x82", 1007}, /* cut in a character */
        {0x88, "\x03\xe8", 1000}, /* a close is answered */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raw_client c;
        raw_connect(&c, node.port);
        raw_frame(&c, cases[i].first, cases[i].payload, strlen(cases[i].payload));
        raw_expect_close(&c, cases[i].code);
        raw_close(&c);
    }
}

static void a_new_message_inside_another_ends_with_1002(void **state)
{
    (void)state;
    struct raw_client c;
    raw_connect(&c, node.port);
    raw_frame(&c, 0x01, "[", 1);
    raw_frame(&c, 0x81, "[]", 2);
    raw_expect_close(&c, 1002);
    raw_close(&c);
}

static void a_control_frame_that_is_too_long_ends_the_connection(void **state)
{
    (void)state;
    struct raw_client c;
    static char big[200];
    raw_connect(&c, node.port);
    raw_frame(&c, 0x89, big, sizeof big);
    assert_true(raw_ends(&c, RAW_SOON_MS));
    raw_close(&c);
}

/* ---- time ---- */

static void a_socket_that_sends_nothing_ends_with_1001_and_one_that_only_pings_lives(void **state)
{
    (void)state;
    struct raw_client silent, pings, talks;
    raw_connect(&silent, node.port);
    raw_connect(&pings, node.port);
    raw_connect(&talks, node.port);
    for (int i = 0; i < 300 && raw_quiet(&silent, 100); i++) {
        struct raw_message m;
        raw_frame(&pings, 0x89, "", 0);
        m = raw_next(&pings);
        assert_int_equal(m.opcode, 10);
        free(m.bytes);
        expect_alive(&talks);
    }
    raw_expect_close(&silent, 1001);
    expect_alive(&pings);
    expect_alive(&talks);
    assert_int_equal(edge_node_stat(&fm_worker_stats(node.worker)->idle_disconnects), 1);
    raw_close(&silent);
    raw_close(&pings);
    raw_close(&talks);
}

static void a_client_that_vanishes_without_a_close_leaves_nothing_behind(void **state)
{
    struct raw_client c[8];
    for (size_t i = 0; i < 8; i++) {
        raw_connect(&c[i], node.port);
        raw_text(&c[i], "[\"1\",\"1\",\"room:v\",\"phx_join\",{}]");
        if (i % 2)
            raw_expect(&c[i], "[\"1\",\"1\",\"room:v\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]");
        raw_close(&c[i]); /* every other one before its join is answered */
    }
    nothing_is_left(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_upgrade_that_is_not_right_is_refused_with_what_is_wrong, nothing_is_left),
        cmocka_unit_test_teardown(an_origin_that_is_the_host_or_listed_may_connect, nothing_is_left),
        cmocka_unit_test_teardown(a_long_token_among_the_subprotocols_is_no_obstacle, nothing_is_left),
        cmocka_unit_test_teardown(the_answer_to_an_upgrade_names_the_subprotocol_and_no_extension, nothing_is_left),
        cmocka_unit_test_teardown(frames_sent_right_behind_the_request_are_read, nothing_is_left),
        cmocka_unit_test_teardown(one_client_more_than_allowed_gets_503, nothing_is_left),
        cmocka_unit_test_teardown(a_message_in_fragments_with_a_ping_between_is_one_message, nothing_is_left),
        cmocka_unit_test_teardown(a_message_that_ends_with_an_empty_fragment_is_whole, nothing_is_left),
        cmocka_unit_test_teardown(a_message_larger_than_one_read_is_whole, nothing_is_left),
        cmocka_unit_test_teardown(a_message_beyond_message_max_ends_with_1009, nothing_is_left),
        cmocka_unit_test_teardown(a_frame_that_breaks_the_protocol_ends_with_its_code, nothing_is_left),
        cmocka_unit_test_teardown(a_new_message_inside_another_ends_with_1002, nothing_is_left),
        cmocka_unit_test_teardown(a_control_frame_that_is_too_long_ends_the_connection, nothing_is_left),
        cmocka_unit_test_teardown(a_client_that_vanishes_without_a_close_leaves_nothing_behind, nothing_is_left),
    };
    const struct CMUnitTest idle[] = {
        cmocka_unit_test_teardown(a_socket_that_sends_nothing_ends_with_1001_and_one_that_only_pings_lives, nothing_is_left),
    };
    int failed = cmocka_run_group_tests(tests, start, stop);
    return failed + cmocka_run_group_tests(idle, start_with_short_idle_time, stop);
}
