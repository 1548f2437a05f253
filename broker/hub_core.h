/* Inside the hub: what its files share. Nobody else includes this.
 *
 *   hub.c      life, the step function, time
 *   topics.c   topics, positions                    store.c    logs, histories, eviction
 *   dispatch.c what a message does on arrival       publish.c  own messages: ids, keys, acknowledgements
 *   join.c     joins and cursors                    query.c    answers for the HTTP API
 *   peers.c    hello, state, membership
 *   batches.c  what is published goes out           repair.c   ranges in, holes and pulls
 *   links.c    who is dialled, which link stays     origins.c  which are known, and which are forgotten
 *   settle.c   how those end whose node is gone  asof.c     what they may have held, when nobody names them any more
 *   presence*.c  who is on which topic (presence_core.h)
 *   probe.c    the node's messages to itself
 *   control.c  commands to the cluster            deletion.c histories that were deleted
 *   gather.c   questions about clients to all nodes
 *   weigh.c    what all of that takes
 *
 * Invariants (checked by assertions and by the simulator):
 *   - A message is in exactly one log (its origin's); histories only refer to it, and let go before it leaves the log.
 *   - Everything of an origin up to `contig` was dispatched here, or told as a gap, or was gone before this node joined.
 *   - pos->last only grows; what is dispatched on a topic has a seq above it. */
#pragma once

#include "diag.h"
#include "hub.h"
#include "keys.h"
#include "log.h"
#include "mutation.h"
#include "presence_core.h"
#include "table.h"

struct fm_origin;
struct fm_topic;
struct fm_cluster_command;
struct fm_standing;
struct fm_gather;

struct fm_deletion { /* what of a topic must not be given to anybody any more */
    UT_hash_handle hh;
    struct fm_vector upto;
    uint64_t until_ms; /* mono; later nobody holds anything of it */
    bool dirty;        /* something of it may be held here */
    uint32_t topic_n;
    uint8_t topic[];
};

struct fm_pos { /* a topic's position in one origin; owned by the topic */
    struct fm_topic *topic;
    struct fm_origin *origin;
    uint64_t last;     /* newest seq dispatched on the topic, or told as a gap */
    uint64_t floor;    /* newest seq that the history no longer has: a cursor below it is not recovered */
    uint64_t tomb;     /* where the log has the topic's tomb; 0: nothing was evicted yet */
    uint32_t held;     /* messages of the topic that the origin's log holds */
    uint64_t *waiting; /* seqs in the log that wait for their prev, ascending; at[head .. head + n) */
    uint32_t waiting_head, waiting_n, waiting_cap;
};

struct fm_topic {
    UT_hash_handle hh;
    struct fm_pos **pos;
    uint32_t pos_n, pos_cap;
    struct fm_retention retention;
    struct fm_msg **history; /* ordered by (ts, origin, seq); at[head .. head + n) ; borrowed from the logs */
    uint32_t head, history_n, history_cap;
    uint64_t history_bytes;
    bool skewed;                  /* the history is not in the order of age: some node's clock is, or was, wrong */
    uint64_t interest;            /* bit i: worker i has subscribers */
    uint32_t *subs;               /* a worker's subscribers */
    uint64_t used_ms;             /* mono; last message, join or leave */
    struct fm_deletion *deletion; /* usually NULL */
    bool commands;                /* its messages are commands: command.h */
    uint32_t name_n;
    char name[];
};

struct fm_pull {       /* an origin's repair; at most one ask is under way */
    uint64_t ask;      /* 0: none */
    uint64_t counter;  /* of the ask: its answer is bound to it */
    uint64_t holder;   /* incarnation of the node asked */
    uint64_t since_ms; /* when the present hole was noticed */
    uint64_t not_before_ms;
    uint64_t paid_us;               /* mono; until when repair_bytes_per_s allows what was pulled so far */
    uint64_t refused[FM_PEERS_MAX]; /* incarnations of nodes that answered without what is missing */
    uint32_t refused_n;
    uint32_t failed; /* asks since the last progress that brought no answer */
};

