/* What the processes of a run share: one mapping, made before they are forked. The first process, the leader, publishes and conducts; the
 * others have a share of the clients each. Every process judges its own clients by a ledger of its own, which it carries forward from the
 * board: there each publish has an entry, in the order in which they were made, before it leaves. When all of a process's subscribers have
 * a message, the process takes itself off the message's entry; who is the last to do so tells the leader.
 *
 * -- the owner of each function is said in its group -- */
#pragma once

#include "part.h"

enum fm_phase { FM_PHASE_CONNECT, FM_PHASE_PUBLISH, FM_PHASE_SETTLE, FM_PHASE_JUDGE };
enum fm_storm_step { FM_STORM_WAIT, FM_STORM_GO, FM_STORM_DONE };

struct fm_share { /* of one process; it writes, the leader reads */
    _Atomic uint64_t joined, deliveries, sent;
    _Atomic bool published, settled;
    struct fm_times times; /* the leader writes those of a storm */
    struct fm_part part;   /* complete when the process has ended well */
};

struct fm_entry { /* one publish */
    uint32_t topic, stream;
    uint64_t number;
    _Atomic uint32_t left; /* processes with a subscriber that lacks it */
    _Atomic bool closed;   /* nobody waits for it any more */
    uint8_t node;
    uint8_t fate; /* this and the following are there in FM_PHASE_JUDGE */
    bool replicated;
    struct fm_id id;
};

struct fm_board {
    _Atomic uint32_t phase, storm;
    _Atomic uint64_t n;       /* entries */
    _Atomic uint64_t open;    /* of these, not closed */
    _Atomic uint64_t reached; /* entries in the list of those that everyone has */
    uint64_t cap;
    uint32_t shares_n, topics;
    int event; /* eventfd: the list has grown */
    struct fm_share *shares;
    _Atomic uint32_t *holders; /* of each topic: processes with subscribers of it */
    struct fm_entry *entries;
    _Atomic uint32_t *list; /* places of entries plus one; 0: not written yet */
    size_t bytes;
};

/* entries: 0 for a run in which no publish concerns two processes. FM_E_NOMEM, FM_E_IO. */
FM_MUST_CHECK enum fm_err fm_board_new(struct fm_board **board, uint32_t shares, uint32_t topics, uint64_t entries);
void fm_board_free(struct fm_board **board);

/* ---- any process ---- */

/* Before FM_PHASE_PUBLISH: there is a subscriber of each topic whose ledger has views. */
void fm_board_hold(struct fm_board *board, const struct fm_ledger *ledgers);
/* Carries the ledgers forward to what was published until now; *seen is how far they are. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_board_follow(const struct fm_board *board, struct fm_ledger *ledgers, uint64_t *seen);
/* All subscribers of this process have it. true: and so has everyone. */
bool fm_board_reach(struct fm_board *board, const struct fm_record *record);
/* In FM_PHASE_JUDGE: what became of the publishes, for this process's ledgers, which are carried forward. */
void fm_board_fates(const struct fm_board *board, struct fm_ledger *ledgers, struct fm_tally *t);

/* ---- the leader ---- */

bool fm_board_full(const struct fm_board *board);
/* The newest publish of this ledger. */
void fm_board_publish(struct fm_board *board, struct fm_ledger *ledger, uint32_t topic, uint64_t number);
/* It was refused: nobody is to wait for it. */
void fm_board_close(struct fm_board *board, const struct fm_record *record);
/* Calls `each` for what everyone has now; *taken is how far the list was read. */
void fm_board_reached(struct fm_board *board, uint64_t *taken, void (*each)(void *ctx, uint32_t topic, uint64_t number), void *ctx);
/* Enters what became of the publishes; before FM_PHASE_JUDGE. */
void fm_board_judge(struct fm_board *board, const struct fm_ledger *ledgers);
