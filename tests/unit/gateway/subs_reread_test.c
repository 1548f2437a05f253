/* Topics of a worker that was overrun: whose answer is whose, and what position goes with it. Items are made and taken by hand, so that
 * they come in orders that threads produce once in a million times. */
#include "../../../gateway/worker/worker_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>

enum { ORIGIN = 7, OTHER = 8, GIVEN_MAX = 16 };

static struct fm_inbox inbox;
static struct fm_hub_thread *hub;
static struct fm_worker *worker;
static struct fm_socket *sock;
static struct {
    uint64_t seqs[GIVEN_MAX];
    size_t n;
    uint64_t other; /* position in OTHER that went with the last */
} given;

static void encode(struct fm_frames *f, unsigned format, struct fm_msg *const *msgs, size_t n, const struct fm_vector *at)
{
    (void)f, (void)format;
    for (size_t i = 0; i < n && given.n < GIVEN_MAX; i++)
        given.seqs[given.n++] = msgs[i]->id.seq;
    given.other = fm_vector_get(at, OTHER);
}

static void gap(struct fm_frames *f, const struct fm_sub *sub, const struct fm_gap *g, const struct fm_vector *cursor)
{
    (void)f, (void)sub, (void)g, (void)cursor;
}

static const struct fm_proto proto = {.name = "test", .encode = encode, .gap = gap};

static void wake(void *ctx)
{
    (void)ctx;
}

static void settle(struct ev_loop *loop, struct ev_prepare *prepare, int events)
{
    (void)loop, (void)prepare, (void)events;
}

static int set_up(void **state)
{
    (void)state;
    const char *what = "";
    struct fm_inbox *inboxes[] = {&inbox};
    assert_int_equal(fm_inbox_init(&inbox, 1 << 20, wake, NULL), FM_OK);
    struct fm_hub_thread_config c = {.cluster = FM_LIT("test"), .inbox_bytes = 1 << 20, .workers = inboxes};
    fm_hub_config_default(&c.hub);
    assert_int_equal(fm_hub_thread_start(&hub, &c, &what), FM_OK);
    worker = calloc(1, sizeof *worker);
    sock = calloc(1, sizeof *sock);
    assert_non_null(worker);
    assert_non_null(sock);
    worker->config.hub = hub;
    worker->loop = ev_loop_new(0);
    ev_prepare_init(&worker->settle, settle);
    sock->worker = worker;
    sock->proto = &proto; /* never opened: what it is given goes nowhere */
    given.n = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fm_subs_settle(worker);
    assert_null(worker->topics);
    for (unsigned i = 0; i < FM_FORMATS; i++)
        fm_frames_unref(&worker->frames[i]);
    ev_loop_destroy(worker->loop);
    fm_hub_thread_stop(&hub);
    fm_inbox_fini(&inbox, fm_hub_item_free);
    free(worker);
    free(sock);
    return 0;
}

static struct fm_msg *message(uint64_t seq)
{
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("e"), (struct fm_msg_keys){0}, FM_LIT("{}"), 0);
    assert_non_null(m);
    fm_msg_accept(m, (struct fm_id){ORIGIN, seq}, seq - 1, 1);
    return m;
}

/* The hub's answer: at `at`, with the messages from first to at as replay. */
static struct fm_join *answer(uint64_t token, bool reread, uint64_t first, uint64_t at)
{
    struct fm_join *j = fm_join_new(0, token, FM_LIT("t"));
    assert_non_null(j);
    j->reread = reread;
    j->recovered = true;
    assert_int_equal(fm_vector_set(&j->cursor, ORIGIN, first - 1), FM_OK);
    assert_int_equal(fm_vector_set(&j->at, ORIGIN, at), FM_OK);
    j->replay = calloc(at - first + 2, sizeof(struct fm_msg *));
    assert_non_null(j->replay);
    for (uint64_t seq = first; seq <= at; seq++)
        j->replay[j->replayed++] = message(seq);
    return j;
}

