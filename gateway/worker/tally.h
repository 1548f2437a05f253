/* How many of something each of many keys has now: connections of an address, of a user. Shared by the workers of a node, and only touched
 * where a connection begins or ends: its locks are many, each is held for a look-up, and no message waits for one.
 *
 * -- any thread -- */
#pragma once

#include "../../broker/bytes.h"

struct fm_tally;

/* NULL without memory. */
struct fm_tally *fm_tally_new(void);
void fm_tally_free(struct fm_tally **tally);
/* One more of the key, at most max. FM_E_BUSY: there are as many already; FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_tally_take(struct fm_tally *tally, struct fm_slice key, uint32_t max);
/* One less: one that was taken. */
void fm_tally_give(struct fm_tally *tally, struct fm_slice key);
uint32_t fm_tally_of(struct fm_tally *tally, struct fm_slice key);
