#include "deflate.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>
#include <zlib.h>

/* ---- offers: RFC 7692, 5 and 7.1 ---- */

static bool is_token_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_space(struct fm_slice *s)
{
    while (s->n && (s->p[0] == ' ' || s->p[0] == '\t'))
        s->p++, s->n--;
}

static bool skip_char(struct fm_slice *s, char c)
{
    skip_space(s);
    if (s->n == 0 || s->p[0] != (uint8_t)c)
        return false;
    s->p++, s->n--;
    skip_space(s);
    return true;
}

static struct fm_slice token(struct fm_slice *s)
{
    struct fm_slice t = {s->p, 0};
    while (t.n < s->n && is_token_char(s->p[t.n]))
        t.n++;
    s->p += t.n, s->n -= t.n;
    return t;
}

/* A token, or one in quotes; what is escaped in them is nothing that a number has. */
static bool value(struct fm_slice *s, struct fm_slice *v)
{
    bool quoted = s->n && s->p[0] == '"';
    if (quoted)
        s->p++, s->n--;
    *v = token(s);
    if (!quoted)
        return v->n > 0;
    if (s->n == 0 || s->p[0] != '"')
        return false;
    s->p++, s->n--;
    return v->n > 0;
}

static bool is(struct fm_slice name, const char *word)
{
    return name.n == strlen(word) && strncasecmp((const char *)name.p, word, name.n) == 0;
}

static bool window_bits(struct fm_slice v, uint8_t *bits)
{
    uint64_t n;
    if (v.n == 0 || v.n > 2 || v.p[0] == '0' || fm_slice_u64(v, FM_DEFLATE_WINDOW_MAX, &n) || n < FM_DEFLATE_WINDOW_MIN)
        return false;
    *bits = (uint8_t)n;
    return true;
}

enum param { SERVER_FRESH = 1, CLIENT_FRESH = 2, SERVER_WINDOW = 4, CLIENT_WINDOW = 8 };

/* One parameter of an offer. false: an offer with it must be declined. */
static bool param_take(struct fm_slice name, bool has_value, struct fm_slice v, unsigned *seen, struct fm_deflate_terms *t)
{
    static const struct {
        const char *name;
        enum param param;
    } params[] = {{"server_no_context_takeover", SERVER_FRESH},
                  {"client_no_context_takeover", CLIENT_FRESH},
                  {"server_max_window_bits", SERVER_WINDOW},
                  {"client_max_window_bits", CLIENT_WINDOW}};
    uint8_t bits;
    for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
        if (!is(name, params[i].name))
            continue;
        if (*seen & params[i].param)
            return false; /* twice */
        *seen |= params[i].param;
        switch (params[i].param) {
        case SERVER_FRESH:
        case CLIENT_FRESH:
            return !has_value;
        case SERVER_WINDOW:
            t->named = true;
            return has_value && window_bits(v, &t->window);
        case CLIENT_WINDOW: /* what it may promise; any window of its own can be read here */
            return !has_value || window_bits(v, &bits);
        }
    }
    return false;
}

/* One offer, up to the comma behind it or the end. sound: it can be accepted. false: the header breaks the grammar. */
static bool offer(struct fm_slice *s, bool *sound, struct fm_deflate_terms *t)
{
    struct fm_slice name = token(s), v;
    unsigned seen = 0;
    if (name.n == 0)
        return false;
    *sound = is(name, "permessage-deflate");
    *t = (struct fm_deflate_terms){.window = FM_DEFLATE_WINDOW_MAX};
    while (skip_char(s, ';')) {
        name = token(s);
        v = (struct fm_slice){0};
        if (name.n == 0)
            return false;
        bool has_value = skip_char(s, '=');
        if (has_value && !value(s, &v))
            return false;
        *sound = *sound && param_take(name, has_value, v, &seen, t);
    }
    return s->n == 0 || *s->p == ',';
}

bool fm_deflate_offer(struct fm_slice header, struct fm_deflate_terms *terms)
{
    bool sound;
    *terms = (struct fm_deflate_terms){0};
    for (;;) {
        struct fm_deflate_terms t;
        while (skip_char(&header, ','))
            ; /* empty elements of a list are allowed */
        skip_space(&header);
        if (header.n == 0 || !offer(&header, &sound, &t))
            return false;
        if (!sound)
            continue;
        *terms = t;
        return true;
    }
}

