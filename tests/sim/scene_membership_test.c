/* Who knows whom: meeting, leaving, being cut off. */
#include "sim_scene.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void hellos_that_were_lost_come_again(void **state)
{
    (void)state;
    struct fm_sim_faults fog = scene_calm;
    fog.loss_ppm = 1000000;
    scene_faults(fog);
    struct scene_node *a = scene_start(0), *b = scene_start(1);
    scene_run(1000);
    assert_int_equal(scene_peers(a), 0);
    scene_faults(scene_calm);
    scene_run(1500);
    assert_true(scene_peers(a) == 1 && scene_peers(b) == 1);
}

static void nodes_that_know_no_common_seed_in_reach_meet_through_a_third(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SCENE_NODES; i++) { /* everyone knows only the first */
        scene.nodes[i].seeds[0] = i ? scene.nodes[0].bus_address : NULL;
        scene.nodes[i].seeds[1] = NULL;
    }
    struct scene_node *a = scene_start(0), *b = scene_start(1);
    scene_run(1000);
    scene_cut(a, b);
    scene_run(4000); /* each takes the other for dead */
    struct scene_node *c = scene_start(2);
    scene_run(4000);
    assert_int_equal(scene_peers(c), 2); /* a told it of b, out of a's own reach */
}

static void a_draining_node_that_is_cut_off_waits_and_then_hands_over(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_cut(a, b);
    scene_run(3000);
    scene_publish(a, 5);
    fm_hub_drain(a->hub, scene_now(a));
    scene_run(3000);
    assert_false(fm_hub_left(a->hub));
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    assert_true(fm_hub_left(a->hub));
    scene_stop(a);
    struct fm_join *j = scene_join(b, b->incarnation, 0);
    assert_int_equal(j->replayed, 5);
    fm_join_free(&j);
}

static void nodes_that_all_drain_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_publish(a, 1);
    fm_hub_drain(a->hub, scene_now(a));
    fm_hub_drain(b->hub, scene_now(b));
    scene_run(1500);
    assert_true(fm_hub_left(a->hub) && fm_hub_left(b->hub));
}

static void a_node_that_drains_while_it_meets_its_first_other_node_hands_over_all_the_same(void **state)
{
    (void)state;
    struct fm_sim_faults slow = scene_calm;
    slow.delay_us_min = slow.delay_us_max = 200 * FM_SIM_MS;
    scene_faults(slow);
    scene_cut(&scene.nodes[0], &scene.nodes[1]);
    struct scene_node *a = scene_start(0), *b = scene_start(1);
    scene_run(6000);
    scene_publish(a, 3);
    uint64_t origin = a->incarnation;
    fm_sim_net_heal_all(scene.net);
    /* It says hello as soon as there is a link, and knows only later who is there. */
    for (unsigned ms = 0; ms < 10000 && fm_hub_stats(a->hub)->bytes_out == 0; ms += 10)
        scene_run(10);
    assert_int_equal(scene_peers(a), 0);
    fm_hub_drain(a->hub, scene_now(a));
    scene_run(3000);
    assert_true(fm_hub_left(a->hub));
    scene_stop(a);
    struct fm_join *j = scene_join(b, origin, 0);
    assert_true(j->recovered && j->replayed == 3);
    fm_join_free(&j);
}

static uint64_t isolated(const struct scene_node *n)
{
    return fm_hub_stats(n->hub)->isolated;
}

static void a_node_is_isolated_while_it_knows_of_others_and_reaches_none(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SCENE_NODES; i++)
        scene.nodes[i].seeds[1] = NULL; /* 0 and 1 know each other, and nobody 2 */
    struct scene_node *a = scene_start(0);
    scene_run(2000);
    assert_int_equal(isolated(a), 0); /* it still looks for its seed */
    scene_run(3000);
    assert_int_equal(isolated(a), 1);
    struct scene_node *b = scene_start(1);
    scene_run(5000);
    assert_int_equal(isolated(a) + isolated(b), 0);
    scene_cut(a, b);
    scene_run(5000);
    assert_int_equal(isolated(a) + isolated(b), 2);
    fm_sim_net_heal_all(scene.net);
    scene_run(5000);
    assert_int_equal(isolated(a) + isolated(b), 0);
    a->frozen = true;
    scene_run(20000);
    assert_int_equal(isolated(b), 1);
    a->frozen = false;
    scene_run(100);
    assert_int_equal(isolated(a), 0); /* it stood still itself */
    scene_run(5000);
    assert_int_equal(isolated(a) + isolated(b), 0);
    fm_hub_drain(b->hub, scene_now(b));
    scene_run(2000);
    assert_true(fm_hub_left(b->hub));
    scene_stop(b);
    scene_run(5000);
    assert_int_equal(isolated(a), 0); /* the other left in good order */
}

