/* How a program of this folder reads its command line: a table of options and what the table can't say. */
#pragma once

#include "../../gateway/settings/option.h"

enum { FM_PROGRAM_OPTIONS_MAX = 128 };

struct fm_program {
    const char *name, *about, *exits; /* for --help: what it is, in sentences; its exit codes */
    const struct fm_option *table;
    unsigned table_n; /* at most FM_PROGRAM_OPTIONS_MAX */
    /* Takes over what the command line says, by fm_args_apply, and checks it; errors go to set->report. */
    void (*apply)(struct fm_option_set *set, const struct fm_args *args);
};

/* Fills `options`, which the table describes. *go is false where the program is to end with the result: 0 after --help, 2 after errors,
 * which are printed. */
FM_MUST_CHECK int fm_program_read(const struct fm_program *program, void *options, int argc, char *const *argv, bool *go);
