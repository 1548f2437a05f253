/* libfanmesh: publishes and subscriptions, slow callbacks, calls from many threads and from callbacks. */
#include "embed_fixture.h"

/* ---- publish and subscribe ---- */

static void a_subscription_gets_everything_in_order_and_once(void **state)
{
    (void)state;
    enum { N = 2000 };
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0), *result = box_new();
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n", .payload = "[1]"}, on_published, result),
                         FM_OK);
    await(result, &result->results, N);
    await(box, &box->messages, N);
    for (unsigned i = 1; i < N; i++)
        assert_true(box->seen[i].seq == box->seen[i - 1].seq + 1);
    assert_int_equal(box->gaps, 0);
    stop(&node);
    assert_int_equal(box->messages, N);
    box_free(box);
    box_free(result);
}

static void a_cursor_resumes_and_last_begins_with_the_newest(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0);
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(publish(node, "room:1", i), FM_OK);
    await(box, &box->messages, 3);
    assert_int_equal(fm_unsubscribe(node, box->subscription), FM_OK);
    await(box, &box->ended, 1);
    assert_int_equal(box->end_err, FM_OK);
    assert_int_equal(fm_unsubscribe(node, box->subscription), FM_OK); /* a number that means nothing any more */
    for (unsigned i = 4; i <= 5; i++)
        assert_int_equal(publish(node, "room:1", i), FM_OK);
    struct box *again = subscribed(node, "room:1", box->cursor, 0), *last = subscribed(node, "room:1", NULL, 1);
    await(again, &again->messages, 2);
    assert_int_equal(again->recovered, 1);
    assert_true(again->seen[0].seq == box->seen[2].seq + 1);
    await(last, &last->messages, 1);
    assert_string_equal(last->last, "{\"n\":5}");
    stop(&node);
    assert_int_equal(again->messages, 2);
    assert_int_equal(last->messages, 1);
    box_free(box);
    box_free(again);
    box_free(last);
}

static void a_key_is_recognised_and_bytes_stay_bytes(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0);
    struct fm_id first, second;
    const struct fm_message m = {.topic = "room:1", .event = "b", .payload = "\xff\x01", .payload_n = 2, .binary = 1, .key = "once"};
    assert_int_equal(fm_publish_wait(node, &m, &first), FM_OK);
    assert_int_equal(fm_publish_wait(node, &m, &second), FM_OK);
    assert_true(first.origin == second.origin && first.seq == second.seq);
    assert_int_equal(publish(node, "room:1", 2), FM_OK);
    await(box, &box->messages, 2);
    assert_string_equal(box->last, "{\"n\":2}");
    stop(&node);
    box_free(box);
}

