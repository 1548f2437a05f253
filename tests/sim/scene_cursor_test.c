/* Cursors that say more than their node knows. */
#include "sim_scene.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void a_position_from_the_other_side_of_a_split_stays_in_the_cursor(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_publish(a, 3);
    scene_run(200);
    scene_cut(a, b);
    scene_publish(a, 4);
    struct fm_join *j = scene_join(b, a->incarnation, 7);
    assert_true(j->recovered);
    assert_int_equal(fm_vector_get(&j->cursor, a->incarnation), 7);
    assert_int_equal(fm_vector_get(&j->skip, a->incarnation), 7);
    fm_join_free(&j);
}

static void an_origin_unknown_to_this_side_of_a_split_stays_in_the_cursor_unrecovered(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0);
    scene_run(4000);
    scene_publish(a, 7);
    scene_cut(a, &scene.nodes[1]);
    struct scene_node *b = scene_start(1);
    scene_run(4000);
    struct fm_join *j = scene_join(b, a->incarnation, 7);
    assert_false(j->recovered); /* there may be more that nobody here knows of */
    assert_int_equal(fm_vector_get(&j->cursor, a->incarnation), 7);
    assert_int_equal(fm_vector_get(&j->skip, a->incarnation), 7);
    fm_join_free(&j);
}

static void what_a_whole_cluster_has_forgotten_is_dropped_from_the_cursor(void **state)
{
    (void)state;
    scene.nodes[0].seeds[1] = scene.nodes[1].seeds[1] = NULL; /* there are only two */
    struct scene_node *a = scene_start(0);
    (void)scene_start(1);
    scene_run(70 * 1000);
    struct fm_join *j = scene_join(a, 4711, 7);
    assert_false(j->recovered);
    assert_false(fm_vector_has(&j->cursor, 4711));
    assert_int_equal(j->skip.n, 0);
    fm_join_free(&j);
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(a_position_from_the_other_side_of_a_split_stays_in_the_cursor),
        SCENE(an_origin_unknown_to_this_side_of_a_split_stays_in_the_cursor_unrecovered),
        SCENE(what_a_whole_cluster_has_forgotten_is_dropped_from_the_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
