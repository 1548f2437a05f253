/* A subscriber that fell behind: what it was given, what it was fed since, what is kept for it, and what it is given next so that every
 * message left out is declared before the one that follows it. Pure: no socket, no clock.
 *
 * `drop` and `conflate` are one thing: what arrives is kept as the newest of its conflation key, or (drop) not kept at all.
 *
 * For every origin O: sent[O] is given or declared, seen[O] was fed. What lies between is a kept message, was left out, or was never to be
 * given to this subscriber. The order of what comes next is that of arrival:
 *   gap  O, sent[O] + 1 .. before the next kept message of O   where something of O lies between
 *   the message
 *   and behind the last kept one, for every origin with seen[O] > sent[O]: gap O, sent[O] + 1 .. seen[O]
 * Whether something lies between is judged by what was fed, not by the message's prev alone: a prev may name what no subscriber here is
 * ever given (the second of two messages with one idempotency key, what came before the topic was known).
 *
 * -- the worker's thread only -- */
#pragma once

#include "../../broker/hub.h"

struct fm_sub;
struct fm_kept;

struct fm_lag {
    struct fm_sub *next; /* the owner's */
    struct fm_vector sent, seen;
    struct fm_vector skipped; /* how many were left out of an origin behind the last kept one of it */
    struct fm_kept *first, *last, *by_key;
    size_t bytes; /* of what is kept */
    bool conflate;
    bool strict;              /* something unknown was lost: a prev beyond `seen` is a gap */
    uint64_t left, conflated; /* messages left out so far, and those of them that a newer one of their key replaced */
};

/* at: what the subscriber was given; moved. */
void fm_lag_init(struct fm_lag *lag, struct fm_vector *at, bool conflate);
void fm_lag_fini(struct fm_lag *lag);

/* A message came. own: it isn't for this subscriber. What is kept stays below bytes_max, but for the newest; beyond it the oldest kept
 * goes. FM_E_NOMEM, FM_E_TOO_MANY (more origins than a cursor holds): not all can be declared any more. */
FM_MUST_CHECK enum fm_err fm_lag_feed(struct fm_lag *lag, struct fm_msg *m, bool own, size_t bytes_max);
/* A gap was declared to the topic's subscribers: one of an origin, up to `to`. */
FM_MUST_CHECK enum fm_err fm_lag_gap(struct fm_lag *lag, uint64_t origin, uint64_t to);
/* A gap was declared that names no origin; the topic is at `at` behind it. */
FM_MUST_CHECK enum fm_err fm_lag_lost(struct fm_lag *lag, const struct fm_vector *at);

enum fm_lag_step { FM_LAG_DONE, FM_LAG_GAP, FM_LAG_MSG };

/* What comes next. GAP: *gap has reason, origin, from, to and skipped; the position behind it is lag->sent after fm_lag_take. MSG: *m is
 * borrowed. */
enum fm_lag_step fm_lag_peek(const struct fm_lag *lag, struct fm_gap *gap, struct fm_msg **m);
/* It is given; the position moves. *m (NULL: of a gap) is the caller's reference. FM_E_NOMEM: nothing was changed. */
FM_MUST_CHECK enum fm_err fm_lag_take(struct fm_lag *lag, struct fm_msg **m);
