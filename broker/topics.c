/* Topics, and where each is in every origin's log: positions. How long they are kept: store.c. */
#include "hub_core.h"
#include "command.h"

#include <stdlib.h>

struct fm_topic *fm_topic_find(struct fm_hub *h, struct fm_slice name)
{
    struct fm_topic *t = h->found;
    if (t && fm_slice_eq(fm_slice_of(t->name, t->name_n), name))
        return t;
    HASH_FIND(hh, h->topics, name.p, name.n, t);
    if (t)
        h->found = t;
    return t;
}

static bool topic_idle(const struct fm_topic *t)
{
    return t->interest == 0 && t->history_n == 0 && !t->commands;
}

/* The commands' topic is not among those that anybody asks for. */
static uint32_t topics_n(const struct fm_hub *h)
{
    return HASH_COUNT(h->topics) - h->control.has_topic;
}

static void topics_count(struct fm_hub *h)
{
    h->stats.topics = topics_n(h);
}

void fm_pos_free(struct fm_pos *pos)
{
    pos->origin->positions--;
    free(pos->waiting);
    free(pos);
}

/* It is in no table any more, and its positions are freed. */
static void topic_free(struct fm_topic *t)
{
    free(t->pos);
    free(t->history);
    free(t->subs);
    free(t);
}

bool fm_topic_forget(struct fm_hub *h, struct fm_topic *t)
{
    if (!topic_idle(t))
        return false;
    for (uint32_t i = 0; i < t->pos_n; i++) {
        struct fm_pos *pos = t->pos[i];
        if (pos->waiting_n || pos->held || pos->last > pos->origin->contig)
            return false;
    }
    for (uint32_t i = 0; i < t->pos_n; i++) {
        struct fm_pos *pos = t->pos[i];
        if (pos->origin->forgotten < pos->last)
            pos->origin->forgotten = pos->last;
        if (pos->tomb)
            fm_log_remove(&pos->origin->log, pos->tomb);
        fm_pos_free(pos);
    }
    if (h->sweep == t)
        h->sweep = t->hh.next;
    if (h->found == t)
        h->found = NULL;
    HASH_DELETE(hh, h->topics, t);
    topics_count(h);
    topic_free(t);
    return true;
}

/* Room for one more topic by forgetting idle ones, a bounded number of looks per call. */
static bool topics_room(struct fm_hub *h)
{
    struct fm_topic *t = h->topics, *next;
    for (unsigned looks = 0; t && looks < 64 && topics_n(h) >= h->config.topics_max; looks++, t = next) {
        next = t->hh.next;
        if (t->used_ms != h->now.mono_ms) /* what this very step touched is about to be used */
            fm_topic_forget(h, t);
    }
    return topics_n(h) < h->config.topics_max;
}

void fm_topic_retention(struct fm_hub *h, struct fm_topic *t)
{
    /* Of commands as many as may stand, and those of some time; what must be known for longer is published again. */
    if (t->commands)
        t->retention = (struct fm_retention){UINT32_MAX, 2 * h->config.commands_bytes, h->config.cursor_ttl_ms / 2};
    else
        t->retention = h->config.retention(h->config.retention_ctx, fm_slice_of(t->name, t->name_n));
}

struct fm_topic *fm_topic_get(struct fm_hub *h, struct fm_slice name, bool limited)
{
    struct fm_topic *t = fm_topic_find(h, name);
    if (t)
        return t;
    bool commands = fm_topic_of_commands(name);
    if (limited && !commands && topics_n(h) >= h->config.topics_max && !topics_room(h))
        return NULL;
    t = calloc(1, sizeof *t + name.n + 1);
    uint32_t *subs = calloc(h->config.workers ? h->config.workers : 1, sizeof *subs);
    if (!t || !subs) {
        free(t);
        free(subs);
        return NULL;
    }
    t->subs = subs;
    t->name_n = (uint32_t)name.n;
    memcpy(t->name, name.p, name.n);
    t->used_ms = h->now.mono_ms;
    t->commands = commands;
    h->control.has_topic |= commands;
    fm_topic_retention(h, t);
    fm_deletion_of(h, t);
    HASH_ADD_KEYPTR(hh, h->topics, t->name, t->name_n, t);
    topics_count(h);
    return t;
}

struct fm_pos *fm_pos_find(const struct fm_topic *t, const struct fm_origin *o)
{
    for (uint32_t i = 0; i < t->pos_n; i++)
        if (t->pos[i]->origin == o)
            return t->pos[i];
    return NULL;
}

struct fm_pos *fm_pos_get(struct fm_topic *t, struct fm_origin *o)
{
    struct fm_pos *pos = fm_pos_find(t, o);
    if (pos)
        return pos;
    if (t->pos_n == t->pos_cap) {
        uint32_t cap = t->pos_cap ? t->pos_cap * 2 : 4;
        struct fm_pos **all = realloc(t->pos, cap * sizeof(struct fm_pos *));
        if (!all)
            return NULL;
        t->pos = all;
        t->pos_cap = cap;
    }
    pos = calloc(1, sizeof *pos);
    if (!pos)
        return NULL;
    pos->topic = t;
    pos->origin = o;
    pos->last = pos->floor = o->forgotten;
    o->positions++;
    t->pos[t->pos_n++] = pos;
    return pos;
}

uint64_t fm_topic_floor(const struct fm_topic *t, const struct fm_origin *o)
{
    const struct fm_pos *pos = fm_pos_find(t, o);
    return pos ? pos->floor : o->forgotten;
}

uint64_t fm_topic_last(const struct fm_topic *t, const struct fm_origin *o)
{
    const struct fm_pos *pos = fm_pos_find(t, o);
    return pos ? pos->last : o->forgotten;
}

void fm_topics_free(struct fm_hub *h)
{
    struct fm_topic *t, *tmp;
    HASH_ITER (hh, h->topics, t, tmp) {
        HASH_DELETE(hh, h->topics, t);
        for (uint32_t i = 0; i < t->pos_n; i++)
            fm_pos_free(t->pos[i]);
        topic_free(t);
    }
}
