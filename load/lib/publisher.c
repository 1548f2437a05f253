#include "publisher.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    AGAIN_NS = 50 * 1000000, /* before a message is published again */
    AGAIN_MAX = 65536,       /* messages that wait for that; a node that refuses everything must not fill the memory */
};

struct job { /* a message on its way to a node by HTTP */
    uint32_t topic;
    bool replicated, keyed;
    bool maybe; /* an attempt without an answer may have been accepted */
    uint32_t attempts;
    uint32_t api; /* the last one tried */
    struct fm_stamp stamp;
    uint64_t due_ns; /* not before */
};

struct slot { /* a connection to an API and what it is waiting for */
    struct fm_poster *poster;
    uint32_t stream;
    bool busy;
    bool bare; /* the topic goes into the URL, and the body is the payload */
    struct job job;
};

struct fm_publisher {
    struct fm_publisher_config config;
    struct fm_publisher_stats stats;
    struct slot *slots;
    uint32_t slots_n;
    struct job *again; /* a ring of AGAIN_MAX: what is to be published again, in the order in which it is due */
    uint32_t again_at, again_n;
    char headers[512];
    uint32_t turn; /* members: the seat that comes next */
    uint64_t began_ns, progress_ns;
    uint32_t in_flight;
    bool done, busy; /* busy: on the stack already */
    struct fm_buf payload, body, target;
};

/* ---- the window ---- */

static void release(struct fm_publisher *p, struct fm_record *r)
{
    p->in_flight -= r->holds;
    r->holds = false;
}

static void release_all(struct fm_publisher *p)
{
    p->stats.stalled += p->in_flight;
    for (uint32_t t = 0; t < p->config.topics; t++)
        for (uint64_t k = 0; k < p->config.ledgers[t].n; k++)
            release(p, &p->config.ledgers[t].at[k]);
}

/* ---- publishing ---- */

/* A connection that may be used; not to the API `but`, unless there is no other (slots_n: any). */
static struct slot *slot_idle(struct fm_publisher *p, uint32_t but)
{
    for (uint32_t i = 0; i < p->slots_n; i++) {
        uint32_t at = (uint32_t)((p->stats.sent + i) % p->slots_n);
        if (fm_poster_idle(p->slots[at].poster) && (at % p->config.apis_n != but || p->config.apis_n == 1))
            return &p->slots[at];
    }
    return NULL;
}

static uint32_t api_of(const struct fm_publisher *p, const struct slot *s)
{
    return (uint32_t)(s - p->slots) % p->config.apis_n;
}

/* The place among the nodes that clients connect to: only where there is an API for each of them. */
static uint8_t node_of(const struct fm_publisher *p, const struct slot *s)
{
    return p->config.apis_n == p->config.nodes_n ? (uint8_t)api_of(p, s) : FM_NODE_UNKNOWN;
}

static void post_bare(struct fm_publisher *p, struct slot *s, const char *topic)
{
    p->target.n = 0;
    fm_template_put(&p->target, p->config.apis[api_of(p, s)].url.target, fm_slice_str(topic), (struct fm_slice){0});
    fm_buf_u8(&p->target, 0);
    fm_poster_post(s->poster, p->target.failed ? "/" : (const char *)p->target.p, fm_buf_view(&p->payload));
}

static void post(struct fm_publisher *p, struct slot *s)
{
    struct job *j = &s->job;
    char topic[FM_FLEET_TOPIC_MAX];
    fm_fleet_topic(p->config.fleet, j->topic, topic);
    s->busy = true;
    j->attempts++;
    j->api = api_of(p, s);
    p->payload.n = p->body.n = 0;
    fm_stamp_put(&p->payload, &j->stamp, p->config.payload_bytes);
    if (s->bare) {
        post_bare(p, s, topic);
        return;
    }
    fm_buf_printf(&p->body, "{\"topic\":\"%s\",\"event\":\"" FM_LOAD_EVENT "\",\"payload\":", topic);
    fm_buf_slice(&p->body, fm_buf_view(&p->payload));
    if (j->keyed)
        fm_buf_printf(&p->body, ",\"key\":\"%llu\"", (unsigned long long)j->stamp.number);
    fm_buf_str(&p->body, j->replicated ? ",\"ack\":\"replicated\"}" : "}");
    fm_poster_post(s->poster, p->config.apis[j->api].url.target, fm_buf_view(&p->body));
}

