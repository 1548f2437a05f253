/* Keys whose messages are held, and the queue of those whose messages are gone. */
#include "../../../broker/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { AGE_MS = 1000, FOREVER = 1 << 30 };

static const uint64_t no_limit = UINT64_MAX;

static struct fm_msg *message(const char *topic, const char *key, uint64_t origin, uint64_t seq, int64_t born_ms)
{
    struct fm_msg *m =
        fm_msg_new(fm_slice_str(topic), FM_LIT("e"), (struct fm_msg_keys){.idempotency = fm_slice_str(key)}, FM_LIT("{}"), 0);
    assert_non_null(m);
    fm_msg_accept(m, (struct fm_id){origin, seq}, 0, 1);
    m->born_ms = born_ms;
    return m;
}

static bool add(struct fm_keys *keys, const char *topic, const char *key, uint64_t origin, uint64_t seq)
{
    struct fm_msg *m = message(topic, key, origin, seq, 0);
    bool first = fm_keys_add(keys, m);
    fm_msg_unref(&m);
    return first;
}

static void leave(struct fm_keys *keys, const char *topic, const char *key, uint64_t origin, uint64_t seq, bool keep)
{
    struct fm_msg *m = message(topic, key, origin, seq, 0);
    assert_true(fm_keys_leave(keys, m, keep));
    fm_msg_unref(&m);
}

/* Key "kN" on topic "t" is of message 1-N, born at `born_ms`, and that is gone. */
static void went(struct fm_keys *keys, unsigned n, int64_t born_ms)
{
    char key[16];
    (void)snprintf(key, sizeof key, "k%u", n);
    struct fm_msg *m = message("t", key, 1, n, born_ms);
    assert_true(fm_keys_add(keys, m));
    assert_true(fm_keys_leave(keys, m, true));
    fm_msg_unref(&m);
}

static bool known(const struct fm_keys *keys, unsigned n)
{
    char key[16];
    (void)snprintf(key, sizeof key, "k%u", n);
    const struct fm_id *id = fm_keys_find(keys, FM_LIT("t"), fm_slice_str(key));
    assert_true(!id || (id->origin == 1 && id->seq == n));
    return id != NULL;
}

static void the_first_message_with_a_key_on_a_topic_has_it(void **state)
{
    (void)state;
    struct fm_keys keys = {0};
    assert_null(fm_keys_find(&keys, FM_LIT("t"), FM_LIT("k")));
    assert_true(add(&keys, "t", "k", 1, 7));
    assert_true(add(&keys, "t", "k", 1, 7));
    assert_false(add(&keys, "t", "k", 1, 8));
    assert_false(add(&keys, "t", "k", 2, 7));
    assert_true(add(&keys, "other", "k", 2, 7));
    const struct fm_id *id = fm_keys_find(&keys, FM_LIT("t"), FM_LIT("k"));
    assert_true(id && id->origin == 1 && id->seq == 7);
    fm_keys_fini(&keys);
}

static void no_topic_and_key_pass_for_another_topic_and_key(void **state)
{
    (void)state;
    struct fm_keys keys = {0};
    assert_true(add(&keys, "ab", "c", 1, 1));
    assert_null(fm_keys_find(&keys, FM_LIT("a"), FM_LIT("bc")));
    assert_null(fm_keys_find(&keys, FM_LIT("a\0b"), FM_LIT("c")));
    assert_true(add(&keys, "a", "bc", 1, 2));
    fm_keys_fini(&keys);
}

static void a_key_outlives_its_message(void **state)
{
    (void)state;
    struct fm_keys keys = {0};
    assert_true(add(&keys, "t", "k", 1, 7));
    uint64_t bytes = keys.held_bytes;
    leave(&keys, "t", "k", 1, 7, true);
    assert_true(keys.held_bytes == 0 && keys.gone_bytes == bytes && HASH_COUNT(keys.gone) == 1);
    const struct fm_id *id = fm_keys_find(&keys, FM_LIT("t"), FM_LIT("k"));
    assert_true(id && id->origin == 1 && id->seq == 7);
    assert_false(add(&keys, "t", "k", 2, 9)); /* a second copy that comes late */
    fm_keys_fini(&keys);
}

