/* What every HTTP answer and query needs, without a connection: error bodies, statuses, decoding. Pure but for fm_http_respond. */
#include "http.h"

#include "../../broker/diag.h"

#include <assert.h>
#include <strings.h>

/* ---- errors ---- */

unsigned fm_http_status_of(enum fm_err err)
{
    switch (err) {
    case FM_OK:
        return 200;
    case FM_E_INVALID:
    case FM_E_SHORT:
    case FM_E_SYNTAX:
    case FM_E_JSON:
    case FM_E_TOO_DEEP:
    case FM_E_UNKNOWN_MEMBER:
    case FM_E_REQUEST:
    case FM_E_UPGRADE:
        return 400;
    case FM_E_UNAUTHORIZED:
        return 401;
    case FM_E_FORBIDDEN:
    case FM_E_ORIGIN:
    case FM_E_TOKEN_MISSING:
    case FM_E_TOKEN_EXPIRED:
    case FM_E_NOT_GRANTED:
    case FM_E_TOKEN:
    case FM_E_TOKEN_KEY:
    case FM_E_TOKEN_REVOKED:
    case FM_E_TOKEN_USER:
        return 403;
    case FM_E_UNMATCHED_TOPIC:
    case FM_E_NOT_FOUND:
        return 404;
    case FM_E_METHOD:
        return 405;
    case FM_E_LENGTH_REQUIRED:
        return 411;
    case FM_E_TOO_LARGE:
    case FM_E_TOO_MANY:
        return 413;
    case FM_E_MEDIA_TYPE:
        return 415;
    case FM_E_RESERVED_EVENT:
        return 422;
    case FM_E_RATE_LIMITED:
    case FM_E_TOO_MANY_CONNECTIONS:
        return 429;
    case FM_E_NOMEM:
    case FM_E_BUSY:
    case FM_E_NOT_READY:
    case FM_E_DRAINING:
    case FM_E_DEAF:
    case FM_E_ISOLATED:
    case FM_E_CLOSED:
    case FM_E_UNAVAILABLE:
    case FM_E_PRESENCE_FULL:
        return 503;
    case FM_E_BAD_ANSWER:
        return 502;
    case FM_E_NOT_REPLICATED:
    case FM_E_TIMEOUT:
        return 504;
    default: /* errors of the mesh and the settings: none of them is a client's fault */
        return 500;
    }
}

void fm_http_fail_with(struct fm_http_request *req, const struct fm_http_error *error)
{
    assert(error->err != FM_OK);
    unsigned status = error->status ? error->status : fm_http_status_of(error->err);
    struct fm_buf headers = {0}, body = {0}, sentence = {0};
    if (fm_diag_level_get() <= FM_DEBUG) {
        char peer[FM_PEER_TEXT_MAX];
        fm_diag(FM_DEBUG, "http_refused", "peer=%s status=%u code=%s", fm_peer_text(&req->client, peer), status, fm_err_code(error->err));
    }
    fm_buf_slice(&headers, error->headers);
    if (status == 401)
        fm_buf_str(&headers, "WWW-Authenticate: Bearer realm=\"fanmesh\"\r\n");
    if (status == 429 || status == 503)
        fm_buf_str(&headers, "Retry-After: 1\r\n");
    fm_buf_str(&sentence, fm_err_text(error->err));
    if (error->detail) {
        fm_buf_str(&sentence, ": ");
        fm_buf_str(&sentence, error->detail);
    }
    fm_buf_str(&body, "{\"error\":{\"code\":");
    fm_buf_json(&body, fm_slice_str(fm_err_code(error->err)));
    fm_buf_str(&body, ",\"message\":");
    fm_buf_json(&body, fm_buf_view(&sentence));
    if (error->has_at) {
        fm_buf_str(&body, ",\"at\":");
        fm_buf_dec(&body, error->at);
    }
    if (error->has_index) {
        fm_buf_str(&body, ",\"index\":");
        fm_buf_dec(&body, error->index);
    }
    fm_buf_u8(&body, '}');
    if (error->members.n) {
        fm_buf_u8(&body, ',');
        fm_buf_slice(&body, error->members);
    }
    fm_buf_str(&body, "}\n");
    /* Without memory for the sentence the status still says what happened. */
    bool whole = !headers.failed && !body.failed && !sentence.failed;
    fm_http_respond(req, status, "application/json", whole ? fm_buf_view(&headers) : fm_slice_of(NULL, 0),
                    whole ? fm_buf_view(&body) : FM_LIT("{\"error\":{\"code\":\"out_of_memory\",\"message\":\"\"}}\n"));
    fm_buf_fini(&headers);
    fm_buf_fini(&body);
    fm_buf_fini(&sentence);
}

