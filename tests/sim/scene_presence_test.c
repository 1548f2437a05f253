/* Who is on a topic, with two or three nodes driven by hand: when presences are told, hidden and shown again. */
#include "sim_scene_presence.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* How long until the node says so; at most `most`. */
static unsigned ms_until(struct scene_node *n, const char *wanted, unsigned most)
{
    unsigned ms = 0;
    while (ms < most && strcmp(scene_count(n), wanted) != 0) {
        scene_run(10);
        ms += 10;
    }
    assert_string_equal(scene_count(n), wanted);
    return ms;
}

static void the_presences_of_a_node_that_dies_are_hidden_within_two_seconds_by_everyone(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{}");
    scene_show(b, 1, "bob", "{}");
    scene_run(500);
    assert_string_equal(scene_count(c), "2 of 2");
    scene_stop(a);
    unsigned first = ms_until(b, "1 of 1", 2000), then = ms_until(c, "1 of 1", 2000 - first);
    print_message("           hidden after %u ms, by the other after %u ms more\n", first, then);
    assert_true(first > 1000); /* not for a heartbeat that comes late */
}

static void a_node_that_another_one_hears_is_shown_where_it_is_not_heard(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{}");
    scene_run(500);
    scene_cut(a, c);
    scene_show(a, 2, "amy", "{}");
    for (unsigned ms = 0; ms < 10000; ms += 100) {
        scene_run(100);
        assert_true(strcmp(scene_count(c), "1 of 1") == 0 || strcmp(scene_count(c), "2 of 2") == 0);
    }
    assert_string_equal(scene_count(c), "2 of 2"); /* b handed on what c could not hear */
    scene_stop(a);
    (void)ms_until(c, "0 of 0", 2000);
}

static void what_a_split_hid_is_back_after_it_and_so_is_what_was_missed(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_show(a, 1, "ann", "{}");
    scene_show(a, 2, "amy", "{}");
    scene_show(b, 1, "bob", "{}");
    scene_run(500);
    assert_string_equal(scene_count(a), "3 of 3");
    scene_cut(a, b);
    scene_run(4000);
    assert_string_equal(scene_count(a), "2 of 2");
    assert_string_equal(scene_count(b), "1 of 1");
    scene_unshow(a, 1);
    scene_show(b, 2, "ben", "{}");
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    assert_string_equal(scene_count(a), "3 of 3");
    assert_string_equal(scene_count(b), "3 of 3");
}

static void who_is_back_under_the_same_key_on_the_same_node_was_never_away(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_show(a, 1, "ann", "{\"n\":1}");
    scene_run(500);
    scene_watch(a);
    scene_watch(b);
    scene_lose(a, 1);
    scene_run(2500);
    scene_show(a, 2, "ann", "{\"n\":1}");
    scene_run(10000);
    assert_string_equal(scene_count(b), "1 of 1");
    assert_string_equal(scene_diff(a), "");
    assert_string_equal(scene_diff(b), "");
    scene_lose(a, 1); /* a holder of long ago */
    scene_run(10000);
    assert_string_equal(scene_count(b), "1 of 1");
    scene_lose(a, 2);
    scene_run(2500);
    assert_string_equal(scene_count(b), "1 of 1");
    scene_run(1500);
    assert_string_equal(scene_count(b), "0 of 0");
}

static void who_is_back_on_another_node_is_one_diff_there_in_which_the_old_meta_leaves(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    scene_start_three(&a, &b, &c);
    scene_show(a, 1, "ann", "{\"n\":1}");
    scene_run(500);
    scene_watch(c);
    scene_lose(a, 1);
    scene_run(500);
    scene_show(b, 1, "ann", "{\"n\":2}");
    scene_run(1000);
    const char *told = scene_diff(c);
    assert_non_null(strstr(told, "\"joins\":{\"ann\":{\"metas\":[{\"n\":2,"));
    assert_non_null(strstr(told, "\"leaves\":{\"ann\":{\"metas\":[{\"n\":1,"));
    assert_string_equal(scene_diff(c), "");
    assert_string_equal(scene_count(a), "1 of 1");
}

static void of_two_connections_under_one_key_each_takes_one_place(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_show(a, 1, "ann", "{\"tab\":1}");
    scene_show(a, 2, "ann", "{\"tab\":2}");
    scene_run(5000);
    scene_lose(a, 1);
    scene_lose(a, 2);
    scene_show(b, 1, "ann", "{\"tab\":1}");
    scene_run(500);
    assert_string_equal(scene_count(b), "2 of 1");
    scene_show(b, 2, "ann", "{\"tab\":2}");
    scene_run(500);
    assert_string_equal(scene_count(b), "2 of 1");
    scene_run(5000);
    assert_string_equal(scene_count(a), "2 of 1");
}

