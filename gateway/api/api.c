/* The router of the HTTP API. One table says what exists; the list at /api, the 404, the 405 and docs/api.md follow it. */
#include "api_state.h"
#include "supabase_api.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static bool body_good(struct fm_http_request *req);

const struct fm_route fm_api_routes[] = {
    {FM_HTTP_POST, "/api/publish", FM_ON_INTERNAL, true, "", body_good, fm_api_publish, "publish a message to one or several topics"},
    {FM_HTTP_POST, "/api/publish/batch", FM_ON_INTERNAL, true, "ack replicas timeout_ms", body_good, fm_api_publish_batch,
     "publish many messages: a JSON array, or one object a line (application/x-ndjson)"},
    {FM_HTTP_POST, "/api/broadcast", FM_ON_BOTH, false, "*", fm_supabase_api_batch_head, fm_supabase_api_batch,
     "broadcast messages to Supabase's channels, as its clients do"},
    {FM_HTTP_POST, "/api/broadcast/{topic}/events/{event}", FM_ON_BOTH, false, "*", fm_supabase_api_one_head, fm_supabase_api_one,
     "broadcast one message, JSON or bytes, likewise"},
    {FM_HTTP_GET, "/api/topics", FM_ON_INTERNAL, true, "prefix after limit", NULL, fm_api_topics, "the topics that this node knows"},
    {FM_HTTP_GET, "/api/topics/{topic}/history", FM_ON_INTERNAL, true, "cursor limit", NULL, fm_api_history,
     "what a topic remembers, from a cursor on"},
    {FM_HTTP_DELETE, "/api/topics/{topic}/history", FM_ON_INTERNAL, true, "timeout_ms", NULL, fm_api_delete_history,
     "deletes what a topic remembers, on all nodes"},
    {FM_HTTP_GET, "/api/topics/{topic}/subscribers", FM_ON_INTERNAL, true, "user after limit timeout_ms", NULL, fm_api_subscribers,
     "who has joined a topic, on all nodes"},
    {FM_HTTP_GET, "/api/connections", FM_ON_INTERNAL, true, "user after limit timeout_ms", NULL, fm_api_connections,
     "who is connected, to all nodes"},
    {FM_HTTP_POST, "/api/disconnect", FM_ON_INTERNAL, true, "", body_good, fm_api_disconnect, "disconnects a user, on all nodes"},
    {FM_HTTP_POST, "/api/revoke", FM_ON_INTERNAL, true, "", body_good, fm_api_revoke, "revokes a user's tokens, on all nodes"},
    {FM_HTTP_POST, "/api/unsubscribe", FM_ON_INTERNAL, true, "", body_good, fm_api_unsubscribe,
     "ends a user's channels of a topic, on all nodes"},
    {FM_HTTP_GET, "/api/topics/{topic}/presence", FM_ON_INTERNAL, true, "after limit", NULL, fm_api_presence,
     "who is on a topic, on all nodes"},
    {FM_HTTP_PUT, "/api/topics/{topic}/presence", FM_ON_INTERNAL, true, "", body_good, fm_api_show,
     "shows somebody on a topic, for a while"},
    {FM_HTTP_DELETE, "/api/topics/{topic}/presence", FM_ON_INTERNAL, true, "key timeout_ms", NULL, fm_api_hide,
     "shows nobody under a key any more whom the API showed, on all nodes"},
    {FM_HTTP_GET, "/api/topics/{topic}/presence/count", FM_ON_INTERNAL, true, "", NULL, fm_api_presence_count, "how many are on a topic"},
    {FM_HTTP_GET, "/api/cluster", FM_ON_INTERNAL, true, "", NULL, fm_api_cluster, "this node, its peers, and what it has of whom"},
    {FM_HTTP_GET, "/api", FM_ON_INTERNAL, true, "", NULL, fm_api_list, "this list"},
    {FM_HTTP_GET, "/metrics", FM_ON_INTERNAL, true, "", NULL, fm_api_metrics, "counters in Prometheus's text format"},
    {FM_HTTP_GET, "/healthz", FM_ON_BOTH, false, "", NULL, fm_api_healthz, "200 while the node runs"},
    {FM_HTTP_GET, "/readyz", FM_ON_BOTH, false, "", NULL, fm_api_readyz, "200 while clients should be sent here, else 503"},
    {.path = NULL},
};

