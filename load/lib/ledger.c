#include "ledger.h"

#include <assert.h>
#include <stdlib.h>

static_assert(sizeof(struct fm_record) == 40, "a run keeps millions of these");

bool fm_tally_broken(const struct fm_tally *t)
{
    return t->missing || t->doubled || t->disordered || t->strange || t->wrong_id || t->undead || t->malformed;
}

/* ---- publishes ---- */

void fm_ledger_fini(struct fm_ledger *l)
{
    free(l->at);
    free(l->copies);
    free(l->lives);
    *l = (struct fm_ledger){0};
}

/* Room for one more of `size` bytes in a growing array. */
static bool room(void *at, uint32_t n, uint32_t *cap, size_t size)
{
    void *old;
    memcpy(&old, at, sizeof old);
    if (n < *cap)
        return true;
    uint32_t more = *cap ? *cap * 2 : 4;
    void *bigger = more > *cap ? realloc(old, more * size) : NULL;
    if (!bigger)
        return false;
    memcpy(at, &bigger, sizeof bigger);
    *cap = more;
    return true;
}

enum fm_err fm_ledger_publish(struct fm_ledger *l, uint32_t stream, uint8_t node, uint64_t *number)
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
    l->at[*number] = (struct fm_record){.left = l->views, .stream = stream, .node = node, .attempts = 1};
    l->open += l->views > 0;
    l->silent++;
    return FM_OK;
}

bool fm_ledger_again(struct fm_ledger *l, uint64_t number, uint8_t node, bool maybe)
{
    assert(number < l->n);
    struct fm_record *r = &l->at[number];
    if (r->attempts == FM_LEDGER_ATTEMPTS_MAX)
        return false;
    r->attempts++;
    r->node = maybe && r->node != node ? FM_NODE_UNKNOWN : node; /* the copies of two nodes can't be told apart by who has them */
    return true;
}

static struct fm_id copy_id(const struct fm_ledger *l, const struct fm_record *r, unsigned copy)
{
    uint32_t at = r->copies;
    for (unsigned i = 1; i < copy; i++)
        at = l->copies[at - 1].next;
    return copy == 0 ? r->id : l->copies[at - 1].id;
}

/* The place of a life among those of its node, from 1; one that is not known is the newest. */
static uint32_t life_of(const struct fm_ledger *l, uint8_t node, uint64_t origin)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->lives_n; i++) {
        n += l->lives[i].node == node;
        if (l->lives[i].node == node && l->lives[i].origin == origin)
            return n;
    }
    return n + 1;
}

/* Whoever answered took it itself: what is published once only has no id from elsewhere. */
static void life_note(struct fm_ledger *l, const struct fm_record *r, uint64_t origin)
{
    if (r->attempts > 1 || r->node == FM_NODE_UNKNOWN || origin == 0)
        return;
    for (uint32_t i = 0; i < l->lives_n; i++)
        if (l->lives[i].node == r->node && l->lives[i].origin == origin)
            return;
    if (room(&l->lives, l->lives_n, &l->lives_cap, sizeof *l->lives)) /* else the judge is the milder for it */
        l->lives[l->lives_n++] = (struct fm_life){origin, r->node};
}

/* Every place that names a message's id must name the same one; but a message that was published again may have one for each attempt, each
 * of another node, since a node recognises the key of its own. Which of them it is: 0 for the first. */
static unsigned id_check(struct fm_ledger *l, struct fm_record *r, struct fm_id id, struct fm_tally *t)
{
    uint32_t *at = &r->copies;
    if (id.origin == 0)
        return 0;
    if (r->id.origin == 0)
        r->id = id;
    if (r->id.origin == id.origin && r->id.seq == id.seq)
        return 0;
    bool wrong = r->id.origin == id.origin;
    unsigned copy = 1;
    for (; *at; at = &l->copies[*at - 1].next, copy++) {
        const struct fm_copy *c = &l->copies[*at - 1];
        if (c->id.origin == id.origin && c->id.seq == id.seq)
            return copy;
        wrong |= c->id.origin == id.origin;
    }
    if (wrong || copy >= r->attempts) {
        t->wrong_id++;
        return 0;
    }
    uint32_t place = l->copies_n + 1;
    *at = place; /* before the array moves */
    if (!room(&l->copies, l->copies_n, &l->copies_cap, sizeof *l->copies)) {
        *at = 0;
        t->wrong_id++; /* rather a false alarm than a mistake overlooked */
        return 0;
    }
    l->copies[l->copies_n++] = (struct fm_copy){.id = id};
    return copy;
}

