/* docs/metrics.md, made from the tables of counters and from the one below: what to watch, and what to do then. */
#include "metrics.h"

static const struct {
    const char *metric, *advice;
} watched[] = {
    /* clients */
    {"fanmesh_connections",
     "Near `connections_max`: new clients are refused. Falls at once: look at the balancer and at `fanmesh_accepted_total`."},
    {"fanmesh_accepted_total",
     "A rate far above normal is a storm of reconnects: what ended the clients' connections? `accepts_per_s` keeps it in bounds."},
    {"fanmesh_refused_total", "Alert on a rate: `connections_max` is reached, or a page's origin is missing in `origins`."},
    {"fanmesh_handshake_timeouts_total", "A rate is clients, or somebody, that connect and say nothing."},
    {"fanmesh_channels_forbidden_total", "Grows at a reload that closed topics (`rule_changed`, `rule_removed` in the log), and with "
                                         "tokens that grant less than the one before."},
    {"fanmesh_presences_forbidden_total",
     "Grows at a reload with a stricter `presence` (`rule_changed` in the log), and with tokens that lack "
     "a right of the one before."},
    {"fanmesh_tokens_refused_total", "A rate far above normal: keys were changed on one side only, a clock is wrong, or somebody guesses. "
                                     "The log says why (`token_refused`)."},
    {"fanmesh_tokens_expired_total",
     "A rate: clients don't send new tokens in time; they come back with one, which costs a connection each."},
    {"fanmesh_jwks_failures_total", "Alert on a rate: `token_jwks_url` does not answer; keys that are new there are unknown here."},
    {"fanmesh_tls_failed_total",
     "Alert on a rate near that of `fanmesh_tls_handshakes_total`: the certificate has run out, or clients don't trust it."},
    {"fanmesh_bad_messages_total", "A rate is a client that speaks another protocol or has a fault; it is told why."},
    {"fanmesh_idle_disconnects_total", "A rate is clients that send no heartbeats: is `idle_ms` longer than their pace?"},
    {"fanmesh_outbox_bytes", "Grows: clients take less than is sent. See [slow clients](guide.md#slow-clients)."},
    {"fanmesh_slow_disconnects_total",
     "Alert on a rate: clients are cut off for slowness and come back. Consider `slow = drop` or `conflate`, or a larger `outbox_bytes`."},
    {"fanmesh_slow_lagging", "Stays above 0: some clients never keep up."},
    {"fanmesh_slow_skipped_total", "What slow clients were not given; each is told by a gap."},
    {"fanmesh_inbox_overruns_total",
     "Alert on a rate: a worker is slower than what comes; add workers or nodes, or raise `worker_inbox_bytes`."},
    /* a program with the node inside */
    {"fanmesh_longpoll_lost_total", "A rate: something between clients and nodes sends polls a second time, or cuts answers off."},
    {"fanmesh_longpoll_unreached_total", "Grows when a node dies. A lasting rate: nodes don't reach each other's ask plane."},
    {"fanmesh_mesh_parcels_failed_total", "As `fanmesh_longpoll_unreached_total`."},
    {"fanmesh_handler_waiting", "Grows: the program's handlers, or the backend of hooks, take longer than questions need to come."},
    {"fanmesh_handler_timeouts_total",
     "Alert on a rate: clients are refused since there is no answer within `handler_timeout_ms` or `hook_timeout_ms`."},
    {"fanmesh_handler_overloads_total", "Alert on a rate: as above, and more than `handler_bytes` or `hook_queue` of questions wait."},
    {"fanmesh_program_refused_total", "Alert on any: messages of the program were not published, and it does not look at results."},
    /* hooks */
    {"fanmesh_hook_open", "Alert on 1: the backend is out of reach or fails. The log says how (`hook_down`)."},
    {"fanmesh_hook_failures_total", "Alert on a rate: as above, not often enough in a row for the breaker."},
    {"fanmesh_hook_bad_answers_total",
     "Alert on any: the backend answers what can't be understood. The log says what (`hook_answer_bad`)."},
    {"fanmesh_hook_untold", "Grows: the backend takes what it is told more slowly than it comes."},
    {"fanmesh_hook_dropped_total", "Alert on any: the backend was never told of some events. The log says why (`hook_dropped`)."},
    {"fanmesh_hook_seconds", "Its slow end is near `hook_timeout_ms`: clients wait as long."},
    /* publishing */
    {"fanmesh_not_replicated_total", "Alert on a rate: other nodes don't confirm within `ack_timeout_ms`. Look at `fanmesh status`."},
    {"fanmesh_keys_forgotten_total", "Alert on a rate: retries may be published twice. Raise `keys_bytes`, or lower `log_age`."},
    {"fanmesh_mesh_backlog_bytes", "Near `mesh_backlog`: another node is too slow. `BEHIND` in `fanmesh status` says which."},
    {"fanmesh_mesh_backlog_refused_total", "Alert on any: publishers get 503 `overloaded`."},
    /* losses */
    {"fanmesh_gaps_total",
     "Alert on any: messages are lost for good to some subscribers. The log says which (`gap_evicted`, `hole_given_up`)."},
    {"fanmesh_blinded_total", "Alert on any: all subscribers were told a gap. See `origins_unknown`, `origin_refused` in the log."},
    {"fanmesh_origin_tail_unknown_total", "Alert on any: a node died with messages that it alone had. `ack: replicated` rules that out."},
    {"fanmesh_joins_unrecovered_total",
     "A rate: clients are away for longer than histories reach. Raise `history_count`, `history_bytes`, `history_age`."},
    {"fanmesh_holes", "Alert if above 0 for longer than `gap_ms`: something is missing and is not being repaired."},
    /* mesh */
    {"fanmesh_peers", "Alert if below the number of other nodes."},
    {"fanmesh_mesh_isolated", "Alert on 1: this node reaches no other. Network, or `secret`."},
    {"fanmesh_ready", "Alert on 0 for minutes: the node does not get the cluster's state."},
    {"fanmesh_mesh_dropped_total",
     "A rate: queues of the mesh overflow and repair makes up for it. The network or a node is short of what is published."},
    {"fanmesh_hub_inbox_dropped_total", "A rate: this node is slower than the others send. It is repaired; give it more CPU."},
    {"fanmesh_mesh_window_waits_total", "A high rate: the others acknowledge late."},
    {"fanmesh_repaired_messages_total", "Some after a restart or a cut is normal; a lasting rate is a bad link."},
    {"fanmesh_mesh_envelopes_refused_total",
     "Alert on a rate: another `secret`, `cluster` or version. The log says from where (`envelope_refused`)."},
    {"fanmesh_mesh_links_refused_total", "As `fanmesh_mesh_envelopes_refused_total`."},
    {"fanmesh_mesh_dials_ended_total", "Grows steadily: compare `secret` and `cluster` of this node with the others'."},
    {"fanmesh_mesh_tls_refused_total",
     "Alert on a rate: a node's certificate has run out or is of another authority, or strangers knock. The log says who and why "
     "(`mesh_tls_refused`)."},
    {"fanmesh_origins", "Near 255: nodes are started again and again; is one in a crash loop?"},
    {"fanmesh_origins_forgotten_total", "Alert on any: a crash loop. Cursors become useless before `cursor_ttl`."},
    {"fanmesh_origins_refused_total", "Alert on any: as above, after a split."},
    /* commands */
    {"fanmesh_commands_dropped_total", "Alert on any: deletions or revocations were forgotten here. Raise `commands_bytes` on all nodes."},
    {"fanmesh_commands_missed_total", "After a long split: a user who was disconnected meanwhile may still be there. Ask for it again. "
                                      "(Deletions and revocations are fetched: "
                                      "`fanmesh_commands_recalled_total`.)"},
    {"fanmesh_commands_lost_total", "As above, of a worker that could not keep up."},
    {"fanmesh_commands_unknown_total", "A rate: nodes of different versions."},
    {"fanmesh_cluster_questions_missing_total", "A rate: some node does not answer what the API asks of all."},
    /* limits */
    {"fanmesh_limited_connections_per_address_total",
     "A rate is abuse, or many clients behind one address. The log says whose (`limit_reached`); behind a balancer see `trusted_proxies`."},
    {"fanmesh_limited_pushes_total", "A rate: a client that pushes too fast, or a limit that is too low for what clients do."},
    {"fanmesh_limited_disconnects_total", "A rate: clients that do not wait when they are told to."},
    /* memory */
    {"fanmesh_log_bytes", "At `memory_bytes` the oldest messages go: histories and repair reach less far back than the settings say."},
    {"fanmesh_topics", "At `topics_max` publishes to new topics are refused with 503."},
    /* itself */
    {"fanmesh_probe_ok", "Alert on 0: the node does not hear itself there, and `/readyz` is 503. Restart it if that lasts."},
    {"fanmesh_probe_failures_total", "A rate: the node stalls now and then for `probe_timeout_ms`."},
    {"fanmesh_probe_round_trip_seconds", "Tens of milliseconds and more: the worker or the hub has more to do than it can."},
    {"process_open_fds", "Alert at 90 % of `process_max_fds`."},
    {"process_resident_memory_bytes", "Compare with `memory_bytes` and `fanmesh_index_bytes`; clients take some KiB each on top."},
    {"process_start_time_seconds", "Changes: the node was restarted."},
};

