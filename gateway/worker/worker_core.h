/* Inside a worker: what its files share. Nobody else includes this.
 *
 *   worker.c  life, thread, time             intake.c  what comes into its inbox, and in which order it is taken
 *   accept.c  listener, throttle             edge/front.c  connections that speak HTTP, edge/shake.c  TLS
 *   socket.c  sockets                        socket_subs.c  their joins and pushes      socket_io.c  what they are given, and owe
 *   subs.c    topics, who is on them        subs_give.c  what they are given      subs_hub.c   leaves, overruns, gaps
 *   subs_slow.c  subscribers that fell behind             expect.c     answers that are awaited
 *   subs_rules.c what new rules change
 *   questions.c  what a program or a backend decides       connect.c  who connects, and what a backend is told
 *   commands.c  what the whole cluster is told to do      users.c   who is connected       inquiries.c  and what is told of them
 *   user_subs.c what is for a user reaches all connections of theirs
 *   presence.c  who is shown on a topic      presence_watch.c  and who is told
 *
 * Order of a drain of the inbox (intake.c): messages are gathered by topic; an answer to a join first flushes the messages of its topic
 * that came before it; answers to pushes are put off until all messages are given out, so that they don't break batches up; last, each
 * socket that was given something is written to once. */
#pragma once

#include "../auth/auth.h"
#include "../auth/jwks_fetch.h"
#include "../auth/revoked.h"
#include "../edge/carrier.h"
#include "../edge/deflate.h"
#include "../edge/edge.h"
#include "lag.h"
#include "../edge/link.h"
#include "outbox.h"
#include "question.h"
#include "senders.h"
#include "wheel.h"
#include "worker.h"
#include "../hooks/hooks.h"

#include "../../broker/clock.h"
#include "../../broker/command.h"
#include "../../broker/table.h"

#include <ev.h>

enum {
    FM_TICK_MS = 50,         /* of the wheel */
    FM_WRITE_MAX = 64 << 10, /* bytes of one write, and of the messages of a topic that wait for the end of a drain */
    FM_READ_MAX = 64 << 10,  /* bytes of one read of HTTP */
    FM_CLOSE_MS = 3000,      /* what a client has to take what is still owed and the close frame */
};

struct fm_sub_index;
struct fm_conn;   /* front.c: a connection that speaks HTTP */
struct fm_expect; /* expect.c */

enum fm_slot_presence { FM_PRESENCE_NONE, FM_PRESENCE_AWAITED, FM_PRESENCE_TOLD }; /* TOLD: the state, so that diffs make sense */

/* A topic that has subscribers on this worker. */
struct fm_slot { /* what delivery needs of a sub, side by side */
    struct fm_socket *socket;
    struct fm_sub *sub;
    uint8_t format;
    uint8_t window;   /* of the socket's deflate */
    bool filtered;    /* sub->skip or sub->lag is there */
    uint8_t presence; /* enum fm_slot_presence */
};

struct fm_batch { /* messages of a topic: references */
    struct fm_msg **at;
    uint32_t n, cap;
    size_t bytes;
    bool from; /* one of them is not for all */
};

struct fm_run {          /* a batch that is being given to its topic's subscribers (subs_give.c) */
    struct fm_run *next; /* of the worker: those that did not fit into one turn of the loop */
    struct fm_wtopic *topic;
    struct fm_batch batch;
    struct fm_frames *frames[FM_FORMATS]; /* NULL: nobody wants it, or no memory */
    struct fm_frames *packed[FM_FORMATS]; /* the same frames, compressed where that helps; NULL: use the others */
    uint8_t window[FM_FORMATS];           /* that a client needs for them */
    bool chosen;                          /* some subs are to have some of it in a form of their own */
    uint32_t at, end;                     /* slots that it is still to be given to */
};

enum fm_reread { FM_REREAD_NONE, FM_REREAD_WANTED, FM_REREAD_ASKED };

