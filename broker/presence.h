/* Presence: who is on a topic, on all nodes. What crosses between workers and the hub; the sets themselves are the hub's (presence_core.h).
 *
 * A presence is one meta (a JSON object) under a key, held by one channel of one node. Several may have one key: a user with two tabs. Its
 * phx_ref names the meta, and is new whenever the meta is. */
#pragma once

#include "bytes.h"
#include "inbox.h"
#include "msg.h"

enum { FM_PRESENCE_KEY_MAX = 255 };
#define FM_PRESENCE_META_MAX (64u << 10) /* bytes; the most that any setting allows: several must fit into an envelope */
enum { FM_PRESENCE_REF_MAX = FM_ID_TEXT_MAX };

enum fm_track_op {
    FM_TRACK,        /* shows `meta` under `key`, or changes what the holder shows, or with a ttl_ms the API */
    FM_UNTRACK,      /* shows it no more, at once */
    FM_TRACK_LINGER, /* the holder is gone, and may be back under the same key within the grace */
    FM_PRESENCE_WATCH /* the worker wants the topic's state, and then its diffs */,
    FM_PRESENCE_UNWATCH,
};

struct fm_track { /* FM_HUB_TRACK: worker -> hub, and back if it has a token */
    struct fm_item item;
    enum fm_track_op op;
    uint32_t worker;
    uint64_t token;  /* the worker's name for the request, echoed; 0: no answer wanted */
    uint64_t holder; /* who shows it: the worker's name for a subscription, unique on the node. Of WATCH, UNWATCH: a number that grows */
    uint64_t ttl_ms; /* of TRACK: not 0: the API shows it, for so long; there is no holder then, but a key */
    enum fm_err err; /* out, of TRACK: FM_OK, FM_E_PRESENCE_FULL, FM_E_NOMEM, FM_E_DRAINING; with a ttl_ms FM_E_NOT_READY, too */
    char ref[FM_PRESENCE_REF_MAX + 1]; /* out: its phx_ref, */
    char own_key[FM_PRESENCE_KEY_MAX]; /* ... and its key, where none was given */
    uint32_t own_key_n;
    bool by_backend; /* the worker's own */
    uint32_t topic_n, key_n, meta_n, cookie_n;
    uint8_t bytes[]; /* one after another; key empty: one that nobody else has. cookie: the worker's own, echoed */
};

struct fm_track_parts {
    struct fm_slice topic, key, meta, cookie;
};

/* NULL without memory. */
struct fm_track *fm_track_new(enum fm_track_op op, uint32_t worker, uint64_t holder, const struct fm_track_parts *parts);

static inline struct fm_slice fm_track_topic(const struct fm_track *t)
{
    return fm_slice_of(t->bytes, t->topic_n);
}

static inline struct fm_slice fm_track_key(const struct fm_track *t)
{
    return fm_slice_of(t->bytes + t->topic_n, t->key_n);
}

static inline struct fm_slice fm_track_meta(const struct fm_track *t)
{
    return fm_slice_of(t->bytes + t->topic_n + t->key_n, t->meta_n);
}

static inline struct fm_slice fm_track_cookie(const struct fm_track *t)
{
    return fm_slice_of(t->bytes + t->topic_n + t->key_n + t->meta_n, t->cookie_n);
}

/* FM_HUB_PRESENCE: hub -> worker. The state of a topic, for who has none yet: what came before it is in it, each diff that follows it in
 * the inbox comes after it. The first message is the event presence_state, each other one a presence_diff of what did not fit. Diffs for
 * everyone come as FM_HUB_MSG. */
struct fm_presence_state {
    struct fm_item item;
    uint64_t heard; /* `holder` of the last WATCH or UNWATCH of this worker that came before it: one of a later WATCH is still to come */
    uint32_t n;
    struct fm_msg *msgs[]; /* references */
};

/* Such a message is no publish: it has no id, moves no position and can't be had again. */
static inline bool fm_msg_of_presence(const struct fm_msg *m)
{
    return m->id.origin == 0;
}
