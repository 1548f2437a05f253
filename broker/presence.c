/* The sets: entries by origin and version, and again by topic and key; and what of them is to be seen. */
#include "hub_core.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    PIECE = 24,                /* what the allocator and a table add to each piece, about */
    TOMBS_MS = 300 * 1000,     /* tombstones are not kept for longer */
    FORGET_MS = 60 * 1000,     /* a node that is hidden for so long is taken for dead: if it comes back, its set is pulled anew */
    FORGET_LEFT_MS = 2 * 1000, /* one that said that it leaves */
};

/* ---- metas ---- */

struct fm_pmeta *fm_pmeta_new(uint64_t ref, uint64_t prev, struct fm_slice json)
{
    struct fm_pmeta *m = malloc(sizeof *m + json.n);
    if (!m)
        return NULL;
    *m = (struct fm_pmeta){.refs = 1, .n = (uint32_t)json.n, .ref = ref, .prev = prev};
    memcpy(m->json, json.p, json.n);
    return m;
}

struct fm_pmeta *fm_pmeta_ref(struct fm_pmeta *m)
{
    m->refs++;
    return m;
}

void fm_pmeta_unref(struct fm_pmeta **mp)
{
    struct fm_pmeta *m = *mp;
    *mp = NULL;
    if (m && --m->refs == 0)
        free(m);
}

size_t fm_phx_ref_print(uint64_t origin, uint64_t ref, char out[FM_PRESENCE_REF_MAX + 1])
{
    char text[FM_ORIGIN_TEXT_MAX + 1];
    fm_origin_print(origin, text);
    return (size_t)snprintf(out, FM_PRESENCE_REF_MAX + 1, "%s.%llu", text, (unsigned long long)ref);
}

/* ---- what it takes ---- */

static void weigh(struct fm_hub *h, int64_t bytes)
{
    h->presence.bytes += (uint64_t)bytes;
    fm_stat_set(&h->stats.presence_bytes, h->presence.bytes);
}

static int64_t meta_size(const struct fm_pmeta *m)
{
    return m ? (int64_t)(sizeof *m + m->n + PIECE) : 0;
}

/* ---- topics and keys ---- */

struct fm_ptopic *fm_ptopic_find(struct fm_hub *h, struct fm_slice name)
{
    struct fm_ptopic *t;
    HASH_FIND(hh, h->presence.topics, name.p, name.n, t);
    return t;
}

struct fm_ptopic *fm_ptopic_get(struct fm_hub *h, struct fm_slice name)
{
    struct fm_ptopic *t = fm_ptopic_find(h, name);
    if (t)
        return t;
    t = calloc(1, sizeof *t + name.n);
    if (!t)
        return NULL;
    t->name_n = (uint16_t)name.n;
    memcpy(t->name, name.p, name.n);
    t->due_last = &t->due;
    HASH_ADD_KEYPTR(hh, h->presence.topics, t->name, t->name_n, t);
    weigh(h, (int64_t)(sizeof *t + name.n + PIECE));
    return t;
}

void fm_ptopic_release(struct fm_hub *h, struct fm_ptopic *t)
{
    if (t->keys || t->watch || t->wanted || t->due || t->queued)
        return;
    fm_ptopic_state_drop(t);
    HASH_DEL(h->presence.topics, t);
    weigh(h, -(int64_t)(sizeof *t + t->name_n + PIECE));
    free(t);
}

struct fm_pkey *fm_pkey_find(struct fm_ptopic *t, struct fm_slice name)
{
    struct fm_pkey *k;
    HASH_FIND(hh, t->keys, name.p, name.n, k);
    return k;
}

static struct fm_pkey *key_get(struct fm_hub *h, struct fm_ptopic *t, struct fm_slice name)
{
    struct fm_pkey *k = fm_pkey_find(t, name);
    if (k)
        return k;
    k = calloc(1, sizeof *k + name.n);
    if (!k)
        return NULL;
    k->topic = t;
    k->name_n = (uint8_t)name.n;
    memcpy(k->name, name.p, name.n);
    HASH_ADD_KEYPTR(hh, t->keys, k->name, k->name_n, k);
    weigh(h, (int64_t)(sizeof *k + name.n + PIECE));
    return k;
}

static void key_release(struct fm_hub *h, struct fm_pkey *k)
{
    struct fm_ptopic *t = k->topic;
    if (k->first || k->due)
        return;
    if (t->at == k)
        t->at = k->hh.next;
    HASH_DEL(t->keys, k);
    weigh(h, -(int64_t)(sizeof *k + k->name_n + PIECE));
    free(k);
    fm_ptopic_release(h, t);
}

