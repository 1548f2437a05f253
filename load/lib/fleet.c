#include "fleet_state.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 256 * 1024,
    MESSAGE_MAX = 1024 * 1024,
    CONNECTING_MIN = 256, /* may be under way at once, and BURST_MIN begin at once; at high rates as many as an eighth of a second, and a */
    BURST_MIN = 64,       /* thirtieth, bring */
    AWAY_NS = 50 * 1000000,   /* before connecting again: this, and up to as much more */
    SWEEP_NS = 200 * 1000000, /* between two looks for what is overdue */
};

/* ---- nodes ---- */

enum fm_err fm_node_parse(struct fm_slice text, const char *scheme, struct fm_node *node)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list;
    enum fm_err err = fm_url_parse(text, scheme, &node->url);
    if (err)
        return err;
    if (getaddrinfo(node->url.host, node->url.port, &hints, &list) != 0)
        return FM_E_ADDRESS;
    memcpy(&node->address, list->ai_addr, sizeof node->address);
    freeaddrinfo(list);
    return FM_OK;
}

int fm_node_connect(const struct fm_node *node, uint32_t source)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + source)};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    bool bound = source == 0 || bind(fd, (struct sockaddr *)&from, sizeof from) == 0;
    if (bound && (connect(fd, (const struct sockaddr *)&node->address, sizeof node->address) == 0 || errno == EINPROGRESS))
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* ---- leaving and coming back ---- */

static void away_put(struct fm_client *c, uint64_t due_ns)
{
    struct fm_fleet *f = c->fleet;
    c->state = AWAY;
    c->since_ns = due_ns;
    c->next = NULL;
    *f->away_end = c;
    f->away_end = &c->next;
}

static uint32_t draw(struct fm_fleet *f)
{
    f->mask = f->mask * 1664525u + 1013904223u;
    return f->mask;
}

/* The connection is over; the client goes to another node after a short, spread-out rest. */
static void client_drop(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    assert(c->state != AWAY);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->waits_out = false;
    c->rest.n = c->out.n = 0;
    fm_buf_fini(&c->parts);
    if (c->state == JOINED) {
        f->stats.joined--;
        c->lost_ns = c->lost_ns ? c->lost_ns : fm_loop_now_ns();
        if (c->unanswered)
            f->config.broken(f->config.ctx, c->topic, c->stream);
        c->unanswered = 0;
    } else {
        f->stats.connect_failures++;
        f->connecting--;
    }
    /* Drawn, as by a balancer: going to the next one in turn, all would stand on the node that was restarted last but one. */
    if (f->config.nodes_n > 1)
        c->node = (uint8_t)((c->node + 1 + (draw(f) >> 16) % (f->config.nodes_n - 1)) % f->config.nodes_n);
    away_put(c, fm_loop_now_ns() + AWAY_NS + draw(f) % AWAY_NS);
}

static void client_connect(struct fm_client *c, uint64_t now_ns)
{
    struct fm_fleet *f = c->fleet;
    uint32_t source = (uint32_t)(c - f->at) % f->config.sources;
    c->state = CONNECTING;
    c->since_ns = now_ns;
    c->ws = (struct fm_ws_in){.message_max = MESSAGE_MAX};
    c->stream = fm_fleet_stream(f);
    fm_view_connects(&c->view, c->node);
    c->beat_ns = 0;
    f->connecting++;
    f->stats.connects++;
    c->fd = fm_node_connect(&f->config.nodes[c->node], source);
    if (c->fd < 0 || fm_loop_add(f->config.loop, c->fd, EPOLLOUT, &c->handler)) {
        f->stats.last_errno = errno;
        client_drop(c);
    }
}

/* ---- sending ---- */

