/* Answers that are awaited from the hub, by token. */
#include "worker_core.h"

#include <stdlib.h>

struct fm_expect {
    UT_hash_handle hh;
    uint64_t token;
    fm_answered_fn *answered;
    void *ctx;
};

uint64_t fm_worker_expect(struct fm_worker *w, fm_answered_fn *answered, void *ctx)
{
    struct fm_expect *e = malloc(sizeof *e);
    if (!e)
        return 0;
    /* Unique on the node: the upper bits are the worker's. */
    *e = (struct fm_expect){.token = ((uint64_t)w->config.index + 1) << 48 | ++w->next_token, .answered = answered, .ctx = ctx};
    HASH_ADD(hh, w->expects, token, sizeof e->token, e);
    return e->token;
}

static struct fm_expect *find(struct fm_worker *w, uint64_t token)
{
    struct fm_expect *e;
    HASH_FIND(hh, w->expects, &token, sizeof token, e);
    return e;
}

static void drop(struct fm_worker *w, struct fm_expect *e)
{
    HASH_DEL(w->expects, e);
    free(e);
}

void fm_worker_forget(struct fm_worker *w, uint64_t token)
{
    struct fm_expect *e = find(w, token);
    if (e)
        drop(w, e);
}

bool fm_expect_has(struct fm_worker *w, uint64_t token)
{
    return find(w, token) != NULL;
}

bool fm_expect_take(struct fm_worker *w, uint64_t token, fm_answered_fn **answered, void **ctx)
{
    struct fm_expect *e = find(w, token);
    if (!e)
        return false;
    *answered = e->answered;
    *ctx = e->ctx;
    drop(w, e);
    return true;
}

struct fm_sub *fm_expect_sub(struct fm_worker *w, uint64_t token)
{
    struct fm_expect *e = find(w, token);
    return e && e->answered == fm_socket_joined ? e->ctx : NULL;
}

struct fm_socket *fm_expect_socket(struct fm_worker *w, uint64_t token)
{
    struct fm_expect *e = find(w, token);
    return e && e->answered == fm_socket_pushed ? e->ctx : NULL;
}

void fm_expect_free_all(struct fm_worker *w)
{
    struct fm_expect *e, *tmp;
    HASH_ITER (hh, w->expects, e, tmp) {
        /* A socket that is gone lives on only for the answer. */
        if (e->answered == fm_socket_pushed || e->answered == fm_socket_tracked)
            e->answered(e->ctx, NULL);
        drop(w, e);
    }
}
