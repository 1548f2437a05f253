/* What a channel wants of the changes that a backend publishes: the entries of its join's `postgres_changes`, {event, schema, table,
 * filter}, brought into a form that can be looked at for each change. Pure.
 *
 * A filter is as these clients write it: `column=operator.value`, parts of it with commas between, all of which must hold. Operators are
 * eq, neq, lt, lte, gt, gte, in and is, and not. before any of them. A number is compared with a number, by all of its digits, and a text
 * with a text, by its bytes; with NULL nothing holds but `is`, as in SQL. The others of these clients (patterns and regular expressions)
 * are refused, not passed over.
 *
 * -- any thread -- */
#pragma once

#include "../json/json_slice.h"

enum {
    FM_SUPABASE_CHANGES_MAX = 100,    /* entries in one join */
    FM_SUPABASE_CONDITIONS_MAX = 200, /* in all their filters, which are looked at for each change */
    FM_SUPABASE_WANTS_MAX = 4096,     /* bytes of all of them, which are held as long as the channel */
};

enum fm_supabase_kind { FM_SUPABASE_INSERT = 1, FM_SUPABASE_UPDATE = 2, FM_SUPABASE_DELETE = 4, FM_SUPABASE_ANY = 7 };

/* Of INSERT, UPDATE, DELETE and *; 0: none of them. */
unsigned fm_supabase_kind_of(const struct fm_json *name);

/* Appends the entries (an array; type NULL: there are none). NULL, or the reason for an error reply. */
const char *fm_supabase_wants_read(const struct fm_json *entries, struct fm_buf *wants);
/* Appends `"postgres_changes":[...]`: the entries as they came, each with the id by which it is known from then on: the same for the same
 * entry, in every join, and never 0. */
void fm_supabase_wants_answer(struct fm_buf *b, const struct fm_json *entries);

struct fm_supabase_row { /* what there is to look at of a change */
    unsigned kind;
    struct fm_json schema, table;
    struct fm_json record; /* of a DELETE the old one */
};

/* Appends the ids of those that want it, with commas between. false: none does. */
bool fm_supabase_wanted(struct fm_slice wants, const struct fm_supabase_row *row, struct fm_buf *ids);
