/* Clients without a socket: whose bucket it is, what one request may take of a topic, and how many are known at once. */
#include "../../../gateway/worker/senders.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct fm_rate slow = {.per_s = 1, .burst_ms = 1000};

static struct fm_peer at(const char *address)
{
    struct fm_peer peer = {0};
    assert_int_equal(fm_ip_read(fm_slice_str(address), &peer.ip), FM_OK);
    return peer;
}

static uint64_t turn; /* of the request that is being judged */

static enum fm_err take(struct fm_senders *s, const char *address, const char *user, const char *topic, uint64_t n)
{
    const struct fm_peer peer = at(address);
    const struct fm_sender who = {.peer = &peer, .user = fm_slice_str(user)};
    uint32_t retry_ms;
    enum fm_err err = fm_senders_take(s, turn, &who, fm_slice_str(topic), FM_LIMIT_PUSHES, slow, n, 1000, &retry_ms);
    assert_int_equal(retry_ms > 0, err == FM_E_RATE_LIMITED);
    return err;
}

static void a_client_is_its_user_or_else_its_address(void **state)
{
    (void)state;
    struct fm_senders *s = fm_senders_new();
    assert_non_null(s);
    turn = fm_senders_turn(s);
    assert_int_equal(take(s, "192.0.2.1", "", "", 1), FM_OK);
    assert_int_equal(take(s, "192.0.2.1", "", "", 1), FM_E_RATE_LIMITED);
    assert_int_equal(take(s, "192.0.2.2", "", "", 1), FM_OK);
    assert_int_equal(take(s, "192.0.2.1", "ann", "", 1), FM_OK);
    assert_int_equal(take(s, "192.0.2.3", "ann", "", 1), FM_E_RATE_LIMITED);
    assert_int_equal(take(s, "2001:db8::1", "", "", 1), FM_OK);
    assert_int_equal(take(s, "2001:db8::2", "", "", 1), FM_E_RATE_LIMITED);
    /* Neither a topic nor a user is mistaken for another's. */
    assert_int_equal(take(s, "192.0.2.1", "", "t", 1), FM_OK);
    assert_int_equal(take(s, "192.0.2.9", "an", "nt", 1), FM_OK);
    assert_int_equal(take(s, "192.0.2.9", "a", "nnt", 1), FM_OK);
    fm_senders_free(&s);
}

static void what_one_request_sends_to_a_topic_is_judged_once_and_owed_whole(void **state)
{
    (void)state;
    struct fm_senders *s = fm_senders_new();
    assert_non_null(s);
    turn = fm_senders_turn(s);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(take(s, "192.0.2.1", "", "t", 1), FM_OK);
    turn = fm_senders_turn(s);
    const struct fm_peer peer = at("192.0.2.1");
    const struct fm_sender who = {.peer = &peer};
    uint32_t retry_ms;
    assert_int_equal(fm_senders_take(s, turn, &who, FM_LIT("t"), FM_LIMIT_PUSHES, slow, 1, 1000, &retry_ms), FM_E_RATE_LIMITED);
    assert_int_equal(retry_ms, 3000);
    assert_int_equal(fm_senders_take(s, turn, &who, FM_LIT("t"), FM_LIMIT_PUSHES, slow, 1, 4000, &retry_ms), FM_OK);
    fm_senders_free(&s);
}

static void so_many_are_known_and_the_longest_unused_goes(void **state)
{
    (void)state;
    struct fm_senders *s = fm_senders_new();
    assert_non_null(s);
    char topic[16];
    turn = fm_senders_turn(s);
    assert_int_equal(take(s, "192.0.2.1", "", "", 1), FM_OK);
    assert_int_equal(take(s, "192.0.2.2", "", "", 1), FM_OK);
    for (unsigned i = 0; i < FM_SENDERS_MAX - 1; i++) {
        snprintf(topic, sizeof topic, "%u", i);
        assert_int_equal(take(s, "192.0.2.3", "", topic, 1), FM_OK);
        assert_int_equal(take(s, "192.0.2.2", "", "", 1), FM_E_RATE_LIMITED); /* who is looked at stays */
    }
    assert_int_equal(take(s, "192.0.2.1", "", "", 1), FM_OK); /* and who was forgotten begins anew */
    fm_senders_free(&s);
}

enum { THREADS = 4, ROUNDS = 2000, BURST = 500 };

static const struct fm_rate burst = {.per_s = 1, .burst_ms = 1000 * BURST};

static void *send(void *ctx)
{
    const struct fm_peer peer = at("192.0.2.1");
    const struct fm_sender who = {.peer = &peer};
    uintptr_t given = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t retry_ms;
        given += fm_senders_take(ctx, fm_senders_turn(ctx), &who, FM_LIT(""), FM_LIMIT_PUSHES, burst, 1, 1000, &retry_ms) == FM_OK;
    }
    return (void *)given;
}

static void workers_together_give_a_client_no_more_than_one_would(void **state)
{
    (void)state;
    struct fm_senders *s = fm_senders_new();
    pthread_t threads[THREADS];
    uintptr_t given = 0;
    assert_non_null(s);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send, s), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *n;
        pthread_join(threads[i], &n);
        given += (uintptr_t)n;
    }
    assert_int_equal(given, BURST);
    fm_senders_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_is_its_user_or_else_its_address),
        cmocka_unit_test(what_one_request_sends_to_a_topic_is_judged_once_and_owed_whole),
        cmocka_unit_test(so_many_are_known_and_the_longest_unused_goes),
        cmocka_unit_test(workers_together_give_a_client_no_more_than_one_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