static void settle(struct fm_ledger *l, struct fm_record *r, enum fm_fate fate)
{
    r->fate = (uint8_t)fate;
    l->silent--;
}

void fm_ledger_ack(struct fm_ledger *l, uint64_t number, struct fm_id id, bool replicated, struct fm_tally *t)
{
    assert(number < l->n);
    struct fm_record *r = &l->at[number];
    if (r->fate != FM_FATE_SENT)
        return;
    settle(l, r, FM_FATE_ACKED);
    r->replicated = replicated;
    life_note(l, r, id.origin);
    id_check(l, r, id, t);
}

void fm_ledger_refuse(struct fm_ledger *l, uint64_t number)
{
    assert(number < l->n);
    struct fm_record *r = &l->at[number];
    if (r->fate != FM_FATE_SENT)
        return;
    settle(l, r, FM_FATE_REFUSED);
    l->open -= r->left > 0;
}

void fm_ledger_unanswered(struct fm_ledger *l, uint64_t number)
{
    assert(number < l->n);
    if (l->at[number].fate == FM_FATE_SENT)
        settle(l, &l->at[number], FM_FATE_UNANSWERED);
}

uint64_t fm_ledger_ack_rest(struct fm_ledger *l)
{
    uint64_t before = l->silent;
    for (uint64_t k = 0; l->silent && k < l->n; k++)
        if (l->at[k].fate == FM_FATE_SENT)
            settle(l, &l->at[k], FM_FATE_ACKED);
    return before;
}

