/* Own messages: ids, idempotency keys, and the acknowledgements of other nodes. */
#include "hub_core.h"
#include "command.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum { TELL_EVERY_MS = 10 * 1000 };

/* ---- idempotency keys ---- */

bool fm_key_add(struct fm_hub *h, const struct fm_msg *m)
{
    return fm_keys_add(&h->keys, m) || fm_mutation(KEYS_IGNORED);
}

/* early: so many were forgotten already, before their time */
static void keys_tend(struct fm_hub *h, uint64_t early)
{
    early += fm_keys_expire(&h->keys, (int64_t)h->now.mono_ms, h->config.log_age_ms, h->config.keys_bytes);
    h->stats.keys = HASH_COUNT(h->keys.gone);
    h->stats.keys_bytes = h->keys.gone_bytes;
    if (!early)
        return;
    struct fm_diag_pause *t = &h->keys_told;
    h->stats.keys_forgotten += early;
    t->untold += early;
    if (h->now.mono_ms < t->quiet_until_ms)
        return;
    fm_diag(FM_WARN, "keys_forgotten",
            "keys=%" PRIu64
            " known=%u why=\"keys_bytes is full, or memory short, before log_age is over: a retry with one of them is published again\" "
            "then=\"raise keys_bytes, or lower log_age\"",
            t->untold, HASH_COUNT(h->keys.gone));
    *t = (struct fm_diag_pause){.quiet_until_ms = h->now.mono_ms + TELL_EVERY_MS};
}

void fm_key_leave(struct fm_hub *h, const struct fm_msg *m)
{
    bool keep = h->config.keys_bytes && fm_msg_age_ms(h, m) < h->config.log_age_ms && !fm_mutation(KEYS_FORGOTTEN);
    keys_tend(h, !fm_keys_leave(&h->keys, m, keep));
}

void fm_keys_tend(struct fm_hub *h)
{
    keys_tend(h, 0);
}

/* ---- accepting ---- */

static struct fm_id next_id(const struct fm_hub *h)
{
    return (struct fm_id){h->self->id, h->self->contig + 1};
}

enum fm_err fm_publish_own(struct fm_hub *h, struct fm_msg *m, struct fm_publish_result *result)
{
    struct fm_topic *t = fm_topic_get(h, fm_msg_topic(m), true);
    struct fm_pos *pos = t ? fm_pos_get(t, h->self) : NULL;
    if (!pos) {
        fm_msg_unref(&m);
        return t ? FM_E_NOMEM : FM_E_TOO_MANY;
    }
    /* The own clock may be set back; the timestamps of one origin never go back, since they order histories. */
    if (h->last_ts_ms < h->now.wall_ms)
        h->last_ts_ms = h->now.wall_ms;
    struct fm_id id = next_id(h);
    fm_msg_accept(m, id, pos->last, h->last_ts_ms);
    m->born_ms = (int64_t)h->now.mono_ms;
    size_t size = fm_msg_size(m);
    if (!fm_receive(h, h->self, m))
        return FM_E_NOMEM;
    h->backlog += size;
    assert(h->self->contig == id.seq);
    if (result)
        *result = (struct fm_publish_result){id, false};
    fm_stat_add(&h->stats.published, 1);
    return FM_OK;
}

