#include "../../../gateway/settings/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct load {
    struct fm_settings s;
    struct fm_report report;
    struct fm_option_set set;
    char errors[4096];
};

static void load(struct load *l, const char *text)
{
    *l = (struct load){0};
    assert_true(fm_settings_init(&l->s, &l->report, &l->set));
    fm_settings_text(&l->set, &l->s, "f.ini", fm_slice_str(text));
    snprintf(l->errors, sizeof l->errors, "%.*s", (int)l->report.errors.n, l->report.errors.n ? (const char *)l->report.errors.p : "");
}

static void load_end(struct load *l)
{
    fm_settings_fini(&l->s);
    fm_report_fini(&l->report);
}

static const char *pattern_of(const struct load *l, const char *topic)
{
    const struct fm_rule *r = fm_rules_match(l->s.rules, fm_slice_str(topic));
    return r ? r->pattern : "none";
}

static void the_exact_name_wins_then_the_longest_beginning(void **state)
{
    (void)state;
    struct load l;
    load(&l, "[topic \"*\"]\n[topic \"room:*\"]\n[topic \"room:a\"]\n[topic \"room:a*\"]\n[topic \"room:\"]\n");
    assert_string_equal(l.errors, "");
    assert_string_equal(pattern_of(&l, "room:a"), "room:a");
    assert_string_equal(pattern_of(&l, "room:ab"), "room:a*");
    assert_string_equal(pattern_of(&l, "room:b"), "room:*");
    assert_string_equal(pattern_of(&l, "room:"), "room:");
    assert_string_equal(pattern_of(&l, "x"), "*");
    assert_string_equal(pattern_of(&l, ""), "none");
    load_end(&l);
}

static void a_topic_that_no_pattern_matches_has_no_rule(void **state)
{
    (void)state;
    struct load l;
    load(&l, "[topic \"room:*\"]\n");
    assert_string_equal(pattern_of(&l, "rooms"), "none");
    assert_string_equal(pattern_of(&l, "roo"), "none");
    assert_null(fm_rules_match(l.s.rules, FM_LIT("room:\0a"))); /* the API could not ask for what follows it */
    assert_int_equal(fm_rules_retention(l.s.rules, FM_LIT("rooms")).count, 0);
    load_end(&l);
}

static void every_key_of_a_section_reaches_the_rule(void **state)
{
    (void)state;
    struct load l;
    load(&l, "[topic \"room:*\"] ; the rooms\n"
             "join = anyone\npush = anyone\npush_to = others\nhistory_count = 7\nhistory_bytes = 2KiB\nhistory_age = 3m\n"
             "message_max = 4KiB\nslow = disconnect\n");
    assert_string_equal(l.errors, "");
    const struct fm_rule *r = fm_rules_at(l.s.rules, 0);
    assert_int_equal(r->join, FM_WHO_ANYONE);
    assert_int_equal(r->push, FM_WHO_ANYONE);
    assert_int_equal(r->push_to, FM_PUSH_OTHERS);
    assert_int_equal(r->history.count, 7);
    assert_int_equal(r->history.bytes, 2048);
    assert_int_equal(r->history.age_ms, 180000);
    assert_int_equal(r->message_max, 4096);
    assert_int_equal(r->slow, FM_SLOW_DISCONNECT);
    assert_int_equal(fm_rules_retention(l.s.rules, FM_LIT("room:1")).count, 7);
    load_end(&l);
}

static void a_section_without_keys_allows_nothing_and_keeps_nothing(void **state)
{
    (void)state;
    struct load l;
    load(&l, "[topic \"room:*\"]\n");
    const struct fm_rule *r = fm_rules_at(l.s.rules, 0);
    assert_int_equal(r->join, FM_WHO_NOBODY);
    assert_int_equal(r->push, FM_WHO_NOBODY);
    assert_int_equal(r->history.count, 0);
    load_end(&l);
}

static void a_count_alone_is_a_history_with_the_default_bytes_and_age(void **state)
{
    (void)state;
    struct load l;
    load(&l, "[topic \"a\"]\nhistory_count = 10\n");
    const struct fm_rule *r = fm_rules_at(l.s.rules, 0);
    assert_int_equal(r->history.bytes, 1 << 20);
    assert_int_equal(r->history.age_ms, 3600000);
    load_end(&l);
}