/* ---- the context ---- */

enum fm_err fm_api_new(struct fm_api **out, const struct fm_api_config *config)
{
    struct fm_api *api = calloc(1, sizeof *api);
    *out = api;
    if (!api)
        return FM_E_NOMEM;
    api->config = *config;
    atomic_init(&api->draining, false);
    return FM_OK;
}

void fm_api_free(struct fm_api **api)
{
    free(*api);
    *api = NULL;
}

void fm_api_attach(struct fm_api *api, struct fm_hub_thread *hub, struct fm_worker *const *workers, unsigned n)
{
    assert(hub && n <= FM_API_WORKERS_MAX);
    api->hub = hub;
    for (unsigned i = 0; i < n; i++)
        api->workers[i] = workers[i];
    api->n = n;
}

void fm_api_draining(struct fm_api *api)
{
    atomic_store_explicit(&api->draining, true, memory_order_relaxed);
}

const struct fm_api *fm_api_of(const struct fm_http_request *req)
{
    return fm_worker_config(req->worker)->api;
}

/* ---- who may ---- */

/* Without a key (the dev profile) any web page that the developer opens could reach the API: by a plain cross-site request, or under a name
 * of its own that resolves to this machine. The first carries an Origin; the second's Host is a public name. */
static bool is_local_name(struct fm_slice host)
{
    if (host.n && host.p[0] == '[')
        return true;
    const uint8_t *colon = host.n ? memchr(host.p, ':', host.n) : NULL;
    struct fm_slice name = fm_slice_of(host.p, colon ? (size_t)(colon - host.p) : host.n);
    bool digits = true, dots = false;
    for (size_t i = 0; i < name.n; i++) {
        dots = dots || name.p[i] == '.';
        digits = digits && (name.p[i] == '.' || (name.p[i] >= '0' && name.p[i] <= '9'));
    }
    return digits || !dots;
}

/* Under dev_api: a page that this node may answer, since it comes from this machine: http://localhost:4010, say. Of whatever port, so that
 * a page that one node has served may ask the others. */
static bool is_local_page(const struct fm_http_request *req, const struct fm_api *api)
{
    static const char *const schemes[] = {"http://", "https://"}, *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    if (req->internal || !api->config.on_public)
        return false;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            size_t scheme = strlen(schemes[i]), name = strlen(names[k]), n = req->origin.n;
            const char *p = (const char *)req->origin.p;
            if (n < scheme + name || memcmp(p, schemes[i], scheme) != 0 || memcmp(p + scheme, names[k], name) != 0)
                continue;
            if (n == scheme + name || p[scheme + name] == ':')
                return true;
        }
    return false;
}

/* Before a browser sends a page's request to another origin than the page's own it asks whether it may. */
static void answer_preflight(struct fm_http_request *req)
{
    fm_http_respond(req, 204, "",
                    FM_LIT("Access-Control-Allow-Methods: GET, POST\r\n"
                           "Access-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key, apikey, X-Client-Info\r\n"
                           "Access-Control-Max-Age: 600\r\n"),
                    fm_slice_of(NULL, 0));
}

/* Is it one of the words of `keys`? All are looked at, so that the time tells nothing of which. */
static bool is_key(struct fm_slice given, const char *keys)
{
    bool good = false;
    while (*(keys += strspn(keys, " "))) {
        size_t n = strcspn(keys, " ");
        good |= fm_slice_eq_secret(given, fm_slice_of(keys, n));
        keys += n;
    }
    return good;
}

