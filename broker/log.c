#include "log.h"

#include <assert.h>
#include <stdlib.h>

enum { CHUNK = 256 };

struct fm_log_chunk {
    uint32_t first, n; /* entries live in at[first .. first + n) */
    struct fm_log_entry at[CHUNK];
};

void fm_log_fini(struct fm_log *log)
{
    for (uint32_t c = 0; c < log->n; c++) {
        for (uint32_t i = 0; i < log->chunks[c]->n; i++)
            fm_msg_unref(&log->chunks[c]->at[log->chunks[c]->first + i].msg);
        free(log->chunks[c]);
    }
    free(log->chunks);
    *log = (struct fm_log){0};
}

static uint64_t first_seq(const struct fm_log_chunk *c)
{
    return c->at[c->first].seq;
}

/* The last chunk whose first seq is at most `seq`; 0 where there is none. Nearly all that is looked for is in the last chunk, in the first
 * one, or, in a log without holes, a known number of full chunks before the last. */
static uint32_t chunk_of(const struct fm_log *log, uint64_t seq)
{
    uint32_t lo = 0, hi = log->n;
    if (hi < 2 || seq < first_seq(log->chunks[1]))
        return 0;
    uint64_t last = first_seq(log->chunks[hi - 1]);
    if (seq >= last)
        return hi - 1;
    uint64_t back = (last - seq + CHUNK - 1) / CHUNK;
    if (back < hi - 1) {
        uint32_t guess = hi - 1 - (uint32_t)back;
        if (first_seq(log->chunks[guess]) <= seq && seq < first_seq(log->chunks[guess + 1]))
            return guess;
    }
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (first_seq(log->chunks[mid]) <= seq)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* The first slot of the chunk whose seq is at least `seq`; first + n where there is none. */
static uint32_t slot_of(const struct fm_log_chunk *c, uint64_t seq)
{
    uint32_t lo = c->first, hi = c->first + c->n;
    if (c->n == 0 || seq > c->at[hi - 1].seq)
        return hi;
    if (seq <= first_seq(c))
        return lo;
    /* Without holes it is as far from the first slot as its seq from the first; with holes it is nearer. */
    uint64_t step = seq - first_seq(c);
    if (step < c->n) {
        if (c->at[lo + step].seq == seq)
            return lo + (uint32_t)step;
        hi = lo + (uint32_t)step;
    }
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (c->at[mid].seq < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Where an entry behind all others goes without any search; NULL: there may be others behind it, or there is no room. */
static struct fm_log_entry *append_slot(const struct fm_log *log, uint64_t seq)
{
    struct fm_log_chunk *c = log->n ? log->chunks[log->n - 1] : NULL;
    if (!c || c->n == 0 || c->first + c->n == CHUNK || seq <= c->at[c->first + c->n - 1].seq)
        return NULL;
    return &c->at[c->first + c->n++];
}

static struct fm_log_chunk *chunk_add(struct fm_log *log, uint32_t at)
{
    if (log->n == log->cap) {
        uint32_t cap = log->cap ? log->cap * 2 : 8;
        struct fm_log_chunk **chunks = realloc(log->chunks, cap * sizeof(struct fm_log_chunk *));
        if (!chunks)
            return NULL;
        log->chunks = chunks;
        log->cap = cap;
    }
    struct fm_log_chunk *c = malloc(sizeof *c);
    if (!c)
        return NULL;
    c->first = c->n = 0;
    memmove(log->chunks + at + 1, log->chunks + at, (log->n - at) * sizeof(struct fm_log_chunk *));
    log->chunks[at] = c;
    log->n++;
    return c;
}

/* Makes room behind the chunk's last entry, by moving its entries to the front or half of them to a new chunk. */
static struct fm_log_chunk *chunk_room(struct fm_log *log, uint32_t at, uint64_t seq)
{
    struct fm_log_chunk *c = log->chunks[at];
    if (c->n < CHUNK) {
        memmove(c->at, c->at + c->first, c->n * sizeof *c->at);
        c->first = 0;
        return c;
    }
    /* An append starts a chunk of its own, so that a log that only grows keeps its chunks full. */
    uint32_t keep = seq > c->at[CHUNK - 1].seq ? CHUNK : CHUNK / 2;
    struct fm_log_chunk *next = chunk_add(log, at + 1);
    if (!next)
        return NULL;
    next->n = CHUNK - keep;
    memcpy(next->at, c->at + keep, next->n * sizeof *c->at);
    c->n = keep;
    return keep == CHUNK || seq > next->at[0].seq ? next : c;
}

enum fm_err fm_log_insert(struct fm_log *log, struct fm_log_entry entry)
{
    assert(entry.pos);
    struct fm_log_entry *last = append_slot(log, entry.seq);
    if (last) {
        *last = entry;
        return FM_OK;
    }
    if (log->n == 0 && !chunk_add(log, 0))
        return FM_E_NOMEM;
    uint32_t at = chunk_of(log, entry.seq);
    struct fm_log_chunk *c = log->chunks[at];
    uint32_t slot = slot_of(c, entry.seq);
    if (slot < c->first + c->n && c->at[slot].seq == entry.seq)
        return FM_E_INVALID;
    if (c->first + c->n == CHUNK) {
        c = chunk_room(log, at, entry.seq);
        if (!c)
            return FM_E_NOMEM;
        slot = slot_of(c, entry.seq);
    }
    memmove(c->at + slot + 1, c->at + slot, (c->first + c->n - slot) * sizeof *c->at);
    c->at[slot] = entry;
    c->n++;
    return FM_OK;
}

uint64_t fm_log_last(const struct fm_log *log)
{
    if (log->n == 0)
        return 0;
    const struct fm_log_chunk *c = log->chunks[log->n - 1];
    return c->at[c->first + c->n - 1].seq;
}

struct fm_log_entry *fm_log_find(const struct fm_log *log, uint64_t seq)
{
    if (log->n == 0 || seq > fm_log_last(log)) /* the latter is so for all that is new here */
        return NULL;
    struct fm_log_chunk *c = log->chunks[chunk_of(log, seq)];
    uint32_t slot = slot_of(c, seq);
    return slot < c->first + c->n && c->at[slot].seq == seq ? &c->at[slot] : NULL;
}

static void chunk_drop(struct fm_log *log, uint32_t at)
{
    free(log->chunks[at]);
    memmove(log->chunks + at, log->chunks + at + 1, (log->n - at - 1) * sizeof(struct fm_log_chunk *));
    log->n--;
}

/* Joins a chunk to the one before it if both together are at most half full. Tombs stay for as long as their topics, and one in each chunk
 * would keep them all. */
static void chunk_join(struct fm_log *log, uint32_t at)
{
    if (at == 0 || at >= log->n || log->chunks[at - 1]->n + log->chunks[at]->n > CHUNK / 2)
        return;
    struct fm_log_chunk *to = log->chunks[at - 1], *from = log->chunks[at];
    if (to->first + to->n + from->n > CHUNK) {
        memmove(to->at, to->at + to->first, to->n * sizeof *to->at);
        to->first = 0;
    }
    memcpy(to->at + to->first + to->n, from->at + from->first, from->n * sizeof *from->at);
    to->n += from->n;
    chunk_drop(log, at);
}

void fm_log_remove(struct fm_log *log, uint64_t seq)
{
    if (log->n == 0)
        return;
    uint32_t at = chunk_of(log, seq);
    struct fm_log_chunk *c = log->chunks[at];
    uint32_t slot = slot_of(c, seq);
    if (slot == c->first + c->n || c->at[slot].seq != seq)
        return;
    fm_msg_unref(&c->at[slot].msg);
    if (slot == c->first)
        c->first++;
    else
        memmove(c->at + slot, c->at + slot + 1, (c->first + c->n - slot - 1) * sizeof *c->at);
    if (--c->n == 0) {
        chunk_drop(log, at);
    } else if (c->n <= CHUNK / 4) {
        chunk_join(log, at + 1);
        chunk_join(log, at);
    }
}

size_t fm_log_bytes(const struct fm_log *log)
{
    return log->n * sizeof(struct fm_log_chunk) + log->cap * sizeof(struct fm_log_chunk *);
}

struct fm_log_iter fm_log_from(const struct fm_log *log, uint64_t seq)
{
    struct fm_log_iter it = {log, 0, 0};
    if (log->n) {
        it.chunk = chunk_of(log, seq);
        it.slot = slot_of(log->chunks[it.chunk], seq);
    }
    return it;
}

struct fm_log_entry *fm_log_next(struct fm_log_iter *it)
{
    while (it->chunk < it->log->n) {
        struct fm_log_chunk *c = it->log->chunks[it->chunk];
        if (it->slot < c->first)
            it->slot = c->first;
        if (it->slot < c->first + c->n)
            return &c->at[it->slot++];
        it->chunk++;
        it->slot = 0;
    }
    return NULL;
}
