#include "../../../broker/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* ---- one valid body of every type, and its reader as a function of the body alone ---- */

static struct fm_env_peer peer(uint64_t incarnation, const char *name, const char *bus, const char *ask)
{
    return (struct fm_env_peer){incarnation, fm_slice_str(name), fm_slice_str(bus), fm_slice_str(ask)};
}

static struct fm_msg *message(uint64_t seq, uint64_t prev, const char *topic, const char *payload)
{
    struct fm_msg *m = fm_msg_new(fm_slice_str(topic), FM_LIT("moved"), (struct fm_msg_keys){FM_LIT("key"), FM_LIT("place")},
                                  fm_slice_str(payload), FM_MSG_BINARY);
    assert_non_null(m);
    fm_msg_accept(m, (struct fm_id){7, seq}, prev, 1700000000000u + seq);
    return m;
}

static void write_range(struct fm_buf *b)
{
    struct fm_env_range_writer w;
    struct fm_msg *first = message(12, 3, "room:1", "{\"x\":1}"), *second = message(20, 12, "room:1", "");
    fm_env_range_begin(&w, b, &(struct fm_env_range){.origin = 7, .from = 10, .contig = 11, .forgotten = 5, .lost = 4});
    fm_env_range_tomb(&w, FM_LIT("room:old"), 10);
    fm_env_range_msg(&w, first, 0);
    fm_env_range_tomb(&w, FM_LIT("room:gone"), 4);
    fm_env_range_msg(&w, second, 3600000);
    fm_env_range_finish(&w, 15);
    fm_msg_unref(&first);
    fm_msg_unref(&second);
}

static void write_hello(struct fm_buf *b)
{
    static struct fm_env_hello h = {.n = 2};
    h.self = peer(1, "front-a", "10.0.0.1:4100", "10.0.0.1:4101");
    h.peers[0] = peer(2, "", "[::1]:4100", "");
    h.peers[1] = peer(UINT64_MAX, "caf\xc3\xa9", "b:1", "b:2");
    fm_env_hello_write(b, &h);
}

static void write_state(struct fm_buf *b)
{
    static const struct fm_env_state s = {
        .flags = FM_STATE_READY | FM_STATE_FULL,
        .n = 3,
        .at = {{9, 0, 0, 0, 0, 17, 0}, {7, 1, 1, UINT64_MAX, 60, 0, 1}, {8, UINT64_MAX, 200, 300, UINT64_MAX, UINT64_MAX, 1501}}};
    fm_env_state_write(b, &s);
}

static void write_pull(struct fm_buf *b)
{
    fm_env_pull_write(b, &(struct fm_env_pull){UINT64_MAX, 1, 1u << 20});
}

static void write_bye(struct fm_buf *b)
{
    fm_env_bye_write(b, 123456789);
}

static void write_presence(struct fm_buf *b)
{
    struct fm_env_presence_writer w;
    fm_env_presence_begin(&w, b, &(struct fm_env_presence){.origin = 5, .from = 10, .base = 3});
    fm_env_presence_put(
        &w, &(struct fm_env_presence_record){
                .ver = 12, .id = 1, .ref = 11, .prev = 7, .topic = FM_LIT("room:1"), .key = FM_LIT("ann"), .meta = FM_LIT("{}")});
    fm_env_presence_put(&w, &(struct fm_env_presence_record){.ver = 13, .id = 300, .gone = true});
    fm_env_presence_put(&w,
                        &(struct fm_env_presence_record){
                            .ver = 14, .id = 2, .ref = 14, .topic = FM_LIT("room:1"), .key = FM_LIT("bob"), .meta = FM_LIT("{\"n\":1}")});
    fm_env_presence_put(&w, &(struct fm_env_presence_record){
                                .ver = 20, .id = 3, .ref = 20, .topic = FM_LIT("room:2"), .key = FM_LIT("bob"), .meta = FM_LIT("{}")});
    fm_env_presence_put(&w, &(struct fm_env_presence_record){.ver = 21, .id = 4, .gone = true, .heir = {UINT64_MAX, 300}});
    fm_env_presence_finish(&w, FM_PRESENCE_WHOLE | FM_PRESENCE_LAST, 22);
}

static void write_presence_pull(struct fm_buf *b)
{
    fm_env_presence_pull_write(b, &(struct fm_env_presence_pull){UINT64_MAX, 300, 1});
}

