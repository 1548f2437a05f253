/* Hooks: a backend of the application, called by HTTP, decides who connects, joins and pushes, and is told of who came and went.
 *
 * One thread with libcurl beneath it (fetch.h) takes questions and notices from its inbox. Questions go out side by side, those of one lane
 * one after another; notices go out in batches, one batch at a time, so that their order is kept. While the backend is out of reach
 * (breaker.h) questions are answered at once and notices wait. The workers never wait for this thread: an answer comes into their inbox
 * (post/question.h).
 *
 *   hooks.c        the thread, its inbox, its life            hook_wire.c    what is written to the backend, and its signature
 *   hook_asks.c    questions                                  hook_answer.c  what it answers, read
 *   hook_tells.c   notices                                    hook_config.c  what the settings say
 */
#pragma once

#include "../post/question.h"
#include "hook_config.h"

struct fm_mailbox;
struct fm_hooks;

#define FM_HOOK_STATS(X) \
    X(requests, "fanmesh_hook_requests_total", "counter", "requests sent to the backend, retries included") \
    X(failures, "fanmesh_hook_failures_total", "counter", \
      "those of them that had no answer, or one with a status of 500 or more: what opens the breaker") \
    X(bad_answers, "fanmesh_hook_bad_answers_total", "counter", "answers to questions that could not be understood") \
    X(retries, "fanmesh_hook_retries_total", "counter", "requests that were sent again") \
    X(rests, "fanmesh_hook_unasked_total", "counter", "questions answered without the backend, since the breaker was open") \
    X(waiting, "fanmesh_hook_waiting", "gauge", "questions that wait for their turn") \
    X(under_way, "fanmesh_hook_under_way", "gauge", "questions that the backend has") \
    X(open, "fanmesh_hook_open", "gauge", "1 while the breaker is open: the backend is left alone") \
    X(opened, "fanmesh_hook_opened_total", "counter", "times the breaker opened") \
    X(told, "fanmesh_hook_told_total", "counter", "events that the backend was told of, and confirmed") \
    X(untold, "fanmesh_hook_untold", "gauge", "events that wait to be told") \
    X(dropped, "fanmesh_hook_dropped_total", "counter", \
      "events that the backend was never told of: more waited than hook_queue holds, it refused them, or the node ended")

/* Of all answers, by the time that they took: a Prometheus histogram. The last bucket is +Inf. */
#define FM_HOOK_SECONDS "fanmesh_hook_seconds"
#define FM_HOOK_SECONDS_HELP "time from a request to its answer"
enum { FM_HOOK_BUCKETS = 9 };
static const double fm_hook_buckets[FM_HOOK_BUCKETS - 1] = {0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5};

struct fm_hook_stats {
#define X(name, metric, type, help) _Atomic uint64_t name;
    FM_HOOK_STATS(X)
#undef X
    _Atomic uint64_t took[FM_HOOK_BUCKETS], took_us;
};

struct fm_hooks_config {
    const char *node;           /* its name */
    struct fm_mailbox *workers; /* by index, of those that serve clients */
    unsigned workers_n;
};

/* -- main -- */

/* Only its inbox; the thread begins with the first fm_hooks_learn of a config. */
FM_MUST_CHECK enum fm_err fm_hooks_new(struct fm_hooks **hooks, const struct fm_hooks_config *config);
/* From now on it goes by this (a reference of its own is taken). NULL: nothing more will be put to it. */
FM_MUST_CHECK enum fm_err fm_hooks_learn(struct fm_hooks *hooks, struct fm_hook_config *config, uint64_t incarnation);
/* Waits at most ms until all that the backend is to be told has been. */
void fm_hooks_flush(struct fm_hooks *hooks, uint32_t ms);
/* Ends the thread. What is not told is counted and said in the log. Nobody may post any more when it is freed; NULL: a no-op. */
void fm_hooks_stop(struct fm_hooks *hooks);
void fm_hooks_free(struct fm_hooks **hooks);

/* -- any thread -- */
struct fm_inbox *fm_hooks_inbox(struct fm_hooks *hooks);
const struct fm_hook_stats *fm_hooks_stats(const struct fm_hooks *hooks);
/* Takes the item. Where more wait than config->queue_bytes it is dropped, counted, and said in the log. */
void fm_hooks_tell(struct fm_hooks *hooks, const struct fm_hook_config *config, struct fm_told *told);
/* An event could not be kept for want of memory. */
void fm_hooks_tell_lost(struct fm_hooks *hooks);
