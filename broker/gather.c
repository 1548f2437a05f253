/* Questions about clients (inquiry.h): this node's workers are asked, and the other nodes' hubs, who ask theirs; what they find is put
 * together until all have answered or the time is over. The answer names every node that did not: a count without them is not the
 * cluster's.
 *
 * What a command did is known only where it has come, so such a question waits for that first. The workers' answers come behind what was
 * posted to them before, and so behind the command. */
#include "hub_core.h"
#include "command.h"
#include "inquiry.h"

#include <assert.h>
#include <stdlib.h>

enum {
    GATHERS_MAX = 64, /* under way at once, */
    REPORTS_MAX = 64, /* ... and as many besides that only the log waits for, */
    REPORT_MS = 1000, /* ... which it does so long */
    OTHERS_PART = 4,  /* of the time limit, by which other nodes answer sooner, so that what they have found still arrives */
};

enum state { WAITING, ANSWERED, MISSING };

struct gathered { /* from one node */
    uint64_t incarnation, ask, counter;
    enum state state;
    const char *why; /* MISSING; static */
    uint64_t count;
    char name[FM_NAME_MAX + 1];
};

struct fm_gather {
    struct fm_gather *next;
    uint64_t id;
    struct fm_inquiry ask;  /* its texts lie behind it */
    struct fm_query *query; /* of our API; NULL: another node asks, */
    bool told, fresh;       /* ... or the log does: fm_command_report */
    uint32_t command;       /* ... about one of this kind */
    uint64_t handle;
    struct fm_env_bind bind;
    uint64_t workers; /* bit i: worker i has yet to answer */
    bool asked;       /* the workers are */
    bool failed;      /* one had no memory */
    uint64_t due_ms;
    struct fm_found found;
    uint32_t nodes_n; /* the first is this one */
    struct gathered nodes[FM_PEERS_MAX + 1];
    uint8_t text[];
};

/* ---- life ---- */

static struct fm_gather *gather_new(struct fm_hub *h, const struct fm_inquiry *ask, bool told)
{
    uint32_t n = 0;
    for (const struct fm_gather *g = h->gathers; g; g = g->next)
        n += g->told == told;
    struct fm_gather *g = n < (told ? REPORTS_MAX : GATHERS_MAX) ? calloc(1, sizeof *g + ask->user.n + ask->topic.n) : NULL;
    if (!g)
        return NULL;
    g->id = ++h->next_ask;
    g->told = told;
    g->ask = *ask;
    if (ask->user.n)
        memcpy(g->text, ask->user.p, ask->user.n);
    if (ask->topic.n)
        memcpy(g->text + ask->user.n, ask->topic.p, ask->topic.n);
    g->ask.user = fm_slice_of(g->text, ask->user.n);
    g->ask.topic = fm_slice_of(g->text + ask->user.n, ask->topic.n);
    g->nodes[g->nodes_n++] = (struct gathered){.incarnation = h->self->id};
    fm_text_copy(g->nodes[0].name, sizeof g->nodes[0].name, fm_slice_str(h->config.name));
    g->next = h->gathers;
    h->gathers = g;
    return g;
}

static void gather_free(struct fm_hub *h, struct fm_gather *g)
{
    struct fm_gather **at = &h->gathers;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    fm_found_fini(&g->found);
    if (g->query)
        fm_query_free(&g->query);
    free(g);
}

/* ---- this node's workers ---- */

static struct fm_topic *commands_topic(struct fm_hub *h)
{
    return fm_topic_find(h, FM_COMMAND_TOPIC);
}

/* Has the command come here? */
static bool has_come(struct fm_hub *h, struct fm_id command)
{
    const struct fm_topic *t = commands_topic(h);
    const struct fm_origin *o = fm_origin_find(h, command.origin);
    return t && o && fm_topic_last(t, o) >= command.seq;
}

static struct fm_inquire *inquire_new(const struct fm_gather *g, unsigned worker)
{
    struct fm_inquire *q = calloc(1, sizeof *q + g->ask.user.n + g->ask.topic.n);
    if (!q)
        return NULL;
    q->item.kind = FM_HUB_INQUIRE;
    q->item.cost = (uint32_t)(sizeof *q + g->ask.user.n + g->ask.topic.n);
    q->worker = worker;
    q->gather = g->id;
    q->what = g->ask.kind;
    q->limit = g->ask.limit;
    q->after = g->ask.after;
    q->command = g->ask.command;
    q->user_n = (uint32_t)g->ask.user.n;
    q->topic_n = (uint32_t)g->ask.topic.n;
    memcpy(q->text, g->text, g->ask.user.n + g->ask.topic.n);
    return q;
}

