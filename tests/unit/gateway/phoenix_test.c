/* Connecting, and what a frame is for: the half of the protocol that is in phoenix.c. Channels: phoenix_channel_test.c. */
#include "phoenix_fixture.h"

/* ---- connect ---- */

static void the_version_comes_from_the_query(void **state)
{
    (void)state;
    static const struct {
        const char *path, *query;
        unsigned status; /* 0: accepted */
        uint32_t variant;
    } cases[] = {
        {"/socket/websocket", "vsn=2.0.0", 0, 2},        {"/socket/websocket", "", 0, 1},
        {"/socket/websocket", "a[b]=c&vsn=1.0.0", 0, 1}, {"/socket/websocket", "vsn=2", 0, 2},
        {"/socket/websocket", "vsn=2.1", 0, 2},          {"/socket/websocket", "vsn=3.0.0", 403, 0},
        {"/socket/websocket", "vsn=", 403, 0},           {"/socket/websocket", "vsn=2.", 403, 0},
        {"/socket/websocket", "vsn=20.0.0", 403, 0},     {"/socket/websocket", "vsn=2.0.0.0", 403, 0},
        {"/socket/websocket", "vsn=2.0.0x", 403, 0},     {"/socket/websocket", "vsn=2.0.00000000000000000000", 403, 0},
        {"/socket/longpoll", "vsn=2.0.0", 0, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_upgrade up = {.path = fm_slice_str(cases[i].path), .query = fm_slice_str(cases[i].query)};
        bool ok = fm_phoenix.accept(&up);
        if (ok != (cases[i].status == 0) || (!ok && up.status != cases[i].status))
            fail_msg("%s?%s", cases[i].path, cases[i].query);
        if (ok) {
            assert_int_equal(up.variant, cases[i].variant);
            assert_ptr_equal(up.proto, &fm_phoenix);
        } else {
            assert_int_equal(up.err, FM_E_VERSION);
            assert_true(strlen(up.reason) > 0);
        }
    }
}

static void the_subprotocol_phoenix_is_answered_and_the_token_is_not(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"phoenix", "phoenix"},
        {"phoenix, base64url.bearer.phx.c2VjcmV0", "phoenix"},
        {"base64url.bearer.phx.c2VjcmV0 ,\tphoenix ", "phoenix"},
        {"base64url.bearer.phx.c2VjcmV0", ""},
        {"phoenixx, xphoenix", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_upgrade up = {.path = FM_LIT("/socket/websocket"), .protocols = fm_slice_str(cases[i][0])};
        assert_true(fm_phoenix.accept(&up));
        assert_string_equal(up.subprotocol, cases[i][1]);
    }
}

/* ---- frames ---- */

