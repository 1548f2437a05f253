/* The hub's thread against a worker that can't keep up. */
#include "../../../broker/hub_thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_joins_while_the_inbox_is_full_gets_the_next_message_or_an_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
