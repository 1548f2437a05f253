#include "http_answer.h"

#include <strings.h>

enum { CHUNK_LINE_MAX = 256 };

static bool value_of(struct fm_slice line, const char *name, struct fm_slice *value)
{
    size_t n = strlen(name);
    if (line.n <= n || line.p[n] != ':' || strncasecmp((const char *)line.p, name, n) != 0)
        return false;
    size_t from = n + 1;
    while (from < line.n && (line.p[from] == ' ' || line.p[from] == '\t'))
        from++;
    *value = fm_slice_of(line.p + from, line.n - from);
    return true;
}

static bool begins(struct fm_slice value, const char *word)
{
    size_t n = strlen(word);
    return value.n >= n && strncasecmp((const char *)value.p, word, n) == 0 && (value.n == n || value.p[n] == ';' || value.p[n] == ' ');
}

static enum fm_err header_take(struct fm_slice line, struct fm_http_answer *a)
{
    struct fm_slice value;
    uint64_t number;
    if (value_of(line, "Content-Length", &value)) {
        if (fm_slice_u64(value, FM_ANSWER_BODY_MAX, &number))
            return FM_E_SYNTAX;
        a->body = (size_t)number;
        a->sized = true;
    } else if (value_of(line, "Connection", &value)) {
        a->last = begins(value, "close");
    } else if (value_of(line, "Transfer-Encoding", &value)) {
        a->chunked = begins(value, "chunked");
    } else if (value_of(line, "Content-Type", &value)) {
        a->events = begins(value, "text/event-stream");
    }
    return FM_OK;
}

enum fm_err fm_http_answer_read(struct fm_slice in, struct fm_http_answer *a)
{
    size_t look = in.n < FM_ANSWER_HEADERS_MAX ? in.n : FM_ANSWER_HEADERS_MAX;
    const uint8_t *end = look ? memmem(in.p, look, "\r\n\r\n", 4) : NULL;
    uint64_t number;
    *a = (struct fm_http_answer){0};
    if (!end)
        return in.n < FM_ANSWER_HEADERS_MAX ? FM_E_SHORT : FM_E_TOO_LARGE;
    a->headers = (size_t)(end - in.p) + 4;
    if (a->headers < 16 || !fm_slice_starts(in, FM_LIT("HTTP/1.1 ")) || fm_slice_u64(fm_slice_of(in.p + 9, 3), 999, &number) ||
        number < 100)
        return FM_E_SYNTAX;
    a->status = (unsigned)number;
    for (const uint8_t *p = in.p; p < end;) {
        const uint8_t *eol = memmem(p, (size_t)(end + 2 - p), "\r\n", 2);
        if (header_take(fm_slice_of(p, (size_t)(eol - p)), a))
            return FM_E_SYNTAX;
        p = eol + 2;
    }
    a->sized |= a->status == 204;
    return FM_OK;
}

/* "1a;extension\r\n" */
static enum fm_err size_read(struct fm_rd *r, uint64_t *size)
{
    size_t left = fm_rd_left(r), look = left < CHUNK_LINE_MAX ? left : CHUNK_LINE_MAX, digits = 0;
    const uint8_t *lf = look ? memchr(r->p, '\n', look) : NULL;
    if (!lf)
        return left < CHUNK_LINE_MAX ? FM_E_SHORT : FM_E_SYNTAX;
    struct fm_slice line = fm_rd_bytes(r, (size_t)(lf - r->p) + 1);
    static const char digits_of[] = "0123456789abcdef0123456789ABCDEF"; /* a digit's place modulo 16 */
    *size = 0;
    for (; digits < line.n; digits++) {
        uint8_t c = line.p[digits];
        const char *at = c ? strchr(digits_of, c) : NULL;
        if (!at)
            break;
        if (digits == 8)
            return FM_E_SYNTAX;
        *size = *size << 4 | (uint64_t)((at - digits_of) & 15);
    }
    bool ended = digits > 0 && line.n >= digits + 2 && line.p[line.n - 2] == '\r' &&
                 (line.n == digits + 2 || line.p[digits] == ';' || line.p[digits] == ' ');
    return ended ? FM_OK : FM_E_SYNTAX;
}

enum fm_err fm_chunks_next(struct fm_chunks *c, struct fm_rd *in, struct fm_slice *bytes)
{
    for (;;) {
        struct fm_rd r = *in;
        if (c->over)
            return FM_E_CLOSED;
        if (c->inside && c->left) {
            size_t n = fm_rd_left(in) < c->left ? fm_rd_left(in) : (size_t)c->left;
            *bytes = fm_rd_bytes(in, n);
            c->left -= n;
            return n ? FM_OK : FM_E_SHORT;
        }
        if (c->inside) {
            struct fm_slice end = fm_rd_bytes(&r, 2);
            if (r.bad)
                return FM_E_SHORT;
            if (!fm_slice_eq(end, FM_LIT("\r\n")))
                return FM_E_SYNTAX;
            c->inside = false;
        } else {
            enum fm_err err = size_read(&r, &c->left);
            if (err)
                return err;
            c->inside = true;
            c->over = c->left == 0; /* trailers are of no interest */
        }
        *in = r;
    }
}
