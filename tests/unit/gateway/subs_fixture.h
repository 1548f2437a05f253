/* Topics, subs and a client for each, without sockets, threads or a hub: what is given to whom is written down. */
#pragma once

#include "../../../gateway/worker/worker_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

/* ---- what surrounds subs.c ---- */

enum { CLIENTS = 4, ROOM = 75 << 10, OUTBOX = 100 << 10 };

static struct client {
    struct fm_socket socket;
    struct fm_buf got; /* "1 2 3 " */
    const struct fm_frames *last;
    unsigned gaps, closes;
    size_t owes;
    bool stuck; /* takes nothing: what it is given is owed */
    char gap_cursor[64];
} clients[CLIENTS];

static struct fm_worker worker;
static struct fm_rule rule;
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
    c->owes += fm_piece_bytes(f, first, end).n * c->stuck;
    c->last = f;
}

void fm_socket_send_frames(struct fm_socket *s, struct fm_frames *f)
{
    fm_socket_give(s, f, 0, f->n);
    fm_frames_unref(&f);
}

/* What it has is taken at once. */
void fm_socket_send_source(struct fm_socket *s, struct fm_source *source)
{
    for (bool more = true; more;) {
        struct fm_frames *f = fm_frames_new();
        assert_non_null(f);
        more = source->more(source, f, 1);
        fm_socket_send_frames(s, f);
    }
    source->free(source);
}

size_t fm_socket_owes(const struct fm_socket *s)
{
    return ((const struct client *)((const char *)s - offsetof(struct client, socket)))->owes;
}

size_t fm_socket_room(const struct fm_socket *s)
{
    (void)s;
    return ROOM;
}

bool fm_socket_fits(struct fm_socket *s, size_t bytes, bool one)
{
    size_t owed = fm_socket_owes(s);
    return owed + bytes <= ROOM || (owed == 0 && one);
}

void fm_lws_want_write(struct lws *wsi)
{
    (void)wsi;
}

void fm_commands_take(struct fm_worker *w, struct fm_wtopic *t, struct fm_msg *m)
{
    (void)w, (void)t;
    fm_msg_unref(&m);
}

void fm_commands_lost(struct fm_worker *w)
{
    (void)w;
}

void fm_link_want_write(struct fm_link *link)
{
    (void)link;
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

/* Of these, subs that choose are given the odd ones, and others of their format none. */
static bool chosen(const struct fm_msg *m)
{
    return fm_slice_eq(fm_msg_event(m), FM_LIT("choice"));
}

static void encode(struct fm_frames *f, unsigned format, struct fm_msg *const *msgs, size_t n, const struct fm_vector *at)
{
    (void)at;
    encodings++;
    for (size_t i = 0; i < n; i++) {
        char text[32];
        if (format == FM_FORMAT_SUPA2 && chosen(msgs[i]))
            continue;
        int len = fm_msg_of_presence(msgs[i])
                      ? snprintf(text, sizeof text, "%.*s ", (int)msgs[i]->payload_n, (const char *)fm_msg_payload(msgs[i]).p)
                      : snprintf(text, sizeof text, format == FM_FORMAT_PHX1 ? "v%d " : "%d ", (int)msgs[i]->id.seq);
        fm_frames_add(f, FM_WS_TEXT, fm_slice_of(text, (size_t)len), msgs[i]);
    }
}

static void encode_for(struct fm_frames *f, const struct fm_sub *sub, struct fm_msg *const *msgs, size_t n)
{
    assert_true(sub->chooses);
    for (size_t i = 0; i < n; i++) {
        char text[32];
        bool own = chosen(msgs[i]);
        int len = snprintf(text, sizeof text, own ? "own%d " : "%d ", (int)msgs[i]->id.seq);
        if (!own || msgs[i]->id.seq % 2)
            fm_frames_add(f, FM_WS_TEXT, fm_slice_of(text, (size_t)len), msgs[i]);
    }
}

/* "[1:3..5 x2]": of origin 1, two messages left out. */
static void gap(struct fm_frames *f, const struct fm_sub *sub, const struct fm_gap *g, const struct fm_vector *cursor)
{
    struct client *c = client_of(sub->socket);
    struct fm_buf b = {0};
    char text[96];
    c->gaps++;
    fm_vector_json(&b, cursor);
    snprintf(c->gap_cursor, sizeof c->gap_cursor, "%.*s", (int)b.n, (const char *)b.p);
    fm_buf_fini(&b);
    if (g->reason != FM_GAP_SLOW)
        return;
    int n = snprintf(text, sizeof text, "[%d:%d..%d x%d] ", (int)g->origin, (int)g->from, (int)g->to, (int)g->skipped);
    fm_frames_add(f, FM_WS_TEXT, fm_slice_of(text, (size_t)n), NULL);
}

static const struct fm_proto proto = {.name = "test", .encode = encode, .gap = gap, .chosen = chosen, .encode_for = encode_for};

/* ---- vocabulary ---- */

static int setup(void **state)
{
    (void)state;
    memset(&worker, 0, sizeof worker);
    worker.config.outbox_bytes = OUTBOX;
    rule = (struct fm_rule){.slow = FM_SLOW_DISCONNECT};
    memset(clients, 0, sizeof clients);
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i].socket =
            (struct fm_socket){.wsi = (struct lws *)&clients[i], .worker = &worker, .proto = &proto, .state = FM_SOCKET_OPEN};
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
static bool choosing; /* who joins chooses */

/* Client i joins the topic; the hub answered with this position, and says that the client is ahead up to `skip` (0: it isn't). */
__attribute__((unused)) static struct fm_sub *join(size_t i, enum fm_format format, uint64_t position, uint64_t skip)
{
    struct fm_sub *sub = calloc(1, sizeof *sub + 1);
    struct fm_join *j = fm_join_new(0, 1, FM_LIT("t"));
    *sub = (struct fm_sub){.socket = &clients[i].socket, .format = (uint8_t)format, .id = next_sub++, .rule = &rule, .topic_n = 1};
    sub->chooses = choosing;
    sub->socket->subs_n++;
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

__attribute__((unused)) static void assert_got(size_t i, const char *text)
{
    fm_buf_u8(&clients[i].got, 0);
    assert_string_equal(clients[i].got.p, text);
    clients[i].got.n = 0;
}

__attribute__((unused)) static void overrun(void)
{
    worker.overrun = true;
    messages(90, 91); /* what still came is not to be trusted to be all */
    fm_subs_overrun(&worker);
    worker.overrun = false;
    fm_subs_reread(&worker);
}

__attribute__((unused)) static struct fm_join *asked(uint64_t position)
{
    struct fm_join *j = (struct fm_join *)next_posted();
    assert_int_equal(j->item.kind, FM_HUB_JOIN);
    assert_true(j->reread && j->has_cursor);
    assert_int_equal(fm_vector_get(&j->cursor, 1), position);
    return j;
}

/* The hub answers a reread with messages from..to. */
__attribute__((unused)) static void answer(struct fm_join *j, uint64_t from, uint64_t to, bool recovered)
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
