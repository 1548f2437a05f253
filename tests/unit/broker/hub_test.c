/* One hub alone, driven by hand: ids, histories, cursors, keys, eviction. Clusters of hubs are the simulator's (tests/sim). */
#include "../../../broker/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { SELF = 77, WORKER = 0 };

struct rig {
    struct fm_hub *hub;
    struct fm_retention retention;
    struct fm_item *got, **last;
    struct fm_now now;
};

static struct fm_retention retention_of(void *ctx, struct fm_slice topic)
{
    struct rig *r = ctx;
    return fm_slice_starts(topic, FM_LIT("none:")) ? (struct fm_retention){0} : r->retention;
}

static void to_worker(void *ctx, unsigned worker, struct fm_item *chain, bool lost)
{
    struct rig *r = ctx;
    assert_int_equal(worker, WORKER);
    assert_false(lost);
    *r->last = chain;
    while (*r->last)
        r->last = &(*r->last)->next;
}

static void rig_start(struct rig *r, void (*tune)(struct fm_hub_config *))
{
    *r = (struct rig){.retention = {100, 1 << 20, 60000}, .now = {1000, 1700000000000}};
    r->last = &r->got;
    struct fm_hub_config c;
    fm_hub_config_default(&c);
    c.incarnation = SELF;
    c.retention = retention_of;
    c.retention_ctx = r;
    if (tune)
        tune(&c);
    struct fm_hub_port port = {.ctx = r, .to_worker = to_worker};
    assert_int_equal(fm_hub_new(&r->hub, &c, &port, r->now), FM_OK);
    fm_hub_start(r->hub, r->now);
}

static void rig_stop(struct rig *r)
{
    fm_hub_free(&r->hub);
    while (r->got) {
        struct fm_item *it = r->got;
        r->got = it->next;
        fm_hub_item_free(it);
    }
}

static void give(struct rig *r, struct fm_item *item)
{
    fm_hub_handle(r->hub, r->now, item);
    fm_hub_flush(r->hub, r->now);
}

/* The next item for the worker, which must be of this kind; the caller frees it. */
static void *next(struct rig *r, uint32_t kind)
{
    struct fm_item *it = r->got;
    assert_non_null(it);
    assert_int_equal(it->kind, kind);
    r->got = it->next;
    if (!r->got)
        r->last = &r->got;
    it->next = NULL;
    return it;
}

static struct fm_publish_result publish_key(struct rig *r, const char *topic, const char *payload, const char *key, enum fm_err want)
{
    struct fm_publish *p = fm_publish_new(WORKER, 5, 1, FM_LIT("cookie"));
    p->msgs[0] =
        fm_msg_new(fm_slice_str(topic), FM_LIT("new"), (struct fm_msg_keys){.idempotency = fm_slice_str(key)}, fm_slice_str(payload), 0);
    give(r, &p->item);
    while (r->got && r->got->kind == FM_HUB_MSG && r->got->next)
        fm_hub_item_free(next(r, FM_HUB_MSG)); /* tests that look at deliveries take them from publish_quiet */
    p = next(r, FM_HUB_PUBLISH);
    assert_int_equal(p->err, want);
    assert_true(fm_slice_eq(fm_publish_cookie(p), FM_LIT("cookie")));
    struct fm_publish_result result = p->results[0];
    fm_publish_free(&p);
    return result;
}

static struct fm_id publish(struct rig *r, const char *topic, const char *payload)
{
    return publish_key(r, topic, payload, "", FM_OK).id;
}

static struct fm_join *join(struct rig *r, const char *topic, const char *cursor, uint32_t last)
{
    struct fm_join *j = fm_join_new(WORKER, 9, fm_slice_str(topic));
    if (cursor) {
        j->has_cursor = true;
        assert_int_equal(fm_vector_add_text(&j->cursor, fm_slice_str(cursor)), FM_OK);
    }
    j->last = last;
    give(r, &j->item);
    return next(r, FM_HUB_JOIN);
}

