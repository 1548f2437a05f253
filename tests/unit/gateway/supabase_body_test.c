#include "../../../gateway/api/supabase_body.h"
#include "order_fixture.h"

static int set_up(void **state)
{
    (void)state;
    struct fm_rule *all, *small;
    assert_int_equal(fm_rules_new(&rules), FM_OK);
    assert_int_equal(fm_rules_add(rules, "realtime:*", &all), FM_OK);
    assert_int_equal(fm_rules_add(rules, "realtime:small", &small), FM_OK);
    all->message_max = 1000;
    small->message_max = 4;
    limits = (struct fm_api_limits){.rules = rules, .batch_max = 3, .bytes_max = 4000, .replicas = 1, .timeout_ms = 1000};
    return 0;
}

/* A copy of exactly its size, so that the sanitizer sees a read past the end. topic NULL: a batch. */
static enum fm_err parse(const char *topic, const char *event, bool binary, const char *body)
{
    size_t n = strlen(body);
    uint8_t *copy = copied(body, n);
    struct fm_slice text = fm_slice_of(copy, n);
    enum fm_err err = topic ? fm_supabase_body_one(&limits, fm_slice_str(topic), fm_slice_str(event), binary, text, &order, &bad)
                            : fm_supabase_body_batch(&limits, text, &order, &bad);
    free(copy);
    return judged(err, n);
}

static void a_batch_gives_a_message_each_on_the_topic_with_its_prefix(void **state)
{
    (void)state;
    limits.key = FM_LIT("k");
    assert_int_equal(parse(NULL, NULL, false,
                           "{\"messages\":[{\"topic\":\"a\",\"event\":\"e\",\"payload\":{\"n\": 1},\"private\":false},"
                           "{\"topic\":\"realtime:a\",\"event\":\"\\u0065\",\"payload\":\"x\",\"id\":7}]}"),
                     FM_OK);
    assert_int_equal(order.n, 2);
    assert_message(0, "realtime:a", "e", "{\"n\": 1}", "k#0");
    assert_message(1, "realtime:realtime:a", "e", "\"x\"", "k#1");
}

static void a_batch_that_makes_no_sense_is_refused_with_its_place(void **state)
{
    (void)state;
#define M(topic, event, payload) "{\"topic\":" topic ",\"event\":" event ",\"payload\":" payload "}"
#define ONE(message) "{\"messages\":[" message "]}"
    static const struct {
        const char *body;
        enum fm_err err;
        const char *says;
    } cases[] = {
        {"", FM_E_JSON, "the text ends"},
        {"[]", FM_E_INVALID, "an object with `messages`"},
        {"{\"messages\":[]}", FM_E_INVALID, "an object with `messages`"},
        {"{\"messages\":{}}", FM_E_INVALID, "an object with `messages`"},
        {ONE("7"), FM_E_INVALID, "message 1: it is not an object"},
        {ONE(M("7", "\"e\"", "1")), FM_E_INVALID, "message 1: `topic` must be text"},
        {ONE(M("\"a\"", "null", "1")), FM_E_INVALID, "message 1: `event` must be text"},
        {ONE(M("\"a\"", "\"e\"", "null")), FM_E_INVALID, "message 1: `payload` is missing or null"},
        {ONE("{\"topic\":\"a\",\"event\":\"e\"}"), FM_E_INVALID, "message 1: `payload` is missing or null"},
        {ONE(M("\"\"", "\"e\"", "1")), FM_E_INVALID, "a topic has 1 to 246 bytes"},
        {ONE(M("\"a\\u0000\"", "\"e\"", "1")), FM_E_INVALID, "none of them zero"},
        {ONE(M("\"a\"", "\"\"", "1")), FM_E_INVALID, "an event has 1 to 255 bytes"},
        {ONE(M("\"a\"", "\"e\"", "1") "," M("\"a\"", "\"phx_close\"", "1")), FM_E_RESERVED_EVENT, "message 2: `phx_close`"},
        {ONE(M("\"small\"", "\"e\"", "12345")), FM_E_TOO_LARGE, "the payload has 5 bytes"},
        {ONE(M("\"a\"", "\"e\"", "1") "," M("\"a\"", "\"e\"", "1") "," M("\"a\"", "\"e\"", "1") "," M("\"a\"", "\"e\"", "1")),
         FM_E_TOO_MANY, "message 4: a request publishes at most 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (parse(NULL, NULL, false, cases[i].body) != cases[i].err || !strstr(bad.detail, cases[i].says))
            fail_msg("%s\n  gave %s: %s", cases[i].body, fm_err_code(bad.err), bad.detail);
}

static void one_message_is_json_or_bytes(void **state)
{
    (void)state;
    limits.key = FM_LIT("k");
    assert_int_equal(parse("a", "e", false, " [1, 2] "), FM_OK);
    assert_message(0, "realtime:a", "e", "[1, 2]", "k");
    assert_int_equal(order.msgs[0]->flags, 0);
    assert_int_equal(parse("a", "e", true, "\xff"), FM_OK);
    assert_message(0, "realtime:a", "e", "\xff", "k");
    assert_int_equal(order.msgs[0]->flags, FM_MSG_BINARY);
    assert_int_equal(parse("a", "e", false, "null"), FM_E_INVALID);
    assert_int_equal(parse("a", "e", false, "{"), FM_E_JSON);
    assert_int_equal(parse("a", "gap", false, "1"), FM_E_RESERVED_EVENT);
    assert_int_equal(parse("small", "e", true, "12345"), FM_E_TOO_LARGE);
    rules = (fm_rules_free(&rules), NULL);
    assert_int_equal(fm_rules_new(&rules), FM_OK);
    limits.rules = rules;
    assert_int_equal(parse("a", "e", false, "1"), FM_E_UNMATCHED_TOPIC);
}

static void a_path_gives_both_names_whatever_they_hold(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *topic, *event; /* NULL: refused */
    } cases[] = {
        {"room/events/new", "room", "new"},
        {"room%3A1/events/new+thing", "room:1", "new+thing"},
        {"a%2Fevents%2Fb/events/c%2Fevents%2Fd", "a/events/b", "c/events/d"},
        {"caf%C3%A9/events/%F0%9F%8E%89", "caf\xc3\xa9", "\xf0\x9f\x8e\x89"},
        {"a/events/b/c", "a", "b/c"},
        {"/events/e", NULL, NULL},
        {"a/events/", NULL, NULL},
        {"a/events", NULL, NULL},
        {"a", NULL, NULL},
        {"", NULL, NULL},
        {"a/other/e", NULL, NULL},
        {"a%/events/e", NULL, NULL},
        {"a%00/events/e", NULL, NULL},
        {"%FF/events/e", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_buf topic = {0}, event = {0};
        enum fm_err err = fm_supabase_path(fm_slice_str(cases[i].raw), &topic, &event);
        assert_int_equal(err, cases[i].topic ? FM_OK : FM_E_INVALID);
        if (!err)
            assert_true(fm_slice_eq(fm_buf_view(&topic), fm_slice_str(cases[i].topic)) &&
                        fm_slice_eq(fm_buf_view(&event), fm_slice_str(cases[i].event)));
        fm_buf_fini(&topic);
        fm_buf_fini(&event);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_batch_gives_a_message_each_on_the_topic_with_its_prefix),
        TEST(a_batch_that_makes_no_sense_is_refused_with_its_place),
        TEST(one_message_is_json_or_bytes),
        TEST(a_path_gives_both_names_whatever_they_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