static void client_send(struct fm_client *c, struct fm_slice bytes)
{
    ssize_t n = 0;
    if (!c->waits_out && c->out.n == 0) {
        n = send(c->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n == (ssize_t)bytes.n || (n < 0 && errno != EAGAIN))
            return; /* a broken connection is dropped by its next event */
        c->waits_out = true;
        fm_loop_change(c->fleet->config.loop, c->fd, EPOLLIN | EPOLLOUT, &c->handler);
    }
    size_t done = n > 0 ? (size_t)n : 0;
    fm_buf_put(&c->out, bytes.p + done, bytes.n - done);
}

/* A broken connection is dropped by its next event. */
static void client_flush(struct fm_client *c)
{
    ssize_t n = c->out.n ? send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN)
        return;
    size_t done = n > 0 ? (size_t)n : 0;
    bool waited = c->waits_out;
    c->out.n -= done;
    if (c->out.n)
        memmove(c->out.p, c->out.p + done, c->out.n);
    c->waits_out = c->out.n > 0;
    if (c->waits_out != waited)
        fm_loop_change(c->fleet->config.loop, c->fd, EPOLLIN | (c->waits_out ? EPOLLOUT : 0), &c->handler);
}

void fm_client_send_frame(struct fm_client *c, enum fm_ws_kind kind, struct fm_slice payload)
{
    struct fm_fleet *f = c->fleet;
    f->frame.n = 0;
    fm_ws_frame_put(&f->frame, kind, payload, draw(f));
    client_send(c, fm_buf_view(&f->frame));
}

static void client_upgrade(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) || err) {
        f->stats.last_errno = err;
        client_drop(c);
        return;
    }
    c->state = UPGRADING;
    fm_loop_change(f->config.loop, c->fd, EPOLLIN, &c->handler);
    f->frame.n = 0;
    fm_ws_request_put(&f->frame, &f->config.nodes[c->node].url, &f->key, (struct fm_slice){0});
    client_send(c, fm_buf_view(&f->frame));
}

static void client_join(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    char topic[FM_FLEET_TOPIC_MAX];
    fm_fleet_topic(f, c->topic, topic);
    c->state = JOINING;
    f->text.n = 0;
    fm_buf_printf(&f->text, "[\"j\",\"j\",\"%s\",\"phx_join\",{", topic);
    if (!f->config.plain) {
        fm_buf_str(&f->text, "\"cursor\":");
        fm_vector_json(&f->text, &c->view.at);
    }
    fm_buf_str(&f->text, "}]");
    fm_client_send_frame(c, FM_WS_TEXT, fm_buf_view(&f->text));
}

void fm_client_push(struct fm_client *c, uint64_t number, struct fm_slice payload)
{
    struct fm_fleet *f = c->fleet;
    char topic[FM_FLEET_TOPIC_MAX];
    fm_fleet_topic(f, c->topic, topic);
    f->text.n = 0;
    fm_buf_printf(&f->text, "[\"j\",\"%llu\",\"%s\",\"" FM_LOAD_EVENT "\",", (unsigned long long)number, topic);
    fm_buf_slice(&f->text, payload);
    fm_buf_u8(&f->text, ']');
    c->unanswered++;
    if (c->out.n == 0) {
        c->next_pushed = f->pushed;
        f->pushed = c;
    }
    fm_ws_frame_put(&c->out, FM_WS_TEXT, fm_buf_view(&f->text), draw(f));
}

/* A client that was dropped since, or waits for the kernel already, has nothing to send here. */
void fm_fleet_flush(struct fm_fleet *f)
{
    while (f->pushed) {
        struct fm_client *c = f->pushed;
        f->pushed = c->next_pushed;
        if (c->state == JOINED && !c->waits_out && c->out.n)
            client_flush(c);
    }
}

/* ---- receiving ---- */

