/* Values of options: what a table reads into its base, refuses with a line in the report, prints and frees. (Names: option_find.c.) */
#include "option.h"

#include "network.h"

#include "../../broker/diag.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { QUOTE_MAX = 160, NAME_MAX_SHOWN = 64 };

static const struct {
    const char *form, *words;
} types[] = {
#define X(name, ctype, form, words) {form, words},
    FM_OPTION_TYPES(X)
#undef X
};

static_assert(sizeof types / sizeof types[0] == FM_OPTION_TYPES_N, "one row a type");

/* ---- report ---- */

void fm_report_fini(struct fm_report *r)
{
    fm_buf_fini(&r->errors);
    fm_buf_fini(&r->warnings);
    r->n_errors = 0;
}

static void report_line(struct fm_buf *b, const char *where, const char *fmt, va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof text, fmt, ap);
    if (where && *where)
        fm_buf_printf(b, "%s: ", where);
    fm_buf_printf(b, "%s\n", text);
}

void fm_report_error(struct fm_report *r, const char *where, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report_line(&r->errors, where, fmt, ap);
    va_end(ap);
    r->n_errors++;
}

void fm_report_warning(struct fm_report *r, const char *where, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report_line(&r->warnings, where, fmt, ap);
    va_end(ap);
}

/* ---- fields ---- */

static void *field(const struct fm_option *o, const void *base)
{
    return (char *)base + o->offset;
}

static bool is_number(enum fm_option_type t)
{
    return t == FM_OPTION_COUNT || t == FM_OPTION_MS || t == FM_OPTION_AGE || t == FM_OPTION_BYTES;
}

static bool is_list(enum fm_option_type t)
{
    return t == FM_OPTION_LIST || t == FM_OPTION_ADDRESSES || t == FM_OPTION_NETWORKS;
}

static void list_fini(struct fm_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i]);
    free(l->at);
    *l = (struct fm_list){0};
}

static bool list_add(struct fm_list *l, struct fm_slice word)
{
    char **at = realloc(l->at, (l->n + 2) * sizeof *at);
    if (!at)
        return false;
    l->at = at;
    at[l->n] = fm_slice_dup(word);
    if (!at[l->n])
        return false;
    at[++l->n] = NULL;
    return true;
}

void fm_options_fini(const struct fm_option *table, size_t n, void *base)
{
    for (size_t i = 0; i < n; i++) {
        void *f = field(&table[i], base);
        if (is_list(table[i].type)) {
            list_fini(f);
        } else if (!is_number(table[i].type) && table[i].type != FM_OPTION_FLAG && !types[table[i].type].words) {
            if (table[i].type == FM_OPTION_SECRET && *(char **)f)
                explicit_bzero(*(char **)f, strlen(*(char **)f));
            free(*(char **)f);
            *(char **)f = NULL;
        }
    }
}

/* ---- reading values ---- */

struct scale {
    const char *unit;
    uint64_t by;
};

static const struct scale time_scales[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {0}};
static const struct scale byte_scales[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {0}};
static const struct scale no_scales[] = {{0}};

static const struct scale *scales_of(enum fm_option_type t)
{
    return t == FM_OPTION_BYTES ? byte_scales : t == FM_OPTION_COUNT ? no_scales : time_scales;
}

static const char *takes(enum fm_option_type t)
{
    switch (t) {
    case FM_OPTION_COUNT:
        return "a whole number";
    case FM_OPTION_MS:
        return "milliseconds, or a number with ms, s, m, h or d";
    case FM_OPTION_AGE:
        return "a number with ms, s, m, h or d, such as 10m";
    case FM_OPTION_BYTES:
        return "bytes, or a number with KiB, MiB or GiB";
    case FM_OPTION_FLAG:
        return "true or false";
    default:
        return types[t].form;
    }
}

/* Digits and a unit. FM_E_SYNTAX, FM_E_TOO_LARGE. */
static enum fm_err number_read(enum fm_option_type t, const char *text, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t by = 1;
    enum fm_err err = fm_slice_u64(fm_slice_of(text, digits), UINT64_MAX, out);
    if (err)
        return digits ? FM_E_TOO_LARGE : err;
    if (text[digits]) {
        const struct scale *s = scales_of(t);
        while (s->unit && strcasecmp(s->unit, text + digits) != 0)
            s++;
        if (!s->unit)
            return FM_E_SYNTAX;
        by = s->by;
    } else if (t == FM_OPTION_AGE && *out != 0) {
        return FM_E_SYNTAX;
    }
    return __builtin_mul_overflow(*out, by, out) ? FM_E_TOO_LARGE : FM_OK;
}

static void number_print(struct fm_buf *b, enum fm_option_type t, uint64_t v)
{
    static const struct scale ages[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {0}};
    const struct scale *s = t == FM_OPTION_BYTES ? byte_scales : t == FM_OPTION_COUNT ? no_scales : ages;
    if (v == 0)
        s = no_scales;
    while (s->unit && v % s->by != 0)
        s++;
    fm_buf_dec(b, s->unit ? v / s->by : v);
    if (s->unit && (s->by != 1 || t != FM_OPTION_BYTES))
        fm_buf_str(b, s->unit);
}

