/* HTTP requests as the API sees them: whole, bounded, answered once, now or later. The edge (edge_lws.c) makes and answers them.
 *
 * -- the worker's thread only -- */
#pragma once

#include "../broker/bytes.h"

enum fm_http_method { FM_HTTP_GET, FM_HTTP_HEAD, FM_HTTP_POST, FM_HTTP_PUT, FM_HTTP_DELETE, FM_HTTP_OPTIONS, FM_HTTP_OTHER };

struct fm_worker;

struct fm_http_request {
    struct fm_worker *worker;
    enum fm_http_method method;
    bool internal;                                                     /* came in on the internal listener */
    struct fm_slice path;                                              /* decoded once, without the query; starts with '/' */
    struct fm_slice query;                                             /* raw, without '?' */
    struct fm_slice authorization, content_type, accept, origin, host; /* headers; empty where absent */
    struct fm_slice body;                                              /* whole, at most the option api_body_max */
    char peer[48];                                                     /* the client's address, for logs */
    void (*gone)(struct fm_http_request *req); /* set by the handler if it answers later: the client left, forget it; never answer then */
    void *user;                                /* the handler's */
    void *edge;                                /* the edge's */
};

/* Answers and ends the request; `req` is gone after it. Content-Length, Cache-Control: no-store and Connection are added. `headers` (may be
 * empty) is "Name: value\r\n"... */
void fm_http_respond(struct fm_http_request *req, unsigned status, const char *content_type, struct fm_slice headers, struct fm_slice body);
/* {"error":{"code":"...","message":"..."}} with the error's HTTP status; `detail` (may be NULL) is appended to the sentence. */
void fm_http_fail(struct fm_http_request *req, enum fm_err err, const char *detail);
unsigned fm_http_status_of(enum fm_err err);

/* A parameter of the query, percent-decoded into out (zero-terminated). FM_E_NOT_FOUND, FM_E_TOO_LARGE, FM_E_SYNTAX. The last one wins if
 * `last`. */
FM_MUST_CHECK enum fm_err fm_query_param(struct fm_slice query, const char *name, bool last, char *out, size_t out_size);

/* The router: api.c. Every request that is not an upgrade comes here. */
void fm_api_handle(struct fm_http_request *req);
