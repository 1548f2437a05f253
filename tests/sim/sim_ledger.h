/* Inside the ledger: what sim_ledger.c (noting, and what can be judged at once) and sim_check.c (the judgement in the end) share. */
#pragma once

#include "../../broker/table.h"
#include "sim_check.h"

struct ledger_node {
    uint64_t incarnation, up_at, gone_at; /* gone_at 0: alive */
    unsigned slot, life;
    bool left;
    bool final;
    struct fm_vector contig; /* in the end */
};

struct ledger_message {
    uint32_t topic; /* index */
    bool keyed;
    uint32_t copies, posts; /* copies: that the ledger has seen */
    uint64_t made_us;
};

struct ledger_copy {
    struct fm_id id;
    uint32_t no, index;
    uint64_t accepted_by;                   /* incarnation; 0: no publisher was told of it (yet) */
    uint64_t posted_at, acked_at, replicas; /* of the strongest acknowledgement */
    bool acked, in_the_end;                 /* in_the_end: some live node has it */
    UT_hash_handle hh;
};

struct ledger_cover { /* told as gone, or before the client's time */
    uint64_t origin, from, to;
};

struct ledger_client {
    uint32_t topic;
    bool joined, gone;
    struct fm_vector cursor, last; /* last: highest seq given, by origin */
    struct ledger_cover *covers;
    uint32_t covers_n, covers_cap;
    uint64_t *given_by; /* by message number: the incarnation that gave it, 0: not given */
    uint32_t given_by_cap;
    uint8_t *given; /* by copy index */
    uint32_t given_cap;
};

struct ledger_history { /* in the end */
    uint64_t incarnation;
    uint32_t topic;
    struct fm_id *ids; /* as the history has them */
    uint32_t n;
    struct fm_vector floor;
};

struct ledger_first { /* when an incarnation first gave a message to anyone */
    uint64_t incarnation, at;
    uint32_t no;
    struct ledger_first *next; /* of the same message */
};

struct fm_ledger {
    unsigned flags;
    uint64_t clock;
    const struct fm_sim_clock *time; /* NULL: keys are never forgotten */
    uint64_t key_age_us;
    struct ledger_node *nodes;
    uint32_t nodes_n, nodes_cap;
    struct fm_slice *topics;
    uint32_t topics_n, topics_cap;
    struct ledger_message *messages; /* by number; 0 is unused */
    uint32_t messages_n, messages_cap;
    struct ledger_first **firsts; /* by number */
    uint32_t firsts_cap;
    struct ledger_copy **copies; /* by index */
    struct ledger_copy *by_id;
    uint32_t copies_n, copies_cap;
    struct ledger_client *clients;
    uint32_t clients_n, clients_cap;
    struct ledger_history *finals;
    uint32_t finals_n, finals_cap;
    struct fm_verdict online;
};

/* Room for element `n` of an array that grows; new elements are zero. */
void ledger_grow(void **array, uint32_t *cap, uint32_t n, size_t size);
#define LEDGER_GROW(array, cap, n) ledger_grow((void **)&(array), &(cap), (n), sizeof *(array))

void ledger_note(struct fm_verdict *v, enum fm_fault fault, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
struct ledger_node *ledger_node(const struct fm_ledger *l, uint64_t incarnation);
struct ledger_copy *ledger_copy_find(const struct fm_ledger *l, struct fm_id id);
/* The copy under this id, noted if it is new. NULL, and a fault, if the id stands for another message. */
struct ledger_copy *ledger_copy_note(struct fm_ledger *l, struct fm_id id, uint32_t no);
uint32_t ledger_topic(struct fm_ledger *l, struct fm_slice topic);
/* May there be two of it, under two ids? */
bool ledger_doubled(const struct fm_ledger *l, uint32_t no);
bool ledger_covered(const struct ledger_client *c, struct fm_id id);
