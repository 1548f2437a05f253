/* What the probe knows of each part of the node, and what it says when that changes. No connections here: time comes in as an argument. */
#include "probe.h"

#include "../../broker/diag.h"

#include <inttypes.h>
#include <stdio.h>

static const char *why_text(unsigned why)
{
    static const char *const texts[] = {
#define X(name, text) [FM_PROBE_##name] = text,
        FM_PROBE_WHYS(X)
#undef X
    };
    return texts[why];
}

static uint64_t load(const _Atomic uint64_t *at)
{
    return atomic_load_explicit(at, memory_order_relaxed);
}

/* One writer. */
static void store(_Atomic uint64_t *at, uint64_t v)
{
    atomic_store_explicit(at, v, memory_order_relaxed);
}

static unsigned state_of(const struct fm_probe_line *line)
{
    return atomic_load_explicit(&line->state, memory_order_acquire);
}

static void state_set(struct fm_probe_line *line, enum fm_probe_state state)
{
    store(&line->ok, state == FM_PROBE_OK);
    atomic_store_explicit(&line->state, state, memory_order_release);
}

void fm_probe_board_init(struct fm_probe_board *b, unsigned workers)
{
    *b = (struct fm_probe_board){.n = workers + 1};
    for (unsigned i = 0; i < workers; i++)
        snprintf(b->at[i].name, sizeof b->at[i].name, "worker %u", i);
    snprintf(b->at[workers].name, sizeof b->at[workers].name, "listener");
}

const char *fm_probe_label(const struct fm_probe_line *line)
{
    const char *space = strchr(line->name, ' ');
    return space ? space + 1 : line->name;
}

/* ---- for /readyz ---- */

bool fm_probe_is_new(const struct fm_probe_board *b)
{
    for (unsigned i = 0; i < b->n; i++)
        if (state_of(&b->at[i]) == FM_PROBE_NEW)
            return true;
    return false;
}

bool fm_probe_is_deaf(const struct fm_probe_board *b, uint64_t now_ms, char *out, size_t out_size)
{
    const struct fm_probe_line *first = NULL;
    unsigned n = 0;
    for (unsigned i = 0; i < b->n; i++) {
        if (state_of(&b->at[i]) != FM_PROBE_DEAF)
            continue;
        first = first ? first : &b->at[i];
        n++;
    }
    if (!first)
        return false;
    uint64_t ms = now_ms - load(&first->since_ms);
    int used = snprintf(out, out_size, "%s, for %" PRIu64 ".%" PRIu64 " s: %s", first->name, ms / 1000, ms % 1000 / 100,
                        why_text(atomic_load_explicit(&first->why, memory_order_relaxed)));
    if (n > 1 && used > 0 && (size_t)used < out_size)
        snprintf(out + used, out_size - (size_t)used, "; and %u more", n - 1);
    return true;
}

/* ---- what happens ---- */

void fm_probe_sent(struct fm_probe_line *line, uint64_t now_ms)
{
    if (line->waits_ms)
        return;
    line->waits_ms = line->late_ms = now_ms;
}

void fm_probe_came(struct fm_probe_line *line, uint64_t now_ms, uint64_t us)
{
    line->waits_ms = 0;
    store(&line->round_trip_us, us);
    if (state_of(line) == FM_PROBE_DEAF)
        fm_diag(FM_INFO, "deaf_over", "part=\"%s\" ms=%" PRIu64 " why=\"the node's messages to itself come back again\"", line->name,
                now_ms - load(&line->since_ms));
    state_set(line, FM_PROBE_OK);
}

bool fm_probe_is_due(const struct fm_probe_line *line, uint64_t now_ms, uint32_t timeout_ms)
{
    return line->waits_ms && now_ms >= line->late_ms + timeout_ms;
}

bool fm_probe_late(struct fm_probe_line *line, enum fm_probe_why why, uint64_t now_ms, uint32_t timeout_ms)
{
    if (!fm_probe_is_due(line, now_ms, timeout_ms))
        return false;
    line->late_ms = now_ms;
    store(&line->failures, load(&line->failures) + 1);
    atomic_store_explicit(&line->why, why, memory_order_relaxed);
    if (state_of(line) == FM_PROBE_DEAF)
        return true;
    store(&line->since_ms, line->waits_ms);
    fm_diag(FM_WARN, "deaf", "part=\"%s\" ms=%" PRIu64 " why=\"%s\" then=\"/readyz is 503 until they come back\"", line->name,
            now_ms - line->waits_ms, why_text(why));
    state_set(line, FM_PROBE_DEAF);
    return true;
}

void fm_probe_paused(struct fm_probe_line *line, uint64_t ms)
{
    if (!line->waits_ms)
        return;
    line->waits_ms += ms;
    line->late_ms += ms;
}
