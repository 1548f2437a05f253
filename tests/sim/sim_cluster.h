/* A cluster in one process: hubs of broker/hub.h over the simulated network, their workers, clients that join, move and resume,
 * publishers, and somebody who cuts, freezes and kills. Everything follows from a plan and a seed: the same two give the same run, event
 * for event.
 *
 * -- owner only: one simulation, one thread -- */
#pragma once

#include "bus_sim.h"
#include "sim_check.h"

enum { FM_SIM_NODES_MAX = 8, FM_SIM_WORKERS_MAX = 2, FM_SIM_TOPICS_MAX = 16 };

enum fm_sim_trouble { /* bits */
                      FM_SIM_SPLIT = 1,
                      FM_SIM_CUT_PAIR = 2, /* A-B, B-C, not A-C */
                      FM_SIM_CUT_ONE_WAY = 4,
                      FM_SIM_ISOLATE = 8,
                      FM_SIM_FREEZE = 16,   /* a node makes no step for a while */
                      FM_SIM_KILL = 32,     /* its state is lost; most come back as a new incarnation */
                      FM_SIM_LEAVE = 64,    /* drains, then goes */
                      FM_SIM_OVERRUN = 128, /* a worker loses what is in its inbox and reads its topics again */
                      FM_SIM_CHAIN = 256,   /* every node sees only its neighbours */
};

/* Deliberate breakage outside the hub: the test of the test. */
enum fm_sim_mutation {
    FM_SIM_SOUND,
    FM_SIM_DEAF_TO_PULLS,  /* the bus throws answers away: repair is broken */
    FM_SIM_DROPS_MESSAGE,  /* a worker loses one message in a hundred */
    FM_SIM_SWAPS_MESSAGES, /* a worker gives its clients two neighbours the wrong way round */
    FM_SIM_CURSOR_HIGH,    /* joins carry a cursor one too high */
    FM_SIM_CURSOR_LOW,     /* ... one too low */
    FM_SIM_KEYS_STRIPPED,  /* publishes lose their idempotency key */
    FM_SIM_GAPS_MUTED,     /* workers do not tell gaps */
    FM_SIM_ACK_EARLY,      /* "replicated" is asked for, but only local is posted */
};

struct fm_sim_plan {
    unsigned nodes, workers, topics, clients;
    uint64_t run_ms;
    uint64_t publish_us; /* mean time between publishes */
    uint32_t burst_max;  /* messages in one go */
    uint64_t move_us;    /* mean time between a client's moves; 0: they stay */
    uint64_t trouble_us; /* mean time between troubles; 0: none */
    unsigned troubles;   /* enum fm_sim_trouble */
    uint32_t keyed_ppm, retry_ppm, replicated_ppm;
    uint32_t batch_bytes; /* of the hubs: small ones fill the window and cut ranges */
    bool evicts;          /* small logs and histories */
    bool short_lived;     /* and what is in them ages within seconds; a dead origin is forgotten soon */
    struct fm_sim_faults faults;
    enum fm_sim_mutation mutation;
};

struct fm_sim_report {
    struct fm_verdict verdict;
    struct fm_sim_net_stats net;
    uint64_t digest; /* of everything that happened */
    uint64_t published, joins, moves, gaps, unrecovered, duplicates, suppressed, repaired, not_replicated, rereads;
    uint64_t cuts, freezes, kills, leaves, overruns; /* troubles made */
    uint64_t virtual_ms, settled_ms;                 /* settled: from the healing until all was well */
};

/* A plan drawn from a seed: about a fourth of all plans are calm (loss, doubles and delays only), the others mix troubles. */
void fm_sim_plan_draw(struct fm_sim_plan *plan, uint64_t seed);
/* Runs it to the end: the troubles, the healing, the judgement. trace: the last events are kept and printed if there is a fault. */
void fm_sim_run_plan(const struct fm_sim_plan *plan, uint64_t seed, bool trace, struct fm_sim_report *report);
