/* The ledger itself: a run written by hand that keeps the promise, and the same with one thing wrong at a time. Each must be caught, and as
 * what it is. */
#include "sim_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { NODE_A = 1001, NODE_B = 1002, MESSAGES = 6 };

static const struct fm_slice room = {(const uint8_t *)"room:1", 6};

struct scene { /* two nodes; node A accepted six messages, ids; one client that joined before them */
    struct fm_ledger *l;
    uint32_t no[MESSAGES + 1], client;
    struct fm_msg *msg[MESSAGES + 1]; /* by seq */
};

static struct fm_msg *message(uint32_t no, struct fm_slice topic, struct fm_id id)
{
    struct fm_buf payload = {0};
    fm_ledger_payload(&payload, no, 3);
    struct fm_msg *m = fm_msg_new(topic, FM_LIT("said"), (struct fm_msg_keys){0}, fm_buf_view(&payload), 0);
    assert_non_null(m);
    fm_buf_fini(&payload);
    fm_msg_accept(m, id, id.seq - 1, 1);
    return m;
}

static void set(struct fm_vector *v, uint64_t origin, uint64_t seq)
{
    assert_int_equal(fm_vector_set(v, origin, seq), FM_OK);
}

/* A reply of a node at A-`at`, with the replay of A-`from`+1 .. A-`at` from the scene. */
static struct fm_join *reply(const struct scene *s, bool has_cursor, bool recovered, uint64_t from, uint64_t at)
{
    struct fm_join *j = fm_join_new(0, 1, room);
    assert_non_null(j);
    j->has_cursor = has_cursor;
    j->recovered = recovered;
    set(&j->cursor, NODE_A, from);
    set(&j->at, NODE_A, at);
    j->replay = calloc(MESSAGES, sizeof(struct fm_msg *));
    assert_non_null(j->replay);
    for (uint64_t seq = from + 1; seq <= at; seq++)
        j->replay[j->replayed++] = fm_msg_ref(s->msg[seq]);
    return j;
}

/* The client joins and reads the whole replay. */
static void joins(struct scene *s, uint64_t incarnation, struct fm_join *j)
{
    fm_ledger_replied(s->l, incarnation, j);
    fm_ledger_joined(s->l, s->client, j);
    for (uint32_t i = 0; i < j->replayed; i++)
        fm_ledger_given(s->l, s->client, incarnation, j->replay[i]);
    fm_join_free(&j);
}

static void given(struct scene *s, uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq <= to; seq++)
        fm_ledger_given(s->l, s->client, NODE_A, s->msg[seq]);
}

static void accepted(struct scene *s, uint64_t incarnation, uint32_t no, struct fm_id id, bool duplicate, uint32_t replicas)
{
    const struct fm_publish_result result = {id, duplicate};
    fm_ledger_accepted(s->l, incarnation, fm_ledger_clock(s->l), no, &result, replicas);
}

static void scene_open(struct scene *s, unsigned flags, uint32_t replicas)
{
    *s = (struct scene){.l = fm_ledger_new(flags)};
    fm_ledger_node_up(s->l, NODE_A, 0, 1);
    fm_ledger_node_up(s->l, NODE_B, 1, 1);
    s->client = fm_ledger_client(s->l, room);
    joins(s, NODE_A, reply(s, false, true, 0, 0));
    for (uint64_t seq = 1; seq <= MESSAGES; seq++) {
        s->no[seq] = fm_ledger_message(s->l, room, true);
        s->msg[seq] = message(s->no[seq], room, (struct fm_id){NODE_A, seq});
        accepted(s, NODE_A, s->no[seq], (struct fm_id){NODE_A, seq}, false, replicas);
    }
}

/* What a node has in the end: A-1 to A-`upto`, without A-`but`. */
static void final(struct scene *s, uint64_t incarnation, uint64_t upto, uint64_t but, uint64_t floor_at)
{
    struct fm_vector contig = {0}, floor = {0};
    struct fm_msg *history[MESSAGES];
    uint32_t n = 0;
    for (uint64_t seq = 1; seq <= upto; seq++)
        if (seq != but)
            history[n++] = s->msg[seq];
    set(&contig, NODE_A, upto);
    set(&floor, NODE_A, floor_at);
    fm_ledger_final_node(s->l, incarnation, &contig);
    fm_ledger_final_topic(s->l, incarnation, room, history, n, &floor);
    fm_vector_fini(&contig);
    fm_vector_fini(&floor);
}

