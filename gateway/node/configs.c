/* What each part of a node is told of the node's settings: nothing here starts anything. */
#include "node_core.h"

#include <stdlib.h>

enum {
    ENVELOPE_BATCH_MAX = 1 << 20, /* the most that batch_bytes allows: another node's batches may be larger than ours */
    ENVELOPE_ROOM = 4096,         /* header, seal, topic, event, key of the message, or presence, that overfills a batch */
};

/* ---- the hub ---- */

static struct fm_hub_config hub_config(const struct fm_node *node)
{
    const struct fm_settings *s = node->s;
    struct fm_hub_config c;
    fm_hub_config_default(&c);
    c.name = s->name;
    c.bus_address = s->mesh_advertise;
    c.ask_address = s->mesh_ask_advertise;
    c.seeds = (const char *const *)s->join.at;
    c.workers = node->mailboxes_n;
    c.log_bytes = s->log_bytes;
    c.log_age_ms = s->log_age;
    c.memory_bytes = s->memory_bytes;
    c.keys_bytes = s->keys_bytes;
    c.topics_max = (uint32_t)s->topics_max;
    c.commands_bytes = s->commands_bytes;
    c.replicas = (uint32_t)s->replicas;
    c.heartbeat_ms = (uint32_t)s->heartbeat_ms;
    c.repair_after_ms = (uint32_t)s->repair_after_ms;
    c.gap_ms = (uint32_t)s->gap_ms;
    c.found_ms = (uint32_t)s->found_ms;
    c.join_wait_ms = (uint32_t)s->join_wait_ms;
    c.down_ms = (uint32_t)s->down_ms;
    c.presence_bytes = s->presence_bytes;
    c.presence_grace_ms = (uint32_t)s->presence_grace_ms;
    c.presence_pace_ms = (uint32_t)s->presence_pace_ms;
    c.presence_state_bytes = (uint32_t)(s->presence_state_bytes < s->outbox_bytes / 2 ? s->presence_state_bytes : s->outbox_bytes / 2);
    c.ask_timeout_ms = (uint32_t)s->ask_timeout_ms;
    c.cursor_ttl_ms = s->cursor_ttl;
    c.window = (uint32_t)s->window;
    c.window_live_ms = (uint32_t)s->window_live_ms;
    c.batch_bytes = (uint32_t)s->batch_bytes;
    c.backlog_bytes = s->mesh_backlog;
    c.repair_bytes_per_s = s->repair_rate;
    c.retention = fm_rules_retention;
    c.presence_allowed = fm_rules_presence;
    c.retention_ctx = node->access->rules;
    return c;
}

/* The largest thing that comes on top of a full batch. */
static size_t envelope_overfill(const struct fm_settings *s)
{
    return s->message_max > FM_PRESENCE_META_MAX ? s->message_max : FM_PRESENCE_META_MAX;
}

struct fm_hub_thread_config fm_node_hub_config(const struct fm_node *node)
{
    const struct fm_settings *s = node->s;
    return (struct fm_hub_thread_config){
        .hub = hub_config(node),
        .cluster = fm_slice_str(s->cluster),
        .secret = fm_slice_str(s->secret),
        .inbox_bytes = s->hub_inbox_bytes,
        .bus = fm_option_given(s->mesh_listen) ? &fm_bus_nng : NULL,
        .bus_config = {.listen = s->mesh_listen,
                       .listen_ask = s->mesh_ask_listen,
                       .tls = node->mesh_tls,
                       .envelope_max = ENVELOPE_BATCH_MAX + envelope_overfill(s) + ENVELOPE_ROOM},
        .workers = node->inbox_at,
    };
}

/* ---- the API ---- */

struct fm_api_config fm_node_api_config(const struct fm_node *node)
{
    const struct fm_settings *s = node->s;
    return (struct fm_api_config){
        .version = FM_VERSION,
        .batch_max = (uint32_t)s->api_batch_max,
        .request_bytes = (uint32_t)s->api_request_bytes,
        .ack_timeout_ms = (uint32_t)s->ack_timeout_ms,
        .presence_ttl_ms = s->presence_ttl,
        .presence_ttl_max_ms = s->presence_ttl_max,
        .replicas = (uint32_t)s->replicas,
        .user_topic = s->user_topic,
        .probe = node->board.n ? &node->board : NULL,
        .jwks = node->jwks ? fm_jwks_stats(node->jwks) : NULL,
        .program = node->program ? fm_program_stats(node->program) : NULL,
        .hooks = fm_hooks_stats(node->hooks),
        .isolated_unready = s->isolated_unready,
        .web_root = *s->web_root ? s->web_root : NULL,
        .on_public = s->dev_api,
    };
}

/* ---- workers ---- */

/* A node's limit, shared out over its workers. */
static uint32_t share(uint64_t limit, unsigned workers)
{
    return workers ? (uint32_t)((limit + workers - 1) / workers) : 0;
}

static bool has_handlers(const struct fm_node *node)
{
    return node->handlers && (fm_rules_at(node->handlers->join, 0) || fm_rules_at(node->handlers->push, 0));
}

