/* Nodes whose wall clocks are wrong. */
#include "sim_scene.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void a_node_whose_clock_is_wrong_takes_over_histories_and_ages_them_rightly(void **state)
{
    (void)state;
    scene.age_ms = 20000;
    struct scene_node *a = scene_start(0);
    scene_run(4000);
    scene_publish(a, 3);
    scene_run(8000);
    scene.nodes[1].skew_ms = 12 * 3600 * 1000;
    scene.nodes[2].skew_ms = -12 * 3600 * 1000;
    struct scene_node *others[] = {scene_start(1), scene_start(2)};
    scene_run(4000);
    for (unsigned i = 0; i < 2; i++) {
        struct fm_join *j = scene_join(others[i], a->incarnation, 0);
        assert_true(j->recovered && j->replayed == 3);
        fm_join_free(&j);
    }
    scene_run(4000); /* the messages are older than 20 s now */
    for (unsigned i = 0; i < 2; i++) {
        struct fm_join *j = scene_join(others[i], a->incarnation, 0);
        assert_true(!j->recovered && j->replayed == 0);
        fm_join_free(&j);
    }
}

static void what_is_too_old_goes_though_messages_with_older_timestamps_stay(void **state)
{
    (void)state;
    scene.age_ms = 20000;
    scene.nodes[1].skew_ms = -12 * 3600 * 1000;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_publish(a, 1);
    scene_run(12000);
    scene_publish(b, 1);
    scene_run(9000);
    struct fm_join *j = scene_join(a, b->incarnation, 0);
    assert_int_equal(j->replayed, 1);
    assert_true(j->replay[0]->id.origin == b->incarnation);
    assert_int_equal(fm_vector_get(&j->cursor, a->incarnation), 1);
    fm_join_free(&j);
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(a_node_whose_clock_is_wrong_takes_over_histories_and_ages_them_rightly),
        SCENE(what_is_too_old_goes_though_messages_with_older_timestamps_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
