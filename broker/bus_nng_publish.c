/* The publish plane: one bus0 socket with a listener and a dialer for each link.
 *
 * Order: NNG may run "pipe added" after the pipe's first message, and "pipe removed" before either. So a pipe enters the table before it
 * can carry anything (ADD_PRE); it is announced by its first message or by ADD_POST, whichever comes first; it leaves with REM_POST, and
 * what still comes from it then is dropped. A pipe that never gets past the handshake (a peer of another protocol) is never announced.
 *
 * A dialer is closed only while it has a pipe, or as that goes, wherever that can be helped: NNG 1.5.2 loses for good what it has just
 * shaken hands with when it is closed (tests/lsan.supp), and it dials again as soon as "pipe removed" is over, half the time at once. So a
 * pipe that goes before anything came through it takes its dialer with it, from within that event, and the owner has to dial again. */
#include "bus_nng.h"

#include "diag.h"
#include "table.h"

#include <nng/protocol/bus0/bus.h>
#include <nng/supplemental/util/platform.h>
#include <stdio.h>
#include <stdlib.h>

enum { REDIAL_MAX_MS = 5000, RECEIVE_QUEUE = 4096 };

struct pipe {
    uint32_t id;
    int dialer; /* its id; not above 0: the other side dialled */
    bool up, heard;
    struct fm_bus_item *up_item, *down_item; /* made beforehand: these must not fail for want of memory */
    UT_hash_handle hh;
};

struct link {
    char address[64];
    nng_dialer dialer;
    bool ended; /* its dialer is closed */
    UT_hash_handle hh;
};

struct fm_nng_publish {
    struct fm_nng_out *out;
    nng_socket socket;
    nng_aio *receiving, *sending;
    uint64_t sent_ms; /* the last publish. owner only, like the writing of links */
    pthread_mutex_t lock;
    bool stopping;
    struct pipe *pipes;
    struct link *links;
    nng_msg *queue[FM_NNG_QUEUE_MAX]; /* a ring of what waits for `sending` */
    unsigned first, queued;
    bool busy; /* `sending` is under way */
};

/* ---- links and pipes ---- */

static void address_of_remote(nng_pipe pipe, char out[64])
{
    nng_sockaddr sa;
    if (nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &sa) == 0)
        (void)fm_nng_address(&sa, out);
}

static struct pipe *pipe_new(nng_pipe id)
{
    struct pipe *p = calloc(1, sizeof *p);
    struct fm_bus_item *up = fm_nng_item(FM_BUS_UP, (struct fm_slice){0});
    struct fm_bus_item *down = fm_nng_item(FM_BUS_DOWN, (struct fm_slice){0});
    if (!p || !up || !down) {
        free(p);
        free(up);
        free(down);
        return NULL;
    }
    p->id = up->pipe = down->pipe = (uint32_t)nng_pipe_id(id);
    p->up_item = up;
    p->down_item = down;
    return p;
}

static void pipe_free(struct pipe *p)
{
    free(p->up_item);
    free(p->down_item);
    free(p);
}

/* With the lock held. */
static void announce(struct fm_nng_publish *s, struct pipe *p)
{
    if (p->up || s->stopping)
        return;
    p->up = true;
    struct fm_bus_item *item = p->up_item;
    p->up_item = NULL;
    s->out->deliver(s->out->ctx, item);
}

/* The link that dialled it, or NULL. With the lock held. */
static struct link *link_of(struct fm_nng_publish *s, const struct pipe *p)
{
    for (struct link *l = s->links; l && p->dialer > 0; l = l->hh.next)
        if (nng_dialer_id(l->dialer) == p->dialer && !l->ended)
            return l;
    return NULL;
}

