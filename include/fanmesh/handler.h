/* Handlers: the program decides who joins, and what becomes of what clients push.
 *
 * A handler is for the topics of a pattern: a topic, or the beginning of one and `*`; a topic of exactly that name wins, then the longest
 * beginning. The settings come first: there must be a [topic] section, and what it refuses (join = nobody) is refused without asking. A
 * topic that no handler matches is decided by the settings alone.
 *
 * The handler runs on the callback thread (node.h); the client waits meanwhile, the worker that serves it does not. The answer is given by
 * the question's token, in the handler or later and from any thread: a handler that must ask a database hands the token to a thread of its
 * own and returns. Each question is answered once; what has no answer after handler_timeout_ms is refused with {"reason":"timeout"}, and an
 * answer that comes after that, or a second one, does nothing but count (fanmesh_handler_late_total). Questions that wait take at most
 * handler_bytes; beyond it clients are refused with {"reason":"overloaded"}. So a token needs no care: it can be dropped, and never
 * dangles; what was a token of a node that is stopped is none of the next one.
 *
 * Pushes that are answered in the handler are published in the order in which the client sent them; of those answered later the order of
 * the answers counts. A push whose client is gone when it is allowed is published all the same, a join is not made. */
#pragma once

#include "fanmesh/publish.h"

#ifdef __cplusplus
extern "C" {
#endif

struct fm_config;

enum fm_question_kind { FM_QUESTION_JOIN = 1, FM_QUESTION_PUSH };

struct fm_question { /* made by the node, valid while the handler runs. Later versions may add members at the end */
    enum fm_question_kind kind;
    uint64_t token; /* never 0 */
    const char *topic;
    const char *event;   /* "phx_join" for a join. (A push whose event holds a zero byte is refused without asking) */
    const char *payload; /* the push's payload, or the join's parameters (a JSON object). A zero byte follows that does not count */
    size_t payload_n;    /* bytes */
    int binary;          /* the payload is bytes; else it is valid JSON */
    const char *peer;    /* the client's address, "192.0.2.1:50123" */
    const char *query;   /* what the client's WebSocket was opened with, percent-encoded as it came: "vsn=2.0.0&token=..." */
    const char *origin; /* the header Origin of that request; "" where it had none. Neither is checked for UTF-8, nor for what JSON needs */
};

/* Runs on the callback thread (node.h). */
typedef void fm_handler_fn(struct fm_node *node, const struct fm_question *question, void *ctx);

/* -- before the start, one thread at a time -- */

/* FM_E_INVALID: not a pattern, or it has such a handler already; fm_config_why says so. FM_E_NOMEM. */
FM_API enum fm_err fm_config_on_join(struct fm_config *config, const char *pattern, fm_handler_fn *fn, void *ctx);
FM_API enum fm_err fm_config_on_push(struct fm_config *config, const char *pattern, fm_handler_fn *fn, void *ctx);

/* -- any thread, callbacks too; each answers the question of that token -- */

/* `reply` is a JSON object for the client, or NULL for {}: the response of its join or push (in a push that is published, `id` is added to
 * it; in a join with a cursor, `cursor`, `recovered` and `replayed`). Errors of all four: FM_E_JSON, FM_E_INVALID (not an object, or not a
 * token of this node), FM_E_CLOSED, FM_E_NOMEM: then the question still waits. */

/* The join is made; the push is broadcast as it is. */
FM_API enum fm_err fm_allow(struct fm_node *node, uint64_t token, const char *reply);
/* The client gets an error with this response; NULL: {"reason":"forbidden"}. */
FM_API enum fm_err fm_refuse(struct fm_node *node, uint64_t token, const char *reply);
/* The push is answered and goes no further. (A join is made, as by fm_allow.) */
FM_API enum fm_err fm_reply(struct fm_node *node, uint64_t token, const char *reply);
/* Another message is broadcast on the topic in place of the push: event, payload and conflation_key of `instead`, whose topic, key and
 * replicas must be NULL and 0. A join is not to be rewritten, and is refused. Besides the errors above: FM_E_RESERVED_EVENT, FM_E_TOO_DEEP,
 * FM_E_TOO_LARGE (message_max; the rule of the topic may allow less, then the client is refused with it). */
FM_API enum fm_err fm_rewrite(struct fm_node *node, uint64_t token, const struct fm_message *instead, const char *reply);

#ifdef __cplusplus
}
#endif
