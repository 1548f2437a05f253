#include "../../../gateway/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>

static struct fm_frames *frames(unsigned seed, uint32_t n, size_t payload)
{
    struct fm_frames *f = fm_frames_new();
    assert_non_null(f);
    uint8_t bytes[256];
    assert_true(payload <= sizeof bytes);
    for (uint32_t i = 0; i < n; i++) {
        memset(bytes, (int)(seed + i), payload);
        fm_frames_add(f, FM_WS_BINARY, fm_slice_of(bytes, payload), NULL);
    }
    return f;
}

static void what_is_pushed_comes_out_in_order_and_whole(void **state)
{
    (void)state;
    struct fm_outbox o = {0};
    struct fm_buf in = {0}, out = {0};
    uint8_t scratch[200];
    for (unsigned k = 0; k < 50; k++) {
        struct fm_frames *f = frames(k, 1 + k % 7, k * 5 % 120);
        uint32_t first = k % 3 == 1 ? 1 : 0;
        if (first > f->n)
            first = f->n;
        assert_int_equal(fm_outbox_push(&o, f, first, f->n), FM_OK);
        fm_buf_slice(&in, fm_piece_bytes(f, first, f->n));
        fm_frames_unref(&f); /* the outbox has a reference of its own */
        if (k % 4 != 3)
            continue;
        struct fm_slice s = fm_outbox_peek(&o, scratch, sizeof scratch);
        fm_buf_slice(&out, s);
        fm_outbox_drop(&o, s.n);
    }
    while (!fm_outbox_empty(&o)) {
        struct fm_slice s = fm_outbox_peek(&o, scratch, sizeof scratch);
        assert_true(s.n > 0);
        fm_buf_slice(&out, s);
        fm_outbox_drop(&o, s.n);
    }
    assert_int_equal(o.bytes, 0);
    assert_int_equal(out.n, in.n);
    assert_memory_equal(out.p, in.p, in.n);
    free(o.at);
    fm_buf_fini(&in);
    fm_buf_fini(&out);
}

static void a_write_never_ends_inside_a_frame_and_fills_up_over_pieces(void **state)
{
    (void)state;
    struct fm_outbox o = {0};
    uint8_t scratch[64];
    struct fm_frames *f = frames(1, 5, 10); /* 12 bytes each */
    for (int i = 0; i < 3; i++)
        assert_int_equal(fm_outbox_push(&o, f, 0, 5), FM_OK);
    assert_int_equal(o.bytes, 180);
    size_t sizes[4];
    for (int i = 0; i < 4; i++) {
        struct fm_slice s = fm_outbox_peek(&o, scratch, sizeof scratch);
        sizes[i] = s.n;
        assert_int_equal(s.n % 12, 0);
        fm_outbox_drop(&o, s.n);
    }
    /* 60 bytes are the most whole frames in 64; a piece's last frames are joined by the next one's first. */
    assert_int_equal(sizes[0], 60);
    assert_int_equal(sizes[1], 60);
    assert_int_equal(sizes[2], 60);
    assert_int_equal(sizes[3], 0);
    fm_frames_unref(&f);
    free(o.at);
}

static void a_frame_larger_than_a_write_comes_alone_and_in_place(void **state)
{
    (void)state;
    struct fm_outbox o = {0};
    uint8_t scratch[64];
    struct fm_frames *small = frames(1, 1, 10), *large = frames(2, 1, 200);
    assert_int_equal(fm_outbox_push(&o, small, 0, 1), FM_OK);
    assert_int_equal(fm_outbox_push(&o, large, 0, 1), FM_OK);
    assert_int_equal(fm_outbox_push(&o, small, 0, 1), FM_OK);
    struct fm_slice s = fm_outbox_peek(&o, scratch, sizeof scratch);
    assert_int_equal(s.n, 12);
    fm_outbox_drop(&o, s.n);
    s = fm_outbox_peek(&o, scratch, sizeof scratch);
    assert_int_equal(s.n, 204);
    assert_ptr_equal(s.p, large->bytes.p);
    fm_outbox_drop(&o, s.n);
    s = fm_outbox_peek(&o, scratch, sizeof scratch);
    assert_int_equal(s.n, 12);
    fm_outbox_clear(&o);
    assert_int_equal(small->refs, 1);
    assert_int_equal(large->refs, 1);
    fm_frames_unref(&small);
    fm_frames_unref(&large);
    free(o.at);
}

static void outboxes_are_handed_round_without_what_they_held(void **state)
{
    (void)state;
    struct fm_outbox *spare = NULL, *a = fm_outbox_get(&spare), *first = a;
    struct fm_frames *f = frames(1, 3, 5);
    assert_int_equal(fm_outbox_push(a, f, 0, 3), FM_OK);
    assert_int_equal(f->refs, 2);
    fm_outbox_put(&spare, &a);
    assert_null(a);
    assert_int_equal(f->refs, 1);
    a = fm_outbox_get(&spare);
    assert_ptr_equal(a, first);
    assert_true(fm_outbox_empty(a) && a->bytes == 0);
    fm_outbox_put(&spare, &a);
    fm_outbox_free_all(&spare);
    assert_null(spare);
    fm_frames_unref(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_pushed_comes_out_in_order_and_whole),
        cmocka_unit_test(a_write_never_ends_inside_a_frame_and_fills_up_over_pieces),
        cmocka_unit_test(a_frame_larger_than_a_write_comes_alone_and_in_place),
        cmocka_unit_test(outboxes_are_handed_round_without_what_they_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
