/* For tests of the Phoenix protocol: a socket that only records, and words for what goes in, frame by frame, and what must come out. The
 * edge and the hub are played by this file, so that every order of events can be made. Included once by each test program. */
#pragma once

#include "../../../gateway/auth/claims.h"
#include "../../../gateway/phoenix/phoenix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* ---- the recording socket ---- */

struct fm_socket {
    uint32_t variant;
    struct fm_identity *identity;
    struct fm_sub *subs;
    struct fm_buf out; /* what was sent: a text frame as it is, a binary one as <hex>, each followed by a newline */
    unsigned sources;  /* how many were sent */
    unsigned close_code;
    char close_reason[256];
    /* the last join asked for */
    bool has_cursor, cut, cursor_channel;
    struct fm_buf cursor;
    uint32_t last;
    enum fm_format format;
    bool watch, track;
    struct fm_buf shown; /* key, a space, meta */
    /* the last push */
    struct fm_buf pushed, cookie;
    struct fm_buf refreshed; /* the last token */
    bool pushed_binary;
};

static struct fm_worker_stats stats;
static struct fm_worker_config config;
static struct fm_rules *rules;
static enum fm_err join_err, push_err;
static enum fm_err join_limit, push_limit, rule_limit; /* what the limits say */
static unsigned reached[FM_LIMITS_N];
static bool handled;          /* joins wait for a handler of the program */
static struct fm_vector sent; /* what fm_socket_leave says */
static uint64_t next_id;
static struct fm_token_fault refresh_fault;
static uint64_t now_s; /* of the clock that tokens end by */

const struct fm_rule *fm_sub_rule(struct fm_sub *sub)
{
    return sub->rule;
}

bool fm_sub_undecided(const struct fm_sub *sub)
{
    return handled && !sub->joined;
}

const struct fm_rule *fm_socket_rule(const struct fm_socket *s, struct fm_slice topic)
{
    return fm_rules_match(fm_worker_config(fm_socket_worker(s))->rules, topic);
}

const struct fm_identity *fm_socket_identity(const struct fm_socket *s)
{
    return s->identity;
}

enum fm_err fm_socket_may(const struct fm_socket *s, enum fm_who who, struct fm_slice topic, enum fm_right right)
{
    return fm_who_may(who, s->identity, topic, right, now_s);
}

bool fm_socket_refresh(struct fm_socket *s, struct fm_slice token, struct fm_token_fault *fault)
{
    s->refreshed.n = 0;
    fm_buf_slice(&s->refreshed, token);
    *fault = refresh_fault;
    return !refresh_fault.err;
}

uint32_t fm_socket_variant(const struct fm_socket *s)
{
    return s->variant;
}

struct fm_worker *fm_socket_worker(const struct fm_socket *s)
{
    (void)s;
    return NULL;
}

const struct fm_worker_config *fm_worker_config(const struct fm_worker *w)
{
    (void)w;
    return &config;
}

struct fm_worker_stats *fm_worker_stats_mut(struct fm_worker *w)
{
    (void)w;
    return &stats;
}

struct fm_sub *fm_socket_sub(struct fm_socket *s, struct fm_slice topic)
{
    for (struct fm_sub *sub = s->subs; sub; sub = sub->next)
        if (fm_slice_eq(fm_sub_topic(sub), topic))
            return sub;
    return NULL;
}

uint32_t fm_socket_subs(const struct fm_socket *s)
{
    uint32_t n = 0;
    for (const struct fm_sub *sub = s->subs; sub; sub = sub->next)
        n++;
    return n;
}

enum fm_err fm_socket_limit_join(struct fm_socket *s, uint32_t *retry_ms)
{
    (void)s;
    *retry_ms = 250;
    return join_limit;
}

enum fm_err fm_socket_limit_push(struct fm_socket *s, size_t bytes, uint32_t *retry_ms)
{
    (void)s, (void)bytes;
    *retry_ms = 250;
    return push_limit;
}

enum fm_err fm_sub_limit_push(struct fm_sub *sub, uint32_t *retry_ms)
{
    (void)sub;
    *retry_ms = 250;
    return rule_limit;
}

void fm_socket_limit_reached(struct fm_socket *s, enum fm_limit limit)
{
    (void)s;
    reached[limit]++;
}

