#include "../../../gateway/auth/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { NOW = 1000 };

static struct fm_grant grant(const char *pattern, unsigned rights)
{
    struct fm_grant g;
    assert_true(fm_grant_of(fm_slice_str(pattern), rights, &g));
    return g;
}

static struct fm_identity *identity(const char *user, uint64_t until_s, const struct fm_grant *grants, uint32_t n)
{
    const struct fm_identity_spec spec = {.user = fm_slice_str(user), .until_s = until_s, .grants = grants, .grants_n = n};
    struct fm_identity *id;
    assert_int_equal(fm_identity_new(&id, &spec), FM_OK);
    return id;
}

static enum fm_err may(const struct fm_identity *id, const char *topic, enum fm_right right)
{
    return fm_who_may(FM_WHO_TOKEN, id, fm_slice_str(topic), right, NOW);
}

static void a_pattern_is_a_topic_or_its_beginning_and_a_star(void **state)
{
    (void)state;
    struct fm_grant g;
    const char *const bad[] = {"", "a*b", "*a", "**"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(fm_grant_of(fm_slice_str(bad[i]), FM_RIGHTS_ALL, &g));
    assert_false(fm_grant_of(FM_LIT("a\0b"), FM_RIGHTS_ALL, &g));
    char longer[FM_TOPIC_MAX + 2];
    memset(longer, 'a', sizeof longer);
    assert_false(fm_grant_of(fm_slice_of(longer, FM_TOPIC_MAX + 1), FM_RIGHTS_ALL, &g));
    longer[FM_TOPIC_MAX] = '*';
    assert_true(fm_grant_of(fm_slice_of(longer, FM_TOPIC_MAX + 1), FM_RIGHTS_ALL, &g));
    assert_true(grant("*", 0).prefix);
    assert_false(grant("room:1", 0).prefix);
}

static void a_token_grants_its_topics_with_its_rights_and_nothing_else(void **state)
{
    (void)state;
    const struct fm_grant grants[] = {grant("room:*", FM_RIGHT_JOIN), grant("room:1", FM_RIGHT_PUSH), grant("news", FM_RIGHTS_ALL)};
    struct fm_identity *id = identity("ann", 0, grants, 3);
    assert_int_equal(may(id, "room:1", FM_RIGHT_JOIN), FM_OK);
    assert_int_equal(may(id, "room:1", FM_RIGHT_PUSH), FM_OK);
    assert_int_equal(may(id, "room:2", FM_RIGHT_JOIN), FM_OK);
    assert_int_equal(may(id, "room:2", FM_RIGHT_PUSH), FM_E_NOT_GRANTED);
    assert_int_equal(may(id, "room:", FM_RIGHT_JOIN), FM_OK);
    assert_int_equal(may(id, "room", FM_RIGHT_JOIN), FM_E_NOT_GRANTED);
    assert_int_equal(may(id, "news", FM_RIGHT_PRESENCE), FM_OK);
    assert_int_equal(may(id, "news:1", FM_RIGHT_PRESENCE), FM_E_NOT_GRANTED);
    assert_int_equal(may(id, "", FM_RIGHT_JOIN), FM_E_NOT_GRANTED);
    fm_identity_unref(&id);
}

static void a_star_that_is_no_prefix_is_a_character(void **state)
{
    (void)state;
    const struct fm_grant grants[] = {{FM_LIT("user:a*"), false, FM_RIGHTS_ALL}};
    struct fm_identity *id = identity("a*", 0, grants, 1);
    assert_int_equal(may(id, "user:a*", FM_RIGHT_JOIN), FM_OK);
    assert_int_equal(may(id, "user:ab", FM_RIGHT_JOIN), FM_E_NOT_GRANTED);
    fm_identity_unref(&id);
}

static void a_rule_says_who_and_only_token_looks_at_one(void **state)
{
    (void)state;
    struct fm_identity *none = identity("ann", 0, NULL, 0);
    assert_int_equal(fm_who_may(FM_WHO_ANYONE, NULL, FM_LIT("a"), FM_RIGHT_JOIN, NOW), FM_OK);
    assert_int_equal(fm_who_may(FM_WHO_ANYONE, none, FM_LIT("a"), FM_RIGHT_JOIN, NOW), FM_OK);
    assert_int_equal(fm_who_may(FM_WHO_NOBODY, NULL, FM_LIT("a"), FM_RIGHT_JOIN, NOW), FM_E_FORBIDDEN);
    assert_int_equal(fm_who_may(FM_WHO_TOKEN, NULL, FM_LIT("a"), FM_RIGHT_JOIN, NOW), FM_E_TOKEN_MISSING);
    assert_int_equal(fm_who_may(FM_WHO_TOKEN, none, FM_LIT("a"), FM_RIGHT_JOIN, NOW), FM_E_NOT_GRANTED);
    fm_identity_unref(&none);
}

static void a_token_that_is_over_grants_nothing_any_more(void **state)
{
    (void)state;
    const struct fm_grant all = grant("*", FM_RIGHTS_ALL);
    struct fm_identity *over = identity("ann", NOW, &all, 1), *live = identity("ann", NOW + 1, &all, 1);
    assert_int_equal(may(over, "a", FM_RIGHT_JOIN), FM_E_TOKEN_EXPIRED);
    assert_int_equal(may(live, "a", FM_RIGHT_JOIN), FM_OK);
    fm_identity_unref(&over);
    fm_identity_unref(&live);
}

static void what_is_no_user_or_too_much_is_refused(void **state)
{
    (void)state;
    char name[FM_USER_MAX + 1];
    struct fm_identity *id;
    memset(name, 'a', sizeof name);
    struct fm_identity_spec spec = {.user = fm_slice_of(name, sizeof name)};
    assert_int_equal(fm_identity_new(&id, &spec), FM_E_TOO_LARGE);
    spec.user = FM_LIT("a\0b");
    assert_int_equal(fm_identity_new(&id, &spec), FM_E_INVALID);
    spec.user = FM_LIT("a\xff");
    assert_int_equal(fm_identity_new(&id, &spec), FM_E_INVALID);
    spec = (struct fm_identity_spec){.grants_n = FM_GRANTS_MAX + 1};
    assert_int_equal(fm_identity_new(&id, &spec), FM_E_TOO_MANY);
    assert_null(id);
}

static void it_is_its_own_copy_and_lives_as_long_as_someone_has_it(void **state)
{
    (void)state;
    char text[] = "ann:1";
    const struct fm_grant g = {fm_slice_of(text, 5), false, FM_RIGHT_JOIN};
    const struct fm_identity_spec spec = {.user = fm_slice_of(text, 3), .grants = &g, .grants_n = 1};
    struct fm_identity *id, *other;
    assert_int_equal(fm_identity_new(&id, &spec), FM_OK);
    memset(text, 'x', sizeof text);
    other = fm_identity_ref(id);
    fm_identity_unref(&id);
    assert_null(id);
    assert_string_equal(fm_identity_user(other), "ann");
    assert_int_equal(may(other, "ann:1", FM_RIGHT_JOIN), FM_OK);
    fm_identity_unref(&other);
    assert_string_equal(fm_identity_user(NULL), "");
    assert_null(fm_identity_ref(NULL));
    fm_identity_unref(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_is_a_topic_or_its_beginning_and_a_star),
        cmocka_unit_test(a_token_grants_its_topics_with_its_rights_and_nothing_else),
        cmocka_unit_test(a_star_that_is_no_prefix_is_a_character),
        cmocka_unit_test(a_rule_says_who_and_only_token_looks_at_one),
        cmocka_unit_test(a_token_that_is_over_grants_nothing_any_more),
        cmocka_unit_test(what_is_no_user_or_too_much_is_refused),
        cmocka_unit_test(it_is_its_own_copy_and_lives_as_long_as_someone_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
