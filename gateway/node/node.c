#include "node.h"
#include "../api/api.h"
#include "../auth/jwks_fetch.h"
#include "../edge/listen.h"
#include "../embed/config.h"
#include "../embed/program.h"
#include "../hooks/hooks.h"
#include "../settings/access.h"
#include "../worker/worker.h"

#include "../../broker/diag.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    ENVELOPE_BATCH_MAX = 1 << 20, /* the most that batch_bytes allows: another node's batches may be larger than ours */
    ENVELOPE_ROOM = 4096,         /* header, seal, topic, event, key of the message, or presence, that overfills a batch */
    DESCRIPTORS_FIXED = 128,      /* standard streams, epoll, wake-ups, the mesh's listeners and links, the API's clients */
    DESCRIPTORS_WORKER = 16,
    DESCRIPTORS_SPARE = 1024, /* where the hard limit allows: a large mesh */
    /* connections_max = 0. The limit is set to what is needed, not to all that is allowed, which may be 10^9: libwebsockets makes tables of
     * that size, and looks through them whenever a connection closes. */
    CONNECTIONS_USUAL = 100000,
    LEARN_MS = 5000, /* for all threads to take over what was reloaded */
    LEARN_LOOK_MS = 2,
};

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
    struct fm_mesh_tls *mesh_tls;
    struct fm_jwks *jwks;              /* NULL: there is no token_jwks_url */
    struct fm_access *access, *before; /* before: not NULL while a thread may have it still */
};

static bool given(const char *listener)
{
    return strcmp(listener, "none") != 0;
}

/* ---- limits ---- */

static uint64_t descriptors_kept(uint64_t workers)
{
    return DESCRIPTORS_FIXED + DESCRIPTORS_WORKER * workers;
}

uint64_t fm_node_connections_for(uint64_t descriptors, uint64_t workers)
{
    uint64_t kept = descriptors_kept(workers);
    return descriptors > kept ? descriptors - kept : 1;
}

void fm_node_limits(struct fm_settings *s)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
        return;
    uint64_t asked = s->connections_max ? s->connections_max : CONNECTIONS_USUAL;
    /* Those of hooks are kept whether there are any now or not: HUP may bring them. */
    uint64_t hooks = s->hook_concurrency + 1;
    uint64_t can = fm_node_connections_for(lim.rlim_max > hooks ? lim.rlim_max - hooks : 0, s->workers);
    uint64_t want = (asked < can ? asked : can) + descriptors_kept(s->workers) + DESCRIPTORS_SPARE + hooks;
    struct rlimit set = {want < lim.rlim_max ? want : lim.rlim_max, lim.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &set) != 0)
        can = fm_node_connections_for(lim.rlim_cur, s->workers);
    if (s->connections_max > can)
        fm_diag(FM_WARN, "connections_max_cut",
                "connections_max=%" PRIu64 " to=%" PRIu64 " descriptors=%" PRIu64
                " why=\"every connection needs a file descriptor\" then=\"raise the hard limit (ulimit -Hn) or lower connections_max\"",
                s->connections_max, can, (uint64_t)lim.rlim_max);
    s->connections_max = asked < can ? asked : can;
}

/* ---- start ---- */

static enum fm_err mailboxes_make(struct fm_node *node)
{
    for (unsigned i = 0; i < node->n + (node->handlers ? 1 : 0); i++) { /* the program's is the last */
        enum fm_err err = fm_mailbox_init(&node->mailboxes[i], node->s->worker_inbox_bytes);
        if (err)
            return err;
        node->inbox_at[i] = &node->mailboxes[i].inbox;
        node->mailboxes_n++;
    }
    return FM_OK;
}