static void wrong_messages_are_refused_with_their_reason(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    static char long_name[257], large[3000];
    static const char misspelt[] = "{\"schema\":\"s\",\"table\":\"t\",\"type\":\"UPDATE\",\"record\":{},\"old_recrod\":{}}";
    memset(long_name, 'x', sizeof long_name - 1);
    memset(large, 'x', sizeof large - 1);
    large[0] = large[sizeof large - 2] = '"';
    const struct {
        struct fm_message m;
        enum fm_err err;
    } cases[] = {
        {{.event = "e"}, FM_E_INVALID},
        {{.topic = "", .event = "e"}, FM_E_INVALID},
        {{.topic = long_name, .event = "e"}, FM_E_INVALID},
        {{.topic = "room:\xff", .event = "e"}, FM_E_INVALID},
        {{.topic = "room:1"}, FM_E_INVALID},
        {{.topic = "room:1", .event = long_name}, FM_E_INVALID},
        {{.topic = "room:1", .event = "e", .key = long_name}, FM_E_INVALID},
        {{.topic = "room:1", .event = "e", .replicas = 1000}, FM_E_INVALID},
        {{.topic = "room:1", .event = "e", .payload = "null"}, FM_E_INVALID},
        {{.topic = "room:1", .event = "e", .payload_n = 5}, FM_E_INVALID},
        {{.topic = "room:1", .event = "e", .payload = "{"}, FM_E_JSON},
        {{.topic = "room:1", .event = "e", .payload = "{}x", .payload_n = 3}, FM_E_JSON},
        {{.topic = "room:1", .event = "phx_join"}, FM_E_RESERVED_EVENT},
        {{.topic = "elsewhere", .event = "e"}, FM_E_UNMATCHED_TOPIC},
        {{.topic = "realtime:1", .event = "postgres_changes", .payload = "{}"}, FM_E_INVALID},
        {{.topic = "realtime:1", .event = "postgres_changes", .payload = misspelt}, FM_E_UNKNOWN_MEMBER},
        {{.topic = "live:1", .event = "e", .payload = large}, FM_E_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(fm_publish(node, &cases[i].m, NULL, NULL), cases[i].err);
    uint64_t id;
    assert_int_equal(fm_subscribe(node, NULL, NULL, 0, on_notice, NULL, &id), FM_E_INVALID);
    assert_int_equal(fm_subscribe(node, "room:*", NULL, 0, on_notice, NULL, &id), FM_E_INVALID);
    assert_int_equal(fm_subscribe(node, "room:1", NULL, 0, NULL, NULL, &id), FM_E_INVALID);
    assert_int_equal(fm_subscribe(node, "elsewhere", NULL, 0, on_notice, NULL, &id), FM_E_UNMATCHED_TOPIC);
    static const char *const cursors[] = {"", "{}", "[1]", "[\"x\"]", "[\"a-1\"", "[[\"a-1\"]]"};
    for (size_t i = 0; i < sizeof cursors / sizeof cursors[0]; i++)
        assert_int_equal(fm_subscribe(node, "room:1", cursors[i], 0, on_notice, NULL, &id), FM_E_SYNTAX);
    static const uint64_t tokens[] = {0, 1, UINT64_MAX, 5ull << 48};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        assert_int_equal(fm_allow(node, tokens[i], NULL), FM_E_INVALID);
    stop(&node);
}

/* ---- slow callbacks ---- */

enum { INBOX_BYTES = 65536 };

static struct fm_node *node_with_small_inboxes(void)
{
    struct fm_config *c = config_new();
    char bytes[16];
    snprintf(bytes, sizeof bytes, "%d", INBOX_BYTES);
    assert_int_equal(fm_config_set(c, "worker_inbox_bytes", bytes), FM_OK);
    assert_int_equal(fm_config_set(c, "message_max", "4096"), FM_OK);
    return started(c);
}

/* The callback is held with the first message until `n` more are published, which do not fit the inbox. */
static struct box *overrun(struct fm_node *node, const char *topic, unsigned n)
{
    static char json[1024];
    memset(json, 'x', sizeof json - 1);
    json[0] = json[sizeof json - 2] = '"';
    struct box *box = subscribed(node, topic, NULL, 0);
    const struct fm_message m = {.topic = topic, .event = "n", .payload = json};
    hold(box, true);
    assert_int_equal(fm_publish(node, &m, NULL, NULL), FM_OK);
    await_inside(box);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(fm_publish(node, &m, NULL, NULL), FM_OK);
    struct box *result = box_new(); /* behind all of them, so that the hub has given them out, or tried to */
    pthread_mutex_lock(&box->lock);
    assert_int_equal(box->messages, 1);
    pthread_mutex_unlock(&box->lock);
    assert_int_equal(fm_publish(node, &m, on_published, result), FM_OK);
    hold(box, false);
    await(result, &result->results, 1);
    box_free(result);
    return box;
}

static void what_a_slow_callback_missed_is_read_again_from_the_history(void **state)
{
    (void)state;
    enum { N = 400 };
    struct fm_node *node = node_with_small_inboxes();
    struct box *box = overrun(node, "room:1", N);
    await(box, &box->messages, N + 2);
    for (unsigned i = 1; i < N + 2; i++)
        assert_true(box->seen[i].seq == box->seen[i - 1].seq + 1);
    stop(&node);
    assert_int_equal(box->messages, N + 2);
    assert_int_equal(box->gaps, 0);
    box_free(box);
}

static void what_is_in_no_history_is_told_as_a_gap(void **state)
{
    (void)state;
    enum { N = 400 };
    struct fm_node *node = node_with_small_inboxes();
    struct box *box = overrun(node, "live:1", N);
    await(box, &box->gaps, 1);
    pthread_mutex_lock(&box->lock);
    unsigned got = box->messages;
    pthread_mutex_unlock(&box->lock);
    assert_true(got < N + 2);
    /* The gap may come while the hub still gives out, or fails to. When this result is there the callback has had all of that. */
    assert_int_equal(publish(node, "live:1", 7), FM_OK);
    assert_int_equal(publish(node, "live:1", 8), FM_OK);
    for (bool last = false; !last;) {
        await(box, &box->messages, ++got);
        pthread_mutex_lock(&box->lock);
        last = strcmp(box->last, "{\"n\":8}") == 0;
        pthread_mutex_unlock(&box->lock);
    }
    stop(&node);
    box_free(box);
}

static void results_that_wait_for_a_slow_callback_are_bounded_and_none_is_lost(void **state)
{
    (void)state;
    enum { MANY = INBOX_BYTES / 64 };
    struct fm_node *node = node_with_small_inboxes();
    struct box *box = subscribed(node, "room:1", NULL, 0), *result = box_new();
    const struct fm_message m = {.topic = "room:2", .event = "n"};
    hold(box, true);
    assert_int_equal(publish(node, "room:3", 1), FM_OK);
    assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n"}, NULL, NULL), FM_OK);
    await_inside(box);
    unsigned taken = 0;
    enum fm_err err;
    while ((err = fm_publish(node, &m, on_published, result)) == FM_OK)
        assert_true(++taken < MANY);
    assert_int_equal(err, FM_E_BUSY);
    assert_int_equal(fm_publish(node, &m, NULL, NULL), FM_E_BUSY); /* whoever asks for it or not */
    hold(box, false);
    await(result, &result->results, taken);
    assert_int_equal(result->result_err, FM_OK);
    assert_int_equal(publish(node, "room:2", 1), FM_OK);
    stop(&node);
    assert_int_equal(result->results, taken);
    box_free(box);
    box_free(result);
}

/* ---- threads ---- */

enum { THREADS = 4, EACH = 250 };

static void *publisher(void *ctx)
{
    struct fm_node *node = ctx;
    for (unsigned i = 0; i < EACH; i++)
        assert_int_equal(publish(node, "room:many", i), FM_OK);
    return NULL;
}

static void *come_and_go(void *ctx)
{
    struct fm_node *node = ctx;
    for (unsigned i = 0; i < 50; i++) {
        struct box *b = subscribed(node, "room:many", NULL, 1);
        assert_int_equal(fm_unsubscribe(node, b->subscription), FM_OK);
        await(b, &b->ended, 1);
        box_free(b);
    }
    return NULL;
}

static void calls_may_come_from_many_threads_at_once(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:many", NULL, 0);
    pthread_t threads[THREADS + 1];
    for (unsigned i = 0; i <= THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < THREADS ? publisher : come_and_go, node), 0);
    for (unsigned i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    await(box, &box->messages, THREADS * EACH);
    stop(&node);
    assert_int_equal(box->messages, THREADS * EACH);
    box_free(box);
}

static void *stopper(void *ctx)
{
    struct fm_node *node = ctx;
    stop(&node);
    return NULL;
}

static void stop_waits_for_the_callback_that_runs(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0);
    pthread_t thread;
    hold(box, true);
    assert_int_equal(publish(node, "room:2", 1), FM_OK);
    assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n"}, NULL, NULL), FM_OK);
    await_inside(box);
    assert_int_equal(pthread_create(&thread, NULL, stopper, node), 0);
    pthread_mutex_lock(&box->lock);
    assert_int_equal(box->ended, 0);
    pthread_mutex_unlock(&box->lock);
    hold(box, false);
    pthread_join(thread, NULL);
    assert_int_equal(box->ended, 1);
    assert_int_equal(box->end_err, FM_E_CLOSED);
    box_free(box);
}

static void call_all(const struct fm_notice *n, void *ctx)
{
    struct box *b = ctx;
    struct fm_node *node = n->node;
    const struct fm_message m = {.topic = "room:2", .event = "n"};
    uint64_t id;
    if (n->kind == FM_NOTICE_MESSAGE) {
        assert_int_equal(fm_publish_wait(node, &m, NULL), FM_E_CALLBACK);
        assert_int_equal(fm_await_ready(node, 0), FM_E_CALLBACK);
        assert_int_equal(fm_drain(node), FM_E_CALLBACK);
        assert_int_equal(fm_stop(&node), FM_E_CALLBACK);
        assert_non_null(node);
        assert_int_equal(fm_publish(node, &m, on_published, b), FM_OK);
        assert_int_equal(fm_unsubscribe(node, n->subscription), FM_OK);
    } else if (n->kind == FM_NOTICE_ENDED && n->err == FM_E_CLOSED) {
        assert_int_equal(fm_publish(node, &m, NULL, NULL), FM_E_CLOSED);
        assert_int_equal(fm_subscribe(node, "room:1", NULL, 0, on_notice, b, &id), FM_E_CLOSED);
        assert_int_equal(fm_unsubscribe(node, n->subscription), FM_E_CLOSED);
    }
}

static void a_callback_may_make_every_call_that_does_not_wait(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0), *other = subscribed(node, "room:2", NULL, 0);
    box->also = call_all;
    other->also = NULL;
    for (unsigned i = 0; i < 3; i++) /* only the first: it ends the subscription */
        assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n"}, NULL, NULL), FM_OK);
    await(box, &box->ended, 1);
    await(box, &box->results, 1);
    await(other, &other->messages, 1);
    assert_int_equal(box->messages, 1);
    struct box *last = subscribed(node, "room:3", NULL, 0);
    last->also = call_all;
    stop(&node);
    assert_int_equal(last->ended, 1);
    box_free(box);
    box_free(other);
    box_free(last);
}

