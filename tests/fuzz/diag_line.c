/* A line of the log from any bytes: quoted as callers do, and as they come. It stays one line, its JSON can be read, and what was quoted
 * adds no member. */
#include "../../broker/diag.h"
#include "../../gateway/json/json_slice.h"

#include <stdlib.h>

__attribute__((format(printf, 3, 4))) static size_t line(char *out, enum fm_diag_format format, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t n = fm_diag_line(out, format, &(struct fm_diag_head){NULL, FM_INFO, "fuzz"}, fmt, ap);
    va_end(ap);
    if (n == 0 || n > FM_DIAG_LINE_MAX || memchr(out, '\n', n) != out + n - 1)
        abort();
    return n;
}

static unsigned members(const char *text, size_t n)
{
    struct fm_json root, name, value;
    unsigned found = 0;
    if (fm_json_parse(fm_slice_of(text, n - 1), 4, &root, NULL) != FM_OK || root.type != FM_JSON_OBJECT)
        abort();
    for (struct fm_json_walk w = fm_json_walk_of(&root); fm_json_next(&w, &name, &value);)
        found++;
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char out[FM_DIAG_LINE_MAX];
    char quote[512];
    char *text = malloc(n + 1);
    if (!text)
        return 0;
    memcpy(text, data, n);
    text[n] = 0;
    fm_diag_quote(quote, sizeof quote, (const char *)data, n);
    if (members(out, line(out, FM_JSON_LINES, "n=%zu why=%s then=\"done\"", n, quote)) != 5)
        abort();
    line(out, FM_LOGFMT, "n=%zu why=%s then=\"done\"", n, quote);
    members(out, line(out, FM_JSON_LINES, "%s n=%zu", text, n));
    members(out, line(out, FM_JSON_LINES, "a=%s b=\"%s\" n=%zu", text, text, n));
    line(out, FM_LOGFMT, "%s a=%s b=\"%s\"", text, text, text);
    free(text);
    return 0;
}
