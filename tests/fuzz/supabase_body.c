/* Any bytes as a body of Supabase's HTTP broadcasts, or as the names in a path: what is accepted obeys every rule and limit, what is
 * refused says why and points into the body. The first byte chooses the kind, the second the limits. */
#include "../../gateway/api/supabase_body.h"
#include "order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

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

static void check_names(const struct fm_api_order *order)
{
    for (uint32_t i = 0; i < order->n; i++)
        must(order->msgs[i]->topic_n <= FM_TOPIC_MAX && order->msgs[i]->event_n <= FM_EVENT_MAX);
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
    const struct fm_api_limits limits = limits_of(rules_once(), data[1]);
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
        check_refused(err, body, &order, &bad);
        return 0;
    }
    check_order(&limits, &order);
    check_names(&order);
    fm_api_order_fini(&order);
    return 0;
}
