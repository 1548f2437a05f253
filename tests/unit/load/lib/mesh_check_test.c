#include "../../../../load/lib/mesh_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

enum { MESSAGES = 100, TOPICS = 3 };

static int set_up(void **state)
{
    static struct fm_mesh_check c;
    assert_int_equal(fm_mesh_check_init(&c, MESSAGES, TOPICS), FM_OK);
    *state = &c;
    return 0;
}

static int tear_down(void **state)
{
    fm_mesh_check_fini(*state);
    return 0;
}

static void everything_once_in_the_order_of_each_topic_is_good(void **state)
{
    struct fm_mesh_check *c = *state;
    for (uint64_t topic = 0; topic < TOPICS; topic++) /* the order between topics is not promised */
        for (uint64_t i = topic; i < MESSAGES; i += TOPICS)
            fm_mesh_check_add(c, topic, i);
    assert_true(fm_mesh_check_good(&c->tally, MESSAGES));
}

static void a_missing_message_is_found(void **state)
{
    struct fm_mesh_check *c = *state;
    for (uint64_t i = 0; i < MESSAGES; i++)
        if (i != 50)
            fm_mesh_check_add(c, i % TOPICS, i);
    assert_int_equal(c->tally.received, MESSAGES - 1);
    assert_int_equal(c->tally.disordered, 0);
    assert_false(fm_mesh_check_good(&c->tally, MESSAGES));
}

static void a_double_is_found_and_not_taken_for_another(void **state)
{
    struct fm_mesh_check *c = *state;
    for (uint64_t i = 0; i < MESSAGES; i++)
        fm_mesh_check_add(c, i % TOPICS, i);
    fm_mesh_check_add(c, 99 % TOPICS, 99);
    fm_mesh_check_add(c, 0, 0);
    assert_int_equal(c->tally.doubled, 2);
    assert_int_equal(c->tally.received, MESSAGES);
    assert_false(fm_mesh_check_good(&c->tally, MESSAGES));
}

static void disorder_within_a_topic_is_found(void **state)
{
    struct fm_mesh_check *c = *state;
    fm_mesh_check_add(c, 0, 3);
    fm_mesh_check_add(c, 1, 1);
    fm_mesh_check_add(c, 0, 0);
    for (uint64_t i = 2; i < MESSAGES; i++)
        if (i != 3)
            fm_mesh_check_add(c, i % TOPICS, i);
    assert_int_equal(c->tally.disordered, 1);
    assert_int_equal(c->tally.received, MESSAGES);
    assert_false(fm_mesh_check_good(&c->tally, MESSAGES));
}

static void what_nobody_published_is_strange(void **state)
{
    struct fm_mesh_check *c = *state;
    fm_mesh_check_add(c, MESSAGES % TOPICS, MESSAGES);
    fm_mesh_check_add(c, 2, 0); /* on another topic */
    assert_int_equal(c->tally.strange, 2);
    assert_int_equal(c->tally.received, 0);
}

static void a_gap_or_an_overrun_is_not_good(void **state)
{
    (void)state;
    assert_false(fm_mesh_check_good(&(struct fm_mesh_tally){.received = 1, .gaps = 1}, 1));
    assert_false(fm_mesh_check_good(&(struct fm_mesh_tally){.received = 1, .overruns = 1}, 1));
    assert_true(fm_mesh_check_good(&(struct fm_mesh_tally){.received = 1}, 1));
}

static void a_stamp_is_read_as_it_was_written(void **state)
{
    (void)state;
    uint8_t payload[FM_MESH_STAMP];
    uint64_t number, at_ns;
    fm_mesh_stamp(payload, 0x0123456789abcdef, UINT64_MAX);
    assert_int_equal(fm_mesh_stamp_read(fm_slice_of(payload, sizeof payload), &number, &at_ns), FM_OK);
    assert_true(number == 0x0123456789abcdef && at_ns == UINT64_MAX);
    assert_int_equal(fm_mesh_stamp_read(fm_slice_of(payload, sizeof payload - 1), &number, &at_ns), FM_E_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_once_in_the_order_of_each_topic_is_good, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_message_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_double_is_found_and_not_taken_for_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(disorder_within_a_topic_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_nobody_published_is_strange, set_up, tear_down),
        cmocka_unit_test(a_gap_or_an_overrun_is_not_good),
        cmocka_unit_test(a_stamp_is_read_as_it_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
