/* Links: which node is behind which pipe, which of two links to one node stays, who is dialled and who is not. Each side closes only links
 * that it dialled itself, so that two sides never close both of a pair. */
#include "hub_core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LINKS_EVERY_MS = 500,
    ELDER_WAITS_MS = 2000,        /* of two nodes the one with the smaller incarnation dials; the other only after this time */
    FORGET_PEER_MS = 3600 * 1000, /* a dead node's address is dialled for so long */
    DOUBT_MS = 60 * 1000,         /* after a node was out of reach, or the start: what nobody names may still come back */
    HELLO_OFTEN_MS = 5000,        /* with every heartbeat, after a new link */
    DIAL_TELL_MS = 10 * 1000,     /* that a dial could not even begin */
};

struct fm_link *fm_link_find(struct fm_hub *h, uint32_t pipe)
{
    for (uint32_t i = 0; i < h->links_n; i++)
        if (h->links[i].pipe == pipe)
            return &h->links[i];
    return NULL;
}

bool fm_peer_linked(const struct fm_hub *h, const struct fm_peer *p)
{
    for (uint32_t i = 0; i < h->links_n; i++)
        if (h->links[i].peer == p->incarnation)
            return true;
    return false;
}

/* What a node hears first must be a hello; it may be lost, so for a while there are more. */
static void hello_owed(struct fm_hub *h)
{
    h->hello_due = true;
    h->hello_often_ms = h->now.mono_ms + HELLO_OFTEN_MS;
}

void fm_link_up(struct fm_hub *h, const struct fm_bus_item *it)
{
    if (h->links_n == h->links_cap) {
        uint32_t cap = h->links_cap ? h->links_cap * 2 : 8;
        struct fm_link *all = realloc(h->links, cap * sizeof *all);
        if (!all) {
            h->port.bus_ops->drop(h->port.bus, it->pipe);
            return;
        }
        h->links = all;
        h->links_cap = cap;
    }
    struct fm_link *l = &h->links[h->links_n++];
    *l = (struct fm_link){.pipe = it->pipe, .dialled = it->dialled, .heard_ms = h->now.mono_ms};
    fm_text_copy(l->address, sizeof l->address, fm_slice_str(it->address));
    fm_strangers_limit(h);
    /* Who dials speaks first: a stranger that dials again and again costs the others nothing. */
    if (it->dialled)
        hello_owed(h);
}

void fm_link_down(struct fm_hub *h, const struct fm_bus_item *it)
{
    struct fm_link *l = fm_link_find(h, it->pipe);
    if (!l)
        return;
    uint64_t peer = l->peer;
    if (!peer && l->dialled && !l->dropped && !h->left) {
        h->stats.dials_ended++;
        fm_address_rest(h, l->address, false);
    }
    *l = h->links[--h->links_n];
    struct fm_peer *p = peer ? fm_peer_find(h, peer) : NULL;
    if (p && !fm_peer_linked(h, p)) {
        p->alone_ms = h->now.mono_ms;
        p->told = false;
        h->links_due_ms = h->now.mono_ms; /* redial soon */
        fm_peer_say(p, FM_INFO, "link_down", "");
    }
}

void fm_link_drop(struct fm_hub *h, struct fm_link *l)
{
    l->dropped = true;
    h->port.bus_ops->drop(h->port.bus, l->pipe);
}

/* Of several links to one node the one dialled by the smaller incarnation stays; of several that we dialled, the first. */
static void link_dedupe(struct fm_hub *h, uint64_t peer)
{
    const struct fm_link *keep = NULL;
    for (uint32_t i = 0; i < h->links_n; i++) {
        const struct fm_link *l = &h->links[i];
        if (l->peer != peer || l->dropped)
            continue;
        bool elder = l->dialled == (h->self->id < peer);
        bool keep_elder = keep && keep->dialled == (h->self->id < peer);
        if (!keep || (elder && !keep_elder) || (elder == keep_elder && l->pipe < keep->pipe))
            keep = l;
    }
    for (uint32_t i = 0; i < h->links_n; i++) {
        struct fm_link *l = &h->links[i];
        if (l->peer != peer || l == keep || !l->dialled || l->dropped)
            continue;
        h->port.bus_ops->unlink(h->port.bus, l->address); /* rests until the kept link dies */
        fm_link_drop(h, l);
    }
}

