/* What a JSON string or number means: the half of json_slice.h that looks into scalars. They are valid (fm_json_parse has seen them). */
#include "json_slice.h"

#include <assert.h>

/* A string's content, read character by character, at most 4 bytes of UTF-8 each. */
struct text_rd {
    const uint8_t *p, *end;
};

static struct text_rd text_rd_of(const struct fm_json *string)
{
    assert(string->raw.n >= 2);
    return (struct text_rd){string->raw.p + 1, string->raw.p + string->raw.n - 1};
}

static uint32_t hex4(const uint8_t *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i];
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

static size_t utf8_put(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

static uint8_t escaped_byte(uint8_t c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

/* The next byte, or the next escaped character; 0 at the end. */
static size_t text_next(struct text_rd *r, uint8_t out[4])
{
    if (r->p >= r->end)
        return 0;
    if (*r->p != '\\') {
        out[0] = *r->p++;
        return 1;
    }
    assert(r->end - r->p >= 2);
    if (r->p[1] != 'u') {
        out[0] = escaped_byte(r->p[1]);
        r->p += 2;
        return 1;
    }
    assert(r->end - r->p >= 6);
    uint32_t c = hex4(r->p + 2);
    r->p += 6;
    if (c >= 0xd800 && c <= 0xdbff) {
        assert(r->end - r->p >= 6);
        c = 0x10000 + ((c - 0xd800) << 10) + (hex4(r->p + 2) - 0xdc00);
        r->p += 6;
    }
    return utf8_put(c, out);
}

enum fm_err fm_json_text(const struct fm_json *string, void *out, size_t out_size, struct fm_slice *text)
{
    if (string->type != FM_JSON_STRING)
        return FM_E_INVALID;
    struct text_rd r = text_rd_of(string);
    size_t n = (size_t)(r.end - r.p);
    if (!n || !memchr(r.p, '\\', n)) {
        *text = fm_slice_of(r.p, n);
        return n <= out_size ? FM_OK : FM_E_TOO_LARGE;
    }
    uint8_t *to = out, c[4];
    size_t used = 0;
    for (size_t k; (k = text_next(&r, c)) > 0; used += k) {
        if (out_size - used < k)
            return FM_E_TOO_LARGE;
        memcpy(to + used, c, k);
    }
    *text = fm_slice_of(to, used);
    return FM_OK;
}

bool fm_json_is(const struct fm_json *value, struct fm_slice text)
{
    if (value->type != FM_JSON_STRING || value->raw.n - 2 < text.n)
        return false;
    struct text_rd r = text_rd_of(value);
    uint8_t c[4];
    size_t at = 0;
    for (size_t k; (k = text_next(&r, c)) > 0; at += k)
        if (text.n - at < k || memcmp(text.p + at, c, k) != 0)
            return false;
    return at == text.n;
}

enum fm_err fm_json_u64(const struct fm_json *number, uint64_t max, uint64_t *out)
{
    if (number->type != FM_JSON_NUMBER)
        return FM_E_INVALID;
    enum fm_err err = fm_slice_u64(number->raw, max, out);
    if (err != FM_E_SYNTAX)
        return err;
    for (size_t i = 0; i < number->raw.n; i++)
        if (number->raw.p[i] < '0' || number->raw.p[i] > '9')
            return FM_E_INVALID;
    return FM_E_TOO_LARGE; /* more digits than any 64-bit number has */
}
