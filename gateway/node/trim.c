#include "trim.h"
#include "../api/process.h"

#include "../../broker/diag.h"

#include <inttypes.h>

enum {
    KEPT_MAX = 8 << 20, /* more than a node needs that was just started */
    KEPT_SHARE = 8,     /* and an eighth of what is held: the allocator needs room to work */
};

static uint64_t beyond(uint64_t resident, uint64_t held)
{
    return resident > held ? resident - held : 0;
}

bool fm_trim_due(struct fm_trim *t, uint64_t resident, uint64_t held)
{
    uint64_t rest = beyond(resident, held);
    if (t->rest > rest)
        t->rest = rest;
    return rest > t->rest + KEPT_MAX + held / KEPT_SHARE;
}

void fm_trim_done(struct fm_trim *t, uint64_t resident, uint64_t held)
{
    t->rest = beyond(resident, held);
}

void fm_trim(struct fm_trim *t, uint64_t held)
{
    uint64_t before = fm_process_resident();
    if (!fm_trim_due(t, before, held))
        return;
    fm_process_trim();
    uint64_t after = fm_process_resident();
    fm_trim_done(t, after, held);
    fm_diag(FM_DEBUG, "memory_given_back", "resident=%" PRIu64 " before=%" PRIu64 " held=%" PRIu64, after, before, held);
}
