/* Inside a worker: what its files share. Nobody else includes this.
 *
 *   worker.c    life, thread, time                    intake.c  what comes into its inbox, and in which order it is taken
 *   accept.c    listener, throttle                    edge/front.c  connections that speak HTTP, edge/shake.c  TLS
 *   expect.c    answers that are awaited              questions.c  what a program or a backend decides
 *   commands.c  what the whole cluster is told to do  inquiries.c  and what it is asked about the clients
 *   socket_core.h  sockets, and whose they are        subs_core.h  topics, and who is on them
 *
 * Order of a drain of the inbox (intake.c): messages are gathered by topic; an answer to a join first flushes the messages of its topic
 * that came before it; answers to pushes are put off until all messages are given out, so that they don't break batches up; last, each
 * socket that was given something is written to once. */
#pragma once

#include "../auth/auth.h"
#include "../auth/jwks_fetch.h"
#include "../auth/revoked.h"
#include "../edge/deflate.h"
#include "lag.h"
#include "senders.h"
#include "socket_core.h"
#include "subs_core.h"

#include "../../broker/clock.h"
#include "../../broker/command.h"

#include <ev.h>

enum {
    FM_TICK_MS = 50,         /* of the wheel */
    FM_WRITE_MAX = 64 << 10, /* bytes of one write, and of the messages of a topic that wait for the end of a drain */
    FM_READ_MAX = 64 << 10,  /* bytes of one read of HTTP */
    FM_CLOSE_MS = 3000,      /* what a client has to take what is still owed and the close frame */
};

struct fm_conn;   /* front.c: a connection that speaks HTTP */
struct fm_expect; /* expect.c */

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
    uint64_t ticked_ms; /* when the last tick was, */
    uint64_t thawed_ms; /* ... and when that was one before which this worker had stood still, */
    uint32_t unread_ms; /* ... and for how long nothing had been read; 0: what came meanwhile has been read since */

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

/* Unique in the cluster: the node's incarnation, and a number there that grows. */
static inline struct fm_id fm_socket_id(const struct fm_socket *s)
{
    return (struct fm_id){fm_hub_incarnation(s->worker->config.hub), s->number};
}
static inline uint64_t fm_socket_number(struct fm_worker *w)
{
    return ++w->sockets_made * FM_WORKERS_MAX + w->config.index;
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
/* ---- front.c ---- */
/* A connection was accepted; takes fd. probe: fm_worker_probe. counted: in the limit of its address. */
void fm_front_open(struct fm_worker *w, int fd, const struct fm_peer *peer, bool probe, bool counted);
void fm_front_timeout(void *worker, struct fm_timer *t); /* fires w->conns_wheel */
/* Those that wait for a request are closed; the others when they have their answer. */
void fm_front_drain(struct fm_worker *w);
/* Ends all of them at once. */
void fm_front_close_all(struct fm_worker *w);
