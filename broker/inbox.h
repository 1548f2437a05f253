/* An inbox: the only way from one thread to another. Many post, one owner takes everything at once.
 *
 * Bounded in bytes, so that a stalled owner is noticed instead of eating the machine; what happens when it is full is the
 * poster's business (an error to the publisher, an overrun mark), never silence. The owner is woken only when the inbox was
 * empty: `wake` runs outside the lock, on the poster's thread, and must be callable from any thread (ev_async_send). */
#pragma once

#include "fanmesh/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fm_item { /* embedded first in everything that is posted */
    struct fm_item *next;
    uint32_t kind;
    uint32_t cost; /* bytes that it counts in the limit */
};

struct fm_inbox {
    pthread_mutex_t lock;
    struct fm_item *first, **last;
    size_t bytes, bytes_max;
    bool overrun; /* something was refused since the last take */
    bool quiet;   /* something was posted quietly, and the owner has not been woken for it */
    void (*wake)(void *ctx);
    void *wake_ctx;
};

FM_MUST_CHECK enum fm_err fm_inbox_init(struct fm_inbox *in, size_t bytes_max, void (*wake)(void *ctx), void *ctx);
/* What is still in it is handed to `drop` (may be NULL only if it is empty). */
void fm_inbox_fini(struct fm_inbox *in, void (*drop)(struct fm_item *));

/* -- any thread -- */

/* Appends a chain of items (linked by next, in order), as one. FM_E_BUSY: it doesn't fit, nothing was taken, the caller
 * still owns the chain, and the owner's next take reports an overrun. An empty inbox takes a chain of any size. */
FM_MUST_CHECK enum fm_err fm_inbox_post(struct fm_inbox *in, struct fm_item *first);
/* The same, but past the limit too: for what is bounded elsewhere (answers to requests, control items). */
void fm_inbox_post_always(struct fm_inbox *in, struct fm_item *first);
/* As fm_inbox_post, but the owner is not woken: several such posts wake it once, by the fm_inbox_wake that must follow them soon. */
FM_MUST_CHECK enum fm_err fm_inbox_post_quietly(struct fm_inbox *in, struct fm_item *first);
/* Wakes the owner if it owes that. Whoever posts or wakes first does it for all. */
void fm_inbox_wake(struct fm_inbox *in);
/* As if a post had been refused: the owner's next take reports an overrun, and it is woken for that. */
void fm_inbox_mark(struct fm_inbox *in);

/* -- owner only -- */

/* Detaches all items, in order of posting; NULL if none. *overrun (may be NULL) says whether a post was refused since the last take. */
struct fm_item *fm_inbox_take(struct fm_inbox *in, bool *overrun);