/* A share of all, the same in every run, and independent of how messages are dealt out to nodes and topics. */
static bool falls_to(uint64_t n, unsigned which, uint32_t percent)
{
    uint64_t x = (n + 1) * 0x9E3779B97F4A7C15u;
    x ^= x >> 29;
    return (x >> (16 * which)) % 100 < percent;
}

/* The next member that is joined. */
static uint32_t seat_next(struct fm_publisher *p)
{
    uint32_t n = fm_fleet_seats(p->config.fleet);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t seat = p->turn;
        p->turn = (p->turn + 1) % n;
        if (fm_fleet_seat(p->config.fleet, seat).joined)
            return seat;
    }
    return FM_SEAT_NONE;
}

/* One message, stamped with the time at which it was due, so that a publisher held up by the node is not flattered. false: no connection
 * can take it now, or memory is short. */
static bool publish_one(struct fm_publisher *p, uint64_t due_ns)
{
    const struct fm_publisher_config *c = &p->config;
    uint32_t node = (uint32_t)(p->stats.sent % c->nodes_n), topic = (uint32_t)(p->stats.sent / c->nodes_n % c->topics);
    struct slot *slot = c->apis_n ? slot_idle(p, p->slots_n) : NULL;
    uint32_t seat = c->apis_n ? FM_SEAT_NONE : c->members ? seat_next(p) : fm_fleet_publisher(c->fleet, topic, node);
    struct fm_seat_view by = {0};
    if (!slot && seat == FM_SEAT_NONE)
        return false;
    if (!slot)
        by = fm_fleet_seat(c->fleet, seat);
    topic = slot ? topic : by.topic;
    uint32_t stream = slot ? slot->stream : by.stream;
    uint64_t number, n = p->stats.sent;
    if (c->board && fm_board_full(c->board)) {
        p->done = true; /* its size follows from the options; only a run without --messages can come here */
        return false;
    }
    if (fm_ledger_publish(&c->ledgers[topic], stream, slot ? node_of(p, slot) : by.node, &number))
        return false;
    if (c->board)
        fm_board_publish(c->board, &c->ledgers[topic], topic, number);
    if (p->stats.sent++ == c->warmup)
        c->measure(c->ctx, due_ns);
    c->ledgers[topic].at[number].holds = true;
    p->in_flight++;
    struct fm_stamp stamp = {number, stream, topic, due_ns};
    if (!slot) {
        p->payload.n = 0;
        fm_stamp_put(&p->payload, &stamp, c->payload_bytes);
        fm_fleet_push(c->fleet, seat, number, fm_buf_view(&p->payload));
        return true;
    }
    slot->job = (struct job){
        .topic = topic, .replicated = falls_to(n, 1, c->replicated_percent), .keyed = falls_to(n, 2, c->keyed_percent), .stamp = stamp};
    post(p, slot);
    return true;
}

/* ---- publishing again ---- */

/* false: it has no key, or was tried often enough. */
static bool again_later(struct fm_publisher *p, const struct job *j)
{
    if (!j->keyed || j->attempts > p->config.retries || p->again_n == AGAIN_MAX)
        return false;
    struct job *to = &p->again[(p->again_at + p->again_n++) % AGAIN_MAX];
    *to = *j;
    to->due_ns = fm_mono_ns() + AGAIN_NS;
    return true;
}

static void again_due(struct fm_publisher *p, uint64_t now_ns)
{
    while (p->again_n && p->again[p->again_at].due_ns <= now_ns) {
        const struct job *j = &p->again[p->again_at];
        struct slot *s = slot_idle(p, j->api);
        if (!s)
            return;
        s->job = *j;
        p->again_at = (p->again_at + 1) % AGAIN_MAX;
        p->again_n--;
        p->stats.retried++;
        bool counted = fm_ledger_again(&p->config.ledgers[s->job.topic], s->job.stamp.number, node_of(p, s), s->job.maybe);
        assert(counted); /* retries has a lower limit */
        (void)counted;
        post(p, s);
    }
}

