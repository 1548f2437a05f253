/* What time it is: by the steady clock, for what is due and how long it took, and by the wall clock, for people and other machines.
 *
 * -- any thread -- */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { FM_STAMP_MAX = 64 };

static inline uint64_t fm_clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The steady clock, which never goes back. */
static inline uint64_t fm_mono_ns(void)
{
    return fm_clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t fm_mono_us(void)
{
    return fm_mono_ns() / 1000;
}

static inline uint64_t fm_mono_ms(void)
{
    return fm_mono_ns() / 1000000;
}

/* A thread that looks at the clock several times a second, and finds at one look that so much time is gone since the last, did not run: it
 * was stopped, or its machine was. */
enum { FM_PAUSE_MS = 1000 };

/* For how long it stood still between two looks; 0: it did not. */
static inline uint64_t fm_stood_still_ms(uint64_t before_ms, uint64_t now_ms)
{
    uint64_t ms = now_ms - before_ms;
    return ms < FM_PAUSE_MS ? 0 : ms;
}

/* Since 1970. */
static inline uint64_t fm_unix_ms(void)
{
    return fm_clock_ns(CLOCK_REALTIME) / 1000000;
}

/* The same in seconds, as in tokens. Not time(): it may be a few ms late, and a token that was just made is then one of the future. */
static inline uint64_t fm_unix_s(void)
{
    return fm_clock_ns(CLOCK_REALTIME) / 1000000000;
}

/* Such a moment in UTC as RFC 3339 has it, with its milliseconds. false: it lies beyond the years that there are. */
static inline bool fm_unix_print(uint64_t ms, char out[FM_STAMP_MAX])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm))
        return false;
    size_t n = strftime(out, FM_STAMP_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, FM_STAMP_MAX - n, ".%03uZ", (unsigned)(ms % 1000));
    return true;
}

/* A moment of the steady clock, for calls that wait until then (pthread_cond_clockwait and the like). */
static inline struct timespec fm_mono_at(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}
