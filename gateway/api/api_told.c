#include "api_told.h"

#include "../json/json_slice.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[FM_API_TOLD_N] = {
#define X(name, text) text,
    FM_API_TOLD_TABLE(X)
#undef X
};

struct parse {
    struct fm_slice body;
    struct fm_api_bad *bad;
};

__attribute__((format(printf, 4, 5))) static enum fm_err refuse(struct parse *p, enum fm_err err, const uint8_t *at, const char *fmt, ...)
{
    *p->bad = (struct fm_api_bad){.err = err, .has_at = at != NULL, .at = at ? (size_t)(at - p->body.p) : 0};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->bad->detail, sizeof p->bad->detail, fmt, ap);
    va_end(ap);
    return err;
}

/* "`user`, `topic`" of the members in `which`. */
static const char *list(unsigned which, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (unsigned i = 0; i < FM_API_TOLD_N; i++)
        if (which >> i & 1)
            n += (size_t)snprintf(out + n, size - n, "%s`%s`", n ? ", " : "", names[i]);
    return out;
}

static enum fm_err text_read(struct parse *p, unsigned member, const struct fm_json *v, uint8_t *out, size_t max, struct fm_slice *text)
{
    if (fm_json_text(v, out, max, text) || text->n == 0 || memchr(text->p, 0, text->n))
        return refuse(p, FM_E_INVALID, v->raw.p, "`%s` must be a string of 1 to %zu bytes without a zero byte", names[member], max);
    return FM_OK;
}

static enum fm_err topic_read(struct parse *p, const struct fm_api_limits *limits, const struct fm_json *v, struct fm_api_told *told)
{
    enum fm_err err = text_read(p, FM_API_TOLD_AT_TOPIC, v, told->topic_text, sizeof told->topic_text, &told->topic);
    if (!err && !fm_rules_match(limits->rules, told->topic))
        err = refuse(p, FM_E_UNMATCHED_TOPIC, v->raw.p, "`%.*s`", (int)told->topic.n, (const char *)told->topic.p);
    return err;
}

static enum fm_err connection_read(struct parse *p, const struct fm_json *v, struct fm_api_told *told)
{
    uint8_t out[FM_ID_TEXT_MAX];
    struct fm_slice text;
    bool good = fm_json_text(v, out, sizeof out, &text) == FM_OK && fm_id_parse((const char *)text.p, text.n, &told->connection) == FM_OK;
    if (!good || told->connection.origin == 0 || told->connection.seq == 0)
        return refuse(p, FM_E_INVALID, v->raw.p, "`connection` must be the name of one, as /api/connections gives it");
    return FM_OK;
}

static enum fm_err meta_read(struct parse *p, const struct fm_api_limits *limits, const struct fm_json *v, struct fm_api_told *told)
{
    if (v->type != FM_JSON_OBJECT)
        return refuse(p, FM_E_INVALID, v->raw.p, "`meta` must be an object");
    if (v->raw.n > limits->meta_max)
        return refuse(p, FM_E_TOO_LARGE, v->raw.p, "`meta` has %zu bytes, the option presence_meta_max allows %u", v->raw.n,
                      limits->meta_max);
    told->meta = v->raw;
    return FM_OK;
}

static enum fm_err timeout_read(struct parse *p, const struct fm_json *v, struct fm_api_told *told)
{
    uint64_t ms;
    if (fm_json_u64(v, FM_API_TIMEOUT_MS_MAX, &ms) || ms == 0)
        return refuse(p, FM_E_INVALID, v->raw.p, "`timeout_ms` must be a whole number from 1 to %d", FM_API_TIMEOUT_MS_MAX);
    told->timeout_ms = (uint32_t)ms;
    return FM_OK;
}

static enum fm_err member_read(struct parse *p, const struct fm_api_limits *limits, unsigned member, const struct fm_json *v,
                               struct fm_api_told *told)
{
    switch (member) {
    case FM_API_TOLD_AT_USER:
        return text_read(p, member, v, told->user_text, sizeof told->user_text, &told->user);
    case FM_API_TOLD_AT_TOPIC:
        return topic_read(p, limits, v, told);
    case FM_API_TOLD_AT_CONNECTION:
        return connection_read(p, v, told);
    case FM_API_TOLD_AT_REASON:
        return text_read(p, member, v, told->reason_text, sizeof told->reason_text, &told->reason);
    case FM_API_TOLD_AT_TIMEOUT_MS:
        return timeout_read(p, v, told);
    case FM_API_TOLD_AT_ISSUED_UNTIL:
        if (fm_json_u64(v, (uint64_t)1 << 48, &told->issued_until_s) || told->issued_until_s == 0)
            return refuse(p, FM_E_INVALID, v->raw.p, "`issued_until` must be a time in seconds since 1970, as in the claim iat");
        return FM_OK;
    case FM_API_TOLD_AT_KEY:
        return text_read(p, member, v, told->key_text, sizeof told->key_text, &told->key);
    case FM_API_TOLD_AT_META:
        return meta_read(p, limits, v, told);
    case FM_API_TOLD_AT_TTL_MS:
        if (fm_json_u64(v, limits->ttl_max_ms, &told->ttl_ms) || told->ttl_ms == 0)
            return refuse(p, FM_E_INVALID, v->raw.p, "`ttl_ms` must be a whole number from 1 to %llu, the option presence_ttl_max",
                          (unsigned long long)limits->ttl_max_ms);
        return FM_OK;
    default: /* RECONNECT */
        if (v->type != FM_JSON_TRUE && v->type != FM_JSON_FALSE)
            return refuse(p, FM_E_INVALID, v->raw.p, "`reconnect` must be true or false");
        told->reconnect = v->type == FM_JSON_TRUE;
        return FM_OK;
    }
}

enum fm_err fm_api_told_parse(const struct fm_api_limits *limits, unsigned takes, unsigned needs, struct fm_slice body,
                              struct fm_api_told *told, struct fm_api_bad *bad)
{
    struct parse p = {body.n ? body : FM_LIT(""), bad};
    struct fm_json root, name, value;
    struct fm_json_error error = {0};
    char known[160];
    unsigned has = 0;
    *told = (struct fm_api_told){.reconnect = true, .timeout_ms = limits->timeout_ms, .meta = FM_LIT("{}"), .ttl_ms = limits->ttl_ms};
    enum fm_err err = fm_json_parse(p.body, FM_JSON_DEPTH, &root, &error);
    if (err)
        return refuse(&p, err, p.body.p + error.at, "%s", error.what);
    if (root.type != FM_JSON_OBJECT)
        return refuse(&p, FM_E_INVALID, root.raw.p, "the body is an object with %s", list(takes, known, sizeof known));
    for (struct fm_json_walk w = fm_json_walk_of(&root); !err && fm_json_next(&w, &name, &value);) {
        unsigned i = 0;
        while (i < FM_API_TOLD_N && !((takes >> i & 1) && fm_json_is(&name, fm_slice_str(names[i]))))
            i++;
        if (i == FM_API_TOLD_N)
            return refuse(&p, FM_E_UNKNOWN_MEMBER, name.raw.p, "this path takes %s", list(takes, known, sizeof known));
        if (value.type == FM_JSON_NULL)
            continue; /* as good as absent */
        has |= 1u << i;
        err = member_read(&p, limits, i, &value, told);
    }
    if (!err && (needs & ~has))
        err = refuse(&p, FM_E_INVALID, root.raw.p, "missing: %s", list(needs & ~has, known, sizeof known));
    return err;
}
