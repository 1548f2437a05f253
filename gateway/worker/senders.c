#include "senders.h"

#include "../../broker/msg.h"
#include "../../broker/table.h"

#include <assert.h>
#include <stdlib.h>

enum { KEY_MAX = 3 + 1 + FM_USER_MAX + FM_TOPIC_MAX };

struct fm_sender_entry {
    UT_hash_handle hh; /* in the order in which they were looked at */
    struct fm_bucket bucket;
    uint64_t turn; /* of the last request that it gave to */
    uint16_t key_n;
    uint8_t key[];
};

void fm_senders_turn(struct fm_senders *s)
{
    s->turn++;
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

static struct fm_sender_entry *entry_new(const uint8_t *key, size_t n)
{
    struct fm_sender_entry *e = calloc(1, sizeof *e + n);
    if (!e)
        return NULL;
    e->key_n = (uint16_t)n;
    memcpy(e->key, key, n);
    return e;
}

static struct fm_sender_entry *entry_get(struct fm_senders *s, const uint8_t *key, size_t n)
{
    struct fm_sender_entry *e;
    HASH_FIND(hh, s->table, key, (unsigned)n, e);
    if (e)
        HASH_DEL(s->table, e);
    else
        e = entry_new(key, n);
    if (!e)
        return NULL;
    if (HASH_COUNT(s->table) >= FM_SENDERS_MAX) {
        struct fm_sender_entry *oldest = s->table;
        HASH_DEL(s->table, oldest);
        free(oldest);
    }
    HASH_ADD_KEYPTR(hh, s->table, e->key, e->key_n, e);
    return e;
}

enum fm_err fm_senders_take(struct fm_senders *s, const struct fm_sender *who, struct fm_slice topic, enum fm_limit limit,
                            struct fm_rate rate, uint64_t n, uint64_t now_ms, uint32_t *retry_ms)
{
    uint8_t key[KEY_MAX];
    struct fm_bucket refused = {0};
    *retry_ms = 0;
    if (rate.per_s == 0)
        return FM_OK;
    struct fm_sender_entry *e = entry_get(s, key, key_write(key, who, topic, limit));
    if (!e)
        return FM_E_NOMEM;
    if (topic.n && e->turn == s->turn) {
        fm_bucket_owe(&e->bucket, rate, n, now_ms);
        return FM_OK;
    }
    if (fm_bucket_take(&e->bucket, &refused, rate, n, now_ms, retry_ms) != FM_BUCKET_GIVES)
        return FM_E_RATE_LIMITED;
    e->turn = s->turn;
    return FM_OK;
}

void fm_senders_fini(struct fm_senders *s)
{
    struct fm_sender_entry *e, *next;
    HASH_ITER (hh, s->table, e, next) {
        HASH_DEL(s->table, e);
        free(e);
    }
}
