/* A run of fanmesh-load in one process: the leader, which publishes, conducts and reports; a worker, with a share of the clients; or the
 * storm, whose clients come and go. With one process there is only the leader.
 *
 * -- owner only -- */
#pragma once

#include "result.h"
#include "series.h"

enum { FM_RUN_PIDS_MAX = 64, FM_PROCESSES_MAX = 64 };

enum fm_role { FM_ROLE_LEADER, FM_ROLE_WORKER, FM_ROLE_STORM };

struct fm_run {
    struct fm_load_options options;
    enum fm_role role;
    uint32_t self; /* its share on the board */
    int children[FM_PROCESSES_MAX + 1];
    uint32_t children_n;
    bool child_died;
    struct fm_board *board;
    struct fm_share *share;
    bool common;                 /* publishes concern several processes */
    uint64_t followed, taken_up; /* how far the board's entries and its list were read */
    struct fm_loop loop;
    struct fm_handler reached; /* of the board's event */
    struct fm_node nodes[FM_FLEET_NODES_MAX], apis[FM_FLEET_NODES_MAX], publish_to[FM_FLEET_NODES_MAX];
    struct fm_tls *tls;
    uint32_t pids[FM_RUN_PIDS_MAX];
    uint32_t pids_n;
    char prefix[FM_FLEET_TOPIC_MAX - 16];
    uint32_t word; /* drawn for the run */
    const struct fm_framing *framing;
    struct fm_ledger *ledgers;
    struct fm_fleet *fleet;
    struct fm_fleet *pushers; /* --publish-to; else NULL */
    struct fm_publisher *publisher;
    struct fm_result result;
    struct fm_series series;
    struct fm_gone gone;
    struct fm_proc_cost began_cost, storm_cost;
    uint64_t began_ns, began_deliveries; /* of the measured part */
    uint64_t last_ns, last_deliveries;   /* the last step in which something was delivered */
    uint64_t looked_ns;                  /* after the other processes */
    uint64_t shown_ns;
    bool terminal;
};

/* ---- setup.c ---- */

/* A problem of the run, in a line of its own. */
void fm_run_complain(const char *what, const char *why);
/* What all processes need: addresses, the board. Before the fork. false: it was said why. */
FM_MUST_CHECK bool fm_run_prepare(struct fm_run *r);
/* The parts of this process, up to but not including the first connection. measure: fm_publisher_config. false: it was said why. */
FM_MUST_CHECK bool fm_run_set_up(struct fm_run *r, void (*measure)(void *ctx, uint64_t due_ns));
void fm_run_tear_down(struct fm_run *r);

/* ---- run.c ---- */

/* One round of the loop, and what is due by time; returns the time. */
uint64_t fm_run_step(struct fm_run *r);
/* Everything published is everywhere, and nothing is owed an answer. In the leader: in all processes, where publishes are common. */
bool fm_run_complete(const struct fm_run *r);
/* Clients on their way back to a node, and publishes that are tried again, get the time that connecting may take. */
uint64_t fm_run_settle_ns(const struct fm_run *r);
/* Of all processes. */
uint64_t fm_run_joined(const struct fm_run *r);
uint64_t fm_run_deliveries(const struct fm_run *r);
/* Puts what the parts counted into the share, when nothing more is to come. */
void fm_run_judge(struct fm_run *r);

/* ---- workers.c ---- */

/* Forks the workers and the storm; returns in each of them, with its role. false: it was said why. */
FM_MUST_CHECK bool fm_run_fork(struct fm_run *r);
/* What a worker does, and what the storm does; the exit status. */
int fm_run_work(struct fm_run *r);
int fm_run_storm(struct fm_run *r);
/* The leader: true while all others run. */
bool fm_run_others_live(struct fm_run *r, uint64_t now_ns);
/* The leader: waits until they have ended. false: one did not end well. */
FM_MUST_CHECK bool fm_run_others_end(struct fm_run *r);
