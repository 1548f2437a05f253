/* Real hubs on real sockets: threads joined by the NNG mesh on loopback. */
#include "../../broker/clock.h"
#include "../../broker/hub_thread.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

enum { PORT = 28100, WAIT_MS = 30000 };

struct node {
    struct fm_hub_thread *hub;
    struct fm_inbox inbox;
    struct fm_item *got; /* taken but not looked at yet */
    char bus[32], ask[32], seed[32];
    const char *seeds[2];
};

static uint32_t down_ms; /* of the nodes that start; 0: as usual */

static void no_wake(void *ctx)
{
    (void)ctx; /* the tests poll */
}

static struct fm_retention keep(void *ctx, struct fm_slice topic)
{
    (void)ctx, (void)topic;
    return (struct fm_retention){100000, 64 << 20, 600000};
}

static void node_start(struct node *n, int number, int seed, const char *secret)
{
    *n = (struct node){0};
    char host[16]; /* of this process alone, so that runs side by side don't meet */
    unsigned pid = (unsigned)getpid();
    snprintf(host, sizeof host, "127.%u.%u.%u", 1 + (pid >> 16 & 127), pid >> 8 & 255, pid & 255);
    snprintf(n->bus, sizeof n->bus, "%s:%d", host, PORT + 2 * number);
    snprintf(n->ask, sizeof n->ask, "%s:%d", host, PORT + 2 * number + 1);
    snprintf(n->seed, sizeof n->seed, "%s:%d", host, PORT + 2 * seed);
    n->seeds[0] = seed < 0 ? NULL : n->seed;
    assert_int_equal(fm_inbox_init(&n->inbox, 64 << 20, no_wake, NULL), FM_OK);
    struct fm_inbox *inbox = &n->inbox;
    struct fm_hub_thread_config c = {.cluster = FM_LIT("test"),
                                     .secret = fm_slice_str(secret),
                                     .inbox_bytes = 64 << 20,
                                     .bus = &fm_bus_nng,
                                     .bus_config = {.listen = n->bus, .listen_ask = n->ask, .envelope_max = 1 << 20},
                                     .workers = &inbox};
    fm_hub_config_default(&c.hub);
    c.hub.name = n->bus;
    c.hub.bus_address = n->bus;
    c.hub.ask_address = n->ask;
    c.hub.seeds = n->seeds;
    c.hub.retention = keep;
    c.hub.down_ms = down_ms ? down_ms : c.hub.down_ms;
    const char *what;
    assert_int_equal(fm_hub_thread_start(&n->hub, &c, &what), FM_OK);
}

static void node_stop(struct node *n)
{
    fm_hub_thread_stop(&n->hub);
    while (n->got) {
        struct fm_item *it = n->got;
        n->got = it->next;
        fm_hub_item_free(it);
    }
    fm_inbox_fini(&n->inbox, fm_hub_item_free);
}

/* The next item for the node's worker, of whatever kind; NULL after WAIT_MS. */
static struct fm_item *next(struct node *n)
{
    for (uint64_t until = fm_mono_ms() + WAIT_MS; !n->got && fm_mono_ms() < until;) {
        n->got = fm_inbox_take(&n->inbox, NULL);
        if (!n->got)
            usleep(1000);
    }
    struct fm_item *it = n->got;
    if (it)
        n->got = it->next;
    return it;
}

static void *expect(struct node *n, uint32_t kind)
{
    struct fm_item *it = next(n);
    assert_non_null(it);
    assert_int_equal(it->kind, kind);
    return it;
}

static void wait_peers(struct node *n, uint64_t peers)
{
    for (uint64_t until = fm_mono_ms() + WAIT_MS; fm_mono_ms() < until; usleep(5000))
        if (fm_hub_thread_stats(n->hub)->peers == peers && fm_hub_thread_stats(n->hub)->ready)
            return;
    fail_msg("%s: %llu peers, wanted %llu", n->bus, (unsigned long long)fm_hub_thread_stats(n->hub)->peers, (unsigned long long)peers);
}

static struct fm_join *join(struct node *n, const char *topic, const struct fm_vector *cursor)
{
    struct fm_join *j = fm_join_new(0, 1, fm_slice_str(topic));
    if (cursor) {
        j->has_cursor = true;
        assert_int_equal(fm_vector_copy(&j->cursor, cursor), FM_OK);
    }
    assert_int_equal(fm_hub_post(n->hub, &j->item), FM_OK);
    j = expect(n, FM_HUB_JOIN);
    assert_int_equal(j->err, FM_OK);
    return j;
}

