#include "keys.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 64 << 10 };

struct fm_key_block {
    struct fm_key_block *next;
    uint32_t used, known; /* bytes; keys that are not forgotten yet */
    alignas(struct fm_key) uint8_t bytes[BLOCK_BYTES];
};

struct name { /* of a key: what `bytes` holds */
    unsigned n, hash;
    uint8_t bytes[1 + FM_TOPIC_MAX + FM_KEY_MAX];
};

static void name_of(struct name *name, struct fm_slice topic, struct fm_slice key)
{
    assert(topic.n <= FM_TOPIC_MAX && key.n >= 1 && key.n <= FM_KEY_MAX);
    name->n = (unsigned)(1 + topic.n + key.n);
    name->bytes[0] = (uint8_t)topic.n; /* so that no topic and key can stand for another topic and key */
    memcpy(name->bytes + 1, topic.p, topic.n);
    memcpy(name->bytes + 1 + topic.n, key.p, key.n);
    HASH_VALUE(name->bytes, name->n, name->hash);
}

static struct fm_key *find(struct fm_key *table, const struct name *name)
{
    struct fm_key *k;
    HASH_FIND_BYHASHVALUE(hh, table, name->bytes, name->n, name->hash, k);
    return k;
}

static bool is_of(const struct fm_key *k, const struct fm_msg *m)
{
    return k->id.origin == m->id.origin && k->id.seq == m->id.seq;
}

static uint64_t size_of(const struct fm_key *k)
{
    return sizeof *k + k->hh.keylen + FM_KEY_BESIDES;
}

static void held_remove(struct fm_keys *keys, struct fm_key *k)
{
    HASH_DELETE(hh, keys->held, k);
    keys->held_bytes -= size_of(k);
}

static size_t room_of(const struct fm_key *k)
{
    size_t n = sizeof *k + k->hh.keylen, odd = n % alignof(struct fm_key);
    return odd ? n + alignof(struct fm_key) - odd : n;
}

/* Room behind the key that went last. NULL: no memory. */
static struct fm_key *gone_room(struct fm_keys *keys, size_t n)
{
    struct fm_key_block *b = keys->newest;
    if (!b || b->used + n > sizeof b->bytes) {
        b = malloc(sizeof *b);
        if (!b)
            return NULL;
        b->next = NULL;
        b->used = b->known = 0;
        *(keys->newest ? &keys->newest->next : &keys->oldest) = b;
        keys->newest = b;
    }
    struct fm_key *k = (struct fm_key *)(void *)(b->bytes + b->used);
    b->used += (uint32_t)n;
    b->known++;
    return k;
}

/* The first that went. */
static void gone_forget(struct fm_keys *keys)
{
    struct fm_key *k = keys->gone;
    HASH_DELETE(hh, keys->gone, k);
    keys->gone_bytes -= size_of(k);
    struct fm_key_block *b = keys->oldest;
    if (--b->known > 0)
        return;
    keys->oldest = b->next;
    if (b == keys->newest)
        keys->newest = NULL;
    free(b);
}

void fm_keys_fini(struct fm_keys *keys)
{
    while (keys->held) {
        struct fm_key *k = keys->held;
        held_remove(keys, k);
        free(k);
    }
    while (keys->gone)
        gone_forget(keys);
    assert(keys->held_bytes == 0 && keys->gone_bytes == 0);
}

static struct fm_key *find_any(const struct fm_keys *keys, const struct name *name)
{
    struct fm_key *k = find(keys->held, name);
    return k ? k : find(keys->gone, name);
}

const struct fm_id *fm_keys_find(const struct fm_keys *keys, struct fm_slice topic, struct fm_slice key)
{
    struct name name;
    name_of(&name, topic, key);
    const struct fm_key *k = find_any(keys, &name);
    return k ? &k->id : NULL;
}

bool fm_keys_add(struct fm_keys *keys, const struct fm_msg *m)
{
    struct name name;
    name_of(&name, fm_msg_topic(m), fm_msg_key(m));
    struct fm_key *k = find_any(keys, &name);
    if (k)
        return is_of(k, m);
    k = calloc(1, sizeof *k + name.n);
    if (!k)
        return true; /* the client helper still drops a double by its key */
    k->id = m->id;
    k->born_ms = m->born_ms;
    memcpy(k->bytes, name.bytes, name.n);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, keys->held, k->bytes, name.n, name.hash, k);
    keys->held_bytes += size_of(k);
    return true;
}

bool fm_keys_leave(struct fm_keys *keys, const struct fm_msg *m, bool keep)
{
    struct name name;
    name_of(&name, fm_msg_topic(m), fm_msg_key(m));
    struct fm_key *k = find(keys->held, &name), *moved = NULL;
    if (!k || !is_of(k, m))
        return true;
    held_remove(keys, k);
    if (keep && (moved = gone_room(keys, room_of(k))) != NULL) {
        memcpy(moved, k, sizeof *k + name.n);
        HASH_ADD_KEYPTR_BYHASHVALUE(hh, keys->gone, moved->bytes, name.n, name.hash, moved);
        keys->gone_bytes += size_of(moved);
    }
    free(k);
    return !keep || moved;
}

uint64_t fm_keys_expire(struct fm_keys *keys, int64_t now_ms, uint64_t age_ms, uint64_t bytes_max)
{
    uint64_t early = 0;
    while (keys->gone) {
        bool old = now_ms - keys->gone->born_ms >= (int64_t)age_ms;
        if (!old && keys->gone_bytes <= bytes_max)
            break;
        early += !old;
        gone_forget(keys);
    }
    return early;
}
