/* Parcels: bytes from a worker to one other, wherever that is. Over the mesh's ask plane, so they need no address and no seal of their
 * own; and the asked hub answers before its worker has looked at them, so that what a client waits for never holds one of its few slots.
 *
 * A node holds 64 asks of others, and gives up the oldest for a new one. So what goes to one node leaves together: a few asks are under way
 * to it, and what comes meanwhile is gathered for the next. */
#include "hub_core.h"

#include <assert.h>
#include <stdlib.h>

enum {
    WINDOW = 4,         /* asks under way to a node */
    PARCELS_MAX = 8192, /* of this node that are not confirmed */
};

struct batch { /* an ask that is under way */
    uint64_t ask, counter;
    struct fm_parcel *parcels; /* without their bytes; by item.next */
};

struct fm_courier { /* to one node */
    UT_hash_handle hh;
    uint64_t node;
    struct batch under_way[WINDOW]; /* ask 0: free */
    struct fm_parcel *first, **last;
};

static struct fm_parcel *next_of(const struct fm_parcel *p)
{
    return (struct fm_parcel *)p->item.next;
}

/* ---- to workers ---- */

static void give_back(struct fm_hub *h, struct fm_parcel *p, enum fm_err err)
{
    p->err = err;
    p->n = 0;
    p->item.cost = (uint32_t)sizeof *p;
    h->stats.parcels_failed++;
    fm_hub_out(h, p->from, &p->item);
}

static void give_all_back(struct fm_hub *h, struct fm_parcel *p, enum fm_err err)
{
    for (struct fm_parcel *next; p; p = next) {
        next = next_of(p);
        h->parcels_n--;
        give_back(h, p, err);
    }
}

static void free_all(struct fm_hub *h, struct fm_parcel *p)
{
    for (struct fm_parcel *next; p; p = next) {
        next = next_of(p);
        h->parcels_n--;
        fm_parcel_free(&p);
    }
}

/* ---- to other nodes ---- */

static struct fm_courier *courier_get(struct fm_hub *h, uint64_t node)
{
    struct fm_courier *c;
    HASH_FIND(hh, h->couriers, &node, sizeof node, c);
    if (c)
        return c;
    c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->node = node;
    c->last = &c->first;
    HASH_ADD(hh, h->couriers, node, sizeof c->node, c);
    return c;
}

static void courier_free(struct fm_hub *h, struct fm_courier *c)
{
    HASH_DEL(h->couriers, c);
    free(c);
}

static const struct fm_peer *reached(const struct fm_hub *h, uint64_t node)
{
    const struct fm_peer *p = h->port.bus_ops ? fm_peer_find(h, node) : NULL;
    return p && p->alive && p->ask[0] ? p : NULL;
}

void fm_parcel_handle(struct fm_hub *h, struct fm_parcel *p)
{
    assert(p->from < h->config.workers);
    if (p->node == h->self->id) {
        if (p->worker < h->config.workers)
            fm_hub_out(h, p->worker, &p->item);
        else
            give_back(h, p, FM_E_NOT_FOUND);
        return;
    }
    struct fm_courier *c = NULL;
    enum fm_err err = !reached(h, p->node) ? FM_E_NOT_FOUND : h->parcels_n >= PARCELS_MAX ? FM_E_BUSY : FM_OK;
    if (!err && !(c = courier_get(h, p->node)))
        err = FM_E_NOMEM;
    if (err) {
        give_back(h, p, err);
        return;
    }
    h->parcels_n++;
    p->item.next = NULL;
    *c->last = p;
    c->last = (struct fm_parcel **)&p->item.next;
}

/* The next of the queue into h->scratch, as many as make a batch: at least one. Returns them, and takes them out of the queue. */
static struct fm_parcel *pack(struct fm_hub *h, struct fm_courier *c)
{
    struct fm_parcel *first = c->first, **at = &c->first;
    h->scratch.n = 0;
    fm_env_parcels_begin(&h->scratch);
    while (*at && (at == &c->first || h->scratch.n + (*at)->n < h->config.batch_bytes)) {
        struct fm_parcel *p = *at;
        fm_env_parcel_write(&h->scratch, &(struct fm_env_parcel){p->worker, fm_slice_of(p->bytes, p->n)});
        struct fm_parcel *smaller = realloc(p, sizeof *p); /* only the head waits for the answer */
        p = smaller ? smaller : p;
        *at = p;
        if (at == &c->first)
            first = p;
        at = (struct fm_parcel **)&p->item.next;
    }
    c->first = *at;
    *at = NULL;
    if (!c->first)
        c->last = &c->first;
    return first;
}