static void on_pipe_enters(nng_pipe id, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct fm_nng_publish *s = arg;
    struct pipe *p = pipe_new(id);
    if (!p) {
        fm_diag(FM_ERROR, "mesh_link_refused", "err=%s then=\"the link is not used; give the node more memory\"", fm_err_code(FM_E_NOMEM));
        nng_pipe_close(id); /* what is not in the table nobody would see, and while it stands NNG dials no other */
        return;
    }
    p->dialer = nng_dialer_id(nng_pipe_dialer(id));
    p->up_item->dialled = p->dialer > 0;
    address_of_remote(id, p->up_item->address);
    pthread_mutex_lock(&s->lock);
    struct link *l = link_of(s, p);
    if (l)
        memcpy(p->up_item->address, l->address, sizeof l->address);
    HASH_ADD(hh, s->pipes, id, sizeof p->id, p);
    pthread_mutex_unlock(&s->lock);
}

static struct pipe *pipe_find(struct fm_nng_publish *s, uint32_t id)
{
    struct pipe *p;
    HASH_FIND(hh, s->pipes, &id, sizeof id, p);
    return p;
}

static void on_pipe_ready(nng_pipe id, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct fm_nng_publish *s = arg;
    pthread_mutex_lock(&s->lock);
    struct pipe *p = pipe_find(s, (uint32_t)nng_pipe_id(id));
    if (p)
        announce(s, p);
    pthread_mutex_unlock(&s->lock);
}

static void on_pipe_leaves(nng_pipe id, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct fm_nng_publish *s = arg;
    nng_dialer unheard = NNG_DIALER_INITIALIZER;
    pthread_mutex_lock(&s->lock);
    struct pipe *p = pipe_find(s, (uint32_t)nng_pipe_id(id));
    if (p) {
        struct link *l = p->heard ? NULL : link_of(s, p);
        if (l) {
            l->ended = true;
            unheard = l->dialer;
        }
        HASH_DEL(s->pipes, p);
        if (p->up && !s->stopping) {
            struct fm_bus_item *item = p->down_item;
            p->down_item = NULL;
            s->out->deliver(s->out->ctx, item);
        }
        pipe_free(p);
    }
    pthread_mutex_unlock(&s->lock);
    if (nng_dialer_id(unheard) > 0)
        nng_dialer_close(unheard);
}

static bool has_ended(struct fm_nng_publish *s, const struct link *l)
{
    pthread_mutex_lock(&s->lock);
    bool ended = l->ended;
    pthread_mutex_unlock(&s->lock);
    return ended;
}

/* Only a link that is in the table has its pipes announced with its address, so it is entered before it is started. */
enum fm_err fm_nng_publish_link(struct fm_nng_publish *s, const char *address)
{
    char url[FM_NNG_URL_MAX];
    struct link *l;
    enum fm_err err = fm_nng_url(s->out, address, url);
    if (err)
        return err;
    HASH_FIND_STR(s->links, address, l);
    if (l && !has_ended(s, l))
        return FM_OK;
    if (l)
        fm_nng_publish_unlink(s, address);
    if (HASH_COUNT(s->links) >= FM_NNG_LINKS_MAX)
        return FM_E_TOO_MANY;
    l = calloc(1, sizeof *l);
    if (!l)
        return FM_E_NOMEM;
    memcpy(l->address, address, strlen(address)); /* fm_nng_url refused longer ones */
    int rv = fm_nng_dialer(&l->dialer, s->socket, url, s->out->tls);
    if (rv != 0) {
        free(l);
        return fm_nng_err(rv);
    }
    pthread_mutex_lock(&s->lock);
    HASH_ADD_STR(s->links, address, l);
    pthread_mutex_unlock(&s->lock);
    rv = nng_dialer_start(l->dialer, NNG_FLAG_NONBLOCK);
    if (rv != 0)
        fm_nng_publish_unlink(s, address);
    return fm_nng_err(rv);
}

