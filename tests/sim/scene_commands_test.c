/* Commands to the cluster: what was deleted does not come back, from whoever had it and whenever; a command is known where it must be. */
#include "sim_scene.h"

#include "../../broker/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { HOUR_MS = 3600 * 1000, WEEK_MS = 7 * 24 * HOUR_MS };

/* ---- what the API does ---- */

static struct fm_publish *command_post(struct scene_node *n, const struct fm_cluster_command *c, struct fm_slice key)
{
    struct fm_publish *p = fm_publish_new(0, 1, 1, (struct fm_slice){0});
    assert_non_null(p);
    p->msgs[0] = fm_command_message(c, key);
    assert_non_null(p->msgs[0]);
    fm_hub_handle(n->hub, scene_now(n), &p->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    p = scene_next(n, FM_HUB_PUBLISH);
    assert_non_null(p);
    return p;
}

static struct fm_id command(struct scene_node *n, const struct fm_cluster_command *c)
{
    struct fm_publish *p = command_post(n, c, (struct fm_slice){0});
    assert_int_equal(p->err, FM_OK);
    struct fm_id id = p->results[0].id;
    fm_publish_free(&p);
    return id;
}

static struct fm_id delete (struct scene_node *n)
{
    return command(n, &(struct fm_cluster_command){.kind = FM_COMMAND_DELETE, .topic = scene_room});
}

static struct fm_id revoke(struct scene_node *n, const char *user, uint64_t keep_ms)
{
    return command(n, &(struct fm_cluster_command){.kind = FM_COMMAND_REVOKE, .user = fm_slice_str(user), .keep_ms = keep_ms});
}

/* How many messages of the room a client is given that asks for all. */
static unsigned remembered(struct scene_node *n)
{
    struct fm_join *j = fm_join_new(0, 1, scene_room);
    assert_non_null(j);
    j->last = UINT32_MAX;
    fm_hub_handle(n->hub, scene_now(n), &j->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    j = scene_next(n, FM_HUB_JOIN);
    assert_true(j && j->err == FM_OK);
    unsigned count = j->replayed;
    fm_join_free(&j);
    struct fm_leave *l = fm_leave_new(0, 1, scene_room);
    assert_non_null(l);
    fm_hub_handle(n->hub, scene_now(n), &l->item);
    return count;
}

/* Commands of a kind that a worker which starts now is told, and those of `user` alone where it is not NULL. */
static unsigned commands_told(struct scene_node *n, uint32_t kind, const char *user, int64_t *asked_ms)
{
    struct fm_join *j = fm_join_new(0, 2, FM_COMMAND_TOPIC);
    assert_non_null(j);
    j->last = UINT32_MAX;
    fm_hub_handle(n->hub, scene_now(n), &j->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    j = scene_next(n, FM_HUB_JOIN);
    assert_true(j && j->err == FM_OK);
    unsigned count = 0;
    for (uint32_t i = 0; i < j->replayed; i++) {
        struct fm_cluster_command c;
        assert_int_equal(fm_command_read(fm_msg_payload(j->replay[i]), &c), FM_OK);
        if (c.kind == kind && (!user || fm_slice_eq(c.user, fm_slice_str(user)))) {
            count++;
            if (asked_ms)
                *asked_ms = fm_command_asked_hub(&c, j->replay[i]);
        }
        fm_command_fini(&c);
    }
    fm_join_free(&j);
    struct fm_leave *l = fm_leave_new(0, 1, FM_COMMAND_TOPIC);
    assert_non_null(l);
    fm_hub_handle(n->hub, scene_now(n), &l->item);
    return count;
}

static bool told_deleted(struct scene_node *n)
{
    struct fm_gap *g = scene_next(n, FM_HUB_GAP);
    bool deleted = g && g->reason == FM_GAP_DELETED;
    fm_gap_free(&g);
    return deleted;
}

static void three(struct scene_node **a, struct scene_node **b, struct scene_node **c)
{
    *c = scene_start(2);
    scene_start_two(a, b);
    assert_true(scene_peers(*a) == 2 && scene_peers(*b) == 2 && scene_peers(*c) == 2);
}

/* ---- deletions ---- */

static void a_deletion_takes_what_every_node_has_and_nothing_that_comes_after(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    three(&a, &b, &c);
    scene_publish(a, 3);
    scene_publish(b, 2);
    scene_run(200);
    assert_true(remembered(a) == 5 && remembered(b) == 5 && remembered(c) == 5);
    (void)delete (b);
    scene_run(200);
    assert_true(remembered(a) == 0 && remembered(b) == 0 && remembered(c) == 0);
    assert_true(fm_hub_stats(a->hub)->deleted == 5 && fm_hub_stats(c->hub)->deleted == 5);
    scene_publish(a, 1);
    scene_publish(b, 1);
    scene_run(200);
    assert_true(remembered(a) == 2 && remembered(b) == 2 && remembered(c) == 2);
}

static void who_missed_what_was_deleted_is_told_so(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_publish(a, 1);
    struct fm_vector early = scene_cursor(b), late;
    scene_publish(a, 2);
    scene_run(200);
    late = scene_cursor(b);
    assert_true(scene_recovers(b, &early) && scene_recovers(b, &late));
    (void)delete (a);
    scene_run(200);
    assert_true(!scene_recovers(b, &early) && scene_recovers(b, &late));
    assert_true(!scene_recovers(a, &early) && scene_recovers(a, &late));
    fm_vector_fini(&early);
    fm_vector_fini(&late);
}

static void what_was_deleted_during_a_split_goes_on_the_other_side_when_it_heals(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_publish(a, 2);
    scene_publish(b, 2);
    scene_run(200);
    scene_cut(a, b);
    scene_run(5000);
    (void)delete (a);
    scene_publish(b, 1); /* nobody knew of it when the deletion was asked for */
    scene_run(5000);
    assert_true(remembered(a) == 0 && remembered(b) == 5);
    fm_sim_net_heal_all(scene.net);
    scene_run(10000);
    assert_true(remembered(a) == 1 && remembered(b) == 1);
}

static void a_message_that_is_known_to_be_on_its_way_is_deleted_with_the_rest(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_subscribe(a);
    scene_subscribe(b);
    scene_publish_lost(b, 2);
    scene_run(1000); /* a heartbeat has told a of them */
    assert_int_equal(scene_messages(a), 0);
    (void)delete (a);
    scene_faults(scene_calm);
    scene_run(5000);
    assert_int_equal(scene_messages(a), 0);
    assert_true(told_deleted(a));
    assert_true(remembered(a) == 0 && remembered(b) == 0);
}

static void what_comes_after_its_deletion_from_a_node_that_does_not_know_of_it_is_given_to_nobody(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    three(&a, &b, &c);
    scene_subscribe(c);
    scene_publish_lost(b, 2);
    scene_run(1000); /* heartbeats have told of them */
    scene_cut(a, b);
    (void)delete (a);
    scene_run(500);
    assert_true(fm_hub_stats(c->hub)->commands == 1 && fm_hub_stats(b->hub)->commands == 0);
    scene_faults(scene_calm);
    scene_run(5000);
    assert_int_equal(fm_hub_stats(c->hub)->deleted_late, 2);
    assert_int_equal(scene_messages(c), 0);
    assert_true(told_deleted(c));
    assert_true(remembered(a) == 0 && remembered(b) == 0 && remembered(c) == 0);
}

static void a_node_that_comes_later_is_given_nothing_deleted_also_by_one_that_does_not_know_yet(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_publish(a, 3);
    scene_run(200);
    scene_cut(a, b);
    scene_run(3000);
    (void)delete (a);
    scene_run(1000);
    struct scene_node *c = scene_start(2); /* meets both: one has deleted, the other has it all */
    scene_run(8000);
    assert_true(scene_peers(c) == 2);
    assert_int_equal(remembered(c), 0);
    assert_true(remembered(a) == 0 && remembered(b) == 0); /* c has told it */
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    assert_true(remembered(a) == 0 && remembered(b) == 0 && remembered(c) == 0);
}

static void nothing_deleted_comes_back_when_all_nodes_that_deleted_it_have_been_restarted(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    three(&a, &b, &c);
    scene_publish(a, 3);
    scene_run(200);
    scene_cut(a, c);
    scene_cut(b, c);
    scene_run(3000);
    (void)delete (a);
    scene_run(1000);
    scene_stop(a); /* who asked for it is gone for good; b knows */
    a = scene_start(0);
    scene_run(8000);
    scene_stop(b); /* and now only the new a does */
    scene_run(3000);
    b = scene_start(1);
    scene_run(8000);
    assert_true(remembered(a) == 0 && remembered(b) == 0 && remembered(c) == 3);
    fm_sim_net_heal_all(scene.net);
    scene_run(10000);
    assert_true(remembered(a) == 0 && remembered(b) == 0 && remembered(c) == 0);
}

static void little_log(struct fm_hub_config *c)
{
    c->log_age_ms = 2000;
}

static void a_deletion_is_known_for_as_long_as_a_history_may_hold_what_it_names(void **state)
{
    (void)state;
    scene.tune = little_log;
    scene.age_ms = 60 * 1000;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_publish(a, 2);
    scene_run(200);
    scene_cut(a, b);
    (void)delete (a);
    scene_run(50 * 1000); /* long after the logs let go of it */
    assert_int_equal(fm_hub_stats(a->hub)->commands_standing, 1);
    assert_int_equal(remembered(b), 2);
    fm_sim_net_heal_all(scene.net);
    scene_run(6000);
    assert_int_equal(remembered(b), 0);
    scene_run(30 * 1000);
    assert_true(fm_hub_stats(a->hub)->commands_standing == 0 && fm_hub_stats(b->hub)->commands_standing == 0);
}

static void what_a_suspended_machine_holds_goes_though_the_others_need_not_know_of_its_deletion_any_more(void **state)
{
    (void)state;
    scene.tune = little_log;
    scene.age_ms = 60 * 1000;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_publish(a, 2);
    scene_run(200);
    scene_cut(a, b);
    b->frozen = true;
    (void)delete (a);
    scene_run(100 * 1000);
    assert_int_equal(fm_hub_stats(a->hub)->commands_standing, 0);
    fm_sim_net_heal_all(scene.net);
    b->frozen = false;
    b->up_ms -= 100 * 1000; /* its steady clock stood still, so what it holds is as young as it was */
    scene_run(8000);
    assert_true(scene_peers(b) == 1);
    assert_true(remembered(a) == 0 && remembered(b) == 0);
    scene_publish(a, 1);
    scene_run(200);
    assert_true(remembered(a) == 1 && remembered(b) == 1);
}

/* ---- commands that stand ---- */

static void little_memory(struct fm_hub_config *c)
{
    c->memory_bytes = 6000;
}

static void a_command_that_no_log_holds_any_more_is_published_again_for_those_who_come_later(void **state)
{
    (void)state;
    scene.tune = little_memory;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    (void)revoke(a, "mallory", WEEK_MS);
    scene_run(200);
    int64_t first_ms, again_ms;
    assert_int_equal(commands_told(b, FM_COMMAND_REVOKE, "mallory", &first_ms), 1);
    for (unsigned i = 0; i < 4; i++) {
        scene_publish(a, 60);
        scene_run(100);
    }
    assert_int_equal(commands_told(b, FM_COMMAND_REVOKE, "mallory", NULL), 0);
    scene_run(20000);
    assert_true(fm_hub_stats(a->hub)->commands_again + fm_hub_stats(b->hub)->commands_again >= 1);
    struct scene_node *c = scene_start(2);
    scene_run(8000);
    assert_int_equal(commands_told(c, FM_COMMAND_REVOKE, "mallory", &again_ms), 1);
    assert_in_range(again_ms - first_ms + 100, 0, 200); /* as old as it is */
    assert_int_equal(fm_hub_stats(c->hub)->commands_standing, 1);
}

static void a_command_of_a_node_that_is_long_gone_is_still_told_to_new_nodes(void **state)
{
    (void)state;
    scene.ttl_ms = 40 * 1000;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    (void)revoke(b, "mallory", WEEK_MS);
    scene_run(200);
    scene_stop(b);
    scene_run(90 * 1000); /* nobody names its origin any more */
    struct scene_node *c = scene_start(2);
    scene_run(8000);
    assert_true(commands_told(c, FM_COMMAND_REVOKE, "mallory", NULL) >= 1);
    assert_true(fm_hub_stats(c->hub)->commands_standing == 1 && fm_hub_stats(a->hub)->commands_standing == 1);
}

static void a_newer_command_about_the_same_takes_the_place_of_an_older_one(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    for (unsigned i = 0; i < 20; i++) {
        (void)revoke(i % 2 ? a : b, "mallory", HOUR_MS);
        scene_run(100);
    }
    (void)revoke(a, "trudy", 1000);
    scene_run(100);
    assert_true(fm_hub_stats(a->hub)->commands_standing == 2 && fm_hub_stats(b->hub)->commands_standing == 2);
    scene_run(3000); /* the second one's time is over */
    assert_true(fm_hub_stats(a->hub)->commands_standing == 1 && fm_hub_stats(b->hub)->commands_standing == 1);
}

static void few_commands(struct fm_hub_config *c)
{
    c->commands_bytes = 2000;
}

static void more_than_commands_bytes_is_refused_and_what_others_bring_is_bounded(void **state)
{
    (void)state;
    scene.tune = few_commands;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_cut(a, b);
    scene_run(3000);
    unsigned taken[2] = {0, 0};
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < 100; i++) {
            char user[16];
            (void)snprintf(user, sizeof user, "%u-%u", side, i);
            const struct fm_cluster_command c = {.kind = FM_COMMAND_REVOKE, .user = fm_slice_str(user), .keep_ms = HOUR_MS};
            struct fm_publish *p = command_post(side ? b : a, &c, (struct fm_slice){0});
            assert_true(p->err == FM_OK || p->err == FM_E_TOO_MANY);
            taken[side] += p->err == FM_OK;
            fm_publish_free(&p);
        }
    assert_true(taken[0] >= 2 && taken[0] < 20 && taken[1] == taken[0]);
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    /* Both sides' together are a little more than twice what one may give. */
    assert_true(fm_hub_stats(a->hub)->commands_standing >= taken[0] && fm_hub_stats(a->hub)->commands_standing <= 2ull * taken[0]);
    assert_true(fm_hub_stats(a->hub)->commands_bytes <= 4000);
}

/* ---- those that were lost ---- */

/* c gets nothing of what `n` does in between, finds that something is missing, is answered by nobody, and gives it up. */
static void lose(struct scene_node *n, struct scene_node *c, void (*act)(struct scene_node *n))
{
    struct fm_sim_faults deaf = scene_calm;
    deaf.ask_loss_ppm = 1000000;
    scene_faults(deaf);
    scene_cut(n, c);
    act(n);
    scene_run(500);
    fm_sim_net_heal_all(scene.net);
    scene_run(1000);
    scene_publish(n, 1); /* what is behind it is held up */
    scene_run(12000);
    assert_true(fm_hub_stats(c->hub)->commands_missed >= 1);
}

static void act_delete(struct scene_node *n)
{
    (void)delete (n);
}

static void act_revoke(struct scene_node *n)
{
    (void)revoke(n, "mallory", HOUR_MS);
}

static void act_publish(struct scene_node *n)
{
    scene_publish(n, 1);
}

static void a_node_that_lost_a_deletion_for_good_is_told_of_it_by_those_who_have_it(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    three(&a, &b, &c);
    scene_publish(a, 3);
    scene_run(200);
    lose(a, c, act_delete);
    assert_true(remembered(a) == 1 && remembered(b) == 1 && remembered(c) == 4);
    scene_faults(scene_calm);
    scene_run(10000);
    assert_true(remembered(a) == 1 && remembered(b) == 1 && remembered(c) == 1);
    assert_true(fm_hub_stats(a->hub)->commands_again + fm_hub_stats(b->hub)->commands_again == 1); /* one did it for both */
}

static void a_lost_revocation_comes_from_a_node_that_was_out_of_reach_when_it_was_missed(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    three(&a, &b, &c);
    lose(a, c, act_revoke);
    assert_int_equal(commands_told(c, FM_COMMAND_REVOKE, "mallory", NULL), 0);
    scene_stop(a); /* whose it was */
    scene_cut(b, c);
    scene_faults(scene_calm);
    scene_run(20000); /* nobody hears c ask for it */
    assert_int_equal(commands_told(c, FM_COMMAND_REVOKE, "mallory", NULL), 0);
    fm_sim_net_heal_all(scene.net);
    scene_run(15000);
    assert_int_equal(commands_told(c, FM_COMMAND_REVOKE, "mallory", NULL), 1);
    assert_int_equal(fm_hub_stats(c->hub)->commands_standing, 1);
}

static void what_was_lost_and_held_no_command_makes_nobody_publish_anything_again(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    three(&a, &b, &c);
    (void)revoke(a, "mallory", HOUR_MS);
    scene_run(200);
    lose(a, c, act_publish);
    scene_faults(scene_calm);
    scene_run(10000);
    assert_true(fm_hub_stats(a->hub)->commands_recalled == 1 && fm_hub_stats(b->hub)->commands_recalled == 1);
    assert_true(fm_hub_stats(a->hub)->commands_again == 0 && fm_hub_stats(b->hub)->commands_again == 0);
}

static uint64_t again(void)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < SCENE_NODES; i++)
        n += scene.nodes[i].hub ? fm_hub_stats(scene.nodes[i].hub)->commands_again : 0;
    return n;
}