static struct fm_publish *publish_new(uint32_t worker, const char *topic, uint32_t count)
{
    struct fm_publish *p = fm_publish_new(worker, 1, count, (struct fm_slice){0});
    for (uint32_t i = 0; i < count; i++) {
        char payload[32];
        int len = snprintf(payload, sizeof payload, "%u", i);
        p->msgs[i] = fm_msg_new(fm_slice_str(topic), FM_LIT("new"), (struct fm_msg_keys){0}, fm_slice_of(payload, (size_t)len), 0);
    }
    return p;
}

/* `count` messages of one origin on the topic, in order, nothing else. */
static void expect_messages(struct node *n, uint64_t origin, uint32_t count, uint64_t first)
{
    uint64_t seq = first;
    for (uint32_t i = 0; i < count; i++) {
        struct fm_msg_item *m = expect(n, FM_HUB_MSG);
        assert_true(m->msg->id.origin == origin);
        assert_int_equal(m->msg->id.seq, seq++);
        fm_hub_item_free(&m->item);
    }
}

static void three(struct node n[3], const char *secret)
{
    node_start(&n[0], 0, -1, secret);
    node_start(&n[1], 1, 0, secret);
    node_start(&n[2], 2, 1, secret); /* knows only the second */
    for (int i = 0; i < 3; i++)
        wait_peers(&n[i], 2);
}

static void what_is_published_on_one_node_reaches_the_others_in_order(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct node n[3];
    three(n, "a secret");
    for (int i = 0; i < 3; i++) {
        struct fm_join *j = join(&n[i], "room:1", NULL);
        fm_join_free(&j);
    }
    for (uint32_t i = 0; i < COUNT / 100; i++)
        assert_int_equal(fm_hub_post(n[1].hub, &publish_new(FM_NO_WORKER, "room:1", 100)->item), FM_OK);
    for (int i = 0; i < 3; i++)
        expect_messages(&n[i], fm_hub_incarnation(n[1].hub), COUNT, 1);
    for (int i = 0; i < 3; i++)
        node_stop(&n[i]);
}

static void a_node_that_joins_late_has_what_was_before_it(void **state)
{
    (void)state;
    struct node a, b;
    node_start(&a, 0, -1, "a secret");
    struct fm_join *j = join(&a, "room:1", NULL);
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(fm_hub_post(a.hub, &publish_new(FM_NO_WORKER, "room:1", 100)->item), FM_OK);
    expect_messages(&a, fm_hub_incarnation(a.hub), 5000, 1);
    node_start(&b, 1, 0, "a secret");
    struct fm_vector from = {0};
    assert_int_equal(fm_vector_set(&from, fm_hub_incarnation(a.hub), 1234), FM_OK);
    struct fm_join *late = join(&b, "room:1", &from); /* held until the node is ready */
    assert_true(late->recovered);
    assert_int_equal(late->replayed, 5000 - 1234);
    for (uint32_t i = 0; i < late->replayed; i++)
        assert_int_equal(late->replay[i]->id.seq, 1235 + i);
    fm_join_free(&late);
    fm_join_free(&j);
    fm_vector_fini(&from);
    node_stop(&b);
    node_stop(&a);
}

static enum fm_err publish_replicated(struct node *n, uint32_t replicas, uint32_t timeout_ms)
{
    struct fm_publish *p = publish_new(0, "room:2", 3);
    p->ack = FM_ACK_REPLICATED;
    p->replicas = replicas;
    p->timeout_ms = timeout_ms;
    assert_int_equal(fm_hub_post(n->hub, &p->item), FM_OK);
    p = expect(n, FM_HUB_PUBLISH);
    enum fm_err err = p->err;
    assert_int_equal(p->results[2].id.seq - p->results[0].id.seq, 2);
    fm_publish_free(&p);
    return err;
}

static void a_replicated_publish_is_answered_when_others_have_it_and_refused_when_not(void **state)
{
    (void)state;
    struct node n[3];
    three(n, "");
    assert_int_equal(publish_replicated(&n[0], 1, WAIT_MS), FM_OK);
    assert_int_equal(publish_replicated(&n[0], 2, WAIT_MS), FM_OK);
    assert_int_equal(publish_replicated(&n[0], 3, 1000), FM_E_NOT_REPLICATED);
    assert_true(fm_hub_thread_drain(n[2].hub, WAIT_MS, NULL));
    node_stop(&n[2]);
    wait_peers(&n[0], 1);
    assert_int_equal(publish_replicated(&n[0], 2, 1000), FM_E_NOT_REPLICATED);
    node_stop(&n[1]);
    node_stop(&n[0]);
}