/* Publishes what may be published now. Answers and deliveries call it again from inside of it: they find it busy. */
static void pump(struct fm_publisher *p, uint64_t now_ns)
{
    const struct fm_publisher_config *c = &p->config;
    if (p->busy || !p->began_ns)
        return;
    p->busy = true;
    again_due(p, now_ns);
    while (!p->done) {
        bool over = c->duration_ns && now_ns - p->began_ns >= c->duration_ns;
        p->done = over || (c->messages && p->stats.sent >= c->messages + c->warmup);
        uint64_t due_ns = c->rate > 0 ? p->began_ns + (uint64_t)((double)p->stats.sent / c->rate * 1e9) : now_ns;
        bool wait = c->rate > 0 ? due_ns > now_ns : p->in_flight >= c->window;
        if (p->done || wait || !publish_one(p, due_ns))
            break;
    }
    p->busy = false;
    fm_fleet_flush(c->fleet);
}

void fm_publisher_tick(struct fm_publisher *p, uint64_t now_ns)
{
    if (!p->began_ns)
        p->began_ns = p->progress_ns = now_ns;
    (void)fm_publisher_ready(p, now_ns);
    if (p->in_flight == 0)
        p->progress_ns = now_ns;
    if (now_ns - p->progress_ns > p->config.stall_ns && now_ns > p->progress_ns) {
        release_all(p);
        p->progress_ns = now_ns;
    }
    pump(p, now_ns);
}

/* ---- what comes back ---- */

void fm_publisher_taken(struct fm_publisher *p, uint32_t topic, uint64_t number)
{
    p->progress_ns = fm_mono_ns();
    release(p, &p->config.ledgers[topic].at[number]); /* the next one leaves with the tick, with all that this round released */
}

static void refused(struct fm_publisher *p, struct fm_ledger *l, uint64_t number)
{
    p->stats.refused++;
    fm_ledger_refuse(l, number);
    if (p->config.board)
        fm_board_close(p->config.board, &l->at[number]);
}

void fm_publisher_answered(struct fm_publisher *p, uint32_t topic, uint64_t number, bool accepted, struct fm_id id)
{
    struct fm_ledger *l = &p->config.ledgers[topic];
    if (accepted) {
        p->stats.acked++;
        fm_ledger_ack(l, number, id, false, p->config.tally);
        return;
    }
    refused(p, l, number);
    release(p, &l->at[number]);
}

static void unanswered(void *ctx, struct fm_record *r)
{
    struct fm_publisher *p = ctx;
    p->stats.unanswered++;
    release(p, r);
}

void fm_publisher_broken(struct fm_publisher *p, uint32_t topic, uint32_t stream)
{
    fm_ledger_broken(&p->config.ledgers[topic], stream, unanswered, p);
}

/* No more attempts: nobody knows whether one was accepted, or all were refused. */
static void give_up(struct fm_publisher *p, const struct job *j)
{
    struct fm_ledger *l = &p->config.ledgers[j->topic];
    if (j->maybe) {
        p->stats.unanswered++;
        fm_ledger_unanswered(l, j->stamp.number);
    } else {
        refused(p, l, j->stamp.number);
    }
    release(p, &l->at[j->stamp.number]);
}

/* An error with an id says that it was accepted, and only not replicated in time: then it is owed to all, as one that asked for less. */
static void accepted(struct fm_publisher *p, const struct job *j, bool good, struct fm_id id)
{
    p->stats.acked += good;
    p->stats.replicated += good && j->replicated;
    p->stats.unconfirmed += !good;
    fm_ledger_ack(&p->config.ledgers[j->topic], j->stamp.number, id, good && j->replicated, p->config.tally);
}