struct fm_origin {
    UT_hash_handle hh;
    uint64_t id;
    uint64_t contig;
    uint64_t passed;    /* newest seq up to contig that this node never stored: it was gone, or lost, before it came here */
    uint64_t said;      /* contig, when this node last told the others of all its origins */
    uint64_t drained;   /* contig, when this node's drain began */
    uint64_t claimed;   /* highest seq that any node was seen to have */
    uint64_t forgotten; /* topics dropped whole had messages up to here: the floor of every topic without a position */
    uint64_t lost;      /* a hole up to here was given up: every topic may have lost something below it */
    struct fm_log log;
    uint64_t log_bytes; /* of messages above `cut` */
    uint64_t cut;       /* the log's own retention has passed up to here; what is left below is kept for a history */
    uint64_t bare;      /* up to here no message is held at all, by log or history */
    uint64_t whole_ms;  /* mono; when nothing of it was known to be missing last */
    uint64_t heard_ms;  /* mono; when its node was last heard, or a message of it, here or by whoever told us */
    bool final;         /* since its last message all nodes that we know of were in reach, and none has more of it */
    uint32_t positions; /* topics that have a position in it */
    struct fm_pull pull;
};

struct fm_link {
    uint32_t pipe;
    bool dialled;
    bool dropped;      /* goes with its FM_BUS_DOWN */
    uint32_t late;     /* while its peer is not known: envelopes that came with counters which that peer had used before */
    uint64_t peer;     /* incarnation; 0: not known yet */
    uint64_t counter;  /* of the last envelope of that peer that came over it; 0: none yet */
    uint64_t heard_ms; /* mono: when it came up, or its peer last spoke over it; moved on like the peer's */
    uint32_t excused;  /* as the peer's */
    char address[FM_ADDRESS_MAX + 1];
};

struct fm_peer {
    uint64_t incarnation;
    char name[FM_NAME_MAX + 1], bus[FM_ADDRESS_MAX + 1], ask[FM_ADDRESS_MAX + 1];
    bool alive;                     /* linked, or heard of through others, and heard within down_ms */
    bool ready, draining, left;     /* left: it is gone, and nobody dials it */
    bool bye;                       /* it said so itself; else it is taken for gone, until it speaks */
    bool met;                       /* its hello came over a link of ours */
    bool told;                      /* all of its origins, since it is linked */
    uint64_t heard_ms;              /* mono: last envelope, moved on by times in which this node itself stood still */
    uint64_t spoke_ms;              /* mono: last envelope */
    uint32_t excused;               /* times, since then, in which this node stood still */
    uint64_t told_ms;               /* mono: when it spoke last and had told all; at first when it was met */
    uint64_t alone_ms;              /* mono: since when there is no link; 0: linked */
    uint64_t seen_counter;          /* highest bus-plane counter received: what doesn't exceed it is a replay */
    uint64_t ask_counter, ask_seen; /* the same for the ask plane: highest, and bit i: highest - i was seen */
    struct fm_vector has, passed;   /* its contig of every origin, as it last said, and what it passed over up to there */
    struct fm_vector presence;      /* the versions of the presences that it has */
    uint32_t unacked;               /* batches received since our last acknowledgement */
    uint64_t acked_counter;         /* what it acknowledged of our batches */
    struct fm_env_load load;        /* as it last said */
    uint64_t lag_ms;                /* mono: since when the oldest batch in flight is unacknowledged; 0: none is */
};

struct fm_waiter { /* a replicated publish that waits for acknowledgements */
    struct fm_waiter *next;
    struct fm_publish *publish;
    struct fm_vector first, last; /* of what a node must have stored to be counted, by origin */
    uint64_t from_ms;             /* mono: only nodes heard of since are counted */
    uint64_t due_ms;
};

struct fm_held { /* a join that waits: for the node to be ready, or for what the client has seen and we have not */
    struct fm_held *next;
    struct fm_join *join;
    uint64_t due_ms;
};

struct fm_courier; /* parcel.c: parcels on their way to one other node */

struct fm_chain {
    struct fm_item *first, **last;
};

struct fm_asked { /* another node's ask that waits to be answered */
    uint64_t handle;
    struct fm_env_bind bind;
    bool of_presence; /* which of the two */
    struct fm_env_pull pull;
    struct fm_env_presence_pull presence;
};

enum { FM_SUSPECT_AFTER = 3 }; /* heartbeats that did not come */
enum { FM_DROPPED_MAX = 1024 };
enum { FM_ASKED_MAX = 64 }; /* as many as the bus holds for us */

