/* Inside a worker: topics, who is on them, and what these are given. Included by worker_core.h.
 *
 *   subs.c        topics and their subs             subs_give.c  what they are given, in slices
 *   subs_hub.c    leaves, overruns, gaps            subs_slow.c  subscribers that fell behind
 *   subs_rules.c  what new rules change             user_subs.c  what is for a user reaches all connections of theirs
 *   presence.c    who is shown on a topic           presence_watch.c  and who is told */
#pragma once

#include "outbox.h"
#include "worker.h"

#include "../../broker/table.h"

enum fm_slot_presence { FM_PRESENCE_NONE, FM_PRESENCE_AWAITED, FM_PRESENCE_TOLD }; /* TOLD: the state, so that diffs make sense */

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

struct fm_wtopic { /* a topic that has subscribers on this worker */
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
