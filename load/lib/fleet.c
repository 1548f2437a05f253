#include "fleet_state.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CONNECTING_MIN = 256, /* may be under way at once, and BURST_MIN begin at once; at high rates as many as an eighth of a second, and a */
    BURST_MIN = 64,       /* thirtieth, bring */
    SWEEP_NS = 200 * 1000000, /* between two looks for what is overdue */
};

void fm_fleet_topic(const struct fm_fleet *f, uint32_t topic, char out[FM_FLEET_TOPIC_MAX])
{
    snprintf(out, FM_FLEET_TOPIC_MAX, "%s%u", f->config.topic_prefix, topic);
}

uint32_t fm_fleet_stream(struct fm_fleet *f)
{
    return ++f->streams;
}

const struct fm_fleet_stats *fm_fleet_stats(const struct fm_fleet *f)
{
    return &f->stats;
}

uint32_t fm_fleet_draw(struct fm_fleet *f)
{
    f->mask = f->mask * 1664525u + 1013904223u;
    return f->mask;
}

void fm_fleet_away(struct fm_client *c, uint64_t due_ns)
{
    struct fm_fleet *f = c->fleet;
    c->state = AWAY;
    c->since_ns = due_ns;
    c->next = NULL;
    *f->away_end = c;
    f->away_end = &c->next;
}

/* ---- life ---- */

static void client_init(struct fm_fleet *f, uint32_t i, struct fm_ledger *ledgers)
{
    const struct fm_spread *spread = &f->config.spread;
    struct fm_client *c = &f->at[i];
    c->handler.ready = fm_client_ready;
    c->fleet = f;
    c->conn.fd = -1;
    c->node = (uint8_t)fm_spread_node(spread, f->config.first + i);
    for (uint32_t j = 0; j < spread->per_client; j++) {
        struct fm_seat *s = &fm_client_seats(c)[j];
        s->topic = fm_spread_topic(spread, f->config.first + i, j);
        s->view.ledger = &ledgers[s->topic];
        if (!f->config.mute)
            fm_view_init(&s->view, s->view.ledger);
    }
    fm_fleet_away(c, 0);
}

/* Which seats each topic has. */
static void index_make(struct fm_fleet *f)
{
    uint32_t n = fm_fleet_seats(f), topics = f->config.spread.topics;
    uint32_t *starts = f->topic_starts; /* one longer than there are topics, and one more while it is made */
    for (uint32_t i = 0; i < n; i++)
        starts[f->seats[i].topic + 2]++;
    for (uint32_t t = 0; t < topics; t++)
        starts[t + 2] += starts[t + 1];
    for (uint32_t i = 0; i < n; i++)
        f->by_topic[starts[f->seats[i].topic + 1]++] = i;
}

enum fm_err fm_fleet_new(struct fm_fleet **fleet, const struct fm_fleet_config *config, struct fm_ledger *ledgers)
{
    static const uint8_t key[FM_WS_KEY_BYTES] = "fanmesh-load key";
    struct fm_fleet *f = calloc(1, sizeof *f);
    size_t seats = (size_t)config->clients * config->spread.per_client, topics = config->spread.topics;
    *fleet = f;
    if (!f)
        return FM_E_NOMEM;
    f->config = *config;
    f->prefix_n = strlen(config->topic_prefix);
    f->away_end = &f->away;
    f->streams = config->streams;
    f->mask = (uint32_t)fm_mono_ns();
    fm_ws_key_make(&f->key, key);
    f->at = calloc(config->clients, sizeof *f->at);
    f->seats = calloc(seats, sizeof *f->seats);
    f->by_topic = calloc(seats, sizeof *f->by_topic);
    f->topic_starts = calloc(topics + 2, sizeof *f->topic_starts);
    f->picks = calloc(topics * config->nodes_n, sizeof *f->picks);
    f->read = malloc(READ_BYTES + REST_MAX);
    if (!f->at || !f->seats || !f->by_topic || !f->topic_starts || !f->picks || !f->read) {
        fm_fleet_free(fleet);
        return FM_E_NOMEM;
    }
    for (uint32_t i = 0; i < config->clients; i++)
        client_init(f, i, ledgers);
    index_make(f);
    return FM_OK;
}

