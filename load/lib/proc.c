#include "proc.h"

#include "../../broker/bytes.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* The second field of /proc/PID/statm, in pages. */
static enum fm_err resident(uint32_t pid, uint64_t *bytes)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%u/statm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FM_E_NOT_FOUND;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    const char *space = n > 0 ? memchr(text, ' ', (size_t)n) : NULL;
    if (!space)
        return FM_E_NOT_FOUND;
    struct fm_slice field = fm_slice_of(space + 1, (size_t)(text + n - space) - 1);
    const uint8_t *end = memchr(field.p, ' ', field.n);
    uint64_t pages;
    if (!end || fm_slice_u64(fm_slice_of(field.p, (size_t)(end - field.p)), UINT32_MAX, &pages))
        return FM_E_NOT_FOUND;
    *bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return FM_OK;
}

enum fm_err fm_proc_cost(const uint32_t *pids, uint32_t n, struct fm_proc_cost *sum)
{
    *sum = (struct fm_proc_cost){0};
    for (uint32_t i = 0; i < n; i++) {
        clockid_t clock;
        struct timespec ts;
        uint64_t bytes;
        if (clock_getcpuclockid((pid_t)pids[i], &clock) || clock_gettime(clock, &ts) || resident(pids[i], &bytes))
            return FM_E_NOT_FOUND;
        sum->cpu_ns += (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
        sum->rss_bytes += bytes;
    }
    return FM_OK;
}
