/* Topics and deliveries without sockets, threads or a hub: what is given to whom is written down here. */
#include "../../../gateway/worker_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

/* ---- what surrounds subs.c ---- */

enum { CLIENTS = 4 };

static struct client {
    struct fm_socket socket;
    struct fm_buf got; /* "1 2 3 " */
    const struct fm_frames *last;
    unsigned gaps, closes;
    char gap_cursor[64];
} clients[CLIENTS];

static struct fm_worker worker;
static unsigned encodings;
static struct fm_item *posted[16];
static size_t posted_n;
static bool hub_busy;

static struct client *client_of(struct fm_socket *s)
{
    return (struct client *)((char *)s - offsetof(struct client, socket));
}

void fm_socket_give(struct fm_socket *s, struct fm_frames *f, uint32_t first, uint32_t end)
{
    struct client *c = client_of(s);
    for (uint32_t i = first; i < end; i++) {
        struct fm_slice frame = fm_piece_bytes(f, i, i + 1);
        fm_buf_put(&c->got, frame.p + 2, frame.n - 2);
    }
    c->last = f;
}

void fm_socket_close(struct fm_socket *s, unsigned code, const char *reason)
{
    (void)code, (void)reason;
    client_of(s)->closes++;
}

void fm_worker_settle_soon(struct fm_worker *w)
{
    (void)w;
}

enum fm_err fm_hub_post(struct fm_hub_thread *t, struct fm_item *item)
{
    (void)t;
    if (hub_busy && item->kind != FM_HUB_LEAVE)
        return FM_E_BUSY;
    assert_true(posted_n < sizeof posted / sizeof posted[0]);
    posted[posted_n++] = item;
    return FM_OK;
}

static void encode(struct fm_frames *f, unsigned format, struct fm_msg *const *msgs, size_t n, const struct fm_vector *at)
{
    (void)at;
    encodings++;
    for (size_t i = 0; i < n; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, format == FM_FORMAT_PHX1 ? "v%d " : "%d ", (int)msgs[i]->id.seq);
        fm_frames_add(f, FM_WS_TEXT, fm_slice_of(text, (size_t)len), msgs[i]);
    }
}

static void gap(struct fm_sub *sub, const struct fm_gap *g, const struct fm_vector *cursor)
{
    struct client *c = client_of(sub->socket);
    struct fm_buf b = {0};
    (void)g;
    c->gaps++;
    fm_vector_json(&b, cursor);
    snprintf(c->gap_cursor, sizeof c->gap_cursor, "%.*s", (int)b.n, (const char *)b.p);
    fm_buf_fini(&b);
}

static const struct fm_proto proto = {.name = "test", .encode = encode, .gap = gap};

/* ---- vocabulary ---- */

static int setup(void **state)
{
    (void)state;
    memset(&worker, 0, sizeof worker);
    memset(clients, 0, sizeof clients);
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i].socket = (struct fm_socket){.worker = &worker, .proto = &proto, .state = FM_SOCKET_OPEN};
    encodings = 0;
    posted_n = 0;
    hub_busy = false;
    return 0;
}

static struct fm_item *next_posted(void)
{
    assert_true(posted_n > 0);
    struct fm_item *item = posted[0];
    memmove(posted, posted + 1, --posted_n * sizeof posted[0]);
    return item;
}

static int teardown(void **state)
{
    (void)state;
    struct fm_wtopic *t, *tmp;
    HASH_ITER (hh, worker.topics, t, tmp) {
        while (t->n) {
            struct fm_sub *sub = t->slots[0].sub;
            fm_subs_remove(&worker, sub);
            free(sub);
        }
    }
    fm_subs_settle(&worker);
    while (posted_n)
        fm_hub_item_free(next_posted());
    for (unsigned i = 0; i < FM_FORMATS; i++)
        fm_frames_unref(&worker.frames[i]);
    for (size_t i = 0; i < CLIENTS; i++)
        fm_buf_fini(&clients[i].got);
    assert_null(worker.topics);
    return 0;
}