struct fm_told { /* something that is told in the log now and then, with the number of times since */
    uint64_t quiet_until_ms, untold;
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
    struct fm_told told;
};

struct fm_command_report { /* what the log is to say of a command */
    uint32_t kind;         /* enum fm_command_kind */
    bool fresh;            /* it was asked for just now: worth a line also where it did nothing */
    struct fm_id id;
    struct fm_slice user, topic;
};

enum { FM_REFUSED_MAX = 64 };

struct fm_refused {                 /* an address where somebody was refused, or we were */
    char place[FM_ADDRESS_MAX + 1]; /* host:port that we dial; the host alone of who dials us */
    uint64_t used_ms;
    struct fm_told told;
    enum fm_err why;        /* as it was told */
    char text[64];          /* of FM_E_TLS: the beginning of why */
    uint64_t rest_until_ms; /* not dialled before */
    uint32_t rest_ms;
    uint32_t closed; /* links in a row that the other end closed without a word */
};

struct fm_hub {
    struct fm_hub_config config;
    struct fm_hub_port port;
    struct fm_hub_stats stats;
    struct fm_now now; /* of the present step */
    struct fm_origin *origins, *self;
    struct fm_topic *topics, *sweep; /* sweep: where the incremental eviction by age goes on */
    struct fm_topic *found;          /* what was looked for last: messages come in runs of one topic. NULL: nothing */
    struct fm_presence presence;
    struct fm_keys keys;
    struct fm_control control;
    struct fm_told keys_told; /* those that were forgotten early */
    struct fm_told dials_told;
    uint64_t bytes;      /* of all messages in all logs */
    uint64_t weighing;   /* of the topics that the sweep has passed in this round */
    uint64_t ahead_ms;   /* the cluster's time is so far ahead of our steady clock */
    uint64_t blind_ms;   /* the cluster's time: cursors from before it may lack what no node can name any more. 0: there is nothing */
    uint64_t unnamed_ms; /* ... what other nodes still know but don't name */
    uint64_t dropped[FM_DROPPED_MAX]; /* the origins that had to go for want of room, as a ring */
    uint32_t dropped_n;
    uint64_t forgotten_ms; /* mono; when the youngest origin that had to go for want of room was last heard. 0: none had to */

    struct fm_peer peers[FM_PEERS_MAX];
    uint32_t peers_n;
    struct fm_link *links;
    uint32_t links_n, links_cap;
    uint64_t *seed_peer; /* a seed's index -> the incarnation that its address led to last */

    uint64_t last_ts_ms;    /* of own messages: never falls */
    uint64_t sent;          /* own seqs up to here left in batches */
    uint64_t backlog;       /* bytes of those above it */
    uint64_t in_flight[16]; /* counters of the last batches, as a ring */
    uint32_t in_flight_head, in_flight_n;
    uint64_t next_ask;
    uint64_t heartbeat_due_ms, links_due_ms, sweep_due_ms, ack_due_ms; /* mono; ack_due 0: no acknowledgement owed */
    uint64_t paused_ms;                      /* mono: when this node went on after it had stood still; 0: it never did */
    uint64_t doubted_ms;                     /* mono: when a node that we know of was last out of reach */
    uint64_t hello_often_ms, hello_rare_ms;  /* mono: until when every heartbeat brings a hello; when the next is due at the latest */
    bool repairing;                          /* a hole is being filled, or holds something up */
    uint64_t hello_spent_ms;                 /* mono: runs ahead of the clock by HELLO_COST_MS for each hello that was due */
    bool hello_due, changed;                 /* changed: a position moved, held joins may go on */
    uint64_t isolated_ms;                    /* mono: since when no other node is in reach; good while stats.isolated */
    uint64_t started_ms, drained_ms, bye_ms; /* drained_ms: when the drain began; bye_ms 0: not said yet */
    bool left_alone;                         /* no node that stays was in reach when this one had nothing more to wait for */

    bool ready, draining, left;
    bool said_ready;      /* `ready`, when this node last told the others of all its origins, */
    uint64_t said_all_ms; /* ... and when that was; mono */
    bool target_known;    /* a ready peer told what there is to take over */
    struct fm_vector target;

