#include "supabase_body.h"

#include "../http/http1.h"
#include "../supabase/supabase_config.h"

#include <stdarg.h>
#include <stdio.h>

struct body {
    const struct fm_api_limits *limits;
    struct fm_slice text;
    struct fm_api_order *order;
    struct fm_api_bad *bad;
    bool several;
    uint32_t index; /* of the message, from 0 */
};

/* at: NULL where it is no place in the body. */
__attribute__((format(printf, 4, 5))) static enum fm_err refuse(struct body *b, enum fm_err err, const uint8_t *at, const char *fmt, ...)
{
    *b->bad = (struct fm_api_bad){.err = err, .has_index = b->several, .index = b->index};
    if (at) {
        b->bad->has_at = true;
        b->bad->at = (size_t)(at - b->text.p);
    }
    int n = b->several ? snprintf(b->bad->detail, sizeof b->bad->detail, "message %u: ", b->index + 1) : 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b->bad->detail + n, sizeof b->bad->detail - (size_t)n, fmt, ap);
    va_end(ap);
    return err;
}

static void begin(struct body *b, const struct fm_api_limits *limits, struct fm_slice text, struct fm_api_order *order,
                  struct fm_api_bad *bad)
{
    *order = (struct fm_api_order){.ack = FM_ACK_LOCAL, .replicas = limits->replicas, .timeout_ms = limits->timeout_ms};
    *bad = (struct fm_api_bad){0};
    *b = (struct body){.limits = limits, .text = text.n ? text : FM_LIT(""), .order = order, .bad = bad};
}

/* A name that a channel gives as `NAME` is the topic `realtime:NAME`. */
static enum fm_err add(struct body *b, struct fm_slice name, const struct fm_api_content *c, const uint8_t *at)
{
    uint8_t topic[FM_TOPIC_MAX];
    char detail[FM_API_DETAIL_MAX];
    bool of_payload;
    size_t prefix = sizeof FM_SUPABASE_PREFIX - 1;
    if (name.n == 0 || name.n > FM_TOPIC_MAX - prefix || memchr(name.p, 0, name.n))
        return refuse(b, FM_E_INVALID, at, "a topic has 1 to %zu bytes, none of them zero", FM_TOPIC_MAX - prefix);
    if (c->event.n == 0 || c->event.n > FM_EVENT_MAX || memchr(c->event.p, 0, c->event.n))
        return refuse(b, FM_E_INVALID, at, "an event has 1 to %d bytes, none of them zero", FM_EVENT_MAX);
    if (fm_event_reserved(c->event))
        return refuse(b, FM_E_RESERVED_EVENT, at, "`%.*s`", (int)c->event.n, (const char *)c->event.p);
    memcpy(topic, FM_SUPABASE_PREFIX, prefix);
    memcpy(topic + prefix, name.p, name.n);
    enum fm_err err = fm_api_order_add(b->limits, b->order, fm_slice_of(topic, prefix + name.n), c, detail, &of_payload);
    if (err == FM_E_NOMEM)
        return refuse(b, err, NULL, "nothing was broadcast");
    return err ? refuse(b, err, at, "%s", detail) : FM_OK;
}

static enum fm_err read_json(struct body *b, struct fm_json *root)
{
    struct fm_json_error e = {0};
    enum fm_err err = fm_json_parse(b->text, FM_JSON_DEPTH, root, &e);
    return err ? refuse(b, err, b->text.p + e.at, "%s", e.what) : FM_OK;
}

/* A member that must be text; empty where it can't be a name. */
static bool text_of(const struct fm_json *message, const char *name, void *room, size_t max, struct fm_slice *text)
{
    struct fm_json v;
    return fm_json_get(message, fm_slice_str(name), &v) && v.type == FM_JSON_STRING && fm_json_text(&v, room, max, text) == FM_OK;
}

