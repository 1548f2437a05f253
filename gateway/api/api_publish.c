/* Publish one, publish many: body -> order (api_parse.c) -> hub -> answer. */
#include "api_state.h"

#include <stdio.h>

static void fail_with_place(struct fm_http_request *req, const struct fm_api_bad *bad)
{
    fm_http_fail_with(req, &(struct fm_http_error){.err = bad->err,
                                                   .detail = bad->detail[0] ? bad->detail : NULL,
                                                   .has_at = bad->has_at,
                                                   .at = bad->at,
                                                   .has_index = bad->has_index,
                                                   .index = bad->index});
}

static void write_result(struct fm_buf *b, const struct fm_publish_result *r)
{
    char id[FM_ID_TEXT_MAX + 1];
    fm_id_print(r->id, id);
    fm_buf_printf(b, "\"id\":\"%s\"", id);
    if (r->duplicate)
        fm_buf_str(b, ",\"duplicate\":true");
}

/* What the request's cookie holds, since the messages themselves stay with the hub: whether the answer is a list, then each topic. */
static void write_cookie(struct fm_buf *cookie, const struct fm_api_order *order)
{
    fm_buf_u8(cookie, order->several);
    for (uint32_t i = 0; order->several && i < order->n; i++)
        fm_buf_sized(cookie, fm_msg_topic(order->msgs[i]));
}

/* The members of the answer's object: "id" or "results", and "confirmed" for a replicated ack. */
static void write_members(struct fm_buf *b, const struct fm_publish *p)
{
    struct fm_rd cookie = fm_rd_of(fm_publish_cookie(p));
    if (!fm_rd_u8(&cookie)) {
        write_result(b, &p->results[0]);
    } else {
        fm_buf_str(b, "\"results\":[");
        for (uint32_t i = 0; i < p->n; i++) {
            fm_buf_str(b, i ? ",{\"topic\":" : "{\"topic\":");
            fm_buf_json(b, fm_rd_sized(&cookie, FM_TOPIC_MAX));
            fm_buf_u8(b, ',');
            write_result(b, &p->results[i]);
            fm_buf_u8(b, '}');
        }
        fm_buf_u8(b, ']');
    }
    if (p->ack == FM_ACK_REPLICATED)
        fm_buf_printf(b, ",\"confirmed\":%u", p->confirmed);
}

static void fail_not_replicated(struct fm_http_request *req, const struct fm_publish *p, const struct fm_buf *members)
{
    char detail[128];
    snprintf(detail, sizeof detail, "%u of %u within %u ms; it is still on its way, do not publish it again without its key", p->confirmed,
             p->replicas, p->timeout_ms);
    fm_http_fail_with(req, &(struct fm_http_error){
                               .err = p->err, .detail = detail, .members = members->failed ? fm_slice_of(NULL, 0) : fm_buf_view(members)});
}

static void on_published(struct fm_http_request *req, struct fm_item *item)
{
    struct fm_publish *p = (struct fm_publish *)item;
    struct fm_buf members = {0}, body = {0};
    if (p->err == FM_OK || p->err == FM_E_NOT_REPLICATED)
        write_members(&members, p);
    if (p->err == FM_OK) {
        fm_buf_u8(&body, '{');
        fm_buf_slice(&body, fm_buf_view(&members));
        fm_buf_str(&body, "}\n");
        body.failed = body.failed || members.failed;
        fm_api_answer(req, &body);
    } else if (p->err == FM_E_NOT_REPLICATED) {
        fail_not_replicated(req, p, &members);
    } else if (p->err == FM_E_TOO_MANY) {
        fm_http_fail_with(req, &(struct fm_http_error){.err = p->err,
                                                       .status = 503,
                                                       .detail = "the node knows as many topics as its option topics_max allows"});
    } else {
        fm_http_fail(req, p->err, NULL);
    }
    fm_buf_fini(&members);
    fm_publish_free(&p);
}

