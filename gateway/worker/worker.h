/* A worker: one thread with an event loop, a libwebsockets context, a listener, an inbox, its sockets and subscriptions. All workers run
 * the same code; the internal listener (HTTP API) is a worker with `internal` set. Nothing of it is touched by another thread except its
 * inbox and counters. */
#pragma once

#include "../../broker/hub_thread.h"
#include "../http/http.h"
#include "proto.h"
#include "limits.h"
#include "../post/mailbox.h"
#include "senders.h"

struct fm_auth;
struct fm_jwks;
struct fm_tls;
struct fm_access; /* access.h */
struct fm_api;    /* api.c's shared, immutable context: limits, metrics sources */
struct fm_handlers;
struct fm_hooks;
struct fm_hook_config;

struct fm_worker_config {
    unsigned index; /* 0.. ; the internal one has the last */
    bool internal;
    const char *listen;         /* "host:port"; SO_REUSEPORT so that all workers share it */
    struct fm_mailbox *mailbox; /* made by main, since the hub needs the inboxes of all workers at its start */
    struct fm_hub_thread *hub;
    const struct fm_rules *rules; /* this, api_key, tls, auth and hook change with fm_worker_learn */
    const char *api_key;          /* one of its words is what API calls must carry; NULL or empty: none is needed (dev profile only) */
    const struct fm_api *api;
    const char *mount;                  /* "/socket": <mount>/websocket */
    const char *supabase_mount;         /* "/realtime/v1": <mount>/websocket too, and broadcasts by HTTP; NULL: none */
    const char *const *origins;         /* allowed Origin values besides Host's own; "*" allows all; NULL-terminated */
    uint32_t message_max;               /* bytes of one client message */
    uint32_t body_max;                  /* bytes of one HTTP body */
    uint32_t handshake_ms;              /* a connection that hasn't sent its request by then is closed */
    uint32_t idle_ms;                   /* a socket that sent nothing for so long is closed with 1001 */
    uint32_t outbox_bytes;              /* of one socket */
    uint32_t connections_max;           /* of this worker */
    uint32_t accepts_per_s;             /* of this worker; 0: no limit */
    uint32_t topics_per_socket;         /* 100 */
    const char *user_topic;             /* with {user} in it: to which the connections of a user are subscribed; NULL: they are not */
    uint32_t presence_meta_max;         /* bytes */
    const struct fm_nets *proxy_from;   /* whose connections begin with a PROXY protocol header. NULL: nobody's. Borrowed */
    const struct fm_nets *trusted;      /* whose X-Forwarded-For is believed; likewise */
    struct fm_tls *tls;                 /* what its clients speak; NULL: plain text. Borrowed */
    const struct fm_auth *auth;         /* tokens; NULL: none are read. Borrowed */
    struct fm_jwks *jwks;               /* who gets keys from a URL; NULL: nobody. Borrowed */
    bool deflate;                       /* permessage-deflate with those clients that offer it */
    uint32_t deflate_min;               /* bytes; smaller messages leave as they are */
    uint32_t fanout_slice;              /* subscribers that are given a message before others have their turn; 0: all */
    const struct fm_handlers *handlers; /* the program's, question.h; NULL: none */
    bool longpoll, sse;                 /* transports over HTTP */
    uint32_t poll_wait_ms;              /* a poll for which nothing comes is answered then */
    uint32_t poll_ttl_ms;               /* a session that nobody polls ends then */
    const uint8_t *poll_key;            /* 32 bytes, with which the tokens of this node's sessions are sealed. Borrowed */
    uint32_t sse_keepalive_ms;          /* between the comments of a stream */
    uint32_t sse_retry_ms;              /* after which an EventSource comes back */
    struct fm_hooks *hooks;             /* hooks.h; NULL: this worker has no clients. Borrowed, and */
    const struct fm_hook_config *hook;  /* ... what the settings say of them, which changes with fm_worker_learn; NULL: there are none */
    bool outlived;                      /* the process goes on after the worker: it ends its connections itself */

