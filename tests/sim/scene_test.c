/* Scenes: two or three hubs over the simulated network, and one thing that once went wrong in each. What the seeds of promise_test.c found
 * is kept here as small as it gets. */
#include "bus_sim.h"

#include "../../broker/diag.h"
#include "../../broker/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { NODES = 3, STEP_US = 2 * FM_SIM_MS };

struct node {
    struct fm_hub *hub; /* NULL: down */
    struct fm_bus *bus;
    struct fm_seal *seal;
    char bus_address[24], ask_address[24];
    const char *seeds[NODES];
    uint64_t incarnation, tick_us, ticks;
    int64_t skew_ms; /* of its wall clock */
    bool frozen;
    struct fm_item *in, **in_last, *out, **out_last; /* the hub's inbox; what it gave its worker */
};

static struct scene {
    struct fm_sim_clock *clock;
    struct fm_sim_net *net;
    struct node nodes[NODES];
    struct fm_slice cluster;
    uint64_t incarnations, age_ms, ttl_ms; /* age_ms: of histories; ttl_ms: of cursors */
} scene;

static const struct fm_sim_faults calm = {
    .delay_us_min = 100, .delay_us_max = 500, .detect_us_min = 300 * FM_SIM_MS, .detect_us_max = 400 * FM_SIM_MS};
static const struct fm_slice room = {(const uint8_t *)"room:1", 6};

/* ---- nodes ---- */

static struct fm_now now(const struct node *n)
{
    uint64_t ms = fm_sim_now_us(scene.clock) / FM_SIM_MS;
    return (struct fm_now){1000 + ms, 1700000000000 + ms + (uint64_t)n->skew_ms};
}

static void append(struct fm_item ***last, struct fm_item *chain)
{
    **last = chain;
    while (**last)
        *last = &(**last)->next;
}

static void deliver(void *ctx, struct fm_bus_item *item)
{
    struct node *n = ctx;
    item->item.next = NULL;
    append(&n->in_last, &item->item);
}

static void to_worker(void *ctx, unsigned worker, struct fm_item *chain, bool lost)
{
    struct node *n = ctx;
    assert_true(worker == 0 && !lost);
    append(&n->out_last, chain);
}

static void items_free(struct fm_item **first, struct fm_item ***last)
{
    for (struct fm_item *it = *first, *next; it; it = next) {
        next = it->next;
        fm_hub_item_free(it);
    }
    *first = NULL;
    *last = first;
}

static struct fm_retention retention(void *ctx, struct fm_slice topic)
{
    (void)ctx, (void)topic;
    return (struct fm_retention){1000, 1 << 24, scene.age_ms};
}

/* A new life of node `i`, which knows the addresses of all others. */
static struct node *start(unsigned i)
{
    struct node *n = &scene.nodes[i];
    const struct fm_bus_config bus_config = {n->bus_address, n->ask_address, 1 << 20, deliver, n};
    const char *what;
    n->incarnation = ++scene.incarnations;
    n->tick_us = 0;
    assert_int_equal(fm_seal_new(&n->seal, scene.cluster, (struct fm_slice){0}, n->incarnation), FM_OK);
    assert_int_equal(fm_bus_sim.start(&n->bus, &bus_config, &what), FM_OK);
    struct fm_hub_config c;
    fm_hub_config_default(&c);
    c.incarnation = n->incarnation;
    c.bus_address = n->bus_address;
    c.ask_address = n->ask_address;
    c.seeds = n->seeds;
    c.seal = n->seal;
    c.retention = retention;
    c.cursor_ttl_ms = scene.ttl_ms;
    const struct fm_hub_port port = {n, to_worker, &fm_bus_sim, n->bus};
    assert_int_equal(fm_hub_new(&n->hub, &c, &port, now(n)), FM_OK);
    fm_hub_start(n->hub, now(n));
    return n;
}

static void stop(struct node *n)
{
    fm_bus_sim.stop(&n->bus);
    fm_hub_free(&n->hub);
    fm_seal_free(&n->seal);
    items_free(&n->in, &n->in_last);
    items_free(&n->out, &n->out_last);
}

static void step(struct node *n)
{
    if (!n->hub || n->frozen)
        return;
    struct fm_item *it = n->in, *next;
    n->in = NULL;
    n->in_last = &n->in;
    uint64_t now_us = fm_sim_now_us(scene.clock);
    if (now_us >= n->tick_us) { /* a timer may well come before what arrived meanwhile */
        n->ticks++;
        n->tick_us = now_us + fm_hub_tick(n->hub, now(n)) * FM_SIM_MS;
    }
    for (; it; it = next) {
        next = it->next;
        fm_hub_handle(n->hub, now(n), it);
    }
    uint64_t due_ms = fm_hub_flush(n->hub, now(n));
    if (n->tick_us > now_us + due_ms * FM_SIM_MS)
        n->tick_us = now_us + due_ms * FM_SIM_MS;
}