static enum fm_err read_presence(struct fm_slice body)
{
    struct fm_env_presence p;
    struct fm_env_presence_record rec;
    bool more = true;
    enum fm_err err = fm_env_presence_read(body, &p);
    while (!err && more)
        err = fm_env_presence_next(&p, &rec, &more);
    return err;
}

static enum fm_err read_presence_pull(struct fm_slice body)
{
    struct fm_env_presence_pull p;
    return fm_env_presence_pull_read(body, &p);
}

static enum fm_err read_range(struct fm_slice body)
{
    struct fm_env_range r;
    struct fm_env_record_view rec;
    enum fm_err err = fm_env_range_read(body, &r);
    do {
        if (!err)
            err = fm_env_range_next(&r, &rec);
    } while (!err && rec.kind != FM_RECORD_END);
    return err;
}

static enum fm_err read_hello(struct fm_slice body)
{
    struct fm_env_hello h;
    return fm_env_hello_read(body, &h);
}

static enum fm_err read_state(struct fm_slice body)
{
    struct fm_env_state s;
    return fm_env_state_read(body, &s);
}

static enum fm_err read_pull(struct fm_slice body)
{
    struct fm_env_pull p;
    return fm_env_pull_read(body, &p);
}

static enum fm_err read_bye(struct fm_slice body)
{
    uint64_t seq;
    return fm_env_bye_read(body, &seq);
}

static const struct {
    enum fm_envelope_type type;
    void (*write)(struct fm_buf *b);
    enum fm_err (*read)(struct fm_slice body);
} bodies[] = {
    {FM_ENV_HELLO, write_hello, read_hello},
    {FM_ENV_STATE, write_state, read_state},
    {FM_ENV_RANGE, write_range, read_range},
    {FM_ENV_PULL, write_pull, read_pull},
    {FM_ENV_BYE, write_bye, read_bye},
    {FM_ENV_PRESENCE, write_presence, read_presence},
    {FM_ENV_PRESENCE_PULL, write_presence_pull, read_presence_pull},
};

enum { BODIES = sizeof bodies / sizeof bodies[0] };

/* A copy of exactly n bytes on the heap, so that the address sanitizer sees a reader that goes too far. */
static enum fm_err read_exactly(size_t i, const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    enum fm_err err = bodies[i].read(fm_slice_of(copy, n));
    free(copy);
    return err;
}

/* ---- every body ---- */

static void every_body_is_known_by_its_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < BODIES; i++) {
        struct fm_buf b = {0};
        bodies[i].write(&b);
        assert_int_equal(fm_env_type(fm_buf_view(&b)), bodies[i].type);
        for (size_t k = 0; k < BODIES; k++)
            assert_int_equal(read_exactly(k, b.p, b.n), k == i ? FM_OK : FM_E_SYNTAX);
        fm_buf_fini(&b);
    }
    assert_int_equal(fm_env_type((struct fm_slice){0}), 0);
}

static void every_truncation_of_a_body_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < BODIES; i++) {
        struct fm_buf b = {0};
        bodies[i].write(&b);
        for (size_t n = 0; n < b.n; n++)
            assert_int_equal(read_exactly(i, b.p, n), FM_E_SYNTAX);
        fm_buf_fini(&b);
    }
}

static void a_byte_after_a_body_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < BODIES; i++) {
        struct fm_buf b = {0};
        bodies[i].write(&b);
        fm_buf_u8(&b, 0);
        assert_int_equal(read_exactly(i, b.p, b.n), FM_E_SYNTAX);
        fm_buf_fini(&b);
    }
}

static void a_changed_byte_never_leads_a_reader_out_of_the_body(void **state)
{
    (void)state;
    for (size_t i = 0; i < BODIES; i++) {
        struct fm_buf b = {0};
        bodies[i].write(&b);
        for (size_t at = 0; at < b.n; at++) {
            for (unsigned flip = 1; flip < 256; flip++) {
                b.p[at] ^= (uint8_t)flip;
                enum fm_err err = read_exactly(i, b.p, b.n);
                assert_true(err == FM_OK || err == FM_E_SYNTAX);
                b.p[at] ^= (uint8_t)flip;
            }
        }
        fm_buf_fini(&b);
    }
}

/* ---- what the fields hold ---- */