    struct fm_waiter *waiters, **waiters_last;
    struct fm_held *held;
    struct fm_courier *couriers;
    uint32_t parcels_n; /* that they have */
    struct fm_gather *gathers;
    struct fm_asked asked[FM_ASKED_MAX]; /* a ring */
    uint32_t asked_head, asked_n;
    bool live; /* since the last flush something was published, here or elsewhere */
    struct fm_chain out[FM_WORKERS_MAX];
    struct fm_told refusals[FM_ERR_COUNT];
    struct fm_refused refused[FM_REFUSED_MAX];
    uint32_t refused_n;
    uint64_t lost; /* bit i: something for worker i could not be made */
    struct fm_buf scratch, sealed;
};

/* ---- origins.c ---- */
struct fm_origin *fm_origin_find(struct fm_hub *h, uint64_t id);
/* Makes it if need be, in the place of the one that was heard of longest ago where there are FM_ORIGINS_MAX. heard_ms: when it was last
 * heard of by anybody, now: it lives. NULL: it is older than what had to be forgotten, or no memory. */
struct fm_origin *fm_origin_get(struct fm_hub *h, uint64_t id, uint64_t heard_ms);
/* Some node has it up to `seq`. */
static inline void fm_origin_claim(struct fm_origin *o, uint64_t seq)
{
    if (o->claimed >= seq)
        return;
    o->claimed = seq;
    o->final = false;
}
/* Another node names an origin that fm_origin_get would not take, and has messages of it up to `to`: tells that these will not come, unless
 * this node had it before. */
void fm_origin_refused(struct fm_hub *h, uint64_t id, uint64_t to);
/* Dead for cursor_ttl and nothing of it held: its positions go, and then it is forgotten. */
void fm_origin_retire(struct fm_hub *h, struct fm_origin *o);
/* No position in it is left. */
void fm_origin_free(struct fm_hub *h, struct fm_origin *o);

/* ---- settle.c ---- */
/* Origins whose node is gone: their ends, as far as they can be known now. */
void fm_origins_settle(struct fm_hub *h);
/* Nobody can say how it ended: there may be more of it, and nobody will ask for that any more. Tells it, once. */
void fm_origin_end_unknown(struct fm_hub *h, struct fm_origin *o);

/* ---- asof.c ---- */
static inline uint64_t fm_later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
static inline uint64_t fm_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
/* The cluster's time: that of the node whose steady clock is ahead of all others'. Never goes back. */
uint64_t fm_cluster_ms(const struct fm_hub *h);
/* As of when, in the cluster's time, this node has given or told everything. */
uint64_t fm_asof(const struct fm_hub *h);
/* Into a cursor that goes out. */
FM_MUST_CHECK enum fm_err fm_asof_mark(const struct fm_hub *h, struct fm_vector *cursor);
/* Takes the mark out of a cursor that came in. false: it may lack something of an origin that nobody names any more. */
bool fm_asof_take(const struct fm_hub *h, struct fm_vector *cursor);
/* If nobody names the origin any more: cursors from before this time may lack something of it. 0: none may. */
uint64_t fm_blind_by(const struct fm_hub *h, const struct fm_origin *o);
/* All who joined before now may have missed something, of which only `origin` (0: not even that) and the range are known. */
void fm_blind_now(struct fm_hub *h, uint64_t origin, uint64_t from, uint64_t to);
/* What another node's state says of it. */
void fm_blind_heard(struct fm_hub *h, const struct fm_env_state *s);

/* ---- counters that every message goes through: only the hub's thread writes them, so it needs no locked instruction for that ---- */
static inline void fm_stat_set(_Atomic uint64_t *stat, uint64_t value)
{
    atomic_store_explicit(stat, value, memory_order_relaxed);
}

static inline void fm_stat_add(_Atomic uint64_t *stat, uint64_t n)
{
    fm_stat_set(stat, atomic_load_explicit(stat, memory_order_relaxed) + n);
}

