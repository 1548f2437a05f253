#include "auth.h"

#include "../client/fetch.h"
#include "../settings/settings.h"

#include "../../broker/diag.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { QUOTE_MAX = 512 };

/* ---- keys ---- */

/* What the file holds; `why` says the reason where it can't be had. */
static bool file_read(const char *path, struct fm_buf *out, bool *open_to_all, const char **why)
{
    struct stat st;
    FILE *f = fopen(path, "re");
    if (!f) {
        *why = strerror(errno);
        return false;
    }
    *why = NULL;
    if (fstat(fileno(f), &st) != 0 || S_ISDIR(st.st_mode))
        *why = "it is not a file";
    else if (!fm_buf_reserve(out, FM_KEY_TEXT_MAX + 1))
        *why = fm_err_text(FM_E_NOMEM);
    else
        out->n = fread(out->p, 1, FM_KEY_TEXT_MAX + 1, f);
    if (!*why && ferror(f))
        *why = "it can't be read";
    else if (!*why && out->n > FM_KEY_TEXT_MAX)
        *why = "it is larger than 1 MiB";
    *open_to_all = !*why && S_ISREG(st.st_mode) && (st.st_mode & S_IROTH);
    fclose(f);
    return !*why;
}

static bool is_json(struct fm_slice text)
{
    size_t i = 0;
    while (i < text.n && strchr(" \t\r\n", text.p[i]) && text.p[i])
        i++;
    return i < text.n && text.p[i] == '{';
}

/* In a file of one's own every key is meant for this node: one that is broken, or too weak, is a mistake. */
static enum fm_err jwks_take(struct fm_key_set *set, struct fm_slice text, bool open_to_all, const char **why)
{
    struct fm_jwks_read read;
    enum fm_err err = fm_key_set_add_jwks(set, text, !open_to_all, &read, why);
    if (err)
        return err;
    if (read.refused)
        *why = read.why;
    else if (!read.taken)
        *why = "it holds no key for HS256, RS256 or ES256";
    return read.refused || !read.taken ? FM_E_INVALID : FM_OK;
}

static enum fm_err keys_of_file(struct fm_key_set *set, const char *path, struct fm_buf *why)
{
    struct fm_buf text = {0};
    const char *what = NULL;
    bool open_to_all;
    char quote[QUOTE_MAX];
    enum fm_err err = FM_E_IO;
    if (file_read(path, &text, &open_to_all, &what))
        err = is_json(fm_buf_view(&text)) ? jwks_take(set, fm_buf_view(&text), open_to_all, &what)
                                          : fm_key_set_add_pem(set, fm_buf_view(&text), &what);
    if (err)
        fm_buf_printf(why, "token_key_file = %s: %s", fm_diag_quote(quote, sizeof quote, path, strlen(path)),
                      what                   ? what
                      : err == FM_E_TOO_MANY ? "it holds more than 64 keys"
                                             : fm_err_text(err));
    if (text.p)
        explicit_bzero(text.p, text.n);
    fm_buf_fini(&text);
    return err;
}

static enum fm_err keys_make(struct fm_auth *a, const struct fm_settings *s, struct fm_buf *why)
{
    const char *what = NULL;
    enum fm_err err = fm_key_set_new(&a->keys);
    if (!err && *s->token_secret) {
        err = fm_key_set_add_secret(a->keys, fm_slice_str(s->token_secret), fm_slice_of(NULL, 0), &what);
        if (err)
            fm_buf_printf(why, "token_secret: %s", what ? what : fm_err_text(err));
    }
    if (!err && *s->token_key_file)
        err = keys_of_file(a->keys, s->token_key_file, why);
    return err;
}

/* ---- life ---- */

static char **list_copy(const struct fm_list *list)
{
    char **at = calloc(list->n + 1, sizeof *at);
    for (size_t i = 0; at && i < list->n; i++)
        at[i] = strdup(list->at[i]); /* without memory it ends there; see copied */
    return at;
}

static bool copied(char *const *at, const struct fm_list *list)
{
    return at && (list->n == 0 || at[list->n - 1]);
}

static void list_free(char **at)
{
    for (char **p = at; p && *p; p++)
        free(*p);
    free(at);
}

