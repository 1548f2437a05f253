/* Commands (command.h) in the hub: what it adds to one that is given here, and what it does about one that comes.
 *
 * The tension: a command is a message and goes when messages go, and yet some must be known for longer, also by nodes that come later: a
 * token that was revoked for a week, a deletion while any node may still hold what was deleted. Those stand: every hub keeps them beside
 * its logs until their time is over, and one that no log holds any more, or whose node has been gone for so long that new nodes are not
 * told of its messages, is published again, as a message of whoever does so, with its old id and its age. Every node that knows it waits
 * for that in turn, so that usually the first does it for all. */
#include "hub_core.h"
#include "command.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    TEND_EVERY_MS = 1000,
    TELL_EVERY_MS = 10 * 1000,
    TURN_MS = 2000,             /* a node that knows a command that none holds lets so much time pass for each that goes before it */
    AGAIN_MAX = 64,             /* published again in one go */
    CLOCKS_AGREE_MS = 10 * 1000 /* the cluster's time is believed that far */
};

struct fm_standing {
    UT_hash_handle hh;        /* by subject; the table keeps the order in which they came */
    struct fm_standing *more; /* of the same subject: neither says all that the other says */
    struct fm_msg *msg;       /* a reference: the newest that carries it */
    struct fm_id id;          /* of the command */
    struct fm_vector upto;
    uint64_t number;
    int64_t asked_ms;   /* mono */
    uint64_t until_ms;  /* mono */
    uint64_t unheld_ms; /* mono: since when no log of this node holds it; 0: one does */
    bool recalled;      /* as if none did: another node has lost it */
    uint32_t subject_n;
    uint8_t subject[];
};

/* ---- subjects: what a command is about ---- */

enum { SUBJECT_MAX = 4 + 2 + FM_USER_MAX + FM_TOPIC_MAX + sizeof(struct fm_id) };

static uint32_t subject_of(const struct fm_cluster_command *c, uint8_t out[SUBJECT_MAX])
{
    uint32_t n = 0;
    memcpy(out, &c->kind, 4);
    out[4] = (uint8_t)c->user.n;
    out[5] = (uint8_t)c->topic.n;
    n = 6;
    if (c->user.n)
        memcpy(out + n, c->user.p, c->user.n);
    n += (uint32_t)c->user.n;
    if (c->topic.n)
        memcpy(out + n, c->topic.p, c->topic.n);
    n += (uint32_t)c->topic.n;
    memcpy(out + n, &c->connection, sizeof c->connection);
    return n + (uint32_t)sizeof c->connection;
}

/* ---- standing ---- */

static uint64_t weight_of(const struct fm_standing *s)
{
    return sizeof *s + s->subject_n + fm_msg_size(s->msg) + s->upto.n * sizeof(struct fm_id);
}

static struct fm_standing *standing_find(const struct fm_hub *h, const uint8_t *subject, uint32_t n)
{
    struct fm_standing *s;
    HASH_FIND(hh, h->control.standing, subject, n, s);
    return s;
}

static void standing_free(struct fm_hub *h, struct fm_standing *s)
{
    h->control.bytes -= weight_of(s);
    h->stats.commands_standing--;
    fm_msg_unref(&s->msg);
    fm_vector_fini(&s->upto);
    free(s);
}

/* Out of the table, or out of the chain behind its first. */
static void standing_drop(struct fm_hub *h, struct fm_standing *s)
{
    struct fm_standing *first = standing_find(h, s->subject, s->subject_n), *next = s->more;
    if (first == s) {
        HASH_DEL(h->control.standing, s);
        if (next)
            HASH_ADD_KEYPTR(hh, h->control.standing, next->subject, next->subject_n, next);
    } else {
        struct fm_standing **at = &first->more;
        while (*at != s)
            at = &(*at)->more;
        *at = next;
    }
    standing_free(h, s);
}

static bool within(const struct fm_vector *a, const struct fm_vector *b)
{
    for (uint32_t i = 0; i < a->n; i++)
        if (fm_vector_get(b, a->at[i].origin) < a->at[i].seq)
            return false;
    return true;
}

/* Does `b` say all that `a` says, of the same subject? */
static bool says_all(const struct fm_standing *b, const struct fm_standing *a)
{
    return b->asked_ms >= a->asked_ms && b->until_ms >= a->until_ms && b->number >= a->number && within(&a->upto, &b->upto);
}

static struct fm_standing *standing_new(const struct fm_cluster_command *c, struct fm_msg *m)
{
    uint8_t subject[SUBJECT_MAX];
    uint32_t n = subject_of(c, subject);
    struct fm_standing *s = calloc(1, sizeof *s + n);
    if (!s || fm_vector_copy(&s->upto, &c->upto)) {
        free(s);
        return NULL;
    }
    s->msg = fm_msg_ref(m);
    s->id = c->id;
    s->number = c->number;
    s->asked_ms = fm_command_asked_hub(c, m);
    s->until_ms = s->asked_ms + (int64_t)c->keep_ms > 0 ? (uint64_t)(s->asked_ms + (int64_t)c->keep_ms) : 0;
    s->subject_n = n;
    memcpy(s->subject, subject, n);
    return s;
}