static enum fm_err read_message(struct body *b, const struct fm_json *message)
{
    uint8_t topic_room[FM_TOPIC_MAX], event_room[FM_EVENT_MAX];
    char key[FM_KEY_MAX + 16];
    struct fm_api_content c = {0};
    struct fm_slice topic, header = b->limits->key;
    struct fm_json payload;
    if (message->type != FM_JSON_OBJECT)
        return refuse(b, FM_E_INVALID, message->raw.p, "it is not an object with `topic`, `event` and `payload`");
    if (!text_of(message, "topic", topic_room, sizeof topic_room, &topic))
        return refuse(b, FM_E_INVALID, message->raw.p, "`topic` must be text of at most %d bytes", FM_TOPIC_MAX);
    if (!text_of(message, "event", event_room, sizeof event_room, &c.event))
        return refuse(b, FM_E_INVALID, message->raw.p, "`event` must be text of at most %d bytes", FM_EVENT_MAX);
    if (!fm_json_get(message, FM_LIT("payload"), &payload) || payload.type == FM_JSON_NULL)
        return refuse(b, FM_E_INVALID, message->raw.p, "`payload` is missing or null");
    c.payload = payload.raw;
    if (header.n) {
        int n = snprintf(key, sizeof key, "%.*s#%u", (int)header.n, (const char *)header.p, b->index);
        if (n > FM_KEY_MAX)
            return refuse(b, FM_E_INVALID, NULL, "the header Idempotency-Key is too long for several messages");
        c.keys.idempotency = fm_slice_of(key, (size_t)n);
    }
    return add(b, topic, &c, message->raw.p);
}

enum fm_err fm_supabase_body_batch(const struct fm_api_limits *limits, struct fm_slice body, struct fm_api_order *order,
                                   struct fm_api_bad *bad)
{
    struct body b;
    struct fm_json root, messages, message;
    begin(&b, limits, body, order, bad);
    enum fm_err err = read_json(&b, &root);
    if (err)
        return err;
    if (!fm_json_get(&root, FM_LIT("messages"), &messages) || messages.type != FM_JSON_ARRAY || fm_json_count(&messages) == 0)
        return refuse(&b, FM_E_INVALID, root.raw.p, "the body must be an object with `messages`, an array of at least one");
    b.several = true;
    for (struct fm_json_walk w = fm_json_walk_of(&messages); !err && fm_json_next(&w, NULL, &message); b.index++)
        err = read_message(&b, &message);
    order->several = true;
    if (err)
        fm_api_order_fini(order);
    return err;
}

enum fm_err fm_supabase_body_one(const struct fm_api_limits *limits, struct fm_slice topic, struct fm_slice event, bool binary,
                                 struct fm_slice body, struct fm_api_order *order, struct fm_api_bad *bad)
{
    struct body b;
    struct fm_json root;
    struct fm_api_content c = {.event = event, .payload = body, .keys = {.idempotency = limits->key}, .flags = binary ? FM_MSG_BINARY : 0};
    begin(&b, limits, body, order, bad);
    if (!binary) {
        enum fm_err err = read_json(&b, &root);
        if (err)
            return err;
        if (root.type == FM_JSON_NULL)
            return refuse(&b, FM_E_INVALID, root.raw.p, "the payload may not be null");
        c.payload = root.raw;
    }
    enum fm_err err = add(&b, topic, &c, NULL);
    if (err)
        fm_api_order_fini(order);
    return err;
}

static bool decode(struct fm_slice raw, size_t max, struct fm_buf *out)
{
    return fm_http1_path(raw, out) == FM_OK && out->n > 0 && out->n <= max && fm_utf8_valid(fm_buf_view(out));
}

enum fm_err fm_supabase_path(struct fm_slice raw, struct fm_buf *topic, struct fm_buf *event)
{
    const struct fm_slice between = FM_LIT("/events/");
    const uint8_t *slash = raw.n ? memchr(raw.p, '/', raw.n) : NULL;
    size_t n = slash ? (size_t)(slash - raw.p) : raw.n;
    struct fm_slice rest = fm_slice_of(raw.p + n, raw.n - n);
    if (!fm_slice_starts(rest, between))
        return FM_E_INVALID;
    rest = fm_slice_of(rest.p + between.n, rest.n - between.n);
    return decode(fm_slice_of(raw.p, n), FM_TOPIC_MAX, topic) && decode(rest, FM_EVENT_MAX, event) ? FM_OK : FM_E_INVALID;
}
