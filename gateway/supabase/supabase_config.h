/* What a Supabase client's join asks for: {"config":{"broadcast":{...},"presence":{...},"postgres_changes":[...],"private"}}. Pure: bytes
 * go in, fields or the reason for an error reply come out.
 *
 * -- any thread -- */
#pragma once

#include "../json/json_slice.h"

#define FM_SUPABASE_NOT_STORED "this topic keeps no history, so nothing can be stored" /* why a broadcast with `persist` is refused */
#define FM_SUPABASE_PREFIX "realtime:" /* of the topics that Supabase's clients join: realtime-js puts it before each channel's name */

enum {
    FM_SUPABASE_REPLAY_LIMIT = 25, /* messages of a replay that does not say how many */
};

struct fm_supabase_config {
    bool ack;        /* broadcasts are answered */
    bool self;       /* ... and come back to who sent them */
    bool is_private; /* the client wants its join judged. Every join is, by the topic's rule, so this changes nothing */
    bool replay;
    uint64_t since_ms; /* of the replay: Unix time, */
    uint32_t limit;    /* ... the newest so many */
    bool presence;
    struct fm_json presence_key; /* a string; type NULL: the client gave none */
    struct fm_json changes;      /* an array of objects; type NULL: the client gave none, */
    struct fm_buf wants;         /* ... and what it wants of them (supabase_wants.h) */
};

/* Is this join one of the dialect? `params` is what a phx_join of the topic carries; config (may be NULL) gets the member. Every other
 * channel, also of a topic that Supabase's clients use, is one of the Phoenix protocol. */
bool fm_supabase_asked(struct fm_slice topic, const struct fm_json *params, struct fm_json *config);

/* NULL, or the reason for the error reply: Supabase's own code and a sentence, where it has one. */
const char *fm_supabase_config_read(struct fm_slice topic, const struct fm_json *config, struct fm_supabase_config *out);
/* Also where there was a reason. */
void fm_supabase_config_fini(struct fm_supabase_config *config);