/* What the header Authorization holds behind `Bearer `; empty: nothing. */
static struct fm_slice bearer_of(struct fm_slice authorization)
{
    const struct fm_slice scheme = FM_LIT("Bearer ");
    if (authorization.n <= scheme.n || strncasecmp((const char *)authorization.p, (const char *)scheme.p, scheme.n) != 0)
        return fm_slice_of(NULL, 0);
    return fm_slice_of(authorization.p + scheme.n, authorization.n - scheme.n);
}

enum fm_err fm_api_judge(const struct fm_http_request *req, struct fm_slice given, const char **detail)
{
    const char *key = fm_worker_config(req->worker)->api_key;
    *detail = NULL;
    if (!key || !*key) {
        if ((req->origin.n == 0 || is_local_page(req, fm_api_of(req))) && is_local_name(req->host))
            return FM_OK;
        *detail = "this node has no API key, so it takes no requests from web pages and none under a public name; set the option "
                  "api_key, or dev_api for pages on this machine";
        return FM_E_FORBIDDEN;
    }
    if (!given.n)
        given = bearer_of(req->authorization);
    if (given.n && is_key(given, key))
        return FM_OK;
    if (!given.n && !req->authorization.n)
        *detail = "there is no Authorization header";
    return FM_E_UNAUTHORIZED;
}

/* Answers the request and returns false where it may not. */
static bool authorized(struct fm_http_request *req)
{
    const char *detail;
    enum fm_err err = fm_api_judge(req, fm_slice_of(NULL, 0), &detail);
    if (err)
        fm_http_fail(req, err, detail);
    return !err;
}

/* ---- which route ---- */

static bool path_is(const char *pattern, struct fm_slice path, struct fm_slice *variable)
{
    const char *open = strchr(pattern, '{');
    *variable = fm_slice_of(NULL, 0);
    if (!open)
        return fm_slice_eq(path, fm_slice_str(pattern));
    const char *close = strchr(open, '}');
    assert(close);
    const char *again = strchr(close, '{');
    struct fm_slice before = fm_slice_of(pattern, (size_t)(open - pattern)), after = fm_slice_str(close + 1);
    if (again)
        after.n = (size_t)(again - close) - 1;
    if (path.n <= before.n + after.n || !fm_slice_starts(path, before))
        return false;
    if (again) {
        *variable = fm_slice_of(path.p + before.n, path.n - before.n);
        return memmem(variable->p, variable->n, after.p, after.n) != NULL;
    }
    if (!fm_slice_eq(fm_slice_of(path.p + path.n - after.n, after.n), after))
        return false;
    *variable = fm_slice_of(path.p + before.n, path.n - before.n - after.n);
    return true;
}

static bool listens_here(const struct fm_route *r, const struct fm_http_request *req)
{
    return req->internal ? (r->on & FM_ON_INTERNAL) != 0 : (r->on & FM_ON_PUBLIC) || fm_api_of(req)->config.on_public;
}

static bool method_is(const struct fm_route *r, enum fm_http_method method)
{
    return r->method == method || (r->method == FM_HTTP_GET && method == FM_HTTP_HEAD);
}

static void list_routes(struct fm_buf *b, const struct fm_http_request *req)
{
    fm_buf_str(b, "\"routes\":[");
    const char *comma = "";
    for (const struct fm_route *r = fm_api_routes; r->path; r++) {
        if (!listens_here(r, req))
            continue;
        fm_buf_printf(b, "%s{\"method\":\"%s\",\"path\":\"%s\",\"does\":", comma, fm_http_method_name(r->method), r->path);
        fm_buf_json(b, fm_slice_str(r->prose));
        fm_buf_u8(b, '}');
        comma = ",";
    }
    fm_buf_u8(b, ']');
}

void fm_api_list(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    struct fm_buf b = {0};
    fm_buf_u8(&b, '{');
    list_routes(&b, req);
    fm_buf_str(&b, "}\n");
    fm_api_answer(req, &b);
}

