/* The router and its handlers. */
#include "api_node.h"

#include "../../../broker/clock.h"

static int set_up_with_key(void **state)
{
    (void)state;
    start_node("secret-key");
    return 0;
}

static void *posted(enum fm_hub_kind kind)
{
    assert_int_equal(got.answers, 0);
    struct fm_item *item = node.hub.posted;
    node.hub.posted = NULL;
    assert_non_null(item);
    assert_int_equal(item->kind, kind);
    return item;
}

/* What the hub does: takes the messages and gives results 1, 2, ... of origin 1. */
static void answer_publish(struct fm_publish *p, enum fm_err err)
{
    for (uint32_t i = 0; i < p->n; i++) {
        fm_msg_unref(&p->msgs[i]);
        p->results[i] = (struct fm_publish_result){{1, i + 1}, false};
    }
    p->err = err;
    node.internal.answered(node.internal.ctx, &p->item);
}

#define ONE "{\"topic\":\"room:1\",\"event\":\"e\",\"payload\":[1]}"

/* ---- routes ---- */

static void the_public_listener_has_only_health_readiness_and_the_broadcasts_of_supabase(void **state)
{
    (void)state;
    for (const struct fm_route *r = fm_api_routes; r->path; r++) {
        ask(r->method, false, r->path, "");
        bool expected = strcmp(r->path, "/healthz") == 0 || strcmp(r->path, "/readyz") == 0 || strncmp(r->path, "/api/broadcast", 14) == 0;
        assert_int_equal(got.answers, 1);
        assert_int_equal(got.status != 404, expected);
        assert_int_equal((r->on & FM_ON_PUBLIC) != 0, expected);
    }
}

static void an_unknown_path_is_answered_with_what_there_is(void **state)
{
    (void)state;
    ask(FM_HTTP_GET, true, "/api/pubish", "");
    assert_answer(404, "\"code\":\"not_found\"");
    for (const struct fm_route *r = fm_api_routes; r->path; r++)
        assert_non_null(strstr(got.body, r->path));
    ask(FM_HTTP_GET, true, "/api/topics//history", "");
    assert_answer(404, "not_found");
    ask(FM_HTTP_GET, true, "", "");
    assert_answer(404, "not_found");
}

static void a_wrong_method_is_answered_with_the_right_ones(void **state)
{
    (void)state;
    ask(FM_HTTP_GET, true, "/api/publish", "");
    assert_answer(405, "method_not_allowed");
    assert_string_equal(got.headers, "Allow: POST\r\n");
    ask(FM_HTTP_POST, true, "/metrics", "");
    assert_answer(405, "method_not_allowed");
    assert_string_equal(got.headers, "Allow: GET, HEAD\r\n");
    ask(FM_HTTP_OPTIONS, true, "/api/publish", "");
    assert_answer(405, "method_not_allowed");
    ask(FM_HTTP_OTHER, false, "/healthz", "");
    assert_answer(405, "method_not_allowed");
    ask(FM_HTTP_HEAD, true, "/healthz", "");
    assert_int_equal(got.status, 200);
}

static void a_parameter_that_no_one_reads_is_refused(void **state)
{
    (void)state;
    ask(FM_HTTP_GET, true, "/api/topics?prefx=room", "");
    assert_answer(400, "`prefx`; this path takes prefix after limit");
    assert_non_null(strstr(got.body, "unknown_member"));
    ask(FM_HTTP_GET, true, "/healthz?x", "");
    assert_answer(400, "takes no parameters");
    ask(FM_HTTP_GET, true, "/api/topics?prefix+after=1", "");
    assert_answer(400, "unknown_member");
}

/* ---- keys ---- */

