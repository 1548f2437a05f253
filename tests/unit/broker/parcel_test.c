/* Parcels between workers: handed over at most once, confirmed by the hub, and back where they did not arrive. */
#include "mesh_fixture.h"

enum { PIPE = 5 };

static struct rig {
    struct fm_parcel *got; /* by worker 0, last */
    unsigned n;
    uint64_t ask, counter;
    struct fm_env_parcel sent;
    uint8_t copy[256];
    enum fm_err refuse;              /* what the bus answers to the next ask */
    unsigned asks, parcels, answers; /* parcels: in the last ask */
} rig;

static void to_worker(void *ctx, unsigned worker, struct fm_item *chain, bool lost)
{
    (void)ctx, (void)lost;
    assert_int_equal(worker, 0);
    for (struct fm_item *next; chain; chain = next) {
        next = chain->next;
        assert_int_equal(chain->kind, FM_HUB_PARCEL);
        fm_parcel_free(&rig.got);
        rig.got = (struct fm_parcel *)chain;
        rig.n++;
    }
}

static enum fm_err bus_ask(struct fm_bus *bus, const char *address, uint64_t id, struct fm_slice bytes, unsigned timeout_ms)
{
    (void)bus, (void)timeout_ms;
    struct fm_env env;
    if (rig.refuse)
        return rig.refuse;
    assert_string_equal(address, "10.0.0.2:2");
    assert_true(bytes.n <= sizeof rig.copy);
    memcpy(rig.copy, bytes.p, bytes.n);
    assert_int_equal(fm_seal_open(mesh.peer, FM_PLANE_ASK, unbound, rig.copy, bytes.n, &env), FM_OK);
    struct fm_slice rest;
    if (fm_env_parcels_read(env.body, &rest) != FM_OK)
        return FM_OK; /* a pull */
    for (rig.parcels = 0; rest.n; rig.parcels++)
        assert_int_equal(fm_env_parcel_next(&rest, &rig.sent), FM_OK);
    rig.ask = id;
    rig.counter = env.counter;
    rig.asks++;
    return FM_OK;
}

static enum fm_err bus_answer(struct fm_bus *bus, uint64_t handle, struct fm_slice bytes)
{
    (void)bus;
    struct fm_env env;
    uint8_t copy[256];
    assert_int_equal(handle, 9);
    memcpy(copy, bytes.p, bytes.n);
    assert_int_equal(fm_seal_open(mesh.peer, FM_PLANE_ANSWER, (struct fm_env_bind){PEER, rig.counter}, copy, bytes.n, &env), FM_OK);
    assert_int_equal(fm_env_taken_read(env.body), FM_OK);
    rig.answers++;
    return FM_OK;
}

static const struct fm_bus_ops bus_ops = {
    .publish = publish_ignored, .ask = bus_ask, .answer = bus_answer, .link = link_ignored, .unlink = unlink_ignored, .drop = drop_ignored};

static int start(void **state)
{
    (void)state;
    rig = (struct rig){0};
    mesh_start(FM_LIT("a secret of some length"), &bus_ops, 1000, to_worker);
    mesh_tick(1);
    bus_give(PIPE, FM_BUS_UP, (struct fm_slice){0}, 0, FM_OK);
    return 0;
}

static int stop(void **state)
{
    fm_parcel_free(&rig.got);
    return mesh_stop(state);
}

static void post(uint64_t node, uint32_t worker)
{
    struct fm_parcel *p = fm_parcel_new(node, worker, 0, 55, FM_LIT("bytes"));
    fm_hub_handle(mesh.hub, mesh.now, &p->item);
    fm_hub_flush(mesh.hub, mesh.now);
}

static void came_back(enum fm_err err)
{
    assert_int_equal(rig.n, 1);
    assert_int_equal(rig.got->err, err);
    assert_int_equal(rig.got->token, 55);
    assert_int_equal(rig.got->n, 0);
}

static void peer_confirms(void)
{
    struct fm_buf b = {0}, sealed = {0};
    fm_env_taken_write(&b);
    assert_int_equal(fm_seal_close(mesh.peer, FM_PLANE_ANSWER, (struct fm_env_bind){SELF, rig.counter}, fm_buf_view(&b), &sealed, NULL),
                     FM_OK);
    bus_give(PIPE, FM_BUS_ANSWERED, fm_buf_view(&sealed), rig.ask, FM_OK);
    fm_buf_fini(&b);
    fm_buf_fini(&sealed);
}

static void one_for_this_node_goes_to_its_worker(void **state)
{
    (void)state;
    post(SELF, 0);
    assert_int_equal(rig.n, 1);
    assert_int_equal(rig.got->err, FM_OK);
    assert_true(fm_slice_eq(fm_slice_of(rig.got->bytes, rig.got->n), FM_LIT("bytes")));
    assert_int_equal(rig.asks, 0);
}

