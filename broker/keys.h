/* Idempotency keys: which message had a key first on its topic. A key is known as long as its message is held, and then by itself: a
 * message that has to go early, for want of memory, must not let its retry be taken for new. What is known by itself is bounded in bytes,
 * and with them in number; what went first is forgotten first.
 *
 * Keys of messages that are gone stand one after another in blocks, in the order in which they are forgotten: they live far longer than
 * messages, and each by itself in the midst of these would keep the memory around it from being given back.
 *
 * What is counted for a key is what it costs (within 5 % with glibc's allocator): some 110 bytes, topic and key.
 *
 * -- owner only -- */
#pragma once

#include "msg.h"
#include "table.h"

struct fm_key {
    UT_hash_handle hh;
    struct fm_id id;
    int64_t born_ms; /* of the message */
    uint8_t bytes[]; /* the topic's length, topic, key */
};

enum { FM_KEY_BESIDES = 28 }; /* bytes of allocator and table for each, as measured */

struct fm_key_block;

/* Zero-initialised is empty. */
struct fm_keys {
    struct fm_key *held;                  /* their messages are held */
    struct fm_key *gone;                  /* ... are not any more; in the order in which these went */
    struct fm_key_block *oldest, *newest; /* of those gone */
    uint64_t held_bytes, gone_bytes;
};

void fm_keys_fini(struct fm_keys *keys);
/* The first message that had the key; NULL: nobody is known to have had it. Valid until the next call. */
const struct fm_id *fm_keys_find(const struct fm_keys *keys, struct fm_slice topic, struct fm_slice key);
/* `m` is held from now on. false: another message had its key before. Without memory a later double is not recognised. */
FM_MUST_CHECK bool fm_keys_add(struct fm_keys *keys, const struct fm_msg *m);
/* `m` goes. keep: its key stays known, else it goes too. A no-op where another message had the key first. false: it was to be kept, and
 * there was no memory. */
FM_MUST_CHECK bool fm_keys_leave(struct fm_keys *keys, const struct fm_msg *m, bool keep);
/* Of those whose messages are gone: forgets what was born `age_ms` ago or earlier, and the first to go beyond bytes_max. Returns how many
 * were forgotten before that age. */
uint64_t fm_keys_expire(struct fm_keys *keys, int64_t now_ms, uint64_t age_ms, uint64_t bytes_max);