void fm_http_fail(struct fm_http_request *req, enum fm_err err, const char *detail)
{
    fm_http_fail_with(req, &(struct fm_http_error){.err = err, .detail = detail});
}

/* ---- methods and headers ---- */

const char *fm_http_method_name(enum fm_http_method method)
{
    switch (method) {
    case FM_HTTP_GET:
        return "GET";
    case FM_HTTP_HEAD:
        return "HEAD";
    case FM_HTTP_POST:
        return "POST";
    case FM_HTTP_PUT:
        return "PUT";
    case FM_HTTP_DELETE:
        return "DELETE";
    case FM_HTTP_OPTIONS:
        return "OPTIONS";
    case FM_HTTP_OTHER:
        break;
    }
    return "?";
}

bool fm_http_media_is(struct fm_slice content_type, const char *media)
{
    const uint8_t *end = content_type.n ? memchr(content_type.p, ';', content_type.n) : NULL;
    size_t n = end ? (size_t)(end - content_type.p) : content_type.n;
    size_t from = 0;
    while (from < n && (content_type.p[from] == ' ' || content_type.p[from] == '\t'))
        from++;
    while (n > from && (content_type.p[n - 1] == ' ' || content_type.p[n - 1] == '\t'))
        n--;
    return n - from == strlen(media) && strncasecmp((const char *)content_type.p + from, media, n - from) == 0;
}

/* ---- queries ---- */

bool fm_query_next(struct fm_slice *rest, struct fm_slice *name, struct fm_slice *value)
{
    while (rest->n && rest->p[0] == '&')
        *rest = fm_slice_of(rest->p + 1, rest->n - 1);
    if (rest->n == 0)
        return false;
    const uint8_t *amp = memchr(rest->p, '&', rest->n);
    size_t n = amp ? (size_t)(amp - rest->p) : rest->n;
    const uint8_t *equals = memchr(rest->p, '=', n);
    size_t name_n = equals ? (size_t)(equals - rest->p) : n;
    *name = fm_slice_of(rest->p, name_n);
    *value = equals ? fm_slice_of(equals + 1, n - name_n - 1) : fm_slice_of(rest->p + n, 0);
    *rest = fm_slice_of(rest->p + n, rest->n - n);
    return true;
}

enum fm_err fm_query_decode(struct fm_slice encoded, char *out, size_t out_size, size_t *n)
{
    assert(out_size > 0);
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; i < encoded.n;) {
        bool space = encoded.p[i] == '+';
        uint8_t c;
        if (!fm_percent_read(encoded, &i, &c))
            return FM_E_SYNTAX;
        if (space)
            c = ' ';
        if (at + 1 >= out_size)
            return FM_E_TOO_LARGE;
        out[at++] = (char)c;
        out[at] = 0;
    }
    if (n)
        *n = at;
    return FM_OK;
}

/* Names are compared decoded: a client may encode them as it likes. One that is longer than any of ours, or broken, is not ours. */
static bool name_is(struct fm_slice encoded, const char *name)
{
    char decoded[64];
    return fm_query_decode(encoded, decoded, sizeof decoded, NULL) == FM_OK && strcmp(decoded, name) == 0;
}

enum fm_err fm_query_param(struct fm_slice query, const char *name, bool last, char *out, size_t out_size)
{
    struct fm_slice key, value, found = {0};
    bool any = false;
    while (fm_query_next(&query, &key, &value)) {
        if (!name_is(key, name))
            continue;
        found = value;
        any = true;
        if (!last)
            break;
    }
    if (!any)
        return FM_E_NOT_FOUND;
    return fm_query_decode(found, out, out_size, NULL);
}

static bool is_word(struct fm_slice name, const char *words)
{
    for (const char *p = words; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (fm_slice_eq(fm_slice_of(p, n), name))
            return true;
        p += n;
    }
    return false;
}

bool fm_query_known(struct fm_slice query, const char *known, const char *also, struct fm_slice *unknown)
{
    struct fm_slice name, value;
    while (fm_query_next(&query, &name, &value)) {
        char text[64];
        size_t n;
        if (fm_query_decode(name, text, sizeof text, &n) == FM_OK &&
            (is_word(fm_slice_of(text, n), known) || (also && *also && strcmp(text, also) == 0)))
            continue;
        *unknown = name;
        return false;
    }
    return true;
}

static bool is_behind(struct fm_slice path, const char *mount, const char *behind)
{
    struct fm_slice at = fm_slice_str(mount);
    return fm_slice_starts(path, at) && fm_slice_eq(fm_slice_of(path.p + at.n, path.n - at.n), fm_slice_str(behind));
}

bool fm_http_mounted(const struct fm_http_request *req, const char *mount, const char *other, const char *behind)
{
    return (mount && is_behind(req->path, mount, behind)) || (other && is_behind(req->path, other, behind));
}
