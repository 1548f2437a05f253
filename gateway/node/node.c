/* A node's life: its parts are started in order, learn new settings while they run, and are stopped in reverse. */
#include "node_core.h"

#include "../embed/config.h"
#include "../edge/listen.h"

#include "../../broker/clock.h"
#include "../../broker/diag.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum {
    LEARN_MS = 5000, /* for all threads to take over what was reloaded */
    LOOK_MS = 2,     /* between looks at what another thread has to do first */
};

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
               {"mesh_ask_listen", fm_option_given(s->mesh_listen) ? s->mesh_ask_listen : "none"}};
    enum fm_err first = FM_OK;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        int fd;
        enum fm_err err = fm_option_given(all[i].address) ? fm_listen(all[i].address, true, &fd) : FM_OK;
        if (err) {
            why_address(why, all[i].option, all[i].address, err);
            fm_buf_u8(why, '\n');
            first = first ? first : err;
        } else if (fm_option_given(all[i].address)) {
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
    if (!*files.ca || !fm_option_given(node->s->mesh_listen))
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

static enum fm_err hub_start(struct fm_node *node, struct fm_buf *why)
{
    const struct fm_settings *s = node->s;
    const char *what = "";
    const struct fm_hub_thread_config c = fm_node_hub_config(node);
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
    const struct fm_api_config c = fm_node_api_config(node);
    return fm_api_new(&node->api, &c);
}

static enum fm_err worker_make(struct fm_node *node, unsigned i, struct fm_buf *why)
{
    const struct fm_worker_config c = fm_node_worker_config(node, i);
    enum fm_err err = fm_worker_new(&node->workers[i], &c);
    if (err)
        why_address(why, c.internal ? "api_listen" : "listen", c.listen, err);
    return err;
}

static void look_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
}

/* Clients should not meet a node that has no keys yet, so the first answer is waited for, for as long as one may take. */
static enum fm_err jwks_start(struct fm_node *node)
{
    const struct fm_settings *s = node->s;
    if (!*s->token_jwks_url)
        return FM_OK;
    const struct fm_jwks_config c = fm_node_jwks_config(node);
    enum fm_err err = fm_jwks_start(&node->jwks, &c);
    for (uint64_t ms = 0; !err && ms < s->token_jwks_timeout_ms && !fm_jwks_tried(node->jwks); ms += LOOK_MS)
        look_pause();
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
    const struct fm_probe_config c = fm_node_probe_config(node);
    return fm_probe_start(&node->probe, &c);
}

static enum fm_err program_make(struct fm_node *node)
{
    if (!node->handlers)
        return FM_OK;
    const struct fm_program_config c = fm_node_program_config(node);
    return fm_program_new(&node->program, &c);
}

static enum fm_err hooks_make(struct fm_node *node)
{
    const struct fm_hooks_config c = fm_node_hooks_config(node);
    return fm_hooks_new(&node->hooks, &c);
}

static enum fm_err hooks_learn(struct fm_node *node, const struct fm_access *access)
{
    return node->publics ? fm_hooks_learn(node->hooks, access->hooks, fm_hub_incarnation(node->hub)) : FM_OK;
}

enum fm_err fm_node_start(struct fm_node **out, const struct fm_settings *s, struct fm_handlers *handlers, struct fm_buf *why)
{
    *out = NULL;
    struct fm_node *node = calloc(1, sizeof *node);
    if (!node)
        return FM_E_NOMEM;
    node->s = s;
    while (getrandom(node->poll_key, sizeof node->poll_key, 0) != (ssize_t)sizeof node->poll_key)
        ;
    fm_nets_read(&node->proxy_from, (const char *const *)s->proxy_protocol_from.at);
    fm_nets_read(&node->api_proxy_from, (const char *const *)s->api_proxy_protocol_from.at);
    fm_nets_read(&node->trusted, (const char *const *)s->trusted_proxies.at);
    node->handlers = handlers;
    node->publics = fm_option_given(s->listen) ? (unsigned)s->workers : 0;
    node->n = node->publics + (fm_option_given(s->api_listen) ? 1 : 0);
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
    return fm_node_ready(node) && !(node->board.n && fm_probe_is_new(&node->board));
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
    for (unsigned ms = 0; node->before && ms < LEARN_MS; ms += LOOK_MS) {
        if (learned(node))
            fm_access_free(&node->before);
        else
            look_pause();
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
