#include "api_parse.h"

#include "../settings/user_topic.h"

#include "../../broker/base64.h"
#include "../json/json_slice.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- the members of a message ---- */

#define MEMBER_TABLE(X) \
    X(TOPIC, "topic", true) \
    X(TOPICS, "topics", true) \
    X(USER, "user", true) \
    X(EVENT, "event", true) \
    X(PAYLOAD, "payload", true) \
    X(PAYLOAD_BASE64, "payload_base64", true) \
    X(KEY, "key", true) \
    X(CONFLATION_KEY, "conflation_key", true) \
    X(ACK, "ack", false) \
    X(REPLICAS, "replicas", false) \
    X(TIMEOUT_MS, "timeout_ms", false)

enum member {
#define X(name, text, batch) M_##name,
    MEMBER_TABLE(X)
#undef X
        MEMBERS
};

static const struct {
    const char *name;
    bool batch; /* may stand in a message of a batch */
} members[MEMBERS] = {
#define X(name, text, batch) {text, batch},
    MEMBER_TABLE(X)
#undef X
};

struct parse {
    const struct fm_api_limits *limits;
    struct fm_slice body;
    struct fm_api_order *order;
    struct fm_api_bad *bad;
    const char *unit; /* "message" or "line" in a batch, NULL in a single publish */
    uint32_t index;   /* of the message, from 0 */
    uint32_t number;  /* of the message or line, from 1, for people */
    bool has[MEMBERS];
    struct fm_json at[MEMBERS];
};

/* Says what was wrong and where; `at` NULL: no place in the body. Returns err. */
__attribute__((format(printf, 4, 5))) static enum fm_err refuse(struct parse *p, enum fm_err err, const uint8_t *at, const char *fmt, ...)
{
    struct fm_api_bad *bad = p->bad;
    *bad = (struct fm_api_bad){.err = err, .has_index = p->unit != NULL, .index = p->index};
    if (at) {
        assert(at >= p->body.p && at <= p->body.p + p->body.n);
        bad->has_at = true;
        bad->at = (size_t)(at - p->body.p);
    }
    int n = p->unit ? snprintf(bad->detail, sizeof bad->detail, "%s %u: ", p->unit, p->number) : 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(bad->detail + n, sizeof bad->detail - (size_t)n, fmt, ap);
    va_end(ap);
    return err;
}

static enum fm_err no_memory(struct parse *p)
{
    return refuse(p, FM_E_NOMEM, NULL, "the request was not published");
}

static enum fm_err unknown_member(struct parse *p, const struct fm_json *name)
{
    struct fm_slice text = fm_slice_of(name->raw.p + 1, name->raw.n - 2);
    int shown = text.n < 64 ? (int)text.n : 64;
    char known[128];
    size_t n = 0;
    known[0] = 0;
    for (size_t i = 0; i < MEMBERS; i++)
        if (members[i].batch || !p->unit)
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", members[i].name);
    return refuse(p, FM_E_UNKNOWN_MEMBER, name->raw.p, "`%.*s`; a message has %s", shown, (const char *)text.p, known);
}

/* Which members the message has. A null is as good as absent, but for the payload: null there would be sent. */
static enum fm_err read_members(struct parse *p, const struct fm_json *message)
{
    memset(p->has, 0, sizeof p->has);
    if (message->type != FM_JSON_OBJECT)
        return refuse(p, FM_E_INVALID, message->raw.p, "a message is an object: {\"topic\":...,\"event\":...,\"payload\":...}");
    struct fm_json name, value;
    for (struct fm_json_walk w = fm_json_walk_of(message); fm_json_next(&w, &name, &value);) {
        size_t i = 0;
        while (i < MEMBERS && !fm_json_is(&name, fm_slice_str(members[i].name)))
            i++;
        if (i < MEMBERS && p->unit && !members[i].batch)
            return refuse(p, FM_E_UNKNOWN_MEMBER, name.raw.p, "`%s` is said once for a whole batch, in the query: ?%s=...", members[i].name,
                          members[i].name);
        if (i == MEMBERS)
            return unknown_member(p, &name);
        p->has[i] = value.type != FM_JSON_NULL || i == M_PAYLOAD;
        p->at[i] = value;
    }
    return FM_OK;
}

/* A string of 1 to `max` bytes without a zero byte. */
static enum fm_err read_text(struct parse *p, const struct fm_json *value, const char *what, size_t max, uint8_t *out,
                             struct fm_slice *text)
{
    enum fm_err err = fm_json_text(value, out, max, text);
    if (err || text->n == 0)
        return refuse(p, FM_E_INVALID, value->raw.p, "%s must be a string of 1 to %zu bytes", what, max);
    if (memchr(text->p, 0, text->n))
        return refuse(p, FM_E_INVALID, value->raw.p, "%s may not hold a zero byte", what);
    return FM_OK;
}

