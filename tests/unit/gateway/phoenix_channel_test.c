/* Channels: joins, leaves, pushes and tokens, in every order that matters. (Cursors: phoenix_cursor_test.c.) */
#include "phoenix_fixture.h"

/* ---- joins ---- */

static void a_join_without_join_ref_uses_its_ref(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[null,\"8\",\"room:1\",\"phx_join\",{}]");
    answer(s, "room:1", "a-1", "a-1", true, NULL, 0);
    out(s, "[\"8\",\"8\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
    in(s, "[\"8\",\"9\",\"room:1\",\"phx_leave\",{}]");
    out(s, "[\"8\",\"9\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n[\"8\",\"8\",\"room:1\",\"phx_close\",{}]\n");
}

static void joins_that_may_not_be_are_refused_by_reason(void **state)
{
    struct fm_socket *s = *state;
    static const struct {
        const char *frame, *reply;
    } cases[] = {
        {"[\"1\",\"1\",\"nope\",\"phx_join\",{}]",
         "[null,\"1\",\"nope\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}]\n"},
        {"[\"1\",\"1\",\"\",\"phx_join\",{}]",
         "[null,\"1\",\"\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}]\n"},
#define REFUSED(topic, params, why) \
    {"[\"1\",\"2\",\"" topic "\",\"phx_join\"," params "]", \
     "[\"1\",\"2\",\"" topic "\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"" why "\"}}]\n"}
        REFUSED("staff", "{}", "forbidden"),
        REFUSED("room:1", "[]", "bad_params"),
        REFUSED("room:1", "\"x\"", "bad_params"),
        REFUSED("room:1", "{\"last\":-1}", "bad_last"),
        REFUSED("room:1", "{\"last\":\"5\"}", "bad_last"),
        REFUSED("room:1", "{\"last\":1.5}", "bad_last"),
        REFUSED("room:1", "{\"last\":4294967296}", "bad_last"),
        REFUSED("room:1", "{\"cursor\":null}", "bad_cursor"),
        REFUSED("room:1", "{\"cursor\":\"a-1\"}", "bad_cursor"),
        REFUSED("room:1", "{\"cursor\":{\"a\":1}}", "bad_cursor"),
        REFUSED("room:1", "{\"cursor\":[1]}", "bad_cursor"),
        REFUSED("room:1", "{\"cursor\":[\"a-1\",\"a\"]}", "bad_cursor"),
        REFUSED("room:1", "{\"cursor\":[\"a-18446744073709551616\"]}", "bad_cursor"),
        REFUSED("room:1", "{\"cursor\":[\"0123456789012345678901234567890123456789-1\"]}", "bad_cursor"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        in(s, cases[i].frame);
        out(s, cases[i].reply);
        assert_null(s->subs);
    }
    IN_BINARY(s, "\0\1\2\6\10"
                 "1"
                 "12"
                 "room:1"
                 "phx_join"
                 "{}");
    out(s, "[\"1\",\"12\",\"room:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"bad_params\"}}]\n");
    assert_int_equal(s->close_code, 0);
}

static void a_cursor_of_more_than_256_origins_is_cut_not_refused(void **state)
{
    struct fm_socket *s = *state;
    for (unsigned n = FM_CURSOR_MAX; n <= FM_CURSOR_MAX + 1; n++) {
        struct fm_buf b = {0};
        fm_buf_str(&b, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[");
        for (unsigned i = 0; i < n; i++)
            fm_buf_printf(&b, "%s\"a%u-1\"", i ? "," : "", 100 + i);
        fm_buf_str(&b, "]}]");
        in_bytes(s, false, (const char *)b.p, b.n);
        assert_true(s->subs && s->has_cursor);
        assert_int_equal(s->cut, n > FM_CURSOR_MAX);
        fm_buf_fini(&b);
        fm_socket_leave(s, s->subs, NULL);
    }
    out(s, "");
}

static void a_socket_has_a_limit_of_topics(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{}]");
    in(s, "[\"2\",\"2\",\"room:2\",\"phx_join\",{}]");
    in(s, "[\"3\",\"3\",\"room:3\",\"phx_join\",{}]");
    out(s, "");
    in(s, "[\"4\",\"4\",\"room:4\",\"phx_join\",{}]");
    out(s, "[\"4\",\"4\",\"room:4\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"too many channels joined\"}}]\n");
    answer(s, "room:3", "a-1", "a-1", true, NULL, 0);
    s->out.n = 0;
    in(s, "[\"5\",\"5\",\"room:3\",\"phx_join\",{}]");
    out(s, "[\"3\",\"3\",\"room:3\",\"phx_close\",{}]\n");
    assert_int_equal(fm_socket_subs(s), 3);
}

static void what_the_hub_refuses_is_an_error_reply(void **state)
{
    struct fm_socket *s = *state;
    join_err = FM_E_BUSY;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-1\"]}]");
    out(s, "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"overloaded\"}}]\n");
    join_err = FM_OK;
    in(s, "[\"2\",\"2\",\"room:1\",\"phx_join\",{}]");
    struct fm_join *j = fm_join_new(0, 1, FM_LIT("room:1"));
    j->err = FM_E_DRAINING;
    fm_phoenix.joined(s->subs, 0, j);
    fm_join_free(&j);
    out(s, "[\"2\",\"2\",\"room:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"draining\"}}]\n");
    fm_socket_leave(s, s->subs, NULL);
    plain_joined(s);
    push_err = FM_E_BUSY;
    in(s, "[\"1\",\"3\",\"room:1\",\"shout\",{}]");
    out(s, "[\"1\",\"3\",\"room:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"overloaded\"}}]\n");
    push_err = FM_OK;
    in(s, "[\"1\",\"4\",\"room:1\",\"shout\",{}]");
    publish_answer(s, FM_E_TOO_MANY);
    out(s, "[\"1\",\"4\",\"room:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"too_many\"}}]\n");
}

/* ---- pushes ---- */

static void pushes_that_may_not_be_are_refused_by_reason(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    in(s, "[\"9\",\"9\",\"news\",\"phx_join\",{}]");
    answer(s, "news", "a-1", "a-1", true, NULL, 0);
    s->out.n = 0;
    static const struct {
        const char *head, *event, *payload, *reply_head, *why;
    } cases[] = {
        {"[\"1\",\"2\",\"room:2\"", "shout", "{}", "[null,\"2\",\"room:2\"", "unmatched topic"},
        {"[\"9\",\"2\",\"news\"", "shout", "{}", "[\"9\",\"2\",\"news\"", "forbidden"},
        {"[\"1\",\"2\",\"room:1\"", "phx_close", "{}", "[\"1\",\"2\",\"room:1\"", "reserved_event"},
        {"[\"1\",\"2\",\"room:1\"", "phx_error", "{}", "[\"1\",\"2\",\"room:1\"", "reserved_event"},
        {"[\"1\",\"2\",\"room:1\"", "chan_reply_3", "{}", "[\"1\",\"2\",\"room:1\"", "reserved_event"},
        {"[\"1\",\"2\",\"room:1\"", "presence_diff", "{}", "[\"1\",\"2\",\"room:1\"", "reserved_event"},
        {"[\"1\",\"2\",\"room:1\"", "phx_\\u0063lose", "{}", "[\"1\",\"2\",\"room:1\"", "reserved_event"},
        {"[null,\"2\",\"room:1\"", "gap", "{}", "[\"1\",\"2\",\"room:1\"", "reserved_event"},
        {"[null,null,\"room:1\"", "", "{}", "[\"1\",null,\"room:1\"", "bad_event"},
        {"[\"1\",\"2\",\"room:1\"", "shout", "\"0123456789012345678901234567890\"", "[\"1\",\"2\",\"room:1\"", "too_large\",\"limit\":32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char frame[256], reply[256];
        const char *quote = strchr(cases[i].why, '"') ? "" : "\"";
        snprintf(frame, sizeof frame, "%s,\"%s\",%s]", cases[i].head, cases[i].event, cases[i].payload);
        snprintf(reply, sizeof reply, "%s,\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"%s%s}}]\n", cases[i].reply_head,
                 cases[i].why, quote);
        in(s, frame);
        out(s, reply);
        assert_int_equal(s->pushed.n, 0);
    }
    assert_int_equal(reached[FM_LIMIT_SIZE], 1);
}