static void call_around(const struct fm_notice *n, void *ctx)
{
    struct box *b = ctx;
    if (n->kind == FM_NOTICE_ENDED)
        assert_int_equal(publish(b->node, "room:1", 1), FM_E_CALLBACK);
}

static void stop_another(const struct fm_notice *n, void *ctx)
{
    struct box *b = ctx;
    struct fm_node *own = n->node;
    if (n->kind != FM_NOTICE_MESSAGE)
        return;
    assert_int_equal(fm_stop(&b->node), FM_OK);
    assert_int_equal(fm_stop(&own), FM_E_CALLBACK);
}

static void a_node_that_is_stopped_in_a_callback_of_another_leaves_that_a_callback(void **state)
{
    (void)state;
    struct fm_node *node = node_new(), *other = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0), *of_other = subscribed(other, "room:1", NULL, 0);
    of_other->node = node;
    of_other->also = call_around;
    box->node = other;
    box->also = stop_another;
    assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n"}, NULL, NULL), FM_OK);
    await(of_other, &of_other->ended, 1);
    box->also = NULL;
    stop(&node);
    assert_null(box->node);
    assert_int_equal(box->ended, 1);
    box_free(box);
    box_free(of_other);
}

static void every_publish_has_its_result_before_stop_returns(void **state)
{
    (void)state;
    enum { N = 50 };
    struct fm_config *c = config_new();
    assert_int_equal(fm_config_set(c, "ack_timeout_ms", "60s"), FM_OK);
    struct fm_node *node = started(c);
    struct box *result = box_new();
    for (unsigned i = 0; i < N; i++) /* there is no other node that could confirm */
        assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n", .replicas = 1}, on_published, result),
                         FM_OK);
    stop(&node);
    assert_int_equal(result->results, N);
    box_free(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subscription_gets_everything_in_order_and_once),
        cmocka_unit_test(a_cursor_resumes_and_last_begins_with_the_newest),
        cmocka_unit_test(a_key_is_recognised_and_bytes_stay_bytes),
        cmocka_unit_test(wrong_messages_are_refused_with_their_reason),
        cmocka_unit_test(what_a_slow_callback_missed_is_read_again_from_the_history),
        cmocka_unit_test(what_is_in_no_history_is_told_as_a_gap),
        cmocka_unit_test(results_that_wait_for_a_slow_callback_are_bounded_and_none_is_lost),
        cmocka_unit_test(calls_may_come_from_many_threads_at_once),
        cmocka_unit_test(stop_waits_for_the_callback_that_runs),
        cmocka_unit_test(a_callback_may_make_every_call_that_does_not_wait),
        cmocka_unit_test(a_node_that_is_stopped_in_a_callback_of_another_leaves_that_a_callback),
        cmocka_unit_test(every_publish_has_its_result_before_stop_returns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
