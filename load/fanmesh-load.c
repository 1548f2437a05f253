/* fanmesh-load: many clients, many messages, and a judge. It runs in phases: connect and join, be idle, publish, wait for the rest, judge.
 * One thread; what is measured of the nodes is their own CPU time and memory, never this program's. */
#include "result.h"
#include "series.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PIDS_MAX = 64, REST_MS = 500, LATE_MS = 300, GONE_READ = 4096 };

struct run {
    struct fm_load_options options;
    struct fm_loop loop;
    struct fm_node nodes[FM_FLEET_NODES_MAX], apis[FM_FLEET_NODES_MAX];
    uint32_t pids[PIDS_MAX];
    uint32_t pids_n;
    char prefix[FM_FLEET_TOPIC_MAX - 16];
    struct fm_ledger *ledgers;
    struct fm_fleet *fleet;
    struct fm_publisher *publisher;
    struct fm_result result;
    struct fm_series series;
    struct fm_gone gone;
    struct fm_proc_cost began_cost;
    uint64_t began_ns, began_deliveries; /* of the measured part */
    uint64_t last_ns, last_deliveries;   /* the last step in which something was delivered */
    uint64_t shown_ns;
    bool terminal;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

static void complain(const char *what, const char *why)
{
    fprintf(stderr, "fanmesh-load: %s: %s\n", what, why);
}

/* ---- measuring ---- */

/* From the first failure on no costs are reported, rather than wrong ones. */
static struct fm_proc_cost cost_now(struct run *r)
{
    struct fm_proc_cost cost;
    if (r->result.costs && fm_proc_cost(r->pids, r->pids_n, &cost)) {
        complain("--pid", "a process ended: its costs are not reported");
        r->result.costs = false;
    }
    return r->result.costs ? cost : (struct fm_proc_cost){0};
}

static double seconds(uint64_t ns)
{
    return (double)ns * 1e-9;
}

static void measure_begin(void *ctx)
{
    struct run *r = ctx;
    r->result.latency = (struct fm_hdr){0};
    r->began_cost = cost_now(r);
    r->began_deliveries = r->result.tally.deliveries;
    r->began_ns = r->last_ns = fm_loop_now_ns();
}

static void measure_end(struct run *r)
{
    if (!r->began_ns)
        return;
    r->result.cpu_s = seconds(cost_now(r).cpu_ns - r->began_cost.cpu_ns);
    r->result.measured = r->result.tally.deliveries - r->began_deliveries;
    r->result.seconds = seconds(r->last_ns - r->began_ns);
}

/* ---- steps ---- */

static void show(struct run *r, const char *phase, uint64_t now)
{
    if (!r->terminal || now - r->shown_ns < 200000000u)
        return;
    r->shown_ns = now;
    fprintf(stderr, "\r\033[K%s: %llu joined, %llu published, %llu delivered", phase, (unsigned long long)fm_fleet_stats(r->fleet)->joined,
            (unsigned long long)fm_publisher_stats(r->publisher)->sent, (unsigned long long)r->result.tally.deliveries);
}

static void show_end(struct run *r)
{
    if (r->terminal)
        fputs("\r\033[K", stderr);
}

static void series_write(struct run *r, uint64_t now)
{
    if (fm_series_tick(&r->series, now, fm_fleet_stats(r->fleet), fm_publisher_stats(r->publisher), &r->result.tally))
        complain("--series", "the file can't be written: no more of it");
}

static uint64_t step(struct run *r, const char *phase)
{
    fm_loop_step(&r->loop, 1);
    uint64_t now = fm_loop_now_ns();
    fm_fleet_tick(r->fleet, now);
    if (r->last_deliveries != r->result.tally.deliveries) {
        r->last_deliveries = r->result.tally.deliveries;
        r->last_ns = now;
    }
    series_write(r, now);
    show(r, phase, now);
    return now;
}

static void rest(struct run *r, const char *phase, uint64_t ms)
{
    uint64_t end = fm_loop_now_ns() + ms * 1000000u;
    while (!stopped && step(r, phase) < end)
        ;
}

static void connect_failed(struct run *r)
{
    const struct fm_fleet_stats *s = fm_fleet_stats(r->fleet);
    show_end(r);
    fprintf(stderr, "fanmesh-load: only %llu of %llu clients joined", (unsigned long long)s->joined,
            (unsigned long long)r->options.connections);
    if (s->last_status)
        fprintf(stderr, "; the last refused upgrade was answered with HTTP %u", s->last_status);
    if (s->last_refusal[0])
        fprintf(stderr, "; the last refused join: %s", s->last_refusal);
    if (s->last_close)
        fprintf(stderr, "; the last connection was closed with code %u", s->last_close);
    if (s->last_errno)
        fprintf(stderr, "; the last error of the system: %s", strerror(s->last_errno));
    fputs("\n", stderr);
}

static bool phase_connect(struct run *r)
{
    uint64_t start = fm_loop_now_ns(), now = start;
    bool apis_ready = false;
    r->result.rss_before = cost_now(r).rss_bytes;
    struct fm_proc_cost before = cost_now(r);
    while (!stopped && (fm_fleet_stats(r->fleet)->joined < r->options.connections || !apis_ready)) {
        if (now - start > r->options.connect_ms * 1000000u)
            break;
        now = step(r, "connecting");
        apis_ready = fm_publisher_ready(r->publisher, now);
    }
    if (fm_fleet_stats(r->fleet)->joined < r->options.connections) {
        connect_failed(r);
        return false;
    }
    if (!apis_ready) {
        complain("--api", "can't connect to all of them");
        return false;
    }
    r->result.connect_s = seconds(now - start);
    struct fm_proc_cost joined = cost_now(r);
    r->result.cpu_connect_s = seconds(joined.cpu_ns - before.cpu_ns);
    return true;
}

static void phase_idle(struct run *r)
{
    rest(r, "resting", REST_MS);
    r->result.rss_joined = cost_now(r).rss_bytes;
    if (!r->options.idle_ms)
        return;
    uint64_t start = fm_loop_now_ns();
    struct fm_proc_cost before = cost_now(r);
    rest(r, "idle", r->options.idle_ms);
    struct fm_proc_cost after = cost_now(r);
    r->result.cpu_idle_s = seconds(after.cpu_ns - before.cpu_ns);
    r->result.wakes_idle = after.wakes > before.wakes ? after.wakes - before.wakes : 0;
    r->result.idle_s = seconds(fm_loop_now_ns() - start);
}

static void phase_publish(struct run *r)
{
    uint64_t sent = 0, sent_ns = fm_loop_now_ns();
    while (!stopped && !fm_publisher_done(r->publisher)) {
        uint64_t now = step(r, "publishing");
        fm_publisher_tick(r->publisher, now);
        if (sent != fm_publisher_stats(r->publisher)->sent) {
            sent = fm_publisher_stats(r->publisher)->sent;
            sent_ns = now;
        }
        if (now - sent_ns > r->options.connect_ms * 1000000u) {
            complain("publishing", "no node took a message for as long as --connect-ms allows: given up");
            break;
        }
    }
}

static bool complete(const struct run *r)
{
    bool all = true;
    for (uint64_t t = 0; t < r->options.topics; t++)
        all = all && r->ledgers[t].open == 0 && r->ledgers[t].silent == 0;
    return all;
}

/* Clients that are on their way back to a node, and publishes that are tried again, get the time that connecting may take. */
static uint64_t settle_ns(const struct run *r)
{
    bool away = fm_fleet_stats(r->fleet)->joined < r->options.connections || fm_publisher_pending(r->publisher);
    uint64_t ms = away && r->options.connect_ms > r->options.settle_ms ? r->options.connect_ms : r->options.settle_ms;
    return ms * 1000000u;
}

/* Until everything is everywhere, or nothing more comes; then a moment for what should not come. */
static void phase_settle(struct run *r)
{
    uint64_t now = fm_loop_now_ns(), from = now;
    fm_publisher_stop(r->publisher);
    while (!complete(r) && now - from < settle_ns(r)) {
        now = step(r, "waiting for the rest");
        fm_publisher_tick(r->publisher, now);
        if (r->last_ns > from)
            from = r->last_ns;
    }
    measure_end(r);
    stopped = 0;
    rest(r, "waiting for the rest", LATE_MS);
}

/* A file that isn't there: nobody was killed. */
static bool gone_read(struct run *r)
{
    const char *path = r->options.gone_file;
    struct fm_buf text = {0};
    unsigned line = 0;
    FILE *f = path && *path ? fopen(path, "re") : NULL;
    if (!f && path && *path && errno != ENOENT) {
        complain("--gone-file", strerror(errno));
        return false;
    }
    for (size_t n = 1; f && n && fm_buf_reserve(&text, GONE_READ); text.n += n)
        n = fread(text.p + text.n, 1, GONE_READ, f);
    bool good = !text.failed && (!f || !ferror(f));
    if (f)
        fclose(f);
    enum fm_err err = good ? fm_gone_read(&r->gone, fm_buf_view(&text), &line) : FM_E_IO;
    if (err)
        fprintf(stderr, "fanmesh-load: --gone-file: line %u: %s\n", line, fm_err_text(err));
    fm_buf_fini(&text);
    return !err;
}

static void phase_judge(struct run *r)
{
    r->series.due_ns = 0; /* the end, whenever the last line was */
    series_write(r, fm_loop_now_ns());
    fm_fleet_judge(r->fleet, &r->gone);
    r->result.fleet = *fm_fleet_stats(r->fleet);
    r->result.publisher = *fm_publisher_stats(r->publisher);
    show_end(r);
}

/* ---- setting up ---- */

static void taken(void *ctx, uint32_t topic, uint64_t number, bool last)
{
    struct run *r = ctx;
    fm_publisher_taken(r->publisher, topic, number, last);
}

static void answered(void *ctx, uint32_t topic, uint64_t number, bool accepted, struct fm_id id)
{
    struct run *r = ctx;
    fm_publisher_answered(r->publisher, topic, number, accepted, id);
}

static void broken(void *ctx, uint32_t topic, uint32_t stream)
{
    struct run *r = ctx;
    fm_publisher_broken(r->publisher, topic, stream);
}

static bool nodes_read(const struct fm_list *list, const char *scheme, const char *path, struct fm_node *out)
{
    for (size_t i = 0; i < list->n; i++) {
        struct fm_url *url = &out[i].url;
        if (fm_node_parse(fm_slice_str(list->at[i]), scheme, &out[i])) {
            fprintf(stderr, "fanmesh-load: %s is not an address of the form %s://host:port with an IPv4 host\n", list->at[i], scheme);
            return false;
        }
        if (strcmp(url->target, "/") == 0)
            snprintf(url->target, sizeof url->target, "%s", path);
    }
    return true;
}

static bool pids_read(struct run *r)
{
    for (size_t i = 0; i < r->options.pid.n; i++) {
        uint64_t pid;
        if (fm_slice_u64(fm_slice_str(r->options.pid.at[i]), INT32_MAX, &pid) || pid == 0) {
            complain("--pid", "takes process ids, with commas between them");
            return false;
        }
        r->pids[r->pids_n++] = (uint32_t)pid;
    }
    struct fm_proc_cost cost;
    r->result.costs = r->pids_n > 0;
    if (r->pids_n && fm_proc_cost(r->pids, r->pids_n, &cost)) {
        complain("--pid", "there is no such process");
        return false;
    }
    return true;
}

/* Descriptors for all clients, or a sentence that says how many there are. */
static bool files_enough(const struct run *r)
{
    struct rlimit files;
    uint64_t need = r->options.connections + r->options.api.n * r->options.api_connections + 16;
    if (getrlimit(RLIMIT_NOFILE, &files))
        return true;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur >= need)
        return true;
    fprintf(stderr, "fanmesh-load: %llu descriptors are needed and this process may have %llu: lower --connections or raise `ulimit -n`\n",
            (unsigned long long)need, (unsigned long long)files.rlim_cur);
    return false;
}

