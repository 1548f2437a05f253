/* What other processes cost: CPU time and memory by process id, read from the kernel.
 *
 * -- any thread -- */
#pragma once

#include "fanmesh/err.h"

#include <stdint.h>

struct fm_proc_cost {
    uint64_t cpu_ns;    /* user and system, all threads, since the process began */
    uint64_t rss_bytes; /* resident memory; the kernel's own (socket buffers) is not in it */
    uint64_t wakes;     /* how often threads that live now went to sleep: unlike CPU time no matter of what else the machine does */
};

/* The sum over n processes. FM_E_NOT_FOUND: one of them does not exist (any more). */
FM_MUST_CHECK enum fm_err fm_proc_cost(const uint32_t *pids, uint32_t n, struct fm_proc_cost *sum);
