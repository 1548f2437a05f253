#include "sim_deletion.h"

#include "sim_scene.h"

#include "../../broker/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { STEPS = 60, PUBLISHED_MAX = 2000, DELETED_MAX = 100 };

static struct {
    uint64_t drawn;
    struct fm_id published[PUBLISHED_MAX];
    unsigned published_n;
    struct fm_vector deleted[DELETED_MAX];
    unsigned deleted_n;
    struct {
        uint64_t life;          /* whose worker has subscribed to the room and to commands; 0: none yet */
        struct fm_vector knows; /* what is deleted, as its worker was told */
    } nodes[SCENE_NODES];
    bool loses;   /* now and then something is out of reach for long */
    bool gave_up; /* a node has given something up: what that was is where it is, and perhaps nowhere else */
    char wrong[160];
} run;

static unsigned draw(unsigned below)
{
    run.drawn ^= run.drawn << 13;
    run.drawn ^= run.drawn >> 7;
    run.drawn ^= run.drawn << 17;
    return (unsigned)(run.drawn >> 33) % below;
}

static unsigned index_of(const struct scene_node *n)
{
    return (unsigned)(n - scene.nodes);
}

static void wrong(const struct scene_node *n, struct fm_id id, const char *what)
{
    if (!run.wrong[0])
        (void)snprintf(run.wrong, sizeof run.wrong, "node %u (life %llu): %llu-%llu %s", index_of(n), (unsigned long long)n->incarnation,
                       (unsigned long long)id.origin, (unsigned long long)id.seq, what);
}

/* ---- what a node gives ---- */

static void given(struct scene_node *n, const struct fm_msg *m, const char *what)
{
    const struct fm_vector *knows = &run.nodes[index_of(n)].knows;
    if (fm_slice_eq(fm_msg_topic(m), scene_room)) {
        if (m->id.seq <= fm_vector_get(knows, m->id.origin))
            wrong(n, m->id, what);
        return;
    }
    struct fm_cluster_command c;
    assert_int_equal(fm_command_read(fm_msg_payload(m), &c), FM_OK);
    for (uint32_t i = 0; i < c.upto.n; i++)
        assert_int_equal(fm_vector_raise(&run.nodes[index_of(n)].knows, c.upto.at[i].origin, c.upto.at[i].seq), FM_OK);
    fm_command_fini(&c);
}

static void take(struct scene_node *n)
{
    struct fm_msg_item *it;
    while ((it = scene_next(n, FM_HUB_MSG)) != NULL) {
        given(n, it->msg, "was given out, and its deletion is known");
        fm_hub_item_free(&it->item);
    }
}

/* All that the topic remembers. */
static struct fm_join *join(struct scene_node *n, struct fm_slice topic)
{
    struct fm_join *j = fm_join_new(0, 1, topic);
    assert_non_null(j);
    j->last = UINT32_MAX;
    fm_hub_handle(n->hub, scene_now(n), &j->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    take(n);
    j = scene_next(n, FM_HUB_JOIN);
    assert_true(j && j->err == FM_OK);
    for (uint32_t i = 0; i < j->replayed; i++)
        given(n, j->replay[i], "was given to who joined, and its deletion is known");
    return j;
}

static struct fm_join *join_and_leave(struct scene_node *n, struct fm_slice topic)
{
    struct fm_join *j = join(n, topic);
    struct fm_leave *l = fm_leave_new(0, 1, topic);
    assert_non_null(l);
    fm_hub_handle(n->hub, scene_now(n), &l->item);
    return j;
}

/* In each life once, as soon as it answers. */
static void subscribe(struct scene_node *n)
{
    unsigned i = index_of(n);
    if (!n->hub || run.nodes[i].life == n->incarnation || !fm_hub_stats(n->hub)->ready)
        return;
    run.nodes[i].life = n->incarnation;
    run.nodes[i].knows.n = 0;
    struct fm_join *commands = join(n, FM_COMMAND_TOPIC), *room = join(n, scene_room);
    fm_join_free(&commands);
    fm_join_free(&room);
}

static void look(struct scene_node *n)
{
    run.gave_up |= n->hub && fm_hub_stats(n->hub)->commands_missed > 0;
    subscribe(n);
    take(n);
    if (!n->hub || run.nodes[index_of(n)].life != n->incarnation)
        return;
    struct fm_join *j = join_and_leave(n, scene_room);
    fm_join_free(&j);
}

/* ---- what is done ---- */

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

/* So that what is missing of one topic does not hold up the other. */
static void publish_elsewhere(struct scene_node *n)
{
    struct fm_publish *p = post(n, fm_msg_new(FM_LIT("elsewhere"), FM_LIT("said"), (struct fm_msg_keys){0}, FM_LIT("1"), 0));
    fm_publish_free(&p);
}

/* What it named is read from the command itself. */
static void deletion_note(struct scene_node *n, struct fm_id id)
{
    struct fm_join *j = join_and_leave(n, FM_COMMAND_TOPIC);
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
    if (before == DELETED_MAX)
        return;
    struct fm_publish *p =
        post(n, fm_command_message(&(struct fm_cluster_command){.kind = FM_COMMAND_DELETE, .topic = scene_room}, (struct fm_slice){0}));
    if (p->err == FM_OK) {
        deletion_note(n, p->results[0].id);
        assert_int_equal(run.deleted_n, before + 1);
    }
    fm_publish_free(&p);
}

static void publish_some(struct scene_node *n)
{
    for (unsigned i = draw(5) + 1; n->hub && i; i--)
        (draw(3) ? publish : publish_elsewhere)(n);
}

/* Of what n publishes hardly anything arrives, and none of it can be had. What the other has heard of by then it deletes. Not for so long
 * that anything is given up. */
static void delete_what_is_on_its_way(struct scene_node *n, struct scene_node *other)
{
    struct fm_sim_faults fog = scene_calm;
    fog.loss_ppm = 700000;
    fog.ask_loss_ppm = 1000000;
    scene_faults(fog);
    for (unsigned i = 0; i < 3; i++) {
        publish_some(n);
        scene_run(draw(500));
    }
    if (other->hub)
        delete (other);
    scene_run(draw(500));
    scene_faults(scene_calm);
    scene_run(500);
}

/* For so long that some of what does not arrive is given up, deletions among it. */
static void delete_and_lose(struct scene_node *n)
{
    struct fm_sim_faults fog = scene_calm;
    fog.loss_ppm = 500000;
    fog.ask_loss_ppm = 1000000;
    scene_faults(fog);
    for (unsigned i = 0; i < 4; i++) {
        publish_some(n);
        if (n->hub && draw(2))
            delete (n);
        scene_run(draw(500));
    }
    scene_run(8000);
    scene_faults(scene_calm);
}

static void step(struct sim_deletion_sums *sums)
{
    struct scene_node *n = &scene.nodes[draw(SCENE_NODES)], *other = &scene.nodes[draw(SCENE_NODES)];
    struct fm_sim_faults lossy = scene_calm;
    switch (draw(12)) {
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
            take(n);
            sums->late += (unsigned)fm_hub_stats(n->hub)->deleted_late;
            scene_stop(n);
            (void)scene_start(index_of(n));
        }
        break;
    case 5:
        if (n->hub)
            delete (n);
        break;
    case 6:
        delete_what_is_on_its_way(n, other);
        break;
    case 7:
        if (run.loses)
            delete_and_lose(n);
        break;
    default:
        publish_some(n);
    }
    scene_run(draw(2000));
    for (unsigned i = 0; i < SCENE_NODES; i++)
        look(&scene.nodes[i]);
}