/* ---- one message for one topic ---- */

struct content { /* what all topics of a message share */
    struct fm_api_content of;
    const uint8_t *payload_at; /* in the body */
};

static enum fm_err user_topic(struct parse *p, const struct fm_json *user_value, uint8_t out[FM_TOPIC_MAX], struct fm_slice *topic)
{
    uint8_t text[FM_USER_MAX];
    struct fm_slice user;
    enum fm_err err = read_text(p, user_value, "`user`", sizeof text, text, &user);
    if (err)
        return err;
    if (!p->limits->user_topic)
        return refuse(p, FM_E_FORBIDDEN, user_value->raw.p, "this node has no option user_topic");
    if (!fm_user_topic(p->limits->user_topic, user, out, topic))
        return refuse(p, FM_E_INVALID, user_value->raw.p, "the user's topic would have more than %d bytes", FM_TOPIC_MAX);
    return FM_OK;
}

static enum fm_err add(struct parse *p, const struct fm_json *topic_value, const struct content *c)
{
    uint8_t text[FM_TOPIC_MAX];
    char detail[FM_API_DETAIL_MAX];
    struct fm_slice topic;
    bool of_payload;
    enum fm_err err =
        p->has[M_USER] ? user_topic(p, topic_value, text, &topic) : read_text(p, topic_value, "a topic", sizeof text, text, &topic);
    if (err)
        return err;
    err = fm_api_order_add(p->limits, p->order, topic, &c->of, detail, &of_payload);
    if (err == FM_E_NOMEM)
        return no_memory(p);
    return err ? refuse(p, err, of_payload ? c->payload_at : topic_value->raw.p, "%s", detail) : FM_OK;
}

static enum fm_err add_all(struct parse *p, const struct fm_json *message, const struct content *c)
{
    unsigned n = (unsigned)p->has[M_TOPIC] + p->has[M_TOPICS] + p->has[M_USER];
    if (n != 1)
        return refuse(p, FM_E_INVALID, message->raw.p, "give `topic`, `topics` or `user`%s", n ? ", one of them" : "");
    if (p->has[M_USER])
        return add(p, &p->at[M_USER], c);
    if (p->has[M_TOPIC])
        return add(p, &p->at[M_TOPIC], c);
    const struct fm_json *topics = &p->at[M_TOPICS];
    if (topics->type != FM_JSON_ARRAY || fm_json_count(topics) == 0)
        return refuse(p, FM_E_INVALID, topics->raw.p, "`topics` must be an array of at least one topic");
    p->order->several = true;
    struct fm_json topic;
    for (struct fm_json_walk w = fm_json_walk_of(topics); fm_json_next(&w, NULL, &topic);) {
        enum fm_err err = add(p, &topic, c);
        if (err)
            return err;
    }
    return FM_OK;
}

/* ---- what a message says ---- */

/* `bytes` holds decoded base64; the caller frees it. */
static enum fm_err read_base64(struct parse *p, struct content *c, struct fm_buf *bytes)
{
    const struct fm_json *value = &p->at[M_PAYLOAD_BASE64];
    struct fm_buf plain = {0}; /* room for the text without its escapes: some encoders escape every slash */
    struct fm_slice text;
    size_t at = 0;
    if (!fm_buf_reserve(&plain, value->raw.n))
        return no_memory(p);
    enum fm_err err = fm_json_text(value, plain.p, plain.cap, &text);
    if (err) {
        fm_buf_fini(&plain);
        return refuse(p, FM_E_INVALID, value->raw.p, "`payload_base64` must be a string");
    }
    err = fm_base64_decode(text, bytes, &at);
    bool in_place = text.p != plain.p;
    fm_buf_fini(&plain);
    if (err == FM_E_NOMEM)
        return no_memory(p);
    if (err)
        return refuse(p, FM_E_INVALID, value->raw.p + (in_place ? at + 1 : 0),
                      "`payload_base64` is not base64: its character %zu can't stand there", at);
    c->of.payload = fm_buf_view(bytes);
    c->of.flags = FM_MSG_BINARY;
    c->payload_at = value->raw.p;
    return FM_OK;
}