static void a_heartbeat_is_answered(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[null,\"5\",\"phoenix\",\"heartbeat\",{}]");
    out(s, "[null,\"5\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
    in(s, "[null,\"6\",\"phoenix\",\"other\",{}]");
    out(s, "[null,\"6\",\"phoenix\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}]\n");
    s->variant = FM_PHX_V1;
    in(s, "{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":\"7\"}");
    out(s, "{\"topic\":\"phoenix\",\"event\":\"phx_reply\",\"ref\":\"7\",\"payload\":{\"status\":\"ok\",\"response\":{}}}\n");
}

static void a_join_a_push_and_a_leave_are_answered_in_phoenix_words(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{}]");
    out(s, "");
    assert_false(s->cursor_channel || s->has_cursor);
    assert_int_equal(s->format, FM_FORMAT_PHX2);
    answer(s, "room:1", "a-1", "a-1", true, NULL, 0);
    out(s, "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
    in(s, "[\"1\",\"2\",\"room:1\",\"shout\",{\"a\": 1}]");
    assert_true(fm_slice_eq(fm_buf_view(&s->pushed), FM_LIT("shout {\"a\": 1}")));
    out(s, "");
    publish_answer(s, FM_OK);
    out(s, "[\"1\",\"2\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"id\":\"10-7\"}}]\n");
    in(s, "[\"1\",\"3\",\"room:1\",\"phx_leave\",{}]");
    out(s, "[\"1\",\"3\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n[\"1\",\"1\",\"room:1\",\"phx_close\",{}]\n");
    assert_null(s->subs);
}

static void the_same_in_v1_without_join_refs_or_a_close(void **state)
{
    struct fm_socket *s = *state;
    s->variant = FM_PHX_V1;
    in(s, "{\"topic\":\"room:1\",\"event\":\"phx_join\",\"payload\":{},\"ref\":\"1\"}");
    assert_int_equal(s->format, FM_FORMAT_PHX1);
    answer(s, "room:1", "a-1", "a-1", true, NULL, 0);
    out(s, "{\"topic\":\"room:1\",\"event\":\"phx_reply\",\"ref\":\"1\",\"payload\":{\"status\":\"ok\",\"response\":{}}}\n");
    in(s, "{\"topic\":\"room:1\",\"event\":\"shout\",\"payload\":1,\"ref\":\"2\"}");
    publish_answer(s, FM_OK);
    out(s, "{\"topic\":\"room:1\",\"event\":\"phx_reply\",\"ref\":\"2\",\"payload\":{\"status\":\"ok\",\"response\":{\"id\":\"10-7\"}}}\n");
    in(s, "{\"topic\":\"room:1\",\"event\":\"phx_leave\",\"payload\":{},\"ref\":\"3\"}");
    out(s, "{\"topic\":\"room:1\",\"event\":\"phx_reply\",\"ref\":\"3\",\"payload\":{\"status\":\"ok\",\"response\":{}}}\n");
    assert_null(s->subs);
}

static void refs_and_topics_go_back_as_they_came(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[7,\"\\u0038\",\"room:\\u00e9\",\"x\",{}]");
    out(s, "[null,\"\\u0038\",\"room:\\u00e9\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}]\n");
    in(s, "[7,8,\"room:\\u00e9\",\"phx_join\",{}]");
    answer(s, "room:\xc3\xa9", "a-1", "a-1", true, NULL, 0);
    out(s, "[7,8,\"room:\xc3\xa9\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
}

static void a_malformed_frame_closes_the_socket_and_is_counted(void **state)
{
    struct fm_socket *s = *state;
    uint64_t before = atomic_load(&stats.bad_messages);
    in(s, "[1,2");
    assert_int_equal(s->close_code, 1007);
    assert_string_equal(s->close_reason, "bad JSON at byte 4: the text ends inside an array");
    IN_BINARY(s, "\7");
    assert_int_equal(s->close_code, 1003);
    assert_int_equal(atomic_load(&stats.bad_messages), before + 2);
}

static void a_drain_is_encoded_in_each_format(void **state)
{
    struct fm_socket *s = *state;
    static const char *const wanted[FM_FORMATS] = {
        [FM_FORMAT_PHX2] = "[null,null,\"room:1\",\"msg\",{}]\n<020603726f6f6d3a316d736701>\n",
        [FM_FORMAT_PHX2_CURSOR] = "[null,\"a-6\",\"room:1\",\"msg\",{}]\n<020603726f6f6d3a316d736701>\n"
                                  "[null,null,\"room:1\",\"fm_cursor\",{\"cursor\":[\"a-7\"]}]\n",
        [FM_FORMAT_PHX2_KEYS] = "[null,\"a-6\",\"room:1\",\"msg\",{}]\n<020603726f6f6d3a316d736701>\n"
                                "[null,\"a-7\",\"room:1\",\"fm_id\",{}]\n",
        [FM_FORMAT_PHX1] = "{\"topic\":\"room:1\",\"event\":\"msg\",\"ref\":null,\"payload\":{}}\n"
                           "{\"topic\":\"room:1\",\"event\":\"msg\",\"ref\":null,\"payload\":{\"base64\":\"AQ==\"}}\n",
        [FM_FORMAT_PHX1_CURSOR] = "{\"topic\":\"room:1\",\"event\":\"msg\",\"ref\":\"a-6\",\"payload\":{}}\n"
                                  "{\"topic\":\"room:1\",\"event\":\"msg\",\"ref\":\"a-7\",\"payload\":{\"base64\":\"AQ==\"}}\n",
        [FM_FORMAT_SUPA2] = "<0406030c01726f6f6d3a316d73677b226964223a22612d36227d7b7d>\n"
                            "<0406030c00726f6f6d3a316d73677b226964223a22612d37227d01>\n",
        [FM_FORMAT_SUPA1] =
            "{\"topic\":\"room:1\",\"event\":\"broadcast\",\"ref\":null,\"payload\":{\"type\":\"broadcast\",\"event\":\"msg\","
            "\"payload\":{},\"meta\":{\"id\":\"a-6\"}}}\n"
            "{\"topic\":\"room:1\",\"event\":\"broadcast\",\"ref\":null,\"payload\":{\"type\":\"broadcast\",\"event\":\"msg\","
            "\"payload\":{\"base64\":\"AQ==\"},\"meta\":{\"id\":\"a-7\"}}}\n",
    };
    struct fm_msg *msgs[] = {message(36, 6, "{}", false), message(36, 7, "\x01", true)};
    struct fm_vector at = {0};
    vector_read(&at, "a-7");
    for (unsigned format = 0; format < FM_FORMATS; format++) {
        if (!wanted[format])
            continue; /* another protocol's */
        struct fm_frames f = {0};
        fm_phoenix.encode(&f, format, msgs, 2, &at);
        assert_ptr_equal(f.marks[0].msg, msgs[0]);
        assert_ptr_equal(f.marks[1].msg, msgs[1]);
        assert_true(f.n == 2 || f.marks[2].msg == (format == FM_FORMAT_PHX2_KEYS ? msgs[1] : NULL));
        frames_record(s, &f);
        out(s, wanted[format]);
        fm_frames_fini(&f);
    }
    struct fm_frames f = {0};
    fm_phoenix.encode(&f, FM_FORMAT_PHX2_CURSOR, msgs, 1, &at); /* no position without a binary message */
    assert_int_equal(f.n, 1);
    fm_frames_fini(&f);
    fm_vector_fini(&at);
    fm_msg_unref(&msgs[0]);
    fm_msg_unref(&msgs[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_version_comes_from_the_query),
        TEST(the_subprotocol_phoenix_is_answered_and_the_token_is_not),
        TEST(a_heartbeat_is_answered),
        TEST(a_join_a_push_and_a_leave_are_answered_in_phoenix_words),
        TEST(the_same_in_v1_without_join_refs_or_a_close),
        TEST(refs_and_topics_go_back_as_they_came),
        TEST(a_malformed_frame_closes_the_socket_and_is_counted),
        TEST(a_drain_is_encoded_in_each_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
