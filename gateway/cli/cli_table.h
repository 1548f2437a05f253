/* Tables for people: columns as wide as what stands in them, two spaces between, nothing behind the last. What comes from outside is shown
 * without control characters; nothing is cut.
 *
 * -- main -- */
#pragma once

#include "../../broker/bytes.h"

enum { FM_TABLE_COLUMNS_MAX = 16 };

/* A byte of what comes from outside, as a terminal may be given it. */
static inline uint8_t fm_shown(uint8_t c)
{
    return c < 0x20 || c == 0x7f ? '?' : c;
}

struct fm_table_column {
    const char *title;
    bool right; /* on which side it stands */
};

struct fm_table {
    const struct fm_table_column *columns;
    size_t n;
    /* the table's */
    struct fm_buf cells; /* each with a zero behind it */
    size_t width[FM_TABLE_COLUMNS_MAX];
    bool begun; /* the titles are printed */
};

/* One cell after the other, row by row; an empty one shows as `-`. */
void fm_table_cell(struct fm_table *t, struct fm_slice text);
void fm_table_number(struct fm_table *t, uint64_t v);
/* Prints the rows that there are, before the first of all the titles, and empties the table for more. Columns only grow wider. */
void fm_table_print(struct fm_table *t, struct fm_buf *out);
void fm_table_fini(struct fm_table *t);

/* "0.4 s", "12 s", "3 min", "5 h". */
void fm_ms_text(char *out, size_t size, uint64_t ms);
