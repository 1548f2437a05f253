/* Cursor channels: positions in joins and replies, replays, gaps. */
#include "phoenix_fixture.h"

/* ---- joins and replays ---- */

static void a_cursor_channel_is_answered_with_its_position_and_the_replay(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-3\",\"b-1\",\"a-5\"],\"x\":1}]");
    assert_true(s->cursor_channel && s->has_cursor);
    assert_string_equal(s->cursor.p, "[\"a-5\",\"b-1\"]");
    assert_int_equal(s->format, FM_FORMAT_PHX2_CURSOR);
    struct fm_msg *replay[] = {message(36, 6, "{\"n\":6}", false), message(36, 7, "{\"n\":7}", false)};
    answer(s, "room:1", "a-5 b-1", "a-7 b-1", true, replay, 2);
    out(s, "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[\"a-5\",\"b-1\"],\"recovered\":true,"
           "\"replayed\":2}}]\n"
           "[\"1\",\"a-6\",\"room:1\",\"msg\",{\"n\":6}]\n"
           "[\"1\",\"a-7\",\"room:1\",\"msg\",{\"n\":7}]\n");
}

static void the_position_in_a_join_reply_is_before_the_replay_whatever_the_sub_skips(void **state)
{
    struct fm_socket *s = *state;
    struct fm_vector skip = {0};
    vector_read(&skip, "a-6 c-9"); /* what a worker that was overrun sets: all that comes with the answer */
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-5\"]}]");
    s->subs->skip = &skip;
    struct fm_msg *replay[] = {message(36, 6, "\x01", true)};
    answer(s, "room:1", "a-5", "a-6", true, replay, 1);
    s->subs->skip = NULL;
    out(s,
        "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[\"a-5\"],\"recovered\":true,\"replayed\":1}}]\n"
        "<0001060331726f6f6d3a316d736701>\n"
        "[\"1\",null,\"room:1\",\"fm_cursor\",{\"cursor\":[\"a-6\",\"c-9\"]}]\n");
    fm_vector_fini(&skip);
}

static void a_channel_that_asks_for_keys_has_an_id_behind_each_binary_message(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-5\"],\"keys\":true}]");
    assert_int_equal(s->format, FM_FORMAT_PHX2_KEYS);
    struct fm_msg *replay[] = {message(36, 6, "\x01", true), message(36, 7, "{}", false)};
    answer(s, "room:1", "a-5", "a-7", true, replay, 2);
    out(s,
        "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[\"a-5\"],\"recovered\":true,\"replayed\":2}}]\n"
        "<0001060331726f6f6d3a316d736701>\n"
        "[\"1\",\"a-6\",\"room:1\",\"fm_id\",{}]\n"
        "[\"1\",\"a-7\",\"room:1\",\"msg\",{}]\n");
}

static void keys_are_for_cursor_channels_of_version_2(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"keys\":true}]");
    assert_int_equal(s->format, FM_FORMAT_PHX2);
    in(s, "[\"2\",\"2\",\"room:1\",\"phx_join\",{\"cursor\":[],\"keys\":1}]");
    assert_int_equal(s->format, FM_FORMAT_PHX2_CURSOR);
    s->variant = FM_PHX_V1;
    in(s, "{\"topic\":\"room:1\",\"event\":\"phx_join\",\"payload\":{\"cursor\":[],\"keys\":true},\"ref\":\"3\"}");
    assert_int_equal(s->format, FM_FORMAT_PHX1_CURSOR);
}

static void an_empty_cursor_is_a_first_join_of_a_cursor_channel(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[],\"last\":10}]");
    assert_true(s->cursor_channel);
    assert_false(s->has_cursor);
    assert_int_equal(s->last, 10);
    answer(s, "room:1", "a-5", "a-5", true, NULL, 0);
    out(s, "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[\"a-5\"],\"recovered\":true,\"replayed\":0}}"
           "]\n");
}

static void what_could_not_be_recovered_is_said(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-1\"]}]");
    answer(s, "room:1", "a-5", "a-5", false, NULL, 0);
    out(s, "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[\"a-5\"],\"recovered\":false,\"replayed\":0}"
           "}]\n");
}

static void binary_replay_is_followed_by_the_position(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-5\"]}]");
    struct fm_msg *replay[] = {message(36, 6, "\x01", true), message(36, 7, "{}", false)};
    answer(s, "room:1", "a-5", "a-7", true, replay, 2);
    out(s,
        "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[\"a-5\"],\"recovered\":true,\"replayed\":2}}]\n"
        "<000106033"
        "1726f6f6d3a316d736701>\n"
        "[\"1\",\"a-7\",\"room:1\",\"msg\",{}]\n"
        "[\"1\",null,\"room:1\",\"fm_cursor\",{\"cursor\":[\"a-7\"]}]\n");
}

