/* A table of options as `--help` and as Markdown. */
#include "option.h"

enum { HELP_COLUMNS = 100, HELP_INDENT = 6, FLAG_MAX = 64 };

static const char *const forms[] = {
#define X(name, ctype, form, words) form,
    FM_OPTION_TYPES(X)
#undef X
};

void fm_text_wrap(struct fm_buf *out, size_t indent, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column == 0 || column + 1 + n > HELP_COLUMNS) {
            fm_buf_printf(out, "%s%*s", column ? "\n" : "", (int)indent, "");
            column = indent;
        } else {
            fm_buf_u8(out, ' ');
            column++;
        }
        fm_buf_put(out, text, n);
        column += n;
        text += n;
        text += strspn(text, " ");
    }
    fm_buf_u8(out, '\n');
}

static bool begins_group(const struct fm_option *table, size_t i)
{
    return i == 0 || strcmp(table[i].group, table[i - 1].group) != 0;
}

void fm_options_help(struct fm_buf *out, const struct fm_option *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct fm_option *o = &table[i];
        struct fm_buf text = {0};
        char flag[FLAG_MAX];
        fm_flag_name(o->name, flag, sizeof flag);
        if (begins_group(table, i))
            fm_buf_printf(out, "\n%s:\n", o->group);
        bool on = o->type == FM_OPTION_FLAG && strcmp(o->def, "true") == 0;
        if (o->type == FM_OPTION_FLAG)
            fm_buf_printf(out, "  %s%s\n", flag, on ? "=false" : "");
        else
            fm_buf_printf(out, "  %s %s\n", flag, forms[o->type]);
        fm_buf_str(&text, o->help);
        if (*o->def && (o->type != FM_OPTION_FLAG || on))
            fm_buf_printf(&text, " Default: %s.", o->def);
        fm_buf_u8(&text, 0);
        fm_text_wrap(out, HELP_INDENT, text.failed ? o->help : (const char *)text.p);
        fm_buf_fini(&text);
    }
}

/* In a cell a `|` would end it, and a `*` would begin emphasis. */
static void cell(struct fm_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|' || *text == '*')
            fm_buf_u8(out, '\\');
        fm_buf_u8(out, (uint8_t)*text);
    }
}

static void range(struct fm_buf *out, const struct fm_option *o)
{
    struct fm_option low = *o, high = *o;
    bool number = o->type == FM_OPTION_COUNT || o->type == FM_OPTION_MS || o->type == FM_OPTION_AGE || o->type == FM_OPTION_BYTES;
    if (!number)
        return;
    low.offset = offsetof(struct fm_option, min); /* prints the row's own limits as values of its type */
    high.offset = offsetof(struct fm_option, max);
    fm_buf_str(out, ", ");
    fm_option_print(out, &low, o);
    fm_buf_str(out, " to ");
    fm_option_print(out, &high, o);
}

void fm_options_markdown(struct fm_buf *out, const struct fm_option *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct fm_option *o = &table[i];
        if (begins_group(table, i)) {
            if (*o->group)
                fm_buf_printf(out, "%s## %s\n\n", i ? "\n" : "", o->group);
            fm_buf_str(out, "| name | takes | default | meaning |\n|---|---|---|---|\n");
        }
        fm_buf_printf(out, "| `%s` | ", o->name);
        cell(out, forms[o->type]);
        range(out, o);
        fm_buf_str(out, *o->def ? " | `" : " | ");
        cell(out, o->def);
        fm_buf_str(out, *o->def ? "` | " : " | ");
        cell(out, o->help);
        fm_buf_str(out, " |\n");
    }
}