static void run(unsigned ms)
{
    for (uint64_t us = 0; us < (uint64_t)ms * FM_SIM_MS; us += STEP_US) {
        fm_sim_run(scene.clock, STEP_US);
        for (unsigned i = 0; i < NODES; i++)
            step(&scene.nodes[i]);
    }
}

static int set_up(void **state)
{
    (void)state;
    scene = (struct scene){.clock = fm_sim_clock_new(), .incarnations = 100, .age_ms = 3600 * 1000, .ttl_ms = 24 * 3600 * 1000};
    scene.cluster = FM_LIT("scene");
    scene.net = fm_sim_net_new(scene.clock, 1, &calm);
    fm_sim_net_use(scene.net);
    for (unsigned i = 0; i < NODES; i++) {
        struct node *n = &scene.nodes[i];
        (void)snprintf(n->bus_address, sizeof n->bus_address, "10.2.0.%u:7000", i);
        (void)snprintf(n->ask_address, sizeof n->ask_address, "10.2.0.%u:7001", i);
        n->in_last = &n->in;
        n->out_last = &n->out;
    }
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned k = 0, to = 0; k < NODES; k++)
            if (k != i)
                scene.nodes[i].seeds[to++] = scene.nodes[k].bus_address;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++)
        if (scene.nodes[i].hub)
            stop(&scene.nodes[i]);
    fm_sim_net_free(&scene.net);
    fm_sim_clock_free(&scene.clock);
    return 0;
}

/* ---- what happens in scenes ---- */

static void faults(struct fm_sim_faults f)
{
    fm_sim_net_faults_set(scene.net, &f);
}

static void cut(const struct node *a, const struct node *b)
{
    fm_sim_net_cut(scene.net, a->bus_address, b->bus_address, false);
}

static void publish_on(struct node *n, struct fm_slice topic)
{
    struct fm_publish *p = fm_publish_new(FM_NO_WORKER, 0, 1, (struct fm_slice){0});
    assert_non_null(p);
    p->msgs[0] = fm_msg_new(topic, FM_LIT("said"), (struct fm_msg_keys){0}, FM_LIT("1"), 0);
    assert_non_null(p->msgs[0]);
    fm_hub_handle(n->hub, now(n), &p->item);
    (void)fm_hub_flush(n->hub, now(n));
    fm_sim_run(scene.clock, FM_SIM_MS);
}

static void publish(struct node *n, unsigned count)
{
    while (count--)
        publish_on(n, room);
}

static void publish_post(struct node *n, struct fm_slice key, enum fm_ack ack)
{
    struct fm_publish *p = fm_publish_new(0, 1, 1, (struct fm_slice){0});
    assert_non_null(p);
    p->msgs[0] = fm_msg_new(room, FM_LIT("said"), (struct fm_msg_keys){.idempotency = key}, FM_LIT("1"), 0);
    assert_non_null(p->msgs[0]);
    p->ack = ack;
    p->replicas = 1;
    p->timeout_ms = 1000;
    fm_hub_handle(n->hub, now(n), &p->item);
    (void)fm_hub_flush(n->hub, now(n));
}

/* The next item of a kind that the worker of `n` got, or NULL. The caller frees it. */
static void *next(struct node *n, uint32_t kind)
{
    for (struct fm_item **at = &n->out; *at; at = &(*at)->next) {
        struct fm_item *it = *at;
        if (it->kind != kind)
            continue;
        *at = it->next;
        n->out_last = &n->out;
        while (*n->out_last)
            n->out_last = &(*n->out_last)->next;
        return it;
    }
    return NULL;
}

static void join_post(struct node *n, const struct fm_vector *cursor)
{
    struct fm_join *j = fm_join_new(0, 1, room);
    assert_non_null(j);
    if (cursor) {
        j->has_cursor = true;
        assert_int_equal(fm_vector_copy(&j->cursor, cursor), FM_OK);
    }
    fm_hub_handle(n->hub, now(n), &j->item);
    (void)fm_hub_flush(n->hub, now(n));
}

static struct fm_join *join(struct node *n, uint64_t origin, uint64_t seq)
{
    struct fm_vector cursor = {0};
    assert_int_equal(fm_vector_set(&cursor, origin, seq), FM_OK);
    join_post(n, &cursor);
    fm_vector_fini(&cursor);
    run(3000);
    struct fm_join *j = next(n, FM_HUB_JOIN);
    assert_true(j && j->err == FM_OK);
    return j;
}

