/* One hub, and a node that is played by hand and says what no scene of real hubs brings about, or what none should say. */
#include "mesh_fixture.h"

#include "../../../broker/diag.h"

enum { PIPE = 5 };

static struct rig {
    unsigned gaps;
    struct fm_join *joined;
    bool said;
    struct fm_env_state said_last; /* by the hub */
} rig;

static void to_worker(void *ctx, unsigned worker, struct fm_item *chain, bool lost)
{
    (void)ctx, (void)worker, (void)lost;
    for (struct fm_item *next; chain; chain = next) {
        next = chain->next;
        rig.gaps += chain->kind == FM_HUB_GAP;
        if (chain->kind == FM_HUB_JOIN) {
            assert_null(rig.joined);
            rig.joined = (struct fm_join *)chain;
        } else {
            fm_hub_item_free(chain);
        }
    }
}

/* ---- the bus ---- */

static enum fm_err bus_publish(struct fm_bus *bus, struct fm_slice bytes)
{
    (void)bus;
    struct fm_env env;
    uint8_t *copy = malloc(bytes.n);
    memcpy(copy, bytes.p, bytes.n);
    assert_int_equal(fm_seal_open(mesh.peer, FM_PLANE_BUS, unbound, copy, bytes.n, &env), FM_OK);
    if (fm_env_type(env.body) == FM_ENV_STATE) {
        assert_int_equal(fm_env_state_read(env.body, &rig.said_last), FM_OK); /* whatever it was told, others understand it */
        rig.said = true;
    }
    free(copy);
    return FM_OK;
}

static const struct fm_bus_ops bus_ops = {.publish = bus_publish, .link = link_ignored, .unlink = unlink_ignored, .drop = drop_ignored};

/* ---- the peer and the clients ---- */

static void give(enum fm_bus_event event, struct fm_slice bytes)
{
    fm_hub_handle(mesh.hub, mesh.now, &bus_item(event, PIPE, bytes)->item);
    fm_hub_flush(mesh.hub, mesh.now);
}

/* time_ms, blind_ms and unnamed_ms as given. */
static void peer_says(struct fm_env_state s, bool all)
{
    struct fm_buf b = {0}, sealed = {0};
    s.flags = FM_STATE_READY | (all ? FM_STATE_FULL : 0);
    s.n = 1;
    s.at[0] = (struct fm_env_position){.origin = PEER};
    fm_env_state_write(&b, &s);
    assert_int_equal(fm_seal_close(mesh.peer, FM_PLANE_BUS, unbound, fm_buf_view(&b), &sealed, NULL), FM_OK);
    give(FM_BUS_ENVELOPE, fm_buf_view(&sealed));
    fm_buf_fini(&b);
    fm_buf_fini(&sealed);
}

/* With this cursor, or for the first time; the caller frees it. */
static struct fm_join *join(const struct fm_vector *cursor)
{
    struct fm_join *j = fm_join_new(0, 1, FM_LIT("room:1"));
    assert_non_null(j);
    if (cursor) {
        j->has_cursor = true;
        assert_int_equal(fm_vector_copy(&j->cursor, cursor), FM_OK);
    }
    fm_hub_handle(mesh.hub, mesh.now, &j->item);
    fm_hub_flush(mesh.hub, mesh.now);
    j = rig.joined;
    rig.joined = NULL;
    assert_true(j && j->err == FM_OK);
    return j;
}

static int start(void **state)
{
    (void)state;
    rig = (struct rig){0};
    mesh_start((struct fm_slice){0}, &bus_ops, 100000, to_worker);
    mesh_tick(1);
    give(FM_BUS_UP, (struct fm_slice){0});
    struct fm_buf sealed = {0};
    hello_seal(mesh.peer, PEER, &sealed);
    give(FM_BUS_ENVELOPE, fm_buf_view(&sealed));
    fm_buf_fini(&sealed);
    peer_says((struct fm_env_state){.time_ms = 100000}, true);
    return 0;
}

/* ---- the tests ---- */

/* It may have met somebody again, of whose side this node has never heard, before this node did. */
static void subscribers_are_told_of_what_a_node_learns_while_it_is_linked(void **state)
{
    (void)state;
    struct fm_join *j = join(NULL);
    mesh_tick(900);
    peer_says((struct fm_env_state){.time_ms = 101000, .blind_ms = 100900}, false);
    assert_int_equal(rig.gaps, 1);
    struct fm_join *again = join(&j->cursor);
    assert_false(again->recovered);
    fm_join_free(&again);
    fm_join_free(&j);
    mesh_tick(900);
    peer_says((struct fm_env_state){.time_ms = 102000, .blind_ms = 102000}, true); /* it was told by this node */
    assert_int_equal(rig.gaps, 1);
}

static void a_node_that_is_wrong_about_the_time_makes_older_cursors_useless_and_no_newer_ones(void **state)
{
    (void)state;
    static const struct fm_env_state wrong[] = {
        {.time_ms = FM_TIME_MAX},
        {.time_ms = FM_TIME_MAX, .blind_ms = FM_TIME_MAX, .unnamed_ms = FM_TIME_MAX},
        {.time_ms = 1000, .blind_ms = FM_TIME_MAX},
        {.time_ms = 1000, .unnamed_ms = FM_TIME_MAX},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        peer_says(wrong[i], true);
        mesh_tick(600);
        assert_true(rig.said && rig.said_last.time_ms < FM_TIME_MAX);
        rig.said = false;
        mesh_tick(600);
        peer_says((struct fm_env_state){.time_ms = 1000}, true);
        for (unsigned ms = 0; ms < 61000; ms += 500) { /* by so much the death of an origin is looked at as later than it was */
            mesh_tick(500);
            peer_says((struct fm_env_state){.time_ms = 1000}, true);
        }
        struct fm_join *j = join(NULL), *again = join(&j->cursor);
        assert_true(again->recovered);
        fm_join_free(&again);
        fm_join_free(&j);
    }
}

/* As a client may send it. It fools nobody but itself, and not even the node's next cursor. */
static void a_cursor_from_the_future_changes_nothing_for_others(void **state)
{
    (void)state;
    struct fm_vector forged = {0};
    assert_int_equal(fm_vector_set(&forged, FM_CURSOR_ASOF, UINT64_MAX), FM_OK);
    struct fm_join *before = join(NULL), *j = join(&forged);
    assert_true(fm_vector_get(&j->cursor, FM_CURSOR_ASOF) <= mesh.now.mono_ms);
    fm_join_free(&j);
    mesh_tick(900);
    peer_says((struct fm_env_state){.time_ms = 101000, .blind_ms = 100950}, true);
    j = join(&before->cursor);
    assert_false(j->recovered);
    assert_true(fm_vector_get(&j->cursor, FM_CURSOR_ASOF) <= mesh.now.mono_ms + 1000);
    fm_join_free(&j);
    fm_join_free(&before);
    fm_vector_fini(&forged);
}

int main(void)
{
    fm_diag_level_set(FM_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(subscribers_are_told_of_what_a_node_learns_while_it_is_linked, start, mesh_stop),
        cmocka_unit_test_setup_teardown(a_node_that_is_wrong_about_the_time_makes_older_cursors_useless_and_no_newer_ones, start,
                                        mesh_stop),
        cmocka_unit_test_setup_teardown(a_cursor_from_the_future_changes_nothing_for_others, start, mesh_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
