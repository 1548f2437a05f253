/* Supabase's dialect of the Phoenix protocol, as npm @supabase/realtime-js speaks it: channels of topics `realtime:NAME` whose join has a
 * `config`. Connections, joins, leaves and refs are the Phoenix protocol's (gateway/phoenix); what differs is here: what a join may ask for
 * and what follows its reply, what a broadcast looks like, and how a client is told what went wrong.
 *
 * A broadcast is an ordinary message, its event the application's own. So backends, plain Phoenix channels and Supabase's clients, in
 * binary and in text, share a topic and its history, and each gets its own form of the same message.
 *
 * -- the worker's thread only -- */
#pragma once

#include "../phoenix/phoenix.h"
#include "supabase_config.h"

enum fm_supabase_flag { /* fm_sub.flags */
                        FM_SUPABASE = 1,
                        FM_SUPABASE_ACK = 2,
                        FM_SUPABASE_REPLAY = 4, /* what its join's answer holds was asked for by `replay` */
                        FM_SUPABASE_WANTS = 8,  /* it asked for postgres_changes */
                        FM_SUPABASE_PRESENCE = 16,
};

/* What a joined channel's `proto` points to, if its join gave a presence key or wants changes. */
struct fm_supabase_kept {
    uint8_t key_n;
    uint16_t wants_n;
    uint8_t bytes[]; /* the key, then what it wants (supabase_wants.h) */
};

/* NULL without memory. */
struct fm_supabase_kept *fm_supabase_keep(struct fm_slice key, struct fm_slice wants);
/* What a joined channel wants; empty: nothing. */
struct fm_slice fm_supabase_wants_of(const struct fm_sub *sub);

static inline bool fm_supabase_is(const struct fm_sub *sub)
{
    return (sub->flags & FM_SUPABASE) != 0;
}

uint8_t fm_supabase_flags_of(const struct fm_supabase_config *config);

/* The token in a join's params, where the node reads tokens: the socket is whose it says from now on. NULL, or the reason for the error
 * reply. What is no JWT, as an apikey that the client has in place of one, is passed over. */
const char *fm_supabase_join_token(struct fm_socket *s, const struct fm_phx_in *in);
/* A join's params without that token, for who is asked about the join. */
void fm_supabase_join_params(struct fm_buf *out, struct fm_slice payload);
/* An event access_token was refused: its client awaits no answer. */
void fm_supabase_token_refused(struct fm_socket *s, const struct fm_sub *sub, enum fm_err err);

/* One whole frame: the message as the format (FM_FORMAT_SUPA*) has it; none for a change that `wants` has nothing of. */
void fm_supabase_message(struct fm_frames *f, unsigned format, bool replayed, struct fm_slice wants, const struct fm_msg *m);
/* Such a binary frame as the text frame that a client without binary ones gets in its place. false: it is none of these. */
bool fm_supabase_text_of(struct fm_buf *b, struct fm_slice binary);
/* An event `system`, by which Supabase's clients are told what is of no request. `more` (may be empty): further members, with a comma
 * before them. */
void fm_supabase_system(struct fm_frames *f, const struct fm_sub *sub, const char *extension, bool ok, const char *message,
                        struct fm_slice more);
/* fm_proto.gap for such a channel. These clients have no cursors. */
void fm_supabase_gap(struct fm_frames *f, const struct fm_sub *sub, const struct fm_gap *gap);
/* What follows the reply to a join, before what is replayed. */
void fm_supabase_welcome(struct fm_frames *f, const struct fm_sub *sub);
/* Drops what is older than the client asked for from an answer's replay. */
void fm_supabase_replay_cut(struct fm_join *j, uint64_t since_ms);

/* What a push on such a channel is to publish. false: nothing; it was answered, or there is nothing to answer. *event is in `room` where it
 * can't be in the frame. */
bool fm_supabase_push_read(struct fm_socket *s, struct fm_sub *sub, const struct fm_phx_in *in, uint8_t room[FM_EVENT_MAX],
                           struct fm_phx_push *push);
/* A broadcast was not published: an error reply where the channel asked for answers, else, since its client listens to none, a `system`. */
void fm_supabase_refuse(struct fm_socket *s, const struct fm_sub *sub, const struct fm_phx_to *to, const char *reason);
