/* The ledger of a simulation: what publishers were told, what every client was given, and the judgement whether fanmesh kept its promise.
 *
 * The promise, for a client of one topic from its first join on, however often it moves with its cursor:
 *   - what it is given was published on its topic, under one id for ever;
 *   - the messages of one origin come in the order of their seq, each id once;
 *   - every message that some node still has in the end, or that a live node accepted, or that a node handed over before it left in good
 *     order, was given to the client, or was covered by a gap, or by a join answered recovered: false;
 *   - a message acknowledged as replicated is only lost if more nodes died than confirmed it. One acknowledged locally may die with its
 *     origin: it is counted (tail_unknown), not a fault;
 *   - a replay holds exactly what lies between the reply's cursor and its position;
 *   - a retry with an idempotency key is recognised by a node that has the first copy; a node gives a client only one of two copies;
 *   - in the end all live nodes have the same positions, and the same histories above the highest floor.
 *
 * A message of the simulation is a number, its payload; a retry is the same number again. A copy is a message under one id.
 *
 * -- owner only: one simulation, one thread -- */
#pragma once

#include "../../broker/hub.h"
#include "sim_clock.h"

#define FM_FAULT_TABLE(X) \
    X(LOST, "a message was neither given nor told as a gap") \
    X(DOUBLE, "an id was given twice to one client") \
    X(DISORDER, "an origin's messages were given out of order") \
    X(FOREIGN, "something was given that was not published on the topic, or an id stands for two messages") \
    X(REPLAY, "a replay is not what lies between the reply's cursor and its position") \
    X(REPLICATED, "a message acknowledged as replicated died with fewer nodes than confirmed it") \
    X(KEY, "a retry was not recognised") \
    X(EAGER, "a loss was told where nothing can have been lost") \
    X(DIVERGED, "live nodes differ after they had time to agree") \
    X(PRESENCE, "who is on a topic is not who was told to be") \
    X(UNANSWERED, "a join, publish or query was not answered, or with an error that it can't have")

enum fm_fault {
#define X(name, text) FM_FAULT_##name,
    FM_FAULT_TABLE(X)
#undef X
        FM_FAULT_COUNT
};

struct fm_verdict {
    unsigned faults; /* of all kinds */
    unsigned count[FM_FAULT_COUNT];
    char first[FM_FAULT_COUNT][240]; /* the first of each kind, for people */
    uint64_t given, covered, tail_unknown, replicated_tail, doubles_by_key;
};

enum fm_ledger_flag {
    FM_LEDGER_CALM = 1,    /* nothing is cut, killed, frozen or evicted: nothing may be told as lost */
    FM_LEDGER_EVICTS = 2,  /* logs may evict: what was acknowledged need not be there in the end */
    FM_LEDGER_FORGETS = 4, /* a dead origin may be forgotten by one node and not yet by another */
};

struct fm_ledger;
struct fm_ledger *fm_ledger_new(unsigned flags);
/* So long after a message was first published its key may be forgotten. Without this call: never. */
void fm_ledger_keys_age(struct fm_ledger *ledger, const struct fm_sim_clock *clock, uint64_t us);
void fm_ledger_free(struct fm_ledger **ledger);

const char *fm_fault_name(enum fm_fault fault);
void fm_ledger_fault(struct fm_ledger *l, enum fm_fault fault, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Faults noted so far; those of the end come with fm_ledger_judge. */
unsigned fm_ledger_faults(const struct fm_ledger *l);

/* ---- nodes ---- */

/* How an incarnation is called in texts: slot 2, its first life: "n2.1". */
void fm_ledger_node_up(struct fm_ledger *l, uint64_t incarnation, unsigned slot, unsigned life);
/* left: it went in good order, its peers had everything of its own. */
void fm_ledger_node_gone(struct fm_ledger *l, uint64_t incarnation, bool left);
/* "n2.1-17"; good until the eighth next call. */
const char *fm_ledger_id_text(const struct fm_ledger *l, struct fm_id id);
/* " n2.1-17 n3.1-4"; good until the next call. */
const char *fm_ledger_vector_text(const struct fm_ledger *l, const struct fm_vector *v);

/* ---- messages ---- */

/* Its number, from 1. */
uint32_t fm_ledger_message(struct fm_ledger *l, struct fm_slice topic, bool keyed);
/* The payload that carries a number, with `pad` bytes more; and the number in a payload (0: none). */
void fm_ledger_payload(struct fm_buf *b, uint32_t no, uint32_t pad);
uint32_t fm_ledger_payload_no(struct fm_slice payload);
/* A publisher sends it, perhaps again. */
void fm_ledger_posted(struct fm_ledger *l, uint32_t no);
/* The time on the ledger's own clock, which counts what is noted: taken when a publish is posted. */
uint64_t fm_ledger_clock(const struct fm_ledger *l);
/* The node `incarnation` answered a publish of `no` that was posted at `posted`. replicas: how many other nodes it confirmed, 0 for a local
 * acknowledgement. */
void fm_ledger_accepted(struct fm_ledger *l, uint64_t incarnation, uint64_t posted, uint32_t no, const struct fm_publish_result *result,
                        uint32_t replicas);

/* ---- clients ---- */

uint32_t fm_ledger_client(struct fm_ledger *l, struct fm_slice topic);
/* A node's answer to a join, as it left the hub, whether or not the client gets it. */
void fm_ledger_replied(struct fm_ledger *l, uint64_t incarnation, const struct fm_join *reply);
/* The client got the reply (not yet the replay: each of its messages is `given`). Its cursor becomes the reply's. */
void fm_ledger_joined(struct fm_ledger *l, uint32_t client, const struct fm_join *reply);
void fm_ledger_given(struct fm_ledger *l, uint32_t client, uint64_t incarnation, const struct fm_msg *m);
void fm_ledger_gap(struct fm_ledger *l, uint32_t client, const struct fm_gap *gap);
/* What the client resumes from. Borrowed. */
const struct fm_vector *fm_ledger_cursor(const struct fm_ledger *l, uint32_t client);
/* The client went for good: nothing more is owed to it. */
void fm_ledger_client_gone(struct fm_ledger *l, uint32_t client);

/* ---- the end ---- */

/* What a live node has in the end: contig of every origin; and of each topic the whole history and the floors. */
void fm_ledger_final_node(struct fm_ledger *l, uint64_t incarnation, const struct fm_vector *contig);
void fm_ledger_final_topic(struct fm_ledger *l, uint64_t incarnation, struct fm_slice topic, struct fm_msg *const *history, uint32_t n,
                           const struct fm_vector *floor);
/* Forgets what was noted as final: the nodes get more time. */
void fm_ledger_final_clear(struct fm_ledger *l);
/* The judgement over everything noted so far; after a fault that was noted at once, only that one. */
void fm_ledger_judge(struct fm_ledger *l, struct fm_verdict *v);