enum fm_err fm_socket_join(struct fm_socket *s, struct fm_join_ask *ask)
{
    assert_null(fm_socket_sub(s, ask->topic));
    s->has_cursor = ask->has_cursor;
    s->cut = ask->cut;
    s->cursor_channel = ask->cursor_channel;
    s->last = ask->last;
    s->format = ask->format;
    s->watch = ask->watch;
    s->track = ask->track;
    s->shown.n = 0;
    fm_buf_slice(&s->shown, ask->shown.key);
    fm_buf_u8(&s->shown, ' ');
    fm_buf_slice(&s->shown, ask->shown.meta);
    s->cursor.n = 0;
    fm_vector_json(&s->cursor, &ask->cursor);
    fm_buf_u8(&s->cursor, 0);
    fm_vector_fini(&ask->cursor);
    if (join_err) {
        free(ask->proto);
        return join_err;
    }
    struct fm_sub *sub = calloc(1, sizeof *sub + ask->topic.n + ask->join_ref.n);
    assert_non_null(sub);
    sub->socket = s;
    sub->id = ++next_id;
    sub->rule = ask->rule;
    sub->format = (uint8_t)ask->format;
    sub->cursor_channel = ask->cursor_channel;
    sub->own = (uint8_t)ask->own;
    sub->flags = ask->flags;
    sub->chooses = ask->chooses;
    sub->watch = ask->watch;
    sub->proto = ask->proto;
    sub->topic_n = (uint16_t)ask->topic.n;
    sub->join_ref_n = (uint16_t)ask->join_ref.n;
    memcpy(sub->text, ask->topic.p, ask->topic.n);
    memcpy(sub->text + ask->topic.n, ask->join_ref.p, ask->join_ref.n);
    sub->next = s->subs;
    s->subs = sub;
    return FM_OK;
}

void fm_socket_leave(struct fm_socket *s, struct fm_sub *sub, struct fm_vector *at)
{
    struct fm_sub **link = &s->subs;
    while (*link != sub)
        link = &(*link)->next;
    *link = sub->next;
    if (at)
        assert_int_equal(fm_vector_copy(at, &sent), FM_OK);
    free(sub->proto);
    free(sub);
}

enum fm_err fm_sub_track(struct fm_sub *sub, const struct fm_track_ask *ask)
{
    struct fm_socket *s = sub->socket;
    s->pushed.n = s->cookie.n = 0;
    fm_buf_slice(&s->pushed, ask->key);
    fm_buf_u8(&s->pushed, ' ');
    fm_buf_slice(&s->pushed, ask->meta);
    fm_buf_slice(&s->cookie, ask->cookie);
    return push_err;
}

void fm_sub_untrack(struct fm_sub *sub)
{
    sub->socket->pushed.n = 0;
    fm_buf_str(&sub->socket->pushed, "untracked");
}

enum fm_err fm_socket_push(struct fm_socket *s, struct fm_sub *sub, struct fm_slice event, struct fm_slice payload, bool binary,
                           struct fm_slice cookie)
{
    assert_ptr_equal(sub->socket, s);
    s->pushed.n = s->cookie.n = 0;
    fm_buf_slice(&s->pushed, event);
    fm_buf_u8(&s->pushed, ' ');
    fm_buf_slice(&s->pushed, payload);
    fm_buf_slice(&s->cookie, cookie);
    s->pushed_binary = binary;
    return push_err;
}

static void frames_record(struct fm_socket *s, const struct fm_frames *f)
{
    uint32_t from = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        const uint8_t *frame = f->bytes.p + from;
        size_t head = frame[1] < 126 ? 2 : frame[1] == 126 ? 4 : 10, n = f->marks[i].end - from - head;
        if ((frame[0] & 0xf) == FM_WS_TEXT) {
            fm_buf_put(&s->out, frame + head, n);
        } else {
            fm_buf_u8(&s->out, '<');
            for (size_t k = 0; k < n; k++)
                fm_buf_printf(&s->out, "%02x", frame[head + k]);
            fm_buf_u8(&s->out, '>');
        }
        fm_buf_u8(&s->out, '\n');
        from = f->marks[i].end;
    }
    assert_int_equal(from, f->bytes.n);
}

void fm_socket_send_frames(struct fm_socket *s, struct fm_frames *f)
{
    assert_int_equal(s->close_code, 0);
    frames_record(s, f);
    fm_frames_unref(&f);
}

void fm_socket_send_source(struct fm_socket *s, struct fm_source *source)
{
    bool more;
    s->sources++;
    do {
        struct fm_frames f = {0};
        more = source->more(source, &f, 300);
        assert_true(f.n > 0 || !more);
        assert_true(f.bytes.n < 600); /* 300, and what the last message has beyond it */
        frames_record(s, &f);
        fm_frames_fini(&f);
    } while (more);
    source->free(source);
}

void fm_socket_close(struct fm_socket *s, unsigned code, const char *reason)
{
    assert_true(strlen(reason) <= 123);
    s->close_code = code;
    snprintf(s->close_reason, sizeof s->close_reason, "%s", reason);
}

/* http.c is linked for fm_query_param; its answers are the edge's business. */
void fm_http_respond(struct fm_http_request *req, unsigned status, const char *content_type, struct fm_slice headers, struct fm_slice body)
{
    (void)req, (void)status, (void)content_type, (void)headers, (void)body;
    fail_msg("nothing here answers HTTP");
}

/* ---- the vocabulary of the tests ---- */

