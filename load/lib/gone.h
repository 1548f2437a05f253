/* The origins that were killed in a run: what such a node alone had may be lost. Whoever kills a node writes its incarnation, as it stands
 * in ids and in GET /api/cluster, into a file, one a line.
 *
 * -- owner only -- */
#pragma once

#include "../../broker/bytes.h"
#include "fanmesh/cursor.h"

struct fm_gone { /* zero is empty */
    uint64_t *at;
    uint32_t n;
};

void fm_gone_fini(struct fm_gone *gone);
/* Adds those of a file's text; empty lines are skipped. FM_E_SYNTAX: *line, from 1, is not an origin. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_gone_read(struct fm_gone *gone, struct fm_slice text, unsigned *line);
bool fm_gone_has(const struct fm_gone *gone, uint64_t origin);
