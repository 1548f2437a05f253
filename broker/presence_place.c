/* Who comes in whose place, so that one who is back soon, on any node, was never away.
 *
 * Places are taken one for one: of a user with two tabs only one may have been away. The owner of an entry whose channel is gone keeps it
 * for the grace, and ends it as soon as it hears of somebody who came for it, its heir. What it then says to all nodes names the heir, so
 * one that hears of it first, as its link to the heir's node is slower or lost something, keeps the entry for its clients until the heir
 * is to be seen. So that depends on no clock and no order of arrival; the grace ends it where the heir never comes.
 *
 * A node that takes its leave is not there to say who came for its entries: each node judges for itself. */
#include "hub_core.h"

#include <assert.h>
#include <utlist.h>

enum { HEIRS_MAX = 8 }; /* one after another, that each went before it was heard of */

/* ---- those that go when their time is over: all have the same, so the list is in its order ---- */

static void late_add(struct fm_hub *h, struct fm_pentry *e)
{
    struct fm_presence *p = &h->presence;
    assert(!e->late_link);
    e->due_ms = h->now.mono_ms + h->config.presence_grace_ms;
    e->late_next = NULL;
    e->late_link = p->late_last;
    *p->late_last = e;
    p->late_last = &e->late_next;
}

static void late_remove(struct fm_hub *h, struct fm_pentry *e)
{
    if (!e->late_link)
        return;
    *e->late_link = e->late_next;
    if (e->late_next)
        e->late_next->late_link = e->late_link;
    else
        h->presence.late_last = e->late_link;
    e->late_link = NULL;
    e->late_next = NULL;
}

/* ---- places ---- */

void fm_pentry_place(struct fm_pentry *e, enum fm_pplace place)
{
    struct fm_pkey *k = e->key;
    if (e->place != FM_PPLACE_NONE)
        DL_DELETE2(k->places[e->place], e, place_prev, place_next);
    k->kept -= e->place == FM_PPLACE_KEPT;
    k->kept += place == FM_PPLACE_KEPT;
    e->place = (uint8_t)place;
    if (place == FM_PPLACE_VACANT && !e->late_link) /* another node's */
        DL_APPEND2(k->places[place], e, place_prev, place_next);
    else if (place != FM_PPLACE_NONE)
        DL_PREPEND2(k->places[place], e, place_prev, place_next);
}

void fm_pentry_unplace(struct fm_hub *h, struct fm_pentry *e)
{
    late_remove(h, e);
    if (e->place != FM_PPLACE_NONE)
        fm_pentry_place(e, FM_PPLACE_NONE);
}

/* Has somebody come in its place, before it was known that it left? It comes for nobody else then. */
static struct fm_pentry *heir_take(struct fm_hub *h, const struct fm_pentry *e)
{
    struct fm_pentry *f = e->key->places[FM_PPLACE_FRESH];
    if (f == e)
        f = f->place_next;
    if (!f || f->came_ms < e->came_ms || h->now.mono_ms - f->came_ms >= h->config.presence_grace_ms)
        return NULL;
    fm_pentry_place(f, FM_PPLACE_NONE);
    return f;
}

void fm_presence_leaves(struct fm_hub *h, struct fm_pentry *e)
{
    e->superseded = heir_take(h, e) != NULL;
    if (!e->superseded)
        fm_pentry_place(e, FM_PPLACE_VACANT);
}

void fm_presence_came(struct fm_hub *h, struct fm_pentry *e)
{
    struct fm_pentry *v = e->key->places[FM_PPLACE_VACANT];
    e->came_ms = h->now.mono_ms;
    if (v && v->origin == h->presence.self) {
        fm_pentry_end(h, v, e);
    } else if (v) {
        v->superseded = true;
        fm_pentry_place(v, FM_PPLACE_NONE);
        fm_pentry_mark(h, v);
    }
    if (e->origin->state == FM_PORIGIN_LINGERS)
        fm_presence_leaves(h, e);
    else if (e->origin->state == FM_PORIGIN_HERE && !v)
        fm_pentry_place(e, FM_PPLACE_FRESH);
}

void fm_presence_linger(struct fm_hub *h, struct fm_pentry *e)
{
    struct fm_pentry *heir = heir_take(h, e);
    if (heir) {
        fm_pentry_end(h, e, heir);
        return;
    }
    late_add(h, e);
    fm_pentry_place(e, FM_PPLACE_VACANT);
}

struct fm_pentry *fm_presence_vacant(struct fm_hub *h, const struct fm_pkey *k)
{
    struct fm_pentry *e = k->places[FM_PPLACE_VACANT];
    return e && e->origin == h->presence.self ? e : NULL;
}

void fm_presence_back(struct fm_hub *h, struct fm_pentry *e)
{
    if (e->place == FM_PPLACE_VACANT)
        fm_pentry_unplace(h, e);
}

/* ---- those that are gone, and still to be seen ---- */

void fm_pentry_keep(struct fm_hub *h, struct fm_pentry *e)
{
    late_add(h, e);
    fm_pentry_place(e, FM_PPLACE_KEPT);
}

/* An heir may have had one of its own before this node heard of it. Where the heir is not known, anybody under the key will do. */
static bool is_followed(struct fm_hub *h, const struct fm_pentry *e)
{
    struct fm_pheir at = e->heir;
    for (unsigned i = 0; at.origin && i < HEIRS_MAX; i++) {
        struct fm_porigin *o = fm_porigin_find(h, at.origin);
        const struct fm_pentry *f = o ? fm_pentry_find(o, at.id) : NULL;
        if (!f || f->meta)
            return f && fm_pentry_seen(f);
        if (!f->heir.origin && !f->listed)
            break; /* it is not known who came for that one */
        if (!f->heir.origin)
            return true; /* that one is gone, and nobody came for it */
        at = f->heir;
    }
    return e->key->shown > e->key->kept;
}

bool fm_pkey_release(struct fm_hub *h, struct fm_pkey *k)
{
    struct fm_pentry *e, *next;
    bool some = false;
    for (e = k->places[FM_PPLACE_KEPT]; e; e = next) {
        next = e->place_next;
        if (!is_followed(h, e))
            continue;
        fm_pentry_unplace(h, e);
        fm_pentry_mark(h, e);
        some = true;
    }
    return some;
}

/* ---- time ---- */

/* Who came for them meanwhile is heard of only now. */
void fm_places_paused(struct fm_hub *h, uint64_t ms)
{
    for (struct fm_pentry *e = h->presence.late; e; e = e->late_next)
        e->due_ms += ms;
}

void fm_presence_expire(struct fm_hub *h)
{
    struct fm_pentry *e;
    while ((e = h->presence.late) != NULL && e->due_ms <= h->now.mono_ms && !fm_mutation(PRESENCE_GRACE_FOREVER)) {
        if (e->meta) {
            fm_pentry_end(h, e, NULL);
            continue;
        }
        fm_pentry_unplace(h, e);
        fm_pentry_mark(h, e);
    }
    fm_leases_expire(h);
}
