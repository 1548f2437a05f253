#include "spread.h"

/* Fewer than would put a client of each topic on each node: then a topic's few are on different ones all the same. */
static bool few(const struct fm_spread *s)
{
    return (uint64_t)s->clients * s->per_client < (uint64_t)s->topics * s->nodes;
}

uint32_t fm_spread_node(const struct fm_spread *s, uint32_t client)
{
    uint64_t turn = s->members == 0 && few(s) ? (uint64_t)client * s->per_client / s->topics : 0;
    return (uint32_t)((client + turn) % s->nodes);
}

static uint32_t first_topic(const struct fm_spread *s, uint32_t client)
{
    if (s->members)
        return client / s->members % s->topics;
    uint64_t at = few(s) ? client : client / s->nodes;
    return (uint32_t)(at * s->per_client % s->topics);
}

uint32_t fm_spread_topic(const struct fm_spread *s, uint32_t client, uint32_t seat)
{
    return (uint32_t)(((uint64_t)first_topic(s, client) + seat) % s->topics);
}

uint32_t fm_spread_seat(const struct fm_spread *s, uint32_t client, uint32_t topic)
{
    uint32_t first = first_topic(s, client), seat = topic >= first ? topic - first : topic + (s->topics - first);
    return topic < s->topics && seat < s->per_client ? seat : FM_SEAT_NONE;
}
