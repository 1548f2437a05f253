#include "supabase_wants.h"

#include <stdlib.h>

#define BAD "InvalidJoinPayload: "
#define BAD_FILTER BAD "a filter of postgres_changes is column=operator.value, with commas between several"

enum { TEXT_MAX = 255, FILTER_MAX = 1024, VALUES_MAX = 100, NUMBER_MAX = 63, EXPONENT_MAX = 1000000000 };

enum operator{ OP_NONE, OP_EQ, OP_NEQ, OP_LT, OP_LTE, OP_GT, OP_GTE, OP_IN, OP_IS };

static const struct {
    const char *name;
    enum operator op;
} operators[] = {{"eq", OP_EQ}, {"neq", OP_NEQ}, {"lt", OP_LT}, {"lte", OP_LTE},
                 {"gt", OP_GT}, {"gte", OP_GTE}, {"in", OP_IN}, {"is", OP_IS}};

static const struct {
    const char *name;
    unsigned kind;
} kinds[] = {{"INSERT", FM_SUPABASE_INSERT}, {"UPDATE", FM_SUPABASE_UPDATE}, {"DELETE", FM_SUPABASE_DELETE}, {"*", FM_SUPABASE_ANY}};

unsigned fm_supabase_kind_of(const struct fm_json *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (fm_json_is(name, fm_slice_str(kinds[i].name)))
            return kinds[i].kind;
    return 0;
}

/* ---- filters, as text ---- */

static bool take_to(struct fm_slice *rest, uint8_t end, struct fm_slice *taken)
{
    const uint8_t *at = rest->n ? memchr(rest->p, end, rest->n) : NULL;
    if (!at)
        return false;
    *taken = fm_slice_of(rest->p, (size_t)(at - rest->p));
    *rest = fm_slice_of(at + 1, rest->n - taken->n - 1);
    return true;
}

static bool take_char(struct fm_slice *rest, uint8_t c)
{
    if (!rest->n || rest->p[0] != c)
        return false;
    *rest = fm_slice_of(rest->p + 1, rest->n - 1);
    return true;
}

static void skip_spaces(struct fm_slice *rest)
{
    while (take_char(rest, ' '))
        ;
}

/* A value ends before a comma, in a list also before its `)`. One in quotes may hold these, and behind a \ any character. */
static bool take_value(struct fm_slice *rest, bool in_list, struct fm_buf *out)
{
    uint8_t room[TEXT_MAX];
    size_t n = 0, i = 0;
    skip_spaces(rest);
    bool quoted = take_char(rest, '"'), closed = !quoted;
    for (; i < rest->n; i++) {
        uint8_t c = rest->p[i];
        if (quoted ? c == '"' : c == ',' || (in_list && c == ')'))
            break;
        if (quoted && c == '\\' && i + 1 < rest->n)
            c = rest->p[++i];
        if (n == sizeof room)
            return false;
        room[n++] = c;
    }
    *rest = fm_slice_of(rest->p + i, rest->n - i);
    closed = closed || take_char(rest, '"');
    if (quoted)
        skip_spaces(rest);
    while (!quoted && n > 0 && room[n - 1] == ' ')
        n--;
    fm_buf_sized(out, fm_slice_of(room, n));
    return closed;
}

static bool is_value(struct fm_slice text)
{
    return fm_slice_eq(text, FM_LIT("null")) || fm_slice_eq(text, FM_LIT("true")) || fm_slice_eq(text, FM_LIT("false")) ||
           fm_slice_eq(text, FM_LIT("unknown"));
}

static enum operator operator_of(struct fm_slice word)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (fm_slice_eq(word, fm_slice_str(operators[i].name)))
            return operators[i].op;
    return OP_NONE;
}

