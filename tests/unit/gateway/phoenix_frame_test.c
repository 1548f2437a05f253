#include "../../../gateway/phoenix/phoenix_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define B(s) fm_slice_of(s, sizeof(s) - 1)

static bool parse(enum fm_phx_version version, bool binary, struct fm_slice bytes, struct fm_phx_in *in, struct fm_phx_bad *bad)
{
    /* From the heap and of the exact size, so that a read past the end is seen by the sanitizer. Leaked slices would be, too: so the copy
     * lives until the next call. */
    static uint8_t *copy;
    free(copy);
    copy = malloc(bytes.n ? bytes.n : 1);
    assert_non_null(copy);
    if (bytes.n)
        memcpy(copy, bytes.p, bytes.n);
    bool ok = fm_phx_parse(version, binary, fm_slice_of(copy, bytes.n), in, bad);
    if (!bytes.n) {
        free(copy);
        copy = NULL;
    }
    return ok;
}

static void assert_slice(struct fm_slice s, const char *text)
{
    if (!fm_slice_eq(s, fm_slice_str(text)))
        fail_msg("got %.*s, wanted %s", (int)s.n, (const char *)s.p, text);
}

/* ---- reading ---- */

static void a_v2_text_frame_gives_its_five_fields(void **state)
{
    (void)state;
    struct fm_phx_in in;
    struct fm_phx_bad bad;
    assert_true(parse(FM_PHX_V2, false, B(" [\"1\", \"2\",\"room:\\u0061\" ,\"new\\tmsg\", { \"body\" : [1,2] } ] "), &in, &bad));
    assert_slice(in.join_ref, "\"1\"");
    assert_slice(in.ref, "\"2\"");
    assert_slice(in.topic, "room:a");
    assert_slice(in.topic_token, "\"room:\\u0061\"");
    assert_slice(in.event, "new\tmsg");
    assert_slice(in.payload, "{ \"body\" : [1,2] }");
    assert_false(in.binary);
}

