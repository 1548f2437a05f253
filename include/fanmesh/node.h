/* A node inside a program: the same one that `fanmesh serve` runs, with its settings, its mesh, its clients.
 *
 *   struct fm_config *config;
 *   struct fm_node *node;
 *   fm_config_new(&config);
 *   fm_config_text(config, "dev = true");
 *   if (fm_start(&node, &config))
 *       fprintf(stderr, "%s", fm_config_why(config));
 *   ...
 *   fm_drain(node);
 *   fm_stop(&node);
 *
 * Threads. A node has threads of its own: one for the hub, one for each worker, those of the mesh, and one, the callback thread, on which
 * everything runs that the program gives it: what is told to subscriptions (subscribe.h), results of publishes (publish.h), handlers
 * (handler.h). So callbacks of one node never run at the same time, and the next one waits for the one that runs; clients are served on
 * other threads and never wait for a callback. A callback may make every call of these headers but those that wait: fm_await_ready,
 * fm_publish_wait, fm_drain, fm_stop (FM_E_CALLBACK).
 *
 * The node's threads block all signals and leave them to the program's. What it changes for the whole process: the
 * soft limit of file descriptors is raised as far as a node can use it. Its log goes to standard error, from the level log_level on.
 *
 * Strings are UTF-8 and end with a zero byte. Every enum fm_err has a sentence: fm_err_text. */
#pragma once

#include "fanmesh/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- settings: one thread at a time ---- */

/* The settings of a node to be, and its handlers. Options are those of docs/settings.md, with the same names, forms and defaults. What is
 * wrong is kept: fm_start then fails, and fm_config_why says all of it, so that not every call here needs to be checked. */
struct fm_config;

/* Every option at its default, no topic. FM_E_NOMEM: *config is NULL. */
FM_API FM_MUST_CHECK enum fm_err fm_config_new(struct fm_config **config);
/* Only what fm_start has not taken. NULL is a no-op; *config becomes NULL. */
FM_API void fm_config_free(struct fm_config **config);

/* One option: fm_config_set(config, "listen", "127.0.0.1:4000"). Stands above the file and the environment, whichever comes first; said
 * twice, the later value holds, and a list grows. FM_E_OPTION: there is no such option, or the value is not one. */
FM_API enum fm_err fm_config_set(struct fm_config *config, const char *name, const char *value);
/* What a settings file could hold: lines `name = value`, then [topic "pattern"] sections. This is where topics are made. FM_E_OPTION. */
FM_API enum fm_err fm_config_text(struct fm_config *config, const char *text);
/* A settings file. FM_E_OPTION: it can't be read, or something in it is wrong. */
FM_API enum fm_err fm_config_file(struct fm_config *config, const char *path);
/* FANMESH_* of the process's environment, which a node in a program otherwise does not look at. FM_E_OPTION. */
FM_API enum fm_err fm_config_environment(struct fm_config *config);
/* Every problem so far, and that of the last fm_start that failed: a line each, for people; "" where there is none. Valid until the next
 * call with this config. */
FM_API const char *fm_config_why(struct fm_config *config);

/* ---- life: one thread at a time, never a callback ---- */

struct fm_node;

/* Starts a node and returns when it listens. It takes the config (*config becomes NULL). On an error *node is NULL, nothing runs, the
 * config stays with the caller, and fm_config_why says what could not be had; with what only the outside can mend (FM_E_IN_USE) it may be
 * tried again. FM_E_OPTION, FM_E_IN_USE, FM_E_ADDRESS, FM_E_ELSEWHERE, FM_E_PORT, FM_E_TLS, FM_E_IO, FM_E_NOMEM. A process may run several.
 */
FM_API FM_MUST_CHECK enum fm_err fm_start(struct fm_node **node, struct fm_config **config);
/* Waits at most timeout_ms until the node has its cluster's state and accepts publishes: at once if it is alone. FM_E_TIMEOUT,
 * FM_E_CALLBACK. */
FM_API FM_MUST_CHECK enum fm_err fm_await_ready(struct fm_node *node, unsigned timeout_ms);
/* The way out that loses nothing: readiness turns false, clients are sent to other nodes (over drain_ms, and a second more), then the other
 * nodes get what they lack (leave_ms). Returns when that is done or its time is over, which the log says. Callbacks go on meanwhile;
 * publishes are refused from the second step on. FM_E_CALLBACK. */
FM_API enum fm_err fm_drain(struct fm_node *node);
/* Ends the node at once, drained or not, frees it, and sets *node NULL; NULL is a no-op. No other thread may be in a call with this node,
 * or make one after. A callback that runs is waited for. What was promised is kept, by the calling thread and before it returns: publishes
 * that have no result yet get theirs (FM_E_CLOSED, if the node did not come to it), and each subscription its FM_NOTICE_ENDED. Calls from
 * these last callbacks fail with FM_E_CLOSED. FM_E_CALLBACK: then the node goes on. */
FM_API enum fm_err fm_stop(struct fm_node **node);

/* A whole program: starts the node, waits for TERM or INT, drains and stops it; a second signal ends the process at once, and so it is
 * where the last step takes more than 3 s (a callback that does not return). It blocks these two signals and HUP (in the calling thread and
 * the node's) and ignores SIGPIPE. Returns FM_OK after a signal, or fm_start's error. For programs that call the node from callbacks alone:
 * a thread of their own, such as one that answers questions later, could not know when it has to leave the node alone (see fm_stop). */
FM_API FM_MUST_CHECK enum fm_err fm_serve(struct fm_config **config);

/* The command line of the `fanmesh` binary, whole; returns the exit code. */
FM_API int fm_main(int argc, char *const *argv);

#ifdef __cplusplus
}
#endif