static struct fm_sub *sub_join(uint64_t id, uint64_t at)
{
    struct fm_sub *sub = calloc(1, sizeof *sub + 1);
    assert_non_null(sub);
    static const struct fm_rule rule;
    *sub = (struct fm_sub){.socket = sock, .id = id, .rule = &rule, .topic_n = 1, .joined = true};
    sub->text[0] = 't';
    struct fm_join *j = answer(id, false, at + 1, at);
    assert_int_equal(fm_subs_add(worker, sub, j), FM_OK);
    fm_subs_added(worker, sub, j);
    fm_join_free(&j);
    return sub;
}

static void sub_leave(struct fm_sub **sub)
{
    fm_subs_remove(worker, *sub);
    free(*sub);
    *sub = NULL;
}

/* The worker is overrun and asks; returns the token of its question. */
static uint64_t overrun(void)
{
    fm_subs_overrun(worker);
    fm_subs_reread(worker);
    struct fm_wtopic *t = fm_wtopic_find(worker, FM_LIT("t"));
    assert_int_equal(t->reread, FM_REREAD_ASKED);
    return t->asked;
}

static void reread_done(struct fm_join *j)
{
    fm_subs_reread_done(worker, j);
    fm_join_free(&j);
}

static void live(uint64_t seq)
{
    fm_subs_message(worker, message(seq));
    fm_subs_flush_all(worker);
}

static void given_are(size_t n, const uint64_t *seqs)
{
    assert_int_equal(given.n, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(given.seqs[i], seqs[i]);
}

static void what_an_overrun_lost_is_given_once_and_before_what_is_new(void **state)
{
    (void)state;
    struct fm_sub *a = sub_join(1, 3);
    uint64_t token = overrun();
    live(6); /* dropped: the answer has it */
    reread_done(answer(token, true, 4, 6));
    live(7);
    given_are(4, (const uint64_t[]){4, 5, 6, 7});
    sub_leave(&a);
}

static void a_subscriber_that_comes_when_the_last_one_has_left_gets_neither_its_messages_nor_its_wait(void **state)
{
    (void)state;
    struct fm_sub *a = sub_join(1, 3);
    uint64_t token = overrun();
    sub_leave(&a);
    struct fm_sub *b = sub_join(2, 5); /* asked before the question was: its answer comes before that one's */
    live(6);
    reread_done(answer(token, true, 4, 5));
    live(7);
    given_are(2, (const uint64_t[]){6, 7});
    sub_leave(&b);
}

static void an_answer_to_an_earlier_question_is_not_taken_for_that_to_a_later_one(void **state)
{
    (void)state;
    struct fm_sub *a = sub_join(1, 3);
    uint64_t earlier = overrun();
    sub_leave(&a);
    struct fm_sub *b = sub_join(2, 5);
    uint64_t later = overrun();
    reread_done(answer(earlier, true, 4, 5));
    given_are(0, NULL);
    reread_done(answer(later, true, 6, 6));
    live(7);
    given_are(2, (const uint64_t[]){6, 7});
    sub_leave(&b);
}

static void the_position_behind_a_gap_is_never_before_the_one_that_was_told(void **state)
{
    (void)state;
    struct fm_sub *a = sub_join(1, 3);
    struct fm_join *j = answer(overrun(), true, 4, 4);
    j->recovered = false;
    assert_int_equal(fm_vector_set(&j->cursor, OTHER, 9), FM_OK);
    reread_done(j);
    given_are(1, (const uint64_t[]){4});
    assert_int_equal(given.other, 9);
    sub_leave(&a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_an_overrun_lost_is_given_once_and_before_what_is_new),
        TEST(a_subscriber_that_comes_when_the_last_one_has_left_gets_neither_its_messages_nor_its_wait),
        TEST(an_answer_to_an_earlier_question_is_not_taken_for_that_to_a_later_one),
        TEST(the_position_behind_a_gap_is_never_before_the_one_that_was_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
