/* Inside the Phoenix protocol: what phoenix.c (connections, frames in, messages out), phoenix_channel.c (joins, leaves, gaps),
 * phoenix_push.c and the others share, with each other and with Supabase's dialect (gateway/supabase). Nobody else includes this; the
 * protocol's face is the table fm_phoenix in proto.h. docs/protocol.md is its description.
 *
 * -- the worker's thread only -- */
#pragma once

#include "phoenix_frame.h"
#include "../worker/worker.h"

/* The head of an answer to `in`: the same refs and topic. */
struct fm_phx_to fm_phx_answer_to(const struct fm_socket *s, const struct fm_phx_in *in);
/* The head of an event on a channel: its join_ref, no ref. */
struct fm_phx_to fm_phx_channel_to(const struct fm_sub *sub);

/* Sends f and sets it NULL. Where memory ran out while f was built (or f is NULL already) the socket is closed: what it was to be told
 * can't be left out in silence. false: then. */
bool fm_phx_send(struct fm_socket *s, struct fm_frames **f);
bool fm_phx_send_reply(struct fm_socket *s, const struct fm_phx_to *to, bool ok, struct fm_slice response);
/* An error reply {"reason":reason}. */
bool fm_phx_send_error(struct fm_socket *s, const struct fm_phx_to *to, const char *reason);
/* {"reason":"rate_limited","retry_after_ms":...} */
bool fm_phx_send_limited(struct fm_socket *s, const struct fm_phx_to *to, uint32_t retry_ms);
/* The error reply to what the hub refused, or a handler of the program, which then may say something (a JSON object): that is the response.
 */
bool fm_phx_send_refusal(struct fm_socket *s, const struct fm_phx_to *to, enum fm_err err, const char *said);
/* Opens a response: `{` and the members of said, what a handler says besides (may be NULL). True: members of ours follow behind a comma. */
bool fm_phx_said_open(struct fm_buf *b, const char *said);

/* ---- phoenix_channel.c ---- */

void fm_phx_join(struct fm_socket *s, const struct fm_phx_in *in);
void fm_phx_leave(struct fm_socket *s, const struct fm_phx_in *in);
/* Is it of a channel that was there before this one? */
bool fm_phx_is_stale(const struct fm_sub *sub, const struct fm_phx_in *in);
/* fm_proto's operations */
void fm_phx_joined(struct fm_sub *sub, uint64_t tag, struct fm_join *j);
void fm_phx_forbidden(struct fm_sub *sub, enum fm_err why);
void fm_phx_unsubscribed(struct fm_sub *sub);
void fm_phx_gap(struct fm_frames *f, const struct fm_sub *sub, const struct fm_gap *gap, const struct fm_vector *cursor);

/* ---- phoenix_push.c ---- */

struct fm_phx_push { /* what a push publishes */
    struct fm_slice event, payload;
    bool binary;
};

void fm_phx_push(struct fm_socket *s, const struct fm_phx_in *in);
/* fm_proto's operation */
void fm_phx_pushed(struct fm_socket *s, const struct fm_publish *p);

/* What the answer to a push needs: the sub's id, its topic, the ref. */
enum { FM_PHX_COOKIE_MAX = 8 + 2 + FM_TOPIC_MAX + FM_PHX_REF_MAX };
struct fm_slice fm_phx_cookie(uint8_t out[FM_PHX_COOKIE_MAX], const struct fm_sub *sub, struct fm_slice ref);
/* The channel that the push came from; NULL where it was left or joined again since. */
struct fm_sub *fm_phx_cookie_sub(struct fm_socket *s, struct fm_slice cookie, struct fm_slice *ref);

/* ---- phoenix_presence.c ---- */

struct fm_phx_presence { /* what a join says of presence */
    bool watch, track;
    struct fm_track_ask shown; /* of track; its slices point into the params and `key` */
    uint8_t key[FM_PRESENCE_KEY_MAX];
};

/* NULL, or the reason for the error reply. */
const char *fm_phx_presence_param(const struct fm_json *params, const struct fm_rule *rule, struct fm_phx_presence *p);
/* The reason of an error reply. */
const char *fm_phx_track_reason(enum fm_err err);
/* What was tracked, for a reply. */
void fm_phx_tracked_write(struct fm_buf *b, const struct fm_track *t);
bool fm_phx_is_track(struct fm_slice event);
/* A push of such an event. */
void fm_phx_track(struct fm_socket *s, struct fm_sub *sub, const struct fm_phx_in *in, const struct fm_phx_to *to);
/* fm_proto's operation */
void fm_phx_tracked(struct fm_socket *s, const struct fm_track *t);

/* ---- phoenix_token.c ---- */

void fm_phx_access_token(struct fm_socket *s, const struct fm_phx_in *in);
void fm_phx_expired(struct fm_socket *s, uint64_t grace_ms);

/* ---- phoenix_replay.c ---- */

/* Appends what a join's answer replays to f, as far as it is short; *rest, if it isn't NULL then, sends what remains. The answer's messages
 * are taken. false: without memory. */
FM_MUST_CHECK bool fm_phx_replay(struct fm_frames *f, const struct fm_sub *sub, struct fm_join *j, struct fm_source **rest);

/* What the refs of a format hold. */
enum fm_phx_id fm_phx_id_of(unsigned format);
/* The event fm_cursor. Its frame's mark has no message. */
void fm_phx_cursor_event(struct fm_frames *f, const struct fm_phx_to *to, const struct fm_vector *at);
