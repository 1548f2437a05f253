/* Between a client connection and a wire protocol. A protocol turns bytes into channel operations (join, leave, push) and channel events
 * (joined, message, gap) into bytes; it knows neither libwebsockets nor threads. A socket is one client connection; a sub is one channel on
 * it.
 *
 * Who does what:
 *   edge_lws.c  reads frames and writes buffers        worker/intake.c  what comes from the hub
 *   worker/socket*.c  sockets, their subs, what a slow one still owes   worker/subs*.c  topic -> subs, one encoding a format a drain
 *   phoenix.c   this table for the Phoenix protocol
 *
 * -- the worker's thread only -- */
#pragma once

#include "../../broker/hub.h"
#include "../auth/identity.h"
#include "../http/ws_kind.h"
#include "limits.h"

struct fm_socket;
struct fm_worker;
struct fm_worker_config;

/* Encodings of a broadcast. Each is built at most once a drain, only if a subscriber needs it, and shared by all that do. */
enum fm_format {
    FM_FORMAT_PHX2,        /* [null,null,topic,event,payload], or a binary broadcast frame */
    FM_FORMAT_PHX2_CURSOR, /* [null,id,topic,event,payload]; after binary ones in a drain one text event fm_cursor */
    FM_FORMAT_PHX2_KEYS,   /* ... with the digest of the idempotency key behind the id; after each binary one a text event fm_id */
    FM_FORMAT_PHX1,        /* {"topic","event","payload","ref":null} */
    FM_FORMAT_PHX1_CURSOR, /* ... "ref":id */
    FM_FORMAT_SSE,         /* an event of a stream: sse/sse_wire.h */
    FM_FORMAT_SUPA2,       /* a Supabase client's broadcast, binary: 4, lengths, topic, event, metadata with the id, payload */
    FM_FORMAT_SUPA1,       /* {"topic","event":"broadcast","payload":{"type":"broadcast","event","payload","meta"},"ref":null} */
    FM_FORMAT_PHX2_USER,   /* ["fm_user",null,topic,event,payload]: the connection's, no channel's; bytes as PHX1 has them */
    FM_FORMATS
};

/* Complete WebSocket frames (server side, unmasked), one after another, shared by reference (frames.c). Where memory ran out,
 * bytes.failed is set and every later frame is left out: what is there still ends at a frame's end. */
struct fm_frames {
    uint32_t refs; /* of this worker's thread only */
    struct fm_buf bytes;
    uint32_t n, cap;
    struct fm_frame_mark {
        uint32_t end;       /* offset behind the frame */
        struct fm_msg *msg; /* what it carries, a reference; NULL for a frame that belongs to none (fm_cursor) */
    } * marks;
};

/* One reference, or NULL without memory. */
struct fm_frames *fm_frames_new(void);
struct fm_frames *fm_frames_ref(struct fm_frames *f);
void fm_frames_unref(struct fm_frames **f);
/* For frames that lie in another struct, or to use one again: drops the marks' messages and empties it; fini frees the memory besides. */
void fm_frames_reset(struct fm_frames *f);
void fm_frames_fini(struct fm_frames *f);

/* Appends one frame: header and payload. opcode: FM_WS_*, with FM_WS_PACKED where the payload is compressed. */
void fm_frames_add(struct fm_frames *f, unsigned opcode, struct fm_slice payload, const struct fm_msg *msg);
/* The same without a copy: what is written to f->bytes between open and close is the payload. `open` returns what `close` wants. */
size_t fm_frames_open(struct fm_frames *f);
void fm_frames_close(struct fm_frames *f, size_t opened, unsigned opcode, const struct fm_msg *msg);
/* Instead of close: it is to be none. */
void fm_frames_abandon(struct fm_frames *f, size_t opened);

/* Takes the next frame off complete ones: the kind and payload of what fm_frames_close made. false: none is left. */
static inline bool fm_frames_next(struct fm_slice *rest, unsigned *opcode, struct fm_slice *payload)
{
    if (rest->n < 2)
        return false;
    size_t header = rest->p[1] < 126 ? 2 : rest->p[1] == 126 ? 4 : 10, n = rest->p[1];
    for (size_t i = 2, long_n = 0; header > 2 && i < header; i++) {
        long_n = long_n << 8 | rest->p[i];
        n = long_n;
    }
    *opcode = rest->p[0] & 0x0f;
    *payload = fm_slice_of(rest->p + header, n);
    *rest = fm_slice_of(rest->p + header + n, rest->n - header - n);
    return true;
}

