/* For tests of libfanmesh by its public headers alone: a node in this process, and a box for what its callbacks say. Included once by each
 * test program. */
#pragma once

#include <fanmesh/fanmesh.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SECONDS_MAX = 60 }; /* for what is awaited: long, since sanitizers and a busy machine may be that slow */

static const char topics[] = "[topic \"room:*\"]\njoin = anyone\npush = anyone\nhistory_count = 5000\nhistory_bytes = 64MiB\n"
                             "[topic \"live:*\"]\njoin = anyone\nmessage_max = 2048\n"
                             "[topic \"realtime:*\"]\n";

/* ---- a node ---- */

__attribute__((unused)) static void set_port(struct fm_config *c, const char *option, unsigned port)
{
    char text[64];
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    assert_int_equal(fm_config_set(c, option, text), FM_OK);
}

/* Without listeners but for what a test adds. */
static struct fm_config *config_new(void)
{
    struct fm_config *c;
    assert_int_equal(fm_config_new(&c), FM_OK);
    assert_int_equal(fm_config_text(c, topics), FM_OK);
    static const char *const set[][2] = {{"listen", "none"}, {"api_listen", "none"}, {"mesh_listen", "none"}, {"log_level", "error"},
                                         {"workers", "1"},   {"drain_ms", "0"},      {"leave_ms", "100"},     {"probe_ms", "0"}};
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
        assert_int_equal(fm_config_set(c, set[i][0], set[i][1]), FM_OK);
    return c;
}

static struct fm_node *started(struct fm_config *c)
{
    struct fm_node *node;
    if (fm_start(&node, &c))
        fail_msg("%s", fm_config_why(c));
    assert_null(c);
    assert_int_equal(fm_await_ready(node, SECONDS_MAX * 1000), FM_OK);
    return node;
}

__attribute__((unused)) static struct fm_node *node_new(void)
{
    return started(config_new());
}

static void stop(struct fm_node **node)
{
    assert_int_equal(fm_stop(node), FM_OK);
    assert_null(*node);
}

/* ---- what callbacks note ---- */

enum { SEEN_MAX = 8192 };

struct box {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned joined, recovered, messages, gaps, ended, results;
    enum fm_err end_err, result_err;
    struct fm_id seen[SEEN_MAX];
    char last[64]; /* the payload, cut */
    char cursor[512];
    bool hold;          /* callbacks wait with the first message until it is false */
    bool inside;        /* one waits */
    fm_notice_fn *also; /* runs besides, unlocked */
    struct fm_node *node;
    uint64_t subscription, token;
};

static struct box *box_new(void)
{
    struct box *b = calloc(1, sizeof *b);
    assert_non_null(b);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    return b;
}

static void box_free(struct box *b)
{
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->changed);
    free(b);
}

/* Waits until *counter is at least n. */
static void await(struct box *b, const unsigned *counter, unsigned n)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until); /* pthread_cond_timedwait is another here: broker/bus_nng_mend.c */
    until.tv_sec += SECONDS_MAX;
    pthread_mutex_lock(&b->lock);
    int late = 0;
    while (*counter < n && !late)
        late = pthread_cond_clockwait(&b->changed, &b->lock, CLOCK_MONOTONIC, &until);
    unsigned got = *counter;
    pthread_mutex_unlock(&b->lock);
    if (got < n)
        fail_msg("waited for %u, got %u", n, got);
}

__attribute__((unused)) static void await_inside(struct box *b)
{
    pthread_mutex_lock(&b->lock);
    while (!b->inside)
        pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

__attribute__((unused)) static void hold(struct box *b, bool on)
{
    pthread_mutex_lock(&b->lock);
    b->hold = on;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static void note_message(struct box *b, const struct fm_message *m)
{
    assert_int_equal(((const char *)m->payload)[m->payload_n], 0);
    snprintf(b->last, sizeof b->last, "%s", (const char *)m->payload);
    assert_true(b->messages < SEEN_MAX);
    b->seen[b->messages++] = m->id;
    b->inside = true;
    pthread_cond_broadcast(&b->changed);
    while (b->hold)
        pthread_cond_wait(&b->changed, &b->lock);
}

static void on_notice(const struct fm_notice *n, void *ctx)
{
    struct box *b = ctx;
    pthread_mutex_lock(&b->lock);
    assert_int_equal(b->ended, 0); /* nothing comes after it */
    fm_notice_cursor(n, b->cursor, sizeof b->cursor);
    switch (n->kind) {
    case FM_NOTICE_JOINED:
        b->joined++;
        b->recovered = (unsigned)n->recovered;
        break;
    case FM_NOTICE_MESSAGE:
        note_message(b, n->message);
        break;
    case FM_NOTICE_GAP:
        assert_string_equal(n->reason, "overrun");
        b->gaps++;
        break;
    case FM_NOTICE_ENDED:
        b->ended++;
        b->end_err = n->err;
        break;
    }
    fm_notice_fn *also = b->also;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    if (also)
        also(n, ctx);
}

static void on_published(const struct fm_published *r, void *ctx)
{
    struct box *b = ctx;
    pthread_mutex_lock(&b->lock);
    b->results++;
    b->result_err = r->err;
    assert_true(r->err != FM_OK || r->id.origin != 0);
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static struct box *subscribed(struct fm_node *node, const char *topic, const char *cursor, unsigned last)
{
    struct box *b = box_new();
    b->node = node;
    assert_int_equal(fm_subscribe(node, topic, cursor, last, on_notice, b, &b->subscription), FM_OK);
    await(b, &b->joined, 1);
    return b;
}

static enum fm_err publish(struct fm_node *node, const char *topic, unsigned n)
{
    char json[64];
    snprintf(json, sizeof json, "{\"n\":%u}", n);
    return fm_publish_wait(node, &(struct fm_message){.topic = topic, .event = "n", .payload = json}, NULL);
}
