/* Questions to all nodes about their clients: what is counted, and who is named as missing. */
#include "mesh_fixture.h"

#include "../../../broker/command.h"
#include "../../../broker/inquiry.h"

#include <stdio.h>

enum { PIPE = 5, TIMEOUT_MS = 1000 };

static struct rig {
    struct fm_inquire *asked; /* what the worker is asked, last */
    char answer[2048];        /* to the query, last */
    enum fm_err err;
    uint64_t ask, counter; /* what the peer is asked, last */
    uint64_t question;     /* counter of the peer's own, last */
    unsigned asks, answers;
    struct fm_found found; /* what the peer is answered, last */
    bool complete, deaf;   /* deaf: the peer does not read answers */
} rig;

static void to_worker(void *ctx, unsigned worker, struct fm_item *chain, bool lost)
{
    (void)ctx, (void)lost;
    assert_int_equal(worker, 0);
    for (struct fm_item *next; chain; chain = next) {
        next = chain->next;
        if (chain->kind == FM_HUB_INQUIRE) {
            fm_inquire_free(&rig.asked);
            rig.asked = (struct fm_inquire *)chain;
            continue;
        }
        if (chain->kind == FM_HUB_QUERY) {
            const struct fm_query *q = (struct fm_query *)chain;
            rig.err = q->err;
            assert_true(q->json.n < sizeof rig.answer);
            (void)snprintf(rig.answer, sizeof rig.answer, "%.*s", (int)q->json.n, q->json.n ? (const char *)q->json.p : "");
        }
        fm_hub_item_free(chain);
    }
}

static enum fm_err bus_ask(struct fm_bus *bus, const char *address, uint64_t id, struct fm_slice bytes, unsigned timeout_ms)
{
    (void)bus, (void)address, (void)timeout_ms;
    uint8_t copy[1024];
    struct fm_env env;
    struct fm_inquiry ask;
    assert_true(bytes.n <= sizeof copy);
    memcpy(copy, bytes.p, bytes.n);
    assert_int_equal(fm_seal_open(mesh.peer, FM_PLANE_ASK, unbound, copy, bytes.n, &env), FM_OK);
    if ((unsigned)fm_env_type(env.body) != FM_ENV_INQUIRY)
        return FM_OK; /* a pull */
    assert_int_equal(fm_inquiry_read(env.body, &ask), FM_OK);
    assert_true(ask.timeout_ms < TIMEOUT_MS); /* so that its answer still arrives */
    rig.ask = id;
    rig.counter = env.counter;
    rig.asks++;
    return FM_OK;
}

static enum fm_err bus_answer(struct fm_bus *bus, uint64_t handle, struct fm_slice bytes)
{
    (void)bus;
    uint8_t copy[1024];
    struct fm_env env;
    assert_int_equal(handle, 9);
    if (rig.deaf)
        return FM_OK;
    assert_true(bytes.n <= sizeof copy);
    memcpy(copy, bytes.p, bytes.n);
    assert_int_equal(fm_seal_open(mesh.peer, FM_PLANE_ANSWER, (struct fm_env_bind){PEER, rig.question}, copy, bytes.n, &env), FM_OK);
    fm_found_fini(&rig.found);
    assert_int_equal(fm_found_read(env.body, &rig.found, &rig.complete), FM_OK);
    rig.answers++;
    return FM_OK;
}

static const struct fm_bus_ops bus_ops = {
    .publish = publish_ignored, .ask = bus_ask, .answer = bus_answer, .link = link_ignored, .unlink = unlink_ignored, .drop = drop_ignored};

/* The worker takes commands, as one with clients does. */
static int start(void **state)
{
    (void)state;
    rig = (struct rig){0};
    mesh_start(FM_LIT("a secret of some length"), &bus_ops, 1000, to_worker);
    mesh_tick(1);
    bus_give(PIPE, FM_BUS_UP, (struct fm_slice){0}, 0, FM_OK);
    struct fm_join *j = fm_join_new(0, 1, FM_COMMAND_TOPIC);
    assert_non_null(j);
    fm_hub_handle(mesh.hub, mesh.now, &j->item);
    fm_hub_flush(mesh.hub, mesh.now);
    return 0;
}

