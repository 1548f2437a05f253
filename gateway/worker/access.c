#include "access.h"
#include "../settings/settings_rules.h"
#include "../auth/auth.h"
#include "../edge/tls.h"
#include "../hooks/hook_config.h"

#include "../../broker/diag.h"

#include <stdio.h>
#include <stdlib.h>

enum { QUOTE_MAX = 512 };

/* ---- life ---- */

static enum fm_err tls_make(struct fm_access *a, const struct fm_settings *s, const struct fm_access *before, struct fm_buf *why)
{
    bool wanted = before ? before->tls != NULL : s->tls_cert.n > 0 && fm_option_given(s->listen);
    if (!wanted)
        return FM_OK;
    if (s->tls_cert.n == 0) {
        a->tls = fm_tls_ref(before->tls);
        return FM_OK;
    }
    const struct fm_tls_config c = {.cert_files = (const char *const *)s->tls_cert.at,
                                    .key_files = (const char *const *)s->tls_key.at,
                                    .n = s->tls_cert.n,
                                    .secret = fm_slice_str(s->secret),
                                    .before = before ? before->tls : NULL};
    return fm_tls_new(&a->tls, &c, why);
}

enum fm_err fm_access_new(struct fm_access **out, const struct fm_settings *s, const struct fm_access *before, struct fm_buf *why)
{
    enum fm_err err = FM_E_NOMEM;
    struct fm_access *a = calloc(1, sizeof *a);
    *out = NULL;
    if (!a)
        return err;
    a->api_key = strdup(s->api_key);
    if (a->api_key)
        err = fm_rules_copy(&a->rules, s->rules);
    if (!err)
        err = fm_auth_new(&a->auth, s, why);
    if (!err)
        err = fm_hook_config_new(&a->hooks, s);
    if (!err)
        err = tls_make(a, s, before, why);
    if (err)
        fm_access_free(&a);
    *out = a;
    return err;
}

void fm_access_free(struct fm_access **ap)
{
    struct fm_access *a = *ap;
    *ap = NULL;
    if (!a)
        return;
    fm_rules_free(&a->rules);
    fm_tls_unref(&a->tls);
    fm_auth_free(&a->auth);
    fm_hook_config_unref(&a->hooks);
    if (a->api_key)
        explicit_bzero(a->api_key, strlen(a->api_key));
    free(a->api_key);
    free(a);
}

/* ---- rules ---- */

static const struct fm_rule *rule_of(struct fm_rules *rules, const char *pattern)
{
    struct fm_rule *r;
    for (size_t i = 0; (r = fm_rules_at(rules, i)); i++)
        if (strcmp(r->pattern, pattern) == 0)
            return r;
    return NULL;
}

/* Tells each option of the table whose value differs between two bases. */
static unsigned options_tell(const char *event, const char *about, const struct fm_option *table, size_t n, const void *was, const void *is)
{
    unsigned differences = 0;
    for (size_t i = 0; i < n; i++) {
        struct fm_buf from = {0}, to = {0};
        fm_option_print(&from, &table[i], was);
        fm_option_print(&to, &table[i], is);
        if (!fm_slice_eq(fm_buf_view(&from), fm_buf_view(&to))) {
            char a[QUOTE_MAX], b[QUOTE_MAX];
            differences++;
            fm_diag(FM_INFO, event, "%s key=%s from=%s to=%s", about, table[i].name,
                    fm_diag_quote(a, sizeof a, (const char *)from.p, from.n), fm_diag_quote(b, sizeof b, (const char *)to.p, to.n));
        }
        fm_buf_fini(&from);
        fm_buf_fini(&to);
    }
    return differences;
}

static unsigned rules_tell(struct fm_rules *before, struct fm_rules *after)
{
    char about[QUOTE_MAX + 16], quote[QUOTE_MAX];
    unsigned differences = 0;
    const struct fm_rule *r, *was;
    for (size_t i = 0; (r = fm_rules_at(after, i)); i++) {
        snprintf(about, sizeof about, "pattern=%s", fm_diag_quote(quote, sizeof quote, r->pattern, strlen(r->pattern)));
        was = rule_of(before, r->pattern);
        if (was) {
            const struct fm_rule_keys a = fm_rule_keys_of(was), b = fm_rule_keys_of(r);
            differences += options_tell("rule_changed", about, fm_rule_options, FM_RULE_KEYS_N, &a, &b);
        } else {
            fm_rule_tell("rule_added", r);
            differences++;
        }
    }
    for (size_t i = 0; (r = fm_rules_at(before, i)); i++) {
        if (rule_of(after, r->pattern))
            continue;
        fm_rule_tell("rule_removed", r);
        differences++;
    }
    return differences;
}

/* ---- keys ---- */

/* How many words of `keys` are not among those of `but`. */
static unsigned keys_beyond(const char *keys, const char *but)
{
    unsigned beyond = 0;
    while (*(keys += strspn(keys, " "))) {
        struct fm_slice key = fm_slice_of(keys, strcspn(keys, " "));
        bool found = false;
        for (const char *p = but; *(p += strspn(p, " ")) && !found; p += strcspn(p, " "))
            found = fm_slice_eq(key, fm_slice_of(p, strcspn(p, " ")));
        beyond += !found;
        keys += key.n;
    }
    return beyond;
}

