/* Deletions, held against many seeds: sim_deletion.h says what must hold. FANMESH_SIM_SEED is the first seed (1), FANMESH_SIM_SEEDS how
 * many (30; one, where only the first is given). */
#include "sim_deletion.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { SEEDS = 30 };

static void nothing_deleted_comes_back_and_nothing_else_goes(void **state)
{
    (void)state;
    const char *seed = getenv("FANMESH_SIM_SEED"), *seeds = getenv("FANMESH_SIM_SEEDS");
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1, n = seeds ? strtoull(seeds, NULL, 10) : seed ? 1 : SEEDS, failed = 0;
    struct sim_deletion_sums sums = {0};
    fm_diag_level_set(FM_ERROR);
    for (uint64_t i = first; i < first + n; i++) {
        const char *wrong = sim_deletion_run(i, &sums);
        if (wrong)
            print_message("FANMESH_SIM_SEED=%llu: %s\n", (unsigned long long)i, wrong);
        failed += wrong != NULL;
    }
    print_message("%llu seeds: %u deleted, %u not, %u came after their deletion, %u times commands may have been lost\n",
                  (unsigned long long)n, sums.gone, sums.kept, sums.late, sums.missed);
    assert_int_equal(failed, 0);
    assert_true(n < SEEDS || (sums.gone > 0 && sums.kept > 0 && sums.late > 0 && sums.missed > 0)); /* else it shows nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_deleted_comes_back_and_nothing_else_goes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