struct fm_wtopic {
    UT_hash_handle hh;
    struct fm_wtopic *dirty_next; /* in the worker's list of topics with a batch or leavers */
    bool dirty;
    uint8_t reread; /* enum fm_reread: live messages are dropped until the answer */
    uint8_t slow;   /* enum fm_slow of its rule */
    bool judging;   /* under new rules some of its subs may have to leave */
    bool commands;  /* the worker itself is its subscriber, and the only one */
    uint64_t asked; /* ASKED: names the question; answers to earlier ones may still come */
    struct fm_slot *slots;
    uint32_t n, cap;
    uint32_t choosers;          /* of the subs: they get some messages in a form of their own */
    uint32_t lagging;           /* ... */
    uint32_t watchers;          /* ... those that are told who is there, or are to be, */
    uint32_t awaiting;          /* ... and those of them that wait for the state */
    bool watch_asked;           /* the hub owes the state: */
    uint64_t watch_no;          /* ... the answer to this question, or a later one's */
    uint32_t users[FM_FORMATS]; /* subs of each format, and those of them whose sockets take it compressed */
    uint32_t packed_users[FM_FORMATS];
    const struct fm_proto *protos[FM_FORMATS];
    struct fm_vector at;   /* what the subs were given, or are being given, the filtered ones aside */
    struct fm_batch batch; /* what came and was not given out yet */
    struct fm_run *run;    /* what is being given to them over several turns of the loop; NULL: nothing */
    bool gap_missed;       /* a gap was declared while it waited for the answer */
    uint32_t leavers;      /* to be told to the hub */
    uint32_t name_n;
    uint8_t name[];
};

/* The only one that writes it. */
static inline void fm_slot_watch(struct fm_wtopic *t, struct fm_slot *slot, enum fm_slot_presence to)
{
    t->awaiting += (uint32_t)(to == FM_PRESENCE_AWAITED) - (uint32_t)(slot->presence == FM_PRESENCE_AWAITED);
    slot->presence = (uint8_t)to;
}

static inline bool fm_wtopic_wanted(const struct fm_wtopic *t)
{
    return t->n > 0 || t->commands;
}

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

enum { FM_COMMANDS_DONE = 64 };

struct fm_command_done {
    struct fm_id id; /* of the command */
    uint32_t n;      /* connections or channels that it concerned here */
};

struct fm_commands { /* commands.c */
    bool wanted;     /* the hub is to be asked for them */
    uint64_t warned_ms;
    uint32_t done_n;
    struct fm_command_done done[FM_COMMANDS_DONE]; /* a ring */
};

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

struct fm_worker {
    struct fm_worker_config config;
    struct fm_worker_stats stats;
    struct ev_loop *loop;
    struct fm_edge *edge; /* NULL: internal */
    pthread_t thread;
    bool started;
    struct fm_worker *left_next; /* fm_worker_stop */

    struct ev_io door; /* the inbox's bell */
    struct ev_timer tick;
    struct ev_prepare settle; /* before each wait: leavers, closes */
    bool settled;             /* since it was last wanted, */
    unsigned settled_turn;    /* ... in this turn of the loop */
    struct fm_wheel sockets_wheel, conns_wheel, polls_wheel;

    struct ev_io listener; /* accept.c */
    struct ev_timer accept_again;
    bool listening;
    double accept_tokens;
    uint64_t accept_at_ms;
    uint64_t accept_warned_ms, proxy_warned_ms;

    struct fm_conn *conns;
    bool conn_runs; /* inside fm_conn_run, for one of them */
    struct fm_socket *sockets;
    uint32_t sockets_n;
    uint64_t sockets_made;
    struct fm_user *users;       /* users.c */
    bool given_due;              /* user_subs.c: some sockets are to be looked at, */
    uint64_t given_again_ms;     /* ... not before this, where it could not be done */
    struct fm_commands commands; /* commands.c */

    struct fm_key_set *fetched_keys; /* of the JWKS: a reference; NULL: none have come */
    struct fm_revocations revocations;

    struct fm_expect *expects; /* expect.c */
    struct fm_waiting {        /* questions.c: what waits for an answer, by age */
        struct fm_held_back *held;
        size_t bytes;
    } waiting[FM_DECIDERS];
    uint64_t next_token;

    struct fm_poll *polls, *polls_due; /* LongPoll: the sessions; those that have something to do before the loop waits */
    struct fm_poll_ask *poll_asks;     /* requests of clients that have no answer yet */
    uint64_t poll_ref;                 /* the name of the last of them */
    struct fm_poll_key *poll_keys;     /* of other nodes, poll_keys.c */