static void a_key_that_is_not_to_be_kept_goes_with_its_message(void **state)
{
    (void)state;
    struct fm_keys keys = {0};
    assert_true(add(&keys, "t", "k", 1, 7));
    leave(&keys, "t", "k", 1, 7, false);
    assert_null(fm_keys_find(&keys, FM_LIT("t"), FM_LIT("k")));
    assert_true(keys.held_bytes == 0 && keys.gone_bytes == 0);
    assert_true(add(&keys, "t", "k", 2, 9));
    fm_keys_fini(&keys);
}

static void when_a_second_copy_goes_the_first_keeps_the_key(void **state)
{
    (void)state;
    for (int held = 0; held < 2; held++) {
        struct fm_keys keys = {0};
        assert_true(add(&keys, "t", "k", 1, 7));
        if (!held)
            leave(&keys, "t", "k", 1, 7, true);
        assert_false(add(&keys, "t", "k", 2, 9));
        leave(&keys, "t", "k", 2, 9, false);
        const struct fm_id *id = fm_keys_find(&keys, FM_LIT("t"), FM_LIT("k"));
        assert_true(id && id->origin == 1);
        fm_keys_fini(&keys);
    }
}

/* An origin that was forgotten for want of room and is back. */
static void a_message_that_comes_again_and_goes_again_leaves_one_key(void **state)
{
    (void)state;
    struct fm_keys keys = {0};
    for (int i = 0; i < 3; i++)
        went(&keys, 1, 0);
    assert_int_equal(HASH_COUNT(keys.gone), 1);
    assert_int_equal(fm_keys_expire(&keys, AGE_MS, AGE_MS, no_limit), 0);
    assert_true(!known(&keys, 1) && keys.gone_bytes == 0);
    fm_keys_fini(&keys);
}

static void a_key_is_known_for_its_age_counted_from_its_message(void **state)
{
    (void)state;
    struct fm_keys keys = {0};
    went(&keys, 1, -500); /* one that was repaired may be older than the clock */
    went(&keys, 2, 100);
    assert_int_equal(fm_keys_expire(&keys, -500 + AGE_MS - 1, AGE_MS, no_limit), 0);
    assert_true(known(&keys, 1) && known(&keys, 2));
    assert_int_equal(fm_keys_expire(&keys, -500 + AGE_MS, AGE_MS, no_limit), 0);
    assert_true(!known(&keys, 1) && known(&keys, 2));
    assert_int_equal(fm_keys_expire(&keys, 100 + AGE_MS, AGE_MS, no_limit), 0);
    assert_false(known(&keys, 2));
    fm_keys_fini(&keys);
}

static void an_old_key_behind_a_young_one_waits_and_is_not_forgotten_early(void **state)
{
    (void)state;
    struct fm_keys keys = {0};
    went(&keys, 1, 800);
    went(&keys, 2, 0);
    assert_int_equal(fm_keys_expire(&keys, AGE_MS, AGE_MS, no_limit), 0);
    assert_true(known(&keys, 1) && known(&keys, 2));
    assert_int_equal(fm_keys_expire(&keys, AGE_MS, AGE_MS, 0), 1);
    assert_true(!known(&keys, 1) && !known(&keys, 2));
    fm_keys_fini(&keys);
}

