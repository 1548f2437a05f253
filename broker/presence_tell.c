/* What clients are told: diffs of what has changed since they were told last, and the state for who is new.
 *
 * A state and the diffs behind it must fit together, whatever happens in between. So both are made of `shown`, what was told, and a state
 * that is asked for while something is dirty waits for the diff: then it leaves behind that, in the same inbox.
 *
 * A large state is made piece by piece, one in each turn of the hub's loop, since everyone else waits for it; if a diff is due before, the
 * rest is made at once, so that it is of one moment. */
#include "hub_core.h"

#include <assert.h>
#include <stdlib.h>

/* ---- JSON ---- */

static bool is_empty(const struct fm_pmeta *m)
{
    for (uint32_t i = 1; i + 1 < m->n; i++)
        if (!strchr(" \t\r\n", m->json[i]))
            return false;
    return true;
}

/* phx_ref comes last, so that no member of the client's own with that name counts. */
static void meta_json(struct fm_buf *b, const struct fm_pentry *e, const struct fm_pmeta *m)
{
    char ref[FM_PRESENCE_REF_MAX + 1];
    assert(m->n >= 2 && m->json[0] == '{' && m->json[m->n - 1] == '}');
    fm_buf_put(b, m->json, m->n - 1);
    fm_buf_str(b, is_empty(m) ? "\"phx_ref\":\"" : ",\"phx_ref\":\"");
    fm_buf_put(b, ref, fm_phx_ref_print(e->origin->id, m->ref, ref));
    if (m->prev) {
        fm_buf_str(b, "\",\"phx_ref_prev\":\"");
        fm_buf_put(b, ref, fm_phx_ref_print(e->origin->id, m->prev, ref));
    }
    fm_buf_str(b, "\"}");
}

/* One key's metas in an object that is being written; opened with the first of them. */
struct metas {
    struct fm_buf *b;
    const struct fm_pkey *key;
    size_t object; /* where the object's members begin */
    bool open;
};

static void metas_add(struct metas *m, const struct fm_pentry *e, const struct fm_pmeta *meta)
{
    if (m->open) {
        fm_buf_u8(m->b, ',');
    } else {
        if (m->b->n > m->object)
            fm_buf_u8(m->b, ',');
        fm_buf_json(m->b, fm_slice_of(m->key->name, m->key->name_n));
        fm_buf_str(m->b, ":{\"metas\":[");
        m->open = true;
    }
    meta_json(m->b, e, meta);
}

static void metas_close(struct metas *m)
{
    if (m->open)
        fm_buf_str(m->b, "]}");
    m->open = false;
}

void fm_pkey_json(struct fm_buf *b, const struct fm_pkey *k)
{
    struct metas m = {.b = b, .key = k, .object = b->n};
    for (const struct fm_pentry *e = k->first; e; e = e->next)
        if (e->shown)
            metas_add(&m, e, e->shown);
    metas_close(&m);
}

/* ---- diffs ---- */

struct diff {
    struct fm_buf joins, leaves; /* members of the two objects */
};

static struct fm_msg *message(const struct fm_ptopic *t, struct fm_slice event, const struct fm_buf *payload)
{
    if (payload->failed)
        return NULL;
    return fm_msg_new(fm_slice_of(t->name, t->name_n), event, (struct fm_msg_keys){0}, fm_buf_view(payload), 0);
}

static struct fm_msg *diff_message(const struct fm_ptopic *t, const struct diff *d)
{
    struct fm_buf b = {0};
    b.failed = d->joins.failed || d->leaves.failed;
    fm_buf_str(&b, "{\"joins\":{");
    fm_buf_slice(&b, fm_buf_view(&d->joins));
    fm_buf_str(&b, "},\"leaves\":{");
    fm_buf_slice(&b, fm_buf_view(&d->leaves));
    fm_buf_str(&b, "}}");
    struct fm_msg *m = message(t, FM_LIT("presence_diff"), &b);
    fm_buf_fini(&b);
    return m;
}

/* To every worker that watches. Without memory it is as if that was overrun: it asks for the state again. */
static void diff_out(struct fm_hub *h, const struct fm_ptopic *t, struct diff *d)
{
    if (d->joins.n == 0 && d->leaves.n == 0 && !d->joins.failed && !d->leaves.failed)
        return;
    struct fm_msg *m = diff_message(t, d);
    for (uint64_t left = t->watch; left; left &= left - 1) {
        unsigned worker = (unsigned)__builtin_ctzll(left);
        struct fm_msg_item *it = m ? malloc(sizeof *it) : NULL;
        if (!it) {
            h->lost |= 1ull << worker;
            continue;
        }
        it->item.kind = FM_HUB_MSG;
        it->item.cost = (uint32_t)(sizeof *it + fm_msg_size(m));
        it->msg = fm_msg_ref(m);
        fm_hub_out(h, worker, &it->item);
    }
    fm_stat_add(&h->stats.presence_diffs, 1);
    fm_msg_unref(&m);
    d->joins.n = d->leaves.n = 0;
    d->joins.failed = d->leaves.failed = false;
}