static void a_payload_is_any_value_but_never_null(void **state)
{
    (void)state;
    static const struct {
        const char *frame, *payload;
    } cases[] = {
        {"[null,null,\"t\",\"e\",null]", "{}"},     {"[null,null,\"t\",\"e\",[1]]", "[1]"},
        {"[null,null,\"t\",\"e\",\"s\"]", "\"s\""}, {"[null,null,\"t\",\"e\",false]", "false"},
        {"[null,null,\"t\",\"e\",1e400]", "1e400"}, {"[null,null,\"t\",\"e\",{\"n\":null}]", "{\"n\":null}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_phx_in in;
        struct fm_phx_bad bad;
        assert_true(parse(FM_PHX_V2, false, fm_slice_str(cases[i].frame), &in, &bad));
        assert_slice(in.payload, cases[i].payload);
        assert_true(fm_phx_is_null(in.ref) && fm_phx_is_null(in.join_ref));
    }
}

static void a_v1_frame_is_read_in_any_order_and_the_last_member_wins(void **state)
{
    (void)state;
    struct fm_phx_in in;
    struct fm_phx_bad bad;
    assert_true(parse(FM_PHX_V1, false,
                      B("{\"x\":{\"topic\":1},\"payload\":{\"a\":1},\"ref\":7,\"event\":\"old\",\"topic\":\"t\",\"event\":\"e\"}"), &in,
                      &bad));
    assert_slice(in.topic, "t");
    assert_slice(in.event, "e");
    assert_slice(in.ref, "7");
    assert_slice(in.payload, "{\"a\":1}");
    assert_true(fm_phx_is_null(in.join_ref));
    assert_true(parse(FM_PHX_V1, false, B("{\"topic\":\"t\",\"event\":\"e\",\"join_ref\":\"4\"}"), &in, &bad));
    assert_slice(in.join_ref, "\"4\"");
    assert_slice(in.payload, "{}");
    assert_true(fm_phx_is_null(in.ref));
}

static void a_binary_push_gives_its_fields_and_the_rest_as_payload(void **state)
{
    (void)state;
    struct fm_phx_in in;
    struct fm_phx_bad bad;
    assert_true(parse(FM_PHX_V2, true,
                      B("\0\1\2\3\4"
                        "1"
                        "23"
                        "t:\""
                        "even"
                        "\xff\0\x80"),
                      &in, &bad));
    assert_slice(in.join_ref, "\"1\"");
    assert_slice(in.ref, "\"23\"");
    assert_slice(in.topic, "t:\"");
    assert_int_equal(in.topic_token.n, 0);
    assert_slice(in.event, "even");
    assert_true(fm_slice_eq(in.payload, B("\xff\0\x80")));
    assert_true(in.binary);
    assert_true(parse(FM_PHX_V2, true,
                      B("\0\0\2\1\1"
                        "a\""
                        "te"),
                      &in, &bad));
    assert_true(fm_phx_is_null(in.join_ref));
    assert_slice(in.ref, "\"a\\\"\"");
    assert_int_equal(in.payload.n, 0);
}

static void a_broadcast_gives_its_fields_and_passes_its_metadata_over(void **state)
{
    (void)state;
    struct fm_phx_in in;
    struct fm_phx_bad bad;
    assert_true(parse(FM_PHX_V2, true,
                      B("\3\1\2\3\4\2\0"
                        "1"
                        "23"
                        "t:\""
                        "even"
                        "{}"
                        "\xff\0\x80"),
                      &in, &bad));
    assert_true(in.broadcast && in.binary);
    assert_slice(in.join_ref, "\"1\"");
    assert_slice(in.ref, "\"23\"");
    assert_slice(in.topic, "t:\"");
    assert_slice(in.event, "even");
    assert_true(fm_slice_eq(in.payload, B("\xff\0\x80")));
    assert_true(parse(FM_PHX_V2, true,
                      B("\3\0\0\1\1\0\1te"
                        " {\"n\": 12345678901234567890} "),
                      &in, &bad));
    assert_true(in.broadcast && !in.binary);
    assert_true(fm_phx_is_null(in.join_ref) && fm_phx_is_null(in.ref));
    assert_slice(in.payload, "{\"n\": 12345678901234567890}");
    assert_true(parse(FM_PHX_V2, true, B("\3\0\0\1\1\0\1tenull"), &in, &bad));
    assert_slice(in.payload, "{}");
    assert_true(parse(FM_PHX_V2, false, B("[null,null,\"t\",\"e\",{}]"), &in, &bad));
    assert_false(in.broadcast);
}

/* What realtime-js makes of `caf\u00e9` has one byte for the last letter. */
static void names_of_a_broadcast_that_are_not_utf8_are_latin1(void **state)
{
    (void)state;
    struct fm_phx_in in;
    struct fm_phx_bad bad;
    assert_true(parse(FM_PHX_V2, true,
                      B("\3\0\0\4\4\0\1"
                        "caf\xe9"
                        "n\xfc"
                        "ts"
                        "{}"),
                      &in, &bad));
    assert_slice(in.topic, "caf\u00e9");
    assert_slice(in.event, "n\u00fcts");
    assert_true(parse(FM_PHX_V2, true,
                      B("\3\0\0\5\1\0\1"
                        "caf\xc3\xa9"
                        "e"
                        "{}"),
                      &in, &bad));
    assert_slice(in.topic, "caf\u00e9");
    uint8_t frame[7 + 255 + 255 + 2] = {3, 0, 0, 255, 255, 0, 1};
    memset(frame + 7, 0xe9, 255 + 255);
    memcpy(frame + 7 + 255 + 255, "{}", 2);
    assert_true(parse(FM_PHX_V2, true, fm_slice_of(frame, sizeof frame), &in, &bad));
    assert_int_equal(in.topic.n, 0); /* 510 bytes of UTF-8: nothing has such a name */
    assert_int_equal(in.event.n, 0);
    memset(frame + 7, 'a', 255 + 255);
    frame[7 + 255] = 0xe9;
    assert_true(parse(FM_PHX_V2, true, fm_slice_of(frame, sizeof frame), &in, &bad));
    assert_int_equal(in.topic.n, 255);
    assert_int_equal(in.event.n, 0); /* 256 bytes */
}

static void every_malformed_frame_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        enum fm_phx_version version;
        bool binary;
        const char *bytes;
        size_t n;
        unsigned code;
        const char *says;
    } cases[] = {
#define T(v, text, code, says) {v, false, text, sizeof(text) - 1, code, says}
#define X(v, text, code, says) \
    { \
        v, true, text, sizeof(text) - 1, code, says \
    }
        T(2, "", 1007, "bad JSON at byte 0: the text ends where a value is due"),
        T(2, "hello", 1007, "bad JSON at byte 0"),
        T(2, "[1,", 1007, "bad JSON at byte 3"),
        T(2, "[null,null,\"t\",\"e\",{\"a\":\"\xff\"}]", 1007, "bad JSON at byte 25: a string holds bytes that are not UTF-8"),
        T(2, "[null,null,\"t\",\"e\",{}] x", 1007, "something follows the value"),
        T(2, "{}", 1007, "a V2 text frame is an array"),
        T(2, "{\"topic\":\"t\",\"event\":\"e\",\"payload\":{},\"ref\":\"1\"}", 1007, "a V2 text frame is an array"),
        T(2, "[]", 1007, "a V2 text frame is an array"),
        T(2, "[null,null,\"t\",\"e\"]", 1007, "a V2 text frame is an array"),
        T(2, "[null,null,\"t\",\"e\",{},1]", 1007, "a V2 text frame is an array"),
        T(2, "3", 1007, "a V2 text frame is an array"),
        T(2, "[true,null,\"t\",\"e\",{}]", 1007, "join_ref must be"),
        T(2, "[null,{},\"t\",\"e\",{}]", 1007, "ref must be"),
        T(2, "[null,[],\"t\",\"e\",{}]", 1007, "ref must be"),
        T(2, "[null,\"0123456789012345678901234567890123456789012345678901234567890123\",\"t\",\"e\",{}]", 1007, "ref must be"),
        T(2, "[null,null,null,\"e\",{}]", 1007, "topic must be a string"),
        T(2, "[null,null,1,\"e\",{}]", 1007, "topic must be a string"),
        T(2, "[null,null,\"t\",2,{}]", 1007, "event must be a string"),
        T(1, "[null,null,\"t\",\"e\",{}]", 1007, "a V1 frame is an object"),
        T(1, "{\"event\":\"e\",\"payload\":{},\"ref\":null}", 1007, "topic must be a string"),
        T(1, "{\"topic\":\"t\"}", 1007, "event must be a string"),
        T(1, "{\"topic\":\"t\",\"event\":\"e\",\"ref\":false}", 1007, "ref must be"),
        X(1, "\0\0\0\1\1te", 1003, "vsn=2.0.0"),
        X(2, "", 1002, "ends before"),
        X(2, "\0", 1002, "ends before"),
        X(2, "\0\0\0\0", 1002, "ends before"),
        X(2, "\0\0\0\1\2te", 1002, "ends before"),
        X(2, "\0\xff\xff\xff\xffte", 1002, "ends before"),
        X(2, "\1\0\0\1\1te", 1003, "kind"),
        X(2, "\2\1\1te", 1003, "kind"),
        X(2, "\4\1\1\0\1te", 1003, "kind"),
        X(2, "\3\0\0\1\1te", 1002, "ends before"),
        X(2, "\3\0\0\1\1\3\0te", 1002, "ends before"),
        X(2, "\3\0\0\1\1\0\2te{}", 1007, "a broadcast's encoding must be 0, bytes, or 1, JSON"),
        X(2, "\3\0\0\1\1\0\1te{", 1007, "bad JSON at byte 1 of a broadcast's payload"),
        X(2, "\3\0\0\1\1\0\1te", 1007, "bad JSON at byte 0 of a broadcast's payload"),
        X(2, "\3\0\1\1\1\0\1\xffte{}", 1007, "a ref must be"),
        X(1, "\3\0\0\1\1\0\1te{}", 1003, "vsn=2.0.0"),
        X(2,
          "\0\0\0\1\1\xff"
          "e",
          1007, "topic and event must be UTF-8"),
        X(2, "\0\0\0\1\1t\xc0", 1007, "topic and event must be UTF-8"),
        X(2, "\0\0\1\1\1\xffte", 1007, "a ref must be"),
        X(2, "\0\0\1\1\1\nte", 1007, "a ref must be"),
#undef T
#undef X
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_phx_in in;
        struct fm_phx_bad bad = {0};
        assert_false(parse(cases[i].version, cases[i].binary, fm_slice_of(cases[i].bytes, cases[i].n), &in, &bad));
        assert_int_equal(bad.code, cases[i].code);
        if (!strstr(bad.reason, cases[i].says))
            fail_msg("case %zu: %s", i, bad.reason);
        assert_true(strlen(bad.reason) <= 123);
    }
}

