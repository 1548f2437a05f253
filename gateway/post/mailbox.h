/* A worker's inbox with the bell that wakes it; the thread of hooks and that of a program have one, too. It exists before the worker and
 * the hub, and longer than both, so that a post never meets a worker that is not there yet or any more. */
#pragma once

#include "../../broker/inbox.h"

struct fm_mailbox {
    struct fm_inbox inbox;
    int bell; /* an eventfd */
};

/* -- main -- */
FM_MUST_CHECK enum fm_err fm_mailbox_init(struct fm_mailbox *m, size_t bytes_max);
/* When neither its owner nor the hub are there any more. */
void fm_mailbox_fini(struct fm_mailbox *m);

/* -- any thread -- */
/* Wakes the owner, as a post to an empty inbox does. */
void fm_mailbox_ring(const struct fm_mailbox *m);