/* A long answer that is encoded while it is sent, so that no client's copy of it ever lies in memory whole. */
struct fm_source {
    uint32_t cost; /* bytes that it holds meanwhile: they count in the socket's outbox */
    /* Appends its next frames to f, about `bytes` of them, at least one if there is any. false: that was all. */
    bool (*more)(struct fm_source *source, struct fm_frames *f, size_t bytes);
    void (*free)(struct fm_source *source);
};

enum fm_own {                 /* does a channel get what it pushes itself? */
              FM_OWN_BY_RULE, /* as the topic's push_to says */
              FM_OWN_NO,
              FM_OWN_YES,
};

struct fm_sub { /* made by fm_socket_join; the protocol may read all and write what is marked */
    struct fm_socket *socket;
    struct fm_sub *next, **link; /* of the socket */
    struct fm_wtopic *topic;     /* subs.c's; NULL until joined */
    uint32_t slot;               /* in the topic's array */
    uint8_t format;              /* enum fm_format */
    bool joined;                 /* the hub has answered */
    bool cursor_channel;         /* asked for a cursor */
    bool watch;                  /* asked for presences */
    bool given;                  /* by the server (user_subs.c): no channel, and in none of the socket's lists */
    bool chooses;                /* of some messages it wants some, in a form of its own (fm_proto.chosen) */
    bool judge;                  /* the worker's: may it stay under the new rules? */
    uint8_t own;                 /* enum fm_own */
    uint8_t flags;               /* the protocol's own, as its join gave them */
    uint64_t id;                 /* unique on this node: also fm_msg.from of what it pushes to others */
    uint64_t tag;                /* fm_join_ask.tag */
    uint64_t asked_ms;           /* fm_mono_ms, when its client asked to join */
    struct fm_track *end;        /* it may be shown: what ends that, made beforehand. Usually NULL */
    struct fm_bucket pushes;     /* by its rule's own limit */
    struct fm_vector *skip;      /* usually NULL: not to be given messages up to these */
    struct fm_lag *lag;          /* usually NULL: it fell behind, and is given nothing until its socket has room again */
    const struct fm_rule *rule;  /* see fm_sub_rule */
    void *proto;                 /* the protocol's own, freed with free() */
    uint32_t rules_age;          /* of the worker, when `rule` was looked up */
    uint16_t topic_n, join_ref_n;
    uint8_t text[]; /* topic, then join_ref */
};

static inline struct fm_slice fm_sub_topic(const struct fm_sub *s)
{
    return fm_slice_of(s->text, s->topic_n);
}

static inline struct fm_slice fm_sub_join_ref(const struct fm_sub *s)
{
    return fm_slice_of(s->text + s->topic_n, s->join_ref_n);
}

struct fm_upgrade { /* what the edge knows of a client that asks for a WebSocket */
    struct fm_slice path, query, protocols /* Sec-WebSocket-Protocol, raw */, origin, host;
    bool secure;
    /* out, if accepted */
    const struct fm_proto *proto;
    uint32_t variant;      /* the protocol's own: the Phoenix version */
    char subprotocol[128]; /* to echo; empty: none */
    /* out, if refused */
    unsigned status;  /* HTTP status */
    enum fm_err err;  /* its code */
    char reason[160]; /* added to the code's sentence */
    const char *said; /* what the backend of hooks says of that, a JSON object; NULL: nothing */
    bool asking;      /* it is asked, and has not answered yet */
};

