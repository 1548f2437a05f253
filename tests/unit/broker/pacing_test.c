/* One hub and a peer that is played by hand: how batches wait for acknowledgements, what becomes of publishers meanwhile, and that what a
 * live stream is about to bring is not asked for. */
#include "mesh_fixture.h"

enum { PIPE = 5, WINDOW = 12 };

static struct rig {
    unsigned asks, batches, states;
    uint64_t counter, claimed; /* of the last batch that left; what the hub last claimed to have of its own */
} rig;

/* ---- the bus ---- */

static enum fm_err bus_publish(struct fm_bus *bus, struct fm_slice bytes)
{
    (void)bus;
    struct fm_env env;
    struct fm_env_state s;
    uint8_t *copy = malloc(bytes.n);
    memcpy(copy, bytes.p, bytes.n);
    assert_int_equal(fm_seal_open(mesh.peer, FM_PLANE_BUS, unbound, copy, bytes.n, &env), FM_OK);
    if (fm_env_type(env.body) == FM_ENV_RANGE) {
        rig.batches++;
        rig.counter = env.counter;
    } else if (fm_env_state_read(env.body, &s) == FM_OK) {
        rig.states++;
        for (uint32_t i = 0; i < s.n; i++)
            rig.claimed = s.at[i].origin == SELF ? s.at[i].contig : rig.claimed;
    }
    free(copy);
    return FM_OK;
}

static enum fm_err bus_ask(struct fm_bus *bus, const char *address, uint64_t id, struct fm_slice bytes, unsigned timeout_ms)
{
    (void)bus, (void)address, (void)id, (void)bytes, (void)timeout_ms;
    rig.asks++;
    return FM_OK;
}

static const struct fm_bus_ops bus_ops = {.publish = bus_publish, .ask = bus_ask, .link = link_ignored, .unlink = unlink_ignored};

/* ---- the peer ---- */

static void give(const struct fm_buf *sealed)
{
    fm_hub_handle(mesh.hub, mesh.now, &bus_item(FM_BUS_ENVELOPE, PIPE, fm_buf_view(sealed))->item);
}

static void say(const struct fm_buf *body)
{
    struct fm_buf sealed = {0};
    assert_int_equal(fm_seal_close(mesh.peer, FM_PLANE_BUS, unbound, fm_buf_view(body), &sealed, NULL), FM_OK);
    give(&sealed);
    fm_buf_fini(&sealed);
}

/* It has its own messages up to there, and has seen everything that left up to this counter. */
static void peer_says(uint64_t own, uint64_t acknowledged)
{
    struct fm_env_state s = {.flags = FM_STATE_READY | FM_STATE_FULL,
                             .n = 2,
                             .at = {{.origin = PEER, .contig = own}, {.origin = SELF, .counter = acknowledged}}};
    struct fm_buf b = {0};
    fm_env_state_write(&b, &s);
    say(&b);
    fm_buf_fini(&b);
}

static void peer_publishes_flagged(uint64_t flags, uint64_t from, uint64_t to)
{
    struct fm_env_range_writer w;
    struct fm_buf b = {0};
    fm_env_range_begin(&w, &b, &(struct fm_env_range){.flags = flags, .origin = PEER, .from = from, .contig = to});
    for (uint64_t seq = from; seq <= to; seq++) {
        struct fm_msg *m = fm_msg_new(FM_LIT("room:1"), FM_LIT("e"), (struct fm_msg_keys){0}, FM_LIT("{}"), 0);
        fm_msg_accept(m, (struct fm_id){PEER, seq}, seq - 1, 1700000000000);
        fm_env_range_msg(&w, m, 0);
        fm_msg_unref(&m);
    }
    fm_env_range_finish(&w, to);
    say(&b);
    fm_buf_fini(&b);
}

static void peer_publishes(uint64_t from, uint64_t to)
{
    peer_publishes_flagged(0, from, to);
}

/* ---- the rig ---- */

/* Messages of 1 KiB, each in a drain of its own. */
static void publish(unsigned n)
{
    static const uint8_t payload[1024];
    while (n--) {
        struct fm_publish *p = fm_publish_new(FM_NO_WORKER, 0, 1, (struct fm_slice){0});
        p->msgs[0] =
            fm_msg_new(FM_LIT("room:1"), FM_LIT("e"), (struct fm_msg_keys){0}, fm_slice_of(payload, sizeof payload), FM_MSG_BINARY);
        fm_hub_handle(mesh.hub, mesh.now, &p->item);
        fm_hub_flush(mesh.hub, mesh.now);
    }
}

static int start(void **state)
{
    (void)state;
    struct fm_buf sealed = {0};
    rig = (struct rig){0};
    mesh_start((struct fm_slice){0}, &bus_ops, 1000, NULL);
    mesh_tick(1);
    fm_hub_handle(mesh.hub, mesh.now, &bus_item(FM_BUS_UP, PIPE, (struct fm_slice){0})->item);
    hello_seal(mesh.peer, PEER, &sealed);
    give(&sealed);
    fm_buf_fini(&sealed);
    peer_says(0, 0);
    mesh_tick(1);
    return 0;
}

/* ---- tests ---- */

