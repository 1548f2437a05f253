#include "metrics.h"
#include "../node/trim.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the text format ---- */

static void head(struct fm_buf *b, const char *metric, const char *type, const char *help)
{
    fm_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void write_hub(struct fm_buf *b, const struct fm_hub_stats *s)
{
#define X(name, metric, type, help) \
    head(b, metric, type, help); \
    fm_buf_printf(b, "%s %" PRIu64 "\n", metric, load(&s->name));
    FM_HUB_STATS(X)
#undef X
}

static void write_workers(struct fm_buf *b, const struct fm_metrics_worker *w, unsigned n)
{
#define X(name, metric, type, help) \
    head(b, metric, type, help); \
    for (unsigned i = 0; i < n; i++) \
        fm_buf_printf(b, "%s{worker=\"%s\"} %" PRIu64 "\n", metric, w[i].label, load(&w[i].stats->name));
    FM_WORKER_STATS(X)
#undef X
}

static void write_probe(struct fm_buf *b, const struct fm_probe_board *probe)
{
#define X(name, metric, type, unit, help) \
    head(b, metric, type, help); \
    for (unsigned i = 0; i < probe->n; i++) \
        fm_buf_printf(b, "%s{worker=\"%s\"} %.9g\n", metric, fm_probe_label(&probe->at[i]), (double)load(&probe->at[i].name) / unit);
    FM_PROBE_STATS(X)
#undef X
}

static const struct fm_jwks_stats no_jwks;

static void write_jwks(struct fm_buf *b, const struct fm_jwks_stats *s)
{
#define X(name, metric, type, help) \
    head(b, metric, type, help); \
    fm_buf_printf(b, "%s %" PRIu64 "\n", metric, load(&s->name));
    FM_JWKS_STATS(X)
#undef X
}

static void write_hooks(struct fm_buf *b, const struct fm_hook_stats *s)
{
    uint64_t n = 0;
#define X(name, metric, type, help) \
    head(b, metric, type, help); \
    fm_buf_printf(b, "%s %" PRIu64 "\n", metric, load(&s->name));
    FM_HOOK_STATS(X)
#undef X
    head(b, FM_HOOK_SECONDS, "histogram", FM_HOOK_SECONDS_HELP);
    for (unsigned i = 0; i < FM_HOOK_BUCKETS; i++) {
        n += load(&s->took[i]);
        if (i < FM_HOOK_BUCKETS - 1)
            fm_buf_printf(b, FM_HOOK_SECONDS "_bucket{le=\"%g\"} %" PRIu64 "\n", fm_hook_buckets[i], n);
        else
            fm_buf_printf(b, FM_HOOK_SECONDS "_bucket{le=\"+Inf\"} %" PRIu64 "\n", n);
    }
    fm_buf_printf(b, FM_HOOK_SECONDS "_sum %.6f\n" FM_HOOK_SECONDS "_count %" PRIu64 "\n", (double)load(&s->took_us) / 1e6, n);
}

static void write_process(struct fm_buf *b, const struct fm_process_stats *p)
{
#define X(name, metric, type, help) \
    head(b, metric, type, help); \
    fm_buf_printf(b, "%s %.15g\n", metric, p->name);
    FM_PROCESS_STATS(X)
#undef X
}

void fm_metrics_write(struct fm_buf *b, const struct fm_metrics *m)
{
    head(b, "fanmesh_build_info", "gauge", "1, with the version as a label");
    fm_buf_printf(b, "fanmesh_build_info{version=\"%s\"} 1\n", m->version);
    if (m->hub)
        write_hub(b, m->hub);
    write_workers(b, m->workers, m->n);
    if (m->probe)
        write_probe(b, m->probe);
    write_jwks(b, m->jwks ? m->jwks : &no_jwks);
    if (m->hooks)
        write_hooks(b, m->hooks);
    if (m->process)
        write_process(b, m->process);
}

/* ---- the process ---- */

/* The first `size - 1` bytes of a file of /proc; empty if there is none. */
static void read_proc(const char *path, char *out, size_t size)
{
    out[0] = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    size_t n = fread(out, 1, size - 1, f);
    out[n] = 0;
    fclose(f);
}

/* Linux 6.2 and later tell the number of entries as the size of the folder; before, they have to be counted. */
static double count_fds(void)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (double)st.st_size;
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return 0;
    unsigned n = 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n > 0 ? n - 1 : 0; /* without the one that was open to count */
}

/* Fields of /proc/self/stat by their number in proc(5), from 3 (the state) on. The name of the process stands before them in parentheses
 * and may hold anything, so they are counted from the last one. */
static unsigned long long stat_field(const char *text, unsigned number)
{
    const char *p = strrchr(text, ')');
    for (unsigned at = 2; p && at < number; at++)
        p = strchr(p + 1, ' ');
    return p ? strtoull(p + 1, NULL, 10) : 0;
}

static double start_time(unsigned long long ticks_after_boot, double ticks_per_second)
{
    struct timespec now, since_boot;
    if (clock_gettime(CLOCK_REALTIME, &now) || clock_gettime(CLOCK_BOOTTIME, &since_boot))
        return 0;
    double boot = (double)now.tv_sec - (double)since_boot.tv_sec + (double)(now.tv_nsec - since_boot.tv_nsec) / 1e9;
    return boot + (double)ticks_after_boot / ticks_per_second;
}

void fm_process_stats_read(struct fm_process_stats *p)
{
    *p = (struct fm_process_stats){.open_fds = count_fds(), .trims = (double)fm_trim_count()};
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        p->max_fds = (double)limit.rlim_cur;
    char text[1024];
    read_proc("/proc/self/stat", text, sizeof text);
    double ticks = (double)sysconf(_SC_CLK_TCK);
    if (!text[0] || ticks <= 0)
        return;
    p->cpu_seconds = (double)(stat_field(text, 14) + stat_field(text, 15)) / ticks;
    p->threads = (double)stat_field(text, 20);
    p->start_seconds = start_time(stat_field(text, 22), ticks);
    p->virtual_bytes = (double)stat_field(text, 23);
    p->resident_bytes = (double)stat_field(text, 24) * (double)sysconf(_SC_PAGESIZE);
}
