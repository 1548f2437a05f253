/* /metrics: the Prometheus text format (version 0.0.4), written from the tables of counters that their owners declare (FM_HUB_STATS,
 * FM_WORKER_STATS) and from what the operating system says of this process.
 *
 * -- any thread -- */
#pragma once

#include "../auth/jwks_fetch.h"
#include "../hooks/hooks.h"
#include "../probe/probe.h"

#define FM_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* What the operating system says of this process. Prometheus's conventional names, so that stock dashboards find them. */
#define FM_PROCESS_STATS(X) \
    X(resident_bytes, "process_resident_memory_bytes", "gauge", "resident memory in bytes") \
    X(virtual_bytes, "process_virtual_memory_bytes", "gauge", "virtual memory in bytes") \
    X(open_fds, "process_open_fds", "gauge", "open file descriptors") \
    X(max_fds, "process_max_fds", "gauge", "most file descriptors that the process may open") \
    X(trims, "fanmesh_memory_trims_total", "counter", "times memory that the allocator kept and nothing needed was given back") \
    X(threads, "process_threads", "gauge", "threads of the process") \
    X(cpu_seconds, "process_cpu_seconds_total", "counter", "user and system CPU time spent in seconds") \
    X(start_seconds, "process_start_time_seconds", "gauge", "start time of the process since the Unix epoch in seconds")

struct fm_process_stats {
#define X(name, metric, type, help) double name;
    FM_PROCESS_STATS(X)
#undef X
};

/* Fields that the system does not tell stay 0. */
void fm_process_stats_read(struct fm_process_stats *p);

struct fm_metrics_worker {
    const struct fm_worker_stats *stats;
    char label[12]; /* its index, or "internal" */
};

struct fm_metrics {
    const char *version;
    const struct fm_hub_stats *hub; /* NULL: none yet */
    const struct fm_metrics_worker *workers;
    unsigned n;
    const struct fm_probe_board *probe; /* NULL: none */
    const struct fm_jwks_stats *jwks;   /* NULL: none, all are 0 */
    const struct fm_hook_stats *hooks;  /* likewise */
    const struct fm_process_stats *process;
};

/* Every metric once, with HELP and TYPE; a worker's counters as one series a worker, labelled. */
void fm_metrics_write(struct fm_buf *b, const struct fm_metrics *m);

/* docs/metrics.md, whole. */
void fm_metrics_markdown(struct fm_buf *b);
/* The metrics that the page says to watch, one after another; NULL after the last. */
const char *fm_metrics_watched(size_t i);
