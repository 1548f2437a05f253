#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct fm_option fm_options[] = {
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_settings, group, type, name, min, max, def, help)
    FM_OPTIONS(X)
#undef X
};

bool fm_settings_init(struct fm_settings *s, struct fm_report *report, struct fm_option_set *set)
{
    *s = (struct fm_settings){0};
    *set = (struct fm_option_set){fm_options, FM_OPTIONS_N, s, s->from, NULL, report};
    if (!fm_options_init(set))
        return false;
    if (fm_rules_new(&s->rules) == FM_OK)
        return true;
    fm_report_error(report, NULL, "%s", fm_err_text(FM_E_NOMEM));
    return false;
}

void fm_settings_fini(struct fm_settings *s)
{
    fm_options_fini(fm_options, FM_OPTIONS_N, s);
    fm_rules_free(&s->rules);
}

bool fm_settings_finish(struct fm_option_set *set, struct fm_settings *s)
{
    fm_option_secret_file(set, "api_key", "api_key_file", true);
    fm_option_secret_file(set, "secret", "secret_file", false);
    fm_option_secret_file(set, "token_secret", "token_secret_file", false);
    fm_option_secret_file(set, "hook_secret", "hook_secret_file", true);
    fm_settings_derive(set, s);
    fm_settings_check(set, s);
    s->connections_asked = s->connections_max;
    return set->report->n_errors == 0;
}

bool fm_settings_load(struct fm_settings *s, const struct fm_args *args, char *const *env, struct fm_report *report)
{
    struct fm_option_set set;
    if (!fm_settings_init(s, report, &set))
        return false;
    const char *path = fm_args_value(args, "config");
    if (!path)
        path = fm_env_value(env, "config");
    if (path && *path) {
        set.file = path;
        fm_settings_file(&set, s, path);
    }
    fm_env_apply(&set, env);
    fm_settings_env_check(env, report);
    fm_args_apply(args, &set);
    return fm_settings_finish(&set, s);
}

/* ---- what depends on the machine and on other options ---- */

static void derive(struct fm_option_set *set, const char *name, const char *value)
{
    const struct fm_option *o = fm_option_find(fm_options, FM_OPTIONS_N, name);
    const struct fm_from *from = &set->from[o - fm_options];
    if (from->rank == FM_RANK_DEFAULT && !from->bad)
        fm_option_set(set, o, (struct fm_from){.rank = FM_RANK_DERIVED}, name, value);
}

static void derive_dev(struct fm_option_set *set, struct fm_settings *s)
{
    static const char *const open[] = {"room:*", "realtime:*"};
    derive(set, "listen", "127.0.0.1:4000");
    derive(set, "origins", "*");
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        struct fm_rule *rule = NULL;
        enum fm_err err = fm_rules_add(s->rules, open[i], &rule);
        if (err == FM_OK) {
            rule->join = rule->push = rule->presence = FM_WHO_ANYONE;
            rule->history = (struct fm_retention){100, 1 << 20, 3600 * 1000};
            rule->message_max = 0;
        } else if (err != FM_E_SYNTAX) { /* the settings file may have a rule of its own for it */
            fm_report_error(set->report, "dev", "%s", fm_err_text(err));
        }
    }
}

static void derive_advertise(struct fm_option_set *set, const struct fm_settings *s)
{
    struct fm_address bus, ask;
    char text[FM_HOST_MAX + 16];
    if (!*s->mesh_advertise && fm_address_read(s->mesh_listen, &bus) == FM_OK && !fm_address_wildcard(&bus))
        derive(set, "mesh_advertise", s->mesh_listen);
    if (!*s->mesh_advertise || *s->mesh_ask_advertise || fm_address_read(s->mesh_advertise, &bus) ||
        fm_address_read(s->mesh_ask_listen, &ask))
        return;
    bool v6 = strchr(bus.host, ':') != NULL;
    snprintf(text, sizeof text, "%s%s%s:%u", v6 ? "[" : "", bus.host, v6 ? "]" : "", ask.port);
    derive(set, "mesh_ask_advertise", text);
}

void fm_settings_derive(struct fm_option_set *set, struct fm_settings *s)
{
    char host[64] = "";
    if (!*s->name) {
        if (gethostname(host, sizeof host - 1) != 0 || !*host)
            snprintf(host, sizeof host, "node");
        derive(set, "name", host);
    }
    if (s->workers == 0) {
        char n[24];
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        snprintf(n, sizeof n, "%ld", cores < 1 ? 1 : cores > FM_WORKERS_MAX - 2 ? FM_WORKERS_MAX - 2 : cores);
        s->from[fm_option_find(fm_options, FM_OPTIONS_N, "workers") - fm_options].rank = FM_RANK_DEFAULT;
        derive(set, "workers", n);
    }
    if (s->dev)
        derive_dev(set, s);
    derive_advertise(set, s);
    struct fm_rule *rule;
    for (size_t i = 0; (rule = fm_rules_at(s->rules, i)); i++)
        if (rule->message_max == 0)
            rule->message_max = (uint32_t)s->message_max;
}

