/* For tests of the router and its handlers: a node whose edge, worker and hub's thread are played by this file, since what they do there is
 * little and must be watched. Each program includes it once. */
#pragma once

#include "../../../gateway/api/api_state.h"
#include "../../../gateway/edge/admit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- the edge ---- */

static struct {
    unsigned answers, status;
    char type[64], headers[512], body[65536];
} got;

void fm_http_respond(struct fm_http_request *req, unsigned status, const char *content_type, struct fm_slice headers, struct fm_slice body)
{
    assert_null(req->gone); /* who answers waits for nothing any more */
    assert_true(headers.n < sizeof got.headers && body.n < sizeof got.body);
    got.answers++;
    got.status = status;
    snprintf(got.type, sizeof got.type, "%s", content_type);
    snprintf(got.headers, sizeof got.headers, "%.*s", (int)headers.n, (const char *)headers.p);
    snprintf(got.body, sizeof got.body, "%.*s", (int)body.n, (const char *)body.p);
}

/* admit.c's, which is of the worker: the tests' node reads no tokens. */
bool fm_admit_token(struct fm_worker *w, const struct fm_peer *peer, struct fm_slice token, struct fm_identity **id,
                    struct fm_token_fault *fault)
{
    (void)w, (void)peer, (void)token, (void)id, (void)fault;
    fail_msg("no token is looked at here");
    return false;
}

/* ---- the worker ---- */

struct fm_worker {
    struct fm_worker_config config;
    struct fm_worker_stats stats;
    fm_answered_fn *answered;
    void *ctx;
    uint64_t token, forgotten;
};

const struct fm_worker_config *fm_worker_config(const struct fm_worker *w)
{
    return &w->config;
}

const struct fm_worker_stats *fm_worker_stats(const struct fm_worker *w)
{
    return &w->stats;
}

enum fm_err fm_worker_limit_sender(struct fm_worker *w, const struct fm_sender *who, struct fm_msg *const *msgs, uint32_t n,
                                   uint32_t *retry_ms)
{
    (void)w, (void)who, (void)msgs, (void)n;
    *retry_ms = 0;
    return FM_OK;
}

uint64_t fm_worker_expect(struct fm_worker *w, fm_answered_fn *answered, void *ctx)
{
    w->answered = answered;
    w->ctx = ctx;
    return ++w->token;
}

void fm_worker_forget(struct fm_worker *w, uint64_t token)
{
    w->forgotten = token;
}

/* ---- the hub's thread ---- */

struct fm_hub_thread {
    struct fm_hub_stats stats;
    bool full;
    struct fm_item *posted;
};

const struct fm_hub_stats *fm_hub_thread_stats(const struct fm_hub_thread *t)
{
    return &t->stats;
}

enum fm_err fm_hub_post(struct fm_hub_thread *t, struct fm_item *item)
{
    if (t->full)
        return FM_E_BUSY;
    assert_null(t->posted);
    t->posted = item;
    return FM_OK;
}

/* ---- a node of them ---- */

static struct {
    struct fm_api *api;
    struct fm_rules *rules;
    struct fm_hub_thread hub;
    struct fm_worker public, internal;
    struct fm_http_request req;
    char web_root[64];
} node;

static void start_node_with(const char *key, bool on_public)
{
    memset(&node, 0, sizeof node);
    memset(&got, 0, sizeof got);
    struct fm_rule *room;
    assert_int_equal(fm_rules_new(&node.rules), FM_OK);
    assert_int_equal(fm_rules_add(node.rules, "room:*", &room), FM_OK);
    snprintf(node.web_root, sizeof node.web_root, "/tmp/fm-api-test-XXXXXX");
    assert_non_null(mkdtemp(node.web_root));
    const struct fm_api_config config = {.version = "9.9",
                                         .batch_max = 10,
                                         .request_bytes = 1 << 20,
                                         .ack_timeout_ms = 2000,
                                         .replicas = 1,
                                         .web_root = node.web_root,
                                         .on_public = on_public};
    assert_int_equal(fm_api_new(&node.api, &config), FM_OK);
    node.public.config = (struct fm_worker_config){.index = 0, .hub = &node.hub, .rules = node.rules, .api = node.api, .api_key = key};
    node.internal.config =
        (struct fm_worker_config){.index = 1, .internal = true, .hub = &node.hub, .rules = node.rules, .api = node.api, .api_key = key};
    struct fm_worker *workers[] = {&node.public, &node.internal};
    fm_api_attach(node.api, &node.hub, workers, 2);
}

static void start_node(const char *key)
{
    start_node_with(key, false);
}

static int set_up(void **state)
{
    (void)state;
    start_node(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (node.hub.posted)
        fm_hub_item_free(node.hub.posted);
    fm_api_free(&node.api);
    fm_rules_free(&node.rules);
    return rmdir(node.web_root);
}

/* One request; `target` may have a query. */
static struct fm_http_request *ask(enum fm_http_method method, bool internal, const char *target, const char *body)
{
    const char *mark = strchr(target, '?');
    memset(&got, 0, sizeof got);
    node.req.worker = internal ? &node.internal : &node.public;
    node.req.internal = internal;
    node.req.method = method;
    node.req.path = fm_slice_of(target, mark ? (size_t)(mark - target) : strlen(target));
    node.req.query = mark ? fm_slice_str(mark + 1) : fm_slice_of(NULL, 0);
    node.req.body = fm_slice_str(body);
    if (!node.req.host.n)
        node.req.host = FM_LIT("127.0.0.1:4001");
    if (!node.req.content_type.n)
        node.req.content_type = FM_LIT("application/json");
    fm_api_handle(&node.req);
    return &node.req;
}

static void assert_answer(unsigned status, const char *part)
{
    assert_int_equal(got.answers, 1);
    if (got.status != status || !strstr(got.body, part))
        fail_msg("expected %u with %s, got %u: %s", status, part, got.status, got.body);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
