/* Idempotency keys whose messages had to go for want of memory: retries and second copies that come later. */
#include "sim_scene.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { FLOOD = 60, LOG_AGE_MS = 60 * 1000 };

static void little_memory(struct fm_hub_config *c)
{
    c->memory_bytes = 4400; /* FLOOD messages are more than it holds, and what waits to leave of them less */
    c->log_age_ms = LOG_AGE_MS;
}

static void little_memory_and_no_keys(struct fm_hub_config *c)
{
    little_memory(c);
    c->keys_bytes = 0;
}

static int set_up(void **state)
{
    int err = scene_set_up(state);
    scene.tune = little_memory;
    return err;
}

static struct fm_publish *publish(struct scene_node *n, enum fm_ack ack, unsigned ms)
{
    scene_publish_post(n, FM_LIT("order-17"), ack);
    if (ms)
        scene_run(ms);
    struct fm_publish *p = scene_next(n, FM_HUB_PUBLISH);
    assert_non_null(p);
    return p;
}

static struct fm_publish_result publish_local(struct scene_node *n)
{
    struct fm_publish *p = publish(n, FM_ACK_LOCAL, 0);
    assert_int_equal(p->err, FM_OK);
    struct fm_publish_result result = p->results[0];
    fm_publish_free(&p);
    return result;
}

static void retried(struct scene_node *n, struct fm_id first)
{
    struct fm_publish_result again = publish_local(n);
    assert_true(again.duplicate && again.id.origin == first.origin && again.id.seq == first.seq);
}

/* So much is published on `n` that nothing is left of what was there before. */
static void flood(struct scene_node *n)
{
    scene_publish(n, FLOOD);
    scene_run(200);
}

/* Does the node still hold the message? */
static bool holds(struct scene_node *n, struct fm_id id)
{
    struct fm_join *j = scene_join(n, id.origin, id.seq - 1);
    bool held = false;
    for (uint32_t i = 0; i < j->replayed; i++)
        held |= j->replay[i]->id.origin == id.origin && j->replay[i]->id.seq == id.seq;
    fm_join_free(&j);
    return held;
}

static void a_retry_of_an_evicted_message_gets_its_id_at_every_node_that_had_it(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_subscribe(a);
    scene_subscribe(b);
    struct fm_id first = publish_local(a).id;
    scene_run(200);
    assert_true(holds(a, first) && holds(b, first));
    flood(a);
    assert_true(!holds(a, first) && !holds(b, first));
    retried(b, first);
    retried(a, first);
    scene_run(500);
    assert_true(scene_messages(a) == 1 + FLOOD && scene_messages(b) == 1 + FLOOD);
    assert_true(fm_hub_stats(a->hub)->keys == 1 && fm_hub_stats(b->hub)->keys == 1);
    assert_true(fm_hub_stats(a->hub)->duplicates == 1 && fm_hub_stats(a->hub)->keys_forgotten == 0);
}

static void the_key_of_an_evicted_message_is_known_for_log_age_and_no_longer(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    struct fm_id first = publish_local(a).id;
    flood(a);
    scene_run(LOG_AGE_MS - 3000);
    retried(b, first);
    scene_run(4000);
    assert_int_equal(fm_hub_stats(a->hub)->keys, 0);
    assert_false(publish_local(b).duplicate);
}

static void a_message_that_came_by_repair_leaves_its_key_too(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_cut(a, b);
    struct fm_id first = publish_local(a).id;
    scene_run(4000);
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    assert_true(fm_hub_stats(b->hub)->repaired >= 1 && holds(b, first));
    flood(a);
    assert_false(holds(b, first));
    retried(b, first);
    scene_run(LOG_AGE_MS - 12000); /* counted from when it was published, not from its repair */
    assert_int_equal(fm_hub_stats(b->hub)->keys, 0);
}

/* The first copy was given to a's subscriber and had to go before the second could come. */
static void a_second_copy_from_a_split_is_not_given_where_the_first_was_and_is_gone(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0);
    scene.tune = NULL;
    struct scene_node *b = scene_start(1);
    scene_run(4000);
    scene_subscribe(a);
    scene_cut(a, b);
    struct fm_publish_result one = publish_local(a);
    scene_publish(a, FLOOD);
    assert_false(holds(a, one.id));
    assert_int_equal(scene_messages(a), 1 + FLOOD);
    struct fm_publish_result two = publish_local(b);
    assert_true(!one.duplicate && !two.duplicate);
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    assert_int_equal(fm_hub_stats(a->hub)->suppressed_key, 1);
    assert_int_equal(scene_messages(a), 0);
    retried(a, one.id);
}

