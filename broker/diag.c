#include "diag.h"

#include <unistd.h>

/* Set when a node starts; a program may have another that runs already. */
static _Atomic enum fm_diag_level level_min = FM_INFO;
static _Atomic enum fm_diag_format format_now = FM_LOGFMT;

void fm_diag_level_set(enum fm_diag_level level)
{
    level_min = level;
}

enum fm_diag_level fm_diag_level_get(void)
{
    return level_min;
}

void fm_diag_format_set(enum fm_diag_format format)
{
    format_now = format;
}

void fm_diag(enum fm_diag_level level, const char *event, const char *fmt, ...)
{
    if (level < level_min)
        return;
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    char line[FM_DIAG_LINE_MAX];
    va_list ap;
    va_start(ap, fmt);
    size_t n = fm_diag_line(line, format_now, &(struct fm_diag_head){&at, level, event}, fmt, ap);
    va_end(ap);
    /* One write, so that lines of several threads don't mix. A log that can't be written has nobody to be told. */
    ssize_t done = write(STDERR_FILENO, line, n);
    (void)done;
}

size_t fm_diag_line_ready(char out[FM_DIAG_LINE_MAX], enum fm_diag_level level, const char *event, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t n = fm_diag_line(out, format_now, &(struct fm_diag_head){NULL, level, event}, fmt, ap);
    va_end(ap);
    return n;
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
