/* The log for people and machines: one line an event in logfmt, `ts=... level=... event=... key=value ...`, to stderr.
 * (What a node remembers of an origin is called log in this code base; this is the other one, so it is called diag.)
 *
 * Never give it a secret, a token or a payload.
 *
 * -- any thread -- */
#pragma once

enum fm_diag_level { FM_DEBUG, FM_INFO, FM_WARN, FM_ERROR };

/* Lines below `level` are dropped. Set before threads start. */
void fm_diag_level_set(enum fm_diag_level level);
enum fm_diag_level fm_diag_level_get(void);
/* `event` is a stable word such as "peer_up"; `fmt` makes the rest, already as key=value pairs. Quote free text with fm_diag_quote. */
void fm_diag(enum fm_diag_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Writes `text` as a logfmt value (in quotes where needed, control characters escaped, cut to fit) into out and returns out. */
const char *fm_diag_quote(char *out, unsigned long out_size, const char *text, unsigned long n);
