/* Presences between nodes: changes go out in batches at a pace, what is missing is noticed by its version and pulled, from the origin or
 * from whoever has it. What was removed so long ago that the tombstones are gone makes the whole set be pulled, page by page. */
#include "hub_core.h"

#include "diag.h"

enum {
    SEND_MAX = 2,         /* envelopes in one go: they share the mesh's queues with messages */
    SEND_MAX_AT_ONCE = 8, /* ... of a node that leaves */
    PART_OF_PACE = 2,     /* other nodes hear twice as often as clients */
};

/* ---- writing ---- */

/* The first that changed after `since`: mostly the end of the list is asked for. */
static struct fm_pentry *first_after(const struct fm_porigin *o, uint64_t since)
{
    struct fm_pentry *e = o->newest, *first = NULL;
    for (; e && e->ver > since; e = e->older)
        first = e;
    return first;
}

/* Returns what upto is. */
static uint64_t page_write(struct fm_buf *b, const struct fm_porigin *o, struct fm_env_presence *page, size_t bytes)
{
    struct fm_env_presence_writer w;
    b->n = 0;
    fm_env_presence_begin(&w, b, page);
    struct fm_pentry *e = first_after(o, page->from);
    for (; e && b->n < bytes && !b->failed; e = e->newer) {
        struct fm_env_presence_record rec = {.ver = e->ver, .id = e->id, .gone = !e->meta};
        if (!e->meta)
            rec.heir = e->heir;
        if (e->meta) {
            rec.ref = e->meta->ref;
            rec.prev = e->meta->prev;
            rec.topic = fm_slice_of(e->key->topic->name, e->key->topic->name_n);
            rec.key = fm_slice_of(e->key->name, e->key->name_n);
            rec.meta = fm_slice_of(e->meta->json, e->meta->n);
        }
        fm_env_presence_put(&w, &rec);
    }
    uint64_t upto = e ? w.last_ver : fm_later(o->ver, page->from);
    bool last = !e && o->ver && o->ver >= page->from; /* who has less than is asked for, or nothing, does not know */
    fm_env_presence_finish(&w, (page->flags & FM_PRESENCE_WHOLE) | (last ? FM_PRESENCE_LAST : 0), upto);
    return upto;
}

void fm_presence_send(struct fm_hub *h, bool at_once)
{
    struct fm_presence *p = &h->presence;
    struct fm_porigin *o = p->self;
    if (h->links_n == 0)
        p->sent = o->ver; /* who comes later pulls */
    if (p->sent == o->ver || (h->now.mono_ms < p->send_due_ms && !at_once))
        return;
    p->send_due_ms = h->now.mono_ms + h->config.presence_pace_ms / PART_OF_PACE;
    for (unsigned i = 0; i < (at_once ? SEND_MAX_AT_ONCE : SEND_MAX) && p->sent < o->ver; i++) {
        /* If tombstones went before they left, the others see a hole and pull. */
        struct fm_env_presence page = {.origin = o->id, .from = fm_later(p->sent, o->floor)};
        uint64_t upto = page_write(&h->scratch, o, &page, h->config.batch_bytes);
        if (h->scratch.failed ||
            fm_seal_close(h->config.seal, FM_PLANE_BUS, (struct fm_env_bind){0}, fm_buf_view(&h->scratch), &h->sealed, NULL) != FM_OK) {
            h->scratch.failed = false;
            return; /* no memory: the heartbeat's claim makes the others pull */
        }
        if (h->port.bus_ops->publish(h->port.bus, fm_buf_view(&h->sealed)) != FM_OK)
            return;
        p->sent = upto;
        h->stats.bytes_out += h->sealed.n;
        h->stats.presence_batches_out++;
    }
}

/* ---- reading ---- */

/* The set comes from its beginning: what is here stays, by id alone, until it is named or the last page has come.
 *
 * Meanwhile it changes, and tombstones are forgotten. What was removed up to `base`, where the giver of the first page was then, no page
 * names, since who gives the others must have come as far; so only tombstones behind it are needed, and only if some of those are
 * forgotten does the set come from its beginning again. */
