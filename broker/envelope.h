/* The envelope: what crosses the mesh, on both planes. Encoded, sealed, opened, parsed; every parser is bounded and fuzzed.
 *
 *   outer header (28 bytes, clear, authenticated): magic "FM" | version u8 (5) | flags u8 (1: sealed) | plane u8 | 3 zero bytes |
 *     cluster tag u32 (a hash of the cluster's name, so that a wrong name is told apart from a wrong secret) | sender's incarnation u64 |
 *     counter u64
 *   body: type u8 and its fields. Sealed: ciphertext of the same length, then a 16-byte tag.
 *
 * Sealing is ChaCha20-Poly1305; the key is HKDF-SHA256(secret, salt = cluster name, info = "fanmesh mesh 1" | plane | incarnation of the
 * sender); the nonce is the counter. So a node never uses a nonce twice with a key: its incarnation is new at every start and the counter
 * of a plane only grows. It grows by one, so a receiver sees how many were dropped on a link. The answer to an ask is bound to it: the
 * asker's incarnation and counter are authenticated with it. What goes in clear is bound to nothing.
 *
 * All integers are little-endian, varints are LEB128, texts and payloads a varint length and their bytes. seal.c holds the outer part,
 * envelope.c the bodies.
 *
 * -- owner only -- */
#pragma once

#include "msg.h"
#include "presence.h"
#include "vector.h"

enum fm_plane { FM_PLANE_BUS = 1, FM_PLANE_ASK = 2, FM_PLANE_ANSWER = 3, FM_PLANES = 3 };

enum fm_envelope_type {
    FM_ENV_HELLO = 1, /* who I am, where I listen, whom I know; after every new link */
    FM_ENV_STATE = 2, /* heartbeat and acknowledgement */
    FM_ENV_RANGE = 3, /* messages of one origin: live batches, and the answer to a pull */
    FM_ENV_PULL = 4,  /* asks for a range */
    FM_ENV_BYE = 5,   /* the sender leaves for good */

    FM_ENV_PRESENCE = 6,      /* presences of one origin: what has just changed, and the answer to a pull of them */
    FM_ENV_PRESENCE_PULL = 7, /* asks for them */

    FM_ENV_PARCEL = 16, /* asks to hand bytes to workers */
    FM_ENV_TAKEN = 17,  /* the answer to that */
};

#define FM_AGE_MAX (UINT64_C(1) << 48)  /* ms: older than anything */
#define FM_TIME_MAX (UINT64_C(1) << 60) /* ms of the cluster's time: later than anything */

enum { FM_PARCEL_BYTES_MAX = FM_PAYLOAD_MAX + (1 << 20) };

enum { FM_ENV_HEADER = 28, FM_ENV_TAG = 16, FM_ADDRESS_MAX = 63, FM_NAME_MAX = 63, FM_PEERS_MAX = 128 };

/* ---- sealing ---- */

struct fm_seal; /* keys and the own counter */

/* secret.n == 0: envelopes go in clear. incarnation: the own one. FM_E_INVALID: incarnation 0, or a cluster name that is empty or longer
 * than FM_NAME_MAX. FM_E_IO: the machine's OpenSSL lacks the algorithms; the log says which. */
FM_MUST_CHECK enum fm_err fm_seal_new(struct fm_seal **seal, struct fm_slice cluster, struct fm_slice secret, uint64_t incarnation);
void fm_seal_free(struct fm_seal **seal);

struct fm_env_bind { /* what an answer is bound to; zeros elsewhere */
    uint64_t incarnation, counter;
};

/* Wraps `body` for `plane` into `out` (cleared first). *counter (may be NULL): the counter that it got; counters start at 1 and grow by one
 * within a plane. */
FM_MUST_CHECK enum fm_err fm_seal_close(struct fm_seal *seal, enum fm_plane plane, struct fm_env_bind bind, struct fm_slice body,
                                        struct fm_buf *out, uint64_t *counter);

struct fm_env {
    enum fm_plane plane;
    uint64_t incarnation, counter;
    struct fm_slice body; /* points into the buffer given to fm_seal_open, decrypted in place */
};

/* Opens what arrived. FM_E_SHORT, FM_E_SYNTAX (not an envelope, or one of another plane), FM_E_VERSION, FM_E_CLUSTER, FM_E_AUTH (wrong
 * secret, tampered, or clear where sealed is required, or the reverse); after FM_E_AUTH the bytes are worthless. Does not look at the order
 * of counters: replay is the caller's check (FM_E_REPLAY), since it depends on the plane. */
FM_MUST_CHECK enum fm_err fm_seal_open(struct fm_seal *seal, enum fm_plane plane, struct fm_env_bind bind, uint8_t *bytes, size_t n,
                                       struct fm_env *env);

/* ---- bodies ---- */

