/* Origins: every start of every node is one, and a cursor names FM_ORIGINS_MAX of them. So they must be forgotten some time: the dead after
 * cursor_ttl, and before that, with a warning, where nodes are started too often. All nodes must forget the same ones: what one has
 * forgotten and another has not would come back as new. */
#include "hub_core.h"

#include <assert.h>
#include <stdlib.h>

enum { FORGOTTEN_SLACK_MS = 2000 }; /* by so much the claim of another node may make an origin look younger than it is */

struct fm_origin *fm_origin_find(struct fm_hub *h, uint64_t id)
{
    struct fm_origin *o;
    HASH_FIND(hh, h->origins, &id, sizeof id, o);
    return o;
}

void fm_origin_free(struct fm_hub *h, struct fm_origin *o)
{
    HASH_DELETE(hh, h->origins, o);
    h->stats.origins = HASH_COUNT(h->origins);
    fm_log_fini(&o->log);
    free(o);
}

/* The origin goes, with every position in it. A cursor that names it is answered recovered: false, and so is one from before its end. */
static void origin_drop(struct fm_hub *h, struct fm_origin *o)
{
    h->blind_ms = fm_later(h->blind_ms, fm_blind_by(h, o));
    struct fm_topic *t, *tmp;
    HASH_ITER (hh, h->topics, t, tmp) {
        for (uint32_t i = 0; i < t->pos_n; i++) {
            if (t->pos[i]->origin != o)
                continue;
            fm_pos_free(t->pos[i]);
            t->pos[i] = t->pos[--t->pos_n];
            break;
        }
    }
    assert(o->positions == 0);
    fm_origin_free(h, o);
}

static void history_without(struct fm_topic *t, uint64_t origin)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->history_n; i++) {
        struct fm_msg *m = t->history[t->head + i];
        if (m->id.origin == origin)
            t->history_bytes -= fm_msg_size(m);
        else
            t->history[t->head + kept++] = m;
    }
    t->history_n = kept;
}

/* Before its time, for want of room: nodes were started more often than a cursor can name. Its messages go with it. */
static void origin_forget(struct fm_hub *h, struct fm_origin *o)
{
    if (!o->final && h->peers_n)
        fm_origin_end_unknown(h, o);
    struct fm_topic *t, *tmp;
    HASH_ITER (hh, h->topics, t, tmp)
        history_without(t, o->id);
    uint64_t messages = 0;
    struct fm_log_iter it = fm_log_from(&o->log, 0);
    for (struct fm_log_entry *e = fm_log_next(&it); e; e = fm_log_next(&it)) {
        if (!e->msg)
            continue;
        messages++;
        h->bytes -= fm_msg_size(e->msg);
        if (e->msg->key_n)
            fm_key_leave(h, e->msg);
    }
    h->stats.log_bytes = h->bytes;
    h->stats.log_messages -= messages;
    h->stats.origins_forgotten++;
    h->dropped[h->dropped_n++ % FM_DROPPED_MAX] = o->id;
    if (h->forgotten_ms < o->heard_ms)
        h->forgotten_ms = o->heard_ms;
    char origin[FM_ORIGIN_TEXT_MAX + 1];
    fm_origin_print(o->id, origin);
    fm_diag(FM_WARN, "origin_forgotten",
            "origin=%s messages=%llu why=\"nodes were started %d times within cursor_ttl: is one in a crash loop?\" then=\"what it had "
            "published is dropped; older cursors get recovered: false\"",
            origin, (unsigned long long)messages, FM_ORIGINS_MAX);
    origin_drop(h, o);
}

/* The origin that was heard of longest ago and may make room. One whose node is only out of reach comes last: when it is back, all that it
 * has would be given again. */
static struct fm_origin *origin_oldest(struct fm_hub *h)
{
    struct fm_origin *o, *tmp, *oldest = NULL;
    bool oldest_returns = false;
    HASH_ITER (hh, h->origins, o, tmp) {
        const struct fm_peer *p = fm_peer_find(h, o->id);
        bool returns = p && !p->left;
        if (o == h->self || (p && p->alive))
            continue;
        if (oldest && (returns != oldest_returns ? returns : o->heard_ms >= oldest->heard_ms))
            continue;
        oldest = o;
        oldest_returns = returns;
    }
    return oldest;
}

struct fm_origin *fm_origin_get(struct fm_hub *h, uint64_t id, uint64_t heard_ms)
{
    struct fm_origin *o = fm_origin_find(h, id);
    if (o)
        return o;
    bool lives = heard_ms >= h->now.mono_ms;
    if (!lives && h->forgotten_ms && heard_ms <= h->forgotten_ms + FORGOTTEN_SLACK_MS)
        return NULL; /* else what was forgotten for want of room would come back from a node that still has it, and be given again */
    if (HASH_COUNT(h->origins) >= FM_ORIGINS_MAX) {
        struct fm_origin *oldest = origin_oldest(h);
        if (!oldest || (!lives && heard_ms <= oldest->heard_ms + FORGOTTEN_SLACK_MS))
            return NULL;
        origin_forget(h, oldest);
    }
    o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->id = id;
    o->heard_ms = heard_ms;
    HASH_ADD(hh, h->origins, id, sizeof o->id, o);
    h->stats.origins = HASH_COUNT(h->origins);
    return o;
}

static bool was_dropped(const struct fm_hub *h, uint64_t id)
{
    for (uint32_t i = 0; i < FM_DROPPED_MAX; i++)
        if (h->dropped[i] == id)
            return true;
    return false;
}

void fm_origin_refused(struct fm_hub *h, uint64_t id, uint64_t to)
{
    if (to == 0 || was_dropped(h, id))
        return;
    h->dropped[h->dropped_n++ % FM_DROPPED_MAX] = id; /* told once */
    h->stats.origins_refused++;
    char origin[FM_ORIGIN_TEXT_MAX + 1];
    fm_origin_print(id, origin);
    fm_diag(FM_WARN, "origin_refused",
            "origin=%s messages=%llu why=\"it died while its node was out of reach, and %d younger starts are remembered: is a node in a "
            "crash loop?\" then=\"its messages are not taken in; all subscribers are told a gap\"",
            origin, (unsigned long long)to, FM_ORIGINS_MAX);
    fm_blind_now(h, id, 1, to);
}

void fm_origin_retire(struct fm_hub *h, struct fm_origin *o)
{
    const struct fm_peer *p = fm_peer_find(h, o->id);
    uint64_t idle_ms = h->now.mono_ms - o->heard_ms;
    if (o == h->self || idle_ms < h->config.cursor_ttl_ms || (p && p->alive))
        return;
    if (!o->final && h->peers_n) {
        if (idle_ms < 2 * h->config.cursor_ttl_ms)
            return; /* how it ended may be told when all are in reach again */
        fm_origin_end_unknown(h, o);
    }
    struct fm_log_iter it = fm_log_from(&o->log, 0);
    for (struct fm_log_entry *e = fm_log_next(&it); e; e = fm_log_next(&it))
        if (e->msg)
            return;
    origin_drop(h, o);
}