static void subscribe(struct node *n)
{
    join_post(n, NULL);
    struct fm_join *j = next(n, FM_HUB_JOIN);
    assert_true(j && j->err == FM_OK);
    fm_join_free(&j);
}

static unsigned messages(struct node *n)
{
    unsigned count = 0;
    struct fm_item *it;
    while ((it = next(n, FM_HUB_MSG)) != NULL) {
        fm_hub_item_free(it);
        count++;
    }
    return count;
}

static uint64_t stat_peers(const struct node *n)
{
    return fm_hub_stats(n->hub)->peers;
}

/* ---- scenes ---- */

static void hellos_that_were_lost_come_again(void **state)
{
    (void)state;
    struct fm_sim_faults fog = calm;
    fog.loss_ppm = 1000000;
    faults(fog);
    struct node *a = start(0), *b = start(1);
    run(1000);
    assert_int_equal(stat_peers(a), 0);
    faults(calm);
    run(1500);
    assert_true(stat_peers(a) == 1 && stat_peers(b) == 1);
}

static void nodes_that_know_no_common_seed_in_reach_meet_through_a_third(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++) { /* everyone knows only the first */
        scene.nodes[i].seeds[0] = i ? scene.nodes[0].bus_address : NULL;
        scene.nodes[i].seeds[1] = NULL;
    }
    struct node *a = start(0), *b = start(1);
    run(1000);
    cut(a, b);
    run(4000); /* each takes the other for dead */
    struct node *c = start(2);
    run(4000);
    assert_int_equal(stat_peers(c), 2); /* a told it of b, out of a's own reach */
}

static void a_position_from_the_other_side_of_a_split_stays_in_the_cursor(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    publish(a, 3);
    run(200);
    cut(a, b);
    publish(a, 4);
    struct fm_join *j = join(b, a->incarnation, 7);
    assert_true(j->recovered);
    assert_int_equal(fm_vector_get(&j->cursor, a->incarnation), 7);
    assert_int_equal(fm_vector_get(&j->skip, a->incarnation), 7);
    fm_join_free(&j);
}

static void an_origin_unknown_to_this_side_of_a_split_stays_in_the_cursor_unrecovered(void **state)
{
    (void)state;
    struct node *a = start(0);
    run(4000);
    publish(a, 7);
    cut(a, &scene.nodes[1]);
    struct node *b = start(1);
    run(4000);
    struct fm_join *j = join(b, a->incarnation, 7);
    assert_false(j->recovered); /* there may be more that nobody here knows of */
    assert_int_equal(fm_vector_get(&j->cursor, a->incarnation), 7);
    assert_int_equal(fm_vector_get(&j->skip, a->incarnation), 7);
    fm_join_free(&j);
}

static void what_a_whole_cluster_has_forgotten_is_dropped_from_the_cursor(void **state)
{
    (void)state;
    scene.nodes[0].seeds[1] = scene.nodes[1].seeds[1] = NULL; /* there are only two */
    struct node *a = start(0);
    (void)start(1);
    run(70 * 1000);
    struct fm_join *j = join(a, 4711, 7);
    assert_false(j->recovered);
    assert_false(fm_vector_has(&j->cursor, 4711));
    assert_int_equal(j->skip.n, 0);
    fm_join_free(&j);
}

static void a_draining_node_that_is_cut_off_waits_and_then_hands_over(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    cut(a, b);
    run(3000);
    publish(a, 5);
    fm_hub_drain(a->hub, now(a));
    run(3000);
    assert_false(fm_hub_left(a->hub));
    fm_sim_net_heal_all(scene.net);
    run(8000);
    assert_true(fm_hub_left(a->hub));
    stop(a);
    struct fm_join *j = join(b, b->incarnation, 0);
    assert_int_equal(j->replayed, 5);
    fm_join_free(&j);
}

static void nodes_that_all_drain_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    publish(a, 1);
    fm_hub_drain(a->hub, now(a));
    fm_hub_drain(b->hub, now(b));
    run(1500);
    assert_true(fm_hub_left(a->hub) && fm_hub_left(b->hub));
}

