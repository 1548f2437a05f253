#include "program.h"

#include <assert.h>
#include <stdio.h>

static void help_print(const struct fm_program *program)
{
    struct fm_buf out = {0};
    fm_buf_str(&out, "usage: ");
    fm_buf_str(&out, program->name);
    fm_buf_str(&out, " [OPTION...]\n\n");
    fm_text_wrap(&out, 0, program->about);
    fm_options_help(&out, program->table, program->table_n);
    fm_buf_str(&out, program->exits);
    if (!out.failed)
        fwrite(out.p, 1, out.n, stdout);
    fm_buf_fini(&out);
}

int fm_program_read(const struct fm_program *program, void *options, int argc, char *const *argv, bool *go)
{
    assert(program->table_n <= FM_PROGRAM_OPTIONS_MAX);
    struct fm_report report = {0};
    struct fm_from from[FM_PROGRAM_OPTIONS_MAX] = {0};
    struct fm_option_set set = {program->table, program->table_n, options, from, NULL, &report};
    struct fm_args args = {0};
    int result = 2;
    *go = false;
    if (!fm_options_init(&set))
        return result;
    bool read = fm_args_read(&args, &set, argc, argv);
    if (read && args.help) {
        help_print(program);
        result = 0;
    } else if (read && args.positionals) {
        fm_report_error(&report, args.positional[0], "not an option; see --help");
    } else if (read) {
        program->apply(&set, &args);
        *go = report.n_errors == 0;
    }
    fm_args_fini(&args);
    if (report.errors.n)
        fprintf(stderr, "%.*s", (int)report.errors.n, (const char *)report.errors.p);
    fm_report_fini(&report);
    return *go ? 0 : result;
}
