/* See json_slice.h. The design tension: the validator must be strict and iterative (a client chooses the nesting), while walking a text
 * that is known to be valid may be quick and careless, but never past its end. So the two are apart: `scan_*` judges, `skip_*` only moves.
 */
#include "json_slice.h"

#include <assert.h>

/* ---- judging ---- */

struct scan {
    const uint8_t *begin, *p, *end;
    uint32_t depth;
    uint64_t objects[FM_JSON_DEPTH_MAX / 64]; /* a bit a level: it is an object */
    const char *what;
};

static bool fail(struct scan *s, const char *what)
{
    s->what = what;
    return false;
}

static void space_skip(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

/* Four hex digits at p (which has them or not); -1 where they are not. */
static int32_t hex4(const uint8_t *p, const uint8_t *end)
{
    int32_t v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int d = fm_hex_digit(p[i]);
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

static bool is_high(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* s->p is at the backslash. */
static bool scan_escape(struct scan *s)
{
    if (s->end - s->p < 2)
        return fail(s, "the text ends inside a string");
    uint8_t c = s->p[1];
    if (c != 'u') {
        if (c == 0 || !strchr("\"\\/bfnrt", c))
            return fail(s, "a string has an unknown escape");
        s->p += 2;
        return true;
    }
    int32_t unit = hex4(s->p + 2, s->end);
    if (unit < 0)
        return fail(s, "a \\u escape needs four hex digits");
    if (is_low(unit))
        return fail(s, "a \\u escape is the second half of a surrogate pair without the first");
    if (is_high(unit)) {
        const uint8_t *second = s->p + 6;
        if (s->end - second < 6 || second[0] != '\\' || second[1] != 'u' || !is_low(hex4(second + 2, s->end)))
            return fail(s, "a \\u escape is the first half of a surrogate pair without the second");
        s->p += 6;
    }
    s->p += 6;
    return true;
}

/* s->p is at a byte of 0x80 or more: one character of UTF-8 (RFC 3629, the table of section 4). */
static bool scan_utf8(struct scan *s)
{
    size_t left = (size_t)(s->end - s->p);
    uint8_t c = s->p[0], lo = 0x80, hi = 0xbf;
    size_t n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == 0xe0)
        lo = 0xa0;
    else if (c == 0xed)
        hi = 0x9f;
    else if (c == 0xf0)
        lo = 0x90;
    else if (c == 0xf4)
        hi = 0x8f;
    if (c < 0xc2 || c > 0xf4 || left < n || s->p[1] < lo || s->p[1] > hi)
        return fail(s, "a string holds bytes that are not UTF-8");
    for (size_t i = 2; i < n; i++)
        if (s->p[i] < 0x80 || s->p[i] > 0xbf)
            return fail(s, "a string holds bytes that are not UTF-8");
    s->p += n;
    return true;
}

/* True if one of 8 bytes is a quote, a backslash, a control character or not ASCII. May be true for none (a borrow), never false for one.
 */
static bool special_in(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
    return ((w | (w - ones * 0x20) | (quote - ones) | (slash - ones)) & tops) != 0;
}

/* s->p is at the opening quote. */
static bool scan_string(struct scan *s)
{
    s->p++;
    while (s->p < s->end) {
        uint64_t w;
        if (s->end - s->p >= (ptrdiff_t)sizeof w) {
            memcpy(&w, s->p, sizeof w);
            if (!special_in(w)) {
                s->p += sizeof w;
                continue;
            }
        }
        uint8_t c = *s->p;
        if (c == '"') {
            s->p++;
            return true;
        }
        if (c == '\\') {
            if (!scan_escape(s))
                return false;
        } else if (c >= 0x80) {
            if (!scan_utf8(s))
                return false;
        } else if (c < 0x20) {
            return fail(s, "a string holds a control character that is not escaped");
        } else {
            s->p++;
        }
    }
    return fail(s, "the text ends inside a string");
}

static bool scan_digits(struct scan *s)
{
    const uint8_t *from = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > from || fail(s, "a number lacks a digit");
}

static bool scan_number(struct scan *s)
{
    if (*s->p == '-')
        s->p++;
    bool zero = s->p < s->end && *s->p == '0';
    const uint8_t *from = s->p;
    if (!scan_digits(s))
        return false;
    if (zero && s->p - from > 1) {
        s->p = from;
        return fail(s, "a number begins with a zero");
    }
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (!scan_digits(s))
            return false;
    }
    if (s->p < s->end && (*s->p | 0x20) == 'e') {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        return scan_digits(s);
    }
    return true;
}

static bool scan_literal(struct scan *s)
{
    static const struct fm_slice literals[] = {{(const uint8_t *)"null", 4}, {(const uint8_t *)"true", 4}, {(const uint8_t *)"false", 5}};
    for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++) {
        if (fm_slice_starts(fm_slice_of(s->p, (size_t)(s->end - s->p)), literals[i])) {
            s->p += literals[i].n;
            return true;
        }
    }
    return fail(s, "there is no JSON value here");
}

