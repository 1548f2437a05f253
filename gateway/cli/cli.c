#include "cli.h"
#include "cli_http.h"
#include "cli_tables.h"
#include "../api/metrics.h"

#include "../../broker/diag.h"
#include "../../broker/msg.h"
#include "fanmesh/node.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const struct fm_command commands[] = {
#define X(name, arguments, prose) {#name, arguments, prose, fm_run_##name, FM_OPTIONS_OF_##name},
    FM_COMMANDS(X)
#undef X
};

enum { COMMANDS_N = sizeof commands / sizeof commands[0], NAME_SHOWN_MAX = 32, OPTION_SHOWN_MAX = 64, OPTIONS_MAX = 16 };

/* As users write it: check-config, token sign. */
static const char *shown(const struct fm_command *c, char out[NAME_SHOWN_MAX])
{
    size_t n = 0;
    for (const char *p = c->name; *p && n < NAME_SHOWN_MAX - 1; p++) {
        bool space = p[0] == '_' && p[1] == '_';
        out[n++] = space ? ' ' : *p == '_' ? '-' : *p;
        p += space;
    }
    out[n] = 0;
    return out;
}

static const struct fm_command *command_find(const char *name)
{
    char text[NAME_SHOWN_MAX];
    for (size_t i = 0; i < COMMANDS_N; i++)
        if (strcmp(shown(&commands[i], text), name) == 0)
            return &commands[i];
    return NULL;
}

/* ---- speaking ---- */

void fm_cli_complain(const struct fm_command *command, const char *fmt, ...)
{
    char name[NAME_SHOWN_MAX], text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "fanmesh%s%s: %s\n", command ? " " : "", command ? shown(command, name) : "", text);
}

const char *fm_cli_url(char *out, size_t size, const char *url)
{
    const char *scheme = strstr(url, "://"), *from = scheme ? scheme + 3 : url, *end = from + strcspn(from, "?#");
    const char *login = memrchr(from, '@', (size_t)(end - from));
    struct fm_buf plain = {0};
    fm_buf_put(&plain, url, (size_t)(from - url));
    from = login ? login + 1 : from;
    fm_buf_put(&plain, from, (size_t)(end - from));
    fm_diag_quote(out, size, plain.p ? (const char *)plain.p : "", plain.n);
    fm_buf_fini(&plain);
    return out;
}

void fm_cli_report(const struct fm_command *command, const struct fm_buf *lines, const char *kind)
{
    const char *p = (const char *)lines->p, *end = p + lines->n;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((nl ? nl : end) - p);
        fm_cli_complain(command, "%s%.*s", kind, (int)n, p);
        p += n + 1;
    }
    if (lines->failed)
        fm_cli_complain(command, "%s", fm_err_text(FM_E_NOMEM));
}

enum fm_exit fm_cli_print(const struct fm_command *command, const struct fm_buf *text)
{
    if (text->failed) {
        fm_cli_complain(command, "%s", fm_err_text(FM_E_NOMEM));
        return FM_EXIT_FAILED;
    }
    if ((text->n && fwrite(text->p, 1, text->n, stdout) != text->n) || fflush(stdout) != 0) {
        fm_cli_complain(command, "can't write to standard output: %s", strerror(errno));
        return FM_EXIT_FAILED;
    }
    return FM_EXIT_OK;
}

/* ---- help ---- */

/* Of a node's options those that say something about tokens. */
static void token_options(struct fm_buf *out)
{
    const struct fm_option *o = fm_options, *end = fm_options + FM_OPTIONS_N;
    fm_options_help(out, fm_option_find(fm_options, FM_OPTIONS_N, "config"), 1);
    while (o < end && strcmp(o->group, "Tokens") != 0)
        o++;
    const struct fm_option *first = o;
    while (o < end && strcmp(o->group, "Tokens") == 0)
        o++;
    fm_options_help(out, first, (size_t)(o - first));
    fm_buf_str(out, "\nThe other options of a node may be there, too; they do nothing here.\n");
}

