/* Memory that glibc's allocator keeps although nothing is allocated in it: it gives back by itself only what lies at the top of one of its
 * arenas, so a burst's peak would stay resident for ever. Whoever has one calls this now and then; it is done only when more than usual is
 * kept, because giving back looks at every free piece and holds up the threads that allocate meanwhile.
 *
 * -- owner only -- */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialised at first. */
struct fm_trim {
    uint64_t rest; /* resident bytes beyond those held, that could not be given back, or are needed by what nobody accounts for */
};

/* held: bytes that are known to be in use. */
bool fm_trim_due(struct fm_trim *t, uint64_t resident, uint64_t held);
/* It was done, and this is resident now. */
void fm_trim_done(struct fm_trim *t, uint64_t resident, uint64_t held);
/* Looks, and does it if it is due. */
void fm_trim(struct fm_trim *t, uint64_t held);