static void batch_send(struct fm_hub *h, struct fm_courier *c, const struct fm_peer *to, struct batch *b)
{
    b->parcels = pack(h, c);
    b->ask = ++h->next_ask;
    enum fm_err err = h->scratch.failed ? FM_E_NOMEM : FM_OK;
    h->scratch.failed = false;
    if (!err)
        err = fm_seal_close(h->config.seal, FM_PLANE_ASK, (struct fm_env_bind){0}, fm_buf_view(&h->scratch), &h->sealed, &b->counter);
    if (!err)
        err = h->port.bus_ops->ask(h->port.bus, to->ask, b->ask, fm_buf_view(&h->sealed), h->config.ask_timeout_ms);
    if (err) {
        b->ask = 0;
        give_all_back(h, b->parcels, err);
        return;
    }
    for (const struct fm_parcel *p = b->parcels; p; p = next_of(p))
        h->stats.parcels++;
}

static bool courier_send(struct fm_hub *h, struct fm_courier *c)
{
    const struct fm_peer *to = reached(h, c->node);
    bool busy = false;
    if (!to) {
        give_all_back(h, c->first, FM_E_NOT_FOUND);
        c->first = NULL;
        c->last = &c->first;
    }
    for (size_t i = 0; i < WINDOW; i++) {
        if (c->under_way[i].ask == 0 && c->first)
            batch_send(h, c, to, &c->under_way[i]);
        busy |= c->under_way[i].ask != 0;
    }
    return busy || c->first;
}

void fm_parcels_send(struct fm_hub *h)
{
    struct fm_courier *c, *tmp;
    HASH_ITER (hh, h->couriers, c, tmp)
        if (!courier_send(h, c))
            courier_free(h, c);
}

static struct batch *batch_of(struct fm_hub *h, uint64_t ask)
{
    for (struct fm_courier *c = h->couriers; c; c = c->hh.next)
        for (size_t i = 0; i < WINDOW; i++)
            if (c->under_way[i].ask == ask)
                return &c->under_way[i];
    return NULL;
}

bool fm_parcels_answered(struct fm_hub *h, struct fm_bus_item *it)
{
    struct fm_env env;
    struct batch *b = batch_of(h, it->handle);
    if (!b)
        return false;
    const struct fm_env_bind bind = {h->self->id, b->counter};
    enum fm_err err = it->err ? it->err : fm_seal_open(h->config.seal, FM_PLANE_ANSWER, bind, it->bytes, it->n, &env);
    if (!err)
        err = fm_env_taken_read(env.body);
    b->ask = 0;
    if (err)
        give_all_back(h, b->parcels, err);
    else
        free_all(h, b->parcels);
    b->parcels = NULL;
    return true;
}

/* ---- from other nodes ---- */

/* One for a worker that there isn't goes to the first, which knows nothing of it and says so. */
static bool hand_over(struct fm_hub *h, uint64_t from, const struct fm_env_parcel *in)
{
    uint32_t worker = in->worker < h->config.workers ? in->worker : 0;
    struct fm_parcel *p = h->config.workers ? fm_parcel_new(from, worker, FM_NO_WORKER, 0, in->bytes) : NULL;
    if (p)
        fm_hub_out(h, worker, &p->item);
    return p;
}

void fm_parcels_arrived(struct fm_hub *h, uint64_t handle, const struct fm_env *env)
{
    struct fm_slice rest;
    struct fm_env_parcel in;
    const struct fm_env_bind bind = {env->incarnation, env->counter};
    enum fm_err err = fm_env_parcels_read(env->body, &rest);
    while (!err && rest.n && (err = fm_env_parcel_next(&rest, &in)) == FM_OK)
        if (!hand_over(h, env->incarnation, &in))
            return; /* without memory: not confirmed */
    if (err)
        return;
    h->scratch.n = 0;
    fm_env_taken_write(&h->scratch);
    if (!h->scratch.failed && fm_seal_close(h->config.seal, FM_PLANE_ANSWER, bind, fm_buf_view(&h->scratch), &h->sealed, NULL) == FM_OK)
        (void)!h->port.bus_ops->answer(h->port.bus, handle, fm_buf_view(&h->sealed)); /* else the asker's time runs out */
    h->scratch.failed = false;
}

void fm_parcels_free(struct fm_hub *h)
{
    struct fm_courier *c, *tmp;
    HASH_ITER (hh, h->couriers, c, tmp) {
        for (size_t i = 0; i < WINDOW; i++)
            free_all(h, c->under_way[i].parcels);
        free_all(h, c->first);
        courier_free(h, c);
    }
}
