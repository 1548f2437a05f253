#include "outbox.h"

#include <assert.h>
#include <stdlib.h>

enum { OUTBOX_KEEP = 64 }; /* pieces that a spare outbox may have room for */

static bool reserve(struct fm_outbox *o)
{
    if (o->n < o->cap)
        return true;
    if (o->head > o->cap / 2) {
        memmove(o->at, o->at + o->head, (o->n - o->head) * sizeof *o->at);
        o->n -= o->head;
        o->head = 0;
        return true;
    }
    uint32_t cap = o->cap ? o->cap * 2 : 4;
    struct fm_piece *at = realloc(o->at, cap * sizeof *at);
    if (!at)
        return false;
    o->at = at;
    o->cap = cap;
    return true;
}

enum fm_err fm_outbox_push(struct fm_outbox *o, struct fm_frames *f, uint32_t first, uint32_t end)
{
    if (first == end)
        return FM_OK;
    if (!reserve(o))
        return FM_E_NOMEM;
    o->at[o->n++] = (struct fm_piece){.frames = fm_frames_ref(f), .first = first, .end = end};
    o->bytes += fm_piece_bytes(f, first, end).n;
    return FM_OK;
}

enum fm_err fm_outbox_push_source(struct fm_outbox *o, struct fm_source *source)
{
    if (!reserve(o)) {
        source->free(source);
        return FM_E_NOMEM;
    }
    o->at[o->n++] = (struct fm_piece){.source = source};
    o->bytes += source->cost;
    return FM_OK;
}

static void source_end(struct fm_outbox *o, struct fm_piece *p)
{
    if (!p->source)
        return;
    o->bytes -= p->source->cost;
    p->source->free(p->source);
    p->source = NULL;
}

/* The first piece is done with. */
static void head_drop(struct fm_outbox *o)
{
    struct fm_piece *p = &o->at[o->head];
    source_end(o, p);
    fm_frames_unref(&p->frames);
    o->head++;
    if (fm_outbox_empty(o))
        o->head = o->n = 0;
}

enum fm_err fm_outbox_fill(struct fm_outbox *o, size_t bytes)
{
    while (!fm_outbox_empty(o) && !o->at[o->head].frames) {
        struct fm_piece *p = &o->at[o->head];
        struct fm_frames *f = fm_frames_new();
        if (!f)
            return FM_E_NOMEM;
        bool more = p->source->more(p->source, f, bytes);
        if (f->bytes.failed) {
            fm_frames_unref(&f);
            return FM_E_NOMEM;
        }
        assert(f->n > 0 || !more);
        p->frames = f;
        p->first = 0;
        p->end = f->n;
        o->bytes += f->bytes.n;
        if (!more)
            source_end(o, p);
        if (f->n == 0)
            head_drop(o);
    }
    return FM_OK;
}

/* How many frames from p->first on fit into `room` bytes. The marks are sorted, so by halving. */
static uint32_t fitting(const struct fm_piece *p, size_t room)
{
    uint32_t from = fm_piece_begin(p->frames, p->first), lo = p->first, hi = p->end;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (p->frames->marks[mid].end - from <= room)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - p->first;
}

struct fm_slice fm_outbox_peek(const struct fm_outbox *o, uint8_t *scratch, size_t max)
{
    if (fm_outbox_empty(o))
        return fm_slice_of(NULL, 0);
    const struct fm_piece *p = &o->at[o->head];
    assert(p->frames);
    uint32_t n = fitting(p, max);
    if (n == 0)
        n = 1;
    struct fm_slice one = fm_piece_bytes(p->frames, p->first, p->first + n);
    if (p->first + n < p->end || p->source || o->head + 1 == o->n || one.n >= max)
        return one;
    size_t used = 0;
    for (uint32_t i = o->head; i < o->n; i++) {
        p = &o->at[i];
        if (!p->frames)
            break;
        n = fitting(p, max - used);
        struct fm_slice part = fm_piece_bytes(p->frames, p->first, p->first + n);
        if (part.n)
            memcpy(scratch + used, part.p, part.n);
        used += part.n;
        if (p->first + n < p->end || p->source)
            break;
    }
    return fm_slice_of(scratch, used);
}

void fm_outbox_drop(struct fm_outbox *o, size_t n)
{
    assert(n <= o->bytes);
    o->bytes -= n;
    while (n) {
        struct fm_piece *p = &o->at[o->head];
        uint32_t frames = fitting(p, n);
        size_t bytes = fm_piece_bytes(p->frames, p->first, p->first + frames).n;
        assert(frames > 0 && bytes <= n); /* only whole frames were given out */
        n -= bytes;
        p->first += frames;
        if (p->first < p->end)
            continue;
        if (p->source)
            fm_frames_unref(&p->frames); /* it is asked for the next when they are wanted */
        else
            head_drop(o);
    }
}

void fm_outbox_clear(struct fm_outbox *o)
{
    for (uint32_t i = o->head; i < o->n; i++) {
        fm_frames_unref(&o->at[i].frames);
        source_end(o, &o->at[i]);
    }
    o->head = o->n = 0;
    o->bytes = 0;
}

struct fm_outbox *fm_outbox_get(struct fm_outbox **spare)
{
    struct fm_outbox *o = *spare;
    if (!o)
        return calloc(1, sizeof *o);
    *spare = o->next;
    o->next = NULL;
    return o;
}

void fm_outbox_put(struct fm_outbox **spare, struct fm_outbox **op)
{
    struct fm_outbox *o = *op;
    *op = NULL;
    if (!o)
        return;
    fm_outbox_clear(o);
    if (o->cap > OUTBOX_KEEP) {
        free(o->at);
        free(o);
        return;
    }
    o->next = *spare;
    *spare = o;
}

void fm_outbox_free_all(struct fm_outbox **spare)
{
    while (*spare) {
        struct fm_outbox *o = *spare;
        *spare = o->next;
        fm_outbox_clear(o);
        free(o->at);
        free(o);
    }
}
