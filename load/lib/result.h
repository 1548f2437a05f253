/* What a run of fanmesh-load found, and its two ways of saying it.
 *
 * -- owner only -- */
#pragma once

#include "fleet.h"
#include "load_options.h"
#include "proc.h"
#include "publisher.h"

struct fm_result {
    const struct fm_load_options *options;
    struct fm_tally tally;
    struct fm_fleet_stats fleet;
    struct fm_publisher_stats publisher;
    struct fm_hdr latency; /* nanoseconds; without what was published in a storm, which is in */
    struct fm_hdr stormy;
    struct fm_hdr reach; /* from a message's stamp until all had it */
    struct fm_hdr recovery;
    double connect_s;                /* until all clients had joined */
    double seconds;                  /* from the first measured message to the last delivery */
    uint64_t measured;               /* deliveries in that time */
    bool costs;                      /* the following were measured: */
    uint64_t rss_before, rss_joined; /* bytes */
    double cpu_connect_s;
    double idle_s, cpu_idle_s; /* idle_s is 0 if that was not measured */
    uint64_t wakes_idle;       /* in idle_s */
    double cpu_s;              /* in `seconds` */
};

enum fm_load_exit fm_result_exit(const struct fm_result *r);
void fm_result_text(struct fm_buf *out, const struct fm_result *r);
void fm_result_json(struct fm_buf *out, const struct fm_result *r);