static enum fm_err read_payload(struct parse *p, const struct fm_json *message, struct content *c, struct fm_buf *bytes)
{
    if (p->has[M_PAYLOAD] && p->has[M_PAYLOAD_BASE64])
        return refuse(p, FM_E_INVALID, message->raw.p, "give `payload` or `payload_base64`, not both");
    if (p->has[M_PAYLOAD_BASE64])
        return read_base64(p, c, bytes);
    c->of.payload = FM_LIT("{}");
    c->payload_at = message->raw.p;
    if (!p->has[M_PAYLOAD])
        return FM_OK;
    if (p->at[M_PAYLOAD].type == FM_JSON_NULL) /* clients of the Phoenix protocol may rely on it */
        return refuse(p, FM_E_INVALID, p->at[M_PAYLOAD].raw.p, "`payload` may not be null; send {} or leave it out");
    c->of.payload = p->at[M_PAYLOAD].raw;
    c->payload_at = p->at[M_PAYLOAD].raw.p;
    return FM_OK;
}

/* The message's own key, else the request's. Messages of a batch get the request's key and their index, so that each has its own and a
 * retry of the same batch gives each the same one. */
static enum fm_err read_key(struct parse *p, uint8_t out[FM_KEY_MAX], struct fm_slice *key)
{
    const struct fm_slice header = p->limits->key;
    *key = header;
    if (p->has[M_KEY]) {
        enum fm_err err = read_text(p, &p->at[M_KEY], "`key`", FM_KEY_MAX, out, key);
        if (!err && !p->unit && header.n && !fm_slice_eq(*key, header))
            return refuse(p, FM_E_INVALID, p->at[M_KEY].raw.p, "`key` and the header Idempotency-Key differ; send one of them");
        return err;
    }
    if (!header.n || !p->unit)
        return FM_OK;
    int n = snprintf((char *)out, FM_KEY_MAX, "%.*s#%u", (int)header.n, (const char *)header.p, p->index);
    if (n >= FM_KEY_MAX)
        return refuse(p, FM_E_INVALID, NULL, "the header Idempotency-Key is too long for a batch: at most %d characters", FM_KEY_MAX - 12);
    *key = fm_slice_of(out, (size_t)n);
    return FM_OK;
}

static enum fm_err read_message(struct parse *p, const struct fm_json *message)
{
    struct content c = {0};
    struct fm_buf bytes = {0};
    uint8_t event[FM_EVENT_MAX], key[FM_KEY_MAX], conflation_key[FM_KEY_MAX];
    enum fm_err err = read_members(p, message);
    if (err)
        return err;
    if (!p->has[M_EVENT])
        return refuse(p, FM_E_INVALID, message->raw.p,
                      p->has[M_TOPIC] || p->has[M_TOPICS] || p->has[M_USER] ? "`event` is missing"
                                                                            : "`event` is missing, and `topic`, `topics` or `user`");
    err = read_text(p, &p->at[M_EVENT], "`event`", FM_EVENT_MAX, event, &c.of.event);
    if (err)
        return err;
    if (fm_event_reserved(c.of.event))
        return refuse(p, FM_E_RESERVED_EVENT, p->at[M_EVENT].raw.p, "`%.*s`", (int)c.of.event.n, (const char *)c.of.event.p);
    err = read_key(p, key, &c.of.keys.idempotency);
    if (!err && p->has[M_CONFLATION_KEY])
        err = read_text(p, &p->at[M_CONFLATION_KEY], "`conflation_key`", FM_KEY_MAX, conflation_key, &c.of.keys.conflation);
    if (err)
        return err;
    err = read_payload(p, message, &c, &bytes);
    if (!err)
        err = add_all(p, message, &c);
    fm_buf_fini(&bytes);
    return err;
}

/* ---- how it is acknowledged ---- */

enum fm_err fm_api_ack_of(struct fm_slice text, enum fm_ack *ack)
{
    if (fm_slice_eq(text, FM_LIT("local")))
        *ack = FM_ACK_LOCAL;
    else if (fm_slice_eq(text, FM_LIT("replicated")))
        *ack = FM_ACK_REPLICATED;
    else
        return FM_E_INVALID;
    return FM_OK;
}

static enum fm_err read_number(struct parse *p, enum member which, uint32_t max, uint32_t *out)
{
    uint64_t v;
    if (!p->has[which])
        return FM_OK;
    if (fm_json_u64(&p->at[which], max, &v) || v == 0)
        return refuse(p, FM_E_INVALID, p->at[which].raw.p, "`%s` must be a whole number from 1 to %u", members[which].name, max);
    if (p->order->ack != FM_ACK_REPLICATED)
        return refuse(p, FM_E_INVALID, p->at[which].raw.p, "`%s` needs \"ack\":\"replicated\"", members[which].name);
    *out = (uint32_t)v;
    return FM_OK;
}