    struct fm_wtopic *topics, *dirty;     /* subs.c */
    struct fm_frames *frames[FM_FORMATS]; /* kept between drains for their memory */
    struct fm_frames *single;             /* socket.c: the same for one message to one client */
    struct fm_run *runs;                  /* by their turn */
    uint32_t slice_left;                  /* subscribers that runs may still be given to in this turn */
    bool combine;                         /* several topics in this delivery: each socket's share is gathered first */
    uint64_t reread_next;                 /* the name of the last question */
    uint64_t looked_ms;                   /* when the inbox was last looked into */
    unsigned shake_turn;                  /* shake.c: the turn of the loop, and */
    uint64_t shake_ns;                    /* ... the time that it has spent on TLS handshakes */
    bool posted;                          /* to the hub, which is not woken yet */
    uint64_t watch_no;                    /* of the last question about presences, or its end */
    bool watch_again;                     /* without memory the hub was not asked for some topic's presence */
    bool rereads;                         /* a topic wants to be read again and the hub has not been asked */

    struct fm_item *backlog;      /* taken from the inbox, not looked at yet */
    bool draining_inbox, flushed; /* flushed: this turn gave messages out */
    bool overrun;                 /* something that belongs into the backlog was refused */
    uint64_t overrun_warned_ms, lag_warned_ms, evicted_warned_ms;
    uint64_t evicted_untold; /* gaps since the last line in the log */
    struct fm_item *deferred, **deferred_last;
    struct fm_socket *touched, *doomed;
    struct fm_outbox *spare;
    struct fm_packer *packer; /* both made when they are first needed */
    struct fm_unpacker *unpacker;
    struct fm_buf unpacked; /* kept for its memory */
    struct fm_buf events;   /* likewise: what a stream is given, while it is written */
    uint8_t *inbound;       /* with TLS: what was decrypted, while it is looked at */
    uint8_t *scratch;       /* FM_READ_MAX bytes, for the moment of a read or write */

    _Atomic(const struct fm_access *) access_next, access_now; /* given by main; taken */
    uint32_t rules_age;                                        /* counts the changes of config.rules */
    bool forbidding;                                           /* the subs of some topics are being judged */
    _Atomic uint64_t drain_ms;                                 /* asked by main: the time + 1 */
    _Atomic int probe_fd;                                      /* handed over by the probe: the descriptor + 1 */
    struct fm_worker_stats unseen;                             /* what the probe's connections do */
    atomic_bool stop;
    struct ev_timer drain;
    uint64_t drain_began_ms, drain_for_ms;
    uint32_t drain_total, drain_told;
    bool draining;
};

/* ---- counters: one writer, so no locked instruction ---- */

static inline void fm_stat_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void fm_stat_sub(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) - n, memory_order_relaxed);
}

/* Where a connection's doings are counted: /metrics tells of clients, not of the node's own probe. */
static inline struct fm_worker_stats *fm_stats_of(struct fm_worker *w, bool probe)
{
    return probe ? &w->unseen : &w->stats;
}

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

/* ---- worker.c ---- */
/* Posts to the hub, which is woken at the end of this turn of the loop: what several clients, or one, sent is given out together. As
 * fm_hub_post. */
FM_MUST_CHECK enum fm_err fm_worker_post(struct fm_worker *w, struct fm_item *item);
/* Does so now: something that takes long is about to begin. */
void fm_worker_hub_wake(struct fm_worker *w);
/* In the middle of what may go on for long in one turn of the loop (thousands of closes, handshakes): what the hub has for the clients is
 * given out first, if it is some ms since it was last looked for. Not while walking over sockets or subs. */
void fm_worker_breathe(struct fm_worker *w);
/* Makes settle run before the loop waits again. */
void fm_worker_settle_soon(struct fm_worker *w);

/* ---- intake.c ---- */
/* The bell has rung: takes what is there, as much as one turn of the loop may. */
void fm_intake(struct fm_worker *w);
/* What was taken and not looked at. */
void fm_intake_free(struct fm_worker *w);
/* The answer of the hub, or in its place, goes to who awaits it. Takes the item. */
void fm_worker_answer(struct fm_worker *w, struct fm_item *item);

/* ---- accept.c ---- */
FM_MUST_CHECK enum fm_err fm_worker_listen(struct fm_worker *w);
void fm_worker_listen_stop(struct fm_worker *w);

/* ---- expect.c ---- */
bool fm_expect_has(struct fm_worker *w, uint64_t token);
/* The entry is gone after it. false: nobody awaits this token. */
bool fm_expect_take(struct fm_worker *w, uint64_t token, fm_answered_fn **answered, void **ctx);
/* The channel whose join awaits an answer by this token, or NULL. */
struct fm_sub *fm_expect_sub(struct fm_worker *w, uint64_t token);
/* The socket that awaits an answer to a push by this token, or NULL. */
struct fm_socket *fm_expect_socket(struct fm_worker *w, uint64_t token);
void fm_expect_free_all(struct fm_worker *w);

