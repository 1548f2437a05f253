/* Two hubs in one thread, without a mesh between them: what the first one sends is handed to the second by hand. The same work every time,
 * so that instructions can be counted and compared with those of another build.
 *
 * -- owner only -- */
#pragma once

#include "mesh_options.h"

struct fm_mesh_steps_result {
    uint64_t messages; /* in the steps that count */
    uint64_t received, envelopes;
};

/* FM_E_IO: something was lost, which can't be. */
FM_MUST_CHECK enum fm_err fm_mesh_steps_run(const struct fm_mesh_options *o, struct fm_mesh_steps_result *result);
