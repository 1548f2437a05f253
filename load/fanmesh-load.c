/* fanmesh-load: many clients, many messages, and a judge. It runs in phases: connect and join, be idle, publish (and make a storm), wait
 * for the rest, judge. One thread a process; what is measured of the nodes is their own CPU time and memory, never this program's. */
#include "report.h"
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { REST_MS = 500, LATE_MS = 300, GONE_READ = 4096, CALM_MS = 500 };

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

/* ---- measuring ---- */

/* From the first failure on no costs are reported, rather than wrong ones. */
static struct fm_proc_cost cost_now(struct fm_run *r)
{
    struct fm_proc_cost cost;
    if (r->result.costs && fm_proc_cost(r->pids, r->pids_n, &cost)) {
        fm_run_complain("--pid", "a process ended: its costs are not reported");
        r->result.costs = false;
    }
    return r->result.costs ? cost : (struct fm_proc_cost){0};
}

static double seconds(uint64_t ns)
{
    return (double)ns * 1e-9;
}

static void measure_begin(void *ctx, uint64_t due_ns)
{
    struct fm_run *r = ctx;
    atomic_store(&r->share->times.measure_ns, due_ns);
    for (uint32_t i = 1; r->common && i < r->board->shares_n; i++)
        atomic_store(&r->board->shares[i].times.measure_ns, due_ns);
    r->began_cost = cost_now(r);
    r->began_deliveries = fm_run_deliveries(r);
    r->began_ns = r->last_ns = fm_mono_ns();
}

static void measure_end(struct fm_run *r)
{
    if (!r->began_ns)
        return;
    r->result.cpu_s = seconds(cost_now(r).cpu_ns - r->began_cost.cpu_ns);
    r->result.measured = fm_run_deliveries(r) - r->began_deliveries;
    r->result.seconds = seconds(r->last_ns - r->began_ns);
}

/* ---- steps ---- */

static uint64_t sent(const struct fm_run *r)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->options.processes; i++)
        sum += r->board->shares[i].sent;
    return sum;
}

static void show(struct fm_run *r, const char *phase, uint64_t now)
{
    if (!r->terminal || now - r->shown_ns < 200000000u)
        return;
    r->shown_ns = now;
    fprintf(stderr, "\r\033[K%s: %llu joined, %llu published, %llu delivered", phase, (unsigned long long)fm_run_joined(r),
            (unsigned long long)sent(r), (unsigned long long)fm_run_deliveries(r));
}

static void show_end(struct fm_run *r)
{
    if (r->terminal)
        fputs("\r\033[K", stderr);
}

/* joined, sent and deliveries are those of all processes; the rest is this one's. */
static void series_write(struct fm_run *r, uint64_t now)
{
    struct fm_fleet_stats fleet = *fm_fleet_stats(r->fleet);
    struct fm_publisher_stats publisher = *fm_publisher_stats(r->publisher);
    struct fm_tally tally = r->share->part.tally;
    fleet.joined = fm_run_joined(r);
    publisher.sent = sent(r);
    tally.deliveries = fm_run_deliveries(r);
    if (fm_series_tick(&r->series, now, &fleet, &publisher, &tally))
        fm_run_complain("--series", "the file can't be written: no more of it");
}

static uint64_t step(struct fm_run *r, const char *phase)
{
    uint64_t now = fm_run_step(r);
    if (!fm_run_others_live(r, now))
        stopped = 1;
    if (fm_series_due(&r->series, now))
        series_write(r, now);
    show(r, phase, now);
    return now;
}

static void rest(struct fm_run *r, const char *phase, uint64_t ms)
{
    uint64_t end = fm_mono_ns() + ms * 1000000u;
    while (!stopped && step(r, phase) < end)
        ;
}

/* ---- connecting ---- */

static void connect_failed(struct fm_run *r)
{
    static struct fm_part all;
    const struct fm_fleet_stats *s = &all.fleet;
    for (uint32_t i = 0; i < r->options.processes; i++)
        fm_part_add(&all, &r->board->shares[i].part);
    show_end(r);
    fprintf(stderr, "fanmesh-load: only %llu of %llu clients joined", (unsigned long long)fm_run_joined(r),
            (unsigned long long)r->options.connections);
    if (s->last_status)
        fprintf(stderr, "; the last refused connection was answered with HTTP %u", s->last_status);
    if (s->last_refusal[0])
        fprintf(stderr, "; the last refused join: %s", s->last_refusal);
    if (s->last_close)
        fprintf(stderr, "; the last connection was closed with code %u", s->last_close);
    if (s->last_errno)
        fprintf(stderr, "; the last error of the system: %s", strerror(s->last_errno));
    if (all.tls.why[0])
        fprintf(stderr, "; TLS: %s", all.tls.why);
    fputs("\n", stderr);
}

