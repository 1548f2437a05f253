#include "ledger.h"

#include <assert.h>
#include <stdlib.h>

bool fm_tally_broken(const struct fm_tally *t)
{
    return t->missing || t->doubled || t->disordered || t->strange || t->wrong_id || t->undead || t->malformed;
}

/* ---- publishes ---- */

void fm_ledger_fini(struct fm_ledger *l)
{
    free(l->at);
    *l = (struct fm_ledger){0};
}

enum fm_err fm_ledger_publish(struct fm_ledger *l, uint32_t stream, uint64_t *number)
{
    if (l->n == l->cap) {
        uint64_t cap = l->cap ? l->cap * 2 : 64;
        struct fm_record *at = realloc(l->at, cap * sizeof *at);
        if (!at)
            return FM_E_NOMEM;
        l->at = at;
        l->cap = cap;
    }
    *number = l->n++;
    l->at[*number] = (struct fm_record){.left = l->views, .stream = stream};
    l->open += l->views > 0;
    l->silent++;
    return FM_OK;
}

/* Every place that names a message's id must name the same one. */
static void id_check(struct fm_record *r, struct fm_id id, struct fm_tally *t)
{
    if (id.origin == 0)
        return;
    if (r->id.origin == 0)
        r->id = id;
    else if (r->id.origin != id.origin || r->id.seq != id.seq)
        t->wrong_id++;
}

void fm_ledger_ack(struct fm_ledger *l, uint64_t number, struct fm_id id, struct fm_tally *t)
{
    assert(number < l->n);
    struct fm_record *r = &l->at[number];
    if (r->fate != FM_FATE_SENT)
        return;
    r->fate = FM_FATE_ACKED;
    l->silent--;
    id_check(r, id, t);
}

void fm_ledger_refuse(struct fm_ledger *l, uint64_t number)
{
    assert(number < l->n);
    struct fm_record *r = &l->at[number];
    if (r->fate != FM_FATE_SENT)
        return;
    r->fate = FM_FATE_REFUSED;
    l->silent--;
    l->open -= r->left > 0;
}

void fm_ledger_broken(struct fm_ledger *l, uint32_t stream, void (*each)(void *ctx, struct fm_record *r), void *ctx)
{
    for (uint64_t k = 0; l->silent && k < l->n; k++) {
        struct fm_record *r = &l->at[k];
        if (r->stream != stream || r->fate != FM_FATE_SENT)
            continue;
        r->fate = FM_FATE_UNANSWERED;
        l->silent--;
        if (each)
            each(ctx, r);
    }
}

/* ---- subscribers ---- */

void fm_view_init(struct fm_view *v, struct fm_ledger *ledger)
{
    assert(ledger->n == 0);
    *v = (struct fm_view){.ledger = ledger};
    ledger->views++;
}

void fm_view_fini(struct fm_view *v)
{
    fm_vector_fini(&v->at);
    free(v->bits);
    free(v->excuses);
    *v = (struct fm_view){0};
}

/* Room for the bit of `number`, which is not before base. */
static bool bits_reach(struct fm_view *v, uint64_t number)
{
    uint64_t words = (number - v->base) / 64 + 1;
    if (words > v->cap) {
        uint64_t cap = v->cap ? v->cap : 1;
        while (cap < words)
            cap *= 2;
        uint64_t *bits = cap > UINT32_MAX ? NULL : realloc(v->bits, cap * sizeof *bits);
        if (!bits)
            return false;
        v->bits = bits;
        v->cap = (uint32_t)cap;
    }
    for (; v->words < words; v->words++)
        v->bits[v->words] = 0;
    return true;
}

static bool bit_of(const struct fm_view *v, uint64_t number)
{
    uint64_t i = number - v->base;
    return i / 64 < v->words && (v->bits[i / 64] >> (i % 64) & 1);
}

/* Full words at the front are forgotten: everything in them was given. */
static void bits_trim(struct fm_view *v)
{
    uint32_t full = 0;
    while (full < v->words && v->bits[full] == UINT64_MAX)
        full++;
    if (full == 0)
        return;
    v->words -= full;
    v->base += (uint64_t)full * 64;
    memmove(v->bits, v->bits + full, v->words * sizeof *v->bits);
}

