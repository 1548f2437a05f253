/* What a socket still owes its client: pieces of shared frames, by reference, in order.
 *
 * A piece is a run of whole frames of one struct fm_frames, or a source, which gives the next run when its turn comes. What is taken out is
 * whole frames too: libwebsockets puts a PONG or a CLOSE between two writes, never into one, so no write may end inside a frame.
 *
 * -- the worker's thread only -- */
#pragma once

#include "proto.h"

#include <assert.h>

struct fm_piece {
    struct fm_frames *frames; /* NULL: the source's next ones are not there yet */
    struct fm_source *source; /* has more behind `frames`; NULL: nothing has */
    uint32_t first, end;      /* marks[first] to marks[end - 1] */
};

struct fm_outbox {
    struct fm_outbox *next; /* in a list of spare ones */
    struct fm_piece *at;    /* at[head .. n) */
    uint32_t head, n, cap;
    size_t bytes; /* of all pieces */
};

/* Where a frame begins. */
static inline uint32_t fm_piece_begin(const struct fm_frames *f, uint32_t mark)
{
    return mark ? f->marks[mark - 1].end : 0;
}

/* Of the length that fm_frames_close gave it. */
static inline size_t fm_frame_header_n(struct fm_slice frame)
{
    return frame.p[1] < 126 ? 2 : frame.p[1] == 126 ? 4 : 10;
}

/* The bytes of frames first to end - 1. */
static inline struct fm_slice fm_piece_bytes(const struct fm_frames *f, uint32_t first, uint32_t end)
{
    assert(first <= end && end <= f->n);
    uint32_t from = fm_piece_begin(f, first);
    return fm_slice_of(f->bytes.p + from, fm_piece_begin(f, end) - from);
}

/* Takes a reference to the frames. FM_E_NOMEM: nothing was changed. An empty run is a no-op. */
FM_MUST_CHECK enum fm_err fm_outbox_push(struct fm_outbox *o, struct fm_frames *f, uint32_t first, uint32_t end);
/* Takes the source in any case. FM_E_NOMEM: it is gone. */
FM_MUST_CHECK enum fm_err fm_outbox_push_source(struct fm_outbox *o, struct fm_source *source);
/* Before peek: asks a source whose turn has come for about `bytes` of frames. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_outbox_fill(struct fm_outbox *o, size_t bytes);
/* The next bytes to write: whole frames, at most `max` bytes together, or one frame if it alone is larger. Frames of several pieces are
 * copied together into `scratch` (max bytes); those of one piece are given in place. Empty: nothing is owed. They stay owed until
 * fm_outbox_drop of their number of bytes. */
struct fm_slice fm_outbox_peek(const struct fm_outbox *o, uint8_t *scratch, size_t max);
/* n: of the slice that peek returned. */
void fm_outbox_drop(struct fm_outbox *o, size_t n);
void fm_outbox_clear(struct fm_outbox *o);

static inline bool fm_outbox_empty(const struct fm_outbox *o)
{
    return o->head == o->n;
}

/* Outboxes are handed round, since a busy drain needs one for each socket for a moment. NULL without memory. */
struct fm_outbox *fm_outbox_get(struct fm_outbox **spare);
/* Clears it and keeps it; a large one is freed. *o becomes NULL. */
void fm_outbox_put(struct fm_outbox **spare, struct fm_outbox **o);
void fm_outbox_free_all(struct fm_outbox **spare);