static void expect_join(struct fm_join *j, bool recovered, uint32_t replayed, uint64_t start)
{
    assert_int_equal(j->err, FM_OK);
    assert_int_equal(j->recovered, recovered);
    assert_int_equal(j->replayed, replayed);
    assert_int_equal(fm_vector_get(&j->cursor, SELF), start);
    for (uint32_t i = 0; i < replayed; i++)
        assert_true(j->replay[i]->id.seq > start && (i == 0 || j->replay[i]->id.seq > j->replay[i - 1]->id.seq));
    fm_join_free(&j);
}

static uint64_t counters(const struct rig *r)
{
    uint64_t sum = 0;
#define X(name, ...) sum += fm_hub_stats(r->hub)->name;
    FM_HUB_STATS(X)
#undef X
    return sum;
}

static void a_message_of_the_node_to_itself_comes_back_and_leaves_no_trace(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    const struct fm_slice own = FM_LIT("\0probe");
    publish(&r, "room:1", "1");
    uint64_t before = counters(&r);
    struct fm_join *j = fm_join_new(WORKER, 9, own);
    give(&r, &j->item);
    expect_join(next(&r, FM_HUB_JOIN), true, 0, 0);
    for (int i = 0; i < 3; i++) {
        struct fm_publish *p = fm_publish_new(WORKER, 5, 1, FM_LIT("cookie"));
        p->msgs[0] = fm_msg_new(own, FM_LIT("probe"), (struct fm_msg_keys){0}, FM_LIT("1"), 0);
        give(&r, &p->item);
        struct fm_msg_item *m = next(&r, FM_HUB_MSG);
        assert_true(fm_slice_eq(fm_msg_topic(m->msg), own));
        assert_int_equal(m->msg->id.seq, 0);
        fm_hub_item_free(&m->item);
        p = next(&r, FM_HUB_PUBLISH);
        assert_int_equal(p->err, FM_OK);
        fm_publish_free(&p);
    }
    struct fm_leave *l = fm_leave_new(WORKER, 1, own);
    give(&r, &l->item);
    assert_int_equal(counters(&r), before);
    assert_int_equal(publish(&r, "room:1", "2").seq, 2);
    fm_hub_drain(r.hub, r.now);
    struct fm_publish *p = fm_publish_new(WORKER, 5, 1, FM_LIT("cookie"));
    p->msgs[0] = fm_msg_new(own, FM_LIT("probe"), (struct fm_msg_keys){0}, FM_LIT("1"), 0);
    give(&r, &p->item);
    p = next(&r, FM_HUB_PUBLISH);
    assert_int_equal(p->err, FM_E_DRAINING);
    fm_publish_free(&p);
    rig_stop(&r);
}

static void subscribers_get_what_is_published_after_their_join(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    publish(&r, "room:1", "1");
    expect_join(join(&r, "room:1", NULL, 0), true, 0, 1);
    struct fm_publish *p = fm_publish_new(FM_NO_WORKER, 0, 2, (struct fm_slice){0});
    p->msgs[0] = fm_msg_new(FM_LIT("room:1"), FM_LIT("new"), (struct fm_msg_keys){0}, FM_LIT("2"), 0);
    p->msgs[1] = fm_msg_new(FM_LIT("room:2"), FM_LIT("new"), (struct fm_msg_keys){0}, FM_LIT("3"), 0);
    give(&r, &p->item);
    struct fm_msg_item *m = next(&r, FM_HUB_MSG);
    assert_int_equal(m->msg->id.seq, 2);
    assert_int_equal(m->msg->prev, 1);
    fm_hub_item_free(&m->item);
    assert_null(r.got);
    struct fm_leave *l = fm_leave_new(WORKER, 1, FM_LIT("room:1"));
    give(&r, &l->item);
    publish(&r, "room:1", "4");
    assert_null(r.got);
    rig_stop(&r);
}

static void a_cursor_gets_exactly_what_follows_it(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    for (int i = 0; i < 10; i++)
        publish(&r, i % 2 ? "room:a" : "room:b", "1");
    expect_join(join(&r, "room:a", "1F-4", 0), true, 3, 4); /* 6, 8, 10 */
    expect_join(join(&r, "room:a", "1F-10", 0), true, 0, 10);
    expect_join(join(&r, "room:a", "1F-0", 0), true, 5, 0);
    expect_join(join(&r, "room:new", "1F-0", 0), true, 0, 0);
    rig_stop(&r);
}