static void a_frame_nested_too_deep_is_refused(void **state)
{
    (void)state;
    char text[2 * FM_JSON_DEPTH + 64];
    for (size_t depth = FM_JSON_DEPTH - 1; depth <= FM_JSON_DEPTH; depth++) {
        struct fm_buf b = {0};
        fm_buf_str(&b, "[null,null,\"t\",\"e\",");
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        fm_buf_put(&b, text, 2 * depth);
        fm_buf_u8(&b, ']');
        struct fm_phx_in in;
        struct fm_phx_bad bad;
        assert_int_equal(parse(FM_PHX_V2, false, fm_buf_view(&b), &in, &bad), depth < FM_JSON_DEPTH);
        fm_buf_fini(&b);
    }
}

static void names_longer_than_the_limit_become_names_that_nothing_has(void **state)
{
    (void)state;
    for (size_t n = FM_TOPIC_MAX; n <= FM_TOPIC_MAX + 1; n++) {
        struct fm_buf b = {0};
        fm_buf_str(&b, "[null,null,\"");
        for (size_t i = 0; i < n; i++)
            fm_buf_str(&b, "\\u0061");
        fm_buf_str(&b, "\",\"");
        for (size_t i = 0; i < n; i++)
            fm_buf_str(&b, "\\u0062");
        fm_buf_str(&b, "\",{}]");
        struct fm_phx_in in;
        struct fm_phx_bad bad;
        assert_true(parse(FM_PHX_V2, false, fm_buf_view(&b), &in, &bad));
        assert_int_equal(in.topic.n, n > FM_TOPIC_MAX ? 0 : n);
        assert_int_equal(in.event.n, n > FM_EVENT_MAX ? 0 : n);
        assert_int_equal(in.topic_token.n, 6 * n + 2);
        for (size_t i = 0; i < in.topic.n; i++)
            assert_true(in.topic.p[i] == 'a' && in.event.p[i] == 'b');
        fm_buf_fini(&b);
    }
}

