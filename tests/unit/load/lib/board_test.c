#include "../../../../load/lib/board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Two processes, 0 the leader, each with ledgers of two topics; topic 1 has subscribers in process 1 alone. */
enum { PROCESSES = 2, TOPICS = 2, ENTRIES = 8 };

struct world {
    struct fm_board *board;
    struct fm_ledger ledgers[PROCESSES][TOPICS];
    struct fm_view views[PROCESSES][3]; /* two of topic 0, one of topic 1 */
    uint64_t followed, taken;
    struct fm_tally tally;
    uint64_t told, told_n;
};

static int world_make(void **state)
{
    static struct world w;
    w = (struct world){0};
    assert_int_equal(fm_board_new(&w.board, PROCESSES, TOPICS, ENTRIES), FM_OK);
    for (unsigned p = 0; p < PROCESSES; p++) {
        fm_view_init(&w.views[p][0], &w.ledgers[p][0]);
        fm_view_init(&w.views[p][1], &w.ledgers[p][0]);
        if (p == 1)
            fm_view_init(&w.views[p][2], &w.ledgers[p][1]);
        fm_board_hold(w.board, w.ledgers[p]);
    }
    *state = &w;
    return 0;
}

static int world_end(void **state)
{
    struct world *w = *state;
    for (unsigned p = 0; p < PROCESSES; p++) {
        for (unsigned i = 0; i < 3; i++)
            fm_view_fini(&w->views[p][i]);
        for (unsigned t = 0; t < TOPICS; t++)
            fm_ledger_fini(&w->ledgers[p][t]);
    }
    fm_board_free(&w->board);
    return 0;
}

static void publish(struct world *w, uint32_t topic)
{
    uint64_t number;
    assert_int_equal(fm_ledger_publish(&w->ledgers[0][topic], 7, 0, &number), FM_OK);
    fm_board_publish(w->board, &w->ledgers[0][topic], topic, number);
}

static void follow(struct world *w)
{
    assert_int_equal(fm_board_follow(w->board, w->ledgers[1], &w->followed), FM_OK);
}

static enum fm_take give(struct world *w, unsigned process, unsigned view, uint64_t number)
{
    return fm_view_take(&w->views[process][view], number, (struct fm_id){7, number + 1}, false, &w->tally);
}

static void tell(void *ctx, uint32_t topic, uint64_t number)
{
    struct world *w = ctx;
    w->told = w->told * 100 + topic * 10 + number;
    w->told_n++;
}

static void a_worker_knows_each_publish_in_the_order_in_which_it_was_made(void **state)
{
    struct world *w = *state;
    publish(w, 0);
    publish(w, 1);
    follow(w);
    publish(w, 0);
    follow(w);
    follow(w);
    assert_int_equal(w->ledgers[1][0].n, 2);
    assert_int_equal(w->ledgers[1][1].n, 1);
    assert_int_equal(w->ledgers[1][0].at[1].stream, 7);
    assert_int_equal(w->ledgers[1][0].at[1].place, 2);
    assert_int_equal(w->ledgers[1][0].at[1].left, 2);
    assert_int_equal(w->board->open, 3);
}

static void the_last_process_that_has_all_copies_tells_the_leader(void **state)
{
    struct world *w = *state;
    publish(w, 0);
    publish(w, 1);
    follow(w);
    assert_int_equal(give(w, 0, 0, 0), FM_TAKE_NEW);
    assert_int_equal(give(w, 0, 1, 0), FM_TAKE_LAST);
    assert_false(fm_board_reach(w->board, &w->ledgers[0][0].at[0]));
    fm_board_reached(w->board, &w->taken, tell, w);
    assert_int_equal(w->told_n, 0);
    assert_int_equal(give(w, 1, 2, 0), FM_TAKE_LAST);
    assert_true(fm_board_reach(w->board, &w->ledgers[1][1].at[0])); /* nobody else subscribes to it */
    assert_int_equal(give(w, 1, 0, 0), FM_TAKE_NEW);
    assert_int_equal(give(w, 1, 1, 0), FM_TAKE_LAST);
    assert_true(fm_board_reach(w->board, &w->ledgers[1][0].at[0]));
    fm_board_reached(w->board, &w->taken, tell, w);
    fm_board_reached(w->board, &w->taken, tell, w);
    assert_int_equal(w->told_n, 2);
    assert_int_equal(w->told, 10 * 100 + 0);
    assert_int_equal(w->board->open, 0);
}

static void fates_come_to_every_process_before_it_judges(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < 4; i++)
        publish(w, 0);
    follow(w);
    give(w, 1, 0, 1); /* refused, and given all the same */
    fm_ledger_ack(&w->ledgers[0][0], 0, (struct fm_id){9, 1}, true, &w->tally);
    fm_ledger_refuse(&w->ledgers[0][0], 1);
    fm_board_close(w->board, &w->ledgers[0][0].at[1]);
    fm_ledger_unanswered(&w->ledgers[0][0], 2);
    assert_int_equal(w->board->open, 3);
    fm_board_judge(w->board, w->ledgers[0]);
    fm_board_fates(w->board, w->ledgers[1], &w->tally);
    const struct fm_record *r = w->ledgers[1][0].at;
    assert_true(r[0].fate == FM_FATE_ACKED && r[0].replicated && r[0].id.origin == 9);
    assert_int_equal(r[1].fate, FM_FATE_REFUSED);
    assert_int_equal(r[2].fate, FM_FATE_UNANSWERED);
    assert_int_equal(r[3].fate, FM_FATE_UNANSWERED);
    assert_int_equal(w->tally.undead, 1);
    const struct fm_gone nobody = {0};
    fm_view_finish(&w->views[1][0], &nobody, &w->tally);
    assert_int_equal(w->tally.missing, 1);
}

static void an_id_that_differs_between_processes_is_found(void **state)
{
    struct world *w = *state;
    publish(w, 0);
    follow(w);
    assert_int_equal(fm_view_take(&w->views[1][0], 0, (struct fm_id){9, 5}, true, &w->tally), FM_TAKE_NEW);
    fm_ledger_ack(&w->ledgers[0][0], 0, (struct fm_id){9, 1}, false, &w->tally);
    fm_board_judge(w->board, w->ledgers[0]);
    fm_board_fates(w->board, w->ledgers[1], &w->tally);
    assert_int_equal(w->tally.wrong_id, 1);
}

static void a_full_board_says_so(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < ENTRIES; i++) {
        assert_false(fm_board_full(w->board));
        publish(w, 0);
    }
    assert_true(fm_board_full(w->board));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_worker_knows_each_publish_in_the_order_in_which_it_was_made, world_make, world_end),
        cmocka_unit_test_setup_teardown(the_last_process_that_has_all_copies_tells_the_leader, world_make, world_end),
        cmocka_unit_test_setup_teardown(fates_come_to_every_process_before_it_judges, world_make, world_end),
        cmocka_unit_test_setup_teardown(an_id_that_differs_between_processes_is_found, world_make, world_end),
        cmocka_unit_test_setup_teardown(a_full_board_says_so, world_make, world_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
