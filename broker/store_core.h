/* Inside the hub: what a node remembers of an origin and of a topic. Included by hub_core.h.
 *
 *   topics.c   topics, positions                    store.c    logs, histories, eviction
 *   origins.c  which are known, and which are forgotten
 *   settle.c   how those end whose node is gone     asof.c     what they may have held, when nobody names them any more
 *
 * Invariants (checked by assertions and by the simulator):
 *   - A message is in exactly one log (its origin's); histories only refer to it, and let go before it leaves the log.
 *   - Everything of an origin up to `contig` was dispatched here, or told as a gap, or was gone before this node joined.
 *   - pos->last only grows; what is dispatched on a topic has a seq above it. */
#pragma once

#include "envelope.h"
#include "hub.h"
#include "log.h"
#include "table.h"

struct fm_deletion;
struct fm_origin;
struct fm_topic;

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