/* Those that take commands are those that have clients. */
static void workers_ask(struct fm_hub *h, struct fm_gather *g)
{
    const struct fm_topic *t = commands_topic(h);
    g->asked = true;
    for (uint64_t left = t ? t->interest : 0; left; left &= left - 1) {
        unsigned worker = (unsigned)__builtin_ctzll(left);
        struct fm_inquire *q = inquire_new(g, worker);
        g->failed |= !q;
        if (!q)
            continue;
        g->workers |= 1ull << worker;
        fm_hub_out(h, worker, &q->item);
    }
}

void fm_inquire_handle(struct fm_hub *h, struct fm_inquire *q)
{
    struct fm_gather *g = h->gathers;
    while (g && g->id != q->gather)
        g = g->next;
    if (g && (g->workers >> q->worker & 1)) {
        g->workers &= ~(1ull << q->worker);
        g->failed |= q->failed || fm_found_merge(&g->found, &q->found, g->ask.limit) != FM_OK;
        g->nodes[0].count += q->found.count;
    }
    fm_inquire_free(&q);
}

/* ---- other nodes ---- */

static void missing(struct gathered *node, const char *why)
{
    node->state = MISSING;
    node->why = why;
}

static void peer_ask(struct fm_hub *h, struct fm_gather *g, struct gathered *node, const struct fm_peer *p)
{
    if (!p->alive || !p->met || !p->ask[0] || !h->port.bus_ops) {
        missing(node, "it is out of reach");
        return;
    }
    struct fm_inquiry ask = g->ask;
    ask.timeout_ms -= ask.timeout_ms / OTHERS_PART;
    h->scratch.n = 0;
    fm_inquiry_write(&h->scratch, &ask);
    node->ask = ++h->next_ask;
    bool sent = !h->scratch.failed &&
                fm_seal_close(h->config.seal, FM_PLANE_ASK, (struct fm_env_bind){0}, fm_buf_view(&h->scratch), &h->sealed,
                              &node->counter) == FM_OK &&
                h->port.bus_ops->ask(h->port.bus, p->ask, node->ask, fm_buf_view(&h->sealed), g->ask.timeout_ms) == FM_OK;
    h->scratch.failed = false;
    if (!sent)
        missing(node, "it could not be asked");
}

static void peers_ask(struct fm_hub *h, struct fm_gather *g)
{
    for (uint32_t i = 0; i < h->peers_n; i++) {
        const struct fm_peer *p = &h->peers[i];
        if (p->left)
            continue;
        struct gathered *node = &g->nodes[g->nodes_n++];
        node->incarnation = p->incarnation;
        fm_text_copy(node->name, sizeof node->name, fm_slice_str(p->name));
        peer_ask(h, g, node, p);
    }
}

static struct gathered *asked_of(struct fm_hub *h, uint64_t ask, struct fm_gather **gp)
{
    for (struct fm_gather *g = h->gathers; g; g = g->next)
        for (uint32_t i = 1; i < g->nodes_n; i++)
            if (g->nodes[i].ask == ask && g->nodes[i].state == WAITING) {
                *gp = g;
                return &g->nodes[i];
            }
    return NULL;
}

void fm_found_handle(struct fm_hub *h, struct fm_bus_item *it)
{
    struct fm_gather *g;
    struct gathered *node = asked_of(h, it->handle, &g);
    if (!node)
        return;
    struct fm_env env;
    struct fm_found found = {0};
    bool complete = false;
    struct fm_env_bind bind = {h->self->id, node->counter};
    enum fm_err err = it->err ? it->err : fm_seal_open(h->config.seal, FM_PLANE_ANSWER, bind, it->bytes, it->n, &env);
    if (!err && env.incarnation != node->incarnation)
        err = FM_E_CLOSED; /* another one listens there by now */
    if (!err)
        err = fm_found_read(env.body, &found, &complete);
    if (!err)
        err = fm_found_merge(&g->found, &found, g->ask.limit);
    if (err) {
        missing(node,
                err == FM_E_TIMEOUT || err == FM_E_CLOSED || err == FM_E_IO ? "it did not answer in time" : "its answer could not be read");
    } else {
        node->count = found.count;
        node->state = ANSWERED;
        if (!complete)
            missing(node, "it could not ask all of its workers in time");
    }
    fm_found_fini(&found);
}

