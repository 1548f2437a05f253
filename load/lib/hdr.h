/* A histogram of durations with a bounded relative error: 128 steps for each power of two, so a value is known to 0.8 %. Fixed memory,
 * no allocation, adding costs a shift and an increment.
 *
 * -- owner only -- */
#pragma once

#include <stdint.h>

enum { FM_HDR_STEP_BITS = 7, FM_HDR_VALUE_BITS = 42 }; /* up to 2^42 ns, 73 minutes; larger values count as that */
enum { FM_HDR_BUCKETS = (FM_HDR_VALUE_BITS - FM_HDR_STEP_BITS + 1) << FM_HDR_STEP_BITS };

struct fm_hdr { /* zero is an empty histogram */
    uint64_t count, sum, min, max;
    uint64_t at[FM_HDR_BUCKETS];
};

void fm_hdr_add(struct fm_hdr *h, uint64_t value);
void fm_hdr_merge(struct fm_hdr *to, const struct fm_hdr *from);
/* The value that `percent` of all are not above, rounded up to its step (never above the largest); 0 without values. */
uint64_t fm_hdr_percentile(const struct fm_hdr *h, double percent);
uint64_t fm_hdr_mean(const struct fm_hdr *h);
/* The largest value of a bucket. */
uint64_t fm_hdr_top(uint64_t bucket);