static void refs_are_compared_by_what_they_say(void **state)
{
    (void)state;
    assert_true(fm_phx_ref_eq(FM_LIT("\"12\""), FM_LIT("\"12\"")));
    assert_true(fm_phx_ref_eq(FM_LIT("\"\\u0031\""), FM_LIT("\"1\"")));
    assert_true(fm_phx_ref_eq(FM_LIT("null"), FM_LIT("null")));
    assert_true(fm_phx_ref_eq(FM_LIT("3"), FM_LIT("3")));
    assert_false(fm_phx_ref_eq(FM_LIT("3"), FM_LIT("\"3\"")));
    assert_false(fm_phx_ref_eq(FM_LIT("\"1\""), FM_LIT("\"12\"")));
    assert_false(fm_phx_ref_eq(FM_LIT("\"null\""), FM_LIT("null")));
}

/* ---- writing ---- */

/* The payload of the frames' only frame, which must be short. */
static struct fm_slice only_frame(const struct fm_frames *f, unsigned opcode)
{
    assert_int_equal(f->n, 1);
    assert_true(f->bytes.n >= 2 && f->bytes.p[0] == (0x80 | opcode));
    size_t head = f->bytes.p[1] < 126 ? 2 : 4;
    return fm_slice_of(f->bytes.p + head, f->bytes.n - head);
}

