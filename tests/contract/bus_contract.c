#include "bus_contract.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct bus_adapter *adapter;

static int set_up(void **state)
{
    (void)state;
    probes_open(adapter);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    probes_close();
    return 0;
}

/* ---- links ---- */

static void a_link_comes_up_once_on_both_sides(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    probe_link(a, b);
    const struct fm_bus_item *here = probe_next(a, FM_BUS_UP), *there = probe_next(b, FM_BUS_UP);
    assert_true(here->dialled);
    assert_string_equal(here->address, b->listen);
    assert_false(there->dialled);
    assert_string_not_equal(there->address, "");
    probe_none(a, FM_BUS_UP);
    probe_none(b, FM_BUS_UP);
}

static void a_second_link_to_an_address_changes_nothing(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    probe_link(a, b);
    probe_none(a, FM_BUS_UP);
    probe_publish(a, FM_LIT("once"));
    (void)probe_next(b, FM_BUS_ENVELOPE);
    probe_none(b, FM_BUS_ENVELOPE);
}

static void nodes_that_dial_each_other_have_two_links(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    probe_link(a, b);
    probe_link(b, a);
    unsigned dialled = 0;
    for (unsigned i = 0; i < 2; i++)
        dialled += probe_next(a, FM_BUS_UP)->dialled;
    assert_int_equal(dialled, 1);
    (void)probe_next(b, FM_BUS_UP);
    (void)probe_next(b, FM_BUS_UP);
    probe_publish(a, FM_LIT("on both"));
    (void)probe_next(b, FM_BUS_ENVELOPE);
    (void)probe_next(b, FM_BUS_ENVELOPE);
    probe_none(b, FM_BUS_ENVELOPE);
}

static void a_link_to_oneself_comes_up_and_can_be_ended(void **state)
{
    (void)state;
    struct probe *a = probe_start(0);
    probe_link(a, a);
    (void)probe_next(a, FM_BUS_UP);
    (void)probe_next(a, FM_BUS_UP);
    adapter->ops->unlink(a->bus, a->listen);
    (void)probe_next(a, FM_BUS_DOWN);
    (void)probe_next(a, FM_BUS_DOWN);
    probe_none(a, FM_BUS_UP);
}

static void a_link_waits_for_a_node_that_starts_later(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = &probes[1];
    probe_link(a, b);
    probe_none(a, FM_BUS_UP);
    (void)probe_start(1);
    (void)probe_next(a, FM_BUS_UP);
    (void)probe_next(b, FM_BUS_UP);
}

/* So the link is one that is dialled again by itself. */
static void says_something(struct probe *from, struct probe *to)
{
    probe_publish(from, FM_LIT("it works"));
    probe_assert_bytes(probe_next(to, FM_BUS_ENVELOPE), FM_LIT("it works"));
}

static void a_node_that_stops_is_down_and_up_again_when_it_returns(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    uint32_t pipe = probe_linked(a, b);
    says_something(b, a);
    probe_stop(b);
    assert_int_equal(probe_next(a, FM_BUS_DOWN)->pipe, pipe);
    (void)probe_start(1);
    assert_int_not_equal(probe_next(a, FM_BUS_UP)->pipe, pipe);
    (void)probe_next(b, FM_BUS_UP); /* what is published before reaches nobody */
    probe_publish(b, FM_LIT("back"));
    probe_assert_bytes(probe_next(a, FM_BUS_ENVELOPE), FM_LIT("back"));
}

static void unlink_ends_the_connection_and_the_dialling(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    uint32_t pipe = probe_linked(a, b);
    adapter->ops->unlink(a->bus, b->listen);
    assert_int_equal(probe_next(a, FM_BUS_DOWN)->pipe, pipe);
    (void)probe_next(b, FM_BUS_DOWN);
    probe_none(a, FM_BUS_UP);
    assert_int_not_equal(probe_linked(a, b), pipe); /* and may be linked again */
}

static void unlink_ends_dialling_that_never_succeeded(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = &probes[1];
    probe_link(a, b);
    probe_none(a, FM_BUS_UP);
    adapter->ops->unlink(a->bus, b->listen);
    (void)probe_start(1);
    probe_none(a, FM_BUS_UP);
    probe_none(b, FM_BUS_UP);
}

