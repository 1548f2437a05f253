/* A timer wheel: the time limits of all connections of a worker (handshake, idle, close) at a cost that does not grow with their number.
 * Setting and cancelling are O(1) without allocation; a tick looks at one slot.
 *
 * A timer fires at the first tick at or after its time, never before. Limits that are pushed on with every message (idle) are not set
 * again each time: when the timer fires, its owner looks at when the last message came and sets it for the rest.
 *
 * -- owner only -- */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fm_timer { /* embedded in what it belongs to; zeroed: not set */
    struct fm_timer *next, **link;
    uint64_t due; /* tick */
};

enum { FM_WHEEL_SLOTS = 1024 }; /* a power of two */

struct fm_wheel {
    struct fm_timer *slots[FM_WHEEL_SLOTS];
    uint64_t tick;    /* everything due up to here has fired */
    uint64_t base_ms; /* when tick 0 was */
    uint32_t tick_ms;
    uint32_t n; /* timers that are set */
};

void fm_wheel_init(struct fm_wheel *w, uint32_t tick_ms, uint64_t now_ms);
/* Sets (again) a timer for after_ms from the wheel's last tick. */
void fm_wheel_set(struct fm_wheel *w, struct fm_timer *t, uint64_t after_ms);
void fm_wheel_cancel(struct fm_wheel *w, struct fm_timer *t);

static inline bool fm_timer_is_set(const struct fm_timer *t)
{
    return t->link != 0;
}

/* So much time does not count: everything is due later by it, and what is set meanwhile has its whole time. */
void fm_wheel_rest(struct fm_wheel *w, uint64_t ms);

/* Fires what is due. `fire` may set or cancel any timer and free what holds them; a timer that it sets fires in a later advance. */
void fm_wheel_advance(struct fm_wheel *w, uint64_t now_ms, void (*fire)(void *ctx, struct fm_timer *t), void *ctx);