/* ---- shake.c ---- */
/* Has this turn of the loop spent its time for TLS handshakes? */
bool fm_front_shaken(const struct fm_worker *w);
/* ---- questions.c ---- */
struct fm_asking { /* a question to be; slices and pointers are borrowed */
    enum fm_decider by;
    enum fm_question_kind kind;
    const struct fm_rule *handler; /* BY_PROGRAM */
    struct fm_slice topic, event, payload;
    bool binary;
    uint64_t client, lane;    /* see fm_question_item; client: the socket's number */
    uint32_t before;          /* pushes of this client that wait already */
    struct fm_socket *socket; /* NULL: it is none yet */
    const struct fm_peer *peer;
    struct fm_identity *identity;
    struct fm_slice client_text; /* see fm_client_text; empty: nothing is known of the client */
};
/* Keeps `held`, a join, publish or connect with this token, back until who is asked has decided. FM_E_BUSY: too many wait. FM_E_INVALID: a
 * zero byte in event. On an error the caller still owns `held`. */
FM_MUST_CHECK enum fm_err fm_question_put(struct fm_worker *w, const struct fm_asking *ask, struct fm_item *held, uint64_t token);
/* Takes it. */
void fm_question_answered(struct fm_worker *w, struct fm_answer *answer);
/* Its pushes, and where sub is not NULL those on its topic, are refused without waiting for an answer: their client is being sent away. */
void fm_questions_withdraw(struct fm_worker *w, struct fm_socket *s, const struct fm_sub *sub, enum fm_err why);
/* Refuses those that are over their time. */
void fm_questions_tick(struct fm_worker *w, uint64_t now_ms);
void fm_questions_free_all(struct fm_worker *w);

/* ---- users.c ---- */
/* NULL: nobody of this name is connected here. */
struct fm_user *fm_user_find(const struct fm_worker *w, struct fm_slice name);
/* The socket is this user's from now on, at most FM_USER_MAX bytes; empty: nobody's. false without memory: it is whose it was. */
FM_MUST_CHECK bool fm_user_join(struct fm_socket *s, struct fm_slice name);
void fm_user_leave(struct fm_socket *s);

/* ---- user_subs.c ---- */
/* The socket's user, the rules, or its channels are others now, or it has just been let in: it is subscribed, or not any more. */
void fm_user_sub_follow(struct fm_socket *s);
void fm_user_sub_end(struct fm_socket *s);
/* Is its socket subscribed, and is this a channel of the same topic? */
bool fm_user_sub_is(const struct fm_sub *to);
/* Then it is about to become a subscriber: what there is to give is given first. */
void fm_user_sub_hurry(const struct fm_sub *to);
/* It has become one, and takes the subscription's place. */
void fm_user_sub_yield(const struct fm_sub *to);
/* It ends, and the subscription takes its place: true. */
bool fm_user_sub_back(struct fm_sub *from);
/* What could not be done at once. */
void fm_user_subs_tend(struct fm_worker *w);

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

/* ---- commands.c ---- */
/* Asks the hub for the commands, those that it remembers first. */
void fm_commands_join(struct fm_worker *w);
/* A message of the commands' topic: done at once. Takes the reference. Not while walking over dirty topics. */
void fm_commands_take(struct fm_worker *w, struct fm_wtopic *t, struct fm_msg *m);
/* Some were lost to this worker. */
void fm_commands_lost(struct fm_worker *w);
/* How many connections or channels a command concerned here; 0 also where it is not remembered. */
uint32_t fm_commands_done(const struct fm_worker *w, struct fm_id id);
void fm_commands_free(struct fm_worker *w);

/* ---- inquiries.c ---- */
/* Takes it, and posts it back to the hub. */
void fm_inquire_answer(struct fm_worker *w, struct fm_inquire *q);
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

/* ---- front.c ---- */
/* A connection was accepted; takes fd. probe: fm_worker_probe. counted: in the limit of its address. */
void fm_front_open(struct fm_worker *w, int fd, const struct fm_peer *peer, bool probe, bool counted);
void fm_front_timeout(void *worker, struct fm_timer *t); /* fires w->conns_wheel */
/* Those that wait for a request are closed; the others when they have their answer. */
void fm_front_drain(struct fm_worker *w);
/* Ends all of them at once. */
void fm_front_close_all(struct fm_worker *w);

