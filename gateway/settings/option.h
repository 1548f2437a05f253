/* The machine behind every list of options: those of a node (options.h), of a topic rule, and of the client commands. One row of a table
 * says an option's name, type, range, default and meaning; parsing, printing, `--help`, docs/settings.md and the hint at the nearest name
 * are made from it, so none of them can disagree.
 *
 * A table describes the fields of a struct, its base. Values come from sources of rising rank: default < file < environment < command
 * line. A source of higher rank replaces what a lower one set; within one source a list grows with every mention.
 * Every problem becomes one line in a report: where, what, and what to do. Values of secrets never appear there.
 *
 * -- the thread that starts the program (main) -- */
#pragma once

#include "../../broker/bytes.h"

struct fm_list { /* owned strings; at is NULL-terminated, or NULL if n is 0 */
    char **at;
    size_t n;
};

/* How the values of a type are written, and the field that holds one. Words are stored as their index in the list. */
#define FM_OPTION_TYPES(X) \
    X(COUNT, uint64_t, "N", NULL) \
    X(MS, uint64_t, "MS", NULL) \
    X(AGE, uint64_t, "AGE", NULL) \
    X(BYTES, uint64_t, "BYTES", NULL) \
    X(TEXT, char *, "TEXT", NULL) \
    X(PATH, char *, "PATH", NULL) \
    X(SECRET, char *, "SECRET", NULL) \
    X(ADDRESS, char *, "HOST:PORT", NULL) \
    X(LISTENER, char *, "HOST:PORT|none", NULL) \
    X(LIST, struct fm_list, "A,B,...", NULL) \
    X(ADDRESSES, struct fm_list, "HOST:PORT,...", NULL) \
    X(NETWORKS, struct fm_list, "ADDRESS/BITS,...", NULL) \
    X(FLAG, bool, "true|false", NULL) \
    X(LEVEL, unsigned, "debug|info|warn|error", "debug|info|warn|error") \
    X(LOG_FORMAT, unsigned, "logfmt|json", "logfmt|json") \
    X(ACK, unsigned, "local|replicated", "local|replicated") \
    X(ACKS, unsigned, "local|replicated|mixed", "local|replicated|mixed") \
    X(WHO, unsigned, "nobody|anyone|token|hook", "nobody|anyone|token|hook") \
    X(CONNECT, unsigned, "anyone|token", "anyone|token") \
    X(PUSH_TO, unsigned, "all|others", "all|others") \
    X(SLOW, unsigned, "disconnect|drop|conflate", "disconnect|drop|conflate") \
    X(HOOK_FAILED, unsigned, "refuse|allow", "refuse|allow") \
    X(SCENARIO, unsigned, "none|fan-out|chat|latency|storm|mixed", "none|fan-out|chat|latency|storm|mixed") \
    X(STORM, unsigned, "none|connect|disconnect|reconnect", "none|connect|disconnect|reconnect") \
    X(FRAMING, unsigned, "phoenix|websocket|sse|socketio|nats|mqtt", "phoenix|websocket|sse|socketio|nats|mqtt")

enum fm_option_type {
#define X(name, ctype, form, words) FM_OPTION_##name,
    FM_OPTION_TYPES(X)
#undef X
        FM_OPTION_TYPES_N
};

/* The C type of a field, by the type column of a table. */
#define FM_FIELD_COUNT uint64_t
#define FM_FIELD_MS uint64_t
#define FM_FIELD_AGE uint64_t
#define FM_FIELD_BYTES uint64_t
#define FM_FIELD_TEXT char *
#define FM_FIELD_PATH char *
#define FM_FIELD_SECRET char *
#define FM_FIELD_ADDRESS char *
#define FM_FIELD_LISTENER char *
#define FM_FIELD_LIST struct fm_list
#define FM_FIELD_ADDRESSES struct fm_list
#define FM_FIELD_NETWORKS struct fm_list
#define FM_FIELD_FLAG bool
#define FM_FIELD_LEVEL unsigned
#define FM_FIELD_LOG_FORMAT unsigned
#define FM_FIELD_ACK unsigned
#define FM_FIELD_ACKS unsigned
#define FM_FIELD_WHO unsigned
#define FM_FIELD_CONNECT unsigned
#define FM_FIELD_PUSH_TO unsigned
#define FM_FIELD_SLOW unsigned
#define FM_FIELD_HOOK_FAILED unsigned
#define FM_FIELD_SCENARIO unsigned
#define FM_FIELD_STORM unsigned
#define FM_FIELD_FRAMING unsigned

struct fm_option {
    const char *group; /* heading that it stands under */
    const char *name;
    enum fm_option_type type;
    uint64_t min, max; /* numbers: the value; texts: the length in bytes; lists: the entries */
    const char *def;   /* as it would be written */
    const char *help;  /* one or two sentences */
    size_t offset;     /* of its field in the base */
};