static void a_node_that_takes_over_does_not_answer_what_others_have_answered(void **state)
{
    (void)state;
    struct scene_node *a, *b, *c;
    three(&a, &b, &c);
    lose(b, c, act_revoke);
    scene_faults(scene_calm);
    scene_run(15000);
    assert_int_equal(fm_hub_stats(a->hub)->commands_again, 1);
    scene_stop(a);
    scene_run(3000);
    a = scene_start(0);
    scene_run(20000);
    assert_int_equal(fm_hub_stats(a->hub)->commands_standing, 1);
    assert_int_equal(again(), 0); /* of those that are there now */
}

static void short_log(struct fm_hub_config *c)
{
    c->log_age_ms = 10000;
}

static void a_node_that_takes_over_has_not_missed_what_is_not_kept_any_more(void **state)
{
    (void)state;
    scene.tune = short_log;
    scene.age_ms = 10000;
    scene.ttl_ms = 60000;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    for (unsigned i = 0; i < 3; i++) {
        (void)command(a, &(struct fm_cluster_command){.kind = FM_COMMAND_DISCONNECT, .user = FM_LIT("ann")});
        (void)revoke(a, "mallory", HOUR_MS);
        scene_run(20000);
    }
    for (unsigned i = 0; i < 4; i++) {
        scene_run(5000);
        scene_publish(a, 1);
    }
    struct scene_node *c = scene_start(2);
    scene_run(20000);
    assert_int_equal(fm_hub_stats(c->hub)->commands_standing, 1);
    assert_int_equal(fm_hub_stats(c->hub)->commands_missed, 0);
    assert_int_equal(fm_hub_stats(a->hub)->commands_recalled, 0);
}

