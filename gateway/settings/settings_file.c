/* The settings file: options at the top, then [topic "pattern"] sections.
 *
 * libinih splits lines into keys and values. What it would get wrong without a word is caught before it sees a line:
 *   - a line over 200 bytes is cut in two: refused here
 *   - an indented line continues the value above: indentation is taken off
 *   - a section's name is cut at 50 bytes: headings are read here, and libinih is given a short one
 *   - ` ;` begins a comment, also in the middle of a secret: refused for secrets
 * Its handler runs while the reader has not gone past the line, so the reader's line number is the handler's. */
#include "settings.h"
#include "settings_rules.h"

#include "../../broker/diag.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct parse {
    struct fm_option_set *set; /* of the node's options */
    struct fm_settings *settings;
    const char *path;
    struct fm_slice rest; /* not yet read */
    struct fm_slice line; /* the one being read, trimmed */
    unsigned line_n;
    bool in_section;
    struct fm_section section;
    char where[256]; /* path:line */
};

static struct fm_slice next_line(struct parse *p)
{
    const uint8_t *end = memchr(p->rest.p, '\n', p->rest.n);
    struct fm_slice line = fm_slice_of(p->rest.p, end ? (size_t)(end - p->rest.p) : p->rest.n);
    size_t used = line.n + (end ? 1 : 0);
    p->rest = fm_slice_of(p->rest.p + used, p->rest.n - used);
    if (++p->line_n == 1 && fm_slice_starts(line, FM_LIT("\xef\xbb\xbf")))
        line = fm_slice_of(line.p + 3, line.n - 3);
    while (line.n && (line.p[0] == ' ' || line.p[0] == '\t'))
        line.p++, line.n--;
    while (line.n && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t' || line.p[line.n - 1] == '\r'))
        line.n--;
    snprintf(p->where, sizeof p->where, "%s:%u", p->path, p->line_n);
    return line;
}

/* `[topic "pattern"]`, with an optional comment behind it. */
static bool heading_read(struct fm_slice line, char pattern[FM_TOPIC_MAX + 2])
{
    static const char begin[] = "[topic \"";
    size_t at = sizeof begin - 1;
    if (!fm_slice_starts(line, fm_slice_str(begin)))
        return false;
    const uint8_t *quote = memchr(line.p + at, '"', line.n - at);
    size_t n = quote ? (size_t)(quote - line.p) - at : 0;
    if (!quote || n > FM_TOPIC_MAX || at + n + 2 > line.n || quote[1] != ']')
        return false;
    struct fm_slice behind = fm_slice_of(quote + 2, line.n - at - n - 2);
    while (behind.n && (*behind.p == ' ' || *behind.p == '\t'))
        behind.p++, behind.n--;
    if (behind.n && *behind.p != ';' && *behind.p != '#')
        return false;
    memcpy(pattern, line.p + at, n);
    pattern[n] = 0;
    return true;
}

static void heading(struct parse *p, struct fm_slice line)
{
    char pattern[FM_TOPIC_MAX + 2], quote[160];
    fm_section_close(&p->section);
    p->in_section = true;
    if (heading_read(line, pattern)) {
        fm_section_open(&p->section, p->settings->rules, pattern, p->set->report, p->where, p->path);
        return;
    }
    fm_report_error(p->set->report, p->where,
                    "unknown section %s; the only kind is [topic \"pattern\"], and options of the node stand above the first one",
                    fm_diag_quote(quote, sizeof quote, (const char *)line.p, line.n));
}

/* What libinih may see of a line; an empty slice if nothing. */
static struct fm_slice line_for_inih(struct parse *p, struct fm_slice line, size_t max)
{
    char quote[160];
    if (line.n == 0 || line.p[0] == ';' || line.p[0] == '#')
        return FM_LIT("");
    for (size_t i = 0; i < line.n; i++) {
        if ((line.p[i] < 0x20 && line.p[i] != '\t') || line.p[i] == 0x7f) {
            fm_report_error(p->set->report, p->where, "the line holds a control character (byte %zu); settings are plain text", i + 1);
            return FM_LIT("");
        }
    }
    if (line.p[0] == '[') {
        heading(p, line);
        return FM_LIT("[topic]");
    }
    if (line.n > max) {
        fm_report_error(p->set->report, p->where,
                        "the line has %zu bytes, and at most %zu can be read; a list may be given in several lines, anything else in the "
                        "environment",
                        line.n, max);
        return FM_LIT("");
    }
    if (!memchr(line.p, '=', line.n)) {
        fm_report_error(p->set->report, p->where, "%s is neither `name = value` nor a section",
                        fm_diag_quote(quote, sizeof quote, (const char *)line.p, line.n));
        return FM_LIT("");
    }
    return line;
}

/* ini_reader: as fgets. */
static char *read_line(char *out, int size, void *stream)
{
    struct parse *p = stream;
    if (p->rest.n == 0 || size < 16)
        return NULL;
    p->line = next_line(p);
    struct fm_slice line = line_for_inih(p, p->line, (size_t)size - 2);
    if (line.n)
        memcpy(out, line.p, line.n);
    out[line.n] = '\n';
    out[line.n + 1] = 0;
    return out;
}

static bool comment_cuts(struct fm_slice line)
{
    for (size_t i = 1; i < line.n; i++)
        if (line.p[i] == ';' && (line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
            return true;
    return false;
}

static void node_option(struct parse *p, const char *name, const char *value)
{
    char quote[128];
    struct fm_report *report = p->set->report;
    const struct fm_option *o = fm_option_find(fm_options, FM_OPTIONS_N, name);
    if (!o) {
        bool rule = fm_option_find(fm_rule_options, FM_RULE_KEYS_N, name) != NULL;
        fm_report_error(report, p->where, "unknown key %s%s", fm_diag_quote(quote, sizeof quote, name, strlen(name)),
                        rule ? "; it belongs into a [topic \"pattern\"] section" : fm_option_nearest(p->set, name, false));
        return;
    }
    if (strcmp(o->name, "config") == 0) {
        fm_report_error(report, p->where, "config can't be set in the settings file; give --config or FANMESH_CONFIG");
        return;
    }
    if (o->type == FM_OPTION_SECRET && comment_cuts(p->line)) {
        fm_report_error(report, p->where, "%s holds a ` ;`, which begins a comment and would cut it; put it into %s_file", o->name,
                        o->name);
        return;
    }
    fm_option_set(p->set, o, (struct fm_from){.rank = FM_RANK_FILE, .line = p->line_n}, p->where, value);
}

/* ini_handler. Every problem is collected, so it always goes on. */
static int handle(void *user, const char *section, const char *name, const char *value)
{
    struct parse *p = user;
    (void)section; /* headings are read by heading() */
    if (p->in_section)
        fm_section_set(&p->section, name, value, p->line_n, p->where);
    else
        node_option(p, name, value);
    return 1;
}

void fm_settings_text(struct fm_option_set *set, struct fm_settings *s, const char *path, struct fm_slice text)
{
    struct parse p = {.set = set, .settings = s, .path = path, .rest = text};
    unsigned errors = set->report->n_errors;
    int bad = ini_parse_stream(read_line, &p, handle, &p);
    if (bad && set->report->n_errors == errors) /* the reader lets nothing through that libinih refuses */
        fm_report_error(set->report, path, "line %d can't be read", bad);
    fm_section_close(&p.section);
}

void fm_settings_file(struct fm_option_set *set, struct fm_settings *s, const char *path)
{
    struct stat st;
    const char *why = NULL;
    char *text = NULL;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        why = strerror(errno);
    } else if (S_ISDIR(st.st_mode)) {
        why = "it is a folder";
    } else if (!(text = malloc(FM_SETTINGS_FILE_MAX + 1))) {
        why = "out of memory";
    } else {
        size_t got = 0;
        while (got <= FM_SETTINGS_FILE_MAX && (n = read(fd, text + got, FM_SETTINGS_FILE_MAX + 1 - got)) > 0)
            got += (size_t)n;
        why = n < 0 ? strerror(errno) : got > FM_SETTINGS_FILE_MAX ? "it is larger than 1 MiB" : NULL;
        if (!why)
            fm_settings_text(set, s, path, fm_slice_of(text, got));
    }
    if (why)
        fm_report_error(set->report, "config", "can't read %s: %s", path, why);
    free(text);
    if (fd >= 0)
        close(fd);
}
