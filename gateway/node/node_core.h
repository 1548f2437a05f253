/* Inside a node: what its files share. Nobody else includes this.
 *
 *   node.c  life: start, reload, end      configs.c  what the parts are told of the settings      descriptors.c  how many there may be */
#pragma once

#include "node.h"
#include "../api/api.h"
#include "../auth/jwks_fetch.h"
#include "../embed/program.h"
#include "../hooks/hooks.h"
#include "../worker/access.h"
#include "../worker/worker.h"

/* Standard streams, epoll, wake-ups, the mesh's listeners and links, the API's clients. */
enum { FM_DESCRIPTORS_FIXED = 128 };

struct fm_node {
    const struct fm_settings *s;
    struct fm_mailbox mailboxes[FM_WORKERS_MAX];
    struct fm_inbox *inbox_at[FM_WORKERS_MAX];
    unsigned mailboxes_n;         /* made; one for each worker, the internal one's is the last */
    unsigned publics;             /* workers that serve clients */
    unsigned n;                   /* all workers */
    struct fm_handlers *handlers; /* of the program that it is in; NULL: it is in none */
    struct fm_program *program;
    struct fm_hooks *hooks;
    struct fm_config *config; /* NULL: the settings are somebody else's */
    struct fm_hub_thread *hub;
    struct fm_api *api;
    struct fm_worker *workers[FM_WORKERS_MAX];
    struct fm_probe_board board;
    struct fm_probe *probe;
    struct fm_limits *limits;
    struct fm_nets proxy_from, api_proxy_from, trusted;
    uint8_t poll_key[32]; /* drawn at the start */
    struct fm_mesh_tls *mesh_tls;
    struct fm_jwks *jwks;              /* NULL: there is no token_jwks_url */
    struct fm_access *access, *before; /* before: not NULL while a thread may have it still */
};

/* ---- configs.c ---- */
/* In the order in which they are needed: some tell of parts that are there by then. */
struct fm_program_config fm_node_program_config(struct fm_node *node); /* fills in the rest of node->handlers, which is not NULL */
struct fm_hooks_config fm_node_hooks_config(struct fm_node *node);
struct fm_hub_thread_config fm_node_hub_config(const struct fm_node *node);
struct fm_jwks_config fm_node_jwks_config(struct fm_node *node);
struct fm_api_config fm_node_api_config(const struct fm_node *node);
struct fm_worker_config fm_node_worker_config(struct fm_node *node, unsigned i);
struct fm_probe_config fm_node_probe_config(struct fm_node *node);
