/* Who is connected to this worker: sockets by user. */
#include "worker_core.h"

#include <assert.h>
#include <stdlib.h>

struct fm_user *fm_user_find(const struct fm_worker *w, struct fm_slice name)
{
    struct fm_user *u;
    HASH_FIND(hh, w->users, name.p, name.n, u);
    return u;
}

static struct fm_user *user_get(struct fm_worker *w, struct fm_slice name)
{
    struct fm_user *u = fm_user_find(w, name);
    if (u)
        return u;
    u = calloc(1, sizeof *u + name.n);
    if (!u)
        return NULL;
    u->name_n = (uint32_t)name.n;
    memcpy(u->name, name.p, name.n);
    HASH_ADD_KEYPTR(hh, w->users, u->name, u->name_n, u);
    return u;
}

void fm_user_leave(struct fm_socket *s)
{
    struct fm_user *u = s->user;
    if (!u)
        return;
    *s->user_link = s->user_next;
    if (s->user_next)
        s->user_next->user_link = s->user_link;
    s->user = NULL;
    if (--u->n)
        return;
    HASH_DEL(s->worker->users, u);
    free(u);
}

bool fm_user_join(struct fm_socket *s, struct fm_slice name)
{
    assert(name.n <= FM_USER_MAX);
    if (s->user && fm_slice_eq(fm_user_name(s->user), name))
        return true;
    struct fm_user *u = name.n ? user_get(s->worker, name) : NULL;
    if (name.n && !u)
        return false;
    fm_socket_user_leaves(s);
    fm_user_leave(s);
    if (!u)
        return true;
    s->user = u;
    s->user_next = u->first;
    s->user_link = &u->first;
    if (s->user_next)
        s->user_next->user_link = &s->user_next;
    u->first = s;
    u->n++;
    return true;
}
