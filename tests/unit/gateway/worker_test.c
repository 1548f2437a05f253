#include "../../../gateway/worker/worker_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <poll.h>

static struct fm_mailbox mailbox;
static struct fm_worker *worker; /* its loop is run by hand */

static int start(void **state)
{
    (void)state;
    const struct fm_worker_config config = {.internal = true, .listen = "127.0.0.1:0", .mailbox = &mailbox, .connections_max = 1};
    assert_int_equal(fm_mailbox_init(&mailbox, 1 << 20), FM_OK);
    assert_int_equal(fm_worker_new(&worker, &config), FM_OK);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fm_worker_stop(&worker);
    fm_mailbox_fini(&mailbox);
    return 0;
}

/* Else the loop waits for it, at most for a tick. */
static bool rung(void)
{
    return poll(&(struct pollfd){.fd = mailbox.bell, .events = POLLIN}, 1, 0) == 1;
}

static bool asked, rung_before, rung_behind;

static void behind_settling(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
    (void)events;
    ev_prepare_stop(loop, prepare);
    rung_before = rung();
    asked = !ev_is_active(&worker->settle);
    fm_worker_settle_soon(worker);
    rung_behind = rung();
}

static void what_is_to_be_settled_after_that_was_done_keeps_the_loop_from_waiting(void **state)
{
    (void)state;
    struct ev_prepare behind;
    ev_prepare_init(&behind, behind_settling);
    ev_set_priority(&behind, EV_MINPRI);
    ev_prepare_start(worker->loop, &behind);
    fm_worker_settle_soon(worker);
    assert_false(rung()); /* it comes before the loop waits */
    ev_run(worker->loop, EVRUN_NOWAIT);
    assert_true(asked && !rung_before && rung_behind);
    ev_run(worker->loop, EVRUN_NOWAIT);
    assert_false(ev_is_active(&worker->settle)); /* and is done in the next turn */
    assert_false(rung());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_to_be_settled_after_that_was_done_keeps_the_loop_from_waiting, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
