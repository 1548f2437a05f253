#include "order_fixture.h"
#include "../../../gateway/json/json_slice.h"

static int set_up(void **state)
{
    (void)state;
    struct fm_rule *room, *small;
    assert_int_equal(fm_rules_new(&rules), FM_OK);
    assert_int_equal(fm_rules_add(rules, "room:*", &room), FM_OK);
    assert_int_equal(fm_rules_add(rules, "small", &small), FM_OK);
    room->message_max = 1000;
    small->message_max = 10;
    limits = (struct fm_api_limits){
        .rules = rules, .batch_max = 5, .bytes_max = 4000, .replicas = 2, .timeout_ms = 3000, .user_topic = "room:of-{user}:x"};
    return 0;
}

/* A copy of exactly its size, so that the sanitizer sees a read past the end. */
static enum fm_err parse(const char *kind, const char *body)
{
    size_t n = strlen(body);
    uint8_t *copy = copied(body, n);
    enum fm_err err = strcmp(kind, "one") == 0
                          ? fm_api_parse_one(&limits, fm_slice_of(copy, n), &order, &bad)
                          : fm_api_parse_batch(&limits, strcmp(kind, "lines") == 0, fm_slice_of(copy, n), &order, &bad);
    free(copy);
    return judged(err, n);
}

static void assert_refused(const char *kind, const char *body, enum fm_err err, const char *sentence)
{
    if (parse(kind, body) != err || !strstr(bad.detail, sentence))
        fail_msg("%s: %s\n  gave %s: %s", kind, body, fm_err_code(bad.err), bad.detail);
}

static void a_message_is_read_with_all_its_members(void **state)
{
    (void)state;
    assert_int_equal(parse("one", "{\"topic\":\"room:1\",\"event\":\"new\",\"payload\":{\"a\":1},\"key\":\"k1\",\"ack\":\"replicated\","
                                  "\"replicas\":3,\"timeout_ms\":250}"),
                     FM_OK);
    assert_int_equal(order.n, 1);
    assert_message(0, "room:1", "new", "{\"a\":1}", "k1");
    assert_false(order.several);
    assert_int_equal(order.ack, FM_ACK_REPLICATED);
    assert_int_equal(order.replicas, 3);
    assert_int_equal(order.timeout_ms, 250);
}

static void what_is_left_out_has_its_default(void **state)
{
    (void)state;
    assert_int_equal(parse("one", "{\"topic\":\"room:1\",\"event\":\"new\",\"key\":null,\"ack\":null,\"topics\":null}"), FM_OK);
    assert_message(0, "room:1", "new", "{}", "");
    assert_int_equal(order.ack, FM_ACK_LOCAL);
    assert_int_equal(order.replicas, 2);
    assert_int_equal(order.timeout_ms, 3000);
}

static void a_payload_keeps_its_bytes(void **state)
{
    (void)state;
    const char *payloads[] = {"{\"b\":1,\"a\":2,\"b\":3}",
                              "12345678901234567890123456789.50",
                              "1e999",
                              "[ 1,\t2\n]",
                              "\"\\u00e9\\/ \xc3\xa9\"",
                              "false",
                              "-0",
                              "\"\\u0000\""};
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"topic\":\"room:1\",\"payload\": %s ,\"event\":\"e\"}", payloads[i]);
        assert_int_equal(parse("one", body), FM_OK);
        assert_message(0, "room:1", "e", payloads[i], "");
        assert_int_equal(order.msgs[0]->flags, 0);
    }
}

static void base64_becomes_a_binary_payload(void **state)
{
    (void)state;
    assert_int_equal(parse("one", "{\"topic\":\"room:1\",\"event\":\"e\",\"payload_base64\":\"aGk\\/Cg==\"}"), FM_OK);
    assert_message(0, "room:1", "e", "hi?\n", "");
    assert_int_equal(order.msgs[0]->flags, FM_MSG_BINARY);
    assert_int_equal(parse("one", "{\"topic\":\"room:1\",\"event\":\"e\",\"payload_base64\":\"\"}"), FM_OK);
    assert_message(0, "room:1", "e", "", "");
    assert_int_equal(order.msgs[0]->flags, FM_MSG_BINARY);
    assert_refused("one", "{\"topic\":\"room:1\",\"event\":\"e\",\"payload_base64\":\"a*\"}", FM_E_INVALID, "is not base64");
    assert_int_equal(bad.at, strlen("{\"topic\":\"room:1\",\"event\":\"e\",\"payload_base64\":\"a"));
    assert_refused("one", "{\"topic\":\"room:1\",\"event\":\"e\",\"payload_base64\":12}", FM_E_INVALID, "must be a string");
}

