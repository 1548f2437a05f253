/* The tail of what happened, for people who look for the reason of a fault. */
#include "sim_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINES = 600, LINE_MAX_BYTES = 240 };

struct sim_trace {
    char lines[LINES][LINE_MAX_BYTES];
    unsigned long n;
    bool all; /* FANMESH_SIM_TRACE=all: every line at once */
};

struct sim_trace *sim_trace_new(void)
{
    struct sim_trace *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    const char *how = getenv("FANMESH_SIM_TRACE");
    t->all = how && strcmp(how, "all") == 0;
    return t;
}

void sim_trace_free(struct sim_trace **trace)
{
    free(*trace);
    *trace = NULL;
}

void sim_trace_add(struct sim_trace *t, uint64_t now_us, const char *fmt, ...)
{
    char *line = t->lines[t->n++ % LINES];
    int at = snprintf(line, LINE_MAX_BYTES, "%9.3f ", (double)now_us / 1e6);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line + at, LINE_MAX_BYTES - (size_t)at, fmt, args);
    va_end(args);
    if (t->all)
        (void)fprintf(stderr, "%s\n", line);
}

void sim_trace_print(const struct sim_trace *t)
{
    for (unsigned long i = t->n > LINES ? t->n - LINES : 0; !t->all && i < t->n; i++)
        (void)fprintf(stderr, "%s\n", t->lines[i % LINES]);
}