static void no_such_path(struct fm_http_request *req)
{
    struct fm_buf routes = {0};
    list_routes(&routes, req);
    fm_http_fail_with(req, &(struct fm_http_error){.err = FM_E_NOT_FOUND,
                                                   .detail = "`routes` lists what there is",
                                                   .members = routes.failed ? fm_slice_of(NULL, 0) : fm_buf_view(&routes)});
    fm_buf_fini(&routes);
}

static void no_such_method(struct fm_http_request *req, unsigned methods)
{
    struct fm_buf allow = {0};
    fm_buf_str(&allow, "Allow:");
    const char *comma = " ";
    for (enum fm_http_method m = FM_HTTP_GET; m < FM_HTTP_OTHER; m++) {
        if (!(methods & 1u << m))
            continue;
        fm_buf_printf(&allow, "%s%s", comma, fm_http_method_name(m));
        comma = ", ";
    }
    fm_buf_str(&allow, "\r\n");
    fm_http_fail_with(req, &(struct fm_http_error){.err = FM_E_METHOD,
                                                   .detail = "see the header Allow",
                                                   .headers = allow.failed ? fm_slice_of(NULL, 0) : fm_buf_view(&allow)});
    fm_buf_fini(&allow);
}

/* A parameter that the route does not know is a mistake of the caller's that would go unnoticed. */
static bool params_known(struct fm_http_request *req, const struct fm_route *r)
{
    struct fm_slice name;
    if (strcmp(r->params, "*") == 0 || fm_query_known(req->query, r->params, NULL, &name))
        return true;
    struct fm_buf detail = {0};
    fm_buf_printf(&detail, "`%.*s`; this path takes %s", name.n < 64 ? (int)name.n : 64, (const char *)name.p,
                  r->params[0] ? r->params : "no parameters");
    fm_buf_u8(&detail, 0);
    fm_http_fail(req, FM_E_UNKNOWN_MEMBER, detail.failed ? NULL : (const char *)detail.p);
    fm_buf_fini(&detail);
    return false;
}

/* The route, or NULL; *methods: those that its path takes, 0 if there is none with this path. */
static const struct fm_route *route_find(const struct fm_http_request *req, struct fm_slice *variable, unsigned *methods)
{
    const struct fm_route *found = NULL;
    struct fm_slice stands;
    *methods = 0;
    for (const struct fm_route *r = fm_api_routes; r->path && !found; r++) {
        if (!listens_here(r, req) || !path_is(r->path, req->path, &stands))
            continue;
        *methods |= 1u << r->method | (r->method == FM_HTTP_GET ? 1u << FM_HTTP_HEAD : 0);
        if (method_is(r, req->method)) {
            found = r;
            *variable = stands;
        }
    }
    return found;
}

/* The path without a mount, and whose page may read the answer. */
static void request_prepare(struct fm_http_request *req)
{
    req->path = fm_supabase_api_path(fm_worker_config(req->worker), req->path);
    if (is_local_page(req, fm_api_of(req)) || fm_supabase_api_readable(req))
        req->readable_by = req->origin;
}

static bool body_good(struct fm_http_request *req)
{
    if (req->announced == FM_HTTP_UNKNOWN)
        fm_http_fail(req, FM_E_LENGTH_REQUIRED, NULL);
    else if (req->announced > fm_worker_config(req->worker)->body_max)
        fm_http_fail(req, FM_E_TOO_LARGE, "the body is larger than api_body_max");
    else
        return true;
    return false;
}

bool fm_api_head(struct fm_http_request *req)
{
    struct fm_slice variable;
    unsigned methods;
    request_prepare(req);
    const struct fm_route *route = route_find(req, &variable, &methods);
    if (!route) {
        fm_api_handle(req); /* says so */
        return false;
    }
    if (route->key && !authorized(req))
        return false;
    if (route->head)
        return route->head(req);
    fm_http_fail(req, FM_E_TOO_LARGE, "this path takes no body");
    return false;
}

