/* A whole node, put together from its settings: inboxes, hub, API, workers, in this order; taken apart in the reverse one.
 *
 *   fm_node_start -> runs -> fm_node_unready (balancers notice) -> fm_node_drain (no new clients, the others are sent away) ->
 *   fm_node_leave (the mesh is flushed) -> fm_node_stop
 *
 * -- main; signals are blocked before start, so that the node's threads leave them to main -- */
#pragma once

#include "../settings/settings.h"

struct fm_config;
struct fm_handlers;
struct fm_node;
struct fm_program;

/* Settings that fm_settings_load accepted; they outlive the node. handlers: of the program that the node is in, which makes calls of it
 * (gateway/embed/) and goes on after it; they outlive the node, what is not a table of them is filled in. NULL: it is in none. On an error
 * `why` says what could not be had and what to do, for people, a line each. */
FM_MUST_CHECK enum fm_err fm_node_start(struct fm_node **node, const struct fm_settings *settings, struct fm_handlers *handlers,
                                        struct fm_buf *why);
/* Its part for the program; NULL: it has none. */
struct fm_program *fm_node_program(const struct fm_node *node);
const struct fm_settings *fm_node_settings(const struct fm_node *node);
/* The config, with the settings in it, goes with the node. */
void fm_node_own(struct fm_node *node, struct fm_config *config);
const struct fm_config *fm_node_config(const struct fm_node *node);
/* Has it the cluster's state? */
bool fm_node_ready(const struct fm_node *node);
struct fm_reload {
    unsigned changed; /* told in the log, a line each, and in force */
    unsigned kept;    /* options that are others now, and need a restart; told likewise */
    bool everywhere;  /* false: a thread still goes by what was before; it takes the new with its next turn */
};

/* Rules, API key and certificates become what the settings say; all of it, or on an error nothing. New connections and joins find the new
 * ones, open connections stay; of the channels those end whose topics nobody may join any more. The settings are not needed afterwards.
 * FM_E_IO, FM_E_BUSY: `why` as with start. */
FM_MUST_CHECK enum fm_err fm_node_reload(struct fm_node *node, const struct fm_settings *next, struct fm_reload *done, struct fm_buf *why);
/* Readiness turns false, so that balancers send no more clients; nothing else changes. */
void fm_node_unready(struct fm_node *node);
/* Readiness turns false, listening stops, clients are sent away over settings.drain_ms. Returns at once. */
void fm_node_drain(struct fm_node *node);
/* It has the cluster's state and has heard itself: clients may come. */
bool fm_node_up(const struct fm_node *node);
uint64_t fm_node_incarnation(const struct fm_node *node);
/* Client sockets that are open. */
uint64_t fm_node_connections(const struct fm_node *node);
/* Bytes that the node knows to be in use: messages, what goes with them, what is owed to clients. */
uint64_t fm_node_held(const struct fm_node *node);
/* Takes no more publishes; waits at most settings.leave_ms until the other nodes have everything of this one. False: they may not. *alone:
 * there is none that stays. */
bool fm_node_leave(struct fm_node *node, bool *alone);
void fm_node_stop(struct fm_node **node);

/* ---- descriptors.c ---- */
/* Raises the limit of file descriptors as far as the node can use it, and cuts connections_max to what it allows; warnings go to the log.
 */
void fm_node_limits(struct fm_settings *settings);
/* The number of connections that `descriptors` leave to a node with so many workers. */
uint64_t fm_node_connections_for(uint64_t descriptors, uint64_t workers);