/* Which node a seed's address led to, so that it is not dialled again while that node is linked under another address (or is this one). */
static void seed_led_to(struct fm_hub *h, const char *address, uint64_t incarnation)
{
    for (uint32_t i = 0; h->config.seeds && h->config.seeds[i]; i++)
        if (strcmp(h->config.seeds[i], address) == 0)
            h->seed_peer[i] = incarnation;
}

bool fm_link_heard(struct fm_hub *h, uint32_t pipe, uint64_t incarnation, uint64_t counter)
{
    struct fm_link *l = fm_link_find(h, pipe);
    if (!l || l->peer != incarnation)
        return true;
    if (counter <= l->counter)
        return false;
    l->heard_ms = h->now.mono_ms;
    l->excused = 0;
    /* A link loses nothing by itself, so what is missing between two of its envelopes found a queue full: at the sender, or our inbox. */
    if (l->counter)
        h->stats.dropped += counter - l->counter - 1;
    l->counter = counter;
    return true;
}

void fm_link_refuse(struct fm_hub *h, uint32_t pipe, enum fm_err err, uint32_t times)
{
    struct fm_link *l = fm_link_find(h, pipe);
    fm_refusal_tell(h, "envelope_refused", l ? l->address : NULL, err, times);
    if (l && !l->dropped) {
        h->stats.links_refused++;
        if (l->dialled)
            fm_address_rest(h, l->address, true);
        l->dropped = true;
    }
    h->port.bus_ops->drop(h->port.bus, pipe);
}

void fm_link_of(struct fm_hub *h, uint32_t pipe, struct fm_peer *p)
{
    struct fm_link *l = fm_link_find(h, pipe);
    if (!l || l->peer == p->incarnation)
        return;
    l->peer = p->incarnation;
    if (p->alive && p->alone_ms) { /* the end of a link_down that was none of the node */
        char more[48];
        snprintf(more, sizeof more, " after_ms=%" PRIu64, h->now.mono_ms - p->alone_ms);
        fm_peer_say(p, FM_INFO, "link_back", more);
    }
    p->alone_ms = 0;
    if (l->dialled) {
        fm_address_good(h, l->address);
        seed_led_to(h, l->address, p->incarnation);
    } else {
        hello_owed(h);
    }
    link_dedupe(h, p->incarnation);
}

static bool is_self_address(const struct fm_hub *h, const char *address)
{
    return strcmp(address, h->config.bus_address) == 0;
}

static bool seed_rests(const struct fm_hub *h, uint32_t seed)
{
    const char *address = h->config.seeds[seed];
    if (is_self_address(h, address) || h->seed_peer[seed] == h->self->id)
        return true;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        const struct fm_peer *p = &h->peers[i];
        if (fm_peer_linked(h, p) && (p->incarnation == h->seed_peer[seed] || strcmp(p->bus, address) == 0))
            return true;
    }
    return false;
}

bool fm_everyone_linked(const struct fm_hub *h)
{
    for (uint32_t i = 0; i < h->peers_n; i++) {
        const struct fm_peer *p = &h->peers[i];
        if (!p->left && (!p->alive || !p->told || !fm_peer_linked(h, p)))
            return false;
    }
    /* A seed that was never there does not make the cluster doubtful for ever. */
    for (uint32_t i = 0; h->config.seeds && h->config.seeds[i]; i++)
        if (!seed_rests(h, i) && h->now.mono_ms - h->started_ms < FORGET_PEER_MS)
            return false;
    return true;
}

/* Two nodes that were just started know only each other, and may yet be the smaller part of a split: hence the time. */
bool fm_cluster_whole(const struct fm_hub *h)
{
    return !h->port.bus_ops || (fm_everyone_linked(h) && h->now.mono_ms - h->doubted_ms >= DOUBT_MS);
}