static void a_hello_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_env_hello h;
    write_hello(&b);
    assert_int_equal(fm_env_hello_read(fm_buf_view(&b), &h), FM_OK);
    assert_int_equal(h.self.incarnation, 1);
    assert_true(fm_slice_eq(h.self.name, FM_LIT("front-a")));
    assert_true(fm_slice_eq(h.self.bus, FM_LIT("10.0.0.1:4100")));
    assert_true(fm_slice_eq(h.self.ask, FM_LIT("10.0.0.1:4101")));
    assert_int_equal(h.n, 2);
    assert_int_equal(h.peers[0].name.n, 0);
    assert_true(fm_slice_eq(h.peers[0].bus, FM_LIT("[::1]:4100")));
    assert_true(h.peers[1].incarnation == UINT64_MAX);
    assert_true(fm_slice_eq(h.peers[1].ask, FM_LIT("b:2")));
    fm_buf_fini(&b);
}

static void a_hello_holds_as_many_peers_as_the_limit_and_no_more(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_env_hello h = {.self = peer(1, "a", "a:1", "a:2"), .n = FM_PEERS_MAX}, back;
    for (uint32_t i = 0; i < FM_PEERS_MAX; i++)
        h.peers[i] = peer(i + 2, "n", "h:1", "h:2");
    fm_env_hello_write(&b, &h);
    assert_false(b.failed);
    assert_int_equal(fm_env_hello_read(fm_buf_view(&b), &back), FM_OK);
    assert_int_equal(back.peers[FM_PEERS_MAX - 1].incarnation, FM_PEERS_MAX + 1);
    fm_buf_fini(&b);

    fm_buf_u8(&b, FM_ENV_HELLO); /* the same by hand with one peer too many */
    for (uint32_t i = 0; i < FM_PEERS_MAX + 2; i++) {
        fm_buf_u64(&b, i + 1);
        fm_buf_put(&b, (uint8_t[3]){0}, 3);
        if (i == 0)
            fm_buf_varint(&b, FM_PEERS_MAX + 1);
    }
    assert_int_equal(fm_env_hello_read(fm_buf_view(&b), &back), FM_E_SYNTAX);
    fm_buf_fini(&b);
}

static void control_characters_in_a_name_or_address_are_refused(void **state)
{
    (void)state;
    const char *const bad[] = {"a\nb", "a\x7f", "\x01"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_buf b = {0};
        struct fm_env_hello h = {.self = peer(1, bad[i], "a:1", "a:2")}, back;
        fm_env_hello_write(&b, &h);
        assert_int_equal(fm_env_hello_read(fm_buf_view(&b), &back), FM_E_SYNTAX);
        fm_buf_fini(&b);
    }
    struct fm_buf b = {0};
    struct fm_env_hello h = {.self = {1, FM_LIT("a\0b"), {0}, {0}}}, back;
    fm_env_hello_write(&b, &h);
    assert_int_equal(fm_env_hello_read(fm_buf_view(&b), &back), FM_E_SYNTAX);
    fm_buf_fini(&b);
}

static void a_state_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_env_state s;
    write_state(&b);
    assert_int_equal(fm_env_state_read(fm_buf_view(&b), &s), FM_OK);
    assert_int_equal(s.flags, FM_STATE_READY | FM_STATE_FULL);
    assert_int_equal(s.n, 3);
    assert_true(s.at[0].origin == 9 && s.at[0].contig == 0 && s.at[0].counter == 0);
    assert_true(s.at[1].counter == UINT64_MAX && s.at[2].contig == UINT64_MAX && s.at[2].counter == 300);
    assert_true(s.at[0].idle_s == 0 && s.at[1].idle_s == 60 && s.at[2].idle_s == UINT64_MAX);
    assert_true(s.at[0].presence == 17 && s.at[1].presence == 0 && s.at[2].presence == UINT64_MAX);
    assert_true(s.at[0].near == 0 && s.at[1].near == 1 && s.at[2].near == 1501);
    assert_true(s.at[0].passed == 0 && s.at[1].passed == 1 && s.at[2].passed == 200);
    fm_buf_fini(&b);
}