static void order_check(struct fm_view *v, struct fm_id order, struct fm_tally *t)
{
    if (fm_vector_get(&v->at, order.origin) >= order.seq)
        t->disordered++;
    /* More origins than a cursor holds is a fault of the broker too; the order of those beyond isn't followed. */
    else if (fm_vector_set(&v->at, order.origin, order.seq))
        t->strange++;
}

enum fm_take fm_view_take(struct fm_view *v, uint64_t number, struct fm_id order, bool has_id, struct fm_tally *t)
{
    struct fm_ledger *l = v->ledger;
    if (number >= l->n || order.origin == 0) {
        t->strange++;
        return FM_TAKE_NOT_NEW;
    }
    struct fm_record *r = &l->at[number];
    if (has_id)
        id_check(r, order, t);
    if (number < v->base || bit_of(v, number)) {
        t->doubled++;
        return FM_TAKE_NOT_NEW;
    }
    if (!bits_reach(v, number)) {
        t->strange++; /* out of memory: rather a false alarm than a loss overlooked */
        return FM_TAKE_NOT_NEW;
    }
    uint64_t i = number - v->base;
    v->bits[i / 64] |= (uint64_t)1 << (i % 64);
    bits_trim(v);
    order_check(v, order, t);
    t->deliveries++;
    t->undead += r->fate == FM_FATE_REFUSED;
    if (r->left == 0 || --r->left > 0)
        return FM_TAKE_NEW;
    l->open -= r->fate != FM_FATE_REFUSED;
    return FM_TAKE_LAST;
}

/* ---- what was declared ---- */

static enum fm_err excuse(struct fm_view *v, struct fm_excuse e)
{
    struct fm_excuse *excuses = realloc(v->excuses, (v->excuses_n + 1) * sizeof *excuses);
    if (!excuses)
        return FM_E_NOMEM;
    v->excuses = excuses;
    v->excuses[v->excuses_n++] = e;
    return FM_OK;
}

enum fm_err fm_view_joined(struct fm_view *v, const struct fm_vector *cursor, bool recovered)
{
    enum fm_err err = FM_OK;
    for (uint32_t i = 0; !recovered && !err && i < cursor->n; i++) {
        uint64_t had = fm_vector_get(&v->at, cursor->at[i].origin);
        if (had < cursor->at[i].seq)
            err = excuse(v, (struct fm_excuse){cursor->at[i].origin, had + 1, cursor->at[i].seq});
    }
    /* An origin that the node doesn't know any more: nothing of it will come. */
    for (uint32_t i = 0; !recovered && !err && i < v->at.n; i++)
        if (!fm_vector_has(cursor, v->at.at[i].origin))
            err = excuse(v, (struct fm_excuse){v->at.at[i].origin, v->at.at[i].seq + 1, UINT64_MAX});
    return err ? err : fm_vector_copy(&v->at, cursor);
}

enum fm_err fm_view_gap(struct fm_view *v, uint64_t origin, uint64_t from, uint64_t to)
{
    if (origin == 0 || from > to)
        return FM_E_INVALID;
    enum fm_err err = excuse(v, (struct fm_excuse){origin, from, to});
    return err ? err : fm_vector_raise(&v->at, origin, to);
}

enum fm_err fm_view_returned(struct fm_view *v)
{
    if (v->ledger->n == 0)
        return FM_OK;
    return excuse(v, (struct fm_excuse){0, v->base, v->ledger->n - 1});
}

static bool excused(const struct fm_view *v, uint64_t number, struct fm_id id)
{
    for (uint32_t i = 0; i < v->excuses_n; i++) {
        const struct fm_excuse *e = &v->excuses[i];
        uint64_t at = e->origin ? id.seq : number;
        if ((e->origin == 0 || e->origin == id.origin) && at >= e->from && at <= e->to)
            return true;
    }
    return false;
}

void fm_view_finish(const struct fm_view *v, struct fm_tally *t)
{
    const struct fm_ledger *l = v->ledger;
    for (uint64_t k = v->base; k < l->n; k++) {
        const struct fm_record *r = &l->at[k];
        if (r->fate == FM_FATE_REFUSED || bit_of(v, k))
            continue;
        if (excused(v, k, r->id))
            t->declared++;
        else if (r->fate == FM_FATE_ACKED)
            t->missing++;
        else if (r->left < l->views)
            t->partial++;
    }
}
