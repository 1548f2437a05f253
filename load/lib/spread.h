/* Who is where: which node a client begins on, and which topics it joins. Pure arithmetic, so that every process of a run knows it of all.
 *
 * -- any thread -- */
#pragma once

#include "framing.h"

struct fm_spread {
    uint32_t clients; /* of the whole run */
    uint32_t nodes;
    uint32_t topics;
    uint32_t per_client; /* topics that each joins; at most `topics` */
    uint32_t members;    /* 0: topics are dealt out evenly; else client i is in room i / members */
};

/* Topics are dealt out so that the subscribers of each are on different nodes. */
uint32_t fm_spread_node(const struct fm_spread *s, uint32_t client);
/* The topic of its seat; its seats' topics follow one another. */
uint32_t fm_spread_topic(const struct fm_spread *s, uint32_t client, uint32_t seat);
/* FM_SEAT_NONE: it doesn't join this topic. */
uint32_t fm_spread_seat(const struct fm_spread *s, uint32_t client, uint32_t topic);