static void key_mark(struct fm_hub *h, struct fm_pkey *k)
{
    struct fm_ptopic *t = k->topic;
    if (k->due)
        return;
    k->due = true;
    k->due_next = NULL;
    if (!t->due) {
        t->due_ms = h->now.mono_ms + h->config.presence_pace_ms;
        t->due_next = NULL;
        *h->presence.due_last = t;
        h->presence.due_last = &t->due_next;
    }
    *t->due_last = k;
    t->due_last = &k->due_next;
}

void fm_pentry_mark(struct fm_hub *h, struct fm_pentry *e)
{
    if (!e->dirty) {
        e->dirty = true;
        e->dirty_next = e->key->dirty;
        e->key->dirty = e;
    }
    key_mark(h, e->key);
}

/* ---- an origin's list, by version ---- */

static void unlist(struct fm_pentry *e)
{
    struct fm_porigin *o = e->origin;
    if (!e->listed)
        return;
    *(e->older ? &e->older->newer : &o->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &o->newest) = e->older;
    e->older = e->newer = NULL;
    e->listed = false;
}

static void list(struct fm_pentry *e)
{
    struct fm_porigin *o = e->origin;
    assert(!e->listed && (!o->newest || o->newest->ver < e->ver));
    e->older = o->newest;
    *(o->newest ? &o->newest->newer : &o->oldest) = e;
    o->newest = e;
    e->listed = true;
}

static void bury(struct fm_hub *h, struct fm_pentry *e)
{
    struct fm_porigin *o = e->origin;
    e->gone_ms = h->now.mono_ms;
    e->tomb_next = NULL;
    *o->tomb_last = e;
    o->tomb_last = &e->tomb_next;
    o->tombs++;
}

/* ---- entries ---- */

struct fm_pentry *fm_pentry_find(struct fm_porigin *o, uint64_t id)
{
    struct fm_pentry *e;
    HASH_FIND(hh, o->entries, &id, sizeof id, e);
    return e;
}

static void key_unlink(struct fm_hub *h, struct fm_pentry *e)
{
    struct fm_pkey *k = e->key;
    if (!k)
        return;
    fm_pentry_unplace(h, e);
    DL_DELETE(k->first, e);
    e->key = NULL;
    e->prev = e->next = NULL;
    key_release(h, k);
}

void fm_pentry_forget(struct fm_hub *h, struct fm_pentry *e)
{
    assert(!e->shown && !e->holder && !e->dirty);
    unlist(e);
    weigh(h, -(int64_t)(sizeof *e + PIECE) - meta_size(e->meta));
    fm_stat_add(&h->stats.presences, e->meta ? -1ull : 0);
    fm_pmeta_unref(&e->meta);
    key_unlink(h, e);
    HASH_DELETE(hh, e->origin->entries, e);
    free(e);
}

static void gone(struct fm_hub *h, struct fm_pentry *e, struct fm_pheir heir, bool passed_on)
{
    fm_pentry_unplace(h, e);
    e->heir = heir;
    if (passed_on && e->shown && !fm_mutation(PRESENCE_NOT_KEPT))
        fm_pentry_keep(h, e);
    /* One that was never heard of while it was there, but others may wait for it: they are under the key of whom it was passed on to. */
    struct fm_porigin *o = e->key || !heir.origin ? NULL : fm_porigin_find(h, heir.origin);
    struct fm_pentry *f = o ? fm_pentry_find(o, heir.id) : NULL;
    if (f && f->key)
        fm_pentry_mark(h, f);
}

void fm_pentry_unname(struct fm_hub *h, struct fm_pentry *e)
{
    weigh(h, -meta_size(e->meta));
    fm_stat_add(&h->stats.presences, e->meta ? -1ull : 0);
    if (e->meta) /* it may have been passed on: that is not remembered any more */
        gone(h, e, (struct fm_pheir){0}, true);
    fm_pmeta_unref(&e->meta);
    if (e->key)
        fm_pentry_mark(h, e); /* it goes when that was told */
    else
        fm_pentry_forget(h, e);
}

static struct fm_pentry *entry_new(struct fm_hub *h, struct fm_porigin *o, uint64_t id)
{
    struct fm_pentry *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->id = id;
    e->origin = o;
    e->place = FM_PPLACE_NONE;
    HASH_ADD(hh, o->entries, id, sizeof e->id, e);
    weigh(h, (int64_t)(sizeof *e + PIECE));
    return e;
}

