/* What the channels of this node show. The node is the only one that writes it. */
#include "hub_core.h"

#include "diag.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum { TELL_EVERY_MS = 10 * 1000 };

struct fm_track *fm_track_new(enum fm_track_op op, uint32_t worker, uint64_t holder, const struct fm_track_parts *parts)
{
    static const struct fm_track_parts none;
    const struct fm_track_parts *p = parts ? parts : &none;
    size_t n = p->topic.n + p->key.n + p->meta.n + p->cookie.n;
    struct fm_track *t = calloc(1, sizeof *t + n);
    if (!t)
        return NULL;
    t->item.kind = FM_HUB_TRACK;
    t->item.cost = (uint32_t)(sizeof *t + n);
    t->op = op;
    t->worker = worker;
    t->holder = holder;
    t->topic_n = (uint32_t)p->topic.n;
    t->key_n = (uint32_t)p->key.n;
    t->meta_n = (uint32_t)p->meta.n;
    t->cookie_n = (uint32_t)p->cookie.n;
    uint8_t *to = t->bytes;
    const struct fm_slice all[] = {p->topic, p->key, p->meta, p->cookie};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].n)
            memcpy(to, all[i].p, all[i].n);
        to += all[i].n;
    }
    return t;
}

/* ---- changes ---- */

struct fm_pentry *fm_pentry_held(struct fm_hub *h, uint64_t holder)
{
    struct fm_pentry *e;
    HASH_FIND(by_holder, h->presence.by_holder, &holder, sizeof holder, e);
    return e;
}

static void holder_set(struct fm_hub *h, struct fm_pentry *e, uint64_t holder)
{
    if (e->holder)
        HASH_DELETE(by_holder, h->presence.by_holder, e);
    e->holder = holder;
    if (holder)
        HASH_ADD(by_holder, h->presence.by_holder, holder, sizeof e->holder, e);
}

void fm_pentry_end(struct fm_hub *h, struct fm_pentry *e, const struct fm_pentry *heir)
{
    struct fm_porigin *o = h->presence.self;
    struct fm_pchange gone = {.id = e->id, .ver = o->ver + 1};
    if (heir)
        gone.heir = (struct fm_pheir){heir->origin->id, heir->id};
    fm_lease_drop(h, e);
    holder_set(h, e, 0);
    enum fm_err err = fm_pentry_put(h, o, &gone, &e);
    assert(err == FM_OK); /* it is there, so nothing has to be made */
    (void)err;
    o->ver++;
    fm_tombs_prune(h, o);
}

static bool is_full(struct fm_hub *h, size_t bytes)
{
    struct fm_presence *p = &h->presence;
    if (p->bytes + bytes <= h->config.presence_bytes)
        return false;
    h->stats.presence_refused++;
    if (h->now.mono_ms >= p->full_told_ms) {
        p->full_told_ms = h->now.mono_ms + TELL_EVERY_MS;
        fm_diag(FM_WARN, "presence_full",
                "presences=%" PRIu64 " bytes=%" PRIu64 " refused=%" PRIu64
                " why=\"presence_bytes is used up\" then=\"who wants to be shown gets an error; raise presence_bytes on all nodes\"",
                (uint64_t)h->stats.presences, p->bytes, (uint64_t)h->stats.presence_refused);
    }
    return true;
}

/* The meta of an entry that is there. The same one again changes nothing, so that whoever is back in time was never away. */
static enum fm_err own_update(struct fm_hub *h, struct fm_pentry *e, struct fm_slice meta)
{
    struct fm_porigin *o = h->presence.self;
    if (fm_slice_eq(fm_slice_of(e->meta->json, e->meta->n), meta))
        return FM_OK;
    if (meta.n > e->meta->n && is_full(h, meta.n - e->meta->n))
        return FM_E_PRESENCE_FULL;
    struct fm_pchange change = {.id = e->id, .ver = o->ver + 1, .meta = fm_pmeta_new(o->ver + 1, e->meta->ref, meta)};
    if (!change.meta)
        return FM_E_NOMEM;
    enum fm_err err = fm_pentry_put(h, o, &change, &e);
    fm_pmeta_unref(&change.meta);
    o->ver += err == FM_OK;
    return err;
}

