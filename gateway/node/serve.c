/* `fanmesh serve`: a node from its settings to its end.
 *
 * Signals are blocked in every thread and waited for here. Once the drain has begun, main lets them through again, and a handler ends the
 * process at once: so the second signal works whatever main is waiting for. */
#include "../cli/cli_tables.h"
#include "../settings/settings_rules.h"
#include "../embed/config.h"
#include "node.h"
#include "notify.h"
#include "serve.h"
#include "trim.h"

#include "../../broker/clock.h"
#include "../../broker/diag.h"
#include "fanmesh/cursor.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { STOP_SECONDS = 3, DRAIN_GRACE_MS = 1000, DRAIN_LOOK_MS = 20, READY_LOOK_MS = 20, QUOTE_MAX = 512 };

static sigset_t ending(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

/* Made before they are needed: a signal handler can only write. */
static char line_at_once[FM_DIAG_LINE_MAX], line_of_patience[FM_DIAG_LINE_MAX];
static size_t line_at_once_n, line_of_patience_n;

static void lines_make(void)
{
    line_at_once_n = fm_diag_line_ready(line_at_once, FM_WARN, "stopped",
                                        "why=\"a second signal\" then=\"ended at once, without waiting for clients and other nodes\"");
    line_of_patience_n = fm_diag_line_ready(line_of_patience, FM_WARN, "stopped",
                                            "why=\"asked to\" then=\"ended without a library that did not end its threads in time\"");
}

static void end_at_once(int signal)
{
    (void)signal;
    ssize_t done = write(STDERR_FILENO, line_at_once, line_at_once_n);
    (void)done;
    _exit(FM_EXIT_FAILED);
}

/* Taking the node apart gives nothing to anybody any more: clients and other nodes have been served. If a library does not let go, the
 * process still ends as asked. (NNG 1.5.2 never finishes a receive whose link is closed here between the header and the body of a message,
 * and then waits for it for ever when its socket is closed; fixed in 1.6.) */
static void end_of_patience(int signal)
{
    (void)signal;
    ssize_t done = write(STDERR_FILENO, line_of_patience, line_of_patience_n);
    (void)done;
    _exit(FM_EXIT_OK);
}

static void patience_begin(unsigned seconds, struct sigaction *before)
{
    struct sigaction sa = {.sa_handler = end_of_patience};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGALRM, &sa, before);
    alarm(seconds);
}

static void patience_end(const struct sigaction *before)
{
    alarm(0);
    sigaction(SIGALRM, before, NULL);
}