void fm_deflate_answer(struct fm_buf *b, const struct fm_deflate_terms *t)
{
    fm_buf_str(b, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    if (t->named)
        fm_buf_printf(b, "; server_max_window_bits=%u", t->window);
}

/* ---- messages ---- */

/* A message's end: an empty stored block, of which these four bytes are not sent. */
static const uint8_t tail[4] = {0x00, 0x00, 0xff, 0xff};

struct fm_packer {
    z_stream z;
};

struct fm_unpacker {
    z_stream z;
};

void fm_packer_free(struct fm_packer **p)
{
    if (*p)
        (void)deflateEnd(&(*p)->z);
    free(*p);
    *p = NULL;
}

void fm_unpacker_free(struct fm_unpacker **u)
{
    if (*u)
        (void)inflateEnd(&(*u)->z);
    free(*u);
    *u = NULL;
}

static bool packer_ready(struct fm_packer **p)
{
    if (*p)
        return deflateReset(&(*p)->z) == Z_OK;
    *p = calloc(1, sizeof **p);
    if (*p && deflateInit2(&(*p)->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -FM_DEFLATE_WINDOW_MAX, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(*p);
        *p = NULL;
    }
    return *p;
}

static bool unpacker_ready(struct fm_unpacker **u)
{
    if (*u)
        return inflateReset(&(*u)->z) == Z_OK;
    *u = calloc(1, sizeof **u);
    if (*u && inflateInit2(&(*u)->z, -FM_DEFLATE_WINDOW_MAX) != Z_OK) {
        free(*u);
        *u = NULL;
    }
    return *u;
}

enum fm_err fm_pack(struct fm_packer **p, struct fm_slice payload, struct fm_buf *out)
{
    assert(payload.n <= UINT32_MAX / 2);
    if (!packer_ready(p))
        return FM_E_NOMEM;
    z_stream *z = &(*p)->z;
    size_t before = out->n, most = deflateBound(z, payload.n) + 16; /* the bound is without the sync flush */
    if (!fm_buf_reserve(out, most))
        return FM_E_NOMEM;
    z->next_in = (uint8_t *)payload.p; /* read only, whatever its type says */
    z->avail_in = (uInt)payload.n;
    z->next_out = out->p + before;
    z->avail_out = (uInt)most;
    int r = deflate(z, Z_SYNC_FLUSH);
    size_t n = most - z->avail_out;
    if (r != Z_OK || z->avail_in || z->avail_out == 0 || n < sizeof tail ||
        memcmp(out->p + before + n - sizeof tail, tail, sizeof tail) != 0)
        return FM_E_NOMEM;
    out->n = before + n - sizeof tail;
    return FM_OK;
}

/* One part of the input. *ended: a last block was read, and nothing behind it yet. */
static enum fm_err unpack_some(z_stream *z, struct fm_slice in, size_t max, struct fm_buf *out, bool *ended)
{
    z->next_in = (uint8_t *)in.p;
    z->avail_in = (uInt)in.n;
    for (;;) {
        size_t all = 2 * out->n + 4 * (size_t)z->avail_in + 256;
        size_t room = (all > max + 1 ? max + 1 : all) - out->n; /* one more than allowed shows that it is too long */
        if (!fm_buf_reserve(out, room))
            return FM_E_NOMEM;
        z->next_out = out->p + out->n;
        z->avail_out = (uInt)room;
        int r = inflate(z, Z_SYNC_FLUSH);
        out->n += room - z->avail_out;
        if (out->n > max)
            return FM_E_TOO_LARGE;
        if (r == Z_MEM_ERROR)
            return FM_E_NOMEM;
        if (r != Z_OK && r != Z_BUF_ERROR && r != Z_STREAM_END)
            return FM_E_SYNTAX;
        *ended = r == Z_STREAM_END;
        if (*ended && z->avail_in)
            (void)inflateReset(z);
        else if (*ended || z->avail_out)
            return z->avail_in ? FM_E_SYNTAX : FM_OK;
    }
}

enum fm_err fm_unpack(struct fm_unpacker **u, struct fm_slice packed, size_t max, struct fm_buf *out)
{
    out->n = 0;
    if (!unpacker_ready(u))
        return FM_E_NOMEM;
    bool ended = false;
    enum fm_err err = unpack_some(&(*u)->z, packed, max, out, &ended);
    /* A block that says it is the last is allowed (RFC 7692, 7.2.3.5), and usually has the first byte of an empty one behind it. */
    if (err == FM_OK && !ended)
        err = unpack_some(&(*u)->z, fm_slice_of(tail, sizeof tail), max, out, &ended);
    bool whole = ended || ((*u)->z.data_type & 128); /* zlib.h: it waits for the next block's header */
    return err == FM_OK && !whole ? FM_E_SYNTAX : err;
}
