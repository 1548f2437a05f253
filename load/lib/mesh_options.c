#include "mesh_options.h"
#include "program.h"

static const struct fm_option table[] = {
#define X(...) FM_OPTION_ROW(fm_mesh_options, __VA_ARGS__)
    FM_MESH_OPTIONS(X)
#undef X
};

static void apply(struct fm_option_set *set, const struct fm_args *args)
{
    const struct fm_mesh_options *o = set->base;
    fm_args_apply(args, set);
    if (o->silent >= o->nodes)
        fm_report_error(set->report, "--silent", "there are %llu other nodes only", (unsigned long long)o->nodes - 1);
}

static const struct fm_program program = {
    .name = "mesh-bench",
    .about = "Joins hubs by the real mesh on loopback, publishes on one, and checks every message at the others. Prints messages a second, "
             "what a message costs each node, and how long a hop takes.",
    .exits = "\nExit codes: 0 everything arrived, once, in order; 1 it did not; 2 the run could not be carried out.\n",
    .table = table,
    .table_n = sizeof table / sizeof table[0],
    .apply = apply,
};

int fm_mesh_options_read(struct fm_mesh_options *o, int argc, char *const *argv, bool *go)
{
    return fm_program_read(&program, o, argc, argv, go);
}