/* How many values an operator is followed by, all appended; 0: they make no sense. */
static unsigned values_read(struct fm_slice *rest, enum operator op, struct fm_buf *out)
{
    unsigned n = 0;
    if (op == OP_IN) {
        if (!take_char(rest, '('))
            return 0;
        do {
            if (n == VALUES_MAX || !take_value(rest, true, out))
                return 0;
            n++;
        } while (take_char(rest, ','));
        return take_char(rest, ')') ? n : 0;
    }
    size_t at = out->n;
    if (!take_value(rest, false, out))
        return 0;
    struct fm_rd value = fm_rd_of(fm_slice_of(out->p + at, out->n - at));
    return out->failed || op != OP_IS || is_value(fm_rd_sized(&value, TEXT_MAX)) ? 1 : 0;
}

static const char *condition_read(struct fm_slice *rest, unsigned *conditions, struct fm_buf *out)
{
    struct fm_slice column, word;
    if (++*conditions > FM_SUPABASE_CONDITIONS_MAX)
        return BAD "the filters of postgres_changes have more than 200 conditions";
    if (!take_to(rest, '=', &column) || column.n == 0 || column.n > TEXT_MAX || !take_to(rest, '.', &word))
        return BAD_FILTER;
    bool negated = fm_slice_eq(word, FM_LIT("not"));
    if (negated && !take_to(rest, '.', &word))
        return BAD_FILTER;
    enum operator op = operator_of(word);
    if (!op)
        return BAD "the operators of filters here are eq, neq, lt, lte, gt, gte, in and is";
    fm_buf_u8(out, (uint8_t)op);
    fm_buf_u8(out, negated);
    fm_buf_sized(out, column);
    size_t count_at = out->n;
    fm_buf_u8(out, 0);
    unsigned n = values_read(rest, op, out);
    if (!n)
        return BAD_FILTER;
    if (!out->failed)
        out->p[count_at] = (uint8_t)n;
    return NULL;
}

static const char *filter_read(struct fm_slice rest, unsigned *conditions, struct fm_buf *out)
{
    if (rest.n == 0)
        return NULL;
    do {
        const char *reason = condition_read(&rest, conditions, out);
        if (reason)
            return reason;
    } while (take_char(&rest, ','));
    return rest.n ? BAD_FILTER : NULL;
}

/* ---- entries ---- */

/* FNV-1a, cut to what is a whole number in every client. */
static uint32_t id_of(const struct fm_json *entry)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < entry->raw.n; i++)
        hash = (hash ^ entry->raw.p[i]) * 16777619u;
    return hash >> 1 ? hash >> 1 : 1;
}

/* A name that must be the change's, too; empty for every one. */
static bool name_read(const struct fm_json *entry, const char *member, struct fm_buf *out)
{
    uint8_t room[TEXT_MAX];
    struct fm_json v;
    struct fm_slice text = {0};
    if (fm_json_get(entry, fm_slice_str(member), &v) && v.type != FM_JSON_NULL &&
        (v.type != FM_JSON_STRING || fm_json_text(&v, room, sizeof room, &text) != FM_OK))
        return false;
    fm_buf_sized(out, fm_slice_eq(text, FM_LIT("*")) ? (struct fm_slice){0} : text);
    return true;
}

static const char *entry_read(const struct fm_json *entry, unsigned *conditions_n, struct fm_buf *out)
{
    uint8_t room[FILTER_MAX];
    struct fm_json v;
    struct fm_slice text;
    struct fm_buf conditions = {0};
    if (entry->type != FM_JSON_OBJECT)
        return BAD "postgres_changes must be an array of objects";
    unsigned kind = !fm_json_get(entry, FM_LIT("event"), &v) || v.type == FM_JSON_NULL ? FM_SUPABASE_ANY : fm_supabase_kind_of(&v);
    if (!kind)
        return BAD "the event of postgres_changes must be INSERT, UPDATE, DELETE or *";
    fm_buf_u32(out, id_of(entry));
    fm_buf_u8(out, (uint8_t)kind);
    if (!name_read(entry, "schema", out) || !name_read(entry, "table", out))
        return BAD "schema and table of postgres_changes must be strings of at most 255 bytes";
    const char *reason = NULL;
    if (fm_json_get(entry, FM_LIT("filter"), &v) && v.type != FM_JSON_NULL)
        reason = fm_json_text(&v, room, sizeof room, &text) == FM_OK ? filter_read(text, conditions_n, &conditions)
                                                                     : BAD "a filter of postgres_changes is a string of at most 1024 bytes";
    fm_buf_sized(out, fm_buf_view(&conditions));
    out->failed |= conditions.failed;
    fm_buf_fini(&conditions);
    return reason;
}

