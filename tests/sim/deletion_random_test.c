/* Deletions among splits, losses, restarts and nodes that come and go, drawn from seeds: at the end, when all is healed, no node gives
 * anything that a deletion named, and every node gives all the rest that a node which is still there accepted. FANMESH_SIM_SEED runs one
 * seed, FANMESH_SIM_SEEDS says how many. */
#include "sim_scene.h"

#include "../../broker/command.h"
#include "../../broker/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { SEEDS = 30, STEPS = 60, PUBLISHED_MAX = 2000, DELETED_MAX = 100 };

static struct {
    uint64_t drawn;
    struct fm_id published[PUBLISHED_MAX];
    unsigned published_n;
    struct fm_vector deleted[DELETED_MAX];
    unsigned deleted_n;
} run;

static unsigned draw(unsigned below)
{
    run.drawn ^= run.drawn << 13;
    run.drawn ^= run.drawn >> 7;
    run.drawn ^= run.drawn << 17;
    return (unsigned)(run.drawn >> 33) % below;
}

static struct fm_join *join_all(struct scene_node *n, struct fm_slice topic)
{
    struct fm_join *j = fm_join_new(0, 1, topic);
    assert_non_null(j);
    j->last = UINT32_MAX;
    fm_hub_handle(n->hub, scene_now(n), &j->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    j = scene_next(n, FM_HUB_JOIN);
    struct fm_leave *l = fm_leave_new(0, 1, topic);
    assert_non_null(l);
    fm_hub_handle(n->hub, scene_now(n), &l->item);
    return j;
}

static struct fm_publish *post(struct scene_node *n, struct fm_msg *m)
{
    struct fm_publish *p = fm_publish_new(0, 1, 1, (struct fm_slice){0});
    assert_true(p && m);
    p->msgs[0] = m;
    fm_hub_handle(n->hub, scene_now(n), &p->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    return scene_next(n, FM_HUB_PUBLISH);
}

static void publish(struct scene_node *n)
{
    struct fm_publish *p = post(n, fm_msg_new(scene_room, FM_LIT("said"), (struct fm_msg_keys){0}, FM_LIT("1"), 0));
    if (p->err == FM_OK && run.published_n < PUBLISHED_MAX)
        run.published[run.published_n++] = p->results[0].id;
    fm_publish_free(&p);
}

/* What it named is read from the command itself. */
static void deletion_note(struct scene_node *n, struct fm_id id)
{
    struct fm_join *j = join_all(n, FM_COMMAND_TOPIC);
    for (uint32_t i = 0; i < j->replayed; i++) {
        struct fm_cluster_command c;
        assert_int_equal(fm_command_read(fm_msg_payload(j->replay[i]), &c), FM_OK);
        if (c.id.origin == id.origin && c.id.seq == id.seq && run.deleted_n < DELETED_MAX) {
            run.deleted[run.deleted_n++] = c.upto;
            c.upto = (struct fm_vector){0};
        }
        fm_command_fini(&c);
    }
    fm_join_free(&j);
}

static void delete (struct scene_node *n)
{
    unsigned before = run.deleted_n;
    struct fm_publish *p =
        post(n, fm_command_message(&(struct fm_cluster_command){.kind = FM_COMMAND_DELETE, .topic = scene_room}, (struct fm_slice){0}));
    if (p->err == FM_OK && before < DELETED_MAX) {
        deletion_note(n, p->results[0].id);
        assert_int_equal(run.deleted_n, before + 1);
    }
    fm_publish_free(&p);
}

static bool is_deleted(struct fm_id id)
{
    for (unsigned i = 0; i < run.deleted_n; i++)
        if (fm_vector_get(&run.deleted[i], id.origin) >= id.seq)
            return true;
    return false;
}

static bool lives(uint64_t incarnation)
{
    for (unsigned i = 0; i < SCENE_NODES; i++)
        if (scene.nodes[i].hub && scene.nodes[i].incarnation == incarnation)
            return true;
    return false;
}

static void check(struct scene_node *n)
{
    struct fm_join *j = join_all(n, scene_room);
    assert_true(j && j->err == FM_OK);
    for (uint32_t i = 0; i < j->replayed; i++)
        assert_false(is_deleted(j->replay[i]->id));
    for (unsigned k = 0; k < run.published_n; k++) {
        struct fm_id id = run.published[k];
        bool found = false;
        for (uint32_t i = 0; i < j->replayed && !found; i++)
            found = j->replay[i]->id.origin == id.origin && j->replay[i]->id.seq == id.seq;
        assert_true(found || is_deleted(id) || !lives(id.origin));
    }
    fm_join_free(&j);
}

static void step(void)
{
    struct scene_node *n = &scene.nodes[draw(SCENE_NODES)], *other = &scene.nodes[draw(SCENE_NODES)];
    struct fm_sim_faults lossy = scene_calm;
    switch (draw(10)) {
    case 0:
        if (n != other)
            scene_cut(n, other);
        break;
    case 1:
        fm_sim_net_heal_all(scene.net);
        break;
    case 2:
        lossy.loss_ppm = draw(400000);
        scene_faults(lossy);
        break;
    case 3:
        scene_faults(scene_calm);
        break;
    case 4:
        if (draw(3) == 0 && n->hub) {
            scene_stop(n);
            (void)scene_start((unsigned)(n - scene.nodes));
        }
        break;
    case 5:
        if (n->hub)
            delete (n);
        break;
    default:
        for (unsigned i = draw(5) + 1; n->hub && i; i--)
            publish(n);
    }
    scene_run(draw(2000));
    for (unsigned i = 0; i < SCENE_NODES; i++)
        while (scene_messages(&scene.nodes[i]))
            ;
}

static void one(uint64_t seed, unsigned *gone, unsigned *kept)
{
    void *state;
    run.drawn = seed * 0x9e3779b97f4a7c15u + 1;
    run.published_n = run.deleted_n = 0;
    assert_int_equal(scene_set_up(&state), 0);
    for (unsigned i = 0; i < SCENE_NODES; i++)
        (void)scene_start(i);
    scene_run(5000);
    for (unsigned i = 0; i < STEPS; i++)
        step();
    fm_sim_net_heal_all(scene.net);
    scene_faults(scene_calm);
    scene_run(40000);
    for (unsigned i = 0; i < SCENE_NODES; i++)
        check(&scene.nodes[i]);
    for (unsigned k = 0; k < run.published_n; k++)
        *(is_deleted(run.published[k]) ? gone : kept) += 1;
    for (unsigned i = 0; i < run.deleted_n; i++)
        fm_vector_fini(&run.deleted[i]);
    assert_int_equal(scene_tear_down(&state), 0);
}

static void nothing_deleted_comes_back_and_nothing_else_goes(void **state)
{
    (void)state;
    const char *seed = getenv("FANMESH_SIM_SEED"), *seeds = getenv("FANMESH_SIM_SEEDS");
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1, n = seed ? 1 : seeds ? strtoull(seeds, NULL, 10) : SEEDS;
    unsigned gone = 0, kept = 0;
    fm_diag_level_set(FM_ERROR);
    for (uint64_t i = first; i < first + n; i++) {
        print_message("FANMESH_SIM_SEED=%llu\n", (unsigned long long)i);
        one(i, &gone, &kept);
    }
    assert_true(gone > 0 && kept > 0); /* else it shows nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_deleted_comes_back_and_nothing_else_goes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
