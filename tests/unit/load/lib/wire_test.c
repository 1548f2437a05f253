#include "../../../../load/lib/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void a_broadcast_is_split_into_its_five_elements(void **state)
{
    (void)state;
    struct fm_wire w;
    const char text[] = "[null,\"9ab-12\",\"room:\\\"1\",\"msg\",{\"k\":[1,\"]\"]}]";
    assert_int_equal(fm_wire_read(fm_slice_str(text), &w), FM_OK);
    assert_int_equal(w.join_ref.n, 0);
    assert_true(fm_slice_eq(w.ref, FM_LIT("9ab-12")));
    assert_true(fm_slice_eq(w.topic, FM_LIT("room:\\\"1")));
    assert_true(fm_slice_eq(w.event, FM_LIT("msg")));
    assert_true(fm_slice_eq(w.payload, FM_LIT("{\"k\":[1,\"]\"]}")));
}

static void what_is_no_frame_is_refused_at_every_cut(void **state)
{
    (void)state;
    struct fm_wire w;
    const char text[] = "[\"1\",null,\"t\",\"e\",{}]";
    assert_int_equal(fm_wire_read(fm_slice_str(text), &w), FM_OK);
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_int_equal(fm_wire_read(fm_slice_of(text, n), &w), FM_E_SYNTAX);
    assert_int_equal(fm_wire_read(FM_LIT("[1,null,\"t\",\"e\",{}]"), &w), FM_E_SYNTAX);
}

static void a_member_is_found_at_the_top_level_only(void **state)
{
    (void)state;
    struct fm_slice o = FM_LIT("{ \"a\" : {\"id\":1,\"x\":\"}\"}, \"b\":[\"id\", {\"id\":2}] ,\"id\" : \"z-1\", \"n\":42}");
    uint64_t n;
    assert_true(fm_slice_eq(fm_wire_text(o, "id"), FM_LIT("z-1")));
    assert_true(fm_slice_eq(fm_wire_member(o, "b"), FM_LIT("[\"id\", {\"id\":2}]")));
    assert_true(fm_wire_number(o, "n", &n) && n == 42);
    assert_false(fm_wire_number(o, "id", &n));
    assert_int_equal(fm_wire_member(o, "x").n, 0);
    assert_int_equal(fm_wire_text(o, "n").n, 0);
    for (size_t cut = 0; cut + 2 < o.n; cut++)
        assert_false(fm_wire_number(fm_slice_of(o.p, cut), "n", &n));
}

static void a_cursor_is_read_whole_or_refused(void **state)
{
    (void)state;
    struct fm_vector v = {0};
    assert_int_equal(fm_wire_cursor(FM_LIT("[\"a-1\", \"b-20\"]"), &v), FM_OK);
    assert_int_equal(v.n, 2);
    assert_int_equal(fm_wire_cursor(FM_LIT("[]"), &v), FM_OK);
    assert_int_equal(v.n, 0);
    const char *bad[] = {"", "{}", "[1]", "[\"a-1\"", "[\"a\"]", "[\"a-1\",]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(fm_wire_cursor(fm_slice_str(bad[i]), &v), FM_E_SYNTAX);
    fm_vector_fini(&v);
}

static void a_stamp_is_found_again_and_padded_to_its_size(void **state)
{
    (void)state;
    const struct fm_stamp in = {.number = 7, .stream = UINT64_MAX, .topic = 12, .sent_ns = 123456789012345};
    for (size_t size = 0; size < 200; size++) {
        struct fm_buf b = {0};
        struct fm_stamp out;
        fm_stamp_put(&b, &in, size);
        assert_true(fm_stamp_read(fm_buf_view(&b), &out));
        assert_true(out.number == in.number && out.stream == in.stream && out.topic == in.topic && out.sent_ns == in.sent_ns);
        assert_true(size < 80 || b.n == size);
        fm_buf_fini(&b);
    }
}

static void a_stamp_that_was_written_anew_is_read_all_the_same(void **state)
{
    (void)state;
    struct fm_stamp out;
    assert_true(fm_stamp_read(FM_LIT("{ \"t\": 4, \"r\": 3, \"s\": 2, \"k\": 1 }"), &out));
    assert_true(out.number == 1 && out.stream == 2 && out.topic == 3 && out.sent_ns == 4);
    const char *bad[] = {"",
                         "{}",
                         "{\"k\":1,\"s\":2,\"r\":3}",
                         "{\"k\":1,\"s\":2,\"r\":3,\"t\":",
                         "{\"k\":-1,\"s\":2,\"r\":3,\"t\":4}",
                         "{\"k\":99999999999999999999,\"s\":2,\"r\":3,\"t\":4}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(fm_stamp_read(fm_slice_str(bad[i]), &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broadcast_is_split_into_its_five_elements),
        cmocka_unit_test(what_is_no_frame_is_refused_at_every_cut),
        cmocka_unit_test(a_member_is_found_at_the_top_level_only),
        cmocka_unit_test(a_cursor_is_read_whole_or_refused),
        cmocka_unit_test(a_stamp_is_found_again_and_padded_to_its_size),
        cmocka_unit_test(a_stamp_that_was_written_anew_is_read_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
