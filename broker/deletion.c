/* Histories that were deleted: which messages of a topic must not be given to anybody any more, and are not kept.
 *
 * A deletion names positions: what any node was known to have when it was asked for. So it means the same on every node, in whatever order
 * things come there, and touches nothing that was published after it. What it names and is here goes at once, out of history and log,
 * leaving floors and tombs as whatever is evicted: who comes with a cursor from before is told recovered: false. What it names and comes
 * later, from a node that had been cut off, is passed over: subscribers are told a gap ("deleted"). */
#include "hub_core.h"
#include "command.h"

#include <stdlib.h>

void fm_deletion_of(struct fm_hub *h, struct fm_topic *t)
{
    HASH_FIND(hh, h->control.deletions, t->name, t->name_n, t->deletion);
}

static struct fm_deletion *deletion_get(struct fm_hub *h, struct fm_slice topic)
{
    struct fm_deletion *d;
    HASH_FIND(hh, h->control.deletions, topic.p, topic.n, d);
    if (d)
        return d;
    d = calloc(1, sizeof *d + topic.n);
    if (!d)
        return NULL;
    d->topic_n = (uint32_t)topic.n;
    memcpy(d->topic, topic.p, topic.n);
    HASH_ADD_KEYPTR(hh, h->control.deletions, d->topic, d->topic_n, d);
    struct fm_topic *t = fm_topic_find(h, topic);
    if (t)
        t->deletion = d;
    return d;
}

static void deletion_free(struct fm_hub *h, struct fm_deletion *d)
{
    struct fm_topic *t = fm_topic_find(h, fm_slice_of(d->topic, d->topic_n));
    if (t)
        t->deletion = NULL;
    HASH_DEL(h->control.deletions, d);
    fm_vector_fini(&d->upto);
    free(d);
}

/* Where there is no room for one more origin, those go that nobody can bring messages of any more. */
static enum fm_err raise(struct fm_hub *h, struct fm_vector *upto, struct fm_id at)
{
    enum fm_err err = fm_vector_raise(upto, at.origin, at.seq);
    if (err != FM_E_TOO_MANY)
        return err;
    for (uint32_t i = upto->n; i-- > 0;)
        if (!fm_origin_find(h, upto->at[i].origin))
            fm_vector_remove(upto, upto->at[i].origin);
    return fm_vector_raise(upto, at.origin, at.seq);
}

/* ---- out of log and history ---- */

/* What is behind a hole still stays in the log until the hole is filled, but nobody is given it. False: it stays. */
static bool strike_one(struct fm_hub *h, struct fm_origin *o, struct fm_log_entry *e)
{
    bool settled = e->seq <= o->contig;
    if (settled)
        fm_store_strike(h, o, e);
    else if (!fm_mutation(DELETED_BEHIND_HOLE))
        fm_store_hide(h, e);
    return settled;
}

/* By the chain of the topic's messages, newest first, which has all of them unless something was lost. Returns how many messages of the
 * topic stay. */
static uint32_t strike_chain(struct fm_hub *h, struct fm_pos *pos, uint64_t upto)
{
    struct fm_origin *o = pos->origin;
    uint32_t stay = 0;
    for (uint64_t seq = pos->last, prev; seq; seq = prev) {
        struct fm_log_entry *e = fm_log_find(&o->log, seq);
        if (!e || !e->msg || e->pos != pos)
            break;
        prev = e->msg->prev;
        if (seq > upto || !strike_one(h, o, e))
            stay++;
    }
    return stay;
}

static void strike_all(struct fm_hub *h, struct fm_pos *pos, uint64_t upto)
{
    struct fm_origin *o = pos->origin;
    struct fm_log_iter it = fm_log_from(&o->log, 0);
    struct fm_log_entry *e;
    while ((e = fm_log_next(&it)) && e->seq <= upto) {
        uint64_t seq = e->seq;
        if (e->pos != pos || !e->msg)
            continue;
        if (strike_one(h, o, e))
            it = fm_log_from(&o->log, seq + 1); /* the log has moved */
    }
}

/* Does anything that it names wait behind a hole still? */
static bool strike(struct fm_hub *h, struct fm_topic *t, const struct fm_deletion *d)
{
    bool waits = false;
    for (uint32_t i = 0; i < t->pos_n; i++) {
        struct fm_pos *pos = t->pos[i];
        uint64_t upto = fm_vector_get(&d->upto, pos->origin->id);
        if (upto == 0 || pos->held == 0 || fm_mutation(DELETED_REMEMBERED))
            continue;
        if (strike_chain(h, pos, upto) < pos->held)
            strike_all(h, pos, upto);
        waits |= upto > pos->origin->contig && pos->held;
    }
    return waits;
}

/* ---- commands ---- */

void fm_deletion_take(struct fm_hub *h, const struct fm_cluster_command *c, const struct fm_msg *m)
{
    /* Where its time is over already, everything that it names is too old to be held by anybody: but on a machine that was suspended, where
     * no time went by, or where more is kept than on others. What is here goes all the same. */
    int64_t until_ms = fm_command_asked_hub(c, m) + (int64_t)c->keep_ms;
    struct fm_deletion *d = deletion_get(h, c->topic);
    enum fm_err err = d ? FM_OK : FM_E_NOMEM;
    for (uint32_t i = 0; i < c->upto.n && !err; i++)
        err = raise(h, &d->upto, c->upto.at[i]);
    if (err) {
        h->stats.commands_dropped++;
        fm_control_tell(h, "deletion_failed", "memory is short", "what it names may still be given to clients of this node: ask again");
        return;
    }
    d->until_ms = fm_later(d->until_ms, until_ms > 0 ? (uint64_t)until_ms : 0);
    d->dirty = true;
    uint64_t before = h->stats.deleted;
    fm_deletions_tend(h);
    fm_command_did(h, c->id, h->stats.deleted - before);
}

void fm_command_did(struct fm_hub *h, struct fm_id command, uint64_t n)
{
    h->control.done[h->control.done_n++ % FM_HUB_COMMANDS_DONE] = (struct fm_hub_command_done){command, n};
}

uint64_t fm_command_done(const struct fm_hub *h, struct fm_id command)
{
    for (uint32_t i = 0; i < FM_HUB_COMMANDS_DONE; i++)
        if (h->control.done[i].id.origin == command.origin && h->control.done[i].id.seq == command.seq)
            return h->control.done[i].n;
    return 0;
}

void fm_deletions_tend(struct fm_hub *h)
{
    struct fm_deletion *d, *next;
    HASH_ITER (hh, h->control.deletions, d, next) {
        struct fm_topic *t = d->dirty ? fm_topic_find(h, fm_slice_of(d->topic, d->topic_n)) : NULL;
        if (d->dirty)
            d->dirty = t && strike(h, t, d);
        if (d->until_ms <= h->now.mono_ms)
            deletion_free(h, d);
    }
}

void fm_deletions_fini(struct fm_hub *h)
{
    struct fm_deletion *d, *next;
    HASH_ITER (hh, h->control.deletions, d, next)
        deletion_free(h, d);
}