/* Reads frames off in[*at..); false: the connection is over. */
static bool frames_take(struct fm_client *c, struct fm_slice in, size_t *at)
{
    struct fm_rd r = fm_rd_of(fm_slice_of(in.p + *at, in.n - *at));
    for (;;) {
        struct fm_ws_event e;
        enum fm_err err = fm_ws_next(&c->ws, &r, &c->parts, &e);
        *at = (size_t)(r.p - in.p);
        if (err == FM_E_SHORT)
            return true;
        if (err) {
            c->fleet->config.tally->malformed++;
            return false;
        }
        if (e.kind == FM_WS_CLOSE) {
            c->fleet->stats.last_close = e.code;
            return false;
        }
        if (e.kind == FM_WS_PING)
            fm_client_send_frame(c, FM_WS_PONG, e.payload);
        if (e.kind == FM_WS_TEXT && !fm_client_text(c, e.payload))
            return false;
        if (e.kind == FM_WS_BINARY)
            c->fleet->config.tally->malformed++; /* none is published here */
    }
}

/* The answer to the upgrade at in; *at moves behind it. false: it is a refusal. */
static bool upgrade_take(struct fm_client *c, struct fm_slice in, size_t *at)
{
    struct fm_ws_answer answer;
    enum fm_err err = fm_ws_answer_read(in, &c->fleet->key, &answer);
    if (err == FM_E_SHORT)
        return true;
    if (err) {
        c->fleet->stats.last_status = answer.status;
        return false;
    }
    *at = answer.used;
    client_join(c);
    return true;
}

/* false: the connection is over. */
static bool client_read(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    size_t n = c->rest.n, at = 0;
    if (n)
        memcpy(f->read, c->rest.p, n);
    ssize_t got = recv(c->fd, f->read + n, READ_BYTES, 0);
    if (got <= 0) {
        if (got < 0)
            f->stats.last_errno = errno;
        return got < 0 && errno == EAGAIN;
    }
    struct fm_slice in = fm_slice_of(f->read, n + (size_t)got);
    if (c->state == UPGRADING && !upgrade_take(c, in, &at))
        return false;
    if (c->state != UPGRADING && !frames_take(c, in, &at))
        return false;
    c->rest.n = 0;
    assert(in.n - at <= MESSAGE_MAX + 16);
    fm_buf_put(&c->rest, f->read + at, in.n - at);
    if (c->rest.n == 0 && c->rest.cap)
        fm_buf_fini(&c->rest);
    return !c->rest.failed;
}

static void client_ready(struct fm_handler *h, uint32_t events)
{
    struct fm_client *c = (struct fm_client *)h;
    if (c->state == AWAY)
        return;
    if (c->state == CONNECTING) {
        client_upgrade(c);
        return;
    }
    if (events & EPOLLOUT)
        client_flush(c);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !client_read(c))
        client_drop(c);
}

/* ---- the fleet ---- */

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

uint32_t fm_client_stream(const struct fm_client *c)
{
    return c->stream;
}

uint8_t fm_client_node(const struct fm_client *c)
{
    return c->node;
}

enum fm_err fm_fleet_new(struct fm_fleet **fleet, const struct fm_fleet_config *config, struct fm_ledger *ledgers)
{
    static const uint8_t key[FM_WS_KEY_BYTES] = "fanmesh-load key";
    struct fm_fleet *f = calloc(1, sizeof *f);
    *fleet = f;
    if (!f)
        return FM_E_NOMEM;
    f->config = *config;
    f->away_end = &f->away;
    f->mask = (uint32_t)fm_loop_now_ns();
    fm_ws_key_make(&f->key, key);
    f->at = calloc(config->clients, sizeof *f->at);
    f->picks = calloc((size_t)config->topics * config->nodes_n, sizeof *f->picks);
    f->read = malloc(READ_BYTES + MESSAGE_MAX + 16);
    if (!f->at || !f->picks || !f->read) {
        fm_fleet_free(fleet);
        return FM_E_NOMEM;
    }
    for (uint32_t i = 0; i < config->clients; i++) {
        struct fm_client *c = &f->at[i];
        c->handler.ready = client_ready;
        c->fleet = f;
        c->fd = -1;
        bool few = config->clients < config->topics * config->nodes_n; /* a topic's clients are on different nodes all the same */
        c->node = (uint8_t)((few ? i + i / config->topics : i) % config->nodes_n);
        c->topic = (few ? i : i / config->nodes_n) % config->topics;
        fm_view_init(&c->view, &ledgers[c->topic]);
        away_put(c, 0);
    }
    return FM_OK;
}

