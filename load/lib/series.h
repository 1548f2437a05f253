/* What happened until then, a line of JSON a second: for a picture of a run over time. All but `joined` and the latency are totals.
 *
 * -- owner only -- */
#pragma once

#include "fleet.h"
#include "publisher.h"

#include <stdio.h>

struct fm_sample {
    uint64_t t_ns, joined, sent, deliveries;
};

enum { FM_SAMPLES_MAX = 1024 };

struct fm_series {
    FILE *file;
    uint64_t due_ns;                          /* a line */
    uint64_t step_ns, sample_ns;              /* between samples; when the next is due */
    struct fm_sample samples[FM_SAMPLES_MAX]; /* kept with or without a file, for a picture at the end */
    uint32_t samples_n;
    struct fm_hdr lately; /* latencies since the last line: fm_fleet_config.lately */
};

/* path "" or NULL: nothing is written. FM_E_IO, errno says why. */
FM_MUST_CHECK enum fm_err fm_series_open(struct fm_series *s, const char *path);
bool fm_series_due(const struct fm_series *s, uint64_t now_ns);
/* Writes and keeps what is due. FM_E_IO: it can't be written; nothing more is. */
FM_MUST_CHECK enum fm_err fm_series_tick(struct fm_series *s, uint64_t now_ns, const struct fm_fleet_stats *fleet,
                                         const struct fm_publisher_stats *publisher, const struct fm_tally *tally);
void fm_series_close(struct fm_series *s);
