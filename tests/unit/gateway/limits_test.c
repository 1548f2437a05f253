/* What one client may take: tallies over threads, buckets, one line in the log for a burst. */
#include "../../../gateway/worker/limits.h"

#include "../../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- tallies ---- */

static void as_many_as_allowed_are_taken_and_room_is_made_by_giving_back(void **state)
{
    (void)state;
    struct fm_tally *t = fm_tally_new();
    assert_non_null(t);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(fm_tally_take(t, FM_LIT("ann"), 3), FM_OK);
    assert_int_equal(fm_tally_take(t, FM_LIT("ann"), 3), FM_E_BUSY);
    assert_int_equal(fm_tally_take(t, FM_LIT("anne"), 3), FM_OK);
    fm_tally_give(t, FM_LIT("ann"));
    assert_int_equal(fm_tally_of(t, FM_LIT("ann")), 2);
    assert_int_equal(fm_tally_take(t, FM_LIT("ann"), 3), FM_OK);
    for (unsigned i = 0; i < 3; i++)
        fm_tally_give(t, FM_LIT("ann"));
    assert_true(fm_tally_of(t, FM_LIT("ann")) == 0 && fm_tally_of(t, FM_LIT("anne")) == 1);
    fm_tally_free(&t);
}

enum { THREADS = 4, ROUNDS = 20000, MAX = 3 };

static void *take_and_give(void *ctx)
{
    struct fm_tally *t = ctx;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint8_t key = (uint8_t)(i % 7);
        if (fm_tally_take(t, fm_slice_of(&key, 1), MAX))
            continue;
        if (fm_tally_of(t, fm_slice_of(&key, 1)) > MAX)
            abort();
        fm_tally_give(t, fm_slice_of(&key, 1));
    }
    return NULL;
}

static void threads_together_never_take_more_and_lose_none(void **state)
{
    (void)state;
    struct fm_tally *t = fm_tally_new();
    pthread_t threads[THREADS];
    assert_non_null(t);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, t), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (uint8_t key = 0; key < 7; key++)
        assert_int_equal(fm_tally_of(t, fm_slice_of(&key, 1)), 0);
    fm_tally_free(&t);
}

/* ---- connections ---- */

static struct fm_ip ip(const char *text)
{
    struct fm_ip ip;
    assert_int_equal(fm_ip_read(fm_slice_str(text), &ip), FM_OK);
    return ip;
}

static enum fm_err address(struct fm_limits *l, const char *text)
{
    bool held;
    const struct fm_ip of = ip(text);
    enum fm_err err = fm_limits_address_take(l, &of, &held);
    assert_int_equal(held, err == FM_OK);
    return err;
}

static void an_address_is_counted_whole_in_ipv4_and_by_its_64_in_ipv6(void **state)
{
    (void)state;
    struct fm_limits *l;
    assert_int_equal(fm_limits_new(&l, 2, 0), FM_OK);
    assert_true(address(l, "192.0.2.1") == FM_OK && address(l, "192.0.2.1") == FM_OK);
    assert_int_equal(address(l, "192.0.2.1"), FM_E_TOO_MANY_CONNECTIONS);
    assert_int_equal(address(l, "192.0.2.2"), FM_OK);
    assert_true(address(l, "2001:db8:1:2::1") == FM_OK && address(l, "2001:db8:1:2:ffff::9") == FM_OK);
    assert_int_equal(address(l, "2001:db8:1:2::7"), FM_E_TOO_MANY_CONNECTIONS);
    assert_int_equal(address(l, "2001:db8:1:3::1"), FM_OK);
    const struct fm_ip gone = ip("2001:db8:1:2::1");
    fm_limits_address_give(l, &gone);
    assert_int_equal(address(l, "2001:db8:1:2::8"), FM_OK);
    fm_limits_free(&l);
}