static bool texts_copy(struct fm_auth *a, const struct fm_settings *s)
{
    const struct {
        char **to;
        const char *from;
    } texts[] = {{&a->param, s->token_param},
                 {&a->cookie, s->token_cookie},
                 {&a->issuer, s->token_issuer},
                 {&a->user_claim, s->token_user_claim},
                 {&a->topics_claim, s->token_topics_claim},
                 {&a->rights_claim, s->token_rights_claim}};
    bool ok = true;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ok = (*texts[i].to = strdup(texts[i].from)) && ok;
    a->audiences = list_copy(&s->token_audience);
    a->topics = list_copy(&s->token_topics);
    return ok && copied(a->audiences, &s->token_audience) && copied(a->topics, &s->token_topics);
}

static bool is_of_tokens(const struct fm_option *o)
{
    return strcmp(o->group, "Tokens") == 0 && o->type != FM_OPTION_SECRET && strncmp(o->name, "token_jwks", 10) != 0;
}

static void options_print(struct fm_buf *out, const struct fm_settings *s)
{
    for (size_t i = 0; i < FM_OPTIONS_N; i++) {
        if (!is_of_tokens(&fm_options[i]))
            continue;
        fm_buf_printf(out, "%s ", fm_options[i].name);
        fm_option_print(out, &fm_options[i], s);
        fm_buf_u8(out, '\n');
    }
}

enum fm_err fm_auth_new(struct fm_auth **out, const struct fm_settings *s, struct fm_buf *why)
{
    *out = NULL;
    if (!*s->token_secret && !*s->token_key_file && !*s->token_jwks_url)
        return FM_OK;
    struct fm_auth *a = calloc(1, sizeof *a);
    enum fm_err err = a && texts_copy(a, s) ? keys_make(a, s, why) : FM_E_NOMEM;
    if (!err) {
        options_print(&a->printed, s);
        err = a->printed.failed ? FM_E_NOMEM : FM_OK;
    }
    if (err) {
        fm_auth_free(&a);
        return err;
    }
    a->from_url = *s->token_jwks_url != 0;
    a->required = s->connect == FM_CONNECT_TOKEN;
    a->grace_ms = (uint32_t)s->token_grace_ms;
    a->rules = (struct fm_claims_rules){.issuer = a->issuer,
                                        .audiences = (const char *const *)a->audiences,
                                        .leeway_s = s->token_leeway / 1000,
                                        .lifetime_max_s = s->token_lifetime_max / 1000,
                                        .user_claim = a->user_claim,
                                        .topics_claim = a->topics_claim,
                                        .rights_claim = a->rights_claim,
                                        .topics = (const char *const *)a->topics};
    *out = a;
    return FM_OK;
}

void fm_auth_free(struct fm_auth **ap)
{
    struct fm_auth *a = *ap;
    *ap = NULL;
    if (!a)
        return;
    fm_key_set_unref(&a->keys);
    free(a->param);
    free(a->cookie);
    free(a->issuer);
    free(a->user_claim);
    free(a->topics_claim);
    free(a->rights_claim);
    list_free(a->audiences);
    list_free(a->topics);
    fm_buf_fini(&a->printed);
    free(a);
}

/* ---- sense checks ---- */

static bool any_asks(const struct fm_settings *s)
{
    const struct fm_rule *r;
    for (size_t i = 0; (r = fm_rules_at(s->rules, i)); i++)
        if (r->join == FM_WHO_TOKEN || r->push == FM_WHO_TOKEN)
            return true;
    return false;
}

/* Browsers and proxies take no others for names of cookies. */
static bool is_cookie_name(const char *name)
{
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~") == strlen(name);
}

/* Whoever answers in place of the server says whose tokens are good. */
static void url_check(struct fm_report *report, const char *url)
{
    bool loopback;
    const char *wrong = fm_fetch_url_check(url, &loopback);
    if (wrong)
        fm_report_error(report, "token_jwks_url", "%s", wrong);
    else if (strncmp(url, "https://", 8) != 0 && !loopback)
        fm_report_error(report, "token_jwks_url",
                        "without https:// anyone on the way could say which keys are good; only this machine "
                        "itself may be asked so");
}