static void whole_begin(struct fm_hub *h, struct fm_porigin *o, uint64_t base)
{
    struct fm_pentry *e, *tmp;
    o->oldest = o->newest = o->tomb = NULL;
    o->tomb_last = &o->tomb;
    o->tombs = 0;
    o->ver = 0;
    o->base = base;
    o->whole = true;
    o->round++;
    HASH_ITER (hh, o->entries, e, tmp) {
        e->older = e->newer = e->tomb_next = NULL;
        e->listed = false;
        e->gone_ms = 0;
        if (!e->key)
            fm_pentry_forget(h, e);
    }
    h->stats.presence_whole++;
}

static void whole_end(struct fm_hub *h, struct fm_porigin *o)
{
    struct fm_pentry *e, *tmp;
    o->whole = false;
    o->floor = fm_later(o->floor, o->base); /* some that came with it may be forgotten again */
    HASH_ITER (hh, o->entries, e, tmp)
        if (e->round != o->round && !fm_mutation(PRESENCE_NOT_SWEPT))
            fm_pentry_unname(h, e);
}

static enum fm_err take_record(struct fm_hub *h, struct fm_porigin *o, const struct fm_env_presence_record *rec)
{
    struct fm_pentry *e = fm_pentry_find(o, rec->id);
    struct fm_pchange change = {.id = rec->id, .ver = rec->ver, .topic = rec->topic, .key = rec->key, .heir = rec->heir};
    bool came = !rec->gone && (!e || !e->meta);
    if (!rec->gone) {
        /* The same meta stays the same thing, so that nobody is told of it again: also where it was gone, and whoever gives the whole set
         * has not heard of that yet. */
        struct fm_pmeta *had = e && e->meta ? e->meta : e ? e->shown : NULL;
        change.meta = had && had->ref == rec->ref ? fm_pmeta_ref(had) : fm_pmeta_new(rec->ref, rec->prev, rec->meta);
        if (!change.meta)
            return FM_E_NOMEM;
    }
    enum fm_err err = fm_pentry_put(h, o, &change, &e);
    fm_pmeta_unref(&change.meta);
    if (err)
        return err;
    o->ver = rec->ver;
    if (came) {
        fm_presence_came(h, e);
        fm_lease_met(h, e);
    }
    return FM_OK;
}

static enum fm_err page_take(struct fm_hub *h, struct fm_porigin *o, struct fm_env_presence *page)
{
    struct fm_env_presence_record rec;
    bool more;
    enum fm_err err;
    if (page->from > o->ver)
        return FM_OK; /* something before it is missing */
    while ((err = fm_env_presence_next(page, &rec, &more)) == FM_OK && more)
        if (rec.ver > o->ver && (err = take_record(h, o, &rec)) != FM_OK)
            break;
    if (err)
        return err;
    o->ver = fm_later(o->ver, page->upto);
    return FM_OK;
}

static void apply(struct fm_hub *h, struct fm_peer *from, struct fm_slice body, bool answer)
{
    struct fm_env_presence page;
    enum fm_err err = fm_env_presence_read(body, &page);
    struct fm_porigin *o = err || (!answer && page.origin != from->incarnation) ? NULL : fm_porigin_find(h, page.origin);
    if (!err && !o && page.origin == from->incarnation && !answer && !from->bye)
        o = fm_porigin_get(h, page.origin);
    if (!err && (!o || o == h->presence.self))
        return;
    if (!err && page.flags & FM_PRESENCE_WHOLE && !answer)
        err = FM_E_SYNTAX;
    if (!err) {
        o->claimed = fm_later(o->claimed, page.upto);
        /* What was missing has come by itself meanwhile, and more: the set from its beginning would be an older one. */
        if (page.flags & FM_PRESENCE_WHOLE && !o->whole && page.base <= o->ver)
            return;
        if (page.flags & FM_PRESENCE_WHOLE) {
            (void)!fm_vector_raise(&from->presence, o->id, page.base);
            whole_begin(h, o, page.base);
        }
        err = page_take(h, o, &page);
    }
    if (err) {
        fm_refusal_tell(h, "envelope_refused", from->bus, err, 1);
        return;
    }
    if (answer && o->whole && page.flags & FM_PRESENCE_LAST && page.from <= o->ver)
        whole_end(h, o);
    fm_tombs_prune(h, o);
}

