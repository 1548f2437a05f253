#include "supabase_api.h"

#include "api_state.h"
#include "../edge/admit.h"
#include "../edge/web_origin.h"
#include "../hooks/hook_config.h"
#include "../post/question.h"
#include "supabase_body.h"
#include "../supabase/supabase_changes.h"

#include "../../broker/clock.h"

#include <stdio.h>
#include <strings.h>

#define PATH "/api/broadcast"

static bool is_ours(struct fm_slice path)
{
    return fm_slice_starts(path, FM_LIT(PATH)) && (path.n == sizeof PATH - 1 || path.p[sizeof PATH - 1] == '/');
}

struct fm_slice fm_supabase_api_path(const struct fm_worker_config *config, struct fm_slice path)
{
    const struct fm_slice socket = FM_LIT("/socket");
    struct fm_slice bases[] = {fm_slice_str(config->supabase_mount), fm_slice_str(config->mount)};
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        struct fm_slice base = bases[i];
        /* What realtime-js takes off the URL of its socket. */
        if (base.n >= socket.n && fm_slice_eq(fm_slice_of(base.p + base.n - socket.n, socket.n), socket))
            base.n -= socket.n;
        if (base.n && fm_slice_starts(path, base) && is_ours(fm_slice_of(path.p + base.n, path.n - base.n)))
            return fm_slice_of(path.p + base.n, path.n - base.n);
    }
    return path;
}

bool fm_supabase_api_readable(const struct fm_http_request *req)
{
    return !req->internal && req->origin.n && is_ours(req->path) &&
           fm_origin_allowed(req->origin, req->host, fm_worker_config(req->worker)->origins);
}

/* ---- errors, as these clients read them: the sentence in `error` ---- */

static unsigned status_of(enum fm_err err)
{
    switch (err) {
    case FM_E_UNMATCHED_TOPIC:
        return 403; /* 404 says to these clients that the server knows no such path */
    case FM_E_INVALID:
    case FM_E_UNKNOWN_MEMBER:
    case FM_E_JSON:
    case FM_E_TOO_DEEP:
    case FM_E_TOO_LARGE:
    case FM_E_TOO_MANY:
        return 422;
    default:
        return fm_http_status_of(err);
    }
}

/* retry_ms: 0 where it is not known. */
static void refuse_for(struct fm_http_request *req, enum fm_err err, const struct fm_api_bad *bad, const char *detail, uint32_t retry_ms)
{
    struct fm_buf sentence = {0}, body = {0};
    char again[48];
    unsigned status = status_of(err);
    if (bad)
        detail = bad->detail;
    fm_buf_str(&sentence, fm_err_text(err));
    if (detail && *detail) {
        fm_buf_str(&sentence, ": ");
        fm_buf_str(&sentence, detail);
    }
    fm_buf_str(&body, "{\"error\":");
    fm_buf_json(&body, fm_buf_view(&sentence));
    fm_buf_str(&body, ",\"code\":");
    fm_buf_json(&body, fm_slice_str(fm_err_code(err)));
    if (bad && bad->has_at)
        fm_buf_printf(&body, ",\"at\":%zu", bad->at);
    if (bad && bad->has_index)
        fm_buf_printf(&body, ",\"index\":%u", bad->index);
    if (retry_ms)
        fm_buf_printf(&body, ",\"retry_after_ms\":%u", retry_ms);
    fm_buf_str(&body, "}\n");
    struct fm_slice headers = {0};
    snprintf(again, sizeof again, "Retry-After: %u\r\n", retry_ms > 1000 ? retry_ms / 1000 + (retry_ms % 1000 != 0) : 1);
    if (status == 401)
        headers = FM_LIT("WWW-Authenticate: Bearer realm=\"fanmesh\"\r\n");
    else if (status == 429 || status == 503)
        headers = fm_slice_str(again);
    bool whole = !sentence.failed && !body.failed;
    fm_http_respond(req, status, "application/json", headers,
                    whole ? fm_buf_view(&body) : FM_LIT("{\"error\":\"out of memory\",\"code\":\"out_of_memory\"}\n"));
    fm_buf_fini(&sentence);
    fm_buf_fini(&body);
}

static void refuse(struct fm_http_request *req, enum fm_err err, const struct fm_api_bad *bad, const char *detail)
{
    refuse_for(req, err, bad, detail, 0);
}

/* ---- who may ---- */

/* Does it carry the API's key, in either of the headers that these clients send? Then it is a backend's, and may broadcast to every topic
 * that a rule matches. false: the request is answered, or *backend is false and it is a client's. */
static bool caller_of(struct fm_http_request *req, bool *backend)
{
    const char *detail;
    const char *key = fm_worker_config(req->worker)->api_key;
    if (!req->internal && req->origin.n && !fm_supabase_api_readable(req)) {
        refuse(req, FM_E_ORIGIN, NULL, NULL);
        return false;
    }
    bool keyless = !key || !*key;
    if (!req->internal && keyless) {
        *backend = false; /* the profile for trying things out: what its rules open is open to all */
        return true;
    }
    enum fm_err err = fm_api_judge(req, fm_slice_of(NULL, 0), &detail);
    if (err && !keyless && req->apikey.n)
        err = fm_api_judge(req, req->apikey, &detail);
    *backend = !err;
    if (err && req->internal) {
        refuse(req, err, NULL, detail);
        return false;
    }
    return true;
}

