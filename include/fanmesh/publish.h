/* Publishing from inside the program: the same way that a POST to /api/publish takes, through the hub's inbox.
 *
 * The rules of the settings hold: a topic needs a [topic] section, a payload has message_max, some events are reserved. Who may join or
 * push is not asked; the program may publish wherever there is a topic. */
#pragma once

#include "fanmesh/cursor.h"

#ifdef __cplusplus
extern "C" {
#endif

struct fm_node;

/* A message, on its way in or out. Zero what is not used: with C's designated initialisers that happens by itself. Nothing is kept of it
 * after the call (in) or after the callback (out). */
struct fm_message {
    const char *topic; /* 1 to 255 bytes */
    const char *event; /* 1 to 255 bytes */
    /* One JSON value but null (in: NULL is {}), or bytes if `binary`. Out: a zero byte follows that does not count. */
    const void *payload;
    size_t payload_n;           /* bytes. In: 0 for JSON text that ends with a zero byte */
    int binary;                 /* not JSON */
    const char *key;            /* idempotency key of at most 128 bytes; NULL: none */
    const char *conflation_key; /* for clients that fall behind, see `slow`; at most 128 bytes; NULL: none */
    unsigned replicas;          /* in: the result waits until so many other nodes have stored it; 0: for this one only */
    struct fm_id id;            /* out: origin and seq */
    uint64_t ts_ms;             /* out: Unix time in ms when it was accepted, by the clock of the node that did */
};

struct fm_published {
    enum fm_err err;    /* FM_OK; FM_E_NOT_READY, FM_E_DRAINING, FM_E_BUSY, FM_E_TOO_MANY (topics), FM_E_NOMEM: nothing was published.
                           FM_E_NOT_REPLICATED: published, and on fewer other nodes than asked for. FM_E_CLOSED: the node stopped first */
    struct fm_id id;    /* of the message; origin 0: nothing was published */
    int duplicate;      /* its key was known: id is the first one's, and nothing was published again */
    unsigned confirmed; /* with replicas: other nodes that had stored it by then */
};

/* Runs on the callback thread (node.h), exactly once for each fm_publish that returned FM_OK. */
typedef void fm_published_fn(const struct fm_published *result, void *ctx);

/* -- any thread, callbacks too -- */

/* Hands a message to the node and returns at once; messages of one thread are accepted in the order of its calls. `done` may be NULL: a
 * message that is refused after all is then counted (fanmesh_program_refused_total) and said in the log.
 * FM_E_INVALID: topic, event or a key is missing, empty or too long, replicas is above 126, or the payload of `postgres_changes` on a topic
 * `realtime:...` is no change of a row; FM_E_UNKNOWN_MEMBER: it has a member that no change has. FM_E_JSON, FM_E_TOO_DEEP: the payload.
 * FM_E_TOO_LARGE. FM_E_UNMATCHED_TOPIC. FM_E_RESERVED_EVENT. FM_E_BUSY: the node's inbox (hub_inbox_bytes) is full, or too many results
 * wait for the callback thread (worker_inbox_bytes), try again in a moment; it is not over before a callback that runs returns.
 * FM_E_CLOSED. FM_E_NOMEM. On an error `done` is not called. */
FM_API FM_MUST_CHECK enum fm_err fm_publish(struct fm_node *node, const struct fm_message *message, fm_published_fn *done, void *ctx);

/* -- any thread, never a callback -- */

/* The same, and waits for the result: without `replicas` that takes microseconds, with them at most ack_timeout_ms. *id (may be NULL) gets
 * the id, also with FM_E_NOT_REPLICATED. The errors of fm_publish and of fm_published.err, and FM_E_CALLBACK. */
FM_API FM_MUST_CHECK enum fm_err fm_publish_wait(struct fm_node *node, const struct fm_message *message, struct fm_id *id);

#ifdef __cplusplus
}
#endif
