#include "../../../gateway/worker/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* ---- the vocabulary of the tests ---- */

static struct fm_frames *frames(unsigned n, size_t payload_n)
{
    static const uint8_t payload[200];
    struct fm_frames *f = fm_frames_new();
    assert_non_null(f);
    assert_true(payload_n <= sizeof payload && payload_n < 126);
    for (unsigned i = 0; i < n; i++)
        fm_frames_add(f, FM_WS_BINARY, fm_slice_of(payload, payload_n), NULL);
    return f;
}

static void push(struct fm_outbox *o, unsigned n, size_t payload_n)
{
    struct fm_frames *f = frames(n, payload_n);
    assert_int_equal(fm_outbox_push(o, f, 0, f->n), FM_OK);
    fm_frames_unref(&f);
}

struct counting { /* a source of frames whose payload is one byte, counting up from `next` to `end` */
    struct fm_source source;
    uint8_t next, end;
    bool says_late; /* finds out that there is no more only when it is asked again */
    unsigned *freed;
};

static bool counting_more(struct fm_source *source, struct fm_frames *f, size_t bytes)
{
    struct counting *c = (struct counting *)source;
    while (c->next < c->end && f->bytes.n < bytes) {
        fm_frames_add(f, FM_WS_BINARY, fm_slice_of(&c->next, 1), NULL);
        c->next++;
    }
    return c->next < c->end || (c->says_late && f->n > 0);
}

static void counting_free(struct fm_source *source)
{
    struct counting *c = (struct counting *)source;
    (*c->freed)++;
    free(c);
}

static struct fm_source *counting(uint8_t next, uint8_t end, bool says_late, unsigned *freed)
{
    struct counting *c = malloc(sizeof *c);
    assert_non_null(c);
    *c = (struct counting){{.cost = 100, .more = counting_more, .free = counting_free}, next, end, says_late, freed};
    return &c->source;
}

static void push_one(struct fm_outbox *o, uint8_t byte)
{
    struct fm_frames *f = fm_frames_new();
    assert_non_null(f);
    fm_frames_add(f, FM_WS_BINARY, fm_slice_of(&byte, 1), NULL);
    assert_int_equal(fm_outbox_push(o, f, 0, 1), FM_OK);
    fm_frames_unref(&f);
}

/* Takes everything out in writes of at most max bytes; the frames must carry 0, 1, 2... Returns how many writes. */
static unsigned drain_counting(struct fm_outbox *o, size_t fill, size_t max)
{
    uint8_t scratch[256], next = 0;
    unsigned writes = 0;
    for (;;) {
        assert_int_equal(fm_outbox_fill(o, fill), FM_OK);
        struct fm_slice s = fm_outbox_peek(o, scratch, max);
        if (s.n == 0)
            break;
        assert_true(s.n <= max && s.n % 3 == 0);
        for (size_t i = 0; i < s.n; i += 3)
            assert_int_equal(s.p[i + 2], next++);
        fm_outbox_drop(o, s.n);
        writes++;
    }
    assert_true(fm_outbox_empty(o));
    assert_int_equal(o->bytes, 0);
    return writes;
}

static void outbox_fini(struct fm_outbox *o)
{
    fm_outbox_clear(o);
    free(o->at);
}

/* ---- the tests ---- */

static void only_whole_frames_are_given_out_and_at_most_one_write_of_them(void **state)
{
    (void)state;
    struct fm_outbox o = {0};
    uint8_t scratch[100];
    push(&o, 5, 28); /* 30 bytes each */
    assert_int_equal(o.bytes, 150);
    struct fm_slice s = fm_outbox_peek(&o, scratch, 100);
    assert_int_equal(s.n, 90);
    fm_outbox_drop(&o, s.n);
    assert_int_equal(fm_outbox_peek(&o, scratch, 100).n, 60);
    assert_int_equal(fm_outbox_peek(&o, scratch, 10).n, 30); /* one that alone is larger is given all the same */
    fm_outbox_drop(&o, 60);
    assert_true(fm_outbox_empty(&o));
    outbox_fini(&o);
}

static void pieces_of_several_frames_leave_together_in_order(void **state)
{
    (void)state;
    struct fm_outbox o = {0};
    for (uint8_t i = 0; i < 20; i++)
        push_one(&o, i);
    assert_int_equal(drain_counting(&o, 60, 30), 2);
    outbox_fini(&o);
}

static void a_source_gives_its_frames_in_its_turn(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct fm_outbox o = {0};
        unsigned freed = 0;
        push_one(&o, 0);
        assert_int_equal(fm_outbox_push_source(&o, counting(1, 11, late, &freed)), FM_OK);
        push_one(&o, 11);
        assert_int_equal(fm_outbox_push_source(&o, counting(12, 12, late, &freed)), FM_OK); /* has nothing */
        assert_int_equal(fm_outbox_push_source(&o, counting(12, 15, late, &freed)), FM_OK);
        push_one(&o, 15);
        assert_int_equal(o.bytes, 9 + 300);
        drain_counting(&o, 9, 12);
        assert_int_equal(freed, 3);
        outbox_fini(&o);
    }
}