static void assert_frame(struct fm_frames *f, unsigned opcode, struct fm_slice wanted)
{
    struct fm_slice got = only_frame(f, opcode);
    if (!fm_slice_eq(got, wanted))
        fail_msg("got %.*s, wanted %.*s", (int)got.n, (const char *)got.p, (int)wanted.n, (const char *)wanted.p);
    fm_frames_reset(f);
}

static void replies_and_events_have_the_shape_of_their_version(void **state)
{
    (void)state;
    struct fm_frames f = {0};
    struct fm_phx_to to = {FM_PHX_V2, FM_LIT("\"1\""), FM_LIT("\"2\""), FM_LIT("\"room:\\u0061\""), FM_LIT("room:a")};
    fm_phx_reply(&f, &to, true, FM_LIT("{}"));
    assert_frame(&f, FM_WS_TEXT, B("[\"1\",\"2\",\"room:\\u0061\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]"));
    to.topic_token = (struct fm_slice){0};
    fm_phx_reply(&f, &to, false, FM_LIT("{\"reason\":\"x\"}"));
    assert_frame(&f, FM_WS_TEXT, B("[\"1\",\"2\",\"room:a\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"x\"}}]"));
    fm_phx_event(&f, &to, FM_LIT("phx_close"), FM_LIT("{}"));
    assert_frame(&f, FM_WS_TEXT, B("[\"1\",\"2\",\"room:a\",\"phx_close\",{}]"));
    to.version = FM_PHX_V1;
    fm_phx_reply(&f, &to, true, FM_LIT("{}"));
    assert_frame(&f, FM_WS_TEXT,
                 B("{\"topic\":\"room:a\",\"event\":\"phx_reply\",\"ref\":\"2\",\"payload\":{\"status\":\"ok\",\"response\":{}}}"));
    fm_phx_event(&f, &to, FM_LIT("phx_close"), FM_LIT("{}"));
    assert_frame(&f, FM_WS_TEXT, B("{\"topic\":\"room:a\",\"event\":\"phx_close\",\"ref\":\"2\",\"payload\":{}}"));
    fm_frames_fini(&f);
}

static struct fm_msg *message(struct fm_slice payload, uint32_t flags)
{
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("e\""), (struct fm_msg_keys){0}, payload, flags);
    assert_non_null(m);
    fm_msg_accept(m, (struct fm_id){62, 5}, 0, 1);
    return m;
}