void fm_cli_help(struct fm_buf *out, const struct fm_command *command)
{
    char name[NAME_SHOWN_MAX];
    shown(command, name);
    fm_buf_printf(out, "usage: fanmesh %s%s%s%s\n\n", name, command->options_n ? " [OPTION...]" : "", *command->arguments ? " " : "",
                  command->arguments);
    fm_text_wrap(out, 0, command->prose);
    if (!command->options_n)
        return;
    if (command->run == fm_run_token__verify)
        token_options(out);
    else
        fm_options_help(out, command->options, command->options_n);
    char env[OPTION_SHOWN_MAX], flag[OPTION_SHOWN_MAX];
    fm_env_name(command->options->name, env, sizeof env);
    fm_flag_name(command->options->name, flag, sizeof flag);
    fm_buf_printf(out, "\nEvery option may also come from the environment (%s for %s)", env, flag);
    fm_buf_str(out, command->run == fm_run_serve || command->run == fm_run_check_config || command->run == fm_run_token__verify
                        ? ", or from the settings file as name = value.\nCommand line before environment before file.\n"
                        : ".\n");
    fm_buf_str(out, "Exit codes: 0 done; 1 it could not be done; 2 the options are wrong.\n");
}

/* The first sentence of what a command does; all of it is in its own help. */
static void summary(struct fm_buf *out, const char *prose)
{
    struct fm_buf text = {0};
    const char *end = strstr(prose, ". ");
    fm_buf_put(&text, prose, end ? (size_t)(end - prose) + 1 : strlen(prose));
    fm_buf_u8(&text, 0);
    fm_text_wrap(out, 6, text.failed ? prose : (const char *)text.p);
    fm_buf_fini(&text);
}

static void overview(struct fm_buf *out)
{
    char name[NAME_SHOWN_MAX];
    fm_buf_str(out, "usage: fanmesh COMMAND [OPTION...] [ARGUMENT...]\n\n");
    for (size_t i = 0; i < COMMANDS_N; i++) {
        fm_buf_printf(out, "  %s%s%s\n", shown(&commands[i], name), *commands[i].arguments ? " " : "", commands[i].arguments);
        summary(out, commands[i].prose);
    }
    fm_buf_str(out, "\n`fanmesh COMMAND --help` says all of a command, and its options.\n"
                    "Exit codes: 0 done; 1 it could not be done; 2 the command line or the settings are wrong.\n");
}

static enum fm_exit print_help(const struct fm_command *command)
{
    struct fm_buf out = {0};
    if (command)
        fm_cli_help(&out, command);
    else
        overview(&out);
    enum fm_exit code = fm_cli_print(command, &out);
    fm_buf_fini(&out);
    return code;
}

/* `token` of `token sign`: NULL, or the next command of such a group; before: NULL, or the one before. */
static const struct fm_command *group_next(const char *word, const struct fm_command *before)
{
    char name[NAME_SHOWN_MAX];
    size_t n = strlen(word);
    for (const struct fm_command *c = before ? before + 1 : commands; c < commands + COMMANDS_N; c++)
        if (strncmp(shown(c, name), word, n) == 0 && name[n] == ' ')
            return c;
    return NULL;
}

static enum fm_exit print_group(const char *word)
{
    struct fm_buf out = {0};
    for (const struct fm_command *c = NULL; (c = group_next(word, c));) {
        fm_buf_str(&out, out.n ? "\n" : "");
        fm_cli_help(&out, c);
    }
    enum fm_exit code = fm_cli_print(NULL, &out);
    fm_buf_fini(&out);
    return code;
}

