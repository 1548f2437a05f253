/* Being asked: a rep0 socket with a fixed number of contexts, its slots. A slot listens, then holds an ask until the owner answers it, then
 * sends the answer, and listens again.
 *
 * An ask may stay unanswered for ever (it was garbage), so slots must come back without an answer. No timer: as long as one slot listens,
 * nothing is wrong; when the last one is taken, the one that was asked longest ago goes back to listening and its handle is void. So a
 * stranger who fills the slots costs his own asks, and never keeps others out. Connections are limited alike: the one that has been silent
 * for longest goes, and if it was a node's, that node dials again. */
#include "bus_nng.h"

#include "table.h"

#include <nng/protocol/reqrep0/rep.h>
#include <stdlib.h>

enum {
    REDIAL_MAX_MS = 5000, /* of no use to a socket that only listens */
    HEADER = 4,           /* bytes of req0 before the ask */
    SLOT_BITS = 8,
};
_Static_assert(FM_NNG_SLOTS <= 1 << SLOT_BITS, "a handle has room for the slot's number");

enum slot_state { SLOT_LISTENS, SLOT_ASKED, SLOT_SENDS };

struct slot {
    struct fm_nng_answer *plane;
    nng_ctx ctx;
    nng_aio *aio;
    unsigned number;
    /* with the plane's lock */
    enum slot_state state;
    uint64_t handle; /* of the ask that it holds or answers; they grow, so the smallest is the oldest */
};

struct asker { /* a connection to this plane */
    uint32_t pipe;
    uint64_t heard; /* the plane's count of asks and connections when it came, or asked for the last time */
    UT_hash_handle hh;
};

struct fm_nng_answer {
    struct fm_nng_out *out;
    nng_socket socket;
    pthread_mutex_t lock;
    bool stopping;
    unsigned listening;
    uint64_t serial, heard;
    struct asker *askers;
    struct slot slots[FM_NNG_SLOTS];
};

/* ---- slots ---- */

/* The caller has put the slot into SLOT_LISTENS. */
static void listen_again(struct slot *t)
{
    nng_aio_set_timeout(t->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(t->ctx, t->aio);
}

/* With the lock held. */
static void to_listening(struct slot *t)
{
    t->state = SLOT_LISTENS;
    t->handle = 0;
    t->plane->listening++;
}

/* The oldest slot in `state`, apart from one. With the lock held. */
static struct slot *oldest(struct fm_nng_answer *s, enum slot_state state, const struct slot *but)
{
    struct slot *found = NULL;
    for (struct slot *t = s->slots; t < s->slots + FM_NNG_SLOTS; t++)
        if (t != but && t->state == state && (!found || t->handle < found->handle))
            found = t;
    return found;
}

/* Delivers an ask, and sees to it that some slot listens. */
static void be_asked(struct slot *t, struct fm_bus_item *item)
{
    struct fm_nng_answer *s = t->plane;
    struct slot *freed = NULL, *stuck = NULL;
    pthread_mutex_lock(&s->lock);
    s->listening--;
    t->state = SLOT_ASKED;
    t->handle = ++s->serial << SLOT_BITS | t->number;
    item->handle = t->handle;
    if (s->listening == 0) {
        freed = oldest(s, SLOT_ASKED, t);
        stuck = freed ? NULL : oldest(s, SLOT_SENDS, t);
        if (freed)
            to_listening(freed);
    }
    s->out->deliver(s->out->ctx, item);
    pthread_mutex_unlock(&s->lock);
    if (freed)
        listen_again(freed);
    if (stuck)
        nng_aio_cancel(stuck->aio); /* its callback makes it listen */
}

static void asker_heard(struct fm_nng_answer *s, uint32_t pipe)
{
    struct asker *a;
    pthread_mutex_lock(&s->lock);
    HASH_FIND(hh, s->askers, &pipe, sizeof pipe, a);
    if (a)
        a->heard = ++s->heard;
    pthread_mutex_unlock(&s->lock);
}

static void on_heard(struct slot *t, int rv, nng_msg *msg)
{
    struct fm_bus_item *item = NULL;
    if (rv == 0)
        asker_heard(t->plane, (uint32_t)nng_pipe_id(nng_msg_get_pipe(msg)));
    if (rv == 0 && !fm_nng_oversized(t->plane->out, "ask", nng_msg_len(msg)))
        item = fm_nng_item(FM_BUS_ASKED, fm_nng_msg_view(msg)); /* without memory: not heard, the asker times out */
    if (item)
        be_asked(t, item);
    else
        listen_again(t);
}

static void on_progress(void *arg)
{
    struct slot *t = arg;
    struct fm_nng_answer *s = t->plane;
    int rv = nng_aio_result(t->aio);
    nng_msg *msg = fm_nng_take_msg(t->aio); /* an ask, or an answer that did not leave */
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping || rv == NNG_ECLOSED;
    bool heard = t->state == SLOT_LISTENS;
    if (!heard && !stopping)
        to_listening(t);
    pthread_mutex_unlock(&s->lock);
    if (stopping)
        ;
    else if (heard)
        on_heard(t, rv, msg);
    else
        listen_again(t);
    if (msg)
        nng_msg_free(msg);
}

/* ---- owner ---- */

enum fm_err fm_nng_answer_send(struct fm_nng_answer *s, uint64_t handle, struct fm_slice bytes)
{
    unsigned number = handle & ((1u << SLOT_BITS) - 1);
    if (bytes.n > s->out->envelope_max)
        return FM_E_TOO_LARGE;
    if (handle == 0 || number >= FM_NNG_SLOTS)
        return FM_E_INVALID;
    nng_msg *msg = fm_nng_msg(bytes);
    if (!msg)
        return FM_E_NOMEM;
    struct slot *t = &s->slots[number];
    pthread_mutex_lock(&s->lock);
    bool held = t->state == SLOT_ASKED && t->handle == handle;
    if (held)
        t->state = SLOT_SENDS;
    pthread_mutex_unlock(&s->lock);
    if (!held) {
        nng_msg_free(msg);
        return FM_E_INVALID;
    }
    nng_aio_set_msg(t->aio, msg);
    nng_aio_set_timeout(t->aio, FM_NNG_SEND_MS);
    nng_ctx_send(t->ctx, t->aio);
    return FM_OK;
}

/* ---- life ---- */

static void on_asker_enters(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct fm_nng_answer *s = arg;
    struct asker *new = calloc(1, sizeof *new), *oldest = NULL;
    if (!new) {
        nng_pipe_close(pipe);
        return;
    }
    new->pipe = (uint32_t)nng_pipe_id(pipe);
    pthread_mutex_lock(&s->lock);
    for (struct asker *a = HASH_COUNT(s->askers) < FM_NNG_ASKERS_MAX ? NULL : s->askers; a; a = a->hh.next)
        if (!oldest || a->heard < oldest->heard)
            oldest = a;
    if (oldest)
        HASH_DEL(s->askers, oldest);
    new->heard = ++s->heard;
    HASH_ADD(hh, s->askers, pipe, sizeof new->pipe, new);
    pthread_mutex_unlock(&s->lock);
    if (oldest)
        nng_pipe_close((nng_pipe){.id = oldest->pipe});
    free(oldest);
}

static void on_asker_leaves(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)event;
    struct fm_nng_answer *s = arg;
    uint32_t id = (uint32_t)nng_pipe_id(pipe);
    struct asker *a;
    pthread_mutex_lock(&s->lock);
    HASH_FIND(hh, s->askers, &id, sizeof id, a);
    if (a)
        HASH_DEL(s->askers, a);
    pthread_mutex_unlock(&s->lock);
    free(a);
}

