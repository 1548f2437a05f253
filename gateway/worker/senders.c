#include "senders.h"

#include "../../broker/msg.h"
#include "../../broker/table.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { KEY_MAX = 3 + 1 + FM_USER_MAX + FM_TOPIC_MAX };

struct entry {
    UT_hash_handle hh; /* in the order in which they were looked at */
    struct fm_bucket bucket;
    uint64_t turn; /* of the last request that it gave to */
    uint16_t key_n;
    uint8_t key[];
};

struct fm_senders {
    pthread_mutex_t lock;
    struct entry *table;
    _Atomic uint64_t turn; /* counts what was asked for */
};

struct fm_senders *fm_senders_new(void)
{
    struct fm_senders *s = calloc(1, sizeof *s);
    if (s)
        pthread_mutex_init(&s->lock, NULL);
    return s;
}

void fm_senders_free(struct fm_senders **sp)
{
    struct fm_senders *s = *sp;
    struct entry *e, *next;
    *sp = NULL;
    if (!s)
        return;
    HASH_ITER (hh, s->table, e, next) {
        HASH_DEL(s->table, e);
        free(e);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

uint64_t fm_senders_turn(struct fm_senders *s)
{
    return atomic_fetch_add_explicit(&s->turn, 1, memory_order_relaxed) + 1;
}

/* No two of different kinds are the same: what limit, user or address, how long that is. */
static size_t key_write(uint8_t key[KEY_MAX], const struct fm_sender *who, struct fm_slice topic, enum fm_limit limit)
{
    struct fm_slice of = who->user.n ? who->user : fm_limits_address_key(&who->peer->ip);
    size_t n = 0;
    assert(of.n <= FM_USER_MAX && topic.n <= FM_TOPIC_MAX);
    key[n++] = (uint8_t)limit;
    key[n++] = who->user.n ? 'u' : 'a';
    key[n++] = (uint8_t)of.n;
    key[n++] = topic.n ? 't' : '*';
    memcpy(key + n, of.p, of.n);
    n += of.n;
    if (topic.n)
        memcpy(key + n, topic.p, topic.n);
    return n + topic.n;
}

static struct entry *entry_new(const uint8_t *key, size_t n)
{
    struct entry *e = calloc(1, sizeof *e + n);
    if (!e)
        return NULL;
    e->key_n = (uint16_t)n;
    memcpy(e->key, key, n);
    return e;
}

static struct entry *entry_get(struct fm_senders *s, const uint8_t *key, size_t n)
{
    struct entry *e;
    HASH_FIND(hh, s->table, key, (unsigned)n, e);
    if (e)
        HASH_DEL(s->table, e);
    else
        e = entry_new(key, n);
    if (!e)
        return NULL;
    if (HASH_COUNT(s->table) >= FM_SENDERS_MAX) {
        struct entry *oldest = s->table;
        HASH_DEL(s->table, oldest);
        free(oldest);
    }
    HASH_ADD_KEYPTR(hh, s->table, e->key, e->key_n, e);
    return e;
}

static enum fm_err take(struct fm_senders *s, uint64_t turn, struct fm_slice key, bool of_topic, struct fm_rate rate, uint64_t n,
                        uint64_t now_ms, uint32_t *retry_ms)
{
    struct fm_bucket refused = {0};
    struct entry *e = entry_get(s, key.p, key.n);
    if (!e)
        return FM_E_NOMEM;
    if (of_topic && e->turn == turn) {
        fm_bucket_owe(&e->bucket, rate, n, now_ms);
        return FM_OK;
    }
    if (fm_bucket_take(&e->bucket, &refused, rate, n, now_ms, retry_ms) != FM_BUCKET_GIVES)
        return FM_E_RATE_LIMITED;
    e->turn = turn;
    return FM_OK;
}

enum fm_err fm_senders_take(struct fm_senders *s, uint64_t turn, const struct fm_sender *who, struct fm_slice topic, enum fm_limit limit,
                            struct fm_rate rate, uint64_t n, uint64_t now_ms, uint32_t *retry_ms)
{
    uint8_t key[KEY_MAX];
    *retry_ms = 0;
    if (rate.per_s == 0)
        return FM_OK;
    struct fm_slice of = fm_slice_of(key, key_write(key, who, topic, limit));
    pthread_mutex_lock(&s->lock);
    enum fm_err err = take(s, turn, of, topic.n > 0, rate, n, now_ms, retry_ms);
    pthread_mutex_unlock(&s->lock);
    return err;
}
