/* What must have arrived, and what did. A ledger holds a topic's publishes; a view holds what one subscriber of it received. Pure: no
 * clock, no sockets. Every mistake a broker can make is told apart and counted:
 *
 *   missing     acknowledged, and never given to a subscriber nor declared to it: lost in silence
 *   doubled     given to a subscriber again
 *   disordered  given after a later message of the same origin
 *   strange     a message nobody published
 *   wrong_id    an id that differs between the acknowledgement and a delivery, or between two deliveries
 *   malformed   a frame or an answer that can't be read
 *   undead      delivered although its publisher was told that it was refused
 *   declared    not given, and the subscriber was told: `gap`, `recovered: false`, or (plain channels) it had been away
 *   partial     never acknowledged, given to some subscribers and not to others; allowed, since its publisher knows to try again
 *   tail_unknown, tail_local
 *               acknowledged `local` by a node that was killed, and given to nobody, or to nobody but clients of that node: the one
 *               exception to the promise. Never for what was acknowledged `replicated`, never for an origin that is not `gone`, and never
 *               for a subscriber whose position is behind it
 *   doubled_by_key
 *               published again with its idempotency key, which made a second copy with an id of its own, and given once by each of two
 *               nodes to a client that moved between them; allowed. From one connection each message comes once, whatever its key
 *
 * All but deliveries, strange, wrong_id and malformed count a message once for each subscriber that it concerns.
 *
 * Memory: 40 bytes a publish, 24 more for a second id; a subscriber 128 bytes, 32 for each origin, a bit for each message since the first
 * that it lacks, 24 for each range that was declared to it and 16 for each second copy that it saw.
 *
 * -- owner only -- */
#pragma once

#include "gone.h"

#include "../../broker/vector.h"

#define FM_TALLY_TABLE(X) \
    X(deliveries, "messages given to subscribers") \
    X(missing, "acknowledged, never given to a subscriber, and not declared") \
    X(doubled, "given to a subscriber again") \
    X(disordered, "given after a later one of the same origin") \
    X(strange, "given although nobody published it") \
    X(wrong_id, "with an id that differs between two places") \
    X(undead, "given although its publisher was told that it was refused") \
    X(malformed, "frames and answers that can't be read") \
    X(declared, "not given, and the subscriber was told so") \
    X(partial, "never acknowledged and given to some subscribers only") \
    X(tail_unknown, "acknowledged `local` by a node that was killed, and given to nobody") \
    X(tail_local, "acknowledged `local` by a node that was killed, and given only to clients of that node") \
    X(doubled_by_key, "published again with its key and given once by each of two nodes")

struct fm_tally {
#define X(name, prose) uint64_t name;
    FM_TALLY_TABLE(X)
#undef X
};

/* Anything that a broker may never do. */
bool fm_tally_broken(const struct fm_tally *t);

enum fm_fate { FM_FATE_SENT, FM_FATE_ACKED, FM_FATE_REFUSED, FM_FATE_UNANSWERED };

enum {
    FM_LEDGER_ATTEMPTS_MAX = 32, /* of one publish; each may have made a copy */
    FM_NODE_UNKNOWN = 255,       /* the place of a node that is not one of those that clients connect to, or is not known */
};

struct fm_record {
    struct fm_id id; /* origin 0: not known yet */
    uint32_t left;   /* subscribers that lack it */
    uint32_t stream; /* the connection that published it */
    uint32_t copies; /* its further ids: place in fm_ledger.copies, from 1; 0: none */
    uint32_t place;  /* of its entry, where several processes share publishes (board.h) */
    uint8_t fate;
    uint8_t node;     /* that took it; what clients of others get was spread */
    uint8_t attempts; /* as many ids as this it may have */
    bool holds : 1;   /* the publisher's: it occupies a place in the window */
    bool replicated : 1;
    bool spread : 1; /* a client of another node, or of a later life of that one, has it */
};

struct fm_copy {
    struct fm_id id;
    uint32_t next; /* as fm_record.copies */
};

struct fm_life { /* of a node: its place, and the origin that it was there */
    uint64_t origin;
    uint8_t node;
};

struct fm_ledger { /* of one topic; zero is empty */
    struct fm_record *at;
    uint64_t n, cap;
    struct fm_copy *copies;
    uint32_t copies_n, copies_cap;
    struct fm_life *lives; /* in the order in which they were first heard of, by their answers to publishes */
    uint32_t lives_n, lives_cap;
    uint64_t open;   /* publishes that some subscriber lacks, without refused ones */
    uint32_t views;  /* subscribers */
    uint64_t silent; /* publishes without an answer yet */
};

