/* The node's messages to itself (gateway/probe/probe.h): they go the way of every message, worker, hub, worker, but are nobody else's
 * business. So there is no topic, seq, log, history or mesh for them here, and no counter counts them. */
#include "hub_core.h"

#include <stdlib.h>

bool fm_probe_join(struct fm_hub *h, struct fm_join *j)
{
    if (!fm_topic_of_probe(fm_slice_of(j->topic, j->topic_n)))
        return false;
    j->err = h->draining ? FM_E_DRAINING : FM_OK;
    j->recovered = true;
    j->cursor.n = 0;
    /* A position is never empty; the probe's is always the same. */
    if (!j->err)
        j->err = fm_vector_set(&j->cursor, h->self->id, 0);
    if (!j->err)
        j->err = fm_vector_set(&j->at, h->self->id, 0);
    j->item.cost = (uint32_t)sizeof *j;
    fm_hub_out(h, j->worker, &j->item);
    return true;
}

bool fm_probe_publish(struct fm_hub *h, struct fm_publish *p)
{
    if (p->n != 1 || !fm_topic_of_probe(fm_msg_topic(p->msgs[0])) || p->worker == FM_NO_WORKER)
        return false;
    struct fm_msg_item *it = malloc(sizeof *it);
    p->err = h->draining ? FM_E_DRAINING : it ? FM_OK : FM_E_NOMEM;
    if (p->err) {
        free(it);
        fm_msg_unref(&p->msgs[0]);
    } else {
        p->msgs[0]->id = (struct fm_id){h->self->id, 0};
        *it =
            (struct fm_msg_item){.item = {.kind = FM_HUB_MSG, .cost = (uint32_t)(sizeof *it + fm_msg_size(p->msgs[0]))}, .msg = p->msgs[0]};
        p->msgs[0] = NULL;
        fm_hub_out(h, p->worker, &it->item);
    }
    p->item.cost = (uint32_t)sizeof *p;
    fm_hub_out(h, p->worker, &p->item);
    return true;
}
