/* Asking: one req0 socket for each address (req0 would spread asks over all its pipes), one context for each ask, so that many are under
 * way at once. An ask goes over a connection once: NNG would send it again after a reconnect, to a node that is perhaps another by then.
 *
 * NNG's threads only record that an ask ended and deliver the answer; contexts and sockets are closed by the owner, in tidy. */
#include "bus_nng.h"

#include "table.h"

#include <assert.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>
#include <stdlib.h>

enum {
    REDIAL_MAX_MS = 1000, /* short: an ask that waits for the connection has a time limit */
    HEADER = 4,           /* bytes of req0 before the answer */
    LOOK_EVERY_MS = 1000, /* for idle sockets */
};

struct asked { /* a node that is asked */
    char address[64];
    struct fm_nng_ask *plane;
    nng_socket socket;
    unsigned pending; /* asks that use it */
    uint64_t used_ms;
    /* with the plane's lock */
    uint32_t pipe; /* 0: no connection */
    uint64_t heard_ms;
    bool silent; /* an ask timed out, and nothing was heard since it was sent: the connection is taken for dead */
    UT_hash_handle hh;
};

struct ask {
    struct ask *next;
    struct fm_nng_ask *plane;
    struct asked *asked;
    uint64_t id, deadline_ms, sent_ms;
    nng_ctx ctx;
    nng_aio *aio;
    bool sent;
    bool ended;                  /* with the plane's lock: its answer was delivered */
    struct fm_bus_item *failure; /* made beforehand: an ask always ends in an item */
};

struct fm_nng_ask {
    struct fm_nng_out *out;
    struct asked *table;
    struct ask *asks; /* all that are not freed yet */
    unsigned count;
    uint64_t looked_ms; /* when tidy last looked for idle sockets */
    pthread_mutex_t lock;
    unsigned ended, silent; /* what tidy has to do */
};

/* ---- an ask's way; on NNG's threads ---- */

static nng_duration time_left(const struct ask *a)
{
    uint64_t now = nng_clock(), left = now < a->deadline_ms ? a->deadline_ms - now : 1;
    return left < INT32_MAX ? (nng_duration)left : INT32_MAX;
}

static void end_ask(struct ask *a, enum fm_err err, struct fm_slice bytes)
{
    struct fm_nng_ask *s = a->plane;
    struct fm_bus_item *item = err ? NULL : fm_nng_item(FM_BUS_ANSWERED, bytes);
    if (!item) {
        item = a->failure;
        a->failure = NULL;
        item->err = err ? err : FM_E_IO; /* an answer that finds no memory is as good as lost */
    }
    item->handle = a->id;
    pthread_mutex_lock(&s->lock);
    assert(!a->ended);
    if (!err)
        a->asked->heard_ms = nng_clock();
    if (err == FM_E_TIMEOUT && a->sent && a->asked->heard_ms < a->sent_ms) {
        a->asked->silent = true;
        s->silent++;
    }
    s->out->deliver(s->out->ctx, item);
    a->ended = true;
    s->ended++;
    pthread_mutex_unlock(&s->lock);
}

/* First called when the ask is sent, then when its answer is there; or once, when either fails. */
static void on_progress(void *arg)
{
    struct ask *a = arg;
    int rv = nng_aio_result(a->aio);
    if (rv == 0 && !a->sent) {
        a->sent = true;
        a->sent_ms = nng_clock();
        nng_aio_set_timeout(a->aio, time_left(a));
        nng_ctx_recv(a->ctx, a->aio);
        return;
    }
    nng_msg *msg = fm_nng_take_msg(a->aio); /* the answer, or an ask that could not be sent */
    if (rv == 0 && fm_nng_oversized(a->plane->out, "ask", nng_msg_len(msg)))
        end_ask(a, FM_E_IO, (struct fm_slice){0});
    else if (rv == 0)
        end_ask(a, FM_OK, fm_nng_msg_view(msg));
    else
        end_ask(a, fm_nng_err(rv), (struct fm_slice){0});
    if (msg)
        nng_msg_free(msg);
}