struct setting { /* one call of fm_option_set */
    struct fm_option_set *set;
    const struct fm_option *o;
    const char *where, *name, *text; /* what is said of it begins "where: name"; where NULL: the name says it */
};

static const char *quoted(const struct setting *s, char out[QUOTE_MAX])
{
    if (s->o->type == FM_OPTION_SECRET) /* never shown, not even a wrong one */
        return "this value";
    return fm_diag_quote(out, QUOTE_MAX, s->text, strlen(s->text));
}

static bool set_number(const struct setting *s, uint64_t *f)
{
    char q[QUOTE_MAX];
    uint64_t v = 0;
    const struct fm_option *o = s->o;
    enum fm_err err = number_read(o->type, s->text, &v);
    if (err == FM_E_SYNTAX) {
        const char *comment = strpbrk(s->text, "#;");
        fm_report_error(s->set->report, s->where, "%s takes %s, not %s%s", s->name, takes(o->type), quoted(s, q),
                        comment && comment > s->text ? " (a comment after a value begins with a space and `;`)" : "");
        return false;
    }
    if (err || v < o->min || v > o->max) {
        struct fm_buf range = {0};
        number_print(&range, o->type, o->min);
        fm_buf_str(&range, " and ");
        number_print(&range, o->type, o->max);
        fm_report_error(s->set->report, s->where, "%s is %s; it must lie between %.*s", s->name, quoted(s, q), (int)range.n,
                        (const char *)range.p);
        fm_buf_fini(&range);
        return false;
    }
    *f = v;
    return true;
}

static bool set_word(const struct setting *s, unsigned *f)
{
    const char *w = types[s->o->type].words;
    size_t n = strlen(s->text);
    char q[QUOTE_MAX];
    for (unsigned i = 0; n; i++) {
        size_t len = strcspn(w, "|");
        if (len == n && memcmp(w, s->text, n) == 0) {
            *f = i;
            return true;
        }
        if (!w[len])
            break;
        w += len + 1;
    }
    fm_report_error(s->set->report, s->where, "%s takes %s, not %s", s->name, types[s->o->type].words, quoted(s, q));
    return false;
}

static bool set_flag(const struct setting *s, bool *f)
{
    char q[QUOTE_MAX];
    bool yes = strcmp(s->text, "true") == 0;
    if (!yes && strcmp(s->text, "false") != 0) {
        fm_report_error(s->set->report, s->where, "%s takes true or false, not %s", s->name, quoted(s, q));
        return false;
    }
    *f = yes;
    return true;
}

static bool address_ok(const struct setting *s, const char *text)
{
    struct fm_address a;
    char q[QUOTE_MAX];
    if (s->o->type == FM_OPTION_LISTENER && strcmp(text, "none") == 0)
        return true;
    if (fm_address_read(text, &a) == FM_OK)
        return true;
    const char *port = strrchr(text, ':');
    bool number = port && port[1] && port[1 + strspn(port + 1, "0123456789")] == 0;
    bool who = strcmp(s->o->name, "join") == 0 && (strcmp(text, "anyone") == 0 || strcmp(text, "token") == 0 || strcmp(text, "hook") == 0);
    fm_report_error(s->set->report, s->where, "%s: %s is not an address; give host:port%s%s", s->name,
                    fm_diag_quote(q, sizeof q, text, strlen(text)),
                    number ? " (a port from 1 to 65535)"
                    : who  ? " of a node, or write it below a [topic \"pattern\"] if it is to say who may join a topic"
                           : "",
                    s->o->type == FM_OPTION_LISTENER ? " or none" : "");
    return false;
}

static bool network_ok(const struct setting *s, const char *text)
{
    struct fm_net net;
    char q[QUOTE_MAX];
    if (fm_net_read(text, &net) == FM_OK)
        return true;
    fm_report_error(
        s->set->report, s->where,
        "%s: %s is no address or network; give one such as 192.0.2.7, 10.0.0.0/8 or fd00::/8, with no bit set beyond the prefix", s->name,
        fm_diag_quote(q, sizeof q, text, strlen(text)));
    return false;
}

static bool set_text(const struct setting *s, char **f)
{
    const struct fm_option *o = s->o;
    size_t n = strlen(s->text);
    char q[QUOTE_MAX];
    if (n < o->min || n > o->max) {
        fm_report_error(s->set->report, s->where, "%s has %zu bytes; it must have %llu to %llu", s->name, n, (unsigned long long)o->min,
                        (unsigned long long)o->max);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s->text[i] < 0x20 || s->text[i] == 0x7f) {
            fm_report_error(s->set->report, s->where, "a control character stands in %s", quoted(s, q));
            return false;
        }
    }
    bool address = o->type == FM_OPTION_ADDRESS || o->type == FM_OPTION_LISTENER;
    if (address && n && !address_ok(s, s->text))
        return false;
    char *copy = strdup(s->text);
    if (!copy) {
        fm_report_error(s->set->report, s->where, "%s: out of memory", s->name);
        return false;
    }
    free(*f);
    *f = copy;
    return true;
}