/* ---- topics.c ---- */
struct fm_topic *fm_topic_find(struct fm_hub *h, struct fm_slice name);
/* What its history keeps, as the rules are now. */
void fm_topic_retention(struct fm_hub *h, struct fm_topic *t);
/* limited: topics_max holds (publishes and joins of our own; what the mesh brings is taken always). */
struct fm_topic *fm_topic_get(struct fm_hub *h, struct fm_slice name, bool limited);
struct fm_pos *fm_pos_find(const struct fm_topic *t, const struct fm_origin *o);
struct fm_pos *fm_pos_get(struct fm_topic *t, struct fm_origin *o);
void fm_pos_free(struct fm_pos *pos); /* its topic forgets it */
/* The newest seq that is not recoverable for a cursor, whether or not the topic has a position there. */
uint64_t fm_topic_floor(const struct fm_topic *t, const struct fm_origin *o);
uint64_t fm_topic_last(const struct fm_topic *t, const struct fm_origin *o);
/* One that holds nothing and has no subscriber; its origins remember how far. false: it is still needed, be it because the log names one of
 * its messages: the log's entries point to it. */
bool fm_topic_forget(struct fm_hub *h, struct fm_topic *t);
void fm_topics_free(struct fm_hub *h);

/* ---- store.c ---- */
/* Ages are counted on steady clocks: what a wall clock says, here or at the origin, evicts nothing. */
static inline uint64_t fm_msg_age_ms(const struct fm_hub *h, const struct fm_msg *m)
{
    int64_t ms = (int64_t)h->now.mono_ms - m->born_ms;
    return ms < (int64_t)FM_AGE_MAX ? (uint64_t)ms : FM_AGE_MAX;
}
FM_MUST_CHECK enum fm_err fm_store_add(struct fm_hub *h, struct fm_pos *pos, struct fm_msg *m);
void fm_history_add(struct fm_hub *h, struct fm_pos *pos, struct fm_msg *m);
void fm_history_expire(struct fm_hub *h, struct fm_topic *t);
void fm_log_expire(struct fm_hub *h, struct fm_origin *o);
void fm_tomb_set(struct fm_hub *h, struct fm_pos *pos, uint64_t seq);
void fm_store_relieve(struct fm_hub *h);
/* A message that was dispatched, or passed over: out of log and history, wherever it stands in them. */
void fm_store_strike(struct fm_hub *h, struct fm_origin *o, struct fm_log_entry *e);
/* Out of its history alone. */
void fm_store_hide(struct fm_hub *h, struct fm_log_entry *e);
void fm_store_sweep(struct fm_hub *h, uint32_t topics);
void fm_store_free(struct fm_hub *h);

/* ---- dispatch.c ---- */
void fm_hub_out(struct fm_hub *h, unsigned worker, struct fm_item *item);
/* A message with its id, own or from the mesh; takes the reference. Returns true if it was new. */
bool fm_receive(struct fm_hub *h, struct fm_origin *o, struct fm_msg *m);
/* Tells the topic's subscribers that what is from..to (FM_GAP_OPEN: or beyond) of the origin can't be had, and moves nothing. Who knows
 * that is complete as of asof_ms. */
void fm_gap_tell(struct fm_hub *h, const struct fm_topic *t, struct fm_id from, uint64_t to, enum fm_gap_reason reason, uint64_t asof_ms);
/* Everything of the topic up to `to` that isn't here is gone: tells it, then dispatches what waited behind. */
void fm_pos_gap(struct fm_hub *h, struct fm_pos *pos, uint64_t to, enum fm_gap_reason reason);
/* The same for every topic, since nobody knows which one it concerns. */
void fm_origin_gap(struct fm_hub *h, struct fm_origin *o, uint64_t to, enum fm_gap_reason reason);
/* contig goes to `to`, and on over what is held behind it; what waited and can go is dispatched. */
void fm_contig_advance(struct fm_hub *h, struct fm_origin *o, uint64_t to);

/* ---- publish.c ---- */
void fm_publish_handle(struct fm_hub *h, struct fm_publish *p);
/* A message of this node: it gets its id and goes out. Takes the reference. result may be NULL. */
FM_MUST_CHECK enum fm_err fm_publish_own(struct fm_hub *h, struct fm_msg *m, struct fm_publish_result *result);
void fm_waiters_check(struct fm_hub *h);
void fm_waiters_free(struct fm_hub *h);
/* Answers them with FM_E_CLOSED. */
void fm_waiters_close(struct fm_hub *h);
/* Every live node has all that this node has: its own messages, and those of others that may be nowhere else. Of a node that stays it is
 * what was here when the drain began: more comes all the time, and that node has it itself. */
