/* One [topic "pattern"] section while it is read: its keys, then the rule that they make.
 *
 * -- main -- */
#pragma once

#include "option.h"
#include "options.h"
#include "rules.h"

enum {
#define X(...) +1
    FM_RULE_KEYS_N = 0 FM_RULE_KEYS(X),
#undef X
};

struct fm_rule_keys {
#define X(group, type, name, min, max, def, help) FM_FIELD_##type name;
    FM_RULE_KEYS(X)
#undef X
};

struct fm_rule_keys fm_rule_keys_of(const struct fm_rule *rule);
/* A line in the log that says what the rule is. */
void fm_rule_tell(const char *event, const struct fm_rule *rule);

/* FM_RULE_KEYS_N rows. */
extern const struct fm_option fm_rule_options[];

struct fm_section {
    struct fm_rule_keys keys;
    struct fm_from from[FM_RULE_KEYS_N];
    struct fm_option_set set;
    unsigned errors_before; /* in the report, when it was opened */
    struct fm_rule *rule;   /* NULL: no section is open, or its heading was wrong */
    char where[320];        /* "path:line: [topic "pattern"]" of its heading */
};

/* Opens a section; the rule is added with the keys' defaults. Problems go to the report. */
void fm_section_open(struct fm_section *s, struct fm_rules *rules, const char *pattern, struct fm_report *report, const char *where,
                     const char *file);
/* One key of the open section. */
void fm_section_set(struct fm_section *s, const char *key, const char *value, unsigned line, const char *where);
/* Ends it: the keys become the rule. A section that is not open is a no-op. */
void fm_section_close(struct fm_section *s);
