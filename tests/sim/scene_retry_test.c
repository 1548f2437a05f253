/* Publishes that are tried again, and by how many nodes they are confirmed. */
#include "sim_scene.h"

#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void a_replicated_retry_is_confirmed_only_by_nodes_heard_of_since(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    for (unsigned round = 0; round < 2; round++) {
        scene_publish_post(a, FM_LIT("key"), FM_ACK_REPLICATED);
        scene_run(1500);
        struct fm_publish *p = scene_next(a, FM_HUB_PUBLISH);
        assert_non_null(p);
        assert_int_equal(p->results[0].duplicate, round == 1);
        assert_int_equal(p->err, round ? FM_E_NOT_REPLICATED : FM_OK);
        fm_publish_free(&p);
        if (round == 0)
            scene_stop(b); /* a does not know it yet */
    }
}

static struct fm_publish_result publish_keyed(struct scene_node *n)
{
    scene_publish_post(n, FM_LIT("order-17"), FM_ACK_LOCAL);
    struct fm_publish *p = scene_next(n, FM_HUB_PUBLISH);
    assert_true(p && p->err == FM_OK);
    struct fm_publish_result result = p->results[0];
    fm_publish_free(&p);
    return result;
}

static void a_retry_is_recognised_by_any_node_that_has_the_message(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    struct fm_publish_result first = publish_keyed(a);
    scene_run(200);
    struct fm_publish_result again = publish_keyed(b);
    assert_true(!first.duplicate && again.duplicate);
    assert_true(again.id.origin == a->incarnation && again.id.seq == first.id.seq);
    struct scene_node *c = scene_start(2);
    scene_run(4000);
    assert_true(publish_keyed(c).duplicate); /* also by one that took it over */
}

static void of_two_copies_from_a_split_each_node_gives_the_first_it_sees(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0), *b = scene_start(1), *both[] = {a, b};
    scene_run(4000);
    scene_subscribe(a);
    scene_subscribe(b);
    scene_cut(a, b);
    for (unsigned i = 0; i < 2; i++) {
        struct fm_publish_result result = publish_keyed(both[i]);
        assert_true(!result.duplicate && result.id.origin == both[i]->incarnation); /* nobody can know better */
    }
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    for (unsigned i = 0; i < 2; i++) {
        struct fm_msg_item *it = scene_next(both[i], FM_HUB_MSG);
        assert_true(it && it->msg->id.origin == both[i]->incarnation);
        fm_hub_item_free(&it->item);
        assert_int_equal(scene_messages(both[i]), 0);
        assert_int_equal(fm_hub_stats(both[i]->hub)->suppressed_key, 1);
        assert_true(publish_keyed(both[i]).duplicate);
        struct fm_join *j = scene_join(both[i], both[i]->incarnation, 0);
        assert_int_equal(j->replayed, 1); /* nor is the second given to those who come later */
        fm_join_free(&j);
    }
}

/* b confirmed the message once and is dead; a does not know it yet when the retry comes, and then stands still itself. */
static void a_replicated_retry_is_not_confirmed_by_the_time_that_its_node_stood_still(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    for (unsigned round = 0; round < 2; round++) {
        scene_publish_post(a, FM_LIT("key"), FM_ACK_REPLICATED);
        if (round) {
            scene_run(20);
            a->frozen = true;
            fm_sim_run(scene.clock, 5000 * FM_SIM_MS);
            a->frozen = false;
        }
        scene_run(4000);
        struct fm_publish *p = scene_next(a, FM_HUB_PUBLISH);
        assert_non_null(p);
        assert_int_equal(p->err, round ? FM_E_NOT_REPLICATED : FM_OK);
        fm_publish_free(&p);
        if (round == 0)
            scene_stop(b);
    }
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        SCENE(a_replicated_retry_is_confirmed_only_by_nodes_heard_of_since),
        SCENE(a_retry_is_recognised_by_any_node_that_has_the_message),
        SCENE(of_two_copies_from_a_split_each_node_gives_the_first_it_sees),
        SCENE(a_replicated_retry_is_not_confirmed_by_the_time_that_its_node_stood_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