static struct fm_vector at(uint64_t seq)
{
    struct fm_vector v = {0};
    assert_int_equal(fm_vector_set(&v, 1, seq), FM_OK);
    return v;
}

static uint64_t next_sub = 100;

/* Client i joins the topic; the hub answered with this position, and says that the client is ahead up to `skip` (0: it isn't). */
static struct fm_sub *join(size_t i, enum fm_format format, uint64_t position, uint64_t skip)
{
    struct fm_sub *sub = calloc(1, sizeof *sub + 1);
    struct fm_join *j = fm_join_new(0, 1, FM_LIT("t"));
    *sub = (struct fm_sub){.socket = &clients[i].socket, .format = (uint8_t)format, .id = next_sub++, .topic_n = 1};
    sub->text[0] = 't';
    j->at = at(position);
    if (skip)
        j->skip = at(skip);
    fm_subs_flush_all(&worker);
    assert_int_equal(fm_subs_add(&worker, sub, j), FM_OK);
    fm_subs_added(&worker, sub, j);
    fm_join_free(&j);
    return sub;
}

static struct fm_msg *msg(uint64_t seq, uint64_t from)
{
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("e"), (struct fm_msg_keys){0}, FM_LIT("{}"), 0);
    fm_msg_accept(m, (struct fm_id){1, seq}, seq - 1, 0);
    m->from = from;
    return m;
}

static void messages(uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq <= to; seq++)
        fm_subs_message(&worker, msg(seq, 0));
}

static void assert_got(size_t i, const char *text)
{
    fm_buf_u8(&clients[i].got, 0);
    assert_string_equal(clients[i].got.p, text);
    clients[i].got.n = 0;
}

static void overrun(void)
{
    worker.overrun = true;
    messages(90, 91); /* what still came is not to be trusted to be all */
    fm_subs_overrun(&worker);
    worker.overrun = false;
    fm_subs_reread(&worker);
}

static struct fm_join *asked(uint64_t position)
{
    struct fm_join *j = (struct fm_join *)next_posted();
    assert_int_equal(j->item.kind, FM_HUB_JOIN);
    assert_true(j->reread && j->has_cursor);
    assert_int_equal(fm_vector_get(&j->cursor, 1), position);
    return j;
}

/* The hub answers a reread with messages from..to. */
static void answer(struct fm_join *j, uint64_t from, uint64_t to, bool recovered)
{
    j->recovered = recovered;
    fm_vector_fini(&j->cursor);
    j->cursor = at(from - 1);
    j->at = at(to);
    j->replay = malloc((to - from + 1) * sizeof(struct fm_msg *));
    for (uint64_t seq = from; seq <= to; seq++)
        j->replay[j->replayed++] = msg(seq, 0);
    fm_subs_reread_done(&worker, j);
    fm_join_free(&j);
}

/* ---- tests ---- */

static void a_batch_is_encoded_once_a_format_and_shared(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 0, 0);
    join(1, FM_FORMAT_PHX2, 0, 0);
    join(2, FM_FORMAT_PHX1, 0, 0);
    messages(1, 3);
    fm_subs_flush_all(&worker);
    assert_int_equal(encodings, 2);
    assert_ptr_equal(clients[0].last, clients[1].last);
    assert_got(0, "1 2 3 ");
    assert_got(1, "1 2 3 ");
    assert_got(2, "v1 v2 v3 ");
    assert_int_equal(fm_vector_get(&fm_wtopic_find(&worker, FM_LIT("t"))->at, 1), 3);
}

static void a_message_for_a_topic_without_subscribers_is_dropped(void **state)
{
    (void)state;
    messages(1, 2);
    fm_subs_flush_all(&worker);
    assert_int_equal(encodings, 0);
    assert_null(worker.topics);
}

