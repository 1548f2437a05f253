/* Where options come from besides the settings file: the command line, the environment, and files that hold one secret. */
#include "option.h"

#include "../../broker/diag.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { SECRET_FILE_MAX = 8192 /* a token has so many at most */, NAME_MAX_SHOWN = 64 };

static const char env_prefix[] = "FANMESH_";

/* ---- command line ---- */

static bool args_add(struct fm_args *args, const struct fm_option *o, const char *value)
{
    struct fm_given *given = realloc(args->given, (args->n + 1) * sizeof *given);
    if (!given)
        return false;
    args->given = given;
    given[args->n++] = (struct fm_given){o, value};
    return true;
}

/* Reads the option at argv[*i], and its value if that is a word of its own. */
static bool args_option(struct fm_args *args, const struct fm_option_set *set, int argc, char *const *argv, int *i)
{
    const char *word = argv[*i], *name = word + 2, *eq = strchr(name, '=');
    char key[NAME_MAX_SHOWN], quote[2 * NAME_MAX_SHOWN];
    snprintf(key, sizeof key, "%.*s", (int)(eq ? eq - name : (ptrdiff_t)strlen(name)), name);
    const struct fm_option *o = word[1] == '-' ? fm_option_find(set->table, set->n, key) : NULL;
    if (!o) {
        const char *near = word[1] == '-' ? fm_option_nearest(set, key, true) : "";
        fm_report_error(set->report, NULL, "unknown option %s%s",
                        fm_diag_quote(quote, sizeof quote, word, eq ? (size_t)(eq - word) : strlen(word)),
                        *near ? near : "; --help lists all");
        return false;
    }
    const char *value = eq ? eq + 1 : NULL;
    if (!value && o->type == FM_OPTION_FLAG)
        value = "true";
    if (!value && *i + 1 < argc)
        value = argv[++*i];
    if (!value) {
        fm_flag_name(o->name, key, sizeof key);
        fm_report_error(set->report, NULL, "%s needs a value", key);
        return false;
    }
    if (!args_add(args, o, value)) {
        fm_report_error(set->report, NULL, "out of memory");
        return false;
    }
    return true;
}

void fm_flag_name(const char *option, char *out, size_t out_size)
{
    snprintf(out, out_size, "--%s", option);
    for (char *p = out; *p; p++)
        if (*p == '_')
            *p = '-';
}

bool fm_args_read(struct fm_args *args, const struct fm_option_set *set, int argc, char *const *argv)
{
    bool options = true;
    *args = (struct fm_args){0};
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (options && strcmp(word, "--") == 0) {
            options = false;
        } else if (options && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            args->help = true;
        } else if (options && word[0] == '-' && word[1] && !isdigit((unsigned char)word[1])) {
            if (!args_option(args, set, argc, argv, &i))
                return false;
        } else if (args->positionals == FM_POSITIONAL_MAX) {
            fm_report_error(set->report, NULL, "too many arguments");
            return false;
        } else {
            args->positional[args->positionals++] = word;
        }
    }
    return true;
}

void fm_args_fini(struct fm_args *args)
{
    free(args->given);
    *args = (struct fm_args){0};
}

const char *fm_args_value(const struct fm_args *args, const char *name)
{
    for (size_t i = args->n; i > 0; i--)
        if (strcmp(args->given[i - 1].option->name, name) == 0)
            return args->given[i - 1].value;
    return NULL;
}

void fm_args_apply(const struct fm_args *args, struct fm_option_set *set)
{
    for (size_t i = 0; i < args->n; i++) {
        const struct fm_option *o = args->given[i].option;
        char where[NAME_MAX_SHOWN];
        fm_flag_name(o->name, where, sizeof where);
        if (o->type == FM_OPTION_SECRET)
            fm_report_warning(set->report, where, "every user of this machine can see the command line; use %s-file or the environment",
                              where);
        fm_option_set(set, o, (struct fm_from){.rank = FM_RANK_ARGS}, where, args->given[i].value);
    }
}

