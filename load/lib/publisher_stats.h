/* What a publisher counts.
 *
 * -- owner only -- */
#pragma once

#include <stdint.h>

#define FM_PUBLISHER_STATS(X) \
    X(sent, "messages published") \
    X(acked, "acknowledged") \
    X(replicated, "of these as replicated") \
    X(unconfirmed, "accepted, but not replicated in time") \
    X(refused, "refused with an error") \
    X(unanswered, "without an answer: it took too long, or their connection broke") \
    X(retried, "attempts after the first, of messages with a key") \
    X(stalled, "that some subscriber lacked for longer than the window waits")

struct fm_publisher_stats {
#define X(name, prose) uint64_t name;
    FM_PUBLISHER_STATS(X)
#undef X
    unsigned last_status; /* HTTP status of the last refusal; 0: none */
};
