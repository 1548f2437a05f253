#include "bytes.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* ---- hashing ---- */

static inline uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = rotl(v[1], 13), v[1] ^= v[0], v[0] = rotl(v[0], 32);
    v[2] += v[3], v[3] = rotl(v[3], 16), v[3] ^= v[2];
    v[0] += v[3], v[3] = rotl(v[3], 21), v[3] ^= v[0];
    v[2] += v[1], v[1] = rotl(v[1], 17), v[1] ^= v[2], v[2] = rotl(v[2], 32);
}

static uint64_t hash_key[2];

__attribute__((constructor)) static void hash_key_draw(void)
{
    /* Without randomness the tables still work; they only lose their protection against chosen keys. */
    if (getrandom(hash_key, sizeof hash_key, 0) != (ssize_t)sizeof hash_key)
        hash_key[0] ^= (uint64_t)(uintptr_t)&hash_key;
}

uint64_t fm_slice_hash(struct fm_slice s)
{
    uint64_t v[4] = {hash_key[0] ^ 0x736f6d6570736575u, hash_key[1] ^ 0x646f72616e646f6du, hash_key[0] ^ 0x6c7967656e657261u,
                     hash_key[1] ^ 0x7465646279746573u};
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t m;
        memcpy(&m, s.p + i, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)s.n << 56;
    for (unsigned shift = 0; i < s.n; i++, shift += 8)
        last |= (uint64_t)s.p[i] << shift;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v), sip_round(v), sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

bool fm_slice_eq_secret(struct fm_slice a, struct fm_slice b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

/* ---- reading ---- */

static uint64_t read_le(struct fm_rd *r, unsigned n)
{
    struct fm_slice s = fm_rd_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        v |= (uint64_t)s.p[i] << (8 * i);
    return v;
}

uint16_t fm_rd_u16(struct fm_rd *r)
{
    return (uint16_t)read_le(r, 2);
}

uint32_t fm_rd_u32(struct fm_rd *r)
{
    return (uint32_t)read_le(r, 4);
}

uint64_t fm_rd_u64(struct fm_rd *r)
{
    return read_le(r, 8);
}

uint64_t fm_rd_varint_long(struct fm_rd *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t b = fm_rd_u8(r);
        if (r->bad)
            return 0;
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

/* ---- writing ---- */

void fm_buf_fini(struct fm_buf *b)
{
    free(b->p);
    *b = (struct fm_buf){0};
}

bool fm_buf_grow(struct fm_buf *b, size_t n)
{
    if (b->failed)
        return false;
    size_t cap = b->cap ? b->cap : 256;
    while (cap - b->n < n) {
        if (cap > SIZE_MAX / 2)
            goto fail;
        cap *= 2;
    }
    uint8_t *p = realloc(b->p, cap);
    if (!p)
        goto fail;
    b->p = p;
    b->cap = cap;
    return true;
fail:
    b->failed = true;
    return false;
}

void fm_buf_put(struct fm_buf *b, const void *p, size_t n)
{
    if (n == 0 || !fm_buf_reserve(b, n))
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void fm_buf_slice(struct fm_buf *b, struct fm_slice s)
{
    fm_buf_put(b, s.p, s.n);
}

void fm_buf_str(struct fm_buf *b, const char *s)
{
    fm_buf_put(b, s, strlen(s));
}

static void write_le(struct fm_buf *b, uint64_t v, unsigned n)
{
    uint8_t le[8];
    for (unsigned i = 0; i < n; i++)
        le[i] = (uint8_t)(v >> (8 * i));
    fm_buf_put(b, le, n);
}

void fm_buf_u8(struct fm_buf *b, uint8_t v)
{
    write_le(b, v, 1);
}

void fm_buf_u16(struct fm_buf *b, uint16_t v)
{
    write_le(b, v, 2);
}

void fm_buf_u32(struct fm_buf *b, uint32_t v)
{
    write_le(b, v, 4);
}

void fm_buf_u64(struct fm_buf *b, uint64_t v)
{
    write_le(b, v, 8);
}

void fm_buf_varint(struct fm_buf *b, uint64_t v)
{
    if (fm_buf_reserve(b, FM_VARINT_MAX))
        b->n = (size_t)(fm_varint_put(b->p + b->n, v) - b->p);
}

void fm_buf_sized(struct fm_buf *b, struct fm_slice s)
{
    fm_buf_varint(b, s.n);
    fm_buf_slice(b, s);
}

void fm_buf_dec(struct fm_buf *b, uint64_t v)
{
    char out[20];
    unsigned at = sizeof out;
    do {
        out[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    fm_buf_put(b, out + at, sizeof out - at);
}

void fm_buf_printf(struct fm_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !fm_buf_reserve(b, (size_t)n + 1))
        return;
    va_start(ap, fmt);
    vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

/* The length of the valid UTF-8 sequence at p (RFC 3629: no overlongs, no surrogates, at most U+10FFFF), 0 where there is none. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    static const struct {
        uint8_t lo, hi, second_lo, second_hi, len;
    } rows[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    if (p[0] < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (p[0] < rows[i].lo || p[0] > rows[i].hi)
            continue;
        if (left < rows[i].len || p[1] < rows[i].second_lo || p[1] > rows[i].second_hi)
            return 0;
        for (size_t k = 2; k < rows[i].len; k++)
            if (p[k] < 0x80 || p[k] > 0xbf)
                return 0;
        return rows[i].len;
    }
    return 0;
}

void fm_buf_json(struct fm_buf *b, struct fm_slice s)
{
    fm_buf_u8(b, '"');
    for (size_t i = 0; i < s.n;) {
        size_t run = i;
        while (run < s.n && s.p[run] >= 0x20 && s.p[run] < 0x80 && s.p[run] != '"' && s.p[run] != '\\')
            run++;
        fm_buf_put(b, s.p + i, run - i);
        if ((i = run) >= s.n)
            break;
        uint8_t c = s.p[i];
        size_t len = utf8_len(s.p + i, s.n - i);
        if (c == '"' || c == '\\') {
            fm_buf_put(b, (char[]){'\\', (char)c}, 2);
        } else if (c < 0x20) {
            fm_buf_printf(b, "\\u%04x", c);
        } else if (len == 0) {
            fm_buf_str(b, "\\ufffd");
        } else {
            fm_buf_put(b, s.p + i, len);
        }
        i += len ? len : 1;
    }
    fm_buf_u8(b, '"');
}

/* ---- conversions ---- */

char *fm_slice_dup(struct fm_slice s)
{
    if (s.n && memchr(s.p, 0, s.n))
        return NULL;
    char *out = malloc(s.n + 1);
    if (!out)
        return NULL;
    if (s.n)
        memcpy(out, s.p, s.n);
    out[s.n] = 0;
    return out;
}

enum fm_err fm_slice_u64(struct fm_slice s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 20)
        return FM_E_SYNTAX;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return FM_E_SYNTAX;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return FM_E_TOO_LARGE;
    }
    if (v > max)
        return FM_E_TOO_LARGE;
    *out = v;
    return FM_OK;
}