static struct fm_hub_config hub_config(const struct fm_node *node, unsigned workers)
{
    const struct fm_settings *s = node->s;
    struct fm_hub_config c;
    fm_hub_config_default(&c);
    c.name = s->name;
    c.bus_address = s->mesh_advertise;
    c.ask_address = s->mesh_ask_advertise;
    c.seeds = (const char *const *)s->join.at;
    c.workers = workers;
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

static void why_address(struct fm_buf *why, const char *option, const char *address, enum fm_err err)
{
    fm_buf_printf(why, "%s = %s: %s", option, address, fm_err_text(err));
}

/* Nothing is started, and said to be ready, before every port is known to be free; all that are not are named in one go. (Who takes one
 * between this and its use is still told, when its turn comes.) */
static enum fm_err listeners_check(const struct fm_settings *s, struct fm_buf *why)
{
    const struct {
        const char *option, *address;
    } all[] = {{"listen", s->listen},
               {"api_listen", s->api_listen},
               {"mesh_listen", s->mesh_listen},
               {"mesh_ask_listen", given(s->mesh_listen) ? s->mesh_ask_listen : "none"}};
    enum fm_err first = FM_OK;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        int fd;
        enum fm_err err = given(all[i].address) ? fm_listen(all[i].address, true, &fd) : FM_OK;
        if (err) {
            why_address(why, all[i].option, all[i].address, err);
            fm_buf_u8(why, '\n');
            first = first ? first : err;
        } else if (given(all[i].address)) {
            close(fd);
        }
    }
    return first;
}

static struct fm_mesh_tls_files mesh_tls_files(const struct fm_settings *s)
{
    return (struct fm_mesh_tls_files){s->mesh_tls_ca, s->mesh_tls_cert, s->mesh_tls_key};
}

static void mesh_tls_tell(const struct fm_node *node, const char *event)
{
    struct fm_certificate c;
    char names[FM_CERTIFICATE_NAMES_MAX + 32];
    fm_mesh_tls_certificate(node->mesh_tls, &c);
    fm_diag(FM_INFO, event, "names=%s until=%s", fm_diag_quote(names, sizeof names, c.names, strlen(c.names)), c.until);
    if (c.over || c.early)
        fm_diag(FM_WARN, "mesh_certificate_invalid",
                "until=%s why=\"it is not valid %s\" then=\"other nodes refuse it; put a valid one into mesh_tls_cert and send HUP\"",
                c.until, c.over ? "any more" : "yet");
}

static enum fm_err mesh_tls_start(struct fm_node *node, struct fm_buf *why)
{
    const struct fm_mesh_tls_files files = mesh_tls_files(node->s);
    if (!*files.ca || !given(node->s->mesh_listen))
        return FM_OK;
    enum fm_err err = fm_mesh_tls_new(&node->mesh_tls, &files, why);
    if (!err)
        mesh_tls_tell(node, "mesh_certificate");
    return err;
}

/* Links that are there stay; new ones go by what is in the files now. */
static enum fm_err mesh_tls_reload(struct fm_node *node, const struct fm_settings *next, bool *changed, struct fm_buf *why)
{
    const struct fm_mesh_tls_files files = mesh_tls_files(next);
    *changed = false;
    return node->mesh_tls && *files.ca ? fm_mesh_tls_load(node->mesh_tls, &files, changed, why) : FM_OK;
}

/* The largest thing that comes on top of a full batch. */
static size_t envelope_overfill(const struct fm_settings *s)
{
    return s->message_max > FM_PRESENCE_META_MAX ? s->message_max : FM_PRESENCE_META_MAX;
}

static enum fm_err hub_start(struct fm_node *node, struct fm_buf *why)
{
    const struct fm_settings *s = node->s;
    const char *what = "";
    struct fm_hub_thread_config c = {
        .hub = hub_config(node, node->mailboxes_n),
        .cluster = fm_slice_str(s->cluster),
        .secret = fm_slice_str(s->secret),
        .inbox_bytes = s->hub_inbox_bytes,
        .bus = given(s->mesh_listen) ? &fm_bus_nng : NULL,
        .bus_config = {.listen = s->mesh_listen,
                       .listen_ask = s->mesh_ask_listen,
                       .tls = node->mesh_tls,
                       .envelope_max = ENVELOPE_BATCH_MAX + envelope_overfill(s) + ENVELOPE_ROOM},
        .workers = node->inbox_at,
    };
    enum fm_err err = fm_hub_thread_start(&node->hub, &c, &what);
    if (!err)
        return FM_OK;
    if (strstr(what, "ask plane"))
        why_address(why, "mesh_ask_listen", s->mesh_ask_listen, err);
    else if (strstr(what, "publish plane"))
        why_address(why, "mesh_listen", s->mesh_listen, err);
    else
        fm_buf_printf(why, "%s: %s", what, fm_err_text(err));
    return err;
}