static bool scan_scalar(struct scan *s)
{
    uint8_t c = *s->p;
    if (c == '"')
        return scan_string(s);
    if (c == '-' || (c >= '0' && c <= '9'))
        return scan_number(s);
    return scan_literal(s);
}

static bool in_object(const struct scan *s)
{
    uint32_t level = s->depth - 1;
    return (s->objects[level / 64] >> (level % 64)) & 1;
}

static void level_open(struct scan *s, bool object)
{
    uint64_t bit = (uint64_t)1 << (s->depth % 64);
    if (object)
        s->objects[s->depth / 64] |= bit;
    else
        s->objects[s->depth / 64] &= ~bit;
    s->depth++;
    s->p++;
}

/* A member's name and its colon. */
static bool scan_name(struct scan *s)
{
    space_skip(s);
    if (s->p == s->end)
        return fail(s, "the text ends inside an object");
    if (*s->p != '"')
        return fail(s, "a member of an object needs a name in quotes");
    if (!scan_string(s))
        return false;
    space_skip(s);
    if (s->p == s->end || *s->p != ':')
        return fail(s, "the name of a member needs a colon behind it");
    s->p++;
    return true;
}

/* Behind a value inside containers: closes those that end here. True and depth > 0: a comma was read and the next value is due. */
static bool scan_after(struct scan *s)
{
    while (s->depth > 0) {
        space_skip(s);
        bool object = in_object(s);
        if (s->p == s->end)
            return fail(s, object ? "the text ends inside an object" : "the text ends inside an array");
        uint8_t c = *s->p;
        if (c == ',') {
            s->p++;
            return object ? scan_name(s) : true;
        }
        if (c != (object ? '}' : ']'))
            return fail(s, object ? "a comma or } is missing behind a member" : "a comma or ] is missing behind an item");
        s->p++;
        s->depth--;
    }
    return true;
}

/* One value, containers included. */
static enum fm_err scan_value(struct scan *s, uint32_t depth_max)
{
    do {
        space_skip(s);
        if (s->p == s->end) {
            fail(s, "the text ends where a value is due");
            return FM_E_JSON;
        }
        uint8_t c = *s->p;
        if (c == '{' || c == '[') {
            if (s->depth >= depth_max) {
                fail(s, "arrays and objects are nested deeper than the limit");
                return FM_E_TOO_DEEP;
            }
            level_open(s, c == '{');
            space_skip(s);
            bool empty = s->p < s->end && *s->p == (c == '{' ? '}' : ']');
            if (!empty) {
                if (c == '{' && !scan_name(s))
                    return FM_E_JSON;
                continue;
            }
        } else if (!scan_scalar(s)) {
            return FM_E_JSON;
        }
        if (!scan_after(s))
            return FM_E_JSON;
    } while (s->depth > 0);
    return FM_OK;
}

static enum fm_json_type type_of(uint8_t first)
{
    switch (first) {
    case 'n':
        return FM_JSON_NULL;
    case 'f':
        return FM_JSON_FALSE;
    case 't':
        return FM_JSON_TRUE;
    case '"':
        return FM_JSON_STRING;
    case '[':
        return FM_JSON_ARRAY;
    case '{':
        return FM_JSON_OBJECT;
    default:
        return FM_JSON_NUMBER;
    }
}

static struct fm_json value_of(const uint8_t *from, const uint8_t *to)
{
    return (struct fm_json){type_of(*from), fm_slice_of(from, (size_t)(to - from))};
}