static const char *advice_of(const char *metric)
{
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++)
        if (strcmp(watched[i].metric, metric) == 0)
            return watched[i].advice;
    return "";
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && memcmp(text + n - k, end, k) == 0;
}

/* Prometheus has the unit in the name. */
static const char *unit_of(const char *metric, const char *help)
{
    if (ends_with(metric, "_bytes") || ends_with(metric, "_bytes_total") || strstr(metric, "_bytes_in_") || strstr(metric, "_bytes_out_"))
        return "bytes";
    if (ends_with(metric, "_seconds") || ends_with(metric, "_seconds_total"))
        return "seconds";
    return strncmp(help, "1", 1) == 0 ? "0 or 1" : "number";
}

static void row(struct fm_buf *b, const char *metric, const char *type, const char *labels, const char *help)
{
    fm_buf_printf(b, "| `%s` | %s | %s | %s | %s | %s |\n", metric, type, unit_of(metric, help), labels, help, advice_of(metric));
}

static void part(struct fm_buf *b, const char *title, const char *prose)
{
    fm_buf_printf(b, "\n## %s\n\n%s\n\n| metric | type | unit | labels | meaning | watch |\n|---|---|---|---|---|---|\n", title, prose);
}

void fm_metrics_markdown(struct fm_buf *b)
{
    fm_buf_str(
        b,
        "# Metrics\n"
        "\n"
        "<!-- Made by `fanmesh help metrics --markdown` from the tables of counters; a test compares them. -->\n"
        "\n"
        "`GET /metrics` of the API's listener, in Prometheus's text format; [operations.md](operations.md#alerts) has rules for alerts.\n"
        "Counters begin at 0 when the node starts and only grow: look at their rate. A rate of 0 is the normal one of everything below "
        "whose\n"
        "`watch` says to alert.\n");
    part(b, "The node", "Of the hub: messages, the mesh, repair, memory. One series each.");
    row(b, "fanmesh_build_info", "gauge", "`version`", "1, with the version as a label");
#define X(name, metric, type, help) row(b, metric, type, "", help);
    FM_HUB_STATS(X)
#undef X
    part(b, "Clients",
         "Of the workers: a series for each, `internal` for the one that serves the API. Sum them for the node: "
         "`sum without (worker) (fanmesh_connections)`.");
#define X(name, metric, type, help) row(b, metric, type, "`worker`", help);
    FM_WORKER_STATS(X)
#undef X
    part(b, "Messages to itself",
         "What the node's [probe](guide.md#ready-deaf-isolated) found: a series for each worker that serves clients, and "
         "`listener`.");
#define X(name, metric, type, unit, help) row(b, metric, type, "`worker`", help);
    FM_PROBE_STATS(X)
#undef X
    part(b, "Keys from a URL", "Of `token_jwks_url`; all 0 where it is not set. One series each.");
#define X(name, metric, type, help) row(b, metric, type, "", help);
    FM_JWKS_STATS(X)
#undef X
    part(b, "Hooks", "Of the [backend](hooks.md) that decides and is told. One series each.");
#define X(name, metric, type, help) row(b, metric, type, "", help);
    FM_HOOK_STATS(X)
#undef X
    row(b, FM_HOOK_SECONDS, "histogram", "`le`", FM_HOOK_SECONDS_HELP);
    part(b, "The process", "What the operating system says; the names are Prometheus's own.");
#define X(name, metric, type, help) row(b, metric, type, "", help);
    FM_PROCESS_STATS(X)
#undef X
}

const char *fm_metrics_watched(size_t i)
{
    return i < sizeof watched / sizeof watched[0] ? watched[i].metric : NULL;
}
