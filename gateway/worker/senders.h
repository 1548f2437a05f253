/* Rates of clients that publish without a socket, by HTTP: a bucket for each of them, and for each of a topic whose rule has a rate. A
 * client is its user, or where nobody knows that its address (of IPv6 its /64), however many connections it opens, and whichever workers of
 * the node take them.
 *
 * Bounded: the one that was looked at the longest time ago goes, and who comes back then begins anew. Shared by the workers; its lock is
 * held for a look-up, by requests that then go to the hub.
 *
 * -- any thread -- */
#pragma once

#include "limits.h"

enum { FM_SENDERS_MAX = 8192 };

struct fm_sender { /* borrowed */
    const struct fm_peer *peer;
    struct fm_slice user; /* empty: nobody knows */
};

/* NULL without memory. */
struct fm_senders *fm_senders_new(void);
void fm_senders_free(struct fm_senders **senders);
/* The name of a request, for its takes. */
uint64_t fm_senders_turn(struct fm_senders *senders);
/* Takes n for a topic; empty: for all of them. Of one topic only the first of a request is judged, and the others are owed, so that one
 * that is refused is granted when it comes again in time. FM_E_RATE_LIMITED: after *retry_ms it would be; FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_senders_take(struct fm_senders *senders, uint64_t turn, const struct fm_sender *who, struct fm_slice topic,
                                          enum fm_limit limit, struct fm_rate rate, uint64_t n, uint64_t now_ms, uint32_t *retry_ms);