static void a_node_with_another_secret_stays_outside(void **state)
{
    (void)state;
    struct node a, b;
    node_start(&a, 0, -1, "a secret");
    node_start(&b, 1, 0, "another");
    for (uint64_t until = fm_mono_ms() + WAIT_MS; fm_mono_ms() < until; usleep(5000))
        if (fm_hub_thread_stats(b.hub)->ready && fm_hub_thread_stats(a.hub)->envelopes_bad)
            break;
    assert_true(fm_hub_thread_stats(a.hub)->envelopes_bad > 0);
    assert_int_equal(fm_hub_thread_stats(a.hub)->peers, 0);
    assert_int_equal(fm_hub_thread_stats(b.hub)->peers, 0);
    struct fm_join *j = join(&a, "room:1", NULL); /* and goes on serving */
    fm_join_free(&j);
    node_stop(&b);
    node_stop(&a);
}

/* A connection that shakes hands like a node and then says nothing. */
static int stranger(const struct node *n)
{
    char host[32];
    unsigned port;
    assert_int_equal(sscanf(n->bus, "%31[0-9.]:%u", host, &port), 2);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    assert_int_equal(inet_pton(AF_INET, host, &sa.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(send(fd, (uint8_t[8]){0, 'S', 'P', 0, 0, 0x70, 0, 0}, 8, MSG_NOSIGNAL), 8);
    return fd;
}

static void wait_open(const int *fds, unsigned n, unsigned wanted)
{
    unsigned open = n + 1;
    for (uint64_t until = fm_mono_ms() + WAIT_MS; open != wanted && fm_mono_ms() < until; usleep(5000)) {
        uint8_t sink[4096];
        open = 0;
        for (unsigned i = 0; i < n; i++) {
            ssize_t got;
            while ((got = recv(fds[i], sink, sizeof sink, MSG_DONTWAIT)) > 0)
                ;
            open += got < 0 && errno == EAGAIN;
        }
    }
    assert_int_equal(open, wanted);
}

static void strangers_are_limited_and_keep_no_node_out(void **state)
{
    (void)state;
    enum { STRANGERS = 100, MAX = 64 };
    int fds[STRANGERS];
    struct node a, b;
    down_ms = 60000;
    node_start(&a, 0, -1, "a secret");
    for (unsigned i = 0; i < STRANGERS; i++)
        fds[i] = stranger(&a);
    wait_open(fds, STRANGERS, MAX);
    node_start(&b, 1, 0, "a secret");
    wait_peers(&a, 1);
    wait_peers(&b, 1);
    wait_open(fds, STRANGERS, MAX - 1); /* the oldest made room for it */
    node_stop(&b);
    node_stop(&a);
    down_ms = 0;
    for (unsigned i = 0; i < STRANGERS; i++)
        close(fds[i]);
}

static void strangers_that_say_nothing_are_sent_away(void **state)
{
    (void)state;
    int fds[10];
    struct node a, b;
    node_start(&a, 0, -1, "a secret");
    node_start(&b, 1, 0, "a secret");
    for (unsigned i = 0; i < 10; i++)
        fds[i] = stranger(&a);
    wait_peers(&a, 1);
    wait_open(fds, 10, 0);
    wait_peers(&a, 1); /* a node that speaks stays */
    node_stop(&b);
    node_stop(&a);
    for (unsigned i = 0; i < 10; i++)
        close(fds[i]);
}

static void two_nodes_that_dial_each_other_get_everything_once(void **state)
{
    (void)state;
    enum { ROUNDS = 100 };
    struct node a, b;
    node_start(&a, 0, 1, "");
    node_start(&b, 1, 0, ""); /* both dial */
    wait_peers(&a, 1);
    wait_peers(&b, 1);
    struct fm_join *j = join(&b, "room:1", NULL);
    fm_join_free(&j);
    /* They give up one of the two links, which takes a moment. Besides the batches come heartbeats. */
    bool once = false;
    uint64_t seq = 1;
    for (uint64_t until = fm_mono_ms() + WAIT_MS; !once && fm_mono_ms() < until;) {
        uint64_t before = fm_hub_thread_stats(b.hub)->envelopes_in;
        for (unsigned i = 0; i < ROUNDS; i++) {
            assert_int_equal(fm_hub_post(a.hub, &publish_new(FM_NO_WORKER, "room:1", 1)->item), FM_OK);
            expect_messages(&b, fm_hub_incarnation(a.hub), 1, seq++);
        }
        once = fm_hub_thread_stats(b.hub)->envelopes_in - before < ROUNDS * 3 / 2; /* else twice as many */
    }
    assert_true(once);
    node_stop(&b);
    node_stop(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_published_on_one_node_reaches_the_others_in_order),
        cmocka_unit_test(a_node_that_joins_late_has_what_was_before_it),
        cmocka_unit_test(a_replicated_publish_is_answered_when_others_have_it_and_refused_when_not),
        cmocka_unit_test(a_node_with_another_secret_stays_outside),
        cmocka_unit_test(strangers_are_limited_and_keep_no_node_out),
        cmocka_unit_test(strangers_that_say_nothing_are_sent_away),
        cmocka_unit_test(two_nodes_that_dial_each_other_get_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
