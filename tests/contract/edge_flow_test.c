/* How messages flow through a worker: batches, bursts, joins among them, and the order that a client sees. */
#include "edge_node.h"
#include "raw_client.h"

#include "../../gateway/client/ws_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

static struct edge_node node;

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
            raw_join(&c[i], topics[t]);
    }
    for (size_t k = 0; k < 4; k++)
        raw_publish(&api, topics, TOPICS, k * N, N, k == 3 ? 1000 : 10);
    for (size_t i = 0; i < CLIENTS; i++) {
        long last[TOPICS] = {-3, -2, -1};
        size_t mine = (i % TOPICS + 1) * 4 * N / TOPICS;
        for (size_t k = 0; k < mine; k++) {
            long v = raw_next_i(&c[i]);
            assert_true(v >= 0);
            assert_int_equal(v, last[v % TOPICS] + TOPICS);
            last[v % TOPICS] = v;
        }
        assert_true(raw_quiet(&c[i], 20));
        raw_close(&c[i]);
    }
    /* Messages were given to subscribers many times, but sent together. */
    const struct fm_worker_stats *stats = fm_worker_stats(node.worker);
    edge_node_await(&stats->deliveries, 2 * (1 + 2 + 3) * 4 * N / TOPICS);
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
        raw_join(&c[i], "quiet:burst");
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

/* More than one read of the socket brings, and handled one by one by another thread. */
static void what_a_client_writes_at_once_reaches_each_subscriber_in_one_write(void **state)
{
    (void)state;
    enum { PUSHES = 40, ROUNDS = 20 };
    struct raw_client pusher, other;
    struct fm_buf all = {0};
    edge_node_start(&node);
    raw_connect(&pusher, node.port);
    raw_connect(&other, node.port);
    raw_join(&pusher, "quiet:x");
    raw_join(&other, "quiet:x");
    const struct fm_worker_stats *stats = fm_worker_stats(node.worker);
    edge_node_await(&stats->sends, 2); /* the answers to the joins */
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PUSHES; i++) {
            char text[128];
            snprintf(text, sizeof text, "[\"j\",\"p\",\"quiet:x\",\"e\",{\"i\":%d}]", i);
            fm_ws_frame_put(&all, FM_WS_TEXT, fm_slice_str(text), 1);
        }
        raw_send(&pusher, all.p, all.n);
        all.n = 0;
        for (int i = 0; i < PUSHES; i++) {
            assert_int_equal(raw_next_i(&other), i);
            assert_int_equal(raw_next_i(&pusher), i);
        }
        for (int i = 0; i < PUSHES; i++) {
            struct raw_message m = raw_next(&pusher);
            assert_non_null(strstr((const char *)m.bytes, "phx_reply"));
            free(m.bytes);
        }
    }
    edge_node_await(&stats->sends, 2 + 2 * ROUNDS);
    fm_buf_fini(&all);
    raw_close(&pusher);
    raw_close(&other);
}

static void who_pushes_to_the_others_gets_everything_but_its_own(void **state)
{
    (void)state;
    struct raw_client a, b;
    edge_node_start(&node);
    raw_connect(&a, node.port);
    raw_connect(&b, node.port);
    raw_join(&a, "others:1");
    raw_join(&b, "others:1");
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

/* Pushes 100 times and reads the replies: before each one comes what it replies to. */
static void pushed_before_replied(struct raw_client *c)
{
    for (int i = 0; i < 100; i++) {
        char text[128];
        snprintf(text, sizeof text, "[\"j\",\"p%d\",\"room:r\",\"e\",{\"i\":%d}]", i, i);
        raw_text(c, text);
    }
    int seen = -1;
    for (int replies = 0; replies < 100;) {
        struct raw_message m = raw_next(c);
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
}

static void the_reply_to_a_push_follows_its_broadcast(void **state)
{
    (void)state;
    struct raw_client c, other;
    edge_node_start(&node);
    raw_connect(&c, node.port);
    raw_connect(&other, node.port);
    raw_join(&c, "room:r");
    raw_join(&other, "room:r");
    pushed_before_replied(&c);
    for (int i = 0; i < 100; i++)
        assert_int_equal(raw_next_i(&other), i);
    raw_close(&c);
    raw_close(&other);
}

static void the_reply_to_a_push_follows_its_broadcast_also_where_that_goes_in_slices(void **state)
{
    (void)state;
    enum { OTHERS = 8 };
    struct raw_client c, others[OTHERS];
    node.client.fanout_slice = 1;
    edge_node_start(&node);
    for (int k = 0; k < OTHERS; k++) {
        raw_connect(&others[k], node.port);
        raw_join(&others[k], "room:r");
    }
    raw_connect(&c, node.port);
    raw_join(&c, "room:r");
    pushed_before_replied(&c);
    for (int k = 0; k < OTHERS; k++) {
        for (int i = 0; i < 100; i++)
            assert_int_equal(raw_next_i(&others[k]), i);
        raw_close(&others[k]);
    }
    raw_close(&c);
}

static void the_reply_to_a_push_follows_its_broadcast_also_before_the_answer_to_a_join(void **state)
{
    (void)state;
    static const char *const order[] = {"\"e\",{\"i\":", "[\"j\",\"p\",", "[\"k\",\"k\","};
    struct raw_client c;
    struct fm_buf both = {0};
    edge_node_start(&node);
    raw_connect(&c, node.port);
    raw_join(&c, "room:r");
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
    raw_publish(&api, topic, 1, 0, N, 10);
    for (size_t k = 0; k < ROUNDS; k++) {
        raw_connect(&c[k], node.port);
        raw_text(&c[k], "[\"j\",\"r\",\"room:load\",\"phx_join\",{\"last\":1,\"cursor\":[]}]");
        raw_publish(&api, topic, 1, (k + 1) * N, N, 10);
    }
    for (size_t k = 0; k < ROUNDS; k++) {
        struct raw_message m = raw_next(&c[k]);
        assert_non_null(strstr((const char *)m.bytes, "\"phx_reply\""));
        free(m.bytes);
        long last = raw_next_i(&c[k]);
        assert_true(last >= 0);
        while (last + 1 < (ROUNDS + 1) * N) {
            long i = raw_next_i(&c[k]);
            assert_int_equal(i, last + 1);
            last = i;
        }
        raw_close(&c[k]);
    }
    raw_close(&api);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_subscriber_of_every_topic_gets_all_in_order, defaults, stop),
        cmocka_unit_test_setup_teardown(a_burst_of_many_turns_is_given_out_to_the_last_message, defaults, stop),
        cmocka_unit_test_setup_teardown(what_a_client_writes_at_once_reaches_each_subscriber_in_one_write, defaults, stop),
        cmocka_unit_test_setup_teardown(who_pushes_to_the_others_gets_everything_but_its_own, defaults, stop),
        cmocka_unit_test_setup_teardown(the_reply_to_a_push_follows_its_broadcast, defaults, stop),
        cmocka_unit_test_setup_teardown(the_reply_to_a_push_follows_its_broadcast_also_where_that_goes_in_slices, defaults, stop),
        cmocka_unit_test_setup_teardown(the_reply_to_a_push_follows_its_broadcast_also_before_the_answer_to_a_join, defaults, stop),
        cmocka_unit_test_setup_teardown(a_join_under_load_misses_nothing_and_doubles_nothing, defaults, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