static int setup(void **state)
{
    static const struct {
        const char *pattern;
        enum fm_who join, push;
    } table[] = {{"room:*", FM_WHO_ANYONE, FM_WHO_ANYONE},     {"news", FM_WHO_ANYONE, FM_WHO_NOBODY},
                 {"staff", FM_WHO_NOBODY, FM_WHO_NOBODY},      {"member:*", FM_WHO_TOKEN, FM_WHO_TOKEN},
                 {"realtime:*", FM_WHO_ANYONE, FM_WHO_ANYONE}, {"realtime:news", FM_WHO_ANYONE, FM_WHO_NOBODY}};
    assert_int_equal(fm_rules_new(&rules), FM_OK);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct fm_rule *r;
        assert_int_equal(fm_rules_add(rules, table[i].pattern, &r), FM_OK);
        r->join = table[i].join;
        r->push = table[i].push;
        r->message_max = 32;
    }
    config = (struct fm_worker_config){.rules = rules, .mount = "/socket", .topics_per_socket = 3};
    join_err = push_err = join_limit = push_limit = rule_limit = FM_OK;
    memset(reached, 0, sizeof reached);
    next_id = now_s = 0;
    refresh_fault = (struct fm_token_fault){0};
    *state = calloc(1, sizeof(struct fm_socket));
    assert_non_null(*state);
    ((struct fm_socket *)*state)->variant = FM_PHX_V2;
    return 0;
}

static int teardown(void **state)
{
    struct fm_socket *s = *state;
    while (s->subs)
        fm_socket_leave(s, s->subs, NULL);
    fm_buf_fini(&s->out);
    fm_buf_fini(&s->cursor);
    fm_buf_fini(&s->pushed);
    fm_buf_fini(&s->shown);
    fm_buf_fini(&s->cookie);
    fm_buf_fini(&s->refreshed);
    fm_vector_fini(&sent);
    fm_rules_free(&rules);
    fm_identity_unref(&s->identity);
    free(s);
    return 0;
}

static void in_bytes(struct fm_socket *s, bool binary, const char *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    fm_phoenix.recv(s, binary, copy, n);
    free(copy);
}

static void in(struct fm_socket *s, const char *frame)
{
    in_bytes(s, false, frame, strlen(frame));
}

#define IN_BINARY(s, text) in_bytes(s, true, text, sizeof(text) - 1)

/* Everything that came out since the last look. */
static void out(struct fm_socket *s, const char *wanted)
{
    struct fm_slice got = fm_buf_view(&s->out);
    if (!fm_slice_eq(got, fm_slice_str(wanted)))
        fail_msg("\n  got: %.*s\nwanted: %s", (int)got.n, (const char *)got.p, wanted);
    s->out.n = 0;
}

static void vector_read(struct fm_vector *v, const char *ids)
{
    v->n = 0;
    for (const char *p = ids; *p;) {
        size_t n = strcspn(p, " ");
        assert_int_equal(fm_vector_add_text(v, fm_slice_of(p, n)), FM_OK);
        p += n + (p[n] == ' ');
    }
}

__attribute__((unused)) static struct fm_msg *message(uint64_t origin, uint64_t seq, const char *payload, bool binary)
{
    struct fm_msg *m =
        fm_msg_new(FM_LIT("room:1"), FM_LIT("msg"), (struct fm_msg_keys){0}, fm_slice_str(payload), binary ? FM_MSG_BINARY : 0);
    assert_non_null(m);
    fm_msg_accept(m, (struct fm_id){origin, seq}, seq - 1, 1);
    return m;
}

/* The hub answers the join of a topic. cursor, at: ids; msgs: moved. */
static void answer(struct fm_socket *s, const char *topic, const char *cursor, const char *at, bool recovered, struct fm_msg **msgs,
                   uint32_t n)
{
    struct fm_sub *sub = fm_socket_sub(s, fm_slice_str(topic));
    assert_non_null(sub);
    struct fm_join *j = fm_join_new(0, sub->id, fm_slice_str(topic));
    assert_non_null(j);
    vector_read(&j->cursor, cursor);
    vector_read(&j->at, at);
    j->recovered = recovered;
    j->replayed = n;
    if (n) {
        j->replay = malloc(n * sizeof(struct fm_msg *));
        assert_non_null(j->replay);
        memcpy(j->replay, msgs, n * sizeof(struct fm_msg *));
    }
    sub->joined = true;
    fm_phoenix.joined(sub, 0, j);
    fm_join_free(&j);
}

__attribute__((unused)) static void publish_answer(struct fm_socket *s, enum fm_err err)
{
    struct fm_publish *p = fm_publish_new(0, 1, 1, fm_buf_view(&s->cookie));
    assert_non_null(p);
    p->err = err;
    p->results[0].id = (struct fm_id){62, 7};
    fm_phoenix.pushed(s, p);
    fm_publish_free(&p);
}

/* A plain channel on room:1 with join_ref "1". */
__attribute__((unused)) static void plain_joined(struct fm_socket *s)
{
    in(s, "[\"1\",\"1\",\"room:1\",\"phx_join\",{}]");
    answer(s, "room:1", "a-1", "a-1", true, NULL, 0);
    s->out.n = 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