static unsigned keys_tell(const char *before, const char *after)
{
    unsigned added = keys_beyond(after, before), removed = keys_beyond(before, after);
    if (added || removed)
        fm_diag(FM_INFO, "api_keys_changed", "added=%u removed=%u", added, removed);
    return added + removed;
}

/* ---- certificates ---- */

static bool has_certificate(const struct fm_tls *tls, const struct fm_certificate *c)
{
    struct fm_certificate other;
    for (size_t i = 0; tls && i < fm_tls_certificates(tls); i++) {
        fm_tls_certificate(tls, i, &other);
        if (memcmp(other.print, c->print, sizeof c->print) == 0)
            return true;
    }
    return false;
}

static unsigned certificates_tell(const char *event, const struct fm_tls *of, const struct fm_tls *but)
{
    char file[QUOTE_MAX], names[QUOTE_MAX];
    unsigned told = 0;
    for (size_t i = 0; of && i < fm_tls_certificates(of); i++) {
        struct fm_certificate c;
        const char *path = fm_tls_certificate(of, i, &c);
        if (has_certificate(but, &c))
            continue;
        told++;
        fm_diag(FM_INFO, event, "file=%s names=%s until=%s", fm_diag_quote(file, sizeof file, path, strlen(path)),
                fm_diag_quote(names, sizeof names, c.names, strlen(c.names)), c.until);
    }
    return told;
}

/* Whose time it isn't: it is used all the same, since clocks are wrong more often than files. */
static void certificates_warn(const struct fm_tls *tls)
{
    char file[QUOTE_MAX];
    for (size_t i = 0; tls && i < fm_tls_certificates(tls); i++) {
        struct fm_certificate c;
        const char *path = fm_tls_certificate(tls, i, &c);
        if (c.over || c.early)
            fm_diag(FM_WARN, "certificate_invalid",
                    "file=%s until=%s why=\"it is not valid %s\" then=\"clients are given it and refuse it; "
                    "put a valid one there and send HUP\"",
                    fm_diag_quote(file, sizeof file, path, strlen(path)), c.until, c.over ? "any more" : "yet");
    }
}

unsigned fm_access_tell(const struct fm_access *before, const struct fm_access *after)
{
    unsigned differences = 0;
    if (before) {
        differences += rules_tell(before->rules, after->rules);
        differences += keys_tell(before->api_key, after->api_key);
        differences += fm_auth_tell(before->auth, after->auth);
        differences += fm_hook_config_tell(before->hooks, after->hooks);
        differences += certificates_tell("certificate_removed", before->tls, after->tls);
    }
    differences += certificates_tell("certificate_added", after->tls, before ? before->tls : NULL);
    certificates_warn(after->tls);
    return differences;
}

/* ---- options ---- */

static bool is_reloaded(const char *option)
{
    static const char *const names[] = {
#define X(name) #name,
        FM_OPTIONS_RELOADED(X)
#undef X
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(option, names[i]) == 0)
            return true;
    return false;
}

static void value_print(struct fm_buf *out, const struct fm_option *o, const struct fm_settings *s)
{
    if (o->type == FM_OPTION_SECRET)
        fm_buf_str(out, *(char *const *)((const char *)s + o->offset));
    else if (o->offset == offsetof(struct fm_settings, connections_max))
        fm_buf_dec(out, s->connections_asked);
    else
        fm_option_print(out, o, s);
}

static unsigned kept_tell(const struct fm_option *o, const struct fm_settings *running, const struct fm_settings *next)
{
    struct fm_buf from = {0}, to = {0};
    char a[QUOTE_MAX], b[QUOTE_MAX];
    value_print(&from, o, running);
    value_print(&to, o, next);
    bool same = fm_slice_eq(fm_buf_view(&from), fm_buf_view(&to));
    if (!same && o->type == FM_OPTION_SECRET)
        fm_diag(FM_WARN, "option_kept", "option=%s then=\"it needs a restart\"", o->name);
    else if (!same)
        fm_diag(FM_WARN, "option_kept", "option=%s runs=%s given=%s then=\"it needs a restart\"", o->name,
                fm_diag_quote(a, sizeof a, (const char *)from.p, from.n), fm_diag_quote(b, sizeof b, (const char *)to.p, to.n));
    if (o->type == FM_OPTION_SECRET && from.p && to.p) {
        explicit_bzero(from.p, from.n);
        explicit_bzero(to.p, to.n);
    }
    fm_buf_fini(&from);
    fm_buf_fini(&to);
    return !same;
}

unsigned fm_settings_kept_tell(const struct fm_settings *running, const struct fm_settings *next)
{
    unsigned differences = 0;
    for (size_t i = 0; i < FM_OPTIONS_N; i++) {
        const struct fm_option *o = &fm_options[i];
        bool tls_switched = (strcmp(o->name, "tls_cert") == 0 && (running->tls_cert.n == 0) != (next->tls_cert.n == 0)) ||
                            (strcmp(o->name, "mesh_tls_ca") == 0 && !*running->mesh_tls_ca != !*next->mesh_tls_ca);
        if (!is_reloaded(o->name) || tls_switched)
            differences += kept_tell(o, running, next);
    }
    return differences;
}