static void batches_wait_for_acknowledgements_and_then_leave_together(void **state)
{
    (void)state;
    publish(WINDOW + 3);
    assert_int_equal(rig.batches, WINDOW);
    peer_says(0, rig.counter);
    fm_hub_flush(mesh.hub, mesh.now);
    assert_int_equal(rig.batches, WINDOW + 1);
    assert_int_equal(fm_hub_stats(mesh.hub)->backlog_bytes, 0);
}

/* So that the others know of it, should this node die. */
static void what_waits_to_leave_is_claimed(void **state)
{
    (void)state;
    publish(WINDOW + 3);
    fm_hub_drain(mesh.hub, mesh.now); /* sends a state */
    assert_int_equal(rig.claimed, WINDOW + 3);
}

static void publishes_are_refused_while_the_mesh_is_behind_and_taken_after_that(void **state)
{
    (void)state;
    const struct fm_hub_stats *stats = fm_hub_stats(mesh.hub);
    publish(50);
    /* Twelve batches of one message each left, and not quite 20 KiB wait. */
    assert_int_equal(stats->published, WINDOW + 19);
    assert_int_equal(stats->backlog_refused, 50 - WINDOW - 19);
    assert_in_range(stats->backlog_bytes, 20 << 10, 22 << 10);
    peer_says(0, rig.counter);
    fm_hub_flush(mesh.hub, mesh.now);
    assert_int_equal(stats->backlog_bytes, 0);
    publish(1);
    assert_int_equal(stats->published, WINDOW + 19 + 1);
}

static void a_peer_that_is_silent_holds_publishers_up_for_a_moment_only(void **state)
{
    (void)state;
    const struct fm_hub_stats *stats = fm_hub_stats(mesh.hub);
    publish(50);
    assert_true(stats->backlog_refused > 0);
    mesh_tick(250); /* window_live_ms is over */
    assert_int_equal(stats->backlog_bytes, 0);
    uint64_t refused = stats->backlog_refused;
    publish(50);
    assert_int_equal(stats->backlog_refused, refused);
}

static void what_the_live_stream_is_about_to_bring_is_not_pulled(void **state)
{
    (void)state;
    peer_says(1000, 0);
    for (uint64_t seq = 1; seq < 50; seq++) {
        peer_publishes(seq, seq);
        mesh_tick(20);
    }
    assert_int_equal(rig.asks, 0);
    mesh_tick(60); /* it has stopped */
    assert_int_equal(rig.asks, 1);
}

/* When the hub has acknowledged what it was just given, in ms; at most `limit`. */
static unsigned acknowledged_after(unsigned limit)
{
    unsigned states = rig.states, ms = 0;
    for (fm_hub_flush(mesh.hub, mesh.now); rig.states == states && ms < limit; ms++)
        mesh_tick(1);
    return ms;
}

/* An acknowledgement goes to all nodes: each costs all of them an envelope. */
static void what_nobody_waits_for_is_acknowledged_with_what_comes_after_it_and_what_somebody_does_at_once(void **state)
{
    (void)state;
    peer_says(8, 0);
    for (uint64_t seq = 1; seq <= 3; seq++)
        peer_publishes(seq, seq);
    assert_in_range(acknowledged_after(100), 20, 60);
    peer_publishes(4, 4);
    peer_publishes_flagged(FM_RANGE_SOON, 5, 5);
    assert_in_range(acknowledged_after(100), 0, 3);
    for (uint64_t seq = 6; seq <= 9; seq++) /* many batches are never kept waiting */
        peer_publishes(seq, seq);
    assert_int_equal(acknowledged_after(100), 0);
}

/* If each of them moved those behind it, this would take minutes, in which the node is heard by nobody. */
static void what_waited_behind_a_hole_goes_at_once_however_much_it_is(void **state)
{
    (void)state;
    enum { WAITING = 300000 };
    const struct fm_hub_stats *stats = fm_hub_stats(mesh.hub);
    for (uint64_t seq = 2; seq <= WAITING; seq += 1000)
        peer_publishes(seq, seq + 999 < WAITING ? seq + 999 : WAITING);
    assert_int_equal(stats->dispatched, 0);
    peer_publishes(1, 1);
    assert_int_equal(stats->dispatched, WAITING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(batches_wait_for_acknowledgements_and_then_leave_together, start, mesh_stop),
        cmocka_unit_test_setup_teardown(what_waits_to_leave_is_claimed, start, mesh_stop),
        cmocka_unit_test_setup_teardown(publishes_are_refused_while_the_mesh_is_behind_and_taken_after_that, start, mesh_stop),
        cmocka_unit_test_setup_teardown(a_peer_that_is_silent_holds_publishers_up_for_a_moment_only, start, mesh_stop),
        cmocka_unit_test_setup_teardown(what_the_live_stream_is_about_to_bring_is_not_pulled, start, mesh_stop),
        cmocka_unit_test_setup_teardown(what_nobody_waits_for_is_acknowledged_with_what_comes_after_it_and_what_somebody_does_at_once,
                                        start, mesh_stop),
        cmocka_unit_test_setup_teardown(what_waited_behind_a_hole_goes_at_once_however_much_it_is, start, mesh_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
