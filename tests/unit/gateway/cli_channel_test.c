#include "../../../gateway/cli/cli_channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static const char *text_of(const struct fm_buf *b)
{
    static char text[2048];
    snprintf(text, sizeof text, "%.*s", (int)b->n, b->n ? (const char *)b->p : "");
    return text;
}

static void feed(struct fm_channel *c, const char *frame)
{
    assert_int_equal(fm_channel_text(c, fm_slice_str(frame)), FM_OK);
}

static const char *join(struct fm_channel *c)
{
    static struct fm_buf frame;
    frame.n = 0;
    fm_channel_join(c, &frame);
    static char text[512];
    snprintf(text, sizeof text, "%.500s", text_of(&frame));
    fm_buf_fini(&frame);
    return text;
}

static struct fm_channel opened(void)
{
    struct fm_channel c = {.topic = "room:1", .last = 5};
    join(&c);
    feed(
        &c,
        "[\"1\",\"1\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[\"a-4\"],\"recovered\":true,\"replayed\":0}}]");
    assert_int_equal(c.state, FM_CHANNEL_OPEN);
    return c;
}

static void the_first_join_asks_for_the_last_and_later_ones_for_what_was_missed(void **state)
{
    (void)state;
    struct fm_channel c = {.topic = "room:\"1", .last = 5};
    assert_string_equal(join(&c), "[\"1\",\"1\",\"room:\\\"1\",\"phx_join\",{\"cursor\":[],\"last\":5}]");
    fm_channel_fini(&c);
    c = opened();
    feed(&c, "[null,\"a-6\",\"room:1\",\"msg\",{}]");
    feed(&c, "[null,\"b-1\",\"room:1\",\"msg\",{}]");
    assert_string_equal(join(&c), "[\"2\",\"2\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-6\",\"b-1\"]}]");
    fm_channel_fini(&c);
}

static void a_message_is_one_line_with_the_payload_as_it_came(void **state)
{
    (void)state;
    struct fm_channel c = opened();
    feed(&c, "[\"1\",\"a-5\",\"room:1\",\"m\\u0073g\",{\"big\":12345678901234567890,\n\"a\":1}]");
    feed(&c, "[null,\"a-6\",\"room:1\",\"msg\",null]");
    assert_string_equal(text_of(&c.lines), "{\"id\":\"a-5\",\"event\":\"m\\u0073g\",\"payload\":{\"big\":12345678901234567890, \"a\":1}}\n"
                                           "{\"id\":\"a-6\",\"event\":\"msg\",\"payload\":null}\n");
    fm_channel_fini(&c);
}

static void what_is_not_of_this_join_is_passed_over(void **state)
{
    (void)state;
    struct fm_channel c = opened();
    feed(&c, "[null,\"beat0\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]");
    feed(&c, "[\"7\",\"a-5\",\"room:1\",\"msg\",1]");
    feed(&c, "[null,\"a-5\",\"room:2\",\"msg\",1]");
    feed(&c, "[\"7\",\"7\",\"room:1\",\"phx_close\",{}]");
    feed(&c, "[null,null,\"room:1\",\"presence_state\",{}]");
    assert_int_equal(c.lines.n, 0);
    assert_int_equal(c.state, FM_CHANNEL_OPEN);
    fm_channel_fini(&c);
}

static void binary_messages_are_held_until_their_position_is_known(void **state)
{
    (void)state;
    struct fm_channel c = opened();
    assert_int_equal(fm_channel_binary(&c, FM_LIT("\2\6\3room:1binab")), FM_OK);
    feed(&c, "[null,\"a-6\",\"room:1\",\"msg\",1]");
    assert_int_equal(c.lines.n, 0);
    assert_int_equal(fm_vector_get(&c.cursor, c.cursor.at[0].origin), 4);
    feed(&c, "[null,null,\"room:1\",\"fm_cursor\",{\"cursor\":[\"a-6\"]}]");
    assert_string_equal(text_of(&c.lines), "{\"id\":null,\"event\":\"bin\",\"payload_base64\":\"YWI=\"}\n"
                                           "{\"id\":\"a-6\",\"event\":\"msg\",\"payload\":1}\n");
    c.lines.n = 0;
    assert_int_equal(fm_channel_binary(&c, FM_LIT("\0\1\6\3\61room:1binab")), FM_OK);
    assert_string_equal(join(&c), "[\"2\",\"2\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-6\"]}]");
    feed(
        &c,
        "[\"2\",\"2\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[\"a-6\"],\"recovered\":true,\"replayed\":0}}]");
    feed(&c, "[null,null,\"room:1\",\"fm_cursor\",{\"cursor\":[\"a-6\"]}]");
    assert_int_equal(c.lines.n, 0); /* what was held when the connection broke comes again by itself */
    fm_channel_fini(&c);
}