void fm_ledger_fini(struct fm_ledger *l);
/* A new publish on the connection `stream` to `node`, of which every subscriber is owed a copy. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_ledger_publish(struct fm_ledger *l, uint32_t stream, uint8_t node, uint64_t *number);
/* It is published once more with its key, on `node`. maybe: an attempt before may have been accepted. false: it was often enough. */
FM_MUST_CHECK bool fm_ledger_again(struct fm_ledger *l, uint64_t number, uint8_t node, bool maybe);
/* Its answer; the first one counts. Origin 0: acknowledged without an id. */
void fm_ledger_ack(struct fm_ledger *l, uint64_t number, struct fm_id id, bool replicated, struct fm_tally *t);
void fm_ledger_refuse(struct fm_ledger *l, uint64_t number);
/* Who publishes here gets no answers: what was sent counts as accepted, unless its connection broke. At the end; how many. */
uint64_t fm_ledger_ack_rest(struct fm_ledger *l);
/* Nobody knows whether it was accepted, and it isn't published again. */
void fm_ledger_unanswered(struct fm_ledger *l, uint64_t number);
/* The connection `stream` broke: what it published without an answer may have been accepted or not. Calls `each` (may be NULL) for them. */
void fm_ledger_broken(struct fm_ledger *l, uint32_t stream, void (*each)(void *ctx, struct fm_record *r), void *ctx);

struct fm_view { /* of one subscriber */
    struct fm_ledger *ledger;
    struct fm_vector at;    /* by origin: the latest seq given; as a cursor it is what the subscriber resumes from */
    struct fm_vector since; /* what it had when this connection was joined */
    uint64_t *bits;         /* given or not, from number `base` on; all before were given */
    uint64_t base;
    uint32_t words, cap;
    struct fm_excuse *excuses; /* ranges that were declared; sorted, apart from one another */
    uint32_t excuses_n, excuses_cap;
    struct fm_seen *seen; /* the messages of which it was not given just the first id */
    uint32_t seen_n, seen_cap;
    uint32_t life; /* how many lives of its node were known when it connected: it is connected to the last of them, or to a later one */
    uint8_t node;
};

#define FM_LEDGER_OPEN UINT64_MAX /* until the origin is back */

struct fm_excuse {
    uint64_t origin;   /* 0: `from` and `to` are numbers of publishes */
    uint64_t from, to; /* inclusive */
};

struct fm_seen {
    uint64_t number;
    uint32_t copies; /* bit i: it was given the message's id number i */
};

/* A subscriber; all of a topic's are there before its first publish, so each is owed everything. The ledger outlives it. */
void fm_view_init(struct fm_view *v, struct fm_ledger *ledger);
void fm_view_fini(struct fm_view *v);

enum fm_take {
    FM_TAKE_NOT_NEW, /* counted as what it is */
    FM_TAKE_NEW,
    FM_TAKE_LAST /* and no subscriber lacks it now */
};

/* A delivery. order: the message's origin and place in it (with has_id: its id, as the broker gave it; else the connection that published
 * it and its number there, counted from 1). */
enum fm_take fm_view_take(struct fm_view *v, uint64_t number, struct fm_id order, bool has_id, struct fm_tally *t);
/* It is about to connect to that node. */
void fm_view_connects(struct fm_view *v, uint8_t node);
/* A delivery that is counted and not judged: where it is the number that is of interest, and nothing else. */
enum fm_take fm_view_count(struct fm_view *v, uint64_t number, struct fm_tally *t);
/* The answer to a join with this view's cursor: `cursor` replaces it. recovered false: what lies between the two is declared.
 * FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_view_joined(struct fm_view *v, const struct fm_vector *cursor, bool recovered);
/* A `gap`: these of the origin are declared; to FM_LEDGER_OPEN: all from there on until something of it is given. */
FM_MUST_CHECK enum fm_err fm_view_gap(struct fm_view *v, uint64_t origin, uint64_t from, uint64_t to);
/* A `gap` that names no origin: of each, what lies between what this view had and `cursor`. */
FM_MUST_CHECK enum fm_err fm_view_gap_to(struct fm_view *v, const struct fm_vector *cursor);
/* A plain channel is back: what was published until now, and not given, counts as declared, since it never promised more. */
FM_MUST_CHECK enum fm_err fm_view_returned(struct fm_view *v);
/* Judges what is not there. Once, at the end. gone: the origins that were killed. */
void fm_view_finish(const struct fm_view *v, const struct fm_gone *gone, struct fm_tally *t);
