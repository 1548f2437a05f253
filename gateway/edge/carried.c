/* What the transports over HTTP have in common: their paths, and pages of other origins. */
#include "front.h"

#include "../polling/polling.h"
#include "../sse/sse.h"

#include <strings.h>

enum fm_head_is fm_conn_carried_head(struct fm_conn *c)
{
    enum fm_head_is is = fm_longpoll_head(&c->request);
    return is == FM_HEAD_OTHER ? fm_sse_head(&c->request) : is;
}

bool fm_conn_carried(struct fm_conn *c)
{
    return fm_longpoll_handle(&c->request) || fm_sse_handle(&c->request);
}

struct fm_slice fm_http_header(const struct fm_http_request *req, const char *name)
{
    const struct fm_conn *c = req->edge;
    struct fm_slice rest = fm_http1_fields(fm_slice_of(c->in.p, c->head.n)), field, value;
    while (fm_http1_field(&rest, &field, &value))
        if (field.n == strlen(name) && strncasecmp((const char *)field.p, name, field.n) == 0)
            return value;
    return fm_slice_of(NULL, 0);
}

static void answer_preflight(struct fm_http_request *req, const char *methods, const char *headers)
{
    struct fm_buf b = {0};
    fm_buf_printf(&b, "Allow: %s\r\n", methods);
    if (req->readable_by.n)
        fm_buf_printf(&b, "Access-Control-Allow-Methods: %s\r\nAccess-Control-Allow-Headers: %s\r\nAccess-Control-Max-Age: 600\r\n",
                      methods, headers);
    fm_http_respond(req, 204, "", b.failed ? fm_slice_of(NULL, 0) : fm_buf_view(&b), fm_slice_of(NULL, 0));
    fm_buf_fini(&b);
}

bool fm_http_page_may(struct fm_http_request *req, const char *methods, const char *headers)
{
    const struct fm_worker *w = req->worker;
    if (!fm_origin_allowed(req->origin, req->host, w->config.origins)) {
        fm_stat_add(&req->worker->stats.refused, 1);
        fm_http_fail(req, FM_E_ORIGIN, NULL);
        return false;
    }
    req->readable_by = req->origin;
    if (req->method != FM_HTTP_OPTIONS)
        return true;
    answer_preflight(req, methods, headers);
    return false;
}
