#include "hdr.h"

#include <math.h>

static unsigned shift_of(uint64_t value)
{
    unsigned bits = 64u - (unsigned)__builtin_clzll(value | 1);
    return bits > FM_HDR_STEP_BITS + 1 ? bits - FM_HDR_STEP_BITS - 1 : 0;
}

static uint64_t bucket_of(uint64_t value)
{
    unsigned shift = shift_of(value);
    return ((uint64_t)shift << FM_HDR_STEP_BITS) + (value >> shift);
}

uint64_t fm_hdr_top(uint64_t bucket)
{
    uint64_t steps = 1u << FM_HDR_STEP_BITS;
    if (bucket < 2 * steps)
        return bucket;
    uint64_t shift = bucket / steps - 1;
    return ((bucket - shift * steps + 1) << shift) - 1;
}

void fm_hdr_add(struct fm_hdr *h, uint64_t value)
{
    const uint64_t top = ((uint64_t)1 << FM_HDR_VALUE_BITS) - 1;
    if (value > top)
        value = top;
    if (h->count == 0 || value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
    h->count++;
    h->sum += value;
    h->at[bucket_of(value)]++;
}

void fm_hdr_merge(struct fm_hdr *to, const struct fm_hdr *from)
{
    if (from->count == 0)
        return;
    to->min = to->count && to->min < from->min ? to->min : from->min;
    to->max = to->max > from->max ? to->max : from->max;
    to->count += from->count;
    to->sum += from->sum;
    for (uint64_t i = 0; i < FM_HDR_BUCKETS; i++)
        to->at[i] += from->at[i];
}

uint64_t fm_hdr_percentile(const struct fm_hdr *h, double percent)
{
    uint64_t want = (uint64_t)ceil((double)h->count * percent / 100.0), seen = 0;
    if (h->count == 0)
        return 0;
    if (want < 1)
        want = 1;
    for (uint64_t i = 0; i < FM_HDR_BUCKETS; i++) {
        seen += h->at[i];
        if (seen >= want)
            return fm_hdr_top(i) < h->max ? fm_hdr_top(i) : h->max;
    }
    return h->max;
}

uint64_t fm_hdr_mean(const struct fm_hdr *h)
{
    return h->count ? h->sum / h->count : 0;
}