void fm_api_handle(struct fm_http_request *req)
{
    struct fm_slice variable;
    unsigned methods;
    request_prepare(req);
    if (req->readable_by.n && req->method == FM_HTTP_OPTIONS) {
        answer_preflight(req);
        return;
    }
    const struct fm_route *found = route_find(req, &variable, &methods);
    if (!methods && !req->internal) {
        fm_api_static(req);
        return;
    }
    /* Without the key the internal listener does not even tell what there is. */
    if ((found ? found->key : req->internal) && !authorized(req))
        return;
    if (!methods)
        no_such_path(req);
    else if (!found)
        no_such_method(req, methods);
    else if (params_known(req, found))
        found->handle(req, variable);
}

/* ---- for the handlers ---- */

void fm_api_answer(struct fm_http_request *req, struct fm_buf *body)
{
    if (body->failed)
        fm_http_fail(req, FM_E_NOMEM, NULL);
    else
        fm_http_respond(req, 200, "application/json", fm_slice_of(NULL, 0), fm_buf_view(body));
    fm_buf_fini(body);
}

static void bad_param(struct fm_http_request *req, const char *name, const char *must)
{
    struct fm_buf detail = {0};
    fm_buf_printf(&detail, "the parameter `%s` %s", name, must);
    fm_buf_u8(&detail, 0);
    fm_http_fail(req, FM_E_INVALID, detail.failed ? NULL : (const char *)detail.p);
    fm_buf_fini(&detail);
}

bool fm_api_text(struct fm_http_request *req, const char *name, char *out, size_t out_size, bool *present)
{
    enum fm_err err = fm_query_param(req->query, name, true, out, out_size);
    *present = err == FM_OK;
    if (err == FM_OK)
        return true;
    out[0] = 0;
    if (err == FM_E_NOT_FOUND)
        return true;
    bad_param(req, name, err == FM_E_TOO_LARGE ? "is too long" : "is not percent-encoded text without zero bytes");
    return false;
}

bool fm_api_number(struct fm_http_request *req, const char *name, uint32_t max, uint32_t fallback, uint32_t *out)
{
    char text[16], must[48];
    bool present;
    uint64_t v;
    *out = fallback;
    if (!fm_api_text(req, name, text, sizeof text, &present))
        return false;
    if (!present)
        return true;
    if (fm_slice_u64(fm_slice_str(text), max, &v) || v == 0) {
        snprintf(must, sizeof must, "must be a whole number from 1 to %u", max);
        bad_param(req, name, must);
        return false;
    }
    *out = (uint32_t)v;
    return true;
}

/* ---- waiting for the hub ---- */

struct waiter { /* of a request; req->user */
    struct fm_http_request *req;
    fm_api_answered_fn *answered;
    uint64_t token;
};

static void on_answered(void *ctx, struct fm_item *item)
{
    struct waiter *w = ctx;
    struct fm_http_request *req = w->req;
    fm_api_answered_fn *answered = w->answered;
    req->gone = NULL;
    req->user = NULL;
    free(w);
    answered(req, item);
}

static void on_gone(struct fm_http_request *req)
{
    struct waiter *w = req->user;
    fm_worker_forget(req->worker, w->token);
    req->user = NULL;
    free(w);
}

uint64_t fm_api_wait(struct fm_http_request *req, fm_api_answered_fn *answered)
{
    struct waiter *w = calloc(1, sizeof *w);
    if (!w)
        return 0;
    w->req = req;
    w->answered = answered;
    w->token = fm_worker_expect(req->worker, on_answered, w);
    if (!w->token) {
        free(w);
        return 0;
    }
    req->user = w;
    req->gone = on_gone;
    return w->token;
}

enum fm_err fm_api_try_post(struct fm_http_request *req, struct fm_item *item)
{
    enum fm_err err = fm_hub_post(fm_worker_config(req->worker)->hub, item);
    if (err == FM_OK)
        return FM_OK;
    on_gone(req);
    req->gone = NULL;
    return err;
}

void fm_api_post(struct fm_http_request *req, struct fm_item *item)
{
    enum fm_err err = fm_api_try_post(req, item);
    if (err == FM_OK)
        return;
    fm_hub_item_free(item);
    fm_http_fail(req, err, NULL);
}
