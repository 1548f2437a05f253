/* A cluster in one process: hubs of broker/hub.h over the simulated network, their workers, clients that join, move and resume,
 * publishers, and somebody who cuts, freezes and kills. Everything follows from a plan and a seed: the same two give the same run, event
 * for event.
 *
 * -- owner only: one simulation, one thread -- */
#pragma once

#include "bus_sim.h"
#include "sim_check.h"

enum { FM_SIM_NODES_MAX = 8, FM_SIM_WORKERS_MAX = 2, FM_SIM_TOPICS_MAX = 16 };

#define FM_SIM_TROUBLE_TABLE(X) \
    X(SPLIT, "splits")              /* in two, of any sizes: 2/3 and 1/4 among them */ \
    X(CUT_PAIR, "cut pairs")        /* A-B, B-C, not A-C */ \
    X(CUT_ONE_WAY, "one-way cuts")  /* of a pair, or all that one node says, or hears */ \
    X(ISOLATE, "isolations")        /* a node's link is down */ \
    X(CHAIN, "chains")              /* every node sees only its neighbours */ \
    X(RESET, "resets")              /* links die and may come back at once */ \
    X(HALF_OPEN, "half-open links") /* one end or both believe in a link over which nothing passes */ \
    X(DELAY, "delays")              /* everything takes long for a while */ \
    X(FREEZE, "freezes")            /* a node makes no step for up to half a minute */ \
    X(KILL, "kills")                /* its state is lost; most come back as a new incarnation */ \
    X(LEAVE, "leaves")              /* drains, then goes */ \
    X(ROLLING, "rolling restarts")  /* of all nodes, one after the other */ \
    X(COLD_START, "cold starts")    /* all nodes die at once and come back */ \
    X(CLOCK, "clock jumps")         /* a node's wall clock is off by hours from now on, or right again */ \
    X(OVERRUN, "overruns")          /* a worker loses what is in its inbox and reads its topics again */

enum fm_sim_trouble_index {
#define X(name, text) FM_SIM_AT_##name,
    FM_SIM_TROUBLE_TABLE(X)
#undef X
        FM_SIM_TROUBLES
};

enum fm_sim_trouble { /* bits */
#define X(name, text) FM_SIM_##name = 1 << FM_SIM_AT_##name,
                      FM_SIM_TROUBLE_TABLE(X)
#undef X
};

/* Deliberate breakage outside the hub: the test of the test. */
enum fm_sim_mutation {
    FM_SIM_SOUND,
    FM_SIM_DEAF_TO_PULLS,   /* the bus throws answers away: repair is broken */
    FM_SIM_DROPS_MESSAGE,   /* a worker loses one message in a hundred */
    FM_SIM_SWAPS_MESSAGES,  /* a worker gives its clients two neighbours the wrong way round */
    FM_SIM_CURSOR_HIGH,     /* joins carry a cursor one too high */
    FM_SIM_CURSOR_LOW,      /* ... one too low */
    FM_SIM_KEYS_STRIPPED,   /* publishes lose their idempotency key */
    FM_SIM_GAPS_MUTED,      /* workers do not tell gaps */
    FM_SIM_ACK_EARLY,       /* "replicated" is asked for, but only local is posted */
    FM_SIM_ORIGIN_REUSED,   /* a node that was restarted comes back as its old incarnation and counts from 1 again */
    FM_SIM_OVERRUN_IGNORED, /* a worker that lost something does not read its topics again */
};

struct fm_sim_plan {
    unsigned nodes, workers, topics, clients;
    uint64_t run_ms;
    uint64_t publish_us;        /* mean time between publishes */
    uint32_t burst_max;         /* messages in one go */
    uint64_t move_us;           /* mean time between a client's moves; 0: they stay */
    uint32_t presence_tombs;    /* of the hubs; 0: the default */
    uint64_t presence_us;       /* mean time between changes of what a client shows of itself; 0: they show nothing */
    uint64_t presence_api_us;   /* ... and of what the API shows; 0: nothing */
    uint32_t presence_grace_ms; /* of the hubs; 0: the default */
    bool presence_stays;        /* no node dies, and all hear each other: whoever is back within the grace is never seen to leave */
    uint64_t lag_us_max;        /* what one node sends to another takes up to so much longer, for each pair another time */
    uint64_t trouble_us;        /* mean time between troubles; 0: none */
    unsigned troubles;          /* enum fm_sim_trouble */
    uint32_t keyed_ppm, retry_ppm, replicated_ppm;
    uint32_t batch_bytes;                     /* of the hubs: small ones fill the window and cut ranges */
    uint32_t gap_ms, repair_after_ms, window; /* of the hubs */
    unsigned apart; /* these nodes (a bit each) begin cut off from the others: two clusters are founded, and merge */
    uint64_t apart_ms;
    unsigned capped; /* these nodes have only memory_bytes for all they keep */
    uint64_t memory_bytes;
    bool evicts;      /* small logs and histories */
    bool short_lived; /* and what is in them ages within seconds; a dead origin is forgotten soon */
    struct fm_sim_faults faults;
    enum fm_sim_mutation mutation;
};

struct fm_sim_presence { /* sums over the nodes */
    uint64_t changes, batches, pulls, whole, diffs;
};

struct fm_sim_report {
    struct fm_verdict verdict;
    struct fm_sim_presence presence, quiet; /* at the end; and what came on top in QUIET_US afterwards, in which nobody did anything */
    uint64_t quiet_sent;                    /* envelopes in that time */
    struct fm_sim_net_stats net;
    uint64_t digest; /* of everything that happened */
    uint64_t kept;   /* clients of whom that holds to the end */
    uint64_t published, joins, moves, gaps, unrecovered, duplicates, suppressed, repaired, not_replicated, rereads;
    uint64_t troubles[FM_SIM_TROUBLES]; /* made */
    uint64_t merges;                    /* of clusters that were founded apart */
    uint64_t virtual_ms, settled_ms;    /* settled: from the healing until all was well */
};

/* "splits" */
const char *fm_sim_trouble_text(enum fm_sim_trouble_index i);
/* A plan drawn from a seed: about a fourth of all plans are calm (loss, doubles and delays only), the others mix troubles. */
void fm_sim_plan_draw(struct fm_sim_plan *plan, uint64_t seed);
/* Runs it to the end: the troubles, the healing, the judgement. trace: the last events are kept and printed if there is a fault. */
void fm_sim_run_plan(const struct fm_sim_plan *plan, uint64_t seed, bool trace, struct fm_sim_report *report);
