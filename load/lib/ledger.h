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
 *
 * Memory: 32 bytes a publish; a subscriber 64 bytes, 16 for each origin, and a bit for each message since the first that it lacks.
 *
 * -- owner only -- */
#pragma once

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
    X(partial, "never acknowledged and given to some subscribers only")

struct fm_tally {
#define X(name, prose) uint64_t name;
    FM_TALLY_TABLE(X)
#undef X
};

/* Anything that a broker may never do. */
bool fm_tally_broken(const struct fm_tally *t);

enum fm_fate { FM_FATE_SENT, FM_FATE_ACKED, FM_FATE_REFUSED, FM_FATE_UNANSWERED };

struct fm_record {
    struct fm_id id; /* origin 0: not known yet */
    uint32_t left;   /* subscribers that lack it */
    uint32_t stream; /* the connection that published it */
    uint8_t fate;
    bool holds; /* the publisher's: it occupies a place in the window */
};

struct fm_ledger { /* of one topic; zero is empty */
    struct fm_record *at;
    uint64_t n, cap;
    uint64_t open;   /* publishes that some subscriber lacks, without refused ones */
    uint32_t views;  /* subscribers */
    uint64_t silent; /* publishes without an answer yet */
};

void fm_ledger_fini(struct fm_ledger *l);
/* A new publish on the connection `stream`, of which every subscriber is owed a copy. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_ledger_publish(struct fm_ledger *l, uint32_t stream, uint64_t *number);
/* Its answer; the first one counts. Origin 0: acknowledged without an id. */
void fm_ledger_ack(struct fm_ledger *l, uint64_t number, struct fm_id id, struct fm_tally *t);
void fm_ledger_refuse(struct fm_ledger *l, uint64_t number);
/* The connection `stream` broke: what it published without an answer may have been accepted or not. Calls `each` (may be NULL) for them. */
void fm_ledger_broken(struct fm_ledger *l, uint32_t stream, void (*each)(void *ctx, struct fm_record *r), void *ctx);

struct fm_view { /* of one subscriber */
    struct fm_ledger *ledger;
    struct fm_vector at; /* by origin: the latest seq given; as a cursor it is what the subscriber resumes from */
    uint64_t *bits;      /* given or not, from number `base` on; all before were given */
    uint64_t base;
    uint32_t words, cap;
    struct fm_excuse *excuses; /* ranges that were declared; inclusive */
    uint32_t excuses_n;
};

struct fm_excuse {
    uint64_t origin; /* 0: `from` and `to` are numbers of publishes */
    uint64_t from, to;
};

/* A subscriber; all of a topic's are there before its first publish, so each is owed everything. The ledger outlives it. */
void fm_view_init(struct fm_view *v, struct fm_ledger *ledger);
void fm_view_fini(struct fm_view *v);

enum fm_take {
    FM_TAKE_NOT_NEW, /* counted as a mistake */
    FM_TAKE_NEW,
    FM_TAKE_LAST /* and no subscriber lacks it now */
};

/* A delivery. order: the message's origin and place in it (with has_id: its id, as the broker gave it; else the connection that published
 * it and its number there, counted from 1). */
enum fm_take fm_view_take(struct fm_view *v, uint64_t number, struct fm_id order, bool has_id, struct fm_tally *t);
/* The answer to a join with this view's cursor: `cursor` replaces it. recovered false: what lies between the two is declared.
 * FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_view_joined(struct fm_view *v, const struct fm_vector *cursor, bool recovered);
/* A `gap`: these of the origin are declared. */
FM_MUST_CHECK enum fm_err fm_view_gap(struct fm_view *v, uint64_t origin, uint64_t from, uint64_t to);
/* A plain channel is back: what was published until now, and not given, counts as declared, since it never promised more. */
FM_MUST_CHECK enum fm_err fm_view_returned(struct fm_view *v);
/* Judges what is not there. Once, at the end. */
void fm_view_finish(const struct fm_view *v, struct fm_tally *t);
