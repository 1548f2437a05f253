/* Health, readiness and metrics. */
#include "api_state.h"

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

void fm_api_readyz(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    const struct fm_api *api = fm_api_of(req);
    struct fm_buf b = {0};
    if (atomic_load_explicit(&api->draining, memory_order_relaxed)) {
        fm_http_fail(req, FM_E_DRAINING, NULL);
        return;
    }
    if (!atomic_load_explicit(&fm_hub_thread_stats(api->hub)->ready, memory_order_relaxed)) {
        fm_http_fail(req, FM_E_NOT_READY, NULL);
        return;
    }
    fm_buf_str(&b, "{\"status\":\"ready\"}\n");
    fm_api_answer(req, &b);
}

void fm_api_metrics(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    const struct fm_api *api = fm_api_of(req);
    struct fm_metrics_worker workers[FM_API_WORKERS_MAX];
    for (unsigned i = 0; i < api->n; i++) {
        workers[i].stats = fm_worker_stats(api->workers[i]);
        if (fm_worker_config(api->workers[i])->internal)
            snprintf(workers[i].label, sizeof workers[i].label, "internal");
        else
            snprintf(workers[i].label, sizeof workers[i].label, "%u", fm_worker_config(api->workers[i])->index);
    }
    struct fm_process_stats process;
    fm_process_stats_read(&process);
    const struct fm_metrics m = {
        .version = api->config.version, .hub = fm_hub_thread_stats(api->hub), .workers = workers, .n = api->n, .process = &process};
    struct fm_buf b = {0};
    fm_metrics_write(&b, &m);
    if (b.failed)
        fm_http_fail(req, FM_E_NOMEM, NULL);
    else
        fm_http_respond(req, 200, FM_METRICS_TYPE, fm_slice_of(NULL, 0), fm_buf_view(&b));
    fm_buf_fini(&b);
}