static void a_source_is_asked_only_for_what_is_to_be_written_next(void **state)
{
    (void)state;
    struct fm_outbox o = {0};
    unsigned freed = 0;
    uint8_t scratch[64];
    struct fm_source *source = counting(0, 200, false, &freed);
    assert_int_equal(fm_outbox_push_source(&o, source), FM_OK);
    for (unsigned i = 1; i <= 5; i++) {
        assert_int_equal(fm_outbox_fill(&o, 12), FM_OK);
        assert_int_equal(fm_outbox_fill(&o, 12), FM_OK); /* is full already */
        assert_int_equal(((struct counting *)source)->next, 4 * i);
        assert_int_equal(o.bytes, 100 + 12);
        fm_outbox_drop(&o, fm_outbox_peek(&o, scratch, sizeof scratch).n);
        assert_int_equal(o.bytes, 100);
    }
    outbox_fini(&o);
    assert_int_equal(freed, 1);
}

static bool fails(struct fm_source *source, struct fm_frames *f, size_t bytes)
{
    (void)source, (void)bytes;
    f->bytes.failed = true;
    return true;
}

static void a_source_without_memory_is_an_error_and_is_freed_with_the_outbox(void **state)
{
    (void)state;
    struct fm_outbox o = {0};
    unsigned freed = 0;
    struct fm_source *source = counting(0, 3, false, &freed);
    source->more = fails;
    assert_int_equal(fm_outbox_push_source(&o, source), FM_OK);
    assert_int_equal(fm_outbox_fill(&o, 100), FM_E_NOMEM);
    outbox_fini(&o);
    assert_int_equal(freed, 1);
}

static void runs_of_any_part_come_out_whole_and_in_order_while_others_are_pushed(void **state)
{
    (void)state;
    struct fm_outbox o = {0};
    struct fm_buf in = {0}, out = {0};
    uint8_t scratch[200], byte = 0;
    for (unsigned k = 0; k < 50 || !fm_outbox_empty(&o); k++) {
        struct fm_frames *f = fm_frames_new();
        for (unsigned i = 0; k < 50 && i < 1 + k % 7; i++) {
            uint8_t payload[120];
            memset(payload, byte++, sizeof payload);
            fm_frames_add(f, FM_WS_BINARY, fm_slice_of(payload, k * 5 % 120), NULL);
        }
        uint32_t first = f->n > 2 ? k % 3 : 0;
        assert_int_equal(fm_outbox_push(&o, f, first, f->n), FM_OK);
        fm_buf_slice(&in, fm_piece_bytes(f, first, f->n));
        fm_frames_unref(&f); /* the outbox has a reference of its own */
        if (k < 50 && k % 4 != 3)
            continue;
        struct fm_slice s = fm_outbox_peek(&o, scratch, sizeof scratch);
        fm_buf_slice(&out, s);
        fm_outbox_drop(&o, s.n);
    }
    assert_int_equal(o.bytes, 0);
    assert_int_equal(out.n, in.n);
    assert_memory_equal(out.p, in.p, in.n);
    outbox_fini(&o);
    fm_buf_fini(&in);
    fm_buf_fini(&out);
}

static void a_spare_outbox_is_empty_and_used_again(void **state)
{
    (void)state;
    struct fm_outbox *spare = NULL, *o = fm_outbox_get(&spare), *was = o;
    unsigned freed = 0;
    assert_non_null(o);
    push(o, 3, 10);
    assert_int_equal(fm_outbox_push_source(o, counting(0, 3, false, &freed)), FM_OK);
    fm_outbox_put(&spare, &o);
    assert_null(o);
    assert_int_equal(freed, 1);
    o = fm_outbox_get(&spare);
    assert_ptr_equal(o, was);
    assert_true(fm_outbox_empty(o));
    assert_int_equal(o->bytes, 0);
    fm_outbox_put(&spare, &o);
    fm_outbox_free_all(&spare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_whole_frames_are_given_out_and_at_most_one_write_of_them),
        cmocka_unit_test(pieces_of_several_frames_leave_together_in_order),
        cmocka_unit_test(a_source_gives_its_frames_in_its_turn),
        cmocka_unit_test(a_source_is_asked_only_for_what_is_to_be_written_next),
        cmocka_unit_test(a_source_without_memory_is_an_error_and_is_freed_with_the_outbox),
        cmocka_unit_test(runs_of_any_part_come_out_whole_and_in_order_while_others_are_pushed),
        cmocka_unit_test(a_spare_outbox_is_empty_and_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