static void a_message_has_the_shape_of_each_format(void **state)
{
    (void)state;
    struct fm_frames f = {0};
    struct fm_msg *m = message(FM_LIT("{\"a\": 1}"), 0);
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("null"), FM_PHX_NO_ID, m);
    assert_ptr_equal(f.marks[0].msg, m);
    assert_frame(&f, FM_WS_TEXT, B("[null,null,\"t\",\"e\\\"\",{\"a\": 1}]"));
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("null"), FM_PHX_ID, m);
    assert_frame(&f, FM_WS_TEXT, B("[null,\"10-5\",\"t\",\"e\\\"\",{\"a\": 1}]"));
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("\"9\""), FM_PHX_ID, m);
    assert_frame(&f, FM_WS_TEXT, B("[\"9\",\"10-5\",\"t\",\"e\\\"\",{\"a\": 1}]"));
    fm_phx_message(&f, FM_PHX_V1, FM_LIT("\"9\""), FM_PHX_NO_ID, m);
    assert_frame(&f, FM_WS_TEXT, B("{\"topic\":\"t\",\"event\":\"e\\\"\",\"ref\":null,\"payload\":{\"a\": 1}}"));
    fm_phx_message(&f, FM_PHX_V1, FM_LIT("null"), FM_PHX_ID, m);
    assert_frame(&f, FM_WS_TEXT, B("{\"topic\":\"t\",\"event\":\"e\\\"\",\"ref\":\"10-5\",\"payload\":{\"a\": 1}}"));
    fm_msg_unref(&m);
    fm_frames_fini(&f);
}

static void a_binary_message_is_a_broadcast_a_push_or_base64(void **state)
{
    (void)state;
    struct fm_frames f = {0};
    struct fm_msg *m = message(B("\xff\0\x01\x02"), FM_MSG_BINARY);
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("null"), FM_PHX_NO_ID, m);
    assert_frame(&f, FM_WS_BINARY,
                 B("\2\1\2"
                   "te\"\xff\0\x01\x02"));
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("null"), FM_PHX_ID, m);
    assert_frame(&f, FM_WS_BINARY,
                 B("\2\1\2"
                   "te\"\xff\0\x01\x02"));
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("\"12\""), FM_PHX_ID, m);
    assert_frame(&f, FM_WS_BINARY,
                 B("\0\2\1\2"
                   "12te\"\xff\0\x01\x02"));
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("12"), FM_PHX_ID, m);
    assert_frame(&f, FM_WS_BINARY,
                 B("\0\2\1\2"
                   "12te\"\xff\0\x01\x02"));
    fm_phx_message(&f, FM_PHX_V1, FM_LIT("null"), FM_PHX_NO_ID, m);
    assert_frame(&f, FM_WS_TEXT, B("{\"topic\":\"t\",\"event\":\"e\\\"\",\"ref\":null,\"payload\":{\"base64\":\"/wABAg==\"}}"));
    fm_msg_unref(&m);
    m = message((struct fm_slice){0}, FM_MSG_BINARY);
    fm_phx_message(&f, FM_PHX_V1, FM_LIT("null"), FM_PHX_NO_ID, m);
    assert_frame(&f, FM_WS_TEXT, B("{\"topic\":\"t\",\"event\":\"e\\\"\",\"ref\":null,\"payload\":{\"base64\":\"\"}}"));
    fm_msg_unref(&m);
    fm_frames_fini(&f);
}

static void text_check(struct fm_slice binary, const char *text)
{
    struct fm_buf b = {0};
    fm_phx_text_of(&b, binary);
    assert_int_equal(b.n, strlen(text));
    assert_memory_equal(b.p, text, b.n);
    fm_buf_fini(&b);
}

static void a_binary_frame_becomes_text_for_transports_that_have_only_that(void **state)
{
    (void)state;
    text_check(B("\2\1\2"
                 "te\"\xff\0\x01\x02"),
               "[null,null,\"t\",\"e\\\"\",{\"base64\":\"/wABAg==\"}]");
    text_check(B("\0\2\1\1"
                 "12te\xff"),
               "[\"12\",null,\"t\",\"e\",{\"base64\":\"/w==\"}]");
}