static int stop(void **state)
{
    fm_inquire_free(&rig.asked);
    fm_found_fini(&rig.found);
    return mesh_stop(state);
}

static void ask(enum fm_inquiry_kind kind)
{
    struct fm_query *q = fm_query_new(0, 1, FM_QUERY_GATHER, FM_LIT("room:1"), FM_LIT("ann"));
    assert_non_null(q);
    q->inquiry = kind;
    q->timeout_ms = TIMEOUT_MS;
    q->command = (struct fm_id){SELF, 1000}; /* which has not come */
    rig.answer[0] = 0;
    rig.err = FM_OK;
    fm_hub_handle(mesh.hub, mesh.now, &q->item);
    fm_hub_flush(mesh.hub, mesh.now);
}

static void worker_answers(uint64_t count)
{
    struct fm_inquire *q = rig.asked;
    assert_non_null(q);
    rig.asked = NULL;
    q->found.count = count;
    fm_hub_handle(mesh.hub, mesh.now, &q->item);
    fm_hub_flush(mesh.hub, mesh.now);
}

static void answered_by(struct fm_seal *seal, uint64_t count, bool complete)
{
    struct fm_buf b = {0}, sealed = {0};
    fm_found_write(&b, &(struct fm_found){.count = count}, complete);
    assert_int_equal(fm_seal_close(seal, FM_PLANE_ANSWER, (struct fm_env_bind){SELF, rig.counter}, fm_buf_view(&b), &sealed, NULL), FM_OK);
    bus_give(PIPE, FM_BUS_ANSWERED, fm_buf_view(&sealed), rig.ask, FM_OK);
    fm_buf_fini(&b);
    fm_buf_fini(&sealed);
}

/* Twice, as one who listens might. */
static void peer_asks(void)
{
    struct fm_buf b = {0}, sealed = {0};
    fm_inquiry_write(&b, &(struct fm_inquiry){.kind = FM_INQUIRY_CONNECTIONS, .timeout_ms = TIMEOUT_MS});
    assert_int_equal(fm_seal_close(mesh.peer, FM_PLANE_ASK, unbound, fm_buf_view(&b), &sealed, &rig.question), FM_OK);
    bus_give(PIPE, FM_BUS_ASKED, fm_buf_view(&sealed), 9, FM_OK);
    bus_give(PIPE, FM_BUS_ASKED, fm_buf_view(&sealed), 9, FM_OK);
    fm_buf_fini(&b);
    fm_buf_fini(&sealed);
}

static void assert_answer(const char *begins, const char *missing)
{
    assert_int_equal(rig.err, FM_OK);
    if (strncmp(rig.answer, begins, strlen(begins)) != 0 || !strstr(rig.answer, missing))
        fail_msg("%s is not %s ... %s", rig.answer, begins, missing);
}

static void what_all_nodes_found_is_added(void **state)
{
    (void)state;
    bus_give_hello(PIPE);
    ask(FM_INQUIRY_CONNECTIONS);
    worker_answers(3);
    assert_string_equal(rig.answer, "");
    answered_by(mesh.peer, 4, true);
    assert_answer("{\"count\":7,", "\"missing\":[]}");
}

