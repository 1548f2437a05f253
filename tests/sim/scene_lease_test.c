/* Presences that the HTTP API shows, with two or three nodes driven by hand: a key has one, whichever node is asked. */
#include "sim_scene_presence.h"

#include "../../broker/command.h"
#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void show(struct scene_node *n, const char *key, const char *meta)
{
    assert_int_equal(scene_show_for(n, key, meta, 60000), FM_OK);
}

/* A client of the node. */
static void client(struct scene_node *n, enum fm_track_op op, uint64_t holder, const char *key)
{
    const struct fm_track_parts parts = {.topic = scene_room, .key = fm_slice_str(key), .meta = FM_LIT("{\"client\":1}")};
    struct fm_track *t = fm_track_new(op, 0, holder, &parts);
    assert_non_null(t);
    fm_hub_handle(n->hub, scene_now(n), &t->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
}

static void hide(struct scene_node *n, const char *key)
{
    const struct fm_cluster_command c = {.kind = FM_COMMAND_UNTRACK, .topic = scene_room, .text = fm_slice_str(key)};
    struct fm_publish *p = fm_publish_new(0, 1, 1, (struct fm_slice){0});
    assert_non_null(p);
    p->msgs[0] = fm_command_message(&c, (struct fm_slice){0});
    assert_non_null(p->msgs[0]);
    fm_hub_handle(n->hub, scene_now(n), &p->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    p = scene_next(n, FM_HUB_PUBLISH);
    assert_true(p && p->err == FM_OK);
    fm_publish_free(&p);
}

/* The metas that the node shows, without their refs: `{"n":1},{"n":2}`. */
static const char *shown(struct scene_node *n)
{
    static char text[1024];
    size_t at = 0;
    struct fm_query *q = fm_query_new(0, 1, FM_QUERY_PRESENCE, scene_room, (struct fm_slice){0});
    assert_non_null(q);
    q->limit = 100;
    fm_hub_handle(n->hub, scene_now(n), &q->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    q = scene_next(n, FM_HUB_QUERY);
    assert_true(q && q->err == FM_OK);
    fm_buf_u8(&q->json, 0);
    text[0] = 0;
    for (const char *s = strstr((const char *)q->json.p, "\"metas\":["); s; s = strstr(s, "\"metas\":[")) {
        for (s += 9; *s == '{'; s = strchr(s, '}') + 1, s += *s == ',') {
            const char *ref = strstr(s, "\"phx_ref\"");
            at += (size_t)snprintf(text + at, sizeof text - at, "%.*s ", (int)(ref - s), s);
        }
    }
    fm_query_free(&q);
    return text;
}

#define ASSERT_ALL_SHOW(text) \
    do { \
        for (unsigned i_ = 0; i_ < SCENE_NODES; i_++) \
            if (scene.nodes[i_].hub) \
                assert_string_equal(shown(&scene.nodes[i_]), text); \
    } while (0)

static void what_the_api_shows_ends_with_its_time_and_showing_it_again_gives_it_more(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    assert_int_equal(scene_show_for(a, "bob", "{\"n\":1}", 3000), FM_OK);
    scene_run(2000);
    assert_int_equal(scene_show_for(a, "bob", "{\"n\":1}", 3000), FM_OK);
    scene_run(2500);
    assert_non_null(strstr(shown(c), "{\"n\":1,"));
    scene_run(1000);
    assert_null(strstr(shown(c), "{\"n\":1,"));
}

static void many_end_each_at_its_time(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0);
    scene_run(4000);
    for (unsigned i = 0; i < 60; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%02u", i);
        assert_int_equal(scene_show_for(a, key, "{\"n\":1}", 1000 * (1 + i * 37 % 60)), FM_OK);
    }
    for (unsigned s = 0; s < 60; s++) {
        scene_run(500);
        size_t n = 0;
        for (const char *at = shown(a); (at = strstr(at, "{")); at++)
            n++;
        assert_int_equal(n, 60 - s);
        scene_run(500);
    }
    scene_run(500);
    assert_string_equal(shown(a), "");
    assert_int_equal(fm_hub_stats(a->hub)->presences, 0);
}

static void a_key_that_is_shown_by_another_node_is_shown_once_as_it_was_last(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    show(a, "ann", "{\"n\":1}");
    scene_run(500);
    ASSERT_ALL_SHOW("{\"n\":1, ");
    show(b, "ann", "{\"n\":2}");
    scene_run(500);
    ASSERT_ALL_SHOW("{\"n\":2, ");
    show(a, "ann", "{\"n\":3}");
    scene_run(500);
    ASSERT_ALL_SHOW("{\"n\":3, ");
    assert_int_equal(fm_hub_stats(c->hub)->presences, 1);
}

static void of_two_that_did_not_know_of_each_other_one_stays_the_same_on_all_nodes(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    show(a, "ann", "{\"n\":1}");
    show(b, "ann", "{\"n\":2}");
    scene_run(1000);
    char text[64];
    (void)snprintf(text, sizeof text, "%s", shown(c));
    assert_true(strcmp(text, "{\"n\":1, ") == 0 || strcmp(text, "{\"n\":2, ") == 0);
    ASSERT_ALL_SHOW(text);
}

static void any_node_ends_it_for_all_and_leaves_a_clients_own_alone(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    client(a, FM_TRACK, 7, "ann");
    show(a, "ann", "{\"n\":1}");
    show(a, "bob", "{\"n\":2}");
    scene_run(500);
    hide(b, "ann");
    hide(c, "nobody");
    scene_run(500);
    ASSERT_ALL_SHOW("{\"client\":1, {\"n\":2, ");
    client(a, FM_UNTRACK, 7, "");
    hide(a, "bob");
    scene_run(500);
    ASSERT_ALL_SHOW("");
}

static void who_was_shown_anew_after_the_end_was_asked_for_stays(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    show(a, "ann", "{\"n\":1}");
    scene_run(500);
    scene_cut(a, b);
    hide(b, "ann");
    scene_run(2000);
    show(a, "ann", "{\"n\":2}");
    scene_run(1000);
    fm_sim_net_heal_all(scene.net);
    scene_run(10000);
    assert_string_equal(shown(a), "{\"n\":2, ");
    assert_string_equal(shown(b), "{\"n\":2, ");
}

static void it_goes_with_its_node(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    show(a, "ann", "{\"n\":1}");
    show(b, "bob", "{\"n\":2}");
    scene_run(500);
    scene_stop(a);
    scene_run(2000);
    ASSERT_ALL_SHOW("{\"n\":2, ");
}

static void little_room(struct fm_hub_config *c)
{
    c->presence_bytes = 2000;
}

static void beyond_presence_bytes_nobody_more_is_shown_and_nothing_grows(void **state)
{
    (void)state;
    char large[1500] = "{\"n\":\"";
    scene.tune = little_room;
    struct scene_node *a = scene_start(0);
    scene_run(4000);
    memset(large + 6, 'x', sizeof large - 9);
    memcpy(large + sizeof large - 3, "\"}", 3);
    show(a, "ann", "{\"n\":1}");
    assert_int_equal(scene_show_for(a, "ann", large, 60000), FM_E_PRESENCE_FULL);
    scene_run(500);
    assert_string_equal(shown(a), "{\"n\":1, ");
    enum fm_err err = FM_OK;
    for (unsigned i = 0; !err && i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%02u", i);
        err = scene_show_for(a, key, "{\"n\":2}", 60000);
    }
    assert_int_equal(err, FM_E_PRESENCE_FULL);
    assert_int_equal(fm_hub_stats(a->hub)->presence_refused, 2);
    assert_int_equal(scene_show_for(a, "ann", "{\"n\":1}", 60000), FM_OK);
}

static bool allowed;

static bool is_allowed(void *ctx, struct fm_slice topic)
{
    (void)ctx, (void)topic;
    return allowed;
}

static void with_rules(struct fm_hub_config *c)
{
    c->presence_allowed = is_allowed;
}

static void rules_without_presence_end_all_of_it(void **state)
{
    (void)state;
    allowed = true;
    scene.tune = with_rules;
    struct scene_node *a = scene_start(0);
    scene_run(4000);
    for (unsigned i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%02u", i);
        show(a, key, "{\"n\":1}");
    }
    client(a, FM_TRACK, 7, "ann");
    scene_run(500);
    fm_hub_retention(a->hub, NULL);
    scene_run(500);
    assert_int_equal(fm_hub_stats(a->hub)->presences, 21);
    allowed = false;
    fm_hub_retention(a->hub, NULL);
    scene_run(500);
    assert_string_equal(shown(a), "{\"client\":1, "); /* that is its worker's business */
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(what_the_api_shows_ends_with_its_time_and_showing_it_again_gives_it_more),
        SCENE(many_end_each_at_its_time),
        SCENE(a_key_that_is_shown_by_another_node_is_shown_once_as_it_was_last),
        SCENE(of_two_that_did_not_know_of_each_other_one_stays_the_same_on_all_nodes),
        SCENE(any_node_ends_it_for_all_and_leaves_a_clients_own_alone),
        SCENE(who_was_shown_anew_after_the_end_was_asked_for_stays),
        SCENE(it_goes_with_its_node),
        SCENE(beyond_presence_bytes_nobody_more_is_shown_and_nothing_grows),
        SCENE(rules_without_presence_end_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
