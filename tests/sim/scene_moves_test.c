/* Who moves to another node within the grace is not seen to go, by nobody: whatever a third node hears first. */
#include "sim_scene_presence.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* So long does the node say so, and nothing else. */
static void steady(struct scene_node *n, const char *wanted, unsigned ms)
{
    for (unsigned at = 0; at < ms; at += 10) {
        scene_run(10);
        assert_string_equal(scene_count(n), wanted);
    }
}

/* So long it shows all of these keys, whatever else under them. */
static void all_stay(struct scene_node *n, const char *keys, unsigned ms)
{
    for (unsigned at = 0; at < ms; at += 10) {
        scene_run(10);
        assert_string_equal(strchr(scene_count(n), ' '), keys);
    }
}

static void lag(const struct scene_node *from, const struct scene_node *to, unsigned ms)
{
    fm_sim_net_lag(scene.net, from->bus_address, to->bus_address, ms * FM_SIM_MS);
}

static void assert_moved(struct scene_node *n, const char *join, const char *leave)
{
    const char *told = scene_diff(n);
    assert_non_null(strstr(told, join));
    assert_non_null(strstr(told, leave));
    assert_string_equal(scene_diff(n), "");
}

static void a_node_that_hears_late_of_where_somebody_went_shows_one_diff(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{\"n\":1}");
    scene_run(500);
    scene_watch(c);
    lag(b, c, 700);
    scene_lose(a, 1);
    scene_run(200);
    scene_show(b, 1, "ann", "{\"n\":2}");
    steady(c, "1 of 1", 2000);
    assert_moved(c, "\"joins\":{\"ann\":{\"metas\":[{\"n\":2,", "\"leaves\":{\"ann\":{\"metas\":[{\"n\":1,");
    scene_unshow(b, 1);
    scene_run(1500);
    assert_string_equal(scene_count(c), "0 of 0"); /* who leaves by itself is not waited for */
}

static void what_is_lost_on_the_way_there_makes_nobody_go(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{}");
    scene_run(500);
    scene_lose(a, 1);
    scene_cut(b, c);
    scene_show(b, 1, "ann", "{}");
    steady(c, "1 of 1", 3000); /* longer than b is believed in unheard; a hears it, and has what it tells */
    fm_sim_net_heal_all(scene.net);
    steady(c, "1 of 1", 10000);
}

static void who_comes_before_the_old_connection_is_known_to_be_lost_is_not_seen_to_go(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{}");
    scene_run(500);
    lag(b, c, 900);
    scene_show(b, 1, "ann", "{}");
    scene_run(200);
    scene_lose(a, 1);
    steady(c, "1 of 1", 3000);
}

static void of_two_connections_under_one_key_none_is_seen_to_go(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{\"tab\":1}");
    scene_show(a, 2, "ann", "{\"tab\":2}");
    scene_run(5000); /* else the second might have come for the first */
    lag(b, c, 700);
    scene_lose(a, 1);
    scene_show(b, 1, "ann", "{\"tab\":1}");
    steady(c, "2 of 1", 200);
    scene_lose(a, 2);
    scene_show(b, 2, "ann", "{\"tab\":2}");
    steady(c, "2 of 1", 5000);
}

static void who_moves_on_and_on_is_there_all_the_time_and_in_the_end_once(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{\"n\":1}");
    scene_run(500);
    lag(b, c, 700);
    scene_lose(a, 1);
    scene_show(b, 1, "ann", "{\"n\":2}");
    steady(c, "1 of 1", 150);
    scene_lose(b, 1);
    scene_show(a, 2, "ann", "{\"n\":3}"); /* c hears of this before it hears of b */
    all_stay(c, " of 1", 1500);
    steady(c, "1 of 1", 5000);
}

static void who_went_to_a_node_that_dies_before_it_tells_goes_with_the_grace(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{}");
    scene_run(500);
    scene_lose(a, 1);
    scene_run(100);
    lag(b, c, 60000);
    scene_show(b, 1, "ann", "{}");
    scene_run(100);
    scene_cut(a, c); /* nor does it hear of it from a */
    scene_stop(b);
    scene_run(6000);
    fm_sim_net_heal_all(scene.net);
    scene_run(6000);
    assert_string_equal(scene_count(a), "0 of 0");
    assert_string_equal(scene_count(c), "0 of 0");
}

static void few_tombs(struct fm_hub_config *c)
{
    c->presence_tombs = 0;
}

static void a_node_that_missed_where_they_went_and_takes_the_whole_set_sees_nobody_go(void **state)
{
    (void)state;
    enum { MOVERS = 40 };
    scene.tune = few_tombs;
    struct scene_node *a, *b, *c;
    char key[16];
    scene_start_three(&a, &b, &c);
    for (unsigned i = 1; i <= MOVERS; i++) {
        (void)snprintf(key, sizeof key, "user%u", i);
        scene_show(a, i, key, "{}");
    }
    scene_run(500);
    assert_string_equal(scene_count(c), "40 of 40");
    lag(b, c, 700);
    scene_cut(a, c);
    for (unsigned i = 1; i <= MOVERS; i++) {
        (void)snprintf(key, sizeof key, "user%u", i);
        scene_lose(a, i);
        scene_show(b, i, key, "{}");
    }
    all_stay(c, " of 40", 500);
    fm_sim_net_heal_all(scene.net);
    all_stay(c, " of 40", 6000);
    assert_string_equal(scene_count(c), "40 of 40");
    assert_true(fm_hub_stats(c->hub)->presence_whole > 0);
}

