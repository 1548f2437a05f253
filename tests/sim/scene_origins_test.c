/* Origins: how long they are remembered, and what is said of those that are not. */
#include "sim_scene.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static uint64_t stat_origins(const struct scene_node *n)
{
    return fm_hub_stats(n->hub)->origins;
}

/* More lives of one node than a cursor can name. a and c stay; the messages of a must stay too. */
static void a_node_that_is_started_300_times_is_taken_in_and_heard_each_time(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0), *c = scene_start(2);
    scene_run(4000);
    scene_publish(a, 3);
    scene_run(200);
    scene_subscribe(a);
    scene_subscribe(c);
    struct fm_vector before = scene_cursor(c);
    scene_lives(a, c, 300);
    assert_true(stat_origins(a) <= FM_ORIGINS_MAX && stat_origins(c) <= FM_ORIGINS_MAX);
    assert_true(fm_hub_stats(a->hub)->origins_forgotten >= 300 + 2 - FM_ORIGINS_MAX);
    scene_run(30000); /* what was forgotten does not come back from the others, as if it were new */
    assert_true(scene_messages(a) == 0 && scene_messages(c) == 0);
    assert_null(scene_next(a, FM_HUB_GAP));
    assert_int_equal(fm_hub_stats(a->hub)->holes, 0);
    struct fm_vector after = scene_cursor(c);
    assert_false(scene_recovers(a, &before)); /* it named none of those that were forgotten meanwhile */
    assert_true(scene_recovers(a, &after));
    fm_vector_fini(&before);
    fm_vector_fini(&after);
    struct scene_node *b = scene_start(1);
    scene_run(8000);
    struct fm_join *j = scene_join(b, a->incarnation, 0);
    assert_int_equal(j->replay[0]->id.origin, a->incarnation);
    assert_int_equal(j->replay[0]->id.seq, 1);
    assert_true(j->replayed > 500);
    fm_join_free(&j);
}

/* c takes over 250 origins at once, so it could take all of them for young; a forgets them one by one. */
static void what_a_node_took_over_looks_no_younger_to_the_others(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0), *c = scene_start(2);
    scene_run(4000);
    scene_subscribe(a);
    scene_subscribe(c);
    scene_lives(a, c, 250);
    scene_stop(c);
    scene_run(20000);
    c = scene_start(2);
    scene_run(8000);
    scene_subscribe(c);
    scene_lives(a, c, 10);
    scene_run(5000);
    assert_true(scene_messages(a) == 0 && scene_messages(c) == 0);
    assert_in_range(fm_hub_stats(a->hub)->origins_forgotten, 1, 20);
}

static void a_node_that_never_publishes_is_remembered_from_its_death_on(void **state)
{
    (void)state;
    scene.ttl_ms = 20000;
    struct scene_node *a = scene_start(0), *b = scene_start(1);
    scene_run(30000);
    uint64_t origin = b->incarnation;
    scene_stop(b);
    scene_run(4000);
    struct fm_join *j = scene_join(a, origin, 0); /* as every client of b comes back */
    assert_true(j->recovered);
    fm_join_free(&j);
    scene_run(40000);
    assert_false(fm_hub_stats(a->hub)->origins > 1); /* but not for ever */
}

