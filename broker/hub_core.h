/* Inside the hub: what its files share. Nobody else includes this.
 *
 *   hub.c      life, the step function, time      dispatch.c what a message does on arrival
 *   publish.c  own messages: ids, keys, acknowledgements
 *   join.c     joins and cursors                 query.c    answers for the HTTP API
 *   probe.c    the node's messages to itself     weigh.c    what all of that takes
 *
 * and what has a header of its own, with its invariants:
 *   store_core.h     what a node remembers       mesh_core.h     the other nodes
 *   presence_core.h  who is on which topic       control_core.h  commands and questions to the cluster */
#pragma once

#include "control_core.h"
#include "hub.h"
#include "keys.h"
#include "mesh_core.h"
#include "mutation.h"
#include "presence_core.h"
#include "store_core.h"

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

struct fm_chain {
    struct fm_item *first, **last;
};

enum { FM_DROPPED_MAX = 1024 };

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
    struct fm_diag_pause keys_told; /* those that were forgotten early */
    struct fm_diag_pause dials_told;
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
    struct fm_diag_pause refusals[FM_ERR_COUNT];
    struct fm_refused refused[FM_REFUSED_MAX];
    uint32_t refused_n;
    uint64_t lost; /* bit i: something for worker i could not be made */
    struct fm_buf scratch, sealed;
};

/* ---- counters that every message goes through: only the hub's thread writes them, so it needs no locked instruction for that ---- */
static inline void fm_stat_set(_Atomic uint64_t *stat, uint64_t value)
{
    atomic_store_explicit(stat, value, memory_order_relaxed);
}

static inline void fm_stat_add(_Atomic uint64_t *stat, uint64_t n)
{
    fm_stat_set(stat, atomic_load_explicit(stat, memory_order_relaxed) + n);
}

/* Ages are counted on steady clocks: what a wall clock says, here or at the origin, evicts nothing. */
static inline uint64_t fm_msg_age_ms(const struct fm_hub *h, const struct fm_msg *m)
{
    int64_t ms = (int64_t)h->now.mono_ms - m->born_ms;
    return ms < (int64_t)FM_AGE_MAX ? (uint64_t)ms : FM_AGE_MAX;
}
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

/* ---- probe.c ---- */
/* Joins and publishes of the node's own probe (see fm_topic_of_probe): answered here, true; others are left alone. */
bool fm_probe_join(struct fm_hub *h, struct fm_join *j);
bool fm_probe_publish(struct fm_hub *h, struct fm_publish *p);

/* ---- query.c ---- */
void fm_query_handle(struct fm_hub *h, struct fm_query *q);

/* ---- presence_query.c ---- */
FM_MUST_CHECK enum fm_err fm_presence_query(struct fm_hub *h, struct fm_query *q);
