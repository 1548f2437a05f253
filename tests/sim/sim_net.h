/* Inside the simulated network: what bus_sim.c (the port, questions, dialling) and sim_wire.c (links and their packets) share.
 *
 * Everything here lives until the network is freed, so that an event never meets a pointer that is gone; only struct fm_bus ends earlier,
 * and then all that pointed to it is NULL. */
#pragma once

#include "bus_sim.h"

struct packet {
    struct packet *next;
    uint64_t leaves_us, due_us;
    uint32_t n;
    uint8_t bytes[];
};

struct lane { /* one direction of a link */
    struct packet *first, **last;
    uint64_t free_us, due_us; /* when the sender is free again; when the newest packet arrives */
    bool dead;                /* nothing arrives any more, and nobody says so */
};

struct wire { /* a link; end 0 dialled it */
    struct wire *next;
    struct fm_sim_net *net;
    struct fm_bus *end[2]; /* NULL: this end knows that the link is gone */
    struct place *place[2];
    struct lane to[2]; /* towards that end */
    uint32_t pipe[2];
    struct dial *dial;
    bool half_open; /* one end is gone, and the other won't hear of it */
};

struct place {
    char listen[64], ask[64];
    struct fm_bus *bus;
    bool stalled;
    unsigned index;
};

struct dial {
    struct dial *next;
    struct fm_bus *bus; /* NULL: ended */
    struct place *to;
    struct wire *wire; /* the connection, if there is one */
    uint64_t backoff_us;
};

struct ask {
    struct ask *next;
    struct fm_sim_net *net;
    struct fm_bus *from, *to;
    struct place *from_place, *to_place;
    uint64_t id, handle[2]; /* handle[1]: of the doubled question */
    bool answered, ended;
    struct fm_buf answer; /* on its way */
    uint32_t n;
    uint8_t bytes[];
};

struct fm_sim_net {
    struct fm_sim_clock *clock;
    struct fm_sim_rand rand;
    struct fm_sim_faults faults;
    struct fm_sim_net_stats stats;
    struct place places[FM_SIM_PLACES_MAX];
    unsigned places_n, cut_epoch;
    bool cut[FM_SIM_PLACES_MAX][FM_SIM_PLACES_MAX];
    uint64_t lag_us[FM_SIM_PLACES_MAX][FM_SIM_PLACES_MAX];
    struct wire *wires;
    struct dial *dials;
    struct ask *asks;
    uint64_t handles, serials;
};

struct fm_bus {
    struct fm_sim_net *net;
    struct place *place;
    struct fm_bus_config config;
    uint64_t serial; /* tells it from other buses at its place */
    uint32_t pipes;
};

/* bus_sim.c */
struct place *sim_place(struct fm_sim_net *net, const char *address);
bool sim_open(const struct fm_sim_net *net, const struct place *from, const struct place *to);
uint64_t sim_delay_us(struct fm_sim_net *net);
void sim_dial_lost(struct dial *dial);
struct fm_bus_item *sim_item(enum fm_bus_event event, const void *bytes, size_t n);
void sim_deliver(struct fm_bus *bus, struct fm_bus_item *item);

/* sim_wire.c */
struct wire *sim_wire_new(struct fm_sim_net *net, struct dial *dial);
void sim_wires_free(struct fm_sim_net *net);
void sim_wire_send(struct wire *w, unsigned to, struct fm_slice bytes);
/* One end gives up: it hears DOWN (unless silent), the other end learns of it when the network lets it. */
void sim_wire_end(struct wire *w, unsigned end, bool silent);
/* The way between two places opened or closed, or a place reads again. */
void sim_wires_moved(struct fm_sim_net *net);
/* Both ends of links that are cut begin to lose patience. */
void sim_wires_cut(struct fm_sim_net *net);