static void presences_of_a_node_that_takes_its_leave_are_shown_as_long_as_their_clients_may_be_back(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_show(a, 1, "ann", "{}");
    scene_show(a, 2, "amy", "{}");
    scene_run(500);
    scene_watch(b);
    scene_lose(a, 1);
    scene_lose(a, 2);
    fm_hub_drain(a->hub, scene_now(a));
    for (unsigned ms = 0; ms < 1000 && !fm_hub_left(a->hub); ms += 2)
        scene_run(2);
    assert_true(fm_hub_left(a->hub));
    scene_stop(a);
    scene_run(1000);
    scene_show(b, 1, "ann", "{}");
    scene_run(500);
    assert_string_equal(scene_count(b), "2 of 2");
    assert_non_null(strstr(scene_diff(b), "\"leaves\":{\"ann\"")); /* the old meta, as the new one came */
    scene_run(3000);
    assert_string_equal(scene_count(b), "1 of 1");
    assert_non_null(strstr(scene_diff(b), "\"leaves\":{\"amy\""));
}

/* One page of the keys behind `after`, which becomes the last of them; false: there is no more. */
static bool page(struct scene_node *n, char after[16], unsigned *members)
{
    static const char key[] = ":{\"metas\":", next[] = ",\"next\":\"";
    struct fm_query *q = fm_query_new(0, 1, FM_QUERY_PRESENCE, scene_room, fm_slice_str(after));
    assert_non_null(q);
    q->limit = 1000;
    fm_hub_handle(n->hub, scene_now(n), &q->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    q = scene_next(n, FM_HUB_QUERY);
    assert_true(q && q->err == FM_OK);
    const uint8_t *at = q->json.p, *end = at + q->json.n;
    for (; (at = memmem(at, (size_t)(end - at), key, sizeof key - 1)) != NULL; at++, (*members)++) {
        char name[16] = "";
        memcpy(name, at - 10, 9); /* "user00000" */
        assert_true(strcmp(after, name) < 0);
        memcpy(after, name, sizeof name);
    }
    bool more = memmem(q->json.p, q->json.n, next, sizeof next - 1) != NULL;
    fm_query_free(&q);
    return more;
}

static void thirty_thousand_members_of_one_topic_are_known_to_both_nodes_and_told_in_pieces(void **state)
{
    (void)state;
    enum { MEMBERS = 30000 };
    char key[16] = "";
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    for (unsigned i = 0; i < MEMBERS; i++) {
        (void)snprintf(key, sizeof key, "user%05u", i * 7919 % MEMBERS);
        scene_show(i % 2 ? a : b, 1 + i, key, "{\"mood\":\"well\"}");
        if (i % 500 == 0)
            scene_run(20);
    }
    (void)ms_until(b, "30000 of 30000", 20000);
    (void)ms_until(a, "30000 of 30000", 20000);
    print_message("           %llu bytes a presence\n", (unsigned long long)fm_hub_stats(b->hub)->presence_bytes / MEMBERS);
    scene_track_post(b, scene_track(FM_PRESENCE_WATCH, 0, "", ""));
    scene_run(100);
    struct fm_presence_state *s = scene_next(b, FM_HUB_PRESENCE);
    assert_true(s && s->n > 1);
    for (uint32_t i = 0; i < s->n; i++)
        assert_true(s->msgs[i]->payload_n < (256 << 10) + 200);
    fm_hub_item_free(&s->item);
    char after[16] = "";
    unsigned members = 0, pages = 1;
    for (; page(b, after, &members); pages++)
        ;
    assert_int_equal(members, MEMBERS);
    assert_int_equal(pages, MEMBERS / 1000);
}

static void small_states(struct fm_hub_config *c)
{
    c->presence_state_bytes = 1024;
}

static struct fm_presence_state *state_of_moment(struct scene_node *n, const char *with, const char *without)
{
    struct fm_presence_state *s = scene_next(n, FM_HUB_PRESENCE);
    bool there = false;
    for (uint32_t i = 0; s && i < s->n; i++) {
        struct fm_slice all = fm_msg_payload(s->msgs[i]);
        there |= memmem(all.p, all.n, with, strlen(with)) != NULL;
        assert_null(memmem(all.p, all.n, without, strlen(without)));
    }
    assert_true(!s || there);
    return s;
}

/* Some 260 messages; a node that makes one in each of its turns has not made half of them when the diff is due. */
static void a_large_state_is_made_between_what_others_want_and_is_of_one_moment_though_somebody_comes_meanwhile(void **state)
{
    (void)state;
    char key[16];
    scene.tune = small_states;
    struct scene_node *a = scene_start(0);
    scene_run(4000);
    for (unsigned i = 1; i <= 6000; i++) {
        (void)snprintf(key, sizeof key, "user%05u", i);
        scene_show(a, i, key, "{}");
    }
    scene_run(500);
    scene_subscribe(a);
    scene_track_post(a, scene_track(FM_PRESENCE_WATCH, 0, "", ""));
    assert_null(scene_next(a, FM_HUB_PRESENCE));
    scene_show(a, 7000, "late", "{}");
    scene_unshow(a, 1);
    scene_publish(a, 1);
    assert_int_equal(scene_messages(a), 1); /* nobody waits for it */
    struct fm_presence_state *s = NULL;
    for (unsigned ms = 0; ms < 150 && !s; ms += 2) {
        scene_run(2);
        s = state_of_moment(a, "\"user00001\"", "\"late\"");
        assert_true(s || !*scene_diff(a)); /* else it would be before what it changes */
    }
    assert_true(s && s->n > 200);
    fm_hub_item_free(&s->item);
    const char *told = scene_diff(a);
    assert_true(strstr(told, "\"late\"") && strstr(told, "\"leaves\":{\"user00001\""));
    /* Whoever asks when nothing is due is given it piece by piece to the end, and nothing is left of it when nobody wants it any more. */
    scene_track_post(a, scene_track(FM_PRESENCE_WATCH, 0, "", ""));
    scene_run(1000);
    s = state_of_moment(a, "\"late\"", "\"user00001\"");
    assert_true(s && s->n > 200);
    fm_hub_item_free(&s->item);
    scene_unshow(a, 2);
    scene_run(200);
    scene_track_post(a, scene_track(FM_PRESENCE_WATCH, 0, "", ""));
    scene_track_post(a, scene_track(FM_PRESENCE_UNWATCH, 0, "", ""));
    scene_run(600);
    assert_null(scene_next(a, FM_HUB_PRESENCE));
}

/* Nothing that is done for one of them grows with the others, or this takes minutes. */
static void forty_thousand_connections_under_one_key_come_move_and_go_and_are_told_in_pieces(void **state)
{
    (void)state;
    enum { MEMBERS = 40000 };
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    for (unsigned i = 1; i <= MEMBERS; i++)
        scene_show(a, i, "anyone", "{\"mood\":\"well\"}");
    (void)ms_until(b, "40000 of 1", 20000);
    scene_track_post(b, scene_track(FM_PRESENCE_WATCH, 0, "", ""));
    scene_run(100);
    struct fm_presence_state *s = scene_next(b, FM_HUB_PRESENCE);
    assert_true(s && s->n > 1);
    for (uint32_t i = 0; i < s->n; i++)
        assert_true(s->msgs[i]->payload_n < (256 << 10) + 200);
    fm_hub_item_free(&s->item);
    for (unsigned i = 1; i <= MEMBERS; i++)
        scene_lose(a, i);
    for (unsigned i = 1; i <= MEMBERS / 2; i++) {
        scene_show(a, MEMBERS + i, "anyone", "{\"mood\":\"well\"}"); /* back where they were, */
        scene_show(b, i, "anyone", "{\"mood\":\"better\"}");         /* ... or elsewhere */
    }
    scene_run(2500);
    assert_string_equal(scene_count(a), "40000 of 1");
    assert_string_equal(scene_count(b), "40000 of 1");
    for (unsigned i = 1; i <= MEMBERS / 2; i++) {
        scene_unshow(a, MEMBERS + i);
        scene_unshow(b, i);
    }
    (void)ms_until(a, "0 of 0", 20000);
    (void)ms_until(b, "0 of 0", 20000);
    for (struct fm_msg_item *it; (it = scene_next(b, FM_HUB_MSG)) != NULL; fm_hub_item_free(&it->item))
        assert_true(it->msg->payload_n < (256 << 10) + 500);
}

static void few_tombs(struct fm_hub_config *c)
{
    c->presence_tombs = 0;
}

static void whoever_missed_removals_that_are_forgotten_takes_the_whole_set_and_tells_only_what_differs(void **state)
{
    (void)state;
    char key[16];
    struct scene_node *a, *b;
    scene.tune = few_tombs;
    scene_start_two(&a, &b);
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(key, sizeof key, "user%02u", i);
        scene_show(a, 1 + i, key, "{}");
    }
    scene_run(500);
    assert_string_equal(scene_count(b), "20 of 20");
    scene_watch(b);
    struct fm_sim_faults fog = scene_calm;
    fog.loss_ppm = 1000000;
    scene_faults(fog);
    for (unsigned i = 0; i < 18; i++)
        scene_unshow(a, 1 + i);
    scene_run(200); /* told to other clients, and forgotten but for the two that are there */
    scene_faults(scene_calm);
    scene_run(2000);
    assert_int_equal(fm_hub_stats(b->hub)->presence_whole, 1);
    assert_string_equal(scene_count(b), "18 of 18"); /* of two it is known that they left; the others may have gone to another node */
    scene_run(2000);
    assert_string_equal(scene_count(b), "2 of 2");
    unsigned diffs = 0;
    for (const char *told = scene_diff(b); *told; told = scene_diff(b), diffs++)
        assert_null(strstr(told, "user18"));
    assert_true(diffs > 0);
}