void fm_nng_publish_unlink(struct fm_nng_publish *s, const char *address)
{
    struct link *l;
    HASH_FIND_STR(s->links, address, l);
    if (!l)
        return;
    pthread_mutex_lock(&s->lock);
    HASH_DEL(s->links, l);
    bool ended = l->ended;
    pthread_mutex_unlock(&s->lock);
    if (!ended)
        nng_dialer_close(l->dialer); /* takes its pipe with it */
    free(l);
}

void fm_nng_publish_drop(struct fm_nng_publish *s, uint32_t id)
{
    pthread_mutex_lock(&s->lock);
    bool ours = pipe_find(s, id) != NULL;
    pthread_mutex_unlock(&s->lock);
    if (ours)
        nng_pipe_close((nng_pipe){.id = id});
}

/* ---- receiving ---- */

/* What a pipe that is not in the table sends is dropped: it is gone, or was never let in. */
static void hear(struct fm_nng_publish *s, uint32_t id, nng_msg *msg)
{
    struct fm_bus_item *item = fm_nng_item(FM_BUS_ENVELOPE, fm_nng_msg_view(msg));
    if (!item)
        return; /* lost like anything on this plane may be */
    item->pipe = id;
    pthread_mutex_lock(&s->lock);
    struct pipe *p = s->stopping ? NULL : pipe_find(s, id);
    if (p) {
        p->heard = true;
        announce(s, p);
        s->out->deliver(s->out->ctx, item);
    }
    pthread_mutex_unlock(&s->lock);
    if (!p)
        free(item);
}

static void on_receive(void *arg)
{
    struct fm_nng_publish *s = arg;
    int rv = nng_aio_result(s->receiving);
    if (rv == NNG_ECLOSED || rv == NNG_ECANCELED)
        return;
    nng_msg *msg = rv == 0 ? fm_nng_take_msg(s->receiving) : NULL;
    if (msg) {
        nng_pipe from = nng_msg_get_pipe(msg);
        if (fm_nng_oversized(s->out, "publish", nng_msg_len(msg)))
            nng_pipe_close(from);
        else
            hear(s, (uint32_t)nng_pipe_id(from), msg);
        nng_msg_free(msg);
    }
    nng_recv_aio(s->socket, s->receiving);
}

/* ---- sending ---- */

/* The next message for `sending`, or NULL, and then it is idle. With the lock held. */
static nng_msg *next_to_send(struct fm_nng_publish *s)
{
    s->busy = s->queued > 0 && !s->stopping;
    if (!s->busy)
        return NULL;
    nng_msg *msg = s->queue[s->first];
    s->first = (s->first + 1) % FM_NNG_QUEUE_MAX;
    s->queued--;
    return msg;
}

static void send_now(struct fm_nng_publish *s, nng_msg *msg)
{
    nng_aio_set_msg(s->sending, msg);
    nng_send_aio(s->socket, s->sending);
}

static void on_sent(void *arg)
{
    struct fm_nng_publish *s = arg;
    if (nng_aio_result(s->sending) != 0) {
        nng_msg *unsent = fm_nng_take_msg(s->sending);
        if (unsent)
            nng_msg_free(unsent);
    }
    pthread_mutex_lock(&s->lock);
    nng_msg *msg = next_to_send(s);
    pthread_mutex_unlock(&s->lock);
    if (msg)
        send_now(s, msg);
}

/* bus0 takes a message only while its own thread waits for one, so two sends in a row would lose the second: they queue here, and NNG
 * hands each to all pipes before it takes the next. */
enum fm_err fm_nng_publish_send(struct fm_nng_publish *s, struct fm_slice bytes)
{
    if (bytes.n > s->out->envelope_max)
        return FM_E_TOO_LARGE;
    nng_msg *msg = fm_nng_msg(bytes), *now = NULL;
    if (!msg)
        return FM_E_NOMEM;
    s->sent_ms = nng_clock();
    pthread_mutex_lock(&s->lock);
    bool full = s->queued == FM_NNG_QUEUE_MAX;
    if (!full) {
        s->queue[(s->first + s->queued) % FM_NNG_QUEUE_MAX] = msg;
        s->queued++;
        if (!s->busy)
            now = next_to_send(s);
    }
    pthread_mutex_unlock(&s->lock);
    if (full)
        nng_msg_free(msg);
    if (now)
        send_now(s, now);
    return full ? FM_E_BUSY : FM_OK;
}

