/* fanmesh-load: many clients, many messages, and a judge. It runs in phases: connect and join, be idle, publish, wait for the rest, judge.
 * One thread; what is measured of the nodes is their own CPU time and memory, never this program's. */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum { REST_MS = 500, LATE_MS = 300, GONE_READ = 4096 };

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
    atomic_store(&r->times.measure_ns, due_ns);
    r->began_cost = cost_now(r);
    r->began_deliveries = r->result.tally.deliveries;
    r->began_ns = r->last_ns = fm_loop_now_ns();
}

static void measure_end(struct fm_run *r)
{
    if (!r->began_ns)
        return;
    r->result.cpu_s = seconds(cost_now(r).cpu_ns - r->began_cost.cpu_ns);
    r->result.measured = r->result.tally.deliveries - r->began_deliveries;
    r->result.seconds = seconds(r->last_ns - r->began_ns);
}

/* ---- steps ---- */

static void show(struct fm_run *r, const char *phase, uint64_t now)
{
    if (!r->terminal || now - r->shown_ns < 200000000u)
        return;
    r->shown_ns = now;
    fprintf(stderr, "\r\033[K%s: %llu joined, %llu published, %llu delivered", phase, (unsigned long long)fm_fleet_stats(r->fleet)->joined,
            (unsigned long long)fm_publisher_stats(r->publisher)->sent, (unsigned long long)r->result.tally.deliveries);
}

static void show_end(struct fm_run *r)
{
    if (r->terminal)
        fputs("\r\033[K", stderr);
}

static void series_write(struct fm_run *r, uint64_t now)
{
    if (fm_series_tick(&r->series, now, fm_fleet_stats(r->fleet), fm_publisher_stats(r->publisher), &r->result.tally))
        fm_run_complain("--series", "the file can't be written: no more of it");
}

static uint64_t step(struct fm_run *r, const char *phase)
{
    fm_loop_step(&r->loop, 1);
    uint64_t now = fm_loop_now_ns();
    fm_fleet_tick(r->fleet, now);
    if (r->pushers)
        fm_fleet_tick(r->pushers, now);
    if (r->last_deliveries != r->result.tally.deliveries) {
        r->last_deliveries = r->result.tally.deliveries;
        r->last_ns = now;
    }
    series_write(r, now);
    show(r, phase, now);
    return now;
}

static void rest(struct fm_run *r, const char *phase, uint64_t ms)
{
    uint64_t end = fm_loop_now_ns() + ms * 1000000u;
    while (!stopped && step(r, phase) < end)
        ;
}

static void connect_failed(struct fm_run *r)
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
    if (r->tls && fm_tls_stats(r->tls)->why[0])
        fprintf(stderr, "; TLS: %s", fm_tls_stats(r->tls)->why);
    fputs("\n", stderr);
}

static bool phase_connect(struct fm_run *r)
{
    uint64_t start = fm_loop_now_ns(), now = start;
    bool apis_ready = false;
    r->result.rss_before = cost_now(r).rss_bytes;
    struct fm_proc_cost before = cost_now(r);
    while (!stopped && (fm_fleet_stats(r->fleet)->joined < r->options.connections || !apis_ready)) {
        if (now - start > r->options.connect_ms * 1000000u)
            break;
        now = step(r, "connecting");
        apis_ready =
            fm_publisher_ready(r->publisher, now) && (!r->pushers || fm_fleet_stats(r->pushers)->joined == fm_fleet_clients(r->pushers));
    }
    if (fm_fleet_stats(r->fleet)->joined < r->options.connections) {
        connect_failed(r);
        return false;
    }
    if (!apis_ready) {
        fm_run_complain(r->pushers ? "--publish-to" : "--api", "can't connect to all of them");
        return false;
    }
    r->result.connect_s = seconds(now - start);
    struct fm_proc_cost joined = cost_now(r);
    r->result.cpu_connect_s = seconds(joined.cpu_ns - before.cpu_ns);
    return true;
}

static void phase_idle(struct fm_run *r)
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

static void phase_publish(struct fm_run *r)
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
            fm_run_complain("publishing", "no node took a message for as long as --connect-ms allows: given up");
            break;
        }
    }
}

static bool complete(const struct fm_run *r)
{
    bool all = true, unanswered = r->options.api.n == 0 && !r->framing->answers_pushes;
    for (uint64_t t = 0; t < r->options.topics; t++)
        all = all && r->ledgers[t].open == 0 && (r->ledgers[t].silent == 0 || unanswered);
    return all;
}

/* Clients that are on their way back to a node, and publishes that are tried again, get the time that connecting may take. */
static uint64_t settle_ns(const struct fm_run *r)
{
    bool away = fm_fleet_stats(r->fleet)->joined < r->options.connections || fm_publisher_pending(r->publisher);
    uint64_t ms = away && r->options.connect_ms > r->options.settle_ms ? r->options.connect_ms : r->options.settle_ms;
    return ms * 1000000u;
}

/* Until everything is everywhere, or nothing more comes; then a moment for what should not come. */
static void phase_settle(struct fm_run *r)
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

static void phase_judge(struct fm_run *r)
{
    r->series.due_ns = 0; /* the end, whenever the last line was */
    series_write(r, fm_loop_now_ns());
    fm_publisher_settle(r->publisher);
    if (!r->options.no_verify)
        fm_fleet_judge(r->fleet, &r->gone);
    r->result.fleet = *fm_fleet_stats(r->fleet);
    r->result.publisher = *fm_publisher_stats(r->publisher);
    show_end(r);
}

static enum fm_load_exit run_all(struct fm_run *r)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND}; /* a second one ends the program */
    struct fm_buf out = {0};
    if (!fm_run_set_up(r, measure_begin))
        return FM_LOAD_UNUSABLE;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without asking for that */
    if (!phase_connect(r))
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
    static struct fm_run run = {.loop = {-1}};
    bool go;
    enum fm_load_exit result = fm_load_options_read(&run.options, argc - 1, argv + 1, &go);
    if (go)
        result = run_all(&run);
    fm_run_tear_down(&run);
    return (int)result;
}
