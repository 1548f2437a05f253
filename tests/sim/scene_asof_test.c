/* Origins that nobody names any more: what those are told who may have missed something of them. */
#include "sim_scene.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Logs that end with the histories: an origin is forgotten when nothing of it is held. */
static void short_logs(struct fm_hub_config *config)
{
    config->log_age_ms = scene.age_ms;
}

/* Nodes 0 and 2, which forget within 20 s. */
static void start_forgetful(struct scene_node **a, struct scene_node **c)
{
    scene.ttl_ms = 20000;
    scene.age_ms = 5000;
    scene.tune = short_logs;
    *a = scene_start(0);
    *c = scene_start(2);
    scene_run(4000);
}

static void heal(void)
{
    fm_sim_net_heal_all(scene.net);
}

/* A life of node 1 that publishes and dies, and is forgotten by all who are there. */
static void life_forgotten(struct scene_node *watcher)
{
    struct scene_node *b = scene_start(1);
    scene_run(4000);
    scene_publish(b, 3);
    scene_run(500);
    assert_int_equal(scene_messages(watcher), 3);
    uint64_t origins = fm_hub_stats(watcher->hub)->origins;
    scene_stop(b);
    scene_run(24000);
    assert_int_equal(fm_hub_stats(watcher->hub)->origins, origins - 1);
}

/* a sees b and c go, and by the time it is back with b, nobody names c any more; but c was only cut off. */
static void what_a_node_accepted_while_it_was_given_up_is_given_once_it_is_back(void **state)
{
    (void)state;
    scene.ttl_ms = 24000;
    struct scene_node *a = scene_start(0), *b = scene_start(1), *c = scene_start(2);
    scene_run(4000);
    struct fm_vector before = scene_cursor(a);
    scene_publish(c, 1);
    scene_run(500);
    assert_int_equal(scene_messages(a), 1);
    scene_cut(a, b);
    scene_cut(a, c);
    scene_cut(b, c);
    scene_publish(c, 2);
    scene_run(13000);
    heal();
    scene_cut(a, c);
    scene_cut(b, c);
    scene_run(5000);
    struct fm_gap *gap = scene_next(a, FM_HUB_GAP);
    assert_true(gap && gap->origin == c->incarnation && gap->from == 2 && gap->to == FM_GAP_OPEN && gap->reason == FM_GAP_LOST);
    assert_true(scene_recovers(a, &gap->cursor)); /* who was told knows it */
    fm_gap_free(&gap);
    assert_false(scene_recovers(a, &before));
    heal();
    scene_run(2000);
    scene_publish(c, 1);
    scene_run(5000);
    for (uint64_t seq = 2; seq <= 4; seq++) {
        struct fm_msg_item *it = scene_next(a, FM_HUB_MSG);
        assert_true(it && it->msg->id.origin == c->incarnation && it->msg->id.seq == seq);
        fm_hub_item_free(&it->item);
    }
    assert_int_equal(scene_messages(a), 0);
    fm_vector_fini(&before);
}

static void a_cursor_from_before_an_origin_that_is_forgotten_is_not_recovered_on_any_node(void **state)
{
    (void)state;
    struct scene_node *a, *c;
    start_forgetful(&a, &c);
    struct fm_vector before = scene_cursor(a), none = {0};
    assert_true(scene_recovers(c, &before));
    life_forgotten(a);
    struct fm_vector after = scene_cursor(a);
    assert_false(scene_recovers(a, &before));
    assert_false(scene_recovers(c, &before));
    assert_true(scene_recovers(c, &after));
    assert_int_equal(fm_vector_copy(&none, &after), FM_OK); /* as a node of an earlier release gave it */
    fm_vector_remove(&none, FM_CURSOR_ASOF);
    assert_false(scene_recovers(a, &none));
    struct scene_node *b = scene_start(1); /* never heard of the life that is forgotten */
    scene_run(6000);
    assert_false(scene_recovers(b, &before));
    assert_true(scene_recovers(b, &after));
    fm_vector_fini(&before);
    fm_vector_fini(&after);
    fm_vector_fini(&none);
}

/* The node still knows the origin, so it knows what was missed: nothing, on that topic. */
static void a_cursor_from_before_an_origin_that_is_known_is_recovered_where_nothing_was_missed(void **state)
{
    (void)state;
    scene.ttl_ms = 40000;
    struct scene_node *a = scene_start(0), *c = scene_start(2);
    scene_run(4000);
    struct fm_vector before = scene_cursor(a);
    struct scene_node *b = scene_start(1);
    scene_run(4000);
    scene_publish_on(b, FM_LIT("room:2"));
    scene_run(500);
    scene_stop(b);
    scene_run(25000); /* it is not named any more */
    assert_true(scene_recovers(a, &before));
    assert_true(scene_recovers(c, &before));
    fm_vector_fini(&before);
}

/* What a position without the replay behind it is worth: the connection may break between the two. */
static void a_replay_that_did_not_arrive_is_missed_once_its_origin_is_forgotten(void **state)
{
    (void)state;
    struct scene_node *a, *c;
    start_forgetful(&a, &c);
    struct fm_vector before = scene_cursor(a);
    struct scene_node *b = scene_start(1);
    scene_run(4000);
    scene_publish(b, 3);
    scene_run(500);
    struct fm_join *j = scene_resume(a, &before);
    assert_true(j->recovered && j->replayed == 3);
    scene_stop(b);
    scene_run(26000);
    assert_false(scene_recovers(a, &j->cursor));
    fm_join_free(&j);
    fm_vector_fini(&before);
}

