/* What was lost on the way: repaired, or given up and told. */
#include "sim_scene.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void a_tail_that_died_with_its_node_keeps_nobody_busy(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_publish_lost(a, 3);
    scene_run(1000); /* the heartbeat tells of three messages; pulls fail */
    assert_int_equal(fm_hub_stats(b->hub)->holes, 1);
    scene_stop(a);
    scene_faults(scene_calm);
    scene_run(10000);
    uint64_t pulls = fm_hub_stats(b->hub)->pulls, ticks = b->ticks;
    scene_run(10000);
    assert_int_equal(fm_hub_stats(b->hub)->pulls, pulls);
    assert_true(b->ticks - ticks < 10000 / 200 + 100);
}

static void a_tail_that_was_heard_of_is_told_as_a_gap_once_its_node_is_surely_gone(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_subscribe(b);
    scene_publish_lost(a, 3);
    scene_run(1000);
    uint64_t origin = a->incarnation;
    scene_stop(a);
    scene_faults(scene_calm);
    scene_run(10000);
    assert_null(scene_next(b, FM_HUB_GAP)); /* it may yet be back */
    scene_start(0);
    scene_run(10000);
    struct fm_gap *gap = scene_next(b, FM_HUB_GAP);
    assert_true(gap && gap->origin == origin && gap->from == 1 && gap->to == 3 && gap->reason == FM_GAP_LOST);
    fm_gap_free(&gap);
    assert_int_equal(fm_hub_stats(b->hub)->tail_unknown, 3);
    assert_int_equal(fm_hub_stats(b->hub)->holes, 0);
    scene_run(10000);
    assert_null(scene_next(b, FM_HUB_GAP));
    assert_int_equal(fm_hub_stats(b->hub)->tail_unknown, 3);
}

static void a_hole_is_given_up_when_pulls_bring_no_answer(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_subscribe(b);
    scene_publish(a, 1);
    scene_run(200);
    scene_publish_lost(a, 1);
    scene_publish(a, 1);
    scene_run(4000);
    assert_null(scene_next(b, FM_HUB_GAP));
    scene_run(8000);
    struct fm_gap *gap = scene_next(b, FM_HUB_GAP);
    assert_non_null(gap);
    assert_true(gap->from == 2 && gap->to == 2 && gap->reason == FM_GAP_LOST);
    fm_gap_free(&gap);
    assert_int_equal(scene_messages(b), 2);
}

static void the_holes_of_a_dead_node_are_given_up_together(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_subscribe(b);
    struct fm_sim_faults lossy = scene_calm;
    lossy.ask_loss_ppm = 1000000;
    for (unsigned i = 0; i < 10; i++) { /* every other message is lost */
        lossy.loss_ppm = i % 2 ? 0 : 1000000;
        scene_faults(lossy);
        scene_publish(a, 1);
    }
    scene_run(20);
    scene_stop(a);
    scene_faults(scene_calm);
    scene_run(9000);
    assert_int_equal(scene_messages(b), 5);
    assert_int_equal(fm_hub_stats(b->hub)->gaps, 5);
}

static void what_was_given_up_is_not_recovered_by_a_node_that_takes_over_later(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0);
    (void)scene_start(1);
    uint64_t origin = a->incarnation;
    scene_run(4000);
    scene_publish(a, 1);
    scene_run(200);
    scene_publish_lost(a, 1);              /* b never gets it ... */
    scene_publish_on(a, FM_LIT("room:2")); /* ... and notices by this one */
    scene_run(20);
    scene_stop(a);
    scene_faults(scene_calm);
    scene_run(9000);
    struct scene_node *c = scene_start(2);
    scene_run(6000);
    struct fm_join *j = scene_join(c, origin, 1);
    assert_false(j->recovered);
    assert_int_equal(fm_vector_get(&j->cursor, origin), 2);
    fm_join_free(&j);
}

static void a_node_that_stood_still_gives_nothing_up_and_nobody(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_subscribe(b);
    struct fm_sim_faults lossy = scene_calm;
    lossy.loss_ppm = 1000000;
    scene_faults(lossy);
    scene_publish(a, 1);
    scene_run(4);
    scene_faults(scene_calm);
    scene_publish(a, 1);
    scene_run(20); /* b holds the second and misses the first */
    b->frozen = true;
    scene_run(1900); /* not so long that a takes it for dead */
    fm_sim_run(scene.clock, 20000 * FM_SIM_MS);
    b->frozen = false;
    scene_run(10);
    assert_int_equal(scene_peers(b), 1);
    scene_run(3000);
    assert_null(scene_next(b, FM_HUB_GAP));
    assert_int_equal(scene_messages(b), 2);
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(a_tail_that_died_with_its_node_keeps_nobody_busy),
        SCENE(a_tail_that_was_heard_of_is_told_as_a_gap_once_its_node_is_surely_gone),
        SCENE(a_hole_is_given_up_when_pulls_bring_no_answer),
        SCENE(the_holes_of_a_dead_node_are_given_up_together),
        SCENE(what_was_given_up_is_not_recovered_by_a_node_that_takes_over_later),
        SCENE(a_node_that_stood_still_gives_nothing_up_and_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
