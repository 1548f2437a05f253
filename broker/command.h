/* Commands to the whole cluster: disconnect a user, end a subscription, delete a history, revoke tokens, end a presence.
 *
 * A command is an ordinary message, on a topic that no client and no API call can name. So it goes the way of every message: local and
 * remote alike, in the order of its node, repaired where it was lost, pulled by a node that comes later, once everywhere. Every worker that
 * serves clients takes it as a subscriber does (gateway/worker/commands.c), and the hub itself (control.c).
 *
 * Whoever gives one writes a message of fm_command_message and posts it to the hub as any publish; acknowledgements and idempotency keys
 * work as with every other. The hub that accepts it adds what only it knows: the command's id, when it was asked for, and for a deletion
 * what there is to delete.
 *
 * It may arrive late, after a split has healed: `asked`, on the steady clock of whoever takes it, tells what was there then from what
 * came since (fm_command_asked). One that must be known for longer than a topic remembers, also by nodes that join later, says so by
 * keep_ms: see control.c.
 *
 * -- any thread -- */
#pragma once

#include "envelope.h"

#define FM_COMMAND_TOPIC FM_LIT("fm\0commands")
#define FM_COMMAND_EVENT FM_LIT("command")

enum fm_command_kind {
    FM_COMMAND_DISCONNECT = 1, /* user, connection?; number: close code, text: reason */
    FM_COMMAND_UNSUBSCRIBE,    /* user, topic, connection? */
    FM_COMMAND_DELETE,         /* topic; upto: what of it */
    FM_COMMAND_REVOKE,         /* user */
    FM_COMMAND_UNTRACK,        /* topic, text: the key of a presence that the API shows */
    FM_COMMAND_RECALL,         /* a hub's own: connection, number: from this message of an origin to that one commands may be lost to it.
                                * Zeros, 0: of any */
    FM_COMMAND_KINDS           /* numbers from here on are of newer nodes: carried, and done nothing for */
};

enum { FM_COMMAND_TEXT_MAX = 1024 /* bytes */ };

#define FM_COMMAND_KEEP_MAX (UINT64_C(400) * 24 * 3600 * 1000) /* ms */

struct fm_cluster_command {
    uint32_t kind;           /* enum fm_command_kind, or a newer node's */
    struct fm_id id;         /* its message's, when it was first published; zeros: the hub has not taken it yet */
    uint64_t at_ms;          /* the cluster's time then */
    uint64_t age_ms;         /* since then, when this message was published: more than 0 where a node has published it again */
    uint64_t keep_ms;        /* for so long after it was asked for every node must know it; 0: it is done when it has been done */
    struct fm_slice user;    /* at most FM_USER_MAX */
    struct fm_slice topic;   /* at most FM_TOPIC_MAX */
    struct fm_id connection; /* only this one of the user's; zeros: all */
    uint64_t number;         /* the kind's own */
    struct fm_slice text;    /* the kind's own; at most FM_COMMAND_TEXT_MAX */
    struct fm_vector upto;   /* the kind's own: positions. Owned: fm_command_fini */
};

static inline bool fm_topic_of_commands(struct fm_slice topic)
{
    return topic.n == FM_COMMAND_TOPIC.n && memcmp(topic.p, FM_COMMAND_TOPIC.p, topic.n) == 0;
}

void fm_command_write(struct fm_buf *b, const struct fm_cluster_command *c);
/* Slices in *c point into the payload. FM_E_SYNTAX, FM_E_VERSION: a newer node's, FM_E_NOMEM. *c holds nothing on an error. */
FM_MUST_CHECK enum fm_err fm_command_read(struct fm_slice payload, struct fm_cluster_command *c);
void fm_command_fini(struct fm_cluster_command *c);

/* What carries it: one reference, no id yet; NULL without memory. key: an idempotency key, may be empty. */
struct fm_msg *fm_command_message(const struct fm_cluster_command *c, struct fm_slice key);

/* When it was asked for, on the steady clock of this node's hub, or (CLOCK_MONOTONIC as it is) of its workers; may be before its zero. Late
 * by at most what the fastest envelope between the two nodes takes. What began after it is none of its business. */
static inline int64_t fm_command_asked_hub(const struct fm_cluster_command *c, const struct fm_msg *m)
{
    return m->born_ms - (int64_t)c->age_ms;
}
static inline int64_t fm_command_asked(const struct fm_cluster_command *c, const struct fm_msg *m)
{
    return fm_command_asked_hub(c, m) - (int64_t)FM_AGE_MAX; /* see hub_thread.c */
}
