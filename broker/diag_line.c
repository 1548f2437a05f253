/* One line of the log. Callers write pairs by printf, as logfmt; here they are read back and written anew, in either format, so that no
 * value, however it came in, ends a line, begins another pair, or makes JSON that can't be read. */
#include "clock.h"
#include "diag.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

struct pair {
    const char *key, *value; /* key_n 0: text without a key */
    size_t key_n, value_n;
    bool quoted; /* value is what stood between the quotes, with its escapes */
};

static size_t key_length(const char *p, const char *end)
{
    const char *q = p;
    while (q < end && ((*q >= 'a' && *q <= 'z') || (*q >= 'A' && *q <= 'Z') || (*q >= '0' && *q <= '9') || *q == '_'))
        q++;
    return q < end && *q == '=' ? (size_t)(q - p) : 0;
}

static bool pair_begins(const char *p, const char *end)
{
    return p == end || (*p == ' ' && (p + 1 == end || key_length(p + 1, end) > 0));
}

/* A quote ends a value only where a pair may follow: text that came in without having been quoted may hold quotes. */
static const char *quote_end(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p == '\\' && p + 1 < end)
            p++;
        else if (*p == '"' && pair_begins(p + 1, end))
            return p;
    }
    return end;
}

static bool pair_next(const char **at, const char *end, struct pair *out)
{
    const char *p = *at, *stop;
    while (p < end && *p == ' ')
        p++;
    if (p == end)
        return false;
    *out = (struct pair){.key = p, .key_n = key_length(p, end)};
    if (out->key_n)
        p += out->key_n + 1;
    out->quoted = out->key_n && p < end && *p == '"';
    p += out->quoted;
    out->value = p;
    if (out->quoted)
        stop = quote_end(p, end);
    else
        for (stop = p; stop < end && (out->key_n ? *stop != ' ' : !pair_begins(stop, end));)
            stop++;
    out->value_n = (size_t)(stop - p);
    *at = stop + (out->quoted && stop < end);
    return true;
}

/* The next byte of a value; what fm_diag_quote escaped is itself again. */
static unsigned char byte_next(const struct pair *v, size_t *i)
{
    static const char hex[] = "0123456789abcdef";
    const char *p = v->value + *i;
    size_t left = v->value_n - *i;
    if (v->quoted && *p == '\\' && left >= 2 && (p[1] == '"' || p[1] == '\\')) {
        *i += 2;
        return (unsigned char)p[1];
    }
    if (v->quoted && *p == '\\' && left >= 4 && p[1] == 'x') {
        const char *high = memchr(hex, p[2], 16), *low = memchr(hex, p[3], 16);
        if (high && low) {
            *i += 4;
            return (unsigned char)((high - hex) << 4 | (low - hex));
        }
    }
    *i += 1;
    return (unsigned char)*p;
}

/* ---- writing ---- */

struct line {
    char *p;
    size_t n;
};

static void put(struct line *l, const char *text, size_t n)
{
    assert(l->n + n <= FM_DIAG_LINE_MAX); /* the line holds six times the body: nothing grows by more */
    memcpy(l->p + l->n, text, n);
    l->n += n;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

static void put_escaped(struct line *l, unsigned char c, enum fm_diag_format format)
{
    char text[8];
    if (c == '"' || c == '\\')
        snprintf(text, sizeof text, "\\%c", c);
    else
        snprintf(text, sizeof text, format == FM_JSON_LINES ? "\\u%04x" : "\\x%02x", c);
    put_text(l, text);
}

/* Bytes of the UTF-8 sequence at `p` (RFC 3629), 0 if there is none. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool wrong =
        (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    return wrong ? 0 : n;
}

/* The value between quotes. JSON is UTF-8: a byte that is none becomes U+FFFD. */
static void put_quoted(struct line *l, const struct pair *v, enum fm_diag_format format)
{
    unsigned char text[FM_DIAG_BODY_MAX];
    size_t n = 0;
    for (size_t i = 0; i < v->value_n;)
        text[n++] = byte_next(v, &i);
    put_text(l, "\"");
    for (size_t i = 0, len; i < n; i += len) {
        len = 1;
        if (text[i] < 0x20 || text[i] == 0x7f || text[i] == '"' || text[i] == '\\')
            put_escaped(l, text[i], format);
        else if (format == FM_LOGFMT)
            put(l, (const char *)text + i, 1);
        else if (len = utf8_length(text + i, n - i), len)
            put(l, (const char *)text + i, len);
        else
            put_text(l, "\xef\xbf\xbd"), len = 1;
    }
    put_text(l, "\"");
}

static bool is_bare(const struct pair *v)
{
    for (size_t i = 0; i < v->value_n; i++) {
        unsigned char c = (unsigned char)v->value[i];
        if (c <= 0x20 || c == 0x7f || c == '"' || c == '\\')
            return false;
    }
    return true;
}

/* ---- numbers ---- */

static size_t digits(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] >= '0' && p[i] <= '9')
        i++;
    return i;
}

