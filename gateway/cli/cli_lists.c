/* topics, connections, presence: what the API gives in pages, as one list; each page is printed when it is there. */
#include "../json/json_slice.h"
#include "cli_table.h"
#include "cli_tables.h"
#include "cli_told.h"

#include <stdio.h>

enum { DEPTH_MAX = 128, PAGE_MAX = 1000, TEXT_MAX = 1024, MS_TEXT_MAX = 32 };

struct list {
    const struct fm_command *command;
    struct fm_call call;
    const char *path, *query; /* the query as it stands in the URL, with & before each parameter */
    const char *entries;      /* the answer's member that holds them: an array, or an object of what has a name */
    const char *missing;      /* what a node means that has not answered */
    bool whole;               /* the path takes no parameters */
    bool json;
    uint64_t left; /* to be printed; UINT64_MAX: all */
    /* An entry's cells, or its line of JSON. name: of an object's member. */
    void (*row)(struct fm_table *t, const struct fm_json *name, const struct fm_json *entry);
    void (*line)(struct fm_buf *out, const struct fm_json *name, const struct fm_json *entry);
    struct fm_table table;
    struct fm_buf out, after;
};

/* ---- entries ---- */

static void text_cell(struct fm_table *t, const struct fm_json *value)
{
    struct fm_slice text;
    char space[TEXT_MAX];
    if (fm_json_text(value, space, sizeof space, &text) != FM_OK)
        text = value->type == FM_JSON_NULL ? fm_slice_of(NULL, 0) : value->raw;
    fm_table_cell(t, text);
}

static void cell(struct fm_table *t, const struct fm_json *entry, const char *member)
{
    struct fm_json value = {0};
    if (fm_json_get(entry, fm_slice_str(member), &value))
        text_cell(t, &value);
    else
        fm_table_cell(t, fm_slice_of(NULL, 0));
}

static void ms_cell(struct fm_table *t, const struct fm_json *entry, const char *member)
{
    struct fm_json value;
    uint64_t ms;
    char text[MS_TEXT_MAX] = "";
    if (fm_json_get(entry, fm_slice_str(member), &value) && fm_json_u64(&value, UINT64_MAX, &ms) == FM_OK)
        fm_ms_text(text, sizeof text, ms);
    fm_table_cell(t, fm_slice_str(text));
}

static void line_as_it_is(struct fm_buf *out, const struct fm_json *name, const struct fm_json *entry)
{
    (void)name;
    fm_buf_slice(out, entry->raw);
}

static const struct fm_table_column topic_columns[] = {{"TOPIC", false}, {"SUBSCRIBERS HERE", true}, {"HISTORY", true}};

static void topic_row(struct fm_table *t, const struct fm_json *name, const struct fm_json *entry)
{
    (void)name;
    cell(t, entry, "topic");
    cell(t, entry, "subscribers");
    cell(t, entry, "history");
}

static const struct fm_table_column connection_columns[] = {{"CONNECTION", false}, {"NODE", false},  {"USER", false},
                                                            {"OPEN", true},        {"TOPICS", true}, {"ADDRESS", false}};

static void connection_row(struct fm_table *t, const struct fm_json *name, const struct fm_json *entry)
{
    (void)name;
    cell(t, entry, "connection");
    cell(t, entry, "node");
    cell(t, entry, "user");
    ms_cell(t, entry, "open_ms");
    cell(t, entry, "topics");
    cell(t, entry, "address");
}

static const struct fm_table_column presence_columns[] = {{"KEY", false}, {"PRESENCES", true}, {"METAS", false}};

/* Its metas stand one after another. */
static void presence_row(struct fm_table *t, const struct fm_json *name, const struct fm_json *entry)
{
    struct fm_json metas = {0}, meta;
    struct fm_buf all = {0};
    text_cell(t, name);
    if (fm_json_get(entry, FM_LIT("metas"), &metas))
        for (struct fm_json_walk w = fm_json_walk_of(&metas); fm_json_next(&w, NULL, &meta);) {
            fm_buf_str(&all, all.n ? " " : "");
            fm_buf_slice(&all, meta.raw);
        }
    char n[MS_TEXT_MAX];
    int len = snprintf(n, sizeof n, "%zu", fm_json_count(&metas));
    fm_table_cell(t, fm_slice_of(n, (size_t)len));
    fm_table_cell(t, fm_buf_view(&all));
    t->cells.failed = t->cells.failed || all.failed;
    fm_buf_fini(&all);
}