struct telling { /* of a key */
    struct fm_hub *hub;
    struct fm_pkey *key;
    struct diff *diff;
    struct metas joins, leaves;
};

/* What is to be seen of it becomes what was told. */
static void entry_tell(struct telling *to, struct fm_pentry *e)
{
    struct fm_ptopic *t = to->key->topic;
    struct fm_pmeta *seen = fm_pentry_seen(e);
    if (seen == e->shown)
        return;
    if (e->shown && t->watch)
        metas_add(&to->leaves, e, e->shown);
    if (seen && t->watch)
        metas_add(&to->joins, e, seen);
    to->key->shown += (uint32_t)(seen != NULL) - (uint32_t)(e->shown != NULL);
    fm_pmeta_unref(&e->shown);
    e->shown = seen ? fm_pmeta_ref(seen) : NULL;
    if (to->diff->joins.n + to->diff->leaves.n < to->hub->config.presence_state_bytes)
        return;
    metas_close(&to->joins);
    metas_close(&to->leaves);
    diff_out(to->hub, t, to->diff);
}

static void leaves_tell(struct telling *to)
{
    for (struct fm_pentry *e = to->key->dirty; e; e = e->dirty_next)
        if (!fm_pentry_seen(e))
            entry_tell(to, e);
}

/* Whoever comes is told first: the key is not without anybody between two diffs if it is not at their end. Who of those that are kept may
 * go is known when it is clear who else is there. */
static void key_tell(struct fm_hub *h, struct fm_pkey *k, struct diff *d)
{
    struct telling to = {h, k, d, {.b = &d->joins, .key = k}, {.b = &d->leaves, .key = k}};
    uint32_t was = k->shown;
    for (struct fm_pentry *e = k->dirty; e; e = e->dirty_next)
        if (fm_pentry_seen(e))
            entry_tell(&to, e);
    leaves_tell(&to);
    if (fm_pkey_release(h, k))
        leaves_tell(&to);
    metas_close(&to.joins);
    metas_close(&to.leaves);
    k->topic->shown += k->shown - was;
    k->topic->keys_shown += (uint32_t)(k->shown > 0) - (uint32_t)(was > 0);
}

/* ---- states ---- */

void fm_ptopic_state_drop(struct fm_ptopic *t)
{
    for (uint32_t i = 0; i < t->state_n; i++)
        fm_msg_unref(&t->state[i]);
    free(t->state);
    t->state = NULL;
    t->state_n = 0;
    t->making = false;
    t->at = NULL;
    fm_buf_fini(&t->rest);
}

static bool state_add(struct fm_ptopic *t, struct fm_buf *members)
{
    struct fm_msg **all = realloc(t->state, (t->state_n + 1) * sizeof(struct fm_msg *));
    if (!all)
        return false;
    t->state = all;
    struct fm_msg *m;
    if (t->state_n == 0) {
        struct fm_buf b = {.failed = members->failed};
        fm_buf_u8(&b, '{');
        fm_buf_slice(&b, fm_buf_view(members));
        fm_buf_u8(&b, '}');
        m = message(t, FM_LIT("presence_state"), &b);
        fm_buf_fini(&b);
    } else {
        const struct diff rest = {.joins = *members};
        m = diff_message(t, &rest);
    }
    members->n = 0;
    if (m)
        t->state[t->state_n++] = m;
    return m != NULL;
}

/* A key's metas may be more than one message has room for. */
static bool state_add_key(struct fm_hub *h, struct fm_ptopic *t, const struct fm_pkey *k, struct fm_buf *members)
{
    struct metas m = {.b = members, .key = k};
    bool made = true;
    for (const struct fm_pentry *e = k->first; e && made; e = e->next) {
        if (!e->shown)
            continue;
        metas_add(&m, e, e->shown);
        if (members->n < h->config.presence_state_bytes)
            continue;
        metas_close(&m);
        made = state_add(t, members);
    }
    metas_close(&m);
    return made;
}