static void small_pages(struct fm_hub_config *c)
{
    few_tombs(c);
    c->batch_bytes = 1024;
}

static void a_node_that_comes_takes_over_a_set_of_many_pages_though_somebody_leaves_at_every_moment(void **state)
{
    (void)state;
    enum { MEMBERS = 2000 };
    struct scene_node *a, *b;
    uint64_t first = 1, last = 1;
    char key[16];
    scene.tune = small_pages;
    a = scene_start(0);
    scene_run(4000);
    for (; last <= 3 * MEMBERS; last++) { /* so that as many removals are remembered as may be */
        (void)snprintf(key, sizeof key, "user%05u", (unsigned)last);
        scene_show(a, last, key, "{\"mood\":\"well\"}");
        if (last > MEMBERS)
            scene_unshow(a, first++);
        if (last % 100 == 0)
            scene_run(100);
    }
    b = scene_start(1);
    for (unsigned ms = 0; ms < 10000; ms += 4, last++) {
        (void)snprintf(key, sizeof key, "user%05u", (unsigned)last);
        scene_show(a, last, key, "{\"mood\":\"well\"}");
        scene_unshow(a, first++);
        scene_run(4);
    }
    assert_true(fm_hub_stats(b->hub)->ready);
    assert_true(fm_hub_stats(b->hub)->presence_whole >= 1);
    scene_run(1000);
    assert_string_equal(scene_count(a), "2000 of 2000");
    assert_string_equal(scene_count(b), "2000 of 2000");
}