void fm_ledger_broken(struct fm_ledger *l, uint32_t stream, void (*each)(void *ctx, struct fm_record *r), void *ctx)
{
    for (uint64_t k = 0; l->silent && k < l->n; k++) {
        struct fm_record *r = &l->at[k];
        if (r->stream != stream || r->fate != FM_FATE_SENT)
            continue;
        settle(l, r, FM_FATE_UNANSWERED);
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

void fm_view_connects(struct fm_view *v, uint8_t node)
{
    v->node = node;
    v->life = life_of(v->ledger, node, 0) - 1;
}

void fm_view_fini(struct fm_view *v)
{
    fm_vector_fini(&v->at);
    fm_vector_fini(&v->since);
    free(v->bits);
    free(v->excuses);
    free(v->seen);
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

/* The ids of the message that the subscriber was given; mostly the first one alone, of which nothing is kept. */
static struct fm_seen *seen_of(const struct fm_view *v, uint64_t number)
{
    for (uint32_t i = v->seen_n; i-- > 0;)
        if (v->seen[i].number == number)
            return &v->seen[i];
    return NULL;
}

static bool seen_note(struct fm_view *v, uint64_t number, uint32_t copies)
{
    struct fm_seen *s = seen_of(v, number);
    if (!s && room(&v->seen, v->seen_n, &v->seen_cap, sizeof *v->seen)) {
        s = &v->seen[v->seen_n++];
        *s = (struct fm_seen){.number = number};
    }
    if (s)
        s->copies = copies;
    return s;
}

/* Given again: is it another copy, and were those that it has given on an earlier connection? A node gives only the first that it sees. */
static bool by_key(struct fm_view *v, uint64_t number, unsigned copy)
{
    const struct fm_record *r = &v->ledger->at[number];
    const struct fm_seen *s = r->copies ? seen_of(v, number) : NULL;
    uint32_t had = s ? s->copies : 1;
    if (had >> copy & 1)
        return false;
    for (unsigned i = 0; i < FM_LEDGER_ATTEMPTS_MAX; i++) {
        if (!(had >> i & 1))
            continue;
        struct fm_id id = copy_id(v->ledger, r, i);
        if (id.seq > fm_vector_get(&v->since, id.origin))
            return false;
    }
    return seen_note(v, number, had | (uint32_t)1 << copy);
}

/* An origin of which nothing was to come any more is back: what comes from here on is owed again. */
static void excuse_close(struct fm_view *v, struct fm_id order)
{
    for (uint32_t i = 0; i < v->excuses_n; i++) {
        struct fm_excuse *e = &v->excuses[i];
        if (e->origin == order.origin && e->to == FM_LEDGER_OPEN && e->from <= order.seq)
            e->to = order.seq - 1;
    }
}

static void order_check(struct fm_view *v, struct fm_id order, struct fm_tally *t)
{
    excuse_close(v, order);
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
    unsigned copy = has_id ? id_check(l, r, order, t) : 0;
    if (number < v->base || bit_of(v, number)) {
        bool allowed = has_id && by_key(v, number, copy);
        *(allowed ? &t->doubled_by_key : &t->doubled) += 1;
        if (allowed)
            order_check(v, order, t);
        return FM_TAKE_NOT_NEW;
    }
    if (!bits_reach(v, number) || (copy && !seen_note(v, number, (uint32_t)1 << copy))) {
        t->strange++; /* out of memory: rather a false alarm than a loss overlooked */
        return FM_TAKE_NOT_NEW;
    }
    uint64_t i = number - v->base;
    v->bits[i / 64] |= (uint64_t)1 << (i % 64);
    bits_trim(v);
    order_check(v, order, t);
    t->deliveries++;
    t->undead += r->fate == FM_FATE_REFUSED;
    r->spread |= v->node != r->node || (v->life > 1 && has_id && life_of(l, v->node, order.origin) < v->life);
    if (r->left == 0 || --r->left > 0)
        return FM_TAKE_NEW;
    l->open -= r->fate != FM_FATE_REFUSED;
    return FM_TAKE_LAST;
}

enum fm_take fm_view_count(struct fm_view *v, uint64_t number, struct fm_tally *t)
{
    struct fm_ledger *l = v->ledger;
    if (number >= l->n) {
        t->strange++;
        return FM_TAKE_NOT_NEW;
    }
    t->deliveries++;
    if (l->at[number].left == 0 || --l->at[number].left > 0)
        return FM_TAKE_NEW;
    l->open--;
    return FM_TAKE_LAST;
}

/* ---- what was declared ---- */

static bool before(const struct fm_excuse *a, const struct fm_excuse *b)
{
    return a->origin != b->origin ? a->origin < b->origin : a->from < b->from;
}

/* The two are one range. */
static bool touches(const struct fm_excuse *low, const struct fm_excuse *high)
{
    return low->origin == high->origin && (low->to == FM_LEDGER_OPEN || high->from <= low->to + 1);
}

/* A node may declare the same again and again, in pieces: neighbours become one, so that these stay few. */
static enum fm_err excuse(struct fm_view *v, struct fm_excuse e)
{
    uint32_t i = v->excuses_n, end;
    if (e.from > e.to)
        return FM_OK;
    if (!room(&v->excuses, v->excuses_n, &v->excuses_cap, sizeof *v->excuses))
        return FM_E_NOMEM;
    while (i > 0 && before(&e, &v->excuses[i - 1]))
        i--;
    if (i > 0 && touches(&v->excuses[i - 1], &e))
        i--;
    for (end = i; end < v->excuses_n; end++) {
        const struct fm_excuse *x = &v->excuses[end];
        if (!(before(x, &e) ? touches(x, &e) : touches(&e, x)))
            break;
        e.from = x->from < e.from ? x->from : e.from;
        e.to = x->to > e.to ? x->to : e.to;
    }
    memmove(&v->excuses[i + 1], &v->excuses[end], (v->excuses_n - end) * sizeof e);
    v->excuses[i] = e;
    v->excuses_n += 1 - (end - i);
    return FM_OK;
}

/* Of each origin, what lies between what it had and the cursor. */
static enum fm_err excuse_up_to(struct fm_view *v, const struct fm_vector *cursor)
{
    enum fm_err err = FM_OK;
    for (uint32_t i = 0; !err && i < cursor->n; i++)
        err = excuse(v, (struct fm_excuse){cursor->at[i].origin, fm_vector_get(&v->at, cursor->at[i].origin) + 1, cursor->at[i].seq});
    return err;
}

/* The larger of the two for each origin. More origins than a vector holds: those beyond count as given on this connection, which only
 * makes the judge stricter. */
static enum fm_err since_set(struct fm_view *v, const struct fm_vector *cursor)
{
    enum fm_err err = fm_vector_copy(&v->since, cursor);
    for (uint32_t i = 0; !err && i < v->at.n; i++)
        if (fm_vector_raise(&v->since, v->at.at[i].origin, v->at.at[i].seq) == FM_E_NOMEM)
            err = FM_E_NOMEM;
    return err;
}

enum fm_err fm_view_joined(struct fm_view *v, const struct fm_vector *cursor, bool recovered)
{
    enum fm_err err = recovered ? FM_OK : excuse_up_to(v, cursor);
    /* An origin that the node doesn't know any more: nothing of it will come. */
    for (uint32_t i = 0; !recovered && !err && i < v->at.n; i++)
        if (!fm_vector_has(cursor, v->at.at[i].origin))
            err = excuse(v, (struct fm_excuse){v->at.at[i].origin, v->at.at[i].seq + 1, FM_LEDGER_OPEN});
    if (!err)
        err = since_set(v, cursor);
    return err ? err : fm_vector_copy(&v->at, cursor);
}

enum fm_err fm_view_gap(struct fm_view *v, uint64_t origin, uint64_t from, uint64_t to)
{
    if (origin == 0 || from > to)
        return FM_E_INVALID;
    enum fm_err err = excuse(v, (struct fm_excuse){origin, from, to});
    return err || to == FM_LEDGER_OPEN ? err : fm_vector_raise(&v->at, origin, to);
}

enum fm_err fm_view_gap_to(struct fm_view *v, const struct fm_vector *cursor)
{
    enum fm_err err = excuse_up_to(v, cursor);
    for (uint32_t i = 0; !err && i < cursor->n; i++)
        err = fm_vector_raise(&v->at, cursor->at[i].origin, cursor->at[i].seq);
    return err;
}

enum fm_err fm_view_returned(struct fm_view *v)
{
    if (v->ledger->n == 0)
        return FM_OK;
    return excuse(v, (struct fm_excuse){0, v->base, v->ledger->n - 1});
}

/* ---- judging ---- */

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

/* Told of it under any of its ids: the subscriber knows that something is missing there. */
static bool told(const struct fm_view *v, uint64_t number, const struct fm_record *r)
{
    bool any = excused(v, number, r->id);
    for (uint32_t at = r->copies; at && !any; at = v->ledger->copies[at - 1].next)
        any = excused(v, number, v->ledger->copies[at - 1].id);
    return any;
}

/* Every node that was given a copy was killed. */
static bool all_gone(const struct fm_ledger *l, const struct fm_record *r, const struct fm_gone *gone)
{
    bool all = fm_gone_has(gone, r->id.origin);
    for (uint32_t at = r->copies; at && all; at = l->copies[at - 1].next)
        all = fm_gone_has(gone, l->copies[at - 1].id.origin);
    return all;
}

/* Its position is behind the message: so a node knew of it, and had to give it or to tell of it. */
static bool led_past(const struct fm_view *v, const struct fm_record *r)
{
    bool any = fm_vector_get(&v->at, r->id.origin) >= r->id.seq;
    for (uint32_t at = r->copies; at && !any; at = v->ledger->copies[at - 1].next) {
        struct fm_id id = v->ledger->copies[at - 1].id;
        any = fm_vector_get(&v->at, id.origin) >= id.seq;
    }
    return any;
}

void fm_view_finish(const struct fm_view *v, const struct fm_gone *gone, struct fm_tally *t)
{
    const struct fm_ledger *l = v->ledger;
    for (uint64_t k = v->base; k < l->n; k++) {
        const struct fm_record *r = &l->at[k];
        if (r->fate == FM_FATE_REFUSED || bit_of(v, k))
            continue;
        if (told(v, k, r))
            t->declared++;
        else if (r->fate == FM_FATE_ACKED && (r->replicated || r->spread || led_past(v, r) || !all_gone(l, r, gone)))
            t->missing++;
        else if (r->fate == FM_FATE_ACKED)
            *(r->left < l->views ? &t->tail_local : &t->tail_unknown) += 1;
        else if (r->left < l->views)
            t->partial++;
    }
}
