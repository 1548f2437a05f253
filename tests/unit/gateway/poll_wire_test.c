#include "../../../gateway/polling/poll_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void a_token_says_whose_session_it_is_in_characters_that_a_url_takes_as_they_are(void **state)
{
    (void)state;
    struct fm_poll_token t = {.node = 0xfedcba9876543210, .worker = 513, .id = UINT64_MAX, .seq = 7}, back;
    char text[FM_POLL_TOKEN_TEXT + 1];
    memset(t.tag, 0xfb, sizeof t.tag);
    fm_poll_token_print(&t, text);
    assert_int_equal(strlen(text), FM_POLL_TOKEN_TEXT);
    assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), FM_POLL_TOKEN_TEXT);
    assert_int_equal(fm_poll_token_read(fm_slice_str(text), &back), FM_OK);
    assert_true(back.node == t.node && back.worker == t.worker && back.id == t.id && back.seq == t.seq);
    assert_memory_equal(back.tag, t.tag, sizeof t.tag);
}

static void a_sealed_token_is_good_until_anything_of_it_or_the_key_is_another(void **state)
{
    (void)state;
    uint8_t key[FM_POLL_KEY_BYTES] = {1, 2, 3};
    struct fm_poll_token t = {.node = 1, .worker = 2, .id = 3, .seq = 4}, other;
    assert_true(fm_poll_token_seal(&t, key));
    assert_true(fm_poll_token_good(&t, key));
    for (unsigned i = 0; i < 4 + sizeof t.tag; i++) {
        other = t;
        other.node ^= i == 0;
        other.worker ^= i == 1;
        other.id ^= i == 2;
        other.seq ^= i == 3;
        if (i >= 4)
            other.tag[i - 4] ^= 0x80;
        assert_false(fm_poll_token_good(&other, key));
    }
    key[FM_POLL_KEY_BYTES - 1] = 1;
    assert_false(fm_poll_token_good(&t, key));
}

static void what_is_no_token_of_ours_is_refused(void **state)
{
    (void)state;
    struct fm_poll_token t = {.node = 1, .id = 2};
    char text[FM_POLL_TOKEN_TEXT + 2];
    fm_poll_token_print(&t, text);
    assert_int_equal(fm_poll_token_read(fm_slice_of(text, FM_POLL_TOKEN_TEXT - 1), &t), FM_E_SYNTAX);
    assert_int_equal(fm_poll_token_read(fm_slice_of("", 0), &t), FM_E_SYNTAX);
    text[0] = 'C'; /* another version */
    assert_int_equal(fm_poll_token_read(fm_slice_str(text), &t), FM_E_SYNTAX);
    fm_poll_token_print(&t, text);
    text[5] = '+'; /* the same bytes in another alphabet: a second text for one token */
    assert_int_equal(fm_poll_token_read(fm_slice_str(text), &t), FM_E_SYNTAX);
    text[5] = '!';
    assert_int_equal(fm_poll_token_read(fm_slice_str(text), &t), FM_E_SYNTAX);
}

static enum fm_err body(const char *text, bool lines, struct fm_buf *out)
{
    const char *why;
    *out = (struct fm_buf){0};
    return fm_poll_body(fm_slice_str(text), lines, out, &why);
}

static void expect(struct fm_slice *rest, bool binary, const char *bytes)
{
    bool is_binary;
    struct fm_slice got;
    assert_true(fm_poll_frame_next(rest, &is_binary, &got));
    assert_int_equal(is_binary, binary);
    assert_int_equal(got.n, strlen(bytes));
    assert_memory_equal(got.p, bytes, got.n);
}

static void lines_are_text_frames_or_binary_ones_in_base64(void **state)
{
    (void)state;
    struct fm_buf out;
    assert_int_equal(body("[1]\r\n\naGk=\n{\"a\":1}\n", true, &out), FM_OK);
    struct fm_slice rest = fm_buf_view(&out);
    expect(&rest, false, "[1]");
    expect(&rest, true, "hi");
    expect(&rest, false, "{\"a\":1}");
    assert_int_equal(rest.n, 0);
    fm_buf_fini(&out);
    assert_int_equal(body("[1]\nnot base64!", true, &out), FM_E_SYNTAX);
    fm_buf_fini(&out);
    assert_int_equal(body("[1,\n2]", false, &out), FM_OK);
    rest = fm_buf_view(&out);
    expect(&rest, false, "[1,\n2]");
    fm_buf_fini(&out);
}