void fm_inquiry_handle(struct fm_hub *h, uint64_t handle, struct fm_env_bind bind, struct fm_slice body)
{
    struct fm_inquiry ask;
    struct fm_gather *g = fm_inquiry_read(body, &ask) ? NULL : gather_new(h, &ask, false);
    if (!g)
        return; /* too many: the asker's time runs out, and it says so */
    g->handle = handle;
    g->bind = bind;
    g->due_ms = h->now.mono_ms + ask.timeout_ms;
}

/* ---- the answer ---- */

static void node_json(struct fm_buf *b, const struct gathered *node, const char *comma)
{
    char origin[FM_ORIGIN_TEXT_MAX + 1];
    fm_origin_print(node->incarnation, origin);
    fm_buf_printf(b, "%s{\"node\":", comma);
    fm_buf_json(b, fm_slice_str(node->name));
    fm_buf_printf(b, ",\"incarnation\":\"%s\"", origin);
    if (node->state == MISSING) {
        fm_buf_str(b, ",\"why\":");
        fm_buf_json(b, fm_slice_str(node->why));
    } else {
        fm_buf_printf(b, ",\"count\":%llu", (unsigned long long)node->count);
    }
    fm_buf_u8(b, '}');
}

/* A connection's name begins with the incarnation of the node that has it. */
static const char *node_of(const struct fm_gather *g, struct fm_id connection)
{
    uint32_t i = 0;
    while (i < g->nodes_n && g->nodes[i].incarnation != connection.origin)
        i++;
    return i < g->nodes_n ? g->nodes[i].name : "";
}

static void row_json(struct fm_buf *b, const struct fm_gather *g, const struct fm_found_row *row)
{
    char id[FM_ID_TEXT_MAX + 1];
    fm_id_print(row->connection, id);
    fm_buf_printf(b, "{\"connection\":\"%s\",\"node\":", id);
    fm_buf_json(b, fm_slice_str(node_of(g, row->connection)));
    if (row->user.n) {
        fm_buf_str(b, ",\"user\":");
        fm_buf_json(b, row->user);
    }
    fm_buf_str(b, ",\"address\":");
    fm_buf_json(b, row->address);
    fm_buf_printf(b, ",\"open_ms\":%llu,\"topics\":%u}", (unsigned long long)row->open_ms, row->topics);
}

static void rows_json(struct fm_buf *b, const struct fm_gather *g)
{
    char id[FM_ID_TEXT_MAX + 1];
    fm_buf_str(b, ",\"list\":[");
    for (uint32_t i = 0; i < g->found.n; i++) {
        if (i)
            fm_buf_u8(b, ',');
        row_json(b, g, &g->found.at[i]);
    }
    fm_buf_u8(b, ']');
    if (g->found.n < g->ask.limit)
        return; /* that was the last page */
    fm_id_print(g->found.at[g->found.n - 1].connection, id);
    fm_buf_printf(b, ",\"next\":\"%s\"", id);
}

static void gather_json(struct fm_buf *b, const struct fm_gather *g)
{
    uint64_t count = 0;
    const char *comma = "";
    for (uint32_t i = 0; i < g->nodes_n; i++)
        count += g->nodes[i].state == ANSWERED ? g->nodes[i].count : 0;
    fm_buf_printf(b, "{\"count\":%llu,\"nodes\":[", (unsigned long long)count);
    for (uint32_t i = 0; i < g->nodes_n; i++) {
        if (g->nodes[i].state != ANSWERED)
            continue;
        node_json(b, &g->nodes[i], comma);
        comma = ",";
    }
    fm_buf_str(b, "],\"missing\":[");
    comma = "";
    for (uint32_t i = 0; i < g->nodes_n; i++) {
        if (g->nodes[i].state != MISSING)
            continue;
        node_json(b, &g->nodes[i], comma);
        comma = ",";
    }
    fm_buf_u8(b, ']');
    if (g->ask.limit)
        rows_json(b, g);
    fm_buf_u8(b, '}');
}

static void query_answer(struct fm_hub *h, struct fm_gather *g)
{
    struct fm_query *q = g->query;
    g->query = NULL;
    gather_json(&q->json, g);
    if (q->json.failed)
        q->err = FM_E_NOMEM;
    fm_hub_out(h, q->worker, &q->item);
}

