/* A circuit breaker: after so many failures in a row it opens, and nothing is sent for a while; then one request may try, and by what comes
 * of it the breaker closes or stays open for as long again. Pure: the time comes in.
 *
 * -- one owner -- */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum fm_breaker_state { FM_BREAKER_CLOSED, FM_BREAKER_OPEN, FM_BREAKER_TRYING };

struct fm_breaker {
    enum fm_breaker_state state;
    uint32_t failures;   /* in a row */
    uint32_t open_after; /* 0: never */
    uint32_t open_ms;
    uint64_t until_ms; /* OPEN: until one may try */
};

/* May a request be sent? While it is not closed the answer is yes once, and the caller owes a word on what came of it. */
bool fm_breaker_may(struct fm_breaker *b, uint64_t now_ms);
/* Would it say yes? */
bool fm_breaker_would(const struct fm_breaker *b, uint64_t now_ms);
/* How long a client had better wait; 0: not at all. */
uint32_t fm_breaker_rest_ms(const struct fm_breaker *b, uint64_t now_ms);
/* What came of a request. true: the breaker has changed from closed to open, or to closed. */
bool fm_breaker_succeeded(struct fm_breaker *b);
bool fm_breaker_failed(struct fm_breaker *b, uint64_t now_ms);
