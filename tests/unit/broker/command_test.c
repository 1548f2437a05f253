/* Commands as bytes. */
#include "../../../broker/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void fill(struct fm_cluster_command *c)
{
    *c = (struct fm_cluster_command){.kind = FM_COMMAND_DELETE,
                                     .id = {7, 1234},
                                     .at_ms = 1700000000000,
                                     .age_ms = 12345,
                                     .keep_ms = 3600 * 1000,
                                     .user = FM_LIT("ann"),
                                     .topic = FM_LIT("room:1"),
                                     .connection = {9, 3},
                                     .number = UINT64_MAX,
                                     .text = FM_LIT("because")};
    assert_int_equal(fm_vector_set(&c->upto, 7, 1), FM_OK);
    assert_int_equal(fm_vector_set(&c->upto, UINT64_MAX, UINT64_MAX), FM_OK);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct fm_cluster_command c, r;
    struct fm_buf b = {0};
    fill(&c);
    fm_command_write(&b, &c);
    assert_false(b.failed);
    assert_int_equal(fm_command_read(fm_buf_view(&b), &r), FM_OK);
    assert_true(r.kind == c.kind && r.id.origin == 7 && r.id.seq == 1234 && r.at_ms == c.at_ms && r.age_ms == c.age_ms);
    assert_true(r.keep_ms == c.keep_ms && r.number == UINT64_MAX && r.connection.origin == 9 && r.connection.seq == 3);
    assert_true(fm_slice_eq(r.user, c.user) && fm_slice_eq(r.topic, c.topic) && fm_slice_eq(r.text, c.text));
    assert_true(r.upto.n == 2 && fm_vector_get(&r.upto, 7) == 1 && fm_vector_get(&r.upto, UINT64_MAX) == UINT64_MAX);
    fm_command_fini(&c);
    fm_command_fini(&r);
    fm_buf_fini(&b);
}

static void what_is_cut_short_or_followed_by_more_is_refused(void **state)
{
    (void)state;
    struct fm_cluster_command c, r;
    struct fm_buf b = {0};
    fill(&c);
    fm_command_write(&b, &c);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(fm_command_read(fm_slice_of(b.p, n), &r), FM_E_SYNTAX);
    fm_buf_u8(&b, 0);
    assert_int_equal(fm_command_read(fm_buf_view(&b), &r), FM_E_SYNTAX);
    assert_int_equal(r.upto.n, 0); /* nothing is left to free */
    fm_command_fini(&c);
    fm_buf_fini(&b);
}

static void a_newer_version_is_told_apart_from_nonsense(void **state)
{
    (void)state;
    struct fm_cluster_command r;
    assert_int_equal(fm_command_read(FM_LIT("\2whatever"), &r), FM_E_VERSION);
    assert_int_equal(fm_command_read(FM_LIT("\0whatever"), &r), FM_E_SYNTAX);
    assert_int_equal(fm_command_read(FM_LIT(""), &r), FM_E_SYNTAX);
}

static void only_the_commands_topic_is_theirs_and_no_rule_can_name_it(void **state)
{
    (void)state;
    assert_true(fm_topic_of_commands(FM_COMMAND_TOPIC));
    assert_false(fm_topic_of_commands(FM_LIT("fm")));
    assert_false(fm_topic_of_commands(FM_LIT("fm\0commandt")));
    assert_false(fm_topic_of_commands(FM_LIT("")));
    assert_false(fm_topic_of_probe(FM_COMMAND_TOPIC));
    assert_non_null(memchr(FM_COMMAND_TOPIC.p, 0, FM_COMMAND_TOPIC.n)); /* see fm_rules_match */
}

static void its_age_and_that_of_its_message_say_when_it_was_asked_for(void **state)
{
    (void)state;
    const struct fm_cluster_command c = {.kind = FM_COMMAND_REVOKE, .age_ms = 5000};
    struct fm_msg *m = fm_command_message(&c, FM_LIT("key"));
    assert_non_null(m);
    assert_true(fm_slice_eq(fm_msg_key(m), FM_LIT("key")) && (m->flags & FM_MSG_BINARY));
    m->born_ms = (int64_t)FM_AGE_MAX + 2000;
    assert_int_equal(fm_command_asked(&c, m), -3000);
    fm_msg_unref(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_cut_short_or_followed_by_more_is_refused),
        cmocka_unit_test(a_newer_version_is_told_apart_from_nonsense),
        cmocka_unit_test(only_the_commands_topic_is_theirs_and_no_rule_can_name_it),
        cmocka_unit_test(its_age_and_that_of_its_message_say_when_it_was_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