static enum fm_err own_add(struct fm_hub *h, struct fm_track *t, struct fm_pentry **out)
{
    struct fm_porigin *o = h->presence.self;
    struct fm_slice key = fm_track_key(t);
    uint64_t ver = o->ver + 1;
    char made[FM_PRESENCE_REF_MAX + 1];
    if (key.n == 0)
        key = fm_slice_of(made, fm_phx_ref_print(o->id, ver, made));
    if (is_full(h, sizeof **out + sizeof(struct fm_pmeta) + t->meta_n + key.n))
        return FM_E_PRESENCE_FULL;
    struct fm_pchange change = {
        .id = h->presence.ids + 1, .ver = ver, .topic = fm_track_topic(t), .key = key, .meta = fm_pmeta_new(ver, 0, fm_track_meta(t))};
    if (!change.meta)
        return FM_E_NOMEM;
    if (t->ttl_ms)
        change.id = fm_lease_id(h, change.topic, key);
    enum fm_err err = fm_pentry_put(h, o, &change, out);
    fm_pmeta_unref(&change.meta);
    if (err)
        return err;
    h->presence.ids += t->ttl_ms == 0;
    o->ver = ver;
    (*out)->unique = t->key_n == 0;
    fm_presence_came(h, *out);
    return FM_OK;
}

/* Who left the topic under this key a moment ago, on this node. */
static struct fm_pentry *gone_here(struct fm_hub *h, const struct fm_track *t)
{
    struct fm_ptopic *topic = fm_ptopic_find(h, fm_track_topic(t));
    struct fm_pkey *k = topic && t->key_n ? fm_pkey_find(topic, fm_track_key(t)) : NULL;
    return k ? fm_presence_vacant(h, k) : NULL;
}

/* Does it go on under its key? One that was made for it is kept where none is given. */
static bool same_place(const struct fm_pentry *e, const struct fm_track *t)
{
    const struct fm_pkey *k = e->key;
    return fm_slice_eq(fm_slice_of(k->topic->name, k->topic->name_n), fm_track_topic(t)) &&
           (t->key_n == 0 || fm_slice_eq(fm_slice_of(k->name, k->name_n), fm_track_key(t)));
}

enum fm_err fm_track_do(struct fm_hub *h, struct fm_track *t)
{
    struct fm_pentry *e = fm_pentry_held(h, t->holder);
    enum fm_err err;
    if (h->draining)
        return FM_E_DRAINING;
    if (e && !same_place(e, t)) {
        fm_pentry_end(h, e, NULL);
        e = NULL;
    }
    if (!e && !t->ttl_ms)
        e = gone_here(h, t);
    err = e ? own_update(h, e, fm_track_meta(t)) : own_add(h, t, &e);
    if (err)
        return err;
    fm_presence_back(h, e);
    holder_set(h, e, t->holder);
    (void)fm_phx_ref_print(e->origin->id, e->meta->ref, t->ref);
    if (t->key_n == 0) {
        t->own_key_n = e->key->name_n;
        memcpy(t->own_key, e->key->name, e->key->name_n);
    }
    return FM_OK;
}

static void lose(struct fm_hub *h, struct fm_pentry *e)
{
    if (e->unique || h->config.presence_grace_ms == 0) {
        fm_pentry_end(h, e, NULL);
        return;
    }
    holder_set(h, e, 0);
    fm_presence_linger(h, e);
}

_Static_assert((int)FM_PRESENCE_WORKERS >= (int)FM_WORKERS_MAX, "each worker has its number");

void fm_track_handle(struct fm_hub *h, struct fm_track *t)
{
    struct fm_pentry *e = t->op == FM_UNTRACK || t->op == FM_TRACK_LINGER ? fm_pentry_held(h, t->holder) : NULL;
    switch (t->op) {
    case FM_TRACK:
        t->err = t->ttl_ms ? fm_lease_do(h, t) : fm_track_do(h, t);
        break;
    case FM_UNTRACK:
        if (e)
            fm_pentry_end(h, e, NULL);
        break;
    case FM_TRACK_LINGER:
        if (e)
            lose(h, e);
        break;
    case FM_PRESENCE_WATCH:
        h->presence.heard[t->worker] = t->holder;
        fm_presence_watch(h, fm_track_topic(t), t->worker);
        break;
    case FM_PRESENCE_UNWATCH:
        h->presence.heard[t->worker] = t->holder;
        fm_presence_unwatch(h, fm_track_topic(t), t->worker);
        break;
    }
    if (t->token)
        fm_hub_out(h, t->worker, &t->item);
    else
        free(t);
}
