/* Fuzz target: bodies of the publish requests. The first byte chooses the kind, the second the limits; the rest is the body.
 * What is accepted obeys every rule and limit; what is refused says why and points into the body; and a batch of one line is what the same
 * line alone is. */
#include "order.h"

static struct fm_rules *rules_once(void)
{
    static struct fm_rules *rules;
    if (rules)
        return rules;
    struct fm_rule *room = NULL, *all = NULL;
    must(fm_rules_new(&rules) == FM_OK);
    must(fm_rules_add(rules, "room:*", &room) == FM_OK);
    must(fm_rules_add(rules, "*", &all) == FM_OK);
    room->message_max = 64;
    all->message_max = 1000;
    return rules;
}

static void check_messages(const struct fm_api_limits *limits, const struct fm_api_order *order)
{
    check_order(limits, order);
    for (uint32_t i = 0; i < order->n; i++)
        must((order->msgs[i]->flags & FM_MSG_BINARY) || order->msgs[i]->payload_n > 0);
    must(order->replicas >= 1 && order->replicas <= FM_API_REPLICAS_MAX);
    must(order->timeout_ms >= 1 && order->timeout_ms <= FM_API_TIMEOUT_MS_MAX);
}

static void check_refusal(enum fm_err err, struct fm_slice body, const struct fm_api_order *order, const struct fm_api_bad *bad)
{
    check_refused(err, body, order, bad);
    must(err == FM_E_INVALID || err == FM_E_JSON || err == FM_E_TOO_DEEP || err == FM_E_UNKNOWN_MEMBER || err == FM_E_UNMATCHED_TOPIC ||
         err == FM_E_RESERVED_EVENT || err == FM_E_TOO_LARGE || err == FM_E_TOO_MANY);
}

static void check_line(const struct fm_api_limits *limits, struct fm_slice body, const struct fm_api_order *batch)
{
    struct fm_api_order one;
    struct fm_api_bad bad;
    if (batch->n == 0 || memchr(body.p, '\n', body.n))
        return;
    must(fm_api_parse_one(limits, body, &one, &bad) == FM_OK && one.n == batch->n);
    for (uint32_t i = 0; i < one.n; i++)
        must(fm_slice_eq(fm_msg_payload(one.msgs[i]), fm_msg_payload(batch->msgs[i])) &&
             fm_slice_eq(fm_msg_topic(one.msgs[i]), fm_msg_topic(batch->msgs[i])));
    fm_api_order_fini(&one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    const struct fm_api_limits limits = limits_of(rules_once(), data[1]);
    struct fm_slice body = fm_slice_of(data + 2, n - 2);
    struct fm_api_order order;
    struct fm_api_bad bad;
    unsigned kind = data[0] % 3;
    enum fm_err err =
        kind == 0 ? fm_api_parse_one(&limits, body, &order, &bad) : fm_api_parse_batch(&limits, kind == 1, body, &order, &bad);
    if (err) {
        check_refusal(err, body, &order, &bad);
        return 0;
    }
    check_messages(&limits, &order);
    if (kind == 1 && !limits.key.n)
        check_line(&limits, body, &order);
    fm_api_order_fini(&order);
    return 0;
}