/* ---- the end ---- */

static bool is_deleted(struct fm_id id)
{
    for (unsigned i = 0; i < run.deleted_n; i++)
        if (fm_vector_get(&run.deleted[i], id.origin) >= id.seq)
            return true;
    return false;
}

/* A deletion that no node knows any more is lost: who was to be the first to hear of it never did. */
static bool is_known_deleted(struct fm_id id)
{
    for (unsigned i = 0; i < SCENE_NODES; i++)
        if (fm_vector_get(&run.nodes[i].knows, id.origin) >= id.seq)
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
    struct fm_join *j = join_and_leave(n, scene_room);
    for (uint32_t i = 0; i < j->replayed; i++)
        if (is_known_deleted(j->replay[i]->id))
            wrong(n, j->replay[i]->id, "was deleted, and is there when all is healed");
    for (unsigned k = 0; k < run.published_n; k++) {
        struct fm_id id = run.published[k];
        bool found = false;
        for (uint32_t i = 0; i < j->replayed && !found; i++)
            found = j->replay[i]->id.origin == id.origin && j->replay[i]->id.seq == id.seq;
        if (!found && !is_deleted(id) && lives(id.origin) && !run.gave_up)
            wrong(n, id, "is not there when all is healed, and no deletion named it");
    }
    fm_join_free(&j);
}

const char *sim_deletion_run(uint64_t seed, struct sim_deletion_sums *sums)
{
    void *state;
    run.drawn = seed * 0x9e3779b97f4a7c15u + 1;
    run.published_n = run.deleted_n = 0;
    run.wrong[0] = 0;
    run.loses = seed % 2 == 0;
    run.gave_up = false;
    assert_int_equal(scene_set_up(&state), 0);
    for (unsigned i = 0; i < SCENE_NODES; i++) {
        run.nodes[i].life = 0;
        (void)scene_start(i);
    }
    scene_run(5000);
    for (unsigned i = 0; i < STEPS && !run.wrong[0]; i++)
        step(sums);
    if (run.loses) /* so that no later deletion hides that one was lost */
        delete_and_lose(&scene.nodes[draw(SCENE_NODES)]);
    fm_sim_net_heal_all(scene.net);
    scene_faults(scene_calm);
    scene_run(40000);
    for (unsigned i = 0; i < SCENE_NODES; i++)
        look(&scene.nodes[i]);
    for (unsigned i = 0; i < SCENE_NODES; i++) {
        check(&scene.nodes[i]);
        sums->late += (unsigned)fm_hub_stats(scene.nodes[i].hub)->deleted_late;
        sums->missed += (unsigned)fm_hub_stats(scene.nodes[i].hub)->commands_missed;
    }
    for (unsigned k = 0; k < run.published_n; k++)
        *(is_deleted(run.published[k]) ? &sums->gone : &sums->kept) += 1;
    for (unsigned i = 0; i < run.deleted_n; i++)
        fm_vector_fini(&run.deleted[i]);
    for (unsigned i = 0; i < SCENE_NODES; i++)
        fm_vector_fini(&run.nodes[i].knows);
    assert_int_equal(scene_tear_down(&state), 0);
    return run.wrong[0] ? run.wrong : NULL;
}