static void who_is_not_known_and_what_has_no_limit_is_not_counted(void **state)
{
    (void)state;
    struct fm_limits *l;
    bool held = true;
    const struct fm_ip unknown = {0};
    assert_int_equal(fm_limits_new(&l, 1, 1), FM_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(fm_limits_address_take(l, &unknown, &held) == FM_OK && !held);
        assert_true(fm_limits_user_take(l, FM_LIT(""), &held) == FM_OK && !held);
        assert_true(fm_limits_user_take(NULL, FM_LIT("ann"), &held) == FM_OK && !held);
    }
    assert_true(fm_limits_user_take(l, FM_LIT("ann"), &held) == FM_OK && held);
    assert_true(fm_limits_user_take(l, FM_LIT("ann"), &held) == FM_E_TOO_MANY_CONNECTIONS && !held);
    fm_limits_free(&l);
}

/* ---- rates ---- */

static const struct fm_rate rate = {.per_s = 10, .burst_ms = 2000};

static unsigned given(struct fm_bucket *b, struct fm_bucket *refused, uint64_t now_ms, unsigned times)
{
    unsigned n = 0;
    uint32_t retry_ms;
    while (times--)
        n += fm_bucket_take(b, refused, rate, 1, now_ms, &retry_ms) == FM_BUCKET_GIVES;
    return n;
}

static void a_bucket_gives_its_burst_and_then_at_its_rate(void **state)
{
    (void)state;
    struct fm_bucket b = {0}, refused = {0};
    assert_int_equal(given(&b, &refused, 5000, 25), 20);
    assert_int_equal(given(&b, &refused, 5050, 5), 0);
    assert_int_equal(given(&b, &refused, 6000, 15), 10);
    assert_int_equal(given(&b, &refused, 60000, 25), 20); /* and no more than its burst, however long it rested */
}

static void what_is_said_of_when_to_try_again_is_true(void **state)
{
    (void)state;
    struct fm_bucket b = {0}, refused = {0};
    uint32_t retry_ms, again_ms;
    assert_int_equal(given(&b, &refused, 1000, 20), 20);
    assert_int_equal(fm_bucket_take(&b, &refused, rate, 3, 1000, &retry_ms), FM_BUCKET_WAITS);
    assert_int_equal(retry_ms, 300);
    assert_int_equal(fm_bucket_take(&b, &refused, rate, 3, 1000 + retry_ms - 1, &again_ms), FM_BUCKET_WAITS);
    assert_int_equal(fm_bucket_take(&b, &refused, rate, 3, 1000 + retry_ms, &again_ms), FM_BUCKET_GIVES);
}

static void one_that_is_larger_than_the_bucket_passes_when_nothing_is_owed(void **state)
{
    (void)state;
    struct fm_bucket b = {0}, refused = {0};
    uint32_t retry_ms;
    assert_int_equal(fm_bucket_take(&b, &refused, rate, 100, 1000, &retry_ms), FM_BUCKET_GIVES);
    assert_int_equal(fm_bucket_take(&b, &refused, rate, 100, 1000, &retry_ms), FM_BUCKET_WAITS);
    assert_int_equal(retry_ms, 10000);
    assert_int_equal(fm_bucket_take(&b, &refused, rate, 100, 11000, &retry_ms), FM_BUCKET_GIVES);
}

static void who_goes_on_without_listening_is_told_apart(void **state)
{
    (void)state;
    struct fm_bucket b = {0}, refused = {0}, calm = {0}, calm_refused = {0};
    uint32_t retry_ms = 0;
    enum fm_bucket_verdict v = FM_BUCKET_GIVES;
    unsigned times = 0;
    for (; v != FM_BUCKET_ABUSED && times < 100; times++)
        v = fm_bucket_take(&b, &refused, rate, 1, 1000, &retry_ms);
    assert_int_equal(times, 20 + 20 + 1);             /* the burst, as much again, and one more */
    for (uint64_t now = 1000, i = 0; i < 1000; i++) { /* twice as often as it may, for a long time, but it waits when it is told to */
        v = fm_bucket_take(&calm, &calm_refused, rate, 1, now, &retry_ms);
        assert_int_not_equal(v, FM_BUCKET_ABUSED);
        now += v == FM_BUCKET_WAITS ? retry_ms : 50;
    }
}

