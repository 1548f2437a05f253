#include "tally.h"

#include "../../broker/table.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

enum { SHARDS = 64 };

struct entry {
    UT_hash_handle hh;
    uint32_t n;
    uint8_t key[];
};

struct fm_tally {
    struct shard {
        pthread_mutex_t lock;
        struct entry *entries;
    } shards[SHARDS];
};

struct fm_tally *fm_tally_new(void)
{
    struct fm_tally *t = calloc(1, sizeof *t);
    for (size_t i = 0; t && i < SHARDS; i++)
        pthread_mutex_init(&t->shards[i].lock, NULL);
    return t;
}

void fm_tally_free(struct fm_tally **tp)
{
    struct fm_tally *t = *tp;
    *tp = NULL;
    if (!t)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        struct entry *e, *next;
        HASH_ITER (hh, t->shards[i].entries, e, next) {
            HASH_DEL(t->shards[i].entries, e);
            free(e);
        }
        pthread_mutex_destroy(&t->shards[i].lock);
    }
    free(t);
}

static struct shard *shard_lock(struct fm_tally *t, struct fm_slice key, unsigned *hash)
{
    HASH_VALUE(key.p, key.n, *hash);
    struct shard *s = &t->shards[*hash >> 16 & (SHARDS - 1)]; /* the table itself goes by the lower bits */
    pthread_mutex_lock(&s->lock);
    return s;
}

static struct entry *find(const struct shard *s, struct fm_slice key, unsigned hash)
{
    struct entry *e;
    HASH_FIND_BYHASHVALUE(hh, s->entries, key.p, key.n, hash, e);
    return e;
}

static enum fm_err take(struct shard *s, struct fm_slice key, unsigned hash, uint32_t max)
{
    struct entry *e = find(s, key, hash);
    if (e && e->n >= max)
        return FM_E_BUSY;
    if (!e) {
        e = calloc(1, sizeof *e + key.n);
        if (!e)
            return FM_E_NOMEM;
        memcpy(e->key, key.p, key.n);
        HASH_ADD_KEYPTR_BYHASHVALUE(hh, s->entries, e->key, key.n, hash, e);
    }
    e->n++;
    return FM_OK;
}

enum fm_err fm_tally_take(struct fm_tally *t, struct fm_slice key, uint32_t max)
{
    unsigned hash;
    assert(key.n > 0 && max > 0);
    struct shard *s = shard_lock(t, key, &hash);
    enum fm_err err = take(s, key, hash, max);
    pthread_mutex_unlock(&s->lock);
    return err;
}

void fm_tally_give(struct fm_tally *t, struct fm_slice key)
{
    unsigned hash;
    struct shard *s = shard_lock(t, key, &hash);
    struct entry *e = find(s, key, hash);
    assert(e && e->n > 0);
    if (--e->n == 0) {
        HASH_DEL(s->entries, e);
        free(e);
    }
    pthread_mutex_unlock(&s->lock);
}

uint32_t fm_tally_of(struct fm_tally *t, struct fm_slice key)
{
    unsigned hash;
    struct shard *s = shard_lock(t, key, &hash);
    const struct entry *e = find(s, key, hash);
    uint32_t n = e ? e->n : 0;
    pthread_mutex_unlock(&s->lock);
    return n;
}