static void the_newest_n_are_given_to_a_first_join_that_asks(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    for (int i = 0; i < 10; i++)
        publish(&r, i % 2 ? "room:a" : "room:b", "1");
    expect_join(join(&r, "room:a", NULL, 2), true, 2, 6); /* 8, 10; before them 6 */
    expect_join(join(&r, "room:a", NULL, 99), true, 5, 0);
    rig_stop(&r);
}

static void a_cursor_below_what_is_kept_is_told_so(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    r.retention.count = 3;
    for (int i = 0; i < 10; i++)
        publish(&r, "room:a", "1");
    expect_join(join(&r, "room:a", "1F-7", 0), true, 3, 7);
    expect_join(join(&r, "room:a", "1F-6", 0), false, 3, 7);
    publish(&r, "none:a", "1"); /* no history: everything before is gone at once */
    expect_join(join(&r, "none:a", "1F-10", 0), false, 0, 11);
    expect_join(join(&r, "none:a", "1F-11", 0), true, 0, 11);
    rig_stop(&r);
}

static void an_unknown_origin_is_not_recovered(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    publish(&r, "room:a", "1");
    struct fm_join *j = join(&r, "room:a", "abc-1", 0);
    assert_false(j->recovered);
    assert_false(fm_vector_has(&j->cursor, 36 * 62 * 62 + 37 * 62 + 38));
    fm_join_free(&j);
    rig_stop(&r);
}

static void a_position_that_nobody_claims_waits_and_is_then_refused(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    publish(&r, "room:a", "1");
    struct fm_join *j = fm_join_new(WORKER, 9, FM_LIT("room:a"));
    j->has_cursor = true;
    assert_int_equal(fm_vector_add_text(&j->cursor, FM_LIT("1F-500")), FM_OK);
    give(&r, &j->item);
    assert_null(r.got);
    r.now.mono_ms += 2001;
    fm_hub_tick(r.hub, r.now);
    expect_join(next(&r, FM_HUB_JOIN), false, 0, 1);
    rig_stop(&r);
}

static void history_ends_by_age_and_bytes(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    publish(&r, "room:a", "1");
    r.now.mono_ms += 59999;
    expect_join(join(&r, "room:a", "1F-0", 0), true, 1, 0);
    r.now.mono_ms += 1;
    expect_join(join(&r, "room:a", "1F-0", 0), false, 0, 1);
    r.retention.bytes = 150; /* one of them, not two */
    publish(&r, "room:b", "\"12345678901234567890\"");
    publish(&r, "room:b", "\"12345678901234567890\"");
    expect_join(join(&r, "room:b", "1F-1", 0), false, 1, 2);
    rig_stop(&r);
}

static void another_retention_holds_for_topics_that_are_there(void **state)
{
    (void)state;
    struct rig r, less = {.retention = {2, 1 << 20, 60000}}, none = {.retention = {0}};
    rig_start(&r, NULL);
    for (int i = 0; i < 5; i++)
        publish(&r, "room:a", "1");
    fm_hub_retention(r.hub, &less);
    expect_join(join(&r, "room:a", "1F-2", 0), false, 2, 3);
    expect_join(join(&r, "room:a", "1F-3", 0), true, 2, 3);
    fm_hub_retention(r.hub, &r);
    publish(&r, "room:a", "1");
    expect_join(join(&r, "room:a", "1F-3", 0), true, 3, 3); /* it grows; what is gone stays gone */
    expect_join(join(&r, "room:a", "1F-2", 0), false, 3, 3);
    fm_hub_retention(r.hub, &none);
    expect_join(join(&r, "room:a", "1F-5", 0), false, 0, 6);
    rig_stop(&r);
}

static void a_wall_clock_that_jumps_evicts_nothing(void **state)
{
    (void)state;
    const int64_t day_ms = 24 * 3600 * 1000, jumps[] = {day_ms, -2 * day_ms, day_ms};
    struct rig r;
    rig_start(&r, NULL);
    publish_key(&r, "room:a", "1", "order-17", FM_OK);
    for (unsigned i = 0; i < 3; i++) {
        r.now.wall_ms += (uint64_t)jumps[i];
        r.now.mono_ms += 1000;
        fm_hub_tick(r.hub, r.now);
        publish(&r, "room:a", "2");
        assert_true(publish_key(&r, "room:a", "1", "order-17", FM_OK).duplicate);
    }
    expect_join(join(&r, "room:a", "1F-0", 0), true, 4, 0);
    rig_stop(&r);
}