/* As JSON writes them, but without an exponent. */
static bool is_number(const char *p, size_t n)
{
    size_t sign = n && p[0] == '-';
    p += sign, n -= sign;
    size_t whole = digits(p, n);
    if (whole == 0 || (whole > 1 && p[0] == '0'))
        return false;
    return whole == n || (p[whole] == '.' && whole + 1 < n && digits(p + whole + 1, n - whole - 1) == n - whole - 1);
}

/* Does the format write this key's value as a number? A text that looks like one (a node's name 42) is none. */
static bool says_number(const char *fmt, const struct pair *v)
{
    for (const char *p = fmt; (p = strstr(p, "=")); p++) {
        if ((size_t)(p - fmt) < v->key_n || memcmp(p - v->key_n, v->key, v->key_n) != 0)
            continue;
        if ((size_t)(p - fmt) > v->key_n && p[-(ptrdiff_t)v->key_n - 1] != ' ')
            continue;
        if (p[1] != '%')
            return p[1] >= '0' && p[1] <= '9';
        p += 2;
        p += strspn(p, "0123456789.+-#hlzjt");
        return *p && strchr("diufg", *p);
    }
    return false;
}

/* ---- the line ---- */

static void put_pair(struct line *l, const struct pair *v, enum fm_diag_format format, bool number)
{
    const struct pair key = {.value = v->key_n ? v->key : "text", .value_n = v->key_n ? v->key_n : 4};
    bool bare;
    if (format == FM_LOGFMT) {
        bare = v->key_n && !v->quoted && is_bare(v);
        put(l, key.value, key.value_n);
        put_text(l, "=");
    } else {
        bare = number;
        put_quoted(l, &key, format);
        put_text(l, ":");
    }
    if (bare)
        put(l, v->value, v->value_n);
    else
        put_quoted(l, v, format);
}

static void put_head(struct line *l, enum fm_diag_format format, const struct fm_diag_head *head)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    char at[FM_STAMP_MAX];
    if (head->at && fm_unix_print((uint64_t)head->at->tv_sec * 1000 + (uint64_t)head->at->tv_nsec / 1000000, at)) {
        put_text(l, format == FM_JSON_LINES ? "\"ts\":\"" : "ts=");
        put_text(l, at);
        put_text(l, format == FM_JSON_LINES ? "\"," : " ");
    }
    put_text(l, format == FM_JSON_LINES ? "\"level\":\"" : "level=");
    put_text(l, levels[head->level]);
    put_text(l, format == FM_JSON_LINES ? "\",\"event\":\"" : " event=");
    put_text(l, head->event);
    put_text(l, format == FM_JSON_LINES ? "\"" : " ");
}

size_t fm_diag_line(char out[FM_DIAG_LINE_MAX], enum fm_diag_format format, const struct fm_diag_head *head, const char *fmt, va_list ap)
{
    char body[FM_DIAG_BODY_MAX];
    struct line l = {.p = out};
    int made = vsnprintf(body, sizeof body, fmt, ap);
    bool cut = made >= (int)sizeof body;
    const char *p = body, *end = body + (made < 0 ? 0 : cut ? (int)sizeof body - 1 : made);
    put_text(&l, format == FM_JSON_LINES ? "{" : "");
    put_head(&l, format, head);
    struct pair v;
    for (const char *space = ""; pair_next(&p, end, &v); space = " ") {
        /* A number that was cut is another number. */
        bool number = !v.quoted && v.key_n && !(cut && p == end) && says_number(fmt, &v) && is_number(v.value, v.value_n);
        put_text(&l, format == FM_JSON_LINES ? "," : space);
        put_pair(&l, &v, format, number);
    }
    if (cut)
        put_text(&l, format == FM_JSON_LINES ? ",\"cut\":true" : " cut=true");
    put_text(&l, format == FM_JSON_LINES ? "}\n" : "\n");
    return l.n;
}