static void beyond_the_bytes_what_went_first_is_forgotten_and_counted(void **state)
{
    (void)state;
    struct fm_keys keys = {0};
    went(&keys, 10, 0);
    const uint64_t one = keys.gone_bytes;
    assert_int_equal(one, sizeof(struct fm_key) + FM_KEY_BESIDES + 1 + 1 + 3);
    for (unsigned n = 11; n < 30; n++)
        went(&keys, n, FOREVER - (int64_t)n); /* the order is that in which they went, not that of their birth */
    assert_int_equal(keys.gone_bytes, 20 * one);
    assert_int_equal(fm_keys_expire(&keys, 1, FOREVER, 20 * one), 0);
    assert_int_equal(fm_keys_expire(&keys, 1, FOREVER, 20 * one - 1), 1);
    assert_int_equal(fm_keys_expire(&keys, 1, FOREVER, 5 * one), 14);
    assert_int_equal(HASH_COUNT(keys.gone), 5);
    for (unsigned n = 10; n < 30; n++)
        assert_int_equal(known(&keys, n), n >= 25);
    assert_int_equal(fm_keys_expire(&keys, 1, FOREVER, 0), 5);
    assert_true(keys.gone_bytes == 0 && !keys.gone);
    fm_keys_fini(&keys);
}

/* Several blocks of memory are filled, emptied and filled again. */
static void many_keys_come_and_go(void **state)
{
    (void)state;
    struct fm_keys keys = {0};
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned n = 1000; n < 6000; n++)
            went(&keys, n, round * AGE_MS);
        assert_true(known(&keys, 1000) && known(&keys, 5999) && HASH_COUNT(keys.gone) == 5000);
        assert_int_equal(fm_keys_expire(&keys, 0, AGE_MS, keys.gone_bytes / 2), 2500);
        assert_true(!known(&keys, 3499) && known(&keys, 3500));
        assert_int_equal(fm_keys_expire(&keys, (round + 1) * AGE_MS, AGE_MS, no_limit), 0);
        assert_true(!keys.gone && keys.gone_bytes == 0 && !keys.oldest && !keys.newest);
    }
    fm_keys_fini(&keys);
}

static void keys_whose_messages_are_held_are_never_forgotten(void **state)
{
    (void)state;
    struct fm_keys keys = {0};
    assert_true(add(&keys, "t", "k1", 1, 1));
    assert_int_equal(fm_keys_expire(&keys, FOREVER, AGE_MS, 0), 0);
    assert_true(known(&keys, 1));
    fm_keys_fini(&keys);
}

static void the_longest_topic_and_key_fit(void **state)
{
    (void)state;
    char topic[FM_TOPIC_MAX + 1], key[FM_KEY_MAX + 1];
    memset(topic, 't', FM_TOPIC_MAX);
    memset(key, 'k', FM_KEY_MAX);
    topic[FM_TOPIC_MAX] = key[FM_KEY_MAX] = 0;
    struct fm_keys keys = {0};
    assert_true(add(&keys, topic, key, 1, 1));
    leave(&keys, topic, key, 1, 1, true);
    assert_non_null(fm_keys_find(&keys, fm_slice_str(topic), fm_slice_str(key)));
    fm_keys_fini(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_message_with_a_key_on_a_topic_has_it),
        cmocka_unit_test(no_topic_and_key_pass_for_another_topic_and_key),
        cmocka_unit_test(a_key_outlives_its_message),
        cmocka_unit_test(a_key_that_is_not_to_be_kept_goes_with_its_message),
        cmocka_unit_test(when_a_second_copy_goes_the_first_keeps_the_key),
        cmocka_unit_test(a_message_that_comes_again_and_goes_again_leaves_one_key),
        cmocka_unit_test(a_key_is_known_for_its_age_counted_from_its_message),
        cmocka_unit_test(an_old_key_behind_a_young_one_waits_and_is_not_forgotten_early),
        cmocka_unit_test(beyond_the_bytes_what_went_first_is_forgotten_and_counted),
        cmocka_unit_test(many_keys_come_and_go),
        cmocka_unit_test(keys_whose_messages_are_held_are_never_forgotten),
        cmocka_unit_test(the_longest_topic_and_key_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