void fm_auth_settings_check(struct fm_option_set *set, const struct fm_settings *s)
{
    struct fm_report *report = set->report;
    const char *why;
    bool keys = *s->token_secret || *s->token_key_file || *s->token_jwks_url;
    if (!keys && report->n_errors == 0 && s->connect == FM_CONNECT_TOKEN)
        fm_report_error(report, "connect", "token needs keys to know tokens by; give token_secret_file, token_key_file or token_jwks_url");
    /* The backend of hooks may grant topics, too, when it lets a client connect. */
    if (!keys && !s->hook_connect && report->n_errors == 0 && any_asks(s))
        fm_report_error(report, NULL,
                        "a [topic] section says token, and there are no keys to know tokens by; give token_secret_file, token_key_file or "
                        "token_jwks_url");
    if (*s->token_jwks_url)
        url_check(report, s->token_jwks_url);
    else if (*s->token_jwks_ca)
        fm_report_error(report, "token_jwks_ca", "it does nothing without token_jwks_url");
    if (!is_cookie_name(s->token_cookie))
        fm_report_error(report, "token_cookie", "%s is no name of a cookie", s->token_cookie);
    for (size_t i = 0; i < s->token_topics.n; i++)
        if (!fm_claims_topic_ok(s->token_topics.at[i], &why))
            fm_report_error(report, "token_topics", "%s: %s", s->token_topics.at[i], why);
}

/* ---- the log of a reload ---- */

static struct fm_slice line_cut(struct fm_slice *rest)
{
    const uint8_t *nl = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    size_t n = nl ? (size_t)(nl - rest->p) : rest->n;
    struct fm_slice line = fm_slice_of(rest->p, n);
    *rest = fm_slice_of(rest->p + n + (nl ? 1 : 0), rest->n - n - (nl ? 1 : 0));
    return line;
}

static unsigned option_tell(struct fm_slice was, struct fm_slice is)
{
    char from[QUOTE_MAX], to[QUOTE_MAX];
    if (fm_slice_eq(was, is))
        return 0;
    const uint8_t *space = memchr(is.p, ' ', is.n);
    size_t name = (size_t)(space - is.p);
    fm_diag(FM_INFO, "option_changed", "option=%.*s from=%s to=%s", (int)name, (const char *)is.p,
            fm_diag_quote(from, sizeof from, (const char *)was.p + name + 1, was.n - name - 1),
            fm_diag_quote(to, sizeof to, (const char *)is.p + name + 1, is.n - name - 1));
    return 1;
}

unsigned fm_auth_tell(const struct fm_auth *before, const struct fm_auth *after)
{
    unsigned differences = 0;
    const struct fm_key_set *was = before ? before->keys : NULL, *is = after ? after->keys : NULL;
    size_t added = fm_key_set_beyond(is, was), removed = fm_key_set_beyond(was, is);
    if (added || removed)
        fm_diag(FM_INFO, "token_keys_changed", "added=%zu removed=%zu", added, removed);
    struct fm_slice a = before ? fm_buf_view(&before->printed) : (struct fm_slice){0}, b = after ? fm_buf_view(&after->printed) : a;
    while (before && after && b.n) {
        struct fm_slice from = line_cut(&a), to = line_cut(&b);
        differences += option_tell(from, to);
    }
    return differences + (unsigned)(added + removed);
}

/* ---- verifying ---- */

static bool fail(struct fm_token_fault *fault, enum fm_err err, const char *why)
{
    *fault = (struct fm_token_fault){err, why};
    return false;
}

bool fm_auth_verify(const struct fm_auth *auth, const struct fm_key_set *fetched, struct fm_slice token, uint64_t now_s,
                    struct fm_identity **id, struct fm_token_fault *fault)
{
    struct fm_jwt jwt;
    struct fm_json claims;
    const char *why = NULL;
    *id = NULL;
    if (!fm_jwt_read(token, &jwt, &why))
        return fail(fault, FM_E_TOKEN, why);
    enum fm_verified own = fm_key_set_verify(auth->keys, &jwt), others = FM_VERIFY_NO_KEY;
    if (own != FM_VERIFIED)
        others = fm_key_set_verify(fetched, &jwt);
    if (own != FM_VERIFIED && others != FM_VERIFIED) {
        if (own == FM_VERIFY_NO_KEY && others == FM_VERIFY_NO_KEY)
            return fail(fault, FM_E_TOKEN_KEY, NULL);
        return fail(fault, FM_E_TOKEN, "its signature is wrong");
    }
    if (!fm_jwt_claims(&jwt, &claims, &why))
        return fail(fault, FM_E_TOKEN, why);
    return fm_claims_identity(&claims, &auth->rules, now_s, id, fault);
}
