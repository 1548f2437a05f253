/* One hub, and who links to it is played by hand: strangers that are refused again and again, and copies over a second link. */
#include "mesh_fixture.h"

static const char seed[] = PEER_ADDRESS, from[] = "10.0.0.9:40000";

static struct rig {
    struct fm_seal *stranger;
    unsigned published, links, drops;
    bool dialling;
    enum fm_err link_err; /* what dialling ends in */
    uint32_t pipe;
} rig;

/* ---- the bus: records what the hub does ---- */

static enum fm_err bus_publish(struct fm_bus *bus, struct fm_slice bytes)
{
    (void)bus, (void)bytes;
    rig.published++;
    return FM_OK;
}

static enum fm_err bus_link(struct fm_bus *bus, const char *address)
{
    (void)bus;
    assert_string_equal(address, seed);
    if (rig.link_err)
        return rig.link_err;
    rig.links += !rig.dialling;
    rig.dialling = true;
    return FM_OK;
}

static void bus_unlink(struct fm_bus *bus, const char *address)
{
    (void)bus;
    if (strcmp(address, seed) == 0)
        rig.dialling = false;
}

static void bus_drop(struct fm_bus *bus, uint32_t pipe)
{
    (void)bus, (void)pipe;
    rig.drops++;
}

static const struct fm_bus_ops bus_ops = {.publish = bus_publish, .link = bus_link, .unlink = bus_unlink, .drop = bus_drop};

/* ---- the others ---- */

static void give(enum fm_bus_event event, uint32_t pipe, bool dialled, struct fm_slice bytes)
{
    struct fm_bus_item *it = bus_item(event, pipe, bytes);
    it->dialled = dialled;
    memcpy(it->address, dialled ? seed : from, dialled ? sizeof seed : sizeof from);
    fm_hub_handle(mesh.hub, mesh.now, &it->item);
    fm_hub_flush(mesh.hub, mesh.now);
}

static uint32_t comes_up(bool dialled)
{
    give(FM_BUS_UP, ++rig.pipe, dialled, (struct fm_slice){0});
    return rig.pipe;
}

static void goes_down(uint32_t pipe, bool dialled)
{
    give(FM_BUS_DOWN, pipe, dialled, (struct fm_slice){0});
}

/* An envelope with a hello; with `old` it can be said again. */
static void says(struct fm_seal *who, uint64_t incarnation, uint32_t pipe, struct fm_buf *old)
{
    struct fm_buf sealed = {0};
    hello_seal(who, incarnation, &sealed);
    give(FM_BUS_ENVELOPE, pipe, false, fm_buf_view(&sealed));
    if (old)
        fm_buf_slice(old, fm_buf_view(&sealed));
    fm_buf_fini(&sealed);
}

static void says_again(const struct fm_buf *old, uint32_t pipe)
{
    struct fm_buf copy = {0}; /* opening it changes it */
    fm_buf_slice(&copy, fm_buf_view(old));
    give(FM_BUS_ENVELOPE, pipe, false, fm_buf_view(&copy));
    fm_buf_fini(&copy);
}

/* ---- the rig ---- */

static void pass(unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 10) {
        mesh_tick(10);
        fm_hub_flush(mesh.hub, mesh.now);
    }
}

static int start(void **state)
{
    (void)state;
    rig = (struct rig){0};
    assert_int_equal(fm_seal_new(&rig.stranger, FM_LIT("c"), FM_LIT("another secret..."), PEER + 1), FM_OK);
    mesh_start(FM_LIT("one secret of 16"), &bus_ops, 1000, NULL);
    pass(20);
    return 0;
}

static int stop(void **state)
{
    fm_seal_free(&rig.stranger);
    return mesh_stop(state);
}

static uint64_t refused(void)
{
    return fm_hub_stats(mesh.hub)->envelopes_bad;
}

/* ---- refused links ---- */

static void a_stranger_that_dials_again_and_again_makes_the_node_say_nothing_more(void **state)
{
    (void)state;
    says(mesh.peer, PEER, comes_up(false), NULL); /* there is somebody to hear it */
    pass(6000);
    unsigned before = rig.published;
    pass(10000);
    unsigned usual = rig.published - before;
    before = rig.published;
    for (unsigned i = 0; i < 500; i++) {
        uint32_t pipe = comes_up(false);
        says(rig.stranger, PEER + 1, pipe, NULL);
        goes_down(pipe, false);
        pass(20);
    }
    assert_true(rig.published - before <= usual + 1);
    assert_int_equal(refused(), 500);
    assert_int_equal(fm_hub_stats(mesh.hub)->links_refused, 500);
}

static void a_dial_that_the_other_side_ends_before_it_says_anything_is_counted(void **state)
{
    (void)state;
    goes_down(comes_up(true), true);
    assert_int_equal(fm_hub_stats(mesh.hub)->dials_ended, 1);
    goes_down(comes_up(false), false); /* it dialled us */
    uint32_t pipe = comes_up(true);
    says(mesh.peer, PEER, pipe, NULL);
    goes_down(pipe, true);
    assert_int_equal(fm_hub_stats(mesh.hub)->dials_ended, 1);
}