static enum fm_err key_link(struct fm_hub *h, struct fm_pentry *e, const struct fm_pchange *change)
{
    struct fm_ptopic *t = fm_ptopic_get(h, change->topic);
    if (!t)
        return FM_E_NOMEM;
    struct fm_pkey *k = key_get(h, t, change->key);
    if (!k) {
        fm_ptopic_release(h, t);
        return FM_E_NOMEM;
    }
    e->key = k;
    if (fm_pentry_is_lease(e))
        DL_PREPEND(k->first, e);
    else
        DL_APPEND(k->first, e);
    return FM_OK;
}

enum fm_err fm_pentry_put(struct fm_hub *h, struct fm_porigin *o, struct fm_pchange *change, struct fm_pentry **out)
{
    struct fm_pentry *e = fm_pentry_find(o, change->id);
    bool made = !e;
    if (!e)
        e = entry_new(h, o, change->id);
    if (!e)
        return FM_E_NOMEM;
    if (change->meta && !e->key && key_link(h, e, change)) {
        if (made)
            fm_pentry_forget(h, e);
        return FM_E_NOMEM;
    }
    bool was = e->meta != NULL, is = change->meta != NULL;
    unlist(e);
    e->ver = change->ver;
    e->round = o->round;
    list(e);
    weigh(h, meta_size(change->meta) - meta_size(e->meta));
    fm_stat_add(&h->stats.presences, (uint64_t)is - (uint64_t)was);
    fm_stat_add(&h->stats.presence_changes, 1);
    fm_pmeta_unref(&e->meta);
    e->meta = change->meta;
    change->meta = NULL;
    if (!is && !e->gone_ms)
        bury(h, e);
    if (!is && (was || made))
        gone(h, e, change->heir, change->heir.origin != 0);
    else if (is && !was)
        fm_pentry_unplace(h, e);
    if (e->key)
        fm_pentry_mark(h, e);
    *out = e;
    return FM_OK;
}

void fm_pkey_settle(struct fm_hub *h, struct fm_pkey *k)
{
    struct fm_pentry *e = k->dirty, *next;
    assert(k->due); /* so that it is not gone before all were looked at */
    k->dirty = NULL;
    for (; e; e = next) {
        next = e->dirty_next;
        e->dirty = false;
        if (e->meta || e->shown)
            continue;
        key_unlink(h, e);
        if (!e->listed)
            fm_pentry_forget(h, e);
    }
    k->due = false;
    key_release(h, k);
}

/* So that what is kept for who missed something is never more than what is there, or a little. */
void fm_tombs_prune(struct fm_hub *h, struct fm_porigin *o)
{
    while (o->tomb) {
        struct fm_pentry *e = o->tomb;
        bool many = o->tombs > h->config.presence_tombs + HASH_COUNT(o->entries) - o->tombs, old = h->now.mono_ms - e->gone_ms >= TOMBS_MS;
        if (e->key || (!many && !old))
            return;
        o->tomb = e->tomb_next;
        if (!o->tomb)
            o->tomb_last = &o->tomb;
        o->tombs--;
        o->floor = fm_later(o->floor, e->ver);
        fm_pentry_forget(h, e);
    }
}

/* ---- origins ---- */

struct fm_porigin *fm_porigin_find(struct fm_hub *h, uint64_t id)
{
    struct fm_porigin *o;
    HASH_FIND(hh, h->presence.origins, &id, sizeof id, o);
    return o;
}

struct fm_porigin *fm_porigin_get(struct fm_hub *h, uint64_t id)
{
    struct fm_porigin *o = fm_porigin_find(h, id);
    if (o)
        return o;
    o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->id = id;
    o->tomb_last = &o->tomb;
    o->state = FM_PORIGIN_HERE; /* it was just heard of */
    HASH_ADD(hh, h->presence.origins, id, sizeof o->id, o);
    return o;
}

void fm_porigin_drop(struct fm_hub *h, struct fm_porigin *o)
{
    struct fm_pentry *e, *tmp;
    HASH_ITER (hh, o->entries, e, tmp)
        fm_pentry_forget(h, e);
    HASH_DEL(h->presence.origins, o);
    free(o);
}

/* ---- who is to be seen ---- */

struct fm_pmeta *fm_pentry_seen(const struct fm_pentry *e)
{
    if (!e->meta)
        return e->place == FM_PPLACE_KEPT ? e->shown : NULL;
    switch (e->origin->state) {
    case FM_PORIGIN_HERE:
        return e->meta;
    case FM_PORIGIN_LINGERS:
        return e->superseded ? NULL : e->meta;
    case FM_PORIGIN_HIDDEN:
        break;
    }
    return NULL;
}

