/* libfanmesh by its public headers alone: a node in this process, its life, publishes and subscriptions. (Handlers, with real clients:
 * tests/system/embed.test.mjs.) */
#include <fanmesh/fanmesh.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "free_ports.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS_MAX = 60 }; /* for what is awaited: long, since sanitizers and a busy machine may be that slow */

static const char topics[] = "[topic \"room:*\"]\njoin = anyone\npush = anyone\nhistory_count = 5000\nhistory_bytes = 64MiB\n"
                             "[topic \"live:*\"]\njoin = anyone\nmessage_max = 2048\n";

/* ---- a node ---- */

static void set_port(struct fm_config *c, const char *option, unsigned port)
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

static struct fm_node *node_new(void)
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

static void await_inside(struct box *b)
{
    pthread_mutex_lock(&b->lock);
    while (!b->inside)
        pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

static void hold(struct box *b, bool on)
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

/* ---- life ---- */

static unsigned open_files(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void a_node_can_be_started_and_stopped_many_times_and_leaves_no_descriptor_open(void **state)
{
    (void)state;
    unsigned before = 0;
    for (unsigned i = 0; i < 8; i++) {
        unsigned ports[4];
        static const char *const options[4] = {"listen", "api_listen", "mesh_listen", "mesh_ask_listen"};
        struct fm_config *c = config_new();
        free_ports(ports, 4);
        for (unsigned k = 0; k < 4; k++)
            set_port(c, options[k], ports[k]);
        assert_int_equal(fm_config_set(c, "dev", "true"), FM_OK);
        struct fm_node *node = started(c);
        assert_int_equal(publish(node, "room:1", i), FM_OK);
        if (i % 2)
            assert_int_equal(fm_drain(node), FM_OK);
        stop(&node);
        if (i == 1)
            before = open_files(); /* libraries keep some from their first use on */
    }
    for (unsigned i = 0; i < SECONDS_MAX * 100 && open_files() > before; i++)
        usleep(10000); /* NNG closes the last ones a moment later */
    assert_true(open_files() <= before);
    struct fm_node *none = NULL;
    assert_int_equal(fm_stop(&none), FM_OK);
}

static void wrong_settings_stop_the_start_and_all_of_them_are_named(void **state)
{
    (void)state;
    struct fm_config *c = config_new();
    struct fm_node *node;
    assert_int_equal(fm_config_set(c, "lisen", "none"), FM_E_OPTION);
    assert_int_equal(fm_config_set(c, "idle_ms", "soon"), FM_E_OPTION);
    assert_int_equal(fm_config_text(c, "[topic \"a*b\"]\njoin = anyone\n"), FM_E_OPTION);
    assert_int_equal(fm_config_file(c, "/nowhere/at.all"), FM_E_OPTION);
    assert_int_equal(fm_config_on_join(c, "a*b", NULL, NULL), FM_E_INVALID);
    assert_int_equal(fm_start(&node, &c), FM_E_OPTION);
    assert_null(node);
    static const char *const named[] = {"`listen`", "idle_ms", "a*b", "/nowhere/at.all", "handler of joins"};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        if (!strstr(fm_config_why(c), named[i]))
            fail_msg("%s is not in: %s", named[i], fm_config_why(c));
    fm_config_free(&c);
    assert_null(c);
    fm_config_free(&c);
}

static void what_makes_no_sense_together_stops_the_start(void **state)
{
    (void)state;
    struct fm_config *c = config_new();
    struct fm_node *node;
    assert_int_equal(fm_config_set(c, "api_listen", "127.0.0.1:4001"), FM_OK);
    assert_int_equal(fm_start(&node, &c), FM_E_OPTION);
    assert_non_null(strstr(fm_config_why(c), "api_key"));
    fm_config_free(&c);
}

static void a_port_in_use_is_named_and_the_same_config_starts_when_it_is_free(void **state)
{
    (void)state;
    unsigned port;
    char want[64];
    int fd = port_listener(&port);
    struct fm_config *c = config_new();
    struct fm_node *node;
    set_port(c, "listen", port);
    assert_int_equal(fm_start(&node, &c), FM_E_IN_USE);
    assert_null(node);
    snprintf(want, sizeof want, "listen = 127.0.0.1:%u", port);
    assert_non_null(strstr(fm_config_why(c), want));
    close(fd);
    node = started(c);
    stop(&node);
}

static void two_nodes_of_one_process_are_a_cluster(void **state)
{
    (void)state;
    unsigned ports[4];
    char seed[64];
    free_ports(ports, 4);
    struct fm_config *a = config_new(), *b = config_new();
    set_port(a, "mesh_listen", ports[0]);
    set_port(a, "mesh_ask_listen", ports[1]);
    set_port(b, "mesh_listen", ports[2]);
    set_port(b, "mesh_ask_listen", ports[3]);
    snprintf(seed, sizeof seed, "127.0.0.1:%u", ports[0]);
    assert_int_equal(fm_config_set(b, "join", seed), FM_OK);
    struct fm_node *first = started(a), *second = started(b);
    struct box *box = subscribed(second, "room:1", NULL, 0);
    struct box *result = box_new();
    const struct fm_message m = {.topic = "room:1", .event = "hello", .payload = "{}", .replicas = 1};
    assert_int_equal(fm_publish(first, &m, on_published, result), FM_OK);
    await(box, &box->messages, 1);
    await(result, &result->results, 1);
    assert_int_equal(result->result_err, FM_OK);
    stop(&first);
    stop(&second);
    assert_int_equal(box->ended, 1);
    assert_int_equal(box->end_err, FM_E_CLOSED);
    box_free(box);
    box_free(result);
}

/* A WebSocket that nobody reads from. */
static int websocket(unsigned port)
{
    static const char request[] =
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answer[13] = "";
    struct timeval limit = {.tv_sec = SECONDS_MAX};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(send(fd, request, sizeof request - 1, 0), sizeof request - 1);
    assert_int_equal(recv(fd, answer, 12, MSG_WAITALL), 12);
    assert_string_equal(answer, "HTTP/1.1 101");
    return fd;
}

static void clients_that_are_there_when_a_node_is_stopped_are_cut_off(void **state)
{
    (void)state;
    unsigned port;
    char rest[4096];
    int fds[20];
    free_ports(&port, 1);
    struct fm_config *c = config_new();
    set_port(c, "listen", port);
    struct fm_node *node = started(c);
    for (unsigned i = 0; i < 20; i++)
        fds[i] = websocket(port);
    stop(&node);
    for (unsigned i = 0; i < 20; i++) {
        ssize_t n;
        while ((n = recv(fds[i], rest, sizeof rest, 0)) > 0)
            ;
        assert_true(n == 0 || errno == ECONNRESET);
        close(fds[i]);
    }
}

/* Joins room:1, whose handler has to decide; returns the token of that question. */
static uint64_t asked(int fd, struct box *b)
{
    static const char join[] = "[\"1\",\"1\",\"room:1\",\"phx_join\",{}]";
    char frame[6 + sizeof join] = {(char)0x81, (char)(0x80 | (sizeof join - 1))}; /* masked with zeros */
    memcpy(frame + 6, join, sizeof join - 1);
    assert_int_equal(send(fd, frame, 6 + sizeof join - 1, 0), 6 + sizeof join - 1);
    await(b, &b->results, 1);
    b->results = 0;
    return b->token;
}

static void on_join(struct fm_node *node, const struct fm_question *q, void *ctx)
{
    struct box *b = ctx;
    (void)node;
    pthread_mutex_lock(&b->lock);
    b->token = q->token;
    b->results++;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static void an_answer_for_a_node_that_was_stopped_answers_nothing_of_the_next_one(void **state)
{
    (void)state;
    unsigned port;
    char answer[4096] = "";
    size_t n = 0;
    struct box *box = box_new();
    uint64_t tokens[2];
    struct fm_node *node = NULL;
    int fd = -1;
    free_ports(&port, 1);
    for (unsigned i = 0; i < 2; i++) {
        struct fm_config *c = config_new();
        set_port(c, "listen", port);
        assert_int_equal(fm_config_set(c, "handler_timeout_ms", "10m"), FM_OK);
        assert_int_equal(fm_config_on_join(c, "room:*", on_join, box), FM_OK);
        node = started(c);
        fd = websocket(port);
        tokens[i] = asked(fd, box);
        if (i == 0) {
            stop(&node);
            close(fd);
        }
    }
    assert_true(tokens[0] != tokens[1]);
    assert_int_equal(fm_allow(node, tokens[0], NULL), FM_OK); /* late, like any other that nobody waits for */
    assert_int_equal(fm_refuse(node, tokens[1], NULL), FM_OK);
    while (n + 1 < sizeof answer && !strstr(answer, "phx_reply")) {
        ssize_t more = recv(fd, answer + n, sizeof answer - 1 - n, 0);
        assert_true(more > 0);
        for (ssize_t i = 0; i < more; i++)
            if (answer[n + (size_t)i] == 0)
                answer[n + (size_t)i] = ' '; /* of HTTP's end and frames' heads only the text counts */
        n += (size_t)more;
    }
    assert_non_null(strstr(answer, "\"error\""));
    close(fd);
    stop(&node);
    box_free(box);
}

static void on_pipe(int signal)
{
    (void)signal;
}

static void what_the_program_does_with_signals_stays_as_it_is(void **state)
{
    (void)state;
    struct sigaction mine = {.sa_handler = on_pipe}, after;
    sigset_t before = {{0}}, now = {{0}};
    unsigned port;
    free_ports(&port, 1);
    assert_int_equal(sigaction(SIGPIPE, &mine, NULL), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    struct fm_config *c = config_new();
    set_port(c, "listen", port);
    struct fm_node *node = started(c);
    stop(&node);
    assert_int_equal(sigaction(SIGPIPE, NULL, &after), 0);
    assert_true(after.sa_handler == on_pipe);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    assert_memory_equal(&before, &now, sizeof now);
}

/* ---- publish and subscribe ---- */

static void a_subscription_gets_everything_in_order_and_once(void **state)
{
    (void)state;
    enum { N = 2000 };
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0), *result = box_new();
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n", .payload = "[1]"}, on_published, result),
                         FM_OK);
    await(result, &result->results, N);
    await(box, &box->messages, N);
    for (unsigned i = 1; i < N; i++)
        assert_true(box->seen[i].seq == box->seen[i - 1].seq + 1);
    assert_int_equal(box->gaps, 0);
    stop(&node);
    assert_int_equal(box->messages, N);
    box_free(box);
    box_free(result);
}

static void a_cursor_resumes_and_last_begins_with_the_newest(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0);
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(publish(node, "room:1", i), FM_OK);
    await(box, &box->messages, 3);
    assert_int_equal(fm_unsubscribe(node, box->subscription), FM_OK);
    await(box, &box->ended, 1);
    assert_int_equal(box->end_err, FM_OK);
    assert_int_equal(fm_unsubscribe(node, box->subscription), FM_OK); /* a number that means nothing any more */
    for (unsigned i = 4; i <= 5; i++)
        assert_int_equal(publish(node, "room:1", i), FM_OK);
    struct box *again = subscribed(node, "room:1", box->cursor, 0), *last = subscribed(node, "room:1", NULL, 1);
    await(again, &again->messages, 2);
    assert_int_equal(again->recovered, 1);
    assert_true(again->seen[0].seq == box->seen[2].seq + 1);
    await(last, &last->messages, 1);
    assert_string_equal(last->last, "{\"n\":5}");
    stop(&node);
    assert_int_equal(again->messages, 2);
    assert_int_equal(last->messages, 1);
    box_free(box);
    box_free(again);
    box_free(last);
}

static void a_key_is_recognised_and_bytes_stay_bytes(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0);
    struct fm_id first, second;
    const struct fm_message m = {.topic = "room:1", .event = "b", .payload = "\xff\x01", .payload_n = 2, .binary = 1, .key = "once"};
    assert_int_equal(fm_publish_wait(node, &m, &first), FM_OK);
    assert_int_equal(fm_publish_wait(node, &m, &second), FM_OK);
    assert_true(first.origin == second.origin && first.seq == second.seq);
    assert_int_equal(publish(node, "room:1", 2), FM_OK);
    await(box, &box->messages, 2);
    assert_string_equal(box->last, "{\"n\":2}");
    stop(&node);
    box_free(box);
}

