#include "sim_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { STEP_US = 2 * FM_SIM_MS };

struct scene scene;

const struct fm_sim_faults scene_calm = {
    .delay_us_min = 100, .delay_us_max = 500, .detect_us_min = 300 * FM_SIM_MS, .detect_us_max = 400 * FM_SIM_MS};
const struct fm_slice scene_room = {(const uint8_t *)"room:1", 6};

/* ---- nodes ---- */

struct fm_now scene_now(const struct scene_node *n)
{
    uint64_t ms = fm_sim_now_us(scene.clock) / FM_SIM_MS;
    return (struct fm_now){1000 + n->up_ms + ms, 1700000000000 + ms + (uint64_t)n->skew_ms};
}

static void append(struct fm_item ***last, struct fm_item *chain)
{
    **last = chain;
    while (**last)
        *last = &(**last)->next;
}

static void deliver(void *ctx, struct fm_bus_item *item)
{
    struct scene_node *n = ctx;
    item->item.next = NULL;
    append(&n->in_last, &item->item);
}

static void to_worker(void *ctx, unsigned worker, struct fm_item *chain, bool lost)
{
    struct scene_node *n = ctx;
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

struct scene_node *scene_start(unsigned i)
{
    struct scene_node *n = &scene.nodes[i];
    const struct fm_bus_config bus_config = {
        .listen = n->bus_address, .listen_ask = n->ask_address, .envelope_max = 1 << 20, .deliver = deliver, .ctx = n};
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
    if (scene.tune)
        scene.tune(&c);
    const struct fm_hub_port port = {n, to_worker, &fm_bus_sim, n->bus};
    assert_int_equal(fm_hub_new(&n->hub, &c, &port, scene_now(n)), FM_OK);
    fm_hub_start(n->hub, scene_now(n));
    return n;
}

void scene_start_two(struct scene_node **a, struct scene_node **b)
{
    *a = scene_start(0);
    *b = scene_start(1);
    scene_run(4000);
}

void scene_stop(struct scene_node *n)
{
    fm_bus_sim.stop(&n->bus);
    fm_hub_free(&n->hub);
    fm_seal_free(&n->seal);
    items_free(&n->in, &n->in_last);
    items_free(&n->out, &n->out_last);
}

void step(struct scene_node *n)
{
    if (!n->hub || n->frozen)
        return;
    struct fm_item *it = n->in, *next;
    n->in = NULL;
    n->in_last = &n->in;
    uint64_t now_us = fm_sim_now_us(scene.clock);
    if (now_us >= n->tick_us) { /* a timer may well come before what arrived meanwhile */
        n->ticks++;
        n->tick_us = now_us + fm_hub_tick(n->hub, scene_now(n)) * FM_SIM_MS;
    }
    for (; it; it = next) {
        next = it->next;
        fm_hub_handle(n->hub, scene_now(n), it);
    }
    uint64_t due_ms = fm_hub_flush(n->hub, scene_now(n));
    if (n->tick_us > now_us + due_ms * FM_SIM_MS)
        n->tick_us = now_us + due_ms * FM_SIM_MS;
}

void scene_run(unsigned ms)
{
    for (uint64_t us = 0; us < (uint64_t)ms * FM_SIM_MS; us += STEP_US) {
        fm_sim_run(scene.clock, STEP_US);
        for (unsigned i = 0; i < SCENE_NODES; i++)
            step(&scene.nodes[i]);
    }
}

int scene_set_up(void **state)
{
    (void)state;
    scene = (struct scene){.clock = fm_sim_clock_new(), .incarnations = 100, .age_ms = 3600 * 1000, .ttl_ms = 24 * 3600 * 1000};
    scene.cluster = FM_LIT("scene");
    scene.net = fm_sim_net_new(scene.clock, 1, &scene_calm);
    fm_sim_net_use(scene.net);
    for (unsigned i = 0; i < SCENE_NODES; i++) {
        struct scene_node *n = &scene.nodes[i];
        (void)snprintf(n->bus_address, sizeof n->bus_address, "10.2.0.%u:7000", i);
        (void)snprintf(n->ask_address, sizeof n->ask_address, "10.2.0.%u:7001", i);
        n->in_last = &n->in;
        n->out_last = &n->out;
    }
    for (unsigned i = 0; i < SCENE_NODES; i++)
        for (unsigned k = 0, to = 0; k < SCENE_NODES; k++)
            if (k != i)
                scene.nodes[i].seeds[to++] = scene.nodes[k].bus_address;
    return 0;
}

int scene_tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SCENE_NODES; i++)
        if (scene.nodes[i].hub)
            scene_stop(&scene.nodes[i]);
    fm_sim_net_free(&scene.net);
    fm_sim_clock_free(&scene.clock);
    return 0;
}

/* ---- the network ---- */

void scene_faults(struct fm_sim_faults f)
{
    fm_sim_net_faults_set(scene.net, &f);
}

