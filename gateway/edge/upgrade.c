/* From HTTP to WebSocket: who may, and the hand-over. */
#include "front.h"

#include "admit.h"
#include "../auth/credential.h"

#include <stdio.h>

/* ---- what is wrong with it ---- */

/* The request itself: RFC 6455, 4.2.1. */
static bool handshake_ok(struct fm_conn *c)
{
    const struct fm_http1_head *h = &c->head;
    const char *what = NULL;
    if (!fm_http1_lists(h->upgrade, "websocket"))
        what = "the only Upgrade spoken here is websocket";
    else if (h->method != FM_HTTP_GET || h->minor == 0)
        what = "a WebSocket begins with GET and HTTP/1.1";
    else if (!h->connection_upgrade)
        what = "Connection does not list Upgrade";
    else if (c->request.announced)
        what = "a WebSocket's request has no body";
    else if (!fm_http1_ws_key(h->ws_key))
        what = "Sec-WebSocket-Key is not 16 bytes in base64";
    if (what) {
        fm_conn_fail(c, 400, FM_E_UPGRADE, what, fm_slice_of(NULL, 0));
        return false;
    }
    if (!fm_slice_eq(h->ws_version, FM_LIT("13"))) {
        fm_conn_fail(c, 426, FM_E_UPGRADE, "Sec-WebSocket-Version must be 13", FM_LIT("Sec-WebSocket-Version: 13\r\n"));
        return false;
    }
    return true;
}

static struct fm_socket *refuse(struct fm_upgrade *up, enum fm_err err)
{
    up->err = err;
    return NULL;
}

/* From the worker's inbox. The request is looked at again in a turn of its own: what comes of it is none of a drain. */
static void on_answer(void *ctx, struct fm_item *item)
{
    struct fm_conn *c = ctx;
    c->asked = 0;
    c->answer = (struct fm_connect_held *)item;
    ev_feed_event(c->worker->loop, &c->io, EV_WRITE);
}

/* By the backend of hooks, where it is to be asked. False: it was not, or has not said yet (up->asking). */
static bool allowed(struct fm_conn *c, const struct fm_connecting *connecting, struct fm_upgrade *up)
{
    if (c->probe)
        return true;
    if (!c->answer) {
        up->err = fm_connect_ask(c->worker, connecting, on_answer, c, &c->asked, &c->number);
        up->asking = c->asked != 0;
        c->told = c->worker->revocations.told;
        if (up->asking)
            c->state = FM_CONN_ASKING;
        return !up->err && !up->asking;
    }
    up->err = c->answer->err;
    up->said = c->answer->said;
    /* The backend may have decided before it revoked this user. Who comes again is asked about again. */
    const struct fm_identity *id = c->answer->identity;
    if (!up->err && id && fm_revoked_since(&c->worker->revocations, id->user, c->told))
        up->err = FM_E_UNAVAILABLE;
    return up->err == FM_OK;
}

void fm_conn_ask_forget(struct fm_conn *c)
{
    if (c->asked)
        fm_worker_forget(c->worker, c->asked);
    if (c->answer)
        fm_question_item_free(&c->answer->item);
    c->asked = c->number = 0;
    c->answer = NULL;
}

struct fm_slice fm_said_members(const char *said)
{
    struct fm_slice s = fm_slice_str(said);
    return s.n > 2 ? fm_slice_of(s.p + 1, s.n - 2) : fm_slice_of(NULL, 0);
}

void fm_conn_take_back(struct fm_conn *c, struct fm_socket *s)
{
    if (!c->lent)
        return;
    c->lent = false;
    c->counted = true;
    s->counted_address = false;
}

static struct fm_socket *socket_make(struct fm_conn *c, const struct fm_connecting *connecting, bool beside, struct fm_upgrade *up)
{
    struct fm_socket *s = fm_socket_new(c->worker, up->proto, up->variant, c->probe, c->number);
    if (s)
        fm_socket_identify(s, c->answer && c->answer->identity ? c->answer->identity : connecting->identity);
    fm_conn_ask_forget(c);
    if (s && !fm_socket_remember(s, connecting)) {
        fm_socket_gone(s);
        s = NULL;
    }
    if (!s)
        return refuse(up, FM_E_NOMEM);
    s->peer = c->client;
    bool counted = c->counted, none = false;
    enum fm_err err = fm_socket_admit(s, beside ? &none : &c->counted);
    c->lent = counted && !c->counted;
    if (!err)
        return s;
    fm_conn_take_back(c, s);
    fm_socket_gone(s);
    return refuse(up, err);
}

