/* Bodies of the requests that tell the cluster to do something about a user or a presence:
 * {"user","topic","connection","reconnect","reason", "issued_until","timeout_ms","key","meta","ttl_ms"}, of which each path takes some and
 * needs some. Pure.
 *
 * -- any thread -- */
#pragma once

#include "api_parse.h"

#include "../../broker/command.h"
#include "../../broker/presence.h"

enum { FM_API_REASON_MAX = 123 /* bytes: what a close frame has room for */ };

#define FM_API_TOLD_TABLE(X) \
    X(USER, "user") \
    X(TOPIC, "topic") \
    X(CONNECTION, "connection") \
    X(RECONNECT, "reconnect") \
    X(REASON, "reason") \
    X(ISSUED_UNTIL, "issued_until") \
    X(TIMEOUT_MS, "timeout_ms") \
    X(KEY, "key") \
    X(META, "meta") \
    X(TTL_MS, "ttl_ms")

enum {
#define X(name, text) FM_API_TOLD_AT_##name,
    FM_API_TOLD_TABLE(X)
#undef X
        FM_API_TOLD_N
};

enum fm_api_told_member { /* bits */
#define X(name, text) FM_API_TOLD_##name = 1 << FM_API_TOLD_AT_##name,
                          FM_API_TOLD_TABLE(X)
#undef X
};

struct fm_api_told { /* slices point into the body or into *this */
    struct fm_slice user, topic, reason;
    struct fm_id connection; /* zeros: none was named */
    bool reconnect;          /* true unless it was said otherwise */
    uint32_t timeout_ms;
    uint64_t issued_until_s;   /* 0: it was not said */
    struct fm_slice key, meta; /* of a presence; meta is an object, {} if it was not said */
    uint64_t ttl_ms;
    uint8_t user_text[FM_USER_MAX], topic_text[FM_TOPIC_MAX], reason_text[FM_API_REASON_MAX], key_text[FM_PRESENCE_KEY_MAX];
};

/* takes, needs: bits of enum fm_api_told_member. limits: the rules, the default of timeout_ms, and what a presence may be. */
FM_MUST_CHECK enum fm_err fm_api_told_parse(const struct fm_api_limits *limits, unsigned takes, unsigned needs, struct fm_slice body,
                                            struct fm_api_told *told, struct fm_api_bad *bad);