void scene_cut(const struct scene_node *a, const struct scene_node *b)
{
    fm_sim_net_cut(scene.net, a->bus_address, b->bus_address, false);
}

/* ---- what clients do ---- */

void scene_publish_on(struct scene_node *n, struct fm_slice topic)
{
    struct fm_publish *p = fm_publish_new(FM_NO_WORKER, 0, 1, (struct fm_slice){0});
    assert_non_null(p);
    p->msgs[0] = fm_msg_new(topic, FM_LIT("said"), (struct fm_msg_keys){0}, FM_LIT("1"), 0);
    assert_non_null(p->msgs[0]);
    fm_hub_handle(n->hub, scene_now(n), &p->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    fm_sim_run(scene.clock, FM_SIM_MS);
}

void scene_publish(struct scene_node *n, unsigned count)
{
    while (count--)
        scene_publish_on(n, scene_room);
}

void scene_publish_lost(struct scene_node *n, unsigned count)
{
    struct fm_sim_faults lossy = scene_calm;
    lossy.loss_ppm = lossy.ask_loss_ppm = 1000000;
    scene_faults(lossy);
    scene_publish(n, count);
    scene_run(20);
    lossy.loss_ppm = 0;
    scene_faults(lossy);
}

void scene_publish_post(struct scene_node *n, struct fm_slice key, enum fm_ack ack)
{
    struct fm_publish *p = fm_publish_new(0, 1, 1, (struct fm_slice){0});
    assert_non_null(p);
    p->msgs[0] = fm_msg_new(scene_room, FM_LIT("said"), (struct fm_msg_keys){.idempotency = key}, FM_LIT("1"), 0);
    assert_non_null(p->msgs[0]);
    p->ack = ack;
    p->replicas = 1;
    p->timeout_ms = 1000;
    fm_hub_handle(n->hub, scene_now(n), &p->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
}

void *scene_next(struct scene_node *n, uint32_t kind)
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

void scene_join_post(struct scene_node *n, const struct fm_vector *cursor)
{
    struct fm_join *j = fm_join_new(0, 1, scene_room);
    assert_non_null(j);
    if (cursor) {
        j->has_cursor = true;
        assert_int_equal(fm_vector_copy(&j->cursor, cursor), FM_OK);
    }
    fm_hub_handle(n->hub, scene_now(n), &j->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
}

struct fm_join *scene_resume(struct scene_node *n, const struct fm_vector *cursor)
{
    scene_join_post(n, cursor);
    scene_run(3000);
    struct fm_join *j = scene_next(n, FM_HUB_JOIN);
    assert_true(j && j->err == FM_OK);
    return j;
}

struct fm_join *scene_join(struct scene_node *n, uint64_t origin, uint64_t seq)
{
    struct fm_vector cursor = {0};
    assert_int_equal(fm_vector_set(&cursor, origin, seq), FM_OK);
    struct fm_join *j = scene_resume(n, &cursor);
    fm_vector_fini(&cursor);
    return j;
}

bool scene_recovers(struct scene_node *n, const struct fm_vector *cursor)
{
    struct fm_join *j = scene_resume(n, cursor);
    bool recovered = j->recovered;
    fm_join_free(&j);
    return recovered;
}

struct fm_vector scene_cursor(struct scene_node *n)
{
    struct fm_vector cursor = {0};
    scene_join_post(n, NULL);
    struct fm_join *j = scene_next(n, FM_HUB_JOIN);
    assert_true(j && j->err == FM_OK);
    assert_int_equal(fm_vector_copy(&cursor, &j->cursor), FM_OK);
    fm_join_free(&j);
    return cursor;
}

void scene_subscribe(struct scene_node *n)
{
    struct fm_vector cursor = scene_cursor(n);
    fm_vector_fini(&cursor);
}

unsigned scene_messages(struct scene_node *n)
{
    unsigned count = 0;
    struct fm_item *it;
    while ((it = scene_next(n, FM_HUB_MSG)) != NULL) {
        fm_hub_item_free(it);
        count++;
    }
    return count;
}

uint64_t scene_peers(const struct scene_node *n)
{
    return fm_hub_stats(n->hub)->peers;
}

void scene_lives(struct scene_node *a, struct scene_node *c, unsigned count)
{
    for (unsigned life = 0; life < count; life++) {
        struct scene_node *b = scene_start(1);
        for (unsigned ms = 0; ms < 8000 && !(fm_hub_stats(b->hub)->ready && scene_peers(b) == 1 + (c != NULL)); ms += 100)
            scene_run(100);
        assert_true(fm_hub_stats(b->hub)->ready && scene_peers(b) == 1 + (c != NULL));
        scene_publish(b, 2);
        scene_run(1000);
        assert_true(scene_messages(a) == 2 && (!c || scene_messages(c) == 2));
        scene_stop(b);
    }
}