static void unlink_of_an_unknown_address_does_nothing(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1), *c = probe_start(2);
    (void)probe_linked(a, b);
    adapter->ops->unlink(a->bus, c->listen);
    adapter->ops->unlink(b->bus, a->listen); /* the link is a's */
    probe_none(a, FM_BUS_DOWN);
}

static void a_dropped_link_is_dialled_again(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    uint32_t pipe = probe_linked(a, b);
    says_something(b, a);
    adapter->ops->drop(a->bus, pipe);
    assert_int_equal(probe_next(a, FM_BUS_DOWN)->pipe, pipe);
    (void)probe_next(b, FM_BUS_DOWN);
    assert_int_not_equal(probe_next(a, FM_BUS_UP)->pipe, pipe);
    (void)probe_next(b, FM_BUS_UP);
    adapter->ops->drop(a->bus, pipe); /* it is gone: nothing happens */
    probe_none(a, FM_BUS_DOWN);
}

static void the_side_that_was_dialled_can_drop_too(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    probe_link(a, b);
    (void)probe_next(a, FM_BUS_UP);
    uint32_t pipe = probe_next(b, FM_BUS_UP)->pipe;
    says_something(b, a);
    adapter->ops->drop(b->bus, pipe);
    assert_int_equal(probe_next(b, FM_BUS_DOWN)->pipe, pipe);
    (void)probe_next(a, FM_BUS_DOWN);
    (void)probe_next(a, FM_BUS_UP);
}

static void a_link_that_ended_before_anything_came_through_it_is_dialled_when_it_is_linked_again(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    for (unsigned i = 0; i < 3; i++) {
        uint32_t pipe = probe_linked(a, b);
        adapter->ops->drop(a->bus, pipe);
        assert_int_equal(probe_next(a, FM_BUS_DOWN)->pipe, pipe);
        (void)probe_next(b, FM_BUS_DOWN);
    }
    (void)probe_linked(a, b);
    says_something(b, a);
}

/* ---- publish ---- */

static void what_is_published_reaches_every_linked_node_but_the_publisher(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1), *c = probe_start(2);
    (void)probe_linked(a, b);
    (void)probe_linked(c, a);
    probe_publish(a, FM_LIT("to all"));
    probe_assert_bytes(probe_next(b, FM_BUS_ENVELOPE), FM_LIT("to all"));
    probe_assert_bytes(probe_next(c, FM_BUS_ENVELOPE), FM_LIT("to all"));
    probe_none(a, FM_BUS_ENVELOPE);
    probe_publish(b, FM_LIT("to a alone")); /* nobody forwards */
    probe_assert_bytes(probe_next(a, FM_BUS_ENVELOPE), FM_LIT("to a alone"));
    probe_none(c, FM_BUS_ENVELOPE);
}

static void envelopes_of_a_link_arrive_whole_and_in_order(void **state)
{
    (void)state;
    enum { ROUNDS = 25, BURST = 8 };
    static uint8_t bytes[PROBE_ENVELOPE_MAX];
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < BURST; i++) { /* a burst that a link's queue holds, without a pause */
            size_t n = (round * BURST + i) * (sizeof bytes - 1) / (ROUNDS * BURST - 1) + 1;
            memset(bytes, (int)(round + i), n);
            probe_publish(a, fm_slice_of(bytes, n));
        }
        for (unsigned i = 0; i < BURST; i++) {
            size_t n = (round * BURST + i) * (sizeof bytes - 1) / (ROUNDS * BURST - 1) + 1;
            memset(bytes, (int)(round + i), n);
            probe_assert_bytes(probe_next(b, FM_BUS_ENVELOPE), fm_slice_of(bytes, n));
        }
    }
}

static void publishing_to_nobody_succeeds(void **state)
{
    (void)state;
    struct probe *a = probe_start(0);
    for (unsigned i = 0; i < 10; i++) {
        probe_publish(a, FM_LIT("hello?"));
        probe_run(5);
    }
    probe_none(a, FM_BUS_ENVELOPE);
}