/* HUP stays blocked to the end: there is nothing to reload in a node that drains. */
static void signals_block(void)
{
    sigset_t set = ending();
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void signals_end_at_once(void)
{
    struct sigaction sa = {.sa_handler = end_at_once};
    sigset_t set = ending();
    sigemptyset(&sa.sa_mask);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- log ---- */

/* A line for each of `lines`. */
void fm_serve_log_each(enum fm_diag_level level, const char *event, const struct fm_buf *lines, const char *then)
{
    const char *p = (const char *)lines->p, *end = p + lines->n, *nl;
    char quote[QUOTE_MAX];
    for (; p < end; p = nl + 1) {
        nl = memchr(p, '\n', (size_t)(end - p));
        nl = nl ? nl : end;
        fm_diag(level, event, "why=%s then=\"%s\"", fm_diag_quote(quote, sizeof quote, p, (size_t)(nl - p)), then);
    }
}

static void log_rules(const struct fm_settings *s)
{
    struct fm_rule *r;
    for (size_t i = 0; (r = fm_rules_at(s->rules, i)); i++)
        fm_rule_tell("topic_rule", r);
}

void fm_serve_log_start(const struct fm_node *node)
{
    const struct fm_settings *s = fm_node_settings(node);
    char origin[FM_ORIGIN_TEXT_MAX + 1], name[QUOTE_MAX], cluster[QUOTE_MAX];
    bool mesh = fm_option_given(s->mesh_listen);
    fm_origin_print(fm_node_incarnation(node), origin);
    fm_diag(FM_INFO, "started",
            "version=%s name=%s incarnation=%s cluster=%s sealed=%s mesh_tls=%s tls=%s tokens=%s hooks=%s pid=%ld workers=%" PRIu64
            " connections_max=%" PRIu64
            " listen=%s api_listen=%s mesh_listen=%s mesh_ask_listen=%s mesh_advertise=%s mesh_ask_advertise=%s join=%zu",
            FM_VERSION, fm_diag_quote(name, sizeof name, s->name, strlen(s->name)), origin,
            fm_diag_quote(cluster, sizeof cluster, s->cluster, strlen(s->cluster)), *s->secret ? "yes" : "no",
            *s->mesh_tls_ca ? "yes" : "no", s->tls_cert.n ? "yes" : "no",
            *s->token_secret || *s->token_key_file || *s->token_jwks_url ? "yes" : "no", *s->hook_url ? "yes" : "no", (long)getpid(),
            s->workers, s->connections_max, s->listen, s->api_listen, s->mesh_listen, mesh ? s->mesh_ask_listen : "none",
            mesh ? s->mesh_advertise : "none", mesh ? s->mesh_ask_advertise : "none", s->join.n);
    if (s->dev)
        fm_diag(
            FM_WARN, "dev_profile",
            "why=\"--dev opens room:*, realtime:* and every Origin to everyone who reaches %s%s%s\" then=\"never run it in production\"",
            s->listen, *s->api_key ? "" : ", and the API without a key", s->dev_api ? ", there too" : "");
    log_rules(s);
    if (!mesh || !s->join.n) /* such a hub is ready from its first moment on; the others say so when they are */
        fm_diag(FM_INFO, "ready", "why=\"there is no node to join; this one founded a cluster\"");
}

/* ---- life ---- */

static void sleep_ms(uint64_t ms)
{
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* Balancers first, then clients, then the mesh. */
void fm_serve_drain(struct fm_node *node, const char *signal)
{
    const struct fm_settings *s = fm_node_settings(node);
    uint64_t left = fm_node_connections(node);
    fm_diag(FM_INFO, "draining", "signal=%s connections=%" PRIu64 " drain_wait_ms=%" PRIu64 " drain_ms=%" PRIu64 " why=\"%s\"",
            signal ? signal : "none", left, s->drain_wait_ms, s->drain_ms,
            signal ? "a second signal ends the node at once" : "the program asked for it");
    if (signal) /* else the process may go on */
        fm_notify("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=%" PRIu64,
                  1000 * (s->drain_wait_ms + s->drain_ms + DRAIN_GRACE_MS + s->leave_ms + 1000 * (STOP_SECONDS + 1)));
    fm_node_unready(node);
    sleep_ms(s->drain_wait_ms);
    uint64_t began = fm_mono_ms(), until = began + s->drain_ms + DRAIN_GRACE_MS;
    fm_node_drain(node);
    while ((left = fm_node_connections(node)) > 0 && fm_mono_ms() < until)
        sleep_ms(DRAIN_LOOK_MS);
    if (left)
        fm_diag(FM_WARN, "drained",
                "connections=%" PRIu64 " ms=%" PRIu64
                " why=\"these clients did not answer the close in time\" then=\"their connections are cut\"",
                left, fm_mono_ms() - began);
    else
        fm_diag(FM_INFO, "drained", "connections=0 ms=%" PRIu64, fm_mono_ms() - began);
    bool alone = false;
    if (!fm_node_leave(node, &alone))
        fm_diag(FM_WARN, "left",
                "leave_ms=%" PRIu64 " why=\"not every other node confirmed in time that it has what this one accepted\" then=\"it ends all "
                "the same; where that happens often raise leave_ms\"",
                s->leave_ms);
    else if (alone && s->join.n)
        fm_diag(FM_WARN, "left", "why=\"no other node is in reach to take over what this one has\" then=\"it goes with this one\"");
    else if (alone)
        fm_diag(FM_INFO, "left", "why=\"there is no other node; what this one has goes with it\"");
    else
        fm_diag(FM_INFO, "left", "why=\"every other node has what this one accepted\"");
}

/* Whoever asked for JSON reads nothing else. */
static void start_failed(const struct fm_command *command, const struct fm_settings *s, const struct fm_buf *why)
{
    if (s->log_format == FM_JSON_LINES)
        fm_serve_log_each(FM_ERROR, "start_failed", why, "the node does not start");
    else
        fm_cli_report(command, why, "");
}

/* HUP: the same command line and environment, and the files as they are now. */
static void reload(struct fm_node *node, const struct fm_args *args)
{
    static const char nothing[] = "nothing was changed; mend it and send HUP again";
    struct fm_settings next = {0};
    struct fm_report report = {0};
    struct fm_reload done;
    struct fm_buf why = {0};
    uint64_t began = fm_mono_ms();
    if (!fm_settings_load(&next, args, environ, &report)) {
        fm_serve_log_each(FM_ERROR, "reload_failed", &report.errors, nothing);
    } else if (fm_node_reload(node, &next, &done, &why) != FM_OK) {
        fm_serve_log_each(FM_ERROR, "reload_failed", &why, nothing);
    } else {
        fm_serve_log_each(FM_WARN, "settings", &report.warnings, "the node goes on with it");
        fm_diag(FM_INFO, "reloaded", "changes=%u need_restart=%u ms=%" PRIu64 "%s", done.changed, done.kept, fm_mono_ms() - began,
                done.everywhere ? "" : " why=\"a thread is busy\" then=\"it takes the changes over when it can\"");
    }
    fm_buf_fini(&why);
    fm_report_fini(&report);
    fm_settings_fini(&next);
}

/* At most so long, ms 0: without limit, for a signal that ends the node; it reloads what it is asked to. 0: no such signal has come. */
static int signal_wait(struct fm_node *node, const struct fm_args *args, uint64_t ms)
{
    sigset_t set = ending();
    sigaddset(&set, SIGHUP);
    struct timespec most = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    int sig = sigtimedwait(&set, NULL, ms ? &most : NULL);
    if (sig == SIGHUP && args)
        reload(node, args);
    else if (sig == SIGHUP)
        fm_diag(FM_WARN, "reload_failed",
                "why=\"the settings come from the program that has the node inside\" then=\"nothing was changed\"");
    else if (sig > 0)
        return sig;
    return 0;
}

/* Until clients may come: then the service manager is told, which so restarts one node after another. A node that is not ready can be
 * mended by a reload like any other. The signal that came before, or 0. */
static int ready_wait(struct fm_node *node, const struct fm_args *args)
{
    int sig = 0;
    while (!sig && !fm_node_up(node))
        sig = signal_wait(node, args, READY_LOOK_MS);
    if (!sig)
        fm_notify("READY=1\nSTATUS=serving");
    return sig;
}

/* Until the node is to end; meanwhile it looks after its memory. */
static int end_wait(struct fm_node *node, const struct fm_args *args, uint64_t trim_ms)
{
    struct fm_trim trim = {0};
    uint64_t looked_ms = fm_mono_ms();
    int sig;
    while (!(sig = signal_wait(node, args, trim_ms))) {
        if (trim_ms && fm_mono_ms() - looked_ms >= trim_ms) {
            fm_trim(&trim, fm_node_held(node));
            looked_ms = fm_mono_ms();
        }
    }
    return sig;
}

/* A node that has started, until a signal ends it. */
static void run(struct fm_node **node)
{
    const struct fm_config *config = fm_node_config(*node);
    const struct fm_args *args = config->of_process ? &config->args : NULL;
    struct sigaction on_alarm;
    lines_make();
    int sig = ready_wait(*node, args);
    if (!sig)
        sig = end_wait(*node, args, fm_node_settings(*node)->trim_ms);
    signals_end_at_once();
    fm_serve_drain(*node, sig == SIGINT ? "INT" : "TERM");
    patience_begin(STOP_SECONDS, &on_alarm);
    (void)fm_stop(node);
    patience_end(&on_alarm);
}

enum fm_err fm_serve(struct fm_config **config)
{
    struct fm_node *node;
    signals_block();
    enum fm_err err = fm_start(&node, config);
    if (!err)
        run(&node);
    return err;
}

static enum fm_exit serve(const struct fm_command *command, struct fm_config **config)
{
    enum fm_err err = fm_serve(config);
    if (err)
        start_failed(command, &(*config)->settings, &(*config)->start);
    return err ? FM_EXIT_FAILED : FM_EXIT_OK;
}

enum fm_exit fm_run_serve(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_config *config = fm_config_of_process();
    bool go;
    if (!config) {
        fm_cli_complain(command, "%s", fm_err_text(FM_E_NOMEM));
        return FM_EXIT_FAILED;
    }
    enum fm_exit code = fm_cli_settings(command, &config->settings, &config->report, &config->args, argc, argv, &go);
    if (go)
        code = serve(command, &config);
    fm_config_free(&config);
    return code;
}
