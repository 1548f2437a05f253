/* From the claims of a verified token to the identity that they make.
 *
 * -- any thread -- */
#pragma once

#include "identity.h"
#include "jwt.h"

struct fm_claims_rules {          /* borrowed, immutable */
    const char *issuer;           /* what `iss` must be; empty: anything */
    const char *const *audiences; /* one of which `aud` must name; NULL-terminated, NULL: none, then a token for any is refused */
    uint64_t leeway_s;            /* by which clocks may differ */
    uint64_t lifetime_max_s;      /* from when a token is made to when it ends */
    const char *user_claim, *topics_claim, *rights_claim;
    const char *const *topics; /* patterns that every token grants, NULL-terminated; {user} stands for the user */
};

/* What a token is refused for: err and a static sentence that says nothing of what it holds. */
struct fm_token_fault {
    enum fm_err err;
    const char *why;
};

/* One reference. FM_E_TOKEN, FM_E_TOKEN_EXPIRED, FM_E_NOMEM. */
FM_MUST_CHECK bool fm_claims_identity(const struct fm_json *claims, const struct fm_claims_rules *rules, uint64_t now_s,
                                      struct fm_identity **id, struct fm_token_fault *fault);

/* Is it a pattern that `topics` may hold? Where not, *why says so. */
FM_MUST_CHECK bool fm_claims_topic_ok(const char *pattern, const char **why);
