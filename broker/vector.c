#include "vector.h"

#include <assert.h>
#include <stdlib.h>

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* ---- ids ---- */

size_t fm_origin_print(uint64_t origin, char out[FM_ORIGIN_TEXT_MAX + 1])
{
    char tmp[FM_ORIGIN_TEXT_MAX];
    size_t n = 0;
    do {
        tmp[n++] = digits[origin % 62];
        origin /= 62;
    } while (origin);
    for (size_t i = 0; i < n; i++)
        out[i] = tmp[n - 1 - i];
    out[n] = 0;
    return n;
}

size_t fm_id_print(struct fm_id id, char out[FM_ID_TEXT_MAX + 1])
{
    size_t n = fm_origin_print(id.origin, out);
    out[n++] = '-';
    char dec[20];
    size_t d = 0;
    do {
        dec[d++] = (char)('0' + id.seq % 10);
        id.seq /= 10;
    } while (id.seq);
    while (d)
        out[n++] = dec[--d];
    out[n] = 0;
    return n;
}

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 36;
    return -1;
}

enum fm_err fm_id_parse(const char *text, size_t len, struct fm_id *id)
{
    const uint8_t *p = (const uint8_t *)text;
    const uint8_t *dash = len ? memchr(p, '-', len) : NULL;
    if (!dash || dash == p || dash - p > FM_ORIGIN_TEXT_MAX)
        return FM_E_SYNTAX;
    uint64_t origin = 0;
    for (const uint8_t *c = p; c < dash; c++) {
        int d = digit_of(*c);
        if (d < 0 || __builtin_mul_overflow(origin, 62, &origin) || __builtin_add_overflow(origin, (uint64_t)d, &origin))
            return FM_E_SYNTAX;
    }
    struct fm_slice seq = fm_slice_of(dash + 1, len - (size_t)(dash - p) - 1);
    if (origin == 0 || (p[0] == '0') || (seq.n > 1 && seq.p[0] == '0'))
        return FM_E_SYNTAX;
    id->origin = origin;
    return fm_slice_u64(seq, UINT64_MAX, &id->seq) == FM_OK ? FM_OK : FM_E_SYNTAX;
}

/* ---- vectors ---- */

void fm_vector_fini(struct fm_vector *v)
{
    free(v->at);
    *v = (struct fm_vector){0};
}

/* The first index whose origin is not below `origin`. */
static uint32_t lower(const struct fm_vector *v, uint64_t origin)
{
    uint32_t lo = 0, hi = v->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (v->at[mid].origin < origin)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint64_t fm_vector_get(const struct fm_vector *v, uint64_t origin)
{
    uint32_t i = lower(v, origin);
    return i < v->n && v->at[i].origin == origin ? v->at[i].seq : 0;
}

bool fm_vector_has(const struct fm_vector *v, uint64_t origin)
{
    uint32_t i = lower(v, origin);
    return i < v->n && v->at[i].origin == origin;
}

enum fm_err fm_vector_set(struct fm_vector *v, uint64_t origin, uint64_t seq)
{
    uint32_t i = lower(v, origin);
    if (i < v->n && v->at[i].origin == origin) {
        v->at[i].seq = seq;
        return FM_OK;
    }
    if (v->n >= FM_CURSOR_MAX)
        return FM_E_TOO_MANY;
    if (v->n == v->cap) {
        uint32_t cap = v->cap ? v->cap * 2 : 4;
        struct fm_id *at = realloc(v->at, cap * sizeof *at);
        if (!at)
            return FM_E_NOMEM;
        v->at = at;
        v->cap = cap;
    }
    memmove(v->at + i + 1, v->at + i, (v->n - i) * sizeof *v->at);
    v->at[i] = (struct fm_id){origin, seq};
    v->n++;
    return FM_OK;
}

enum fm_err fm_vector_raise(struct fm_vector *v, uint64_t origin, uint64_t seq)
{
    if (fm_vector_has(v, origin) && fm_vector_get(v, origin) >= seq)
        return FM_OK;
    return fm_vector_set(v, origin, seq);
}

enum fm_err fm_vector_copy(struct fm_vector *to, const struct fm_vector *from)
{
    to->n = 0;
    for (uint32_t i = 0; i < from->n; i++) {
        enum fm_err err = fm_vector_set(to, from->at[i].origin, from->at[i].seq);
        if (err)
            return err;
    }
    return FM_OK;
}

void fm_vector_remove(struct fm_vector *v, uint64_t origin)
{
    uint32_t i = lower(v, origin);
    if (i >= v->n || v->at[i].origin != origin)
        return;
    memmove(v->at + i, v->at + i + 1, (v->n - i - 1) * sizeof *v->at);
    v->n--;
}

void fm_position_raise(struct fm_vector *at, struct fm_id id)
{
    if (fm_vector_raise(at, id.origin, id.seq) != FM_E_TOO_MANY)
        return;
    uint32_t least = 0;
    for (uint32_t i = 1; i < at->n; i++)
        if (at->at[i].seq < at->at[least].seq)
            least = i;
    fm_vector_remove(at, at->at[least].origin);
    enum fm_err err = fm_vector_raise(at, id.origin, id.seq);
    assert(err == FM_OK); /* there is room now */
    (void)err;
}

void fm_vector_json(struct fm_buf *b, const struct fm_vector *v)
{
    fm_buf_u8(b, '[');
    for (uint32_t i = 0; i < v->n; i++) {
        char text[FM_ID_TEXT_MAX + 1];
        size_t n = fm_id_print(v->at[i], text);
        fm_buf_str(b, i ? ",\"" : "\"");
        fm_buf_put(b, text, n);
        fm_buf_u8(b, '"');
    }
    fm_buf_u8(b, ']');
}

enum fm_err fm_vector_add_text(struct fm_vector *v, struct fm_slice text)
{
    struct fm_id id;
    enum fm_err err = fm_id_parse((const char *)text.p, text.n, &id);
    return err ? err : fm_vector_raise(v, id.origin, id.seq);
}

void fm_buf_id(struct fm_buf *b, struct fm_id id)
{
    fm_buf_u64(b, id.origin);
    fm_buf_varint(b, id.seq);
}

struct fm_id fm_rd_id(struct fm_rd *r)
{
    struct fm_id id = {.origin = fm_rd_u64(r)};
    id.seq = fm_rd_varint(r);
    return id;
}
