#include "lag.h"

#include "../../broker/table.h"

#include <assert.h>
#include <stdlib.h>

struct fm_kept {
    UT_hash_handle hh; /* by its conflation key */
    struct fm_kept *prev, *next;
    struct fm_msg *msg;
    uint64_t before;  /* everything of the origin up to here was settled when it came */
    uint64_t upto;    /* what of the origin comes behind it up to here isn't for this subscriber */
    uint64_t skipped; /* left out of the origin directly before it */
};

void fm_lag_init(struct fm_lag *lag, struct fm_vector *at, bool conflate)
{
    *lag = (struct fm_lag){.sent = *at, .conflate = conflate};
    *at = (struct fm_vector){0};
}

/* ---- what is kept ---- */

static size_t cost_of(const struct fm_kept *k)
{
    return sizeof *k + fm_msg_size(k->msg);
}

static void unlink_kept(struct fm_lag *lag, struct fm_kept *k)
{
    *(k->prev ? &k->prev->next : &lag->first) = k->next;
    *(k->next ? &k->next->prev : &lag->last) = k->prev;
    HASH_DEL(lag->by_key, k);
    lag->bytes -= cost_of(k);
}

static void free_kept(struct fm_kept *k)
{
    fm_msg_unref(&k->msg);
    free(k);
}

void fm_lag_fini(struct fm_lag *lag)
{
    while (lag->first) {
        struct fm_kept *k = lag->first;
        unlink_kept(lag, k);
        free_kept(k);
    }
    fm_vector_fini(&lag->sent);
    fm_vector_fini(&lag->seen);
    fm_vector_fini(&lag->skipped);
}

/* ---- what is left out ---- */

static enum fm_err skipped_add(struct fm_lag *lag, uint64_t origin, uint64_t n)
{
    return fm_vector_set(&lag->skipped, origin, fm_vector_get(&lag->skipped, origin) + n);
}

/* A kept message is left out after all. It is counted where the next kept one of its origin will declare it. */
static enum fm_err leave_out(struct fm_lag *lag, struct fm_kept *k)
{
    uint64_t origin = k->msg->id.origin;
    struct fm_kept *next = k->next;
    while (next && next->msg->id.origin != origin)
        next = next->next;
    if (next)
        next->skipped += k->skipped + 1;
    else if (skipped_add(lag, origin, k->skipped + 1))
        return FM_E_NOMEM;
    unlink_kept(lag, k);
    free_kept(k);
    lag->left++;
    return FM_OK;
}

/* ---- what comes ---- */

static struct fm_kept *last_of(const struct fm_lag *lag, uint64_t origin)
{
    struct fm_kept *k = lag->last;
    while (k && k->msg->id.origin != origin)
        k = k->prev;
    return k;
}

/* Up to `seq` there is nothing for this subscriber behind `before`: where all up to `before` is given or kept, nothing is to be declared.
 */
static enum fm_err pass_over(struct fm_lag *lag, uint64_t origin, uint64_t before, uint64_t seq)
{
    if (fm_vector_get(&lag->sent, origin) >= before)
        return fm_vector_raise(&lag->sent, origin, seq);
    struct fm_kept *k = last_of(lag, origin);
    if (k && k->upto >= before)
        k->upto = seq;
    return FM_OK;
}

static enum fm_err keep(struct fm_lag *lag, struct fm_msg *m, uint64_t before, size_t bytes_max)
{
    struct fm_slice key = fm_msg_conflation_key(m);
    struct fm_kept *old, *k = malloc(sizeof *k);
    if (!k)
        return FM_E_NOMEM;
    HASH_FIND(hh, lag->by_key, key.p, key.n, old);
    if (old) {
        if (leave_out(lag, old)) {
            free(k);
            return FM_E_NOMEM;
        }
        lag->conflated++;
    }
    *k = (struct fm_kept){.prev = lag->last,
                          .msg = fm_msg_ref(m),
                          .before = before,
                          .upto = m->id.seq,
                          .skipped = fm_vector_get(&lag->skipped, m->id.origin)};
    fm_vector_remove(&lag->skipped, m->id.origin);
    *(k->prev ? &k->prev->next : &lag->first) = k;
    lag->last = k;
    lag->bytes += cost_of(k);
    key = fm_msg_conflation_key(k->msg);
    HASH_ADD_KEYPTR(hh, lag->by_key, key.p, key.n, k);
    while (lag->bytes > bytes_max && lag->first != lag->last)
        if (leave_out(lag, lag->first))
            return FM_E_NOMEM;
    return FM_OK;
}