/* A new life of node `i`, of a cluster that the others refuse. */
static struct scene_node *start_stranger(unsigned i)
{
    scene.cluster = FM_LIT("another");
    struct scene_node *n = scene_start(i);
    scene.cluster = FM_LIT("scene");
    return n;
}

static void a_stranger_that_dials_again_and_again_does_not_keep_a_node_from_noticing_who_is_gone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SCENE_NODES; i++)
        scene.nodes[i].seeds[1] = NULL; /* 0 and 1 know each other; 2 dials 0 */
    struct scene_node *a = scene_start(0), *b = scene_start(1), *stranger = start_stranger(2);
    scene_run(5000);
    assert_int_equal(isolated(a), 0);
    assert_int_equal(isolated(stranger), 1);
    uint64_t refused = fm_hub_stats(a->hub)->envelopes_bad;
    scene_stop(b);
    scene_run(5000);
    assert_true(fm_hub_stats(a->hub)->envelopes_bad > refused);
    assert_int_equal(isolated(a), 1);
}

static void a_stranger_that_dials_again_and_again_does_not_hold_up_a_node_that_leaves(void **state)
{
    (void)state;
    scene.nodes[0].seeds[0] = NULL;
    scene.nodes[2].seeds[1] = NULL; /* it dials 0 alone */
    struct scene_node *a = scene_start(0);
    (void)start_stranger(2);
    scene_run(5000);
    uint64_t refused = fm_hub_stats(a->hub)->envelopes_bad;
    assert_true(refused > 0);
    fm_hub_drain(a->hub, scene_now(a));
    unsigned ms = 0;
    for (; ms < 3000 && !fm_hub_left(a->hub); ms += 2)
        scene_run(2);
    assert_true(fm_hub_left(a->hub));
    print_message("left after %u ms\n", ms);
}

static void publish_and_run(struct scene_node *n)
{
    scene_publish(n, 1);
    scene_run(2);
}

/* What comes after the drain began is the other's to hand on: nobody ever has all of it. And it needs no heartbeat to know that the other
 * has what it published itself: they come every 500 ms. */
static void a_node_leaves_while_another_that_stays_publishes_without_a_pause(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0), *b = scene_start(1), *c = scene_start(2);
    scene_run(5000);
    assert_true(scene_peers(a) == 2 && scene_peers(b) == 2 && scene_peers(c) == 2);
    scene_publish(b, 3);
    uint64_t origin = b->incarnation;
    for (unsigned i = 0; i < 200; i++)
        publish_and_run(a);
    fm_hub_drain(b->hub, scene_now(b));
    for (uint64_t until_ms = scene_now(b).mono_ms + 200; !fm_hub_left(b->hub) && scene_now(b).mono_ms < until_ms;)
        publish_and_run(a);
    assert_true(fm_hub_left(b->hub));
    scene_stop(b);
    for (unsigned i = 0; i < 2; i++) {
        struct fm_join *j = scene_join(i ? c : a, origin, 0);
        assert_true(j->recovered && j->replayed >= 3);
        fm_join_free(&j);
    }
}

static void a_node_that_knows_nobody_is_not_isolated(void **state)
{
    (void)state;
    scene.nodes[0].seeds[0] = NULL;
    struct scene_node *a = scene_start(0);
    scene_run(10000);
    assert_int_equal(isolated(a), 0);
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(hellos_that_were_lost_come_again),
        SCENE(nodes_that_know_no_common_seed_in_reach_meet_through_a_third),
        SCENE(a_draining_node_that_is_cut_off_waits_and_then_hands_over),
        SCENE(nodes_that_all_drain_do_not_wait_for_each_other),
        SCENE(a_node_that_drains_while_it_meets_its_first_other_node_hands_over_all_the_same),
        SCENE(a_node_is_isolated_while_it_knows_of_others_and_reaches_none),
        SCENE(a_stranger_that_dials_again_and_again_does_not_keep_a_node_from_noticing_who_is_gone),
        SCENE(a_stranger_that_dials_again_and_again_does_not_hold_up_a_node_that_leaves),
        SCENE(a_node_leaves_while_another_that_stays_publishes_without_a_pause),
        SCENE(a_node_that_knows_nobody_is_not_isolated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
