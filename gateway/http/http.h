/* HTTP requests as the API sees them: whole, bounded, answered once, now or later. The edge (edge_lws.c) makes and answers them.
 *
 * -- the worker's thread only -- */
#pragma once

#include "peer.h"

enum fm_http_method { FM_HTTP_GET, FM_HTTP_HEAD, FM_HTTP_POST, FM_HTTP_PUT, FM_HTTP_DELETE, FM_HTTP_OPTIONS, FM_HTTP_OTHER };

#define FM_HTTP_UNKNOWN UINT64_MAX

/* What becomes of a request whose head is there, before anything of its body is read: then it is refused without it, where the path takes
 * none, or not so much, or not from this client. */
enum fm_head_is {
    FM_HEAD_OTHER, /* somebody else's */
    FM_HEAD_GOOD,  /* it goes on, */
    FM_HEAD_TAKEN, /* ... or not: it was answered; or it is not decided yet, and fm_conn_go_on is called if it goes on */
};

struct fm_worker;

struct fm_http_request {
    struct fm_worker *worker;
    enum fm_http_method method;
    bool internal;                                                     /* came in on the internal listener */
    struct fm_slice path;                                              /* decoded once, without the query; starts with '/' */
    struct fm_slice query;                                             /* raw, without '?' */
    struct fm_slice raw_path;                                          /* as it came, for paths of which a part may hold a slash */
    struct fm_slice head;                                              /* all of it, as it came: for fm_http1_fields */
    struct fm_slice authorization, content_type, accept, origin, host; /* headers; empty where absent */
    struct fm_slice idempotency_key;                                   /* header Idempotency-Key */
    struct fm_slice apikey;                                            /* header apikey: of Supabase's clients */
    uint64_t announced;                                                /* bytes of its body; FM_HTTP_UNKNOWN: it does not say */
    struct fm_slice body;                                              /* whole; empty while only the head is looked at */
    struct fm_peer client;                                             /* whose it is, as far as proxies are believed */
    struct fm_slice readable_by;                                       /* set by the router: Origin of a page that may read the answer */
    void (*gone)(struct fm_http_request *req); /* set by the handler if it answers later: the client left, forget it; never answer then */
    void *user;                                /* the handler's */
    void *edge;                                /* the edge's */
};

/* Answers and ends the request; `req` is gone after it. Content-Length, Cache-Control: no-store and Connection are added. `headers` (may be
 * empty) is "Name: value\r\n"... */
void fm_http_respond(struct fm_http_request *req, unsigned status, const char *content_type, struct fm_slice headers, struct fm_slice body);
/* What went wrong with a request, for people and programs. */
struct fm_http_error {
    enum fm_err err;
    const char *detail; /* appended to the error's sentence; NULL: nothing */
    bool has_at;        /* `at` is the offset in the body where reading stopped */
    size_t at;          /* bytes */
    bool has_index;     /* `index` is the message of a batch that was wrong, from 0 */
    uint32_t index;
    unsigned status;         /* 0: the error's own, fm_http_status_of */
    struct fm_slice headers; /* besides those that the error brings itself (Retry-After, WWW-Authenticate) */
    struct fm_slice members; /* further members of the answer's object, as JSON text: `"id":"a-1"`; empty: none */
};

/* Answers {"error":{"code","message","at"?,"index"?},...}. */
void fm_http_fail_with(struct fm_http_request *req, const struct fm_http_error *error);
/* The same with the error and a detail (may be NULL) alone. */
void fm_http_fail(struct fm_http_request *req, enum fm_err err, const char *detail);
unsigned fm_http_status_of(enum fm_err err);
/* "POST" and so on, a static string; "?" for FM_HTTP_OTHER. */
const char *fm_http_method_name(enum fm_http_method method);
/* Is the path either of two mounts (NULL: there is none) with this behind it? */
bool fm_http_mounted(const struct fm_http_request *req, const char *mount, const char *other, const char *behind);
/* True if a Content-Type (parameters such as charset are ignored, case too) is this media type. */
bool fm_http_media_is(struct fm_slice content_type, const char *media);

/* A byte of a percent-encoded text, at *at, which moves behind it. False: a % without two hex digits, or a zero byte, encoded or not. */
static inline bool fm_percent_read(struct fm_slice s, size_t *at, uint8_t *byte)
{
    *byte = s.p[(*at)++];
    if (*byte == '%') {
        int high = s.n - *at >= 2 ? fm_hex_digit(s.p[*at]) : -1, low = s.n - *at >= 2 ? fm_hex_digit(s.p[*at + 1]) : -1;
        if (high < 0 || low < 0)
            return false;
        *byte = (uint8_t)(high << 4 | low);
        *at += 2;
    }
    return *byte != 0;
}

/* ---- queries: name=value&name=value, percent-encoded, + for a space ---- */

/* Cuts the next name and value off `rest`, both still encoded; false at the end. */
bool fm_query_next(struct fm_slice *rest, struct fm_slice *name, struct fm_slice *value);
/* Decodes into out and adds a terminating zero; *n (may be NULL) is the length. FM_E_TOO_LARGE: it does not fit. FM_E_SYNTAX: a % without
 * two hex digits, or %00, which no value of ours holds. */
FM_MUST_CHECK enum fm_err fm_query_decode(struct fm_slice encoded, char *out, size_t out_size, size_t *n);
/* A parameter of the query, percent-decoded into out (zero-terminated). FM_E_NOT_FOUND, FM_E_TOO_LARGE, FM_E_SYNTAX. The last one wins if
 * `last`. */
FM_MUST_CHECK enum fm_err fm_query_param(struct fm_slice query, const char *name, bool last, char *out, size_t out_size);

/* Whether every name in the query is one of `known`, words with spaces between, or `also` (may be NULL or empty); else the first that is
 * not. */
FM_MUST_CHECK bool fm_query_known(struct fm_slice query, const char *known, const char *also, struct fm_slice *unknown);

/* The router: api.c. Every request that is not an upgrade comes here. */
void fm_api_handle(struct fm_http_request *req);
/* The same before its body, where it has or may have one. false: it was answered. */
FM_MUST_CHECK bool fm_api_head(struct fm_http_request *req);
