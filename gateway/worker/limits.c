#include "senders.h"

#include "../../broker/diag.h"
#include "../../broker/msg.h"

#include <inttypes.h>
#include <stdlib.h>

enum { QUIET_MS = 10 * 1000 }; /* a burst is over when there was nothing for so long */

static const struct {
    const char *option, *what, *then;
} limits_table[FM_LIMITS_N] = {
#define X(name, option, what, then) {option, what, then},
    FM_LIMIT_TABLE(X)
#undef X
};

enum fm_err fm_limits_new(struct fm_limits **out, uint32_t per_address, uint32_t per_user)
{
    struct fm_limits *l = calloc(1, sizeof *l);
    *out = l;
    if (!l)
        return FM_E_NOMEM;
    l->per_address = per_address;
    l->per_user = per_user;
    l->addresses = fm_tally_new();
    l->users = fm_tally_new();
    l->senders = fm_senders_new();
    if (l->addresses && l->users && l->senders)
        return FM_OK;
    fm_limits_free(out);
    return FM_E_NOMEM;
}

void fm_limits_free(struct fm_limits **lp)
{
    struct fm_limits *l = *lp;
    *lp = NULL;
    if (!l)
        return;
    fm_tally_free(&l->addresses);
    fm_tally_free(&l->users);
    fm_senders_free(&l->senders);
    free(l);
}

/* ---- the log ---- */

/* Whoever moves the burst's end from the past begins a new one, and tells it. */
static bool moved(struct fm_burst *b, uint64_t now_ms)
{
    uint64_t until_ms = atomic_load_explicit(&b->until_ms, memory_order_relaxed);
    do {
        if (until_ms >= now_ms + QUIET_MS)
            return false; /* another worker's clock is read a little later */
    } while (
        !atomic_compare_exchange_weak_explicit(&b->until_ms, &until_ms, now_ms + QUIET_MS, memory_order_relaxed, memory_order_relaxed));
    return now_ms > until_ms;
}

/* *last: how many of the burst before were not told. */
static bool burst_begins(struct fm_burst *b, uint64_t now_ms, uint64_t *last)
{
    if (!moved(b, now_ms)) {
        atomic_fetch_add_explicit(&b->untold, 1, memory_order_relaxed);
        return false;
    }
    *last = atomic_exchange_explicit(&b->untold, 0, memory_order_relaxed);
    return true;
}

void fm_limit_tell(struct fm_limits *limits, enum fm_limit limit, const struct fm_peer *peer, struct fm_slice user, uint64_t now_ms)
{
    uint64_t untold;
    if (!limits || !burst_begins(&limits->bursts[limit], now_ms, &untold))
        return;
    char text[FM_PEER_TEXT_MAX], quote[FM_USER_MAX * 4 + 3];
    fm_diag(FM_WARN, "limit_reached",
            "limit=%s peer=%s user=%s last_burst=%" PRIu64
            " why=\"%s than the limit allows\" then=\"it is refused, and told so; if this is no abuse, %s\"",
            limits_table[limit].option, fm_peer_text(peer, text), fm_diag_quote(quote, sizeof quote, (const char *)user.p, user.n), untold,
            limits_table[limit].what, limits_table[limit].then);
}

void fm_limit_tell_token(struct fm_limits *limits, enum fm_err err, const char *why, const struct fm_peer *peer, uint64_t now_ms)
{
    uint64_t untold;
    if (!limits || !burst_begins(&limits->tokens[err], now_ms, &untold))
        return;
    char text[FM_PEER_TEXT_MAX];
    fm_diag(FM_WARN, "token_refused",
            "reason=%s peer=%s last_burst=%" PRIu64
            " why=\"%s%s%s\" then=\"the client is told the reason; if its tokens are meant to be good, compare how they are made with "
            "docs/tokens.md\"",
            fm_err_code(err), fm_peer_text(peer, text), untold, fm_err_text(err), why ? ": " : "", why ? why : "");
}

/* ---- connections ---- */

struct fm_slice fm_limits_address_key(const struct fm_ip *ip)
{
    return fm_slice_of(ip->b, fm_ip_is_v4(ip) ? sizeof ip->b : 8);
}

static bool address_counts(const struct fm_limits *l, const struct fm_ip *ip)
{
    static const struct fm_ip none;
    return l && l->per_address && memcmp(ip, &none, sizeof none) != 0;
}

static enum fm_err taken(enum fm_err err, bool *held)
{
    *held = err == FM_OK;
    return err == FM_E_BUSY ? FM_E_TOO_MANY_CONNECTIONS : err;
}

enum fm_err fm_limits_address_take(struct fm_limits *l, const struct fm_ip *ip, bool *held)
{
    *held = false;
    return address_counts(l, ip) ? taken(fm_tally_take(l->addresses, fm_limits_address_key(ip), l->per_address), held) : FM_OK;
}

void fm_limits_address_give(struct fm_limits *l, const struct fm_ip *ip)
{
    fm_tally_give(l->addresses, fm_limits_address_key(ip));
}

enum fm_err fm_limits_user_take(struct fm_limits *l, struct fm_slice user, bool *held)
{
    *held = false;
    return l && l->per_user && user.n ? taken(fm_tally_take(l->users, user, l->per_user), held) : FM_OK;
}

void fm_limits_user_give(struct fm_limits *l, struct fm_slice user)
{
    fm_tally_give(l->users, user);
}

/* ---- rates ---- */

static uint64_t owed_us(const struct fm_bucket *b, uint64_t now_us)
{
    return b->earned_us > now_us ? b->earned_us - now_us : 0;
}

void fm_bucket_owe(struct fm_bucket *b, struct fm_rate rate, uint64_t n, uint64_t now_ms)
{
    uint64_t now_us = now_ms * 1000;
    if (rate.per_s)
        b->earned_us = now_us + owed_us(b, now_us) + n * 1000000 / rate.per_s;
}

enum fm_bucket_verdict fm_bucket_take(struct fm_bucket *b, struct fm_bucket *refused, struct fm_rate rate, uint64_t n, uint64_t now_ms,
                                      uint32_t *retry_ms)
{
    *retry_ms = 0;
    if (rate.per_s == 0)
        return FM_BUCKET_GIVES;
    uint64_t now_us = now_ms * 1000, cost_us = n * 1000000 / rate.per_s, holds_us = (uint64_t)rate.burst_ms * 1000;
    holds_us = holds_us > cost_us ? holds_us : cost_us;
    uint64_t owes_us = owed_us(b, now_us) + cost_us, refused_us = owed_us(refused, now_us) + cost_us;
    if (owes_us <= holds_us) {
        b->earned_us = now_us + owes_us;
        return FM_BUCKET_GIVES;
    }
    *retry_ms = (uint32_t)((owes_us - holds_us + 999) / 1000);
    if (refused_us > holds_us)
        return FM_BUCKET_ABUSED;
    refused->earned_us = now_us + refused_us;
    return FM_BUCKET_WAITS;
}