/* A writer appends to `b`; b->failed tells the want of memory. A reader answers FM_E_SYNTAX to everything that no writer writes, also to
 * what is cut short or followed by more. Slices in what it filled point into `body`. */

/* The type of a body, 0 if it is empty. */
enum fm_envelope_type fm_env_type(struct fm_slice body);

struct fm_env_peer {
    uint64_t incarnation;           /* never 0 */
    struct fm_slice name, bus, ask; /* text without control characters, at most FM_NAME_MAX and FM_ADDRESS_MAX bytes; may be empty */
};

struct fm_env_hello {
    struct fm_env_peer self;
    uint32_t n;
    struct fm_env_peer peers[FM_PEERS_MAX];
};

void fm_env_hello_write(struct fm_buf *b, const struct fm_env_hello *h);
FM_MUST_CHECK enum fm_err fm_env_hello_read(struct fm_slice body, struct fm_env_hello *h);

enum fm_env_state_flag { FM_STATE_READY = 1, FM_STATE_DRAINING = 2, FM_STATE_FULL = 4 };

struct fm_env_position {
    uint64_t origin;
    uint64_t contig;   /* the sender has everything of the origin up to here, */
    uint64_t passed;   /* ... and stored what lies above this one of it; below, some was gone before it could have it. At most contig */
    uint64_t counter;  /* highest bus-plane counter that the sender saw from this incarnation; 0: none */
    uint64_t idle_s;   /* seconds since the sender last heard anything of it; 0 for a live node */
    uint64_t presence; /* version up to which the sender has its presences */
    uint64_t near;     /* the sender heard the node itself near - 1 ms ago; 0: it is not linked to it, or is it */
};

/* How the sender does, for people who ask another node. clients: connected now. missing: messages that it knows of and has not, now. Since
 * its start: messages that came by repair, envelopes of the mesh that a full queue dropped, gaps told to its subscribers, times that a
 * client fell behind or was cut off for that. */
#define FM_ENV_LOAD(X) X(clients) X(missing) X(repaired) X(dropped) X(gaps) X(slow)

struct fm_env_load {
#define X(name) uint64_t name;
    FM_ENV_LOAD(X)
#undef X
};

struct fm_env_state {
    struct fm_env_load load;
    uint32_t flags;   /* FULL: `at` names every origin that the sender knows; else only some */
    uint64_t time_ms; /* the cluster's; before the two others something died that is forgotten, or not named any more: see asof.c */
    uint64_t blind_ms, unnamed_ms;
    uint32_t n;
    struct fm_env_position at[FM_CURSOR_MAX];
};

void fm_env_state_write(struct fm_buf *b, const struct fm_env_state *s);
FM_MUST_CHECK enum fm_err fm_env_state_read(struct fm_slice body, struct fm_env_state *s);

struct fm_env_pull {
    uint64_t origin, from, to; /* 1 <= from <= to */
};

void fm_env_pull_write(struct fm_buf *b, const struct fm_env_pull *p);
FM_MUST_CHECK enum fm_err fm_env_pull_read(struct fm_slice body, struct fm_env_pull *p);

/*   flags varint | origin u64 | from varint | upto u64 | contig varint | forgotten varint | lost varint | records | a zero byte
 *   message: 1 | seq minus the last message's (the first: minus from - 1) | seq minus prev | ts_ms | age_ms | flags | topic | event | key |
 *            conflation key | payload
 *   tomb:    2 | topic | seq
 * A range speaks with authority about from..upto: what is not in it is not to be had from the sender. Messages beyond upto may be in it
 * too. A tomb says: of this topic everything up to seq is evicted. forgotten: topics that are not even named any more had evicted
 * messages up to here. lost: a hole up to here was given up; nobody knows which topics it concerned, so it may have been any. */
enum fm_env_range_flag { FM_RANGE_SOON = 1 }; /* somebody waits for it to be acknowledged */

struct fm_env_range {
    uint64_t flags, origin, from, upto, contig, forgotten, lost; /* upto may be from - 1: nothing to say */
    uint64_t last_seq;                                           /* reading: of the last message, from - 1 before the first */
    struct fm_rd rest;                                           /* reading: what follows */
};

enum fm_env_record { FM_RECORD_END, FM_RECORD_MSG, FM_RECORD_TOMB };

struct fm_env_record_view { /* points into the body */
    enum fm_env_record kind;
    uint64_t seq, prev, ts_ms;
    uint64_t age_ms; /* since it was accepted, when this was sent; at most FM_AGE_MAX */
    uint32_t flags;
    struct fm_slice topic, event, payload;
    struct fm_msg_keys keys;
};

/* Writing: begin (with what r says, but for upto), messages with ascending seq and tombs in any order, then finish, which fills in upto. */
struct fm_env_range_writer {
    struct fm_buf *b;
    size_t upto_at; /* where finish puts upto (u64, fixed width) */
    uint64_t last_seq;
};

