#include "load_options.h"

#include <stdio.h>
#include <unistd.h>

const struct fm_option fm_load_options[] = {
#define X(...) FM_OPTION_ROW(fm_load_options, __VA_ARGS__)
    FM_LOAD_OPTIONS(X)
#undef X
};

static void help_print(void)
{
    struct fm_buf out = {0};
    fm_buf_str(&out, "usage: fanmesh-load [OPTION...]\n\n");
    fm_text_wrap(
        &out, 0,
        "Connects many WebSocket clients to nodes, publishes, and checks every message at every client. Prints deliveries a second, "
        "latencies, and what the nodes spent.");
    fm_options_help(&out, fm_load_options, FM_LOAD_OPTIONS_N);
    fm_buf_str(&out,
               "\nExit codes: 0 everything arrived, once, in order; 1 something was lost in silence, doubled, out of order or wrong;\n"
               "2 the test could not be carried out; 3 something was lost and its subscribers were told, or (--gone-file) it died with its "
               "node.\n");
    if (!out.failed)
        fwrite(out.p, 1, out.n, stdout);
    fm_buf_fini(&out);
}

/* What one row can't say. */
static void check(const struct fm_load_options *o, struct fm_report *report)
{
    uint64_t least = o->api.n ? o->topics : o->topics * o->nodes.n; /* pushes need a client of each topic on each node */
    if (o->connections < least)
        fm_report_error(report, "--connections", "%llu clients don't reach every topic%s: give at least %llu",
                        (unsigned long long)o->connections, o->api.n ? "" : " on every node", (unsigned long long)least);
    if (o->ack && !o->api.n)
        fm_report_error(report, "--ack", "pushes have no replicated ack; give --api");
    if (o->keyed_percent && !o->api.n)
        fm_report_error(report, "--keyed-percent", "pushes have no idempotency key; give --api");
    if (o->keyed_percent && o->plain)
        fm_report_error(report, "--keyed-percent", "two copies can only be told apart by their ids, which --plain does without");
    if (o->rate && !o->messages && !o->duration_ms)
        fm_report_error(report, "--rate", "give --messages or --duration-ms, or it never ends");
}

enum fm_load_exit fm_load_options_read(struct fm_load_options *o, int argc, char *const *argv, bool *go)
{
    struct fm_report report = {0};
    struct fm_from from[FM_LOAD_OPTIONS_N] = {0};
    struct fm_option_set set = {fm_load_options, FM_LOAD_OPTIONS_N, o, from, NULL, &report};
    struct fm_args args = {0};
    enum fm_load_exit result = FM_LOAD_UNUSABLE;
    *go = false;
    if (!fm_options_init(&set))
        return FM_LOAD_UNUSABLE;
    bool read = fm_args_read(&args, &set, argc, argv);
    if (read && args.help) {
        help_print();
        result = FM_LOAD_OK;
    } else if (read && args.positionals) {
        fm_report_error(&report, args.positional[0], "not an option; see --help");
    } else if (read) {
        const char *key = fm_env_value(environ, "api_key");
        if (key && *key)
            fm_option_set(&set, fm_option_find(fm_load_options, FM_LOAD_OPTIONS_N, "api_key"), (struct fm_from){.rank = FM_RANK_ENV},
                          "FANMESH_API_KEY", key);
        fm_args_apply(&args, &set);
        check(o, &report);
        *go = report.n_errors == 0;
    }
    fm_args_fini(&args);
    if (report.errors.n)
        fprintf(stderr, "%.*s", (int)report.errors.n, (const char *)report.errors.p);
    fm_report_fini(&report);
    return *go ? FM_LOAD_OK : result;
}