struct fm_socket *fm_conn_admit(struct fm_conn *c, const struct fm_proto *proto, bool beside, struct fm_upgrade *up)
{
    struct fm_worker *w = c->worker;
    *up = (struct fm_upgrade){.path = c->request.path,
                              .query = c->head.query,
                              .protocols = c->head.ws_protocols,
                              .origin = c->head.origin,
                              .host = c->head.host,
                              .secure = c->ssl != NULL};
    if (!fm_origin_allowed(c->head.origin, c->head.host, w->config.origins))
        return refuse(up, FM_E_ORIGIN);
    if (w->draining)
        return refuse(up, FM_E_DRAINING);
    if (!proto->accept(up))
        return NULL;
    struct fm_identity *identity = NULL;
    struct fm_token_fault fault;
    if (!c->probe && !fm_admit(&c->request, &identity, &fault)) {
        snprintf(up->reason, sizeof up->reason, "%s", fault.why ? fault.why : "");
        return refuse(up, fault.err);
    }
    struct fm_buf query = {0};
    if (w->config.auth) /* nobody who is asked has any business with the token */
        fm_credential_strip(&query, up->query, w->config.auth->param);
    const struct fm_connecting connecting = {.peer = &c->client,
                                             .query = w->config.auth ? fm_buf_view(&query) : up->query,
                                             .origin = up->origin,
                                             .head = fm_slice_of(c->in.p, c->head.n),
                                             .identity = identity};
    struct fm_socket *s = query.failed                  ? refuse(up, FM_E_NOMEM)
                          : allowed(c, &connecting, up) ? socket_make(c, &connecting, beside, up)
                                                        : NULL;
    fm_identity_unref(&identity);
    fm_buf_fini(&query);
    return s;
}

static void upgrade_refuse(struct fm_conn *c, const struct fm_upgrade *up)
{
    c->last = true; /* as with fm_conn_fail */
    fm_http_fail_with(&c->request, &(struct fm_http_error){.err = up->err,
                                                           .detail = *up->reason ? up->reason : NULL,
                                                           .status = up->status,
                                                           .members = fm_said_members(up->said)});
}

static void upgrade(struct fm_conn *c)
{
    struct fm_worker *w = c->worker;
    if (!handshake_ok(c))
        return;
    if (w->config.internal || !fm_http_mounted(&c->request, w->config.mount, w->config.supabase_mount, "/websocket")) {
        fm_conn_fail(c, 0, FM_E_NOT_FOUND, "WebSockets are opened at the option `mount` and /websocket", fm_slice_of(NULL, 0));
        return;
    }
    struct fm_upgrade up;
    c->socket = fm_conn_admit(c, &fm_phoenix, false, &up);
    if (!c->socket) {
        if (!up.asking)
            upgrade_refuse(c, &up);
        return;
    }
    memcpy(c->subprotocol, up.subprotocol, sizeof c->subprotocol);
    if (w->config.deflate && fm_deflate_offer(c->head.ws_extensions, &c->deflate))
        c->socket->window = c->deflate.window;
    c->state = FM_CONN_UPGRADED;
    fm_user_sub_follow(c->socket); /* before its client knows that it is connected */
}

void fm_conn_upgrade(struct fm_conn *c)
{
    upgrade(c);
    if (c->state != FM_CONN_UPGRADED && c->state != FM_CONN_ASKING)
        fm_stat_add(&c->worker->stats.refused, 1);
}

void fm_conn_hand_over(struct fm_conn *c)
{
    struct fm_worker *w = c->worker;
    struct fm_socket *socket = c->socket;
    int fd = c->fd;
    struct fm_buf in = c->in;
    c->in = (struct fm_buf){0};
    char subprotocol[sizeof c->subprotocol];
    memcpy(subprotocol, c->subprotocol, sizeof subprotocol);
    struct fm_deflate_terms deflate = c->deflate;
    const struct fm_edge_upgrade up = {
        .key = c->head.ws_key,
        .subprotocol = subprotocol,
        .deflate = &deflate,
        .early = fm_slice_of(in.p + c->head.n, in.n - c->head.n),
    };
    struct ssl_st *ssl = c->ssl;
    c->ssl = NULL;
    fm_conn_detach(c);
    if (ssl)
        fm_link_open(w, fd, ssl, socket, &up);
    else
        (void)fm_edge_adopt(w->edge, fd, socket, &up);
    fm_buf_fini(&in);
}
