#include "../../../../load/lib/framing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

static const struct fm_speech speech = {.join = "+{topic}", .push = "{topic}={payload}", .word = 0xfeed0001};
static const struct fm_vector nothing_yet;

/* What of the text is said; the reader is given a copy that ends where the text ends, so that a sanitizer sees every byte too far. */
static enum fm_err hear(const struct fm_framing *f, struct fm_slice text, struct fm_saying *said, size_t *used)
{
    static uint8_t *copy;
    free(copy);
    copy = malloc(text.n + 1);
    memcpy(copy + 1, text.p, text.n);
    struct fm_rd r = fm_rd_of(fm_slice_of(copy + 1, text.n));
    enum fm_err err = f->next(&r, said);
    *used = (size_t)(r.p - (copy + 1));
    return err;
}

static struct fm_saying heard(const struct fm_framing *f, struct fm_slice text)
{
    struct fm_saying said;
    size_t used;
    assert_int_equal(hear(f, text, &said, &used), FM_OK);
    assert_int_equal(used, text.n);
    return said;
}

static void refused(const struct fm_framing *f, const char *text)
{
    struct fm_saying said;
    size_t used;
    assert_int_equal(hear(f, fm_slice_str(text), &said, &used), FM_E_SYNTAX);
}

/* In a stream, what is cut short is waited for, wherever it is cut, and nothing of it is taken. */
static void waits_at_every_cut(const struct fm_framing *f, struct fm_slice text)
{
    struct fm_saying said;
    size_t used;
    for (size_t n = 0; n < text.n; n++) {
        assert_int_equal(hear(f, fm_slice_of(text.p, n), &said, &used), FM_E_SHORT);
        assert_int_equal(used, 0);
    }
}

static void expect_text(struct fm_buf *b, const char *want)
{
    assert_int_equal(b->n, strlen(want));
    assert_memory_equal(b->p, want, b->n);
    b->n = 0;
}

#define SAME(slice, text) assert_true(fm_slice_eq(slice, FM_LIT(text)))

static void every_framing_has_a_name_and_what_its_flags_promise(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FM_FRAMINGS_N; i++) {
        const struct fm_framing *f = fm_framings[i];
        assert_non_null(f->next);
        assert_true(!f->pushes || f->push);
        assert_true(!f->hello_first || f->hello);
        assert_true(!f->beat_answers_joins || f->beat);
        assert_true(f->carrier == FM_CARRIER_HTTP || (f->join && f->kind));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(fm_framings[j]->name, f->name);
    }
}

static void a_template_has_its_marks_replaced_and_nothing_else(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    fm_template_put(&b, "{\"t\":\"{topic}\",{topi{payload}{", FM_LIT("a"), FM_LIT("{topic}"));
    expect_text(&b, "{\"t\":\"a\",{topi{topic}{");
    fm_template_put(&b, "", FM_LIT("a"), FM_LIT("b"));
    assert_int_equal(b.n, 0);
    fm_buf_fini(&b);
}