static void a_stranger_that_dials_again_and_again_does_not_keep_the_node_from_noticing_who_is_gone(void **state)
{
    (void)state;
    uint32_t pipe = comes_up(false);
    says(mesh.peer, PEER, pipe, NULL);
    assert_int_equal(fm_hub_stats(mesh.hub)->isolated, 0);
    goes_down(pipe, false);
    for (unsigned i = 0; i < 300; i++) {
        uint32_t again = comes_up(false);
        says(rig.stranger, PEER + 1, again, NULL);
        goes_down(again, false);
        pass(20);
    }
    assert_int_equal(fm_hub_stats(mesh.hub)->isolated, 1);
}

static void a_silent_link_of_a_node_that_speaks_over_another_is_ended(void **state)
{
    (void)state;
    uint32_t first = comes_up(false), second = comes_up(false);
    for (unsigned i = 0; i < 4; i++) { /* the second is behind, but not silent */
        struct fm_buf copy = {0};
        says(mesh.peer, PEER, first, &copy);
        says_again(&copy, second);
        fm_buf_fini(&copy);
        pass(1000);
    }
    assert_int_equal(rig.drops, 0);
    for (unsigned i = 0; i < 3; i++) {
        says(mesh.peer, PEER, first, NULL);
        pass(1000);
    }
    assert_int_equal(rig.drops, 1);
}

static void an_address_where_another_secret_is_used_is_dialled_ever_more_rarely(void **state)
{
    (void)state;
    unsigned dials = 0;
    for (unsigned ms = 0; ms < 300 * 1000; ms += 10) {
        if (rig.dialling) {
            dials++;
            uint32_t pipe = comes_up(true);
            says(rig.stranger, PEER + 1, pipe, NULL);
            assert_false(rig.dialling);
            goes_down(pipe, true);
        }
        pass(10);
    }
    assert_in_range(dials, 10, 18); /* after 0.5, 1, 2, 4, 8, 16 s, then every 30 s */
    /* Once it has the right one it is a node like any other, and counts from the beginning when it is lost. */
    while (!rig.dialling)
        pass(10);
    uint32_t pipe = comes_up(true);
    says(mesh.peer, PEER, pipe, NULL);
    goes_down(pipe, true);
    assert_true(rig.dialling);
}

static void an_address_that_ends_links_without_a_word_is_dialled_every_4_seconds(void **state)
{
    (void)state;
    unsigned dials = 0;
    for (unsigned ms = 0; ms < 100 * 1000; ms += 10) {
        if (rig.dialling) {
            dials++;
            goes_down(comes_up(true), true);
            assert_false(rig.dialling);
        }
        pass(10);
    }
    assert_in_range(dials, 20, 30);
}

static void hellos_that_nodes_make_due_again_and_again_go_out_once_a_second(void **state)
{
    (void)state;
    pass(20000);
    unsigned before = rig.published;
    for (unsigned i = 0; i < 500; i++) {
        uint32_t pipe = comes_up(false);
        says(mesh.peer, PEER, pipe, NULL);
        goes_down(pipe, false);
        pass(20);
    }
    /* Each with all positions; and as many with the heartbeats, since links are new all the time. */
    assert_true(rig.published - before <= 2 * (16 + 10) + 2 * 20 + 2);
}

/* ---- who is gone, and who is not ---- */

static uint64_t peers_seen(void)
{
    pass(1000);
    return fm_hub_stats(mesh.hub)->peers;
}

static void a_node_that_could_not_be_dialled_is_there_again_when_it_speaks(void **state)
{
    static const enum fm_err errs[] = {FM_E_NOMEM, FM_E_TOO_MANY, FM_E_IO, FM_E_ADDRESS};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t pipe = comes_up(false);
        says(mesh.peer, PEER, pipe, NULL);
        assert_int_equal(peers_seen(), 1);
        rig.link_err = errs[i];
        goes_down(pipe, false);
        pass(5000);
        rig.link_err = FM_OK;
        pass(1000);
        assert_true(rig.dialling);
        pipe = comes_up(true);
        says(mesh.peer, PEER, pipe, NULL);
        assert_int_equal(peers_seen(), 1);
        goes_down(pipe, true);
    }
}

static void a_node_that_said_goodbye_does_not_come_back_by_what_it_still_says(void **state)
{
    (void)state;
    struct fm_buf b = {0}, sealed = {0};
    uint32_t pipe = comes_up(false);
    says(mesh.peer, PEER, pipe, NULL);
    assert_int_equal(peers_seen(), 1);
    fm_env_bye_write(&b, 0);
    assert_int_equal(fm_seal_close(mesh.peer, FM_PLANE_BUS, unbound, fm_buf_view(&b), &sealed, NULL), FM_OK);
    give(FM_BUS_ENVELOPE, pipe, false, fm_buf_view(&sealed));
    says(mesh.peer, PEER, pipe, NULL);
    assert_int_equal(peers_seen(), 0);
    fm_buf_fini(&b);
    fm_buf_fini(&sealed);
}

