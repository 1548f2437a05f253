/* Who is told of presences: the state first, and then every diff behind it, whatever comes in between. */
#include "subs_fixture.h"

/* ---- vocabulary ---- */

static struct fm_msg *presence(const char *text)
{
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("presence_diff"), (struct fm_msg_keys){0}, fm_slice_str(text), 0);
    assert_non_null(m);
    return m;
}

static struct fm_sub *watcher(size_t i)
{
    struct fm_sub *sub = join(i, FM_FORMAT_PHX2, 0, 0);
    fm_subs_watch(&worker, sub);
    return sub;
}

static void leave(struct fm_sub *sub)
{
    fm_subs_remove(&worker, sub);
    sub->socket->subs_n--;
    free(sub);
}

/* What was posted to the hub next, which must be this. Returns its number. */
static uint64_t asked_for(enum fm_track_op op)
{
    struct fm_track *t = (struct fm_track *)next_posted();
    assert_true(t->item.kind == FM_HUB_TRACK && t->op == op);
    uint64_t no = t->holder;
    fm_hub_item_free(&t->item);
    return no;
}

static void diff(const char *text)
{
    fm_subs_message(&worker, presence(text));
}

/* The hub's answer, in n pieces, made when it had heard of the questions up to this one. */
static void answer_state(uint64_t heard, const char *text, uint32_t n)
{
    struct fm_presence_state *s = calloc(1, sizeof *s + n * sizeof s->msgs[0]);
    assert_non_null(s);
    s->item.kind = FM_HUB_PRESENCE;
    s->heard = heard;
    for (; s->n < n; s->n++)
        s->msgs[s->n] = presence(text);
    fm_subs_presence_state(&worker, s);
    fm_hub_item_free(&s->item);
}

/* ---- tests ---- */

static void nobody_is_given_a_diff_before_the_state(void **state)
{
    (void)state;
    watcher(0);
    uint64_t no = asked_for(FM_PRESENCE_WATCH);
    diff("d1");
    answer_state(no, "S", 1);
    diff("d2");
    fm_subs_flush_all(&worker);
    assert_got(0, "S d2 ");
}

static void who_comes_later_is_given_the_state_of_then_and_the_others_only_diffs(void **state)
{
    (void)state;
    watcher(0);
    answer_state(asked_for(FM_PRESENCE_WATCH), "S", 1);
    watcher(1);
    uint64_t no = asked_for(FM_PRESENCE_WATCH);
    diff("d1");
    answer_state(no, "S1", 1);
    diff("d2");
    fm_subs_flush_all(&worker);
    assert_got(0, "S d1 d2 ");
    assert_got(1, "S1 d2 ");
}

static void many_who_come_together_are_one_question(void **state)
{
    (void)state;
    for (size_t i = 0; i < CLIENTS; i++)
        watcher(i);
    uint64_t no = asked_for(FM_PRESENCE_WATCH);
    assert_int_equal(posted_n, 0);
    answer_state(no, "S", 3);
    for (size_t i = 0; i < CLIENTS; i++)
        assert_got(i, "S S S ");
    assert_int_equal(encodings, 1);
}

static void who_does_not_watch_is_given_messages_alone(void **state)
{
    (void)state;
    watcher(0);
    join(1, FM_FORMAT_PHX2, 0, 0);
    answer_state(asked_for(FM_PRESENCE_WATCH), "S", 1);
    messages(1, 1);
    diff("d1");
    messages(2, 2);
    fm_subs_flush_all(&worker);
    assert_got(0, "S 1 d1 2 ");
    assert_got(1, "1 2 ");
}

static void a_state_from_before_nobody_was_told_is_not_given(void **state)
{
    (void)state;
    leave(watcher(0));
    uint64_t first = asked_for(FM_PRESENCE_WATCH);
    (void)asked_for(FM_PRESENCE_UNWATCH);
    watcher(0);
    uint64_t second = asked_for(FM_PRESENCE_WATCH);
    answer_state(first, "old", 1);
    diff("d1"); /* of a change that the old state lacks there may have been none for us */
    answer_state(second, "S", 1);
    fm_subs_flush_all(&worker);
    assert_got(0, "S ");
}

static void after_an_overrun_the_state_is_asked_for_anew(void **state)
{
    (void)state;
    watcher(0);
    answer_state(asked_for(FM_PRESENCE_WATCH), "S", 1);
    overrun();
    uint64_t no = asked_for(FM_PRESENCE_WATCH);
    diff("d1");
    answer_state(no, "S1", 1);
    diff("d2"); /* messages are still being read again */
    fm_subs_flush_all(&worker);
    assert_got(0, "S S1 d2 ");
    answer(asked(0), 1, 2, true);
    assert_got(0, "1 2 ");
}

static void the_hub_is_told_when_nobody_wants_to_be_told_any_more(void **state)
{
    (void)state;
    struct fm_sub *one = watcher(0), *two = watcher(1);
    answer_state(asked_for(FM_PRESENCE_WATCH), "S", 1);
    leave(one);
    assert_int_equal(posted_n, 0);
    leave(two);
    (void)asked_for(FM_PRESENCE_UNWATCH);
}

static void who_waits_is_given_the_state_though_others_leave_meanwhile(void **state)
{
    (void)state;
    struct fm_sub *told = watcher(0);
    answer_state(asked_for(FM_PRESENCE_WATCH), "S", 1);
    struct fm_sub *gone = watcher(1);
    uint64_t no = asked_for(FM_PRESENCE_WATCH);
    watcher(2);
    watcher(3);
    leave(gone);
    leave(told);
    answer_state(no, "S1", 1);
    diff("d1");
    fm_subs_flush_all(&worker);
    assert_got(2, "S1 d1 ");
    assert_got(3, "S1 d1 ");
    answer_state(no, "S2", 1); /* nobody waits any more */
    assert_got(2, "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nobody_is_given_a_diff_before_the_state),
        TEST(who_comes_later_is_given_the_state_of_then_and_the_others_only_diffs),
        TEST(many_who_come_together_are_one_question),
        TEST(who_does_not_watch_is_given_messages_alone),
        TEST(a_state_from_before_nobody_was_told_is_not_given),
        TEST(after_an_overrun_the_state_is_asked_for_anew),
        TEST(the_hub_is_told_when_nobody_wants_to_be_told_any_more),
        TEST(who_waits_is_given_the_state_though_others_leave_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