static enum fm_err api_make(struct fm_node *node)
{
    const struct fm_settings *s = node->s;
    struct fm_api_config c = {
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
    return fm_api_new(&node->api, &c);
}

/* A node's limit, shared out over its workers. */
static uint32_t share(uint64_t limit, unsigned workers)
{
    return workers ? (uint32_t)((limit + workers - 1) / workers) : 0;
}

static bool has_handlers(const struct fm_node *node)
{
    return node->handlers && (fm_rules_at(node->handlers->join, 0) || fm_rules_at(node->handlers->push, 0));
}

static enum fm_err worker_make(struct fm_node *node, unsigned i, struct fm_buf *why)
{
    static const char *const nothing[] = {NULL};
    const struct fm_settings *s = node->s;
    bool internal = i == node->publics;
    struct fm_worker_config c = {
        .index = i,
        .internal = internal,
        .listen = internal ? s->api_listen : s->listen,
        .mailbox = &node->mailboxes[i],
        .hub = node->hub,
        .rules = node->access->rules,
        .api_key = node->access->api_key,
        .api = node->api,
        .mount = s->mount,
        .supabase_mount = strcmp(s->supabase_mount, "none") == 0 ? NULL : s->supabase_mount,
        .origins = s->origins.n ? (const char *const *)s->origins.at : nothing,
        .message_max = (uint32_t)s->message_max,
        .body_max = (uint32_t)s->api_body_max,
        .handshake_ms = (uint32_t)s->handshake_ms,
        .idle_ms = (uint32_t)s->idle_ms,
        .outbox_bytes = (uint32_t)s->outbox_bytes,
        .connections_max = internal ? DESCRIPTORS_FIXED / 2 : share(s->connections_max, node->publics),
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
        .sse_keepalive_ms = (uint32_t)s->sse_keepalive_ms,
        .sse_retry_ms = (uint32_t)s->sse_retry_ms,
        .hooks = internal ? NULL : node->hooks,
        .hook = internal ? NULL : node->access->hooks,
        .outlived = node->handlers != NULL,
    };
    enum fm_err err = fm_worker_new(&node->workers[i], &c);
    if (err)
        why_address(why, internal ? "api_listen" : "listen", c.listen, err);
    return err;
}

/* Clients should not meet a node that has no keys yet, so the first answer is waited for, for as long as one may take. */
static enum fm_err jwks_start(struct fm_node *node)
{
    const struct fm_settings *s = node->s;
    if (!*s->token_jwks_url)
        return FM_OK;
    const struct fm_jwks_config c = {.url = s->token_jwks_url,
                                     .ca = s->token_jwks_ca,
                                     .refresh_ms = s->token_jwks_refresh,
                                     .pause_ms = s->token_jwks_pause,
                                     .timeout_ms = (uint32_t)s->token_jwks_timeout_ms,
                                     .workers = node->mailboxes,
                                     .workers_n = node->n};
    enum fm_err err = fm_jwks_start(&node->jwks, &c);
    for (uint64_t ms = 0; !err && ms < s->token_jwks_timeout_ms && !fm_jwks_tried(node->jwks); ms += LEARN_LOOK_MS)
        nanosleep(&(struct timespec){.tv_nsec = LEARN_LOOK_MS * 1000000L}, NULL);
    return err;
}

static enum fm_err workers_start(struct fm_node *node, struct fm_buf *why)
{
    enum fm_err err = FM_OK;
    for (unsigned i = 0; i < node->n && !err; i++)
        err = worker_make(node, i, why);
    if (err)
        return err;
    fm_api_attach(node->api, node->hub, node->workers, node->n);
    for (unsigned i = 0; i < node->n && !err; i++)
        err = fm_worker_run(node->workers[i]);
    return err;
}

static enum fm_err probe_start(struct fm_node *node)
{
    if (!node->board.n)
        return FM_OK;
    struct fm_probe_config c = {
        .workers = node->workers,
        .n = node->publics,
        .hub = node->hub,
        .mount = node->s->mount,
        .proxy_from = &node->proxy_from,
        .every_ms = (uint32_t)node->s->probe_ms,
        .timeout_ms = (uint32_t)node->s->probe_timeout_ms,
        .board = &node->board,
    };
    return fm_probe_start(&node->probe, &c);
}

static enum fm_err program_make(struct fm_node *node)
{
    struct fm_handlers *h = node->handlers;
    if (!h)
        return FM_OK;
    h->program = &node->mailboxes[node->n].inbox;
    h->timeout_ms = (uint32_t)node->s->handler_timeout_ms;
    h->bytes_max = share(node->s->handler_bytes, node->publics);
    h->client_bytes_max = node->s->handler_client_bytes;
    const struct fm_program_config c = {.index = node->n,
                                        .mailbox = &node->mailboxes[node->n],
                                        .workers = node->mailboxes,
                                        .workers_n = node->publics,
                                        .settings = node->s,
                                        .node = node};
    return fm_program_new(&node->program, &c);
}

static enum fm_err hooks_make(struct fm_node *node)
{
    const struct fm_hooks_config c = {.node = node->s->name, .workers = node->mailboxes, .workers_n = node->publics};
    return fm_hooks_new(&node->hooks, &c);
}

static enum fm_err hooks_learn(struct fm_node *node, const struct fm_access *access)
{
    return node->publics ? fm_hooks_learn(node->hooks, access->hooks, fm_hub_incarnation(node->hub)) : FM_OK;
}

enum fm_err fm_node_start(struct fm_node **out, const struct fm_settings *s, struct fm_buf *why)
{
    return fm_node_start_in_program(out, s, NULL, why);
}

enum fm_err fm_node_start_in_program(struct fm_node **out, const struct fm_settings *s, struct fm_handlers *handlers, struct fm_buf *why)
{
    *out = NULL;
    struct fm_node *node = calloc(1, sizeof *node);
    if (!node)
        return FM_E_NOMEM;
    node->s = s;
    fm_nets_read(&node->proxy_from, (const char *const *)s->proxy_protocol_from.at);
    fm_nets_read(&node->api_proxy_from, (const char *const *)s->api_proxy_protocol_from.at);
    fm_nets_read(&node->trusted, (const char *const *)s->trusted_proxies.at);
    node->handlers = handlers;
    node->publics = given(s->listen) ? (unsigned)s->workers : 0;
    node->n = node->publics + (given(s->api_listen) ? 1 : 0);
    if (s->probe_ms && node->publics)
        fm_probe_board_init(&node->board, node->publics);
    enum fm_err err = fm_access_new(&node->access, s, NULL, why);
    if (!err)
        err = listeners_check(s, why);
    if (!err)
        err = mailboxes_make(node);
    if (!err)
        err = program_make(node);
    if (!err)
        err = hooks_make(node);
    if (!err)
        err = mesh_tls_start(node, why);
    if (!err)
        err = hub_start(node, why);
    if (!err)
        err = hooks_learn(node, node->access);
    if (!err && node->program)
        err = fm_program_run(node->program, node->hub);
    if (!err)
        err = jwks_start(node);
    if (!err)
        err = api_make(node);
    if (!err)
        err = fm_limits_new(&node->limits, (uint32_t)s->connections_per_address, (uint32_t)s->connections_per_user);
    if (!err)
        err = workers_start(node, why);
    if (!err)
        err = probe_start(node);
    if (err && why->n == 0)
        fm_buf_str(why, fm_err_text(err));
    *out = node;
    if (err)
        fm_node_stop(out);
    else
        fm_access_tell(NULL, node->access);
    return err;
}

bool fm_node_up(const struct fm_node *node)
{
    return atomic_load_explicit(&fm_hub_thread_stats(node->hub)->ready, memory_order_relaxed) &&
           !(node->board.n && fm_probe_is_new(&node->board));
}

/* ---- while it runs ---- */

static bool learned(const struct fm_node *node)
{
    for (unsigned i = 0; i < node->n; i++)
        if (!fm_worker_learned(node->workers[i], node->access))
            return false;
    return fm_hub_thread_learned(node->hub, node->access->rules);
}

/* True: no thread has anything of `before` any more. */
static bool learned_wait(struct fm_node *node)
{
    for (unsigned ms = 0; node->before && ms < LEARN_MS; ms += LEARN_LOOK_MS) {
        if (learned(node))
            fm_access_free(&node->before);
        else
            nanosleep(&(struct timespec){.tv_nsec = LEARN_LOOK_MS * 1000000L}, NULL);
    }
    return !node->before;
}

enum fm_err fm_node_reload(struct fm_node *node, const struct fm_settings *next, struct fm_reload *done, struct fm_buf *why)
{
    struct fm_access *access;
    bool mesh_changed = false;
    *done = (struct fm_reload){0};
    if (!learned_wait(node)) {
        fm_buf_str(why, "a thread of this node has not taken over what was read before; see /readyz, and restart the node if it is deaf");
        return FM_E_BUSY;
    }
    enum fm_err err = fm_access_new(&access, next, node->access, why);
    if (!err && ((err = mesh_tls_reload(node, next, &mesh_changed, why)) != FM_OK || (err = hooks_learn(node, access)) != FM_OK))
        fm_access_free(&access);
    if (err)
        return err;
    done->changed = fm_access_tell(node->access, access) + mesh_changed;
    if (mesh_changed)
        mesh_tls_tell(node, "mesh_certificate_changed");
    done->kept = fm_settings_kept_tell(node->s, next);
    node->before = node->access;
    node->access = access;
    for (unsigned i = 0; i < node->n; i++)
        fm_worker_learn(node->workers[i], access);
    fm_hub_thread_learn(node->hub, access->rules);
    done->everywhere = learned_wait(node);
    return FM_OK;
}

/* ---- the end ---- */

void fm_node_unready(struct fm_node *node)
{
    fm_api_draining(node->api);
}

void fm_node_drain(struct fm_node *node)
{
    fm_api_draining(node->api);
    fm_probe_stop(&node->probe);
    for (unsigned i = 0; i < node->publics; i++)
        fm_worker_drain(node->workers[i], (uint32_t)node->s->drain_ms);
}

uint64_t fm_node_connections(const struct fm_node *node)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < node->publics; i++)
        n += atomic_load_explicit(&fm_worker_stats(node->workers[i])->connections, memory_order_relaxed);
    return n;
}