    struct fm_limits *limits;                 /* of the node, shared; NULL: none but those above. Borrowed */
    struct fm_rate joins, pushes, push_bytes; /* of one client */
};

#define FM_WORKER_STATS(X) \
    X(connections, "fanmesh_connections", "gauge", "open client sockets") \
    X(accepted, "fanmesh_accepted_total", "counter", "connections accepted") \
    X(refused, "fanmesh_refused_total", "counter", "connections refused: limit, origin, version, path") \
    X(proxy_refused, "fanmesh_proxy_refused_total", "counter", \
      "connections refused because a PROXY protocol header was missing or wrong, or came from an address that is not listed") \
    X(handshake_timeouts, "fanmesh_handshake_timeouts_total", "counter", \
      "connections closed because their request did not arrive in time") \
    X(tls_handshakes, "fanmesh_tls_handshakes_total", "counter", "TLS handshakes completed") \
    X(tls_resumed, "fanmesh_tls_resumed_total", "counter", "those of them that resumed a session") \
    X(tls_failed, "fanmesh_tls_failed_total", "counter", "TLS handshakes that failed") \
    X(tokens_accepted, "fanmesh_tokens_accepted_total", "counter", "tokens of clients that were good") \
    X(tokens_refused, "fanmesh_tokens_refused_total", "counter", "requests and messages refused for their token, or for having none") \
    X(tokens_refreshed, "fanmesh_tokens_refreshed_total", "counter", "new tokens that clients sent on an open connection") \
    X(tokens_expired, "fanmesh_tokens_expired_total", "counter", "connections closed because their token was over") \
    X(tokens_revoked, "fanmesh_tokens_revoked_total", "counter", "connections closed because their token was revoked") \
    X(subscriptions, "fanmesh_subscriptions", "gauge", "open channels") \
    X(user_subscriptions, "fanmesh_user_subscriptions", "gauge", \
      "connections that are given what is for their user without having joined its topic") \
    X(forbidden, "fanmesh_channels_forbidden_total", "counter", \
      "channels ended because new rules, or a new token, do not allow them any more") \
    X(presences_forbidden, "fanmesh_presences_forbidden_total", "counter", \
      "presences of clients ended because new rules, or a new token, do not allow them any more") \
    X(messages_in, "fanmesh_messages_in_total", "counter", "messages received from clients") \
    X(bad_messages, "fanmesh_bad_messages_total", "counter", "messages from clients that could not be read") \
    X(deliveries, "fanmesh_deliveries_total", "counter", "messages given to subscribers") \
    X(sends, "fanmesh_sends_total", "counter", "writes to client sockets") \
    X(bytes_out, "fanmesh_bytes_out_total", "counter", "bytes written to client sockets") \
    X(deflated, "fanmesh_deflated_total", "counter", "messages compressed, once for all subscribers of a worker that agreed to it") \
    X(deflated_from, "fanmesh_deflated_from_bytes_total", "counter", "bytes of them before") \
    X(deflated_to, "fanmesh_deflated_to_bytes_total", "counter", "bytes of them after") \
    X(inflated, "fanmesh_inflated_total", "counter", "compressed messages received from clients") \
    X(outbox_bytes, "fanmesh_outbox_bytes", "gauge", "bytes that slow sockets still owe") \
    X(slow_disconnects, "fanmesh_slow_disconnects_total", "counter", "sockets closed because their outbox was past its limit") \
    X(slow_lags, "fanmesh_slow_lags_total", "counter", "times a subscriber of a topic with slow = drop or conflate fell behind") \
    X(slow_lagging, "fanmesh_slow_lagging", "gauge", "subscribers that are behind and are not given what comes") \
    X(slow_skipped, "fanmesh_slow_skipped_total", "counter", "messages left out for subscribers that were behind") \
    X(slow_conflated, "fanmesh_slow_conflated_total", "counter", "those of them that a newer one with the same conflation key replaced") \
    X(idle_disconnects, "fanmesh_idle_disconnects_total", "counter", "sockets closed because they sent nothing for the idle limit") \
    X(limited_address, "fanmesh_limited_connections_per_address_total", "counter", \
      "connections refused since as many of their address were there as connections_per_address allows") \
    X(limited_user, "fanmesh_limited_connections_per_user_total", "counter", \
      "connections refused since as many of their user were there as connections_per_user allows") \
    X(limited_joins, "fanmesh_limited_joins_total", "counter", "joins refused since their client joined faster than joins_per_s allows") \
    X(limited_pushes, "fanmesh_limited_pushes_total", "counter", \
      "pushes refused since their client pushed faster than pushes_per_s, or the rule's own, allows") \
    X(limited_bytes, "fanmesh_limited_push_bytes_total", "counter", \
      "pushes refused since their client pushed more bytes than push_bytes_per_s allows") \
    X(limited_topics, "fanmesh_limited_topics_total", "counter", "joins refused since their client had joined topics_per_socket topics") \
    X(limited_size, "fanmesh_limited_message_size_total", "counter", "messages refused since they were larger than message_max allows") \
    X(limited_handlers, "fanmesh_limited_handlers_total", "counter", \
      "joins and pushes refused since more of their client waited for handlers than handler_client_bytes allows") \
    X(limited_hooks, "fanmesh_limited_hook_queue_total", "counter", \
      "joins and pushes refused since more of their client waited for the backend of hooks than its share of hook_queue") \
    X(limited_closed, "fanmesh_limited_disconnects_total", "counter", \
      "sockets closed (1008) since they went on after they had been told that they are too fast") \
    X(disconnected, "fanmesh_disconnected_total", "counter", "sockets closed because the API asked for it") \
    X(unsubscribed, "fanmesh_unsubscribed_total", "counter", "channels ended because the API asked for it") \
    X(commands_lost, "fanmesh_commands_lost_total", "counter", \
      "times this worker was overrun and commands of then were forgotten already") \
    X(overruns, "fanmesh_inbox_overruns_total", "counter", "times this worker was overrun and re-read its topics") \
    X(handler_questions, "fanmesh_handler_questions_total", "counter", \
      "joins and pushes that were put before a handler of the program or the backend of hooks, and to the latter, connections") \
    X(handler_waiting, "fanmesh_handler_waiting", "gauge", "those of them that have no answer yet") \
    X(handler_refused, "fanmesh_handler_refused_total", "counter", "those of them that were refused so") \
    X(handler_withdrawn, "fanmesh_handler_withdrawn_total", "counter", \
      "pushes among them that were refused since their client was disconnected, revoked or unsubscribed before there was an answer") \
    X(handler_timeouts, "fanmesh_handler_timeouts_total", "counter", \
      "those of them that had no answer after handler_timeout_ms or hook_timeout_ms") \
    X(handler_overloads, "fanmesh_handler_overloads_total", "counter", \
      "joins, pushes and connections refused because more waited for an answer than handler_bytes or hook_queue allows") \
    X(handler_late, "fanmesh_handler_late_total", "counter", "answers to what was answered or refused before") \
    X(program_refused, "fanmesh_program_refused_total", "counter", \
      "publishes of the program that were refused without it having asked for the result") \
    X(poll_sessions, "fanmesh_longpoll_sessions", "gauge", "sessions of LongPoll clients; each counts as a client socket, too") \
    X(polls, "fanmesh_longpoll_polls_total", "counter", "polls received") \
    X(poll_pushes, "fanmesh_longpoll_pushes_total", "counter", "POSTs of LongPoll clients received") \
    X(poll_passed, "fanmesh_longpoll_passed_total", "counter", "those of both whose session another worker of this node has") \
    X(poll_relayed, "fanmesh_longpoll_relayed_total", "counter", "those of both whose session another node has") \
    X(poll_unreached, "fanmesh_longpoll_unreached_total", "counter", \
      "those of them that were not answered since that node is gone or cut off: the client comes back with its cursor") \
    X(poll_refused, "fanmesh_longpoll_refused_total", "counter", "requests of LongPoll clients refused: origin, version, limit, syntax") \
    X(poll_forged, "fanmesh_longpoll_forged_total", "counter", \
      "those of them whose token no node had made; of their bodies nothing was read") \
    X(poll_expired, "fanmesh_longpoll_expired_total", "counter", "sessions ended because nobody polled for longpoll_ttl_ms") \
    X(poll_lost, "fanmesh_longpoll_lost_total", "counter", \
      "sessions ended because an answer did not arrive: the client comes back with its cursor") \
    X(sse_streams, "fanmesh_sse_streams", "gauge", "streams of events; each counts as a client socket, too") \
    X(http_requests, "fanmesh_http_requests_total", "counter", "HTTP requests answered")