static int open_socket(struct fm_nng_answer *s)
{
    int rv = nng_rep0_open(&s->socket);
    if (rv == 0)
        rv = fm_nng_socket_set_up(s->socket, s->out->envelope_max, HEADER, REDIAL_MAX_MS);
    if (rv == 0)
        rv = nng_pipe_notify(s->socket, NNG_PIPE_EV_ADD_PRE, on_asker_enters, s);
    if (rv == 0)
        rv = nng_pipe_notify(s->socket, NNG_PIPE_EV_REM_POST, on_asker_leaves, s);
    for (unsigned i = 0; i < FM_NNG_SLOTS && rv == 0; i++) {
        struct slot *t = &s->slots[i];
        t->plane = s;
        t->number = i;
        if ((rv = nng_ctx_open(&t->ctx, s->socket)) == 0)
            rv = nng_aio_alloc(&t->aio, on_progress, t);
    }
    return rv;
}

enum fm_err fm_nng_answer_open(struct fm_nng_answer **plane, struct fm_nng_out *out, const char *address)
{
    char url[FM_NNG_URL_MAX];
    enum fm_err err = fm_nng_url(out, address, url);
    if (err)
        return err;
    struct fm_nng_answer *s = calloc(1, sizeof *s);
    if (!s)
        return FM_E_NOMEM;
    s->out = out;
    pthread_mutex_init(&s->lock, NULL);
    int rv = open_socket(s);
    if (rv == 0)
        rv = fm_nng_listen(s->socket, url, out->tls);
    if (rv != 0) {
        err = fm_nng_listen_failed("ask", address, rv);
        fm_nng_answer_close(&s);
        return err;
    }
    *plane = s;
    return FM_OK;
}

void fm_nng_answer_start(struct fm_nng_answer *s)
{
    s->listening = FM_NNG_SLOTS;
    for (unsigned i = 0; i < FM_NNG_SLOTS; i++)
        listen_again(&s->slots[i]);
}

void fm_nng_answer_close(struct fm_nng_answer **plane)
{
    struct fm_nng_answer *s = *plane;
    *plane = NULL;
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    for (struct slot *t = s->slots; t < s->slots + FM_NNG_SLOTS && t->aio; t++)
        nng_aio_stop(t->aio);
    if (nng_socket_id(s->socket) > 0)
        nng_close(s->socket); /* with its contexts */
    for (struct slot *t = s->slots; t < s->slots + FM_NNG_SLOTS && t->aio; t++) {
        nng_msg *left = fm_nng_take_msg(t->aio);
        if (left)
            nng_msg_free(left);
        nng_aio_free(t->aio);
    }
    struct asker *a, *next;
    HASH_ITER (hh, s->askers, a, next) {
        HASH_DEL(s->askers, a);
        free(a);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}