static void tiny_pages(struct fm_hub_config *c)
{
    few_tombs(c);
    c->batch_bytes = 24; /* a record or two */
}

static void a_node_that_took_over_a_set_says_which_removals_it_never_learned_of(void **state)
{
    (void)state;
    char key[16];
    struct scene_node *a, *b, *c;
    scene.tune = tiny_pages;
    a = scene_start(0);
    c = scene_start(2);
    scene_run(4000);
    for (unsigned i = 1; i <= 5; i++) {
        scene_show(a, i, "early", "{}");
        scene_unshow(a, i);
    }
    for (unsigned i = 10; i < 30; i++) {
        (void)snprintf(key, sizeof key, "user%02u", i);
        scene_show(a, i, key, "{}");
    }
    scene_run(5000);
    assert_string_equal(scene_count(c), "20 of 20");
    scene_cut(a, c);
    for (unsigned i = 10; i < 18; i++)
        scene_unshow(a, i);
    for (unsigned i = 18; i < 30; i++) {
        (void)snprintf(key, sizeof key, "user%02u", i);
        scene_show(a, i, key, "{\"n\":1}");
    }
    scene_cut(&scene.nodes[1], c);
    b = scene_start(1); /* it is told the removals before there is much that they may be kept beside */
    scene_run(5000);
    assert_string_equal(scene_count(b), "12 of 12");
    fm_sim_net_heal_all(scene.net);
    scene_cut(a, c);
    scene_run(5000);
    assert_string_equal(scene_count(c), "12 of 12"); /* it had to hear of them from b */
}

static void little_room(struct fm_hub_config *c)
{
    c->presence_bytes = 2000;
}

static enum fm_err shown_again(struct scene_node *n, uint64_t holder, const char *meta)
{
    struct fm_track *t = scene_track(FM_TRACK, holder, "", meta);
    t->token = 1;
    scene_track_post(n, t);
    t = scene_next(n, FM_HUB_TRACK);
    assert_non_null(t);
    enum fm_err err = t->err;
    fm_hub_item_free(&t->item);
    return err;
}