static void a_cursor_from_a_split_is_as_old_as_the_split(void **state)
{
    (void)state;
    struct scene_node *a, *c;
    start_forgetful(&a, &c);
    scene_subscribe(a);
    scene_subscribe(c);
    scene_cut(a, c);
    scene_cut(a, &scene.nodes[1]);
    scene_run(3000);
    life_forgotten(c);
    struct fm_vector during = scene_cursor(a), there = scene_cursor(c);
    assert_null(scene_next(a, FM_HUB_GAP));
    heal();
    scene_run(5000);
    assert_false(scene_recovers(c, &during));
    assert_false(scene_recovers(a, &during));
    assert_false(scene_recovers(c, &there)); /* whose it is a cursor does not say */
    fm_vector_fini(&there);
    there = scene_cursor(c);
    assert_true(scene_recovers(a, &there));
    /* Who was there all the time is told. */
    struct fm_gap *gap = scene_next(a, FM_HUB_GAP);
    assert_true(gap && gap->origin == 0 && gap->to == FM_GAP_OPEN && gap->reason == FM_GAP_LOST);
    fm_gap_free(&gap);
    assert_null(scene_next(a, FM_HUB_GAP));
    fm_vector_fini(&during);
    fm_vector_fini(&there);
}

/* It takes nobody for dead because it stood still, but knows nothing of what they did meanwhile. */
static void a_cursor_from_a_node_that_just_went_on_is_as_old_as_its_standstill(void **state)
{
    (void)state;
    scene.ttl_ms = 40000;
    scene.age_ms = 5000;
    scene.tune = short_logs;
    struct scene_node *a = scene_start(0), *c = scene_start(2);
    scene_run(4000);
    a->frozen = true;
    scene_cut(a, c); /* as a process that is stopped takes up no new link */
    scene_cut(a, &scene.nodes[1]);
    scene_run(3000);
    struct scene_node *b = scene_start(1);
    scene_run(4000);
    scene_publish(b, 3);
    scene_run(500);
    scene_stop(b);
    scene_run(6000);
    heal();
    a->frozen = false;
    struct fm_vector first = scene_cursor(a);
    scene_run(46000);
    assert_int_equal(fm_hub_stats(c->hub)->origins, 2);
    assert_false(scene_recovers(c, &first));
    fm_vector_fini(&first);
}

/* Two nodes whose steady clocks began at different times. */
static void a_cursor_means_the_same_to_a_node_that_was_started_later(void **state)
{
    (void)state;
    struct scene_node *a, *c;
    scene.nodes[2].up_ms = 40 * 24 * 3600 * 1000ull;
    start_forgetful(&a, &c);
    struct fm_vector before = scene_cursor(a);
    life_forgotten(a);
    struct fm_vector after = scene_cursor(a);
    assert_false(scene_recovers(c, &before));
    assert_true(scene_recovers(c, &after));
    fm_vector_fini(&before);
    fm_vector_fini(&after);
}

/* b is noticed first, while c seems to be there still: c has not spoken since b could have been missed, so it proves nothing of b's end. */
static void a_node_that_is_cut_off_from_all_takes_no_cursor_for_complete_before_it_has_noticed(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0), *b = scene_start(1), *c = scene_start(2);
    struct fm_sim_faults half_open = scene_calm;
    half_open.detect_us_min = half_open.detect_us_max = 3600 * 1000 * (uint64_t)FM_SIM_MS;
    scene_run(6000);
    scene_faults(half_open);
    struct fm_vector cursor = scene_cursor(a);
    uint64_t before_ms = fm_vector_get(&cursor, FM_CURSOR_ASOF);
    fm_vector_fini(&cursor);
    scene_cut(a, b);
    scene_run(1000);
    scene_cut(a, c);
    for (unsigned ms = 0; ms < 3000 && scene_peers(a) == 2; ms += 2)
        scene_run(2);
    assert_int_equal(scene_peers(a), 1);
    cursor = scene_cursor(a);
    assert_in_range(fm_vector_get(&cursor, FM_CURSOR_ASOF), 1, before_ms);
    fm_vector_fini(&cursor);
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(what_a_node_accepted_while_it_was_given_up_is_given_once_it_is_back),
        SCENE(a_cursor_from_before_an_origin_that_is_forgotten_is_not_recovered_on_any_node),
        SCENE(a_cursor_from_before_an_origin_that_is_known_is_recovered_where_nothing_was_missed),
        SCENE(a_replay_that_did_not_arrive_is_missed_once_its_origin_is_forgotten),
        SCENE(a_cursor_from_a_split_is_as_old_as_the_split),
        SCENE(a_cursor_from_a_node_that_just_went_on_is_as_old_as_its_standstill),
        SCENE(a_cursor_means_the_same_to_a_node_that_was_started_later),
        SCENE(a_node_that_is_cut_off_from_all_takes_no_cursor_for_complete_before_it_has_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
