/* How messages flow through a worker: batches, slow clients, an overrun worker, a drain. */
#include "edge_node.h"
#include "raw_client.h"

#include "../../gateway/ws_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct edge_node node;
static char body[1 << 18];

static int defaults(void **state)
{
    (void)state;
    edge_node_defaults(&node);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    edge_node_stop(&node, 0);
    return 0;
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void join_with(struct raw_client *c, const char *topic, const char *params)
{
    char text[256], want[256];
    snprintf(text, sizeof text, "[\"j\",\"r\",\"%s\",\"phx_join\",%s]", topic, params);
    snprintf(want, sizeof want, "[\"j\",\"r\",\"%s\",\"phx_reply\",{\"status\":\"ok\"", topic);
    raw_text(c, text);
    struct raw_message m = raw_next(c);
    if (strncmp((const char *)m.bytes, want, strlen(want)) != 0)
        fail_msg("%s", m.bytes);
    free(m.bytes);
}

static void join(struct raw_client *c, const char *topic)
{
    join_with(c, topic, "{}");
}

/* One publish of n messages {"i":from..}, each with a filler of so many bytes, to these topics in turn. */
static void publish(struct raw_client *api, const char *const *topics, size_t topics_n, uint64_t from, size_t n, size_t filler)
{
    struct fm_buf json = {0}, request = {0};
    for (size_t i = 0; i < n; i++) {
        fm_buf_printf(&json, "{\"topic\":\"%s\",\"event\":\"e\",\"payload\":{\"i\":%zu,\"x\":\"", topics[i % topics_n], (size_t)from + i);
        for (size_t k = 0; k < filler; k++)
            fm_buf_u8(&json, 'x');
        fm_buf_str(&json, "\"}}\n");
    }
    fm_buf_printf(&request,
                  "POST /api/publish/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\nContent-Length: %zu\r\n\r\n",
                  json.n);
    fm_buf_slice(&request, fm_buf_view(&json));
    raw_send(api, request.p, request.n);
    fm_buf_fini(&json);
    fm_buf_fini(&request);
    unsigned status = raw_answer(api, body, sizeof body);
    if (status / 100 != 2)
        fail_msg("%u %s", status, body);
}

/* The next broadcast's "i"; -1: a gap event, -2: the connection ended, -3: a close. */
static long next_i(struct raw_client *c)
{
    struct raw_message m = raw_next(c);
    long i = -2;
    if (m.opcode == 8)
        i = -3;
    if (m.opcode == 1) {
        const char *at = strstr((const char *)m.bytes, "{\"i\":");
        if (at)
            i = strtol(at + 5, NULL, 10);
        else if (strstr((const char *)m.bytes, "\"gap\""))
            i = -1;
        else
            fail_msg("%s", m.bytes);
    }
    free(m.bytes);
    return i;
}

static void every_subscriber_of_every_topic_gets_all_in_order(void **state)
{
    (void)state;
    enum { CLIENTS = 6, TOPICS = 3, N = 300 };
    static const char *const topics[TOPICS] = {"quiet:a", "quiet:b", "quiet:c"};
    struct raw_client c[CLIENTS], api;
    edge_node_start(&node);
    raw_open(&api, node.api_port);
    for (size_t i = 0; i < CLIENTS; i++) {
        raw_connect(&c[i], node.port);
        for (size_t t = 0; t <= i % TOPICS; t++)
            join(&c[i], topics[t]);
    }
    for (size_t k = 0; k < 4; k++)
        publish(&api, topics, TOPICS, k * N, N, k == 3 ? 1000 : 10);
    for (size_t i = 0; i < CLIENTS; i++) {
        long last[TOPICS] = {-3, -2, -1};
        size_t mine = (i % TOPICS + 1) * 4 * N / TOPICS;
        for (size_t k = 0; k < mine; k++) {
            long v = next_i(&c[i]);
            assert_true(v >= 0);
            assert_int_equal(v, last[v % TOPICS] + TOPICS);
            last[v % TOPICS] = v;
        }
        assert_true(raw_quiet(&c[i], 20));
        raw_close(&c[i]);
    }
    /* Messages were given to subscribers many times, but sent together. */
    const struct fm_worker_stats *stats = fm_worker_stats(node.worker);
    assert_int_equal(edge_node_stat(&stats->deliveries), 2 * (1 + 2 + 3) * 4 * N / TOPICS);
    assert_true(edge_node_stat(&stats->sends) < edge_node_stat(&stats->deliveries) / 4);
    raw_close(&api);
}

/* Pushes keep the worker reading while their broadcasts pile up: more of them than it gives out in one turn, and more coming meanwhile. */
static void a_burst_of_many_turns_is_given_out_to_the_last_message(void **state)
{
    (void)state;
    enum { CLIENTS = 10, PUSHES = 400 };
    static char filler[2000], text[2200];
    struct raw_client c[CLIENTS];
    memset(filler, 'x', sizeof filler - 1);
    node.client.outbox_bytes = 64 << 20;
    edge_node_start(&node);
    for (size_t i = 0; i < CLIENTS; i++) {
        raw_connect(&c[i], node.port);
        join(&c[i], "quiet:burst");
    }
    for (int k = 0; k < PUSHES; k++) {
        for (size_t i = 0; i < CLIENTS; i++) {
            snprintf(text, sizeof text, "[\"j\",\"%d\",\"quiet:burst\",\"e\",{\"i\":%zu,\"x\":\"%s\"}]", k, i, filler);
            raw_text(&c[i], text);
        }
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        int replies = 0, broadcasts[CLIENTS] = {0};
        for (int n = 0; n < PUSHES * (CLIENTS + 1); n++) {
            struct raw_message m = raw_next(&c[i]);
            const char *at = strstr((const char *)m.bytes, "{\"i\":");
            assert_int_equal(m.opcode, 1);
            if (at)
                broadcasts[strtol(at + 5, NULL, 10)]++;
            else
                replies++;
            free(m.bytes);
        }
        assert_int_equal(replies, PUSHES);
        for (size_t k = 0; k < CLIENTS; k++)
            assert_int_equal(broadcasts[k], PUSHES);
        raw_close(&c[i]);
    }
}

static void who_pushes_to_the_others_gets_everything_but_its_own(void **state)
{
    (void)state;
    struct raw_client a, b;
    edge_node_start(&node);
    raw_connect(&a, node.port);
    raw_connect(&b, node.port);
    join(&a, "others:1");
    join(&b, "others:1");
    for (int i = 0; i < 40; i++) {
        char text[128];
        snprintf(text, sizeof text, "[\"j\",\"p\",\"others:1\",\"e\",{\"i\":%d}]", i);
        raw_text(i % 2 ? &a : &b, text);
    }
    for (int k = 0; k < 2; k++) {
        struct raw_client *c = k ? &a : &b;
        int replies = 0, others = 0;
        while (replies < 20 || others < 20) {
            struct raw_message m = raw_next(c);
            const char *at = strstr((const char *)m.bytes, "{\"i\":");
            if (at) {
                assert_int_equal(strtol(at + 5, NULL, 10) % 2, k ? 0 : 1);
                others++;
            } else {
                assert_non_null(strstr((const char *)m.bytes, "phx_reply"));
                replies++;
            }
            free(m.bytes);
        }
        assert_true(raw_quiet(c, 20));
        raw_close(c);
    }
}

static void the_reply_to_a_push_follows_its_broadcast(void **state)
{
    (void)state;
    struct raw_client c, other;
    edge_node_start(&node);
    raw_connect(&c, node.port);
    raw_connect(&other, node.port);
    join(&c, "room:r");
    join(&other, "room:r");
    for (int i = 0; i < 100; i++) {
        char text[128];
        snprintf(text, sizeof text, "[\"j\",\"p%d\",\"room:r\",\"e\",{\"i\":%d}]", i, i);
        raw_text(&c, text);
    }
    int seen = -1;
    for (int replies = 0; replies < 100;) {
        struct raw_message m = raw_next(&c);
        const char *reply = strstr((const char *)m.bytes, "\"p"), *at = strstr((const char *)m.bytes, "{\"i\":");
        if (at) {
            assert_int_equal(strtol(at + 5, NULL, 10), seen + 1);
            seen++;
        } else {
            assert_int_equal(strtol(reply + 2, NULL, 10), replies);
            assert_true(seen >= replies);
            replies++;
        }
        free(m.bytes);
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(next_i(&other), i);
    raw_close(&c);
    raw_close(&other);
}

static void the_reply_to_a_push_follows_its_broadcast_also_before_the_answer_to_a_join(void **state)
{
    (void)state;
    static const char *const order[] = {"\"e\",{\"i\":", "[\"j\",\"p\",", "[\"k\",\"k\","};
    struct raw_client c;
    struct fm_buf both = {0};
    edge_node_start(&node);
    raw_connect(&c, node.port);
    join(&c, "room:r");
    for (int i = 0; i < 200; i++) {
        char text[256];
        snprintf(text, sizeof text, "[\"j\",\"p\",\"room:r\",\"e\",{\"i\":%d}]", i);
        fm_ws_frame_put(&both, FM_WS_TEXT, fm_slice_str(text), 1);
        snprintf(text, sizeof text, "[\"k\",\"k\",\"quiet:%d\",\"phx_join\",{}]", i);
        fm_ws_frame_put(&both, FM_WS_TEXT, fm_slice_str(text), 1);
        raw_send(&c, both.p, both.n);
        both.n = 0;
        for (size_t k = 0; k < 3; k++) {
            struct raw_message m = raw_next(&c);
            if (!strstr((const char *)m.bytes, order[k]))
                fail_msg("in round %d, as number %zu: %s", i, k, m.bytes);
            free(m.bytes);
        }
        snprintf(text, sizeof text, "[\"k\",\"l\",\"quiet:%d\",\"phx_leave\",{}]", i);
        raw_text(&c, text);
        for (size_t k = 0; k < 2; k++) {
            struct raw_message m = raw_next(&c);
            free(m.bytes);
        }
    }
    fm_buf_fini(&both);
    raw_close(&c);
}

static void a_join_under_load_misses_nothing_and_doubles_nothing(void **state)
{
    (void)state;
    enum { N = 50, ROUNDS = 20 };
    static const char *const topic[] = {"room:load"};
    struct raw_client api, c[ROUNDS];
    edge_node_start(&node);
    raw_open(&api, node.api_port);
    publish(&api, topic, 1, 0, N, 10);
    for (size_t k = 0; k < ROUNDS; k++) {
        raw_connect(&c[k], node.port);
        raw_text(&c[k], "[\"j\",\"r\",\"room:load\",\"phx_join\",{\"last\":1,\"cursor\":[]}]");
        publish(&api, topic, 1, (k + 1) * N, N, 10);
    }
    for (size_t k = 0; k < ROUNDS; k++) {
        struct raw_message m = raw_next(&c[k]);
        assert_non_null(strstr((const char *)m.bytes, "\"phx_reply\""));
        free(m.bytes);
        long last = next_i(&c[k]);
        assert_true(last >= 0);
        while (last + 1 < (ROUNDS + 1) * N) {
            long i = next_i(&c[k]);
            assert_int_equal(i, last + 1);
            last = i;
        }
        raw_close(&c[k]);
    }
    raw_close(&api);
}

/* ---- slow clients ---- */

static void a_slow_reader_within_the_limit_gets_everything(void **state)
{
    (void)state;
    static const char *const topic[] = {"quiet:slow"};
    struct raw_client api, c;
    node.client.outbox_bytes = 8 << 20;
    edge_node_start(&node);
    raw_open(&api, node.api_port);
    raw_open_small(&c, node.port, 4096);
    raw_upgrade(&c, "/socket/websocket?vsn=2.0.0", "");
    join(&c, "quiet:slow");
    for (size_t k = 0; k < 100; k++)
        publish(&api, topic, 1, k * 50, 50, 1000);
    assert_true(edge_node_stat(&fm_worker_stats(node.worker)->outbox_bytes) > 0);
    raw_frame(&c, 0x89, "now", 3);
    long i = 0;
    while (i < 5000) {
        if (c.in.n == 0 && i % 500 == 0)
            usleep(2000);
        struct raw_message m = raw_next(&c);
        if (m.opcode == 1) {
            assert_int_equal(strtol(strstr((const char *)m.bytes, "{\"i\":") + 5, NULL, 10), i);
            i++;
        } else {
            assert_int_equal(m.opcode, 10); /* the pong stands between frames, not in one */
        }
        free(m.bytes);
    }
    edge_node_await(&fm_worker_stats(node.worker)->outbox_bytes, 0);
    raw_close(&c);
    raw_close(&api);
}

static void a_slow_reader_beyond_the_limit_is_closed_with_1013_and_the_others_go_on(void **state)
{
    (void)state;
    static const char *const topic[] = {"quiet:slow"};
    struct raw_client api, slow, dead, quick;
    node.client.outbox_bytes = 64 << 10;
    edge_node_start(&node);
    const struct fm_worker_stats *stats = fm_worker_stats(node.worker);
    raw_open(&api, node.api_port);
    raw_open_small(&slow, node.port, 4096);
    raw_open_small(&dead, node.port, 4096);
    raw_upgrade(&slow, "/socket/websocket?vsn=2.0.0", "");
    raw_upgrade(&dead, "/socket/websocket?vsn=2.0.0", "");
    raw_connect(&quick, node.port);
    join(&slow, "quiet:slow");
    join(&dead, "quiet:slow");
    join(&quick, "quiet:slow");
    long sent = 0;
    while (edge_node_stat(&stats->slow_disconnects) < 2) {
        assert_true(sent < 100000);
        publish(&api, topic, 1, (uint64_t)sent, 50, 1000);
        for (int i = 0; i < 50; i++)
            assert_int_equal(next_i(&quick), sent + i);
        sent += 50;
    }
    edge_node_await(&stats->subscriptions, 1);
    long expected = 0, i;
    while ((i = next_i(&slow)) >= 0)
        assert_int_equal(i, expected++);
    assert_int_equal(i, -3); /* a close between two frames: what was written before it is whole */
    assert_true(expected < sent);
    edge_node_await(&stats->outbox_bytes, 0); /* the dead one has its time limit, too */
    raw_close(&slow);
    raw_close(&dead);
    raw_close(&quick);
    raw_close(&api);
}

/* ---- overrun ---- */

/* 20 publishes in one write: their messages reach the worker in several posts. */
static void burst(struct raw_client *api, const char *topic, long from)
{
    struct fm_buf all = {0};
    for (long i = from; i < from + 20; i++) {
        char json[100];
        int n = snprintf(json, sizeof json, "{\"topic\":\"%s\",\"event\":\"e\",\"payload\":{\"i\":%ld}}", topic, i);
        fm_buf_printf(&all, "POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n,
                      json);
    }
    raw_send(api, all.p, all.n);
    fm_buf_fini(&all);
    for (int i = 0; i < 20; i++)
        assert_int_equal(raw_answer(api, body, sizeof body) / 100, 2);
}

static void an_overrun_worker_reads_again_what_it_missed(void **state)
{
    (void)state;
    struct raw_client api, c;
    node.mailbox_bytes = 1; /* anything behind something else is refused */
    edge_node_start(&node);
    raw_open(&api, node.api_port);
    raw_connect(&c, node.port);
    join_with(&c, "room:over", "{\"cursor\":[]}");
    const struct fm_worker_stats *stats = fm_worker_stats(node.worker);
    long expected = 0;
    for (long k = 0; k < 5000 && edge_node_stat(&stats->overruns) < 5; k++) {
        burst(&api, "room:over", k * 20);
        for (int i = 0; i < 20; i++)
            assert_int_equal(next_i(&c), expected++);
    }
    assert_true(edge_node_stat(&stats->overruns) >= 5);
    assert_true(raw_quiet(&c, 50));
    raw_close(&c);
    raw_close(&api);
}

static void what_an_overrun_lost_without_history_is_told_as_a_gap(void **state)
{
    (void)state;
    struct raw_client api, c;
    node.mailbox_bytes = 1;
    edge_node_start(&node);
    raw_open(&api, node.api_port);
    raw_connect(&c, node.port);
    join_with(&c, "quiet:over", "{\"cursor\":[]}");
    const struct fm_worker_stats *stats = fm_worker_stats(node.worker);
    long sent = 0, expected = 0;
    for (; sent < 100000 && edge_node_stat(&stats->overruns) < 5; sent += 20)
        burst(&api, "quiet:over", sent);
    assert_true(edge_node_stat(&stats->overruns) >= 5);
    usleep(200000); /* it is over */
    publish(&api, (const char *const[]){"quiet:over"}, 1, (uint64_t)sent, 1, 0);
    bool gap = false, any_gap = false;
    while (expected <= sent) {
        long i = next_i(&c);
        assert_true(i >= -1);
        if (i == -1) {
            gap = any_gap = true;
            continue;
        }
        assert_true(i == expected || (gap && i > expected));
        gap = false;
        expected = i + 1;
    }
    assert_true(any_gap);
    raw_close(&c);
    raw_close(&api);
}

/* ---- accepting ---- */

static void a_storm_of_connections_is_let_in_at_its_rate_and_those_inside_are_served(void **state)
{
    (void)state;
    enum { CLIENTS = 60 };
    static const char *const topic[] = {"quiet:inside"};
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    struct raw_client inside, api, storm[CLIENTS];
    node.client.accepts_per_s = 40;
    edge_node_start(&node);
    raw_open(&api, node.api_port);
    raw_connect(&inside, node.port);
    join(&inside, "quiet:inside");
    uint64_t began = now_ms();
    for (size_t i = 0; i < CLIENTS; i++) {
        raw_open(&storm[i], node.port);
        raw_puts(&storm[i], request);
    }
    for (uint64_t i = 0; i < 5; i++) {
        publish(&api, topic, 1, i, 1, 0);
        assert_int_equal(next_i(&inside), (long)i);
    }
    assert_true(edge_node_stat(&fm_worker_stats(node.worker)->accepted) < CLIENTS / 2);
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(raw_answer(&storm[i], body, sizeof body), 200);
        raw_close(&storm[i]);
    }
    uint64_t took = now_ms() - began;
    assert_true(took > 1000 && took < 4000);
    raw_close(&inside);
    raw_close(&api);
}

/* ---- drain ---- */

static void a_drain_tells_everyone_1012_spread_over_its_time(void **state)
{
    (void)state;
    enum { CLIENTS = 50, DRAIN_MS = 1000 };
    struct raw_client c[CLIENTS], http;
    uint64_t first = UINT64_MAX, last = 0;
    edge_node_start(&node);
    for (size_t i = 0; i < CLIENTS; i++) {
        raw_connect(&c[i], node.port);
        join(&c[i], "room:d");
    }
    raw_open(&http, node.port);
    uint64_t began = now_ms();
    fm_worker_drain(node.worker, DRAIN_MS);
    assert_true(raw_ends(&http, 1000));
    raw_close(&http);
    for (size_t i = CLIENTS; i-- > 0;) {
        raw_expect_close(&c[i], 1012);
        uint64_t at = now_ms() - began;
        first = at < first ? at : first;
        last = at > last ? at : last;
        raw_close(&c[i]);
    }
    assert_true(first < DRAIN_MS / 2);
    assert_true(last > DRAIN_MS / 2 && last < 3 * DRAIN_MS);
    edge_node_await(&fm_worker_stats(node.worker)->connections, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_subscriber_of_every_topic_gets_all_in_order, defaults, stop),
        cmocka_unit_test_setup_teardown(a_burst_of_many_turns_is_given_out_to_the_last_message, defaults, stop),
        cmocka_unit_test_setup_teardown(who_pushes_to_the_others_gets_everything_but_its_own, defaults, stop),
        cmocka_unit_test_setup_teardown(the_reply_to_a_push_follows_its_broadcast, defaults, stop),
        cmocka_unit_test_setup_teardown(the_reply_to_a_push_follows_its_broadcast_also_before_the_answer_to_a_join, defaults, stop),
        cmocka_unit_test_setup_teardown(a_join_under_load_misses_nothing_and_doubles_nothing, defaults, stop),
        cmocka_unit_test_setup_teardown(a_slow_reader_within_the_limit_gets_everything, defaults, stop),
        cmocka_unit_test_setup_teardown(a_slow_reader_beyond_the_limit_is_closed_with_1013_and_the_others_go_on, defaults, stop),
        cmocka_unit_test_setup_teardown(an_overrun_worker_reads_again_what_it_missed, defaults, stop),
        cmocka_unit_test_setup_teardown(what_an_overrun_lost_without_history_is_told_as_a_gap, defaults, stop),
        cmocka_unit_test_setup_teardown(a_storm_of_connections_is_let_in_at_its_rate_and_those_inside_are_served, defaults, stop),
        cmocka_unit_test_setup_teardown(a_drain_tells_everyone_1012_spread_over_its_time, defaults, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
