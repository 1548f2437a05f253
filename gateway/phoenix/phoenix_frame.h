/* The frames of Phoenix Channels: bytes <-> fields, nothing else. No socket, no state; the rules of the protocol are in phoenix.c.
 *
 *   V2 text     [join_ref, ref, topic, event, payload]
 *   V2 binary   kind, a length byte for each field, the fields, the payload; of a Supabase client's broadcast also metadata, and whether
 *               the payload is JSON
 *   V1 text     {"topic","event","payload","ref"}
 *
 * Refs are kept as the JSON tokens in which they came (`"7"`, `7`, `null`), so that they go back unchanged.
 *
 * -- any thread -- */
#pragma once

#include "../json/json_slice.h"
#include "../worker/proto.h"

enum { FM_PHX_REF_MAX = 64 }; /* bytes of a ref's token */

enum fm_phx_version { FM_PHX_V1 = 1, FM_PHX_V2 = 2 };

struct fm_phx_in {                 /* one message of a client; the slices live as long as the frame's bytes and this struct */
    struct fm_slice join_ref, ref; /* JSON tokens; `null` where absent */
    struct fm_slice topic_token;   /* as it came; empty in a binary frame */
    struct fm_slice topic, event;  /* text; empty where it is longer than FM_TOPIC_MAX or FM_EVENT_MAX: nothing has such a name */
    struct fm_slice payload;       /* one JSON value, never null; or bytes */
    bool binary;
    bool broadcast;       /* it came as a Supabase client's broadcast: the event is the application's own, and there may be */
    struct fm_slice meta; /* ... bytes that should be a JSON object; not looked at here */
    uint8_t scratch[FM_TOPIC_MAX + FM_EVENT_MAX + 2 * FM_PHX_REF_MAX];
};

struct fm_phx_bad {   /* why a frame can't be read */
    unsigned code;    /* the WebSocket close code */
    char reason[124]; /* a sentence of at most 123 bytes */
};

/* false: *bad says why. The frame's bytes are not changed. */
FM_MUST_CHECK bool fm_phx_parse(enum fm_phx_version version, bool binary, struct fm_slice bytes, struct fm_phx_in *in,
                                struct fm_phx_bad *bad);

static inline bool fm_phx_is_null(struct fm_slice ref)
{
    return fm_slice_eq(ref, FM_LIT("null"));
}

/* The same ref, whatever its escapes. */
bool fm_phx_ref_eq(struct fm_slice a, struct fm_slice b);

/* ---- writing; every function appends one whole frame ---- */

struct fm_phx_to { /* the head of a frame to one client */
    enum fm_phx_version version;
    struct fm_slice join_ref, ref; /* JSON tokens; V1 has no join_ref */
    struct fm_slice topic_token;   /* wins over `topic` where it isn't empty */
    struct fm_slice topic;
};

/* An event, or with `open` one whose JSON payload is written to f->bytes before `close`. */
void fm_phx_event(struct fm_frames *f, const struct fm_phx_to *to, struct fm_slice event, struct fm_slice payload);
size_t fm_phx_event_open(struct fm_frames *f, const struct fm_phx_to *to, struct fm_slice event);
void fm_phx_event_close(struct fm_frames *f, const struct fm_phx_to *to, size_t opened);
void fm_phx_event_close_with(struct fm_frames *f, const struct fm_phx_to *to, size_t opened, const struct fm_msg *carried);

/* phx_reply; `response` is JSON. */
void fm_phx_reply(struct fm_frames *f, const struct fm_phx_to *to, bool ok, struct fm_slice response);
size_t fm_phx_reply_open(struct fm_frames *f, const struct fm_phx_to *to, bool ok);
void fm_phx_reply_close(struct fm_frames *f, const struct fm_phx_to *to, size_t opened);

/* A binary frame of ours as the text frame that a client without binary ones gets in its place: its payload is {"base64":"..."}. */
void fm_phx_text_of(struct fm_buf *b, struct fm_slice binary);

enum fm_phx_id { /* what a message's ref holds */
                 FM_PHX_NO_ID,
                 FM_PHX_ID,     /* its id */
                 FM_PHX_ID_KEY, /* V2: its id and, if it has an idempotency key, behind a space that key's digest */
};

/* A message. join_ref: null for a live one, the channel's for a replayed one. A binary frame has no place for an id: with FM_PHX_ID_KEY an
 * event fm_id follows it. To V1 a binary payload goes as {"base64":"..."}. */
void fm_phx_message(struct fm_frames *f, enum fm_phx_version version, struct fm_slice join_ref, enum fm_phx_id with,
                    const struct fm_msg *m);
/* A payload as JSON: bytes as {"base64":"..."}. */
void fm_phx_payload_write(struct fm_buf *b, struct fm_slice payload, bool binary);
