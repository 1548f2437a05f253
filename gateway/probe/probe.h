/* The node's probe of itself: does what is sent here arrive here? A thread of its own is a client of every worker, over a real connection:
 * it joins a topic and pushes to it once a second, which goes worker, hub, worker and back. Besides it asks the clients' listener for
 * /healthz. What does not come back in time makes the node deaf: /readyz is 503 and says where, and so do the log and the metrics.
 *
 * Its connections are handed to the workers past the listener, since SO_REUSEPORT does not let one choose the worker. They count in no
 * limit and no counter, and their topics are nobody else's (fm_topic_of_probe). Only the question to the listener is like any client's.
 *
 * A node that stood still (a stopped process, a suspended machine) is not deaf for that: such a time counts for nothing. */
#pragma once

#include "../worker/worker.h"

/* What is known of a part of the node: field, name in /metrics, type, what its value is to be divided by, help. Written by the probe, read
 * by any thread. */
#define FM_PROBE_STATS(X) \
    X(ok, "fanmesh_probe_ok", "gauge", 1, "1 while the node's messages to itself come back by way of this worker, or of the listener") \
    X(failures, "fanmesh_probe_failures_total", "counter", 1, "times nothing came back for probe_timeout_ms") \
    X(round_trip_us, "fanmesh_probe_round_trip_seconds", "gauge", 1000000, "how long the last message took that came back")

/* Where it fails, as far as can be told from outside. */
#define FM_PROBE_WHYS(X) \
    X(NOTHING, "nothing is known") \
    X(SYSTEM, "the node can not connect to itself: no descriptor is left, or the loopback interface is down") \
    X(OPEN, "it does not open connections") \
    X(JOIN, "joins are not answered") \
    X(LOST, "messages are sent and do not come back") \
    X(REFUSED, "the hub takes no messages") \
    X(HEALTH, "connections are not answered")

enum fm_probe_why {
#define X(name, text) FM_PROBE_##name,
    FM_PROBE_WHYS(X)
#undef X
};

enum fm_probe_state { FM_PROBE_NEW /* nothing came back yet */, FM_PROBE_OK, FM_PROBE_DEAF };

struct fm_probe_line { /* one part of the node */
    char name[20];     /* "worker 0", "listener" */
#define X(name, metric, type, unit, help) _Atomic uint64_t name;
    FM_PROBE_STATS(X)
#undef X
    atomic_uint state, why;    /* enum fm_probe_state; enum fm_probe_why, good while DEAF */
    _Atomic uint64_t since_ms; /* DEAF: since when it has been waited for */
    uint64_t waits_ms;         /* the probe's own: the oldest thing that did not come back yet was sent then; 0: nothing is under way */
    uint64_t late_ms;          /* ... and what is late from then on */
};

struct fm_probe_board {
    unsigned n; /* 0: the probe is off */
    struct fm_probe_line at[FM_WORKERS_MAX + 1];
};

/* -- main, before it is shared -- */
/* A line for each worker, then one for the listener. */
void fm_probe_board_init(struct fm_probe_board *b, unsigned workers);

/* -- any thread -- */
/* What a worker's or the listener's label in /metrics is: "0", "listener". */
const char *fm_probe_label(const struct fm_probe_line *line);
/* Has some part never been heard from? */
bool fm_probe_is_new(const struct fm_probe_board *b);
/* Is some part deaf? Then out gets what, for how long and how. */
bool fm_probe_is_deaf(const struct fm_probe_board *b, uint64_t now_ms, char *out, size_t out_size);

/* -- the probe's thread; also for tests -- */
/* Something was sent, and is awaited. */
void fm_probe_sent(struct fm_probe_line *line, uint64_t now_ms);
/* Something came back, after so many microseconds. */
void fm_probe_came(struct fm_probe_line *line, uint64_t now_ms, uint64_t us);
/* Has nothing come back for timeout_ms? */
bool fm_probe_is_due(const struct fm_probe_line *line, uint64_t now_ms, uint32_t timeout_ms);
/* True once each timeout_ms in which nothing came back; the line is deaf from then on. */
bool fm_probe_late(struct fm_probe_line *line, enum fm_probe_why why, uint64_t now_ms, uint32_t timeout_ms);
/* So much of the time that it waits counts for nothing: this process stood still, or there is another good reason. */
void fm_probe_paused(struct fm_probe_line *line, uint64_t ms);

/* -- main -- */
struct fm_probe;

struct fm_probe_config {
    struct fm_worker *const *workers; /* those that serve clients; they run, and outlive the probe */
    unsigned n;
    struct fm_hub_thread *hub;
    const char *mount;
    const struct fm_nets *proxy_from; /* as the workers have it */
    uint32_t every_ms, timeout_ms;
    struct fm_probe_board *board; /* outlives it */
};

FM_MUST_CHECK enum fm_err fm_probe_start(struct fm_probe **probe, const struct fm_probe_config *config);
/* Ends the thread and its connections. */
void fm_probe_stop(struct fm_probe **probe);
