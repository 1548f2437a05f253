/* One hub and a peer that is played by hand: what is counted as dropped, how repair keeps its pace, and that answers come behind live
 * messages. Repair among real hubs is the simulator's (tests/sim). */
#include "mesh_fixture.h"

enum { OTHER = 111, PIPE = 5, ASKS_MAX = 200 };

static struct rig {
    uint64_t ask_id[ASKS_MAX], ask_counter[ASKS_MAX], ask_origin[ASKS_MAX];
    unsigned asks, answers;
    uint64_t gap_from, gap_to; /* of the last gap that worker 0 was told */
    struct fm_env_load said;   /* of itself, last */
} rig;

static void to_worker(void *ctx, unsigned worker, struct fm_item *chain, bool lost)
{
    (void)ctx, (void)worker, (void)lost;
    for (struct fm_item *next; chain; chain = next) {
        next = chain->next;
        if (chain->kind == FM_HUB_GAP) {
            rig.gap_from = ((struct fm_gap *)chain)->from;
            rig.gap_to = ((struct fm_gap *)chain)->to;
        }
        fm_hub_item_free(chain);
    }
}

/* ---- the bus: records what the hub does ---- */

static enum fm_err bus_publish(struct fm_bus *bus, struct fm_slice bytes)
{
    (void)bus;
    struct fm_env env;
    struct fm_env_state state;
    uint8_t *copy = malloc(bytes.n);
    memcpy(copy, bytes.p, bytes.n);
    assert_int_equal(fm_seal_open(mesh.peer, FM_PLANE_BUS, unbound, copy, bytes.n, &env), FM_OK);
    if (fm_env_state_read(env.body, &state) == FM_OK)
        rig.said = state.load;
    free(copy);
    return FM_OK;
}

static enum fm_err bus_ask(struct fm_bus *bus, const char *address, uint64_t id, struct fm_slice bytes, unsigned timeout_ms)
{
    (void)bus, (void)address, (void)timeout_ms;
    struct fm_env env;
    struct fm_env_pull pull;
    uint8_t *copy = malloc(bytes.n);
    memcpy(copy, bytes.p, bytes.n);
    assert_int_equal(fm_seal_open(mesh.peer, FM_PLANE_ASK, unbound, copy, bytes.n, &env), FM_OK);
    assert_int_equal(fm_env_pull_read(env.body, &pull), FM_OK);
    assert_true(rig.asks < ASKS_MAX);
    rig.ask_id[rig.asks] = id;
    rig.ask_counter[rig.asks] = env.counter;
    rig.ask_origin[rig.asks++] = pull.origin;
    free(copy);
    return FM_OK;
}

static enum fm_err bus_answer(struct fm_bus *bus, uint64_t handle, struct fm_slice bytes)
{
    (void)bus, (void)handle, (void)bytes;
    rig.answers++;
    return FM_OK;
}

static const struct fm_bus_ops bus_ops = {
    .publish = bus_publish, .ask = bus_ask, .answer = bus_answer, .link = link_ignored, .unlink = unlink_ignored, .drop = drop_ignored};

/* ---- the peer ---- */

static void give(enum fm_bus_event event, struct fm_slice bytes, uint64_t handle)
{
    struct fm_bus_item *it = bus_item(event, PIPE, bytes);
    it->handle = handle;
    fm_hub_handle(mesh.hub, mesh.now, &it->item);
}

static void send(enum fm_bus_event event, enum fm_plane plane, struct fm_env_bind bind, const struct fm_buf *body, uint64_t handle)
{
    struct fm_buf sealed = {0};
    assert_int_equal(fm_seal_close(mesh.peer, plane, bind, fm_buf_view(body), &sealed, NULL), FM_OK);
    give(event, fm_buf_view(&sealed), handle);
    fm_buf_fini(&sealed);
}

static void skip_one(void)
{
    struct fm_buf sealed = {0};
    assert_int_equal(fm_seal_close(mesh.peer, FM_PLANE_BUS, unbound, FM_LIT("x"), &sealed, NULL), FM_OK);
    fm_buf_fini(&sealed);
}

