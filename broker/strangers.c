/* Links through which no envelope of this cluster came yet: of nodes that are just arriving, and of strangers. The mesh takes whoever
 * connects, and each publish is sent over each link; so strangers can't read anything, but must neither stay nor be many. A node speaks as
 * soon as it is linked: when there are too many, the one that has been silent for longest goes, not the newest, which may be a node. */
#include "hub_core.h"

#include "diag.h"

#include <inttypes.h>

enum { STRANGERS_MAX = 64 };

static bool is_stranger(const struct fm_link *l)
{
    return l->peer == 0 && !l->dropped;
}

static void send_away(struct fm_hub *h, struct fm_link *l)
{
    l->dropped = true;
    fm_diag(FM_DEBUG, "link_silent", "address=%s dialled=%d ms=%" PRIu64, l->address, l->dialled, h->now.mono_ms - l->up_ms);
    h->port.bus_ops->drop(h->port.bus, l->pipe);
}

void fm_strangers_limit(struct fm_hub *h)
{
    struct fm_link *oldest = NULL;
    uint32_t n = 0;
    for (struct fm_link *l = h->links; l < h->links + h->links_n; l++) {
        if (!is_stranger(l) || l->dialled)
            continue;
        n++;
        if (!oldest || l->up_ms < oldest->up_ms)
            oldest = l;
    }
    if (n > STRANGERS_MAX)
        send_away(h, oldest);
}

void fm_strangers_expire(struct fm_hub *h)
{
    for (struct fm_link *l = h->links; l < h->links + h->links_n; l++)
        if (is_stranger(l) && h->now.mono_ms - l->up_ms > h->config.down_ms)
            send_away(h, l);
}
