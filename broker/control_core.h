/* Inside the hub: commands to the whole cluster, and questions to it. Included by hub_core.h.
 *
 *   control.c  commands that are given here, or come    command_log.c  what they did, for people
 *   recall.c   those that were lost                     deletion.c     histories that were deleted
 *   gather.c   questions about clients to all nodes */
#pragma once

#include "bus.h"
#include "command.h"
#include "diag.h"
#include "envelope.h"
#include "hub.h"
#include "store_core.h"
#include "table.h"

struct fm_cluster_command;
struct fm_gather; /* gather.c: a question and its answers so far */
struct fm_standing;

struct fm_deletion { /* what of a topic must not be given to anybody any more */
    UT_hash_handle hh;
    struct fm_vector upto;
    uint64_t until_ms; /* mono; later nobody holds anything of it */
    bool dirty;        /* something of it may be held here */
    uint32_t topic_n;
    uint8_t topic[];
};

enum { FM_HUB_COMMANDS_DONE = 64 };

struct fm_hub_command_done {
    struct fm_id id; /* of the command */
    uint64_t n;      /* messages that went here at once, or presences */
};

struct fm_missed {             /* messages of an origin that were given up, and may have been commands */
    uint64_t origin, from, to; /* origin 0: of any */
};

enum { FM_MISSED_MAX = 16 };

struct fm_control {               /* control.c, recall.c, deletion.c */
    struct fm_standing *standing; /* commands that every node must know for a while */
    struct fm_deletion *deletions;
    uint64_t bytes;                                        /* of what stands */
    uint64_t tend_ms;                                      /* mono: due then */
    bool has_topic;                                        /* theirs is among the topics */
    struct fm_hub_command_done done[FM_HUB_COMMANDS_DONE]; /* a ring */
    uint32_t done_n;
    struct fm_missed missed[FM_MISSED_MAX]; /* the others are still to be asked for them */
    uint32_t missed_n;
    uint64_t unsaid; /* commands of which the log does not say what they did, since too many came at once */
    struct fm_diag_pause told;
};

struct fm_command_report { /* what the log is to say of a command */
    uint32_t kind;         /* enum fm_command_kind */
    bool fresh;            /* it was asked for just now: worth a line also where it did nothing */
    struct fm_id id;
    struct fm_slice user, topic;
};

/* ---- control.c ---- */
/* A command that is given here and will have this id: adds what only the hub knows. FM_E_SYNTAX, FM_E_VERSION: it is none. FM_E_TOO_MANY:
 * as many stand as commands_bytes allows. On an error *m is as it was. */
FM_MUST_CHECK enum fm_err fm_control_complete(struct fm_hub *h, struct fm_msg **m, struct fm_id id);
/* A command is dispatched, and no other thread has it yet. */
void fm_control_take(struct fm_hub *h, struct fm_msg *m);
/* One that any log or history holds is published again in turn, as if none did; but what was published since that was asked for (mono) is
 * the answer. */
void fm_control_recall(struct fm_hub *h, const struct fm_missed *missed, int64_t asked_ms);
/* A line in the log, now and then. Plain text without quotes. */
void fm_control_tell(struct fm_hub *h, const char *event, const char *why, const char *then);
void fm_control_tend(struct fm_hub *h);
void fm_control_fini(struct fm_hub *h);

/* ---- command_log.c ---- */
/* A command is dispatched here. */
void fm_command_say_taken(struct fm_hub *h, const struct fm_cluster_command *c, const struct fm_msg *m);
/* So many connections, channels, messages or presences it concerned here; all: everybody has said so. */
void fm_command_say_done(struct fm_hub *h, const struct fm_command_report *r, uint64_t n, bool all);

/* ---- recall.c ---- */
/* These were given up, and some may have been commands. origin 0: nobody knows whose. */
void fm_recall_missed(struct fm_hub *h, uint64_t origin, uint64_t from, uint64_t to);
/* Another node, or this one, has lost some: those that stand here are to be published again. */
void fm_recall_take(struct fm_hub *h, const struct fm_cluster_command *c, const struct fm_msg *m);
/* Asks for what was missed, when it can. */
void fm_recall_tend(struct fm_hub *h);

/* ---- deletion.c ---- */
void fm_deletion_take(struct fm_hub *h, const struct fm_cluster_command *c, const struct fm_msg *m);
/* A new topic: is anything of it deleted? */
void fm_deletion_of(struct fm_hub *h, struct fm_topic *t);
static inline bool fm_deleted(const struct fm_topic *t, struct fm_id id)
{
    return t->deletion && id.seq <= fm_vector_get(&t->deletion->upto, id.origin);
}
/* How many messages or presences of this node a command ended when it came; 0 also where it is not remembered. */
void fm_command_did(struct fm_hub *h, struct fm_id command, uint64_t n);
uint64_t fm_command_done(const struct fm_hub *h, struct fm_id command);
/* What came since is deleted, too; what is over is forgotten. */
void fm_deletions_tend(struct fm_hub *h);
void fm_deletions_fini(struct fm_hub *h);

/* ---- gather.c ---- */
/* What this node's workers do for a command goes to the log (fm_command_say_done). False: too many are awaited, or there is no memory. */
FM_MUST_CHECK bool fm_gather_done(struct fm_hub *h, const struct fm_cluster_command *c, bool fresh);
/* FM_QUERY_GATHER: answered when all have answered, or its time is over. */
void fm_gather_query(struct fm_hub *h, struct fm_query *q);
/* A worker has answered. */
void fm_inquire_handle(struct fm_hub *h, struct fm_inquire *q);
/* Another node asks. */
void fm_inquiry_handle(struct fm_hub *h, uint64_t handle, struct fm_env_bind bind, struct fm_slice body);
/* An answer on the ask plane that is for no pull. */
void fm_found_handle(struct fm_hub *h, struct fm_bus_item *it);
void fm_gathers_check(struct fm_hub *h);
void fm_gathers_free(struct fm_hub *h);