/* Makes so many messages more. True: the state is all there, or can't be made. */
static bool state_make(struct fm_hub *h, struct fm_ptopic *t, uint32_t more)
{
    uint32_t most = t->state_n + (uint32_t)fm_least(more, UINT32_MAX - t->state_n);
    bool made = true;
    while (t->at && made && t->state_n < most) {
        const struct fm_pkey *k = t->at;
        t->at = k->hh.next;
        made = state_add_key(h, t, k, &t->rest);
    }
    if (t->at && made)
        return false;
    if (made && (t->rest.n || t->state_n == 0))
        made = state_add(t, &t->rest);
    t->making = false;
    fm_buf_fini(&t->rest);
    if (!made)
        fm_ptopic_state_drop(t);
    return true;
}

static void state_out(struct fm_hub *h, struct fm_ptopic *t, unsigned worker)
{
    struct fm_presence_state *s = t->state ? malloc(sizeof *s + t->state_n * sizeof s->msgs[0]) : NULL;
    if (!s) {
        h->lost |= 1ull << worker;
        return;
    }
    *s = (struct fm_presence_state){
        .item = {.kind = FM_HUB_PRESENCE, .cost = (uint32_t)sizeof *s}, .heard = h->presence.heard[worker], .n = t->state_n};
    for (uint32_t i = 0; i < t->state_n; i++) {
        s->msgs[i] = fm_msg_ref(t->state[i]);
        s->item.cost += (uint32_t)fm_msg_size(t->state[i]);
    }
    fm_hub_out(h, worker, &s->item);
    fm_stat_add(&h->stats.presence_states, 1);
}

/* So many messages more of it; all who wait are given it with the last. False: there is more. */
static bool state_go_on(struct fm_hub *h, struct fm_ptopic *t, uint32_t more)
{
    if (!state_make(h, t, more))
        return false;
    for (; t->wanted; t->wanted &= t->wanted - 1)
        state_out(h, t, (unsigned)__builtin_ctzll(t->wanted));
    return true;
}

static void making_add(struct fm_presence *p, struct fm_ptopic *t)
{
    t->queued = true;
    t->making_next = NULL;
    *p->making_last = t;
    p->making_last = &t->making_next;
}

static void state_begin(struct fm_hub *h, struct fm_ptopic *t)
{
    fm_ptopic_state_drop(t);
    t->making = true;
    t->at = t->keys;
    if (!state_go_on(h, t, 1) && !t->queued)
        making_add(&h->presence, t);
}

/* One piece for one of the topics, each in its turn. */
static void making_turn(struct fm_hub *h)
{
    struct fm_presence *p = &h->presence;
    struct fm_ptopic *t = p->making;
    if (!t)
        return;
    p->making = t->making_next;
    if (!p->making)
        p->making_last = &p->making;
    t->queued = false;
    if (t->making && !state_go_on(h, t, 1))
        making_add(p, t);
    else
        fm_ptopic_release(h, t);
}

/* ---- when ---- */

static void topic_tell(struct fm_hub *h, struct fm_ptopic *t)
{
    struct diff d = {0};
    if (t->making)
        (void)state_go_on(h, t, UINT32_MAX);
    fm_ptopic_state_drop(t);
    for (struct fm_pkey *k = t->due; k; k = k->due_next)
        key_tell(h, k, &d);
    diff_out(h, t, &d);
    fm_buf_fini(&d.joins);
    fm_buf_fini(&d.leaves);
    if (t->wanted)
        state_begin(h, t);
    /* The topic may be gone with its last key. */
    struct fm_pkey *k = t->due, *next;
    t->due = NULL;
    t->due_last = &t->due;
    for (; k; k = next) {
        next = k->due_next;
        fm_pkey_settle(h, k);
    }
}

void fm_presence_tell(struct fm_hub *h)
{
    struct fm_presence *p = &h->presence;
    while (p->due && p->due->due_ms <= h->now.mono_ms) {
        struct fm_ptopic *t = p->due;
        p->due = t->due_next;
        if (!p->due)
            p->due_last = &p->due;
        topic_tell(h, t);
    }
    making_turn(h);
}

void fm_presence_watch(struct fm_hub *h, struct fm_slice topic, unsigned worker)
{
    struct fm_ptopic *t = fm_ptopic_get(h, topic);
    if (!t) {
        h->lost |= 1ull << worker;
        return;
    }
    t->watch |= 1ull << worker;
    t->wanted |= 1ull << worker;
    if (t->due || t->making)
        return;
    if (t->state)
        (void)state_go_on(h, t, 0);
    else
        state_begin(h, t);
}

void fm_presence_unwatch(struct fm_hub *h, struct fm_slice topic, unsigned worker)
{
    struct fm_ptopic *t = fm_ptopic_find(h, topic);
    if (!t)
        return;
    t->watch &= ~(1ull << worker);
    t->wanted &= ~(1ull << worker);
    if (!t->watch)
        fm_ptopic_state_drop(t);
    fm_ptopic_release(h, t);
}