static void without_the_key_nothing_but_health_is_answered(void **state)
{
    (void)state;
    const char *wrong[] = {
        "", "secret-key", "Bearer", "Bearer ", "Bearer secret-kez", "Bearer secret-key ", "Bearer secret", "Basic secret-key"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        node.req.authorization = fm_slice_str(wrong[i]);
        ask(FM_HTTP_POST, true, "/api/publish", ONE);
        assert_answer(401, "Authorization: Bearer KEY");
        assert_non_null(strstr(got.headers, "WWW-Authenticate"));
        ask(FM_HTTP_GET, true, "/metrics", "");
        assert_answer(401, "unauthorized");
        ask(FM_HTTP_GET, true, "/nowhere", "");
        assert_answer(401, "unauthorized");
        ask(FM_HTTP_GET, true, "/healthz", "");
        assert_answer(200, "\"status\":\"ok\"");
    }
    assert_null(node.hub.posted);
}

static void with_the_key_a_request_is_taken(void **state)
{
    (void)state;
    node.req.authorization = FM_LIT("bearer secret-key");
    node.req.origin = FM_LIT("https://example.org");
    node.req.host = FM_LIT("fanmesh.example.org");
    ask(FM_HTTP_POST, true, "/api/publish", ONE);
    answer_publish(posted(FM_HUB_PUBLISH), FM_OK);
    assert_answer(200, "{\"id\":\"1-1\"}\n");
}

static int set_up_on_public(void **state)
{
    (void)state;
    start_node_with(NULL, true);
    return 0;
}

static int set_up_on_public_with_key(void **state)
{
    (void)state;
    start_node_with("secret-key", true);
    return 0;
}

static void under_dev_api_pages_from_this_machine_reach_the_api_and_no_others(void **state)
{
    (void)state;
    const struct {
        const char *origin, *host;
        bool taken;
    } cases[] = {
        {"http://localhost:4000", "localhost:4000", true},
        {"http://localhost:4010", "localhost:4000", true}, /* served by another node */
        {"https://127.0.0.1", "localhost:4000", true},
        {"http://[::1]:4000", "127.0.0.1:4000", true},
        {"", "localhost:4000", true}, /* curl */
        {"http://evil.example", "localhost:4000", false},
        {"http://localhost.evil.example", "localhost:4000", false},
        {"http://evil.example:4000", "evil.example:4000", false}, /* its name resolves to this machine */
        {"http://localhost:4000", "evil.example:4000", false},
        {"http://localhos", "localhost:4000", false},
        {"ftp://localhost", "localhost:4000", false},
        {"null", "localhost:4000", false},
        {"", "evil.example:4000", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        node.req.origin = fm_slice_str(cases[i].origin);
        node.req.host = fm_slice_str(cases[i].host);
        node.req.readable_by = fm_slice_of(NULL, 0);
        ask(FM_HTTP_GET, false, "/api", "");
        assert_answer(cases[i].taken ? 200 : 403, cases[i].taken ? "/api/publish" : "set the option api_key");
        if (cases[i].taken)
            assert_true(fm_slice_eq(node.req.readable_by, node.req.origin));
    }
    node.req.host = FM_LIT("localhost:4001");
    node.req.origin = FM_LIT("http://localhost:4000");
    node.req.readable_by = fm_slice_of(NULL, 0);
    ask(FM_HTTP_GET, true, "/api", "");
    assert_answer(403, "forbidden");
    assert_int_equal(node.req.readable_by.n, 0);
}

static void under_dev_api_a_browser_that_asks_first_is_told_what_it_may_send(void **state)
{
    (void)state;
    node.req.origin = FM_LIT("http://localhost:4010");
    ask(FM_HTTP_OPTIONS, false, "/api/publish", "");
    assert_int_equal(got.status, 204);
    assert_non_null(
        strstr(got.headers, "Access-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key, apikey, X-Client-Info\r\n"));
    assert_true(fm_slice_eq(node.req.readable_by, node.req.origin));
    node.req.origin = FM_LIT("http://evil.example");
    node.req.readable_by = fm_slice_of(NULL, 0);
    ask(FM_HTTP_OPTIONS, false, "/api/publish", "");
    assert_answer(405, "method_not_allowed");
    assert_int_equal(node.req.readable_by.n, 0);
}

static void under_dev_api_a_node_with_a_key_wants_it_on_both_listeners(void **state)
{
    (void)state;
    node.req.origin = FM_LIT("http://localhost:4000");
    node.req.host = FM_LIT("localhost:4000");
    ask(FM_HTTP_POST, false, "/api/publish", ONE);
    assert_answer(401, "unauthorized");
    ask(FM_HTTP_GET, false, "/healthz", "");
    assert_answer(200, "ok");
    ask(FM_HTTP_GET, false, "/nowhere.html", "");
    assert_answer(404, "the files of web_root");
}

static void without_a_key_web_pages_are_kept_out(void **state)
{
    (void)state;
    node.req.origin = FM_LIT("http://evil.example");
    ask(FM_HTTP_GET, true, "/api", "");
    assert_answer(403, "set the option api_key");
    node.req.origin = fm_slice_of(NULL, 0);
    const char *open[] = {"localhost:4001", "127.0.0.1", "[::1]:4001", "node1:4001", "10.0.0.7:80"};
    const char *closed[] = {"evil.example", "evil.example:4001", "127.0.0.1.evil.example"};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        node.req.host = fm_slice_str(open[i]);
        ask(FM_HTTP_GET, true, "/api", "");
        assert_answer(200, "routes");
    }
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++) {
        node.req.host = fm_slice_str(closed[i]);
        ask(FM_HTTP_GET, true, "/api", "");
        assert_answer(403, "forbidden");
    }
}