/* A row of a table of struct `base`, from an X-macro row (group, type, name, min, max, default, help). */
#define FM_OPTION_ROW(base, group, type, name, min, max, def, help) \
    {group, #name, FM_OPTION_##type, min, max, def, help, offsetof(struct base, name)},

enum fm_rank { FM_RANK_DEFAULT, FM_RANK_DERIVED, FM_RANK_FILE, FM_RANK_ENV, FM_RANK_ARGS };

struct fm_from { /* where a value came from */
    enum fm_rank rank;
    unsigned line; /* FILE */
    bool bad;      /* what was given since could not be taken */
};

struct fm_report { /* zero is empty; one line a problem */
    struct fm_buf errors, warnings;
    unsigned n_errors;
};

void fm_report_fini(struct fm_report *r);
/* Appends "where: sentence". where may be NULL. */
void fm_report_error(struct fm_report *r, const char *where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void fm_report_warning(struct fm_report *r, const char *where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

struct fm_option_set { /* a table bound to a base */
    const struct fm_option *table;
    size_t n;
    void *base;
    struct fm_from *from; /* n of them */
    const char *file;     /* path that FILE lines refer to, for messages */
    struct fm_report *report;
};

/* Every field at its default. The base must be zeroed. False without memory. */
FM_MUST_CHECK bool fm_options_init(struct fm_option_set *set);
/* Frees what the fields own. */
void fm_options_fini(const struct fm_option *table, size_t n, void *base);

/* NULL: no such option. `-` counts as `_`. An option that is called otherwise, too (--url), is found by that as well. */
const struct fm_option *fm_option_find(const struct fm_option *table, size_t n, const char *name);
/* The other name by which an option may stand in the environment; NULL: it has none. */
const char *fm_option_other(const char *option);
/* Sets one option from text; problems go to the report under `where`. A value of a lower rank than what is there is ignored. */
void fm_option_set(struct fm_option_set *set, const struct fm_option *o, struct fm_from from, const char *where, const char *text);
const struct fm_from *fm_option_from(const struct fm_option_set *set, const char *name);
/* The field in the form that fm_option_set reads; a secret as `set` or `unset`. */
void fm_option_print(struct fm_buf *out, const struct fm_option *o, const void *base);
/* Of an option that may be `none`: is something else given? */
static inline bool fm_option_given(const char *text)
{
    return *text && strcmp(text, "none") != 0;
}
/* The sentence part "the nearest is `x`", or "" if nothing is near. Valid until the next call on this thread. */
const char *fm_nearest(const char *word, const char *const *words, size_t n);
/* The same for options; flag: as it is written on the command line. */
const char *fm_option_nearest(const struct fm_option_set *set, const char *name, bool flag);

/* ---- command line and environment ---- */

enum { FM_POSITIONAL_MAX = 8 };

struct fm_args { /* what a command line holds, not yet applied: the file has to be read first */
    struct fm_given {
        const struct fm_option *option;
        const char *value;
    } * given;
    size_t n;
    bool help;
    const char *positional[FM_POSITIONAL_MAX];
    size_t positionals;
};

/* Reads `--name value`, `--name=value`, `--flag`, `--help`, `--` and positionals. False: the report says why. The strings are borrowed. */
FM_MUST_CHECK bool fm_args_read(struct fm_args *args, const struct fm_option_set *set, int argc, char *const *argv);
void fm_args_apply(const struct fm_args *args, struct fm_option_set *set);
void fm_args_fini(struct fm_args *args);
/* The last value that the command line gives for an option, or NULL. */
const char *fm_args_value(const struct fm_args *args, const char *name);

/* Applies FANMESH_<NAME>. An empty variable counts as unset. env is NULL-terminated, as environ. */
void fm_env_apply(struct fm_option_set *set, char *const *env);
/* --idle-ms for idle_ms: on the command line an option is written with `-`, and found with either. */
void fm_flag_name(const char *option, char *out, size_t out_size);
/* FANMESH_IDLE_MS for idle_ms. */
void fm_env_name(const char *option, char *out, size_t out_size);
/* The value of an option's variable, or NULL. */
const char *fm_env_value(char *const *env, const char *option);

/* Takes a secret from the file that option `file_option` names into the option `option` (NAME and NAME_file). Of both the one from the
 * higher source counts; both from one source is an error.
 * lines: the file may have several, which become words. */
void fm_option_secret_file(struct fm_option_set *set, const char *option, const char *file_option, bool lines);

/* ---- for people ---- */

/* Text in lines of at most 100 columns, broken at spaces. */
void fm_text_wrap(struct fm_buf *out, size_t indent, const char *text);

/* Options of a table as `--help` shows them. */
void fm_options_help(struct fm_buf *out, const struct fm_option *table, size_t n);
/* The same as Markdown tables, one a group. env: with the column of variables. */
void fm_options_markdown(struct fm_buf *out, const struct fm_option *table, size_t n);

/* ---- addresses ---- */

enum { FM_HOST_MAX = 253 };

struct fm_address {
    char host[FM_HOST_MAX + 1]; /* without the brackets of an IPv6 address */
    uint16_t port;              /* never 0 */
};

/* "host:port" or "[v6]:port". FM_E_ADDRESS. No name is looked up. */
FM_MUST_CHECK enum fm_err fm_address_read(const char *text, struct fm_address *a);
bool fm_address_loopback(const struct fm_address *a);
/* Listens on every interface: 0.0.0.0 or :: */
bool fm_address_wildcard(const struct fm_address *a);