static void presence_line(struct fm_buf *out, const struct fm_json *name, const struct fm_json *entry)
{
    struct fm_json metas;
    fm_buf_str(out, "{\"key\":");
    fm_buf_slice(out, name->raw);
    fm_buf_str(out, ",\"metas\":");
    if (fm_json_get(entry, FM_LIT("metas"), &metas))
        fm_buf_slice(out, metas.raw);
    else
        fm_buf_str(out, "[]");
    fm_buf_u8(out, '}');
}

/* ---- pages ---- */

static void entries_take(struct list *l, const struct fm_json *entries)
{
    struct fm_json name = {0}, entry;
    for (struct fm_json_walk w = fm_json_walk_of(entries); l->left && fm_json_next(&w, &name, &entry); l->left--) {
        if (l->json) {
            l->line(&l->out, &name, &entry);
            fm_buf_u8(&l->out, '\n');
        } else {
            l->row(&l->table, &name, &entry);
        }
    }
    if (!l->json)
        fm_table_print(&l->table, &l->out);
}

static bool after_take(struct list *l, const struct fm_json *root)
{
    struct fm_json next;
    struct fm_slice text;
    char space[TEXT_MAX];
    l->after.n = 0;
    if (!fm_json_get(root, FM_LIT("next"), &next) || fm_json_text(&next, space, sizeof space - 1, &text) != FM_OK)
        return false;
    fm_buf_slice(&l->after, text);
    fm_buf_u8(&l->after, 0);
    return !l->after.failed;
}

/* limit 0: the count alone. False: what is wrong is said. */
static bool page_get(struct list *l, unsigned limit, struct fm_json *root)
{
    struct fm_buf path = {0};
    fm_buf_str(&path, l->path);
    if (!l->whole)
        fm_buf_printf(&path, "?limit=%u%s", limit, l->query);
    if (l->after.n) {
        fm_buf_str(&path, "&after=");
        fm_cli_percent(&path, (const char *)l->after.p);
    }
    fm_buf_u8(&path, 0);
    fm_call_fini(&l->call);
    l->call.path = (const char *)path.p;
    bool ok = false;
    if (path.failed)
        fm_cli_complain(l->command, "%s", fm_err_text(FM_E_NOMEM));
    else if (fm_call(l->command, &l->call)) {
        ok = fm_json_parse(fm_buf_view(&l->call.answer), DEPTH_MAX, root, NULL) == FM_OK;
        if (!ok)
            fm_cli_complain(l->command, "the answer is not JSON; is this the address of a fanmesh node's API?");
    }
    l->call.path = NULL;
    fm_buf_fini(&path);
    return ok;
}

static enum fm_exit pages(struct list *l)
{
    enum fm_exit code = FM_EXIT_OK;
    bool more = true, first = true;
    while (more && l->left && code == FM_EXIT_OK) {
        struct fm_json root, entries;
        if (!page_get(l, l->left < PAGE_MAX ? (unsigned)l->left : PAGE_MAX, &root))
            return FM_EXIT_FAILED;
        if (!fm_json_get(&root, fm_slice_str(l->entries), &entries)) {
            fm_cli_complain(l->command, "the answer has no `%s`; is this the address of a fanmesh node's API?", l->entries);
            return FM_EXIT_FAILED;
        }
        if (first && l->missing)
            fm_cli_missing(l->command, &root, l->missing);
        first = false;
        entries_take(l, &entries);
        more = after_take(l, &root);
        code = fm_cli_print(l->command, &l->out);
        l->out.n = 0;
    }
    return code;
}

static enum fm_exit count(struct list *l)
{
    struct fm_json root;
    if (!page_get(l, 0, &root))
        return FM_EXIT_FAILED;
    if (l->missing)
        fm_cli_missing(l->command, &root, l->missing);
    return fm_cli_print_answer(l->command, &l->call);
}

