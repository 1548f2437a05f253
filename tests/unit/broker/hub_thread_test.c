/* The hub's thread against a worker that can't keep up, and between publishers and the mesh. */
#include "../../../broker/hub_thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TOPICS = 30000, FIRST = 2 };

static void wake(void *ctx)
{
    (void)ctx;
}

static struct fm_slice topic_name(char text[32], unsigned i)
{
    snprintf(text, 32, "t:%u", i);
    return fm_slice_str(text);
}

/* A subscription and, behind it, a message for it. */
static void join_and_publish(struct fm_hub_thread *hub, unsigned i)
{
    char text[32];
    struct fm_slice topic = topic_name(text, i);
    struct fm_join *j = fm_join_new(0, i + 1, topic);
    struct fm_publish *p = fm_publish_new(0, i + 1, 1, fm_slice_of(NULL, 0));
    assert_non_null(j);
    assert_non_null(p);
    p->msgs[0] = fm_msg_new(topic, FM_LIT("e"), (struct fm_msg_keys){0}, FM_LIT("{}"), 0);
    assert_non_null(p->msgs[0]);
    assert_int_equal(fm_hub_post(hub, &j->item), FM_OK);
    assert_int_equal(fm_hub_post(hub, &p->item), FM_OK);
}

struct seen {
    bool given[TOPICS]; /* its message came */
    unsigned published, overruns, suspects, lost;
};

/* Takes what is there. A subscription whose message did not come with it must be followed by an overrun, which makes a worker read it
 * again: with this take, or the next that brings anything. */
static void look(struct seen *s, struct fm_inbox *inbox)
{
    bool overrun;
    unsigned missing = 0;
    struct fm_item *next, *it = fm_inbox_take(inbox, &overrun);
    if (!it && !overrun)
        return;
    for (; it; it = next) {
        next = it->next;
        if (it->kind == FM_HUB_PUBLISH) {
            s->published++;
            missing += !s->given[((struct fm_publish *)it)->token - 1];
        }
        if (it->kind == FM_HUB_MSG) {
            struct fm_slice topic = fm_msg_topic(((struct fm_msg_item *)it)->msg);
            uint64_t i;
            assert_int_equal(fm_slice_u64(fm_slice_of(topic.p + 2, topic.n - 2), TOPICS - 1, &i), FM_OK);
            s->given[i] = true;
        }
        fm_hub_item_free(it);
    }
    s->overruns += overrun;
    s->lost += overrun ? 0 : s->suspects;
    s->suspects = overrun ? 0 : missing;
}

static void pause_briefly(unsigned i)
{
    for (volatile unsigned spin = 0; spin < i; spin++)
        ;
}

/* At least the second of the first topics meets a full inbox, since nobody looks meanwhile. */
static void produce_first(struct fm_hub_thread *hub)
{
    for (unsigned i = 0; i < FIRST; i++) {
        join_and_publish(hub, i);
        while (atomic_load(&fm_hub_thread_stats(hub)->published) <= i)
            usleep(1000);
        usleep(20000);
    }
}

static void *produce(void *ctx)
{
    for (unsigned i = FIRST; i < TOPICS; i++) {
        join_and_publish(ctx, i);
        pause_briefly(i % 7 * 2000);
    }
    return NULL;
}

static void who_joins_while_the_inbox_is_full_gets_the_next_message_or_an_overrun(void **state)
{
    (void)state;
    const char *what = "";
    struct fm_inbox inbox, *inboxes[] = {&inbox};
    struct fm_hub_thread *hub;
    pthread_t producer;
    struct seen *s = calloc(1, sizeof *s);
    assert_non_null(s);
    assert_int_equal(fm_inbox_init(&inbox, 1, wake, NULL), FM_OK);
    struct fm_hub_thread_config c = {.cluster = FM_LIT("test"), .inbox_bytes = 256 << 20, .workers = inboxes};
    fm_hub_config_default(&c.hub);
    assert_int_equal(fm_hub_thread_start(&hub, &c, &what), FM_OK);
    produce_first(hub);
    assert_int_equal(pthread_create(&producer, NULL, produce, hub), 0);
    for (unsigned i = 0; s->published < TOPICS && i < 50000000; i++) {
        look(s, &inbox);
        pause_briefly(i % 11 * 4000);
    }
    pthread_join(producer, NULL);
    fm_hub_thread_stop(&hub);
    look(s, &inbox);
    assert_int_equal(s->published, TOPICS);
    print_message("%u overruns, %u lost\n", s->overruns, s->lost + s->suspects);
    assert_true(s->overruns > 0);
    assert_int_equal(s->lost + s->suspects, 0);
    fm_inbox_fini(&inbox, fm_hub_item_free);
    free(s);
}