static void a_retry_with_the_same_key_gets_the_first_id(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    struct fm_publish_result one = publish_key(&r, "room:a", "1", "order-17", FM_OK);
    struct fm_publish_result again = publish_key(&r, "room:a", "1", "order-17", FM_OK);
    struct fm_publish_result other = publish_key(&r, "room:b", "1", "order-17", FM_OK);
    assert_false(one.duplicate);
    assert_true(again.duplicate);
    assert_int_equal(again.id.seq, one.id.seq);
    assert_false(other.duplicate);
    expect_join(join(&r, "room:a", "1F-0", 0), true, 1, 0);
    rig_stop(&r);
}

static void few_topics(struct fm_hub_config *c)
{
    c->topics_max = 2;
}

static void beyond_topics_max_idle_topics_go_and_leave_their_floor(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, few_topics);
    expect_join(join(&r, "room:1", NULL, 0), true, 0, 0);
    publish(&r, "room:2", "1");
    publish_key(&r, "room:3", "1", "", FM_E_TOO_MANY);
    r.now.mono_ms += 600001;
    fm_hub_tick(r.hub, r.now); /* room:2's message leaves history and log */
    publish(&r, "room:3", "1");
    /* room:2 was forgotten whole; whoever asks from before is told. */
    r.now.mono_ms += 600001;
    fm_hub_tick(r.hub, r.now);
    expect_join(join(&r, "room:2", "1F-0", 0), false, 0, 2);
    rig_stop(&r);
}

static void small_memory(struct fm_hub_config *c)
{
    c->memory_bytes = 4000;
}

static void beyond_memory_the_oldest_goes_first_and_is_told(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, small_memory);
    for (int i = 0; i < 100; i++)
        publish(&r, "room:a", "\"some payload that takes a little room\"");
    assert_true(fm_hub_stats(r.hub)->log_bytes <= 4200);
    struct fm_join *j = join(&r, "room:a", "1F-0", 0);
    assert_false(j->recovered);
    assert_true(j->replayed > 5 && j->replayed < 60);
    assert_int_equal(j->replay[j->replayed - 1]->id.seq, 100);
    fm_join_free(&j);
    rig_stop(&r);
}

static void few_keys(struct fm_hub_config *c)
{
    c->memory_bytes = 4000;
    c->keys_bytes = 10 * 160;
}

static void publish_keys(struct rig *r, unsigned from, unsigned to)
{
    for (; from < to; from++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key-%04u", from);
        assert_false(publish_key(r, "room:a", "1", key, FM_OK).duplicate);
    }
}

static void keys_of_what_is_kept_count_as_memory(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, few_keys);
    publish_keys(&r, 0, 100);
    uint64_t n = fm_hub_stats(r.hub)->log_messages, bytes = fm_hub_stats(r.hub)->log_bytes;
    assert_true(n > 5 && bytes + (n - 1) * (109 + strlen("room:akey-0000")) <= 4000); /* the newest key came after the room was made */
    rig_stop(&r);
}

static void beyond_keys_bytes_the_keys_that_went_first_are_forgotten_and_counted(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, few_keys);
    publish_keys(&r, 0, 100);
    uint64_t kept = fm_hub_stats(r.hub)->log_messages, known = fm_hub_stats(r.hub)->keys;
    assert_true(known > 8 && fm_hub_stats(r.hub)->keys_bytes <= 10 * 160);
    assert_int_equal(fm_hub_stats(r.hub)->keys_forgotten, 100 - kept - known);
    char key[16];
    for (uint64_t i = 100 - kept - known; i < 100; i++) {
        (void)snprintf(key, sizeof key, "key-%04u", (unsigned)i);
        assert_true(publish_key(&r, "room:a", "1", key, FM_OK).duplicate);
    }
    (void)snprintf(key, sizeof key, "key-%04u", (unsigned)(100 - kept - known - 1));
    assert_false(publish_key(&r, "room:a", "1", key, FM_OK).duplicate);
    rig_stop(&r);
}

