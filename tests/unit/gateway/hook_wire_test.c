#include "../../../gateway/hooks/hook_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static char why[FM_HOOK_WHY_MAX];

static struct fm_answer *read_as(enum fm_question_kind kind, const char *text)
{
    struct fm_answer *a = fm_answer_new(1, FM_VERDICT_FAILED);
    assert_non_null(a);
    a->err = fm_hook_answer_read(kind, fm_slice_str(text), 100, 5, a, why);
    return a;
}

static void refuse(enum fm_question_kind kind, const char *text, const char *because)
{
    struct fm_answer *a = read_as(kind, text);
    assert_int_equal(a->err, FM_E_BAD_ANSWER);
    assert_int_equal(a->verdict, FM_VERDICT_FAILED);
    assert_null(a->said);
    assert_null(a->instead);
    if (!strstr(why, because))
        fail_msg("%s: \"%s\" says nothing of \"%s\"", text, why, because);
    fm_question_item_free(&a->item);
}

static void take(enum fm_question_kind kind, const char *text, enum fm_verdict verdict, const char *said)
{
    struct fm_answer *a = read_as(kind, text);
    assert_int_equal(a->err, FM_OK);
    assert_int_equal(a->verdict, verdict);
    if (said)
        assert_string_equal(a->said, said);
    else
        assert_null(a->said);
    assert_int_equal(a->instead != NULL, verdict == FM_VERDICT_REWRITE);
    fm_question_item_free(&a->item);
}

static void each_decision_is_understood(void **state)
{
    (void)state;
    take(FM_QUESTION_JOIN, " { \"allow\" : true } ", FM_VERDICT_ALLOW, NULL);
    take(FM_QUESTION_CONNECT, "{\"allow\":true}", FM_VERDICT_ALLOW, NULL);
    take(FM_QUESTION_JOIN, "{\"allow\":true,\"reply\":{\"a\": 1}}", FM_VERDICT_ALLOW, "{\"a\": 1}");
    take(FM_QUESTION_PUSH, "{\"allow\":false}", FM_VERDICT_REFUSE, NULL);
    take(FM_QUESTION_PUSH, "{\"allow\":false,\"reason\":\"\\u00fc\\\"\"}", FM_VERDICT_REFUSE, "{\"reason\":\"\\u00fc\\\"\"}");
    take(FM_QUESTION_CONNECT, "{\"allow\":false,\"reason\":\"no\"}", FM_VERDICT_REFUSE, "{\"reason\":\"no\"}");
    take(FM_QUESTION_PUSH, "{\"allow\":false,\"reply\":{\"x\":[]}}", FM_VERDICT_REFUSE, "{\"x\":[]}");
    take(FM_QUESTION_PUSH, "{\"reply\":{}}", FM_VERDICT_REPLY, "{}");
    take(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"e\",\"payload\":{}}}", FM_VERDICT_REWRITE, NULL);
    take(FM_QUESTION_PUSH, "{\"allow\":true,\"broadcast\":{\"event\":\"e\",\"payload\":1},\"reply\":{}}", FM_VERDICT_REWRITE, "{}");
}

static void a_broadcast_has_event_payload_and_key_as_they_came(void **state)
{
    (void)state;
    struct fm_answer *a =
        read_as(FM_QUESTION_PUSH, "{\"broadcast\":{\"payload\":12345678901234567890.0,\"event\":\"\\u0065\",\"conflation_key\":\"k\"}}");
    assert_non_null(a->instead);
    assert_true(fm_slice_eq(fm_msg_event(a->instead), FM_LIT("e")));
    assert_true(fm_slice_eq(fm_msg_payload(a->instead), FM_LIT("12345678901234567890.0")));
    assert_true(fm_slice_eq(fm_msg_conflation_key(a->instead), FM_LIT("k")));
    assert_int_equal(a->instead->flags, 0);
    fm_question_item_free(&a->item);
    a = read_as(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"e\",\"payload_base64\":\"\\u0041AE=\"}}");
    assert_non_null(a->instead);
    assert_true(fm_slice_eq(fm_msg_payload(a->instead), FM_LIT("\0\1")));
    assert_int_equal(a->instead->flags, FM_MSG_BINARY);
    fm_question_item_free(&a->item);
    a = read_as(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"e\",\"payload_base64\":\"\"}}");
    assert_non_null(a->instead);
    assert_int_equal(a->instead->payload_n, 0);
    fm_question_item_free(&a->item);
}

