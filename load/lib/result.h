/* What a run of fanmesh-load found, and its two ways of saying it.
 *
 * -- owner only -- */
#pragma once

#include "fleet.h"
#include "load_options.h"
#include "proc.h"
#include "part.h"
#include "publisher.h"
#include "series.h"

enum { FM_RESULT_MEMORY = 40 };

struct fm_result {
    const struct fm_load_options *options;
    struct fm_part all;              /* of all processes together */
    double connect_s;                /* until all clients had joined */
    double seconds;                  /* from the first measured message to the last delivery */
    uint64_t measured;               /* deliveries in that time */
    bool costs;                      /* the following were measured: */
    uint64_t rss_before, rss_joined; /* bytes */
    struct fm_memory {
        uint64_t joined, rss_bytes;
    } memory[FM_RESULT_MEMORY]; /* while clients connected */
    uint32_t memory_n;
    double cpu_connect_s;
    double idle_s, cpu_idle_s; /* idle_s is 0 if that was not measured */
    uint64_t wakes_idle;       /* in idle_s */
    double cpu_s;              /* in `seconds` */
    struct fm_storm_result {
        bool over; /* it ended before the run did */
        double seconds, cpu_s;
        uint64_t joins, failures;
        struct fm_hdr took; /* a client's way in, nanoseconds */
    } storm;
    const struct fm_sample *samples; /* what happened until when */
    uint32_t samples_n;
};

/* 0 where b is. */
static inline double fm_per(double a, double b)
{
    return b > 0 ? a / b : 0;
}

enum fm_load_exit fm_result_exit(const struct fm_result *r);
void fm_result_text(struct fm_buf *out, const struct fm_result *r);
void fm_result_json(struct fm_buf *out, const struct fm_result *r);
