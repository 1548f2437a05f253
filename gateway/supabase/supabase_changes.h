/* Changes of rows, as Supabase's clients listen to them: channel.on('postgres_changes', ...). No database is followed here: a backend
 * publishes each change on the topic of the channels that are to have it, as a message of the event `postgres_changes`, and by the API
 * alone, for a client that could push one would speak for the database. A channel gets those that its join's entries want
 * (supabase_wants.h), with their ids; to all others of the topic it is a message like any other.
 *
 * -- any thread -- */
#pragma once

#include "../../broker/msg.h"
#include "supabase_config.h"
#include "supabase_wants.h"

#define FM_SUPABASE_CHANGES "postgres_changes"

static inline bool fm_supabase_is_change(struct fm_slice topic, struct fm_slice event)
{
    return fm_slice_eq(event, FM_LIT(FM_SUPABASE_CHANGES)) && fm_slice_starts(topic, FM_LIT(FM_SUPABASE_PREFIX));
}

/* NULL: the payload is a change that these clients can read. Else what is wrong with it. A member that no change has is wrong, too, where
 * one is published, since a misspelt `old_record` would be lost in silence: it is *member, in its quotes; else that is empty. */
const char *fm_supabase_change_bad(struct fm_slice payload, bool binary, struct fm_slice *member);

enum fm_supabase_given {
    FM_SUPABASE_NOT_ONE,  /* its payload is none: it came past the check */
    FM_SUPABASE_UNWANTED, /* by these */
    FM_SUPABASE_WRITTEN,
};

/* Appends the event's payload, {"ids":[...],"data":{...}}, which is only to be used where it says WRITTEN. */
enum fm_supabase_given fm_supabase_change_write(struct fm_buf *b, struct fm_slice wants, const struct fm_msg *m);