static enum fm_exit unknown_command(const char *word)
{
    char names[COMMANDS_N][NAME_SHOWN_MAX], quote[128];
    const char *at[COMMANDS_N + 2];
    for (size_t i = 0; i < COMMANDS_N; i++)
        at[i] = shown(&commands[i], names[i]);
    at[COMMANDS_N] = "--help";
    at[COMMANDS_N + 1] = "--version";
    const char *near = fm_nearest(word, at, COMMANDS_N + 2);
    char option[OPTION_SHOWN_MAX];
    snprintf(option, sizeof option, "%.*s", (int)strcspn(word, "="), word);
    if (strncmp(word, "--", 2) == 0 && fm_option_find(fm_options, FM_OPTIONS_N, option + 2)) {
        fm_cli_complain(NULL, "the command comes first, then its options: `fanmesh serve %s`", option);
        return FM_EXIT_USAGE;
    }
    const struct fm_command *first = group_next(word, NULL);
    if (first) {
        fm_cli_complain(NULL, "`%s` takes one more word, such as `%s`; `fanmesh %s --help` says all", word, names[first - commands], word);
        return FM_EXIT_USAGE;
    }
    fm_cli_complain(NULL, "unknown command %s%s", fm_diag_quote(quote, sizeof quote, word, strlen(word)),
                    *near ? near : "; `fanmesh --help` lists all");
    return FM_EXIT_USAGE;
}

static enum fm_exit print_made(const struct fm_command *self, struct fm_buf *out)
{
    enum fm_exit code = fm_cli_print(self, out);
    fm_buf_fini(out);
    return code;
}

enum fm_exit fm_cli_help_command(const struct fm_command *self, const char *word, bool markdown)
{
    if (word && strcmp(word, "options") == 0) {
        struct fm_buf out = {0};
        if (markdown)
            fm_settings_markdown(&out);
        else
            fm_options_help(&out, fm_options, FM_OPTIONS_N);
        return print_made(self, &out);
    }
    if (word && strcmp(word, "metrics") == 0) {
        struct fm_buf out = {0};
        fm_metrics_markdown(&out);
        return print_made(self, &out);
    }
    const struct fm_command *c = word ? command_find(word) : NULL;
    if (word && !c)
        return group_next(word, NULL) ? print_group(word) : unknown_command(word);
    return print_help(c);
}

/* ---- options of a client command ---- */

static bool args_empty(const struct fm_args *args)
{
    for (size_t i = 0; i < args->positionals; i++)
        if (!*args->positional[i])
            return true;
    return false;
}

bool fm_cli_positionals(const struct fm_command *command, const struct fm_args *args, size_t n)
{
    char quote[128];
    if (args->positionals == n && !args_empty(args))
        return true;
    if (args->positionals == n) /* mostly a variable that nobody set */
        fm_cli_complain(command, "takes %s, %s empty", command->arguments, n == 1 ? "which is" : "of which one is");
    else if (n == 0)
        fm_cli_complain(command, "takes no arguments, but got %s",
                        fm_diag_quote(quote, sizeof quote, args->positional[0], strlen(args->positional[0])));
    else
        fm_cli_complain(command, "takes %s; %zu argument%s given", command->arguments, args->positionals,
                        args->positionals == 1 ? " was" : "s were");
    return false;
}

enum fm_exit fm_cli_options(const struct fm_command *command, struct fm_option_set *set, struct fm_args *args, int argc, char *const *argv,
                            bool *go)
{
    *go = false;
    *args = (struct fm_args){0};
    if (fm_options_init(set) && fm_args_read(args, set, argc, argv)) {
        if (args->help)
            return print_help(command);
        fm_env_apply(set, environ);
        fm_args_apply(args, set);
        if (fm_option_find(set->table, set->n, "api_key_file"))
            fm_option_secret_file(set, "api_key", "api_key_file", true);
        if (fm_option_find(set->table, set->n, "token_secret_file"))
            fm_option_secret_file(set, "token_secret", "token_secret_file", false);
        if (fm_option_find(set->table, set->n, "token_file"))
            fm_option_secret_file(set, "token", "token_file", false);
    }
    fm_cli_report(command, &set->report->warnings, "warning: ");
    fm_cli_report(command, &set->report->errors, "");
    *go = set->report->n_errors == 0;
    return *go ? FM_EXIT_OK : FM_EXIT_USAGE;
}

