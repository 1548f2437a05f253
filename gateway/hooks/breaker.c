#include "breaker.h"

bool fm_breaker_would(const struct fm_breaker *b, uint64_t now_ms)
{
    return b->state == FM_BREAKER_CLOSED || (b->state == FM_BREAKER_OPEN && now_ms >= b->until_ms);
}

bool fm_breaker_may(struct fm_breaker *b, uint64_t now_ms)
{
    if (!fm_breaker_would(b, now_ms))
        return false;
    if (b->state == FM_BREAKER_OPEN)
        b->state = FM_BREAKER_TRYING;
    return true;
}

uint32_t fm_breaker_rest_ms(const struct fm_breaker *b, uint64_t now_ms)
{
    switch (b->state) {
    case FM_BREAKER_CLOSED:
        return 0;
    case FM_BREAKER_OPEN:
        return b->until_ms > now_ms ? (uint32_t)(b->until_ms - now_ms) : 1;
    case FM_BREAKER_TRYING:
        break;
    }
    return b->open_ms ? b->open_ms : 1;
}

bool fm_breaker_succeeded(struct fm_breaker *b)
{
    b->failures = 0;
    if (b->state == FM_BREAKER_CLOSED)
        return false;
    b->state = FM_BREAKER_CLOSED;
    return true;
}

/* Requests that were sent before it opened may end in any state; only the one that tries decides how long it stays open. */
bool fm_breaker_failed(struct fm_breaker *b, uint64_t now_ms)
{
    bool was_closed = b->state == FM_BREAKER_CLOSED;
    if (b->failures < UINT32_MAX)
        b->failures++;
    if (b->open_after == 0 || (was_closed && b->failures < b->open_after) || b->state == FM_BREAKER_OPEN)
        return false;
    b->state = FM_BREAKER_OPEN;
    b->until_ms = now_ms + b->open_ms;
    return was_closed;
}