/* The nodes' memory with so many connections. */
static void memory_note(struct fm_run *r, uint64_t joined)
{
    struct fm_result *result = &r->result;
    uint64_t every = r->options.connections / (FM_RESULT_MEMORY - 4) + 1;
    if (!result->costs || result->memory_n == FM_RESULT_MEMORY ||
        (result->memory_n && joined < result->memory[result->memory_n - 1].joined + every && joined < r->options.connections))
        return;
    result->memory[result->memory_n++] = (struct fm_memory){joined, cost_now(r).rss_bytes};
}

static bool all_connected(struct fm_run *r, uint64_t now)
{
    bool ready = fm_publisher_ready(r->publisher, now);
    if (r->pushers)
        ready &= fm_fleet_stats(r->pushers)->joined == fm_fleet_clients(r->pushers);
    bool before = r->options.storm && r->options.storm != FM_STORM_CONNECT; /* those who are to be cut off are there first */
    if (before)
        ready &= r->board->shares[r->options.processes].joined == r->options.storm_connections;
    return ready;
}

static bool phase_connect(struct fm_run *r)
{
    uint64_t start = fm_mono_ns(), now = start, joined_ns = start, joined = 0;
    bool others = false;
    struct fm_proc_cost before = cost_now(r);
    r->result.rss_before = before.rss_bytes;
    memory_note(r, 0);
    while (!stopped && (joined < r->options.connections || !others)) {
        if (now - start > r->options.connect_ms * 1000000u)
            break;
        now = step(r, "connecting");
        if (joined != fm_run_joined(r)) {
            memory_note(r, joined = fm_run_joined(r));
            joined_ns = now;
        }
        others = all_connected(r, now);
    }
    if (r->child_died)
        return false;
    if (joined < r->options.connections) {
        connect_failed(r);
        return false;
    }
    if (!others) {
        fm_run_complain(r->pushers ? "--publish-to" : r->options.api.n ? "--api" : "--storm-connections", "can't connect to all of them");
        return false;
    }
    r->result.connect_s = seconds(joined_ns - start);
    r->result.cpu_connect_s = seconds(cost_now(r).cpu_ns - before.cpu_ns);
    return true;
}

static void phase_idle(struct fm_run *r)
{
    rest(r, "resting", REST_MS);
    r->result.rss_joined = cost_now(r).rss_bytes;
    if (!r->options.idle_ms)
        return;
    uint64_t start = fm_mono_ns();
    struct fm_proc_cost before = cost_now(r);
    rest(r, "idle", r->options.idle_ms);
    struct fm_proc_cost after = cost_now(r);
    r->result.cpu_idle_s = seconds(after.cpu_ns - before.cpu_ns);
    r->result.wakes_idle = after.wakes > before.wakes ? after.wakes - before.wakes : 0;
    r->result.idle_s = seconds(fm_mono_ns() - start);
}

/* ---- the storm ---- */

static void times_set(struct fm_run *r, uint64_t storm_ns, uint64_t calm_ns)
{
    for (uint32_t i = 0; i < r->board->shares_n; i++) {
        atomic_store(&r->board->shares[i].times.calm_ns, calm_ns);
        atomic_store(&r->board->shares[i].times.storm_ns, storm_ns);
    }
}

/* Lets it loose after the quiet time, and notes when it is over. */
static void storm_conduct(struct fm_run *r, uint64_t now)
{
    struct fm_storm_result *storm = &r->result.storm;
    const struct fm_share *share = &r->board->shares[r->options.processes];
    const struct fm_times *t = &r->share->times;
    if (r->board->storm == FM_STORM_WAIT && r->began_ns && now > r->began_ns + r->options.quiet_ms * 1000000u) {
        times_set(r, now, UINT64_MAX);
        r->storm_cost = cost_now(r);
        r->board->storm = FM_STORM_GO;
    }
    if (r->board->storm == FM_STORM_DONE && !storm->over) {
        times_set(r, t->storm_ns, now);
        storm->over = true;
        storm->seconds = seconds(now - t->storm_ns);
        storm->cpu_s = seconds(cost_now(r).cpu_ns - r->storm_cost.cpu_ns);
        storm->joins = share->part.joins.count;
    }
    bool bounded = r->options.messages || r->options.duration_ms;
    if (storm->over && !bounded && now > t->calm_ns + CALM_MS * 1000000u)
        fm_publisher_stop(r->publisher);
}

/* ---- publishing ---- */

static bool published(const struct fm_run *r)
{
    bool all = fm_publisher_done(r->publisher);
    for (uint32_t i = 1; i < r->options.processes && !r->common; i++)
        all = all && r->board->shares[i].published;
    return all;
}