static void the_end_of_an_origin_that_came_while_a_node_was_away_for_long_is_told_as_a_gap(void **state)
{
    (void)state;
    scene.ttl_ms = 20000;
    struct scene_node *a = scene_start(0), *b = scene_start(1), *c = scene_start(2);
    scene_run(6000);
    scene_subscribe(b);
    scene_publish(a, 1);
    scene_run(200);
    scene_cut(a, b);
    scene_cut(b, c);
    scene_publish(a, 3);
    scene_run(3000);
    fm_hub_drain(a->hub, scene_now(a));
    scene_run(1000);
    assert_true(fm_hub_left(a->hub));
    uint64_t origin = a->incarnation;
    scene_stop(a);
    scene_run(12000); /* nobody claims anything of a any more */
    scene.nodes[1].seeds[0] = scene.nodes[2].bus_address;
    fm_sim_net_heal_all(scene.net);
    a = scene_start(0);
    scene_run(6000);
    struct fm_gap *gap = scene_next(b, FM_HUB_GAP);
    while (gap && gap->origin != origin) { /* c may be the first to say that there was something */
        fm_gap_free(&gap);
        gap = scene_next(b, FM_HUB_GAP);
    }
    assert_true(gap && gap->from == 2 && gap->reason == FM_GAP_LOST);
    fm_gap_free(&gap);
    struct fm_join *j = scene_join(b, origin, 1);
    assert_false(j->recovered);
    fm_join_free(&j);
    assert_int_equal(fm_hub_stats(c->hub)->gaps, 0);
}

/* c alone has the end of b, and names b no more when it is back; a third node, which takes b's death for later than it was, still does, and
 * knows no more than a. */
static void an_end_that_is_named_no_more_by_the_only_node_that_has_it_is_told_as_a_gap(void **state)
{
    (void)state;
    scene.ttl_ms = 20000;
    struct scene_node *a = scene_start(0), *b = scene_start(1), *c = scene_start(2);
    scene_run(6000);
    scene_subscribe(a);
    scene_publish(b, 1);
    scene_run(200);
    scene_cut(a, b);
    scene_cut(a, c);
    scene_publish(b, 3);
    scene_run(500);
    uint64_t origin = b->incarnation, died_ms = scene_now(a).mono_ms;
    scene_stop(b);
    fm_sim_net_heal_all(scene.net);
    scene_cut(a, c);
    scene_cut(&scene.nodes[1], c);
    scene_run(3000);
    uint64_t heard = fm_hub_stats(a->hub)->envelopes_in;
    b = scene_start(1);
    while (fm_hub_stats(a->hub)->envelopes_in == heard)
        scene_run(2);
    b->frozen = true; /* what a says to it is old when it is read */
    scene_run(4000);
    b->frozen = false;
    scene_run((unsigned)(died_ms + 10400 - scene_now(a).mono_ms));
    assert_true(fm_hub_stats(b->hub)->ready);
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    assert_true(scene_peers(a) == 2 && scene_peers(c) == 2);
    assert_int_equal(scene_messages(a), 1);
    struct fm_gap *gap = scene_next(a, FM_HUB_GAP);
    while (gap && gap->origin != origin) {
        fm_gap_free(&gap);
        gap = scene_next(a, FM_HUB_GAP);
    }
    assert_true(gap && gap->from == 2 && gap->reason == FM_GAP_LOST);
    fm_gap_free(&gap);
}

/* Nobody but a could know more of b. */
static void the_last_of_two_nodes_keeps_what_the_other_published_however_long_that_is_gone(void **state)
{
    (void)state;
    scene.ttl_ms = 20000;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_subscribe(a);
    scene_publish(b, 3);
    uint64_t origin = b->incarnation;
    scene_run(500);
    scene_stop(b);
    scene_run(15000);
    (void)scene_start(1);
    scene_run(5000);
    assert_null(scene_next(a, FM_HUB_GAP));
    struct fm_join *j = scene_join(a, origin, 0);
    assert_true(j->recovered && j->replayed == 3);
    fm_join_free(&j);
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(a_node_that_is_started_300_times_is_taken_in_and_heard_each_time),
        SCENE(what_a_node_took_over_looks_no_younger_to_the_others),
        SCENE(a_node_that_never_publishes_is_remembered_from_its_death_on),
        SCENE(the_end_of_an_origin_that_came_while_a_node_was_away_for_long_is_told_as_a_gap),
        SCENE(an_end_that_is_named_no_more_by_the_only_node_that_has_it_is_told_as_a_gap),
        SCENE(the_last_of_two_nodes_keeps_what_the_other_published_however_long_that_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
