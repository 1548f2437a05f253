/* Inside the hub: the other nodes, and what goes to them and comes from them. Included by hub_core.h.
 *
 *   peers.c    hello, state, membership             links.c    who is dialled, which link stays
 *   batches.c  what is published goes out           repair.c   ranges in, holes and pulls
 *   parcel.c   messages for one other node          strangers.c, refusal.c  who is not of this cluster, and what is told of it */
#pragma once

#include "bus.h"
#include "diag.h"
#include "envelope.h"
#include "hub.h"

struct fm_origin;

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

struct fm_asked { /* another node's ask that waits to be answered */
    uint64_t handle;
    struct fm_env_bind bind;
    bool of_presence; /* which of the two */
    struct fm_env_pull pull;
    struct fm_env_presence_pull presence;
};

enum { FM_SUSPECT_AFTER = 3 }; /* heartbeats that did not come */
enum { FM_ASKED_MAX = 64 };    /* as many as the bus holds for us */
enum { FM_REFUSED_MAX = 64 };

struct fm_refused {                 /* an address where somebody was refused, or we were */
    char place[FM_ADDRESS_MAX + 1]; /* host:port that we dial; the host alone of who dials us */
    uint64_t used_ms;
    struct fm_diag_pause told;
    enum fm_err why;        /* as it was told */
    char text[64];          /* of FM_E_TLS: the beginning of why */
    uint64_t rest_until_ms; /* not dialled before */
    uint32_t rest_ms;
    uint32_t closed; /* links in a row that the other end closed without a word */
};

struct fm_courier; /* parcel.c: parcels on their way to one other node */

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

/* ---- parcel.c ---- */
void fm_parcel_handle(struct fm_hub *h, struct fm_parcel *p);
/* Those that wait leave, as far as they may. */
void fm_parcels_send(struct fm_hub *h);
/* Another node, which is known, has sent some: handed over, and answered at once. */
void fm_parcels_arrived(struct fm_hub *h, uint64_t handle, const struct fm_env *env);
/* The answer to some of ours; false: it is to something else. */
bool fm_parcels_answered(struct fm_hub *h, struct fm_bus_item *it);
void fm_parcels_free(struct fm_hub *h);
