#include "wire.h"

static void skip_space(struct fm_rd *r)
{
    while (fm_rd_left(r) && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

static bool take(struct fm_rd *r, uint8_t c)
{
    skip_space(r);
    if (!fm_rd_left(r) || *r->p != c)
        return false;
    r->p++;
    return true;
}

/* A string behind its opening quote; escapes stay as they are. */
static bool string_rest(struct fm_rd *r, struct fm_slice *s)
{
    const uint8_t *start = r->p;
    while (fm_rd_left(r)) {
        uint8_t c = *r->p++;
        if (c == '"') {
            *s = fm_slice_of(start, (size_t)(r->p - start) - 1);
            return true;
        }
        if (c == '\\' && fm_rd_left(r))
            r->p++;
    }
    return false;
}

/* A whole JSON value: nested ones are followed by their brackets only, since the node under test checks payloads, not we. */
static bool value_skip(struct fm_rd *r, struct fm_slice *v)
{
    struct fm_slice s;
    unsigned depth = 0;
    skip_space(r);
    const uint8_t *start = r->p;
    if (fm_rd_left(r) && strchr(",:}]", *start))
        return false;
    while (fm_rd_left(r)) {
        uint8_t c = *r->p;
        if (depth == 0 && r->p > start && (c == ',' || c == '}' || c == ']' || c == ':' || c == ' ' || c == '\n' || c == '\r'))
            break;
        r->p++;
        if (c == '"' && !string_rest(r, &s))
            return false;
        if (c == '{' || c == '[')
            depth++;
        if ((c == '}' || c == ']') && (depth == 0 || --depth == 0))
            break;
    }
    *v = fm_slice_of(start, (size_t)(r->p - start));
    return depth == 0 && v->n > 0;
}

static struct fm_slice unquote(struct fm_slice v)
{
    bool quoted = v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"';
    return quoted ? fm_slice_of(v.p + 1, v.n - 2) : (struct fm_slice){0};
}

/* A string or null, and the comma behind it. */
static bool element(struct fm_rd *r, struct fm_slice *s)
{
    *s = (struct fm_slice){0};
    skip_space(r);
    if (take(r, '"'))
        return string_rest(r, s) && take(r, ',');
    struct fm_slice null = fm_rd_bytes(r, 4);
    return fm_slice_eq(null, FM_LIT("null")) && take(r, ',');
}

enum fm_err fm_wire_read(struct fm_slice text, struct fm_wire *w)
{
    struct fm_rd r = fm_rd_of(text);
    if (!take(&r, '[') || !element(&r, &w->join_ref) || !element(&r, &w->ref) || !element(&r, &w->topic) || !element(&r, &w->event))
        return FM_E_SYNTAX;
    size_t n = fm_rd_left(&r);
    if (n < 2 || r.p[n - 1] != ']')
        return FM_E_SYNTAX;
    w->payload = fm_slice_of(r.p, n - 1);
    return FM_OK;
}

struct fm_slice fm_wire_member(struct fm_slice object, const char *name)
{
    struct fm_rd r = fm_rd_of(object);
    struct fm_slice want = fm_slice_str(name), key, value;
    if (!take(&r, '{'))
        return (struct fm_slice){0};
    do {
        if (!take(&r, '"') || !string_rest(&r, &key) || !take(&r, ':') || !value_skip(&r, &value))
            break;
        if (fm_slice_eq(key, want))
            return value;
    } while (take(&r, ','));
    return (struct fm_slice){0};
}

struct fm_slice fm_wire_text(struct fm_slice object, const char *name)
{
    return unquote(fm_wire_member(object, name));
}

bool fm_wire_number(struct fm_slice object, const char *name, uint64_t *out)
{
    return fm_slice_u64(fm_wire_member(object, name), UINT64_MAX, out) == FM_OK;
}

enum fm_err fm_wire_cursor(struct fm_slice list, struct fm_vector *v)
{
    struct fm_rd r = fm_rd_of(list);
    struct fm_slice id;
    v->n = 0;
    if (!take(&r, '['))
        return FM_E_SYNTAX;
    if (take(&r, ']'))
        return FM_OK;
    do {
        if (!take(&r, '"') || !string_rest(&r, &id))
            return FM_E_SYNTAX;
        enum fm_err err = fm_vector_add_text(v, id);
        if (err)
            return err;
    } while (take(&r, ','));
    return take(&r, ']') ? FM_OK : FM_E_SYNTAX;
}

void fm_stamp_put(struct fm_buf *out, const struct fm_stamp *stamp, size_t size)
{
    size_t start = out->n;
    fm_buf_str(out, "{\"k\":");
    fm_buf_dec(out, stamp->number);
    fm_buf_str(out, ",\"s\":");
    fm_buf_dec(out, stamp->stream);
    fm_buf_str(out, ",\"r\":");
    fm_buf_dec(out, stamp->topic);
    fm_buf_str(out, ",\"t\":");
    fm_buf_dec(out, stamp->sent_ns);
    size_t n = out->n - start + sizeof ",\"pad\":\"\"}" - 1;
    if (n < size && fm_buf_reserve(out, size - n + 16)) {
        fm_buf_str(out, ",\"pad\":\"");
        memset(out->p + out->n, 'x', size - n);
        out->n += size - n;
        fm_buf_u8(out, '"');
    }
    fm_buf_u8(out, '}');
}

/* A member as fm_stamp_put writes it, and the comma or brace behind it. */
static bool plain_number(struct fm_rd *r, struct fm_slice head, uint64_t *out)
{
    if (!fm_slice_starts(fm_slice_of(r->p, fm_rd_left(r)), head))
        return false;
    const uint8_t *start = r->p + head.n, *p = start;
    uint64_t v = 0;
    while (p < r->end && *p >= '0' && *p <= '9' && p - start < 19)
        v = v * 10 + (uint64_t)(*p++ - '0');
    if (p == start || p == r->end || (*p != ',' && *p != '}'))
        return false;
    *out = v;
    r->p = p;
    return true;
}

bool fm_stamp_read(struct fm_slice payload, struct fm_stamp *stamp)
{
    struct fm_rd r = fm_rd_of(payload);
    /* Nearly always it is what was written, byte for byte; a server that writes JSON anew may do it its own way. */
    if (plain_number(&r, FM_LIT("{\"k\":"), &stamp->number) && plain_number(&r, FM_LIT(",\"s\":"), &stamp->stream) &&
        plain_number(&r, FM_LIT(",\"r\":"), &stamp->topic) && plain_number(&r, FM_LIT(",\"t\":"), &stamp->sent_ns))
        return true;
    return fm_wire_number(payload, "k", &stamp->number) && fm_wire_number(payload, "s", &stamp->stream) &&
           fm_wire_number(payload, "r", &stamp->topic) && fm_wire_number(payload, "t", &stamp->sent_ns);
}
