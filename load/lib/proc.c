#include "proc.h"

#include "../../broker/bytes.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* The number that stands between `before` and the next character `after` in a small file of the kernel's. */
static enum fm_err number_in(const char *path, const char *before, char after, uint64_t *value)
{
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FM_E_NOT_FOUND;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    const char *from = n > 0 ? memmem(text, (size_t)n, before, strlen(before)) : NULL;
    if (!from)
        return FM_E_NOT_FOUND;
    from += strlen(before);
    const char *end = memchr(from, after, (size_t)(text + n - from));
    return end ? fm_slice_u64(fm_slice_of(from, (size_t)(end - from)), UINT64_MAX, value) : FM_E_NOT_FOUND;
}

/* The second field of /proc/PID/statm, in pages. */
static enum fm_err resident(uint32_t pid, uint64_t *bytes)
{
    char path[64];
    uint64_t pages;
    snprintf(path, sizeof path, "/proc/%u/statm", pid);
    if (number_in(path, " ", ' ', &pages) || pages > UINT32_MAX)
        return FM_E_NOT_FOUND;
    *bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return FM_OK;
}

/* Over all threads; one that ends while this reads is left out. */
static enum fm_err wakes_of(uint32_t pid, uint64_t *sum)
{
    char path[320];
    snprintf(path, sizeof path, "/proc/%u/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return FM_E_NOT_FOUND;
    for (const struct dirent *task; (task = readdir(tasks));) {
        uint64_t wakes;
        snprintf(path, sizeof path, "/proc/%u/task/%s/status", pid, task->d_name);
        if (task->d_name[0] != '.' && !number_in(path, "\nvoluntary_ctxt_switches:\t", '\n', &wakes))
            *sum += wakes;
    }
    closedir(tasks);
    return FM_OK;
}

enum fm_err fm_proc_cost(const uint32_t *pids, uint32_t n, struct fm_proc_cost *sum)
{
    *sum = (struct fm_proc_cost){0};
    for (uint32_t i = 0; i < n; i++) {
        clockid_t clock;
        struct timespec ts;
        uint64_t bytes;
        if (clock_getcpuclockid((pid_t)pids[i], &clock) || clock_gettime(clock, &ts) || resident(pids[i], &bytes) ||
            wakes_of(pids[i], &sum->wakes))
            return FM_E_NOT_FOUND;
        sum->cpu_ns += (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
        sum->rss_bytes += bytes;
    }
    return FM_OK;
}
