/* What the files of the program's part share. Nobody else includes this. */
#pragma once

#include "program.h"
#include "../node/node.h"

#include "../../broker/clock.h"
#include "../../broker/table.h"

struct fm_program_topic { /* that has subscriptions */
    UT_hash_handle hh;
    struct fm_subscription *subs;
    uint32_t name_n;
    char name[];
};

struct fm_program {
    struct fm_program_config config;
    struct fm_worker_stats stats;
    struct fm_hub_thread *hub;
    pthread_t thread;
    bool started;
    atomic_bool stop;   /* the callback thread is to end */
    atomic_bool closed; /* calls are refused */
    _Atomic uint64_t next_id;
    _Atomic size_t results_bytes;    /* of publishes whose result has not been told */
    const struct fm_program *around; /* while it ends: in whose callback that is */
    /* The callback thread's own. */
    struct fm_subscription *by_id;
    struct fm_program_topic *topics;
    bool rereads; /* a subscription wants to read again and the hub has not been asked */
    uint64_t overrun_warned_ms, refused_warned_ms;
};

/* ---- listen.c ---- */
void fm_listen_begin(struct fm_program *p, struct fm_item *item); /* FM_PROGRAM_SUBSCRIBE */
void fm_listen_end(struct fm_program *p, struct fm_item *item);   /* FM_PROGRAM_UNSUBSCRIBE */
void fm_listen_joined(struct fm_program *p, struct fm_join *join);
void fm_listen_message(struct fm_program *p, struct fm_msg *m);
void fm_listen_gap(struct fm_program *p, const struct fm_gap *gap, bool overrun);
/* Something that belonged into the inbox was refused. */
void fm_listen_overrun(struct fm_program *p);
/* Asks the hub for what is to be read again; what it can't take now is asked again later. */
void fm_listen_reread(struct fm_program *p);
void fm_listen_end_all(struct fm_program *p);

/* ---- publish.c ---- */
/* Checks a message by the rules, and makes it. topic NULL: that is not looked at. */
FM_MUST_CHECK enum fm_err fm_message_make(const struct fm_settings *s, const char *topic, const struct fm_message *in, struct fm_msg **m);
void fm_publish_done(struct fm_program *p, struct fm_publish *done);

/* ---- handlers.c ---- */
void fm_question_ask(struct fm_program *p, const struct fm_question_item *q);