struct fm_worker_config fm_node_worker_config(struct fm_node *node, unsigned i)
{
    static const char *const nothing[] = {NULL};
    const struct fm_settings *s = node->s;
    bool internal = i == node->publics;
    return (struct fm_worker_config){
        .index = i,
        .internal = internal,
        .listen = internal ? s->api_listen : s->listen,
        .mailbox = &node->mailboxes[i],
        .hub = node->hub,
        .rules = node->access->rules,
        .api_key = node->access->api_key,
        .api = node->api,
        .mount = s->mount,
        .user_topic = s->user_subscribe ? s->user_topic : NULL,
        .supabase_mount = fm_option_given(s->supabase_mount) ? s->supabase_mount : NULL,
        .origins = s->origins.n ? (const char *const *)s->origins.at : nothing,
        .message_max = (uint32_t)s->message_max,
        .body_max = (uint32_t)s->api_body_max,
        .handshake_ms = (uint32_t)s->handshake_ms,
        .idle_ms = (uint32_t)s->idle_ms,
        .outbox_bytes = (uint32_t)s->outbox_bytes,
        .connections_max = internal ? FM_DESCRIPTORS_FIXED / 2 : share(s->connections_max, node->publics),
        .accepts_per_s = internal ? 0 : share(s->accepts_per_s, node->publics),
        .topics_per_socket = (uint32_t)s->topics_per_socket,
        .presence_meta_max = (uint32_t)s->presence_meta_max,
        .limits = internal ? NULL : node->limits,
        .joins = {s->joins_per_s, (uint32_t)s->rate_burst_ms},
        .pushes = {s->pushes_per_s, (uint32_t)s->rate_burst_ms},
        .push_bytes = {s->push_bytes_per_s, (uint32_t)s->rate_burst_ms},
        .proxy_from = internal ? &node->api_proxy_from : &node->proxy_from,
        .trusted = &node->trusted,
        .tls = internal ? NULL : node->access->tls,
        .auth = node->access->auth,
        .jwks = node->jwks,
        .deflate = s->deflate,
        .deflate_min = (uint32_t)s->deflate_min,
        .fanout_slice = (uint32_t)s->fanout_slice,
        .handlers = internal || !has_handlers(node) ? NULL : node->handlers,
        .longpoll = s->longpoll && !internal,
        .sse = s->sse && !internal,
        .poll_wait_ms = (uint32_t)s->longpoll_wait_ms,
        .poll_ttl_ms = (uint32_t)s->longpoll_ttl_ms,
        .poll_key = node->poll_key,
        .sse_keepalive_ms = (uint32_t)s->sse_keepalive_ms,
        .sse_retry_ms = (uint32_t)s->sse_retry_ms,
        .hooks = internal ? NULL : node->hooks,
        .hook = internal ? NULL : node->access->hooks,
        .outlived = node->handlers != NULL,
    };
}

/* ---- the others ---- */

struct fm_program_config fm_node_program_config(struct fm_node *node)
{
    struct fm_handlers *h = node->handlers;
    h->program = &node->mailboxes[node->n].inbox;
    h->timeout_ms = (uint32_t)node->s->handler_timeout_ms;
    h->bytes_max = share(node->s->handler_bytes, node->publics);
    h->client_bytes_max = node->s->handler_client_bytes;
    return (struct fm_program_config){.index = node->n,
                                      .mailbox = &node->mailboxes[node->n],
                                      .workers = node->mailboxes,
                                      .workers_n = node->publics,
                                      .settings = node->s,
                                      .node = node};
}

struct fm_hooks_config fm_node_hooks_config(struct fm_node *node)
{
    return (struct fm_hooks_config){.node = node->s->name, .workers = node->mailboxes, .workers_n = node->publics};
}

static bool keys_give(void *ctx, struct fm_key_set *keys)
{
    struct fm_node *node = ctx;
    for (unsigned i = 0; i < node->n; i++) {
        struct fm_keys_item *it = calloc(1, sizeof *it);
        if (!it)
            return false;
        it->item.kind = FM_FETCHED_KEYS;
        it->item.cost = (uint32_t)sizeof *it;
        it->set = fm_key_set_ref(keys);
        fm_inbox_post_always(&node->mailboxes[i].inbox, &it->item); /* one in token_jwks_pause at most */
    }
    return true;
}

struct fm_jwks_config fm_node_jwks_config(struct fm_node *node)
{
    const struct fm_settings *s = node->s;
    return (struct fm_jwks_config){.url = s->token_jwks_url,
                                   .ca = s->token_jwks_ca,
                                   .refresh_ms = s->token_jwks_refresh,
                                   .pause_ms = s->token_jwks_pause,
                                   .timeout_ms = (uint32_t)s->token_jwks_timeout_ms,
                                   .give = keys_give,
                                   .ctx = node};
}

struct fm_probe_config fm_node_probe_config(struct fm_node *node)
{
    return (struct fm_probe_config){
        .workers = node->workers,
        .n = node->publics,
        .hub = node->hub,
        .mount = node->s->mount,
        .proxy_from = &node->proxy_from,
        .every_ms = (uint32_t)node->s->probe_ms,
        .timeout_ms = (uint32_t)node->s->probe_timeout_ms,
        .board = &node->board,
    };
}
