/* A vector: origin -> seq, sorted by origin, an origin at most once. Cursors, claims and topic positions are vectors.
 * Zero-initialised is empty. Used by one owner at a time; never more than FM_CURSOR_MAX entries.
 *
 * -- owner only -- */
#pragma once

#include "bytes.h"
#include "fanmesh/cursor.h"

/* An id on the mesh. */
void fm_buf_id(struct fm_buf *b, struct fm_id id);
struct fm_id fm_rd_id(struct fm_rd *r);

struct fm_vector {
    struct fm_id *at;
    uint32_t n, cap;
};

void fm_vector_fini(struct fm_vector *v);
/* 0 where the origin is not in it. */
uint64_t fm_vector_get(const struct fm_vector *v, uint64_t origin);
bool fm_vector_has(const struct fm_vector *v, uint64_t origin);
/* FM_E_TOO_MANY beyond FM_CURSOR_MAX origins. */
FM_MUST_CHECK enum fm_err fm_vector_set(struct fm_vector *v, uint64_t origin, uint64_t seq);
/* Sets where `seq` is larger than what is there. */
FM_MUST_CHECK enum fm_err fm_vector_raise(struct fm_vector *v, uint64_t origin, uint64_t seq);
FM_MUST_CHECK enum fm_err fm_vector_copy(struct fm_vector *to, const struct fm_vector *from);
void fm_vector_remove(struct fm_vector *v, uint64_t origin);
/* Raises a position. Where it is full (256 origins), the origin that did least is forgotten: a later reread may then bring its messages
 * again, which is better than to lose one. */
void fm_position_raise(struct fm_vector *at, struct fm_id id);

/* The cursor as JSON: ["origin-seq",...]. */
void fm_vector_json(struct fm_buf *b, const struct fm_vector *v);
/* Adds one id in text form, keeping the larger seq of an origin that is there already. */
FM_MUST_CHECK enum fm_err fm_vector_add_text(struct fm_vector *v, struct fm_slice id);
