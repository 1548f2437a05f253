/* Whose tokens were revoked, as one worker knows it: a table by user. A token is revoked if it was made at or before the time that is told.
 * Each entry goes when no token that it is about can be alive any more.
 *
 * -- owner only -- */
#pragma once

#include "identity.h"

#include "../../broker/table.h"

struct fm_revocation {
    UT_hash_handle hh;
    uint64_t before_s; /* the wall clock's: tokens made until then, that second included */
    uint64_t until_ms; /* the steady clock's */
    uint64_t no;       /* which of those that were told here it was */
    uint32_t user_n;
    uint8_t user[];
};

struct fm_revocations {
    struct fm_revocation *table;
    uint64_t tend_ms;      /* when it is looked through next */
    uint64_t all_before_s; /* of every user: there was no memory for one, so none of then counts */
    uint64_t all_no;       /* which that was */
    uint64_t told;         /* so many */
};

/* A later one of the same user takes the place of an earlier. */
void fm_revocation_add(struct fm_revocations *r, struct fm_slice user, uint64_t before_s, uint64_t until_ms);
/* Was one of this user told after so many (told)? */
bool fm_revoked_since(const struct fm_revocations *r, struct fm_slice user, uint64_t told);
bool fm_revoked(const struct fm_revocations *r, const struct fm_identity *id);
/* Forgets what is over, now and then. */
void fm_revocations_tend(struct fm_revocations *r, uint64_t now_ms);
void fm_revocations_fini(struct fm_revocations *r);
