#include "settings_rules.h"
#include "settings.h"

#include "../../broker/diag.h"

#include <stdio.h>

const struct fm_option fm_rule_options[] = {
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_rule_keys, group, type, name, min, max, def, help)
    FM_RULE_KEYS(X)
#undef X
};

static const char *who_text(unsigned who)
{
    static const char *const texts[] = {"nobody", "anyone", "token", "hook"};
    return texts[who];
}

static bool has_section(struct fm_rules *rules, const char *pattern)
{
    const struct fm_rule *r;
    for (size_t i = 0; (r = fm_rules_at(rules, i)); i++)
        if (strcmp(r->pattern, pattern) == 0)
            return true;
    return false;
}

void fm_section_open(struct fm_section *s, struct fm_rules *rules, const char *pattern, struct fm_report *report, const char *where,
                     const char *file)
{
    char quote[FM_TOPIC_MAX + 32];
    fm_diag_quote(quote, sizeof quote, pattern, strlen(pattern));
    s->keys = (struct fm_rule_keys){0};
    s->rule = NULL;
    s->set = (struct fm_option_set){fm_rule_options, FM_RULE_KEYS_N, &s->keys, s->from, file, report};
    s->errors_before = report->n_errors;
    snprintf(s->where, sizeof s->where, "%s: [topic %s]", where, quote);
    if (has_section(rules, pattern)) {
        fm_report_error(report, where, "[topic %s]: there is a section of this pattern already; write all of it in one of the two", quote);
        return;
    }
    enum fm_err err = fm_options_init(&s->set) ? fm_rules_add(rules, pattern, &s->rule) : FM_E_NOMEM;
    if (err == FM_E_SYNTAX)
        fm_report_error(report, where, "[topic %s]: a pattern is a topic of at most %d bytes, or its beginning and one `*` at the end",
                        quote, FM_TOPIC_MAX);
    else if (err)
        fm_report_error(report, where, "%s", fm_err_text(err));
}

void fm_section_set(struct fm_section *s, const char *key, const char *value, unsigned line, const char *where)
{
    char quote[128];
    const struct fm_option *o = fm_option_find(fm_rule_options, FM_RULE_KEYS_N, key);
    if (!s->rule)
        return; /* the heading was reported */
    if (!o) {
        const char *near = fm_option_nearest(&s->set, key, false);
        bool node = fm_option_find(fm_options, FM_OPTIONS_N, key) != NULL;
        fm_report_error(s->set.report, where, "unknown key %s in a [topic] section%s", fm_diag_quote(quote, sizeof quote, key, strlen(key)),
                        node ? "; it is an option of the node and belongs above the first section" : near);
        return;
    }
    fm_option_set(&s->set, o, (struct fm_from){.rank = FM_RANK_FILE, .line = line}, where, value);
}

/* What its keys say together. */
static void section_check(struct fm_section *s)
{
    const struct fm_rule_keys *k = &s->keys;
    if (k->push != FM_WHO_NOBODY && k->join == FM_WHO_NOBODY)
        fm_report_error(s->set.report, s->where, "push = %s needs a join as well, since only who joined can push", who_text(k->push));
    if (k->presence != FM_WHO_NOBODY && k->join == FM_WHO_NOBODY)
        fm_report_error(s->set.report, s->where, "presence = %s needs a join as well, since only who joined is there",
                        who_text(k->presence));
    else if (k->presence == FM_WHO_HOOK && k->join != FM_WHO_HOOK)
        fm_report_error(s->set.report, s->where, "presence = hook needs join = hook, since the answer to a join says who is shown");
    if (k->last > k->history_count && fm_option_from(&s->set, "history_count")->rank != FM_RANK_DEFAULT)
        fm_report_error(s->set.report, s->where, "last = %llu is more than the history keeps: history_count = %llu",
                        (unsigned long long)k->last, (unsigned long long)k->history_count);
    if (k->history_count == 0 && k->last == 0 &&
        (fm_option_from(&s->set, "history_bytes")->rank != FM_RANK_DEFAULT ||
         fm_option_from(&s->set, "history_age")->rank != FM_RANK_DEFAULT))
        fm_report_error(s->set.report, s->where, "history_bytes and history_age do nothing while history_count is 0");
}

void fm_section_close(struct fm_section *s)
{
    struct fm_rule_keys *k = &s->keys;
    struct fm_rule *r = s->rule;
    if (!r)
        return;
    s->rule = NULL;
    if (s->set.report->n_errors == s->errors_before) /* a key that was refused has its default, of which nothing follows */
        section_check(s);
    if (k->last > k->history_count)
        k->history_count = k->last;
    r->join = k->join;
    r->push = k->push;
    r->presence = k->presence;
    r->push_to = k->push_to;
    r->slow = k->slow;
    r->last = (uint32_t)k->last;
    r->pushes_per_s = (uint32_t)k->pushes_per_s;
    r->message_max = (uint32_t)k->message_max;
    if (k->history_count)
        r->history = (struct fm_retention){(uint32_t)k->history_count, k->history_bytes, k->history_age};
}

struct fm_rule_keys fm_rule_keys_of(const struct fm_rule *r)
{
    return (struct fm_rule_keys){.join = r->join,
                                 .push = r->push,
                                 .presence = r->presence,
                                 .push_to = r->push_to,
                                 .history_count = r->history.count,
                                 .history_bytes = r->history.bytes,
                                 .history_age = r->history.age_ms,
                                 .message_max = r->message_max,
                                 .slow = r->slow,
                                 .last = r->last,
                                 .pushes_per_s = r->pushes_per_s};
}

void fm_rule_tell(const char *event, const struct fm_rule *r)
{
    char quote[FM_TOPIC_MAX + 32];
    fm_diag(FM_INFO, event, "pattern=%s join=%s push=%s presence=%s push_to=%s history=%u slow=%s",
            fm_diag_quote(quote, sizeof quote, r->pattern, strlen(r->pattern)), who_text(r->join), who_text(r->push), who_text(r->presence),
            r->push_to == FM_PUSH_OTHERS ? "others" : "all", r->history.count,
            r->slow == FM_SLOW_DROP       ? "drop"
            : r->slow == FM_SLOW_CONFLATE ? "conflate"
                                          : "disconnect");
}

void fm_rule_print(struct fm_buf *out, const struct fm_rule *r)
{
    const struct fm_rule_keys k = fm_rule_keys_of(r);
    fm_buf_printf(out, "\n[topic \"%s\"]\n", r->pattern);
    for (size_t i = 0; i < FM_RULE_KEYS_N; i++) {
        const char *name = fm_rule_options[i].name;
        if (r->history.count == 0 && (strcmp(name, "history_bytes") == 0 || strcmp(name, "history_age") == 0))
            continue;
        fm_buf_printf(out, "%s = ", name);
        fm_option_print(out, &fm_rule_options[i], &k);
        fm_buf_u8(out, '\n');
    }
}

void fm_rule_keys_markdown(struct fm_buf *out)
{
    fm_options_markdown(out, fm_rule_options, FM_RULE_KEYS_N);
}
