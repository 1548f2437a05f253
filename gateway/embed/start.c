/* A node's life in a program: fm_start, fm_drain, fm_stop (include/fanmesh/node.h). `fanmesh serve` goes the same way (node/serve.c). */
#include "config.h"
#include "program.h"

#include "../node/node.h"
#include "../node/serve.h"

#include "../../broker/clock.h"

#include <signal.h>
#include <time.h>

enum { READY_LOOK_MS = 5 };

/* A node's threads leave all signals to the program's. libwebsockets has the process ignore SIGPIPE while it starts: what the program wants
 * done with it is put back. */
static enum fm_err start_blocked(struct fm_node **node, struct fm_config *c)
{
    sigset_t all, before;
    struct sigaction on_pipe;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sigaction(SIGPIPE, NULL, &on_pipe);
    enum fm_err err = fm_node_start(node, &c->settings, c->of_process ? NULL : &c->handlers, &c->start);
    sigaction(SIGPIPE, &on_pipe, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

/* The calling thread ends connections; a client that is gone already must not raise SIGPIPE in it. */
static void stop_blocked(struct fm_node **node)
{
    sigset_t pipe, before, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    fm_node_stop(node);
    if (!sigismember(&pending, SIGPIPE))
        (void)sigtimedwait(&pipe, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

enum fm_err fm_start(struct fm_node **node, struct fm_config **config)
{
    struct fm_config *c = *config;
    *node = NULL;
    c->start.n = 0;
    bool whole = c->whole;
    if (!fm_config_finish(c))
        return FM_E_OPTION;
    fm_diag_level_set((enum fm_diag_level)c->settings.log_level);
    fm_diag_format_set((enum fm_diag_format)c->settings.log_format);
    if (!whole || c->of_process)
        fm_serve_log_each(FM_WARN, "settings", &c->report.warnings, "the node goes on with it");
    fm_node_limits(&c->settings);
    enum fm_err err = start_blocked(node, c);
    if (err)
        return err;
    fm_node_own(*node, c);
    *config = NULL;
    fm_serve_log_start(*node);
    return FM_OK;
}

enum fm_err fm_await_ready(struct fm_node *node, unsigned timeout_ms)
{
    if (fm_program_is_here(fm_node_program(node)))
        return FM_E_CALLBACK;
    for (uint64_t until = fm_mono_ms() + timeout_ms; !fm_node_ready(node);) {
        if (fm_mono_ms() >= until)
            return FM_E_TIMEOUT;
        nanosleep(&(struct timespec){.tv_nsec = READY_LOOK_MS * 1000000L}, NULL);
    }
    return FM_OK;
}

enum fm_err fm_drain(struct fm_node *node)
{
    if (fm_program_is_here(fm_node_program(node)))
        return FM_E_CALLBACK;
    fm_serve_drain(node, NULL);
    return FM_OK;
}

enum fm_err fm_stop(struct fm_node **node)
{
    if (!*node)
        return FM_OK;
    if (fm_program_is_here(fm_node_program(*node)))
        return FM_E_CALLBACK;
    stop_blocked(node);
    fm_diag(FM_INFO, "stopped", "why=\"asked to\"");
    return FM_OK;
}
