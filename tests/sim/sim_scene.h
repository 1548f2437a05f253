/* What the scenes (scene_*_test.c) share: two or three hubs over the simulated network, driven by hand. In each scene one thing happens
 * that once went wrong: what the seeds of promise_test.c found is kept there as small as it gets.
 *
 * -- owner only -- */
#pragma once

#include "bus_sim.h"

#include "../../broker/hub.h"

enum { SCENE_NODES = 3 };

struct scene_node {
    struct fm_hub *hub; /* NULL: down */
    struct fm_bus *bus;
    struct fm_seal *seal;
    char bus_address[24], ask_address[24];
    const char *seeds[SCENE_NODES]; /* the others; a scene may take some away before it starts the node */
    uint64_t incarnation, tick_us, ticks;
    int64_t skew_ms; /* of its wall clock */
    uint64_t up_ms;  /* its steady clock is ahead by so much */
    bool frozen;
    struct fm_item *in, **in_last, *out, **out_last; /* the hub's inbox; what it gave its worker */
};

struct scene {
    struct fm_sim_clock *clock;
    struct fm_sim_net *net;
    struct scene_node nodes[SCENE_NODES];
    struct fm_slice cluster;
    uint64_t incarnations, age_ms, ttl_ms;      /* age_ms: of histories; ttl_ms: of cursors */
    void (*tune)(struct fm_hub_config *config); /* what else a node that starts has different; NULL: nothing */
};

extern struct scene scene;
extern const struct fm_sim_faults scene_calm;
extern const struct fm_slice scene_room; /* the topic of all that names no other */

int scene_set_up(void **state);
int scene_tear_down(void **state);
#define SCENE(f) cmocka_unit_test_setup_teardown(f, scene_set_up, scene_tear_down)

/* ---- nodes ---- */

struct fm_now scene_now(const struct scene_node *n);
/* A new life of node `i`, which knows the addresses of all others. */
struct scene_node *scene_start(unsigned i);
/* The nodes 0 and 1, until they know each other. */
void scene_start_two(struct scene_node **a, struct scene_node **b);
/* At once, as by kill -9. */
void scene_stop(struct scene_node *n);
void scene_run(unsigned ms);
uint64_t scene_peers(const struct scene_node *n);

/* ---- the network ---- */

void scene_faults(struct fm_sim_faults f);
void scene_cut(const struct scene_node *a, const struct scene_node *b);

/* ---- what clients do ---- */

void scene_publish_on(struct scene_node *n, struct fm_slice topic);
void scene_publish(struct scene_node *n, unsigned count);
/* None of the others gets them; when it is calm again they can be had from `n`. Until then questions stay unanswered, and the rest arrives:
 * the next heartbeat says that something is missing. */
void scene_publish_lost(struct scene_node *n, unsigned count);
/* As worker 0, which gets the answer. */
void scene_publish_post(struct scene_node *n, struct fm_slice key, enum fm_ack ack);
/* The next item of a kind that the worker of `n` got, or NULL. The caller frees it. */
void *scene_next(struct scene_node *n, uint32_t kind);
/* How many messages it got since it was asked last. */
unsigned scene_messages(struct scene_node *n);
void scene_join_post(struct scene_node *n, const struct fm_vector *cursor);
/* The answer to a join with this cursor, or with one of one id. It takes three seconds. */
struct fm_join *scene_resume(struct scene_node *n, const struct fm_vector *cursor);
struct fm_join *scene_join(struct scene_node *n, uint64_t origin, uint64_t seq);
void scene_subscribe(struct scene_node *n);
/* The same, and the position that the subscriber was given. */
struct fm_vector scene_cursor(struct scene_node *n);
/* Is a join with this cursor answered recovered: true? */
bool scene_recovers(struct scene_node *n, const struct fm_vector *cursor);
/* b (node 1) starts again and again, and is heard by a, and by c where it is there, in each life. */
void scene_lives(struct scene_node *a, struct scene_node *c, unsigned count);