static void phoenix_joins_pushes_and_tells_answers_apart(void **state)
{
    (void)state;
    const struct fm_framing *f = &fm_framing_phoenix;
    const struct fm_speech plain = {.plain = true};
    struct fm_buf b = {0};
    f->join(&b, &speech, 3, FM_LIT("r:1"), &nothing_yet);
    expect_text(&b, "[\"j\",\"j\",\"r:1\",\"phx_join\",{\"cursor\":[]}]");
    f->join(&b, &plain, 3, FM_LIT("r:1"), &nothing_yet);
    expect_text(&b, "[\"j\",\"j\",\"r:1\",\"phx_join\",{}]");
    f->push(&b, &speech, FM_LIT("r:1"), 42, FM_LIT("{}"));
    expect_text(&b, "[\"j\",\"42\",\"r:1\",\"load\",{}]");
    fm_buf_fini(&b);

    struct fm_saying s = heard(f, FM_LIT("[null,\"F-7\",\"r:1\",\"load\",{\"k\":1}]"));
    assert_true(s.what == FM_SAID_MESSAGE && !s.replayed && s.seat == FM_SEAT_NONE);
    SAME(s.topic, "r:1");
    SAME(s.id, "F-7");
    SAME(s.detail, "{\"k\":1}");
    assert_true(heard(f, FM_LIT("[\"j\",\"F-7\",\"r:1\",\"load\",{}]")).replayed);
    s = heard(f, FM_LIT("[\"j\",\"j\",\"r:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"cursor\":[]}}]"));
    assert_true(s.what == FM_SAID_JOIN && s.ok);
    SAME(s.detail, "{\"cursor\":[]}");
    s = heard(f, FM_LIT("[\"j\",\"j\",\"r:1\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"no\"}}]"));
    assert_true(s.what == FM_SAID_JOIN && !s.ok);
    SAME(s.detail, "no");
    s = heard(f, FM_LIT("[\"j\",\"9\",\"r:1\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"id\":\"F-8\"}}]"));
    assert_true(s.what == FM_SAID_PUSH && s.ok && s.number == 9);
    SAME(s.id, "F-8");
    assert_int_equal(heard(f, FM_LIT("[null,\"h\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\"}]")).what, FM_SAID_BEAT);
    assert_int_equal(heard(f, FM_LIT("[\"j\",\"j\",\"r:1\",\"phx_error\",{}]")).what, FM_SAID_OVER);
    assert_int_equal(heard(f, FM_LIT("[null,null,\"r:1\",\"gap\",{}]")).what, FM_SAID_GAP);
    assert_int_equal(heard(f, FM_LIT("[null,null,\"r:1\",\"presence_state\",{}]")).what, FM_SAID_NOTHING);
    assert_int_equal(heard(f, FM_LIT("[null,null,\"r:1\",\"presence_diff\",{\"joins\":{}}]")).what, FM_SAID_NOTHING);
    refused(f, "[null,null,\"r:1\",\"other\",{}]");
    refused(f, "[\"j\",\"x\",\"r:1\",\"phx_reply\",{\"status\":\"ok\"}]");
    refused(f, "{}");
}

static void a_plain_websocket_message_is_its_payload(void **state)
{
    (void)state;
    const struct fm_framing *f = &fm_framing_websocket;
    const struct fm_speech silent = {0};
    struct fm_buf b = {0};
    f->join(&b, &speech, 0, FM_LIT("t"), &nothing_yet);
    expect_text(&b, "+t");
    f->push(&b, &speech, FM_LIT("t"), 0, FM_LIT("{}"));
    expect_text(&b, "t={}");
    f->join(&b, &silent, 0, FM_LIT("t"), &nothing_yet);
    assert_int_equal(b.n, 0);
    f->push(&b, &silent, FM_LIT("t"), 0, FM_LIT("{}"));
    expect_text(&b, "{}");
    fm_buf_fini(&b);
    struct fm_saying s = heard(f, FM_LIT("anything"));
    assert_int_equal(s.what, FM_SAID_MESSAGE);
    SAME(s.detail, "anything");
}

static void an_event_is_its_data_whatever_the_line_ends_and_other_fields(void **state)
{
    (void)state;
    const struct fm_framing *f = &fm_framing_sse;
    const struct fm_slice events[] = {FM_LIT("data: {\"k\":1}\n\n"), FM_LIT("id: 17:0\ndata:{\"k\":1}\nevent: load\n\n"),
                                      FM_LIT(":hi\r\nid: 1\r\ndata: {\"k\":1}\r\nretry: 3\r\n\r\n")};
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        struct fm_saying s = heard(f, events[i]);
        assert_int_equal(s.what, FM_SAID_MESSAGE);
        assert_int_equal(s.id.n, 0);
        SAME(s.detail, "{\"k\":1}");
        waits_at_every_cut(f, events[i]);
    }
    assert_int_equal(heard(f, FM_LIT(": hi\n\n")).what, FM_SAID_NOTHING);
    assert_int_equal(heard(f, FM_LIT("\n")).what, FM_SAID_NOTHING);
    refused(f, "data: {\ndata: }\n\n");
}

