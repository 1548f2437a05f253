/* Presences that the HTTP API shows: of no channel, so they end with their time unless they are shown again, or by a command.
 *
 * A backend stands behind a balancer: its calls about one key come to any node. So a key has one such presence on a topic, and whichever
 * node shows it last has it: a node that hears of a newer one than its own gives its own up. Which is newer must be the same on all nodes,
 * so it is part of the entry's id, which is greater than those of all that the node knew when it made it. Of two that were made before
 * either was heard of one stays, the same everywhere. */
#include "hub_core.h"
#include "command.h"

#include <assert.h>
#include <stdlib.h>

enum {
    SEQ_BITS = 16,  /* of an id, behind the cluster's time */
    ASKED_MS = 500, /* a command's time is known about so well: what was shown a moment after it was meant, too */
};

#define HOLDER (UINT64_C(0xffff) << 48)

/* ---- by when they end: a heap whose first ends first ---- */

static void place(struct fm_presence *p, uint32_t i, struct fm_pentry *e)
{
    p->leases[i] = e;
    e->lease = i + 1;
}

static void rise(struct fm_presence *p, uint32_t i)
{
    struct fm_pentry *e = p->leases[i];
    for (uint32_t up; i && p->leases[up = (i - 1) / 2]->due_ms > e->due_ms; i = up)
        place(p, i, p->leases[up]);
    place(p, i, e);
}

static void sink(struct fm_presence *p, uint32_t i)
{
    struct fm_pentry *e = p->leases[i];
    for (uint32_t child; (child = 2 * i + 1) < p->leases_n; i = child) {
        if (child + 1 < p->leases_n && p->leases[child + 1]->due_ms < p->leases[child]->due_ms)
            child++;
        if (p->leases[child]->due_ms >= e->due_ms)
            break;
        place(p, i, p->leases[child]);
    }
    place(p, i, e);
}

static bool reserve(struct fm_presence *p)
{
    if (p->leases_n < p->leases_cap)
        return true;
    uint32_t cap = p->leases_cap ? p->leases_cap * 2 : 16;
    struct fm_pentry **leases = realloc(p->leases, cap * sizeof(struct fm_pentry *));
    if (!leases)
        return false;
    p->leases = leases;
    p->leases_cap = cap;
    return true;
}

static void due_set(struct fm_presence *p, struct fm_pentry *e, uint64_t due_ms)
{
    e->due_ms = due_ms;
    if (!e->lease) {
        assert(p->leases_n < p->leases_cap);
        p->leases[p->leases_n] = e;
        e->lease = ++p->leases_n;
    }
    rise(p, e->lease - 1);
    sink(p, e->lease - 1);
}

void fm_lease_drop(struct fm_hub *h, struct fm_pentry *e)
{
    struct fm_presence *p = &h->presence;
    if (!e->lease)
        return;
    uint32_t i = e->lease - 1;
    e->lease = 0;
    if (i == --p->leases_n)
        return;
    place(p, i, p->leases[p->leases_n]);
    rise(p, i);
    sink(p, p->leases[i]->lease - 1);
}

void fm_leases_paused(struct fm_hub *h, uint64_t ms)
{
    for (uint32_t i = 0; i < h->presence.leases_n; i++)
        h->presence.leases[i]->due_ms += ms;
}

uint64_t fm_lease_due_ms(const struct fm_presence *p)
{
    return p->leases_n ? p->leases[0]->due_ms : 0;
}

/* ---- one for a key ---- */

static struct fm_pkey *key_of(struct fm_hub *h, struct fm_slice topic, struct fm_slice key)
{
    struct fm_ptopic *t = fm_ptopic_find(h, topic);
    return t ? fm_pkey_find(t, key) : NULL;
}

static struct fm_pentry *own_of(struct fm_pkey *k)
{
    struct fm_pentry *e = k ? k->first : NULL;
    while (e && fm_pentry_is_lease(e) && !e->lease)
        e = e->next;
    return e && e->lease ? e : NULL;
}

uint64_t fm_lease_id(struct fm_hub *h, struct fm_slice topic, struct fm_slice key)
{
    uint64_t id = fm_later(h->presence.lease_id + 1, FM_PENTRY_LEASE | (fm_cluster_ms(h) << SEQ_BITS & (FM_PENTRY_LEASE - 1)));
    const struct fm_pkey *k = key_of(h, topic, key);
    for (const struct fm_pentry *e = k ? k->first : NULL; e && fm_pentry_is_lease(e); e = e->next)
        if (e->id >= id)
            id = e->id + 1;
    return h->presence.lease_id = id;
}

void fm_lease_met(struct fm_hub *h, const struct fm_pentry *other)
{
    struct fm_pentry *e = fm_pentry_is_lease(other) ? own_of(other->key) : NULL;
    if (e && (other->id > e->id || (other->id == e->id && other->origin->id > e->origin->id)))
        fm_pentry_end(h, e, other);
}

enum fm_err fm_lease_do(struct fm_hub *h, struct fm_track *t)
{
    struct fm_presence *p = &h->presence;
    struct fm_pentry *e = own_of(key_of(h, fm_track_topic(t), fm_track_key(t)));
    if (!h->ready)
        return FM_E_NOT_READY;
    if (!reserve(p))
        return FM_E_NOMEM;
    t->holder = e ? e->holder : HOLDER | ++p->lease_holders;
    enum fm_err err = fm_track_do(h, t);
    if (err)
        return err;
    e = fm_pentry_held(h, t->holder);
    e->put_ms = h->now.mono_ms;
    due_set(p, e, h->now.mono_ms + t->ttl_ms);
    return FM_OK;
}

/* ---- what ends them ---- */

void fm_leases_expire(struct fm_hub *h)
{
    while (h->presence.leases_n && h->presence.leases[0]->due_ms <= h->now.mono_ms)
        fm_pentry_end(h, h->presence.leases[0], NULL);
}

void fm_lease_command(struct fm_hub *h, const struct fm_cluster_command *c, const struct fm_msg *m)
{
    struct fm_pentry *e = own_of(key_of(h, c->topic, c->text));
    bool meant = e && (int64_t)e->put_ms <= fm_command_asked_hub(c, m) + ASKED_MS;
    if (meant)
        fm_pentry_end(h, e, NULL);
    fm_command_did(h, c->id, meant);
}

void fm_leases_judge(struct fm_hub *h)
{
    struct fm_presence *p = &h->presence;
    if (!h->config.presence_allowed)
        return;
    for (uint32_t i = p->leases_n; i-- > 0;) {
        struct fm_pentry *e = i < p->leases_n ? p->leases[i] : NULL;
        if (e && !h->config.presence_allowed(h->config.retention_ctx, fm_slice_of(e->key->topic->name, e->key->topic->name_n)))
            fm_pentry_end(h, e, NULL);
    }
}
