#include "sim_clock.h"

#include <assert.h>
#include <stdlib.h>

/* ---- randomness: splitmix64, good enough for schedules and reproducible everywhere ---- */

struct fm_sim_rand fm_sim_rand_of(uint64_t seed, const char *stream)
{
    struct fm_sim_rand r = {seed * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u};
    for (; *stream; stream++) {
        r.state ^= (uint8_t)*stream;
        (void)fm_sim_rand_next(&r);
    }
    return r;
}

uint64_t fm_sim_rand_next(struct fm_sim_rand *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t fm_sim_rand_below(struct fm_sim_rand *r, uint64_t n)
{
    assert(n > 0);
    return fm_sim_rand_next(r) % n;
}

uint64_t fm_sim_rand_between(struct fm_sim_rand *r, uint64_t min, uint64_t max)
{
    assert(min <= max && max - min < UINT64_MAX);
    return min + fm_sim_rand_below(r, max - min + 1);
}

bool fm_sim_rand_chance(struct fm_sim_rand *r, uint32_t ppm)
{
    return fm_sim_rand_below(r, 1000000) < ppm;
}

/* ---- time: a binary heap ---- */

struct event {
    uint64_t at_us, order, arg;
    fm_sim_event_fn *fn;
    void *ctx;
};

struct fm_sim_clock {
    uint64_t now_us, order;
    struct event *heap;
    size_t n, cap;
};

struct fm_sim_clock *fm_sim_clock_new(void)
{
    struct fm_sim_clock *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    return c;
}

void fm_sim_clock_free(struct fm_sim_clock **cp)
{
    if (*cp)
        free((*cp)->heap);
    free(*cp);
    *cp = NULL;
}

uint64_t fm_sim_now_us(const struct fm_sim_clock *c)
{
    return c->now_us;
}

static bool before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void fm_sim_after(struct fm_sim_clock *c, uint64_t after_us, fm_sim_event_fn *fn, void *ctx, uint64_t arg)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 256;
        c->heap = realloc(c->heap, c->cap * sizeof *c->heap);
        if (!c->heap)
            abort();
    }
    struct event ev = {c->now_us + after_us, c->order++, arg, fn, ctx};
    size_t i = c->n++;
    for (; i > 0 && before(&ev, &c->heap[(i - 1) / 2]); i = (i - 1) / 2)
        c->heap[i] = c->heap[(i - 1) / 2];
    c->heap[i] = ev;
}

static struct event take_first(struct fm_sim_clock *c)
{
    struct event first = c->heap[0], last = c->heap[--c->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= c->n)
            break;
        if (child + 1 < c->n && before(&c->heap[child + 1], &c->heap[child]))
            child++;
        if (!before(&c->heap[child], &last))
            break;
        c->heap[i] = c->heap[child];
        i = child;
    }
    if (c->n)
        c->heap[i] = last;
    return first;
}

bool fm_sim_run_one(struct fm_sim_clock *c, uint64_t us)
{
    uint64_t until_us = c->now_us + us;
    if (c->n == 0 || c->heap[0].at_us > until_us) {
        c->now_us = until_us;
        return false;
    }
    struct event ev = take_first(c);
    assert(ev.at_us >= c->now_us);
    c->now_us = ev.at_us;
    ev.fn(ev.ctx, ev.arg);
    return true;
}

void fm_sim_run(struct fm_sim_clock *c, uint64_t us)
{
    uint64_t until_us = c->now_us + us;
    while (fm_sim_run_one(c, until_us - c->now_us))
        ;
}