static void socketio_is_greeted_subscribes_and_is_given_events(void **state)
{
    (void)state;
    const struct fm_framing *f = &fm_framing_socketio;
    struct fm_buf b = {0};
    f->hello(&b, &speech, 1);
    expect_text(&b, "40");
    f->join(&b, &speech, 5, FM_LIT("t"), &nothing_yet);
    expect_text(&b, "425[\"subscribe\",\"t\"]");
    f->push(&b, &speech, FM_LIT("t"), 0, FM_LIT("{\"k\":1}"));
    expect_text(&b, "42[\"publish\",\"t\",{\"k\":1}]");
    f->pong(&b);
    expect_text(&b, "3");
    fm_buf_fini(&b);
    assert_int_equal(heard(f, FM_LIT("0{\"sid\":\"x\",\"pingInterval\":25000}")).what, FM_SAID_HELLO);
    assert_int_equal(heard(f, FM_LIT("40{\"sid\":\"y\"}")).what, FM_SAID_WELCOME);
    assert_int_equal(heard(f, FM_LIT("2")).what, FM_SAID_PING);
    assert_int_equal(heard(f, FM_LIT("41")).what, FM_SAID_OVER);
    assert_int_equal(heard(f, FM_LIT("44{\"message\":\"no\"}")).what, FM_SAID_OVER);
    assert_int_equal(heard(f, FM_LIT("1")).what, FM_SAID_OVER);
    struct fm_saying s = heard(f, FM_LIT("435[]"));
    assert_true(s.what == FM_SAID_JOIN && s.ok && s.seat == 5);
    s = heard(f, FM_LIT("42[\"load\",{\"k\":1}]"));
    assert_int_equal(s.what, FM_SAID_MESSAGE);
    SAME(s.detail, "{\"k\":1}");
    const char *bad[] = {"", "5", "43[]", "43x[]", "4399999999999[]", "42", "42[\"load\"]", "42[\"other\",{}]", "42[\"load\",{}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(f, bad[i]);
}

static void nats_messages_are_cut_by_their_length(void **state)
{
    (void)state;
    const struct fm_framing *f = &fm_framing_nats;
    struct fm_buf b = {0};
    f->join(&b, &speech, 0, FM_LIT("a.b"), &nothing_yet);
    expect_text(&b, "SUB a.b 1\r\n");
    f->push(&b, &speech, FM_LIT("a.b"), 0, FM_LIT("hello"));
    expect_text(&b, "PUB a.b 5\r\nhello\r\n");
    fm_buf_fini(&b);
    struct fm_slice text = FM_LIT("MSG a.b 7 5\r\nhe\r\no\r\n");
    struct fm_saying s = heard(f, text);
    assert_true(s.what == FM_SAID_MESSAGE && s.seat == 6);
    SAME(s.topic, "a.b");
    SAME(s.detail, "he\r\no");
    waits_at_every_cut(f, text);
    SAME(heard(f, FM_LIT("MSG a 1 _INBOX.1 0\r\n\r\n")).topic, "a");
    assert_int_equal(heard(f, FM_LIT("INFO {\"server_id\":\"x\"} \r\n")).what, FM_SAID_HELLO);
    assert_int_equal(heard(f, FM_LIT("PING\r\n")).what, FM_SAID_PING);
    assert_int_equal(heard(f, FM_LIT("PONG\r\n")).what, FM_SAID_BEAT);
    assert_int_equal(heard(f, FM_LIT("+OK\r\n")).what, FM_SAID_NOTHING);
    s = heard(f, FM_LIT("-ERR 'Slow Consumer'\r\n"));
    assert_int_equal(s.what, FM_SAID_OVER);
    SAME(s.detail, "'Slow Consumer'");
    const char *bad[] = {"\r\n", "MSG a 1\r\n", "MSG a 0 1\r\nx\r\n", "MSG a 1 r 1 1\r\nx\r\n", "MSG a 1 1\r\nxyz", "MSG a 1 9999999\r\n",
                         "msg\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(f, bad[i]);
}

static void mqtt_packets_are_cut_by_their_length(void **state)
{
    (void)state;
    const struct fm_framing *f = &fm_framing_mqtt;
    struct fm_buf b = {0};
    f->hello(&b, &speech, 2);
    assert_int_equal(b.n, 30);
    assert_memory_equal(b.p,
                        "\x10\x1c\x00\x04MQTT\x04\x02\x00\x00\x00\x10"
                        "feed000100000002",
                        30);
    b.n = 0;
    f->join(&b, &speech, 1, FM_LIT("a/b"), &nothing_yet);
    assert_int_equal(b.n, 10);
    assert_memory_equal(b.p,
                        "\x82\x08\x00\x02\x00\x03"
                        "a/b\x00",
                        10);
    b.n = 0;
    f->push(&b, &speech, FM_LIT("a"), 0, FM_LIT("xyz"));
    assert_memory_equal(b.p,
                        "\x30\x06\x00\x01"
                        "axyz",
                        8);
    struct fm_saying s = heard(f, fm_buf_view(&b));
    assert_int_equal(s.what, FM_SAID_MESSAGE);
    SAME(s.topic, "a");
    SAME(s.detail, "xyz");
    waits_at_every_cut(f, fm_buf_view(&b));
    b.n = 0;
    static uint8_t large[300];
    f->push(&b, &speech, FM_LIT("a"), 0, fm_slice_of(large, sizeof large));
    assert_int_equal(heard(f, fm_buf_view(&b)).detail.n, sizeof large);
    fm_buf_fini(&b);
    assert_int_equal(heard(f, FM_LIT("\x20\x02\x00\x00")).what, FM_SAID_WELCOME);
    assert_int_equal(heard(f, FM_LIT("\x20\x02\x00\x05")).what, FM_SAID_OVER);
    assert_int_equal(heard(f, FM_LIT("\xd0\x00")).what, FM_SAID_BEAT);
    s = heard(f, FM_LIT("\x90\x03\x00\x02\x00"));
    assert_true(s.what == FM_SAID_JOIN && s.ok && s.seat == 1);
    assert_false(heard(f, FM_LIT("\x90\x03\x00\x02\x80")).ok);
    const struct fm_slice bad[] = {FM_LIT("\x20\x01\x00"),
                                   FM_LIT("\x90\x03\x00\x00\x00"),
                                   FM_LIT("\x30\x02\x00\x05"),
                                   FM_LIT("\x32\x03\x00\x01"
                                          "a"),
                                   FM_LIT("\x40\x00"),
                                   FM_LIT("\x30\xff\xff\xff\xff"),
                                   FM_LIT("\xd0\x01x"),
                                   FM_LIT("\xd0\x80\x80\x80\x80\x00")};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_saying said;
        size_t used;
        assert_int_equal(hear(f, bad[i], &said, &used), FM_E_SYNTAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_framing_has_a_name_and_what_its_flags_promise),
        cmocka_unit_test(a_template_has_its_marks_replaced_and_nothing_else),
        cmocka_unit_test(phoenix_joins_pushes_and_tells_answers_apart),
        cmocka_unit_test(a_plain_websocket_message_is_its_payload),
        cmocka_unit_test(an_event_is_its_data_whatever_the_line_ends_and_other_fields),
        cmocka_unit_test(socketio_is_greeted_subscribes_and_is_given_events),
        cmocka_unit_test(nats_messages_are_cut_by_their_length),
        cmocka_unit_test(mqtt_packets_are_cut_by_their_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