bool fm_everyone_has_all(const struct fm_hub *h);
/* false: another message had this key on this topic before. */
bool fm_key_add(struct fm_hub *h, const struct fm_msg *m);
/* The message goes. A key that is younger than log_age stays known. */
void fm_key_leave(struct fm_hub *h, const struct fm_msg *m);
/* Forgets keys that are old enough, or too many. */
void fm_keys_tend(struct fm_hub *h);

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

/* ---- weigh.c ---- */
void fm_weigh_topic(struct fm_hub *h, const struct fm_topic *t);
/* All topics were weighed: the sum, with everything else, becomes stats.index_bytes. */
void fm_weigh_done(struct fm_hub *h);

/* ---- join.c ---- */
void fm_join_handle(struct fm_hub *h, struct fm_join *j);
void fm_leave_handle(struct fm_hub *h, struct fm_leave *l);
void fm_held_check(struct fm_hub *h);
void fm_held_free(struct fm_hub *h);
/* The position of the topic: what a subscriber who was given everything has. Never empty. */
void fm_topic_vector(struct fm_hub *h, const struct fm_topic *t, struct fm_vector *v);
/* recovered, start, skip and replay of a resume from `cursor`, which it changes; see join.c. What it fills is the caller's to free, also on
 * error. */
struct fm_resume {
    bool recovered;
    struct fm_vector start, skip;
    struct fm_msg **replay;
    uint32_t n;
};
FM_MUST_CHECK enum fm_err fm_resume(struct fm_hub *h, struct fm_topic *t, struct fm_vector *cursor, uint32_t max, struct fm_resume *r);

/* ---- parcel.c ---- */
void fm_parcel_handle(struct fm_hub *h, struct fm_parcel *p);
/* Those that wait leave, as far as they may. */
void fm_parcels_send(struct fm_hub *h);
/* Another node, which is known, has sent some: handed over, and answered at once. */
void fm_parcels_arrived(struct fm_hub *h, uint64_t handle, const struct fm_env *env);
/* The answer to some of ours; false: it is to something else. */
bool fm_parcels_answered(struct fm_hub *h, struct fm_bus_item *it);
void fm_parcels_free(struct fm_hub *h);

/* ---- probe.c ---- */
/* Joins and publishes of the node's own probe (see fm_topic_of_probe): answered here, true; others are left alone. */
bool fm_probe_join(struct fm_hub *h, struct fm_join *j);
bool fm_probe_publish(struct fm_hub *h, struct fm_publish *p);

/* ---- query.c ---- */
void fm_query_handle(struct fm_hub *h, struct fm_query *q);
/* ---- presence_query.c ---- */
FM_MUST_CHECK enum fm_err fm_presence_query(struct fm_hub *h, struct fm_query *q);

/* ---- strangers.c ---- */
/* After a link came up: sees to it that those of strangers are not too many. */
void fm_strangers_limit(struct fm_hub *h);
/* What came over the link is older than what that peer was heard to say. */
void fm_stranger_late(struct fm_hub *h, struct fm_link *l);
/* Now and then: ends links through which nobody of this cluster has spoken in time. */
void fm_strangers_expire(struct fm_hub *h);

/* ---- refusal.c ---- */
/* Counts envelopes that are refused and tells why. from: what is known of the sender, or NULL. */
void fm_refusal_tell(struct fm_hub *h, const char *event, const char *from, enum fm_err err, uint32_t times);
/* A dialled link came to nothing. refused: by us; else the other end closed it. The address is dialled again after a while. */
void fm_address_rest(struct fm_hub *h, const char *address, bool refused);
/* TLS did not come about with it. */
void fm_refusal_of_tls(struct fm_hub *h, const struct fm_bus_item *it);
bool fm_address_rests(struct fm_hub *h, const char *address);
/* A node of this cluster is there. */
void fm_address_good(struct fm_hub *h, const char *address);

/* ---- peers.c ---- */
struct fm_peer *fm_peer_find(const struct fm_hub *h, uint64_t incarnation);
void fm_peer_remove(struct fm_hub *h, uint32_t i);
/* `more` goes behind the fields that name it. */
void fm_peer_say(const struct fm_peer *p, enum fm_diag_level level, const char *event, const char *more);
/* It missed several heartbeats, but is not taken for down yet. */
bool fm_peer_suspect(const struct fm_hub *h, const struct fm_peer *p);
/* Who is asked for what is missing of an origin: the higher the better, never 0. Rather one that is heard than one that is not, another
 * than the last time, the origin itself than another. */
