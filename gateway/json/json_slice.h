/* JSON read in place: one pass validates a whole text by RFC 8259, and after that a value is a slice of the input. Nothing is copied and
 * nothing allocated, so a payload leaves a node as the bytes in which it came.
 *
 * Stricter than the RFC must be, for what is passed on must be readable by everyone: bytes are UTF-8 as RFC 3629 has it (no overlong forms,
 * no surrogates), a \u escape of half a surrogate pair is refused (as jansson does), a byte order mark too, and nesting is limited.
 * Numbers are kept as text, of any size. Of members with one name the last wins, as in JSON.parse.
 *
 * -- any thread -- */
#pragma once

#include "../../broker/bytes.h"

enum {
    FM_JSON_DEPTH_MAX = 1024, /* the most that a caller may allow */
    FM_JSON_DEPTH = 128,      /* arrays and objects in one another that clients and backends may send, a message's own included */
};

enum fm_json_type { FM_JSON_NULL, FM_JSON_FALSE, FM_JSON_TRUE, FM_JSON_NUMBER, FM_JSON_STRING, FM_JSON_ARRAY, FM_JSON_OBJECT };

/* One valid value. Only fm_json_parse and what walks its result make them; the functions below rely on it. */
struct fm_json {
    enum fm_json_type type;
    struct fm_slice raw; /* exactly its bytes, from the first to the last, without the white space around */
};

struct fm_json_error {
    size_t at;        /* the byte at which reading stopped */
    const char *what; /* a static sentence without a full stop: "a string holds a byte that is not UTF-8" */
};

/* Reads a text that is one value with white space around. FM_E_JSON, FM_E_TOO_DEEP (more than depth_max arrays and objects in one another;
 * a scalar has depth 0); *error (may be NULL) is set then. O(length), constant memory. */
FM_MUST_CHECK enum fm_err fm_json_parse(struct fm_slice text, uint32_t depth_max, struct fm_json *root, struct fm_json_error *error);

/* Walks an array or object: `for (struct fm_json_walk w = fm_json_walk_of(&v); fm_json_next(&w, &name, &value);)`. Any other type has no
 * items. `name` (may be NULL) is set for objects only. */
struct fm_json_walk {
    const uint8_t *p, *end;
    bool object;
};

struct fm_json_walk fm_json_walk_of(const struct fm_json *container);
bool fm_json_next(struct fm_json_walk *w, struct fm_json *name, struct fm_json *value);

/* The member with this name (after unescaping); the last if there are several. False: none, or not an object. */
bool fm_json_get(const struct fm_json *object, struct fm_slice name, struct fm_json *value);
/* How many items or members; 0 for scalars. */
size_t fm_json_count(const struct fm_json *container);

/* A string's text: a slice of the input where it has no escapes, else unescaped into `out`. FM_E_INVALID: not a string; FM_E_TOO_LARGE: the
 * text is longer than `out_size`, which is the limit in both cases. The text may hold zero bytes (\u0000). */
FM_MUST_CHECK enum fm_err fm_json_text(const struct fm_json *string, void *out, size_t out_size, struct fm_slice *text);
/* The value is a string with this text. */
bool fm_json_is(const struct fm_json *value, struct fm_slice text);
/* A whole number without sign, fraction or exponent. FM_E_INVALID: not such a number; FM_E_TOO_LARGE: above max. */
FM_MUST_CHECK enum fm_err fm_json_u64(const struct fm_json *number, uint64_t max, uint64_t *out);
/* Bytes from elsewhere, by the same rules as a string's: RFC 3629, no surrogates. Control characters are allowed. */
bool fm_utf8_valid(struct fm_slice s);