static void more_than_the_limit_is_refused_before_it_leaves(void **state)
{
    (void)state;
    static uint8_t bytes[PROBE_ENVELOPE_MAX + 1];
    const struct fm_slice most = fm_slice_of(bytes, PROBE_ENVELOPE_MAX), more = fm_slice_of(bytes, sizeof bytes);
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    assert_int_equal(adapter->ops->publish(a->bus, more), FM_E_TOO_LARGE);
    assert_int_equal(adapter->ops->ask(a->bus, b->listen_ask, 1, more, 100), FM_E_TOO_LARGE);
    probe_publish(a, most);
    probe_assert_bytes(probe_next(b, FM_BUS_ENVELOPE), most);
    probe_ask(a, b, 2, most, PROBE_SOON_MS);
    const struct fm_bus_item *asked = probe_next(b, FM_BUS_ASKED);
    probe_assert_bytes(asked, most);
    assert_int_equal(adapter->ops->answer(b->bus, asked->handle, more), FM_E_TOO_LARGE);
    probe_answer(b, asked->handle, most); /* the handle still stands */
    probe_assert_bytes(probe_next(a, FM_BUS_ANSWERED), most);
    probe_none(a, FM_BUS_ANSWERED);
}

/* ---- ask and answer ---- */

static void an_ask_is_answered_with_what_was_given(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1); /* no link: the planes are apart */
    probe_ask(a, b, 77, FM_LIT("what?"), PROBE_SOON_MS);
    const struct fm_bus_item *asked = probe_next(b, FM_BUS_ASKED);
    probe_assert_bytes(asked, FM_LIT("what?"));
    probe_answer(b, asked->handle, FM_LIT("that"));
    const struct fm_bus_item *answered = probe_next(a, FM_BUS_ANSWERED);
    assert_int_equal(answered->handle, 77);
    assert_int_equal(answered->err, FM_OK);
    probe_assert_bytes(answered, FM_LIT("that"));
    probe_none(a, FM_BUS_ANSWERED);
}

static void an_empty_ask_and_an_empty_answer_are_carried(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    probe_ask(a, b, 1, (struct fm_slice){0}, PROBE_SOON_MS);
    const struct fm_bus_item *asked = probe_next(b, FM_BUS_ASKED);
    assert_int_equal(asked->n, 0);
    probe_answer(b, asked->handle, (struct fm_slice){0});
    const struct fm_bus_item *answered = probe_next(a, FM_BUS_ANSWERED);
    assert_true(answered->err == FM_OK && answered->n == 0);
}

static void asks_under_way_at_once_each_get_their_own_answer(void **state)
{
    (void)state;
    enum { ASKS = 30 };
    struct probe *a = probe_start(0), *b = probe_start(1);
    const struct fm_bus_item *asked[ASKS];
    for (uint64_t id = 0; id < ASKS; id++)
        probe_ask(a, b, id, fm_slice_of(&id, sizeof id), PROBE_SOON_MS);
    for (unsigned i = 0; i < ASKS; i++)
        asked[i] = probe_next(b, FM_BUS_ASKED);
    for (unsigned i = ASKS; i-- > 0;) /* answered from the last to the first */
        probe_answer(b, asked[i]->handle, fm_slice_of(asked[i]->bytes, asked[i]->n));
    for (unsigned i = 0; i < ASKS; i++) {
        const struct fm_bus_item *answered = probe_next(a, FM_BUS_ANSWERED);
        assert_int_equal(answered->err, FM_OK);
        probe_assert_bytes(answered, fm_slice_of(&answered->handle, sizeof answered->handle));
    }
    probe_none(a, FM_BUS_ANSWERED);
}

