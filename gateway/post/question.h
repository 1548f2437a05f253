/* Questions: connections, joins and pushes of clients that somebody else decides: a handler of the program that the node is in
 * (include/fanmesh/handler.h, embed/handlers.c), or a backend by HTTP (hooks/).
 *
 * A worker makes the item that it would post to the hub and holds it back (worker/questions.c); the question goes to the inbox of who
 * decides, the answer comes back into the worker's, by its token. Nobody waits in between: no lock, no table that two threads share, and an
 * answer that nobody awaits any more is dropped.
 *
 * Beside them what else the gateway's threads post to each other: notices to hooks, keys to workers. */
#pragma once

#include "../auth/identity.h"
#include "../auth/key_set.h"
#include "../http/peer.h"
#include "../settings/rules.h"

enum fm_question_item_kind {                    /* item.kind, beside the hub's and the bus's */
                             FM_QUESTION = 128, /* worker -> program or hooks */
                             FM_ANSWER,         /* program or hooks -> worker */
                             FM_CONNECT,        /* within a worker: what is held back of a client that connects */
                             FM_TOLD,           /* worker -> hooks: it has happened */
                             FM_PROGRAM_SUBSCRIBE,
                             FM_PROGRAM_UNSUBSCRIBE,
                             FM_FETCHED_KEYS, /* jwks_fetch.c -> worker */
};

enum fm_decider { FM_BY_PROGRAM, FM_BY_HOOK, FM_DECIDERS };

/* Beside enum fm_question_kind, which the public header has: no handler of a program is asked this. */
#define FM_QUESTION_CONNECT ((enum fm_question_kind)3)

struct fm_handlers { /* the program's. Immutable while the node runs */
    struct fm_rules *join, *push;
    struct fm_inbox *program; /* where questions go */
    uint32_t timeout_ms;
    size_t bytes_max;        /* of the questions of one worker that wait */
    size_t client_bytes_max; /* ... of one client */
};

/* What a client connected with: three texts, each with a zero byte. */
struct fm_client_text {
    const char *query;   /* percent-encoded as it came */
    const char *origin;  /* the header Origin */
    const char *headers; /* those that hook_headers asks for, a JSON object; empty: none */
};

struct fm_question_item { /* FM_QUESTION */
    struct fm_item item;
    enum fm_question_kind kind;
    const struct fm_rule *handler; /* BY_PROGRAM */
    uint64_t token, due_ms;
    uint64_t client;              /* the connection's name on this node */
    uint64_t lane;                /* questions of one lane are put one after another; 0: of none */
    struct fm_msg *msg;           /* a reference: topic, event, payload */
    struct fm_identity *identity; /* a reference; NULL: the client has none */
    char peer[FM_PEER_TEXT_MAX];
    char text[]; /* see fm_client_text */
};

enum fm_verdict {
    FM_VERDICT_ALLOW,
    FM_VERDICT_REFUSE,
    FM_VERDICT_REPLY,
    FM_VERDICT_REWRITE,
    FM_VERDICT_FAILED, /* there is no decision: err says why */
    FM_VERDICT_TIMEOUT /* the worker's own: nobody has answered in time */
};

struct fm_answer { /* FM_ANSWER */
    struct fm_item item;
    uint64_t token;
    enum fm_verdict verdict;
    enum fm_err err;              /* FAILED */
    char *said;                   /* a JSON object; may be NULL. Freed with free() */
    struct fm_msg *instead;       /* REWRITE: a reference, its topic is empty */
    char *presence_key;           /* ALLOW of a join: how its client is shown; empty: under a key of its own */
    char *presence_meta;          /* ... and a JSON object; NULL: that is not said. Both freed with free() */
    struct fm_identity *identity; /* ALLOW of a connection: whose it is, a reference; NULL: that is not said */
};

struct fm_connect_held { /* FM_CONNECT */
    struct fm_item item;
    uint64_t token;
    enum fm_err err;              /* out: FM_OK, or why the client may not connect, and */
    char *said;                   /* ... what it is told of that, a JSON object; may be NULL */
    struct fm_identity *identity; /* out, likewise: as in fm_answer */
};

enum fm_hook_event { FM_HOOK_CONNECT, FM_HOOK_JOIN, FM_HOOK_PUSH, FM_HOOK_LEAVE, FM_HOOK_DISCONNECT, FM_HOOK_EVENTS };

struct fm_told { /* FM_TOLD */
    struct fm_item item;
    enum fm_hook_event event;
    uint64_t client;              /* the connection's name on this node */
    struct fm_identity *identity; /* a reference; NULL: the client has none */
    uint64_t ts_ms;               /* Unix time */
    uint64_t seq, came_ms;        /* the thread's of hooks */
    unsigned code;                /* of the close, 0: none */
    uint16_t topic_n, reason_n;
    uint32_t text_n; /* bytes of the client's texts, see fm_client_text */
    char peer[FM_PEER_TEXT_MAX];
    char bytes[]; /* topic, reason, the client's texts */
};

struct fm_keys_item { /* FM_FETCHED_KEYS */
    struct fm_item item;
    struct fm_key_set *set; /* a reference */
};

/* -- any thread -- */

/* The handler of a topic, NULL: none. handlers may be NULL. */
static inline const struct fm_rule *fm_handler_of(const struct fm_handlers *handlers, enum fm_question_kind kind, struct fm_slice topic)
{
    return handlers ? fm_rules_match(kind == FM_QUESTION_JOIN ? handlers->join : handlers->push, topic) : NULL;
}

/* NULL without memory. */
struct fm_answer *fm_answer_new(uint64_t token, enum fm_verdict verdict);
/* Three texts one after another; NULL: three empty ones. */
struct fm_client_text fm_client_text_of(const char *text);
/* Frees an item of any kind: a question, an answer, or one of the hub's. */
void fm_question_item_free(struct fm_item *item);
