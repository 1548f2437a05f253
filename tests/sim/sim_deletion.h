/* Deletions among splits, losses, restarts and nodes that come and go, drawn from a seed, with the nodes of sim_scene.h.
 *
 * -- owner only -- */
#pragma once

#include <stdint.h>

struct sim_deletion_sums {
    unsigned gone, kept; /* of what was published: named by a deletion, and not */
    unsigned late;       /* came to a node after its deletion */
    unsigned missed;     /* times that a node gave up what may have been a deletion */
};

/* NULL: all was well. Else what was wrong, good until the next call. Adds to *sums.
 *
 * Whatever happens, no node gives anything that was named by a deletion which it knows, neither as it comes nor to who joins. At the end,
 * when all is healed, no node gives anything that was named by a deletion which any of them knows, and, where
 * nothing was given up, every node gives all that no deletion named and a node which is still there accepted. With even seeds things are
 * out of reach for so long that some are given up. */
const char *sim_deletion_run(uint64_t seed, struct sim_deletion_sums *sums);
