#include "trim.h"
#include "../api/metrics.h"

#include "../../broker/diag.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdatomic.h>

enum {
    KEPT_MAX = 8 << 20, /* more than a node needs that was just started */
    KEPT_SHARE = 8,     /* and an eighth of what is held: the allocator needs room to work */
};

static _Atomic uint64_t count;

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

static uint64_t resident_now(void)
{
    struct fm_process_stats p;
    fm_process_stats_read(&p);
    return (uint64_t)p.resident_bytes;
}

void fm_trim(struct fm_trim *t, uint64_t held)
{
    uint64_t before = resident_now();
    if (!fm_trim_due(t, before, held))
        return;
    (void)malloc_trim(0);
    uint64_t after = resident_now();
    fm_trim_done(t, after, held);
    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    fm_diag(FM_DEBUG, "memory_given_back", "resident=%" PRIu64 " before=%" PRIu64 " held=%" PRIu64, after, before, held);
}

uint64_t fm_trim_count(void)
{
    return atomic_load_explicit(&count, memory_order_relaxed);
}