const char *fm_supabase_wants_read(const struct fm_json *entries, struct fm_buf *wants)
{
    struct fm_json entry;
    uint32_t n = 0;
    unsigned conditions = 0;
    if (entries->type == FM_JSON_NULL)
        return NULL;
    if (entries->type != FM_JSON_ARRAY)
        return BAD "postgres_changes must be an array of objects";
    for (struct fm_json_walk w = fm_json_walk_of(entries); fm_json_next(&w, NULL, &entry);) {
        if (++n > FM_SUPABASE_CHANGES_MAX)
            return BAD "postgres_changes has more than 100 entries";
        const char *reason = entry_read(&entry, &conditions, wants);
        if (reason)
            return reason;
        if (wants->n > FM_SUPABASE_WANTS_MAX)
            return BAD "the entries of postgres_changes take more than 4096 bytes";
    }
    return wants->failed ? fm_err_code(FM_E_NOMEM) : NULL;
}

void fm_supabase_wants_answer(struct fm_buf *b, const struct fm_json *entries)
{
    struct fm_json entry, member;
    const char *comma = "";
    fm_buf_str(b, "\"postgres_changes\":[");
    for (struct fm_json_walk w = fm_json_walk_of(entries); fm_json_next(&w, NULL, &entry); comma = ",") {
        struct fm_json_walk members = fm_json_walk_of(&entry);
        fm_buf_str(b, comma);
        fm_buf_slice(b, fm_slice_of(entry.raw.p, entry.raw.n - 1)); /* without its brace */
        fm_buf_str(b, fm_json_next(&members, NULL, &member) ? ",\"id\":" : "\"id\":");
        fm_buf_dec(b, id_of(&entry));
        fm_buf_u8(b, '}');
    }
    fm_buf_u8(b, ']');
}

/* ---- changes, looked at ---- */

enum truth { NO, YES, UNKNOWN }; /* SQL's three */

struct number { /* 0.d1d2d3... * 10^magnitude, exactly; without digits it is 0 */
    bool negative;
    int64_t magnitude;
    size_t n;
    uint8_t digits[NUMBER_MAX];
};

/* The power of ten behind an `e`; beyond EXPONENT_MAX it makes no difference. */
static int64_t exponent_of(struct fm_slice text)
{
    int64_t value = 0;
    bool negative = text.n && text.p[0] == '-';
    for (size_t i = 0; i < text.n && value < EXPONENT_MAX; i++)
        if (text.p[i] >= '0' && text.p[i] <= '9')
            value = value * 10 + (text.p[i] - '0');
    return negative ? -value : value;
}

/* As JSON has them. Their texts are compared digit by digit: no type of C holds all that a column of a database may. */
static bool number_of(struct fm_slice text, struct number *number)
{
    struct fm_json v;
    if (text.n > NUMBER_MAX || fm_json_parse(text, 0, &v, NULL) != FM_OK || v.type != FM_JSON_NUMBER)
        return false;
    *number = (struct number){.negative = v.raw.p[0] == '-'};
    bool whole = true;
    for (size_t i = number->negative; i < v.raw.n; i++) {
        uint8_t c = v.raw.p[i];
        if (c == 'e' || c == 'E') {
            number->magnitude += exponent_of(fm_slice_of(v.raw.p + i + 1, v.raw.n - i - 1));
            break;
        }
        if (c == '.')
            whole = false;
        else if (number->n || c != '0')
            number->digits[number->n++] = c;
        if (whole ? number->n > 0 : c == '0' && number->n == 0)
            number->magnitude += whole ? 1 : -1;
    }
    while (number->n && number->digits[number->n - 1] == '0')
        number->n--;
    return true;
}

