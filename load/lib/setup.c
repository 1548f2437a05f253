#include "run.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STREAMS_EACH = 1 << 24, STREAMS_OF_PUSHERS = 1 << 30 }; /* of a process; they need not be told of one another's */
enum { ENTRIES_MAX = 16 * 1024 * 1024 };

void fm_run_complain(const char *what, const char *why)
{
    fprintf(stderr, "fanmesh-load: %s: %s\n", what, why);
}

/* ---- what the fleet tells ---- */

static void taken(void *ctx, uint32_t topic, uint64_t number, uint64_t sent_ns, uint64_t now_ns)
{
    struct fm_run *r = ctx;
    if (r->common && !fm_board_reach(r->board, &r->ledgers[topic].at[number]))
        return;
    if (sent_ns >= atomic_load_explicit(&r->share->times.measure_ns, memory_order_relaxed) && now_ns > sent_ns)
        fm_hdr_add(&r->share->part.reach, now_ns - sent_ns);
    if (!r->common)
        fm_publisher_taken(r->publisher, topic, number);
}

/* The leader's, when a message is everywhere. */
static void everywhere(void *ctx, uint32_t topic, uint64_t number)
{
    struct fm_run *r = ctx;
    fm_publisher_taken(r->publisher, topic, number);
}

static void reached(struct fm_handler *h, uint32_t events)
{
    struct fm_run *r = (struct fm_run *)((char *)h - offsetof(struct fm_run, reached));
    (void)events;
    fm_board_reached(r->board, &r->taken_up, everywhere, r);
}

static void follow(void *ctx)
{
    struct fm_run *r = ctx;
    if (fm_board_follow(r->board, r->ledgers, &r->followed))
        fm_run_complain("memory", "there is none left for the publishes");
}

static void answered(void *ctx, uint32_t topic, uint64_t number, bool accepted, struct fm_id id)
{
    struct fm_run *r = ctx;
    fm_publisher_answered(r->publisher, topic, number, accepted, id);
}

static void broken(void *ctx, uint32_t topic, uint32_t stream)
{
    struct fm_run *r = ctx;
    if (r->publisher)
        fm_publisher_broken(r->publisher, topic, stream);
}

/* ---- what the options name ---- */

/* target: the path where the URL has none; NULL: it must have one. */
static bool nodes_read(const struct fm_list *list, const char *scheme, const char *target, struct fm_node *out, uint32_t first)
{
    for (size_t i = 0; i < list->n; i++) {
        struct fm_url *url = &out[i].url;
        if (fm_node_parse(fm_slice_str(list->at[i]), scheme, &out[i])) {
            fprintf(stderr, "fanmesh-load: %s is not an address of the form %s://host:port (or %ss://) with an IPv4 host\n", list->at[i],
                    scheme, scheme);
            return false;
        }
        if (strcmp(url->target, "/") == 0 && !target) {
            fprintf(stderr, "fanmesh-load: %s has no path; with this framing it names the topic, as in /sub?id=" FM_TOPIC_MARK "\n",
                    list->at[i]);
            return false;
        }
        if (strcmp(url->target, "/") == 0)
            snprintf(url->target, sizeof url->target, "%s", target);
        out[i].at = first + (uint32_t)i;
    }
    return true;
}

static bool any_tls(const struct fm_run *r)
{
    bool any = false;
    for (size_t i = 0; i < r->options.nodes.n; i++)
        any |= r->nodes[i].tls;
    for (size_t i = 0; i < r->options.api.n; i++)
        any |= r->apis[i].tls;
    for (size_t i = 0; i < r->options.publish_to.n; i++)
        any |= r->publish_to[i].tls;
    return any;
}

/* A topic in the URL of a connection is the only one that it has. Who neither says topics nor has one in the URL is given everything. */
static bool topics_fit(const struct fm_run *r)
{
    const struct fm_load_options *o = &r->options;
    bool speaks = r->framing->carrier != FM_CARRIER_HTTP && (r->framing != &fm_framing_websocket || (o->join_text && *o->join_text));
    for (size_t i = 0; i < o->nodes.n; i++) {
        bool named = strstr(r->nodes[i].url.target, FM_TOPIC_MARK);
        if (named && o->topics_per_connection > 1) {
            fm_run_complain("--topics-per-connection", "the topic in the URL of --nodes is the only one of a connection");
            return false;
        }
        if (!named && !speaks && o->topics > 1) {
            fm_run_complain("--topics",
                            "clients don't say which one they want: give " FM_TOPIC_MARK " in the URL of --nodes, or --join-text");
            return false;
        }
    }
    return true;
}

