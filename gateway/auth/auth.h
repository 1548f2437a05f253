/* What a node knows of tokens: who signs them, what they must say, and where clients put them. Made from the settings as a whole
 * (worker/access.h), immutable then, read by all threads. NULL stands for a node without tokens.
 *
 *   jwt.c       the token itself, read         key_set.c, jwks.c  keys, and what they verify
 *   claims.c    what it says, made an          identity.c         identity
 *   credential.c  where a request has it       jwks_fetch.c       keys from a URL
 *
 * Nothing here ever puts a token, or a part of one, into a text. */
#pragma once

#include "claims.h"
#include "key_set.h"

struct fm_settings;
struct fm_option_set;

struct fm_auth {
    struct fm_claims_rules rules;
    struct fm_key_set *keys;                                 /* of token_secret and token_key_file; never NULL */
    bool from_url;                                           /* there are others, which come and go: jwks_fetch.h */
    bool required;                                           /* connect = token */
    uint32_t grace_ms;                                       /* between the end of a token and that of its connection */
    char *param;                                             /* of the query; empty: none */
    char *cookie;                                            /* empty: none */
    char *issuer, *user_claim, *topics_claim, *rights_claim; /* of `rules` */
    char **audiences, **topics;                              /* NULL-terminated */
    struct fm_buf printed;                                   /* a line for each option, for the log of a reload; nothing of a key */
};

/* -- main -- */

/* *auth NULL and FM_OK: there are no keys, so no tokens. FM_E_INVALID, FM_E_IO: `why` says which option's keys can't be used. */
FM_MUST_CHECK enum fm_err fm_auth_new(struct fm_auth **auth, const struct fm_settings *settings, struct fm_buf *why);
void fm_auth_free(struct fm_auth **auth);
/* A line in the log for each difference; returns how many. Each may be NULL. */
unsigned fm_auth_tell(const struct fm_auth *before, const struct fm_auth *after);

/* -- any thread -- */

/* One reference, where the token is good. fetched: the keys that came from the URL, may be NULL. False: *fault. FM_E_TOKEN_KEY: no key
 * fits; perhaps one will when the URL has been asked again. */
FM_MUST_CHECK bool fm_auth_verify(const struct fm_auth *auth, const struct fm_key_set *fetched, struct fm_slice token, uint64_t now_s,
                                  struct fm_identity **id, struct fm_token_fault *fault);