static void without_a_rate_nothing_is_counted(void **state)
{
    (void)state;
    struct fm_bucket b = {0}, refused = {0};
    uint32_t retry_ms;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(fm_bucket_take(&b, &refused, (struct fm_rate){0}, 1, 1, &retry_ms), FM_BUCKET_GIVES);
    assert_int_equal(b.earned_us, 0);
}

/* ---- the log ---- */

/* What is told of such refusals, one a moment, goes to `file` instead of to standard error. */
static void told_to(FILE *file, struct fm_limits *l, enum fm_limit limit, const uint64_t *at_ms, size_t n)
{
    const struct fm_peer peer = {.ip = ip("192.0.2.1"), .port = 4711};
    int before = dup(STDERR_FILENO);
    assert_true(before >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    for (size_t i = 0; i < n; i++)
        fm_limit_tell(l, limit, &peer, FM_LIT("ann \"x\""), at_ms[i]);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    close(before);
}

static size_t read_all(FILE *file, char *out, size_t max)
{
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
    ssize_t n = read(fileno(file), out, max - 1);
    assert_true(n >= 0);
    out[n] = 0;
    size_t lines = 0;
    for (const char *p = out; (p = strchr(p, '\n')); p++)
        lines++;
    return lines;
}

static void a_burst_is_told_when_it_begins_and_the_next_one_says_how_many_it_had(void **state)
{
    (void)state;
    struct fm_limits *l;
    FILE *file = tmpfile();
    char text[4096];
    /* Quiet for less than ten seconds is no end of a burst; for longer is. */
    const uint64_t at_ms[] = {1000, 1001, 5000, 14999, 24998, 34999, 35000, 100000};
    assert_int_equal(fm_limits_new(&l, 1, 1), FM_OK);
    assert_non_null(file);
    told_to(file, l, FM_LIMIT_JOINS, at_ms, 5);
    assert_int_equal(read_all(file, text, sizeof text), 1);
    assert_non_null(
        strstr(text, "level=warn event=limit_reached limit=joins_per_s peer=192.0.2.1:4711 user=\"ann \\\"x\\\"\" last_burst=0 why="));
    told_to(file, l, FM_LIMIT_JOINS, at_ms + 5, 3);
    assert_int_equal(read_all(file, text, sizeof text), 3);
    assert_non_null(strstr(text, "last_burst=4 "));
    assert_non_null(strstr(text, "last_burst=1 "));
    told_to(file, l, FM_LIMIT_TOPICS, at_ms + 7, 1); /* each limit has its own */
    assert_int_equal(read_all(file, text, sizeof text), 4);
    fclose(file);
    fm_limits_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_allowed_are_taken_and_room_is_made_by_giving_back),
        cmocka_unit_test(threads_together_never_take_more_and_lose_none),
        cmocka_unit_test(an_address_is_counted_whole_in_ipv4_and_by_its_64_in_ipv6),
        cmocka_unit_test(who_is_not_known_and_what_has_no_limit_is_not_counted),
        cmocka_unit_test(a_bucket_gives_its_burst_and_then_at_its_rate),
        cmocka_unit_test(what_is_said_of_when_to_try_again_is_true),
        cmocka_unit_test(one_that_is_larger_than_the_bucket_passes_when_nothing_is_owed),
        cmocka_unit_test(who_goes_on_without_listening_is_told_apart),
        cmocka_unit_test(without_a_rate_nothing_is_counted),
        cmocka_unit_test(a_burst_is_told_when_it_begins_and_the_next_one_says_how_many_it_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
