/* A node in the test's own process: a real hub without mesh, one worker for clients, one for the API. */
#pragma once

#include "../../gateway/api/api.h"

struct edge_node {
    struct fm_worker_config client; /* of the worker for clients; start fills in what it must */
    size_t mailbox_bytes;
    /* running */
    struct fm_mailbox mailboxes[2];
    struct fm_inbox *inboxes[2];
    struct fm_rules *rules;
    struct fm_api *api;
    struct fm_hub_thread *hub;
    struct fm_worker *worker, *internal;
    uint16_t port, api_port;
};

/* Topics room:* are open to everyone, with a history of 100; quiet:* have none; others:* push to others. Limits are small enough for
 * tests; change n->client between defaults and start. */
void edge_node_defaults(struct edge_node *n);
void edge_node_start(struct edge_node *n);
/* Drains within ms, then stops. Asserts that nothing is left. */
void edge_node_stop(struct edge_node *n, uint32_t drain_ms);
/* Stops whatever is left. */
void edge_node_end(struct edge_node *n);
uint64_t edge_node_stat(const _Atomic uint64_t *counter);
/* Waits until a counter has this value, at most 30 s; asserts it. */
void edge_node_await(const _Atomic uint64_t *counter, uint64_t value);