static void beyond_presence_bytes_nobody_more_is_shown_and_a_join_says_so(void **state)
{
    (void)state;
    scene.tune = little_room;
    struct scene_node *a = scene_start(0);
    scene_run(4000);
    unsigned shown = 0;
    enum fm_err err = FM_OK;
    for (; !err && shown < 100; shown++) {
        char key[16];
        (void)snprintf(key, sizeof key, "user%02u", shown);
        struct fm_join *j = fm_join_new(0, shown + 1, scene_room);
        assert_non_null(j);
        j->track = scene_track(FM_TRACK, shown + 1, key, "{}");
        fm_hub_handle(a->hub, scene_now(a), &j->item);
        (void)fm_hub_flush(a->hub, scene_now(a));
        j = scene_next(a, FM_HUB_JOIN);
        assert_non_null(j);
        err = j->err;
        fm_join_free(&j);
    }
    assert_int_equal(err, FM_E_PRESENCE_FULL);
    assert_int_equal(fm_hub_stats(a->hub)->presence_refused, 1);
    assert_true(shown > 2);
    /* Nor is who is there already shown with more; with less it may be. */
    uint64_t bytes = fm_hub_stats(a->hub)->presence_bytes;
    char meta[600] = "{\"text\":\"";
    memset(meta + 9, 'x', sizeof meta - 12);
    memcpy(meta + sizeof meta - 3, "\"}", 3);
    assert_int_equal(shown_again(a, 1, meta), FM_E_PRESENCE_FULL);
    assert_int_equal(shown_again(a, 1, "{}"), FM_OK);
    assert_true(fm_hub_stats(a->hub)->presence_bytes == bytes);
    for (unsigned i = 0; i < shown; i++)
        scene_unshow(a, i + 1);
    scene_run(1000);
    assert_string_equal(scene_count(a), "0 of 0");
}

static void what_is_gone_leaves_no_memory_behind(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    uint64_t before = fm_hub_stats(b->hub)->presence_bytes;
    for (unsigned i = 0; i < 200; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "user%u", i);
        scene_show(a, 1 + i, key, "{\"text\":\"something\"}");
    }
    scene_run(1000);
    assert_string_equal(scene_count(b), "200 of 200");
    for (unsigned i = 0; i < 200; i++)
        scene_unshow(a, 1 + i);
    scene_run(310 * 1000);
    assert_int_equal(fm_hub_stats(b->hub)->presence_bytes, before);
    assert_int_equal(fm_hub_stats(a->hub)->presences, 0);
    scene_show(a, 1, "ann", "{}");
    scene_run(500);
    assert_string_equal(scene_count(b), "1 of 1");
    scene_stop(a);
    scene_run(100 * 1000);
    assert_int_equal(fm_hub_stats(b->hub)->presence_bytes, before);
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(the_presences_of_a_node_that_dies_are_hidden_within_two_seconds_by_everyone),
        SCENE(a_node_that_another_one_hears_is_shown_where_it_is_not_heard),
        SCENE(what_a_split_hid_is_back_after_it_and_so_is_what_was_missed),
        SCENE(who_is_back_under_the_same_key_on_the_same_node_was_never_away),
        SCENE(who_is_back_on_another_node_is_one_diff_there_in_which_the_old_meta_leaves),
        SCENE(of_two_connections_under_one_key_each_takes_one_place),
        SCENE(presences_of_a_node_that_takes_its_leave_are_shown_as_long_as_their_clients_may_be_back),
        SCENE(whoever_missed_removals_that_are_forgotten_takes_the_whole_set_and_tells_only_what_differs),
        SCENE(a_node_that_comes_takes_over_a_set_of_many_pages_though_somebody_leaves_at_every_moment),
        SCENE(a_node_that_took_over_a_set_says_which_removals_it_never_learned_of),
        SCENE(thirty_thousand_members_of_one_topic_are_known_to_both_nodes_and_told_in_pieces),
        SCENE(a_large_state_is_made_between_what_others_want_and_is_of_one_moment_though_somebody_comes_meanwhile),
        SCENE(forty_thousand_connections_under_one_key_come_move_and_go_and_are_told_in_pieces),
        SCENE(beyond_presence_bytes_nobody_more_is_shown_and_a_join_says_so),
        SCENE(what_is_gone_leaves_no_memory_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
