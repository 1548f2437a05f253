/* The HTTP API's context: shared by all workers, immutable after start except for the atomics it points to. */
#pragma once

#include "../http/http.h"
#include "../probe/probe.h"
#include "../worker/worker.h"

struct fm_api_config {
    const char *version;
    uint32_t batch_max;      /* messages in one request, over all its topics */
    uint32_t request_bytes;  /* memory of one request's messages: a large payload for many topics is copied for each */
    uint32_t ack_timeout_ms; /* default of a replicated ack */
    uint32_t replicas;
    uint64_t presence_ttl_ms, presence_ttl_max_ms; /* of what a request shows: default, and longest */
    const struct fm_probe_board *probe;            /* borrowed; NULL: none */
    const struct fm_jwks_stats *jwks;              /* likewise */
    const struct fm_worker_stats *program;         /* of the program that embeds the node, borrowed; NULL: none does */
    const struct fm_hook_stats *hooks;             /* borrowed; NULL: none */
    bool isolated_unready;                         /* a node that sees no other is not ready */
    const char *user_topic;                        /* with {user} in it */
    const char *web_root;                          /* folder served under / on the public listener; NULL: none */
    bool on_public; /* the whole API is on the public listener too (dev profile only), for pages from this machine */
};

FM_MUST_CHECK enum fm_err fm_api_new(struct fm_api **api, const struct fm_api_config *config);
void fm_api_free(struct fm_api **api);
/* main: after all are made, before the first runs. For /metrics, /readyz. Borrowed. */
void fm_api_attach(struct fm_api *api, struct fm_hub_thread *hub, struct fm_worker *const *workers, unsigned n);
/* any thread: from now on /readyz is 503 "draining". */
void fm_api_draining(struct fm_api *api);