struct fm_proto { /* a wire protocol: one static table */
    const char *name;
    /* May this client open a WebSocket here? false: status and reason are set. */
    bool (*accept)(struct fm_upgrade *up);
    /* One whole message (the bytes may be changed in place; they are gone after the call). */
    void (*recv)(struct fm_socket *s, bool binary, uint8_t *bytes, size_t n);
    /* The hub answered a join of this socket. The sub is subscribed already if j->err is FM_OK; write the reply and j->replay now, live
     * messages follow. It may take j->replay away (and set j->replayed 0). If it failed, the sub is freed after the call. j->said: what a
     * handler of the program has to say to the client, a JSON object, or NULL; p->said likewise. */
    void (*joined)(struct fm_sub *sub, uint64_t tag, struct fm_join *j);
    /* The hub answered fm_socket_push, or a handler did in its place; then the result may be without an id. */
    void (*pushed)(struct fm_socket *s, const struct fm_publish *p);
    /* The hub answered fm_sub_track. */
    void (*tracked)(struct fm_socket *s, const struct fm_track *t);
    /* It may not join its topic any more, for this reason (fm_who_may): tells the client and ends the channel by fm_socket_leave. */
    void (*forbidden)(struct fm_sub *sub, enum fm_err why);
    /* The server ends the channel, joined or still joining: tells the client, which is not to join again by itself, and ends it by
     * fm_socket_leave. */
    void (*unsubscribed)(struct fm_sub *sub);
    /* Its token is over, and its connection will be in grace_ms unless it sends a new one. NULL: the protocol has no word for it. */
    void (*expired)(struct fm_socket *s, uint64_t grace_ms);
    /* Encodes that something can't be had on an open channel. cursor: the position after it. */
    void (*gap)(struct fm_frames *f, const struct fm_sub *sub, const struct fm_gap *gap, const struct fm_vector *cursor);
    /* A binary frame's payload as one of text, appended, for clients whose transport has only that. NULL: it makes no binary frames. */
    void (*text)(struct fm_buf *b, struct fm_slice binary);
    /* What is for the connection's user is given to it in this format, and by this join_ref, which no channel of a client has. */
    void (*for_user)(const struct fm_socket *s, enum fm_format *format, struct fm_slice *join_ref);
    /* Encodes a drain's messages of one topic, diffs and states of presences among them (fm_msg_of_presence). FM_FORMAT_*: a format of this
     * protocol. at: the topic's position after them. */
    void (*encode)(struct fm_frames *f, unsigned format, struct fm_msg *const *msgs, size_t n, const struct fm_vector *at);
    /* Is it one of those of which a sub that `chooses` is given what it wants, and others of its format nothing? Such subs are of formats
     * without a position. NULL: there are none. */
    bool (*chosen)(const struct fm_msg *m);
    /* As encode, but for one such sub. */
    void (*encode_for)(struct fm_frames *f, const struct fm_sub *sub, struct fm_msg *const *msgs, size_t n);
};

extern const struct fm_proto fm_phoenix, fm_sse;

/* ---- operations for protocols (socket.c, socket_subs.c) ---- */

/* What is allowed on a topic to this client; NULL: there is no such topic. */
const struct fm_rule *fm_socket_rule(const struct fm_socket *s, struct fm_slice topic);
/* The same of a channel's topic, as the rules are now, which may be others than when it was joined. */
const struct fm_rule *fm_sub_rule(struct fm_sub *sub);
/* Who it is; NULL: nobody knows. Valid until the protocol returns. */
const struct fm_identity *fm_socket_identity(const struct fm_socket *s);
/* May it do what a rule allows to `who`? As fm_who_may. */
FM_MUST_CHECK enum fm_err fm_socket_may(const struct fm_socket *s, enum fm_who who, struct fm_slice topic, enum fm_right right);
/* The client sent a new token (bytes, not JSON): it is who that says from now on, and channels that it may not have joined end. False: the
 * fault says why, and it is who it was. */
struct fm_token_fault;
FM_MUST_CHECK bool fm_socket_refresh(struct fm_socket *s, struct fm_slice token, struct fm_token_fault *fault);
uint32_t fm_socket_variant(const struct fm_socket *s); /* fm_upgrade.variant */
struct fm_worker *fm_socket_worker(const struct fm_socket *s);
struct fm_sub *fm_socket_sub(struct fm_socket *s, struct fm_slice topic); /* NULL: not joined or joining */
uint32_t fm_socket_subs(const struct fm_socket *s);

struct fm_track_ask {       /* what is to be shown of a sub's client (broker/presence.h) */
    struct fm_slice key;    /* at most FM_PRESENCE_KEY_MAX bytes; empty: the client's user, or without one a key that nobody else has */
    struct fm_slice meta;   /* a JSON object, valid, without white space around */
    struct fm_slice cookie; /* echoed to proto->tracked (fm_track_cookie) */
    bool by_backend;        /* the backend of hooks says so, which `presence = hook` asks for */
};

/* ---- limits (socket_limits.c) ----
 *
 * Each answers FM_OK, or FM_E_RATE_LIMITED with the time after which the same would be allowed. FM_E_CLOSED: the client did not listen and
 * is being closed (1008); nothing is to be said to it. */

