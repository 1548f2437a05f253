#include "diag.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum fm_diag_level level_min = FM_INFO;

void fm_diag_level_set(enum fm_diag_level level)
{
    level_min = level;
}

enum fm_diag_level fm_diag_level_get(void)
{
    return level_min;
}

void fm_diag(enum fm_diag_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (level < level_min)
        return;
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    char line[2048];
    size_t n = strftime(line, sizeof line, "ts=%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ level=%s event=%s ", ts.tv_nsec / 1000000, names[level], event);
    va_list ap;
    va_start(ap, fmt);
    int rest = vsnprintf(line + n, sizeof line - n, fmt, ap);
    va_end(ap);
    if (rest > 0)
        n += (size_t)rest;
    if (n > sizeof line - 2)
        n = sizeof line - 2;
    line[n++] = '\n';
    /* One write, so that lines of several threads don't mix. A log that can't be written has nobody to be told. */
    ssize_t done = write(STDERR_FILENO, line, n);
    (void)done;
}

const char *fm_diag_quote(char *out, unsigned long size, const char *text, unsigned long n)
{
    static const char hex[] = "0123456789abcdef";
    unsigned long o = 0;
    if (size < 3)
        return size ? (out[0] = 0, out) : out;
    out[o++] = '"';
    for (unsigned long i = 0; i < n && o + 6 < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            out[o++] = '\\';
            out[o++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            out[o++] = '\\', out[o++] = 'x', out[o++] = hex[c >> 4], out[o++] = hex[c & 15];
        } else {
            out[o++] = (char)c;
        }
    }
    out[o++] = '"';
    out[o] = 0;
    return out;
}