static bool pids_read(struct fm_run *r)
{
    for (size_t i = 0; i < r->options.pid.n; i++) {
        uint64_t pid;
        if (fm_slice_u64(fm_slice_str(r->options.pid.at[i]), INT32_MAX, &pid) || pid == 0) {
            fm_run_complain("--pid", "takes process ids, with commas between them");
            return false;
        }
        r->pids[r->pids_n++] = (uint32_t)pid;
    }
    struct fm_proc_cost cost;
    r->result.costs = r->pids_n > 0;
    if (r->pids_n && fm_proc_cost(r->pids, r->pids_n, &cost)) {
        fm_run_complain("--pid", "there is no such process");
        return false;
    }
    return true;
}

/* Descriptors for all clients, or a sentence that says how many there are. */
static bool files_enough(const struct fm_run *r)
{
    struct rlimit files;
    const struct fm_load_options *o = &r->options;
    uint64_t each = (o->connections + o->processes - 1) / o->processes, storm = o->storm ? o->storm_connections : 0;
    uint64_t need = (each > storm ? each : storm) + o->api.n * o->api_connections + 16;
    if (getrlimit(RLIMIT_NOFILE, &files))
        return true;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur >= need)
        return true;
    fprintf(stderr,
            "fanmesh-load: %llu descriptors are needed and this process may have %llu: raise --processes or `ulimit -n`, or lower "
            "--connections\n",
            (unsigned long long)need, (unsigned long long)files.rlim_cur);
    return false;
}

/* ---- the parts ---- */

static enum fm_err tls_make(struct fm_run *r)
{
    const struct fm_load_options *o = &r->options;
    if (!any_tls(r))
        return FM_OK;
    struct fm_tls_config c = {
        .ca_file = o->tls_ca, .insecure = o->tls_insecure, .resume = o->tls_resume, .nodes_n = 3 * FM_FLEET_NODES_MAX};
    return fm_tls_new(&r->tls, &c);
}

/* The first client of a process: rooms are not divided. */
static uint32_t first_of(const struct fm_run *r, uint32_t self)
{
    const struct fm_load_options *o = &r->options;
    uint64_t unit = o->rooms ? o->members : 1;
    return (uint32_t)(o->connections / unit * self / o->processes * unit);
}

/* Of a limit of the whole run; 0 stays 0. */
static uint32_t share(uint64_t limit, uint64_t processes)
{
    return (uint32_t)((limit + processes - 1) / processes);
}

static struct fm_fleet_config fleet_config(struct fm_run *r)
{
    const struct fm_load_options *o = &r->options;
    struct fm_part *part = &r->share->part;
    return (struct fm_fleet_config){.loop = &r->loop,
                                    .nodes = r->nodes,
                                    .nodes_n = (uint32_t)o->nodes.n,
                                    .tls = r->tls,
                                    .framing = r->framing,
                                    .speech = {.plain = o->plain, .join = o->join_text, .push = o->push_text, .word = r->word},
                                    .ids = r->framing == &fm_framing_phoenix && !o->plain,
                                    .spread = {.clients = (uint32_t)o->connections,
                                               .nodes = (uint32_t)o->nodes.n,
                                               .topics = (uint32_t)o->topics,
                                               .per_client = (uint32_t)o->topics_per_connection,
                                               .members = (uint32_t)(o->rooms ? o->members : 0)},
                                    .first = first_of(r, r->self),
                                    .clients = first_of(r, r->self + 1) - first_of(r, r->self),
                                    .streams = r->self * STREAMS_EACH,
                                    .topic_prefix = r->prefix,
                                    .sources = (uint32_t)o->sources,
                                    .connect_rate = share(o->connect_rate, o->processes),
                                    .connecting_max = share(o->connecting_max, o->processes),
                                    .heartbeat_ms = (uint32_t)o->heartbeat_ms,
                                    .beat_timeout_ms = (uint32_t)(o->heartbeat_timeout_ms ? o->heartbeat_timeout_ms : o->heartbeat_ms),
                                    .timeout_ms = (uint32_t)o->join_timeout_ms,
                                    .verify = !o->no_verify,
                                    .tally = &part->tally,
                                    .times = &r->share->times,
                                    .latency = &part->latency,
                                    .stormy = &part->stormy,
                                    .lately = r->role == FM_ROLE_LEADER && r->series.file ? &r->series.lately : NULL,
                                    .recovery = &part->recovery,
                                    .joins = &part->joins,
                                    .taken = taken,
                                    .follow = r->common && r->role == FM_ROLE_WORKER ? follow : NULL,
                                    .answered = answered,
                                    .broken = broken,
                                    .ctx = r};
}

