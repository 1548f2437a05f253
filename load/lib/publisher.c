#include "publisher.h"

#include <stdio.h>
#include <stdlib.h>

struct slot { /* a connection to an API and what it is waiting for */
    struct fm_poster *poster;
    uint32_t topic, stream;
    uint64_t number;
};

struct fm_publisher {
    struct fm_publisher_config config;
    struct fm_publisher_stats stats;
    struct slot *slots;
    uint32_t slots_n;
    char headers[512];
    uint64_t began_ns, progress_ns;
    uint32_t in_flight;
    bool done, busy; /* busy: on the stack already */
    struct fm_buf payload, body;
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

static struct slot *slot_idle(struct fm_publisher *p)
{
    for (uint32_t i = 0; i < p->slots_n; i++) {
        struct slot *s = &p->slots[(p->stats.sent + i) % p->slots_n];
        if (fm_poster_idle(s->poster))
            return s;
    }
    return NULL;
}

static void post(struct fm_publisher *p, struct slot *s)
{
    char topic[FM_FLEET_TOPIC_MAX];
    fm_fleet_topic(p->config.fleet, s->topic, topic);
    p->body.n = 0;
    fm_buf_printf(&p->body, "{\"topic\":\"%s\",\"event\":\"" FM_LOAD_EVENT "\",\"payload\":", topic);
    fm_buf_slice(&p->body, fm_buf_view(&p->payload));
    fm_buf_str(&p->body, p->config.replicated ? ",\"ack\":\"replicated\"}" : "}");
    fm_poster_post(s->poster, fm_buf_view(&p->body));
}

/* One message, stamped with the time at which it was due, so that a publisher held up by the node is not flattered. false: no connection
 * can take it now, or memory is short. */
static bool publish_one(struct fm_publisher *p, uint64_t due_ns)
{
    const struct fm_publisher_config *c = &p->config;
    uint32_t node = (uint32_t)(p->stats.sent % c->nodes_n), topic = (uint32_t)(p->stats.sent / c->nodes_n % c->topics);
    struct slot *slot = c->apis_n ? slot_idle(p) : NULL;
    struct fm_client *client = c->apis_n ? NULL : fm_fleet_publisher(c->fleet, topic, node);
    if (!slot && !client)
        return false;
    uint32_t stream = slot ? slot->stream : fm_client_stream(client);
    uint64_t number;
    if (fm_ledger_publish(&c->ledgers[topic], stream, &number))
        return false;
    if (p->stats.sent++ == c->warmup)
        c->measure(c->ctx);
    c->ledgers[topic].at[number].holds = true;
    p->in_flight++;
    p->payload.n = 0;
    fm_stamp_put(&p->payload, &(struct fm_stamp){number, stream, due_ns}, c->payload_bytes);
    if (client) {
        fm_client_push(client, number, fm_buf_view(&p->payload));
        return true;
    }
    slot->topic = topic;
    slot->number = number;
    post(p, slot);
    return true;
}

/* Publishes what may be published now. Answers and deliveries call it again from inside of it: they find it busy. */
static void pump(struct fm_publisher *p, uint64_t now_ns)
{
    const struct fm_publisher_config *c = &p->config;
    if (p->busy || p->done || !p->began_ns)
        return;
    p->busy = true;
    for (;;) {
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

void fm_publisher_taken(struct fm_publisher *p, uint32_t topic, uint64_t number, bool last)
{
    if (!last)
        return;
    p->progress_ns = fm_loop_now_ns();
    release(p, &p->config.ledgers[topic].at[number]); /* the next one leaves with the tick, with all that this round released */
}

void fm_publisher_answered(struct fm_publisher *p, uint32_t topic, uint64_t number, bool accepted, struct fm_id id)
{
    struct fm_ledger *l = &p->config.ledgers[topic];
    if (accepted) {
        p->stats.acked++;
        fm_ledger_ack(l, number, id, p->config.tally);
        return;
    }
    p->stats.refused++;
    fm_ledger_refuse(l, number);
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

static void posted(void *ctx, struct fm_poster *poster, unsigned status, struct fm_slice body)
{
    struct fm_publisher *p = ctx;
    struct slot *s = p->slots;
    struct fm_id id = {0};
    while (s->poster != poster)
        s++;
    if (status == 0) {
        fm_publisher_broken(p, s->topic, s->stream);
        s->stream = fm_fleet_stream(p->config.fleet);
        return;
    }
    struct fm_slice text = fm_wire_text(body, "id");
    bool good = status >= 200 && status < 300;
    if (text.n ? fm_id_parse((const char *)text.p, text.n, &id) != FM_OK : good)
        p->config.tally->malformed++;
    if (!good)
        p->stats.last_status = status;
    /* An error with an id: it was accepted, and only not confirmed as was wished. */
    fm_publisher_answered(p, s->topic, s->number, good || id.origin, id);
    pump(p, fm_loop_now_ns());
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
    uint32_t n = config->apis_n * config->api_connections;
    if (n && !(p->slots = calloc(n, sizeof *p->slots)))
        err = FM_E_NOMEM;
    int used = config->api_key ? snprintf(p->headers, sizeof p->headers, "Authorization: Bearer %s\r\n", config->api_key) : 0;
    if (used < 0 || (size_t)used >= sizeof p->headers)
        err = FM_E_TOO_LARGE;
    for (; !err && p->slots_n < n; p->slots_n += !err) {
        struct slot *s = &p->slots[p->slots_n];
        const struct fm_node *node = &config->apis[p->slots_n % config->apis_n];
        s->stream = fm_fleet_stream(config->fleet);
        err = fm_poster_new(&s->poster, &(struct fm_poster_config){config->loop, node, p->headers, posted, p});
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
    fm_buf_fini(&p->payload);
    fm_buf_fini(&p->body);
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

bool fm_publisher_done(const struct fm_publisher *p)
{
    return p->done;
}

const struct fm_publisher_stats *fm_publisher_stats(const struct fm_publisher *p)
{
    return &p->stats;
}
