/* Own messages: ids, idempotency keys, and the acknowledgements of other nodes. */
#include "hub_core.h"

#include <assert.h>
#include <stdlib.h>

/* ---- idempotency keys: known as long as their message is in the log ---- */

static struct fm_key *key_find(struct fm_hub *h, const struct fm_msg *m)
{
    uint8_t name[FM_TOPIC_MAX + 1 + FM_KEY_MAX];
    struct fm_slice topic = fm_msg_topic(m), key = fm_msg_key(m);
    memcpy(name, topic.p, topic.n);
    name[topic.n] = 0;
    memcpy(name + topic.n + 1, key.p, key.n);
    struct fm_key *k;
    HASH_FIND(hh, h->keys, name, topic.n + 1 + key.n, k);
    return k;
}

bool fm_key_add(struct fm_hub *h, const struct fm_msg *m)
{
    struct fm_key *k = key_find(h, m);
    if (k)
        return (k->id.origin == m->id.origin && k->id.seq == m->id.seq) || fm_mutation(KEYS_IGNORED);
    struct fm_slice topic = fm_msg_topic(m), key = fm_msg_key(m);
    k = calloc(1, sizeof *k + topic.n + 1 + key.n);
    if (!k)
        return true; /* without memory a later double is not recognised; the client helper still drops it by key */
    k->id = m->id;
    k->n = (uint32_t)(topic.n + 1 + key.n);
    memcpy(k->bytes, topic.p, topic.n);
    memcpy(k->bytes + topic.n + 1, key.p, key.n);
    HASH_ADD_KEYPTR(hh, h->keys, k->bytes, k->n, k);
    return true;
}

void fm_key_drop(struct fm_hub *h, const struct fm_msg *m)
{
    struct fm_key *k = key_find(h, m);
    if (!k || k->id.origin != m->id.origin || k->id.seq != m->id.seq)
        return;
    HASH_DELETE(hh, h->keys, k);
    free(k);
}

/* ---- accepting ---- */

static enum fm_err accept_one(struct fm_hub *h, struct fm_msg **mp, struct fm_publish_result *result)
{
    struct fm_msg *m = *mp;
    if (m->key_n && !fm_mutation(KEYS_IGNORED)) {
        const struct fm_key *k = key_find(h, m);
        if (k) {
            *result = (struct fm_publish_result){k->id, true};
            h->stats.duplicates++;
            fm_msg_unref(mp);
            return FM_OK;
        }
    }
    struct fm_topic *t = fm_topic_get(h, fm_msg_topic(m), true);
    struct fm_pos *pos = t ? fm_pos_get(t, h->self) : NULL;
    if (!pos)
        return t ? FM_E_NOMEM : FM_E_TOO_MANY;
    /* The own clock may be set back; the timestamps of one origin never go back, since they order histories. */
    if (h->last_ts_ms < h->now.wall_ms)
        h->last_ts_ms = h->now.wall_ms;
    struct fm_id id = {h->self->id, h->self->contig + 1};
    fm_msg_accept(m, id, pos->last, h->last_ts_ms);
    m->born_ms = (int64_t)h->now.mono_ms;
    *mp = NULL;
    if (!fm_receive(h, h->self, m))
        return FM_E_NOMEM;
    assert(h->self->contig == id.seq);
    *result = (struct fm_publish_result){id, false};
    h->stats.published++;
    return FM_OK;
}

static void answer(struct fm_hub *h, struct fm_publish *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        fm_msg_unref(&p->msgs[i]);
    if (p->worker == FM_NO_WORKER) {
        fm_publish_free(&p);
        return;
    }
    p->item.cost = (uint32_t)sizeof *p;
    fm_hub_out(h, p->worker, &p->item);
}

/* How many live nodes have everything that is waited for. A node that died is not counted, its copy died with it; nor is one that was not
 * heard of since, for it may just have died: a retry of a message that was confirmed before is confirmed anew. */
