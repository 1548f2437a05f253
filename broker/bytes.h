/* Bytes: borrowed slices, a bounded cursor for everything that comes from outside, and a growable buffer.
 *
 * A reader (fm_rd) never reads past its end: the first failed read sets `bad`, and every later one fails too, so a parser
 * may read a whole record and check once. A buffer (fm_buf) that could not grow sets `failed` likewise.
 *
 * -- any thread, one owner at a time -- */
#pragma once

#include "fanmesh/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct fm_slice { /* borrowed: whoever made it owns the bytes */
    const uint8_t *p;
    size_t n;
};

#define FM_LIT(s) ((struct fm_slice){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct fm_slice fm_slice_of(const void *p, size_t n)
{
    return (struct fm_slice){(const uint8_t *)p, n};
}

static inline struct fm_slice fm_slice_str(const char *s)
{
    return fm_slice_of(s, s ? strlen(s) : 0);
}

static inline bool fm_slice_eq(struct fm_slice a, struct fm_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool fm_slice_starts(struct fm_slice s, struct fm_slice prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* A keyed 64-bit hash (SipHash-1-3; the key is drawn at the first use), for tables whose keys come from outside. */
uint64_t fm_slice_hash(struct fm_slice s);
/* Equal in constant time for equal lengths: for secrets. */
bool fm_slice_eq_secret(struct fm_slice a, struct fm_slice b);

/* ---- reading ---- */

struct fm_rd {
    const uint8_t *p, *end;
    bool bad;
};

static inline struct fm_rd fm_rd_of(struct fm_slice s)
{
    return (struct fm_rd){s.p, s.p ? s.p + s.n : s.p, false};
}

static inline size_t fm_rd_left(const struct fm_rd *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->p);
}

/* Each returns 0 (an empty slice) and sets r->bad where the input is too short. Integers are little-endian. Those that every field of every
 * message goes through are inline. */
static inline struct fm_slice fm_rd_bytes(struct fm_rd *r, size_t n)
{
    if (r->bad || (size_t)(r->end - r->p) < n) {
        r->bad = true;
        return (struct fm_slice){0};
    }
    struct fm_slice s = {r->p, n};
    r->p += n;
    return s;
}

static inline uint8_t fm_rd_u8(struct fm_rd *r)
{
    if (r->bad || r->p == r->end) {
        r->bad = true;
        return 0;
    }
    return *r->p++;
}

uint16_t fm_rd_u16(struct fm_rd *r);
uint32_t fm_rd_u32(struct fm_rd *r);
uint64_t fm_rd_u64(struct fm_rd *r);
uint64_t fm_rd_varint_long(struct fm_rd *r);

/* LEB128, at most 10 bytes; an over-long one is bad. */
static inline uint64_t fm_rd_varint(struct fm_rd *r)
{
    if (!r->bad && r->p < r->end && *r->p < 0x80)
        return *r->p++;
    return fm_rd_varint_long(r);
}

/* A varint length of at most `max`, then that many bytes. */
static inline struct fm_slice fm_rd_sized(struct fm_rd *r, size_t max)
{
    uint64_t n = fm_rd_varint(r);
    if (n > max)
        r->bad = true;
    return fm_rd_bytes(r, r->bad ? 0 : (size_t)n);
}

/* ---- writing ---- */

struct fm_buf {
    uint8_t *p;
    size_t n, cap;
    bool failed;
};

void fm_buf_fini(struct fm_buf *b);
bool fm_buf_grow(struct fm_buf *b, size_t n);

/* Room for `n` more bytes after b->n; false (and b->failed) without memory. */
static inline bool fm_buf_reserve(struct fm_buf *b, size_t n)
{
    return (!b->failed && b->cap - b->n >= n) || fm_buf_grow(b, n);
}

/* Writes a varint to where there is room for FM_VARINT_MAX bytes; returns what follows it. */
enum { FM_VARINT_MAX = 10 };
static inline uint8_t *fm_varint_put(uint8_t *to, uint64_t v)
{
    for (; v > 0x7f; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    return to;
}

void fm_buf_put(struct fm_buf *b, const void *p, size_t n);
void fm_buf_slice(struct fm_buf *b, struct fm_slice s);
void fm_buf_str(struct fm_buf *b, const char *s);
void fm_buf_u8(struct fm_buf *b, uint8_t v);
void fm_buf_u16(struct fm_buf *b, uint16_t v);
void fm_buf_u32(struct fm_buf *b, uint32_t v);
void fm_buf_u64(struct fm_buf *b, uint64_t v);
void fm_buf_varint(struct fm_buf *b, uint64_t v);
void fm_buf_sized(struct fm_buf *b, struct fm_slice s); /* varint length, then the bytes */
void fm_buf_dec(struct fm_buf *b, uint64_t v);          /* decimal digits */
void fm_buf_printf(struct fm_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes; bytes are taken as UTF-8, invalid ones become U+FFFD. */
void fm_buf_json(struct fm_buf *b, struct fm_slice s);

static inline struct fm_slice fm_buf_view(const struct fm_buf *b)
{
    return fm_slice_of(b->p, b->n);
}

/* What a hexadecimal digit stands for, in either case; -1: it is none. */
static inline int fm_hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* A copy with a terminating zero; NULL without memory or where `s` holds a zero byte. Free with free(). */
char *fm_slice_dup(struct fm_slice s);
/* Decimal digits only, the whole slice, at most `max`. */
FM_MUST_CHECK enum fm_err fm_slice_u64(struct fm_slice s, uint64_t max, uint64_t *out);