static void a_link_that_falls_silent_before_its_node_was_met_is_ended(void **state)
{
    (void)state;
    struct fm_env_state nothing = {0};
    struct fm_buf b = {0}, sealed = {0};
    fm_env_state_write(&b, &nothing);
    assert_int_equal(fm_seal_close(mesh.peer, FM_PLANE_BUS, unbound, fm_buf_view(&b), &sealed, NULL), FM_OK);
    give(FM_BUS_ENVELOPE, comes_up(true), true, fm_buf_view(&sealed)); /* its hello was lost */
    pass(1500);
    assert_int_equal(rig.drops, 0);
    pass(1500);
    assert_int_equal(rig.drops, 1);
    fm_buf_fini(&b);
    fm_buf_fini(&sealed);
}

static void a_node_that_stands_still_once_takes_nobody_for_gone_and_one_that_does_again_and_again_notices_who_is(void **state)
{
    (void)state;
    says(mesh.peer, PEER, comes_up(false), NULL);
    mesh_tick(30000);
    assert_int_equal(peers_seen(), 1);
    for (unsigned i = 0; i < 10; i++)
        mesh_tick(1200);
    assert_int_equal(fm_hub_stats(mesh.hub)->peers, 0);
    assert_int_equal(rig.drops, 1);
}

/* ---- old envelopes ---- */

static void what_a_second_link_brings_late_is_no_replay(void **state)
{
    (void)state;
    struct fm_buf late[4] = {{0}};
    uint32_t first = comes_up(false);
    for (unsigned i = 0; i < 3; i++)
        says(mesh.peer, PEER, first, &late[i]);
    says(mesh.peer, PEER, first, NULL);
    uint32_t second = comes_up(false);
    for (unsigned i = 0; i < 3; i++)
        says_again(&late[i], second);
    says(mesh.peer, PEER, second, &late[3]); /* the copy of the first link is behind now */
    says(mesh.peer, PEER, second, NULL);
    says_again(&late[3], first);
    pass(6000);
    assert_int_equal(refused(), 0);
    for (unsigned i = 0; i < 4; i++)
        fm_buf_fini(&late[i]);
}

static void who_says_only_what_was_said_before_is_refused_as_a_replay(void **state)
{
    (void)state;
    struct fm_buf recorded[3] = {{0}};
    uint32_t first = comes_up(false);
    for (unsigned i = 0; i < 3; i++)
        says(mesh.peer, PEER, first, &recorded[i]);
    says(mesh.peer, PEER, first, NULL);
    uint32_t second = comes_up(false);
    for (unsigned i = 0; i < 3; i++)
        says_again(&recorded[i], second);
    unsigned drops = rig.drops;
    for (unsigned i = 0; i < 30; i++) {
        says(mesh.peer, PEER, first, NULL);
        pass(100);
    }
    assert_int_equal(refused(), 3);
    assert_int_equal(rig.drops, drops + 1);
    /* On its own link it is refused at once. */
    says_again(&recorded[0], first);
    assert_int_equal(refused(), 4);
    /* And who says very many of them too. */
    uint32_t third = comes_up(false);
    for (unsigned i = 0; i < 64; i++)
        says_again(&recorded[i % 3], third);
    assert_int_equal(refused(), 68);
    for (unsigned i = 0; i < 3; i++)
        fm_buf_fini(&recorded[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_dial_that_the_other_side_ends_before_it_says_anything_is_counted, start, stop),
        cmocka_unit_test_setup_teardown(a_stranger_that_dials_again_and_again_makes_the_node_say_nothing_more, start, stop),
        cmocka_unit_test_setup_teardown(a_stranger_that_dials_again_and_again_does_not_keep_the_node_from_noticing_who_is_gone, start,
                                        stop),
        cmocka_unit_test_setup_teardown(a_silent_link_of_a_node_that_speaks_over_another_is_ended, start, stop),
        cmocka_unit_test_setup_teardown(an_address_where_another_secret_is_used_is_dialled_ever_more_rarely, start, stop),
        cmocka_unit_test_setup_teardown(an_address_that_ends_links_without_a_word_is_dialled_every_4_seconds, start, stop),
        cmocka_unit_test_setup_teardown(hellos_that_nodes_make_due_again_and_again_go_out_once_a_second, start, stop),
        cmocka_unit_test_setup_teardown(a_node_that_could_not_be_dialled_is_there_again_when_it_speaks, start, stop),
        cmocka_unit_test_setup_teardown(a_node_that_said_goodbye_does_not_come_back_by_what_it_still_says, start, stop),
        cmocka_unit_test_setup_teardown(a_link_that_falls_silent_before_its_node_was_met_is_ended, start, stop),
        cmocka_unit_test_setup_teardown(
            a_node_that_stands_still_once_takes_nobody_for_gone_and_one_that_does_again_and_again_notices_who_is, start, stop),
        cmocka_unit_test_setup_teardown(what_a_second_link_brings_late_is_no_replay, start, stop),
        cmocka_unit_test_setup_teardown(who_says_only_what_was_said_before_is_refused_as_a_replay, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