/* Before anything is done for a join, and so for one that will be refused, too. */
FM_MUST_CHECK enum fm_err fm_socket_limit_join(struct fm_socket *s, uint32_t *retry_ms);
/* The same for everything else that a client sends on a topic. */
FM_MUST_CHECK enum fm_err fm_socket_limit_push(struct fm_socket *s, size_t bytes, uint32_t *retry_ms);
/* What is to be published, by the rule of its topic. */
FM_MUST_CHECK enum fm_err fm_sub_limit_push(struct fm_sub *sub, uint32_t *retry_ms);
/* It met another limit, and is told so by the protocol: counts, and tells the log. */
void fm_socket_limit_reached(struct fm_socket *s, enum fm_limit limit);

struct fm_join_ask {
    struct fm_slice topic, join_ref;
    const struct fm_rule *rule;
    enum fm_format format;
    bool cursor_channel;
    enum fm_own own;
    uint8_t flags;           /* the protocol's own */
    bool has_cursor;         /* `cursor` is not the first join's empty list */
    bool cut;                /* ... and it named more than it can hold */
    struct fm_vector cursor; /* moved: the callee owns it from the call on, also on error */
    uint32_t last;
    bool chooses; /* fm_sub.chooses */
    bool watch;   /* it is told who is there: the state, then diffs */
    bool track;   /* it is shown as `shown` says, or the join fails with what fm_sub_track can fail with, or FM_E_PRESENCE_FULL */
    struct fm_track_ask shown;
    struct fm_slice params; /* as the client gave them, JSON: for a handler of the program */
    uint64_t tag;           /* echoed to proto->joined */
    void *proto;            /* becomes sub->proto; moved likewise */
};

/* Posts the join; proto->joined follows. FM_E_BUSY: the hub's inbox is full. The topic must not be joined on this socket. */
FM_MUST_CHECK enum fm_err fm_socket_join(struct fm_socket *s, struct fm_join_ask *ask);
/* Ends a channel at once, joined or still joining (then proto->joined does not follow). *at (may be NULL) gets the position up to which
 * this socket was sent the topic, merged with sub->skip: where a rejoin on the same socket may resume. Frees the sub. */
void fm_socket_leave(struct fm_socket *s, struct fm_sub *sub, struct fm_vector *at);
/* Presence. A sub that ends by fm_socket_leave without `at` is shown no more at once; one whose connection ends, or that is replaced, for
 * presence_grace_ms more, unless the same key is shown again. */
/* Shows the sub's client, or changes what is shown; proto->tracked follows. FM_E_FORBIDDEN and the others of fm_socket_may: by the topic's
 * rule it may not, or not under this key. FM_E_INVALID:
 * meta is not an object. FM_E_TOO_LARGE: key, or meta beyond presence_meta_max. FM_E_BUSY, FM_E_NOMEM. It must be joined. */
FM_MUST_CHECK enum fm_err fm_sub_track(struct fm_sub *sub, const struct fm_track_ask *ask);
/* Shows it no more, at once. No answer; not shown: a no-op. */
void fm_sub_untrack(struct fm_sub *sub);
/* Its join waits for a handler of the program or a backend, or for the hub after it: nothing that its client pushes may go out before it
 * has joined. */
bool fm_sub_undecided(const struct fm_sub *sub);
/* Broadcasts to all, or to the others, as the sub's `own` says. cookie is echoed to proto->pushed (fm_publish_cookie). The payload is
 * copied. */
FM_MUST_CHECK enum fm_err fm_socket_push(struct fm_socket *s, struct fm_sub *sub, struct fm_slice event, struct fm_slice payload,
                                         bool binary, struct fm_slice cookie);
/* One message to this client, after everything sent before. Control messages are never dropped: a socket whose outbox is past its limit is
 * closed. */
void fm_socket_send(struct fm_socket *s, bool binary, struct fm_slice payload);
void fm_socket_send_frames(struct fm_socket *s, struct fm_frames *f); /* takes one reference */
/* The frames of a source, in order with everything else. Takes it. */
void fm_socket_send_source(struct fm_socket *s, struct fm_source *source);
/* Close handshake with this code; reason at most 123 bytes. The socket is not to be used after it in this call. */
void fm_socket_close(struct fm_socket *s, unsigned code, const char *reason);