static void a_tail_that_died_with_its_node_keeps_nobody_busy(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    struct fm_sim_faults lossy = calm;
    lossy.loss_ppm = lossy.ask_loss_ppm = 1000000;
    faults(lossy);
    publish(a, 3);
    lossy.loss_ppm = 0;
    faults(lossy);
    run(1000); /* the heartbeat tells of three messages; pulls fail */
    assert_int_equal(fm_hub_stats(b->hub)->holes, 1);
    stop(a);
    faults(calm);
    run(10000);
    uint64_t pulls = fm_hub_stats(b->hub)->pulls, ticks = b->ticks;
    run(10000);
    assert_int_equal(fm_hub_stats(b->hub)->pulls, pulls);
    assert_true(b->ticks - ticks < 10000 / 200 + 100);
}

static void a_tail_that_was_heard_of_is_told_as_a_gap_once_its_node_is_surely_gone(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    subscribe(b);
    struct fm_sim_faults lossy = calm;
    lossy.loss_ppm = lossy.ask_loss_ppm = 1000000;
    faults(lossy);
    publish(a, 3);
    lossy.loss_ppm = 0;
    faults(lossy);
    run(1000);
    uint64_t origin = a->incarnation;
    stop(a);
    faults(calm);
    run(10000);
    assert_null(next(b, FM_HUB_GAP)); /* it may yet be back */
    start(0);
    run(10000);
    struct fm_gap *gap = next(b, FM_HUB_GAP);
    assert_true(gap && gap->origin == origin && gap->from == 1 && gap->to == 3 && gap->reason == FM_GAP_LOST);
    fm_gap_free(&gap);
    assert_int_equal(fm_hub_stats(b->hub)->tail_unknown, 3);
    assert_int_equal(fm_hub_stats(b->hub)->holes, 0);
    run(10000);
    assert_null(next(b, FM_HUB_GAP));
    assert_int_equal(fm_hub_stats(b->hub)->tail_unknown, 3);
}

static void a_node_that_drains_while_it_meets_its_first_other_node_hands_over_all_the_same(void **state)
{
    (void)state;
    struct fm_sim_faults slow = calm;
    slow.delay_us_min = slow.delay_us_max = 200 * FM_SIM_MS;
    faults(slow);
    cut(&scene.nodes[0], &scene.nodes[1]);
    struct node *a = start(0), *b = start(1);
    run(6000);
    publish(a, 3);
    uint64_t origin = a->incarnation;
    fm_sim_net_heal_all(scene.net);
    /* It says hello as soon as there is a link, and knows only later who is there. */
    for (unsigned ms = 0; ms < 10000 && fm_hub_stats(a->hub)->bytes_out == 0; ms += 10)
        run(10);
    assert_int_equal(stat_peers(a), 0);
    fm_hub_drain(a->hub, now(a));
    run(3000);
    assert_true(fm_hub_left(a->hub));
    stop(a);
    struct fm_join *j = join(b, origin, 0);
    assert_true(j->recovered && j->replayed == 3);
    fm_join_free(&j);
}

static void a_hole_is_given_up_when_pulls_bring_no_answer(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    subscribe(b);
    publish(a, 1);
    run(200);
    struct fm_sim_faults lossy = calm;
    lossy.loss_ppm = lossy.ask_loss_ppm = 1000000;
    faults(lossy);
    publish(a, 1);
    run(20);
    lossy.loss_ppm = 0;
    faults(lossy);
    publish(a, 1);
    run(4000);
    assert_null(next(b, FM_HUB_GAP));
    run(8000);
    struct fm_gap *gap = next(b, FM_HUB_GAP);
    assert_non_null(gap);
    assert_true(gap->from == 2 && gap->to == 2 && gap->reason == FM_GAP_LOST);
    fm_gap_free(&gap);
    assert_int_equal(messages(b), 2);
}

static void the_holes_of_a_dead_node_are_given_up_together(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    subscribe(b);
    struct fm_sim_faults lossy = calm;
    lossy.ask_loss_ppm = 1000000;
    for (unsigned i = 0; i < 10; i++) { /* every other message is lost */
        lossy.loss_ppm = i % 2 ? 0 : 1000000;
        faults(lossy);
        publish(a, 1);
    }
    run(20);
    stop(a);
    faults(calm);
    run(9000);
    assert_int_equal(messages(b), 5);
    assert_int_equal(fm_hub_stats(b->hub)->gaps, 5);
}