unsigned fm_holder_rank(const struct fm_hub *h, const struct fm_peer *p, uint64_t origin, uint64_t last);
/* Cuts to fit. */
void fm_text_copy(char *to, size_t size, struct fm_slice s);
void fm_peers_start(struct fm_hub *h);
void fm_peers_tick(struct fm_hub *h);
/* This node itself stood still for so long: nobody is down for not being heard meanwhile. */
void fm_peers_paused(struct fm_hub *h, uint64_t ms);
void fm_peers_free(struct fm_hub *h);
void fm_envelope_handle(struct fm_hub *h, struct fm_bus_item *it);
void fm_state_send(struct fm_hub *h, bool full);
/* How this node does, as it tells the others. */
struct fm_env_load fm_load_of(const struct fm_hub *h);
void fm_bye_send(struct fm_hub *h);
/* Is a hello owed that may go out now? */
bool fm_hello_due(const struct fm_hub *h);

/* ---- links.c ---- */
struct fm_link *fm_link_find(struct fm_hub *h, uint32_t pipe);
void fm_link_up(struct fm_hub *h, const struct fm_bus_item *it);
void fm_link_down(struct fm_hub *h, const struct fm_bus_item *it);
/* It goes with the FM_BUS_DOWN that follows. */
void fm_link_drop(struct fm_hub *h, struct fm_link *l);
/* An envelope of that node came over the pipe: counts those that are missing before it. False: it came over this pipe before. */
bool fm_link_heard(struct fm_hub *h, uint32_t pipe, uint64_t incarnation, uint64_t counter);
/* What came over the pipe is refused: so is the link. */
void fm_link_refuse(struct fm_hub *h, uint32_t pipe, enum fm_err err, uint32_t times);
/* The peer is what is behind the pipe. */
void fm_link_of(struct fm_hub *h, uint32_t pipe, struct fm_peer *p);
/* This node itself is. */
void fm_link_to_self(struct fm_hub *h, uint32_t pipe);
void fm_seeds_link(struct fm_hub *h);
/* Dials whom we know and have no link to. */
void fm_links_tend(struct fm_hub *h);
/* Linked now: at least one link leads to it. */
bool fm_peer_linked(const struct fm_hub *h, const struct fm_peer *p);
/* Every node that we know of, seeds too, is linked and told what it has. */
bool fm_everyone_linked(const struct fm_hub *h);
/* And has been for a while: an origin that nobody names then is forgotten by the cluster, not merely out of reach. */
bool fm_cluster_whole(const struct fm_hub *h);
/* Are there other nodes, as far as we know, and none of them alive? Tells when that begins and ends. */
void fm_isolation_check(struct fm_hub *h);

/* ---- batches.c ---- */
void fm_batches_send(struct fm_hub *h);
/* Is the mesh so far behind that a message accepted now might be evicted before it has left? */
bool fm_backlog_full(const struct fm_hub *h);
/* Drops the batches that nobody who holds the window still owes an acknowledgement for. true: there is room for another. */
bool fm_in_flight_settle(struct fm_hub *h);
/* Writes a range into h->scratch: from `from` on until `to` or until it has so many bytes. Returns what upto is. *size grows by that of the
 * messages. */
uint64_t fm_range_write(struct fm_hub *h, struct fm_origin *o, uint64_t from, uint64_t to, size_t bytes, uint64_t *size);

/* ---- repair.c ---- */
/* True: the sender wants to know soon that it is here. */
bool fm_range_apply(struct fm_hub *h, struct fm_peer *from, struct fm_slice body, bool answer);
void fm_ask_handle(struct fm_hub *h, struct fm_bus_item *it);
/* Answers some of what other nodes ask, behind everything live. */
void fm_asks_serve(struct fm_hub *h);
void fm_answer_handle(struct fm_hub *h, struct fm_bus_item *it);
void fm_repair_tick(struct fm_hub *h);
/* This node itself stood still: holes get their time anew. */
void fm_repair_paused(struct fm_hub *h);
/* Is something of the origin known to exist that isn't here? */
bool fm_origin_hole(const struct fm_origin *o);