static void one_for_a_worker_or_node_that_is_not_there_comes_back(void **state)
{
    (void)state;
    post(SELF, 7);
    came_back(FM_E_NOT_FOUND);
    rig.n = 0;
    post(PEER, 0); /* which nobody has met */
    came_back(FM_E_NOT_FOUND);
    bus_give_hello(PIPE);
    rig.n = 0;
    rig.refuse = FM_E_TOO_MANY;
    post(PEER, 0);
    came_back(FM_E_TOO_MANY);
}

static void one_for_another_node_leaves_and_is_heard_of_again_only_if_it_did_not_arrive(void **state)
{
    (void)state;
    bus_give_hello(PIPE);
    post(PEER, 3);
    assert_int_equal(rig.asks, 1);
    assert_int_equal(rig.sent.worker, 3);
    assert_true(fm_slice_eq(rig.sent.bytes, FM_LIT("bytes")));
    peer_confirms();
    assert_int_equal(rig.n, 0);
    post(PEER, 3);
    bus_give(PIPE, FM_BUS_ANSWERED, (struct fm_slice){0}, rig.ask, FM_E_TIMEOUT);
    came_back(FM_E_TIMEOUT);
    post(PEER, 3); /* still on its way when the node ends */
}

static void peer_sends(uint32_t worker)
{
    struct fm_buf b = {0}, sealed = {0};
    fm_env_parcels_begin(&b);
    fm_env_parcel_write(&b, &(struct fm_env_parcel){0, FM_LIT("first")});
    fm_env_parcel_write(&b, &(struct fm_env_parcel){worker, FM_LIT("theirs")});
    assert_int_equal(fm_seal_close(mesh.peer, FM_PLANE_ASK, unbound, fm_buf_view(&b), &sealed, &rig.counter), FM_OK);
    bus_give(PIPE, FM_BUS_ASKED, fm_buf_view(&sealed), 9, FM_OK);
    bus_give(PIPE, FM_BUS_ASKED, fm_buf_view(&sealed), 9, FM_OK); /* a replay */
    fm_buf_fini(&b);
    fm_buf_fini(&sealed);
}

static void what_arrives_is_handed_over_once_and_confirmed_at_once(void **state)
{
    (void)state;
    peer_sends(0); /* by nobody that is known: not even answered */
    assert_int_equal(rig.n + rig.answers, 0);
    bus_give_hello(PIPE);
    peer_sends(0);
    assert_int_equal(rig.n, 2);
    assert_true(rig.got->node == PEER);
    assert_true(fm_slice_eq(fm_slice_of(rig.got->bytes, rig.got->n), FM_LIT("theirs")));
    assert_int_equal(rig.answers, 1);
    peer_sends(7); /* a worker that there isn't: the first takes it, and knows nothing of it */
    assert_int_equal(rig.n, 4);
    assert_int_equal(rig.answers, 2);
}

static void what_comes_while_a_few_asks_are_under_way_leaves_together(void **state)
{
    (void)state;
    bus_give_hello(PIPE);
    for (unsigned i = 0; i < 20; i++)
        post(PEER, i);
    assert_int_equal(rig.asks, 4);
    assert_int_equal(rig.parcels, 1);
    peer_confirms(); /* the fourth */
    assert_int_equal(rig.asks, 5);
    assert_int_equal(rig.parcels, 16);
    assert_int_equal(rig.sent.worker, 19);
    peer_confirms();
    assert_int_equal(rig.asks, 5);
    assert_int_equal(rig.n, 0);
    /* The node is gone: what waits comes back, and so does what was not confirmed. */
    for (unsigned i = 0; i < 10; i++)
        post(PEER, i);
    assert_int_equal(rig.asks, 6);
    bus_give(PIPE, FM_BUS_DOWN, (struct fm_slice){0}, 0, FM_OK);
    for (unsigned ms = 0; ms < 5000; ms += 250)
        mesh_tick(250);
    assert_int_equal(rig.n, 9);
    assert_int_equal(rig.got->err, FM_E_NOT_FOUND);
    bus_give(PIPE, FM_BUS_ANSWERED, (struct fm_slice){0}, rig.ask, FM_E_CLOSED);
    assert_int_equal(rig.n, 10);
    assert_int_equal(rig.got->err, FM_E_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_for_this_node_goes_to_its_worker, start, stop),
        cmocka_unit_test_setup_teardown(one_for_a_worker_or_node_that_is_not_there_comes_back, start, stop),
        cmocka_unit_test_setup_teardown(one_for_another_node_leaves_and_is_heard_of_again_only_if_it_did_not_arrive, start, stop),
        cmocka_unit_test_setup_teardown(what_arrives_is_handed_over_once_and_confirmed_at_once, start, stop),
        cmocka_unit_test_setup_teardown(what_comes_while_a_few_asks_are_under_way_leaves_together, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
