/* The judgement in the end: what was promised against what is noted. */
#include "sim_ledger.h"

#include <stdlib.h>

/* ---- what the live nodes have ---- */

void fm_ledger_final_clear(struct fm_ledger *l)
{
    for (uint32_t i = 0; i < l->nodes_n; i++) {
        fm_vector_fini(&l->nodes[i].contig);
        l->nodes[i].final = false;
    }
    for (uint32_t i = 0; i < l->finals_n; i++) {
        free(l->finals[i].ids);
        fm_vector_fini(&l->finals[i].floor);
    }
    l->finals_n = 0;
    for (uint32_t i = 0; i < l->copies_n; i++)
        l->copies[i]->in_the_end = false;
}

void fm_ledger_final_node(struct fm_ledger *l, uint64_t incarnation, const struct fm_vector *contig)
{
    struct ledger_node *n = ledger_node(l, incarnation);
    if (!n || fm_vector_copy(&n->contig, contig) != FM_OK)
        abort();
    n->final = true;
}

void fm_ledger_final_topic(struct fm_ledger *l, uint64_t incarnation, struct fm_slice topic, struct fm_msg *const *history, uint32_t n,
                           const struct fm_vector *floor)
{
    LEDGER_GROW(l->finals, l->finals_cap, l->finals_n);
    struct ledger_history *f = &l->finals[l->finals_n++];
    *f = (struct ledger_history){.incarnation = incarnation, .topic = ledger_topic(l, topic), .n = n};
    f->ids = calloc(n ? n : 1, sizeof *f->ids);
    if (!f->ids || fm_vector_copy(&f->floor, floor) != FM_OK)
        abort();
    for (uint32_t i = 0; i < n; i++) {
        f->ids[i] = history[i]->id;
        struct ledger_copy *copy = ledger_copy_note(l, history[i]->id, fm_ledger_payload_no(fm_msg_payload(history[i])));
        if (copy)
            copy->in_the_end = true;
    }
}

/* ---- agreement ---- */

static void nodes_agree(const struct fm_ledger *l, struct fm_verdict *v)
{
    for (uint32_t i = 0; i < l->nodes_n; i++)
        for (uint32_t k = 0; k < l->nodes_n; k++) {
            const struct ledger_node *a = &l->nodes[i], *b = &l->nodes[k];
            for (uint32_t o = 0; a->final && b->final && o < a->contig.n; o++) {
                struct fm_id at = a->contig.at[o];
                const struct ledger_node *origin = ledger_node(l, at.origin);
                if (l->flags & FM_LEDGER_FORGETS && !fm_vector_has(&b->contig, at.origin) && origin && origin->gone_at)
                    continue;
                if (fm_vector_get(&b->contig, at.origin) != at.seq)
                    ledger_note(v, FM_FAULT_DIVERGED, "n%u.%u has everything up to %s, n%u.%u only up to %llu", a->slot, a->life,
                                fm_ledger_id_text(l, at), b->slot, b->life, (unsigned long long)fm_vector_get(&b->contig, at.origin));
            }
        }
}