static void peer_hello(void)
{
    struct fm_buf sealed = {0};
    hello_seal(mesh.peer, PEER, &sealed);
    give(FM_BUS_ENVELOPE, fm_buf_view(&sealed), 0);
    fm_buf_fini(&sealed);
}

/* It has everything of these origins up to there. */
static void peer_has(uint64_t own, uint64_t other)
{
    struct fm_env_state s = {.flags = FM_STATE_READY | FM_STATE_FULL, .n = 2, .at = {{PEER, own, 0, 0}, {OTHER, other, 0, 0}}};
    struct fm_buf b = {0};
    fm_env_state_write(&b, &s);
    send(FM_BUS_ENVELOPE, FM_PLANE_BUS, unbound, &b, 0);
    fm_buf_fini(&b);
}

/* Messages from..to of an origin, with a payload that makes an answer of them large. */
static void range_put(struct fm_buf *b, uint64_t origin, uint64_t from, uint64_t to, unsigned pad)
{
    struct fm_env_range_writer w;
    char *payload = malloc(pad + 3);
    memset(payload, 'x', pad + 2);
    payload[0] = payload[pad + 1] = '"';
    payload[pad + 2] = 0;
    fm_env_range_begin(&w, b, &(struct fm_env_range){.origin = origin, .from = from, .contig = to});
    for (uint64_t seq = from; seq <= to; seq++) {
        struct fm_msg *m = fm_msg_new(FM_LIT("room:1"), FM_LIT("e"), (struct fm_msg_keys){0}, fm_slice_str(payload), 0);
        fm_msg_accept(m, (struct fm_id){origin, seq}, seq - 1, 1700000000000);
        fm_env_range_msg(&w, m, 0);
        fm_msg_unref(&m);
    }
    fm_env_range_finish(&w, to);
    free(payload);
}

static void peer_answers(unsigned ask, uint64_t from, uint64_t to, unsigned pad)
{
    struct fm_buf b = {0};
    range_put(&b, rig.ask_origin[ask], from, to, pad);
    send(FM_BUS_ANSWERED, FM_PLANE_ANSWER, (struct fm_env_bind){SELF, rig.ask_counter[ask]}, &b, rig.ask_id[ask]);
    fm_buf_fini(&b);
}

static void peer_asks(uint64_t handle)
{
    struct fm_env_pull pull = {SELF, 1, 1};
    struct fm_buf b = {0};
    fm_env_pull_write(&b, &pull);
    send(FM_BUS_ASKED, FM_PLANE_ASK, unbound, &b, handle);
    fm_buf_fini(&b);
}

/* ---- the rig ---- */

static int start(void **state)
{
    (void)state;
    rig = (struct rig){0};
    mesh_start((struct fm_slice){0}, &bus_ops, 1000, to_worker);
    mesh_tick(1);
    give(FM_BUS_UP, (struct fm_slice){0}, 0);
    peer_hello();
    return 0;
}

static void envelopes_that_are_missing_on_a_link_are_counted_as_dropped(void **state)
{
    (void)state;
    const struct fm_hub_stats *stats = fm_hub_stats(mesh.hub);
    peer_has(0, 0);
    assert_int_equal(stats->dropped, 0);
    skip_one();
    skip_one();
    peer_has(0, 0);
    assert_int_equal(stats->dropped, 2);
    fm_hub_inbox_dropped(mesh.hub, 1); /* it was one of them */
    mesh_tick(600);
    assert_int_equal(rig.said.dropped, 2); /* as the others are told with a heartbeat */
    /* What was sent while there was no link is no drop. */
    give(FM_BUS_DOWN, (struct fm_slice){0}, 0);
    skip_one();
    give(FM_BUS_UP, (struct fm_slice){0}, 0);
    peer_has(0, 0);
    peer_has(0, 0);
    assert_int_equal(stats->dropped, 2);
}