static void wrong_messages_are_refused_with_their_reason(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    static char long_name[257], large[3000];
    memset(long_name, 'x', sizeof long_name - 1);
    memset(large, 'x', sizeof large - 1);
    large[0] = large[sizeof large - 2] = '"';
    const struct {
        struct fm_message m;
        enum fm_err err;
    } cases[] = {
        {{.event = "e"}, FM_E_INVALID},
        {{.topic = "", .event = "e"}, FM_E_INVALID},
        {{.topic = long_name, .event = "e"}, FM_E_INVALID},
        {{.topic = "room:\xff", .event = "e"}, FM_E_INVALID},
        {{.topic = "room:1"}, FM_E_INVALID},
        {{.topic = "room:1", .event = long_name}, FM_E_INVALID},
        {{.topic = "room:1", .event = "e", .key = long_name}, FM_E_INVALID},
        {{.topic = "room:1", .event = "e", .replicas = 1000}, FM_E_INVALID},
        {{.topic = "room:1", .event = "e", .payload = "null"}, FM_E_INVALID},
        {{.topic = "room:1", .event = "e", .payload_n = 5}, FM_E_INVALID},
        {{.topic = "room:1", .event = "e", .payload = "{"}, FM_E_JSON},
        {{.topic = "room:1", .event = "e", .payload = "{}x", .payload_n = 3}, FM_E_JSON},
        {{.topic = "room:1", .event = "phx_join"}, FM_E_RESERVED_EVENT},
        {{.topic = "elsewhere", .event = "e"}, FM_E_UNMATCHED_TOPIC},
        {{.topic = "live:1", .event = "e", .payload = large}, FM_E_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(fm_publish(node, &cases[i].m, NULL, NULL), cases[i].err);
    uint64_t id;
    assert_int_equal(fm_subscribe(node, NULL, NULL, 0, on_notice, NULL, &id), FM_E_INVALID);
    assert_int_equal(fm_subscribe(node, "room:*", NULL, 0, on_notice, NULL, &id), FM_E_INVALID);
    assert_int_equal(fm_subscribe(node, "room:1", NULL, 0, NULL, NULL, &id), FM_E_INVALID);
    assert_int_equal(fm_subscribe(node, "elsewhere", NULL, 0, on_notice, NULL, &id), FM_E_UNMATCHED_TOPIC);
    static const char *const cursors[] = {"", "{}", "[1]", "[\"x\"]", "[\"a-1\"", "[[\"a-1\"]]"};
    for (size_t i = 0; i < sizeof cursors / sizeof cursors[0]; i++)
        assert_int_equal(fm_subscribe(node, "room:1", cursors[i], 0, on_notice, NULL, &id), FM_E_SYNTAX);
    static const uint64_t tokens[] = {0, 1, UINT64_MAX, 5ull << 48};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        assert_int_equal(fm_allow(node, tokens[i], NULL), FM_E_INVALID);
    stop(&node);
}

/* ---- slow callbacks ---- */

/* The callback is held with the first message until `n` more are published, which do not fit the inbox. */
static struct box *overrun(struct fm_node *node, const char *topic, unsigned n)
{
    static char json[1024];
    memset(json, 'x', sizeof json - 1);
    json[0] = json[sizeof json - 2] = '"';
    struct box *box = subscribed(node, topic, NULL, 0);
    const struct fm_message m = {.topic = topic, .event = "n", .payload = json};
    hold(box, true);
    assert_int_equal(fm_publish(node, &m, NULL, NULL), FM_OK);
    await_inside(box);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(fm_publish(node, &m, NULL, NULL), FM_OK);
    struct box *result = box_new(); /* behind all of them, so that the hub has given them out, or tried to */
    pthread_mutex_lock(&box->lock);
    assert_int_equal(box->messages, 1);
    pthread_mutex_unlock(&box->lock);
    assert_int_equal(fm_publish(node, &m, on_published, result), FM_OK);
    hold(box, false);
    await(result, &result->results, 1);
    box_free(result);
    return box;
}

static void what_a_slow_callback_missed_is_read_again_from_the_history(void **state)
{
    (void)state;
    enum { N = 400 };
    struct fm_config *c = config_new();
    assert_int_equal(fm_config_set(c, "worker_inbox_bytes", "65536"), FM_OK);
    assert_int_equal(fm_config_set(c, "message_max", "4096"), FM_OK);
    struct fm_node *node = started(c);
    struct box *box = overrun(node, "room:1", N);
    await(box, &box->messages, N + 2);
    for (unsigned i = 1; i < N + 2; i++)
        assert_true(box->seen[i].seq == box->seen[i - 1].seq + 1);
    stop(&node);
    assert_int_equal(box->messages, N + 2);
    assert_int_equal(box->gaps, 0);
    box_free(box);
}

static void what_is_in_no_history_is_told_as_a_gap(void **state)
{
    (void)state;
    enum { N = 400 };
    struct fm_config *c = config_new();
    assert_int_equal(fm_config_set(c, "worker_inbox_bytes", "65536"), FM_OK);
    assert_int_equal(fm_config_set(c, "message_max", "4096"), FM_OK);
    struct fm_node *node = started(c);
    struct box *box = overrun(node, "live:1", N);
    await(box, &box->gaps, 1);
    pthread_mutex_lock(&box->lock);
    unsigned got = box->messages;
    pthread_mutex_unlock(&box->lock);
    assert_true(got < N + 2);
    assert_int_equal(publish(node, "live:1", 7), FM_OK);
    await(box, &box->messages, got + 1);
    assert_string_equal(box->last, "{\"n\":7}");
    stop(&node);
    box_free(box);
}

static void results_that_wait_for_a_slow_callback_are_bounded_and_none_is_lost(void **state)
{
    (void)state;
    enum { MANY = 65536 / 64 };
    struct fm_config *c = config_new();
    assert_int_equal(fm_config_set(c, "worker_inbox_bytes", "65536"), FM_OK);
    assert_int_equal(fm_config_set(c, "message_max", "4096"), FM_OK);
    struct fm_node *node = started(c);
    struct box *box = subscribed(node, "room:1", NULL, 0), *result = box_new();
    const struct fm_message m = {.topic = "room:2", .event = "n"};
    hold(box, true);
    assert_int_equal(publish(node, "room:3", 1), FM_OK);
    assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n"}, NULL, NULL), FM_OK);
    await_inside(box);
    unsigned taken = 0;
    enum fm_err err;
    while ((err = fm_publish(node, &m, on_published, result)) == FM_OK)
        assert_true(++taken < MANY);
    assert_int_equal(err, FM_E_BUSY);
    assert_int_equal(fm_publish(node, &m, NULL, NULL), FM_E_BUSY); /* whoever asks for it or not */
    hold(box, false);
    await(result, &result->results, taken);
    assert_int_equal(result->result_err, FM_OK);
    assert_int_equal(publish(node, "room:2", 1), FM_OK);
    stop(&node);
    assert_int_equal(result->results, taken);
    box_free(box);
    box_free(result);
}

/* ---- threads ---- */

enum { THREADS = 4, EACH = 250 };

static void *publisher(void *ctx)
{
    struct fm_node *node = ctx;
    for (unsigned i = 0; i < EACH; i++)
        assert_int_equal(publish(node, "room:many", i), FM_OK);
    return NULL;
}

static void *come_and_go(void *ctx)
{
    struct fm_node *node = ctx;
    for (unsigned i = 0; i < 50; i++) {
        struct box *b = subscribed(node, "room:many", NULL, 1);
        assert_int_equal(fm_unsubscribe(node, b->subscription), FM_OK);
        await(b, &b->ended, 1);
        box_free(b);
    }
    return NULL;
}

static void calls_may_come_from_many_threads_at_once(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:many", NULL, 0);
    pthread_t threads[THREADS + 1];
    for (unsigned i = 0; i <= THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < THREADS ? publisher : come_and_go, node), 0);
    for (unsigned i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    await(box, &box->messages, THREADS * EACH);
    stop(&node);
    assert_int_equal(box->messages, THREADS * EACH);
    box_free(box);
}

static void *stopper(void *ctx)
{
    struct fm_node *node = ctx;
    stop(&node);
    return NULL;
}

static void stop_waits_for_the_callback_that_runs(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0);
    pthread_t thread;
    hold(box, true);
    assert_int_equal(publish(node, "room:2", 1), FM_OK);
    assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n"}, NULL, NULL), FM_OK);
    await_inside(box);
    assert_int_equal(pthread_create(&thread, NULL, stopper, node), 0);
    pthread_mutex_lock(&box->lock);
    assert_int_equal(box->ended, 0);
    pthread_mutex_unlock(&box->lock);
    hold(box, false);
    pthread_join(thread, NULL);
    assert_int_equal(box->ended, 1);
    assert_int_equal(box->end_err, FM_E_CLOSED);
    box_free(box);
}

static void call_all(const struct fm_notice *n, void *ctx)
{
    struct box *b = ctx;
    struct fm_node *node = n->node;
    const struct fm_message m = {.topic = "room:2", .event = "n"};
    uint64_t id;
    if (n->kind == FM_NOTICE_MESSAGE) {
        assert_int_equal(fm_publish_wait(node, &m, NULL), FM_E_CALLBACK);
        assert_int_equal(fm_await_ready(node, 0), FM_E_CALLBACK);
        assert_int_equal(fm_drain(node), FM_E_CALLBACK);
        assert_int_equal(fm_stop(&node), FM_E_CALLBACK);
        assert_non_null(node);
        assert_int_equal(fm_publish(node, &m, on_published, b), FM_OK);
        assert_int_equal(fm_unsubscribe(node, n->subscription), FM_OK);
    } else if (n->kind == FM_NOTICE_ENDED && n->err == FM_E_CLOSED) {
        assert_int_equal(fm_publish(node, &m, NULL, NULL), FM_E_CLOSED);
        assert_int_equal(fm_subscribe(node, "room:1", NULL, 0, on_notice, b, &id), FM_E_CLOSED);
        assert_int_equal(fm_unsubscribe(node, n->subscription), FM_E_CLOSED);
    }
}

static void a_callback_may_make_every_call_that_does_not_wait(void **state)
{
    (void)state;
    struct fm_node *node = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0), *other = subscribed(node, "room:2", NULL, 0);
    box->also = call_all;
    other->also = NULL;
    for (unsigned i = 0; i < 3; i++) /* only the first: it ends the subscription */
        assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n"}, NULL, NULL), FM_OK);
    await(box, &box->ended, 1);
    await(box, &box->results, 1);
    await(other, &other->messages, 1);
    assert_int_equal(box->messages, 1);
    struct box *last = subscribed(node, "room:3", NULL, 0);
    last->also = call_all;
    stop(&node);
    assert_int_equal(last->ended, 1);
    box_free(box);
    box_free(other);
    box_free(last);
}

