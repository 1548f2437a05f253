/* Inside a worker: sockets, and whose they are. Included by worker_core.h.
 *
 *   socket.c         life                     socket_io.c      what they are given, and owe
 *   socket_subs.c    their joins and pushes   socket_limits.c  how many there may be
 *   socket_token.c   how long they may stay   connect.c        who connects, and what a backend is told
 *   users.c          who is connected
 *
 * A socket is freed when its connection is gone and no answer to a push of it is awaited any more. */
#pragma once

#include "../edge/carrier.h"
#include "../edge/edge.h"
#include "../edge/link.h"
#include "../hooks/hooks.h"
#include "outbox.h"
#include "../post/question.h"
#include "wheel.h"
#include "worker.h"

#include "../../broker/table.h"

struct fm_asking;
struct fm_sub_index;

struct fm_user { /* somebody with connections to this worker */
    UT_hash_handle hh;
    struct fm_socket *first; /* of them, newest first */
    uint32_t n;
    uint32_t name_n;
    uint8_t name[];
};

static inline struct fm_slice fm_user_name(const struct fm_user *u)
{
    return fm_slice_of(u->name, u->name_n);
}

enum fm_socket_state { FM_SOCKET_OPENING, FM_SOCKET_OPEN, FM_SOCKET_CLOSING, FM_SOCKET_GONE };

struct fm_socket { /* one WebSocket connection. Freed when it is gone and no answer to a push of it is awaited any more. */
    /* What a delivery looks at, side by side. */
    struct lws *wsi;            /* its connection: libwebsockets', */
    struct fm_link *tls;        /* or over TLS, */
    struct fm_carrier *carrier; /* or what carries it over HTTP */
    struct fm_worker *worker;
    struct fm_outbox *out; /* NULL: nothing waits here */
    int fd;                /* of the connection, while it is open */
    uint8_t state;         /* enum fm_socket_state */
    bool discard;          /* closing: what waits in `out` is not sent any more */
    bool corked;           /* an answer is put off to the end of the drain: what is given to it waits for that */
    bool probe;            /* the node's own */
    bool touched, doomed;  /* in the worker's list */
    bool close_said;       /* the close frame has left, or is about to: what still comes is dropped, and the client ends the connection */
    bool token_told;       /* that its token is over */
    uint8_t window;        /* deflate: the client's, as a power of two; 0: none was agreed */
    bool packed;           /* the message that comes is compressed */
    uint16_t close_code;
    uint32_t edge_owes; /* bytes that the edge may still hold of the last write, at most */
    uint32_t subs_n;
    /* The rest. */
    const struct fm_proto *proto;
    struct fm_identity *identity;   /* a reference; NULL: it came without a token */
    struct fm_socket *next, **link; /* of the worker */
    struct fm_socket *touched_next, *doomed_next;
    struct fm_sub *subs;
    struct fm_sub_index *index; /* of them; NULL: they are few */
    struct fm_sub *given;       /* user_subs.c; usually NULL */
    struct fm_sub *lagging;     /* those that fell behind, by their turn to catch up */
    struct fm_timer timer;      /* idle, then close */
    struct fm_buf in;           /* the beginning of a message that came in pieces */
    char *close_reason;         /* may be NULL */
    uint8_t *client;            /* see fm_client_text; NULL: nobody may ask for it */
    uint32_t client_n;
    uint32_t variant;
    uint32_t given_age;                                  /* the worker's rules_age, when `given` was last looked at */
    uint32_t awaited;                                    /* answers to pushes that are under way */
    uint32_t held;                                       /* its joins and pushes that wait for handlers, and */
    size_t held_bytes;                                   /* ... bytes of them */
    uint64_t heard_tick;                                 /* of the wheel, when the last message came */
    struct fm_peer peer;                                 /* the client's address, as far as it is known */
    uint64_t number;                                     /* of its id, fm_socket_id */
    uint64_t opened_ms;                                  /* fm_mono_ms */
    struct fm_user *user;                                /* NULL: nobody knows whose it is */
    bool counted_address, counted_user;                  /* in the node's limits */
    struct fm_bucket joins, pushes, push_bytes, refused; /* refused: of all the others */
    struct fm_socket *user_next, **user_link;
};

/* ---- a socket's connection (edge.h, link.h, carrier.h) ---- */

static inline bool fm_edge_busy(const struct fm_socket *s)
{
    return s->wsi ? fm_lws_busy(s->wsi) : s->tls ? fm_link_busy(s->tls) : s->carrier->ops->busy(s->carrier);
}

static inline enum fm_edge_write fm_edge_write(const struct fm_socket *s, struct fm_slice frames)
{
    return s->wsi   ? fm_lws_write(s->wsi, s->fd, frames)
           : s->tls ? fm_link_write(s->tls, frames)
                    : s->carrier->ops->write(s->carrier, frames);
}

static inline void fm_edge_want_write(const struct fm_socket *s)
{
    if (s->wsi)
        fm_lws_want_write(s->wsi);
    else if (s->tls)
        fm_link_want_write(s->tls);
    else
        s->carrier->ops->want_write(s->carrier);
}

static inline void fm_edge_kill(const struct fm_socket *s)
{
    if (s->wsi)
        fm_lws_kill(s->wsi);
    else if (s->tls)
        fm_link_kill(s->tls);
    else
        s->carrier->ops->kill(s->carrier);
}