static bool set_list(const struct setting *s, struct fm_list *f, bool grow)
{
    const char *p = s->text;
    if (!grow)
        list_fini(f);
    while (*p) {
        p += strspn(p, " \t,");
        size_t n = strcspn(p, ",");
        const char *next = p + n;
        while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
            n--;
        if (n == 0)
            break;
        if (f->n >= s->o->max) {
            fm_report_error(s->set->report, s->where, "%s has more than %llu entries", s->name, (unsigned long long)s->o->max);
            return false;
        }
        if (!list_add(f, fm_slice_of(p, n))) {
            fm_report_error(s->set->report, s->where, "%s: out of memory", s->name);
            return false;
        }
        if (s->o->type == FM_OPTION_ADDRESSES && !address_ok(s, f->at[f->n - 1]))
            return false;
        if (s->o->type == FM_OPTION_NETWORKS && !network_ok(s, f->at[f->n - 1]))
            return false;
        p = next;
    }
    return true;
}

static bool set_field(const struct setting *s, bool grow)
{
    void *f = field(s->o, s->set->base);
    if (is_number(s->o->type))
        return set_number(s, f);
    if (types[s->o->type].words)
        return set_word(s, f);
    if (s->o->type == FM_OPTION_FLAG)
        return set_flag(s, f);
    if (is_list(s->o->type))
        return set_list(s, f, grow);
    return set_text(s, f);
}

void fm_option_set(struct fm_option_set *set, const struct fm_option *o, struct fm_from from, const char *where, const char *text)
{
    struct fm_from *was = &set->from[o - set->table];
    if (from.rank < was->rank)
        return;
    if (from.rank == FM_RANK_FILE && was->rank == FM_RANK_FILE && !is_list(o->type)) {
        fm_report_error(set->report, where, "%s is set already in line %u; remove one of the two", o->name, was->line);
        was->bad = true;
        return;
    }
    char flag[NAME_MAX_SHOWN], env[NAME_MAX_SHOWN];
    fm_flag_name(o->name, flag, sizeof flag);
    fm_env_name(o->name, env, sizeof env);
    bool named = strcmp(where, flag) == 0 || strcmp(where, env) == 0;
    struct setting s = {set, o, named ? NULL : where, named ? where : o->name, text};
    if (from.rank >= FM_RANK_FILE && text[strspn(text, is_list(o->type) ? " \t," : " \t")] == 0) {
        /* Such as --join "$UNSET": taken as nothing it would found a cluster of its own. */
        fm_report_error(set->report, s.where, "%s is empty; give it a value, or leave it out", s.name);
        was->bad = true;
        return;
    }
    if (set_field(&s, was->rank == from.rank))
        *was = from;
    else
        was->bad = true;
}

bool fm_options_init(struct fm_option_set *set)
{
    unsigned errors = set->report->n_errors;
    for (size_t i = 0; i < set->n; i++) {
        const struct fm_option *o = &set->table[i];
        set->from[i] = (struct fm_from){.rank = FM_RANK_DEFAULT};
        if (*o->def || is_list(o->type)) {
            fm_option_set(set, o, set->from[i], "default", o->def);
            continue;
        }
        char *empty = strdup(""); /* an empty text may lie below the range of what may be given */
        if (!empty) {
            fm_report_error(set->report, "default", "%s: out of memory", o->name);
            return false;
        }
        *(char **)field(o, set->base) = empty;
    }
    return set->report->n_errors == errors;
}

void fm_option_print(struct fm_buf *out, const struct fm_option *o, const void *base)
{
    const void *f = field(o, base);
    if (is_number(o->type)) {
        number_print(out, o->type, *(const uint64_t *)f);
    } else if (types[o->type].words) {
        const char *w = types[o->type].words;
        for (unsigned i = *(const unsigned *)f; i > 0; i--)
            w += strcspn(w, "|") + 1;
        fm_buf_put(out, w, strcspn(w, "|"));
    } else if (o->type == FM_OPTION_FLAG) {
        fm_buf_str(out, *(const bool *)f ? "true" : "false");
    } else if (is_list(o->type)) {
        const struct fm_list *l = f;
        for (size_t i = 0; i < l->n; i++)
            fm_buf_printf(out, "%s%s", i ? "," : "", l->at[i]);
    } else if (o->type == FM_OPTION_SECRET) {
        fm_buf_str(out, **(char *const *)f ? "set" : "unset");
    } else {
        fm_buf_str(out, *(char *const *)f);
    }
}
