/* This process as the operating system sees it, and memory that is given back to it.
 *
 * -- any thread -- */
#pragma once

#include <stdint.h>

/* Prometheus's conventional names, so that stock dashboards find them. */
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
uint64_t fm_process_resident(void); /* bytes */

/* Gives back what glibc's allocator keeps although nothing is allocated in it (node/trim.h says when); counted in `trims`. */
void fm_process_trim(void);