void fm_control_tell(struct fm_hub *h, const char *event, const char *why, const char *then)
{
    struct fm_diag_pause *t = &h->control.told;
    t->untold++;
    if (h->now.mono_ms < t->quiet_until_ms)
        return;
    fm_diag(FM_WARN, event, "times=%" PRIu64 " why=\"%s\" then=\"%s\"", t->untold, why, then);
    *t = (struct fm_diag_pause){.quiet_until_ms = h->now.mono_ms + TELL_EVERY_MS};
}

/* Which came first go first, where other nodes gave more than there is room for. */
static void standing_limit(struct fm_hub *h)
{
    while (h->control.standing && h->control.bytes > 2 * h->config.commands_bytes) {
        h->stats.commands_dropped++;
        fm_control_tell(h, "commands_dropped", "more commands stand than twice commands_bytes",
                        "the oldest are forgotten here before their time; raise commands_bytes on all nodes");
        standing_drop(h, h->control.standing);
    }
}

/* It came again, or something newer says all that it says. Messages of several nodes come in any order: the newest is kept. */
static bool standing_known(struct fm_hub *h, const struct fm_standing *s)
{
    for (struct fm_standing *old = standing_find(h, s->subject, s->subject_n); old; old = old->more) {
        if (old->id.origin == s->id.origin && old->id.seq == s->id.seq) {
            struct fm_msg *before = old->msg;
            if (s->msg->born_ms < before->born_ms)
                return true;
            h->control.bytes += fm_msg_size(s->msg) - fm_msg_size(before);
            old->msg = fm_msg_ref(s->msg);
            old->unheld_ms = 0;
            old->recalled = false;
            fm_msg_unref(&before);
            return true;
        }
        if (says_all(old, s))
            return true;
    }
    return false;
}

/* Takes it. */
static void standing_add(struct fm_hub *h, struct fm_standing *s)
{
    h->stats.commands_standing++;
    h->control.bytes += weight_of(s);
    if (s->until_ms <= h->now.mono_ms || standing_known(h, s)) {
        standing_free(h, s);
        return;
    }
    struct fm_standing *old = standing_find(h, s->subject, s->subject_n), *more;
    for (; old; old = more) {
        more = old->more;
        if (says_all(s, old))
            standing_drop(h, old);
    }
    struct fm_standing *first = standing_find(h, s->subject, s->subject_n);
    if (first) {
        s->more = first->more;
        first->more = s;
    } else {
        HASH_ADD_KEYPTR(hh, h->control.standing, s->subject, s->subject_n, s);
    }
    standing_limit(h);
}

/* ---- one is given here ---- */

/* Everything of the topic that any node is known to have: what is still on its way as well. */
static enum fm_err upto_now(const struct fm_hub *h, struct fm_vector *upto)
{
    enum fm_err err = FM_OK;
    for (const struct fm_origin *o = h->origins; o && !err; o = o->hh.next)
        if (o->claimed || o->contig)
            err = fm_vector_set(upto, o->id, fm_later(o->claimed, o->contig));
    return err;
}

static enum fm_err complete(struct fm_hub *h, struct fm_cluster_command *c, struct fm_id id)
{
    c->id = id;
    c->at_ms = fm_cluster_ms(h);
    c->age_ms = 0;
    if (c->kind == FM_COMMAND_DELETE) {
        /* While any node may still hold something of it, in its history or to repair others from. */
        struct fm_retention r = h->config.retention(h->config.retention_ctx, c->topic);
        c->keep_ms = fm_least(fm_later(r.age_ms, h->config.log_age_ms) + TEND_EVERY_MS, FM_COMMAND_KEEP_MAX);
        c->upto.n = 0;
        enum fm_err err = upto_now(h, &c->upto);
        if (err)
            return err;
    }
    bool room = c->keep_ms == 0 || h->control.bytes < h->config.commands_bytes;
    return room ? FM_OK : FM_E_TOO_MANY;
}

enum fm_err fm_control_complete(struct fm_hub *h, struct fm_msg **mp, struct fm_id id)
{
    struct fm_cluster_command c;
    enum fm_err err = fm_command_read(fm_msg_payload(*mp), &c);
    if (err)
        return err;
    err = complete(h, &c, id);
    struct fm_msg *m = err ? NULL : fm_command_message(&c, fm_msg_key(*mp));
    fm_command_fini(&c);
    if (!err && !m)
        err = FM_E_NOMEM;
    if (err)
        return err;
    fm_msg_unref(mp);
    *mp = m;
    return FM_OK;
}

/* ---- one comes ---- */

/* A message looks younger by what it took on its way here; the cluster's time, which many envelopes have set, knows better. */
static void asked_refine(const struct fm_hub *h, const struct fm_cluster_command *c, struct fm_msg *m)
{
    int64_t by_age = fm_command_asked_hub(c, m), by_clock = (int64_t)c->at_ms - (int64_t)h->ahead_ms;
    if (by_clock < by_age && by_age - by_clock < CLOCKS_AGREE_MS)
        m->born_ms -= by_age - by_clock;
}

