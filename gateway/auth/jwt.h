/* A signed token in its compact form (RFC 7515, RFC 7519), read strictly: three parts of canonical base64url, a header that names one of
 * the three algorithms spoken here, nothing critical in it that is not understood, no name twice. What has been read is not to be believed
 * before a key has verified it (key_set.h).
 *
 * -- any thread -- */
#pragma once

#include "../json/json_slice.h"

enum {
    FM_TOKEN_MAX = 8192, /* bytes of a token */
    FM_KID_MAX = 256,
    FM_SIGNATURE_MAX = 1024, /* of RSA with 8192 bits */
    FM_CLAIMS_MAX = 256,     /* members of the claims */
    FM_CLAIMS_DEPTH = 32,
};

enum fm_alg { FM_ALG_HS256, FM_ALG_RS256, FM_ALG_ES256, FM_ALGS };

/* "HS256" and so on. */
const char *fm_alg_name(enum fm_alg alg);
/* False: it is none of them. */
bool fm_alg_of(struct fm_slice name, enum fm_alg *alg);

struct fm_jwt {
    enum fm_alg alg;
    struct fm_slice kid;     /* empty: none */
    struct fm_slice signing; /* of the token's own bytes: what the signature is of */
    struct fm_slice claims;  /* the decoded claims, JSON or not */
    struct fm_slice signature;
    uint8_t decoded[FM_TOKEN_MAX]; /* what kid, claims and signature point into */
    uint8_t kid_text[FM_KID_MAX];
};

/* Two dots: whatever else it is, it was not meant as something else. */
bool fm_jwt_looks(struct fm_slice text);

/* jwt lives as long as the token's bytes. False: *why is a static sentence that says nothing of what the token holds. */
FM_MUST_CHECK bool fm_jwt_read(struct fm_slice token, struct fm_jwt *jwt, const char **why);

/* The claims, once the signature has been verified. False: likewise. */
FM_MUST_CHECK bool fm_jwt_claims(const struct fm_jwt *jwt, struct fm_json *claims, const char **why);

/* Has an object at most `max` members, each with a name of its own, as other readers would understand it? */
bool fm_json_names_differ(const struct fm_json *object, size_t max);