static void room_for_a_few(struct fm_hub_config *c)
{
    c->memory_bytes = 8000;
}

/* All of it is held by histories, so it does not help to cut the log. */
static void beyond_memory_every_topic_keeps_its_newest(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, room_for_a_few);
    const char *const topics[] = {"room:a", "room:b", "room:c", "room:d"};
    for (int i = 0; i < 200; i++) {
        r.now.mono_ms++;
        publish(&r, topics[i % 4], "\"some payload that takes a little room\"");
    }
    uint32_t least = UINT32_MAX, most = 0;
    for (int i = 0; i < 4; i++) {
        struct fm_join *j = join(&r, topics[i], "1F-0", 0);
        assert_false(j->recovered);
        least = j->replayed < least ? j->replayed : least;
        most = j->replayed > most ? j->replayed : most;
        assert_true(j->replayed > 0);
        assert_int_equal(j->replay[j->replayed - 1]->id.seq, 197 + i);
        fm_join_free(&j);
    }
    assert_true(least >= 5 && most <= least + 1);
    rig_stop(&r);
}

static uint64_t index_after(struct rig *r, uint64_t ms)
{
    for (int i = 0; i < 2; i++) {
        r->now.mono_ms += ms / 2;
        fm_hub_tick(r->hub, r->now);
    }
    return fm_hub_stats(r->hub)->index_bytes;
}

static void what_is_kept_beside_messages_is_told_and_shrinks_when_they_go(void **state)
{
    (void)state;
    enum { TOPICS = 50, EACH = 100 };
    struct rig r;
    rig_start(&r, NULL);
    uint64_t empty = index_after(&r, 1000);
    for (int i = 0; i < TOPICS * EACH; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "room:%d", i % TOPICS);
        publish(&r, topic, "1");
    }
    uint64_t full = index_after(&r, 1000);
    assert_in_range(full, empty + TOPICS * EACH * (sizeof(void *) + 32), empty + 4 * TOPICS * EACH * (sizeof(void *) + 32));
    /* The messages are too old; the topics are remembered. */
    uint64_t remembered = index_after(&r, 1200000);
    assert_int_equal(fm_hub_stats(r.hub)->log_messages, 0);
    assert_int_equal(fm_hub_stats(r.hub)->topics, TOPICS);
    assert_in_range(remembered, empty + TOPICS * 100, full / 4);
    uint64_t forgotten = index_after(&r, 2 * 24 * 3600 * 1000ull);
    assert_int_equal(fm_hub_stats(r.hub)->topics, 0);
    assert_in_range(forgotten, empty, empty + 1000);
    rig_stop(&r);
}

static void a_draining_hub_takes_nothing_new(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    fm_hub_drain(r.hub, r.now);
    publish_key(&r, "room:a", "1", "", FM_E_DRAINING);
    struct fm_join *j = join(&r, "room:a", NULL, 0);
    assert_int_equal(j->err, FM_E_DRAINING);
    fm_join_free(&j);
    fm_hub_tick(r.hub, r.now);
    assert_true(fm_hub_left(r.hub));
    rig_stop(&r);
}

static bool history_recovers(struct rig *r, const char *cursor)
{
    struct fm_query *q = fm_query_new(WORKER, 1, FM_QUERY_HISTORY, FM_LIT("room:a"), (struct fm_slice){0});
    q->limit = 10;
    q->has_cursor = true;
    assert_int_equal(fm_vector_add_text(&q->cursor, fm_slice_str(cursor)), FM_OK);
    give(r, &q->item);
    q = next(r, FM_HUB_QUERY);
    fm_buf_u8(&q->json, 0);
    bool recovered = strstr((char *)q->json.p, "\"recovered\":true") != NULL;
    fm_query_free(&q);
    return recovered;
}

