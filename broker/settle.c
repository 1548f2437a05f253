/* How origins end: of those whose node is gone, what is settled when all who could know more are in reach. */
#include "hub_core.h"

void fm_origin_end_unknown(struct fm_hub *h, struct fm_origin *o)
{
    o->final = true;
    /* Nothing moves: its node may only be cut off, and what it accepted meanwhile is given when it is back. */
    fm_blind_now(h, o->id, o->contig + 1, FM_GAP_OPEN);
}

/* Is every node that we know of in reach, but for the origin's own? claimed: and all of them name it, or there is none but us. Who does not
 * may have more of it: a node that was away for half of cursor_ttl names it no more, and may be the only one that had its end. most: how
 * much one has. */
static bool others_in_reach(const struct fm_hub *h, const struct fm_origin *o, bool *claimed, uint64_t *most)
{
    bool any = false;
    *claimed = true;
    *most = 0;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        const struct fm_peer *p = &h->peers[i];
        if (p->incarnation == o->id || p->left)
            continue;
        if (!p->alive || !p->told || !p->ready || !fm_peer_linked(h, p))
            return false;
        if (p->spoke_ms < o->heard_ms + h->config.down_ms)
            return false; /* both may have been cut off at once, and it is only not noticed yet */
        any = true;
        *claimed &= fm_vector_has(&p->has, o->id);
        *most = fm_later(*most, fm_vector_get(&p->has, o->id));
    }
    return any || fm_peer_find(h, o->id); /* a node that has forgotten the others, having been alone for long, knows nothing */
}

/* Its node said that it goes, or its address has another incarnation now. */
static bool is_over(const struct fm_hub *h, const struct fm_origin *o)
{
    const struct fm_peer *p = fm_peer_find(h, o->id);
    return p && p->left && !fm_peer_linked(h, p);
}

/* The last that a killed node accepted was heard of (a heartbeat named it, say) and nobody has it. */
static void tail_lost(struct fm_hub *h, struct fm_origin *o)
{
    char origin[FM_ORIGIN_TEXT_MAX + 1];
    fm_origin_print(o->id, origin);
    fm_diag(FM_WARN, "origin_tail_unknown",
            "origin=%s from=%llu to=%llu why=\"its node is gone and nobody else has these messages\" then=\"subscribers of what they may "
            "be are told a gap\"",
            origin, (unsigned long long)o->contig + 1, (unsigned long long)o->claimed);
    h->stats.tail_unknown += o->claimed - o->contig;
    fm_origin_gap(h, o, o->claimed, FM_GAP_LOST);
}

/* A node that was cut off or stood still for so long that nobody claims anything of one any more does not know
 * how that ended: it says so, once. */
void fm_origins_settle(struct fm_hub *h)
{
    struct fm_origin *o, *tmp;
    if (h->paused_ms && h->now.mono_ms - h->paused_ms < h->config.down_ms)
        return; /* what is heard at first was said before */
    HASH_ITER (hh, h->origins, o, tmp) {
        uint64_t idle_ms = h->now.mono_ms - o->heard_ms, most;
        bool claimed;
        if (o == h->self || o->final || idle_ms < h->config.down_ms || !others_in_reach(h, o, &claimed, &most))
            continue;
        if (fm_origin_hole(o) && most <= o->contig && idle_ms >= h->config.gap_ms && is_over(h, o))
            tail_lost(h, o);
        if (claimed) {
            o->final = !fm_origin_hole(o);
        } else if (idle_ms >= h->config.cursor_ttl_ms / 2) {
            fm_origin_end_unknown(h, o);
        }
    }
}
