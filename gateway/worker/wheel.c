#include "wheel.h"

#include <assert.h>
#include <stddef.h>

void fm_wheel_init(struct fm_wheel *w, uint32_t tick_ms, uint64_t now_ms)
{
    assert(tick_ms > 0);
    *w = (struct fm_wheel){.tick_ms = tick_ms, .base_ms = now_ms};
}

static void link_into(struct fm_timer **head, struct fm_timer *t)
{
    t->next = *head;
    t->link = head;
    if (t->next)
        t->next->link = &t->next;
    *head = t;
}

static void unlink_timer(struct fm_timer *t)
{
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->next = NULL;
    t->link = NULL;
}

void fm_wheel_set(struct fm_wheel *w, struct fm_timer *t, uint64_t after_ms)
{
    fm_wheel_cancel(w, t);
    /* One tick more than the quotient: part of the present tick is over already. */
    t->due = w->tick + 1 + (after_ms + w->tick_ms - 1) / w->tick_ms;
    link_into(&w->slots[t->due % FM_WHEEL_SLOTS], t);
    w->n++;
}

void fm_wheel_cancel(struct fm_wheel *w, struct fm_timer *t)
{
    if (!fm_timer_is_set(t))
        return;
    assert(w->n > 0);
    unlink_timer(t);
    w->n--;
}

void fm_wheel_rest(struct fm_wheel *w, uint64_t ms)
{
    w->base_ms += ms;
}

/* Moves what is due in a slot to a list of its own, so that `fire` may change the slot, and cancel what has not fired yet. */
static void fire_slot(struct fm_wheel *w, size_t slot, uint64_t tick, void (*fire)(void *ctx, struct fm_timer *t), void *ctx)
{
    struct fm_timer *due = NULL, *next;
    for (struct fm_timer *t = w->slots[slot]; t; t = next) {
        next = t->next;
        if (t->due > tick)
            continue;
        unlink_timer(t);
        link_into(&due, t);
    }
    while (due) {
        struct fm_timer *t = due;
        unlink_timer(t);
        w->n--;
        fire(ctx, t);
    }
}

void fm_wheel_advance(struct fm_wheel *w, uint64_t now_ms, void (*fire)(void *ctx, struct fm_timer *t), void *ctx)
{
    uint64_t now = now_ms > w->base_ms ? (now_ms - w->base_ms) / w->tick_ms : 0;
    if (now <= w->tick)
        return;
    uint64_t from = w->tick + 1;
    uint64_t slots = now - w->tick < FM_WHEEL_SLOTS ? now - w->tick : FM_WHEEL_SLOTS;
    w->tick = now; /* first, so that what `fire` sets lies ahead */
    for (uint64_t i = 0; i < slots; i++)
        fire_slot(w, (size_t)((from + i) % FM_WHEEL_SLOTS), now, fire, ctx);
}