/* One client of each topic on each node of --publish-to; or one of all topics, where no URL names the topic. */
static enum fm_err pushers_make(struct fm_run *r)
{
    const struct fm_load_options *o = &r->options;
    struct fm_fleet_config c = fleet_config(r);
    if (!o->publish_to.n)
        return FM_OK;
    bool named = strstr(r->publish_to[0].url.target, FM_TOPIC_MARK);
    c.nodes = r->publish_to;
    c.nodes_n = (uint32_t)o->publish_to.n;
    c.clients = c.nodes_n * (named ? (uint32_t)o->topics : 1);
    c.spread = (struct fm_spread){
        .clients = c.clients, .nodes = c.nodes_n, .topics = (uint32_t)o->topics, .per_client = named ? 1 : (uint32_t)o->topics};
    c.mute = true;
    c.first = 0;
    c.streams = STREAMS_OF_PUSHERS;
    return fm_fleet_new(&r->pushers, &c, r->ledgers);
}

static enum fm_err fleet_make(struct fm_run *r)
{
    const struct fm_load_options *o = &r->options;
    struct fm_fleet_config c = fleet_config(r);
    if (r->role == FM_ROLE_STORM) {
        c.first = 0;
        c.clients = (uint32_t)o->storm_connections;
        c.spread = (struct fm_spread){.clients = c.clients, .nodes = c.nodes_n, .topics = 1, .per_client = 1};
        c.connect_rate = (uint32_t)o->connect_rate;
        snprintf(r->prefix + strlen(r->prefix), sizeof r->prefix - strlen(r->prefix), "s");
    }
    return fm_fleet_new(&r->fleet, &c, r->ledgers);
}

/* In a chat each member speaks once in `every_ms`; its members are those of this process. */
static double rate_of(const struct fm_run *r)
{
    const struct fm_load_options *o = &r->options;
    return o->rooms ? (double)fm_fleet_clients(r->fleet) * 1000.0 / (double)o->every_ms : (double)o->rate;
}

/* Of n, what a process that speaks for itself has to do. */
static uint64_t share_of(const struct fm_run *r, uint64_t n)
{
    uint64_t p = r->options.processes;
    return r->options.rooms ? n * (r->self + 1) / p - n * r->self / p : n;
}

static enum fm_err publisher_make(struct fm_run *r, void (*measure)(void *ctx, uint64_t due_ns))
{
    const struct fm_load_options *o = &r->options;
    struct fm_publisher_config c = {.loop = &r->loop,
                                    .fleet = r->pushers ? r->pushers : r->fleet,
                                    .ledgers = r->ledgers,
                                    .topics = (uint32_t)o->topics,
                                    .nodes_n = (uint32_t)(r->pushers ? o->publish_to.n : o->nodes.n),
                                    .members = o->rooms > 0,
                                    .answers = r->framing->answers_pushes,
                                    .tls = r->tls,
                                    .apis = r->apis,
                                    .apis_n = (uint32_t)o->api.n,
                                    .api_connections = (uint32_t)o->api_connections,
                                    .api_key = o->api_key && *o->api_key ? o->api_key : NULL,
                                    .api_timeout_ms = (uint32_t)o->api_timeout_ms,
                                    .replicated_percent = o->ack == 1   ? 100
                                                          : o->ack == 2 ? (uint32_t)o->replicated_percent
                                                                        : 0,
                                    .keyed_percent = (uint32_t)o->keyed_percent,
                                    .retries = (uint32_t)o->retries,
                                    .messages = share_of(r, o->messages),
                                    .duration_ns = o->duration_ms * 1000000u,
                                    .warmup = share_of(r, o->warmup),
                                    .rate = rate_of(r),
                                    .window = (uint32_t)o->window,
                                    .payload_bytes = (uint32_t)o->payload,
                                    .stall_ns = o->settle_ms * 1000000u,
                                    .tally = &r->share->part.tally,
                                    .board = r->common ? r->board : NULL,
                                    .measure = measure,
                                    .ctx = r};
    return fm_publisher_new(&r->publisher, &c);
}

