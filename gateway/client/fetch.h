/* HTTP requests to others' servers, by libcurl, many at a time on one thread that never waits for any of them. Connections stay open
 * between requests. Redirects are not followed, certificates are always checked, and an answer has a limit in bytes and in time.
 *
 * Whoever makes one runs it: fm_fetcher_wait, then fm_fetcher_run, in a loop. (hooks.c is such a loop.) fetch.c is the only file of the
 * node that includes curl's header; the command line's own call is cli/cli_http.c.
 *
 * -- owner only, but for fm_fetch_url_check -- */
#pragma once

#include "../../broker/bytes.h"

enum fm_fetch_end {
    FM_FETCH_ANSWERED, /* `status` and `answer` are there, whatever they say */
    FM_FETCH_UNSENT,   /* nothing of the request left: no such host, nobody listens, no TLS that is to be trusted */
    FM_FETCH_BROKEN,   /* the connection ended in the middle, or what came is no HTTP: the server may have seen the request */
    FM_FETCH_TIMEOUT,
    FM_FETCH_TOO_LARGE, /* the answer; `status` is there */
    FM_FETCH_ENDED,     /* by fm_fetcher_free */
};

struct fm_fetch { /* one request. The caller's, who keeps it and what it points to until `done`, in which it may be freed */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
    struct fm_slice body;       /* p NULL: a GET, else a POST */
    const char *ca;             /* PEM file of who signs servers; empty or NULL: those that the system trusts */
    const char *proxy;          /* empty or NULL: none, "environment": as http_proxy and so on say, else its URL */
    uint32_t timeout_ms;
    size_t answer_max;
    void (*done)(struct fm_fetch *fetch);
    void *ctx;
    /* out */
    enum fm_fetch_end end;
    unsigned status;
    struct fm_buf answer;
    uint64_t took_us;
    char why[256]; /* not ANSWERED: a text for the log */
    /* the fetcher's */
    void *easy, *list;
    struct fm_fetch *next, **link;
    bool too_large;
};

struct fm_fetcher;

/* connections: kept open at most. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_fetcher_new(struct fm_fetcher **fetcher, uint32_t connections);
/* Requests that are under way end: FM_FETCH_ENDED. None may be started in their `done`. */
void fm_fetcher_free(struct fm_fetcher **fetcher);
/* `done` follows, never from inside this call. FM_E_NOMEM: it does not. */
FM_MUST_CHECK enum fm_err fm_fetch_start(struct fm_fetcher *fetcher, struct fm_fetch *fetch);
/* Waits until a request may go on, or fd can be read, at most ms. */
void fm_fetcher_wait(struct fm_fetcher *fetcher, int fd, uint32_t ms);
/* Goes on with what can; calls `done`. */
void fm_fetcher_run(struct fm_fetcher *fetcher);
void fm_fetch_fini(struct fm_fetch *fetch);

/* What is wrong with a URL, as a clause; NULL: nothing. *loopback: its host is this machine. */
const char *fm_fetch_url_check(const char *url, bool *loopback);