static void call_around(const struct fm_notice *n, void *ctx)
{
    struct box *b = ctx;
    if (n->kind == FM_NOTICE_ENDED)
        assert_int_equal(publish(b->node, "room:1", 1), FM_E_CALLBACK);
}

static void stop_another(const struct fm_notice *n, void *ctx)
{
    struct box *b = ctx;
    struct fm_node *own = n->node;
    if (n->kind != FM_NOTICE_MESSAGE)
        return;
    assert_int_equal(fm_stop(&b->node), FM_OK);
    assert_int_equal(fm_stop(&own), FM_E_CALLBACK);
}

static void a_node_that_is_stopped_in_a_callback_of_another_leaves_that_a_callback(void **state)
{
    (void)state;
    struct fm_node *node = node_new(), *other = node_new();
    struct box *box = subscribed(node, "room:1", NULL, 0), *of_other = subscribed(other, "room:1", NULL, 0);
    of_other->node = node;
    of_other->also = call_around;
    box->node = other;
    box->also = stop_another;
    assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n"}, NULL, NULL), FM_OK);
    await(of_other, &of_other->ended, 1);
    box->also = NULL;
    stop(&node);
    assert_null(box->node);
    assert_int_equal(box->ended, 1);
    box_free(box);
    box_free(of_other);
}

