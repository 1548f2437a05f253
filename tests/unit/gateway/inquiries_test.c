/* What a worker answers to questions of the whole cluster, when it may not know all: it was overrun, and reads again what it lost. */
#include "subs_fixture.h"

uint32_t fm_commands_done(const struct fm_worker *w, struct fm_id id)
{
    (void)w;
    return (uint32_t)id.seq; /* what it knows of */
}

uint64_t fm_hub_incarnation(const struct fm_hub_thread *t)
{
    (void)t;
    return 1;
}

struct fm_user *fm_user_find(const struct fm_worker *w, struct fm_slice name)
{
    (void)w, (void)name;
    return NULL;
}

/* The worker follows commands as it follows any topic; its one subscriber is its own. */
static struct fm_sub *commands_follow(void)
{
    struct fm_sub *sub = calloc(1, sizeof *sub + FM_COMMAND_TOPIC.n);
    struct fm_join *j = fm_join_new(0, 1, FM_COMMAND_TOPIC);
    assert_true(sub && j);
    *sub = (struct fm_sub){.socket = &clients[0].socket, .id = next_sub++, .rule = &rule, .topic_n = (uint16_t)FM_COMMAND_TOPIC.n};
    sub->socket->subs_n++;
    memcpy(sub->text, FM_COMMAND_TOPIC.p, FM_COMMAND_TOPIC.n);
    j->at = at(5);
    assert_int_equal(fm_subs_add(&worker, sub, j), FM_OK);
    fm_subs_added(&worker, sub, j);
    fm_join_free(&j);
    return sub;
}

/* Does it say that it may not know all of it? */
static bool unsure(enum fm_inquiry_kind what)
{
    struct fm_inquire *q = calloc(1, sizeof *q);
    assert_non_null(q);
    q->item.kind = FM_HUB_INQUIRE;
    q->what = what;
    q->command = (struct fm_id){1, 3};
    fm_inquire_answer(&worker, q);
    assert_true(posted_n > 0 && posted[posted_n - 1] == &q->item);
    posted_n--;
    bool failed = q->failed;
    assert_int_equal(q->found.count, what == FM_INQUIRY_DONE ? 3 : 0);
    fm_inquire_free(&q);
    return failed;
}

static void what_came_of_a_command_is_not_known_for_sure_until_a_worker_that_was_overrun_has_read_again(void **state)
{
    (void)state;
    struct fm_sub *sub = commands_follow();
    assert_false(unsure(FM_INQUIRY_DONE));
    worker.overrun = true; /* the command may be among what is lost */
    assert_true(unsure(FM_INQUIRY_DONE));
    assert_false(unsure(FM_INQUIRY_CONNECTIONS)); /* it knows its own sockets */
    fm_subs_overrun(&worker);
    worker.overrun = false;
    assert_true(unsure(FM_INQUIRY_DONE));
    fm_subs_reread(&worker);
    assert_true(unsure(FM_INQUIRY_DONE)); /* it has asked, and was not answered yet */
    struct fm_join *j = (struct fm_join *)next_posted();
    assert_true(j->item.kind == FM_HUB_JOIN && j->reread);
    j->recovered = true;
    j->at = at(5);
    fm_subs_reread_done(&worker, j);
    fm_join_free(&j);
    assert_false(unsure(FM_INQUIRY_DONE));
    sub->socket->subs_n--;
    fm_subs_remove(&worker, sub);
    free(sub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_came_of_a_command_is_not_known_for_sure_until_a_worker_that_was_overrun_has_read_again, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