static void what_was_given_up_is_not_recovered_by_a_node_that_takes_over_later(void **state)
{
    (void)state;
    struct node *a = start(0);
    (void)start(1);
    uint64_t origin = a->incarnation;
    run(4000);
    publish(a, 1);
    run(200);
    struct fm_sim_faults lossy = calm;
    lossy.loss_ppm = lossy.ask_loss_ppm = 1000000;
    faults(lossy);
    publish(a, 1); /* b never gets it ... */
    run(20);
    lossy.loss_ppm = 0;
    faults(lossy);
    publish_on(a, FM_LIT("room:2")); /* ... and notices by this one */
    run(20);
    stop(a);
    faults(calm);
    run(9000);
    struct node *c = start(2);
    run(6000);
    struct fm_join *j = join(c, origin, 1);
    assert_false(j->recovered);
    assert_int_equal(fm_vector_get(&j->cursor, origin), 2);
    fm_join_free(&j);
}

static void a_node_that_stood_still_gives_nothing_up_and_nobody(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    subscribe(b);
    struct fm_sim_faults lossy = calm;
    lossy.loss_ppm = 1000000;
    faults(lossy);
    publish(a, 1);
    run(4);
    faults(calm);
    publish(a, 1);
    run(20); /* b holds the second and misses the first */
    b->frozen = true;
    run(1900); /* not so long that a takes it for dead */
    fm_sim_run(scene.clock, 20000 * FM_SIM_MS);
    b->frozen = false;
    run(10);
    assert_int_equal(stat_peers(b), 1);
    run(3000);
    assert_null(next(b, FM_HUB_GAP));
    assert_int_equal(messages(b), 2);
}

static uint64_t isolated(const struct node *n)
{
    return fm_hub_stats(n->hub)->isolated;
}

static void a_node_is_isolated_while_it_knows_of_others_and_reaches_none(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++)
        scene.nodes[i].seeds[1] = NULL; /* 0 and 1 know each other, and nobody 2 */
    struct node *a = start(0);
    run(2000);
    assert_int_equal(isolated(a), 0); /* it still looks for its seed */
    run(3000);
    assert_int_equal(isolated(a), 1);
    struct node *b = start(1);
    run(5000);
    assert_int_equal(isolated(a) + isolated(b), 0);
    cut(a, b);
    run(5000);
    assert_int_equal(isolated(a) + isolated(b), 2);
    fm_sim_net_heal_all(scene.net);
    run(5000);
    assert_int_equal(isolated(a) + isolated(b), 0);
    a->frozen = true;
    run(20000);
    assert_int_equal(isolated(b), 1);
    a->frozen = false;
    run(100);
    assert_int_equal(isolated(a), 0); /* it stood still itself */
    run(5000);
    assert_int_equal(isolated(a) + isolated(b), 0);
    fm_hub_drain(b->hub, now(b));
    run(2000);
    assert_true(fm_hub_left(b->hub));
    stop(b);
    run(5000);
    assert_int_equal(isolated(a), 0); /* the other left in good order */
}

/* A new life of node `i`, of a cluster that the others refuse. */
static struct node *start_stranger(unsigned i)
{
    scene.cluster = FM_LIT("another");
    struct node *n = start(i);
    scene.cluster = FM_LIT("scene");
    return n;
}

static void a_stranger_that_dials_again_and_again_does_not_keep_a_node_from_noticing_who_is_gone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++)
        scene.nodes[i].seeds[1] = NULL; /* 0 and 1 know each other; 2 dials 0 */
    struct node *a = start(0), *b = start(1), *stranger = start_stranger(2);
    run(5000);
    assert_int_equal(isolated(a), 0);
    assert_int_equal(isolated(stranger), 1);
    uint64_t refused = fm_hub_stats(a->hub)->envelopes_bad;
    stop(b);
    run(5000);
    assert_true(fm_hub_stats(a->hub)->envelopes_bad > refused + 10);
    assert_int_equal(isolated(a), 1);
}

static void a_node_that_knows_nobody_is_not_isolated(void **state)
{
    (void)state;
    scene.nodes[0].seeds[0] = NULL;
    struct node *a = start(0);
    run(10000);
    assert_int_equal(isolated(a), 0);
}

static void a_replicated_retry_is_confirmed_only_by_nodes_heard_of_since(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    for (unsigned round = 0; round < 2; round++) {
        publish_post(a, FM_LIT("key"), FM_ACK_REPLICATED);
        run(1500);
        struct fm_publish *p = next(a, FM_HUB_PUBLISH);
        assert_non_null(p);
        assert_int_equal(p->results[0].duplicate, round == 1);
        assert_int_equal(p->err, round ? FM_E_NOT_REPLICATED : FM_OK);
        fm_publish_free(&p);
        if (round == 0)
            stop(b); /* a does not know it yet */
    }
}

static struct fm_publish_result publish_keyed(struct node *n)
{
    publish_post(n, FM_LIT("order-17"), FM_ACK_LOCAL);
    struct fm_publish *p = next(n, FM_HUB_PUBLISH);
    assert_true(p && p->err == FM_OK);
    struct fm_publish_result result = p->results[0];
    fm_publish_free(&p);
    return result;
}