void fm_fleet_free(struct fm_fleet **fleet)
{
    struct fm_fleet *f = *fleet;
    if (!f)
        return;
    for (uint32_t i = 0; f->at && i < f->config.clients; i++) {
        struct fm_client *c = &f->at[i];
        if (c->fleet)
            fm_conn_close(&c->conn);
        fm_buf_fini(&c->rest);
        fm_buf_fini(&c->parts);
        fm_buf_fini(&c->tail);
        fm_buf_fini(&c->out);
    }
    for (uint32_t i = 0; f->seats && i < fm_fleet_seats(f); i++)
        fm_view_fini(&f->seats[i].view);
    fm_buf_fini(&f->text);
    fm_buf_fini(&f->frame);
    free(f->at);
    free(f->seats);
    free(f->by_topic);
    free(f->topic_starts);
    free(f->picks);
    free(f->read);
    free(f);
    *fleet = NULL;
}

void fm_fleet_judge(struct fm_fleet *f, const struct fm_gone *gone)
{
    for (uint32_t i = 0; i < fm_fleet_seats(f); i++)
        fm_view_finish(&f->seats[i].view, gone, f->config.tally);
}

/* ---- what is due ---- */

static void connects_due(struct fm_fleet *f, uint64_t now_ns)
{
    uint32_t rate = f->config.connect_rate, burst = rate / 30 > BURST_MIN ? rate / 30 : BURST_MIN;
    uint32_t most = rate / 8 > CONNECTING_MIN ? rate / 8 : CONNECTING_MIN;
    if (rate == 0)
        burst = most = f->config.clients;
    if (f->config.connecting_max)
        most = f->config.connecting_max;
    f->tokens += rate ? (double)(now_ns - f->ticked_ns) * 1e-9 * rate : burst;
    if (f->tokens > burst)
        f->tokens = burst;
    while (!f->held && f->away && f->away->since_ns <= now_ns && f->tokens >= 1 && f->connecting < most) {
        struct fm_client *c = f->away;
        f->away = c->next;
        if (!f->away)
            f->away_end = &f->away;
        f->tokens -= 1;
        fm_client_connect(c, now_ns);
    }
}

/* The framing's own heartbeat, or WebSocket's. */
static void beat(struct fm_client *c, uint64_t now_ns)
{
    struct fm_fleet *f = c->fleet;
    c->beat_ns = c->beat_ns ? c->beat_ns : now_ns;
    f->text.n = 0;
    if (!f->config.framing->beat) {
        fm_client_control(c, FM_WS_PING, (struct fm_slice){0});
        return;
    }
    f->config.framing->beat(&f->text);
    fm_client_say(c);
}

/* Heartbeats are spread evenly: client i's comes i/n of the interval after the first one's. */
static void heartbeats_due(struct fm_fleet *f, uint64_t now_ns)
{
    if (!f->config.heartbeat_ms || f->config.framing->carrier == FM_CARRIER_HTTP)
        return;
    if (!f->beats_since_ns)
        f->beats_since_ns = now_ns;
    double due = (double)(now_ns - f->beats_since_ns) / (f->config.heartbeat_ms * 1e6) * f->config.clients;
    for (; (double)f->beats < due; f->beats++) {
        struct fm_client *c = &f->at[f->beats % f->config.clients];
        if (c->state == JOINED)
            beat(c, now_ns);
    }
}

/* A node that is frozen, or behind a link that leads nowhere, keeps its connections open: what shows it is silence, as for phoenix.js. */
static bool overdue(const struct fm_client *c, uint64_t now_ns)
{
    const struct fm_fleet_config *config = &c->fleet->config;
    if (c->state == JOINED)
        return c->beat_ns && now_ns - c->beat_ns > config->beat_timeout_ms * 1000000ull;
    return c->state != AWAY && now_ns - c->since_ns > config->timeout_ms * 1000000ull;
}