static enum fm_err fleet_make(struct run *r)
{
    const struct fm_load_options *o = &r->options;
    struct fm_fleet_config c = {.loop = &r->loop,
                                .nodes = r->nodes,
                                .nodes_n = (uint32_t)o->nodes.n,
                                .clients = (uint32_t)o->connections,
                                .topics = (uint32_t)o->topics,
                                .topic_prefix = r->prefix,
                                .plain = o->plain,
                                .sources = (uint32_t)o->sources,
                                .connect_rate = (uint32_t)o->connect_rate,
                                .heartbeat_ms = (uint32_t)o->heartbeat_ms,
                                .beat_timeout_ms = (uint32_t)(o->heartbeat_timeout_ms ? o->heartbeat_timeout_ms : o->heartbeat_ms),
                                .timeout_ms = (uint32_t)o->join_timeout_ms,
                                .tally = &r->result.tally,
                                .latency = &r->result.latency,
                                .lately = r->series.file ? &r->series.lately : NULL,
                                .recovery = &r->result.recovery,
                                .taken = taken,
                                .answered = answered,
                                .broken = broken,
                                .ctx = r};
    return fm_fleet_new(&r->fleet, &c, r->ledgers);
}

static enum fm_err publisher_make(struct run *r)
{
    const struct fm_load_options *o = &r->options;
    struct fm_publisher_config c = {.loop = &r->loop,
                                    .fleet = r->fleet,
                                    .ledgers = r->ledgers,
                                    .topics = (uint32_t)o->topics,
                                    .nodes_n = (uint32_t)o->nodes.n,
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
                                    .messages = o->messages,
                                    .duration_ns = o->duration_ms * 1000000u,
                                    .warmup = o->warmup,
                                    .rate = (double)o->rate,
                                    .window = (uint32_t)o->window,
                                    .payload_bytes = (uint32_t)o->payload,
                                    .stall_ns = o->settle_ms * 1000000u,
                                    .tally = &r->result.tally,
                                    .measure = measure_begin,
                                    .ctx = r};
    return fm_publisher_new(&r->publisher, &c);
}

