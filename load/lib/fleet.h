/* Many clients in one thread: they connect at a bounded rate, join their topics, receive, and when cut off connect to another node and join
 * again (with their cursors, where the framing has any). Every message is judged by the ledger of its topic; the fleet's owner learns of
 * messages that all subscribers have, and of answers to pushes. A client costs about 250 bytes besides the kernel's, and 150 a topic.
 *
 * -- owner only -- */
#pragma once

#include "hdr.h"
#include "ledger.h"
#include "loop.h"
#include "node.h"
#include "spread.h"

#include <stdatomic.h>

enum { FM_FLEET_NODES_MAX = 64, FM_FLEET_TOPIC_MAX = 128 };

/* Moments of the run (fm_mono_ns). Whoever conducts it sets them, whoever receives a message reads them: it counts for what was going
 * on when it was published. */
struct fm_times {
    _Atomic uint64_t measure_ns; /* what was published before isn't measured */
    _Atomic uint64_t storm_ns;   /* and what was published from here... */
    _Atomic uint64_t calm_ns;    /* ...to here belongs to the storm */
};

struct fm_fleet_config {
    struct fm_loop *loop;
    const struct fm_node *nodes;
    uint32_t nodes_n;
    struct fm_tls *tls; /* NULL: no node needs it */
    const struct fm_framing *framing;
    struct fm_speech speech;
    bool ids;                 /* messages carry ids, and joins cursors */
    struct fm_spread spread;  /* of the whole run; */
    uint32_t first, clients;  /* the part of it that is here */
    const char *topic_prefix; /* topic t is this and t in decimal */
    uint32_t sources;         /* 127.0.0.1 ... of this many addresses; 1: the kernel chooses */
    uint32_t streams;         /* fm_fleet_stream gives larger numbers */
    uint32_t connect_rate;    /* new connections a second; 0: all at once */
    uint32_t connecting_max;  /* connections that are begun and not joined; 0: as many as the rate brings */
    uint32_t heartbeat_ms;    /* 0: none */
    uint32_t beat_timeout_ms; /* a heartbeat without an answer for so long: the connection is given up */
    uint32_t timeout_ms;      /* of connecting, opening and joining, each */
    bool verify;              /* false: messages are counted, and not judged */
    bool mute;                /* they join nothing and only push; what they are given is of no interest */
    struct fm_tally *tally;
    const struct fm_times *times;
    struct fm_hdr *latency;  /* nanoseconds from the stamp to the delivery, */
    struct fm_hdr *stormy;   /* or here what was published in the storm */
    struct fm_hdr *lately;   /* both, for whoever empties it from time to time; may be NULL */
    struct fm_hdr *joins;    /* nanoseconds from the first step of connecting until all topics are joined */
    struct fm_hdr *recovery; /* nanoseconds from the loss of a connection until all that was missed is there */
    /* All subscribers here have the message now. */
    void (*taken)(void *ctx, uint32_t topic, uint64_t number, uint64_t sent_ns, uint64_t now_ns);
    /* A message that the topic's ledger doesn't know yet; may be NULL. */
    void (*follow)(void *ctx);
    /* The answer to a push. id.origin 0: without an id. */
    void (*answered)(void *ctx, uint32_t topic, uint64_t number, bool accepted, struct fm_id id);
    /* This connection is gone; its pushes to the topic that have no answer won't get one. */
    void (*broken)(void *ctx, uint32_t topic, uint32_t stream);
    void *ctx;
};

#define FM_FLEET_STATS(X) \
    X(joined, "clients joined at this moment") \
    X(connects, "connections begun") \
    X(connect_failures, "connections that could not be made, opened or joined") \
    X(silent, "connections given up since a heartbeat was not answered in time") \
    X(reconnects, "joins of topics again after a loss of connection") \
    X(recovered, "times that a client was cut off and then had again all that the join announced") \
    X(unrecovered, "joins answered with recovered: false") \
    X(replayed, "messages that joins announced as replayed") \
    X(gaps, "gap events")

struct fm_fleet_stats {
#define X(name, prose) uint64_t name;
    FM_FLEET_STATS(X)
#undef X
    unsigned last_status;  /* HTTP status of the last refused opening; 0: none */
    unsigned last_close;   /* code of the last CLOSE received; 0: none */
    int last_errno;        /* of the last connection that broke; 0: none */
    char last_refusal[96]; /* reason of the last refused join */
};

struct fm_fleet;

/* Makes the clients; they connect from the first tick on. ledgers: one a topic, empty; borrowed. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_fleet_new(struct fm_fleet **fleet, const struct fm_fleet_config *config, struct fm_ledger *ledgers);
void fm_fleet_free(struct fm_fleet **fleet);
/* What is due by time: connects, heartbeats, time limits. Call it every few milliseconds. */
void fm_fleet_tick(struct fm_fleet *fleet, uint64_t now_ns);
const struct fm_fleet_stats *fm_fleet_stats(const struct fm_fleet *fleet);
/* A topic's name, zero-terminated. */
void fm_fleet_topic(const struct fm_fleet *fleet, uint32_t topic, char out[FM_FLEET_TOPIC_MAX]);
/* A number that no other connection of this run has or will have: fm_stamp.stream. */
uint32_t fm_fleet_stream(struct fm_fleet *fleet);

/* ---- storms ---- */

/* Whether clients that are away stay so. */
void fm_fleet_hold(struct fm_fleet *fleet, bool hold);
/* As fm_fleet_config.connect_rate. */
void fm_fleet_rate(struct fm_fleet *fleet, uint32_t connect_rate);
/* Cuts off `n` clients from the first-th on, where they aren't away already; how many there were to look at. */
uint32_t fm_fleet_cut(struct fm_fleet *fleet, uint32_t first, uint32_t n);

/* ---- publishing ---- */

struct fm_seat_view { /* a client's place on a topic */
    uint32_t topic;
    uint32_t stream;
    uint8_t node;
    bool joined;
};

/* A seat on the topic that is joined, on that node if there is one, else on another; FM_SEAT_NONE: there is none. Good until the next
 * step. */
uint32_t fm_fleet_publisher(struct fm_fleet *fleet, uint32_t topic, uint32_t node);
uint32_t fm_fleet_clients(const struct fm_fleet *fleet);
uint32_t fm_fleet_seats(const struct fm_fleet *fleet); /* numbered from 0, client by client */
struct fm_seat_view fm_fleet_seat(const struct fm_fleet *fleet, uint32_t seat);
/* Pushes a payload; `answered` or `broken` follows where the framing has answers. It leaves with the next flush, together with the client's
 * other pushes. */
void fm_fleet_push(struct fm_fleet *fleet, uint32_t seat, uint64_t number, struct fm_slice payload);
void fm_fleet_flush(struct fm_fleet *fleet);

/* Judges what never came to anyone. Once, at the end. */
void fm_fleet_judge(struct fm_fleet *fleet, const struct fm_gone *gone);
