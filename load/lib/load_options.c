#include "load_options.h"
#include "framing.h"
#include "program.h"

#include <unistd.h>

const struct fm_option fm_load_options[] = {
#define X(...) FM_OPTION_ROW(fm_load_options, __VA_ARGS__)
    FM_LOAD_OPTIONS(X)
#undef X
};

struct preset {
    const char *option, *value;
};

static const struct preset fan_out[] = {{"connections", "1000"}, {"messages", "1000"}, {"window", "8"}, {"warmup", "50"}, {NULL, NULL}};
static const struct preset chat[] = {{"rooms", "100"},  {"members", "10"},      {"every_ms", "1s"},
                                     {"messages", "0"}, {"duration_ms", "10s"}, {NULL, NULL}};
static const struct preset latency[] = {{"connections", "1000"}, {"topics", "10"},       {"rate", "500"}, {"messages", "0"},
                                        {"warmup", "250"},       {"duration_ms", "10s"}, {NULL, NULL}};
static const struct preset storm[] = {
    {"connections", "200"},        {"rate", "200"},    {"messages", "0"}, {"warmup", "100"}, {"storm", "reconnect"},
    {"storm_connections", "2000"}, {"quiet_ms", "3s"}, {NULL, NULL}};
static const struct preset mixed[] = {{"connections", "1000"},
                                      {"topics", "50"},
                                      {"topics_per_connection", "5"},
                                      {"rate", "300"},
                                      {"messages", "0"},
                                      {"warmup", "150"},
                                      {"storm", "reconnect"},
                                      {"storm_connections", "300"},
                                      {"storm_rate", "100"},
                                      {"storm_rounds", "3"},
                                      {"quiet_ms", "3s"},
                                      {NULL, NULL}};
static const struct preset *const scenarios[] = {NULL, fan_out, chat, latency, storm, mixed}; /* by the option's word */

/* Ranks below the command line, so it is asked first which scenario that names. */
static void scenario_apply(struct fm_option_set *set, const struct fm_args *args)
{
    const char *name = fm_args_value(args, "scenario");
    struct fm_load_options *o = set->base;
    const struct fm_from from = {.rank = FM_RANK_DERIVED};
    if (name)
        fm_option_set(set, fm_option_find(fm_load_options, FM_LOAD_OPTIONS_N, "scenario"), from, "--scenario", name);
    for (const struct preset *p = scenarios[o->scenario]; p && p->option; p++)
        fm_option_set(set, fm_option_find(fm_load_options, FM_LOAD_OPTIONS_N, p->option), from, "--scenario", p->value);
}

/* A topic in its URL means that an API is given payloads alone. */
static bool api_bare(const struct fm_load_options *o)
{
    bool any = false;
    for (size_t i = 0; i < o->api.n; i++)
        any |= strstr(o->api.at[i], FM_TOPIC_MARK) != NULL;
    return any;
}

/* Who publishes how. */
static void check_publishing(const struct fm_load_options *o, struct fm_report *report)
{
    if (o->ack && (!o->api.n || api_bare(o)))
        fm_report_error(report, "--ack", "only fanmesh's API has a replicated ack; give --api");
    if (o->keyed_percent && (!o->api.n || api_bare(o)))
        fm_report_error(report, "--keyed-percent", "only fanmesh's API has an idempotency key; give --api");
    if (o->keyed_percent && (o->plain || fm_framings[o->framing] != &fm_framing_phoenix))
        fm_report_error(report, "--keyed-percent", "two copies can only be told apart by their ids, which only cursor channels have");
    if (!o->api.n && !fm_framings[o->framing]->pushes && (o->messages || o->duration_ms))
        fm_report_error(report, "--framing", "clients of %s only listen: publish with --api", fm_framings[o->framing]->name);
    if (fm_framings[o->framing] != &fm_framing_websocket && ((o->join_text && *o->join_text) || (o->push_text && *o->push_text)))
        fm_report_error(report, "--framing", "%s has texts of its own: --join-text and --push-text are for websocket",
                        fm_framings[o->framing]->name);
    if (o->plain && fm_framings[o->framing] != &fm_framing_phoenix)
        fm_report_error(report, "--plain", "only phoenix has cursors to do without");
    if (o->rooms && o->api.n)
        fm_report_error(report, "--rooms", "its members push what they say: leave out --api");
    if (o->publish_to.n && (o->api.n || o->rooms || fm_framings[o->framing]->answers_pushes || !fm_framings[o->framing]->pushes))
        fm_report_error(report, "--publish-to", "goes with the framings websocket, socketio, nats and mqtt, and not with --api or --rooms");
    if ((o->rate || o->rooms) && !o->messages && !o->duration_ms && !o->storm)
        fm_report_error(report, o->rooms ? "--rooms" : "--rate", "give --messages or --duration-ms, or it never ends");
}