void fm_control_take(struct fm_hub *h, struct fm_msg *m)
{
    struct fm_cluster_command c;
    enum fm_err err = fm_command_read(fm_msg_payload(m), &c);
    if (err) {
        h->stats.commands_unknown++;
        fm_control_tell(h, "command_unreadable", err == FM_E_VERSION ? "it is a newer node's" : "it is none, or memory is short",
                        "it is carried on, and not followed here; give all nodes the same version");
        return;
    }
    h->stats.commands++;
    asked_refine(h, &c, m);
    if (c.kind >= FM_COMMAND_KINDS)
        h->stats.commands_unknown++;
    if (c.kind == FM_COMMAND_DELETE && !fm_topic_of_commands(c.topic))
        fm_deletion_take(h, &c, m);
    if (c.kind == FM_COMMAND_UNTRACK)
        fm_lease_command(h, &c, m);
    if (c.kind == FM_COMMAND_RECALL)
        fm_recall_take(h, &c, m);
    fm_command_say_taken(h, &c, m);
    if (c.keep_ms) {
        struct fm_standing *s = standing_new(&c, m);
        if (s)
            standing_add(h, s);
        else
            h->stats.commands_dropped++; /* no memory; the message itself is in the log */
    }
    fm_command_fini(&c);
}

static bool is_missed(const struct fm_missed *missed, struct fm_id id)
{
    return missed->origin == 0 || (id.origin == missed->origin && id.seq >= missed->from && id.seq <= missed->to);
}

/* By the message that carries it: who has lost an older one still gets, or has, this one. Nobody publishes it again sooner than a turn
 * after that was asked for. */
void fm_control_recall(struct fm_hub *h, const struct fm_missed *missed, int64_t asked_ms)
{
    struct fm_standing *first, *next;
    HASH_ITER (hh, h->control.standing, first, next)
        for (struct fm_standing *s = first; s; s = s->more)
            s->recalled = s->recalled || (is_missed(missed, s->msg->id) && s->msg->born_ms < asked_ms + TURN_MS / 2);
}

/* ---- in time ---- */

/* Will a worker, or a node, that comes now be told of it? Not much longer where it is old in its history, or its node is gone. */
static bool is_held(struct fm_hub *h, const struct fm_standing *s)
{
    if (s->recalled)
        return false;
    struct fm_origin *o = fm_origin_find(h, s->msg->id.origin);
    const struct fm_log_entry *e = o ? fm_log_find(&o->log, s->msg->id.seq) : NULL;
    if (!e || !e->in_history || fm_msg_age_ms(h, e->msg) >= e->pos->topic->retention.age_ms / 4 * 3)
        return false;
    const struct fm_peer *p = fm_peer_find(h, o->id);
    return o == h->self || (p && p->alive) || h->now.mono_ms - o->heard_ms < h->config.cursor_ttl_ms / 4;
}

/* How many nodes go before this one. */
static uint64_t rank(const struct fm_hub *h)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < h->peers_n; i++)
        n += h->peers[i].alive && h->peers[i].ready && h->peers[i].incarnation < h->self->id;
    return n;
}

static enum fm_err publish_again(struct fm_hub *h, const struct fm_standing *s)
{
    struct fm_cluster_command c;
    enum fm_err err = fm_command_read(fm_msg_payload(s->msg), &c);
    if (err)
        return err;
    int64_t age_ms = (int64_t)h->now.mono_ms - s->asked_ms;
    c.age_ms = age_ms < 0 ? 0 : fm_least((uint64_t)age_ms, FM_AGE_MAX);
    struct fm_msg *m = fm_command_message(&c, fm_slice_of(NULL, 0));
    fm_command_fini(&c);
    return m ? fm_publish_own(h, m, NULL) : FM_E_NOMEM;
}

void fm_control_tend(struct fm_hub *h)
{
    struct fm_standing *first, *next, *s, *more;
    unsigned again = 0;
    fm_deletions_tend(h);
    if (h->now.mono_ms < h->control.tend_ms)
        return;
    h->control.tend_ms = h->now.mono_ms + TEND_EVERY_MS;
    fm_recall_tend(h);
    uint64_t wait_ms = (1 + rank(h)) * TURN_MS;
    bool may = h->ready && !h->draining && !fm_backlog_full(h);
    HASH_ITER (hh, h->control.standing, first, next) {
        for (s = first; s; s = more) {
            more = s->more;
            if (s->until_ms <= h->now.mono_ms) {
                standing_drop(h, s);
                continue;
            }
            if (is_held(h, s)) {
                s->unheld_ms = 0;
                continue;
            }
            if (s->unheld_ms == 0)
                s->unheld_ms = h->now.mono_ms;
            if (!may || h->now.mono_ms - s->unheld_ms < wait_ms || again++ >= AGAIN_MAX)
                continue;
            if (publish_again(h, s) == FM_OK)
                h->stats.commands_again++;
        }
    }
    h->stats.commands_bytes = h->control.bytes;
}

void fm_control_fini(struct fm_hub *h)
{
    while (h->control.standing)
        standing_drop(h, h->control.standing);
    fm_deletions_fini(h);
}