void fm_env_range_begin(struct fm_env_range_writer *w, struct fm_buf *b, const struct fm_env_range *r);
void fm_env_range_msg(struct fm_env_range_writer *w, const struct fm_msg *m, uint64_t age_ms);
void fm_env_range_tomb(struct fm_env_range_writer *w, struct fm_slice topic, uint64_t seq);
void fm_env_range_finish(struct fm_env_range_writer *w, uint64_t upto);

FM_MUST_CHECK enum fm_err fm_env_range_read(struct fm_slice body, struct fm_env_range *r);
/* The next record; rec->kind is FM_RECORD_END after the last, again and again. Checks: messages' seq ascending and >= from, prev < seq,
 * lengths within the FM_*_MAX limits. Tombs stand anywhere, in any order, and may lie below `from`. */
FM_MUST_CHECK enum fm_err fm_env_range_next(struct fm_env_range *r, struct fm_env_record_view *rec);

struct fm_env_parcel {
    uint32_t worker;
    struct fm_slice bytes; /* at most FM_PARCEL_BYTES_MAX */
};

/* A body of parcels: begin, then each; reading: all of them, which are known to be sound then, and one after another. */
void fm_env_parcels_begin(struct fm_buf *b);
void fm_env_parcel_write(struct fm_buf *b, const struct fm_env_parcel *p);
FM_MUST_CHECK enum fm_err fm_env_parcels_read(struct fm_slice body, struct fm_slice *all);
FM_MUST_CHECK enum fm_err fm_env_parcel_next(struct fm_slice *rest, struct fm_env_parcel *p);
void fm_env_taken_write(struct fm_buf *b);
FM_MUST_CHECK enum fm_err fm_env_taken_read(struct fm_slice body);

void fm_env_bye_write(struct fm_buf *b, uint64_t seq);
FM_MUST_CHECK enum fm_err fm_env_bye_read(struct fm_slice body, uint64_t *seq);

/* ---- presences (presence_core.h says what a version is) ---- */

/*   flags varint | origin u64 | from varint | upto u64 | base varint | records | a zero byte
 *   set:  1 | version minus the last one's (the first: minus from) | id | version minus ref | ref minus prev, or 0 | topic | key | meta
 *   gone: 2 | version minus the last one's | id
 *   passed on: 3 | version minus the last one's | id | heir's origin u64 | heir's id
 * What changed above `from`, up to `upto`, by version. An empty topic is the one before. WHOLE: the set from its beginning; what is not
 * named by the end of its last page is gone; base: the sender's version, up to where tombstones may be missing. LAST: the sender has no
 * more. */
enum fm_env_presence_flag { FM_PRESENCE_WHOLE = 1, FM_PRESENCE_LAST = 2 };

struct fm_env_presence {
    uint64_t flags, origin, from, upto, base;
    uint64_t last_ver;     /* reading: of the last record, `from` before the first */
    struct fm_slice topic; /* reading: of the last record */
    struct fm_rd rest;     /* reading: what follows */
};

struct fm_pheir {        /* who came in the place of one that is gone: a presence of any origin */
    uint64_t origin, id; /* origin 0: nobody is known to have */
};

struct fm_env_presence_record { /* points into the body */
    uint64_t ver, id;
    bool gone;
    struct fm_pheir heir; /* of one that is gone */
    uint64_t ref, prev;   /* prev 0: it is the first */
    struct fm_slice topic, key, meta;
};

struct fm_env_presence_writer {
    struct fm_buf *b;
    size_t flags_at, upto_at;
    uint64_t last_ver;
    struct fm_slice topic;
};

void fm_env_presence_begin(struct fm_env_presence_writer *w, struct fm_buf *b, const struct fm_env_presence *p);
/* Versions ascend. */
void fm_env_presence_put(struct fm_env_presence_writer *w, const struct fm_env_presence_record *rec);
void fm_env_presence_finish(struct fm_env_presence_writer *w, uint64_t flags, uint64_t upto);

FM_MUST_CHECK enum fm_err fm_env_presence_read(struct fm_slice body, struct fm_env_presence *p);
/* *more false: that was the last. Checks: versions ascend and lie within from..upto, lengths, and that a meta looks like an object. */
FM_MUST_CHECK enum fm_err fm_env_presence_next(struct fm_env_presence *p, struct fm_env_presence_record *rec, bool *more);

struct fm_env_presence_pull { /* what changed since `since`; of a set that is being pulled whole, what it was told of base */
    uint64_t origin, since, base;
};

void fm_env_presence_pull_write(struct fm_buf *b, const struct fm_env_presence_pull *p);
FM_MUST_CHECK enum fm_err fm_env_presence_pull_read(struct fm_slice body, struct fm_env_presence_pull *p);
