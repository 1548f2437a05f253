#include "rules.h"

#include <stdlib.h>

struct fm_rules {
    struct fm_rule **at; /* longest first, an exact name before a prefix of the same length */
    size_t n;
};

enum fm_err fm_rules_new(struct fm_rules **rules)
{
    *rules = calloc(1, sizeof **rules);
    return *rules ? FM_OK : FM_E_NOMEM;
}

void fm_rules_free(struct fm_rules **rules)
{
    if (!*rules)
        return;
    for (size_t i = 0; i < (*rules)->n; i++)
        free((*rules)->at[i]);
    free((*rules)->at);
    free(*rules);
    *rules = NULL;
}

static bool is_prefix(const struct fm_rule *r)
{
    size_t n = strlen(r->pattern);
    return n && r->pattern[n - 1] == '*';
}

static size_t fixed_part(const struct fm_rule *r)
{
    return strlen(r->pattern) - (is_prefix(r) ? 1 : 0);
}

enum fm_err fm_rules_add(struct fm_rules *rules, const char *pattern, struct fm_rule **out)
{
    size_t n = strlen(pattern);
    const char *star = strchr(pattern, '*');
    if (n == 0 || n > FM_TOPIC_MAX || (star && star != pattern + n - 1))
        return FM_E_SYNTAX;
    for (size_t i = 0; i < rules->n; i++)
        if (strcmp(rules->at[i]->pattern, pattern) == 0)
            return FM_E_SYNTAX;
    struct fm_rule **at = realloc(rules->at, (rules->n + 1) * sizeof(struct fm_rule *));
    if (!at)
        return FM_E_NOMEM;
    rules->at = at;
    struct fm_rule *r = calloc(1, sizeof *r);
    if (!r)
        return FM_E_NOMEM;
    memcpy(r->pattern, pattern, n + 1);
    r->message_max = 64 << 10;
    size_t i = 0;
    while (i < rules->n && (fixed_part(at[i]) > fixed_part(r) || (fixed_part(at[i]) == fixed_part(r) && !is_prefix(at[i]))))
        i++;
    memmove(at + i + 1, at + i, (rules->n - i) * sizeof(struct fm_rule *));
    at[i] = r;
    rules->n++;
    *out = r;
    return FM_OK;
}

enum fm_err fm_rules_copy(struct fm_rules **out, struct fm_rules *from)
{
    enum fm_err err = fm_rules_new(out);
    for (size_t i = 0; i < from->n && !err; i++) {
        struct fm_rule *r;
        err = fm_rules_add(*out, from->at[i]->pattern, &r);
        if (!err)
            *r = *from->at[i];
    }
    if (err)
        fm_rules_free(out);
    return err;
}

struct fm_rule *fm_rules_at(struct fm_rules *rules, size_t i)
{
    return i < rules->n ? rules->at[i] : NULL;
}

const struct fm_rule *fm_rules_match(const struct fm_rules *rules, struct fm_slice topic)
{
    if (topic.n == 0 || topic.n > FM_TOPIC_MAX || memchr(topic.p, 0, topic.n))
        return NULL; /* with a zero byte it could not be named in a query */
    const struct fm_rule *prefix = NULL;
    for (size_t i = 0; i < rules->n; i++) {
        const struct fm_rule *r = rules->at[i];
        struct fm_slice fixed = fm_slice_of(r->pattern, fixed_part(r));
        if (!is_prefix(r) && fm_slice_eq(topic, fixed))
            return r;
        if (!prefix && is_prefix(r) && fm_slice_starts(topic, fixed))
            prefix = r;
    }
    return prefix;
}

struct fm_retention fm_rules_retention(void *ctx, struct fm_slice topic)
{
    const struct fm_rule *r = fm_rules_match(ctx, topic);
    return r ? r->history : (struct fm_retention){0};
}

bool fm_rules_presence(void *ctx, struct fm_slice topic)
{
    const struct fm_rule *r = fm_rules_match(ctx, topic);
    return r && r->presence != FM_WHO_NOBODY;
}
