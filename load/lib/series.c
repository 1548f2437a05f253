#include "series.h"

#include "../../broker/clock.h"

#define SECOND_NS 1000000000u

enum fm_err fm_series_open(struct fm_series *s, const char *path)
{
    if (!path || !*path)
        return FM_OK;
    s->file = fopen(path, "we");
    return s->file ? FM_OK : FM_E_IO;
}

void fm_series_close(struct fm_series *s)
{
    if (s->file)
        fclose(s->file);
    s->file = NULL;
}

bool fm_series_due(const struct fm_series *s, uint64_t now_ns)
{
    return now_ns >= s->sample_ns || (s->file && now_ns >= s->due_ns);
}

/* When there is no room for more, every second one goes, and from then on they are taken half as often. */
static void sample_keep(struct fm_series *s, struct fm_sample sample)
{
    if (s->samples_n == FM_SAMPLES_MAX) {
        for (uint32_t i = 0; i < FM_SAMPLES_MAX / 2; i++)
            s->samples[i] = s->samples[2 * i];
        s->samples_n /= 2;
        s->step_ns *= 2;
    }
    s->samples[s->samples_n++] = sample;
    s->step_ns = s->step_ns ? s->step_ns : SECOND_NS / 10;
    s->sample_ns = sample.t_ns + s->step_ns;
}

enum fm_err fm_series_tick(struct fm_series *s, uint64_t now_ns, const struct fm_fleet_stats *fleet,
                           const struct fm_publisher_stats *publisher, const struct fm_tally *tally)
{
    if (now_ns >= s->sample_ns)
        sample_keep(s, (struct fm_sample){now_ns, fleet->joined, publisher->sent, tally->deliveries});
    if (!s->file || now_ns < s->due_ns)
        return FM_OK;
    fprintf(s->file, "{\"t_ms\":%llu", (unsigned long long)fm_unix_ms());
#define PUT(name, from) fprintf(s->file, ",\"" #name "\":%llu", (unsigned long long)(from)->name);
    PUT(joined, fleet)
    PUT(sent, publisher)
    PUT(acked, publisher)
    PUT(refused, publisher)
    PUT(unanswered, publisher)
    PUT(retried, publisher)
    PUT(deliveries, tally)
    PUT(replayed, fleet)
    PUT(gaps, fleet)
    PUT(unrecovered, fleet)
    PUT(reconnects, fleet)
#undef PUT
    fprintf(s->file, ",\"latency_p99_ms\":%.3f}\n", (double)fm_hdr_percentile(&s->lately, 99) * 1e-6);
    s->lately = (struct fm_hdr){0};
    s->due_ns = (s->due_ns && now_ns - s->due_ns < SECOND_NS ? s->due_ns : now_ns) + SECOND_NS;
    if (fflush(s->file) == 0)
        return FM_OK;
    fm_series_close(s);
    return FM_E_IO;
}