/* ---- socket.c ---- */
/* Unique in the cluster: the node's incarnation, and a number there that grows. */
static inline struct fm_id fm_socket_id(const struct fm_socket *s)
{
    return (struct fm_id){fm_hub_incarnation(s->worker->config.hub), s->number};
}
/* A socket for an accepted upgrade; NULL without memory. number: of fm_socket_number, 0: a new one. */
struct fm_socket *fm_socket_new(struct fm_worker *w, const struct fm_proto *proto, uint32_t variant, bool probe, uint64_t number);
static inline uint64_t fm_socket_number(struct fm_worker *w)
{
    return ++w->sockets_made * FM_WORKERS_MAX + w->config.index;
}
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

/* ---- presence.c ---- */
/* What a join or fm_sub_track asks for, checked; its holder is still to be set. */
FM_MUST_CHECK enum fm_err fm_track_make(const struct fm_socket *s, const struct fm_rule *rule, struct fm_slice topic,
                                        const struct fm_track_ask *ask, struct fm_track **t);
void fm_socket_tracked(void *ctx, struct fm_item *item);
/* It has joined, and there are new rules, or a new token: what it may not any more ends, being shown and being told. */
void fm_sub_judge_presence(struct fm_sub *sub);
/* Its connection ends: it may be back. */
void fm_sub_linger(struct fm_sub *sub);
/* The same for a join that the hub has taken and nobody has any more. */
void fm_join_untrack(struct fm_worker *w, struct fm_join *join);

/* ---- presence_watch.c ---- */
/* Takes it; never FM_TRACK. */
void fm_track_post(struct fm_worker *w, struct fm_track *t, enum fm_track_op op);
/* It has joined, and wants to be told. */
void fm_subs_watch(struct fm_worker *w, struct fm_sub *sub);
/* It is not told any more, and has nobody to show: its client's list is empty. No-op if it was not told. */
void fm_subs_watch_end(struct fm_worker *w, struct fm_sub *sub);
/* The sub of this slot leaves. */
void fm_subs_unwatch(struct fm_worker *w, struct fm_wtopic *t, struct fm_slot *slot);
void fm_subs_presence_state(struct fm_worker *w, const struct fm_presence_state *state);
/* Diffs of the topic were lost. */
void fm_subs_presence_miss(struct fm_worker *w, struct fm_wtopic *t);
/* The sub was behind, and may have missed some. */
void fm_subs_presence_caught_up(struct fm_worker *w, const struct fm_sub *sub);
void fm_subs_presence_again(struct fm_worker *w);

/* ---- socket_token.c ---- */
/* Until something happens to its token; UINT64_MAX: nothing. 0: its time is over, and so is the connection's (fm_socket_token_over). Tells
 * the client when the token is over. */
uint64_t fm_socket_token_due_ms(struct fm_socket *s);
void fm_socket_token_over(struct fm_socket *s);
/* Tokens of this user that were made until then are worth nothing: those who are here by one leave. until_ms: as fm_revocation. */
uint32_t fm_worker_revoke(struct fm_worker *w, struct fm_slice user, uint64_t before_s, uint64_t until_ms);

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

/* ---- subs_give.c ---- */
/* Gives a topic's gathered messages out, or begins to; nothing where it is being given earlier ones still. */
void fm_subs_flush(struct fm_worker *w, struct fm_wtopic *t);
/* All topics' */
void fm_subs_flush_all(struct fm_worker *w);
/* Encodes what one sub alone is given. at: its position behind it. */
void fm_sub_encode(struct fm_frames *f, const struct fm_sub *sub, struct fm_msg *const *msgs, size_t n, const struct fm_vector *at);
/* Everything that a topic has is given out before it returns. */
void fm_subs_finish(struct fm_worker *w, struct fm_wtopic *t);
/* What is being given over several turns: another slice of it. Is there more to come? */
bool fm_subs_advance(struct fm_worker *w);
/* The sub is given it now, before something else is said to it. */
void fm_subs_hurry(struct fm_worker *w, struct fm_sub *sub);
/* Is this message, perhaps, gathered behind what the sub's topic is being given? */
bool fm_subs_waits(const struct fm_sub *sub, struct fm_id id);
/* The sub of a slot leaves: which slot is empty then, in the part behind the run. */
uint32_t fm_subs_run_leave(struct fm_wtopic *t, uint32_t slot);
/* All that still wait for it are given it now. */
void fm_subs_run_finish(struct fm_worker *w, struct fm_wtopic *t);
/* It ends where it is. */
void fm_subs_run_drop(struct fm_worker *w, struct fm_wtopic *t);

