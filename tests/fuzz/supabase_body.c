/* Any bytes as a body of Supabase's HTTP broadcasts, or as the names in a path: what is accepted obeys every rule and limit, what is
 * refused says why and points into the body. The first byte chooses the kind, the second the limits. */
#include "../../gateway/supabase/supabase_body.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static struct fm_rules *rules_once(void)
{
    static struct fm_rules *rules;
    if (rules)
        return rules;
    struct fm_rule *room = NULL;
    must(fm_rules_new(&rules) == FM_OK);
    must(fm_rules_add(rules, "realtime:r*", &room) == FM_OK);
    room->message_max = 64;
    return rules;
}

static void check_order(const struct fm_api_limits *limits, const struct fm_api_order *order)
{
    size_t bytes = 0;
    must(order->n > 0 && order->n <= limits->batch_max);
    for (uint32_t i = 0; i < order->n; i++) {
        const struct fm_msg *m = order->msgs[i];
        const struct fm_rule *rule = fm_rules_match(limits->rules, fm_msg_topic(m));
        must(rule && m->payload_n <= rule->message_max && m->topic_n <= FM_TOPIC_MAX);
        must(m->event_n > 0 && m->event_n <= FM_EVENT_MAX && !fm_event_reserved(fm_msg_event(m)));
        bytes += fm_msg_size(m);
    }
    must(bytes == order->bytes && bytes <= limits->bytes_max);
}

static void check_path(struct fm_slice raw)
{
    struct fm_buf topic = {0}, event = {0};
    if (fm_supabase_path(raw, &topic, &event) == FM_OK) {
        must(topic.n > 0 && topic.n <= FM_TOPIC_MAX && fm_utf8_valid(fm_buf_view(&topic)));
        must(event.n > 0 && event.n <= FM_EVENT_MAX && fm_utf8_valid(fm_buf_view(&event)));
    }
    fm_buf_fini(&topic);
    fm_buf_fini(&event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    const struct fm_api_limits limits = {.rules = rules_once(),
                                         .batch_max = 1 + data[1] % 16,
                                         .bytes_max = 200 + 16u * data[1],
                                         .replicas = 1,
                                         .timeout_ms = 1000,
                                         .key = data[1] & 1 ? FM_LIT("header-key") : fm_slice_of(NULL, 0)};
    struct fm_slice body = fm_slice_of(data + 2, n - 2);
    struct fm_api_order order;
    struct fm_api_bad bad;
    if (data[0] % 4 == 3) {
        check_path(body);
        return 0;
    }
    enum fm_err err = data[0] % 4 == 0 ? fm_supabase_body_batch(&limits, body, &order, &bad)
                                       : fm_supabase_body_one(&limits, FM_LIT("room"), FM_LIT("e"), data[0] % 4 == 1, body, &order, &bad);
    if (err) {
        must(bad.err == err && order.n == 0 && order.msgs == NULL);
        must(!bad.has_at || bad.at <= body.n);
        must(memchr(bad.detail, 0, sizeof bad.detail) != NULL);
        return 0;
    }
    check_order(&limits, &order);
    fm_api_order_fini(&order);
    return 0;
}