/* The first of the two headers that holds something like a token. */
static struct fm_slice token_of(const struct fm_http_request *req)
{
    const struct fm_slice bearer = FM_LIT("Bearer ");
    struct fm_slice v = req->authorization;
    if (v.n > bearer.n && strncasecmp((const char *)v.p, (const char *)bearer.p, bearer.n) == 0 &&
        fm_jwt_looks(fm_slice_of(v.p + bearer.n, v.n - bearer.n)))
        return fm_slice_of(v.p + bearer.n, v.n - bearer.n);
    return fm_jwt_looks(req->apikey) ? req->apikey : fm_slice_of(NULL, 0);
}

/* Whose it is, where the node reads tokens. false: the request is answered. */
static bool client_identify(struct fm_http_request *req, struct fm_identity **id)
{
    const struct fm_auth *auth = fm_worker_config(req->worker)->auth;
    struct fm_slice token = auth ? token_of(req) : fm_slice_of(NULL, 0);
    struct fm_token_fault fault = {FM_E_TOKEN_MISSING, NULL};
    *id = NULL;
    if (!auth || (!token.n && !auth->required) || (token.n && fm_admit_token(req->worker, &req->client, token, id, &fault)))
        return true;
    refuse(req, fault.err, NULL, fault.why);
    return false;
}

/* Is somebody asked before a client's push gets there, which nobody is here? NULL: no. */
static const char *somebody_is_asked(const struct fm_worker_config *config, const struct fm_rule *rule, struct fm_slice topic)
{
    if (config->hook && config->hook->connect_asks)
        return "the backend decides who may connect, so send it on a channel that is joined";
    if (rule->join == FM_WHO_HOOK || fm_handler_of(config->handlers, FM_QUESTION_JOIN, topic))
        return "who may join there is decided join by join, so send it on a channel that is joined";
    if (rule->push == FM_WHO_HOOK || fm_handler_of(config->handlers, FM_QUESTION_PUSH, topic))
        return "what clients push there is decided push by push, so send it on a channel that is joined";
    return NULL;
}

/* *why: what is said besides. */
static enum fm_err topic_may(const struct fm_worker_config *config, const struct fm_identity *id, struct fm_slice topic, const char **why)
{
    const struct fm_rule *rule = fm_rules_match(config->rules, topic);
    uint64_t now_s = fm_unix_s();
    *why = "clients may not push there";
    enum fm_err err = fm_who_may(rule ? rule->push : FM_WHO_NOBODY, id, topic, FM_RIGHT_PUSH, now_s);
    if (err)
        return err;
    *why = "who may not join there may not push either";
    err = fm_who_may(rule->join, id, topic, FM_RIGHT_JOIN, now_s);
    if (err)
        return err;
    *why = somebody_is_asked(config, rule, topic);
    return *why ? FM_E_FORBIDDEN : FM_OK;
}

/* What a client may push on a socket, after a join, it may broadcast without one. */
static bool client_may(struct fm_http_request *req, const struct fm_api_order *order, const struct fm_identity *id)
{
    const struct fm_worker_config *config = fm_worker_config(req->worker);
    struct fm_api_bad bad = {.has_index = order->several};
    for (; bad.index < order->n; bad.index++) {
        struct fm_slice topic = fm_msg_topic(order->msgs[bad.index]);
        const char *why = "changes are published by the API";
        bad.err =
            fm_supabase_is_change(topic, fm_msg_event(order->msgs[bad.index])) ? FM_E_RESERVED_EVENT : topic_may(config, id, topic, &why);
        if (!bad.err)
            continue;
        snprintf(bad.detail, sizeof bad.detail, "`%.*s`: %s", (int)topic.n, (const char *)topic.p, why);
        refuse(req, bad.err, &bad, NULL);
        return false;
    }
    return true;
}

/* As fast as it might push on a socket. false: the request is answered. */
static bool client_limit(struct fm_http_request *req, const struct fm_api_order *order, const struct fm_identity *id)
{
    const struct fm_sender who = {.peer = &req->client, .user = id ? id->user : fm_slice_of(NULL, 0)};
    uint32_t retry_ms;
    enum fm_err err = fm_worker_limit_sender(req->worker, &who, order->msgs, order->n, &retry_ms);
    if (err)
        refuse_for(req, err, NULL, NULL, retry_ms);
    return !err;
}

/* ---- before their bodies are read ---- */

enum { WHITE_SPACE = 1024 /* around the one message of a body */ };

static bool head_good(struct fm_http_request *req, uint32_t max, const char *too_large)
{
    bool backend;
    if (!caller_of(req, &backend))
        return false;
    if (req->announced == FM_HTTP_UNKNOWN)
        refuse(req, FM_E_LENGTH_REQUIRED, NULL, NULL);
    else if (req->announced > max)
        refuse(req, FM_E_TOO_LARGE, NULL, too_large);
    else
        return true;
    return false;
}