static int order_of_numbers(const struct number *a, const struct number *b)
{
    int sign_a = a->n == 0 ? 0 : a->negative ? -1 : 1, sign_b = b->n == 0 ? 0 : b->negative ? -1 : 1;
    if (sign_a != sign_b || sign_a == 0)
        return sign_a - sign_b;
    if (a->magnitude != b->magnitude)
        return a->magnitude > b->magnitude ? sign_a : -sign_a;
    int order = memcmp(a->digits, b->digits, a->n < b->n ? a->n : b->n);
    return sign_a * (order ? order : (a->n > b->n) - (a->n < b->n));
}

/* *order: negative, 0 or positive. false: the two can't be compared. */
static bool order_of_texts(const struct fm_json *v, struct fm_slice value, int *order)
{
    struct fm_buf room = {0};
    struct fm_slice text = fm_slice_of(v->raw.p + 1, v->raw.n - 2);
    bool ok = !memchr(text.p, '\\', text.n); /* as it is, or without its escapes */
    if (!ok)
        ok = fm_buf_reserve(&room, v->raw.n) && fm_json_text(v, room.p, room.cap, &text) == FM_OK;
    if (ok) {
        size_t both = text.n < value.n ? text.n : value.n;
        *order = both ? memcmp(text.p, value.p, both) : 0;
        if (*order == 0)
            *order = (text.n > value.n) - (text.n < value.n);
    }
    fm_buf_fini(&room);
    return ok;
}

static bool order_of(const struct fm_json *v, struct fm_slice value, int *order)
{
    struct number a, b;
    bool truth = fm_slice_eq(value, FM_LIT("true")) || fm_slice_eq(value, FM_LIT("t"));
    switch (v->type) {
    case FM_JSON_STRING:
        return order_of_texts(v, value, order);
    case FM_JSON_NUMBER:
        *order = 0;
        if (fm_slice_eq(v->raw, value))
            return true;
        if (!number_of(v->raw, &a) || !number_of(value, &b))
            return false;
        *order = order_of_numbers(&a, &b);
        return true;
    case FM_JSON_TRUE:
    case FM_JSON_FALSE:
        *order = (v->type == FM_JSON_TRUE) - truth;
        return truth || fm_slice_eq(value, FM_LIT("false")) || fm_slice_eq(value, FM_LIT("f"));
    default:
        return false;
    }
}

static enum truth holds(enum operator op, const struct fm_json *v, struct fm_slice value)
{
    int order;
    if (op == OP_IS && (fm_slice_eq(value, FM_LIT("true")) || fm_slice_eq(value, FM_LIT("false"))))
        return v->type == (value.n == 4 ? FM_JSON_TRUE : FM_JSON_FALSE);
    if (op == OP_IS)
        return v->type == FM_JSON_NULL;
    if (v->type == FM_JSON_NULL || !order_of(v, value, &order))
        return UNKNOWN;
    switch (op) {
    case OP_NEQ:
        return order != 0;
    case OP_LT:
        return order < 0;
    case OP_LTE:
        return order <= 0;
    case OP_GT:
        return order > 0;
    case OP_GTE:
        return order >= 0;
    default:
        return order == 0;
    }
}

/* The columns that conditions name, in their order, and what stands in the row. The row is walked over once for all of them: how long a
 * change takes is not the client's to say. */
struct columns {
    unsigned n;
    struct column {
        struct fm_slice name;
        struct fm_json value; /* type NULL: there is none */
    } at[FM_SUPABASE_CONDITIONS_MAX];
};

struct condition {
    enum operator op;
    bool negated;
    unsigned values_n;
    struct fm_slice column;
};

