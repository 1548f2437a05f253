#include "cli_table.h"

#include <assert.h>
#include <stdio.h>

/* Characters, not bytes: of UTF-8 those that are no continuation. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void fm_table_cell(struct fm_table *t, struct fm_slice text)
{
    for (size_t i = 0; i < text.n; i++)
        fm_buf_u8(&t->cells, fm_shown(text.p[i]));
    if (text.n == 0)
        fm_buf_u8(&t->cells, '-');
    fm_buf_u8(&t->cells, 0);
}

void fm_table_number(struct fm_table *t, uint64_t v)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)v);
    fm_table_cell(t, fm_slice_of(text, (size_t)n));
}

void fm_ms_text(char *out, size_t size, uint64_t ms)
{
    if (ms < 10000)
        snprintf(out, size, "%.1f s", (double)ms / 1000);
    else if (ms < 120 * 1000)
        snprintf(out, size, "%llu s", (unsigned long long)ms / 1000);
    else if (ms < 7200 * 1000)
        snprintf(out, size, "%llu min", (unsigned long long)ms / 60000);
    else
        snprintf(out, size, "%llu h", (unsigned long long)ms / 3600000);
}

static void cell_print(const struct fm_table *t, struct fm_buf *out, size_t column, const char *text)
{
    size_t n = width_of(text), gap = t->width[column] > n ? t->width[column] - n : 0;
    bool right = t->columns[column].right, last = column + 1 == t->n;
    for (size_t i = 0; right && i < gap; i++)
        fm_buf_u8(out, ' ');
    fm_buf_str(out, text);
    for (size_t i = 0; !right && !last && i < gap; i++)
        fm_buf_u8(out, ' ');
    fm_buf_str(out, last ? "\n" : "  ");
}

static void widen(struct fm_table *t, size_t column, const char *text)
{
    size_t n = width_of(text);
    t->width[column] = n > t->width[column] ? n : t->width[column];
}

void fm_table_print(struct fm_table *t, struct fm_buf *out)
{
    const char *p = (const char *)t->cells.p, *end = p + t->cells.n;
    size_t column = 0;
    assert(t->n <= FM_TABLE_COLUMNS_MAX);
    out->failed = out->failed || t->cells.failed;
    for (size_t i = 0; i < t->n && !t->begun; i++)
        widen(t, i, t->columns[i].title);
    for (const char *c = p; c < end; c += strlen(c) + 1, column = (column + 1) % t->n)
        widen(t, column, c);
    for (size_t i = 0; i < t->n && !t->begun; i++)
        cell_print(t, out, i, t->columns[i].title);
    t->begun = true;
    column = 0;
    for (const char *c = p; c < end; c += strlen(c) + 1, column = (column + 1) % t->n)
        cell_print(t, out, column, c);
    t->cells.n = 0;
}

void fm_table_fini(struct fm_table *t)
{
    fm_buf_fini(&t->cells);
}
