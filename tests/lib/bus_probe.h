/* Probes: nodes that are nothing but a bus and the log of everything that it ever delivered, for the tests of bus adapters. Every probe's
 * log is checked when it stops: a pipe has one UP, then its envelopes, then at most one DOWN; an ask has one answer; nothing comes after
 * stop. */
#pragma once

#include "../../broker/bus.h"

enum {
    PROBES = 3,
    PROBE_ENVELOPE_MAX = 65536,
    PROBE_LOG_MAX = 8192,
    PROBE_SOON_MS = 10000, /* longer than anything may take */
    PROBE_QUIET_MS = 200,  /* so long a test waits for what must not come */
};

struct bus_adapter {
    const struct fm_bus_ops *ops;
    /* Makes and removes the world of one test: addresses that nobody uses, and no faults. */
    void *(*open)(void);
    void (*close)(void *env);
    /* Where probe 0 to PROBES - 1 listens. */
    void (*address)(void *env, unsigned probe, char listen[64], char listen_ask[64]);
    /* Lets `ms` milliseconds pass, of whatever time the adapter lives in. */
    void (*run)(void *env, unsigned ms);
    struct fm_mesh_tls *tls; /* of fm_bus_config */
};

struct probe {
    struct fm_bus *bus; /* NULL: not started */
    char listen[64], listen_ask[64];
    pthread_mutex_t lock;
    struct fm_bus_item *log[PROBE_LOG_MAX];
    bool taken[PROBE_LOG_MAX];
    unsigned n;
    bool stopped;
};

extern struct probe probes[PROBES];

void probes_open(const struct bus_adapter *adapter);
/* Stops those that run. */
void probes_close(void);

FM_MUST_CHECK enum fm_err probe_try_start(struct probe *p, const char **what);
struct probe *probe_start(unsigned number);
/* Stops the bus if it runs, checks the log and forgets it; may be started again. */
void probe_stop(struct probe *p);
/* Stops the bus and keeps the log. */
void probe_stop_bus(struct probe *p);

void probe_run(unsigned ms);
/* The next item of a kind that was not taken yet, or NULL if none comes in time. The log owns it. */
const struct fm_bus_item *probe_next_within(struct probe *p, enum fm_bus_event kind, unsigned ms);
const struct fm_bus_item *probe_next(struct probe *p, enum fm_bus_event kind);
/* None of a kind comes. */
void probe_none(struct probe *p, enum fm_bus_event kind);
void probe_assert_bytes(const struct fm_bus_item *item, struct fm_slice bytes);
/* The ask failed, in one of the ways that it may. */
void probe_assert_failed(const struct fm_bus_item *item, uint64_t id);

void probe_link(struct probe *from, const struct probe *to);
/* Links and takes the UPs of both sides; returns the pipe at `from`. */
uint32_t probe_linked(struct probe *from, struct probe *to);
void probe_publish(struct probe *p, struct fm_slice bytes);
void probe_ask(struct probe *from, const struct probe *to, uint64_t id, struct fm_slice bytes, unsigned timeout_ms);
/* One ask and its answer: the connection stands, so that the next ask leaves at once. */
void probe_asked_once(struct probe *from, struct probe *to);
void probe_answer(struct probe *p, uint64_t handle, struct fm_slice bytes);