static void more_than_a_hundred_messages_in_one_request_are_too_many(void **state)
{
    (void)state;
    struct fm_buf text = {0}, out;
    for (unsigned i = 0; i < FM_POLL_LINES_MAX; i++)
        fm_buf_str(&text, "[]\n");
    fm_buf_u8(&text, 0);
    assert_int_equal(body((const char *)text.p, true, &out), FM_OK);
    fm_buf_fini(&out);
    text.n--;
    fm_buf_put(&text, "[]", 3);
    assert_int_equal(body((const char *)text.p, true, &out), FM_E_TOO_MANY);
    fm_buf_fini(&out);
    fm_buf_fini(&text);
}

static void notes_come_back_as_they_were_written_and_never_cut_short(void **state)
{
    (void)state;
    struct fm_buf frames = {0}, b = {0};
    fm_poll_frame_put(&frames, false, FM_LIT("[1]"));
    fm_poll_frame_put(&frames, true, FM_LIT(""));
    struct fm_poll_note back,
        push = {.kind = FM_POLL_PUSH, .ref = 9, .from = 3, .token = {.id = 4, .seq = 5}, .frames = fm_buf_view(&frames)};
    fm_poll_note_write(&b, &push);
    assert_int_equal(fm_poll_note_read(fm_buf_view(&b), &back), FM_OK);
    assert_true(back.kind == FM_POLL_PUSH && back.ref == 9 && back.from == 3 && back.token.id == 4 && back.token.seq == 5);
    assert_true(fm_slice_eq(back.frames, push.frames));
    /* Behind the head a note without frames, or with the first alone, is one, too. */
    size_t head = b.n - frames.n, one = head + 5;
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(fm_poll_note_read(fm_slice_of(b.p, n), &back) == FM_OK, n == head || n == one);
    b.n = 0;
    fm_poll_note_write(&b, &(struct fm_poll_note){.kind = FM_POLL_ANSWER, .ref = 1, .status = 410, .seq = 77});
    assert_int_equal(fm_poll_note_read(fm_buf_view(&b), &back), FM_OK);
    assert_true(back.kind == FM_POLL_ANSWER && back.status == 410 && back.seq == 77 && back.frames.n == 0);
    uint8_t key[FM_POLL_KEY_BYTES] = {7};
    b.n = 0;
    fm_poll_note_write(&b, &(struct fm_poll_note){.kind = FM_POLL_KEY_ASK, .ref = 2, .from = 6});
    assert_int_equal(fm_poll_note_read(fm_buf_view(&b), &back), FM_OK);
    assert_true(back.kind == FM_POLL_KEY_ASK && back.ref == 2 && back.from == 6);
    b.n = 0;
    fm_poll_note_write(&b, &(struct fm_poll_note){.kind = FM_POLL_KEY, .ref = 2, .key = fm_slice_of(key, sizeof key)});
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(fm_poll_note_read(fm_slice_of(b.p, n), &back), FM_E_SYNTAX);
    assert_int_equal(fm_poll_note_read(fm_buf_view(&b), &back), FM_OK);
    assert_true(back.kind == FM_POLL_KEY && fm_slice_eq(back.key, fm_slice_of(key, sizeof key)));
    fm_poll_frame_put(&b, false, FM_LIT("[1]")); /* messages are of those alone that bring some */
    assert_int_equal(fm_poll_note_read(fm_buf_view(&b), &back), FM_E_SYNTAX);
    fm_buf_fini(&frames);
    fm_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_whose_session_it_is_in_characters_that_a_url_takes_as_they_are),
        cmocka_unit_test(a_sealed_token_is_good_until_anything_of_it_or_the_key_is_another),
        cmocka_unit_test(what_is_no_token_of_ours_is_refused),
        cmocka_unit_test(lines_are_text_frames_or_binary_ones_in_base64),
        cmocka_unit_test(more_than_a_hundred_messages_in_one_request_are_too_many),
        cmocka_unit_test(notes_come_back_as_they_were_written_and_never_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
