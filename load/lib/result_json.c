#include "result.h"

static const double percents[] = {50, 90, 99, 99.9, 100};
static const char *const percent_names[] = {"p50", "p90", "p99", "p99_9", "max"};
enum { PERCENTS = sizeof percents / sizeof percents[0], BARS_EACH = 8 /* of a histogram's steps in one bar of a picture */ };

#define ULL(x) ((unsigned long long)(x))

static void times_put(struct fm_buf *out, const char *name, const struct fm_hdr *h, double unit)
{
    fm_buf_printf(out, ",\"%s\":{\"count\":%llu,\"mean\":%.1f", name, ULL(h->count), (double)fm_hdr_mean(h) * unit);
    for (size_t i = 0; i < PERCENTS; i++)
        fm_buf_printf(out, ",\"%s\":%.1f", percent_names[i], (double)fm_hdr_percentile(h, percents[i]) * unit);
    fm_buf_u8(out, '}');
}

/* [[up to, count],...] in microseconds, without what is empty. */
static void bars_put(struct fm_buf *out, const char *name, const struct fm_hdr *h)
{
    const char *comma = "";
    fm_buf_printf(out, "\"%s\":[", name);
    for (uint64_t i = 0; i < FM_HDR_BUCKETS; i += BARS_EACH) {
        uint64_t n = 0;
        for (uint64_t j = i; j < i + BARS_EACH; j++)
            n += h->at[j];
        if (n == 0)
            continue;
        fm_buf_printf(out, "%s[%.1f,%llu]", comma, (double)fm_hdr_top(i + BARS_EACH - 1) * 1e-3, ULL(n));
        comma = ",";
    }
    fm_buf_u8(out, ']');
}

/* What a picture is drawn from. */
static void plots_put(struct fm_buf *out, const struct fm_result *r)
{
    fm_buf_str(out, ",\"plots\":{");
    bars_put(out, "latency_us", &r->all.latency);
    fm_buf_u8(out, ',');
    bars_put(out, "in_storm_us", &r->all.stormy);
    fm_buf_str(out, ",\"memory\":[");
    for (uint32_t i = 0; i < r->memory_n; i++)
        fm_buf_printf(out, "%s[%llu,%llu]", i ? "," : "", ULL(r->memory[i].joined), ULL(r->memory[i].rss_bytes));
    fm_buf_str(out, "],\"time\":[");
    for (uint32_t i = 0; i < r->samples_n; i++) {
        const struct fm_sample *s = &r->samples[i];
        fm_buf_printf(out, "%s[%.3f,%llu,%llu,%llu]", i ? "," : "", (double)(s->t_ns - r->samples[0].t_ns) * 1e-9, ULL(s->joined),
                      ULL(s->sent), ULL(s->deliveries));
    }
    fm_buf_str(out, "]}");
}

static void costs_put(struct fm_buf *out, const struct fm_result *r)
{
    double n = (double)r->options->connections;
    if (!r->costs) {
        fm_buf_str(out, ",\"cost\":null");
        return;
    }
    fm_buf_printf(out, ",\"cost\":{\"rss_before\":%llu,\"rss_joined\":%llu,\"bytes_per_connection\":%.1f,\"cpu_connect_us\":%.2f",
                  ULL(r->rss_before), ULL(r->rss_joined), ((double)r->rss_joined - (double)r->rss_before) / n,
                  fm_per(r->cpu_connect_s * 1e6, n));
    fm_buf_printf(out, ",\"idle_s\":%.3f,\"idle_cpu_percent\":%.4f,\"idle_wakes_per_s\":%.2f", r->idle_s,
                  fm_per(r->cpu_idle_s, r->idle_s) * 100, fm_per((double)r->wakes_idle, r->idle_s));
    fm_buf_printf(out, ",\"cpu_s\":%.6f,\"cpu_us_per_delivery\":%.4f}", r->cpu_s, fm_per(r->cpu_s * 1e6, (double)r->measured));
}