static void a_conflation_key_travels_beside_the_idempotency_key(void **state)
{
    (void)state;
    const char *line = "{\"topic\":\"room:1\",\"event\":\"e\",\"payload\":1,\"key\":\"k\",\"conflation_key\":\"EUR\\/USD\"}";
    char body[512], key[FM_KEY_MAX + 2];
    for (int kind = 0; kind < 3; kind++) {
        snprintf(body, sizeof body, kind == 1 ? "[%s]" : "%s", line);
        assert_int_equal(parse(kind == 0 ? "one" : kind == 1 ? "array" : "lines", body), FM_OK);
        assert_message(0, "room:1", "e", "1", "k");
        assert_true(fm_slice_eq(fm_msg_conflation_key(order.msgs[0]), FM_LIT("EUR/USD")));
    }
    memset(key, 'c', sizeof key);
    for (int n = FM_KEY_MAX; n <= FM_KEY_MAX + 1; n++) {
        snprintf(body, sizeof body, "{\"topic\":\"room:1\",\"event\":\"e\",\"conflation_key\":\"%.*s\"}", n, key);
        assert_int_equal(parse("one", body), n > FM_KEY_MAX ? FM_E_INVALID : FM_OK);
    }
    assert_non_null(strstr(bad.detail, "`conflation_key` must be a string of 1 to 128 bytes"));
    assert_refused("one", "{\"topic\":\"room:1\",\"event\":\"e\",\"conflation_key\":\"\"}", FM_E_INVALID, "1 to 128 bytes");
    assert_refused("one", "{\"topic\":\"room:1\",\"event\":\"e\",\"conflation_key\":\"a\\u0000\"}", FM_E_INVALID, "zero byte");
}

static void several_topics_get_the_same_message(void **state)
{
    (void)state;
    assert_int_equal(parse("one", "{\"topics\":[\"room:1\",\"room:\\u0032\"],\"event\":\"e\",\"payload\":7,\"key\":\"k\"}"), FM_OK);
    assert_int_equal(order.n, 2);
    assert_true(order.several);
    assert_message(0, "room:1", "e", "7", "k");
    assert_message(1, "room:2", "e", "7", "k");
    assert_int_equal(parse("one", "{\"topics\":[\"room:1\"],\"event\":\"e\"}"), FM_OK);
    assert_true(order.several);
}

static void what_is_for_a_user_goes_to_the_topic_of_that_user(void **state)
{
    (void)state;
    assert_int_equal(fm_api_parse_one(&limits, FM_LIT("{\"event\":\"e\",\"user\":\"{user}*\"}"), &order, &bad), FM_OK);
    assert_true(order.n == 1 && fm_slice_eq(fm_msg_topic(order.msgs[0]), FM_LIT("room:of-{user}*:x")));
}

