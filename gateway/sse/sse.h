/* Server-sent events: GET /sse?topic=... gives a topic's messages as a stream, to EventSource, curl and whoever can read lines. Every
 * event's id is the whole cursor, so a client that comes back with Last-Event-ID, to any node, gets what it missed.
 *
 * A stream is a socket with a channel for each of its topics, that never hears of its client: sse.c is its protocol, sse_stream.c what
 * carries it (edge/carrier.h), on the connection on which it was asked for.
 *
 * -- the worker's thread only -- */
#pragma once

#include "../worker/worker_core.h"
#include "sse_wire.h"

struct fm_stream;

/* A request for /sse of the public listener, before a body that it may have. */
enum fm_head_is fm_sse_head(struct fm_http_request *req);
/* The same, which is good: it is answered, now or later. false: it is for another path. */
bool fm_sse_handle(struct fm_http_request *req);

/* ---- sse_stream.c ---- */

/* Makes a socket a stream on the connection of its request, whose answer begins with the first event. Takes topics. false: no memory, and
 * *s is gone. */
FM_MUST_CHECK bool fm_stream_open(struct fm_socket *s, struct fm_http_request *req, struct fm_sse_topics *topics);
struct fm_sse_topic *fm_stream_topic(const struct fm_socket *s, uint32_t i);
/* Has nothing been answered yet? */
bool fm_stream_fresh(const struct fm_socket *s);
/* Answers the request of a fresh stream with an error instead, and ends it. said: a JSON object with more, or NULL. */
void fm_stream_refuse(struct fm_socket *s, enum fm_err err, const char *said);
