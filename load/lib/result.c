#include "result.h"

enum fm_load_exit fm_result_exit(const struct fm_result *r)
{
    if (fm_tally_broken(&r->all.tally))
        return FM_LOAD_BROKEN;
    /* What was never acknowledged need not arrive: a run of which that is most proves nothing. A node's restart leaves a few. */
    if (r->all.publisher.sent > 0 && (r->all.publisher.acked == 0 || r->all.publisher.unanswered > r->all.publisher.acked))
        return FM_LOAD_UNUSABLE;
    return r->all.tally.declared || r->all.tally.tail_unknown || r->all.tally.tail_local ? FM_LOAD_DECLARED : FM_LOAD_OK;
}

static double ms_of(const struct fm_hdr *h, double percent)
{
    return (double)fm_hdr_percentile(h, percent) * 1e-6;
}

static const double percents[] = {50, 90, 99, 99.9, 100};
static const char *const percent_names[] = {"p50", "p90", "p99", "p99.9", "max"};
enum { PERCENTS = sizeof percents / sizeof percents[0] };

#define ULL(x) ((unsigned long long)(x))

/* ---- for people ---- */

static void costs_text(struct fm_buf *out, const struct fm_result *r)
{
    double n = (double)r->options->connections;
    fm_buf_printf(out, "memory      %.1f MiB with %llu connections, %.0f bytes each\n", (double)r->rss_joined / 1048576.0,
                  ULL(r->options->connections), ((double)r->rss_joined - (double)r->rss_before) / n);
    fm_buf_printf(out, "CPU         %.1f us a connection to connect and join\n", fm_per(r->cpu_connect_s * 1e6, n));
    if (r->idle_s > 0)
        fm_buf_printf(out, "CPU         idle: %.2f %% of a core, %.0f wake-ups a second over %.1f s\n",
                      fm_per(r->cpu_idle_s, r->idle_s) * 100, fm_per((double)r->wakes_idle, r->idle_s), r->idle_s);
    if (r->measured)
        fm_buf_printf(out, "CPU         %.3f us a delivery (%.2f s of a core in %.2f s)\n", fm_per(r->cpu_s * 1e6, (double)r->measured),
                      r->cpu_s, r->seconds);
}

static void times_text(struct fm_buf *out, const char *name, const struct fm_hdr *h)
{
    fm_buf_printf(out, "%-11s", name);
    for (size_t i = 0; i < PERCENTS; i++)
        fm_buf_printf(out, " %s %.3f ms%s", percent_names[i], ms_of(h, percents[i]), i + 1 < PERCENTS ? "," : "\n");
}

static void storm_text(struct fm_buf *out, const struct fm_result *r)
{
    const struct fm_storm_result *s = &r->storm;
    static const char *const kinds[] = {"", "connects", "disconnects", "reconnects"};
    uint64_t n = r->options->storm == FM_STORM_DISCONNECT ? r->options->storm_connections * r->options->storm_rounds : s->joins;
    times_text(out, "in storm", &r->all.stormy);
    fm_buf_printf(out, "storm       %llu %s in %.3f s, %.0f a second%s; %llu attempts failed\n", ULL(n), kinds[r->options->storm],
                  s->seconds, fm_per((double)n, s->seconds), s->over ? "" : " (not over when the run ended)", ULL(s->failures));
    if (s->joins)
        times_text(out, "way in", &s->took);
    if (r->costs && n)
        fm_buf_printf(out, "CPU         %.2f s of a core in the storm\n", s->cpu_s);
}

static void mistakes_text(struct fm_buf *out, const struct fm_result *r)
{
#define X(name, prose) \
    if (r->all.tally.name && &r->all.tally.name != &r->all.tally.deliveries) \
        fm_buf_printf(out, "%-11s %llu: %s\n", #name, ULL(r->all.tally.name), prose);
    FM_TALLY_TABLE(X)
#undef X
    if (r->all.fleet.reconnects || r->all.fleet.connect_failures)
        fm_buf_printf(out, "reconnects  %llu (%llu attempts failed), %llu messages replayed, %llu answered recovered: false\n",
                      ULL(r->all.fleet.reconnects), ULL(r->all.fleet.connect_failures), ULL(r->all.fleet.replayed),
                      ULL(r->all.fleet.unrecovered));
    if (r->all.fleet.silent)
        fm_buf_printf(out, "silent      %llu connections given up for want of an answer to a heartbeat\n", ULL(r->all.fleet.silent));
    if (r->all.recovery.count)
        fm_buf_printf(
            out,
            "recovery    %llu times p50 %.1f ms, p99 %.1f ms, max %.1f ms from the loss of a connection to the last replayed message\n",
            ULL(r->all.recovery.count), ms_of(&r->all.recovery, 50), ms_of(&r->all.recovery, 99), ms_of(&r->all.recovery, 100));
    if (r->all.fleet.joined < r->options->connections)
        fm_buf_printf(out, "away        %llu clients were not joined at the end\n", ULL(r->options->connections - r->all.fleet.joined));
    if (r->all.fleet.gaps)
        fm_buf_printf(out, "gaps        %llu\n", ULL(r->all.fleet.gaps));
}

void fm_result_text(struct fm_buf *out, const struct fm_result *r)
{
    static const char *const verdicts[] = {"good: everything arrived, once, in order", "BROKEN: see above",
                                           "most of what was published was never acknowledged, so nothing was proven",
                                           "lost, but only as is allowed: see above"};
    const struct fm_publisher_stats *p = &r->all.publisher;
    fm_buf_printf(out, "clients     %llu joined in %.2f s, %.0f a second, %llu topics, %llu nodes, %llu processes\n",
                  ULL(r->options->connections), r->connect_s, fm_per((double)r->options->connections, r->connect_s),
                  ULL(r->options->topics), ULL(r->options->nodes.n), ULL(r->options->processes));
    if (r->costs)
        costs_text(out, r);
    if (p->sent) {
        fm_buf_printf(out, "published   %llu: %llu acknowledged (%llu as replicated), %llu refused, %llu without an answer, %llu stalled\n",
                      ULL(p->sent), ULL(p->acked), ULL(p->replicated), ULL(p->refused), ULL(p->unanswered), ULL(p->stalled));
        if (p->unconfirmed || p->retried)
            fm_buf_printf(out, "            %llu not replicated in time, %llu times tried again with a key\n", ULL(p->unconfirmed),
                          ULL(p->retried));
        fm_buf_printf(out, "delivered   %llu; %.0f a second, %.1f messages a second\n", ULL(r->all.tally.deliveries),
                      fm_per((double)r->measured, r->seconds), fm_per((double)r->measured, r->seconds * (double)r->options->connections));
        times_text(out, "latency", &r->all.latency);
        times_text(out, "to the last", &r->all.reach);
    }
    if (r->options->storm)
        storm_text(out, r);
    if (r->all.tls.handshakes)
        fm_buf_printf(out, "TLS         %llu handshakes, %llu with the session of an earlier one\n", ULL(r->all.tls.handshakes),
                      ULL(r->all.tls.resumed));
    mistakes_text(out, r);
    fm_buf_printf(out, "%s\n", verdicts[fm_result_exit(r)]);
}