static void a_wrong_message_is_refused_by_name(void **state)
{
    (void)state;
    const struct {
        const char *body;
        enum fm_err err;
        const char *sentence;
    } rows[] = {
        {"", FM_E_JSON, ""},
        {"{\"topic\":\"room:1\",\"event\":\"e\"", FM_E_JSON, ""},
        {"{\"topic\":\"room:1\",\"event\":\"e\"} x", FM_E_JSON, ""},
        {"[]", FM_E_INVALID, "a message is an object"},
        {"\"x\"", FM_E_INVALID, "a message is an object"},
        {"{}", FM_E_INVALID, "`event` is missing, and `topic`, `topics` or `user`"},
        {"{\"topic\":\"room:1\"}", FM_E_INVALID, "`event` is missing"},
        {"{\"event\":\"e\"}", FM_E_INVALID, "give `topic`, `topics` or `user`"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"topics\":[\"room:1\"]}", FM_E_INVALID, "one of them"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"user\":\"ann\"}", FM_E_INVALID, "one of them"},
        {"{\"event\":\"e\",\"user\":\"\"}", FM_E_INVALID, "`user` must be a string"},
        {"{\"event\":\"e\",\"user\":\"a\\u0000\"}", FM_E_INVALID, "zero byte"},
        {"{\"event\":\"e\",\"topics\":[]}", FM_E_INVALID, "at least one"},
        {"{\"event\":\"e\",\"topics\":\"room:1\"}", FM_E_INVALID, "must be an array"},
        {"{\"event\":\"e\",\"topics\":[1]}", FM_E_INVALID, "a topic must be a string"},
        {"{\"event\":\"e\",\"topic\":\"\"}", FM_E_INVALID, "a topic must be a string of 1 to 255 bytes"},
        {"{\"event\":\"e\",\"topic\":\"room:\\u0000\"}", FM_E_INVALID, "zero byte"},
        {"{\"event\":\"e\",\"topic\":\"lobby\"}", FM_E_UNMATCHED_TOPIC, "`lobby`"},
        {"{\"event\":\"\",\"topic\":\"room:1\"}", FM_E_INVALID, "`event` must be a string"},
        {"{\"event\":5,\"topic\":\"room:1\"}", FM_E_INVALID, "`event` must be a string"},
        {"{\"event\":\"phx_close\",\"topic\":\"room:1\"}", FM_E_RESERVED_EVENT, "`phx_close`"},
        {"{\"event\":\"\\u0070hx_reply\",\"topic\":\"room:1\"}", FM_E_RESERVED_EVENT, "`phx_reply`"},
        {"{\"event\":\"gap\",\"topic\":\"room:1\"}", FM_E_RESERVED_EVENT, "`gap`"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"paylod\":1}", FM_E_UNKNOWN_MEMBER, "`paylod`; a message has topic, topics, user, event"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"Payload\":1}", FM_E_UNKNOWN_MEMBER, "`Payload`"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"payload\":null}", FM_E_INVALID, "may not be null"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"payload\":1,\"payload_base64\":\"\"}", FM_E_INVALID, "not both"},
        {"{\"event\":\"e\",\"topic\":\"small\",\"payload\":12345678901}", FM_E_TOO_LARGE,
         "the payload has 11 bytes, the rule [topic \"small\"] allows 10"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"key\":\"\"}", FM_E_INVALID, "`key` must be a string of 1 to 128 bytes"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"key\":7}", FM_E_INVALID, "`key`"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"ack\":\"all\"}", FM_E_INVALID, "`ack` must be"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"ack\":true}", FM_E_INVALID, "`ack` must be"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"replicas\":1}", FM_E_INVALID, "needs \"ack\":\"replicated\""},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"ack\":\"replicated\",\"replicas\":0}", FM_E_INVALID, "from 1 to 127"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"ack\":\"replicated\",\"replicas\":1.5}", FM_E_INVALID, "whole number"},
        {"{\"event\":\"e\",\"topic\":\"room:1\",\"ack\":\"replicated\",\"timeout_ms\":60001}", FM_E_INVALID, "from 1 to 60000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_refused("one", rows[i].body, rows[i].err, rows[i].sentence);
        assert_false(bad.has_index);
    }
}

static void an_error_points_at_the_byte(void **state)
{
    (void)state;
    const char *body = "{\"event\":\"e\", \"topic\":\"lobby\"}";
    assert_refused("one", body, FM_E_UNMATCHED_TOPIC, "lobby");
    assert_true(bad.has_at);
    assert_int_equal(bad.at, strstr(body, "\"lobby\"") - body);
    assert_refused("one", "{\"event\" \"e\"}", FM_E_JSON, "");
    assert_int_equal(bad.at, 9);
    body = "{\"topic\":\"room:1\",\"event\":\"e\"}\n\n{\"topic\":\"room:2\",\"event\":}\n";
    assert_refused("lines", body, FM_E_JSON, "line 3: ");
    assert_int_equal(bad.at, strrchr(body, ':') + 1 - body);
}

static void text_at_its_limit_is_taken_and_past_it_refused(void **state)
{
    (void)state;
    char name[FM_TOPIC_MAX + 2], body[1024];
    memset(name, 'x', sizeof name);
    name[FM_TOPIC_MAX - 5] = 0;
    snprintf(body, sizeof body, "{\"topic\":\"room:%s\",\"event\":\"e\"}", name);
    assert_int_equal(parse("one", body), FM_OK);
    name[FM_TOPIC_MAX - 5] = 'x';
    name[FM_TOPIC_MAX - 4] = 0;
    snprintf(body, sizeof body, "{\"topic\":\"room:%s\",\"event\":\"e\"}", name);
    assert_refused("one", body, FM_E_INVALID, "1 to 255 bytes");
    name[FM_TOPIC_MAX - 4] = 'x';
    name[FM_EVENT_MAX] = 0;
    snprintf(body, sizeof body, "{\"topic\":\"room:1\",\"event\":\"%s\"}", name);
    assert_int_equal(parse("one", body), FM_OK);
    name[FM_EVENT_MAX] = 'x';
    name[FM_EVENT_MAX + 1] = 0;
    snprintf(body, sizeof body, "{\"topic\":\"room:1\",\"event\":\"%s\"}", name);
    assert_refused("one", body, FM_E_INVALID, "`event`");
}

