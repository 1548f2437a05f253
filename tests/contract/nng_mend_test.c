/* What broker/bus_nng_mend.c promises, seen from NNG's public interface; the linker has to have put it between NNG's files. */
#include "../../broker/bus_nng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <nng/supplemental/util/platform.h>
#include <cmocka.h>

enum { SOON_MS = 30000, SLEEP_MS = 400, SLEEPS = 10, GIVEN_UP_MS = 30000 };

static nng_stream *stream; /* between two ends in this process */
static nng_stream *other;

static void wait_for(nng_aio *aio)
{
    nng_aio_set_timeout(aio, SOON_MS);
    nng_aio_wait(aio);
    assert_int_equal(nng_aio_result(aio), 0);
}

static int set_up(void **state)
{
    (void)state;
    nng_stream_listener *listener;
    nng_stream_dialer *dialer;
    nng_aio *accepts, *dials;
    int port = 0;
    char url[FM_NNG_URL_MAX];
    assert_int_equal(nng_stream_listener_alloc(&listener, "tcp://127.0.0.1:0"), 0);
    assert_int_equal(nng_stream_listener_listen(listener), 0);
    assert_int_equal(nng_stream_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), 0);
    (void)snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    assert_int_equal(nng_stream_dialer_alloc(&dialer, url), 0);
    assert_int_equal(nng_aio_alloc(&accepts, NULL, NULL), 0);
    assert_int_equal(nng_aio_alloc(&dials, NULL, NULL), 0);
    nng_stream_listener_accept(listener, accepts);
    nng_stream_dialer_dial(dialer, dials);
    wait_for(accepts);
    wait_for(dials);
    other = nng_aio_get_output(accepts, 0);
    stream = nng_aio_get_output(dials, 0);
    nng_aio_free(accepts);
    nng_aio_free(dials);
    nng_stream_dialer_free(dialer);
    nng_stream_listener_free(listener);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    nng_stream_free(stream);
    nng_stream_free(other);
    return 0;
}

static void count(void *ended)
{
    atomic_fetch_add((_Atomic unsigned *)ended, 1);
}

/* Starts a transfer on an aio that is stopped, so that NNG refuses it. */
static void refused_transfer_ends(void (*start)(nng_stream *, nng_aio *))
{
    static uint8_t bytes[8];
    _Atomic unsigned ended = 0;
    nng_aio *aio;
    assert_int_equal(nng_aio_alloc(&aio, count, &ended), 0);
    nng_aio_stop(aio);
    assert_int_equal(nng_aio_set_iov(aio, 1, &(nng_iov){.iov_buf = bytes, .iov_len = sizeof bytes}), 0);
    start(stream, aio);
    for (unsigned ms = 0; ms < SOON_MS && !ended; ms++)
        nng_msleep(1);
    assert_int_equal(ended, 1);
    assert_int_equal(nng_aio_result(aio), NNG_ECLOSED);
    nng_aio_free(aio); /* waits for a second end, if there is one */
    assert_int_equal(ended, 1);
}

static void a_receive_that_nng_refuses_still_ends(void **state)
{
    (void)state;
    refused_transfer_ends(nng_stream_recv);
}

static void a_send_that_nng_refuses_still_ends(void **state)
{
    (void)state;
    refused_transfer_ends(nng_stream_send);
}

static void a_receive_that_is_closed_under_way_ends_once(void **state)
{
    (void)state;
    static uint8_t bytes[8];
    _Atomic unsigned ended = 0;
    nng_aio *aio;
    assert_int_equal(nng_aio_alloc(&aio, count, &ended), 0);
    assert_int_equal(nng_aio_set_iov(aio, 1, &(nng_iov){.iov_buf = bytes, .iov_len = sizeof bytes}), 0);
    nng_stream_recv(stream, aio);
    assert_int_equal(ended, 0);
    nng_aio_stop(aio);
    assert_int_equal(ended, 1);
    assert_int_equal(nng_aio_result(aio), NNG_ECANCELED);
    nng_aio_free(aio);
    assert_int_equal(ended, 1);
}

static double process_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* A wall clock can't be set back here; one that NNG does not read can't harm it. */
static void nng_measures_and_waits_on_the_steady_clock(void **state)
{
    (void)state;
    struct timespec steady;
    clock_gettime(CLOCK_MONOTONIC, &steady);
    uint64_t now = (uint64_t)steady.tv_sec * 1000 + (uint64_t)steady.tv_nsec / 1000000;
    assert_in_range(nng_clock(), now, now + SOON_MS);
    nng_aio *aio;
    assert_int_equal(nng_aio_alloc(&aio, NULL, NULL), 0);
    /* It sleeps: a thread that ran all the time would take what the machine gives to one, each time. */
    bool idle = false;
    for (unsigned tries = 0; tries < SLEEPS && !idle; tries++) {
        nng_time begin = nng_clock();
        double before = process_ms();
        nng_sleep_aio(SLEEP_MS, aio);
        nng_aio_wait(aio);
        uint64_t slept = nng_clock() - begin;
        assert_in_range(slept, SLEEP_MS, SLEEP_MS + SOON_MS);
        idle = process_ms() - before < (double)slept / 4;
    }
    assert_true(idle);
    nng_aio_free(aio);
}

/* A listener whose queue is full answers no attempt, as if packets vanished. */
static void a_dial_that_nobody_answers_is_given_up_within_seconds(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int full = socket(AF_INET, SOCK_STREAM, 0), first = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(full, (struct sockaddr *)&at, n), 0);
    assert_int_equal(listen(full, 0), 0);
    assert_int_equal(getsockname(full, (struct sockaddr *)&at, &n), 0);
    assert_int_equal(connect(first, (struct sockaddr *)&at, n), 0);
    assert_int_equal(poll(&(struct pollfd){.fd = full, .events = POLLIN}, 1, SOON_MS), 1); /* it is in the queue */
    nng_stream_dialer *dialer;
    nng_aio *dials;
    char url[FM_NNG_URL_MAX];
    (void)snprintf(url, sizeof url, "tcp://127.0.0.1:%u", ntohs(at.sin_port));
    assert_int_equal(nng_stream_dialer_alloc(&dialer, url), 0);
    assert_int_equal(nng_aio_alloc(&dials, NULL, NULL), 0);
    nng_aio_set_timeout(dials, GIVEN_UP_MS);
    nng_time begin = nng_clock();
    nng_stream_dialer_dial(dialer, dials);
    nng_aio_wait(dials);
    nng_stream *early = nng_aio_result(dials) == 0 ? nng_aio_get_output(dials, 0) : NULL;
    if (early) { /* NNG at times takes a connection that has only begun for one that stands */
        assert_int_equal(nng_aio_set_iov(dials, 1, &(nng_iov){.iov_buf = url, .iov_len = sizeof url}), 0);
        nng_stream_recv(early, dials);
        nng_aio_wait(dials);
    }
    assert_int_not_equal(nng_aio_result(dials), 0);
    assert_true(nng_clock() - begin < GIVEN_UP_MS); /* not by this limit */
    nng_aio_free(dials);
    if (early)
        nng_stream_free(early);
    nng_stream_dialer_free(dialer);
    close(first);
    close(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dial_that_nobody_answers_is_given_up_within_seconds),
        cmocka_unit_test(nng_measures_and_waits_on_the_steady_clock),
        cmocka_unit_test_setup_teardown(a_receive_that_nng_refuses_still_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_send_that_nng_refuses_still_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_receive_that_is_closed_under_way_ends_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("nng_mend", tests, NULL, NULL);
}