static void who_did_not_answer_is_named_and_says_why(void **state)
{
    (void)state;
    bus_give_hello(PIPE);
    ask(FM_INQUIRY_CONNECTIONS);
    worker_answers(3);
    bus_give(PIPE, FM_BUS_ANSWERED, (struct fm_slice){0}, rig.ask, FM_E_CLOSED); /* it died meanwhile */
    assert_answer("{\"count\":3,", "\"why\":\"it did not answer in time\"}]}");
    ask(FM_INQUIRY_CONNECTIONS);
    worker_answers(3);
    answered_by(mesh.peer, 4, false);
    assert_answer("{\"count\":3,", "\"why\":\"it could not ask all of its workers in time\"}]}");
    ask(FM_INQUIRY_CONNECTIONS);
    answered_by(mesh.peer, 4, true);
    mesh_tick(TIMEOUT_MS); /* the own worker takes too long */
    assert_answer("{\"count\":4,", "\"why\":\"it could not ask all of its workers in time\"}]}");
    worker_answers(3); /* too late for anybody */
    ask(FM_INQUIRY_DONE);
    assert_null(rig.asked);
    answered_by(mesh.peer, 4, true);
    mesh_tick(TIMEOUT_MS);
    assert_answer("{\"count\":4,", "\"why\":\"the command has not come there in time\"}]}");
}

static void a_worker_that_does_not_know_all_is_said_to_be_missing_here_and_at_the_node_that_asks(void **state)
{
    (void)state;
    bus_give_hello(PIPE);
    ask(FM_INQUIRY_CONNECTIONS);
    rig.asked->failed = true;
    worker_answers(3);
    answered_by(mesh.peer, 4, true);
    assert_answer("{\"count\":4,", "\"why\":\"it could not ask all of its workers in time\"}]}");
    assert_int_equal(fm_hub_stats(mesh.hub)->gathers_missing, 1);
    peer_asks();
    rig.asked->failed = true;
    worker_answers(3);
    assert_int_equal(rig.answers, 1);
    assert_false(rig.complete);
    assert_int_equal(rig.found.count, 3);
}

static void one_that_listens_where_another_was_is_not_taken_for_it(void **state)
{
    (void)state;
    struct fm_seal *other;
    assert_int_equal(fm_seal_new(&other, FM_LIT("c"), FM_LIT("a secret of some length"), PEER + 1), FM_OK);
    bus_give_hello(PIPE);
    ask(FM_INQUIRY_CONNECTIONS);
    worker_answers(3);
    answered_by(other, 4, true);
    assert_answer("{\"count\":3,", "\"why\":\"it did not answer in time\"}]}");
    fm_seal_free(&other);
}

static void another_node_is_answered_once_and_nobody_who_is_not_known(void **state)
{
    (void)state;
    peer_asks(); /* may be of an earlier life of this node, played again */
    assert_null(rig.asked);
    bus_give_hello(PIPE);
    peer_asks();
    worker_answers(3);
    assert_null(rig.asked);
    assert_true(rig.answers == 1 && rig.complete && rig.found.count == 3);
    peer_asks();
    mesh_tick(TIMEOUT_MS);
    assert_true(rig.answers == 2 && !rig.complete && rig.found.count == 0);
}

static void too_many_at_once_are_refused_and_room_is_made_by_time(void **state)
{
    (void)state;
    bus_give_hello(PIPE);
    rig.deaf = true;
    for (unsigned i = 0; i < 64; i++)
        peer_asks();
    ask(FM_INQUIRY_CONNECTIONS);
    assert_int_equal(rig.err, FM_E_BUSY);
    mesh_tick(TIMEOUT_MS);
    ask(FM_INQUIRY_CONNECTIONS);
    worker_answers(3);
    answered_by(mesh.peer, 4, true);
    assert_answer("{\"count\":7,", "\"missing\":[]}");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(what_all_nodes_found_is_added),
        TEST(who_did_not_answer_is_named_and_says_why),
        TEST(a_worker_that_does_not_know_all_is_said_to_be_missing_here_and_at_the_node_that_asks),
        TEST(one_that_listens_where_another_was_is_not_taken_for_it),
        TEST(another_node_is_answered_once_and_nobody_who_is_not_known),
        TEST(too_many_at_once_are_refused_and_room_is_made_by_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