static void a_batch_is_read_as_array_and_as_lines(void **state)
{
    (void)state;
    assert_int_equal(
        parse("array", " [{\"topic\":\"room:1\",\"event\":\"a\"},\n{\"topics\":[\"room:2\",\"room:3\"],\"event\":\"b\",\"payload\":[]}]"),
        FM_OK);
    assert_int_equal(order.n, 3);
    assert_true(order.several);
    assert_message(0, "room:1", "a", "{}", "");
    assert_message(2, "room:3", "b", "[]", "");
    assert_int_equal(parse("lines", "{\"topic\":\"room:1\",\"event\":\"a\"}\r\n\r\n  \n{\"topic\":\"room:2\",\"event\":\"b\"}"), FM_OK);
    assert_int_equal(order.n, 2);
    assert_message(1, "room:2", "b", "{}", "");
}

static void one_bad_message_refuses_the_batch_and_is_named(void **state)
{
    (void)state;
    assert_refused("array", "[{\"topic\":\"room:1\",\"event\":\"a\"},{\"topic\":\"room:1\"}]", FM_E_INVALID,
                   "message 2: `event` is missing");
    assert_true(bad.has_index);
    assert_int_equal(bad.index, 1);
    assert_refused("lines", "\n{\"topic\":\"room:1\",\"event\":\"a\"}\n\n{\"topic\":\"hall\",\"event\":\"a\"}\n", FM_E_UNMATCHED_TOPIC,
                   "line 4: `hall`");
    assert_int_equal(bad.index, 1);
    assert_refused("lines", "{\"topic\":\"room:1\",\"event\":\"a\"}{}", FM_E_JSON, "line 1: ");
    assert_refused("array", "[{\"topic\":\"room:1\",\"event\":\"a\",\"ack\":\"local\"}]", FM_E_UNKNOWN_MEMBER, "in the query: ?ack=");
    assert_refused("array", "[1]", FM_E_INVALID, "message 1: a message is an object");
    assert_refused("array", "[[", FM_E_JSON, "");
    assert_false(bad.has_index);
    assert_refused("array", "{\"topic\":\"room:1\",\"event\":\"a\"}", FM_E_INVALID, "application/x-ndjson");
    assert_refused("array", "[]", FM_E_INVALID, "no message");
    assert_refused("lines", "", FM_E_INVALID, "no message");
    assert_refused("lines", "\n \r\n", FM_E_INVALID, "no message");
}

static void more_messages_than_the_limit_are_refused(void **state)
{
    (void)state;
    const char *five = "{\"topics\":[\"room:1\",\"room:2\",\"room:3\",\"room:4\",\"room:5\"],\"event\":\"e\"}";
    char body[256];
    assert_int_equal(parse("one", five), FM_OK);
    assert_int_equal(order.n, 5);
    snprintf(body, sizeof body, "%s\n{\"topic\":\"room:6\",\"event\":\"e\"}", five);
    assert_refused("lines", body, FM_E_TOO_MANY, "line 2: a request publishes at most 5 messages");
}

static void a_large_payload_for_many_topics_is_bounded(void **state)
{
    (void)state;
    char payload[901], body[1200];
    memset(payload, '1', sizeof payload - 1);
    payload[sizeof payload - 1] = 0;
    snprintf(body, sizeof body, "{\"topics\":[\"room:1\",\"room:2\",\"room:3\"],\"event\":\"e\",\"payload\":%s}", payload);
    assert_int_equal(parse("one", body), FM_OK);
    snprintf(body, sizeof body, "{\"topics\":[\"room:1\",\"room:2\",\"room:3\",\"room:4\",\"room:5\"],\"event\":\"e\",\"payload\":%s}",
             payload);
    assert_refused("one", body, FM_E_TOO_LARGE, "take at most 4000 bytes");
}

