/* /metrics: the Prometheus text format (version 0.0.4), written from the tables of counters that their owners declare (FM_HUB_STATS,
 * FM_WORKER_STATS) and from what the operating system says of this process.
 *
 * -- any thread -- */
#pragma once

#include "../auth/jwks_fetch.h"
#include "../hooks/hooks.h"
#include "../probe/probe.h"
#include "process.h"

#define FM_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

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
