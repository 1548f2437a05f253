/* What every reading of a request's body owes, whichever dialect it is of. */
#pragma once

#include "../../gateway/api/api_parse.h"

#include <stdlib.h>

static inline void must(bool ok)
{
    if (!ok)
        abort();
}

static inline struct fm_api_limits limits_of(struct fm_rules *rules, uint8_t choice)
{
    return (struct fm_api_limits){.rules = rules,
                                  .batch_max = 1 + choice % 16,
                                  .bytes_max = 200 + 16u * choice,
                                  .replicas = 1,
                                  .timeout_ms = 1000,
                                  .key = choice & 1 ? FM_LIT("header-key") : fm_slice_of(NULL, 0)};
}

/* What is accepted obeys every rule and limit. */
static inline void check_order(const struct fm_api_limits *limits, const struct fm_api_order *order)
{
    size_t bytes = 0;
    must(order->n > 0 && order->n <= limits->batch_max);
    for (uint32_t i = 0; i < order->n; i++) {
        const struct fm_msg *m = order->msgs[i];
        const struct fm_rule *rule = fm_rules_match(limits->rules, fm_msg_topic(m));
        must(rule && m->payload_n <= rule->message_max);
        must(m->topic_n > 0 && m->event_n > 0 && !fm_event_reserved(fm_msg_event(m)));
        bytes += fm_msg_size(m);
    }
    must(bytes == order->bytes && bytes <= limits->bytes_max);
}

/* What is refused says why, points into the body, and leaves nothing. */
static inline void check_refused(enum fm_err err, struct fm_slice body, const struct fm_api_order *order, const struct fm_api_bad *bad)
{
    must(bad->err == err && order->n == 0 && order->msgs == NULL);
    must(!bad->has_at || bad->at <= body.n);
    must(memchr(bad->detail, 0, sizeof bad->detail) != NULL);
}