/* ---- publishing ---- */

static void a_publish_is_posted_and_answered_with_its_id(void **state)
{
    (void)state;
    node.req.idempotency_key = FM_LIT("\"order-7\"");
    ask(FM_HTTP_POST, true, "/api/publish", ONE);
    struct fm_publish *p = posted(FM_HUB_PUBLISH);
    assert_int_equal(p->n, 1);
    assert_int_equal(p->worker, 1);
    assert_int_equal(p->token, node.internal.token);
    assert_int_equal(p->ack, FM_ACK_LOCAL);
    assert_true(p->item.cost >= sizeof *p + fm_msg_size(p->msgs[0]));
    assert_true(fm_slice_eq(fm_msg_payload(p->msgs[0]), FM_LIT("[1]")));
    assert_true(fm_slice_eq(fm_msg_key(p->msgs[0]), FM_LIT("order-7")));
    answer_publish(p, FM_OK);
    assert_answer(200, "{\"id\":\"1-1\"}\n");
    assert_null(node.req.user);
}

static void a_publish_to_topics_is_answered_for_each(void **state)
{
    (void)state;
    ask(FM_HTTP_POST, true, "/api/publish",
        "{\"topics\":[\"room:\\\"\",\"room:b\"],\"event\":\"e\",\"ack\":\"replicated\",\"timeout_ms\":9}");
    struct fm_publish *p = posted(FM_HUB_PUBLISH);
    assert_int_equal(p->ack, FM_ACK_REPLICATED);
    assert_int_equal(p->replicas, 1);
    assert_int_equal(p->timeout_ms, 9);
    for (uint32_t i = 0; i < p->n; i++)
        fm_msg_unref(&p->msgs[i]);
    p->results[0] = (struct fm_publish_result){{1, 7}, false};
    p->results[1] = (struct fm_publish_result){{62, 3}, true};
    p->confirmed = 2;
    node.internal.answered(node.internal.ctx, &p->item);
    assert_answer(200, "{\"results\":[{\"topic\":\"room:\\\"\",\"id\":\"1-7\"},{\"topic\":\"room:b\",\"id\":\"10-3\",\"duplicate\":true}],"
                       "\"confirmed\":2}\n");
}

static void a_batch_is_answered_for_each_message(void **state)
{
    (void)state;
    node.req.content_type = FM_LIT("application/x-ndjson; charset=utf-8");
    ask(FM_HTTP_POST, true, "/api/publish/batch?ack=replicated&replicas=2", ONE "\n" ONE "\n");
    struct fm_publish *p = posted(FM_HUB_PUBLISH);
    assert_int_equal(p->n, 2);
    assert_int_equal(p->replicas, 2);
    assert_int_equal(p->timeout_ms, 2000);
    answer_publish(p, FM_OK);
    assert_answer(200, "{\"results\":[{\"topic\":\"room:1\",\"id\":\"1-1\"},{\"topic\":\"room:1\",\"id\":\"1-2\"}],\"confirmed\":0}\n");
}