/* The judgement is exactly this one kind of fault, or none. */
static struct fm_verdict judged(struct scene *s, int fault)
{
    struct fm_verdict v;
    fm_ledger_judge(s->l, &v);
    for (int i = 0; i < FM_FAULT_COUNT; i++) {
        if ((v.count[i] > 0) != (i == fault))
            print_message("%s: %u, %s\n", fm_fault_name((enum fm_fault)i), v.count[i], v.first[i]);
        assert_true((v.count[i] > 0) == (i == fault));
    }
    for (unsigned seq = 1; seq <= MESSAGES; seq++)
        fm_msg_unref(&s->msg[seq]);
    fm_ledger_free(&s->l);
    return v;
}

enum { SOUND = -1 };

/* ---- runs that keep the promise ---- */

static void everything_once_in_order_is_sound(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, FM_LEDGER_CALM, 0);
    given(&s, 1, 3);
    joins(&s, NODE_B, reply(&s, true, true, 3, 5)); /* it moves; the other node replays what it missed */
    given(&s, 6, 6);
    final(&s, NODE_A, MESSAGES, 0, 0);
    final(&s, NODE_B, MESSAGES, 0, 0);
    assert_int_equal(judged(&s, SOUND).given, MESSAGES);
}

static void what_a_gap_covers_need_not_come(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 2);
    struct fm_gap gap = {.origin = NODE_A, .from = 3, .to = 4};
    set(&gap.cursor, NODE_A, 4);
    fm_ledger_gap(s.l, s.client, &gap);
    fm_vector_fini(&gap.cursor);
    assert_int_equal(fm_vector_get(fm_ledger_cursor(s.l, s.client), NODE_A), 4);
    given(&s, 5, 6);
    assert_int_equal(judged(&s, SOUND).covered, 2);
}

static void what_a_join_calls_unrecovered_need_not_come(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 1);
    joins(&s, NODE_B, reply(&s, true, false, 4, 6));
    assert_int_equal(judged(&s, SOUND).covered, 3);
}

static void what_was_before_the_first_join_need_not_come(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, FM_LEDGER_CALM, 0);
    given(&s, 1, 6);
    s.client = fm_ledger_client(s.l, room);
    joins(&s, NODE_A, reply(&s, false, true, 4, 6)); /* the newest two */
    (void)judged(&s, SOUND);
}

static void a_client_that_is_gone_is_owed_nothing(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, FM_LEDGER_CALM, 0);
    given(&s, 1, 2);
    fm_ledger_client_gone(s.l, s.client);
    (void)judged(&s, SOUND);
}

static void the_tail_of_a_dead_origin_that_nobody_had_is_counted_apart(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 4);
    fm_ledger_node_gone(s.l, NODE_A, false);
    final(&s, NODE_B, 4, 0, 0);
    assert_int_equal(judged(&s, SOUND).tail_unknown, 2);
}

/* ---- one thing wrong ---- */

static void a_message_that_never_comes_is_lost(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 3);
    given(&s, 5, 6);
    assert_int_equal(judged(&s, FM_FAULT_LOST).count[FM_FAULT_LOST], 1);
}

static void a_gap_that_does_not_cover_all_leaves_the_rest_lost(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 2);
    fm_ledger_gap(s.l, s.client, &(struct fm_gap){.origin = NODE_A, .from = 3, .to = 4});
    given(&s, 6, 6);
    assert_int_equal(judged(&s, FM_FAULT_LOST).count[FM_FAULT_LOST], 1);
}

static void what_a_survivor_had_is_lost_if_it_does_not_come(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 4);
    fm_ledger_node_gone(s.l, NODE_A, false);
    final(&s, NODE_B, 6, 0, 0);
    assert_int_equal(judged(&s, FM_FAULT_LOST).count[FM_FAULT_LOST], 2);
}

static void what_a_node_handed_over_before_it_left_is_owed(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 4);
    fm_ledger_node_gone(s.l, NODE_A, true);
    final(&s, NODE_B, 4, 0, 0);
    assert_int_equal(judged(&s, FM_FAULT_LOST).count[FM_FAULT_LOST], 2);
}

