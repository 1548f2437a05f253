/* Health, readiness and metrics. */
#include "api_state.h"

#include "../../broker/clock.h"

#include <stdio.h>

/* The loop answers, so the process lives. Whether clients should come is /readyz's business. */
void fm_api_healthz(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    struct fm_buf b = {0};
    fm_buf_str(&b, "{\"status\":\"ok\",\"version\":");
    fm_buf_json(&b, fm_slice_str(fm_api_of(req)->config.version));
    fm_buf_str(&b, "}\n");
    fm_api_answer(req, &b);
}

/* ---- readiness ---- */

enum { DETAIL_MAX = 200 };

static bool is_draining(const struct fm_api *api, char *detail)
{
    (void)detail;
    return atomic_load_explicit(&api->draining, memory_order_relaxed);
}

static bool is_starting(const struct fm_api *api, char *detail)
{
    (void)detail;
    return !atomic_load_explicit(&fm_hub_thread_stats(api->hub)->ready, memory_order_relaxed);
}

static bool is_deaf(const struct fm_api *api, char *detail)
{
    return api->config.probe && fm_probe_is_deaf(api->config.probe, fm_mono_ms(), detail, DETAIL_MAX);
}

static bool is_unproven(const struct fm_api *api, char *detail)
{
    snprintf(detail, DETAIL_MAX, "its first message to itself has not come back yet");
    return api->config.probe && fm_probe_is_new(api->config.probe);
}

static bool is_isolated(const struct fm_api *api, char *detail)
{
    (void)detail;
    return api->config.isolated_unready && atomic_load_explicit(&fm_hub_thread_stats(api->hub)->isolated, memory_order_relaxed);
}

/* Why clients should not be sent here; the first that holds is told. */
static const struct {
    enum fm_err err;
    bool (*holds)(const struct fm_api *api, char *detail); /* detail: DETAIL_MAX bytes, empty */
} unready[] = {
    {FM_E_DRAINING, is_draining},  {FM_E_NOT_READY, is_starting}, {FM_E_DEAF, is_deaf},
    {FM_E_NOT_READY, is_unproven}, {FM_E_ISOLATED, is_isolated},
};

void fm_api_readyz(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    struct fm_buf b = {0};
    for (size_t i = 0; i < sizeof unready / sizeof unready[0]; i++) {
        char detail[DETAIL_MAX] = "";
        if (!unready[i].holds(fm_api_of(req), detail))
            continue;
        fm_http_fail(req, unready[i].err, *detail ? detail : NULL);
        return;
    }
    fm_buf_str(&b, "{\"status\":\"ready\"}\n");
    fm_api_answer(req, &b);
}

/* ---- metrics ---- */

void fm_api_metrics(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    const struct fm_api *api = fm_api_of(req);
    struct fm_metrics_worker workers[FM_API_WORKERS_MAX + 1];
    unsigned n = api->n;
    for (unsigned i = 0; i < api->n; i++) {
        workers[i].stats = fm_worker_stats(api->workers[i]);
        if (fm_worker_config(api->workers[i])->internal)
            snprintf(workers[i].label, sizeof workers[i].label, "internal");
        else
            snprintf(workers[i].label, sizeof workers[i].label, "%u", fm_worker_config(api->workers[i])->index);
    }
    if (api->config.program)
        workers[n++] = (struct fm_metrics_worker){.stats = api->config.program, .label = "program"};
    struct fm_process_stats process;
    fm_process_stats_read(&process);
    const struct fm_metrics m = {.version = api->config.version,
                                 .hub = fm_hub_thread_stats(api->hub),
                                 .workers = workers,
                                 .n = n,
                                 .probe = api->config.probe,
                                 .jwks = api->config.jwks,
                                 .hooks = api->config.hooks,
                                 .process = &process};
    struct fm_buf b = {0};
    fm_metrics_write(&b, &m);
    if (b.failed)
        fm_http_fail(req, FM_E_NOMEM, NULL);
    else
        fm_http_respond(req, 200, FM_METRICS_TYPE, fm_slice_of(NULL, 0), fm_buf_view(&b));
    fm_buf_fini(&b);
}