static void a_large_batch_does_not_wait_for_the_end_of_the_drain(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 0, 0);
    messages(1, 2000);
    assert_true(clients[0].got.n > 0);
    assert_true(fm_wtopic_find(&worker, FM_LIT("t"))->batch_bytes < FM_WRITE_MAX);
    fm_subs_flush_all(&worker);
}

static void who_pushed_a_message_to_the_others_is_not_given_it(void **state)
{
    (void)state;
    struct fm_sub *a = join(0, FM_FORMAT_PHX2, 0, 0), *b = join(1, FM_FORMAT_PHX2, 0, 0);
    join(2, FM_FORMAT_PHX2, 0, 0);
    for (uint64_t seq = 1; seq <= 6; seq++)
        fm_subs_message(&worker, msg(seq, seq % 3 == 0 ? 0 : seq % 3 == 1 ? a->id : b->id));
    fm_subs_flush_all(&worker);
    assert_int_equal(encodings, 1);
    assert_got(0, "2 3 5 6 ");
    assert_got(1, "1 3 4 6 ");
    assert_got(2, "1 2 3 4 5 6 ");
}

static void a_client_that_is_ahead_is_given_nothing_until_the_node_has_passed_it(void **state)
{
    (void)state;
    struct fm_sub *ahead = join(0, FM_FORMAT_PHX2, 2, 5);
    struct fm_vector position = {0};
    join(1, FM_FORMAT_PHX2, 2, 0);
    assert_int_equal(fm_subs_position(ahead, &position), FM_OK);
    assert_int_equal(fm_vector_get(&position, 1), 5);
    fm_vector_fini(&position);
    messages(3, 4);
    fm_subs_flush_all(&worker);
    assert_got(0, "");
    assert_got(1, "3 4 ");
    assert_non_null(ahead->skip);
    messages(5, 7);
    fm_subs_flush_all(&worker);
    assert_got(0, "6 7 ");
    assert_got(1, "5 6 7 ");
    assert_null(ahead->skip); /* from here on it is like any other */
    messages(8, 8);
    fm_subs_flush_all(&worker);
    assert_ptr_equal(clients[0].last, clients[1].last);
}

static void those_who_leave_are_told_to_the_hub_together(void **state)
{
    (void)state;
    struct fm_sub *subs[3];
    for (size_t i = 0; i < 3; i++)
        subs[i] = join(i, FM_FORMAT_PHX2, 0, 0);
    for (size_t i = 0; i < 2; i++) {
        fm_subs_remove(&worker, subs[i]);
        free(subs[i]);
    }
    assert_int_equal(posted_n, 0);
    fm_subs_settle(&worker);
    struct fm_leave *leave = (struct fm_leave *)next_posted();
    assert_int_equal(leave->subs, 2);
    fm_leave_free(&leave);
    assert_int_equal(posted_n, 0);
    messages(1, 1);
    fm_subs_flush_all(&worker);
    assert_got(0, "");
    assert_got(2, "1 ");
}

static void after_an_overrun_everything_is_read_again_from_where_the_subs_are(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 0, 0);
    messages(1, 3);
    fm_subs_flush_all(&worker);
    assert_got(0, "1 2 3 ");
    overrun();
    struct fm_join *j = asked(3);
    messages(9, 9); /* the answer will hold it */
    fm_subs_flush_all(&worker);
    assert_got(0, "");
    answer(j, 4, 9, true);
    assert_got(0, "4 5 6 7 8 9 ");
    assert_int_equal(clients[0].gaps, 0);
    messages(10, 10);
    fm_subs_flush_all(&worker);
    assert_got(0, "10 ");
}

static void what_an_overrun_lost_for_good_is_told_before_what_is_left(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 3, 0);
    overrun();
    answer(asked(3), 7, 9, false);
    assert_int_equal(clients[0].gaps, 1);
    assert_string_equal(clients[0].gap_cursor, "[\"1-6\"]");
    assert_got(0, "7 8 9 ");
}