static enum fm_err accept_one(struct fm_hub *h, struct fm_msg **mp, struct fm_publish_result *result)
{
    struct fm_msg *m = *mp;
    if (m->key_n && !fm_mutation(KEYS_IGNORED)) {
        const struct fm_id *first = fm_keys_find(&h->keys, fm_msg_topic(m), fm_msg_key(m));
        if (first) {
            *result = (struct fm_publish_result){*first, true};
            h->stats.duplicates++;
            fm_msg_unref(mp);
            return FM_OK;
        }
    }
    enum fm_err err = fm_topic_of_commands(fm_msg_topic(m)) ? fm_control_complete(h, mp, next_id(h)) : FM_OK;
    if (err)
        return err;
    m = *mp;
    *mp = NULL;
    return fm_publish_own(h, m, result);
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

/* Has the node stored all of them? What it passed over, because it was gone before the node could get it, is not told apart from what lies
 * before that: then nothing is confirmed, which is at worst too little. */
static bool has_stored(const struct fm_peer *p, const struct fm_waiter *w)
{
    for (uint32_t i = 0; i < w->last.n; i++) {
        struct fm_id first = w->first.at[i], last = w->last.at[i];
        if (fm_vector_get(&p->has, last.origin) < last.seq || fm_vector_get(&p->passed, first.origin) >= first.seq)
            return false;
    }
    return true;
}

/* How many live nodes have stored everything that is waited for. A node that died is not counted, its copy died with it; nor is one that
 * was not heard of since, for it may just have died: a retry of a message that was confirmed before is confirmed anew. */
static uint32_t confirmed(const struct fm_hub *h, const struct fm_waiter *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        const struct fm_peer *peer = &h->peers[i];
        n += peer->alive && !peer->left && peer->spoke_ms >= w->from_ms && has_stored(peer, w);
    }
    return n;
}

static bool has_all(const struct fm_hub *h, const struct fm_peer *p)
{
    const struct fm_origin *o, *tmp;
    HASH_ITER (hh, h->origins, o, tmp) {
        if (o->id == p->incarnation)
            continue; /* all that is known of it came from there */
        /* Of the long dead nothing is claimed any more, see fm_state_send. */
        const struct fm_peer *self = fm_peer_find(h, o->id);
        bool lives = self && self->alive;
        bool claimed = o == h->self || lives || h->now.mono_ms - o->heard_ms < h->config.cursor_ttl_ms / 2;
        uint64_t upto = lives && !self->draining ? o->drained : o->contig;
        if (claimed && fm_vector_get(&p->has, o->id) < upto)
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

static enum fm_err may_accept(struct fm_hub *h)
{
    if (h->draining)
        return FM_E_DRAINING;
    if (!h->ready)
        return FM_E_NOT_READY;
    if (!fm_backlog_full(h))
        return FM_OK;
    h->stats.backlog_refused++;
    return FM_E_BUSY;
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

static void waiter_free(struct fm_waiter *w)
{
    fm_vector_fini(&w->first);
    fm_vector_fini(&w->last);
    free(w);
}

/* Retries stand beside new messages, so a request may reach far back. */
static enum fm_err wait_for(struct fm_waiter *w, struct fm_id id)
{
    uint64_t first = fm_vector_get(&w->first, id.origin);
    enum fm_err err = FM_OK;
    if (first == 0 || id.seq < first)
        err = fm_vector_set(&w->first, id.origin, id.seq);
    return err ? err : fm_vector_raise(&w->last, id.origin, id.seq);
}

static enum fm_err wait_for_replicas(struct fm_hub *h, struct fm_publish *p)
{
    struct fm_waiter *w = calloc(1, sizeof *w);
    if (!w)
        return FM_E_NOMEM;
    for (uint32_t i = 0; i < p->n; i++) {
        enum fm_err err = wait_for(w, p->results[i].id);
        if (err) {
            waiter_free(w);
            return err;
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
    p->err = may_accept(h);
    if (!p->err)
        p->err = topics_get(h, p);
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
        waiter_free(w);
        answer(h, p);
    }
    h->waiters_last = at;
}

void fm_waiters_close(struct fm_hub *h)
{
    while (h->waiters) {
        struct fm_waiter *w = h->waiters;
        struct fm_publish *p = w->publish;
        h->waiters = w->next;
        waiter_free(w);
        p->err = FM_E_CLOSED;
        answer(h, p);
    }
    h->waiters_last = &h->waiters;
}

void fm_waiters_free(struct fm_hub *h)
{
    while (h->waiters) {
        struct fm_waiter *w = h->waiters;
        h->waiters = w->next;
        fm_publish_free(&w->publish);
        waiter_free(w);
    }
    h->waiters_last = &h->waiters;
}