/* A command that calls a node's API: is the address one? */
static bool api_url_good(const struct fm_command *command, const struct fm_option_set *set)
{
    const struct fm_option *o = fm_option_find(set->table, set->n, "api_url");
    char where[OPTION_SHOWN_MAX];
    if (!o)
        return true;
    if (set->from[o - set->table].rank == FM_RANK_ENV)
        fm_env_name(fm_env_value(environ, o->name) ? o->name : fm_option_other(o->name), where, sizeof where);
    else
        fm_flag_name(o->name, where, sizeof where);
    return fm_cli_api_url_good(command, where, *(char **)((char *)set->base + o->offset));
}

bool fm_cli_topic_good(const struct fm_command *command, const char *topic)
{
    size_t n = strlen(topic);
    if (n > FM_TOPIC_MAX) {
        fm_cli_complain(command, "a topic has at most %d bytes, this one has %zu", FM_TOPIC_MAX, n);
        return false;
    }
    if (n && topic[n - 1] == '*') {
        char quote[2 * FM_TOPIC_MAX + 3], prefix[2 * FM_TOPIC_MAX + 3];
        fm_cli_complain(command, "takes one topic, and %s is a pattern of several; `fanmesh topics%s%s` lists them",
                        fm_diag_quote(quote, sizeof quote, topic, n), n > 1 ? " --prefix " : "",
                        n > 1 ? fm_diag_quote(prefix, sizeof prefix, topic, n - 1) : "");
        return false;
    }
    return true;
}

bool fm_cli_connection_good(const struct fm_command *command, const char *connection)
{
    struct fm_id id;
    char quote[128];
    if (!*connection || (fm_id_parse(connection, strlen(connection), &id) == FM_OK && id.origin && id.seq))
        return true;
    fm_cli_complain(command, "--connection takes the name of one, as `fanmesh connections` lists it (k3fa9Qz-64, say), not %s",
                    fm_diag_quote(quote, sizeof quote, connection, strlen(connection)));
    return false;
}

enum fm_exit fm_cli_run(const struct fm_command *command, int argc, char *const *argv, void *base, size_t words, fm_work_fn *work)
{
    struct fm_report report = {0};
    struct fm_from from[OPTIONS_MAX];
    struct fm_option_set set = {command->options, command->options_n, base, from, NULL, &report};
    struct fm_args args;
    bool go;
    assert(command->options_n <= OPTIONS_MAX);
    enum fm_exit code = fm_cli_options(command, &set, &args, argc, argv, &go);
    if (go && ((words != FM_ANY_WORDS && !fm_cli_positionals(command, &args, words)) || !api_url_good(command, &set)))
        code = FM_EXIT_USAGE;
    else if (go)
        code = work(command, &set, &args);
    fm_options_fini(command->options, command->options_n, base);
    fm_args_fini(&args);
    fm_report_fini(&report);
    return code;
}

/* ---- main ---- */

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

enum fm_exit fm_cli_main(int argc, char *const *argv)
{
    if (argc < 2) {
        struct fm_buf out = {0};
        overview(&out);
        fwrite(out.p, 1, out.n, stderr);
        fm_buf_fini(&out);
        return FM_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (is_help(word))
        return print_help(NULL);
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 || strcmp(word, "-v") == 0)
        word = "version";
    char two[2 * NAME_SHOWN_MAX];
    snprintf(two, sizeof two, "%.*s %.*s", NAME_SHOWN_MAX - 1, word, NAME_SHOWN_MAX - 1, argc > 2 ? argv[2] : "");
    const struct fm_command *c = command_find(word), *longer = command_find(two);
    if (longer)
        return longer->run(longer, argc - 3, argv + 3);
    if (c)
        return c->run(c, argc - 2, argv + 2);
    if (argc > 2 && group_next(word, NULL))
        return is_help(argv[2]) ? print_group(word) : unknown_command(two);
    return unknown_command(word);
}

int fm_main(int argc, char *const *argv)
{
    return (int)fm_cli_main(argc, argv);
}