static void a_history_says_of_a_cursor_what_a_join_says(void **state)
{
    (void)state;
    static const char *const cursors[] = {"1F-1", "1F-3", "1F-4", "zzz-1"}; /* the last two beyond what anybody has */
    struct rig r;
    rig_start(&r, NULL);
    for (unsigned i = 0; i < 3; i++)
        publish(&r, "room:a", "1");
    for (unsigned i = 0; i < sizeof cursors / sizeof cursors[0]; i++) {
        struct fm_join *j = fm_join_new(WORKER, 9, FM_LIT("room:a"));
        j->has_cursor = true;
        assert_int_equal(fm_vector_add_text(&j->cursor, fm_slice_str(cursors[i])), FM_OK);
        give(&r, &j->item);
        r.now.mono_ms += 2001; /* it may wait for what is ahead */
        fm_hub_tick(r.hub, r.now);
        fm_hub_flush(r.hub, r.now);
        j = next(&r, FM_HUB_JOIN);
        assert_int_equal(j->recovered, i < 2);
        fm_join_free(&j);
        assert_int_equal(history_recovers(&r, cursors[i]), i < 2);
    }
    rig_stop(&r);
}

static void a_cursor_that_was_cut_is_not_recovered_and_is_given_nothing_again(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    for (unsigned i = 0; i < 3; i++)
        publish(&r, "room:a", "1");
    struct fm_join *j = fm_join_new(WORKER, 9, FM_LIT("room:a"));
    j->has_cursor = j->cut = true;
    assert_int_equal(fm_vector_add_text(&j->cursor, FM_LIT("1F-1")), FM_OK);
    give(&r, &j->item);
    expect_join(next(&r, FM_HUB_JOIN), false, 0, 3);
    rig_stop(&r);
}

static void the_history_is_told_as_json(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, NULL);
    publish(&r, "room:a", "{\"n\":12345678901234567890}");
    struct fm_query *q = fm_query_new(WORKER, 1, FM_QUERY_HISTORY, FM_LIT("room:a"), (struct fm_slice){0});
    q->limit = 10;
    give(&r, &q->item);
    q = next(&r, FM_HUB_QUERY);
    fm_buf_u8(&q->json, 0);
    assert_string_equal((char *)q->json.p,
                        "{\"recovered\":true,\"messages\":[{\"id\":\"1F-1\",\"event\":\"new\",\"payload\":{\"n\":12345678901234567890},"
                        "\"ts_ms\":1700000000000}],\"cursor\":[\"1F-1\",\"asof-1000\"],\"floor\":[]}");
    fm_query_free(&q);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subscribers_get_what_is_published_after_their_join),
        cmocka_unit_test(a_cursor_gets_exactly_what_follows_it),
        cmocka_unit_test(the_newest_n_are_given_to_a_first_join_that_asks),
        cmocka_unit_test(a_cursor_below_what_is_kept_is_told_so),
        cmocka_unit_test(an_unknown_origin_is_not_recovered),
        cmocka_unit_test(a_position_that_nobody_claims_waits_and_is_then_refused),
        cmocka_unit_test(history_ends_by_age_and_bytes),
        cmocka_unit_test(another_retention_holds_for_topics_that_are_there),
        cmocka_unit_test(a_wall_clock_that_jumps_evicts_nothing),
        cmocka_unit_test(a_retry_with_the_same_key_gets_the_first_id),
        cmocka_unit_test(beyond_topics_max_idle_topics_go_and_leave_their_floor),
        cmocka_unit_test(beyond_memory_the_oldest_goes_first_and_is_told),
        cmocka_unit_test(beyond_memory_every_topic_keeps_its_newest),
        cmocka_unit_test(keys_of_what_is_kept_count_as_memory),
        cmocka_unit_test(beyond_keys_bytes_the_keys_that_went_first_are_forgotten_and_counted),
        cmocka_unit_test(what_is_kept_beside_messages_is_told_and_shrinks_when_they_go),
        cmocka_unit_test(a_draining_hub_takes_nothing_new),
        cmocka_unit_test(a_history_says_of_a_cursor_what_a_join_says),
        cmocka_unit_test(a_cursor_that_was_cut_is_not_recovered_and_is_given_nothing_again),
        cmocka_unit_test(the_history_is_told_as_json),
        cmocka_unit_test(a_message_of_the_node_to_itself_comes_back_and_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