static void a_key_is_told_by_its_digest_on_its_topic(void **state)
{
    (void)state;
    struct fm_frames f = {0};
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("e"), (struct fm_msg_keys){FM_LIT("order-7"), {0}}, FM_LIT("{}"), 0);
    fm_msg_accept(m, (struct fm_id){62, 5}, 0, 1);
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("null"), FM_PHX_ID, m);
    assert_frame(&f, FM_WS_TEXT, B("[null,\"10-5\",\"t\",\"e\",{}]"));
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("null"), FM_PHX_ID_KEY, m);
    assert_frame(&f, FM_WS_TEXT,
                 B("[null,\"10-5 88114b6a5824d296a760c8b2\",\"t\",\"e\",{}]")); /* the head of SHA-256 of topic, a zero byte, key */
    fm_msg_unref(&m);
    fm_frames_fini(&f);
}

static void an_id_and_a_digest_of_any_length_fit_into_a_ref(void **state)
{
    (void)state;
    struct fm_frames f = {0};
    char topic[FM_TOPIC_MAX], key[FM_KEY_MAX];
    memset(topic, 't', sizeof topic);
    memset(key, 'k', sizeof key);
    struct fm_msg *m =
        fm_msg_new(fm_slice_of(topic, sizeof topic), FM_LIT("e"), (struct fm_msg_keys){fm_slice_of(key, sizeof key), {0}}, FM_LIT("{}"), 0);
    fm_msg_accept(m, (struct fm_id){UINT64_MAX, UINT64_MAX}, 0, 1);
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("null"), FM_PHX_ID_KEY, m);
    struct fm_phx_in in;
    struct fm_phx_bad bad;
    assert_true(parse(FM_PHX_V2, false, only_frame(&f, FM_WS_TEXT), &in, &bad));
    assert_int_equal(in.ref.n, 2 + 11 + 1 + 20 + 1 + 24);
    fm_msg_unref(&m);
    fm_frames_fini(&f);
}

static void what_is_written_in_v2_is_read_back(void **state)
{
    (void)state;
    struct fm_frames f = {0};
    struct fm_msg *m = message(FM_LIT("[\"\\u20ac\"]"), 0);
    fm_phx_message(&f, FM_PHX_V2, FM_LIT("\"9\""), FM_PHX_ID, m);
    struct fm_phx_in in;
    struct fm_phx_bad bad;
    assert_true(parse(FM_PHX_V2, false, only_frame(&f, FM_WS_TEXT), &in, &bad));
    assert_slice(in.event, "e\"");
    assert_slice(in.ref, "\"10-5\"");
    assert_true(fm_slice_eq(in.payload, fm_msg_payload(m)));
    fm_msg_unref(&m);
    fm_frames_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_v2_text_frame_gives_its_five_fields),
        cmocka_unit_test(a_payload_is_any_value_but_never_null),
        cmocka_unit_test(a_v1_frame_is_read_in_any_order_and_the_last_member_wins),
        cmocka_unit_test(a_binary_push_gives_its_fields_and_the_rest_as_payload),
        cmocka_unit_test(a_broadcast_gives_its_fields_and_passes_its_metadata_over),
        cmocka_unit_test(names_of_a_broadcast_that_are_not_utf8_are_latin1),
        cmocka_unit_test(every_malformed_frame_is_refused_by_name),
        cmocka_unit_test(a_frame_nested_too_deep_is_refused),
        cmocka_unit_test(names_longer_than_the_limit_become_names_that_nothing_has),
        cmocka_unit_test(refs_are_compared_by_what_they_say),
        cmocka_unit_test(replies_and_events_have_the_shape_of_their_version),
        cmocka_unit_test(a_message_has_the_shape_of_each_format),
        cmocka_unit_test(a_binary_message_is_a_broadcast_a_push_or_base64),
        cmocka_unit_test(a_binary_frame_becomes_text_for_transports_that_have_only_that),
        cmocka_unit_test(a_key_is_told_by_its_digest_on_its_topic),
        cmocka_unit_test(an_id_and_a_digest_of_any_length_fit_into_a_ref),
        cmocka_unit_test(what_is_written_in_v2_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
