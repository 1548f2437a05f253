/* Bodies of the publish requests -> messages. Pure: bytes, rules and limits go in, messages or an error with its place come out. All or
 * nothing: one bad message refuses the whole request, so that nobody has to find out which half of it went through.
 *
 * A payload is copied as the bytes it came in: the order of members, big integers and white space inside it survive.
 *
 * -- any thread -- */
#pragma once

#include "../settings/rules.h"

enum {
    FM_API_REPLICAS_MAX = FM_PEERS_MAX - 1,
    FM_API_TIMEOUT_MS_MAX = 60000,
    FM_API_DETAIL_MAX = 480,
};

struct fm_api_limits {
    const struct fm_rules *rules;
    uint32_t batch_max;            /* messages in one request; a message for three topics counts three */
    size_t bytes_max;              /* memory of them */
    uint32_t replicas, timeout_ms; /* defaults of a replicated ack */
    struct fm_slice key;           /* from the header Idempotency-Key; empty: none */
    const char *user_topic;        /* with {user} in it; NULL: none */
    uint64_t ttl_ms, ttl_max_ms;   /* of a presence */
    uint32_t meta_max;             /* bytes of its meta */
};

struct fm_api_order {     /* what a request asks to publish */
    struct fm_msg **msgs; /* references */
    uint32_t n, cap;
    size_t bytes;
    bool several; /* the answer is a list, even of one */
    enum fm_ack ack;
    uint32_t replicas, timeout_ms;
};

struct fm_api_bad { /* what was wrong */
    enum fm_err err;
    bool has_at, has_index;
    size_t at;      /* offset in the body */
    uint32_t index; /* of the message in the request, from 0 */
    char detail[FM_API_DETAIL_MAX];
};

/* {"topic", "topics" or "user","event","payload" or "payload_base64","key","conflation_key","ack","replicas","timeout_ms"}. The order is
 * initialised by the callee and empty on error. */
FM_MUST_CHECK enum fm_err fm_api_parse_one(const struct fm_api_limits *limits, struct fm_slice body, struct fm_api_order *order,
                                           struct fm_api_bad *bad);
/* A JSON array of such objects or one object a line (NDJSON; empty lines are skipped), without "ack", "replicas" and "timeout_ms", which
 * belong to the request as a whole. */
FM_MUST_CHECK enum fm_err fm_api_parse_batch(const struct fm_api_limits *limits, bool ndjson, struct fm_slice body,
                                             struct fm_api_order *order, struct fm_api_bad *bad);
void fm_api_order_fini(struct fm_api_order *order);

struct fm_api_content { /* of a message, for whichever topic; the lengths are within fm_msg_new's */
    struct fm_slice event, payload;
    struct fm_msg_keys keys;
    uint32_t flags;
};

/* Adds a message, within its topic's rule and the limits. On an error other than FM_E_NOMEM `detail` says what is wrong, and *of_payload
 * whether with the payload. */
FM_MUST_CHECK enum fm_err fm_api_order_add(const struct fm_api_limits *limits, struct fm_api_order *order, struct fm_slice topic,
                                           const struct fm_api_content *content, char detail[FM_API_DETAIL_MAX], bool *of_payload);

/* "local" or "replicated". FM_E_INVALID. */
FM_MUST_CHECK enum fm_err fm_api_ack_of(struct fm_slice text, enum fm_ack *ack);
/* The value of a header Idempotency-Key, without the quotes that the draft standard puts around it. FM_E_INVALID: not 1 to FM_KEY_MAX
 * visible ASCII characters. */
FM_MUST_CHECK enum fm_err fm_api_key_of(struct fm_slice header, struct fm_slice *key);
