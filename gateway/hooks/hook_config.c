#include "hook_config.h"
#include "../client/fetch.h"

#include "../../broker/diag.h"

#include <stdio.h>
#include <stdlib.h>

enum { QUOTE_MAX = 512, SECRET_MIN = 16 };

static const char group[] = "Hooks"; /* of the options */
static const char *const names[FM_HOOK_EVENTS] = {"connect", "join", "push", "leave", "disconnect"};

const char *fm_hook_event_name(enum fm_hook_event event)
{
    return names[event];
}

/* ---- checks ---- */

/* FM_HOOK_EVENTS: nothing of that name is told. A push is only asked about, where its rule says so. */
static unsigned told_event(const char *name)
{
    unsigned i = 0;
    while (i < FM_HOOK_EVENTS && (i == FM_HOOK_PUSH || strcmp(names[i], name) != 0))
        i++;
    return i;
}

static bool is_header_name(const char *name)
{
    size_t n = strlen(name);
    return n && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

static void check_secrets(struct fm_report *report, const char *p)
{
    while (*(p += strspn(p, " "))) {
        size_t n = strcspn(p, " ");
        if (n < SECRET_MIN)
            fm_report_error(report, "hook_secret",
                            "one of the secrets, which spaces and line ends separate, has %zu bytes; each must have at least %d", n,
                            SECRET_MIN);
        p += n;
    }
}

static bool rules_ask(const struct fm_settings *s, const struct fm_rule **asks)
{
    struct fm_rule *r;
    for (size_t i = 0; (r = fm_rules_at(s->rules, i)); i++) {
        *asks = r;
        if (r->join == FM_WHO_HOOK || r->push == FM_WHO_HOOK)
            return true;
    }
    return false;
}

static void check_none(struct fm_report *report, const struct fm_settings *s)
{
    const struct fm_rule *rule;
    char where[FM_TOPIC_MAX + 32];
    if (rules_ask(s, &rule)) {
        snprintf(where, sizeof where, "[topic \"%s\"]", rule->pattern);
        fm_report_error(report, where, "it says hook, but there is no hook_url; give the URL of the backend that decides");
    }
    if (s->hook_connect)
        fm_report_error(report, "hook_connect", "there is no hook_url; give the URL of the backend that decides");
    if (s->hook_events.n)
        fm_report_error(report, "hook_events", "there is no hook_url; give the URL of the backend that is to be told");
}

void fm_hook_settings_check(struct fm_option_set *set, const struct fm_settings *s)
{
    struct fm_report *report = set->report;
    bool loopback;
    if (fm_option_from(set, "hook_url")->bad)
        return;
    if (!*s->hook_url) {
        check_none(report, s);
        return;
    }
    const char *why = fm_fetch_url_check(s->hook_url, &loopback);
    if (why)
        fm_report_error(report, "hook_url", "%s", why);
    else if (!*s->hook_secret && !loopback)
        fm_report_warning(
            report, "hook_url",
            "there is no hook_secret, so the backend can't tell requests of this node from anybody else's; give hook_secret_file");
    check_secrets(report, s->hook_secret);
    const struct fm_rule *rule;
    if (!why && !s->hook_connect && !s->hook_events.n && !rules_ask(s, &rule))
        fm_report_warning(
            report, "hook_url",
            "the backend is never asked or told anything; set hook_connect or hook_events, or join = hook or push = hook of a "
            "topic");
    for (size_t i = 0; i < s->hook_events.n; i++)
        if (told_event(s->hook_events.at[i]) == FM_HOOK_EVENTS)
            fm_report_error(report, "hook_events", "takes connect, join, leave and disconnect, not %s%s", s->hook_events.at[i],
                            strcmp(s->hook_events.at[i], "push") == 0 ? "; for pushes give topics the rule push = hook" : "");
    for (size_t i = 0; i < s->hook_headers.n; i++)
        if (!is_header_name(s->hook_headers.at[i]))
            fm_report_error(report, "hook_headers", "%s is not the name of a header", s->hook_headers.at[i]);
}

/* ---- making ---- */

static bool headers_make(struct fm_hook_config *c, const struct fm_list *list)
{
    struct fm_buf b = {0};
    for (size_t i = 0; i < list->n; i++) {
        for (const char *p = list->at[i]; *p; p++)
            fm_buf_u8(&b, (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p));
        fm_buf_u8(&b, 0);
    }
    fm_buf_u8(&b, 0);
    c->headers = (char *)b.p;
    return !b.failed;
}

static size_t options_n(void)
{
    size_t n = 0;
    for (size_t i = 0; i < FM_OPTIONS_N; i++)
        n += strcmp(fm_options[i].group, group) == 0;
    return n;
}

static bool print_all(struct fm_hook_config *c, const struct fm_settings *s)
{
    size_t n = 0;
    c->printed = calloc(options_n() + 1, sizeof *c->printed);
    for (size_t i = 0; c->printed && i < FM_OPTIONS_N; i++) {
        struct fm_buf b = {0};
        if (strcmp(fm_options[i].group, group) != 0)
            continue;
        fm_option_print(&b, &fm_options[i], s);
        fm_buf_u8(&b, 0);
        c->printed[n++] = (char *)b.p;
        if (b.failed)
            return false;
    }
    return c->printed != NULL;
}

static void numbers_take(struct fm_hook_config *c, const struct fm_settings *s)
{
    c->connect_asks = s->hook_connect;
    c->allows = s->hook_failed == FM_HOOK_FAILED_ALLOW;
    for (size_t i = 0; i < s->hook_events.n; i++)
        c->tells |= 1u << told_event(s->hook_events.at[i]);
    c->timeout_ms = (uint32_t)s->hook_timeout_ms;
    c->client_max = (uint32_t)s->hook_client;
    c->concurrency = (uint32_t)s->hook_concurrency;
    c->retries = (uint32_t)s->hook_retries;
    c->batch_ms = (uint32_t)s->hook_batch_ms;
    c->batch = (uint32_t)s->hook_batch;
    c->open_after = (uint32_t)s->hook_open_after;
    c->open_ms = (uint32_t)s->hook_open_ms;
    c->queue_bytes = s->hook_queue;
    c->worker_bytes = s->hook_queue / (s->workers ? s->workers : 1);
    c->answer_max = s->hook_answer_max;
    c->message_max = (uint32_t)s->message_max;
}

enum fm_err fm_hook_config_new(struct fm_hook_config **out, const struct fm_settings *s)
{
    *out = NULL;
    if (!*s->hook_url)
        return FM_OK;
    struct fm_hook_config *c = calloc(1, sizeof *c);
    if (!c)
        return FM_E_NOMEM;
    atomic_init(&c->refs, 1);
    c->url = strdup(s->hook_url);
    c->ca = strdup(s->hook_ca);
    c->proxy = strdup(s->hook_proxy);
    c->secret = strdup(s->hook_secret);
    numbers_take(c, s);
    if (!headers_make(c, &s->hook_headers) || !print_all(c, s) || !c->url || !c->ca || !c->proxy || !c->secret) {
        fm_hook_config_unref(&c);
        return FM_E_NOMEM;
    }
    *out = c;
    return FM_OK;
}

struct fm_hook_config *fm_hook_config_ref(struct fm_hook_config *c)
{
    if (c)
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void fm_hook_config_unref(struct fm_hook_config **cp)
{
    struct fm_hook_config *c = *cp;
    *cp = NULL;
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (c->secret)
        explicit_bzero(c->secret, strlen(c->secret));
    for (size_t i = 0; c->printed && c->printed[i]; i++)
        free(c->printed[i]);
    free(c->printed);
    free(c->headers);
    free(c->secret);
    free(c->proxy);
    free(c->ca);
    free(c->url);
    free(c);
}

/* ---- telling ---- */

/* Without hooks all of it is as if nothing were given. */
static const char *text_of(const struct fm_hook_config *c, size_t i, const struct fm_option *o)
{
    if (c)
        return c->printed[i];
    return o->type == FM_OPTION_SECRET ? "unset" : o->def;
}

unsigned fm_hook_config_tell(const struct fm_hook_config *before, const struct fm_hook_config *after)
{
    unsigned differences = 0;
    size_t n = 0;
    if (!before && !after)
        return 0;
    for (size_t i = 0; i < FM_OPTIONS_N; i++) {
        char a[QUOTE_MAX], b[QUOTE_MAX];
        if (strcmp(fm_options[i].group, group) != 0)
            continue;
        const char *was = text_of(before, n, &fm_options[i]), *is = text_of(after, n, &fm_options[i]);
        n++;
        if (strcmp(was, is) == 0)
            continue;
        differences++;
        fm_diag(FM_INFO, "hook_changed", "option=%s from=%s to=%s", fm_options[i].name, fm_diag_quote(a, sizeof a, was, strlen(was)),
                fm_diag_quote(b, sizeof b, is, strlen(is)));
    }
    if (before && after && strcmp(before->secret, after->secret) != 0 && *before->secret && *after->secret) {
        differences++;
        fm_diag(FM_INFO, "hook_changed", "option=hook_secret");
    }
    return differences;
}
