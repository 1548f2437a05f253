/* The settings of a node: every option of options.h at its effective value, and the topic rules. Made once at the start from default,
 * settings file, environment and command line, checked as a whole, and not changed afterwards; other parts borrow its strings. HUP reads
 * them again, as new ones: worker/access.h.
 *
 * -- main -- */
#pragma once

#include "option.h"
#include "options.h"
#include "rules.h"

enum {
#define X(...) +1
    FM_OPTIONS_N = 0 FM_OPTIONS(X),
#undef X
    FM_SETTINGS_FILE_MAX = 1 << 20,
};

struct fm_settings {
#define X(group, type, name, min, max, def, help) FM_FIELD_##type name;
    FM_OPTIONS(X)
#undef X
    struct fm_rules *rules;
    uint64_t connections_asked; /* connections_max as it was given; the option itself is cut to what descriptors allow */
    bool in_program;            /* not an option: a program makes calls of the node, which then needs no listener */
    struct fm_from from[FM_OPTIONS_N];
};

/* FM_OPTIONS_N rows. */
extern const struct fm_option fm_options[];

/* Every option at its default, no rules. The set binds s and report for the functions below. False: the report says why. */
FM_MUST_CHECK bool fm_settings_init(struct fm_settings *s, struct fm_report *report, struct fm_option_set *set);
void fm_settings_fini(struct fm_settings *s);

/* All of it in order: init, file, environment, command line, secret files, what depends on the machine, sense checks. args were read with a
 * set of fm_options. False: the report has at least one error. s must be given to fini either way. */
FM_MUST_CHECK bool fm_settings_load(struct fm_settings *s, const struct fm_args *args, char *const *env, struct fm_report *report);

/* What follows when everything is given: secret files, what depends on the machine, sense checks. False: the report has at least one error.
 */
FM_MUST_CHECK bool fm_settings_finish(struct fm_option_set *set, struct fm_settings *s);

/* ---- steps, apart for tests ---- */

/* Reads a settings file that is in memory; lines are reported as `path:line`. */
void fm_settings_text(struct fm_option_set *set, struct fm_settings *s, const char *path, struct fm_slice text);
/* Reads the file at `path`. */
void fm_settings_file(struct fm_option_set *set, struct fm_settings *s, const char *path);
/* Fills in what is left to the machine (host name, cores) and what --dev implies. */
void fm_settings_derive(struct fm_option_set *set, struct fm_settings *s);
/* One error for each thing that makes no sense together. */
void fm_settings_check(struct fm_option_set *set, const struct fm_settings *s);
/* Its parts that others own: of tokens (auth/auth.c), of hooks (hooks/hook_config.c). */
void fm_auth_settings_check(struct fm_option_set *set, const struct fm_settings *s);
void fm_hook_settings_check(struct fm_option_set *set, const struct fm_settings *s);
/* Warns of FANMESH_ variables that are no option but nearly one. */
void fm_settings_env_check(char *const *env, struct fm_report *report);

/* The effective settings as a settings file, each with where it came from; secrets masked. */
void fm_settings_print(struct fm_buf *out, const struct fm_settings *s, const char *path);
/* The keys of a topic section, for the docs. */
void fm_rule_keys_markdown(struct fm_buf *out);
void fm_rule_print(struct fm_buf *out, const struct fm_rule *rule);
/* docs/settings.md, whole. */
void fm_settings_markdown(struct fm_buf *out);