static void a_retry_is_recognised_by_any_node_that_has_the_message(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    struct fm_publish_result first = publish_keyed(a);
    run(200);
    struct fm_publish_result again = publish_keyed(b);
    assert_true(!first.duplicate && again.duplicate);
    assert_true(again.id.origin == a->incarnation && again.id.seq == first.id.seq);
    struct node *c = start(2);
    run(4000);
    assert_true(publish_keyed(c).duplicate); /* also by one that took it over */
}

static void of_two_copies_from_a_split_each_node_gives_the_first_it_sees(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1), *both[] = {a, b};
    run(4000);
    subscribe(a);
    subscribe(b);
    cut(a, b);
    for (unsigned i = 0; i < 2; i++) {
        struct fm_publish_result result = publish_keyed(both[i]);
        assert_true(!result.duplicate && result.id.origin == both[i]->incarnation); /* nobody can know better */
    }
    fm_sim_net_heal_all(scene.net);
    run(8000);
    for (unsigned i = 0; i < 2; i++) {
        struct fm_msg_item *it = next(both[i], FM_HUB_MSG);
        assert_true(it && it->msg->id.origin == both[i]->incarnation);
        fm_hub_item_free(&it->item);
        assert_int_equal(messages(both[i]), 0);
        assert_int_equal(fm_hub_stats(both[i]->hub)->suppressed_key, 1);
        assert_true(publish_keyed(both[i]).duplicate);
        struct fm_join *j = join(both[i], both[i]->incarnation, 0);
        assert_int_equal(j->replayed, 1); /* nor is the second given to those who come later */
        fm_join_free(&j);
    }
}

static void a_node_whose_clock_is_wrong_takes_over_histories_and_ages_them_rightly(void **state)
{
    (void)state;
    scene.age_ms = 20000;
    struct node *a = start(0);
    run(4000);
    publish(a, 3);
    run(8000);
    scene.nodes[1].skew_ms = 12 * 3600 * 1000;
    scene.nodes[2].skew_ms = -12 * 3600 * 1000;
    struct node *others[] = {start(1), start(2)};
    run(4000);
    for (unsigned i = 0; i < 2; i++) {
        struct fm_join *j = join(others[i], a->incarnation, 0);
        assert_true(j->recovered && j->replayed == 3);
        fm_join_free(&j);
    }
    run(4000); /* the messages are older than 20 s now */
    for (unsigned i = 0; i < 2; i++) {
        struct fm_join *j = join(others[i], a->incarnation, 0);
        assert_true(!j->recovered && j->replayed == 0);
        fm_join_free(&j);
    }
}

static void what_is_too_old_goes_though_messages_with_older_timestamps_stay(void **state)
{
    (void)state;
    scene.age_ms = 20000;
    scene.nodes[1].skew_ms = -12 * 3600 * 1000;
    struct node *a = start(0), *b = start(1);
    run(4000);
    publish(a, 1);
    run(12000);
    publish(b, 1);
    run(9000);
    struct fm_join *j = join(a, b->incarnation, 0);
    assert_int_equal(j->replayed, 1);
    assert_true(j->replay[0]->id.origin == b->incarnation);
    assert_int_equal(fm_vector_get(&j->cursor, a->incarnation), 1);
    fm_join_free(&j);
}

/* b confirmed the message once and is dead; a does not know it yet when the retry comes, and then stands still itself. */
static void a_replicated_retry_is_not_confirmed_by_the_time_that_its_node_stood_still(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1);
    run(4000);
    for (unsigned round = 0; round < 2; round++) {
        publish_post(a, FM_LIT("key"), FM_ACK_REPLICATED);
        if (round) {
            run(20);
            a->frozen = true;
            fm_sim_run(scene.clock, 5000 * FM_SIM_MS);
            a->frozen = false;
        }
        run(4000);
        struct fm_publish *p = next(a, FM_HUB_PUBLISH);
        assert_non_null(p);
        assert_int_equal(p->err, round ? FM_E_NOT_REPLICATED : FM_OK);
        fm_publish_free(&p);
        if (round == 0)
            stop(b);
    }
}

static uint64_t stat_origins(const struct node *n)
{
    return fm_hub_stats(n->hub)->origins;
}