void fm_presence_apply(struct fm_hub *h, struct fm_peer *from, struct fm_slice body)
{
    h->stats.presence_batches_in++;
    apply(h, from, body, false);
}

/* ---- what is missing ---- */

void fm_presence_claimed(struct fm_hub *h, struct fm_peer *from, const struct fm_env_position *at)
{
    if (at->presence && fm_vector_set(&from->presence, at->origin, at->presence) != FM_OK)
        return;
    const struct fm_peer *peer = fm_peer_find(h, at->origin);
    if (at->origin == h->self->id || (peer && peer->bye))
        return;
    struct fm_porigin *o = fm_porigin_find(h, at->origin);
    if (!o && at->presence && (at->near || at->origin == from->incarnation))
        o = fm_porigin_get(h, at->origin);
    if (!o)
        return;
    o->claimed = fm_later(o->claimed, at->presence);
    if (at->near && at->near <= h->now.mono_ms)
        o->relayed_ms = fm_later(o->relayed_ms, h->now.mono_ms - (at->near - 1));
}

uint64_t fm_presence_version(struct fm_hub *h, uint64_t origin)
{
    const struct fm_porigin *o = fm_porigin_find(h, origin);
    return o && !o->whole ? o->ver : 0;
}

static bool has_hole(const struct fm_porigin *o)
{
    return (o->claimed > o->ver || o->whole) && o->state != FM_PORIGIN_HIDDEN;
}

static struct fm_peer *holder_of(struct fm_hub *h, const struct fm_porigin *o)
{
    struct fm_peer *best = NULL;
    unsigned best_rank = 0;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        struct fm_peer *p = &h->peers[i];
        uint64_t has = fm_vector_get(&p->presence, o->id);
        if (!p->alive || !p->met || !p->ask[0] || (o->whole ? has < fm_later(o->ver, o->base) : has <= o->ver))
            continue;
        unsigned rank = fm_holder_rank(h, p, o->id, o->pull.holder);
        if (rank > best_rank) {
            best = p;
            best_rank = rank;
        }
    }
    return best;
}

static void pull(struct fm_hub *h, struct fm_porigin *o, struct fm_peer *p)
{
    uint64_t counter, id = ++h->next_ask;
    const struct fm_env_presence_pull ask = {o->id, o->ver, o->whole ? o->base : o->ver};
    h->scratch.n = 0;
    fm_env_presence_pull_write(&h->scratch, &ask);
    o->pull.not_before_ms = h->now.mono_ms + h->config.repair_after_ms;
    if (fm_seal_close(h->config.seal, FM_PLANE_ASK, (struct fm_env_bind){0}, fm_buf_view(&h->scratch), &h->sealed, &counter) != FM_OK ||
        h->port.bus_ops->ask(h->port.bus, p->ask, id, fm_buf_view(&h->sealed), h->config.ask_timeout_ms) != FM_OK)
        return;
    o->pull.ask = id;
    o->pull.counter = counter;
    o->pull.holder = p->incarnation;
    h->stats.presence_pulls++;
}

static void origin_repair(struct fm_hub *h, struct fm_porigin *o)
{
    if (!has_hole(o)) {
        o->pull.not_before_ms = o->pull.holder = 0;
        return;
    }
    h->presence.pulling = true;
    if (o->pull.not_before_ms == 0) /* what is missing is often only on its way */
        o->pull.not_before_ms = h->now.mono_ms + (h->ready ? h->config.repair_after_ms : 0);
    if (o->pull.ask || h->now.mono_ms < o->pull.not_before_ms || fm_mutation(PRESENCE_NOT_PULLED))
        return;
    struct fm_peer *p = holder_of(h, o);
    if (p)
        pull(h, o, p);
}