struct fm_worker_stats {
#define X(name, metric, type, help) _Atomic uint64_t name;
    FM_WORKER_STATS(X)
#undef X
};

/* -- main -- */

/* Makes the context and the listener; the thread starts with fm_worker_run. To be called one after another, all before the first run
 * (libwebsockets' contexts overwrite a global of OpenSSL while they are created). FM_E_IN_USE, FM_E_ADDRESS. */
FM_MUST_CHECK enum fm_err fm_worker_new(struct fm_worker **w, const struct fm_worker_config *config);
FM_MUST_CHECK enum fm_err fm_worker_run(struct fm_worker *w);
/* Stops accepting and closes its sockets with 1012, spread evenly over drain_ms. Returns at once; done when stats.connections is 0. */
void fm_worker_drain(struct fm_worker *w, uint32_t drain_ms);
/* What was configured as rules, api_key and tls is this from now on, at the latest when fm_worker_learned says so: borrowed until it says
 * so of another. */
void fm_worker_learn(struct fm_worker *w, const struct fm_access *access);
bool fm_worker_learned(const struct fm_worker *w, const struct fm_access *access);
/* Ends the thread. Unless it is outlived, it does not destroy a context that still has connections (the process is about to exit;
 * destroying is quadratic). */
void fm_worker_stop(struct fm_worker **w);