static void each_way_with_slow_clients_has_its_word(void **state)
{
    (void)state;
    struct load l;
    load(&l, "[topic \"a\"]\nslow = drop\n[topic \"b\"]\nslow = conflate\n[topic \"c\"]\n");
    assert_string_equal(l.errors, "");
    assert_int_equal(fm_rules_match(l.s.rules, FM_LIT("a"))->slow, FM_SLOW_DROP);
    assert_int_equal(fm_rules_match(l.s.rules, FM_LIT("b"))->slow, FM_SLOW_CONFLATE);
    assert_int_equal(fm_rules_match(l.s.rules, FM_LIT("c"))->slow, FM_SLOW_DISCONNECT);
    load_end(&l);
}

static void keys_of_one_section_do_not_leak_into_the_next(void **state)
{
    (void)state;
    struct load l;
    load(&l, "[topic \"a\"]\njoin = anyone\nhistory_count = 5\n[topic \"b\"]\n");
    assert_int_equal(fm_rules_match(l.s.rules, FM_LIT("a"))->join, FM_WHO_ANYONE);
    assert_int_equal(fm_rules_match(l.s.rules, FM_LIT("b"))->join, FM_WHO_NOBODY);
    assert_int_equal(fm_rules_match(l.s.rules, FM_LIT("b"))->history.count, 0);
    load_end(&l);
}

static void a_pattern_may_be_as_long_as_a_topic(void **state)
{
    (void)state;
    char text[512], topic[FM_TOPIC_MAX + 2];
    struct load l;
    memset(topic, 't', sizeof topic);
    for (int n = FM_TOPIC_MAX; n <= FM_TOPIC_MAX + 1; n++) {
        snprintf(text, sizeof text, "[topic \"%.*s\"]\njoin = anyone\n", n, topic);
        load(&l, text);
        assert_int_equal(l.report.n_errors, n > FM_TOPIC_MAX);
        if (n == FM_TOPIC_MAX)
            assert_non_null(fm_rules_match(l.s.rules, fm_slice_of(topic, FM_TOPIC_MAX)));
        load_end(&l);
    }
}

static void a_mistake_in_a_section_is_told_with_its_line_and_the_nearest_key(void **state)
{
    (void)state;
    const struct {
        const char *keys, *error;
    } cases[] = {
        {"histroy_count = 1", "f.ini:2: unknown key \"histroy_count\" in a [topic] section; the nearest is `history_count`\n"},
        {"listen = h:1",
         "f.ini:2: unknown key \"listen\" in a [topic] section; it is an option of the node and belongs above the first section\n"},
        {"join = everyone", "f.ini:2: join takes nobody|anyone|token|hook, not \"everyone\"\n"},
        {"join = everyone\npush = anyone\nlast = 1", "f.ini:2: join takes nobody|anyone|token|hook, not \"everyone\"\n"},
        {"push_to = none", "f.ini:2: push_to takes all|others, not \"none\"\n"},
        {"slow = explode", "f.ini:2: slow takes disconnect|drop|conflate, not \"explode\"\n"},
        {"history_count = 1\nhistory_age = 60", "f.ini:3: history_age takes a number with ms, s, m, h or d, such as 10m, not \"60\"\n"},
        {"history_bytes = 1GB", "f.ini:2: history_bytes takes bytes, or a number with KiB, MiB or GiB, not \"1GB\"\n"},
        {"message_max = 17MiB", "f.ini:2: message_max is \"17MiB\"; it must lie between 0 and 16MiB\n"},
        {"push = anyone", "f.ini:1: [topic \"a\"]: push = anyone needs a join as well, since only who joined can push\n"},
        {"history_age = 1h", "f.ini:1: [topic \"a\"]: history_bytes and history_age do nothing while history_count is 0\n"},
        {"join = anyone\njoin = anyone", "f.ini:3: join is set already in line 2; remove one of the two\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        struct load l;
        snprintf(text, sizeof text, "[topic \"a\"]\n%s\n", cases[i].keys);
        load(&l, text);
        assert_string_equal(l.errors, cases[i].error);
        load_end(&l);
    }
}

static void what_is_not_a_pattern_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"[topic \"\"]",
                                      "[topic \"a*b\"]",
                                      "[topic \"**\"]",
                                      "[topic a]",
                                      "[topic]",
                                      "[topic \"a\"",
                                      "[topic \"a]",
                                      "[topic \"a\"]x",
                                      "[topic  \"a\"]",
                                      "[]",
                                      "[topic \"a\" ] ",
                                      "[Topic \"a\"]",
                                      "[",
                                      "[topic \"a\"\"b\"]",
                                      "[topic \""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct load l;
        load(&l, bad[i]);
        assert_int_equal(l.report.n_errors, 1);
        assert_null(fm_rules_at(l.s.rules, 0));
        load_end(&l);
    }
}

