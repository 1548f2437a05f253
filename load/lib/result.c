#include "result.h"

enum fm_load_exit fm_result_exit(const struct fm_result *r)
{
    if (fm_tally_broken(&r->tally))
        return FM_LOAD_BROKEN;
    /* What was never acknowledged need not arrive: a run of which that is most proves nothing. A node's restart leaves a few. */
    if (r->publisher.sent > 0 && (r->publisher.acked == 0 || r->publisher.unanswered > r->publisher.acked))
        return FM_LOAD_UNUSABLE;
    return r->tally.declared || r->tally.tail_unknown || r->tally.tail_local ? FM_LOAD_DECLARED : FM_LOAD_OK;
}

static double per(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static double ms_of(const struct fm_hdr *h, double percent)
{
    return (double)fm_hdr_percentile(h, percent) * 1e-6;
}

static const double percents[] = {50, 90, 99, 99.9, 100};
static const char *const percent_names[] = {"p50", "p90", "p99", "p99_9", "max"};
enum { PERCENTS = sizeof percents / sizeof percents[0] };

#define ULL(x) ((unsigned long long)(x))

/* ---- for people ---- */

static void costs_text(struct fm_buf *out, const struct fm_result *r)
{
    double n = (double)r->options->connections;
    fm_buf_printf(out, "memory      %.1f MiB with %llu connections, %.0f bytes each\n", (double)r->rss_joined / 1048576.0,
                  ULL(r->options->connections), ((double)r->rss_joined - (double)r->rss_before) / n);
    fm_buf_printf(out, "CPU         %.1f us a connection to connect and join\n", per(r->cpu_connect_s * 1e6, n));
    if (r->idle_s > 0)
        fm_buf_printf(out, "CPU         idle: %.2f %% of a core, %.0f wake-ups a second over %.1f s\n", per(r->cpu_idle_s, r->idle_s) * 100,
                      per((double)r->wakes_idle, r->idle_s), r->idle_s);
    if (r->measured)
        fm_buf_printf(out, "CPU         %.3f us a delivery (%.2f s of a core in %.2f s)\n", per(r->cpu_s * 1e6, (double)r->measured),
                      r->cpu_s, r->seconds);
}

static void mistakes_text(struct fm_buf *out, const struct fm_result *r)
{
#define X(name, prose) \
    if (r->tally.name && &r->tally.name != &r->tally.deliveries) \
        fm_buf_printf(out, "%-11s %llu: %s\n", #name, ULL(r->tally.name), prose);
    FM_TALLY_TABLE(X)
#undef X
    if (r->fleet.reconnects || r->fleet.connect_failures)
        fm_buf_printf(out, "reconnects  %llu (%llu attempts failed), %llu messages replayed, %llu answered recovered: false\n",
                      ULL(r->fleet.reconnects), ULL(r->fleet.connect_failures), ULL(r->fleet.replayed), ULL(r->fleet.unrecovered));
    if (r->fleet.silent)
        fm_buf_printf(out, "silent      %llu connections given up for want of an answer to a heartbeat\n", ULL(r->fleet.silent));
    if (r->recovery.count)
        fm_buf_printf(
            out,
            "recovery    %llu times p50 %.1f ms, p99 %.1f ms, max %.1f ms from the loss of a connection to the last replayed message\n",
            ULL(r->recovery.count), ms_of(&r->recovery, 50), ms_of(&r->recovery, 99), ms_of(&r->recovery, 100));
    if (r->fleet.joined < r->options->connections)
        fm_buf_printf(out, "away        %llu clients were not joined at the end\n", ULL(r->options->connections - r->fleet.joined));
    if (r->fleet.gaps)
        fm_buf_printf(out, "gaps        %llu\n", ULL(r->fleet.gaps));
}

void fm_result_text(struct fm_buf *out, const struct fm_result *r)
{
    static const char *const verdicts[] = {"good: everything arrived, once, in order", "BROKEN: see above",
                                           "most of what was published was never acknowledged, so nothing was proven",
                                           "lost, but only as is allowed: see above"};
    const struct fm_publisher_stats *p = &r->publisher;
    fm_buf_printf(out, "clients     %llu joined in %.2f s, %llu topics, %llu nodes\n", ULL(r->options->connections), r->connect_s,
                  ULL(r->options->topics), ULL(r->options->nodes.n));
    if (r->costs)
        costs_text(out, r);
    if (p->sent) {
        fm_buf_printf(out, "published   %llu: %llu acknowledged (%llu as replicated), %llu refused, %llu without an answer, %llu stalled\n",
                      ULL(p->sent), ULL(p->acked), ULL(p->replicated), ULL(p->refused), ULL(p->unanswered), ULL(p->stalled));
        if (p->unconfirmed || p->retried)
            fm_buf_printf(out, "            %llu not replicated in time, %llu times tried again with a key\n", ULL(p->unconfirmed),
                          ULL(p->retried));
        fm_buf_printf(out, "delivered   %llu; %.0f a second, %.1f messages a second\n", ULL(r->tally.deliveries),
                      per((double)r->measured, r->seconds), per((double)r->measured, r->seconds * (double)r->options->connections));
        fm_buf_str(out, "latency    ");
        for (size_t i = 0; i < PERCENTS; i++)
            fm_buf_printf(out, " %s %.3f ms%s", percent_names[i], (double)fm_hdr_percentile(&r->latency, percents[i]) * 1e-6,
                          i + 1 < PERCENTS ? "," : "\n");
    }
    mistakes_text(out, r);
    fm_buf_printf(out, "%s\n", verdicts[fm_result_exit(r)]);
}

/* ---- for programs ---- */

void fm_result_json(struct fm_buf *out, const struct fm_result *r)
{
    double n = (double)r->options->connections;
    fm_buf_printf(out, "{\"exit\":%d,\"connections\":%llu,\"topics\":%llu,\"connect_s\":%.3f,\"seconds\":%.6f,\"measured\":%llu",
                  (int)fm_result_exit(r), ULL(r->options->connections), ULL(r->options->topics), r->connect_s, r->seconds,
                  ULL(r->measured));
    fm_buf_printf(out, ",\"deliveries_per_s\":%.1f,\"tally\":{", per((double)r->measured, r->seconds));
    const char *comma = "";
#define X(name, prose) fm_buf_printf(out, "%s\"%s\":%llu", comma, #name, ULL(from->name)), comma = ",";
#define GROUP(table, value) \
    do { \
        const __typeof__(value) *from = &(value); \
        comma = ""; \
        table(X) \
    } while (0)
    GROUP(FM_TALLY_TABLE, r->tally);
    fm_buf_str(out, "},\"published\":{");
    GROUP(FM_PUBLISHER_STATS, r->publisher);
    fm_buf_str(out, "},\"clients\":{");
    GROUP(FM_FLEET_STATS, r->fleet);
#undef GROUP
#undef X
    fm_buf_printf(out, "},\"latency_us\":{\"mean\":%.1f", (double)fm_hdr_mean(&r->latency) * 1e-3);
    for (size_t i = 0; i < PERCENTS; i++)
        fm_buf_printf(out, ",\"%s\":%.1f", percent_names[i], (double)fm_hdr_percentile(&r->latency, percents[i]) * 1e-3);
    fm_buf_printf(out, "},\"recovery_ms\":{\"count\":%llu,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f", ULL(r->recovery.count),
                  ms_of(&r->recovery, 50), ms_of(&r->recovery, 99), ms_of(&r->recovery, 100));
    fm_buf_str(out, "},\"cost\":");
    if (!r->costs) {
        fm_buf_str(out, "null}\n");
        return;
    }
    fm_buf_printf(out, "{\"rss_before\":%llu,\"rss_joined\":%llu,\"bytes_per_connection\":%.1f,\"cpu_connect_us\":%.2f", ULL(r->rss_before),
                  ULL(r->rss_joined), ((double)r->rss_joined - (double)r->rss_before) / n, per(r->cpu_connect_s * 1e6, n));
    fm_buf_printf(out, ",\"idle_s\":%.3f,\"idle_cpu_percent\":%.4f,\"idle_wakes_per_s\":%.2f", r->idle_s,
                  per(r->cpu_idle_s, r->idle_s) * 100, per((double)r->wakes_idle, r->idle_s));
    fm_buf_printf(out, ",\"cpu_s\":%.6f,\"cpu_us_per_delivery\":%.4f}}\n", r->cpu_s, per(r->cpu_s * 1e6, (double)r->measured));
}
