/* Any bytes: json_slice neither reads past them nor disagrees with itself: what it accepts can be walked whole, every value of it is a
 * valid text of its own, and every string can be unescaped and is equal to its text. */
#include "../../gateway/json/json_slice.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static size_t walk(const struct fm_json *v, const uint8_t *data, size_t n, uint32_t depth)
{
    struct fm_json alone, name, item, got;
    check(v->raw.n > 0 && v->raw.p >= data && v->raw.p + v->raw.n <= data + n);
    check(fm_json_parse(v->raw, FM_JSON_DEPTH_MAX, &alone, NULL) == FM_OK);
    check(alone.type == v->type && alone.raw.p == v->raw.p && alone.raw.n == v->raw.n);
    if (v->type == FM_JSON_STRING) {
        uint8_t *out = malloc(v->raw.n);
        struct fm_slice text;
        check(out != NULL);
        check(fm_json_text(v, out, v->raw.n - 2, &text) == FM_OK);
        check(fm_json_is(v, text));
        check(text.n == 0 || fm_json_text(v, out, text.n - 1, &text) == FM_E_TOO_LARGE);
        free(out);
    }
    if (v->type == FM_JSON_NUMBER) {
        uint64_t u;
        (void)!fm_json_u64(v, UINT64_MAX, &u);
    }
    if (depth == 0) /* every level parses its values again: the work must not grow with the square of the input */
        return 0;
    size_t items = 0;
    for (struct fm_json_walk w = fm_json_walk_of(v); fm_json_next(&w, &name, &item); items++) {
        if (v->type == FM_JSON_OBJECT) {
            uint8_t out[64];
            struct fm_slice text;
            if (fm_json_text(&name, out, sizeof out, &text) == FM_OK && items < 16)
                check(fm_json_get(v, text, &got));
        }
        walk(&item, data, n, depth - 1);
    }
    check(items == fm_json_count(v));
    return items;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fm_json root;
    struct fm_json_error e = {0};
    enum fm_err err = fm_json_parse(fm_slice_of(data, n), 64, &root, &e);
    if (err) {
        check(e.what != NULL && e.at <= n && (err == FM_E_JSON || err == FM_E_TOO_DEEP));
        return 0;
    }
    walk(&root, data, n, 6);
    return 0;
}