static void a_long_replay_is_encoded_while_it_is_sent_in_the_same_order(void **state)
{
    struct fm_socket *s = *state;
    enum { N = 500 };
    struct fm_msg *replay[N];
    struct fm_buf wanted = {0};
    char payload[201];
    memset(payload, 'x', 200);
    payload[0] = payload[199] = '"';
    payload[200] = 0;
    for (unsigned long long version = 1; version <= 2; version++) {
        s->variant = (uint32_t)version;
        wanted.n = 0;
        if (version == FM_PHX_V2) {
            in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-5\"]}]");
            fm_buf_printf(&wanted,
                          "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[\"a-5\"],"
                          "\"recovered\":true,\"replayed\":%d}}]\n",
                          N);
        } else {
            in(s, "{\"topic\":\"room:1\",\"event\":\"phx_join\",\"payload\":{\"cursor\":[\"a-5\"]},\"ref\":\"1\"}");
            fm_buf_printf(&wanted,
                          "{\"topic\":\"room:1\",\"event\":\"phx_reply\",\"ref\":\"1\",\"payload\":{\"status\":\"ok\",\"response\":"
                          "{\"cursor\":[\"a-5\"],\"recovered\":true,\"replayed\":%d}}}\n",
                          N);
        }
        for (unsigned i = 0; i < N; i++) {
            bool binary = i == 0;
            replay[i] = message(36, 6 + i, binary ? "\x01" : payload, binary);
            if (binary)
                fm_buf_str(&wanted, version == FM_PHX_V2
                                        ? "<0001060331726f6f6d3a316d736701>\n"
                                        : "{\"topic\":\"room:1\",\"event\":\"msg\",\"ref\":\"a-6\",\"payload\":{\"base64\":\"AQ==\"}}\n");
            else if (version == FM_PHX_V2)
                fm_buf_printf(&wanted, "[\"1\",\"a-%u\",\"room:1\",\"msg\",%s]\n", 6 + i, payload);
            else
                fm_buf_printf(&wanted, "{\"topic\":\"room:1\",\"event\":\"msg\",\"ref\":\"a-%u\",\"payload\":%s}\n", 6 + i, payload);
        }
        if (version == FM_PHX_V2)
            fm_buf_printf(&wanted, "[\"1\",null,\"room:1\",\"fm_cursor\",{\"cursor\":[\"a-%u\"]}]\n", 5 + N);
        fm_buf_u8(&wanted, 0);
        char at[32];
        snprintf(at, sizeof at, "a-%u", 5 + N);
        answer(s, "room:1", "a-5", at, true, replay, N);
        out(s, (const char *)wanted.p);
        assert_int_equal(s->sources, version);
        fm_socket_leave(s, s->subs, NULL);
    }
    fm_buf_fini(&wanted);
}

static void a_plain_channel_gets_the_last_n_without_ids(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"last\":1}]");
    assert_int_equal(s->last, 1);
    struct fm_msg *replay[] = {message(36, 6, "{}", false)};
    answer(s, "room:1", "a-5", "a-6", true, replay, 1);
    out(s, "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n[\"1\",null,\"room:1\",\"msg\",{}]\n");
}

static void a_v1_cursor_channel_has_the_id_as_ref_and_bytes_as_base64(void **state)
{
    struct fm_socket *s = *state;
    s->variant = FM_PHX_V1;
    in(s, "{\"topic\":\"room:1\",\"event\":\"phx_join\",\"payload\":{\"cursor\":[\"a-5\"]},\"ref\":\"1\"}");
    assert_int_equal(s->format, FM_FORMAT_PHX1_CURSOR);
    struct fm_msg *replay[] = {message(36, 6, "{}", false), message(36, 7, "\x01", true)};
    answer(s, "room:1", "a-5", "a-7", true, replay, 2);
    out(s, "{\"topic\":\"room:1\",\"event\":\"phx_reply\",\"ref\":\"1\",\"payload\":{\"status\":\"ok\",\"response\":"
           "{\"cursor\":[\"a-5\"],\"recovered\":true,\"replayed\":2}}}\n"
           "{\"topic\":\"room:1\",\"event\":\"msg\",\"ref\":\"a-6\",\"payload\":{}}\n"
           "{\"topic\":\"room:1\",\"event\":\"msg\",\"ref\":\"a-7\",\"payload\":{\"base64\":\"AQ==\"}}\n");
}

static void a_rejoin_resumes_from_what_the_socket_was_sent(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-5\"]}]");
    answer(s, "room:1", "a-5", "a-5", true, NULL, 0);
    vector_read(&sent, "a-9 c-2"); /* live since */
    in(s, "[\"2\",\"2\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-7\",\"b-8\"]}]");
    assert_string_equal(s->cursor.p, "[\"a-9\",\"b-8\",\"c-2\"]");
    assert_true(s->has_cursor);
}

static void a_rejoin_does_not_count_a_replay_that_the_client_will_drop(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-5\",\"b-1\"]}]");
    struct fm_msg *replay[] = {message(36, 6, "{}", false), message(36, 7, "{}", false)};
    answer(s, "room:1", "a-5 b-1", "a-7 b-1", true, replay, 2);
    vector_read(&sent, "a-9 b-3");
    in(s, "[\"2\",\"2\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-6\",\"b-1\"]}]"); /* behind the replay in a, not in b */
    assert_string_equal(s->cursor.p, "[\"a-6\",\"b-3\"]");
    answer(s, "room:1", "a-6 b-3", "a-9 b-3", true, NULL, 0);
    in(s, "[\"3\",\"3\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-7\",\"b-1\"]}]"); /* nothing was replayed this time */
    assert_string_equal(s->cursor.p, "[\"a-9\",\"b-3\"]");
}