static void a_state_that_passed_over_more_than_it_has_is_refused(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_env_state s;
    fm_env_state_write(&b, &(struct fm_env_state){.n = 1, .at = {{9, 5, 5, 0, 0}}});
    assert_int_equal(fm_env_state_read(fm_buf_view(&b), &s), FM_OK);
    b.p[b.n - 5]++;
    assert_int_equal(fm_env_state_read(fm_buf_view(&b), &s), FM_E_SYNTAX);
    fm_buf_fini(&b);
}

static void presences_are_read_as_they_were_written(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_env_presence p;
    struct fm_env_presence_record rec;
    bool more;
    write_presence(&b);
    assert_int_equal(fm_env_presence_read(fm_buf_view(&b), &p), FM_OK);
    assert_true(p.flags == (FM_PRESENCE_WHOLE | FM_PRESENCE_LAST) && p.origin == 5 && p.from == 10 && p.upto == 22 && p.base == 3);
    assert_true(fm_env_presence_next(&p, &rec, &more) == FM_OK && more && !rec.gone);
    assert_true(rec.ver == 12 && rec.id == 1 && rec.ref == 11 && rec.prev == 7 && fm_slice_eq(rec.key, FM_LIT("ann")));
    assert_true(fm_env_presence_next(&p, &rec, &more) == FM_OK && more && rec.gone && rec.ver == 13 && rec.id == 300);
    assert_true(rec.heir.origin == 0 && rec.heir.id == 0);
    assert_true(fm_env_presence_next(&p, &rec, &more) == FM_OK && more && rec.prev == 0);
    assert_true(fm_slice_eq(rec.topic, FM_LIT("room:1")) && fm_slice_eq(rec.meta, FM_LIT("{\"n\":1}")));
    assert_true(fm_env_presence_next(&p, &rec, &more) == FM_OK && more && fm_slice_eq(rec.topic, FM_LIT("room:2")));
    assert_true(fm_env_presence_next(&p, &rec, &more) == FM_OK && more && rec.gone && rec.ver == 21 && rec.id == 4);
    assert_true(rec.heir.origin == UINT64_MAX && rec.heir.id == 300);
    assert_true(fm_env_presence_next(&p, &rec, &more) == FM_OK && !more);
    fm_buf_fini(&b);
}

static void a_presence_that_was_passed_on_to_nobody_is_refused(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_env_presence_writer w;
    fm_env_presence_begin(&w, &b, &(struct fm_env_presence){.origin = 5, .from = 10});
    fm_env_presence_put(&w, &(struct fm_env_presence_record){.ver = 11, .id = 1, .gone = true, .heir = {1, 1}});
    fm_env_presence_finish(&w, 0, 11);
    assert_int_equal(read_presence(fm_buf_view(&b)), FM_OK);
    size_t origin = b.n - 1 - 1 - 8; /* before the heir's id and the end */
    assert_int_equal(b.p[origin], 1);
    b.p[origin] = 0;
    assert_int_equal(read_presence(fm_buf_view(&b)), FM_E_SYNTAX);
    fm_buf_fini(&b);
}

static void presences_beyond_their_range_are_refused(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_env_presence_writer w;
    fm_env_presence_begin(&w, &b, &(struct fm_env_presence){.origin = 5, .from = 10});
    fm_env_presence_put(&w, &(struct fm_env_presence_record){.ver = 12, .id = 1, .gone = true});
    fm_env_presence_finish(&w, 0, 11);
    assert_int_equal(read_presence(fm_buf_view(&b)), FM_E_SYNTAX);
    fm_env_presence_finish(&w, 0, 12);
    b.n--;
    assert_int_equal(read_presence(fm_buf_view(&b)), FM_OK);
    fm_buf_fini(&b);
}

static void a_state_of_257_origins_is_refused(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_env_state s;
    fm_buf_u8(&b, FM_ENV_STATE);
    fm_buf_varint(&b, 0);
    fm_buf_varint(&b, FM_CURSOR_MAX + 1);
    for (unsigned i = 0; i <= FM_CURSOR_MAX; i++) {
        fm_buf_u64(&b, i + 1);
        fm_buf_put(&b, (uint8_t[3]){1, 1, 1}, 3);
    }
    assert_int_equal(fm_env_state_read(fm_buf_view(&b), &s), FM_E_SYNTAX);
    fm_buf_fini(&b);
}