static bool set_up(struct run *r)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND}; /* a second one ends the program */
    const struct fm_load_options *o = &r->options;
    uint32_t word = (uint32_t)fm_loop_now_ns();
    if (!nodes_read(&o->nodes, "ws", "/socket/websocket?vsn=2.0.0", r->nodes) || !nodes_read(&o->api, "http", "/api/publish", r->apis) ||
        !pids_read(r) || !files_enough(r))
        return false;
    /* A run must not see another's messages; without randomness the time does. */
    ssize_t drawn = getrandom(&word, sizeof word, 0);
    (void)drawn;
    if (fm_series_open(&r->series, o->series)) {
        complain("--series", strerror(errno));
        return false;
    }
    snprintf(r->prefix, sizeof r->prefix, "%s%08x-", o->topic_prefix, word);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    r->terminal = isatty(STDERR_FILENO);
    r->result.options = o;
    r->ledgers = calloc(o->topics, sizeof *r->ledgers);
    enum fm_err err = r->ledgers ? fm_loop_init(&r->loop) : FM_E_NOMEM;
    if (!err)
        err = fleet_make(r);
    if (!err)
        err = publisher_make(r);
    if (err)
        complain("can't start", fm_err_text(err));
    return !err;
}

static void tear_down(struct run *r)
{
    fm_publisher_free(&r->publisher);
    fm_fleet_free(&r->fleet);
    fm_loop_fini(&r->loop);
    fm_series_close(&r->series);
    fm_gone_fini(&r->gone);
    for (uint64_t t = 0; r->ledgers && t < r->options.topics; t++)
        fm_ledger_fini(&r->ledgers[t]);
    free(r->ledgers);
    fm_options_fini(fm_load_options, FM_LOAD_OPTIONS_N, &r->options);
}

static enum fm_load_exit run_all(struct run *r)
{
    struct fm_buf out = {0};
    if (!set_up(r) || !phase_connect(r))
        return FM_LOAD_UNUSABLE;
    phase_idle(r);
    if (r->options.messages || r->options.duration_ms) {
        phase_publish(r);
        phase_settle(r);
    }
    if (!gone_read(r))
        return FM_LOAD_UNUSABLE;
    phase_judge(r);
    if (r->options.json)
        fm_result_json(&out, &r->result);
    else
        fm_result_text(&out, &r->result);
    fwrite(out.p, 1, out.n, stdout);
    fm_buf_fini(&out);
    return fm_result_exit(&r->result);
}

int main(int argc, char **argv)
{
    static struct run run = {.loop = {-1}};
    bool go;
    enum fm_load_exit result = fm_load_options_read(&run.options, argc - 1, argv + 1, &go);
    if (go)
        result = run_all(&run);
    tear_down(&run);
    return (int)result;
}
