#include "mesh_check.h"

#include <stdlib.h>

enum fm_err fm_mesh_check_init(struct fm_mesh_check *c, uint64_t messages, uint64_t topics)
{
    *c = (struct fm_mesh_check){.messages = messages, .topics = topics};
    c->next = calloc(topics, sizeof *c->next);
    c->seen = calloc(messages / 64 + 1, sizeof *c->seen);
    if (!c->next || !c->seen) {
        fm_mesh_check_fini(c);
        return FM_E_NOMEM;
    }
    for (uint64_t t = 0; t < topics; t++)
        c->next[t] = t;
    return FM_OK;
}

void fm_mesh_check_fini(struct fm_mesh_check *c)
{
    free(c->next);
    free(c->seen);
    *c = (struct fm_mesh_check){0};
}

void fm_mesh_check_add(struct fm_mesh_check *c, uint64_t topic, uint64_t number)
{
    if (number >= c->messages || topic != number % c->topics) {
        c->tally.strange++;
        return;
    }
    uint64_t *word = &c->seen[number / 64], bit = 1ull << number % 64;
    if (*word & bit) {
        c->tally.doubled++;
        return;
    }
    *word |= bit;
    c->tally.received++;
    if (number < c->next[topic])
        c->tally.disordered++;
    else
        c->next[topic] = number + c->topics;
}

bool fm_mesh_check_good(const struct fm_mesh_tally *t, uint64_t messages)
{
    return t->received == messages && !t->doubled && !t->disordered && !t->strange && !t->gaps && !t->overruns;
}

void fm_mesh_stamp(uint8_t *payload, uint64_t number, uint64_t at_ns)
{
    for (unsigned i = 0; i < 8; i++) {
        payload[i] = (uint8_t)(number >> (8 * i));
        payload[8 + i] = (uint8_t)(at_ns >> (8 * i));
    }
}

enum fm_err fm_mesh_stamp_read(struct fm_slice payload, uint64_t *number, uint64_t *at_ns)
{
    struct fm_rd r = fm_rd_of(payload);
    *number = fm_rd_u64(&r);
    *at_ns = fm_rd_u64(&r);
    return r.bad ? FM_E_SYNTAX : FM_OK;
}
