/* check-config, version, help: what needs no node. */
#include "cli_tables.h"

#include <unistd.h>

#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_publish_options, group, type, name, min, max, def, help)
const struct fm_option fm_publish_options[] = {FM_OPTIONS_PUBLISH(X)};
#undef X
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_subscribe_options, group, type, name, min, max, def, help)
const struct fm_option fm_subscribe_options[] = {FM_OPTIONS_SUBSCRIBE(X)};
#undef X
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_status_options, group, type, name, min, max, def, help)
const struct fm_option fm_status_options[] = {FM_OPTIONS_STATUS(X)};
#undef X
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_help_options, group, type, name, min, max, def, help)
const struct fm_option fm_help_options[] = {FM_OPTIONS_HELP(X)};
#undef X

enum fm_exit fm_cli_settings(const struct fm_command *command, struct fm_settings *s, struct fm_report *report, struct fm_args *args,
                             int argc, char *const *argv, bool *go)
{
    struct fm_from none[FM_OPTIONS_N];
    struct fm_option_set names = {fm_options, FM_OPTIONS_N, NULL, none, NULL, report};
    enum fm_exit code = FM_EXIT_USAGE;
    *go = false;
    *s = (struct fm_settings){0};
    if (!fm_args_read(args, &names, argc, argv))
        goto out;
    if (args->help) {
        struct fm_buf text = {0};
        fm_cli_help(&text, command);
        code = fm_cli_print(command, &text);
        fm_buf_fini(&text);
        goto out;
    }
    if (!fm_cli_positionals(command, args, 0))
        goto out;
    *go = fm_settings_load(s, args, environ, report);
    code = *go ? FM_EXIT_OK : FM_EXIT_USAGE;
out:
    fm_cli_report(command, &report->errors, "");
    return code;
}

enum fm_exit fm_run_check_config(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_settings s;
    struct fm_report report = {0};
    struct fm_args args = {0};
    struct fm_buf out = {0};
    bool go;
    enum fm_exit code = fm_cli_settings(command, &s, &report, &args, argc, argv, &go);
    fm_cli_report(command, &report.warnings, "warning: ");
    if (go) {
        fm_settings_print(&out, &s, *s.config ? s.config : NULL);
        code = fm_cli_print(command, &out);
    }
    fm_buf_fini(&out);
    fm_args_fini(&args);
    fm_report_fini(&report);
    fm_settings_fini(&s);
    return code;
}

enum fm_exit fm_run_version(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_report report = {0};
    struct fm_option_set set = {.report = &report};
    struct fm_args args;
    struct fm_buf out = {0};
    bool go;
    enum fm_exit code = fm_cli_options(command, &set, &args, argc, argv, &go);
    if (go && !fm_cli_positionals(command, &args, 0)) {
        code = FM_EXIT_USAGE;
    } else if (go) {
        fm_buf_str(&out, "fanmesh " FM_VERSION "\n");
        code = fm_cli_print(command, &out);
    }
    fm_buf_fini(&out);
    fm_args_fini(&args);
    fm_report_fini(&report);
    return code;
}

enum fm_exit fm_run_help(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_report report = {0};
    struct fm_help_options base = {0};
    struct fm_from from[FM_HELP_OPTIONS_N];
    struct fm_option_set set = {fm_help_options, FM_HELP_OPTIONS_N, &base, from, NULL, &report};
    struct fm_args args;
    bool go;
    enum fm_exit code = fm_cli_options(command, &set, &args, argc, argv, &go);
    if (go && args.positionals > 1)
        code = fm_cli_positionals(command, &args, 1) ? FM_EXIT_OK : FM_EXIT_USAGE;
    else if (go)
        code = fm_cli_help_command(command, args.positionals ? args.positional[0] : NULL, base.markdown);
    fm_options_fini(fm_help_options, FM_HELP_OPTIONS_N, &base);
    fm_args_fini(&args);
    fm_report_fini(&report);
    return code;
}