static void a_bad_batch_names_the_message(void **state)
{
    (void)state;
    ask(FM_HTTP_POST, true, "/api/publish/batch", "[" ONE ",{\"topic\":\"hall\",\"event\":\"e\"}]");
    assert_answer(404, "\"index\":1}}");
    assert_non_null(strstr(got.body, "message 2: `hall`"));
    ask(FM_HTTP_POST, true, "/api/publish/batch?replicas=2", "[" ONE "]");
    assert_answer(400, "need ack=replicated");
    ask(FM_HTTP_POST, true, "/api/publish/batch?ack=replicated&timeout_ms=0", "[" ONE "]");
    assert_answer(400, "the parameter `timeout_ms` must be a whole number from 1 to 60000");
    ask(FM_HTTP_POST, true, "/api/publish/batch?ack=both", "[" ONE "]");
    assert_answer(400, "local or replicated");
    assert_null(node.hub.posted);
}

static void a_body_of_another_type_is_refused(void **state)
{
    (void)state;
    node.req.content_type = FM_LIT("text/plain");
    ask(FM_HTTP_POST, true, "/api/publish", ONE);
    assert_answer(415, "unsupported_media_type");
    ask(FM_HTTP_POST, true, "/api/publish/batch", ONE);
    assert_answer(415, "unsupported_media_type");
    node.req.content_type = FM_LIT("application/x-ndjson");
    ask(FM_HTTP_POST, true, "/api/publish", ONE);
    assert_answer(415, "application/json");
}

static void a_bad_key_header_is_refused(void **state)
{
    (void)state;
    node.req.idempotency_key = FM_LIT("two words");
    ask(FM_HTTP_POST, true, "/api/publish", ONE);
    assert_answer(400, "Idempotency-Key");
}

static void what_is_not_replicated_in_time_is_an_error_with_the_id(void **state)
{
    (void)state;
    ask(FM_HTTP_POST, true, "/api/publish", "{\"topic\":\"room:1\",\"event\":\"e\",\"ack\":\"replicated\"}");
    answer_publish(posted(FM_HUB_PUBLISH), FM_E_NOT_REPLICATED);
    assert_answer(504, "\"code\":\"not_replicated\"");
    assert_non_null(strstr(got.body, "},\"id\":\"1-1\",\"confirmed\":0}"));
}

static void the_hubs_refusals_reach_the_client(void **state)
{
    (void)state;
    ask(FM_HTTP_POST, true, "/api/publish", ONE);
    answer_publish(posted(FM_HUB_PUBLISH), FM_E_DRAINING);
    assert_answer(503, "draining");
    ask(FM_HTTP_POST, true, "/api/publish", ONE);
    answer_publish(posted(FM_HUB_PUBLISH), FM_E_TOO_MANY);
    assert_answer(503, "topics_max");
}

static void a_full_hub_is_answered_at_once_and_nothing_is_kept(void **state)
{
    (void)state;
    node.hub.full = true;
    ask(FM_HTTP_POST, true, "/api/publish", ONE);
    assert_answer(503, "overloaded");
    assert_string_equal(got.headers, "Retry-After: 1\r\n");
    assert_int_equal(node.internal.forgotten, node.internal.token);
    ask(FM_HTTP_GET, true, "/api/cluster", "");
    assert_answer(503, "overloaded");
}

static void a_client_that_leaves_is_forgotten(void **state)
{
    (void)state;
    struct fm_http_request *req = ask(FM_HTTP_POST, true, "/api/publish", ONE);
    assert_non_null(req->gone);
    req->gone(req);
    assert_int_equal(node.internal.forgotten, node.internal.token);
    assert_null(req->user);
    assert_int_equal(got.answers, 0);
}

/* ---- questions ---- */

