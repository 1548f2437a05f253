/* A node that is started more often than origins are remembered, while another is out of reach. */
#include "sim_scene.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* c alone heard of that life of b, and is back when a has no room for it any more. */
static void an_origin_that_comes_too_late_to_be_taken_in_is_told(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0), *c = scene_start(2);
    scene_run(4000);
    scene_subscribe(a);
    struct fm_vector before = scene_cursor(a);
    scene_cut(a, c);
    scene_cut(a, &scene.nodes[1]);
    struct scene_node *b = scene_start(1);
    scene_run(4000);
    scene_publish(b, 3);
    scene_run(500);
    uint64_t origin = b->incarnation;
    scene_stop(b);
    fm_sim_net_heal_all(scene.net);
    scene_cut(a, c);
    scene_cut(&scene.nodes[1], c);
    scene_lives(a, NULL, 260);
    struct fm_gap *gap;
    while ((gap = scene_next(a, FM_HUB_GAP)) != NULL) { /* without c nobody can say how those lives ended that had to go */
        assert_int_not_equal(gap->origin, origin);
        fm_gap_free(&gap);
    }
    fm_sim_net_heal_all(scene.net);
    for (unsigned ms = 0; ms < 20000 && !(gap = scene_next(a, FM_HUB_GAP)); ms++)
        scene_run(1);
    assert_true(gap && gap->origin == origin && gap->from == 1 && gap->to == 3 && gap->reason == FM_GAP_LOST);
    /* Soon c is blind of the same, as of a later time, and the gap's cursor counts as older without need (docs/decisions/0011): that is no
     * matter here. */
    scene_cut(a, c);
    assert_true(scene_recovers(a, &gap->cursor));
    fm_gap_free(&gap);
    fm_sim_net_heal_all(scene.net);
    scene_run(20000);
    assert_int_equal(fm_hub_stats(a->hub)->origins_refused, 1); /* and once is enough */
    assert_int_equal(scene_messages(a), 0);
    assert_false(scene_recovers(a, &before));
    fm_vector_fini(&before);
}

/* c alone has what b said, and is out of reach until a has no scene_room for that life of b any more. */
static void what_is_missing_of_an_origin_is_told_as_a_gap_before_it_is_forgotten(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0), *b = scene_start(1), *c = scene_start(2);
    scene_run(4000);
    scene_subscribe(a);
    struct fm_sim_faults no_asks = scene_calm;
    no_asks.ask_loss_ppm = 1000000;
    scene_faults(no_asks);
    scene_cut(a, b);
    scene_publish(b, 3);
    scene_run(1000);
    assert_int_equal(fm_hub_stats(a->hub)->holes, 1);
    uint64_t origin = b->incarnation;
    scene_stop(b);
    fm_sim_net_heal_all(scene.net);
    scene_cut(a, c);
    scene_cut(b, c);
    scene_faults(scene_calm);
    scene_lives(a, NULL, 250);
    assert_null(scene_next(a, FM_HUB_GAP));
    scene_lives(a, NULL, 10);
    struct fm_gap *gap = scene_next(a, FM_HUB_GAP);
    assert_true(gap && gap->origin == origin && gap->from == 1 && gap->to >= 3 && gap->reason == FM_GAP_LOST);
    fm_gap_free(&gap);
}

static void a_node_that_is_cut_off_is_not_forgotten_for_one_that_is_started_300_times(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0), *c = scene_start(2);
    scene_run(4000);
    scene_subscribe(a);
    scene_publish(c, 3);
    scene_run(500);
    assert_int_equal(scene_messages(a), 3);
    scene_cut(a, c);
    scene_cut(&scene.nodes[1], c);
    scene_lives(a, NULL, 300);
    scene_publish(c, 1);
    fm_sim_net_heal_all(scene.net);
    scene_run(10000);
    assert_int_equal(scene_messages(a), 1); /* none twice */
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(an_origin_that_comes_too_late_to_be_taken_in_is_told),
        SCENE(what_is_missing_of_an_origin_is_told_as_a_gap_before_it_is_forgotten),
        SCENE(a_node_that_is_cut_off_is_not_forgotten_for_one_that_is_started_300_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