enum fm_err fm_json_parse(struct fm_slice text, uint32_t depth_max, struct fm_json *root, struct fm_json_error *error)
{
    assert(depth_max <= FM_JSON_DEPTH_MAX);
    struct scan s;
    s.begin = s.p = text.n ? text.p : (const uint8_t *)"";
    s.end = s.begin + text.n;
    s.depth = 0;
    s.what = NULL;
    space_skip(&s);
    const uint8_t *from = s.p;
    enum fm_err err = scan_value(&s, depth_max);
    const uint8_t *to = s.p;
    if (!err) {
        space_skip(&s);
        if (s.p < s.end) {
            fail(&s, "something follows the value");
            err = FM_E_JSON;
        }
    }
    if (err && error)
        *error = (struct fm_json_error){(size_t)(s.p - s.begin), s.what};
    if (!err)
        *root = value_of(from, to);
    return err;
}

bool fm_utf8_valid(struct fm_slice text)
{
    struct scan s = {.begin = text.p, .p = text.p, .end = text.n ? text.p + text.n : text.p};
    while (s.p < s.end) {
        if (*s.p < 0x80)
            s.p++;
        else if (!scan_utf8(&s))
            return false;
    }
    return true;
}

/* ---- moving over what is known to be valid ---- */

/* p is at the opening quote; returns the place behind the closing one. */
static const uint8_t *skip_string(const uint8_t *p, const uint8_t *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : end;
}

static const uint8_t *skip_container(const uint8_t *p, const uint8_t *end)
{
    size_t depth = 0;
    while (p < end) {
        uint8_t c = *p;
        if (c == '"') {
            p = skip_string(p, end);
            continue;
        }
        p++;
        if (c == '[' || c == '{')
            depth++;
        else if ((c == ']' || c == '}') && --depth == 0)
            break;
    }
    return p;
}

static bool is_delimiter(uint8_t c)
{
    return c == ',' || c == ':' || c == ']' || c == '}' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const uint8_t *skip_value(const uint8_t *p, const uint8_t *end)
{
    if (*p == '"')
        return skip_string(p, end);
    if (*p == '[' || *p == '{')
        return skip_container(p, end);
    while (p < end && !is_delimiter(*p))
        p++;
    return p;
}

/* To the first byte of the next token; false at the end of the container. */
static bool token_find(struct fm_json_walk *w)
{
    while (w->p < w->end && is_delimiter(*w->p) && *w->p != ']' && *w->p != '}')
        w->p++;
    return w->p < w->end && *w->p != ']' && *w->p != '}';
}

static bool token_take(struct fm_json_walk *w, struct fm_json *token)
{
    if (!token_find(w))
        return false;
    const uint8_t *from = w->p;
    w->p = skip_value(from, w->end);
    *token = value_of(from, w->p);
    return true;
}

struct fm_json_walk fm_json_walk_of(const struct fm_json *container)
{
    struct fm_slice raw = container->raw;
    if (container->type != FM_JSON_ARRAY && container->type != FM_JSON_OBJECT)
        return (struct fm_json_walk){0};
    return (struct fm_json_walk){raw.p + 1, raw.p + raw.n, container->type == FM_JSON_OBJECT};
}

bool fm_json_next(struct fm_json_walk *w, struct fm_json *name, struct fm_json *value)
{
    struct fm_json key;
    if (w->object) {
        if (!token_take(w, &key))
            return false;
        if (name)
            *name = key;
    }
    return token_take(w, value);
}

bool fm_json_get(const struct fm_json *object, struct fm_slice name, struct fm_json *value)
{
    bool found = false;
    struct fm_json key, item;
    if (object->type != FM_JSON_OBJECT)
        return false;
    for (struct fm_json_walk w = fm_json_walk_of(object); fm_json_next(&w, &key, &item);) {
        if (fm_json_is(&key, name)) {
            *value = item;
            found = true;
        }
    }
    return found;
}

size_t fm_json_count(const struct fm_json *container)
{
    size_t n = 0;
    struct fm_json item;
    for (struct fm_json_walk w = fm_json_walk_of(container); fm_json_next(&w, NULL, &item);)
        n++;
    return n;
}