static void phase_publish(struct fm_run *r)
{
    uint64_t before = 0, moved_ns = fm_mono_ns();
    r->board->phase = FM_PHASE_PUBLISH;
    while (!stopped && !published(r)) {
        uint64_t now = step(r, "publishing");
        fm_publisher_tick(r->publisher, now);
        if (r->options.storm)
            storm_conduct(r, now);
        if (before != sent(r)) {
            before = sent(r);
            moved_ns = now;
        }
        if (now - moved_ns > r->options.connect_ms * 1000000u) {
            fm_run_complain("publishing", "no node took a message for as long as --connect-ms allows: given up");
            break;
        }
    }
}

static bool settled(const struct fm_run *r)
{
    bool all = fm_run_complete(r);
    for (uint32_t i = 1; i < r->options.processes && !r->common; i++)
        all = all && r->board->shares[i].settled;
    return all;
}

/* Until everything is everywhere, or nothing more comes; then a moment for what should not come. */
static void phase_settle(struct fm_run *r)
{
    uint64_t now = fm_mono_ns(), from = now;
    r->board->phase = FM_PHASE_SETTLE;
    fm_publisher_stop(r->publisher);
    while (!settled(r) && now - from < fm_run_settle_ns(r) && !r->child_died) {
        now = step(r, "waiting for the rest");
        fm_publisher_tick(r->publisher, now);
        if (r->last_ns > from)
            from = r->last_ns;
    }
    measure_end(r);
    stopped = 0;
    rest(r, "waiting for the rest", LATE_MS);
}

/* ---- judging ---- */

/* A file that isn't there: nobody was killed. */
static bool gone_read(struct fm_run *r)
{
    const char *path = r->options.gone_file;
    struct fm_buf text = {0};
    unsigned line = 0;
    FILE *f = path && *path ? fopen(path, "re") : NULL;
    if (!f && path && *path && errno != ENOENT) {
        fm_run_complain("--gone-file", strerror(errno));
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

static bool phase_judge(struct fm_run *r)
{
    r->series.due_ns = 0; /* the end, whenever the last line was */
    series_write(r, fm_mono_ns());
    fm_run_judge(r);
    r->board->phase = FM_PHASE_JUDGE;
    bool good = fm_run_others_end(r);
    for (uint32_t i = 0; i < r->options.processes; i++)
        fm_part_add(&r->result.all, &r->board->shares[i].part);
    if (r->options.storm) {
        const struct fm_part *storm = &r->board->shares[r->options.processes].part;
        r->result.storm.failures = storm->fleet.connect_failures;
        r->result.storm.took = storm->joins;
        r->result.all.tally.malformed += storm->tally.malformed;
        r->result.all.tls.handshakes += storm->tls.handshakes;
        r->result.all.tls.resumed += storm->tls.resumed;
    }
    r->result.samples = r->series.samples;
    r->result.samples_n = r->series.samples_n;
    show_end(r);
    return good;
}

static void print(struct fm_run *r)
{
    struct fm_buf text = {0}, json = {0};
    fm_result_text(&text, &r->result);
    fm_result_json(&json, &r->result);
    struct fm_buf *out = r->options.json ? &json : &text;
    if (text.failed || json.failed)
        fm_run_complain("memory", "there is none left for the result");
    fwrite(out->p, 1, out->n, stdout);
    if (r->options.report && *r->options.report && fm_report_write(r->options.report, fm_buf_view(&json)))
        fm_run_complain("--report", strerror(errno));
    fm_buf_fini(&text);
    fm_buf_fini(&json);
}

static enum fm_load_exit run_all(struct fm_run *r)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND}; /* a second one ends the program */
    r->terminal = isatty(STDERR_FILENO);
    if (!fm_run_set_up(r, measure_begin))
        return FM_LOAD_UNUSABLE;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    if (!phase_connect(r))
        return FM_LOAD_UNUSABLE;
    phase_idle(r);
    if (r->options.messages || r->options.duration_ms || r->options.storm) {
        phase_publish(r);
        phase_settle(r);
    }
    if (!gone_read(r) || !phase_judge(r))
        return FM_LOAD_UNUSABLE;
    print(r);
    return fm_result_exit(&r->result);
}

int main(int argc, char **argv)
{
    static struct fm_run run = {.loop = {-1}};
    bool go;
    enum fm_load_exit result = fm_load_options_read(&run.options, argc - 1, argv + 1, &go);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without asking for that */
    if (go)
        result = fm_run_prepare(&run) && fm_run_fork(&run) ? FM_LOAD_OK : FM_LOAD_UNUSABLE;
    if (go && result == FM_LOAD_OK)
        result = run.role == FM_ROLE_LEADER   ? run_all(&run)
                 : run.role == FM_ROLE_WORKER ? (enum fm_load_exit)fm_run_work(&run)
                                              : (enum fm_load_exit)fm_run_storm(&run);
    fm_run_tear_down(&run);
    return (int)result;
}
