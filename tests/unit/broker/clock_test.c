#include "../../../broker/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* time() goes on with the next tick, which is up to some ms later: a token of this second would be one of the future. */
static void a_second_begins_in_it_when_it_begins_in_the_clock(void **state)
{
    (void)state;
    uint64_t first = fm_unix_ms() / 1000;
    for (uint64_t second = first; second < first + 2;) {
        second = fm_unix_ms() / 1000;
        assert_true(fm_unix_s() >= second);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_begins_in_it_when_it_begins_in_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
