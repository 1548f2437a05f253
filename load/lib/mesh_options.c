#include "mesh_options.h"

#include <stdio.h>

static const struct fm_option table[] = {
#define X(...) FM_OPTION_ROW(fm_mesh_options, __VA_ARGS__)
    FM_MESH_OPTIONS(X)
#undef X
};

enum { TABLE_N = sizeof table / sizeof table[0] };

static void help_print(void)
{
    struct fm_buf out = {0};
    fm_buf_str(&out, "usage: mesh-bench [OPTION...]\n\n");
    fm_text_wrap(&out, 0,
                 "Joins hubs by the real mesh on loopback, publishes on one, and checks every message at the others. Prints messages a "
                 "second, what a message costs each node, and how long a hop takes.");
    fm_options_help(&out, table, TABLE_N);
    fm_buf_str(&out, "\nExit codes: 0 everything arrived, once, in order; 1 it did not; 2 the run could not be carried out.\n");
    if (!out.failed)
        fwrite(out.p, 1, out.n, stdout);
    fm_buf_fini(&out);
}

int fm_mesh_options_read(struct fm_mesh_options *o, int argc, char *const *argv, bool *go)
{
    struct fm_report report = {0};
    struct fm_from from[TABLE_N] = {0};
    struct fm_option_set set = {table, TABLE_N, o, from, NULL, &report};
    struct fm_args args = {0};
    int result = 2;
    *go = false;
    if (!fm_options_init(&set))
        return result;
    bool read = fm_args_read(&args, &set, argc, argv);
    if (read && args.help) {
        help_print();
        result = 0;
    } else if (read && args.positionals) {
        fm_report_error(&report, args.positional[0], "not an option; see --help");
    } else if (read) {
        fm_args_apply(&args, &set);
        if (o->silent >= o->nodes)
            fm_report_error(&report, "--silent", "there are %llu other nodes only", (unsigned long long)o->nodes - 1);
        *go = report.n_errors == 0;
    }
    fm_args_fini(&args);
    if (report.errors.n)
        fprintf(stderr, "%.*s", (int)report.errors.n, (const char *)report.errors.p);
    fm_report_fini(&report);
    return *go ? 0 : result;
}
