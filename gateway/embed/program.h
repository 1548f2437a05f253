/* The program's part of a node that is embedded in one. To the hub it is a worker like any other, with an index, an inbox, subscriptions
 * that join and leave, publishes that are answered; only that its subscribers are callbacks. So what the program publishes and gets takes
 * the one path that everything takes.
 *
 *   program.c   the callback thread: its inbox, its life        publish.c    fm_publish, and what is checked of a message
 *   listen.c    subscriptions                                    handlers.c   questions to handlers, and their answers
 *   config.c    settings and handlers, before the start          start.c      fm_start, fm_drain, fm_stop, fm_serve
 *
 * Life: new -> run -> stop (no callback runs any more) -> the hub stops, and gives back what it did not come to -> end (the last callbacks,
 * on the thread that ends it). */
#pragma once

#include "../settings/settings.h"
#include "../post/question.h"
#include "../worker/worker.h"

#include "fanmesh/subscribe.h"

struct fm_program;

struct fm_program_config {
    unsigned index; /* as a worker of the hub */
    struct fm_mailbox *mailbox;
    struct fm_mailbox *workers; /* of the workers, by index, and */
    unsigned workers_n;         /* ... how many can ask questions */
    const struct fm_settings *settings;
    struct fm_node *node; /* for callbacks */
};

/* -- main -- */
FM_MUST_CHECK enum fm_err fm_program_new(struct fm_program **program, const struct fm_program_config *config);
FM_MUST_CHECK enum fm_err fm_program_run(struct fm_program *program, struct fm_hub_thread *hub);
/* Waits for the callback that runs. */
void fm_program_stop(struct fm_program *program);
/* The last callbacks, then it is freed. NULL: a no-op. */
void fm_program_end(struct fm_program **program);

/* -- any thread -- */
const struct fm_worker_stats *fm_program_stats(const struct fm_program *program);
/* Is this the thread that runs callbacks of this node? */
bool fm_program_is_here(const struct fm_program *program);