/* b starts again and again, and is heard by a, and by c where it is there, in each life. */
static void lives(struct node *a, struct node *c, unsigned count)
{
    for (unsigned life = 0; life < count; life++) {
        struct node *b = start(1);
        for (unsigned ms = 0; ms < 8000 && !(fm_hub_stats(b->hub)->ready && stat_peers(b) == 1 + (c != NULL)); ms += 100)
            run(100);
        assert_true(fm_hub_stats(b->hub)->ready && stat_peers(b) == 1 + (c != NULL));
        publish(b, 2);
        run(1000);
        assert_true(messages(a) == 2 && (!c || messages(c) == 2));
        stop(b);
    }
}

/* More lives of one node than a cursor can name. a and c stay; the messages of a must stay too. */
static void a_node_that_is_started_300_times_is_taken_in_and_heard_each_time(void **state)
{
    (void)state;
    struct node *a = start(0), *c = start(2);
    run(4000);
    publish(a, 3);
    run(200);
    subscribe(a);
    subscribe(c);
    lives(a, c, 300);
    assert_true(stat_origins(a) <= FM_CURSOR_MAX && stat_origins(c) <= FM_CURSOR_MAX);
    assert_true(fm_hub_stats(a->hub)->origins_forgotten >= 300 + 2 - FM_CURSOR_MAX);
    run(30000); /* what was forgotten does not come back from the others, as if it were new */
    assert_true(messages(a) == 0 && messages(c) == 0);
    assert_null(next(a, FM_HUB_GAP));
    assert_int_equal(fm_hub_stats(a->hub)->holes, 0);
    struct node *b = start(1);
    run(8000);
    struct fm_join *j = join(b, a->incarnation, 0);
    assert_int_equal(j->replay[0]->id.origin, a->incarnation);
    assert_int_equal(j->replay[0]->id.seq, 1);
    assert_true(j->replayed > 500);
    fm_join_free(&j);
}

/* c takes over 250 origins at once, so it could take all of them for young; a forgets them one by one. */
static void what_a_node_took_over_looks_no_younger_to_the_others(void **state)
{
    (void)state;
    struct node *a = start(0), *c = start(2);
    run(4000);
    subscribe(a);
    subscribe(c);
    lives(a, c, 250);
    stop(c);
    run(20000);
    c = start(2);
    run(8000);
    subscribe(c);
    lives(a, c, 10);
    run(5000);
    assert_true(messages(a) == 0 && messages(c) == 0);
    assert_in_range(fm_hub_stats(a->hub)->origins_forgotten, 1, 20);
}

/* c alone has what b said, and is out of reach until a has no room for that life of b any more. */
static void what_is_missing_of_an_origin_is_told_as_a_gap_before_it_is_forgotten(void **state)
{
    (void)state;
    struct node *a = start(0), *b = start(1), *c = start(2);
    run(4000);
    subscribe(a);
    struct fm_sim_faults no_asks = calm;
    no_asks.ask_loss_ppm = 1000000;
    faults(no_asks);
    cut(a, b);
    publish(b, 3);
    run(1000);
    assert_int_equal(fm_hub_stats(a->hub)->holes, 1);
    uint64_t origin = b->incarnation;
    stop(b);
    fm_sim_net_heal_all(scene.net);
    cut(a, c);
    cut(b, c);
    faults(calm);
    lives(a, NULL, 250);
    assert_null(next(a, FM_HUB_GAP));
    lives(a, NULL, 10);
    struct fm_gap *gap = next(a, FM_HUB_GAP);
    assert_true(gap && gap->origin == origin && gap->from == 1 && gap->to >= 3 && gap->reason == FM_GAP_LOST);
    fm_gap_free(&gap);
}

static void a_node_that_is_cut_off_is_not_forgotten_for_one_that_is_started_300_times(void **state)
{
    (void)state;
    struct node *a = start(0), *c = start(2);
    run(4000);
    subscribe(a);
    publish(c, 3);
    run(500);
    assert_int_equal(messages(a), 3);
    cut(a, c);
    cut(&scene.nodes[1], c);
    lives(a, NULL, 300);
    publish(c, 1);
    fm_sim_net_heal_all(scene.net);
    run(10000);
    assert_int_equal(messages(a), 1); /* none twice */
}

static void a_node_that_never_publishes_is_remembered_from_its_death_on(void **state)
{
    (void)state;
    scene.ttl_ms = 20000;
    struct node *a = start(0), *b = start(1);
    run(30000);
    uint64_t origin = b->incarnation;
    stop(b);
    run(4000);
    struct fm_join *j = join(a, origin, 0); /* as every client of b comes back */
    assert_true(j->recovered);
    fm_join_free(&j);
    run(40000);
    assert_false(fm_hub_stats(a->hub)->origins > 1); /* but not for ever */
}

