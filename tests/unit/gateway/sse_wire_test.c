#include "../../../gateway/sse/sse_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static enum fm_err topics(const char *query, struct fm_sse_topics *t)
{
    const char *why;
    return fm_sse_topics_read(fm_slice_str(query), 3, t, &why);
}

static void a_query_names_one_topic_or_several_and_other_parameters_are_passed_over(void **state)
{
    (void)state;
    struct fm_sse_topics t;
    assert_int_equal(topics("token=x&topic=room%3Aa&last=2&topic=room:b", &t), FM_OK);
    assert_int_equal(t.n, 2);
    assert_ptr_equal(fm_sse_topic_find(&t, FM_LIT("room:a")), &t.of[0]);
    assert_ptr_equal(fm_sse_topic_find(&t, FM_LIT("room:b")), &t.of[1]);
    assert_null(fm_sse_topic_find(&t, FM_LIT("room:c")));
    fm_sse_topics_fini(&t);
    assert_int_equal(topics("", &t), FM_E_INVALID);
    assert_int_equal(topics("topic=", &t), FM_E_INVALID);
    assert_int_equal(topics("topic=a&topic=%61", &t), FM_E_INVALID);
    assert_int_equal(topics("topic=%0", &t), FM_E_SYNTAX);
    assert_int_equal(topics("topic=a&topic=b&topic=c&topic=d", &t), FM_E_TOO_MANY);
}

static void check_id(struct fm_sse_topics *t, const char *id, enum fm_err err)
{
    struct fm_buf b = {0};
    assert_int_equal(fm_sse_id_read(fm_slice_str(id), t), err);
    if (!err) {
        fm_sse_id_write(&b, t);
        assert_int_equal(b.n, strlen(id));
        assert_memory_equal(b.p, id, b.n);
    }
    fm_buf_fini(&b);
}

static void an_id_has_a_cursor_for_each_topic_in_the_order_of_the_query(void **state)
{
    (void)state;
    struct fm_sse_topics t;
    assert_int_equal(topics("topic=a&topic=b", &t), FM_OK);
    check_id(&t, "1-5,asof-99;1-7", FM_OK);
    assert_int_equal(fm_vector_get(&t.of[0].at, 1), 5);
    assert_int_equal(fm_vector_get(&t.of[0].at, FM_CURSOR_ASOF), 99);
    assert_int_equal(fm_vector_get(&t.of[1].at, 1), 7);
    check_id(&t, "1-5;", FM_OK); /* the second had not begun */
    check_id(&t, "1-5", FM_E_SYNTAX);
    check_id(&t, "1-5;1-6;1-7", FM_E_SYNTAX);
    check_id(&t, "1-5,;1-6", FM_E_SYNTAX);
    check_id(&t, "nonsense;1-6", FM_E_SYNTAX);
    fm_sse_topics_fini(&t);
}

static void an_id_that_no_header_would_hold_says_so_and_counts_as_one_that_is_cut(void **state)
{
    (void)state;
    struct fm_sse_topics t;
    struct fm_buf b = {0};
    assert_int_equal(topics("topic=a&topic=b", &t), FM_OK);
    for (uint64_t origin = 1; origin <= 250; origin++) {
        assert_int_equal(fm_vector_set(&t.of[0].at, UINT64_MAX - origin, UINT64_MAX), FM_OK);
        assert_int_equal(fm_vector_set(&t.of[1].at, UINT64_MAX - origin, UINT64_MAX), FM_OK);
    }
    fm_sse_id_write(&b, &t);
    assert_true(fm_slice_eq(fm_buf_view(&b), FM_LIT("full")));
    assert_int_equal(fm_sse_id_read(fm_buf_view(&b), &t), FM_OK);
    assert_true(t.of[0].cut && t.of[1].cut && t.of[0].at.n == 0);
    fm_sse_topics_fini(&t);
    fm_buf_fini(&b);
}

static void an_event_brings_where_it_leaves_its_topic_and_keeps_to_one_line(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_sse_event e;
    struct fm_id id, ids[2] = {{1, 2}, {3, 4}};
    fm_sse_event_write(&b, FM_SSE_RAISE, FM_LIT("room:a"), ids, 2);
    size_t head = b.n;
    fm_sse_line(&b, FM_LIT("{\n \"a\":\r1}"));
    assert_true(fm_sse_event_read(fm_buf_view(&b), &e));
    assert_int_equal(e.move, FM_SSE_RAISE);
    assert_true(fm_slice_eq(e.topic, FM_LIT("room:a")));
    assert_true(fm_sse_event_id(&e, &id) && id.origin == 1 && id.seq == 2);
    assert_true(fm_sse_event_id(&e, &id) && id.origin == 3 && id.seq == 4);
    assert_false(fm_sse_event_id(&e, &id));
    assert_true(fm_slice_eq(e.lines, FM_LIT("{  \"a\": 1}")));
    for (size_t n = 0; n < head; n++)
        assert_false(fm_sse_event_read(fm_slice_of(b.p, n), &e));
    fm_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_names_one_topic_or_several_and_other_parameters_are_passed_over),
        cmocka_unit_test(an_id_has_a_cursor_for_each_topic_in_the_order_of_the_query),
        cmocka_unit_test(an_id_that_no_header_would_hold_says_so_and_counts_as_one_that_is_cut),
        cmocka_unit_test(an_event_brings_where_it_leaves_its_topic_and_keeps_to_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