/* Does a seed stand for another node that may be there? Not if that is this one, or left in good order. */
static bool seed_counts(const struct fm_hub *h, uint32_t seed)
{
    const struct fm_peer *p = h->seed_peer[seed] ? fm_peer_find(h, h->seed_peer[seed]) : NULL;
    return !is_self_address(h, h->config.seeds[seed]) && h->seed_peer[seed] != h->self->id && !(p && p->left);
}

void fm_isolation_check(struct fm_hub *h)
{
    if (!h->ready || h->draining)
        return;
    uint32_t known = 0, alive = 0;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        known += h->peers[i].met && !h->peers[i].left;
        alive += h->peers[i].alive;
    }
    for (uint32_t i = 0; !known && h->config.seeds && h->config.seeds[i]; i++)
        known += seed_counts(h, i);
    bool isolated = known && !alive;
    if (isolated == h->stats.isolated)
        return;
    h->stats.isolated = isolated;
    if (isolated) {
        h->isolated_ms = h->now.mono_ms;
        fm_diag(FM_WARN, "mesh_isolated",
                "why=\"no other node is in reach\" then=\"this one goes on alone, and what it accepts reaches the others after they are "
                "back\"");
    } else {
        fm_diag(FM_INFO, "mesh_isolation_over", "ms=%llu why=\"%s\"", (unsigned long long)(h->now.mono_ms - h->isolated_ms),
                alive ? "another node is in reach again" : "the other nodes have left in good order");
    }
}

/* Unless the address rests. What fails is tried again with the next round: only an address that is none stays so. */
static enum fm_err dial(struct fm_hub *h, const char *address)
{
    if (fm_address_rests(h, address))
        return FM_OK;
    enum fm_err err = h->port.bus_ops->link(h->port.bus, address);
    if (!err)
        return FM_OK;
    h->dials_told.untold++;
    if (h->now.mono_ms >= h->dials_told.quiet_until_ms) {
        fm_diag(FM_WARN, "dial_failed", "address=%s code=%s times=%llu why=\"%s\" then=\"%s\"", address, fm_err_code(err),
                (unsigned long long)h->dials_told.untold, fm_err_text(err),
                err == FM_E_ADDRESS ? "it is not dialled; a node is reached at host:port" : "it is dialled again soon");
        h->dials_told = (struct fm_diag_pause){.quiet_until_ms = h->now.mono_ms + DIAL_TELL_MS};
    }
    return err;
}

void fm_seeds_link(struct fm_hub *h)
{
    for (uint32_t i = 0; h->config.seeds && h->config.seeds[i]; i++)
        if (!seed_rests(h, i))
            (void)dial(h, h->config.seeds[i]);
}

void fm_links_tend(struct fm_hub *h)
{
    h->links_due_ms = h->now.mono_ms + LINKS_EVERY_MS;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        struct fm_peer *p = &h->peers[i];
        if (p->left || !p->bus[0] || is_self_address(h, p->bus) || fm_peer_linked(h, p))
            continue;
        if (h->now.mono_ms - p->heard_ms > FORGET_PEER_MS) {
            fm_peer_remove(h, i--);
            continue;
        }
        bool mine = h->self->id < p->incarnation || h->now.mono_ms - p->alone_ms > ELDER_WAITS_MS;
        if (mine && dial(h, p->bus) == FM_E_ADDRESS)
            p->left = true;
    }
    if (!h->left)
        fm_seeds_link(h);
}

/* A link to ourselves: by a seed that names this node, or an advertised address that leads back. */
void fm_link_to_self(struct fm_hub *h, uint32_t pipe)
{
    struct fm_link *l = fm_link_find(h, pipe);
    if (!l || !l->dialled)
        return;
    l->dropped = true;
    fm_diag(FM_DEBUG, "link_to_self", "address=%s", l->address);
    seed_led_to(h, l->address, h->self->id);
    h->port.bus_ops->unlink(h->port.bus, l->address);
    h->port.bus_ops->drop(h->port.bus, pipe);
}
