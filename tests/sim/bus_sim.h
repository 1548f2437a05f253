/* The bus of the simulator: struct fm_bus_ops over a network inside the process, in virtual time, with faults drawn from a seed.
 *
 * What it does to the publish plane, as TCP and bus0 would: it keeps order within a link unless told otherwise, reorders between links by
 * delaying each packet, loses and doubles packets, stalls a link that is cut or whose receiver does not read, and then drops silently
 * beyond 16 queued packets. To the ask plane: it delays, loses and doubles questions, and loses answers. A cut is noticed by each end on
 * its own, late; a link may meanwhile be half open.
 *
 * A bus is at a place: the "host:port" on which its publish plane listens. Cuts lie between places and outlive the buses there.
 *
 * -- owner only: one simulation, one thread -- */
#pragma once

#include "../../broker/bus.h"
#include "sim_clock.h"

enum { FM_SIM_QUEUE = 16 /* bus0's queue a pipe */, FM_SIM_PLACES_MAX = 32 };

struct fm_sim_faults {
    uint64_t delay_us_min, delay_us_max; /* of every packet, question and answer */
    uint64_t spike_us;                   /* a delay that now and then comes on top */
    uint32_t spike_ppm, loss_ppm, dup_ppm, ask_loss_ppm, ask_dup_ppm;
    uint64_t send_us;                      /* a link's sender needs this long for a packet: what lies behind it is the queue */
    uint64_t detect_us_min, detect_us_max; /* until an end of a cut link gives up */
    bool reorder_in_link;                  /* packets of one link may overtake each other */
    bool deaf_to_pulls;                    /* a mutation: questions arrive, the answers are thrown away */
};

struct fm_sim_net_stats {
    uint64_t sent, delivered, lost, doubled, overflowed, asks, asks_lost, links, links_down;
};

struct fm_sim_net;

/* The clock outlives the network, but is not run any more once the network is freed; all buses are stopped before it. */
struct fm_sim_net *fm_sim_net_new(struct fm_sim_clock *clock, uint64_t seed, const struct fm_sim_faults *faults);
void fm_sim_net_free(struct fm_sim_net **net);
/* Buses started from now on belong to this network (fm_bus_ops.start has no room for it). NULL: none. */
void fm_sim_net_use(struct fm_sim_net *net);
/* From now on; packets under way keep what was drawn for them. */
void fm_sim_net_faults_set(struct fm_sim_net *net, const struct fm_sim_faults *faults);
const struct fm_sim_net_stats *fm_sim_net_stats(const struct fm_sim_net *net);

/* Nothing gets from `a` to `b` any more (and from `b` to `a`, unless one_way), until it is healed. */
void fm_sim_net_cut(struct fm_sim_net *net, const char *a, const char *b, bool one_way);
void fm_sim_net_heal(struct fm_sim_net *net, const char *a, const char *b);
void fm_sim_net_heal_all(struct fm_sim_net *net);
/* What `a` sends to `b` takes so much longer from now on. Questions do not. */
void fm_sim_net_lag(struct fm_sim_net *net, const char *a, const char *b, uint64_t us);
/* All links between the two die, with what is under way; both ends learn of it soon, and may dial again. */
void fm_sim_net_reset(struct fm_sim_net *net, const char *a, const char *b);
/* The links that stand between the two now are dead, and nobody says so. forgotten: `a` knows nothing of them any more, `b` believes in
 * them until it gives up by itself; otherwise both believe, and nothing gets from `a` to `b`. New links are as good as ever. */
void fm_sim_net_half_open(struct fm_sim_net *net, const char *a, const char *b, bool forgotten);
/* A stalled place reads nothing: its links back up. What arrived before stays. */
void fm_sim_net_stall(struct fm_sim_net *net, const char *place, bool stalled);

extern const struct fm_bus_ops fm_bus_sim;