/* The port that it listens on, for listen addresses with port 0. */
uint16_t fm_worker_port(const struct fm_worker *w);
/* Its listener, -1: none. */
int fm_worker_listener(const struct fm_worker *w);

/* -- any thread -- */
/* A client connection of the node's own probe; takes fd. It counts in no limit and no counter, and no rule binds it. One that the worker
 * has not taken yet is closed. */
void fm_worker_probe(struct fm_worker *w, int fd);
const struct fm_worker_stats *fm_worker_stats(const struct fm_worker *w);

/* -- this worker's thread -- */
const struct fm_worker_config *fm_worker_config(const struct fm_worker *w);
struct fm_worker_stats *fm_worker_stats_mut(struct fm_worker *w);

/* May a client publish these without a socket, as far as its rates go? Those of one socket hold for all that it sends so.
 * FM_E_RATE_LIMITED, which was counted and logged: after *retry_ms it would. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_worker_limit_sender(struct fm_worker *w, const struct fm_sender *who, struct fm_msg *const *msgs, uint32_t n,
                                                 uint32_t *retry_ms);

/* Answers from the hub find their way by a token: expect returns one (never 0) to put into fm_publish.token, fm_query.token or fm_join.sub;
 * when the item comes back, `answered` gets it (and owns it), once. forget: the asker is gone; the item is freed when it comes. */
typedef void fm_answered_fn(void *ctx, struct fm_item *item);
uint64_t fm_worker_expect(struct fm_worker *w, fm_answered_fn *answered, void *ctx);
void fm_worker_forget(struct fm_worker *w, uint64_t token);
