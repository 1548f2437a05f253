/* The probe's client, and a worker that takes its connections and does nothing with them. */
#include "../../../gateway/probe/probe_core.h"

#include "../../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TIMEOUT_MS = 5000, START_MS = 100000 };

static unsigned taken;
static bool stuck; /* the kernel answers no connection, as where the loopback interface drops what is sent */

/* In the place of the C library's. */
int connect(int fd, const struct sockaddr *at, socklen_t n)
{
    if (!stuck)
        return (int)syscall(SYS_connect, fd, at, n);
    if (!(fcntl(fd, F_GETFL) & O_NONBLOCK))
        fail_msg("this would wait for minutes");
    errno = EINPROGRESS;
    return -1;
}

void fm_worker_probe(struct fm_worker *w, int fd)
{
    (void)w;
    taken++;
    close(fd);
}

static struct fm_probe *probe_make(struct fm_probe_board *board, struct fm_worker *const *workers)
{
    struct fm_probe *p = calloc(1, sizeof *p + sizeof p->clients[0]);
    taken = 0;
    fm_diag_level_set(FM_ERROR);
    fm_probe_board_init(board, 1);
    p->config = (struct fm_probe_config){
        .workers = workers, .n = 1, .mount = "/socket", .every_ms = 600000, .timeout_ms = TIMEOUT_MS, .board = board};
    p->loop = ev_loop_new(0);
    fm_probe_client_init(&p->clients[0], p, 0);
    return p;
}

static void probe_end(struct fm_probe *p)
{
    fm_probe_client_drop(&p->clients[0]);
    ev_loop_destroy(p->loop);
    free(p);
}

static void a_connection_that_the_system_does_not_make_holds_nothing_up_and_is_told(void **state)
{
    (void)state;
    static struct fm_probe_board board;
    struct fm_worker *const workers[] = {NULL};
    struct fm_probe *p = probe_make(&board, workers);
    char why[200] = "";
    stuck = true;
    for (uint64_t ms = 0; ms <= TIMEOUT_MS + 100; ms += 50) {
        fm_probe_client_tick(&p->clients[0], START_MS + ms);
        ev_run(p->loop, EVRUN_NOWAIT);
    }
    assert_int_equal(taken, 0);
    assert_true(fm_probe_is_deaf(&board, START_MS + TIMEOUT_MS + 100, why, sizeof why));
    assert_non_null(strstr(why, "worker 0"));
    stuck = false;
    fm_probe_client_drop(&p->clients[0]);
    p->clients[0].again_ms = 0;
    fm_probe_client_tick(&p->clients[0], START_MS + 2 * TIMEOUT_MS);
    assert_int_equal(taken, 1);
    probe_end(p);
}

/* A worker that hung for a moment is asked again when the time limit is over, not when the next message would be due. */
static void what_was_late_is_tried_again_at_once_however_slow_the_pace(void **state)
{
    (void)state;
    static struct fm_probe_board board;
    struct fm_worker *const workers[] = {NULL};
    struct fm_probe *p = probe_make(&board, workers);
    fm_probe_client_tick(&p->clients[0], START_MS);
    assert_int_equal(taken, 1);
    fm_probe_client_tick(&p->clients[0], START_MS + TIMEOUT_MS - 1);
    assert_int_equal(taken, 1);
    for (uint64_t ms = TIMEOUT_MS; ms < TIMEOUT_MS + 100; ms += 50)
        fm_probe_client_tick(&p->clients[0], START_MS + ms);
    assert_int_equal(taken, 2);
    probe_end(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_that_the_system_does_not_make_holds_nothing_up_and_is_told),
        cmocka_unit_test(what_was_late_is_tried_again_at_once_however_slow_the_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