static void an_id_given_twice_is_a_double(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 3);
    given(&s, 3, 6);
    (void)judged(&s, FM_FAULT_DOUBLE);
}

static void a_replay_of_what_the_client_has_is_a_double(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 3);
    joins(&s, NODE_B, reply(&s, true, true, 2, 6));
    (void)judged(&s, FM_FAULT_DOUBLE);
}

static void an_older_message_after_a_newer_one_is_disorder(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 2);
    given(&s, 4, 4);
    given(&s, 3, 3);
    given(&s, 5, 6);
    (void)judged(&s, FM_FAULT_DISORDER);
}

static void a_message_of_another_topic_is_foreign(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 6);
    struct fm_msg *m = message(fm_ledger_message(s.l, FM_LIT("room:2"), false), FM_LIT("room:2"), (struct fm_id){NODE_A, 7});
    fm_ledger_given(s.l, s.client, NODE_A, m);
    fm_msg_unref(&m);
    (void)judged(&s, FM_FAULT_FOREIGN);
}

static void an_id_for_two_messages_is_foreign(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 5);
    struct fm_msg *m = message(s.no[5], room, (struct fm_id){NODE_A, 6});
    fm_ledger_given(s.l, s.client, NODE_A, m);
    fm_msg_unref(&m);
    (void)judged(&s, FM_FAULT_FOREIGN);
}

static void what_nobody_published_is_foreign(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 6);
    struct fm_msg *m = message(4711, room, (struct fm_id){NODE_A, 7});
    fm_ledger_given(s.l, s.client, NODE_A, m);
    fm_msg_unref(&m);
    (void)judged(&s, FM_FAULT_FOREIGN);
}

static void a_replay_with_a_hole_is_caught_at_the_reply(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 2);
    struct fm_join *j = reply(&s, true, true, 2, 6);
    fm_msg_unref(&j->replay[1]);
    memmove(&j->replay[1], &j->replay[2], 2 * sizeof j->replay[0]);
    j->replayed--;
    joins(&s, NODE_B, j);
    (void)judged(&s, FM_FAULT_REPLAY);
}

static void a_replay_out_of_order_or_beyond_its_position_is_caught_at_the_reply(void **state)
{
    (void)state;
    for (unsigned beyond = 0; beyond < 2; beyond++) {
        struct scene s;
        scene_open(&s, 0, 0);
        struct fm_join *j = reply(&s, true, true, 0, 6);
        if (beyond) {
            set(&j->at, NODE_A, 5);
        } else {
            struct fm_msg *first = j->replay[0];
            j->replay[0] = j->replay[1];
            j->replay[1] = first;
        }
        fm_ledger_replied(s.l, NODE_B, j);
        fm_join_free(&j);
        (void)judged(&s, FM_FAULT_REPLAY);
    }
}

static void a_replicated_message_that_died_with_one_node_is_caught(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 1);
    given(&s, 1, 4);
    fm_ledger_node_gone(s.l, NODE_A, false);
    final(&s, NODE_B, 4, 0, 0);
    assert_int_equal(judged(&s, FM_FAULT_REPLICATED).count[FM_FAULT_REPLICATED], 2);
}

static void a_replicated_message_may_die_with_every_node_that_confirmed_it(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 1);
    given(&s, 1, 4);
    fm_ledger_node_gone(s.l, NODE_A, false);
    fm_ledger_node_gone(s.l, NODE_B, false);
    assert_int_equal(judged(&s, SOUND).replicated_tail, MESSAGES);
}

static void a_retry_that_is_taken_for_new_is_caught(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 6);
    accepted(&s, NODE_A, s.no[2], (struct fm_id){NODE_A, 2}, true, 0);
    accepted(&s, NODE_A, s.no[3], (struct fm_id){NODE_A, 7}, false, 0);
    (void)judged(&s, FM_FAULT_KEY);
}

static void another_message_taken_for_a_retry_is_caught(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, 0, 0);
    given(&s, 1, 6);
    accepted(&s, NODE_A, fm_ledger_message(s.l, room, false), (struct fm_id){NODE_A, 2}, true, 0);
    struct fm_verdict v;
    fm_ledger_judge(s.l, &v);
    assert_true(v.count[FM_FAULT_KEY] > 0);
    for (unsigned seq = 1; seq <= MESSAGES; seq++)
        fm_msg_unref(&s.msg[seq]);
    fm_ledger_free(&s.l);
}

