/* Keys from a URL (token_jwks_url): a thread that asks it every token_jwks_refresh, and soon after a worker met a token whose key it does
 * not have, and gives what it got to the workers by their inboxes. While the URL gives nothing usable the keys of its last answer stay. */
#pragma once

#include "key_set.h"

struct fm_jwks;

struct fm_jwks_config { /* borrowed until the stop */
    const char *url, *ca;
    uint64_t refresh_ms, pause_ms;
    uint32_t timeout_ms;
    /* Each worker is to have these keys. false: without memory some have not got them. */
    bool (*give)(void *ctx, struct fm_key_set *keys);
    void *ctx;
};

#define FM_JWKS_STATS(X) \
    X(fetches, "fanmesh_jwks_fetches_total", "counter", "times that token_jwks_url was asked") \
    X(failures, "fanmesh_jwks_failures_total", "counter", "those of them that brought no usable keys: the ones before stay") \
    X(keys, "fanmesh_jwks_keys", "gauge", "keys that are used of its last good answer") \
    X(got_s, "fanmesh_jwks_got_seconds", "gauge", "Unix time of its last good answer; 0: there was none")

struct fm_jwks_stats {
#define X(name, metric, type, help) _Atomic uint64_t name;
    FM_JWKS_STATS(X)
#undef X
};

/* -- main -- */

FM_MUST_CHECK enum fm_err fm_jwks_start(struct fm_jwks **jwks, const struct fm_jwks_config *config);
void fm_jwks_stop(struct fm_jwks **jwks);
/* Has the URL been asked once, whatever came of it? */
bool fm_jwks_tried(const struct fm_jwks *jwks);

enum { FM_JWKS_WHY_MAX = 512 };

/* Asks once, and waits for the answer, at most timeout_ms of config, of which url and ca are looked at, too. NULL: `why` says the reason.
 */
FM_MUST_CHECK struct fm_key_set *fm_jwks_get(const struct fm_jwks_config *config, struct fm_jwks_read *read, char why[FM_JWKS_WHY_MAX]);

/* -- any thread -- */

/* A key is missing. */
void fm_jwks_want(struct fm_jwks *jwks);
const struct fm_jwks_stats *fm_jwks_stats(const struct fm_jwks *jwks);