static void every_publish_has_its_result_before_stop_returns(void **state)
{
    (void)state;
    enum { N = 50 };
    struct fm_config *c = config_new();
    assert_int_equal(fm_config_set(c, "ack_timeout_ms", "60s"), FM_OK);
    struct fm_node *node = started(c);
    struct box *result = box_new();
    for (unsigned i = 0; i < N; i++) /* there is no other node that could confirm */
        assert_int_equal(fm_publish(node, &(struct fm_message){.topic = "room:1", .event = "n", .replicas = 1}, on_published, result),
                         FM_OK);
    stop(&node);
    assert_int_equal(result->results, N);
    box_free(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_can_be_started_and_stopped_many_times_and_leaves_no_descriptor_open),
        cmocka_unit_test(wrong_settings_stop_the_start_and_all_of_them_are_named),
        cmocka_unit_test(what_makes_no_sense_together_stops_the_start),
        cmocka_unit_test(a_port_in_use_is_named_and_the_same_config_starts_when_it_is_free),
        cmocka_unit_test(two_nodes_of_one_process_are_a_cluster),
        cmocka_unit_test(clients_that_are_there_when_a_node_is_stopped_are_cut_off),
        cmocka_unit_test(an_answer_for_a_node_that_was_stopped_answers_nothing_of_the_next_one),
        cmocka_unit_test(what_the_program_does_with_signals_stays_as_it_is),
        cmocka_unit_test(a_subscription_gets_everything_in_order_and_once),
        cmocka_unit_test(a_cursor_resumes_and_last_begins_with_the_newest),
        cmocka_unit_test(a_key_is_recognised_and_bytes_stay_bytes),
        cmocka_unit_test(wrong_messages_are_refused_with_their_reason),
        cmocka_unit_test(what_a_slow_callback_missed_is_read_again_from_the_history),
        cmocka_unit_test(what_is_in_no_history_is_told_as_a_gap),
        cmocka_unit_test(results_that_wait_for_a_slow_callback_are_bounded_and_none_is_lost),
        cmocka_unit_test(calls_may_come_from_many_threads_at_once),
        cmocka_unit_test(stop_waits_for_the_callback_that_runs),
        cmocka_unit_test(a_callback_may_make_every_call_that_does_not_wait),
        cmocka_unit_test(a_node_that_is_stopped_in_a_callback_of_another_leaves_that_a_callback),
        cmocka_unit_test(every_publish_has_its_result_before_stop_returns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