/* ---- those that come late ---- */

static void a_command_that_comes_after_a_split_says_when_it_was_asked_for(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_cut(a, b);
    scene_run(5000);
    uint64_t asked_at = scene_now(b).mono_ms; /* on the clock of the node that will be told */
    (void)command(a, &(struct fm_cluster_command){.kind = FM_COMMAND_DISCONNECT, .user = FM_LIT("ann")});
    scene_run(30 * 1000);
    assert_int_equal(commands_told(b, FM_COMMAND_DISCONNECT, "ann", NULL), 0);
    fm_sim_net_heal_all(scene.net);
    scene_run(8000);
    int64_t asked_ms = 0;
    assert_int_equal(commands_told(b, FM_COMMAND_DISCONNECT, "ann", &asked_ms), 1);
    assert_in_range(asked_ms - (int64_t)asked_at + 5, 0, 25);
}

static void a_command_over_a_slow_link_is_as_old_as_the_cluster_s_time_says(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    scene_run(2000);
    struct fm_sim_faults slow = scene_calm;
    slow.delay_us_min = slow.delay_us_max = 900 * FM_SIM_MS; /* an envelope of now takes long; those before did not */
    scene_faults(slow);
    uint64_t asked_at = scene_now(b).mono_ms;
    (void)command(a, &(struct fm_cluster_command){.kind = FM_COMMAND_DISCONNECT, .user = FM_LIT("ann")});
    scene_run(3000);
    int64_t asked_ms = 0;
    assert_int_equal(commands_told(b, FM_COMMAND_DISCONNECT, "ann", &asked_ms), 1);
    assert_in_range(asked_ms - (int64_t)asked_at + 20, 0, 40);
}

