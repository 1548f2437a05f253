/* What the files of hooks share. Nobody else includes this. */
#pragma once

#include "breaker.h"
#include "../client/fetch.h"
#include "hook_wire.h"
#include "hooks.h"
#include "../post/mailbox.h"

#include "../../broker/clock.h"
#include "../../broker/diag.h"
#include "../../broker/table.h"

enum { FM_HOOK_WARN_MS = 10000 };

struct fm_ask { /* a question, from its coming to its answer */
    struct fm_ask *next;
    struct fm_hooks *hooks;
    struct fm_question_item *q;
    uint64_t id, ts_ms;
    uint64_t rest_until_ms; /* it is put again then */
    uint32_t tried;
    struct fm_buf body;
    struct fm_fetch fetch;
};

struct fm_asks { /* first in, first out */
    struct fm_ask *first, **last;
    uint32_t n;
};

struct fm_lane { /* one of its questions is being decided; these wait for that */
    UT_hash_handle hh;
    uint64_t name;
    struct fm_asks waiting;
};

struct fm_tells {                  /* notices that wait, oldest first */
    struct fm_item *first, **last; /* struct fm_told */
    uint64_t n;
    uint32_t sent;          /* how many of the first the request that is under way has; 0: none is */
    uint32_t refused;       /* how often the backend answered the first with an error, */
    uint32_t tried;         /* ... and how often they were sent */
    uint64_t rest_until_ms; /* then they are sent again */
    struct fm_buf body;
    struct fm_fetch fetch;
};

struct fm_hooks {
    struct fm_hooks_config config;
    struct fm_mailbox mailbox;
    struct fm_hook_stats stats;
    pthread_t thread;
    bool started;
    atomic_bool stop;
    uint64_t incarnation;
    _Atomic(struct fm_hook_config *) next; /* given by main, a reference */
    _Atomic size_t untold_bytes;
    _Atomic uint64_t dropped_warned_ms;
    /* The thread's own. */
    struct fm_hook_config *now;
    struct fm_fetcher *fetcher;
    struct fm_breaker breaker;
    struct fm_asks ready, resting;
    uint32_t asks_n, asks_under_way;
    struct fm_lane *lanes;
    uint64_t next_id;
    struct fm_tells tells;
    struct fm_diag_pause bad, failed; /* lines about answers */
};

static inline struct fm_hook_sender fm_hooks_sender(const struct fm_hooks *h)
{
    return (struct fm_hook_sender){h->config.node, h->incarnation};
}

/* Counters have several writers here: workers drop notices. */
static inline void fm_hook_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline void fm_hook_gauge(_Atomic uint64_t *gauge, uint64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}

/* ---- hooks.c ---- */
/* Fills in what all requests have in common and starts one. The body stays until it is done. */
FM_MUST_CHECK enum fm_err fm_hook_send(struct fm_hooks *h, struct fm_fetch *fetch, const struct fm_buf *body, uint32_t timeout_ms);
/* What came of a request: counted, and the breaker is told. true: the backend answered, with a status below 500. */
bool fm_hook_judge(struct fm_hooks *h, const struct fm_fetch *fetch);
/* A short text on a fetch that is of no use. */
void fm_hook_why(const struct fm_fetch *fetch, char out[FM_HOOK_WHY_MAX]);
static inline bool fm_hook_confirms(const struct fm_fetch *f)
{
    return f->status >= 200 && f->status < 300;
}

/* ---- hook_asks.c ---- */
/* Takes it. */
void fm_ask_put(struct fm_hooks *h, struct fm_question_item *q);
/* Starts what may start. Returns the ms until it wants to be called again. */
uint32_t fm_asks_go(struct fm_hooks *h, uint64_t now_ms);
void fm_asks_free_all(struct fm_hooks *h);

/* ---- hook_tells.c ---- */
/* Takes it. */
void fm_tell_put(struct fm_hooks *h, struct fm_told *told);
uint32_t fm_tells_go(struct fm_hooks *h, uint64_t now_ms);
/* Counts what is not told any more. */
void fm_tells_free_all(struct fm_hooks *h);