static void two_nodes_may_ask_each_other_and_a_third(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1), *c = probe_start(2);
    probe_ask(a, b, 1, FM_LIT("a to b"), PROBE_SOON_MS);
    probe_ask(b, a, 1, FM_LIT("b to a"), PROBE_SOON_MS);
    probe_ask(a, c, 2, FM_LIT("a to c"), PROBE_SOON_MS);
    struct probe *const asked[] = {a, b, c};
    for (unsigned i = 0; i < 3; i++) {
        const struct fm_bus_item *item = probe_next(asked[i], FM_BUS_ASKED);
        probe_answer(asked[i], item->handle, fm_slice_of(item->bytes, item->n));
    }
    probe_assert_bytes(probe_next(b, FM_BUS_ANSWERED), FM_LIT("b to a"));
    for (unsigned i = 0; i < 2; i++) {
        const struct fm_bus_item *item = probe_next(a, FM_BUS_ANSWERED);
        probe_assert_bytes(item, item->handle == 1 ? FM_LIT("a to b") : FM_LIT("a to c"));
    }
}

static void an_ask_that_nobody_answers_times_out_once(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    probe_asked_once(a, b);
    probe_ask(a, b, 5, FM_LIT("?"), 100);
    uint64_t handle = probe_next(b, FM_BUS_ASKED)->handle;
    const struct fm_bus_item *answered = probe_next_within(a, FM_BUS_ANSWERED, 2000);
    assert_non_null(answered);
    probe_assert_failed(answered, 5);
    assert_int_equal(answered->err, FM_E_TIMEOUT);
    (void)adapter->ops->answer(b->bus, handle, FM_LIT("too late")); /* whatever it returns, nobody hears it */
    probe_none(a, FM_BUS_ANSWERED);
    probe_ask(a, b, 6, FM_LIT("again"), PROBE_SOON_MS);
    probe_answer(b, probe_next(b, FM_BUS_ASKED)->handle, FM_LIT("in time"));
    probe_assert_bytes(probe_next(a, FM_BUS_ANSWERED), FM_LIT("in time"));
}

static void an_ask_to_an_address_where_nobody_is_ends_in_time(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = &probes[1];
    probe_ask(a, b, 9, FM_LIT("anybody?"), 200);
    const struct fm_bus_item *answered = probe_next_within(a, FM_BUS_ANSWERED, 2000);
    assert_non_null(answered);
    probe_assert_failed(answered, 9);
    probe_none(a, FM_BUS_ANSWERED);
}

static void an_ask_ends_when_the_node_that_is_asked_stops(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    probe_asked_once(a, b);
    probe_ask(a, b, 9, FM_LIT("?"), 2000);
    (void)probe_next(b, FM_BUS_ASKED);
    probe_stop(b);
    (void)probe_start(1);
    probe_assert_failed(probe_next(a, FM_BUS_ANSWERED), 9);
    probe_none(b, FM_BUS_ASKED); /* who returned is another: it is not asked what the first one was */
}

static void asks_under_way_end_when_the_asker_stops(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1), *c = &probes[2];
    probe_ask(a, b, 1, FM_LIT("asked"), 60000);
    (void)probe_next(b, FM_BUS_ASKED);
    probe_ask(a, c, 2, FM_LIT("never sent"), 60000);
    probe_stop_bus(a);
    for (unsigned i = 0; i < 2; i++) {
        const struct fm_bus_item *answered = probe_next_within(a, FM_BUS_ANSWERED, 0);
        assert_non_null(answered);
        assert_int_equal(answered->err, FM_E_CLOSED);
    }
    probe_stop(a);
    probe_run(PROBE_QUIET_MS); /* anything delivered now aborts */
}

static void a_handle_is_good_for_one_answer(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = probe_start(1);
    assert_int_equal(adapter->ops->answer(b->bus, 0, FM_LIT("x")), FM_E_INVALID);
    assert_int_equal(adapter->ops->answer(b->bus, UINT64_MAX, FM_LIT("x")), FM_E_INVALID);
    assert_int_equal(adapter->ops->answer(b->bus, 12345678, FM_LIT("x")), FM_E_INVALID);
    probe_ask(a, b, 1, FM_LIT("?"), PROBE_SOON_MS);
    uint64_t handle = probe_next(b, FM_BUS_ASKED)->handle;
    probe_answer(b, handle, FM_LIT("first"));
    (void)adapter->ops->answer(b->bus, handle, FM_LIT("second"));
    probe_assert_bytes(probe_next(a, FM_BUS_ANSWERED), FM_LIT("first"));
    probe_none(a, FM_BUS_ANSWERED);
}

