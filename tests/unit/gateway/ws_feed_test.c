/* What clients send over WebSocket: read the same however it is cut, and refused where it breaks RFC 6455. */
#include "../../../gateway/http/ws_feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

/* ---- vocabulary ---- */

/* A client's frame; extended: how its length is written, in bytes, or -1 for the right way. */
static void put_as(struct fm_buf *b, unsigned first, int extended, const void *payload, size_t n)
{
    static const uint8_t mask[4] = {0x11, 0x82, 0x43, 0xf4};
    if (extended < 0)
        extended = n < 126 ? 0 : n <= UINT16_MAX ? 2 : 8;
    fm_buf_u8(b, (uint8_t)first);
    fm_buf_u8(b, (uint8_t)(0x80 | (extended == 0 ? n : extended == 2 ? 126 : 127)));
    for (int i = extended - 1; i >= 0; i--)
        fm_buf_u8(b, (uint8_t)((uint64_t)n >> (8 * i)));
    fm_buf_put(b, mask, 4);
    for (size_t i = 0; i < n; i++)
        fm_buf_u8(b, ((const uint8_t *)payload)[i] ^ mask[i & 3]);
}

static void put(struct fm_buf *b, unsigned first, const char *payload)
{
    put_as(b, first, -1, payload, strlen(payload));
}

/* What is read from the bytes, given `step` at a time, as text: `1"hello". ` a whole text message, `9"x" ` a ping, `! ` refused. */
static void read_in_steps(struct fm_slice in, size_t step, bool packed, struct fm_buf *out)
{
    struct fm_ws_feed feed = {.packed = packed};
    struct fm_ws_part part;
    uint8_t *copy = malloc(in.n + 1);
    bool open = false;
    memcpy(copy, in.p, in.n);
    for (size_t at = 0; at < in.n;) {
        uint8_t *p = copy + at;
        size_t n = step < in.n - at ? step : in.n - at;
        at += n;
        enum fm_ws_fed fed;
        while ((fed = fm_ws_feed(&feed, &p, &n, &part)) != FM_WS_FED_MORE) {
            if (fed == FM_WS_FED_BAD) {
                assert_non_null(part.reason);
                fm_buf_str(out, "!");
                at = in.n;
                break;
            }
            if (fed == FM_WS_FED_CONTROL) {
                fm_buf_printf(out, "(%d %.*s)", part.kind, (int)part.n, (const char *)part.bytes);
                continue;
            }
            if (!open)
                fm_buf_printf(out, "%d%s:", part.kind, part.packed ? "z" : "");
            assert_false(open && part.packed);
            fm_buf_put(out, part.bytes, part.n);
            open = !(part.last && part.to_come == 0);
            if (!open)
                fm_buf_str(out, ".");
        }
    }
    free(copy);
    fm_buf_u8(out, 0);
}

static void assert_read(struct fm_buf *in, bool packed, const char *want)
{
    for (size_t step = 1; step <= in->n + 1; step += step < 40 ? 1 : in->n / 7 + 1) {
        struct fm_buf out = {0};
        read_in_steps(fm_buf_view(in), step, packed, &out);
        assert_string_equal(out.p, want);
        fm_buf_fini(&out);
    }
    fm_buf_fini(in);
}

static void assert_refused(unsigned first, int extended, size_t n, bool packed)
{
    static const uint8_t payload[70000];
    struct fm_buf in = {0};
    put_as(&in, first, extended, payload, n);
    assert_read(&in, packed, "!");
}

/* ---- tests ---- */

static void messages_and_control_frames_are_read_however_they_are_cut(void **state)
{
    (void)state;
    struct fm_buf in = {0};
    put(&in, 0x81, "hello");
    put(&in, 0x82, "");
    put(&in, 0x01, "he");
    put(&in, 0x89, "ping");
    put(&in, 0x00, "");
    put(&in, 0x8a, "");
    put(&in, 0x80, "llo");
    put(&in, 0x81, "again");
    put(&in, 0x88, "bye");
    assert_read(&in, false, "1:hello.2:.1:he(9 ping)(10 )llo.1:again.(8 bye)");
}

static void lengths_of_every_form_are_read(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct fm_buf in = {0}, want = {0};
        char *text = malloc(sizes[i] + 1);
        memset(text, 'x', sizes[i]);
        text[sizes[i]] = 0;
        put(&in, 0x81, text);
        fm_buf_printf(&want, "1:%s.", text);
        fm_buf_u8(&want, 0);
        assert_read(&in, false, (const char *)want.p);
        fm_buf_fini(&want);
        free(text);
    }
}

static void a_compressed_message_says_so_at_its_beginning_alone(void **state)
{
    (void)state;
    struct fm_buf in = {0};
    put(&in, 0x41, "a");
    put(&in, 0x00, "b");
    put(&in, 0x80, "c");
    put(&in, 0x81, "plain");
    assert_read(&in, true, "1z:abc.1:plain.");
}

static void what_breaks_the_rfc_is_refused(void **state)
{
    (void)state;
    static const unsigned opcodes[] = {3, 4, 5, 6, 7, 11, 12, 13, 14, 15};
    for (size_t i = 0; i < sizeof opcodes / sizeof opcodes[0]; i++)
        assert_refused(0x80 | opcodes[i], -1, 1, true);
    assert_refused(0x80, -1, 1, false);  /* a continuation of nothing */
    assert_refused(0xc1, -1, 1, false);  /* RSV1 that was not agreed */
    assert_refused(0xa1, -1, 1, true);   /* RSV2 */
    assert_refused(0x91, -1, 1, true);   /* RSV3 */
    assert_refused(0xc9, -1, 1, true);   /* a compressed ping */
    assert_refused(0x09, -1, 1, true);   /* a ping in fragments */
    assert_refused(0x89, -1, 126, true); /* a long one */
    assert_refused(0x81, 2, 125, true);  /* lengths that are longer than need be */
    assert_refused(0x81, 8, 65535, true);
    struct fm_buf in = {0};
    put(&in, 0x01, "a");
    put(&in, 0x41, "b");
    assert_read(&in, true, "1:a!");
    fm_buf_put(&in, "\x81\x01x", 3); /* not masked */
    assert_read(&in, true, "!");
    put(&in, 0x41, "a");
    put(&in, 0xc0, "b"); /* RSV1 inside a message */
    assert_read(&in, true, "1z:a!");
    fm_buf_put(&in, "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01mask", 14); /* a length of 2^63 */
    assert_read(&in, true, "!");
}

static void codes_of_closes_are_judged_as_the_registry_has_them(void **state)
{
    (void)state;
    static const unsigned good[] = {1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999};
    static const unsigned bad[] = {0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(fm_ws_close_code_ok(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(fm_ws_close_code_ok(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_and_control_frames_are_read_however_they_are_cut), cmocka_unit_test(lengths_of_every_form_are_read),
        cmocka_unit_test(a_compressed_message_says_so_at_its_beginning_alone),       cmocka_unit_test(what_breaks_the_rfc_is_refused),
        cmocka_unit_test(codes_of_closes_are_judged_as_the_registry_has_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