static void posted(void *ctx, struct fm_poster *poster, unsigned status, struct fm_slice body)
{
    struct fm_publisher *p = ctx;
    struct slot *s = p->slots;
    struct fm_id id = {0};
    while (s->poster != poster)
        s++;
    s->busy = false;
    struct fm_slice text = status && !s->bare ? fm_wire_text(body, "id") : (struct fm_slice){0};
    bool good = status >= 200 && status < 300;
    if (text.n ? fm_id_parse((const char *)text.p, text.n, &id) != FM_OK : good && !s->bare)
        p->config.tally->malformed++;
    if (status && !good)
        p->stats.last_status = status;
    if (status == 0) {
        s->job.maybe = true;
        s->stream = fm_fleet_stream(p->config.fleet);
    }
    if (good || id.origin)
        accepted(p, &s->job, good, id);
    else if (!again_later(p, &s->job))
        give_up(p, &s->job);
    if (status)
        pump(p, fm_mono_ns());
}

/* ---- life ---- */

enum fm_err fm_publisher_new(struct fm_publisher **publisher, const struct fm_publisher_config *config)
{
    struct fm_publisher *p = calloc(1, sizeof *p);
    enum fm_err err = FM_OK;
    *publisher = p;
    if (!p)
        return FM_E_NOMEM;
    p->config = *config;
    assert(config->retries < FM_LEDGER_ATTEMPTS_MAX);
    uint32_t n = config->apis_n * config->api_connections;
    p->slots = n ? calloc(n, sizeof *p->slots) : NULL;
    p->again = n && config->keyed_percent ? calloc(AGAIN_MAX, sizeof *p->again) : NULL;
    if (n && (!p->slots || (config->keyed_percent && !p->again)))
        err = FM_E_NOMEM;
    int used = config->api_key ? snprintf(p->headers, sizeof p->headers, "Authorization: Bearer %s\r\n", config->api_key) : 0;
    if (used < 0 || (size_t)used >= sizeof p->headers)
        err = FM_E_TOO_LARGE;
    for (; !err && p->slots_n < n; p->slots_n += !err) {
        struct slot *s = &p->slots[p->slots_n];
        const struct fm_node *node = &config->apis[p->slots_n % config->apis_n];
        s->stream = fm_fleet_stream(config->fleet);
        s->bare = strstr(node->url.target, FM_TOPIC_MARK);
        err = fm_poster_new(&s->poster,
                            &(struct fm_poster_config){config->loop, node, config->tls, p->headers, config->api_timeout_ms, posted, p});
    }
    if (err)
        fm_publisher_free(publisher);
    return err;
}

void fm_publisher_free(struct fm_publisher **publisher)
{
    struct fm_publisher *p = *publisher;
    if (!p)
        return;
    for (uint32_t i = 0; i < p->slots_n; i++)
        fm_poster_free(&p->slots[i].poster);
    free(p->slots);
    free(p->again);
    fm_buf_fini(&p->payload);
    fm_buf_fini(&p->body);
    fm_buf_fini(&p->target);
    free(p);
    *publisher = NULL;
}

bool fm_publisher_ready(struct fm_publisher *p, uint64_t now_ns)
{
    bool ready = true;
    for (uint32_t i = 0; i < p->slots_n; i++) {
        fm_poster_tick(p->slots[i].poster, now_ns);
        ready = ready && fm_poster_idle(p->slots[i].poster);
    }
    return ready;
}

void fm_publisher_stop(struct fm_publisher *p)
{
    p->done = true;
}

void fm_publisher_settle(struct fm_publisher *p)
{
    for (uint32_t t = 0; t < p->config.topics && p->config.apis_n == 0 && !p->config.answers; t++)
        p->stats.acked += fm_ledger_ack_rest(&p->config.ledgers[t]);
}

bool fm_publisher_pending(const struct fm_publisher *p)
{
    bool any = p->again_n > 0;
    for (uint32_t i = 0; i < p->slots_n; i++)
        any = any || p->slots[i].busy;
    return any;
}

bool fm_publisher_done(const struct fm_publisher *p)
{
    return p->done;
}

const struct fm_publisher_stats *fm_publisher_stats(const struct fm_publisher *p)
{
    return &p->stats;
}
