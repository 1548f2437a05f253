/* Subscriptions of the program: what every node of the cluster publishes on a topic, in order for each origin, each message once, or a gap.
 *
 * Nothing is lost in silence. What waits for the callback thread is bounded (worker_inbox_bytes). Beyond it messages are left out there,
 * and read again from the topic's history when the callbacks come to it (fanmesh_inbox_overruns_total{worker="program"}); what is not in
 * the history any more, or never was because the topic keeps none, is told as a gap. */
#pragma once

#include "fanmesh/publish.h"

#ifdef __cplusplus
extern "C" {
#endif

enum fm_notice_kind {
    FM_NOTICE_JOINED = 1, /* first of all, and before what is replayed: `recovered` */
    FM_NOTICE_MESSAGE,    /* `message` */
    FM_NOTICE_GAP,        /* messages that can't be had: `reason`, `origin`, `from`, `to` */
    FM_NOTICE_ENDED,      /* the last one: `err`. ctx is not used any more after it */
};

struct fm_notice { /* made by the node; valid during the callback. Later versions may add members at the end */
    enum fm_notice_kind kind;
    enum fm_err err; /* ENDED: FM_OK after fm_unsubscribe, FM_E_CLOSED as the node stops; FM_E_DRAINING, FM_E_TOO_MANY (topics), FM_E_NOMEM:
                        it could not begin, or go on */
    struct fm_node *node;
    uint64_t subscription; /* as fm_subscribe gave it */
    const char *topic;
    const struct fm_message *message; /* MESSAGE, else NULL */
    int recovered;                    /* JOINED: nothing was missed since the cursor; without a cursor always 1 */
    const char *reason;               /* GAP: "evicted", "lost", "overrun"; else NULL */
    uint64_t origin, from, to;        /* GAP: the range of seqs, both ends included; origin 0: unknown; to UINT64_MAX: unknown how far */
};

/* Runs on the callback thread (node.h). While it runs nothing else is told to the program. */
typedef void fm_notice_fn(const struct fm_notice *notice, void *ctx);

/* -- any thread, callbacks too -- */

/* Subscribes to one topic (no pattern). cursor: where to resume, as fm_notice_cursor wrote it; NULL: from now on. last: without a cursor,
 * begin with the newest n messages of the topic's history. *subscription (may be NULL) is set before the first notice; it is a number that
 * is never used again, so it needs no care. FM_E_INVALID: no topic, a pattern, or one that is too long. FM_E_SYNTAX: the cursor.
 * FM_E_UNMATCHED_TOPIC. FM_E_CLOSED. FM_E_NOMEM. On an error fn is not called. */
FM_API FM_MUST_CHECK enum fm_err fm_subscribe(struct fm_node *node, const char *topic, const char *cursor, unsigned last, fm_notice_fn *fn,
                                              void *ctx, uint64_t *subscription);
/* Ends it; FM_NOTICE_ENDED comes on the callback thread. Called from a callback, no other notice comes before that; from another thread
 * some may. One that has ended already is a no-op. FM_E_NOMEM: it goes on. FM_E_CLOSED. */
FM_API enum fm_err fm_unsubscribe(struct fm_node *node, uint64_t subscription);

/* -- the callback, for its own notice -- */

/* Writes the position up to and with what this notice says, as JSON such as ["k3fa9Qz-1234"], and a terminating zero; returns the length,
 * as snprintf does: where that is not below out_size nothing useful was written. Kept somewhere, it resumes the topic on any node, in a
 * browser too. 0: no memory. */
FM_API size_t fm_notice_cursor(const struct fm_notice *notice, char *out, size_t out_size);

#ifdef __cplusplus
}
#endif
