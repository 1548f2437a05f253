#include "../../../gateway/auth/revoked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct fm_identity *of(const char *user, uint64_t issued_s)
{
    const struct fm_identity_spec spec = {.user = fm_slice_str(user), .issued_s = issued_s};
    struct fm_identity *id;
    assert_int_equal(fm_identity_new(&id, &spec), FM_OK);
    return id;
}

static bool revoked(const struct fm_revocations *r, const char *user, uint64_t issued_s)
{
    struct fm_identity *id = of(user, issued_s);
    bool yes = fm_revoked(r, id);
    fm_identity_unref(&id);
    return yes;
}

static void tokens_of_the_user_until_then_are_revoked_and_no_others(void **state)
{
    (void)state;
    struct fm_revocations r = {0};
    assert_false(revoked(&r, "ann", 1));
    fm_revocation_add(&r, FM_LIT("ann"), 100, 5000);
    assert_true(revoked(&r, "ann", 1));
    assert_true(revoked(&r, "ann", 100)); /* of that second it can't be said whether it came before or after */
    assert_false(revoked(&r, "ann", 101));
    assert_false(revoked(&r, "anna", 1));
    assert_false(revoked(&r, "an", 1));
    assert_false(revoked(&r, "", 1));
    assert_false(fm_revoked(&r, NULL));
    fm_revocations_fini(&r);
}

static void the_later_of_two_counts_whichever_comes_first(void **state)
{
    (void)state;
    struct fm_revocations r = {0};
    fm_revocation_add(&r, FM_LIT("ann"), 100, 5000);
    fm_revocation_add(&r, FM_LIT("ann"), 50, 9000);
    assert_true(revoked(&r, "ann", 100));
    fm_revocations_tend(&r, 5001);
    assert_true(revoked(&r, "ann", 100));
    fm_revocations_tend(&r, 9001);
    assert_false(revoked(&r, "ann", 1));
    fm_revocations_fini(&r);
}

static void what_is_over_is_forgotten_and_the_rest_stays(void **state)
{
    (void)state;
    struct fm_revocations r = {0};
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t user[2] = {(uint8_t)('A' + i / 100), (uint8_t)('0' + i % 100)};
        fm_revocation_add(&r, fm_slice_of(user, 2), 100, 1000 + i);
    }
    assert_int_equal(HASH_COUNT(r.table), 1000);
    fm_revocations_tend(&r, 1500);
    assert_int_equal(HASH_COUNT(r.table), 499);
    fm_revocations_tend(&r, 1600); /* not so soon again */
    assert_int_equal(HASH_COUNT(r.table), 499);
    fm_revocations_tend(&r, 2500);
    assert_int_equal(HASH_COUNT(r.table), 0);
    fm_revocations_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_of_the_user_until_then_are_revoked_and_no_others),
        cmocka_unit_test(the_later_of_two_counts_whichever_comes_first),
        cmocka_unit_test(what_is_over_is_forgotten_and_the_rest_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
