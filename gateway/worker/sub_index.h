/* A socket's subs by their topic, for a socket with many of them: nearly all have a few, whose list is searched faster than any table, and
 * pay nothing for this.
 *
 * -- the worker's thread only -- */
#pragma once

#include "proto.h"

struct fm_sub_index; /* open addressing, at most half full */

/* Of a list of n subs. NULL without memory. */
struct fm_sub_index *fm_sub_index_new(struct fm_sub *list, uint32_t n);
void fm_sub_index_free(struct fm_sub_index **index);
/* NULL: there is none of that topic. */
struct fm_sub *fm_sub_index_find(const struct fm_sub_index *index, struct fm_slice topic);
/* There must be none of its topic. Without memory to grow the index is freed: *index becomes NULL. */
void fm_sub_index_add(struct fm_sub_index **index, struct fm_sub *sub);
/* It must be there. */
void fm_sub_index_remove(struct fm_sub_index *index, const struct fm_sub *sub);