/* ---- addresses ---- */

static void a_bad_address_is_refused_and_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "nonsense", "a.name.that.is.longer.than.sixty.three.bytes.with.its.port.example:4100"};
    struct probe *a = probe_start(0), *b = &probes[1];
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(adapter->ops->link(a->bus, bad[i]), FM_E_ADDRESS);
        assert_int_equal(adapter->ops->ask(a->bus, bad[i], 1, FM_LIT("?"), 100), FM_E_ADDRESS);
    }
    probe_none(a, FM_BUS_ANSWERED);

    char good[64];
    const char *what = NULL;
    memcpy(good, b->listen, sizeof good);
    memcpy(b->listen, "nonsense", sizeof "nonsense");
    assert_int_equal(probe_try_start(b, &what), FM_E_ADDRESS);
    assert_non_null(strstr(what, "publish"));
    memcpy(b->listen, good, sizeof good);
    memcpy(b->listen_ask, "nonsense", sizeof "nonsense");
    assert_int_equal(probe_try_start(b, &what), FM_E_ADDRESS);
    assert_non_null(strstr(what, "ask"));
}

static void an_address_in_use_is_refused_and_named(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = &probes[1];
    char good[64];
    const char *what = NULL;
    memcpy(good, b->listen, sizeof good);
    memcpy(b->listen, a->listen, sizeof good);
    assert_int_equal(probe_try_start(b, &what), FM_E_IN_USE);
    assert_non_null(strstr(what, "publish"));
    memcpy(b->listen, good, sizeof good);
    memcpy(good, b->listen_ask, sizeof good);
    memcpy(b->listen_ask, a->listen_ask, sizeof good);
    assert_int_equal(probe_try_start(b, &what), FM_E_IN_USE);
    assert_non_null(strstr(what, "ask"));
    assert_int_equal(b->n, 0); /* a start that failed delivered nothing */
    memcpy(b->listen_ask, good, sizeof good);
    (void)probe_start(1); /* and holds on to nothing */
}

int bus_contract_run(const struct bus_adapter *under_test)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_link_comes_up_once_on_both_sides),
        TEST(a_second_link_to_an_address_changes_nothing),
        TEST(nodes_that_dial_each_other_have_two_links),
        TEST(a_link_to_oneself_comes_up_and_can_be_ended),
        TEST(a_link_waits_for_a_node_that_starts_later),
        TEST(a_node_that_stops_is_down_and_up_again_when_it_returns),
        TEST(unlink_ends_the_connection_and_the_dialling),
        TEST(unlink_ends_dialling_that_never_succeeded),
        TEST(unlink_of_an_unknown_address_does_nothing),
        TEST(a_dropped_link_is_dialled_again),
        TEST(the_side_that_was_dialled_can_drop_too),
        TEST(a_link_that_ended_before_anything_came_through_it_is_dialled_when_it_is_linked_again),
        TEST(what_is_published_reaches_every_linked_node_but_the_publisher),
        TEST(envelopes_of_a_link_arrive_whole_and_in_order),
        TEST(publishing_to_nobody_succeeds),
        TEST(more_than_the_limit_is_refused_before_it_leaves),
        TEST(an_ask_is_answered_with_what_was_given),
        TEST(an_empty_ask_and_an_empty_answer_are_carried),
        TEST(asks_under_way_at_once_each_get_their_own_answer),
        TEST(two_nodes_may_ask_each_other_and_a_third),
        TEST(an_ask_that_nobody_answers_times_out_once),
        TEST(an_ask_to_an_address_where_nobody_is_ends_in_time),
        TEST(an_ask_ends_when_the_node_that_is_asked_stops),
        TEST(asks_under_way_end_when_the_asker_stops),
        TEST(a_handle_is_good_for_one_answer),
        TEST(a_bad_address_is_refused_and_named),
        TEST(an_address_in_use_is_refused_and_named),
    };
#undef TEST
    adapter = under_test;
    return cmocka_run_group_tests_name("bus contract", tests, NULL, NULL);
}
