/* What a request asks to publish, message by message, within rules and limits. */
#include "../supabase/supabase_changes.h"
#include "api_parse.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_SHOWN_MAX = 64 };

static enum fm_err grow(struct fm_api_order *o)
{
    if (o->n < o->cap)
        return FM_OK;
    uint32_t cap = o->cap ? o->cap * 2 : 4;
    struct fm_msg **msgs = realloc(o->msgs, cap * sizeof(struct fm_msg *));
    if (!msgs)
        return FM_E_NOMEM;
    o->msgs = msgs;
    o->cap = cap;
    return FM_OK;
}

/* FM_OK: it fits. `bytes` is what it takes. */
static enum fm_err judge(const struct fm_api_limits *limits, const struct fm_api_order *o, struct fm_slice topic,
                         const struct fm_api_content *c, size_t bytes, char detail[FM_API_DETAIL_MAX], bool *of_payload)
{
    const struct fm_rule *rule = fm_rules_match(limits->rules, topic);
    if (!rule) {
        snprintf(detail, FM_API_DETAIL_MAX, "`%.*s`", (int)topic.n, (const char *)topic.p);
        return FM_E_UNMATCHED_TOPIC;
    }
    *of_payload = c->payload.n > rule->message_max || c->payload.n > FM_PAYLOAD_MAX;
    if (*of_payload) {
        snprintf(detail, FM_API_DETAIL_MAX, "the payload has %zu bytes, the rule [topic \"%.64s\"] allows %u", c->payload.n, rule->pattern,
                 rule->message_max);
        return FM_E_TOO_LARGE;
    }
    struct fm_slice member = {0};
    const char *bad = fm_supabase_is_change(topic, c->event) ? fm_supabase_change_bad(c->payload, c->flags & FM_MSG_BINARY, &member) : NULL;
    if (bad) {
        *of_payload = true;
        if (member.n) {
            snprintf(detail, FM_API_DETAIL_MAX, "%.*s; %s", (int)(member.n < NAME_SHOWN_MAX ? member.n : NAME_SHOWN_MAX),
                     (const char *)member.p, bad);
            return FM_E_UNKNOWN_MEMBER;
        }
        snprintf(detail, FM_API_DETAIL_MAX, "the payload of `" FM_SUPABASE_CHANGES "` is a change, and this is none: %s", bad);
        return FM_E_INVALID;
    }
    if (o->n >= limits->batch_max) {
        snprintf(detail, FM_API_DETAIL_MAX, "a request publishes at most %u messages, counted over all topics", limits->batch_max);
        return FM_E_TOO_MANY;
    }
    if (bytes > limits->bytes_max - o->bytes) {
        snprintf(detail, FM_API_DETAIL_MAX,
                 "the messages of one request take at most %zu bytes, a payload counted for each of its topics; send it in parts",
                 limits->bytes_max);
        return FM_E_TOO_LARGE;
    }
    return FM_OK;
}

enum fm_err fm_api_order_add(const struct fm_api_limits *limits, struct fm_api_order *o, struct fm_slice topic,
                             const struct fm_api_content *c, char detail[FM_API_DETAIL_MAX], bool *of_payload)
{
    size_t bytes = fm_msg_size_for(topic.n + c->event.n + c->keys.idempotency.n + c->keys.conflation.n + c->payload.n);
    *of_payload = false;
    enum fm_err err = judge(limits, o, topic, c, bytes, detail, of_payload);
    if (!err)
        err = grow(o);
    if (err)
        return err;
    struct fm_msg *m = fm_msg_new(topic, c->event, c->keys, c->payload, c->flags);
    if (!m)
        return FM_E_NOMEM;
    o->msgs[o->n++] = m;
    o->bytes += bytes;
    return FM_OK;
}

void fm_api_order_fini(struct fm_api_order *order)
{
    for (uint32_t i = 0; i < order->n; i++)
        fm_msg_unref(&order->msgs[i]);
    free(order->msgs);
    *order = (struct fm_api_order){0};
}
