#include "process.h"

#include <dirent.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static _Atomic uint64_t trims;

/* The first `size - 1` bytes of a file of /proc; empty if there is none. */
static void read_proc(const char *path, char *out, size_t size)
{
    out[0] = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    size_t n = fread(out, 1, size - 1, f);
    out[n] = 0;
    fclose(f);
}

/* Linux 6.2 and later tell the number of entries as the size of the folder; before, they have to be counted. */
static double count_fds(void)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (double)st.st_size;
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return 0;
    unsigned n = 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n > 0 ? n - 1 : 0; /* without the one that was open to count */
}

/* Fields of /proc/self/stat by their number in proc(5), from 3 (the state) on. The name of the process stands before them in parentheses
 * and may hold anything, so they are counted from the last one. */
static unsigned long long stat_field(const char *text, unsigned number)
{
    const char *p = strrchr(text, ')');
    for (unsigned at = 2; p && at < number; at++)
        p = strchr(p + 1, ' ');
    return p ? strtoull(p + 1, NULL, 10) : 0;
}

static double start_time(unsigned long long ticks_after_boot, double ticks_per_second)
{
    struct timespec now, since_boot;
    if (clock_gettime(CLOCK_REALTIME, &now) || clock_gettime(CLOCK_BOOTTIME, &since_boot))
        return 0;
    double boot = (double)now.tv_sec - (double)since_boot.tv_sec + (double)(now.tv_nsec - since_boot.tv_nsec) / 1e9;
    return boot + (double)ticks_after_boot / ticks_per_second;
}

void fm_process_stats_read(struct fm_process_stats *p)
{
    *p = (struct fm_process_stats){.open_fds = count_fds(), .trims = (double)atomic_load_explicit(&trims, memory_order_relaxed)};
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        p->max_fds = (double)limit.rlim_cur;
    char text[1024];
    read_proc("/proc/self/stat", text, sizeof text);
    double ticks = (double)sysconf(_SC_CLK_TCK);
    if (!text[0] || ticks <= 0)
        return;
    p->cpu_seconds = (double)(stat_field(text, 14) + stat_field(text, 15)) / ticks;
    p->threads = (double)stat_field(text, 20);
    p->start_seconds = start_time(stat_field(text, 22), ticks);
    p->virtual_bytes = (double)stat_field(text, 23);
    p->resident_bytes = (double)stat_field(text, 24) * (double)sysconf(_SC_PAGESIZE);
}

uint64_t fm_process_resident(void)
{
    struct fm_process_stats p;
    fm_process_stats_read(&p);
    return (uint64_t)p.resident_bytes;
}

void fm_process_trim(void)
{
    (void)malloc_trim(0);
    atomic_fetch_add_explicit(&trims, 1, memory_order_relaxed);
}
