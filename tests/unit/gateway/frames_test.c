#include "../../../gateway/worker/proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* Reads one frame as a client would; returns its payload and moves *at behind it. */
static struct fm_slice frame_read(const struct fm_frames *f, size_t *at, unsigned *opcode)
{
    struct fm_rd r = fm_rd_of(fm_slice_of(f->bytes.p + *at, f->bytes.n - *at));
    uint8_t first = fm_rd_u8(&r), len = fm_rd_u8(&r);
    assert_true(first & 0x80);
    assert_false(len & 0x80);
    *opcode = first & 0xf;
    uint64_t n = len;
    unsigned more = len == 126 ? 2 : len == 127 ? 8 : 0;
    if (more)
        n = 0;
    for (unsigned i = 0; i < more; i++)
        n = n << 8 | fm_rd_u8(&r);
    struct fm_slice payload = fm_rd_bytes(&r, (size_t)n);
    assert_false(r.bad);
    *at = (size_t)(r.p - f->bytes.p);
    return payload;
}

static void every_length_around_a_header_size_is_read_back(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 65537, 200000};
    enum { N = sizeof sizes / sizeof sizes[0] };
    uint8_t *bytes = malloc(200000);
    assert_non_null(bytes);
    for (size_t i = 0; i < 200000; i++)
        bytes[i] = (uint8_t)(i * 31);
    struct fm_frames f = {0};
    for (size_t i = 0; i < N; i++)
        fm_frames_add(&f, i % 2 ? FM_WS_BINARY : FM_WS_TEXT, fm_slice_of(bytes, sizes[i]), NULL);
    assert_false(f.bytes.failed);
    assert_int_equal(f.n, N);
    size_t at = 0;
    for (size_t i = 0; i < N; i++) {
        unsigned opcode;
        struct fm_slice back = frame_read(&f, &at, &opcode);
        assert_int_equal(opcode, i % 2 ? FM_WS_BINARY : FM_WS_TEXT);
        assert_int_equal(at, f.marks[i].end);
        assert_true(fm_slice_eq(back, fm_slice_of(bytes, sizes[i])));
    }
    assert_int_equal(at, f.bytes.n);
    fm_frames_fini(&f);
    free(bytes);
}

static void a_payload_written_in_pieces_is_one_frame(void **state)
{
    (void)state;
    struct fm_frames f = {0};
    size_t opened = fm_frames_open(&f);
    fm_buf_str(&f.bytes, "[1,");
    fm_buf_str(&f.bytes, "2]");
    fm_frames_close(&f, opened, FM_WS_TEXT, NULL);
    size_t at = 0;
    unsigned opcode = 0;
    assert_true(fm_slice_eq(frame_read(&f, &at, &opcode), FM_LIT("[1,2]")));
    assert_int_equal(f.bytes.n, 7);
    fm_frames_fini(&f);
}

static void frames_keep_the_messages_they_carry(void **state)
{
    (void)state;
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("e"), (struct fm_msg_keys){0}, FM_LIT("1"), 0);
    struct fm_frames *f = fm_frames_new();
    assert_non_null(m);
    assert_non_null(f);
    fm_frames_add(f, FM_WS_TEXT, FM_LIT("1"), m);
    assert_int_equal(atomic_load(&m->refs), 2);
    struct fm_frames *second = fm_frames_ref(f);
    fm_frames_unref(&f);
    assert_null(f);
    assert_int_equal(atomic_load(&m->refs), 2);
    fm_frames_unref(&second);
    assert_int_equal(atomic_load(&m->refs), 1);
    fm_msg_unref(&m);
}

static void a_frame_that_found_no_memory_leaves_whole_frames_behind(void **state)
{
    (void)state;
    struct fm_frames f = {0};
    fm_frames_add(&f, FM_WS_TEXT, FM_LIT("kept"), NULL);
    size_t n = f.bytes.n;
    size_t opened = fm_frames_open(&f);
    fm_buf_str(&f.bytes, "half");
    f.bytes.failed = true; /* what a failed realloc sets */
    fm_frames_close(&f, opened, FM_WS_TEXT, NULL);
    fm_frames_add(&f, FM_WS_TEXT, FM_LIT("never"), NULL);
    assert_true(f.bytes.failed);
    assert_int_equal(f.n, 1);
    assert_int_equal(f.bytes.n, n);
    fm_frames_fini(&f);
}

static void reset_frames_can_be_used_again(void **state)
{
    (void)state;
    struct fm_frames f = {0};
    fm_frames_add(&f, FM_WS_TEXT, FM_LIT("one"), NULL);
    fm_frames_reset(&f);
    assert_int_equal(f.n, 0);
    fm_frames_add(&f, FM_WS_TEXT, FM_LIT("two"), NULL);
    size_t at = 0;
    unsigned opcode = 0;
    assert_true(fm_slice_eq(frame_read(&f, &at, &opcode), FM_LIT("two")));
    fm_frames_fini(&f);
}

static void frames_are_taken_apart_again_whatever_their_length(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 125, 126, UINT16_MAX, UINT16_MAX + 1};
    struct fm_frames f = {0};
    struct fm_buf payload = {0};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        while (payload.n < lengths[i])
            fm_buf_u8(&payload, (uint8_t)payload.n);
        fm_frames_add(&f, i % 2 ? FM_WS_BINARY : FM_WS_TEXT, fm_buf_view(&payload), NULL);
    }
    struct fm_slice rest = fm_buf_view(&f.bytes), got = {0};
    unsigned opcode = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_true(fm_frames_next(&rest, &opcode, &got));
        assert_int_equal(opcode, i % 2 ? FM_WS_BINARY : FM_WS_TEXT);
        assert_true(fm_slice_eq(got, fm_slice_of(payload.p, lengths[i])));
    }
    assert_false(fm_frames_next(&rest, &opcode, &got));
    fm_frames_fini(&f);
    fm_buf_fini(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_around_a_header_size_is_read_back),
        cmocka_unit_test(a_payload_written_in_pieces_is_one_frame),
        cmocka_unit_test(frames_keep_the_messages_they_carry),
        cmocka_unit_test(a_frame_that_found_no_memory_leaves_whole_frames_behind),
        cmocka_unit_test(reset_frames_can_be_used_again),
        cmocka_unit_test(frames_are_taken_apart_again_whatever_their_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