static void two_copies_of_one_message_by_one_node_are_caught_by_two_are_counted(void **state)
{
    (void)state;
    for (unsigned same = 0; same < 2; same++) {
        struct scene s;
        scene_open(&s, 0, 0);
        given(&s, 1, 6);
        accepted(&s, NODE_B, s.no[3], (struct fm_id){NODE_B, 1}, false, 0); /* on the other side of a split */
        struct fm_msg *m = message(s.no[3], room, (struct fm_id){NODE_B, 1});
        fm_ledger_given(s.l, s.client, same ? NODE_A : NODE_B, m);
        fm_msg_unref(&m);
        assert_int_equal(judged(&s, same ? (int)FM_FAULT_KEY : SOUND).doubles_by_key, 1);
    }
}

static void a_loss_told_in_a_calm_run_is_eager(void **state)
{
    (void)state;
    struct scene s;
    scene_open(&s, FM_LEDGER_CALM, 0);
    given(&s, 1, 2);
    fm_ledger_gap(s.l, s.client, &(struct fm_gap){.origin = NODE_A, .from = 3, .to = 6});
    (void)judged(&s, FM_FAULT_EAGER);
    scene_open(&s, FM_LEDGER_CALM, 0);
    joins(&s, NODE_B, reply(&s, true, false, 0, 6));
    (void)judged(&s, FM_FAULT_EAGER);
}

static void nodes_that_end_with_different_positions_or_histories_have_diverged(void **state)
{
    (void)state;
    for (unsigned what = 0; what < 3; what++) {
        struct scene s;
        scene_open(&s, 0, 0);
        given(&s, 1, 6);
        final(&s, NODE_A, 6, 0, 0);
        final(&s, NODE_B, what == 0 ? 5 : 6, what ? 4 : 0, what == 2 ? 4 : 0); /* short; with a hole; with a hole below its floor */
        (void)judged(&s, what == 2 ? SOUND : (int)FM_FAULT_DIVERGED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_once_in_order_is_sound),
        cmocka_unit_test(what_a_gap_covers_need_not_come),
        cmocka_unit_test(what_a_join_calls_unrecovered_need_not_come),
        cmocka_unit_test(what_was_before_the_first_join_need_not_come),
        cmocka_unit_test(a_client_that_is_gone_is_owed_nothing),
        cmocka_unit_test(the_tail_of_a_dead_origin_that_nobody_had_is_counted_apart),
        cmocka_unit_test(a_message_that_never_comes_is_lost),
        cmocka_unit_test(a_gap_that_does_not_cover_all_leaves_the_rest_lost),
        cmocka_unit_test(what_a_survivor_had_is_lost_if_it_does_not_come),
        cmocka_unit_test(what_a_node_handed_over_before_it_left_is_owed),
        cmocka_unit_test(an_id_given_twice_is_a_double),
        cmocka_unit_test(a_replay_of_what_the_client_has_is_a_double),
        cmocka_unit_test(an_older_message_after_a_newer_one_is_disorder),
        cmocka_unit_test(a_message_of_another_topic_is_foreign),
        cmocka_unit_test(an_id_for_two_messages_is_foreign),
        cmocka_unit_test(what_nobody_published_is_foreign),
        cmocka_unit_test(a_replay_with_a_hole_is_caught_at_the_reply),
        cmocka_unit_test(a_replay_out_of_order_or_beyond_its_position_is_caught_at_the_reply),
        cmocka_unit_test(a_replicated_message_that_died_with_one_node_is_caught),
        cmocka_unit_test(a_replicated_message_may_die_with_every_node_that_confirmed_it),
        cmocka_unit_test(a_retry_that_is_taken_for_new_is_caught),
        cmocka_unit_test(another_message_taken_for_a_retry_is_caught),
        cmocka_unit_test(two_copies_of_one_message_by_one_node_are_caught_by_two_are_counted),
        cmocka_unit_test(a_loss_told_in_a_calm_run_is_eager),
        cmocka_unit_test(nodes_that_end_with_different_positions_or_histories_have_diverged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