/* What is promised then: its clients were told a gap, and get the second copy; nobody else does. */
static void a_node_that_the_message_never_reached_takes_its_retry_for_new(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0), *b = scene_start(1), *c = scene_start(2);
    scene_run(4000);
    scene_subscribe(b);
    scene_subscribe(c);
    scene_cut(a, c);
    scene_cut(b, c);
    struct fm_id first = publish_local(a).id;
    flood(a);
    scene_run(4000);
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    struct fm_gap *gap = scene_next(c, FM_HUB_GAP);
    assert_true(gap && gap->origin == first.origin && gap->from <= first.seq && gap->to >= first.seq);
    fm_gap_free(&gap);
    (void)scene_messages(b);
    (void)scene_messages(c);
    struct fm_publish_result again = publish_local(c);
    assert_true(!again.duplicate && again.id.origin == c->incarnation);
    scene_run(500);
    assert_true(scene_messages(c) == 1 && scene_messages(b) == 0);
    assert_int_equal(fm_hub_stats(b->hub)->suppressed_key, 1);
}

static void a_replicated_retry_is_confirmed_by_who_stored_the_message_though_it_is_gone_there_too(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    struct fm_id first = publish_local(a).id;
    scene_run(200);
    flood(a);
    assert_true(!holds(a, first) && !holds(b, first));
    struct fm_publish *p = publish(a, FM_ACK_REPLICATED, 1500);
    assert_true(p->err == FM_OK && p->confirmed == 1 && p->results[0].duplicate && p->results[0].id.seq == first.seq);
    fm_publish_free(&p);
}

static void not_confirmed(struct scene_node *n, struct fm_id first)
{
    struct fm_publish *p = publish(n, FM_ACK_REPLICATED, 1500);
    assert_true(p->err == FM_E_NOT_REPLICATED && p->confirmed == 0);
    assert_true(p->results[0].duplicate && p->results[0].id.origin == first.origin && p->results[0].id.seq == first.seq);
    fm_publish_free(&p);
}

static void a_replicated_retry_is_not_confirmed_by_a_node_that_took_over_when_the_message_was_gone(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    struct fm_id first = publish_local(a).id;
    scene_run(200);
    flood(a);
    scene_stop(b);
    struct scene_node *c = scene_start(2);
    scene_run(4000);
    assert_true(fm_hub_stats(c->hub)->ready && scene_peers(c) == 1);
    not_confirmed(a, first);
    struct fm_publish *p; /* what is new is confirmed as ever */
    scene_publish_post(a, FM_LIT("order-18"), FM_ACK_REPLICATED);
    scene_run(1000);
    p = scene_next(a, FM_HUB_PUBLISH);
    assert_true(p && p->err == FM_OK && p->confirmed == 1);
    fm_publish_free(&p);
}

static void a_replicated_retry_is_not_confirmed_by_a_node_that_told_a_gap_for_the_message(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_cut(a, b);
    struct fm_id first = publish_local(a).id;
    scene_publish(a, FLOOD);
    scene_run(4000);
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    assert_int_equal(fm_hub_stats(b->hub)->holes, 0);
    not_confirmed(a, first);
}

static void without_keys_bytes_a_key_goes_with_its_message_and_it_is_not_counted_as_early(void **state)
{
    (void)state;
    scene.tune = little_memory_and_no_keys;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    (void)publish_local(a);
    flood(a);
    assert_true(fm_hub_stats(a->hub)->keys == 0 && fm_hub_stats(a->hub)->keys_forgotten == 0);
    assert_false(publish_local(a).duplicate);
}

#undef SCENE
#define SCENE(f) cmocka_unit_test_setup_teardown(f, set_up, scene_tear_down)

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(a_retry_of_an_evicted_message_gets_its_id_at_every_node_that_had_it),
        SCENE(the_key_of_an_evicted_message_is_known_for_log_age_and_no_longer),
        SCENE(a_message_that_came_by_repair_leaves_its_key_too),
        SCENE(a_second_copy_from_a_split_is_not_given_where_the_first_was_and_is_gone),
        SCENE(a_node_that_the_message_never_reached_takes_its_retry_for_new),
        SCENE(a_replicated_retry_is_confirmed_by_who_stored_the_message_though_it_is_gone_there_too),
        SCENE(a_replicated_retry_is_not_confirmed_by_a_node_that_took_over_when_the_message_was_gone),
        SCENE(a_replicated_retry_is_not_confirmed_by_a_node_that_told_a_gap_for_the_message),
        SCENE(without_keys_bytes_a_key_goes_with_its_message_and_it_is_not_counted_as_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