static void a_pull_of_nothing_or_backwards_is_refused(void **state)
{
    (void)state;
    const uint64_t bad[][3] = {{0, 1, 1}, {1, 0, 1}, {1, 2, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_buf b = {0};
        struct fm_env_pull p;
        fm_buf_u8(&b, FM_ENV_PULL);
        fm_buf_u64(&b, bad[i][0]);
        fm_buf_varint(&b, bad[i][1]);
        fm_buf_varint(&b, bad[i][2]);
        assert_int_equal(fm_env_pull_read(fm_buf_view(&b), &p), FM_E_SYNTAX);
        fm_buf_fini(&b);
    }
    struct fm_buf b = {0};
    struct fm_env_pull p;
    write_pull(&b);
    assert_int_equal(fm_env_pull_read(fm_buf_view(&b), &p), FM_OK);
    assert_true(p.origin == UINT64_MAX && p.from == 1 && p.to == 1u << 20);
    fm_buf_fini(&b);
}

static void a_bye_tells_the_final_seq(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    uint64_t seq = 0;
    write_bye(&b);
    assert_int_equal(fm_env_bye_read(fm_buf_view(&b), &seq), FM_OK);
    assert_int_equal(seq, 123456789);
    fm_buf_fini(&b);
}

/* ---- ranges ---- */

static void a_range_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_env_range r;
    struct fm_env_record_view rec;
    fm_buf_str(&b, "before"); /* a writer appends, wherever the buffer stands */
    write_range(&b);
    assert_int_equal(fm_env_range_read(fm_slice_of(b.p + 6, b.n - 6), &r), FM_OK);
    assert_true(r.origin == 7 && r.from == 10 && r.upto == 15 && r.contig == 11 && r.forgotten == 5 && r.lost == 4);

    assert_int_equal(fm_env_range_next(&r, &rec), FM_OK);
    assert_int_equal(rec.kind, FM_RECORD_TOMB);
    assert_true(fm_slice_eq(rec.topic, FM_LIT("room:old")) && rec.seq == 10);
    assert_int_equal(fm_env_range_next(&r, &rec), FM_OK);
    assert_int_equal(rec.kind, FM_RECORD_MSG);
    assert_true(rec.seq == 12 && rec.prev == 3 && rec.ts_ms == 1700000000012u && rec.age_ms == 0 && rec.flags == FM_MSG_BINARY);
    assert_true(fm_slice_eq(rec.topic, FM_LIT("room:1")) && fm_slice_eq(rec.event, FM_LIT("moved")));
    assert_true(fm_slice_eq(rec.keys.idempotency, FM_LIT("key")) && fm_slice_eq(rec.keys.conflation, FM_LIT("place")) &&
                fm_slice_eq(rec.payload, FM_LIT("{\"x\":1}")));
    assert_int_equal(fm_env_range_next(&r, &rec), FM_OK);
    assert_true(rec.kind == FM_RECORD_TOMB && rec.seq == 4);
    assert_int_equal(fm_env_range_next(&r, &rec), FM_OK);
    assert_true(rec.kind == FM_RECORD_MSG && rec.seq == 20 && rec.prev == 12 && rec.age_ms == 3600000 && rec.payload.n == 0);
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(fm_env_range_next(&r, &rec), FM_OK);
        assert_int_equal(rec.kind, FM_RECORD_END);
    }
    fm_buf_fini(&b);
}

static void a_range_may_have_nothing_to_say(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    struct fm_env_range_writer w;
    struct fm_env_range r;
    struct fm_env_record_view rec;
    fm_env_range_begin(&w, &b, &(struct fm_env_range){.origin = 1, .from = 1});
    fm_env_range_finish(&w, 0);
    assert_int_equal(fm_env_range_read(fm_buf_view(&b), &r), FM_OK);
    assert_true(r.from == 1 && r.upto == 0);
    assert_int_equal(fm_env_range_next(&r, &rec), FM_OK);
    assert_int_equal(rec.kind, FM_RECORD_END);
    fm_buf_fini(&b);
}

static void range_head(struct fm_buf *b, uint64_t origin, uint64_t from, uint64_t upto)
{
    b->n = 0;
    fm_buf_u8(b, FM_ENV_RANGE);
    fm_buf_varint(b, 0);
    fm_buf_u64(b, origin);
    fm_buf_varint(b, from);
    fm_buf_u64(b, upto);
    fm_buf_varint(b, 0);
    fm_buf_varint(b, 0);
    fm_buf_varint(b, 0);
}

