#include "mesh_node.h"

#include "../../broker/clock.h"
#include "../../broker/hub_thread.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    PORT = 28600,
    SUBSCRIBER = 0, /* the hub's workers */
    PUBLISHER = 1,
    WORKERS = 2,
    HUB_INBOX_BYTES = 64 << 20,
    INBOX_BYTES = 512 << 20, /* of a worker: it is the mesh that is measured, not the subscriber here */
    ENVELOPE_MAX = 2 << 20,
    START_MS = 30000, /* for the nodes to find each other */
    POLL_MS = 100,
    BUSY_US = 200, /* until a publish is tried again that the node had no room for */
};

struct box { /* a worker's inbox, and what wakes its thread */
    struct fm_inbox inbox;
    sem_t wake;
};

struct node {
    const struct fm_mesh_options *o;
    unsigned number;
    struct fm_mesh_shared *shared;
    struct fm_mesh_report *report;
    struct fm_hub_thread *hub;
    struct box boxes[WORKERS];
    struct fm_mesh_check check;
    uint64_t origin; /* of the first node, once something came from it */
    _Atomic uint64_t publisher_cpu_ns;
    char bus[32], ask[32], seed[32];
    const char *seeds[2];
};

/* ---- clocks ---- */

static void sleep_until(uint64_t at_ns)
{
    struct timespec t = fm_mono_at(at_ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static uint64_t process_cpu_ns(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return ((uint64_t)r.ru_utime.tv_sec + (uint64_t)r.ru_stime.tv_sec) * 1000000000u +
           ((uint64_t)r.ru_utime.tv_usec + (uint64_t)r.ru_stime.tv_usec) * 1000u;
}

/* ---- inboxes ---- */

static void box_wake(void *ctx)
{
    sem_post(&((struct box *)ctx)->wake);
}

/* What has arrived, at the latest after POLL_MS. */
static struct fm_item *box_take(struct box *b, bool *overrun)
{
    struct fm_item *first = fm_inbox_take(&b->inbox, overrun);
    if (first || *overrun)
        return first;
    struct timespec until = fm_mono_at(fm_mono_ns() + POLL_MS * 1000000ull);
    while (sem_clockwait(&b->wake, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR)
        ;
    return fm_inbox_take(&b->inbox, overrun);
}

/* ---- messages ---- */

void fm_mesh_topic(uint64_t topic, char name[32])
{
    snprintf(name, 32, "bench:%llu", (unsigned long long)topic);
}

struct fm_publish *fm_mesh_publish(const struct fm_mesh_options *o, uint32_t worker, uint64_t number, uint32_t n, uint64_t at_ns)
{
    struct fm_publish *p = fm_publish_new(worker, number, n, (struct fm_slice){0});
    uint8_t payload[65536];
    memset(payload, 'x', o->payload);
    for (uint32_t i = 0; p && i < n; i++) {
        char topic[32];
        fm_mesh_topic((number + i) % o->topics, topic);
        fm_mesh_stamp(payload, number + i, at_ns);
        p->msgs[i] =
            fm_msg_new(fm_slice_str(topic), FM_LIT("update"), (struct fm_msg_keys){0}, fm_slice_of(payload, o->payload), FM_MSG_BINARY);
        if (!p->msgs[i])
            fm_publish_free(&p);
        else
            p->item.cost += (uint32_t)fm_msg_size(p->msgs[i]);
    }
    return p;
}

static struct fm_retention retention(void *ctx, struct fm_slice topic)
{
    const struct fm_mesh_options *o = ctx;
    (void)topic;
    return o->history ? (struct fm_retention){(uint32_t)o->history, UINT64_MAX, 3600 * 1000} : (struct fm_retention){0};
}

/* ---- publishing ---- */

/* Posts a publish, again and again while the hub's inbox is full. */
static void post(struct node *n, struct fm_publish *p)
{
    while (fm_hub_post(n->hub, &p->item) == FM_E_BUSY) {
        atomic_fetch_add(&n->shared->refused, 1);
        usleep(BUSY_US);
    }
}

/* The answer to the one publish under way; false: none came. */
static bool answered(struct node *n, enum fm_err *err)
{
    bool overrun;
    for (uint64_t until = fm_mono_ns() + n->o->settle_ms * 1000000u; fm_mono_ns() < until;) {
        struct fm_item *it = box_take(&n->boxes[PUBLISHER], &overrun);
        if (!it)
            continue;
        *err = ((struct fm_publish *)it)->err;
        fm_hub_item_free(it);
        return true;
    }
    return false;
}

/* One publish is under way while the next is made, so the order of the messages is that of their numbers even where one is refused. */
static bool publish_at_will(struct node *n)
{
    uint64_t done = 0;
    struct fm_publish *p = NULL;
    while (done < n->o->messages) {
        uint64_t left = n->o->messages - done;
        uint32_t count = left < n->o->batch ? (uint32_t)left : (uint32_t)n->o->batch;
        if (!p)
            p = fm_mesh_publish(n->o, PUBLISHER, done, count, fm_mono_ns());
        if (!p)
            return false;
        post(n, p);
        left -= count;
        uint32_t then = left < n->o->batch ? (uint32_t)left : (uint32_t)n->o->batch;
        p = then ? fm_mesh_publish(n->o, PUBLISHER, done + count, then, fm_mono_ns()) : NULL;
        enum fm_err err = FM_OK;
        if (!answered(n, &err) || (err && err != FM_E_BUSY)) {
            fprintf(stderr, "mesh-bench: a publish failed: %s\n", err ? fm_err_text(err) : "no answer");
            if (p)
                fm_publish_free(&p);
            return false;
        }
        if (!err) {
            done += count;
            continue;
        }
        atomic_fetch_add(&n->shared->refused, 1);
        if (p)
            fm_publish_free(&p);
        usleep(BUSY_US);
    }
    return true;
}

/* A message counts from when it was due, so a node that holds up its publisher is not flattered. */
static bool publish_by_rate(struct node *n)
{
    uint64_t begin = fm_mono_ns();
    for (uint64_t i = 0; i < n->o->messages; i++) {
        uint64_t due = begin + (uint64_t)((double)i * 1e9 / (double)n->o->rate);
        if (due > fm_mono_ns())
            sleep_until(due);
        struct fm_publish *p = fm_mesh_publish(n->o, FM_NO_WORKER, i, 1, due);
        if (!p)
            return false;
        post(n, p);
    }
    return true;
}

static void *publisher(void *ctx)
{
    struct node *n = ctx;
    atomic_store(&n->shared->begin_ns, fm_mono_ns());
    if (!(n->o->rate ? publish_by_rate(n) : publish_at_will(n)))
        atomic_store(&n->report->failed, true);
    atomic_store(&n->publisher_cpu_ns, fm_clock_ns(CLOCK_THREAD_CPUTIME_ID));
    return NULL;
}

/* ---- receiving ---- */

static void take_msg(struct node *n, const struct fm_msg *m, uint64_t now_ns)
{
    uint64_t number, at_ns, topic;
    struct fm_slice name = fm_msg_topic(m), digits = fm_slice_of(name.p + 6, name.n - 6);
    if (n->origin == 0)
        n->origin = m->id.origin;
    if (m->id.origin != n->origin || !fm_slice_starts(name, FM_LIT("bench:")) || fm_slice_u64(digits, UINT64_MAX, &topic) != FM_OK ||
        fm_mesh_stamp_read(fm_msg_payload(m), &number, &at_ns) != FM_OK) {
        n->check.tally.strange++;
        return;
    }
    fm_mesh_check_add(&n->check, topic, number);
    fm_hdr_add(&n->report->latency, now_ns - at_ns);
}

/* true: something arrived. */
static bool take(struct node *n)
{
    bool overrun;
    struct fm_item *next, *first = box_take(&n->boxes[SUBSCRIBER], &overrun);
    uint64_t now_ns = fm_mono_ns();
    n->check.tally.overruns += overrun;
    for (struct fm_item *it = first; it; it = next) {
        next = it->next;
        if (it->kind == FM_HUB_MSG)
            take_msg(n, ((struct fm_msg_item *)it)->msg, now_ns);
        else if (it->kind == FM_HUB_GAP)
            n->check.tally.gaps++;
        fm_hub_item_free(it);
    }
    if (first)
        n->report->last_ns = now_ns;
    return first;
}

static bool subscribes(const struct node *n)
{
    return n->number < n->o->nodes - n->o->silent;
}

static void receive(struct node *n)
{
    uint64_t quiet_since = fm_mono_ns();
    while (n->check.tally.received < n->o->messages && !atomic_load(&n->shared->stop)) {
        if (take(n))
            quiet_since = fm_mono_ns();
        else if (fm_mono_ns() - quiet_since > n->o->settle_ms * 1000000u)
            return;
    }
    while (take(n)) /* what comes again */
        ;
}

/* A node without a subscriber has nothing that tells it of a message but its log. */
static void await_log(struct node *n)
{
    const struct fm_hub_stats *s = fm_hub_thread_stats(n->hub);
    uint64_t quiet_since = fm_mono_ns(), had = s->dispatched;
    while (s->dispatched < n->o->messages && fm_mono_ns() - quiet_since < n->o->settle_ms * 1000000u) {
        usleep(POLL_MS * 1000);
        if (s->dispatched != had) {
            had = s->dispatched;
            quiet_since = n->report->last_ns = fm_mono_ns();
        }
    }
    n->check.tally.received = s->dispatched;
}

/* ---- life ---- */

static bool hub_start(struct node *n)
{
    char host[16]; /* of this run alone */
    unsigned pid = (unsigned)getppid();
    snprintf(host, sizeof host, "127.%u.%u.%u", 1 + (pid >> 16 & 127), pid >> 8 & 255, pid & 255);
    snprintf(n->bus, sizeof n->bus, "%s:%u", host, PORT + 2 * n->number);
    snprintf(n->ask, sizeof n->ask, "%s:%u", host, PORT + 2 * n->number + 1);
    snprintf(n->seed, sizeof n->seed, "%s:%u", host, PORT);
    n->seeds[0] = n->number ? n->seed : NULL;
    struct fm_inbox *inboxes[WORKERS] = {&n->boxes[SUBSCRIBER].inbox, &n->boxes[PUBLISHER].inbox};
    struct fm_hub_thread_config c = {
        .cluster = FM_LIT("mesh-bench"),
        .secret = n->o->clear ? (struct fm_slice){0} : FM_LIT("not a secret"),
        .inbox_bytes = HUB_INBOX_BYTES,
        .bus = &fm_bus_nng,
        .bus_config = {.listen = n->bus, .listen_ask = n->ask, .envelope_max = ENVELOPE_MAX},
        .workers = inboxes,
    };
    fm_hub_config_default(&c.hub);
    c.hub.name = n->bus;
    c.hub.bus_address = n->bus;
    c.hub.ask_address = n->ask;
    c.hub.seeds = n->seeds;
    c.hub.workers = WORKERS;
    c.hub.log_bytes = n->o->log_bytes;
    c.hub.retention = retention;
    c.hub.retention_ctx = (void *)n->o;
    const char *what;
    enum fm_err err = fm_hub_thread_start(&n->hub, &c, &what);
    if (err)
        fprintf(stderr, "mesh-bench: node %u: %s: %s\n", n->number, what, fm_err_text(err));
    return !err;
}

/* Every topic is joined, and every other node is there. */
static bool ready(struct node *n)
{
    uint64_t answers = 0, until = fm_mono_ns() + START_MS * 1000000ull;
    bool overrun;
    for (uint64_t t = 0; t < n->o->topics && subscribes(n); t++) {
        char topic[32];
        fm_mesh_topic(t, topic);
        struct fm_join *j = fm_join_new(SUBSCRIBER, t, fm_slice_str(topic));
        if (!j || fm_hub_post(n->hub, &j->item) != FM_OK)
            return false;
    }
    const struct fm_hub_stats *s = fm_hub_thread_stats(n->hub);
    while (fm_mono_ns() < until) {
        if ((answers == n->o->topics || !subscribes(n)) && s->ready && s->peers == n->o->nodes - 1)
            return true;
        struct fm_item *next;
        for (struct fm_item *it = box_take(&n->boxes[SUBSCRIBER], &overrun); it; it = next) {
            next = it->next;
            answers += it->kind == FM_HUB_JOIN && ((struct fm_join *)it)->err == FM_OK;
            fm_hub_item_free(it);
        }
    }
    fprintf(stderr, "mesh-bench: node %u: %llu other nodes and %llu topics after %d s\n", n->number, (unsigned long long)s->peers,
            (unsigned long long)answers, START_MS / 1000);
    return false;
}

static void measure(struct node *n)
{
    pthread_t thread;
    struct fm_mesh_report *r = n->report;
    uint64_t cpu = process_cpu_ns(), own = fm_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    bool publishes = n->number == 0;
    if (publishes && pthread_create(&thread, NULL, publisher, n) != 0) {
        atomic_store(&r->failed, true);
        atomic_store(&r->through, true);
        return;
    }
    if (subscribes(n))
        receive(n);
    else
        await_log(n);
    if (publishes)
        pthread_join(thread, NULL);
    atomic_store(&r->through, true);
    /* A node that is through may still have the others to serve. */
    for (uint64_t i = 0; i < n->o->nodes; i++)
        while (!atomic_load(&n->shared->at[i].through) && !atomic_load(&n->shared->stop))
            usleep(1000);
    r->cost.node = process_cpu_ns() - cpu;
    r->cost.own = fm_clock_ns(CLOCK_THREAD_CPUTIME_ID) - own + n->publisher_cpu_ns;
    r->tally = n->check.tally;
    const struct fm_hub_stats *s = fm_hub_thread_stats(n->hub);
#define X(name, prose) r->name = s->name;
    FM_MESH_COUNTERS(X)
#undef X
}

void fm_mesh_node_run(const struct fm_mesh_options *o, unsigned number, struct fm_mesh_shared *shared)
{
    struct node n = {.o = o, .number = number, .shared = shared, .report = &shared->at[number]};
    bool ok = fm_mesh_check_init(&n.check, o->messages, o->topics) == FM_OK;
    for (unsigned w = 0; w < WORKERS; w++) {
        sem_init(&n.boxes[w].wake, 0, 0);
        ok &= fm_inbox_init(&n.boxes[w].inbox, INBOX_BYTES, box_wake, &n.boxes[w]) == FM_OK;
    }
    ok = ok && hub_start(&n) && ready(&n);
    atomic_store(&n.report->failed, !ok);
    atomic_store(&n.report->ready, true);
    while (!atomic_load(&shared->go) && !atomic_load(&shared->stop))
        usleep(1000);
    if (ok && !atomic_load(&shared->stop))
        measure(&n);
    atomic_store(&n.report->done, true);
    while (!atomic_load(&shared->stop)) /* its links are the others' links */
        usleep(1000);
    fm_hub_thread_stop(&n.hub);
    for (unsigned w = 0; w < WORKERS; w++) {
        fm_inbox_fini(&n.boxes[w].inbox, fm_hub_item_free);
        sem_destroy(&n.boxes[w].wake);
    }
    fm_mesh_check_fini(&n.check);
}