uint64_t fm_node_held(const struct fm_node *node)
{
    const struct fm_hub_stats *hub = fm_hub_thread_stats(node->hub);
    uint64_t bytes = atomic_load_explicit(&hub->log_bytes, memory_order_relaxed);
    bytes += atomic_load_explicit(&hub->index_bytes, memory_order_relaxed);
    bytes += atomic_load_explicit(&hub->keys_bytes, memory_order_relaxed);
    for (unsigned i = 0; i < node->n; i++)
        bytes += atomic_load_explicit(&fm_worker_stats(node->workers[i])->outbox_bytes, memory_order_relaxed);
    return bytes;
}

struct fm_program *fm_node_program(const struct fm_node *node)
{
    return node->program;
}

void fm_node_own(struct fm_node *node, struct fm_config *config)
{
    node->config = config;
}

const struct fm_config *fm_node_config(const struct fm_node *node)
{
    return node->config;
}

bool fm_node_ready(const struct fm_node *node)
{
    return atomic_load_explicit(&fm_hub_thread_stats(node->hub)->ready, memory_order_relaxed);
}

const struct fm_settings *fm_node_settings(const struct fm_node *node)
{
    return node->s;
}

uint64_t fm_node_incarnation(const struct fm_node *node)
{
    return fm_hub_incarnation(node->hub);
}