static void a_long_repair_keeps_its_pace_and_lets_a_small_hole_of_another_origin_go_first(void **state)
{
    (void)state;
    peer_has(100000, 0);
    mesh_tick(1);
    mesh_tick(60);
    assert_int_equal(rig.asks, 1);
    /* 30 answers of about 16 KiB at 1 MiB a second take about half a second. */
    unsigned ms = 0;
    for (unsigned i = 0; i < 30; i++) {
        unsigned asked = rig.asks;
        peer_answers(i, i * 16 + 1, i * 16 + 16, 1024);
        for (; rig.asks == asked; ms += 10)
            mesh_tick(10);
        assert_true(ms < 2000);
        assert_int_equal(rig.ask_origin[rig.asks - 1], PEER);
    }
    assert_in_range(ms, 350, 700);
    /* While the large one waits for its time, another origin's first ask leaves at once. */
    peer_answers(rig.asks - 1, 30 * 16 + 1, 30 * 16 + 64, 1024);
    unsigned asked = rig.asks;
    peer_has(100000, 1);
    mesh_tick(1);
    mesh_tick(50);
    assert_int_equal(rig.asks, asked + 1);
    assert_int_equal(rig.ask_origin[asked], OTHER);
}

static void answers_to_other_nodes_come_behind_live_messages_a_few_at_a_time(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10; i++)
        peer_asks(i + 1);
    assert_int_equal(rig.answers, 0);
    fm_hub_flush(mesh.hub, mesh.now);
    assert_int_equal(rig.answers, 4);
    struct fm_buf b = {0};
    range_put(&b, PEER, 1, 1, 10);
    send(FM_BUS_ENVELOPE, FM_PLANE_BUS, unbound, &b, 0);
    fm_buf_fini(&b);
    assert_int_equal(fm_hub_flush(mesh.hub, mesh.now), 1);
    assert_int_equal(rig.answers, 5);
    fm_hub_flush(mesh.hub, mesh.now);
    fm_hub_flush(mesh.hub, mesh.now);
    assert_int_equal(rig.answers, 10);
    assert_int_equal(fm_hub_stats(mesh.hub)->pulls_served, 10);
}

/* A piece without messages: of the topic everything up to `tomb` is evicted, if there was any. */
static void peer_gives_nothing(uint64_t from, uint64_t upto, uint64_t given_up, uint64_t tomb)
{
    struct fm_env_range_writer w;
    struct fm_buf b = {0};
    fm_env_range_begin(&w, &b,
                       &(struct fm_env_range){.origin = PEER, .from = from, .contig = 100, .forgotten = given_up, .lost = given_up});
    if (tomb)
        fm_env_range_tomb(&w, FM_LIT("room:2"), tomb);
    fm_env_range_finish(&w, upto);
    send(FM_BUS_ENVELOPE, FM_PLANE_BUS, unbound, &b, 0);
    fm_buf_fini(&b);
}

/* The second piece comes from one that gave up a hole before; the others know of all that was evicted. */
static void what_one_holder_gave_up_is_not_taken_for_told_where_another_had_more(void **state)
{
    (void)state;
    peer_has(100, 0);
    fm_hub_handle(mesh.hub, mesh.now, &fm_join_new(0, 1, FM_LIT("room:2"))->item);
    peer_gives_nothing(1, 50, 0, 0);
    peer_gives_nothing(51, 60, 35, 0);
    peer_gives_nothing(61, 100, 0, 90);
    fm_hub_flush(mesh.hub, mesh.now);
    assert_int_equal(rig.gap_from, 1);
    assert_int_equal(rig.gap_to, 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(envelopes_that_are_missing_on_a_link_are_counted_as_dropped, start, mesh_stop),
        cmocka_unit_test_setup_teardown(a_long_repair_keeps_its_pace_and_lets_a_small_hole_of_another_origin_go_first, start, mesh_stop),
        cmocka_unit_test_setup_teardown(answers_to_other_nodes_come_behind_live_messages_a_few_at_a_time, start, mesh_stop),
        cmocka_unit_test_setup_teardown(what_one_holder_gave_up_is_not_taken_for_told_where_another_had_more, start, mesh_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