static void quick_small_pages(struct fm_hub_config *c)
{
    c->presence_tombs = 0;
    c->presence_pace_ms = 2;
    c->batch_bytes = 300;
}

static void who_is_kept_stays_though_another_one_under_the_key_leaves_at_that_moment(void **state)
{
    (void)state;
    enum { OTHERS = 200 };
    scene.tune = quick_small_pages;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{\"tab\":1}");
    scene_show(b, 1, "bob", "{}");
    scene_show(c, 1, "ann", "{\"tab\":2}");
    scene_run(5000);
    assert_string_equal(scene_count(c), "3 of 2");
    scene_cut(a, c);
    scene_cut(b, c);
    lag(b, c, 900);
    for (unsigned i = 2; i < OTHERS; i++) /* so that it takes c a while to come to where ann went */
        scene_show(b, i, "bob", "{}");
    scene_run(100);
    scene_lose(a, 1);
    scene_show(b, OTHERS, "ann", "{\"tab\":1}");
    all_stay(c, " of 2", 500);
    fm_sim_net_heal_all(scene.net);
    for (unsigned i = 0; i < 3000 && fm_hub_stats(c->hub)->presence_whole == 0; i++)
        scene_run(2);
    assert_true(fm_hub_stats(c->hub)->presence_whole > 0); /* it knows that the one of a is gone, and not where */
    assert_string_equal(strchr(scene_count(c), ' '), " of 2");
    scene_unshow(c, 1);
    for (unsigned i = 0; i < 3000; i++) {
        scene_run(2);
        assert_string_equal(strchr(scene_count(c), ' '), " of 2");
    }
    assert_string_equal(scene_count(c), "200 of 2");
}

static void who_leaves_a_node_that_drains_for_another_one_is_not_seen_to_go(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{}");
    scene_show(a, 2, "amy", "{}");
    scene_run(500);
    scene_watch(c);
    lag(b, c, 800);
    scene_lose(a, 1);
    scene_lose(a, 2);
    fm_hub_drain(a->hub, scene_now(a));
    scene_run(4);
    scene_show(b, 1, "ann", "{}");
    for (unsigned ms = 0; ms < 1500 && !fm_hub_left(a->hub); ms += 10)
        steady(c, "2 of 2", 10);
    assert_true(fm_hub_left(a->hub));
    scene_stop(a);
    scene_show(b, 2, "amy", "{}");
    steady(c, "2 of 2", 6000);
    unsigned diffs = 0;
    for (const char *told = scene_diff(c); *told; told = scene_diff(c), diffs++)
        assert_null(strstr(told, "\"joins\":{}"));
    assert_true(diffs > 0);
}

static void what_the_api_shows_at_another_node_is_not_seen_to_go(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    assert_int_equal(scene_show_for(a, "ann", "{\"n\":1}", 60000), FM_OK);
    scene_run(500);
    scene_watch(c);
    lag(b, c, 700);
    assert_int_equal(scene_show_for(b, "ann", "{\"n\":2}", 60000), FM_OK);
    steady(c, "1 of 1", 2000);
    assert_moved(c, "\"joins\":{\"ann\":{\"metas\":[{\"n\":2,", "\"leaves\":{\"ann\":{\"metas\":[{\"n\":1,");
}

static void who_moves_while_the_node_stands_still_is_not_seen_to_go(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{\"n\":1}");
    scene_run(500);
    scene_watch(a);
    scene_lose(a, 1);
    scene_run(200);
    a->frozen = true;
    scene_run(2600); /* the others take it for dead: their links to it end */
    scene_cut(a, b);
    scene_cut(a, c);
    scene_show(b, 1, "ann", "{\"n\":2}");
    scene_run(2000); /* all in all longer than the grace */
    a->frozen = false;
    fm_sim_net_heal_all(scene.net);
    all_stay(a, " of 1", 3000);
    assert_string_equal(scene_count(c), "1 of 1");
    assert_moved(a, "\"joins\":{\"ann\":{\"metas\":[{\"n\":2,", "\"leaves\":{\"ann\":{\"metas\":[{\"n\":1,");
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(a_node_that_hears_late_of_where_somebody_went_shows_one_diff),
        SCENE(what_is_lost_on_the_way_there_makes_nobody_go),
        SCENE(who_comes_before_the_old_connection_is_known_to_be_lost_is_not_seen_to_go),
        SCENE(of_two_connections_under_one_key_none_is_seen_to_go),
        SCENE(who_moves_on_and_on_is_there_all_the_time_and_in_the_end_once),
        SCENE(who_went_to_a_node_that_dies_before_it_tells_goes_with_the_grace),
        SCENE(who_moves_while_the_node_stands_still_is_not_seen_to_go),
        SCENE(a_node_that_missed_where_they_went_and_takes_the_whole_set_sees_nobody_go),
        SCENE(who_is_kept_stays_though_another_one_under_the_key_leaves_at_that_moment),
        SCENE(who_leaves_a_node_that_drains_for_another_one_is_not_seen_to_go),
        SCENE(what_the_api_shows_at_another_node_is_not_seen_to_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
