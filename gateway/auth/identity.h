/* Who a client is and what it may do, as its token says. Immutable once made, reference-counted, shared by threads. Where there is none
 * (NULL) the client came without a token: it has no user, and nothing that a rule grants to tokens only.
 *
 * -- any thread -- */
#pragma once

#include "../settings/rules.h"

enum fm_right { FM_RIGHT_JOIN = 1, FM_RIGHT_PUSH = 2, FM_RIGHT_PRESENCE = 4, FM_RIGHTS_ALL = 7 };

enum {
    FM_GRANTS_MAX = 256, /* patterns of one identity */
};

struct fm_grant {
    struct fm_slice topic; /* or the beginning of topics; */
    bool prefix;           /* which it is is not in the text, so that a `*` in a user's name means nothing */
    uint8_t rights;        /* enum fm_right, or'ed */
};

/* A pattern as the rules have it: a topic, or the beginning of one and `*`. False: it is none. */
FM_MUST_CHECK bool fm_grant_of(struct fm_slice pattern, unsigned rights, struct fm_grant *grant);

struct fm_identity {
    _Atomic uint32_t refs;
    uint32_t grants_n;
    /* Seconds of the wall clock. */
    uint64_t issued_s;    /* when its token was made; revocations go by it */
    uint64_t until_s;     /* from here on it is over, what clocks may differ by included; 0: never */
    struct fm_slice user; /* UTF-8 without zero bytes; may be empty. A zero byte follows it */
    struct fm_grant grants[];
};

struct fm_identity_spec { /* all is copied */
    struct fm_slice user;
    uint64_t issued_s, until_s;
    const struct fm_grant *grants;
    uint32_t grants_n;
};

/* One reference. FM_E_TOO_LARGE: the user is longer than FM_USER_MAX; FM_E_TOO_MANY: more grants than FM_GRANTS_MAX; FM_E_INVALID: the user
 * is not such a text, or a topic is none; FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_identity_new(struct fm_identity **id, const struct fm_identity_spec *spec);
/* NULL is passed through. */
struct fm_identity *fm_identity_ref(struct fm_identity *id);
void fm_identity_unref(struct fm_identity **id);

/* Its user, "" without one. */
static inline const char *fm_identity_user(const struct fm_identity *id)
{
    return id ? (const char *)id->user.p : "";
}

static inline bool fm_identity_over(const struct fm_identity *id, uint64_t now_s)
{
    return id->until_s && now_s >= id->until_s;
}

/* Do its grants name this topic with this right? Time is not looked at. */
bool fm_identity_grants(const struct fm_identity *id, struct fm_slice topic, enum fm_right right);

/* May this client (id may be NULL) do what a rule allows to `who`? FM_OK, or what the client is told: FM_E_FORBIDDEN, FM_E_TOKEN_MISSING,
 * FM_E_TOKEN_EXPIRED, FM_E_NOT_GRANTED. */
FM_MUST_CHECK enum fm_err fm_who_may(enum fm_who who, const struct fm_identity *id, struct fm_slice topic, enum fm_right right,
                                     uint64_t now_s);