static int by_id(const void *pa, const void *pb)
{
    const struct fm_id *a = pa, *b = pb;
    if (a->origin != b->origin)
        return a->origin < b->origin ? -1 : 1;
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

/* What `a` has above both floors `b` must have too; of two copies of one message, any. */
static void history_in(const struct fm_ledger *l, struct fm_verdict *v, const struct ledger_history *a, const struct ledger_history *b)
{
    for (uint32_t i = 0; i < a->n; i++) {
        struct fm_id id = a->ids[i];
        const struct ledger_copy *copy = ledger_copy_find(l, id);
        if (!copy || ledger_doubled(l, copy->no))
            continue;
        if (id.seq <= fm_vector_get(&a->floor, id.origin) || id.seq <= fm_vector_get(&b->floor, id.origin))
            continue;
        if (!bsearch(&id, b->ids, b->n, sizeof id, by_id)) {
            const struct ledger_node *na = ledger_node(l, a->incarnation), *nb = ledger_node(l, b->incarnation);
            ledger_note(v, FM_FAULT_DIVERGED, "n%u.%u has %s in its history of %.*s, n%u.%u doesn't, and both floors are lower", na->slot,
                        na->life, fm_ledger_id_text(l, id), (int)l->topics[a->topic].n, (const char *)l->topics[a->topic].p, nb->slot,
                        nb->life);
        }
    }
}

static void histories_agree(struct fm_ledger *l, struct fm_verdict *v)
{
    for (uint32_t i = 0; i < l->finals_n; i++)
        qsort(l->finals[i].ids, l->finals[i].n, sizeof(struct fm_id), by_id);
    for (uint32_t i = 0; i < l->finals_n; i++)
        for (uint32_t k = 0; k < l->finals_n; k++)
            if (i != k && l->finals[i].topic == l->finals[k].topic)
                history_in(l, v, &l->finals[i], &l->finals[k]);
}

/* ---- what was owed ---- */

/* A node that left gave what it had to those that it could reach then: are all who lived at that time still there, or gone in good order
 * themselves, and their heirs too? */
static bool heirs_live(const struct fm_ledger *l, const struct ledger_node *left)
{
    for (uint32_t i = 0; i < l->nodes_n; i++) {
        const struct ledger_node *n = &l->nodes[i];
        if (n->up_at < left->gone_at && n->gone_at > left->gone_at && (!n->left || !heirs_live(l, n)))
            return false;
    }
    return true;
}

/* By message number: does it exist in the end, so that every client of its topic had to get it? */
static bool *existing(const struct fm_ledger *l)
{
    bool *all = calloc(l->messages_n, sizeof *all);
    if (!all)
        abort();
    for (uint32_t i = 0; i < l->copies_n; i++) {
        const struct ledger_copy *c = l->copies[i];
        const struct ledger_node *by = c->accepted_by ? ledger_node(l, c->accepted_by) : NULL;
        if (c->in_the_end || (by && (by->gone_at == 0 || (by->left && heirs_live(l, by)))))
            all[c->no] = true;
    }
    for (uint32_t no = 0; no < l->firsts_cap && no < l->messages_n; no++)
        for (const struct ledger_first *f = l->firsts[no]; f; f = f->next) {
            const struct ledger_node *by = ledger_node(l, f->incarnation);
            if (by && by->gone_at == 0)
                all[no] = true;
        }
    return all;
}

/* Of the nodes that may have confirmed the copy, how many are gone. */
static uint32_t gone_since(const struct fm_ledger *l, const struct ledger_copy *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->nodes_n; i++)
        n += l->nodes[i].up_at <= c->acked_at && l->nodes[i].gone_at > c->posted_at;
    return n;
}

static void tails(const struct fm_ledger *l, const bool *exists, struct fm_verdict *v)
{
    for (uint32_t i = 0; i < l->copies_n; i++) {
        const struct ledger_copy *c = l->copies[i];
        if (exists[c->no] || !c->acked || l->flags & FM_LEDGER_EVICTS)
            continue;
        if (c->replicas == 0)
            v->tail_unknown++;
        else if (gone_since(l, c) > c->replicas)
            v->replicated_tail++;
        else
            ledger_note(v, FM_FAULT_REPLICATED, "%s was confirmed by %llu other nodes, and nobody has it", fm_ledger_id_text(l, c->id),
                        (unsigned long long)c->replicas);
    }
}

/* Was the client given the message, or is one of its copies covered? */
static bool settled(const struct fm_ledger *l, const struct ledger_client *c, const struct ledger_copy *copy)
{
    if ((copy->no < c->given_by_cap && c->given_by[copy->no]) || ledger_covered(c, copy->id))
        return true;
    for (uint32_t i = 0; l->messages[copy->no].copies > 1 && i < l->copies_n; i++)
        if (l->copies[i]->no == copy->no && ledger_covered(c, l->copies[i]->id))
            return true;
    return false;
}

static void debts(const struct fm_ledger *l, const bool *exists, struct fm_verdict *v)
{
    for (uint32_t k = 0; k < l->clients_n; k++) {
        const struct ledger_client *c = &l->clients[k];
        for (uint32_t i = 0; !c->gone && c->joined && i < l->copies_n; i++) {
            const struct ledger_copy *copy = l->copies[i];
            if (!exists[copy->no] || l->messages[copy->no].topic != c->topic)
                continue;
            if (!settled(l, c, copy))
                ledger_note(v, FM_FAULT_LOST, "client %u of %.*s was never given message %u, %s", k, (int)l->topics[c->topic].n,
                            (const char *)l->topics[c->topic].p, copy->no, fm_ledger_id_text(l, copy->id));
            v->covered += !(copy->index < c->given_cap && c->given[copy->index]) && ledger_covered(c, copy->id);
        }
    }
}

void fm_ledger_judge(struct fm_ledger *l, struct fm_verdict *v)
{
    *v = l->online;
    if (v->faults)
        return; /* the run ended there: what is missing in the end proves nothing */
    bool *exists = existing(l);
    tails(l, exists, v);
    debts(l, exists, v);
    free(exists);
    nodes_agree(l, v);
    histories_agree(l, v);
}
