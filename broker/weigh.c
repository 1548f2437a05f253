/* What a hub's memory holds beside the messages that memory_bytes limits: topics with their positions and histories, places in logs,
 * origins, keys of held messages, what peers said they have. Topics are weighed while the sweep passes over them, so the figure is that of
 * its last round: who watches memory looks at minutes, and a round of its own would cost as much again. */
#include "hub_core.h"

enum { HEADER_USUAL = 8 }; /* what the allocator adds to each piece */

void fm_weigh_topic(struct fm_hub *h, const struct fm_topic *t)
{
    uint64_t bytes = sizeof *t + t->name_n + h->config.workers * sizeof *t->subs + 2 * HEADER_USUAL;
    bytes += t->history_cap * sizeof(struct fm_msg *) + t->pos_cap * sizeof(struct fm_pos *);
    bytes += t->pos_n * (sizeof(struct fm_pos) + HEADER_USUAL);
    h->weighing += bytes;
}

void fm_weigh_done(struct fm_hub *h)
{
    uint64_t bytes = h->weighing + h->stats.log_messages * HEADER_USUAL + h->keys.held_bytes + h->control.bytes;
    struct fm_origin *o, *tmp;
    HASH_ITER (hh, h->origins, o, tmp)
        bytes += sizeof *o + fm_log_bytes(&o->log);
    for (uint32_t i = 0; i < h->peers_n; i++)
        bytes += (h->peers[i].has.cap + h->peers[i].passed.cap) * sizeof(struct fm_id);
    h->stats.index_bytes = bytes;
    h->weighing = 0;
}
