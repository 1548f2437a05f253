/* Parcels: bytes from a worker to one other, wherever that is. Over the mesh's ask plane, so they need no address and no seal of their
 * own; and the asked hub answers before the worker has looked at them, so that what a client waits for never holds one of its few slots. */
#include "hub_core.h"

#include <assert.h>
#include <stdlib.h>

enum { SENT_MAX = 1024 }; /* a quarter of the asks that the bus takes: repair has the rest */

struct fm_sent {
    UT_hash_handle hh;
    uint64_t ask, counter;
    struct fm_parcel *parcel; /* without its bytes */
};

static void give_back(struct fm_hub *h, struct fm_parcel *p, enum fm_err err)
{
    p->err = err;
    p->n = 0;
    p->item.cost = (uint32_t)sizeof *p;
    h->stats.parcels_failed++;
    fm_hub_out(h, p->from, &p->item);
}

/* The bytes have left: only the head waits for the answer. */
static struct fm_parcel *without_bytes(struct fm_parcel *p)
{
    struct fm_parcel *smaller = realloc(p, sizeof *p);
    return smaller ? smaller : p;
}

static enum fm_err send(struct fm_hub *h, struct fm_parcel *p, struct fm_sent *sent)
{
    const struct fm_peer *to = h->port.bus_ops ? fm_peer_find(h, p->node) : NULL;
    if (!to || !to->alive || !to->ask[0])
        return FM_E_NOT_FOUND;
    if (HASH_COUNT(h->sent_parcels) >= SENT_MAX)
        return FM_E_BUSY;
    h->scratch.n = 0;
    fm_env_parcel_write(&h->scratch, &(struct fm_env_parcel){p->worker, fm_slice_of(p->bytes, p->n)});
    enum fm_err err = h->scratch.failed ? FM_E_NOMEM : FM_OK;
    h->scratch.failed = false;
    if (!err)
        err = fm_seal_close(h->config.seal, FM_PLANE_ASK, (struct fm_env_bind){0}, fm_buf_view(&h->scratch), &h->sealed, &sent->counter);
    sent->ask = ++h->next_ask;
    return err ? err : h->port.bus_ops->ask(h->port.bus, to->ask, sent->ask, fm_buf_view(&h->sealed), h->config.ask_timeout_ms);
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
    struct fm_sent *sent = calloc(1, sizeof *sent);
    enum fm_err err = sent ? send(h, p, sent) : FM_E_NOMEM;
    if (err) {
        free(sent);
        give_back(h, p, err);
        return;
    }
    h->stats.parcels++;
    sent->parcel = without_bytes(p);
    HASH_ADD(hh, h->sent_parcels, ask, sizeof sent->ask, sent);
}

void fm_parcel_arrived(struct fm_hub *h, uint64_t handle, const struct fm_env *env)
{
    struct fm_env_parcel in;
    const struct fm_env_bind bind = {env->incarnation, env->counter};
    enum fm_err err = fm_env_parcel_read(env->body, &in);
    struct fm_parcel *p =
        !err && in.worker < h->config.workers ? fm_parcel_new(env->incarnation, in.worker, FM_NO_WORKER, 0, in.bytes) : NULL;
    if (p)
        fm_hub_out(h, p->worker, &p->item);
    h->scratch.n = 0;
    fm_env_taken_write(&h->scratch, p != NULL);
    if (!h->scratch.failed && fm_seal_close(h->config.seal, FM_PLANE_ANSWER, bind, fm_buf_view(&h->scratch), &h->sealed, NULL) == FM_OK)
        (void)!h->port.bus_ops->answer(h->port.bus, handle, fm_buf_view(&h->sealed)); /* else the asker's time runs out */
    h->scratch.failed = false;
}

bool fm_parcel_answered(struct fm_hub *h, struct fm_bus_item *it)
{
    struct fm_sent *sent;
    struct fm_env env;
    bool taken = false;
    HASH_FIND(hh, h->sent_parcels, &it->handle, sizeof it->handle, sent);
    if (!sent)
        return false;
    HASH_DEL(h->sent_parcels, sent);
    const struct fm_env_bind bind = {h->self->id, sent->counter};
    enum fm_err err = it->err ? it->err : fm_seal_open(h->config.seal, FM_PLANE_ANSWER, bind, it->bytes, it->n, &env);
    if (!err)
        err = fm_env_taken_read(env.body, &taken);
    if (!err && !taken)
        err = FM_E_NOT_FOUND;
    if (err)
        give_back(h, sent->parcel, err);
    else
        fm_parcel_free(&sent->parcel);
    free(sent);
    return true;
}

void fm_parcels_free(struct fm_hub *h)
{
    struct fm_sent *sent, *tmp;
    HASH_ITER (hh, h->sent_parcels, sent, tmp) {
        HASH_DEL(h->sent_parcels, sent);
        fm_parcel_free(&sent->parcel);
        free(sent);
    }
}