static enum fm_exit list_run(struct list *l, uint64_t limit, bool only_count)
{
    enum fm_exit code = FM_EXIT_FAILED;
    l->left = limit ? limit : UINT64_MAX;
    if (!l->path || !l->query)
        fm_cli_complain(l->command, "%s", fm_err_text(FM_E_NOMEM));
    else
        code = only_count ? count(l) : pages(l);
    fm_call_fini(&l->call);
    fm_table_fini(&l->table);
    fm_buf_fini(&l->out);
    fm_buf_fini(&l->after);
    return code;
}

/* ---- commands ---- */

static void param(struct fm_buf *query, const char *name, const char *value)
{
    if (!*value)
        return;
    fm_buf_printf(query, "&%s=", name);
    fm_cli_percent(query, value);
}

static void topic_path(struct fm_buf *path, const char *topic, const char *what)
{
    fm_buf_str(path, "/api/topics/");
    fm_cli_percent(path, topic);
    fm_buf_str(path, what);
    fm_buf_u8(path, 0);
}

/* A text that ends with a zero; NULL without memory. */
static const char *text_of(const struct fm_buf *b)
{
    return b->failed ? NULL : (const char *)b->p;
}

static enum fm_exit topics(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args)
{
    (void)args;
    const struct fm_topics_options *o = set->base;
    struct fm_buf query = {0};
    size_t n = strlen(o->prefix);
    if (n && o->prefix[n - 1] == '*') {
        fm_cli_complain(command, "--prefix takes how the names begin, without `*`");
        return FM_EXIT_USAGE;
    }
    param(&query, "prefix", o->prefix);
    fm_buf_u8(&query, 0);
    struct list l = {.command = command,
                     .call = {FM_CALL_OF(o)},
                     .path = "/api/topics",
                     .query = text_of(&query),
                     .entries = "topics",
                     .json = o->json,
                     .row = topic_row,
                     .line = line_as_it_is,
                     .table = {.columns = topic_columns, .n = 3}};
    enum fm_exit code = list_run(&l, o->limit, false);
    fm_buf_fini(&query);
    return code;
}

static enum fm_exit connections(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args)
{
    (void)args;
    const struct fm_connections_options *o = set->base;
    struct fm_buf path = {0}, query = {0};
    if (!fm_cli_topic_good(command, o->topic))
        return FM_EXIT_USAGE;
    param(&query, "user", o->user);
    fm_buf_u8(&query, 0);
    topic_path(&path, o->topic, "/subscribers");
    struct list l = {.command = command,
                     .call = {FM_CALL_OF(o)},
                     .path = *o->topic ? text_of(&path) : "/api/connections",
                     .query = text_of(&query),
                     .entries = "list",
                     .missing = "its clients are not listed or counted",
                     .json = o->json,
                     .row = connection_row,
                     .line = line_as_it_is,
                     .table = {.columns = connection_columns, .n = 6}};
    enum fm_exit code = list_run(&l, o->limit, o->count);
    fm_buf_fini(&path);
    fm_buf_fini(&query);
    return code;
}

static enum fm_exit presence(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args)
{
    const struct fm_present_options *o = set->base;
    struct fm_buf path = {0};
    if (!fm_cli_topic_good(command, args->positional[0]))
        return FM_EXIT_USAGE;
    topic_path(&path, args->positional[0], o->count ? "/presence/count" : "/presence");
    struct list l = {.command = command,
                     .call = {FM_CALL_OF(o)},
                     .path = text_of(&path),
                     .query = "",
                     .whole = o->count,
                     .entries = "members",
                     .json = o->json,
                     .row = presence_row,
                     .line = presence_line,
                     .table = {.columns = presence_columns, .n = 3}};
    enum fm_exit code = list_run(&l, o->limit, o->count);
    fm_buf_fini(&path);
    return code;
}

enum fm_exit fm_run_topics(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_topics_options o = {0};
    return fm_cli_run(command, argc, argv, &o, 0, topics);
}

enum fm_exit fm_run_connections(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_connections_options o = {0};
    return fm_cli_run(command, argc, argv, &o, 0, connections);
}

enum fm_exit fm_run_presence(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_present_options o = {0};
    return fm_cli_run(command, argc, argv, &o, 1, presence);
}