static void a_client_that_is_too_fast_is_told_when_to_try_again_and_nothing_is_done(void **state)
{
    struct fm_socket *s = *state;
#define LIMITED(head) head ",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"rate_limited\",\"retry_after_ms\":250}}]\n"
    plain_joined(s);
    join_limit = FM_E_RATE_LIMITED;
    in(s, "[\"2\",\"2\",\"room:1\",\"phx_join\",{}]"); /* the channel that is there stays */
    out(s, LIMITED("[\"2\",\"2\",\"room:1\""));
    assert_true(fm_socket_subs(s) == 1 && s->subs->joined);
    in(s, "[null,\"3\",\"room:2\",\"phx_join\",{}]");
    out(s, LIMITED("[\"3\",\"3\",\"room:2\""));
    in(s, "[\"1\",\"4\",\"room:1\",\"shout\",{}]");
    assert_true(s->pushed.n > 0);
    s->pushed.n = 0;
    push_limit = FM_E_RATE_LIMITED;
    in(s, "[\"1\",\"5\",\"room:1\",\"shout\",{}]");
    out(s, LIMITED("[\"1\",\"5\",\"room:1\""));
    in(s, "[\"1\",\"6\",\"room:1\",\"phx_leave\",{}]");
    out(s, LIMITED("[\"1\",\"6\",\"room:1\""));
    in(s, "[null,\"7\",\"phoenix\",\"heartbeat\",{}]"); /* is none of it */
    out(s, "[null,\"7\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
    push_limit = FM_OK;
    rule_limit = FM_E_RATE_LIMITED;
    in(s, "[\"1\",\"8\",\"room:1\",\"shout\",{}]");
    out(s, LIMITED("[\"1\",\"8\",\"room:1\""));
    assert_int_equal(s->pushed.n, 0);
    rule_limit = FM_E_CLOSED; /* it did not listen, and is being closed */
    in(s, "[\"1\",\"9\",\"room:1\",\"shout\",{}]");
    out(s, "");
#undef LIMITED
}

/* ---- tokens ---- */

static void identify(struct fm_socket *s, const char *pattern, unsigned rights, uint64_t until_s)
{
    struct fm_grant grant;
    assert_true(fm_grant_of(fm_slice_str(pattern), rights, &grant));
    const struct fm_identity_spec spec = {.user = FM_LIT("ann"), .until_s = until_s, .grants = &grant, .grants_n = 1};
    fm_identity_unref(&s->identity);
    assert_int_equal(fm_identity_new(&s->identity, &spec), FM_OK);
}

static void where_a_rule_asks_for_a_token_it_must_grant_the_join_and_the_push(void **state)
{
    struct fm_socket *s = *state;
    static const char join[] = "[\"1\",\"1\",\"member:1\",\"phx_join\",{}]", push[] = "[\"1\",\"2\",\"member:1\",\"shout\",{}]";
#define SAYS(ref, why) "[\"1\",\"" ref "\",\"member:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"" why "\"}}]\n"
    in(s, join);
    out(s, SAYS("1", "token_missing"));
    identify(s, "member:2", FM_RIGHTS_ALL, 0);
    in(s, join);
    out(s, SAYS("1", "not_granted"));
    now_s = 10;
    identify(s, "member:*", FM_RIGHT_JOIN, 10);
    in(s, join);
    out(s, SAYS("1", "token_expired"));
    identify(s, "member:*", FM_RIGHT_JOIN, 11);
    in(s, join);
    answer(s, "member:1", "a-1", "a-1", true, NULL, 0);
    s->out.n = 0;
    in(s, push);
    out(s, SAYS("2", "not_granted"));
    identify(s, "member:*", FM_RIGHT_JOIN | FM_RIGHT_PUSH, 11);
    in(s, push);
    assert_true(fm_slice_eq(fm_buf_view(&s->pushed), FM_LIT("shout {}")));
    s->pushed.n = 0;
    now_s = 11;
    in(s, push);
    out(s, SAYS("2", "token_expired"));
    assert_int_equal(s->pushed.n, 0);
}

static void a_new_token_is_answered_and_goes_no_further(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    in(s, "[\"1\",\"2\",\"room:1\",\"access_token\",{\"access_token\":\"a.b\\u002ec\"}]");
    assert_true(fm_slice_eq(fm_buf_view(&s->refreshed), FM_LIT("a.b.c")));
    out(s, "[\"1\",\"2\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
    in(s, "[null,\"3\",\"phoenix\",\"access_token\",{\"access_token\":\"d.e.f\"}]");
    assert_true(fm_slice_eq(fm_buf_view(&s->refreshed), FM_LIT("d.e.f")));
    out(s, "[null,\"3\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
    s->refreshed.n = 0;
    in(s, "[\"1\",\"4\",\"room:2\",\"access_token\",{\"access_token\":\"a.b.c\"}]");
    out(s, "[null,\"4\",\"room:2\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}]\n");
    in(s, "[\"0\",\"5\",\"room:1\",\"access_token\",{\"access_token\":\"a.b.c\"}]"); /* of a channel that is gone */
    out(s, "");
    assert_int_equal(s->refreshed.n, 0);
    refresh_fault = (struct fm_token_fault){FM_E_TOKEN, "its signature is wrong"};
    in(s, "[\"1\",\"6\",\"room:1\",\"access_token\",{\"access_token\":\"a.b.c\"}]");
    out(s, "[\"1\",\"6\",\"room:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"bad_token\","
           "\"detail\":\"its signature is wrong\"}}]\n");
    static const char *const bad[] = {"{}", "null", "[]", "\"a.b.c\"", "{\"access_token\":1}", "{\"access_token\":null}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char frame[128];
        s->refreshed.n = 0;
        snprintf(frame, sizeof frame, "[\"1\",\"7\",\"room:1\",\"access_token\",%s]", bad[i]);
        in(s, frame);
        out(s, "[\"1\",\"7\",\"room:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"bad_token\","
               "\"detail\":\"the payload has no text `access_token`\"}}]\n");
        assert_int_equal(s->refreshed.n, 0);
    }
    assert_int_equal(s->pushed.n, 0);
}

static void a_token_that_is_over_is_told_on_no_channel(void **state)
{
    struct fm_socket *s = *state;
    fm_phoenix.expired(s, 10000);
    out(s, "[null,null,\"phoenix\",\"fm_token_expired\",{\"grace_ms\":10000}]\n");
    s->variant = FM_PHX_V1;
    fm_phoenix.expired(s, 0);
    out(s, "{\"topic\":\"phoenix\",\"event\":\"fm_token_expired\",\"ref\":null,\"payload\":{\"grace_ms\":0}}\n");
}

static void who_may_not_stay_is_told_why(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    fm_phoenix.forbidden(s->subs, FM_E_NOT_GRANTED);
    out(s, "[\"1\",null,\"room:1\",\"phx_error\",{\"reason\":\"not_granted\"}]\n");
    assert_null(s->subs);
}

static void a_payload_of_exactly_the_limit_is_published(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    in(s, "[\"1\",\"2\",\"room:1\",\"shout\",\"012345678901234567890123456789\"]");
    assert_true(fm_slice_eq(fm_buf_view(&s->pushed), FM_LIT("shout \"012345678901234567890123456789\"")));
    out(s, "");
}

static void a_binary_push_is_published_as_bytes_and_answered_as_text(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    IN_BINARY(s, "\0\1\1\6\3"
                 "1"
                 "2"
                 "room:1"
                 "pic"
                 "\xff\0\xfe");
    assert_true(s->pushed_binary);
    assert_true(fm_slice_eq(fm_buf_view(&s->pushed), fm_slice_of("pic \xff\0\xfe", 7)));
    publish_answer(s, FM_OK);
    out(s, "[\"1\",\"2\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"id\":\"10-7\"}}]\n");
}

static void a_push_without_ref_is_published_and_not_answered(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    in(s, "[null,null,\"room:1\",\"shout\",{}]");
    assert_true(s->pushed.n > 0);
    publish_answer(s, FM_OK);
    out(s, "");
}

static void a_push_behind_a_join_goes_out_unless_a_handler_has_to_decide_on_the_join_first(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{}]");
    handled = true;
    in(s, "[\"1\",\"2\",\"room:1\",\"shout\",{}]");
    handled = false;
    assert_int_equal(s->pushed.n, 0);
    out(s, "[null,\"2\",\"room:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}]\n");
    in(s, "[\"1\",\"3\",\"room:1\",\"shout\",{}]");
    assert_true(s->pushed.n > 0);
}

static void the_answer_to_a_push_is_dropped_once_the_channel_was_left_or_replaced(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    in(s, "[\"1\",\"2\",\"room:1\",\"shout\",{}]");
    in(s, "[\"1\",\"3\",\"room:1\",\"phx_leave\",{}]");
    s->out.n = 0;
    publish_answer(s, FM_OK);
    out(s, "");
    plain_joined(s);
    publish_answer(s, FM_OK);
    out(s, "");
}

/* ---- stale and doubled ---- */

static void messages_with_a_stale_join_ref_are_dropped(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    in(s, "[\"0\",\"2\",\"room:1\",\"shout\",{}]");
    in(s, "[\"0\",\"3\",\"room:1\",\"phx_leave\",{}]");
    out(s, "");
    assert_int_equal(s->pushed.n, 0);
    assert_non_null(s->subs);
    in(s, "[null,\"4\",\"room:1\",\"phx_leave\",{}]");
    out(s, "[\"1\",\"4\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n[\"1\",\"1\",\"room:1\",\"phx_close\",{}]\n");
}

static void leaving_what_is_not_joined_is_fine(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"4\",\"room:1\",\"phx_leave\",{}]");
    out(s, "[\"1\",\"4\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
}

static void a_second_join_closes_the_first_channel_by_its_own_ref(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    in(s, "[\"5\",\"5\",\"room:1\",\"phx_join\",{}]");
    out(s, "[\"1\",\"1\",\"room:1\",\"phx_close\",{}]\n");
    answer(s, "room:1", "a-1", "a-1", true, NULL, 0);
    out(s, "[\"5\",\"5\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
    assert_int_equal(fm_socket_subs(s), 1);
}

static void a_phx_close_that_would_hit_the_new_channel_is_not_sent(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{}]"); /* the same join_ref again */
    out(s, "");
    answer(s, "room:1", "a-1", "a-1", true, NULL, 0);
    fm_socket_leave(s, s->subs, NULL);
    s->out.n = 0;
    in(s, "[null,null,\"room:1\",\"phx_join\",{}]"); /* none */
    answer(s, "room:1", "a-1", "a-1", true, NULL, 0);
    out(s, "[null,null,\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
    in(s, "[\"2\",\"2\",\"room:1\",\"phx_join\",{}]");
    out(s, "");
    fm_socket_leave(s, s->subs, NULL);
    s->variant = FM_PHX_V1;
    in(s, "{\"topic\":\"room:1\",\"event\":\"phx_join\",\"payload\":{},\"ref\":\"1\"}");
    answer(s, "room:1", "a-1", "a-1", true, NULL, 0);
    s->out.n = 0;
    in(s, "{\"topic\":\"room:1\",\"event\":\"phx_join\",\"payload\":{},\"ref\":\"2\"}");
    out(s, "");
}

static void a_join_that_is_replaced_or_left_before_its_answer_still_gets_one(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{}]");
    in(s, "[\"2\",\"2\",\"room:1\",\"phx_join\",{}]");
    out(s, "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"replaced\"}}]\n");
    in(s, "[\"2\",\"3\",\"room:1\",\"phx_leave\",{}]");
    out(s, "[\"2\",\"2\",\"room:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"left\"}}]\n"
           "[\"2\",\"3\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n"
           "[\"2\",\"2\",\"room:1\",\"phx_close\",{}]\n");
    assert_null(s->subs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_join_without_join_ref_uses_its_ref),
        TEST(joins_that_may_not_be_are_refused_by_reason),
        TEST(a_cursor_of_more_than_256_origins_is_cut_not_refused),
        TEST(a_socket_has_a_limit_of_topics),
        TEST(what_the_hub_refuses_is_an_error_reply),
        TEST(pushes_that_may_not_be_are_refused_by_reason),
        TEST(a_client_that_is_too_fast_is_told_when_to_try_again_and_nothing_is_done),
        TEST(where_a_rule_asks_for_a_token_it_must_grant_the_join_and_the_push),
        TEST(a_new_token_is_answered_and_goes_no_further),
        TEST(a_token_that_is_over_is_told_on_no_channel),
        TEST(who_may_not_stay_is_told_why),
        TEST(a_payload_of_exactly_the_limit_is_published),
        TEST(a_binary_push_is_published_as_bytes_and_answered_as_text),
        TEST(a_push_without_ref_is_published_and_not_answered),
        TEST(a_push_behind_a_join_goes_out_unless_a_handler_has_to_decide_on_the_join_first),
        TEST(the_answer_to_a_push_is_dropped_once_the_channel_was_left_or_replaced),
        TEST(messages_with_a_stale_join_ref_are_dropped),
        TEST(leaving_what_is_not_joined_is_fine),
        TEST(a_second_join_closes_the_first_channel_by_its_own_ref),
        TEST(a_phx_close_that_would_hit_the_new_channel_is_not_sent),
        TEST(a_join_that_is_replaced_or_left_before_its_answer_still_gets_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