void fm_api_publish_order(struct fm_http_request *req, struct fm_api_order *order, fm_api_answered_fn *answered)
{
    struct fm_buf cookie = {0};
    write_cookie(&cookie, order);
    struct fm_publish *p = cookie.failed ? NULL : fm_publish_new(fm_worker_config(req->worker)->index, 0, order->n, fm_buf_view(&cookie));
    fm_buf_fini(&cookie);
    if (!p)
        goto fail;
    p->token = fm_api_wait(req, answered);
    if (!p->token) {
        fm_publish_free(&p);
        goto fail;
    }
    p->ack = order->ack;
    p->replicas = order->replicas;
    p->timeout_ms = order->timeout_ms;
    size_t cost = p->item.cost + order->bytes;
    p->item.cost = cost < UINT32_MAX ? (uint32_t)cost : UINT32_MAX;
    for (uint32_t i = 0; i < order->n; i++)
        p->msgs[i] = order->msgs[i];
    order->n = 0;
    fm_api_order_fini(order);
    enum fm_err err = fm_api_try_post(req, &p->item); /* from here on it is the hub's */
    if (err) {
        p->err = err;
        answered(req, &p->item);
    }
    return;
fail:
    fm_api_order_fini(order);
    fm_http_fail(req, FM_E_NOMEM, NULL);
}

struct fm_api_limits fm_api_limits_of(const struct fm_http_request *req)
{
    const struct fm_api_config *c = &fm_api_of(req)->config;
    return (struct fm_api_limits){.rules = fm_worker_config(req->worker)->rules,
                                  .batch_max = c->batch_max,
                                  .bytes_max = c->request_bytes,
                                  .replicas = c->replicas,
                                  .user_topic = c->user_topic,
                                  .timeout_ms = c->ack_timeout_ms};
}

/* Limits from the settings, and the key from the header. False: the request is answered. */
static bool limits_of(struct fm_http_request *req, struct fm_api_limits *limits)
{
    *limits = fm_api_limits_of(req);
    if (req->idempotency_key.n && fm_api_key_of(req->idempotency_key, &limits->key)) {
        fm_http_fail(req, FM_E_INVALID, "the header Idempotency-Key must be 1 to 128 visible ASCII characters");
        return false;
    }
    return true;
}

void fm_api_publish(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    struct fm_api_limits limits;
    struct fm_api_order order;
    struct fm_api_bad bad;
    if (!fm_http_media_is(req->content_type, "application/json")) {
        fm_http_fail(req, FM_E_MEDIA_TYPE, "send `Content-Type: application/json`");
        return;
    }
    if (!limits_of(req, &limits))
        return;
    if (fm_api_parse_one(&limits, req->body, &order, &bad))
        fail_with_place(req, &bad);
    else
        fm_api_publish_order(req, &order, on_published);
}

/* How a batch is acknowledged stands in its query. False: the request is answered. */
static bool read_ack(struct fm_http_request *req, const struct fm_api_limits *limits, struct fm_api_order *order)
{
    char ack[16], number[2];
    bool has_ack, has_number = false;
    if (!fm_api_text(req, "ack", ack, sizeof ack, &has_ack) ||
        !fm_api_number(req, "replicas", FM_API_REPLICAS_MAX, limits->replicas, &order->replicas) ||
        !fm_api_number(req, "timeout_ms", FM_API_TIMEOUT_MS_MAX, limits->timeout_ms, &order->timeout_ms))
        return false;
    if (has_ack && fm_api_ack_of(fm_slice_str(ack), &order->ack)) {
        fm_http_fail(req, FM_E_INVALID, "the parameter `ack` must be local or replicated");
        return false;
    }
    has_number = fm_query_param(req->query, "replicas", true, number, sizeof number) != FM_E_NOT_FOUND ||
                 fm_query_param(req->query, "timeout_ms", true, number, sizeof number) != FM_E_NOT_FOUND;
    if (has_number && order->ack != FM_ACK_REPLICATED) {
        fm_http_fail(req, FM_E_INVALID, "the parameters `replicas` and `timeout_ms` need ack=replicated");
        return false;
    }
    return true;
}

void fm_api_publish_batch(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    struct fm_api_limits limits;
    struct fm_api_order order;
    struct fm_api_bad bad;
    bool ndjson = fm_http_media_is(req->content_type, "application/x-ndjson");
    if (!ndjson && !fm_http_media_is(req->content_type, "application/json")) {
        fm_http_fail(req, FM_E_MEDIA_TYPE, "send `Content-Type: application/x-ndjson` or `application/json`");
        return;
    }
    if (!limits_of(req, &limits))
        return;
    if (fm_api_parse_batch(&limits, ndjson, req->body, &order, &bad)) {
        fail_with_place(req, &bad);
        return;
    }
    if (read_ack(req, &limits, &order))
        fm_api_publish_order(req, &order, on_published);
    else
        fm_api_order_fini(&order);
}
