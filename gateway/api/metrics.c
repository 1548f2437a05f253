#include "metrics.h"

#include <inttypes.h>

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
