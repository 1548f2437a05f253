#include "supabase_changes.h"

#include "../../broker/clock.h"

enum part { SCHEMA, TABLE, TYPE, RECORD, OLD_RECORD, COLUMNS, COMMIT_TIMESTAMP, ERRORS, PARTS };

static const char *const names[PARTS] = {
    "schema", "table", "type", "record", "old_record", "columns", "commit_timestamp", "errors",
};

struct change {
    unsigned kind;
    struct fm_json part[PARTS]; /* type NULL: it is absent, or null */
};

/* Its clients look for `name` in all of them, and at the letters of `type`. */
static bool columns_good(const struct fm_json *columns)
{
    struct fm_json column, v;
    if (columns->type == FM_JSON_NULL)
        return true;
    if (columns->type != FM_JSON_ARRAY)
        return false;
    for (struct fm_json_walk w = fm_json_walk_of(columns); fm_json_next(&w, NULL, &column);)
        if (!fm_json_get(&column, FM_LIT("name"), &v) || v.type != FM_JSON_STRING || !fm_json_get(&column, FM_LIT("type"), &v) ||
            v.type != FM_JSON_STRING)
            return false;
    return true;
}

static bool is_or_null(const struct fm_json *v, enum fm_json_type type)
{
    return v->type == type || v->type == FM_JSON_NULL;
}

static bool is_name(const struct fm_json *v)
{
    return v->type == FM_JSON_STRING && v->raw.n > 2;
}

static const char *judge(const struct change *c)
{
    const struct fm_json *part = c->part;
    if (!is_name(&part[SCHEMA]) || !is_name(&part[TABLE]))
        return "`schema` and `table` must be names";
    if (!c->kind)
        return "`type` must be INSERT, UPDATE or DELETE";
    if (part[c->kind == FM_SUPABASE_DELETE ? OLD_RECORD : RECORD].type != FM_JSON_OBJECT)
        return c->kind == FM_SUPABASE_DELETE ? "`old_record` must be the row that was deleted, an object"
                                             : "`record` must be the row as it is now, an object";
    if (!is_or_null(&part[RECORD], FM_JSON_OBJECT) || !is_or_null(&part[OLD_RECORD], FM_JSON_OBJECT))
        return "`record` and `old_record` must be objects or null";
    if (!columns_good(&part[COLUMNS]))
        return "`columns` must be an array of objects with `name` and `type`";
    return is_or_null(&part[COMMIT_TIMESTAMP], FM_JSON_STRING) ? NULL : "`commit_timestamp` must be text";
}

/* NULL, or what is wrong. unknown: the first member that is none of these, which clients are not given. */
static const char *change_read(struct fm_slice payload, bool binary, struct change *c, struct fm_slice *unknown)
{
    struct fm_json root, name, value;
    *c = (struct change){0};
    *unknown = (struct fm_slice){0};
    if (binary || fm_json_parse(payload, FM_JSON_DEPTH_MAX, &root, NULL) != FM_OK || root.type != FM_JSON_OBJECT)
        return "it is an object with `schema`, `table`, `type`, `record` and `old_record`";
    for (struct fm_json_walk w = fm_json_walk_of(&root); fm_json_next(&w, &name, &value);) {
        unsigned i = 0;
        while (i < PARTS && !fm_json_is(&name, fm_slice_str(names[i])))
            i++;
        if (i < PARTS)
            c->part[i] = value;
        else if (!unknown->n)
            *unknown = name.raw;
    }
    unsigned kind = fm_supabase_kind_of(&c->part[TYPE]);
    c->kind = kind == FM_SUPABASE_ANY ? 0 : kind;
    return judge(c);
}

const char *fm_supabase_change_bad(struct fm_slice payload, bool binary, struct fm_slice *member)
{
    struct change c;
    const char *bad = change_read(payload, binary, &c, member);
    if (bad)
        *member = (struct fm_slice){0};
    else if (member->n)
        bad = "a change has `schema`, `table`, `type`, `record`, `old_record`, `columns`, `commit_timestamp` and `errors`";
    return bad;
}

/* When this cluster took it, where the backend does not say when the database did. */
static void stamp_write(struct fm_buf *b, uint64_t ts_ms)
{
    char at[FM_STAMP_MAX];
    fm_buf_printf(b, "\"%s\"", fm_unix_print(ts_ms, at) ? at : "");
}

/* Of what is absent these clients want an empty one, or fail on it. */
static void part_write(struct fm_buf *b, const struct change *c, enum part part, uint64_t ts_ms)
{
    const struct fm_json *v = &c->part[part];
    if (v->type != FM_JSON_NULL)
        fm_buf_slice(b, v->raw);
    else if (part == COMMIT_TIMESTAMP)
        stamp_write(b, ts_ms);
    else
        fm_buf_str(b, part == ERRORS ? "null" : part == COLUMNS ? "[]" : "{}");
}

enum fm_supabase_given fm_supabase_change_write(struct fm_buf *b, struct fm_slice wants, const struct fm_msg *m)
{
    struct change c;
    struct fm_slice unknown;
    if (change_read(fm_msg_payload(m), m->flags & FM_MSG_BINARY, &c, &unknown))
        return FM_SUPABASE_NOT_ONE;
    const struct fm_supabase_row row = {.kind = c.kind,
                                        .schema = c.part[SCHEMA],
                                        .table = c.part[TABLE],
                                        .record = c.part[c.kind == FM_SUPABASE_DELETE ? OLD_RECORD : RECORD]};
    fm_buf_str(b, "{\"ids\":[");
    if (!fm_supabase_wanted(wants, &row, b))
        return FM_SUPABASE_UNWANTED;
    fm_buf_str(b, "],\"data\":");
    for (enum part part = 0; part < PARTS; part++) {
        fm_buf_str(b, part ? ",\"" : "{\"");
        fm_buf_str(b, names[part]);
        fm_buf_str(b, "\":");
        part_write(b, &c, part, m->ts_ms);
    }
    fm_buf_str(b, "}}");
    return FM_SUPABASE_WRITTEN;
}