static void a_pattern_stands_in_one_section_only(void **state)
{
    (void)state;
    struct load l;
    load(&l, "[topic \"a\"]\n[topic \"a\"]\njoin = anyone\n");
    assert_int_equal(l.report.n_errors, 1);
    assert_non_null(strstr(l.errors, "f.ini:2: [topic \"a\"]"));
    load_end(&l);
}

static void a_pattern_may_hold_what_ends_a_heading_or_begins_a_comment(void **state)
{
    (void)state;
    struct load l;
    load(&l, "[topic \"a]b ;c\"]\njoin = anyone\n");
    assert_string_equal(l.errors, "");
    assert_string_equal(pattern_of(&l, "a]b ;c"), "a]b ;c");
    load_end(&l);
}

static void a_rule_can_not_allow_more_than_the_node(void **state)
{
    (void)state;
    struct load l;
    load(&l, "dev = true\nmessage_max = 32KiB\n[topic \"a\"]\nmessage_max = 64KiB\n[topic \"b\"]\n");
    fm_settings_derive(&l.set, &l.s);
    fm_settings_check(&l.set, &l.s);
    assert_int_equal(l.report.n_errors, 1);
    fm_buf_u8(&l.report.errors, 0);
    assert_string_equal((const char *)l.report.errors.p,
                        "[topic \"a\"]: message_max = 65536 exceeds the node's message_max = 32768, which would refuse such a message\n");
    assert_int_equal(fm_rules_match(l.s.rules, FM_LIT("b"))->message_max, 32768);
    load_end(&l);
}

static void what_is_left_out_for_slow_clients_is_small_beside_the_outbox(void **state)
{
    (void)state;
    struct load l;
    load(&l, "dev = true\noutbox_bytes = 127KiB\n[topic \"a\"]\n[topic \"b\"]\nslow = drop\n[topic \"c\"]\nslow = conflate\n"
             "message_max = 63KiB\n");
    fm_settings_derive(&l.set, &l.s);
    fm_settings_check(&l.set, &l.s);
    assert_int_equal(l.report.n_errors, 1);
    fm_buf_u8(&l.report.errors, 0);
    assert_string_equal((const char *)l.report.errors.p,
                        "[topic \"b\"]: message_max = 65536 exceeds 1/2 of outbox_bytes = 130048: under slow = drop or conflate two such "
                        "messages would not fit, and clients that keep up would be taken for slow\n");
    load_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_out_for_slow_clients_is_small_beside_the_outbox),
        cmocka_unit_test(the_exact_name_wins_then_the_longest_beginning),
        cmocka_unit_test(a_topic_that_no_pattern_matches_has_no_rule),
        cmocka_unit_test(every_key_of_a_section_reaches_the_rule),
        cmocka_unit_test(a_section_without_keys_allows_nothing_and_keeps_nothing),
        cmocka_unit_test(a_count_alone_is_a_history_with_the_default_bytes_and_age),
        cmocka_unit_test(each_way_with_slow_clients_has_its_word),
        cmocka_unit_test(keys_of_one_section_do_not_leak_into_the_next),
        cmocka_unit_test(a_pattern_may_be_as_long_as_a_topic),
        cmocka_unit_test(a_mistake_in_a_section_is_told_with_its_line_and_the_nearest_key),
        cmocka_unit_test(what_is_not_a_pattern_is_refused),
        cmocka_unit_test(a_pattern_stands_in_one_section_only),
        cmocka_unit_test(a_pattern_may_hold_what_ends_a_heading_or_begins_a_comment),
        cmocka_unit_test(a_rule_can_not_allow_more_than_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
