/* The items that cross between workers, hub and bus: made and freed. */
#include "hub.h"

#include <stdlib.h>

struct fm_join *fm_join_new(uint32_t worker, uint64_t sub, struct fm_slice topic)
{
    struct fm_join *j = calloc(1, sizeof *j + topic.n);
    if (!j)
        return NULL;
    j->item.kind = FM_HUB_JOIN;
    j->item.cost = (uint32_t)(sizeof *j + topic.n);
    j->worker = worker;
    j->sub = sub;
    j->topic_n = (uint32_t)topic.n;
    memcpy(j->topic, topic.p, topic.n);
    return j;
}

void fm_join_free(struct fm_join **jp)
{
    struct fm_join *j = *jp;
    *jp = NULL;
    if (!j)
        return;
    for (uint32_t i = 0; i < j->replayed; i++)
        fm_msg_unref(&j->replay[i]);
    free(j->replay);
    free(j->said);
    free(j->track);
    fm_vector_fini(&j->cursor);
    fm_vector_fini(&j->at);
    fm_vector_fini(&j->skip);
    free(j);
}

struct fm_leave *fm_leave_new(uint32_t worker, uint32_t subs, struct fm_slice topic)
{
    struct fm_leave *l = calloc(1, sizeof *l + topic.n);
    if (!l)
        return NULL;
    l->item.kind = FM_HUB_LEAVE;
    l->item.cost = (uint32_t)(sizeof *l + topic.n);
    l->worker = worker;
    l->subs = subs;
    l->topic_n = (uint32_t)topic.n;
    memcpy(l->topic, topic.p, topic.n);
    return l;
}

void fm_leave_free(struct fm_leave **leave)
{
    free(*leave);
    *leave = NULL;
}

struct fm_publish *fm_publish_new(uint32_t worker, uint64_t token, uint32_t n, struct fm_slice cookie)
{
    size_t results = n * sizeof(struct fm_publish_result), msgs = n * sizeof(struct fm_msg *);
    struct fm_publish *p = calloc(1, sizeof *p + results + msgs + cookie.n);
    if (!p)
        return NULL;
    p->item.kind = FM_HUB_PUBLISH;
    p->item.cost = (uint32_t)(sizeof *p + results + msgs + cookie.n);
    p->worker = worker;
    p->token = token;
    p->n = n;
    p->results = (struct fm_publish_result *)(p + 1);
    p->msgs = (struct fm_msg **)(p->results + n);
    p->cookie_n = (uint32_t)cookie.n;
    if (cookie.n)
        memcpy(p->msgs + n, cookie.p, cookie.n);
    return p;
}

struct fm_slice fm_publish_cookie(const struct fm_publish *p)
{
    return fm_slice_of(p->msgs + p->n, p->cookie_n);
}

void fm_publish_free(struct fm_publish **pp)
{
    struct fm_publish *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    for (uint32_t i = 0; i < p->n; i++)
        fm_msg_unref(&p->msgs[i]);
    free(p->said);
    free(p);
}

struct fm_query *fm_query_new(uint32_t worker, uint64_t token, enum fm_query_kind what, struct fm_slice topic, struct fm_slice after)
{
    struct fm_query *q = calloc(1, sizeof *q + topic.n + after.n);
    if (!q)
        return NULL;
    q->item.kind = FM_HUB_QUERY;
    q->item.cost = (uint32_t)(sizeof *q + topic.n + after.n);
    q->worker = worker;
    q->token = token;
    q->what = what;
    q->topic_n = (uint32_t)topic.n;
    q->after_n = (uint32_t)after.n;
    if (topic.n)
        memcpy(q->text, topic.p, topic.n);
    if (after.n)
        memcpy(q->text + topic.n, after.p, after.n);
    return q;
}

void fm_query_free(struct fm_query **qp)
{
    struct fm_query *q = *qp;
    *qp = NULL;
    if (!q)
        return;
    fm_vector_fini(&q->cursor);
    fm_buf_fini(&q->json);
    free(q);
}

struct fm_parcel *fm_parcel_new(uint64_t node, uint32_t worker, uint32_t from, uint64_t token, struct fm_slice bytes)
{
    struct fm_parcel *p = malloc(sizeof *p + bytes.n);
    if (!p)
        return NULL;
    *p = (struct fm_parcel){.item = {.kind = FM_HUB_PARCEL, .cost = (uint32_t)(sizeof *p + bytes.n)},
                            .node = node,
                            .worker = worker,
                            .from = from,
                            .token = token,
                            .n = (uint32_t)bytes.n};
    if (bytes.n)
        memcpy(p->bytes, bytes.p, bytes.n);
    return p;
}

void fm_parcel_free(struct fm_parcel **parcel)
{
    free(*parcel);
    *parcel = NULL;
}

void fm_inquire_free(struct fm_inquire **qp)
{
    if (*qp)
        fm_found_fini(&(*qp)->found);
    free(*qp);
    *qp = NULL;
}

const char *fm_gap_reason_text(enum fm_gap_reason reason)
{
    static const char *const texts[] = {[FM_GAP_EVICTED] = "evicted",
                                        [FM_GAP_LOST] = "lost",
                                        [FM_GAP_OVERRUN] = "overrun",
                                        [FM_GAP_SLOW] = "slow",
                                        [FM_GAP_DELETED] = "deleted"};
    return texts[reason];
}

void fm_gap_free(struct fm_gap **gap)
{
    if (*gap)
        fm_vector_fini(&(*gap)->cursor);
    free(*gap);
    *gap = NULL;
}

static void presence_state_free(struct fm_presence_state *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        fm_msg_unref(&s->msgs[i]);
    free(s);
}

void fm_hub_item_free(struct fm_item *item)
{
    switch (item->kind) {
    case FM_HUB_JOIN:
        fm_join_free(&(struct fm_join *){(struct fm_join *)item});
        break;
    case FM_HUB_PUBLISH:
        fm_publish_free(&(struct fm_publish *){(struct fm_publish *)item});
        break;
    case FM_HUB_QUERY:
        fm_query_free(&(struct fm_query *){(struct fm_query *)item});
        break;
    case FM_HUB_GAP:
        fm_gap_free(&(struct fm_gap *){(struct fm_gap *)item});
        break;
    case FM_HUB_INQUIRE:
        fm_inquire_free(&(struct fm_inquire *){(struct fm_inquire *)item});
        break;
    case FM_HUB_MSG:
        fm_msg_unref(&((struct fm_msg_item *)item)->msg);
        free(item);
        break;
    case FM_HUB_PRESENCE:
        presence_state_free((struct fm_presence_state *)item);
        break;
    default: /* LEAVE, TRACK, PARCEL and the bus's items hold nothing besides */
        free(item);
    }
}
