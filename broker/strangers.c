/* Links through which no envelope of this cluster came yet: of nodes that are just arriving, and of strangers. The mesh takes whoever
 * connects, and each publish is sent over each link; so strangers can't read anything, but must neither stay nor be many. A node speaks as
 * soon as it is linked: when there are too many, the one that has been silent for longest goes, not the newest, which may be a node.
 *
 * An envelope that is older than what its node was heard to say is a recorded one, or a copy that another link of that node brought sooner:
 * two nodes that meet often dial each other at once. Neither does harm; but behind a second link is the node, which says something new with
 * its next heartbeat. So who says only old things until its time is up is refused as a replay. (The newest that was heard may be a copy as
 * well: it makes a link that node's, for as long as more follows.) */
#include "hub_core.h"

#include "diag.h"

#include <inttypes.h>

enum { STRANGERS_MAX = 64, LATE_MAX = 64 };

static bool is_stranger(const struct fm_link *l)
{
    return l->peer == 0 && !l->dropped;
}

static void send_away(struct fm_hub *h, struct fm_link *l)
{
    fm_diag(FM_DEBUG, "link_silent", "address=%s dialled=%d ms=%" PRIu64, l->address, l->dialled, h->now.mono_ms - l->heard_ms);
    fm_link_drop(h, l);
}

void fm_strangers_limit(struct fm_hub *h)
{
    struct fm_link *oldest = NULL;
    uint32_t n = 0;
    for (struct fm_link *l = h->links; l < h->links + h->links_n; l++) {
        if (!is_stranger(l) || l->dialled)
            continue;
        n++;
        if (!oldest || l->heard_ms < oldest->heard_ms)
            oldest = l;
    }
    if (n > STRANGERS_MAX)
        send_away(h, oldest);
}

void fm_stranger_late(struct fm_hub *h, struct fm_link *l)
{
    if (++l->late >= LATE_MAX && !l->dropped)
        fm_link_refuse(h, l->pipe, FM_E_REPLAY, l->late);
}

/* Its other end is gone without a word, or never was that node; also of a node that was never met, or is down. */
static bool is_silent(struct fm_hub *h, const struct fm_link *l)
{
    return !l->dropped && h->now.mono_ms - l->heard_ms > h->config.down_ms;
}

void fm_strangers_expire(struct fm_hub *h)
{
    for (struct fm_link *l = h->links; l < h->links + h->links_n; l++) {
        if (!is_silent(h, l))
            continue;
        if (l->late)
            fm_link_refuse(h, l->pipe, FM_E_REPLAY, l->late);
        else
            send_away(h, l);
    }
}
