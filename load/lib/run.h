/* A run of fanmesh-load: what its parts are, and how they are put together from the options.
 *
 * -- owner only -- */
#pragma once

#include "result.h"
#include "series.h"

enum { FM_RUN_PIDS_MAX = 64 };

struct fm_run {
    struct fm_load_options options;
    struct fm_loop loop;
    struct fm_node nodes[FM_FLEET_NODES_MAX], apis[FM_FLEET_NODES_MAX], publish_to[FM_FLEET_NODES_MAX];
    struct fm_tls *tls;
    uint32_t pids[FM_RUN_PIDS_MAX];
    uint32_t pids_n;
    char prefix[FM_FLEET_TOPIC_MAX - 16];
    uint32_t word; /* drawn for the run */
    const struct fm_framing *framing;
    struct fm_times times;
    struct fm_ledger *ledgers;
    struct fm_fleet *fleet;
    struct fm_fleet *pushers; /* --publish-to; else NULL */
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

/* A problem of the run, in a line of its own. */
void fm_run_complain(const char *what, const char *why);
/* Everything that the options ask for, up to but not including the first connection. measure: fm_publisher_config. false: it was said why.
 */
FM_MUST_CHECK bool fm_run_set_up(struct fm_run *r, void (*measure)(void *ctx, uint64_t due_ns));
void fm_run_tear_down(struct fm_run *r);
