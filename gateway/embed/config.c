#include "config.h"

#include "../../broker/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum fm_err fm_config_new(struct fm_config **out)
{
    struct fm_config *c = calloc(1, sizeof *c);
    *out = c;
    if (c && fm_settings_init(&c->settings, &c->report, &c->set) && fm_rules_new(&c->handlers.join) == FM_OK &&
        fm_rules_new(&c->handlers.push) == FM_OK) {
        c->settings.in_program = true;
        return FM_OK;
    }
    fm_config_free(out);
    return FM_E_NOMEM;
}

struct fm_config *fm_config_of_process(void)
{
    struct fm_config *c = calloc(1, sizeof *c);
    if (c)
        c->whole = c->of_process = true;
    return c;
}

void fm_config_free(struct fm_config **cp)
{
    struct fm_config *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    fm_args_fini(&c->args);
    fm_rules_free(&c->handlers.join);
    fm_rules_free(&c->handlers.push);
    fm_settings_fini(&c->settings);
    fm_report_fini(&c->report);
    fm_buf_fini(&c->start);
    fm_buf_fini(&c->why);
    free(c);
}

/* ---- settings ---- */

static enum fm_err result(const struct fm_config *c, unsigned errors_before)
{
    return c->report.n_errors == errors_before ? FM_OK : FM_E_OPTION;
}

enum fm_err fm_config_set(struct fm_config *c, const char *name, const char *value)
{
    unsigned before = c->report.n_errors;
    char quote[128];
    const struct fm_option *o = fm_option_find(fm_options, FM_OPTIONS_N, name);
    if (!o)
        fm_report_error(&c->report, NULL, "unknown option %s%s", fm_diag_quote(quote, sizeof quote, name, strlen(name)),
                        fm_option_nearest(&c->set, name, false));
    else if (strcmp(o->name, "config") == 0)
        fm_report_error(&c->report, NULL, "config can't be set; a settings file is read by fm_config_file");
    else
        fm_option_set(&c->set, o, (struct fm_from){.rank = FM_RANK_ARGS}, o->name, value);
    return result(c, before);
}

enum fm_err fm_config_text(struct fm_config *c, const char *text)
{
    unsigned before = c->report.n_errors;
    fm_settings_text(&c->set, &c->settings, "text", fm_slice_str(text));
    return result(c, before);
}

enum fm_err fm_config_file(struct fm_config *c, const char *path)
{
    unsigned before = c->report.n_errors;
    fm_settings_file(&c->set, &c->settings, path);
    return result(c, before);
}

enum fm_err fm_config_environment(struct fm_config *c)
{
    unsigned before = c->report.n_errors;
    const char *path = fm_env_value(environ, "config");
    if (path)
        fm_settings_file(&c->set, &c->settings, path);
    fm_env_apply(&c->set, environ);
    fm_settings_env_check(environ, &c->report);
    return result(c, before);
}

bool fm_config_finish(struct fm_config *c)
{
    bool before = c->whole;
    c->whole = true;
    return c->report.n_errors == 0 && (before || fm_settings_finish(&c->set, &c->settings));
}

const char *fm_config_why(struct fm_config *c)
{
    c->why.n = 0;
    fm_buf_slice(&c->why, fm_buf_view(&c->report.errors));
    fm_buf_slice(&c->why, fm_buf_view(&c->start));
    if (c->start.n && c->start.p[c->start.n - 1] != '\n')
        fm_buf_u8(&c->why, '\n');
    fm_buf_u8(&c->why, 0);
    return c->why.failed ? fm_err_text(FM_E_NOMEM) : (const char *)c->why.p;
}

/* ---- handlers ---- */

static enum fm_err handler_add(struct fm_config *c, struct fm_rules *table, const char *what, const char *pattern, fm_handler_fn *fn,
                               void *ctx)
{
    char quote[FM_TOPIC_MAX + 32];
    struct fm_rule *r;
    enum fm_err err = fn && pattern ? fm_rules_add(table, pattern, &r) : FM_E_SYNTAX;
    if (err == FM_E_SYNTAX) {
        fm_report_error(&c->report, NULL,
                        "handler of %s %s: a pattern is a topic of at most %d bytes, or its beginning and one `*` at the end, and has one "
                        "handler only",
                        what, pattern ? fm_diag_quote(quote, sizeof quote, pattern, strlen(pattern)) : "NULL", FM_TOPIC_MAX);
        return FM_E_INVALID;
    }
    if (err)
        return err;
    r->handler = fn;
    r->handler_ctx = ctx;
    return FM_OK;
}

enum fm_err fm_config_on_join(struct fm_config *c, const char *pattern, fm_handler_fn *fn, void *ctx)
{
    return handler_add(c, c->handlers.join, "joins to", pattern, fn, ctx);
}

enum fm_err fm_config_on_push(struct fm_config *c, const char *pattern, fm_handler_fn *fn, void *ctx)
{
    return handler_add(c, c->handlers.push, "pushes to", pattern, fn, ctx);
}