static void nesting_past_the_limit_is_refused(void **state)
{
    (void)state;
    char body[1024];
    size_t at = (size_t)snprintf(body, sizeof body, "{\"topic\":\"room:1\",\"event\":\"e\",\"payload\":");
    memset(body + at, '[', FM_JSON_DEPTH);
    memset(body + at + FM_JSON_DEPTH, ']', FM_JSON_DEPTH);
    memcpy(body + at + 2 * FM_JSON_DEPTH, "}", 2);
    assert_int_equal(parse("one", body), FM_E_TOO_DEEP);
    memmove(body + at, body + at + 1, strlen(body + at));
    char *last = strrchr(body, ']');
    memmove(last, last + 1, strlen(last));
    assert_int_equal(parse("one", body), FM_OK);
}

static void the_header_gives_a_key_where_the_body_has_none(void **state)
{
    (void)state;
    limits.key = FM_LIT("h-1");
    assert_int_equal(parse("one", "{\"topic\":\"room:1\",\"event\":\"e\"}"), FM_OK);
    assert_message(0, "room:1", "e", "{}", "h-1");
    assert_int_equal(parse("one", "{\"topic\":\"room:1\",\"event\":\"e\",\"key\":\"h-1\"}"), FM_OK);
    assert_refused("one", "{\"topic\":\"room:1\",\"event\":\"e\",\"key\":\"h-2\"}", FM_E_INVALID, "differ");
    assert_int_equal(parse("lines", "{\"topic\":\"room:1\",\"event\":\"e\"}\n{\"topic\":\"room:1\",\"event\":\"e\",\"key\":\"own\"}\n\n"
                                    "{\"topic\":\"room:1\",\"event\":\"e\"}"),
                     FM_OK);
    assert_message(0, "room:1", "e", "{}", "h-1#0");
    assert_message(1, "room:1", "e", "{}", "own");
    assert_message(2, "room:1", "e", "{}", "h-1#2");
    char key[FM_KEY_MAX + 1];
    memset(key, 'k', FM_KEY_MAX);
    key[FM_KEY_MAX] = 0;
    limits.key = fm_slice_str(key);
    assert_int_equal(parse("one", "{\"topic\":\"room:1\",\"event\":\"e\"}"), FM_OK);
    assert_message(0, "room:1", "e", "{}", key);
    assert_refused("lines", "{\"topic\":\"room:1\",\"event\":\"e\"}", FM_E_INVALID, "too long for a batch");
}

static void a_key_header_is_read_with_and_without_quotes(void **state)
{
    (void)state;
    struct fm_slice key;
    char longest[FM_KEY_MAX + 2];
    assert_int_equal(fm_api_key_of(FM_LIT("\"8e03\""), &key), FM_OK);
    assert_true(fm_slice_eq(key, FM_LIT("8e03")));
    assert_int_equal(fm_api_key_of(FM_LIT("8e03"), &key), FM_OK);
    assert_true(fm_slice_eq(key, FM_LIT("8e03")));
    assert_int_equal(fm_api_key_of(FM_LIT("\"\""), &key), FM_E_INVALID);
    assert_int_equal(fm_api_key_of(FM_LIT("a b"), &key), FM_E_INVALID);
    assert_int_equal(fm_api_key_of(FM_LIT("\xc3\xa9"), &key), FM_E_INVALID);
    memset(longest, 'x', sizeof longest);
    assert_int_equal(fm_api_key_of(fm_slice_of(longest, FM_KEY_MAX), &key), FM_OK);
    assert_int_equal(fm_api_key_of(fm_slice_of(longest, FM_KEY_MAX + 1), &key), FM_E_INVALID);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_is_read_with_all_its_members),
        TEST(what_is_left_out_has_its_default),
        TEST(a_payload_keeps_its_bytes),
        TEST(base64_becomes_a_binary_payload),
        TEST(a_conflation_key_travels_beside_the_idempotency_key),
        TEST(several_topics_get_the_same_message),
        TEST(a_wrong_message_is_refused_by_name),
        TEST(what_is_for_a_user_goes_to_the_topic_of_that_user),
        TEST(an_error_points_at_the_byte),
        TEST(text_at_its_limit_is_taken_and_past_it_refused),
        TEST(a_batch_is_read_as_array_and_as_lines),
        TEST(one_bad_message_refuses_the_batch_and_is_named),
        TEST(more_messages_than_the_limit_are_refused),
        TEST(a_large_payload_for_many_topics_is_bounded),
        TEST(nesting_past_the_limit_is_refused),
        TEST(the_header_gives_a_key_where_the_body_has_none),
        TEST(a_key_header_is_read_with_and_without_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
