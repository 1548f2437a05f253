/* Questions: joins and pushes of clients that a handler of the program decides (include/fanmesh/handler.h).
 *
 * A worker makes the item that it would post to the hub and holds it back (questions.c); the question goes to the program's inbox, the
 * answer comes back into the worker's, by its token. Nobody waits in between: no lock, no table that two threads share, and an answer that
 * nobody awaits any more is dropped. */
#pragma once

#include "../edge/peer.h"
#include "../settings/rules.h"

enum fm_program_kind {                    /* item.kind, beside the hub's and the bus's */
                       FM_QUESTION = 128, /* worker -> program */
                       FM_ANSWER,         /* program -> worker */
                       FM_PROGRAM_SUBSCRIBE,
                       FM_PROGRAM_UNSUBSCRIBE,
                       FM_FETCHED_KEYS, /* jwks_fetch.c -> worker */
};

struct fm_handlers { /* immutable while the node runs */
    struct fm_rules *join, *push;
    struct fm_inbox *program; /* where questions go */
    uint32_t timeout_ms;
    size_t bytes_max;        /* of the questions of one worker that wait */
    size_t client_bytes_max; /* ... of one client */
};

struct fm_question_item { /* FM_QUESTION */
    struct fm_item item;
    enum fm_question_kind kind;
    const struct fm_rule *handler;
    uint64_t token, due_ms;
    struct fm_msg *msg; /* a reference: topic, event, payload */
    char peer[FM_PEER_TEXT_MAX];
    char text[]; /* the client's query and origin, each with a zero byte */
};

enum fm_verdict { FM_VERDICT_ALLOW, FM_VERDICT_REFUSE, FM_VERDICT_REPLY, FM_VERDICT_REWRITE, FM_VERDICT_TIMEOUT };

struct fm_answer { /* FM_ANSWER */
    struct fm_item item;
    uint64_t token;
    enum fm_verdict verdict;
    char *said;             /* a JSON object; may be NULL. Freed with free() */
    struct fm_msg *instead; /* REWRITE: a reference, its topic is empty */
};

/* -- any thread -- */

/* The handler of a topic, NULL: none. handlers may be NULL. */
static inline const struct fm_rule *fm_handler_of(const struct fm_handlers *handlers, enum fm_question_kind kind, struct fm_slice topic)
{
    return handlers ? fm_rules_match(kind == FM_QUESTION_JOIN ? handlers->join : handlers->push, topic) : NULL;
}

/* NULL without memory. */
struct fm_answer *fm_answer_new(uint64_t token, enum fm_verdict verdict);
/* Frees an item of any kind: a question, an answer, or one of the hub's. */
void fm_question_item_free(struct fm_item *item);