/* What stands before its values. */
static struct condition condition_next(struct fm_rd *r)
{
    struct condition c = {.op = (enum operator)fm_rd_u8(r), .negated = fm_rd_u8(r)};
    c.column = fm_rd_sized(r, TEXT_MAX);
    c.values_n = fm_rd_u8(r);
    return c;
}

static void columns_find(struct columns *columns, const struct fm_json *record)
{
    struct fm_json key, value;
    if (columns->n == 0)
        return;
    for (struct fm_json_walk w = fm_json_walk_of(record); fm_json_next(&w, &key, &value);) {
        struct fm_slice name = fm_slice_of(key.raw.p + 1, key.raw.n - 2);
        bool as_it_is = !memchr(name.p, '\\', name.n);
        for (unsigned i = 0; i < columns->n; i++)
            if (as_it_is ? fm_slice_eq(name, columns->at[i].name) : fm_json_is(&key, columns->at[i].name))
                columns->at[i].value = value;
    }
}

/* Reads the next condition, too, where it does not hold. */
static bool condition_holds(struct fm_rd *r, const struct column *column)
{
    struct condition c = condition_next(r);
    enum truth truth = NO;
    for (unsigned n = c.values_n; n > 0 && !r->bad; n--) {
        enum truth one = holds(c.op, &column->value, fm_rd_sized(r, TEXT_MAX));
        if (truth != YES && one != NO)
            truth = one;
    }
    return !r->bad && truth == (c.negated ? NO : YES);
}

static bool is_name(struct fm_slice wanted, const struct fm_json *name)
{
    return wanted.n == 0 || fm_json_is(name, wanted);
}

struct entry {
    uint32_t id;
    struct fm_slice conditions;
};

/* The next entry that wants such a change, if its conditions hold. */
static bool entry_next(struct fm_rd *r, const struct fm_supabase_row *row, struct entry *e)
{
    while (fm_rd_left(r)) {
        e->id = fm_rd_u32(r);
        unsigned wanted = fm_rd_u8(r);
        struct fm_slice schema = fm_rd_sized(r, TEXT_MAX), table = fm_rd_sized(r, TEXT_MAX);
        e->conditions = fm_rd_sized(r, FM_SUPABASE_WANTS_MAX);
        if (!r->bad && wanted & row->kind && is_name(schema, &row->schema) && is_name(table, &row->table))
            return true;
    }
    return false;
}

static void columns_of(struct columns *columns, struct fm_slice wants, const struct fm_supabase_row *row)
{
    struct entry e;
    columns->n = 0;
    for (struct fm_rd r = fm_rd_of(wants); entry_next(&r, row, &e);)
        for (struct fm_rd of = fm_rd_of(e.conditions); fm_rd_left(&of) && columns->n < FM_SUPABASE_CONDITIONS_MAX;) {
            struct condition c = condition_next(&of);
            columns->at[columns->n++] = (struct column){.name = c.column, .value.type = FM_JSON_NULL};
            while (c.values_n-- > 0)
                (void)fm_rd_sized(&of, TEXT_MAX);
        }
    columns_find(columns, &row->record);
}

bool fm_supabase_wanted(struct fm_slice wants, const struct fm_supabase_row *row, struct fm_buf *ids)
{
    bool any = false;
    struct columns columns;
    struct entry e;
    unsigned at = 0;
    columns_of(&columns, wants, row);
    for (struct fm_rd r = fm_rd_of(wants); entry_next(&r, row, &e);) {
        bool wanted = true;
        for (struct fm_rd of = fm_rd_of(e.conditions); fm_rd_left(&of) && at < columns.n; at++)
            wanted = condition_holds(&of, &columns.at[at]) && wanted;
        if (!wanted)
            continue;
        if (any)
            fm_buf_u8(ids, ',');
        fm_buf_dec(ids, e.id);
        any = true;
    }
    return any;
}