/* ---- printing ---- */

static void print_from(struct fm_buf *out, const struct fm_from *from, const struct fm_option *o, const char *path)
{
    char name[64];
    switch (from->rank) {
    case FM_RANK_DEFAULT:
        fm_buf_str(out, "default");
        break;
    case FM_RANK_DERIVED:
        fm_buf_str(out, "from this machine and the other options");
        break;
    case FM_RANK_FILE:
        fm_buf_printf(out, "%s:%u", path ? path : "file", from->line);
        break;
    case FM_RANK_ENV:
        fm_env_name(o->name, name, sizeof name);
        fm_buf_str(out, name);
        break;
    case FM_RANK_ARGS:
        fm_flag_name(o->name, name, sizeof name);
        fm_buf_str(out, name);
        break;
    }
}

void fm_settings_print(struct fm_buf *out, const struct fm_settings *s, const char *path)
{
    for (size_t i = 0; i < FM_OPTIONS_N; i++) {
        const struct fm_option *o = &fm_options[i];
        if (i == 0 || strcmp(o->group, fm_options[i - 1].group) != 0)
            fm_buf_printf(out, "%s# %s\n", i ? "\n" : "", o->group);
        size_t at = out->n;
        struct fm_buf value = {0};
        fm_option_print(&value, o, s);
        /* Not read back: the file's own path, a mask in place of a secret, and what is unset. */
        bool comment = o->type == FM_OPTION_SECRET || strcmp(o->name, "config") == 0 || value.n == 0;
        fm_buf_printf(out, "%s%s = ", comment ? "# " : "", o->name);
        fm_buf_slice(out, fm_buf_view(&value));
        out->failed = out->failed || value.failed;
        fm_buf_fini(&value);
        do
            fm_buf_u8(out, ' ');
        while (!out->failed && out->n - at < 40);
        fm_buf_str(out, " ; ");
        print_from(out, &s->from[i], o, path);
        fm_buf_u8(out, '\n');
    }
    struct fm_rule *rule;
    for (size_t i = 0; (rule = fm_rules_at(s->rules, i)); i++)
        fm_rule_print(out, rule);
}

void fm_settings_markdown(struct fm_buf *out)
{
    fm_buf_str(
        out,
        "# Settings\n"
        "\n"
        "<!-- Made by `fanmesh help options --markdown` from the option table; a test compares them. -->\n"
        "\n"
        "Every option of `fanmesh serve` can be given in three ways; the later one wins:\n"
        "\n"
        "1. in the settings file, as `name = value`: `idle_ms = 60s` (`--config FILE` or `FANMESH_CONFIG`),\n"
        "2. in the environment, as `FANMESH_NAME`: `FANMESH_IDLE_MS=60s` (an empty variable counts as unset, with a warning),\n"
        "3. on the command line, as `--name value` or `--name=value`, with `-` for `_`: `--idle-ms 60s`.\n"
        "\n"
        "`fanmesh check-config` prints the effective settings with the origin of each, or every error with its line.\n"
        "\n"
        "- Times take `ms`, `s`, `m`, `h` or `d`; where the name ends in `_ms` a bare number is milliseconds.\n"
        "- Sizes take `KiB`, `MiB` or `GiB`; a bare number is bytes.\n"
        "- Lists are separated by commas; in the file and on the command line an option that is a list may be given several times.\n"
        "- In the file a comment is a line that begins with `#` or `;`, or what follows a space and `;`. A line has at most 198 bytes.\n"
        "- Secrets (`api_key`, `secret`, `token_secret`, `hook_secret`) are best given as files, never printed, and shown as `set` or "
        "`unset`.\n"
        "\n");
    fm_options_markdown(out, fm_options, FM_OPTIONS_N);
    fm_buf_str(out,
               "\n## Topics\n"
               "\n"
               "A topic is served only if a section of the settings file matches it:\n"
               "\n"
               "```ini\n"
               "[topic \"room:*\"]\n"
               "join = anyone\n"
               "push = anyone\n"
               "history_count = 100\n"
               "```\n"
               "\n"
               "The pattern is a topic, or the beginning of one and `*`. A topic of exactly that name wins, then the longest beginning.\n"
               "\n");
    fm_rule_keys_markdown(out);
}
