/* Inside the HTTP front: front.c (connections), request.c (what is asked and answered on them) and upgrade.c (what becomes a WebSocket). */
#pragma once

#include "../http/http1.h"
#include "web_origin.h"
#include "../worker/worker_core.h"

enum fm_conn_state {
    FM_CONN_HEAD,     /* the request's head is read */
    FM_CONN_BODY,     /* its body */
    FM_CONN_SERVING,  /* fm_api_handle has it; nothing is read */
    FM_CONN_STREAM,   /* the answer is a stream of events (sse/), which ends when it likes; what is read is dropped */
    FM_CONN_ASKING,   /* it is asked whether the client may have a socket; nothing is read */
    FM_CONN_ANSWERED, /* the answer leaves */
    FM_CONN_LINGER,   /* the last answer has left; what still comes is dropped */
    FM_CONN_DONE,     /* to be closed */
    FM_CONN_UPGRADED, /* to be handed to the edge */
};

struct fm_conn {
    struct fm_worker *worker;
    struct fm_conn *next, **link; /* of the worker */
    struct ev_io io;
    struct fm_timer timer; /* request, keep-alive or linger */
    int fd;
    struct ssl_st *ssl; /* NULL: plain text */
    bool proxied;       /* it begins with a PROXY protocol header, */
    bool proxying;      /* which is not read yet */
    bool shaking;       /* the TLS handshake is not done yet */
    uint8_t first;      /* the first byte of it; 0: nothing has come */
    bool stray;         /* ... which is of a PROXY protocol header instead */
    enum fm_conn_state state;
    bool running;             /* inside fm_conn_run: an answer must not run it again */
    bool last;                /* the connection ends with this answer; */
    bool unread;              /* ... so it does if it comes now, since what follows is a body that nobody has read */
    bool eof;                 /* the client sends no more */
    bool served;              /* it has had an answer */
    bool probe;               /* the node's own */
    bool counted;             /* in the limit of its peer's address, */
    bool lent;                /* ... or its socket is in its place */
    bool shared;              /* its socket, which it carries, is counted as the connection */
    struct fm_stream *stream; /* usually NULL; also while it is SERVING */
    struct fm_buf in, out, path;
    size_t out_at, scanned, body_n;
    struct fm_http1_head head;
    struct fm_http_request request;
    uint64_t asked;                 /* the token of that question; 0: none is under way */
    struct fm_connect_held *answer; /* to it; NULL: there is none */
    uint64_t number;                /* of the socket that it is about */
    uint64_t told;                  /* revocations that were known when it was put */
    struct fm_socket *socket;       /* UPGRADED */
    char subprotocol[128];
    struct fm_deflate_terms deflate;
    struct fm_peer peer;   /* who opened it, or for whom the proxy did that says so at its beginning */
    struct fm_peer client; /* for whom the request was sent: the same, or whom X-Forwarded-For names */
};

void fm_conn_ready(struct ev_loop *loop, struct ev_io *io, int events);
/* Goes on as far as it can; c may be gone after it. */
void fm_conn_run(struct fm_conn *c);
/* Frees all but the descriptor. */
void fm_conn_detach(struct fm_conn *c);
void fm_conn_close(struct fm_conn *c);
/* A 400 with this text, for who speaks another protocol than this listener: no more than what can be sent at once. The caller closes. */
void fm_conn_refuse_raw(struct fm_conn *c, const char *text);

/* The events that it waits for. */
void fm_conn_watch(struct fm_conn *c, int events);

/* Sends, or keeps what can't be sent now. false: the connection is dead, or there is no memory; the caller closes. */
FM_MUST_CHECK bool fm_conn_put(struct fm_conn *c, struct fm_slice bytes);
/* Is there something that it keeps so? */
bool fm_conn_pending(const struct fm_conn *c);

/* ---- request.c ---- */
/* One step on from the present state; false: it waits for the client or for an answer. */
bool fm_conn_step(struct fm_conn *c);
/* The request's head is good (FM_HEAD_GOOD), as was found out meanwhile: its body is read, and it is served. */
void fm_conn_go_on(struct fm_conn *c);
/* Answers the request with an error and ends the connection after it. status 0: the error's own. */
void fm_conn_fail(struct fm_conn *c, unsigned status, enum fm_err err, const char *detail, struct fm_slice headers);
/* The same where the request can't be read, and neither can what follows it. */
void fm_conn_refuse(struct fm_conn *c, unsigned status, enum fm_err err, const char *what);

/* ---- sse/sse_stream.c ---- */
/* The connection goes, and the stream with it. */
void fm_stream_gone(struct fm_stream *st);
bool fm_stream_wants(const struct fm_stream *st);
/* All that was written has left. true: the connection has another state now. */
bool fm_stream_step(struct fm_stream *st);
/* Its timer. false: the connection is dead. */
FM_MUST_CHECK bool fm_stream_tick(struct fm_stream *st);

/* ---- carried.c ---- */
/* A request of a transport over HTTP: its head, and all of it. true: it is answered, now or later. */
enum fm_head_is fm_conn_carried_head(struct fm_conn *c);
bool fm_conn_carried(struct fm_conn *c);
/* A header of the request that is being served; the first with this name, in lower case. Empty: there is none. */
struct fm_slice fm_http_header(const struct fm_http_request *req, const char *name);
/* A page of this Origin may ask and read (the option origins). false: it was answered, since it may not, or only asked whether it may. */
bool fm_http_page_may(struct fm_http_request *req, const char *methods, const char *headers);

/* ---- shake.c ---- */
/* A step of the TLS handshake. true: it is done. false: it is not, or c is gone. */
bool fm_conn_shake(struct fm_conn *c);

/* ---- proxied.c ---- */
/* Reads the PROXY protocol header that the connection begins with. true: it was there. false: it is not whole yet, or c is gone. */
bool fm_conn_proxied(struct fm_conn *c);
/* Do these first bytes begin a PROXY protocol header, where none is taken? Then it was counted and logged. */
bool fm_conn_proxy_stray(struct fm_conn *c, struct fm_slice in);

/* ---- upgrade.c ---- */
/* Accepts the upgrade (FM_CONN_UPGRADED) or answers with what is wrong. */
void fm_conn_upgrade(struct fm_conn *c);
/* Makes the socket of a client that may have one, by this protocol. beside: the connection goes on beside it, and both count in the limit
 * of their address; else one of them does. NULL: up->err, up->status (0: the error's own), up->reason and up->said say why not; or
 * up->asking, then the request is served again, from its beginning, when there is an answer. */
struct fm_socket *fm_conn_admit(struct fm_conn *c, const struct fm_proto *proto, bool beside, struct fm_upgrade *up);
/* Its socket ends, or does not begin, and the connection goes on: it counts in the limit of its address again, and the socket no more. */
void fm_conn_take_back(struct fm_conn *c, struct fm_socket *s);
/* The answer whether the client may have a socket is not awaited any more, or was taken. */
void fm_conn_ask_forget(struct fm_conn *c);
/* Of what the backend said to a client that it refuses, the members alone; may be NULL. */
struct fm_slice fm_said_members(const char *said);
/* Gives the connection to the edge; c is gone after it. */
void fm_conn_hand_over(struct fm_conn *c);
