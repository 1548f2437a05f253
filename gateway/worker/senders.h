/* Rates of clients that publish without a socket, by HTTP: a bucket for each of them, and for each of a topic whose rule has a rate. A
 * client is its user, or where nobody knows that its address (of IPv6 its /64), however many connections it opens.
 *
 * Bounded: the one that was looked at the longest time ago goes, and who comes back then begins anew.
 *
 * -- owner only -- */
#pragma once

#include "limits.h"

enum { FM_SENDERS_MAX = 8192 };

struct fm_sender_entry;

struct fm_senders { /* zeros: nobody */
    struct fm_sender_entry *table;
    uint64_t turn; /* counts what was asked for */
};

struct fm_sender { /* borrowed */
    const struct fm_peer *peer;
    struct fm_slice user; /* empty: nobody knows */
};

/* The next takes are of another request. */
void fm_senders_turn(struct fm_senders *senders);
/* Takes n for a topic; empty: for all of them. Of one topic only the first of a request is judged, and the others are owed, so that one
 * that is refused is granted when it comes again in time. FM_E_RATE_LIMITED: after *retry_ms it would be; FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_senders_take(struct fm_senders *senders, const struct fm_sender *who, struct fm_slice topic,
                                          enum fm_limit limit, struct fm_rate rate, uint64_t n, uint64_t now_ms, uint32_t *retry_ms);
void fm_senders_fini(struct fm_senders *senders);