/* ---- socket.c ---- */
/* A socket for an accepted upgrade; NULL without memory. number: of fm_socket_number, 0: a new one. */
struct fm_socket *fm_socket_new(struct fm_worker *w, const struct fm_proto *proto, uint32_t variant, bool probe, uint64_t number);
/* The connections of the node's own probe end at once, and those over TLS, which cost libwebsockets nothing. all: every other as well. */
void fm_socket_kill(struct fm_worker *w, bool all);
/* Whose it is from now on: takes a reference of its own, and gives up the one before. Channels that it may not have joined end. */
void fm_socket_identify(struct fm_socket *s, struct fm_identity *identity);
/* Its subs leave, and it asks to be written to so that it can close. */
void fm_socket_bury(struct fm_socket *s);
/* No word to the client is possible any more. */
void fm_socket_abandon(struct fm_socket *s);
/* Frees it if it is gone and nothing refers to it any more: no list, no answer under way. */
void fm_socket_release(struct fm_socket *s);
/* It is open: its timer runs until it has to be looked at again. */
void fm_socket_watch(struct fm_socket *s);

/* ---- socket_subs.c ---- */
/* All of them leave. */
void fm_socket_subs_end(struct fm_socket *s);
/* A sub that is in none of the socket's lists; NULL without memory. `proto` is moved. */
struct fm_sub *fm_sub_new(struct fm_socket *s, const struct fm_join_ask *ask);
void fm_sub_free(struct fm_sub *sub);
void fm_socket_joined(void *ctx, struct fm_item *item);
void fm_socket_pushed(void *ctx, struct fm_item *item);

/* ---- socket_io.c ---- */
/* Gives frames first to end - 1 of f. */
void fm_socket_give(struct fm_socket *s, struct fm_frames *f, uint32_t first, uint32_t end);
/* An answer for it follows in this drain: from now on what it is given waits, to leave together. */
void fm_socket_cork(struct fm_socket *s);
/* Bytes that it owes its client. */
size_t fm_socket_owes(const struct fm_socket *s);
/* The most that it may owe of topics that may leave out. The rest of outbox_bytes is for what may not: replies, gaps, other topics. */
size_t fm_socket_room(const struct fm_socket *s);
/* Is there room for so many bytes? What can be written now is written first. one: they are one message, which fits where nothing is owed.
 */
bool fm_socket_fits(struct fm_socket *s, size_t bytes, bool one);
/* The end of the drain: what waits for it is written. */
void fm_socket_flush(struct fm_socket *s);
void fm_socket_out_drop(struct fm_socket *s);
void fm_socket_io_fini(struct fm_socket *s);
void fm_socket_timeout(void *worker, struct fm_timer *t); /* fires w->sockets_wheel */

/* ---- socket_token.c ---- */
/* Until something happens to its token; UINT64_MAX: nothing. 0: its time is over, and so is the connection's (fm_socket_token_over). Tells
 * the client when the token is over. */
uint64_t fm_socket_token_due_ms(struct fm_socket *s);
void fm_socket_token_over(struct fm_socket *s);
/* Tokens of this user that were made until then are worth nothing: those who are here by one leave. until_ms: as fm_revocation. */
uint32_t fm_worker_revoke(struct fm_worker *w, struct fm_slice user, uint64_t before_s, uint64_t until_ms);

/* ---- socket_limits.c ---- */
/* Counts, and tells the log. */
void fm_limit_reached(struct fm_worker *w, enum fm_limit limit, const struct fm_peer *peer, struct fm_slice user);
/* Its peer and user are known, and it begins. *counted: its connection was counted already; it is the socket's from now on.
 * FM_E_TOO_MANY_CONNECTIONS: was counted and logged. */
FM_MUST_CHECK enum fm_err fm_socket_admit(struct fm_socket *s, bool *counted);
/* It is to be of this user: counts it, as FM_LIMIT_USER does. On FM_OK with *held it is to be given back. */
FM_MUST_CHECK enum fm_err fm_socket_user_take(struct fm_socket *s, struct fm_slice user, bool *held);
/* Its user is about to be another. */
void fm_socket_user_leaves(struct fm_socket *s);
/* It ends. */
void fm_socket_dismiss(struct fm_socket *s);

/* ---- connect.c ---- */
struct fm_connecting { /* a client that wants to open a socket; borrowed */
    const struct fm_peer *peer;
    struct fm_slice query, origin;
    struct fm_slice head;         /* of its request, whole, for the headers that are asked for */
    struct fm_identity *identity; /* of its token; NULL: it has none */
};
/* Asks the backend whether it may, where hook_connect says so: `answered` gets a struct fm_connect_held, later, unless
 * fm_worker_forget(*token) comes first. *token 0: nobody is to be asked. *number is that of the socket to be. FM_E_BUSY, FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_connect_ask(struct fm_worker *w, const struct fm_connecting *c, fm_answered_fn *answered, void *ctx,
                                         uint64_t *token, uint64_t *number);
/* What the client connected with is kept, where somebody may be told of it. False without memory. */
FM_MUST_CHECK bool fm_socket_remember(struct fm_socket *s, const struct fm_connecting *c);
/* Who decides a join or push of this socket beside its rule; false: nobody. topic, peer and so on are filled in. */
bool fm_socket_asking(struct fm_socket *s, enum fm_question_kind kind, struct fm_slice topic, const struct fm_rule *rule,
                      struct fm_asking *ask);
/* The backend is told, where the settings want that. */
void fm_socket_tell(const struct fm_socket *s, enum fm_hook_event event, struct fm_slice topic);

/* ---- users.c ---- */
/* NULL: nobody of this name is connected here. */
struct fm_user *fm_user_find(const struct fm_worker *w, struct fm_slice name);
/* The socket is this user's from now on, at most FM_USER_MAX bytes; empty: nobody's. false without memory: it is whose it was. */
FM_MUST_CHECK bool fm_user_join(struct fm_socket *s, struct fm_slice name);
void fm_user_leave(struct fm_socket *s);