/* As many publishes as the options allow, for a run in which several processes have to know of them; 0: none. */
static uint64_t entries_of(const struct fm_run *r)
{
    const struct fm_load_options *o = &r->options;
    uint64_t n = o->messages                 ? o->messages + o->warmup
                 : o->rate && o->duration_ms ? o->rate * (o->duration_ms / 1000 + 2) + o->warmup
                                             : ENTRIES_MAX;
    return !r->common ? 0 : n < ENTRIES_MAX ? n : ENTRIES_MAX;
}

bool fm_run_prepare(struct fm_run *r)
{
    const struct fm_load_options *o = &r->options;
    r->framing = fm_framings[o->framing];
    r->common = o->processes > 1 && !o->rooms;
    if (!nodes_read(&o->nodes, r->framing->carrier == FM_CARRIER_HTTP ? "http" : "ws", r->framing->target, r->nodes, 0) ||
        !nodes_read(&o->api, "http", "/api/publish", r->apis, FM_FLEET_NODES_MAX) ||
        !nodes_read(&o->publish_to, "ws", r->framing->target, r->publish_to, 2 * FM_FLEET_NODES_MAX) || !topics_fit(r) || !pids_read(r) ||
        !files_enough(r))
        return false;
    /* A run must not see another's messages; without randomness the time does. */
    r->word = (uint32_t)fm_mono_ns();
    ssize_t drawn = getrandom(&r->word, sizeof r->word, 0);
    (void)drawn;
    snprintf(r->prefix, sizeof r->prefix, "%s%08x-", o->topic_prefix, r->word);
    if (fm_series_open(&r->series, o->series)) {
        fm_run_complain("--series", strerror(errno));
        return false;
    }
    /* Now, and not after an hour. */
    FILE *report = o->report && *o->report ? fopen(o->report, "ae") : NULL;
    if (o->report && *o->report && (!report || fclose(report))) {
        fm_run_complain("--report", strerror(errno));
        return false;
    }
    enum fm_err err = fm_board_new(&r->board, (uint32_t)o->processes + (o->storm != 0), (uint32_t)o->topics, entries_of(r));
    if (err) {
        fm_run_complain("can't start", fm_err_text(err));
        return false;
    }
    r->share = &r->board->shares[0];
    r->result.options = o;
    return true;
}

bool fm_run_set_up(struct fm_run *r, void (*measure)(void *ctx, uint64_t due_ns))
{
    const struct fm_load_options *o = &r->options;
    if (tls_make(r)) {
        fm_run_complain("--tls-ca", "the file can't be read, or is not a list of certificates in PEM");
        return false;
    }
    r->ledgers = calloc(o->topics, sizeof *r->ledgers);
    enum fm_err err = r->ledgers ? fm_loop_init(&r->loop) : FM_E_NOMEM;
    if (!err)
        err = fleet_make(r);
    if (!err && r->role == FM_ROLE_LEADER)
        err = pushers_make(r);
    /* A worker publishes only in its own rooms; and a storm never. */
    if (!err && (r->role == FM_ROLE_LEADER || (r->role == FM_ROLE_WORKER && !r->common)))
        err = publisher_make(r, measure);
    if (!err && r->role != FM_ROLE_STORM)
        fm_board_hold(r->board, r->ledgers);
    r->reached.ready = reached;
    if (!err && r->common && r->role == FM_ROLE_LEADER)
        err = fm_loop_add(&r->loop, r->board->event, EPOLLIN, &r->reached);
    if (err)
        fm_run_complain("can't start", fm_err_text(err));
    return !err;
}

void fm_run_tear_down(struct fm_run *r)
{
    fm_publisher_free(&r->publisher);
    fm_fleet_free(&r->fleet);
    fm_fleet_free(&r->pushers);
    fm_tls_free(&r->tls);
    fm_loop_fini(&r->loop);
    fm_series_close(&r->series);
    fm_gone_fini(&r->gone);
    for (uint64_t t = 0; r->ledgers && t < r->options.topics; t++)
        fm_ledger_fini(&r->ledgers[t]);
    free(r->ledgers);
    fm_board_free(&r->board);
    fm_options_fini(fm_load_options, FM_LOAD_OPTIONS_N, &r->options);
}