enum fm_err fm_lag_feed(struct fm_lag *lag, struct fm_msg *m, bool own, size_t bytes_max)
{
    const struct fm_id id = m->id;
    uint64_t sent = fm_vector_get(&lag->sent, id.origin), seen = fm_vector_get(&lag->seen, id.origin);
    if (seen < sent)
        seen = sent;
    if (id.seq <= seen)
        return FM_OK; /* it has it from elsewhere */
    enum fm_err err = fm_vector_raise(&lag->seen, id.origin, id.seq);
    if (!err && m->prev > seen && !lag->strict) {
        err = pass_over(lag, id.origin, seen, m->prev);
        seen = m->prev;
    } else if (m->prev > seen) {
        seen = m->prev;
    }
    if (err)
        return err;
    if (own)
        return pass_over(lag, id.origin, seen, id.seq);
    if (lag->conflate)
        return keep(lag, m, seen, bytes_max);
    lag->left++;
    return skipped_add(lag, id.origin, 1);
}

enum fm_err fm_lag_gap(struct fm_lag *lag, uint64_t origin, uint64_t to)
{
    return fm_vector_raise(&lag->seen, origin, to);
}

enum fm_err fm_lag_lost(struct fm_lag *lag, const struct fm_vector *at)
{
    enum fm_err err = FM_OK;
    lag->strict = true;
    for (uint32_t i = 0; i < at->n && !err; i++)
        err = fm_lag_gap(lag, at->at[i].origin, at->at[i].seq);
    return err;
}

/* ---- what comes next ---- */

static void gap_set(struct fm_gap *gap, uint64_t origin, uint64_t from, uint64_t to, uint64_t skipped)
{
    *gap = (struct fm_gap){.reason = FM_GAP_SLOW, .origin = origin, .from = from, .to = to, .skipped = skipped};
}

enum fm_lag_step fm_lag_peek(const struct fm_lag *lag, struct fm_gap *gap, struct fm_msg **m)
{
    if (lag->first) {
        const struct fm_kept *k = lag->first;
        uint64_t origin = k->msg->id.origin, sent = fm_vector_get(&lag->sent, origin);
        *m = k->msg;
        if (k->before <= sent)
            return FM_LAG_MSG;
        gap_set(gap, origin, sent + 1, k->before, k->skipped);
        return FM_LAG_GAP;
    }
    for (uint32_t i = 0; i < lag->seen.n; i++) {
        struct fm_id seen = lag->seen.at[i];
        uint64_t sent = fm_vector_get(&lag->sent, seen.origin);
        if (seen.seq <= sent)
            continue;
        gap_set(gap, seen.origin, sent + 1, seen.seq, fm_vector_get(&lag->skipped, seen.origin));
        return FM_LAG_GAP;
    }
    return FM_LAG_DONE;
}

enum fm_err fm_lag_take(struct fm_lag *lag, struct fm_msg **m)
{
    struct fm_gap gap;
    struct fm_msg *next;
    enum fm_lag_step step = fm_lag_peek(lag, &gap, &next);
    struct fm_kept *k = lag->first;
    assert(step != FM_LAG_DONE);
    *m = NULL;
    if (step == FM_LAG_GAP) {
        enum fm_err err = fm_vector_raise(&lag->sent, gap.origin, gap.to);
        if (err)
            return err;
        if (k)
            k->skipped = 0;
        else
            fm_vector_remove(&lag->skipped, gap.origin);
        return FM_OK;
    }
    enum fm_err err = fm_vector_raise(&lag->sent, next->id.origin, k->upto);
    if (err)
        return err;
    *m = fm_msg_ref(next);
    unlink_kept(lag, k);
    free_kept(k);
    return FM_OK;
}