static void a_topic_list_is_asked_for_in_pages(void **state)
{
    (void)state;
    ask(FM_HTTP_GET, true, "/api/topics?prefix=room%3A&after=room%3Aa%26b&limit=7", "");
    struct fm_query *q = posted(FM_HUB_QUERY);
    assert_int_equal(q->what, FM_QUERY_TOPICS);
    assert_int_equal(q->limit, 7);
    assert_true(fm_slice_eq(fm_slice_of(q->text, q->topic_n), FM_LIT("room:")));
    assert_true(fm_slice_eq(fm_slice_of(q->text + q->topic_n, q->after_n), FM_LIT("room:a&b")));
    fm_buf_str(&q->json, "{\"topics\":[]}");
    node.internal.answered(node.internal.ctx, &q->item);
    assert_answer(200, "{\"topics\":[]}\n");
    ask(FM_HTTP_GET, true, "/api/topics?limit=1001", "");
    assert_answer(400, "`limit` must be a whole number from 1 to 1000");
    ask(FM_HTTP_GET, true, "/api/topics?prefix=%zz", "");
    assert_answer(400, "`prefix` is not percent-encoded");
}

static void a_history_is_asked_for_from_a_cursor(void **state)
{
    (void)state;
    ask(FM_HTTP_GET, true, "/api/topics/room:a/history/history?cursor=%5B%221-5%22%2C+%2210-7%22%5D", "");
    struct fm_query *q = posted(FM_HUB_QUERY);
    assert_int_equal(q->what, FM_QUERY_HISTORY);
    assert_int_equal(q->limit, 100);
    assert_true(fm_slice_eq(fm_slice_of(q->text, q->topic_n), FM_LIT("room:a/history")));
    assert_true(q->has_cursor);
    assert_int_equal(fm_vector_get(&q->cursor, 1), 5);
    assert_int_equal(fm_vector_get(&q->cursor, 62), 7);
    q->err = FM_E_NOT_READY;
    node.internal.answered(node.internal.ctx, &q->item);
    assert_answer(503, "not_ready");
    ask(FM_HTTP_GET, true, "/api/topics/room:a/history", "");
    q = posted(FM_HUB_QUERY);
    assert_false(q->has_cursor);
    node.internal.answered(node.internal.ctx, &q->item);
    assert_int_equal(got.status, 200);
}

static void a_history_that_can_not_be_had_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"1-5", "%5B1%5D", "%5B%22x%22%5D", "%7B%7D", "%5B%5B%5D%5D", ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char target[128];
        snprintf(target, sizeof target, "/api/topics/room:a/history?cursor=%s", bad[i]);
        ask(FM_HTTP_GET, true, target, "");
        assert_answer(400, "must be a JSON array of at most 256 ids");
    }
    ask(FM_HTTP_GET, true, "/api/topics/hall/history", "");
    assert_answer(404, "unmatched topic");
    char target[400] = "/api/topics/room:";
    memset(target + strlen(target), 'x', 255);
    memcpy(target + strlen(target), "/history", 9);
    ask(FM_HTTP_GET, true, target, "");
    assert_answer(400, "at most 255 bytes");
}

/* ---- status ---- */

static void a_node_is_ready_when_its_hub_is_and_until_it_drains(void **state)
{
    (void)state;
    ask(FM_HTTP_GET, false, "/readyz", "");
    assert_answer(503, "not_ready");
    atomic_store(&node.hub.stats.ready, 1);
    ask(FM_HTTP_GET, false, "/readyz", "");
    assert_answer(200, "\"status\":\"ready\"");
    fm_api_draining(node.api);
    ask(FM_HTTP_GET, true, "/readyz", "");
    assert_answer(503, "draining");
    ask(FM_HTTP_GET, true, "/healthz", "");
    assert_answer(200, "\"version\":\"9.9\"");
}