static void a_retry_with_its_key_is_the_same_command(void **state)
{
    (void)state;
    struct scene_node *a, *b;
    scene_start_two(&a, &b);
    const struct fm_cluster_command c = {.kind = FM_COMMAND_DISCONNECT, .user = FM_LIT("ann")};
    struct fm_publish *first = command_post(a, &c, FM_LIT("k1"));
    scene_run(200);
    struct fm_publish *again = command_post(b, &c, FM_LIT("k1"));
    assert_true(!first->results[0].duplicate && again->results[0].duplicate);
    assert_true(first->results[0].id.origin == again->results[0].id.origin && first->results[0].id.seq == again->results[0].id.seq);
    scene_run(200);
    assert_true(commands_told(a, FM_COMMAND_DISCONNECT, "ann", NULL) == 1 && commands_told(b, FM_COMMAND_DISCONNECT, "ann", NULL) == 1);
    fm_publish_free(&first);
    fm_publish_free(&again);
}

static void what_is_no_command_is_refused(void **state)
{
    (void)state;
    struct scene_node *a = scene_start(0);
    scene_run(4000);
    struct fm_publish *p = fm_publish_new(0, 1, 1, (struct fm_slice){0});
    assert_non_null(p);
    p->msgs[0] = fm_msg_new(FM_COMMAND_TOPIC, FM_COMMAND_EVENT, (struct fm_msg_keys){0}, FM_LIT("\1nonsense"), FM_MSG_BINARY);
    fm_hub_handle(a->hub, scene_now(a), &p->item);
    (void)fm_hub_flush(a->hub, scene_now(a));
    p = scene_next(a, FM_HUB_PUBLISH);
    assert_true(p && p->err == FM_E_SYNTAX);
    fm_publish_free(&p);
    assert_int_equal(fm_hub_stats(a->hub)->topics, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(a_deletion_takes_what_every_node_has_and_nothing_that_comes_after),
        SCENE(who_missed_what_was_deleted_is_told_so),
        SCENE(what_was_deleted_during_a_split_goes_on_the_other_side_when_it_heals),
        SCENE(a_message_that_is_known_to_be_on_its_way_is_deleted_with_the_rest),
        SCENE(what_comes_after_its_deletion_from_a_node_that_does_not_know_of_it_is_given_to_nobody),
        SCENE(a_node_that_comes_later_is_given_nothing_deleted_also_by_one_that_does_not_know_yet),
        SCENE(nothing_deleted_comes_back_when_all_nodes_that_deleted_it_have_been_restarted),
        SCENE(a_deletion_is_known_for_as_long_as_a_history_may_hold_what_it_names),
        SCENE(what_a_suspended_machine_holds_goes_though_the_others_need_not_know_of_its_deletion_any_more),
        SCENE(a_command_that_no_log_holds_any_more_is_published_again_for_those_who_come_later),
        SCENE(a_command_of_a_node_that_is_long_gone_is_still_told_to_new_nodes),
        SCENE(a_newer_command_about_the_same_takes_the_place_of_an_older_one),
        SCENE(more_than_commands_bytes_is_refused_and_what_others_bring_is_bounded),
        SCENE(a_node_that_lost_a_deletion_for_good_is_told_of_it_by_those_who_have_it),
        SCENE(a_lost_revocation_comes_from_a_node_that_was_out_of_reach_when_it_was_missed),
        SCENE(what_was_lost_and_held_no_command_makes_nobody_publish_anything_again),
        SCENE(a_node_that_takes_over_does_not_answer_what_others_have_answered),
        SCENE(a_node_that_takes_over_has_not_missed_what_is_not_kept_any_more),
        SCENE(a_command_that_comes_after_a_split_says_when_it_was_asked_for),
        SCENE(a_command_over_a_slow_link_is_as_old_as_the_cluster_s_time_says),
        SCENE(a_retry_with_its_key_is_the_same_command),
        SCENE(what_is_no_command_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