static void a_connection_is_whose_the_backend_says_with_the_topics_it_grants(void **state)
{
    (void)state;
    struct fm_answer *a =
        read_as(FM_QUESTION_CONNECT, "{\"allow\":true,\"user\":\"\\u0061nn\",\"topics\":[\"r\\u006fom:*\",\"news\",\"\\u0078\"]}");
    assert_int_equal(a->err, FM_OK);
    assert_non_null(a->identity);
    assert_string_equal(fm_identity_user(a->identity), "ann");
    assert_int_equal(a->identity->issued_s, 5);
    assert_true(fm_identity_grants(a->identity, FM_LIT("room:1"), FM_RIGHT_PUSH));
    assert_true(fm_identity_grants(a->identity, FM_LIT("news"), FM_RIGHT_JOIN));
    assert_true(fm_identity_grants(a->identity, FM_LIT("x"), FM_RIGHT_JOIN));
    assert_false(fm_identity_grants(a->identity, FM_LIT("newspaper"), FM_RIGHT_JOIN));
    fm_question_item_free(&a->item);
    a = read_as(FM_QUESTION_CONNECT, "{\"allow\":true,\"topics\":[]}");
    assert_non_null(a->identity);
    assert_string_equal(fm_identity_user(a->identity), "");
    fm_question_item_free(&a->item);
    refuse(FM_QUESTION_JOIN, "{\"allow\":true,\"user\":\"x\"}", "for connections");
    refuse(FM_QUESTION_PUSH, "{\"allow\":true,\"topics\":[]}", "for connections");
    refuse(FM_QUESTION_CONNECT, "{\"allow\":false,\"user\":\"x\"}", "all the same");
    refuse(FM_QUESTION_CONNECT, "{\"allow\":true,\"user\":7}", "user is not a text");
    refuse(FM_QUESTION_CONNECT, "{\"allow\":true,\"user\":\"a\\u0000\"}", "can't be used");
    refuse(FM_QUESTION_CONNECT, "{\"allow\":true,\"topics\":\"room:*\"}", "not an array");
    refuse(FM_QUESTION_CONNECT, "{\"allow\":true,\"topics\":[\"*a\"]}", "topics has an entry");
    refuse(FM_QUESTION_CONNECT, "{\"allow\":true,\"topics\":[1]}", "topics has an entry");
}

static void the_client_of_a_join_is_shown_as_the_backend_says(void **state)
{
    (void)state;
    struct fm_answer *a = read_as(FM_QUESTION_JOIN, "{\"allow\":true,\"presence\":{\"key\":\"\\u0061nn\",\"meta\":{\"x\": 1}}}");
    assert_int_equal(a->err, FM_OK);
    assert_string_equal(a->presence_key, "ann");
    assert_string_equal(a->presence_meta, "{\"x\": 1}");
    fm_question_item_free(&a->item);
    a = read_as(FM_QUESTION_JOIN, "{\"allow\":true,\"presence\":{}}");
    assert_null(a->presence_key);
    assert_string_equal(a->presence_meta, "{}");
    fm_question_item_free(&a->item);
    refuse(FM_QUESTION_PUSH, "{\"allow\":true,\"presence\":{}}", "for joins");
    refuse(FM_QUESTION_JOIN, "{\"allow\":false,\"presence\":{}}", "all the same");
    refuse(FM_QUESTION_JOIN, "{\"allow\":true,\"presence\":true}", "not an object");
    refuse(FM_QUESTION_JOIN, "{\"allow\":true,\"presence\":{\"key\":\"\"}}", "presence.key");
    refuse(FM_QUESTION_JOIN, "{\"allow\":true,\"presence\":{\"meta\":[]}}", "presence.meta");
    refuse(FM_QUESTION_JOIN, "{\"allow\":true,\"presence\":{\"metas\":{}}}", "none of key, meta");
}