/* ---- environment ---- */

void fm_env_name(const char *option, char *out, size_t out_size)
{
    snprintf(out, out_size, "%s%s", env_prefix, option);
    for (char *p = out; *p; p++)
        *p = (char)toupper((unsigned char)*p);
}

static const char *env_find(char *const *env, const char *name)
{
    size_t n = strlen(name);
    for (; env && *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return *env + n + 1;
    return NULL;
}

const char *fm_env_value(char *const *env, const char *option)
{
    char name[NAME_MAX_SHOWN];
    fm_env_name(option, name, sizeof name);
    const char *value = env_find(env, name);
    return value && *value ? value : NULL;
}

void fm_env_apply(struct fm_option_set *set, char *const *env)
{
    for (size_t i = 0; i < set->n; i++) {
        char where[NAME_MAX_SHOWN];
        const char *name = set->table[i].name, *other = fm_option_other(name);
        if (other && !fm_env_value(env, name) && fm_env_value(env, other))
            name = other;
        const char *value = fm_env_value(env, name);
        fm_env_name(name, where, sizeof where);
        if (value)
            fm_option_set(set, &set->table[i], (struct fm_from){.rank = FM_RANK_ENV}, where, value);
        else if (env_find(env, where))
            fm_report_warning(set->report, NULL, "%s is empty, which counts as unset", where);
    }
}

/* ---- secrets ---- */

/* What the file holds. NULL: *why says the reason. */
static char *secret_read(const char *path, const char **why, bool *open_to_all)
{
    char *text = NULL;
    struct stat st;
    *open_to_all = false;
    FILE *f = fopen(path, "re");
    if (!f) {
        *why = strerror(errno);
        return NULL;
    }
    *why = "it is not a file";
    if (fstat(fileno(f), &st) != 0 || S_ISDIR(st.st_mode))
        goto done;
    *open_to_all = S_ISREG(st.st_mode) && (st.st_mode & S_IROTH);
    text = calloc(1, SECRET_FILE_MAX + 1);
    *why = "out of memory";
    if (!text)
        goto done;
    size_t n = fread(text, 1, SECRET_FILE_MAX + 1, f);
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    *why = n == 0 ? "it is empty" : n > SECRET_FILE_MAX ? "it is too large to be one secret" : memchr(text, 0, n) ? "it is binary" : NULL;
    if (*why) {
        explicit_bzero(text, SECRET_FILE_MAX + 1);
        free(text);
        text = NULL;
        goto done;
    }
    text[n] = 0;
done:
    fclose(f);
    return text;
}

void fm_option_secret_file(struct fm_option_set *set, const char *option, const char *file_option, bool lines)
{
    const struct fm_option *o = fm_option_find(set->table, set->n, option);
    const struct fm_option *file = fm_option_find(set->table, set->n, file_option);
    const char *path = *(char **)((char *)set->base + file->offset);
    const char *why = NULL;
    char quote[256];
    if (!*path)
        return;
    enum fm_rank rank = set->from[o - set->table].rank, file_rank = set->from[file - set->table].rank;
    bool both = **(char **)((char *)set->base + o->offset) != 0;
    if (both && rank > file_rank)
        return; /* as with any option: the command line before the environment before the file */
    if (both && rank == file_rank) {
        fm_report_error(set->report, NULL, "%s and %s are both set; give one of the two", option, file_option);
        return;
    }
    bool open_to_all;
    char *text = secret_read(path, &why, &open_to_all);
    if (!text) {
        fm_report_error(set->report, file_option, "can't read %s: %s", fm_diag_quote(quote, sizeof quote, path, strlen(path)), why);
        return;
    }
    for (char *p = text; lines && *p; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    if (open_to_all)
        fm_report_warning(set->report, file_option, "every user of this machine can read %s; take that from them: chmod o-r",
                          fm_diag_quote(quote, sizeof quote, path, strlen(path)));
    fm_option_set(set, o, set->from[file - set->table], file_option, text);
    explicit_bzero(text, strlen(text));
    free(text);
}
