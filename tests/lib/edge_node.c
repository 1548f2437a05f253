#include "edge_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <unistd.h>

void edge_node_defaults(struct edge_node *n)
{
    *n = (struct edge_node){
        .client = {.listen = "127.0.0.1:0",
                   .mount = "/socket",
                   .message_max = 64 << 10,
                   .body_max = 4 << 20,
                   .handshake_ms = 60000,
                   .idle_ms = 60000,
                   .outbox_bytes = 1 << 20,
                   .connections_max = 1000,
                   .topics_per_socket = 100},
        .mailbox_bytes = 16 << 20,
    };
}

static void rule(struct fm_rules *rules, const char *pattern, uint32_t history, enum fm_push_to to)
{
    struct fm_rule *r;
    assert_int_equal(fm_rules_add(rules, pattern, &r), FM_OK);
    r->join = r->push = FM_WHO_ANYONE;
    r->push_to = to;
    r->message_max = 64 << 10;
    if (history)
        r->history = (struct fm_retention){history, 1 << 20, 3600 * 1000};
}

void edge_node_start(struct edge_node *n)
{
    const char *what = "";
    assert_int_equal(fm_rules_new(&n->rules), FM_OK);
    rule(n->rules, "room:*", 100, FM_PUSH_ALL);
    rule(n->rules, "quiet:*", 0, FM_PUSH_ALL);
    rule(n->rules, "others:*", 0, FM_PUSH_OTHERS);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(fm_mailbox_init(&n->mailboxes[i], n->mailbox_bytes), FM_OK);
        n->inboxes[i] = &n->mailboxes[i].inbox;
    }
    struct fm_hub_thread_config hub = {.cluster = FM_LIT("test"), .inbox_bytes = 64 << 20, .workers = n->inboxes};
    fm_hub_config_default(&hub.hub);
    hub.hub.workers = 2;
    hub.hub.found_ms = 0;
    hub.hub.join_wait_ms = 0;
    hub.hub.retention = fm_rules_retention;
    hub.hub.retention_ctx = n->rules;
    assert_int_equal(fm_hub_thread_start(&n->hub, &hub, &what), FM_OK);
    struct fm_api_config api = {.version = "test", .batch_max = 1000, .request_bytes = 16 << 20, .ack_timeout_ms = 500, .replicas = 1};
    assert_int_equal(fm_api_new(&n->api, &api), FM_OK);
    n->client.hub = n->hub;
    n->client.rules = n->rules;
    n->client.api = n->api;
    n->client.mailbox = &n->mailboxes[0];
    struct fm_worker_config internal = n->client;
    internal.index = 1;
    internal.internal = true;
    internal.listen = "127.0.0.1:0";
    internal.mailbox = &n->mailboxes[1];
    assert_int_equal(fm_worker_new(&n->worker, &n->client), FM_OK);
    assert_int_equal(fm_worker_new(&n->internal, &internal), FM_OK);
    struct fm_worker *const all[] = {n->worker, n->internal};
    fm_api_attach(n->api, n->hub, all, 2);
    n->port = fm_worker_port(n->worker);
    n->api_port = fm_worker_port(n->internal);
    assert_int_equal(fm_worker_run(n->worker), FM_OK);
    assert_int_equal(fm_worker_run(n->internal), FM_OK);
    edge_node_await(&fm_hub_thread_stats(n->hub)->ready, 1);
}

void edge_node_stop(struct edge_node *n, uint32_t drain_ms)
{
    const struct fm_worker_stats *stats = fm_worker_stats(n->worker);
    fm_worker_drain(n->worker, drain_ms);
    fm_worker_drain(n->internal, 0);
    edge_node_await(&stats->connections, 0);
    assert_int_equal(edge_node_stat(&stats->subscriptions), 0);
    assert_int_equal(edge_node_stat(&stats->outbox_bytes), 0);
    edge_node_end(n);
}

void edge_node_end(struct edge_node *n)
{
    fm_worker_stop(&n->worker);
    fm_worker_stop(&n->internal);
    fm_hub_thread_stop(&n->hub);
    for (size_t i = 0; i < 2; i++)
        fm_mailbox_fini(&n->mailboxes[i]);
    fm_api_free(&n->api);
    fm_rules_free(&n->rules);
}

uint64_t edge_node_stat(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void edge_node_await(const _Atomic uint64_t *counter, uint64_t value)
{
    for (int i = 0; i < 3000 && edge_node_stat(counter) != value; i++)
        usleep(10000);
    assert_int_equal(edge_node_stat(counter), value);
}
