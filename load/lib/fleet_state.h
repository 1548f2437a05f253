/* What the files of the fleet share: fleet.c has the clients and what is due; client.c connects, sends and reads bytes; client_take.c
 * understands what the server said.
 *
 * -- owner only -- */
#pragma once

#include "fleet.h"
#include "http_answer.h"

enum state { AWAY, CONNECTING, OPENING, GREETING, JOINING, JOINED };

enum { READ_BYTES = 256 * 1024, REST_MAX = FM_ITEM_MAX + 16 };

struct fm_seat {
    struct fm_view view;
    uint64_t replay; /* messages that the join announced and that are still to come */
    uint32_t topic;
    uint32_t unanswered; /* pushes */
    bool joined, was_joined;
    bool behind; /* not joined again, or something announced is still to come */
};

struct fm_client {
    struct fm_handler handler; /* first */
    struct fm_fleet *fleet;
    struct fm_conn conn;
    uint32_t stream;
    uint32_t waits; /* seats that are not joined yet */
    uint8_t state, node;
    bool waits_out;
    bool chunked; /* FM_CARRIER_HTTP: */
    struct fm_chunks chunks;
    struct fm_ws_in ws;
    uint64_t since_ns;             /* of the state; AWAY: when to connect again */
    uint64_t beat_ns;              /* when the first heartbeat that waits for its answer left; 0: none waits */
    uint64_t lost_ns;              /* when a joined connection was lost; 0: everything missed then is there */
    uint32_t behind;               /* seats that are */
    struct fm_buf rest;            /* an incomplete frame */
    struct fm_buf parts;           /* a message in fragments */
    struct fm_buf tail;            /* what begins in one message of a stream and ends in another */
    struct fm_buf out;             /* what the kernel did not take */
    struct fm_client *next;        /* of those that are away */
    struct fm_client *next_pushed; /* of those with pushes to send */
};

struct fm_fleet {
    struct fm_fleet_config config;
    struct fm_fleet_stats stats;
    size_t prefix_n;
    struct fm_client *at;
    struct fm_seat *seats;              /* spread.per_client of each client */
    struct fm_client *away, **away_end; /* in the order in which they are due, nearly */
    struct fm_client *pushed;           /* have something in `out` that was not tried yet */
    uint32_t connecting;                /* begun and not joined */
    bool held;                          /* nobody connects */
    uint32_t streams;
    uint32_t *by_topic, *topic_starts; /* the seats of topic t are by_topic[topic_starts[t]] to before topic_starts[t + 1] */
    uint32_t *picks;                   /* the publisher found last, by topic and node */
    double tokens;                     /* connections that may begin now */
    uint64_t ticked_ns, swept_ns, beats, beats_since_ns;
    uint32_t mask;
    struct fm_ws_key key;      /* one for all: it proves only that the server speaks WebSocket */
    struct fm_url url;         /* scratch: a node's, with the topic in it */
    struct fm_buf text, frame; /* scratch */
    uint8_t *read;             /* where everything is received; room for one read behind the longest rest */
};

static inline struct fm_seat *fm_client_seats(const struct fm_client *c)
{
    return c->fleet->seats + (size_t)(c - c->fleet->at) * c->fleet->config.spread.per_client;
}

/* ---- client.c ---- */

void fm_client_ready(struct fm_handler *h, uint32_t events);
void fm_client_connect(struct fm_client *c, uint64_t now_ns);
/* The connection is over; the client goes to another node after a short, spread-out rest. */
void fm_client_drop(struct fm_client *c);
/* Says what `fleet->text` holds. */
void fm_client_say(struct fm_client *c);
/* As a frame of WebSocket's own. */
void fm_client_control(struct fm_client *c, enum fm_ws_kind kind, struct fm_slice payload);
void fm_client_flush(struct fm_client *c);
uint32_t fm_fleet_draw(struct fm_fleet *f);
void fm_fleet_away(struct fm_client *c, uint64_t due_ns);

/* ---- client_take.c ---- */

/* What the server said. false: the connection is of no more use. */
FM_MUST_CHECK bool fm_client_take(struct fm_client *c, const struct fm_saying *said);
/* The server takes joins: the client joins. false: as above. */
FM_MUST_CHECK bool fm_client_join(struct fm_client *c);