static void ask_answer(struct fm_hub *h, struct fm_gather *g)
{
    h->scratch.n = 0;
    g->found.count = g->nodes[0].count;
    fm_found_write(&h->scratch, &g->found, g->nodes[0].state == ANSWERED);
    if (!h->scratch.failed && fm_seal_close(h->config.seal, FM_PLANE_ANSWER, g->bind, fm_buf_view(&h->scratch), &h->sealed, NULL) == FM_OK)
        (void)h->port.bus_ops->answer(h->port.bus, g->handle, fm_buf_view(&h->sealed));
    h->scratch.failed = false;
}

/* Channels of the program that the node is in, and of clients: the hub has counted them. */
static uint64_t subscribers(struct fm_hub *h, struct fm_slice topic)
{
    const struct fm_topic *t = fm_topic_find(h, topic);
    uint64_t n = 0;
    for (unsigned w = 0; t && w < h->config.workers; w++)
        n += t->subs[w];
    return n;
}

static bool waits(const struct fm_gather *g)
{
    if (!g->asked || g->workers)
        return true;
    for (uint32_t i = 1; i < g->nodes_n; i++)
        if (g->nodes[i].state == WAITING)
            return true;
    return false;
}

static void finish(struct fm_hub *h, struct fm_gather *g)
{
    struct gathered *self = &g->nodes[0];
    self->state = ANSWERED;
    if (g->ask.kind == FM_INQUIRY_SUBSCRIBERS && g->ask.user.n == 0)
        self->count = subscribers(h, g->ask.topic);
    else if (g->ask.kind == FM_INQUIRY_DONE)
        self->count += fm_command_done(h, g->ask.command);
    if (!g->asked)
        missing(self, "the command has not come there in time");
    else if (g->workers || g->failed)
        missing(self, "it could not ask all of its workers in time");
    for (uint32_t i = 1; i < g->nodes_n; i++)
        if (g->nodes[i].state == WAITING)
            missing(&g->nodes[i], "it did not answer in time");
    for (uint32_t i = 0; g->query && i < g->nodes_n; i++)
        h->stats.gathers_missing += g->nodes[i].state == MISSING;
    const struct fm_command_report report = {g->command, g->fresh, g->ask.command, g->ask.user, g->ask.topic};
    if (g->told)
        fm_command_say_done(h, &report, self->count, self->state == ANSWERED);
    else if (g->query)
        query_answer(h, g);
    else
        ask_answer(h, g);
    gather_free(h, g);
}

void fm_gathers_check(struct fm_hub *h)
{
    struct fm_gather *next;
    for (struct fm_gather *g = h->gathers; g; g = next) {
        next = g->next;
        bool late = h->now.mono_ms >= g->due_ms;
        if (!g->asked && !late && (g->told || g->ask.kind != FM_INQUIRY_DONE || has_come(h, g->ask.command)))
            workers_ask(h, g);
        if (late || !waits(g))
            finish(h, g);
    }
}

void fm_gather_query(struct fm_hub *h, struct fm_query *q)
{
    struct fm_gather *g = gather_new(h,
                                     &(struct fm_inquiry){.kind = q->inquiry,
                                                          .timeout_ms = q->timeout_ms,
                                                          .limit = q->limit,
                                                          .after = q->after_id,
                                                          .command = q->command,
                                                          .user = fm_slice_of(q->text + q->topic_n, q->after_n),
                                                          .topic = fm_slice_of(q->text, q->topic_n)},
                                     false);
    if (!g) {
        q->err = FM_E_BUSY;
        fm_hub_out(h, q->worker, &q->item);
        return;
    }
    h->stats.gathers++;
    g->query = q;
    g->due_ms = h->now.mono_ms + q->timeout_ms;
    peers_ask(h, g);
}

bool fm_gather_done(struct fm_hub *h, const struct fm_cluster_command *c, bool fresh)
{
    const struct fm_inquiry ask = {.kind = FM_INQUIRY_DONE, .timeout_ms = REPORT_MS, .command = c->id, .user = c->user, .topic = c->topic};
    struct fm_gather *g = gather_new(h, &ask, true);
    if (!g)
        return false;
    g->fresh = fresh;
    g->command = c->kind;
    g->due_ms = h->now.mono_ms + REPORT_MS;
    return true;
}

void fm_gathers_free(struct fm_hub *h)
{
    while (h->gathers)
        gather_free(h, h->gathers);
}