/* What one row can't say. */
static void check(const struct fm_load_options *o, struct fm_report *report)
{
    bool pushes = !o->api.n && !o->rooms && !o->publish_to.n;
    uint64_t seats = o->connections * o->topics_per_connection / (pushes ? o->processes : 1); /* the first process pushes */
    uint64_t least = pushes ? o->topics * o->nodes.n : o->topics; /* pushes need a client of each topic on each node */
    if (o->topics_per_connection > o->topics)
        fm_report_error(report, "--topics-per-connection", "there are only %llu topics", (unsigned long long)o->topics);
    else if (seats < least)
        fm_report_error(
            report, "--connections", "%llu clients don't reach every topic%s: give at least %llu", (unsigned long long)o->connections,
            least == o->topics ? "" : " on every node",
            (unsigned long long)((least + o->topics_per_connection - 1) / o->topics_per_connection * (pushes ? o->processes : 1)));
    if (o->connections > 1000000)
        fm_report_error(report, "--rooms", "%llu clients are more than a million", (unsigned long long)o->connections);
    if (o->processes > (o->rooms ? o->rooms : o->connections))
        fm_report_error(report, "--processes", "there are fewer %s than processes", o->rooms ? "rooms" : "clients");
    if (o->processes > 1 && (o->keyed_percent || (o->gone_file && *o->gone_file)))
        fm_report_error(report, "--processes",
                        "what --keyed-percent and --gone-file check is known to one process only: give --processes 1");
    if (o->storm && !o->rate && !o->rooms)
        fm_report_error(report, "--storm", "latencies in quiet and in the storm are compared at a rate: give --rate");
    check_publishing(o, report);
}

static void apply(struct fm_option_set *set, const struct fm_args *args)
{
    struct fm_load_options *o = set->base;
    const char *key = fm_env_value(environ, "api_key");
    if (key && *key)
        fm_option_set(set, fm_option_find(fm_load_options, FM_LOAD_OPTIONS_N, "api_key"), (struct fm_from){.rank = FM_RANK_ENV},
                      "FANMESH_API_KEY", key);
    scenario_apply(set, args);
    if (set->report->n_errors == 0)
        fm_args_apply(args, set);
    if (o->rooms) {
        o->topics = o->rooms;
        o->connections = o->rooms * o->members;
    }
    check(o, set->report);
}

static const struct fm_program program = {
    .name = "fanmesh-load",
    .about = "Connects many clients to nodes, publishes, and checks every message at every client. Prints deliveries a second, latencies, "
             "and what the nodes spent.",
    .exits = "\nExit codes: 0 everything arrived, once, in order; 1 something was lost in silence, doubled, out of order or wrong;\n"
             "2 the test could not be carried out; 3 something was lost and its subscribers were told, or (--gone-file) it died with its "
             "node.\n",
    .table = fm_load_options,
    .table_n = FM_LOAD_OPTIONS_N,
    .apply = apply,
};

enum fm_load_exit fm_load_options_read(struct fm_load_options *o, int argc, char *const *argv, bool *go)
{
    return fm_program_read(&program, o, argc, argv, go) ? FM_LOAD_UNUSABLE : FM_LOAD_OK;
}
