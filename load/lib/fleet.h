/* Many WebSocket clients in one thread: they connect at a bounded rate, join one topic each, receive, and when cut off connect to another
 * node and join again with their cursor. Every broadcast is judged by the ledger of its topic; the fleet's owner learns of deliveries and
 * of answers to pushes. A client costs about 350 bytes besides the kernel's.
 *
 * -- owner only -- */
#pragma once

#include "hdr.h"
#include "ledger.h"
#include "loop.h"
#include "wire.h"

#include "../../gateway/ws_client.h"

#include <netinet/in.h>

enum { FM_FLEET_NODES_MAX = 64, FM_FLEET_TOPIC_MAX = 128 };

#define FM_LOAD_EVENT "load"

struct fm_node {
    struct fm_url url;
    struct sockaddr_in address;
};

/* ws://host:port[/path?query] or http://...; the host is resolved here, once. FM_E_ADDRESS, FM_E_TOO_LARGE. */
FM_MUST_CHECK enum fm_err fm_node_parse(struct fm_slice text, const char *scheme, struct fm_node *node);
/* A non-blocking connect from 127.0.0.(1 + source) where source > 0; the socket, or -1 with errno. */
int fm_node_connect(const struct fm_node *node, uint32_t source);

struct fm_fleet_config {
    struct fm_loop *loop;
    const struct fm_node *nodes;
    uint32_t nodes_n;
    uint32_t clients; /* client i begins on node i mod nodes and joins topic (i / nodes) mod topics; fewer than topics x nodes: for API
                         publishes */
    uint32_t topics;
    const char *topic_prefix; /* topic t is this and t in decimal */
    bool plain;               /* no cursors: no ids in broadcasts, nothing resumed */
    uint32_t sources;         /* 127.0.0.1 ... of this many addresses; 1: the kernel chooses */
    uint32_t connect_rate;    /* new connections a second */
    uint32_t heartbeat_ms;    /* 0: none */
    uint32_t beat_timeout_ms; /* a heartbeat without an answer for so long: the connection is given up */
    uint32_t timeout_ms;      /* of connecting, upgrading and joining, each */
    struct fm_tally *tally;
    struct fm_hdr *latency;  /* nanoseconds from the stamp to the delivery */
    struct fm_hdr *lately;   /* the same, for whoever empties it from time to time; may be NULL */
    struct fm_hdr *recovery; /* nanoseconds from the loss of a connection until all that was missed is there */
    /* A delivery that was new; `last`: no subscriber lacks the message now. */
    void (*taken)(void *ctx, uint32_t topic, uint64_t number, bool last);
    /* The answer to a push. id.origin 0: without an id. */
    void (*answered)(void *ctx, uint32_t topic, uint64_t number, bool accepted, struct fm_id id);
    /* This connection is gone; its pushes without an answer won't get one. */
    void (*broken)(void *ctx, uint32_t topic, uint32_t stream);
    void *ctx;
};

#define FM_FLEET_STATS(X) \
    X(joined, "clients joined at this moment") \
    X(connects, "connections begun") \
    X(connect_failures, "connections that could not be made, upgraded or joined") \
    X(silent, "connections given up since a heartbeat was not answered in time") \
    X(reconnects, "joins again after a loss of connection") \
    X(recovered, "times that a client was cut off and then had again all that the join announced") \
    X(unrecovered, "joins answered with recovered: false") \
    X(replayed, "messages that joins announced as replayed") \
    X(gaps, "gap events")

struct fm_fleet_stats {
#define X(name, prose) uint64_t name;
    FM_FLEET_STATS(X)
#undef X
    unsigned last_status;  /* HTTP status of the last refused upgrade; 0: none */
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

/* A joined client of the topic, on that node if there is one, else on another; NULL: none is joined. Good until the next step. */
struct fm_client *fm_fleet_publisher(struct fm_fleet *fleet, uint32_t topic, uint32_t node);
uint32_t fm_client_stream(const struct fm_client *client);
uint8_t fm_client_node(const struct fm_client *client);
/* Pushes a payload; `answered` or `broken` follows. It leaves with the next flush, together with the client's other pushes. */
void fm_client_push(struct fm_client *client, uint64_t number, struct fm_slice payload);
void fm_fleet_flush(struct fm_fleet *fleet);

/* Judges what never came to anyone. Once, at the end. */
void fm_fleet_judge(struct fm_fleet *fleet, const struct fm_gone *gone);
