/* Virtual time for the simulator: a queue of events, run in the order of their time and, within one instant, of their making. And the
 * seeded randomness: each part of a simulation draws from a stream of its own, so that a change in one part does not reshuffle the
 * others.
 *
 * -- owner only: one simulation, one thread -- */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { FM_SIM_MS = 1000 }; /* the clock counts microseconds */

/* ---- randomness ---- */

struct fm_sim_rand {
    uint64_t state;
};

/* `stream` names the part of the simulation that draws. */
struct fm_sim_rand fm_sim_rand_of(uint64_t seed, const char *stream);
uint64_t fm_sim_rand_next(struct fm_sim_rand *r);
/* 0 .. n - 1; n is not 0. */
uint64_t fm_sim_rand_below(struct fm_sim_rand *r, uint64_t n);
/* min .. max, both included. */
uint64_t fm_sim_rand_between(struct fm_sim_rand *r, uint64_t min, uint64_t max);
/* True in `ppm` of a million draws. */
bool fm_sim_rand_chance(struct fm_sim_rand *r, uint32_t ppm);

/* ---- time ---- */

struct fm_sim_clock;
/* An event: ctx must live as long as the clock; arg is what tells whether the event is still wanted. */
typedef void fm_sim_event_fn(void *ctx, uint64_t arg);

struct fm_sim_clock *fm_sim_clock_new(void);
void fm_sim_clock_free(struct fm_sim_clock **clock);
uint64_t fm_sim_now_us(const struct fm_sim_clock *clock);
/* Runs fn(ctx, arg) `after_us` from now. */
void fm_sim_after(struct fm_sim_clock *clock, uint64_t after_us, fm_sim_event_fn *fn, void *ctx, uint64_t arg);
/* Runs all events due within the next `us` and leaves the clock there. */
void fm_sim_run(struct fm_sim_clock *clock, uint64_t us);
/* Runs the next event if it is due within `us`; false (and the clock is moved on by `us`) if there is none. */
bool fm_sim_run_one(struct fm_sim_clock *clock, uint64_t us);