static void a_rejoin_that_says_it_has_nothing_is_believed_after_a_replay(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[],\"last\":1}]");
    struct fm_msg *replay[] = {message(36, 6, "{}", false)};
    answer(s, "room:1", "a-5", "a-6", true, replay, 1);
    vector_read(&sent, "a-6");
    in(s, "[\"2\",\"2\",\"room:1\",\"phx_join\",{\"cursor\":[],\"last\":1}]");
    assert_false(s->has_cursor);
    assert_int_equal(s->last, 1);
}

static void a_plain_rejoin_leaves_nothing_out(void **state)
{
    struct fm_socket *s = *state;
    plain_joined(s);
    vector_read(&sent, "a-9");
    in(s, "[\"2\",\"2\",\"room:1\",\"phx_join\",{}]");
    assert_true(s->has_cursor && !s->cursor_channel);
    assert_string_equal(s->cursor.p, "[\"a-9\"]");
    answer(s, "room:1", "a-9", "a-9", true, NULL, 0);
    in(s, "[\"3\",\"3\",\"room:1\",\"phx_join\",{\"last\":2}]");
    assert_false(s->has_cursor);
}

/* ---- gaps ---- */

static void gap_send(struct fm_socket *s, const struct fm_gap *gap, const struct fm_vector *cursor)
{
    struct fm_frames *f = fm_frames_new();
    assert_non_null(f);
    fm_phoenix.gap(f, s->subs, gap, cursor);
    fm_socket_send_frames(s, f);
}

static void a_gap_is_told_with_the_position_behind_it(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{\"cursor\":[]}]");
    answer(s, "room:1", "a-5", "a-5", true, NULL, 0);
    s->out.n = 0;
    struct fm_vector cursor = {0}, skip = {0};
    vector_read(&cursor, "a-9 b-1");
    vector_read(&skip, "b-4");
    struct fm_gap gap = {.reason = FM_GAP_LOST, .origin = 36, .from = 6, .to = 9};
    gap_send(s, &gap, &cursor);
    out(s, "[\"1\",null,\"room:1\",\"gap\",{\"reason\":\"lost\",\"origin\":\"a\",\"from\":6,\"to\":9,\"cursor\":[\"a-9\",\"b-1\"]}]\n");
    gap.to = FM_GAP_OPEN; /* nobody knows how far */
    gap_send(s, &gap, &cursor);
    out(s, "[\"1\",null,\"room:1\",\"gap\",{\"reason\":\"lost\",\"origin\":\"a\",\"from\":6,\"to\":null,\"cursor\":[\"a-9\",\"b-1\"]}]\n");
    s->subs->skip = &skip; /* the client has seen more of b elsewhere: its position may not go back */
    gap = (struct fm_gap){.reason = FM_GAP_OVERRUN};
    gap_send(s, &gap, &cursor);
    out(s, "[\"1\",null,\"room:1\",\"gap\",{\"reason\":\"overrun\",\"origin\":null,\"from\":null,\"to\":null,\"cursor\":[\"a-9\",\"b-4\"]}]"
           "\n");
    gap = (struct fm_gap){.reason = FM_GAP_SLOW, .origin = 36, .from = 6, .to = 9, .skipped = 2};
    gap_send(s, &gap, &cursor);
    out(s, "[\"1\",null,\"room:1\",\"gap\",{\"reason\":\"slow\",\"origin\":\"a\",\"from\":6,\"to\":9,\"skipped\":2,"
           "\"cursor\":[\"a-9\",\"b-4\"]}]\n");
    fm_vector_fini(&cursor);
    fm_vector_fini(&skip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_cursor_channel_is_answered_with_its_position_and_the_replay),
        TEST(the_position_in_a_join_reply_is_before_the_replay_whatever_the_sub_skips),
        TEST(a_channel_that_asks_for_keys_has_an_id_behind_each_binary_message),
        TEST(keys_are_for_cursor_channels_of_version_2),
        TEST(an_empty_cursor_is_a_first_join_of_a_cursor_channel),
        TEST(what_could_not_be_recovered_is_said),
        TEST(binary_replay_is_followed_by_the_position),
        TEST(a_long_replay_is_encoded_while_it_is_sent_in_the_same_order),
        TEST(a_plain_channel_gets_the_last_n_without_ids),
        TEST(a_v1_cursor_channel_has_the_id_as_ref_and_bytes_as_base64),
        TEST(a_rejoin_resumes_from_what_the_socket_was_sent),
        TEST(a_rejoin_does_not_count_a_replay_that_the_client_will_drop),
        TEST(a_rejoin_that_says_it_has_nothing_is_believed_after_a_replay),
        TEST(a_plain_rejoin_leaves_nothing_out),
        TEST(a_gap_is_told_with_the_position_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