bool fm_supabase_api_batch_head(struct fm_http_request *req)
{
    return head_good(req, fm_worker_config(req->worker)->body_max, "the body is larger than api_body_max");
}

bool fm_supabase_api_one_head(struct fm_http_request *req)
{
    return head_good(req, fm_worker_config(req->worker)->message_max + WHITE_SPACE, "the body is larger than message_max");
}

/* ---- the requests ---- */

static void on_published(struct fm_http_request *req, struct fm_item *item)
{
    struct fm_publish *p = (struct fm_publish *)item;
    if (p->err == FM_OK)
        fm_http_respond(req, 202, "text/plain", fm_slice_of(NULL, 0), fm_slice_of(NULL, 0));
    else if (p->err == FM_E_TOO_MANY)
        refuse(req, FM_E_BUSY, NULL, "the node knows as many topics as its option topics_max allows");
    else
        refuse(req, p->err, NULL, NULL);
    fm_publish_free(&p);
}

/* false: the request is answered. */
static bool begin(struct fm_http_request *req, struct fm_api_limits *limits, bool *backend)
{
    if (!caller_of(req, backend))
        return false;
    *limits = fm_api_limits_of(req);
    /* A client's key would hide a backend's later publish with the same one. */
    if (*backend && req->idempotency_key.n && fm_api_key_of(req->idempotency_key, &limits->key)) {
        refuse(req, FM_E_INVALID, NULL, "the header Idempotency-Key must be 1 to 128 visible ASCII characters");
        return false;
    }
    return true;
}

/* `?persist=true` or `?persist[ttl]=60`: the sender counts on a later replay. */
static bool can_store(struct fm_http_request *req, const struct fm_api_order *order)
{
    char value[8];
    bool wanted = fm_query_param(req->query, "persist", true, value, sizeof value) == FM_OK && strcmp(value, "true") == 0;
    wanted = wanted || fm_query_param(req->query, "persist[ttl]", true, value, sizeof value) != FM_E_NOT_FOUND;
    for (uint32_t i = 0; wanted && i < order->n; i++) {
        const struct fm_rule *rule = fm_rules_match(fm_worker_config(req->worker)->rules, fm_msg_topic(order->msgs[i]));
        if (rule && rule->history.count)
            continue;
        refuse(req, FM_E_INVALID, NULL, FM_SUPABASE_NOT_STORED);
        return false;
    }
    return true;
}

static void finish(struct fm_http_request *req, enum fm_err err, const struct fm_api_bad *bad, struct fm_api_order *order, bool backend)
{
    struct fm_identity *id = NULL;
    if (err)
        refuse(req, err, bad, NULL);
    else if ((backend || (client_identify(req, &id) && client_may(req, order, id))) && can_store(req, order) &&
             (backend || client_limit(req, order, id)))
        fm_api_publish_order(req, order, on_published);
    else
        fm_api_order_fini(order);
    fm_identity_unref(&id);
}

void fm_supabase_api_batch(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    struct fm_api_limits limits;
    struct fm_api_order order;
    struct fm_api_bad bad;
    bool backend;
    if (!begin(req, &limits, &backend))
        return;
    if (!fm_http_media_is(req->content_type, "application/json")) {
        refuse(req, FM_E_MEDIA_TYPE, NULL, "send `Content-Type: application/json`");
        return;
    }
    enum fm_err err = fm_supabase_body_batch(&limits, req->body, &order, &bad);
    finish(req, err, &bad, &order, backend);
}

/* TOPIC/events/EVENT of the path as it came, in which a slash of a name is not one of the path. */
static struct fm_slice names_of(struct fm_slice raw_path)
{
    const struct fm_slice head = FM_LIT(PATH "/");
    const uint8_t *at = raw_path.n ? memmem(raw_path.p, raw_path.n, head.p, head.n) : NULL;
    size_t skip = at ? (size_t)(at - raw_path.p) + head.n : raw_path.n;
    return fm_slice_of(raw_path.p + skip, raw_path.n - skip);
}

void fm_supabase_api_one(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    struct fm_api_limits limits;
    struct fm_api_order order;
    struct fm_api_bad bad;
    struct fm_buf topic = {0}, event = {0};
    bool backend, binary = fm_http_media_is(req->content_type, "application/octet-stream");
    if (!begin(req, &limits, &backend))
        return;
    if (!binary && !fm_http_media_is(req->content_type, "application/json")) {
        refuse(req, FM_E_MEDIA_TYPE, NULL, "send `Content-Type: application/json` or `application/octet-stream`");
        return;
    }
    if (fm_supabase_path(names_of(req->raw_path), &topic, &event)) {
        refuse(req, FM_E_INVALID, NULL, "the path is " PATH "/TOPIC/events/EVENT, each name percent-encoded and of at most 255 bytes");
    } else {
        enum fm_err err = fm_supabase_body_one(&limits, fm_buf_view(&topic), fm_buf_view(&event), binary, req->body, &order, &bad);
        finish(req, err, &bad, &order, backend);
    }
    fm_buf_fini(&topic);
    fm_buf_fini(&event);
}