void fm_fleet_free(struct fm_fleet **fleet)
{
    struct fm_fleet *f = *fleet;
    if (!f)
        return;
    for (uint32_t i = 0; f->at && i < f->config.clients; i++) {
        struct fm_client *c = &f->at[i];
        if (c->fleet && c->fd >= 0)
            close(c->fd);
        fm_buf_fini(&c->rest);
        fm_buf_fini(&c->parts);
        fm_buf_fini(&c->out);
        fm_view_fini(&c->view);
    }
    fm_buf_fini(&f->text);
    fm_buf_fini(&f->frame);
    free(f->at);
    free(f->picks);
    free(f->read);
    free(f);
    *fleet = NULL;
}

static void connects_due(struct fm_fleet *f, uint64_t now_ns)
{
    uint32_t rate = f->config.connect_rate, burst = rate / 30 > BURST_MIN ? rate / 30 : BURST_MIN;
    uint32_t most = rate / 8 > CONNECTING_MIN ? rate / 8 : CONNECTING_MIN;
    f->tokens += (double)(now_ns - f->ticked_ns) * 1e-9 * rate;
    if (f->tokens > burst)
        f->tokens = burst;
    while (f->away && f->away->since_ns <= now_ns && f->tokens >= 1 && f->connecting < most) {
        struct fm_client *c = f->away;
        f->away = c->next;
        if (!f->away)
            f->away_end = &f->away;
        f->tokens -= 1;
        client_connect(c, now_ns);
    }
}

/* Heartbeats are spread evenly: client i's comes i/n of the interval after the first one's. */
static void heartbeats_due(struct fm_fleet *f, uint64_t now_ns)
{
    if (!f->config.heartbeat_ms)
        return;
    if (!f->beats_since_ns)
        f->beats_since_ns = now_ns;
    double due = (double)(now_ns - f->beats_since_ns) / (f->config.heartbeat_ms * 1e6) * f->config.clients;
    for (; (double)f->beats < due; f->beats++) {
        struct fm_client *c = &f->at[f->beats % f->config.clients];
        if (c->state != JOINED)
            continue;
        c->beat_ns = c->beat_ns ? c->beat_ns : now_ns;
        fm_client_send_frame(c, FM_WS_TEXT, FM_LIT("[null,\"h\",\"phoenix\",\"heartbeat\",{}]"));
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
        client_drop(c);
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

struct fm_client *fm_fleet_publisher(struct fm_fleet *f, uint32_t topic, uint32_t node)
{
    struct fm_client *other = NULL;
    uint32_t *pick = &f->picks[topic * f->config.nodes_n + node], n = f->config.clients, nodes = f->config.nodes_n;
    struct fm_client *c = &f->at[*pick];
    if (c->topic == topic && c->node == node && c->state == JOINED)
        return c;
    /* The topic's clients stand in blocks of one for each node they began on. */
    for (uint32_t block = topic * nodes; block < n; block += f->config.topics * nodes) {
        for (uint32_t i = block; i < block + nodes && i < n; i++) {
            c = &f->at[i];
            if (c->state != JOINED)
                continue;
            other = c;
            if (c->node == node) {
                *pick = i;
                return c;
            }
        }
    }
    return other;
}

void fm_fleet_judge(struct fm_fleet *f, const struct fm_gone *gone)
{
    for (uint32_t i = 0; i < f->config.clients; i++)
        fm_view_finish(&f->at[i].view, gone, f->config.tally);
}
