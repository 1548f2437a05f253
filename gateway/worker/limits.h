/* What one client may take of a node: connections of its address and of its user, joins, pushes and bytes in a second, topics, sizes.
 *
 * One table says which limits there are. Whoever is over one is told so in its protocol, counted, and told in the log once a burst: when it
 * begins, and not again before there was none for LIMIT_QUIET_MS; with how many there were in the last one.
 *
 * -- any thread, unless said otherwise -- */
#pragma once

#include "../http/peer.h"
#include "tally.h"

#include <stdatomic.h>

/*  name, option or rule option, what there was too much of, what to do */
#define FM_LIMIT_TABLE(X) \
    X(ADDRESS, "connections_per_address", "more connections from one address", \
      "raise it where many clients share an address, or a proxy's is not known: see trusted_proxies") \
    X(USER, "connections_per_user", "more connections of one user", "raise it if users are meant to have so many") \
    X(JOINS, "joins_per_s", "a client joined faster", "raise it if clients are meant to join so many topics at once") \
    X(PUSHES, "pushes_per_s", "a client pushed faster", "raise it, or the rule's own, if clients are meant to") \
    X(BYTES, "push_bytes_per_s", "a client pushed more bytes in a second", "raise it if clients are meant to") \
    X(TOPICS, "topics_per_socket", "a client joined more topics", "raise it if clients are meant to") \
    X(SIZE, "message_max", "a client sent a larger message", "raise it, or the rule's own, if messages are meant to be so large") \
    X(HANDLERS, "handler_client_bytes", "a client had more waiting for the handlers", "raise it, or have the handlers answer sooner") \
    X(HOOKS, "hook_queue", "a client had more waiting for the backend, an eighth of what its worker may have,", \
      "raise it, or have the backend answer sooner")

enum fm_limit {
#define X(name, option, what, then) FM_LIMIT_##name,
    FM_LIMIT_TABLE(X)
#undef X
        FM_LIMITS_N
};

struct fm_senders;

struct fm_limits {                  /* of a node; immutable but for what is said */
    uint32_t per_address, per_user; /* 0: no limit */
    struct fm_tally *addresses, *users;
    struct fm_senders *senders; /* senders.h */
    struct fm_burst {           /* of a limit; atomic */
        _Atomic uint64_t until_ms, untold;
    } bursts[FM_LIMITS_N], tokens[FM_ERR_COUNT]; /* tokens: by why they were refused */
};

FM_MUST_CHECK enum fm_err fm_limits_new(struct fm_limits **limits, uint32_t per_address, uint32_t per_user);
void fm_limits_free(struct fm_limits **limits);

/* Tells the log, if it is time. limits may be NULL: nobody is told. user: may be empty. */
void fm_limit_tell(struct fm_limits *limits, enum fm_limit limit, const struct fm_peer *peer, struct fm_slice user, uint64_t now_ms);

/* The same of a token that was refused, or is missing. why: more about that, plain text without quotes that holds nothing of the token, or
 * NULL. */
void fm_limit_tell_token(struct fm_limits *limits, enum fm_err err, const char *why, const struct fm_peer *peer, uint64_t now_ms);

/* What an address is counted by. */
struct fm_slice fm_limits_address_key(const struct fm_ip *ip);
/* One connection more of an address: of IPv6 of its /64, which is what one client is given. An address that is not known is not counted.
 * FM_E_TOO_MANY_CONNECTIONS, FM_E_NOMEM. On FM_OK with *held it is to be given back. */
FM_MUST_CHECK enum fm_err fm_limits_address_take(struct fm_limits *limits, const struct fm_ip *ip, bool *held);
void fm_limits_address_give(struct fm_limits *limits, const struct fm_ip *ip);
/* The same of a user; an empty one is not counted. */
FM_MUST_CHECK enum fm_err fm_limits_user_take(struct fm_limits *limits, struct fm_slice user, bool *held);
void fm_limits_user_give(struct fm_limits *limits, struct fm_slice user);

/* ---- rates: a bucket, one owner ---- */

struct fm_bucket {      /* zeros: full */
    uint64_t earned_us; /* the steady clock, when what was taken will have been earned again */
};

struct fm_rate {
    uint64_t per_s;    /* 0: no limit */
    uint32_t burst_ms; /* a bucket holds what is earned in so long, at least what is taken at once */
};

enum fm_bucket_verdict {
    FM_BUCKET_GIVES,
    FM_BUCKET_WAITS, /* *retry_ms: after so long it gives as much */
    FM_BUCKET_ABUSED /* and as much as a bucket holds was refused already, faster than at the rate: the client does not listen */
};

/* Takes n without a judgement: what it holds no more is owed. */
void fm_bucket_owe(struct fm_bucket *b, struct fm_rate rate, uint64_t n, uint64_t now_ms);
/* Takes n. refused: what is refused counts there; may be the same for several buckets of a client. */
enum fm_bucket_verdict fm_bucket_take(struct fm_bucket *b, struct fm_bucket *refused, struct fm_rate rate, uint64_t n, uint64_t now_ms,
                                      uint32_t *retry_ms);
