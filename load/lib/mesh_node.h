/* A node of the mesh bench: a hub with its thread and the NNG mesh on loopback, as in a real node, but instead of clients one subscriber
 * that checks every message, and on the first node a publisher. Each node is a process of its own; what they tell each other while they
 * run lies in memory that they share.
 *
 * -- owner only -- */
#pragma once

#include "hdr.h"
#include "mesh_check.h"
#include "mesh_options.h"

#include <stdatomic.h>

enum { FM_MESH_NODES_MAX = 16 };

struct fm_mesh_cost { /* nanoseconds of CPU time while messages were under way */
    uint64_t node;    /* the process */
    uint64_t own;     /* of that, the bench's own threads: publisher and subscriber */
};

#define FM_MESH_COUNTERS(X) \
    X(batches_out, "batches sent") \
    X(window_waits, "times a batch waited for acknowledgements") \
    X(backlog_refused, "publishes refused because the mesh was behind") \
    X(envelopes_in, "envelopes received") \
    X(dropped, "envelopes dropped by a full queue on the way") \
    X(inbox_dropped, "envelopes dropped by a full inbox") \
    X(pulls, "ranges asked for") \
    X(dropped_double, "messages that came again and were dropped") \
    X(repaired, "messages that arrived by repair") \
    X(gaps, "gaps declared")

struct fm_mesh_report {                       /* of one node; in shared memory */
    atomic_bool ready, through, done, failed; /* through: all that it will get has arrived */
    struct fm_mesh_tally tally;
    struct fm_mesh_cost cost;
    struct fm_hdr latency; /* nanoseconds from the publish to the subscriber */
    uint64_t last_ns;      /* when the last message arrived */
#define X(name, prose) uint64_t name;
    FM_MESH_COUNTERS(X)
#undef X
};

struct fm_mesh_shared {
    atomic_bool go, stop;
    _Atomic uint64_t begin_ns;
    _Atomic uint64_t refused; /* publishes that were tried again */
    struct fm_mesh_report at[FM_MESH_NODES_MAX];
};

/* Runs node `number` until shared->stop; its report says how it went. */
void fm_mesh_node_run(const struct fm_mesh_options *o, unsigned number, struct fm_mesh_shared *shared);

/* What the nodes and the simulation share. */
struct fm_hub_config;
struct fm_msg;
struct fm_publish;
void fm_mesh_topic(uint64_t topic, char name[32]);
/* n messages, of which the first is `number`. worker: who gets the answer. NULL without memory. */
struct fm_publish *fm_mesh_publish(const struct fm_mesh_options *o, uint32_t worker, uint64_t number, uint32_t n, uint64_t at_ns);
