/* A message: immutable once it has its id, reference-counted, shared by every thread of the node. One allocation holds all.
 *
 * Life: whoever accepts a publish makes it with fm_msg_new (no id yet, one reference); the hub, still the only holder, gives it
 * origin, seq, prev and ts_ms with fm_msg_accept; from then on nobody writes to it.
 *
 * -- any thread -- */
#pragma once

#include "bytes.h"
#include "fanmesh/cursor.h"

#include <stdatomic.h>

enum {
    FM_TOPIC_MAX = 255, /* bytes; the binary Phoenix frames have one byte for it */
    FM_EVENT_MAX = 255,
    FM_USER_MAX = 255,         /* bytes of a user's name */
    FM_KEY_MAX = 128,          /* bytes of an idempotency key, and of a conflation key */
    FM_PAYLOAD_MAX = 16 << 20, /* the most that any setting allows */
};

enum fm_msg_flag {
    FM_MSG_BINARY = 1, /* the payload is bytes; otherwise it is one JSON value, kept as it came */
};

struct fm_msg {
    atomic_uint refs;
    uint32_t flags; /* enum fm_msg_flag; goes over the mesh */
    struct fm_id id;
    uint64_t prev;  /* the origin's previous seq on this topic, 0: none */
    uint64_t ts_ms; /* Unix time at the origin when it was accepted; never falls within an origin */
    /* This node only: its steady clock when the message was accepted, wherever that was; may lie before the clock's zero. */
    int64_t born_ms;
    uint64_t from; /* this node only: the subscription that does not get it (push = others), 0: everyone does */
    uint32_t topic_n, event_n, payload_n;
    uint16_t key_n, conflation_key_n;
    uint8_t
        bytes[]; /* topic, event, key, conflation key, payload, one after another; then a zero byte, for who reads the payload as text */
};

struct fm_msg_keys {             /* both may be empty */
    struct fm_slice idempotency; /* a second message with it, on one topic, is a retry of the first */
    struct fm_slice conflation;  /* a newer message with it, on one topic, replaces an older one for a client that is behind */
};

/* One reference, or NULL without memory. The lengths have been checked by the caller (asserted). */
struct fm_msg *fm_msg_new(struct fm_slice topic, struct fm_slice event, struct fm_msg_keys keys, struct fm_slice payload, uint32_t flags);
/* Gives an unshared message its place. */
void fm_msg_accept(struct fm_msg *m, struct fm_id id, uint64_t prev, uint64_t ts_ms);
struct fm_msg *fm_msg_ref(struct fm_msg *m);
void fm_msg_unref(struct fm_msg **m);

static inline struct fm_slice fm_msg_topic(const struct fm_msg *m)
{
    return fm_slice_of(m->bytes, m->topic_n);
}

static inline struct fm_slice fm_msg_event(const struct fm_msg *m)
{
    return fm_slice_of(m->bytes + m->topic_n, m->event_n);
}

static inline struct fm_slice fm_msg_key(const struct fm_msg *m)
{
    return fm_slice_of(m->bytes + m->topic_n + m->event_n, m->key_n);
}

static inline struct fm_slice fm_msg_conflation_key(const struct fm_msg *m)
{
    return fm_slice_of(m->bytes + m->topic_n + m->event_n + m->key_n, m->conflation_key_n);
}

static inline struct fm_msg_keys fm_msg_keys(const struct fm_msg *m)
{
    return (struct fm_msg_keys){fm_msg_key(m), fm_msg_conflation_key(m)};
}

static inline struct fm_slice fm_msg_payload(const struct fm_msg *m)
{
    return fm_slice_of(m->bytes + m->topic_n + m->event_n + m->key_n + m->conflation_key_n, m->payload_n);
}

/* Bytes that a message with so many in its parts costs in memory: what retention and inbox limits count. */
static inline size_t fm_msg_size_for(size_t parts)
{
    return sizeof(struct fm_msg) + parts + 1;
}

static inline size_t fm_msg_size(const struct fm_msg *m)
{
    return fm_msg_size_for((size_t)m->topic_n + m->event_n + m->key_n + m->conflation_key_n + m->payload_n);
}

/* A topic whose name begins with a zero byte belongs to the node's probe of itself (gateway/probe/probe.h): no rule matches such a name, so
 * nobody else can join it, publish to it or ask for it. */
static inline bool fm_topic_of_probe(struct fm_slice topic)
{
    return topic.n && topic.p[0] == 0;
}

/* True for events that a client or backend may not send: phx_*, chan_reply_*, presence_*, fm_*, gap, system. */
bool fm_event_reserved(struct fm_slice event);