static void a_deaf_node_is_not_ready_and_says_what_is_deaf(void **state)
{
    (void)state;
    static struct fm_probe_board board;
    fm_probe_board_init(&board, 1);
    node.api->config.probe = &board;
    atomic_store(&node.hub.stats.ready, 1);
    ask(FM_HTTP_GET, false, "/readyz", "");
    assert_answer(503, "\"code\":\"not_ready\"");
    assert_answer(503, "has not come back yet");
    uint64_t now_ms = fm_mono_ms();
    for (unsigned i = 0; i < board.n; i++)
        fm_probe_came(&board.at[i], now_ms, 1);
    ask(FM_HTTP_GET, false, "/readyz", "");
    assert_answer(200, "\"status\":\"ready\"");
    fm_probe_sent(&board.at[0], now_ms - 9000);
    assert_true(fm_probe_late(&board.at[0], FM_PROBE_JOIN, now_ms, 5000));
    ask(FM_HTTP_GET, false, "/readyz", "");
    assert_answer(503, "\"code\":\"deaf\"");
    assert_answer(503, "worker 0, for 9.");
    assert_answer(503, "joins are not answered");
    ask(FM_HTTP_GET, true, "/metrics", "");
    assert_answer(200, "fanmesh_probe_ok{worker=\"0\"} 0\nfanmesh_probe_ok{worker=\"listener\"} 1\n");
    ask(FM_HTTP_GET, true, "/healthz", "");
    assert_answer(200, "\"status\":\"ok\"");
}

static void an_isolated_node_is_ready_unless_the_option_says_otherwise(void **state)
{
    (void)state;
    atomic_store(&node.hub.stats.ready, 1);
    atomic_store(&node.hub.stats.isolated, 1);
    ask(FM_HTTP_GET, false, "/readyz", "");
    assert_answer(200, "\"status\":\"ready\"");
    node.api->config.isolated_unready = true;
    ask(FM_HTTP_GET, false, "/readyz", "");
    assert_answer(503, "\"code\":\"isolated\"");
    atomic_store(&node.hub.stats.isolated, 0);
    ask(FM_HTTP_GET, false, "/readyz", "");
    assert_answer(200, "\"status\":\"ready\"");
}

static void metrics_name_every_worker(void **state)
{
    (void)state;
    ask(FM_HTTP_GET, true, "/metrics", "");
    assert_answer(200, "fanmesh_connections{worker=\"0\"} 0\nfanmesh_connections{worker=\"internal\"} 0\n");
    assert_string_equal(got.type, FM_METRICS_TYPE);
}

#define TEST_WITH_KEY(f) cmocka_unit_test_setup_teardown(f, set_up_with_key, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_public_listener_has_only_health_readiness_and_the_broadcasts_of_supabase),
        TEST(an_unknown_path_is_answered_with_what_there_is),
        TEST(a_wrong_method_is_answered_with_the_right_ones),
        TEST(a_parameter_that_no_one_reads_is_refused),
        TEST_WITH_KEY(without_the_key_nothing_but_health_is_answered),
        TEST_WITH_KEY(with_the_key_a_request_is_taken),
        TEST(without_a_key_web_pages_are_kept_out),
        cmocka_unit_test_setup_teardown(under_dev_api_pages_from_this_machine_reach_the_api_and_no_others, set_up_on_public, tear_down),
        cmocka_unit_test_setup_teardown(under_dev_api_a_browser_that_asks_first_is_told_what_it_may_send, set_up_on_public, tear_down),
        cmocka_unit_test_setup_teardown(under_dev_api_a_node_with_a_key_wants_it_on_both_listeners, set_up_on_public_with_key, tear_down),
        TEST(a_publish_is_posted_and_answered_with_its_id),
        TEST(a_publish_to_topics_is_answered_for_each),
        TEST(a_batch_is_answered_for_each_message),
        TEST(a_bad_batch_names_the_message),
        TEST(a_body_of_another_type_is_refused),
        TEST(a_bad_key_header_is_refused),
        TEST(what_is_not_replicated_in_time_is_an_error_with_the_id),
        TEST(the_hubs_refusals_reach_the_client),
        TEST(a_full_hub_is_answered_at_once_and_nothing_is_kept),
        TEST(a_client_that_leaves_is_forgotten),
        TEST(a_topic_list_is_asked_for_in_pages),
        TEST(a_history_is_asked_for_from_a_cursor),
        TEST(a_history_that_can_not_be_had_is_refused),
        TEST(a_node_is_ready_when_its_hub_is_and_until_it_drains),
        TEST(a_deaf_node_is_not_ready_and_says_what_is_deaf),
        TEST(an_isolated_node_is_ready_unless_the_option_says_otherwise),
        TEST(metrics_name_every_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