static void a_range_with_impossible_numbers_is_refused(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    const uint64_t heads[][3] = {{0, 1, 1}, {1, 0, 1}, {1, 5, 3}};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        range_head(&b, heads[i][0], heads[i][1], heads[i][2]);
        fm_buf_u8(&b, FM_RECORD_END);
        assert_int_equal(read_range(fm_buf_view(&b)), FM_E_SYNTAX);
    }
    /* step from the last seq, and seq - prev, of a message in a range from 5; a step of UINT64_MAX overflows */
    const uint64_t steps[][2] = {{0, 1}, {1, 0}, {1, 6}, {UINT64_MAX, 1}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        range_head(&b, 1, 5, 9);
        fm_buf_u8(&b, FM_RECORD_MSG);
        fm_buf_varint(&b, steps[i][0]);
        fm_buf_varint(&b, steps[i][1]);
        fm_buf_put(&b, (uint8_t[8]){0}, 8);
        assert_int_equal(read_range(fm_buf_view(&b)), FM_E_SYNTAX);
    }
    range_head(&b, 1, 5, 9);
    fm_buf_put(&b, (uint8_t[4]){FM_RECORD_TOMB, 1, 't', 0}, 4); /* a tomb at seq 0 */
    fm_buf_u8(&b, FM_RECORD_END);
    assert_int_equal(read_range(fm_buf_view(&b)), FM_E_SYNTAX);
    range_head(&b, 1, 5, 9);
    fm_buf_u8(&b, 3); /* no such record */
    assert_int_equal(read_range(fm_buf_view(&b)), FM_E_SYNTAX);
    fm_buf_fini(&b);
}

static void a_record_longer_than_a_limit_is_refused(void **state)
{
    (void)state;
    const size_t max[] = {FM_TOPIC_MAX, FM_EVENT_MAX, FM_KEY_MAX, FM_KEY_MAX, FM_PAYLOAD_MAX};
    enum { TEXTS = sizeof max / sizeof max[0] };
    uint8_t *text = calloc(1, FM_PAYLOAD_MAX + 1);
    assert_non_null(text);
    struct fm_buf b = {0};
    for (size_t over = 0; over <= TEXTS; over++) { /* TEXTS: none is over, all are at their limit */
        range_head(&b, 1, 5, 9);
        fm_buf_put(&b, (uint8_t[6]){FM_RECORD_MSG, 1, 5, 1, 0, 0}, 6);
        for (size_t i = 0; i < TEXTS; i++)
            fm_buf_sized(&b, fm_slice_of(text, i == over ? max[i] + 1 : max[i]));
        fm_buf_u8(&b, FM_RECORD_END);
        assert_false(b.failed);
        assert_int_equal(read_range(fm_buf_view(&b)), over == TEXTS ? FM_OK : FM_E_SYNTAX);
    }
    fm_buf_fini(&b);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_body_is_known_by_its_type),
        cmocka_unit_test(every_truncation_of_a_body_is_refused),
        cmocka_unit_test(a_byte_after_a_body_is_refused),
        cmocka_unit_test(a_changed_byte_never_leads_a_reader_out_of_the_body),
        cmocka_unit_test(a_hello_is_read_as_it_was_written),
        cmocka_unit_test(a_hello_holds_as_many_peers_as_the_limit_and_no_more),
        cmocka_unit_test(control_characters_in_a_name_or_address_are_refused),
        cmocka_unit_test(a_state_is_read_as_it_was_written),
        cmocka_unit_test(a_state_that_passed_over_more_than_it_has_is_refused),
        cmocka_unit_test(a_state_of_257_origins_is_refused),
        cmocka_unit_test(presences_are_read_as_they_were_written),
        cmocka_unit_test(a_presence_that_was_passed_on_to_nobody_is_refused),
        cmocka_unit_test(presences_beyond_their_range_are_refused),
        cmocka_unit_test(a_pull_of_nothing_or_backwards_is_refused),
        cmocka_unit_test(a_bye_tells_the_final_seq),
        cmocka_unit_test(a_range_is_read_as_it_was_written),
        cmocka_unit_test(a_range_may_have_nothing_to_say),
        cmocka_unit_test(a_range_with_impossible_numbers_is_refused),
        cmocka_unit_test(a_record_longer_than_a_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