static enum fm_err read_ack(struct parse *p)
{
    if (p->has[M_ACK]) {
        uint8_t text[16];
        struct fm_slice ack;
        if (fm_json_text(&p->at[M_ACK], text, sizeof text, &ack) || fm_api_ack_of(ack, &p->order->ack))
            return refuse(p, FM_E_INVALID, p->at[M_ACK].raw.p, "`ack` must be \"local\" or \"replicated\"");
    }
    enum fm_err err = read_number(p, M_REPLICAS, FM_API_REPLICAS_MAX, &p->order->replicas);
    return err ? err : read_number(p, M_TIMEOUT_MS, FM_API_TIMEOUT_MS_MAX, &p->order->timeout_ms);
}

enum fm_err fm_api_key_of(struct fm_slice header, struct fm_slice *key)
{
    if (header.n >= 2 && header.p[0] == '"' && header.p[header.n - 1] == '"')
        header = fm_slice_of(header.p + 1, header.n - 2);
    if (header.n == 0 || header.n > FM_KEY_MAX)
        return FM_E_INVALID;
    for (size_t i = 0; i < header.n; i++)
        if (header.p[i] <= ' ' || header.p[i] > '~')
            return FM_E_INVALID;
    *key = header;
    return FM_OK;
}

/* ---- whole bodies ---- */

static void begin(struct parse *p, const struct fm_api_limits *limits, struct fm_slice body, struct fm_api_order *order,
                  struct fm_api_bad *bad)
{
    assert(limits->key.n <= FM_KEY_MAX);
    *order = (struct fm_api_order){.replicas = limits->replicas, .timeout_ms = limits->timeout_ms};
    *bad = (struct fm_api_bad){0};
    memset(p, 0, sizeof *p);
    p->limits = limits;
    p->body = body.n ? body : FM_LIT("");
    p->order = order;
    p->bad = bad;
}

/* Reads one JSON text that lies in the body. */
static enum fm_err read_json(struct parse *p, struct fm_slice text, struct fm_json *root)
{
    struct fm_json_error error = {0};
    enum fm_err err = fm_json_parse(text, FM_JSON_DEPTH, root, &error);
    return err ? refuse(p, err, text.p + error.at, "%s", error.what) : FM_OK;
}

enum fm_err fm_api_parse_one(const struct fm_api_limits *limits, struct fm_slice body, struct fm_api_order *order, struct fm_api_bad *bad)
{
    struct parse p;
    struct fm_json root;
    begin(&p, limits, body, order, bad);
    enum fm_err err = read_json(&p, p.body, &root);
    if (!err)
        err = read_message(&p, &root);
    if (!err)
        err = read_ack(&p);
    if (err)
        fm_api_order_fini(order);
    return err;
}

static enum fm_err read_array(struct parse *p)
{
    struct fm_json root, message;
    p->unit = NULL; /* what is wrong with the text as a whole is wrong with no message */
    enum fm_err err = read_json(p, p->body, &root);
    if (err)
        return err;
    if (root.type != FM_JSON_ARRAY)
        return refuse(p, FM_E_INVALID, root.raw.p, "a batch is an array of messages; for one message a line send application/x-ndjson");
    p->unit = "message";
    for (struct fm_json_walk w = fm_json_walk_of(&root); !err && fm_json_next(&w, NULL, &message); p->index++) {
        p->number = p->index + 1;
        err = read_message(p, &message);
    }
    return err;
}

static bool is_blank(struct fm_slice line)
{
    for (size_t i = 0; i < line.n; i++)
        if (line.p[i] != ' ' && line.p[i] != '\t' && line.p[i] != '\r')
            return false;
    return true;
}

static enum fm_err read_lines(struct parse *p)
{
    enum fm_err err = FM_OK;
    struct fm_json message;
    p->unit = "line";
    for (size_t from = 0; !err && from < p->body.n;) {
        const uint8_t *start = p->body.p + from;
        const uint8_t *end = memchr(start, '\n', p->body.n - from);
        struct fm_slice line = fm_slice_of(start, end ? (size_t)(end - start) : p->body.n - from);
        from += line.n + 1;
        p->number++;
        if (is_blank(line))
            continue;
        err = read_json(p, line, &message);
        if (!err)
            err = read_message(p, &message);
        p->index++;
    }
    return err;
}

enum fm_err fm_api_parse_batch(const struct fm_api_limits *limits, bool ndjson, struct fm_slice body, struct fm_api_order *order,
                               struct fm_api_bad *bad)
{
    struct parse p;
    begin(&p, limits, body, order, bad);
    enum fm_err err = ndjson ? read_lines(&p) : read_array(&p);
    order->several = true;
    if (!err && order->n == 0) {
        p.unit = NULL;
        err = refuse(&p, FM_E_INVALID, NULL, "the batch holds no message");
    }
    if (err)
        fm_api_order_fini(order);
    return err;
}