/* ---- life ---- */

static int open_socket(struct fm_nng_publish *s)
{
    int rv = nng_bus0_open(&s->socket);
    if (rv != 0)
        return rv;
    if ((rv = fm_nng_socket_set_up(s->socket, s->out->envelope_max, 0, REDIAL_MAX_MS)) != 0)
        return rv;
    /* The queue of all pipes together. The sending one stays as it is: with a larger one this NNG loses more. */
    if ((rv = nng_socket_set_int(s->socket, NNG_OPT_RECVBUF, RECEIVE_QUEUE)) != 0)
        return rv;
    if ((rv = nng_pipe_notify(s->socket, NNG_PIPE_EV_ADD_PRE, on_pipe_enters, s)) != 0 ||
        (rv = nng_pipe_notify(s->socket, NNG_PIPE_EV_ADD_POST, on_pipe_ready, s)) != 0 ||
        (rv = nng_pipe_notify(s->socket, NNG_PIPE_EV_REM_POST, on_pipe_leaves, s)) != 0)
        return rv;
    if ((rv = nng_aio_alloc(&s->receiving, on_receive, s)) != 0)
        return rv;
    return nng_aio_alloc(&s->sending, on_sent, s);
}

enum fm_err fm_nng_publish_open(struct fm_nng_publish **plane, struct fm_nng_out *out, const char *address)
{
    char url[FM_NNG_URL_MAX];
    enum fm_err err = fm_nng_url(out, address, url);
    if (err)
        return err;
    struct fm_nng_publish *s = calloc(1, sizeof *s);
    if (!s)
        return FM_E_NOMEM;
    s->out = out;
    pthread_mutex_init(&s->lock, NULL);
    int rv = open_socket(s);
    if (rv == 0)
        rv = fm_nng_listen(s->socket, url, out->tls);
    if (rv != 0) {
        err = fm_nng_listen_failed("publish", address, rv);
        fm_nng_publish_close(&s);
        return err;
    }
    *plane = s;
    return FM_OK;
}

void fm_nng_publish_start(struct fm_nng_publish *s)
{
    nng_recv_aio(s->socket, s->receiving);
}

static void stop_aio(nng_aio **aio)
{
    if (!*aio)
        return;
    nng_aio_stop(*aio);
    nng_msg *left = fm_nng_take_msg(*aio);
    if (left)
        nng_msg_free(left);
    nng_aio_free(*aio);
    *aio = NULL;
}

void fm_nng_publish_close(struct fm_nng_publish **plane)
{
    struct fm_nng_publish *s = *plane;
    *plane = NULL;
    if (!s)
        return;
    uint64_t since = nng_clock() - s->sent_ms;
    if (s->sent_ms && since < FM_NNG_LINGER_MS)
        nng_msleep((nng_duration)(FM_NNG_LINGER_MS - since));
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    stop_aio(&s->receiving);
    stop_aio(&s->sending);
    if (nng_socket_id(s->socket) > 0)
        nng_close(s->socket); /* waits for the pipes to leave: no callback after it */
    for (; s->queued; s->queued--, s->first = (s->first + 1) % FM_NNG_QUEUE_MAX)
        nng_msg_free(s->queue[s->first]);
    struct link *l, *next;
    HASH_ITER (hh, s->links, l, next) {
        HASH_DEL(s->links, l);
        free(l);
    }
    struct pipe *p, *after;
    HASH_ITER (hh, s->pipes, p, after) {
        HASH_DEL(s->pipes, p);
        pipe_free(p);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}
