#include "revoked.h"

#include <stdlib.h>

enum { TEND_MS = 1000 };

static struct fm_revocation *find(const struct fm_revocations *r, struct fm_slice user)
{
    struct fm_revocation *it;
    HASH_FIND(hh, r->table, user.p, (unsigned)user.n, it);
    return it;
}

void fm_revocation_add(struct fm_revocations *r, struct fm_slice user, uint64_t before_s, uint64_t until_ms)
{
    struct fm_revocation *it = find(r, user);
    r->told++;
    if (!it) {
        it = calloc(1, sizeof *it + user.n);
        if (!it) {
            r->all_before_s = before_s > r->all_before_s ? before_s : r->all_before_s;
            r->all_no = r->told;
            return;
        }
        it->user_n = (uint32_t)user.n;
        memcpy(it->user, user.p, user.n);
        HASH_ADD_KEYPTR(hh, r->table, it->user, it->user_n, it);
    }
    it->no = r->told;
    it->before_s = before_s > it->before_s ? before_s : it->before_s;
    it->until_ms = until_ms > it->until_ms ? until_ms : it->until_ms;
}

bool fm_revoked(const struct fm_revocations *r, const struct fm_identity *id)
{
    if (!id || id->user.n == 0)
        return false;
    const struct fm_revocation *it = r->table ? find(r, id->user) : NULL;
    return id->issued_s <= r->all_before_s || (it && id->issued_s <= it->before_s);
}

bool fm_revoked_since(const struct fm_revocations *r, struct fm_slice user, uint64_t told)
{
    const struct fm_revocation *it = user.n && r->table ? find(r, user) : NULL;
    return user.n && (r->all_no > told || (it && it->no > told));
}

void fm_revocations_tend(struct fm_revocations *r, uint64_t now_ms)
{
    struct fm_revocation *it, *next;
    if (now_ms < r->tend_ms)
        return;
    r->tend_ms = now_ms + TEND_MS;
    HASH_ITER (hh, r->table, it, next) {
        if (now_ms < it->until_ms)
            continue;
        HASH_DEL(r->table, it);
        free(it);
    }
}

void fm_revocations_fini(struct fm_revocations *r)
{
    struct fm_revocation *it, *next;
    HASH_ITER (hh, r->table, it, next) {
        HASH_DEL(r->table, it);
        free(it);
    }
}
