/* What an HTTP client sees of a worker: requests whole and broken, kept-alive and pipelined, slow and half-open. */
#include "edge_node.h"
#include "raw_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HURRY_MS = 4000 }; /* more than the machine may stand still between a connection and what is sent on it */

static struct edge_node node;
static char body[1 << 17];

static int start(void **state)
{
    (void)state;
    edge_node_defaults(&node);
    node.client.body_max = 4096;
    edge_node_start(&node);
    return 0;
}

static int start_in_a_hurry(void **state)
{
    (void)state;
    edge_node_defaults(&node);
    node.client.handshake_ms = HURRY_MS;
    edge_node_start(&node);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    edge_node_stop(&node, 0);
    return 0;
}

/* After every test: the node goes on serving. */
static int still_serves(void **state)
{
    (void)state;
    struct raw_client c;
    raw_open(&c, node.api_port);
    raw_puts(&c, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(raw_answer(&c, body, sizeof body), 200);
    raw_close(&c);
    return 0;
}

static unsigned ask(uint16_t port, const char *request)
{
    struct raw_client c;
    raw_open(&c, port);
    raw_puts(&c, request);
    unsigned status = raw_answer(&c, body, sizeof body);
    raw_close(&c);
    return status;
}

static void expect_error(uint16_t port, const char *request, unsigned status, const char *code)
{
    char want[64];
    assert_int_equal(ask(port, request), status);
    snprintf(want, sizeof want, "{\"error\":{\"code\":\"%s\"", code);
    if (!strstr(body, want))
        fail_msg("%s is not in: %s", want, body);
}

static void what_is_not_http_gets_400_and_a_sentence(void **state)
{
    (void)state;
    const char *const broken[] = {
        "\x16\x03\x01\x02\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        expect_error(node.api_port, broken[i], 400, "bad_request");
    expect_error(node.api_port, "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_syntax");
    expect_error(node.api_port, "GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_syntax");
    expect_error(node.api_port, "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "bad_request");
}

static void a_head_larger_than_16_kib_gets_431(void **state)
{
    (void)state;
    struct raw_client c;
    raw_open(&c, node.api_port);
    raw_puts(&c, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 200; i++)
        raw_puts(&c, "X-Padding: 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\r\n");
    assert_int_equal(raw_answer(&c, body, sizeof body), 431);
    assert_true(raw_ends(&c, RAW_SOON_MS));
    raw_close(&c);
}

static void bodies_need_a_length_that_is_allowed(void **state)
{
    (void)state;
    expect_error(node.api_port, "POST /api/publish HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 411,
                 "length_required");
    expect_error(node.api_port, "POST /api/publish HTTP/1.1\r\nHost: a\r\n\r\n", 411, "length_required");
    expect_error(node.api_port,
                 "POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 411,
                 "length_required");
    expect_error(node.api_port, "POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 4097\r\n\r\n", 413, "too_large");
}

static void a_client_that_sends_on_after_413_still_reads_the_answer(void **state)
{
    (void)state;
    struct raw_client c;
    static char block[4096];
    raw_open(&c, node.api_port);
    raw_puts(&c, "POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n");
    for (int i = 0; i < 90; i++)
        raw_send(&c, block, sizeof block);
    usleep(50000);
    assert_int_equal(raw_answer(&c, body, sizeof body), 413);
    assert_true(raw_ends(&c, RAW_SOON_MS));
    raw_close(&c);
}

static void expect_100_continue_is_answered_before_the_body(void **state)
{
    (void)state;
    struct raw_client c;
    raw_open(&c, node.api_port);
    raw_puts(&c, "POST /api/publish HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_int_equal(raw_answer(&c, body, sizeof body), 100);
    assert_true(raw_quiet(&c, 50));
    raw_puts(&c, "abcd");
    assert_int_equal(raw_answer(&c, body, sizeof body), 415);
    raw_close(&c);
    /* Where nobody takes one, nobody asks for it. */
    expect_error(node.api_port, "POST /nothing/here HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", 404,
                 "not_found");
    expect_error(node.api_port, "POST / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nContent-Length: 4\r\n\r\nabcd", 417, "invalid");
}

static void pipelined_requests_are_answered_in_order_with_their_own_bodies(void **state)
{
    (void)state;
    struct raw_client c;
    struct fm_buf requests = {0};
    raw_open(&c, node.api_port);
    for (int i = 0; i < 50; i++) {
        char json[128];
        int n = snprintf(json, sizeof json, "{\"topic\":\"room:p\",\"event\":\"e\",\"payload\":{\"i\":%d}}", i);
        fm_buf_str(&requests, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        fm_buf_printf(&requests, "POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                      n, json);
    }
    raw_send(&c, requests.p, requests.n);
    fm_buf_fini(&requests);
    for (int i = 0; i < 50; i++) {
        char want[16];
        assert_int_equal(raw_answer(&c, body, sizeof body), 200);
        assert_int_equal(raw_answer(&c, body, sizeof body) / 100, 2);
        snprintf(want, sizeof want, "-%d\"", i + 1);
        if (!strstr(body, want))
            fail_msg("no id that ends in %s in: %s", want, body);
    }
    raw_close(&c);
}

static void a_request_that_comes_byte_by_byte_is_served(void **state)
{
    (void)state;
    struct raw_client c;
    const char request[] = "\r\nGET http://elsewhere/healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    raw_open(&c, node.api_port);
    for (size_t i = 0; i + 1 < sizeof request; i++) {
        raw_send(&c, request + i, 1);
        usleep(500);
    }
    assert_int_equal(raw_answer(&c, body, sizeof body), 200);
    raw_close(&c);
}

static void a_client_that_closes_its_half_still_gets_its_answer(void **state)
{
    (void)state;
    struct raw_client c;
    raw_open(&c, node.api_port);
    raw_puts(&c, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(c.fd, SHUT_WR);
    assert_int_equal(raw_answer(&c, body, sizeof body), 200);
    assert_true(raw_ends(&c, RAW_SOON_MS));
    raw_close(&c);
}

static void the_connection_lives_as_long_as_the_client_says(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        bool ends;
    } cases[] = {
        {"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", false},
        {"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", true},
        {"GET /healthz HTTP/1.0\r\n\r\n", true},
        {"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raw_client c;
        raw_open(&c, node.api_port);
        raw_puts(&c, cases[i].request);
        assert_int_equal(raw_answer(&c, body, sizeof body), 200);
        if (cases[i].ends) {
            assert_true(raw_ends(&c, RAW_SOON_MS));
        } else {
            raw_puts(&c, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_int_equal(raw_answer(&c, body, sizeof body), 200);
        }
        raw_close(&c);
    }
}

static void a_head_request_gets_the_length_but_no_body(void **state)
{
    (void)state;
    struct raw_client c;
    raw_open(&c, node.api_port);
    raw_puts(&c, "HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    raw_until(&c, "\r\n\r\n");
    assert_non_null(memmem(c.in.p, c.in.n, "Content-Length: ", 16));
    assert_memory_equal(c.in.p + c.in.n - 4, "\r\n\r\n", 4);
    raw_close(&c);
}

static void unknown_upgrades_over_keep_alive_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {"foo", "websocketx", "TLS/1.0", "websocket/13x"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct raw_client c;
        char request[256];
        raw_open(&c, node.port);
        raw_puts(&c, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(raw_answer(&c, body, sizeof body), 200);
        snprintf(request, sizeof request,
                 "GET /socket/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: 0\r\n\r\n", names[i]);
        raw_puts(&c, request);
        assert_int_equal(raw_answer(&c, body, sizeof body), 400);
        assert_non_null(strstr(body, "\"bad_upgrade\""));
        assert_true(raw_ends(&c, RAW_SOON_MS));
        raw_close(&c);
    }
}

static void an_offer_of_h2c_is_passed_over(void **state)
{
    (void)state;
    assert_int_equal(ask(node.api_port, "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                                        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"),
                     200);
    expect_error(node.api_port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "bad_request");
}

static void a_half_open_request_ends_in_time(void **state)
{
    (void)state;
    struct raw_client silent, half, trickle;
    raw_open(&silent, node.api_port);
    raw_open(&half, node.api_port);
    raw_open(&trickle, node.api_port);
    raw_puts(&half, "POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    raw_puts(&trickle, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 300 && raw_quiet(&trickle, 100); i++)
        raw_puts(&trickle, "X: y\r\n");
    assert_int_equal(raw_answer(&trickle, body, sizeof body), 408);
    assert_int_equal(raw_answer(&half, body, sizeof body), 408);
    assert_non_null(strstr(body, "\"timeout\""));
    assert_true(raw_ends(&silent, RAW_SOON_MS));
    raw_close(&silent);
    raw_close(&half);
    raw_close(&trickle);
    assert_true(edge_node_stat(&fm_worker_stats(node.internal)->handshake_timeouts) >= 3);
}

static void websockets_are_not_served_by_the_internal_listener(void **state)
{
    (void)state;
    expect_error(node.api_port,
                 "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                 404, "not_found");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_is_not_http_gets_400_and_a_sentence, still_serves),
        cmocka_unit_test_teardown(a_head_larger_than_16_kib_gets_431, still_serves),
        cmocka_unit_test_teardown(bodies_need_a_length_that_is_allowed, still_serves),
        cmocka_unit_test_teardown(a_client_that_sends_on_after_413_still_reads_the_answer, still_serves),
        cmocka_unit_test_teardown(expect_100_continue_is_answered_before_the_body, still_serves),
        cmocka_unit_test_teardown(pipelined_requests_are_answered_in_order_with_their_own_bodies, still_serves),
        cmocka_unit_test_teardown(a_request_that_comes_byte_by_byte_is_served, still_serves),
        cmocka_unit_test_teardown(a_client_that_closes_its_half_still_gets_its_answer, still_serves),
        cmocka_unit_test_teardown(the_connection_lives_as_long_as_the_client_says, still_serves),
        cmocka_unit_test_teardown(a_head_request_gets_the_length_but_no_body, still_serves),
        cmocka_unit_test_teardown(unknown_upgrades_over_keep_alive_are_refused_by_name, still_serves),
        cmocka_unit_test_teardown(an_offer_of_h2c_is_passed_over, still_serves),
        cmocka_unit_test_teardown(websockets_are_not_served_by_the_internal_listener, still_serves),
    };
    const struct CMUnitTest in_a_hurry[] = {
        cmocka_unit_test_teardown(a_half_open_request_ends_in_time, still_serves),
    };
    int failed = cmocka_run_group_tests(tests, start, stop);
    return failed + cmocka_run_group_tests(in_a_hurry, start_in_a_hurry, stop);
}
