/* check-config, version, help: what needs no node. */
#include "cli_tables.h"
#include "../edge/tls.h"
#include "../worker/access.h"

#include "../../broker/mesh_tls.h"

#include <stdio.h>
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
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_topics_options, group, type, name, min, max, def, help)
const struct fm_option fm_topics_options[] = {FM_OPTIONS_TOPICS(X)};
#undef X
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_connections_options, group, type, name, min, max, def, help)
const struct fm_option fm_connections_options[] = {FM_OPTIONS_CONNECTIONS(X)};
#undef X
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_present_options, group, type, name, min, max, def, help)
const struct fm_option fm_present_options[] = {FM_OPTIONS_PRESENT(X)};
#undef X
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_disconnect_options, group, type, name, min, max, def, help)
const struct fm_option fm_disconnect_options[] = {FM_OPTIONS_DISCONNECT(X)};
#undef X
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_unsubscribe_options, group, type, name, min, max, def, help)
const struct fm_option fm_unsubscribe_options[] = {FM_OPTIONS_UNSUBSCRIBE(X)};
#undef X
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_revoke_options, group, type, name, min, max, def, help)
const struct fm_option fm_revoke_options[] = {FM_OPTIONS_REVOKE(X)};
#undef X
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_tell_options, group, type, name, min, max, def, help)
const struct fm_option fm_tell_options[] = {FM_OPTIONS_TELL(X)};
#undef X
#define X(group, type, name, min, max, def, help) FM_OPTION_ROW(fm_sign_options, group, type, name, min, max, def, help)
const struct fm_option fm_sign_options[] = {FM_OPTIONS_SIGN(X)};
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

static void warn_of_date(const struct fm_command *command, const char *file, const struct fm_certificate *c)
{
    if (c->over || c->early)
        fm_cli_complain(command, "warning: the certificate in %s is not valid %s (until %s)", file, c->over ? "any more" : "yet", c->until);
}

static enum fm_err clients_certificates(const struct fm_command *command, const struct fm_settings *s, struct fm_buf *why)
{
    struct fm_access *access;
    struct fm_certificate c;
    enum fm_err err = fm_access_new(&access, s, NULL, why);
    for (size_t i = 0; !err && access->tls && i < fm_tls_certificates(access->tls); i++) {
        const char *file = fm_tls_certificate(access->tls, i, &c);
        warn_of_date(command, file, &c);
    }
    fm_access_free(&access);
    return err;
}

static enum fm_err mesh_certificate(const struct fm_command *command, const struct fm_settings *s, struct fm_buf *why)
{
    const struct fm_mesh_tls_files files = {s->mesh_tls_ca, s->mesh_tls_cert, s->mesh_tls_key};
    struct fm_mesh_tls *tls;
    struct fm_certificate c;
    if (!*files.ca || !fm_option_given(s->mesh_listen))
        return FM_OK;
    enum fm_err err = fm_mesh_tls_new(&tls, &files, why);
    if (err)
        return err;
    fm_mesh_tls_certificate(tls, &c);
    warn_of_date(command, files.cert, &c);
    fm_mesh_tls_unref(&tls);
    return FM_OK;
}

/* They are read as a start would read them: one that can't be used must not come to light when the node is down already. */
static bool certificates_check(const struct fm_command *command, const struct fm_settings *s)
{
    enum fm_err (*const checks[])(const struct fm_command *, const struct fm_settings *, struct fm_buf *) = {clients_certificates,
                                                                                                             mesh_certificate};
    bool ok = true;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        struct fm_buf why = {0};
        if (checks[i](command, s, &why) != FM_OK) {
            fm_cli_report(command, &why, "");
            ok = false;
        }
        fm_buf_fini(&why);
    }
    return ok;
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
    if (go && !certificates_check(command, &s)) {
        code = FM_EXIT_USAGE;
    } else if (go) {
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
    char words[128]; /* `help token sign` */
    snprintf(words, sizeof words, "%s%s%s", args.positionals ? args.positional[0] : "", args.positionals > 1 ? " " : "",
             args.positionals > 1 ? args.positional[1] : "");
    if (go && args.positionals > 2)
        code = fm_cli_positionals(command, &args, 1) ? FM_EXIT_OK : FM_EXIT_USAGE;
    else if (go)
        code = fm_cli_help_command(command, *words ? words : NULL, base.markdown);
    fm_options_fini(fm_help_options, FM_HELP_OPTIONS_N, &base);
    fm_args_fini(&args);
    fm_report_fini(&report);
    return code;
}
