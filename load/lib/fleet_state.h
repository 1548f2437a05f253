/* What the files of the fleet share: fleet.c connects, sends and reads bytes; fleet_text.c understands what the node said.
 *
 * -- owner only -- */
#pragma once

#include "fleet.h"

enum state { AWAY, CONNECTING, UPGRADING, JOINING, JOINED };

struct fm_client {
    struct fm_handler handler; /* first */
    struct fm_fleet *fleet;
    int fd;
    uint32_t topic, stream;
    uint8_t state, node;
    bool was_joined, waits_out;
    uint32_t unanswered; /* pushes */
    struct fm_ws_in ws;
    uint64_t since_ns;             /* of the state; AWAY: when to connect again */
    uint64_t beat_ns;              /* when the first heartbeat that waits for its answer left; 0: none waits */
    uint64_t lost_ns;              /* when a joined connection was lost; 0: everything missed then is there */
    uint64_t replay;               /* messages that the join announced and that are still to come */
    struct fm_buf rest;            /* an incomplete frame */
    struct fm_buf parts;           /* a message in fragments */
    struct fm_buf out;             /* what the kernel did not take */
    struct fm_client *next;        /* of those that are away */
    struct fm_client *next_pushed; /* of those with pushes to send */
    struct fm_view view;
};

struct fm_fleet {
    struct fm_fleet_config config;
    struct fm_fleet_stats stats;
    struct fm_client *at;
    struct fm_client *away, **away_end; /* in the order in which they are due, nearly */
    struct fm_client *pushed;           /* have something in `out` that was not tried yet */
    uint32_t connecting;                /* begun and not joined */
    uint32_t streams;
    uint32_t *picks; /* the publisher found last, by topic and node */
    double tokens;   /* connections that may begin now */
    uint64_t ticked_ns, swept_ns, beats, beats_since_ns;
    uint32_t mask;
    struct fm_ws_key key;      /* one for all: it proves only that the server speaks WebSocket */
    struct fm_buf text, frame; /* scratch */
    uint8_t *read;             /* where everything is received; room for one read behind the longest rest */
};

/* A message of the node. false: the connection is of no more use. */
FM_MUST_CHECK bool fm_client_text(struct fm_client *c, struct fm_slice text);
/* Sends, or keeps what the kernel doesn't take. */
void fm_client_send_frame(struct fm_client *c, enum fm_ws_kind kind, struct fm_slice payload);