/* A node is here as long as it, or one that hears it and that we hear, says so. One that took its leave lingers, since its clients are on
 * their way elsewhere; one that was started anew at the same place lingers until it would have been missed. */
static enum fm_porigin_state state_of(const struct fm_hub *h, const struct fm_porigin *o)
{
    uint64_t unheard_ms = fm_least(h->config.down_ms, FM_SUSPECT_AFTER * (uint64_t)h->config.heartbeat_ms), limit_ms = unheard_ms;
    uint64_t now_ms = h->now.mono_ms;
    if (o->bye_ms)
        return now_ms - o->bye_ms < h->config.presence_grace_ms ? FM_PORIGIN_LINGERS : FM_PORIGIN_HIDDEN;
    const struct fm_peer *p = fm_peer_find(h, o->id);
    uint64_t heard_ms = fm_later(p && p->spoke_ms ? p->heard_ms : 0, o->relayed_ms);
    if (p && p->draining && heard_ms) /* its leave may be lost, but it has said that it is about to take it */
        limit_ms += h->config.presence_grace_ms;
    if ((!heard_ms || heard_ms + limit_ms < now_ms) && !fm_mutation(PRESENCE_NOT_HIDDEN))
        return FM_PORIGIN_HIDDEN;
    return p && (p->left || (p->draining && heard_ms + unheard_ms < now_ms)) ? FM_PORIGIN_LINGERS : FM_PORIGIN_HERE;
}

static void state_set(struct fm_hub *h, struct fm_porigin *o, enum fm_porigin_state state)
{
    struct fm_pentry *e, *tmp;
    if (o->state == state)
        return;
    o->state = state;
    if (state == FM_PORIGIN_HIDDEN)
        o->hidden_ms = h->now.mono_ms;
    HASH_ITER (hh, o->entries, e, tmp) {
        e->superseded = e->superseded && state != FM_PORIGIN_HERE;
        if (e->meta)
            fm_pentry_place(e, FM_PPLACE_NONE); /* none of them comes for another */
        if (e->key)
            fm_pentry_mark(h, e);
    }
    for (e = state == FM_PORIGIN_LINGERS ? o->entries : NULL; e; e = e->hh.next)
        if (e->meta && !e->superseded)
            fm_presence_leaves(h, e);
}

static bool is_told(const struct fm_porigin *o)
{
    for (const struct fm_pentry *e = o->entries; e; e = e->hh.next)
        if (e->shown || e->dirty)
            return true;
    return false;
}

void fm_presence_look(struct fm_hub *h)
{
    struct fm_porigin *o, *tmp;
    HASH_ITER (hh, h->presence.origins, o, tmp) {
        fm_tombs_prune(h, o);
        if (o == h->presence.self)
            continue;
        state_set(h, o, state_of(h, o));
        uint64_t keep_ms = o->bye_ms ? FORGET_LEFT_MS : FORGET_MS;
        if (o->state == FM_PORIGIN_HIDDEN && h->now.mono_ms - o->hidden_ms >= keep_ms && !is_told(o))
            fm_porigin_drop(h, o);
    }
}

/* ---- life ---- */

enum fm_err fm_presence_init(struct fm_hub *h)
{
    struct fm_presence *p = &h->presence;
    p->due_last = &p->due;
    p->making_last = &p->making;
    p->late_last = &p->late;
    p->self = fm_porigin_get(h, h->config.incarnation);
    if (!p->self)
        return FM_E_NOMEM;
    p->self->state = FM_PORIGIN_HERE;
    return FM_OK;
}

void fm_presence_free(struct fm_hub *h)
{
    struct fm_presence *p = &h->presence;
    struct fm_porigin *o, *o_tmp;
    struct fm_pentry *e, *e_tmp;
    struct fm_ptopic *t, *t_tmp;
    struct fm_pkey *k, *k_tmp;
    HASH_CLEAR(by_holder, p->by_holder);
    free(p->leases);
    HASH_ITER (hh, p->origins, o, o_tmp) {
        HASH_ITER (hh, o->entries, e, e_tmp) {
            HASH_DELETE(hh, o->entries, e);
            fm_pmeta_unref(&e->meta);
            fm_pmeta_unref(&e->shown);
            free(e);
        }
        HASH_DEL(p->origins, o);
        free(o);
    }
    HASH_ITER (hh, p->topics, t, t_tmp) {
        HASH_ITER (hh, t->keys, k, k_tmp) {
            HASH_DEL(t->keys, k);
            free(k);
        }
        fm_ptopic_state_drop(t);
        HASH_DEL(p->topics, t);
        free(t);
    }
    fm_vector_fini(&p->target);
}