static void a_hub_that_is_full_is_asked_again(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 3, 0);
    hub_busy = true;
    overrun();
    assert_int_equal(posted_n, 0);
    messages(4, 5);
    fm_subs_flush_all(&worker);
    assert_got(0, "");
    hub_busy = false;
    fm_subs_reread(&worker);
    answer(asked(3), 4, 5, true);
    assert_got(0, "4 5 ");
    fm_subs_reread(&worker);
    assert_int_equal(posted_n, 0);
}

static void who_joins_while_others_wait_for_the_answer_gets_nothing_twice(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 3, 0);
    overrun();
    struct fm_join *j = asked(3);
    join(1, FM_FORMAT_PHX2, 6, 0); /* its own answer held everything up to 6 */
    answer(j, 4, 8, true);
    assert_got(0, "4 5 6 7 8 ");
    assert_got(1, "7 8 ");
    messages(9, 9);
    fm_subs_flush_all(&worker);
    assert_got(0, "9 ");
    assert_got(1, "9 ");
}

static void a_gap_is_told_behind_what_came_before_it(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 0, 0);
    struct fm_sub *ahead = join(1, FM_FORMAT_PHX2, 0, 20);
    messages(1, 2);
    struct fm_gap *g = calloc(1, sizeof *g + 1);
    g->origin = 1;
    g->from = 3;
    g->to = 5;
    g->cursor = at(5);
    g->topic_n = 1;
    g->topic[0] = 't';
    fm_subs_gap(&worker, g);
    assert_got(0, "1 2 ");
    assert_string_equal(clients[0].gap_cursor, "[\"1-5\"]");
    assert_string_equal(clients[1].gap_cursor, "[\"1-20\"]"); /* a gap takes nobody back */
    assert_non_null(ahead->skip);
    overrun();
    struct fm_join *j = asked(5);
    fm_subs_gap(&worker, g);
    assert_int_equal(clients[0].gaps, 1); /* while it waits it is not told: its cursor would run ahead */
    answer(j, 6, 7, true);
    assert_int_equal(clients[0].gaps, 2);
    assert_got(0, "6 7 ");
    fm_gap_free(&g);
}

static void a_position_that_is_full_forgets_who_did_least(void **state)
{
    (void)state;
    join(0, FM_FORMAT_PHX2, 1, 0);
    struct fm_wtopic *t = fm_wtopic_find(&worker, FM_LIT("t"));
    for (uint64_t origin = 2; origin <= FM_CURSOR_MAX; origin++)
        assert_int_equal(fm_vector_set(&t->at, origin, 10), FM_OK);
    struct fm_msg *m = fm_msg_new(FM_LIT("t"), FM_LIT("e"), (struct fm_msg_keys){0}, FM_LIT("{}"), 0);
    fm_msg_accept(m, (struct fm_id){1000, 7}, 0, 0);
    fm_subs_message(&worker, m);
    fm_subs_flush_all(&worker);
    assert_got(0, "7 ");
    assert_int_equal(fm_vector_get(&t->at, 1000), 7);
    assert_false(fm_vector_has(&t->at, 1));
    assert_int_equal(t->at.n, FM_CURSOR_MAX);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_batch_is_encoded_once_a_format_and_shared),
        CASE(a_message_for_a_topic_without_subscribers_is_dropped),
        CASE(a_large_batch_does_not_wait_for_the_end_of_the_drain),
        CASE(who_pushed_a_message_to_the_others_is_not_given_it),
        CASE(a_client_that_is_ahead_is_given_nothing_until_the_node_has_passed_it),
        CASE(those_who_leave_are_told_to_the_hub_together),
        CASE(after_an_overrun_everything_is_read_again_from_where_the_subs_are),
        CASE(what_an_overrun_lost_for_good_is_told_before_what_is_left),
        CASE(a_hub_that_is_full_is_asked_again),
        CASE(who_joins_while_others_wait_for_the_answer_gets_nothing_twice),
        CASE(a_gap_is_told_behind_what_came_before_it),
        CASE(a_position_that_is_full_forgets_who_did_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