static void timeouts_due(struct fm_fleet *f, uint64_t now_ns)
{
    /* Was it this program that slept? Then answers may lie there unread. */
    if (now_ns - f->swept_ns < SWEEP_NS || now_ns - f->ticked_ns > SWEEP_NS)
        return;
    f->swept_ns = now_ns;
    for (uint32_t i = 0; i < f->config.clients; i++) {
        struct fm_client *c = &f->at[i];
        if (!overdue(c, now_ns))
            continue;
        f->stats.silent += c->state == JOINED;
        fm_client_drop(c);
    }
}

void fm_fleet_tick(struct fm_fleet *f, uint64_t now_ns)
{
    if (!f->ticked_ns)
        f->ticked_ns = now_ns;
    connects_due(f, now_ns);
    heartbeats_due(f, now_ns);
    timeouts_due(f, now_ns);
    f->ticked_ns = now_ns;
}

/* ---- storms ---- */

void fm_fleet_hold(struct fm_fleet *f, bool hold)
{
    f->held = hold;
}

void fm_fleet_rate(struct fm_fleet *f, uint32_t connect_rate)
{
    f->config.connect_rate = connect_rate;
}

uint32_t fm_fleet_cut(struct fm_fleet *f, uint32_t first, uint32_t n)
{
    uint32_t end = first + n < f->config.clients ? first + n : f->config.clients;
    for (uint32_t i = first; i < end; i++)
        if (f->at[i].state != AWAY)
            fm_client_drop(&f->at[i]);
    return end - first;
}

/* ---- publishing ---- */

uint32_t fm_fleet_clients(const struct fm_fleet *f)
{
    return f->config.clients;
}

uint32_t fm_fleet_seats(const struct fm_fleet *f)
{
    return f->config.clients * f->config.spread.per_client;
}

static struct fm_client *client_of(const struct fm_fleet *f, uint32_t seat)
{
    return &f->at[seat / f->config.spread.per_client];
}

struct fm_seat_view fm_fleet_seat(const struct fm_fleet *f, uint32_t seat)
{
    const struct fm_client *c = client_of(f, seat);
    const struct fm_seat *s = &f->seats[seat];
    return (struct fm_seat_view){s->topic, c->stream, c->node, s->joined && c->state == JOINED};
}

uint32_t fm_fleet_publisher(struct fm_fleet *f, uint32_t topic, uint32_t node)
{
    uint32_t *pick = &f->picks[topic * f->config.nodes_n + node], other = FM_SEAT_NONE;
    if (f->config.clients == 0)
        return FM_SEAT_NONE;
    struct fm_seat_view v = fm_fleet_seat(f, *pick);
    if (v.topic == topic && v.node == node && v.joined)
        return *pick;
    for (uint32_t i = f->topic_starts[topic]; i < f->topic_starts[topic + 1]; i++) {
        uint32_t seat = f->by_topic[i];
        v = fm_fleet_seat(f, seat);
        if (!v.joined)
            continue;
        other = seat;
        if (v.node == node)
            return *pick = seat;
    }
    return other;
}

void fm_fleet_push(struct fm_fleet *f, uint32_t seat, uint64_t number, struct fm_slice payload)
{
    struct fm_client *c = client_of(f, seat);
    struct fm_seat *s = &f->seats[seat];
    const struct fm_framing *framing = f->config.framing;
    char topic[FM_FLEET_TOPIC_MAX];
    fm_fleet_topic(f, s->topic, topic);
    f->text.n = 0;
    framing->push(&f->text, &f->config.speech, fm_slice_str(topic), number, payload);
    s->unanswered++;
    if (c->out.n == 0) {
        c->next_pushed = f->pushed;
        f->pushed = c;
    }
    fm_ws_frame_put(&c->out, framing->kind, fm_buf_view(&f->text), fm_fleet_draw(f));
}

/* A client that was dropped since, or waits for the kernel already, has nothing to send here. */
void fm_fleet_flush(struct fm_fleet *f)
{
    while (f->pushed) {
        struct fm_client *c = f->pushed;
        f->pushed = c->next_pushed;
        if (c->state == JOINED && !c->waits_out && c->out.n)
            fm_client_flush(c);
    }
}
