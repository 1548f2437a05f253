#include "credential.h"

#include "../../broker/base64.h"

#include <strings.h>

enum { NAME_MAX_BYTES = 64 };

static bool same(struct fm_slice a, const char *b)
{
    return a.n == strlen(b) && strncasecmp((const char *)a.p, b, a.n) == 0;
}

static bool starts(struct fm_slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && strncasecmp((const char *)s.p, prefix, n) == 0;
}

static bool fail(const char **why, const char *text)
{
    *why = text;
    return false;
}

static bool take(struct fm_credential *c, struct fm_slice token, enum fm_credential_from from, const char **why)
{
    if (token.n > FM_TOKEN_MAX)
        return fail(why, "it is longer than 8192 bytes");
    if (token.n)
        memcpy(c->token, token.p, token.n);
    c->token[token.n] = 0;
    c->n = token.n;
    c->from = from;
    return true;
}

/* The first header field of a name. */
static bool field(struct fm_slice head, const char *name, struct fm_slice *value)
{
    struct fm_slice rest = fm_http1_fields(head), key;
    while (fm_http1_field(&rest, &key, value))
        if (same(key, name))
            return true;
    return false;
}

/* ---- places ---- */

static bool in_authorization(struct fm_slice head, struct fm_credential *c, const char **why)
{
    struct fm_slice v;
    if (!field(head, "authorization", &v) || !starts(v, "bearer "))
        return true; /* who logs in elsewhere by another scheme has a proxy for it */
    return take(c, fm_http1_trim(fm_slice_of(v.p + 7, v.n - 7)), FM_CREDENTIAL_GIVEN, why);
}

static bool in_phoenix_header(struct fm_slice head, struct fm_credential *c, const char **why)
{
    struct fm_slice v;
    return !field(head, "x-phoenix-authtoken", &v) || take(c, v, FM_CREDENTIAL_GIVEN, why);
}

static bool in_subprotocol(struct fm_slice head, struct fm_credential *c, const char **why)
{
    static const char prefix[] = "base64url.bearer.phx.";
    struct fm_slice list;
    if (!field(head, "sec-websocket-protocol", &list))
        return true;
    while (list.n) {
        const uint8_t *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        struct fm_slice item = fm_http1_trim(fm_slice_of(list.p, n));
        list = fm_slice_of(list.p + n + (comma ? 1 : 0), list.n - n - (comma ? 1 : 0));
        if (!starts(item, prefix))
            continue;
        struct fm_buf b = {0};
        size_t at;
        bool ok = fm_base64_decode(fm_slice_of(item.p + sizeof prefix - 1, item.n - sizeof prefix + 1), &b, &at) == FM_OK;
        ok = ok ? take(c, fm_buf_view(&b), FM_CREDENTIAL_GIVEN, why) : fail(why, "it is not base64 in its subprotocol");
        if (b.p)
            explicit_bzero(b.p, b.n);
        fm_buf_fini(&b);
        return ok;
    }
    return true;
}

static bool in_query(struct fm_slice query, const char *param, struct fm_credential *c, const char **why)
{
    size_t n = 0;
    if (!*param)
        return true;
    switch (fm_query_param(query, param, false, c->token, sizeof c->token)) {
    case FM_OK:
        n = strlen(c->token);
        break;
    case FM_E_TOO_LARGE:
        return fail(why, "it is longer than 8192 bytes");
    case FM_E_NOT_FOUND:
        return true;
    default:
        return fail(why, "it is not well encoded in the query");
    }
    c->n = n;
    c->from = n ? FM_CREDENTIAL_GIVEN : FM_CREDENTIAL_NONE; /* phoenix.js writes a param without a value as well */
    return true;
}

/* Two cookies of one name that differ: one is of another site under the same domain, and nobody knows which. */
static bool in_cookie(struct fm_slice head, const char *name, struct fm_credential *c, const char **why)
{
    struct fm_slice rest = fm_http1_fields(head), key, line, found = {0};
    bool any = false;
    while (*name && fm_http1_field(&rest, &key, &line)) {
        while (same(key, "cookie") && line.n) {
            const uint8_t *semi = memchr(line.p, ';', line.n);
            size_t n = semi ? (size_t)(semi - line.p) : line.n;
            struct fm_slice pair = fm_http1_trim(fm_slice_of(line.p, n));
            line = fm_slice_of(line.p + n + (semi ? 1 : 0), line.n - n - (semi ? 1 : 0));
            size_t name_n = strlen(name);
            if (pair.n <= name_n || pair.p[name_n] != '=' || memcmp(pair.p, name, name_n) != 0)
                continue;
            struct fm_slice value = fm_slice_of(pair.p + name_n + 1, pair.n - name_n - 1);
            if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
                value = fm_slice_of(value.p + 1, value.n - 2);
            if (any && !fm_slice_eq(value, found))
                return fail(why, "there are two cookies with its name");
            found = value;
            any = true;
        }
    }
    return !found.n || take(c, found, FM_CREDENTIAL_COOKIE, why);
}

bool fm_credential_find(struct fm_slice head, struct fm_slice query, const char *param, const char *cookie, struct fm_credential *c,
                        const char **why)
{
    c->from = FM_CREDENTIAL_NONE;
    c->n = 0;
    c->token[0] = 0;
    if (!in_authorization(head, c, why))
        return false;
    if (c->from == FM_CREDENTIAL_NONE && !in_phoenix_header(head, c, why))
        return false;
    if (c->from == FM_CREDENTIAL_NONE && !in_subprotocol(head, c, why))
        return false;
    if (c->from == FM_CREDENTIAL_NONE && !in_query(query, param, c, why))
        return false;
    return c->from != FM_CREDENTIAL_NONE || in_cookie(head, cookie, c, why);
}

void fm_credential_fini(struct fm_credential *c)
{
    explicit_bzero(c->token, sizeof c->token);
    c->n = 0;
}

void fm_credential_strip(struct fm_buf *out, struct fm_slice query, const char *param)
{
    struct fm_slice name, value;
    bool first = true;
    while (fm_query_next(&query, &name, &value)) {
        char decoded[NAME_MAX_BYTES];
        if (*param && fm_query_decode(name, decoded, sizeof decoded, NULL) == FM_OK && strcmp(decoded, param) == 0)
            continue;
        if (!first)
            fm_buf_u8(out, '&');
        first = false;
        fm_buf_put(out, name.p, (size_t)(value.p + value.n - name.p)); /* both, and the `=` between them if there is one */
    }
}
