/* What the files of the API share: its context, the table of routes, and requests that wait for the hub.
 *
 *   api.c          the context, the router, keys          api_publish.c  publish one, publish many
 *   api_parse.c    bodies -> messages, pure               api_query.c    topics, history, cluster
 *   api_status.c   health, readiness, metrics             api_static.c   files on the public listener
 *   api_control.c  commands, questions about clients      api_told.c     bodies -> what is told, pure
 *
 * -- the worker's thread only, unless said otherwise -- */
#pragma once

#include "api.h"
#include "api_parse.h"
#include "metrics.h"

enum { FM_API_WORKERS_MAX = FM_WORKERS_MAX + 1 };

struct fm_api { /* immutable once attached, but for `draining` */
    struct fm_api_config config;
    struct fm_hub_thread *hub;
    struct fm_worker *workers[FM_API_WORKERS_MAX];
    unsigned n;
    atomic_bool draining;
};

/* The context behind a request. */
const struct fm_api *fm_api_of(const struct fm_http_request *req);

enum fm_listener { FM_ON_INTERNAL = 1, FM_ON_PUBLIC = 2, FM_ON_BOTH = 3 };

struct fm_route {
    enum fm_http_method method; /* a GET answers HEAD as well */
    const char *path;           /* may hold one {name}, which stands for at least one byte, slashes included, and a second one at its end */
    enum fm_listener on;
    bool key; /* the API key is needed */
    const char
        *params; /* names of the query parameters that it takes, separated by spaces; "*": it passes over those that it doesn't know */
    /* Judges a request that has, or may have, a body, before that is read; false: it was answered. NULL: the path takes none. */
    bool (*head)(struct fm_http_request *req);
    /* `variable` is what stood for {name}, with all behind it where there are two; it points into req->path. */
    void (*handle)(struct fm_http_request *req, struct fm_slice variable);
    const char *prose;
};

/* Who asks, as far as the key tells: FM_E_UNAUTHORIZED and FM_E_FORBIDDEN (*detail, may be NULL, says why) are not the backend's. `given`
 * is what the request carries instead of a header Authorization; empty: that header. */
FM_MUST_CHECK enum fm_err fm_api_judge(const struct fm_http_request *req, struct fm_slice given, const char **detail);

/* The table; ends with a path of NULL. */
extern const struct fm_route fm_api_routes[];

void fm_api_publish(struct fm_http_request *req, struct fm_slice variable);
void fm_api_publish_batch(struct fm_http_request *req, struct fm_slice variable);
void fm_supabase_api_batch(struct fm_http_request *req, struct fm_slice variable);
void fm_supabase_api_one(struct fm_http_request *req, struct fm_slice variable);
bool fm_supabase_api_batch_head(struct fm_http_request *req);
bool fm_supabase_api_one_head(struct fm_http_request *req);
void fm_api_topics(struct fm_http_request *req, struct fm_slice variable);
void fm_api_history(struct fm_http_request *req, struct fm_slice variable);
void fm_api_presence(struct fm_http_request *req, struct fm_slice variable);
void fm_api_show(struct fm_http_request *req, struct fm_slice topic);
void fm_api_hide(struct fm_http_request *req, struct fm_slice topic);
void fm_api_presence_count(struct fm_http_request *req, struct fm_slice variable);
void fm_api_cluster(struct fm_http_request *req, struct fm_slice variable);
void fm_api_delete_history(struct fm_http_request *req, struct fm_slice topic);
void fm_api_subscribers(struct fm_http_request *req, struct fm_slice topic);
void fm_api_connections(struct fm_http_request *req, struct fm_slice variable);
void fm_api_disconnect(struct fm_http_request *req, struct fm_slice variable);
void fm_api_revoke(struct fm_http_request *req, struct fm_slice variable);
void fm_api_unsubscribe(struct fm_http_request *req, struct fm_slice variable);
void fm_api_list(struct fm_http_request *req, struct fm_slice variable);
void fm_api_healthz(struct fm_http_request *req, struct fm_slice variable);
void fm_api_readyz(struct fm_http_request *req, struct fm_slice variable);
void fm_api_metrics(struct fm_http_request *req, struct fm_slice variable);
/* A path of no route on the public listener. */
void fm_api_static(struct fm_http_request *req);

/* 200 with this JSON; frees the buffer. If it failed for want of memory, 503. */
void fm_api_answer(struct fm_http_request *req, struct fm_buf *body);
/* Reads a whole number from the query: `fallback` where it is absent. On anything else than 1..max the request is answered and the result
 * is false. */
FM_MUST_CHECK bool fm_api_number(struct fm_http_request *req, const char *name, uint32_t max, uint32_t fallback, uint32_t *out);
/* Reads a text from the query into out; empty where absent. False: the request is answered. */
FM_MUST_CHECK bool fm_api_text(struct fm_http_request *req, const char *name, char *out, size_t out_size, bool *present);

/* Is it a topic that there may be? False: the request is answered. */
FM_MUST_CHECK bool fm_api_topic_good(struct fm_http_request *req, struct fm_slice topic);

struct fm_cluster_command;
struct fm_api_limits;
struct fm_api_told;
/* Reads the body of a command (api_told.h). False: the request is answered. */
FM_MUST_CHECK bool fm_api_told(struct fm_http_request *req, unsigned takes, unsigned needs, struct fm_api_limits *limits,
                               struct fm_api_told *told);
/* Gives a command to the cluster, and answers with what came of it: {"id","duplicate"?,"count","nodes":[...],"missing":[...]}. */
void fm_api_command(struct fm_http_request *req, const struct fm_cluster_command *c, struct fm_slice key, uint32_t timeout_ms);

/* Waits for the hub. `answered` gets the request and the item, which it owns; it answers the request. Returns the token to put into the
 * item, 0 without memory. */
typedef void fm_api_answered_fn(struct fm_http_request *req, struct fm_item *item);
uint64_t fm_api_wait(struct fm_http_request *req, fm_api_answered_fn *answered);
/* Without an idempotency key. */
struct fm_api_limits fm_api_limits_of(const struct fm_http_request *req);
/* Hands the order's messages to the hub; `answered` gets the fm_publish, also where the hub can't take it. The order is empty after it.
 * Without memory the request is answered here. */
void fm_api_publish_order(struct fm_http_request *req, struct fm_api_order *order, fm_api_answered_fn *answered);
/* Posts the item whose token fm_api_wait gave. On an error nothing is waited for any more, and the item is the caller's still. */
FM_MUST_CHECK enum fm_err fm_api_try_post(struct fm_http_request *req, struct fm_item *item);
/* The same. If the hub can't take it, the item is freed and the request answered with 503. */
void fm_api_post(struct fm_http_request *req, struct fm_item *item);
