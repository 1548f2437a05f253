/* As of when a cursor is complete: docs/decisions/0011.
 *
 * A cursor can't name what its node never heard of, and a node can't name what it has forgotten. So an origin that came and went while a
 * client was away would be missed in silence. Therefore each cursor says as of when it is complete, and each node knows `blind`: up to when
 * there was something that nobody names any more. A cursor from before is not recovered.
 *
 * Both are times of the cluster: of steady clocks, the one that is furthest ahead. Nodes tell theirs with every state, so it is behind by
 * no more than what an envelope takes, and it only ever jumps ahead, which makes cursors look older than they are and never younger. */
#include "hub_core.h"

enum {
    SPREAD_MS = 60 * 1000, /* in so much time a node that hears of all others has heard of all their origins */
    SPREAD_SHARE = 4,      /* ... or a part of the time for which they are named, where that is short */
    SAME_DEATH_MS = 5000,  /* by so much nodes may differ about when an origin was last heard */
};

static uint64_t spread_ms(const struct fm_hub *h)
{
    uint64_t share = h->config.cursor_ttl_ms / 2 / SPREAD_SHARE;
    return share < SPREAD_MS ? share : SPREAD_MS;
}

uint64_t fm_cluster_ms(const struct fm_hub *h)
{
    return h->now.mono_ms + h->ahead_ms;
}

uint64_t fm_asof(const struct fm_hub *h)
{
    uint64_t ms = h->now.mono_ms;
    for (const struct fm_origin *o = h->origins; o; o = o->hh.next) {
        if (o == h->self || o->final)
            continue;
        const struct fm_peer *p = fm_peer_find(h, o->id);
        if (fm_origin_hole(o) && o->whole_ms < ms)
            ms = o->whole_ms;
        /* Out of reach, and so may be what only it, or who is on its side, could tell of; or it has yet to tell what that is. */
        uint64_t told_ms = p ? p->told_ms : o->heard_ms;
        if (!(p && p->alive && p->told) && told_ms < ms)
            ms = told_ms;
    }
    return ms + h->ahead_ms;
}

enum fm_err fm_asof_mark(const struct fm_hub *h, struct fm_vector *cursor)
{
    return fm_vector_set(cursor, FM_CURSOR_ASOF, fm_asof(h));
}

bool fm_asof_take(const struct fm_hub *h, struct fm_vector *cursor)
{
    uint64_t asof_ms = fm_vector_get(cursor, FM_CURSOR_ASOF);
    fm_vector_remove(cursor, FM_CURSOR_ASOF);
    return asof_ms >= h->blind_ms && asof_ms >= h->unnamed_ms;
}

uint64_t fm_blind_by(const struct fm_hub *h, const struct fm_origin *o)
{
    return o->claimed ? o->heard_ms + h->ahead_ms + spread_ms(h) : 0;
}

void fm_blind_now(struct fm_hub *h, uint64_t origin, uint64_t from, uint64_t to)
{
    /* Also of what is not known here to be missing: nobody will say more of it. */
    h->blind_ms = fm_later(h->blind_ms, fm_cluster_ms(h));
    h->stats.blinded++;
    for (const struct fm_topic *t = h->topics; t; t = t->hh.next)
        fm_gap_tell(h, t, (struct fm_id){origin, from}, to, FM_GAP_LOST, h->blind_ms);
}

/* Is that of an origin that is known here too? Then this node has all of it, or has told what it has not. */
static bool known(const struct fm_hub *h, uint64_t ms)
{
    for (const struct fm_origin *o = h->origins; o; o = o->hh.next) {
        uint64_t by = fm_blind_by(h, o);
        if (o != h->self && by && by + SAME_DEATH_MS >= ms && by <= ms + SAME_DEATH_MS)
            return true;
    }
    return false;
}

/* A node that is wrong about the time makes all older cursors useless, once; not those that are given from then on. */
static uint64_t believed(const struct fm_env_state *s, uint64_t ms)
{
    return fm_least(ms, fm_least(s->time_ms, FM_TIME_MAX / 2) + SPREAD_MS);
}

/* What nodes forget while they are linked, both have known. What another forgot before, or learnt of somebody who was out of reach, this
 * one may never have heard of. */
void fm_blind_heard(struct fm_hub *h, const struct fm_env_state *s)
{
    uint64_t time_ms = fm_least(s->time_ms, FM_TIME_MAX / 2), blind_ms = believed(s, s->blind_ms), unnamed_ms = believed(s, s->unnamed_ms);
    if (time_ms > fm_cluster_ms(h))
        h->ahead_ms += time_ms - fm_cluster_ms(h);
    uint64_t was = fm_later(h->blind_ms, h->unnamed_ms);
    h->blind_ms = fm_later(h->blind_ms, blind_ms);
    if (!known(h, unnamed_ms))
        h->unnamed_ms = fm_later(h->unnamed_ms, unnamed_ms);
    uint64_t is = fm_later(h->blind_ms, h->unnamed_ms);
    if (!h->ready || is <= was + SAME_DEATH_MS || known(h, is))
        return;
    fm_diag(
        FM_WARN, "origins_unknown",
        "why=\"nodes that were out of reach have forgotten origins that this one never heard of\" then=\"all subscribers are told a gap\"");
    fm_blind_now(h, 0, 0, FM_GAP_OPEN);
}
