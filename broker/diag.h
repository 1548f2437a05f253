/* The log for people and machines: one line an event, to stderr, as logfmt (`ts=... level=... event=... key=value ...`) or as one JSON
 * object with the same members. (What a node remembers of an origin is called log in this code base; this is the other one, so it is
 * called diag.)
 *
 * Whatever a value holds, a line stays one line and can be read by a machine: diag_line.c reads the pairs that a caller wrote and writes
 * them anew. Never give it a secret, a token or a payload.
 *
 * -- any thread -- */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum fm_diag_level { FM_DEBUG, FM_INFO, FM_WARN, FM_ERROR };
enum fm_diag_format { FM_LOGFMT, FM_JSON_LINES };

/* Lines below `level` are dropped. */
void fm_diag_level_set(enum fm_diag_level level);
enum fm_diag_level fm_diag_level_get(void);
/* Likewise. */
void fm_diag_format_set(enum fm_diag_format format);
/* `event` is a stable word such as "peer_up"; `fmt` makes the rest, already as key=value pairs. Quote free text with fm_diag_quote. In JSON
 * a value is a number where `fmt` says key=%u or the like, or key=0, else a text. */
void fm_diag(enum fm_diag_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Writes `text` as a logfmt value (in quotes where needed, control characters escaped, cut to fit) into out and returns out. */
const char *fm_diag_quote(char *out, unsigned long out_size, const char *text, unsigned long n);

/* ---- diag_line.c ---- */

enum { FM_DIAG_BODY_MAX = 2048, FM_DIAG_LINE_MAX = 6 * FM_DIAG_BODY_MAX + 256 };

struct fm_diag_head {
    const struct timespec *at; /* NULL: the line has no ts */
    enum fm_diag_level level;
    const char *event;
};

/* Writes one whole line, its newline included, into out and returns its length. Of what fmt makes beyond FM_DIAG_BODY_MAX the rest is left
 * out, and cut=true is added. */
size_t fm_diag_line(char out[FM_DIAG_LINE_MAX], enum fm_diag_format format, const struct fm_diag_head *head, const char *fmt, va_list ap);
/* The same in the format that is set and without a time, for a signal handler that may not make one: made beforehand. */
size_t fm_diag_line_ready(char out[FM_DIAG_LINE_MAX], enum fm_diag_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* -- its owner only -- */

struct fm_diag_pause { /* a line that is told now and then only, and the number of times since */
    uint64_t quiet_until_ms, untold;
};