/* ---- the mesh beside publishers ---- */

enum { PUBLISHES = 20000, PIPE = 7 };

/* A bus that holds the hub up in its first send, and sees how far the hub is when it refuses what came from the mesh. */
static struct bus_probe {
    struct fm_bus_config config;
    struct fm_hub_thread *hub;
    sem_t sends, go;
    atomic_bool held;
    _Atomic uint64_t published_at_drop;
} probe;

static enum fm_err bus_start(struct fm_bus **bus, const struct fm_bus_config *config, const char **what)
{
    (void)what;
    *bus = (struct fm_bus *)&probe;
    probe.config = *config;
    return FM_OK;
}

static enum fm_err bus_publish(struct fm_bus *bus, struct fm_slice bytes)
{
    (void)bus, (void)bytes;
    if (!atomic_exchange(&probe.held, true)) {
        sem_post(&probe.sends);
        sem_wait(&probe.go);
    }
    return FM_OK;
}

static void bus_drop(struct fm_bus *bus, uint32_t pipe)
{
    (void)bus, (void)pipe;
    atomic_store(&probe.published_at_drop, fm_hub_thread_stats(probe.hub)->published);
}

static void bus_stop(struct fm_bus **bus)
{
    *bus = NULL;
}

static void from_mesh(enum fm_bus_event event, struct fm_slice bytes)
{
    struct fm_bus_item *it = calloc(1, sizeof *it + bytes.n);
    assert_non_null(it);
    it->item = (struct fm_item){.kind = event, .cost = (uint32_t)sizeof *it};
    it->pipe = PIPE;
    it->n = (uint32_t)bytes.n;
    if (bytes.n)
        memcpy(it->bytes, bytes.p, bytes.n);
    probe.config.deliver(probe.config.ctx, it);
}

static void what_comes_from_the_mesh_does_not_wait_behind_publishes(void **state)
{
    (void)state;
    static const struct fm_bus_ops ops = {.start = bus_start, .publish = bus_publish, .drop = bus_drop, .stop = bus_stop};
    const char *what = "";
    sem_init(&probe.sends, 0, 0);
    sem_init(&probe.go, 0, 0);
    struct fm_inbox inbox, *inboxes[] = {&inbox};
    assert_int_equal(fm_inbox_init(&inbox, 64 << 20, wake, NULL), FM_OK);
    struct fm_hub_thread_config c = {.cluster = FM_LIT("test"), .inbox_bytes = 64 << 20, .workers = inboxes, .bus = &ops};
    fm_hub_config_default(&c.hub);
    assert_int_equal(fm_hub_thread_start(&probe.hub, &c, &what), FM_OK);
    from_mesh(FM_BUS_UP, (struct fm_slice){0});
    sem_wait(&probe.sends); /* the hub's hello is held up */
    for (unsigned i = 0; i < PUBLISHES; i++) {
        struct fm_publish *p = fm_publish_new(FM_NO_WORKER, 0, 1, (struct fm_slice){0});
        p->msgs[0] = fm_msg_new(FM_LIT("t"), FM_LIT("e"), (struct fm_msg_keys){0}, FM_LIT("{}"), 0);
        assert_int_equal(fm_hub_post(probe.hub, &p->item), FM_OK);
    }
    from_mesh(FM_BUS_ENVELOPE, FM_LIT("not an envelope: it is refused, and its link dropped"));
    sem_post(&probe.go);
    while (fm_hub_thread_stats(probe.hub)->published < PUBLISHES || !fm_hub_thread_stats(probe.hub)->envelopes_bad)
        usleep(1000);
    assert_in_range(probe.published_at_drop, 0, PUBLISHES / 10);
    fm_hub_thread_stop(&probe.hub);
    fm_inbox_fini(&inbox, fm_hub_item_free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_joins_while_the_inbox_is_full_gets_the_next_message_or_an_overrun),
        cmocka_unit_test(what_comes_from_the_mesh_does_not_wait_behind_publishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
