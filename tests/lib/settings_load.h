/* Settings in tests: loaded from a file in memory, an environment and a command line, one after another or as a node does. */
#pragma once

#include "../../gateway/settings/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct settings_load {
    struct fm_settings s;
    struct fm_report report;
    struct fm_option_set set;
};

/* Begins with the defaults and a file `f.ini` of this text. */
void settings_file_load(struct settings_load *l, const char *text);
/* Lists end with NULL. */
void settings_env_load(struct settings_load *l, char *const *env);
void settings_args_load(struct settings_load *l, char *const *argv);
/* All of it, as `fanmesh serve` does. */
bool settings_whole_load(struct settings_load *l, char *const *argv, char *const *env);
void settings_load_end(struct settings_load *l);
/* What the report says, until the next call. */
const char *settings_load_errors(const struct settings_load *l);
/* A file with these bytes; the path is valid until the next call, the caller unlinks it. */
char *settings_temp_file(const char *bytes, size_t n);