static uint32_t confirmed(const struct fm_hub *h, const struct fm_waiter *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        const struct fm_peer *peer = &h->peers[i];
        bool all = peer->alive && !peer->left && peer->spoke_ms >= w->from_ms;
        for (uint32_t k = 0; k < w->need.n && all; k++)
            all = fm_vector_get(&peer->has, w->need.at[k].origin) >= w->need.at[k].seq;
        n += all;
    }
    return n;
}

static bool has_all(const struct fm_hub *h, const struct fm_peer *p)
{
    const struct fm_origin *o, *tmp;
    HASH_ITER (hh, h->origins, o, tmp) {
        /* Of the long dead nothing is claimed any more, see fm_state_send. */
        const struct fm_peer *self = fm_peer_find(h, o->id);
        bool claimed = o == h->self || (self && self->alive) || h->now.mono_ms - o->heard_ms < h->config.cursor_ttl_ms / 2;
        if (claimed && fm_vector_get(&p->has, o->id) < o->contig)
            return false;
    }
    return true;
}

bool fm_everyone_has_all(const struct fm_hub *h)
{
    for (uint32_t i = 0; i < h->peers_n; i++)
        if (h->peers[i].alive && !has_all(h, &h->peers[i]))
            return false;
    return true;
}

/* Before anything is accepted, so that a request is not half done for want of room for its topics. */
static enum fm_err topics_get(struct fm_hub *h, const struct fm_publish *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        struct fm_topic *t = fm_topic_get(h, fm_msg_topic(p->msgs[i]), true);
        if (!t)
            return FM_E_TOO_MANY;
        t->used_ms = h->now.mono_ms;
        if (!fm_pos_get(t, h->self))
            return FM_E_NOMEM;
    }
    return FM_OK;
}

static enum fm_err wait_for_replicas(struct fm_hub *h, struct fm_publish *p)
{
    struct fm_waiter *w = calloc(1, sizeof *w);
    if (!w)
        return FM_E_NOMEM;
    for (uint32_t i = 0; i < p->n; i++) {
        if (fm_vector_raise(&w->need, p->results[i].id.origin, p->results[i].id.seq) != FM_OK) {
            fm_vector_fini(&w->need);
            free(w);
            return FM_E_NOMEM;
        }
    }
    w->publish = p;
    w->from_ms = h->now.mono_ms;
    w->due_ms = h->now.mono_ms + p->timeout_ms;
    *h->waiters_last = w;
    h->waiters_last = &w->next;
    return FM_OK;
}

void fm_publish_handle(struct fm_hub *h, struct fm_publish *p)
{
    if (fm_probe_publish(h, p))
        return;
    p->err = h->draining ? FM_E_DRAINING : !h->ready ? FM_E_NOT_READY : topics_get(h, p);
    for (uint32_t i = 0; i < p->n && !p->err; i++)
        p->err = accept_one(h, &p->msgs[i], &p->results[i]);
    if (!p->err && p->ack == FM_ACK_REPLICATED) {
        p->err = wait_for_replicas(h, p);
        if (!p->err)
            return;
    }
    answer(h, p);
}

void fm_waiters_check(struct fm_hub *h)
{
    struct fm_waiter **at = &h->waiters;
    while (*at) {
        struct fm_waiter *w = *at;
        struct fm_publish *p = w->publish;
        p->confirmed = fm_mutation(ACK_UNEARNED) ? p->replicas : confirmed(h, w);
        bool late = h->now.mono_ms >= w->due_ms;
        if (p->confirmed < p->replicas && !late) {
            at = &w->next;
            continue;
        }
        if (p->confirmed < p->replicas) {
            p->err = FM_E_NOT_REPLICATED;
            h->stats.not_replicated++;
        }
        *at = w->next;
        fm_vector_fini(&w->need);
        free(w);
        answer(h, p);
    }
    h->waiters_last = at;
}

void fm_waiters_free(struct fm_hub *h)
{
    while (h->waiters) {
        struct fm_waiter *w = h->waiters;
        h->waiters = w->next;
        fm_publish_free(&w->publish);
        fm_vector_fini(&w->need);
        free(w);
    }
    h->waiters_last = &h->waiters;
}
