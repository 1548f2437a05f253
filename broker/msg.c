#include "msg.h"

#include <assert.h>
#include <stdlib.h>

struct fm_msg *fm_msg_new(struct fm_slice topic, struct fm_slice event, struct fm_msg_keys keys, struct fm_slice payload, uint32_t flags)
{
    const struct fm_slice parts[] = {topic, event, keys.idempotency, keys.conflation, payload};
    assert(topic.n <= FM_TOPIC_MAX && event.n <= FM_EVENT_MAX && payload.n <= FM_PAYLOAD_MAX);
    assert(keys.idempotency.n <= FM_KEY_MAX && keys.conflation.n <= FM_KEY_MAX);
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        bytes += parts[i].n;
    struct fm_msg *m = malloc(fm_msg_size_for(bytes));
    if (!m)
        return NULL;
    *m = (struct fm_msg){.flags = flags,
                         .topic_n = (uint32_t)topic.n,
                         .event_n = (uint32_t)event.n,
                         .key_n = (uint16_t)keys.idempotency.n,
                         .conflation_key_n = (uint16_t)keys.conflation.n,
                         .payload_n = (uint32_t)payload.n};
    atomic_init(&m->refs, 1);
    uint8_t *to = m->bytes;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].n)
            memcpy(to, parts[i].p, parts[i].n);
        to += parts[i].n;
    }
    *to = 0;
    return m;
}

void fm_msg_accept(struct fm_msg *m, struct fm_id id, uint64_t prev, uint64_t ts_ms)
{
    assert(atomic_load_explicit(&m->refs, memory_order_relaxed) == 1 && m->id.seq == 0);
    assert(id.origin != 0 && prev < id.seq);
    m->id = id;
    m->prev = prev;
    m->ts_ms = ts_ms;
}

struct fm_msg *fm_msg_ref(struct fm_msg *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void fm_msg_unref(struct fm_msg **mp)
{
    struct fm_msg *m = *mp;
    *mp = NULL;
    if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        free(m);
}

bool fm_event_reserved(struct fm_slice event)
{
    const struct fm_slice prefixes[] = {FM_LIT("phx_"), FM_LIT("chan_reply_"), FM_LIT("presence_"), FM_LIT("fm_")};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (fm_slice_starts(event, prefixes[i]))
            return true;
    return fm_slice_eq(event, FM_LIT("gap")) || fm_slice_eq(event, FM_LIT("system"));
}
