/* Publishes at a rate, or so that a fixed number of messages is in flight (one is in flight until every subscriber of its topic has it), on
 * all nodes and topics in turn: by a push of a subscriber, or by HTTP POST. Every answer goes into the ledger.
 *
 * -- owner only -- */
#pragma once

#include "board.h"
#include "http_post.h"

struct fm_publisher_config {
    struct fm_loop *loop;
    struct fm_fleet *fleet;
    struct fm_ledger *ledgers; /* one a topic */
    uint32_t topics, nodes_n;
    bool members;               /* every seat pushes in turn to its topic, instead of one of each topic on each node */
    bool answers;               /* pushes are answered */
    struct fm_tls *tls;         /* NULL: no API needs it */
    const struct fm_node *apis; /* none: pushes. With FM_TOPIC_MARK in its path or query it is given the payload alone */
    uint32_t apis_n;
    uint32_t api_connections;    /* to each */
    const char *api_key;         /* may be NULL */
    uint32_t api_timeout_ms;     /* of one request */
    uint32_t replicated_percent; /* of the messages: they ask for ack replicated. HTTP only, as the next two */
    uint32_t keyed_percent;      /* of the messages: they carry an idempotency key, and are published again elsewhere if that is needed */
    uint32_t retries;            /* of a message with a key */
    uint64_t messages;           /* 0: until the time is over */
    uint64_t duration_ns;        /* 0: until the messages are sent */
    uint64_t warmup;             /* messages before `measure` */
    double rate;                 /* messages a second; 0: window */
    uint32_t window;
    uint32_t payload_bytes;
    uint64_t stall_ns; /* without progress for so long, what is in flight no longer holds up the window */
    struct fm_tally *tally;
    struct fm_board *board;                      /* where other processes learn of publishes; NULL: none has to */
    void (*measure)(void *ctx, uint64_t due_ns); /* the next message, stamped so, is the first that counts */
    void *ctx;
};

struct fm_publisher;

FM_MUST_CHECK enum fm_err fm_publisher_new(struct fm_publisher **p, const struct fm_publisher_config *config);
void fm_publisher_free(struct fm_publisher **p);
/* Publishes what is due. Call it every few milliseconds; the first call begins. */
void fm_publisher_tick(struct fm_publisher *p, uint64_t now_ns);
/* Connects to the APIs; true when there is a connection to each, or none is needed. */
bool fm_publisher_ready(struct fm_publisher *p, uint64_t now_ns);
/* Nothing new is published from now on. */
void fm_publisher_stop(struct fm_publisher *p);
/* Nothing more is answered: what was pushed where pushes have no answers counts as accepted. */
void fm_publisher_settle(struct fm_publisher *p);
/* Everything that was to be published was sent. */
bool fm_publisher_done(const struct fm_publisher *p);
/* Requests without an answer, and messages that are to be published again. */
bool fm_publisher_pending(const struct fm_publisher *p);
const struct fm_publisher_stats *fm_publisher_stats(const struct fm_publisher *p);

/* What the fleet tells (fm_fleet_config). */
void fm_publisher_taken(struct fm_publisher *p, uint32_t topic, uint64_t number);
void fm_publisher_answered(struct fm_publisher *p, uint32_t topic, uint64_t number, bool accepted, struct fm_id id);
void fm_publisher_broken(struct fm_publisher *p, uint32_t topic, uint32_t stream);