static void the_end_of_an_origin_that_came_while_a_node_was_away_for_long_is_told_as_a_gap(void **state)
{
    (void)state;
    scene.ttl_ms = 20000;
    struct node *a = start(0), *b = start(1), *c = start(2);
    run(6000);
    subscribe(b);
    publish(a, 1);
    run(200);
    cut(a, b);
    cut(b, c);
    publish(a, 3);
    run(3000);
    fm_hub_drain(a->hub, now(a));
    run(1000);
    assert_true(fm_hub_left(a->hub));
    uint64_t origin = a->incarnation;
    stop(a);
    run(12000); /* nobody claims anything of a any more */
    scene.nodes[1].seeds[0] = scene.nodes[2].bus_address;
    fm_sim_net_heal_all(scene.net);
    a = start(0);
    run(6000);
    struct fm_gap *gap = next(b, FM_HUB_GAP);
    assert_true(gap && gap->origin == origin && gap->from == 2 && gap->reason == FM_GAP_LOST);
    fm_gap_free(&gap);
    struct fm_join *j = join(b, origin, 1);
    assert_false(j->recovered);
    fm_join_free(&j);
    assert_int_equal(fm_hub_stats(c->hub)->gaps, 0);
}

/* Nobody but a could know more of b. */
static void the_last_of_two_nodes_keeps_what_the_other_published_however_long_that_is_gone(void **state)
{
    (void)state;
    scene.ttl_ms = 20000;
    struct node *a = start(0), *b = start(1);
    run(4000);
    subscribe(a);
    publish(b, 3);
    uint64_t origin = b->incarnation;
    run(500);
    stop(b);
    run(15000);
    (void)start(1);
    run(5000);
    assert_null(next(a, FM_HUB_GAP));
    struct fm_join *j = join(a, origin, 0);
    assert_true(j->recovered && j->replayed == 3);
    fm_join_free(&j);
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(hellos_that_were_lost_come_again),
        TEST(nodes_that_know_no_common_seed_in_reach_meet_through_a_third),
        TEST(a_position_from_the_other_side_of_a_split_stays_in_the_cursor),
        TEST(an_origin_unknown_to_this_side_of_a_split_stays_in_the_cursor_unrecovered),
        TEST(what_a_whole_cluster_has_forgotten_is_dropped_from_the_cursor),
        TEST(a_draining_node_that_is_cut_off_waits_and_then_hands_over),
        TEST(nodes_that_all_drain_do_not_wait_for_each_other),
        TEST(a_tail_that_died_with_its_node_keeps_nobody_busy),
        TEST(a_tail_that_was_heard_of_is_told_as_a_gap_once_its_node_is_surely_gone),
        TEST(a_node_that_drains_while_it_meets_its_first_other_node_hands_over_all_the_same),
        TEST(a_hole_is_given_up_when_pulls_bring_no_answer),
        TEST(the_holes_of_a_dead_node_are_given_up_together),
        TEST(what_was_given_up_is_not_recovered_by_a_node_that_takes_over_later),
        TEST(a_node_that_stood_still_gives_nothing_up_and_nobody),
        TEST(a_node_is_isolated_while_it_knows_of_others_and_reaches_none),
        TEST(a_stranger_that_dials_again_and_again_does_not_keep_a_node_from_noticing_who_is_gone),
        TEST(a_node_that_knows_nobody_is_not_isolated),
        TEST(a_replicated_retry_is_confirmed_only_by_nodes_heard_of_since),
        TEST(a_retry_is_recognised_by_any_node_that_has_the_message),
        TEST(of_two_copies_from_a_split_each_node_gives_the_first_it_sees),
        TEST(a_node_whose_clock_is_wrong_takes_over_histories_and_ages_them_rightly),
        TEST(what_a_node_took_over_looks_no_younger_to_the_others),
        TEST(what_is_missing_of_an_origin_is_told_as_a_gap_before_it_is_forgotten),
        TEST(a_node_that_is_cut_off_is_not_forgotten_for_one_that_is_started_300_times),
        TEST(a_node_that_never_publishes_is_remembered_from_its_death_on),
        TEST(the_end_of_an_origin_that_came_while_a_node_was_away_for_long_is_told_as_a_gap),
        TEST(the_last_of_two_nodes_keeps_what_the_other_published_however_long_that_is_gone),
        TEST(what_is_too_old_goes_though_messages_with_older_timestamps_stay),
        TEST(a_replicated_retry_is_not_confirmed_by_the_time_that_its_node_stood_still),
        TEST(a_node_that_is_started_300_times_is_taken_in_and_heard_each_time),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
