/* The hub's thread: a libev loop around the pure hub, its inbox, its bus, and the inboxes of the workers. */
#pragma once

#include "hub.h"

struct fm_hub_thread;

struct fm_hub_thread_config {
    struct fm_hub_config hub;        /* incarnation 0: one is drawn; seal: filled in */
    struct fm_slice cluster;         /* the cluster's name */
    struct fm_slice secret;          /* of the mesh; empty: envelopes go in clear */
    size_t inbox_bytes;              /* of the hub's inbox for workers, and again of the one for the bus */
    const struct fm_bus_ops *bus;    /* NULL: a node alone */
    struct fm_bus_config bus_config; /* listen addresses; deliver and ctx are filled in */
    struct fm_inbox *const *workers; /* hub.workers inboxes; they outlive the thread */
};

/* -- the thread that starts and stops it (main) -- */
/* *what (static text) names what could not be had: which listen address, say. */
FM_MUST_CHECK enum fm_err fm_hub_thread_start(struct fm_hub_thread **t, const struct fm_hub_thread_config *config, const char **what);
/* Announces the final seq, waits at most timeout_ms for the peers' acknowledgements. true: they have everything. *alone (may be NULL):
 * there are none that stay, and nobody has it. */
bool fm_hub_thread_drain(struct fm_hub_thread *t, unsigned timeout_ms, bool *alone);
/* hub.retention_ctx is another from now on, at the latest when fm_hub_thread_learned says so: borrowed until it says so of yet another. */
void fm_hub_thread_learn(struct fm_hub_thread *t, void *retention_ctx);
bool fm_hub_thread_learned(const struct fm_hub_thread *t, const void *retention_ctx);
/* Publishes that have no answer get one, FM_E_CLOSED, in the inboxes of those who sent them. */
void fm_hub_thread_stop(struct fm_hub_thread **t);

/* -- any thread, until stop -- */
/* Posts JOIN, LEAVE, PUBLISH, QUERY, TRACK or an answered INQUIRE. FM_E_BUSY: the inbox is full, the caller still owns the item (LEAVE,
 * INQUIRE, and any TRACK but that which shows something are always taken). */
FM_MUST_CHECK enum fm_err fm_hub_post(struct fm_hub_thread *t, struct fm_item *item);
/* The same, of a PARCEL too, but the hub is not woken for it before fm_hub_wake, which must follow soon: what is posted between is handled,
 * and given out, together. */
FM_MUST_CHECK enum fm_err fm_hub_post_quietly(struct fm_hub_thread *t, struct fm_item *item);
void fm_hub_wake(struct fm_hub_thread *t);
/* What a worker has of clients, and how often one was too slow since its start: told to other nodes with the heartbeats, for people. */
void fm_hub_load_say(struct fm_hub_thread *t, unsigned worker, uint64_t clients, uint64_t slow);
const struct fm_hub_stats *fm_hub_thread_stats(const struct fm_hub_thread *t);
uint64_t fm_hub_incarnation(const struct fm_hub_thread *t);