static void storm_put(struct fm_buf *out, const struct fm_result *r)
{
    const struct fm_storm_result *s = &r->storm;
    if (!r->options->storm) {
        fm_buf_str(out, ",\"storm\":null");
        return;
    }
    uint64_t n = r->options->storm == FM_STORM_DISCONNECT ? r->options->storm_connections * r->options->storm_rounds : s->joins;
    static const char *const kinds[] = {"none", "connect", "disconnect", "reconnect"};
    fm_buf_printf(out, ",\"storm\":{\"kind\":\"%s\",\"over\":%s,\"clients\":%llu,\"done\":%llu,\"seconds\":%.6f,\"per_s\":%.1f",
                  kinds[r->options->storm], s->over ? "true" : "false", ULL(r->options->storm_connections), ULL(n), s->seconds,
                  fm_per((double)n, s->seconds));
    fm_buf_printf(out, ",\"failures\":%llu,\"cpu_s\":%.6f", ULL(s->failures), s->cpu_s);
    times_put(out, "way_in_ms", &s->took, 1e-6);
    times_put(out, "latency_us", &r->all.stormy, 1e-3);
    fm_buf_u8(out, '}');
}

/* The options that say what was done. */
static void options_put(struct fm_buf *out, const struct fm_load_options *o)
{
    static const char *const names[] = {"framing",
                                        "scenario",
                                        "connections",
                                        "topics",
                                        "topics_per_connection",
                                        "rooms",
                                        "members",
                                        "processes",
                                        "messages",
                                        "duration_ms",
                                        "rate",
                                        "every_ms",
                                        "window",
                                        "payload",
                                        "warmup",
                                        "plain",
                                        "storm",
                                        "storm_connections",
                                        "storm_rate",
                                        "storm_rounds",
                                        "quiet_ms",
                                        "no_verify"};
    struct fm_buf value = {0};
    fm_buf_printf(out, ",\"options\":{\"nodes\":%llu,\"api\":%llu", ULL(o->nodes.n), ULL(o->api.n));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct fm_option *option = fm_option_find(fm_load_options, FM_LOAD_OPTIONS_N, names[i]);
        if (!option)
            continue;
        value.n = 0;
        fm_option_print(&value, option, o);
        fm_buf_printf(out, ",\"%s\":", names[i]);
        fm_buf_json(out, fm_buf_view(&value));
    }
    fm_buf_u8(out, '}');
    fm_buf_fini(&value);
}

void fm_result_json(struct fm_buf *out, const struct fm_result *r)
{
    fm_buf_printf(out, "{\"exit\":%d,\"connections\":%llu,\"topics\":%llu,\"connect_s\":%.3f,\"seconds\":%.6f,\"measured\":%llu",
                  (int)fm_result_exit(r), ULL(r->options->connections), ULL(r->options->topics), r->connect_s, r->seconds,
                  ULL(r->measured));
    fm_buf_printf(out, ",\"deliveries_per_s\":%.1f,\"tally\":{", fm_per((double)r->measured, r->seconds));
    const char *comma = "";
#define X(name, prose) fm_buf_printf(out, "%s\"%s\":%llu", comma, #name, ULL(from->name)), comma = ",";
#define GROUP(table, value) \
    do { \
        const __typeof__(value) *from = &(value); \
        comma = ""; \
        table(X) \
    } while (0)
    GROUP(FM_TALLY_TABLE, r->all.tally);
    fm_buf_str(out, "},\"published\":{");
    GROUP(FM_PUBLISHER_STATS, r->all.publisher);
    fm_buf_str(out, "},\"clients\":{");
    GROUP(FM_FLEET_STATS, r->all.fleet);
#undef GROUP
#undef X
    fm_buf_u8(out, '}');
    times_put(out, "latency_us", &r->all.latency, 1e-3);
    times_put(out, "reach_us", &r->all.reach, 1e-3);
    times_put(out, "join_ms", &r->all.joins, 1e-6);
    times_put(out, "recovery_ms", &r->all.recovery, 1e-6);
    fm_buf_printf(out, ",\"tls\":{\"handshakes\":%llu,\"resumed\":%llu}", ULL(r->all.tls.handshakes), ULL(r->all.tls.resumed));
    costs_put(out, r);
    storm_put(out, r);
    options_put(out, r->options);
    plots_put(out, r);
    fm_buf_str(out, "}\n");
}