bool fm_node_leave(struct fm_node *node, bool *alone)
{
    uint64_t until = fm_mono_ms() + node->s->leave_ms;
    bool left = fm_hub_thread_drain(node->hub, (unsigned)node->s->leave_ms, alone);
    uint64_t now = fm_mono_ms();
    fm_hooks_flush(node->hooks, now < until ? (uint32_t)(until - now) : 0);
    return left;
}

void fm_node_stop(struct fm_node **np)
{
    struct fm_node *node = *np;
    *np = NULL;
    if (!node)
        return;
    fm_probe_stop(&node->probe);
    for (unsigned i = node->n; i > 0; i--)
        if (node->workers[i - 1])
            fm_worker_stop(&node->workers[i - 1]);
    fm_jwks_stop(&node->jwks);
    fm_hooks_stop(node->hooks);
    fm_program_stop(node->program);
    fm_hub_thread_stop(&node->hub);
    fm_program_end(&node->program);
    fm_hooks_free(&node->hooks);
    fm_mesh_tls_unref(&node->mesh_tls);
    fm_limits_free(&node->limits);
    fm_api_free(&node->api);
    fm_access_free(&node->access);
    fm_access_free(&node->before);
    for (unsigned i = 0; i < node->mailboxes_n; i++)
        fm_mailbox_fini(&node->mailboxes[i]);
    fm_config_free(&node->config);
    free(node);
}
