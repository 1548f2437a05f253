#include "../../../../load/lib/result.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void a_run_of_which_most_was_never_acknowledged_proves_nothing(void **state)
{
    (void)state;
    static struct fm_result r;
    r.all.publisher.sent = 100;
    r.all.publisher.acked = 90;
    r.all.publisher.unanswered = 10; /* a node was restarted */
    assert_int_equal(fm_result_exit(&r), FM_LOAD_OK);
    r.all.publisher.acked = 40;
    r.all.publisher.unanswered = 60;
    assert_int_equal(fm_result_exit(&r), FM_LOAD_UNUSABLE);
    r.all.publisher.acked = 0;
    r.all.publisher.unanswered = 0;
    assert_int_equal(fm_result_exit(&r), FM_LOAD_UNUSABLE);
    r.all.tally.missing = 1;
    assert_int_equal(fm_result_exit(&r), FM_LOAD_BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_of_which_most_was_never_acknowledged_proves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
