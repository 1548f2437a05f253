/* Preloaded into a node: adds an offset to the wall clock, and only to it, so that a test can let the clock of one process jump. The offset
 * is 8 bytes, signed nanoseconds, in the file named by CLOCK_JUMP_FILE, which is mapped: whoever writes the file changes the time at once.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000 };

static const _Atomic int64_t *offset;

__attribute__((constructor)) static void map_offset(void)
{
    const char *path = getenv("CLOCK_JUMP_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        offset = at;
}

static void shift(struct timespec *ts)
{
    int64_t ns = (int64_t)ts->tv_sec * NS_PER_S + ts->tv_nsec + (offset ? atomic_load(offset) : 0);
    ts->tv_sec = ns / NS_PER_S;
    ts->tv_nsec = ns % NS_PER_S;
}

static int real_clock(clockid_t clock, struct timespec *ts)
{
    static _Atomic(int (*)(clockid_t, struct timespec *)) real;
    int (*call)(clockid_t, struct timespec *) = atomic_load(&real);
    if (!call) {
        *(void **)&call = dlsym(RTLD_NEXT, "clock_gettime");
        atomic_store(&real, call);
    }
    return call ? call(clock, ts) : (int)syscall(SYS_clock_gettime, clock, ts);
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    int result = real_clock(clock, ts);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(ts);
    return result;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return result;
}

time_t time(time_t *out)
{
    struct timespec ts = {0};
    if (clock_gettime(CLOCK_REALTIME, &ts))
        return (time_t)-1;
    if (out)
        *out = ts.tv_sec;
    return ts.tv_sec;
}