/* ---- subs.c ---- */
/* A message for a topic: gathered, or dropped where nobody wants it. Takes the reference. */
void fm_subs_message(struct fm_worker *w, struct fm_msg *m);
/* A sub that the hub has counted becomes a subscriber; join->skip is moved. FM_E_NOMEM: it is not one. */
FM_MUST_CHECK enum fm_err fm_subs_add(struct fm_worker *w, struct fm_sub *sub, struct fm_join *join);
/* After the protocol has answered the join: where the topic's other subs still wait for what an overrun lost, this one is not to be given
 * again what it got with the answer. (A channel that got nothing, and takes the place of the connection's own subscription, waits with
 * them: user_subs.c.) */
void fm_subs_added(struct fm_worker *w, struct fm_sub *sub, const struct fm_join *join);
/* `by` takes its place, and the hub need not know. What the topic is giving out the sub has been given. */
void fm_subs_replace(struct fm_worker *w, struct fm_sub *sub, struct fm_sub *by);
/* It ends; the hub will be told. */
void fm_subs_remove(struct fm_worker *w, struct fm_sub *sub);
/* Nothing is kept from it any more for what its client was ahead. */
void fm_subs_skip_drop(struct fm_sub *sub);
/* Where a sub's client is: its topic's position, and what it was ahead; or where it fell behind. `at` is replaced. */
FM_MUST_CHECK enum fm_err fm_subs_position(const struct fm_sub *sub, struct fm_vector *at);

struct fm_wtopic *fm_wtopic_find(struct fm_worker *w, struct fm_slice name);
/* NULL without memory. */
struct fm_wtopic *fm_wtopic_new(struct fm_worker *w, struct fm_slice name);
/* Without subs and leavers. */
void fm_wtopic_free(struct fm_worker *w, struct fm_wtopic *t);
/* It has something to do at the end of the drain, or of the turn of the loop. */
void fm_wtopic_mark(struct fm_worker *w, struct fm_wtopic *t);
void fm_wtopic_want_reread(struct fm_worker *w, struct fm_wtopic *t);
/* Takes the reference, whatever the state of the topic is. */
void fm_subs_gather(struct fm_worker *w, struct fm_wtopic *t, struct fm_msg *m);

/* ---- subs_slow.c ---- */
/* What the topic is given, for a sub that is behind or falls behind with it. */
void fm_subs_lag_feed(struct fm_worker *w, struct fm_wtopic *t, const struct fm_batch *b, struct fm_slot *slot);
/* A gap of the topic, for a sub that is behind: it is declared when its turn comes. */
void fm_subs_lag_gap(struct fm_slot *slot, const struct fm_gap *gap, const struct fm_vector *cursor);
/* The socket has room again. */
void fm_subs_catch_up(struct fm_socket *s);
/* It has caught up, or leaves. No lag: a no-op. */
void fm_subs_lag_end(struct fm_worker *w, struct fm_sub *sub);

/* ---- subs_rules.c ---- */
/* config.rules are others now. */
void fm_subs_rules(struct fm_worker *w);
FM_MUST_CHECK enum fm_err fm_sub_may_join(struct fm_sub *sub);
/* The subs of a socket, where it is somebody else now. */
void fm_subs_judge(struct fm_socket *s);
/* Judges some subs by the new rules; whether there are more. */
bool fm_subs_forbid(struct fm_worker *w);

/* ---- subs_hub.c ---- */
void fm_subs_gap(struct fm_worker *w, const struct fm_gap *gap);
/* The inbox was overrun: everything is to be read again from where its subs are. */
void fm_subs_overrun(struct fm_worker *w);
/* Asks the hub for what is wanted; what it can't take now is asked again later. */
void fm_subs_reread(struct fm_worker *w);
/* The answer to what fm_subs_reread asked. */
void fm_subs_reread_done(struct fm_worker *w, struct fm_join *join);
/* Tells the hub who left, and forgets topics without subs. */
void fm_subs_settle(struct fm_worker *w);
/* The hub counts a subscription that nobody has any more. */
void fm_subs_leave_hub(struct fm_worker *w, struct fm_slice topic, uint32_t subs);