static void a_gap_is_a_line_and_moves_the_position(void **state)
{
    (void)state;
    struct fm_channel c = opened();
    feed(&c, "[null,null,\"room:1\",\"gap\",{\"reason\":\"lost\",\"cursor\":[\"a-9\"]}]");
    assert_string_equal(text_of(&c.lines), "{\"id\":null,\"event\":\"gap\",\"payload\":{\"reason\":\"lost\",\"cursor\":[\"a-9\"]}}\n");
    assert_string_equal(join(&c), "[\"2\",\"2\",\"room:1\",\"phx_join\",{\"cursor\":[\"a-9\"]}]");
    fm_channel_fini(&c);
}

static void a_join_that_did_not_recover_everything_says_so(void **state)
{
    (void)state;
    struct fm_channel c = opened();
    assert_false(c.unrecovered);
    join(&c);
    feed(&c, "[\"2\",\"2\",\"room:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[\"a-9\"],\"recovered\":false,\"replayed\":"
             "0}}]");
    assert_true(c.unrecovered);
    fm_channel_fini(&c);
}

static void a_refusal_that_passes_is_tried_again_and_another_is_final(void **state)
{
    (void)state;
    const struct {
        const char *frame;
        enum fm_channel_state state;
    } cases[] = {
        {"[\"1\",\"1\",\"t\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"draining\"}}]", FM_CHANNEL_AGAIN},
        {"[\"1\",\"1\",\"t\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"not_ready\"}}]", FM_CHANNEL_AGAIN},
        {"[\"1\",\"1\",\"t\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"forbidden\"}}]", FM_CHANNEL_ENDED},
        {"[null,\"1\",\"t\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}]", FM_CHANNEL_ENDED},
        {"[\"1\",\"1\",\"t\",\"phx_reply\",{\"status\":\"error\",\"response\":{}}]", FM_CHANNEL_ENDED},
        {"[\"1\",\"1\",\"t\",\"phx_error\",{}]", FM_CHANNEL_AGAIN},
        {"[\"1\",\"1\",\"t\",\"phx_close\",{}]", FM_CHANNEL_ENDED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_channel c = {.topic = "t"};
        join(&c);
        feed(&c, cases[i].frame);
        assert_int_equal(c.state, cases[i].state);
        assert_true(c.why[0] != 0);
        fm_channel_fini(&c);
    }
}

static void what_no_node_sends_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {
        "",
        "{}",
        "[1,2,3,4]",
        "[null,null,\"room:1\",7,{}]",
        "[null,null,\"room:1\",\"msg\",{}]",
        "[null,\"nonsense\",\"room:1\",\"msg\",{}]",
        "[null,null,\"room:1\",\"fm_cursor\",{\"cursor\":[1]}]",
        "[null,null,\"room:1\",\"fm_cursor\",{}]",
        "[null,null,\"room:1\",\"gap\",{\"cursor\":\"a-1\"}]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_channel c = opened();
        assert_int_equal(fm_channel_text(&c, fm_slice_str(bad[i])), FM_E_SYNTAX);
        fm_channel_fini(&c);
    }
    const struct fm_slice binary[] = {{NULL, 0}, FM_LIT("\2"), FM_LIT("\2\6\3room:1bi"), FM_LIT("\0\1\6\3\61room:1")};
    for (size_t i = 0; i < sizeof binary / sizeof binary[0]; i++) {
        struct fm_channel c = opened();
        assert_int_equal(fm_channel_binary(&c, binary[i]), FM_E_SYNTAX);
        fm_channel_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_join_asks_for_the_last_and_later_ones_for_what_was_missed),
        cmocka_unit_test(a_message_is_one_line_with_the_payload_as_it_came),
        cmocka_unit_test(what_is_not_of_this_join_is_passed_over),
        cmocka_unit_test(binary_messages_are_held_until_their_position_is_known),
        cmocka_unit_test(a_gap_is_a_line_and_moves_the_position),
        cmocka_unit_test(a_join_that_did_not_recover_everything_says_so),
        cmocka_unit_test(a_refusal_that_passes_is_tried_again_and_another_is_final),
        cmocka_unit_test(what_no_node_sends_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