void fm_presence_pulls(struct fm_hub *h)
{
    struct fm_porigin *o, *tmp;
    h->presence.pulling = false;
    HASH_ITER (hh, h->presence.origins, o, tmp)
        if (o != h->presence.self)
            origin_repair(h, o);
}

void fm_presence_serve(struct fm_hub *h, const struct fm_asked *a)
{
    const struct fm_env_presence_pull *ask = &a->presence;
    const struct fm_porigin unknown = {.id = ask->origin}, *o = fm_porigin_find(h, ask->origin);
    if (!o || o->whole || o->ver < ask->base)
        o = &unknown;
    struct fm_env_presence page = {.origin = o->id, .from = ask->since, .base = ask->base};
    if (o->floor > ask->base) {
        page.flags = FM_PRESENCE_WHOLE;
        page.from = 0;
        page.base = o->ver;
    }
    (void)page_write(&h->scratch, o, &page, h->config.batch_bytes);
}

void fm_presence_answered(struct fm_hub *h, struct fm_bus_item *it)
{
    struct fm_porigin *o, *tmp;
    HASH_ITER (hh, h->presence.origins, o, tmp) {
        if (o->pull.ask == it->handle)
            break;
    }
    if (!o)
        return;
    o->pull.ask = 0;
    struct fm_env env;
    struct fm_env_bind bind = {h->self->id, o->pull.counter};
    enum fm_err err = it->err ? it->err : fm_seal_open(h->config.seal, FM_PLANE_ANSWER, bind, it->bytes, it->n, &env);
    struct fm_peer *p = err ? NULL : fm_peer_find(h, env.incarnation);
    if (err || !p) {
        fm_diag(FM_INFO, "presence_pull_failed", "code=%s", fm_err_code(err ? err : FM_E_CLOSED));
        return; /* the next tick asks someone else */
    }
    uint64_t was = o->ver, id = o->id;
    h->stats.repair_bytes_in += it->n;
    apply(h, p, env.body, true);
    o = fm_porigin_find(h, id);
    if (o && o->ver != was)
        o->pull.not_before_ms = h->now.mono_ms; /* there may be more of it */
    if (o)
        origin_repair(h, o);
}

/* ---- who is there ---- */

void fm_presence_bye(struct fm_hub *h, uint64_t id)
{
    struct fm_porigin *o = fm_porigin_find(h, id);
    if (o && !o->bye_ms)
        o->bye_ms = h->now.mono_ms;
}

void fm_presence_paused(struct fm_hub *h, uint64_t ms)
{
    struct fm_porigin *o, *tmp;
    HASH_ITER (hh, h->presence.origins, o, tmp)
        if (o->relayed_ms)
            o->relayed_ms += ms;
    fm_places_paused(h, ms);
    fm_leases_paused(h, ms);
}

bool fm_presence_caught_up(struct fm_hub *h)
{
    const struct fm_vector *target = &h->presence.target;
    for (uint32_t i = 0; i < target->n; i++) {
        const struct fm_porigin *o = fm_porigin_find(h, target->at[i].origin);
        if (o && o != h->presence.self && o->state != FM_PORIGIN_HIDDEN && (o->whole || o->ver < target->at[i].seq))
            return false;
    }
    return true;
}

/* ---- time ---- */

static uint64_t until(const struct fm_hub *h, uint64_t due_ms, uint64_t ms)
{
    return fm_least(ms, due_ms > h->now.mono_ms ? due_ms - h->now.mono_ms : 1);
}

uint64_t fm_presence_due(const struct fm_hub *h, uint64_t ms)
{
    const struct fm_presence *p = &h->presence;
    if (p->making)
        ms = until(h, h->now.mono_ms, ms);
    if (p->due)
        ms = until(h, p->due->due_ms, ms);
    if (p->late)
        ms = until(h, p->late->due_ms, ms);
    if (p->leases_n)
        ms = until(h, fm_lease_due_ms(p), ms);
    if (p->sent < p->self->ver && h->port.bus_ops)
        ms = until(h, p->send_due_ms, ms);
    return ms;
}