static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct asked *to = arg;
    uint32_t id = (uint32_t)nng_pipe_id(pipe);
    pthread_mutex_lock(&to->plane->lock);
    if (event == NNG_PIPE_EV_ADD_PRE)
        to->pipe = id;
    else if (to->pipe == id)
        to->pipe = 0;
    pthread_mutex_unlock(&to->plane->lock);
}

/* ---- sockets; the owner from here on ---- */

static void asked_close(struct fm_nng_ask *s, struct asked *to)
{
    assert(to->pending == 0);
    HASH_DEL(s->table, to);
    if (nng_socket_id(to->socket) > 0)
        nng_close(to->socket);
    free(to);
}

static int asked_dial(struct asked *to, const char *url)
{
    nng_dialer dialer;
    int rv = nng_req0_open(&to->socket);
    if (rv == 0)
        rv = fm_nng_socket_set_up(to->socket, to->plane->out->envelope_max, HEADER, REDIAL_MAX_MS);
    if (rv == 0)
        rv = nng_socket_set_ms(to->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    if (rv == 0)
        rv = nng_pipe_notify(to->socket, NNG_PIPE_EV_ADD_PRE, on_pipe, to);
    if (rv == 0)
        rv = nng_pipe_notify(to->socket, NNG_PIPE_EV_REM_POST, on_pipe, to);
    if (rv == 0)
        rv = fm_nng_dialer(&dialer, to->socket, url, to->plane->out->tls);
    return rv == 0 ? nng_dialer_start(dialer, NNG_FLAG_NONBLOCK) : rv;
}

/* The one unused for longest, if nothing waits for it. */
static struct asked *most_idle(struct fm_nng_ask *s)
{
    struct asked *idle = NULL;
    for (struct asked *to = s->table; to; to = to->hh.next)
        if (to->pending == 0 && (!idle || to->used_ms < idle->used_ms))
            idle = to;
    return idle;
}

static enum fm_err asked_get(struct fm_nng_ask *s, const char *address, struct asked **out)
{
    char url[FM_NNG_URL_MAX];
    enum fm_err err = fm_nng_url(s->out, address, url);
    if (err)
        return err;
    HASH_FIND_STR(s->table, address, *out);
    if (*out)
        return FM_OK;
    if (HASH_COUNT(s->table) >= FM_NNG_ASKED_MAX) {
        struct asked *idle = most_idle(s);
        if (!idle)
            return FM_E_TOO_MANY;
        asked_close(s, idle);
    }
    struct asked *to = calloc(1, sizeof *to);
    if (!to)
        return FM_E_NOMEM;
    to->plane = s;
    memcpy(to->address, address, strlen(address)); /* fm_nng_url refused longer ones */
    HASH_ADD_STR(s->table, address, to);
    int rv = asked_dial(to, url);
    if (rv != 0) {
        asked_close(s, to);
        return fm_nng_err(rv);
    }
    *out = to;
    return FM_OK;
}

/* ---- asks ---- */

/* It has ended, or was never sent. */
static void ask_free(struct ask *a)
{
    if (a->aio)
        nng_aio_free(a->aio); /* waits for its callback to return */
    if (nng_ctx_id(a->ctx) > 0)
        nng_ctx_close(a->ctx);
    free(a->failure);
    free(a);
}

static struct ask *ask_new(struct fm_nng_ask *s, struct asked *to)
{
    struct ask *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->plane = s;
    a->asked = to;
    a->failure = fm_nng_item(FM_BUS_ANSWERED, (struct fm_slice){0});
    if (a->failure && nng_ctx_open(&a->ctx, to->socket) == 0 && nng_aio_alloc(&a->aio, on_progress, a) == 0)
        return a;
    ask_free(a);
    return NULL;
}

enum fm_err fm_nng_ask_send(struct fm_nng_ask *s, const char *address, uint64_t id, struct fm_slice bytes, unsigned timeout_ms)
{
    struct asked *to;
    if (bytes.n > s->out->envelope_max)
        return FM_E_TOO_LARGE;
    if (s->count >= FM_NNG_ASKS_MAX)
        return FM_E_TOO_MANY;
    enum fm_err err = asked_get(s, address, &to);
    if (err)
        return err;
    nng_msg *msg = fm_nng_msg(bytes);
    struct ask *a = msg ? ask_new(s, to) : NULL;
    if (!a) {
        if (msg)
            nng_msg_free(msg);
        return FM_E_NOMEM;
    }
    a->id = id;
    to->used_ms = nng_clock();
    a->deadline_ms = to->used_ms + timeout_ms;
    to->pending++;
    a->next = s->asks;
    s->asks = a;
    s->count++;
    nng_aio_set_msg(a->aio, msg);
    nng_aio_set_timeout(a->aio, time_left(a));
    nng_ctx_send(a->ctx, a->aio);
    return FM_OK;
}

/* ---- tidying ---- */

/* Takes the asks that ended out of the list. */
static struct ask *take_ended(struct fm_nng_ask *s)
{
    struct ask *ended = NULL;
    pthread_mutex_lock(&s->lock);
    for (struct ask **at = &s->asks; s->ended > 0 && *at;) {
        struct ask *a = *at;
        if (!a->ended) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        a->next = ended;
        ended = a;
        s->ended--;
    }
    pthread_mutex_unlock(&s->lock);
    return ended;
}

/* Closes a connection that went silent; NNG dials afresh. */
static void drop_silent(struct fm_nng_ask *s)
{
    for (struct asked *to = s->table; to; to = to->hh.next) {
        pthread_mutex_lock(&s->lock);
        uint32_t pipe = to->silent ? to->pipe : 0;
        to->silent = false;
        pthread_mutex_unlock(&s->lock);
        if (pipe)
            nng_pipe_close((nng_pipe){.id = pipe});
    }
}

void fm_nng_ask_tidy(struct fm_nng_ask *s)
{
    for (struct ask *a = take_ended(s), *next; a; a = next) {
        next = a->next;
        a->asked->pending--;
        s->count--;
        ask_free(a);
    }
    pthread_mutex_lock(&s->lock);
    bool silent = s->silent > 0;
    s->silent = 0;
    pthread_mutex_unlock(&s->lock);
    if (silent)
        drop_silent(s);
    uint64_t now = nng_clock();
    if (now - s->looked_ms < LOOK_EVERY_MS)
        return;
    s->looked_ms = now;
    struct asked *idle = most_idle(s);
    if (idle && now - idle->used_ms > FM_NNG_ASK_IDLE_MS)
        asked_close(s, idle);
}

/* ---- life ---- */

enum fm_err fm_nng_ask_open(struct fm_nng_ask **plane, struct fm_nng_out *out)
{
    struct fm_nng_ask *s = calloc(1, sizeof *s);
    if (!s)
        return FM_E_NOMEM;
    s->out = out;
    pthread_mutex_init(&s->lock, NULL);
    *plane = s;
    return FM_OK;
}

void fm_nng_ask_close(struct fm_nng_ask **plane)
{
    struct fm_nng_ask *s = *plane;
    *plane = NULL;
    if (!s)
        return;
    for (struct ask *a = s->asks, *next; a; a = next) {
        next = a->next;
        nng_aio_stop(a->aio);
        if (!a->ended) /* stopped between its two steps: NNG then calls nobody */
            end_ask(a, FM_E_CLOSED, (struct fm_slice){0});
        nng_msg *left = fm_nng_take_msg(a->aio);
        if (left)
            nng_msg_free(left);
        a->asked->pending--;
        ask_free(a);
    }
    struct asked *to, *after;
    HASH_ITER (hh, s->table, to, after)
        asked_close(s, to);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
