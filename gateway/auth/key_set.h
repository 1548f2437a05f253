/* Keys that tokens are verified with. Each is bound to one algorithm when it is made, and is never tried for another; those that are too
 * weak are not taken. A set is built by one thread, immutable then, reference-counted and shared.
 *
 * -- any thread; one while it is built -- */
#pragma once

#include "jwt.h"

enum {
    FM_KEYS_MAX = 64,              /* of a set */
    FM_SECRET_KEY_MIN = 32,        /* bytes: RFC 7518, 3.2 */
    FM_RSA_BITS_MIN = 2048,        /* RFC 7518, 3.3 */
    FM_RSA_BITS_MAX = 8192,        /* a larger one would hold up the thread that verifies */
    FM_KEY_TEXT_MAX = 1024 * 1024, /* bytes of a file, or an answer, that holds keys */
};

struct fm_key_set;

FM_MUST_CHECK enum fm_err fm_key_set_new(struct fm_key_set **set);
struct fm_key_set *fm_key_set_ref(struct fm_key_set *set);
void fm_key_set_unref(struct fm_key_set **set);
size_t fm_key_set_n(const struct fm_key_set *set); /* NULL: 0 */
/* How many keys of a set another (NULL: an empty one) does not have. */
size_t fm_key_set_beyond(const struct fm_key_set *set, const struct fm_key_set *but);

/* HS256. Errors of all that add: FM_E_INVALID, *why is a static sentence without a full stop; FM_E_TOO_MANY; FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_key_set_add_secret(struct fm_key_set *set, struct fm_slice secret, struct fm_slice kid, const char **why);
/* Public keys, or certificates, one after another: RSA makes RS256, P-256 makes ES256. */
FM_MUST_CHECK enum fm_err fm_key_set_add_pem(struct fm_key_set *set, struct fm_slice pem, const char **why);

struct fm_jwks_read { /* what became of a JWKS */
    unsigned taken;   /* keys */
    unsigned passed;  /* keys of other algorithms and uses, */
    unsigned refused; /* ... and those that are broken, too weak, or secret where all can read them */
    const char *why;  /* of the last one that was refused; NULL: none */
};

/* A JWKS (RFC 7517). secrets: HS256 keys may be in it, as in a file that only its owner reads. What can't be used is passed over, since
 * sets hold keys for others; FM_E_INVALID only where the whole is no JWKS. */
FM_MUST_CHECK enum fm_err fm_key_set_add_jwks(struct fm_key_set *set, struct fm_slice text, bool secrets, struct fm_jwks_read *read,
                                              const char **why);

enum fm_verified {
    FM_VERIFIED,
    FM_VERIFY_NO_KEY, /* none for its algorithm and kid */
    FM_VERIFY_WRONG,  /* the signature is of none that could be */
};

/* A key without kid fits every token of its algorithm, a token without kid every key of it. */
FM_MUST_CHECK enum fm_verified fm_key_set_verify(const struct fm_key_set *set, const struct fm_jwt *jwt);