static void what_is_no_decision_is_refused_with_what_is_wrong(void **state)
{
    (void)state;
    refuse(FM_QUESTION_JOIN, "", "not JSON");
    refuse(FM_QUESTION_JOIN, "<html>", "at byte 0");
    refuse(FM_QUESTION_JOIN, "[]", "not a JSON object");
    refuse(FM_QUESTION_JOIN, "null", "not a JSON object");
    refuse(FM_QUESTION_JOIN, "{}", "no member allow");
    refuse(FM_QUESTION_JOIN, "{\"reply\":{}}", "no member allow");
    refuse(FM_QUESTION_JOIN, "{\"allow\":1}", "neither true nor false");
    refuse(FM_QUESTION_JOIN, "{\"allow\":\"true\"}", "neither true nor false");
    refuse(FM_QUESTION_JOIN, "{\"Allow\":true}", "a member that is none of");
    refuse(FM_QUESTION_JOIN, "{\"allow\":true,\"reason\":\"x\"}", "does not refuse");
    refuse(FM_QUESTION_JOIN, "{\"allow\":false,\"reason\":null}", "reason is not a text");
    refuse(FM_QUESTION_JOIN, "{\"allow\":false,\"reason\":\"x\",\"reply\":{}}", "both");
    refuse(FM_QUESTION_JOIN, "{\"allow\":true,\"reply\":1}", "reply is not an object");
    refuse(FM_QUESTION_CONNECT, "{\"allow\":true,\"reply\":{}}", "for joins and pushes");
    refuse(FM_QUESTION_JOIN, "{\"broadcast\":{\"event\":\"e\",\"payload\":1}}", "for pushes");
    refuse(FM_QUESTION_PUSH, "{\"allow\":false,\"broadcast\":{\"event\":\"e\",\"payload\":1}}", "refuses");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":1}", "not an object");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"e\"}}", "needs event and payload");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":{\"payload\":1}}", "needs event and payload");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"\",\"payload\":1}}", "event is not a text");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"a\\u0000\",\"payload\":1}}", "event is not a text");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"gap\",\"payload\":1}}", "reserved");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"e\",\"payload\":null}}", "null");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"e\",\"payload_base64\":\"A\"}}", "base64");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"e\",\"payload_base64\":1}}", "base64");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"e\",\"payload\":1,\"topic\":\"t\"}}", "a member that is none of");
    char large[256] = "{\"broadcast\":{\"event\":\"e\",\"payload\":\"";
    memset(large + strlen(large), 'x', 100);
    memcpy(large + strlen(large), "\"}}", 4);
    refuse(FM_QUESTION_PUSH, large, "message_max = 100");
    refuse(FM_QUESTION_PUSH, "{\"broadcast\":{\"event\":\"e\",\"payload\":1},\"broadcast\":{}}", "needs event and payload");
}

static void each_secret_signs(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    fm_hook_sign(&b, "", 1, FM_LIT("{}"));
    assert_int_equal(b.n, 0);
    /* printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key */
    fm_hook_sign(&b, "key", 1700000000, FM_LIT("{\"a\":1}"));
    assert_string_equal((char *)b.p, "X-Fanmesh-Signature: t=1700000000,v1="
                                     "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03");
    b.n = 0;
    fm_hook_sign(&b, " key  two ", 1700000000, FM_LIT("{\"a\":1}"));
    assert_string_equal((char *)b.p, "X-Fanmesh-Signature: t=1700000000,v1="
                                     "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03,v1="
                                     "8e6298b3af5de80015be7bd69f5b2c31bc7d4d8d5c6eadc373734ada10e241d6");
    fm_buf_fini(&b);
}

static void an_event_is_one_object_whatever_the_client_sent(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    const struct fm_hook_sender from = {"n\"1", 1};
    const char client[] = "a=\xff&b\0http://o\0{\"cookie\":\"c\"}";
    struct fm_question_item *q = calloc(1, sizeof *q + sizeof client);
    assert_non_null(q);
    q->item.kind = FM_QUESTION;
    q->kind = FM_QUESTION_PUSH;
    q->client = 7;
    q->msg = fm_msg_new(FM_LIT("t\n"), FM_LIT("e\""), (struct fm_msg_keys){0}, FM_LIT("[1, 2]"), 0);
    memcpy(q->peer, "-", 2);
    memcpy(q->text, client, sizeof client);
    fm_hook_write_ask(&b, &from, q, 9, 1234);
    fm_buf_u8(&b, 0);
    assert_string_equal(
        (char *)b.p,
        "{\"event\":\"push\",\"id\":\"1-h9\",\"ts\":1234,\"node\":\"n\\\"1\",\"topic\":\"t\\u000a\",\"name\":\"e\\\"\","
        "\"payload\":[1, 2],\"user\":null,\"client\":{\"id\":\"1-7\",\"address\":null,\"query\":\"a=\\ufffd&b\",\"origin\":\"http://o\","
        "\"headers\":{\"cookie\":\"c\"}}}");
    fm_question_item_free(&q->item);
    fm_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_decision_is_understood),
        cmocka_unit_test(a_broadcast_has_event_payload_and_key_as_they_came),
        cmocka_unit_test(a_connection_is_whose_the_backend_says_with_the_topics_it_grants),
        cmocka_unit_test(the_client_of_a_join_is_shown_as_the_backend_says),
        cmocka_unit_test(what_is_no_decision_is_refused_with_what_is_wrong),
        cmocka_unit_test(each_secret_signs),
        cmocka_unit_test(an_event_is_one_object_whatever_the_client_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
